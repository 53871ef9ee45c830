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
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/kho/abi/image.h>

#include "luo_internal.h"

/**
 * struct luo_flb - an FLB of this kernel, outgoing
 * @link: in luo_flbs
 * @flb: the FLB
 * @nr_handlers: number of handlers that need it
 * @lock: held around preserve() and unpreserve()
 * @key: class of @lock
 * @active: it is preserved
 * @nr_files: number of preserved files that depend on it
 * @nr_users: number of others who have it
 * @data: see &struct liveupdate_flb_op_args
 * @obj: see &struct liveupdate_flb_op_args
 */
struct luo_flb {
	struct list_head link;
	struct liveupdate_flb *flb;
	unsigned int nr_handlers;
	struct mutex lock; /* held around callbacks, see above */
	struct lock_class_key key;
	bool active;
	unsigned long nr_files;
	unsigned long nr_users;
	u64 data;
	void *obj;
};

/**
 * struct luo_flb_use - a handler needs an FLB
 * @link: in liveupdate_file_handler.flbs
 * @state: the FLB
 */
struct luo_flb_use {
	struct list_head link;
	struct luo_flb *state;
};

/**
 * struct luo_flb_incoming - an FLB of the previous kernel
 * @lock: held around retrieve() and finish()
 * @key: class of @lock
 * @flb: who has retrieved it
 * @status: 0 not retrieved, positive retrieved, else the errno that is remembered
 * @finished: it is finished
 * @nr_files: number of files that depend on it and are not finished
 * @nr_users: number of others who have it
 * @data: see &struct liveupdate_flb_op_args
 * @obj: see &struct liveupdate_flb_op_args
 * @compatible: its name
 */
struct luo_flb_incoming {
	struct mutex lock; /* held around callbacks, see above */
	struct lock_class_key key;
	struct liveupdate_flb *flb;
	int status;
	bool finished;
	u64 nr_files;
	unsigned long nr_users;
	u64 data;
	void *obj;
	char compatible[LIVEUPDATE_FLB_COMPAT_LENGTH];
};

#define LUO_FLB_MAX_AREAS	(ilog2(LUO_FLB_MAX_PAGES) + 1)

static DEFINE_MUTEX(luo_flbs_lock);
static DEFINE_SPINLOCK(luo_flb_refs_lock);

static LIST_HEAD(luo_flbs);

/* Area n has 2^n pages. The last one has room for all that are active. */
static struct luo_flb_header_ser *luo_flb_areas[LUO_FLB_MAX_AREAS];
static unsigned int luo_nr_areas;
static unsigned long luo_nr_active;
static bool luo_areas_written;

/* Does not change once it is loaded. */
static struct luo_flb_incoming *luo_flbs_in;
static u64 luo_nr_in;
static bool luo_in_loaded;

static u64 luo_flb_capacity(u64 nr_pages)
{
	if (!nr_pages)
		return 0;
	return (nr_pages * PAGE_SIZE - sizeof(struct luo_flb_header_ser)) /
	       sizeof(struct luo_flb_ser);
}

/* Of the largest of so many areas. */
static u64 luo_areas_capacity(unsigned int nr_areas)
{
	return luo_flb_capacity(nr_areas ? BIT(nr_areas - 1) : 0);
}

static int luo_area_reserve(void)
{
	struct luo_flb_header_ser *area;

	guard(mutex)(&luo_flbs_lock);

	if (luo_nr_active == luo_areas_capacity(luo_nr_areas)) {
		if (luo_nr_areas == LUO_FLB_MAX_AREAS)
			return -ENOSPC;
		area = kho_alloc_preserve(PAGE_SIZE << luo_nr_areas);
		if (IS_ERR(area))
			return PTR_ERR(area);
		luo_flb_areas[luo_nr_areas++] = area;
	}
	luo_nr_active++;
	return 0;
}

static void luo_areas_trim(void)
{
	lockdep_assert_held(&luo_flbs_lock);

	while (luo_nr_areas && luo_nr_active <= luo_areas_capacity(luo_nr_areas - 1))
		kho_unpreserve_free(luo_flb_areas[--luo_nr_areas]);
}

static void luo_area_unreserve(void)
{
	guard(mutex)(&luo_flbs_lock);

	luo_nr_active--;
	if (!luo_areas_written)
		luo_areas_trim();
}

/* Make sure that it is preserved, and count one more file. */
static int luo_flb_preserve(struct luo_flb *state)
{
	struct liveupdate_flb_op_args args = { .flb = state->flb };
	const struct liveupdate_flb_ops *ops = state->flb->ops;
	int ret;

	guard(mutex)(&state->lock);

	if (!state->active) {
		ret = luo_area_reserve();
		if (ret)
			return ret;
		ret = luo_flb_call(LUO_OP_PRESERVE, &args);
		if (ret) {
			luo_area_unreserve();
			pr_warn_ratelimited("FLB %s: cannot be preserved: %pe\n",
					    state->flb->compatible, ERR_PTR(ret));
			return ret;
		}
		/* The file's handler has pinned it already. */
		__module_get(ops->owner);
	}

	spin_lock(&luo_flb_refs_lock);
	if (!state->active) {
		state->data = args.data;
		state->obj = args.obj;
		state->active = true;
	}
	state->nr_files++;
	spin_unlock(&luo_flb_refs_lock);
	return 0;
}

static void luo_flb_unpreserve_idle(struct luo_flb *state)
{
	struct liveupdate_flb_op_args args = { .flb = state->flb };
	const struct liveupdate_flb_ops *ops = state->flb->ops;

	scoped_guard(mutex, &state->lock) {
		scoped_guard(spinlock, &luo_flb_refs_lock) {
			if (!state->active || state->nr_files || state->nr_users)
				return;
			state->active = false;
			args.data = state->data;
			args.obj = state->obj;
		}
		luo_flb_call(LUO_OP_UNPRESERVE, &args);
		luo_area_unreserve();
	}
	module_put(ops->owner);
}

/* Count one down: a file, or another user. */
static void luo_flb_put_outgoing(struct luo_flb *state, unsigned long *count)
{
	bool idle;

	scoped_guard(spinlock, &luo_flb_refs_lock) {
		if (WARN_ON_ONCE(!*count))
			return;
		--*count;
		idle = !state->nr_files && !state->nr_users;
	}
	if (idle)
		luo_flb_unpreserve_idle(state);
}

/**
 * luo_flbs_preserve - a file is about to be preserved
 * @handler: its handler, pinned
 *
 * Return: 0, or why one of the FLBs that it needs cannot be preserved; then none of
 * them counts it.
 */
int luo_flbs_preserve(struct liveupdate_file_handler *handler)
{
	struct luo_flb_use *use;
	int ret;

	list_for_each_entry(use, &handler->flbs, link) {
		ret = luo_flb_preserve(use->state);
		if (ret)
			goto err_put;
	}
	return 0;

err_put:
	list_for_each_entry_continue_reverse(use, &handler->flbs, link)
		luo_flb_put_outgoing(use->state, &use->state->nr_files);
	return ret;
}

/**
 * luo_flbs_unpreserve - undo luo_flbs_preserve(): the file is unpreserved
 * @handler: its handler
 */
void luo_flbs_unpreserve(struct liveupdate_file_handler *handler)
{
	struct luo_flb_use *use;

	list_for_each_entry_reverse(use, &handler->flbs, link)
		luo_flb_put_outgoing(use->state, &use->state->nr_files);
}

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
 * luo_flbs_serialize - write the records of all FLBs that preserved files need
 *
 * Return: where the next kernel finds them.
 */
u64 luo_flbs_serialize(void)
{
	struct luo_flb_header_ser *area;
	struct luo_flb_ser *ser;
	struct luo_flb *state;

	lockdep_assert_held_write(&luo_freeze_lock);
	guard(mutex)(&luo_flbs_lock);

	if (!luo_nr_areas)
		return 0;

	luo_areas_written = true;
	area = luo_flb_areas[luo_nr_areas - 1];
	area->pgcnt = BIT(luo_nr_areas - 1);
	area->count = 0;
	ser = (struct luo_flb_ser *)(area + 1);
	list_for_each_entry(state, &luo_flbs, link) {
		if (!state->nr_files)
			continue;
		strscpy_pad(ser->name, state->flb->compatible);
		ser->data = state->data;
		ser->count = state->nr_files;
		ser++;
		area->count++;
	}
	return area->count ? virt_to_phys(area) : 0;
}

/**
 * luo_flbs_unserialize - the kexec did not take place
 */
void luo_flbs_unserialize(void)
{
	guard(mutex)(&luo_flbs_lock);

	luo_areas_written = false;
	luo_areas_trim();
}

/**
 * luo_flb_area_check - can an FLB area be read?
 * @pa: where the previous kernel says that it is
 * @valid: Can this memory of the previous kernel be read?
 * @areap: set to the area
 *
 * Return: NULL, or what is wrong with it.
 */
const char *luo_flb_area_check(u64 pa, bool (*valid)(phys_addr_t pa, size_t size),
			       const struct luo_flb_header_ser **areap)
{
	const struct luo_flb_header_ser *area;

	if (!PAGE_ALIGNED(pa) || !valid(pa, PAGE_SIZE))
		return "not in preserved memory";

	area = phys_to_virt(pa);
	if (!area->pgcnt || area->pgcnt > LUO_FLB_MAX_PAGES)
		return "of a size that cannot be";
	if (!valid(pa, area->pgcnt * PAGE_SIZE))
		return "not in preserved memory as a whole";
	if (area->count > luo_flb_capacity(area->pgcnt))
		return "too small for its records";

	*areap = area;
	return NULL;
}

/**
 * luo_flb_ser_check - does the record of an FLB make sense?
 * @ser: the record
 *
 * Return: NULL, or what is wrong with it.
 */
const char *luo_flb_ser_check(const struct luo_flb_ser *ser)
{
	if (!ser->name[0] || strnlen(ser->name, sizeof(ser->name)) == sizeof(ser->name))
		return "name is damaged";
	if (!ser->count)
		return "no file depends on it";
	return NULL;
}

static const struct luo_flb_ser *luo_flb_ser_at(const struct luo_flb_header_ser *area, u64 i)
{
	return (const struct luo_flb_ser *)(area + 1) + i;
}

/* Gives NULL if there is no area, or none that can be read. */
static const struct luo_flb_header_ser *luo_flb_area_find(const char **fault, u64 *pa)
{
	const struct luo_flb_header_ser *area = NULL;
	struct luo_ser ser;
	phys_addr_t phys;
	size_t size;

	*fault = NULL;
	/* What is wrong with that concerns all of LUO: luo_core.c will say it. */
	if (luo_find_ser(&ser, &phys, &size) || !ser.flbs_pa)
		return NULL;
	*pa = ser.flbs_pa;
	*fault = luo_flb_area_check(ser.flbs_pa, kho_incoming_range, &area);
	return area;
}

static struct luo_flb_incoming *luo_flb_search(const char *name)
{
	for (u64 i = 0; i < luo_nr_in; i++) {
		if (!strcmp(luo_flbs_in[i].compatible, name))
			return &luo_flbs_in[i];
	}
	return NULL;
}

static void luo_flb_load(const struct luo_flb_ser *ser)
{
	struct luo_flb_incoming *in = &luo_flbs_in[luo_nr_in];
	const char *fault = luo_flb_ser_check(ser);

	if (!fault && luo_flb_search(ser->name))
		fault = "comes twice, the second is lost";
	if (fault) {
		pr_err("FLB '%*pE' of the previous kernel: %s\n",
		       (int)strnlen(ser->name, sizeof(ser->name)), ser->name, fault);
		return;
	}

	strscpy(in->compatible, ser->name);
	in->data = ser->data;
	in->nr_files = ser->count;
	/* One FLB's callback may ask for another FLB. */
	mutex_init(&in->lock);
	lockdep_register_key(&in->key);
	lockdep_set_class(&in->lock, &in->key);
	luo_nr_in++;
}

static int luo_flbs_load_locked(void)
{
	const struct luo_flb_header_ser *area;
	const char *fault;
	u64 pa;

	lockdep_assert_held(&luo_flbs_lock);

	if (luo_in_loaded)
		return 0;

	area = luo_flb_area_find(&fault, &pa);
	if (fault)
		pr_err("the FLB area of the previous kernel at %#llx is %s: all FLBs are lost\n",
		       pa, fault);
	if (area && area->count) {
		luo_flbs_in = kvcalloc(area->count, sizeof(*luo_flbs_in), GFP_KERNEL);
		if (!luo_flbs_in)
			return -ENOMEM;
		for (u64 i = 0; i < area->count; i++)
			luo_flb_load(luo_flb_ser_at(area, i));
	}
	luo_in_loaded = true;
	return 0;
}

/**
 * luo_flbs_load - read what the previous kernel left of its FLBs
 * @flbs_pa: where that is. Its memory is freed, if it is sound.
 *
 * Does only the latter if somebody has asked for an FLB earlier.
 *
 * Return: 0, or ``-ENOMEM``; then it must stay where it is, for another try.
 */
int __init luo_flbs_load(u64 flbs_pa)
{
	const struct luo_flb_header_ser *area;
	int ret;

	guard(mutex)(&luo_flbs_lock);

	ret = luo_flbs_load_locked();
	if (ret)
		return ret;
	if (flbs_pa && !luo_flb_area_check(flbs_pa, kho_incoming_range, &area) &&
	    kho_incoming_order(flbs_pa) == order_base_2(area->pgcnt))
		kho_restore_free(phys_to_virt(flbs_pa));
	return 0;
}

static struct luo_flb_incoming *luo_flb_find_incoming(const struct liveupdate_flb *flb)
{
	struct luo_flb_incoming *in;
	int ret;

	guard(mutex)(&luo_flbs_lock);

	ret = luo_flbs_load_locked();
	if (ret)
		return ERR_PTR(ret);
	in = luo_flb_search(flb->compatible);
	return in ?: ERR_PTR(-ENOENT);
}

static int luo_flb_retrieve(struct luo_flb_incoming *in, struct liveupdate_flb *flb)
{
	struct liveupdate_flb_op_args args = { .flb = flb, .data = in->data };
	int ret;

	lockdep_assert_held(&in->lock);

	if (in->finished)
		return -ENODATA;
	if (in->status)
		return in->status < 0 ? in->status : 0;

	if (!try_module_get(flb->ops->owner))
		return -ENODEV;
	ret = luo_flb_call(LUO_OP_RETRIEVE, &args);
	if (ret) {
		pr_warn_ratelimited("FLB %s: cannot be retrieved: %pe%s\n", flb->compatible,
				    ERR_PTR(ret),
				    luo_may_retry(ret) ? "" : ", its data stays reserved");
		if (!luo_may_retry(ret))
			in->status = ret;
		module_put(flb->ops->owner);
		return ret;
	}

	spin_lock(&luo_flb_refs_lock);
	in->obj = args.obj;
	in->flb = flb;
	in->status = 1;
	spin_unlock(&luo_flb_refs_lock);
	return 0;
}

/* Finish it if no one needs it any more. */
static void luo_flb_finish_idle(struct luo_flb_incoming *in, struct liveupdate_flb *flb)
{
	struct liveupdate_flb_op_args args = { .data = in->data };
	struct module *owner;

	scoped_guard(mutex, &in->lock) {
		if (luo_flb_retrieve(in, flb))
			return;
		scoped_guard(spinlock, &luo_flb_refs_lock) {
			if (in->nr_files || in->nr_users)
				return;
			in->finished = true;
			args.flb = in->flb;
			args.obj = in->obj;
			in->flb = NULL;
			in->obj = NULL;
		}
		owner = args.flb->ops->owner;
		luo_flb_call(LUO_OP_FINISH, &args);
	}
	module_put(owner);
}

/* If it is there, it can be had without waiting for a callback. */
static bool luo_flb_get_retrieved(struct luo_flb_incoming *in, void **objp)
{
	bool there;

	spin_lock(&luo_flb_refs_lock);
	there = in->status > 0 && !in->finished;
	if (there) {
		in->nr_users++;
		*objp = in->obj;
	}
	spin_unlock(&luo_flb_refs_lock);
	return there;
}

/**
 * luo_flbs_retrieve - make sure that FLBs can be finished
 * @handler: a handler, pinned, that needs them
 *
 * Return: 0, or an errno if trying again may help. An FLB that cannot be retrieved at
 * all does not keep files from being finished.
 */
int luo_flbs_retrieve(struct liveupdate_file_handler *handler)
{
	struct luo_flb_incoming *in;
	struct luo_flb_use *use;
	int ret;

	list_for_each_entry(use, &handler->flbs, link) {
		in = luo_flb_find_incoming(use->state->flb);
		if (in == ERR_PTR(-ENOENT))
			continue;
		if (IS_ERR(in))
			return PTR_ERR(in);

		scoped_guard(mutex, &in->lock)
			ret = luo_flb_retrieve(in, use->state->flb);
		if (luo_may_retry(ret))
			return ret;
	}
	return 0;
}

/**
 * luo_flbs_finish - an incoming file is finished
 * @handler: its handler, pinned
 */
void luo_flbs_finish(struct liveupdate_file_handler *handler)
{
	struct luo_flb_incoming *in;
	struct luo_flb_use *use;
	bool idle;

	list_for_each_entry_reverse(use, &handler->flbs, link) {
		in = luo_flb_find_incoming(use->state->flb);
		if (IS_ERR(in))
			continue;
		scoped_guard(spinlock, &luo_flb_refs_lock)
			idle = in->nr_files && !--in->nr_files && !in->nr_users;
		if (idle)
			luo_flb_finish_idle(in, use->state->flb);
	}
}

/* An FLB of this kernel, its module pinned, or NULL. */
static struct liveupdate_flb *luo_flb_get_by_name(const char *name)
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
 * luo_flbs_finish_rest - all incoming files are finished
 *
 * For FLBs of which the previous kernel counted more than files.
 */
void luo_flbs_finish_rest(void)
{
	for (u64 i = 0; i < luo_nr_in; i++) {
		struct luo_flb_incoming *in = &luo_flbs_in[i];
		struct liveupdate_flb *flb;
		bool idle;

		scoped_guard(spinlock, &luo_flb_refs_lock) {
			in->nr_files = 0;
			idle = !in->nr_users && !in->finished;
		}
		flb = idle ? luo_flb_get_by_name(in->compatible) : NULL;
		if (flb) {
			struct module *owner = flb->ops->owner;

			luo_flb_finish_idle(in, flb);
			module_put(owner);
		}
	}
}

/**
 * luo_flbs_log_unfinished - what is lost with this kernel
 *
 * Context: at reboot.
 */
void luo_flbs_log_unfinished(void)
{
	for (u64 i = 0; i < luo_nr_in; i++) {
		if (!luo_flbs_in[i].finished)
			pr_notice("FLB '%*pE' was not finished and ends here\n",
				  (int)strlen(luo_flbs_in[i].compatible),
				  luo_flbs_in[i].compatible);
	}
}

/* Those who are built in have registered what they know. */
static int __init luo_flbs_log_unknown(void)
{
	for (u64 i = 0; i < luo_nr_in; i++) {
		struct luo_flb_incoming *in = &luo_flbs_in[i];
		struct liveupdate_flb *flb;

		if (in->status)
			continue;
		flb = luo_flb_get_by_name(in->compatible);
		if (flb)
			module_put(flb->ops->owner);
		else
			pr_notice("FLB '%*pE' is not known so far: data %#llx, for %llu files, stays reserved\n",
				  (int)strlen(in->compatible), in->compatible, in->data,
				  in->nr_files);
	}
	return 0;
}
late_initcall_sync(luo_flbs_log_unknown);

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
 * liveupdate_flb_get_outgoing - get the state that is preserved for the next kernel
 * @flb: the FLB, registered
 * @objp: set to what preserve() gave as @obj
 *
 * The state is not unpreserved before liveupdate_flb_put_outgoing().
 *
 * Context: any but hard interrupts; never waits for a callback.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update, ``-ENOENT`` if no file that
 * depends on it is preserved. In a file's preserve() it is there.
 */
int liveupdate_flb_get_outgoing(struct liveupdate_flb *flb, void **objp)
{
	struct luo_flb *state = flb->state;
	int ret = -ENOENT;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	spin_lock(&luo_flb_refs_lock);
	if (state && state->active) {
		state->nr_users++;
		*objp = state->obj;
		ret = 0;
	}
	spin_unlock(&luo_flb_refs_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(liveupdate_flb_get_outgoing);

/**
 * liveupdate_flb_put_outgoing - undo liveupdate_flb_get_outgoing()
 * @flb: the FLB. If no file depends on it any more, it is unpreserved.
 *
 * Context: may sleep; with no lock held that unpreserve() takes.
 */
void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb)
{
	luo_flb_put_outgoing(flb->state, &flb->state->nr_users);
}
EXPORT_SYMBOL_GPL(liveupdate_flb_put_outgoing);

/**
 * liveupdate_flb_get_incoming - get the state that the previous kernel preserved
 * @flb: the FLB; need not be registered
 * @objp: set to what retrieve() gave as @obj
 *
 * retrieve() is called if nobody has asked for the state before. What it returned is
 * remembered, unless trying again may help.
 *
 * The state is not finished before liveupdate_flb_put_incoming(). Who needs it longer
 * than all files that depend on it keeps it.
 *
 * Context: may sleep, with no lock held that retrieve() takes; from the time when
 * kmalloc() works, at the very beginning of the boot, and from the core initcalls on
 * if retrieve() calls kho_restore_folio() and its like.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update, ``-ENOENT`` if the previous
 * kernel left no such state, ``-ENODATA`` if it is finished already, ``-ENODEV`` if the
 * module goes, ``-ENOMEM``, or what retrieve() returned, now or earlier.
 */
int liveupdate_flb_get_incoming(struct liveupdate_flb *flb, void **objp)
{
	struct luo_flb_incoming *in;
	int ret;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	in = luo_flb_find_incoming(flb);
	if (IS_ERR(in))
		return PTR_ERR(in);

	if (luo_flb_get_retrieved(in, objp))
		return 0;

	guard(mutex)(&in->lock);
	ret = luo_flb_retrieve(in, flb);
	if (ret)
		return ret;
	/* It stays retrieved as long as the lock is held. */
	luo_flb_get_retrieved(in, objp);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_flb_get_incoming);

/**
 * liveupdate_flb_put_incoming - undo liveupdate_flb_get_incoming()
 * @flb: the FLB. If no file depends on it any more, it is finished.
 *
 * Context: may sleep; with no lock held that finish() takes.
 */
void liveupdate_flb_put_incoming(struct liveupdate_flb *flb)
{
	struct luo_flb_incoming *in = luo_flb_find_incoming(flb);
	bool idle;

	if (WARN_ON_ONCE(IS_ERR(in)))
		return;

	scoped_guard(spinlock, &luo_flb_refs_lock) {
		if (WARN_ON_ONCE(!in->nr_users))
			return;
		idle = !--in->nr_users && !in->nr_files;
	}
	if (idle)
		luo_flb_finish_idle(in, flb);
}
EXPORT_SYMBOL_GPL(liveupdate_flb_put_incoming);

/**
 * liveupdate_flb_peek_incoming - see what the previous kernel left, and leave it there
 * @flb: the FLB; need not be registered
 * @datap: set to the @data that preserve() gave in the previous kernel. It was not
 *	checked: ask kho_incoming_range() before following it.
 *
 * For who must know before anything can be retrieved. Memory that is preserved can be
 * read in the direct map.
 *
 * Context: from the end of setup_arch() on, also before there is an allocator.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update, ``-ENOENT`` if the previous
 * kernel left no such state, ``-ENODATA`` if it is finished already, ``-ENOMEM``.
 */
int liveupdate_flb_peek_incoming(struct liveupdate_flb *flb, u64 *datap)
{
	const struct luo_flb_header_ser *area;
	struct luo_flb_incoming *in;
	const char *fault;
	u64 pa;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	if (slab_is_available()) {
		in = luo_flb_find_incoming(flb);
		if (IS_ERR(in))
			return PTR_ERR(in);
		if (READ_ONCE(in->finished))
			return -ENODATA;
		*datap = in->data;
		return 0;
	}

	area = luo_flb_area_find(&fault, &pa);
	for (u64 i = 0; area && i < area->count; i++) {
		const struct luo_flb_ser *ser = luo_flb_ser_at(area, i);

		if (!luo_flb_ser_check(ser) && !strcmp(ser->name, flb->compatible)) {
			*datap = ser->data;
			return 0;
		}
	}
	return -ENOENT;
}
EXPORT_SYMBOL_GPL(liveupdate_flb_peek_incoming);

static void luo_flb_show_incoming(struct seq_file *s, struct luo_flb_incoming *in)
{
	const char *state = "waiting";
	int error = 0;

	spin_lock(&luo_flb_refs_lock);
	if (in->finished) {
		state = "finished";
	} else if (in->status > 0) {
		state = "retrieved";
	} else if (in->status < 0) {
		state = "failed";
		error = -in->status;
	}
	seq_printf(s, "direction=incoming name=%s state=%s error=%d files=%llu users=%lu data=%#llx\n",
		   in->compatible, state, error, in->nr_files, in->nr_users, in->data);
	spin_unlock(&luo_flb_refs_lock);
}

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
	if (luo_flbs_load_locked())
		return;
	for (u64 i = 0; i < luo_nr_in; i++)
		luo_flb_show_incoming(s, &luo_flbs_in[i]);
}
