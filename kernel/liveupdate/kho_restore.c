// SPDX-License-Identifier: GPL-2.0
/*
 * Restoring memory: preserved pages go back to their owners.
 */

/**
 * DOC: restoring
 *
 * An address that the previous kernel wrote somewhere is only as good as its
 * memory map: a block is given back if it is in the map, at just this address, and
 * if none of its pages was given back before (kho_hold_claim()). Everything else
 * gets NULL.
 *
 * The map is not changed after boot, so look-ups take no lock.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/export.h>
#include <linux/io.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/printk.h>

#include "../../mm/internal.h"
#include "kho_internal.h"

/* Is there a block of @order at @phys that nobody has taken? */
static bool block_waits(struct kho_radix_table *root, phys_addr_t phys, unsigned int order)
{
	return IS_ALIGNED(phys, PAGE_SIZE << order) &&
	       kho_radix_test(root, kho_radix_key(phys, order)) &&
	       kho_hold_test(PHYS_PFN(phys), BIT(order));
}

/**
 * kho_incoming_order - size of the preserved block at an address
 * @phys: physical address
 *
 * Context: any.
 * Return: order of the block that begins at @phys and was not restored yet, or
 * -ENOENT when there is none.
 */
int kho_incoming_order(phys_addr_t phys)
{
	struct kho_radix_table *root = kho_in_root();

	if (!root || !PAGE_ALIGNED(phys))
		return -ENOENT;
	for (unsigned int order = 0; order <= KHO_RADIX_MAX_ORDER - PAGE_SHIFT; order++) {
		if (!IS_ALIGNED(phys, PAGE_SIZE << order))
			break;
		if (block_waits(root, phys, order))
			return order;
	}

	return -ENOENT;
}
EXPORT_SYMBOL_GPL(kho_incoming_order);

/**
 * kho_incoming_range - may a piece of memory be read as preserved data?
 * @phys: physical address of the first byte
 * @size: number of bytes
 *
 * To be asked before data is read from an address that comes from the previous
 * kernel.
 *
 * Context: any.
 * Return: true if all of it is in one preserved block that was not restored yet.
 */
bool kho_incoming_range(phys_addr_t phys, size_t size)
{
	struct kho_radix_table *root = kho_in_root();

	if (!root || !size || phys + size < phys)
		return false;
	for (unsigned int order = 0; order <= KHO_RADIX_MAX_ORDER - PAGE_SHIFT; order++) {
		phys_addr_t base = ALIGN_DOWN(phys, PAGE_SIZE << order);

		if (phys + size <= base + (PAGE_SIZE << order) && block_waits(root, base, order))
			return true;
	}

	return false;
}
EXPORT_SYMBOL_GPL(kho_incoming_range);

/* Take a block for its owner. */
static bool claim_block(phys_addr_t phys, unsigned int order)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(phys));

	/* Memory that is no memory, or that boot reserved, belongs to no one here. */
	if (!page || PageReserved(page)) {
		pr_err_ratelimited("preserved block of order %u at %pa is not in usable memory\n",
				   order, &phys);
		return false;
	}

	return kho_hold_claim(PHYS_PFN(phys), BIT(order));
}

/**
 * kho_restore_folio - get a preserved folio back
 * @phys: physical address of its first page
 *
 * Context: any, after struct pages are initialised (from the initcalls on).
 * Return: the folio as kho_preserve_folio() had it, with one reference, which
 * belongs to the caller; NULL when no folio waits there.
 */
struct folio *kho_restore_folio(phys_addr_t phys)
{
	int order = kho_incoming_order(phys);
	struct page *page;

	if (order < 0 || order > KHO_MAX_ORDER || !claim_block(phys, order))
		return NULL;

	page = kho_phys_to_page(phys);
	for (unsigned long i = 0; i < BIT(order); i++) {
		clear_page_tag_ref(page + i);
		set_page_count(page + i, i ? 0 : 1);
	}
	if (order)
		prep_compound_page(page, order);
	adjust_managed_page_count(page, BIT(order));

	return page_folio(page);
}
EXPORT_SYMBOL_GPL(kho_restore_folio);

/**
 * kho_restore_pages - get a preserved range of pages back
 * @phys: physical address of the first page
 * @nr_pages: how many, the same number as when they were preserved
 *
 * All or none.
 *
 * Context: any, after struct pages are initialised (from the initcalls on).
 * Return: the first page; each has one reference, which belongs to the caller.
 * NULL when some of them are not there, then none is touched.
 */
struct page *kho_restore_pages(phys_addr_t phys, unsigned long nr_pages)
{
	phys_addr_t end = phys + PFN_PHYS(nr_pages);
	phys_addr_t pos;
	struct page *page;

	if (!nr_pages || end < phys || PHYS_PFN(end - phys) != nr_pages)
		return NULL;

	for (pos = phys; pos < end; ) {
		int order = kho_incoming_order(pos);

		if (order < 0 || PFN_PHYS(BIT(order)) > end - pos || !claim_block(pos, order)) {
			kho_hold_unclaim(PHYS_PFN(phys), PHYS_PFN(pos - phys));
			return NULL;
		}
		pos += PFN_PHYS(BIT(order));
	}

	for (pos = phys; pos < end; pos += PAGE_SIZE) {
		page = kho_phys_to_page(pos);
		clear_page_tag_ref(page);
		set_page_count(page, 1);
		adjust_managed_page_count(page, 1);
	}

	return kho_phys_to_page(phys);
}
EXPORT_SYMBOL_GPL(kho_restore_pages);

/**
 * kho_hold_back - undo kho_restore_pages()
 * @phys: physical address of the first page
 * @nr_pages: how many; nobody else has a reference on them
 *
 * Context: any.
 */
void kho_hold_back(phys_addr_t phys, unsigned long nr_pages)
{
	for (unsigned long i = 0; i < nr_pages; i++)
		adjust_managed_page_count(kho_phys_to_page(phys) + i, -1);
	kho_hold_unclaim(PHYS_PFN(phys), nr_pages);
}

/**
 * kho_restore_free - free what was preserved with kho_alloc_preserve()
 * @mem: its address in this kernel's direct map, or NULL
 *
 * What was restored already, or never preserved, is left alone.
 *
 * Context: any, after struct pages are initialised (from the initcalls on).
 */
void kho_restore_free(void *mem)
{
	struct folio *folio;

	if (!mem)
		return;
	folio = kho_restore_folio(virt_to_phys(mem));
	if (folio)
		folio_put(folio);
}
EXPORT_SYMBOL_GPL(kho_restore_free);
