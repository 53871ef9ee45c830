// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: the folios of a preserved file.
 */

/**
 * DOC: memfd_luo folios
 *
 * How the folios of a file are found, made ready, preserved and recorded, by the
 * walk over the page cache and by the hook in shmem. See the section memfd_luo
 * for the whole and for the locks.
 *
 * The walk takes a batch of folios at a time, with a reference on each, and hands
 * them to KHO and to the record at once. It stops at what needs more: at a folio in
 * movable memory, which is migrated together with the others of its batch; at one in
 * swap, which is brought in with those that follow; at one that is locked, which is
 * waited for. None of that happens under &memfd_luo.lock. Then it looks again, from
 * the cursor on.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
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
/*
 * How often folios are asked to leave movable memory, without one that does. Others
 * hold on to them for a moment, which is a long one if their CPU does not run: the
 * pauses in between double, up to MIGRATE_PAUSE_MAX, and are 1.8 s together. Where
 * there is no memory to go to, the allocator has waited already.
 */
#define MIGRATE_TRIES		15
#define MIGRATE_TRIES_NOMEM	5
#define MIGRATE_PAUSE_MAX	256	/* ms */

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

/*
 * Write the records of folios that are preserved, whose references go with them.
 * Returns how many could be recorded.
 */
static unsigned int add_records(struct memfd_luo *m, struct folio **folios, unsigned int nr)
{
	struct memfd_luo_folio_ser *records;
	unsigned int done = 0, room, i;

	lockdep_assert_held(&m->lock);

	while (done < nr) {
		records = memfd_luo_writer_room(&m->writer, &room);
		if (!records)
			break;
		room = min(room, nr - done);
		for (i = 0; i < room; i++) {
			struct folio *folio = folios[done + i];
			unsigned int flags = MEMFD_LUO_FOLIO_DIRTY;

			if (folio_test_uptodate(folio))
				flags |= MEMFD_LUO_FOLIO_UPTODATE;
			else if (add_stale(m, m->writer.ser->nr_folios + i, folio->index))
				break;

			records[i] = (struct memfd_luo_folio_ser) {
				.pfn = folio_pfn(folio),
				.flags = flags,
				.index = folio->index,
			};
		}
		memfd_luo_writer_commit(&m->writer, i);
		done += i;
		if (i < room)
			break;
	}
	return done;
}

static void count_folios(struct memfd_luo *m, struct folio **folios, unsigned int nr,
			 bool single_pages)
{
	if (single_pages) {
		m->nr_folios[0] += nr;
		return;
	}
	while (nr--)
		m->nr_folios[folio_order(*folios++)]++;
}

/*
 * Preserve and record folios in ascending order, and move the cursor on. On error,
 * those below the cursor are done, and the caller keeps the references on the rest.
 */
static int add_folios(struct memfd_luo *m, struct folio **folios, unsigned int nr,
		      unsigned long pages, unsigned int *done)
{
	unsigned int i;
	int err;

	lockdep_assert_held(&m->lock);

	*done = 0;
	if (!account(m, pages))
		return -ENOMEM;

	err = kho_preserve_folios(folios, nr);
	if (err) {
		unaccount(m, pages);
		return err;
	}

	*done = add_records(m, folios, nr);
	count_folios(m, folios, *done, *done == nr && pages == nr);
	if (*done)
		m->cursor = folio_next_index(folios[*done - 1]);
	if (*done == nr)
		return 0;

	kho_unpreserve_folios(folios + *done, nr - *done);
	for (i = *done, pages = 0; i < nr; i++)
		pages += folio_nr_pages(folios[i]);
	unaccount(m, pages);
	return -ENOMEM;
}

/* What the walk has found at the cursor. */
struct walk {
	struct folio **folios;		/* in ascending order, a reference on each */
	unsigned int nr;
	unsigned int usable;		/* of @nr, up to the first in movable memory */
	unsigned long pages;		/* in the usable ones */
	bool poisoned;			/* one of those */
	struct folio *busy;		/* a folio in other hands, and then no further */
	bool swapped;			/* an entry that is in swap, and then no further */
	pgoff_t swap_index;
};

static void add_to_walk(struct walk *walk, struct folio *folio, unsigned long *pinnable_block)
{
	unsigned long block = folio_pfn(folio) >> pageblock_order;

	if (walk->usable == walk->nr) {
		if (block != *pinnable_block && folio_is_longterm_pinnable(folio))
			*pinnable_block = block;
		if (block == *pinnable_block) {
			walk->usable++;
			if (!(folio->flags & (BIT(PG_head) | __PG_HWPOISON))) {
				walk->pages++;
			} else {
				walk->pages += folio_nr_pages(folio);
				walk->poisoned |= folio_contain_hwpoisoned_page(folio);
			}
		}
	}
	walk->folios[walk->nr++] = folio;
}

static void collect_folios(struct memfd_luo *m, struct walk *found)
{
	XA_STATE(xas, &m->inode->i_mapping->i_pages, m->cursor);
	struct walk walk = { .folios = found->folios };
	unsigned long pinnable_block = ULONG_MAX;
	struct folio *folio;

	lockdep_assert_held(&m->lock);

	/* What is in the mapping under this lock has references, and they are not frozen. */
	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, ULONG_MAX) {
		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio)) {
			walk.swapped = true;
			walk.swap_index = xas.xa_index;
			break;
		}
		folio_get(folio);
		/*
		 * Who replaces a folio looks at the reference count under the
		 * folio lock: if it is not locked now, they will see ours.
		 */
		smp_mb__after_atomic();
		if (folio_test_locked(folio)) {
			walk.busy = folio;
			break;
		}
		add_to_walk(&walk, folio, &pinnable_block);
		if (walk.nr == WALK_BATCH)
			break;
	}
	xas_unlock_irq(&xas);
	*found = walk;
}

static void put_folios_array(struct folio **folios, unsigned int nr)
{
	while (nr--)
		folio_put(*folios++);
}

/* Let others finish with the folios that could not be moved in so many tries. */
static void migrate_pause(unsigned int tries)
{
	unsigned int ms = min(1U << (tries - 1), MIGRATE_PAUSE_MAX);

	schedule_timeout_killable(msecs_to_jiffies(ms));
}

/*
 * Move folios out of movable memory. Takes the references on all. Those that are
 * fine are left alone, and where to is decided by memalloc_pin_save().
 */
static int migrate_folios(struct inode *inode, struct folio **folios, unsigned int nr,
			  unsigned int *tries)
{
	struct migration_target_control mtc = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_USER | __GFP_NOWARN,
		.reason = MR_LONGTERM_PIN,
	};
	unsigned int flags, migrated = 0;
	bool no_writers = *tries;
	LIST_HEAD(movable);
	unsigned int i;
	int ret;

	/*
	 * write(2) waits for the folio lock with a reference in hand. A few writers to
	 * a large folio are enough for one of them to be there at any time, so that
	 * they have to stay out.
	 */
	if (no_writers) {
		lru_add_drain_all();
		if (down_write_killable(&inode->i_rwsem)) {
			put_folios_array(folios, nr);
			return -EINTR;
		}
	} else {
		lru_add_drain();
	}

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
	if (no_writers)
		inode_unlock(inode);

	if (migrated) {
		*tries = 0;
		return 0;
	}
	ret = ret == -ENOMEM ? -ENOMEM : -EBUSY;
	if (++*tries >= (ret == -ENOMEM ? MIGRATE_TRIES_NOMEM : MIGRATE_TRIES)) {
		pr_err("%u folios cannot be moved out of movable memory: %pe\n", nr,
		       ERR_PTR(ret));
		return ret;
	}
	migrate_pause(*tries);
	return 0;
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
	unsigned int done = 0;
	int err = 0;

	scoped_guard(mutex, &m->lock) {
		collect_folios(m, walk);
		if (!walk->nr && !walk->busy && !walk->swapped) {
			m->cursor = ULONG_MAX;
			return 0;
		}
		if (walk->poisoned) {
			pr_err_ratelimited("a memfd has poisoned pages\n");
			err = -EIO;
		} else if (walk->usable) {
			err = add_folios(m, walk->folios, walk->usable, walk->pages, &done);
		}
	}

	if (err) {
		put_folios_array(walk->folios + done, walk->nr - done);
		if (walk->busy)
			folio_put(walk->busy);
		return err;
	}

	if (walk->usable < walk->nr) {
		if (walk->busy)
			folio_put(walk->busy);
		return migrate_folios(m->inode, walk->folios + walk->usable,
				      walk->nr - walk->usable, tries) ?: 1;
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

/**
 * memfd_luo_preserve_folios - preserve what is in the page cache
 * @m: the file, whose inode has the mark
 *
 * Context: may sleep, for as long as it takes.
 * Return: 0 or a negative errno; what was preserved till then is kept.
 */
int memfd_luo_preserve_folios(struct memfd_luo *m)
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

/**
 * memfd_luo_add_folio - preserve a folio that the walk has not seen
 * @m: the file
 * @folio: its folio, locked, below the cursor
 *
 * Context: may sleep.
 * Return: 0, -EAGAIN if @folio lies in movable memory, or another negative errno.
 */
int memfd_luo_add_folio(struct memfd_luo *m, struct folio *folio)
{
	unsigned long pages = folio_nr_pages(folio);
	int err;

	lockdep_assert_held(&m->lock);

	if (!folio_is_longterm_pinnable(folio))
		return -EAGAIN;
	/* Not -ENOMEM, upon which a page fault would be tried for ever. */
	if (!account(m, pages))
		return -ENOSPC;

	err = kho_preserve_folio(folio);
	if (err)
		goto unaccount;

	folio_get(folio);
	if (add_records(m, &folio, 1)) {
		m->nr_folios[folio_order(folio)]++;
		return 0;
	}

	folio_put(folio);
	kho_unpreserve_folio(folio);
	err = -ENOMEM;
unaccount:
	unaccount(m, pages);
	return err;
}

/**
 * memfd_luo_drop_folios - take all folios back, and give up the references
 * @m: the file, to which nobody adds any more
 *
 * Context: may sleep.
 */
void memfd_luo_drop_folios(struct memfd_luo *m)
{
	const struct memfd_luo_folio_ser *record;
	struct stale_page *page, *tmp;
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

	list_for_each_entry_safe(page, tmp, &m->stale, link)
		kfree(page);
	INIT_LIST_HEAD(&m->stale);
	unaccount(m, m->locked_pages);
}

/**
 * memfd_luo_refresh - look again at the folios that were not up to date
 * @m: the file
 *
 * They may have been written since they were recorded.
 *
 * Context: may sleep.
 */
void memfd_luo_refresh(struct memfd_luo *m)
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

/**
 * memfd_luo_set_uptodate - a folio that was not up to date is now
 * @m: the file, which is frozen: memfd_luo_refresh() is over
 * @folio: its folio, locked
 *
 * The record is found by index.
 *
 * Context: may sleep.
 */
void memfd_luo_set_uptodate(struct memfd_luo *m, struct folio *folio)
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

/**
 * memfd_luo_remove_folio - take back what memfd_luo_add_folio() did
 * @m: the file
 * @folio: its folio, locked since then
 *
 * The record stays, but is not in use: that costs less than to fill the gap.
 *
 * Context: may sleep.
 */
void memfd_luo_remove_folio(struct memfd_luo *m, struct folio *folio)
{
	struct memfd_luo_ser *ser = m->writer.ser;
	u64 nr;

	lockdep_assert_held(&m->lock);

	/* It is among the last ones. */
	for (nr = ser->nr_folios; nr--; ) {
		struct memfd_luo_folio_ser *record = memfd_luo_record(ser, nr);

		if (record->pfn != folio_pfn(folio))
			continue;
		*record = (struct memfd_luo_folio_ser) {};
		m->nr_folios[folio_order(folio)]--;
		kho_unpreserve_folio(folio);
		unaccount(m, folio_nr_pages(folio));
		folio_put(folio);
		return;
	}
}
