// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: memory that is short, before a live update and after it.
 *
 * What of a memfd is in swap is brought in when it is preserved, and stays. Whoever
 * retrieves a memfd is charged for it: a control group that is too small for it is
 * refused, and another one gets it.
 *
 * vm-test: name=memfd_swap stages=3 debug-stages=2 mem=1024 timeout=60 disk=64 needs=shell
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "luo_memfd_case.h"

#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define CG		"/sys/fs/cgroup"

/* Pages that are in swap and nowhere else, give or take SWAP_SLACK. */
static long long swapped_pages(void)
{
	return (luo_meminfo_kb("SwapTotal") - luo_meminfo_kb("SwapFree") -
		luo_meminfo_kb("SwapCached")) / 4;
}

static void swap_on(struct __test_metadata *_metadata)
{
	char cmd[128], path[64], serial[32] = "";

	for (char c = 'a'; c <= 'h'; c++) {
		snprintf(path, sizeof(path), "/sys/block/vd%c/serial", c);
		if (luo_read_file(path, serial, sizeof(serial)) > 0 &&
		    !strncmp(serial, "scratch", 7)) {
			snprintf(cmd, sizeof(cmd),
				 "busybox mkswap /dev/vd%c && busybox swapon /dev/vd%c", c, c);
			ASSERT_EQ(0, luo_run(cmd));
			return;
		}
	}
	ASSERT_TRUE(0);
}

#define SWAP_PAGES	2048
/* Each CPU keeps some free slots at hand, which count as used. */
#define SWAP_SLACK	300

MAKE(swapped_out)
{
	long long swapped = 0;
	int fd;

	swap_on(_metadata);
	luo_write_file(CG "/cgroup.subtree_control", "+memory");
	mkdir(CG "/swap", 0755);
	ASSERT_EQ(0, luo_write_file(CG "/swap/cgroup.procs", "0"));
	fd = luo_memfd_filled("swap", 0, SWAP_PAGES, 27);
	/* The first round starts the writing, a later one frees what is written. */
	for (int i = 0; i < 50 && swapped < SWAP_PAGES * 3 / 4; i++) {
		luo_write_file(CG "/swap/memory.reclaim", "8M");
		usleep(50000);
		swapped = swapped_pages();
	}
	EXPECT_LE(SWAP_PAGES * 3 / 4, swapped);
	luo_note("%lld of %d pages were swapped out when preserved", swapped, SWAP_PAGES);
	preserve_now(_metadata, maker, fd);
	/* In, and there to stay. */
	EXPECT_GT(SWAP_SLACK, swapped_pages());
	luo_write_file(CG "/swap/memory.reclaim", "8M");
	EXPECT_GT(SWAP_SLACK, swapped_pages());
	return fd;
}

CASE(swapped_out)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, SWAP_PAGES, 27));
}

#define CHARGED		2048	/* pages */
/* memory.stat lags behind by a batch of pages per CPU. */
#define SLACK		(2LL << 20)

LUO_TEST(stage1, charged_to_the_retriever)
{
	int s = luo_create_session(self->dev, "charged"), m = luo_memfd_filled("c", 0, CHARGED, 30);

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
}

static long long shmem_of(const char *group)
{
	char path[128], buf[8192], *at;

	snprintf(path, sizeof(path), CG "/%s/memory.stat", group);
	if (luo_read_file(path, buf, sizeof(buf)) < 0)
		return -1;
	at = strstr(buf, "\nshmem ");
	return at ? strtoll(at + 7, NULL, 10) : -1;
}

LUO_TEST(stage2, charged_to_the_retriever)
{
	const long long bytes = CHARGED * LUO_PAGE;
	int s, fd, status;
	pid_t pid;

	ASSERT_EQ(0, luo_write_file(CG "/cgroup.subtree_control", "+memory"));
	mkdir(CG "/small", 0755);
	mkdir(CG "/large", 0755);
	ASSERT_EQ(0, luo_write_file(CG "/small/memory.max", "2M"));

	s = luo_retrieve_session(self->dev, "charged");
	ASSERT_LE(0, s);

	/* Too small a group: refused for now, nobody killed, nothing lost. */
	pid = fork();
	if (!pid) {
		if (luo_write_file(CG "/small/cgroup.procs", "0"))
			_exit(1);
		_exit(luo_retrieve_fd(s, 1) == -ENOMEM ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("status %#x", status);
	}
	ASSERT_EQ(0, luo_write_file(CG "/large/cgroup.procs", "0"));
	EXPECT_GT(SLACK, shmem_of("small"));
	EXPECT_GT(SLACK, shmem_of("large"));

	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	EXPECT_LT(bytes - SLACK, shmem_of("large"));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, CHARGED, 30));
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_LT(bytes - SLACK, shmem_of("large"));
	EXPECT_GT(bytes + SLACK, shmem_of("large"));
	close(s);
	close(fd);
	EXPECT_GT(SLACK, shmem_of("large"));
}

static void before(int stage)
{
	luo_write_file(SHMEM_THP, "never");
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .before = before };

	return luo_stages_main(&stages);
}
