// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver: the kernel may be decompressed to scratch memory only, as all
 * other memory can be preserved.
 */

#include "kho.h"

/* More areas than a kernel can have; guards against a bad length. */
#define MAX_SCRATCH_BYTES	65536

struct scratch_area {
	u64 addr;
	u64 size;
};

/*
 * Offer each scratch area to @process, until it has enough. Return false if there
 * is no handover.
 */
bool kho_process_scratch(kho_process_t process, unsigned long minimum, unsigned long image_size)
{
	const struct kho_data *kho = kho_find_data();
	struct scratch_area *areas;

	if (!kho || !kho->scratch_addr || kho->scratch_size > MAX_SCRATCH_BYTES)
		return false;

	areas = (void *)(unsigned long)kho->scratch_addr;
	for (unsigned int i = 0; i < kho->scratch_size / sizeof(*areas); i++) {
		struct mem_vector region = { .start = areas[i].addr, .size = areas[i].size };

		if (process(&region, minimum, image_size))
			break;
	}

	return true;
}
