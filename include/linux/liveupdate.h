/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator (LUO): carrying open files across a kexec.
 */
#ifndef _LINUX_LIVEUPDATE_H
#define _LINUX_LIVEUPDATE_H

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/kho/abi/luo.h>
#include <uapi/linux/liveupdate.h>

struct file;
struct inode;
struct kimage;
struct liveupdate_file_handler;
struct liveupdate_session;
struct module;
struct user_struct;

/**
 * struct liveupdate_file_op_args - what a file handler is called with
 * @handler: the handler
 * @retrieve_status: 0 if retrieve() was not attempted or may be attempted again,
 *	positive if it succeeded, else the negative errno that it returned
 * @file: the file. Set by retrieve(), which leaves the reference to LUO; NULL in
 *	can_finish(), finish() and discard() of a file that is not retrieved
 * @serialized_data: the number that crosses the kexec. Set by preserve(), may be
 *	changed by freeze(); the next kernel passes it to retrieve(), can_finish(),
 *	finish() and discard()
 * @private_data: for the handler; kept from preserve() or the first retrieve() on,
 *	also if that failed, as long as LUO keeps the file, and not carried over
 * @session: the session of the file, for liveupdate_session_token() and
 *	liveupdate_session_get_file()
 * @token: the token of the file in its session
 */
struct liveupdate_file_op_args {
	struct liveupdate_file_handler *handler;
	int retrieve_status;
	struct file *file;
	u64 serialized_data;
	void *private_data;
	struct liveupdate_session *session;
	u64 token;
};

/**
 * struct liveupdate_file_stat - what it takes to carry a file
 * @folios: number of folios of each order that hold its contents, all of which stay
 *	where they are in memory
 * @metadata: bytes of memory that are preserved besides, for what the handler writes
 */
struct liveupdate_file_stat {
	unsigned long folios[LIVEUPDATE_NR_ORDERS];
	u64 metadata;
};

/**
 * struct liveupdate_file_ops - what a file handler can do
 * @can_preserve: Is this a file for this handler? May sleep; must not register or
 *	unregister handlers.
 * @preserve: Preserve everything that the next kernel needs, while the file is in
 *	use. All that takes time or can fail belongs here. Sets
 *	@serialized_data and, if wanted, @private_data.
 * @unpreserve: Undo preserve().
 * @freeze: Optional. Last words before the kexec, in the blackout: must be short.
 *	From then on until unfreeze() the preserved state must not change, although
 *	other tasks still run. May change @serialized_data.
 * @unfreeze: Optional. Undo freeze(): the kexec did not take place.
 * @retrieve: Make the file in the next kernel. Called once, or again after it
 *	returned ``-ENOMEM``, ``-EINTR``, ``-ERESTARTSYS`` or ``-EAGAIN``; then nothing may
 *	be lost, and what was done so far may be kept in @private_data. Sets
 *	@file.
 * @can_finish: Optional. May finish() be called? Changes nothing. Not asked of a file that
 *	was discarded.
 * @finish: The session is finished. Drop what was only needed to retrieve the
 *	file or, if it was not retrieved, or in part, free what was preserved for
 *	it.
 * @stat: Optional. Tell what it takes to carry the file, in a @stat that is zeroed. It
 *	must not change anything, nor allocate memory in proportion to the file. Of a
 *	file that is preserved it is what was preserved; of an incoming one that is
 *	not retrieved (@file is NULL), what the previous kernel preserved; of one that
 *	is retrieved, what it has now. All other members are as in finish() or
 *	unpreserve(). In a dry run there is just @file, @handler and @session
 *	(@serialized_data 0, @private_data NULL): an estimate of what preserve()
 *	would preserve, or the errno that it would fail with, as far as that can be
 *	told. Returns 0 or a negative errno, ``-EAGAIN`` if it cannot be told now.
 * @discard: Optional, last. Make the object behind an incoming file harmless,
 *	because the session is given up or this kernel is replaced before the file
 *	was finished. The file cannot be retrieved after that. finish() may follow.
 * @get_id: Optional. A number that two files share if and only if they stand for
 *	the same object, which can be preserved just once. The default is the
 *	address of the struct file.
 * @owner: The module, in use as long as LUO keeps a file of this handler.
 *
 * All callbacks run in process context and may sleep. Those of one session do
 * not run at the same time.
 */
struct liveupdate_file_ops {
	bool (*can_preserve)(struct liveupdate_file_handler *handler, struct file *file);
	int (*preserve)(struct liveupdate_file_op_args *args);
	void (*unpreserve)(struct liveupdate_file_op_args *args);
	int (*freeze)(struct liveupdate_file_op_args *args);
	void (*unfreeze)(struct liveupdate_file_op_args *args);
	int (*retrieve)(struct liveupdate_file_op_args *args);
	bool (*can_finish)(struct liveupdate_file_op_args *args);
	void (*finish)(struct liveupdate_file_op_args *args);
	unsigned long (*get_id)(struct file *file);
	struct module *owner;
	int (*stat)(struct liveupdate_file_op_args *args, struct liveupdate_file_stat *stat);
	void (*discard)(struct liveupdate_file_op_args *args);
};

/**
 * struct liveupdate_file_handler - a kind of file that can be preserved
 * @ops: what it can do
 * @compatible: name of the format that preserve() leaves, unique. A change of the
 *	format needs a new name.
 *
 * The rest belongs to LUO.
 */
struct liveupdate_file_handler {
	const struct liveupdate_file_ops *ops;
	const char compatible[LIVEUPDATE_HNDL_COMPAT_LENGTH];

	/* private: */
	struct list_head list;
	struct list_head flbs;
	atomic_long_t users;
};

/**
 * struct liveupdate_device_ops - devices that run, as those know them who found them
 * @unclaimed: Does a device run that was preserved in a session of this name, that
 *	is not fenced and that no file has taken? It is logged.
 * @fence_unclaimed: Stop all such devices.
 *
 * Of a session that came in damaged nobody can tell from its files which devices belong
 * to it. Called in process context, with the session locked.
 */
struct liveupdate_device_ops {
	bool (*unclaimed)(const char *session);
	void (*fence_unclaimed)(const char *session);
};

struct liveupdate_flb;
struct luo_flb;

/**
 * struct liveupdate_flb_op_args - what the owner of an FLB is called with
 * @flb: the FLB
 * @data: the number that crosses the kexec. Set by preserve(); the next kernel
 *	passes it to retrieve() and finish()
 * @obj: what liveupdate_flb_get_outgoing() or liveupdate_flb_get_incoming() give to
 *	others. Set by preserve() for the one and by retrieve() for the other
 */
struct liveupdate_flb_op_args {
	struct liveupdate_flb *flb;
	u64 data;
	void *obj;
};

/**
 * struct liveupdate_flb_ops - what can be done with state that files share
 * @preserve: Preserve the state: a file that depends on it is about to be
 *	preserved, and there is none yet. Sets @data and @obj.
 * @unpreserve: Undo preserve(): no file depends on it any more.
 * @retrieve: Take the state over from the previous kernel. Called when somebody
 *	asks for it first, which can be long before user space is there, or when the
 *	first session with a file that depends on it is finished. Called once, or
 *	again after it returned ``-ENOMEM``, ``-EINTR``, ``-ERESTARTSYS`` or ``-EAGAIN``;
 *	then nothing may be lost. Sets @obj.
 * @finish: All files that depend on it are finished. Drop what was only needed for
 *	them. Not called if retrieve() failed.
 * @owner: The module, in use as long as the state is preserved, or retrieved and
 *	not finished, and as long as LUO keeps a file of a handler that uses it.
 *
 * All are needed but @owner. They run in process context and may sleep.
 * preserve() and unpreserve() do not run at the same time, retrieve() and finish()
 * do not either; one of the former and one of the latter can.
 */
struct liveupdate_flb_ops {
	int (*preserve)(struct liveupdate_flb_op_args *args);
	void (*unpreserve)(struct liveupdate_flb_op_args *args);
	int (*retrieve)(struct liveupdate_flb_op_args *args);
	void (*finish)(struct liveupdate_flb_op_args *args);
	struct module *owner;
};

/**
 * struct liveupdate_flb - state bound to the lifecycle of files (FLB)
 * @ops: what can be done with it
 * @compatible: name of the format that preserve() leaves, unique. A change of the
 *	format needs a new name.
 *
 * The rest belongs to LUO.
 */
struct liveupdate_flb {
	const struct liveupdate_flb_ops *ops;
	const char compatible[LIVEUPDATE_FLB_COMPAT_LENGTH];

	/* private: */
	struct luo_flb *state;
};

#ifdef CONFIG_LIVEUPDATE

bool liveupdate_enabled(void);
int liveupdate_load_image(struct kimage *image);
bool liveupdate_next_has_record(void);
int liveupdate_reboot(void);
void liveupdate_reboot_cancel(void);
void liveupdate_jump(void);
void liveupdate_init_started(void);

int liveupdate_register_file_handler(struct liveupdate_file_handler *handler);
int liveupdate_unregister_file_handler(struct liveupdate_file_handler *handler);

int liveupdate_register_flb(struct liveupdate_file_handler *handler, struct liveupdate_flb *flb);
int liveupdate_unregister_flb(struct liveupdate_file_handler *handler,
			      struct liveupdate_flb *flb);
int liveupdate_flb_get_outgoing(struct liveupdate_flb *flb, void **objp);
void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb);
int liveupdate_flb_get_incoming(struct liveupdate_flb *flb, void **objp);
void liveupdate_flb_put_incoming(struct liveupdate_flb *flb);
int liveupdate_flb_peek_incoming(struct liveupdate_flb *flb, u64 *datap);

void liveupdate_set_device_ops(const struct liveupdate_device_ops *ops);
bool liveupdate_session_unclaimed(struct liveupdate_session *session);
const char *liveupdate_session_name(struct liveupdate_session *session);
int liveupdate_session_token(struct liveupdate_session *session, struct file *file,
			     u64 *tokenp);
int liveupdate_session_get_file(struct liveupdate_session *session, u64 token,
				struct file **filep);
int liveupdate_session_inode(struct liveupdate_session *session, struct inode *inode,
			     u64 *tokenp, struct file **filep);
int liveupdate_session_walk(struct liveupdate_session *session, const char *compatible,
			    int (*fn)(u64 data, void *arg), void *arg);

int liveupdate_account_pages(struct user_struct *user, unsigned long nr_pages);
void liveupdate_unaccount_pages(struct user_struct *user, unsigned long nr_pages);

#else /* CONFIG_LIVEUPDATE */

static inline bool liveupdate_enabled(void)
{
	return false;
}

static inline int liveupdate_load_image(struct kimage *image)
{
	return 0;
}

static inline bool liveupdate_next_has_record(void)
{
	return false;
}

static inline int liveupdate_reboot(void)
{
	return 0;
}

static inline void liveupdate_reboot_cancel(void)
{
}

static inline void liveupdate_jump(void)
{
}

static inline void liveupdate_init_started(void)
{
}

static inline int liveupdate_register_file_handler(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_unregister_file_handler(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_register_flb(struct liveupdate_file_handler *handler,
					  struct liveupdate_flb *flb)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_unregister_flb(struct liveupdate_file_handler *handler,
					    struct liveupdate_flb *flb)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_flb_get_outgoing(struct liveupdate_flb *flb, void **objp)
{
	return -EOPNOTSUPP;
}

static inline void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb)
{
}

static inline int liveupdate_flb_get_incoming(struct liveupdate_flb *flb, void **objp)
{
	return -EOPNOTSUPP;
}

static inline void liveupdate_flb_put_incoming(struct liveupdate_flb *flb)
{
}

static inline int liveupdate_flb_peek_incoming(struct liveupdate_flb *flb, u64 *datap)
{
	return -EOPNOTSUPP;
}

static inline void liveupdate_set_device_ops(const struct liveupdate_device_ops *ops)
{
}

static inline bool liveupdate_session_unclaimed(struct liveupdate_session *session)
{
	return false;
}

static inline const char *liveupdate_session_name(struct liveupdate_session *session)
{
	return "";
}

static inline int liveupdate_session_token(struct liveupdate_session *session,
					   struct file *file, u64 *tokenp)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_session_get_file(struct liveupdate_session *session,
					      u64 token, struct file **filep)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_session_inode(struct liveupdate_session *session,
					   struct inode *inode, u64 *tokenp,
					   struct file **filep)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_session_walk(struct liveupdate_session *session,
					  const char *compatible,
					  int (*fn)(u64 data, void *arg), void *arg)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_account_pages(struct user_struct *user, unsigned long nr_pages)
{
	return -EOPNOTSUPP;
}

static inline void liveupdate_unaccount_pages(struct user_struct *user,
					      unsigned long nr_pages)
{
}

#endif /* CONFIG_LIVEUPDATE */

#endif /* _LINUX_LIVEUPDATE_H */
