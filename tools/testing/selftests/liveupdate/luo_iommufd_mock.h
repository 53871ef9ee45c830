/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An iommufd for programs with stages, with the device and the page tables of the
 * kernel's own tests of iommufd, which are not carried over.
 *
 * Wrappers return 0, or what they are named after, or a negative errno.
 */
#ifndef LUO_IOMMUFD_MOCK_H
#define LUO_IOMMUFD_MOCK_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "luo_stages.h"
#include "luo_vfio_util.h"
#include <linux/iommufd.h>
#include <linux/iommufd_liveupdate.h>

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
/* See luo_iommufd.h */
#define in_data_type			out_data_type
#define IOMMU_HW_INFO_TYPE_DEFAULT	0
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE	0
#include "iommu/iommufd_utils.h"

#define RW		(IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)

/* An iommufd with a device, an IOAS, and a HWPT that was allocated for it. */
struct ctx {
	int fd;
	__u32 ioas, dev, idev, hwpt;
};

static int open_ctx(struct ctx *c)
{
	__u32 automatic;

	c->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (c->fd < 0 || _test_ioctl_ioas_alloc(c->fd, &c->ioas) ||
	    _test_cmd_mock_domain(c->fd, c->ioas, &c->dev, &automatic, &c->idev) ||
	    _test_cmd_hwpt_alloc(c->fd, c->idev, c->ioas, 0, 0, &c->hwpt, IOMMU_HWPT_DATA_NONE,
				 NULL, 0))
		return -errno;
	return 0;
}

static int map_addr(int fd, __u32 ioas, void *addr, size_t len, uint64_t iova, __u32 flags)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd), .flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA, .ioas_id = ioas,
		.user_va = (uintptr_t)addr, .length = len, .iova = iova,
	};

	return ioctl(fd, IOMMU_IOAS_MAP, &cmd) ? -errno : 0;
}

static int map_file(int fd, __u32 ioas, int memfd, uint64_t start, size_t len, uint64_t iova,
		    __u32 flags)
{
	struct luo_map_file cmd = {
		.size = sizeof(cmd), .flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA, .ioas_id = ioas,
		.fd = memfd, .start = start, .length = len, .iova = iova,
	};

	return ioctl(fd, LUO_MAP_FILE, &cmd) ? -errno : 0;
}

static int check_map(int fd, __u32 hwpt, uint64_t iova, size_t len, void *addr)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd), .op = IOMMU_TEST_OP_MD_CHECK_MAP, .id = hwpt,
		.check_map = { .iova = iova, .length = len, .uptr = (uintptr_t)addr },
	};

	return ioctl(fd, IOMMU_TEST_CMD, &cmd) ? -errno : 0;
}

static int sealed(uint64_t pages, uint64_t seed)
{
	int fd = luo_memfd_filled("ram", MFD_ALLOW_SEALING, pages, seed);

	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return -errno;
	return fd;
}

#endif /* LUO_IOMMUFD_MOCK_H */
