/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The test handler, lib/tests/luo_test_main.c, for test programs.
 *
 * Wrappers return a value >= 0 or a negative errno.
 */
#ifndef LUO_TEST_HANDLER_H
#define LUO_TEST_HANDLER_H

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "luo_test_util.h"
#include "../../../../lib/tests/luo_test_handler_uapi.h"

#define LT_MODULE	"/root/luo_test_handler.ko"

/* Built into the debug kernel, a module on the plain one. */
static inline bool lt_is_module(void)
{
	return !access(LT_MODULE, F_OK);
}

static inline int lt_load(void)
{
	int fd, ret;

	if (!access(LUO_TEST_DEV, F_OK))
		return 0;
	fd = open(LT_MODULE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(__NR_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return ret;
}

static inline int lt_unload(void)
{
	return syscall(__NR_delete_module, "luo_test_handler", O_NONBLOCK) ? -errno : 0;
}

static inline int lt_open(void)
{
	int fd = open(LUO_TEST_DEV, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int lt_make(int lt, struct luo_test_file *file)
{
	return ioctl(lt, LUO_TEST_OPEN, file) ? -errno : file->fd;
}

/* The usual file: it stands for itself and needs no other. */
static inline int lt_file(int lt, int handler, uint64_t tag, uint64_t value)
{
	struct luo_test_file file = {
		.handler = handler, .needs = -1, .tag = tag, .value = value,
	};

	return lt_make(lt, &file);
}

/* A file with a vmalloc area. */
static inline int lt_area(int lt, uint64_t tag, unsigned long pages)
{
	struct luo_test_file file = {
		.flags = LUO_TEST_AREA, .needs = -1, .tag = tag, .value = pages,
	};

	return lt_make(lt, &file);
}

/* A file that needs another one, which must be preserved before it. */
static inline int lt_dependent(int lt, int handler, uint64_t tag, int needs)
{
	struct luo_test_file file = { .handler = handler, .needs = needs, .tag = tag };

	return lt_make(lt, &file);
}

/* Preserve a new file and keep no descriptor of it. */
static inline int lt_preserve(int lt, int session, int handler, uint64_t tag, uint64_t value)
{
	int fd = lt_file(lt, handler, tag, value), ret;

	if (fd < 0)
		return fd;
	ret = luo_preserve_fd(session, fd, tag);
	close(fd);
	return ret;
}

static inline int lt_set(int fd, uint64_t value)
{
	return ioctl(fd, LUO_TEST_SET, &value) ? -errno : 0;
}

/* The value that a file carries; its descriptor is closed. */
static inline long long lt_value(int fd)
{
	struct luo_test_file file;
	long long ret;

	if (fd < 0)
		return fd;
	ret = ioctl(fd, LUO_TEST_GET, &file) ? -errno : (long long)file.value;
	close(fd);
	return ret;
}

static inline int lt_rule(int lt, uint64_t tag, int op, int error, int skip, int times)
{
	struct luo_test_rule rule = {
		.tag = tag, .op = op, .error = error, .skip = skip, .times = times,
	};

	return ioctl(lt, LUO_TEST_RULE, &rule) ? -errno : 0;
}

/* Once, before the callback does something or fails. */
static inline int lt_sleep(int lt, uint64_t tag, int op, int ms, int error)
{
	struct luo_test_rule rule = {
		.tag = tag, .op = op, .msleep = ms, .error = error, .times = 1,
	};

	return ioctl(lt, LUO_TEST_RULE, &rule) ? -errno : 0;
}

static inline int lt_clear(int lt)
{
	return ioctl(lt, LUO_TEST_CLEAR) ? -errno : 0;
}

static inline long long lt_flb_do(int lt, int flb, int cmd, int handler, uint64_t value)
{
	struct luo_test_flb f = { .flb = flb, .cmd = cmd, .handler = handler, .value = value };

	return ioctl(lt, LUO_TEST_FLB_DO, &f) ? -errno : (long long)f.value;
}

/* What PUT, SET and the like return is their 0 or errno, and nothing else. */
static inline long long lt_flb(int lt, int flb, int cmd)
{
	return lt_flb_do(lt, flb, cmd, 0, 0);
}

/* The log since the last time, as one string. */
static inline const char *lt_log(int lt)
{
	static char buf[32768];
	ssize_t n, len = 0;

	while ((n = read(lt, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	buf[len] = 0;
	return buf;
}

#endif /* LUO_TEST_HANDLER_H */
