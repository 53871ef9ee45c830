// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: state that files share (FLBs) lives as long as the files that need it.
 *
 * The test handler has files of A, which need X and Y, and files of B, which need
 * Y. Its log tells which callback ran when. preserve() of an FLB runs before the
 * first file's, unpreserve() or finish() after the last one's, in all sessions
 * together; a failure on the way is undone; retrieve() runs once, for who asks
 * first, in the early boot as well; what is prepared for the next kernel has
 * nothing to do with what came from the last. What this kernel does not know stays
 * where it is and is logged. A module can come late, and cannot go too early.
 *
 * On the debug kernel the handler is built in and asks early.
 *
 * vm-test: name=flb stages=3 debug-stages=2 mem=512 debug-mem=1024 \
 *          needs=test-handler append="luo_test_handler.early=1"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define A	LUO_TEST_A
#define B	LUO_TEST_B
#define X	LUO_TEST_X
#define Y	LUO_TEST_Y

/* Extra FLBs: many of them, one that fails, one of more than one handler. */
#define FIRST	LUO_TEST_EXTRA
#define MANY	70
#define BAD	(FIRST + 1)
#define COUNTED	(FIRST + 2)

#define X_PRESERVE	"X 0 preserve 0\n"
#define Y_PRESERVE	"Y 1 preserve 0\n"
#define X_UNPRESERVE	"X 0 unpreserve 0\n"
#define Y_UNPRESERVE	"Y 1 unpreserve 0\n"
#define X_RETRIEVE	"X 0 retrieve 0\n"
#define Y_RETRIEVE	"Y 1 retrieve 0\n"
#define X_FINISH	"X 0 finish 0\n"
#define Y_FINISH	"Y 1 finish 0\n"

/* If @load, the handler is there. Nothing of an earlier test is in its log. */
#define FLB_STAGE(stage, load)						\
	FIXTURE(stage) { int dev, lt; };				\
	FIXTURE_SETUP(stage)						\
	{								\
		self->dev = luo_open_dev();				\
		ASSERT_LE(0, self->dev);				\
		if (load) {						\
			ASSERT_EQ(0, lt_load());			\
		}							\
		self->lt = lt_open();					\
		if (load || self->lt >= 0) {				\
			ASSERT_EQ(0, lt_clear(self->lt));		\
		}							\
	}								\
	FIXTURE_TEARDOWN(stage)						\
	{								\
		lt_clear(self->lt);					\
		close(self->lt);					\
		close(self->dev);					\
	}

FLB_STAGE(stage1, true);
FLB_STAGE(stage2, false);
FLB_STAGE(stage3, true);

static void register_many(struct __test_metadata *_metadata, int lt)
{
	for (int i = 0; i < MANY; i++) {
		ASSERT_EQ(0, lt_flb_do(lt, FIRST + i, LUO_TEST_FLB_REGISTER, B, 0));
		ASSERT_EQ(1000 + i, lt_flb_do(lt, FIRST + i, LUO_TEST_FLB_SET, B, 1000 + i));
	}
}

LUO_TEST(stage1, nothing_came)
{
	EXPECT_EQ(-ENOENT, lt_flb(self->lt, X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-ENOENT, lt_flb(self->lt, X, LUO_TEST_FLB_PEEK_IN));
	EXPECT_EQ(-ENOENT, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	EXPECT_STREQ("", lt_log(self->lt));
	EXPECT_EQ(!lt_is_module(), luo_klog_has("no X at this early time"));
}

LUO_TEST(stage1, before_the_first_file_and_after_the_last)
{
	int s = luo_create_session(self->dev, "one"), t = luo_create_session(self->dev, "two");

	ASSERT_LE(0, s);
	ASSERT_LE(0, t);
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 1, 0));
	EXPECT_STREQ(Y_PRESERVE "B 1 preserve 0\n", lt_log(self->lt));
	ASSERT_EQ(0, lt_preserve(self->lt, t, A, 2, 0));
	EXPECT_STREQ(X_PRESERVE "A 2 preserve 0\n", lt_log(self->lt));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 3, 0));
	EXPECT_STREQ("A 3 preserve 0\n", lt_log(self->lt));
	close(s);
	EXPECT_STREQ("A 3 unpreserve 0\nB 1 unpreserve 0\n", lt_log(self->lt));
	close(t);
	EXPECT_STREQ("A 2 unpreserve 0\n" Y_UNPRESERVE X_UNPRESERVE, lt_log(self->lt));
}

LUO_TEST(stage1, a_failure_is_undone)
{
	int s = luo_create_session(self->dev, "s");

	ASSERT_LE(0, s);
	/* The second of two FLBs. */
	ASSERT_EQ(0, lt_rule(self->lt, LUO_TEST_FLB(Y), LUO_TEST_FLB_PRESERVE, -ENOSPC, 0, 1));
	EXPECT_EQ(-ENOSPC, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_STREQ(X_PRESERVE "Y 1 preserve -28\n" X_UNPRESERVE, lt_log(self->lt));
	EXPECT_EQ(-ENOENT, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	/* The first. */
	ASSERT_EQ(0, lt_rule(self->lt, LUO_TEST_FLB(X), LUO_TEST_FLB_PRESERVE, -EIO, 0, 1));
	EXPECT_EQ(-EIO, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_STREQ("X 0 preserve -5\n", lt_log(self->lt));
	/* The file itself. */
	ASSERT_EQ(0, lt_rule(self->lt, 1, LUO_TEST_PRESERVE, -EDOM, 0, 1));
	EXPECT_EQ(-EDOM, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_STREQ(X_PRESERVE Y_PRESERVE "A 1 preserve -33\n" Y_UNPRESERVE X_UNPRESERVE,
		     lt_log(self->lt));
	/* One that is in use stays. */
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 2, 0));
	lt_log(self->lt);
	ASSERT_EQ(0, lt_rule(self->lt, 1, LUO_TEST_PRESERVE, -EDOM, 0, 1));
	EXPECT_EQ(-EDOM, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_STREQ(X_PRESERVE "A 1 preserve -33\n" X_UNPRESERVE, lt_log(self->lt));
	/* As if nothing had been. */
	EXPECT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
}

LUO_TEST(stage1, who_has_it_keeps_it)
{
	int s = luo_create_session(self->dev, "s");

	ASSERT_LE(0, s);
	ASSERT_EQ(7, lt_flb_do(self->lt, X, LUO_TEST_FLB_SET, A, 7));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_EQ(7, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	lt_log(self->lt);
	close(s);
	EXPECT_STREQ("A 1 unpreserve 0\n" Y_UNPRESERVE, lt_log(self->lt));
	/* It is still there for the next file. */
	s = luo_create_session(self->dev, "s");
	ASSERT_EQ(8, lt_flb_do(self->lt, X, LUO_TEST_FLB_SET, A, 8));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_STREQ(Y_PRESERVE "A 1 preserve 0\n", lt_log(self->lt));
	EXPECT_EQ(7, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	close(s);
	EXPECT_STREQ("A 1 unpreserve 0\n" Y_UNPRESERVE, lt_log(self->lt));
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_OUT));
	EXPECT_STREQ("", lt_log(self->lt));
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_OUT));
	EXPECT_STREQ(X_UNPRESERVE, lt_log(self->lt));
	EXPECT_EQ(-EINVAL, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_OUT));
}

LUO_TEST(stage1, who_needs_what_is_fixed_while_there_are_files)
{
	int s = luo_create_session(self->dev, "s");

	EXPECT_EQ(-EEXIST, lt_flb_do(self->lt, X, LUO_TEST_FLB_REGISTER, A, 0));
	EXPECT_EQ(-ENOENT, lt_flb_do(self->lt, X, LUO_TEST_FLB_UNREGISTER, B, 0));
	EXPECT_EQ(0, lt_flb_do(self->lt, X, LUO_TEST_FLB_REGISTER, B, 0));
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 1, 0));
	EXPECT_STREQ(Y_PRESERVE X_PRESERVE "B 1 preserve 0\n", lt_log(self->lt));
	EXPECT_EQ(-EBUSY, lt_flb_do(self->lt, X, LUO_TEST_FLB_UNREGISTER, B, 0));
	EXPECT_EQ(-EBUSY, lt_flb_do(self->lt, FIRST, LUO_TEST_FLB_REGISTER, B, 0));
	close(s);
	EXPECT_STREQ("B 1 unpreserve 0\n" X_UNPRESERVE Y_UNPRESERVE, lt_log(self->lt));
	EXPECT_EQ(0, lt_flb_do(self->lt, X, LUO_TEST_FLB_UNREGISTER, B, 0));
	EXPECT_EQ(-ENOENT, lt_flb_do(self->lt, X, LUO_TEST_FLB_UNREGISTER, B, 0));
}

/* With no file, no device open and no handler in use: the state is what holds it. */
LUO_TEST(stage1, module_of_preserved_state_stays)
{
	int s = luo_create_session(self->dev, "s");

	if (!lt_is_module())
		return;
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
	ASSERT_LE(0, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	close(s);
	close(self->lt);
	EXPECT_EQ(-EAGAIN, lt_unload());
	self->lt = lt_open();
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_OUT));
	close(self->lt);
	EXPECT_EQ(0, lt_unload());
	EXPECT_EQ(0, lt_load());
	self->lt = lt_open();
	ASSERT_LE(0, self->lt);
}

static long pages_preserved(void)
{
	char buf[4096];
	char *at;

	if (luo_read_file("/sys/kernel/debug/kho/out/preserved", buf, sizeof(buf)) < 0)
		return -1;
	at = strstr(buf, "pages: ");
	return at ? atol(at + strlen("pages: ")) : -1;
}

/* Of area, FLBs and file. */
LUO_TEST(stage1, more_than_one_page_and_none_left)
{
	int s = luo_create_session(self->dev, "s");
	long before, with;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 1, 0));
	close(s);
	before = pages_preserved();
	ASSERT_LT(0, before);

	register_many(_metadata, self->lt);
	s = luo_create_session(self->dev, "s");
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 1, 0));
	with = pages_preserved();
	/* MANY and Y, one page and two for the list of them, file and its record, session. */
	EXPECT_EQ(before + MANY + 1 + 1 + 2 + 1 + 1 + 1, with);
	close(s);
	EXPECT_EQ(before, pages_preserved());

	/* The last one cannot be had. */
	ASSERT_EQ(0, lt_rule(self->lt, LUO_TEST_FLB(FIRST + MANY - 1), LUO_TEST_FLB_PRESERVE,
			     -EIO, 0, 1));
	s = luo_create_session(self->dev, "s");
	ASSERT_EQ(-EIO, lt_preserve(self->lt, s, B, 1, 0));
	close(s);
	EXPECT_EQ(before, pages_preserved());
	for (int i = 0; i < MANY; i++)
		ASSERT_EQ(0, lt_flb_do(self->lt, FIRST + i, LUO_TEST_FLB_UNREGISTER, B, 0));
}

/* Two sessions; files of B need more FLBs than a page has room for. */
LUO_TEST(stage1, leave)
{
	int s = luo_create_session(self->dev, "one"), t = luo_create_session(self->dev, "two");

	ASSERT_LE(0, s);
	ASSERT_LE(0, t);
	register_many(_metadata, self->lt);
	/* The next kernel counts its files of B only, and so gets too high a count. */
	ASSERT_EQ(0, lt_flb_do(self->lt, COUNTED, LUO_TEST_FLB_REGISTER, A, 0));
	ASSERT_EQ(101, lt_flb_do(self->lt, X, LUO_TEST_FLB_SET, A, 101));
	ASSERT_EQ(102, lt_flb_do(self->lt, Y, LUO_TEST_FLB_SET, A, 102));

	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 1, 11));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 2, 12));
	ASSERT_EQ(0, lt_preserve(self->lt, t, B, 3, 13));
	ASSERT_EQ(0, lt_preserve(self->lt, t, A, 4, 14));
	ASSERT_EQ(0, luo_keep(s));
	ASSERT_EQ(0, luo_keep(t));
}

static void late_module(struct __test_metadata *_metadata, int dev)
{
	int s = luo_retrieve_session(dev, "one");

	ASSERT_EQ(-ENOENT, lt_open());
	ASSERT_LE(0, s);
	EXPECT_EQ(-EOPNOTSUPP, luo_retrieve_fd(s, 1));
	EXPECT_EQ(-EOPNOTSUPP, luo_finish(s));
	EXPECT_EQ(MANY + 2, luo_klog_has("is not known so far"));
	ASSERT_EQ(0, lt_load());
	EXPECT_EQ(11, lt_value(luo_retrieve_fd(s, 1)));
}

static void asked_early(struct __test_metadata *_metadata, int lt)
{
	EXPECT_EQ(1, luo_klog_has("X has 101 at this early time"));
	EXPECT_EQ(MANY, luo_klog_has("is not known so far"));
	/* No second retrieve(). */
	EXPECT_EQ(101, lt_flb(lt, X, LUO_TEST_FLB_GET_IN));
	EXPECT_STREQ("", lt_log(lt));
	EXPECT_EQ(0, lt_flb(lt, X, LUO_TEST_FLB_PUT_IN));
}

LUO_TEST(stage2, asked_early_or_late)
{
	if (lt_is_module())
		late_module(_metadata, self->dev);
	else
		asked_early(_metadata, self->lt);
}

LUO_TEST(stage2, retrieved_once)
{
	static const int again[] = { -ENOMEM, -EINTR, -EAGAIN };

	EXPECT_LT(0, lt_flb(self->lt, Y, LUO_TEST_FLB_PEEK_IN));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, lt_rule(self->lt, LUO_TEST_FLB(Y), LUO_TEST_FLB_RETRIEVE,
				     again[i], 0, 1));
		EXPECT_EQ(again[i], lt_flb(self->lt, Y, LUO_TEST_FLB_GET_IN));
	}
	EXPECT_EQ(102, lt_flb(self->lt, Y, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(102, lt_flb(self->lt, Y, LUO_TEST_FLB_GET_IN));
	EXPECT_STREQ("Y 1 retrieve -12\nY 1 retrieve -4\nY 1 retrieve -11\n" Y_RETRIEVE,
		     lt_log(self->lt));
	EXPECT_EQ(0, lt_flb(self->lt, Y, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(0, lt_flb(self->lt, Y, LUO_TEST_FLB_PUT_IN));

	/* Other errors are remembered. */
	ASSERT_EQ(0, lt_rule(self->lt, LUO_TEST_FLB(BAD), LUO_TEST_FLB_RETRIEVE, -EIO, 0, 1));
	EXPECT_EQ(-EIO, lt_flb(self->lt, BAD, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-EIO, lt_flb(self->lt, BAD, LUO_TEST_FLB_GET_IN));
	EXPECT_STREQ("E 3 retrieve -5\n", lt_log(self->lt));

	/* Nobody has registered it. */
	EXPECT_EQ(1010, lt_flb(self->lt, FIRST + 10, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, lt_flb(self->lt, FIRST + 10, LUO_TEST_FLB_PUT_IN));
	EXPECT_STREQ("E 12 retrieve 0\n", lt_log(self->lt));
}

LUO_TEST(stage2, next_update_is_another_matter)
{
	int s = luo_create_session(self->dev, "next");

	ASSERT_LE(0, s);
	EXPECT_EQ(-ENOENT, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	ASSERT_EQ(201, lt_flb_do(self->lt, X, LUO_TEST_FLB_SET, A, 201));
	ASSERT_EQ(202, lt_flb_do(self->lt, Y, LUO_TEST_FLB_SET, A, 202));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 21, 210));
	EXPECT_STREQ(X_PRESERVE Y_PRESERVE "A 21 preserve 0\n", lt_log(self->lt));
	EXPECT_EQ(201, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	EXPECT_EQ(101, lt_flb(self->lt, X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_OUT));
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_IN));
	EXPECT_STREQ(lt_is_module() ? X_RETRIEVE : "", lt_log(self->lt));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, finished_after_the_last_file)
{
	int s = luo_retrieve_session(self->dev, "one"), t = luo_retrieve_session(self->dev, "two");

	ASSERT_LE(0, s);
	ASSERT_LE(0, t);
	EXPECT_EQ(12, lt_value(luo_retrieve_fd(s, 2)));
	EXPECT_EQ(11, lt_value(luo_retrieve_fd(s, 1)));
	lt_log(self->lt);
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_STREQ("A 1 can_finish 1\nA 2 can_finish 1\nA 2 finish 0\nA 1 finish 0\n",
		     lt_log(self->lt));

	/* None of the second session is retrieved, and Y is in use by somebody else. */
	ASSERT_EQ(0, lt_flb_do(self->lt, COUNTED, LUO_TEST_FLB_REGISTER, B, 0));
	ASSERT_EQ(0, lt_flb_do(self->lt, BAD, LUO_TEST_FLB_REGISTER, B, 0));
	ASSERT_EQ(0, lt_flb_do(self->lt, FIRST, LUO_TEST_FLB_REGISTER, B, 0));
	EXPECT_EQ(102, lt_flb(self->lt, Y, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, luo_finish(t));
	EXPECT_STREQ("E 4 retrieve 0\nE 2 retrieve 0\n"
		     "B 3 can_finish 1\nA 4 can_finish 1\n"
		     "A 4 finish 0\n" X_FINISH
		     "B 3 finish 0\nE 2 finish 0\nE 4 finish 0\n", lt_log(self->lt));
	EXPECT_EQ(0, lt_flb(self->lt, Y, LUO_TEST_FLB_PUT_IN));
	EXPECT_STREQ(Y_FINISH, lt_log(self->lt));

	EXPECT_EQ(-ENODATA, lt_flb(self->lt, X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-ENODATA, lt_flb(self->lt, X, LUO_TEST_FLB_PEEK_IN));
	EXPECT_EQ(-ENODATA, lt_flb(self->lt, COUNTED, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-EIO, lt_flb(self->lt, BAD, LUO_TEST_FLB_GET_IN));
	/* Outgoing, it is there. */
	EXPECT_EQ(201, lt_flb(self->lt, X, LUO_TEST_FLB_GET_OUT));
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_OUT));
	EXPECT_STREQ("", lt_log(self->lt));
}

LUO_TEST(stage3, module_of_incoming_state_stays)
{
	int s = luo_retrieve_session(self->dev, "next");

	ASSERT_LE(0, s);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "one"));
	EXPECT_EQ(-ENOENT, lt_flb(self->lt, COUNTED, LUO_TEST_FLB_GET_IN));
	if (!lt_is_module())
		return;

	/* Nothing was asked of it. */
	close(self->lt);
	EXPECT_EQ(0, lt_unload());
	EXPECT_EQ(0, lt_load());
	self->lt = lt_open();
	ASSERT_LE(0, self->lt);
	/* FLBs are retrieved for FINISH, and it is said no. */
	ASSERT_EQ(0, lt_rule(self->lt, 21, LUO_TEST_CAN_FINISH, -1, 0, 1));
	ASSERT_EQ(0, lt_rule(self->lt, LUO_TEST_FLB(Y), LUO_TEST_FLB_RETRIEVE, -ENOMEM, 0, 1));
	EXPECT_EQ(-ENOMEM, luo_finish(s));
	EXPECT_STREQ(X_RETRIEVE "Y 1 retrieve -12\n", lt_log(self->lt));
	EXPECT_EQ(-EBUSY, luo_finish(s));
	EXPECT_STREQ(Y_RETRIEVE "A 21 can_finish 0\n", lt_log(self->lt));
	close(self->lt);
	close(s);
	EXPECT_EQ(-EAGAIN, lt_unload());
	self->lt = lt_open();
	ASSERT_LE(0, self->lt);
}

LUO_TEST(stage3, state_is_finished_once_whatever_modules_do)
{
	int s = luo_retrieve_session(self->dev, "next");

	ASSERT_LE(0, s);
	EXPECT_EQ(201, lt_flb(self->lt, X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(202, lt_flb(self->lt, Y, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, lt_flb(self->lt, X, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(0, lt_flb(self->lt, Y, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(210, lt_value(luo_retrieve_fd(s, 21)));
	lt_log(self->lt);
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_STREQ("A 21 can_finish 1\nA 21 finish 0\n" Y_FINISH X_FINISH, lt_log(self->lt));
	close(s);
	if (lt_is_module()) {
		close(self->lt);
		EXPECT_EQ(0, lt_unload());
		EXPECT_EQ(0, lt_load());
		self->lt = lt_open();
		ASSERT_LE(0, self->lt);
	}
	EXPECT_EQ(-ENODATA, lt_flb(self->lt, X, LUO_TEST_FLB_GET_IN));
	EXPECT_STREQ("", lt_log(self->lt));
}

/* The first attempt at the first reboot fails when the last file is frozen. */
static int next(int stage)
{
	int lt, ret;

	/* The extra FLBs are in no list of formats. */
	ret = luo_kexec_load(NULL, stage + 1, NULL, 0);
	if (stage == 1 && ret != -EPROTONOSUPPORT) {
		printf("# not refused, but %d\n", ret);
		return -EPROTO;
	}
	if (stage == 1)
		ret = luo_ignore_record() ?: luo_kexec_load(NULL, stage + 1, NULL, 0);
	if (ret)
		return ret;
	if (stage > 1)
		goto leave;

	lt = lt_open();
	ret = lt_rule(lt, 4, LUO_TEST_FREEZE, -EDOM, 0, 1);
	if (ret)
		return ret;
	ret = luo_kexec_exec();
	if (ret != -EDOM)
		return ret;
leave:
	luo_gcov_save();
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
