// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the files of a session around the kexec.
 */

/**
 * DOC: LUO files around the kexec
 *
 * On the way out, all files are frozen in the order in which they were preserved,
 * and their records written into the room that was reserved for them. Only
 * freeze() can fail; writing cannot.
 *
 * On the way in, the records of a session are read when it is first claimed,
 * not at boot, where others would wait for it. What the previous kernel left is
 * input like any other. Of a damaged list the sound beginning is used, and
 * the session remembers that there was more: a token that is not found may have
 * been lost then. A record that makes no sense is kept as a file that cannot be
 * retrieved. Whatever is wrong is logged, with the session and the token, and
 * concerns no other session and no other file.
 *
 * Locks: as in luo_file.c. What is done for the kexec is done with luo_freeze_lock
 * held for writing, too.
 */

#include <linux/err.h>
#include <linux/error-injection.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "luo_internal.h"

static int luo_file_freeze(struct luo_file *lf)
{
	struct liveupdate_file_op_args args = luo_file_args(lf);
	int ret;

	if (!lf->handler->ops->freeze)
		return 0;

	ret = luo_file_call(lf, LUO_OP_FREEZE, &args);
	if (ret) {
		luo_file_log(KERN_ERR, lf, "cannot be frozen: %pe", ERR_PTR(ret));
		return ret;
	}
	lf->data = args.serialized_data;
	lf->private_data = args.private_data;
	lf->frozen = true;
	return 0;
}

static void luo_file_unfreeze(struct luo_file *lf)
{
	struct liveupdate_file_op_args args = luo_file_args(lf);

	if (!lf->frozen)
		return;
	lf->frozen = false;
	if (lf->handler->ops->unfreeze)
		luo_file_call(lf, LUO_OP_UNFREEZE, &args);
}

/**
 * luo_files_freeze - freeze the files of a session
 * @session: an outgoing session
 *
 * Return: 0, or what the first freeze() that failed gave. Files before that one
 * are frozen, luo_files_unfreeze() is for the caller to call.
 */
int luo_files_freeze(struct liveupdate_session *session)
{
	struct luo_file *lf;
	int ret;

	lockdep_assert_held_write(&luo_freeze_lock);
	guard(mutex)(&session->lock);

	list_for_each_entry(lf, &session->files, link) {
		ret = luo_file_freeze(lf);
		if (ret)
			return ret;
	}
	return 0;
}
ALLOW_ERROR_INJECTION(luo_files_freeze, ERRNO);

/**
 * luo_files_unfreeze - unfreeze the files that are frozen, last one first
 * @session: an outgoing session
 */
void luo_files_unfreeze(struct liveupdate_session *session)
{
	struct luo_file *lf;

	lockdep_assert_held_write(&luo_freeze_lock);
	guard(mutex)(&session->lock);

	list_for_each_entry_reverse(lf, &session->files, link)
		luo_file_unfreeze(lf);
}

/**
 * luo_files_serialize - write the records of the files of a session
 * @session: an outgoing session
 */
void luo_files_serialize(struct liveupdate_session *session)
{
	struct luo_chain_writer writer;
	struct luo_file *lf;

	lockdep_assert_held_write(&luo_freeze_lock);
	guard(mutex)(&session->lock);

	luo_chain_write(&session->chain, &writer);
	list_for_each_entry(lf, &session->files, link) {
		struct luo_file_ser *ser = luo_chain_write_next(&writer);

		strscpy_pad(ser->compatible, lf->compatible);
		ser->data = lf->data;
		ser->token = lf->token;
	}
}

/**
 * luo_files_discard - give up the files of a session, last one first
 * @session: an incoming session, loaded
 *
 * Files without a handler, or whose handler does not care, stay as they are.
 */
void luo_files_discard(struct liveupdate_session *session)
{
	struct luo_file *lf;

	lockdep_assert_held(&session->lock);

	list_for_each_entry_reverse(lf, &session->files, link) {
		struct liveupdate_file_op_args args;

		if (lf->damaged || lf->discarded || luo_file_resolve(lf) ||
		    !lf->handler->ops->discard)
			continue;
		args = luo_file_args(lf);
		luo_file_call(lf, LUO_OP_DISCARD, &args);
		lf->discarded = true;
	}
}

/* -ENOMEM is the only error: anything else is the file's own misfortune. */
static int luo_file_load(struct liveupdate_session *session, const struct luo_file_ser *ser)
{
	struct luo_file *lf = luo_file_add(session, ser->token);

	if (lf == ERR_PTR(-EEXIST)) {
		luo_session_log(KERN_ERR, session,
				"token %#llx: comes twice, the second file is lost",
				ser->token);
		session->lost = true;
		return 0;
	}
	if (IS_ERR(lf))
		return PTR_ERR(lf);

	lf->data = ser->data;
	if (!ser->compatible[0] ||
	    strnlen(ser->compatible, sizeof(ser->compatible)) == sizeof(ser->compatible)) {
		luo_session_log(KERN_ERR, session,
				"token %#llx: name of the handler is damaged", ser->token);
		lf->damaged = true;
		session->lost = true;
	} else {
		strscpy(lf->compatible, ser->compatible);
	}
	return 0;
}

/**
 * luo_files_load - read what the previous kernel left of the files of a session
 * @session: an incoming session
 *
 * Return: 0 when it is done, with damage or without, which is left in the fault of
 * the session; ``-ENOMEM`` if it has to be tried again.
 */
int luo_files_load(struct liveupdate_session *session)
{
	struct luo_incoming_chain chain;
	struct luo_chain_reader reader;
	const struct luo_file_ser *ser;
	struct luo_file *lf, *tmp;
	u64 nr_expected;
	int ret;

	lockdep_assert_held(&session->lock);

	if (session->loaded)
		return 0;

	/* It is announced, whatever it is. */
	nr_expected = min(session->incoming_count, LUO_COUNT_UNKNOWN - 1);

	session->fault = luo_incoming_chain_check(&chain, session->chain.ops,
						  session->incoming_pa,
						  sizeof(struct luo_file_ser), nr_expected);
	session->lost = session->fault;
	if (session->fault)
		luo_session_log(KERN_ERR, session,
				"list of files is damaged: %s (block at %#llx), %llu of %llu files are left",
				chain.fault, chain.fault_pa, chain.nr_entries,
				session->incoming_count);

	luo_chain_read(&chain, &reader);
	while ((ser = luo_chain_read_next(&reader))) {
		ret = luo_file_load(session, ser);
		if (ret)
			goto err_unload;
		cond_resched();
	}

	luo_incoming_chain_release(&chain);
	session->loaded = true;
	return 0;

err_unload:
	list_for_each_entry_safe(lf, tmp, &session->files, link)
		luo_file_del(lf);
	session->fault = 0;
	return ret;
}
ALLOW_ERROR_INJECTION(luo_files_load, ERRNO);
