/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Record of what this kernel can take over, a chunk of kernel_info. Assembler; the
 * layout is that of linux/kho/abi/image.h.
 */
#ifdef CONFIG_KEXEC_HANDOVER

#include <linux/kho/abi/formats.h>
#include <linux/kho/abi/image.h>

#define KHO_RECORD_FLAGS					\
	(KHO_IMAGE_KHO_ON * KHO_ON_BY_DEFAULT +			\
	 KHO_IMAGE_LIVEUPDATE_ON * LIVEUPDATE_ON_BY_DEFAULT +	\
	 KHO_IMAGE_CMDLINE_ONLY * IS_ENABLED(CONFIG_CMDLINE_OVERRIDE))

kho_record:
	.ascii	KHO_IMAGE_MAGIC
	.long	kho_record_end - kho_record
	.word	KHO_IMAGE_VERSION
	.word	KHO_RECORD_FLAGS
	.word	KHO_IMAGE_HEADER_SIZE
	.word	KHO_IMAGE_FORMAT_SIZE
	.word	(kho_record_formats_end - kho_record_formats) / KHO_IMAGE_FORMAT_SIZE
	.word	kho_record_cmdline_end - kho_record_formats_end
	.long	0

	/* .org complains of a name that is too long. */
kho_record_formats:
#define KHO_FORMAT(kind, flags, name)		\
	.word	kind, flags;			\
77:	.ascii	name;				\
	.byte	0;				\
	.org	77b + KHO_IMAGE_NAME_LENGTH
#include <linux/kho/abi/formats.h>
kho_record_formats_end:

#ifdef CONFIG_CMDLINE_BOOL
	.asciz	CONFIG_CMDLINE
#endif
kho_record_cmdline_end:
	.balign	4
kho_record_end:

#endif /* CONFIG_KEXEC_HANDOVER */
