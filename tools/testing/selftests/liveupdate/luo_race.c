// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: nothing is half done when a process dies or the machine reboots.
 *
 * Agents and machines are killed between every two steps of the outgoing and
 * of the incoming side; what they held is as if never made, or still there to
 * be claimed. The first kexec happens while all CPUs create, fill and drop
 * sessions: what arrives of that is whole, and what was left alone is there.
 *
 * vm-test: name=race stages=3 debug-stages=2 mem=1024 smp=4 debug-smp=2 timeout=120 \
 *          append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define STEADY		8
#define THREADS		8
#define NAMES		4	/* per thread */
#define PAGES		16

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

/* ---- killed between any two steps ---- */

static volatile int *step;

static void at(int n)
{
	*step = n;
}

/* The way out, with a stop before each step: the victim waits to be shot. */
static void outgoing(int dev, int stop)
{
	int s = -1, m = -1, n = 0;

	while (n < stop) {
		switch (n) {
		case 0:
			s = luo_create_session(dev, "victim");
			break;
		case 1:
			m = luo_memfd_filled("victim", 0, PAGES, 5);
			break;
		case 2:
			luo_preserve_fd(s, m, 1);
			break;
		case 3:
			luo_preserve_fd(s, luo_memfd_filled("second", 0, PAGES, 6), 2);
			break;
		case 4:
			close(m);
			break;
		case 5:
			luo_kexec_load(NULL, 2, NULL, 0);
			break;
		default:
			close(s);
			break;
		}
		n++;
	}
	at(n + 1);
	for (;;)
		pause();
}

static void shoot(struct __test_metadata *_metadata, void (*way)(int, int), int dev, int stop)
{
	pid_t pid;

	*step = 0;
	pid = fork();
	if (!pid)
		way(dev, stop);
	for (int i = 0; *step != stop + 1; i++) {
		ASSERT_GT(600000, i);
		usleep(100);
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
}

LUO_TEST(stage1, killed_before_every_step_out)
{
	for (int stop = 0; stop <= 7; stop++) {
		int s;

		shoot(_metadata, outgoing, self->dev, stop);
		s = luo_create_session(self->dev, "victim");
		ASSERT_LE(0, s) {
			TH_LOG("killed before step %d: %d", stop, s);
		}
		close(s);
	}
}

LUO_TEST(stage1, killed_while_in_the_middle_of_a_step)
{
	/* Somewhere inside PRESERVE_FD of a file that takes a while, there four times as long. */
	int rounds = luo_debug_kernel() ? 8 : 30, pause_us = luo_debug_kernel() ? 1200 : 300;

	for (int i = 0; i < rounds; i++) {
		int m = luo_memfd_filled("large", 0, 4096, 7), s;
		pid_t pid;

		*step = 0;
		pid = fork();
		if (!pid) {
			for (;;) {
				s = luo_create_session(self->dev, "victim");
				*step = 1;
				luo_preserve_fd(s, m, 1);
				close(s);
			}
		}
		while (!*step)
			usleep(10);
		usleep(i * pause_us);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		s = luo_create_session(self->dev, "victim");
		ASSERT_LE(0, s);
		ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
		close(s);
		ASSERT_EQ(0, ftruncate(m, 0));
		close(m);
	}
}

/* ---- a reboot that races with everybody ---- */

static int make_steady(int dev, int i)
{
	char name[32];
	int s, m;

	snprintf(name, sizeof(name), "steady-%d", i);
	s = luo_create_session(dev, name);
	m = luo_memfd_filled(name, 0, PAGES, 100 + i);
	if (s >= 0 && luo_preserve_fd(s, m, 1)) {
		close(s);
		s = -1;
	}
	close(m);
	return s;
}

LUO_TEST(stage1, prepare_sessions_that_nobody_touches)
{
	for (int i = 0; i < STEADY; i++) {
		int s = make_steady(self->dev, i);

		ASSERT_LE(0, s);
		ASSERT_EQ(0, luo_keep(s));
		close(s);
	}
	for (int i = 0; i < 9; i++) {
		char name[32];
		int s, m;

		snprintf(name, sizeof(name), "claim-%d", i);
		s = luo_create_session(self->dev, name);
		for (int t = 1; t <= 2; t++) {
			m = luo_memfd_filled(name, 0, PAGES, 200 + t);
			ASSERT_EQ(0, luo_preserve_fd(s, m, t));
			close(m);
		}
		ASSERT_EQ(0, luo_keep(s));
		close(s);
	}
}

static int race_dev;

/* The seed says which file it is, so a mix-up would show. */
static uint64_t race_seed(int thread, int name, int token)
{
	return 1000 + thread * 100 + name * 10 + token;
}

static void *racer(void *arg)
{
	int thread = (long)arg;
	char name[32];

	for (unsigned int round = 0;; round++) {
		int nr = round % NAMES, s, m[2];

		snprintf(name, sizeof(name), "race-%d-%d", thread, nr);
		s = luo_create_session(race_dev, name);
		for (int t = 0; t < 2; t++) {
			m[t] = luo_memfd_filled(name, 0, PAGES, race_seed(thread, nr, t));
			luo_preserve_fd(s, m[t], t);
		}
		if (round & 1)
			pwrite(m[0], "", 0, 0);
		close(m[0]);
		close(m[1]);
		close(s);
	}
	return NULL;
}

static void arrive_raced(struct __test_metadata *_metadata, int dev)
{
	int sessions = 0, files = 0;
	char name[32];

	for (int thread = 0; thread < THREADS; thread++) {
		for (int nr = 0; nr < NAMES; nr++) {
			int s;

			snprintf(name, sizeof(name), "race-%d-%d", thread, nr);
			s = luo_retrieve_session(dev, name);
			if (s == -ENOENT)
				continue;
			ASSERT_LE(0, s);
			sessions++;
			for (int t = 0; t < 2; t++) {
				int m = luo_retrieve_fd(s, t);

				if (m == -ENOENT)
					continue;
				ASSERT_LE(0, m) {
					TH_LOG("%s token %d: %d", name, t, m);
				}
				files++;
				ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES,
								race_seed(thread, nr, t)));
				close(m);
			}
			ASSERT_EQ(0, luo_finish(s));
			close(s);
		}
	}
	luo_note("%d sessions with %d files were caught by the kexec", sessions, files);
	/* A thread has one session at a time, and closed the one before. */
	EXPECT_GE(THREADS, sessions);
}

LUO_TEST(stage2, what_the_racing_reboot_caught_is_whole)
{
	arrive_raced(_metadata, self->dev);
}

LUO_TEST(stage2, sessions_that_nobody_touched_are_there)
{
	for (int i = 0; i < STEADY; i++) {
		char name[32];
		int s, m;

		snprintf(name, sizeof(name), "steady-%d", i);
		s = luo_retrieve_session(self->dev, name);
		ASSERT_LE(0, s);
		m = luo_retrieve_fd(s, 1);
		ASSERT_LE(0, m);
		ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 100 + i));
		ASSERT_EQ(0, luo_finish(s));
		close(s);
		close(m);
	}
}

/* ---- killed on the way in ---- */

static char claim_name[32];

static void incoming(int dev, int stop)
{
	int s = -1, m = -1, n = 0;

	while (n < stop) {
		switch (n) {
		case 0:
			s = luo_retrieve_session(dev, claim_name);
			break;
		case 1:
			m = luo_retrieve_fd(s, 1);
			break;
		case 2:
			m = luo_retrieve_fd(s, 2);
			break;
		case 3:
			close(m);
			break;
		case 4:
			luo_finish(s);
			break;
		case 5:
			luo_preserve_fd(s, m = luo_memfd_filled("new", 0, 1, 1), 1);
			break;
		default:
			close(s);
			break;
		}
		n++;
	}
	at(n + 1);
	for (;;)
		pause();
}

LUO_TEST(stage2, killed_before_every_step_in)
{
	for (int stop = 0; stop <= 7; stop++) {
		int s, m;

		snprintf(claim_name, sizeof(claim_name), "claim-%d", stop);
		shoot(_metadata, incoming, self->dev, stop);
		s = luo_retrieve_session(self->dev, claim_name);
		if (stop >= 5) {
			/* Finished is finished; and what it was filled with again went. */
			ASSERT_EQ(-ENOENT, s);
			s = luo_create_session(self->dev, claim_name);
			ASSERT_LE(0, s);
			close(s);
			continue;
		}
		ASSERT_LE(0, s) {
			TH_LOG("killed before step %d: %d", stop, s);
		}
		for (int t = 1; t <= 2; t++) {
			m = luo_retrieve_fd(s, t);
			ASSERT_LE(0, m);
			ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 200 + t));
			close(m);
		}
		ASSERT_EQ(0, luo_finish(s));
		close(s);
	}
}

static int claimed;

static void *claimer(void *arg)
{
	char name[32];

	snprintf(name, sizeof(name), "claim-%d", 8);
	for (int i = 0; i < 200; i++) {
		int s = luo_retrieve_session(race_dev, name), a;

		if (s < 0) {
			if (s != -EBUSY)
				return (void *)"neither claimed nor busy";
			continue;
		}
		if (__atomic_add_fetch(&claimed, 1, __ATOMIC_SEQ_CST) != 1)
			return (void *)"claimed by two at once";
		a = luo_retrieve_fd(s, 1 + (i & 1));
		if (a < 0)
			return (void *)"file not retrieved";
		if (luo_verify_fd(a, 0, PAGES, 200 + 1 + (i & 1)) != LUO_OK)
			return (void *)"content differs";
		close(a);
		__atomic_sub_fetch(&claimed, 1, __ATOMIC_SEQ_CST);
		close(s);
	}
	return NULL;
}

LUO_TEST(stage2, one_claimer_at_a_time)
{
	pthread_t threads[THREADS];
	int s;

	race_dev = self->dev;
	for (long i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, claimer, (void *)i));
	for (int i = 0; i < THREADS; i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		EXPECT_EQ(NULL, wrong) {
			TH_LOG("%s", (char *)wrong);
		}
	}
	s = luo_retrieve_session(self->dev, "claim-8");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_finish(s));
	close(s);
}

LUO_TEST(stage3, what_the_second_racing_reboot_caught_is_whole)
{
	arrive_raced(_metadata, self->dev);
}

static void before(int stage)
{
	step = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static int next(int stage)
{
	pthread_t thread;
	int ret;

	ret = luo_kexec_load(NULL, stage + 1, NULL, 0);
	if (ret)
		return ret;
	luo_gcov_save();
	race_dev = luo_open_dev();
	for (long i = 0; i < THREADS; i++)
		pthread_create(&thread, NULL, racer, (void *)i);
	usleep(300000);
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .before = before, .next = next };

	return luo_stages_main(&stages);
}
