// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: sessions.
 */

/**
 * DOC: LUO sessions
 *
 * A session is a named collection of files with one owner. Sessions for the next
 * kernel, *outgoing*, and those from the previous one, *incoming*, are two sets
 * with separate name spaces::
 *
 *	CREATE_SESSION --> outgoing --(kexec)--> incoming <-- RETRIEVE_SESSION
 *	                      ^                     |
 *	                      |                   FINISH
 *	       first PRESERVE_FD                    |
 *	                      +---- finished <------+
 *
 * An outgoing session lives as long as its file: the last close() unpreserves
 * everything. An incoming session lives until it is finished, held by an open
 * file or not; closing that makes it claimable again. A finished session is empty,
 * belongs to neither set, and goes away with its file, unless a file is preserved
 * in it, which makes it an outgoing one.
 *
 * While files are frozen nothing may change. ioctls wait for the end of that. A
 * release must not: a task that dies, or the worker that puts files for all of the
 * kernel, may be needed to get the devices shut down. It leaves its session on
 * a list, for a workqueue to wait instead. reboot() empties the list before it
 * freezes anything, so a session that was closed before a later ioctl of the same
 * task never gets into the next kernel.
 *
 * Names are found by a tree that is sorted by hash and name, which takes no memory
 * that might not be there and gives no one a way to make it slow.
 *
 * Locks: see luo_core.c. luo_session_set.lock, one for each set, protects who is in
 * it. The list of sessions stands still with luo_freeze_lock held for writing, too.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include "luo_internal.h"

struct luo_session_set luo_outgoing = {
	.lock = __MUTEX_INITIALIZER(luo_outgoing.lock),
	.list = LIST_HEAD_INIT(luo_outgoing.list),
	.names = RB_ROOT,
	.chain = {
		.ops = &luo_kho_block_ops,
		.entry_size = sizeof(struct luo_session_ser),
	},
};

struct luo_session_set luo_incoming = {
	.lock = __MUTEX_INITIALIZER(luo_incoming.lock),
	.list = LIST_HEAD_INIT(luo_incoming.list),
	.names = RB_ROOT,
};

/**
 * luo_session_log - write a line about a session to the log
 * @level: KERN_*
 * @session: the session. Its name comes from user space or from the previous
 *	kernel: it is escaped.
 * @fmt: what about it, without a newline
 */
void luo_session_log(const char *level, struct liveupdate_session *session,
		     const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	_printk("%s" pr_fmt("session '%*pE': %pV\n"), level, (int)strlen(session->name),
		session->name, &vaf);
	va_end(args);
}

struct luo_name_key {
	const char *name;
	u32 hash;
};

static u32 luo_name_hash(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

static int luo_name_cmp(const void *key, const struct rb_node *node)
{
	const struct liveupdate_session *session;
	const struct luo_name_key *k = key;

	session = rb_entry(node, struct liveupdate_session, name_node);
	if (k->hash != session->name_hash)
		return k->hash < session->name_hash ? -1 : 1;
	return strcmp(k->name, session->name);
}

static int luo_name_cmp_node(struct rb_node *node, const struct rb_node *other)
{
	struct liveupdate_session *session;
	struct luo_name_key key;

	session = rb_entry(node, struct liveupdate_session, name_node);
	key.name = session->name;
	key.hash = session->name_hash;
	return luo_name_cmp(&key, other);
}

/**
 * luo_set_find - find a session by its name
 * @set: the set
 * @name: the name
 *
 * Return: the session, or NULL.
 */
struct liveupdate_session *luo_set_find(struct luo_session_set *set, const char *name)
{
	struct luo_name_key key = { .name = name, .hash = luo_name_hash(name) };
	struct rb_node *node;

	lockdep_assert_held(&set->lock);

	node = rb_find(&key, &set->names, luo_name_cmp);
	return rb_entry_safe(node, struct liveupdate_session, name_node);
}

/**
 * luo_set_next - the session after a name
 * @set: the set
 * @name: a name, of a session that need not be there; empty for the first session
 *
 * Return: the session, or NULL. They are sorted by hash.
 */
struct liveupdate_session *luo_set_next(struct luo_session_set *set, const char *name)
{
	struct luo_name_key key = { .name = name, .hash = luo_name_hash(name) };
	struct rb_node *node = set->names.rb_node, *found = NULL;

	lockdep_assert_held(&set->lock);

	if (!name[0])
		return rb_entry_safe(rb_first(&set->names), struct liveupdate_session, name_node);
	while (node) {
		if (luo_name_cmp(&key, node) < 0) {
			found = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return rb_entry_safe(found, struct liveupdate_session, name_node);
}

static int luo_set_add(struct luo_session_set *set, struct liveupdate_session *session)
{
	int ret;

	guard(mutex)(&set->lock);

	if (rb_find_add(&session->name_node, &set->names, luo_name_cmp_node))
		return -EEXIST;

	if (set->chain.ops) {
		ret = luo_chain_reserve(&set->chain);
		if (ret) {
			rb_erase(&session->name_node, &set->names);
			return ret;
		}
	}
	list_add_tail(&session->set_link, &set->list);
	set->count++;
	return 0;
}

static void luo_set_del(struct luo_session_set *set, struct liveupdate_session *session)
{
	guard(mutex)(&set->lock);

	rb_erase(&session->name_node, &set->names);
	list_del(&session->set_link);
	set->count--;
	if (set->chain.ops)
		luo_chain_unreserve(&set->chain);
}

/* Closed while luo_freeze_lock could not be had at once. */
static LLIST_HEAD(luo_released);

/* The name ends inside its field and is not empty: the caller has seen to it. */
static struct liveupdate_session *luo_session_alloc(const char *name,
						    enum luo_session_state state)
{
	struct liveupdate_session *session;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return NULL;

	mutex_init(&session->lock);
	session->state = state;
	INIT_LIST_HEAD(&session->files);
	session->tokens = RB_ROOT;
	luo_chain_init(&session->chain, &luo_kho_block_ops, sizeof(struct luo_file_ser));
	strscpy(session->name, name);
	session->name_hash = luo_name_hash(session->name);
	return session;
}

/**
 * luo_session_free - free a session
 * @session: the session, which has no files and is in no set
 */
void luo_session_free(struct liveupdate_session *session)
{
	WARN_ON_ONCE(session->nr_files);
	luo_chain_destroy(&session->chain);
	mutex_destroy(&session->lock);
	kfree(session);
}

/* The last open file of the session is gone. */
static void luo_session_put(struct liveupdate_session *session)
{
	enum luo_session_state state;

	lockdep_assert_held(&luo_freeze_lock);

	scoped_guard(mutex, &session->lock) {
		state = session->state;
		if (state == LUO_OUTGOING) {
			luo_files_unpreserve(session);
			luo_policy_set(session, LIVEUPDATE_DEVICE_HOLD, 0);
		}
	}

	switch (state) {
	case LUO_INCOMING:
		if (luo_fence_on_close(session)) {
			luo_session_free(session);
			break;
		}
		session->given = false;
		/* With that it may be claimed, finished and freed by others. */
		scoped_guard(mutex, &luo_incoming.lock)
			session->held = false;
		break;
	case LUO_OUTGOING:
		luo_set_del(&luo_outgoing, session);
		fallthrough;
	case LUO_FINISHED:
		luo_session_free(session);
	}
}

/**
 * luo_sessions_put_released - let go of sessions whose release could not wait
 *
 * Context: process context, sleeps, luo_freeze_lock held for reading or writing.
 */
void luo_sessions_put_released(void)
{
	struct liveupdate_session *session, *next;

	llist_for_each_entry_safe(session, next, llist_del_all(&luo_released), released)
		luo_session_put(session);
}

static void luo_release_work_fn(struct work_struct *work)
{
	guard(rwsem_read)(&luo_freeze_lock);
	luo_sessions_put_released();
}

static DECLARE_WORK(luo_release_work, luo_release_work_fn);

static int luo_session_fop_release(struct inode *inode, struct file *file)
{
	struct liveupdate_session *session = file->private_data;

	if (!down_read_trylock(&luo_freeze_lock)) {
		llist_add(&session->released, &luo_released);
		queue_work(luo_release_wq, &luo_release_work);
		return 0;
	}
	luo_session_put(session);
	up_read(&luo_freeze_lock);
	return 0;
}

static int luo_session_ioctl_preserve_fd(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_preserve_fd *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;
	int ret;

	guard(mutex)(&session->lock);

	switch (session->state) {
	case LUO_OUTGOING:
		return luo_file_preserve(session, cmd->fd, cmd->token);
	case LUO_FINISHED:
		ret = luo_set_add(&luo_outgoing, session);
		if (ret)
			return ret;
		ret = luo_file_preserve(session, cmd->fd, cmd->token);
		if (ret)
			luo_set_del(&luo_outgoing, session);
		else
			session->state = LUO_OUTGOING;
		return ret;
	case LUO_INCOMING:
		break;
	}
	return -EINVAL;
}

static int luo_session_ioctl_retrieve_fd(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_retrieve_fd *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;

	guard(mutex)(&session->lock);

	if (session->state != LUO_INCOMING)
		return -EINVAL;
	luo_phase_retrieve();
	return luo_file_retrieve(session, cmd->token, &ucmd->file);
}

/**
 * luo_session_finish - finish a session
 * @session: an incoming session
 *
 * Return: 0 or the errno for FINISH; nothing has changed then.
 */
int luo_session_finish(struct liveupdate_session *session)
{
	int ret;

	lockdep_assert_held(&session->lock);

	ret = luo_files_finish(session);
	if (ret)
		return ret;

	if (session->lost)
		luo_incoming.lost = true;
	luo_set_del(&luo_incoming, session);
	session->state = LUO_FINISHED;
	session->policy = LIVEUPDATE_DEVICE_HOLD;
	if (!luo_incoming.count && !luo_incoming.lost)
		luo_flbs_finish_rest();
	luo_phase_finish(!READ_ONCE(luo_incoming.count));
	return 0;
}

static int luo_session_ioctl_finish(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_finish *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;

	if (cmd->reserved)
		return -EINVAL;

	guard(mutex)(&session->lock);

	return session->state == LUO_INCOMING ? luo_session_finish(session) : -EINVAL;
}

static int luo_session_ioctl_unpreserve_file(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_unpreserve_file *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;

	if (cmd->reserved)
		return -EINVAL;

	guard(mutex)(&session->lock);

	if (session->state == LUO_INCOMING)
		return -EINVAL;
	return luo_file_unpreserve(session, cmd->token);
}

static int luo_session_ioctl_get_name(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_get_name *cmd = ucmd->cmd;

	if (cmd->reserved)
		return -EINVAL;
	memcpy(cmd->name, ucmd->session->name, sizeof(cmd->name));
	return 0;
}

static const struct luo_ioctl_op luo_session_ioctl_ops[] = {
	LUO_IOCTL(LIVEUPDATE_SESSION_PRESERVE_FD, luo_session_ioctl_preserve_fd,
		  struct liveupdate_session_preserve_fd, token, 0),
	LUO_IOCTL(LIVEUPDATE_SESSION_RETRIEVE_FD, luo_session_ioctl_retrieve_fd,
		  struct liveupdate_session_retrieve_fd, token, LUO_IOCTL_OUT | LUO_IOCTL_FD),
	LUO_IOCTL(LIVEUPDATE_SESSION_FINISH, luo_session_ioctl_finish,
		  struct liveupdate_session_finish, reserved, 0),
	LUO_IOCTL(LIVEUPDATE_SESSION_GET_NAME, luo_session_ioctl_get_name,
		  struct liveupdate_session_get_name, name, LUO_IOCTL_OUT),
	LUO_IOCTL(LIVEUPDATE_SESSION_NEXT_FILE, luo_query_next_file,
		  struct liveupdate_session_next_file, cost, LUO_IOCTL_OUT),
	LUO_IOCTL(LIVEUPDATE_SESSION_UNPRESERVE_FILE, luo_session_ioctl_unpreserve_file,
		  struct liveupdate_session_unpreserve_file, token, 0),
	LUO_IOCTL(LIVEUPDATE_SESSION_DRY_RUN, luo_query_dry_run,
		  struct liveupdate_session_dry_run, cost, LUO_IOCTL_OUT),
	LUO_IOCTL(LIVEUPDATE_SESSION_SET_DEVICE_POLICY, luo_fence_set_policy,
		  struct liveupdate_session_set_device_policy, reserved, 0),
	LUO_IOCTL(LIVEUPDATE_SESSION_FENCE, luo_fence_session,
		  struct liveupdate_session_fence, reserved, 0),
};

static long luo_session_fop_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return luo_ioctl(luo_session_ioctl_ops, ARRAY_SIZE(luo_session_ioctl_ops),
			 file->private_data, cmd, arg);
}

/**
 * luo_session_stats_show - write a line about each ioctl of sessions
 * @s: where to
 */
void luo_session_stats_show(struct seq_file *s)
{
	luo_ioctl_stats_show(s, luo_session_ioctl_ops, ARRAY_SIZE(luo_session_ioctl_ops));
}

static const struct file_operations luo_session_fops = {
	.owner = THIS_MODULE,
	.show_fdinfo = luo_query_show_fdinfo,
	.release = luo_session_fop_release,
	.unlocked_ioctl = luo_session_fop_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/**
 * luo_session_given - user space is about to get a file descriptor
 * @file: what it gets, of a session or not
 *
 * From here on it is user space that closes it.
 */
void luo_session_given(struct file *file)
{
	if (file->f_op == &luo_session_fops)
		((struct liveupdate_session *)file->private_data)->given = true;
}

static struct file *luo_session_open(struct liveupdate_session *session)
{
	char name[sizeof("[luo_session] ") + LIVEUPDATE_SESSION_NAME_LENGTH];

	session->holder = task_tgid_nr(current);
	get_task_comm(session->holder_comm, current);
	snprintf(name, sizeof(name), "[luo_session] %s", session->name);
	return anon_inode_getfile(name, &luo_session_fops, session, O_RDWR);
}

static bool luo_name_ok(const char *name)
{
	return name[0] && strnlen(name, LIVEUPDATE_SESSION_NAME_LENGTH) <
	       LIVEUPDATE_SESSION_NAME_LENGTH;
}

/**
 * luo_session_create - LIVEUPDATE_IOCTL_CREATE_SESSION
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_session_create(struct luo_ucmd *ucmd)
{
	struct liveupdate_ioctl_create_session *cmd = ucmd->cmd;
	const char *name = (const char *)cmd->name;
	struct liveupdate_session *session;
	int ret;

	if (!luo_name_ok(name))
		return -EINVAL;

	session = luo_session_alloc(name, LUO_OUTGOING);
	if (!session)
		return -ENOMEM;

	ret = luo_set_add(&luo_outgoing, session);
	if (ret)
		goto err_free;

	ucmd->file = luo_session_open(session);
	if (IS_ERR(ucmd->file)) {
		ret = PTR_ERR(ucmd->file);
		goto err_del;
	}
	return 0;

err_del:
	luo_set_del(&luo_outgoing, session);
err_free:
	luo_session_free(session);
	return ret;
}

static struct liveupdate_session *luo_session_claim(const char *name)
{
	struct liveupdate_session *session;

	guard(mutex)(&luo_incoming.lock);
	session = luo_set_find(&luo_incoming, name);
	if (!session)
		return ERR_PTR(-ENOENT);
	if (session->held)
		return ERR_PTR(-EBUSY);
	session->held = true;
	return session;
}

/**
 * luo_session_retrieve - LIVEUPDATE_IOCTL_RETRIEVE_SESSION
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_session_retrieve(struct luo_ucmd *ucmd)
{
	struct liveupdate_ioctl_retrieve_session *cmd = ucmd->cmd;
	const char *name = (const char *)cmd->name;
	struct liveupdate_session *session;
	int ret;

	if (!luo_name_ok(name))
		return -EINVAL;

	session = luo_session_claim(name);
	if (IS_ERR(session))
		return PTR_ERR(session);

	scoped_guard(mutex, &session->lock)
		ret = luo_files_load(session);
	if (ret)
		goto err_unclaim;

	ucmd->file = luo_session_open(session);
	if (IS_ERR(ucmd->file)) {
		ret = PTR_ERR(ucmd->file);
		goto err_unclaim;
	}
	return 0;

err_unclaim:
	luo_session_put(session);
	return ret;
}

static void luo_session_load(struct luo_session_set *set, const struct luo_block_ops *ops,
			     const struct luo_session_ser *ser)
{
	struct liveupdate_session *session;
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int ret;

	if (!luo_name_ok(ser->name)) {
		pr_err("session '%*pE': name is damaged, %llu files are lost\n",
		       (int)strnlen(ser->name, sizeof(ser->name)), ser->name, ser->count);
		set->lost = true;
		return;
	}

	strscpy(name, ser->name);
	session = luo_session_alloc(name, LUO_INCOMING);
	if (!session) {
		pr_err("session '%*pE': no memory, %llu files are lost\n",
		       (int)strlen(name), name, ser->count);
		set->lost = true;
		return;
	}
	session->chain.ops = ops;
	session->incoming_pa = ser->files;
	session->incoming_count = ser->count;

	ret = luo_set_add(set, session);
	if (ret) {
		luo_session_log(KERN_ERR, session, "comes twice, %llu files of the second are lost",
				ser->count);
		set->lost = true;
		luo_session_free(session);
	}
}

/**
 * luo_sessions_load - read what the previous kernel left of its sessions
 * @set: where they are entered
 * @ops: where blocks come from
 * @sessions_pa: where the list is
 */
void luo_sessions_load(struct luo_session_set *set, const struct luo_block_ops *ops,
		       u64 sessions_pa)
{
	struct luo_incoming_chain chain;
	struct luo_chain_reader reader;
	const struct luo_session_ser *ser;

	if (luo_incoming_chain_check(&chain, ops, sessions_pa, sizeof(*ser),
				     LUO_COUNT_UNKNOWN)) {
		pr_err("list of sessions is damaged: %s (block at %#llx), %llu sessions are left\n",
		       chain.fault, chain.fault_pa, chain.nr_entries);
		set->lost = true;
	}

	luo_chain_read(&chain, &reader);
	while ((ser = luo_chain_read_next(&reader))) {
		luo_session_load(set, ops, ser);
		cond_resched();
	}
	luo_incoming_chain_release(&chain);
}

/**
 * luo_sessions_serialize - write the records of all outgoing sessions
 *
 * Return: where the next kernel finds them.
 */
u64 luo_sessions_serialize(void)
{
	struct liveupdate_session *session;
	struct luo_chain_writer writer;

	lockdep_assert_held_write(&luo_freeze_lock);

	luo_chain_write(&luo_outgoing.chain, &writer);
	list_for_each_entry(session, &luo_outgoing.list, set_link) {
		struct luo_session_ser *ser = luo_chain_write_next(&writer);

		luo_files_serialize(session);
		memcpy(ser->name, session->name, sizeof(ser->name));
		ser->files = luo_chain_address(&session->chain);
		ser->count = session->nr_files;
	}
	return luo_chain_address(&luo_outgoing.chain);
}
