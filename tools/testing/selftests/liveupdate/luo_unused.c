// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: whoever has live update and does not use it boots as if it was not there.
 *
 * The machine boots twice, without and with kho=on and liveupdate=on. vm_same.py
 * compares what QEMU saw: the writes to the config space of each device and port, and
 * all that the IOMMU was told, by registers and by its invalidation queue.
 *
 * Both times it is the same kernel, with the options off by default: to build one without
 * CONFIG_LIVEUPDATE for this alone would take as long as all VM tests. So what is in the
 * PCI core and the IOMMU driver is compiled in, and does nothing, in either.
 *
 * vm-test: name=unused kernels=plain mem=1024 dma=none,none same=unused_without \
 *          iommu="caching-mode=on" qemu="-trace vtd_inv_* -trace vtd_reg_write* \
 *          -blockdev null-co,node-name=null,size=16777216,read-zeroes=on \
 *          -device virtio-blk-pci,iommu_platform=on,disable-legacy=on,drive=null"
 * vm-test: name=unused_without kernels=plain mem=1024 dma=none,none \
 *          append="-kho -liveupdate kho=off liveupdate=off" \
 *          iommu="caching-mode=on" qemu="-trace vtd_inv_* -trace vtd_reg_write* \
 *          -blockdev null-co,node-name=null,size=16777216,read-zeroes=on \
 *          -device virtio-blk-pci,iommu_platform=on,disable-legacy=on,drive=null"
 */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

LUO_STAGE_NODEV(stage1);

LUO_TEST(stage1, on_or_off)
{
	char val[8] = "";

	ASSERT_TRUE(luo_cmdline_get("liveupdate", val, sizeof(val)));
	EXPECT_EQ(!strcmp(val, "on"), access(LUO_DEV, F_OK) == 0);
}

LUO_TEST(stage1, devices_have_drivers)
{
	char path[200];
	struct nic nic;

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, nic_find(&nic, i));
		snprintf(path, sizeof(path), "/sys/bus/pci/drivers/e1000e/%s", nic.bdf);
		EXPECT_EQ(0, access(path, F_OK));
	}
}

int main(void)
{
	const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
