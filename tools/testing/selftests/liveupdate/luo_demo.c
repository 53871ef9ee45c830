// SPDX-License-Identifier: GPL-2.0
/*
 * The show: two live updates in a row, told to a person.
 *
 * Two "virtual machines" (sessions) with memory of 4K pages, 2M folios, a
 * sparse disk and a sealed firmware image are handed to the next kernel by
 * kexec-tools, compared bit for bit there, finished, changed, and handed on.
 * Guards the way an operator goes.
 *
 * vm-test: name=demo stages=3 kernels=plain mem=2048 needs=kexec-tools timeout=90
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "luo_test_util.h"

#define LAST		3
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MIB_PAGES	256UL
#define STAMPS		"timeline"

struct file {
	const char *what;
	uint64_t token;
	uint64_t pages;		/* of content */
	uint64_t size;		/* of the file in pages */
	bool huge;
	int seals;
};

struct session {
	const char *name;
	struct file files[3];
	int fd;
	int memfd[3];
};

static struct session sessions[] = {
	{ "vm-alpha", {
		{ "memory, 4K pages", 1, 96 * MIB_PAGES, 96 * MIB_PAGES },
		{ "memory, 2M folios", 2, 64 * MIB_PAGES, 64 * MIB_PAGES, true },
		{ "firmware, sealed", 3, 4 * MIB_PAGES, 4 * MIB_PAGES, false,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL },
	} },
	{ "vm-beta", {
		{ "memory, 4K pages", 1, 32 * MIB_PAGES, 32 * MIB_PAGES },
		{ "1 TiB sparse disk", 2, 2 * MIB_PAGES, 1ULL << 28 },
	} },
};

/* The time line, in a preserved page. */
struct stamps {
	uint64_t hz;
	uint64_t load;
	uint64_t preserve;
	uint64_t preserved;
	uint64_t reboot;
	struct timespec wall;
};

static void tell(const char *fmt, ...)
{
	char buf[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	printf("demo: %s\n", buf);
	fflush(stdout);
}

static void stop(const char *what, long err)
{
	tell("%s: %ld (%s)", what, err, err < 0 && err > -4096 ? strerror(-err) : "");
	printf("not ok 1 demo.stage%d\n", luo_stage());
	exit(1);
}

static long must(const char *what, long ret)
{
	if (ret < 0)
		stop(what, ret);
	return ret;
}

static uint64_t tsc_hz(void)
{
	uint64_t t0 = luo_tsc(), n0 = luo_now_ns();

	usleep(100000);
	return (luo_tsc() - t0) * 1000000000.0 / (luo_now_ns() - n0);
}

/* Page number of the i-th page that has content. */
static uint64_t page_at(const struct file *f, uint64_t i)
{
	return f->size == f->pages ? i : i * (f->size / f->pages);
}

static uint64_t seed(const struct session *s, const struct file *f)
{
	return (s - sessions) * 16 + f->token;
}

static void fill(const struct session *s, const struct file *f, int fd)
{
	if (f->size == f->pages) {
		must("write", luo_fill_fd(fd, 0, f->pages, seed(s, f)));
		return;
	}
	for (uint64_t i = 0; i < f->pages; i++)
		must("write", luo_fill_fd(fd, page_at(f, i), 1, seed(s, f)));
}

static void compare(const struct session *s, const struct file *f, int fd)
{
	long bad = LUO_OK;

	if (luo_size(fd) != (long long)(f->size * LUO_PAGE))
		stop("size differs", luo_size(fd));
	if (luo_blocks(fd) != (long long)f->pages * 8)
		stop("allocated blocks differ", luo_blocks(fd));
	if (f->seals && fcntl(fd, F_GET_SEALS) != f->seals)
		stop("seals differ", fcntl(fd, F_GET_SEALS));
	if (f->size == f->pages)
		bad = luo_verify_fd(fd, 0, f->pages, seed(s, f));
	for (uint64_t i = 0; f->size != f->pages && i < f->pages && bad == LUO_OK; i++)
		bad = luo_verify_fd(fd, page_at(f, i), 1, seed(s, f));
	if (bad != LUO_OK)
		stop("content differs at byte", bad);
}

/* Declares s and f. */
#define for_each_file()								\
	for (struct session *s = sessions; s < sessions + 2; s++)		\
		for (struct file *f = s->files; f < s->files + 3 && f->token; f++)

static unsigned long long total_bytes(int *nr)
{
	unsigned long long bytes = 0;

	*nr = 0;
	for_each_file() {
		bytes += f->pages * LUO_PAGE;
		++*nr;
	}
	return bytes;
}

static void make(void)
{
	for_each_file() {
		int i = f - s->files;

		luo_write_file(SHMEM_THP, f->huge ? "always" : "never");
		s->memfd[i] = must("memfd", luo_memfd(s->name, MFD_ALLOW_SEALING,
						      f->size * LUO_PAGE));
		fill(s, f, s->memfd[i]);
		if (f->seals)
			fcntl(s->memfd[i], F_ADD_SEALS, f->seals);
	}
	luo_write_file(SHMEM_THP, "never");
}

static struct stamps *preserve_stamps(int dev)
{
	int s = must("session for the time line", luo_create_session(dev, STAMPS));
	int m = must("memfd", luo_memfd_filled(STAMPS, 0, 1, 1));

	must("PRESERVE_FD", luo_preserve_fd(s, m, 1));
	return mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
}

static void leave(int dev, int stage)
{
	char line[2048], cmd[3072];
	unsigned long long bytes;
	struct stamps *st;
	uint64_t t0, t1;
	int nr;

	t0 = luo_tsc();
	for_each_file() {
		int i = f - s->files;

		if (!s->fd)
			s->fd = must("CREATE_SESSION", luo_create_session(dev, s->name));
		must("PRESERVE_FD", luo_preserve_fd(s->fd, s->memfd[i], f->token));
		tell("  %-9s token %llu  %-18s %4llu MiB  preserved", s->name,
		     (unsigned long long)f->token, f->what,
		     (unsigned long long)(f->pages / MIB_PAGES));
	}
	t1 = luo_tsc();
	bytes = total_bytes(&nr);

	/* The next kernel is loaded as operators do it. */
	must("kernel", luo_disk_to_file("kernel", "/tmp/kernel"));
	must("initrd", luo_disk_to_file("initrd", "/tmp/initrd"));
	must("command line", luo_next_cmdline(line, sizeof(line), stage + 1, NULL));
	snprintf(cmd, sizeof(cmd),
		 "kexec -s -l /tmp/kernel --initrd=/tmp/initrd --command-line='%s'", line);
	st = preserve_stamps(dev);
	st->hz = tsc_hz();
	st->preserve = t0;
	st->preserved = t1;
	st->load = luo_tsc();
	if (luo_run(cmd))
		stop("kexec -s -l", -EIO);
	tell("  2 sessions, %d files, %llu MiB preserved; kexec -s -l done, now kexec -e", nr,
	     bytes >> 20);
	printf("ok 1 demo.stage%d\n", stage);
	clock_gettime(CLOCK_REALTIME, &st->wall);
	st->reboot = luo_tsc();
	luo_run("kexec -e");
	stop("kexec -e", -EIO);
}

static double ms(const struct stamps *st, uint64_t from, uint64_t to)
{
	return (double)(to - from) * 1000 / st->hz;
}

static void arrive(int dev, int stage)
{
	uint64_t t0, t1, start = luo_init_tsc();
	unsigned long long bytes = 0;
	struct stamps *st;
	int s, m, nr = 0;

	s = must("RETRIEVE_SESSION", luo_retrieve_session(dev, STAMPS));
	m = must("RETRIEVE_FD", luo_retrieve_fd(s, 1));
	st = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	must("FINISH", luo_finish(s));
	close(s);

	t0 = luo_tsc();
	for_each_file() {
		if (!s->fd)
			s->fd = must("RETRIEVE_SESSION", luo_retrieve_session(dev, s->name));
		s->memfd[f - s->files] = must("RETRIEVE_FD", luo_retrieve_fd(s->fd, f->token));
	}
	t1 = luo_tsc();
	for_each_file() {
		compare(s, f, s->memfd[f - s->files]);
		tell("  %-9s token %llu  %-18s %4llu MiB  every byte as it was", s->name,
		     (unsigned long long)f->token, f->what,
		     (unsigned long long)(f->pages / MIB_PAGES));
		bytes += f->pages * LUO_PAGE;
		nr++;
	}
	for (struct session *v = sessions; v < sessions + 2; v++)
		must("FINISH", luo_finish(v->fd));

	tell("  time line (this machine is emulated, and slow):");
	tell("    %9.1f ms  preserving %llu MiB, while the workload runs",
	     ms(st, st->preserve, st->preserved), bytes >> 20);
	tell("    %9.1f ms  loading the next kernel, while the workload runs",
	     ms(st, st->load, st->reboot));
	tell("    %9.1f ms  kexec -e to init of the next kernel", ms(st, st->reboot, start));
	tell("    %9.1f ms  init to the first session", ms(st, start, t0));
	tell("    %9.1f ms  retrieving %d files", ms(st, t0, t1), nr);
	tell("  blackout: %.1f ms", ms(st, st->reboot, t1));
}

/* What the kernel itself says about where it came from. */
static bool handover_line(char *buf, size_t len)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	char rec[2048], *at;
	bool found = false;
	ssize_t n;

	while (!found && ((n = read(fd, rec, sizeof(rec) - 1)) > 0 || errno == EPIPE)) {
		rec[n > 0 ? n : 0] = 0;
		at = strstr(rec, "kho: kexec from ");
		if (at) {
			snprintf(buf, len, "%.*s", (int)strcspn(at, "\n"), at);
			found = true;
		}
	}
	close(fd);
	return found;
}

int main(void)
{
	int stage = luo_stage(), dev;
	struct utsname uts;
	char meta[256];

	setlinebuf(stdout);
	setlinebuf(stderr);
	uname(&uts);
	printf("TAP version 13\n1..1\n");
	dev = must("open " LUO_DEV, luo_open_dev());

	if (stage == 1)
		tell("kernel 1: %s, booted cold", uts.release);
	else
		tell("kernel %d: %s, reached by live update %d", stage, uts.release, stage - 1);
	if (stage > 1 && handover_line(meta, sizeof(meta)))
		tell("  it says: %s", meta);

	if (stage == 1)
		make();
	else
		arrive(dev, stage);

	if (stage < LAST)
		leave(dev, stage);

	printf("ok 1 demo.stage%d\n", stage);
	return 0;
}
