// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device that cannot run through a live update is refused when it is
 * preserved, with an errno and a line in the log that names it and the reason.
 *
 * The machine has one of each: two functions that share a group, a device whose
 * addresses an ATS cache has, one behind a bridge that answers for it, a disk with
 * virtual functions, a VGA device, one of another driver of VFIO's, and one that can mask
 * INTx but may not (by the option of vfio-pci).  After each refusal the session is as
 * it was.
 *
 * vm-test: name=vfio_refused stages=1 mem=1024 kernels=plain timeout=60 \
 *          append="intel_iommu=on vfio_pci.enable_sriov=1 vfio_pci.nointxmask=1" \
 *          qemu="-device intel-iommu,intremap=on,device-iotlb=on \
 *          -device pcie-root-port,id=rp1,chassis=1,addr=8 \
 *          -device e1000e,bus=rp1,addr=0.0,multifunction=on -device e1000e,bus=rp1,addr=0.1 \
 *          -device pcie-root-port,id=rp2,chassis=2,addr=9 \
 *          -device virtio-rng-pci,bus=rp2,ats=on,disable-legacy=on,iommu_platform=on \
 *          -device pcie-root-port,id=rp3,chassis=3,addr=0xa -device nvme-subsys,id=sub \
 *          -device nvme,serial=luo,subsys=sub,bus=rp3,sriov_max_vfs=1,sriov_vq_flexible=2 \
 *          -global nvme.sriov_vi_flexible=1 -global nvme.max_ioqpairs=4 -global nvme.msix_qsize=6 \
 *          -device pcie-root-port,id=rp4,chassis=4,addr=0xb -device pcie-pci-bridge,id=pb,bus=rp4 \
 *          -device e1000,bus=pb,addr=1 -device pcie-root-port,id=rp5,chassis=5,addr=0xc \
 *          -device virtio-net-pci,bus=rp5,disable-legacy=on,iommu_platform=on,romfile="
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_vfio_util.h"

#define IOMMU	2
#define DEVICE	3
#define LABEL	7
#define SYS	"/sys/bus/pci/devices/"

/* IDs of devices, which tell them apart here */
#define E1000E		0x10d3
#define E1000		0x100e
#define VIRTIO_RNG	0x1044
#define VIRTIO_NET	0x1041
#define NVME		0x0010
#define VGA		0x1111

LUO_STAGE(stage1);

/* A device with an iommufd of its own, or that of another one, and a marked HWPT. */
struct user {
	char bdf[16];
	int cdev, iommufd;
	uint32_t devid, ioas, hwpt;
};

static int use_by(struct user *u, const struct user *with, const char *driver)
{
	int ret = vfio_give(u->bdf, driver);

	u->iommufd = with ? with->iommufd : open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (!ret) {
		u->cdev = vfio_cdev_open(u->bdf);
		ret = u->cdev < 0 ? u->cdev : 0;
	}
	if (!ret)
		ret = vfio_bind(u->cdev, u->iommufd, &u->devid);
	if (!ret && with)
		u->hwpt = with->hwpt;
	else if (!ret)
		ret = vfio_pt_alloc(u->iommufd, u->devid, &u->ioas, &u->hwpt);
	if (!ret)
		ret = vfio_attach(u->cdev, u->hwpt);
	if (!ret && !with)
		ret = vfio_mark(u->iommufd, u->hwpt, LABEL);
	return ret;
}

static int use(struct user *u, const struct user *with)
{
	return use_by(u, with, "vfio-pci");
}

static void leave(struct user *u)
{
	close(u->cdev);
	close(u->iommufd);
}

static int find(struct user *u, int device, int num)
{
	memset(u, 0, sizeof(*u));
	return vfio_find(u->bdf, sizeof(u->bdf), "device", device, num);
}

/* Does the log say this of the device? */
static int said(const char *bdf, const char *what)
{
	char line[200];
	int n;

	snprintf(line, sizeof(line), "%s: %s", bdf, what);
	n = luo_klog_has(line);
	snprintf(line, sizeof(line), "%s: cannot be preserved: %s", bdf, what);
	return n + luo_klog_has(line);
}

/* A session with the iommufd in it, which says no to the device. */
static int refused(int dev, const struct user *u)
{
	int s = luo_create_session(dev, "refused"), ret;

	if (s < 0)
		return s;
	ret = luo_preserve_fd(s, u->iommufd, IOMMU);
	if (!ret)
		ret = luo_preserve_fd(s, u->cdev, DEVICE);
	close(s);
	/* Nothing is left of it. */
	return vfio_detach(u->cdev) || vfio_attach(u->cdev, u->hwpt) ? -EBUSY : ret;
}

LUO_TEST(stage1, shared_group)
{
	struct user first, second;
	int s;

	ASSERT_EQ(0, find(&first, E1000E, 0));
	ASSERT_EQ(0, find(&second, E1000E, 1));
	ASSERT_EQ(0, vfio_give(second.bdf, NULL));
	ASSERT_EQ(0, use(&first, NULL));
	EXPECT_EQ(-EINVAL, refused(self->dev, &first));
	EXPECT_EQ(1, said(first.bdf, "its group has devices that are not attached with it"));

	/* Attached both, and one is forgotten */
	ASSERT_EQ(0, use(&second, &first));
	s = luo_create_session(self->dev, "one");
	ASSERT_EQ(0, luo_preserve_fd(s, first.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, first.cdev, DEVICE));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	EXPECT_EQ(-EBUSY, luo_kexec_exec());
	EXPECT_EQ(1, said(second.bdf, "is not preserved, but others of its group are"));
	EXPECT_EQ(-EBUSY, vfio_detach(first.cdev));
	EXPECT_EQ(0, luo_preserve_fd(s, second.cdev, DEVICE + 1));
	close(s);
	EXPECT_EQ(0, vfio_detach(second.cdev));
	EXPECT_EQ(0, vfio_attach(second.cdev, second.hwpt));

	/* It is gone when it comes to it. */
	s = luo_create_session(self->dev, "one");
	ASSERT_EQ(0, luo_preserve_fd(s, first.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, first.cdev, DEVICE));
	close(second.cdev);
	EXPECT_EQ(-EBUSY, luo_kexec_exec());
	EXPECT_EQ(1, said(first.bdf,
			  "is preserved, and others of its group are not attached any more"));
	close(s);
	EXPECT_EQ(0, luo_kexec_unload(0));
	EXPECT_EQ(0, vfio_detach(first.cdev));
	leave(&first);
}

LUO_TEST(stage1, intx_that_cannot_be_masked)
{
	struct user u;
	int efd;

	ASSERT_EQ(0, find(&u, E1000, 0));
	ASSERT_EQ(0, use(&u, NULL));
	efd = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, vfio_irqs(u.cdev, VFIO_PCI_INTX_IRQ_INDEX, &efd, 1));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "it uses INTx, and cannot mask it"));
	leave(&u);
}

LUO_TEST(stage1, alias)
{
	struct user u;

	ASSERT_EQ(0, find(&u, E1000, 0));
	ASSERT_EQ(0, use(&u, NULL));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "ATS, PASID, PRI or a DMA alias is in use"));
	leave(&u);
}

LUO_TEST(stage1, ats)
{
	struct user u;

	ASSERT_EQ(0, find(&u, VIRTIO_RNG, 0));
	ASSERT_EQ(0, use(&u, NULL));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "ATS, PASID, PRI or a DMA alias is in use"));
	leave(&u);
}

LUO_TEST(stage1, vga)
{
	struct user u;

	ASSERT_EQ(0, find(&u, VGA, 0));
	ASSERT_EQ(0, use(&u, NULL));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "it is a VGA device"));
	leave(&u);
}

LUO_TEST(stage1, other_driver)
{
	struct user u;

	ASSERT_EQ(0, find(&u, VIRTIO_NET, 0));
	ASSERT_EQ(0, use_by(&u, NULL, "virtio_vfio_pci"));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "its driver is not vfio-pci"));
	leave(&u);
}

LUO_TEST(stage1, sriov)
{
	struct user pf, vf = { };
	char path[200];
	int s;

	ASSERT_EQ(0, find(&pf, NVME, 0));
	ASSERT_EQ(0, use(&pf, NULL));
	/* There could be virtual functions, and there are none. */
	EXPECT_EQ(0, refused(self->dev, &pf));

	/* Not while it is preserved */
	snprintf(path, sizeof(path), SYS "%s/sriov_numvfs", pf.bdf);
	s = luo_create_session(self->dev, "pf");
	ASSERT_EQ(0, luo_preserve_fd(s, pf.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, pf.cdev, DEVICE));
	EXPECT_EQ(-EBUSY, luo_write_file(path, "1"));
	close(s);

	ASSERT_LE(0, luo_write_file(path, "1"));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &pf));
	EXPECT_EQ(1, said(pf.bdf, "SR-IOV is in use"));
	ASSERT_EQ(0, find(&vf, NVME, 1));
	ASSERT_EQ(0, use(&vf, NULL));
	EXPECT_EQ(-EOPNOTSUPP, refused(self->dev, &vf));
	EXPECT_EQ(1, said(vf.bdf, "SR-IOV is in use"));
	leave(&vf);
	ASSERT_LE(0, luo_write_file(path, "0"));
	EXPECT_EQ(0, refused(self->dev, &pf));
	leave(&pf);
}

/* By its group, as programs do that know nothing of character devices */
LUO_TEST(stage1, group)
{
	char path[300], link[300], name[] = "0000:00:00.0";
	int group, dev, iommufd, s;
	struct user u;
	ssize_t n;

	ASSERT_EQ(0, find(&u, NVME, 0));
	ASSERT_EQ(0, vfio_give(u.bdf, "vfio-pci"));
	snprintf(path, sizeof(path), SYS "%s/iommu_group", u.bdf);
	n = readlink(path, link, sizeof(link) - 1);
	ASSERT_LT(0, n);
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(link, '/'));
	group = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, group);
	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, iommufd);
	ASSERT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &iommufd));
	memcpy(name, u.bdf, sizeof(name) - 1);
	dev = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	ASSERT_LE(0, dev);

	s = luo_create_session(self->dev, "group");
	ASSERT_LE(0, s);
	EXPECT_EQ(-EOPNOTSUPP, luo_preserve_fd(s, group, DEVICE));
	EXPECT_EQ(1, luo_klog_has("a group cannot be preserved, but devices can"));
	EXPECT_EQ(-EOPNOTSUPP, luo_preserve_fd(s, dev, DEVICE));
	EXPECT_EQ(1, said(u.bdf, "it was opened by its group"));
	close(dev);
	close(group);
	close(iommufd);
	close(s);
}

int main(void)
{
	const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
