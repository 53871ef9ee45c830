// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a device goes on with its DMA while its page table is replaced by another one.
 *
 * Frames come all the time.  A device is given one page table after the other that maps the
 * same memory: not a frame is lost, also after a live update, when the first to be
 * replaced is the one that came in.  If the next page table maps other memory, that is
 * where frames land from then on, and the old one can be taken down.  No domain ID is used
 * twice, and what is unmapped is out of reach at once.
 *
 * A page table that two devices share, and one that another device has already, cannot
 * be replaced in this way: it is done all the same, and whoever is not concerned
 * does not notice.
 *
 * vm-test: name=replace stages=2 mem=3072 kernels=plain timeout=120 dma=carry,none,none \
 *          profiles=48_bits,caching
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_replace.h"

#define MEMORY		1
#define IOMMU		2
#define DEVICE		3
#define LABEL		7
#define LAST_NIC	2
#define OFTEN		100
#define SECONDS		3
#define SHORT_TAIL	8191		/* of devices that do not receive for long */
#define BESIDE		(16UL << 20)	/* where in a shared IOAS the second device is */

LUO_STAGE(stage1);
LUO_STAGE(stage2);

/*
 * One after the other, for some seconds almost without a pause, so that many a frame comes
 * while it happens; in the pauses the emulator gets at the device, also on a busy host.
 * The device has the second one when it begins, and when it ends. Returns how often, or
 * a negative errno.
 */
static int replace_often(const struct nic *nic, const struct pt *pt)
{
	uint64_t end = luo_now_ns() + SECONDS * 1000000000ULL;
	int times = 0, ret;

	while (times % 2 || times < OFTEN || luo_now_ns() < end) {
		ret = vfio_attach(nic->cdev, pt[times % 2].hwpt);
		if (ret)
			return ret;
		if (++times % 10 == 0)
			usleep(100);
	}
	luo_note("%d times in %d s", times, SECONDS);
	return times;
}

/* A new page table that leads to another memory than the old one does. */
LUO_TEST(stage1, other_memory)
{
	long long used = luo_file_num(DOMAINS_USED);
	struct nic nic, other, beside;
	uint32_t before, frames;
	struct pt pt;
	uint64_t num;

	find(_metadata, &nic, 1);
	nic.tail = SHORT_TAIL;
	ASSERT_EQ(0, nic_memory(&nic));
	ASSERT_EQ(0, nic_open(&nic));
	other = nic;
	ASSERT_EQ(0, nic_memory(&other));
	ASSERT_EQ(0, pt_make(&other, &pt));
	receive(_metadata, &nic);

	ASSERT_EQ(0, vfio_attach(nic.cdev, pt.hwpt));
	before = count(nic.mem);
	num = number(nic.mem, 0);
	EXPECT_LE(FEW, before);
	for (int i = 0; i < 500 && count(other.mem) < 2 * FEW; i++)
		usleep(20000);
	EXPECT_EQ(before, count(nic.mem));
	frames = before + count(other.mem);
	EXPECT_LE(before + 2 * FEW, frames);
	EXPECT_EQ(-1, first_lost(nic.mem, 0, before, num));
	EXPECT_EQ(-1, first_lost(other.mem, before, frames, num));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));

	/* The old one goes, and its domain ID is not given to anybody else. */
	ASSERT_EQ(0, vfio_pt_free(nic.iommufd, nic.ioas, nic.hwpt));
	munmap(nic.mem, NIC_MEM_SIZE);
	close(nic.memfd);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	find(_metadata, &beside, 2);
	beside.tail = SHORT_TAIL;
	ASSERT_EQ(0, nic_memory(&beside));
	ASSERT_EQ(0, nic_open(&beside));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	receive(_metadata, &beside);
	loses_nothing(_metadata, &beside);
	frames = before + count(other.mem);
	EXPECT_EQ(-1, first_lost(other.mem, before, frames, num));
	no_more(&beside);

	/* The new one is what counts: what is unmapped from it is out of reach. */
	ASSERT_EQ(0, vfio_unmap(nic.iommufd, pt.ioas, nic.iova + NIC_BUF_OFFSET,
				NIC_MEM_SIZE - NIC_BUF_OFFSET));
	frames = count(other.mem);
	usleep(500000);
	EXPECT_EQ(frames, count(other.mem));
	no_more(&nic);
	nic_close(&beside);
	nic_close(&nic);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
}

/* Two devices with one page table: the ID of a domain stays with whom the others need it. */
LUO_TEST(stage1, shared)
{
	long long used = luo_file_num(DOMAINS_USED);
	struct nic one, two;
	struct pt pt, last;

	find(_metadata, &one, 1);
	find(_metadata, &two, 2);
	ASSERT_EQ(0, nic_memory(&one));
	ASSERT_EQ(0, nic_open(&one));
	two.iommufd = one.iommufd;
	two.ioas = one.ioas;
	two.hwpt = one.hwpt;
	two.iova = one.iova + BESIDE;
	ASSERT_EQ(0, nic_memory(&two));
	ASSERT_EQ(0, nic_open(&two));
	EXPECT_EQ(used - 1, luo_file_num(DOMAINS_USED));
	receive(_metadata, &one);
	receive(_metadata, &two);

	/* The other device still has the old one. */
	ASSERT_EQ(0, pt_make(&one, &pt));
	ASSERT_EQ(0, vfio_attach(one.cdev, pt.hwpt));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	ASSERT_EQ(0, wait_more_with_gaps(&one, FEW));
	loses_nothing(_metadata, &two);
	/* Nobody else has the old one, nor the new one. */
	ASSERT_EQ(0, pt_make(&two, &last));
	ASSERT_EQ(0, pt_map(&one, &last, one.memfd));
	ASSERT_EQ(0, vfio_attach(two.cdev, last.hwpt));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	loses_nothing(_metadata, &two);
	ASSERT_EQ(0, vfio_pt_free(one.iommufd, one.ioas, one.hwpt));
	/* The other device has the new one already. */
	ASSERT_EQ(0, vfio_attach(one.cdev, last.hwpt));
	EXPECT_EQ(used - 1, luo_file_num(DOMAINS_USED));
	ASSERT_EQ(0, wait_more_with_gaps(&one, FEW));
	loses_nothing(_metadata, &two);
	/* And back to one of its own */
	ASSERT_EQ(0, vfio_attach(one.cdev, pt.hwpt));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	ASSERT_EQ(0, wait_more_with_gaps(&one, FEW));
	loses_nothing(_metadata, &two);
	no_more(&one);
	no_more(&two);
	nic_close(&one);
	nic_close(&two);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
}

LUO_TEST(stage1, same_memory)
{
	long long used = luo_file_num(DOMAINS_USED);
	struct pt pt[2];
	struct nic nic;
	int s;

	find(_metadata, &nic, 0);
	ASSERT_EQ(0, nic_memory(&nic));
	ASSERT_EQ(0, nic_open(&nic));
	pt[1].ioas = nic.ioas;
	pt[1].hwpt = nic.hwpt;
	ASSERT_EQ(0, pt_make(&nic, &pt[0]));
	receive(_metadata, &nic);
	ASSERT_LE(OFTEN, replace_often(&nic, pt));
	loses_nothing(_metadata, &nic);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	EXPECT_EQ(0, luo_klog_has("Request device [01:00.0]"));
	ASSERT_EQ(0, pt_free(&nic, &pt[0]));

	ASSERT_EQ(0, vfio_mark(nic.iommufd, nic.hwpt, LABEL));
	s = luo_create_session(self->dev, "replace");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, nic.memfd, MEMORY));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.iommufd, IOMMU));
	ASSERT_EQ(0, luo_preserve_fd(s, nic.cdev, DEVICE));
	loses_nothing(_metadata, &nic);
	ASSERT_EQ(0, luo_keep(s));
}

/* The page table that came in is replaced, and then it is as if it had not been. */
LUO_TEST(stage2, same_memory)
{
	struct pt old, pt[2];
	long long used;
	struct nic nic;
	int s;

	find(_metadata, &nic, 0);
	EXPECT_EQ(1, luo_klog_has("taken over with translation on"));
	s = luo_retrieve_session(self->dev, "replace");
	ASSERT_LE(0, s);
	nic.memfd = luo_retrieve_fd(s, MEMORY);
	nic.iommufd = luo_retrieve_fd(s, IOMMU);
	nic.cdev = luo_retrieve_fd(s, DEVICE);
	ASSERT_LE(0, nic.memfd);
	ASSERT_LE(0, nic.iommufd);
	ASSERT_LE(0, nic.cdev);
	ASSERT_EQ(0, vfio_bind(nic.cdev, nic.iommufd, &nic.devid));
	ASSERT_EQ(0, vfio_marked(nic.iommufd, LABEL, &old.ioas, &old.hwpt));
	ASSERT_EQ(0, nic_adopt(&nic));
	loses_nothing(_metadata, &nic);
	ASSERT_EQ(0, nic_mark(LAST_NIC, NIC_MARK_LAST));

	used = luo_file_num(DOMAINS_USED);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pt_make(&nic, &pt[i]));
	EXPECT_EQ(-EBUSY, vfio_attach(nic.cdev, pt[1].hwpt));
	ASSERT_EQ(0, luo_finish(s));
	close(s);

	ASSERT_EQ(0, vfio_attach(nic.cdev, pt[1].hwpt));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	loses_nothing(_metadata, &nic);
	ASSERT_EQ(0, pt_free(&nic, &old));
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	ASSERT_LE(OFTEN, replace_often(&nic, pt));
	loses_nothing(_metadata, &nic);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
	EXPECT_EQ(0, luo_klog_has("fault addr"));
	ASSERT_EQ(0, nic_quiet(&nic));
	nic_close(&nic);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
}

static int next(int stage)
{
	int ret = luo_kexec_load(NULL, stage + 1, NULL, 0);

	luo_gcov_save();
	if (!ret)
		ret = nic_mark(LAST_NIC, NIC_MARK_FIRST);
	return ret ? ret : luo_kexec_exec();
}

int main(void)
{
	const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
