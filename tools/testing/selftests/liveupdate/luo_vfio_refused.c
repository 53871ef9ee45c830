// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device that cannot run through a live update is refused when it is
 * preserved, with an errno and a line in the log that names it and the reason.
 *
 * The machine has one of each: two functions that share a group, a device whose
 * addresses an ATS cache has, one behind a bridge that answers for it, a disk with
 * virtual functions, a VGA device, one of another driver of VFIO's, and one that can mask
 * INTx but may not (by the option of vfio-pci).  After each refusal the session is as
 * it was.  So are one that is being reset and one that is being taken away.
 *
 * The second kernel has other tables of the firmware, see vm_poke.py: there the first
 * device has memory that must be mapped one to one.  The third one uses no IOMMU.
 *
 * vm-test: name=vfio_refused stages=3 mem=1024 kernels=plain timeout=90 poke=1 \
 *          append="intel_iommu=on vfio_pci.enable_sriov=1 vfio_pci.nointxmask=1 \
 *          memmap=1M$0x20000000" \
 *          qemu="-device VGA -device intel-iommu,intremap=on,device-iotlb=on \
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
#include <sys/wait.h>
#include <unistd.h>

#include "luo_e1000e.h"
#include "luo_stages.h"
#include "../../../../lib/tests/luo_pci_test_uapi.h"

#define IOMMU	2
#define DEVICE	3
#define LABEL	7
#define HOLD_MS	3000
#define SYS	"/sys/bus/pci/devices/"
#define DISK_PORT	SYS "0000:00:0a.0"

/* IDs of devices, which tell them apart here */
#define E1000E		0x10d3
#define E1000		0x100e
#define VIRTIO_RNG	0x1044
#define VIRTIO_NET	0x1041
#define NVME		0x0010
#define VGA		0x1111

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

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

/* There is a HWPT with a mark, and the device uses another one. */
LUO_TEST(stage1, other_page_tables)
{
	uint32_t ioas, hwpt;
	struct user u;

	ASSERT_EQ(0, find(&u, NVME, 0));
	ASSERT_EQ(0, use(&u, NULL));
	ASSERT_EQ(0, vfio_pt_alloc(u.iommufd, u.devid, &ioas, &hwpt));
	ASSERT_EQ(0, vfio_attach(u.cdev, hwpt));
	EXPECT_EQ(-EINVAL, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "not attached to a HWPT that has a mark"));
	/* One that is made by attaching it */
	ASSERT_EQ(0, vfio_attach(u.cdev, ioas));
	EXPECT_EQ(-EINVAL, refused(self->dev, &u));
	EXPECT_EQ(2, said(u.bdf, "not attached to a HWPT that has a mark"));
	EXPECT_EQ(0, refused(self->dev, &u));
	leave(&u);
}

LUO_TEST(stage1, being_reset)
{
	int fd, status;
	struct user u;
	pid_t pid;

	ASSERT_EQ(0, find(&u, NVME, 0));
	ASSERT_EQ(0, use(&u, NULL));
	fd = nic_device_file(u.bdf);
	ASSERT_LE(0, fd);
	/* Whoever resets it has its lock. */
	pid = fork();
	if (!pid)
		_exit(ioctl(fd, LUO_PCI_TEST_HOLD, HOLD_MS) ? 1 : 0);
	usleep(500000);
	EXPECT_EQ(-EBUSY, refused(self->dev, &u));
	EXPECT_EQ(1, said(u.bdf, "it is being reset or unbound"));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, refused(self->dev, &u));
	leave(&u);
	close(fd);
}

/* What the IOMMU core is asked for by no handler of it, or for no device of a user */
static int ask_iommu(const char *bdf)
{
	int fd = nic_device_file(bdf), ret;

	if (fd < 0)
		return fd;
	ret = ioctl(fd, LUO_PCI_TEST_ASK_IOMMU) ? -errno : 0;
	close(fd);
	return ret;
}

LUO_TEST(stage1, not_for_the_iommu)
{
	struct user u, other;
	int s;

	ASSERT_EQ(0, find(&other, VIRTIO_NET, 0));
	ASSERT_EQ(0, vfio_give(other.bdf, NULL));
	EXPECT_EQ(-EINVAL, ask_iommu(other.bdf));
	EXPECT_EQ(1, said(other.bdf, "its file handler did not register with IOMMU"));

	ASSERT_EQ(0, find(&u, NVME, 0));
	ASSERT_EQ(0, use(&u, NULL));
	s = luo_create_session(self->dev, "iommu");
	ASSERT_EQ(0, luo_preserve_fd(s, u.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, u.cdev, DEVICE));
	EXPECT_EQ(-EINVAL, ask_iommu(other.bdf));
	EXPECT_EQ(1, said(other.bdf, "not attached to page tables of a user"));
	EXPECT_EQ(0, ask_iommu(u.bdf));
	close(s);
	leave(&u);
}

/* Its port is, and nobody asks what is below it. */
LUO_TEST(stage1, being_taken_away)
{
	char path[200];
	struct user u;
	int s, status;
	pid_t pid;

	ASSERT_EQ(0, find(&u, NVME, 0));
	ASSERT_EQ(0, use(&u, NULL));
	s = luo_create_session(self->dev, "away");
	ASSERT_EQ(0, luo_preserve_fd(s, u.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, u.cdev, DEVICE));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	pid = fork();
	if (!pid) {
		/* It has to wait for its parent. */
		close(s);
		leave(&u);
		_exit(luo_write_file(DISK_PORT "/remove", "1") < 0);
	}
	snprintf(path, sizeof(path), SYS "%s/vfio-dev", u.bdf);
	for (int i = 0; i < 1000 && !access(path, F_OK); i++)
		usleep(10000);
	EXPECT_EQ(-EBUSY, luo_kexec_exec());
	EXPECT_EQ(1, said(u.bdf,
			  "cannot be carried over: it is being unbound from vfio-pci"));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	close(s);
	leave(&u);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, luo_kexec_unload(0));
	EXPECT_LE(0, luo_write_file("/sys/bus/pci/rescan", "1"));
	EXPECT_EQ(0, find(&u, NVME, 0));
}

LUO_TEST(stage2, mapped_one_to_one)
{
	struct user first, second, u;
	char path[200], text[1000] = "";
	int s;

	ASSERT_EQ(0, find(&first, E1000E, 0));
	ASSERT_EQ(0, find(&second, E1000E, 1));
	snprintf(path, sizeof(path), SYS "%s/iommu_group/reserved_regions", first.bdf);
	ASSERT_LT(0, luo_read_file(path, text, sizeof(text) - 1));
	ASSERT_NE(NULL, strstr(text, "0x0000000020010000 0x000000002001ffff direct\n"));

	ASSERT_EQ(0, find(&u, NVME, 0));
	ASSERT_EQ(0, use(&u, NULL));
	s = luo_create_session(self->dev, "one");
	ASSERT_EQ(0, luo_preserve_fd(s, u.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, u.cdev, DEVICE));

	/* VFIO does not even bind it, so it cannot be preserved; nor can its neighbour. */
	ASSERT_EQ(0, vfio_give(second.bdf, NULL));
	EXPECT_EQ(-EINVAL, use(&first, NULL));
	EXPECT_EQ(1, said(first.bdf,
			  "Firmware has requested this device have a 1:1 IOMMU mapping"));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, first.cdev, DEVICE + 1));
	EXPECT_EQ(1, said(first.bdf, "it is not bound to an iommufd"));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, first.iommufd, IOMMU + 2));
	leave(&first);
	EXPECT_EQ(-EINVAL, use(&second, &u));
	EXPECT_EQ(2, said(first.bdf,
			  "Firmware has requested this device have a 1:1 IOMMU mapping"));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, second.cdev, DEVICE + 1));
	close(second.cdev);

	/* The session is what it was, and a driver of the kernel can have the device. */
	EXPECT_EQ(-EBUSY, vfio_detach(u.cdev));
	close(s);
	EXPECT_EQ(0, refused(self->dev, &u));
	leave(&u);
	ASSERT_EQ(0, vfio_give(first.bdf, "e1000e"));
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/e1000e/%s", first.bdf);
	EXPECT_EQ(0, access(path, F_OK));
}

LUO_TEST(stage3, no_iommu)
{
	struct user u;

	ASSERT_EQ(0, find(&u, NVME, 0));
	EXPECT_EQ(-ENODEV, ask_iommu(u.bdf));
	EXPECT_EQ(1, said(u.bdf, "no IOMMU translates its DMA"));
}

static int next(int stage)
{
	int ret = stage == 1 ? luo_poke("dmar_rmrr") : 0;

	if (!ret)
		ret = luo_kexec_load(NULL, stage + 1, stage == 2 ? "intel_iommu=off" : NULL, 0);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
