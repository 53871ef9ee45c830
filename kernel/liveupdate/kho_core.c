// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver: switches and order of initialisation.
 */

/**
 * DOC: Kexec HandOver
 *
 * KHO lets a kernel leave memory, and data that says what is in it, to the kernel
 * it starts by kexec. The parts, in the order in which they matter to a boot:
 *
 *  kho_early.c
 *	finds what the previous kernel left and reads its memory map
 *  kho_hold.c
 *	keeps the allocators off preserved pages until these are restored
 *  kho_scratch.c
 *	the memory set aside to boot in
 *  kho_core.c
 *	switches, and what is set up when
 *  kho_restore.c
 *	gives preserved pages back to their owners
 *  kho_preserve.c, kho_radix.c
 *	the memory map that this kernel leaves to the next
 *  kho_fdt.c
 *	the root FDT with the sub-trees of all producers
 *  kho_kexec.c
 *	places the next kernel in scratch and refuses images that cannot carry state
 *
 * There is no state machine: pages can be preserved and given up at any time from
 * the initcalls on, also when the next kernel is already loaded, and the map is
 * valid at every moment between two calls.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/export.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/printk.h>

#include "kho_internal.h"

static bool kho_enabled __ro_after_init = KHO_ON_BY_DEFAULT; /* off if set-up fails */

static int __init parse_kho(char *p)
{
	return kstrtobool(p, &kho_enabled);
}
early_param("kho", parse_kho);

/**
 * kho_is_enabled - can memory be preserved for the next kernel?
 *
 * Context: any, after the early parameters were parsed.
 * Return: true if KHO was asked for and nothing went wrong with it so far.
 */
bool kho_is_enabled(void)
{
	return kho_enabled;
}
EXPORT_SYMBOL_GPL(kho_is_enabled);

/**
 * is_kho_boot - did a previous kernel hand something over to this one?
 *
 * Context: any, after the early parameters were parsed.
 * Return: true if it did and it may be used.
 */
bool is_kho_boot(void)
{
	return kho_in_root();
}
EXPORT_SYMBOL_GPL(is_kho_boot);

/**
 * kho_memory_init - get memory for scratch while memblock can still give it
 *
 * Context: boot, before memblock hands its memory to the buddy allocator.
 */
void __init kho_memory_init(void)
{
	if (!kho_enabled)
		return;

	if (kho_scratch_reserve()) {
		pr_err("disabled: no scratch\n");
		kho_enabled = false;
	}
}

static int __init kho_init(void)
{
	int ret;

	if (!kho_enabled) {
		if (kho_in_carries_data())
			pr_warn("off, but the previous kernel preserved memory: it stays unused until the next kexec\n");
		return 0;
	}

	ret = kho_holds_everything() ? -ENOMEM : kho_preserve_init();
	if (!ret)
		ret = kho_scratch_init();
	if (!ret)
		ret = kho_fdt_init(kho_out_root_phys());
	if (!ret)
		ret = kho_metadata_init();
	if (!ret)
		ret = kho_reserve_mem_init();
	if (ret) {
		pr_err("disabled: initialisation failed with %d\n", ret);
		kho_enabled = false;
		return ret;
	}

	return 0;
}
core_initcall(kho_init);

/* Built-in producers have preserved their empty state by now. */
static int __init kho_init_late(void)
{
	if (kho_enabled)
		kho_out_mark_baseline();

	return 0;
}
late_initcall_sync(kho_init_late);
