// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: eight live updates in a row, everything on board, nobody careful.
 *
 * Four sessions travel through nine kernels with memory in pages of every size, from
 * 4K to 1G (of the gigantic page some 4K pages are used), and with files that share
 * state. Every kernel begins to prepare the next update before it has finished the
 * last one. After each step of it, in callbacks, and at moments in between, a process is
 * killed that holds what came in, or that is not the last one to hold what goes out (after
 * every fourth step in each kernel, so that all have had their turn when it ends). Every
 * byte, every count and the pools of huge pages are compared at each hop.
 *
 * vm-test: name=eight_hops stages=9 kernels=plain mem=4096 timeout=180 \
 *          needs=test-handler append="hugepagesz=2M hugepages=4 hugepagesz=1G hugepages=1"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_killed.h"
#include "luo_test_handler.h"

#define STAGES		9
#define SESSIONS	4
#define MEMORY		1	/* tokens */
#define NUMBER		2
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	0x0004U
#endif

/* Every stride-th page is used. */
static const struct {
	const char *name;
	uint64_t pages;
	uint64_t stride;
	bool thp;
	unsigned int flags;
	int handler;
} sessions[SESSIONS] = {
	{ "small", 300, 1, false, 0, LUO_TEST_A },
	{ "large", LUO_HUGE / LUO_PAGE + 9, 1, true, 0, LUO_TEST_B },
	{ "huge", 3 * LUO_HUGE / LUO_PAGE, 1, false, MFD_HUGETLB | 21U << 26, LUO_TEST_A },
	{ "gigantic", 1UL << 18, 4096, false, MFD_HUGETLB | 30U << 26, LUO_TEST_B },
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

static char *map(int fd, int nr)
{
	return mmap(NULL, sessions[nr].pages * LUO_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, fd, 0);
}

/* The first half of the memory stays as the first kernel made it. */
static uint64_t seed(int nr, uint64_t page, int stage)
{
	return page < sessions[nr].pages / 2 ? 1000 + nr : stage * 100 + nr;
}

static int fill(int fd, int nr, uint64_t from, int stage)
{
	char *mem = map(fd, nr);

	if (mem == MAP_FAILED)
		return -errno;
	for (uint64_t page = from; page < sessions[nr].pages; page += sessions[nr].stride)
		luo_fill(mem + page * LUO_PAGE, page, 1, seed(nr, page, stage));
	munmap(mem, sessions[nr].pages * LUO_PAGE);
	return 0;
}

static int fill_new(int fd, int nr, int stage)
{
	return fill(fd, nr, sessions[nr].pages / 2, stage);
}

static bool same_memory(int fd, int nr, int stage)
{
	static const char zero[LUO_PAGE];
	bool same = luo_size(fd) == (long long)(sessions[nr].pages * LUO_PAGE);
	char *mem = map(fd, nr);

	if (mem == MAP_FAILED)
		return false;
	for (uint64_t page = 0; page < sessions[nr].pages && same; page++) {
		uint64_t unused = page % sessions[nr].stride;

		if (!unused)
			same = luo_verify(mem + page * LUO_PAGE, page, 1,
					  seed(nr, page, stage)) == LUO_OK;
		/* A GiB takes time: all of it at the end, what went wrong earlier is there. */
		else if (unused == 1 || stage == STAGES - 1)
			same = !memcmp(mem + page * LUO_PAGE, zero, LUO_PAGE);
	}
	munmap(mem, sessions[nr].pages * LUO_PAGE);
	return same;
}

static long long pool(const char *size, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%s/%s_hugepages", size,
		 what);
	return luo_file_num(path);
}

static void expect_pool(struct __test_metadata *_metadata, const char *size, int used, int total)
{
	EXPECT_EQ(total, pool(size, "nr"));
	EXPECT_EQ(total - used, pool(size, "free"));
	EXPECT_EQ(0, pool(size, "resv"));
	EXPECT_EQ(0, pool(size, "surplus"));
}

/* The same from the first kernel to the last, whatever is retrieved of it. */
static void expect_pools(struct __test_metadata *_metadata)
{
	expect_pool(_metadata, "2048kB", 3, 4);
	expect_pool(_metadata, "1048576kB", 1, 1);
}

/* The first one, also at the end of a way. */
static bool same_page(int fd, int nr, int stage)
{
	char *mem = map(fd, nr);
	bool is;

	if (mem == MAP_FAILED)
		return false;
	is = luo_verify(mem, 0, 1, seed(nr, 0, stage)) == LUO_OK;
	munmap(mem, sessions[nr].pages * LUO_PAGE);
	return is;
}

static int make_memory(int nr, int stage)
{
	int fd;

	luo_write_file(SHMEM_THP, sessions[nr].thp ? "always" : "never");
	fd = luo_memfd(sessions[nr].name, sessions[nr].flags, sessions[nr].pages * LUO_PAGE);
	if (fd >= 0 && fill(fd, nr, 0, stage))
		return -EIO;
	return fd;
}

/* Ways of processes that are killed on them. What they open, the kernel alone closes. */

#define TIMES		2	/* moments, besides after steps */
#define TURNS		4	/* hops in which each step has its turn */
#define CALLBACK_MS	60	/* in a callback of the test handler, in which one dies */

struct who {
	int dev, lt, stage;
	int s, nr;		/* the session, if others hold it as well */
	int memory, number;	/* files of that */
	int sock;
};

static int next_file(int s, uint64_t token)
{
	struct liveupdate_session_next_file arg = { .size = sizeof(arg), .token = token };

	return ioctl(s, LIVEUPDATE_SESSION_NEXT_FILE, &arg) ? -errno : (int)arg.token;
}

static int unpreserve(int s, uint64_t token)
{
	struct liveupdate_session_unpreserve_file arg = { .size = sizeof(arg), .token = token };

	return ioctl(s, LIVEUPDATE_SESSION_UNPRESERVE_FILE, &arg) && errno != ENOENT ? -errno : 0;
}

static int same(bool is)
{
	return is ? 0 : -EILSEQ;
}

#define TAKE_OVER_STEPS	8	/* of each session */
#define PREPARE_STEPS	9

/* Takes over all there is, looks at it, and does what must not do any harm. */
static void take_over(struct way *way, void *arg)
{
	struct who *who = arg;

	for (int i = 0; i < SESSIONS; i++) {
		int nr = (i + who->stage) % SESSIONS, s, copy, fds[3] = { -1, -1, -1 };

		s = luo_retrieve_session(who->dev, sessions[nr].name);
		way_step(way, s);
		/* One first and then the other, or the other way round. */
		for (int token = MEMORY; token <= NUMBER; token++) {
			int which = i & 1 ? MEMORY + NUMBER - token : token;

			fds[which] = luo_retrieve_fd(s, which);
			way_step(way, fds[which]);
		}
		way_step(way, same(same_page(fds[MEMORY], nr, who->stage - 1)));
		way_step(way, same(lt_value(fds[NUMBER]) == (who->stage - 1) * 10 + nr));
		copy = dup(s);
		way_step(way, copy);
		close(s);
		close(fds[MEMORY]);
		way_step(way, same(next_file(copy, 0) == MEMORY));
		way_step(way, same(luo_preserve_fd(copy, who->lt, 3) == -EINVAL));
	}
}

/* All of it, through a mapping of its own. */
static void look(struct way *way, void *arg)
{
	struct who *who = arg;

	for (int nr = 0; nr < SESSIONS; nr++) {
		int s = luo_retrieve_session(who->dev, sessions[nr].name);

		way_step(way, same(same_memory(luo_retrieve_fd(s, MEMORY), nr, who->stage - 1)));
	}
}

/* Has a session that comes in, as others do, and finishes it. */
static void finish(struct way *way, void *arg)
{
	struct who *who = arg;
	int ret = luo_finish(who->s);

	/* By one who was killed in it. */
	way_step(way, ret == -EINVAL ? 0 : ret);
}

/* Prepares what goes out, in a session that others hold as well. */
static void prepare(struct way *way, void *arg)
{
	struct who *who = arg;
	int ret, copy;

	/* What the one before has left. */
	way_step(way, unpreserve(who->s, NUMBER));
	way_step(way, unpreserve(who->s, MEMORY));
	way_step(way, lt_set(who->number, who->stage * 10 + who->nr));
	way_step(way, luo_preserve_fd(who->s, who->number, NUMBER));
	way_step(way, luo_preserve_fd(who->s, who->memory, MEMORY));
	ret = luo_preserve_fd(who->s, who->memory, MEMORY + NUMBER);
	way_step(way, same(ret == -EBUSY));
	way_step(way, same(next_file(who->s, NUMBER) == NUMBER));
	copy = dup(who->s);
	way_step(way, copy);
	close(who->s);
	way_step(way, same(next_file(copy, MEMORY) == MEMORY));
}

/* Makes a session, and gives it away. */
static void create(struct way *way, void *arg)
{
	struct who *who = arg;
	int s = luo_create_session(who->dev, "early");

	way_step(way, s);
	way_step(way, luo_send_fd(who->sock, s));
	way_step(way, close(s));
}

static int killed;

#define KILLED(go)							\
	({								\
		int _killed = go;					\
									\
		ASSERT_LE(0, _killed) {					\
			TH_LOG("%s: %d", #go, _killed);			\
		}							\
		killed += _killed;					\
		_killed;						\
	})

/* The session that was given away, by the one or the other who made it. */
static int create_early(struct __test_metadata *_metadata, struct who *who)
{
	int sv[2], s;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	who->sock = sv[1];
	/* Not given away, it is gone: the name is free. */
	ASSERT_EQ(1, way_killed_after_step(1, create, who));
	EXPECT_EQ(-EAGAIN, recv(sv[0], &s, 1, MSG_DONTWAIT) < 0 ? -errno : 0);
	ASSERT_EQ(1, way_killed_after_step(2, create, who));
	s = luo_recv_fd(sv[0]);
	ASSERT_LE(0, s);
	EXPECT_EQ(-EEXIST, luo_create_session(who->dev, "early"));
	close(sv[0]);
	close(sv[1]);
	return s;
}

/* Each step has its turn in two of the hops, with each session in others. */
static int first_step(const struct who *who)
{
	return 1 + (who->stage + who->nr) % TURNS;
}

/* Is there what a process has preserved that was killed after so many steps? */
static void expect_prepared(struct __test_metadata *_metadata, int s, int steps)
{
	EXPECT_EQ(steps >= 5 ? MEMORY : steps == 4 ? NUMBER : -ENOENT, next_file(s, 0));
	EXPECT_EQ(steps >= 4 ? NUMBER : -ENOENT, next_file(s, NUMBER));
}

static void prepare_anywhere(struct __test_metadata *_metadata, struct who *who)
{
	ASSERT_LE(0, who->memory);
	ASSERT_LE(0, who->number);
	for (int step = first_step(who); step <= PREPARE_STEPS; step += TURNS) {
		ASSERT_EQ(1, KILLED(way_killed_after_step(step, prepare, who)));
		expect_prepared(_metadata, who->s, step);
	}
	ASSERT_EQ(0, lt_sleep(who->lt, NUMBER, LUO_TEST_PRESERVE, CALLBACK_MS, 0));
	KILLED(way_killed_after_us(CALLBACK_MS * 500, prepare, who));
	KILLED(way_killed_anytime(TIMES, prepare, who));
	/* The last one has gone all the way. */
	ASSERT_EQ(0, way_killed_after_step(PREPARE_STEPS + 1, prepare, who));
	expect_prepared(_metadata, who->s, PREPARE_STEPS);
}

/* A session of one kernel only, preserved while all others wait to be finished. */
static void prepare_early(struct __test_metadata *_metadata, int dev, int lt, int stage)
{
	struct who who = { .dev = dev, .lt = lt, .stage = stage };

	ASSERT_EQ(stage * 100, lt_flb_do(lt, LUO_TEST_X, LUO_TEST_FLB_SET, 0, stage * 100));
	ASSERT_EQ(stage * 100 + 1, lt_flb_do(lt, LUO_TEST_Y, LUO_TEST_FLB_SET, 0, stage * 100 + 1));
	who.s = create_early(_metadata, &who);
	who.memory = make_memory(0, stage);
	who.number = lt_file(lt, sessions[0].handler, NUMBER, 0);
	prepare_anywhere(_metadata, &who);
	EXPECT_EQ(stage * 100, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_OUT));
	EXPECT_EQ(0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_OUT));
	ASSERT_EQ(0, luo_keep(who.s));
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

/* Finished by one who is killed in it or after it, since others have it as well. */
static void finish_and_die(struct __test_metadata *_metadata, struct who *who)
{
	int ret;

	if (who->nr & 1) {
		ASSERT_EQ(0, lt_sleep(who->lt, NUMBER, LUO_TEST_FINISH, CALLBACK_MS, 0));
		KILLED(way_killed_after_us(CALLBACK_MS * 500, finish, who));
		ret = luo_finish(who->s);
		/* On a slow machine it dies before. */
		EXPECT_TRUE(!ret || ret == -EINVAL);
	} else {
		ASSERT_EQ(1, KILLED(way_killed_after_step(1, finish, who)));
	}
	EXPECT_EQ(-EINVAL, luo_finish(who->s));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(who->dev, sessions[who->nr].name));
}

/* Finished and, but for the last kernel, off to the next one. */
static void pass_on(struct __test_metadata *_metadata, struct who *who)
{
	int nr = who->nr, stage = who->stage;

	who->memory = luo_retrieve_fd(who->s, MEMORY);
	who->number = luo_retrieve_fd(who->s, NUMBER);
	ASSERT_LE(0, who->memory);
	ASSERT_LE(0, who->number);
	EXPECT_TRUE(same_memory(who->memory, nr, stage - 1)) {
		TH_LOG("memory of %s differs", sessions[nr].name);
	}
	EXPECT_EQ((stage - 1) * 10 + nr, lt_value(dup(who->number)));
	finish_and_die(_metadata, who);
	if (stage == STAGES)
		return;
	prepare_anywhere(_metadata, who);
	ASSERT_EQ(0, fill_new(who->memory, nr, stage));
	ASSERT_EQ(0, luo_keep(who->s));
}

static void hop(struct __test_metadata *_metadata, int dev, int lt, int stage)
{
	struct who who = { .dev = dev, .lt = lt, .stage = stage };
	int fds[SESSIONS];

	expect_pools(_metadata);
	ASSERT_EQ(0, lt_sleep(lt, NUMBER, LUO_TEST_RETRIEVE, CALLBACK_MS, 0));
	KILLED(way_killed_after_us(CALLBACK_MS * 500, take_over, &who));
	/* In the even kernels it is there that somebody retrieves the files first. */
	for (int us = 500; us < 100 * 1000 && !(stage & 1); us *= 2)
		KILLED(way_killed_after_us(us, take_over, &who));
	for (int step = first_step(&who); step <= SESSIONS * TAKE_OVER_STEPS; step += TURNS) {
		ASSERT_EQ(1, KILLED(way_killed_after_step(step, take_over, &who)));
		expect_pools(_metadata);
	}
	ASSERT_EQ(0, way_killed_after_step(SESSIONS * TAKE_OVER_STEPS + 1, take_over, &who));
	KILLED(way_killed_anytime(TIMES, take_over, &who));
	ASSERT_EQ(1, KILLED(way_killed_after_step(SESSIONS, look, &who)));
	expect_pools(_metadata);
	state_came(_metadata, lt, stage);

	if (stage < STAGES)
		prepare_early(_metadata, dev, lt, stage);
	state_came(_metadata, lt, stage);

	for (int nr = 0; nr < SESSIONS; nr++) {
		fds[nr] = luo_retrieve_session(dev, sessions[nr].name);
		ASSERT_LE(0, fds[nr]);
	}
	/* Another order each time. */
	for (int i = 0; i < SESSIONS; i++) {
		who.nr = (i + stage) % SESSIONS;
		who.s = fds[who.nr];
		pass_on(_metadata, &who);
	}

	/* One file of A is left, which needs both. */
	state_came(_metadata, lt, stage);
	arrive_early(_metadata, dev, stage);
	if (stage < STAGES)
		expect_pools(_metadata);
	EXPECT_EQ(-ENODATA, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(-ENODATA, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
	luo_note("%d processes were killed on their way", killed);
}

LUO_TEST(stage1, leave)
{
	struct who who = { .dev = self->dev, .lt = self->lt, .stage = 1 };

	prepare_early(_metadata, self->dev, self->lt, 1);
	for (who.nr = 0; who.nr < SESSIONS; who.nr++) {
		who.s = luo_create_session(self->dev, sessions[who.nr].name);
		ASSERT_LE(0, who.s);
		who.memory = make_memory(who.nr, 1);
		who.number = lt_file(self->lt, sessions[who.nr].handler, NUMBER, 0);
		prepare_anywhere(_metadata, &who);
		ASSERT_EQ(0, luo_keep(who.s));
		close(who.memory);
	}
	expect_pools(_metadata);
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
