// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what a device that is in use does while the kernel is replaced.
 *
 * A user-space driver has a network device receive into a memfd, through
 * vfio-pci, iommufd and the IOMMU.  The host sends, watches the memory and
 * traces config space and IOMMU, see vm_dma.py; it judges, since for most of
 * the time nobody in the guest could.
 *
 * A device that nobody preserved is stopped by the kexec: no frame lands after
 * it, in the old memory least of all.  One that is preserved, with its page tables and
 * its memory, goes on: not a frame is lost or late, nothing goes past the IOMMU,
 * and nothing is written to its config space.  When it is finished its DMA no longer
 * reaches the memory, which is free then.  A neighbour that nobody preserved is
 * stopped all the same: its DMA is refused even when it may master the bus again.
 * A unit in scalable mode is refused when a device is preserved.
 *
 * vm-test: name=dma_stop stages=2 mem=3072 kernels=plain timeout=90 dma=stop
 * vm-test: name=dma_run stages=2 mem=3072 kernels=plain timeout=90 dma=run,stop \
 *          append="luo_way=run" profiles=48_bits,caching
 * vm-test: name=dma_scalable stages=1 mem=3072 kernels=plain timeout=90 dma=none,none \
 *          iommu="x-scalable-mode=on" append="luo_way=scalable luo_last=1 intel_iommu=sm_on"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

/* How many domain IDs of the IOMMU are in use. */
#define DOMAINS_USED	"/sys/class/iommu/dmar0/intel-iommu/domains_used"

#define MEMORY	1
#define DEVICE	2

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);

static bool way(const char *name)
{
	char val[16];

	return luo_cmdline_get("luo_way", val, sizeof(val)) && !strcmp(val, name);
}

static bool runs(void)
{
	return way("run");
}

/* Has a device receive, through page tables of its own. */
static void receive(struct __test_metadata *_metadata, struct nic *nic, int num)
{
	ASSERT_EQ(0, nic_find(nic, num));
	/* QEMU stops for every descriptor that is left when DMA is refused. */
	if (num)
		nic->tail = 8191;
	ASSERT_EQ(0, nic_grab(nic));
	ASSERT_EQ(0, nic_memory(nic));
	ASSERT_EQ(0, nic_open(nic));
	ASSERT_EQ(0, nic_start(nic));
	ASSERT_EQ(0, nic_tell(nic));
	ASSERT_EQ(0, nic_wait_frames(nic, 100, 30));
	EXPECT_EQ(nic->tail, nic_read(nic, NIC_RDT));
	ASSERT_EQ(0, luo_keep(nic->iommufd));
	ASSERT_EQ(0, luo_keep(nic->cdev));
}

LUO_TEST(stage1, device_receives)
{
	struct nic nic, next;
	int dev, s, fd;

	if (way("scalable")) {
		ASSERT_EQ(0, nic_find(&nic, 0));
		ASSERT_EQ(0, nic_grab(&nic));
		ASSERT_EQ(0, nic_memory(&nic));
		ASSERT_EQ(0, nic_open(&nic));
		dev = luo_open_dev();
		ASSERT_LE(0, dev);
		s = luo_create_session(dev, "dma");
		ASSERT_LE(0, s);
		fd = nic_device_file(nic.bdf);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-EOPNOTSUPP, luo_preserve_fd(s, fd, DEVICE));
		EXPECT_EQ(1, luo_klog_has("is in scalable mode"));
		return;
	}

	receive(_metadata, &nic, 0);
	if (!runs())
		return;
	receive(_metadata, &next, 1);

	dev = luo_open_dev();
	ASSERT_LE(0, dev);
	s = luo_create_session(dev, "dma");
	ASSERT_LE(0, s);
	fd = nic_device_file(nic.bdf);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_preserve_fd(s, nic.memfd, MEMORY));
	/* All of it can be undone. */
	ASSERT_EQ(0, luo_preserve_fd(s, fd, DEVICE));
	close(s);
	s = luo_create_session(dev, "dma");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, nic.memfd, MEMORY));
	ASSERT_EQ(0, luo_preserve_fd(s, fd, DEVICE));
	ASSERT_EQ(0, luo_keep(s));
	close(dev);
}

LUO_TEST(stage2, device_is_there)
{
	struct nic nic;
	int dev, s;

	ASSERT_EQ(0, nic_find(&nic, 0));
	EXPECT_EQ(0x8086, nic_sysfs_config(nic.bdf, PCI_VENDOR_ID, 2));
	/* Time for what should, or should not, happen. */
	sleep(1);
	if (!runs())
		return;

	EXPECT_TRUE(nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	EXPECT_EQ(0, luo_klog_has("not written to"));
	EXPECT_EQ(1, luo_klog_has("taken over with translation on"));
	/* No domain has the number of the restored one, which is as many as before. */
	EXPECT_EQ(luo_cmdline_num("luox_domains", 0), luo_file_num(DOMAINS_USED));
	/* Its driver has let it master the bus before it was reset. */
	EXPECT_LE(1, luo_klog_has("Request device [02:00.0] fault addr"));
	EXPECT_EQ(0, luo_klog_has("Request device [01:00.0] fault addr"));
	ASSERT_EQ(0, nic_mark(1, NIC_MARK_LAST));
	printf("dma: 0 quiet\n");
	sleep(1);

	dev = luo_open_dev();
	ASSERT_LE(0, dev);
	s = luo_retrieve_session(dev, "dma");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	/* Now the kernel's own driver may have it. */
	ASSERT_EQ(0, luo_write_file("/sys/bus/pci/drivers/e1000e/bind", nic.bdf));
	close(dev);
}

static int next(int stage)
{
	char extra[40];
	int ret;

	snprintf(extra, sizeof(extra), "luox_domains=%lld", luo_file_num(DOMAINS_USED));
	ret = luo_kexec_load(NULL, stage + 1, extra, 0);
	if (!ret && runs())
		ret = nic_mark(1, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
