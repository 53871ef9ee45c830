// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a preserved PCI device goes through a kexec without a write to its
 * config space.
 *
 * Bus mastering stays on, of the device and of the root port above, base addresses
 * stay where they are, no driver of the kernel's own takes the device, and what
 * would be written to it is refused, until it is retrieved.  After FINISH it is a
 * device like any other.  The host sees all writes that reach the hardware between
 * two marks, writes to the neighbour's interrupt line, see vm_dma.py.
 *
 * An image whose command line would have it stopped, or its IOMMU, is refused.
 *
 * The device stands still; that its DMA runs on is another test's business.
 *
 * vm-test: name=pci stages=2 mem=3072 kernels=plain timeout=90 dma=quiet,none
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

#define SYS		"/sys/bus/pci/devices/"
#define STOPPED		"would be stopped, the next kernel comes up with "

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static void bridge_of(const char *bdf, char *bridge, size_t len)
{
	char path[200], link[512];
	ssize_t n;
	char *at;

	snprintf(path, sizeof(path), SYS "%s", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	at = strrchr(link, '/');
	if (at)
		*at = 0;
	at = strrchr(link, '/');
	snprintf(bridge, len, "%.15s", at ? at + 1 : "");
}

/* A number that changes with any base address or its size. */
static unsigned long resources(const char *bdf)
{
	char path[200], text[4096] = "";
	unsigned long hash = 5381;

	snprintf(path, sizeof(path), SYS "%s/resource", bdf);
	if (luo_read_file(path, text, sizeof(text)) < 0)
		return 0;
	/* The first line of seven, to the ROM; the flags say which are fixed. */
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		line[37] = 0;
		for (char *c = line; *c; c++)
			hash = hash * 33 + *c;
	}
	return hash & 0x7fffffff;
}

static int driver_is(const char *bdf, const char *driver)
{
	char path[200], link[512];
	ssize_t n;

	snprintf(path, sizeof(path), SYS "%s/driver", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return !driver;
	link[n] = 0;
	return driver && !strcmp(strrchr(link, '/') + 1, driver);
}

static void take_from_driver(const char *bdf)
{
	char path[200];

	snprintf(path, sizeof(path), SYS "%s/driver/unbind", bdf);
	luo_write_file(path, bdf);
}

LUO_TEST(stage1, bridges_are_refused)
{
	int s = luo_create_session(self->dev, "bridge"), fd;
	char bridge[16];
	struct nic nic;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, 0));
	bridge_of(nic.bdf, bridge, sizeof(bridge));
	fd = nic_device_file(bridge);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EOPNOTSUPP, luo_preserve_fd(s, fd, 1));
	EXPECT_EQ(1, luo_klog_has("cannot be preserved: it is a bridge"));
}

LUO_TEST(stage1, unpreserved_when_the_session_goes)
{
	int s = luo_create_session(self->dev, "gone"), other, fd;
	struct nic nic;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, 0));
	fd = nic_device_file(nic.bdf);
	ASSERT_LE(0, fd);
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
		other = luo_create_session(self->dev, "other");
		ASSERT_LE(0, other);
		EXPECT_EQ(-EBUSY, luo_preserve_fd(other, fd, 1));
		close(other);
		close(s);
		s = luo_create_session(self->dev, "gone");
		ASSERT_LE(0, s);
	}
}

/* What fitted when it was loaded: reboot() looks again. */
LUO_TEST(stage1, an_image_is_refused_by_reboot_too)
{
	int s, fd;
	struct nic nic;

	ASSERT_EQ(0, luo_kexec_load(NULL, 2, "pci=realloc", 0));
	s = luo_create_session(self->dev, "late");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, 0));
	fd = nic_device_file(nic.bdf);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	EXPECT_EQ(-EPROTONOSUPPORT, luo_kexec_exec());
	EXPECT_EQ(1, luo_klog_has("session 'late': token 0x1: luo-pci-test-v1: its device would"));
	EXPECT_LE(1, luo_klog_has(STOPPED "pci=realloc"));
	EXPECT_EQ(0, luo_kexec_unload(0));
}

LUO_TEST(stage1, preserve)
{
	uint16_t cmd = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	int s = luo_create_session(self->dev, "pci"), fd;
	struct nic nic;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, 0));
	take_from_driver(nic.bdf);
	ASSERT_EQ(0, nic_sysfs_config_write(nic.bdf, PCI_COMMAND, &cmd, sizeof(cmd)));
	fd = nic_device_file(nic.bdf);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, images_that_would_stop_it_are_refused)
{
	static const struct {
		const char *words;
		const char *line;
	} cases[] = {
		{ "kho=off", "would be lost, the next kernel comes up with kho=off" },
		{ "liveupdate=off", "would be lost, the next kernel comes up with liveupdate=off" },
		{ "intel_iommu=off", STOPPED "intel_iommu=off" },
		{ "iommu=off", STOPPED "iommu=off" },
		{ "pci=noaer,assign-busses", STOPPED "pci=assign-busses" },
		{ "pci=realloc", STOPPED "pci=realloc" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		int before = luo_klog_has(cases[i].line);

		EXPECT_EQ(-EPROTONOSUPPORT, luo_kexec_load(NULL, 2, cases[i].words, 0)) {
			TH_LOG("%s", cases[i].words);
		}
		EXPECT_LT(before, luo_klog_has(cases[i].line)) {
			TH_LOG("%s", cases[i].words);
		}
	}
	/* The last word counts. */
	EXPECT_EQ(0, luo_kexec_load(NULL, 2, "intel_iommu=off intel_iommu=on pci=realloc=off", 0));
	EXPECT_EQ(0, luo_kexec_unload(0));
}

LUO_TEST(stage2, as_it_was)
{
	struct nic nic;
	char bridge[16];

	ASSERT_EQ(0, nic_find(&nic, 0));
	bridge_of(nic.bdf, bridge, sizeof(bridge));
	EXPECT_EQ(PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY,
		  nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) &
		  (PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY));
	EXPECT_TRUE(nic_sysfs_config(bridge, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	EXPECT_EQ(luo_cmdline_num("luox_resources", 0), (long)resources(nic.bdf));
	EXPECT_EQ(luo_cmdline_num("luox_windows", 0), (long)resources(bridge));
	EXPECT_EQ(2, luo_klog_has("running since before this kernel"));
}

LUO_TEST(stage2, no_driver_takes_it)
{
	char path[200], status[32] = "";
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	EXPECT_TRUE(driver_is(nic.bdf, NULL));
	EXPECT_EQ(-ENODEV, luo_write_file("/sys/bus/pci/drivers/e1000e/bind", nic.bdf));
	/* One that leaves DMA to user space may. */
	ASSERT_EQ(0, nic_grab(&nic));
	EXPECT_TRUE(driver_is(nic.bdf, "vfio-pci"));
	snprintf(path, sizeof(path), SYS "%s/power/runtime_status", nic.bdf);
	ASSERT_LE(0, luo_read_file(path, status, sizeof(status)));
	EXPECT_EQ(0, strncmp(status, "active", 6));
	/* But it has a user already, whoever that will be. */
	EXPECT_EQ(-EBUSY, nic_open(&nic));
	EXPECT_EQ(-EBUSY, nic.cdev);
	EXPECT_EQ(0, luo_klog_has("not written to"));
}

LUO_TEST(stage2, writes_are_refused)
{
	uint32_t buses = 0, one = 0xffffffff;
	struct nic nic, next;
	char bridge[16];
	long line;

	ASSERT_EQ(0, nic_find(&nic, 0));
	ASSERT_EQ(0, nic_find(&next, 1));
	bridge_of(nic.bdf, bridge, sizeof(bridge));
	line = nic_sysfs_config(nic.bdf, PCI_INTERRUPT_LINE, 1);
	nic_interrupt_line(nic.bdf, line ^ 1);
	EXPECT_EQ(line, nic_sysfs_config(nic.bdf, PCI_INTERRUPT_LINE, 1));
	nic_sysfs_config_write(bridge, PCI_PRIMARY_BUS, &buses, sizeof(buses));
	EXPECT_NE(0, nic_sysfs_config(bridge, PCI_SECONDARY_BUS, 1));
	nic_sysfs_config_write(bridge, PCI_COMMAND, &buses, 2);
	EXPECT_TRUE(nic_sysfs_config(bridge, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
	nic_sysfs_config_write(nic.bdf, PCI_BASE_ADDRESS_0, &one, sizeof(one));
	EXPECT_EQ(luo_cmdline_num("luox_resources", 0), (long)resources(nic.bdf));
	EXPECT_EQ(4, luo_klog_has("not written to"));
	/* Those that are nobody's are not. */
	ASSERT_EQ(0, nic_interrupt_line(next.bdf, NIC_MARK_LAST));
	EXPECT_EQ(NIC_MARK_LAST, nic_sysfs_config(next.bdf, PCI_INTERRUPT_LINE, 1));
	EXPECT_EQ(4, luo_klog_has("not written to"));
}

LUO_TEST(stage2, retrieve_and_finish)
{
	int s = luo_retrieve_session(self->dev, "pci"), fd, other;
	struct nic nic;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, nic_find(&nic, 0));
	fd = nic_device_file(nic.bdf);
	other = luo_create_session(self->dev, "again");
	ASSERT_LE(0, other);
	EXPECT_EQ(-EBUSY, luo_preserve_fd(other, fd, 1));
	EXPECT_EQ(1, luo_klog_has("cannot be preserved: it is already, or not finished"));
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, nic_interrupt_line(nic.bdf, 0x77));
	EXPECT_EQ(0x77, nic_sysfs_config(nic.bdf, PCI_INTERRUPT_LINE, 1));
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_EQ(0, luo_preserve_fd(other, fd, 1));
	close(other);
	close(fd);
	nic.cdev = -1;
	ASSERT_EQ(0, nic_memory(&nic));
	EXPECT_EQ(0, nic_open(&nic));
}

LUO_TEST(stage2, then_an_ordinary_device)
{
	char path[200];
	struct nic nic;

	ASSERT_EQ(0, nic_find(&nic, 0));
	take_from_driver(nic.bdf);
	snprintf(path, sizeof(path), SYS "%s/driver_override", nic.bdf);
	ASSERT_EQ(0, luo_write_file(path, "\n"));
	ASSERT_EQ(0, luo_write_file("/sys/bus/pci/drivers_probe", nic.bdf));
	EXPECT_TRUE(driver_is(nic.bdf, "e1000e"));
}

static int next(int stage)
{
	char extra[120], bridge[16];
	struct nic nic, other;
	int ret;

	if (nic_find(&nic, 0) || nic_find(&other, 1))
		return -ENODEV;
	bridge_of(nic.bdf, bridge, sizeof(bridge));
	snprintf(extra, sizeof(extra), "luox_resources=%lu luox_windows=%lu", resources(nic.bdf),
		 resources(bridge));
	ret = luo_kexec_load(NULL, stage + 1, extra, 0);
	if (!ret)
		ret = nic_interrupt_line(other.bdf, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
