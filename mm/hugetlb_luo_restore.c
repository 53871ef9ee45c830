// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of hugetlb memfds: making the file again in the next kernel.
 */

/**
 * DOC: hugetlb_luo restore
 *
 * As with memfds on shmem (section memfd_luo restore), retrieve() goes through stages,
 * can run out of memory in each, and goes on from there when it is tried again:
 *
 * 1. All folios are taken over from KHO, and chained; bad records are found here.
 * 2. They are made hugetlb pages, all together, hugetlb_luo_pool_prepare().
 * 3. All of it is charged to the caller's cgroups, or nothing. Then one page after the
 *    other becomes a page of its pool and goes into the page cache, and into the map
 *    of the reservations, as if it had been faulted in. If that fails, what is left is
 *    taken off the charge again before retrieve() returns, as a charge that is not in
 *    a page would be in the way of removing the cgroup.
 * 4. What was reserved is reserved again. If the pool cannot afford it, the log says
 *    so, and the file can be had without: to lose it altogether would be worse.
 *
 * A page is at any time either preserved, or in the chain, or the one in
 * &hugetlb_luo_in.folio, or in the page cache.
 *
 * Locks: the callbacks of a file do not run at the same time, and nobody else knows
 * the new file before retrieve() has returned.
 */

#define pr_fmt(fmt) "hugetlb_luo: " fmt

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_cgroup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hugetlb_luo.h"

/* For a caller that has too little: fail, do not look for somebody to kill. */
#define CHARGE_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* A part of the file for which pages are reserved, in huge pages. */
struct reserved_range {
	struct list_head link;
	long from;
	long to;
};

/* A file on its way in. */
struct hugetlb_luo_in {
	struct file *file;
	struct hstate *h;
	struct memfd_luo_reader reader;
	struct list_head folios;	/* in the order of the records, by lru */
	unsigned long nr;		/* of them */
	bool prepared;			/* they are hugetlb pages */
	struct folio *folio;		/* in the pool, not in the page cache, or NULL */
	bool pinned;			/* ... with the pins that it needs */
	struct list_head ranges;	/* of struct reserved_range */
	struct reserved_range *spare;
};

/* What is charged to the caller and not yet to a page. */
struct charge {
	unsigned long pages;		/* of 4 KiB */
	struct hugetlb_cgroup *h_cg;
	struct hugetlb_cgroup *h_cg_rsvd;
	struct mem_cgroup *memcg;	/* NULL: huge pages are no business of it */
};

/* What a memory cgroup can be charged with at a time. */
#define MEMCG_MAX	BIT(30)

/* Look at the record of a file, and copy it. */
static int read_ser(u64 pa, struct hugetlb_luo_ser *ser, struct hstate **hp)
{
	struct hstate *h = NULL;
	int err;

	err = memfd_luo_read_ser(pa, &ser->file);
	if (err)
		return err;
	if (!kho_incoming_range(pa, sizeof(*ser))) {
		pr_err("record %#llx of a memfd is not preserved as a whole\n", pa);
		return -EINVAL;
	}
	*ser = *(struct hugetlb_luo_ser *)phys_to_virt(pa);

	if (ser->flags) {
		pr_err("a memfd has unknown flags %#x\n", ser->flags);
		return -EOPNOTSUPP;
	}
	if (ser->order < BITS_PER_LONG - PAGE_SHIFT)
		h = size_to_hstate(PAGE_SIZE << ser->order);
	if (!h) {
		pr_err("a memfd has huge pages of order %u, which this kernel has not\n",
		       ser->order);
		return -EOPNOTSUPP;
	}
	*hp = h;
	return 0;
}

static struct file *make_file(struct hstate *h, const struct memfd_luo_ser *ser)
{
	struct file *file = hugetlb_file_setup("memfd:luo", 0, VM_NORESERVE,
					       HUGETLB_ANONHUGE_INODE, huge_page_shift(h));
	int err;

	if (IS_ERR(file))
		return file;

	err = memfd_luo_make_attrs(file, ser, &HUGETLBFS_I(file_inode(file))->seals);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

static int open_in(struct liveupdate_file_op_args *args, struct hugetlb_luo_in **inp)
{
	struct hugetlb_luo_in *in;
	struct hugetlb_luo_ser ser;
	struct hstate *h;
	int err;

	err = read_ser(args->serialized_data, &ser, &h);
	if (err)
		return err;

	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return -ENOMEM;

	in->file = make_file(h, &ser.file);
	if (IS_ERR(in->file)) {
		err = PTR_ERR(in->file);
		kfree(in);
		/* -ENOSPC: there was no memory for the inode. */
		return err == -ENOSPC ? -ENOMEM : err;
	}
	err = memfd_luo_find_pins(args, file_inode(in->file));
	if (err) {
		fput(in->file);
		kfree(in);
		return err;
	}
	in->h = h;
	INIT_LIST_HEAD(&in->folios);
	INIT_LIST_HEAD(&in->ranges);
	memfd_luo_reader_open(&in->reader, &ser.file, true);
	*inp = in;
	return 0;
}

/* Take a folio over from KHO, if there is one of this size. */
static struct folio *take_folio(struct hstate *h, const struct memfd_luo_folio_ser *record)
{
	phys_addr_t pa = PFN_PHYS((phys_addr_t)record->pfn);

	if (kho_incoming_order(pa) != huge_page_order(h))
		return NULL;
	return kho_restore_folio(pa);
}

static int take_page_record(struct hugetlb_luo_in *in, const struct memfd_luo_folio_ser *record)
{
	unsigned long nr = pages_per_huge_page(in->h);
	struct folio *folio = NULL;

	if (record->flags == (MEMFD_LUO_FOLIO_DIRTY | MEMFD_LUO_FOLIO_UPTODATE))
		folio = take_folio(in->h, record);
	if (folio) {
		folio->index = record->index;
		list_add_tail(&folio->lru, &in->folios);
		in->nr++;
		if (IS_ALIGNED(record->index, nr) &&
		    record->index <= (MAX_LFS_FILESIZE >> PAGE_SHIFT) + 1 - nr)
			return 0;
	}
	pr_err("huge page %#llx of a memfd, flags %#x, is not preserved, or does not fit at page %llu\n",
	       (u64)record->pfn, (unsigned int)record->flags, record->index);
	return -EINVAL;
}

static int take_range_record(struct hugetlb_luo_in *in, const struct memfd_luo_folio_ser *record)
{
	u64 size = i_size_read(file_inode(in->file)) >> huge_page_shift(in->h);
	u64 from = record->index >> huge_page_order(in->h);
	u64 nr = record->pfn;

	if (record->flags != HUGETLB_LUO_RESERVED || !nr || from >= size || nr > size - from ||
	    !IS_ALIGNED(record->index, pages_per_huge_page(in->h))) {
		pr_err("reservation of %llu huge pages at page %llu of a memfd, flags %#x, cannot be\n",
		       nr, record->index, (unsigned int)record->flags);
		return -EINVAL;
	}
	in->spare->from = from;
	in->spare->to = from + nr;
	list_add_tail(&in->spare->link, &in->ranges);
	in->spare = NULL;
	return 0;
}

/* Stage 1. */
static int take_records(struct hugetlb_luo_in *in)
{
	const struct memfd_luo_folio_ser *record;
	int err = 0;

	while (!err) {
		/* A record can be read once, so nothing may be missing then. */
		if (!in->spare)
			in->spare = kmalloc(sizeof(*in->spare), GFP_KERNEL);
		if (!in->spare)
			return -ENOMEM;
		if (fatal_signal_pending(current))
			return -EINTR;

		record = memfd_luo_reader_next(&in->reader);
		if (IS_ERR_OR_NULL(record))
			return PTR_ERR_OR_ZERO(record);
		if (record->flags & HUGETLB_LUO_RESERVED)
			err = take_range_record(in, record);
		else if (record->pfn)
			err = take_page_record(in, record);
		cond_resched();
	}
	return err;
}

/* Stage 2. */
static void prepare_folios(struct hugetlb_luo_in *in)
{
	if (!in->prepared)
		hugetlb_luo_pool_prepare(in->h, &in->folios);
	in->prepared = true;
}

#ifdef CONFIG_CGROUP_HUGETLB

/* A page has a reference on the cgroup of its reservation, and a charge has just one. */
static void get_rsvd(struct hugetlb_cgroup *h_cg)
{
	if (h_cg)
		css_get(&h_cg->css);
}

#else

static void get_rsvd(struct hugetlb_cgroup *h_cg)
{
}

#endif

static void cancel_memcg(struct mem_cgroup *memcg, unsigned long pages)
{
	for (; pages; pages -= min(pages, MEMCG_MAX))
		mem_cgroup_cancel_charge(memcg, min(pages, MEMCG_MAX));
}

static int charge_memcg(struct charge *c)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_current();
	unsigned long left = c->pages;
	int err = 0;

	while (left && !err) {
		err = mem_cgroup_hugetlb_try_charge(memcg, CHARGE_GFP, min(left, MEMCG_MAX));
		if (!err)
			left -= min(left, MEMCG_MAX);
	}
	if (!err) {
		c->memcg = memcg;
		return 0;
	}
	cancel_memcg(memcg, c->pages - left);
	mem_cgroup_put(memcg);
	return err == -EOPNOTSUPP ? 0 : err;
}

static void uncharge(struct hugetlb_luo_in *in, struct charge *c)
{
	int idx = hstate_index(in->h);

	if (c->memcg)
		cancel_memcg(c->memcg, c->pages);
	mem_cgroup_put(c->memcg);
	/* With or without pages: a reference goes with it. */
	hugetlb_cgroup_uncharge_cgroup_rsvd(idx, c->pages, c->h_cg_rsvd);
	if (c->pages)
		hugetlb_cgroup_uncharge_cgroup(idx, c->pages, c->h_cg);
}

static int charge(struct hugetlb_luo_in *in, struct charge *c)
{
	unsigned long pages = (in->nr + !!in->folio) * pages_per_huge_page(in->h);
	int idx = hstate_index(in->h), err;

	*c = (struct charge) {};
	if (!pages)
		return 0;

	if (hugetlb_cgroup_charge_cgroup_rsvd(idx, pages, &c->h_cg_rsvd))
		return -ENOMEM;
	if (hugetlb_cgroup_charge_cgroup(idx, pages, &c->h_cg)) {
		hugetlb_cgroup_uncharge_cgroup_rsvd(idx, pages, c->h_cg_rsvd);
		return -ENOMEM;
	}
	c->pages = pages;

	err = charge_memcg(c);
	if (err)
		uncharge(in, c);
	return err;
}

static void commit_charge(struct hugetlb_luo_in *in, struct charge *c, struct folio *folio)
{
	unsigned long pages = pages_per_huge_page(in->h);
	int idx = hstate_index(in->h);

	get_rsvd(c->h_cg_rsvd);
	spin_lock_irq(&hugetlb_lock);
	hugetlb_cgroup_commit_charge_rsvd(idx, pages, c->h_cg_rsvd, folio);
	hugetlb_cgroup_commit_charge(idx, pages, c->h_cg, folio);
	spin_unlock_irq(&hugetlb_lock);
	if (c->memcg)
		mem_cgroup_commit_charge(folio, c->memcg);
	c->pages -= pages;
}

static int insert_folio(struct hugetlb_luo_in *in, struct charge *c, struct folio *folio)
{
	pgoff_t index = folio->index >> huge_page_order(in->h);
	unsigned long addr = index << huge_page_shift(in->h);
	struct vm_area_struct vma;
	long needed;
	int err;

	/* The mapping that hugetlbfs_fallocate() uses, too. */
	vma_init(&vma, current->mm);
	vm_flags_init(&vma, VM_HUGETLB | VM_MAYSHARE | VM_SHARED);
	vma.vm_file = in->file;

	needed = vma_needs_reservation(in->h, &vma, addr);
	if (needed < 0)
		return -ENOMEM;

	__folio_mark_uptodate(folio);
	err = needed ? hugetlb_add_to_page_cache(folio, in->file->f_mapping, index) : -EEXIST;
	if (err) {
		vma_end_reservation(in->h, &vma, addr);
		if (err != -EEXIST)
			return err;
		pr_err("a memfd has two huge pages for page %lu\n", folio->index);
		return -EINVAL;
	}
	vma_commit_reservation(in->h, &vma, addr);
	commit_charge(in, c, folio);
	folio_set_hugetlb_migratable(folio);
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}

/* Count the next page in the pool. */
static struct folio *adopt_next(struct hugetlb_luo_in *in)
{
	struct folio *folio = list_first_entry_or_null(&in->folios, struct folio, lru);

	if (!folio)
		return NULL;
	list_del(&folio->lru);
	in->nr--;
	hugetlb_luo_pool_adopt(in->h, folio);
	in->pinned = false;
	return folio;
}

/* Pin what a device uses of a page. */
static int pin_folio(struct hugetlb_luo_in *in)
{
	int err = in->pinned ? 0 : memfd_luo_pin_folio(file_inode(in->file), in->folio);

	in->pinned = !err;
	return err;
}

/* Stage 3. */
static int insert_folios(struct hugetlb_luo_in *in)
{
	struct charge c;
	int err;

	err = charge(in, &c);
	if (err)
		return err;

	while (in->folio || (in->folio = adopt_next(in))) {
		err = pin_folio(in) ?: insert_folio(in, &c, in->folio);
		if (err)
			break;
		in->folio = NULL;
		cond_resched();
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
	}
	uncharge(in, &c);
	return err;
}

/* Stage 4. */
static void reserve_ranges(struct hugetlb_luo_in *in)
{
	struct reserved_range *range, *next;

	list_for_each_entry_safe(range, next, &in->ranges, link) {
		if (!hugetlb_reserve_pages(file_inode(in->file), range->from, range->to, NULL, 0))
			pr_warn("%ld huge pages of a memfd cannot be reserved again: the pool is too small, or there is no memory\n",
				range->to - range->from);
		list_del(&range->link);
		kfree(range);
	}
}

static void free_in(struct hugetlb_luo_in *in)
{
	struct reserved_range *range, *next;

	list_for_each_entry_safe(range, next, &in->ranges, link)
		kfree(range);
	kfree(in->spare);
	kfree(in);
}

/**
 * hugetlb_luo_retrieve - make a preserved hugetlb memfd again
 * @args: as for &liveupdate_file_ops.retrieve
 *
 * Return: 0; -ENOMEM or -EINTR when it should be tried again; another errno if the
 * file cannot be had.
 */
int hugetlb_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct hugetlb_luo_in *in = args->private_data;
	int err;

	if (!in) {
		err = open_in(args, &in);
		if (err)
			return err;
		args->private_data = in;
	}

	err = take_records(in);
	if (err)
		return err;
	prepare_folios(in);
	err = insert_folios(in);
	if (err)
		return err;
	reserve_ranges(in);

	memfd_luo_reader_close(&in->reader);
	kho_restore_free(phys_to_virt(args->serialized_data));
	args->file = in->file;
	args->private_data = NULL;
	free_in(in);
	return 0;
}

/* Chain the folios of records that were not looked at yet. */
static void take_rest(struct hstate *h, struct memfd_luo_reader *reader, struct list_head *folios)
{
	const struct memfd_luo_folio_ser *record;

	while (!IS_ERR_OR_NULL(record = memfd_luo_reader_next(reader))) {
		struct folio *folio = NULL;

		if (!(record->flags & HUGETLB_LUO_RESERVED) && record->pfn)
			folio = take_folio(h, record);
		if (folio)
			list_add_tail(&folio->lru, folios);
		cond_resched();
	}
	memfd_luo_reader_close(reader);
}

/* Give pages to the pool, or to the buddy allocator, as the pool wants it. */
static void free_prepared(struct hstate *h, struct list_head *folios)
{
	struct folio *folio, *next;

	list_for_each_entry_safe(folio, next, folios, lru) {
		list_del(&folio->lru);
		hugetlb_luo_pool_adopt(h, folio);
		folio_put(folio);
		cond_resched();
	}
}

/**
 * hugetlb_luo_finish - the session of an incoming hugetlb memfd is finished
 * @args: as for &liveupdate_file_ops.finish
 *
 * A file that was retrieved is the caller's, all of it. Else nobody will ask for its
 * pages any more, and they go back to their pool.
 */
void hugetlb_luo_finish(struct liveupdate_file_op_args *args)
{
	struct hugetlb_luo_in *in = args->private_data;
	struct memfd_luo_reader reader;
	struct hugetlb_luo_ser ser;
	struct hstate *h;
	LIST_HEAD(rest);

	if (args->retrieve_status > 0) {
		memfd_luo_drop_pins(file_inode(args->file), NULL);
		return;
	}

	if (in) {
		h = in->h;
		if (in->folio) {
			memfd_luo_unpin_folio(file_inode(in->file), in->folio);
			folio_put(in->folio);
		}
		memfd_luo_drop_pins(file_inode(in->file), NULL);
		if (in->prepared)
			free_prepared(h, &in->folios);
		else
			list_splice(&in->folios, &rest);
		take_rest(h, &in->reader, &rest);
		fput(in->file);
		free_in(in);
		args->private_data = NULL;
	} else {
		if (read_ser(args->serialized_data, &ser, &h))
			return;
		memfd_luo_reader_open(&reader, &ser.file, true);
		take_rest(h, &reader, &rest);
	}
	hugetlb_luo_pool_prepare(h, &rest);
	free_prepared(h, &rest);
	kho_restore_free(phys_to_virt(args->serialized_data));
}
