// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: no fixed cap on sessions and files, and no cost that grows with them.
 *
 * 2,000 sessions with a file each and one session with 5,000 files travel and
 * are found again in another order. Under the instruction counter the last
 * ones must cost what the first ones did.
 *
 * vm-test: name=many stages=2 mem=1024 timeout=120
 * vm-test: name=many_cost stages=2 mem=1024 kernels=plain timeout=300 icount=1 append="luo_cost"
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "luo_stages.h"

/* A fifth on the debug kernel, where one costs as much as a hundred. */
#define SCALE		(luo_debug_kernel() ? 5 : 1)
#define SESSIONS	(2000 / SCALE)
#define FILES		(5000 / SCALE)
#define MAX_FILES	5000
#define BATCH		(200 / SCALE)
#define MAX_RATIO	1.5

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static uint64_t took[MAX_FILES];

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double median(uint64_t *vals, int n)
{
	qsort(vals, n, sizeof(*vals), cmp);
	return vals[n / 2];
}

static void judge(struct __test_metadata *_metadata, const char *what, int n)
{
	/* The first of all warms up caches and slabs. */
	double a = median(took + BATCH, BATCH), b = median(took + n - BATCH, BATCH);

	luo_note("%s: early ones %.0f ns, the last of %d %.0f ns, ratio %.2f", what, a, n, b,
		 b / a);
	if (luo_cmdline_get("luo_cost", NULL, 0)) {
		EXPECT_GT(MAX_RATIO, b / a) {
			TH_LOG("%s", what);
		}
	}
}

/* A walk through all numbers that is not in the order in which they were made. */
static int shuffled(int i, int n)
{
	return (int)((i * 7919LL + 13) % n);
}

LUO_TEST(stage1, sessions)
{
	char name[32];

	for (int i = 0; i < SESSIONS; i++) {
		int m = luo_memfd_filled("m", 0, 1, i), s;
		uint64_t start = luo_now_ns();

		snprintf(name, sizeof(name), "many-%d", i);
		s = luo_create_session(self->dev, name);
		took[i] = luo_now_ns() - start;
		ASSERT_LE(0, s) {
			TH_LOG("session %d: %d", i, s);
		}
		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		ASSERT_EQ(0, luo_keep(s));
		close(s);
		close(m);
	}
	judge(_metadata, "CREATE_SESSION", SESSIONS);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "many-0"));
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "many-399"));
}

LUO_TEST(stage1, files)
{
	int s = luo_create_session(self->dev, "files");

	ASSERT_LE(0, s);
	for (int i = 0; i < FILES; i++) {
		int m = luo_memfd_filled("m", 0, 1, 10000 + i), ret;
		uint64_t start = luo_now_ns();

		ret = luo_preserve_fd(s, m, 3ULL * i);
		took[i] = luo_now_ns() - start;
		ASSERT_EQ(0, ret) {
			TH_LOG("file %d", i);
		}
		close(m);
	}
	judge(_metadata, "PRESERVE_FD", FILES);
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, sessions)
{
	char name[32];

	for (int i = 0; i < SESSIONS; i++) {
		int nr = shuffled(i, SESSIONS), s, m;
		uint64_t start = luo_now_ns();

		snprintf(name, sizeof(name), "many-%d", nr);
		s = luo_retrieve_session(self->dev, name);
		took[i] = luo_now_ns() - start;
		ASSERT_LE(0, s) {
			TH_LOG("session %d: %d", nr, s);
		}
		m = luo_retrieve_fd(s, nr);
		ASSERT_LE(0, m);
		ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, 1, nr));
		ASSERT_EQ(0, luo_finish(s));
		close(s);
		close(m);
	}
	judge(_metadata, "RETRIEVE_SESSION", SESSIONS);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "many-2000"));
}

LUO_TEST(stage2, files)
{
	int s = luo_retrieve_session(self->dev, "files"), m;

	ASSERT_LE(0, s);
	for (int i = 0; i < FILES; i++) {
		int nr = shuffled(i, FILES);
		uint64_t start = luo_now_ns();

		m = luo_retrieve_fd(s, 3ULL * nr);
		took[i] = luo_now_ns() - start;
		ASSERT_LE(0, m) {
			TH_LOG("file %d: %d", nr, m);
		}
		ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, 1, 10000 + nr));
		close(m);
	}
	judge(_metadata, "RETRIEVE_FD", FILES);
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 1));
	ASSERT_EQ(0, luo_finish(s));
}

static void before(int stage)
{
	struct rlimit lim = { 20000, 20000 };

	setrlimit(RLIMIT_NOFILE, &lim);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .before = before };

	return luo_stages_main(&stages);
}
