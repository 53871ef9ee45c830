// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: where the time of a live update goes.
 */

/**
 * DOC: LUO phases
 *
 * A live update is measured by time stamps of a counter that runs on across the
 * kexec, on x86 the TSC: include/linux/kho/abi/luo_phases.h. The kernel that is left
 * makes its stamps in a preserved page, the decompressor of the next one adds two,
 * and the next kernel makes the others in memory of its own, from before it has an
 * allocator to the last FINISH. Then it writes one block to the log with how long
 * each phase took. debugfs has the same at any time, ``liveupdate/phases``. A phase whose
 * beginning nobody has noted is part of the one before it: the phases always add up to
 * the whole.
 *
 * Is the counter to be believed? Stamps that run backwards mean that it was set back
 * on the way, as some machines do, and a counter of unknown frequency tells nothing.
 * Then the log says so instead of figures that are not true.
 *
 * Real time is compared as well, from the jump to when this kernel has a clock. But
 * that is set from a chip that knows seconds only, and a kernel that misses ticks
 * before it has a better clock falls behind. So a difference proves nothing: it
 * is in debugfs (``drift_ms``), and in the log if it is above %LUO_PHASES_SLACK_MS.
 *
 * If one of the kernels has marked its counter as unstable, that is said besides the
 * figures: they can be off by what the counters of the CPUs differ.
 *
 * Locks: none. Each stamp has one writer: reboot() has luo_freeze_lock for writing; boot
 * has one CPU; the first retrieve and the last finish are made by cmpxchg() and by
 * the holder of a lock of a session, where the last one stays.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/err.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/math64.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/timex.h>

#include "luo_internal.h"
#include "kho_phases.h"

/* Two times the second that a real-time clock may be off. */
#define LUO_PHASES_SLACK_MS	(2 * MSEC_PER_SEC)

static const char * const luo_phase_names[LUO_NR_PHASES] = {
	[LUO_PHASE_FREEZE] = "freeze",
	[LUO_PHASE_SHUTDOWN] = "shutdown",
	[LUO_PHASE_JUMP] = "jump",
	[LUO_PHASE_DECOMPRESS] = "decompress",
	[LUO_PHASE_KERNEL] = "early_boot",
	[LUO_PHASE_MAP] = "map",
	[LUO_PHASE_BOOT] = "boot",
	[LUO_PHASE_INIT] = "userspace",
	[LUO_PHASE_RETRIEVE] = "retrieve",
	[LUO_PHASE_END] = "end",
};

/* For the next kernel; NULL if there is no room for it, which stops nobody. */
static struct luo_phases_ser *luo_phases_out;

/* Of the live update that brought this kernel. */
static struct luo_phase_stamp luo_phases_in[LUO_NR_PHASES];
static u32 luo_phases_khz __ro_after_init;	/* of the previous kernel */
static bool luo_phases_unstable __ro_after_init;
static bool luo_phases_valid __ro_after_init;
static bool luo_phases_logged;
static struct luo_phase_stamp luo_phases_loaded __ro_after_init;

static_assert(LUO_NR_PHASES * sizeof(struct luo_phase_stamp) <=
	      sizeof_field(struct luo_phases_ser, stamps));

static void luo_phases_log(void);

static struct luo_phase_stamp luo_phase_now(void)
{
	return (struct luo_phase_stamp) {
		.cycles = get_cycles(),
		.realtime_ns = ktime_get_real_fast_ns(),
	};
}

/**
 * luo_phase_leave - a phase begins in the kernel that is left
 * @phase: the phase; %LUO_PHASE_FREEZE begins a new live update
 *
 * Context: any, one caller at a time.
 */
void luo_phase_leave(enum luo_phase phase)
{
	struct luo_phases_ser *ser = luo_phases_out;

	if (!ser)
		return;
	if (phase == LUO_PHASE_FREEZE) {
		memset(ser->stamps, 0, sizeof(ser->stamps));
		ser->khz = arch_luo_clock_khz();
		ser->flags = arch_luo_clock_unstable() ? LUO_PHASES_UNSTABLE : 0;
	}
	ser->stamps[phase] = luo_phase_now();
}

/**
 * liveupdate_jump - the next instruction of note is one of the next kernel
 *
 * Context: called by kernel_kexec() when everything is shut down.
 */
void liveupdate_jump(void)
{
	luo_phase_leave(LUO_PHASE_JUMP);
}

/**
 * luo_phase_boot - a phase begins in the kernel that starts
 * @phase: the phase
 *
 * Context: boot, one CPU; there may be no clock yet.
 */
void __init luo_phase_boot(enum luo_phase phase)
{
	luo_phases_in[phase].cycles = get_cycles();
}

/**
 * liveupdate_init_started - the boot is over
 *
 * Context: called once, before init is started.
 */
void liveupdate_init_started(void)
{
	luo_phases_in[LUO_PHASE_INIT] = luo_phase_now();
	if (luo_phases_valid && !luo_incoming.count && !xchg(&luo_phases_logged, true))
		luo_phases_log();
}

/**
 * luo_phase_retrieve - a file is about to be retrieved
 *
 * Context: any.
 */
void luo_phase_retrieve(void)
{
	if (!luo_phases_valid || READ_ONCE(luo_phases_in[LUO_PHASE_RETRIEVE].cycles))
		return;
	/* What was finished before that was nothing to wait for. */
	if (!cmpxchg64(&luo_phases_in[LUO_PHASE_RETRIEVE].cycles, 0, get_cycles()))
		WRITE_ONCE(luo_phases_in[LUO_PHASE_END].cycles, 0);
}

/**
 * luo_phase_finish - a session was finished
 * @last: no incoming session is left
 *
 * Context: process context.
 */
void luo_phase_finish(bool last)
{
	if (!luo_phases_valid)
		return;
	luo_phases_in[LUO_PHASE_END] = luo_phase_now();
	if (last && !xchg(&luo_phases_logged, true))
		luo_phases_log();
}

static u64 luo_cycles_to_ns(u64 cycles, u32 khz)
{
	return mul_u64_u32_div(cycles, NSEC_PER_MSEC, khz);
}

static u64 luo_phase_ns(u64 cycles)
{
	return luo_cycles_to_ns(cycles, arch_luo_clock_khz());
}

/**
 * luo_clock_fault - is the counter to be believed?
 * @stamps: the phases, by &enum luo_phase
 * @khz_before: frequency of the counter, as the previous kernel knew it
 * @khz: the same, as this kernel does
 *
 * Return: what is wrong with it, or NULL.
 */
const char *luo_clock_fault(const struct luo_phase_stamp *stamps, u32 khz_before, u32 khz)
{
	u64 last = 0, cycles;

	if (!khz_before || !khz)
		return "of unknown frequency";
	for (unsigned int i = 0; i < LUO_NR_PHASES; i++) {
		cycles = READ_ONCE(stamps[i].cycles);
		if (cycles && cycles < last)
			return "set back";
		last = cycles ?: last;
	}
	return NULL;
}

/**
 * luo_clock_drift_ms - how much more time has passed by real time than by the counter?
 * @jump: stamp of the previous kernel
 * @loaded: stamp of this kernel
 * @khz: frequency of the counter
 *
 * Return: ms, negative if it is less.
 */
s64 luo_clock_drift_ms(const struct luo_phase_stamp *jump,
		       const struct luo_phase_stamp *loaded, u32 khz)
{
	s64 drift = loaded->realtime_ns - jump->realtime_ns -
		    luo_cycles_to_ns(loaded->cycles - jump->cycles, khz);

	return div_s64(drift, NSEC_PER_MSEC);
}

static const char *luo_phases_fault(void)
{
	return luo_clock_fault(luo_phases_in, luo_phases_khz, arch_luo_clock_khz());
}

static s64 luo_phases_drift_ms(void)
{
	return luo_clock_drift_ms(&luo_phases_in[LUO_PHASE_JUMP], &luo_phases_loaded,
				  arch_luo_clock_khz());
}

static bool luo_phases_doubtful(void)
{
	return luo_phases_unstable || arch_luo_clock_unstable();
}

/*
 * The phase after @phase: its beginning in @cycles. Phases that nobody noted are
 * left out. LUO_NR_PHASES if there is none.
 */
static enum luo_phase luo_phase_next(unsigned int phase, u64 *cycles)
{
	while (++phase < LUO_NR_PHASES) {
		*cycles = READ_ONCE(luo_phases_in[phase].cycles);
		if (*cycles)
			break;
	}
	return phase;
}

static void luo_phases_log(void)
{
	const char *fault = luo_phases_fault();
	enum luo_phase phase = LUO_PHASE_FREEZE, next;
	u64 begin, end, first;
	s64 drift;

	if (fault) {
		pr_warn("the phases of the live update are not known: the clock was %s\n", fault);
		return;
	}

	first = luo_phases_in[phase].cycles;
	begin = first;
	pr_info("phases of the live update, in us%s:\n",
		luo_phases_doubtful() ? ", by a clock that is marked unstable" : "");
	while ((next = luo_phase_next(phase, &end)) < LUO_NR_PHASES) {
		pr_info("%12llu %s\n", div_u64(luo_phase_ns(end - begin), NSEC_PER_USEC),
			luo_phase_names[phase]);
		phase = next;
		begin = end;
	}
	pr_info("%12llu all\n", div_u64(luo_phase_ns(begin - first), NSEC_PER_USEC));
	drift = luo_phases_drift_ms();
	if (abs(drift) > LUO_PHASES_SLACK_MS)
		pr_info("by real time the boot took %lld ms more than that\n", drift);
}

/**
 * luo_phases_show - write a line about each phase of the last live update
 * @s: where to
 */
void luo_phases_show(struct seq_file *s)
{
	const char *fault = luo_phases_valid ? luo_phases_fault() : NULL;
	enum luo_phase phase = LUO_PHASE_FREEZE, next;
	u64 begin, end, first;

	if (!luo_phases_valid)
		return;

	seq_printf(s, "clock_khz=%u clock_khz_before=%u unstable=%s fault=%s",
		   arch_luo_clock_khz(), luo_phases_khz, luo_phases_doubtful() ? "yes" : "no",
		   fault ? "yes" : "no");
	if (fault) {
		seq_printf(s, "\n# the clock was %s\n", fault);
		return;
	}
	seq_printf(s, " drift_ms=%lld\n", luo_phases_drift_ms());

	first = luo_phases_in[phase].cycles;
	begin = first;
	while ((next = luo_phase_next(phase, &end)) < LUO_NR_PHASES) {
		seq_printf(s, "phase=%s begin=%llu cycles=%llu ns=%llu\n", luo_phase_names[phase],
			   begin, end - begin, luo_phase_ns(end - begin));
		phase = next;
		begin = end;
	}
	seq_printf(s, "phase=all begin=%llu cycles=%llu ns=%llu\n", first, begin - first,
		   luo_phase_ns(begin - first));
}

/* What the previous kernel left. Without it there are no phases. */
static void __init luo_phases_load(void)
{
	const struct luo_phases_ser *ser;
	phys_addr_t phys;
	size_t size;

	if (kho_retrieve_subtree(LUO_PHASES_SUBTREE, &phys, &size))
		return;
	if (size < sizeof(*ser) || !kho_incoming_range(phys, sizeof(*ser))) {
		pr_err("time stamps of the previous kernel: %zu bytes at %pa ignored\n", size,
		       &phys);
		return;
	}
	ser = phys_to_virt(phys);
	if (strncmp(ser->compatible, LUO_PHASES_COMPATIBLE, sizeof(ser->compatible))) {
		pr_notice("time stamps of the previous kernel are of an unknown format\n");
		return;
	}

	for (unsigned int i = LUO_PHASE_FREEZE; i <= LUO_PHASE_KERNEL; i++)
		luo_phases_in[i] = ser->stamps[i];
	luo_phases_khz = ser->khz;
	luo_phases_unstable = ser->flags & LUO_PHASES_UNSTABLE;
	luo_phases_loaded = luo_phase_now();
	luo_phases_valid = luo_phases_in[LUO_PHASE_FREEZE].cycles &&
			   luo_phases_in[LUO_PHASE_JUMP].cycles;
	if (kho_incoming_order(phys) >= 0)
		kho_restore_free(phys_to_virt(phys));
}

/**
 * luo_phases_init - take over the time stamps, and make room for those to come
 *
 * Without memory for them there is no measurement, and nothing else is amiss.
 */
void __init luo_phases_init(void)
{
	struct luo_phases_ser *ser;

	luo_phases_load();

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return;
	memset(ser, 0, sizeof(*ser));
	strscpy_pad(ser->compatible, LUO_PHASES_COMPATIBLE);
	if (kho_add_subtree(LUO_PHASES_SUBTREE, ser, sizeof(*ser)))
		kho_unpreserve_free(ser);
	else
		luo_phases_out = ser;
}
