// SPDX-License-Identifier: GPL-2.0
/*
 * KHO and the kexec system calls.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/ioport.h>
#include <linux/kexec.h>
#include <linux/printk.h>

#include "kho_internal.h"

/**
 * kho_image_carries - is the next kernel told of preserved memory?
 * @image: the image
 *
 * Images of kexec_load(2) are made by user space, and crash kernels boot in memory
 * of their own.
 *
 * Return: true if it is.
 */
bool kho_image_carries(struct kimage *image)
{
	return kho_is_enabled() && image->file_mode && image->type == KEXEC_TYPE_DEFAULT;
}

/**
 * kho_locate_mem_hole - place a segment of the next kernel in scratch
 * @kbuf: the segment
 * @func: the callback of kexec_locate_mem_hole(), which looks for room in one range
 *
 * Return: 0 when @kbuf was placed, -EADDRNOTAVAIL when scratch has no room for it,
 * 1 when KHO has no say in where it goes.
 */
int kho_locate_mem_hole(struct kexec_buf *kbuf, int (*func)(struct resource *, void *))
{
	if (!kho_image_carries(kbuf->image))
		return 1;

	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		/* The largest area is the global one, behind the low one. */
		unsigned int nr = (i + 1) % kho_scratch_nr;
		struct resource res = {
			.start = kho_scratch_areas[nr].addr,
			.end = kho_scratch_areas[nr].addr + kho_scratch_areas[nr].size - 1,
		};

		if (func(&res, kbuf) == 1)
			return 0;
	}
	pr_err("no room in scratch for a segment of %lu bytes\n", kbuf->memsz);

	return -EADDRNOTAVAIL;
}

/**
 * kho_image_needs_no_digest - may purgatory skip its checksum?
 * @image: the image, all segments placed
 *
 * The checksum guards against devices that write into the image after it was put
 * in place. Nobody hands memory in scratch to a device for writing across a kexec:
 * it is movable memory, and devices are stopped or use preserved memory.
 *
 * Return: true if all segments lie in scratch.
 */
bool kho_image_needs_no_digest(struct kimage *image)
{
	if (!kho_image_carries(image))
		return false;
	for (unsigned long i = 0; i < image->nr_segments; i++)
		if (!kho_scratch_covers(image->segment[i].mem, image->segment[i].memsz))
			return false;

	return true;
}

/**
 * kho_check_image - refuse a kexec that would lose preserved memory
 * @image: the image about to be started
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL, with a log line.
 */
int kho_check_image(struct kimage *image)
{
	if (!kho_is_enabled() || kho_image_carries(image) || image->preserve_context ||
	    !kho_out_has_state())
		return 0;

	pr_err("kexec refused: memory is preserved, and an image of kexec_load(2) cannot carry it\n");
	return -EINVAL;
}

/**
 * kho_fill_boot_data - what the boot protocol passes on
 * @fdt_phys: filled with the physical address of the root FDT
 * @fdt_size: with its size in bytes
 * @scratch_phys: with the physical address of the array of scratch areas
 * @scratch_size: with its size in bytes
 */
void kho_fill_boot_data(u64 *fdt_phys, u64 *fdt_size, u64 *scratch_phys, u64 *scratch_size)
{
	*fdt_phys = kho_fdt_phys();
	*fdt_size = PAGE_SIZE;
	*scratch_phys = kho_scratch_array_phys();
	*scratch_size = kho_scratch_array_size();
}
