// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver: key encoding, the radix tree, and input that is not sound.
 */

#include <kunit/test.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/libfdt.h>
#include <linux/mm.h>

#include "../../kernel/liveupdate/kho_internal.h"

#define END_PFN		BIT(28)		/* memory of 1 TiB */

struct seen {
	struct kho_radix_walker walker;
	phys_addr_t refuse;
	unsigned int leaves;
	unsigned int blocks;
	unsigned int bad;
	unsigned int last_order;
	unsigned long last_pfn;
	unsigned long bad_pfn, bad_end;
};

static bool seen_node_ok(struct kho_radix_walker *walker, phys_addr_t phys)
{
	struct seen *seen = container_of(walker, struct seen, walker);

	return PAGE_ALIGNED(phys) && phys != seen->refuse && pfn_valid(PHYS_PFN(phys));
}

static void seen_leaf(struct kho_radix_walker *walker, unsigned int order, unsigned long pfn,
		      struct kho_radix_leaf *leaf)
{
	struct seen *seen = container_of(walker, struct seen, walker);
	unsigned int bit;

	seen->leaves++;
	for_each_set_bit(bit, kho_radix_leaf_bits(leaf), KHO_RADIX_LEAF_BITS) {
		seen->blocks++;
		seen->last_order = order;
		seen->last_pfn = pfn + ((unsigned long)bit << order);
	}
}

static void seen_bad(struct kho_radix_walker *walker, unsigned int level, phys_addr_t phys,
		     unsigned long pfn, unsigned long end)
{
	struct seen *seen = container_of(walker, struct seen, walker);

	seen->bad++;
	seen->bad_pfn = pfn;
	seen->bad_end = end;
}

static void seen_init(struct seen *seen)
{
	*seen = (struct seen) {
		.walker = {
			.end_pfn = END_PFN,
			.node_ok = seen_node_ok,
			.leaf = seen_leaf,
			.bad = seen_bad,
		},
	};
}

static struct kho_radix_table *new_tree(struct kunit *test)
{
	struct kho_radix_table *root = kho_radix_alloc();

	KUNIT_ASSERT_NOT_NULL(test, root);
	return root;
}

static void set_key(struct kunit *test, struct kho_radix_table *root, u64 key)
{
	struct kho_radix_leaf *leaf = kho_radix_make_leaf(root, key);

	KUNIT_ASSERT_NOT_NULL(test, leaf);
	__set_bit(kho_radix_leaf_bit(key), kho_radix_leaf_bits(leaf));
}

/* The slot of a table through which @key is reached; the level is that of the table. */
static u64 *slot_of(struct kunit *test, struct kho_radix_table *root, u64 key,
		    unsigned int level)
{
	struct kho_radix_table *table = root;

	for (unsigned int n = 5; ; n--) {
		u64 *slot = &table->child[(key >> (15 + 9 * (n - 1))) % 512];

		if (n == level)
			return slot;
		KUNIT_ASSERT_NE(test, *slot, 0);
		table = phys_to_virt(*slot);
	}
}

static void key_is_order_mark_and_block_number(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, kho_radix_key(0, 0), 1ULL << 52);
	KUNIT_EXPECT_EQ(test, kho_radix_key(0x1000, 0), (1ULL << 52) | 1);
	KUNIT_EXPECT_EQ(test, kho_radix_key(0x200000, 9), (1ULL << 43) | 1);
	KUNIT_EXPECT_EQ(test, kho_radix_key(0x40000000, 18), (1ULL << 34) | 1);
	KUNIT_EXPECT_EQ(test, kho_radix_key(0x123456789000, 0), (1ULL << 52) | 0x123456789);
}

static void key_tells_order_and_address(struct kunit *test)
{
	for (unsigned int order = 0; order <= 40; order++) {
		phys_addr_t phys = 5ULL << (12 + order);
		u64 key = kho_radix_key(phys, order);

		KUNIT_EXPECT_EQ(test, kho_radix_key_order(key), order);
		KUNIT_EXPECT_EQ(test, kho_radix_key_phys(key), phys);
	}
}

static void tree_holds_what_was_set_and_nothing_else(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	u64 key = kho_radix_key(0x12345000, 0);

	KUNIT_EXPECT_FALSE(test, kho_radix_test(root, key));
	set_key(test, root, key);
	KUNIT_EXPECT_TRUE(test, kho_radix_test(root, key));
	KUNIT_EXPECT_FALSE(test, kho_radix_test(root, key + 1));
	KUNIT_EXPECT_FALSE(test, kho_radix_test(root, key - 1));
	/* The same address at another order is another block. */
	set_key(test, root, kho_radix_key(0x40000000, 9));
	KUNIT_EXPECT_FALSE(test, kho_radix_test(root, kho_radix_key(0x40000000, 0)));
	KUNIT_EXPECT_FALSE(test, kho_radix_test(root, kho_radix_key(0x40000000, 10)));
	kho_radix_free(root);
}

static void levels_are_indexed_as_the_format_says(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	u64 key = kho_radix_key(0x7edcba987000, 0);
	struct kho_radix_leaf *leaf;

	set_key(test, root, key);
	leaf = phys_to_virt(*slot_of(test, root, key, 1));
	KUNIT_EXPECT_TRUE(test, leaf->bits[(key % 32768) / 64] & (1ULL << (key % 64)));
	kho_radix_free(root);
}

static void walk_sees_every_block(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	struct seen seen;

	for (unsigned int i = 0; i < 64; i++)
		set_key(test, root, kho_radix_key((phys_addr_t)i << 30, i % 2 ? 9 : 0));
	seen_init(&seen);
	kho_radix_walk(root, &seen.walker);
	KUNIT_EXPECT_EQ(test, seen.blocks, 64);
	KUNIT_EXPECT_EQ(test, seen.bad, 0);
	/* Higher orders come first. */
	KUNIT_EXPECT_EQ(test, seen.last_order, 0);
	KUNIT_EXPECT_EQ(test, seen.last_pfn, 62UL << 18);
	kho_radix_free(root);
}

static void walk_cuts_off_a_leaf_that_may_not_be_read(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	u64 key = kho_radix_key(0x10000000, 0);
	struct seen seen;
	u64 *slot;

	set_key(test, root, key);
	set_key(test, root, kho_radix_key(0x20000000, 0));
	slot = slot_of(test, root, key, 1);
	seen_init(&seen);
	seen.refuse = *slot;
	kho_radix_walk(root, &seen.walker);
	KUNIT_EXPECT_EQ(test, seen.bad, 1);
	KUNIT_EXPECT_EQ(test, seen.blocks, 1);
	/* A leaf of order 0 stands for 128 MiB. */
	KUNIT_EXPECT_EQ(test, seen.bad_pfn, 0x10000UL);
	KUNIT_EXPECT_EQ(test, seen.bad_end, 0x18000UL);
	KUNIT_EXPECT_EQ(test, *slot, 0);
	free_page((unsigned long)phys_to_virt(seen.refuse));
	kho_radix_free(root);
}

static void walk_cuts_off_a_misaligned_node(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	u64 key = kho_radix_key(0x10000000, 0);
	struct seen seen;
	u64 *slot, old;

	set_key(test, root, key);
	slot = slot_of(test, root, key, 3);
	old = *slot;
	*slot += 8;
	seen_init(&seen);
	kho_radix_walk(root, &seen.walker);
	KUNIT_EXPECT_EQ(test, seen.bad, 1);
	KUNIT_EXPECT_EQ(test, seen.blocks, 0);
	*slot = old;
	kho_radix_free(root);
}

static void walk_of_a_cycle_ends(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	u64 key = kho_radix_key(0, 0);
	struct kho_radix_table *table;
	struct seen seen;
	u64 leaf;

	set_key(test, root, key);
	leaf = *slot_of(test, root, key, 1);
	/* A table all of whose slots point at itself. */
	table = phys_to_virt(*slot_of(test, root, key, 2));
	for (unsigned int i = 0; i < 512; i++)
		table->child[i] = virt_to_phys(table);
	seen_init(&seen);
	seen.walker.end_pfn = BIT(20);
	kho_radix_walk(root, &seen.walker);
	/* Memory of 4 GiB has 32 leaves of order 0, and no more are looked at. */
	KUNIT_EXPECT_LE(test, seen.leaves, 32);
	KUNIT_EXPECT_GT(test, seen.bad, 0);
	memset(table, 0, sizeof(*table));
	table->child[0] = leaf;
	kho_radix_free(root);
}

static void walk_cuts_off_keys_of_too_many_bits(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	struct seen seen;

	set_key(test, root, kho_radix_key(0x1000, 0));
	root->child[4] = *slot_of(test, root, kho_radix_key(0x1000, 0), 5);
	root->child[511] = root->child[4];
	seen_init(&seen);
	kho_radix_walk(root, &seen.walker);
	KUNIT_EXPECT_EQ(test, seen.bad, 2);
	KUNIT_EXPECT_EQ(test, seen.blocks, 1);
	kho_radix_free(root);
}

static void walk_cuts_off_blocks_larger_than_memory(struct kunit *test)
{
	struct kho_radix_table *root = new_tree(test);
	struct seen seen;

	set_key(test, root, kho_radix_key(0, 45));
	seen_init(&seen);
	kho_radix_walk(root, &seen.walker);
	KUNIT_EXPECT_EQ(test, seen.blocks, 0);
	KUNIT_EXPECT_EQ(test, seen.bad, 1);
	kho_radix_free(root);
}

static void make_root_fdt(void *fdt, const char *compatible, const void *map, int len)
{
	fdt_create(fdt, PAGE_SIZE);
	fdt_finish_reservemap(fdt);
	fdt_begin_node(fdt, "");
	fdt_property_string(fdt, "compatible", compatible);
	if (map)
		fdt_property(fdt, KHO_PROP_MEMORY_MAP, map, len);
	fdt_end_node(fdt);
	fdt_finish(fdt);
}

static void root_fdt_is_checked(struct kunit *test)
{
	void *fdt = (void *)get_zeroed_page(GFP_KERNEL);
	u64 good = 0x5000, odd = 0x5008, none = 0;
	phys_addr_t map = 0;

	KUNIT_ASSERT_NOT_NULL(test, fdt);
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	make_root_fdt(fdt, "kho-v4", &good, sizeof(good));
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), 0);
	KUNIT_EXPECT_EQ(test, map, good);
	make_root_fdt(fdt, "kho-v3", &good, sizeof(good));
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	make_root_fdt(fdt, "kho-v4", NULL, 0);
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	make_root_fdt(fdt, "kho-v4", &good, 4);
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	make_root_fdt(fdt, "kho-v4", &odd, sizeof(odd));
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	make_root_fdt(fdt, "kho-v4", &none, sizeof(none));
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	make_root_fdt(fdt, "kho-v4", &good, sizeof(good));
	fdt_set_totalsize(fdt, PAGE_SIZE * 2);
	KUNIT_EXPECT_EQ(test, kho_fdt_check_root(fdt, &map), -EINVAL);
	free_page((unsigned long)fdt);
}

static void nothing_is_restored_that_was_not_preserved(struct kunit *test)
{
	unsigned long page = __get_free_page(GFP_KERNEL);
	phys_addr_t phys = virt_to_phys((void *)page);

	KUNIT_ASSERT_NE(test, page, 0);
	KUNIT_EXPECT_EQ(test, kho_incoming_order(phys), -ENOENT);
	KUNIT_EXPECT_EQ(test, kho_incoming_order(phys + 1), -ENOENT);
	KUNIT_EXPECT_FALSE(test, kho_incoming_range(phys, 1));
	KUNIT_EXPECT_FALSE(test, kho_incoming_range(~0ULL, 4096));
	KUNIT_EXPECT_NULL(test, kho_restore_folio(phys));
	KUNIT_EXPECT_NULL(test, kho_restore_pages(phys, 1));
	KUNIT_EXPECT_NULL(test, kho_restore_pages(phys, 0));
	KUNIT_EXPECT_NULL(test, kho_restore_pages(phys, ULONG_MAX));
	free_page(page);
}

static void hostile_vmalloc_descriptors_are_refused(struct kunit *test)
{
	struct kho_vmalloc area = { .total_pages = 1, .first = 0x1000 };

	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&area));
	area.total_pages = 0;
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&area));
	area.total_pages = U32_MAX;
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&area));
	area.total_pages = 3;
	area.order = 1;
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&area));
	area.order = U16_MAX;
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&area));
	area.order = 0;
	area.flags = 0x8000;
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&area));
}

static void memory_in_scratch_is_refused(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, kho_is_enabled());
	KUNIT_ASSERT_GT(test, kho_scratch_nr, 0);
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		unsigned long pfn = PHYS_PFN(kho_scratch_areas[i].addr);
		unsigned long end = pfn + PHYS_PFN(kho_scratch_areas[i].size);

		/* Inside, and reaching into the first page and out of the last */
		KUNIT_EXPECT_EQ(test, kho_preserve_pages(pfn_to_page(pfn), 1), -EINVAL);
		KUNIT_EXPECT_EQ(test, kho_preserve_pages(pfn_to_page(pfn - 1), 2), -EINVAL);
		KUNIT_EXPECT_EQ(test, kho_preserve_pages(pfn_to_page(end - 1), 2), -EINVAL);
	}
}

static struct kunit_case kho_cases[] = {
	KUNIT_CASE(key_is_order_mark_and_block_number),
	KUNIT_CASE(key_tells_order_and_address),
	KUNIT_CASE(tree_holds_what_was_set_and_nothing_else),
	KUNIT_CASE(levels_are_indexed_as_the_format_says),
	KUNIT_CASE(walk_sees_every_block),
	KUNIT_CASE(walk_cuts_off_a_leaf_that_may_not_be_read),
	KUNIT_CASE(walk_cuts_off_a_misaligned_node),
	KUNIT_CASE(walk_of_a_cycle_ends),
	KUNIT_CASE(walk_cuts_off_keys_of_too_many_bits),
	KUNIT_CASE(walk_cuts_off_blocks_larger_than_memory),
	KUNIT_CASE(root_fdt_is_checked),
	KUNIT_CASE(nothing_is_restored_that_was_not_preserved),
	KUNIT_CASE(hostile_vmalloc_descriptors_are_refused),
	KUNIT_CASE(memory_in_scratch_is_refused),
	{}
};

static struct kunit_suite kho_suite = {
	.name = "kho",
	.test_cases = kho_cases,
};

kunit_test_suite(kho_suite);

MODULE_DESCRIPTION("KUnit tests of Kexec HandOver");
MODULE_LICENSE("GPL");
