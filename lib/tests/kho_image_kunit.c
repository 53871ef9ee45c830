// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver: what an image says of its kernel, and files that lie.
 */

#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/kho_image.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <asm/bootparam.h>

#include "../../kernel/liveupdate/kho_internal.h"

#define INFO		1111UL		/* where kernel_info is in the file; not aligned */
#define INFO_FIXED	16
#define RECORD		(INFO + INFO_FIXED)
#define FORMATS		3

static struct setup_header *file_header(u8 *file)
{
	return (void *)(file + offsetof(struct boot_params, hdr));
}

/* A record for RECORD; its size in bytes. */
static size_t fill_record(u8 *at, u16 flags, const char *builtin)
{
	static const char * const names[FORMATS] = { "kho-v4", "luo-v5", "memfd-v2" };
	struct kho_image_header hdr = {
		.magic = KHO_IMAGE_MAGIC,
		.version = KHO_IMAGE_VERSION,
		.flags = flags,
		.header_size = sizeof(hdr),
		.format_size = sizeof(struct kho_image_format),
		.nr_formats = FORMATS,
		.cmdline_size = builtin ? strlen(builtin) + 1 : 0,
	};

	hdr.size = sizeof(hdr) + FORMATS * sizeof(struct kho_image_format) + hdr.cmdline_size;
	memcpy(at, &hdr, sizeof(hdr));
	for (unsigned int i = 0; i < FORMATS; i++) {
		struct kho_image_format format = { .kind = i + 1 };

		strscpy(format.name, names[i]);
		memcpy(at + sizeof(hdr) + i * sizeof(format), &format, sizeof(format));
	}
	if (builtin)
		memcpy(at + hdr.size - hdr.cmdline_size, builtin, hdr.cmdline_size);
	return hdr.size;
}

/* A file that is nothing but headers, with @chunks bytes at RECORD to be filled in. */
static u8 *make_file(struct kunit *test, size_t chunks, size_t *size)
{
	struct setup_header *hdr;
	u8 *file;

	*size = RECORD + chunks;
	file = kunit_kzalloc(test, *size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, file);

	hdr = file_header(file);
	memcpy(&hdr->header, "HdrS", 4);
	hdr->version = 0x020f;
	hdr->setup_sects = 1;
	hdr->kernel_info_offset = INFO - 1024;
	memcpy(file + INFO, "LToP", 4);
	put_unaligned_le32(INFO_FIXED, file + INFO + 4);
	put_unaligned_le32(INFO_FIXED + chunks, file + INFO + 8);
	return file;
}

static u8 *make_file_with_record(struct kunit *test, u16 flags, const char *builtin,
				 size_t *size)
{
	u8 buf[512], *file;
	size_t len;

	len = fill_record(buf, flags, builtin);
	file = make_file(test, len, size);
	memcpy(file + RECORD, buf, len);
	return file;
}

static int find(const void *file, size_t size)
{
	size_t record_size;
	const void *record;

	return arch_kho_find_record(file, size, &record, &record_size);
}

/* Are the three formats read from this file? A copy, so that KASAN sees its end. */
static bool reads_all(struct kunit *test, const void *file, size_t size)
{
	void *copy __free(kfree) = kmemdup(file, size, GFP_KERNEL);
	const struct kho_image_header *hdr;
	size_t record_size;

	KUNIT_ASSERT_NOT_NULL(test, copy);
	return !arch_kho_find_record(copy, size, (const void **)&hdr, &record_size) &&
		!kho_record_fault(hdr, record_size) && hdr->nr_formats == FORMATS;
}

static void test_sound_record(struct kunit *test)
{
	struct kho_image *img __free(kvfree) = NULL;
	size_t size;
	u8 *file;

	file = make_file_with_record(test, 0, NULL, &size);
	img = kho_image_parse(file, size, "kho=on");
	KUNIT_ASSERT_FALSE(test, IS_ERR(img));
	KUNIT_EXPECT_TRUE(test, img->has_record);
	KUNIT_EXPECT_TRUE(test, img->kho_on);
	KUNIT_EXPECT_FALSE(test, img->liveupdate_on);
	KUNIT_ASSERT_EQ(test, img->nr_formats, FORMATS);
	KUNIT_EXPECT_EQ(test, img->formats[2].kind, KHO_FORMAT_HANDLER);
	KUNIT_EXPECT_STREQ(test, img->formats[2].name, "memfd-v2");
}

static void test_longer_header_and_formats(struct kunit *test)
{
	struct kho_image *img __free(kvfree) = NULL;
	struct kho_image_header hdr;
	u8 buf[512], *file, *to;
	size_t size;

	fill_record(buf, 0, NULL);
	memcpy(&hdr, buf, sizeof(hdr));
	hdr.header_size += 5;
	hdr.format_size += 3;
	hdr.size = hdr.header_size + FORMATS * hdr.format_size;
	file = make_file(test, hdr.size, &size);
	memset(file + RECORD, 0xa5, hdr.size);
	memcpy(file + RECORD, &hdr, sizeof(hdr));
	to = file + RECORD + hdr.header_size;
	for (unsigned int i = 0; i < FORMATS; i++, to += hdr.format_size)
		memcpy(to, buf + sizeof(hdr) + i * sizeof(struct kho_image_format),
		       sizeof(struct kho_image_format));

	img = kho_image_parse(file, size, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(img));
	KUNIT_ASSERT_EQ(test, img->nr_formats, FORMATS);
	KUNIT_EXPECT_STREQ(test, img->formats[0].name, "kho-v4");
	KUNIT_EXPECT_STREQ(test, img->formats[2].name, "memfd-v2");
}

static void test_other_chunks_are_skipped(struct kunit *test)
{
	size_t size, len;
	u8 buf[512], *file;

	len = fill_record(buf, 0, NULL);
	file = make_file(test, 13 + len + 8, &size);
	memcpy(file + RECORD, "XXXX", 4);
	put_unaligned_le32(13, file + RECORD + 4);
	memcpy(file + RECORD + 13, buf, len);
	memcpy(file + RECORD + 13 + len, "YYYY", 4);
	put_unaligned_le32(8, file + RECORD + 13 + len + 4);
	KUNIT_EXPECT_TRUE(test, reads_all(test, file, size));

	/* A chunk that takes in all the rest, none, or too much. */
	put_unaligned_le32(13 + len + 8, file + RECORD + 4);
	KUNIT_EXPECT_EQ(test, find(file, size), -ENOENT);
	put_unaligned_le32(0, file + RECORD + 4);
	KUNIT_EXPECT_EQ(test, find(file, size), -EINVAL);
	put_unaligned_le32(U32_MAX, file + RECORD + 4);
	KUNIT_EXPECT_EQ(test, find(file, size), -EINVAL);
}

static void test_no_record(struct kunit *test)
{
	struct kho_image *img __free(kvfree) = NULL;
	size_t size;
	u8 *file;

	KUNIT_EXPECT_EQ(test, find("", 0), -ENOENT);
	file = make_file(test, 0, &size);
	KUNIT_EXPECT_EQ(test, find(file, size), -ENOENT);

	/* As mainline: nothing is known of its defaults. */
	img = kho_image_parse(file, size, "console=ttyS0");
	KUNIT_ASSERT_FALSE(test, IS_ERR(img));
	KUNIT_EXPECT_FALSE(test, img->has_record);
	KUNIT_EXPECT_TRUE(test, img->kho_on);
	KUNIT_EXPECT_TRUE(test, img->liveupdate_on);

	file_header(file)->version = 0x020e;
	file_header(file)->kernel_info_offset = U32_MAX;
	KUNIT_EXPECT_EQ(test, find(file, size), -ENOENT);
	file_header(file)->version = 0x020f;
	KUNIT_EXPECT_EQ(test, find(file, size), -EINVAL);
}

static void test_truncated_at_every_byte(struct kunit *test)
{
	size_t size;
	u8 *file;

	file = make_file_with_record(test, 0, "quiet", &size);
	KUNIT_EXPECT_TRUE(test, reads_all(test, file, size));
	for (size_t len = 0; len < size; len++)
		KUNIT_EXPECT_FALSE(test, reads_all(test, file, len));

	/* The file has its length, the record says less. */
	for (u32 len = 0; len < size - RECORD; len++) {
		put_unaligned_le32(len, file + RECORD + 4);
		put_unaligned_le32(INFO_FIXED + len, file + INFO + 8);
		KUNIT_EXPECT_FALSE(test, reads_all(test, file, size));
	}
}

/* What matters is that KASAN has nothing to say. */
static void test_every_byte_damaged(struct kunit *test)
{
	static const u8 values[] = { 0, 1, 0x7f, 0x80, 0xff };
	size_t size;
	u8 *file;

	file = make_file_with_record(test, 0, "quiet", &size);
	for (size_t at = offsetof(struct boot_params, hdr); at < size; at++) {
		u8 was = file[at];

		for (unsigned int i = 0; i < ARRAY_SIZE(values); i++) {
			file[at] = values[i];
			reads_all(test, file, size);
		}
		file[at] = was;
	}
	KUNIT_EXPECT_TRUE(test, reads_all(test, file, size));
}

static void test_damaged_record_promises_nothing(struct kunit *test)
{
	static const struct {
		size_t at;
		u16 value;
	} damage[] = {
		{ offsetof(struct kho_image_header, version), KHO_IMAGE_VERSION + 1 },
		{ offsetof(struct kho_image_header, header_size), KHO_IMAGE_HEADER_SIZE - 1 },
		{ offsetof(struct kho_image_header, header_size), U16_MAX },
		{ offsetof(struct kho_image_header, format_size), KHO_IMAGE_FORMAT_SIZE - 1 },
		{ offsetof(struct kho_image_header, format_size), U16_MAX },
		{ offsetof(struct kho_image_header, nr_formats), FORMATS + 1 },
		{ offsetof(struct kho_image_header, nr_formats), U16_MAX },
		{ offsetof(struct kho_image_header, cmdline_size), 5 },
		{ offsetof(struct kho_image_header, cmdline_size), U16_MAX },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(damage); i++) {
		struct kho_image *img __free(kvfree) = NULL;
		size_t size;
		u8 *file;

		file = make_file_with_record(test, KHO_IMAGE_KHO_ON, "quiet", &size);
		put_unaligned_le16(damage[i].value, file + RECORD + damage[i].at);
		img = kho_image_parse(file, size, NULL);
		KUNIT_ASSERT_FALSE(test, IS_ERR(img));
		KUNIT_EXPECT_TRUE_MSG(test, img->has_record && !img->nr_formats, "damage %u", i);
	}
}

static void test_names_have_an_end(struct kunit *test)
{
	size_t size, name = RECORD + sizeof(struct kho_image_header) +
			    offsetof(struct kho_image_format, name);
	u8 *file;

	file = make_file_with_record(test, 0, NULL, &size);
	memset(file + name, 'x', KHO_IMAGE_NAME_LENGTH);
	KUNIT_EXPECT_FALSE(test, reads_all(test, file, size));
	file[name + KHO_IMAGE_NAME_LENGTH - 1] = 0;
	KUNIT_EXPECT_TRUE(test, reads_all(test, file, size));
	file[name] = 0;
	KUNIT_EXPECT_FALSE(test, reads_all(test, file, size));
}

static void test_command_line(struct kunit *test)
{
	static const struct {
		u16 flags;
		const char *builtin, *cmdline;
		bool kho, liveupdate;
	} cases[] = {
		{ 0, NULL, NULL, false, false },
		{ KHO_IMAGE_KHO_ON | KHO_IMAGE_LIVEUPDATE_ON, NULL, NULL, true, true },
		{ KHO_IMAGE_KHO_ON, NULL, "kho=0", false, false },
		{ 0, NULL, "kho=on liveupdate=on", true, true },
		{ 0, NULL, "kho=on liveupdate=1 kho=off", false, true },
		{ 0, NULL, " quiet  kho=\"on\"\tliveupdate=y ", true, true },
		{ 0, NULL, "kho liveupdate", false, false },
		{ 0, NULL, "kho=perhaps xkho=on kho_scratch=on nokho=1", false, false },
		{ 0, NULL, "kho=on -- liveupdate=on kho=off", true, false },
		{ 0, "kho=on", "liveupdate=on", true, true },
		{ 0, "kho=on liveupdate=on", "kho=off", false, true },
		{ KHO_IMAGE_CMDLINE_ONLY, "kho=on", "kho=off liveupdate=on", true, false },
		{ 0, "", "kho=on", true, false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kho_image *img __free(kvfree) = NULL;
		size_t size;
		u8 *file;

		file = make_file_with_record(test, cases[i].flags, cases[i].builtin, &size);
		img = kho_image_parse(file, size, cases[i].cmdline);
		KUNIT_ASSERT_FALSE(test, IS_ERR(img));
		KUNIT_EXPECT_EQ(test, img->nr_formats, FORMATS);
		KUNIT_EXPECT_EQ_MSG(test, img->kho_on, cases[i].kho, "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, img->liveupdate_on, cases[i].liveupdate, "case %u", i);
	}
}

static void test_words_that_stop_devices(struct kunit *test)
{
	static const struct {
		const char *cmdline;
		unsigned long flags;
	} cases[] = {
		{ "kho=on", 0 },
		{ "intel_iommu=off", KHO_IMAGE_INTEL_IOMMU_OFF },
		{ "intel_iommu=sm_on,off", KHO_IMAGE_INTEL_IOMMU_OFF },
		{ "intel_iommu=off intel_iommu=on", 0 },
		{ "intel_iommu=on,off", KHO_IMAGE_INTEL_IOMMU_OFF },
		{ "intel_iommu=igfx_off", 0 },
		{ "iommu=pt", 0 },
		{ "iommu=pt,off", KHO_IMAGE_IOMMU_OFF },
		{ "pci=noaer,assign-busses", KHO_IMAGE_PCI_ASSIGN_BUSSES },
		{ "pci=realloc", KHO_IMAGE_PCI_REALLOC },
		{ "pci=realloc=on,noaer", KHO_IMAGE_PCI_REALLOC },
		{ "pci=realloc pci=realloc=off", 0 },
		{ "intel_iommu iommu= pci=,", 0 },
		{ "-- intel_iommu=off", 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kho_image *img __free(kvfree) = NULL;
		size_t size;
		u8 *file;

		file = make_file_with_record(test, 0, NULL, &size);
		img = kho_image_parse(file, size, cases[i].cmdline);
		KUNIT_ASSERT_FALSE(test, IS_ERR(img));
		KUNIT_EXPECT_EQ_MSG(test, img->stops_devices, cases[i].flags, "case %u", i);
	}
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_sound_record),
	KUNIT_CASE(test_longer_header_and_formats),
	KUNIT_CASE(test_other_chunks_are_skipped),
	KUNIT_CASE(test_no_record),
	KUNIT_CASE(test_truncated_at_every_byte),
	KUNIT_CASE(test_every_byte_damaged),
	KUNIT_CASE(test_damaged_record_promises_nothing),
	KUNIT_CASE(test_names_have_an_end),
	KUNIT_CASE(test_command_line),
	KUNIT_CASE(test_words_that_stop_devices),
	{}
};

static struct kunit_suite test_suite = {
	.name = "kho_image",
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of the record in an image");
MODULE_LICENSE("GPL");
