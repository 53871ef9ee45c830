/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec HandOver: what its files share, grouped by the file that implements it.
 */
#ifndef _KHO_INTERNAL_H
#define _KHO_INTERNAL_H

#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/kho_hooks.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mutex.h>

struct kho_image;
struct seq_file;

static inline struct page *kho_phys_to_page(phys_addr_t phys)
{
	return pfn_to_page(PHYS_PFN(phys));
}

/* kho_radix.c: the preserved-memory radix tree, wherever it comes from. */

#define KHO_RADIX_LEAF_BITS	BIT(KHO_RADIX_LEAF_SHIFT)
#define KHO_RADIX_TABLE_SLOTS	BIT(KHO_RADIX_TABLE_SHIFT)

/* Highest order of a block that this kernel can give back: a gigantic page. */
#define KHO_MAX_ORDER		(PUD_SHIFT - PAGE_SHIFT)

static inline u64 kho_radix_key(phys_addr_t phys, unsigned int order)
{
	return BIT_ULL(KHO_RADIX_MAX_ORDER - order) | (phys >> (KHO_RADIX_PAGE_SHIFT + order));
}

static inline unsigned int kho_radix_key_order(u64 key)
{
	return KHO_RADIX_MAX_ORDER - __fls(key);
}

static inline phys_addr_t kho_radix_key_phys(u64 key)
{
	unsigned int mark = __fls(key);

	return (key ^ BIT_ULL(mark)) << (KHO_RADIX_PAGE_SHIFT + KHO_RADIX_MAX_ORDER - mark);
}

static inline unsigned int kho_radix_leaf_bit(u64 key)
{
	return key & (KHO_RADIX_LEAF_BITS - 1);
}

static inline unsigned long *kho_radix_leaf_bits(struct kho_radix_leaf *leaf)
{
	return (unsigned long *)leaf->bits;
}

/**
 * struct kho_radix_walker - a pass over a tree that need not be trusted
 * @end_pfn: first page frame that no block can cover
 * @node_ok: may the page at @phys be read as a node of the tree?
 * @node: called for each sound node before what is below it; the node and all
 *	below are cut off the tree if it returns false. May be NULL
 * @leaf: called for each leaf; bit 0 is the block of @order at @pfn
 * @bad: called for each node that was cut off; it stood for the page frames
 *	from @pfn up to, not including, @end. May be NULL
 */
struct kho_radix_walker {
	unsigned long end_pfn;
	bool (*node_ok)(struct kho_radix_walker *walker, phys_addr_t phys);
	bool (*node)(struct kho_radix_walker *walker, phys_addr_t phys);
	void (*leaf)(struct kho_radix_walker *walker, unsigned int order, unsigned long pfn,
		     struct kho_radix_leaf *leaf);
	void (*bad)(struct kho_radix_walker *walker, unsigned int level, phys_addr_t phys,
		    unsigned long pfn, unsigned long end);
};

struct kho_radix_table *kho_radix_alloc(void);
void kho_radix_free(struct kho_radix_table *root);
struct kho_radix_leaf *kho_radix_find_leaf(struct kho_radix_table *root, u64 key);
struct kho_radix_leaf *kho_radix_make_leaf(struct kho_radix_table *root, u64 key);
bool kho_radix_test(struct kho_radix_table *root, u64 key);
void kho_radix_walk(struct kho_radix_table *root, struct kho_radix_walker *walker);

/* kho_preserve.c: the map of this kernel. */

int kho_preserve_init(void);
phys_addr_t kho_out_root_phys(void);
void kho_out_mark_baseline(void);
bool kho_out_has_state(void);
void kho_out_show(struct seq_file *s);

/* kho_early.c: what the previous kernel left. */

struct kho_radix_table *kho_in_root(void);
void *kho_in_fdt(void);
bool kho_in_carries_data(void);
void kho_in_show(struct seq_file *s);

/* kho_hold.c: pages held back from the allocators until they are restored. */

void kho_hold_begin(unsigned long end_pfn);
void kho_hold_mark_granules(unsigned long pfn, unsigned long nr_pages);
int kho_hold_alloc(void);
void kho_hold_everything(void);
bool kho_holds_everything(void);
bool kho_hold_no_room(void);
void kho_hold_none(void);
bool kho_hold_word(unsigned long pfn, unsigned long *word);
unsigned long kho_hold_set(unsigned long pfn, unsigned long nr_pages);
unsigned long kho_hold_clear(unsigned long pfn, unsigned long nr_pages);
bool kho_hold_test(unsigned long pfn, unsigned long nr_pages);
bool kho_hold_claim(unsigned long pfn, unsigned long nr_pages);
void kho_hold_unclaim(unsigned long pfn, unsigned long nr_pages);
unsigned long kho_hold_granule_pages(void);
void kho_memblock_avoid_scratch(bool avoid);

/* kho_restore.c: preserved pages go back to their owners. */

void kho_hold_back(phys_addr_t phys, unsigned long nr_pages);

/* kho_scratch.c: memory in which the next kernel boots. */

extern struct kho_scratch kho_scratch_areas[];
extern unsigned int kho_scratch_nr;

int kho_scratch_adopt(phys_addr_t phys, u64 len);
int kho_scratch_reserve(void);
phys_addr_t kho_scratch_array_phys(void);
size_t kho_scratch_array_size(void);
int kho_scratch_init(void);
void kho_scratch_forget(void);
bool kho_scratch_covers(phys_addr_t phys, u64 size);
void kho_scratch_set_pageblocks(void);
void kho_scratch_show(struct seq_file *s);

/* kho_fdt.c: root FDTs, outgoing and incoming. */

int kho_fdt_check_root(const void *fdt, phys_addr_t *map);
int kho_fdt_init(phys_addr_t map);
phys_addr_t kho_fdt_phys(void);
void *kho_fdt_out(void);

/* kho_image.c: what the next kernel says of itself. */

const char *kho_record_fault(const void *record, size_t size);
struct kho_image *kho_image_parse(const void *kernel, size_t size, const char *cmdline);

/* kho_poke.c: damage for tests. */

struct dentry;

#ifdef CONFIG_KEXEC_HANDOVER_POKE
void kho_poke_init(struct dentry *dir);
#else
static inline void kho_poke_init(struct dentry *dir)
{
}
#endif

/* kho_reserve_mem.c and kho_metadata.c: producers of our own. */

int kho_reserve_mem_init(void);
phys_addr_t kho_reserve_mem_size(int nid);
int kho_metadata_init(void);

#endif /* _KHO_INTERNAL_H */
