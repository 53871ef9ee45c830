/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What VFIO says of live updates.
 */
#ifndef _UAPI_LINUX_VFIO_LIVEUPDATE_H
#define _UAPI_LINUX_VFIO_LIVEUPDATE_H

#include <linux/types.h>
#include <linux/vfio.h>

/*
 * A capability of VFIO_DEVICE_GET_INFO. It is there if the file of the device can be
 * preserved in a live update session (LIVEUPDATE_SESSION_PRESERVE_FD), and of one that
 * came in by one. Numbers from 0x4000 on are ours: they meet none of the mainline
 * kernel.
 */
#define VFIO_DEVICE_INFO_CAP_LIVEUPDATE	0x4000

/**
 * struct vfio_device_info_cap_liveupdate - what becomes of a device in a live update
 * @header: capability header, version 1
 * @flags:
 *	VFIO_LIVEUPDATE_SUPPORTED: the file can be preserved;
 *	VFIO_LIVEUPDATE_DMA: DMA runs through, before, during and after the kexec;
 *	VFIO_LIVEUPDATE_IRQS: the device itself remembers interrupts on the way.
 *	Without that, what it would have signalled in between is gone; with or without,
 *	each eventfd of the first VFIO_DEVICE_SET_IRQS afterwards is signalled once;
 *	VFIO_LIVEUPDATE_RESET: the device is reset on the way. No device is, so far;
 *	VFIO_LIVEUPDATE_RETRIEVED: the device came in, and its session is not
 *	finished. VFIO_DEVICE_BIND_IOMMUFD and VFIO_DEVICE_ATTACH_IOMMUFD_PT
 *	with what it came with succeed without effect.
 * @reserved: 0
 */
struct vfio_device_info_cap_liveupdate {
	struct vfio_info_cap_header header;
	__u32 flags;
#define VFIO_LIVEUPDATE_SUPPORTED	0x1U
#define VFIO_LIVEUPDATE_DMA		0x2U
#define VFIO_LIVEUPDATE_IRQS		0x4U
#define VFIO_LIVEUPDATE_RESET		0x8U
#define VFIO_LIVEUPDATE_RETRIEVED	0x10U
	__u32 reserved;
};

#endif /* _UAPI_LINUX_VFIO_LIVEUPDATE_H */
