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
 * it, in the old memory least of all.
 *
 * vm-test: name=dma_stop stages=2 mem=3072 kernels=plain timeout=90 dma=stop
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);

LUO_TEST(stage1, device_receives)
{
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, nic_grab(&nic));
	ASSERT_EQ(0, nic_memory(&nic));
	ASSERT_EQ(0, nic_open(&nic));
	ASSERT_EQ(0, nic_start(&nic));
	ASSERT_EQ(0, nic_tell(&nic));
	ASSERT_EQ(0, nic_wait_frames(&nic, 100, 30));
	EXPECT_EQ(NIC_RING - 1, nic_read(&nic, NIC_RDT));
	ASSERT_EQ(0, luo_keep(nic.iommufd));
	ASSERT_EQ(0, luo_keep(nic.cdev));
}

LUO_TEST(stage2, device_is_there_and_stopped)
{
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	EXPECT_EQ(0x8086, nic_sysfs_config(nic.bdf, PCI_VENDOR_ID, 2));
	/* Time for what should not happen. */
	sleep(1);
}

int main(void)
{
	const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
