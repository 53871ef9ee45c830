/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The format in which one kernel tells the next how a vfio-pci device was used.
 */
#ifndef _LINUX_KHO_ABI_VFIO_PCI_H
#define _LINUX_KHO_ABI_VFIO_PCI_H

#include <linux/build_bug.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>
#include <linux/kho/abi/pci.h>

/**
 * DOC: vfio-pci format
 *
 * The data of a file of the handler %VFIO_PCI_LIVEUPDATE_COMPATIBLE is the physical
 * address of a &struct vfio_pci_liveupdate_ser. It starts on a page of its own and is
 * preserved as one folio of the smallest order that holds it. All integers are
 * stored little-endian, as the CPU has them; what comes from config space is what
 * the registers hold, in terms of the PCI specifications.
 *
 * Who the device is, and what its hardware looks like, is in the record of the PCI
 * core, include/linux/kho/abi/pci.h; its page tables are in that of the IOMMU core.
 * Here is what vfio-pci knows of it, and which iommufd and which page table of it
 * the device is attached to.
 *
 * Written by ``drivers/vfio/pci/vfio_pci_liveupdate.c``: when the device is preserved,
 * and again when it is frozen, which sets %VFIO_PCI_LIVEUPDATE_FROZEN. Read by the
 * same file in the next kernel when the file is retrieved.
 */

/* Values of @flags */
#define VFIO_PCI_LIVEUPDATE_FROZEN	0x1U	/* the record is complete */
#define VFIO_PCI_LIVEUPDATE_RESETS	0x2U	/* the function can be reset */
#define VFIO_PCI_LIVEUPDATE_PCI_2_3	0x4U	/* INTx can be masked in the device */
#define VFIO_PCI_LIVEUPDATE_NOINTX	0x8U	/* INTx must not be used */
#define VFIO_PCI_LIVEUPDATE_PRISTINE	0x10U	/* @pristine is there */
#define VFIO_PCI_LIVEUPDATE_FLAGS	0x1fU

/* Values of @irq_index: as VFIO_PCI_*_IRQ_INDEX, and */
#define VFIO_PCI_LIVEUPDATE_NO_IRQ	0xffffffffU

#define VFIO_PCI_LIVEUPDATE_VCONFIG	4096
#define VFIO_PCI_LIVEUPDATE_MAX_IRQS	2048

/**
 * struct vfio_pci_liveupdate_ser - a device
 * @segment: PCI segment
 * @bdf: bus, device and function number, as a requester ID has them
 * @vendor: vendor ID
 * @device: device ID
 * @command: Command register, before interrupts were masked
 * @flags: VFIO_PCI_LIVEUPDATE_*
 * @iommufd_token: token of the iommufd in the same session
 * @hwpt_label: label of the page table that the device is attached to
 * @irq_index: the kind of interrupt that was set up
 * @irq_vectors: number of its vectors, 0 if none was set up
 * @devctl: Device Control of the PCI Express capability, 0 if there is none
 * @msi_ctrl: Message Control of MSI, before it was masked, 0 if there is none
 * @msix_ctrl: Message Control of MSI-X, before it was masked, 0 if there is none
 * @pm_ctrl: Power Management Control/Status, 0 if there is none
 * @vconfig_size: bytes of @vconfig in use: 256 or 4096
 * @reserved: 0
 * @pristine: config space as it was before the first user had the device
 * @vconfig: config space as the user sees it, where that differs
 */
struct vfio_pci_liveupdate_ser {
	__u32 segment;
	__u16 bdf;
	__u16 vendor;
	__u16 device;
	__u16 command;
	__u32 flags;
	__u64 iommufd_token;
	__u32 hwpt_label;
	__u32 irq_index;
	__u32 irq_vectors;
	__u16 devctl;
	__u16 msi_ctrl;
	__u16 msix_ctrl;
	__u16 pm_ctrl;
	__u32 vconfig_size;
	__u32 reserved;
	struct pci_liveupdate_state_ser pristine;
	__u8 vconfig[VFIO_PCI_LIVEUPDATE_VCONFIG];
} __packed;
static_assert(sizeof(struct vfio_pci_liveupdate_ser) == 5244);

#endif /* _LINUX_KHO_ABI_VFIO_PCI_H */
