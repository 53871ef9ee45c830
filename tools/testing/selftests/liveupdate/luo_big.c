// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: half of the machine in 4K pages goes over, and every byte is there.
 *
 * 1 GiB in a guest of 2 GiB; a quarter of that on the debug kernel. What is preserved may
 * lie anywhere, also where the kernel would like to put its memmap; pages keep
 * their physical place, which a hash of the page frame numbers proves.
 *
 * vm-test: name=big stages=2 mem=2048 debug-mem=4096 timeout=120
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

/* A page costs the debug kernel a hundred times as much. */
#define PAGES	(luo_debug_kernel() ? 1UL << 15 : 1UL << 18)
#define SEED	77
#define BATCH	4096

LUO_STAGE(stage1);
LUO_STAGE(stage2);

/* Where the pages of a file are, as one number. */
static unsigned long place(int fd, char **mapped)
{
	char *map = mmap(NULL, PAGES * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const unsigned long pages = PAGES;
	static uint64_t pfns[BATCH];
	unsigned long hash = 5381;

	if (map == MAP_FAILED)
		return 0;
	for (unsigned long i = 0; i < pages; i++)
		(void)*(volatile char *)(map + i * LUO_PAGE);
	for (unsigned long i = 0; i < pages; i += BATCH) {
		luo_pfns_of(map + i * LUO_PAGE, pfns, BATCH);
		for (int j = 0; j < BATCH; j++)
			hash = hash * 31 + pfns[j];
	}
	if (mapped)
		*mapped = map;
	return hash;
}

static struct shared {
	unsigned long place;
} *shared;

LUO_TEST(stage1, half_of_memory_in_4k_pages)
{
	int s = luo_create_session(self->dev, "big"), m = luo_memfd("big", 0, PAGES * LUO_PAGE);
	uint64_t start;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_fill_fd(m, 0, PAGES, SEED));
	start = luo_now_ns();
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	luo_note("PRESERVE_FD of %lu MiB: %llu us", PAGES / 256,
		 (luo_now_ns() - start) / 1000ULL);
	shared->place = place(m, NULL);
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, half_of_memory_in_4k_pages)
{
	int s = luo_retrieve_session(self->dev, "big"), m;
	long long before;
	uint64_t start;
	char *map = NULL;

	ASSERT_LE(0, s);
	start = luo_now_ns();
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	luo_note("RETRIEVE_FD of %lu MiB: %llu us", PAGES / 256,
		 (luo_now_ns() - start) / 1000ULL);
	EXPECT_EQ((unsigned long)luo_cmdline_num("luox_place", 0), place(m, &map) >> 1);
	ASSERT_NE(NULL, map);
	ASSERT_EQ(LUO_OK, luo_verify(map, 0, PAGES, SEED));
	munmap(map, PAGES * LUO_PAGE);
	ASSERT_EQ(0, luo_finish(s));
	close(s);

	before = luo_free_kb();
	close(m);
	/* All of it is ordinary memory again. */
	EXPECT_LT(before + (long long)PAGES * 4 - 8192, luo_free_kb());
	m = luo_memfd("again", 0, PAGES * LUO_PAGE);
	EXPECT_EQ(0, fallocate(m, 0, 0, PAGES * LUO_PAGE));
}

static void before(int stage)
{
	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	shared = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static int next(int stage)
{
	char extra[64];

	snprintf(extra, sizeof(extra), "luox_place=%lu", shared->place >> 1);
	return luo_kexec_next(NULL, extra);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .before = before, .next = next };

	return luo_stages_main(&stages);
}
