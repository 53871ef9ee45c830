// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the next kernel need not be the same, nor willing.
 *
 * A kernel of another configuration takes everything over and hands it back.
 * One that was booted with liveupdate=off or kho=off leaves all preserved
 * memory alone, hands nothing on and works; the one after it starts afresh. As
 * that loses what is preserved, it is refused unless a sysctl says otherwise.
 *
 * vm-test: name=next_other stages=3 mem=2048 needs=other kernels=plain timeout=300 \
 *          append="luo_way=other"
 * vm-test: name=next_off stages=6 mem=768 kernels=plain timeout=120 append="luo_way=off"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "luo_stages.h"

#define PAGES	4096UL

static bool way(const char *name)
{
	char val[16];

	return luo_cmdline_get("luo_way", val, sizeof(val)) && !strcmp(val, name);
}

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);
LUO_STAGE_NODEV(stage3);
LUO_STAGE_NODEV(stage4);
LUO_STAGE_NODEV(stage5);
LUO_STAGE_NODEV(stage6);

static void leave(struct __test_metadata *_metadata, int stage)
{
	int dev = luo_open_dev(), s, m;

	ASSERT_LE(0, dev);
	s = luo_create_session(dev, "next");
	ASSERT_LE(0, s);
	m = luo_memfd_filled("next", 0, PAGES, stage);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always");
	m = luo_memfd_filled("huge", 0, 2048, stage + 50);
	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	ASSERT_EQ(0, luo_preserve_fd(s, m, 2));
	ASSERT_EQ(0, luo_keep(s));
	close(dev);
}

static void arrive(struct __test_metadata *_metadata, int from)
{
	int dev = luo_open_dev(), s, m;

	ASSERT_LE(0, dev);
	s = luo_retrieve_session(dev, "next");
	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, from));
	close(m);
	m = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, m);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, 2048, from + 50));
	close(m);
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	close(dev);
}

/* Uses most of memory, so that pages that are free and used at once would show. */
static void use_memory(struct __test_metadata *_metadata)
{
	unsigned long pages = luo_meminfo_kb("MemAvailable") * 3 / 4 / 4;
	int m = luo_memfd("fill", 0, pages * LUO_PAGE);
	unsigned long *map;

	map = mmap(NULL, pages * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (unsigned long i = 0; i < pages; i++) {
		ASSERT_EQ(0, map[i * 512 + 7]);
		map[i * 512 + 7] = i;
	}
	for (unsigned long i = 0; i < pages; i++)
		ASSERT_EQ(i, map[i * 512 + 7]);
	munmap(map, pages * LUO_PAGE);
	close(m);
}

static void without_liveupdate(struct __test_metadata *_metadata)
{
	struct stat st;

	EXPECT_NE(0, stat(LUO_DEV, &st));
	EXPECT_GT(0, luo_open_dev());
	use_memory(_metadata);
}

static void afresh(struct __test_metadata *_metadata, int stage)
{
	int dev = luo_open_dev();

	ASSERT_LE(0, dev);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(dev, "next"));
	close(dev);
	use_memory(_metadata);
	leave(_metadata, stage);
}

LUO_TEST(stage1, leave)
{
	leave(_metadata, 1);
}

LUO_TEST(stage2, arrive)
{
	struct utsname uts;
	char release[80] = "";

	if (way("off")) {
		without_liveupdate(_metadata);
		return;
	}
	uname(&uts);
	luo_cmdline_get("luox_release", release, sizeof(release));
	luo_note("from %s to %s", release, uts.release);
	arrive(_metadata, 1);
	leave(_metadata, 2);
}

LUO_TEST(stage3, arrive_back)
{
	if (way("other"))
		arrive(_metadata, 2);
	else
		afresh(_metadata, 3);
}

/* Only the way "off" has further stages: 4 with liveupdate=off, 5 with kho=off. */
LUO_TEST(stage4, liveupdate_off_again)
{
	without_liveupdate(_metadata);
}

LUO_TEST(stage5, kho_off)
{
	without_liveupdate(_metadata);
	EXPECT_NE(0, access("/sys/kernel/debug/kho/out", F_OK));
}

LUO_TEST(stage6, back_with_everything_on)
{
	afresh(_metadata, 6);
}

/* By the records of the images this would lose the sessions. */
static int next_off(int stage, const char *extra)
{
	int ret = luo_kexec_load(NULL, stage + 1, extra, 0);

	if (ret != -EPROTONOSUPPORT) {
		printf("# not refused, but %d: %s\n", ret, extra);
		return ret;
	}
	ret = luo_ignore_record();
	return ret ? ret : luo_kexec_next(NULL, extra);
}

static int next(int stage)
{
	char extra[160];
	struct utsname uts;

	uname(&uts);
	if (way("other")) {
		snprintf(extra, sizeof(extra), "luox_release=%s", uts.release);
		return luo_kexec_next(stage == 1 ? "other" : "kernel", extra);
	}
	switch (stage) {
	case 1:
	case 3:
		return next_off(stage, "-liveupdate liveupdate=off");
	case 4:
		return luo_kexec_next(NULL, "-kho kho=off");
	default:
		return luo_kexec_next(NULL, "-kho -liveupdate kho=on liveupdate=on");
	}
}

int main(void)
{
	const struct luo_stages stages = { .last = way("other") ? 3 : 6, .next = next };

	return luo_stages_main(&stages);
}
