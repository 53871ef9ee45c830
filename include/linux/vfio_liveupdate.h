/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VFIO devices that keep running while the kernel is replaced: what the VFIO core
 * asks and does. See drivers/vfio/liveupdate.c.
 */
#ifndef _LINUX_VFIO_LIVEUPDATE_H
#define _LINUX_VFIO_LIVEUPDATE_H

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/types.h>

struct file;
struct liveupdate_session;
struct vfio_device;
struct vfio_device_file;
struct vfio_device_set;
struct vfio_group;

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE

/* For the VFIO core */
bool vfio_liveupdate_incoming(const struct vfio_device *device);
bool vfio_liveupdate_fixed(const struct vfio_device *device);
bool vfio_liveupdate_set_fixed(struct vfio_device_set *dev_set);
bool vfio_liveupdate_group_incoming(struct vfio_group *group);
int vfio_liveupdate_attach(struct vfio_device_file *df, u32 pt_id);
int vfio_liveupdate_rebind(struct vfio_device_file *df, int fd, u32 __user *out_devid);

/* For file handlers */
struct vfio_device *vfio_liveupdate_device(struct file *file);
int vfio_liveupdate_check_bound(struct file *file);
struct file *vfio_liveupdate_open(struct vfio_device *device, struct liveupdate_session *session,
				  u64 ctx_token, u32 label);

#else /* CONFIG_VFIO_PCI_LIVEUPDATE */

static inline bool vfio_liveupdate_incoming(const struct vfio_device *device)
{
	return false;
}

static inline bool vfio_liveupdate_fixed(const struct vfio_device *device)
{
	return false;
}

static inline bool vfio_liveupdate_set_fixed(struct vfio_device_set *dev_set)
{
	return false;
}

static inline bool vfio_liveupdate_group_incoming(struct vfio_group *group)
{
	return false;
}

static inline int vfio_liveupdate_attach(struct vfio_device_file *df, u32 pt_id)
{
	return 1;
}

static inline int vfio_liveupdate_rebind(struct vfio_device_file *df, int fd,
					 u32 __user *out_devid)
{
	return -EINVAL;
}

#endif /* CONFIG_VFIO_PCI_LIVEUPDATE */

#endif /* _LINUX_VFIO_LIVEUPDATE_H */
