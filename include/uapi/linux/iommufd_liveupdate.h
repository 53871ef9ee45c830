/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Commands of iommufd for live update, beyond those of include/uapi/linux/iommufd.h.
 */
#ifndef _UAPI_IOMMUFD_LIVEUPDATE_H
#define _UAPI_IOMMUFD_LIVEUPDATE_H

#include <linux/iommufd.h>
#include <linux/types.h>

/* Far from those that mainline uses. */
enum {
	IOMMUFD_CMD_HWPT_LIVEUPDATE_MARK_PRESERVE = 0xe0,
	IOMMUFD_CMD_LIVEUPDATE_GET_ID = 0xe1,
};

/**
 * struct iommu_hwpt_liveupdate_mark_preserve - ioctl(IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE)
 * @size: sizeof(struct iommu_hwpt_liveupdate_mark_preserve)
 * @hwpt_id: The HWPT
 * @label: A number by which the HWPT is known after the live update
 *
 * When the iommufd is preserved in a live update session, the HWPTs that have a
 * mark are carried over, and with them their IOAS and all that is mapped there.
 * A device can only be preserved while it is attached to one of them. A HWPT that was
 * carried over has its mark and its label.
 *
 * What is mapped must be in memfds that are preserved in the same session and sealed
 * against shrinking and growing. From LIVEUPDATE_SESSION_PRESERVE_FD of the iommufd until
 * it is undone, such an IOAS and its attachments cannot be changed: EBUSY.
 *
 * A mark that is there already is no error if the label is the same, else EEXIST. A
 * label that another HWPT of this iommufd has is EADDRINUSE. ENOENT if there is no such
 * HWPT. EOPNOTSUPP if it is nested or the parent of nested ones, delivers faults,
 * or tracks dirty pages, and EINVAL if it was not allocated by IOMMU_HWPT_ALLOC; the log
 * names the reason. EBUSY while the iommufd is preserved.
 */
struct iommu_hwpt_liveupdate_mark_preserve {
	__u32 size;
	__u32 hwpt_id;
	__u32 label;
};

#define IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE                                       \
	_IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_LIVEUPDATE_MARK_PRESERVE)

/**
 * struct iommu_liveupdate_get_id - ioctl(IOMMU_LIVEUPDATE_GET_ID)
 * @size: sizeof(struct iommu_liveupdate_get_id)
 * @label: Label of a HWPT
 * @out_ioas_id: ID of its IOAS
 * @out_hwpt_id: ID of the HWPT, or 0 if no device of it was retrieved yet
 *
 * Of an iommufd that was retrieved from a live update session, tell the IDs that its
 * objects have now. It works on any HWPT that has a mark. ENOENT if there is no such label.
 */
struct iommu_liveupdate_get_id {
	__u32 size;
	__u32 label;
	__u32 out_ioas_id;
	__u32 out_hwpt_id;
};

#define IOMMU_LIVEUPDATE_GET_ID _IO(IOMMUFD_TYPE, IOMMUFD_CMD_LIVEUPDATE_GET_ID)

#endif /* _UAPI_IOMMUFD_LIVEUPDATE_H */
