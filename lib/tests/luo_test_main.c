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
 * sleep, and LUO_TEST_FAIL a function of LUO or KHO fail. Every callback is written to a
 * log, with its result, in the order in which they end::
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

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "luo_test_internal.h"

static long luo_test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *uptr = (void __user *)arg;
	union {
		struct luo_test_file file;
		struct luo_test_rule rule;
		struct luo_test_flb flb;
		struct luo_test_fail fail;
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
	case LUO_TEST_FAIL:
		ret = luo_test_ioctl_fail(&u.fail);
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
	struct liveupdate_file_handler *a = luo_test_handler(LUO_TEST_A);
	struct liveupdate_file_handler *b = luo_test_handler(LUO_TEST_B);
	int ret;

	ret = liveupdate_register_file_handler(a);
	if (ret)
		return ret;
	ret = liveupdate_register_flb(a, luo_test_flb(LUO_TEST_X));
	ret = ret ?: liveupdate_register_flb(a, luo_test_flb(LUO_TEST_Y));
	if (ret)
		goto err_a;

	ret = liveupdate_register_file_handler(b);
	if (ret)
		goto err_a;
	ret = liveupdate_register_flb(b, luo_test_flb(LUO_TEST_Y));
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
	for (unsigned int i = 0; i <= LUO_TEST_B; i++)
		WARN_ON_ONCE(liveupdate_unregister_file_handler(luo_test_handler(i)));
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

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Live update: file handlers that misbehave on demand");
