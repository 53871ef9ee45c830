// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of hugetlb memfds: preserving.
 */

/**
 * DOC: hugetlb_luo
 *
 * A memfd on hugetlbfs (``MFD_HUGETLB``) is carried over a kexec as one on shmem
 * is, see the section memfd_luo: in use until the last moment, its pages where they
 * are, a record for each, include/linux/kho/abi/hugetlb.h. The records are written
 * and read by the same code. Huge pages are neither swapped nor reclaimed, and never
 * in the page cache without contents, so the rest is simpler here.
 *
 * **Where the pages lie.** With live update on, the pools are filled from memory that
 * is not meant for movable pages, hugetlb_luo_gfp(), as what is preserved
 * cannot lie in the scratch areas, and a huge page is hard to move. So no page needs
 * to be migrated. Those that lie elsewhere (in the area of ``hugetlb_cma=``) cannot be
 * preserved.
 *
 * **Preserve.** The inode is marked: from then on the file neither grows nor shrinks,
 * ``-EPERM``. Then the page cache is walked in ascending order. Each page is
 * preserved, recorded, and keeps one more reference, because of which nobody can
 * migrate it.
 *
 * **Pages that come later** all go through hugetlb_add_to_page_cache(), which calls
 * hugetlb_luo_folio_added(): the page is preserved and recorded before anybody sees
 * it, or not added. ``cursor`` divides the work: a page below it is the hook's, a page
 * at or above it is still to be found by the walk, of which it is the position. The
 * walk does not pass a page that is locked, as every page is from before it is added
 * until the hook is done with it.
 *
 * **Reservations.** Where huge pages are reserved for a mapping that were never
 * touched, the next kernel must reserve them again, or what was promised to the
 * mapping is lost until it is there again. freeze() records these ranges.
 *
 * The pages stay charged to whom they are charged. They are no locked memory, as huge
 * pages are not where they are allocated.
 *
 * Locks, outermost first:
 *
 * - ``i_rwsem`` of the inode: the mark is set and cleared, and ``frozen`` changes,
 *   under it. Truncate, fallocate, mmap() and F_ADD_SEALS hold it.
 * - The folio lock. The hook is called with it; the walk only tries it, under ``lock``.
 * - &hugetlb_luo.lock protects the members of &struct hugetlb_luo and the record.
 * - ``i_lock`` of the inode protects the mark, which is ``i_private``, a pointer to the
 *   &struct hugetlb_luo. The hook takes it after the page was added, and preserve()
 *   between setting the mark and the walk. So a page for which the hook saw no mark
 *   is seen by the walk.
 *
 * &hugetlb_luo.users counts the owner and the hooks at work.
 */

#define pr_fmt(fmt) "hugetlb_luo: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_luo.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/magic.h>
#include <linux/memfd_luo.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/printk.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hugetlb_luo.h"

static struct hugetlb_luo *hugetlb_luo_get(struct inode *inode)
{
	struct hugetlb_luo *m;

	spin_lock(&inode->i_lock);
	m = inode->i_private;
	if (m)
		refcount_inc(&m->users);
	spin_unlock(&inode->i_lock);
	return m;
}

static void hugetlb_luo_put(struct hugetlb_luo *m)
{
	if (!refcount_dec_and_test(&m->users))
		return;
	mutex_destroy(&m->lock);
	kfree(m);
}

/* From here on the size is fixed, and new pages go through the hook. */
static int mark_inode(struct hugetlb_luo *m)
{
	struct inode *inode = m->inode;
	unsigned int seals;

	guard(rwsem_write)(&inode->i_rwsem);

	seals = HUGETLBFS_I(inode)->seals;
	if (inode->i_private)
		return -EBUSY;
	if (seals & ~MEMFD_LUO_SEALS) {
		pr_err_ratelimited("a memfd has unknown seals %#x\n", seals & ~MEMFD_LUO_SEALS);
		return -EOPNOTSUPP;
	}
	scoped_guard(spinlock, &inode->i_lock)
		WRITE_ONCE(inode->i_private, m);
	return 0;
}

static void unmark_inode(struct hugetlb_luo *m)
{
	struct inode *inode = m->inode;

	guard(rwsem_write)(&inode->i_rwsem);
	guard(mutex)(&m->lock);

	scoped_guard(spinlock, &inode->i_lock)
		WRITE_ONCE(inode->i_private, NULL);
	m->inode = NULL;
}

/* Preserve and record a page. */
static int add_folio(struct hugetlb_luo *m, struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio);
	struct memfd_luo_folio_ser *record;
	unsigned int room;
	int err;

	lockdep_assert_held(&m->lock);

	if (folio_contain_hwpoisoned_page(folio)) {
		pr_err_ratelimited("a memfd has poisoned pages\n");
		return -EIO;
	}
	if (!folio_is_longterm_pinnable(folio)) {
		pr_err_ratelimited("huge page %#lx lies in memory for movable pages\n", pfn);
		return -EINVAL;
	}

	err = kho_preserve_folio(folio);
	if (err)
		return err;

	record = memfd_luo_writer_room(&m->writer, &room);
	if (!record) {
		kho_unpreserve_folio(folio);
		return -ENOMEM;
	}
	folio_get(folio);
	*record = (struct memfd_luo_folio_ser) {
		.pfn = pfn,
		.flags = MEMFD_LUO_FOLIO_DIRTY | MEMFD_LUO_FOLIO_UPTODATE,
		.index = folio->index,
	};
	memfd_luo_writer_commit(&m->writer, 1);
	hugetlb_luo_pool_count(m->pool, folio, 1);
	return 0;
}

/* Take all pages back, to which nobody adds any more. */
static void drop_folios(struct hugetlb_luo *m)
{
	const struct memfd_luo_folio_ser *record;
	struct memfd_luo_reader reader;

	memfd_luo_reader_open(&reader, m->writer.ser, false);
	while (!IS_ERR_OR_NULL(record = memfd_luo_reader_next(&reader))) {
		struct folio *folio = pfn_folio(record->pfn);

		if (!(record->flags & MEMFD_LUO_FOLIO_UPTODATE))
			continue;
		hugetlb_luo_pool_count(m->pool, folio, -1);
		kho_unpreserve_folio(folio);
		folio_put(folio);
		cond_resched();
	}
	WARN_ON_ONCE(record);
	memfd_luo_reader_close(&reader);
}

static void hugetlb_luo_destroy(struct hugetlb_luo *m)
{
	drop_folios(m);
	memfd_luo_writer_close(&m->writer);
	hugetlb_luo_pool_put(m->pool);
	hugetlb_luo_put(m);
}

static struct hugetlb_luo *hugetlb_luo_create(struct inode *inode)
{
	struct hugetlb_luo *m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	int err;

	if (!m)
		return ERR_PTR(-ENOMEM);

	m->pool = hugetlb_luo_pool_get();
	if (IS_ERR(m->pool)) {
		err = PTR_ERR(m->pool);
		goto err_free;
	}
	err = memfd_luo_writer_open(&m->writer, sizeof(struct hugetlb_luo_ser));
	if (err)
		goto err_put_pool;

	mutex_init(&m->lock);
	refcount_set(&m->users, 1);
	m->inode = inode;
	hugetlb_luo_ser_of(m)->order = huge_page_order(hstate_inode(inode));
	return m;

err_put_pool:
	hugetlb_luo_pool_put(m->pool);
err_free:
	kfree(m);
	return ERR_PTR(err);
}

/* Preserve what there is at the cursor. Return 1 if there may be more. */
static int walk_step(struct hugetlb_luo *m)
{
	struct address_space *mapping = m->inode->i_mapping;
	struct folio *busy = NULL;
	struct folio_batch batch;
	int err = 0;

	folio_batch_init(&batch);
	scoped_guard(mutex, &m->lock) {
		pgoff_t start = m->cursor;

		if (!filemap_get_folios(mapping, &start, ULONG_MAX, &batch)) {
			m->cursor = ULONG_MAX;
			return 0;
		}
		for (unsigned int i = 0; i < folio_batch_count(&batch) && !err; i++) {
			struct folio *folio = batch.folios[i];
			bool there;

			if (!folio_trylock(folio)) {
				busy = folio;
				break;
			}
			/* Migrated in the meantime? Then another one is there. */
			there = folio->mapping == mapping;
			if (there)
				err = add_folio(m, folio);
			if (there && !err)
				m->cursor = folio_next_index(folio);
			folio_unlock(folio);
			if (!there)
				break;
		}
	}
	if (busy)
		err = folio_wait_locked_killable(busy);
	folio_batch_release(&batch);
	return err ?: 1;
}

static int preserve_folios(struct hugetlb_luo *m)
{
	int ret;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = walk_step(m);
		cond_resched();
	} while (ret > 0);
	return ret;
}

static bool hugetlb_luo_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	struct inode *inode = file_inode(file);

	/* As for memfds on shmem: no name, the kernel's own mount, and for users. */
	return is_file_hugepages(file) && S_ISREG(inode->i_mode) && !inode->i_nlink &&
	       inode->i_sb->s_magic == HUGETLBFS_MAGIC &&
	       (inode->i_sb->s_flags & SB_KERNMOUNT) && !IS_PRIVATE(inode);
}

static int check_file(struct file *file)
{
	/* The file that the next kernel makes can be read and written. */
	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) == (FMODE_READ | FMODE_WRITE))
		return 0;
	pr_err_ratelimited("a memfd is not open for reading and writing\n");
	return -EPERM;
}

static int hugetlb_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct file *file = args->file;
	struct hugetlb_luo *m;
	int err;

	err = check_file(file);
	if (err)
		return err;

	m = hugetlb_luo_create(file_inode(file));
	if (IS_ERR(m))
		return PTR_ERR(m);

	err = mark_inode(m);
	if (err) {
		hugetlb_luo_destroy(m);
		return err;
	}

	err = preserve_folios(m);
	if (err) {
		unmark_inode(m);
		hugetlb_luo_destroy(m);
		return err;
	}

	args->private_data = m;
	args->serialized_data = virt_to_phys(m->writer.ser);
	return 0;
}

static void hugetlb_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct hugetlb_luo *m = args->private_data;

	unmark_inode(m);
	hugetlb_luo_destroy(m);
}

/* The first range, in huge pages, that begins at or behind @from and is reserved. */
static bool next_reserved(struct resv_map *map, long *from, long *to)
{
	struct file_region *region;
	bool found = false;

	spin_lock(&map->lock);
	list_for_each_entry(region, &map->regions, link) {
		if (region->to <= *from)
			continue;
		*from = max(*from, region->from);
		*to = region->to;
		found = true;
		break;
	}
	spin_unlock(&map->lock);
	return found;
}

/* Record where pages are reserved. Where there are pages by now does not matter. */
static int record_reserved(struct hugetlb_luo *m)
{
	struct hstate *h = hstate_inode(m->inode);
	struct resv_map *map = m->inode->i_mapping->i_private_data;
	long size = i_size_read(m->inode) >> huge_page_shift(h);
	long from = 0, to;

	lockdep_assert_held(&m->lock);

	m->first_range = m->writer.ser->nr_folios;
	m->nr_ranges = 0;
	while (next_reserved(map, &from, &to) && from < size) {
		struct memfd_luo_folio_ser *record;
		unsigned int room;

		record = memfd_luo_writer_room(&m->writer, &room);
		if (!record)
			return -ENOMEM;
		*record = (struct memfd_luo_folio_ser) {
			.pfn = min(to, size) - from,
			.flags = HUGETLB_LUO_RESERVED,
			.index = (pgoff_t)from << huge_page_order(h),
		};
		memfd_luo_writer_commit(&m->writer, 1);
		m->nr_ranges++;
		from = to;
	}
	return 0;
}

static void forget_reserved(struct hugetlb_luo *m)
{
	lockdep_assert_held(&m->lock);

	/* Pages may have been recorded behind them. */
	while (m->nr_ranges)
		*memfd_luo_record(m->writer.ser, m->first_range + --m->nr_ranges) =
			(struct memfd_luo_folio_ser) {};
}

static int hugetlb_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct hugetlb_luo *m = args->private_data;
	struct inode *inode = file_inode(args->file);
	struct memfd_luo_ser *ser = m->writer.ser;
	int err;

	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;

	scoped_guard(mutex, &m->lock) {
		err = record_reserved(m);
		if (err)
			forget_reserved(m);
		ser->pos = args->file->f_pos;
		ser->size = i_size_read(inode);
		ser->seals = HUGETLBFS_I(inode)->seals;
		m->frozen = !err;
	}
	inode_unlock(inode);
	return err;
}

static void hugetlb_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct hugetlb_luo *m = args->private_data;

	guard(rwsem_write)(&file_inode(args->file)->i_rwsem);
	guard(mutex)(&m->lock);
	forget_reserved(m);
	m->frozen = false;
}

/* What it takes to carry a file. All of its pages are in the page cache. */
static int hugetlb_luo_stat(struct liveupdate_file_op_args *args,
			    struct liveupdate_file_stat *stat)
{
	unsigned int order;
	u64 nr;

	if (!args->file)
		return args->private_data ? -EAGAIN :
			memfd_luo_stat_incoming(args->serialized_data, HUGETLB_LUO_RESERVED, stat);

	order = huge_page_order(hstate_file(args->file));
	nr = READ_ONCE(args->file->f_mapping->nrpages) >> order;
	stat->folios[order] = nr;
	stat->metadata = memfd_luo_record_bytes(DIV_ROUND_UP_ULL(nr, MEMFD_LUO_RECORDS_PER_PAGE));
	return args->private_data || args->retrieve_status > 0 ? 0 : check_file(args->file);
}

static unsigned long hugetlb_luo_get_id(struct file *file)
{
	return (unsigned long)file_inode(file);
}

/**
 * hugetlb_luo_gfp - where huge pages may come from
 * @gfp: allocation flags
 *
 * Huge pages may be preserved, and then stay where they are.
 *
 * Context: any, after early parameters are parsed.
 * Return: @gfp, without __GFP_MOVABLE if live update is on.
 */
gfp_t hugetlb_luo_gfp(gfp_t gfp)
{
	return liveupdate_enabled() ? gfp & ~__GFP_MOVABLE : gfp;
}

/**
 * hugetlb_luo_preserved - Is a file preserved for the next kernel?
 * @inode: a hugetlbfs inode
 *
 * Context: any. The answer is stable for those who hold the i_rwsem of @inode.
 * Return: true from PRESERVE_FD on until the session is given up.
 */
bool hugetlb_luo_preserved(struct inode *inode)
{
	return READ_ONCE(inode->i_private);
}

/**
 * hugetlb_luo_holds_pages - must a file keep the pages that it has?
 * @inode: a hugetlbfs inode
 *
 * Context: The i_rwsem of @inode is held.
 * Return: true if it is preserved, or came in with pages that a device is using and was
 * not finished.
 */
bool hugetlb_luo_holds_pages(struct inode *inode)
{
	return hugetlb_luo_preserved(inode) || memfd_luo_has_pins(inode);
}

/**
 * hugetlb_luo_may_map - May a file be mapped, which can make it grow?
 * @inode: a hugetlbfs inode
 * @vma: the mapping to be
 * @end: where in the file it ends, in bytes
 *
 * Context: The i_rwsem of @inode is held.
 * Return: 0, or -EPERM if @inode is preserved and would grow.
 */
int hugetlb_luo_may_map(struct inode *inode, struct vm_area_struct *vma, loff_t end)
{
	lockdep_assert_held(&inode->i_rwsem);

	return hugetlb_luo_preserved(inode) && vma->vm_flags & VM_WRITE &&
	       end > i_size_read(inode) ? -EPERM : 0;
}

/**
 * hugetlb_luo_may_seal - May seals be added to a file?
 * @inode: a shmem or hugetlbfs inode
 *
 * Context: The i_rwsem of @inode is held.
 * Return: 0, or -EPERM if @inode is frozen.
 */
int hugetlb_luo_may_seal(struct inode *inode)
{
	lockdep_assert_held(&inode->i_rwsem);

	if (inode->i_sb->s_magic != HUGETLBFS_MAGIC || !hugetlb_luo_preserved(inode))
		return 0;
	return ((struct hugetlb_luo *)inode->i_private)->frozen ? -EPERM : 0;
}

/**
 * hugetlb_luo_folio_added - a page was added to the page cache
 * @inode: a hugetlbfs inode
 * @folio: its page
 *
 * Context: @folio is locked, and has been since before it was added. May sleep.
 * Return: 0 if @inode is not preserved, or @folio is now. Any other errno if it
 * cannot be preserved: it is out of the page cache again then, and not locked.
 */
int hugetlb_luo_folio_added(struct inode *inode, struct folio *folio)
{
	struct hugetlb_luo *m = hugetlb_luo_get(inode);
	int err = 0;

	if (!m)
		return 0;

	scoped_guard(mutex, &m->lock) {
		/* Else given up in the meantime, or still to be found by the walk. */
		if (m->inode && folio->index < m->cursor)
			err = add_folio(m, folio);
	}
	hugetlb_luo_put(m);

	if (err) {
		filemap_remove_folio(folio);
		folio_unlock(folio);
	}
	return err;
}

static const struct liveupdate_file_ops hugetlb_luo_ops = {
	.can_preserve = hugetlb_luo_can_preserve,
	.preserve = hugetlb_luo_preserve,
	.unpreserve = hugetlb_luo_unpreserve,
	.freeze = hugetlb_luo_freeze,
	.unfreeze = hugetlb_luo_unfreeze,
	.retrieve = hugetlb_luo_retrieve,
	.finish = hugetlb_luo_finish,
	.stat = hugetlb_luo_stat,
	.get_id = hugetlb_luo_get_id,
	.owner = THIS_MODULE,
	/* No discard(), as for memfds on shmem. */
};

static struct liveupdate_file_handler hugetlb_luo_handler = {
	.ops = &hugetlb_luo_ops,
	.compatible = HUGETLB_LUO_COMPATIBLE,
};

static int __init hugetlb_luo_init(void)
{
	int err;

	if (!liveupdate_enabled())
		return 0;

	err = liveupdate_register_file_handler(&hugetlb_luo_handler);
	if (!err) {
		err = hugetlb_luo_pool_register(&hugetlb_luo_handler);
		if (err)
			liveupdate_unregister_file_handler(&hugetlb_luo_handler);
	}
	if (err)
		pr_err("cannot register with the live update orchestrator: %pe\n", ERR_PTR(err));
	return err;
}
late_initcall(hugetlb_luo_init);
