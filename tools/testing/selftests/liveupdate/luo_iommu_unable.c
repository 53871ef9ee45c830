// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device behind an IOMMU whose driver knows nothing of live updates is refused,
 * with its iommufd preserved before it, and stays what it was.
 *
 * Nothing is mapped: in a HWPT that has yet to be attached, this driver lets nobody.
 *
 * vm-test: name=iommu_unable stages=1 mem=1024 kernels=plain timeout=60 \
 *          append="iommufd.allow_unsafe_interrupts=1" \
 *          qemu="-device virtio-iommu-pci -device pcie-root-port,id=rp1,chassis=1,addr=8 \
 *          -device e1000e,bus=rp1"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

LUO_STAGE(stage1);

LUO_TEST(stage1, refused)
{
	char line[120];
	struct nic nic;
	int s;

	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, nic_grab(&nic));
	nic.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	nic.cdev = vfio_cdev_open(nic.bdf);
	ASSERT_EQ(0, vfio_bind(nic.cdev, nic.iommufd, &nic.devid));
	ASSERT_EQ(0, vfio_pt_alloc(nic.iommufd, nic.devid, &nic.ioas, &nic.hwpt));
	ASSERT_EQ(0, vfio_attach(nic.cdev, nic.hwpt));
	ASSERT_EQ(0, vfio_mark(nic.iommufd, nic.hwpt, VFIO_LABEL));
	s = luo_create_session(self->dev, "unable");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, nic.iommufd, VFIO_IOMMU));
	EXPECT_EQ(-EOPNOTSUPP, luo_preserve_fd(s, nic.cdev, VFIO_DEVICE));
	snprintf(line, sizeof(line),
		 "%s: cannot be preserved: the driver of its IOMMU cannot do that", nic.bdf);
	EXPECT_EQ(1, luo_klog_has(line));
	close(s);
	EXPECT_EQ(0, vfio_detach(nic.cdev));
	EXPECT_EQ(0, vfio_attach(nic.cdev, nic.hwpt));
}

int main(void)
{
	const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
