// SPDX-License-Identifier: GPL-2.0
/* A small NVMe driver in user space, see luo_nvme.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "luo_nvme.h"
#include "luo_test_util.h"

#define CLASS_NVME	0x010802

#define CC_ENABLE	0x1U
#define CC_SIZES	0x00460000U	/* entries of 64 and 16 bytes */
#define DOORBELL(queue, head)	(0x1000 + (queue) * 8 + (head) * 4)

#define ADMIN		0
#define IO		1
#define ADMIN_ENTRIES	32U
#define IO_ENTRIES	128U

#define ADMIN_CREATE_SQ	0x01
#define ADMIN_CREATE_CQ	0x05
#define ADMIN_IDENTIFY	0x06
#define ADMIN_SET_FEAT	0x09
#define FEAT_QUEUES	0x07
#define IO_WRITE	0x01
#define IO_READ		0x02
#define SECTOR		512UL

/* Where things are in the memory; the entries of a queue are contiguous. */
#define ADMIN_SQ	0x0000UL
#define ADMIN_CQ	0x1000UL
#define IO_SQ		0x2000UL
#define IO_CQ		0x4000UL
#define PRP_LIST	0x5000UL
#define IDENTIFY	0x6000UL
#define STATE		0x7000UL
#define BUFFERS		0x10000UL

struct command {
	uint8_t opcode, flags;
	uint16_t id;
	uint32_t nsid;
	uint64_t reserved, metadata;
	uint64_t prp[2];
	uint32_t dw10[6];
};

struct completion {
	uint32_t result, reserved;
	uint16_t sq_head, sq_id;
	uint16_t id;
	uint16_t status;	/* its lowest bit is the phase */
};

static const unsigned long sq_at[2] = { ADMIN_SQ, IO_SQ }, cq_at[2] = { ADMIN_CQ, IO_CQ };

/* Finds the num-th controller, in the order of bus numbers. */
int nvme_find(struct nvme *nvme, int num)
{
	memset(nvme, 0, sizeof(*nvme));
	nvme->iommufd = -1;
	nvme->cdev = -1;
	nvme->memfd = -1;
	return vfio_find(nvme->bdf, sizeof(nvme->bdf), "class", CLASS_NVME, num);
}

static int map_memory(struct nvme *nvme)
{
	nvme->mem = mmap(NULL, NVME_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, nvme->memfd, 0);
	if (nvme->mem == MAP_FAILED)
		return -errno;
	nvme->state = (void *)(nvme->mem + STATE);
	return 0;
}

static int map_regs(struct nvme *nvme)
{
	nvme->regs = vfio_map_bar(nvme->cdev, VFIO_PCI_BAR0_REGION_INDEX, &nvme->regs_len);
	return nvme->regs ? 0 : -ENXIO;
}

/* A sealed memfd, empty. */
int nvme_memory(struct nvme *nvme)
{
	nvme->memfd = luo_memfd("nvme", MFD_ALLOW_SEALING, NVME_MEM_SIZE);
	if (nvme->memfd < 0)
		return nvme->memfd;
	if (fcntl(nvme->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	return map_memory(nvme);
}

/* Binds the device, attaches it to a page table of its own, and maps the memory. */
int nvme_open(struct nvme *nvme)
{
	int ret;

	nvme->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (nvme->iommufd < 0)
		return -errno;
	nvme->cdev = vfio_cdev_open(nvme->bdf);
	if (nvme->cdev < 0)
		return nvme->cdev;
	ret = vfio_bind(nvme->cdev, nvme->iommufd, &nvme->devid);
	if (!ret)
		ret = vfio_pt_alloc(nvme->iommufd, nvme->devid, &nvme->ioas, &nvme->hwpt);
	if (!ret)
		ret = vfio_attach(nvme->cdev, nvme->hwpt);
	if (!ret)
		ret = vfio_map(nvme->iommufd, nvme->ioas, nvme->memfd, 0, NVME_MEM_SIZE, NVME_IOVA);
	return ret ? ret : map_regs(nvme);
}

/* Goes on with a device and a memfd that came by a live update. */
int nvme_adopt(struct nvme *nvme)
{
	int ret = map_memory(nvme);

	return ret ? ret : map_regs(nvme);
}

uint32_t nvme_read32(const struct nvme *nvme, unsigned int reg)
{
	return __atomic_load_n((uint32_t *)(nvme->regs + reg), __ATOMIC_RELAXED);
}

uint64_t nvme_read64(const struct nvme *nvme, unsigned int reg)
{
	return nvme_read32(nvme, reg) | (uint64_t)nvme_read32(nvme, reg + 4) << 32;
}

static void write32(const struct nvme *nvme, unsigned int reg, uint32_t val)
{
	__atomic_store_n((uint32_t *)(nvme->regs + reg), val, __ATOMIC_RELEASE);
}

static void write64(const struct nvme *nvme, unsigned int reg, uint64_t val)
{
	write32(nvme, reg, val);
	write32(nvme, reg + 4, val >> 32);
}

static int wait_ready(const struct nvme *nvme, uint32_t ready)
{
	for (int i = 0; i < 1000; i++) {
		if ((nvme_read32(nvme, NVME_CSTS) & NVME_CSTS_RDY) == ready)
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

/* Takes a place in a queue, which nvme_ring() tells the controller. */
static struct command *submit(struct nvme *nvme, int queue, uint8_t opcode, uint16_t id,
			      uint64_t addr)
{
	struct nvme_queue *q = &nvme->state->queue[queue];
	struct command *cmd = (void *)(nvme->mem + sq_at[queue]);

	cmd += q->tail;
	q->tail = (q->tail + 1) % q->entries;
	memset(cmd, 0, sizeof(*cmd));
	cmd->opcode = opcode;
	cmd->id = id;
	cmd->prp[0] = addr;
	return cmd;
}

void nvme_ring(const struct nvme *nvme, int queue)
{
	write32(nvme, DOORBELL(queue, 0), nvme->state->queue[queue].tail);
}

static struct completion *next_completion(const struct nvme *nvme, int queue, uint32_t ahead)
{
	const struct nvme_queue *q = &nvme->state->queue[queue];
	uint32_t at = q->head + ahead, phase = q->phase ^ (at >= q->entries);
	struct completion *cqe = (void *)(nvme->mem + cq_at[queue]);

	cqe += at % q->entries;
	return (__atomic_load_n(&cqe->status, __ATOMIC_ACQUIRE) & 1) == phase ? cqe : NULL;
}

/* How many reads and writes have completed that nobody has taken? */
uint32_t nvme_completed(const struct nvme *nvme)
{
	uint32_t n = 0;

	while (n < IO_ENTRIES && next_completion(nvme, IO, n))
		n++;
	return n;
}

/* Takes what has completed, and returns how much that was. */
int nvme_reap(struct nvme *nvme, int queue)
{
	struct nvme_queue *q = &nvme->state->queue[queue];
	struct completion *cqe;
	int n = 0;

	for (; (cqe = next_completion(nvme, queue, 0)); n++) {
		if (cqe->id < NVME_READS)
			nvme->state->status[cqe->id] = cqe->status >> 1;
		if (++q->head == q->entries) {
			q->head = 0;
			q->phase ^= 1;
		}
	}
	if (n)
		write32(nvme, DOORBELL(queue, 1), q->head);
	return n;
}

/* One command of the admin queue, from submission to its end. */
static int admin(struct nvme *nvme, uint8_t opcode, uint64_t addr, uint32_t dw10, uint32_t dw11)
{
	struct command *cmd = submit(nvme, ADMIN, opcode, 0, addr);

	cmd->dw10[0] = dw10;
	cmd->dw10[1] = dw11;
	nvme->state->status[0] = 0xffff;
	nvme_ring(nvme, ADMIN);
	for (int i = 0; i < 1000; i++) {
		if (nvme_reap(nvme, ADMIN))
			return nvme->state->status[0] ? -EIO : 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

/* Starts the controller and makes a queue for reads and writes. */
int nvme_start(struct nvme *nvme)
{
	uint16_t pci = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct nvme_state *state = nvme->state;
	int ret;

	ret = vfio_config_write(nvme->cdev, PCI_COMMAND, &pci, sizeof(pci));
	if (ret)
		return ret;
	write32(nvme, NVME_CC, 0);
	ret = wait_ready(nvme, 0);
	if (ret)
		return ret;
	memset(nvme->mem, 0, NVME_MEM_SIZE);
	state->queue[ADMIN] = (struct nvme_queue){ .phase = 1, .entries = ADMIN_ENTRIES };
	state->queue[IO] = (struct nvme_queue){ .phase = 1, .entries = IO_ENTRIES };
	write32(nvme, NVME_AQA, (ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1));
	write64(nvme, NVME_ASQ, NVME_IOVA + ADMIN_SQ);
	write64(nvme, NVME_ACQ, NVME_IOVA + ADMIN_CQ);
	write32(nvme, NVME_CC, CC_SIZES | CC_ENABLE);
	ret = wait_ready(nvme, NVME_CSTS_RDY);
	if (!ret)
		ret = admin(nvme, ADMIN_SET_FEAT, 0, FEAT_QUEUES, 0);
	/* Contiguous, with interrupts, which are those of vector 1 */
	if (!ret)
		ret = admin(nvme, ADMIN_CREATE_CQ, NVME_IOVA + IO_CQ, (IO_ENTRIES - 1) << 16 | 1,
			    1 << 16 | 3);
	if (!ret)
		ret = admin(nvme, ADMIN_CREATE_SQ, NVME_IOVA + IO_SQ, (IO_ENTRIES - 1) << 16 | 1,
			    1 << 16 | 1);
	state->cc = nvme_read32(nvme, NVME_CC);
	state->csts = nvme_read32(nvme, NVME_CSTS);
	state->aqa = nvme_read32(nvme, NVME_AQA);
	state->asq = nvme_read64(nvme, NVME_ASQ);
	state->acq = nvme_read64(nvme, NVME_ACQ);
	return ret;
}

/* Has the interrupts of both queues counted by eventfds. */
int nvme_irqs(const struct nvme *nvme, const int *eventfds)
{
	return vfio_irqs(nvme->cdev, VFIO_PCI_MSIX_IRQ_INDEX, eventfds, NVME_VECTORS);
}

/* A buffer of a page, the num-th one. */
void *nvme_buffer(const struct nvme *nvme, uint32_t num)
{
	return nvme->mem + BUFFERS + num * LUO_PAGE;
}

static struct command *transfer(struct nvme *nvme, uint8_t opcode, uint32_t num, uint32_t page,
				uint32_t pages)
{
	struct command *cmd = submit(nvme, IO, opcode, num,
				     NVME_IOVA + BUFFERS + num * LUO_PAGE);

	nvme->state->status[num] = 0xffff;
	cmd->nsid = 1;
	cmd->dw10[0] = page * (LUO_PAGE / SECTOR);
	cmd->dw10[2] = pages * (LUO_PAGE / SECTOR) - 1;
	return cmd;
}

/* A page of the disk into the num-th buffer; num is the command's number, too. */
void nvme_submit_read(struct nvme *nvme, uint32_t num, uint32_t page)
{
	transfer(nvme, IO_READ, num, page, 1);
}

/* The first buffers to the start of the disk, by one command. */
void nvme_submit_write(struct nvme *nvme, uint32_t pages)
{
	struct command *cmd = transfer(nvme, IO_WRITE, 0, 0, pages);
	uint64_t *list = (uint64_t *)(nvme->mem + PRP_LIST);

	for (uint32_t i = 1; i < pages; i++)
		list[i - 1] = cmd->prp[0] + i * LUO_PAGE;
	cmd->prp[1] = NVME_IOVA + PRP_LIST;
}

/* Any command of the admin queue. */
void nvme_submit_identify(struct nvme *nvme)
{
	struct command *cmd = submit(nvme, ADMIN, ADMIN_IDENTIFY, 0, NVME_IOVA + IDENTIFY);

	nvme->state->status[0] = 0xffff;
	cmd->dw10[0] = 1;
}
