// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the life of a session around real kexecs, happy and unhappy.
 *
 * Stage 1 makes sessions, stage 2 claims, abandons, finishes and refills them,
 * stage 3 sees what is left and overrides the guard on unfinished files, and
 * stage 4 sees that what nobody finished is gone without a trace.
 *
 * vm-test: name=session stages=4 mem=1024 timeout=90 \
 *          needs=kexec-tools
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "luo_stages.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define BIG_PAGES	16384UL		/* 64 MiB */
#define OVERRIDE	"/proc/sys/kernel/liveupdate_abandon_unfinished"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);
LUO_STAGE(stage4);

/* A session of the given name with nr small files, tokens and seeds 1..nr. */
static int make(int dev, const char *name, int nr)
{
	int s = luo_create_session(dev, name);

	for (int i = 1; i <= nr && s >= 0; i++) {
		int m = luo_memfd_filled(name, 0, 4, i);
		int ret = luo_preserve_fd(s, m, i);

		close(m);
		if (ret) {
			close(s);
			return ret;
		}
	}
	return s;
}

static long check(int session, int token)
{
	int m = luo_retrieve_fd(session, token);
	long bad;

	if (m < 0)
		return m - 1000;
	bad = luo_verify_fd(m, 0, 4, token);
	close(m);
	return bad;
}

/* ---- stage 1: outgoing ---- */

#define SESSION(name, nr)						\
	LUO_TEST(stage1, prepare_##name)				\
	{								\
		int s = make(self->dev, #name, nr);			\
									\
		ASSERT_LE(0, s);					\
		ASSERT_EQ(0, luo_keep(s));				\
		close(s);						\
	}

SESSION(basic, 3)
SESSION(empty, 0)
SESSION(abandoned, 2)
SESSION(passed_on, 2)
SESSION(offset, 1)
SESSION(hop, 2)
SESSION(unclaimed, 2)
SESSION(unfinished, 2)
SESSION(half_read, 3)
SESSION(name_twice, 1)
SESSION(released, 2)
SESSION(errors, 2)

LUO_TEST(stage1, prepare_never_retrieved)
{
	int s = luo_create_session(self->dev, "never_retrieved");

	ASSERT_LE(0, s);
	for (int i = 1; i <= 2; i++) {
		int m = luo_memfd_filled("big", 0, BIG_PAGES / 2, i);

		ASSERT_LE(0, m);
		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		close(m);
	}
	ASSERT_EQ(0, luo_keep(s));
	close(s);
}

LUO_TEST(stage1, session_closed_before_the_kexec)
{
	int s = make(self->dev, "closed", 2);

	ASSERT_LE(0, s);
	close(s);
}

LUO_TEST(stage1, session_whose_last_holder_is_killed)
{
	int ready[2], made = -1;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		made = make(self->dev, "killed", 2);
		if (write(ready[1], &made, sizeof(made)) == sizeof(made))
			pause();
		_exit(1);
	}
	ASSERT_EQ((ssize_t)sizeof(made), read(ready[0], &made, sizeof(made)));
	ASSERT_LE(0, made);
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "killed"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* The grandchildren of the harness release it late at the most, not never. */
	for (int i = 0; i < 5000; i++) {
		int s = luo_create_session(self->dev, "killed");

		if (s >= 0) {
			close(s);
			return;
		}
		usleep(1000);
	}
	ASSERT_TRUE(0);
}

LUO_TEST(stage1, session_created_last_file_by_file_after_load)
{
	int s, m;

	/* Preserving is possible at any time, also with an image loaded. */
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	s = make(self->dev, "after_load", 1);
	ASSERT_LE(0, s);
	m = luo_memfd_filled("second", 0, 4, 2);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 2));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, image_that_cannot_carry_state_is_refused)
{
	char cmd[3072], line[2048];
	int s, m;

	ASSERT_EQ(0, luo_disk_to_file("kernel", "/tmp/kernel"));
	ASSERT_EQ(0, luo_disk_to_file("initrd", "/tmp/initrd"));
	ASSERT_EQ(0, luo_next_cmdline(line, sizeof(line), 9, NULL));
	snprintf(cmd, sizeof(cmd),
		 "kexec -c -l /tmp/kernel --initrd=/tmp/initrd --command-line='%s'", line);
	ASSERT_EQ(0, luo_run(cmd));
	ASSERT_EQ(1, luo_kexec_is_loaded());

	EXPECT_EQ(-EINVAL, luo_kexec_exec());

	/* Nothing was frozen on the way. */
	s = luo_create_session(self->dev, "after-refusal");
	ASSERT_LE(0, s);
	m = luo_memfd_filled("m", 0, 1, 1);
	EXPECT_EQ(0, luo_preserve_fd(s, m, 1));
	close(s);
	EXPECT_EQ(0, ftruncate(m, 0));

	/* An image that can takes its place. */
	luo_run("kexec -u");
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
}

LUO_TEST(stage1, reboot_without_an_image_changes_nothing)
{
	int s, m;

	ASSERT_EQ(0, luo_kexec_unload(0));
	EXPECT_EQ(-EINVAL, luo_kexec_exec());
	s = luo_create_session(self->dev, "no-image");
	ASSERT_LE(0, s);
	m = luo_memfd_filled("m", 0, 1, 1);
	EXPECT_EQ(0, luo_preserve_fd(s, m, 1));
	close(s);
	EXPECT_EQ(0, ftruncate(m, 0));
}

/* ---- stage 2: incoming ---- */

LUO_TEST(stage2, sessions_that_were_gone_did_not_come)
{
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "closed"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "killed"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "after-refusal"));
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "no-image"));
}

LUO_TEST(stage2, happy_path)
{
	int s = luo_retrieve_session(self->dev, "basic");
	char name[NAME_LEN], path[64], link[128] = "";

	ASSERT_LE(0, s);
	EXPECT_EQ(0, luo_get_name(s, name));
	EXPECT_STREQ("basic", name);
	EXPECT_EQ(FD_CLOEXEC, fcntl(s, F_GETFD));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s);
	EXPECT_LT(0, readlink(path, link, sizeof(link) - 1));
	EXPECT_STREQ("anon_inode:[luo_session] basic", link);

	/* In any order. */
	EXPECT_EQ(LUO_OK, check(s, 2));
	EXPECT_EQ(LUO_OK, check(s, 3));
	EXPECT_EQ(LUO_OK, check(s, 1));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "basic"));
}

LUO_TEST(stage2, session_made_after_the_image_was_loaded_came_too)
{
	int s = luo_retrieve_session(self->dev, "after_load");

	ASSERT_LE(0, s);
	EXPECT_EQ(LUO_OK, check(s, 1));
	EXPECT_EQ(LUO_OK, check(s, 2));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
}

LUO_TEST(stage2, empty_session_travels)
{
	int s = luo_retrieve_session(self->dev, "empty");

	ASSERT_LE(0, s);
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 0));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
}

LUO_TEST(stage2, errors_on_incoming_sessions)
{
	struct liveupdate_session_finish fin = { .size = sizeof(fin), .reserved = 1 };
	struct liveupdate_session_get_name get = { .size = sizeof(get), .reserved = 1 };
	struct liveupdate_session_retrieve_fd *ret;
	int s = luo_retrieve_session(self->dev, "errors"), m, held, lowest;

	ASSERT_LE(0, s);
	EXPECT_EQ(-EBUSY, luo_retrieve_session(self->dev, "errors"));
	m = luo_memfd_filled("m", 0, 1, 1);
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, m, 9));
	EXPECT_EQ(0, ftruncate(m, 0));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 0));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 3));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, UINT64_MAX));
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_FINISH, &fin));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_GET_NAME, &get));
	EXPECT_EQ(EINVAL, errno);
	fin.size = 4;
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_FINISH, &fin));
	EXPECT_EQ(EINVAL, errno);

	/* A descriptor that cannot be told is not handed out, and the file not lost. */
	lowest = dup(0);
	close(lowest);
	ret = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ret->size = sizeof(*ret);
	ret->token = 1;
	ASSERT_EQ(0, mprotect(ret, LUO_PAGE, PROT_READ));
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_RETRIEVE_FD, ret));
	EXPECT_EQ(EFAULT, errno);
	m = dup(0);
	EXPECT_EQ(lowest, m);
	close(m);

	EXPECT_EQ(LUO_OK, check(s, 1));
	/* A retrieved file belongs to its session until FINISH. */
	held = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, held);
	m = luo_create_session(self->dev, "errors-out");
	ASSERT_LE(0, m);
	EXPECT_EQ(-EBUSY, luo_preserve_fd(m, held, 1));
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(0, luo_preserve_fd(m, held, 1));
	close(m);

	/* A finished session is empty, and neither incoming nor outgoing. */
	EXPECT_EQ(-EINVAL, luo_finish(s));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, 1));
	close(s);
}

LUO_TEST(stage2, abandoned_session_can_be_claimed_again_by_anyone)
{
	int s = luo_retrieve_session(self->dev, "abandoned"), status, m;
	pid_t pid;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	/* The owner of the file writes; then all of its descriptors are closed. */
	ASSERT_EQ(4, pwrite(m, "mark", 4, 0));
	close(m);
	close(s);

	for (int round = 0; round < 3; round++) {
		pid = fork();
		if (!pid) {
			char buf[4];

			s = luo_retrieve_session(self->dev, "abandoned");
			if (s < 0)
				_exit(1);
			m = luo_retrieve_fd(s, 1);
			if (m < 0 || pread(m, buf, 4, 0) != 4 || memcmp(buf, "mark", 4))
				_exit(2);
			if (luo_verify_fd(m, 1, 3, 1) != LUO_OK)
				_exit(3);
			if (round && check(s, 2) != LUO_OK)
				_exit(4);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status) {
			TH_LOG("round %d: exit %d", round, WEXITSTATUS(status));
		}
	}
	s = luo_retrieve_session(self->dev, "abandoned");
	ASSERT_LE(0, s);
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "abandoned"));
}

LUO_TEST(stage2, session_is_held_as_long_as_any_copy_is)
{
	int s = luo_retrieve_session(self->dev, "passed_on"), sv[2], back, copy;
	pid_t pid;

	ASSERT_LE(0, s);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	copy = dup(s);
	close(s);
	EXPECT_EQ(-EBUSY, luo_retrieve_session(self->dev, "passed_on"));
	ASSERT_EQ(0, luo_send_fd(sv[0], copy));
	close(copy);
	EXPECT_EQ(-EBUSY, luo_retrieve_session(self->dev, "passed_on"));
	back = luo_recv_fd(sv[1]);
	ASSERT_LE(0, back);
	EXPECT_EQ(LUO_OK, check(back, 1));

	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	close(back);
	EXPECT_EQ(-EBUSY, luo_retrieve_session(self->dev, "passed_on"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	s = luo_retrieve_session(self->dev, "passed_on");
	ASSERT_LE(0, s);
	EXPECT_EQ(LUO_OK, check(s, 1));
	EXPECT_EQ(LUO_OK, check(s, 2));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
}

LUO_TEST(stage2, retrieving_twice_gives_the_same_open_file)
{
	int s = luo_retrieve_session(self->dev, "offset"), a, b;

	ASSERT_LE(0, s);
	a = luo_retrieve_fd(s, 1);
	b = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_NE(a, b);
	EXPECT_EQ(FD_CLOEXEC, fcntl(a, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(b, F_GETFD));
	EXPECT_EQ(123, lseek(a, 123, SEEK_SET));
	EXPECT_EQ(123, lseek(b, 0, SEEK_CUR));
	close(a);
	close(b);
	/* Also when no descriptor was left in between. */
	a = luo_retrieve_fd(s, 1);
	EXPECT_EQ(123, lseek(a, 0, SEEK_CUR));
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(LUO_OK, luo_verify_fd(a, 0, 4, 1));
	close(a);
	close(s);
}

LUO_TEST(stage2, finish_frees_files_that_nobody_retrieved)
{
	int s = luo_retrieve_session(self->dev, "never_retrieved");
	long long before;

	ASSERT_LE(0, s);
	before = luo_free_kb();
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	/* 64 MiB came back. */
	EXPECT_LT(before + 56 * 1024, luo_free_kb());
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "never_retrieved"));
}

LUO_TEST(stage2, memory_of_finished_files_is_freed_with_the_last_user)
{
	int s = luo_retrieve_session(self->dev, "released");
	long long shmem = luo_meminfo_kb("Shmem");
	int a, b;

	ASSERT_LE(0, s);
	a = luo_retrieve_fd(s, 1);
	b = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_EQ(shmem + 32, luo_meminfo_kb("Shmem"));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_EQ(LUO_OK, luo_verify_fd(a, 0, 4, 1));
	EXPECT_EQ(LUO_OK, luo_verify_fd(b, 0, 4, 2));
	EXPECT_EQ(0, ftruncate(a, 40 * LUO_PAGE));
	EXPECT_EQ(LUO_OK, luo_verify_zero_fd(a, 4, 36));
	close(a);
	close(b);
	EXPECT_EQ(shmem, luo_meminfo_kb("Shmem"));
}

LUO_TEST(stage2, finished_session_is_filled_again)
{
	int s = luo_retrieve_session(self->dev, "hop"), m[3];

	ASSERT_LE(0, s);
	m[0] = luo_retrieve_fd(s, 1);
	m[1] = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, m[0]);
	ASSERT_LE(0, m[1]);
	ASSERT_EQ(0, luo_finish(s));
	/* In neither set: the name is free in both. */
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "hop"));

	m[2] = luo_memfd_filled("third", 0, 4, 3);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, luo_preserve_fd(s, m[i], i + 1));
	EXPECT_EQ(-EEXIST, luo_create_session(self->dev, "hop"));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, finished_session_whose_name_is_taken)
{
	int s = luo_retrieve_session(self->dev, "name_twice"), m, t;

	ASSERT_LE(0, s);
	/* The outgoing set has names of its own. */
	t = luo_create_session(self->dev, "name_twice");
	ASSERT_LE(0, t);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(-EEXIST, luo_preserve_fd(s, m, 1));
	/* Refused means not preserved. */
	EXPECT_EQ(0, luo_preserve_fd(t, m, 1));
	close(t);
	EXPECT_EQ(0, luo_preserve_fd(s, m, 1));
	close(s);
	EXPECT_EQ(0, ftruncate(m, 0));
}

LUO_TEST(stage2, finished_empty_session_does_not_travel)
{
	int s = luo_retrieve_session(self->dev, "half_read"), m;

	ASSERT_LE(0, s);
	/* One of three is looked at, all are finished. */
	m = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, m);
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 4, 2));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, unfinished_files_of_a_held_session_refuse_the_reboot)
{
	int s = luo_retrieve_session(self->dev, "unfinished"), m, before;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, NULL, 0));
	before = luo_klog_has("unfinished");
	EXPECT_EQ(-EBUSY, luo_kexec_exec());
	/* The log names the session. */
	EXPECT_LT(before, luo_klog_has("unfinished"));
	close(m);
	EXPECT_EQ(-EBUSY, luo_kexec_exec());

	/* Nothing was frozen: everything goes on. */
	EXPECT_EQ(LUO_OK, check(s, 2));
	m = make(self->dev, "unfrozen", 2);
	ASSERT_LE(0, m);
	close(m);

	/* Not held any more, nobody would be lost: it is given up at the kexec. */
	close(s);
}

/* ---- stage 3: the second hop ---- */

LUO_TEST(stage3, only_what_was_outgoing_came)
{
	static const char * const gone[] = {
		"basic", "empty", "abandoned", "passed_on", "offset", "unclaimed", "unfinished",
		"half_read", "name_twice", "released", "errors", "never_retrieved", "unfrozen",
		"after_load",
	};

	for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
		EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, gone[i])) {
			TH_LOG("%s", gone[i]);
		}
	}
}

LUO_TEST(stage3, refilled_session_came_with_old_and_new_files)
{
	int s = luo_retrieve_session(self->dev, "hop");

	ASSERT_LE(0, s);
	EXPECT_EQ(LUO_OK, check(s, 1));
	EXPECT_EQ(LUO_OK, check(s, 2));
	EXPECT_EQ(LUO_OK, check(s, 3));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 4));
	close(s);
}

LUO_TEST(stage3, guard_on_unfinished_files_can_be_overridden)
{
	int s = luo_retrieve_session(self->dev, "hop"), m;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(0, luo_kexec_load(NULL, 4, NULL, 0));
	EXPECT_EQ(-EBUSY, luo_kexec_exec());

	EXPECT_EQ(0, luo_file_num(OVERRIDE));
	ASSERT_EQ(0, luo_write_file(OVERRIDE, "1"));
	EXPECT_EQ(1, luo_file_num(OVERRIDE));
	ASSERT_EQ(0, luo_keep(s));
	ASSERT_EQ(0, luo_keep(m));

	s = make(self->dev, "beside", 1);
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_keep(s));
}

/* ---- stage 4 ---- */

LUO_TEST(stage4, unfinished_files_were_given_up_and_nothing_else)
{
	int s;

	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "hop"));
	s = luo_retrieve_session(self->dev, "beside");
	ASSERT_LE(0, s);
	EXPECT_EQ(LUO_OK, check(s, 1));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 4 };

	return luo_stages_main(&stages);
}
