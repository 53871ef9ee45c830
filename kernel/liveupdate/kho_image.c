// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver: what the next kernel says of itself before it is started.
 */

/**
 * DOC: What the next kernel says of itself
 *
 * An image has a record of the formats that its kernel reads and of its defaults
 * (see linux/kho/abi/image.h). The architecture finds it in the file, here it is
 * checked, joined with the command line that the kernel will get, and kept with
 * the image as &struct kho_image. What follows from it is for others to say:
 * luo_image.c refuses an image that cannot take the sessions there are.
 *
 * The file may be anything. A record that is not sound, or that has a version from
 * the future, promises nothing.
 *
 * Locks: none. An image belongs to whoever holds the kexec lock.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/cleanup.h>
#include <linux/kexec.h>
#include <linux/kho_image.h>
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "kho_internal.h"

/* Far more than there are. */
#define KHO_RECORD_MAX_FORMATS	512

static bool kho_record_is_string(const char *s, size_t size)
{
	return s[0] && strnlen(s, size) < size;
}

static const struct kho_image_format *kho_record_format(const struct kho_image_header *hdr,
							unsigned int nr)
{
	return (const void *)hdr + hdr->header_size + nr * hdr->format_size;
}

static const char *kho_record_cmdline(const struct kho_image_header *hdr)
{
	return hdr->cmdline_size ? (const char *)kho_record_format(hdr, hdr->nr_formats) : "";
}

/**
 * kho_record_fault - what is wrong with a record?
 * @record: the record, anything
 * @size: number of bytes that it can have, and which may be read
 *
 * Context: any.
 * Return: NULL if it is sound and all that it says lies in it, else in a few words
 * why it is of no use.
 */
const char *kho_record_fault(const void *record, size_t size)
{
	const struct kho_image_header *hdr = record;
	size_t need;

	if (size < offsetofend(struct kho_image_header, version))
		return "it is too short";
	if (hdr->version != KHO_IMAGE_VERSION)
		return "its version is not known here";
	if (size < sizeof(*hdr) || hdr->size > size)
		return "it is too short";
	if (hdr->header_size < sizeof(*hdr) ||
	    hdr->format_size < sizeof(struct kho_image_format))
		return "a size in it is wrong";
	if (hdr->nr_formats > KHO_RECORD_MAX_FORMATS)
		return "it has too many formats";

	/* Products of 16 bits each: no overflow. */
	need = hdr->header_size + (size_t)hdr->nr_formats * hdr->format_size;
	if (need + hdr->cmdline_size > hdr->size)
		return "it is too short";

	for (unsigned int i = 0; i < hdr->nr_formats; i++)
		if (!kho_record_is_string(kho_record_format(hdr, i)->name,
					  KHO_IMAGE_NAME_LENGTH))
			return "a name in it has no end";
	if (hdr->cmdline_size && strnlen(kho_record_cmdline(hdr), hdr->cmdline_size) !=
				 hdr->cmdline_size - 1U)
		return "its command line has no end";
	return NULL;
}

struct kho_image_word {
	const char *param;
	const char *option;
	unsigned long flag;
	bool set;
};

/* As those parse them who own these parameters; the last one counts. */
static const struct kho_image_word kho_image_words[] = {
	{ "intel_iommu", "off", KHO_IMAGE_INTEL_IOMMU_OFF, true },
	{ "intel_iommu", "on", KHO_IMAGE_INTEL_IOMMU_OFF, false },
	{ "iommu", "off", KHO_IMAGE_IOMMU_OFF, true },
	{ "pci", "assign-busses", KHO_IMAGE_PCI_ASSIGN_BUSSES, true },
	{ "pci", "realloc", KHO_IMAGE_PCI_REALLOC, true },
	{ "pci", "realloc=on", KHO_IMAGE_PCI_REALLOC, true },
	{ "pci", "realloc=off", KHO_IMAGE_PCI_REALLOC, false },
};

static void kho_image_apply_option(struct kho_image *img, const char *param, const char *option)
{
	const struct kho_image_word *word = kho_image_words;

	for (; word < kho_image_words + ARRAY_SIZE(kho_image_words); word++) {
		if (!parameq(param, word->param) || strcmp(option, word->option))
			continue;
		img->stops_devices &= ~word->flag;
		if (word->set)
			img->stops_devices |= word->flag;
	}
}

/* The last word counts, as it does when the kernel parses its parameters. */
static int kho_image_apply_cmdline(struct kho_image *img, const char *cmdline)
{
	char *copy __free(kfree) = kstrdup(cmdline, GFP_KERNEL);
	char *args, *param, *val, *option;
	bool on;

	if (!copy)
		return -ENOMEM;

	args = skip_spaces(copy);
	while (*args) {
		args = next_arg(args, &param, &val);
		if (!val && !strcmp(param, "--"))
			break;
		if (!val)
			continue;
		if (parameq(param, "kho") && !kstrtobool(val, &on))
			img->kho_on = on;
		else if (parameq(param, "liveupdate") && !kstrtobool(val, &on))
			img->liveupdate_on = on;
		while ((option = strsep(&val, ",")))
			kho_image_apply_option(img, param, option);
	}
	return 0;
}

static int kho_image_apply_record(struct kho_image *img, const struct kho_image_header *hdr)
{
	for (unsigned int i = 0; i < hdr->nr_formats; i++)
		img->formats[i] = *kho_record_format(hdr, i);
	img->kho_on = hdr->flags & KHO_IMAGE_KHO_ON;
	img->liveupdate_on = hdr->flags & KHO_IMAGE_LIVEUPDATE_ON;
	return kho_image_apply_cmdline(img, kho_record_cmdline(hdr));
}

/**
 * kho_image_parse - what does a kernel say of itself?
 * @kernel: the file
 * @size: its size in bytes
 * @cmdline: the command line that it will get, or NULL
 *
 * Context: may sleep.
 * Return: the answer, for the caller to free by kvfree(), or an ERR_PTR().
 * A file without a record is no error, and neither is one that is damaged: that
 * is logged.
 */
struct kho_image *kho_image_parse(const void *kernel, size_t size, const char *cmdline)
{
	struct kho_image *img __free(kvfree) = NULL;
	const struct kho_image_header *hdr = NULL;
	const char *fault = NULL;
	const void *record;
	size_t record_size;
	bool cmdline_only;
	int ret;

	ret = arch_kho_find_record(kernel, size, &record, &record_size);
	if (!ret)
		fault = kho_record_fault(record, record_size);
	else if (ret != -ENOENT)
		fault = "it cannot be found";
	if (fault)
		pr_err("the record of the image is of no use: %s\n", fault);
	else if (!ret)
		hdr = record;

	img = kvzalloc(struct_size(img, formats, hdr ? hdr->nr_formats : 0), GFP_KERNEL);
	if (!img)
		return ERR_PTR(-ENOMEM);

	img->has_record = ret != -ENOENT;
	img->kho_on = true;
	img->liveupdate_on = true;
	if (hdr) {
		img->nr_formats = hdr->nr_formats;
		ret = kho_image_apply_record(img, hdr);
		if (ret)
			return ERR_PTR(ret);
	}
	cmdline_only = hdr && (hdr->flags & KHO_IMAGE_CMDLINE_ONLY);
	if (cmdline && !cmdline_only) {
		ret = kho_image_apply_cmdline(img, cmdline);
		if (ret)
			return ERR_PTR(ret);
	}
	return_ptr(img);
}

/**
 * kho_image_read - keep with an image what its kernel says of itself
 * @image: an image that kexec_file_load(2) is loading, with kernel and command
 *	line read
 *
 * Context: process context, sleeps, with the kexec lock held.
 * Return: 0, with &kimage.kho set, or ``-ENOMEM``.
 */
int kho_image_read(struct kimage *image)
{
	struct kho_image *img;

	img = kho_image_parse(image->kernel_buf, image->kernel_buf_len, image->cmdline_buf);
	if (IS_ERR(img))
		return PTR_ERR(img);
	image->kho = img;
	return 0;
}

/**
 * kho_image_free - forget what was kept with an image
 * @image: an image of any kind that is being freed
 *
 * Context: process context.
 */
void kho_image_free(struct kimage *image)
{
	kvfree(image->kho);
	image->kho = NULL;
}
