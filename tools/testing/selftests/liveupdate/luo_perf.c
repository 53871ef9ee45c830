// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: memory that is preserved costs next to nothing while machines stand still.
 *
 * Under the instruction counter (one virtual nanosecond is one instruction),
 * the time from just before reboot() to init of the next kernel with 256 MiB
 * preserved in contiguous 4K pages may be 5 ms more than with nothing
 * preserved; with 256 MiB as every second page 40 ms; and with 512 MiB so
 * scattered twice that. With nothing preserved it is four fifths of mainline's at
 * most. The time stamp travels in a preserved page.
 *
 * Kernel 1 is a warm-up, since it did not come from a kexec. Kernel 2 leaves
 * with nothing, kernels 3 to 5 with one of the loads, kernel 6 judges.
 *
 * vm-test: name=perf stages=6 mem=2048 kernels=plain icount=1 timeout=600 \
 *          append="-ignore_loglevel loglevel=5"
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define MIB		(1UL << 20)
#define LIMIT_CONTIG	5000000ULL
#define LIMIT_HALF	40000000ULL
/* What mainline 7.3 takes with nothing preserved; it measures the APIC timer each time. */
#define MAINLINE	428400000ULL

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);
LUO_STAGE(stage4);
LUO_STAGE(stage5);
LUO_STAGE(stage6);

struct load {
	const char *what;
	unsigned long bytes;
	bool scattered;
};

/* What the kernel of each stage leaves with. */
static const struct load loads[] = {
	[1] = { "warm-up" },
	[2] = { "nothing" },
	[3] = { "256 MiB contiguous", 256 * MIB, false },
	[4] = { "256 MiB every second page", 256 * MIB, true },
	[5] = { "512 MiB every second page", 512 * MIB, true },
};

static uint64_t *stamp;

/* Counts the runs of page frames that belong to a mapping. */
static unsigned long runs_of(char *map, unsigned long pages)
{
	unsigned long runs = 0;
	uint64_t last = 0;

	for (unsigned long i = 0; i < pages; i++) {
		uint64_t pfn = luo_pfn_of(map + i * LUO_PAGE);

		if (!pfn)
			return 0;
		runs += pfn != last + 1 && pfn + 1 != last;
		last = pfn;
	}
	return runs;
}

static void leave(struct __test_metadata *_metadata, int dev, int stage)
{
	const struct load *load = &loads[stage];
	unsigned long pages = load->bytes / LUO_PAGE, runs;
	int s = luo_create_session(dev, "load"), a, b;
	uint64_t start;
	char *ma, *mb;

	ASSERT_LE(0, s);
	if (!pages)
		goto keep;
	a = luo_memfd("a", 0, load->bytes);
	b = luo_memfd("b", 0, load->bytes);
	ma = mmap(NULL, load->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	mb = mmap(NULL, load->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
	for (unsigned long i = 0; i < pages; i++) {
		ma[i * LUO_PAGE] = 1;
		if (load->scattered)
			mb[i * LUO_PAGE] = 1;
	}
	start = luo_now_ns();
	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	start = luo_now_ns() - start;

	/* Preserving may move pages, so look now; and fault in what was moved. */
	for (unsigned long i = 0; i < pages; i++)
		ma[i * LUO_PAGE] = 2;
	runs = runs_of(ma, pages);
	luo_note("%s: PRESERVE_FD %llu us, %llu ns a page, %lu runs of pages", load->what,
		 start / 1000ULL, start / (unsigned long long)pages, runs);
	if (load->scattered) {
		EXPECT_LT(pages * 9 / 10, runs);
	} else {
		EXPECT_NE(0, runs);
		EXPECT_GT(pages / 20, runs);
	}
	ASSERT_EQ(0, luo_keep(b));
keep:
	ASSERT_EQ(0, luo_keep(s));
}

static unsigned long long jump(struct __test_metadata *_metadata, int dev)
{
	int s = luo_retrieve_session(dev, "stamp"), m;
	uint64_t was = 0;

	if (s < 0)
		return 0;
	m = luo_retrieve_fd(s, 1);
	if (pread(m, &was, sizeof(was), 0) != sizeof(was))
		return 0;
	luo_finish(s);
	close(s);
	close(m);

	s = luo_retrieve_session(dev, "load");
	if (s < 0 || luo_finish(s))
		return 0;
	close(s);
	return luo_init_tsc() - was;
}

static unsigned long long *jumps;

static void arrive(struct __test_metadata *_metadata, int dev, int stage)
{
	jumps[stage - 1] = jump(_metadata, dev);
	ASSERT_NE(0, jumps[stage - 1]);
	luo_note("%s: %llu.%03llu ms from reboot() to init", loads[stage - 1].what,
		 jumps[stage - 1] / 1000000, jumps[stage - 1] / 1000 % 1000);
}

LUO_TEST(stage1, leave) { leave(_metadata, self->dev, 1); }
LUO_TEST(stage2, arrive) { arrive(_metadata, self->dev, 2); }
LUO_TEST(stage2, leave) { leave(_metadata, self->dev, 2); }
LUO_TEST(stage3, arrive) { arrive(_metadata, self->dev, 3); }
LUO_TEST(stage3, leave) { leave(_metadata, self->dev, 3); }
LUO_TEST(stage4, arrive) { arrive(_metadata, self->dev, 4); }
LUO_TEST(stage4, leave) { leave(_metadata, self->dev, 4); }
LUO_TEST(stage5, arrive) { arrive(_metadata, self->dev, 5); }
LUO_TEST(stage5, leave) { leave(_metadata, self->dev, 5); }
LUO_TEST(stage6, arrive) { arrive(_metadata, self->dev, 6); }

static unsigned long long added(int stage)
{
	return jumps[stage] > jumps[2] ? jumps[stage] - jumps[2] : 0;
}

LUO_TEST(stage6, clocks_are_not_measured_again)
{
	luo_note("%s: %llu%% of mainline's (limit 80%%)", loads[2].what,
		 jumps[2] * 100 / MAINLINE);
	ASSERT_NE(0, jumps[2]);
	EXPECT_GE(MAINLINE / 10 * 8, jumps[2]);
}

LUO_TEST(stage6, contiguous_pages_are_free)
{
	luo_note("added by %s: %llu us (limit %llu)", loads[3].what, added(3) / 1000,
		 LIMIT_CONTIG / 1000);
	ASSERT_NE(0, jumps[2]);
	ASSERT_NE(0, jumps[3]);
	EXPECT_GE(LIMIT_CONTIG, added(3));
}

LUO_TEST(stage6, scattered_pages_are_cheap)
{
	luo_note("added by %s: %llu us (limit %llu)", loads[4].what, added(4) / 1000,
		 LIMIT_HALF / 1000);
	ASSERT_NE(0, jumps[2]);
	ASSERT_NE(0, jumps[4]);
	EXPECT_GE(LIMIT_HALF, added(4));
}

LUO_TEST(stage6, cost_is_linear)
{
	luo_note("added by %s: %llu us (limit %llu)", loads[5].what, added(5) / 1000,
		 2 * added(4) / 1000);
	ASSERT_NE(0, jumps[4]);
	ASSERT_NE(0, jumps[5]);
	EXPECT_GE(2 * LIMIT_HALF, added(5));
	/* Twice, and five in a hundred for what is the same in every jump but never exactly. */
	EXPECT_GE(2 * added(4) + added(4) / 10 + 500000, added(5));
}

static void before(int stage)
{
	char key[32];

	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	jumps = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 1; i < stage - 1; i++) {
		snprintf(key, sizeof(key), "luox_j%d", i);
		jumps[i] = luo_cmdline_num(key, 0);
	}
}

static int next(int stage)
{
	int dev = luo_open_dev(), s = luo_create_session(dev, "stamp"), m, ret;
	char extra[512] = "";

	for (int i = 1; i < stage; i++)
		sprintf(extra + strlen(extra), " luox_j%d=%llu", i, jumps[i]);
	ret = luo_kexec_load(NULL, stage + 1, extra, 0);
	if (ret)
		return ret;
	m = luo_memfd_filled("stamp", 0, 1, 1);
	ret = luo_preserve_fd(s, m, 1);
	if (ret)
		return ret;
	stamp = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	*stamp = luo_tsc();
	*stamp = luo_tsc();
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 6, .before = before, .next = next };

	return luo_stages_main(&stages);
}
