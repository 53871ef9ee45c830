// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what may and may not be done with sessions, names, tokens and
 * descriptors within one kernel.
 *
 * Every descriptor that is not what it should be; names and tokens that are
 * taken; limits; who may hold a session and what becomes of it; all of it from many
 * threads at once.  The errno is the one of the table in the life cycle
 * documentation, and nothing is half done afterwards.
 *
 * vm-test: name=uapi_rules mem=1024 append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "luo_stages.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define TOKEN		0x1234

LUO_STAGE(stage1);

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

int main(void)
{
	static const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
