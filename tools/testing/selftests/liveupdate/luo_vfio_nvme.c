// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: reads that a controller has begun complete while the kernel is replaced, and
 * none of their interrupts is lost.
 *
 * An NVMe disk that takes its time gets 64 reads just before reboot().  In the next
 * kernel all of them have completed, or do so, each with its own page of the disk, and
 * what the controller signalled in between is pending.  It was not reset: its registers
 * are as they were, and the host saw none of them written, see vm_dma.py.  The first
 * VFIO_DEVICE_SET_IRQS signals each eventfd, and further commands are heard.
 *
 * A second one, as busy, is fenced, by FLR: nothing more comes from it, and the kernel's
 * own driver reads the disk afterwards.
 *
 * vm-test: name=vfio_nvme stages=2 mem=3072 kernels=plain timeout=120 dma=nvme,flr,none \
 *          profiles=48_bits,caching
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_nvme.h"
#include "luo_stages.h"

#define SEED	11

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static const char *name_of(int num)
{
	return num ? "flr" : "nvme";
}

/* Which page of the disk goes into a buffer: all of them, in another order. */
static uint32_t page_of(uint32_t num)
{
	return (num * 37 + 5) % NVME_READS;
}

static int wait_signal(int eventfd)
{
	struct pollfd pfd = { .fd = eventfd, .events = POLLIN };

	return poll(&pfd, 1, 60000) == 1 ? 0 : -ETIMEDOUT;
}

/* Waits until so many commands are taken, by its interrupts only. */
static int wait_reaped(struct nvme *nvme, int queue, int eventfd, int want)
{
	int ret;

	for (int done = 0; done < want;) {
		ret = wait_signal(eventfd);
		if (ret)
			return ret;
		vfio_signals(eventfd);
		done += nvme_reap(nvme, queue);
	}
	return 0;
}

/* A disk with known content, of which all is read again, by interrupts. */
static void set_up(struct __test_metadata *_metadata, struct nvme *nvme, int num)
{
	int efd[NVME_VECTORS];

	ASSERT_EQ(0, nvme_find(nvme, num));
	ASSERT_EQ(0, vfio_give(nvme->bdf, "vfio-pci"));
	ASSERT_EQ(0, nvme_memory(nvme));
	ASSERT_EQ(0, nvme_open(nvme));
	for (int i = 0; i < NVME_VECTORS; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, nvme_irqs(nvme, efd));
	ASSERT_EQ(0, nvme_start(nvme));
	EXPECT_EQ(NVME_CSTS_RDY, nvme->state->csts);

	luo_fill(nvme_buffer(nvme, 0), 0, NVME_READS, SEED);
	nvme_submit_write(nvme, NVME_READS);
	nvme_ring(nvme, 1);
	ASSERT_EQ(0, wait_reaped(nvme, 1, efd[1], 1));
	ASSERT_EQ(0, nvme->state->status[0]);
	memset(nvme_buffer(nvme, 0), 0, NVME_READS * LUO_PAGE);
	nvme_submit_read(nvme, 0, 3);
	nvme_ring(nvme, 1);
	ASSERT_EQ(0, wait_reaped(nvme, 1, efd[1], 1));
	ASSERT_EQ(LUO_OK, luo_verify(nvme_buffer(nvme, 0), 3, 1, SEED));
	memset(nvme_buffer(nvme, 0), 0, LUO_PAGE);
}

static int preserve(int dev, const struct nvme *nvme, int num)
{
	int s = luo_create_session(dev, name_of(num)), ret;

	if (s < 0)
		return s;
	ret = vfio_mark(nvme->iommufd, nvme->hwpt, VFIO_LABEL);
	if (!ret)
		ret = vfio_preserve(s, nvme->memfd, nvme->iommufd, nvme->cdev);
	return ret ? ret : luo_keep(s);
}

LUO_TEST(stage1, busy_disks)
{
	struct nvme nvme[2];

	printf("dma: 0 watch\n");
	for (int i = 0; i < 2; i++)
		set_up(_metadata, &nvme[i], i);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, preserve(self->dev, &nvme[i], i));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));

	/* Nobody takes what completes from here on. */
	for (int i = 0; i < 2; i++) {
		for (uint32_t r = 0; r < NVME_READS; r++)
			nvme_submit_read(&nvme[i], r, page_of(r));
		nvme_ring(&nvme[i], 1);
		nvme[i].state->done_before = nvme_completed(&nvme[i]);
		EXPECT_GT(NVME_READS / 2, nvme[i].state->done_before);
	}
}

/* Back in the next kernel; returns the session. */
static int come_back(struct __test_metadata *_metadata, int dev, struct nvme *nvme, int num)
{
	int s = luo_retrieve_session(dev, name_of(num));

	ASSERT_EQ(0, nvme_find(nvme, num));
	ASSERT_LE(0, s);
	ASSERT_EQ(0, vfio_give(nvme->bdf, "vfio-pci"));
	nvme->cdev = luo_retrieve_fd(s, VFIO_DEVICE);
	ASSERT_LE(0, nvme->cdev);
	nvme->iommufd = luo_retrieve_fd(s, VFIO_IOMMU);
	ASSERT_LE(0, nvme->iommufd);
	nvme->memfd = luo_retrieve_fd(s, VFIO_MEMORY);
	ASSERT_LE(0, nvme->memfd);
	ASSERT_EQ(0, nvme_adopt(nvme));
	return s;
}

static void further_reads(struct __test_metadata *_metadata, struct nvme *nvme, const int *efd)
{
	for (uint32_t r = 0; r < 4; r++) {
		memset(nvme_buffer(nvme, r), 0, LUO_PAGE);
		nvme_submit_read(nvme, r, page_of(r + 9));
	}
	nvme_ring(nvme, 1);
	ASSERT_EQ(0, wait_reaped(nvme, 1, efd[1], 4));
	for (uint32_t r = 0; r < 4; r++) {
		EXPECT_EQ(0, nvme->state->status[r]);
		EXPECT_EQ(LUO_OK, luo_verify(nvme_buffer(nvme, r), page_of(r + 9), 1, SEED));
	}
	nvme_submit_identify(nvme);
	nvme_ring(nvme, 0);
	ASSERT_EQ(0, wait_reaped(nvme, 0, efd[0], 1));
	EXPECT_EQ(0, nvme->state->status[0]);
}

LUO_TEST(stage2, reads_complete)
{
	int s, efd[NVME_VECTORS];
	uint32_t left = NVME_READS;
	uint64_t pending;
	struct nvme nvme;

	s = come_back(_metadata, self->dev, &nvme, 0);
	/* No reset came between */
	EXPECT_EQ(nvme.state->cc, nvme_read32(&nvme, NVME_CC));
	EXPECT_EQ(nvme.state->csts, nvme_read32(&nvme, NVME_CSTS));
	EXPECT_EQ(nvme.state->aqa, nvme_read32(&nvme, NVME_AQA));
	EXPECT_EQ(nvme.state->asq, nvme_read64(&nvme, NVME_ASQ));
	EXPECT_EQ(nvme.state->acq, nvme_read64(&nvme, NVME_ACQ));
	ASSERT_EQ(0, nic_mark(0, NIC_MARK_LAST));

	/* They went on with nobody there, and said so to nobody: of the admin queue nothing. */
	EXPECT_LT(nvme.state->done_before, nvme_completed(&nvme));
	luo_note("%u of %u reads completed before reboot(), %u by now", nvme.state->done_before,
		 NVME_READS, nvme_completed(&nvme));
	ASSERT_EQ(0, vfio_msix_pending(nvme.cdev, &pending));
	EXPECT_EQ(2, pending);

	for (int i = 0; i < NVME_VECTORS; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, nvme_irqs(&nvme, efd));
	EXPECT_EQ(1, vfio_signals(efd[0]));
	ASSERT_EQ(0, vfio_msix_pending(nvme.cdev, &pending));
	EXPECT_EQ(0, pending);
	left -= nvme_completed(&nvme);
	ASSERT_EQ(0, wait_reaped(&nvme, 1, efd[1], NVME_READS));
	for (uint32_t r = 0; r < NVME_READS; r++) {
		EXPECT_EQ(0, nvme.state->status[r]);
		EXPECT_EQ(LUO_OK, luo_verify(nvme_buffer(&nvme, r), page_of(r), 1, SEED));
	}
	luo_note("%u completed after the interrupts were back", left);
	further_reads(_metadata, &nvme, efd);

	ASSERT_EQ(0, luo_finish(s));
	further_reads(_metadata, &nvme, efd);
	/* Just once, that is over. */
	for (int i = 0; i < NVME_VECTORS; i++)
		vfio_signals(efd[i]);
	ASSERT_EQ(0, nvme_irqs(&nvme, efd));
	EXPECT_EQ(0, vfio_signals(efd[0]));
	EXPECT_EQ(0, vfio_signals(efd[1]));
	EXPECT_EQ(0, luo_klog_has("not written to"));
	EXPECT_EQ(0, luo_klog_has("fault addr"));
	close(s);
}

/* By the kernel's own driver, which has it when it is no longer incoming. */
static int read_disk(const char *bdf, void *page)
{
	char path[300];
	int fd = -ENOENT;

	for (int i = 0; i < 300 && fd < 0; i++) {
		for (int n = 0; n < 2 && fd < 0; n++) {
			snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nvme/nvme%d", bdf, n);
			if (access(path, F_OK))
				continue;
			snprintf(path, sizeof(path), "/dev/nvme%dn1", n);
			fd = open(path, O_RDONLY | O_CLOEXEC);
		}
		usleep(100000);
	}
	if (fd < 0)
		return -errno;
	return pread(fd, page, LUO_PAGE, LUO_PAGE) == LUO_PAGE ? 0 : -errno;
}

LUO_TEST(stage2, fenced_by_flr)
{
	uint32_t done;
	struct nvme nvme;
	uint64_t page[LUO_PAGE / sizeof(uint64_t)];
	int s;

	s = come_back(_metadata, self->dev, &nvme, 1);
	EXPECT_EQ(nvme.state->cc, nvme_read32(&nvme, NVME_CC));
	EXPECT_EQ(0, luo_klog_has("0000:02:00.0: fenced"));
	ASSERT_EQ(0, vfio_fence(s));
	EXPECT_EQ(1, luo_klog_has("02:00.0: fenced: its DMA is cut off, and it was reset by flr"));
	done = nvme_completed(&nvme);
	EXPECT_EQ(0, nvme_read32(&nvme, NVME_CSTS));
	EXPECT_EQ(0, nvme_read32(&nvme, NVME_CC));
	EXPECT_EQ(0, nic_sysfs_config(nvme.bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	sleep(2);
	EXPECT_EQ(done, nvme_completed(&nvme));
	ASSERT_EQ(0, luo_finish(s));
	munmap(nvme.regs, nvme.regs_len);
	close(nvme.cdev);
	close(nvme.iommufd);
	close(s);

	ASSERT_EQ(0, vfio_give(nvme.bdf, "nvme"));
	ASSERT_EQ(0, read_disk(nvme.bdf, page));
	EXPECT_EQ(LUO_OK, luo_verify(page, 1, 1, SEED));
}

/* The image is loaded already, so that the reads have just begun. */
static int next(int stage)
{
	int ret = nic_mark(0, NIC_MARK_FIRST);

	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
