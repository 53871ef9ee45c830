// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: sessions whose devices are stopped because nobody comes
 * for them.
 */

/**
 * DOC: LUO fence
 *
 * A device that was preserved runs on in the next kernel, into memory of the session,
 * until somebody has retrieved and finished both. If nobody does, it must be cut
 * off before that memory can be used for anything else. To *fence* a session is to
 * call discard() for each of its files, last one first; what that means for a
 * device is up to its handler, with the help of pci_liveupdate_fence(). A
 * file that was discarded cannot be retrieved any more; can_finish() is not asked.
 *
 * This takes place
 *
 *  - when LIVEUPDATE_SESSION_FENCE asks for it. The session stays; it can
 *    be finished then, whatever state it is in;
 *  - with the policy %LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, when the last descriptor of
 *    an incoming session is closed, also by the death of its holder;
 *  - with the policy %LIVEUPDATE_DEVICE_FENCE_AFTER, when the time has passed and
 *    the session is not finished, be it held by somebody or not;
 *  - at each kexec, for all incoming sessions (see luo_reboot.c).
 *
 * What can be fenced is, whatever else of the session is missing. Whoever finds devices
 * running (&struct liveupdate_device_ops) knows by the name of the session which of them
 * belong to it: those that no file has taken are fenced with it, so that one whose file
 * was lost on the way is not forgotten. Until then a session that has lost a file cannot
 * be finished.
 *
 * With the two policies the session is then given up: it is finished, and its name
 * and its memory are free. If a handler is missing that would be needed for that,
 * the session stays, with everything that belongs to it. After a time-out it is tried
 * again, at intervals that grow, until it works.
 *
 * Locks: as for an ioctl on the session. The time-out comes with luo_freeze_lock held
 * for writing, so that no ioctl and no release is under way, as after it the
 * session may be gone.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/printk.h>
#include <linux/workqueue.h>

#include "luo_internal.h"

/* When LUO started: the time-outs count from there. */
static unsigned long luo_fence_start;

/* Between one attempt after a time-out and the next, in s. */
#define LUO_FENCE_RETRY		1
#define LUO_FENCE_RETRY_MAX	64

static const struct liveupdate_device_ops *luo_device_ops;

/**
 * liveupdate_set_device_ops - tell LUO who finds devices running
 * @ops: what can be asked, for good
 *
 * Context: any.
 */
void liveupdate_set_device_ops(const struct liveupdate_device_ops *ops)
{
	/* Pairs with smp_load_acquire() in luo_devices() */
	smp_store_release(&luo_device_ops, ops);
}

static const struct liveupdate_device_ops *luo_devices(void)
{
	/* Pairs with smp_store_release() in liveupdate_set_device_ops() */
	return smp_load_acquire(&luo_device_ops);
}

/**
 * liveupdate_session_unclaimed - does a device of a session run that no file has taken?
 * @session: from the arguments of the callback
 *
 * The memory of such a session cannot be let go.
 *
 * Context: only from callbacks of &struct liveupdate_file_ops. May sleep.
 * Return: true if there is one, that is not fenced. It is logged.
 */
bool liveupdate_session_unclaimed(struct liveupdate_session *session)
{
	const struct liveupdate_device_ops *ops = luo_devices();

	lockdep_assert_held(&session->lock);

	return ops && session->state == LUO_INCOMING && ops->unclaimed(session->name);
}
EXPORT_SYMBOL_GPL(liveupdate_session_unclaimed);

/**
 * liveupdate_session_name - the name of a session
 * @session: from the arguments of the callback
 *
 * Context: only from callbacks of &struct liveupdate_file_ops.
 * Return: the name, %LIVEUPDATE_SESSION_NAME_LENGTH bytes, padded with NULs.
 */
const char *liveupdate_session_name(struct liveupdate_session *session)
{
	lockdep_assert_held(&session->lock);

	return session->name;
}
EXPORT_SYMBOL_GPL(liveupdate_session_name);

/**
 * luo_fence_set_policy - LIVEUPDATE_SESSION_SET_DEVICE_POLICY
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_fence_set_policy(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_set_device_policy *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;

	if (cmd->reserved || !luo_policy_valid(cmd->policy, cmd->timeout_ms))
		return -EINVAL;

	guard(mutex)(&session->lock);

	if (session->state != LUO_OUTGOING)
		return -EINVAL;
	return luo_policy_set(session, cmd->policy, cmd->timeout_ms);
}

/* What can be stopped is; the errno is about the rest. */
static int luo_fence_files(struct liveupdate_session *session)
{
	const struct liveupdate_device_ops *ops = luo_devices();
	int ret = luo_files_load(session);

	if (!ret) {
		luo_files_discard(session);
		ret = luo_files_resolve(session);
	}
	if (ops)
		ops->fence_unclaimed(session->name);
	return ret;
}

/**
 * luo_fence_session - LIVEUPDATE_SESSION_FENCE
 * @ucmd: the ioctl
 *
 * Return: 0 or the errno for user space.
 */
int luo_fence_session(struct luo_ucmd *ucmd)
{
	struct liveupdate_session_fence *cmd = ucmd->cmd;
	struct liveupdate_session *session = ucmd->session;

	if (cmd->reserved)
		return -EINVAL;

	guard(mutex)(&session->lock);

	if (session->state != LUO_INCOMING)
		return -EINVAL;
	return luo_fence_files(session);
}

/* Returns true if the session is finished. */
static bool luo_fence_give_up(struct liveupdate_session *session, const char *why)
{
	int ret;

	guard(mutex)(&session->lock);

	luo_session_log(KERN_NOTICE, session, "%s: its devices are fenced and it is given up",
			why);
	ret = luo_fence_files(session);
	if (!ret)
		ret = luo_session_finish(session);
	if (ret)
		luo_session_log(KERN_ERR, session, "cannot be given up: %pe", ERR_PTR(ret));
	return !ret;
}

/**
 * luo_fence_on_close - the last descriptor of an incoming session is closed
 * @session: the session, which nobody else can have
 *
 * Return: true if the session was given up, and is to be freed.
 */
bool luo_fence_on_close(struct liveupdate_session *session)
{
	if (session->policy != LIVEUPDATE_DEVICE_FENCE_ON_CLOSE || !session->given)
		return false;
	return luo_fence_give_up(session, "was closed and not finished");
}

static void luo_fence_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(luo_fence_work, luo_fence_work_fn);

static unsigned long luo_fence_deadline(const struct liveupdate_session *session)
{
	return luo_fence_start + msecs_to_jiffies(session->timeout_ms) + session->fence_later;
}

/* It did not work: when is it tried again? */
static void luo_fence_retry(struct liveupdate_session *session)
{
	unsigned long due = luo_fence_deadline(session);

	session->fence_wait = clamp(2 * session->fence_wait, LUO_FENCE_RETRY,
				    LUO_FENCE_RETRY_MAX);
	session->fence_later += jiffies - due + session->fence_wait * HZ;
	luo_session_log(KERN_NOTICE, session, "is tried again in %u s", session->fence_wait);
}

/* Come back when the next session is due. */
static void luo_fence_schedule(void)
{
	struct liveupdate_session *session;
	unsigned long now = jiffies, wait = MAX_JIFFY_OFFSET;

	list_for_each_entry(session, &luo_incoming.list, set_link) {
		unsigned long due = luo_fence_deadline(session);

		if (session->policy == LIVEUPDATE_DEVICE_FENCE_AFTER)
			wait = min(wait, time_after(due, now) ? due - now : 0);
	}
	if (wait != MAX_JIFFY_OFFSET)
		queue_delayed_work(luo_release_wq, &luo_fence_work, wait);
}

static void luo_fence_work_fn(struct work_struct *work)
{
	struct liveupdate_session *session, *next;

	guard(rwsem_write)(&luo_freeze_lock);

	list_for_each_entry_safe(session, next, &luo_incoming.list, set_link) {
		if (session->policy != LIVEUPDATE_DEVICE_FENCE_AFTER ||
		    time_before(jiffies, luo_fence_deadline(session)))
			continue;
		if (!luo_fence_give_up(session, "was not finished in time"))
			luo_fence_retry(session);
		else if (!session->held)
			luo_session_free(session);
	}
	luo_fence_schedule();
}

/**
 * luo_fence_init - the time-outs of incoming sessions begin
 *
 * Context: process context, when sessions and policies are loaded.
 */
void __init luo_fence_init(void)
{
	luo_fence_start = jiffies;
	guard(rwsem_write)(&luo_freeze_lock);
	luo_fence_schedule();
}
