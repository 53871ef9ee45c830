// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the KUnit suites that are built into the debug kernel pass at boot, each refusal
 * that they provoke is in the log, and a kho_scratch= that makes no sense is named there
 * and changes nothing.
 *
 * vm-test: name=kunit stages=1 mem=1024 kernels=debug timeout=60 \
 *          append="-kunit.enable kunit.enable=1 kho_scratch=0% kho_scratch=20001% \
 *          kho_scratch=1M,2M kho_scratch=0,0,4M kho_scratch=,"
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "luo_stages.h"

#define RESULTS	"/sys/kernel/debug/kunit"

LUO_STAGE_NODEV(stage1);

static int suites, good, bad;

static void read_suite(const char *name)
{
	static char buf[1 << 20];
	char path[512], *line, *save;

	snprintf(path, sizeof(path), RESULTS "/%s/results", name);
	if (luo_read_file(path, buf, sizeof(buf)) <= 0)
		return;
	suites++;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " ");
		good += !strncmp(line, "ok ", 3);
		bad += !strncmp(line, "not ok ", 7);
		if (!strncmp(line, "not ok ", 7) || line[0] == '#')
			printf("# %s: %s\n", name, line);
	}
}

LUO_TEST(stage1, suites_pass)
{
	struct dirent *ent;
	DIR *dir = opendir(RESULTS);

	ASSERT_NE(NULL, dir);
	while ((ent = readdir(dir))) {
		if (ent->d_name[0] != '.')
			read_suite(ent->d_name);
	}
	closedir(dir);
	luo_note("%d suites, %d cases passed, %d failed", suites, good, bad);
	EXPECT_LE(1, suites);
	EXPECT_LT(suites * 2, good);
	EXPECT_EQ(0, bad);
	/* The kernel log has the lines of suites that could not even start. */
	EXPECT_EQ(0, luo_klog_has("] not ok "));
}

/* What a suite sees is an errno. */
LUO_TEST(stage1, refusals_have_their_lines)
{
	static const struct {
		const char *line;
		int times;
	} refusals[] = {
		{ "a domain with first-level tables cannot be preserved", 1 },
		{ "a domain with dirty tracking cannot be preserved", 1 },
		{ "a domain with nesting cannot be preserved", 1 },
		{ "test device: cannot be preserved: test0 is in scalable mode", 1 },
		{ "test device: cannot be preserved: ATS, PASID, PRI or a DMA alias is in use", 3 },
		{ "test device: cannot be preserved: its context entry is not that of its domain",
		  1 },
		{ "test device: cannot be preserved: no IOMMU translates its DMA", 1 },
		{ "test device: cannot be preserved: the driver of its IOMMU cannot do that", 1 },
		{ "test device: cannot be preserved: its file handler did not register with PCI",
		  1 },
	};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		EXPECT_EQ(refusals[i].times, luo_klog_has(refusals[i].line)) {
			TH_LOG("\"%s\"", refusals[i].line);
		}
	}
}

LUO_TEST(stage1, sizes_of_scratch_that_make_no_sense)
{
	static const char * const values[] = { "0%", "20001%", "1M,2M", "0,0,4M", "," };
	char says[80];

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		snprintf(says, sizeof(says), "kho: kho_scratch=%s not understood, using 200%%",
			 values[i]);
		EXPECT_EQ(1, luo_klog_has(says)) {
			TH_LOG("not said: %s", says);
		}
	}
}

int main(void)
{
	static const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
