/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small NVMe driver in user space: through a vfio character device, an iommufd, and
 * queues and buffers in a sealed memfd.
 *
 * There is an admin queue and one for reads and writes, each with an MSI-X vector of
 * its own.  How far they have got is in the memory too, where a VMM's guest would
 * have it: whoever gets that by a live update goes on with them.
 */
#ifndef LUO_NVME_H
#define LUO_NVME_H

#include <stddef.h>
#include <stdint.h>

#include "luo_vfio_util.h"

#define NVME_IOVA	0x100200000ULL	/* vm_dma.py watches what is there physically */
#define NVME_MEM_SIZE	(2UL << 20)
#define NVME_READS	64U		/* at a time */
#define NVME_VECTORS	2		/* admin, reads and writes */

#define NVME_CC		0x14
#define NVME_CSTS	0x1c
#define NVME_CSTS_RDY	0x1U
#define NVME_AQA	0x24
#define NVME_ASQ	0x28
#define NVME_ACQ	0x30

/* A pair of queues. */
struct nvme_queue {
	uint32_t tail, head, phase;
	uint32_t entries;
};

/* What is in the memory, beside the queues and buffers. */
struct nvme_state {
	struct nvme_queue queue[2];
	uint32_t cc, csts, aqa;
	uint64_t asq, acq;
	uint32_t done_before;		/* for the test */
	uint16_t status[NVME_READS];	/* of each command, 0xffff: not completed yet */
};

struct nvme {
	char bdf[16];
	int iommufd, cdev, memfd;
	uint32_t devid, ioas, hwpt;
	unsigned char *mem;
	unsigned char *regs;
	size_t regs_len;
	struct nvme_state *state;
};

int nvme_find(struct nvme *nvme, int num);
int nvme_memory(struct nvme *nvme);
int nvme_open(struct nvme *nvme);
int nvme_adopt(struct nvme *nvme);
int nvme_start(struct nvme *nvme);
int nvme_irqs(const struct nvme *nvme, const int *eventfds);
uint32_t nvme_read32(const struct nvme *nvme, unsigned int reg);
uint64_t nvme_read64(const struct nvme *nvme, unsigned int reg);
void *nvme_buffer(const struct nvme *nvme, uint32_t num);
void nvme_submit_read(struct nvme *nvme, uint32_t num, uint32_t page);
void nvme_submit_write(struct nvme *nvme, uint32_t pages);
void nvme_submit_identify(struct nvme *nvme);
void nvme_ring(const struct nvme *nvme, int queue);
uint32_t nvme_completed(const struct nvme *nvme);
int nvme_reap(struct nvme *nvme, int queue);

#endif /* LUO_NVME_H */
