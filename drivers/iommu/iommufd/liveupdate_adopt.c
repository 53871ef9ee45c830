// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd and live update: the way into a kernel.
 */

/**
 * DOC: iommufd live update, incoming
 *
 * When the file is retrieved, its IOASes are made again from the record, with all their
 * mappings, but without a HWPT: that comes with the first of its devices, see
 * liveupdate_adopt_dev.c, and takes over a page table that devices have been using all the
 * time.
 *
 * **Comparison.** Before that, each page that the page table has for a mapping is compared
 * with the memfd. If they differ, the device would write to memory that is somebody
 * else's, or the VM would not see what it writes; then nothing is adopted.
 *
 * **Pins.** The memfd has pinned what mappings cover before anybody could move it,
 * mm/memfd_luo_pins.c. A mapping takes these pins over, and they are charged to
 * the process that retrieves. They are given back as any others, when the mapping goes.
 *
 * Until the session is finished IOASes that came in are fixed, like those that are
 * preserved. After that everything is as if this kernel had made it, mark and label
 * included.
 *
 * Locks: as in liveupdate.c. The list of what came in belongs to iommufd_luo_ctx.lock.
 */

#define pr_fmt(fmt) "iommufd: liveupdate: " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/iommufd.h>
#include <linux/kho/abi/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/memfd_luo.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/* ---- the file ---- */

/* An iommufd in the making. */
struct iommufd_luo_build {
	struct liveupdate_session *session;
	struct iommufd_ctx *ictx;
	struct xarray ioas;		/* by number */
};

/**
 * iommufd_luo_find_in - look for a HWPT that came in
 * @ictx: the context
 * @label: its label
 *
 * Context: the lock is held.
 * Return: what came in, or NULL; always NULL after the session was finished.
 */
struct iommufd_luo_in_hwpt *iommufd_luo_find_in(struct iommufd_ctx *ictx, u32 label)
{
	struct iommufd_luo_in_hwpt *in;

	lockdep_assert_held(&ictx->luo.lock);
	list_for_each_entry(in, &ictx->luo.incoming, link)
		if (in->label == label)
			return in;
	return NULL;
}

static int iommufd_luo_build_ioas(struct iommufd_luo_build *build,
				  const struct iommufd_luo_ser *ser)
{
	struct iommufd_ioas *ioas = iommufd_ioas_alloc(build->ictx);
	int ret;

	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ret = xa_err(xa_store(&build->ioas, ser->ioas, ioas, GFP_KERNEL_ACCOUNT));
	if (!ret && ser->flags & IOMMUFD_LUO_SMALL_PAGES)
		ret = iopt_disable_large_pages(&ioas->iopt);
	if (ret) {
		iommufd_object_abort_and_destroy(build->ictx, &ioas->obj);
		return ret;
	}
	iommufd_object_finalize(build->ictx, &ioas->obj);
	return 0;
}

static int iommufd_luo_build_allowed(struct iommufd_ioas *ioas,
				     const struct iommufd_luo_ser *ser)
{
	struct io_pagetable *iopt = &ioas->iopt;
	struct iopt_allowed *allowed;

	guard(rwsem_write)(&iopt->iova_rwsem);
	if (iopt_allowed_iter_first(iopt, ser->iova, ser->last)) {
		pr_err("IOVA %#llx is allowed twice\n", ser->iova);
		return -EINVAL;
	}
	allowed = kzalloc(sizeof(*allowed), GFP_KERNEL_ACCOUNT);
	if (!allowed)
		return -ENOMEM;
	allowed->node.start = ser->iova;
	allowed->node.last = ser->last;
	interval_tree_insert(&allowed->node, &iopt->allowed_itree);
	return 0;
}

static int iommufd_luo_build_mapping(struct iommufd_luo_build *build, struct iommufd_ioas *ioas,
				     const struct iommufd_luo_ser *ser)
{
	u32 flags = (ser->flags & IOMMUFD_LUO_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
		    (ser->flags & IOMMUFD_LUO_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0);
	struct file *file __free(fput) = NULL;
	unsigned long iova = ser->iova;
	struct iopt_pages *pages;
	int ret;

	ret = liveupdate_session_get_file(build->session, ser->token, &file);
	if (ret) {
		pr_err("the memory at IOVA %#llx, of token %#llx, cannot be had: %pe\n", ser->iova,
		       ser->token, ERR_PTR(ret));
		return ret == -ENOENT ? -EINVAL : ret;
	}
	if (!memfd_luo_is_retrieved(file)) {
		pr_err("the memory at IOVA %#llx is not that of a memfd\n", ser->iova);
		return -EINVAL;
	}
	pages = iopt_adopt_file_pages(file, ser->offset, ser->last - ser->iova + 1,
				      ser->flags & IOMMUFD_LUO_WRITE);
	if (IS_ERR(pages))
		return PTR_ERR(pages);
	ret = iopt_map_new_pages(build->ictx, &ioas->iopt, pages, &iova,
				 ser->offset - pages->file_start, ser->last - ser->iova + 1,
				 conv_iommu_prot(flags), 0);
	if (ret == -EEXIST) {
		pr_err("IOVA %#llx is mapped twice\n", ser->iova);
		ret = -EINVAL;
	}
	return ret;
}

static int iommufd_luo_build_hwpt(struct iommufd_luo_build *build, struct iommufd_ioas *ioas,
				  const struct iommufd_luo_ser *ser)
{
	struct iommufd_luo_in_hwpt *in;

	guard(mutex)(&build->ictx->luo.lock);
	if (iommufd_luo_find_in(build->ictx, ser->label)) {
		pr_err("two HWPTs have the label %u\n", ser->label);
		return -EINVAL;
	}
	in = kzalloc(sizeof(*in), GFP_KERNEL_ACCOUNT);
	if (!in)
		return -ENOMEM;
	in->label = ser->label;
	in->flags = ser->flags;
	in->ioas = ioas;
	/* Until the session is finished, also if none of its devices is retrieved */
	refcount_inc(&ioas->obj.users);
	list_add_tail(&in->link, &build->ictx->luo.incoming);
	return 0;
}

static int iommufd_luo_build(const struct iommufd_luo_ser *ser, void *data)
{
	struct iommufd_luo_build *build = data;
	struct iommufd_ioas *ioas = xa_load(&build->ioas, ser->ioas);

	if (fatal_signal_pending(current))
		return -EINTR;
	switch (ser->type) {
	case IOMMUFD_LUO_IOAS:
		return iommufd_luo_build_ioas(build, ser);
	case IOMMUFD_LUO_ALLOWED:
		return iommufd_luo_build_allowed(ioas, ser);
	case IOMMUFD_LUO_MAPPING:
		return iommufd_luo_build_mapping(build, ioas, ser);
	default:
		return iommufd_luo_build_hwpt(build, ioas, ser);
	}
}

static void iommufd_luo_set_fixed(struct iommufd_ctx *ictx, bool fixed)
{
	struct iommufd_luo_in_hwpt *in;

	lockdep_assert_held(&ictx->luo.lock);
	list_for_each_entry(in, &ictx->luo.incoming, link) {
		struct io_pagetable *iopt = &in->ioas->iopt;

		down_write(&iopt->domains_rwsem);
		down_write(&iopt->iova_rwsem);
		WRITE_ONCE(iopt->luo.fixed, fixed);
		up_write(&iopt->iova_rwsem);
		up_write(&iopt->domains_rwsem);
	}
}

static struct file *iommufd_luo_open(void)
{
	struct file *file;
	int ret;

	file = anon_inode_getfile("[iommufd]", &iommufd_fops, NULL, O_RDWR);
	if (IS_ERR(file))
		return file;
	ret = iommufd_fops.open(file_inode(file), file);
	if (ret) {
		fput(file);
		return ERR_PTR(ret);
	}
	return file;
}

/**
 * iommufd_luo_retrieve - make a preserved iommufd again
 * @args: as for &liveupdate_file_ops.retrieve
 *
 * Return: 0; -ENOMEM or -EINTR when it should be tried again; another errno if the file, or a
 * memfd that it needs, cannot be had.
 */
int iommufd_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct iommufd_luo_build build = { .session = args->session };
	struct file *file;
	int ret;

	file = iommufd_luo_open();
	if (IS_ERR(file))
		return PTR_ERR(file);
	build.ictx = file->private_data;
	xa_init(&build.ioas);
	ret = iommufd_luo_walk(args->serialized_data, iommufd_luo_build, &build);
	xa_destroy(&build.ioas);
	if (ret) {
		fput(file);
		return ret;
	}
	scoped_guard(mutex, &build.ictx->luo.lock)
		iommufd_luo_set_fixed(build.ictx, true);
	args->file = file;
	return 0;
}

static void iommufd_luo_forget(struct iommufd_ctx *ictx)
{
	struct iommufd_luo_in_hwpt *in, *next;

	guard(mutex)(&ictx->luo.lock);
	iommufd_luo_set_fixed(ictx, false);
	list_for_each_entry_safe(in, next, &ictx->luo.incoming, link) {
		/* So long it was kept for whoever retrieves another of its devices. */
		if (in->hwpt)
			refcount_dec(&in->hwpt->common.obj.users);
		refcount_dec(&in->ioas->obj.users);
		list_del(&in->link);
		kfree(in);
	}
}

/**
 * iommufd_luo_can_finish - may the session of an incoming iommufd be finished?
 * @args: as for &liveupdate_file_ops.can_finish
 *
 * Each device that is retrieved speaks for itself. If one runs that is not, whatever
 * has become of its file, its page table and what is mapped there must stay.
 *
 * Context: may sleep.
 * Return: true if it may.
 */
bool iommufd_luo_can_finish(struct liveupdate_file_op_args *args)
{
	return !liveupdate_session_unclaimed(args->session);
}

/**
 * iommufd_luo_finish - the session of an incoming iommufd is finished
 * @args: as for &liveupdate_file_ops.finish
 *
 * Context: may sleep.
 */
void iommufd_luo_finish(struct liveupdate_file_op_args *args)
{
	if (args->file)
		iommufd_luo_forget(args->file->private_data);
	iommufd_luo_free(args->serialized_data);
}

/**
 * iommufd_liveupdate_release_ctx - a context is closed, and nobody else knows it
 * @ictx: the context
 *
 * Context: may sleep.
 */
void iommufd_liveupdate_release_ctx(struct iommufd_ctx *ictx)
{
	iommufd_luo_forget(ictx);
	mutex_destroy(&ictx->luo.lock);
}

/* ---- the page table ---- */

/**
 * iopt_liveupdate_adopts - has a domain that is added all mappings already?
 * @iopt: the IO page table
 *
 * Context: its locks are held.
 * Return: true if it has.
 */
bool iopt_liveupdate_adopts(struct io_pagetable *iopt)
{
	return iopt->luo.adopting;
}

/* How far a page table has been compared with a memfd. */
struct iommufd_luo_compare {
	struct address_space *mapping;
	unsigned long iova;
	pgoff_t index;			/* of the page that has to be there */
	struct iommufd_luo_scan scan;
};

/*
 * A folio in the page cache knows its place there. It does not leave it: it is pinned, and
 * such a memfd refuses to let go of pages.
 */
static int iommufd_luo_compare_run(const struct iommu_liveupdate_run *run, void *data)
{
	unsigned long pfn = PHYS_PFN(run->phys), last = PHYS_PFN(run->phys + run->size - 1);
	struct iommufd_luo_compare *cmp = data;
	struct folio *folio;
	unsigned long nr;

	if (run->iova != cmp->iova) {
		pr_err("at IOVA %#lx nothing is mapped\n", cmp->iova);
		return -EBADMSG;
	}
	for (; pfn <= last; pfn += nr) {
		folio = iommufd_luo_scan_folio(&cmp->scan, pfn);
		if (IS_ERR(folio) && PTR_ERR(folio) == -EINTR)
			return -EINTR;
		nr = IS_ERR(folio) ? 0 : folio_page_idx(folio, pfn_to_page(pfn));
		if (IS_ERR(folio) || READ_ONCE(folio->mapping) != cmp->mapping ||
		    folio->index + nr != cmp->index) {
			pr_err("at IOVA %#lx is another page than in the memfd\n",
			       run->iova + (pfn - PHYS_PFN(run->phys)) * PAGE_SIZE);
			return -EBADMSG;
		}
		nr = min(last - pfn + 1, folio_nr_pages(folio) - nr);
		cmp->index += nr;
	}
	cmp->iova = run->iova + run->size;
	return 0;
}

static int iommufd_luo_compare(struct iopt_area *area, struct iommu_domain *domain)
{
	struct iommufd_luo_compare cmp = {
		.mapping = area->pages->file->f_mapping,
		.iova = iopt_area_iova(area),
		.index = (area->pages->file_start >> PAGE_SHIFT) + iopt_area_index(area),
		.scan.subsection = ~0UL,
	};
	unsigned long last = iopt_area_last_iova(area);
	int ret;

	ret = iommu_liveupdate_walk_domain(domain, cmp.iova, last, iommufd_luo_compare_run, &cmp);
	if (!ret && cmp.iova != last + 1) {
		pr_err("at IOVA %#lx nothing is mapped\n", cmp.iova);
		ret = -EBADMSG;
	}
	return ret;
}

/* The pins of a mapping become ours, or no longer are. */
static int iommufd_luo_take_pins(struct iopt_area *area)
{
	struct iopt_pages *pages = area->pages;
	pgoff_t first = (pages->file_start >> PAGE_SHIFT) + iopt_area_index(area);
	int ret;

	lockdep_assert_held(&pages->mutex);
	if (!memfd_luo_take_pins(pages->file, first, pages->npages)) {
		pr_err("the memory at IOVA %#lx is not pinned\n", iopt_area_iova(area));
		return -EBADMSG;
	}
	pages->npinned = pages->npages;
	ret = do_update_pinned(pages, pages->npages, true, NULL);
	if (ret) {
		pages->npinned = 0;
		memfd_luo_give_pins(pages->file, first, pages->npages);
	}
	return ret;
}

static void iommufd_luo_give_pins(struct iopt_area *area)
{
	struct iopt_pages *pages = area->pages;

	lockdep_assert_held(&pages->mutex);
	pages->npinned = 0;
	WARN_ON(do_update_pinned(pages, pages->npages, false, NULL));
	memfd_luo_give_pins(pages->file,
			    (pages->file_start >> PAGE_SHIFT) + iopt_area_index(area),
			    pages->npages);
}

/**
 * iopt_liveupdate_adopt_domain - a domain has all mappings of an IO page table
 * @iopt: the IO page table, of which nobody has ever changed anything
 * @domain: the domain, which is about to be added, and in use by devices
 *
 * Takes the place of filling the domain.
 *
 * Context: both locks of @iopt are held for writing. May sleep.
 * Return: 0; -EBADMSG if the domain has something else, which the log tells; -ENOMEM if
 * that is more than the caller may lock; -EINTR. Nothing has changed then.
 */
int iopt_liveupdate_adopt_domain(struct io_pagetable *iopt, struct iommu_domain *domain)
{
	struct iopt_area *area, *end = NULL;
	int ret = 0;

	lockdep_assert_held_write(&iopt->domains_rwsem);
	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area && !ret;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX))
		ret = iommufd_luo_compare(area, domain);
	/* Another domain of the same IOAS has come before, with the pins. */
	if (ret || iopt->next_domain_id)
		return ret;

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		guard(mutex)(&area->pages->mutex);
		ret = iommufd_luo_take_pins(area);
		if (ret)
			break;
		area->storage_domain = domain;
		interval_tree_insert(&area->pages_node, &area->pages->domains_itree);
	}
	if (!ret)
		return 0;

	end = area;
	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area != end;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		guard(mutex)(&area->pages->mutex);
		interval_tree_remove(&area->pages_node, &area->pages->domains_itree);
		area->storage_domain = NULL;
		iommufd_luo_give_pins(area);
	}
	return ret;
}
