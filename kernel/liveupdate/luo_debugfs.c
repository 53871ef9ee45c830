// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/liveupdate: all sessions and files, and what was done.
 */

/**
 * DOC: LUO debugfs
 *
 * Each file has one line per item, of ``key=value`` separated by spaces. Names are
 * escaped in octal where they have a space, a backslash or what cannot be
 * printed; what is not known is ``-``. Root can read the files, and there is
 * nothing to write.
 *
 * =============  ============================================================
 * ``sessions``   ``direction`` (outgoing, incoming), ``name``, ``holder`` and ``comm``
 *                (process that created or claimed it), ``files``
 * ``files``      ``direction``, ``session``, ``token``, ``handler``, ``state``
 *                (preserved, waiting, retrieved, failed), ``error`` (errno of
 *                RETRIEVE_FD, or 0), ``bytes``, ``metadata`` (bytes of records),
 *                ``folios`` (ORDER:NUMBER,...)
 * ``flb``        ``direction``, ``name``, ``state`` (idle, preserved, waiting,
 *                retrieved, failed, finished), ``error`` (errno of retrieve(),
 *                or 0), ``files``, ``users``, ``data``
 * ``stats``      ``op``, ``flb_op`` or ``ioctl``, ``calls``, ``failures``, and but for
 *                ioctls ``total_ns``, ``max_ns``
 * ``phases``     first ``clock_khz`` of this and of the previous kernel,
 *                ``unstable``, ``fault`` and ``drift_ms`` (real time less the counter);
 *                then ``phase``, ``begin`` (of the counter), ``cycles``, ``ns``, the
 *                last line for all together. Empty after a cold boot
 * =============  ============================================================
 *
 * The place in a list is the number of the line: what comes or goes between two
 * read() calls may move others. Reading ``files`` reads in what the previous
 * kernel left of its sessions, which otherwise is done when they are claimed.
 *
 * Locks: luo_freeze_lock is held for writing while a buffer is filled, so that
 * nothing moves and every lock of a session is free. To read ``files`` of incoming
 * memfds that nobody has retrieved takes time in proportion to their size.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/seq_file.h>
#include <linux/string_helpers.h>

#include "luo_internal.h"

struct luo_seq {
	bool locked;
	struct luo_session_set *set;
	struct liveupdate_session *session;
};

static int luo_seq_lock(struct luo_seq *seq)
{
	int ret = down_write_killable(&luo_freeze_lock);

	seq->locked = !ret;
	return ret;
}

static void luo_seq_stop(struct seq_file *s, void *v)
{
	struct luo_seq *seq = s->private;

	if (seq->locked)
		up_write(&luo_freeze_lock);
	seq->locked = false;
}

/* The session after seq->session, in both sets; the first one after NULL. */
static struct liveupdate_session *luo_seq_next_session(struct luo_seq *seq)
{
	struct list_head *pos;

	if (!seq->session)
		seq->set = &luo_outgoing;
	pos = seq->session ? seq->session->set_link.next : seq->set->list.next;
	if (pos == &seq->set->list && seq->set == &luo_outgoing) {
		seq->set = &luo_incoming;
		pos = seq->set->list.next;
	}
	seq->session = pos == &seq->set->list ? NULL :
		       list_entry(pos, struct liveupdate_session, set_link);
	return seq->session;
}

static const char *luo_seq_direction(struct luo_seq *seq)
{
	return seq->set == &luo_outgoing ? "outgoing" : "incoming";
}

static void luo_seq_name(struct seq_file *s, const char *key, const char *name)
{
	seq_printf(s, " %s=", key);
	seq_escape_str(s, name, ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND, " \\");
}

static void *luo_sessions_start(struct seq_file *s, loff_t *pos)
{
	struct luo_seq *seq = s->private;
	loff_t nr = *pos;
	int ret;

	ret = luo_seq_lock(seq);
	if (ret)
		return ERR_PTR(ret);
	seq->session = NULL;
	while (luo_seq_next_session(seq) && nr--)
		;
	return seq->session;
}

static void *luo_sessions_next(struct seq_file *s, void *v, loff_t *pos)
{
	++*pos;
	return luo_seq_next_session(s->private);
}

static int luo_sessions_show(struct seq_file *s, void *v)
{
	struct liveupdate_session *session = v;
	struct luo_seq *seq = s->private;

	seq_printf(s, "direction=%s", luo_seq_direction(seq));
	luo_seq_name(s, "name", session->name);
	if (session->state == LUO_INCOMING && !session->held) {
		seq_puts(s, " holder=- comm=-");
	} else {
		seq_printf(s, " holder=%d", session->holder);
		luo_seq_name(s, "comm", session->holder_comm);
	}
	if (session->state == LUO_INCOMING && !session->loaded)
		seq_printf(s, " files=%llu\n", session->incoming_count);
	else
		seq_printf(s, " files=%lu\n", session->nr_files);
	return 0;
}

static const struct seq_operations luo_sessions_sops = {
	.start = luo_sessions_start,
	.next = luo_sessions_next,
	.stop = luo_seq_stop,
	.show = luo_sessions_show,
};

static int luo_sessions_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &luo_sessions_sops, sizeof(struct luo_seq));
}

static const struct file_operations luo_sessions_fops = {
	.owner = THIS_MODULE,
	.open = luo_sessions_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

static int luo_load_all(void)
{
	struct liveupdate_session *session;
	int ret;

	list_for_each_entry(session, &luo_incoming.list, set_link) {
		guard(mutex)(&session->lock);
		ret = luo_files_load(session);
		if (ret)
			return ret;
	}
	return 0;
}

static void *luo_files_start(struct seq_file *s, loff_t *pos)
{
	struct liveupdate_session *session;
	struct luo_seq *seq = s->private;
	struct luo_file *lf;
	loff_t nr = *pos;
	int ret;

	ret = luo_seq_lock(seq) ?: luo_load_all();
	if (ret)
		return ERR_PTR(ret);

	seq->session = NULL;
	while ((session = luo_seq_next_session(seq))) {
		if (nr >= session->nr_files) {
			nr -= session->nr_files;
			continue;
		}
		list_for_each_entry(lf, &session->files, link) {
			if (!nr--)
				return lf;
		}
	}
	return NULL;
}

static void *luo_files_next(struct seq_file *s, void *v, loff_t *pos)
{
	struct liveupdate_session *session;
	struct luo_seq *seq = s->private;
	struct luo_file *lf = v;

	++*pos;
	if (!list_is_last(&lf->link, &seq->session->files))
		return list_next_entry(lf, link);
	do {
		session = luo_seq_next_session(seq);
	} while (session && list_empty(&session->files));
	return session ? list_first_entry(&session->files, struct luo_file, link) : NULL;
}

static void luo_show_cost(struct seq_file *s, struct luo_file *lf)
{
	struct liveupdate_file_stat stat = {};
	char sep = '=';

	if (luo_file_stat(lf, &stat)) {
		seq_puts(s, " bytes=- metadata=- folios=-\n");
		return;
	}
	seq_printf(s, " bytes=%llu metadata=%llu folios", luo_stat_bytes(&stat), stat.metadata);
	for (unsigned int order = 0; order < LIVEUPDATE_NR_ORDERS; order++) {
		if (!stat.folios[order])
			continue;
		seq_printf(s, "%c%u:%lu", sep, order, stat.folios[order]);
		sep = ',';
	}
	seq_puts(s, sep == '=' ? "=-\n" : "\n");
}

static int luo_files_show(struct seq_file *s, void *v)
{
	static const char * const states[] = {
		[LIVEUPDATE_FILE_PRESERVED] = "preserved",
		[LIVEUPDATE_FILE_WAITING] = "waiting",
		[LIVEUPDATE_FILE_RETRIEVED] = "retrieved",
		[LIVEUPDATE_FILE_FAILED] = "failed",
	};
	struct luo_seq *seq = s->private;
	struct luo_file *lf = v;
	unsigned int error;

	guard(mutex)(&seq->session->lock);

	seq_printf(s, "direction=%s", luo_seq_direction(seq));
	luo_seq_name(s, "session", seq->session->name);
	seq_printf(s, " token=%#llx", lf->token);
	luo_seq_name(s, "handler", lf->damaged ? "-" : lf->compatible);
	seq_printf(s, " state=%s", states[luo_file_state(lf, &error)]);
	seq_printf(s, " error=%u", error);
	luo_show_cost(s, lf);
	return 0;
}

static const struct seq_operations luo_files_sops = {
	.start = luo_files_start,
	.next = luo_files_next,
	.stop = luo_seq_stop,
	.show = luo_files_show,
};

static int luo_files_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &luo_files_sops, sizeof(struct luo_seq));
}

static const struct file_operations luo_files_fops = {
	.owner = THIS_MODULE,
	.open = luo_files_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

static int luo_flb_show(struct seq_file *s, void *unused)
{
	luo_flbs_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(luo_flb);

static void luo_show_op_stat(struct seq_file *s, const char *key, enum luo_op op,
			     struct luo_op_stat *stat)
{
	seq_printf(s, "%s=%s calls=%lld failures=%lld total_ns=%lld max_ns=%lld\n", key,
		   luo_op_names[op], atomic64_read(&stat->calls), atomic64_read(&stat->failures),
		   atomic64_read(&stat->total_ns), atomic64_read(&stat->max_ns));
}

static int luo_stats_show(struct seq_file *s, void *unused)
{
	for (unsigned int op = 0; op < LUO_NR_OPS; op++)
		luo_show_op_stat(s, "op", op, &luo_op_stats[op]);
	for (unsigned int op = 0; op < LUO_NR_OPS; op++) {
		if (atomic64_read(&luo_flb_op_stats[op].calls))
			luo_show_op_stat(s, "flb_op", op, &luo_flb_op_stats[op]);
	}
	luo_device_stats_show(s);
	luo_session_stats_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(luo_stats);

static int luo_phases_file_show(struct seq_file *s, void *unused)
{
	luo_phases_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(luo_phases_file);

static int __init luo_debugfs_init(void)
{
	struct dentry *dir;

	if (!liveupdate_enabled())
		return 0;

	dir = debugfs_create_dir("liveupdate", NULL);
	debugfs_create_file("sessions", 0400, dir, NULL, &luo_sessions_fops);
	debugfs_create_file("files", 0400, dir, NULL, &luo_files_fops);
	debugfs_create_file("flb", 0400, dir, NULL, &luo_flb_fops);
	debugfs_create_file("stats", 0400, dir, NULL, &luo_stats_fops);
	debugfs_create_file("phases", 0400, dir, NULL, &luo_phases_file_fops);
	return 0;
}
late_initcall_sync(luo_debugfs_init);
