// SPDX-License-Identifier: GPL-2.0
/*
 * The test handler: files, and the two handlers that take care of them.
 */

#include <linux/anon_inodes.h>
#include <linux/bug.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "luo_test_internal.h"

#define MAX_AREA	(SZ_256M >> PAGE_SHIFT)

struct luo_test_ser {
	u64 magic;
	u64 tag;
	u64 object;
	u64 value;
	u64 needs_token;
	u32 handler;
	u32 needs;
	struct kho_vmalloc area;
};

/* An open file, or what will be one. */
struct luo_test {
	struct luo_test_file desc;
	struct luo_test_ser *ser;
	struct file *needs;
	void *area;
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
	if (!t)
		return;
	if (t->needs)
		fput(t->needs);
	vfree(t->area);
	kfree(t);
}

DEFINE_FREE(luo_test_free, struct luo_test *, luo_test_free(_T))

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
	desc->flags = ser->area.total_pages ? LUO_TEST_AREA : 0;
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
	if (t->desc.flags & LUO_TEST_ASKS)
		needs_token = t->desc.value;
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
		.needs = t->needs || t->desc.flags & LUO_TEST_ASKS,
	};
	if (t->area) {
		ret = kho_preserve_vmalloc(t->area, &ser->area);
		if (ret) {
			kho_unpreserve_free(ser);
			return ret;
		}
	}
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
	if (t->area)
		kho_unpreserve_vmalloc(&t->ser->area);
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
	if (desc->flags & LUO_TEST_AREA && !t->area) {
		ret = luo_test_area_restore(desc->tag, desc->value, &ser->area, &t->area);
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
	/* One that nobody has asked for goes. */
	if (desc.flags & LUO_TEST_AREA && !args->private_data)
		vfree(kho_restore_vmalloc(&ser->area));
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

/**
 * luo_test_handler - a handler of the test handler
 * @nr: LUO_TEST_A or LUO_TEST_B
 *
 * Return: the handler.
 */
struct liveupdate_file_handler *luo_test_handler(unsigned int nr)
{
	return &luo_test_handlers[nr].h;
}

/**
 * luo_test_ioctl_open - LUO_TEST_OPEN
 * @desc: the file, and its descriptor
 *
 * Return: 0 or the errno for user space.
 */
int luo_test_ioctl_open(struct luo_test_file *desc)
{
	struct luo_test *t __free(luo_test_free) = NULL;
	struct file *needs __free(fput) = NULL;
	struct file *file;

	if (desc->handler > LUO_TEST_B || desc->tag >> 31 ||
	    desc->flags & ~(LUO_TEST_BARE | LUO_TEST_ASKS | LUO_TEST_AREA))
		return -EINVAL;
	if (desc->flags & LUO_TEST_AREA &&
	    (desc->flags != LUO_TEST_AREA || desc->value - 1 >= MAX_AREA))
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
	if (desc->flags & LUO_TEST_AREA) {
		t->area = luo_test_area_make(desc->tag, desc->value);
		if (!t->area)
			return -ENOMEM;
	}

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
