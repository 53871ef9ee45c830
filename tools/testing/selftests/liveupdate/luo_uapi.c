// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what /dev/liveupdate and session descriptors answer to bad input.
 *
 * Every ioctl with structs that are short, long, cut off by an unmapped page
 * or not writable; every descriptor that is not what it should be; names and
 * tokens that are taken.  The errno is the one of the table in the life cycle
 * documentation, nothing is half done afterwards, and nothing leaks: the whole
 * of it is repeated while slab counts are watched.
 *
 * vm-test: name=uapi mem=1024 smp=2 append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "luo_stages.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define TOKEN		0x1234

LUO_STAGE(stage1);

/* The ioctls as a table: what they are issued on and how large they are. */
struct call {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	bool on_session;
	int valid;		/* what a well-formed call gives here, 0 or an errno */
};

static const struct call calls[] = {
	{ "create", LIVEUPDATE_IOCTL_CREATE_SESSION,
	  sizeof(struct liveupdate_ioctl_create_session), false, 0 },
	{ "retrieve session", LIVEUPDATE_IOCTL_RETRIEVE_SESSION,
	  sizeof(struct liveupdate_ioctl_retrieve_session), false, ENOENT },
	{ "preserve", LIVEUPDATE_SESSION_PRESERVE_FD,
	  sizeof(struct liveupdate_session_preserve_fd), true, 0 },
	{ "retrieve fd", LIVEUPDATE_SESSION_RETRIEVE_FD,
	  sizeof(struct liveupdate_session_retrieve_fd), true, EINVAL },
	{ "finish", LIVEUPDATE_SESSION_FINISH,
	  sizeof(struct liveupdate_session_finish), true, EINVAL },
	{ "get name", LIVEUPDATE_SESSION_GET_NAME,
	  sizeof(struct liveupdate_session_get_name), true, 0 },
};

/* Declares c. */
#define for_each_call() for (const struct call *c = calls; c < calls + 6; c++)

union any {
	uint32_t size;
	struct liveupdate_ioctl_create_session create;
	struct liveupdate_ioctl_retrieve_session retrieve;
	struct liveupdate_session_preserve_fd preserve;
	struct liveupdate_session_retrieve_fd retrieve_fd;
	struct liveupdate_session_finish finish;
	struct liveupdate_session_get_name get_name;
	uint8_t raw[2 * LUO_PAGE];
};

struct ctx {
	int dev;
	int session;
	int memfd;
};

/* Fills in a call that is valid but for what the caller changes afterwards. */
static void good(const struct call *c, union any *arg, const struct ctx *ctx)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = c->size;
	switch (c->cmd) {
	case LIVEUPDATE_IOCTL_CREATE_SESSION:
	case LIVEUPDATE_IOCTL_RETRIEVE_SESSION:
		memcpy(arg->create.name, "uapi-new", 9);
		arg->create.fd = -1;
		break;
	case LIVEUPDATE_SESSION_PRESERVE_FD:
		arg->preserve.fd = ctx->memfd;
		arg->preserve.token = TOKEN;
		break;
	case LIVEUPDATE_SESSION_RETRIEVE_FD:
		arg->retrieve_fd.token = TOKEN;
		break;
	default:
		break;
	}
}

static int issue_at(const struct call *c, void *arg, const struct ctx *ctx)
{
	return ioctl(c->on_session ? ctx->session : ctx->dev, c->cmd, arg) ? errno : 0;
}

static int issue(const struct call *c, union any *arg, const struct ctx *ctx)
{
	int ret = issue_at(c, arg, ctx);

	/* A session that came of it is not what is looked at. */
	if (!ret && c->cmd == LIVEUPDATE_IOCTL_CREATE_SESSION)
		close(arg->create.fd);
	return ret;
}

static void ctx_open(struct ctx *ctx, int dev)
{
	ctx->dev = dev;
	ctx->session = luo_create_session(dev, "uapi");
	ctx->memfd = luo_memfd_filled("uapi", 0, 4, 1);
}

static void ctx_close(struct ctx *ctx)
{
	close(ctx->session);
	close(ctx->memfd);
}

LUO_TEST(stage1, device_is_private_and_has_one_opener)
{
	struct stat st;
	int fd;

	ASSERT_EQ(0, stat(LUO_DEV, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600U, st.st_mode & 07777);
	EXPECT_EQ(0U, st.st_uid);

	EXPECT_EQ(-EBUSY, luo_open_dev());
	EXPECT_EQ(-1, open(LUO_DEV, O_RDONLY));
	EXPECT_EQ(EBUSY, errno);
	close(self->dev);

	for (int i = 0; i < 100; i++) {
		fd = luo_open_dev();
		ASSERT_LE(0, fd);
		ASSERT_EQ(-EBUSY, luo_open_dev());
		close(fd);
	}
	self->dev = luo_open_dev();
	ASSERT_LE(0, self->dev);
}

LUO_TEST(stage1, device_stays_busy_while_a_copy_is_open)
{
	int copy = dup(self->dev);

	ASSERT_LE(0, copy);
	close(self->dev);
	EXPECT_EQ(-EBUSY, luo_open_dev());
	self->dev = copy;
}

LUO_TEST(stage1, sessions_outlive_the_device_descriptor)
{
	int s = luo_create_session(self->dev, "outlive"), m = luo_memfd_filled("m", 0, 1, 1);
	char name[NAME_LEN];

	ASSERT_LE(0, s);
	close(self->dev);
	self->dev = luo_open_dev();
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "outlive"));
	EXPECT_EQ(0, luo_get_name(s, name));
	EXPECT_STREQ("outlive", name);
	EXPECT_EQ(0, luo_preserve_fd(s, m, 1));
}

LUO_TEST(stage1, valid_calls_do_what_the_table_says)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	ASSERT_LE(0, ctx.session);
	for_each_call() {
		good(c, &arg, &ctx);
		EXPECT_EQ(c->valid, issue(c, &arg, &ctx)) {
			TH_LOG("%s", c->name);
		}
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, struct_too_short_is_einval)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	for_each_call() {
		for (uint32_t size = 0; size < c->size; size++) {
			good(c, &arg, &ctx);
			arg.size = size;
			ASSERT_EQ(EINVAL, issue(c, &arg, &ctx)) {
				TH_LOG("%s, size %u", c->name, size);
			}
		}
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, longer_struct_with_zero_tail_is_accepted)
{
	static const uint32_t more[] = { 1, 4, 8, 100, LUO_PAGE - 200, LUO_PAGE };
	struct ctx ctx;
	union any arg;

	for_each_call() {
		for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
			ctx_open(&ctx, self->dev);
			good(c, &arg, &ctx);
			arg.size = c->size + more[i];
			ASSERT_EQ(c->valid, issue(c, &arg, &ctx)) {
				TH_LOG("%s, size %u", c->name, arg.size);
			}
			ctx_close(&ctx);
		}
	}
}

LUO_TEST(stage1, longer_struct_with_any_tail_byte_set_is_e2big)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	for_each_call() {
		for (uint32_t at = 0; at < 40; at++) {
			good(c, &arg, &ctx);
			arg.size = c->size + 40;
			arg.raw[c->size + at] = 1;
			ASSERT_EQ(E2BIG, issue(c, &arg, &ctx)) {
				TH_LOG("%s, byte %u", c->name, c->size + at);
			}
		}
		good(c, &arg, &ctx);
		arg.size = c->size + LUO_PAGE;
		arg.raw[arg.size - 1] = 0x80;
		ASSERT_EQ(E2BIG, issue(c, &arg, &ctx));
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, unmapped_struct_is_efault)
{
	struct ctx ctx;
	union any arg;
	uint8_t *map;

	map = mmap(NULL, 2 * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map + LUO_PAGE, LUO_PAGE));

	ctx_open(&ctx, self->dev);
	for_each_call() {
		EXPECT_EQ(EFAULT, issue_at(c, NULL, &ctx));
		EXPECT_EQ(EFAULT, issue_at(c, (void *)-4096UL, &ctx));
		EXPECT_EQ(EFAULT, issue_at(c, map + LUO_PAGE, &ctx));
		good(c, &arg, &ctx);
		for (uint32_t keep = 1; keep < c->size; keep++) {
			void *at = map + LUO_PAGE - keep;

			memcpy(at, &arg, keep);
			ASSERT_EQ(EFAULT, issue_at(c, at, &ctx)) {
				TH_LOG("%s, %u bytes mapped", c->name, keep);
			}
		}
		/* All that is known is there, the rest of what is announced is not. */
		arg.size = c->size + 64;
		memcpy(map + LUO_PAGE - c->size, &arg, c->size);
		EXPECT_EQ(EFAULT, issue_at(c, map + LUO_PAGE - c->size, &ctx));
	}
	ctx_close(&ctx);
	munmap(map, LUO_PAGE);
}

LUO_TEST(stage1, result_that_cannot_be_written_undoes_the_call)
{
	struct liveupdate_ioctl_create_session *create;
	struct liveupdate_session_get_name *get;
	int lowest = dup(0), s;

	ASSERT_LE(0, lowest);
	close(lowest);

	create = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)create);
	create->size = sizeof(*create);
	memcpy(create->name, "readonly", 9);
	ASSERT_EQ(0, mprotect(create, LUO_PAGE, PROT_READ));
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(-1, ioctl(self->dev, LIVEUPDATE_IOCTL_CREATE_SESSION, create));
		ASSERT_EQ(EFAULT, errno);
	}
	/* Neither the name nor a descriptor number is gone. */
	s = luo_create_session(self->dev, "readonly");
	EXPECT_EQ(lowest, s);

	ASSERT_EQ(0, mprotect(create, LUO_PAGE, PROT_READ | PROT_WRITE));
	get = (void *)create;
	memset(get, 0, sizeof(*get));
	get->size = sizeof(*get);
	ASSERT_EQ(0, mprotect(get, LUO_PAGE, PROT_READ));
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_GET_NAME, get));
	EXPECT_EQ(EFAULT, errno);
	close(s);
	munmap(get, LUO_PAGE);
}

LUO_TEST(stage1, unknown_commands_are_enotty)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	memset(&arg, 0, sizeof(arg));
	arg.size = 128;
	/* Each on the descriptor of the other kind. */
	for_each_call() {
		good(c, &arg, &ctx);
		EXPECT_EQ(-1, ioctl(c->on_session ? ctx.dev : ctx.session, c->cmd, &arg));
		EXPECT_EQ(ENOTTY, errno) {
			TH_LOG("%s on the wrong descriptor", c->name);
		}
	}
	/* Numbers that nobody has, other types, directions and sizes in the number. */
	for (int nr = 0x02; nr < 0x20; nr++) {
		EXPECT_EQ(-1, ioctl(ctx.dev, _IO(LIVEUPDATE_IOCTL_TYPE, nr), &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	for (int nr = 0x44; nr < 0x80; nr++) {
		EXPECT_EQ(-1, ioctl(ctx.session, _IO(LIVEUPDATE_IOCTL_TYPE, nr), &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	for_each_call() {
		int fd = c->on_session ? ctx.session : ctx.dev;
		unsigned int nr = c->cmd & 0xff;

		good(c, &arg, &ctx);
		EXPECT_EQ(-1, ioctl(fd, _IO(0xBB, nr), &arg));
		EXPECT_EQ(ENOTTY, errno);
		EXPECT_EQ(-1, ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, LIVEUPDATE_IOCTL_TYPE, nr, 8),
				    &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	/* What every descriptor knows still works. */
	EXPECT_EQ(0, ioctl(ctx.session, FIOCLEX));
	ctx_close(&ctx);
}

LUO_TEST(stage1, other_file_operations_are_refused_quietly)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct ctx ctx;
	char buf[16] = { 0 };
	int ep;

	ctx_open(&ctx, self->dev);
	for (int i = 0; i < 2; i++) {
		int fd = i ? ctx.session : ctx.dev;

		EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
		EXPECT_EQ(-1, write(fd, buf, sizeof(buf)));
		EXPECT_EQ(-1, ftruncate(fd, 0));
		EXPECT_EQ(-1, fallocate(fd, 0, 0, 4096));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, LUO_PAGE, PROT_READ, MAP_SHARED, fd, 0));
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
		close(ep);
		lseek(fd, 10, SEEK_SET);
		fsync(fd);
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, names_are_checked)
{
	struct liveupdate_ioctl_create_session arg;
	static const unsigned long cmds[] = {
		LIVEUPDATE_IOCTL_CREATE_SESSION, LIVEUPDATE_IOCTL_RETRIEVE_SESSION,
	};
	char name[NAME_LEN], link[128], path[64];
	int s, same;
	ssize_t n;

	for (int i = 0; i < 2; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.size = sizeof(arg);
		EXPECT_EQ(-1, ioctl(self->dev, cmds[i], &arg));
		EXPECT_EQ(EINVAL, errno);
		memset(arg.name, 'n', sizeof(arg.name));
		EXPECT_EQ(-1, ioctl(self->dev, cmds[i], &arg));
		EXPECT_EQ(EINVAL, errno);
	}

	/* 63 characters are the longest; what follows the NUL is of no account. */
	memset(name, 'n', sizeof(name));
	name[NAME_LEN - 1] = 0;
	s = luo_create_session(self->dev, name);
	ASSERT_LE(0, s);
	memset(link, 0, sizeof(link));
	EXPECT_EQ(0, luo_get_name(s, link));
	EXPECT_STREQ(name, link);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, name));
	name[NAME_LEN - 2] = 0;
	same = luo_create_session(self->dev, name);
	EXPECT_LE(0, same);
	close(same);
	close(s);

	memset(&arg, 'x', sizeof(arg));
	arg.size = sizeof(arg);
	memcpy(arg.name, "tail", 5);
	ASSERT_EQ(0, ioctl(self->dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg));
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "tail"));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", arg.fd);
	n = readlink(path, link, sizeof(link) - 1);
	ASSERT_LT(0, n);
	link[n] = 0;
	EXPECT_STREQ("anon_inode:[luo_session] tail", link);
	EXPECT_EQ(FD_CLOEXEC, fcntl(arg.fd, F_GETFD));
	close(arg.fd);
}

LUO_TEST(stage1, names_may_hold_any_byte)
{
	static const char * const odd[] = {
		"a b", "a/b", "..", "a\nb", "%s%n", "\xff\xfe", "\"quoted\"", "ünïcödé", "[x]",
	};
	char name[NAME_LEN], path[64], buf[1024];

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		int s = luo_create_session(self->dev, odd[i]);

		ASSERT_LE(0, s);
		EXPECT_EQ(0, luo_get_name(s, name));
		EXPECT_STREQ(odd[i], name);
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", s);
		EXPECT_LT(0, luo_read_file(path, buf, sizeof(buf)));
		EXPECT_EQ(-EEXIST, luo_create_session(self->dev, odd[i]));
		close(s);
	}
}

LUO_TEST(stage1, names_and_tokens_that_are_taken)
{
	int a = luo_create_session(self->dev, "taken"), b = luo_create_session(self->dev, "other");
	int m = luo_memfd_filled("m", 0, 1, 1), n = luo_memfd_filled("n", 0, 1, 2);
	char path[64];
	int again, copy;

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "taken"));

	EXPECT_EQ(0, luo_preserve_fd(a, m, TOKEN));
	EXPECT_EQ(-EEXIST, luo_preserve_fd(a, n, TOKEN));
	/* The same file, by any descriptor and in any session. */
	copy = dup(m);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m);
	again = open(path, O_RDWR);
	ASSERT_LE(0, again);
	EXPECT_EQ(-EBUSY, luo_preserve_fd(a, m, TOKEN + 1));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(b, m, TOKEN));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(b, copy, TOKEN));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(b, again, TOKEN));
	/* A token belongs to its session; every value is one. */
	EXPECT_EQ(0, luo_preserve_fd(b, n, TOKEN));
	close(n);
	n = luo_memfd_filled("n", 0, 1, 2);
	EXPECT_EQ(0, luo_preserve_fd(b, n, 0));
	close(n);
	n = luo_memfd_filled("n", 0, 1, 2);
	EXPECT_EQ(0, luo_preserve_fd(b, n, UINT64_MAX));
	close(n);

	/* With its session gone the file is free again, also by its other descriptors. */
	close(a);
	EXPECT_EQ(0, luo_preserve_fd(b, again, 77));
	close(b);
	b = luo_create_session(self->dev, "taken");
	ASSERT_LE(0, b);
	EXPECT_EQ(0, luo_preserve_fd(b, copy, TOKEN));
	close(b);
}

LUO_TEST(stage1, descriptors_that_cannot_be_preserved)
{
	int s = luo_create_session(self->dev, "bad-fd"), m, fd, pipes[2];
	char path[64];

	ASSERT_LE(0, s);
	EXPECT_EQ(-EBADF, luo_preserve_fd(s, -1, 1));
	EXPECT_EQ(-EBADF, luo_preserve_fd(s, INT32_MAX, 1));
	EXPECT_EQ(-EBADF, luo_preserve_fd(s, INT32_MIN, 1));
	m = luo_memfd_filled("m", 0, 1, 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m);
	fd = open(path, O_PATH);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBADF, luo_preserve_fd(s, fd, 1));
	close(fd);
	close(m);
	EXPECT_EQ(-EBADF, luo_preserve_fd(s, m, 1));

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, pipes[0], 1));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, pipes[1], 1));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, s, 1));
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, self->dev, 1));
	fd = open("/dev/null", O_RDWR);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	fd = open("/proc/self/maps", O_RDONLY);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	fd = open("/tmp", O_RDONLY | O_DIRECTORY);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	/* A file with a name in a tmpfs is no memfd. */
	fd = open("/tmp/named", O_RDWR | O_CREAT, 0600);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);
	fd = open("/init", O_RDONLY);
	EXPECT_EQ(-ENOENT, luo_preserve_fd(s, fd, 1));
	close(fd);

	/* After all that the token is still free. */
	m = luo_memfd_filled("m", 0, 1, 1);
	EXPECT_EQ(0, luo_preserve_fd(s, m, 1));
	close(s);
}

LUO_TEST(stage1, outgoing_session_has_nothing_to_retrieve_or_finish)
{
	int s = luo_create_session(self->dev, "outgoing"), m = luo_memfd_filled("m", 0, 1, 1);
	struct liveupdate_session_finish fin = { .size = sizeof(fin), .reserved = 1 };
	struct liveupdate_session_get_name get = { .size = sizeof(get), .reserved = 1 };

	ASSERT_LE(0, s);
	EXPECT_EQ(-EINVAL, luo_finish(s));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, TOKEN));
	EXPECT_EQ(0, luo_preserve_fd(s, m, TOKEN));
	EXPECT_EQ(-EINVAL, luo_finish(s));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, TOKEN));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, TOKEN + 1));

	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_FINISH, &fin));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_GET_NAME, &get));
	EXPECT_EQ(EINVAL, errno);

	/* The two sets have name spaces of their own, and this boot has no incoming one. */
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "outgoing"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "never-there"));
	close(s);
}

LUO_TEST(stage1, closed_outgoing_session_is_as_if_it_had_never_been)
{
	int m[8], s;

	for (int i = 0; i < 8; i++)
		m[i] = luo_memfd_filled("m", 0, 8, i);
	for (int round = 0; round < 20; round++) {
		s = luo_create_session(self->dev, "closed");
		ASSERT_LE(0, s);
		for (int i = 0; i < 8; i++)
			ASSERT_EQ(0, luo_preserve_fd(s, m[i], i));
		close(s);
	}
	for (int i = 0; i < 8; i++) {
		EXPECT_EQ(LUO_OK, luo_verify_fd(m[i], 0, 8, i));
		EXPECT_EQ(0, ftruncate(m[i], 0));
	}
}

LUO_TEST(stage1, session_held_by_a_copy_or_a_child_or_a_message_lives_on)
{
	int s = luo_create_session(self->dev, "copies"), sv[2], copy, go[2], back;
	char name[NAME_LEN], c = 0;
	pid_t pid;

	ASSERT_LE(0, s);
	copy = dup(s);
	close(s);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "copies"));

	/* The only descriptor travels in a message. */
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	ASSERT_EQ(0, luo_send_fd(sv[0], copy));
	close(copy);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "copies"));
	back = luo_recv_fd(sv[1]);
	ASSERT_LE(0, back);
	EXPECT_EQ(0, luo_get_name(back, name));
	EXPECT_STREQ("copies", name);

	/* A child has it after the parent let go; it dies without closing. */
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		close(go[1]);
		(void)!read(go[0], &c, 1);
		_exit(luo_get_name(back, name) ? 1 : 0);
	}
	close(go[0]);
	close(back);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "copies"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(go[1]);
	s = luo_create_session(self->dev, "copies");
	EXPECT_LE(0, s);
	close(s);
}

LUO_TEST(stage1, unprivileged_holder_can_preserve_but_not_open)
{
	int s = luo_create_session(self->dev, "capability"), m, status;
	struct rlimit lim = { 64 << 10, 64 << 10 };
	pid_t pid;

	ASSERT_LE(0, s);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_MEMLOCK, &lim);
		if (setgid(1000) || setuid(1000))
			_exit(1);
		if (luo_open_dev() != -EACCES)
			_exit(2);
		m = luo_memfd_filled("user", 0, 4, 1);
		if (luo_preserve_fd(s, m, 1))
			_exit(3);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("exit %d", WEXITSTATUS(status));
	}
	close(s);
}

LUO_TEST(stage1, preserved_pages_count_against_rlimit_memlock)
{
	int s = luo_create_session(self->dev, "memlock"), status;
	struct rlimit lim = { 16 * LUO_PAGE, 16 * LUO_PAGE };
	pid_t pid;

	ASSERT_LE(0, s);
	pid = fork();
	if (!pid) {
		int a, b, c, t;

		setrlimit(RLIMIT_MEMLOCK, &lim);
		if (setgid(1001) || setuid(1001))
			_exit(1);
		a = luo_memfd_filled("a", 0, 12, 1);
		b = luo_memfd_filled("b", 0, 5, 2);
		c = luo_memfd_filled("c", 0, 4, 3);
		if (luo_preserve_fd(s, a, 1))
			_exit(2);
		if (luo_preserve_fd(s, b, 2) != -ENOMEM)
			_exit(3);
		/* What failed is as before: not preserved, free to change. */
		if (ftruncate(b, LUO_PAGE) || ftruncate(b, 0))
			_exit(4);
		if (luo_preserve_fd(s, c, 2))
			_exit(5);
		t = luo_memfd_filled("t", 0, 1, 4);
		if (luo_preserve_fd(s, t, 3) != -ENOMEM)
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("exit %d", WEXITSTATUS(status));
	}

	/* Given back when the session goes, although the user's processes are gone. */
	close(s);
	s = luo_create_session(self->dev, "memlock");
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_MEMLOCK, &lim);
		if (setgid(1001) || setuid(1001))
			_exit(1);
		_exit(luo_preserve_fd(s, luo_memfd_filled("a", 0, 16, 1), 1) ? 2 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("exit %d", WEXITSTATUS(status));
	}
	close(s);
}

LUO_TEST(stage1, preserved_memfd_keeps_its_shape_and_gets_it_back)
{
	int s = luo_create_session(self->dev, "shape");
	int m = luo_memfd_filled("m", MFD_ALLOW_SEALING, 16, 3);

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	EXPECT_EQ(-1, ftruncate(m, 8 * LUO_PAGE));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, ftruncate(m, 32 * LUO_PAGE));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, fallocate(m, 0, 0, 32 * LUO_PAGE));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, fallocate(m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LUO_PAGE));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 16, 3));
	EXPECT_EQ(16LL * LUO_PAGE, luo_size(m));
	/* Writing past the end would grow it. */
	EXPECT_EQ(-1, pwrite(m, "x", 1, 16 * LUO_PAGE));

	close(s);
	EXPECT_EQ(0, fallocate(m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LUO_PAGE));
	EXPECT_EQ(LUO_OK, luo_verify_zero_fd(m, 0, 1));
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 1, 15, 3));
	EXPECT_EQ(0, fallocate(m, 0, 0, 32 * LUO_PAGE));
	EXPECT_EQ(0, ftruncate(m, 8 * LUO_PAGE));
	EXPECT_EQ(8LL * LUO_PAGE, luo_size(m));
}

/* One round of everything that fails, for the leak hunt below. */
static void bad_round(int dev)
{
	struct ctx ctx;
	union any arg;
	int null;

	ctx_open(&ctx, dev);
	null = open("/dev/null", O_RDWR);
	for_each_call() {
		good(c, &arg, &ctx);
		arg.size--;
		issue(c, &arg, &ctx);
		good(c, &arg, &ctx);
		arg.size += 8;
		arg.raw[arg.size - 1] = 1;
		issue(c, &arg, &ctx);
		issue_at(c, NULL, &ctx);
		good(c, &arg, &ctx);
		issue(c, &arg, &ctx);
		issue(c, &arg, &ctx);
	}
	luo_create_session(dev, "uapi");
	luo_create_session(dev, "");
	luo_preserve_fd(ctx.session, null, 9);
	luo_preserve_fd(ctx.session, -1, 9);
	luo_preserve_fd(ctx.session, ctx.memfd, 9);
	close(null);
	ctx_close(&ctx);
}

struct slab {
	char name[64];
	long active;
};

static int slabs_read(struct slab *slabs, int max)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512];
	int n = 0;

	while (f && fgets(line, sizeof(line), f) && n < max) {
		if (sscanf(line, "%63s %ld", slabs[n].name, &slabs[n].active) == 2 &&
		    slabs[n].name[0] != '#')
			n++;
	}
	if (f)
		fclose(f);
	return n;
}

/* With KASAN a round takes ten times as long. */
#define ROUNDS	(luo_debug_kernel() ? 100 : 400)

LUO_TEST(stage1, bad_input_leaks_no_slab_object_and_no_page)
{
	static struct slab before[400], after[400];
	const int rounds = ROUNDS;
	long long free_before, free_after;
	int n, m;

	for (int i = 0; i < rounds / 4; i++)
		bad_round(self->dev);
	luo_run("for f in /sys/kernel/slab/*/shrink; do echo 1 > $f; done 2>/dev/null");
	sleep(1);
	n = slabs_read(before, ARRAY_SIZE(before));
	ASSERT_LT(10, n);
	free_before = luo_meminfo_kb("MemFree");

	for (int i = 0; i < rounds; i++)
		bad_round(self->dev);
	luo_run("for f in /sys/kernel/slab/*/shrink; do echo 1 > $f; done 2>/dev/null");
	sleep(1);
	m = slabs_read(after, ARRAY_SIZE(after));
	free_after = luo_meminfo_kb("MemFree");

	/* One object lost per round would be that many objects in some cache. */
	for (int i = 0; i < n; i++) {
		for (int j = 0; j < m; j++) {
			/* kmemleak counts all objects, also those of everybody else. */
			if (strcmp(before[i].name, after[j].name) ||
			    !strcmp(before[i].name, "kmemleak_object"))
				continue;
			EXPECT_GT(rounds * 3 / 4, after[j].active - before[i].active) {
				TH_LOG("%s grew from %ld to %ld", before[i].name, before[i].active,
				       after[j].active);
			}
		}
	}
	/* So would be the pages; quarantines and per-CPU lists hold a few. */
	if (!luo_debug_kernel()) {
		EXPECT_GT(rounds * 4 * 3 / 4, free_before - free_after) {
			TH_LOG("MemFree fell from %lld KiB", free_before);
		}
	}
}

struct worker {
	pthread_t thread;
	int dev;
	int id;
	int shared;
	uint64_t until;
	unsigned long rounds;
	const char *wrong;
};

static void *hammer(void *data)
{
	struct worker *w = data;
	char own[32], name[NAME_LEN];

	snprintf(own, sizeof(own), "own-%d", w->id);
	while (luo_now_ns() < w->until && !w->wrong) {
		int s = luo_create_session(w->dev, own), m, t, common;

		if (s < 0) {
			w->wrong = "own session not created";
			break;
		}
		m = luo_memfd_filled("m", 0, 2, w->id);
		common = luo_create_session(w->dev, "common");
		if (common < 0 && common != -EEXIST)
			w->wrong = "common session neither created nor taken";
		if (luo_preserve_fd(s, m, 1))
			w->wrong = "own file not preserved";
		t = luo_preserve_fd(w->shared, m, w->id);
		if (t != -EBUSY && t != -EEXIST)
			w->wrong = "file preserved twice";
		if (luo_preserve_fd(s, m, 1) != -EEXIST && luo_preserve_fd(s, m, 2) != -EBUSY)
			w->wrong = "token or file taken twice";
		if (luo_get_name(s, name) || strcmp(name, own))
			w->wrong = "name of a session changed";
		if (luo_retrieve_session(w->dev, own) != -ENOENT)
			w->wrong = "outgoing session retrieved";
		if (luo_finish(s) != -EINVAL)
			w->wrong = "outgoing session finished";
		if (common >= 0) {
			luo_preserve_fd(common, m, 5);
			close(common);
		}
		if (w->id & 1) {
			close(m);
			close(s);
		} else {
			close(s);
			if (ftruncate(m, 0))
				w->wrong = "file still frozen after its session went";
			close(m);
		}
		w->rounds++;
	}
	return NULL;
}

LUO_TEST(stage1, callers_on_all_cpus_at_once)
{
	int nr = 2 * sysconf(_SC_NPROCESSORS_ONLN), shared;
	struct worker w[32];
	unsigned long rounds = 0;

	nr = nr > 32 ? 32 : nr < 4 ? 4 : nr;
	shared = luo_create_session(self->dev, "shared");
	ASSERT_LE(0, shared);
	for (int i = 0; i < nr; i++) {
		w[i] = (struct worker){ .dev = self->dev, .id = i, .shared = shared };
		w[i].until = luo_now_ns() + 3000000000ULL;
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, hammer, &w[i]));
	}
	for (int i = 0; i < nr; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(NULL, w[i].wrong) {
			TH_LOG("thread %d: %s", i, w[i].wrong);
		}
		EXPECT_LT(0, w[i].rounds);
		rounds += w[i].rounds;
	}
	luo_note("%d threads, %lu rounds", nr, rounds);
	close(shared);
}

LUO_TEST(stage1, closed_descriptor_is_ebadf)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	close(ctx.session);
	close(ctx.dev);
	for_each_call() {
		good(c, &arg, &ctx);
		EXPECT_EQ(EBADF, issue(c, &arg, &ctx));
	}
	close(ctx.memfd);
	self->dev = -1;
}

int main(void)
{
	static const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
