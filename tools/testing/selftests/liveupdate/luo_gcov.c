// SPDX-License-Identifier: GPL-2.0
/*
 * Counts of executed lines, saved before a kernel ends.
 *
 * A kernel with CONFIG_GCOV_KERNEL shows its counters as files below
 * /sys/kernel/debug/gcov. They end with the kernel, so their contents are appended
 * to a disk that the runner attaches and reads: vm_coverage.py. What a kernel does
 * after that, on the way into the next one, is not seen.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "luo_test_util.h"

#define GCOV_DIR	"/sys/kernel/debug/gcov"
#define GCOV_MAGIC	"LUOGCOV1"
#define GCOV_MAX	(1 << 20)
#define BLOCK		512

/* One block, followed by the contents in whole blocks. */
struct gcov_entry {
	char magic[8];
	uint64_t len;
	char name[BLOCK - 16];
};

static int gcov_disk;
static off_t gcov_end;
static char *gcov_buf;

static int gcov_append(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct gcov_entry entry = { .magic = GCOV_MAGIC };
	size_t len = strlen(path), whole;
	ssize_t n;

	if (type != FTW_F || len < 5 || strcmp(path + len - 5, ".gcda"))
		return 0;
	n = luo_read_file(path, gcov_buf, GCOV_MAX);
	if (n <= 0)
		return 0;
	snprintf(entry.name, sizeof(entry.name), "%s", path + strlen(GCOV_DIR));
	entry.len = n;
	whole = (n + BLOCK - 1) / BLOCK * BLOCK;
	memset(gcov_buf + n, 0, whole - n);
	if (pwrite(gcov_disk, &entry, BLOCK, gcov_end) != BLOCK ||
	    pwrite(gcov_disk, gcov_buf, whole, gcov_end + BLOCK) != (ssize_t)whole)
		return -1;
	gcov_end += BLOCK + whole;
	return 0;
}

/* Saves what was executed so far, if this kernel counts it; else does nothing. */
void luo_gcov_save(void)
{
	struct gcov_entry entry;
	char dev[32];

	if (access(GCOV_DIR, R_OK) || luo_disk_find("gcov", dev, sizeof(dev)))
		return;
	gcov_disk = open(dev, O_RDWR | O_CLOEXEC);
	gcov_buf = malloc(GCOV_MAX + BLOCK);
	if (gcov_disk < 0 || !gcov_buf) {
		printf("# counters are not saved: %s: %d\n", dev, errno);
		free(gcov_buf);
		return;
	}
	for (gcov_end = 0; pread(gcov_disk, &entry, BLOCK, gcov_end) == BLOCK; ) {
		if (memcmp(entry.magic, GCOV_MAGIC, sizeof(entry.magic)))
			break;
		gcov_end += BLOCK + (entry.len + BLOCK - 1) / BLOCK * BLOCK;
	}
	if (nftw(GCOV_DIR, gcov_append, 8, FTW_PHYS))
		printf("# counters are not saved: %d\n", errno);
	fsync(gcov_disk);
	close(gcov_disk);
	free(gcov_buf);
}
