/* SPDX-License-Identifier: GPL-2.0 */
/*
 * FLBs, see luo_flb.c. Not for anything but luo_flb*.c.
 */
#ifndef _KERNEL_LIVEUPDATE_LUO_FLB_H
#define _KERNEL_LIVEUPDATE_LUO_FLB_H

#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>

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

/* luo_flb.c, see "Locks" there. */
extern struct mutex luo_flbs_lock;
extern spinlock_t luo_flb_refs_lock;
extern struct list_head luo_flbs;

struct liveupdate_flb *luo_flb_get_by_name(const char *name);

/* luo_flb_out.c */
u64 luo_flb_capacity(u64 nr_pages);

/* luo_flb_in.c */
void luo_flbs_show_incoming(struct seq_file *s);

#endif /* _KERNEL_LIVEUPDATE_LUO_FLB_H */
