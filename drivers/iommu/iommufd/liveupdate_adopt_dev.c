// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd and live update: devices that come in with their page tables.
 */

/**
 * DOC: iommufd live update, incoming devices
 *
 * The driver of a device that came in calls iommufd_liveupdate_adopt_device(). The domain that
 * the IOMMU core has restored for the device becomes that of the HWPT as it is: nothing is
 * mapped, nothing attached, and DMA goes on. With the first device of a HWPT its mappings are
 * compared, see liveupdate_adopt.c; the others must have the same domain.
 *
 * What can fail comes first: if iommufd_liveupdate_adopt_device() fails, all is as it was.
 *
 * Locks: as in liveupdate.c.
 */

#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/iommufd.h>
#include <linux/kho/abi/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

static struct iommufd_device *iommufd_luo_find_device(struct iommufd_ctx *ictx,
						      struct device *dev)
{
	struct iommufd_device *idev, *found = NULL;
	struct iommufd_object *obj;
	unsigned long id;

	xa_lock(&ictx->objects);
	xa_for_each(&ictx->objects, id, obj) {
		if (obj->type != IOMMUFD_OBJ_DEVICE)
			continue;
		idev = container_of(obj, struct iommufd_device, obj);
		if (idev->dev == dev && idev->luo.adopted)
			found = idev;
	}
	xa_unlock(&ictx->objects);
	return found;
}

/* A device as iommufd_device_bind() makes it, but for the ownership. */
static struct iommufd_device *iommufd_luo_new_device(struct iommufd_ctx *ictx,
						     struct device *dev)
{
	struct iommufd_group *igroup;
	struct iommufd_device *idev;

	igroup = iommufd_get_group(ictx, dev);
	if (IS_ERR(igroup))
		return ERR_CAST(igroup);
	idev = iommufd_object_alloc(ictx, idev, IOMMUFD_OBJ_DEVICE);
	if (IS_ERR(idev)) {
		iommufd_put_group(igroup);
		return idev;
	}
	iommufd_ctx_get(ictx);
	idev->ictx = ictx;
	idev->dev = dev;
	idev->igroup = igroup;
	idev->enforce_cache_coherency =
		device_iommu_capable(dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY);
	mutex_init(&idev->iopf_lock);
	return idev;
}

static void iommufd_luo_free_device(struct iommufd_device *idev)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_ctx *ictx = idev->ictx;

	iommufd_object_abort(ictx, &idev->obj);
	iommufd_put_group(igroup);
	iommufd_ctx_put(ictx);
}

/* The domain that devices use becomes that of a HWPT. */
static int iommufd_luo_adopt_hwpt(struct iommufd_ctx *ictx, struct iommufd_luo_in_hwpt *in,
				  struct iommu_domain *domain)
{
	struct iommufd_hwpt_paging *hwpt;
	struct iommufd_object *obj;
	int ret;

	lockdep_assert_held(&in->ioas->mutex);
	hwpt = __iommufd_object_alloc(ictx, hwpt, IOMMUFD_OBJ_HWPT_PAGING, common.obj);
	if (IS_ERR(hwpt))
		return PTR_ERR(hwpt);
	obj = &hwpt->common.obj;
	INIT_LIST_HEAD(&hwpt->hwpt_item);
	refcount_inc(&in->ioas->obj.users);
	hwpt->ioas = in->ioas;
	hwpt->enforce_cache_coherency = in->flags & IOMMUFD_LUO_COHERENT;
	hwpt->luo.marked = true;
	hwpt->luo.label = in->label;

	in->ioas->iopt.luo.adopting = true;
	ret = iopt_table_add_domain(&in->ioas->iopt, domain);
	in->ioas->iopt.luo.adopting = false;
	if (ret) {
		iommufd_object_abort_and_destroy(ictx, obj);
		return ret;
	}
	hwpt->common.domain = domain;
	list_add_tail(&hwpt->hwpt_item, &in->ioas->hwpt_list);
	/* Until the session is finished */
	refcount_inc(&obj->users);
	iommufd_object_finalize(ictx, obj);
	in->hwpt = hwpt;
	return 0;
}

/* Is that the domain of this HWPT, as far as can be known? */
static int iommufd_luo_check_domain(struct iommufd_ctx *ictx, struct iommufd_luo_in_hwpt *in,
				    struct device *dev, struct iommu_domain *domain)
{
	struct iommufd_luo_in_hwpt *other;

	list_for_each_entry(other, &ictx->luo.incoming, link) {
		struct iommu_domain *has = other->hwpt ? other->hwpt->common.domain : NULL;

		/* One domain each */
		if (other == in ? !has || has == domain : has != domain)
			continue;
		dev_err(dev, "the label %u does not go with its page table\n", in->label);
		return -EBADMSG;
	}
	return 0;
}

/* All that attaching does, but the attachment. */
static int iommufd_luo_attach(struct iommufd_ctx *ictx, struct iommufd_luo_in_hwpt *in,
			      struct iommufd_device *idev, struct iommu_domain *domain)
{
	struct iommufd_attach_handle *handle = NULL;
	struct iommufd_group *igroup = idev->igroup;
	struct io_pagetable *iopt = &in->ioas->iopt;
	int ret;

	guard(mutex)(&in->ioas->mutex);
	guard(mutex)(&igroup->lock);
	if (igroup->hwpt && (!in->hwpt || igroup->hwpt != &in->hwpt->common)) {
		dev_err(idev->dev, "its group has another page table\n");
		return -EBADMSG;
	}
	/* As when it is bound */
	if (!iommu_group_has_isolated_msi(igroup->group) && !allow_unsafe_interrupts) {
		dev_err(idev->dev, "its MSI interrupts cannot be isolated\n");
		return -EPERM;
	}
	/* One is enough for a group, as when it is attached. */
	if (list_empty(&igroup->device_list)) {
		handle = kzalloc(sizeof(*handle), GFP_KERNEL);
		if (!handle)
			return -ENOMEM;
		handle->idev = idev;
	}
	ret = iopt_table_enforce_dev_resv_regions(iopt, idev->dev, &igroup->sw_msi_start);
	if (ret)
		goto err_handle;
	/* There is no cookie for such an MSI window in the domain. */
	ret = igroup->sw_msi_start == PHYS_ADDR_MAX ? 0 : -EOPNOTSUPP;
	if (ret)
		goto err_resv;
	ret = iommu_device_adopt_owner(idev->dev, domain, ictx, handle ? &handle->handle : NULL);
	if (ret)
		goto err_resv;
	if (!in->hwpt)
		ret = iommufd_luo_adopt_hwpt(ictx, in, domain);
	if (ret)
		goto err_owner;

	igroup->hwpt = &in->hwpt->common;
	refcount_inc(&in->hwpt->common.obj.users);
	list_add_tail(&idev->group_item, &igroup->device_list);
	idev->luo.adopted = true;
	return 0;

err_owner:
	iommu_device_disown(idev->dev);
err_resv:
	iopt_remove_reserved_iova(iopt, idev->dev);
err_handle:
	kfree(handle);
	return ret;
}

static struct iommufd_device *iommufd_luo_adopt(struct iommufd_ctx *ictx, struct device *dev,
						u32 label, u32 *hwpt_id)
{
	struct iommufd_luo_in_hwpt *in;
	struct iommu_domain *domain;
	struct iommufd_device *idev;
	int ret;

	guard(mutex)(&ictx->luo.lock);
	in = iommufd_luo_find_in(ictx, label);
	if (!in) {
		dev_err(dev, "its iommufd has no HWPT with the label %u\n", label);
		return ERR_PTR(-EBADMSG);
	}
	idev = iommufd_luo_find_device(ictx, dev);
	if (idev) {
		*hwpt_id = idev->igroup->hwpt->obj.id;
		return idev;
	}
	domain = iommu_liveupdate_domain(dev);
	if (!domain) {
		dev_err(dev, "there is no page table that it was using\n");
		return ERR_PTR(-ENODEV);
	}
	ret = iommufd_luo_check_domain(ictx, in, dev, domain);
	if (ret)
		return ERR_PTR(ret);
	idev = iommufd_luo_new_device(ictx, dev);
	if (IS_ERR(idev))
		return idev;
	ret = iommufd_luo_attach(ictx, in, idev, domain);
	if (ret) {
		iommufd_luo_free_device(idev);
		return ERR_PTR(ret);
	}
	iommu_liveupdate_adopted(dev);
	/* The driver, as after iommufd_device_bind() and iommufd_device_attach() */
	refcount_add(2, &idev->obj.users);
	iommufd_object_finalize(ictx, &idev->obj);
	*hwpt_id = in->hwpt->common.obj.id;
	return idev;
}

/**
 * iommufd_liveupdate_adopt_device - a device that came in gets its iommufd back
 * @session: of the file that stands for the device
 * @ctx_token: token of the iommufd, which is retrieved if nobody has done so yet
 * @dev: the device
 * @label: label of its HWPT
 * @devid: set to the ID of the device in the iommufd
 * @hwpt_id: set to the ID of the HWPT
 *
 * The device is then bound and attached, as by iommufd_device_bind() and
 * iommufd_device_attach(), and it is to be detached and unbound in the end, but not before the
 * session is finished. Its DMA goes on all the time. A second call gives the same again.
 *
 * Context: may sleep; from retrieve() of a file handler.
 * Return: the device, or an ERR_PTR: -ENOMEM, -EINTR and -EAGAIN when it should be tried again;
 * -EBADMSG if record, page table and memory do not agree, -ENODEV if there is no page
 * table, -EBUSY if the device is not free, or what retrieving the iommufd gave. The log tells
 * why. Nothing has changed then.
 */
struct iommufd_device *iommufd_liveupdate_adopt_device(struct liveupdate_session *session,
						       u64 ctx_token, struct device *dev,
						       u32 label, u32 *devid, u32 *hwpt_id)
{
	struct file *file __free(fput) = NULL;
	struct iommufd_device *idev;
	int ret;

	ret = liveupdate_session_get_file(session, ctx_token, &file);
	if (ret)
		return ERR_PTR(ret);
	if (file->f_op != &iommufd_fops) {
		dev_err(dev, "the file of token %#llx is not its iommufd\n", ctx_token);
		return ERR_PTR(-EBADMSG);
	}
	idev = iommufd_luo_adopt(file->private_data, dev, label, hwpt_id);
	if (!IS_ERR(idev))
		*devid = idev->obj.id;
	return idev;
}
EXPORT_SYMBOL_NS_GPL(iommufd_liveupdate_adopt_device, IOMMUFD);

/**
 * iommufd_liveupdate_device_ready - is a device adopted, with its memory compared?
 * @idev: the device
 *
 * Context: may sleep.
 * Return: true if it is.
 */
bool iommufd_liveupdate_device_ready(struct iommufd_device *idev)
{
	guard(mutex)(&idev->igroup->lock);
	return idev->luo.adopted;
}
EXPORT_SYMBOL_NS_GPL(iommufd_liveupdate_device_ready, IOMMUFD);

/**
 * iommufd_liveupdate_finish_device - an adopted device is an ordinary one from now on
 * @idev: the device
 *
 * The driver calls iommu_liveupdate_finish() as well.
 *
 * Context: may sleep; from finish() of a file handler.
 */
void iommufd_liveupdate_finish_device(struct iommufd_device *idev)
{
	guard(mutex)(&idev->igroup->lock);
	idev->luo.adopted = false;
}
EXPORT_SYMBOL_NS_GPL(iommufd_liveupdate_finish_device, IOMMUFD);
