/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BOOT_COMPRESSED_KHO_H
#define BOOT_COMPRESSED_KHO_H

#include "misc.h"

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

#endif /* BOOT_COMPRESSED_KHO_H */
