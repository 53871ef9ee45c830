// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a session that was closed does not get into the next kernel.
 *
 * A close() that meets the reboot cannot be dealt with at once. Threads that do
 * nothing but create and close sessions go on until the reboot has stopped
 * them; each may then have one session, not more. For them to meet it often,
 * the task that reboots has a CPU for a moment now and then only: it waits for
 * LUO's lock, is given it, and does not run.
 *
 * vm-test: name=closed stages=2 mem=1024 smp=4 kernels=plain timeout=60
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "luo_stages.h"

#define THREADS		3
#define NAMES		256	/* per thread */
#define MOMENT_US	200
#define HOG_NS		20000000ULL
#define HOG_ROUNDS	50

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static int dev;
static volatile unsigned int rounds[THREADS];
static volatile int hogging;

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		printf("# no CPU %d: %d\n", cpu, errno);
}

static void closed_name(char name[32], long thread, unsigned int nr)
{
	snprintf(name, 32, "closed-%ld-%u", thread, nr);
}

static void *create_and_close(void *arg)
{
	char name[32];

	run_on(1 + (long)arg);
	for (unsigned int round = 0;; round++) {
		closed_name(name, (long)arg, round % NAMES);
		close(luo_create_session(dev, name));
		rounds[(long)arg] = round;
	}
	return NULL;
}

static void *take_the_cpu(void *arg)
{
	struct sched_param prio = { .sched_priority = 1 };

	run_on(0);
	if (sched_setscheduler(0, SCHED_FIFO, &prio))
		printf("# not a real-time task: %d\n", errno);
	for (int i = 0; i < HOG_ROUNDS; i++) {
		uint64_t end;

		usleep(MOMENT_US);
		hogging = 1;
		end = luo_now_ns() + HOG_NS;
		while (luo_now_ns() < end)
			;
	}
	return NULL;
}

LUO_TEST(stage1, a_closed_name_is_free_at_once)
{
	for (int i = 0; i < 100; i++) {
		int s = luo_create_session(self->dev, "again");

		ASSERT_LE(0, s);
		close(s);
	}
}

LUO_TEST(stage2, no_thread_has_more_than_its_last_session)
{
	int all = 0;

	for (long thread = 0; thread < THREADS; thread++) {
		int nr = 0;

		for (int i = 0; i < NAMES; i++) {
			char name[32];
			int s;

			closed_name(name, thread, i);
			s = luo_retrieve_session(self->dev, name);
			if (s == -ENOENT)
				continue;
			ASSERT_LE(0, s);
			nr++;
			EXPECT_EQ(0, luo_finish(s));
			close(s);
		}
		EXPECT_GE(1, nr) {
			TH_LOG("thread %ld: %d sessions", thread, nr);
		}
		all += nr;
	}
	luo_note("%d sessions of %d threads", all, THREADS);
}

static int next(int stage)
{
	pthread_t thread;

	dev = luo_open_dev();
	if (dev < 0)
		return dev;
	if (luo_kexec_load(NULL, stage + 1, NULL, 0))
		return -1;
	run_on(0);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&thread, NULL, create_and_close, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		while (rounds[i] < NAMES)
			usleep(1000);
	}
	pthread_create(&thread, NULL, take_the_cpu, NULL);
	while (!hogging)
		;
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
