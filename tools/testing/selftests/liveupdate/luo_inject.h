/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failing on purpose. One allocation after the other, in the calling thread:
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

#include "luo_test_handler.h"
#include "luo_test_util.h"

#define INJECT_MAX_NTH	1000

static int inject_fd = -1;
static bool inject_more;
/* Of one loop: */
static int inject_sum;		/* allocations that failed */
static int inject_failures;	/* calls that did */

static inline void inject_setup(void)
{
	static const char * const knobs[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_iommufd/verbose", "0" },
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
	inject_sum += inject_more;
	inject_failures += ret < 0;
}

static inline int inject_first(void)
{
	/* What fails is a property of the task that opens this. */
	if (inject_fd >= 0)
		close(inject_fd);
	inject_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	inject_more = true;
	inject_sum = 0;
	inject_failures = 0;
	return 1;
}

/* To be ended by inject_count() in each round. */
#define for_each_failure(nth)						\
	for (int nth = inject_first(); nth && nth < INJECT_MAX_NTH;	\
	     nth = inject_more ? nth + 1 : 0)

#define INJECT_STEP	16	/* bytes; no slab has smaller objects that matter */

static inline void inject_slab(const char *knob, int val)
{
	char path[64], num[16];

	snprintf(path, sizeof(path), "/sys/kernel/debug/failslab/%s", knob);
	snprintf(num, sizeof(num), "%d", val);
	if (luo_write_file(path, num))
		printf("# %s cannot be set\n", path);
}

/*
 * Of slabs alone, in this process, where other points of fault injection must not fail:
 *
 *	for_each_slab_failure(bytes) {
 *		inject_slab_after(bytes);
 *		ret = what_is_tested();
 *		inject_slab_count();
 *	}
 *
 * What fails is the first allocation after so many bytes.
 */
static inline int inject_slab_first(void)
{
	luo_write_file("/proc/self/make-it-fail", "1");
	luo_write_file("/sys/kernel/debug/failslab/task-filter", "Y");
	inject_slab("interval", 1);
	inject_slab("times", 0);
	inject_slab("probability", 100);
	inject_more = true;
	inject_sum = 0;
	return INJECT_STEP;
}

static inline void inject_slab_after(int bytes)
{
	inject_slab("space", bytes);
	inject_slab("times", 1);
}

static inline void inject_slab_count(void)
{
	inject_more = !luo_file_num("/sys/kernel/debug/failslab/times");
	inject_sum += inject_more;
	inject_slab("times", 0);
	if (!inject_more)
		inject_slab("probability", 0);
}

/* To be ended by inject_slab_count() in each round. */
#define for_each_slab_failure(bytes)					\
	for (int bytes = inject_slab_first(); bytes; bytes = inject_more ? bytes + INJECT_STEP : 0)

/*
 * A function of ALLOW_ERROR_INJECTION() that gives @err, once, whoever calls it:
 *
 *	inject_function("luo_chain_reserve", -EDOM);
 *	ret = what_is_tested();
 *	met = inject_function_end();
 */
static inline int inject_function(const char *name, int err)
{
	struct luo_test_fail fail = { .err = err };
	int lt = lt_open(), ret;

	if (lt < 0)
		return lt;
	snprintf(fail.name, sizeof(fail.name), "%s", name);
	ret = ioctl(lt, LUO_TEST_FAIL, &fail) ? -errno : 0;
	close(lt);
	return ret;
}

/* Returns true if it was called, and failed. */
static inline bool inject_function_end(void)
{
	struct luo_test_fail fail = { };
	int lt = lt_open();
	bool met = lt >= 0 && !ioctl(lt, LUO_TEST_FAIL, &fail) && !fail.left;

	close(lt);
	return met;
}

#endif /* LUO_INJECT_H */
