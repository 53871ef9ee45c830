// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a hole of a preserved memfd that cannot be filled for want of memory is
 * a hole still, and what can be filled later reaches the next kernel.
 *
 * Every allocation on the way is made to fail once, for write(2), for a page fault
 * and for userfaultfd.
 *
 * vm-test: name=memfd_fail stages=2 kernels=debug mem=2048 timeout=60 \
 *          append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "luo_stages.h"

#define PAGES		1048576UL	/* of which few are filled */
#define MAX_NTH		200

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
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
}

static void inject(int nth)
{
	char buf[16];

	if (pwrite(nth_fd, buf, snprintf(buf, sizeof(buf), "%d", nth), 0) < 0)
		printf("# fail-nth: %d\n", errno);
}

/* Ends the injection; true if something was made to fail. */
static bool injected(void)
{
	char buf[16] = "";

	if (pread(nth_fd, buf, sizeof(buf) - 1, 0) < 0)
		return false;
	inject(0);
	return atoi(buf) == 0;
}

/* Far apart, so that nodes of the page cache and of the map are needed as well. */
static uint64_t nth_page(int nth)
{
	return 1 + nth * 4099ULL;
}

typedef long (*fill_fn)(int fd, char *map, int uffd, uint64_t page);

static char source[LUO_PAGE];

static long by_write(int fd, char *map, int uffd, uint64_t page)
{
	return pwrite(fd, source, LUO_PAGE, page * LUO_PAGE) == (ssize_t)LUO_PAGE ? 0 : -errno;
}

static long by_fault(int fd, char *map, int uffd, uint64_t page)
{
	memcpy(map + page * LUO_PAGE, source, LUO_PAGE);
	return 0;
}

static long by_uffd(int fd, char *map, int uffd, uint64_t page)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)map + page * LUO_PAGE,
		.src = (uintptr_t)source,
		.len = LUO_PAGE,
	};

	return ioctl(uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

static int uffd_open(void *map)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)map, PAGES * LUO_PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return uffd;
}

static void fill(struct __test_metadata *_metadata, int dev, const char *name, fill_fn how)
{
	int s = luo_create_session(dev, name), fd = luo_memfd(name, 0, PAGES * LUO_PAGE);
	char *map = mmap(NULL, PAGES * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int uffd = -1, nth, failed = 0;
	bool any = true;

	ASSERT_NE(MAP_FAILED, (void *)map);
	if (how == by_uffd) {
		uffd = uffd_open(map);
		ASSERT_LE(0, uffd);
	}
	inject_setup();
	ASSERT_LE(0, nth_fd);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));

	for (nth = 1; any && nth < MAX_NTH; nth++) {
		uint64_t page = nth_page(nth);
		long ret, before = luo_blocks(fd);

		luo_fill(source, page, 1, 1);
		inject(nth);
		ret = how(fd, map, uffd, page);
		any = injected();
		if (ret) {
			failed++;
			ASSERT_TRUE(any);
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_EQ(before, luo_blocks(fd));
			ASSERT_EQ(0, how(fd, map, uffd, page));
		}
		ASSERT_EQ(before + 8, luo_blocks(fd));
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, page, 1, 1));
	}
	luo_note("%s: %d allocations, %d of them needed", name, nth - 2, failed);
	EXPECT_FALSE(any);
	/* The next kernel knows from here how far that went. */
	luo_fill(source, 0, 1, nth);
	ASSERT_EQ(0, by_write(fd, map, uffd, 0));
	ASSERT_EQ(0, luo_keep(s));
}

static void check(struct __test_metadata *_metadata, int dev, const char *name)
{
	int s = luo_retrieve_session(dev, name), fd, nth;

	ASSERT_LE(0, s);
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_finish(s));
	for (nth = 2; nth <= MAX_NTH && luo_verify_fd(fd, 0, 1, nth) != LUO_OK; nth++)
		;
	ASSERT_GE(MAX_NTH, nth);
	EXPECT_EQ(nth * 8LL, luo_blocks(fd));
	for (int i = 1; i < nth; i++) {
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, nth_page(i), 1, 1));
		ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, nth_page(i) + 1, 1));
	}
}

LUO_TEST(stage1, write)
{
	fill(_metadata, self->dev, "write", by_write);
}

LUO_TEST(stage2, write)
{
	check(_metadata, self->dev, "write");
}

LUO_TEST(stage1, fault)
{
	fill(_metadata, self->dev, "fault", by_fault);
}

LUO_TEST(stage2, fault)
{
	check(_metadata, self->dev, "fault");
}

LUO_TEST(stage1, userfaultfd)
{
	fill(_metadata, self->dev, "userfaultfd", by_uffd);
}

LUO_TEST(stage2, userfaultfd)
{
	check(_metadata, self->dev, "userfaultfd");
}

int main(void)
{
	const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
