/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page tables that are given to a device while it receives, and what has landed where.
 */
#ifndef LUO_REPLACE_H
#define LUO_REPLACE_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "luo_e1000e.h"
#include "luo_stages.h"

/* How many domain IDs of the IOMMU are in use: one for each device, if they share none. */
#define DOMAINS_USED	"/sys/class/iommu/dmar0/intel-iommu/domains_used"

#define FEW		100		/* frames */

/* Frames as vm_dma.py makes them */
#define FRAME_NUMBER	24
#define FRAME_TAIL	56

/* A page table. */
struct pt {
	uint32_t ioas, hwpt;
};

/* Maps the ring and the buffers, each by itself, where the device looks for them. */
static inline int pt_map(const struct nic *nic, const struct pt *pt, int memfd)
{
	int ret = vfio_map(nic->iommufd, pt->ioas, memfd, 0, NIC_BUF_OFFSET, nic->iova);

	return ret ? ret : vfio_map(nic->iommufd, pt->ioas, memfd, NIC_BUF_OFFSET,
				    NIC_MEM_SIZE - NIC_BUF_OFFSET, nic->iova + NIC_BUF_OFFSET);
}

static inline int pt_make(const struct nic *nic, struct pt *pt)
{
	int ret = vfio_pt_alloc(nic->iommufd, nic->devid, &pt->ioas, &pt->hwpt);

	return ret ? ret : pt_map(nic, pt, nic->memfd);
}

static inline int pt_free(const struct nic *nic, const struct pt *pt)
{
	return vfio_pt_free(nic->iommufd, pt->ioas, pt->hwpt);
}

static inline bool has_frame(const unsigned char *mem, uint32_t i)
{
	return !memcmp(mem + NIC_BUF_OFFSET + i * NIC_BUF_SIZE + FRAME_TAIL, "LUO-DONE", 8);
}

static inline uint32_t count(const unsigned char *mem)
{
	uint32_t frames = 0;

	for (uint32_t i = 0; i < NIC_RING; i++)
		frames += has_frame(mem, i);
	return frames;
}

static inline uint64_t number(const unsigned char *mem, uint32_t i)
{
	uint64_t num;

	memcpy(&num, mem + NIC_BUF_OFFSET + i * NIC_BUF_SIZE + FRAME_NUMBER, sizeof(num));
	return num;
}

/* The first buffer without the frame that is to be there, if they count from @num; or -1. */
static inline long first_lost(const unsigned char *mem, uint32_t from, uint32_t to, uint64_t num)
{
	for (uint32_t i = from; i < to; i++) {
		if (!has_frame(mem, i) || number(mem, i) != num + i)
			return i;
	}
	return -1;
}

static inline int wait_more(const struct nic *nic, uint32_t more)
{
	return nic_wait_frames(nic, nic_frames(nic) + more, 60);
}

/*
 * The same where DMA was off for a moment: what was lost then leaves gaps in the ring. Like
 * any driver it tells the device now and then of what it may use; QEMU's takes no frames
 * any more when one came at the wrong moment, until it is told.
 */
static inline int wait_more_with_gaps(const struct nic *nic, uint32_t more)
{
	uint32_t frames = count(nic->mem) + more;

	for (int i = 0; i < 3000; i++) {
		if (count(nic->mem) >= frames)
			return 0;
		if (i % 100 == 99)
			nic_write(nic, NIC_RDT, nic->tail);
		usleep(20000);
	}
	return -ETIMEDOUT;
}

/* All frames up to now have landed, each in its buffer, and they go on coming. */
static inline void loses_nothing(struct __test_metadata *_metadata, const struct nic *nic)
{
	ASSERT_EQ(0, wait_more(nic, FEW));
	EXPECT_EQ(-1, first_lost(nic->mem, 0, nic_frames(nic), number(nic->mem, 0)));
}

static inline void receive(struct __test_metadata *_metadata, struct nic *nic)
{
	ASSERT_EQ(0, nic_start(nic));
	ASSERT_EQ(0, nic_tell(nic));
	ASSERT_EQ(0, nic_wait_frames(nic, FEW, 60));
}

static inline void find(struct __test_metadata *_metadata, struct nic *nic, int num)
{
	ASSERT_EQ(0, nic_find(nic, num));
	ASSERT_EQ(0, nic_grab(nic));
}

static inline void no_more(const struct nic *nic)
{
	printf("dma: %d quiet\n", nic->num);
	usleep(200000);
}

#endif /* LUO_REPLACE_H */
