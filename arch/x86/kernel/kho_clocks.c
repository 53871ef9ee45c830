// SPDX-License-Identifier: GPL-2.0
/*
 * What the previous kernel measured of the clocks is not measured again.
 */

/**
 * DOC: clocks
 *
 * Where no register tells the frequency of the local APIC timer and it has no TSC
 * deadline mode, a kernel finds it by watching another clock, for 0.1 s, or twice that
 * if there is no ACPI PM timer. After a live update all VMs would wait for that. So
 * each kernel announces what it found (linux/kho/abi/x86_clocks.h), and the next one
 * puts it where a hypervisor or a board would put what it knows for sure.
 *
 * Locking: none; all of it runs on the boot CPU during boot.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/err.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kexec_handover.h>
#include <linux/math64.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/kho/abi/x86_clocks.h>

#include <asm/apic.h>
#include <asm/cpuid.h>
#include <asm/kexec_handover.h>
#include <asm/tsc.h>

/* Nothing outside of it is an APIC timer. */
#define LAPIC_TIMER_HZ_MIN	1000000ULL
#define LAPIC_TIMER_HZ_MAX	20000000000ULL

/* The timer of the boot CPU ticks, by a frequency that was measured or handed over. */
static bool lapic_timer_runs __initdata;

/**
 * kho_clocks_doubt - why frequencies that were handed over are not to be used
 * @ser: the record, in memory that may be read
 * @size: bytes of it that are there
 *
 * Return: the reason, for the log, or NULL if they fit this machine.
 */
const char *kho_clocks_doubt(const struct kho_x86_clocks *ser, size_t size)
{
	if (size < sizeof(*ser))
		return "too short";
	if (strncmp(ser->compatible, KHO_X86_CLOCKS_COMPATIBLE, sizeof(ser->compatible)))
		return "of an unknown format";
	if (ser->cpu_signature != cpuid_eax(1))
		return "of another CPU";
	if (ser->lapic_timer_hz < LAPIC_TIMER_HZ_MIN || ser->lapic_timer_hz > LAPIC_TIMER_HZ_MAX)
		return "no frequency";
	/* A measurement may be off by a percent. */
	if (ser->tsc_khz && tsc_khz && abs_diff(ser->tsc_khz, tsc_khz) > tsc_khz / 50)
		return "of a machine with another TSC";

	return NULL;
}

/**
 * kho_take_over_clocks - use the frequencies that the previous kernel knew
 *
 * Does nothing where this kernel knows better, or was told nothing.
 *
 * Context: boot, after kho_take_over_map() and tsc_early_init(), before
 * setup_boot_APIC_clock().
 */
void __init kho_take_over_clocks(void)
{
	const struct kho_x86_clocks *ser;
	const char *doubt;
	phys_addr_t phys;
	size_t size;

	if (kho_retrieve_subtree(KHO_X86_CLOCKS_SUBTREE, &phys, &size) || lapic_timer_period)
		return;
	ser = phys_to_virt(phys);
	doubt = kho_clocks_doubt(ser, size);
	if (doubt) {
		pr_notice("clocks are measured again: what was handed over is %s\n", doubt);
		return;
	}
	lapic_timer_period = div_u64(ser->lapic_timer_hz, HZ);
	pr_info("local APIC timer runs at %llu Hz, as measured before\n", ser->lapic_timer_hz);
}

/**
 * kho_lapic_timer_runs - the boot CPU's local APIC timer works as it was measured
 *
 * Context: boot, from setup_boot_APIC_clock().
 */
void __init kho_lapic_timer_runs(void)
{
	lapic_timer_runs = true;
}

static int __init kho_clocks_init(void)
{
	struct kho_x86_clocks *ser;
	phys_addr_t phys;
	int ret;

	if (!kho_is_enabled())
		return 0;
	if (!kho_retrieve_subtree(KHO_X86_CLOCKS_SUBTREE, &phys, NULL) &&
	    kho_incoming_order(phys) >= 0)
		kho_restore_free(phys_to_virt(phys));
	if (!lapic_timer_runs || !lapic_timer_period)
		return 0;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	strscpy_pad(ser->compatible, KHO_X86_CLOCKS_COMPATIBLE);
	ser->lapic_timer_hz = (u64)lapic_timer_period * HZ;
	ser->tsc_khz = tsc_khz;
	ser->cpu_signature = cpuid_eax(1);
	ret = kho_add_subtree(KHO_X86_CLOCKS_SUBTREE, ser, sizeof(*ser));
	if (ret)
		kho_unpreserve_free(ser);

	return ret;
}
late_initcall(kho_clocks_init);
