// SPDX-License-Identifier: GPL-2.0
/* vfio character devices and iommufd for test programs, see luo_vfio_util.h. */
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
#include <linux/iommufd_liveupdate.h>
#include <linux/pci_regs.h>

#include "luo_vfio_util.h"
#include "luo_test_util.h"

#define SYS_DEVICES	"/sys/bus/pci/devices"

static int name_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Finds the num-th device, in the order of bus numbers, whose file in sysfs says val. */
int vfio_find(char *bdf, size_t len, const char *file, long long val, int num)
{
	struct dirent **list;
	int n = scandir(SYS_DEVICES, &list, NULL, name_order), found = -ENODEV;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		char path[300];

		if (list[i]->d_name[0] != '.' && found) {
			snprintf(path, sizeof(path), SYS_DEVICES "/%s/%s", list[i]->d_name, file);
			if (luo_file_num(path) == val && !num--) {
				snprintf(bdf, len, "%.15s", list[i]->d_name);
				found = 0;
			}
		}
		free(list[i]);
	}
	free(list);
	return found;
}

/* Gives a device to a driver, whoever has it now; NULL: to nobody. */
int vfio_give(const char *bdf, const char *driver)
{
	char path[300];
	int ret;

	snprintf(path, sizeof(path), SYS_DEVICES "/%s/driver_override", bdf);
	ret = luo_write_file(path, driver ? driver : "none");
	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), SYS_DEVICES "/%s/driver/unbind", bdf);
	luo_write_file(path, bdf);
	ret = luo_write_file("/sys/bus/pci/drivers_probe", bdf);
	return ret < 0 ? ret : 0;
}

/* A new file of the device, of which nothing is known yet. */
int vfio_cdev_open(const char *bdf)
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

int vfio_bind(int cdev, int iommufd, uint32_t *devid)
{
	struct vfio_device_bind_iommufd cmd = { .argsz = sizeof(cmd), .iommufd = iommufd };

	if (ioctl(cdev, VFIO_DEVICE_BIND_IOMMUFD, &cmd))
		return -errno;
	*devid = cmd.out_devid;
	return 0;
}

int vfio_attach(int cdev, uint32_t pt)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = pt };

	return ioctl(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd) ? -errno : 0;
}

int vfio_detach(int cdev)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };

	return ioctl(cdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd) ? -errno : 0;
}

/* A new page table for a device, of a new IOAS. */
int vfio_pt_alloc(int iommufd, uint32_t devid, uint32_t *ioas, uint32_t *hwpt)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd), .dev_id = devid };

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	*ioas = alloc.out_ioas_id;
	cmd.pt_id = *ioas;
	if (ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd))
		return -errno;
	*hwpt = cmd.out_hwpt_id;
	return 0;
}

/* Takes back a page table that no device has, with its IOAS and all that is mapped there. */
int vfio_pt_free(int iommufd, uint32_t ioas, uint32_t hwpt)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = hwpt };

	if (ioctl(iommufd, IOMMU_DESTROY, &cmd))
		return -errno;
	cmd.id = ioas;
	return ioctl(iommufd, IOMMU_DESTROY, &cmd) ? -errno : 0;
}

int vfio_mark(int iommufd, uint32_t hwpt, uint32_t label)
{
	struct iommu_hwpt_liveupdate_mark_preserve cmd = {
		.size = sizeof(cmd), .hwpt_id = hwpt, .label = label,
	};

	return ioctl(iommufd, IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE, &cmd) ? -errno : 0;
}

/* Which page table has a label? */
int vfio_marked(int iommufd, uint32_t label, uint32_t *ioas, uint32_t *hwpt)
{
	struct iommu_liveupdate_get_id cmd = { .size = sizeof(cmd), .label = label };

	if (ioctl(iommufd, IOMMU_LIVEUPDATE_GET_ID, &cmd))
		return -errno;
	*ioas = cmd.out_ioas_id;
	*hwpt = cmd.out_hwpt_id;
	return 0;
}

int vfio_map(int iommufd, uint32_t ioas, int memfd, uint64_t start, uint64_t len, uint64_t iova)
{
	struct luo_map_file cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas, .fd = memfd, .start = start, .length = len, .iova = iova,
	};

	return ioctl(iommufd, LUO_MAP_FILE, &cmd) ? -errno : 0;
}

int vfio_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd), .ioas_id = ioas, .iova = iova, .length = len,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd) ? -errno : 0;
}

int vfio_region(int cdev, uint32_t index, uint64_t *offset, uint64_t *size)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	int ret = ioctl(cdev, VFIO_DEVICE_GET_REGION_INFO, &info) ? -errno : 0;

	*offset = info.offset;
	*size = info.size;
	return ret;
}

/* The registers behind a base address, or NULL. */
void *vfio_map_bar(int cdev, uint32_t index, size_t *len)
{
	uint64_t offset, size;
	void *regs;

	if (vfio_region(cdev, index, &offset, &size))
		return NULL;
	regs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cdev, offset);
	*len = size;
	return regs == MAP_FAILED ? NULL : regs;
}

int vfio_config_read(int cdev, unsigned int at, void *buf, size_t len)
{
	uint64_t offset, size;
	int ret = vfio_region(cdev, VFIO_PCI_CONFIG_REGION_INDEX, &offset, &size);

	if (ret)
		return ret;
	return pread(cdev, buf, len, offset + at) == (ssize_t)len ? 0 : -EIO;
}

int vfio_config_write(int cdev, unsigned int at, const void *buf, size_t len)
{
	uint64_t offset, size;
	int ret = vfio_region(cdev, VFIO_PCI_CONFIG_REGION_INDEX, &offset, &size);

	if (ret)
		return ret;
	return pwrite(cdev, buf, len, offset + at) == (ssize_t)len ? 0 : -EIO;
}

/* Where a capability is in config space, or a negative errno. */
int vfio_cap(int cdev, unsigned char id)
{
	unsigned char at, head[2];
	int ret = vfio_config_read(cdev, PCI_CAPABILITY_LIST, &at, 1);

	for (int i = 0; !ret && at && i < 48; i++) {
		ret = vfio_config_read(cdev, at, head, sizeof(head));
		if (!ret && head[0] == id)
			return at;
		at = head[1];
	}
	return ret ? ret : -ENOENT;
}

/* Which of the first 64 MSI-X vectors have been held up? */
int vfio_msix_pending(int cdev, uint64_t *vectors)
{
	int cap = vfio_cap(cdev, PCI_CAP_ID_MSIX);
	uint64_t offset, size;
	uint32_t pba;
	int ret;

	if (cap < 0)
		return cap;
	ret = vfio_config_read(cdev, cap + PCI_MSIX_PBA, &pba, sizeof(pba));
	if (!ret)
		ret = vfio_region(cdev, pba & PCI_MSIX_PBA_BIR, &offset, &size);
	if (ret)
		return ret;
	offset += pba & PCI_MSIX_PBA_OFFSET;
	return pread(cdev, vectors, sizeof(*vectors), offset) == sizeof(*vectors) ? 0 : -EIO;
}

/* Has interrupts counted by eventfds, from the first one on. */
int vfio_irqs(int cdev, uint32_t index, const int *eventfds, uint32_t count)
{
	struct vfio_irq_set *set = calloc(1, sizeof(*set) + count * sizeof(int32_t));
	int ret;

	if (!set)
		return -ENOMEM;
	set->argsz = sizeof(*set) + count * sizeof(int32_t);
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = index;
	set->count = count;
	memcpy(set->data, eventfds, count * sizeof(int32_t));
	ret = ioctl(cdev, VFIO_DEVICE_SET_IRQS, set) ? -errno : 0;
	free(set);
	return ret;
}

/* What a user of INTx does when he has seen to it. */
int vfio_irq_unmask(int cdev, uint32_t index)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set), .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
		.index = index, .count = 1,
	};

	return ioctl(cdev, VFIO_DEVICE_SET_IRQS, &set) ? -errno : 0;
}

/* Signals since the last time, of an eventfd that does not block. */
uint64_t vfio_signals(int eventfd)
{
	uint64_t n = 0;

	return read(eventfd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* All that makes a device, in the order in which it has to be. */
int vfio_preserve(int session, int memfd, int iommufd, int cdev)
{
	int ret = luo_preserve_fd(session, memfd, VFIO_MEMORY);

	if (!ret)
		ret = luo_preserve_fd(session, iommufd, VFIO_IOMMU);
	if (!ret)
		ret = luo_preserve_fd(session, cdev, VFIO_DEVICE);
	return ret;
}

int vfio_fence_on_close(int session)
{
	struct liveupdate_session_set_device_policy arg = {
		.size = sizeof(arg), .policy = LIVEUPDATE_DEVICE_FENCE_ON_CLOSE,
	};

	return ioctl(session, LIVEUPDATE_SESSION_SET_DEVICE_POLICY, &arg) ? -errno : 0;
}

int vfio_fence(int session)
{
	struct liveupdate_session_fence arg = { .size = sizeof(arg) };

	return ioctl(session, LIVEUPDATE_SESSION_FENCE, &arg) ? -errno : 0;
}
