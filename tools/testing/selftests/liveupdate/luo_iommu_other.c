// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device whose IOMMU is not as the previous kernel left it is fenced, and the
 * boot goes on.
 *
 * The record is damaged on the way, which is seen as a unit with other abilities, one that
 * is gone, and page tables of another width; then the next kernel comes with
 * intel_iommu=off in spite of all checks. Each time the device has lost its bus mastering and
 * was reset before anybody could ask, the session is finished without it, its memory
 * is there, and the device can be opened afresh and preserved again. In the first of these
 * kernels it was receiving, and not a frame lands after it was fenced, see vm_dma.py.
 * The same where the next kernel runs the unit in scalable mode, for which it needs one
 * that can.
 *
 * vm-test: name=iommu_other stages=5 mem=3072 kernels=plain timeout=200 dma=fence poke=1 \
 *          append="initcall_blacklist=e1000_init_module"
 * vm-test: name=iommu_other_mode stages=2 mem=3072 kernels=plain timeout=90 dma=fence \
 *          iommu="x-scalable-mode=on" \
 *          append="initcall_blacklist=e1000_init_module luo_way=mode luo_last=2"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

#define SEED	11

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);
LUO_STAGE(stage4);
LUO_STAGE(stage5);

/* What becomes of the record on the way out of a stage, and what its successor says. */
struct way_out {
	const char *poke;
	const char *append;
	const char *says;
};

static const struct way_out ways[] = {
	[1] = { "iommu_ecap", NULL, "is not taken over: its capabilities are others" },
	[2] = { "iommu_gone", NULL, "of vtd-v1 is not there" },
	[3] = { "iommu_width", NULL, "its domain cannot be restored, its DMA is blocked" },
	[4] = { NULL, "intel_iommu=off", "was left running, and is stopped" },
};

static const struct way_out other_mode = {
	NULL, "intel_iommu=sm_on", "is not taken over: scalable mode is on",
};

static bool is_mode(void)
{
	char val[16];

	return luo_cmdline_get("luo_way", val, sizeof(val)) && !strcmp(val, "mode");
}

static const struct way_out *way_out(int stage)
{
	return is_mode() ? &other_mode : &ways[stage];
}

static void receive(struct __test_metadata *_metadata, struct nic *nic)
{
	ASSERT_EQ(0, nic_find(nic, 0));
	/* QEMU stops for every descriptor that is left when DMA is refused. */
	nic->tail = 8191;
	ASSERT_EQ(0, nic_grab(nic));
	ASSERT_EQ(0, nic_memory(nic));
	ASSERT_EQ(0, nic_open(nic));
	ASSERT_EQ(0, nic_start(nic));
}

static void keep(struct __test_metadata *_metadata, int dev, const struct nic *nic)
{
	int s = luo_create_session(dev, "other");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, vfio_mark(nic->iommufd, nic->hwpt, VFIO_LABEL));
	luo_fill(nic->mem + NIC_MEM_SIZE - LUO_PAGE, luo_stage(), 1, SEED);
	ASSERT_EQ(0, vfio_preserve(s, nic->memfd, nic->iommufd, nic->cdev));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, receives)
{
	struct nic nic;

	receive(_metadata, &nic);
	ASSERT_EQ(0, nic_tell(&nic));
	ASSERT_EQ(0, nic_wait_frames(&nic, 100, 60));
	keep(_metadata, self->dev, &nic);
}

static void is_fenced(struct __test_metadata *_metadata, int dev)
{
	const char *says = way_out(luo_stage() - 1)->says;
	struct nic nic;
	char *mem;
	int s, fd;

	ASSERT_EQ(0, nic_find(&nic, 0));
	if (luo_stage() == 2) {
		printf("dma: 0 fenced\n");
		sleep(2);
		printf("dma: 0 quiet\n");
	}
	EXPECT_EQ(0, nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	EXPECT_EQ(1, luo_klog_has(says)) {
		TH_LOG("nothing that \"%s\"", says);
	}
	EXPECT_EQ(1, luo_klog_has("was left running, and is stopped"));
	/* By its bus, too, but QEMU's port takes too long to come up again. */
	EXPECT_EQ(1, luo_klog_has("fenced: its DMA is cut off, and it was reset by"));
	EXPECT_EQ(0, luo_klog_has("not written to"));

	/* An ordinary device */
	ASSERT_EQ(0, nic_grab(&nic));
	s = luo_retrieve_session(dev, "other");
	ASSERT_LE(0, s);
	EXPECT_EQ(-ENODEV, luo_retrieve_fd(s, VFIO_DEVICE));
	EXPECT_EQ(1, luo_klog_has("was not taken over"));
	fd = luo_retrieve_fd(s, VFIO_MEMORY);
	ASSERT_LE(0, fd);
	mem = mmap(NULL, LUO_PAGE, PROT_READ, MAP_SHARED, fd, NIC_MEM_SIZE - LUO_PAGE);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(LUO_OK, luo_verify(mem, luo_stage() - 1, 1, SEED));
	EXPECT_EQ(0, luo_finish(s));
	munmap(mem, LUO_PAGE);
	close(fd);
	close(s);
}

static void again(struct __test_metadata *_metadata, int dev)
{
	struct nic nic;

	is_fenced(_metadata, dev);
	if (is_mode())
		return;
	receive(_metadata, &nic);
	EXPECT_EQ(0, luo_klog_has("fault addr"));
	keep(_metadata, dev, &nic);
}

LUO_TEST(stage2, unit_with_other_abilities_or_mode) { again(_metadata, self->dev); }
LUO_TEST(stage3, unit_is_gone) { again(_metadata, self->dev); }
LUO_TEST(stage4, other_width) { again(_metadata, self->dev); }
LUO_TEST(stage5, switched_off) { is_fenced(_metadata, self->dev); }

static int next(int stage)
{
	const struct way_out *way = way_out(stage);
	int ret = luo_ignore_record();

	if (ret >= 0)
		ret = luo_kexec_load(NULL, stage + 1, way->append, 0);
	if (!ret && way->poke)
		ret = luo_poke(way->poke);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 5, .next = next };

	return luo_stages_main(&stages);
}
