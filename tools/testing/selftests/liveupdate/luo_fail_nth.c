// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: every allocation may fail, one at a time, and nothing is half done.
 *
 * Each operation is repeated with its first, second, ... allocation failing
 * until one goes through without a failure. After a failure the operation
 * must have had no effect: the same call succeeds once memory is there again,
 * also reboot() itself, and what was preserved before arrives.
 *
 * vm-test: name=fail_nth stages=2 kernels=debug mem=2048 smp=2 timeout=90 append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define PAGES		40
#define FILES		3
#define MAX_NTH		1000

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static int nth_fd = -1;

static void inject_setup(void)
{
	static const char * const knobs[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", knobs[i][0]);
		if (luo_write_file(path, knobs[i][1]))
			printf("# %s cannot be set\n", path);
	}
}

static void inject(int nth)
{
	char buf[16];
	int n = snprintf(buf, sizeof(buf), "%d", nth);

	if (pwrite(nth_fd, buf, n, 0) != n)
		printf("# fail-nth: %d\n", errno);
}

/* Ends the injection; true if something was made to fail. */
static bool injected(void)
{
	char buf[16] = "";
	ssize_t n = pread(nth_fd, buf, sizeof(buf) - 1, 0);
	int left = n > 0 ? atoi(buf) : 0;

	if (pwrite(nth_fd, "0", 1, 0) != 1)
		printf("# fail-nth: %d\n", errno);
	return !left;
}

static bool more;
static int sum, failures;

static int first_failure(void)
{
	/* What fails is a property of the task that opens this. */
	if (nth_fd >= 0)
		close(nth_fd);
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	more = true;
	return 1;
}

/* To be ended by count() in each round. */
#define for_each_failure(nth)							\
	for (int nth = first_failure(); nth && nth < MAX_NTH; nth = more ? nth + 1 : 0)

static void count(int ret)
{
	more = injected();
	sum += more;
	failures += ret < 0;
}

static void tell(const char *what)
{
	luo_note("%s: %d allocations failed, %d calls for it", what, sum, failures);
}

LUO_TEST(stage1, create_session)
{
	for_each_failure(nth) {
		int s;

		inject(nth);
		s = luo_create_session(self->dev, "nth");
		count(s);
		if (s < 0) {
			ASSERT_EQ(-ENOMEM, s);
			s = luo_create_session(self->dev, "nth");
			ASSERT_LE(0, s);
		}
		close(s);
	}
	EXPECT_LT(0, failures);
	tell("CREATE_SESSION");
}

LUO_TEST(stage1, preserve)
{
	int s = luo_create_session(self->dev, "nth"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("nth", 0, PAGES, 1);
	ASSERT_EQ(0, ftruncate(m, 10 * PAGES * LUO_PAGE));
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_preserve_fd(s, m, 1);
		count(ret);
		if (ret) {
			ASSERT_EQ(-ENOMEM, ret);
			/* Not preserved: its shape is free to change, its token to be used. */
			ASSERT_EQ(0, ftruncate(m, 11 * PAGES * LUO_PAGE));
			ASSERT_EQ(0, ftruncate(m, 10 * PAGES * LUO_PAGE));
			ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
		}
		close(s);
		s = luo_create_session(self->dev, "nth");
		ASSERT_LE(0, s);
		ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 1));
	}
	EXPECT_LT(2, failures);
	tell("PRESERVE_FD");
}

LUO_TEST(stage1, fill_a_hole_of_a_preserved_file)
{
	int s = luo_create_session(self->dev, "hole"), m = luo_memfd("hole", 0, MAX_NTH * LUO_PAGE);
	char page[LUO_PAGE];
	off_t at = 0;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	for_each_failure(nth) {
		ssize_t ret;

		luo_fill(page, at, 1, 2);
		inject(nth);
		ret = pwrite(m, page, LUO_PAGE, at * LUO_PAGE);
		count(ret);
		if (ret < 0)
			ret = pwrite(m, page, LUO_PAGE, at * LUO_PAGE);
		ASSERT_EQ((ssize_t)LUO_PAGE, ret);
		at++;
	}
	EXPECT_LT(0, failures);
	tell("write into a hole");
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, at, 2));
	/* The next kernel finds the end at the first hole. */
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, prepare_files)
{
	int s = luo_create_session(self->dev, "files");

	ASSERT_LE(0, s);
	for (int i = 0; i < FILES; i++) {
		int m = luo_memfd_filled("m", 0, PAGES, 10 + i);

		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		close(m);
	}
	ASSERT_EQ(0, luo_keep(s));
}

/* Handlers whose files need state that is preserved with the first of them. */
LUO_TEST(stage1, preserve_with_shared_state)
{
	int s = luo_create_session(self->dev, "shared"), lt = lt_open(), f;

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	f = lt_file(lt, LUO_TEST_A, 1, 10);
	ASSERT_LE(0, f);
	sum = 0;
	failures = 0;
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_preserve_fd(s, f, 1);
		count(ret);
		if (ret) {
			ASSERT_EQ(-ENOMEM, ret);
			/* No state is left of it. */
			ASSERT_EQ(-ENOENT, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_OUT));
			ASSERT_EQ(-ENOENT, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_OUT));
			ASSERT_EQ(0, luo_preserve_fd(s, f, 1));
		}
		close(s);
		s = luo_create_session(self->dev, "shared");
		ASSERT_LE(0, s);
	}
	EXPECT_LT(6, failures);
	tell("PRESERVE_FD with shared state");

	sum = 0;
	failures = 0;
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = lt_flb_do(lt, LUO_TEST_EXTRA, LUO_TEST_FLB_REGISTER, LUO_TEST_B, 0);
		count(ret);
		ASSERT_EQ(ret ? -ENOMEM : 0, ret);
		ASSERT_EQ(ret ? -ENOENT : 0,
			  lt_flb_do(lt, LUO_TEST_EXTRA, LUO_TEST_FLB_UNREGISTER, LUO_TEST_B, 0));
	}
	EXPECT_LT(1, failures);

	ASSERT_EQ(0, luo_preserve_fd(s, f, 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, 20));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, shared_state)
{
	int s = luo_retrieve_session(self->dev, "shared"), lt = lt_open();

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	sum = 0;
	failures = 0;
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN);
		count(ret);
		ASSERT_EQ(ret ? -ENOMEM : 0, ret);
		ASSERT_EQ(ret ? -EINVAL : 0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_IN));
	}
	EXPECT_LT(0, failures);
	for_each_failure(nth) {
		int f;

		inject(nth);
		f = luo_retrieve_fd(s, 1);
		count(f);
		ASSERT_EQ(f < 0 ? -ENOMEM : 10, lt_value(f));
	}
	tell("incoming shared state");

	/* FINISH takes Y over, and finishes nothing as long as it cannot. */
	failures = 0;
	lt_clear(lt);
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_finish(s);
		count(ret);
		if (!ret)
			break;
		ASSERT_EQ(-ENOMEM, ret);
		ASSERT_EQ(NULL, strstr(lt_log(lt), "finish"));
	}
	EXPECT_LT(0, failures);
	EXPECT_EQ(-EINVAL, luo_finish(s));
}

LUO_TEST(stage2, retrieve_session_and_files)
{
	int s = -1;

	for_each_failure(nth) {
		inject(nth);
		s = luo_retrieve_session(self->dev, "files");
		count(s);
		if (s < 0) {
			ASSERT_EQ(-ENOMEM, s);
			s = luo_retrieve_session(self->dev, "files");
			ASSERT_LE(0, s);
		}
		/* Given back, and there again in the next round. */
		close(s);
	}
	EXPECT_LT(0, failures);
	tell("RETRIEVE_SESSION");

	s = luo_retrieve_session(self->dev, "files");
	ASSERT_LE(0, s);
	sum = 0;
	failures = 0;
	for (int i = 0; i < FILES; i++) {
		int m = -1;

		/* Nothing of a failed attempt is remembered, so all are on the same file. */
		for_each_failure(nth) {
			inject(nth);
			m = luo_retrieve_fd(s, i);
			count(m);
			if (m >= 0)
				break;
			ASSERT_EQ(-ENOMEM, m);
		}
		ASSERT_LE(0, m);
		ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 10 + i));
		close(m);
	}
	EXPECT_LT(2, failures);
	tell("RETRIEVE_FD");

	sum = 0;
	failures = 0;
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_finish(s);
		count(ret);
		if (!ret)
			break;
		ASSERT_EQ(-ENOMEM, ret);
	}
	tell("FINISH");
	EXPECT_EQ(-EINVAL, luo_finish(s));
	close(s);
}

LUO_TEST(stage2, hole_filled_while_allocations_failed)
{
	int s = luo_retrieve_session(self->dev, "hole"), m;
	long pages;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	pages = lseek(m, 0, SEEK_HOLE) / LUO_PAGE;
	EXPECT_LT(1, pages);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, pages, 2));
	EXPECT_EQ(pages * 8LL, luo_blocks(m));
	ASSERT_EQ(0, luo_finish(s));
}

static void before(int stage)
{
	inject_setup();
}

static int next(int stage)
{
	int dev = luo_open_dev(), ret, refused = 0;

	ret = luo_kexec_load(NULL, stage + 1, NULL, 0);
	if (ret)
		return ret;
	luo_gcov_save();
	first_failure();
	for (int nth = 1; nth < 100; nth++) {
		int s, m;

		inject(nth);
		ret = luo_kexec_exec();
		injected();
		refused++;
		/* Refused: everything is as before and can be used. */
		s = luo_create_session(dev, "after");
		m = luo_memfd_filled("after", 0, 2, 1);
		if (s < 0 || luo_preserve_fd(s, m, 1)) {
			printf("# after a refused reboot (%d) nothing works\n", ret);
			return -EIO;
		}
		close(s);
		if (ftruncate(m, 0)) {
			printf("# after a refused reboot (%d) a file is frozen\n", ret);
			return -EIO;
		}
		close(m);
		printf("# reboot() with allocation %d failing: %d\n", nth, ret);
	}
	printf("# reboot() was refused %d times\n", refused);
	return ret;
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .before = before, .next = next };

	return luo_stages_main(&stages);
}
