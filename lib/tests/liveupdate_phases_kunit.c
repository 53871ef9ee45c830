// SPDX-License-Identifier: GPL-2.0
/*
 * The clock that a live update is measured by: it is believed when it ran on, and
 * what is wrong with it is found out when it did not.
 */

#include <kunit/test.h>
#include <linux/string.h>
#include <linux/time64.h>

#include "../../kernel/liveupdate/luo_internal.h"

#define TEST_KHZ	2500000U
#define TEST_REAL	(1700000000ULL * NSEC_PER_SEC)

/* A live update that took 100 ms per phase, and its clock 700 ms after the jump. */
static struct luo_phase_stamp test_stamps[LUO_NR_PHASES];
static struct luo_phase_stamp test_loaded;

static u64 test_ms(u64 ms)
{
	return ms * TEST_KHZ;
}

static int test_init(struct kunit *test)
{
	memset(test_stamps, 0, sizeof(test_stamps));
	for (unsigned int i = 0; i < LUO_NR_PHASES; i++)
		test_stamps[i].cycles = test_ms(5000 + 100 * i);
	for (unsigned int i = 0; i <= LUO_PHASE_JUMP; i++)
		test_stamps[i].realtime_ns = TEST_REAL + 100 * i * NSEC_PER_MSEC;
	test_loaded = test_stamps[LUO_PHASE_JUMP];
	test_loaded.cycles += test_ms(700);
	test_loaded.realtime_ns += 700 * NSEC_PER_MSEC;
	return 0;
}

static const char *test_fault(void)
{
	return luo_clock_fault(test_stamps, TEST_KHZ, TEST_KHZ);
}

static s64 test_drift(void)
{
	return luo_clock_drift_ms(&test_stamps[LUO_PHASE_JUMP], &test_loaded, TEST_KHZ);
}

static void test_clock_that_ran_on(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, test_fault());

	/* Phases that nobody noted, and one that took no time. */
	test_stamps[LUO_PHASE_DECOMPRESS].cycles = 0;
	test_stamps[LUO_PHASE_KERNEL].cycles = 0;
	test_stamps[LUO_PHASE_END].cycles = test_stamps[LUO_PHASE_RETRIEVE].cycles;
	KUNIT_EXPECT_NULL(test, test_fault());
	test_stamps[LUO_PHASE_END].cycles = 0;
	KUNIT_EXPECT_NULL(test, test_fault());
}

static void test_clock_that_was_set_back(struct kunit *test)
{
	u64 jump = test_stamps[LUO_PHASE_JUMP].cycles;

	/* Between the kernels, whoever notes it first. */
	for (unsigned int i = LUO_PHASE_DECOMPRESS; i < LUO_NR_PHASES; i++) {
		test_init(test);
		for (unsigned int j = i; j < LUO_NR_PHASES; j++)
			test_stamps[j].cycles -= jump;
		KUNIT_EXPECT_STREQ(test, test_fault(), "set back");
	}
	/* By one, in between. */
	test_init(test);
	test_stamps[LUO_PHASE_BOOT].cycles = test_stamps[LUO_PHASE_MAP].cycles - 1;
	KUNIT_EXPECT_STREQ(test, test_fault(), "set back");
	/* Also past a phase that nobody noted. */
	test_init(test);
	test_stamps[LUO_PHASE_DECOMPRESS].cycles = 0;
	test_stamps[LUO_PHASE_KERNEL].cycles = jump - 1;
	KUNIT_EXPECT_STREQ(test, test_fault(), "set back");
}

static void test_clock_and_real_time(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, test_drift(), 0);
	/* It stood still, or real time was set forward. */
	test_loaded.realtime_ns += 3 * NSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, test_drift(), 3000);
	/* It was set forward, or real time fell behind. */
	test_init(test);
	test_loaded.cycles += test_ms(3000);
	KUNIT_EXPECT_EQ(test, test_drift(), -3000);
	/* Real time runs backwards. */
	test_init(test);
	test_loaded.realtime_ns -= 4 * NSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, test_drift(), -4000);
}

static void test_clock_of_unknown_frequency(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, luo_clock_fault(test_stamps, 0, TEST_KHZ),
			   "of unknown frequency");
	KUNIT_EXPECT_STREQ(test, luo_clock_fault(test_stamps, TEST_KHZ, 0),
			   "of unknown frequency");
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_clock_that_ran_on),
	KUNIT_CASE(test_clock_that_was_set_back),
	KUNIT_CASE(test_clock_and_real_time),
	KUNIT_CASE(test_clock_of_unknown_frequency),
	{}
};

static struct kunit_suite test_suite = {
	.name = "liveupdate_phases",
	.init = test_init,
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of the clock of a live update");
MODULE_LICENSE("GPL");
