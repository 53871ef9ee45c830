// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a hole of a preserved memfd that cannot be filled for want of memory is
 * a hole still, and what can be filled later reaches the next kernel.
 *
 * Every allocation on the way is made to fail once, for write(2), for a page fault
 * and for userfaultfd.
 *
 * vm-test: name=memfd_fail stages=2 kernels=debug mem=1024 timeout=60 \
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
#include "luo_inject.h"

#define PAGES		1048576UL	/* of which few are filled */

LUO_STAGE(stage1);
LUO_STAGE(stage2);

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
	int uffd = -1, next = 1;

	ASSERT_NE(MAP_FAILED, (void *)map);
	if (how == by_uffd) {
		uffd = uffd_open(map);
		ASSERT_LE(0, uffd);
	}
	inject_setup();
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));

	for_each_failure(nth) {
		uint64_t page = nth_page(nth);
		long ret, before = luo_blocks(fd);

		luo_fill(source, page, 1, 1);
		inject(nth);
		ret = how(fd, map, uffd, page);
		inject_count(ret);
		if (ret) {
			ASSERT_TRUE(inject_more);
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_EQ(before, luo_blocks(fd));
			ASSERT_EQ(0, how(fd, map, uffd, page));
		}
		ASSERT_EQ(before + 8, luo_blocks(fd));
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, page, 1, 1));
		next = nth + 1;
	}
	luo_note("%s: %d allocations, %d of them needed", name, inject_sum, inject_failures);
	EXPECT_FALSE(inject_more);
	/* The next kernel knows from here how far that went. */
	luo_fill(source, 0, 1, next);
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
	for (nth = 2; nth <= INJECT_MAX_NTH && luo_verify_fd(fd, 0, 1, nth) != LUO_OK; nth++)
		;
	ASSERT_GE(INJECT_MAX_NTH, nth);
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
