/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the fuzzer can do: each operation to the kernel and to the model.
 *
 * An operation picks what it works on by its arguments and by what there is, so
 * that it makes sense in any state. It returns true if the kernel gave the answer
 * that the model asks for, and says in complaint what was wrong otherwise.
 */
#ifndef LUO_FUZZ_OPS_H
#define LUO_FUZZ_OPS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_fuzz_model.h"
#include "luo_test_util.h"

static struct fz_model *model;
static int session_fds[FZ_SESSIONS][FZ_SESSION_FDS];
static int object_fds[FZ_OBJECTS][FZ_OBJECT_FDS];
static int dev, passing[2];
static void *readonly_page;
static char complaint[256];

/* ---- the kernel's side: calls with all that can be wrong with a pointer ---- */

enum flavour {
	PROPER,
	LONG_ZERO,	/* a longer struct, the rest is zero */
	LONG_DIRTY,	/* a longer struct, the rest is not */
	SHORT,
	NO_POINTER,
	READ_ONLY,	/* the answer cannot be written */
	NO_ROOM,	/* no file descriptor is free */
	FLAVOURS,
};

static int call(int fd, unsigned long cmd, void *arg, size_t size, enum flavour flavour)
{
	struct rlimit old, none;
	char buf[512] = { 0 };
	uint32_t said = size;
	void *at = buf;
	int ret;

	if (flavour == LONG_ZERO || flavour == LONG_DIRTY)
		said = size + 40;
	if (flavour == SHORT)
		said = size - 1;
	memcpy(buf, arg, size);
	memcpy(buf, &said, sizeof(said));
	if (flavour == LONG_DIRTY)
		buf[said - 1] = 1;
	if (flavour == NO_POINTER)
		at = NULL;
	if (flavour == READ_ONLY) {
		mprotect(readonly_page, LUO_PAGE, PROT_READ | PROT_WRITE);
		memcpy(readonly_page, buf, sizeof(buf));
		mprotect(readonly_page, LUO_PAGE, PROT_READ);
		at = readonly_page;
	}
	if (flavour == NO_ROOM) {
		getrlimit(RLIMIT_NOFILE, &old);
		none = (struct rlimit) { .rlim_max = old.rlim_max };
		setrlimit(RLIMIT_NOFILE, &none);
	}
	ret = ioctl(fd, cmd, at) ? -errno : 0;
	if (flavour == NO_ROOM)
		setrlimit(RLIMIT_NOFILE, &old);
	memcpy(arg, buf, size);
	return ret;
}

/* What such a call must answer without having done anything, or 0. */
static int refused(enum flavour flavour)
{
	switch (flavour) {
	case LONG_DIRTY:
		return -E2BIG;
	case SHORT:
		return -EINVAL;
	case NO_POINTER:
		return -EFAULT;
	default:
		return 0;
	}
}

/* What a call that hands out a descriptor must answer when all else is well. */
static int unanswered(enum flavour flavour)
{
	return flavour == READ_ONLY ? -EFAULT : flavour == NO_ROOM ? -EMFILE : 0;
}

/* Most calls are proper ones. */
static enum flavour flavour_of(unsigned int arg)
{
	return arg % 4 ? PROPER : arg / 4 % FLAVOURS;
}

static bool judge(const char *what, long want, long got)
{
	if (want == got)
		return true;
	snprintf(complaint, sizeof(complaint), "%s: %ld, should be %ld", what, got, want);
	return false;
}

/* ---- descriptors ---- */

static int *free_slot(int *fds, int nr)
{
	for (int i = 0; i < nr; i++)
		if (fds[i] < 0)
			return &fds[i];
	return NULL;
}

static int *used_slot(int *fds, int nr, unsigned int arg)
{
	int used = 0;

	for (int i = 0; i < nr; i++)
		used += fds[i] >= 0;
	if (!used)
		return NULL;
	arg %= used;
	for (int i = 0; ; i++)
		if (fds[i] >= 0 && !arg--)
			return &fds[i];
}

static int session_fd(int s)
{
	int *fd = s < 0 ? NULL : used_slot(session_fds[s], FZ_SESSION_FDS, 0);

	return fd ? *fd : -1;
}

static int object_fd(int o)
{
	int *fd = o < 0 ? NULL : used_slot(object_fds[o], FZ_OBJECT_FDS, 0);

	return fd ? *fd : -1;
}

/* A session, or an object, that has a descriptor; -1 if none has. */
static int pick_session(unsigned int arg)
{
	for (unsigned int i = 0; i < FZ_SESSIONS; i++)
		if (session_fd((arg + i) % FZ_SESSIONS) >= 0)
			return (arg + i) % FZ_SESSIONS;
	return -1;
}

static int pick_object(unsigned int arg)
{
	for (unsigned int i = 0; i < FZ_OBJECTS; i++)
		if (object_fd((arg + i) % FZ_OBJECTS) >= 0)
			return (arg + i) % FZ_OBJECTS;
	return -1;
}

static void put_fd(int *fds, int nr, int fd)
{
	int *slot = free_slot(fds, nr);

	if (slot)
		*slot = fd;
	else
		close(fd);
}

static void object_gone(int o)
{
	if (object_fd(o) < 0)
		fz_object_closed(model, o);
}

/* ---- contents ---- */

static bool same_contents(int o, int fd)
{
	static uint8_t buf[FZ_SHADOW];
	struct fz_object *obj = &model->objects[o];
	long want = obj->size < FZ_SHADOW ? obj->size : FZ_SHADOW;

	if (!judge("size", obj->size, luo_size(fd)) ||
	    !judge("seals", obj->seals, fcntl(fd, F_GET_SEALS)) ||
	    !judge("position", obj->pos, lseek(fd, 0, SEEK_CUR)) ||
	    !judge("bytes read", want, pread(fd, buf, FZ_SHADOW, 0)))
		return false;
	for (long i = 0; i < want; i++) {
		if (buf[i] != obj->shadow[i]) {
			snprintf(complaint, sizeof(complaint),
				 "object %d: byte %ld is %#x, should be %#x", o, i, buf[i],
				 obj->shadow[i]);
			return false;
		}
	}
	return true;
}

/* ---- operations: true if the kernel did what it should ---- */

static bool op_create_session(struct fz_op op)
{
	struct liveupdate_ioctl_create_session arg = { .fd = -1 };
	enum flavour flavour = flavour_of(op.b);
	int name = op.a % (FZ_NAMES + 1), s = fz_free_session(model), want, got;

	if (s < 0)
		return true;
	/* The last name is none. */
	if (name < FZ_NAMES)
		snprintf((char *)arg.name, sizeof(arg.name), "fuzz-%d", name);
	else if (op.c & 1)
		memset(arg.name, 'x', sizeof(arg.name));

	want = refused(flavour);
	if (!want && name == FZ_NAMES)
		want = -EINVAL;
	if (!want && fz_find_session(model, FZ_OUTGOING, name) >= 0)
		want = -EEXIST;
	if (!want)
		want = unanswered(flavour);
	got = call(dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg, sizeof(arg), flavour);
	if (!judge("CREATE_SESSION", want, got))
		return false;
	if (!got) {
		model->sessions[s] = (struct fz_session) { .state = FZ_OUTGOING, .name = name };
		session_fds[s][0] = arg.fd;
	}
	return true;
}

static int retrieve_session(int name, enum flavour flavour, int *fd)
{
	struct liveupdate_ioctl_retrieve_session arg = { .fd = -1 };
	int ret;

	if (name < FZ_NAMES)
		snprintf((char *)arg.name, sizeof(arg.name), "fuzz-%d", name);
	ret = call(dev, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &arg, sizeof(arg), flavour);
	*fd = arg.fd;
	return ret;
}

static bool op_retrieve_session(struct fz_op op)
{
	enum flavour flavour = flavour_of(op.b);
	int name = op.a % (FZ_NAMES + 1), fd, got;
	int waits = fz_find_session(model, FZ_UNCLAIMED, name);
	int want = refused(flavour);

	if (!want && name == FZ_NAMES)
		want = -EINVAL;
	if (!want && fz_find_session(model, FZ_CLAIMED, name) >= 0)
		want = -EBUSY;
	if (!want && waits < 0)
		want = -ENOENT;
	if (!want)
		want = unanswered(flavour);
	got = retrieve_session(name, flavour, &fd);
	if (!judge("RETRIEVE_SESSION", want, got))
		return false;
	if (!got) {
		model->sessions[waits].state = FZ_CLAIMED;
		session_fds[waits][0] = fd;
	}
	return true;
}

/* In another process, which has copies of all descriptors until it ends. */
static int preserve_in_child(int s, struct liveupdate_session_preserve_fd *arg)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(-call(s, LIVEUPDATE_SESSION_PRESERVE_FD, arg, sizeof(*arg), PROPER));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -ECHILD;
	return -WEXITSTATUS(status);
}

/* Something that is no memfd, for PRESERVE_FD. Returns what should come of it. */
static int odd_file(unsigned int which, int s, int *fd, bool *opened)
{
	*opened = false;
	switch (which % 6) {
	case 0:
		*fd = -1;
		return -EBADF;
	case 1:
		*fd = 1000;
		return -EBADF;
	case 2:
		*fd = dev;
		return -ENOENT;
	case 3:
		*fd = session_fd(s);
		return -ENOENT;
	case 4:
		*fd = passing[0];
		return -ENOENT;
	default:
		*fd = open("/tmp/fuzz", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		*opened = true;
		return -ENOENT;
	}
}

static bool op_preserve(struct fz_op op)
{
	struct liveupdate_session_preserve_fd arg = { .token = fz_token(op.c) };
	enum flavour flavour = flavour_of(op.c >> 8);
	int s = pick_session(op.a), o = pick_object(op.b), want, got, taken = 0;
	bool odd = !((op.c >> 16) % 8), child = !((op.c >> 20) % 16), opened = false;
	bool reader = !odd && !((op.c >> 24) % 16);
	struct fz_session *session;

	if (s < 0 || (!odd && o < 0))
		return true;
	session = &model->sessions[s];
	arg.fd = object_fd(o);
	if (odd) {
		taken = odd_file(op.c >> 24, s, &arg.fd, &opened);
	} else if (reader) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", arg.fd);
		arg.fd = open(path, O_RDONLY | O_CLOEXEC);
		opened = true;
	}
	if (child)
		flavour = PROPER;

	want = refused(flavour);
	if (!want && (session->state == FZ_UNCLAIMED || session->state == FZ_CLAIMED))
		want = -EINVAL;
	if (!want && session->state == FZ_FINISHED &&
	    fz_find_session(model, FZ_OUTGOING, session->name) >= 0)
		want = -EEXIST;
	if (!want && taken == -EBADF)
		want = taken;
	if (!want && fz_find_object(model, s, arg.token) >= 0)
		want = -EEXIST;
	if (!want && taken)
		want = taken;
	if (!want && model->objects[o].hold != FZ_FREE)
		want = -EBUSY;
	if (!want && reader)
		want = -EPERM;

	if (child)
		got = preserve_in_child(session_fd(s), &arg);
	else
		got = call(session_fd(s), LIVEUPDATE_SESSION_PRESERVE_FD, &arg, sizeof(arg),
			   flavour);
	if (opened)
		close(arg.fd);
	if (!judge("PRESERVE_FD", want, got))
		return false;
	if (!got) {
		session->state = FZ_OUTGOING;
		fz_hold(model, o, s, arg.token, FZ_PRESERVED);
	}
	return true;
}

static bool op_retrieve_fd(struct fz_op op)
{
	struct liveupdate_session_retrieve_fd arg = { .fd = -1 };
	enum flavour flavour = flavour_of(op.c >> 8);
	int s = pick_session(op.a), o, want, got;

	if (s < 0)
		return true;
	arg.token = op.b % 4 ? fz_some_token(model, s, op.b / 4, op.c) : fz_token(op.c);
	o = fz_find_object(model, s, arg.token);

	want = refused(flavour);
	if (!want && model->sessions[s].state != FZ_CLAIMED)
		want = -EINVAL;
	if (!want && o < 0)
		want = -ENOENT;
	if (!want) {
		/* From here on the kernel has retrieved it, answered or not. */
		model->objects[o].hold = FZ_RETRIEVED;
		want = unanswered(flavour);
	}
	got = call(session_fd(s), LIVEUPDATE_SESSION_RETRIEVE_FD, &arg, sizeof(arg), flavour);
	if (!judge("RETRIEVE_FD", want, got))
		return false;
	if (got)
		return true;
	if (!same_contents(o, arg.fd))
		return false;
	put_fd(object_fds[o], FZ_OBJECT_FDS, arg.fd);
	return true;
}

static bool op_finish(struct fz_op op)
{
	struct liveupdate_session_finish arg = { .reserved = op.b % 8 ? 0 : 1 };
	enum flavour flavour = flavour_of(op.c);
	int s = pick_session(op.a), want, got;

	if (s < 0)
		return true;
	want = refused(flavour);
	if (!want && (arg.reserved || model->sessions[s].state != FZ_CLAIMED))
		want = -EINVAL;
	got = call(session_fd(s), LIVEUPDATE_SESSION_FINISH, &arg, sizeof(arg), flavour);
	if (!judge("FINISH", want, got))
		return false;
	if (!got) {
		fz_let_go(model, s);
		model->sessions[s].state = FZ_FINISHED;
		for (int o = 0; o < FZ_OBJECTS; o++)
			object_gone(o);
	}
	return true;
}

static bool op_get_name(struct fz_op op)
{
	struct liveupdate_session_get_name arg = { .reserved = op.b % 8 ? 0 : 1 };
	enum flavour flavour = flavour_of(op.c);
	int s = pick_session(op.a), want, got;
	char name[64] = "";

	if (s < 0)
		return true;
	want = refused(flavour);
	if (!want && arg.reserved)
		want = -EINVAL;
	if (!want && flavour == READ_ONLY)
		want = -EFAULT;
	got = call(session_fd(s), LIVEUPDATE_SESSION_GET_NAME, &arg, sizeof(arg), flavour);
	if (!judge("GET_NAME", want, got))
		return false;
	snprintf(name, sizeof(name), "fuzz-%d", model->sessions[s].name);
	return got || judge("the name differs", 0, memcmp(name, arg.name, sizeof(name)));
}

/* Numbers that are not given to anything, and other types. */
static bool op_unknown_ioctl(struct fz_op op)
{
	unsigned int nr = op.b, type = LIVEUPDATE_IOCTL_TYPE;
	int s = pick_session(op.a), got;
	char buf[256];

	memset(buf, op.a, sizeof(buf));
	if (op.c & 1) {
		/* Extensions begin at 0x20 for the device and at 0x80 for sessions. */
		nr = s < 0 || op.c & 2 ? 2 + nr % 30 : 0x44 + nr % 60;
	} else {
		type = op.b >> 8 == type ? 0 : op.b >> 8;
		nr &= 255;
		/* What every file knows is not ours. */
		if (type == 'T' || type == 'f' || type == 'X' || type == 0x94 || type < 3)
			return true;
	}
	got = ioctl(s < 0 || op.c & 2 ? dev : session_fd(s), _IO(type, nr),
		    op.c & 4 ? buf : NULL) ? -errno : 0;
	return judge("unknown ioctl", -ENOTTY, got);
}

static bool op_close_session(struct fz_op op)
{
	int s = pick_session(op.a), *fd;

	if (s < 0)
		return true;
	fd = used_slot(session_fds[s], FZ_SESSION_FDS, op.b);
	close(*fd);
	*fd = -1;
	if (session_fd(s) >= 0)
		return true;

	switch (model->sessions[s].state) {
	case FZ_CLAIMED:
		model->sessions[s].state = FZ_UNCLAIMED;
		break;
	default:
		fz_let_go(model, s);
		model->sessions[s].state = FZ_NONE;
		for (int o = 0; o < FZ_OBJECTS; o++)
			object_gone(o);
	}
	return true;
}

/* Another descriptor of the same file: by dup(), or through a socket. */
static bool copy_fd(int *fds, int nr, struct fz_op op)
{
	int *slot = free_slot(fds, nr), *from = used_slot(fds, nr, op.b);

	if (!slot)
		return true;
	if (op.c & 1) {
		*slot = dup(*from);
		return *slot >= 0;
	}
	if (!judge("send", 0, luo_send_fd(passing[0], *from)))
		return false;
	if (op.c & 2) {
		/* On its way it is nowhere else. */
		close(*from);
		*from = -1;
		slot = from;
	}
	*slot = luo_recv_fd(passing[1]);
	return *slot >= 0 || judge("receive", 0, *slot);
}

static bool op_copy_session(struct fz_op op)
{
	int s = pick_session(op.a);

	return s < 0 || copy_fd(session_fds[s], FZ_SESSION_FDS, op);
}

static bool op_copy_object(struct fz_op op)
{
	int o = pick_object(op.a);

	return o < 0 || copy_fd(object_fds[o], FZ_OBJECT_FDS, op);
}

/* A process that has everything, and dies with it. */
static bool op_fork(struct fz_op op)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (op.a & 1)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid;
}

static bool op_open_again(struct fz_op op)
{
	return judge("second open", -EBUSY, luo_open_dev());
}

static bool op_reopen(struct fz_op op)
{
	close(dev);
	dev = luo_open_dev();
	return dev >= 0 || judge("open", 0, dev);
}

#endif /* LUO_FUZZ_OPS_H */
