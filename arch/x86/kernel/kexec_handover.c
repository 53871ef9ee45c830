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
 *
 * The record of what the next kernel reads (linux/kho/abi/image.h) is found
 * before that in its file, a bzImage: the setup header says where in the
 * protected-mode part, which is not compressed there, its kernel_info lies.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho_hooks.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <linux/kho/abi/image.h>

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

/* First protocol with kernel_info. */
#define KERNEL_INFO_PROTOCOL	0x020f

/* kernel_info: magic, size of the fixed part, size of all. */
#define KERNEL_INFO_HEADER_SIZE	12
/* A chunk of its variable part: magic, size. */
#define KERNEL_INFO_CHUNK_SIZE	8

/* Look for the record among the chunks of kernel_info. */
static int kho_record_among_chunks(const u8 *chunk, size_t left, const void **record,
				   size_t *record_size)
{
	while (left) {
		size_t size;

		if (left < KERNEL_INFO_CHUNK_SIZE)
			return -EINVAL;
		size = get_unaligned_le32(chunk + 4);
		if (size < KERNEL_INFO_CHUNK_SIZE || size > left)
			return -EINVAL;
		if (!memcmp(chunk, KHO_IMAGE_MAGIC, 4)) {
			*record = chunk;
			*record_size = size;
			return 0;
		}
		chunk += size;
		left -= size;
	}
	return -ENOENT;
}

/**
 * arch_kho_find_record - find the record in a kernel that is not loaded yet
 * @kernel: the file, a bzImage or anything else
 * @size: its size in bytes
 * @record: set to the record, which lies in the file
 * @record_size: set to its size in bytes, at least 8
 *
 * Follows Documentation/arch/x86/boot.rst. Nothing in the file is trusted.
 *
 * Context: any.
 * Return: 0 if there is one, ``-ENOENT`` if there is none, ``-EINVAL`` if
 * the file is damaged where it should be.
 */
int arch_kho_find_record(const void *kernel, size_t size, const void **record,
			 size_t *record_size)
{
	const struct setup_header *hdr;
	size_t info, fixed, total;
	const u8 *start = kernel;

	if (size < offsetof(struct boot_params, hdr) + sizeof(*hdr))
		return -ENOENT;
	hdr = kernel + offsetof(struct boot_params, hdr);
	if (memcmp(&hdr->header, "HdrS", 4) || hdr->version < KERNEL_INFO_PROTOCOL)
		return -ENOENT;

	/* Boot sector and setup code, then what the offset counts from. */
	info = ((hdr->setup_sects ?: 4) + 1) * 512UL + hdr->kernel_info_offset;
	if (info > size || size - info < KERNEL_INFO_HEADER_SIZE ||
	    memcmp(start + info, "LToP", 4))
		return -EINVAL;

	fixed = get_unaligned_le32(start + info + 4);
	total = get_unaligned_le32(start + info + 8);
	if (fixed < KERNEL_INFO_HEADER_SIZE || total < fixed || total > size - info)
		return -EINVAL;
	return kho_record_among_chunks(start + info + fixed, total - fixed, record,
				       record_size);
}
