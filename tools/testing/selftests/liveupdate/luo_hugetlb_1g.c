// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: gigantic pages. Their pool is filled before there is an allocator, so what was
 * preserved must be known by then; and where preserved memory leaves no room for as many
 * as are asked for, there are fewer of them.
 *
 * Stage 1 and 2 ask for one page on each of two nodes, of which one is preserved; stage 3
 * for more than can be. The machine has a whole GiB on each node, above 4 GiB.
 *
 * vm-test: name=hugetlb_1g stages=3 mem=6144 smp=2,sockets=2 timeout=90 kernels=plain \
 *          append="hugepagesz=1G hugepages=0:1,1:1 hugetlb_free_vmemmap=on nokaslr" \
 *          qemu="-object memory-backend-ram,id=n0,size=3584M \
 *                -object memory-backend-ram,id=n1,size=2560M \
 *                -numa node,memdev=n0,cpus=0 -numa node,memdev=n1,cpus=1"
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
#define MFD_1G		(MFD_HUGETLB | 30U << 26)
#define GIGA		(1UL << 30)
#define PER_GIGA	(GIGA / LUO_PAGE)
#define PART		256UL		/* pages that are looked at, at both ends and between */
#define POOL		"/sys/kernel/mm/hugepages/hugepages-1048576kB/"
#define NODE(n)		"/sys/devices/system/node/node" #n "/hugepages/hugepages-1048576kB/"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static const uint64_t parts[] = { 0, PER_GIGA / 2 - PART / 2, PER_GIGA - PART };

#define EXPECT_POOL(total, free, surplus)						\
	do {										\
		EXPECT_EQ(total, luo_file_num(POOL "nr_hugepages"));			\
		EXPECT_EQ(free, luo_file_num(POOL "free_hugepages"));			\
		EXPECT_EQ(surplus, luo_file_num(POOL "surplus_hugepages"));		\
	} while (0)

LUO_TEST(stage1, second_page_of_two)
{
	int fd = luo_memfd("1g", MFD_1G, 2 * GIGA), s = luo_create_session(self->dev, "1g");
	char *map;

	EXPECT_POOL(2, 2, 0);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, s);
	map = mmap(NULL, GIGA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, GIGA);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (int i = 0; i < 3; i++)
		luo_fill(map + parts[i] * LUO_PAGE, PER_GIGA + parts[i], PART, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(2, 1, 0);
}

static int arrive(struct __test_metadata *_metadata, int s)
{
	int fd = luo_retrieve_fd(s, 1);
	char *map;

	EXPECT_LE(0, fd);
	EXPECT_EQ(2LL * GIGA, luo_size(fd));
	EXPECT_EQ((long long)GIGA / 512, luo_blocks(fd));
	map = mmap(NULL, GIGA, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, GIGA);
	EXPECT_NE(MAP_FAILED, (void *)map);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(LUO_OK, luo_verify(map + parts[i] * LUO_PAGE, PER_GIGA + parts[i],
					     PART, 1));
	}
	munmap(map, GIGA);
	EXPECT_EQ(0, luo_finish(s));
	return fd;
}

LUO_TEST(stage2, second_page_of_two)
{
	int s = luo_retrieve_session(self->dev, "1g"), fd;

	EXPECT_POOL(2, 1, 0);
	EXPECT_EQ(1, luo_file_num(NODE(0) "nr_hugepages"));
	EXPECT_EQ(1, luo_file_num(NODE(1) "nr_hugepages"));
	ASSERT_LE(0, s);
	fd = arrive(_metadata, s);
	EXPECT_POOL(2, 1, 0);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage3, more_asked_for_than_there_is_room)
{
	int s = luo_retrieve_session(self->dev, "1g"), fd;
	long long total = luo_file_num(POOL "nr_hugepages");

	EXPECT_LE(1, total);
	EXPECT_GE(4, total);
	EXPECT_POOL(total, total - 1, 0);
	EXPECT_LT(0, luo_klog_has("HugeTLB: allocating 16 of page size 1.00 GiB failed."));
	luo_note("%lld of 16 pages", total);
	ASSERT_LE(0, s);
	fd = arrive(_metadata, s);
	close(s);
	EXPECT_POOL(total, total - 1, 0);
	close(fd);
	EXPECT_POOL(total, total, 0);
}

static int next(int stage)
{
	return luo_kexec_next(NULL, stage == 1 ? NULL :
			      "-hugepagesz -hugepages hugepagesz=1G hugepages=16");
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
