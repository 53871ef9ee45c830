// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what debugfs and fdinfo say of sessions and files is so, also of
 * thousands, and the phases of a live update add up to the time that it took.
 *
 * vm-test: name=debugfs stages=2 mem=1024 needs=test-handler
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define DIR		"/sys/kernel/debug/liveupdate/"
#define ODD_NAME	"a b\\c\n\377"
#define ODD_ESCAPED	"a\\040b\\134c\\012\\377"
#define MANY		(luo_debug_kernel() ? 200 : 2000)
#define CLOCK_TOKEN	9

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static char text[4 << 20];

/* When reboot() was called, for the next kernel: in a memfd that goes there. */
static int clock_fd = -1;
static uint64_t *clock_page;

static ssize_t read_all(const char *name)
{
	char path[128];
	ssize_t n, len = 0;
	int fd;

	snprintf(path, sizeof(path), DIR "%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	while (len < (ssize_t)sizeof(text) - 1 &&
	       (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = 0;
	close(fd);
	return len;
}

/* Number of lines that begin with start, and a copy of the last one. */
static int lines(const char *start, char *copy, size_t size)
{
	int nr = 0;

	for (const char *p = text; *p; ) {
		const char *end = strchrnul(p, '\n');

		if (!strncmp(p, start, strlen(start))) {
			nr++;
			if (copy)
				snprintf(copy, size, "%.*s", (int)(end - p), p);
		}
		p = *end ? end + 1 : end;
	}
	return nr;
}

static bool __printf(1, 2) has_line(const char *fmt, ...)
{
	char want[512], line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(want, sizeof(want), fmt, args);
	va_end(args);
	return lines(want, line, sizeof(line)) == 1 && !strcmp(want, line);
}

/* The line of a file, from its direction to its state. */
static bool has_file(const char *where, const char *token, const char *state, const char *cost)
{
	return has_line("direction=%s token=%s handler=memfd-v2 state=%s error=0 %s", where, token,
			state, cost);
}

static long long key(const char *line, const char *name)
{
	char want[64];
	const char *at;

	snprintf(want, sizeof(want), " %s=", name);
	at = strstr(line, want);
	return at ? strtoll(at + strlen(want), NULL, 0) : -1;
}

LUO_TEST(stage1, cold_boot_has_nothing_to_show)
{
	EXPECT_EQ(0, read_all("sessions"));
	EXPECT_EQ(0, read_all("files"));
	EXPECT_EQ(0, read_all("phases"));
}

LUO_TEST(stage1, a_session_is_a_line)
{
	int a, b, m = luo_memfd_filled("m", 0, 4, 1);

	prctl(PR_SET_NAME, "luo maker");
	a = luo_create_session(self->dev, "plain");
	b = luo_create_session(self->dev, ODD_NAME);
	ASSERT_EQ(0, luo_preserve_fd(a, m, 1));
	ASSERT_LT(0, read_all("sessions"));
	EXPECT_TRUE(has_line("direction=outgoing name=plain holder=%d comm=luo\\040maker files=1",
			     getpid()));
	EXPECT_TRUE(has_line("direction=outgoing name=%s holder=%d comm=luo\\040maker files=0",
			     ODD_ESCAPED, getpid())) {
		TH_LOG("%s", text);
	}
	close(a);
	ASSERT_LT(0, read_all("sessions"));
	EXPECT_EQ(0, lines("direction=outgoing name=plain", NULL, 0));
	close(b);
	EXPECT_EQ(0, read_all("sessions"));
}

LUO_TEST(stage1, a_file_is_a_line)
{
	int s = luo_create_session(self->dev, ODD_NAME), m = luo_memfd_filled("m", 0, 4, 1);
	int empty = luo_memfd("empty", 0, 0);
	char *map;

	ASSERT_EQ(0, ftruncate(m, 8 * LUO_PAGE));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 0xabc));
	ASSERT_EQ(0, luo_preserve_fd(s, empty, 0));
	ASSERT_LT(0, read_all("files"));
	EXPECT_TRUE(has_file("outgoing session=" ODD_ESCAPED, "0xabc", "preserved",
			     "bytes=16384 metadata=12288 folios=0:4")) {
		TH_LOG("%s", text);
	}
	EXPECT_TRUE(has_file("outgoing session=" ODD_ESCAPED, "0x0", "preserved",
			     "bytes=0 metadata=4096 folios=-"));
	map = mmap(NULL, 8 * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	map[5 * LUO_PAGE] = 1;
	ASSERT_LT(0, read_all("files"));
	EXPECT_TRUE(has_file("outgoing session=" ODD_ESCAPED, "0xabc", "preserved",
			     "bytes=20480 metadata=12288 folios=0:5"));
	close(s);
	EXPECT_EQ(0, read_all("files"));
}

LUO_TEST(stage1, fdinfo_tells_of_a_session)
{
	int s = luo_create_session(self->dev, "info"), m = luo_memfd_filled("m", 0, 3, 1);
	int n = luo_memfd_filled("n", 0, 2, 1);
	char path[64], info[1024];

	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_preserve_fd(s, n, 2));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", s);
	ASSERT_LT(0, luo_read_file(path, info, sizeof(info)));
	EXPECT_NE(NULL, strstr(info, "\nluo-name:\tinfo\nluo-direction:\toutgoing\n"));
	EXPECT_NE(NULL, strstr(info, "\nluo-files:\t2\nluo-bytes:\t20480\n")) {
		TH_LOG("%s", info);
	}
	close(s);
}

static long long stat_of(const char *start, const char *name)
{
	char line[256];

	if (read_all("stats") <= 0 || lines(start, line, sizeof(line)) != 1)
		return -1;
	return key(line, name);
}

LUO_TEST(stage1, operations_and_their_failures_are_counted)
{
	static const char op[] = "op=preserve ", call[] = "ioctl=LIVEUPDATE_SESSION_PRESERVE_FD ";
	long long ops = stat_of(op, "calls"), op_fails = stat_of(op, "failures");
	long long calls = stat_of(call, "calls"), call_fails = stat_of(call, "failures");
	long long undone = stat_of("op=unpreserve ", "calls"), ns = stat_of(op, "total_ns");
	int s = luo_create_session(self->dev, "stats"), m = luo_memfd_filled("m", 0, 64, 1), ro;
	char path[64];

	ASSERT_LE(0, ops);
	ASSERT_LE(0, calls);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m);
	ro = open(path, O_RDONLY);
	ASSERT_EQ(-EPERM, luo_preserve_fd(s, ro, 1));
	ASSERT_EQ(-EBADF, luo_preserve_fd(s, -1, 1));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	EXPECT_EQ(ops + 2, stat_of(op, "calls"));
	EXPECT_EQ(op_fails + 1, stat_of(op, "failures"));
	EXPECT_EQ(calls + 3, stat_of(call, "calls"));
	EXPECT_EQ(call_fails + 2, stat_of(call, "failures"));
	EXPECT_LT(ns, stat_of(op, "total_ns"));
	EXPECT_LT(0, stat_of(op, "max_ns"));
	close(s);
	EXPECT_EQ(undone + 1, stat_of("op=unpreserve ", "calls"));
}

LUO_TEST(stage1, thousands_are_listed_once_each)
{
	int s = luo_create_session(self->dev, "big"), many = MANY;
	static uint8_t seen[4000];
	char name[64];

	for (int i = 0; i < many; i++) {
		int m = luo_memfd("m", 0, 0), one;

		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		close(m);
		snprintf(name, sizeof(name), "one-%d", i);
		one = luo_create_session(self->dev, name);
		ASSERT_LE(0, one);
		ASSERT_EQ(0, luo_keep(one));
		close(one);
	}
	ASSERT_LT(0, read_all("files"));
	for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
		unsigned long i = strtoul(strstr(p, "token=") + 6, NULL, 0);

		ASSERT_TRUE(i < (unsigned long)many && !seen[i]);
		seen[i] = 1;
	}
	EXPECT_EQ(many, lines("direction=outgoing session=big token=", NULL, 0));

	ASSERT_LT(0, read_all("sessions"));
	EXPECT_EQ(many, lines("direction=outgoing name=one-", NULL, 0));
	EXPECT_EQ(many + 1, lines("", NULL, 0));
	snprintf(name, sizeof(name), "direction=outgoing name=one-%d ", many - 1);
	EXPECT_EQ(1, lines(name, NULL, 0));
	close(s);
}

/* Whether there is one line of an FLB, in this state, with so many files. */
static bool has_flb(const char *where, const char *state, int files)
{
	char start[128], line[256];

	if (read_all("flb") < 0)
		return false;
	snprintf(start, sizeof(start), "direction=%s name=luo-test-y-v1 state=%s error=0 ", where,
		 state);
	return lines(start, line, sizeof(line)) == 1 && key(line, "files") == files &&
	       key(line, "users") == 0;
}

LUO_TEST(stage1, shared_state_is_a_line)
{
	int s = luo_create_session(self->dev, "shared"), lt;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	EXPECT_TRUE(has_flb("outgoing", "idle", 0));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 1, 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, 2));
	EXPECT_TRUE(has_flb("outgoing", "preserved", 2)) {
		TH_LOG("%s", text);
	}
	EXPECT_EQ(1, lines("direction=outgoing name=luo-test-x-v1 state=idle", NULL, 0));
	EXPECT_LT(0, stat_of("flb_op=preserve ", "calls"));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, prepare_sessions_to_be_seen)
{
	int s = luo_create_session(self->dev, "clock"), m = luo_memfd_filled("m", 0, 5, 1);

	ASSERT_EQ(0, luo_preserve_fd(s, clock_fd, CLOCK_TOKEN));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, incoming_sessions_and_files)
{
	char path[64], info[1024];
	int s, m;

	ASSERT_LT(0, read_all("sessions"));
	EXPECT_TRUE(has_line("direction=incoming name=clock holder=- comm=- files=2"));
	EXPECT_EQ(MANY, lines("direction=incoming name=one-", NULL, 0));
	/* Also of sessions that nobody has claimed. */
	ASSERT_LT(0, read_all("files"));
	EXPECT_TRUE(has_file("incoming session=clock", "0x1", "waiting",
			     "bytes=20480 metadata=12288 folios=0:5")) {
		TH_LOG("%s", text);
	}

	s = luo_retrieve_session(self->dev, "clock");
	ASSERT_LE(0, s);
	ASSERT_LT(0, read_all("sessions"));
	snprintf(path, sizeof(path), "holder=%d", getpid());
	EXPECT_NE(NULL, strstr(text, path));
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 5, 1));
	ASSERT_LT(0, read_all("files"));
	EXPECT_TRUE(has_file("incoming session=clock", "0x1", "retrieved",
			     "bytes=20480 metadata=12288 folios=0:5"));

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", s);
	ASSERT_LT(0, luo_read_file(path, info, sizeof(info)));
	EXPECT_NE(NULL, strstr(info, "\nluo-direction:\tincoming\n"));
	EXPECT_NE(NULL, strstr(info, "\nluo-files:\t2\nluo-bytes:\t24576\n")) {
		TH_LOG("%s", info);
	}
	close(s);
	ASSERT_LT(0, read_all("sessions"));
	EXPECT_TRUE(has_line("direction=incoming name=clock holder=- comm=- files=2"));
}

LUO_TEST(stage2, incoming_shared_state)
{
	int s = luo_retrieve_session(self->dev, "shared"), lt;

	ASSERT_LE(0, s);
	/* The one that no file depends on did not travel. */
	EXPECT_TRUE(has_flb("incoming", "waiting", 2)) {
		TH_LOG("%s", text);
	}
	EXPECT_EQ(1, lines("direction=incoming ", NULL, 0));
	ASSERT_LT(0, read_all("files"));
	EXPECT_EQ(2, lines("direction=incoming session=shared token=", NULL, 0));
	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	ASSERT_LE(0, luo_retrieve_fd(s, 1));
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_TRUE(has_flb("incoming", "finished", 0)) {
		TH_LOG("%s", text);
	}
	close(s);
}

/* Comes last: when all is finished, the log has the phases. */
LUO_TEST(stage2, phases_add_up_to_what_was_measured)
{
	static const char * const names[] = {
		"freeze", "shutdown", "jump", "decompress", "early_boot", "map", "boot",
		"userspace", "retrieve",
	};
	uint64_t start, end = 0, *page;
	long long sum = 0, all, next = 0;
	char line[256], name[64];
	int s, m;

	s = luo_retrieve_session(self->dev, "clock");
	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, CLOCK_TOKEN);
	ASSERT_LE(0, m);
	page = mmap(NULL, LUO_PAGE, PROT_READ, MAP_SHARED, m, 0);
	ASSERT_NE(MAP_FAILED, (void *)page);
	start = *page;
	ASSERT_EQ(0, luo_klog_has("luo: phases of the live update"));
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "one-%d", i);
		s = luo_retrieve_session(self->dev, name);
		ASSERT_LE(0, s);
		ASSERT_EQ(0, luo_finish(s));
		end = luo_tsc();
		close(s);
	}

	ASSERT_LT(0, read_all("phases"));
	ASSERT_EQ(1, lines("clock_khz=", line, sizeof(line)));
	EXPECT_NE(NULL, strstr(line, " fault=no")) {
		TH_LOG("%s", text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "phase=%s ", names[i]);
		ASSERT_EQ(1, lines(name, line, sizeof(line))) {
			TH_LOG("no phase '%s':\n%s", names[i], text);
		}
		/* Without a gap. */
		if (i)
			EXPECT_EQ(next, key(line, "begin"));
		next = key(line, "begin") + key(line, "cycles");
		EXPECT_LT(0, key(line, "cycles"));
		sum += key(line, "cycles");
		luo_note("%-12s %12lld ns", names[i], key(line, "ns"));
	}
	ASSERT_EQ(1, lines("phase=all ", line, sizeof(line)));
	all = key(line, "cycles");
	EXPECT_EQ(all, sum);
	/* By the clock of this program, from right before reboot() to after the last FINISH. */
	EXPECT_LE((long long)(end - start) * 99 / 100, sum) {
		TH_LOG("%lld of %lld", sum, (long long)(end - start));
	}
	EXPECT_GE((long long)(end - start), sum);

	/* The log has the same, rounded. */
	EXPECT_EQ(1, luo_klog_has("luo: phases of the live update, in us"));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char want[128];

		snprintf(name, sizeof(name), "phase=%s ", names[i]);
		lines(name, line, sizeof(line));
		snprintf(want, sizeof(want), "luo: %12lld %s\n", key(line, "ns") / 1000, names[i]);
		EXPECT_EQ(1, luo_klog_has(want)) {
			TH_LOG("not in the log: %s", want);
		}
	}
}

static void before(int stage)
{
	if (stage != 1)
		return;
	clock_fd = luo_memfd("clock", 0, LUO_PAGE);
	clock_page = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, clock_fd, 0);
}

static int next(int stage)
{
	int ret = luo_kexec_load(NULL, stage + 1, NULL, 0);

	if (ret)
		return ret;
	luo_gcov_save();
	fflush(stdout);
	*clock_page = luo_tsc();
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .before = before, .next = next };

	return luo_stages_main(&stages);
}
