// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a memfd stays in use while it is preserved, and whatever happens to it
 * meanwhile either reaches the next kernel or is refused, nothing in between.
 *
 * Stage 1 preserves and goes on using the file in every way in which a folio can
 * enter its page cache, leave it or change; stage 2 compares. There is so much
 * scratch that new files lie in it and are to be moved.
 *
 * vm-test: name=memfd_live stages=2 mem=2048 smp=4 debug-smp=2 timeout=180 disk=96 needs=shell \
 *          append="nokaslr kho_scratch=32M,1000M,32M"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "luo_stages.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB	0x0004U
#endif

#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define HUGE_PAGES	(LUO_HUGE / LUO_PAGE)

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static void *map_fd(int fd, size_t pages)
{
	return mmap(NULL, pages * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* A session with one memfd in it, token 1. */
static int preserve(struct __test_metadata *_metadata, int dev, const char *name, int fd)
{
	int s = luo_create_session(dev, name);

	EXPECT_LE(0, s);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, luo_preserve_fd(s, fd, 1));
	return s;
}

/* Here it is again; the session is finished. */
static int retrieve(struct __test_metadata *_metadata, int dev, const char *name)
{
	int s = luo_retrieve_session(dev, name), fd;

	EXPECT_LE(0, s);
	fd = luo_retrieve_fd(s, 1);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	return fd;
}

/* ---- userfaultfd ---- */

#define UFFD_PAGES	300	/* more than a page of records has room for */

static int uffd_open(void *map, size_t pages)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)map, pages * LUO_PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return uffd;
}

static long uffd_copy(int uffd, char *map, uint64_t page, void *from)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)map + page * LUO_PAGE,
		.src = (uintptr_t)from,
		.len = LUO_PAGE,
	};

	if (ioctl(uffd, UFFDIO_COPY, &copy))
		return -errno;
	return copy.copy;
}

LUO_TEST(stage1, userfaultfd_fills_holes)
{
	struct uffdio_zeropage zero = { };
	static char page[LUO_PAGE];
	int fd = luo_memfd("uffd", 0, 1000 * LUO_PAGE), uffd;
	char *map = map_fd(fd, 1000);
	int s;

	ASSERT_NE(MAP_FAILED, (void *)map);
	ASSERT_EQ(0, luo_fill_fd(fd, 0, 10, 1));
	uffd = uffd_open(map, 1000);
	ASSERT_LE(0, uffd);
	s = preserve(_metadata, self->dev, "uffd", fd);
	for (int i = 0; i < UFFD_PAGES; i++) {
		luo_fill(page, 100 + i, 1, 1);
		ASSERT_EQ((long)LUO_PAGE, uffd_copy(uffd, map, 100 + i, page));
	}
	/* A second copy is refused, and takes nothing away. */
	memset(page, 0xee, sizeof(page));
	EXPECT_EQ(-EEXIST, uffd_copy(uffd, map, 100, page));
	EXPECT_EQ(-EEXIST, uffd_copy(uffd, map, 5, page));
	zero.range.start = (uintptr_t)map + 500 * LUO_PAGE;
	zero.range.len = 3 * LUO_PAGE;
	EXPECT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	memcpy(map + 501 * LUO_PAGE, "late", 4);
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 100, UFFD_PAGES, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, userfaultfd_fills_holes)
{
	int fd = retrieve(_metadata, self->dev, "uffd");
	char buf[4];

	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 10, 1));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 100, UFFD_PAGES, 1));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 100 + UFFD_PAGES, 100));
	ASSERT_EQ(4, pread(fd, buf, 4, 501 * LUO_PAGE));
	EXPECT_EQ(0, memcmp(buf, "late", 4));
	EXPECT_EQ((10 + UFFD_PAGES + 3) * 8LL, luo_blocks(fd));
}

/* ---- seals, size, space ---- */

LUO_TEST(stage1, seals_added_later_travel)
{
	int fd = luo_memfd_filled("seals", MFD_ALLOW_SEALING, 4, 2);
	int s = preserve(_metadata, self->dev, "seals", fd);

	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_FUTURE_WRITE));
	/* Preserved pages are in use, so that nobody can promise this. */
	EXPECT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, seals_added_later_travel)
{
	int fd = retrieve(_metadata, self->dev, "seals");

	EXPECT_EQ(F_SEAL_GROW | F_SEAL_FUTURE_WRITE, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 4, 2));
}

LUO_TEST(stage1, space_beyond_the_end_is_kept)
{
	int fd = luo_memfd_filled("beyond", 0, 8, 3);

	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 64 * LUO_PAGE));
	ASSERT_EQ(64 * 8LL, luo_blocks(fd));
	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "beyond", fd)));
}

LUO_TEST(stage2, space_beyond_the_end_is_kept)
{
	int fd = retrieve(_metadata, self->dev, "beyond");

	EXPECT_EQ(8LL * LUO_PAGE, luo_size(fd));
	EXPECT_EQ(64 * 8LL, luo_blocks(fd));
	ASSERT_EQ(0, ftruncate(fd, 64 * LUO_PAGE));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 8, 3));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 8, 56));
	EXPECT_EQ(64 * 8LL, luo_blocks(fd));
}

LUO_TEST(stage1, the_end_does_not_move)
{
	int fd = luo_memfd_filled("end", 0, 7, 4), s;
	char path[64], two[2 * LUO_PAGE];

	ASSERT_EQ(0, ftruncate(fd, 8 * LUO_PAGE - 100));
	memset(two, 'y', sizeof(two));
	s = preserve(_metadata, self->dev, "end", fd);
	EXPECT_EQ(-1, ftruncate(fd, 8 * LUO_PAGE - 100));
	EXPECT_EQ(EPERM, errno);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EXPECT_EQ(-1, open(path, O_RDWR | O_TRUNC));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, pwrite(fd, "x", 1, 9 * LUO_PAGE));
	EXPECT_EQ(EPERM, errno);
	/* The same page, but across the end. */
	EXPECT_EQ(-1, pwrite(fd, two, 200, 8 * LUO_PAGE - 200));
	EXPECT_EQ(EPERM, errno);
	memset(two, 'x', 100);
	EXPECT_EQ(100, pwrite(fd, two, 100, 8 * LUO_PAGE - 200));
	EXPECT_EQ((ssize_t)LUO_PAGE, pwrite(fd, two + LUO_PAGE, LUO_PAGE, 6 * LUO_PAGE));
	EXPECT_EQ(8LL * LUO_PAGE - 100, luo_size(fd));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, the_end_does_not_move)
{
	int fd = retrieve(_metadata, self->dev, "end");
	char buf[101];

	EXPECT_EQ(8LL * LUO_PAGE - 100, luo_size(fd));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 6, 4));
	ASSERT_EQ(1, pread(fd, buf, 1, 6 * LUO_PAGE));
	EXPECT_EQ('y', buf[0]);
	ASSERT_EQ(100, pread(fd, buf, 101, 8 * LUO_PAGE - 200));
	EXPECT_EQ('x', buf[0]);
	EXPECT_EQ('x', buf[99]);
}

/* ---- large folios ---- */

LUO_TEST(stage1, preserved_pages_are_not_collapsed)
{
	int fd = luo_memfd("collapse", 0, 4 * LUO_HUGE), s;
	char *raw = mmap(NULL, 5 * LUO_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *map = (char *)(((uintptr_t)raw + LUO_HUGE - 1) & ~(LUO_HUGE - 1));

	ASSERT_NE(MAP_FAILED, mmap(map, 4 * LUO_HUGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, fd, 0));
	/* Full; with a hole; not preserved yet; empty. */
	luo_fill(map, 0, HUGE_PAGES, 5);
	luo_fill(map + LUO_HUGE, HUGE_PAGES, HUGE_PAGES / 2, 5);
	s = preserve(_metadata, self->dev, "collapse", fd);
	luo_fill(map + 2 * LUO_HUGE, 2 * HUGE_PAGES, HUGE_PAGES / 4, 5);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(-1, madvise(map + i * LUO_HUGE, LUO_HUGE, MADV_COLLAPSE));
	luo_fill(map + LUO_HUGE + LUO_HUGE / 2, HUGE_PAGES + HUGE_PAGES / 2, HUGE_PAGES / 2, 5);
	luo_fill(map + 3 * LUO_HUGE, 3 * HUGE_PAGES, 1, 5);
	ASSERT_EQ(LUO_OK, luo_verify(map, 0, 2 * HUGE_PAGES + HUGE_PAGES / 4, 5));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, preserved_pages_are_not_collapsed)
{
	int fd = retrieve(_metadata, self->dev, "collapse");

	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 2 * HUGE_PAGES + HUGE_PAGES / 4, 5));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 3 * HUGE_PAGES, 1, 5));
	EXPECT_EQ((2 * HUGE_PAGES + HUGE_PAGES / 4 + 1) * 8LL, luo_blocks(fd));
}

LUO_TEST(stage1, large_folio_fallocated_and_written_later)
{
	int fd = luo_memfd("large", 0, 0), s;
	char *map;

	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	ASSERT_EQ(0, fallocate(fd, 0, 0, 4 * LUO_HUGE));
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	s = preserve(_metadata, self->dev, "large", fd);
	map = map_fd(fd, 4 * HUGE_PAGES);
	ASSERT_NE(MAP_FAILED, (void *)map);
	ASSERT_EQ(0, luo_fill_fd(fd, 100, 7, 6));
	luo_fill(map + LUO_HUGE + 50 * LUO_PAGE, HUGE_PAGES + 50, 7, 6);
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, large_folio_fallocated_and_written_later)
{
	int fd = retrieve(_metadata, self->dev, "large");

	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 0, 100));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 100, 7, 6));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 107, HUGE_PAGES - 57));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, HUGE_PAGES + 50, 7, 6));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, HUGE_PAGES + 57, 3 * HUGE_PAGES - 57));
	EXPECT_EQ(4 * HUGE_PAGES * 8LL, luo_blocks(fd));
}

/* ---- at the same time ---- */

#define RACE_THREADS	4
#define RACE_ROUNDS	(luo_debug_kernel() ? 2 : 4)

/* Found out once, because the racers need it all the time. */
static unsigned long race_pages;

struct race {
	int fd;
	char *map;
	volatile bool go;
	volatile bool stop;
};

struct racer {
	struct race *race;
	int nr;
};

/* Every RACE_THREADS-th page, in an order that jumps around, half of them by write(2). */
static void *racer_main(void *arg)
{
	struct racer *me = arg;
	struct race *r = me->race;

	while (!r->go)
		;
	for (int i = 0; i < race_pages / RACE_THREADS && !r->stop; i++) {
		uint64_t page = (i * 1237ULL) % (race_pages / RACE_THREADS) * RACE_THREADS + me->nr;

		if (i % 2)
			luo_fill(r->map + page * LUO_PAGE, page, 1, 7);
		else if (luo_fill_fd(r->fd, page, 1, 7))
			return (void *)1L;
	}
	return NULL;
}

static long race(struct __test_metadata *_metadata, int fd, int session, useconds_t delay)
{
	struct race r = { .fd = fd, .map = map_fd(fd, race_pages) };
	struct racer racers[RACE_THREADS];
	pthread_t threads[RACE_THREADS];
	long bad = 0;
	void *ret;

	ASSERT_NE(MAP_FAILED, (void *)r.map);
	for (int i = 0; i < RACE_THREADS; i++) {
		racers[i] = (struct racer) { &r, i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, racer_main, &racers[i]));
	}
	r.go = true;
	usleep(delay);
	bad += luo_preserve_fd(session, fd, 1) ? 1 : 0;
	for (int i = 0; i < RACE_THREADS; i++) {
		pthread_join(threads[i], &ret);
		bad += (long)ret;
	}
	munmap(r.map, race_pages * LUO_PAGE);
	return bad;
}

LUO_TEST(stage1, filled_while_it_is_being_preserved)
{
	char name[16];
	long bad;

	/* Given up again: everything is still there. */
	for (int i = 0; i < RACE_ROUNDS; i++) {
		int s = luo_create_session(self->dev, "race");
		int fd = luo_memfd("race", 0, race_pages * LUO_PAGE);

		ASSERT_EQ(0, race(_metadata, fd, s, i * 500));
		close(s);
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, race_pages, 7));
		ASSERT_EQ(0, ftruncate(fd, 0));
		close(fd);
	}
	/* Carried over, with large folios in every other file. */
	for (int i = 0; i < 4; i++) {
		int fd = luo_memfd("race", 0, race_pages * LUO_PAGE), s;

		snprintf(name, sizeof(name), "race%d", i);
		s = luo_create_session(self->dev, name);
		ASSERT_EQ(0, luo_write_file(SHMEM_THP, i % 2 ? "always" : "never"));
		bad = race(_metadata, fd, s, i * 2000);
		/* Back first, for the cases that follow. */
		ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
		ASSERT_EQ(0, bad);
		ASSERT_EQ(0, luo_keep(s));
	}
}

LUO_TEST(stage2, filled_while_it_is_being_preserved)
{
	char name[16];

	for (int i = 0; i < 4; i++) {
		int fd;

		snprintf(name, sizeof(name), "race%d", i);
		fd = retrieve(_metadata, self->dev, name);
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, race_pages, 7));
		EXPECT_EQ(race_pages * 8LL, luo_blocks(fd));
		close(fd);
	}
}

/* ---- held by others ---- */

#define HELD_PAGES	8	/* fewer than a pipe takes */
#define HELD_US		300000	/* many times what the first tries take */
#define CANNOT_MOVE	"folios cannot be moved out of movable memory"

struct held {
	int fd;
	int pipe[2];
};

/* A file, and a pipe that has references on its pages. */
static struct held hold_pages(struct __test_metadata *_metadata, uint64_t seed)
{
	struct held h = { .fd = luo_memfd_in_scratch("held", HELD_PAGES, seed) };
	struct iovec vec = { map_fd(h.fd, HELD_PAGES), HELD_PAGES * LUO_PAGE };

	EXPECT_LE(0, h.fd);
	EXPECT_NE(MAP_FAILED, vec.iov_base);
	EXPECT_EQ(LUO_OK, luo_verify(vec.iov_base, 0, HELD_PAGES, seed));
	EXPECT_EQ(0, pipe(h.pipe));
	EXPECT_EQ((ssize_t)vec.iov_len, vmsplice(h.pipe[1], &vec, 1, 0));
	munmap(vec.iov_base, vec.iov_len);
	return h;
}

static void let_go(struct held *h)
{
	close(h->pipe[0]);
	close(h->pipe[1]);
}

static void *let_go_soon(void *arg)
{
	usleep(HELD_US);
	let_go(arg);
	return NULL;
}

LUO_TEST(stage1, held_for_a_moment)
{
	struct held h = hold_pages(_metadata, 13);
	int s = luo_create_session(self->dev, "moment");
	uint64_t start = luo_now_ns();
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, let_go_soon, &h));
	ASSERT_EQ(0, luo_preserve_fd(s, h.fd, 1));
	/* It was in the way. */
	EXPECT_LE(HELD_US * 1000ULL, luo_now_ns() - start);
	pthread_join(thread, NULL);
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, held_for_a_moment)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(retrieve(_metadata, self->dev, "moment"), 0,
					HELD_PAGES, 13));
}

LUO_TEST(stage1, held_for_good)
{
	struct held h = hold_pages(_metadata, 14);
	int s = luo_create_session(self->dev, "good"), status, before;
	pid_t pid;

	/* Who is killed does not wait to the end. */
	before = luo_klog_has(CANNOT_MOVE);
	pid = fork();
	if (!pid)
		_exit(luo_preserve_fd(s, h.fd, 1) != 0);
	usleep(100000);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(before, luo_klog_has(CANNOT_MOVE));

	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, h.fd, 1));
	EXPECT_EQ(before + 1, luo_klog_has(CANNOT_MOVE));
	/* Nothing is left of either. */
	ASSERT_EQ(0, ftruncate(h.fd, 2 * HELD_PAGES * LUO_PAGE));
	ASSERT_EQ(0, ftruncate(h.fd, HELD_PAGES * LUO_PAGE));
	let_go(&h);
	ASSERT_EQ(0, luo_preserve_fd(s, h.fd, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, held_for_good)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(retrieve(_metadata, self->dev, "good"), 0,
					HELD_PAGES, 14));
}

/* ---- retrieving, interrupted ---- */

#define KILL_PAGES	(luo_debug_kernel() ? 8000 : 20000)

LUO_TEST(stage1, killed_while_it_retrieves)
{
	int fd = luo_memfd_filled("killed", 0, KILL_PAGES, 8);

	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "killed", fd)));
}

LUO_TEST(stage2, killed_while_it_retrieves)
{
	int s = luo_retrieve_session(self->dev, "killed"), fd, status, killed = 0;

	ASSERT_LE(0, s);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(luo_retrieve_fd(s, 1) < 0);
		usleep(500 * i);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		killed += WIFSIGNALED(status);
	}
	luo_note("%d of 10 were killed in time", killed);
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, KILL_PAGES, 8));
	EXPECT_EQ(KILL_PAGES * 8LL, luo_blocks(fd));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(0, luo_blocks(fd));
}

/* ---- never retrieved ---- */

/* More than what else comes and goes */
#define UNWANTED_PAGES	20000

LUO_TEST(stage1, finish_frees_what_was_not_retrieved)
{
	int s = preserve(_metadata, self->dev, "unwanted",
			 luo_memfd_filled("unwanted", 0, UNWANTED_PAGES, 9));

	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, finish_frees_what_was_not_retrieved)
{
	int s = luo_retrieve_session(self->dev, "unwanted");
	long long before = luo_free_kb(), total = luo_meminfo_kb("MemTotal");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_LT(UNWANTED_PAGES * 4LL * 9 / 10, luo_free_kb() - before);
	EXPECT_LT(UNWANTED_PAGES * 4LL * 9 / 10, luo_meminfo_kb("MemTotal") - total);
}

/* ---- limits ---- */

static sigjmp_buf bus;

static void on_sigbus(int sig)
{
	siglongjmp(bus, 1);
}

LUO_TEST(stage1, holes_count_against_the_limit_of_who_preserved)
{
	struct rlimit lim = { 16 * LUO_PAGE, 16 * LUO_PAGE };
	int s = luo_create_session(self->dev, "limit"), status;
	pid_t pid;

	ASSERT_LE(0, s);
	pid = fork();
	if (!pid) {
		int fd;
		char *map;

		signal(SIGBUS, on_sigbus);
		setrlimit(RLIMIT_MEMLOCK, &lim);
		if (setgid(1002) || setuid(1002))
			_exit(1);
		fd = luo_memfd("limit", 0, 64 * LUO_PAGE);
		map = map_fd(fd, 64);
		if (map == MAP_FAILED || luo_fill_fd(fd, 0, 12, 10) || luo_preserve_fd(s, fd, 1))
			_exit(2);
		if (luo_fill_fd(fd, 20, 2, 10))
			_exit(3);
		luo_fill(map + 30 * LUO_PAGE, 30, 2, 10);
		/* The sixteen are used up. Nothing appears, and nobody waits. */
		if (pwrite(fd, "x", 1, 40 * LUO_PAGE) != -1 || errno != ENOSPC)
			_exit(4);
		if (!sigsetjmp(bus, 1)) {
			map[41 * LUO_PAGE] = 1;
			_exit(5);
		}
		if (luo_blocks(fd) != 16 * 8 || luo_verify_fd(fd, 0, 12, 10) != LUO_OK ||
		    luo_verify_fd(fd, 30, 2, 10) != LUO_OK)
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("status %#x", status);
	}
	close(s);
}

LUO_TEST(stage1, other_files_are_not_taken)
{
	int s = luo_create_session(self->dev, "others"), fd, ro;
	char path[64];

	ASSERT_LE(0, s);
	fd = luo_memfd_filled("ro", 0, 1, 11);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, ro);
	/* It would come back writable. */
	EXPECT_EQ(-EPERM, luo_preserve_fd(s, ro, 1));

	mkdir("/tmp/luo_tmpfs", 0700);
	ASSERT_EQ(0, mount("none", "/tmp/luo_tmpfs", "tmpfs", 0, NULL));
	fd = open("/tmp/luo_tmpfs/file", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	unlink("/tmp/luo_tmpfs/file");
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	umount("/tmp/luo_tmpfs");

	fd = open("/dev/zero", O_RDWR);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(s);
}

/* ---- given up ---- */

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

/* With what is in the swap cache, which is not in the page cache of the file either. */
static long long swap_used_kb(void)
{
	return luo_meminfo_kb("SwapTotal") - luo_meminfo_kb("SwapFree");
}

LUO_TEST(stage1, given_up_it_is_ordinary_again)
{
	int fd = luo_memfd_filled("given-up", MFD_ALLOW_SEALING, 2048, 12), s;
	char *map = map_fd(fd, 2048);

	ASSERT_NE(MAP_FAILED, (void *)map);
	swap_on(_metadata);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(LUO_OK, luo_verify(map, 0, 2048, 12));
		ASSERT_EQ(0, madvise(map, 2048 * LUO_PAGE, MADV_PAGEOUT));
		EXPECT_LT(2048 * 4 / 2, swap_used_kb());
		s = preserve(_metadata, self->dev, "given-up", fd);
		EXPECT_EQ(LUO_OK, luo_verify(map, 0, 2048, 12));
		ASSERT_EQ(0, madvise(map, 2048 * LUO_PAGE, MADV_PAGEOUT));
		EXPECT_GT(2048 * 4 / 4, swap_used_kb());
		close(s);
	}
	ASSERT_EQ(0, ftruncate(fd, 4096 * LUO_PAGE));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LUO_PAGE));
	ASSERT_EQ(0, munmap(map, 2048 * LUO_PAGE));
	EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	luo_run("busybox swapoff -a");
}

static void before(int stage)
{
	/* Small pages unless a case asks for large ones. */
	luo_write_file(SHMEM_THP, "never");
}

int main(void)
{
	const struct luo_stages stages = { .last = 2, .before = before };

	race_pages = luo_debug_kernel() ? 2048 : 4096;
	return luo_stages_main(&stages);
}
