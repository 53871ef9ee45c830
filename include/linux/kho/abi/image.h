/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Record in a kernel image that says what that kernel can take over. Usable in
 * assembler and in programs.
 */
#ifndef _LINUX_KHO_ABI_IMAGE_H
#define _LINUX_KHO_ABI_IMAGE_H

/**
 * DOC: Image record
 *
 * Whoever is about to start a kernel by kexec wants to know beforehand whether
 * that kernel can read what is preserved. The image says it in a record that can
 * be found without decompressing anything. All integers are little-endian and
 * not aligned.
 *
 * **Where it is.** On x86, the record is a chunk of the variable part of
 * ``kernel_info`` (see Documentation/arch/x86/boot.rst): the first one whose magic
 * is %KHO_IMAGE_MAGIC. There is at most one.
 *
 * **What it is.** &struct kho_image_header, then @nr_formats times
 * &struct kho_image_format, then the command line that is built into that kernel,
 * if there is one, ended by a NUL. Each is found by the sizes in the header: a
 * later writer may make the header and the formats longer without changing the
 * version. What a reader does not know of a longer one it skips.
 *
 * **Version.** A reader that does not know the version reads nothing else than
 * magic, size and version, and takes the kernel for one that reads nothing.
 *
 * Written when the kernel is built, from the list in
 * ``include/linux/kho/abi/formats.h``. Read by kexec_file_load(2) of the kernel
 * before, and by programs.
 */

#define KHO_IMAGE_MAGIC		"LUOF"
#define KHO_IMAGE_VERSION	1

#define KHO_IMAGE_HEADER_SIZE	24
#define KHO_IMAGE_FORMAT_SIZE	52
#define KHO_IMAGE_NAME_LENGTH	48

/* Flags of the image. */
#define KHO_IMAGE_KHO_ON	0x0001	/* kho=on is the default */
#define KHO_IMAGE_LIVEUPDATE_ON	0x0002	/* liveupdate=on is the default */
#define KHO_IMAGE_CMDLINE_ONLY	0x0004	/* only the built-in command line counts */

/* Kinds of formats. */
#define KHO_FORMAT_KHO		1	/* root FDT of KHO */
#define KHO_FORMAT_LUO		2	/* sessions of LUO */
#define KHO_FORMAT_HANDLER	3	/* data of a file handler */
#define KHO_FORMAT_FLB		4	/* data that files share */

/* Flags of a format. */
#define KHO_FORMAT_MODULE	0x0001	/* read by a module, once it is loaded */

#ifndef __ASSEMBLY__

#ifdef __KERNEL__
#include <linux/build_bug.h>
#else
#include <assert.h>
#endif
#include <linux/types.h>

/**
 * struct kho_image_header - head of the record
 * @magic: %KHO_IMAGE_MAGIC, without a NUL
 * @size: bytes of the record, all of it
 * @version: %KHO_IMAGE_VERSION
 * @flags: KHO_IMAGE_*_ON and %KHO_IMAGE_CMDLINE_ONLY
 * @header_size: bytes from the start of the record to the first format
 * @format_size: bytes from one format to the next
 * @nr_formats: number of formats
 * @cmdline_size: bytes of the built-in command line after the formats, its NUL
 *	included; 0 if there is none
 * @reserved: 0
 */
struct kho_image_header {
	__u8 magic[4];
	__u32 size;
	__u16 version;
	__u16 flags;
	__u16 header_size;
	__u16 format_size;
	__u16 nr_formats;
	__u16 cmdline_size;
	__u32 reserved;
} __packed;
static_assert(sizeof(struct kho_image_header) == KHO_IMAGE_HEADER_SIZE);

/**
 * struct kho_image_format - a format that the kernel in the image reads
 * @kind: KHO_FORMAT_KHO and so on; a reader skips kinds that it does not know
 * @flags: KHO_FORMAT_MODULE
 * @name: its name, ended by a NUL
 */
struct kho_image_format {
	__u16 kind;
	__u16 flags;
	char name[KHO_IMAGE_NAME_LENGTH];
} __packed;
static_assert(sizeof(struct kho_image_format) == KHO_IMAGE_FORMAT_SIZE);

#endif /* __ASSEMBLY__ */

#endif /* _LINUX_KHO_ABI_IMAGE_H */
