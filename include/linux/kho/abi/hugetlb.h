/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Formats of hugetlb memfds and of the pools that their pages belong to, in memory
 * as one kernel leaves them to the next.
 */
#ifndef _LINUX_KHO_ABI_HUGETLB_H
#define _LINUX_KHO_ABI_HUGETLB_H

#include <linux/build_bug.h>
#include <linux/types.h>
#include <linux/kho/abi/memfd.h>

/**
 * DOC: hugetlb memfd format
 *
 * The data word of a file of the handler %HUGETLB_LUO_COMPATIBLE is the address of
 * one &struct hugetlb_luo_ser, alone on its page, which is preserved as a folio of
 * order 0. It begins with all that a memfd on shmem has, see the memfd format: the
 * same members, and the same array of &struct memfd_luo_folio_ser, whose indices
 * count pages of 4 KiB here, too. The array is in no order, and has records of two
 * kinds:
 *
 * - a huge page, with %MEMFD_LUO_FOLIO_DIRTY and %MEMFD_LUO_FOLIO_UPTODATE. It is
 *   preserved as a folio of the order that the file has.
 * - %HUGETLB_LUO_RESERVED: a range of the file for which huge pages are reserved
 *   in the pool as far as there are none yet, as mmap() does. The member pfn is
 *   the number of huge pages then. Pages and ranges may overlap.
 *
 * Written by ``mm/hugetlb_luo*.c`` when the file is preserved, kept up to date as
 * pages are added, completed when it is frozen; read by the same files in the next
 * kernel. All of it is one version and changes only together with the string
 * %HUGETLB_LUO_COMPATIBLE.
 */

/* Flag of a record: it stands for a range with reservations. */
#define HUGETLB_LUO_RESERVED	0x004

/**
 * struct hugetlb_luo_ser - a memfd on hugetlbfs
 * @file: what every memfd has
 * @order: a huge page of the file has ``1 << order`` pages of 4 KiB
 * @flags: none yet, 0
 */
struct hugetlb_luo_ser {
	struct memfd_luo_ser file;
	__u32 order;
	__u32 flags;
} __packed;
static_assert(sizeof(struct hugetlb_luo_ser) == 56);

/**
 * DOC: hugetlb pool format
 *
 * The data word of the FLB %HUGETLB_LUO_POOL_COMPATIBLE is the address of one
 * &struct hugetlb_luo_pool_ser at the start of a page, preserved as a folio. It says
 * how many huge pages of each size and node are preserved by all files together, so
 * that the next kernel can size its pools before it knows of any file. That is all that
 * it is for: which pages they are, the files say. There is at most one entry for an
 * order and a node; what has no entry is zero.
 *
 * Written by ``mm/hugetlb_luo_pool.c`` whenever a huge page is preserved or taken back;
 * read by the same file in the next kernel. All of it is one version and changes only
 * together with the string %HUGETLB_LUO_POOL_COMPATIBLE.
 */

/**
 * struct hugetlb_luo_pool_entry_ser - huge pages of one size on one node
 * @order: a huge page has ``1 << order`` pages of 4 KiB
 * @nid: number of the node
 * @nr_pages: how many huge pages are preserved
 */
struct hugetlb_luo_pool_entry_ser {
	__u32 order;
	__u32 nid;
	__u64 nr_pages;
} __packed;
static_assert(sizeof(struct hugetlb_luo_pool_entry_ser) == 16);

/**
 * struct hugetlb_luo_pool_ser - what is preserved of the pools
 * @nr_entries: number of @entries
 * @entries: in no order
 */
struct hugetlb_luo_pool_ser {
	__u64 nr_entries;
	struct hugetlb_luo_pool_entry_ser entries[];
} __packed;
static_assert(sizeof(struct hugetlb_luo_pool_ser) == 8);

#endif /* _LINUX_KHO_ABI_HUGETLB_H */
