// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: memory above 4 GiB goes over, on machines with either firmware.
 *
 * Small and large folios that lie above 4 GiB are preserved and keep their
 * physical place over two live updates; the kernels in between run in scratch
 * memory, wherever KASLR and the firmware's map of memory would have put them.
 * With UEFI the first kernel is started by its EFI stub; the next ones are not,
 * and still find the firmware's services.
 *
 * vm-test: name=high stages=3 mem=6144 kernels=plain timeout=90
 * vm-test: name=efi stages=3 mem=5120 kernels=plain timeout=120 append="luo_efi=1" \
 *          qemu="-bios /usr/share/ovmf/OVMF.fd"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define PAGES		8192UL
#define LIMIT_PFN	(1ULL << 20)	/* 4 GiB */

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

/* The tests are processes of their own: this is where they leave what next() needs. */
static uint64_t *place;

enum { SMALL, LARGE, FILES };

static const struct {
	const char *name;
	const char *thp;
} files[FILES] = {
	[SMALL] = { "small", "never" },
	[LARGE] = { "large", "always" },
};

/* One number for where all pages are; how many of them are below 4 GiB. */
static uint64_t place_of(int fd, unsigned long *low)
{
	char *map = mmap(NULL, PAGES * LUO_PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	uint64_t hash = 5381;

	if (map == MAP_FAILED)
		return 0;
	*low = 0;
	for (unsigned long i = 0; i < PAGES; i++) {
		uint64_t pfn = luo_pfn_of(map + i * LUO_PAGE);

		*low += pfn < LIMIT_PFN;
		hash = hash * 31 + pfn;
	}
	munmap(map, PAGES * LUO_PAGE);
	return hash >> 1;
}

static void leave(struct __test_metadata *_metadata, int s)
{
	for (int i = 0; i < FILES; i++) {
		unsigned long low;
		int m;

		luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", files[i].thp);
		m = luo_memfd_filled(files[i].name, 0, PAGES, i);
		ASSERT_LE(0, m);
		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		/* Not before that: pages in scratch memory are moved when it is preserved. */
		place[i] = place_of(m, &low);
		/* Nearly all: the allocator takes what is below last. */
		EXPECT_GT(PAGES / 8, low) {
			TH_LOG("%s: %lu pages below 4 GiB", files[i].name, low);
		}
		close(m);
	}
	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	ASSERT_EQ(0, luo_keep(s));
}

static void arrive(struct __test_metadata *_metadata, int s)
{
	for (int i = 0; i < FILES; i++) {
		unsigned long low;
		char key[32];
		int m;

		snprintf(key, sizeof(key), "luox_%s", files[i].name);
		m = luo_retrieve_fd(s, i);
		ASSERT_LE(0, m);
		EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, i));
		EXPECT_EQ((uint64_t)luo_cmdline_num(key, 0), place_of(m, &low));
		close(m);
	}
	ASSERT_EQ(0, luo_finish(s));
}

/* The kernel's own image: what /proc/iomem calls "Kernel code", "data" and "bss". */
static void kernel_in_scratch(struct __test_metadata *_metadata)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long start, end;
	char line[256], what[32];
	int parts = 0;

	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %llx-%llx : Kernel %31s", &start, &end, what) != 3)
			continue;
		parts++;
		EXPECT_TRUE(luo_in_scratch(start, end)) {
			TH_LOG("kernel %s at %#llx-%#llx", what, start, end);
		}
		if (!strcmp(what, "code"))
			luo_note("kernel code at %#llx", start);
	}
	fclose(f);
	EXPECT_LE(3, parts);
}

static void check_firmware(struct __test_metadata *_metadata)
{
	int efi = luo_cmdline_num("luo_efi", 0);

	EXPECT_EQ(efi, !access("/sys/firmware/efi/systab", R_OK));
	EXPECT_EQ(efi, !access("/sys/firmware/efi/runtime-map/0/virt_addr", R_OK));
}

LUO_TEST(stage1, firmware) { check_firmware(_metadata); }

LUO_TEST(stage1, memory_above_4g)
{
	int s = luo_create_session(self->dev, "high");

	ASSERT_LE(0, s);
	leave(_metadata, s);
}

LUO_TEST(stage2, firmware) { check_firmware(_metadata); }
LUO_TEST(stage2, kernel_in_scratch) { kernel_in_scratch(_metadata); }

LUO_TEST(stage2, memory_above_4g)
{
	int s = luo_retrieve_session(self->dev, "high");

	ASSERT_LE(0, s);
	arrive(_metadata, s);
	leave(_metadata, s);
}

LUO_TEST(stage3, firmware) { check_firmware(_metadata); }
LUO_TEST(stage3, kernel_in_scratch) { kernel_in_scratch(_metadata); }

LUO_TEST(stage3, memory_above_4g)
{
	int s = luo_retrieve_session(self->dev, "high");

	ASSERT_LE(0, s);
	arrive(_metadata, s);
}

static void before(int stage)
{
	place = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static int next(int stage)
{
	char extra[128];

	snprintf(extra, sizeof(extra), "luox_small=%llu luox_large=%llu",
		 (unsigned long long)place[SMALL], (unsigned long long)place[LARGE]);
	return luo_kexec_next(NULL, extra);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .before = before, .next = next };

	return luo_stages_main(&stages);
}
