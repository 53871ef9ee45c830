// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device that a program drives by vfio-pci and iommufd runs on while
 * the kernel is replaced, and the program gets it back.
 *
 * The program is gone by then, only the session is held.  The device goes on
 * receiving into the memfd, and not a frame is lost or late, see vm_dma.py.  In the
 * next kernel nobody else gets at it.  One program retrieves it, as soon as it may pin
 * enough memory (and, on the debug kernel, no allocation fails), and is killed, another
 * one retrieves it again: bound, attached and running, with config space as it was, and
 * nothing was written to that of the hardware.
 * Interrupts are masked on the way and signalled afterwards.  When the session is
 * finished mappings can be changed, and it all can be done once more.
 *
 * What cannot be preserved is refused, and while the device is preserved what would
 * take it away is EBUSY.  Frozen, it stays as it is, also for an eventfd that unmasks its
 * interrupt, which is made up for when the kexec does not take place; and whoever keeps
 * it from being frozen does not keep the kexec waiting.
 *
 * vm-test: name=vfio stages=3 debug-stages=2 mem=3072 timeout=120 \
 *          dma=carry,none needs=test-handler profiles=48_bits,caching
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <linux/vfio_liveupdate.h>

#include "luo_e1000e.h"
#include "luo_stages.h"
#include "luo_inject.h"
#include "luo_test_handler.h"

#define TABLES	"SecPageTables"
#define MEMORY	1
#define IOMMU	2
#define DEVICE	3
#define OTHER	4
#define LABEL	7
#define FREEZE_MS 3000

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static int hot_reset(const struct nic *nic)
{
	struct vfio_pci_hot_reset cmd = { .argsz = sizeof(cmd) };

	return ioctl(nic->cdev, VFIO_DEVICE_PCI_HOT_RESET, &cmd) ? -errno : 0;
}

/* Maps a page of the memfd once more, away from all that is mapped. */
static int map_page(const struct nic *nic)
{
	return vfio_map(nic->iommufd, nic->ioas, nic->memfd, 0, LUO_PAGE, LUO_HUGE);
}

static int unmap_page(const struct nic *nic)
{
	return vfio_unmap(nic->iommufd, nic->ioas, LUO_HUGE, LUO_PAGE);
}

/* What VFIO says of live updates, or a negative errno. */
static int info_flags(const struct nic *nic)
{
	struct {
		struct vfio_device_info info;
		char caps[512];
	} buf = { .info.argsz = sizeof(buf) };
	struct vfio_device_info_cap_liveupdate *cap;

	if (ioctl(nic->cdev, VFIO_DEVICE_GET_INFO, &buf.info))
		return -errno;
	if (!(buf.info.flags & VFIO_DEVICE_FLAGS_CAPS))
		return -ENOENT;
	for (uint32_t at = buf.info.cap_offset; at; at = cap->header.next) {
		cap = (void *)((char *)&buf + at);
		if (cap->header.id == VFIO_DEVICE_INFO_CAP_LIVEUPDATE)
			return cap->header.version == 1 ? (int)cap->flags : -EPROTO;
	}
	return -ENOENT;
}

/* Is the device heard, again and again? */
static int heard(const struct nic *nic, int efd, int times)
{
	for (int i = 0; i < 1000 && times; i++) {
		nic_read(nic, NIC_ICR);
		if (vfio_signals(efd))
			times--;
		usleep(10000);
	}
	return times ? -ETIMEDOUT : 0;
}

LUO_TEST(stage1, refused)
{
	int s = luo_create_session(self->dev, "refused"), other, cdev;
	struct nic nic;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, nic_grab(&nic));
	ASSERT_EQ(0, nic_memory(&nic));
	ASSERT_EQ(0, nic_open(&nic));
	EXPECT_EQ(VFIO_LIVEUPDATE_SUPPORTED | VFIO_LIVEUPDATE_DMA | VFIO_LIVEUPDATE_IRQS,
		  info_flags(&nic));

	cdev = vfio_cdev_open(nic.bdf);
	ASSERT_LE(0, cdev);
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, cdev, DEVICE));
	EXPECT_EQ(1, luo_klog_has("cannot be preserved: it is not bound to an iommufd"));
	close(cdev);
	ASSERT_EQ(0, vfio_detach(nic.cdev));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, nic.cdev, DEVICE));
	EXPECT_EQ(1, luo_klog_has("cannot be preserved: it is not attached to a page table"));
	ASSERT_EQ(0, vfio_attach(nic.cdev, nic.hwpt));

	/* The wrong order, and too little of it */
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, nic.cdev, DEVICE));
	EXPECT_EQ(1, luo_klog_has("its iommufd has to be preserved in the same session before"));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.memfd, MEMORY));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, nic.iommufd, IOMMU));
	ASSERT_EQ(0, vfio_mark(nic.iommufd, nic.hwpt, LABEL));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, nic.cdev, DEVICE));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.cdev, DEVICE));

	/* It stays as it is */
	other = luo_create_session(self->dev, "other");
	ASSERT_LE(0, other);
	EXPECT_EQ(-EBUSY, luo_preserve_fd(other, nic.cdev, DEVICE));
	close(other);
	EXPECT_EQ(-EBUSY, vfio_detach(nic.cdev));
	EXPECT_EQ(-EBUSY, vfio_attach(nic.cdev, nic.ioas));
	EXPECT_EQ(-EBUSY, hot_reset(&nic));
	EXPECT_EQ(-EBUSY, map_page(&nic));
	EXPECT_EQ(-EBUSY, luo_write_file("/sys/bus/pci/drivers/vfio-pci/unbind", nic.bdf));
	EXPECT_EQ(1, luo_klog_has("stays with its driver as long as a session has it"));

	/* All of it can be undone */
	close(s);
	EXPECT_EQ(0, map_page(&nic));
	/* QEMU's port takes too long to come up again. */
	EXPECT_NE(-EBUSY, hot_reset(&nic));
	EXPECT_EQ(0, vfio_detach(nic.cdev));
	EXPECT_EQ(0, vfio_attach(nic.cdev, nic.hwpt));
}

static int intx(const struct nic *nic, uint32_t action, int efd)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} irqs = {
		.set = {
			.argsz = sizeof(irqs),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | action,
			.index = VFIO_PCI_INTX_IRQ_INDEX,
			.count = 1,
		},
		.fd = efd,
	};

	return ioctl(nic->cdev, VFIO_DEVICE_SET_IRQS, &irqs) ? -errno : 0;
}

/* Does INTx Disable become that, within 10 s? */
static bool intx_disabled(const struct nic *nic, bool want)
{
	for (int i = 0; i < 1000; i++) {
		long cmd = nic_sysfs_config(nic->bdf, PCI_COMMAND, 2);

		if (!(cmd & PCI_COMMAND_INTX_DISABLE) == !want)
			return true;
		usleep(10000);
	}
	return false;
}

/* Calls reboot(), which fails, in a child; returns the child. */
static pid_t reboot_in_vain(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(-luo_kexec_exec());
	return pid;
}

/* A device that interrupts by INTx, preserved in a session. */
static int freezable(struct __test_metadata *_metadata, int dev, struct nic *nic)
{
	int s = luo_create_session(dev, "frozen");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(nic, 0));
	ASSERT_EQ(0, nic_grab(nic));
	ASSERT_EQ(0, nic_memory(nic));
	ASSERT_EQ(0, nic_open(nic));
	ASSERT_EQ(0, nic_start(nic));
	ASSERT_EQ(0, vfio_mark(nic->iommufd, nic->hwpt, LABEL));
	ASSERT_EQ(0, luo_preserve_fd(s, nic->memfd, MEMORY));
	ASSERT_EQ(0, luo_preserve_fd(s, nic->iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, nic->cdev, DEVICE));
	return s;
}

LUO_TEST(stage1, unmasked_while_frozen)
{
	struct luo_test_rule rule = {
		.tag = OTHER, .op = LUO_TEST_FREEZE, .error = -EIO, .msleep = FREEZE_MS,
	};
	int s, lt, status, heard = eventfd(0, EFD_NONBLOCK), unmask = eventfd(0, EFD_NONBLOCK);
	const uint64_t one = 1;
	uint8_t line = 0;
	struct nic nic;
	pid_t pid;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	s = freezable(_metadata, self->dev, &nic);
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_A, OTHER, 1));
	ASSERT_EQ(0, ioctl(lt, LUO_TEST_RULE, &rule));
	ASSERT_EQ(0, intx(&nic, VFIO_IRQ_SET_ACTION_TRIGGER, heard));
	ASSERT_EQ(0, intx(&nic, VFIO_IRQ_SET_ACTION_UNMASK, unmask));

	/* Its interrupt is masked when it comes, and unmasked when it is dealt with. */
	nic_read(&nic, NIC_ICR);
	nic_write(&nic, NIC_IMS, NIC_RX_IRQ);
	ASSERT_TRUE(intx_disabled(&nic, false));
	nic_write(&nic, NIC_ICS, NIC_RX_IRQ);
	ASSERT_TRUE(intx_disabled(&nic, true));
	EXPECT_LE(1, vfio_signals(heard));
	nic_read(&nic, NIC_ICR);

	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	pid = reboot_in_vain();
	ASSERT_LE(0, pid);
	for (int i = 0; i < 2000; i++) {
		if (vfio_config_write(nic.cdev, PCI_INTERRUPT_LINE, &line, 1))
			break;
		usleep(1000);
	}
	ASSERT_NE(0, vfio_config_write(nic.cdev, PCI_INTERRUPT_LINE, &line, 1));
	ASSERT_EQ(sizeof(one), write(unmask, &one, sizeof(one)));
	usleep(200000);
	EXPECT_TRUE(nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
	/* That was while it was frozen. */
	EXPECT_NE(0, vfio_config_write(nic.cdev, PCI_INTERRUPT_LINE, &line, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EIO, WEXITSTATUS(status));
	EXPECT_TRUE(intx_disabled(&nic, false));
	nic_write(&nic, NIC_ICS, NIC_RX_IRQ);
	EXPECT_TRUE(intx_disabled(&nic, true));
	EXPECT_LE(1, vfio_signals(heard));
	close(s);
	lt_clear(lt);
}

/* An ioctl that waits for a page that nobody brings. */
static void *never_ends(void *arg)
{
	const struct nic *nic = ((void **)arg)[0];

	ioctl(nic->cdev, VFIO_DEVICE_GET_INFO, ((void **)arg)[1]);
	return NULL;
}

LUO_TEST(stage1, cannot_be_frozen)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { };
	int s, status, uffd;
	struct uffd_msg msg;
	struct nic nic;
	pthread_t thread;
	void *arg[2];
	pid_t pid;

	s = freezable(_metadata, self->dev, &nic);
	arg[0] = &nic;
	arg[1] = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	reg.range.start = (uintptr_t)arg[1];
	reg.range.len = LUO_PAGE;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, pthread_create(&thread, NULL, never_ends, arg));
	ASSERT_EQ(sizeof(msg), read(uffd, &msg, sizeof(msg)));

	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	pid = reboot_in_vain();
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EBUSY, WEXITSTATUS(status));
	EXPECT_EQ(1, luo_klog_has("cannot be frozen: an ioctl or a write does not end"));
	zero.range = reg.range;
	EXPECT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	close(uffd);
	close(s);
}

LUO_TEST(stage1, receives)
{
	int s, efd = eventfd(0, EFD_NONBLOCK);
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, nic_grab(&nic));
	ASSERT_EQ(0, nic_memory(&nic));
	ASSERT_EQ(0, nic_open(&nic));
	ASSERT_EQ(0, nic_start(&nic));
	ASSERT_EQ(0, nic_tell(&nic));
	ASSERT_EQ(0, nic_msi(&nic, efd));
	nic_write(&nic, NIC_IMS, NIC_RX_IRQ);
	ASSERT_EQ(0, nic_wait_frames(&nic, 100, 30));
	ASSERT_EQ(0, heard(&nic, efd, 3));

	ASSERT_EQ(0, vfio_mark(nic.iommufd, nic.hwpt, LABEL));
	s = luo_create_session(self->dev, "vfio");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, nic.memfd, MEMORY));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.cdev, DEVICE));
	/* It is still its user's, who goes without a word. */
	ASSERT_EQ(0, heard(&nic, efd, 3));
	printf("demo: kernel 1: e1000e %s receives, by vfio-pci and iommufd: %u frames\n",
	       nic.bdf, nic_frames(&nic));
	printf("demo:   it is preserved; now its program ends, then the kernel\n");
	ASSERT_EQ(0, luo_keep(s));
}

/* What is pinned counts, and there may be 4 MiB of it, or all that is asked for. */
static int limit_pins(bool all)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { };
	struct rlimit limit = { .rlim_cur = all ? RLIM_INFINITY : 4 << 20,
				.rlim_max = RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capget, &head, caps))
		return -errno;
	caps[0].effective &= ~(1U << CAP_IPC_LOCK);
	return syscall(SYS_capset, &head, caps) ? -errno : 0;
}

/*
 * The first mapping fits, the second does not. What is allocated before that fails one after
 * the other, where the kernel can do that, and makes no difference.
 */
static int retrieve_too_much(int s)
{
	int ret = luo_retrieve_fd(s, DEVICE);

	if (ret != -ENOMEM || !luo_debug_kernel())
		return ret;
	inject_setup();
	for_each_slab_failure(bytes) {
		inject_slab_after(bytes);
		ret = luo_retrieve_fd(s, DEVICE);
		inject_slab_count();
		if (ret != -ENOMEM)
			break;
	}
	luo_note("RETRIEVE_FD of a device: an allocation failed %d times", inject_sum);
	return inject_sum < 10 ? -ERANGE : ret;
}

/*
 * Retrieves what it needs, in an order that nobody expects, as often as it takes, and ends
 * as the VMM does.
 */
static void retrieve_and_die(int dev, struct nic *nic)
{
	int s = luo_retrieve_session(dev, "vfio");

	/* Pages are charged to whoever retrieves the iommufd. */
	if (s < 0 || limit_pins(false) || luo_retrieve_fd(s, IOMMU) < 0)
		_exit(1);
	if (luo_retrieve_fd(s, DEVICE) != -EAGAIN || nic_grab(nic))
		_exit(2);
	if (retrieve_too_much(s) != -ENOMEM)
		_exit(3);
	if (limit_pins(true) || luo_retrieve_fd(s, DEVICE) < 0)
		_exit(4);
	if (luo_retrieve_fd(s, MEMORY) < 0)
		_exit(5);
	raise(SIGKILL);
}

/* Returns the session. */
static int come_back(struct __test_metadata *_metadata, int dev, struct nic *nic)
{
	int s, status, other = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	uint32_t head;
	pid_t pid;

	ASSERT_EQ(0, nic_find(nic, 0));
	EXPECT_EQ(1, luo_klog_has("taken over with translation on"));
	/* The tables are accounted as before; others may be fewer. */
	EXPECT_LE(luo_cmdline_num("luox_tables", 1L << 30) - 8, luo_meminfo_kb(TABLES));

	s = luo_retrieve_session(dev, "vfio");
	ASSERT_LE(0, s);
	EXPECT_EQ(-EBUSY, luo_finish(s));
	close(s);

	pid = fork();
	if (!pid)
		retrieve_and_die(dev, nic);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status)) {
		TH_LOG("the first to retrieve it got to %d", WEXITSTATUS(status));
	}
	EXPECT_EQ(1, luo_klog_has("cannot be retrieved before it is bound to vfio-pci"));
	EXPECT_EQ(-EBUSY, vfio_cdev_open(nic->bdf));
	EXPECT_EQ(-EBUSY, luo_write_file("/sys/bus/pci/drivers/vfio-pci/unbind", nic->bdf));

	s = luo_retrieve_session(dev, "vfio");
	ASSERT_LE(0, s);
	nic->cdev = luo_retrieve_fd(s, DEVICE);
	ASSERT_LE(0, nic->cdev);
	nic->memfd = luo_retrieve_fd(s, MEMORY);
	ASSERT_LE(0, nic->memfd);
	nic->iommufd = luo_retrieve_fd(s, IOMMU);
	ASSERT_LE(0, nic->iommufd);
	EXPECT_EQ(-EBUSY, vfio_cdev_open(nic->bdf));
	EXPECT_EQ(VFIO_LIVEUPDATE_SUPPORTED | VFIO_LIVEUPDATE_DMA | VFIO_LIVEUPDATE_IRQS |
		  VFIO_LIVEUPDATE_RETRIEVED, info_flags(nic));

	/* What an ordinary program does first */
	EXPECT_EQ(-EINVAL, vfio_bind(nic->cdev, other, &nic->devid));
	ASSERT_EQ(0, vfio_bind(nic->cdev, nic->iommufd, &nic->devid));
	EXPECT_NE(0, nic->devid);
	ASSERT_EQ(0, vfio_marked(nic->iommufd, LABEL, &nic->ioas, &nic->hwpt));
	EXPECT_EQ(0, vfio_attach(nic->cdev, nic->hwpt));
	EXPECT_EQ(-EBUSY, vfio_attach(nic->cdev, nic->ioas));
	EXPECT_EQ(-EBUSY, vfio_detach(nic->cdev));
	EXPECT_EQ(-EBUSY, hot_reset(nic));

	/* No reset came between */
	ASSERT_EQ(0, nic_adopt(nic));
	EXPECT_EQ((uint32_t)NIC_IOVA, nic_read(nic, NIC_RDBAL));
	EXPECT_EQ(NIC_RING * NIC_DESC_SIZE, nic_read(nic, NIC_RDLEN));
	EXPECT_TRUE(nic_read(nic, NIC_RCTL) & NIC_RCTL_EN);
	head = nic_read(nic, NIC_RDH);
	EXPECT_LT(100, head);
	ASSERT_EQ(0, nic_wait_frames(nic, head + 50, 30));
	EXPECT_LE(head + 50, nic_read(nic, NIC_RDH));
	ASSERT_EQ(0, nic_mark(1, NIC_MARK_LAST));
	close(other);
	printf("demo: kernel %d: device retrieved, still receiving: %u frames\n", luo_stage(),
	       head);
	return s;
}

/* With a session that can be finished. */
static void go_on(struct __test_metadata *_metadata, struct nic *nic, int s)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	uint32_t frames;
	uint16_t cmd;

	/* The user's view of config space, in which INTx was never disabled */
	ASSERT_EQ(0, vfio_config_read(nic->cdev, PCI_COMMAND, &cmd, sizeof(cmd)));
	EXPECT_EQ(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
		  cmd & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE));
	EXPECT_TRUE(nic_sysfs_config(nic->bdf, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);

	/* Whatever was missed, one signal is there at once. */
	ASSERT_EQ(0, nic_msi(nic, efd));
	EXPECT_LE(1, vfio_signals(efd));
	ASSERT_EQ(0, heard(nic, efd, 3));

	ASSERT_EQ(0, luo_finish(s));
	EXPECT_EQ(VFIO_LIVEUPDATE_SUPPORTED | VFIO_LIVEUPDATE_DMA | VFIO_LIVEUPDATE_IRQS,
		  info_flags(nic));
	EXPECT_EQ(0, luo_klog_has("not written to"));
	EXPECT_EQ(0, luo_klog_has("fault addr"));
	EXPECT_EQ(0, map_page(nic));
	EXPECT_EQ(0, unmap_page(nic));
	frames = nic_frames(nic);
	ASSERT_EQ(0, nic_wait_frames(nic, frames + 50, 30));
	ASSERT_EQ(0, heard(nic, efd, 3));
	printf("demo:   interrupts heard, session finished, mappings changed: %u frames\n",
	       nic_frames(nic));
	close(efd);
}

static int session_again(int dev, const struct nic *nic)
{
	int s = luo_create_session(dev, "vfio"), ret;

	if (s < 0)
		return s;
	ret = luo_preserve_fd(s, nic->memfd, MEMORY);
	if (!ret)
		ret = luo_preserve_fd(s, nic->iommufd, IOMMU);
	if (!ret)
		ret = luo_preserve_fd(s, nic->cdev, DEVICE);
	return ret ? ret : luo_keep(s);
}

static void stop(struct __test_metadata *_metadata, struct nic *nic)
{
	long long tables;
	int cdev;

	ASSERT_EQ(0, nic_quiet(nic));
	/* An ordinary device, which can be opened when its user is gone */
	nic_close(nic);
	cdev = vfio_cdev_open(nic->bdf);
	ASSERT_LE(0, cdev);
	close(cdev);
	EXPECT_FALSE(nic_sysfs_config(nic->bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	tables = luo_meminfo_kb(TABLES);
	close(nic->iommufd);
	/* At least one for each level but the last */
	EXPECT_LE(luo_meminfo_kb(TABLES), tables - 8);
}

LUO_TEST(stage2, comes_back)
{
	struct nic nic;
	int s = come_back(_metadata, self->dev, &nic);

	go_on(_metadata, &nic, s);
	close(s);
	if (luo_cmdline_num("luo_last", 3) == 2)
		stop(_metadata, &nic);
	else
		ASSERT_EQ(0, session_again(self->dev, &nic));
}

LUO_TEST(stage3, comes_back_again)
{
	struct nic nic;
	int s = come_back(_metadata, self->dev, &nic);

	go_on(_metadata, &nic, s);
	stop(_metadata, &nic);
	close(s);
}

static int next(int stage)
{
	char extra[60];
	int ret;

	/* The second kernel has other tables besides by now. */
	snprintf(extra, sizeof(extra), "luox_tables=%lld", stage == 1 ? luo_meminfo_kb(TABLES) :
		 luo_cmdline_num("luox_tables", 0));
	ret = luo_kexec_load(NULL, stage + 1, extra, 0);
	luo_gcov_save();
	if (!ret)
		ret = nic_mark(1, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
