// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what the previous kernel says of hugetlb memfds and their pools is input like
 * any other.
 *
 * Before each kexec the host damages the record of a file, and before some of them that
 * of the pools, too. The next kernel must come up without a warning and say what it
 * cannot take; what is not damaged arrives; and when all is finished and closed, all of
 * the pool is free, without the pages that nothing points at.
 *
 * vm-test: name=hugetlb_hostile stages=7 mem=512 smp=2 kernels=plain timeout=120 poke=1 \
 *          append="hugepagesz=2M hugepages=8"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	0x0004U
#endif
#define MFD_HUGE	(MFD_HUGETLB | 21U << 26)
#define PER_HUGE	(LUO_HUGE / LUO_PAGE)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define PAGES		8
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
/* By this the host finds the file, see vm_poke.py. */
#define VICTIM		"LUO-HUGETLB-VICTIM"
#define LAST		7

static const struct {
	const char *kind;
	int err;		/* of the file that is damaged */
	int free;		/* of the pool, before the 6 preserved pages are retrieved */
	int after;		/* size of the pool when all are free that can be reached */
	const char *says, *and_says;
} damage[LAST] = {
	[1] = { "hugetlb_order", -EOPNOTSUPP, 2, 5, "huge pages of order 10",
		"3 pages were announced and never came" },
	[2] = { "hugetlb_size", -EINVAL, 8, 8, "has size 4198400", "of the pools is damaged" },
	[3] = { "hugetlb_pfn", -EINVAL, 8, 8, "huge page 0x1000 of a memfd",
		"announced than preserved" },
	[4] = { "hugetlb_same", -EINVAL, 2, 7, "is not preserved, or does not fit",
		"1 pages were announced and never came" },
	[5] = { "hugetlb_index", -EINVAL, 2, 8, "two huge pages for page", "two huge pages" },
	[6] = { "hugetlb_range", -EINVAL, 1, 7, "reservation of 1099511627776",
		"1 pages were announced and never came" },
};

/* Three pages, and one that is reserved. */
static int huge_file(struct __test_metadata *_metadata, const char *mark, uint64_t seed)
{
	int fd = luo_memfd("hostile", MFD_HUGE, 4 * LUO_HUGE);
	char *map;

	EXPECT_LE(0, fd);
	map = mmap(NULL, 4 * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT_NE(MAP_FAILED, (void *)map) {
		return -1;
	}
	luo_fill(map, 0, 2 * PER_HUGE, seed);
	strcpy(map + 2 * LUO_HUGE, mark);
	munmap(map, 4 * LUO_HUGE);
	return fd;
}

static void leave(struct __test_metadata *_metadata, int dev, int stage)
{
	int s = luo_create_session(dev, "huge"), fd;

	ASSERT_LE(0, s);
	/* It may have become smaller. */
	ASSERT_EQ(0, luo_write_file(POOL "nr_hugepages", "8"));
	fd = huge_file(_metadata, VICTIM, stage * 10 + 1);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	fd = huge_file(_metadata, "other", stage * 10 + 2);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 2));
	/* A block as large as a huge page that is none, or a wrong count could not be told. */
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	fd = luo_memfd_filled("thp", 0, PER_HUGE, 3);
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 3));
	ASSERT_EQ(0, luo_keep(s));
}

static void look(struct __test_metadata *_metadata, int s, int token, int want, int seed)
{
	int fd = luo_retrieve_fd(s, token);
	char *map;

	ASSERT_EQ(want, fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	map = mmap(NULL, 2 * LUO_HUGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	EXPECT_EQ(LUO_OK, luo_verify(map, 0, 2 * PER_HUGE, seed));
	munmap(map, 2 * LUO_HUGE);
	close(fd);
}

static void arrive(struct __test_metadata *_metadata, int dev, int from)
{
	int s = luo_retrieve_session(dev, "huge");

	EXPECT_EQ(PAGES, luo_file_num(POOL "nr_hugepages"));
	EXPECT_EQ(damage[from].free, luo_file_num(POOL "free_hugepages"));
	EXPECT_EQ(0, luo_file_num(POOL "surplus_hugepages"));
	ASSERT_LE(0, s);
	look(_metadata, s, 1, damage[from].err, from * 10 + 1);
	look(_metadata, s, 2, 0, from * 10 + 2);
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_LT(0, luo_klog_has(damage[from].says)) {
		TH_LOG("%s: the log has no \"%s\"", damage[from].kind, damage[from].says);
	}
	EXPECT_LT(0, luo_klog_has(damage[from].and_says)) {
		TH_LOG("%s: the log has no \"%s\"", damage[from].kind, damage[from].and_says);
	}
}

/* Once nobody has a file any more. */
static void pool(struct __test_metadata *_metadata, int from)
{
	EXPECT_EQ(damage[from].after, luo_file_num(POOL "nr_hugepages"));
	EXPECT_EQ(damage[from].after, luo_file_num(POOL "free_hugepages"));
	EXPECT_EQ(0, luo_file_num(POOL "resv_hugepages"));
	EXPECT_EQ(0, luo_file_num(POOL "surplus_hugepages"));
}

#define FIRST(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

#define STAGE(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, arrive) { arrive(_metadata, self->dev, (n) - 1); } \
	LUO_TEST(stage##n, pool) { pool(_metadata, (n) - 1); }		\
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

FIRST(1)
STAGE(2)
STAGE(3)
STAGE(4)
STAGE(5)
STAGE(6)
STAGE(7)

static int next(int stage)
{
	int ret;

	ret = luo_kexec_load(NULL, stage + 1, NULL, 0) ?: luo_poke(damage[stage].kind);
	return ret ?: luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = LAST, .next = next };

	return luo_stages_main(&stages);
}
