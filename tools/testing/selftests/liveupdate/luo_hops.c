// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: five live updates in a row lose nothing and keep nothing.
 *
 * Sessions travel on and on: one file of each is never touched again, one is
 * rewritten by every kernel. Each kernel adds a session and lets one go. The
 * memory that a kernel has for itself is the same after every hop. So is the frequency of
 * the local APIC timer, which only the first one measures, and the one after a kernel
 * that does without that timer.
 *
 * vm-test: name=hops stages=6 debug-stages=3 mem=1024 timeout=120
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "luo_stages.h"

#define SESSIONS	10
#define STAGES		6
#define OLD		1	/* tokens */
#define NEW		2
#define OLD_PAGES	500
#define NEW_PAGES	64
#define NO_TIMER	4	/* the stage whose kernel has no local APIC timer */

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);
LUO_STAGE(stage4);
LUO_STAGE(stage5);
LUO_STAGE(stage6);

/* Session number nr lives from stage first(nr) to stage last(nr), both included. */
static int first(int nr)
{
	return nr < SESSIONS ? 1 : nr - SESSIONS + 2;
}

static int last(int nr)
{
	return nr > 0 && nr < STAGES - 1 ? nr + 1 : STAGES;
}

#define for_each_session(nr) for (int nr = 0; nr < SESSIONS + STAGES - 1; nr++)

static void session_name(int nr, char *name)
{
	snprintf(name, LIVEUPDATE_SESSION_NAME_LENGTH, "hops-%d", nr);
}

static void leave(struct __test_metadata *_metadata, int dev, int stage)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];

	for_each_session(nr) {
		int s, m;

		if (first(nr) != stage)
			continue;
		session_name(nr, name);
		s = luo_create_session(dev, name);
		ASSERT_LE(0, s);
		m = luo_memfd_filled("old", 0, OLD_PAGES, 1000 + nr);
		ASSERT_EQ(0, luo_preserve_fd(s, m, OLD));
		close(m);
		m = luo_memfd_filled("new", 0, NEW_PAGES, stage * 100 + nr);
		ASSERT_EQ(0, luo_preserve_fd(s, m, NEW));
		close(m);
		ASSERT_EQ(0, luo_keep(s));
		close(s);
	}
}

static void arrive(struct __test_metadata *_metadata, int dev, int stage)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];

	for_each_session(nr) {
		int s, old, new;

		session_name(nr, name);
		s = luo_retrieve_session(dev, name);
		if (first(nr) >= stage || last(nr) < stage) {
			ASSERT_EQ(-ENOENT, s);
			continue;
		}
		ASSERT_LE(0, s);
		old = luo_retrieve_fd(s, OLD);
		new = luo_retrieve_fd(s, NEW);
		ASSERT_LE(0, old);
		ASSERT_LE(0, new);
		ASSERT_EQ(LUO_OK, luo_verify_fd(old, 0, OLD_PAGES, 1000 + nr));
		ASSERT_EQ(LUO_OK, luo_verify_fd(new, 0, NEW_PAGES, (stage - 1) * 100 + nr));
		ASSERT_EQ(0, luo_finish(s));
		if (last(nr) > stage) {
			/* In the other order than last time. */
			if (stage & 1)
				ASSERT_EQ(0, luo_preserve_fd(s, old, OLD));
			ASSERT_EQ(0, luo_preserve_fd(s, new, NEW));
			if (!(stage & 1))
				ASSERT_EQ(0, luo_preserve_fd(s, old, OLD));
			ASSERT_EQ(0, luo_fill_fd(new, 0, NEW_PAGES, stage * 100 + nr));
			ASSERT_EQ(0, luo_keep(s));
		}
		close(old);
		close(new);
		close(s);
	}
}

static void same_memory(struct __test_metadata *_metadata)
{
	long long total = luo_meminfo_kb("MemTotal"), cma = luo_meminfo_kb("CmaTotal");
	long long was_total = luo_cmdline_num("luox_total", 0);
	long long was_cma = luo_cmdline_num("luox_cma", 0);

	/* A few pages differ with where the kernel was put. */
	EXPECT_GT(4096, llabs(total - was_total)) {
		TH_LOG("MemTotal was %lld KiB, is %lld", was_total, total);
	}
	EXPECT_EQ(was_cma, cma);
}

/* Also what the CPUs have at hand, which MemAvailable leaves out. */
static long long available(void)
{
	return luo_meminfo_kb("MemAvailable") + luo_meminfo_kb("Shmem") + luo_free_kb() -
	       luo_meminfo_kb("MemFree");
}

static void same_free(struct __test_metadata *_metadata, int stage)
{
	long long was = luo_cmdline_num("luox_avail", 0), avail = available();

	luo_note("stage %d: MemTotal %lld MemAvailable+Shmem %lld CmaTotal %lld KiB", stage,
		 luo_meminfo_kb("MemTotal"), avail, luo_meminfo_kb("CmaTotal"));
	if (stage > 2) {
		EXPECT_GT(12 * 1024, was - avail) {
			TH_LOG("MemAvailable was %lld KiB, is %lld", was, avail);
		}
	}
}

/* How the clock event device of CPU 0 counts, 0 if that is no plain APIC timer. */
static long long lapic_mult(void)
{
	static char text[1 << 16];
	const char *at;

	if (luo_read_file("/proc/timer_list", text, sizeof(text)) <= 0)
		return -1;
	at = strstr(text, "Clock Event Device: lapic\n");
	at = at ? strstr(at, " mult:") : NULL;
	return at ? atoll(at + 6) : 0;
}

static void same_clock(struct __test_metadata *_metadata, int stage)
{
	long long mult = lapic_mult();

	EXPECT_LE(0, mult);
	EXPECT_EQ(0, luo_klog_has("clocks are measured again"));
	if (stage == NO_TIMER) {
		EXPECT_EQ(0, mult);
	} else if (stage == NO_TIMER + 1) {
		/* Nobody has seen it work since. */
		EXPECT_EQ(0, luo_klog_has("kho: local APIC timer runs at "));
	} else {
		EXPECT_EQ(luo_cmdline_num("luox_lapic", 0), mult);
		EXPECT_EQ(!!mult, luo_klog_has("kho: local APIC timer runs at "));
	}
}

#define HOP(n)								\
	LUO_TEST(stage##n, arrive) { arrive(_metadata, self->dev, n); }	\
	LUO_TEST(stage##n, memory_as_before)				\
	{								\
		same_memory(_metadata);					\
		same_free(_metadata, n);				\
	}								\
	LUO_TEST(stage##n, clock_as_before) { same_clock(_metadata, n); }	\
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

LUO_TEST(stage1, leave) { leave(_metadata, self->dev, 1); }
HOP(2)
HOP(3)
HOP(4)
HOP(5)
HOP(6)

static int next(int stage)
{
	char extra[256];

	snprintf(extra, sizeof(extra),
		 "luox_total=%lld luox_cma=%lld luox_avail=%lld luox_lapic=%lld%s",
		 luo_meminfo_kb("MemTotal"), luo_meminfo_kb("CmaTotal"), available(), lapic_mult(),
		 stage + 1 == NO_TIMER ? " nolapic_timer" :
		 stage == NO_TIMER ? " -nolapic_timer" : "");
	return luo_kexec_next(NULL, extra);
}

int main(void)
{
	static const struct luo_stages stages = { .last = STAGES, .next = next };

	return luo_stages_main(&stages);
}
