/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A receive-only driver of the 82574 (QEMU's e1000e) in user space: through a
 * vfio character device, an iommufd and a ring in a sealed memfd.
 *
 * The ring is filled once and never again: frame number N of a run lands in
 * buffer N, so that whoever sees the memory knows what the device did, with
 * nobody alive in the guest.
 */
#ifndef LUO_E1000E_H
#define LUO_E1000E_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "luo_vfio_util.h"

#define NIC_RING		32768U		/* descriptors, the most there can be */
#define NIC_DESC_SIZE		16UL
#define NIC_BUF_SIZE		256UL
#define NIC_BUF_OFFSET		(2UL << 20)	/* the ring is what comes before */
#define NIC_MEM_SIZE		(NIC_BUF_OFFSET + NIC_RING * NIC_BUF_SIZE)
#define NIC_IOVA		0x100200000ULL	/* vm_dma.py watches what is there physically */

#define NIC_MARK_FIRST		0xa5		/* for nic_mark() */
#define NIC_MARK_LAST		0x5a

#define NIC_ICR			0x00c0
#define NIC_ICS			0x00c8
#define NIC_IMS			0x00d0
#define NIC_RX_IRQ		0x00000080U	/* a frame was received */
#define NIC_RCTL		0x0100
#define NIC_RCTL_EN		0x00000002U
#define NIC_RDBAL		0x2800
#define NIC_RDLEN		0x2808
#define NIC_RDH			0x2810
#define NIC_RDT			0x2818

/* One device with all that it needs. */
struct nic {
	char bdf[16];
	int num;			/* which one of the machine */
	uint32_t tail;			/* the first descriptor that it may not use */
	int iommufd, cdev, memfd;
	uint32_t devid, ioas, hwpt;
	uint64_t iova;			/* of its memory; NIC_IOVA unless changed */
	unsigned char *mem;		/* NIC_MEM_SIZE, what memfd is */
	uint32_t *regs;
	size_t regs_len;
};

int nic_find(struct nic *nic, int num);
int nic_grab(struct nic *nic);
int nic_memory(struct nic *nic);
int nic_map(struct nic *nic);
int nic_open(struct nic *nic);
void nic_close(struct nic *nic);
void nic_leave(struct nic *nic);
int nic_fresh(int num, bool reset);
int nic_adopt(struct nic *nic);
int nic_msi(const struct nic *nic, int eventfd);
int nic_start(struct nic *nic);
int nic_tell(const struct nic *nic);
uint32_t nic_frames(const struct nic *nic);
int nic_quiet(const struct nic *nic);
int nic_wait_frames(const struct nic *nic, uint32_t frames, int seconds);
uint32_t nic_read(const struct nic *nic, unsigned int reg);
void nic_write(const struct nic *nic, unsigned int reg, uint32_t val);
long nic_sysfs_config(const char *bdf, unsigned int at, unsigned int len);
int nic_sysfs_config_write(const char *bdf, unsigned int at, const void *buf, size_t len);
int nic_interrupt_line(const char *bdf, unsigned char val);
int nic_mark(int last, unsigned char mark);
int nic_device_file(const char *bdf);

#endif /* LUO_E1000E_H */
