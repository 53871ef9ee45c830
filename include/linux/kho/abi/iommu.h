/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The format in which one kernel tells the next what IOMMUs translate.
 */
#ifndef _LINUX_KHO_ABI_IOMMU_H
#define _LINUX_KHO_ABI_IOMMU_H

#include <linux/build_bug.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>

/**
 * DOC: IOMMU format
 *
 * The data of the FLB %IOMMU_LIVEUPDATE_COMPATIBLE is the physical address of the
 * first of a chain of blocks. All integers are stored little-endian, as the CPU has
 * them. A block is one page of its own, preserved as a folio of order 0: a
 * &struct iommu_liveupdate_block_ser, and right after it @count entries of
 * &struct iommu_liveupdate_ser. Entries come in any order; one of the
 * type %IOMMU_LIVEUPDATE_UNUSED is none.
 *
 * What an IOMMU driver adds in @priv is its own, under the name in @driver:
 *
 * ``vtd-v1`` (Intel VT-d in legacy mode), of a unit, @id the physical address
 * of its registers: priv[0] the root table, priv[1] Capability, priv[2] Extended
 * Capability Register, priv[3] 0. Root and context tables hold the preserved devices
 * and no others; each is a page preserved as a folio of order 0. Of a domain: priv[0]
 * the top page table, priv[1] the adjusted guest address width (levels - 2),
 * priv[2] the guest address width in bits, priv[3] 1 if every entry has the snoop bit,
 * 2 if the domain demands snooping, or both. Each page table is preserved as a folio of
 * order 0. Of a device: priv[0] its domain ID, the others 0.
 *
 * Written by ``drivers/iommu/liveupdate.c`` and the driver of the IOMMU; read by the
 * same in the next kernel, before translation is set up.
 */

#define IOMMU_LIVEUPDATE_BLOCK_SIZE	SZ_4K
#define IOMMU_LIVEUPDATE_DRIVER_LENGTH	16

#define IOMMU_LIVEUPDATE_UNUSED		0U
#define IOMMU_LIVEUPDATE_UNIT		1U
#define IOMMU_LIVEUPDATE_DOMAIN		2U
#define IOMMU_LIVEUPDATE_DEVICE		3U

/**
 * struct iommu_liveupdate_block_ser - header of a block
 * @next: address of the next block, 0 in the last one
 * @count: number of entries that follow
 */
struct iommu_liveupdate_block_ser {
	__u64 next;
	__u64 count;
} __packed;
static_assert(sizeof(struct iommu_liveupdate_block_ser) == 16);

/**
 * struct iommu_liveupdate_ser - a unit, a domain or a device
 * @driver: name and version of what is in @priv
 * @type: IOMMU_LIVEUPDATE_*
 * @refcount: how many entries refer to this one, 1 for a device
 * @id: of a unit as its driver says; of a domain any number but 0; of a
 *	device, PCI segment << 16 | requester ID
 * @unit: of a device, the @id of its unit, else 0
 * @domain: of a device, the @id of its domain, else 0
 * @priv: see above
 */
struct iommu_liveupdate_ser {
	char driver[IOMMU_LIVEUPDATE_DRIVER_LENGTH];
	__u32 type;
	__u32 refcount;
	__u64 id;
	__u64 unit;
	__u64 domain;
	__u64 priv[4];
} __packed;
static_assert(sizeof(struct iommu_liveupdate_ser) == 80);

#define IOMMU_LIVEUPDATE_PER_BLOCK							\
	((IOMMU_LIVEUPDATE_BLOCK_SIZE - sizeof(struct iommu_liveupdate_block_ser)) /	\
	 sizeof(struct iommu_liveupdate_ser))

#endif /* _LINUX_KHO_ABI_IOMMU_H */
