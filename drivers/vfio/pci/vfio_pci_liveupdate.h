/* SPDX-License-Identifier: GPL-2.0 */
/* What drivers/vfio/pci/vfio_pci_liveupdate*.c share. */
#ifndef VFIO_PCI_LIVEUPDATE_H
#define VFIO_PCI_LIVEUPDATE_H

#include <linux/types.h>
#include <linux/kho/abi/vfio_pci.h>

struct vfio_pci_core_device;

/**
 * struct vfio_pci_luo_mask - what vfio_pci_luo_mask_irqs() has changed
 * @command: Command register before
 * @msi_ctrl: Message Control of MSI before
 * @msix_ctrl: Message Control of MSI-X before
 * @msi_pos: mask bits of MSI, 0 if they were not changed
 * @msi_mask: what they were
 * @intx: INTx is in use
 * @virq_disabled: its user has disabled it
 */
struct vfio_pci_luo_mask {
	u16 command;
	u16 msi_ctrl;
	u16 msix_ctrl;
	u16 msi_pos;
	u32 msi_mask;
	bool intx;
	bool virq_disabled;
};

/* vfio_pci_liveupdate_dev.c */
int vfio_pci_luo_save_pristine(struct vfio_pci_core_device *vdev,
			       struct vfio_pci_liveupdate_ser *ser);
void vfio_pci_luo_save(struct vfio_pci_core_device *vdev, struct vfio_pci_liveupdate_ser *ser);
bool vfio_pci_luo_irqs_maskable(struct vfio_pci_core_device *vdev);
bool vfio_pci_luo_irqs_remembered(struct vfio_pci_core_device *vdev);
void vfio_pci_luo_mask_irqs(struct vfio_pci_core_device *vdev, struct vfio_pci_luo_mask *mask);
void vfio_pci_luo_unmask_irqs(struct vfio_pci_core_device *vdev,
			      const struct vfio_pci_luo_mask *mask);
void vfio_pci_luo_restore_vconfig(struct vfio_pci_core_device *vdev,
				  const struct vfio_pci_liveupdate_ser *ser);

#endif /* VFIO_PCI_LIVEUPDATE_H */
