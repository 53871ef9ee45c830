/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file, an IOAS with what may use it, and the ways from one to the other.
 *
 * The device and its page tables are those of the kernel's own tests of iommufd, the
 * helpers of which (iommu/iommufd_utils.h) are included before.
 */
#ifndef LUO_IOMMUFD_FILE_H
#define LUO_IOMMUFD_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "luo_test_util.h"

#define PAGES		8
#define RW		(IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)

static struct luo_map_file map_cmd(unsigned int ioas, int fd, uint64_t start, uint64_t len)
{
	return (struct luo_map_file){
		.size = sizeof(struct luo_map_file),
		.flags = RW,
		.ioas_id = ioas,
		.fd = fd,
		.start = start,
		.length = len,
	};
}

static int try_map(int iommu, struct luo_map_file cmd)
{
	return ioctl(iommu, LUO_MAP_FILE, &cmd) ? -errno : 0;
}

static int map_flags(int iommu, unsigned int ioas, int fd, uint64_t start, uint64_t len,
		     uint32_t flags, uint64_t *iova)
{
	struct luo_map_file cmd = map_cmd(ioas, fd, start, len);

	int ret;

	cmd.flags = flags;
	ret = ioctl(iommu, LUO_MAP_FILE, &cmd);
	*iova = cmd.iova;
	return ret ? -errno : 0;
}

static int map(int iommu, unsigned int ioas, int fd, uint64_t start, uint64_t len, uint64_t *iova)
{
	return map_flags(iommu, ioas, fd, start, len, RW, iova);
}

/* Does the domain have what a process sees at @va? */
static int check_domain(int iommu, unsigned int hwpt, uint64_t iova, uint64_t len, void *va)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_MD_CHECK_MAP,
		.id = hwpt,
		.check_map = { .iova = iova, .length = len, .uptr = (uintptr_t)va },
	};

	return ioctl(iommu, IOMMU_TEST_CMD, &cmd) ? -errno : 0;
}

static int check_pins(int iommu, void *va, uint64_t len, unsigned int refs)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_MD_CHECK_REFS,
		.check_refs = { .length = len, .uptr = (uintptr_t)va, .refs = refs },
	};

	return ioctl(iommu, IOMMU_TEST_CMD, &cmd) ? -errno : 0;
}

static int access_rw(int iommu, unsigned int access, uint64_t iova, void *buf, size_t len,
		     unsigned int flags)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_ACCESS_RW,
		.id = access,
		.access_rw = {
			.iova = iova, .length = len, .uptr = (uintptr_t)buf, .flags = flags,
		},
	};

	return ioctl(iommu, IOMMU_TEST_CMD, &cmd) ? -errno : 0;
}

FIXTURE(file)
{
	int iommu, fd, session;
	unsigned int ioas, hwpt, device, access;
	size_t len, page;
	char *mem;
	long long pins;
};

FIXTURE_VARIANT(file)
{
	unsigned int memfd_flags;
	int domains;
};

FIXTURE_VARIANT_ADD(file, shmem)
{
	.domains = 1,
};

FIXTURE_VARIANT_ADD(file, shmem_access_only)
{
	.domains = 0,
};

FIXTURE_VARIANT_ADD(file, hugetlb)
{
	.memfd_flags = MFD_HUGETLB,
	.domains = 1,
};

FIXTURE_SETUP(file)
{
	bool huge = variant->memfd_flags & MFD_HUGETLB;
	struct iommu_iova_range range = { MOCK_APERTURE_START, MOCK_APERTURE_LAST };
	struct iommu_ioas_allow_iovas allow = {
		.size = sizeof(allow),
		.num_iovas = 1,
		.allowed_iovas = (uintptr_t)&range,
	};

	self->pins = luo_pins();
	self->page = huge ? LUO_HUGE : LUO_PAGE;
	self->len = PAGES * self->page;
	self->iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->iommu);
	ASSERT_EQ(0, _test_ioctl_ioas_alloc(self->iommu, &self->ioas));
	/* Also when there is no domain yet that says so */
	allow.ioas_id = self->ioas;
	ASSERT_EQ(0, ioctl(self->iommu, IOMMU_IOAS_ALLOW_IOVAS, &allow));
	if (variant->domains)
		ASSERT_EQ(0, _test_cmd_mock_domain(self->iommu, self->ioas, &self->device,
						   &self->hwpt, NULL));
	ASSERT_EQ(0, _test_cmd_create_access(self->iommu, self->ioas, &self->access, 0));
	self->fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING | variant->memfd_flags);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	self->mem = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
}

FIXTURE_TEARDOWN(file)
{
	ASSERT_EQ(0, _test_cmd_destroy_access(self->access));
	close(self->iommu);
	/* The last user is gone, and with it every pin */
	EXPECT_EQ(self->pins, luo_pins());
	if (self->mem)
		munmap(self->mem, self->len);
	close(self->fd);
}

#endif /* LUO_IOMMUFD_FILE_H */
