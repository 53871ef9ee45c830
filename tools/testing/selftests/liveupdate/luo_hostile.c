// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: data of the previous kernel is input like any other.
 *
 * Before each kexec the host damages one thing that crosses it, while the
 * guest reboots. The next kernel must come up without a warning, must give an
 * error for what it cannot take and the right content for everything else, and
 * must be able to do the next live update. The map of preserved memory is left
 * alone here, since the rebooting kernel works with it to the end; KUnit has it.
 *
 * vm-test: name=hostile stages=14 mem=512 smp=2 kernels=plain timeout=180 poke=1
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define VICTIM	0xa1a1a1a1a1a1a1a1ULL
#define OTHER	2
#define PAGES	16
#define LAST	14

enum {
	COLD,		/* no handover, so no session */
	LOST,		/* no session came */
	VICTIM_LOST,	/* poke-a did not come whole, poke-b did */
	FILE_LOST,	/* one file of poke-a cannot be retrieved, all else can */
	ANY,		/* whatever comes has the right content */
};

static const struct {
	const char *kind;
	int left;
} damage[LAST] = {
	[1] = { "fdt_compatible", COLD },
	[2] = { "fdt_magic", COLD },
	[3] = { "fdt_size", COLD },
	[4] = { "session_count", LOST },
	[5] = { "session_cycle", ANY },
	[6] = { "session_name", VICTIM_LOST },
	[7] = { "session_files", VICTIM_LOST },
	[8] = { "file_data", FILE_LOST },
	[9] = { "file_compatible", FILE_LOST },
	[10] = { "memfd_count", FILE_LOST },
	[11] = { "memfd_size", FILE_LOST },
	[12] = { "memfd_pfn", FILE_LOST },
	[13] = { "memfd_same", FILE_LOST },
};

static void leave(struct __test_metadata *_metadata, int dev, int stage)
{
	int a = luo_create_session(dev, "poke-a"), b = luo_create_session(dev, "poke-b"), m;

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	m = luo_memfd_filled("victim", 0, PAGES, stage * 10 + 1);
	ASSERT_EQ(0, luo_preserve_fd(a, m, VICTIM));
	m = luo_memfd_filled("other", 0, PAGES, stage * 10 + 2);
	ASSERT_EQ(0, luo_preserve_fd(a, m, OTHER));
	m = luo_memfd_filled("third", 0, PAGES, stage * 10 + 3);
	ASSERT_EQ(0, luo_preserve_fd(b, m, OTHER));
	ASSERT_EQ(0, luo_keep(a));
	ASSERT_EQ(0, luo_keep(b));
}

/* 0 if the file is there as it was, or the error; wrong content fails the test. */
static int look(struct __test_metadata *_metadata, int s, uint64_t token, int seed)
{
	int m = luo_retrieve_fd(s, token);

	if (m < 0)
		return m;
	EXPECT_EQ((long long)PAGES * LUO_PAGE, luo_size(m));
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, seed));
	close(m);
	return 0;
}

static void arrive(struct __test_metadata *_metadata, int dev, int from)
{
	int a = luo_retrieve_session(dev, "poke-a"), b = luo_retrieve_session(dev, "poke-b");
	int victim = -ENOENT, other = -ENOENT, third = -ENOENT, finish = 0;

	if (a >= 0) {
		victim = look(_metadata, a, VICTIM, from * 10 + 1);
		other = look(_metadata, a, OTHER, from * 10 + 2);
		finish = luo_finish(a);
		close(a);
	}
	if (b >= 0) {
		third = look(_metadata, b, OTHER, from * 10 + 3);
		EXPECT_EQ(0, luo_finish(b));
		close(b);
	}
	luo_note("%s: sessions %d %d, files %d %d %d, FINISH %d", damage[from].kind, a < 0 ? a : 0,
		 b < 0 ? b : 0, victim, other, third, finish);

	EXPECT_EQ(damage[from].left == COLD, luo_klog_has("kho: handover ignored"));
	switch (damage[from].left) {
	case COLD:
	case LOST:
		EXPECT_EQ(-ENOENT, a);
		EXPECT_EQ(-ENOENT, b);
		break;
	case VICTIM_LOST:
		EXPECT_GT(0, victim);
		EXPECT_EQ(0, third);
		break;
	case FILE_LOST:
		EXPECT_GT(0, victim);
		EXPECT_EQ(0, other);
		EXPECT_EQ(0, third);
		/* Nobody can finish a file whose handler is missing. */
		EXPECT_EQ(!strcmp(damage[from].kind, "file_compatible") ? -EOPNOTSUPP : 0, finish);
		break;
	default:
		break;
	}
}

#define FIRST(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

#define STAGE(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, arrive) { arrive(_metadata, self->dev, (n) - 1); } \
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

FIRST(1)
STAGE(2)
STAGE(3)
STAGE(4)
STAGE(5)
STAGE(6)
STAGE(7)
STAGE(8)
STAGE(9)
STAGE(10)
STAGE(11)
STAGE(12)
STAGE(13)
STAGE(14)

static int next(int stage)
{
	int ret;

	ret = luo_kexec_load(NULL, stage + 1, NULL, 0) ?: luo_poke(damage[stage].kind);
	return ret ?: luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = LAST, .next = next };

	return luo_stages_main(&stages);
}
