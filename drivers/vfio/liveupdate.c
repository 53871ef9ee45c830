// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO devices that keep running while the kernel is replaced: the VFIO core.
 */

/**
 * DOC: VFIO live update
 *
 * A device that was preserved, or that came in running and is not finished, is
 * *fixed*: it stays attached to what it is attached to, and nobody resets the bus
 * that it is on. One that came in and is not finished has one user: the file that the
 * live update session gives. Until then its character device and its group cannot
 * be opened, whoever tries.
 *
 * Whether a device is preserved or incoming is known to the PCI core
 * (drivers/pci/liveupdate.c); all that is stored here is the page table that
 * the device of a file came in with.
 *
 * The file that the session gives is one of a character device that was bound and attached,
 * vfio_liveupdate_open(). A program that binds it to the iommufd that came with
 * it, or attaches it to the page table that it came with, is told that all is well.
 *
 * Locks: a device becomes fixed with the lock of its device set held, which is also
 * around attach, detach and hot reset. The lock of a group is taken before that of its
 * list of devices.
 */

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommufd.h>
#include <linux/iommufd_liveupdate.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/vfio_liveupdate.h>

#include "vfio.h"

/**
 * vfio_liveupdate_incoming - did the previous kernel leave this device running?
 * @device: the device
 *
 * Context: any.
 * Return: true until its session is finished.
 */
bool vfio_liveupdate_incoming(const struct vfio_device *device)
{
	return dev_is_pci(device->dev) && pci_liveupdate_incoming(to_pci_dev(device->dev));
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_incoming);

/**
 * vfio_liveupdate_fixed - must a device stay as it is?
 * @device: the device
 *
 * Context: any.
 * Return: true if it is preserved, or came in and is not finished.
 */
bool vfio_liveupdate_fixed(const struct vfio_device *device)
{
	return vfio_liveupdate_incoming(device) ||
	       (dev_is_pci(device->dev) && pci_liveupdate_outgoing(to_pci_dev(device->dev)));
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_fixed);

/**
 * vfio_liveupdate_set_fixed - must any device of a set stay as it is?
 * @dev_set: devices that are reset together
 *
 * Context: with the lock of the set.
 * Return: true if the bus or slot must not be reset.
 */
bool vfio_liveupdate_set_fixed(struct vfio_device_set *dev_set)
{
	struct vfio_device *device;

	lockdep_assert_held(&dev_set->lock);
	list_for_each_entry(device, &dev_set->device_list, dev_set_list)
		if (vfio_liveupdate_fixed(device))
			return true;
	return false;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_set_fixed);

#if IS_ENABLED(CONFIG_VFIO_GROUP)
/**
 * vfio_liveupdate_group_incoming - did any device of a group come in running?
 * @group: the group
 *
 * Context: may sleep; with the lock of the group.
 * Return: true if the group must not be opened.
 */
bool vfio_liveupdate_group_incoming(struct vfio_group *group)
{
	struct vfio_device *device;

	guard(mutex)(&group->device_lock);
	list_for_each_entry(device, &group->device_list, group_next)
		if (vfio_liveupdate_incoming(device))
			return true;
	return false;
}
#endif

/**
 * vfio_liveupdate_attach - may a device be attached to a page table?
 * @df: file of the device, which is bound
 * @pt_id: object ID of the page table
 *
 * Context: with the lock of the device set.
 * Return: 1 to go on; 0 if it came in attached to that one, so that there is nothing to
 * do; -EBUSY if the device must stay where it is.
 */
int vfio_liveupdate_attach(struct vfio_device_file *df, u32 pt_id)
{
	lockdep_assert_held(&df->device->dev_set->lock);
	if (!vfio_liveupdate_fixed(df->device))
		return 1;
	return df->adopted_pt && df->adopted_pt == pt_id ? 0 : -EBUSY;
}

/**
 * vfio_liveupdate_rebind - bind a device that is bound already
 * @df: its file
 * @fd: file descriptor of an iommufd
 * @out_devid: where user space wants its object ID
 *
 * A program that has retrieved a device need not know that it came in bound.
 *
 * Context: may sleep; with the lock of the device set.
 * Return: 0 if the device came in bound to that iommufd, else -EINVAL, or -EFAULT.
 */
int vfio_liveupdate_rebind(struct vfio_device_file *df, int fd, u32 __user *out_devid)
{
	struct iommufd_ctx *ictx;

	lockdep_assert_held(&df->device->dev_set->lock);
	if (!df->adopted_pt)
		return -EINVAL;
	ictx = iommufd_ctx_from_fd(fd);
	if (IS_ERR(ictx))
		return PTR_ERR(ictx);
	iommufd_ctx_put(ictx);
	if (ictx != df->iommufd)
		return -EINVAL;
	return put_user(df->devid, out_devid);
}

/**
 * vfio_liveupdate_device - the device of a file
 * @file: any file
 *
 * Context: any.
 * Return: the device, or NULL if it is no file of a VFIO device.
 */
struct vfio_device *vfio_liveupdate_device(struct file *file)
{
	struct vfio_device_file *df = file->private_data;

	return file->f_op == &vfio_device_fops ? df->device : NULL;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_device);

/**
 * vfio_liveupdate_check_bound - is a device used the way that can be preserved?
 * @file: file of a VFIO device
 *
 * Context: any.
 * Return: 0; -EOPNOTSUPP if it was opened by its group, -EINVAL if it is not bound to
 * an iommufd. Errors have a line in the log.
 */
int vfio_liveupdate_check_bound(struct file *file)
{
	struct vfio_device_file *df = file->private_data;

	if (df->group) {
		dev_err(df->device->dev, "cannot be preserved: it was opened by its group\n");
		return -EOPNOTSUPP;
	}
	/* Paired with smp_store_release() when it is bound */
	if (!smp_load_acquire(&df->access_granted)) {
		dev_err(df->device->dev, "cannot be preserved: it is not bound to an iommufd\n");
		return -EINVAL;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_check_bound);

/* What the first BIND does, but with a device that is attached already. */
static int vfio_liveupdate_adopt(struct vfio_device_file *df, struct liveupdate_session *session,
				 u64 ctx_token, u32 label)
{
	struct vfio_device *device = df->device;
	struct iommufd_device *idev;
	int ret;

	guard(mutex)(&device->dev_set->lock);
	if (device->open_count)
		return -EBUSY;
	if (!try_module_get(device->dev->driver->owner))
		return -EAGAIN;
	ret = device->ops->open_device(device);
	if (ret)
		goto err_module;
	idev = iommufd_liveupdate_adopt_device(session, ctx_token, device->dev, label,
					       &df->devid, &df->adopted_pt);
	if (IS_ERR(idev)) {
		ret = PTR_ERR(idev);
		goto err_close;
	}

	device->iommufd_device = idev;
	device->iommufd_attached = true;
	device->open_count = 1;
	device->cdev_opened = true;
	df->iommufd = iommufd_device_to_ictx(idev);
	iommufd_ctx_get(df->iommufd);
	/* Paired with smp_load_acquire() in what users call */
	smp_store_release(&df->access_granted, true);
	return 0;

err_close:
	device->ops->close_device(device);
err_module:
	module_put(device->dev->driver->owner);
	return ret;
}

/**
 * vfio_liveupdate_open - open a device that came in running
 * @device: the device. Its driver knows that it must leave it as it is.
 * @session: where it came in
 * @ctx_token: token of its iommufd in that session
 * @label: label of its page table in that iommufd
 *
 * Context: may sleep; in a retrieve() of a file handler, with the lock of the device.
 * Return: a file of the device, bound and attached, or an ERR_PTR(): -EBUSY if it is
 * open, -EAGAIN if it may work later, or what iommufd and the driver return.
 */
struct file *vfio_liveupdate_open(struct vfio_device *device, struct liveupdate_session *session,
				  u64 ctx_token, u32 label)
{
	struct vfio_device_file *df;
	struct file *file;
	int ret;

	/* The file has the reference, and drops it when it is released. */
	if (!vfio_device_try_get_registration(device))
		return ERR_PTR(-EAGAIN);
	df = vfio_allocate_device_file(device);
	if (IS_ERR(df)) {
		ret = PTR_ERR(df);
		goto err_registration;
	}
	file = anon_inode_getfile("[vfio-device]", &vfio_device_fops, df, O_RDWR);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto err_df;
	}
	/* As for any file of a VFIO device, see vfio_device_open_file() */
	file->f_mode |= FMODE_PREAD | FMODE_PWRITE;
	file->f_mapping = device->inode->i_mapping;

	ret = vfio_device_block_group(device);
	if (!ret) {
		ret = vfio_liveupdate_adopt(df, session, ctx_token, label);
		if (!ret)
			return file;
		vfio_device_unblock_group(device);
	}
	fput(file);
	return ERR_PTR(ret);

err_df:
	kfree(df);
err_registration:
	vfio_device_put_registration(device);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_open);
