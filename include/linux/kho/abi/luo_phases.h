/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format of the time stamps that one kernel leaves to the next.
 */
#ifndef _LINUX_KHO_ABI_LUO_PHASES_H
#define _LINUX_KHO_ABI_LUO_PHASES_H

#include <linux/build_bug.h>
#include <linux/types.h>

/**
 * DOC: LUO phases format
 *
 * The sub-tree %LUO_PHASES_SUBTREE of the root FDT points at one packed &struct
 * luo_phases_ser, alone on its page. A live update is a sequence of phases; each
 * has a time stamp of when it began, which is also when the one before it ended. A
 * stamp that nobody has made is zero.
 *
 * The kernel that is left writes the stamps up to %LUO_PHASE_JUMP. The decompressor
 * of the next kernel finds the page by way of the root FDT and writes
 * %LUO_PHASE_DECOMPRESS and %LUO_PHASE_KERNEL. That kernel takes the page over and makes
 * all other stamps elsewhere. A kernel that does not know of the page leaves it
 * alone.
 *
 * All of it is one version and changes only together with the string
 * %LUO_PHASES_COMPATIBLE. Integers are stored as the CPU has them, little-endian.
 */

#define LUO_PHASES_SUBTREE	"luo-phases"
#define LUO_PHASES_COMPATIBLE	"luo-phases-v1"

/**
 * enum luo_phase - parts of a live update, by how they begin
 * @LUO_PHASE_FREEZE: reboot() was called, files are frozen
 * @LUO_PHASE_SHUTDOWN: everything is frozen, devices are shut down
 * @LUO_PHASE_JUMP: the kernel is left: the next one is copied to its place
 * @LUO_PHASE_DECOMPRESS: the next kernel's decompressor runs
 * @LUO_PHASE_KERNEL: it is decompressed: early boot
 * @LUO_PHASE_MAP: the map of preserved memory is taken over
 * @LUO_PHASE_BOOT: that is done: the rest of the boot
 * @LUO_PHASE_INIT: init is started
 * @LUO_PHASE_RETRIEVE: a file is retrieved, the first one
 * @LUO_PHASE_END: a session is finished, the last one. Not a phase but the end
 * @LUO_NR_PHASES: number of them
 */
enum luo_phase {
	LUO_PHASE_FREEZE = 0,
	LUO_PHASE_SHUTDOWN = 1,
	LUO_PHASE_JUMP = 2,
	LUO_PHASE_DECOMPRESS = 3,
	LUO_PHASE_KERNEL = 4,
	LUO_PHASE_MAP = 5,
	LUO_PHASE_BOOT = 6,
	LUO_PHASE_INIT = 7,
	LUO_PHASE_RETRIEVE = 8,
	LUO_PHASE_END = 9,
	LUO_NR_PHASES,
};

/* The clock of the kernel that is left was not to be relied on. */
#define LUO_PHASES_UNSTABLE	0x1

/**
 * struct luo_phase_stamp - when a phase began
 * @cycles: of the counter that runs on across the kexec (x86: TSC)
 * @realtime_ns: ns since 1970, or 0 where there was no such clock
 */
struct luo_phase_stamp {
	__u64 cycles;
	__u64 realtime_ns;
} __packed;
static_assert(sizeof(struct luo_phase_stamp) == 16);

/**
 * struct luo_phases_ser - time stamps of a live update
 * @compatible: %LUO_PHASES_COMPATIBLE, padded with NULs
 * @khz: frequency of the counter in kHz, as the kernel that is left knows it
 * @flags: %LUO_PHASES_UNSTABLE or 0
 * @stamps: by &enum luo_phase
 */
struct luo_phases_ser {
	char compatible[16];
	__u32 khz;
	__u32 flags;
	struct luo_phase_stamp stamps[16];
} __packed;
static_assert(sizeof(struct luo_phases_ser) == 280);

#endif /* _LINUX_KHO_ABI_LUO_PHASES_H */
