/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs the kernel's own tests of iommufd on files.
 *
 * Those tests name memory by its address, and all of it comes from anonymous
 * shared mappings. Included before them, this header turns each such mapping into
 * one of a memfd, and IOMMU_IOAS_MAP of it into IOMMU_IOAS_MAP_FILE, so that they
 * say of files what they say of addresses. What is not in a file by then (memory
 * that was unmapped again, wrong lengths, other kinds of memory) is passed on as it
 * is.
 */
#ifndef LUO_IOMMUFD_H
#define LUO_IOMMUFD_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "luo_test_util.h"
#include <linux/iommufd.h>

/* TCG on a loaded host is slow; the runner has the limit that matters. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 900

/*
 * The tests in 6.12.y have been updated beyond the kernel they come with, and do
 * not compile without these. What depends on them cannot pass: get_hw_info.
 */
#define in_data_type			out_data_type
#define IOMMU_HW_INFO_TYPE_DEFAULT	0
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE	0
#define MOCK_FLAGS_DEVICE_PASID		0
#define MOCK_PASID_WIDTH		0

struct luo_area {
	char *addr;
	size_t len;
	int fd;
};

static struct luo_area luo_areas[32];
static bool luo_on_files;
static unsigned long *luo_mapped;	/* by all processes */

static void *luo_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct luo_area *area = luo_areas;
	void *mem;

	if (!luo_on_files || !(flags & MAP_SHARED) || !(flags & MAP_ANONYMOUS))
		return mmap(addr, len, prot, flags, fd, off);

	while (area->addr)
		if (++area == luo_areas + ARRAY_SIZE(luo_areas))
			return MAP_FAILED;
	fd = memfd_create("iommufd", MFD_CLOEXEC | (flags & MAP_HUGETLB ? MFD_HUGETLB : 0));
	if (fd < 0 || ftruncate(fd, len))
		return MAP_FAILED;
	mem = mmap(addr, len, prot, flags & ~(MAP_ANONYMOUS | MAP_HUGETLB), fd, 0);
	if (mem != MAP_FAILED)
		*area = (struct luo_area){ .addr = mem, .len = len, .fd = fd };
	return mem;
}

static int luo_munmap(void *addr, size_t len)
{
	for (struct luo_area *area = luo_areas; area < luo_areas + ARRAY_SIZE(luo_areas); area++) {
		if (!area->addr || area->addr >= (char *)addr + len ||
		    (char *)addr >= area->addr + area->len)
			continue;
		close(area->fd);
		area->addr = NULL;
	}
	return munmap(addr, len);
}

static int luo_ioctl(int fd, unsigned long cmd, ...)
{
	struct iommu_ioas_map *map;
	va_list args;
	void *arg;
	char *va;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	map = arg;
	if (!luo_on_files || cmd != IOMMU_IOAS_MAP || map->size != sizeof(*map))
		return ioctl(fd, cmd, arg);

	va = (char *)(uintptr_t)map->user_va;
	for (struct luo_area *area = luo_areas; area < luo_areas + ARRAY_SIZE(luo_areas); area++) {
		struct luo_map_file file = {
			.size = sizeof(file),
			.flags = map->flags,
			.ioas_id = map->ioas_id,
			.fd = area->fd,
			.start = va - area->addr,
			.length = map->length,
			.iova = map->iova,
		};
		int ret;

		if (!area->addr || va < area->addr || map->length > area->len ||
		    va + map->length > area->addr + area->len)
			continue;
		ret = ioctl(fd, LUO_MAP_FILE, &file);
		map->iova = file.iova;
		if (!ret)
			__atomic_add_fetch(luo_mapped, 1, __ATOMIC_RELAXED);
		return ret;
	}
	return ioctl(fd, cmd, arg);
}

/*
 * From here on memory is in files; what was mapped at @addr before is too. To be
 * called in the child that runs the tests, after luo_count_files() in its parent.
 */
static void luo_use_files(void *addr, size_t len)
{
	luo_on_files = true;
	if (luo_mmap(addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0) != addr) {
		printf("# no memfd: %d\n", errno);
		exit(1);
	}
}

static void luo_count_files(void)
{
	luo_mapped = mmap(NULL, sizeof(*luo_mapped), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (luo_mapped == MAP_FAILED)
		exit(1);
}

#define mmap(...)		luo_mmap(__VA_ARGS__)
#define munmap(...)		luo_munmap(__VA_ARGS__)
#define ioctl(fd, cmd, ...)	luo_ioctl(fd, cmd, ##__VA_ARGS__)

#endif /* LUO_IOMMUFD_H */
