// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what kexec handover shows of itself, over three kernels.
 *
 * Scratch areas are where they were asked for, the same in every kernel, CMA
 * and counted as such; the root FDT and the counts in debugfs follow what is
 * preserved; each kernel knows the release before it and how often it
 * happened; a reserve_mem= area stays where it is with its content.
 *
 * vm-test: name=kho stages=3 debug-stages=2 mem=1024 smp=2 \
 *          append="reserve_mem=2M:4096:oops ramoops.mem_name=oops ramoops.console_size=0x100000 \
 *                  ramoops.record_size=0x20000"
 * vm-test: name=kho_scratch stages=3 mem=1024 kernels=plain append="kho_scratch=32M,96M,64M \
 *                reserve_mem=2M:4096:oops ramoops.mem_name=oops ramoops.console_size=0x100000 \
 *                ramoops.record_size=0x20000"
 * vm-test: name=kho_numa stages=2 mem=2048 smp=2,sockets=2 kernels=plain \
 *          append="luo_nodes=2 reserve_mem=2M:4096:oops ramoops.mem_name=oops \
 *                  ramoops.console_size=0x100000 ramoops.record_size=0x20000" \
 *          qemu="-object memory-backend-ram,id=n0,size=1G \
 *                -object memory-backend-ram,id=n1,size=1G \
 *                -numa node,memdev=n0,cpus=0 -numa node,memdev=n1,cpus=1"
 * vm-test: name=kho_percent stages=3 mem=1024 kernels=plain \
 *          append="kho_scratch=300% reserve_mem=2M:4096:oops ramoops.mem_name=oops \
 *                  ramoops.console_size=0x100000 ramoops.record_size=0x20000"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "luo_stages.h"

#define DEBUG	"/sys/kernel/debug/kho/"
#define MARKER	"kho-test: these words are for the next kernel"

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);
LUO_STAGE_NODEV(stage3);

struct area {
	unsigned long long addr;
	unsigned long long size;
};

static int scratch(struct area *areas, int max)
{
	FILE *f = fopen(DEBUG "scratch", "r");
	int nr = 0;

	if (!f)
		return -errno;
	while (nr < max && fscanf(f, "%llx %llx", &areas[nr].addr, &areas[nr].size) == 2)
		nr++;
	fclose(f);
	return nr;
}

static unsigned long long scratch_hash(void)
{
	struct area areas[16];
	int nr = scratch(areas, 16);
	unsigned long long hash = nr;

	for (int i = 0; i < nr; i++)
		hash = (hash * 1000003 + areas[i].addr / 4096) * 1000003 + areas[i].size / 4096;
	return hash & 0xffffffffffffULL;
}

static void check_scratch(struct __test_metadata *_metadata)
{
	unsigned long long total = 0;
	struct area areas[16];
	int nr = scratch(areas, 16);
	long long cma = luo_meminfo_kb("CmaTotal");

	/* Low memory and each node; a global one where there is more than low memory. */
	ASSERT_LE(2 + luo_cmdline_num("luo_nodes", 0), nr);
	for (int i = 0; i < nr; i++) {
		EXPECT_LT(0, areas[i].addr);
		EXPECT_LT(0, areas[i].size);
		/* What CMA can take. */
		EXPECT_EQ(0, areas[i].addr % LUO_HUGE);
		EXPECT_EQ(0, areas[i].size % LUO_HUGE);
		total += areas[i].size;
		for (int j = 0; j < i; j++) {
			EXPECT_TRUE(areas[i].addr >= areas[j].addr + areas[j].size ||
				    areas[j].addr >= areas[i].addr + areas[i].size);
		}
	}
	EXPECT_EQ((long long)(total >> 10), cma);
	EXPECT_LT(0, luo_meminfo_kb("CmaFree"));
	luo_note("%d scratch areas, %llu MiB, CmaFree %lld MiB", nr, total >> 20,
		 luo_meminfo_kb("CmaFree") >> 10);
}

static int read_fdt(const char *dir, char *buf, size_t len)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUG "%s/fdt", dir);
	return luo_read_file(path, buf, len);
}

static bool fdt_has(const char *buf, int len, const char *what)
{
	return memmem(buf, len, what, strlen(what) + 1);
}

/* The sum over the lines "order N: COUNT" in 4K pages. */
static long long preserved_pages(const char *dir)
{
	char path[128], buf[4096], *line, *save;
	long long pages = 0;

	snprintf(path, sizeof(path), DEBUG "%s/preserved", dir);
	if (luo_read_file(path, buf, sizeof(buf)) < 0)
		return -1;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned int order;
		unsigned long nr;

		if (sscanf(line, "order %u: %lu", &order, &nr) == 2)
			pages += (long long)nr << order;
	}
	return pages;
}

LUO_TEST(stage1, scratch_areas)
{
	struct area areas[16];
	char val[64] = "";

	check_scratch(_metadata);
	luo_cmdline_get("kho_scratch", val, sizeof(val));
	if (!strcmp(val, "32M,96M,64M")) {
		int nr = scratch(areas, 16);

		for (int i = 0; i < nr; i++)
			luo_note("area %d: %#llx %llu MiB", i, areas[i].addr,
				 areas[i].size >> 20);
		ASSERT_LE(2, nr);
		EXPECT_EQ(32ULL << 20, areas[0].size);
		EXPECT_EQ(64ULL << 20, areas[nr - 1].size);
	}
}

LUO_TEST(stage1, movable_memory_can_use_scratch)
{
	long long free, avail;
	int m;

	/* More than there is without it. */
	free = luo_meminfo_kb("MemFree") - luo_meminfo_kb("CmaFree");
	avail = luo_meminfo_kb("CmaFree") / 2;
	m = luo_memfd("use", 0, 0);
	EXPECT_EQ(0, fallocate(m, 0, 0, (free + avail) / 4 * LUO_PAGE));
	EXPECT_GT(luo_meminfo_kb("CmaTotal"), luo_meminfo_kb("CmaFree"));
	close(m);
}

LUO_TEST(stage1, cold_boot_carries_nothing)
{
	EXPECT_NE(0, access(DEBUG "in", F_OK));
	EXPECT_EQ(0, luo_klog_has("kho: handover found"));
	EXPECT_EQ(0, luo_klog_has("kho: kexec from"));
}

LUO_TEST(stage1, outgoing_fdt_and_counts_follow_what_is_preserved)
{
	int dev, s, m, len;
	long long before;
	char fdt[8192];

	len = read_fdt("out", fdt, sizeof(fdt));
	ASSERT_LE(4096, len);
	EXPECT_EQ(0, memcmp(fdt, "\xd0\x0d\xfe\xed", 4));
	EXPECT_TRUE(fdt_has(fdt, len, "kho-v4"));
	EXPECT_TRUE(fdt_has(fdt, len, "preserved-memory-map"));
	EXPECT_TRUE(fdt_has(fdt, len, "kexec-metadata"));

	dev = luo_open_dev();
	ASSERT_LE(0, dev);
	s = luo_create_session(dev, "kho");
	before = preserved_pages("out");
	ASSERT_LE(0, before);
	m = luo_memfd_filled("kho", 0, 1000, 9);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	/* The pages themselves, and a handful that describe them. */
	EXPECT_LE(before + 1000, preserved_pages("out"));
	EXPECT_GT(before + 1030, preserved_pages("out"));
	ASSERT_EQ(0, luo_keep(s));
	close(dev);
}

LUO_TEST(stage1, unpreserving_gives_everything_back)
{
	int dev, s, m;
	long long before;

	dev = luo_open_dev();
	ASSERT_LE(0, dev);
	before = preserved_pages("out");
	for (int i = 0; i < 20; i++) {
		s = luo_create_session(dev, "again");
		m = luo_memfd_filled("again", 0, 500, 9);
		ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
		EXPECT_LE(before + 500, preserved_pages("out"));
		close(s);
		close(m);
		ASSERT_EQ(before, preserved_pages("out"));
	}
	close(dev);
}

static unsigned long long area_at(void)
{
	char *buf = malloc(1 << 20), *at;
	unsigned long long start = 0;
	ssize_t n;
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buf, (1 << 20) - 1)) > 0) {
		buf[n] = 0;
		at = strstr(buf, "kho: reserve_mem oops: ");
		if (at && strstr(at, "taken over"))
			sscanf(strstr(at, " at "), " at %llx", &start);
	}
	close(fd);
	free(buf);
	return start;
}

static void check_arrival(struct __test_metadata *_metadata, int stage)
{
	struct utsname uts;
	char fdt[8192], line[256];
	int len;

	check_scratch(_metadata);
	EXPECT_EQ((unsigned long long)luo_cmdline_num("luox_scratch", 0), scratch_hash());

	len = read_fdt("in", fdt, sizeof(fdt));
	ASSERT_LE(4096, len);
	EXPECT_TRUE(fdt_has(fdt, len, "kho-v4"));
	EXPECT_TRUE(fdt_has(fdt, len, "LUO"));
	EXPECT_TRUE(fdt_has(fdt, len, "kexec-metadata"));
	EXPECT_LE(1000, preserved_pages("in"));

	uname(&uts);
	snprintf(line, sizeof(line), "kho: kexec from %s (count %d)", uts.release, stage - 1);
	EXPECT_EQ(1, luo_klog_has(line)) {
		TH_LOG("no line '%s'", line);
	}
	EXPECT_EQ(1, luo_klog_has("kho: handover found"));
}

static void check_reserve_mem(struct __test_metadata *_metadata, int stage)
{
	unsigned long long at = area_at();
	char *buf;
	ssize_t n;

	EXPECT_NE(0, at);
	if (stage > 2) {
		EXPECT_EQ((unsigned long long)luo_cmdline_num("luox_area", 0), at) {
			TH_LOG("area is at %llx", at);
		}
	}

	/* Its content is what the last kernel's console said. */
	mkdir("/tmp/pstore", 0755);
	ASSERT_EQ(0, mount("pstore", "/tmp/pstore", "pstore", 0, NULL));
	buf = malloc(2 << 20);
	n = luo_read_file("/tmp/pstore/console-ramoops-0", buf, 2 << 20);
	ASSERT_LT(0, n);
	EXPECT_NE(NULL, strstr(buf, MARKER));
	EXPECT_NE(NULL, strstr(buf, stage == 2 ? MARKER " from stage 1" : MARKER " from stage 2"));
	free(buf);
}

static void carry_on(struct __test_metadata *_metadata)
{
	int dev = luo_open_dev(), s, m;

	ASSERT_LE(0, dev);
	s = luo_retrieve_session(dev, "kho");
	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, 1000, 9));
	ASSERT_EQ(0, luo_finish(s));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
	close(dev);
}

LUO_TEST(stage2, what_arrived) { check_arrival(_metadata, 2); }
LUO_TEST(stage2, reserve_mem) { check_reserve_mem(_metadata, 2); }
LUO_TEST(stage2, carry_on) { carry_on(_metadata); }
LUO_TEST(stage3, what_arrived) { check_arrival(_metadata, 3); }
LUO_TEST(stage3, reserve_mem) { check_reserve_mem(_metadata, 3); }
LUO_TEST(stage3, carry_on) { carry_on(_metadata); }

static int next(int stage)
{
	char extra[128];

	printf("# %s from stage %d\n", MARKER, stage);
	snprintf(extra, sizeof(extra), "luox_scratch=%llu luox_area=%llu", scratch_hash(),
		 area_at());
	return luo_kexec_next(NULL, extra);
}

int main(void)
{
	int last = luo_cmdline_num("luo_nodes", 3);
	const struct luo_stages stages = { .last = last, .next = next };

	return luo_stages_main(&stages);
}
