// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what a memfd costs to preserve and to retrieve, per page.
 *
 * Runs under the instruction counter, where a nanosecond is an instruction. For the
 * same, mainline 7.3 takes 465 instructions a page of 4 KiB to preserve, 1,409 to
 * retrieve; in folios of 2 MiB, 850 and 13.
 *
 * vm-test: name=memfd_perf stages=2 mem=2048 kernels=plain icount=1 timeout=300 \
 *          append="-ignore_loglevel loglevel=5"
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define PAGES		65536ULL	/* 256 MiB */

LUO_STAGE(stage1);
LUO_STAGE(stage2);

/* A word in every page, or in every second one, of one file or of two in turn. */
static void touch(struct __test_metadata *_metadata, int a, int b, int step)
{
	const size_t len = PAGES * step * LUO_PAGE;
	uint64_t *ma = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0), *mb = ma;

	ASSERT_NE(MAP_FAILED, (void *)ma);
	if (b >= 0) {
		mb = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
		ASSERT_NE(MAP_FAILED, (void *)mb);
	}
	for (uint64_t i = 0; i < PAGES * step; i += step) {
		ma[i * LUO_PAGE / 8] = i;
		if (b >= 0)
			mb[i * LUO_PAGE / 8] = i;
	}
	munmap(ma, len);
	if (b >= 0)
		munmap(mb, len);
}

static void check(struct __test_metadata *_metadata, int fd, int step)
{
	uint64_t word;

	for (uint64_t i = 0; i < PAGES * step; i += 97 * step) {
		ASSERT_EQ((ssize_t)sizeof(word), pread(fd, &word, sizeof(word), i * LUO_PAGE));
		ASSERT_EQ(i, word);
	}
}

static void out(struct __test_metadata *_metadata, int dev, const char *name, int fd,
		unsigned long long limit)
{
	int s = luo_create_session(dev, name);
	uint64_t t;

	ASSERT_LE(0, s);
	t = luo_now_ns();
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	t = luo_now_ns() - t;
	luo_note("%s: PRESERVE_FD %llu us, %llu instructions a page (limit %llu)", name,
		 t / 1000ULL, t / PAGES, limit);
	EXPECT_GT(limit, t / PAGES);
	ASSERT_EQ(0, luo_keep(s));
}

static void in(struct __test_metadata *_metadata, int dev, const char *name, int step,
	       unsigned long long limit)
{
	int s = luo_retrieve_session(dev, name), fd;
	uint64_t t, f;

	ASSERT_LE(0, s);
	t = luo_now_ns();
	fd = luo_retrieve_fd(s, 1);
	t = luo_now_ns() - t;
	ASSERT_LE(0, fd);
	check(_metadata, fd, step);
	f = luo_now_ns();
	ASSERT_EQ(0, luo_finish(s));
	f = luo_now_ns() - f;
	luo_note("%s: RETRIEVE_FD %llu us, %llu instructions a page (limit %llu), FINISH %llu us",
		 name, t / 1000ULL, t / PAGES, limit, f / 1000ULL);
	EXPECT_GT(limit, t / PAGES);
	close(s);
	close(fd);
}

LUO_TEST(stage1, pages_4k)
{
	int fd = luo_memfd("4k", 0, PAGES * LUO_PAGE);

	touch(_metadata, fd, -1, 1);
	out(_metadata, self->dev, "4k", fd, 200);
}

LUO_TEST(stage2, pages_4k)
{
	in(_metadata, self->dev, "4k", 1, 900);
}

LUO_TEST(stage1, pages_scattered)
{
	int a = luo_memfd("scattered", 0, 2 * PAGES * LUO_PAGE);
	int b = luo_memfd("between", 0, 2 * PAGES * LUO_PAGE);

	touch(_metadata, a, b, 2);
	out(_metadata, self->dev, "scattered", a, 220);
}

LUO_TEST(stage2, pages_scattered)
{
	in(_metadata, self->dev, "scattered", 2, 900);
}

LUO_TEST(stage1, folios_2m)
{
	int fd = luo_memfd("2m", 0, PAGES * LUO_PAGE);

	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	touch(_metadata, fd, -1, 1);
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	out(_metadata, self->dev, "2m", fd, 8);
}

LUO_TEST(stage2, folios_2m)
{
	in(_metadata, self->dev, "2m", 1, 25);
}

int main(void)
{
	const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
