// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: state that several files share, for the next kernel.
 */

/**
 * DOC: LUO FLBs, outgoing
 *
 * An FLB is preserved with the first file that needs it, and unpreserved when neither a
 * file nor anybody else needs it any more. The records of all that are preserved are in
 * one area, which is made large enough before preserve() is called; they are written in
 * reboot(), from the list of FLBs.
 *
 * Locks: see section LUO FLBs.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/string.h>

#include "luo_flb.h"

#define LUO_FLB_MAX_AREAS	(ilog2(LUO_FLB_MAX_PAGES) + 1)

/* Area n has 2^n pages. The last one has room for all that are active. */
static struct luo_flb_header_ser *luo_flb_areas[LUO_FLB_MAX_AREAS];
static unsigned int luo_nr_areas;
static unsigned long luo_nr_active;
static bool luo_areas_written;

/**
 * luo_flb_capacity - how many records has an area room for?
 * @nr_pages: its size
 *
 * Return: number of records.
 */
u64 luo_flb_capacity(u64 nr_pages)
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
ALLOW_ERROR_INJECTION(luo_flbs_preserve, ERRNO);

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
