// SPDX-License-Identifier: GPL-2.0
/* A receive-only driver of the 82574 in user space, see luo_e1000e.h. */
#define _GNU_SOURCE
#include <dirent.h>
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

/* Debian 12's headers are of Linux 6.1, which had no vfio character devices. */
#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};

struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
};

#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)
#endif

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

static int name_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Finds the num-th device of this kind, in the order of bus numbers. */
int nic_find(struct nic *nic, int num)
{
	struct dirent **list;
	int n = scandir(SYS_DEVICES, &list, NULL, name_order), found = -ENODEV;

	memset(nic, 0, sizeof(*nic));
	nic->num = num;
	nic->tail = NIC_RING - 1;
	nic->iommufd = -1;
	nic->cdev = -1;
	nic->memfd = -1;
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		char path[300];

		if (list[i]->d_name[0] != '.' && found) {
			snprintf(path, sizeof(path), SYS_DEVICES "/%s/device", list[i]->d_name);
			if (luo_file_num(path) == 0x10d3 && !num--) {
				snprintf(nic->bdf, sizeof(nic->bdf), "%.15s", list[i]->d_name);
				found = 0;
			}
		}
		free(list[i]);
	}
	free(list);
	return found;
}

/* Gives the device to vfio-pci, whoever has it now. */
int nic_grab(struct nic *nic)
{
	char path[300];
	int ret;

	snprintf(path, sizeof(path), SYS_DEVICES "/%s/driver_override", nic->bdf);
	ret = luo_write_file(path, "vfio-pci");
	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), SYS_DEVICES "/%s/driver/unbind", nic->bdf);
	luo_write_file(path, nic->bdf);
	ret = luo_write_file("/sys/bus/pci/drivers_probe", nic->bdf);
	return ret < 0 ? ret : 0;
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
		uint64_t addr = NIC_IOVA + NIC_BUF_OFFSET + i * NIC_BUF_SIZE;

		memcpy(nic->mem + i * NIC_DESC_SIZE, &addr, sizeof(addr));
	}
	return 0;
}

static int cdev_open(const char *bdf)
{
	char path[300], dev[300] = "";
	struct dirent *ent;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), SYS_DEVICES "/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((ent = readdir(dir)))
		if (!strncmp(ent->d_name, "vfio", 4))
			snprintf(dev, sizeof(dev), "/dev/vfio/devices/%.200s", ent->d_name);
	closedir(dir);
	fd = open(dev, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Binds the device, attaches it to a page table of its own, and maps the memory:
 * the ring by its address, the buffers by their file.
 */
int nic_open(struct nic *nic)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct iommu_hwpt_alloc hwpt = { .size = sizeof(hwpt) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.user_va = (uintptr_t)nic->mem, .length = NIC_BUF_OFFSET, .iova = NIC_IOVA,
	};
	struct luo_map_file file = {
		.size = sizeof(file), .flags = map.flags, .fd = nic->memfd,
		.start = NIC_BUF_OFFSET, .length = NIC_MEM_SIZE - NIC_BUF_OFFSET,
		.iova = NIC_IOVA + NIC_BUF_OFFSET,
	};
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info cfg = { .argsz = sizeof(cfg),
					.index = VFIO_PCI_CONFIG_REGION_INDEX };
	void *regs;

	if (nic->iommufd < 0)
		nic->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (nic->iommufd < 0)
		return -errno;
	nic->cdev = cdev_open(nic->bdf);
	if (nic->cdev < 0)
		return nic->cdev;

	bind.iommufd = nic->iommufd;
	if (ioctl(nic->cdev, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(nic->iommufd, IOMMU_IOAS_ALLOC, &ioas))
		return -errno;
	nic->devid = bind.out_devid;
	nic->ioas = ioas.out_ioas_id;
	hwpt.dev_id = nic->devid;
	hwpt.pt_id = nic->ioas;
	if (ioctl(nic->iommufd, IOMMU_HWPT_ALLOC, &hwpt))
		return -errno;
	nic->hwpt = hwpt.out_hwpt_id;
	attach.pt_id = nic->hwpt;
	map.ioas_id = nic->ioas;
	file.ioas_id = nic->ioas;
	if (ioctl(nic->cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ||
	    ioctl(nic->iommufd, IOMMU_IOAS_MAP, &map) ||
	    ioctl(nic->iommufd, LUO_MAP_FILE, &file) ||
	    ioctl(nic->cdev, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(nic->cdev, VFIO_DEVICE_GET_REGION_INFO, &cfg))
		return -errno;
	nic->config = cfg.offset;
	regs = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, nic->cdev, bar.offset);
	if (regs == MAP_FAILED)
		return -errno;
	nic->regs = regs;
	return 0;
}

uint32_t nic_read(const struct nic *nic, unsigned int reg)
{
	return __atomic_load_n(&nic->regs[reg / 4], __ATOMIC_RELAXED);
}

void nic_write(const struct nic *nic, unsigned int reg, uint32_t val)
{
	__atomic_store_n(&nic->regs[reg / 4], val, __ATOMIC_RELAXED);
}

int nic_config_read(const struct nic *nic, unsigned int at, void *buf, size_t len)
{
	return pread(nic->cdev, buf, len, nic->config + at) == (ssize_t)len ? 0 : -EIO;
}

int nic_config_write(const struct nic *nic, unsigned int at, const void *buf, size_t len)
{
	return pwrite(nic->cdev, buf, len, nic->config + at) == (ssize_t)len ? 0 : -EIO;
}

/* Resets the device and has it receive whatever comes into the whole ring. */
int nic_start(struct nic *nic)
{
	uint16_t cmd;
	int ret;

	ret = nic_config_read(nic, PCI_COMMAND, &cmd, sizeof(cmd));
	cmd |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (!ret)
		ret = nic_config_write(nic, PCI_COMMAND, &cmd, sizeof(cmd));
	if (ret)
		return ret;
	nic_write(nic, NIC_CTRL, CTRL_RST);
	usleep(10000);
	nic_write(nic, IMC, 0xffffffffU);
	nic_write(nic, NIC_CTRL, nic_read(nic, NIC_CTRL) | CTRL_SLU);
	nic_write(nic, NIC_RDBAL, (uint32_t)NIC_IOVA);
	nic_write(nic, RDBAH, NIC_IOVA >> 32);
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
