/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_X86_KEXEC_HANDOVER_H
#define _ASM_X86_KEXEC_HANDOVER_H

#include <linux/types.h>

struct boot_params;
struct kho_x86_clocks;
struct kimage;

#ifdef CONFIG_KEXEC_HANDOVER

void kho_parse_setup_data(u64 phys, u32 len);
unsigned long kho_setup_data_space(struct kimage *image);
void kho_add_setup_data(struct kimage *image, struct boot_params *params,
			unsigned long params_phys, unsigned int offset);
const char *kho_clocks_doubt(const struct kho_x86_clocks *ser, size_t size);
void kho_take_over_clocks(void);
void kho_lapic_timer_runs(void);

#else

static inline void kho_parse_setup_data(u64 phys, u32 len)
{
}

static inline unsigned long kho_setup_data_space(struct kimage *image)
{
	return 0;
}

static inline void kho_add_setup_data(struct kimage *image, struct boot_params *params,
				      unsigned long params_phys, unsigned int offset)
{
}

static inline void kho_take_over_clocks(void)
{
}

static inline void kho_lapic_timer_runs(void)
{
}

#endif

#endif /* _ASM_X86_KEXEC_HANDOVER_H */
