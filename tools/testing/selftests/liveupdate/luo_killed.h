/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that are killed on their way, for tests of what is left of it.
 *
 * A way is a function that takes one step after the other and calls way_step() after
 * each, with what the step returned. A process goes the way and is killed
 *
 *	way_killed_after_step()	when it has taken so many steps
 *	way_killed_after_us()	at some time, be that in a step or between two
 *
 * Each process begins at the beginning, so a way must be one that can be gone again
 * by another process when the first one was killed anywhere on it.
 */
#ifndef LUO_KILLED_H
#define LUO_KILLED_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_test_util.h"

struct way {
	int stop;	/* after so many steps, or never if that is 0 */
	int steps;
	int tell;	/* the other end of the pipe is with the one who kills */
};

enum way_news {
	WAY_BEGINS = 'b',
	WAY_STOPPED = 's',
	WAY_ENDED = 'e',
	WAY_WRONG = 'w',
};

/* Tells, and waits for being killed. */
static inline void way_halt(struct way *way, char news)
{
	if (write(way->tell, &news, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static inline void way_step(struct way *way, int ret)
{
	if (ret < 0) {
		printf("# step %d of a way that leads to death: %d\n", way->steps + 1, ret);
		way_halt(way, WAY_WRONG);
	}
	if (++way->steps == way->stop)
		way_halt(way, WAY_STOPPED);
}

static inline pid_t way_begin(struct way *way, void (*go)(struct way *way, void *arg),
			      void *arg, int *news)
{
	char begins = WAY_BEGINS;
	int fds[2];
	pid_t pid;

	if (pipe(fds))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		close(fds[0]);
		way->tell = fds[1];
		way->steps = 0;
		if (write(way->tell, &begins, 1) != 1)
			_exit(1);
		go(way, arg);
		way_halt(way, WAY_ENDED);
	}
	close(fds[1]);
	if (read(fds[0], &begins, 1) != 1)
		begins = 0;
	*news = fds[0];
	return begins == WAY_BEGINS ? pid : -EPROTO;
}

/* Returns what was told last, 0 if nothing was since it began, or a negative errno. */
static inline int way_end(pid_t pid, int news)
{
	char last = 0;
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	while (read(news, &last, 1) == 1)
		;
	close(news);
	return WIFSIGNALED(status) ? last : -EPROTO;
}

/* Returns 1 if it was killed there, 0 if there are not so many steps, or an errno. */
static inline int way_killed_after_step(int stop, void (*go)(struct way *way, void *arg), void *arg)
{
	struct way way = { .stop = stop };
	char news = 0;
	int fd = -1, ret;
	pid_t pid;

	pid = way_begin(&way, go, arg, &fd);
	if (pid < 0)
		return pid;
	if (read(fd, &news, 1) != 1)
		news = WAY_WRONG;
	ret = way_end(pid, fd);
	if (ret < 0)
		return ret;
	return news == WAY_WRONG ? -EIO : news == WAY_STOPPED;
}

/* Returns 1 if it was killed on its way, 0 if it was through, or an errno. */
static inline int way_killed_after_us(unsigned int us, void (*go)(struct way *way, void *arg),
				      void *arg)
{
	struct way way = {};
	int fd = -1, ret;
	pid_t pid;

	pid = way_begin(&way, go, arg, &fd);
	if (pid < 0)
		return pid;
	if (us)
		usleep(us);
	ret = way_end(pid, fd);
	if (ret < 0)
		return ret;
	return ret == WAY_WRONG ? -EIO : !ret;
}

/*
 * At @times moments, spread over what it takes to go all the way. Returns how many
 * were killed on it, or an errno.
 */
static inline int way_killed_anytime(int times, void (*go)(struct way *way, void *arg), void *arg)
{
	uint64_t start = luo_now_ns(), took;
	int ret = way_killed_after_step(0, go, arg), killed = 0;

	took = (luo_now_ns() - start) / 1000;
	for (int i = 0; ret >= 0 && i < times; i++) {
		ret = way_killed_after_us(took * i / times, go, arg);
		killed += ret;
	}
	return ret < 0 ? ret : killed;
}

#endif /* LUO_KILLED_H */
