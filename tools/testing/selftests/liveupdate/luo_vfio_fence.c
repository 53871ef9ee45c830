// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device of vfio-pci that came in running and that nobody wants is stopped
 * for good, its memory is free again, and the next program finds an ordinary device.
 *
 * Device 0 has a session that fences it when its holder is gone: the program that has
 * retrieved all of it is killed.  Device 1 is fenced by ioctl while its program has it,
 * mapped and attached; device 7 uses the same page table, and nobody can retrieve it, as its
 * record is one of another kind of device, nor what was a memfd and says now that it is
 * device 1.  Of device 2 the session lost both the file and that of its iommufd on the way, of
 * device 6 that of its iommufd, and the file of device 3 names device 2: they run on, and
 * their sessions cannot be finished, until they are fenced.  Device 4 cannot be reset when
 * it is fenced, and nobody has it after that.  Device 5 is another one than the record says:
 * it is stopped before anybody asks.  After "fenced" not a frame lands, see vm_dma.py.
 *
 * More mappings of a page than the next kernel would accept are refused.
 *
 * vm-test: name=vfio_fence stages=2 mem=3072 kernels=plain timeout=120 needs=shell \
 *          dma=fence,fence,fence,fence,fence,fence,fence,none profiles=48_bits,caching
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/pci_regs.h>

#include "luo_damage.h"
#include "luo_e1000e.h"
#include "luo_killed.h"
#include "../../../../lib/tests/luo_pci_test_uapi.h"

#define SHARER	4
#define TWIN	5
#define NICS	7
#define SHARED	1
#define LOST	2
#define STRANGE	3
#define STUCK	4
#define SWAPPED	5
#define HALF	6
#define HOLD_MS	6000
#define OFTEN	4096	/* a page can be mapped, see IOMMUFD_LUO_MAX_MAPPINGS */

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static const char *nic_session(int num)
{
	static const char * const names[NICS] = {
		"nic0", "nic1", "nic2", "nic3", "nic4", "nic5", "nic6",
	};

	return names[num];
}

/* Its first page is mapped once already. */
static void mapped_too_often(struct __test_metadata *_metadata, int dev, const struct nic *nic)
{
	int s = luo_create_session(dev, "often");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, nic->memfd, VFIO_MEMORY));
	for (unsigned int i = 0; i < OFTEN; i++)
		ASSERT_EQ(0, vfio_map(nic->iommufd, nic->ioas, nic->memfd, 0, LUO_PAGE,
				      LUO_HUGE + i * LUO_PAGE));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, nic->iommufd, VFIO_IOMMU));
	EXPECT_EQ(1, luo_klog_has("a page of a memfd is mapped over 4096 times"));
	close(s);
	ASSERT_EQ(0, vfio_unmap(nic->iommufd, nic->ioas, LUO_HUGE, LUO_PAGE));
	s = luo_create_session(dev, "often");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, nic->memfd, VFIO_MEMORY));
	EXPECT_EQ(0, luo_preserve_fd(s, nic->iommufd, VFIO_IOMMU));
	close(s);
	ASSERT_EQ(0, vfio_unmap(nic->iommufd, nic->ioas, LUO_HUGE + LUO_PAGE,
				(OFTEN - 1) * LUO_PAGE));
}

/* Another device in the page table of one that receives. */
static void share(struct __test_metadata *_metadata, struct nic *nic, const struct nic *with)
{
	ASSERT_EQ(0, nic_find(nic, NICS));
	ASSERT_EQ(0, nic_grab(nic));
	nic->cdev = vfio_cdev_open(nic->bdf);
	ASSERT_LE(0, nic->cdev);
	ASSERT_EQ(0, vfio_bind(nic->cdev, with->iommufd, &nic->devid));
	ASSERT_EQ(0, vfio_attach(nic->cdev, with->hwpt));
}

/* Sessions and files are listed in the order in which they came. */
static unsigned int file_at(int token)
{
	return 0x10 + 0x40 * (token - 1);
}

static unsigned int session_at(int num)
{
	return 0x10 + 0x50 * num + 0x40;
}

static void damage(struct __test_metadata *_metadata)
{
	uint64_t sessions = subtree("LUO") + 0x10;
	struct luo_pci_test_damage damages[] = {
		/* The names of the handlers of three files are gone. */
		{ .path = { sessions, session_at(HALF), file_at(VFIO_IOMMU) } },
		{ .path = { sessions, session_at(LOST), file_at(VFIO_IOMMU) } },
		{ .path = { sessions, session_at(LOST), file_at(VFIO_DEVICE) } },
		/* A file has the record of another one. */
		{ .path = { sessions, session_at(STRANGE), file_at(VFIO_DEVICE) + 0x30 },
		  .from = { sessions, session_at(LOST), file_at(VFIO_DEVICE) + 0x30 } },
		/* A device ID, in the record of the one with the same page table. */
		{ .path = { sessions, session_at(SHARED), file_at(SHARER) + 0x30, 8 }, .flip = 1 },
		/* A memfd gets the name of the handler and the record of a device. */
		{ .path = { sessions, session_at(SHARED), file_at(TWIN) },
		  .from = { sessions, session_at(SHARED), file_at(VFIO_DEVICE) } },
		{ .path = { sessions, session_at(SHARED), file_at(TWIN) + 8 },
		  .from = { sessions, session_at(SHARED), file_at(VFIO_DEVICE) + 8 } },
		{ .path = { sessions, session_at(SHARED), file_at(TWIN) + 0x30 },
		  .from = { sessions, session_at(SHARED), file_at(VFIO_DEVICE) + 0x30 } },
		/* A vendor ID.  Each device has two entries, one for its port. */
		{ .path = { sessions + 8, 0x10 + 0x40 * flb_record("name=pci-v") + 0x30,
			    0x10 + 0x90 * 2 * (SWAPPED + 1) }, .flip = 1ULL << 48 },
	};
	int fd = open("/dev/luo_pci_test", O_RDWR | O_CLOEXEC);

	ASSERT_NE(0x10, sessions);
	ASSERT_LE(0, fd);
	memcpy(&damages[0].flip, "iommufd-", 8);
	memcpy(&damages[1].flip, "iommufd-", 8);
	memcpy(&damages[2].flip, "vfio-pci", 8);
	for (unsigned int i = 0; i < ARRAY_SIZE(damages); i++)
		ASSERT_EQ(0, ioctl(fd, LUO_PCI_TEST_DAMAGE, &damages[i]));
	close(fd);
}

LUO_TEST(stage1, devices_receive)
{
	struct nic nic[NICS], sharer;
	int s, twin;

	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_find(&nic[i], i));
		/* QEMU stops for every descriptor that is left when DMA is refused. */
		nic[i].tail = 8191;
		ASSERT_EQ(0, nic_grab(&nic[i]));
		ASSERT_EQ(0, nic_memory(&nic[i]));
		ASSERT_EQ(0, nic_open(&nic[i]));
		ASSERT_EQ(0, nic_start(&nic[i]));
		ASSERT_EQ(0, nic_tell(&nic[i]));
	}
	ASSERT_EQ(0, vfio_mark(nic[0].iommufd, nic[0].hwpt, VFIO_LABEL));
	mapped_too_often(_metadata, self->dev, &nic[0]);
	share(_metadata, &sharer, &nic[SHARED]);
	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_wait_frames(&nic[i], 100, 60));
		s = luo_create_session(self->dev, nic_session(i));
		ASSERT_LE(0, s);
		ASSERT_EQ(0, vfio_mark(nic[i].iommufd, nic[i].hwpt, VFIO_LABEL));
		ASSERT_EQ(0, vfio_preserve(s, nic[i].memfd, nic[i].iommufd, nic[i].cdev));
		if (!i)
			ASSERT_EQ(0, vfio_fence_on_close(s));
		if (i == SHARED) {
			ASSERT_EQ(0, luo_preserve_fd(s, sharer.cdev, SHARER));
			twin = luo_memfd("twin", 0, LUO_PAGE);
			ASSERT_EQ(0, luo_preserve_fd(s, twin, TWIN));
		}
		ASSERT_EQ(0, luo_keep(s));
	}
	damage(_metadata);
}

static int retrieve(int session, struct nic *nic)
{
	nic->cdev = luo_retrieve_fd(session, VFIO_DEVICE);
	if (nic->cdev < 0)
		return nic->cdev;
	nic->iommufd = luo_retrieve_fd(session, VFIO_IOMMU);
	if (nic->iommufd < 0)
		return nic->iommufd;
	nic->memfd = luo_retrieve_fd(session, VFIO_MEMORY);
	return nic->memfd < 0 ? nic->memfd : 0;
}

/* The way of a program that retrieves all of a session. */
static void claim(struct way *way, void *arg)
{
	int s = luo_retrieve_session(*(int *)arg, nic_session(0));
	struct nic nic;

	way_step(way, s);
	way_step(way, retrieve(s, &nic));
}

LUO_TEST(stage2, fenced_when_its_program_is_killed)
{
	long long before = luo_free_kb();
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, nic_grab(&nic));
	ASSERT_EQ(1, way_killed_after_step(2, claim, &self->dev));
	printf("dma: 0 fenced\n");
	EXPECT_EQ(1, luo_klog_has("session 'nic0': was closed and not finished"));
	EXPECT_EQ(1, luo_klog_has("0000:01:00.0: fenced: its DMA is cut off, and it was reset"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, nic_session(0)));
	EXPECT_LT(NIC_MEM_SIZE / 1024 / 2, luo_free_kb() - before);
	EXPECT_EQ(0, nic_fresh(0, true));
}

LUO_TEST(stage2, fenced_while_its_program_has_it)
{
	struct nic nic;
	uint32_t frames;
	int s;

	ASSERT_EQ(0, nic_find(&nic, NICS));
	ASSERT_EQ(0, nic_grab(&nic));
	ASSERT_EQ(0, nic_find(&nic, SHARED));
	ASSERT_EQ(0, nic_grab(&nic));
	s = luo_retrieve_session(self->dev, nic_session(SHARED));
	ASSERT_LE(0, s);
	ASSERT_EQ(0, retrieve(s, &nic));
	/* Neither of these is what it says. */
	EXPECT_EQ(-EBUSY, luo_retrieve_fd(s, TWIN));
	EXPECT_EQ(1, luo_klog_has("0000:02:00.0: was retrieved by another file, or fenced"));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, SHARER));
	EXPECT_EQ(1, luo_klog_has("0000:08:00.0: is not the device of the record"));
	EXPECT_EQ(-EBUSY, luo_finish(s));
	EXPECT_EQ(1, luo_klog_has("0000:08:00.0: still runs and was not retrieved, so its"));
	ASSERT_EQ(0, nic_adopt(&nic));
	ASSERT_EQ(0, nic_wait_frames(&nic, nic_frames(&nic) + 20, 60));
	EXPECT_EQ(0, luo_klog_has("0000:02:00.0: fenced"));

	ASSERT_EQ(0, vfio_fence(s));
	frames = nic_frames(&nic);
	printf("dma: 1 fenced\n");
	EXPECT_EQ(1, luo_klog_has("0000:02:00.0: fenced"));
	EXPECT_EQ(0, nic_read(&nic, NIC_RCTL) & NIC_RCTL_EN);
	usleep(500000);
	EXPECT_EQ(frames, nic_frames(&nic));
	ASSERT_EQ(0, luo_finish(s));
	nic_leave(&nic);
	close(s);
	EXPECT_EQ(0, nic_fresh(1, true));
	/* It is out of the page table, which is gone. */
	EXPECT_EQ(0, nic_fresh(NICS, true));
}

/* Nobody can get it, and it runs on until it is fenced. */
static void not_finished_before_fenced(struct __test_metadata *_metadata, int dev, int num,
				       int error, const char *why)
{
	int s = luo_retrieve_session(dev, nic_session(num));
	char fenced[40], runs[120];
	uint32_t frames;
	struct nic nic;

	snprintf(fenced, sizeof(fenced), "0000:%02x:00.0: fenced", num + 1);
	snprintf(runs, sizeof(runs), "0000:%02x:00.0: %s", num + 1, why);
	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, num));
	ASSERT_EQ(0, nic_grab(&nic));
	EXPECT_EQ(error, luo_retrieve_fd(s, VFIO_DEVICE));
	EXPECT_EQ(-EBUSY, luo_finish(s));
	nic.memfd = luo_retrieve_fd(s, VFIO_MEMORY);
	ASSERT_LE(0, nic.memfd);
	nic.mem = mmap(NULL, NIC_MEM_SIZE, PROT_READ, MAP_SHARED, nic.memfd, 0);
	ASSERT_NE(MAP_FAILED, (void *)nic.mem);
	ASSERT_EQ(0, nic_wait_frames(&nic, nic_frames(&nic) + 20, 60));
	EXPECT_EQ(-EBUSY, luo_finish(s));
	EXPECT_EQ(2, luo_klog_has(runs));
	EXPECT_EQ(0, luo_klog_has(fenced));

	ASSERT_EQ(0, vfio_fence(s));
	frames = nic_frames(&nic);
	printf("dma: %d fenced\n", num);
	EXPECT_EQ(1, luo_klog_has(fenced));
	usleep(500000);
	EXPECT_EQ(frames, nic_frames(&nic));
	EXPECT_EQ(0, luo_finish(s));
	munmap(nic.mem, NIC_MEM_SIZE);
	close(nic.memfd);
	close(s);
	EXPECT_EQ(0, nic_fresh(num, true));
}

LUO_TEST(stage2, lost_on_the_way)
{
	not_finished_before_fenced(_metadata, self->dev, LOST, -EBADMSG,
				   "still runs and was not retrieved, so its session cannot");
	EXPECT_EQ(2, luo_klog_has("name of the handler is damaged"));
}

LUO_TEST(stage2, lost_its_iommufd)
{
	not_finished_before_fenced(_metadata, self->dev, HALF, -EBADMSG,
				   "still runs, so its session cannot be finished before it is");
	EXPECT_EQ(3, luo_klog_has("name of the handler is damaged"));
}

LUO_TEST(stage2, names_a_device_of_others)
{
	not_finished_before_fenced(_metadata, self->dev, STRANGE, -ENODEV,
				   "still runs and was not retrieved, so its session cannot");
	EXPECT_EQ(1, luo_klog_has("0000:03:00.0 was not taken over, or is not of this session"));
}

LUO_TEST(stage2, is_another_one)
{
	int s = luo_retrieve_session(self->dev, nic_session(SWAPPED));
	struct nic nic;

	printf("dma: %d fenced\n", SWAPPED);
	ASSERT_LE(0, s);
	EXPECT_EQ(1, luo_klog_has("0000:06:00.0 is not the device of the record"));
	EXPECT_EQ(1, luo_klog_has("0000:06:00.0: is not what was preserved, its DMA is cut off"));
	EXPECT_EQ(1, luo_klog_has("0000:06:00.0: fenced: not the device that was preserved"));
	EXPECT_EQ(-ENODEV, luo_retrieve_fd(s, VFIO_DEVICE));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	ASSERT_EQ(0, nic_find(&nic, SWAPPED));
	ASSERT_EQ(0, nic_grab(&nic));
	EXPECT_EQ(0, nic_fresh(SWAPPED, true));
}

/* Somebody has the lock of the device for longer than the fence waits. */
static int fence_in_vain(int session, const char *bdf)
{
	int fd = nic_device_file(bdf), ret, status;
	pid_t pid;

	if (fd < 0)
		return fd;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(ioctl(fd, LUO_PCI_TEST_HOLD, HOLD_MS) ? 1 : 0);
	usleep(200000);
	ret = vfio_fence(session);
	/* He has it still. */
	if (!ret && waitpid(pid, &status, WNOHANG))
		ret = -ETIMEDOUT;
	waitpid(pid, &status, 0);
	close(fd);
	return ret ? ret : status ? -ECHILD : 0;
}

LUO_TEST(stage2, stuck)
{
	uint32_t frames;
	struct nic nic;
	int s;

	ASSERT_EQ(0, nic_find(&nic, STUCK));
	ASSERT_EQ(0, nic_grab(&nic));
	s = luo_retrieve_session(self->dev, nic_session(STUCK));
	ASSERT_LE(0, s);
	ASSERT_EQ(0, retrieve(s, &nic));
	ASSERT_EQ(0, nic_adopt(&nic));
	ASSERT_EQ(0, nic_wait_frames(&nic, nic_frames(&nic) + 20, 60));
	ASSERT_EQ(0, fence_in_vain(s, nic.bdf));
	frames = nic_frames(&nic);
	printf("dma: %d fenced\n", STUCK);
	EXPECT_EQ(1, luo_klog_has("0000:05:00.0: is in use by others and cannot be reset"));
	EXPECT_EQ(1, luo_klog_has("0000:05:00.0: fenced: its DMA is cut off, and stays so"));
	usleep(500000);
	EXPECT_EQ(frames, nic_frames(&nic));
	ASSERT_EQ(0, luo_finish(s));
	nic_leave(&nic);
	close(s);

	/* Whoever wants it now */
	EXPECT_EQ(-EBUSY, vfio_cdev_open(nic.bdf));
	EXPECT_LE(0, luo_write_file("/sys/bus/pci/drivers/vfio-pci/unbind", nic.bdf));
	EXPECT_GT(0, luo_write_file("/sys/bus/pci/drivers/vfio-pci/bind", nic.bdf));
	luo_run("echo > /sys/bus/pci/devices/0000:05:00.0/driver_override");
	EXPECT_GT(0, luo_write_file("/sys/bus/pci/drivers/e1000e/bind", nic.bdf));
	EXPECT_EQ(0, nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	/* Time for what should not happen. */
	sleep(2);
}

int main(void)
{
	const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
