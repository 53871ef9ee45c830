// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the tracepoints around every callback of a handler.
 *
 * Each callback is a call and a return, with session, token, handler, duration and
 * result, in the order in which they happen. What is traced right before a kexec is
 * read from a ring buffer that the next kernel still has.
 *
 * vm-test: name=trace stages=2 mem=1024 needs=test-handler \
 *          append="reserve_mem=2M:4096:luotrace trace_instance=past^traceoff@luotrace"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define TRACING		"/sys/kernel/tracing"
#define PAST		TRACING "/instances/past"
#define EVENTS		"/events/liveupdate/enable"

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static char trace[1 << 20];

/* What was traced so far goes when the file is truncated. */
static int trace_clear(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int trace_start(void)
{
	int ret = luo_write_file(TRACING EVENTS, "1");

	return ret ?: trace_clear(TRACING "/trace");
}

static ssize_t trace_read(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n, len = 0;

	if (fd < 0)
		return -errno;
	while (len < (ssize_t)sizeof(trace) - 1 &&
	       (n = read(fd, trace + len, sizeof(trace) - 1 - len)) > 0)
		len += n;
	trace[len] = 0;
	close(fd);
	return len;
}

/* Copies the line at p, from the name of the event on, with its duration taken out. */
static const char *trace_line(const char *p, char *line, size_t size, long long *duration)
{
	const char *end = strchrnul(p, '\n'), *ev = memmem(p, end - p, ": luo_", 6);
	char *at;

	line[0] = 0;
	*duration = -1;
	if (p[0] != '#' && ev) {
		snprintf(line, size, "%.*s", (int)(end - ev - 2), ev + 2);
		at = strstr(line, "duration_ns=");
		if (at) {
			char *rest;

			*duration = strtoll(at + 12, &rest, 10);
			memmove(at, rest + (*rest == ' '), strlen(rest + (*rest == ' ')) + 1);
		}
	}
	return *end ? end + 1 : end;
}

/*
 * Whether the events of the trace that have needle are the given ones, which end
 * with NULL. Returns the number of the first that is not as expected, or -1.
 */
static int trace_is(struct __test_metadata *_metadata, const char *needle, ...)
{
	const char *p = trace, *want;
	char line[512];
	bool timed;
	long long duration;
	int i = 0;
	va_list args;

	va_start(args, needle);
	want = va_arg(args, const char *);
	while (*p) {
		p = trace_line(p, line, sizeof(line), &duration);
		if (!line[0] || !strstr(line, needle))
			continue;
		timed = !strncmp(line, "luo_file_return", 15);
		if (!want || strcmp(want, line) || (timed && duration < 0)) {
			TH_LOG("event %d is '%s' (%lld ns), expected '%s'", i, line, duration,
			       want ?: "no more");
			break;
		}
		want = va_arg(args, const char *);
		i++;
		line[0] = 0;
	}
	va_end(args);
	if (want && !line[0])
		TH_LOG("event %d is missing: '%s'", i, want);
	return want || line[0] ? i : -1;
}

#define CALL(session, token, op) \
	"luo_file_call: session=" session " token=" token " handler=memfd-v2 op=" op
#define RETURN(session, token, op, result) \
	"luo_file_return: session=" session " token=" token " handler=memfd-v2 op=" op \
	" result=" result

#define PAST_CALL \
	"luo_file_call: session=past handler=memfd-v2 token=0x7 (7) op=0x2 (2)"
#define PAST_RETURN "luo_file_return: session=past handler=memfd-v2 token=0x7 (7) duration="

LUO_TEST(stage1, preserve_and_unpreserve_in_order)
{
	int s = luo_create_session(self->dev, "order");
	int a = luo_memfd_filled("a", 0, 4, 1), b = luo_memfd_filled("b", 0, 4, 2);

	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, luo_preserve_fd(s, a, 0x10));
	ASSERT_EQ(0, luo_preserve_fd(s, b, ~0ULL));
	close(s);
	ASSERT_LT(0, trace_read(TRACING "/trace"));
	EXPECT_EQ(-1, trace_is(_metadata, "session=order",
			       CALL("order", "0x10", "preserve"),
			       RETURN("order", "0x10", "preserve", "0"),
			       CALL("order", "0xffffffffffffffff", "preserve"),
			       RETURN("order", "0xffffffffffffffff", "preserve", "0"),
			       CALL("order", "0xffffffffffffffff", "unpreserve"),
			       RETURN("order", "0xffffffffffffffff", "unpreserve", "0"),
			       CALL("order", "0x10", "unpreserve"),
			       RETURN("order", "0x10", "unpreserve", "0"), NULL));
}

LUO_TEST(stage1, failure_has_its_errno)
{
	int s = luo_create_session(self->dev, "failure"), m, ro, null;
	char path[64];

	m = luo_memfd_filled("m", 0, 4, 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, ro);
	null = open("/dev/null", O_RDWR);
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(-EPERM, luo_preserve_fd(s, ro, 1));
	/* Nobody is called for what no handler takes, or for a token that is in use. */
	ASSERT_EQ(-ENOENT, luo_preserve_fd(s, null, 2));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(-EEXIST, luo_preserve_fd(s, m, 1));
	ASSERT_LT(0, trace_read(TRACING "/trace"));
	EXPECT_EQ(-1, trace_is(_metadata, "session=failure",
			       CALL("failure", "0x1", "preserve"),
			       RETURN("failure", "0x1", "preserve", "-1"),
			       CALL("failure", "0x1", "preserve"),
			       RETURN("failure", "0x1", "preserve", "0"), NULL));
	EXPECT_NE(NULL, strstr(trace, "handler=memfd-v2"));
	EXPECT_NE(NULL, strstr(trace, "luo_can_preserve: "));
	close(s);
}

LUO_TEST(stage1, duration_is_that_of_the_callback)
{
	int m = luo_memfd_filled("m", 0, 4096, 1);
	uint64_t start, took = 0;
	long long duration, found = -1;
	char line[512];

	/* The whole VM may have to wait within the ioctl, and outside of the callback. */
	for (int try = 0; try < 10 && (found < 0 || took / 4 > (uint64_t)found); try++) {
		int s = luo_create_session(self->dev, "long");

		ASSERT_EQ(0, trace_start());
		start = luo_now_ns();
		ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
		took = luo_now_ns() - start;
		ASSERT_LT(0, trace_read(TRACING "/trace"));
		close(s);
		found = -1;
		for (const char *p = trace; *p; ) {
			p = trace_line(p, line, sizeof(line), &duration);
			if (strstr(line, "luo_file_return: session=long") &&
			    strstr(line, "op=preserve"))
				found = duration;
		}
		/* Not more than the ioctl took, and of that the most. */
		ASSERT_LE(0, found);
		EXPECT_GE(took, (uint64_t)found);
	}
	EXPECT_LE(took / 4, (uint64_t)found) {
		TH_LOG("%lld ns of %llu", found, (unsigned long long)took);
	}
}

/* Files of the handler B need the shared state Y, and no other. */
LUO_TEST(stage1, shared_state_is_traced)
{
	int s = luo_create_session(self->dev, "shared"), lt;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 1, 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, 2));
	close(s);
	ASSERT_LT(0, trace_read(TRACING "/trace"));
	EXPECT_EQ(-1, trace_is(_metadata, "luo_flb_",
			       "luo_flb_call: flb=luo-test-y-v1 op=preserve",
			       "luo_flb_return: flb=luo-test-y-v1 op=preserve result=0",
			       "luo_flb_call: flb=luo-test-y-v1 op=unpreserve",
			       "luo_flb_return: flb=luo-test-y-v1 op=unpreserve result=0", NULL));

	s = luo_create_session(self->dev, "shared");
	ASSERT_EQ(0, lt_rule(lt, LUO_TEST_FLB(LUO_TEST_Y), LUO_TEST_FLB_PRESERVE, -EIO, 0, 1));
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(-EIO, lt_preserve(lt, s, LUO_TEST_B, 1, 1));
	ASSERT_EQ(0, lt_clear(lt));
	ASSERT_LT(0, trace_read(TRACING "/trace"));
	EXPECT_EQ(-1, trace_is(_metadata, "luo_flb_",
			       "luo_flb_call: flb=luo-test-y-v1 op=preserve",
			       "luo_flb_return: flb=luo-test-y-v1 op=preserve result=-5", NULL));
	close(s);
}

/* reboot() returns what freeze() said; the trace names the file and who was undone. */
LUO_TEST(stage1, freeze_that_fails)
{
	int s = luo_create_session(self->dev, "cold"), lt, m = luo_memfd_filled("m", 0, 1, 1);

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, 2));
	ASSERT_EQ(0, lt_rule(lt, 2, LUO_TEST_FREEZE, -EIO, 0, 1));
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(-EIO, luo_kexec_exec());
	ASSERT_EQ(0, lt_clear(lt));
	ASSERT_LT(0, trace_read(TRACING "/trace"));
	EXPECT_EQ(-1, trace_is(_metadata, "session=cold",
			       CALL("cold", "0x1", "freeze"),
			       RETURN("cold", "0x1", "freeze", "0"),
			       "luo_file_call: session=cold token=0x2 handler=luo-test-b-v1 op=freeze",
			       "luo_file_return: session=cold token=0x2 handler=luo-test-b-v1 op=freeze result=-5",
			       CALL("cold", "0x1", "unfreeze"),
			       RETURN("cold", "0x1", "unfreeze", "0"), NULL));
	close(s);
}

LUO_TEST(stage1, freeze_is_traced_into_the_next_kernel)
{
	int s = luo_create_session(self->dev, "past"), m = luo_memfd_filled("m", 0, 4, 7);

	ASSERT_EQ(0, luo_preserve_fd(s, m, 7));
	close(m);
	ASSERT_EQ(0, luo_keep(s));
	ASSERT_EQ(0, luo_write_file(PAST EVENTS, "1"));
	ASSERT_EQ(0, trace_clear(PAST "/trace"));
	ASSERT_EQ(0, luo_write_file(PAST "/tracing_on", "1"));
}

/* Of an earlier boot, events are printed field by field; 2 is the number of freeze(). */
LUO_TEST(stage2, freeze_was_traced_by_the_previous_kernel)
{
	const char *call, *ret, *end;
	char line[512];

	ASSERT_LT(0, trace_read(PAST "/trace"));
	call = strstr(trace, "luo_file_call: ");
	ASSERT_NE(NULL, call);
	EXPECT_EQ(0, strncmp(call, PAST_CALL "\n", strlen(PAST_CALL "\n"))) {
		TH_LOG("%.100s", call);
	}
	ret = strstr(call, "luo_file_return: ");
	ASSERT_NE(NULL, ret);
	end = strchrnul(ret, '\n');
	snprintf(line, sizeof(line), "%.*s", (int)(end - ret), ret);
	EXPECT_EQ(0, strncmp(line, PAST_RETURN, strlen(PAST_RETURN)));
	EXPECT_NE(NULL, strstr(line, " op=0x2 (2) result=0x0 (0)")) {
		TH_LOG("%s", line);
	}
	EXPECT_EQ(NULL, strstr(end, "luo_file_call: "));
}

LUO_TEST(stage2, retrieve_and_finish)
{
	int s, m;

	ASSERT_EQ(0, trace_start());
	s = luo_retrieve_session(self->dev, "past");
	ASSERT_LE(0, s);
	ASSERT_EQ(-ENOENT, luo_retrieve_fd(s, 8));
	m = luo_retrieve_fd(s, 7);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 4, 7));
	/* The second descriptor is no second callback. */
	ASSERT_LE(0, luo_retrieve_fd(s, 7));
	ASSERT_EQ(0, luo_finish(s));
	ASSERT_LT(0, trace_read(TRACING "/trace"));
	EXPECT_EQ(-1, trace_is(_metadata, "session=past",
			       CALL("past", "0x7", "retrieve"),
			       RETURN("past", "0x7", "retrieve", "0"),
			       CALL("past", "0x7", "finish"),
			       RETURN("past", "0x7", "finish", "0"), NULL));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
