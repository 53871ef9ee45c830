// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec HandOver: frequencies of clocks that are taken over, and those that are not.
 */

#include <kunit/test.h>
#include <linux/string.h>
#include <linux/kho/abi/x86_clocks.h>

#include <asm/cpuid.h>
#include <asm/kexec_handover.h>
#include <asm/tsc.h>

static struct kho_x86_clocks of_this_machine(void)
{
	return (struct kho_x86_clocks) {
		.compatible = KHO_X86_CLOCKS_COMPATIBLE,
		.lapic_timer_hz = 62500000,
		.tsc_khz = tsc_khz,
		.cpu_signature = cpuid_eax(1),
	};
}

static void test_same_machine(struct kunit *test)
{
	struct kho_x86_clocks ser = of_this_machine();

	KUNIT_EXPECT_NULL(test, kho_clocks_doubt(&ser, sizeof(ser)));
	/* A later version may say more. */
	KUNIT_EXPECT_NULL(test, kho_clocks_doubt(&ser, PAGE_SIZE));
	/* The TSC is measured, too, or not known yet. */
	ser.tsc_khz += ser.tsc_khz / 100;
	KUNIT_EXPECT_NULL(test, kho_clocks_doubt(&ser, sizeof(ser)));
	ser.tsc_khz = 0;
	KUNIT_EXPECT_NULL(test, kho_clocks_doubt(&ser, sizeof(ser)));
}

static void test_limits(struct kunit *test)
{
	struct kho_x86_clocks ser = of_this_machine();

	ser.lapic_timer_hz = 1000000;
	KUNIT_EXPECT_NULL(test, kho_clocks_doubt(&ser, sizeof(ser)));
	ser.lapic_timer_hz--;
	KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, sizeof(ser)), "no frequency");
	ser.lapic_timer_hz = 20000000000;
	KUNIT_EXPECT_NULL(test, kho_clocks_doubt(&ser, sizeof(ser)));
	ser.lapic_timer_hz++;
	KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, sizeof(ser)), "no frequency");
}

static void test_refused(struct kunit *test)
{
	struct kho_x86_clocks ser = of_this_machine();

	for (size_t size = 0; size < sizeof(ser); size++)
		KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, size), "too short");

	for (unsigned int i = 0; i < strlen(ser.compatible); i++) {
		ser = of_this_machine();
		ser.compatible[i] ^= 1;
		KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, sizeof(ser)),
				   "of an unknown format");
	}

	ser = of_this_machine();
	ser.cpu_signature++;
	KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, sizeof(ser)), "of another CPU");

	ser = of_this_machine();
	KUNIT_ASSERT_NE(test, tsc_khz, 0);
	ser.tsc_khz = tsc_khz / 100 * 103;
	KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, sizeof(ser)),
			   "of a machine with another TSC");
	ser.tsc_khz = U32_MAX;
	KUNIT_EXPECT_STREQ(test, kho_clocks_doubt(&ser, sizeof(ser)),
			   "of a machine with another TSC");
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_same_machine),
	KUNIT_CASE(test_limits),
	KUNIT_CASE(test_refused),
	{}
};

static struct kunit_suite test_suite = {
	.name = "kho_clocks",
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of the clocks that are taken over");
MODULE_LICENSE("GPL");
