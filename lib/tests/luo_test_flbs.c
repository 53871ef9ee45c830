// SPDX-License-Identifier: GPL-2.0
/*
 * The test handler: its FLBs.
 */

#define pr_fmt(fmt) "luo_test: " fmt

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "luo_test_internal.h"

/* Not in the list of formats: images are refused as long as these are preserved. */
#define LUO_TEST_EXTRA_FORMAT	"luo-test-extra%u-v1"

struct luo_test_flb_ser {
	u64 magic;
	u64 nr;
	u64 value;
};

struct luo_test_shared {
	struct liveupdate_flb flb;
	unsigned int nr;
	char who;
	u64 value;
	atomic_t nr_in, nr_out;
};

/* What others get: a copy, so that one that is freed too early is noticed. */
struct luo_test_obj {
	u64 value;
};

static struct luo_test_shared *luo_test_flb_of(struct liveupdate_flb *flb)
{
	return container_of(flb, struct luo_test_shared, flb);
}

static int luo_test_flb_note(struct luo_test_shared *sh, enum luo_test_op op, int result)
{
	return luo_test_note(sh->who, sh->nr, op, result);
}

static int luo_test_flb_do_preserve(struct luo_test_shared *sh,
				    struct liveupdate_flb_op_args *args)
{
	struct luo_test_flb_ser *ser;
	struct luo_test_obj *obj;
	int ret = luo_test_obey(LUO_TEST_FLB(sh->nr), LUO_TEST_FLB_PRESERVE);

	if (ret)
		return ret;
	obj = kzalloc(sizeof(*obj), GFP_KERNEL);
	if (!obj)
		return -ENOMEM;
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser)) {
		kfree(obj);
		return PTR_ERR(ser);
	}
	ser->magic = LUO_TEST_MAGIC;
	ser->nr = sh->nr;
	ser->value = sh->value;
	obj->value = sh->value;
	args->data = virt_to_phys(ser);
	args->obj = obj;
	return 0;
}

static int luo_test_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct luo_test_shared *sh = luo_test_flb_of(args->flb);

	return luo_test_flb_note(sh, LUO_TEST_FLB_PRESERVE, luo_test_flb_do_preserve(sh, args));
}

static void luo_test_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	struct luo_test_shared *sh = luo_test_flb_of(args->flb);

	luo_test_obey(LUO_TEST_FLB(sh->nr), LUO_TEST_FLB_UNPRESERVE);
	kho_unpreserve_free(phys_to_virt(args->data));
	kfree(args->obj);
	luo_test_flb_note(sh, LUO_TEST_FLB_UNPRESERVE, 0);
}

static int luo_test_flb_do_retrieve(struct luo_test_shared *sh,
				    struct liveupdate_flb_op_args *args)
{
	struct luo_test_flb_ser *ser;
	struct luo_test_obj *obj;
	int ret = luo_test_obey(LUO_TEST_FLB(sh->nr), LUO_TEST_FLB_RETRIEVE);

	if (ret)
		return ret;
	if (!kho_incoming_range(args->data, sizeof(*ser)))
		return -EBADMSG;
	ser = phys_to_virt(args->data);
	if (ser->magic != LUO_TEST_MAGIC || ser->nr != sh->nr)
		return -EBADMSG;
	obj = kzalloc(sizeof(*obj), GFP_KERNEL);
	if (!obj)
		return -ENOMEM;
	obj->value = ser->value;
	args->obj = obj;
	return 0;
}

static int luo_test_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	struct luo_test_shared *sh = luo_test_flb_of(args->flb);

	return luo_test_flb_note(sh, LUO_TEST_FLB_RETRIEVE, luo_test_flb_do_retrieve(sh, args));
}

static void luo_test_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct luo_test_shared *sh = luo_test_flb_of(args->flb);

	luo_test_obey(LUO_TEST_FLB(sh->nr), LUO_TEST_FLB_FINISH);
	kho_restore_free(phys_to_virt(args->data));
	kfree(args->obj);
	luo_test_flb_note(sh, LUO_TEST_FLB_FINISH, 0);
}

static const struct liveupdate_flb_ops luo_test_flb_ops = {
	.preserve = luo_test_flb_preserve,
	.unpreserve = luo_test_flb_unpreserve,
	.retrieve = luo_test_flb_retrieve,
	.finish = luo_test_flb_finish,
	.owner = THIS_MODULE,
};

static struct luo_test_shared luo_test_flbs[LUO_TEST_NR_FLBS] = {
	[LUO_TEST_X] = {
		.flb = { .ops = &luo_test_flb_ops, .compatible = LUO_TEST_X_FORMAT },
		.nr = LUO_TEST_X,
		.who = 'X',
	},
	[LUO_TEST_Y] = {
		.flb = { .ops = &luo_test_flb_ops, .compatible = LUO_TEST_Y_FORMAT },
		.nr = LUO_TEST_Y,
		.who = 'Y',
	},
};

/**
 * luo_test_name_extra - get FLBs ready that are not registered before that is asked for
 */
void luo_test_name_extra(void)
{
	for (unsigned int nr = LUO_TEST_EXTRA; nr < LUO_TEST_NR_FLBS; nr++) {
		struct luo_test_shared *sh = &luo_test_flbs[nr];

		sh->flb.ops = &luo_test_flb_ops;
		snprintf((char *)sh->flb.compatible, sizeof(sh->flb.compatible),
			 LUO_TEST_EXTRA_FORMAT, nr);
		sh->nr = nr;
		sh->who = 'E';
	}
}

/**
 * luo_test_flb - an FLB of the test handler
 * @nr: which one
 *
 * Return: the FLB.
 */
struct liveupdate_flb *luo_test_flb(unsigned int nr)
{
	return &luo_test_flbs[nr].flb;
}

/**
 * luo_test_ioctl_flb - LUO_TEST_FLB_DO
 * @cmd: what to do, and what came of it
 *
 * Return: 0 or the errno for user space.
 */
int luo_test_ioctl_flb(struct luo_test_flb *cmd)
{
	struct luo_test_shared *sh;
	struct luo_test_obj *obj;
	int ret;

	if (cmd->flb >= LUO_TEST_NR_FLBS || cmd->handler > LUO_TEST_B)
		return -EINVAL;
	sh = &luo_test_flbs[cmd->flb];

	switch (cmd->cmd) {
	case LUO_TEST_FLB_GET_IN:
		ret = liveupdate_flb_get_incoming(&sh->flb, (void **)&obj);
		if (ret)
			return ret;
		cmd->value = obj->value;
		atomic_inc(&sh->nr_in);
		return 0;
	case LUO_TEST_FLB_PUT_IN:
		if (atomic_dec_if_positive(&sh->nr_in) < 0)
			return -EINVAL;
		liveupdate_flb_put_incoming(&sh->flb);
		return 0;
	case LUO_TEST_FLB_GET_OUT:
		ret = liveupdate_flb_get_outgoing(&sh->flb, (void **)&obj);
		if (ret)
			return ret;
		cmd->value = obj->value;
		atomic_inc(&sh->nr_out);
		return 0;
	case LUO_TEST_FLB_PUT_OUT:
		if (atomic_dec_if_positive(&sh->nr_out) < 0)
			return -EINVAL;
		liveupdate_flb_put_outgoing(&sh->flb);
		return 0;
	case LUO_TEST_FLB_PEEK_IN:
		return liveupdate_flb_peek_incoming(&sh->flb, &cmd->value);
	case LUO_TEST_FLB_SET:
		sh->value = cmd->value;
		return 0;
	case LUO_TEST_FLB_REGISTER:
		return liveupdate_register_flb(luo_test_handler(cmd->handler), &sh->flb);
	case LUO_TEST_FLB_UNREGISTER:
		return liveupdate_unregister_flb(luo_test_handler(cmd->handler), &sh->flb);
	}
	return -EINVAL;
}

#ifndef MODULE
static bool early __initdata;
module_param(early, bool, 0);
MODULE_PARM_DESC(early, "ask for the FLB X before there is user space");

static int __init luo_test_early(void)
{
	struct liveupdate_flb *flb = &luo_test_flbs[LUO_TEST_X].flb;
	struct luo_test_obj *obj;
	int ret;

	if (!early)
		return 0;
	ret = liveupdate_flb_get_incoming(flb, (void **)&obj);
	if (ret) {
		pr_info("no X at this early time: %pe\n", ERR_PTR(ret));
		return 0;
	}
	pr_info("X has %llu at this early time\n", obj->value);
	liveupdate_flb_put_incoming(flb);
	return 0;
}
subsys_initcall(luo_test_early);
#endif
