// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: everything a memfd is comes through a live update, bit for bit.
 *
 * Each case is made and preserved in stage 1, and in stages 2 and 3 retrieved,
 * compared byte for byte, finished and compared again; stage 2 preserves it
 * once more, so that what has been restored is seen to be as good as new.
 *
 * With luo_break=byte one byte of one preserved page is changed before the
 * kexec, with luo_break=swap two pages change places, with luo_break=seal one
 * seal too few is set: the checks of these cases have to fail then, and only
 * they.
 *
 * vm-test: name=memfd stages=3 debug-stages=2 mem=2048 debug-mem=1024 timeout=120 \
 *          append="luo_kmemleak"
 * vm-test: name=memfd_numa stages=3 mem=2048 smp=2,sockets=2 timeout=120 \
 *          kernels=plain \
 *          qemu="-object memory-backend-ram,id=n0,size=1G \
 *                -object memory-backend-ram,id=n1,size=1G \
 *                -numa node,memdev=n0,cpus=0 -numa node,memdev=n1,cpus=1"
 * vm-test: name=memfd_scratch stages=3 mem=2048 timeout=120 kernels=plain \
 *          append="kho_scratch=64M,128M,64M nokaslr"
 * vm-test: name=memfd_broken_byte stages=2 mem=2048 kernels=plain \
 *          append="luo_break=byte" expect=stage2.pages_4k
 * vm-test: name=memfd_broken_swap stages=2 mem=2048 kernels=plain \
 *          append="luo_break=swap" expect=stage2.pages_4k
 * vm-test: name=memfd_broken_seal stages=2 mem=2048 kernels=plain \
 *          append="luo_break=seal" expect=stage2.seals_all
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mempolicy.h>

#include "luo_memfd_case.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define KPF_THP		(1ULL << 22)
#define SPARSE_SIZE	(4ULL << 40)
#define SPARSE_PAGES	1000
#define WRITE_SEALS	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

static bool broken(const char *how)
{
	char val[16];

	return luo_cmdline_get("luo_break", val, sizeof(val)) && !strcmp(val, how);
}

static void *map_fd(int fd, size_t pages)
{
	return mmap(NULL, pages * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* ---- contents ---- */

MAKE(pages_4k)
{
	int fd = luo_memfd_filled("4k", 0, 3000, 11);
	unsigned char *map;

	preserve_now(_metadata, maker, fd);
	map = map_fd(fd, 3000);
	ASSERT_NE(MAP_FAILED, (void *)map);
	if (broken("byte"))
		map[1234 * LUO_PAGE + 567] ^= 0x10;
	if (broken("swap")) {
		static unsigned char tmp[LUO_PAGE];

		memcpy(tmp, map + 5 * LUO_PAGE, LUO_PAGE);
		memcpy(map + 5 * LUO_PAGE, map + 9 * LUO_PAGE, LUO_PAGE);
		memcpy(map + 9 * LUO_PAGE, tmp, LUO_PAGE);
	}
	return fd;
}

CASE(pages_4k)
{
	ASSERT_EQ(3000LL * LUO_PAGE, luo_size(fd));
	EXPECT_EQ(3000LL * 8, luo_blocks(fd));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 3000, 11));
}

#define HUGE_NR		8
#define HUGE_PAGES	(HUGE_NR * (LUO_HUGE / LUO_PAGE))

static int huge_folios(int fd, size_t nr)
{
	char *map = mmap(NULL, (nr + 1) * LUO_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)map + LUO_HUGE - 1) & ~(LUO_HUGE - 1));
	int huge = 0;

	mmap(at, nr * LUO_HUGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	for (size_t i = 0; i < nr; i++) {
		uint64_t pfn;

		(void)*(volatile char *)(at + i * LUO_HUGE);
		pfn = luo_pfn_of(at + i * LUO_HUGE);
		huge += pfn && !(pfn % 512) && (luo_kpageflags(pfn) & KPF_THP);
	}
	munmap(map, (nr + 1) * LUO_HUGE);
	return huge;
}

MAKE(folios_2m)
{
	int fd;

	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	fd = luo_memfd_filled("2m", 0, HUGE_PAGES, 12);
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	EXPECT_EQ(HUGE_NR, huge_folios(fd, HUGE_NR));
	return fd;
}

CASE(folios_2m)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, HUGE_PAGES, 12));
	EXPECT_EQ(HUGE_NR, huge_folios(fd, HUGE_NR));
	EXPECT_EQ((long long)HUGE_PAGES * 8, luo_blocks(fd));
}

/* Folios of both kinds, a huge one with a hole in it, a ragged end. */
MAKE(folios_mixed)
{
	int fd;

	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	fd = luo_memfd_filled("mixed", 0, 1024, 13);
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 1100 * LUO_PAGE + 10));
	ASSERT_EQ(0, luo_fill_fd(fd, 1024, 76, 13));
	ASSERT_EQ(10, pwrite(fd, "ragged end", 10, 1100 * LUO_PAGE));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 600 * LUO_PAGE,
			       3 * LUO_PAGE));
	return fd;
}

CASE(folios_mixed)
{
	char buf[32] = { 0 };

	EXPECT_EQ(1100LL * LUO_PAGE + 10, luo_size(fd));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 600, 13));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 600, 3));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 603, 1100 - 603, 13));
	EXPECT_EQ(10, pread(fd, buf, sizeof(buf), 1100 * LUO_PAGE));
	EXPECT_STREQ("ragged end", buf);
	EXPECT_EQ(1, huge_folios(fd, 1));
}

/* ---- holes ---- */

static uint64_t sparse_page(int i)
{
	uint64_t last = SPARSE_SIZE / LUO_PAGE - 1;

	/* Both ends, and strides that fall on every level of a radix tree. */
	if (i == SPARSE_PAGES - 1)
		return last;
	return i * (last / SPARSE_PAGES) + i * 37 % 1000;
}

MAKE(sparse_4tib)
{
	int fd = luo_memfd("sparse", 0, SPARSE_SIZE);

	ASSERT_LE(0, fd);
	for (int i = 0; i < SPARSE_PAGES; i++)
		ASSERT_EQ(0, luo_fill_fd(fd, sparse_page(i), 1, 14));
	ASSERT_EQ(SPARSE_PAGES * 8LL, luo_blocks(fd));
	return fd;
}

CASE(sparse_4tib)
{
	off_t at = 0;

	ASSERT_EQ((long long)SPARSE_SIZE, luo_size(fd));
	EXPECT_EQ(SPARSE_PAGES * 8LL, luo_blocks(fd));
	for (int i = 0; i < SPARSE_PAGES; i++) {
		off_t want = sparse_page(i) * LUO_PAGE;

		at = lseek(fd, at, SEEK_DATA);
		ASSERT_EQ(want, at) {
			TH_LOG("data %d", i);
		}
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, sparse_page(i), 1, 14));
		at = lseek(fd, at, SEEK_HOLE);
		ASSERT_EQ(want + (off_t)LUO_PAGE, at);
	}
	EXPECT_EQ(-1, lseek(fd, at, SEEK_DATA));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(0, lseek(fd, 0, SEEK_SET));
	EXPECT_EQ(SPARSE_PAGES * 8LL, luo_blocks(fd));
}

MAKE(empty_file)
{
	return luo_memfd("empty", 0, 0);
}

CASE(empty_file)
{
	EXPECT_EQ(0, luo_size(fd));
	EXPECT_EQ(0, luo_blocks(fd));
}

MAKE(only_a_hole)
{
	return luo_memfd("hole", 0, 100 * LUO_PAGE + 1);
}

CASE(only_a_hole)
{
	EXPECT_EQ(100LL * LUO_PAGE + 1, luo_size(fd));
	EXPECT_EQ(0, luo_blocks(fd));
	EXPECT_EQ(100LL * LUO_PAGE + 1, lseek(fd, 0, SEEK_HOLE) ? -1 : lseek(fd, 0, SEEK_END));
	EXPECT_EQ(0, lseek(fd, 0, SEEK_SET));
}

/* Allocated, never written: the space stays taken, and reads as zeros. */
MAKE(fallocated)
{
	int fd = luo_memfd("fallocated", 0, 0);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fallocate(fd, 0, 0, 512 * LUO_PAGE));
	for (int i = 0; i < 512; i += 64)
		ASSERT_EQ(0, luo_fill_fd(fd, i, 1, 15));
	return fd;
}

CASE(fallocated)
{
	EXPECT_EQ(512LL * 8, luo_blocks(fd));
	for (int i = 0; i < 512; i += 64) {
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, i, 1, 15));
		ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, i + 1, 63));
	}
	EXPECT_EQ(512LL * 8, luo_blocks(fd));
}

/* Pages that were fallocated when preserved and are written after that. */
MAKE(fallocated_written_later)
{
	int fd = luo_memfd("fallocated", 0, 0);
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fallocate(fd, 0, 0, 256 * LUO_PAGE));
	preserve_now(_metadata, maker, fd);
	ASSERT_EQ(0, luo_fill_fd(fd, 0, 32, 16));
	map = map_fd(fd, 256);
	ASSERT_NE(MAP_FAILED, (void *)map);
	luo_fill(map + 64 * LUO_PAGE, 64, 32, 16);
	/* Parts of pages, by write and by mapping; the rest must read as zeros. */
	ASSERT_EQ(5, pwrite(fd, "parts", 5, 128 * LUO_PAGE + 100));
	memcpy(map + 129 * LUO_PAGE + 200, "parts", 5);
	return fd;
}

static void check_part(struct __test_metadata *_metadata, int fd, int page, int off)
{
	char buf[LUO_PAGE], want[LUO_PAGE] = { 0 };

	memcpy(want + off, "parts", 5);
	ASSERT_EQ((ssize_t)LUO_PAGE, pread(fd, buf, LUO_PAGE, page * LUO_PAGE));
	EXPECT_EQ(0, memcmp(buf, want, LUO_PAGE));
}

CASE(fallocated_written_later)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 32, 16));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 32, 32));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 64, 32, 16));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 96, 32));
	check_part(_metadata, fd, 128, 100);
	check_part(_metadata, fd, 129, 200);
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 130, 126));
	EXPECT_EQ(256LL * 8, luo_blocks(fd));
}

/* Pages that were holes when preserved and come into being after that. */
MAKE(holes_filled_later)
{
	int fd = luo_memfd("holes", 0, 4096 * LUO_PAGE);
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_fill_fd(fd, 0, 8, 17));
	preserve_now(_metadata, maker, fd);
	/* More of them than one page of records can name. */
	ASSERT_EQ(0, luo_fill_fd(fd, 100, 700, 17));
	map = map_fd(fd, 4096);
	ASSERT_NE(MAP_FAILED, (void *)map);
	luo_fill(map + 2000 * LUO_PAGE, 2000, 500, 17);
	for (int i = 3000; i < 4000; i += 10)
		luo_fill(map + i * LUO_PAGE, i, 1, 17);
	ASSERT_EQ(5, pwrite(fd, "parts", 5, 1000 * LUO_PAGE + 7));
	memcpy(map + 1001 * LUO_PAGE + 9, "parts", 5);
	/* What is read only may stay a hole or not, but reads as zeros for ever. */
	ASSERT_EQ(0, *(volatile char *)(map + 1500 * LUO_PAGE));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 100, 700, 17));
	return fd;
}

CASE(holes_filled_later)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 8, 17));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 8, 92));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 100, 700, 17));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 800, 200));
	check_part(_metadata, fd, 1000, 7);
	check_part(_metadata, fd, 1001, 9);
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 1002, 998));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 2000, 500, 17));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 2500, 500));
	for (int i = 3000; i < 4000; i += 10) {
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, i, 1, 17));
		ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, i + 1, 9));
	}
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 4000, 96));
}

/* A hole filled with huge pages on: what comes in late may be large. */
MAKE(holes_filled_with_huge)
{
	int fd = luo_memfd("late-huge", 0, 4 * LUO_HUGE);

	preserve_now(_metadata, maker, fd);
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	ASSERT_EQ(0, luo_fill_fd(fd, 0, 1024, 18));
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	return fd;
}

CASE(holes_filled_with_huge)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 1024, 18));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 1024, 1024));
}

/* ---- writes after preserving ---- */

MAKE(shared_mapping)
{
	int fd = luo_memfd_filled("shared", 0, 512, 1), go[2];
	char *map, c;
	pid_t pid;

	ASSERT_LE(0, fd);
	map = map_fd(fd, 512);
	ASSERT_NE(MAP_FAILED, (void *)map);
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		(void)!read(go[0], &c, 1);
		luo_fill(map + 256 * LUO_PAGE, 256, 256, 19);
		_exit(0);
	}
	preserve_now(_metadata, maker, fd);
	/* One half by this process, the other by a second one, both mapped before. */
	luo_fill(map, 0, 256, 19);
	ASSERT_EQ(1, write(go[1], "g", 1));
	waitpid(pid, NULL, 0);
	return fd;
}

CASE(shared_mapping)
{
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 512, 19));
}

/* ---- what else a file is ---- */

MAKE(position)
{
	int fd = luo_memfd_filled("pos", 0, 4, 20);

	ASSERT_EQ(12345, lseek(fd, 12345, SEEK_SET));
	return fd;
}

CASE(position)
{
	EXPECT_EQ(12345, lseek(fd, 0, SEEK_CUR));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 4, 20));
}

MAKE(position_far)
{
	int fd = luo_memfd("pos", 0, LUO_PAGE);

	/* Moved after it was preserved, and beyond the end. */
	preserve_now(_metadata, maker, fd);
	ASSERT_EQ(1LL << 41, lseek(fd, 1LL << 41, SEEK_SET));
	return fd;
}

CASE(position_far)
{
	EXPECT_EQ(1LL << 41, lseek(fd, 0, SEEK_CUR));
}

MAKE(size_odd)
{
	int fd = luo_memfd_filled("odd", 0, 3, 21);

	ASSERT_EQ(0, ftruncate(fd, 2 * LUO_PAGE + 17));
	return fd;
}

CASE(size_odd)
{
	EXPECT_EQ(2LL * LUO_PAGE + 17, luo_size(fd));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 2, 21));
}

/* ---- seals ---- */

#define SEAL_CASE(name, seals)						\
	MAKE(seals_##name)						\
	{								\
		int fd = luo_memfd_filled("seal", MFD_ALLOW_SEALING, 4, 22); \
		int set = (seals) & ~(broken("seal") ? F_SEAL_GROW : 0);\
									\
		ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, set));		\
		return fd;						\
	}								\
	CASE(seals_##name)						\
	{								\
		EXPECT_EQ((seals), fcntl(fd, F_GET_SEALS));		\
		ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 4, 22));		\
		if ((seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {	\
			EXPECT_EQ(-1, pwrite(fd, "x", 1, 0));		\
			EXPECT_EQ(EPERM, errno);			\
		}							\
		if ((seals) & F_SEAL_SEAL) {				\
			EXPECT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)); \
			EXPECT_EQ(EPERM, errno);			\
		}							\
	}

SEAL_CASE(none, 0)
SEAL_CASE(shrink, F_SEAL_SHRINK)
SEAL_CASE(write, F_SEAL_WRITE)
SEAL_CASE(future, F_SEAL_FUTURE_WRITE)
SEAL_CASE(seal, F_SEAL_SEAL)
SEAL_CASE(all, F_SEAL_SEAL | WRITE_SEALS)

/* Made without MFD_ALLOW_SEALING: nobody can seal it, then or now. */
MAKE(seals_not_allowed)
{
	return luo_memfd_filled("noseal", 0, 1, 23);
}

CASE(seals_not_allowed)
{
	EXPECT_EQ(F_SEAL_SEAL, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	EXPECT_EQ(EPERM, errno);
}

static unsigned int mode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_mode & 07777;
}

/* F_SEAL_EXEC alone: the file cannot be executed, and no write seal may come of it. */
MAKE(exec_sealed_noexec)
{
	int fd = luo_memfd_filled("noexec", MFD_NOEXEC_SEAL, 4, 24);

	EXPECT_EQ(0666U, mode_of(fd));
	EXPECT_EQ(F_SEAL_EXEC, fcntl(fd, F_GET_SEALS));
	return fd;
}

CASE(exec_sealed_noexec)
{
	char buf[8];

	EXPECT_EQ(F_SEAL_EXEC, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(0666U, mode_of(fd));
	EXPECT_EQ(-1, fchmod(fd, 0777));
	EXPECT_EQ(EPERM, errno);
	/* Writing is free. */
	EXPECT_EQ(8, pread(fd, buf, 8, 0));
	EXPECT_EQ(8, pwrite(fd, buf, 8, 0));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 4, 24));
}

/* Sealed while executable: that implies the write seals, and the mode stays. */
MAKE(exec_sealed_exec)
{
	int fd = luo_memfd_filled("exec", MFD_ALLOW_SEALING | MFD_EXEC, 4, 25);

	EXPECT_EQ(0777U, mode_of(fd));
	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_EXEC));
	EXPECT_EQ(F_SEAL_EXEC | WRITE_SEALS, fcntl(fd, F_GET_SEALS));
	return fd;
}

CASE(exec_sealed_exec)
{
	EXPECT_EQ(F_SEAL_EXEC | WRITE_SEALS, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(0777U, mode_of(fd));
	EXPECT_EQ(-1, fchmod(fd, 0666));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 4, 25));
}

MAKE(exec_unsealed)
{
	return luo_memfd_filled("exec", MFD_ALLOW_SEALING | MFD_EXEC, 1, 26);
}

CASE(exec_unsealed)
{
	EXPECT_EQ(0, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(0777U, mode_of(fd));
}

/* ---- after the jump ---- */

MAKE(ordinary_file)
{
	return luo_memfd_filled("ordinary", MFD_ALLOW_SEALING, 64, 28);
}

/* A retrieved memfd can be grown, cut, punched, mapped and sealed like any other. */
CASE(ordinary_file)
{
	char *map;

	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 64, 28));
	ASSERT_EQ(0, ftruncate(fd, 128 * LUO_PAGE));
	ASSERT_EQ(LUO_OK, luo_verify_zero_fd(fd, 64, 64));
	ASSERT_EQ(0, luo_fill_fd(fd, 64, 64, 29));
	map = map_fd(fd, 128);
	ASSERT_NE(MAP_FAILED, (void *)map);
	EXPECT_EQ(LUO_OK, luo_verify(map, 0, 64, 28));
	EXPECT_EQ(LUO_OK, luo_verify(map + 64 * LUO_PAGE, 64, 64, 29));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8 * LUO_PAGE));
	EXPECT_EQ(120LL * 8, luo_blocks(fd));
	EXPECT_EQ(LUO_OK, luo_verify_zero_fd(fd, 0, 8));
	luo_fill(map, 0, 8, 28);
	ASSERT_EQ(0, madvise(map, 128 * LUO_PAGE, MADV_PAGEOUT));
	EXPECT_EQ(LUO_OK, luo_verify(map, 0, 64, 28));
	munmap(map, 128 * LUO_PAGE);
	ASSERT_EQ(0, ftruncate(fd, 64 * LUO_PAGE));
	EXPECT_EQ(64LL * 8, luo_blocks(fd));
	ASSERT_EQ(LUO_OK, luo_verify_fd(fd, 0, 64, 28));
}

static void before(int stage)
{
	unsigned long nodes = 3;

	/* Small pages unless a case asks for large ones. */
	luo_write_file(SHMEM_THP, "never");
	/* With two nodes, every file has pages on both. */
	if (!access("/sys/devices/system/node/node1", F_OK) &&
	    syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &nodes, 8 * sizeof(nodes)))
		luo_note("no interleaving: %d", errno);
}

static int next(int stage)
{
	return luo_kexec_next(NULL, NULL);
}

int main(void)
{
	int last = luo_cmdline_get("luo_break", NULL, 0) ? 2 : 3;
	const struct luo_stages stages = { .last = last, .before = before, .next = next };

	return luo_stages_main(&stages);
}
