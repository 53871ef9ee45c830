// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: making the file again in the next kernel.
 */

/**
 * DOC: memfd_luo restore
 *
 * retrieve() makes a new memfd and puts the preserved folios into its page cache,
 * a batch at a time: taken over from KHO, charged to the caller's memory cgroup,
 * inserted, put on the LRU. Every step can run out of memory or time. What was done
 * so far is kept in a &struct memfd_luo_in, the private data of the file in LUO, and
 * the next attempt goes on from there, so that a folio is at any time either
 * preserved, or in the batch, or in the page cache, and none is lost.
 *
 * Everything that is read was written by another kernel. Members are checked before
 * they are used, and addresses by asking KHO for what is preserved there; a folio or
 * page can be had once, so that a bad record can point at nothing that belongs to
 * somebody else. A bad record makes an error that stays. What the file had is given
 * free by finish(), with or without an attempt to retrieve it.
 *
 * Locks: the callbacks of a file do not run at the same time, and nobody else
 * knows the new file before retrieve() has returned. So its folios are inserted
 * without the folio lock.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/memcontrol.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include <linux/xarray.h>

#include "internal.h"
#include "memfd_luo.h"

#define RESTORE_BATCH	256

/* A file on its way in. */
struct memfd_luo_in {
	struct file *file;
	struct memfd_luo_reader reader;
	/* What is left of a folio that is too large for this kernel. */
	struct page *pages;
	unsigned long nr_pages;
	pgoff_t index;
	unsigned int flags;
	/*
	 * Folios that belong to us; flags and index are set. The first @inserted are
	 * in the page cache, the first @charged are charged.
	 */
	unsigned int nr;
	unsigned int charged;
	unsigned int inserted;
	struct folio *folios[RESTORE_BATCH];
};

/* Look at the record of a file, and copy it. */
static int read_ser(u64 pa, struct memfd_luo_ser *ser)
{
	if (!pa || !IS_ALIGNED(pa, sizeof(u64)) || !kho_incoming_range(pa, sizeof(*ser))) {
		pr_err("record %#llx of a memfd is not preserved\n", pa);
		return -EINVAL;
	}
	*ser = *(struct memfd_luo_ser *)phys_to_virt(pa);

	if (ser->flags || ser->seals & ~MEMFD_LUO_SEALS) {
		pr_err("a memfd has unknown flags %#x or seals %#x\n", ser->flags,
		       ser->seals & ~MEMFD_LUO_SEALS);
		return -EOPNOTSUPP;
	}
	if (ser->size > MAX_LFS_FILESIZE || ser->pos > MAX_LFS_FILESIZE) {
		pr_err("a memfd has size %llu or position %llu out of range\n", ser->size,
		       ser->pos);
		return -EINVAL;
	}
	if (ser->folios.order > MAX_PAGE_ORDER ||
	    ser->nr_folios > (u64)ser->folios.total_pages * MEMFD_LUO_RECORDS_PER_PAGE) {
		pr_err("a memfd has %llu folios in %u pages of records of order %u\n",
		       ser->nr_folios, ser->folios.total_pages, ser->folios.order);
		return -EINVAL;
	}
	return 0;
}

static struct file *make_file(const struct memfd_luo_ser *ser)
{
	struct file *file = shmem_file_setup("memfd:luo", 0, VM_NORESERVE);
	struct inode *inode;
	int err;

	if (IS_ERR(file))
		return file;

	inode = file_inode(file);
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	file->f_flags |= O_LARGEFILE;
	file->f_pos = ser->pos;
	i_size_write(inode, ser->size);

	/* F_SEAL_EXEC brings all of these with it, if the file can be executed. */
	if ((ser->seals & F_SEAL_EXEC) &&
	    (ser->seals & MEMFD_LUO_WRITE_SEALS) != MEMFD_LUO_WRITE_SEALS)
		inode->i_mode &= ~0111;

	/* While the file is empty, so that nobody looks for users of its pages. */
	SHMEM_I(inode)->seals = 0;
	err = memfd_fcntl(file, F_ADD_SEALS, ser->seals);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

static int open_in(u64 pa, struct memfd_luo_in **inp)
{
	struct memfd_luo_ser ser;
	struct memfd_luo_in *in;
	int err;

	err = read_ser(pa, &ser);
	if (err)
		return err;

	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return -ENOMEM;

	in->file = make_file(&ser);
	if (IS_ERR(in->file)) {
		err = PTR_ERR(in->file);
		kfree(in);
		return err;
	}
	memfd_luo_reader_open(&in->reader, &ser, true);
	*inp = in;
	return 0;
}

/* A folio becomes ours, and is made what it was in the previous kernel. */
static int take_folio(struct memfd_luo_in *in, struct folio *folio, pgoff_t index,
		      unsigned int flags)
{
	struct inode *inode = file_inode(in->file);
	pgoff_t end = index + folio_nr_pages(folio);

	in->folios[in->nr++] = folio;

	if (folio_test_large(folio))
		folio_set_large_rmappable(folio);
	__folio_set_swapbacked(folio);
	/* It is not known to be zeroes any more, so it is never dropped. */
	folio_set_dirty(folio);
	if (flags & MEMFD_LUO_FOLIO_UPTODATE)
		__folio_mark_uptodate(folio);

	if (index & (folio_nr_pages(folio) - 1) || end <= index ||
	    end - 1 > MAX_LFS_FILESIZE >> PAGE_SHIFT)
		return -EINVAL;
	folio->index = index;

	/* From fallocate(2), and not to be dropped when a large folio is split. */
	if (index >= DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE))
		SHMEM_I(inode)->fallocend = max(SHMEM_I(inode)->fallocend, end);
	return 0;
}

/*
 * A kernel without transparent huge pages cannot have large folios here, but the
 * previous one could: take the folio over as so many pages.
 */
static bool take_split(struct memfd_luo_in *in, const struct memfd_luo_folio_ser *record)
{
	phys_addr_t pa = PFN_PHYS((phys_addr_t)record->pfn);
	int order = kho_incoming_order(pa);

	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) || order <= 0 || order > MAX_PAGE_ORDER)
		return false;
	in->pages = kho_restore_pages(pa, BIT(order));
	if (!in->pages)
		return false;
	in->nr_pages = BIT(order);
	in->index = record->index;
	in->flags = record->flags;
	return true;
}

static int take_record(struct memfd_luo_in *in, const struct memfd_luo_folio_ser *record)
{
	phys_addr_t pa = PFN_PHYS((phys_addr_t)record->pfn);
	struct folio *folio;
	int err = -EINVAL;

	if (record->flags & ~MEMFD_LUO_FOLIO_FLAGS) {
		pr_err("folio %pa of a memfd has unknown flags %#x\n", &pa,
		       (unsigned int)record->flags);
		return -EINVAL;
	}

	if (take_split(in, record))
		return 0;

	folio = kho_restore_folio(pa);
	if (folio)
		err = take_folio(in, folio, record->index, record->flags);
	if (err)
		pr_err("folio %pa of a memfd, for page %llu, is not preserved or does not fit there\n",
		       &pa, record->index);
	return err;
}

/* Fill the batch. */
static int take_batch(struct memfd_luo_in *in)
{
	in->nr = 0;
	in->charged = 0;
	in->inserted = 0;

	while (in->nr < RESTORE_BATCH) {
		const struct memfd_luo_folio_ser *record;
		int err;

		if (in->nr_pages) {
			in->nr_pages--;
			err = take_folio(in, page_folio(in->pages++), in->index++, in->flags);
			if (err)
				return err;
			continue;
		}

		record = memfd_luo_reader_next(&in->reader);
		if (!record)
			return 0;
		if (IS_ERR(record))
			return PTR_ERR(record);
		if (!record->pfn)
			continue;
		err = take_record(in, record);
		if (err)
			return err;
	}
	return 0;
}

static int charge_batch(struct memfd_luo_in *in)
{
	while (in->charged < in->nr) {
		if (mem_cgroup_charge(in->folios[in->charged], current->mm, GFP_KERNEL))
			return -ENOMEM;
		in->charged++;
	}
	return 0;
}

/* Folios of one memory cgroup on one node, counted at once. */
struct stats {
	struct lruvec *lruvec;
	long pages;
	long thp_pages;
};

static void flush_stats(struct stats *stats)
{
	if (!stats->pages)
		return;
	__mod_lruvec_state(stats->lruvec, NR_FILE_PAGES, stats->pages);
	__mod_lruvec_state(stats->lruvec, NR_SHMEM, stats->pages);
	if (stats->thp_pages)
		__mod_lruvec_state(stats->lruvec, NR_SHMEM_THPS, stats->thp_pages);
	stats->pages = 0;
	stats->thp_pages = 0;
}

static void count_folio(struct stats *stats, struct folio *folio)
{
	struct lruvec *lruvec = folio_lruvec(folio);

	if (lruvec != stats->lruvec)
		flush_stats(stats);
	stats->lruvec = lruvec;
	stats->pages += folio_nr_pages(folio);
	if (folio_test_pmd_mappable(folio))
		stats->thp_pages += folio_nr_pages(folio);
}

/* Put a folio where nothing is yet. Ascending indices cost least. */
static int store_folio(struct xa_state *xas, struct folio *folio)
{
	unsigned int order = folio_order(folio);
	void *entry;

	if (!order && !xas->xa_shift && !xas->xa_sibs && xas_valid(xas) &&
	    folio->index == xas->xa_index + 1) {
		entry = xas_next(xas);
	} else {
		xas_set_order(xas, folio->index, order);
		entry = xas_find_conflict(xas);
	}
	if (entry)
		return -EEXIST;
	xas_store(xas, folio);
	return xas_error(xas);
}

/* Insert what is charged, as many as there is memory for right now. */
static int insert_folios(struct memfd_luo_in *in, struct xa_state *xas)
{
	struct address_space *mapping = in->file->f_mapping;
	struct stats stats = {};
	int err = 0;

	xas_lock_irq(xas);
	while (in->inserted < in->nr) {
		struct folio *folio = in->folios[in->inserted];

		folio->mapping = mapping;
		err = store_folio(xas, folio);
		if (err) {
			folio->mapping = NULL;
			break;
		}
		/* The page cache has one reference for each page, one of them ours. */
		if (folio_test_large(folio))
			folio_ref_add(folio, folio_nr_pages(folio) - 1);
		count_folio(&stats, folio);
		in->inserted++;
	}
	flush_stats(&stats);
	xas_unlock_irq(xas);
	return err;
}

/* The pages of the batch that are not in the page cache. */
static long count_left(struct memfd_luo_in *in)
{
	long pages = 0;
	unsigned int i;

	for (i = in->inserted; i < in->nr; i++)
		pages += folio_nr_pages(in->folios[i]);
	return pages;
}

static int insert_batch(struct memfd_luo_in *in)
{
	struct inode *inode = file_inode(in->file);
	struct address_space *mapping = in->file->f_mapping;
	XA_STATE(xas, &mapping->i_pages, 0);
	unsigned int first = in->inserted;
	long left;
	int err;

	/* This counts the pages in the mapping as well. */
	left = count_left(in);
	if (left && !shmem_charge(inode, left))
		return -ENOMEM;

	do {
		err = insert_folios(in, &xas);
	} while (xas_nomem(&xas, GFP_KERNEL));

	left = count_left(in);
	if (left) {
		xa_lock_irq(&mapping->i_pages);
		mapping->nrpages -= left;
		xa_unlock_irq(&mapping->i_pages);
		shmem_uncharge(inode, left);
	}

	for (; first < in->inserted; first++)
		folio_add_lru(in->folios[first]);

	if (err == -EEXIST) {
		pr_err("a memfd has two folios for page %lu\n",
		       in->folios[in->inserted]->index);
		err = -EINVAL;
	}
	return err;
}

/**
 * memfd_luo_retrieve - make a preserved memfd again
 * @args: as for &liveupdate_file_ops.retrieve
 *
 * Return: 0; -ENOMEM or -EINTR when it should be tried again; another errno if the
 * file cannot be had.
 */
int memfd_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct memfd_luo_in *in = args->private_data;
	int err;

	if (!in) {
		err = open_in(args->serialized_data, &in);
		if (err)
			return err;
		args->private_data = in;
	}

	do {
		err = charge_batch(in);
		if (!err)
			err = insert_batch(in);
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
		if (!err)
			err = take_batch(in);
		if (err)
			return err;
		cond_resched();
	} while (in->nr);

	memfd_luo_reader_close(&in->reader);
	kho_restore_free(phys_to_virt(args->serialized_data));
	args->file = in->file;
	args->private_data = NULL;
	kfree(in);
	return 0;
}

/* Free the folios that were not looked at yet. */
static void free_rest(struct memfd_luo_reader *reader)
{
	const struct memfd_luo_folio_ser *record;
	struct folio_batch batch;

	folio_batch_init(&batch);
	while (!IS_ERR_OR_NULL(record = memfd_luo_reader_next(reader))) {
		struct folio *folio = NULL;

		if (record->pfn)
			folio = kho_restore_folio(PFN_PHYS((phys_addr_t)record->pfn));
		if (folio && !folio_batch_add(&batch, folio)) {
			folios_put(&batch);
			cond_resched();
		}
	}
	folios_put(&batch);
	memfd_luo_reader_close(reader);
}

/**
 * memfd_luo_finish - the session of an incoming memfd is finished
 * @args: as for &liveupdate_file_ops.finish
 *
 * A file that was retrieved is the caller's, all of it. Else nobody will ask for
 * its memory any more.
 */
void memfd_luo_finish(struct liveupdate_file_op_args *args)
{
	struct memfd_luo_in *in = args->private_data;

	if (args->retrieve_status > 0)
		return;

	if (in) {
		for (; in->inserted < in->nr; in->inserted++)
			folio_put(in->folios[in->inserted]);
		while (in->nr_pages--)
			__free_page(in->pages++);
		free_rest(&in->reader);
		fput(in->file);
		kfree(in);
		args->private_data = NULL;
	} else {
		struct memfd_luo_reader reader;
		struct memfd_luo_ser ser;

		if (read_ser(args->serialized_data, &ser))
			return;
		memfd_luo_reader_open(&reader, &ser, true);
		free_rest(&reader);
	}
	kho_restore_free(phys_to_virt(args->serialized_data));
}
