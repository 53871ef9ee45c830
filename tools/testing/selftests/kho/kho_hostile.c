// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: handed-over data that is not sound harms nothing but itself.
 *
 * The data is damaged just before the jump, through debugfs. A slot of the
 * memory map that no key can use costs one log line and nothing else. A root
 * FDT of another format makes the next boot a cold one. A memory map that
 * leads nowhere leaves all memory alone: the next kernel lives in scratch.
 *
 * vm-test: name=kho_hostile stages=4 mem=2048 kernels=debug timeout=240 \
 *          append="kho_scratch=32M,512M,64M nokaslr"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "luo_stages.h"

#define OUT	"/sys/kernel/debug/kho/out/"
#define IN	"/sys/kernel/debug/kho/in"
#define PAGES	512

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);
LUO_STAGE_NODEV(stage3);
LUO_STAGE_NODEV(stage4);

static unsigned long long address(const char *file)
{
	unsigned long long val = 0;
	char buf[64] = "";

	if (luo_read_file(file, buf, sizeof(buf)) > 0)
		val = strtoull(buf, NULL, 16);
	return val;
}

static int poke(unsigned long long phys, unsigned long long val)
{
	char line[64];

	snprintf(line, sizeof(line), "%#llx %#llx", phys, val);
	return luo_write_file(OUT "poke", line);
}

static void leave(struct __test_metadata *_metadata, const char *name, int seed)
{
	int dev = luo_open_dev(), s, m;

	ASSERT_LE(0, dev);
	s = luo_create_session(dev, name);
	ASSERT_LE(0, s);
	m = luo_memfd_filled(name, 0, PAGES, seed);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
	close(dev);
}

LUO_TEST(stage1, damage_a_slot_that_no_key_can_use)
{
	unsigned long long map = address(OUT "map_address");

	ASSERT_NE(0, map);
	leave(_metadata, "slot", 1);
	ASSERT_EQ(0, poke(map + 511 * 8, 0xdead000));
}

LUO_TEST(stage2, the_rest_of_the_map_is_taken_over)
{
	int dev = luo_open_dev(), s, m;

	EXPECT_EQ(1, luo_klog_has("kho: memory map: bad node of level 4 at"));
	ASSERT_EQ(0, access(IN, F_OK));
	ASSERT_LE(0, dev);
	s = luo_retrieve_session(dev, "slot");
	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 1));
	ASSERT_EQ(0, luo_finish(s));
	close(dev);
}

LUO_TEST(stage2, damage_the_root_fdt)
{
	unsigned long long fdt = address(OUT "fdt_address"), word;
	char blob[4097], *found;
	size_t off;

	ASSERT_NE(0, fdt);
	leave(_metadata, "fdt", 2);
	ASSERT_EQ(4096, luo_read_file(OUT "fdt", blob, sizeof(blob)));
	found = memmem(blob, sizeof(blob), "kho-v4", 6);
	ASSERT_NE(NULL, found);
	found[5] = '9';
	off = (found + 5 - blob) & ~7UL;
	memcpy(&word, blob + off, sizeof(word));
	ASSERT_EQ(0, poke(fdt + off, word));
}

LUO_TEST(stage3, the_boot_is_a_cold_one)
{
	int dev = luo_open_dev();

	EXPECT_EQ(1, luo_klog_has("kho: handover ignored: root FDT with bad compatible"));
	EXPECT_EQ(0, luo_klog_has("kho: handover found"));
	EXPECT_NE(0, access(IN, F_OK));
	EXPECT_LT(0, luo_meminfo_kb("CmaTotal"));
	ASSERT_LE(0, dev);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(dev, "fdt"));
	close(dev);
}

LUO_TEST(stage3, damage_the_memory_map)
{
	unsigned long long map = address(OUT "map_address");

	ASSERT_NE(0, map);
	leave(_metadata, "map", 3);
	/* The slot of all single pages. */
	ASSERT_EQ(0, poke(map + 2 * 8, 0x1));
}

LUO_TEST(stage4, the_kernel_lives_in_scratch)
{
	EXPECT_EQ(1, luo_klog_has("kho: memory map: bad node of level 4 at"));
	EXPECT_EQ(1, luo_klog_has("all memory outside scratch stays unused"));
	EXPECT_EQ(0, luo_meminfo_kb("CmaTotal"));
	EXPECT_GT(900 << 10, luo_meminfo_kb("MemTotal"));
	EXPECT_GT(0, luo_open_dev());
}

int main(void)
{
	static const struct luo_stages stages = { .last = 4 };

	return luo_stages_main(&stages);
}
