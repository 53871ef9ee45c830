/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BOOT_COMPRESSED_KHO_H
#define BOOT_COMPRESSED_KHO_H

#include "misc.h"

#include <linux/kho/abi/luo_phases.h>

#include <asm/bootparam.h>
#include <asm/setup_data.h>

/* What the previous kernel says of the handover, or NULL. */
static inline const struct kho_data *kho_find_data(void)
{
	struct setup_data *data;

	for (data = (void *)(unsigned long)boot_params_ptr->hdr.setup_data; data;
	     data = (void *)(unsigned long)data->next)
		if (data->type == SETUP_KEXEC_KHO)
			break;
	return data && data->len >= sizeof(struct kho_data) ? (void *)data->data : NULL;
}

typedef bool (*kho_process_t)(struct mem_vector *region, unsigned long minimum,
			      unsigned long image_size);

#ifdef CONFIG_KEXEC_HANDOVER
bool kho_process_scratch(kho_process_t process, unsigned long minimum, unsigned long image_size);
#else
static inline bool kho_process_scratch(kho_process_t process, unsigned long minimum,
				       unsigned long image_size)
{
	return false;
}
#endif

#ifdef CONFIG_LIVEUPDATE
void kho_phase(enum luo_phase phase);
#else
static inline void kho_phase(enum luo_phase phase)
{
}
#endif

#endif /* BOOT_COMPRESSED_KHO_H */
