// SPDX-License-Identifier: GPL-2.0
/*
 * Preserving memory: the map that this kernel leaves to the next.
 */

/**
 * DOC: preserving
 *
 * A page is preserved while its block is in the outgoing radix tree, no more and
 * no less: the page's owner keeps its reference, and has to take the page out of
 * the tree before it lets go of it. A block is entered once; the same folio
 * preserved twice is an error of the caller's.
 *
 * @out.lock protects the tree. It is a mutex, as nodes of the tree are allocated
 * under it. It is the innermost lock of the callers, among them the page fault
 * path of preserved memfds; nothing but memory is waited for under it.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/seq_file.h>

#include "kho_internal.h"

static struct {
	struct mutex lock;		/* protects all of it */
	struct kho_radix_table *root;
	unsigned long nr_blocks[KHO_RADIX_MAX_ORDER + 1];
	unsigned long nr_pages;
	unsigned long baseline;		/* pages that were preserved at boot */
} out = {
	.lock = __MUTEX_INITIALIZER(out.lock),
};

/* Where the last key was: keys of neighbours share a leaf. */
struct out_cursor {
	u64 span;
	struct kho_radix_leaf *leaf;
};

static struct kho_radix_leaf *leaf_of(struct out_cursor *cursor, u64 key)
{
	u64 span = key >> KHO_RADIX_LEAF_SHIFT;

	lockdep_assert_held(&out.lock);

	if (!cursor->leaf || cursor->span != span) {
		cursor->leaf = kho_radix_make_leaf(out.root, key);
		cursor->span = span;
	}

	return cursor->leaf;
}

static int set_block(struct out_cursor *cursor, unsigned long pfn, unsigned int order)
{
	u64 key = kho_radix_key(PFN_PHYS(pfn), order);
	struct kho_radix_leaf *leaf = leaf_of(cursor, key);

	if (!leaf)
		return -ENOMEM;
	if (__test_and_set_bit(kho_radix_leaf_bit(key), kho_radix_leaf_bits(leaf)))
		return -EEXIST;
	out.nr_blocks[order]++;
	out.nr_pages += BIT(order);

	return 0;
}

static void clear_block(unsigned long pfn, unsigned int order)
{
	u64 key = kho_radix_key(PFN_PHYS(pfn), order);
	struct kho_radix_leaf *leaf = kho_radix_find_leaf(out.root, key);

	lockdep_assert_held(&out.lock);

	if (WARN_ON_ONCE(!leaf ||
			 !__test_and_clear_bit(kho_radix_leaf_bit(key),
					       kho_radix_leaf_bits(leaf))))
		return;
	out.nr_blocks[order]--;
	out.nr_pages -= BIT(order);
}

/**
 * kho_preserve_folios - let folios survive the next kexec
 * @folios: the folios, of any order; the caller holds a reference on each
 * @nr: how many
 *
 * All or none. Folios that are close to each other in memory cost least.
 *
 * Context: may sleep.
 * Return: 0, -EOPNOTSUPP when KHO is off, -EINVAL when one of them lies in scratch,
 * -EEXIST when one is preserved already, -ENOMEM.
 */
int kho_preserve_folios(struct folio **folios, unsigned int nr)
{
	unsigned long clear_of_scratch = ULONG_MAX;
	struct out_cursor cursor = {};
	unsigned int i;
	int ret = 0;

	if (!kho_is_enabled())
		return -EOPNOTSUPP;

	guard(mutex)(&out.lock);
	for (i = 0; i < nr; i++) {
		unsigned long pfn = folio_pfn(folios[i]);
		unsigned int order = folio_order(folios[i]);

		/* Scratch areas begin and end with page blocks. */
		if (pfn >> pageblock_order != clear_of_scratch) {
			if (kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE << order)) {
				ret = -EINVAL;
				break;
			}
			if (order <= pageblock_order)
				clear_of_scratch = pfn >> pageblock_order;
		}
		ret = set_block(&cursor, pfn, order);
		if (ret)
			break;
	}
	if (ret)
		while (i--)
			clear_block(folio_pfn(folios[i]), folio_order(folios[i]));

	return ret;
}
EXPORT_SYMBOL_GPL(kho_preserve_folios);
ALLOW_ERROR_INJECTION(kho_preserve_folios, ERRNO);

/**
 * kho_unpreserve_folios - undo kho_preserve_folios()
 * @folios: the folios, of the same orders as when they were preserved
 * @nr: how many
 *
 * Context: may sleep.
 */
void kho_unpreserve_folios(struct folio **folios, unsigned int nr)
{
	guard(mutex)(&out.lock);
	for (unsigned int i = 0; i < nr; i++)
		clear_block(folio_pfn(folios[i]), folio_order(folios[i]));
}
EXPORT_SYMBOL_GPL(kho_unpreserve_folios);

/**
 * kho_preserve_folio - let a folio survive the next kexec
 * @folio: the folio, of any order; the caller holds a reference
 *
 * The next kernel gets it back with kho_restore_folio(), as a folio of the same
 * order.
 *
 * Context: may sleep.
 * Return: as kho_preserve_folios().
 */
int kho_preserve_folio(struct folio *folio)
{
	return kho_preserve_folios(&folio, 1);
}
EXPORT_SYMBOL_GPL(kho_preserve_folio);

/**
 * kho_unpreserve_folio - undo kho_preserve_folio()
 * @folio: the folio, of the same order as when it was preserved
 *
 * Context: may sleep.
 */
void kho_unpreserve_folio(struct folio *folio)
{
	kho_unpreserve_folios(&folio, 1);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_folio);

/*
 * Order of the block that begins at @pfn when pages up to @end are entered: the
 * largest aligned one that is on one node.
 */
static unsigned int range_order(unsigned long pfn, unsigned long end)
{
	unsigned int order = ilog2(end - pfn);

	if (pfn)
		order = min_t(unsigned int, order, __ffs(pfn));
	while (order && pfn_to_nid(pfn) != pfn_to_nid(pfn + BIT(order) - 1))
		order--;

	return order;
}

static void clear_range(unsigned long pfn, unsigned long end, unsigned long stop)
{
	while (pfn < stop) {
		unsigned int order = range_order(pfn, end);

		clear_block(pfn, order);
		pfn += BIT(order);
	}
}

/**
 * kho_preserve_pages - let a range of pages survive the next kexec
 * @page: the first page; the caller owns all of them
 * @nr_pages: how many
 *
 * The next kernel gets them back with kho_restore_pages(), all in one call and
 * as single pages, whatever they are now.
 *
 * Context: may sleep.
 * Return: 0, -EOPNOTSUPP when KHO is off, -EINVAL when a page lies in scratch,
 * -EEXIST when a block of them is preserved already, -ENOMEM.
 */
int kho_preserve_pages(struct page *page, unsigned long nr_pages)
{
	unsigned long pfn = page_to_pfn(page), start = pfn, end = pfn + nr_pages;
	struct out_cursor cursor = {};
	int ret = 0;

	if (!kho_is_enabled())
		return -EOPNOTSUPP;
	if (kho_scratch_overlap(PFN_PHYS(pfn), nr_pages << PAGE_SHIFT))
		return -EINVAL;

	guard(mutex)(&out.lock);
	while (pfn < end) {
		unsigned int order = range_order(pfn, end);

		ret = set_block(&cursor, pfn, order);
		if (ret) {
			clear_range(start, end, pfn);
			break;
		}
		pfn += BIT(order);
	}

	return ret;
}
EXPORT_SYMBOL_GPL(kho_preserve_pages);
ALLOW_ERROR_INJECTION(kho_preserve_pages, ERRNO);

/**
 * kho_unpreserve_pages - undo kho_preserve_pages()
 * @page: the first page
 * @nr_pages: how many, the same number as when they were preserved
 *
 * Context: may sleep.
 */
void kho_unpreserve_pages(struct page *page, unsigned long nr_pages)
{
	unsigned long pfn = page_to_pfn(page);

	guard(mutex)(&out.lock);
	clear_range(pfn, pfn + nr_pages, pfn + nr_pages);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_pages);

/**
 * kho_alloc_preserve - get memory that survives the next kexec
 * @size: bytes wanted
 *
 * Context: may sleep.
 * Return: zeroed memory at the start of a page, one folio of its own, or an
 * ERR_PTR() of -EOPNOTSUPP, -EINVAL or -ENOMEM.
 */
void *kho_alloc_preserve(size_t size)
{
	struct folio *folio;
	int ret;

	if (!kho_is_enabled())
		return ERR_PTR(-EOPNOTSUPP);
	if (!size || get_order(size) > MAX_PAGE_ORDER)
		return ERR_PTR(-EINVAL);

	folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, get_order(size));
	if (!folio)
		return ERR_PTR(-ENOMEM);
	ret = kho_preserve_folio(folio);
	if (ret) {
		folio_put(folio);
		return ERR_PTR(ret);
	}

	return folio_address(folio);
}
EXPORT_SYMBOL_GPL(kho_alloc_preserve);

/**
 * kho_unpreserve_free - undo kho_alloc_preserve()
 * @mem: what it returned, or NULL
 *
 * Context: may sleep.
 */
void kho_unpreserve_free(void *mem)
{
	struct folio *folio;

	if (!mem)
		return;
	folio = virt_to_folio(mem);
	kho_unpreserve_folio(folio);
	folio_put(folio);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_free);

/**
 * kho_preserve_init - make an empty outgoing map
 *
 * Context: initcall.
 * Return: 0, or -ENOMEM.
 */
int __init kho_preserve_init(void)
{
	out.root = kho_radix_alloc();

	return out.root ? 0 : -ENOMEM;
}

/**
 * kho_out_root_phys - where the next kernel finds the map
 *
 * Return: physical address of the root of the radix tree.
 */
phys_addr_t kho_out_root_phys(void)
{
	return virt_to_phys(out.root);
}

/**
 * kho_out_mark_baseline - what is preserved now is no reason to refuse a kexec
 *
 * Context: initcall, the last one.
 */
void __init kho_out_mark_baseline(void)
{
	guard(mutex)(&out.lock);
	out.baseline = out.nr_pages;
}

/**
 * kho_out_has_state - would a kexec without handover lose something?
 *
 * Context: may sleep.
 * Return: true if there are pages preserved that were not yet
 * when the kernel came up.
 */
bool kho_out_has_state(void)
{
	guard(mutex)(&out.lock);
	return out.nr_pages > out.baseline;
}

/**
 * kho_out_show - counts of what is preserved, a line each
 * @s: where to
 */
void kho_out_show(struct seq_file *s)
{
	guard(mutex)(&out.lock);
	for (unsigned int order = 0; order <= KHO_RADIX_MAX_ORDER; order++)
		if (out.nr_blocks[order])
			seq_printf(s, "order %u: %lu\n", order, out.nr_blocks[order]);
	seq_printf(s, "pages: %lu\n", out.nr_pages);
}
