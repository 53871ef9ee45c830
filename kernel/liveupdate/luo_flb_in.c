// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: state that several files share, from the previous kernel.
 */

/**
 * DOC: LUO FLBs, incoming
 *
 * The area with the records is read when somebody asks for the first time, which can be
 * long before LUO itself starts. What is in it is checked; records that make no sense
 * are named in the log, and are nobody's. From then on the list stays as it is: who asks
 * again is told the same, be it that the state is there, that it could not be
 * retrieved, or that it is finished.
 *
 * Locks: see section LUO FLBs.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/error-injection.h>
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
#include <linux/string.h>

#include "luo_flb.h"

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

/* Does not change once it is loaded. */
static struct luo_flb_incoming *luo_flbs_in;
static u64 luo_nr_in;
static bool luo_in_loaded;

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
ALLOW_ERROR_INJECTION(luo_flbs_retrieve, ERRNO);

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
 * luo_flbs_show_incoming - write a line about each incoming FLB
 * @s: where to
 *
 * Context: process context, sleeps, with luo_flbs_lock held.
 */
void luo_flbs_show_incoming(struct seq_file *s)
{
	lockdep_assert_held(&luo_flbs_lock);

	if (luo_flbs_load_locked())
		return;
	for (u64 i = 0; i < luo_nr_in; i++)
		luo_flb_show_incoming(s, &luo_flbs_in[i]);
}
