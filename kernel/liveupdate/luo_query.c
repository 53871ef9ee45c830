// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: ioctls that ask and change nothing.
 */

/**
 * DOC: LUO queries
 *
 * What there is can be listed by ioctl: the incoming sessions, and the files of a
 * session. A list is walked with a cursor that the caller keeps, the name of the last
 * session or the token of the last file. Both are kept in trees, so that the
 * next one is found at once, whatever has come or gone since.
 *
 * ``fdinfo`` of a session tells who it is::
 *
 *	luo-name:	NAME
 *	luo-direction:	outgoing, incoming or finished
 *	luo-files:	number of files
 *	luo-bytes:	bytes of their contents, as far as handlers can tell
 *
 * A dry run asks the handler of a file what preserve() would do, without doing it.
 *
 * Locks: the lock of the session for its files; that of the set of sessions for its
 * names. Both are held for one item at a time.
 */

#include <linux/cleanup.h>
#include <linux/errno.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/string_helpers.h>

#include "luo_internal.h"

static_assert(LIVEUPDATE_HANDLER_NAME_LENGTH == LIVEUPDATE_HNDL_COMPAT_LENGTH);

/**
 * luo_stat_bytes - bytes of the folios of a file
 * @stat: what its handler has told
 *
 * Return: number of bytes.
 */
u64 luo_stat_bytes(const struct liveupdate_file_stat *stat)
{
	u64 bytes = 0;

	for (unsigned int order = 0; order < LIVEUPDATE_NR_ORDERS; order++)
		bytes += (u64)stat->folios[order] << (order + PAGE_SHIFT);
	return bytes;
}

static void luo_fill_cost(struct liveupdate_file_cost *cost,
			  const struct liveupdate_file_stat *stat)
{
	cost->bytes = luo_stat_bytes(stat);
	cost->metadata = stat->metadata;
	for (unsigned int order = 0; order < LIVEUPDATE_NR_ORDERS; order++)
		cost->folios[order] = stat->folios[order];
}

/**
 * luo_file_stat - what does it take to carry a file of a session?
 * @lf: the file
 * @stat: filled in by its handler
 *
 * Its handler is asked if it is there, and not pinned by that.
 *
 * Return: 0, ``-EOPNOTSUPP`` if nobody can tell, or what the handler returned.
 */
int luo_file_stat(struct luo_file *lf, struct liveupdate_file_stat *stat)
{
	struct liveupdate_file_op_args args = luo_file_args(lf);
	int ret;

	lockdep_assert_held(&lf->session->lock);

	if (lf->damaged || lf->discarded || lf->retrieve_status < 0)
		return -EOPNOTSUPP;
	if (!args.handler)
		args.handler = luo_handler_get_by_name(lf->compatible);
	if (!args.handler)
		return -EOPNOTSUPP;
	ret = args.handler->ops->stat ? luo_call_stat(lf->token, &args, stat) : -EOPNOTSUPP;
	if (!lf->handler)
		luo_handler_put(args.handler);
	return ret;
}

/**
 * luo_file_state - what became of a file
 * @lf: the file
 * @error: set to the errno, positive, that retrieving it fails with, or 0
 *
 * Return: its state.
 */
enum liveupdate_file_state luo_file_state(struct luo_file *lf, unsigned int *error)
{
	struct liveupdate_file_handler *handler;

	lockdep_assert_held(&lf->session->lock);

	*error = 0;
	if (lf->session->state == LUO_OUTGOING)
		return LIVEUPDATE_FILE_PRESERVED;
	if (lf->damaged)
		*error = EBADMSG;
	else if (lf->discarded)
		*error = ESTALE;
	else if (lf->retrieve_status < 0)
		*error = -lf->retrieve_status;
	if (*error)
		return LIVEUPDATE_FILE_FAILED;
	if (lf->retrieve_status)
		return LIVEUPDATE_FILE_RETRIEVED;

	handler = lf->handler ?: luo_handler_get_by_name(lf->compatible);
	if (!handler)
		*error = EOPNOTSUPP;
	else if (!lf->handler)
		luo_handler_put(handler);
	return LIVEUPDATE_FILE_WAITING;
}

/**
 * luo_query_next_session - LIVEUPDATE_IOCTL_NEXT_SESSION
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_query_next_session(struct luo_ucmd *ucmd)
{
	struct liveupdate_ioctl_next_session *cmd = ucmd->cmd;
	struct liveupdate_session *session;

	if (cmd->flags || strnlen(cmd->name, sizeof(cmd->name)) == sizeof(cmd->name))
		return -EINVAL;

	guard(mutex)(&luo_incoming.lock);
	session = luo_set_next(&luo_incoming, cmd->name);
	if (!session)
		return -ENOENT;
	memcpy(cmd->name, session->name, sizeof(cmd->name));
	cmd->flags = session->held ? LIVEUPDATE_SESSION_HELD : 0;
	cmd->nr_files = session->incoming_count;
	return 0;
}

/**
 * luo_query_next_file - LIVEUPDATE_SESSION_NEXT_FILE
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_query_next_file(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_next_file *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;
	struct liveupdate_file_stat stat = {};
	struct luo_file *lf;
	int ret;

	if (cmd->flags)
		return -EINVAL;

	guard(mutex)(&session->lock);
	lf = luo_file_find_from(session, cmd->token);
	if (!lf)
		return -ENOENT;

	cmd->token = lf->token;
	cmd->state = luo_file_state(lf, &cmd->error);
	strscpy_pad(cmd->handler, lf->compatible);
	memset(&cmd->cost, 0, sizeof(cmd->cost));
	ret = luo_file_stat(lf, &stat);
	if (ret == -EINTR)
		return ret;
	if (!ret) {
		cmd->flags = LIVEUPDATE_FILE_COST_KNOWN;
		luo_fill_cost(&cmd->cost, &stat);
	}
	return 0;
}

static int luo_dry_run(struct liveupdate_session *session, struct file *file,
		       struct liveupdate_session_dry_run *cmd)
{
	struct liveupdate_file_op_args args = {
		.handler = luo_handler_get_for_file(file),
		.file = file,
		.session = session,
	};
	struct liveupdate_file_stat stat = {};
	int ret;

	if (!args.handler)
		return -ENOENT;

	strscpy_pad(cmd->handler, args.handler->compatible);
	memset(&cmd->cost, 0, sizeof(cmd->cost));
	ret = 0;
	if (luo_object_taken(args.handler, file)) {
		ret = -EBUSY;
	} else if (args.handler->ops->stat) {
		ret = luo_call_stat(0, &args, &stat);
		luo_fill_cost(&cmd->cost, &stat);
		cmd->flags = LIVEUPDATE_FILE_COST_KNOWN;
	}
	luo_handler_put(args.handler);
	return ret;
}

/**
 * luo_query_dry_run - LIVEUPDATE_SESSION_DRY_RUN
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_query_dry_run(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_dry_run *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;
	struct file *file __free(fput) = NULL;

	if (cmd->flags || cmd->reserved)
		return -EINVAL;

	guard(mutex)(&session->lock);
	if (session->state == LUO_INCOMING)
		return -EINVAL;
	file = fget(cmd->fd);
	if (!file)
		return -EBADF;
	return luo_dry_run(session, file, cmd);
}

/**
 * luo_query_show_fdinfo - /proc/PID/fdinfo/FD of a session
 * @s: where to
 * @file: the session's
 *
 * Context: may sleep, also while a kexec is on its way.
 */
void luo_query_show_fdinfo(struct seq_file *s, struct file *file)
{
	static const char * const directions[] = {
		[LUO_OUTGOING] = "outgoing",
		[LUO_INCOMING] = "incoming",
		[LUO_FINISHED] = "finished",
	};
	struct liveupdate_session *session = file->private_data;
	struct luo_file *lf;
	u64 bytes = 0;

	if (mutex_lock_killable(&session->lock))
		return;
	list_for_each_entry(lf, &session->files, link) {
		struct liveupdate_file_stat stat = {};

		if (!luo_file_stat(lf, &stat))
			bytes += luo_stat_bytes(&stat);
		cond_resched();
	}
	seq_puts(s, "luo-name:\t");
	seq_escape_str(s, session->name, ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND, "\\");
	seq_printf(s, "\nluo-direction:\t%s\nluo-files:\t%lu\nluo-bytes:\t%llu\n",
		   directions[session->state], session->nr_files, bytes);
	mutex_unlock(&session->lock);
}
