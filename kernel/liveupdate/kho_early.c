// SPDX-License-Identifier: GPL-2.0
/*
 * Taking over what the previous kernel handed over, before there is an allocator.
 */

/**
 * DOC: taking over
 *
 * kho_populate() is called by the architecture as soon as the boot protocol says
 * that there is handed-over memory, and before memblock allocates anything. It
 * checks the root FDT and the scratch areas. If something is wrong with them it
 * says so and the boot goes on as if there was nothing.
 *
 * kho_take_over_map() is called when the direct map is complete. It walks the
 * preserved-memory radix tree twice: once to know which granules of memory hold
 * preserved pages or nodes of the tree, and once more, when there is room for
 * bitmaps, to fill these. Everything costs per node of the tree or per run of
 * pages; no memblock region is made. All of the tree is input that need not be
 * sound: bad nodes are cut off and the memory below them is left alone; a page
 * claimed twice stays with the first claim.
 *
 * "kho=off" is parsed between the two. Scratch and map are honoured then too, but
 * nothing is given to anyone.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/libfdt.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>

#include <asm/early_ioremap.h>

#include "kho_internal.h"
#include "kho_phases.h"

#define KHO_BAD_SPANS	16

struct kho_in {
	bool populated;			/* there is handed-over memory to stay off */
	phys_addr_t fdt_phys;
	phys_addr_t map_phys;
	struct kho_radix_table *root;	/* NULL: not read, or not sound */
	unsigned long nr_blocks[KHO_RADIX_MAX_ORDER + 1];
	unsigned long nr_nodes;
	unsigned long nr_bad;
	unsigned long nr_overlaps;
	unsigned int nr_spans;
	struct {
		unsigned long pfn, end;
	} spans[KHO_BAD_SPANS];		/* below bad nodes: nobody knows what is there */
};

static struct kho_in kho_in __ro_after_init;

/**
 * kho_populate - take note of what the previous kernel left
 * @fdt_phys: address of the root FDT
 * @fdt_len: its size in bytes
 * @scratch_phys: address of the array of &struct kho_scratch
 * @scratch_len: its size in bytes
 *
 * Context: boot, early fixmap mappings work, memblock has not allocated yet.
 */
void __init kho_populate(phys_addr_t fdt_phys, u64 fdt_len, phys_addr_t scratch_phys,
			 u64 scratch_len)
{
	void *fdt;
	int ret;

	if (!fdt_phys || !PAGE_ALIGNED(fdt_phys) || fdt_len < sizeof(struct fdt_header) ||
	    fdt_len > PAGE_SIZE) {
		pr_err("handover ignored: root FDT at %pa with %llu bytes\n", &fdt_phys, fdt_len);
		return;
	}

	if (!arch_kho_is_ram(fdt_phys, PAGE_SIZE)) {
		pr_err("handover ignored: root FDT at %pa is not in memory\n", &fdt_phys);
		return;
	}

	fdt = early_memremap(fdt_phys, PAGE_SIZE);
	if (!fdt) {
		pr_err("handover ignored: cannot map the root FDT at %pa\n", &fdt_phys);
		return;
	}
	ret = kho_fdt_check_root(fdt, &kho_in.map_phys);
	early_memunmap(fdt, PAGE_SIZE);
	if (ret)
		return;

	if (kho_scratch_adopt(scratch_phys, scratch_len))
		return;

	kho_in.fdt_phys = fdt_phys;
	kho_in.populated = true;
	kho_hold_begin(0);
	pr_info("handover found: root FDT %pa, memory map %pa, %u scratch areas\n",
		&fdt_phys, &kho_in.map_phys, kho_scratch_nr);
}

/* May the page be read as something the previous kernel preserved? */
static bool __init ram_to_read(phys_addr_t phys)
{
	return PAGE_ALIGNED(phys) && phys >= SZ_1M && memblock_is_memory(phys) &&
	       !memblock_is_reserved(phys) && !kho_scratch_overlap(phys, PAGE_SIZE);
}

static bool __init node_ok(struct kho_radix_walker *walker, phys_addr_t phys)
{
	return ram_to_read(phys);
}

/* First pass: which granules? */

static bool __init mark_node(struct kho_radix_walker *walker, phys_addr_t phys)
{
	kho_in.nr_nodes++;
	kho_hold_mark_granules(PHYS_PFN(phys), 1);

	return true;
}

static void __init mark_leaf(struct kho_radix_walker *walker, unsigned int order,
			     unsigned long pfn, struct kho_radix_leaf *leaf)
{
	unsigned long *bits = kho_radix_leaf_bits(leaf);
	unsigned long bit = 0;

	for (;;) {
		unsigned long block, next;

		bit = find_next_bit(bits, KHO_RADIX_LEAF_BITS, bit);
		if (bit >= KHO_RADIX_LEAF_BITS)
			break;
		block = pfn + (bit << order);
		if (block >= walker->end_pfn)
			break;
		kho_hold_mark_granules(block, BIT(order));

		/* On to the first block that begins in another granule. */
		next = ALIGN(block + 1, kho_hold_granule_pages());
		bit = max(bit + 1, (next - pfn) >> order);
	}
}

static void __init note_bad(struct kho_radix_walker *walker, unsigned int level,
			    phys_addr_t phys, unsigned long pfn, unsigned long end)
{
	phys_addr_t from = PFN_PHYS(pfn), to = PFN_PHYS(end);

	if (!kho_in.nr_bad++)
		pr_err("memory map: bad node of level %u at %pa, memory from %pa to %pa stays unused\n",
		       level, &phys, &from, &to);
	if (pfn >= end)
		return;
	if (kho_in.nr_spans < KHO_BAD_SPANS) {
		kho_in.spans[kho_in.nr_spans].pfn = pfn;
		kho_in.spans[kho_in.nr_spans++].end = end;
	} else {
		/* Too many to tell apart. */
		kho_in.spans[0].pfn = min(kho_in.spans[0].pfn, pfn);
		kho_in.spans[0].end = max(kho_in.spans[0].end, end);
	}
}

/* Second pass: which pages? */

static bool __init hold_node(struct kho_radix_walker *walker, phys_addr_t phys)
{
	/* A page that is something else already cannot be a node. */
	return kho_hold_set(PHYS_PFN(phys), 1);
}

static void __init hold_words(struct kho_radix_leaf *leaf, unsigned long pfn)
{
	unsigned long *bits = kho_radix_leaf_bits(leaf);

	for (unsigned int i = 0; i < KHO_RADIX_LEAF_BITS / BITS_PER_LONG; i++) {
		unsigned long word = bits[i];

		if (!word)
			continue;
		if (!kho_hold_word(pfn + i * BITS_PER_LONG, &word)) {
			kho_in.nr_overlaps += hweight_long(bits[i] & ~word);
			bits[i] = word;
		}
		kho_in.nr_blocks[0] += hweight_long(word);
	}
}

static void __init hold_leaf(struct kho_radix_walker *walker, unsigned int order,
			     unsigned long pfn, struct kho_radix_leaf *leaf)
{
	unsigned long *bits = kho_radix_leaf_bits(leaf);
	unsigned int bit;

	if (!order) {
		hold_words(leaf, pfn);
		return;
	}

	for_each_set_bit(bit, bits, KHO_RADIX_LEAF_BITS) {
		unsigned long block = pfn + ((unsigned long)bit << order);

		if (block + BIT(order) > walker->end_pfn ||
		    kho_hold_test(block, 1) || kho_hold_set(block, BIT(order)) != BIT(order)) {
			__clear_bit(bit, bits);
			kho_in.nr_overlaps++;
			continue;
		}
		kho_in.nr_blocks[order]++;
	}
}

static void __init drop_scratch(void)
{
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		struct kho_scratch *area = &kho_scratch_areas[i];
		unsigned long nr = kho_hold_clear(PHYS_PFN(area->addr), PHYS_PFN(area->size));

		if (nr)
			pr_err("memory map: %lu pages in scratch ignored\n", nr);
	}
}

static void __init take_over_map(void)
{
	struct kho_radix_walker walker = {
		.end_pfn = max_pfn,
		.node_ok = node_ok,
		.node = mark_node,
		.leaf = mark_leaf,
		.bad = note_bad,
	};

	kho_hold_begin(max_pfn);
	if (!ram_to_read(kho_in.map_phys) || !ram_to_read(kho_in.fdt_phys)) {
		pr_err("handover ignored: root FDT with bad " KHO_PROP_MEMORY_MAP " %pa\n",
		       &kho_in.map_phys);
		kho_in.populated = false;
		kho_hold_none();
		kho_scratch_forget();
		return;
	}
	kho_in.root = phys_to_virt(kho_in.map_phys);
	mark_node(&walker, kho_in.map_phys);
	kho_radix_walk(kho_in.root, &walker);
	for (unsigned int i = 0; i < kho_in.nr_spans; i++)
		kho_hold_mark_granules(kho_in.spans[i].pfn,
				       kho_in.spans[i].end - kho_in.spans[i].pfn);

	if (kho_hold_alloc() || (kho_in.nr_spans && kho_hold_no_room())) {
		if (!kho_holds_everything())
			kho_hold_everything();
		kho_in.root = NULL;
		return;
	}

	walker.node = hold_node;
	walker.leaf = hold_leaf;
	kho_hold_set(PHYS_PFN(kho_in.map_phys), 1);
	kho_radix_walk(kho_in.root, &walker);
	for (unsigned int i = 0; i < kho_in.nr_spans; i++)
		kho_hold_set(kho_in.spans[i].pfn, kho_in.spans[i].end - kho_in.spans[i].pfn);
	drop_scratch();

	if (kho_in.nr_overlaps)
		pr_err("memory map: %lu blocks ignored that are not memory or not free for them\n",
		       kho_in.nr_overlaps);
	if (!kho_radix_test(kho_in.root, kho_radix_key(kho_in.fdt_phys, 0))) {
		pr_err("memory map: the root FDT at %pa is not in it, nothing is handed on\n",
		       &kho_in.fdt_phys);
		kho_in.root = NULL;
	}
}

/**
 * kho_take_over_map - read the previous kernel's map of preserved memory
 *
 * From here memblock stays off preserved pages by itself and may use memory
 * outside scratch.
 *
 * Context: boot, the direct map is complete.
 */
void __init kho_take_over_map(void)
{
	if (!kho_in.populated)
		return;

	luo_phase_boot(LUO_PHASE_MAP);
	take_over_map();
	luo_phase_boot(LUO_PHASE_BOOT);
}

/**
 * kho_in_carries_data - did the previous kernel hand anything over?
 *
 * Return: true if it did, whether or not this kernel may use it.
 */
bool kho_in_carries_data(void)
{
	return kho_in.populated;
}

/**
 * kho_in_root - the previous kernel's map of preserved memory
 *
 * Return: the root table, or NULL when nothing is to be taken from there.
 */
struct kho_radix_table *kho_in_root(void)
{
	return kho_is_enabled() ? kho_in.root : NULL;
}

/**
 * kho_in_fdt - the previous kernel's root FDT
 *
 * Return: the FDT, checked, or NULL when nothing is to be taken from there.
 */
void *kho_in_fdt(void)
{
	return kho_in_root() ? phys_to_virt(kho_in.fdt_phys) : NULL;
}

/**
 * kho_incoming_blocks - how many blocks of a size were handed over?
 * @order: of the blocks
 *
 * Context: any, after kho_take_over_map().
 * Return: number of them, whether or not they were restored since.
 */
unsigned long kho_incoming_blocks(unsigned int order)
{
	return kho_in_root() && order <= KHO_RADIX_MAX_ORDER ? kho_in.nr_blocks[order] : 0;
}

/**
 * kho_in_show - counts of what was handed over, a line each
 * @s: where to
 */
void kho_in_show(struct seq_file *s)
{
	for (unsigned int order = 0; order <= KHO_RADIX_MAX_ORDER; order++)
		if (kho_in.nr_blocks[order])
			seq_printf(s, "order %u: %lu\n", order, kho_in.nr_blocks[order]);
	seq_printf(s, "nodes: %lu\nbad nodes: %lu\nignored blocks: %lu\n", kho_in.nr_nodes,
		   kho_in.nr_bad, kho_in.nr_overlaps);
}
