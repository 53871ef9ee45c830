// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a function of a device is stopped, and the function beside it is not disturbed.
 *
 * Two functions of a network device are in one group and use one page table.  They receive
 * while the kernel is replaced, each with its memory in a session of its own.  The second one
 * is fenced: it cannot be reset with the bus, as it is not alone there, and of
 * what is left (D3hot) this model takes no notice.  All the same not one of its frames lands
 * after that, while of the other one's frames none is lost, see vm_dma.py, also when
 * the session of the first is finished.
 *
 * vm-test: name=fence_function stages=2 mem=3072 kernels=plain timeout=90 \
 *          dma=carry,+fence,none
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

#define RUNS_ON		0
#define FENCED		1
#define FUNCTIONS	2
#define MARKS		2		/* the device behind them */
#define MEMORY		1
#define DEVICE		2
#define BESIDE		(16UL << 20)	/* where in the page table the second one is */
#define MORE		50		/* frames */

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static const char * const sessions[FUNCTIONS] = { "runs on", "fenced" };

static int preserve(int dev, const struct nic *nic)
{
	int s = luo_create_session(dev, sessions[nic->num]), fd = nic_device_file(nic->bdf), ret;

	if (s < 0 || fd < 0)
		return s < 0 ? s : fd;
	ret = luo_preserve_fd(s, nic->memfd, MEMORY);
	if (!ret)
		ret = luo_preserve_fd(s, fd, DEVICE);
	return ret ? ret : luo_keep(s);
}

LUO_TEST(stage1, functions_receive)
{
	struct nic nic[FUNCTIONS];

	/* All of a group before any of it is opened */
	for (int i = 0; i < FUNCTIONS; i++) {
		ASSERT_EQ(0, nic_find(&nic[i], i));
		ASSERT_EQ(0, nic_grab(&nic[i]));
	}
	/* QEMU stops for every descriptor that is left when DMA is refused. */
	nic[FENCED].tail = 8191;
	for (int i = 0; i < FUNCTIONS; i++) {
		if (i) {
			nic[i].iommufd = nic[0].iommufd;
			nic[i].ioas = nic[0].ioas;
			nic[i].hwpt = nic[0].hwpt;
			nic[i].iova += BESIDE;
		}
		ASSERT_EQ(0, nic_memory(&nic[i]));
		ASSERT_EQ(0, nic_open(&nic[i]));
		ASSERT_EQ(0, nic_start(&nic[i]));
		ASSERT_EQ(0, nic_tell(&nic[i]));
		ASSERT_EQ(0, luo_keep(nic[i].cdev));
	}
	ASSERT_EQ(0, luo_keep(nic[0].iommufd));
	for (int i = 0; i < FUNCTIONS; i++) {
		ASSERT_EQ(0, nic_wait_frames(&nic[i], 100, 60));
		ASSERT_EQ(0, preserve(self->dev, &nic[i]));
	}
}

static int retrieve(int session, struct nic *nic)
{
	nic->memfd = luo_retrieve_fd(session, MEMORY);
	if (nic->memfd < 0)
		return nic->memfd;
	nic->mem = mmap(NULL, NIC_MEM_SIZE, PROT_READ, MAP_SHARED, nic->memfd, 0);
	return nic->mem == MAP_FAILED ? -errno : 0;
}

static bool is_master(const struct nic *nic)
{
	return nic_sysfs_config(nic->bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

static int receives(const struct nic *nic)
{
	return nic_wait_frames(nic, nic_frames(nic) + MORE, 60);
}

LUO_TEST(stage2, one_is_fenced)
{
	struct nic nic[FUNCTIONS];
	int s[FUNCTIONS];
	uint32_t frames;

	ASSERT_EQ(0, nic_mark(MARKS, NIC_MARK_LAST));
	for (int i = 0; i < FUNCTIONS; i++) {
		ASSERT_EQ(0, nic_find(&nic[i], i));
		s[i] = luo_retrieve_session(self->dev, sessions[i]);
		ASSERT_LE(0, s[i]);
		ASSERT_EQ(0, retrieve(s[i], &nic[i]));
		ASSERT_EQ(0, receives(&nic[i]));
	}
	ASSERT_LE(0, luo_retrieve_fd(s[RUNS_ON], DEVICE));

	ASSERT_EQ(0, vfio_fence(s[FENCED]));
	frames = nic_frames(&nic[FENCED]);
	printf("dma: %d fenced\n", FENCED);
	EXPECT_EQ(1, luo_klog_has("01:00.1: fenced: its DMA is cut off, and it was reset by pm"));
	EXPECT_EQ(0, luo_klog_has("01:00.0: fenced"));
	EXPECT_FALSE(is_master(&nic[FENCED]));
	EXPECT_TRUE(is_master(&nic[RUNS_ON]));
	EXPECT_EQ(0, receives(&nic[RUNS_ON]));

	ASSERT_EQ(0, luo_finish(s[FENCED]));
	close(s[FENCED]);
	EXPECT_EQ(0, receives(&nic[RUNS_ON]));
	EXPECT_EQ(frames, nic_frames(&nic[FENCED]));
	EXPECT_FALSE(is_master(&nic[FENCED]));

	/* The group gets its default domain. */
	ASSERT_EQ(0, nic_quiet(&nic[RUNS_ON]));
	ASSERT_EQ(0, luo_finish(s[RUNS_ON]));
	EXPECT_EQ(0, luo_klog_has("not written to"));
	EXPECT_EQ(0, luo_klog_has("fault addr"));
	/* Time for what should not happen. */
	usleep(500000);
	EXPECT_EQ(frames, nic_frames(&nic[FENCED]));
}

static int next(int stage)
{
	int ret = luo_kexec_load(NULL, stage + 1, NULL, 0);

	if (!ret)
		ret = nic_mark(MARKS, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
