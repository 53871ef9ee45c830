/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The format in which one kernel tells the next which PCI devices are running.
 */
#ifndef _LINUX_KHO_ABI_PCI_H
#define _LINUX_KHO_ABI_PCI_H

#include <linux/build_bug.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>
#include <uapi/linux/liveupdate.h>

/**
 * DOC: PCI format
 *
 * The data of the FLB %PCI_LIVEUPDATE_COMPATIBLE is the physical address of the
 * first of a chain of blocks. All integers are stored little-endian, as the CPU has
 * them. A block is one page of its own, preserved as a folio of order 0: a
 * &struct pci_liveupdate_block_ser, and right after it @count entries of
 * &struct pci_liveupdate_dev_ser. An entry whose @refcount is 0 is unused.
 *
 * There is one entry for every preserved device and one for every bridge above
 * such a device, up to the root bus, in no order. Everything in it is what
 * the hardware holds, in terms of the PCI specifications, so that the next kernel can
 * compare it with what it finds.
 *
 * Written by ``drivers/pci/liveupdate.c`` while devices are preserved; read by
 * the same file in the next kernel before it scans its buses.
 */

#define PCI_LIVEUPDATE_BLOCK_SIZE	SZ_4K

/**
 * struct pci_liveupdate_block_ser - header of a block
 * @next: address of the next block, 0 in the last one
 * @count: number of entries that follow
 */
struct pci_liveupdate_block_ser {
	__u64 next;
	__u64 count;
} __packed;
static_assert(sizeof(struct pci_liveupdate_block_ser) == 16);

/* Values of @flags: what can only be found out by writing to the device. */
#define PCI_LIVEUPDATE_INTX_UNMASKABLE	0x1U	/* INTX_DISABLE cannot be set */
#define PCI_LIVEUPDATE_IO_WINDOW	0x2U	/* the bridge has an I/O window */
#define PCI_LIVEUPDATE_PREF_WINDOW	0x4U	/* ... and a prefetchable one, */
#define PCI_LIVEUPDATE_PREF_64_WINDOW	0x8U	/* ... of 64 bits */
#define PCI_LIVEUPDATE_FLAGS		0xfU

#define PCI_LIVEUPDATE_BARS		6

/**
 * struct pci_liveupdate_dev_ser - a device or a bridge
 * @segment: PCI segment
 * @bdf: bus, device and function number, as a requester ID has them
 * @vendor: vendor ID
 * @device: device ID
 * @hdr_type: layout of the header: 0 for a device, 1 for a bridge
 * @reserved: 0
 * @refcount: of a device 1, of a bridge the number of preserved devices below it
 * @flags: PCI_LIVEUPDATE_*
 * @bar_mask: what each base address register reads after all ones were written
 *	to it, 0 if there is none. A bridge has two.
 * @rom_mask: the same of the expansion ROM
 * @acs_ctrl: ACS Control, 0 if there is no such capability
 * @io_window: I/O Base and Limit
 * @buses: Primary, Secondary and Subordinate Bus Number in the low 24 bits
 * @mem_window: Memory Base and Limit
 * @pref_window: Prefetchable Memory Base and Limit
 * @io_upper: I/O Base and Limit, upper 16 bits
 * @pref_base_upper: Prefetchable Base, upper 32 bits
 * @pref_limit_upper: Prefetchable Limit, upper 32 bits
 * @reserved2: 0
 * @session: name of the session that it was preserved in, padded with NULs; empty for a
 *	bridge
 *
 * From @io_window to @reserved2 all is 0 if this is no bridge.
 */
struct pci_liveupdate_dev_ser {
	__u32 segment;
	__u16 bdf;
	__u16 vendor;
	__u16 device;
	__u8 hdr_type;
	__u8 reserved;
	__u32 refcount;
	__u32 flags;
	__u32 bar_mask[PCI_LIVEUPDATE_BARS];
	__u32 rom_mask;
	__u16 acs_ctrl;
	__u16 io_window;
	__u32 buses;
	__u32 mem_window;
	__u32 pref_window;
	__u32 io_upper;
	__u32 pref_base_upper;
	__u32 pref_limit_upper;
	__u32 reserved2;
	char session[LIVEUPDATE_SESSION_NAME_LENGTH];
} __packed;
static_assert(sizeof(struct pci_liveupdate_dev_ser) == 144);

#define PCI_LIVEUPDATE_PER_BLOCK						\
	((PCI_LIVEUPDATE_BLOCK_SIZE - sizeof(struct pci_liveupdate_block_ser)) /	\
	 sizeof(struct pci_liveupdate_dev_ser))

/**
 * struct pci_liveupdate_cap_ser - header of a saved capability
 * @id: capability ID
 * @extended: 1 for an extended capability, else 0
 * @reserved: 0
 * @size: bytes of data that follow; the next header is at the next multiple of 4
 */
struct pci_liveupdate_cap_ser {
	__u16 id;
	__u8 extended;
	__u8 reserved;
	__u32 size;
} __packed;
static_assert(sizeof(struct pci_liveupdate_cap_ser) == 8);

#define PCI_LIVEUPDATE_STATE_CAPS	1024

/**
 * struct pci_liveupdate_state_ser - config space as it was saved at some time
 * @config: the header, 64 bytes
 * @size: bytes of @caps in use
 * @reserved: 0
 * @caps: capabilities, each a &struct pci_liveupdate_cap_ser and its data
 *
 * Part of records of file handlers. Written and read by
 * ``drivers/pci/liveupdate_state.c``.
 */
struct pci_liveupdate_state_ser {
	__u32 config[16];
	__u32 size;
	__u32 reserved;
	__u8 caps[PCI_LIVEUPDATE_STATE_CAPS];
} __packed;
static_assert(sizeof(struct pci_liveupdate_state_ser) == 1096);

#endif /* _LINUX_KHO_ABI_PCI_H */
