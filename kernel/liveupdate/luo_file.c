// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the files of a session while the kernel runs.
 */

/**
 * DOC: LUO files
 *
 * A &struct luo_file is one file of one session, under a token that user space
 * chose. On its way out of a kernel it is preserved, then frozen (luo_handover.c);
 * on its way into the next one it is read in (luo_handover.c), retrieved, and
 * finished::
 *
 *	PRESERVE_FD              reboot()             RETRIEVE_FD         FINISH
 *	  preserve() --> freeze() --> serialized --> read --> retrieve() --> finish()
 *	  unpreserve()   unfreeze()
 *
 * The session keeps a reference on the file while it is preserved, and from
 * retrieve() until the session is finished, so that closing a descriptor loses
 * nothing. The file is entered among the objects (luo_handler.c) just as long.
 *
 * Why retrieve() failed is remembered and said again, unless trying again may
 * help. Files depend on each other: while a file is retrieved, its handler can
 * ask for others of the session, liveupdate_session_get_file(), which are then
 * retrieved on the way.
 *
 * Locks: all of it is protected by the lock of the session, which is also held
 * around every callback.
 */

#include <linux/capability.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_internal.h"

static int luo_token_cmp(const void *key, const struct rb_node *node)
{
	u64 token = rb_entry(node, struct luo_file, token_node)->token;
	u64 wanted = *(const u64 *)key;

	return wanted < token ? -1 : wanted > token;
}

static int luo_token_cmp_node(struct rb_node *node, const struct rb_node *other)
{
	return luo_token_cmp(&rb_entry(node, struct luo_file, token_node)->token, other);
}

/* User space can make these lines come as often as it likes. */
static DEFINE_RATELIMIT_STATE(luo_file_ratelimit, DEFAULT_RATELIMIT_INTERVAL,
			      DEFAULT_RATELIMIT_BURST);

/**
 * luo_file_log - write a line about a file to the log
 * @level: KERN_*
 * @lf: the file
 * @fmt: what about it, without a newline
 */
void luo_file_log(const char *level, struct luo_file *lf, const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	/* Like the name of the session, it may come from the previous kernel. */
	luo_session_log(level, lf->session, "token %#llx: %*pE: %pV", lf->token,
			(int)strlen(lf->compatible), lf->compatible, &vaf);
	va_end(args);
}

/**
 * luo_file_find - look a file up
 * @session: its session
 * @token: its token
 *
 * Return: the file, or NULL.
 */
struct luo_file *luo_file_find(struct liveupdate_session *session, u64 token)
{
	struct rb_node *node;

	lockdep_assert_held(&session->lock);

	node = rb_find(&token, &session->tokens, luo_token_cmp);
	return rb_entry_safe(node, struct luo_file, token_node);
}

/**
 * luo_file_find_from - look for the first file from a token on
 * @session: its session
 * @token: the lowest token
 *
 * Return: the file with that token or, if there is none, with the next one; or NULL.
 */
struct luo_file *luo_file_find_from(struct liveupdate_session *session, u64 token)
{
	struct rb_node *node = session->tokens.rb_node;
	struct luo_file *found = NULL;

	lockdep_assert_held(&session->lock);

	while (node) {
		struct luo_file *lf = rb_entry(node, struct luo_file, token_node);

		if (lf->token >= token) {
			found = lf;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

/**
 * luo_file_add - add a file to a session
 * @session: the session
 * @token: its token
 *
 * Return: the file, of which no more is known than that, ``-EEXIST`` if the token
 * is in use, or ``-ENOMEM``.
 */
struct luo_file *luo_file_add(struct liveupdate_session *session, u64 token)
{
	struct luo_file *lf;

	lockdep_assert_held(&session->lock);

	lf = kzalloc(sizeof(*lf), GFP_KERNEL_ACCOUNT);
	if (!lf)
		return ERR_PTR(-ENOMEM);

	lf->session = session;
	lf->token = token;
	RB_CLEAR_NODE(&lf->id_node);
	INIT_LIST_HEAD(&lf->deps);
	if (rb_find_add(&lf->token_node, &session->tokens, luo_token_cmp_node)) {
		kfree(lf);
		return ERR_PTR(-EEXIST);
	}
	list_add_tail(&lf->link, &session->files);
	session->nr_files++;
	return lf;
}

/**
 * luo_file_del - take a file out of its session and free it
 * @lf: the file. Its handler has done its part; what is left is let go.
 */
void luo_file_del(struct luo_file *lf)
{
	struct liveupdate_session *session = lf->session;

	lockdep_assert_held(&session->lock);

	luo_deps_del(lf);
	luo_object_del(lf);
	rb_erase(&lf->token_node, &session->tokens);
	list_del(&lf->link);
	session->nr_files--;
	if (lf->file)
		fput(lf->file);
	if (lf->handler)
		luo_handler_put(lf->handler);
	kfree(lf);
}

/**
 * luo_file_args - what to call the handler of a file with
 * @lf: the file
 *
 * Return: the arguments. A callback that changes them, and which may, is followed
 * by an assignment in the other direction.
 */
struct liveupdate_file_op_args luo_file_args(struct luo_file *lf)
{
	return (struct liveupdate_file_op_args) {
		.handler = lf->handler,
		.retrieve_status = lf->retrieve_status,
		.file = lf->file,
		.serialized_data = lf->data,
		.private_data = lf->private_data,
		.session = lf->session,
		.token = lf->token,
	};
}

/**
 * luo_file_resolve - find the handler of an incoming file
 * @lf: the file, which keeps it
 *
 * Return: 0, or ``-EOPNOTSUPP`` if it is not there.
 */
int luo_file_resolve(struct luo_file *lf)
{
	lockdep_assert_held(&lf->session->lock);

	if (!lf->handler)
		lf->handler = luo_handler_get_by_name(lf->compatible);
	return lf->handler ? 0 : -EOPNOTSUPP;
}

static int luo_file_call_preserve(struct luo_file *lf)
{
	struct liveupdate_file_op_args args = luo_file_args(lf);
	int ret = luo_file_call(lf, LUO_OP_PRESERVE, &args);

	if (ret)
		return ret;
	lf->data = args.serialized_data;
	lf->private_data = args.private_data;
	return 0;
}

/**
 * luo_file_preserve - preserve a file in a session
 * @session: an outgoing session
 * @fd: the file
 * @token: its token
 *
 * Return: 0 or the errno for PRESERVE_FD; nothing has changed then.
 */
int luo_file_preserve(struct liveupdate_session *session, int fd, u64 token)
{
	struct luo_file *lf;
	struct file *file;
	int ret;

	lockdep_assert_held(&session->lock);

	file = fget(fd);
	if (!file)
		return -EBADF;

	lf = luo_file_add(session, token);
	if (IS_ERR(lf)) {
		fput(file);
		return PTR_ERR(lf);
	}
	lf->file = file;

	ret = -ENOENT;
	lf->handler = luo_handler_get_for_file(file);
	if (!lf->handler)
		goto err_del;

	strscpy(lf->compatible, lf->handler->compatible);

	ret = luo_object_add(lf);
	if (ret)
		goto err_del;

	ret = luo_chain_reserve(&session->chain);
	if (ret)
		goto err_del;

	ret = luo_flbs_preserve(lf->handler);
	if (ret)
		goto err_unreserve;

	ret = luo_file_call_preserve(lf);
	if (ret)
		goto err_unpreserve_flbs;
	return 0;

err_unpreserve_flbs:
	luo_flbs_unpreserve(lf->handler);
err_unreserve:
	luo_chain_unreserve(&session->chain);
err_del:
	luo_file_del(lf);
	return ret;
}

static void luo_file_call_unpreserve(struct luo_file *lf)
{
	struct liveupdate_file_op_args args = luo_file_args(lf);

	luo_file_call(lf, LUO_OP_UNPRESERVE, &args);
	luo_flbs_unpreserve(lf->handler);
	luo_chain_unreserve(&lf->session->chain);
	luo_file_del(lf);
}

/**
 * luo_file_unpreserve - unpreserve one file of a session
 * @session: a session that is not incoming
 * @token: its token
 *
 * Return: 0 or the errno for UNPRESERVE_FILE; nothing has changed then.
 */
int luo_file_unpreserve(struct liveupdate_session *session, u64 token)
{
	struct luo_file *lf = luo_file_find(session, token);

	if (!lf)
		return -ENOENT;
	if (lf->nr_dependents)
		return -EBUSY;
	luo_file_call_unpreserve(lf);
	return 0;
}

/**
 * luo_files_unpreserve - unpreserve all files of a session, last one first
 * @session: an outgoing session
 */
void luo_files_unpreserve(struct liveupdate_session *session)
{
	struct luo_file *lf, *tmp;

	lockdep_assert_held(&session->lock);

	list_for_each_entry_safe_reverse(lf, tmp, &session->files, link) {
		luo_file_call_unpreserve(lf);
		cond_resched();
	}
}

static int luo_file_call_retrieve(struct luo_file *lf)
{
	struct liveupdate_file_op_args args = luo_file_args(lf);
	int ret;

	lf->retrieving = true;
	lf->session->nesting++;
	ret = luo_file_call(lf, LUO_OP_RETRIEVE, &args);
	lf->session->nesting--;
	lf->retrieving = false;
	lf->private_data = args.private_data;

	if (!ret && WARN_ON_ONCE(IS_ERR_OR_NULL(args.file)))
		ret = -EIO;
	if (ret) {
		if (__ratelimit(&luo_file_ratelimit))
			luo_file_log(KERN_WARNING, lf, "cannot be retrieved: %pe", ERR_PTR(ret));
		if (!luo_may_retry(ret))
			lf->retrieve_status = ret;
		return ret;
	}

	lf->file = args.file;
	lf->retrieve_status = 1;
	lf->session->nr_retrieved++;
	if (luo_object_add(lf))
		luo_file_log(KERN_WARNING, lf, "the object is in use by another file");
	return 0;
}

/**
 * luo_file_retrieve - get a file of a session
 * @session: an incoming session
 * @token: its token
 * @filep: set to the file, with a reference for the caller
 *
 * Return: 0 or the errno for RETRIEVE_FD; ``-EDEADLK`` if the file is being
 * retrieved, and asks for itself, or too many others are on the way to it.
 */
int luo_file_retrieve(struct liveupdate_session *session, u64 token, struct file **filep)
{
	struct luo_file *lf;
	int ret;

	lockdep_assert_held(&session->lock);

	lf = luo_file_find(session, token);
	if (!lf)
		return session->fault ?: -ENOENT;
	if (lf->damaged)
		return -EBADMSG;
	if (lf->discarded)
		return -ESTALE;
	/* What names what comes from the record, and the stack is not without end. */
	if (lf->retrieving || session->nesting >= LUO_MAX_NESTING)
		return -EDEADLK;
	if (lf->retrieve_status < 0)
		return lf->retrieve_status;

	if (!lf->retrieve_status) {
		ret = luo_file_resolve(lf);
		if (!ret)
			ret = luo_file_call_retrieve(lf);
		if (ret)
			return ret;
	}
	*filep = get_file(lf->file);
	return 0;
}

/**
 * luo_files_resolve - find the handlers of all files of a session
 * @session: an incoming session, loaded
 *
 * No handler can know what a damaged record stands for; such a file is left out.
 *
 * Return: 0, or ``-EOPNOTSUPP`` if one is not there, which is logged.
 */
int luo_files_resolve(struct liveupdate_session *session)
{
	struct luo_file *lf;

	lockdep_assert_held(&session->lock);

	list_for_each_entry(lf, &session->files, link) {
		if (!lf->damaged && luo_file_resolve(lf)) {
			if (__ratelimit(&luo_file_ratelimit))
				luo_file_log(KERN_WARNING, lf, "not finished, no such handler");
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

/* Of a file that was discarded nothing is left that could object. */
static int luo_files_can_finish(struct liveupdate_session *session)
{
	struct luo_file *lf;
	int ret;

	ret = luo_files_resolve(session);
	if (ret)
		return ret;

	list_for_each_entry(lf, &session->files, link) {
		ret = lf->damaged ? 0 : luo_flbs_retrieve(lf->handler);
		if (ret)
			return ret;
	}

	list_for_each_entry(lf, &session->files, link) {
		struct liveupdate_file_op_args args = luo_file_args(lf);

		if (!lf->damaged && !lf->discarded && lf->handler->ops->can_finish &&
		    !luo_file_call(lf, LUO_OP_CAN_FINISH, &args))
			return -EBUSY;
	}
	/* What was lost may be the file of a device that writes to memory of the others. */
	if (session->lost && liveupdate_session_unclaimed(session))
		return -EBUSY;
	return 0;
}

/**
 * luo_files_finish - finish all files of a session, last one first
 * @session: an incoming session, empty after that
 *
 * Return: 0 or the errno for FINISH; nothing has changed then.
 */
int luo_files_finish(struct liveupdate_session *session)
{
	struct luo_file *lf, *tmp;
	int ret;

	lockdep_assert_held(&session->lock);

	ret = luo_files_can_finish(session);
	if (ret)
		return ret;

	list_for_each_entry_safe_reverse(lf, tmp, &session->files, link) {
		struct liveupdate_file_op_args args = luo_file_args(lf);

		if (!lf->damaged) {
			luo_file_call(lf, LUO_OP_FINISH, &args);
			luo_flbs_finish(lf->handler);
		}
		luo_file_del(lf);
		cond_resched();
	}
	session->nr_retrieved = 0;
	return 0;
}

/**
 * liveupdate_session_token - find the token of a file that another one needs
 * @session: from the arguments of the callback
 * @file: the other file, or any file that stands for the same object
 * @tokenp: set to its token
 *
 * For preserve(): a handler whose file depends on another one records that one's
 * token. This makes sure that the other file was preserved before, and in the
 * same session, and that it is not unpreserved before the one that depends on it.
 *
 * Context: only from callbacks of &struct liveupdate_file_ops. May sleep.
 * Return: 0 on success, ``-ENOENT`` if the object is not in this session, ``-ENOMEM``.
 */
int liveupdate_session_token(struct liveupdate_session *session, struct file *file,
			     u64 *tokenp)
{
	int ret;

	lockdep_assert_held(&session->lock);

	ret = luo_object_token(session, file, tokenp);
	return ret ?: luo_dep_add(luo_file_find(session, *tokenp));
}
EXPORT_SYMBOL_GPL(liveupdate_session_token);

/**
 * liveupdate_session_get_file - get a file that another one needs
 * @session: from the arguments of the callback
 * @token: its token
 * @filep: set to the file. The caller has a reference, to be dropped by fput().
 *
 * For retrieve(): a file of an incoming session is retrieved if nobody has done
 * that yet, so that user space may ask for files in any order.
 *
 * Context: only from callbacks of &struct liveupdate_file_ops. May sleep.
 * Return: 0 on success, ``-ENOENT`` if there is no such token in the session,
 * ``-EDEADLK`` if that file in turn is waiting for this one, or what retrieving
 * that file gave. ``-ENOMEM``, ``-EINTR``, ``-ERESTARTSYS`` and ``-EAGAIN`` should be
 * passed on, so that it can be tried again.
 */
int liveupdate_session_get_file(struct liveupdate_session *session, u64 token,
				struct file **filep)
{
	struct luo_file *lf;
	int ret;

	lockdep_assert_held(&session->lock);

	if (session->state == LUO_INCOMING)
		return luo_file_retrieve(session, token, filep);

	lf = luo_file_find(session, token);
	if (!lf)
		return -ENOENT;
	ret = luo_dep_add(lf);
	if (ret)
		return ret;
	*filep = get_file(lf->file);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_session_get_file);

/**
 * liveupdate_session_inode - find the file of an inode that another file needs
 * @session: from the arguments of the callback
 * @inode: the inode. It is compared and not looked into, so it may be gone.
 * @tokenp: set to the token of the file
 * @filep: set to the file. The caller has a reference, to be dropped by fput().
 *
 * Like liveupdate_session_token(), for a caller that has no file, but a page of the
 * page cache. Finds files of handlers whose objects are inodes.
 *
 * Context: only from preserve() and freeze(). May sleep.
 * Return: 0 on success, ``-ENOENT`` if there is no such file in this session, ``-ENOMEM``.
 */
int liveupdate_session_inode(struct liveupdate_session *session, struct inode *inode,
			     u64 *tokenp, struct file **filep)
{
	struct luo_file *lf;
	int ret;

	lockdep_assert_held(&session->lock);

	lf = luo_object_find_inode(session, inode);
	if (!lf)
		return -ENOENT;
	ret = luo_dep_add(lf);
	if (ret)
		return ret;
	*tokenp = lf->token;
	*filep = get_file(lf->file);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_session_inode);

/**
 * liveupdate_session_walk - go through the files of a format
 * @session: from the arguments of the callback
 * @compatible: name of the format
 * @fn: called with the number that preserve() left, 0 if it is still running, and @arg;
 *	ends the walk by not returning 0
 * @arg: for @fn
 *
 * For a file whose memory others of the session refer to, and which has to know that
 * before they are retrieved, or their handler is there.
 *
 * Context: only from preserve(), retrieve() and finish(). May sleep.
 * Return: what the last call of @fn returned, 0 if there was none.
 */
int liveupdate_session_walk(struct liveupdate_session *session, const char *compatible,
			    int (*fn)(u64 data, void *arg), void *arg)
{
	struct luo_file *lf;
	int ret;

	lockdep_assert_held(&session->lock);

	list_for_each_entry(lf, &session->files, link) {
		if (lf->damaged || strcmp(lf->compatible, compatible))
			continue;
		ret = fn(lf->data, arg);
		if (ret)
			return ret;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_session_walk);

/**
 * liveupdate_account_pages - count pages that were preserved as locked memory
 * @user: whose memory it is: the caller of PRESERVE_FD, on whom the handler keeps
 *	a reference until it takes the pages off again
 * @nr_pages: number of pages of %PAGE_SIZE
 *
 * Preserved pages are pinned, and to pin memory is limited by ``RLIMIT_MEMLOCK``.
 *
 * Context: any.
 * Return: 0 on success, ``-ENOMEM`` if that is more than the limit of the calling
 * process, and it has no ``CAP_IPC_LOCK``.
 */
int liveupdate_account_pages(struct user_struct *user, unsigned long nr_pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long now = atomic_long_read(&user->locked_vm);

	do {
		if ((nr_pages > limit || now > limit - nr_pages) && !capable(CAP_IPC_LOCK))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &now, now + nr_pages));
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_account_pages);

/**
 * liveupdate_unaccount_pages - undo liveupdate_account_pages()
 * @user: as there
 * @nr_pages: number of pages of %PAGE_SIZE
 *
 * Context: any.
 */
void liveupdate_unaccount_pages(struct user_struct *user, unsigned long nr_pages)
{
	WARN_ON_ONCE(atomic_long_sub_return(nr_pages, &user->locked_vm) < 0);
}
EXPORT_SYMBOL_GPL(liveupdate_unaccount_pages);
