/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vfio-pci devices that keep running while the kernel is replaced: what vfio-pci
 * keeps and calls. See drivers/vfio/pci/vfio_pci_liveupdate.c.
 */
#ifndef _LINUX_VFIO_PCI_LIVEUPDATE_H
#define _LINUX_VFIO_PCI_LIVEUPDATE_H

#include <linux/rwsem.h>
#include <linux/types.h>

struct pci_driver;
struct vfio_device;
struct vfio_device_ops;
struct vfio_info_cap;
struct vfio_pci_core_device;
struct vfio_pci_liveupdate_ser;

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE

/**
 * struct vfio_pci_luo - live update state of a vfio-pci device
 * @lock: held for reading by what changes the device, for writing to freeze it
 * @frozen: nothing changes any more
 * @adopting: while the device is opened as it came in, its record
 * @came_in: it was retrieved, and its session is not finished
 * @irqs_due: eventfds are signalled when interrupts are set up
 * @irqs_seen: that has happened
 * @msix: Message Control of MSI-X of a device that came in with it enabled
 */
struct vfio_pci_luo {
	struct rw_semaphore lock;
	bool frozen;
	const struct vfio_pci_liveupdate_ser *adopting;
	bool came_in;
	bool irqs_due;
	bool irqs_seen;
	u16 msix;
};

/* For vfio-pci */
void vfio_pci_liveupdate_init(const struct pci_driver *driver, const struct vfio_device_ops *ops);
void vfio_pci_liveupdate_exit(void);
long vfio_pci_liveupdate_ioctl(struct vfio_device *core_vdev, unsigned int cmd, unsigned long arg);
int vfio_pci_liveupdate_feature(struct vfio_device *device, u32 flags, void __user *arg,
				size_t argsz);
ssize_t vfio_pci_liveupdate_write(struct vfio_device *core_vdev, const char __user *buf,
				  size_t count, loff_t *ppos);

/* For its core */
void vfio_pci_liveupdate_init_dev(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_adopting(const struct vfio_pci_core_device *vdev);
void vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev);
void vfio_pci_liveupdate_disable(struct vfio_pci_core_device *vdev);
int vfio_pci_liveupdate_info_cap(struct vfio_pci_core_device *vdev, struct vfio_info_cap *caps);

/* For tests */
int vfio_pci_liveupdate_check(const struct vfio_pci_liveupdate_ser *ser);

#else /* CONFIG_VFIO_PCI_LIVEUPDATE */

struct vfio_pci_luo {
};

static inline void vfio_pci_liveupdate_init(const struct pci_driver *driver,
					    const struct vfio_device_ops *ops)
{
}

static inline void vfio_pci_liveupdate_exit(void)
{
}

#define vfio_pci_liveupdate_ioctl	vfio_pci_core_ioctl
#define vfio_pci_liveupdate_feature	vfio_pci_core_ioctl_feature
#define vfio_pci_liveupdate_write	vfio_pci_core_write

static inline void vfio_pci_liveupdate_init_dev(struct vfio_pci_core_device *vdev)
{
}

static inline bool vfio_pci_liveupdate_adopting(const struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline void vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev)
{
}

static inline void vfio_pci_liveupdate_disable(struct vfio_pci_core_device *vdev)
{
}

static inline int vfio_pci_liveupdate_info_cap(struct vfio_pci_core_device *vdev,
					       struct vfio_info_cap *caps)
{
	return 0;
}

#endif /* CONFIG_VFIO_PCI_LIVEUPDATE */

#endif /* _LINUX_VFIO_PCI_LIVEUPDATE_H */
