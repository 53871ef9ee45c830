// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: from reboot() to the jump.
 */

/**
 * DOC: LUO reboot
 *
 * kernel_kexec() calls liveupdate_reboot() before it shuts anything down. Sessions
 * whose close() met the reboot are let go of. Then come the checks, which change
 * nothing:
 *
 *  - an image that kexec_load(2) has loaded cannot carry state. It is refused if
 *    there are outgoing sessions, and so is one whose kernel says that it cannot read
 *    them (see luo_image.c);
 *  - a held session with files that are retrieved and not finished is a virtual
 *    machine that runs and was not told. The kexec is refused, unless the sysctl
 *    ``kernel.liveupdate_abandon_unfinished`` is 1.
 *
 * Incoming sessions that nobody has finished end with this kernel. They are
 * logged, and handlers that want to know it (discard()) are told.
 *
 * Then all files are frozen and the records written. If a file refuses to be
 * frozen, those that were are unfrozen in reverse order, and the kexec has not
 * taken place. Freezing is the last that can fail; but whatever keeps kernel_kexec()
 * from the jump later, all of it is undone by liveupdate_reboot_cancel().
 *
 * A kexec that comes back (``preserve_context``) is not a live update: nothing is
 * frozen for it.
 *
 * Locks: luo_freeze_lock is held for writing from the first check to the jump, by
 * which ioctls and releases are kept waiting.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/error-injection.h>
#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/sysctl.h>

#include "luo_internal.h"

/* Not more lines than this about sessions or files of one kind. */
#define LUO_REBOOT_LINES	16

static int luo_abandon_unfinished;
static struct luo_ser *luo_ser;

/* Everything is frozen, and kernel_kexec() on its way. */
static bool luo_frozen;

static struct ctl_table luo_sysctls[] = {
	{
		.procname	= "liveupdate_abandon_unfinished",
		.data		= &luo_abandon_unfinished,
		.maxlen		= sizeof(luo_abandon_unfinished),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
};

/**
 * luo_reboot_init - get ready for a reboot
 * @ser: what the next kernel will find
 */
void __init luo_reboot_init(struct luo_ser *ser)
{
	luo_ser = ser;
	register_sysctl("kernel", luo_sysctls);
}

static int luo_check_image(void)
{
	if (!luo_outgoing.count || kexec_image->file_mode)
		return 0;

	pr_err("%lu sessions are preserved, and an image loaded by kexec_load() cannot carry them: refused\n",
	       luo_outgoing.count);
	return -EINVAL;
}

static int luo_check_unfinished(void)
{
	struct liveupdate_session *session;
	unsigned int nr = 0;
	struct luo_file *lf;

	if (READ_ONCE(luo_abandon_unfinished))
		return 0;

	list_for_each_entry(session, &luo_incoming.list, set_link) {
		if (!session->held || !session->nr_retrieved)
			continue;
		guard(mutex)(&session->lock);
		list_for_each_entry(lf, &session->files, link) {
			if (lf->file && !lf->discarded && nr++ < LUO_REBOOT_LINES)
				luo_file_log(KERN_ERR, lf, "is retrieved and not finished");
		}
	}
	if (!nr)
		return 0;

	pr_err("%u files would be lost: refused (see sysctl kernel.liveupdate_abandon_unfinished)\n",
	       nr);
	return -EBUSY;
}

static void luo_log_dropped(void)
{
	struct liveupdate_session *session;
	unsigned long nr = 0;

	list_for_each_entry(session, &luo_incoming.list, set_link) {
		if (nr++ == LUO_REBOOT_LINES) {
			pr_notice("%lu sessions were not finished and end here\n",
				  luo_incoming.count);
			break;
		}
		luo_session_log(KERN_NOTICE, session, "was not %s and ends here, with %llu files",
				session->loaded ? "finished" : "claimed",
				session->incoming_count);
	}
	luo_flbs_log_unfinished();
}

static int luo_discard(void)
{
	struct liveupdate_session *session;
	int ret;

	if (!luo_handlers_discard())
		return 0;

	list_for_each_entry(session, &luo_incoming.list, set_link) {
		scoped_guard(mutex, &session->lock)
			ret = luo_files_load(session);
		if (ret)
			return ret;
	}
	list_for_each_entry(session, &luo_incoming.list, set_link) {
		guard(mutex)(&session->lock);
		luo_files_discard(session);
	}
	return 0;
}

static void luo_unfreeze(void)
{
	struct liveupdate_session *session;

	list_for_each_entry_reverse(session, &luo_outgoing.list, set_link)
		luo_files_unfreeze(session);
}

static int luo_freeze(void)
{
	struct liveupdate_session *session;
	int ret;

	list_for_each_entry(session, &luo_outgoing.list, set_link) {
		ret = luo_files_freeze(session);
		if (ret) {
			luo_unfreeze();
			return ret;
		}
	}
	return 0;
}

static int luo_reboot(void)
{
	int ret;

	luo_sessions_put_released();

	ret = luo_check_image();
	if (ret)
		return ret;
	ret = luo_image_check(kexec_image);
	if (ret)
		return ret;
	ret = luo_check_unfinished();
	if (ret)
		return ret;

	luo_log_dropped();
	ret = luo_discard();
	if (ret)
		return ret;

	ret = luo_freeze();
	if (ret)
		return ret;
	luo_ser->sessions_pa = luo_sessions_serialize();
	luo_policies_serialize();
	luo_ser->flbs_pa = luo_flbs_serialize();
	return 0;
}

/* With all written: where function error injection can call the kexec off. */
static noinline int luo_may_jump(void)
{
	int ret = 0;

	/* Or the caller would not look at it. */
	OPTIMIZER_HIDE_VAR(ret);
	return ret;
}
ALLOW_ERROR_INJECTION(luo_may_jump, ERRNO);

/**
 * liveupdate_reboot - get everything ready for the jump into the next kernel
 *
 * Called by kernel_kexec(), with the image locked and nothing shut down. When it
 * returns 0, all files are frozen, and stay so until the jump. When it does not, or
 * anything fails later, liveupdate_reboot_cancel() is to be called.
 *
 * Context: process context, sleeps.
 * Return: 0, or the errno for reboot(2): ``-EINVAL`` if the image cannot carry state,
 * ``-EPROTONOSUPPORT`` if its kernel cannot read what is preserved, ``-EBUSY`` if
 * unfinished files would be lost, ``-EINTR`` if the caller was killed, ``-ENOMEM``, or
 * why a file could not be frozen.
 */
int liveupdate_reboot(void)
{
	int ret;

	if (!liveupdate_enabled() || kexec_image->preserve_context)
		return 0;

	ret = down_write_killable(&luo_freeze_lock);
	if (ret)
		return ret;

	luo_phase_leave(LUO_PHASE_FREEZE);
	ret = luo_reboot();
	if (ret) {
		up_write(&luo_freeze_lock);
		return ret;
	}
	luo_frozen = true;
	luo_phase_leave(LUO_PHASE_SHUTDOWN);
	if (luo_outgoing.count)
		pr_info("%lu sessions are frozen\n", luo_outgoing.count);
	return luo_may_jump();
}

/**
 * liveupdate_reboot_cancel - go on in this kernel after all
 *
 * Called by kernel_kexec() when it returns. Does nothing if nothing is frozen.
 *
 * Context: process context, sleeps.
 */
void liveupdate_reboot_cancel(void)
{
	if (!luo_frozen)
		return;

	luo_frozen = false;
	luo_ser->sessions_pa = 0;
	luo_ser->flbs_pa = 0;
	luo_flbs_unserialize();
	luo_unfreeze();
	up_write(&luo_freeze_lock);
}
