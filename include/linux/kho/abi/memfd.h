/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format of a memfd (on shmem) in memory as one kernel leaves it to the next.
 */
#ifndef _LINUX_KHO_ABI_MEMFD_H
#define _LINUX_KHO_ABI_MEMFD_H

#include <linux/build_bug.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>
#include <linux/kho/abi/kexec_handover.h>
#include <uapi/linux/fcntl.h>

/**
 * DOC: memfd format
 *
 * All integers are stored little-endian, as the CPU has them; every address is
 * a physical address; a page has 4 KiB.
 *
 * The data word of a file of the handler %MEMFD_LUO_COMPATIBLE is the address of
 * one &struct memfd_luo_ser, alone on its page, which is preserved as a folio of
 * order 0. Its member @folios describes a preserved vmalloc area with an array
 * of &struct memfd_luo_folio_ser, one for each folio of the page cache. The array
 * is in no order. What no record covers is a hole. The area may be longer than
 * the array::
 *
 *	memfd_luo_ser -> kho_vmalloc_chunk -> page [record, record, ...]
 *	                        |             page [record, record, ...]
 *	                        +-> kho_vmalloc_chunk -> page [record, ...]
 *
 * Every folio is preserved with the order that it has in the page cache, and that
 * order is found in the preserved-memory map only. The index of a folio of order
 * ``o`` is a multiple of ``1 << o``. Folios can lie beyond the end of the file,
 * put there by fallocate(2) with ``FALLOC_FL_KEEP_SIZE``.
 *
 * The record has no mode: if the seals have ``F_SEAL_EXEC`` and lack one of
 * %MEMFD_LUO_WRITE_SEALS, the file was made without execute permission. Owner,
 * time stamps, extended attributes and the flags of the open file are not
 * carried over.
 *
 * Written by ``mm/memfd_luo*.c`` when the file is preserved, kept up to date as
 * folios are added, completed when it is frozen; read by the same files in the
 * next kernel. All of it is one version and changes only together with the
 * string %MEMFD_LUO_COMPATIBLE.
 */

/* The seals that a memfd can have across a live update. */
#define MEMFD_LUO_WRITE_SEALS	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | \
				 F_SEAL_FUTURE_WRITE)
#define MEMFD_LUO_SEALS		(F_SEAL_SEAL | F_SEAL_EXEC | MEMFD_LUO_WRITE_SEALS)

/* Flags of a folio. */
#define MEMFD_LUO_FOLIO_DIRTY		0x001	/* not the same as a new page */
#define MEMFD_LUO_FOLIO_UPTODATE	0x002	/* has contents, else reads as zeroes */
#define MEMFD_LUO_FOLIO_FLAGS		(MEMFD_LUO_FOLIO_DIRTY | \
					 MEMFD_LUO_FOLIO_UPTODATE)

/**
 * struct memfd_luo_folio_ser - a folio of a memfd
 * @pfn: page frame number of its first page, 0 if the record is not in use
 * @flags: MEMFD_LUO_FOLIO_*
 * @index: where it lies in the file, in pages
 */
struct memfd_luo_folio_ser {
	__u64 pfn:52;
	__u64 flags:12;
	__u64 index;
} __packed;
static_assert(sizeof(struct memfd_luo_folio_ser) == 16);

/**
 * struct memfd_luo_ser - a memfd
 * @pos: file position, in bytes
 * @size: size of the file, in bytes
 * @seals: F_SEAL_* as fcntl(2) F_GET_SEALS gives them
 * @flags: none yet, 0
 * @nr_folios: number of &struct memfd_luo_folio_ser in @folios
 * @folios: where they are, all zeroes if there are none
 */
struct memfd_luo_ser {
	__u64 pos;
	__u64 size;
	__u32 seals;
	__u32 flags;
	__u64 nr_folios;
	struct kho_vmalloc folios;
} __packed;
static_assert(sizeof(struct memfd_luo_ser) == 48);

#endif /* _LINUX_KHO_ABI_MEMFD_H */
