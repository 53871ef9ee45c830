/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: time stamps of boot, and the clock that makes them.
 */
#ifndef _KERNEL_LIVEUPDATE_KHO_PHASES_H
#define _KERNEL_LIVEUPDATE_KHO_PHASES_H

#include <linux/types.h>
#include <linux/kho/abi/luo_phases.h>

/* Provided by the architecture: of the counter that get_cycles() reads. */
u32 arch_luo_clock_khz(void);
bool arch_luo_clock_unstable(void);

#ifdef CONFIG_LIVEUPDATE
void luo_phase_boot(enum luo_phase phase);
#else
static inline void luo_phase_boot(enum luo_phase phase)
{
}
#endif

#endif /* _KERNEL_LIVEUPDATE_KHO_PHASES_H */
