// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd and live update: marks, and the way out of a kernel.
 */

/**
 * DOC: iommufd live update
 *
 * An iommufd is preserved for the sake of devices that run on. What is carried over is
 * what user space has marked: a HWPT (a page table that IOMMU_HWPT_ALLOC has made),
 * with it its IOAS, and with that all mappings there. The page table itself is preserved
 * with the device that uses it, in the IOMMU core; the record of this file,
 * include/linux/kho/abi/iommufd.h, says what it means.
 *
 * **Memory** is named in the record by memfd and offset, since there is no address
 * in the next kernel. A mapping may have been made by address all the same: each of its
 * pages, which the page table tells (iommu_liveupdate_walk_domain()), must lie in the page
 * cache of a memfd that is preserved in the same session. Such a page stays there: memfds
 * that are preserved refuse truncation and hole punching. A mapping becomes as many entries as
 * there are linear pieces.
 *
 * **While preserved** an IOAS is fixed: what is mapped, what may be mapped, and who is
 * attached. All paths that would change it ask iopt_liveupdate_may_change() or
 * iommufd_liveupdate_may_change(), and fail with ``-EBUSY``. The HWPTs have one more
 * user, so IOMMU_DESTROY fails as well.
 *
 * **Devices** are preserved one by one by their drivers, after the iommufd,
 * by iommufd_liveupdate_preserve_device().
 *
 * Locks: &iommufd_luo_ctx.lock protects marks and labels, and that a context is
 * preserved or came in; &iommufd_luo_iopt.fixed is changed with both locks of the
 * &struct io_pagetable held for writing, so whoever has one of them can rely on it.
 * &iommufd_luo_device.preserved belongs to the lock of the group. The order: lock of the
 * session (of LUO), iommufd_luo_ctx.lock, mutex of the IOAS, lock of the group, locks of
 * the io_pagetable.
 */

#define pr_fmt(fmt) "iommufd: liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/iommufd.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <uapi/linux/iommufd_liveupdate.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/* A record on its way out. */
struct iommufd_luo_writer {
	struct iommufd_luo_block_ser *first, *last;
};

/* A linear piece of a mapping, which grows folio by folio. */
struct iommufd_luo_piece {
	struct liveupdate_session *session;
	struct iommufd_luo_writer *w;
	struct address_space *mapping;	/* NULL: none yet */
	struct iommufd_luo_ser ser;
	pgoff_t next;			/* index of the page that would continue it */
	unsigned long iova;		/* up to here all is mapped */
	struct iommufd_luo_scan scan;
};

/* ---- what may not change ---- */

/**
 * iopt_liveupdate_may_change - may what is mapped in an IO page table change?
 * @iopt: the IO page table
 *
 * Context: one of its locks is held.
 * Return: 0, or -EBUSY if it is preserved, or came in and was not finished.
 */
int iopt_liveupdate_may_change(struct io_pagetable *iopt)
{
	return iopt->luo.fixed ? -EBUSY : 0;
}

/**
 * iommufd_liveupdate_may_change - may devices be attached to or taken off a HWPT?
 * @hwpt: the HWPT
 *
 * Context: the lock of the group is held.
 * Return: 0, or -EBUSY if its IOAS is preserved, or came in and was not finished.
 */
int iommufd_liveupdate_may_change(struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_hwpt_paging *paging = find_hwpt_paging(hwpt);

	return paging && READ_ONCE(paging->ioas->iopt.luo.fixed) ? -EBUSY : 0;
}

/* ---- the record ---- */

static int iommufd_luo_write(struct iommufd_luo_writer *w, const struct iommufd_luo_ser *ser)
{
	struct iommufd_luo_block_ser *block = w->last;

	if (!block || block->count == IOMMUFD_LUO_PER_BLOCK) {
		block = kho_alloc_preserve(IOMMUFD_LUO_BLOCK_SIZE);
		if (IS_ERR(block))
			return PTR_ERR(block);
		if (w->last)
			w->last->next = virt_to_phys(block);
		else
			w->first = block;
		w->last = block;
	}
	((struct iommufd_luo_ser *)(block + 1))[block->count++] = *ser;
	return 0;
}

static void iommufd_luo_drop_record(struct iommufd_luo_block_ser *block)
{
	while (block) {
		u64 next = block->next;

		kho_unpreserve_free(block);
		block = next ? phys_to_virt(next) : NULL;
	}
}

/* ---- mappings ---- */

static int iommufd_luo_refuse(u64 iova, const char *why, int err)
{
	pr_warn_ratelimited("cannot be preserved: the memory at IOVA %#llx %s\n", iova, why);
	return err;
}

/* A piece begins at a page: which memfd is that? */
static int iommufd_luo_find_memfd(struct folio *folio, struct iommufd_luo_piece *piece)
{
	struct address_space *mapping = READ_ONCE(folio->mapping);
	struct file *file __free(fput) = NULL;
	u64 token, iova = piece->ser.iova;
	int seals, ret;

	if (!mapping || ((unsigned long)mapping & PAGE_MAPPING_FLAGS))
		return iommufd_luo_refuse(iova, "is not in a file", -EINVAL);
	/* Of memfds this is right, also on hugetlbfs; of others it is not found. */
	ret = liveupdate_session_inode(piece->session,
				       container_of(mapping, struct inode, i_data), &token,
				       &file);
	if (ret == -ENOENT)
		return iommufd_luo_refuse(iova, "is not of a memfd that was preserved before",
					  -EINVAL);
	if (ret)
		return ret;
	/* From here on it is, and the memfd does not let go of it. */
	if (file->f_mapping != mapping || READ_ONCE(folio->mapping) != mapping)
		return iommufd_luo_refuse(iova, "is not in its file any more", -EINVAL);
	seals = memfd_fcntl(file, F_GET_SEALS, 0);
	if (seals < 0 || ~seals & (F_SEAL_SHRINK | F_SEAL_GROW))
		return iommufd_luo_refuse(iova, "is not sealed against shrinking and growing",
					  -EPERM);
	piece->mapping = mapping;
	piece->ser.token = token;
	return 0;
}

/* The piece ends, if there is one, and another begins. */
static int iommufd_luo_next_piece(struct iommufd_luo_piece *piece, unsigned long iova,
				  size_t leaf, struct folio *folio, u64 offset)
{
	int ret;

	if (piece->mapping) {
		/* They could not be unmapped one by one. */
		if (!IS_ALIGNED(iova, leaf))
			return iommufd_luo_refuse(iova, "is of two memfds in one superpage",
						  -EINVAL);
		piece->ser.last = iova - 1;
		ret = iommufd_luo_write(piece->w, &piece->ser);
		if (ret)
			return ret;
	}
	piece->ser.iova = iova;
	piece->ser.offset = offset;
	return iommufd_luo_find_memfd(folio, piece);
}

static int iommufd_luo_preserve_run(const struct iommu_liveupdate_run *run, void *data)
{
	unsigned long pfn = PHYS_PFN(run->phys), last = PHYS_PFN(run->phys + run->size - 1);
	struct iommufd_luo_piece *piece = data;
	unsigned long iova = run->iova, nr;
	unsigned int in_page = offset_in_page(run->phys);
	struct folio *folio;
	pgoff_t index;
	int ret;

	if (iova != piece->iova)
		return iommufd_luo_refuse(piece->iova, "is not mapped", -EINVAL);
	for (; pfn <= last; pfn += nr) {
		folio = iommufd_luo_scan_folio(&piece->scan, pfn);
		if (IS_ERR(folio))
			return PTR_ERR(folio) == -EINTR ? -EINTR :
			       iommufd_luo_refuse(iova, "is no memory", -EINVAL);
		index = folio_page_idx(folio, pfn_to_page(pfn));
		nr = min(last - pfn + 1, folio_nr_pages(folio) - index);
		index += folio->index;

		if (READ_ONCE(folio->mapping) != piece->mapping || index != piece->next ||
		    !piece->mapping) {
			ret = iommufd_luo_next_piece(piece, iova, run->leaf, folio,
						     ((u64)index << PAGE_SHIFT) + in_page);
			if (ret)
				return ret;
		}
		piece->next = index + nr;
		iova += nr * PAGE_SIZE - in_page;
		in_page = 0;
	}
	piece->iova = run->iova + run->size;
	return 0;
}

static int iommufd_luo_preserve_area(struct liveupdate_session *session,
				     struct iommufd_luo_writer *w, struct iopt_area *area,
				     struct iommu_domain *domain)
{
	struct iommufd_luo_piece piece = {
		.session = session,
		.w = w,
		.ser = {
			.type = IOMMUFD_LUO_MAPPING,
			.flags = (area->iommu_prot & IOMMU_READ ? IOMMUFD_LUO_READ : 0) |
				 (area->iommu_prot & IOMMU_WRITE ? IOMMUFD_LUO_WRITE : 0),
			.ioas = area->iopt->luo.number,
		},
		.iova = iopt_area_iova(area),
		.scan.subsection = ~0UL,
	};
	unsigned long last = iopt_area_last_iova(area);
	int ret;

	ret = iommu_liveupdate_walk_domain(domain, piece.iova, last, iommufd_luo_preserve_run,
					   &piece);
	if (ret)
		return ret;
	if (piece.iova != last + 1)
		return iommufd_luo_refuse(piece.iova, "is not mapped", -EINVAL);
	piece.ser.last = last;
	return iommufd_luo_write(w, &piece.ser);
}

/* ---- IOASes and HWPTs ---- */

static int iommufd_luo_fix(struct io_pagetable *iopt)
{
	struct iopt_area *area;
	int ret = 0;

	down_write(&iopt->domains_rwsem);
	down_write(&iopt->iova_rwsem);
	if (!xa_empty(&iopt->access_list)) {
		pr_warn_ratelimited("cannot be preserved: an IOAS is accessed by the kernel\n");
		ret = -EOPNOTSUPP;
	}
	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area && !ret;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX))
		if (!area->pages)
			ret = -EBUSY;
	if (!ret)
		WRITE_ONCE(iopt->luo.fixed, true);
	up_write(&iopt->iova_rwsem);
	up_write(&iopt->domains_rwsem);
	return ret;
}

static void iommufd_luo_unfix(struct io_pagetable *iopt)
{
	down_write(&iopt->domains_rwsem);
	down_write(&iopt->iova_rwsem);
	WRITE_ONCE(iopt->luo.fixed, false);
	up_write(&iopt->iova_rwsem);
	up_write(&iopt->domains_rwsem);
}

/* What is fixed needs no lock against changes; the iterators ask for it all the same. */
static int iommufd_luo_preserve_iopt(struct liveupdate_session *session,
				     struct iommufd_luo_writer *w, struct io_pagetable *iopt,
				     struct iommu_domain *domain)
{
	struct iommufd_luo_ser ser = {
		.type = IOMMUFD_LUO_IOAS,
		.flags = iopt->disable_large_pages ? IOMMUFD_LUO_SMALL_PAGES : 0,
		.ioas = iopt->luo.number,
	};
	struct iopt_allowed *allowed;
	struct iopt_area *area;
	int ret;

	guard(rwsem_read)(&iopt->iova_rwsem);
	ret = iommufd_luo_write(w, &ser);
	ser.type = IOMMUFD_LUO_ALLOWED;
	ser.flags = 0;
	for (allowed = iopt_allowed_iter_first(iopt, 0, ULONG_MAX); allowed && !ret;
	     allowed = iopt_allowed_iter_next(allowed, 0, ULONG_MAX)) {
		ser.iova = allowed->node.start;
		ser.last = allowed->node.last;
		ret = iommufd_luo_write(w, &ser);
	}
	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area && !ret;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX))
		ret = iommufd_luo_preserve_area(session, w, area, domain);
	return ret;
}

static int iommufd_luo_preserve_hwpt(struct liveupdate_session *session,
				     struct iommufd_luo_writer *w,
				     struct iommufd_hwpt_paging *hwpt, u32 *nr_ioas)
{
	struct iommufd_luo_ser ser = {
		.type = IOMMUFD_LUO_HWPT,
		.flags = hwpt->enforce_cache_coherency ? IOMMUFD_LUO_COHERENT : 0,
		.label = hwpt->luo.label,
	};
	struct io_pagetable *iopt = &hwpt->ioas->iopt;
	int ret;

	if (!iopt->luo.fixed) {
		ret = iommufd_luo_fix(iopt);
		if (ret)
			return ret;
		iopt->luo.number = (*nr_ioas)++;
		ret = iommufd_luo_preserve_iopt(session, w, iopt, hwpt->common.domain);
		if (ret)
			return ret;
	}
	ser.ioas = iopt->luo.number;
	return iommufd_luo_write(w, &ser);
}

/* Let go of what was preserved, or of all before a failure. */
static void iommufd_luo_release(struct iommufd_ctx *ictx, struct iommufd_luo_block_ser *record)
{
	struct iommufd_hwpt_paging *hwpt;

	lockdep_assert_held(&ictx->luo.lock);
	for (unsigned long id = 0; (hwpt = iommufd_luo_next(ictx, &id)); id++) {
		if (hwpt->ioas->iopt.luo.fixed)
			iommufd_luo_unfix(&hwpt->ioas->iopt);
		refcount_dec(&hwpt->common.obj.users);
	}
	iommufd_luo_drop_record(record);
	ictx->luo.preserved = false;
}

/* From here on there is a user more of each HWPT that has a mark. */
static unsigned int iommufd_luo_hold(struct iommufd_ctx *ictx)
{
	struct iommufd_hwpt_paging *hwpt;
	unsigned int nr = 0;

	lockdep_assert_held(&ictx->luo.lock);
	xa_lock(&ictx->objects);
	for (unsigned long id = 0; (hwpt = iommufd_luo_next_locked(ictx, &id)); id++) {
		/* IOMMU_DESTROY takes it out of the array before it lets go of the lock. */
		refcount_inc(&hwpt->common.obj.users);
		nr++;
	}
	xa_unlock(&ictx->objects);
	return nr;
}

static int iommufd_luo_preserve_ctx(struct liveupdate_session *session,
				    struct iommufd_ctx *ictx, u64 *pa)
{
	struct iommufd_luo_writer w = {};
	struct iommufd_hwpt_paging *hwpt;
	u32 nr_ioas = 0;
	int ret = 0;

	guard(mutex)(&ictx->luo.lock);
	if (!list_empty(&ictx->luo.incoming))
		return -EBUSY;
	if (!iommufd_luo_hold(ictx)) {
		pr_warn_ratelimited("cannot be preserved: no HWPT has a mark\n");
		return -EINVAL;
	}
	ictx->luo.preserved = true;
	for (unsigned long id = 0; !ret && (hwpt = iommufd_luo_next(ictx, &id)); id++)
		ret = iommufd_luo_preserve_hwpt(session, &w, hwpt, &nr_ioas);
	if (!ret)
		ret = iommufd_luo_check_depth(session, virt_to_phys(w.first));
	if (ret)
		iommufd_luo_release(ictx, w.first);
	else
		*pa = virt_to_phys(w.first);
	return ret;
}

/* ---- devices ---- */

static int iommufd_luo_count(struct device *dev, void *data)
{
	/* The bridges above are attached with the group, and their driver is the kernel's. */
	if (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))
		return 0;
	++*(unsigned int *)data;
	return 0;
}

static bool iommufd_luo_group_complete(struct iommufd_group *igroup)
{
	unsigned int nr = 0;

	lockdep_assert_held(&igroup->lock);
	iommu_group_for_each_dev(igroup->group, &nr, iommufd_luo_count);
	return nr == list_count_nodes(&igroup->device_list);
}

/* In this order: the iommufd is preserved and stays so, the device is attached as it should. */
static int iommufd_luo_check_device(struct iommufd_device *idev)
{
	struct iommufd_hw_pagetable *hwpt = idev->igroup->hwpt;
	struct iommufd_device *cur;
	bool found = false;

	lockdep_assert_held(&idev->igroup->lock);
	list_for_each_entry(cur, &idev->igroup->device_list, group_item)
		found |= cur == idev;
	if (!found || !hwpt_is_paging(hwpt) || !to_hwpt_paging(hwpt)->luo.marked) {
		dev_warn(idev->dev, "cannot be preserved: not attached to a HWPT that has a mark\n");
		return -EINVAL;
	}
	if (iommufd_liveupdate_may_change(hwpt) == 0) {
		dev_warn(idev->dev, "cannot be preserved: its IOAS is not preserved\n");
		return -EINVAL;
	}
	if (idev->luo.preserved)
		return -EBUSY;

	if (!iommufd_luo_group_complete(idev->igroup)) {
		dev_warn(idev->dev, "cannot be preserved: its group has devices that are not attached with it\n");
		return -EINVAL;
	}
	return 0;
}

/**
 * iommufd_liveupdate_preserve_device - a device is preserved that an iommufd has
 * @idev: the device
 * @session: of the file that stands for it, which then depends on that of the iommufd
 * @ctx_token: set to the token of the iommufd
 * @label: set to the label of the HWPT
 *
 * The attachment of @idev stays as it is until iommufd_liveupdate_unpreserve_device().
 * A driver that detaches on demand of user space has to ask
 * iommufd_liveupdate_device_fixed() before.
 *
 * Context: may sleep; from preserve() of a file handler.
 * Return: 0; -ENOENT if the iommufd was not preserved in this session before; -EINVAL if
 * @idev, or all of its group, is not attached to a HWPT that is preserved; -EBUSY if it is
 * preserved already; -ENOMEM. The log tells why.
 */
int iommufd_liveupdate_preserve_device(struct iommufd_device *idev,
				       struct liveupdate_session *session,
				       u64 *ctx_token, u32 *label)
{
	int ret;

	ret = liveupdate_session_token(session, idev->ictx->file, ctx_token);
	if (ret == -ENOENT)
		dev_warn(idev->dev, "cannot be preserved: its iommufd has to be preserved in the same session before\n");
	if (ret)
		return ret;

	guard(mutex)(&idev->igroup->lock);
	ret = iommufd_luo_check_device(idev);
	if (ret)
		return ret;
	idev->luo.preserved = true;
	*label = to_hwpt_paging(idev->igroup->hwpt)->luo.label;
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_liveupdate_preserve_device, IOMMUFD);

/**
 * iommufd_liveupdate_unpreserve_device - undo iommufd_liveupdate_preserve_device()
 * @idev: the device
 *
 * Context: may sleep.
 */
void iommufd_liveupdate_unpreserve_device(struct iommufd_device *idev)
{
	guard(mutex)(&idev->igroup->lock);
	idev->luo.preserved = false;
}
EXPORT_SYMBOL_NS_GPL(iommufd_liveupdate_unpreserve_device, IOMMUFD);

/**
 * iommufd_liveupdate_device_fixed - is a device to stay attached as it is?
 * @idev: the device
 *
 * Context: may sleep.
 * Return: true if it is preserved, or came in and was not finished.
 */
bool iommufd_liveupdate_device_fixed(struct iommufd_device *idev)
{
	guard(mutex)(&idev->igroup->lock);
	return idev->luo.preserved || idev->luo.adopted;
}
EXPORT_SYMBOL_NS_GPL(iommufd_liveupdate_device_fixed, IOMMUFD);

/* ---- the file handler ---- */

static bool iommufd_luo_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	return file->f_op == &iommufd_fops;
}

static int iommufd_luo_preserve(struct liveupdate_file_op_args *args)
{
	return iommufd_luo_preserve_ctx(args->session, args->file->private_data,
					&args->serialized_data);
}

static void iommufd_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct iommufd_ctx *ictx = args->file->private_data;

	guard(mutex)(&ictx->luo.lock);
	iommufd_luo_release(ictx, phys_to_virt(args->serialized_data));
}

/* The first device that is preserved, from an ID on. It stays, as LUO has its file. */
static struct iommufd_device *iommufd_luo_next_device(struct iommufd_ctx *ictx,
						      unsigned long *id)
{
	struct iommufd_device *idev, *found = NULL;
	struct iommufd_object *obj;

	xa_lock(&ictx->objects);
	xa_for_each_start(&ictx->objects, *id, obj, *id) {
		if (obj->type != IOMMUFD_OBJ_DEVICE)
			continue;
		idev = container_of(obj, struct iommufd_device, obj);
		if (idev->luo.preserved) {
			found = idev;
			break;
		}
	}
	xa_unlock(&ictx->objects);
	return found;
}

/*
 * Preserved devices stay attached, so what is missing in their groups does not come. One
 * that is not preserved may have been detached, or closed, since then.
 */
static int iommufd_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct iommufd_ctx *ictx = args->file->private_data;
	struct iommufd_device *idev, *other;

	for (unsigned long id = 0; (idev = iommufd_luo_next_device(ictx, &id)); id++) {
		guard(mutex)(&idev->igroup->lock);
		if (!iommufd_luo_group_complete(idev->igroup)) {
			dev_err(idev->dev, "is preserved, and others of its group are not attached any more\n");
			return -EBUSY;
		}
		list_for_each_entry(other, &idev->igroup->device_list, group_item) {
			if (other->luo.preserved)
				continue;
			dev_err(other->dev, "is not preserved, but others of its group are\n");
			return -EBUSY;
		}
	}
	return 0;
}

static unsigned long iommufd_luo_get_id(struct file *file)
{
	return (unsigned long)file->private_data;
}

static const struct liveupdate_file_ops iommufd_luo_ops = {
	.can_preserve = iommufd_luo_can_preserve,
	.preserve = iommufd_luo_preserve,
	.unpreserve = iommufd_luo_unpreserve,
	.freeze = iommufd_luo_freeze,
	.retrieve = iommufd_luo_retrieve,
	.can_finish = iommufd_luo_can_finish,
	.finish = iommufd_luo_finish,
	.get_id = iommufd_luo_get_id,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler iommufd_luo_handler = {
	.ops = &iommufd_luo_ops,
	.compatible = IOMMUFD_LUO_COMPATIBLE,
};

/**
 * iommufd_liveupdate_init_ctx - a context is opened
 * @ictx: the context
 *
 * Context: any.
 */
void iommufd_liveupdate_init_ctx(struct iommufd_ctx *ictx)
{
	mutex_init(&ictx->luo.lock);
	INIT_LIST_HEAD(&ictx->luo.incoming);
}

/**
 * iommufd_liveupdate_init - let iommufds be preserved
 *
 * Context: may sleep.
 * Return: 0, also without live update, or a negative errno.
 */
int iommufd_liveupdate_init(void)
{
	int ret = liveupdate_register_file_handler(&iommufd_luo_handler);

	return ret == -EOPNOTSUPP ? 0 : ret;
}

/**
 * iommufd_liveupdate_exit - undo iommufd_liveupdate_init()
 *
 * Context: may sleep.
 */
void iommufd_liveupdate_exit(void)
{
	liveupdate_unregister_file_handler(&iommufd_luo_handler);
}
