// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: huge pages that cannot be carried are refused, with the reason in the log.
 *
 * Pages in the area of hugetlb_cma= are for movable memory and lie where the next kernel
 * may have its own; a file of a mounted hugetlbfs has a name, which nobody carries.
 *
 * The kernel must not lie where it leaves no GiB for hugetlb_cma=.
 *
 * vm-test: name=hugetlb_refused stages=1 mem=6144 kernels=plain timeout=60 \
 *          append="hugetlb_cma=1G nokaslr"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "luo_stages.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	0x0004U
#endif
#define GIGA		(1UL << 30)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
#define MOUNT		"/tmp/hugetlbfs"

LUO_STAGE(stage1);

LUO_TEST(stage1, pages_of_hugetlb_cma)
{
	int fd = luo_memfd("cma", MFD_HUGETLB | 30U << 26, GIGA);
	int s = luo_create_session(self->dev, "cma");

	ASSERT_LE(0, fd);
	ASSERT_LE(0, s);
	/* The area is there for this page alone. */
	ASSERT_EQ(0, luo_write_file(POOL, "1"));
	ASSERT_EQ(1, luo_file_num(POOL));
	ASSERT_EQ(0, fallocate(fd, 0, 0, GIGA));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, fd, 1));
	EXPECT_LT(0, luo_klog_has("lies in memory for movable pages"));

	/* Nothing is left of the attempt. */
	EXPECT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(0, luo_preserve_fd(s, fd, 1));
	close(s);
	close(fd);
	ASSERT_EQ(0, luo_write_file(POOL, "0"));
	EXPECT_EQ(0, luo_file_num(POOL));
}

LUO_TEST(stage1, file_of_a_mounted_hugetlbfs)
{
	int s = luo_create_session(self->dev, "named"), fd;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, mkdir(MOUNT, 0700));
	ASSERT_EQ(0, mount("none", MOUNT, "hugetlbfs", 0, "pagesize=2M"));
	fd = open(MOUNT "/file", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 2 << 20));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	close(s);
	EXPECT_EQ(0, umount(MOUNT));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
