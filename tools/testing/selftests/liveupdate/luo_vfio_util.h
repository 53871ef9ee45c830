/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vfio character devices and iommufd for test programs, whatever the device.
 *
 * Wrappers return 0, or what they are named after, or a negative errno.
 */
#ifndef LUO_VFIO_UTIL_H
#define LUO_VFIO_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <linux/vfio.h>

/* Debian 12's headers are of Linux 6.1, which had no vfio character devices. */
#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};

struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};

struct vfio_device_detach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
};

#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)
#define VFIO_DEVICE_DETACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 20)
#endif

/* the device and its driver */
int vfio_find(char *bdf, size_t len, const char *file, long long val, int num);
int vfio_give(const char *bdf, const char *driver);
int vfio_cdev_open(const char *bdf);

/* its character device and an iommufd */
int vfio_bind(int cdev, int iommufd, uint32_t *devid);
int vfio_attach(int cdev, uint32_t pt);
int vfio_detach(int cdev);
int vfio_pt_alloc(int iommufd, uint32_t devid, uint32_t *ioas, uint32_t *hwpt);
int vfio_pt_free(int iommufd, uint32_t ioas, uint32_t hwpt);
int vfio_mark(int iommufd, uint32_t hwpt, uint32_t label);
int vfio_marked(int iommufd, uint32_t label, uint32_t *ioas, uint32_t *hwpt);
int vfio_map(int iommufd, uint32_t ioas, int memfd, uint64_t start, uint64_t len, uint64_t iova);
int vfio_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t len);

/* registers, config space, interrupts */
int vfio_region(int cdev, uint32_t index, uint64_t *offset, uint64_t *size);
void *vfio_map_bar(int cdev, uint32_t index, size_t *len);
int vfio_config_read(int cdev, unsigned int at, void *buf, size_t len);
int vfio_config_write(int cdev, unsigned int at, const void *buf, size_t len);
int vfio_cap(int cdev, unsigned char id);
int vfio_msix_pending(int cdev, uint64_t *vectors);
int vfio_irqs(int cdev, uint32_t index, const int *eventfds, uint32_t count);
int vfio_irq_unmask(int cdev, uint32_t index);
uint64_t vfio_signals(int eventfd);

/* sessions with devices: tokens, and the label of the page table */
#define VFIO_MEMORY	1
#define VFIO_IOMMU	2
#define VFIO_DEVICE	3
#define VFIO_LABEL	7

int vfio_preserve(int session, int memfd, int iommufd, int cdev);
int vfio_fence_on_close(int session);
int vfio_fence(int session);

#endif /* LUO_VFIO_UTIL_H */
