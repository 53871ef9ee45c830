// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: making the file again in the next kernel.
 */

/**
 * DOC: memfd_luo restore
 *
 * retrieve() goes through four stages, and every step of each can run out of
 * memory or time:
 *
 * 1. All folios are taken over from KHO, and chained. Bad records are found here,
 *    before anything else has happened.
 * 2. What a device is using of them gets its pins (mm/memfd_luo_pins.c). That is a
 *    stage of its own since a record can be read once: the folio of one that could not be
 *    pinned would not be looked at again.
 * 3. All of it is charged: to the memory cgroup of the caller, and as blocks of the
 *    new file. All or nothing, so that an attempt from a cgroup that is too small
 *    leaves no trace there. It must not get anybody killed either.
 * 4. The folios are put into the page cache and on the LRU, a batch at a time.
 *
 * What was done so far is kept in a &struct memfd_luo_in, the private data of the
 * file in LUO, and the next attempt goes on from there. A folio is at any time
 * either preserved, or in the chain, or in the page cache, and none is lost.
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
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/memcontrol.h>
#include <linux/memfd.h>
#include <linux/memfd_luo.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
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
#ifdef CONFIG_MEMCG
#include "memcontrol-v1.h"
#endif
#include "memfd_luo.h"

/* Folios that are handled between two looks at the clock. */
#define RESTORE_BATCH	256

/* For a caller that has too little: fail, do not look for somebody to kill. */
#define RESTORE_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* A file on its way in. */
struct memfd_luo_in {
	struct file *file;
	struct memfd_luo_reader reader;
	struct list_head folios;	/* ours, in the order of the records, by lru */
	unsigned long nr_pages;		/* in @folios */
	struct folio *pinned;		/* the last one in @folios that was */
	bool all_pinned;
	struct mem_cgroup *memcg;	/* charged for @nr_pages, with a reference */
	bool blocks_charged;		/* for @nr_pages, in the inode and the mapping */
};

/**
 * memfd_luo_read_ser - look at the record of a memfd, and copy it
 * @pa: its address, by the word of the previous kernel
 * @ser: where to
 *
 * Context: any.
 * Return: 0, or -EINVAL or -EOPNOTSUPP if it is not sound, which the log tells.
 */
int memfd_luo_read_ser(u64 pa, struct memfd_luo_ser *ser)
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

/**
 * memfd_luo_make_attrs - give a new file the attributes that the old one had
 * @file: the file, empty, known to nobody
 * @ser: record of the old one
 * @seals: the seals of @file
 *
 * Return: 0, or what F_ADD_SEALS says.
 */
int memfd_luo_make_attrs(struct file *file, const struct memfd_luo_ser *ser,
			 unsigned int *seals)
{
	struct inode *inode = file_inode(file);

	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	file->f_flags |= O_LARGEFILE;
	file->f_pos = ser->pos;
	i_size_write(inode, ser->size);

	/* F_SEAL_EXEC brings all of these with it, if the file can be executed. */
	if ((ser->seals & F_SEAL_EXEC) &&
	    (ser->seals & MEMFD_LUO_WRITE_SEALS) != MEMFD_LUO_WRITE_SEALS)
		inode->i_mode &= ~0111;

	/* While the file is empty, so that nobody looks for users of its pages. */
	*seals = 0;
	return memfd_fcntl(file, F_ADD_SEALS, ser->seals);
}

static struct file *make_file(const struct memfd_luo_ser *ser)
{
	struct file *file = shmem_file_setup("memfd:luo", 0, VM_NORESERVE);
	int err;

	/* -ENOSPC: there was no memory for the inode. */
	if (IS_ERR(file))
		return PTR_ERR(file) == -ENOSPC ? ERR_PTR(-ENOMEM) : file;

	err = memfd_luo_make_attrs(file, ser, &SHMEM_I(file_inode(file))->seals);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

static int open_in(struct liveupdate_file_op_args *args, struct memfd_luo_in **inp)
{
	struct memfd_luo_ser ser;
	struct memfd_luo_in *in;
	int err;

	err = memfd_luo_read_ser(args->serialized_data, &ser);
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
	err = memfd_luo_find_pins(args, file_inode(in->file));
	if (err) {
		fput(in->file);
		kfree(in);
		return err;
	}
	INIT_LIST_HEAD(&in->folios);
	memfd_luo_reader_open(&in->reader, &ser, true);
	*inp = in;
	return 0;
}

/* A folio becomes ours, and is made what it was in the previous kernel. */
static int take_folio(struct memfd_luo_in *in, struct folio *folio, u64 index,
		      unsigned int flags)
{
	struct shmem_inode_info *info = SHMEM_I(file_inode(in->file));
	unsigned long nr = folio_nr_pages(folio);

	list_add_tail(&folio->lru, &in->folios);
	in->nr_pages += nr;

	if (!IS_ALIGNED(index, nr) || index > (MAX_LFS_FILESIZE >> PAGE_SHIFT) + 1 - nr)
		return -EINVAL;

	folio->index = index;
	if (folio_test_large(folio))
		folio_set_large_rmappable(folio);
	__folio_set_swapbacked(folio);
	/* It is not known to be zeroes any more, so it is never dropped. */
	folio_set_dirty(folio);
	if (flags & MEMFD_LUO_FOLIO_UPTODATE)
		__folio_mark_uptodate(folio);

	/* From fallocate(2), and not to be dropped when a large folio is split. */
	if (index >= DIV_ROUND_UP(i_size_read(&info->vfs_inode), PAGE_SIZE))
		info->fallocend = max(info->fallocend, (pgoff_t)index + nr);
	return 0;
}

/*
 * A kernel without transparent huge pages cannot have large folios here, but the
 * previous one could: take the folio over as so many pages.
 */
static int take_split(struct memfd_luo_in *in, const struct memfd_luo_folio_ser *record)
{
	phys_addr_t pa = PFN_PHYS((phys_addr_t)record->pfn);
	int order = kho_incoming_order(pa);
	struct page *pages;
	unsigned long i;
	int err = 0;

	if (order < 0 || order > MAX_PAGE_ORDER)
		return -EINVAL;
	pages = kho_restore_pages(pa, BIT(order));
	if (!pages)
		return -EINVAL;
	for (i = 0; i < BIT(order); i++)
		err = take_folio(in, page_folio(pages + i), record->index + i,
				 record->flags) ?: err;
	return err;
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

	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)) {
		folio = kho_restore_folio(pa);
		if (folio)
			err = take_folio(in, folio, record->index, record->flags);
	} else {
		err = take_split(in, record);
	}
	if (err)
		pr_err("folio %pa of a memfd is not preserved, or does not fit at page %llu\n",
		       &pa, record->index);
	return err;
}

/* Stage 1. */
static int take_folios(struct memfd_luo_in *in)
{
	const struct memfd_luo_folio_ser *record;
	unsigned int budget = RESTORE_BATCH;
	int err;

	while ((record = memfd_luo_reader_next(&in->reader))) {
		if (IS_ERR(record))
			return PTR_ERR(record);
		if (!record->pfn)
			continue;
		err = take_record(in, record);
		if (err)
			return err;
		if (--budget)
			continue;
		budget = RESTORE_BATCH;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/* Stage 2. */
static int pin_folios(struct memfd_luo_in *in)
{
	struct inode *inode = file_inode(in->file);
	unsigned int budget = RESTORE_BATCH;
	struct folio *folio;
	int err;

	if (in->all_pinned || !memfd_luo_has_pins(inode))
		return 0;
	folio = in->pinned ? list_next_entry(in->pinned, lru) :
			     list_first_entry(&in->folios, struct folio, lru);
	list_for_each_entry_from(folio, &in->folios, lru) {
		err = memfd_luo_pin_folio(inode, folio);
		if (err)
			return err;
		in->pinned = folio;
		if (--budget)
			continue;
		budget = RESTORE_BATCH;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	in->all_pinned = true;
	return 0;
}

#ifdef CONFIG_MEMCG

static int charge_memcg(struct memfd_luo_in *in)
{
	struct mem_cgroup *memcg;
	unsigned long left;

	if (in->memcg || mem_cgroup_disabled())
		return 0;

	memcg = get_mem_cgroup_from_mm(current->mm);
	for (left = in->nr_pages; left; ) {
		unsigned int nr = min(left, 1UL << 30);

		if (try_charge(memcg, RESTORE_GFP, nr)) {
			if (in->nr_pages > left)
				mem_cgroup_cancel_charge(memcg, in->nr_pages - left);
			css_put(&memcg->css);
			return -ENOMEM;
		}
		left -= nr;
	}
	in->memcg = memcg;
	return 0;
}

static void commit_memcg(struct memfd_luo_in *in, struct folio *folio)
{
	if (in->memcg)
		mem_cgroup_commit_charge(folio, in->memcg);
}

/* Take back what is charged for folios that are not inserted, if there are any. */
static void uncharge_memcg(struct memfd_luo_in *in)
{
	if (!in->memcg)
		return;
	if (in->nr_pages)
		mem_cgroup_cancel_charge(in->memcg, in->nr_pages);
	css_put(&in->memcg->css);
	in->memcg = NULL;
}

#else /* CONFIG_MEMCG */

static int charge_memcg(struct memfd_luo_in *in)
{
	return 0;
}

static void commit_memcg(struct memfd_luo_in *in, struct folio *folio)
{
}

static void uncharge_memcg(struct memfd_luo_in *in)
{
}

#endif /* CONFIG_MEMCG */

/* Stage 3. */
static int charge_folios(struct memfd_luo_in *in)
{
	int err = charge_memcg(in);

	if (!err && !in->blocks_charged && in->nr_pages) {
		/* This counts the pages in the mapping as well. */
		if (!shmem_charge(file_inode(in->file), in->nr_pages))
			return -ENOMEM;
		in->blocks_charged = true;
	}
	return err;
}

static void uncharge_folios(struct memfd_luo_in *in)
{
	struct address_space *mapping = in->file->f_mapping;

	uncharge_memcg(in);
	if (!in->blocks_charged)
		return;

	xa_lock_irq(&mapping->i_pages);
	mapping->nrpages -= in->nr_pages;
	xa_unlock_irq(&mapping->i_pages);
	shmem_uncharge(mapping->host, in->nr_pages);
	in->blocks_charged = false;
}

/* Put a folio where nothing is yet. To stay in one node of the tree costs least. */
static int store_folio(struct xa_state *xas, struct folio *folio)
{
	unsigned int order = folio_order(folio);
	void *entry;

	if (!order && xas_is_node(xas) && !xas->xa_node->shift && !xas->xa_sibs &&
	    (folio->index ^ xas->xa_index) < XA_CHUNK_SIZE) {
		xas_advance(xas, folio->index);
		entry = xas_reload(xas);
	} else {
		xas_set_order(xas, folio->index, order);
		entry = xas_find_conflict(xas);
	}
	if (entry)
		return -EEXIST;
	xas_store(xas, folio);
	return xas_error(xas);
}

/*
 * Put @nr folios from the head of the chain on the LRU, and count them. This is what
 * folio_add_lru() would do to each, but with one look at the lock and the counters
 * for all that lie in one zone; the folios are still unknown to everybody else.
 */
static void add_to_lru(struct memfd_luo_in *in, unsigned int nr)
{
	while (nr) {
		struct folio *folio = list_first_entry(&in->folios, struct folio, lru);
		enum zone_type zone = folio_zonenum(folio);
		long all = 0, listed = 0, thp = 0;
		struct lruvec *lruvec;

		lruvec = folio_lruvec(folio);
		spin_lock_irq(&lruvec->lru_lock);
		do {
			long pages = folio_nr_pages(folio);

			list_del(&folio->lru);
			folio_set_lru(folio);
			if (!lru_gen_add_folio(lruvec, folio, false)) {
				list_add(&folio->lru, &lruvec->lists[LRU_INACTIVE_ANON]);
				listed += pages;
			}
			all += pages;
			if (folio_test_pmd_mappable(folio))
				thp += pages;
			folio = list_first_entry(&in->folios, struct folio, lru);
		} while (--nr && folio_zonenum(folio) == zone &&
			 folio_matches_lruvec(folio, lruvec));

		if (listed)
			update_lru_size(lruvec, LRU_INACTIVE_ANON, zone, listed);
		__mod_lruvec_state(lruvec, NR_FILE_PAGES, all);
		__mod_lruvec_state(lruvec, NR_SHMEM, all);
		if (thp)
			__mod_lruvec_state(lruvec, NR_SHMEM_THPS, thp);
		spin_unlock_irq(&lruvec->lru_lock);
	}
}

/*
 * Move a batch of folios from the chain into the page cache, or as many as there is
 * memory for right now.
 */
static int insert_batch(struct memfd_luo_in *in, struct xa_state *xas)
{
	struct address_space *mapping = in->file->f_mapping;
	unsigned int nr = 0, done = 0;
	struct folio *folio;
	int err = 0;

	xas_lock_irq(xas);
	xas_reset(xas);
	list_for_each_entry(folio, &in->folios, lru) {
		folio->mapping = mapping;
		err = store_folio(xas, folio);
		if (err) {
			folio->mapping = NULL;
			break;
		}
		if (++nr == RESTORE_BATCH)
			break;
	}
	xas_unlock_irq(xas);

	if (err == -EEXIST) {
		pr_err("a memfd has two folios for page %lu\n", folio->index);
		err = -EINVAL;
	}

	list_for_each_entry(folio, &in->folios, lru) {
		long pages;

		if (done++ == nr)
			break;
		pages = folio_nr_pages(folio);
		in->nr_pages -= pages;
		/* The page cache has one reference for each page, one of them ours. */
		if (pages > 1)
			folio_ref_add(folio, pages - 1);
		commit_memcg(in, folio);
	}
	add_to_lru(in, nr);
	return err;
}

/* Stage 4. */
static int insert_folios(struct memfd_luo_in *in)
{
	XA_STATE(xas, &in->file->f_mapping->i_pages, 0);
	int err;

	while (!list_empty(&in->folios)) {
		do {
			err = insert_batch(in, &xas);
		} while (xas_nomem(&xas, RESTORE_GFP));
		if (err)
			return err;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	uncharge_memcg(in);
	return 0;
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
		err = open_in(args, &in);
		if (err)
			return err;
		args->private_data = in;
	}

	err = take_folios(in) ?: pin_folios(in) ?: charge_folios(in) ?: insert_folios(in);
	if (err)
		return err;

	memfd_luo_reader_close(&in->reader);
	kho_restore_free(phys_to_virt(args->serialized_data));
	args->file = in->file;
	args->private_data = NULL;
	kfree(in);
	return 0;
}

static void free_folios(struct list_head *folios)
{
	struct folio *folio, *next;
	struct folio_batch batch;

	folio_batch_init(&batch);
	list_for_each_entry_safe(folio, next, folios, lru) {
		list_del(&folio->lru);
		if (!folio_batch_add(&batch, folio)) {
			folios_put(&batch);
			cond_resched();
		}
	}
	folios_put(&batch);
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

	if (args->retrieve_status > 0) {
		memfd_luo_drop_pins(file_inode(args->file), NULL);
		return;
	}

	if (in) {
		memfd_luo_drop_pins(file_inode(in->file), &in->folios);
		uncharge_folios(in);
		free_folios(&in->folios);
		free_rest(&in->reader);
		fput(in->file);
		kfree(in);
		args->private_data = NULL;
	} else {
		struct memfd_luo_reader reader;
		struct memfd_luo_ser ser;

		if (memfd_luo_read_ser(args->serialized_data, &ser))
			return;
		memfd_luo_reader_open(&reader, &ser, true);
		free_rest(&reader);
	}
	kho_restore_free(phys_to_virt(args->serialized_data));
}
