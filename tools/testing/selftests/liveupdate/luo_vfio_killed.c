// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a VMM with a device may be killed after each step that it takes, before a
 * live update and after it, and the device is what it should be then.
 *
 * Before: what the only holder of a session had is gone with him, device, page tables,
 * pins, memory and session, and the next one finds a device that is stopped. Where others
 * have the session, what was preserved stays so, and what was not is gone.
 *
 * After: as long as it is not finished, a device is left running, and another process
 * gets all of it again, whether somebody else had the session or nobody. With the policy
 * to fence on close it is that as soon as nobody has the session, whatever was retrieved
 * by then, and not before. One that is finished is stopped when its program dies, can be
 * opened again, and goes through the next live update.
 *
 * Devices 0 and 1 receive all the time and lose no frame; 2 to 5 do until they are
 * fenced, and not one lands after that, see vm_dma.py.
 *
 * vm-test: name=vfio_killed stages=3 mem=3072 kernels=plain timeout=180 profiles=48_bits,caching \
 *          dma=carry,carry,fence,fence,fence,fence,none
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"
#include "luo_killed.h"

#define ALONE		0	/* nobody else has its session */
#define SHARED		1
#define CLOSED		2	/* the first of three with another policy */
#define HELD		5	/* the same, and somebody else has its session */
#define NICS		6
#define SHORT_RING	8191	/* of those that are fenced, see luo_fence.c */
#define TIMES		3	/* moments, beside those after steps */
#define DOMAINS_USED	"/sys/class/iommu/dmar0/intel-iommu/domains_used"
#define DEBUGFS		"/sys/kernel/debug/liveupdate/"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static const char * const names[NICS] = {
	"alone", "shared", "closed2", "closed3", "closed4", "held",
};

/* What there is in the whole system, as far as devices and sessions need it. */
struct usage {
	long long pins, shmem, domains;
	char sessions[1024], files[4096];
	bool states;	/* shared by files */
};

static void measure(struct usage *use)
{
	char flb[1024] = "";

	memset(use, 0, sizeof(*use));
	use->pins = luo_pins();
	use->shmem = luo_meminfo_kb("Shmem");
	use->domains = luo_file_num(DOMAINS_USED);
	luo_read_file(DEBUGFS "sessions", use->sessions, sizeof(use->sessions) - 1);
	luo_read_file(DEBUGFS "files", use->files, sizeof(use->files) - 1);
	luo_read_file(DEBUGFS "flb", flb, sizeof(flb) - 1);
	use->states = strstr(flb, "state=preserved");
}

static void expect_usage(struct __test_metadata *_metadata, const struct usage *want, int step)
{
	struct usage now;

	measure(&now);
	EXPECT_EQ(want->pins, now.pins) {
		TH_LOG("killed after step %d", step);
	}
	EXPECT_EQ(want->shmem, now.shmem) {
		TH_LOG("killed after step %d", step);
	}
	EXPECT_EQ(want->domains, now.domains) {
		TH_LOG("killed after step %d", step);
	}
	EXPECT_STREQ(want->sessions, now.sessions);
	EXPECT_STREQ(want->files, now.files);
	EXPECT_EQ(want->states, now.states);
}

static bool has(int s, uint64_t token)
{
	struct liveupdate_session_next_file arg = { .size = sizeof(arg), .token = token };

	return !ioctl(s, LIVEUPDATE_SESSION_NEXT_FILE, &arg) && arg.token == token;
}

static bool masters_bus(int num)
{
	struct nic nic;

	return !nic_find(&nic, num) &&
	       nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

/* Is it said to be fenced? */
static int said_fenced(int num)
{
	char line[80];

	snprintf(line, sizeof(line), "0000:%02x:00.0: fenced: its DMA is cut off", num + 1);
	return luo_klog_has(line);
}

/* Ways of processes that are killed on them. What they open, the kernel alone closes. */

struct who {
	int dev, num;
	int s;		/* the session, if others hold it as well, or -1 */
	bool tells;	/* the host to send, and waits for frames */
	bool loads;	/* an image */
	bool receives;	/* has received all the time */
	bool finishes;
	int turn;	/* which file is retrieved first */
};

static int unpreserve_all(int s)
{
	for (uint64_t token = VFIO_DEVICE; s >= 0 && token >= VFIO_MEMORY; token--) {
		struct liveupdate_session_unpreserve_file arg = {
			.size = sizeof(arg), .token = token,
		};

		if (has(s, token) && ioctl(s, LIVEUPDATE_SESSION_UNPRESERVE_FILE, &arg))
			return -errno;
	}
	return 0;
}

enum {
	STARTED = 10,		/* steps after which something is so */
	PRESERVED_MEMORY = 14,
	PRESERVED_IOMMU,
	PRESERVED_DEVICE,
	LOADED,
};

static void prepare(struct way *way, void *arg)
{
	struct who *who = arg;
	int s = who->s;
	struct nic nic;

	way_step(way, nic_find(&nic, who->num));
	if (who->num >= CLOSED)
		nic.tail = SHORT_RING;
	/* What the one before has left */
	way_step(way, unpreserve_all(s));
	nic.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	way_step(way, nic.iommufd);
	nic.cdev = vfio_cdev_open(nic.bdf);
	way_step(way, nic.cdev);
	way_step(way, vfio_bind(nic.cdev, nic.iommufd, &nic.devid));
	way_step(way, vfio_pt_alloc(nic.iommufd, nic.devid, &nic.ioas, &nic.hwpt));
	way_step(way, vfio_attach(nic.cdev, nic.hwpt));
	way_step(way, nic_memory(&nic));
	way_step(way, nic_map(&nic));
	way_step(way, nic_start(&nic));
	way_step(way, vfio_mark(nic.iommufd, nic.hwpt, VFIO_LABEL));
	if (s < 0)
		s = luo_create_session(who->dev, names[who->num]);
	way_step(way, s);
	way_step(way, who->num < CLOSED ? 0 : vfio_fence_on_close(s));
	way_step(way, luo_preserve_fd(s, nic.memfd, VFIO_MEMORY));
	way_step(way, luo_preserve_fd(s, nic.iommufd, VFIO_IOMMU));
	way_step(way, luo_preserve_fd(s, nic.cdev, VFIO_DEVICE));
	if (who->loads)
		way_step(way, luo_kexec_load(NULL, luo_stage() + 1, NULL, 0));
	if (who->tells) {
		way_step(way, nic_tell(&nic));
		way_step(way, nic_wait_frames(&nic, 100, 60));
	}
}

enum {
	CLAIMED = 2,		/* the session */
	RETRIEVED = 5,		/* all of it */
	RECEIVED = 10,
	HEARD,
	FINISHED,
};

static void take_over(struct way *way, void *arg)
{
	int fds[VFIO_DEVICE + 1] = { -1, -1, -1, -1 }, efd = eventfd(0, EFD_NONBLOCK);
	struct who *who = arg;
	int s = who->s;
	struct nic nic;

	way_step(way, nic_find(&nic, who->num));
	if (s < 0)
		s = luo_retrieve_session(who->dev, names[who->num]);
	way_step(way, s);
	for (int i = 0; i < 3; i++) {
		int token = VFIO_MEMORY + (i + who->turn) % 3;

		fds[token] = luo_retrieve_fd(s, token);
		way_step(way, fds[token]);
	}
	nic.memfd = fds[VFIO_MEMORY];
	nic.iommufd = fds[VFIO_IOMMU];
	nic.cdev = fds[VFIO_DEVICE];
	way_step(way, vfio_bind(nic.cdev, nic.iommufd, &nic.devid));
	way_step(way, vfio_marked(nic.iommufd, VFIO_LABEL, &nic.ioas, &nic.hwpt));
	way_step(way, vfio_attach(nic.cdev, nic.hwpt));
	way_step(way, nic_adopt(&nic));
	way_step(way, !who->receives ? 0 : nic_wait_frames(&nic, nic_frames(&nic) + 10, 60));
	if (who->finishes) {
		way_step(way, nic_msi(&nic, efd));
		way_step(way, luo_finish(s));
	}
}

/* ---- before ---- */

static void grab_all(struct __test_metadata *_metadata)
{
	struct nic nic;

	for (int num = 0; num < NICS; num++) {
		ASSERT_EQ(0, nic_find(&nic, num));
		ASSERT_EQ(0, nic_grab(&nic));
	}
}

LUO_TEST(stage1, nothing_is_left)
{
	struct who who = { .dev = self->dev, .num = ALONE, .s = -1, .loads = true };
	struct usage before;

	grab_all(_metadata);
	/* What it makes in /tmp stays. */
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	ASSERT_EQ(0, luo_kexec_unload(0));
	measure(&before);
	for (int step = 1; step <= LOADED; step++) {
		ASSERT_EQ(1, way_killed_after_step(step, prepare, &who)) {
			TH_LOG("step %d", step);
		}
		expect_usage(_metadata, &before, step);
		EXPECT_FALSE(masters_bus(ALONE));
	}
	EXPECT_EQ(1, luo_kexec_is_loaded());
	EXPECT_EQ(0, luo_kexec_unload(0));
	who.loads = false;
	ASSERT_LE(0, way_killed_anytime(TIMES, prepare, &who));
	expect_usage(_metadata, &before, 0);
	EXPECT_EQ(0, nic_fresh(ALONE, false));
	expect_usage(_metadata, &before, 0);
}

/* Another one of the same device can be opened, but not bound. */
static int try_bind(int num)
{
	int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC), cdev, ret;
	uint32_t devid;
	struct nic nic;

	ret = nic_find(&nic, num);
	if (ret)
		return ret;
	cdev = vfio_cdev_open(nic.bdf);
	ret = cdev < 0 ? cdev : vfio_bind(cdev, iommufd, &devid);
	close(cdev);
	close(iommufd);
	return ret;
}

LUO_TEST(stage1, what_was_preserved_is_left)
{
	struct who who = { .dev = self->dev, .num = SHARED };
	struct usage before;

	measure(&before);
	who.s = luo_create_session(self->dev, names[SHARED]);
	ASSERT_LE(0, who.s);
	for (int step = 1; step <= PRESERVED_DEVICE; step++) {
		ASSERT_EQ(1, way_killed_after_step(step, prepare, &who)) {
			TH_LOG("step %d", step);
		}
		EXPECT_EQ(step >= PRESERVED_MEMORY, has(who.s, VFIO_MEMORY));
		EXPECT_EQ(step >= PRESERVED_IOMMU, has(who.s, VFIO_IOMMU));
		EXPECT_EQ(step >= PRESERVED_DEVICE, has(who.s, VFIO_DEVICE));
		EXPECT_EQ(step >= PRESERVED_DEVICE, masters_bus(SHARED)) {
			TH_LOG("step %d", step);
		}
		EXPECT_EQ(step >= PRESERVED_DEVICE, try_bind(SHARED) != 0);
	}
	ASSERT_LE(0, way_killed_anytime(TIMES, prepare, &who));
	close(who.s);
	expect_usage(_metadata, &before, 0);
	EXPECT_EQ(0, nic_fresh(SHARED, false));
}

/* Processes prepare all that leaves this kernel, and are killed. */
LUO_TEST(stage1, devices_receive)
{
	struct who who = { .dev = self->dev, .tells = true };

	for (who.num = 0; who.num < NICS; who.num++) {
		who.s = luo_create_session(self->dev, names[who.num]);
		ASSERT_LE(0, who.s);
		ASSERT_EQ(0, way_killed_after_step(0, prepare, &who)) {
			TH_LOG("device %d", who.num);
		}
		ASSERT_EQ(0, luo_keep(who.s));
	}
}

/* ---- after ---- */

static void is_fenced(struct __test_metadata *_metadata, int dev, int num)
{
	char line[80];

	printf("dma: %d fenced\n", num);
	snprintf(line, sizeof(line), "session '%s': was closed and not finished", names[num]);
	EXPECT_EQ(1, luo_klog_has(line));
	EXPECT_EQ(1, said_fenced(num));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(dev, names[num]));
	EXPECT_EQ(0, nic_fresh(num, true));
}

LUO_TEST(stage2, fenced_when_the_last_one_is_killed)
{
	struct who who = { .dev = self->dev, .s = -1, .receives = true };
	long long before;

	grab_all(_metadata);
	for (who.num = CLOSED; who.num < HELD; who.num++) {
		/* After the session, one file of it, and two, another one first each time */
		who.turn = who.num;
		before = luo_free_kb();
		EXPECT_EQ(0, said_fenced(who.num));
		ASSERT_EQ(1, way_killed_after_step(CLAIMED + who.num - CLOSED, take_over, &who));
		is_fenced(_metadata, self->dev, who.num);
		EXPECT_LT(NIC_MEM_SIZE / 1024 / 2, luo_free_kb() - before);
	}
}

/* Left by its program, a device goes on, and is nobody else's. */
static void goes_on(struct __test_metadata *_metadata, int num)
{
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, num));
	EXPECT_TRUE(masters_bus(num));
	EXPECT_EQ(-EBUSY, vfio_cdev_open(nic.bdf));
	EXPECT_EQ(0, said_fenced(num));
}

static void take_over_anywhere(struct __test_metadata *_metadata, struct who *who)
{
	for (int step = 1; step <= RECEIVED; step++) {
		who->turn = step;
		ASSERT_EQ(1, way_killed_after_step(step, take_over, who)) {
			TH_LOG("step %d", step);
		}
		goes_on(_metadata, who->num);
	}
	ASSERT_LE(0, way_killed_anytime(TIMES, take_over, who));
	goes_on(_metadata, who->num);
}

LUO_TEST(stage2, not_fenced_while_others_hold_it)
{
	struct who who = { .dev = self->dev, .num = HELD, .receives = true };

	who.s = luo_retrieve_session(self->dev, names[HELD]);
	ASSERT_LE(0, who.s);
	take_over_anywhere(_metadata, &who);
	close(who.s);
	is_fenced(_metadata, self->dev, HELD);
}

LUO_TEST(stage2, left_running)
{
	struct who who = { .dev = self->dev, .num = ALONE, .s = -1, .receives = true };
	int s;

	take_over_anywhere(_metadata, &who);
	who.num = SHARED;
	who.s = luo_retrieve_session(self->dev, names[SHARED]);
	ASSERT_LE(0, who.s);
	take_over_anywhere(_metadata, &who);
	s = luo_retrieve_session(self->dev, names[ALONE]);
	ASSERT_LE(0, s);
	close(s);
	ASSERT_EQ(0, nic_mark(NICS, NIC_MARK_LAST));
	EXPECT_EQ(0, luo_klog_has("not written to"));
}

/* Its program dies before it has finished the device, and after that. */
static void finish_and_die(struct __test_metadata *_metadata, struct who *who)
{
	who->finishes = true;
	ASSERT_EQ(1, way_killed_after_step(HEARD, take_over, who));
	goes_on(_metadata, who->num);
	if (who->receives) {
		printf("dma: %d quiet\n", who->num);
		sleep(4);
	}
	who->receives = false;
	ASSERT_EQ(1, way_killed_after_step(FINISHED, take_over, who));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(who->dev, names[who->num]));
	EXPECT_EQ(0, said_fenced(who->num));
	EXPECT_EQ(0, nic_fresh(who->num, false));
}

/* The same as in the first kernel when nobody had anything. */
static void expect_nothing(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, luo_pins());
	EXPECT_EQ(luo_cmdline_num("luox_domains", 0), luo_file_num(DOMAINS_USED));
}

LUO_TEST(stage2, finished)
{
	struct who who = { .dev = self->dev, .num = ALONE, .s = -1, .receives = true };
	int s;

	finish_and_die(_metadata, &who);
	who.num = SHARED;
	who.receives = true;
	s = luo_retrieve_session(self->dev, names[SHARED]);
	ASSERT_LE(0, s);
	who.s = s;
	finish_and_die(_metadata, &who);
	EXPECT_EQ(-EINVAL, luo_finish(s));
	expect_nothing(_metadata);

	/* Both again, by programs that are killed: what was finished can be filled again. */
	ASSERT_EQ(0, way_killed_after_step(0, prepare, &who));
	ASSERT_EQ(0, luo_keep(s));
	who.num = ALONE;
	who.s = luo_create_session(self->dev, names[ALONE]);
	ASSERT_LE(0, who.s);
	ASSERT_EQ(0, way_killed_after_step(0, prepare, &who));
	ASSERT_EQ(0, luo_keep(who.s));
}

LUO_TEST(stage3, once_more)
{
	struct who who = { .dev = self->dev, .s = -1 };

	grab_all(_metadata);
	ASSERT_EQ(0, nic_mark(NICS, NIC_MARK_LAST));
	for (who.num = ALONE; who.num <= SHARED; who.num++) {
		goes_on(_metadata, who.num);
		finish_and_die(_metadata, &who);
	}
	expect_nothing(_metadata);
	EXPECT_EQ(0, luo_klog_has("not written to"));
}

static long long domains;

static void before(int stage)
{
	domains = luo_cmdline_num("luox_domains", luo_file_num(DOMAINS_USED));
}

static int next(int stage)
{
	char extra[40];
	int ret;

	snprintf(extra, sizeof(extra), "luox_domains=%lld", domains);
	ret = luo_kexec_load(NULL, stage + 1, extra, 0);
	if (!ret)
		ret = nic_mark(NICS, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 3, .before = before, .next = next };

	return luo_stages_main(&stages);
}
