// SPDX-License-Identifier: GPL-2.0
/* A receive-only driver of the 82574 in user space, see luo_e1000e.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "luo_e1000e.h"
#include "luo_test_util.h"

#define NIC_CTRL			0x0000
#define CTRL_SLU		0x00000040U
#define CTRL_RST		0x04000000U
#define NIC_STATUS			0x0008
#define STATUS_LU		0x00000002U
#define IMC			0x00d8
#define RCTL_UPE		0x00000008U
#define RCTL_MPE		0x00000010U
#define RCTL_BAM		0x00008000U
#define RCTL_BSIZE_256		0x00030000U
#define RCTL_SECRC		0x04000000U
#define RDBAH			0x2804
#define DD			0x01	/* descriptor done, in the status byte */
#define DESC_STATUS		12

#define SYS_DEVICES		"/sys/bus/pci/devices"

/* Finds the num-th device of this kind, in the order of bus numbers. */
int nic_find(struct nic *nic, int num)
{
	memset(nic, 0, sizeof(*nic));
	nic->num = num;
	nic->iova = NIC_IOVA;
	nic->tail = NIC_RING - 1;
	nic->iommufd = -1;
	nic->cdev = -1;
	nic->memfd = -1;
	return vfio_find(nic->bdf, sizeof(nic->bdf), "device", 0x10d3, num);
}

/* Gives the device to vfio-pci, whoever has it now. */
int nic_grab(struct nic *nic)
{
	return vfio_give(nic->bdf, "vfio-pci");
}

/* A sealed memfd with an empty ring in it. */
int nic_memory(struct nic *nic)
{
	/* Large folios, where there are any, for superpages in the IOMMU. */
	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always");
	nic->memfd = luo_memfd("nic", MFD_ALLOW_SEALING, NIC_MEM_SIZE);
	if (nic->memfd < 0)
		return nic->memfd;
	if (fcntl(nic->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	nic->mem = mmap(NULL, NIC_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, nic->memfd, 0);
	if (nic->mem == MAP_FAILED)
		return -errno;
	memset(nic->mem, 0, NIC_MEM_SIZE);
	for (uint32_t i = 0; i < NIC_RING; i++) {
		uint64_t addr = nic->iova + NIC_BUF_OFFSET + i * NIC_BUF_SIZE;

		memcpy(nic->mem + i * NIC_DESC_SIZE, &addr, sizeof(addr));
	}
	return 0;
}

/* The registers: of a device that is bound. */
static int map_regs(struct nic *nic)
{
	nic->regs = vfio_map_bar(nic->cdev, VFIO_PCI_BAR0_REGION_INDEX, &nic->regs_len);
	return nic->regs ? 0 : -ENXIO;
}

/* Goes on with a device and a memfd that came by a live update. */
int nic_adopt(struct nic *nic)
{
	nic->mem = mmap(NULL, NIC_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, nic->memfd, 0);
	return nic->mem == MAP_FAILED ? -errno : map_regs(nic);
}

/* Has its first message signalled interrupt counted by an eventfd. */
int nic_msi(const struct nic *nic, int eventfd)
{
	return vfio_irqs(nic->cdev, VFIO_PCI_MSI_IRQ_INDEX, &eventfd, 1);
}

/* Maps the memory: the ring by its address, the buffers by their file, and the registers. */
int nic_map(struct nic *nic)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = nic->ioas,
		.user_va = (uintptr_t)nic->mem, .length = NIC_BUF_OFFSET, .iova = nic->iova,
	};
	int ret;

	if (ioctl(nic->iommufd, IOMMU_IOAS_MAP, &map))
		return -errno;
	ret = vfio_map(nic->iommufd, nic->ioas, nic->memfd, NIC_BUF_OFFSET,
		       NIC_MEM_SIZE - NIC_BUF_OFFSET, nic->iova + NIC_BUF_OFFSET);
	return ret ? ret : map_regs(nic);
}

/* Binds the device, attaches it to a page table, its own unless it has been given one. */
int nic_open(struct nic *nic)
{
	int ret;

	if (nic->iommufd < 0)
		nic->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (nic->iommufd < 0)
		return -errno;
	nic->cdev = vfio_cdev_open(nic->bdf);
	if (nic->cdev < 0)
		return nic->cdev;

	ret = vfio_bind(nic->cdev, nic->iommufd, &nic->devid);
	if (!ret && !nic->hwpt)
		ret = vfio_pt_alloc(nic->iommufd, nic->devid, &nic->ioas, &nic->hwpt);
	if (!ret)
		ret = vfio_attach(nic->cdev, nic->hwpt);
	return ret ? ret : nic_map(nic);
}

/* Leaves the device, but not its iommufd. */
void nic_close(struct nic *nic)
{
	munmap(nic->regs, nic->regs_len);
	close(nic->cdev);
	nic->cdev = -1;
}

/* Leaves all of it. */
void nic_leave(struct nic *nic)
{
	nic_close(nic);
	close(nic->iommufd);
	if (nic->mem)
		munmap(nic->mem, NIC_MEM_SIZE);
	close(nic->memfd);
}

/*
 * Is a device stopped, and there for the next program? One that was just closed was reset by
 * way of D3hot, which changes nothing in this model.
 */
int nic_fresh(int num, bool reset)
{
	struct nic nic;
	int ret = nic_find(&nic, num);

	if (!ret && nic_sysfs_config(nic.bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER)
		ret = -EILSEQ;
	if (!ret)
		ret = nic_memory(&nic);
	if (!ret)
		ret = nic_open(&nic);
	if (ret)
		return ret;
	if (reset && nic_read(&nic, NIC_RCTL) & NIC_RCTL_EN)
		ret = -EILSEQ;
	nic_leave(&nic);
	return ret;
}

uint32_t nic_read(const struct nic *nic, unsigned int reg)
{
	return __atomic_load_n(&nic->regs[reg / 4], __ATOMIC_RELAXED);
}

void nic_write(const struct nic *nic, unsigned int reg, uint32_t val)
{
	__atomic_store_n(&nic->regs[reg / 4], val, __ATOMIC_RELAXED);
}

/* Resets the device and has it receive whatever comes into the whole ring. */
int nic_start(struct nic *nic)
{
	uint16_t cmd;
	int ret;

	ret = vfio_config_read(nic->cdev, PCI_COMMAND, &cmd, sizeof(cmd));
	cmd |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (!ret)
		ret = vfio_config_write(nic->cdev, PCI_COMMAND, &cmd, sizeof(cmd));
	if (ret)
		return ret;
	nic_write(nic, NIC_CTRL, CTRL_RST);
	usleep(10000);
	nic_write(nic, IMC, 0xffffffffU);
	nic_write(nic, NIC_CTRL, nic_read(nic, NIC_CTRL) | CTRL_SLU);
	nic_write(nic, NIC_RDBAL, (uint32_t)nic->iova);
	nic_write(nic, RDBAH, nic->iova >> 32);
	nic_write(nic, NIC_RDLEN, NIC_RING * NIC_DESC_SIZE);
	nic_write(nic, NIC_RDH, 0);
	nic_write(nic, NIC_RDT, nic->tail);
	nic_write(nic, NIC_RCTL, NIC_RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_BSIZE_256 |
		  RCTL_SECRC);
	for (int i = 0; i < 500; i++) {
		if (nic_read(nic, NIC_STATUS) & STATUS_LU)
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

/* Tells the host where in guest memory the buffers are, and to start sending. */
int nic_tell(const struct nic *nic)
{
	size_t pages = NIC_MEM_SIZE / LUO_PAGE, first = 0;
	uint64_t *pfns = calloc(pages, sizeof(*pfns));

	if (!pfns)
		return -ENOMEM;
	luo_pfns_of(nic->mem, pfns, pages);
	for (size_t i = 1; i <= pages; i++) {
		if (i < pages && pfns[i] == pfns[i - 1] + 1)
			continue;
		printf("dma: %d map %#lx %#llx %#lx\n", nic->num, first * LUO_PAGE,
		       (unsigned long long)(pfns[first] * LUO_PAGE), (i - first) * LUO_PAGE);
		first = i;
	}
	free(pfns);
	printf("dma: %d send\n", nic->num);
	return 0;
}

/* How many descriptors the device has written back. */
uint32_t nic_frames(const struct nic *nic)
{
	uint32_t n = 0;

	while (n < NIC_RING && (nic->mem[n * NIC_DESC_SIZE + DESC_STATUS] & DD))
		n++;
	return n;
}

int nic_wait_frames(const struct nic *nic, uint32_t frames, int seconds)
{
	for (int i = 0; i < seconds * 50; i++) {
		if (nic_frames(nic) >= frames)
			return 0;
		usleep(20000);
	}
	return -ETIMEDOUT;
}

/* Has no more frames sent, and waits until those on the way have landed. */
int nic_quiet(const struct nic *nic)
{
	uint32_t frames = nic_frames(nic), now;
	int same = 0;

	printf("dma: %d quiet\n", nic->num);
	for (int i = 0; i < 600; i++) {
		usleep(100000);
		now = nic_frames(nic);
		same = now == frames ? same + 1 : 0;
		frames = now;
		if (same == 10)
			return 0;
	}
	return -ETIMEDOUT;
}

/* What sysfs says of a device's config space, or a negative errno. */
long nic_sysfs_config(const char *bdf, unsigned int at, unsigned int len)
{
	char path[300];
	uint32_t val = 0;
	int fd, ret;

	snprintf(path, sizeof(path), SYS_DEVICES "/%s/config", bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = pread(fd, &val, len, at) == (ssize_t)len ? 0 : -EIO;
	close(fd);
	return ret ? ret : (long)val;
}

int nic_sysfs_config_write(const char *bdf, unsigned int at, const void *buf, size_t len)
{
	char path[300];
	int fd, ret;

	snprintf(path, sizeof(path), SYS_DEVICES "/%s/config", bdf);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = pwrite(fd, buf, len, at) == (ssize_t)len ? 0 : -EIO;
	close(fd);
	return ret;
}

/* Changes nothing that matters, and is seen by the host. */
int nic_interrupt_line(const char *bdf, unsigned char val)
{
	return nic_sysfs_config_write(bdf, PCI_INTERRUPT_LINE, &val, 1);
}

/* One of the marks between which vm_dma.py looks for writes, at the last device. */
int nic_mark(int last, unsigned char mark)
{
	struct nic nic;
	int ret = nic_find(&nic, last);

	return ret ? ret : nic_interrupt_line(nic.bdf, mark);
}

/* A file that stands for a device, of CONFIG_PCI_LIVEUPDATE_TEST, or a negative errno. */
int nic_device_file(const char *bdf)
{
	int fd = open("/dev/luo_pci_test", O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, bdf, strlen(bdf)) < 0 ? -errno : fd;
	if (ret < 0)
		close(fd);
	return ret;
}
