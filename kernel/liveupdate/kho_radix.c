// SPDX-License-Identifier: GPL-2.0
/*
 * The preserved-memory radix tree.
 */

/**
 * DOC: preserved-memory radix tree
 *
 * One bit says that a block of pages is preserved. The bit is found by a key
 * made of the block's order and number (kho_radix_key()); the tree maps the key
 * to it by five tables and a bitmap (&struct kho_radix_table,
 * &struct kho_radix_leaf), each one page, linked by physical addresses since the
 * kernel that reads the tree has another direct map.
 *
 * A tree is either this kernel's own, then its nodes come from
 * kho_radix_make_leaf() and are trusted, or the previous kernel's, then
 * kho_radix_walk() looks at every node before it is used and cuts off what is
 * not sound. After that walk the look-up functions may be used on it too.
 *
 * Nothing here locks: the caller keeps writers of one tree apart from each other
 * and from readers.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>

#include "kho_internal.h"

static_assert(PAGE_SHIFT == KHO_RADIX_PAGE_SHIFT, "the tree counts in pages of 4 KiB");

/* Number of low key bits that a child of a table at @level stands for. */
static unsigned int child_shift(unsigned int level)
{
	return KHO_RADIX_LEAF_SHIFT + KHO_RADIX_TABLE_SHIFT * (level - 1);
}

static unsigned int child_slot(u64 key, unsigned int level)
{
	return (key >> child_shift(level)) & (KHO_RADIX_TABLE_SLOTS - 1);
}

static void *alloc_node(void)
{
	/* Unmovable, hence never in scratch, which is MIGRATE_CMA. */
	return (void *)get_zeroed_page(GFP_KERNEL);
}

/**
 * kho_radix_alloc - make an empty tree
 *
 * Context: may sleep.
 * Return: the root table, or NULL when there is no memory.
 */
struct kho_radix_table *kho_radix_alloc(void)
{
	return alloc_node();
}

static void free_below(struct kho_radix_table *table, unsigned int level)
{
	for (unsigned int i = 0; i < KHO_RADIX_TABLE_SLOTS; i++) {
		void *child;

		if (!table->child[i])
			continue;
		child = phys_to_virt(table->child[i]);
		if (level > 1)
			free_below(child, level - 1);
		free_page((unsigned long)child);
	}
}

/**
 * kho_radix_free - free a tree of this kernel with all its nodes
 * @root: from kho_radix_alloc()
 */
void kho_radix_free(struct kho_radix_table *root)
{
	free_below(root, KHO_RADIX_LEVELS - 1);
	free_page((unsigned long)root);
}

/**
 * kho_radix_find_leaf - find the bitmap that holds the bit of a key
 * @root: the tree
 * @key: from kho_radix_key()
 *
 * Return: the leaf, or NULL when no key near @key was ever set.
 */
struct kho_radix_leaf *kho_radix_find_leaf(struct kho_radix_table *root, u64 key)
{
	struct kho_radix_table *table = root;

	for (unsigned int level = KHO_RADIX_LEVELS - 1; level; level--) {
		u64 child = table->child[child_slot(key, level)];

		if (!child)
			return NULL;
		table = phys_to_virt(child);
	}

	return (struct kho_radix_leaf *)table;
}

/**
 * kho_radix_make_leaf - find the bitmap that holds the bit of a key, or add it
 * @root: a tree of this kernel
 * @key: from kho_radix_key()
 *
 * Nodes added for a leaf that could not be made stay: they are empty and the
 * next attempt uses them.
 *
 * Context: may sleep.
 * Return: the leaf, or NULL when there is no memory.
 */
struct kho_radix_leaf *kho_radix_make_leaf(struct kho_radix_table *root, u64 key)
{
	struct kho_radix_table *table = root;

	for (unsigned int level = KHO_RADIX_LEVELS - 1; level; level--) {
		u64 *slot = &table->child[child_slot(key, level)];

		if (!*slot) {
			void *node = alloc_node();

			if (!node)
				return NULL;
			*slot = virt_to_phys(node);
		}
		table = phys_to_virt(*slot);
	}

	return (struct kho_radix_leaf *)table;
}

/**
 * kho_radix_test - is a key set?
 * @root: the tree
 * @key: from kho_radix_key()
 *
 * Return: true if the block that @key stands for is in the tree.
 */
bool kho_radix_test(struct kho_radix_table *root, u64 key)
{
	struct kho_radix_leaf *leaf = kho_radix_find_leaf(root, key);

	return leaf && test_bit(kho_radix_leaf_bit(key), kho_radix_leaf_bits(leaf));
}

/*
 * The page frames that the keys from @lo on, @span of them, stand for. All of
 * them have one order, as @lo is a multiple of @span and not 0.
 */
static void span_pfns(u64 lo, u64 span, unsigned long end_pfn, unsigned long *pfn,
		      unsigned long *end)
{
	unsigned int order = kho_radix_key_order(lo);
	u64 first = lo ^ BIT_ULL(__fls(lo));

	/* Above @end_pfn the exact number does not matter; avoid the overflow. */
	if (order >= 64 || first > (U64_MAX >> order))
		*pfn = end_pfn;
	else
		*pfn = min_t(u64, first << order, end_pfn);
	if (first + span > (U64_MAX >> order))
		*end = end_pfn;
	else
		*end = min_t(u64, (first + span) << order, end_pfn);
}

static void walk_table(struct kho_radix_table *table, unsigned int level, u64 prefix,
		       struct kho_radix_walker *walker)
{
	u64 span = BIT_ULL(child_shift(level));

	for (unsigned int i = 0; i < KHO_RADIX_TABLE_SLOTS; i++) {
		phys_addr_t phys = table->child[i];
		u64 lo = prefix + i * span;
		unsigned long pfn = 0, end = walker->end_pfn;
		bool possible, sound;

		if (!phys)
			continue;

		/*
		 * A key has 53 bits at most. Keys below the span of a leaf stand
		 * for blocks larger than any memory. A node of which not even the
		 * first block is memory has nothing to say, and would let a cycle
		 * of nodes go on for ever.
		 */
		possible = lo < BIT_ULL(KHO_RADIX_MAX_ORDER + 1) && (lo || level > 1);
		if (possible && lo)
			span_pfns(lo, span, walker->end_pfn, &pfn, &end);
		if (!possible)
			pfn = end;
		sound = pfn < walker->end_pfn;
		sound = sound && walker->node_ok(walker, phys) &&
			(!walker->node || walker->node(walker, phys));
		if (!sound) {
			table->child[i] = 0;
			if (walker->bad)
				walker->bad(walker, level - 1, phys, pfn, end);
			continue;
		}

		if (level > 1)
			walk_table(phys_to_virt(phys), level - 1, lo, walker);
		else
			walker->leaf(walker, kho_radix_key_order(lo), pfn, phys_to_virt(phys));
	}
}

/**
 * kho_radix_walk - visit all nodes of a tree and make it sound
 * @root: the tree; must itself be a page that may be read
 * @walker: what to call
 *
 * The tree may come from anywhere. A node that @walker->node_ok refuses, or that
 * stands where none can, is cut off by clearing the slot that points at it.
 * The depth is fixed and the width bounded by @walker->end_pfn, so the walk ends
 * also when nodes point at each other.
 */
void kho_radix_walk(struct kho_radix_table *root, struct kho_radix_walker *walker)
{
	walk_table(root, KHO_RADIX_LEVELS - 1, 0, walker);
}
