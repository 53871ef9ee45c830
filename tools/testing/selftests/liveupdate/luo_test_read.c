// SPDX-License-Identifier: GPL-2.0
/* Readings of /proc, /sys and the kernel log for the live update selftests. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <time.h>
#include <unistd.h>

#include "luo_test_util.h"

#define KMEMLEAK_AGE_US		5100000

char luo_init_tsc_env[32];

uint64_t luo_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

uint64_t luo_init_tsc(void)
{
	const char *env = getenv("LUO_INIT_TSC");

	return env ? strtoull(env, NULL, 10) : 0;
}

uint64_t luo_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

ssize_t luo_read_file(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, used = 0;

	if (fd < 0)
		return -errno;
	while (used < (ssize_t)len - 1) {
		n = read(fd, buf + used, len - 1 - used);
		if (n < 0)
			used = -errno;
		if (n <= 0)
			break;
		used += n;
	}
	close(fd);
	if (used >= 0)
		buf[used] = 0;
	return used;
}

int luo_write_file(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, val, strlen(val)) != (ssize_t)strlen(val))
		ret = -errno;
	close(fd);
	return ret;
}

long long luo_file_num(const char *path)
{
	char buf[64];
	ssize_t n = luo_read_file(path, buf, sizeof(buf));

	return n < 0 ? n : strtoll(buf, NULL, 0);
}

/* A field of /proc/meminfo in KiB, or -1. */
long long luo_meminfo_kb(const char *field)
{
	char buf[8192], key[64];
	char *at;

	/* Counters of the CPUs first, or small changes would not be seen. */
	luo_write_file("/proc/sys/vm/stat_refresh", "1");
	if (luo_read_file("/proc/meminfo", buf, sizeof(buf)) < 0)
		return -1;
	snprintf(key, sizeof(key), "%s:", field);
	for (at = buf; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (!strncmp(at, key, strlen(key)))
			return strtoll(at + strlen(key), NULL, 10);
		if (!*at)
			break;
	}
	return -1;
}

/* Does a range of physical addresses, both ends included, lie in scratch memory? */
int luo_in_scratch(unsigned long long start, unsigned long long end)
{
	FILE *f = fopen("/sys/kernel/debug/kho/scratch", "r");
	unsigned long long at, size;
	int found = 0;

	if (!f)
		return 0;
	while (fscanf(f, "%llx %llx", &at, &size) == 2)
		found |= at <= start && end < at + size;
	fclose(f);
	return found;
}

/* KiB of free pages, those that the CPUs keep at hand included, which are many MiB. */
long long luo_free_kb(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	long long kb = luo_meminfo_kb("MemFree"), pages;
	bool of_cpus = false;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		/* "Node 0, zone Normal", its numbers; then "pagesets", "cpu: 0", "count: 12" */
		if (!strncmp(line, "Node", 4))
			of_cpus = false;
		else if (strstr(line, "pagesets"))
			of_cpus = true;
		else if (of_cpus && sscanf(line, " count: %lld", &pages) == 1)
			kb += pages * 4;
	}
	if (f)
		fclose(f);
	return kb;
}

/* How many lines of the kernel log contain needle. */
int luo_klog_has(const char *needle)
{
	int size = klogctl(10, NULL, 0), hits = 0;
	char *buf, *p;
	int n;

	if (size < 0)
		return -errno;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	n = klogctl(3, buf, size);
	if (n < 0)
		n = 0;
	buf[n] = 0;
	for (p = buf; (p = strstr(p, needle)); p += strlen(needle))
		hits++;
	free(buf);
	return hits;
}

/* Physical page numbers behind a mapping; 0 where there is none. */
void luo_pfns_of(const void *addr, uint64_t *pfns, size_t nr)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	memset(pfns, 0, nr * 8);
	if (pread(fd, pfns, nr * 8, (uintptr_t)addr / LUO_PAGE * 8) < 0)
		return;
	for (size_t i = 0; i < nr; i++)
		pfns[i] = pfns[i] >> 63 ? pfns[i] & ((1ULL << 55) - 1) : 0;
}

uint64_t luo_pfn_of(const void *addr)
{
	uint64_t pfn;

	luo_pfns_of(addr, &pfn, 1);
	return pfn;
}

uint64_t luo_kpageflags(uint64_t pfn)
{
	static int fd = -1;
	uint64_t flags = 0;

	if (fd < 0)
		fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &flags, 8, pfn * 8) != 8)
		return 0;
	return flags;
}

bool luo_kmemleak_available(void)
{
	return !access("/sys/kernel/debug/kmemleak", W_OK);
}

/*
 * Number of leaks.  One counts if two scans see it with the same content, and if it
 * was five seconds old when the second one began.
 */
long luo_kmemleak_scan(void)
{
	uint64_t start = luo_now_ns(), took;
	char *buf, *p;
	long leaks = 0;

	if (luo_write_file("/sys/kernel/debug/kmemleak", "scan"))
		return -errno;
	took = (luo_now_ns() - start) / 1000;
	if (took < KMEMLEAK_AGE_US)
		usleep(KMEMLEAK_AGE_US - took);
	luo_write_file("/sys/kernel/debug/kmemleak", "scan");

	buf = malloc(1 << 20);
	if (!buf)
		return -ENOMEM;
	if (luo_read_file("/sys/kernel/debug/kmemleak", buf, 1 << 20) > 0) {
		for (p = buf; (p = strstr(p, "unreferenced object")); p++)
			leaks++;
		if (leaks) {
			char *save;
			int lines = 0;

			for (p = strtok_r(buf, "\n", &save); p && lines < 60;
			     p = strtok_r(NULL, "\n", &save), lines++)
				printf("# %s\n", p);
		}
	}
	free(buf);
	return leaks;
}

/* Objects in use in a slab cache, or a negative errno. */
long luo_slab_active(const char *cache)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512], name[128];
	long active, found = -ENOENT;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%127s %ld", name, &active) == 2 && !strcmp(name, cache))
			found = active;
	}
	fclose(f);
	return found;
}

/* Pins that exist in the whole system, as FOLL_PIN counts them. */
long long luo_pins(void)
{
	char line[128], name[64];
	long long val, got = 0;
	FILE *f;

	luo_write_file("/proc/sys/vm/stat_refresh", "1");
	f = fopen("/proc/vmstat", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lld", name, &val) != 2)
			continue;
		if (!strcmp(name, "nr_foll_pin_acquired"))
			got += val;
		if (!strcmp(name, "nr_foll_pin_released"))
			got -= val;
	}
	if (f)
		fclose(f);
	return got;
}

/* A figure for the reader of the log; the runner repeats it after the result. */
void luo_note(const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	printf("# note: %s\n", buf);
	fflush(stdout);
}
