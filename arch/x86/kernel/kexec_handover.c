// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver and the x86 boot protocol.
 */

/**
 * DOC: setup_data
 *
 * The next kernel learns of the handover from a setup_data node of type
 * SETUP_KEXEC_KHO with &struct kho_data as payload. The node is in the segment of
 * the boot parameters, like those for EFI and the random seed.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho_hooks.h>
#include <linux/printk.h>

#include <asm/bootparam.h>
#include <asm/e820/api.h>
#include <asm/early_ioremap.h>
#include <asm/kexec_handover.h>
#include <asm/setup.h>
#include <asm/tsc.h>

#include "../../../kernel/liveupdate/kho_phases.h"

/**
 * arch_kho_is_ram - is a range memory by the firmware's map?
 * @phys: physical address of the first byte
 * @size: number of bytes, not 0
 *
 * Context: boot, before memblock knows memory.
 * Return: true if all of it is.
 */
bool __init arch_kho_is_ram(phys_addr_t phys, u64 size)
{
	return phys + size > phys && e820__mapped_all(phys, phys + size, E820_TYPE_RAM);
}

/**
 * kho_parse_setup_data - take note of a setup_data node of type SETUP_KEXEC_KHO
 * @phys: its physical address
 * @len: its length with header
 */
void __init kho_parse_setup_data(u64 phys, u32 len)
{
	struct setup_data *data;
	struct kho_data kho;

	if (len < sizeof(*data) + sizeof(kho)) {
		pr_err("handover ignored: setup_data of %u bytes\n", len);
		return;
	}
	data = early_memremap(phys, len);
	if (!data) {
		pr_err("handover ignored: cannot map setup_data\n");
		return;
	}
	memcpy(&kho, data->data, sizeof(kho));
	early_memunmap(data, len);

	kho_populate(kho.fdt_addr, kho.fdt_size, kho.scratch_addr, kho.scratch_size);
}

/**
 * kho_setup_data_space - room for the node in the segment of the boot parameters
 * @image: the image being loaded
 *
 * Return: bytes, 0 if the image carries no handover.
 */
unsigned long kho_setup_data_space(struct kimage *image)
{
	return kho_image_carries(image) ? sizeof(struct setup_data) + sizeof(struct kho_data) : 0;
}

/**
 * kho_add_setup_data - tell the next kernel of the handover
 * @image: the image being loaded
 * @params: its boot parameters
 * @params_phys: where they will be
 * @offset: of the room of kho_setup_data_space() bytes from the start of @params
 */
void kho_add_setup_data(struct kimage *image, struct boot_params *params,
			unsigned long params_phys, unsigned int offset)
{
	struct setup_data *data = (void *)params + offset;
	struct kho_data *kho = (void *)data->data;

	if (!kho_image_carries(image))
		return;

	data->type = SETUP_KEXEC_KHO;
	data->len = sizeof(*kho);
	kho_fill_boot_data(&kho->fdt_addr, &kho->fdt_size, &kho->scratch_addr,
			   &kho->scratch_size);
	data->next = params->hdr.setup_data;
	params->hdr.setup_data = params_phys + offset;
}

/**
 * arch_luo_clock_khz - frequency of the counter that get_cycles() reads
 *
 * Return: kHz, 0 if it is not known.
 */
u32 arch_luo_clock_khz(void)
{
	return tsc_khz;
}

/**
 * arch_luo_clock_unstable - is that counter not to be relied on?
 *
 * Return: true if its CPUs may differ, or its frequency change.
 */
bool arch_luo_clock_unstable(void)
{
	return check_tsc_unstable();
}
