// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: whatever a file handler does, the others are none the worse for it.
 *
 * Each callback is made to fail in turn: the caller gets its errno, what was done
 * is undone in reverse order, on just what it was done to, and all works after
 * that. An object is preserved once. Files that others need are there before them.
 * A reboot over unfinished files is refused, and if it is wanted all the same, the
 * handlers are told first. Processes die in the middle of callbacks.
 *
 * vm-test: name=handler stages=3 mem=512 needs=test-handler \
 *          append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define A	LUO_TEST_A
#define B	LUO_TEST_B

#define SYSCTL	"/proc/sys/kernel/liveupdate_abandon_unfinished"

#define HANDLER_STAGE(stage)						\
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
		lt_clear(self->lt);					\
		close(self->lt);					\
		close(self->dev);					\
	}

HANDLER_STAGE(stage1);
HANDLER_STAGE(stage2);
HANDLER_STAGE(stage3);

/* The log without the lines of FLBs, which luo_flb.c looks at. */
static const char *file_log(int lt)
{
	static char buf[32768];
	char *to = buf;

	for (const char *line = lt_log(lt), *end; (end = strchr(line, '\n')); line = end + 1) {
		if (*line == 'A' || *line == 'B') {
			memcpy(to, line, end + 1 - line);
			to += end + 1 - line;
		}
	}
	*to = 0;
	return buf;
}

/* How many files may be on the way, each because the one before asks for it */
#define NESTING		8
#define ROW		110

static int make_object(int lt, int handler, uint64_t tag, uint64_t object)
{
	struct luo_test_file file = {
		.handler = handler, .needs = -1, .tag = tag, .object = object,
	};

	return lt_make(lt, &file);
}

static int preserve_asking(int lt, int session, int handler, uint64_t tag, uint64_t token)
{
	struct luo_test_file file = {
		.handler = handler, .flags = LUO_TEST_ASKS, .needs = -1, .tag = tag, .value = token,
	};
	int fd = lt_make(lt, &file), ret;

	if (fd < 0)
		return fd;
	ret = luo_preserve_fd(session, fd, tag);
	close(fd);
	return ret;
}

static int make_bare(int lt, int handler, uint64_t tag, uint64_t value)
{
	struct luo_test_file file = {
		.handler = handler, .flags = LUO_TEST_BARE, .needs = -1, .tag = tag, .value = value,
	};

	return lt_make(lt, &file);
}

LUO_TEST(stage1, can_preserve_says_no)
{
	int s = luo_create_session(self->dev, "s"), f = lt_file(self->lt, A, 1, 0);

	ASSERT_LE(0, s);
	ASSERT_LE(0, f);
	ASSERT_EQ(0, lt_rule(self->lt, 1, LUO_TEST_CAN_PRESERVE, -1, 0, 1));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, f, 1));
	EXPECT_STREQ("", lt_log(self->lt));
	EXPECT_EQ(0, luo_preserve_fd(s, f, 1));
}

LUO_TEST(stage1, preserve_fails)
{
	static const int errors[] = { -EIO, -ENOMEM, -EAGAIN, -EBUSY, -EEXIST, -EPERM };
	int s = luo_create_session(self->dev, "s"), f = lt_file(self->lt, A, 1, 0);

	ASSERT_LE(0, s);
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 2, 0));
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		ASSERT_EQ(0, lt_rule(self->lt, 1, LUO_TEST_PRESERVE, errors[i], 0, 1));
		EXPECT_EQ(errors[i], luo_preserve_fd(s, f, 1));
	}
	/* Neither its token nor the object is taken. */
	EXPECT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
	EXPECT_EQ(0, luo_preserve_fd(s, f, 3));
	lt_log(self->lt);
	close(s);
	EXPECT_STREQ("A 1 unpreserve 0\nA 1 unpreserve 0\nB 2 unpreserve 0\n",
		     file_log(self->lt));
}

LUO_TEST(stage1, object_is_preserved_once)
{
	int s = luo_create_session(self->dev, "s"), t = luo_create_session(self->dev, "t");
	int f = make_object(self->lt, A, 1, 77), g = make_object(self->lt, A, 2, 77);
	int h = make_object(self->lt, B, 3, 77), i = make_object(self->lt, A, 4, 78);

	ASSERT_LE(0, s);
	ASSERT_LE(0, t);
	EXPECT_EQ(0, luo_preserve_fd(s, f, 1));
	/* By another file, by the same one, here and in another session. */
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, g, 2));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(t, g, 1));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, f, 2));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(t, f, 1));
	/* The same number means something else to another handler. */
	EXPECT_EQ(0, luo_preserve_fd(s, h, 2));
	EXPECT_EQ(0, luo_preserve_fd(t, i, 1));
	EXPECT_STREQ("A 1 preserve 0\nB 3 preserve 0\nA 4 preserve 0\n", file_log(self->lt));
	close(s);
	EXPECT_EQ(0, luo_preserve_fd(t, g, 2));
}

LUO_TEST(stage1, file_that_is_needed_comes_first)
{
	int s = luo_create_session(self->dev, "s"), t = luo_create_session(self->dev, "t");
	int base = make_object(self->lt, B, 1, 5), same = make_object(self->lt, B, 2, 5);
	int f = lt_dependent(self->lt, A, 3, base), g = lt_dependent(self->lt, A, 4, same);

	ASSERT_LE(0, s);
	ASSERT_LE(0, t);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, f, 3));
	ASSERT_EQ(0, luo_preserve_fd(t, base, 1));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, f, 3));
	EXPECT_EQ(0, luo_preserve_fd(t, f, 3));
	/* Any file of the object will do. */
	EXPECT_EQ(0, luo_preserve_fd(t, g, 4));
}

#define SESSIONS	3
#define FILES		3

static void expect_freeze(char *to, int failing)
{
	for (int i = 1; i < failing; i++)
		to += sprintf(to, "A %d freeze 0\n", i);
	to += sprintf(to, "A %d freeze -33\n", failing);
	for (int i = failing - 1; i > 0; i--)
		to += sprintf(to, "A %d unfreeze 0\n", i);
}

LUO_TEST(stage1, freeze_fails_in_every_file_in_turn)
{
	int sessions[SESSIONS], files[SESSIONS * FILES + 1];
	char name[16], expected[1024];
	int after;

	for (int s = 0, tag = 1; s < SESSIONS; s++) {
		snprintf(name, sizeof(name), "freeze-%d", s);
		sessions[s] = luo_create_session(self->dev, name);
		ASSERT_LE(0, sessions[s]);
		for (int f = 0; f < FILES; f++, tag++) {
			files[tag] = lt_file(self->lt, A, tag, 0);
			ASSERT_LE(0, files[tag]);
			ASSERT_EQ(0, luo_preserve_fd(sessions[s], files[tag], tag));
		}
	}
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	lt_log(self->lt);
	for (int failing = 1; failing <= SESSIONS * FILES; failing++) {
		ASSERT_EQ(0, lt_rule(self->lt, failing, LUO_TEST_FREEZE, -EDOM, 0, 1));
		EXPECT_EQ(-EDOM, luo_kexec_exec());
		expect_freeze(expected, failing);
		EXPECT_STREQ(expected, file_log(self->lt));
		for (int tag = 1; tag <= SESSIONS * FILES; tag++)
			EXPECT_EQ(0, lt_set(files[tag], failing));
		/* Everything can be used. */
		after = luo_create_session(self->dev, "after");
		ASSERT_LE(0, after);
		EXPECT_EQ(0, lt_preserve(self->lt, after, B, 1, 0));
		close(after);
		lt_log(self->lt);
	}
	/* Each of them was unfrozen exactly once: unpreserve() looks. */
	for (int s = SESSIONS - 1; s >= 0; s--)
		close(sessions[s]);
	EXPECT_STREQ("A 9 unpreserve 0\nA 8 unpreserve 0\nA 7 unpreserve 0\n"
		     "A 6 unpreserve 0\nA 5 unpreserve 0\nA 4 unpreserve 0\n"
		     "A 3 unpreserve 0\nA 2 unpreserve 0\nA 1 unpreserve 0\n",
		     file_log(self->lt));
	EXPECT_EQ(0, luo_kexec_unload(0));
}

LUO_TEST(stage1, ioctl_waits_for_the_end_of_a_reboot)
{
	int s = luo_create_session(self->dev, "s"), f = lt_file(self->lt, A, 1, 0), t, status;
	uint64_t start;
	pid_t pid;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, f, 1));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	ASSERT_EQ(0, lt_sleep(self->lt, 1, LUO_TEST_FREEZE, 1000, 0));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 2, 0));
	ASSERT_EQ(0, lt_rule(self->lt, 2, LUO_TEST_FREEZE, -EDOM, 0, 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(luo_kexec_exec() == -EDOM ? 0 : 1);
	usleep(200 * 1000);
	start = luo_now_ns();
	t = luo_create_session(self->dev, "t");
	EXPECT_LE(0, t);
	EXPECT_LT(200 * 1000000ULL, luo_now_ns() - start);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, luo_kexec_unload(0));
}

static pid_t start(int (*act)(int dev, int lt), int dev, int lt)
{
	pid_t pid = fork();

	if (!pid)
		_exit(act(dev, lt));
	usleep(200 * 1000);
	return pid;
}

static int act_create(int dev, int lt)
{
	return luo_create_session(dev, "killed") < 0;
}

static int act_reboot(int dev, int lt)
{
	return luo_kexec_exec() != -EDOM;
}

static int act_preserve_slowly(int dev, int lt)
{
	return lt_preserve(lt, luo_create_session(dev, "slow"), B, 3, 0) != 0;
}

static int act_hold(int dev, int lt)
{
	int s = luo_create_session(dev, "held");

	if (s < 0 || lt_preserve(lt, s, B, 4, 0))
		return 1;
	pause();
	return 0;
}

/*
 * Who waits for a reboot, or reboot() itself for others, can be killed; and so can the
 * holder of a session that is frozen, which is gone as soon as nothing is.
 */
LUO_TEST(stage1, killed_while_it_waits)
{
	int s = luo_create_session(self->dev, "s"), status;
	pid_t pid, waits, holds;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	ASSERT_EQ(0, lt_sleep(self->lt, 1, LUO_TEST_FREEZE, 1500, -EDOM));
	holds = start(act_hold, self->dev, self->lt);
	pid = start(act_reboot, self->dev, self->lt);
	waits = start(act_create, self->dev, self->lt);
	ASSERT_EQ(0, kill(waits, SIGKILL));
	ASSERT_EQ(waits, waitpid(waits, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(0, kill(holds, SIGKILL));
	ASSERT_EQ(holds, waitpid(holds, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	/* It did not have to wait for that. */
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	for (int i = 0; i < 50 && luo_create_session(self->dev, "held") < 0; i++)
		usleep(100 * 1000);
	EXPECT_STREQ("A 1 preserve 0\nB 4 preserve 0\nA 1 freeze -33\nB 4 unpreserve 0\n",
		     file_log(self->lt));

	ASSERT_EQ(0, lt_sleep(self->lt, 3, LUO_TEST_PRESERVE, 1500, 0));
	pid = start(act_preserve_slowly, self->dev, self->lt);
	waits = start(act_reboot, self->dev, self->lt);
	ASSERT_EQ(0, kill(waits, SIGKILL));
	ASSERT_EQ(waits, waitpid(waits, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_STREQ("B 3 preserve 0\nB 3 unpreserve 0\n", file_log(self->lt));
	EXPECT_EQ(0, luo_kexec_unload(0));
}

/* A process that holds all there is of a session, killed in the middle of a callback. */
static void killed_in(struct __test_metadata *_metadata, int lt, uint64_t tag, int op,
		      void (*act)(int dev, int lt), int dev)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, lt_sleep(lt, tag, op, 600, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		act(dev, lt);
		_exit(0);
	}
	usleep(200 * 1000);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

static void act_preserve(int dev, int lt)
{
	lt_preserve(lt, luo_create_session(dev, "killed"), A, 1, 0);
}

LUO_TEST(stage1, killed_in_preserve)
{
	int s;

	killed_in(_metadata, self->lt, 1, LUO_TEST_PRESERVE, act_preserve, self->dev);
	EXPECT_STREQ("A 1 preserve 0\nA 1 unpreserve 0\n", file_log(self->lt));
	s = luo_create_session(self->dev, "killed");
	EXPECT_LE(0, s);
	EXPECT_EQ(0, lt_preserve(self->lt, s, A, 1, 0));
}

static int leave_session(struct __test_metadata *_metadata, int dev, const char *name)
{
	int s = luo_create_session(dev, name);

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_keep(s));
	return s;
}

LUO_TEST(stage1, leave)
{
	int s, f, g, h;

	s = leave_session(_metadata, self->dev, "errors");
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 31, 310));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 32, 320));
	f = make_bare(self->lt, A, 33, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, f, 33));
	g = lt_file(self->lt, B, 34, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, g, 34));
	/* They are in use until they are frozen. */
	ASSERT_EQ(0, lt_set(f, 330));
	ASSERT_EQ(0, lt_set(g, 340));

	s = leave_session(_metadata, self->dev, "needs");
	f = lt_file(self->lt, B, 41, 410);
	g = lt_dependent(self->lt, A, 42, f);
	h = lt_dependent(self->lt, A, 43, g);
	ASSERT_EQ(0, luo_preserve_fd(s, f, 41));
	ASSERT_EQ(0, luo_preserve_fd(s, g, 42));
	ASSERT_EQ(0, luo_preserve_fd(s, h, 43));

	s = leave_session(_metadata, self->dev, "same");
	f = make_object(self->lt, A, 45, 99);
	ASSERT_EQ(0, luo_preserve_fd(s, f, 45));

	/* In a circle, and for what is not there. */
	s = leave_session(_metadata, self->dev, "circle");
	ASSERT_EQ(0, preserve_asking(self->lt, s, A, 91, 92));
	ASSERT_EQ(0, preserve_asking(self->lt, s, B, 92, 93));
	ASSERT_EQ(0, preserve_asking(self->lt, s, A, 93, 91));
	ASSERT_EQ(0, preserve_asking(self->lt, s, A, 94, 95));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 96, 960));

	/* One by one in a row, which is longer than may be. */
	s = leave_session(_metadata, self->dev, "row");
	for (int tag = ROW; tag < ROW + NESTING; tag++)
		ASSERT_EQ(0, preserve_asking(self->lt, s, A, tag, tag + 1));
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, ROW + NESTING, 1));

	s = leave_session(_metadata, self->dev, "unfinished");
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 51, 510));
	ASSERT_EQ(0, lt_preserve(self->lt, s, B, 52, 520));
	s = leave_session(_metadata, self->dev, "never");
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 61, 610));
	s = leave_session(_metadata, self->dev, "killed");
	ASSERT_EQ(0, lt_preserve(self->lt, s, A, 71, 710));
}

LUO_TEST(stage2, retrieve_fails)
{
	static const int again[] = { -ENOMEM, -EINTR, -EAGAIN };
	int s = luo_retrieve_session(self->dev, "errors");
	struct liveupdate_session_next_file file = { .size = sizeof(file), .token = 32 };

	ASSERT_LE(0, s);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, lt_rule(self->lt, 31, LUO_TEST_RETRIEVE, again[i], 0, 1));
		EXPECT_EQ(again[i], luo_retrieve_fd(s, 31));
	}
	EXPECT_EQ(310, lt_value(luo_retrieve_fd(s, 31)));
	EXPECT_EQ(310, lt_value(luo_retrieve_fd(s, 31)));
	EXPECT_STREQ("A 31 retrieve -12\nA 31 retrieve -4\nA 31 retrieve -11\n"
		     "A 31 retrieve 0\n", file_log(self->lt));

	/* Any other error is said again, and the handler not asked, whoever holds it. */
	ASSERT_EQ(0, lt_rule(self->lt, 32, LUO_TEST_RETRIEVE, -EIO, 0, 1));
	EXPECT_EQ(-EIO, luo_retrieve_fd(s, 32));
	EXPECT_EQ(-EIO, luo_retrieve_fd(s, 32));
	close(s);
	s = luo_retrieve_session(self->dev, "errors");
	ASSERT_LE(0, s);
	EXPECT_EQ(-EIO, luo_retrieve_fd(s, 32));
	EXPECT_STREQ("A 32 retrieve -5\n", file_log(self->lt));
	/* And told to those who ask for no descriptor. */
	ASSERT_EQ(0, ioctl(s, LIVEUPDATE_SESSION_NEXT_FILE, &file));
	EXPECT_EQ(32U, file.token);
	EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_FAILED, file.state);
	EXPECT_EQ((uint32_t)EIO, file.error);

	EXPECT_EQ(330, lt_value(luo_retrieve_fd(s, 33)));
	EXPECT_EQ(340, lt_value(luo_retrieve_fd(s, 34)));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 35));
}

LUO_TEST(stage2, can_finish_says_no)
{
	int s = luo_retrieve_session(self->dev, "errors");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, lt_rule(self->lt, 33, LUO_TEST_CAN_FINISH, -1, 0, 1));
	EXPECT_EQ(-EBUSY, luo_finish(s));
	EXPECT_STREQ("A 31 can_finish 1\nA 32 can_finish 1\nA 33 can_finish 0\n",
		     file_log(self->lt));
	EXPECT_EQ(310, lt_value(luo_retrieve_fd(s, 31)));
	EXPECT_STREQ("", file_log(self->lt));
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_STREQ("A 31 can_finish 1\nA 32 can_finish 1\nA 33 can_finish 1\n"
		     "B 34 can_finish 1\nB 34 finish 0\nA 33 finish 0\n"
		     "A 32 finish 0\nA 31 finish 0\n", file_log(self->lt));
	EXPECT_EQ(-EINVAL, luo_finish(s));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, 31));
}

LUO_TEST(stage2, file_that_is_needed_is_retrieved_first)
{
	int s = luo_retrieve_session(self->dev, "needs"), f;
	struct luo_test_file file;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, lt_rule(self->lt, 41, LUO_TEST_RETRIEVE, -ENOMEM, 0, 1));
	EXPECT_EQ(-ENOMEM, luo_retrieve_fd(s, 43));
	EXPECT_STREQ("B 41 retrieve -12\nA 42 retrieve -12\nA 43 retrieve -12\n",
		     file_log(self->lt));
	f = luo_retrieve_fd(s, 43);
	ASSERT_LE(0, f);
	EXPECT_STREQ("B 41 retrieve 0\nA 42 retrieve 0\nA 43 retrieve 0\n",
		     file_log(self->lt));
	ASSERT_EQ(0, ioctl(f, LUO_TEST_GET, &file));
	EXPECT_EQ(1, file.needs);
	EXPECT_EQ(410, lt_value(luo_retrieve_fd(s, 41)));
	EXPECT_STREQ("", file_log(self->lt));
	EXPECT_EQ(0, luo_finish(s));
}

LUO_TEST(stage2, files_that_ask_for_each_other)
{
	int s = luo_retrieve_session(self->dev, "circle");

	ASSERT_LE(0, s);
	EXPECT_EQ(-EDEADLK, luo_retrieve_fd(s, 91));
	EXPECT_STREQ("A 93 retrieve -35\nB 92 retrieve -35\nA 91 retrieve -35\n",
		     file_log(self->lt));
	/* Nor is there another end to begin at. */
	EXPECT_EQ(-EDEADLK, luo_retrieve_fd(s, 92));
	EXPECT_EQ(-EDEADLK, luo_retrieve_fd(s, 93));
	EXPECT_STREQ("", file_log(self->lt));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 94));
	EXPECT_EQ(960, lt_value(luo_retrieve_fd(s, 96)));
	EXPECT_EQ(0, luo_finish(s));
}

LUO_TEST(stage2, row_of_files_that_ask_for_the_next)
{
	int s = luo_retrieve_session(self->dev, "row");

	ASSERT_LE(0, s);
	EXPECT_EQ(-EDEADLK, luo_retrieve_fd(s, ROW));
	/* Those that were not on the way are as they were. */
	EXPECT_EQ(1, lt_value(luo_retrieve_fd(s, ROW + NESTING)));
	EXPECT_EQ(0, luo_finish(s));
	file_log(self->lt);
}

LUO_TEST(stage2, object_of_an_unfinished_file_is_taken)
{
	int s = luo_retrieve_session(self->dev, "same"), t = luo_create_session(self->dev, "t");
	int f = make_object(self->lt, A, 1, 99), g;

	ASSERT_LE(0, s);
	g = luo_retrieve_fd(s, 45);
	ASSERT_LE(0, g);
	EXPECT_EQ(-EBUSY, luo_preserve_fd(t, g, 1));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(t, f, 1));
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(0, luo_preserve_fd(t, g, 1));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(t, f, 2));
}

static void act_retrieve(int dev, int lt)
{
	luo_retrieve_fd(luo_retrieve_session(dev, "killed"), 71);
}

LUO_TEST(stage2, killed_in_retrieve)
{
	int s;

	killed_in(_metadata, self->lt, 71, LUO_TEST_RETRIEVE, act_retrieve, self->dev);
	s = luo_retrieve_session(self->dev, "killed");
	ASSERT_LE(0, s);
	EXPECT_EQ(710, lt_value(luo_retrieve_fd(s, 71)));
	EXPECT_STREQ("A 71 retrieve 0\n", file_log(self->lt));
	EXPECT_EQ(0, luo_finish(s));
}

/* The last test of this kernel: what is given up stays so. */
LUO_TEST(stage2, reboot_over_unfinished_files)
{
	int s = luo_retrieve_session(self->dev, "unfinished");
	int out = leave_session(_metadata, self->dev, "out"), t;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, lt_preserve(self->lt, out, B, 81, 810));
	EXPECT_EQ(510, lt_value(luo_retrieve_fd(s, 51)));
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, NULL, 0));
	lt_log(self->lt);

	/* Nothing has happened. */
	EXPECT_EQ(-EBUSY, luo_kexec_exec());
	EXPECT_EQ(1, luo_klog_has("session 'unfinished': token 0x33: luo-test-a-v1: is retrieved"));
	EXPECT_STREQ("", lt_log(self->lt));
	EXPECT_EQ(520, lt_value(luo_retrieve_fd(s, 52)));
	lt_log(self->lt);

	/* It is wanted all the same, and fails after all. */
	ASSERT_EQ(0, luo_write_file(SYSCTL, "1"));
	ASSERT_EQ(0, lt_rule(self->lt, 81, LUO_TEST_FREEZE, -EDOM, 0, 1));
	EXPECT_EQ(-EDOM, luo_kexec_exec());
	EXPECT_STREQ("B 52 discard 0\nA 51 discard 0\nA 61 discard 0\n"
		     "B 81 freeze -33\n", file_log(self->lt));
	EXPECT_EQ(-ESTALE, luo_retrieve_fd(s, 51));
	t = luo_retrieve_session(self->dev, "never");
	EXPECT_EQ(-ESTALE, luo_retrieve_fd(t, 61));

	/* What is given up can be finished, unasked, and is not given up once more. */
	EXPECT_EQ(0, luo_finish(t));
	EXPECT_STREQ("A 61 finish 0\n", file_log(self->lt));
	ASSERT_EQ(0, lt_rule(self->lt, 81, LUO_TEST_FREEZE, -EDOM, 0, 1));
	EXPECT_EQ(-EDOM, luo_kexec_exec());
	EXPECT_STREQ("B 81 freeze -33\n", file_log(self->lt));
	ASSERT_EQ(0, luo_write_file(SYSCTL, "0"));
	/* Given up, it is no reason to refuse. */
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage3, only_what_was_preserved)
{
	int s = luo_retrieve_session(self->dev, "out");

	ASSERT_LE(0, s);
	EXPECT_EQ(810, lt_value(luo_retrieve_fd(s, 81)));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "unfinished"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "never"));
	EXPECT_EQ(0, luo_finish(s));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3 };

	return luo_stages_main(&stages);
}
