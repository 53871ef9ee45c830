// SPDX-License-Identifier: GPL-2.0
/*
 * Records of FLBs as the previous kernel leaves them: whatever is in them, not a
 * byte is read that was not preserved, and what makes no sense is recognised. No
 * KHO is needed: a few ordinary pages stand for what was preserved.
 */

#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "../../kernel/liveupdate/luo_internal.h"

#define TEST_ORDER	2
#define TEST_PAGES	BIT(TEST_ORDER)
#define TEST_CAPACITY	63	/* of a page */

static struct luo_flb_header_ser *test_area;

/* KUnit runs one test after the other. */
static int test_init(struct kunit *test)
{
	test_area = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, TEST_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, test_area);
	test_area->pgcnt = 1;
	return 0;
}

static void test_exit(struct kunit *test)
{
	free_pages((unsigned long)test_area, TEST_ORDER);
}

static u64 test_pa(void)
{
	return virt_to_phys(test_area);
}

static bool test_valid(phys_addr_t pa, size_t size)
{
	u64 from = test_pa(), to = from + TEST_PAGES * PAGE_SIZE;

	return pa >= from && pa < to && size <= to - pa;
}

static const char *test_check(u64 pa)
{
	const struct luo_flb_header_ser *area = NULL;
	const char *fault = luo_flb_area_check(pa, test_valid, &area);

	/* Either there is something to read or there is not. */
	return !fault == (area == test_area) ? fault : "wrong area";
}

static void test_area_of_one_page(struct kunit *test)
{
	test_area->count = 0;
	KUNIT_EXPECT_NULL(test, test_check(test_pa()));
	test_area->count = TEST_CAPACITY;
	KUNIT_EXPECT_NULL(test, test_check(test_pa()));
	test_area->count = TEST_CAPACITY + 1;
	KUNIT_EXPECT_NOT_NULL(test, test_check(test_pa()));
	test_area->count = U64_MAX;
	KUNIT_EXPECT_NOT_NULL(test, test_check(test_pa()));
}

static void test_area_of_more_pages(struct kunit *test)
{
	test_area->pgcnt = TEST_PAGES;
	test_area->count = (TEST_PAGES * PAGE_SIZE - sizeof(*test_area)) /
			   sizeof(struct luo_flb_ser);
	KUNIT_EXPECT_NULL(test, test_check(test_pa()));
	test_area->count++;
	KUNIT_EXPECT_NOT_NULL(test, test_check(test_pa()));
}

static void test_area_that_is_not_all_preserved(struct kunit *test)
{
	static const u64 wrong[] = {
		0, TEST_PAGES + 1, LUO_FLB_MAX_PAGES, LUO_FLB_MAX_PAGES + 1,
		U64_MAX / PAGE_SIZE, U64_MAX / PAGE_SIZE + 1, U64_MAX / PAGE_SIZE + 2,
		U64_MAX - 1, U64_MAX,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		test_area->pgcnt = wrong[i];
		KUNIT_EXPECT_NOT_NULL_MSG(test, test_check(test_pa()), "%llu pages", wrong[i]);
	}
}

static void test_area_elsewhere(struct kunit *test)
{
	u64 wrong[] = {
		1, PAGE_SIZE, test_pa() + 1, test_pa() - PAGE_SIZE,
		test_pa() + TEST_PAGES * PAGE_SIZE, U64_MAX & PAGE_MASK, U64_MAX,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
		KUNIT_EXPECT_NOT_NULL_MSG(test, test_check(wrong[i]), "at %#llx", wrong[i]);
}

static void test_record(struct kunit *test)
{
	struct luo_flb_ser ser = { .name = "pool-v1", .data = 0, .count = 1 };

	KUNIT_EXPECT_NULL(test, luo_flb_ser_check(&ser));
	/* A mainline kernel counts more than files. */
	ser.count = U64_MAX;
	KUNIT_EXPECT_NULL(test, luo_flb_ser_check(&ser));
	ser.count = 0;
	KUNIT_EXPECT_NOT_NULL(test, luo_flb_ser_check(&ser));
	ser.count = 1;
	memset(ser.name, 'x', sizeof(ser.name));
	KUNIT_EXPECT_NOT_NULL(test, luo_flb_ser_check(&ser));
	ser.name[sizeof(ser.name) - 1] = 0;
	KUNIT_EXPECT_NULL(test, luo_flb_ser_check(&ser));
	ser.name[0] = 0;
	KUNIT_EXPECT_NOT_NULL(test, luo_flb_ser_check(&ser));
}

/* What passes the check lies in the area, whatever the header has. */
static void test_random_headers(struct kunit *test)
{
	unsigned int passed = 0;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 3);
	for (unsigned int i = 0; i < 10000; i++) {
		test_area->pgcnt = prandom_u32_state(&rnd) % 8;
		test_area->count = prandom_u32_state(&rnd) % 1024;
		if (i % 4 == 0)
			test_area->count |= (u64)prandom_u32_state(&rnd) << 32;
		if (test_check(test_pa()))
			continue;
		passed++;
		KUNIT_ASSERT_LE(test, sizeof(*test_area) +
				test_area->count * sizeof(struct luo_flb_ser),
				TEST_PAGES * PAGE_SIZE);
	}
	KUNIT_EXPECT_GT(test, passed, 100U);
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_area_of_one_page),
	KUNIT_CASE(test_area_of_more_pages),
	KUNIT_CASE(test_area_that_is_not_all_preserved),
	KUNIT_CASE(test_area_elsewhere),
	KUNIT_CASE(test_record),
	KUNIT_CASE(test_random_headers),
	{}
};

static struct kunit_suite test_suite = {
	.name = "liveupdate_flb",
	.init = test_init,
	.exit = test_exit,
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of the FLB records of live update");
MODULE_LICENSE("GPL");
