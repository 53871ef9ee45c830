// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device that nobody comes for is stopped when it is said that it be, and
 * not before.
 *
 * Four network devices receive into memfds and run through a live update, each with
 * its memory in a session of its own.  The host sends all the time and watches the
 * memory, see vm_dma.py: in the next kernel frames go on landing, and after a device
 * is fenced not one does, whoever has the memory by then.
 *
 *  0: the only holder of the session is killed; its policy is fence on close
 *  1: the same, but the device is held: its DMA goes on, and another process gets the
 *     session; left alone then, it is fenced by the next kexec
 *  2: fenced by ioctl
 *  3: nobody comes at all; its policy is a time-out.  Where a handler of the session is
 *     a module that is not there, that does not keep the device from being fenced, and
 *     the session is given up when the handler has come
 *
 * What is fenced was reset, and the kernel's own driver may have it.
 *
 * vm-test: name=fence stages=3 debug-stages=2 mem=3072 timeout=120 needs=test-handler \
 *          dma=fence,cut,fence,fence
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"
#include "luo_killed.h"
#include "luo_test_handler.h"

#define NICS	4
#define MEMORY	1
#define DEVICE	2
#define OTHER	3
#define TIMEOUT	3000

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static int set_policy(int session, uint32_t policy, uint32_t timeout_ms, uint32_t reserved)
{
	struct liveupdate_session_set_device_policy arg = {
		.size = sizeof(arg),
		.policy = policy,
		.timeout_ms = timeout_ms,
		.reserved = reserved,
	};

	return ioctl(session, LIVEUPDATE_SESSION_SET_DEVICE_POLICY, &arg) ? -errno : 0;
}

static int fence(int session, uint32_t reserved)
{
	struct liveupdate_session_fence arg = { .size = sizeof(arg), .reserved = reserved };

	return ioctl(session, LIVEUPDATE_SESSION_FENCE, &arg) ? -errno : 0;
}

static const char *name_of(int num)
{
	static const char * const names[NICS] = { "nic0", "nic1", "nic2", "nic3" };

	return names[num];
}

/* A register of a device that no driver has. */
static long reg_of(const char *bdf, unsigned int reg)
{
	char path[200];
	void *regs;
	long val;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	regs = mmap(NULL, 0x20000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (regs == MAP_FAILED)
		return -errno;
	val = __atomic_load_n((uint32_t *)(regs + reg), __ATOMIC_RELAXED);
	munmap(regs, 0x20000);
	return val;
}

LUO_TEST(stage1, policies_are_checked)
{
	int s = luo_create_session(self->dev, "rules");

	ASSERT_LE(0, s);
	EXPECT_EQ(-EINVAL, set_policy(s, 3, 0, 0));
	EXPECT_EQ(-EINVAL, set_policy(s, LIVEUPDATE_DEVICE_HOLD, 1, 0));
	EXPECT_EQ(-EINVAL, set_policy(s, LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 1, 0));
	EXPECT_EQ(-EINVAL, set_policy(s, LIVEUPDATE_DEVICE_FENCE_AFTER, 0, 0));
	EXPECT_EQ(-EINVAL, set_policy(s, LIVEUPDATE_DEVICE_FENCE_AFTER, 0x80000000U, 0));
	EXPECT_EQ(0, set_policy(s, LIVEUPDATE_DEVICE_FENCE_AFTER, 0x7fffffffU, 0));
	EXPECT_EQ(0, set_policy(s, LIVEUPDATE_DEVICE_HOLD, 0, 0));
	EXPECT_EQ(-EINVAL, set_policy(s, LIVEUPDATE_DEVICE_HOLD, 0, 1));
	EXPECT_EQ(-EINVAL, fence(s, 0));
	/* Any number of times, and it goes with the session. */
	for (int i = 0; i < 200; i++) {
		EXPECT_EQ(0, set_policy(s, i % 2 ? LIVEUPDATE_DEVICE_FENCE_AFTER :
					LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, i % 2, 0));
		EXPECT_EQ(0, i % 3 ? 0 : set_policy(s, LIVEUPDATE_DEVICE_HOLD, 0, 0));
	}
}

LUO_TEST(stage1, devices_receive)
{
	struct nic nic[NICS];
	int s, fd;

	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_find(&nic[i], i));
		/* QEMU stops for every descriptor that is left when DMA is refused. */
		nic[i].tail = 8191;
		ASSERT_EQ(0, nic_grab(&nic[i]));
		ASSERT_EQ(0, nic_memory(&nic[i]));
		ASSERT_EQ(0, nic_open(&nic[i]));
		ASSERT_EQ(0, nic_start(&nic[i]));
		ASSERT_EQ(0, nic_tell(&nic[i]));
		ASSERT_EQ(0, luo_keep(nic[i].iommufd));
		ASSERT_EQ(0, luo_keep(nic[i].cdev));
	}
	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_wait_frames(&nic[i], 100, 60));
		s = luo_create_session(self->dev, name_of(i));
		ASSERT_LE(0, s);
		fd = nic_device_file(nic[i].bdf);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, luo_preserve_fd(s, nic[i].memfd, MEMORY));
		ASSERT_EQ(0, luo_preserve_fd(s, fd, DEVICE));
		if (i == 0)
			ASSERT_EQ(0, set_policy(s, LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 0, 0));
		if (i == 3) {
			ASSERT_EQ(0, set_policy(s, LIVEUPDATE_DEVICE_FENCE_AFTER, TIMEOUT, 0));
			ASSERT_EQ(0, lt_load());
			ASSERT_EQ(0, lt_preserve(lt_open(), s, LUO_TEST_A, OTHER, 1));
		}
		ASSERT_EQ(0, luo_keep(s));
	}
}

struct claim {
	int dev;
	const char *name;
};

/* The way of a process that gets all of a session. */
static void claim(struct way *way, void *arg)
{
	const struct claim *claim = arg;
	int s = luo_retrieve_session(claim->dev, claim->name);

	way_step(way, s);
	way_step(way, luo_retrieve_fd(s, DEVICE));
	way_step(way, luo_retrieve_fd(s, MEMORY));
}

static int claim_and_die(int dev, int num)
{
	struct claim which = { .dev = dev, .name = name_of(num) };

	return way_killed_after_step(3, claim, &which) == 1 ? 0 : -EIO;
}

static int retrieve_memory(int session, struct nic *nic)
{
	nic->memfd = luo_retrieve_fd(session, MEMORY);
	if (nic->memfd < 0)
		return nic->memfd;
	nic->mem = mmap(NULL, NIC_MEM_SIZE, PROT_READ, MAP_SHARED, nic->memfd, 0);
	return nic->mem == MAP_FAILED ? -errno : 0;
}

/* It was stopped, reset and let go. */
static void is_ordinary(struct __test_metadata *_metadata, struct nic *nic)
{
	EXPECT_EQ(0, nic_sysfs_config(nic->bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	EXPECT_EQ(0, reg_of(nic->bdf, NIC_RCTL));
	EXPECT_EQ(0, reg_of(nic->bdf, NIC_RDLEN));
	EXPECT_EQ(0, luo_write_file("/sys/bus/pci/drivers/e1000e/bind", nic->bdf));
}

LUO_TEST(stage2, fenced_when_its_holder_is_killed)
{
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, claim_and_die(self->dev, 0));
	printf("dma: 0 fenced\n");
	EXPECT_EQ(1, luo_klog_has("session 'nic0': was closed and not finished"));
	EXPECT_EQ(1, luo_klog_has("0000:01:00.0: fenced: its DMA is cut off, and it was reset"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, name_of(0)));
	is_ordinary(_metadata, &nic);
}

LUO_TEST(stage2, held_when_its_holder_is_killed)
{
	struct nic nic;
	int s;

	ASSERT_EQ(0, nic_find(&nic, 1));
	ASSERT_EQ(0, claim_and_die(self->dev, 1));
	s = luo_retrieve_session(self->dev, name_of(1));
	ASSERT_LE(0, s);
	ASSERT_EQ(0, retrieve_memory(s, &nic));
	ASSERT_EQ(0, nic_wait_frames(&nic, nic_frames(&nic) + 20, 60));
	EXPECT_LE(0, luo_retrieve_fd(s, DEVICE));
	EXPECT_EQ(-EINVAL, set_policy(s, LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 0, 0));
	EXPECT_EQ(0, luo_klog_has("0000:02:00.0: fenced"));
	close(s);
}

LUO_TEST(stage2, fenced_on_demand)
{
	struct nic nic;
	uint32_t frames;
	int s;

	ASSERT_EQ(0, nic_find(&nic, 2));
	s = luo_retrieve_session(self->dev, name_of(2));
	ASSERT_LE(0, s);
	ASSERT_EQ(0, retrieve_memory(s, &nic));
	ASSERT_EQ(0, nic_wait_frames(&nic, nic_frames(&nic) + 20, 60));
	EXPECT_EQ(-EINVAL, fence(s, 1));
	EXPECT_EQ(0, luo_klog_has("0000:03:00.0: fenced"));

	ASSERT_EQ(0, fence(s, 0));
	frames = nic_frames(&nic);
	printf("dma: 2 fenced\n");
	EXPECT_EQ(0, fence(s, 0));
	EXPECT_EQ(1, luo_klog_has("0000:03:00.0: fenced"));
	EXPECT_EQ(-ESTALE, luo_retrieve_fd(s, DEVICE));
	usleep(500000);
	EXPECT_EQ(frames, nic_frames(&nic));
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_EQ(-EINVAL, fence(s, 0));
	is_ordinary(_metadata, &nic);
}

LUO_TEST(stage2, fenced_when_the_time_is_over)
{
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 3));
	for (int i = 0; i < 600 && !luo_klog_has("0000:04:00.0: fenced"); i++)
		usleep(100000);
	printf("dma: 3 fenced\n");
	if (lt_is_module()) {
		/* What can be is done, and what is left is tried again. */
		for (int i = 0; i < 100 && !luo_klog_has("session 'nic3': is tried again"); i++)
			usleep(100000);
		EXPECT_LE(1, luo_klog_has("session 'nic3': cannot be given up"));
		ASSERT_EQ(0, lt_load());
	}
	for (int i = 0; i < 600 && luo_retrieve_session(self->dev, name_of(3)) != -ENOENT; i++)
		usleep(100000);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, name_of(3)));
	EXPECT_LE(1, luo_klog_has("session 'nic3': was not finished in time"));
	EXPECT_EQ(1, luo_klog_has("0000:04:00.0: fenced"));
	is_ordinary(_metadata, &nic);
	EXPECT_EQ(0, luo_klog_has("not written to"));
}

LUO_TEST(stage3, nothing_runs_on)
{
	EXPECT_EQ(0, luo_klog_has("running since before this kernel"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, name_of(1)));
	/* Time for what should not happen. */
	sleep(1);
}

int main(void)
{
	const struct luo_stages stages = { .last = 3 };

	return luo_stages_main(&stages);
}
