// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: vmalloc areas come through a kexec with what is in them.
 *
 * Files of the test handler have areas of one page to some MiB, of huge pages and of
 * more pages than one page lists. The next kernel finds each word, hands the same areas
 * on, and the kernel after it finds them again. An area that nobody asks for is
 * freed when its session is finished. No allocation that fails on the way does harm.
 *
 * The allocations that fail include some of kmemleak's own, which says so.
 *
 * vm-test: name=kho_vmalloc stages=3 debug-stages=2 mem=1024 needs=test-handler \
 *          append="luo_kmemleak" allow="kmemleak: Cannot allocate a scan area"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_inject.h"
#include "luo_test_handler.h"

#define UNWANTED	100	/* token of the one that nobody asks for */
#define FAILING		200	/* and of those that are retrieved without memory */
#define NR_FAILING	40
#define FAILING_PAGES	3
#define BIG		8192	/* pages */

/* One page lists 511 entries; one entry is a huge page from 512 pages on. */
static const unsigned long sizes[] = { 1, 2, 510, 511, 512, 1300, 3 * 511, BIG };

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

LUO_TEST(stage1, no_such_area)
{
	int lt;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	EXPECT_EQ(-EINVAL, lt_area(lt, 1, 0));
	EXPECT_EQ(-EINVAL, lt_area(lt, 1, 1UL << 40));
}

LUO_TEST(stage1, taken_back)
{
	int lt = lt_open(), f = lt_area(lt, 1, BIG), s;
	long long before;

	ASSERT_LE(0, f);
	before = luo_free_kb();
	for (int i = 0; i < 20; i++) {
		s = luo_create_session(self->dev, "back");
		ASSERT_LE(0, s);
		ASSERT_EQ(0, luo_preserve_fd(s, f, 1));
		close(s);
	}
	/* One area would be four times that. */
	EXPECT_GT(BIG, before - luo_free_kb());
	close(f);
	EXPECT_LT(before + BIG * 4 - BIG, luo_free_kb());
}

LUO_TEST(stage1, preserve_without_memory)
{
	int lt = lt_open(), f = lt_area(lt, 1, 3 * 511), s;

	if (!luo_debug_kernel())
		return;
	ASSERT_LE(0, f);
	inject_setup();
	for_each_failure(nth) {
		int ret;

		s = luo_create_session(self->dev, "nth");
		ASSERT_LE(0, s);
		inject(nth);
		ret = luo_preserve_fd(s, f, 1);
		inject_count(ret);
		ASSERT_EQ(ret ? -ENOMEM : 0, ret);
		if (ret)
			ASSERT_EQ(0, luo_preserve_fd(s, f, 1));
		close(s);
	}
	/* The record, and pages that list pages */
	EXPECT_LT(2, inject_failures);
}

static void leave(struct __test_metadata *_metadata, int s, int lt, uint64_t token,
		  unsigned long pages)
{
	int f = lt_area(lt, token, pages);

	ASSERT_LE(0, f);
	ASSERT_EQ(0, luo_preserve_fd(s, f, token));
	close(f);
}

LUO_TEST(stage1, leave)
{
	int lt = lt_open(), s = luo_create_session(self->dev, "areas");

	ASSERT_LE(0, lt);
	ASSERT_LE(0, s);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		leave(_metadata, s, lt, i + 1, sizes[i]);
	ASSERT_EQ(0, luo_keep(s));
	s = luo_create_session(self->dev, "unwanted");
	leave(_metadata, s, lt, UNWANTED, BIG);
	ASSERT_EQ(0, luo_keep(s));
	s = luo_create_session(self->dev, "nth");
	for (int i = 0; luo_debug_kernel() && i < NR_FAILING; i++)
		leave(_metadata, s, lt, FAILING + i, FAILING_PAGES);
	ASSERT_EQ(0, luo_keep(s));
}

/* Each comes back, and goes on to the next kernel if there is one. */
static void arrive(struct __test_metadata *_metadata, int dev, bool last)
{
	int s, next = -1, f[ARRAY_SIZE(sizes)];

	ASSERT_EQ(0, lt_load());
	s = luo_retrieve_session(dev, "areas");
	ASSERT_LE(0, s);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		f[i] = luo_retrieve_fd(s, i + 1);
		ASSERT_LE(0, f[i]) {
			TH_LOG("area of %lu pages", sizes[i]);
		}
	}
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	if (!last) {
		next = luo_create_session(dev, "areas");
		ASSERT_LE(0, next);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (!last)
			ASSERT_EQ(0, luo_preserve_fd(next, f[i], i + 1));
		EXPECT_EQ((long long)sizes[i], lt_value(f[i]));
	}
	if (!last)
		ASSERT_EQ(0, luo_keep(next));
}

LUO_TEST(stage2, arrive)
{
	arrive(_metadata, self->dev, luo_cmdline_num("luo_last", 3) == 2);
}

LUO_TEST(stage2, nobody_asks_for_it)
{
	int s = luo_retrieve_session(self->dev, "unwanted");
	long long before = luo_free_kb();

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_LT(before + BIG * 4 - BIG, luo_free_kb());
}

/* What failed for want of memory can be had later. */
LUO_TEST(stage2, retrieve_without_memory)
{
	int s = luo_retrieve_session(self->dev, "nth"), f;

	if (!luo_debug_kernel())
		return;
	ASSERT_LE(0, s);
	inject_setup();
	for_each_failure(nth) {
		ASSERT_GE(NR_FAILING, nth);
		inject(nth);
		f = luo_retrieve_fd(s, FAILING + nth - 1);
		inject_count(f);
		if (f < 0) {
			ASSERT_EQ(-ENOMEM, f);
			f = luo_retrieve_fd(s, FAILING + nth - 1);
		}
		EXPECT_EQ(FAILING_PAGES, lt_value(f));
	}
	EXPECT_LT(2, inject_failures);
	ASSERT_EQ(0, luo_finish(s));
}

LUO_TEST(stage3, arrive)
{
	arrive(_metadata, self->dev, true);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3 };

	return luo_stages_main(&stages);
}
