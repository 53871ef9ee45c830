// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d page tables that stay in use while the kernel is replaced.
 *
 * Second-level tables, from the top one down: each is a page of its own. Those who call
 * see to it that no entry changes meanwhile; all functions but the checks of a single
 * table may sleep, and give way to others.
 */

#define pr_fmt(fmt) "DMAR: liveupdate: " fmt

#include <linux/io.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "iommu.h"
#include "liveupdate.h"
#include "../iommu-pages.h"

#define VTD_LUO_BATCH	64

/* ---- outgoing ---- */

/* Page tables on their way into or out of the record. */
struct vtd_luo_batch {
	struct folio *folio[VTD_LUO_BATCH];
	unsigned int nr;
	unsigned long done;
};

static int vtd_luo_batch_preserve(struct vtd_luo_batch *batch)
{
	int ret = kho_preserve_folios(batch->folio, batch->nr);

	if (!ret)
		batch->done += batch->nr;
	batch->nr = 0;
	cond_resched();
	return ret;
}

static int vtd_luo_preserve_table(struct vtd_luo_batch *batch, struct dma_pte *table, int level)
{
	int ret;

	batch->folio[batch->nr++] = virt_to_folio(table);
	if (batch->nr == VTD_LUO_BATCH) {
		ret = vtd_luo_batch_preserve(batch);
		if (ret)
			return ret;
	}
	for (int i = 0; level > 1 && i < BIT(LEVEL_STRIDE); i++) {
		if (!dma_pte_present(&table[i]) || dma_pte_superpage(&table[i]))
			continue;
		ret = vtd_luo_preserve_table(batch, phys_to_virt(dma_pte_addr(&table[i])),
					     level - 1);
		if (ret)
			return ret;
	}
	return 0;
}

/* The first so many, in the order in which they were preserved. */
static void vtd_luo_unpreserve_table(unsigned long *todo, struct dma_pte *table, int level)
{
	struct folio *folio = virt_to_folio(table);

	if (!*todo)
		return;
	--*todo;
	kho_unpreserve_folio(folio);
	for (int i = 0; level > 1 && i < BIT(LEVEL_STRIDE); i++)
		if (dma_pte_present(&table[i]) && !dma_pte_superpage(&table[i]))
			vtd_luo_unpreserve_table(todo, phys_to_virt(dma_pte_addr(&table[i])),
						 level - 1);
	cond_resched();
}

/**
 * vtd_luo_preserve_tables - preserve the page tables of a domain
 * @pgd: the top one
 * @level: its level
 *
 * Context: may sleep.
 * Return: 0, or what kho_preserve_folios() returns; nothing is preserved then.
 */
int vtd_luo_preserve_tables(struct dma_pte *pgd, int level)
{
	struct vtd_luo_batch *batch;
	int ret;

	batch = kzalloc(sizeof(*batch), GFP_KERNEL);
	if (!batch)
		return -ENOMEM;
	ret = vtd_luo_preserve_table(batch, pgd, level);
	if (!ret)
		ret = vtd_luo_batch_preserve(batch);
	if (ret)
		vtd_luo_unpreserve_table(&batch->done, pgd, level);
	kfree(batch);
	return ret;
}

/**
 * vtd_luo_unpreserve_tables - undo vtd_luo_preserve_tables()
 * @pgd: the top one
 * @level: its level
 *
 * Context: may sleep.
 */
void vtd_luo_unpreserve_tables(struct dma_pte *pgd, int level)
{
	unsigned long all = ULONG_MAX;

	vtd_luo_unpreserve_table(&all, pgd, level);
}

/* ---- what is mapped ---- */

/* A walk over what is mapped, and the stretch that has been found so far. */
struct vtd_luo_walk {
	struct iommu_liveupdate_run run;
	iommu_liveupdate_run_fn *fn;
	void *data;
};

static int vtd_luo_walk_tell(struct vtd_luo_walk *walk)
{
	int ret = walk->run.size ? walk->fn(&walk->run, walk->data) : 0;

	walk->run.size = 0;
	return ret;
}

/* Of one table, the entries for @iova to @last; a stretch ends where the table does. */
static int vtd_luo_walk_table(struct vtd_luo_walk *walk, struct dma_pte *table, int level,
			      unsigned long iova, unsigned long last)
{
	size_t leaf = VTD_PAGE_SIZE << level_to_offset_bits(level);
	struct iommu_liveupdate_run *run = &walk->run;
	unsigned long end;
	phys_addr_t phys;
	int ret = 0;

	table += pfn_level_offset(iova >> VTD_PAGE_SHIFT, level);
	for (;; table++, iova = end + 1) {
		end = min(iova | (leaf - 1), last);
		if (!dma_pte_present(table)) {
			ret = vtd_luo_walk_tell(walk);
		} else if (level > 1 && !dma_pte_superpage(table)) {
			ret = vtd_luo_walk_tell(walk);
			if (!ret)
				ret = vtd_luo_walk_table(walk, phys_to_virt(dma_pte_addr(table)),
							 level - 1, iova, end);
		} else {
			phys = dma_pte_addr(table) + (iova & (leaf - 1));
			if (!run->size || run->phys + run->size != phys) {
				ret = vtd_luo_walk_tell(walk);
				run->iova = iova;
				run->phys = phys;
				run->leaf = leaf;
			}
			run->size += end - iova + 1;
		}
		if (ret)
			return ret;
		if (end == last)
			return vtd_luo_walk_tell(walk);
	}
}

/**
 * vtd_luo_walk_tables - go through what page tables map
 * @pgd: the top one
 * @level: its level
 * @iova: first IOVA
 * @last: last IOVA, not beyond what @level can map
 * @fn: called with each stretch, in order; ends the walk by not returning 0
 * @data: for @fn
 *
 * Context: may sleep if @fn does.
 * Return: what the last call of @fn returned.
 */
int vtd_luo_walk_tables(struct dma_pte *pgd, int level, unsigned long iova, unsigned long last,
			iommu_liveupdate_run_fn *fn, void *data)
{
	struct vtd_luo_walk walk = { .fn = fn, .data = data };

	return vtd_luo_walk_table(&walk, pgd, level, iova, last);
}

/* ---- incoming ---- */

/**
 * vtd_luo_is_table - is there a table that the previous kernel has preserved?
 * @pa: where it should be
 *
 * Context: any.
 * Return: true if there is, and it was not taken over yet.
 */
bool vtd_luo_is_table(u64 pa)
{
	return pa && IS_ALIGNED(pa, VTD_PAGE_SIZE) && kho_incoming_order(pa) == 0;
}

/**
 * vtd_luo_take - take a table over: from here on it is a page like any other
 * @pa: where it is
 *
 * Context: may sleep.
 * Return: false if it was taken over before.
 */
bool vtd_luo_take(u64 pa)
{
	struct folio *folio = kho_restore_folio(pa);

	if (!folio)
		return false;
	__iommu_alloc_account(folio_page(folio, 0), 0);
	return true;
}

/**
 * vtd_luo_each_table - go through all tables below one
 * @table: the one
 * @level: its level
 * @fn: called with each before it is looked into; ends the walk by returning false
 *
 * Context: may sleep if @fn does.
 * Return: 0, or -EINVAL if @fn has returned false.
 */
int vtd_luo_each_table(struct dma_pte *table, int level, bool (*fn)(u64 pa))
{
	int ret;

	for (int i = 0; level > 1 && i < BIT(LEVEL_STRIDE); i++) {
		u64 pa = dma_pte_addr(&table[i]);

		if (!dma_pte_present(&table[i]) || dma_pte_superpage(&table[i]))
			continue;
		if (!fn(pa))
			return -EINVAL;
		ret = vtd_luo_each_table(phys_to_virt(pa), level - 1, fn);
		if (ret)
			return ret;
	}
	cond_resched();
	return 0;
}

/**
 * vtd_luo_take_tables - take over all tables below one
 * @pgd: the top one, which is this kernel's already
 * @level: its level
 *
 * A table that is in two places can be taken over once, so that is an error.
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL if one of them was not preserved.
 */
int vtd_luo_take_tables(struct dma_pte *pgd, int level)
{
	return vtd_luo_each_table(pgd, level, vtd_luo_is_table) ?:
	       vtd_luo_each_table(pgd, level, vtd_luo_take);
}
