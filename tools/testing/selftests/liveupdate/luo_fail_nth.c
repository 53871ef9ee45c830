// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: every allocation may fail, one at a time, and nothing is half done.
 *
 * Each operation is repeated with its first, second, ... allocation failing
 * until one goes through without a failure. After a failure the operation
 * must have had no effect: the same call succeeds once memory is there again,
 * also reboot() itself, and what was preserved before arrives. The same goes for
 * functions that are made to fail by name, up to the last one before the jump.
 *
 * vm-test: name=fail_nth stages=2 kernels=debug mem=2048 timeout=90 \
 *          append="luo_kmemleak hugepagesz=2M hugepages=72"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "luo_iommufd_mock.h"
#include "luo_inject.h"
#include "luo_test_handler.h"

#define PAGES		40
#define FILES		3
#define MFD_HUGE	(MFD_HUGETLB | 21U << 26)
#define HUGE_FILES	64	/* more than allocations in RETRIEVE_FD of one */
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static void tell(const char *what)
{
	luo_note("%s: %d allocations failed, %d calls for it", what, inject_sum, inject_failures);
}

/* It finishes nothing, or all. */
static void finish_after_failures(struct __test_metadata *_metadata, int s, const char *what)
{
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_finish(s);
		inject_count(ret);
		if (!ret)
			break;
		ASSERT_EQ(-ENOMEM, ret);
	}
	tell(what);
	EXPECT_EQ(-EINVAL, luo_finish(s));
}

LUO_TEST(stage1, create_session)
{
	for_each_failure(nth) {
		int s;

		inject(nth);
		s = luo_create_session(self->dev, "nth");
		inject_count(s);
		if (s < 0) {
			ASSERT_EQ(-ENOMEM, s);
			s = luo_create_session(self->dev, "nth");
			ASSERT_LE(0, s);
		}
		close(s);
	}
	EXPECT_LT(0, inject_failures);
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
		inject_count(ret);
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
	EXPECT_LT(2, inject_failures);
	tell("PRESERVE_FD");
}

LUO_TEST(stage1, fill_a_hole_of_a_preserved_file)
{
	int s = luo_create_session(self->dev, "hole");
	int m = luo_memfd("hole", 0, INJECT_MAX_NTH * LUO_PAGE);
	char page[LUO_PAGE];
	off_t at = 0;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	for_each_failure(nth) {
		ssize_t ret;

		luo_fill(page, at, 1, 2);
		inject(nth);
		ret = pwrite(m, page, LUO_PAGE, at * LUO_PAGE);
		inject_count(ret);
		if (ret < 0)
			ret = pwrite(m, page, LUO_PAGE, at * LUO_PAGE);
		ASSERT_EQ((ssize_t)LUO_PAGE, ret);
		at++;
	}
	EXPECT_LT(0, inject_failures);
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

/* One page, and one that is reserved if @pages is 2. */
static int huge_file(int pages, uint64_t seed)
{
	int fd = luo_memfd("huge", MFD_HUGE | MFD_ALLOW_SEALING, pages * LUO_HUGE);
	char *map = mmap(NULL, pages * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	luo_fill(map, 0, 1, seed);
	munmap(map, pages * LUO_HUGE);
	return fd;
}

static long verify_huge(int fd, uint64_t seed)
{
	char *map = mmap(NULL, LUO_HUGE, PROT_READ, MAP_SHARED, fd, 0);
	long ret;

	if (map == MAP_FAILED)
		return -errno;
	ret = luo_verify(map, 0, 1, seed);
	munmap(map, LUO_HUGE);
	return ret;
}

LUO_TEST(stage1, huge_pages)
{
	int s = luo_create_session(self->dev, "nth"), m = huge_file(2, 1);

	ASSERT_LE(0, s);
	ASSERT_LE(0, m);
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_preserve_fd(s, m, 1);
		inject_count(ret);
		if (ret) {
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
		}
		close(s);
		s = luo_create_session(self->dev, "nth");
		ASSERT_LE(0, s);
	}
	EXPECT_LT(4, inject_failures);
	tell("PRESERVE_FD of huge pages");
	close(m);

	/* A file for each failure: the allocations behind one that is not needed count, too. */
	for (int i = 0; i < HUGE_FILES; i++) {
		m = huge_file(1, i);
		ASSERT_LE(0, m);
		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		close(m);
	}
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, huge_pages)
{
	int s = luo_retrieve_session(self->dev, "nth");

	ASSERT_LE(0, s);
	for_each_failure(nth) {
		int fd;

		ASSERT_GE(HUGE_FILES, nth);
		inject(nth);
		fd = luo_retrieve_fd(s, nth - 1);
		inject_count(fd);
		if (fd < 0) {
			ASSERT_EQ(-ENOMEM, fd);
			fd = luo_retrieve_fd(s, nth - 1);
		}
		ASSERT_LE(0, fd);
		ASSERT_EQ(LUO_OK, verify_huge(fd, nth - 1));
		close(fd);
	}
	EXPECT_LT(4, inject_failures);
	tell("RETRIEVE_FD of huge pages");
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_EQ(0, luo_file_num(POOL "surplus_hugepages"));
}

#include "luo_fail_iommufd.h"

/* Handlers whose files need state that is preserved with the first of them. */
LUO_TEST(stage1, preserve_with_shared_state)
{
	int s = luo_create_session(self->dev, "shared"), lt = lt_open(), f;

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	f = lt_file(lt, LUO_TEST_A, 1, 10);
	ASSERT_LE(0, f);
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_preserve_fd(s, f, 1);
		inject_count(ret);
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
	EXPECT_LT(4, inject_failures);
	tell("PRESERVE_FD with shared state");

	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = lt_flb_do(lt, LUO_TEST_EXTRA, LUO_TEST_FLB_REGISTER, LUO_TEST_B, 0);
		inject_count(ret);
		ASSERT_EQ(ret ? -ENOMEM : 0, ret);
		ASSERT_EQ(ret ? -ENOENT : 0,
			  lt_flb_do(lt, LUO_TEST_EXTRA, LUO_TEST_FLB_UNREGISTER, LUO_TEST_B, 0));
	}
	EXPECT_LT(0, inject_failures);

	ASSERT_EQ(0, luo_preserve_fd(s, f, 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, 20));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, shared_state)
{
	int s = luo_retrieve_session(self->dev, "shared"), lt = lt_open();

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN);
		inject_count(ret);
		ASSERT_EQ(ret ? -ENOMEM : 0, ret);
		ASSERT_EQ(ret ? -EINVAL : 0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_IN));
	}
	/* It is retrieved once, maybe while an allocation fails that can be done without. */
	EXPECT_LT(0, inject_sum);
	tell("incoming shared state");
	for_each_failure(nth) {
		int f;

		inject(nth);
		f = luo_retrieve_fd(s, 1);
		inject_count(f);
		ASSERT_EQ(f < 0 ? -ENOMEM : 10, lt_value(f));
	}
	tell("RETRIEVE_FD with shared state");

	/* FINISH takes Y over, and finishes nothing as long as it cannot. */
	lt_clear(lt);
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_finish(s);
		inject_count(ret);
		if (!ret)
			break;
		ASSERT_EQ(-ENOMEM, ret);
		ASSERT_EQ(NULL, strstr(lt_log(lt), "finish"));
	}
	EXPECT_LT(0, inject_sum);
	EXPECT_EQ(-EINVAL, luo_finish(s));
}

LUO_TEST(stage2, retrieve_session_and_files)
{
	int s = -1;

	for_each_failure(nth) {
		inject(nth);
		s = luo_retrieve_session(self->dev, "files");
		inject_count(s);
		if (s < 0) {
			ASSERT_EQ(-ENOMEM, s);
			s = luo_retrieve_session(self->dev, "files");
			ASSERT_LE(0, s);
		}
		/* Given back, and there again in the next round. */
		close(s);
	}
	EXPECT_LT(0, inject_failures);
	tell("RETRIEVE_SESSION");

	s = luo_retrieve_session(self->dev, "files");
	ASSERT_LE(0, s);
	for (int i = 0; i < FILES; i++) {
		int m = -1;

		/* Nothing of a failed attempt is remembered, so all are on the same file. */
		for_each_failure(nth) {
			inject(nth);
			m = luo_retrieve_fd(s, i);
			inject_count(m);
			if (m >= 0)
				break;
			ASSERT_EQ(-ENOMEM, m);
		}
		ASSERT_LE(0, m);
		EXPECT_LT(0, inject_failures);
		tell("RETRIEVE_FD");
		ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 10 + i));
		close(m);
	}

	finish_after_failures(_metadata, s, "FINISH");
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

/* PRESERVE_FD of @fd with a function failing on its way, and then without. */
static void preserve_without(struct __test_metadata *_metadata, int dev, int fd, int needed,
			     const char *name, int error)
{
	int s = luo_create_session(dev, "without");

	ASSERT_LE(0, s);
	if (needed >= 0)
		ASSERT_EQ(0, luo_preserve_fd(s, needed, 1));
	ASSERT_EQ(0, inject_function(name, -EDOM));
	EXPECT_EQ(error, luo_preserve_fd(s, fd, 2)) {
		TH_LOG("%s", name);
	}
	EXPECT_TRUE(inject_function_end()) {
		TH_LOG("%s was not called", name);
	}
	EXPECT_EQ(0, luo_preserve_fd(s, fd, 2));
	close(s);
}

LUO_TEST(stage1, functions_fail)
{
	static const char * const of_test[] = {
		"luo_object_add", "luo_chain_reserve", "luo_flbs_preserve", "kho_preserve_folios",
	};
	int lt = lt_open(), m = luo_memfd_filled("m", 0, PAGES, 1), f, g, s;

	ASSERT_LE(0, lt);
	ASSERT_LE(0, m);
	f = lt_file(lt, LUO_TEST_A, 1, 0);
	g = lt_dependent(lt, LUO_TEST_A, 2, f);
	ASSERT_LE(0, g);

	ASSERT_EQ(0, inject_function("luo_chain_reserve", -EDOM));
	EXPECT_EQ(-EDOM, luo_create_session(self->dev, "s"));
	EXPECT_TRUE(inject_function_end());
	s = luo_create_session(self->dev, "s");
	EXPECT_LE(0, s);

	for (size_t i = 0; i < ARRAY_SIZE(of_test); i++)
		preserve_without(_metadata, self->dev, f, -1, of_test[i], -EDOM);
	preserve_without(_metadata, self->dev, g, f, "luo_dep_add", -EDOM);
	preserve_without(_metadata, self->dev, m, -1, "kho_preserve_folios", -EDOM);
	/* Of a page of records, and there is no other reason for that. */
	preserve_without(_metadata, self->dev, m, -1, "kho_preserve_pages", -ENOMEM);
	EXPECT_EQ(0, ftruncate(m, 0));
}

LUO_TEST(stage2, functions_fail)
{
	int lt = lt_open(), s;

	ASSERT_LE(0, lt);
	ASSERT_EQ(0, inject_function("luo_files_load", -EDOM));
	EXPECT_EQ(-EDOM, luo_retrieve_session(self->dev, "functions"));
	EXPECT_TRUE(inject_function_end());
	s = luo_retrieve_session(self->dev, "functions");
	ASSERT_LE(0, s);
	EXPECT_EQ(5, lt_value(luo_retrieve_fd(s, 1)));

	lt_clear(lt);
	ASSERT_EQ(0, inject_function("luo_flbs_retrieve", -EDOM));
	EXPECT_EQ(-EDOM, luo_finish(s));
	EXPECT_TRUE(inject_function_end());
	EXPECT_STREQ("", lt_log(lt));
	EXPECT_EQ(5, lt_value(luo_retrieve_fd(s, 1)));
	EXPECT_EQ(0, luo_finish(s));
}

/*
 * What freeze() did of one kind of file is undone because another one cannot be frozen,
 * and all there is because the kexec is called off at its last step.
 */
LUO_TEST(stage1, freeze_is_undone)
{
	static const char * const steps[] = {
		"luo_image_check", "luo_files_freeze", "luo_may_jump",
	};
	/* With what others have left for the next kernel. */
	static const char * const log[] = {
		"", "", "A 1 freeze 0\nB 2 freeze 0\nB 3 freeze 0\n"
		"B 3 unfreeze 0\nB 2 unfreeze 0\nA 1 unfreeze 0\n",
	};
	int s = luo_create_session(self->dev, "thawed"), lt = lt_open(), huge, small, t;
	char *map;

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	huge = huge_file(2, 70);
	small = luo_memfd_filled("small", 0, PAGES, 71);
	ASSERT_EQ(0, luo_preserve_fd(s, huge, 1));
	ASSERT_EQ(0, luo_preserve_fd(s, small, 2));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 3, 73));
	ASSERT_EQ(0, lt_rule(lt, 3, LUO_TEST_FREEZE, -EDOM, 0, 1));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	ASSERT_EQ(-EDOM, luo_kexec_exec());
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		lt_clear(lt);
		ASSERT_EQ(0, inject_function(steps[i], -EILSEQ));
		EXPECT_EQ(-EILSEQ, luo_kexec_exec());
		EXPECT_TRUE(inject_function_end());
		EXPECT_STREQ(log[i], lt_log(lt));
		t = luo_create_session(self->dev, "functions");
		ASSERT_LE(0, t);
		ASSERT_EQ(0, lt_preserve(lt, t, LUO_TEST_A, 1, 5));
		if (i < ARRAY_SIZE(steps) - 1)
			close(t);
		else
			ASSERT_EQ(0, luo_keep(t));
	}
	ASSERT_EQ(0, luo_kexec_unload(0));

	/* They can be changed, and the next kernel gets what they are then. */
	ASSERT_EQ(0, luo_fill_fd(small, 0, 1, 72));
	map = mmap(NULL, 2 * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	luo_fill(map, 0, 1, 74);
	luo_fill(map + LUO_HUGE, 0, 1, 75);
	munmap(map, 2 * LUO_HUGE);
	ASSERT_EQ(0, fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK));
	ASSERT_EQ(0, luo_keep(s));
	close(lt);
}

LUO_TEST(stage2, freeze_was_undone)
{
	int s = luo_retrieve_session(self->dev, "thawed"), huge, small;
	char *map;

	ASSERT_LE(0, s);
	huge = luo_retrieve_fd(s, 1);
	small = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, huge);
	ASSERT_LE(0, small);
	EXPECT_EQ(73, lt_value(luo_retrieve_fd(s, 3)));
	EXPECT_EQ(LUO_OK, luo_verify_fd(small, 0, 1, 72));
	EXPECT_EQ(LUO_OK, luo_verify_fd(small, 1, PAGES - 1, 71));
	EXPECT_EQ(F_SEAL_SHRINK, fcntl(huge, F_GET_SEALS) & F_SEAL_SHRINK);
	map = mmap(NULL, 2 * LUO_HUGE, PROT_READ, MAP_SHARED, huge, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	EXPECT_EQ(LUO_OK, luo_verify(map, 0, 1, 74));
	EXPECT_EQ(LUO_OK, luo_verify(map + LUO_HUGE, 0, 1, 75));
	munmap(map, 2 * LUO_HUGE);
	EXPECT_EQ(0, luo_finish(s));
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
	inject_first();
	for (int nth = 1; nth < 100; nth++) {
		int s, m;

		inject(nth);
		ret = luo_kexec_exec();
		inject_end();
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

	PAGE_SIZE = LUO_PAGE;
	return luo_stages_main(&stages);
}
