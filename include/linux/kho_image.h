/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is known of the kernel in an image loaded by kexec_file_load(2).
 */
#ifndef _LINUX_KHO_IMAGE_H
#define _LINUX_KHO_IMAGE_H

#include <linux/bits.h>
#include <linux/types.h>
#include <linux/kho/abi/image.h>

struct kimage;

/*
 * Words of its command line by which a kernel does not leave alone devices that come in
 * running, or their IOMMU.
 */
#define KHO_IMAGE_INTEL_IOMMU_OFF	BIT(0)
#define KHO_IMAGE_IOMMU_OFF		BIT(1)
#define KHO_IMAGE_PCI_ASSIGN_BUSSES	BIT(2)
#define KHO_IMAGE_PCI_REALLOC		BIT(3)

/**
 * struct kho_image - what a kernel says of itself
 * @has_record: there is a record in it, sound or not
 * @kho_on: it will come up with kho=on, or that is not known
 * @liveupdate_on: it will come up with liveupdate=on, or that is not known
 * @stops_devices: KHO_IMAGE_*: what there is on its command line of such words
 * @nr_formats: number of formats that it says it reads; 0 if the record is not
 *	sound or of a version that is not known here
 * @formats: these formats
 */
struct kho_image {
	bool has_record;
	bool kho_on;
	bool liveupdate_on;
	unsigned long stops_devices;
	unsigned int nr_formats;
	struct kho_image_format formats[] __counted_by(nr_formats);
};

int kho_image_read(struct kimage *image);

#endif /* _LINUX_KHO_IMAGE_H */
