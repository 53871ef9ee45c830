// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: hugetlb memfds come through live updates, and at every step the counters of
 * their pool add up.
 *
 * The cases of a stage run in the order in which they stand here, and each says what
 * it leaves of the pool. Stage 1 fills files and preserves them; stage 2, with a pool
 * of the same size, retrieves, compares and preserves them again; stage 3, with a pool
 * that is smaller than what is preserved, does the first two and lets go of them.
 * Stages 1 and 3 optimise the memmap of huge pages, stage 2 does not.
 *
 * With luo_break=byte one byte is changed after the content was computed.
 *
 * vm-test: name=hugetlb stages=3 mem=1024 timeout=90 \
 *          append="hugepagesz=2M hugepages=24 hugetlb_free_vmemmap=on luo_kmemleak"
 * vm-test: name=hugetlb_numa stages=2 mem=1024 smp=2,sockets=2 timeout=90 kernels=plain \
 *          append="hugepagesz=2M hugepages=0:4,1:20 hugetlb_free_vmemmap=on luo_last=2" \
 *          qemu="-object memory-backend-ram,id=n0,size=512M \
 *                -object memory-backend-ram,id=n1,size=512M \
 *                -numa node,memdev=n0,cpus=0 -numa node,memdev=n1,cpus=1"
 * vm-test: name=hugetlb_broken_byte stages=2 mem=1024 kernels=plain expect=stage2.content \
 *          append="hugepagesz=2M hugepages=24 hugetlb_free_vmemmap=on luo_break=byte luo_last=2"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_inject.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	0x0004U
#endif
#define MFD_HUGE	(MFD_HUGETLB | 21U << 26)
#define PER_HUGE	(LUO_HUGE / LUO_PAGE)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define NODE(n)		"/sys/devices/system/node/node" #n "/hugepages/hugepages-2048kB/"
#define CG		"/sys/fs/cgroup"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static bool broken(const char *how)
{
	char val[16];

	return luo_cmdline_get("luo_break", val, sizeof(val)) && !strcmp(val, how);
}

static bool numa(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

#define EXPECT_POOL(total, free, rsvd, surplus)						\
	do {										\
		EXPECT_EQ(total, luo_file_num(POOL "nr_hugepages"));			\
		EXPECT_EQ(free, luo_file_num(POOL "free_hugepages"));			\
		EXPECT_EQ(rsvd, luo_file_num(POOL "resv_hugepages"));			\
		EXPECT_EQ(surplus, luo_file_num(POOL "surplus_hugepages"));		\
	} while (0)

/* Pages of the memmap of all memory. */
static long long memmap_pages(void)
{
	static char buf[32768];
	long long sum = 0;
	const char * const names[] = { "nr_memmap_pages ", "nr_memmap_boot_pages " };

	if (luo_read_file("/proc/vmstat", buf, sizeof(buf)) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		char *at = strstr(buf, names[i]);

		sum += at ? strtoll(at + strlen(names[i]), NULL, 10) : 0;
	}
	return sum;
}

static void *map_fd(int fd, size_t huge, int flags)
{
	return mmap(NULL, huge * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
}

/* Fill a huge page, without a reservation for its neighbours. */
static int fill(int fd, size_t nr, uint64_t seed)
{
	char *map = mmap(NULL, LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			 nr * LUO_HUGE);

	if (map == MAP_FAILED)
		return -errno;
	luo_fill(map, nr * PER_HUGE, PER_HUGE, seed);
	munmap(map, LUO_HUGE);
	return 0;
}

static long verify(int fd, size_t nr, uint64_t seed)
{
	char *map = mmap(NULL, LUO_HUGE, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, nr * LUO_HUGE);
	long ret;

	if (map == MAP_FAILED)
		return -2;
	ret = luo_verify(map, nr * PER_HUGE, PER_HUGE, seed);
	munmap(map, LUO_HUGE);
	return ret;
}

static int huge_file(const char *name, unsigned int flags, size_t huge)
{
	return luo_memfd(name, MFD_HUGE | flags, huge * LUO_HUGE);
}

static int preserve(struct __test_metadata *_metadata, int dev, const char *name, int fd)
{
	int s = luo_create_session(dev, name);

	EXPECT_LE(0, s);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, luo_preserve_fd(s, fd, 1));
	return s;
}

/* Retrieves, finishes, and gives the session to be filled again, or -1. */
static int retrieve(struct __test_metadata *_metadata, int dev, const char *name, int *sp)
{
	int s = luo_retrieve_session(dev, name), fd;

	EXPECT_LE(0, s);
	fd = luo_retrieve_fd(s, 1);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, luo_finish(s));
	if (sp)
		*sp = s;
	else
		close(s);
	return fd;
}

static sigjmp_buf bus_jump;

static void on_bus(int sig)
{
	siglongjmp(bus_jump, 1);
}

/* Can the byte be touched? */
static bool touch(volatile char *at)
{
	bool ok = false;

	signal(SIGBUS, on_bus);
	if (!sigsetjmp(bus_jump, 1)) {
		*at = 1;
		ok = true;
	}
	signal(SIGBUS, SIG_DFL);
	return ok;
}

/* ---- stage 1: 24 pages, preserved are 16 ---- */

LUO_TEST(stage1, pool_at_boot)
{
	EXPECT_EQ(1, luo_file_num("/proc/sys/vm/hugetlb_optimize_vmemmap"));
	EXPECT_POOL(24, 24, 0, 0);
}

LUO_TEST(stage1, content)
{
	int fd = huge_file("content", 0, 3), s;
	char *map;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, fill(fd, i, 1));
	s = preserve(_metadata, self->dev, "content", fd);
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, fd, 2));
	if (broken("byte")) {
		map = map_fd(fd, 3, 0);
		map[LUO_HUGE + 12345] ^= 1;
	}
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(24, 21, 0, 0);
}

/* Neither memory nor a place in the file is taken by what is not there. */
LUO_TEST(stage1, holes)
{
	int fd = huge_file("holes", 0, 16);

	ASSERT_EQ(0, fill(fd, 1, 2));
	ASSERT_EQ(0, fill(fd, 5, 2));
	ASSERT_EQ(0, fill(fd, 15, 2));
	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "holes", fd)));
	EXPECT_POOL(24, 18, 0, 0);
}

LUO_TEST(stage1, seals_and_position)
{
	int fd = huge_file("seals", MFD_NOEXEC_SEAL, 1), s;

	ASSERT_EQ(0, fill(fd, 0, 3));
	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	s = preserve(_metadata, self->dev, "seals", fd);
	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_FUTURE_WRITE));
	ASSERT_EQ(12345, lseek(fd, 12345, SEEK_SET));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(24, 17, 0, 0);
}

LUO_TEST(stage1, pages_that_come_late)
{
	int fd = huge_file("late", 0, 8), s;

	ASSERT_EQ(0, fill(fd, 0, 4));
	s = preserve(_metadata, self->dev, "late", fd);
	ASSERT_EQ(0, fill(fd, 3, 4));
	ASSERT_EQ(0, fill(fd, 7, 4));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(24, 14, 0, 0);
}

LUO_TEST(stage1, reservations)
{
	int fd = huge_file("reserved", 0, 4);
	char *map = map_fd(fd, 4, 0);

	ASSERT_NE(MAP_FAILED, (void *)map);
	luo_fill(map, 0, PER_HUGE, 5);
	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "reserved", fd)));
	EXPECT_POOL(24, 13, 3, 0);
}

/* What would change a preserved file is refused, until it is not preserved any more. */
LUO_TEST(stage1, fixed_while_preserved)
{
	int fd = huge_file("fixed", 0, 3), s;
	void *more = NULL;
	char *map;

	ASSERT_EQ(0, fill(fd, 0, 6));
	s = preserve(_metadata, self->dev, "fixed", fd);
	map = mmap(NULL, LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (int preserved = 1; preserved >= 0; preserved--) {
		int want = preserved ? -1 : 0;

		errno = EPERM;
		EXPECT_EQ(want, madvise(map, LUO_HUGE, MADV_REMOVE));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(want, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					  LUO_HUGE));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(want, fallocate(fd, 0, 0, LUO_HUGE));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(want, ftruncate(fd, 2 * LUO_HUGE));
		EXPECT_EQ(EPERM, errno);
		more = map_fd(fd, 4, MAP_NORESERVE);
		EXPECT_EQ(preserved, more == MAP_FAILED);
		EXPECT_EQ(EPERM, errno);
		if (!preserved)
			break;
		EXPECT_EQ(3LL * LUO_HUGE, luo_size(fd));
		EXPECT_EQ(LUO_OK, verify(fd, 0, 6));
		close(s);
	}
	EXPECT_EQ(4LL * LUO_HUGE, luo_size(fd));
	munmap(map, LUO_HUGE);
	munmap(more, 4 * LUO_HUGE);
	close(fd);
	EXPECT_POOL(24, 13, 3, 0);
}

/* A file that is given up again leaves no trace. */
LUO_TEST(stage1, unpreserved)
{
	int fd = huge_file("unpreserved", 0, 2), s;

	ASSERT_EQ(0, fill(fd, 1, 7));
	s = preserve(_metadata, self->dev, "unpreserved", fd);
	close(fd);
	EXPECT_POOL(24, 12, 3, 0);
	close(s);
	EXPECT_POOL(24, 13, 3, 0);
}

static int file_of(const char *name, size_t huge, uint64_t seed)
{
	int fd = huge_file(name, 0, huge);

	for (size_t i = 0; fd >= 0 && i < huge; i++)
		fill(fd, i, seed);
	return fd;
}

LUO_TEST(stage1, never_retrieved)
{
	int fd = file_of("gone", 2, 8);

	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "gone", fd)));
}

LUO_TEST(stage1, never_claimed)
{
	int fd = file_of("left", 1, 9);

	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "left", fd)));
}

LUO_TEST(stage1, charged_to_who_retrieves)
{
	int fd = file_of("cgroup", 2, 10);

	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "cgroup", fd)));
}

LUO_TEST(stage1, every_allocation_may_fail)
{
	int fd = file_of("nth", 2, 11), s, ret;

	if (luo_debug_kernel()) {
		inject_setup();
		for_each_failure(nth) {
			s = luo_create_session(self->dev, "nth");
			ASSERT_LE(0, s);
			inject(nth);
			ret = luo_preserve_fd(s, fd, 1);
			inject_count(ret);
			if (ret) {
				ASSERT_EQ(-ENOMEM, ret);
				/* Not preserved, so its size can change. */
				ASSERT_EQ(0, ftruncate(fd, 3 * LUO_HUGE));
				ASSERT_EQ(0, ftruncate(fd, 2 * LUO_HUGE));
			}
			close(s);
		}
		EXPECT_LT(2, inject_failures);
		luo_note("PRESERVE_FD failed %d times", inject_failures);
	}
	ASSERT_EQ(0, luo_keep(preserve(_metadata, self->dev, "nth", fd)));
}

/* A page that cannot be recorded does not get in, and its place stays free for one that can. */
LUO_TEST(stage1, late_page_without_memory)
{
	int fd = huge_file("nomem", 0, 1), s = -1;
	bool ok;

	if (!luo_debug_kernel())
		return;
	inject_setup();
	for_each_failure(nth) {
		char *map = map_fd(fd, 1, MAP_NORESERVE);

		ASSERT_NE(MAP_FAILED, (void *)map);
		s = preserve(_metadata, self->dev, "nomem", fd);
		inject(nth);
		ok = touch(map);
		inject_count(ok ? 0 : -1);
		if (!ok) {
			EXPECT_EQ(0, luo_blocks(fd));
			ASSERT_EQ(true, touch(map));
		}
		EXPECT_EQ((long long)LUO_HUGE / 512, luo_blocks(fd));
		munmap(map, LUO_HUGE);
		close(s);
		ASSERT_EQ(0, ftruncate(fd, 0));
		ASSERT_EQ(0, ftruncate(fd, LUO_HUGE));
	}
	EXPECT_LT(0, inject_failures);
	luo_note("a page fault failed %d times", inject_failures);
}

LUO_TEST(stage1, pool_before_kexec)
{
	EXPECT_POOL(24, 6, 3, 0);
}

/* ---- stage 2: the same pool; of 18 pages preserved, 5 are let go ---- */

LUO_TEST(stage2, pool_before_anything_is_retrieved)
{
	EXPECT_EQ(0, luo_file_num("/proc/sys/vm/hugetlb_optimize_vmemmap"));
	EXPECT_POOL(24, 6, 0, 0);
	if (numa()) {
		EXPECT_EQ(4, luo_file_num(NODE(0) "nr_hugepages"));
		EXPECT_EQ(20, luo_file_num(NODE(1) "nr_hugepages"));
	}
}

static void check_content(struct __test_metadata *_metadata, int fd)
{
	ASSERT_EQ(3LL * LUO_HUGE, luo_size(fd));
	ASSERT_EQ(3LL * LUO_HUGE / 512, luo_blocks(fd));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(LUO_OK, verify(fd, i, 1));
}

LUO_TEST(stage2, content)
{
	int s, fd = retrieve(_metadata, self->dev, "content", &s);

	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(24, 6, 0, 0);
	check_content(_metadata, fd);
}

static void check_holes(struct __test_metadata *_metadata, int fd)
{
	ASSERT_EQ(16LL * LUO_HUGE, luo_size(fd));
	ASSERT_EQ(3LL * LUO_HUGE / 512, luo_blocks(fd));
	ASSERT_EQ(LUO_OK, verify(fd, 1, 2));
	ASSERT_EQ(LUO_OK, verify(fd, 5, 2));
	ASSERT_EQ(LUO_OK, verify(fd, 15, 2));
	ASSERT_EQ(3LL * LUO_HUGE / 512, luo_blocks(fd));
}

LUO_TEST(stage2, holes)
{
	int s, fd = retrieve(_metadata, self->dev, "holes", &s);

	check_holes(_metadata, fd);
	/* A hole is filled as ever, and empty again after that. */
	ASSERT_EQ(0, fill(fd, 9, 2));
	EXPECT_POOL(24, 5, 0, 0);
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 9 * LUO_HUGE,
			       LUO_HUGE));
	EXPECT_POOL(24, 6, 0, 0);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
}

static void check_seals(struct __test_metadata *_metadata, int fd)
{
	struct stat st;

	EXPECT_EQ(F_SEAL_EXEC | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE,
		  fcntl(fd, F_GET_SEALS));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0666, (int)(st.st_mode & 07777));
	EXPECT_EQ(12345, lseek(fd, 0, SEEK_CUR));
	ASSERT_EQ(LUO_OK, verify(fd, 0, 3));
}

LUO_TEST(stage2, seals_and_position)
{
	int s, fd = retrieve(_metadata, self->dev, "seals", &s);

	check_seals(_metadata, fd);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(24, 6, 0, 0);
}

static void check_late(struct __test_metadata *_metadata, int fd)
{
	ASSERT_EQ(3LL * LUO_HUGE / 512, luo_blocks(fd));
	ASSERT_EQ(LUO_OK, verify(fd, 0, 4));
	ASSERT_EQ(LUO_OK, verify(fd, 3, 4));
	ASSERT_EQ(LUO_OK, verify(fd, 7, 4));
}

LUO_TEST(stage2, pages_that_come_late)
{
	int s, fd = retrieve(_metadata, self->dev, "late", &s);

	check_late(_metadata, fd);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_POOL(24, 6, 0, 0);
}

LUO_TEST(stage2, reservations)
{
	int s, fd = retrieve(_metadata, self->dev, "reserved", &s);

	/* Before there is a mapping. */
	EXPECT_POOL(24, 6, 3, 0);
	ASSERT_NE(MAP_FAILED, map_fd(fd, 4, 0));
	EXPECT_POOL(24, 6, 3, 0);
	ASSERT_EQ(LUO_OK, verify(fd, 0, 5));
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
}

static long long charged(const char *group, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), CG "/%s/hugetlb.2MB.%s", group, what);
	return luo_file_num(path);
}

/* All or nothing, and a cgroup that is too small is no reason to lose the file. */
LUO_TEST(stage2, charged_to_who_retrieves)
{
	int s = luo_retrieve_session(self->dev, "cgroup"), fd;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_write_file(CG "/cgroup.subtree_control", "+hugetlb"));
	mkdir(CG "/small", 0755);
	mkdir(CG "/large", 0755);
	ASSERT_EQ(0, luo_write_file(CG "/small/hugetlb.2MB.max", "2M"));
	ASSERT_EQ(0, luo_write_file(CG "/small/cgroup.procs", "0"));
	EXPECT_EQ(-ENOMEM, luo_retrieve_fd(s, 1));
	EXPECT_EQ(0, charged("small", "current"));
	EXPECT_EQ(0, charged("small", "rsvd.current"));
	ASSERT_EQ(0, luo_write_file(CG "/large/cgroup.procs", "0"));
	EXPECT_EQ(0, rmdir(CG "/small"));
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2LL * LUO_HUGE, charged("large", "current"));
	EXPECT_EQ(2LL * LUO_HUGE, charged("large", "rsvd.current"));
	ASSERT_EQ(0, luo_finish(s));
	ASSERT_EQ(LUO_OK, verify(fd, 0, 10));
	ASSERT_EQ(LUO_OK, verify(fd, 1, 10));
	EXPECT_EQ(2LL * LUO_HUGE, charged("large", "current"));
	close(fd);
	EXPECT_EQ(0, charged("large", "current"));
	EXPECT_EQ(0, charged("large", "rsvd.current"));
	ASSERT_EQ(0, luo_write_file(CG "/cgroup.procs", "0"));
	EXPECT_EQ(0, rmdir(CG "/large"));
	EXPECT_POOL(24, 8, 3, 0);
}

/* Its pages were counted in the pool all the time, and are free now. */
LUO_TEST(stage2, never_retrieved)
{
	int s = luo_retrieve_session(self->dev, "gone");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_POOL(24, 10, 3, 0);
}

LUO_TEST(stage2, every_allocation_may_fail)
{
	int s = luo_retrieve_session(self->dev, "nth"), fd = -1;

	ASSERT_LE(0, s);
	if (luo_debug_kernel()) {
		inject_setup();
		for_each_failure(nth) {
			inject(nth);
			fd = luo_retrieve_fd(s, 1);
			inject_count(fd);
			if (fd >= 0)
				break;
			ASSERT_EQ(-ENOMEM, fd);
		}
		/* It ends with the first allocation that retrieving can do without. */
		EXPECT_LT(0, inject_failures);
		luo_note("RETRIEVE_FD failed %d times", inject_failures);
	} else {
		fd = luo_retrieve_fd(s, 1);
	}
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_finish(s));
	ASSERT_EQ(LUO_OK, verify(fd, 0, 11));
	ASSERT_EQ(LUO_OK, verify(fd, 1, 11));
	close(fd);
	EXPECT_POOL(24, 12, 3, 0);
}

LUO_TEST(stage2, pool_before_kexec)
{
	/* One page is nobody's: the session "left" was not claimed. */
	EXPECT_POOL(24, 12, 3, 0);
}

/* ---- stage 3: a pool of 4, and 11 pages preserved ---- */

LUO_TEST(stage3, pool_is_smaller_than_what_is_preserved)
{
	EXPECT_EQ(!luo_debug_kernel(), luo_file_num("/proc/sys/vm/hugetlb_optimize_vmemmap"));
	EXPECT_POOL(11, 0, 0, 7);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "left"));
}

LUO_TEST(stage3, content)
{
	long long before = memmap_pages();
	int fd = retrieve(_metadata, self->dev, "content", NULL);

	/* The memmap of a huge page has 8 pages, of which one is enough. */
	EXPECT_EQ(before - (luo_debug_kernel() ? 0 : 3 * 7), memmap_pages());
	EXPECT_POOL(11, 0, 0, 7);
	check_content(_metadata, fd);
	close(fd);
	/* Surplus: not to the pool but to the buddy allocator, with the whole memmap, soon. */
	for (int i = 0; i < 100 && memmap_pages() != before; i++)
		usleep(20000);
	EXPECT_EQ(before, memmap_pages());
	EXPECT_POOL(8, 0, 0, 4);
}

LUO_TEST(stage3, holes)
{
	int fd = retrieve(_metadata, self->dev, "holes", NULL);

	check_holes(_metadata, fd);
	close(fd);
	EXPECT_POOL(5, 0, 0, 1);
}

LUO_TEST(stage3, seals_and_position)
{
	int fd = retrieve(_metadata, self->dev, "seals", NULL);

	check_seals(_metadata, fd);
	close(fd);
	EXPECT_POOL(4, 0, 0, 0);
}

LUO_TEST(stage3, pages_that_come_late)
{
	int fd = retrieve(_metadata, self->dev, "late", NULL);

	check_late(_metadata, fd);
	close(fd);
	EXPECT_POOL(4, 3, 0, 0);
}

LUO_TEST(stage3, reservations)
{
	int fd = retrieve(_metadata, self->dev, "reserved", NULL);

	EXPECT_POOL(4, 3, 3, 0);
	ASSERT_EQ(LUO_OK, verify(fd, 0, 5));
	close(fd);
	EXPECT_POOL(4, 4, 0, 0);
}

LUO_TEST(stage3, pool_can_be_emptied)
{
	ASSERT_EQ(0, luo_write_file(POOL "nr_hugepages", "0"));
	EXPECT_POOL(0, 0, 0, 0);
}

static int next(int stage)
{
	static const char * const changes[] = {
		"-hugetlb_free_vmemmap hugetlb_free_vmemmap=off",
		"-hugetlb_free_vmemmap hugetlb_free_vmemmap=on -hugepagesz -hugepages hugepagesz=2M hugepages=4",
	};

	/*
	 * 6.12.117 leaves wrong struct pages behind when it frees a huge page whose memmap
	 * was optimized, with or without live update. DEBUG_VM sees it: "Bad page state".
	 */
	if (stage == 2 && luo_debug_kernel())
		return luo_kexec_next(NULL, "-hugepagesz -hugepages hugepagesz=2M hugepages=4");
	return luo_kexec_next(NULL, changes[stage - 1]);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
