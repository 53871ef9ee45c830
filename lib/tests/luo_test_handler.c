// SPDX-License-Identifier: GPL-2.0
/*
 * File handlers and FLBs that fail, sleep and misbehave when a test wants it.
 */

/**
 * DOC: LUO test handler
 *
 * /dev/luo_test makes files that carry a number across a live update, and that is
 * all they are good for. They are in the care of two handlers, A and B, which share
 * state: files of A need the FLBs X and Y, files of B need Y; more can be
 * registered. A file that keeps its number in a page stands for handlers with a
 * record of their own; a bare one has it in the number that LUO carries, and writes
 * it in freeze().
 *
 * A rule (&struct luo_test_rule) makes a callback of a file or of an FLB fail or
 * sleep. Every callback is written to a log, with its result, in the order in
 * which they end::
 *
 *	A 17 preserve 0
 *	X 0 preserve -12
 *
 * Read from the device, the log begins after what was read last. Both are
 * global: one test at a time.
 *
 * Built in, "luo_test_handler.early=1" asks for X in a subsys_initcall, as code does
 * that cannot wait for user space.
 *
 * Locks: luo_test_lock protects the rules and the log, innermost. Callbacks have the
 * lock of their session or FLB, and files change their value by single writes only.
 */

#define pr_fmt(fmt) "luo_test: " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "luo_test_handler_uapi.h"

/* Not in the list of formats: images are refused as long as these are preserved. */
#define LUO_TEST_EXTRA_FORMAT	"luo-test-extra%u-v1"

static DEFINE_MUTEX(luo_test_lock);

/* Rules */

struct luo_test_rule_entry {
	struct list_head link;
	struct luo_test_rule rule;
	unsigned int used;
};

static LIST_HEAD(luo_test_rules);

/* What does the rule for this callback say? 0 if there is none. */
static int luo_test_obey(u64 tag, enum luo_test_op op)
{
	struct luo_test_rule_entry *e;
	unsigned int ms = 0;
	int error = 0;

	scoped_guard(mutex, &luo_test_lock) {
		list_for_each_entry(e, &luo_test_rules, link) {
			struct luo_test_rule *r = &e->rule;

			if (r->op != op || (r->tag != tag && r->tag != LUO_TEST_ANY))
				continue;
			if (r->times && e->used >= r->skip + r->times)
				continue;
			if (e->used++ < r->skip)
				continue;
			ms = r->msleep;
			error = r->error;
			break;
		}
	}
	if (ms)
		msleep(ms);
	return error;
}

static int luo_test_add_rule(const struct luo_test_rule *rule)
{
	struct luo_test_rule_entry *e;

	if (rule->error > 0 || rule->error < -MAX_ERRNO || rule->op > LUO_TEST_FLB_FINISH ||
	    rule->reserved)
		return -EINVAL;
	e = kzalloc(sizeof(*e), GFP_KERNEL);
	if (!e)
		return -ENOMEM;
	e->rule = *rule;
	guard(mutex)(&luo_test_lock);
	list_add_tail(&e->link, &luo_test_rules);
	return 0;
}

/* Log */

struct luo_test_event {
	u64 tag;
	int result;
	u8 op;
	char who;
};

static struct luo_test_event luo_test_log[512];
static unsigned long luo_test_head, luo_test_tail;

static const char * const luo_test_op_names[] = {
	[LUO_TEST_CAN_PRESERVE] = "can_preserve",
	[LUO_TEST_PRESERVE] = "preserve",
	[LUO_TEST_UNPRESERVE] = "unpreserve",
	[LUO_TEST_FREEZE] = "freeze",
	[LUO_TEST_UNFREEZE] = "unfreeze",
	[LUO_TEST_RETRIEVE] = "retrieve",
	[LUO_TEST_CAN_FINISH] = "can_finish",
	[LUO_TEST_FINISH] = "finish",
	[LUO_TEST_DISCARD] = "discard",
	[LUO_TEST_FLB_PRESERVE] = "preserve",
	[LUO_TEST_FLB_UNPRESERVE] = "unpreserve",
	[LUO_TEST_FLB_RETRIEVE] = "retrieve",
	[LUO_TEST_FLB_FINISH] = "finish",
};

static int luo_test_note(char who, u64 tag, enum luo_test_op op, int result)
{
	guard(mutex)(&luo_test_lock);
	luo_test_log[luo_test_head++ % ARRAY_SIZE(luo_test_log)] = (struct luo_test_event) {
		.tag = tag,
		.result = result,
		.op = op,
		.who = who,
	};
	if (luo_test_head - luo_test_tail > ARRAY_SIZE(luo_test_log))
		luo_test_tail++;
	return result;
}

static void luo_test_clear(void)
{
	struct luo_test_rule_entry *e, *tmp;

	guard(mutex)(&luo_test_lock);
	list_for_each_entry_safe(e, tmp, &luo_test_rules, link)
		kfree(e);
	INIT_LIST_HEAD(&luo_test_rules);
	luo_test_tail = luo_test_head;
}

static ssize_t luo_test_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	size_t done = 0;
	char line[64];

	guard(mutex)(&luo_test_lock);
	while (luo_test_tail != luo_test_head) {
		struct luo_test_event *e;
		int n;

		e = &luo_test_log[luo_test_tail % ARRAY_SIZE(luo_test_log)];
		n = scnprintf(line, sizeof(line), "%c %llu %s %d\n", e->who, e->tag,
			      luo_test_op_names[e->op], e->result);
		if (done + n > len)
			break;
		if (copy_to_user(buf + done, line, n))
			return -EFAULT;
		done += n;
		luo_test_tail++;
	}
	return done;
}

/* FLBs */

#define LUO_TEST_MAGIC		0x74736574206f756cULL

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

/* Not registered before that is asked for. */
static void luo_test_name_extra(void)
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

/* Files */

struct luo_test_ser {
	u64 magic;
	u64 tag;
	u64 object;
	u64 value;
	u64 needs_token;
	u32 handler;
	u32 needs;
};

/* An open file, or what will be one. */
struct luo_test {
	struct luo_test_file desc;
	struct luo_test_ser *ser;
	struct file *needs;
	bool frozen;
};

struct luo_test_handler {
	struct liveupdate_file_handler h;
	char who;
};

static const struct liveupdate_file_ops luo_test_ops;

static struct luo_test_handler luo_test_handlers[] = {
	[LUO_TEST_A] = {
		.h = { .ops = &luo_test_ops, .compatible = LUO_TEST_A_FORMAT },
		.who = 'A',
	},
	[LUO_TEST_B] = {
		.h = { .ops = &luo_test_ops, .compatible = LUO_TEST_B_FORMAT },
		.who = 'B',
	},
};

static u32 luo_test_handler_nr(struct liveupdate_file_handler *h)
{
	return container_of(h, struct luo_test_handler, h) - luo_test_handlers;
}

static int luo_test_file_note(struct liveupdate_file_handler *h, u64 tag, enum luo_test_op op,
			      int result)
{
	return luo_test_note(container_of(h, struct luo_test_handler, h)->who, tag, op, result);
}

static void luo_test_free(struct luo_test *t)
{
	if (t->needs)
		fput(t->needs);
	kfree(t);
}

static int luo_test_file_release(struct inode *inode, struct file *file)
{
	luo_test_free(file->private_data);
	return 0;
}

static long luo_test_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct luo_test *t = file->private_data;
	void __user *uptr = (void __user *)arg;
	struct luo_test_file desc = t->desc;
	u64 value;

	switch (cmd) {
	case LUO_TEST_GET:
		desc.needs = !!t->needs;
		desc.value = READ_ONCE(t->desc.value);
		return copy_to_user(uptr, &desc, sizeof(desc)) ? -EFAULT : 0;
	case LUO_TEST_SET:
		if (copy_from_user(&value, uptr, sizeof(value)))
			return -EFAULT;
		if (READ_ONCE(t->frozen))
			return -EBUSY;
		WRITE_ONCE(t->desc.value, value);
		return 0;
	}
	return -ENOTTY;
}

static const struct file_operations luo_test_file_fops = {
	.owner = THIS_MODULE,
	.release = luo_test_file_release,
	.unlocked_ioctl = luo_test_file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct file *luo_test_file_make(struct luo_test *t)
{
	return anon_inode_getfile("[luo_test]", &luo_test_file_fops, t, O_RDWR);
}

static u64 luo_test_bare(const struct luo_test_file *desc)
{
	return desc->tag << 33 | (READ_ONCE(desc->value) & U32_MAX) << 1 | 1;
}

/* What came in, as far as it can be told. Returns -EBADMSG if it cannot. */
static int luo_test_parse(struct liveupdate_file_op_args *args, struct luo_test_file *desc,
			  struct luo_test_ser **serp)
{
	u32 handler = luo_test_handler_nr(args->handler);
	u64 data = args->serialized_data;
	struct luo_test_ser *ser;

	*desc = (struct luo_test_file) { .handler = handler };
	*serp = NULL;
	if (data & 1) {
		desc->flags = LUO_TEST_BARE;
		desc->tag = data >> 33;
		desc->value = data >> 1 & U32_MAX;
		return 0;
	}
	if (!kho_incoming_range(data, sizeof(*ser)))
		return -EBADMSG;
	ser = phys_to_virt(data);
	if (ser->magic != LUO_TEST_MAGIC || ser->handler != handler)
		return -EBADMSG;
	desc->tag = ser->tag;
	desc->object = ser->object;
	desc->value = ser->value;
	*serp = ser;
	return 0;
}

static bool luo_test_can_preserve(struct liveupdate_file_handler *h, struct file *file)
{
	struct luo_test *t = file->private_data;

	return file->f_op == &luo_test_file_fops &&
	       t->desc.handler == luo_test_handler_nr(h) &&
	       !luo_test_obey(t->desc.tag, LUO_TEST_CAN_PRESERVE);
}

static int luo_test_do_preserve(struct luo_test *t, struct liveupdate_file_op_args *args)
{
	struct luo_test_ser *ser;
	u64 needs_token = 0;
	int ret = luo_test_obey(t->desc.tag, LUO_TEST_PRESERVE);

	if (ret)
		return ret;
	if (t->needs) {
		ret = liveupdate_session_token(args->session, t->needs, &needs_token);
		if (ret)
			return ret;
	}
	if (t->desc.flags & LUO_TEST_BARE) {
		args->serialized_data = luo_test_bare(&t->desc);
		return 0;
	}
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	*ser = (struct luo_test_ser) {
		.magic = LUO_TEST_MAGIC,
		.tag = t->desc.tag,
		.object = t->desc.object,
		.value = t->desc.value,
		.needs_token = needs_token,
		.handler = t->desc.handler,
		.needs = !!t->needs,
	};
	t->ser = ser;
	args->serialized_data = virt_to_phys(ser);
	return 0;
}

static int luo_test_preserve(struct liveupdate_file_op_args *args)
{
	struct luo_test *t = args->file->private_data;
	int ret = luo_test_do_preserve(t, args);

	args->private_data = t;
	return luo_test_file_note(args->handler, t->desc.tag, LUO_TEST_PRESERVE, ret);
}

/* LUO has kept what preserve() gave it. */
static struct luo_test *luo_test_outgoing(struct liveupdate_file_op_args *args)
{
	WARN_ON_ONCE(args->private_data != args->file->private_data);
	return args->file->private_data;
}

static void luo_test_unpreserve(struct liveupdate_file_op_args *args)
{
	struct luo_test *t = luo_test_outgoing(args);

	WARN_ON_ONCE(t->frozen);
	luo_test_obey(t->desc.tag, LUO_TEST_UNPRESERVE);
	kho_unpreserve_free(t->ser);
	t->ser = NULL;
	luo_test_file_note(args->handler, t->desc.tag, LUO_TEST_UNPRESERVE, 0);
}

static int luo_test_freeze(struct liveupdate_file_op_args *args)
{
	struct luo_test *t = luo_test_outgoing(args);
	int ret = luo_test_obey(t->desc.tag, LUO_TEST_FREEZE);

	WARN_ON_ONCE(t->frozen);
	if (!ret) {
		WRITE_ONCE(t->frozen, true);
		if (t->ser)
			t->ser->value = READ_ONCE(t->desc.value);
		else
			args->serialized_data = luo_test_bare(&t->desc);
	}
	return luo_test_file_note(args->handler, t->desc.tag, LUO_TEST_FREEZE, ret);
}

static void luo_test_unfreeze(struct liveupdate_file_op_args *args)
{
	struct luo_test *t = luo_test_outgoing(args);

	WARN_ON_ONCE(!t->frozen);
	luo_test_obey(t->desc.tag, LUO_TEST_UNFREEZE);
	WRITE_ONCE(t->frozen, false);
	luo_test_file_note(args->handler, t->desc.tag, LUO_TEST_UNFREEZE, 0);
}

/* What is done before a failure is kept, and used the next time. */
static int luo_test_do_retrieve(struct liveupdate_file_op_args *args, struct luo_test_file *desc)
{
	struct luo_test *t = args->private_data;
	struct luo_test_ser *ser;
	struct file *file;
	int ret = luo_test_parse(args, desc, &ser);

	if (ret)
		return ret;
	if (!t) {
		t = kzalloc(sizeof(*t), GFP_KERNEL);
		if (!t)
			return -ENOMEM;
		t->desc = *desc;
		args->private_data = t;
	}
	ret = luo_test_obey(desc->tag, LUO_TEST_RETRIEVE);
	if (ret)
		return ret;
	if (ser && ser->needs && !t->needs) {
		ret = liveupdate_session_get_file(args->session, ser->needs_token, &t->needs);
		if (ret)
			return ret;
	}
	file = luo_test_file_make(t);
	if (IS_ERR(file))
		return PTR_ERR(file);
	args->file = file;
	return 0;
}

static int luo_test_retrieve(struct liveupdate_file_op_args *args)
{
	struct luo_test_file desc;
	int ret = luo_test_do_retrieve(args, &desc);

	return luo_test_file_note(args->handler, desc.tag, LUO_TEST_RETRIEVE, ret);
}

static bool luo_test_can_finish(struct liveupdate_file_op_args *args)
{
	struct luo_test_file desc;
	struct luo_test_ser *ser;
	bool yes;

	luo_test_parse(args, &desc, &ser);
	yes = !luo_test_obey(desc.tag, LUO_TEST_CAN_FINISH);
	return luo_test_file_note(args->handler, desc.tag, LUO_TEST_CAN_FINISH, yes);
}

static void luo_test_finish(struct liveupdate_file_op_args *args)
{
	struct luo_test_file desc;
	struct luo_test_ser *ser;

	luo_test_parse(args, &desc, &ser);
	luo_test_obey(desc.tag, LUO_TEST_FINISH);
	kho_restore_free(ser);
	/* A file has it, if there is one. */
	if (args->private_data && !args->file)
		luo_test_free(args->private_data);
	luo_test_file_note(args->handler, desc.tag, LUO_TEST_FINISH, 0);
}

static void luo_test_discard(struct liveupdate_file_op_args *args)
{
	struct luo_test_file desc;
	struct luo_test_ser *ser;

	luo_test_parse(args, &desc, &ser);
	luo_test_obey(desc.tag, LUO_TEST_DISCARD);
	luo_test_file_note(args->handler, desc.tag, LUO_TEST_DISCARD, 0);
}

static unsigned long luo_test_get_id(struct file *file)
{
	struct luo_test *t = file->private_data;

	return t->desc.object ?: (unsigned long)file;
}

static const struct liveupdate_file_ops luo_test_ops = {
	.can_preserve = luo_test_can_preserve,
	.preserve = luo_test_preserve,
	.unpreserve = luo_test_unpreserve,
	.freeze = luo_test_freeze,
	.unfreeze = luo_test_unfreeze,
	.retrieve = luo_test_retrieve,
	.can_finish = luo_test_can_finish,
	.finish = luo_test_finish,
	.get_id = luo_test_get_id,
	.owner = THIS_MODULE,
	.discard = luo_test_discard,
};

/* The device */

static int luo_test_ioctl_open(struct luo_test_file *desc)
{
	struct luo_test *t __free(kfree) = NULL;
	struct file *needs __free(fput) = NULL;
	struct file *file;

	if (desc->handler > LUO_TEST_B || desc->flags & ~LUO_TEST_BARE || desc->tag >> 31)
		return -EINVAL;
	if (desc->needs >= 0) {
		needs = fget(desc->needs);
		if (!needs)
			return -EBADF;
	}
	t = kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	t->desc = *desc;

	CLASS(get_unused_fd, fd)(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = luo_test_file_make(t);
	if (IS_ERR(file))
		return PTR_ERR(file);
	t->needs = no_free_ptr(needs);
	retain_and_null_ptr(t);
	fd_install(fd, file);
	desc->fd = take_fd(fd);
	return 0;
}

static int luo_test_ioctl_flb(struct luo_test_flb *cmd)
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
		return liveupdate_register_flb(&luo_test_handlers[cmd->handler].h, &sh->flb);
	case LUO_TEST_FLB_UNREGISTER:
		return liveupdate_unregister_flb(&luo_test_handlers[cmd->handler].h, &sh->flb);
	}
	return -EINVAL;
}

static long luo_test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *uptr = (void __user *)arg;
	union {
		struct luo_test_file file;
		struct luo_test_rule rule;
		struct luo_test_flb flb;
	} u;
	int ret;

	if (_IOC_SIZE(cmd) > sizeof(u) || copy_from_user(&u, uptr, _IOC_SIZE(cmd)))
		return -EFAULT;

	switch (cmd) {
	case LUO_TEST_OPEN:
		ret = luo_test_ioctl_open(&u.file);
		break;
	case LUO_TEST_RULE:
		return luo_test_add_rule(&u.rule);
	case LUO_TEST_CLEAR:
		luo_test_clear();
		return 0;
	case LUO_TEST_FLB_DO:
		ret = luo_test_ioctl_flb(&u.flb);
		break;
	default:
		return -ENOTTY;
	}
	if (!ret && copy_to_user(uptr, &u, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static const struct file_operations luo_test_fops = {
	.owner = THIS_MODULE,
	.read = luo_test_read,
	.unlocked_ioctl = luo_test_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice luo_test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "luo_test",
	.fops = &luo_test_fops,
	.mode = 0600,
};

static int __init luo_test_register(void)
{
	struct liveupdate_file_handler *a = &luo_test_handlers[LUO_TEST_A].h;
	struct liveupdate_file_handler *b = &luo_test_handlers[LUO_TEST_B].h;
	int ret;

	ret = liveupdate_register_file_handler(a);
	if (ret)
		return ret;
	ret = liveupdate_register_flb(a, &luo_test_flbs[LUO_TEST_X].flb);
	ret = ret ?: liveupdate_register_flb(a, &luo_test_flbs[LUO_TEST_Y].flb);
	if (ret)
		goto err_a;

	ret = liveupdate_register_file_handler(b);
	if (ret)
		goto err_a;
	ret = liveupdate_register_flb(b, &luo_test_flbs[LUO_TEST_Y].flb);
	if (ret)
		goto err_b;
	return 0;

err_b:
	liveupdate_unregister_file_handler(b);
err_a:
	liveupdate_unregister_file_handler(a);
	return ret;
}

static void luo_test_unregister(void)
{
	/* Nothing of ours can be in use: it would pin the module. Nor are FLBs. */
	for (unsigned int i = 0; i < ARRAY_SIZE(luo_test_handlers); i++)
		WARN_ON_ONCE(liveupdate_unregister_file_handler(&luo_test_handlers[i].h));
}

static int __init luo_test_init(void)
{
	int ret;

	/* Built in, it is there whether there is something to test or not. */
	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	luo_test_name_extra();
	ret = luo_test_register();
	if (ret)
		return ret;
	ret = misc_register(&luo_test_device);
	if (ret)
		luo_test_unregister();
	return ret;
}
module_init(luo_test_init);

static void __exit luo_test_exit(void)
{
	misc_deregister(&luo_test_device);
	luo_test_unregister();
	luo_test_clear();
}
module_exit(luo_test_exit);

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

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Live update: file handlers that misbehave on demand");
