/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One allocation made to fail after the other, in the calling thread:
 *
 *	inject_setup();
 *	for_each_failure(nth) {
 *		inject(nth);
 *		ret = what_is_tested();
 *		inject_count(ret);
 *		...
 *	}
 *
 * The loop ends with the first round in which nothing was left to fail.
 */
#ifndef LUO_INJECT_H
#define LUO_INJECT_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "luo_test_util.h"

#define INJECT_MAX_NTH	1000

static int inject_fd = -1;
static bool inject_more;
static int inject_failures;	/* of the calls */

static inline void inject_setup(void)
{
	static const char * const knobs[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[128];

	for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", knobs[i][0]);
		if (luo_write_file(path, knobs[i][1]))
			printf("# %s cannot be set\n", path);
	}
}

static inline void inject(int nth)
{
	char buf[16];
	int n = snprintf(buf, sizeof(buf), "%d", nth);

	if (pwrite(inject_fd, buf, n, 0) != n)
		printf("# fail-nth cannot be set\n");
}

/* Ends the injection; true if something was made to fail. */
static inline bool inject_end(void)
{
	char buf[16] = "";
	ssize_t n = pread(inject_fd, buf, sizeof(buf) - 1, 0);
	int left = n > 0 ? atoi(buf) : 0;

	inject(0);
	return !left;
}

/* Ends a round. */
static inline void inject_count(int ret)
{
	inject_more = inject_end();
	inject_failures += ret < 0;
}

static inline int inject_first(void)
{
	/* What fails is a property of the task that opens this. */
	if (inject_fd >= 0)
		close(inject_fd);
	inject_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	inject_more = true;
	return 1;
}

#define for_each_failure(nth)						\
	for (int nth = inject_first(); nth && nth < INJECT_MAX_NTH;	\
	     nth = inject_more ? nth + 1 : 0)

#endif /* LUO_INJECT_H */
