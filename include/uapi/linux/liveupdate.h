/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Live Update Orchestrator: what user space asks of /dev/liveupdate.
 */
#ifndef _UAPI_LINUX_LIVEUPDATE_H
#define _UAPI_LINUX_LIVEUPDATE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: liveupdate ioctls
 *
 * A live update replaces the running kernel by kexec while open files are
 * carried over. User space collects file descriptors in named *sessions* before
 * the kexec, and takes the sessions and their files back after it.
 *
 * There are two kinds of file descriptors. ``/dev/liveupdate`` creates and
 * claims sessions; it can be open once at a time (``EBUSY``). A session file
 * descriptor preserves and retrieves files. It may be passed on; whoever has it
 * may use it, and the session is released with the last copy of it.
 *
 * Every ioctl takes a pointer to a struct that starts with its own size as the
 * caller knows it. Structs only ever grow at the end:
 *
 *  - a struct that is shorter than the first version is refused (``EINVAL``);
 *  - a longer struct than the kernel knows is accepted if all that the kernel
 *    does not know is zero, and refused otherwise (``E2BIG``);
 *  - memory that cannot be read or written is ``EFAULT``;
 *  - a number that the kernel does not know is ``ENOTTY``;
 *  - a reserved field that is not zero is ``EINVAL``.
 *
 * An ioctl that races with the kexec waits for it. If that fails, the ioctl goes
 * on as if nothing had happened.
 *
 * Numbers from 0x20 (device) and 0x80 (session) up are extensions of this
 * implementation and never clash with a number of the mainline kernel. That one is
 * missing is seen from ``ENOTTY``; mainline says ``EINVAL``.
 */

#define LIVEUPDATE_IOCTL_TYPE		0xBA

/* Length of a session name, the terminating NUL included. */
#define LIVEUPDATE_SESSION_NAME_LENGTH	64

/* Length of the name of a file handler, the terminating NUL included. */
#define LIVEUPDATE_HANDLER_NAME_LENGTH	48

/* Folios have this many orders: order n is 2^n pages of 4 KiB, the largest 2 GiB. */
#define LIVEUPDATE_NR_ORDERS		20

/* Numbers of the ioctls on /dev/liveupdate. */
enum {
	LIVEUPDATE_CMD_BASE = 0x00,
	LIVEUPDATE_CMD_CREATE_SESSION = LIVEUPDATE_CMD_BASE,
	LIVEUPDATE_CMD_RETRIEVE_SESSION = 0x01,

	/* Extensions */
	LIVEUPDATE_CMD_NEXT_SESSION = 0x20,
};

/* Numbers of the ioctls on a session. */
enum {
	LIVEUPDATE_CMD_SESSION_BASE = 0x40,
	LIVEUPDATE_CMD_SESSION_PRESERVE_FD = LIVEUPDATE_CMD_SESSION_BASE,
	LIVEUPDATE_CMD_SESSION_RETRIEVE_FD = 0x41,
	LIVEUPDATE_CMD_SESSION_FINISH = 0x42,
	LIVEUPDATE_CMD_SESSION_GET_NAME = 0x43,

	/* Extensions */
	LIVEUPDATE_CMD_SESSION_NEXT_FILE = 0x80,
	LIVEUPDATE_CMD_SESSION_UNPRESERVE_FILE = 0x81,
	LIVEUPDATE_CMD_SESSION_DRY_RUN = 0x82,
	LIVEUPDATE_CMD_SESSION_SET_DEVICE_POLICY = 0x83,
	LIVEUPDATE_CMD_SESSION_FENCE = 0x84,
};

/**
 * struct liveupdate_ioctl_create_session - ioctl(LIVEUPDATE_IOCTL_CREATE_SESSION)
 * @size: sizeof(struct liveupdate_ioctl_create_session)
 * @fd: out: file descriptor of the new session, close-on-exec
 * @name: in: name of the session, NUL-terminated and not empty
 *
 * Create a session that the next live update carries over. When the last copy of
 * its file descriptor is closed before that, everything in it is unpreserved and
 * the session is gone.
 *
 * Sessions that came from the previous kernel have a name space of their own, so
 * that a name can be used for the next update before the one of the last update
 * is finished.
 *
 * Return: 0 on success, or one of
 *
 *  - ``EINVAL``: the name is empty or has no NUL;
 *  - ``EEXIST``: there is a session of this name for the next update;
 *  - ``ENOMEM``, ``EMFILE``, ``ENFILE``: out of memory or file descriptors.
 */
struct liveupdate_ioctl_create_session {
	__u32	size;
	__s32	fd;
	__u8	name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_IOCTL_CREATE_SESSION \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_CREATE_SESSION)

/**
 * struct liveupdate_ioctl_retrieve_session - ioctl(LIVEUPDATE_IOCTL_RETRIEVE_SESSION)
 * @size: sizeof(struct liveupdate_ioctl_retrieve_session)
 * @fd: out: file descriptor of the session, close-on-exec
 * @name: in: name of the session, NUL-terminated and not empty
 *
 * Claim a session that the previous kernel handed over. When the last copy of
 * its file descriptor is closed without ``LIVEUPDATE_SESSION_FINISH``, nothing is
 * lost: the session can be claimed again, also by another process.
 *
 * Return: 0 on success, or one of
 *
 *  - ``EINVAL``: the name is empty or has no NUL;
 *  - ``ENOENT``: the previous kernel handed over no session of this name, or it
 *    has been finished;
 *  - ``EBUSY``: the session is held by an open file descriptor;
 *  - ``ENOMEM``, ``EMFILE``, ``ENFILE``: out of memory or file descriptors.
 */
struct liveupdate_ioctl_retrieve_session {
	__u32	size;
	__s32	fd;
	__u8	name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_IOCTL_RETRIEVE_SESSION \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_RETRIEVE_SESSION)

/**
 * struct liveupdate_session_preserve_fd - ioctl(LIVEUPDATE_SESSION_PRESERVE_FD)
 * @size: sizeof(struct liveupdate_session_preserve_fd)
 * @fd: in: the file to preserve
 * @token: in: the number by which it is asked for in the next kernel, any value
 *
 * Preserve a file in a session that was created in this kernel, or in one that
 * came from the previous kernel and is finished. In the latter case the first
 * file enters the session among those for the next update, under its old name.
 *
 * The session keeps a reference on the file; the descriptor may be closed. What
 * can be done with the file from now on depends on its kind: a memfd, for
 * example, can be read, written and mapped but not truncated. Files that depend
 * on others are preserved after them.
 *
 * Return: 0 on success, or one of
 *
 *  - ``EBADF``: @fd is not an open file;
 *  - ``ENOENT``: files of this kind cannot be preserved;
 *  - ``EEXIST``: the token is in use in this session; or this is the first file
 *    of a finished session and its name is taken by now;
 *  - ``EBUSY``: the object behind the file is preserved already, here or in
 *    another session, or is retrieved and not finished;
 *  - ``EINVAL``: the session came from the previous kernel and is not finished;
 *  - ``ENOMEM``: out of memory or over ``RLIMIT_MEMLOCK``;
 *  - any other errno: the handler of the file could not preserve it.
 */
struct liveupdate_session_preserve_fd {
	__u32		size;
	__s32		fd;
	__aligned_u64	token;
};

#define LIVEUPDATE_SESSION_PRESERVE_FD \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_PRESERVE_FD)

/**
 * struct liveupdate_session_retrieve_fd - ioctl(LIVEUPDATE_SESSION_RETRIEVE_FD)
 * @size: sizeof(struct liveupdate_session_retrieve_fd)
 * @fd: out: file descriptor of the file, close-on-exec
 * @token: in: the number that it was preserved under
 *
 * Get a file of a claimed session back, in any order. Asking again for the same
 * token gives another descriptor of the same open file: the session keeps a
 * reference on it until it is finished.
 *
 * Return: 0 on success, or one of
 *
 *  - ``ENOENT``: no file was preserved under this token;
 *  - ``EINVAL``: the session was created in this kernel or is finished;
 *  - ``EOPNOTSUPP``: nothing in this kernel can restore such a file; try again
 *    after loading the module that can;
 *  - ``EBADMSG``: what the previous kernel handed over is damaged;
 *  - ``ESTALE``: the file was given up for a kexec that then failed;
 *  - ``ENOMEM``, ``EINTR``, ``EAGAIN``: it can be tried again;
 *  - ``EMFILE``, ``ENFILE``: out of file descriptors;
 *  - any other errno: the file cannot be restored; every later try says the same.
 */
struct liveupdate_session_retrieve_fd {
	__u32		size;
	__s32		fd;
	__aligned_u64	token;
};

#define LIVEUPDATE_SESSION_RETRIEVE_FD \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_RETRIEVE_FD)

/**
 * struct liveupdate_session_finish - ioctl(LIVEUPDATE_SESSION_FINISH)
 * @size: sizeof(struct liveupdate_session_finish)
 * @reserved: must be zero
 *
 * Say that everything wanted of a claimed session has been retrieved and works.
 * Retrieved files go on as ordinary ones. What was not retrieved is given up and
 * its memory freed. The session is empty then, can be closed, or be filled again
 * for the next update.
 *
 * Return: 0 on success, or one of
 *
 *  - ``EINVAL``: the session was created in this kernel or is finished, or
 *    @reserved is not zero;
 *  - ``EBUSY``: a file cannot be finished yet; nothing has changed;
 *  - ``EOPNOTSUPP``: nothing in this kernel knows one of the files; nothing has
 *    changed.
 */
struct liveupdate_session_finish {
	__u32	size;
	__u32	reserved;
};

#define LIVEUPDATE_SESSION_FINISH \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_FINISH)

/**
 * struct liveupdate_session_get_name - ioctl(LIVEUPDATE_SESSION_GET_NAME)
 * @size: sizeof(struct liveupdate_session_get_name)
 * @reserved: must be zero
 * @name: out: name of the session, padded with NULs
 *
 * Return: 0 on success, ``EINVAL`` if @reserved is not zero.
 */
struct liveupdate_session_get_name {
	__u32	size;
	__u32	reserved;
	__u8	name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_SESSION_GET_NAME \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_GET_NAME)

/* The session is claimed by somebody. */
#define LIVEUPDATE_SESSION_HELD		0x1

/**
 * struct liveupdate_ioctl_next_session - ioctl(LIVEUPDATE_IOCTL_NEXT_SESSION)
 * @size: sizeof(struct liveupdate_ioctl_next_session)
 * @flags: in: 0; out: ``LIVEUPDATE_SESSION_HELD`` if the session is claimed
 * @name: in: name of a session, or an empty string to begin with; out: name of the
 *	session after that one, padded with NULs
 * @nr_files: out: how many files the previous kernel preserved in it
 *
 * An extension. List the sessions that the previous kernel handed over and that are
 * not finished, one per call, in an order of no meaning. Each call passes the
 * name that the last one gave; that session need not be there any more. A session
 * that is there all the time is listed once. Nothing is claimed by that.
 *
 * Return: 0 on success, or one of
 *
 *  - ``ENOENT``: there is none after that;
 *  - ``EINVAL``: the name has no NUL, or @flags is not zero.
 */
struct liveupdate_ioctl_next_session {
	__u32		size;
	__u32		flags;
	__u8		name[LIVEUPDATE_SESSION_NAME_LENGTH];
	__aligned_u64	nr_files;
};

#define LIVEUPDATE_IOCTL_NEXT_SESSION \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_NEXT_SESSION)

/**
 * struct liveupdate_file_cost - what it takes to carry a file
 * @bytes: bytes of its contents, in all folios
 * @metadata: bytes that are preserved besides, for what the next kernel is told
 * @folios: number of folios of each order that hold the contents
 */
struct liveupdate_file_cost {
	__aligned_u64	bytes;
	__aligned_u64	metadata;
	__aligned_u64	folios[LIVEUPDATE_NR_ORDERS];
};

/**
 * enum liveupdate_file_state - what became of a file of a session
 * @LIVEUPDATE_FILE_PRESERVED: it is preserved for the next kernel
 * @LIVEUPDATE_FILE_WAITING: it came from the previous kernel and was not retrieved
 * @LIVEUPDATE_FILE_RETRIEVED: it came from the previous kernel and was retrieved
 * @LIVEUPDATE_FILE_FAILED: it came from the previous kernel and cannot be retrieved
 */
enum liveupdate_file_state {
	LIVEUPDATE_FILE_PRESERVED = 0,
	LIVEUPDATE_FILE_WAITING = 1,
	LIVEUPDATE_FILE_RETRIEVED = 2,
	LIVEUPDATE_FILE_FAILED = 3,
};

/* The cost is known. */
#define LIVEUPDATE_FILE_COST_KNOWN	0x1

/**
 * struct liveupdate_session_next_file - ioctl(LIVEUPDATE_SESSION_NEXT_FILE)
 * @size: sizeof(struct liveupdate_session_next_file)
 * @flags: in: 0; out: ``LIVEUPDATE_FILE_COST_KNOWN`` if @cost is
 * @token: in: the lowest token that is wanted; out: the token of the file
 * @state: out: &enum liveupdate_file_state
 * @error: out: the errno that RETRIEVE_FD would fail with if that is known, or 0:
 *	``EOPNOTSUPP`` with ``LIVEUPDATE_FILE_WAITING`` may go away
 * @handler: out: name of the file handler, padded with NULs; empty if it is damaged
 * @cost: out: what it takes to carry the file: what was preserved, or, for a file
 *	that is retrieved, what it has now. Zeroes if it is not known
 *
 * An extension. List the files of a session, one per call, by ascending token. Each
 * call passes the token that the last one gave plus one, the first one 0; after
 * the greatest number that there is, the list is at its end.
 *
 * Return: 0 on success, or one of
 *
 *  - ``ENOENT``: there is no file with such a token or a greater one;
 *  - ``EINTR``: killed while counting;
 *  - ``EINVAL``: @flags is not zero.
 */
struct liveupdate_session_next_file {
	__u32				size;
	__u32				flags;
	__aligned_u64			token;
	__u32				state;
	__u32				error;
	__u8				handler[LIVEUPDATE_HANDLER_NAME_LENGTH];
	struct liveupdate_file_cost	cost;
};

#define LIVEUPDATE_SESSION_NEXT_FILE \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_NEXT_FILE)

/**
 * struct liveupdate_session_unpreserve_file - ioctl(LIVEUPDATE_SESSION_UNPRESERVE_FILE)
 * @size: sizeof(struct liveupdate_session_unpreserve_file)
 * @reserved: must be zero
 * @token: in: the number that the file was preserved under
 *
 * An extension. Take one file out of a session, as if it had never been preserved.
 * The files of a session can be taken out in any order, with one exception: not
 * before those that depend on them, as a device does on the memory that it
 * reaches.
 *
 * Return: 0 on success, or one of
 *
 *  - ``ENOENT``: no file is preserved under this token;
 *  - ``EBUSY``: another file of the session depends on it; nothing has changed;
 *  - ``EINVAL``: the session came from the previous kernel, or @reserved is not zero.
 */
struct liveupdate_session_unpreserve_file {
	__u32		size;
	__u32		reserved;
	__aligned_u64	token;
};

#define LIVEUPDATE_SESSION_UNPRESERVE_FILE \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_UNPRESERVE_FILE)

/**
 * struct liveupdate_session_dry_run - ioctl(LIVEUPDATE_SESSION_DRY_RUN)
 * @size: sizeof(struct liveupdate_session_dry_run)
 * @fd: in: the file
 * @flags: in: 0; out: ``LIVEUPDATE_FILE_COST_KNOWN`` if @cost is
 * @reserved: must be zero
 * @handler: out: name of the handler that would take it, padded with NULs
 * @cost: out: what it would take to preserve it, zeroes if that is not known
 *
 * An extension. Could this file be preserved in this session now, and what would it
 * cost? Nothing is changed or kept. The file may be in use, and the answer is that
 * of the moment: memory in swap, for example, counts as single pages, and to bring
 * it in may fail.
 *
 * Return: 0 if PRESERVE_FD could be expected to succeed with a token that is not in
 * use, or one of
 *
 *  - ``EBADF``: @fd is not an open file;
 *  - ``ENOENT``: files of this kind cannot be preserved;
 *  - ``EBUSY``: the object behind the file is preserved already, here or in
 *    another session, or is retrieved and not finished;
 *  - ``EINVAL``: the session came from the previous kernel and is not finished, or
 *    @flags or @reserved is not zero;
 *  - ``ENOMEM``: it would be over ``RLIMIT_MEMLOCK``;
 *  - ``EINTR``: killed while counting;
 *  - any other errno: the handler of the file would refuse it.
 */
struct liveupdate_session_dry_run {
	__u32				size;
	__s32				fd;
	__u32				flags;
	__u32				reserved;
	__u8				handler[LIVEUPDATE_HANDLER_NAME_LENGTH];
	struct liveupdate_file_cost	cost;
};

#define LIVEUPDATE_SESSION_DRY_RUN \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_DRY_RUN)

/**
 * enum liveupdate_device_policy - what becomes of devices that nobody comes for
 * @LIVEUPDATE_DEVICE_HOLD: they run on until the session is finished or fenced. The
 *	default
 * @LIVEUPDATE_DEVICE_FENCE_ON_CLOSE: they are fenced when, in the next kernel, the
 *	last descriptor of the session is closed before it is finished
 * @LIVEUPDATE_DEVICE_FENCE_AFTER: they are fenced when the session is not finished
 *	after a time, whether somebody holds it or not
 */
enum liveupdate_device_policy {
	LIVEUPDATE_DEVICE_HOLD = 0,
	LIVEUPDATE_DEVICE_FENCE_ON_CLOSE = 1,
	LIVEUPDATE_DEVICE_FENCE_AFTER = 2,
};

/**
 * struct liveupdate_session_set_device_policy - ioctl(LIVEUPDATE_SESSION_SET_DEVICE_POLICY)
 * @size: sizeof(struct liveupdate_session_set_device_policy)
 * @policy: in: &enum liveupdate_device_policy
 * @timeout_ms: in: of ``LIVEUPDATE_DEVICE_FENCE_AFTER``, ms from when the next kernel
 *	has found its sessions on, from 1 to INT_MAX; else 0
 * @reserved: must be zero
 *
 * An extension. Say what is to become of the devices of an outgoing session if nobody
 * comes for them in the next kernel. When they are fenced by a policy, the session
 * is given up with them, as by ``LIVEUPDATE_SESSION_FENCE`` and
 * ``LIVEUPDATE_SESSION_FINISH``: its memory and its name are free. A session that is
 * finished and filled again starts with ``LIVEUPDATE_DEVICE_HOLD``. A kernel without
 * this extension holds the devices.
 *
 * Return: 0 on success, or one of
 *
 *  - ``EINVAL``: there is no such policy, the time does not belong to it, the session
 *    is not one for the next update, or @reserved is not zero;
 *  - ``ENOMEM``: out of memory; the policy is as it was.
 */
struct liveupdate_session_set_device_policy {
	__u32	size;
	__u32	policy;
	__u32	timeout_ms;
	__u32	reserved;
};

#define LIVEUPDATE_SESSION_SET_DEVICE_POLICY \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_SET_DEVICE_POLICY)

/**
 * struct liveupdate_session_fence - ioctl(LIVEUPDATE_SESSION_FENCE)
 * @size: sizeof(struct liveupdate_session_fence)
 * @reserved: must be zero
 *
 * An extension. Stop the devices of a claimed session for good: their DMA is cut off, and
 * they are reset. Their files cannot be retrieved after that (``ESTALE``); those
 * of other kinds can. The session can be finished then, whatever is or is not
 * retrieved. To fence it again does nothing.
 *
 * Return: 0 on success, or one of
 *
 *  - ``EINVAL``: the session was created in this kernel or is finished, or @reserved
 *    is not zero;
 *  - ``EOPNOTSUPP``: a file needs a handler that this kernel does not have; all devices
 *    that are known are stopped; try again after loading its module;
 *  - ``ENOMEM``: out of memory; devices that no file has are stopped.
 */
struct liveupdate_session_fence {
	__u32	size;
	__u32	reserved;
};

#define LIVEUPDATE_SESSION_FENCE \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_FENCE)

#endif /* _UAPI_LINUX_LIVEUPDATE_H */
