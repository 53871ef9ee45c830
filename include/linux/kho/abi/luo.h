/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Formats of the Live Update Orchestrator (LUO): sessions and files in memory
 * as one kernel leaves them to the next.
 */
#ifndef _LINUX_KHO_ABI_LUO_H
#define _LINUX_KHO_ABI_LUO_H

#include <linux/build_bug.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>
#include <uapi/linux/liveupdate.h>

/**
 * DOC: LUO formats
 *
 * All integers are stored little-endian, as the CPU has them; every address is
 * a physical address, 0 where there is nothing; a page has 4 KiB. Strings end
 * with a NUL inside their field.
 *
 * The KHO sub-tree %LUO_SUBTREE is one &struct luo_ser. It points at a chain of
 * blocks of &struct luo_session_ser. Each of these points at a chain of blocks
 * of &struct luo_file_ser, and at nothing if the session has no files::
 *
 *	luo_ser -> block [session, session, ...] -> block [session, ...]
 *	                     |
 *	                     +-> block [file, file, ...] -> block [file, ...]
 *
 * **Block.** One page of its own, preserved as a folio of order 0: a
 * &struct luo_block_ser, and right after it the entries. The writer fills
 * every block but the last one and writes no empty block. A reader takes an
 * empty block for what it is. Not more than 10,000 blocks may be in a chain that
 * is meant for a mainline kernel.
 *
 * **FLB area.** One block of pages of its own, preserved as a folio: a
 * &struct luo_flb_header_ser, and right after it the entries, not in any order. One
 * page, with up to 63 entries, if the next kernel is a mainline kernel; a power of
 * two of pages up to %LUO_FLB_MAX_PAGES otherwise.
 *
 * Written once, when all files are frozen, by ``kernel/liveupdate/luo_*.c``;
 * read by the same files in the next kernel. All of it is version
 * %LUO_COMPATIBLE and changes only together with that string.
 */

#define LUO_SUBTREE		"LUO"
#define LUO_COMPATIBLE_LENGTH	8

/* Length of the name of a file handler, the terminating NUL included. */
#define LIVEUPDATE_HNDL_COMPAT_LENGTH	48
/* Length of the name of an FLB, the terminating NUL included. */
#define LIVEUPDATE_FLB_COMPAT_LENGTH	48

/**
 * struct luo_ser - where everything starts
 * @compatible: %LUO_COMPATIBLE
 * @liveupdate_num: live updates since cold boot, the one under way included
 * @sessions_pa: first block of sessions
 * @flbs_pa: the FLB area, a &struct luo_flb_header_ser
 */
struct luo_ser {
	char compatible[LUO_COMPATIBLE_LENGTH];
	__u64 liveupdate_num;
	__u64 sessions_pa;
	__u64 flbs_pa;
} __packed;
static_assert(sizeof(struct luo_ser) == 32);

#define LUO_BLOCK_SIZE		SZ_4K

/**
 * struct luo_block_ser - header of a block
 * @next: address of the next block, 0 in the last one
 * @count: number of entries that follow
 */
struct luo_block_ser {
	__u64 next;
	__u64 count;
} __packed;
static_assert(sizeof(struct luo_block_ser) == 16);

/**
 * struct luo_session_ser - a session
 * @name: its name
 * @files: first block of its files
 * @count: number of its files
 */
struct luo_session_ser {
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	__u64 files;
	__u64 count;
} __packed;
static_assert(sizeof(struct luo_session_ser) == 80);

/**
 * struct luo_file_ser - a preserved file
 * @compatible: name of the file handler, which stands for the format of @data
 * @data: what the handler left, often the address of its own record
 * @token: number given by user space, unique in the session
 */
struct luo_file_ser {
	char compatible[LIVEUPDATE_HNDL_COMPAT_LENGTH];
	__u64 data;
	__u64 token;
} __packed;
static_assert(sizeof(struct luo_file_ser) == 64);

/**
 * struct luo_flb_header_ser - head of the FLB area
 * @pgcnt: number of pages of the area
 * @count: number of &struct luo_flb_ser that follow
 */
struct luo_flb_header_ser {
	__u64 pgcnt;
	__u64 count;
} __packed;
static_assert(sizeof(struct luo_flb_header_ser) == 16);

#define LUO_FLB_MAX_PAGES	64

/**
 * struct luo_flb_ser - state that several files share
 * @name: its name, which stands for the format of @data
 * @data: what its owner left
 * @count: number of files that depend on it, not 0. A mainline kernel counts others
 *	who use it, too
 */
struct luo_flb_ser {
	char name[LIVEUPDATE_FLB_COMPAT_LENGTH];
	__u64 data;
	__u64 count;
} __packed;
static_assert(sizeof(struct luo_flb_ser) == 64);

#endif /* _LINUX_KHO_ABI_LUO_H */
