// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what is written to a memfd by its mappings after it was frozen is not lost.
 *
 * The virtual CPUs of a guest may run until those of the host are stopped. The test
 * handler sleeps in the freeze() of a file that comes after the memfd; meanwhile
 * another process writes to pages that were only allocated, whose records say so,
 * and into holes. Once reboot() fails then, and all of it is there; then it does not, and
 * all of it is in the next kernel. write(2) is refused while the file is frozen.
 *
 * vm-test: name=memfd_frozen stages=2 mem=1024 needs=test-handler append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define PAGES		4096UL
#define DATA		16UL	/* pages with something in them from the beginning */
#define ALLOCATED	1000UL	/* where those that are only allocated begin */
#define HOLES		3000UL	/* and those that are not */
#define EACH		64UL	/* as many as are written to each time */
#define SEED		5
#define LATER		2	/* token of the file that takes so long */
#define SLEEP_MS	1500
#define ROUNDS		2

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static const unsigned long written[] = { ALLOCATED, HOLES };

/* A process that writes as soon as the file is frozen. It ends with 0 if it did. */
static pid_t write_when_frozen(int fd, char *map, int round)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; i < 2000; i++) {
		/* The same byte that is there */
		if (pwrite(fd, map, 1, 0) < 0)
			break;
		usleep(2000);
	}
	if (errno != EPERM)
		_exit(1);
	for (unsigned int i = 0; i < ARRAY_SIZE(written); i++) {
		unsigned long at = written[i] + round * EACH;

		luo_fill(map + at * LUO_PAGE, at, EACH, SEED);
	}
	/* Still frozen? */
	_exit(pwrite(fd, map, 1, 0) < 0 && errno == EPERM ? 0 : 2);
}

static void verify(struct __test_metadata *_metadata, int fd, unsigned long rounds)
{
	unsigned long nr = rounds * EACH;

	EXPECT_EQ(LUO_OK, luo_verify_fd(fd, 0, DATA, SEED));
	for (unsigned int i = 0; i < ARRAY_SIZE(written); i++) {
		EXPECT_EQ(LUO_OK, luo_verify_fd(fd, written[i], nr, SEED)) {
			TH_LOG("pages from %lu on", written[i]);
		}
		EXPECT_EQ(LUO_OK, luo_verify_zero_fd(fd, written[i] + nr, EACH));
	}
}

LUO_TEST(stage1, reboot_fails)
{
	int fd = luo_memfd_filled("frozen", 0, DATA, SEED), s, lt, status;
	char *map;
	pid_t pid;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	ASSERT_EQ(0, ftruncate(fd, PAGES * LUO_PAGE));
	ASSERT_EQ(0, fallocate(fd, 0, ALLOCATED * LUO_PAGE, 4 * EACH * LUO_PAGE));
	map = mmap(NULL, PAGES * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	s = luo_create_session(self->dev, "frozen");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_A, LATER, 1));

	ASSERT_EQ(0, lt_sleep(lt, LATER, LUO_TEST_FREEZE, SLEEP_MS, -EIO));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	pid = write_when_frozen(fd, map, 0);
	ASSERT_LE(0, pid);
	EXPECT_EQ(-EIO, luo_kexec_exec());
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	verify(_metadata, fd, 1);
	EXPECT_EQ(1, pwrite(fd, map, 1, 0));

	/* The next time it is for good, and nobody waits for that process. */
	ASSERT_EQ(0, lt_sleep(lt, LATER, LUO_TEST_FREEZE, SLEEP_MS, 0));
	ASSERT_LE(0, write_when_frozen(fd, map, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, all_of_it_is_there)
{
	int s = luo_retrieve_session(self->dev, "frozen"), fd;

	ASSERT_LE(0, s);
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	verify(_metadata, fd, ROUNDS);
	/* Data, what was allocated, and the holes that were filled */
	EXPECT_EQ((DATA + 4 * EACH + ROUNDS * EACH) * 8LL, luo_blocks(fd));
	ASSERT_EQ(0, lt_load());
	ASSERT_EQ(0, luo_finish(s));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
