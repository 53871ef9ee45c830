// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: state that several files share.
 */

/**
 * DOC: LUO FLBs
 *
 * File-lifecycle-bound state (FLB, &struct liveupdate_flb) is what several files
 * depend on and what must travel just once: the pool their pages come from, the
 * unit that translates their addresses. A file handler says which FLBs its files
 * need; one FLB can serve many handlers, a handler can need many. Files are
 * counted, in all sessions together::
 *
 *	first file: preserve() --> frozen, written --> retrieve() --> finish(): last file
 *	last file:  unpreserve()       |                  |
 *	                               |                  +-- by whoever asks first
 *	                               +-- name, data, number of files
 *
 * What this kernel leaves to the next and what it got from the previous one have
 * nothing to do with each other, so that the next update can be prepared while
 * the last one is not finished. The outgoing side is a &struct luo_flb, for each
 * FLB that is registered, the incoming side a &struct luo_flb_incoming, for each
 * record that came in. The latter is found by name, when somebody asks; nobody
 * needs to have registered anything, and a module may come, go, and come again.
 * A record that nobody asks for is in nobody's way: its data stays
 * reserved, and the log says so.
 *
 * Incoming files are counted as the record says. A mainline kernel counts other
 * users, too. So when the last incoming session is finished and nothing was lost on
 * the way, there are no more files, whatever the count is.
 *
 * Who has got the state from liveupdate_flb_get_outgoing() or
 * liveupdate_flb_get_incoming() keeps it alive until he puts it.
 *
 * Room for the records is reserved before preserve(), so that writing cannot fail.
 * As the area has to be in one piece, a larger one is added when the present one is
 * full, and goes away when that suffices again.
 *
 * luo_flb.c has who needs what, luo_flb_out.c the outgoing side, and luo_flb_in.c the
 * incoming one.
 *
 * Locks, inside the lock of a session, in this order:
 *
 * 1. luo_handlers_lock protects which handler needs which FLBs. That does not
 *    change while there are files in the care of the handler, so these need no
 *    lock to read it.
 * 2. luo_flb.lock and luo_flb_incoming.lock, one for each, are held around its
 *    callbacks. In these the state of other FLBs can be asked for.
 * 3. luo_flbs_lock protects the list of FLBs, the areas, and the reading of records.
 * 4. luo_flb_refs_lock, a spinlock, protects counts and what they stand for, so that
 *    nobody who asks for state that is there waits for a callback.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/kho/abi/image.h>

#include "luo_flb.h"

DEFINE_MUTEX(luo_flbs_lock); /* protects the list, see above */
DEFINE_SPINLOCK(luo_flb_refs_lock);
LIST_HEAD(luo_flbs);

/**
 * luo_flb_name - which FLBs do the files of a handler need?
 * @handler: the handler, pinned
 * @nr: 0, 1, ...
 *
 * Return: the name of one of them, or NULL if there are not so many.
 */
const char *luo_flb_name(struct liveupdate_file_handler *handler, unsigned int nr)
{
	struct luo_flb_use *use;

	list_for_each_entry(use, &handler->flbs, link) {
		if (!nr--)
			return use->state->flb->compatible;
	}
	return NULL;
}

/**
 * luo_flb_get_by_name - find an FLB of this kernel
 * @name: its name
 *
 * Return: the FLB, its module pinned, or NULL.
 */
struct liveupdate_flb *luo_flb_get_by_name(const char *name)
{
	struct luo_flb *state;

	guard(mutex)(&luo_flbs_lock);
	list_for_each_entry(state, &luo_flbs, link) {
		if (!strcmp(state->flb->compatible, name))
			return try_module_get(state->flb->ops->owner) ? state->flb : NULL;
	}
	return NULL;
}

/**
 * luo_flbs_pin - keep the modules of the FLBs of a handler
 * @handler: the handler
 *
 * Return: true, or false if one is about to go; then none is kept.
 */
bool luo_flbs_pin(struct liveupdate_file_handler *handler)
{
	struct luo_flb_use *use;

	lockdep_assert_held(&luo_handlers_lock);

	list_for_each_entry(use, &handler->flbs, link) {
		if (!try_module_get(use->state->flb->ops->owner))
			goto err_put;
	}
	return true;

err_put:
	list_for_each_entry_continue_reverse(use, &handler->flbs, link)
		module_put(use->state->flb->ops->owner);
	return false;
}

/**
 * luo_flbs_unpin - undo luo_flbs_pin()
 * @handler: the handler
 */
void luo_flbs_unpin(struct liveupdate_file_handler *handler)
{
	struct luo_flb_use *use;

	lockdep_assert_held(&luo_handlers_lock);

	list_for_each_entry(use, &handler->flbs, link)
		module_put(use->state->flb->ops->owner);
}

static struct luo_flb *luo_flb_register(struct liveupdate_flb *flb)
{
	struct luo_flb *state, *other;

	lockdep_assert_held_write(&luo_handlers_lock);

	if (flb->state) {
		flb->state->nr_handlers++;
		return flb->state;
	}

	state = kzalloc(sizeof(*state), GFP_KERNEL);
	if (!state)
		return ERR_PTR(-ENOMEM);
	state->flb = flb;
	state->nr_handlers = 1;

	guard(mutex)(&luo_flbs_lock);
	list_for_each_entry(other, &luo_flbs, link) {
		if (!strcmp(other->flb->compatible, flb->compatible)) {
			kfree(state);
			return ERR_PTR(-EEXIST);
		}
	}
	mutex_init(&state->lock);
	lockdep_register_key(&state->key);
	lockdep_set_class(&state->lock, &state->key);
	list_add_tail(&state->link, &luo_flbs);
	flb->state = state;
	return state;
}

static void luo_flb_unregister(struct luo_flb *state)
{
	lockdep_assert_held_write(&luo_handlers_lock);

	if (--state->nr_handlers)
		return;

	WARN_ON_ONCE(state->active);
	scoped_guard(mutex, &luo_flbs_lock)
		list_del(&state->link);
	state->flb->state = NULL;
	mutex_destroy(&state->lock);
	lockdep_unregister_key(&state->key);
	kfree(state);
}

static void luo_flb_use_del(struct luo_flb_use *use)
{
	list_del(&use->link);
	luo_flb_unregister(use->state);
	kfree(use);
}

/**
 * luo_flbs_unregister_all - a handler goes
 * @handler: the handler, without files in its care
 */
void luo_flbs_unregister_all(struct liveupdate_file_handler *handler)
{
	struct luo_flb_use *use, *tmp;

	lockdep_assert_held_write(&luo_handlers_lock);

	list_for_each_entry_safe_reverse(use, tmp, &handler->flbs, link)
		luo_flb_use_del(use);
}

static struct luo_flb_use *luo_flb_use_find(struct liveupdate_file_handler *handler,
					    struct liveupdate_flb *flb)
{
	struct luo_flb_use *use;

	lockdep_assert_held_write(&luo_handlers_lock);

	list_for_each_entry(use, &handler->flbs, link) {
		if (use->state->flb == flb)
			return use;
	}
	return NULL;
}

static bool luo_flb_ok(const struct liveupdate_flb *flb)
{
	const struct liveupdate_flb_ops *ops = flb->ops;

	return ops && ops->preserve && ops->unpreserve && ops->retrieve && ops->finish &&
	       flb->compatible[0] &&
	       strnlen(flb->compatible, sizeof(flb->compatible)) < sizeof(flb->compatible);
}

/**
 * liveupdate_register_flb - files of a handler depend on shared state
 * @handler: the handler, registered
 * @flb: the FLB, zeroed but for @ops and @compatible. It must stay until it is
 *	unregistered from all handlers.
 *
 * An FLB can be registered for several handlers, and several for one handler. The
 * state of those registered first is preserved first and finished last.
 *
 * A module registers its handler before its FLBs, and files can be preserved right
 * away; so ``-EBUSY`` is possible, and the module should not load then.
 *
 * Context: may sleep; not from a callback of a handler or an FLB.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update (not an error for a
 * driver, which just goes on without), ``-EINVAL`` if an operation or the name is
 * missing, ``-ENOENT`` if the handler is not registered, ``-EEXIST`` if it was done
 * before or if there is another FLB of this name, ``-EBUSY`` if there are files in the
 * care of the handler, ``-ENOMEM``.
 */
int liveupdate_register_flb(struct liveupdate_file_handler *handler, struct liveupdate_flb *flb)
{
	struct luo_flb_use *use __free(kfree) = NULL;
	struct luo_flb *state;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!luo_flb_ok(flb))
		return -EINVAL;

	use = kzalloc(sizeof(*use), GFP_KERNEL);
	if (!use)
		return -ENOMEM;

	guard(rwsem_write)(&luo_handlers_lock);
	if (!luo_handler_is_registered(handler))
		return -ENOENT;
	if (luo_flb_use_find(handler, flb))
		return -EEXIST;
	if (atomic_long_read(&handler->users))
		return -EBUSY;

	state = luo_flb_register(flb);
	if (IS_ERR(state))
		return PTR_ERR(state);
	use->state = state;
	list_add_tail(&no_free_ptr(use)->link, &handler->flbs);
	luo_image_check_listed(KHO_FORMAT_FLB, flb->compatible);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_register_flb);

/**
 * liveupdate_unregister_flb - undo liveupdate_register_flb()
 * @handler: the handler
 * @flb: the FLB
 *
 * To unregister the handler does this for all its FLBs, too. What came in of the FLB
 * stays with LUO, and is there for who registers it next.
 *
 * Context: may sleep; not from a callback of a handler or an FLB.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update, ``-ENOENT`` if it is not
 * registered, ``-EBUSY`` if there are files in the care of the handler.
 */
int liveupdate_unregister_flb(struct liveupdate_file_handler *handler,
			      struct liveupdate_flb *flb)
{
	struct luo_flb_use *use;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	guard(rwsem_write)(&luo_handlers_lock);
	if (!luo_handler_is_registered(handler))
		return -ENOENT;
	use = luo_flb_use_find(handler, flb);
	if (!use)
		return -ENOENT;
	if (atomic_long_read(&handler->users))
		return -EBUSY;
	luo_flb_use_del(use);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_unregister_flb);

/**
 * luo_flbs_show - write a line about each FLB, outgoing and incoming
 * @s: where to
 *
 * Context: process context, sleeps.
 */
void luo_flbs_show(struct seq_file *s)
{
	struct luo_flb *state;

	guard(mutex)(&luo_flbs_lock);

	list_for_each_entry(state, &luo_flbs, link) {
		spin_lock(&luo_flb_refs_lock);
		seq_printf(s, "direction=outgoing name=%s state=%s error=0 files=%lu users=%lu data=%#llx\n",
			   state->flb->compatible, state->active ? "preserved" : "idle",
			   state->nr_files, state->nr_users, state->data);
		spin_unlock(&luo_flb_refs_lock);
	}
	luo_flbs_show_incoming(s);
}
