// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that fail when a test wants it.
 *
 * Those of ALLOW_ERROR_INJECTION(), as with fail_function. That one draws a random number
 * in the breakpoint, where lockdep does not allow the lock that this takes, so it cannot be
 * used on a kernel with lockdep. Here the next call fails, and no other.
 *
 * Locks: luo_test_fail_lock protects the probe and what the function is to give, which
 * does not change while the probe is there. The probe takes no lock: it counts down.
 */

#define pr_fmt(fmt) "luo_test: " fmt

#include <linux/cleanup.h>
#include <linux/error-injection.h>
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/string.h>

#include "luo_test_internal.h"

/* What it takes is not exported. */
#if defined(CONFIG_FUNCTION_ERROR_INJECTION) && !defined(MODULE)

static DEFINE_MUTEX(luo_test_fail_lock);
static struct luo_test_fail luo_test_failing;
static atomic_t luo_test_fail_left;

static int luo_test_fail_hit(struct kprobe *probe, struct pt_regs *regs)
{
	if (!atomic_add_unless(&luo_test_fail_left, -1, 0))
		return 0;
	regs_set_return_value(regs, luo_test_failing.err);
	override_function_with_return(regs);
	return 1;
}

NOKPROBE_SYMBOL(luo_test_fail_hit);

/* With one, the probe stays a breakpoint, and may change where it returns to. */
static void luo_test_fail_after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

NOKPROBE_SYMBOL(luo_test_fail_after);

static struct kprobe luo_test_probe;

static void luo_test_fail_end(void)
{
	if (luo_test_probe.addr)
		unregister_kprobe(&luo_test_probe);
	memset(&luo_test_probe, 0, sizeof(luo_test_probe));
}

/**
 * luo_test_ioctl_fail - have the next call of a function fail, or end that
 * @cmd: its name and the negative errno that it gives; 0 ends it, and @cmd.left is 0 if
 *	it was called
 *
 * Return: 0, -EINVAL for a function that is not meant for it, or what register_kprobe() says.
 */
int luo_test_ioctl_fail(struct luo_test_fail *cmd)
{
	int ret;

	guard(mutex)(&luo_test_fail_lock);
	luo_test_fail_end();
	if (!cmd->err) {
		cmd->left = atomic_xchg(&luo_test_fail_left, 0);
		return 0;
	}
	if (cmd->err < -MAX_ERRNO || cmd->err > 0 ||
	    strnlen(cmd->name, sizeof(cmd->name)) == sizeof(cmd->name))
		return -EINVAL;

	luo_test_failing = *cmd;
	luo_test_probe.symbol_name = luo_test_failing.name;
	luo_test_probe.pre_handler = luo_test_fail_hit;
	luo_test_probe.post_handler = luo_test_fail_after;
	ret = register_kprobe(&luo_test_probe);
	if (ret) {
		memset(&luo_test_probe, 0, sizeof(luo_test_probe));
		return ret;
	}
	if (!within_error_injection_list((unsigned long)luo_test_probe.addr)) {
		pr_err("%s() has no ALLOW_ERROR_INJECTION()\n", cmd->name);
		luo_test_fail_end();
		return -EINVAL;
	}
	atomic_set(&luo_test_fail_left, 1);
	return 0;
}

#else

int luo_test_ioctl_fail(struct luo_test_fail *cmd)
{
	return -EOPNOTSUPP;
}

#endif
