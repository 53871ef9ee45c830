// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: several devices, several sessions, several kernels, and every kind of interrupt.
 *
 * Two network devices are attached to the same page table, and a third one to that of
 * another iommufd, in another session.  All go on receiving through three kexecs in a
 * row, see vm_dma.py.  Each kernel retrieves the memory first and has all of it compacted
 * before it asks for the devices: nothing moves.
 *
 * The devices use MSI, MSI-X and INTx.  While they are frozen none can signal, and their
 * users cannot change that.  When reboot() fails then, their registers are as they were,
 * frames have gone on landing, and what they would have signalled is signalled.  In
 * the next kernel it is pending, and the first VFIO_DEVICE_SET_IRQS signals.
 *
 * The two can also be functions of one device, which are in one group.
 *
 * vm-test: name=vfio_many stages=4 mem=3072 kernels=plain timeout=240 needs=test-handler \
 *          dma=carry,carry,carry,none profiles=48_bits,caching
 * vm-test: name=vfio_functions stages=2 mem=3072 kernels=plain timeout=150 needs=test-handler \
 *          dma=carry,+carry,carry,none append="luo_last=2"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"
#include "luo_test_handler.h"

#define NICS		3
#define LAST		4
#define MEMORY		10		/* tokens, of the first device's */
#define DEVICE		20
#define IOMMU		1
#define BREAKS		2
#define LABEL		7
#define BESIDE		(16UL << 20)	/* where in a shared IOAS the second one is */
#define FROZEN_MS	1500

/* Registers of interrupts, and causes of them */
#define CTRL_EXT	0x0018
#define CTRL_EXT_IAME	0x08000000U
#define ICS		0x00c8
#define IMC		0x00d8
#define EIAC		0x00dc
#define IAM		0x00e0
#define IVAR		0x00e4
#define IVAR_FIRST	0x00080008U	/* queue 0 and all else by vector 0 */
#define LINK_IRQ	0x00000004U
#define QUEUE_IRQ	0x00100000U	/* with MSI-X: a frame was received */
#define OTHER_IRQ	0x01000000U	/* with MSI-X: all other causes */

static const uint32_t irq_index[NICS] = {
	VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX,
};

static const char * const sessions[NICS] = { "pair", "pair", "single" };

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);
LUO_STAGE(stage4);

/* What keeps a device from signalling, by its kind of interrupts. */
struct held {
	int intx_off, msi_on, msix_masked;
};

static struct held held_of(const struct nic *nic)
{
	struct held held = {
		.intx_off = !!(nic_sysfs_config(nic->bdf, PCI_COMMAND, 2) &
			       PCI_COMMAND_INTX_DISABLE),
	};
	int cap = vfio_cap(nic->cdev, PCI_CAP_ID_MSI);

	held.msi_on = nic_sysfs_config(nic->bdf, cap + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE;
	cap = vfio_cap(nic->cdev, PCI_CAP_ID_MSIX);
	held.msix_masked = !!(nic_sysfs_config(nic->bdf, cap + PCI_MSIX_FLAGS, 2) &
			      PCI_MSIX_FLAGS_MASKALL);
	return held;
}

static bool is_msix(const struct nic *nic)
{
	return irq_index[nic->num] == VFIO_PCI_MSIX_IRQ_INDEX;
}

static bool is_intx(const struct nic *nic)
{
	return irq_index[nic->num] == VFIO_PCI_INTX_IRQ_INDEX;
}

static int set_irq(const struct nic *nic, int efd)
{
	return vfio_irqs(nic->cdev, irq_index[nic->num], &efd, 1);
}

/* What its user does after each signal. */
static void attend(const struct nic *nic)
{
	nic_read(nic, NIC_ICR);
	nic_write(nic, NIC_ICR, 0xffffffffU);
	if (is_intx(nic))
		vfio_irq_unmask(nic->cdev, irq_index[nic->num]);
}

/* Signals for frames, or for what is set by hand. */
static void want_frames(const struct nic *nic, bool frames)
{
	nic_write(nic, IMC, 0xffffffffU);
	attend(nic);
	if (is_msix(nic)) {
		/* Each frame signals, whether its user attends to it or not. */
		nic_write(nic, CTRL_EXT, nic_read(nic, CTRL_EXT) | CTRL_EXT_IAME);
		nic_write(nic, IAM, 0);
		nic_write(nic, EIAC, QUEUE_IRQ);
		nic_write(nic, IVAR, IVAR_FIRST);
		nic_write(nic, NIC_IMS, frames ? QUEUE_IRQ : LINK_IRQ | OTHER_IRQ);
	} else {
		nic_write(nic, NIC_IMS, frames ? NIC_RX_IRQ : LINK_IRQ);
	}
}

/* Is the device heard, again and again? */
static int heard(const struct nic *nic, int efd, int times)
{
	for (int i = 0; i < 2000 && times; i++) {
		if (vfio_signals(efd)) {
			times--;
			attend(nic);
		}
		usleep(10000);
	}
	return times ? -ETIMEDOUT : 0;
}

/* Is an interrupt held up that the device would like to signal? MSI of this one cannot tell. */
static bool is_pending(const struct nic *nic)
{
	uint64_t vectors = 0;
	uint16_t status;

	if (is_msix(nic))
		return !vfio_msix_pending(nic->cdev, &vectors) && (vectors & 1);
	if (is_intx(nic))
		return !vfio_config_read(nic->cdev, PCI_STATUS, &status, sizeof(status)) &&
		       (status & PCI_STATUS_INTERRUPT);
	return true;
}

static int preserve(int dev, const struct nic *nic, int *s)
{
	int ret = 0;

	s[0] = luo_create_session(dev, "pair");
	s[1] = luo_create_session(dev, "single");

	for (int i = 0; !ret && i < NICS; i++)
		ret = luo_preserve_fd(s[i / 2], nic[i].memfd, MEMORY + i);
	for (int i = 0; !ret && i < NICS; i++) {
		if (i != 1)
			ret = luo_preserve_fd(s[i / 2], nic[i].iommufd, IOMMU);
		if (!ret)
			ret = luo_preserve_fd(s[i / 2], nic[i].cdev, DEVICE + i);
	}
	for (int i = 0; !ret && i < 2; i++)
		ret = luo_keep(s[i]);
	return ret;
}

/* While all are frozen: returns 0 if they are held up, and nobody can change that. */
static int watch_frozen(const struct nic *nic)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct held held;
	uint16_t cmd = 0;

	for (int i = 0; i < 500; i++) {
		held = held_of(&nic[1]);
		/* One after the other, maybe in between the reads. */
		if (held.msix_masked && held.intx_off)
			break;
		usleep(5000);
	}
	if (!held.msix_masked || !held.intx_off)
		return 1;
	held = held_of(&nic[0]);
	if (held.msi_on || !held.intx_off)
		return 2;
	/* The other session is the last one. */
	for (int i = 0; i < 50 && !held_of(&nic[2]).intx_off; i++)
		usleep(5000);
	for (int i = 0; i < NICS; i++) {
		if (!held_of(&nic[i]).intx_off)
			return 5;
		if (set_irq(&nic[i], efd) != -EBUSY)
			return 3;
		if (!vfio_config_write(nic[i].cdev, PCI_COMMAND, &cmd, sizeof(cmd)))
			return 4;
	}
	/* Something to signal, that nobody hears: it is not a frame. */
	for (int i = 0; i < NICS; i++)
		nic_write(&nic[i], ICS, LINK_IRQ);
	return 0;
}

/* reboot() fails when all devices are frozen. */
static void fail_to_reboot(struct __test_metadata *_metadata, const struct nic *nic, int session,
			   const int *efd)
{
	struct liveupdate_session_unpreserve_file unpreserve = {
		.size = sizeof(unpreserve), .token = BREAKS,
	};
	struct luo_test_rule rule = {
		.tag = BREAKS, .op = LUO_TEST_FREEZE, .error = -EIO, .msleep = FROZEN_MS,
		.times = 1,
	};
	struct held before[NICS], after;
	int lt, status, frames[NICS];
	pid_t pid;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	ASSERT_LE(0, lt_preserve(lt, session, LUO_TEST_A, BREAKS, 0));
	ASSERT_EQ(0, ioctl(lt, LUO_TEST_RULE, &rule));
	for (int i = 0; i < NICS; i++) {
		want_frames(&nic[i], false);
		usleep(50000);
		attend(&nic[i]);
		vfio_signals(efd[i]);
		before[i] = held_of(&nic[i]);
		EXPECT_EQ(irq_index[i] == VFIO_PCI_MSI_IRQ_INDEX, before[i].msi_on);
		if (is_intx(&nic[i]))
			EXPECT_EQ(0, before[i].intx_off);
		EXPECT_EQ(0, before[i].msix_masked);
		frames[i] = nic_frames(&nic[i]);
	}
	/* One device has nothing to do, and so no second chance to signal. */
	ASSERT_EQ(0, nic_quiet(&nic[0]));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(watch_frozen(nic));
	EXPECT_EQ(-EIO, luo_kexec_exec());
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	for (int i = 0; i < NICS; i++) {
		after = held_of(&nic[i]);
		EXPECT_EQ(before[i].msi_on, after.msi_on);
		EXPECT_EQ(before[i].msix_masked, after.msix_masked);
		/* One who waits for its user is masked again. */
		if (!is_intx(&nic[i]))
			EXPECT_EQ(before[i].intx_off, after.intx_off);
		if (i)
			EXPECT_EQ(0, nic_wait_frames(&nic[i], frames[i] + 20, 60));
		/* Nothing has made it signal since then. */
		EXPECT_EQ(1, heard(&nic[i], efd[i], 1) == 0) {
			TH_LOG("device %d: its interrupt was lost", i);
		}
		if (!i)
			printf("dma: 0 send\n");
		want_frames(&nic[i], true);
		EXPECT_EQ(0, heard(&nic[i], efd[i], 3));
	}
	EXPECT_EQ(0, ioctl(session, LIVEUPDATE_SESSION_UNPRESERVE_FILE, &unpreserve) ? -errno : 0);
	close(lt);
}

LUO_TEST(stage1, devices_receive)
{
	struct nic nic[NICS];
	int efd[NICS], s[2];

	/* All of a group before any of it is opened */
	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_find(&nic[i], i));
		ASSERT_EQ(0, nic_grab(&nic[i]));
	}
	for (int i = 0; i < NICS; i++) {
		if (i == 1) {
			nic[1].iommufd = nic[0].iommufd;
			nic[1].ioas = nic[0].ioas;
			nic[1].hwpt = nic[0].hwpt;
			nic[1].iova += BESIDE;
		}
		ASSERT_EQ(0, nic_memory(&nic[i]));
		ASSERT_EQ(0, nic_open(&nic[i]));
		efd[i] = eventfd(0, EFD_NONBLOCK);
		ASSERT_EQ(0, set_irq(&nic[i], efd[i]));
		ASSERT_EQ(0, nic_start(&nic[i]));
		ASSERT_EQ(0, nic_tell(&nic[i]));
		want_frames(&nic[i], true);
		ASSERT_EQ(0, heard(&nic[i], efd[i], 3)) {
			TH_LOG("device %d", i);
		}
		if (i != 1)
			ASSERT_EQ(0, vfio_mark(nic[i].iommufd, nic[i].hwpt, LABEL));
	}
	for (int i = 0; i < NICS; i++)
		ASSERT_EQ(0, nic_wait_frames(&nic[i], 100, 60));
	ASSERT_EQ(0, preserve(self->dev, nic, s));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	fail_to_reboot(_metadata, nic, s[1], efd);
}

static void pages_of(const struct nic *nic, uint64_t *pfns)
{
	luo_pfns_of(nic->mem, pfns, NIC_MEM_SIZE / LUO_PAGE);
}

/* All memory first, which is then moved about as far as that goes, and then the devices. */
static void retrieve(struct __test_metadata *_metadata, const int *s, struct nic *nic)
{
	size_t pages = NIC_MEM_SIZE / LUO_PAGE;
	uint64_t *before = calloc(NICS * pages, sizeof(*before));
	uint64_t *after = calloc(pages, sizeof(*after));

	ASSERT_NE(NULL, before);
	ASSERT_NE(NULL, after);
	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_find(&nic[i], i));
		ASSERT_EQ(0, nic_grab(&nic[i]));
		nic[i].iova += i == 1 ? BESIDE : 0;
		nic[i].memfd = luo_retrieve_fd(s[i / 2], MEMORY + i);
		ASSERT_LE(0, nic[i].memfd);
		nic[i].mem = mmap(NULL, NIC_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
				  nic[i].memfd, 0);
		ASSERT_NE(MAP_FAILED, nic[i].mem);
		nic_frames(&nic[i]);
		pages_of(&nic[i], before + i * pages);
	}
	ASSERT_LE(0, luo_write_file("/proc/sys/vm/compact_memory", "1"));
	for (int i = 0; i < NICS; i++) {
		madvise(nic[i].mem, NIC_MEM_SIZE, MADV_PAGEOUT);
		nic_frames(&nic[i]);
		pages_of(&nic[i], after);
		for (size_t p = 0; p < NIC_BUF_OFFSET / LUO_PAGE; p++)
			ASSERT_EQ(before[i * pages + p], after[p]);
		munmap(nic[i].mem, NIC_MEM_SIZE);
	}
	free(before);
	free(after);
	/* The last one first */
	for (int i = NICS - 1; i >= 0; i--) {
		nic[i].cdev = luo_retrieve_fd(s[i / 2], DEVICE + i);
		ASSERT_LE(0, nic[i].cdev);
		nic[i].iommufd = i == 0 ? nic[1].iommufd : luo_retrieve_fd(s[i / 2], IOMMU);
		ASSERT_LE(0, nic[i].iommufd);
		ASSERT_EQ(0, nic_adopt(&nic[i]));
		ASSERT_EQ(0, vfio_bind(nic[i].cdev, nic[i].iommufd, &nic[i].devid));
		ASSERT_EQ(0, vfio_marked(nic[i].iommufd, LABEL, &nic[i].ioas, &nic[i].hwpt));
		EXPECT_EQ(0, vfio_attach(nic[i].cdev, nic[i].hwpt));
	}
	EXPECT_NE(nic[0].devid, nic[1].devid);
}

static int map_page(const struct nic *nic)
{
	int ret = vfio_map(nic->iommufd, nic->ioas, nic->memfd, 0, LUO_PAGE, LUO_HUGE);

	return ret ? ret : vfio_unmap(nic->iommufd, nic->ioas, LUO_HUGE, LUO_PAGE);
}

/* The first one of two that share a page table leaves. */
static void leave_one_by_one(struct __test_metadata *_metadata, struct nic *nic)
{
	for (int i = 0; i < NICS; i++) {
		ASSERT_EQ(0, nic_quiet(&nic[i]));
		/* A timer in this model must not find that MSI-X is off. */
		nic_write(&nic[i], IMC, 0xffffffffU);
		usleep(50000);
		nic_close(&nic[i]);
		EXPECT_FALSE(nic_sysfs_config(nic[i].bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
		for (int k = i + 1; k < NICS; k++)
			EXPECT_EQ(0, nic_wait_frames(&nic[k], nic_frames(&nic[k]) + 20, 60));
	}
}

static void come_back(struct __test_metadata *_metadata, int dev)
{
	int s[2], efd[NICS];
	struct nic nic[NICS];
	uint32_t frames;

	for (int i = 0; i < 2; i++) {
		s[i] = luo_retrieve_session(dev, sessions[2 * i]);
		ASSERT_LE(0, s[i]);
	}
	retrieve(_metadata, s, nic);
	for (int i = 0; i < NICS; i++) {
		EXPECT_EQ((uint32_t)nic[i].iova, nic_read(&nic[i], NIC_RDBAL));
		EXPECT_EQ(NIC_RING * NIC_DESC_SIZE, nic_read(&nic[i], NIC_RDLEN));
		EXPECT_TRUE(nic_read(&nic[i], NIC_RCTL) & NIC_RCTL_EN);
		frames = nic_frames(&nic[i]);
		EXPECT_EQ(0, nic_wait_frames(&nic[i], frames + 20, 60));
		EXPECT_LE(frames + 20, nic_read(&nic[i], NIC_RDH));
	}
	ASSERT_EQ(0, nic_mark(NICS, NIC_MARK_LAST));

	for (int i = 0; i < NICS; i++) {
		EXPECT_TRUE(is_pending(&nic[i])) {
			TH_LOG("device %d", i);
		}
		efd[i] = eventfd(0, EFD_NONBLOCK);
		ASSERT_EQ(0, set_irq(&nic[i], efd[i]));
		EXPECT_LE(1, vfio_signals(efd[i]));
		attend(&nic[i]);
		EXPECT_EQ(0, heard(&nic[i], efd[i], 3)) {
			TH_LOG("device %d", i);
		}
	}

	/* One session at a time */
	EXPECT_EQ(-EBUSY, map_page(&nic[0]));
	ASSERT_EQ(0, luo_finish(s[0]));
	EXPECT_EQ(0, map_page(&nic[0]));
	EXPECT_EQ(-EBUSY, map_page(&nic[2]));
	ASSERT_EQ(0, luo_finish(s[1]));
	EXPECT_EQ(0, map_page(&nic[2]));
	for (int i = 0; i < NICS; i++) {
		frames = nic_frames(&nic[i]);
		EXPECT_EQ(0, nic_wait_frames(&nic[i], frames + 20, 60));
		EXPECT_EQ(0, heard(&nic[i], efd[i], 3));
	}
	EXPECT_EQ(0, luo_klog_has("not written to"));
	EXPECT_EQ(0, luo_klog_has("fault addr"));
	if (luo_stage() == luo_cmdline_num("luo_last", LAST))
		leave_one_by_one(_metadata, nic);
	else
		ASSERT_EQ(0, preserve(dev, nic, s));
}

LUO_TEST(stage2, first_hop)
{
	come_back(_metadata, self->dev);
}

LUO_TEST(stage3, second_hop)
{
	come_back(_metadata, self->dev);
}

LUO_TEST(stage4, third_hop)
{
	come_back(_metadata, self->dev);
}

static int next(int stage)
{
	int ret = 0;

	if (luo_kexec_is_loaded() != 1)
		ret = luo_kexec_load(NULL, stage + 1, NULL, 0);
	if (!ret)
		ret = nic_mark(NICS, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = LAST, .next = next };

	return luo_stages_main(&stages);
}
