// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: if an allocation fails while a page table is replaced, the device keeps the one
 * that it has, and goes on with its DMA; the next attempt succeeds.
 *
 * vm-test: name=replace_fails stages=1 mem=1024 kernels=debug timeout=120 \
 *          dma=none,none,none append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "luo_replace.h"
#include "luo_inject.h"

#define TRIES		30		/* with the same allocation failing */

LUO_STAGE(stage1);

/* Do more frames land there, and none elsewhere? */
static bool lands(const struct nic *nic, const struct nic *elsewhere)
{
	uint32_t not_here = count(elsewhere->mem);

	return !wait_more_with_gaps(nic, FEW) && count(elsewhere->mem) == not_here;
}

/*
 * The attempt to replace a page table, with an allocation failing, so often that a frame
 * comes while it happens.  Returns 0 if the allocation is one that it can do without.
 * Points at which iommufd fails besides have other errors than -ENOMEM.
 */
static int replace_in_vain(int cdev, uint32_t hwpt, int nth)
{
	bool more = false;
	int ret = 0;

	for (int i = 0; i < TRIES; i++) {
		inject(nth);
		ret = vfio_attach(cdev, hwpt);
		inject_count(ret);
		more |= inject_more;
		if (!ret || !inject_more)
			break;
	}
	inject_more = more;
	return ret;
}

/* An allocation fails, each in turn: the device keeps what it has. */
LUO_TEST(stage1, allocations_fail)
{
	struct nic nics[2], *now = &nics[0], *next = &nics[1], *last;
	long long used = luo_file_num(DOMAINS_USED);
	uint64_t num;
	int ret;

	inject_setup();
	find(_metadata, now, 1);
	ASSERT_EQ(0, nic_memory(now));
	ASSERT_EQ(0, nic_open(now));
	*next = *now;
	ASSERT_EQ(0, nic_memory(next));
	receive(_metadata, now);
	num = number(now->mem, 0);

	for_each_failure(nth) {
		struct pt pt;

		/* A new one each time: some is allocated when it is attached first. */
		ASSERT_EQ(0, pt_make(next, &pt));
		next->ioas = pt.ioas;
		next->hwpt = pt.hwpt;
		ret = replace_in_vain(now->cdev, next->hwpt, nth);
		if (ret) {
			ASSERT_TRUE(inject_more) {
				TH_LOG("allocation %d: %d", nth, ret);
			}
			EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
			ASSERT_TRUE(lands(now, next)) {
				TH_LOG("allocation %d", nth);
			}
			ASSERT_EQ(0, vfio_attach(now->cdev, next->hwpt));
		}
		ASSERT_TRUE(lands(next, now)) {
			TH_LOG("after allocation %d", nth);
		}
		EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
		ASSERT_EQ(0, vfio_pt_free(now->iommufd, now->ioas, now->hwpt));
		last = now;
		now = next;
		next = last;
	}
	luo_note("%d allocations failed, %d calls for it", inject_sum, inject_failures);
	EXPECT_LE(2 * TRIES, inject_failures);
	no_more(now);
	/* Each frame is in one of the two. */
	for (uint32_t i = 0; i < count(now->mem) + count(next->mem); i++) {
		const struct nic *has = has_frame(now->mem, i) ? now : next;

		ASSERT_TRUE(has_frame(has->mem, i) && number(has->mem, i) == num + i) {
			TH_LOG("frame %u", i);
		}
	}
	nic_close(now);
	EXPECT_EQ(used, luo_file_num(DOMAINS_USED));
}

int main(void)
{
	const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
