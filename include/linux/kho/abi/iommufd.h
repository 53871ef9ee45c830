/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format of an iommufd in memory as one kernel leaves it to the next.
 */
#ifndef _LINUX_KHO_ABI_IOMMUFD_H
#define _LINUX_KHO_ABI_IOMMUFD_H

#include <linux/build_bug.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>

/**
 * DOC: iommufd format
 *
 * The data word of a file of the handler %IOMMUFD_LUO_COMPATIBLE is the physical address
 * of the first of a chain of blocks. All integers are stored little-endian, as the
 * CPU has them. A block is one page of its own, preserved as a folio of order 0: a
 * &struct iommufd_luo_block_ser, and right after it @count entries of
 * &struct iommufd_luo_ser, at least one.
 *
 * The entry of an IOAS comes before all that belongs to it, and IOASes are numbered from 0
 * in the order of their entries. What belongs to an IOAS comes in any order.
 * Mappings do not overlap in IOVA, nor do the ranges that are allowed. A mapping names
 * its memory by the token of a memfd in the same session. How the page tables look that
 * map it is in the record of the IOMMU, iommu.h, in the domain of the devices that
 * are attached to the HWPT.
 *
 * Each page that a mapping covers has one DMA pin for it, for which the next kernel
 * has to take care before the memfd's page can be moved.
 *
 * Written by ``drivers/iommu/iommufd/liveupdate.c`` when the file is preserved; read by
 * the same directory, and where memfds are retrieved. All of it is one version and changes
 * only together with the string %IOMMUFD_LUO_COMPATIBLE.
 */

#define IOMMUFD_LUO_BLOCK_SIZE		SZ_4K

/* How often a page can be mapped, in all records of a session. */
#define IOMMUFD_LUO_MAX_MAPPINGS	4096U

/* Types */
#define IOMMUFD_LUO_IOAS		1U
#define IOMMUFD_LUO_ALLOWED		2U
#define IOMMUFD_LUO_MAPPING		3U
#define IOMMUFD_LUO_HWPT		4U

/* Flags of an IOAS */
#define IOMMUFD_LUO_SMALL_PAGES		1U	/* IOMMU_OPTION_HUGE_PAGES is 0 */
/* Flags of a mapping */
#define IOMMUFD_LUO_READ		1U
#define IOMMUFD_LUO_WRITE		2U
/* Flags of a HWPT */
#define IOMMUFD_LUO_COHERENT		1U	/* cache coherency is enforced */

/**
 * struct iommufd_luo_block_ser - header of a block
 * @next: address of the next block, 0 in the last one
 * @count: number of entries that follow
 */
struct iommufd_luo_block_ser {
	__u64 next;
	__u64 count;
} __packed;
static_assert(sizeof(struct iommufd_luo_block_ser) == 16);

/**
 * struct iommufd_luo_ser - an IOAS or something that belongs to one
 * @type: IOMMUFD_LUO_*
 * @flags: of this type, the others are 0
 * @ioas: number of the IOAS
 * @label: of a HWPT, its label, else 0
 * @iova: of a mapping or a range that is allowed, its first byte, else 0
 * @last: of the same, its last byte, else 0
 * @token: of a mapping, the token of the memfd, else 0
 * @offset: of a mapping, the byte of the memfd that is at @iova, else 0
 */
struct iommufd_luo_ser {
	__u32 type;
	__u32 flags;
	__u32 ioas;
	__u32 label;
	__u64 iova;
	__u64 last;
	__u64 token;
	__u64 offset;
} __packed;
static_assert(sizeof(struct iommufd_luo_ser) == 48);

#define IOMMUFD_LUO_PER_BLOCK							\
	((IOMMUFD_LUO_BLOCK_SIZE - sizeof(struct iommufd_luo_block_ser)) /	\
	 sizeof(struct iommufd_luo_ser))

#endif /* _LINUX_KHO_ABI_IOMMUFD_H */
