// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what it costs to preserve the page table of a device, and to adopt it.
 *
 * Runs under the instruction counter, where a nanosecond is an instruction. Each memory
 * has a device, an iommufd and a session of its own: 128 MiB in contiguous pages of 4 KiB,
 * 128 MiB as every second page, and 512 MiB in folios of 2 MiB. PRESERVE_FD is counted of
 * iommufd and device together, and so is RETRIEVE_FD, when the memfd is there already. What
 * there is to beat is IOMMU_IOAS_MAP of the same, which is printed as well.
 *
 * vm-test: name=iommu_perf stages=2 mem=2560 kernels=plain icount=1 timeout=300 \
 *          dma=none,none,none append="-ignore_loglevel loglevel=5"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/iommufd.h>
#include <linux/iommufd_liveupdate.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MIB		(1UL << 20)
#define IOVA		0x140000000ULL
#define MEMORY		1	/* tokens */
#define IOMMU		2
#define DEVICE		3
#define BETWEEN		4

LUO_STAGE(stage1);
LUO_STAGE(stage2);

struct load {
	const char *name;
	int nic;
	unsigned long bytes;
	bool scattered;
	bool huge;
	/* Instructions, per page of 4 KiB */
	unsigned long long preserve, adopt;
};

static const struct load contiguous = { "4k", 0, 128 * MIB, false, false, 200, 150 };
static const struct load scattered = { "scattered", 1, 128 * MIB, true, false, 200, 150 };
/* 1 ms per GiB is 3.8 instructions per 4 KiB; opening a device takes 700 us. */
static const struct load huge = { "2m", 2, 512 * MIB, false, true, 3, 10 };

static uint64_t *map_new(struct __test_metadata *_metadata, const struct load *load, int session,
			 uint64_t token, int *fd)
{
	void *mem;

	*fd = luo_memfd(load->name, MFD_ALLOW_SEALING, load->bytes);
	ASSERT_LE(0, *fd);
	ASSERT_EQ(0, fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	/* Before it has pages, so that they need not be moved, and stay scattered. */
	ASSERT_EQ(0, luo_preserve_fd(session, *fd, token));
	mem = mmap(NULL, load->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	return mem;
}

/* How many runs of page frames are there? */
static unsigned long runs_of(struct __test_metadata *_metadata, const void *mem, size_t pages)
{
	uint64_t *pfns = calloc(pages, sizeof(*pfns));
	unsigned long runs = 1;

	ASSERT_NE(NULL, pfns);
	luo_pfns_of(mem, pfns, pages);
	ASSERT_NE(0, pfns[0]);
	for (size_t i = 1; i < pages; i++)
		runs += pfns[i] != pfns[i - 1] + 1 && pfns[i] + 1 != pfns[i - 1];
	free(pfns);
	return runs;
}

/* Pages of one memfd, or of two in turn, so that those of the first are scattered. */
static void *memory(struct __test_metadata *_metadata, const struct load *load, int session,
		    int *fd)
{
	size_t pages = load->bytes / LUO_PAGE, step = load->huge ? LUO_HUGE / LUO_PAGE : 1;
	uint64_t *mem, *other = NULL;
	unsigned long runs;
	int between;

	ASSERT_EQ(0, luo_write_file(SHMEM_THP, load->huge ? "always" : "never"));
	mem = map_new(_metadata, load, session, MEMORY, fd);
	if (load->scattered)
		other = map_new(_metadata, load, session, BETWEEN, &between);
	for (size_t i = 0; i < pages; i += step) {
		mem[i * LUO_PAGE / 8] = i;
		if (other)
			other[i * LUO_PAGE / 8] = i;
	}
	runs = runs_of(_metadata, mem, pages);
	EXPECT_EQ(load->scattered, runs > pages * 9 / 10);
	EXPECT_EQ(!load->scattered, runs < pages / 20);
	return mem;
}

/* Attached to a page table that has a mark, and maps nothing. */
static int attached(struct nic *nic)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct iommu_hwpt_alloc hwpt = { .size = sizeof(hwpt) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_hwpt_liveupdate_mark_preserve mark = { .size = sizeof(mark) };

	nic->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	nic->cdev = vfio_cdev_open(nic->bdf);
	if (nic->iommufd < 0 || nic->cdev < 0)
		return -ENODEV;
	bind.iommufd = nic->iommufd;
	if (ioctl(nic->cdev, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(nic->iommufd, IOMMU_IOAS_ALLOC, &ioas))
		return -errno;
	nic->ioas = ioas.out_ioas_id;
	hwpt.dev_id = bind.out_devid;
	hwpt.pt_id = nic->ioas;
	if (ioctl(nic->iommufd, IOMMU_HWPT_ALLOC, &hwpt))
		return -errno;
	attach.pt_id = hwpt.out_hwpt_id;
	mark.hwpt_id = hwpt.out_hwpt_id;
	return ioctl(nic->cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ||
	       ioctl(nic->iommufd, IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE, &mark) ? -errno : 0;
}

static void out(struct __test_metadata *_metadata, int dev, const struct load *load)
{
	unsigned long long pages = load->bytes / LUO_PAGE;
	struct iommu_ioas_map map = {
		.size = sizeof(map), .length = load->bytes, .iova = IOVA,
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
	};
	uint64_t mapped, preserved, device;
	struct nic nic;
	void *mem;
	int s;

	ASSERT_EQ(0, nic_find(&nic, load->nic));
	ASSERT_EQ(0, nic_grab(&nic));
	s = luo_create_session(dev, load->name);
	ASSERT_LE(0, s);
	mem = memory(_metadata, load, s, &nic.memfd);
	ASSERT_EQ(0, attached(&nic));
	map.ioas_id = nic.ioas;
	map.user_va = (uintptr_t)mem;
	mapped = luo_now_ns();
	ASSERT_EQ(0, ioctl(nic.iommufd, IOMMU_IOAS_MAP, &map));
	mapped = luo_now_ns() - mapped;

	preserved = luo_now_ns();
	ASSERT_EQ(0, luo_preserve_fd(s, nic.iommufd, IOMMU));
	device = luo_now_ns();
	ASSERT_EQ(0, luo_preserve_fd(s, nic.cdev, DEVICE));
	preserved = luo_now_ns() - preserved;
	device = luo_now_ns() - device;
	luo_note("%s: MAP %llu instructions a page, PRESERVE_FD %llu (limit %llu)", load->name,
		 mapped / pages, preserved / pages, load->preserve);
	luo_note("%s: PRESERVE_FD %llu us, of the device %llu us", load->name,
		 preserved / 1000ULL, device / 1000ULL);
	EXPECT_GT(load->preserve, preserved / pages);
	ASSERT_EQ(0, luo_keep(s));
}

static void in(struct __test_metadata *_metadata, int dev, const struct load *load)
{
	unsigned long long pages = load->bytes / LUO_PAGE;
	uint64_t memory, adopted, device, finished;
	struct nic nic;
	int s;

	ASSERT_EQ(0, nic_find(&nic, load->nic));
	ASSERT_EQ(0, nic_grab(&nic));
	s = luo_retrieve_session(dev, load->name);
	ASSERT_LE(0, s);
	memory = luo_now_ns();
	nic.memfd = luo_retrieve_fd(s, MEMORY);
	memory = luo_now_ns() - memory;
	ASSERT_LE(0, nic.memfd);
	adopted = luo_now_ns();
	nic.iommufd = luo_retrieve_fd(s, IOMMU);
	device = luo_now_ns();
	nic.cdev = luo_retrieve_fd(s, DEVICE);
	adopted = luo_now_ns() - adopted;
	device = luo_now_ns() - device;
	ASSERT_LE(0, nic.iommufd);
	ASSERT_LE(0, nic.cdev);
	finished = luo_now_ns();
	ASSERT_EQ(0, luo_finish(s));
	finished = luo_now_ns() - finished;
	luo_note("%s: RETRIEVE_FD %llu instructions a page (limit %llu)", load->name,
		 adopted / pages, load->adopt);
	luo_note("%s: RETRIEVE_FD %llu us, of the device %llu us", load->name,
		 adopted / 1000ULL, device / 1000ULL);
	luo_note("%s: RETRIEVE_FD of the memfd %llu, FINISH %llu instructions a page",
		 load->name, memory / pages, finished / pages);
	EXPECT_GT(load->adopt, adopted / pages);
	close(s);
	close(nic.cdev);
	close(nic.iommufd);
	close(nic.memfd);
}

LUO_TEST(stage1, pages_4k) { out(_metadata, self->dev, &contiguous); }
LUO_TEST(stage2, pages_4k) { in(_metadata, self->dev, &contiguous); }
LUO_TEST(stage1, pages_scattered) { out(_metadata, self->dev, &scattered); }
LUO_TEST(stage2, pages_scattered) { in(_metadata, self->dev, &scattered); }
LUO_TEST(stage1, folios_2m) { out(_metadata, self->dev, &huge); }
LUO_TEST(stage2, folios_2m) { in(_metadata, self->dev, &huge); }

int main(void)
{
	const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
