// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: what there is to carry, without carrying it.
 */

/**
 * DOC: memfd_luo stat
 *
 * stat() tells how many folios of each order a memfd has, and how much memory its
 * record takes. Nothing is allocated, changed or taken over for that:
 *
 * - a preserved file has been counted while it was preserved;
 * - of a file that is not preserved, or is retrieved, the page cache is counted. What
 *   is in swap counts as so many single pages, as which it may come in;
 * - of a file that was not retrieved yet, the record is read, with the same mistrust
 *   as when it is taken over, but left where it is.
 *
 * Locks: &memfd_luo.lock for a preserved file; the lock of the page cache, which is
 * let go every %STAT_BATCH entries, so that what is counted may change meanwhile.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/xarray.h>

#include "internal.h"
#include "memfd_luo.h"

/* Entries that are counted between two looks at the clock. */
#define STAT_BATCH	1024

/**
 * memfd_luo_record_bytes - how much memory does the record of a memfd take?
 * @record_pages: number of pages of the array
 *
 * Return: bytes of the page that leads to it, the records, and their chunks.
 */
u64 memfd_luo_record_bytes(u64 record_pages)
{
	u64 chunks = DIV_ROUND_UP_ULL(record_pages, KHO_VMALLOC_CHUNK_SLOTS);

	return (1 + record_pages + chunks) * PAGE_SIZE;
}

static int breathe(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static int count_page_cache(struct address_space *mapping, struct liveupdate_file_stat *stat,
			    bool *poisoned)
{
	XA_STATE(xas, &mapping->i_pages, 0);
	unsigned int nr = 0;
	struct folio *folio;
	int err;

	BUILD_BUG_ON(MAX_PAGECACHE_ORDER >= LIVEUPDATE_NR_ORDERS);

	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, ULONG_MAX) {
		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio)) {
			stat->folios[0] += 1UL << xas_get_order(&xas);
		} else {
			stat->folios[folio_order(folio)]++;
			*poisoned |= folio_contain_hwpoisoned_page(folio);
		}
		if (++nr % STAT_BATCH)
			continue;
		xas_pause(&xas);
		xas_unlock_irq(&xas);
		err = breathe();
		if (err)
			return err;
		xas_lock_irq(&xas);
	}
	xas_unlock_irq(&xas);
	return 0;
}

static int stat_file(struct file *file, struct liveupdate_file_stat *stat, bool *poisoned)
{
	u64 nr = 0;
	int err;

	err = count_page_cache(file->f_mapping, stat, poisoned);
	if (err)
		return err;
	for (unsigned int order = 0; order < LIVEUPDATE_NR_ORDERS; order++)
		nr += stat->folios[order];
	stat->metadata = memfd_luo_record_bytes(DIV_ROUND_UP_ULL(nr, MEMFD_LUO_RECORDS_PER_PAGE));
	return 0;
}

static int stat_candidate(struct file *file, struct liveupdate_file_stat *stat)
{
	unsigned long limit = memfd_luo_memlock_limit(), pages = 0;
	struct user_struct *user = current_user();
	bool poisoned = false;
	int err;

	err = memfd_luo_check(file) ?: stat_file(file, stat, &poisoned);
	if (err)
		return err;
	if (poisoned)
		return -EIO;
	for (unsigned int order = 0; order < LIVEUPDATE_NR_ORDERS; order++)
		pages += stat->folios[order] << order;
	if (pages > limit || atomic_long_read(&user->locked_vm) > limit - pages)
		return -ENOMEM;
	return 0;
}

static int stat_preserved(struct memfd_luo *m, struct liveupdate_file_stat *stat)
{
	guard(mutex)(&m->lock);

	for (unsigned int order = 0; order < LIVEUPDATE_NR_ORDERS; order++)
		stat->folios[order] = m->nr_folios[order];
	stat->metadata = memfd_luo_record_bytes(m->writer.ser->folios.total_pages);
	return 0;
}

static int count_records(const struct memfd_luo_folio_ser *records, u64 nr, unsigned int skip,
			 struct liveupdate_file_stat *stat)
{
	for (u64 i = 0; i < nr; i++) {
		int order;

		if (!(i % STAT_BATCH)) {
			int err = breathe();

			if (err)
				return err;
		}
		if (!records[i].pfn || records[i].flags & skip)
			continue;
		order = kho_incoming_order(PFN_PHYS((phys_addr_t)records[i].pfn));
		if (order < 0 || order >= LIVEUPDATE_NR_ORDERS)
			return -EINVAL;
		stat->folios[order]++;
	}
	return 0;
}

/**
 * memfd_luo_stat_incoming - what does it take to carry a file that is not retrieved?
 * @pa: where the previous kernel says that its record is
 * @skip: flags of records that do not stand for a folio
 * @stat: to be filled in
 *
 * Context: may sleep.
 * Return: 0 or a negative errno.
 */
int memfd_luo_stat_incoming(u64 pa, unsigned int skip, struct liveupdate_file_stat *stat)
{
	/* Every page that is followed holds a record at least, of which there are so many. */
	struct kho_vmalloc_chunk *chunk = NULL;
	unsigned int slot = 0;
	struct memfd_luo_ser ser;
	u64 left, nr, next;
	int err;

	err = memfd_luo_read_ser(pa, &ser);
	if (err)
		return err;

	stat->metadata = memfd_luo_record_bytes(ser.folios.total_pages);
	next = ser.folios.first;
	for (left = ser.nr_folios; left; left -= nr) {
		if (!chunk || slot == KHO_VMALLOC_CHUNK_SLOTS) {
			if (!PAGE_ALIGNED(next) || kho_incoming_order(next))
				return -EINVAL;
			chunk = phys_to_virt(next);
			next = chunk->next;
			slot = 0;
		}
		pa = chunk->phys[slot++];
		if (!PAGE_ALIGNED(pa) || !kho_incoming_range(pa, PAGE_SIZE << ser.folios.order))
			return -EINVAL;
		nr = min(left, MEMFD_LUO_RECORDS_PER_PAGE << ser.folios.order);
		err = count_records(phys_to_virt(pa), nr, skip, stat);
		if (err)
			return err;
	}
	return 0;
}

/**
 * memfd_luo_stat - what does it take to carry a memfd?
 * @args: as for &liveupdate_file_ops.stat
 * @stat: to be filled in
 *
 * Context: may sleep.
 * Return: 0 or a negative errno: -EAGAIN for a file that is half retrieved.
 */
int memfd_luo_stat(struct liveupdate_file_op_args *args, struct liveupdate_file_stat *stat)
{
	bool poisoned;

	if (!args->file)
		return args->private_data ? -EAGAIN :
			memfd_luo_stat_incoming(args->serialized_data, 0, stat);
	if (args->private_data)
		return stat_preserved(args->private_data, stat);
	if (args->retrieve_status > 0)
		return stat_file(args->file, stat, &poisoned);
	return stat_candidate(args->file, stat);
}
