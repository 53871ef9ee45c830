// SPDX-License-Identifier: GPL-2.0
/*
 * Where a kernel comes from: release of the previous one, number of kexecs.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/err.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/utsname.h>

#include "kho_internal.h"

static u32 __init read_previous(void)
{
	struct kho_metadata *data;
	phys_addr_t phys;
	size_t size;
	u32 count;

	if (kho_retrieve_subtree(KHO_METADATA_NODE, &phys, &size))
		return 0;
	data = phys_to_virt(phys);
	if (size < sizeof(*data) || data->version != KHO_METADATA_VERSION) {
		pr_warn("%s: %zu bytes of version %u not understood\n", KHO_METADATA_NODE, size,
			size < sizeof(u32) ? 0 : data->version);
		return 0;
	}
	count = data->kexec_count;
	pr_info("kexec from %.*s (count %u)\n", KHO_METADATA_RELEASE_LEN, data->previous_release,
		count);
	kho_restore_free(data);

	return count;
}

/**
 * kho_metadata_init - log where this kernel comes from, and tell the next
 *
 * Context: initcall.
 * Return: 0, or a negative errno.
 */
int __init kho_metadata_init(void)
{
	struct kho_metadata *data = kho_alloc_preserve(sizeof(*data));
	int ret;

	if (IS_ERR(data))
		return PTR_ERR(data);

	data->version = KHO_METADATA_VERSION;
	strscpy(data->previous_release, init_utsname()->release, sizeof(data->previous_release));
	data->kexec_count = read_previous() + 1;
	ret = kho_add_subtree(KHO_METADATA_NODE, data, sizeof(*data));
	if (ret)
		kho_unpreserve_free(data);

	return ret;
}
