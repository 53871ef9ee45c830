// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: eight live updates in a row, everything on board, nobody careful.
 *
 * Four sessions travel through nine kernels with memory in small and in large pages
 * and with files that share state. Every kernel begins to prepare the next
 * update before it has finished the last one. At each step of the way a process
 * that holds what came in, or that is not the last one to hold what goes out, is
 * killed. Every byte and every count is compared at each hop.
 *
 * vm-test: name=eight_hops stages=9 kernels=plain mem=1024 smp=2 timeout=180 \
 *          needs=test-handler
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define STAGES		9
#define SESSIONS	4
#define MEMORY		1	/* tokens */
#define NUMBER		2
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static const struct {
	const char *name;
	uint64_t pages;
	bool huge;
	int handler;
} sessions[SESSIONS] = {
	{ "small", 300, false, LUO_TEST_A },
	{ "large", 2 * LUO_HUGE / LUO_PAGE, true, LUO_TEST_B },
	{ "both", LUO_HUGE / LUO_PAGE + 9, true, LUO_TEST_A },
	{ "more", 500, false, LUO_TEST_B },
};

#define HOP_STAGE(stage)						\
	FIXTURE(stage) { int dev, lt; };				\
	FIXTURE_SETUP(stage)						\
	{								\
		self->dev = luo_open_dev();				\
		ASSERT_LE(0, self->dev);				\
		ASSERT_EQ(0, lt_load());				\
		self->lt = lt_open();					\
		ASSERT_LE(0, self->lt);					\
	}								\
	FIXTURE_TEARDOWN(stage)						\
	{								\
		close(self->lt);					\
		close(self->dev);					\
	}

HOP_STAGE(stage1);
HOP_STAGE(stage2);
HOP_STAGE(stage3);
HOP_STAGE(stage4);
HOP_STAGE(stage5);
HOP_STAGE(stage6);
HOP_STAGE(stage7);
HOP_STAGE(stage8);
HOP_STAGE(stage9);

/* The first half of the memory stays as the first kernel made it. */
static uint64_t half(int nr)
{
	return sessions[nr].pages / 2;
}

static int fill_old(int fd, int nr)
{
	return luo_fill_fd(fd, 0, half(nr), 1000 + nr);
}

static int fill_new(int fd, int nr, int stage)
{
	return luo_fill_fd(fd, half(nr), sessions[nr].pages - half(nr), stage * 100 + nr);
}

static bool same_memory(int fd, int nr, int stage)
{
	uint64_t pages = sessions[nr].pages;

	return luo_verify_fd(fd, 0, half(nr), 1000 + nr) == LUO_OK &&
	       luo_verify_fd(fd, half(nr), pages - half(nr), stage * 100 + nr) == LUO_OK &&
	       luo_size(fd) == (long long)(pages * LUO_PAGE);
}

static int make_memory(int nr, int stage)
{
	int fd;

	luo_write_file(SHMEM_THP, sessions[nr].huge ? "always" : "never");
	fd = luo_memfd(sessions[nr].name, 0, sessions[nr].pages * LUO_PAGE);
	if (fd >= 0 && (fill_old(fd, nr) || fill_new(fd, nr, stage)))
		return -EIO;
	return fd;
}

/*
 * A process that does something and is killed as soon as it has. It returns 0 if all
 * went well; what it opened is closed by the kernel alone.
 */
#define KILLED(what)							\
	({								\
		int _status, _pipe[2];					\
		char _done = 1;						\
		pid_t _pid;						\
									\
		ASSERT_EQ(0, pipe(_pipe));				\
		_pid = fork();						\
		ASSERT_LE(0, _pid);					\
		if (!_pid) {						\
			_done = !!(what);				\
			if (write(_pipe[1], &_done, 1) == 1)		\
				pause();				\
			_exit(1);					\
		}							\
		close(_pipe[1]);					\
		if (read(_pipe[0], &_done, 1) != 1)			\
			_done = 2;					\
		close(_pipe[0]);					\
		kill(_pid, SIGKILL);					\
		ASSERT_EQ(_pid, waitpid(_pid, &_status, 0));		\
		EXPECT_EQ(0, _done);					\
	})

/* The steps of a process that takes over. Each returns 0 on success. */

static int claim(int dev, int *fds)
{
	for (int nr = 0; nr < SESSIONS; nr++) {
		fds[nr] = luo_retrieve_session(dev, sessions[nr].name);
		if (fds[nr] < 0)
			return fds[nr];
	}
	return 0;
}

static int die_with_sessions(int dev)
{
	int fds[SESSIONS];

	return claim(dev, fds);
}

/* Every other file, so that some are retrieved twice and some are not. */
static int die_with_files(int dev)
{
	int fds[SESSIONS], ret = claim(dev, fds);

	for (int nr = 0; nr < SESSIONS && !ret; nr++) {
		if (luo_retrieve_fd(fds[nr], nr & 1 ? MEMORY : NUMBER) < 0)
			ret = -EIO;
	}
	return ret;
}

/* And has looked at what it got, also through a mapping of its own. */
static int die_with_memory(int dev, int stage)
{
	int fds[SESSIONS], ret = claim(dev, fds);

	for (int nr = 0; nr < SESSIONS && !ret; nr++) {
		int fd = luo_retrieve_fd(fds[nr], MEMORY);

		if (fd < 0 || !same_memory(fd, nr, stage - 1))
			ret = -EIO;
	}
	return ret;
}

/* What goes out: the session is held by others, too. */
static int die_having_preserved(int lt, int s, int nr, int stage)
{
	int fd = make_memory(nr, stage);

	if (fd < 0 || luo_preserve_fd(s, fd, MEMORY))
		return -EIO;
	return lt_preserve(lt, s, sessions[nr].handler, NUMBER, stage * 10 + nr);
}

/* Sessions of the one kernel only, preserved while all others wait to be finished. */
static void prepare_early(struct __test_metadata *_metadata, int dev, int lt, int stage)
{
	int s = luo_create_session(dev, "early");

	ASSERT_LE(0, s);
	ASSERT_EQ(stage * 100, lt_flb_do(lt, LUO_TEST_X, LUO_TEST_FLB_SET, 0, stage * 100));
	ASSERT_EQ(stage * 100 + 1, lt_flb_do(lt, LUO_TEST_Y, LUO_TEST_FLB_SET, 0, stage * 100 + 1));
	KILLED(die_having_preserved(lt, s, 0, stage));
	EXPECT_EQ(stage * 100, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_OUT));
	EXPECT_EQ(0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_OUT));
	ASSERT_EQ(0, luo_keep(s));
}

static void arrive_early(struct __test_metadata *_metadata, int dev, int stage)
{
	int s = luo_retrieve_session(dev, "early"), fd;

	ASSERT_LE(0, s);
	fd = luo_retrieve_fd(s, MEMORY);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(same_memory(fd, 0, stage - 1));
	EXPECT_EQ((stage - 1) * 10, lt_value(luo_retrieve_fd(s, NUMBER)));
	EXPECT_EQ(0, luo_finish(s));
}

static void state_came(struct __test_metadata *_metadata, int lt, int stage)
{
	EXPECT_EQ((stage - 1) * 100, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ((stage - 1) * 100 + 1, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(0, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_PUT_IN));
}

/* Finished and, but for the last kernel, off to the next one. */
static void pass_on(struct __test_metadata *_metadata, int lt, int s, int nr, int stage)
{
	int memory = luo_retrieve_fd(s, MEMORY), number = luo_retrieve_fd(s, NUMBER);

	ASSERT_LE(0, memory);
	ASSERT_LE(0, number);
	EXPECT_TRUE(same_memory(memory, nr, stage - 1)) {
		TH_LOG("memory of %s differs", sessions[nr].name);
	}
	EXPECT_EQ((stage - 1) * 10 + nr, lt_value(dup(number)));
	ASSERT_EQ(0, luo_finish(s));
	if (stage == STAGES)
		return;
	ASSERT_EQ(0, lt_set(number, stage * 10 + nr));
	ASSERT_EQ(0, luo_preserve_fd(s, number, NUMBER));
	KILLED(luo_preserve_fd(s, memory, MEMORY));
	ASSERT_EQ(0, fill_new(memory, nr, stage));
	ASSERT_EQ(0, luo_keep(s));
}

static void hop(struct __test_metadata *_metadata, int dev, int lt, int stage)
{
	int fds[SESSIONS];

	KILLED(die_with_sessions(dev));
	KILLED(die_with_files(dev));
	KILLED(die_with_memory(dev, stage));
	state_came(_metadata, lt, stage);

	if (stage < STAGES)
		prepare_early(_metadata, dev, lt, stage);
	state_came(_metadata, lt, stage);

	ASSERT_EQ(0, claim(dev, fds));
	/* Another order each time. */
	for (int i = 0; i < SESSIONS; i++)
		pass_on(_metadata, lt, fds[(i + stage) % SESSIONS], (i + stage) % SESSIONS, stage);

	/* One file of A is left, which needs both. */
	state_came(_metadata, lt, stage);
	arrive_early(_metadata, dev, stage);
	EXPECT_EQ(-ENODATA, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-ENODATA, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
}

LUO_TEST(stage1, leave)
{
	prepare_early(_metadata, self->dev, self->lt, 1);
	for (int nr = 0; nr < SESSIONS; nr++) {
		int s = luo_create_session(self->dev, sessions[nr].name);

		ASSERT_LE(0, s);
		KILLED(die_having_preserved(self->lt, s, nr, 1));
		ASSERT_EQ(0, luo_keep(s));
	}
}

#define HOP(n)	LUO_TEST(stage##n, hop) { hop(_metadata, self->dev, self->lt, n); }

HOP(2)
HOP(3)
HOP(4)
HOP(5)
HOP(6)
HOP(7)
HOP(8)
HOP(9)

int main(void)
{
	static const struct luo_stages stages = { .last = STAGES };

	return luo_stages_main(&stages);
}
