/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format of what one kernel tells the next of the machine's clocks.
 */
#ifndef _LINUX_KHO_ABI_X86_CLOCKS_H
#define _LINUX_KHO_ABI_X86_CLOCKS_H

#include <linux/build_bug.h>
#include <linux/types.h>

/**
 * DOC: x86 clocks format
 *
 * The sub-tree %KHO_X86_CLOCKS_SUBTREE of the root FDT points at one packed &struct
 * kho_x86_clocks, alone on its page. The machine is the same after the kexec, so what
 * one kernel waited for to measure, the next ones take from there. A kernel that
 * does not know of it measures again.
 *
 * All of it is one version and changes only together with the string
 * %KHO_X86_CLOCKS_COMPATIBLE. Integers are stored as the CPU has them, little-endian.
 */

#define KHO_X86_CLOCKS_SUBTREE		"x86-clocks"
#define KHO_X86_CLOCKS_COMPATIBLE	"x86-clocks-v1"

/**
 * struct kho_x86_clocks - frequencies that were measured
 * @compatible: %KHO_X86_CLOCKS_COMPATIBLE, padded with zeroes
 * @lapic_timer_hz: what the timers of the local APICs count down from, before
 *		    their divider, in Hz
 * @tsc_khz: of the time stamp counter, in kHz; by it the reader tells that the
 *	     machine is still the same. 0 if it is not known
 * @cpu_signature: family, model and stepping of the boot CPU, for the same purpose
 */
struct kho_x86_clocks {
	char compatible[16];
	__u64 lapic_timer_hz;
	__u32 tsc_khz;
	__u32 cpu_signature;
} __packed;
static_assert(sizeof(struct kho_x86_clocks) == 32);

#endif /* _LINUX_KHO_ABI_X86_CLOCKS_H */
