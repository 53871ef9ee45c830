// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: records of shared state are input like any other.
 *
 * Before each kexec the host damages what is known of it. The files come all the
 * same, and can be finished; what is whole of the state comes too; the rest is
 * named in the log. A count that is too high, as mainline kernels write it, does not
 * keep the state from being finished.
 *
 * vm-test: name=hostile_flb stages=5 mem=512 smp=2 kernels=plain timeout=90 poke=1 \
 *          needs=test-handler
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define LAST	5
#define EXTRA	3

static const char * const damage[LAST] = {
	[1] = "flb_entries", [2] = "flb_pages", [3] = "flb_count", [4] = "flb_address",
};

#define FLB_STAGE(stage)						\
	FIXTURE(stage) { int dev, lt; };				\
	FIXTURE_SETUP(stage)						\
	{								\
		self->dev = luo_open_dev();				\
		ASSERT_LE(0, self->dev);				\
		ASSERT_EQ(0, lt_load());				\
		self->lt = lt_open();					\
		ASSERT_LE(0, self->lt);					\
		ASSERT_EQ(0, lt_clear(self->lt));			\
	}								\
	FIXTURE_TEARDOWN(stage)						\
	{								\
		close(self->lt);					\
		close(self->dev);					\
	}

static void register_extra(struct __test_metadata *_metadata, int lt)
{
	for (int i = 0; i < EXTRA; i++)
		ASSERT_EQ(0, lt_flb_do(lt, LUO_TEST_EXTRA + i, LUO_TEST_FLB_REGISTER,
				       LUO_TEST_B, 0));
}

static void leave(struct __test_metadata *_metadata, int dev, int lt, int stage)
{
	int s = luo_create_session(dev, "shared");

	ASSERT_LE(0, s);
	ASSERT_EQ(stage, lt_flb_do(lt, LUO_TEST_X, LUO_TEST_FLB_SET, 0, stage));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_A, 1, stage * 10 + 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, stage * 10 + 2));
	ASSERT_EQ(0, luo_keep(s));
}

/* The files are whole whatever was done. */
static void files_arrive(struct __test_metadata *_metadata, int dev, int from)
{
	int s = luo_retrieve_session(dev, "shared");

	ASSERT_LE(0, s);
	EXPECT_EQ(from * 10 + 1, lt_value(luo_retrieve_fd(s, 1)));
	EXPECT_EQ(from * 10 + 2, lt_value(luo_retrieve_fd(s, 2)));
	EXPECT_EQ(0, luo_finish(s));
}

static void entries(struct __test_metadata *_metadata, int dev, int lt)
{
	register_extra(_metadata, lt);
	EXPECT_EQ(1, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(-EBADMSG, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
	for (int i = 0; i < EXTRA; i++)
		EXPECT_EQ(-ENOENT, lt_flb(lt, LUO_TEST_EXTRA + i, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(1, luo_klog_has("nnnn' of the previous kernel: name is damaged"));
	EXPECT_EQ(1, luo_klog_has("FLB 'luo-test-x-v1' of the previous kernel: comes twice"));
	EXPECT_EQ(1, luo_klog_has("'luo-test-extra4-v1' of the previous kernel: no file depends"));
	lt_log(lt);
	files_arrive(_metadata, dev, 1);
	EXPECT_NE(NULL, strstr(lt_log(lt), "A 1 finish 0\nX 0 finish 0\n"));
	EXPECT_EQ(-ENODATA, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-EBADMSG, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
}

/* None of it can be read. */
static void area(struct __test_metadata *_metadata, int dev, int lt, int from, const char *why)
{
	EXPECT_EQ(-ENOENT, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-ENOENT, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(1, luo_klog_has(why));
	files_arrive(_metadata, dev, from);
	EXPECT_EQ(NULL, strstr(lt_log(lt), "X 0"));
}

FLB_STAGE(stage1);
FLB_STAGE(stage2);
FLB_STAGE(stage3);
FLB_STAGE(stage4);
FLB_STAGE(stage5);

LUO_TEST(stage1, leave)
{
	register_extra(_metadata, self->lt);
	leave(_metadata, self->dev, self->lt, 1);
}

LUO_TEST(stage2, damaged_records)
{
	entries(_metadata, self->dev, self->lt);
	leave(_metadata, self->dev, self->lt, 2);
}

LUO_TEST(stage3, area_too_large)
{
	area(_metadata, self->dev, self->lt, 2, "is not in preserved memory as a whole");
	leave(_metadata, self->dev, self->lt, 3);
}

LUO_TEST(stage4, too_many_records)
{
	area(_metadata, self->dev, self->lt, 3, "is too small for its records");
	leave(_metadata, self->dev, self->lt, 4);
}

LUO_TEST(stage5, area_elsewhere)
{
	area(_metadata, self->dev, self->lt, 4, "0x100000 is not in preserved memory:");
}

static int next(int stage)
{
	volatile char *page;
	int ret;

	/* The extra FLBs are in no list of formats. */
	ret = luo_ignore_record() ?: luo_kexec_load(NULL, stage + 1, NULL, 0);
	if (ret)
		return ret;
	page = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -errno;
	/* Built in place, so that it is in no other page of this program. */
	strcpy((char *)page, "LUO-POKE");
	strcat((char *)page, "-ACK:");
	printf("luo-vm: POKE %s\n", damage[stage]);
	for (int i = 0; i < 6000 && page[64] != 'D'; i++)
		usleep(10000);
	if (page[64] != 'D') {
		printf("# nobody answers\n");
		return -ETIMEDOUT;
	}
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = LAST, .next = next };

	return luo_stages_main(&stages);
}
