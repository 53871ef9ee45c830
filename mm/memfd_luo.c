// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: preserving.
 */

/**
 * DOC: memfd_luo
 *
 * A memfd (on shmem) is carried over a kexec with contents, size, position and
 * seals, while it is in use until the last moment. Its pages stay where they are
 * in memory; what the next kernel gets besides is a record with a line for every
 * folio of the page cache, include/linux/kho/abi/memfd.h.
 *
 * **Preserve.** The inode is marked first. From then on the file neither grows
 * nor shrinks: truncate, fallocate, hole punch and writes that would move its end
 * are refused with ``-EPERM``. Then the page cache is walked in ascending order, by
 * what it holds and not by index, so that holes cost nothing. Folios in swap are
 * brought in, folios in movable memory (scratch is such) are migrated out of it,
 * and every folio is preserved, recorded, and keeps one more reference, because of
 * which nobody can migrate, split, collapse or reclaim it. The mapping is made
 * unevictable for as long, so that reclaim does not try in vain.
 *
 * **Folios that come later.** Holes can still be filled: by page faults, writes,
 * userfaultfd. Where a folio enters the page cache, shmem calls
 * memfd_luo_folio_ready(), which preserves and records it before anybody sees it,
 * or fails the fault or write. Allocation avoids movable memory then, see
 * memfd_luo_gfp(). ``cursor`` divides the work: a folio below it is the hook's, a
 * folio at or above it is still to be found by the walk, of which it is the
 * position.
 *
 * **Not up to date.** A folio from fallocate(2) that was never written has no
 * contents yet. The record says so, and remembers it in ``stale``, by which
 * freeze() finds these folios, and no others, to look again.
 *
 * **Freeze.** Size, seals and position are read, and can no longer change, nor can
 * write(2) be used. Mapped memory is carried as it is when the CPUs stop: what is
 * written there, even into a hole, reaches the next kernel, as a page and its
 * record are complete before the fault returns.
 *
 * Locks, outermost first:
 *
 * - ``i_rwsem`` of the inode: the mark is set and cleared, and ``frozen`` changes,
 *   under it. Truncate, fallocate, write(2) and F_ADD_SEALS hold it, so they are
 *   either over or see the mark.
 * - The folio lock. The hook is called with it. The walk does not wait for it under
 *   ``lock``; whoever holds it may be about to replace the folio without looking at
 *   the reference count again, so the walk lets go and waits.
 * - &memfd_luo.lock protects the members of &struct memfd_luo and the record.
 * - The lock of &struct shmem_inode_info protects its pointer ``luo`` to the
 *   &struct memfd_luo. shmem takes it between adding a folio and calling the hook,
 *   in shmem_recalc_inode(), and preserve() takes it between setting the mark and
 *   the walk. So a folio that the hook did not care for, as there was no mark, is
 *   seen by the walk.
 *
 * &memfd_luo.users counts the owner and the hooks at work.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/memfd_luo.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/xarray.h>

#include "internal.h"
#include "memfd_luo.h"

/* Folios that are handled at a time: a page of pointers. */
#define WALK_BATCH	(PAGE_SIZE / sizeof(struct folio *))
/* The same on the stack. */
#define DROP_BATCH	64
/* How often folios are asked to leave movable memory, without one that does. */
#define MIGRATE_TRIES	5

/*
 * Consecutive records, with ascending indices, of folios that were not up to date
 * when they were recorded.
 */
struct stale_run {
	u64 record;
	u64 nr;
	pgoff_t first;
	pgoff_t last;
};

#define STALE_RUNS	((PAGE_SIZE - 2 * sizeof(struct list_head)) / sizeof(struct stale_run))

struct stale_page {
	struct list_head link;
	unsigned int nr;
	struct stale_run runs[STALE_RUNS];
};

static_assert(sizeof(struct stale_page) <= PAGE_SIZE);

/* A preserved file. */
struct memfd_luo {
	refcount_t users;

	struct mutex lock;		/* protects all of the following */
	struct inode *inode;		/* NULL when the file is not preserved any more */
	pgoff_t cursor;			/* folios below are recorded */
	bool frozen;
	bool unevictable;		/* made so by us */
	struct memfd_luo_writer writer;
	struct list_head stale;		/* of struct stale_page */

	struct user_struct *user;	/* on whose locked_vm the pages are */
	unsigned long memlock_limit;	/* in pages */
	unsigned long locked_pages;
};

static struct memfd_luo *memfd_luo_get(struct inode *inode)
{
	struct shmem_inode_info *info = SHMEM_I(inode);
	struct memfd_luo *m;

	spin_lock(&info->lock);
	m = info->luo;
	if (m)
		refcount_inc(&m->users);
	spin_unlock(&info->lock);
	return m;
}

static void memfd_luo_put(struct memfd_luo *m)
{
	if (!refcount_dec_and_test(&m->users))
		return;
	free_uid(m->user);
	mutex_destroy(&m->lock);
	kfree(m);
}

/*
 * The limit is that of the caller of PRESERVE_FD, also for pages that come later:
 * the task that happens to fill a hole did not ask for them to be preserved.
 */
static bool account(struct memfd_luo *m, unsigned long nr)
{
	long now = atomic_long_read(&m->user->locked_vm);

	lockdep_assert_held(&m->lock);

	do {
		if (nr > m->memlock_limit || now > m->memlock_limit - nr)
			return false;
	} while (!atomic_long_try_cmpxchg(&m->user->locked_vm, &now, now + nr));

	m->locked_pages += nr;
	return true;
}

static void unaccount(struct memfd_luo *m, unsigned long nr)
{
	m->locked_pages -= nr;
	liveupdate_unaccount_pages(m->user, nr);
}

/* Remember that a record says "not up to date". */
static int add_stale(struct memfd_luo *m, u64 record, pgoff_t index)
{
	struct stale_page *page = NULL;
	struct stale_run *run;

	lockdep_assert_held(&m->lock);

	if (!list_empty(&m->stale)) {
		page = list_last_entry(&m->stale, struct stale_page, link);
		run = &page->runs[page->nr - 1];
		if (run->record + run->nr == record && run->last < index) {
			run->nr++;
			run->last = index;
			return 0;
		}
	}

	if (!page || page->nr == STALE_RUNS) {
		page = kzalloc(sizeof(*page), GFP_KERNEL_ACCOUNT);
		if (!page)
			return -ENOMEM;
		list_add_tail(&page->link, &m->stale);
	}
	page->runs[page->nr++] = (struct stale_run) {
		.record = record,
		.nr = 1,
		.first = index,
		.last = index,
	};
	return 0;
}

/* Write the record of a folio that is preserved. It takes the caller's reference. */
static int add_record(struct memfd_luo *m, struct folio *folio)
{
	struct memfd_luo_folio_ser *record = memfd_luo_writer_next(&m->writer);
	unsigned int flags = MEMFD_LUO_FOLIO_DIRTY;

	if (IS_ERR(record))
		return PTR_ERR(record);

	if (folio_test_uptodate(folio)) {
		flags |= MEMFD_LUO_FOLIO_UPTODATE;
	} else {
		int err = add_stale(m, m->writer.ser->nr_folios, folio->index);

		if (err)
			return err;
	}

	*record = (struct memfd_luo_folio_ser) {
		.pfn = folio_pfn(folio),
		.flags = flags,
		.index = folio->index,
	};
	memfd_luo_writer_commit(&m->writer);
	return 0;
}

/*
 * Preserve and record folios in ascending order, and move the cursor on. On error,
 * those below the cursor are done, and the caller keeps the references on the rest.
 */
static int add_folios(struct memfd_luo *m, struct folio **folios, unsigned int nr,
		      unsigned int *done)
{
	unsigned long pages = 0;
	unsigned int i;
	int err;

	lockdep_assert_held(&m->lock);

	*done = 0;
	for (i = 0; i < nr; i++)
		pages += folio_nr_pages(folios[i]);
	if (!account(m, pages))
		return -ENOMEM;

	err = kho_preserve_folios(folios, nr);
	if (err) {
		unaccount(m, pages);
		return err;
	}

	for (i = 0; i < nr; i++) {
		err = add_record(m, folios[i]);
		if (err)
			break;
		pages -= folio_nr_pages(folios[i]);
	}
	if (i)
		m->cursor = folio_next_index(folios[i - 1]);
	*done = i;
	if (err) {
		kho_unpreserve_folios(folios + i, nr - i);
		unaccount(m, pages);
	}
	return err;
}

/* What the walk has found at the cursor. */
struct walk {
	struct folio **folios;		/* in ascending order, a reference on each */
	unsigned int nr;
	struct folio *busy;		/* a folio in other hands, and then no further */
	bool swapped;			/* an entry that is in swap, and then no further */
	pgoff_t swap_index;
};

static void collect_folios(struct memfd_luo *m, struct walk *walk)
{
	struct address_space *mapping = m->inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, m->cursor);
	struct folio *folio;

	lockdep_assert_held(&m->lock);

	walk->nr = 0;
	walk->busy = NULL;
	walk->swapped = false;

	guard(rcu)();
	xas_for_each(&xas, folio, ULONG_MAX) {
		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio)) {
			walk->swapped = true;
			walk->swap_index = xas.xa_index;
			return;
		}
		if (!folio_try_get(folio)) {
			xas_reset(&xas);
			continue;
		}
		/*
		 * Who replaces a folio looks at the reference count under the
		 * folio lock, and takes it out of the mapping before the unlock:
		 * if it is unlocked and in the mapping now, they will see our
		 * reference. folio_try_get() orders this.
		 */
		if (folio_test_locked(folio)) {
			walk->busy = folio;
			return;
		}
		smp_rmb(); /* first unlocked, then in the mapping */
		if (folio->mapping != mapping || !folio_contains(folio, xas.xa_index)) {
			folio_put(folio);
			xas_reset(&xas);
			continue;
		}
		walk->folios[walk->nr++] = folio;
		if (walk->nr == WALK_BATCH)
			return;
	}
}

static void put_folios_array(struct folio **folios, unsigned int nr)
{
	while (nr--)
		folio_put(*folios++);
}

/* Up to the first folio that cannot stay where it is. */
static int count_usable(struct walk *walk, unsigned int *usable)
{
	unsigned long pinnable_block = ULONG_MAX;
	unsigned int i;

	for (i = 0; i < walk->nr; i++) {
		struct folio *folio = walk->folios[i];
		unsigned long block = folio_pfn(folio) >> pageblock_order;

		if (block != pinnable_block) {
			if (!folio_is_longterm_pinnable(folio))
				break;
			pinnable_block = block;
		}
		if (folio_contain_hwpoisoned_page(folio)) {
			pr_err("the folio at page %lu of a memfd is poisoned\n", folio->index);
			return -EIO;
		}
	}
	*usable = i;
	return 0;
}

/*
 * Move folios out of movable memory. Takes the references on all. Those that are
 * fine are left alone, and where to is decided by memalloc_pin_save().
 */
static int migrate_folios(struct folio **folios, unsigned int nr, unsigned int *tries)
{
	struct migration_target_control mtc = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_USER | __GFP_NOWARN,
		.reason = MR_LONGTERM_PIN,
	};
	unsigned int flags, migrated = 0;
	LIST_HEAD(movable);
	unsigned int i;
	int ret;

	if (*tries)
		lru_add_drain_all();
	else
		lru_add_drain();

	for (i = 0; i < nr; i++) {
		struct folio *folio = folios[i];

		if (!folio_is_longterm_pinnable(folio) && folio_isolate_lru(folio)) {
			list_add_tail(&folio->lru, &movable);
			node_stat_mod_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio),
					    folio_nr_pages(folio));
		}
		folio_put(folio);
	}

	flags = memalloc_pin_save();
	ret = migrate_pages(&movable, alloc_migration_target, NULL, (unsigned long)&mtc,
			    MIGRATE_SYNC, MR_LONGTERM_PIN, &migrated);
	memalloc_pin_restore(flags);
	putback_movable_pages(&movable);

	if (migrated) {
		*tries = 0;
		return 0;
	}
	if (++*tries < MIGRATE_TRIES)
		return 0;
	pr_err("%u folios cannot be moved out of movable memory\n", nr);
	return ret == -ENOMEM ? -ENOMEM : -EBUSY;
}

/* Bring in what is in swap at @index, and what follows it there. */
static int swap_in(struct inode *inode, pgoff_t index)
{
	unsigned int budget = WALK_BATCH;

	do {
		struct folio *folio;
		int err;

		/* Not SGP_CACHE: it may lie beyond the end of the file. */
		err = shmem_get_folio(inode, index, 0, &folio, SGP_WRITE);
		if (err) {
			pr_err("page %lu of a memfd cannot be brought in: %pe\n",
			       index, ERR_PTR(err));
			return err;
		}
		index = folio_next_index(folio);
		folio_unlock(folio);
		folio_put(folio);
		if (fatal_signal_pending(current))
			return -EINTR;
	} while (--budget && xa_is_value(xa_load(&inode->i_mapping->i_pages, index)));

	return 0;
}

/* Preserve what there is at the cursor. Return 1 if there may be more. */
static int walk_step(struct memfd_luo *m, struct walk *walk, unsigned int *tries)
{
	unsigned int done = 0, usable = 0;
	int err;

	scoped_guard(mutex, &m->lock) {
		collect_folios(m, walk);
		if (!walk->nr && !walk->busy && !walk->swapped) {
			m->cursor = ULONG_MAX;
			return 0;
		}
		err = count_usable(walk, &usable);
		if (!err && usable)
			err = add_folios(m, walk->folios, usable, &done);
	}

	if (err) {
		put_folios_array(walk->folios + done, walk->nr - done);
		if (walk->busy)
			folio_put(walk->busy);
		return err;
	}

	if (usable < walk->nr) {
		if (walk->busy)
			folio_put(walk->busy);
		return migrate_folios(walk->folios + usable, walk->nr - usable, tries) ?: 1;
	}
	if (walk->busy) {
		err = folio_wait_locked_killable(walk->busy);
		folio_put(walk->busy);
		return err ?: 1;
	}
	if (walk->swapped)
		return swap_in(m->inode, walk->swap_index) ?: 1;
	return 1;
}

static int preserve_folios(struct memfd_luo *m)
{
	struct walk walk;
	unsigned int tries = 0;
	int ret;

	walk.folios = kmalloc_array(WALK_BATCH, sizeof(*walk.folios), GFP_KERNEL);
	if (!walk.folios)
		return -ENOMEM;

	do {
		if (fatal_signal_pending(current))
			ret = -EINTR;
		else
			ret = walk_step(m, &walk, &tries);
		cond_resched();
	} while (ret > 0);

	kfree(walk.folios);
	return ret;
}

/*
 * Set the mark: from here on the size is fixed, and new folios go through the hook.
 */
static int mark_inode(struct memfd_luo *m)
{
	struct inode *inode = m->inode;
	struct shmem_inode_info *info = SHMEM_I(inode);

	guard(rwsem_write)(&inode->i_rwsem);

	if (info->luo)
		return -EBUSY;
	if (info->seals & ~MEMFD_LUO_SEALS) {
		pr_err("a memfd has unknown seals %#x\n", info->seals & ~MEMFD_LUO_SEALS);
		return -EOPNOTSUPP;
	}

	scoped_guard(spinlock, &info->lock)
		WRITE_ONCE(info->luo, m);
	/* For memfd_luo_folio_added(), which has no lock in common with this. */
	smp_mb();

	m->unevictable = !mapping_unevictable(inode->i_mapping);
	if (m->unevictable)
		mapping_set_unevictable(inode->i_mapping);
	return 0;
}

static void unmark_inode(struct memfd_luo *m)
{
	struct inode *inode = m->inode;
	struct shmem_inode_info *info = SHMEM_I(inode);

	guard(rwsem_write)(&inode->i_rwsem);
	guard(mutex)(&m->lock);

	scoped_guard(spinlock, &info->lock)
		WRITE_ONCE(info->luo, NULL);
	m->inode = NULL;
	if (m->unevictable)
		mapping_clear_unevictable(inode->i_mapping);
}

/* Take all folios back, and give up the references. Nobody adds any more. */
static void drop_folios(struct memfd_luo *m)
{
	const struct memfd_luo_folio_ser *record;
	struct folio *folios[DROP_BATCH];
	struct memfd_luo_reader reader;
	unsigned int nr = 0;

	memfd_luo_reader_open(&reader, m->writer.ser, false);
	do {
		record = memfd_luo_reader_next(&reader);
		if (!IS_ERR_OR_NULL(record) && record->pfn)
			folios[nr++] = pfn_folio(record->pfn);
		if (nr < DROP_BATCH && !IS_ERR_OR_NULL(record))
			continue;
		if (nr) {
			kho_unpreserve_folios(folios, nr);
			put_folios_array(folios, nr);
			nr = 0;
		}
		cond_resched();
	} while (!WARN_ON_ONCE(IS_ERR(record)) && record);
	memfd_luo_reader_close(&reader);
}

static void memfd_luo_destroy(struct memfd_luo *m)
{
	struct stale_page *page, *tmp;

	if (m->writer.ser) {
		drop_folios(m);
		memfd_luo_writer_close(&m->writer);
	}
	list_for_each_entry_safe(page, tmp, &m->stale, link)
		kfree(page);
	INIT_LIST_HEAD(&m->stale);
	unaccount(m, m->locked_pages);
	memfd_luo_put(m);
}

static struct memfd_luo *memfd_luo_create(struct inode *inode)
{
	struct memfd_luo *m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	int err;

	if (!m)
		return ERR_PTR(-ENOMEM);

	mutex_init(&m->lock);
	refcount_set(&m->users, 1);
	INIT_LIST_HEAD(&m->stale);
	m->inode = inode;
	m->user = get_uid(current_user());
	m->memlock_limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	if (rlimit(RLIMIT_MEMLOCK) == RLIM_INFINITY || capable(CAP_IPC_LOCK))
		m->memlock_limit = LONG_MAX;

	err = memfd_luo_writer_open(&m->writer);
	if (err) {
		memfd_luo_destroy(m);
		return ERR_PTR(err);
	}
	return m;
}

static bool memfd_luo_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	struct inode *inode = file_inode(file);

	/*
	 * A memfd is a file without a name on the kernel's own mount, but not one
	 * that the kernel keeps for itself, as that of a System V segment. Files of
	 * a mounted tmpfs are reached by a path, which is not carried over.
	 */
	return shmem_file(file) && S_ISREG(inode->i_mode) && !inode->i_nlink &&
	       (inode->i_sb->s_flags & SB_KERNMOUNT) && !IS_PRIVATE(inode);
}

static int memfd_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct file *file = args->file;
	struct inode *inode = file_inode(file);
	struct memfd_luo *m;
	int err;

	/* The file that the next kernel makes can be read and written. */
	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE)) {
		pr_err("a memfd is not open for reading and writing\n");
		return -EPERM;
	}

	m = memfd_luo_create(inode);
	if (IS_ERR(m))
		return PTR_ERR(m);

	err = mark_inode(m);
	if (err) {
		memfd_luo_destroy(m);
		return err;
	}

	err = preserve_folios(m);
	if (err) {
		unmark_inode(m);
		memfd_luo_destroy(m);
		shmem_unlock_mapping(inode->i_mapping);
		return err;
	}

	args->private_data = m;
	args->serialized_data = virt_to_phys(m->writer.ser);
	return 0;
}

static void memfd_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *m = args->private_data;

	unmark_inode(m);
	memfd_luo_destroy(m);
	shmem_unlock_mapping(args->file->f_mapping);
}

/* Folios may have been written since they were recorded. */
static void refresh_stale(struct memfd_luo *m)
{
	struct memfd_luo_ser *ser = m->writer.ser;
	struct memfd_luo_folio_ser *record;
	struct stale_page *page;
	unsigned int i;
	u64 j;

	lockdep_assert_held(&m->lock);

	list_for_each_entry(page, &m->stale, link) {
		for (i = 0; i < page->nr; i++) {
			struct stale_run *run = &page->runs[i];

			for (j = run->record; j < run->record + run->nr; j++) {
				if (j == run->record || !(j % MEMFD_LUO_RECORDS_PER_PAGE))
					record = memfd_luo_record(ser, j);
				else
					record++;
				if (folio_test_uptodate(pfn_folio(record->pfn)))
					record->flags |= MEMFD_LUO_FOLIO_UPTODATE;
			}
			cond_resched();
		}
	}
}

static int memfd_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *m = args->private_data;
	struct inode *inode = file_inode(args->file);
	struct memfd_luo_ser *ser = m->writer.ser;

	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;

	scoped_guard(mutex, &m->lock) {
		refresh_stale(m);
		ser->pos = args->file->f_pos;
		ser->size = i_size_read(inode);
		ser->seals = SHMEM_I(inode)->seals;
		m->frozen = true;
	}
	inode_unlock(inode);
	return 0;
}

static void memfd_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *m = args->private_data;

	guard(rwsem_write)(&file_inode(args->file)->i_rwsem);
	guard(mutex)(&m->lock);
	m->frozen = false;
}

static unsigned long memfd_luo_get_id(struct file *file)
{
	return (unsigned long)file_inode(file);
}

/*
 * A folio that was not up to date is now, after freeze() has looked. Its record is
 * found by index; the same index can be in several runs.
 */
static void mark_record_uptodate(struct memfd_luo *m, struct folio *folio)
{
	struct memfd_luo_ser *ser = m->writer.ser;
	struct stale_page *page;
	unsigned int i;

	lockdep_assert_held(&m->lock);

	list_for_each_entry(page, &m->stale, link) {
		for (i = 0; i < page->nr; i++) {
			struct stale_run *run = &page->runs[i];
			u64 low = run->record, high = run->record + run->nr - 1;

			if (folio->index < run->first || folio->index > run->last)
				continue;
			while (low < high) {
				u64 mid = low + (high - low) / 2;

				if (memfd_luo_record(ser, mid)->index < folio->index)
					low = mid + 1;
				else
					high = mid;
			}
			if (memfd_luo_record(ser, low)->index == folio->index) {
				memfd_luo_record(ser, low)->flags |= MEMFD_LUO_FOLIO_UPTODATE;
				return;
			}
		}
	}
}

/* memfd_luo_folio_ready() for a file that has the mark. */
int __memfd_luo_folio_ready(struct inode *inode, struct folio *folio, bool added)
{
	struct memfd_luo *m = memfd_luo_get(inode);
	int err = 0;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);

	if (!m)
		return 0;

	mutex_lock(&m->lock);
	if (!m->inode || folio->index >= m->cursor) {
		/* Given up in the meantime, or still to be found by the walk. */
	} else if (!added) {
		if (m->frozen && folio_test_uptodate(folio))
			mark_record_uptodate(m, folio);
	} else if (m->frozen && !folio_test_uptodate(folio)) {
		err = -EPERM;
	} else if (!folio_is_longterm_pinnable(folio)) {
		err = -EAGAIN;
	} else if (!account(m, folio_nr_pages(folio))) {
		/* Not -ENOMEM, upon which a page fault would be tried for ever. */
		err = -ENOSPC;
	} else {
		err = kho_preserve_folio(folio);
		if (!err) {
			err = add_record(m, folio);
			if (err)
				kho_unpreserve_folio(folio);
			else
				folio_get(folio);
		}
		if (err)
			unaccount(m, folio_nr_pages(folio));
	}
	mutex_unlock(&m->lock);

	memfd_luo_put(m);
	return err;
}

/* memfd_luo_folio_gone() for a file that has the mark. */
void __memfd_luo_folio_gone(struct inode *inode, struct folio *folio)
{
	struct memfd_luo *m = memfd_luo_get(inode);
	struct memfd_luo_ser *ser;
	u64 nr;

	if (!m)
		return;

	mutex_lock(&m->lock);
	if (!m->inode || folio->index >= m->cursor)
		goto unlock;

	/* It is among the last ones. An unused record costs less than to fill the gap. */
	ser = m->writer.ser;
	for (nr = ser->nr_folios; nr--; ) {
		struct memfd_luo_folio_ser *record = memfd_luo_record(ser, nr);

		if (record->pfn != folio_pfn(folio))
			continue;
		*record = (struct memfd_luo_folio_ser) {};
		kho_unpreserve_folio(folio);
		unaccount(m, folio_nr_pages(folio));
		folio_put(folio);
		break;
	}
unlock:
	mutex_unlock(&m->lock);
	memfd_luo_put(m);
}

/* memfd_luo_may_write() for a file that has the mark. */
int __memfd_luo_may_write(struct inode *inode, loff_t end)
{
	struct memfd_luo *m = SHMEM_I(inode)->luo;

	lockdep_assert_held(&inode->i_rwsem);

	return m->frozen || end > i_size_read(inode) ? -EPERM : 0;
}

/* memfd_luo_may_seal() for a file that has the mark. */
int __memfd_luo_may_seal(struct inode *inode)
{
	lockdep_assert_held(&inode->i_rwsem);

	return SHMEM_I(inode)->luo->frozen ? -EPERM : 0;
}

static const struct liveupdate_file_ops memfd_luo_ops = {
	.can_preserve = memfd_luo_can_preserve,
	.preserve = memfd_luo_preserve,
	.unpreserve = memfd_luo_unpreserve,
	.freeze = memfd_luo_freeze,
	.unfreeze = memfd_luo_unfreeze,
	.retrieve = memfd_luo_retrieve,
	.finish = memfd_luo_finish,
	.get_id = memfd_luo_get_id,
	.owner = THIS_MODULE,
	/*
	 * No discard(): memory does no harm. What is never claimed is not carried on,
	 * and to free it right before a kexec would only cost time.
	 */
};

static struct liveupdate_file_handler memfd_luo_handler = {
	.ops = &memfd_luo_ops,
	.compatible = MEMFD_LUO_COMPATIBLE,
};

static int __init memfd_luo_init(void)
{
	int err;

	if (!liveupdate_enabled())
		return 0;

	err = liveupdate_register_file_handler(&memfd_luo_handler);
	if (err)
		pr_err("cannot register with the live update orchestrator: %pe\n", ERR_PTR(err));
	return err;
}
late_initcall(memfd_luo_init);
