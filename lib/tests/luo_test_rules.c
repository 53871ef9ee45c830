// SPDX-License-Identifier: GPL-2.0
/*
 * The test handler: rules that make callbacks fail, and the log of them.
 */

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "luo_test_internal.h"

static DEFINE_MUTEX(luo_test_lock); /* protects rules and log */

struct luo_test_rule_entry {
	struct list_head link;
	struct luo_test_rule rule;
	unsigned int used;
};

static LIST_HEAD(luo_test_rules);

/**
 * luo_test_obey - do what the rules say of a callback
 * @tag: of the file or FLB
 * @op: the callback
 *
 * Context: sleeps if a rule says so.
 * Return: the errno of the rule, 0 if there is none.
 */
int luo_test_obey(u64 tag, enum luo_test_op op)
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

/**
 * luo_test_add_rule - make a rule
 * @rule: the rule
 *
 * Return: 0, ``-EINVAL``, ``-ENOMEM``.
 */
int luo_test_add_rule(const struct luo_test_rule *rule)
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

/**
 * luo_test_note - write a callback to the log
 * @who: letter of the handler or the FLB
 * @tag: of the file or FLB
 * @op: the callback
 * @result: what it gives
 *
 * Return: @result.
 */
int luo_test_note(char who, u64 tag, enum luo_test_op op, int result)
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

/**
 * luo_test_clear - forget all rules, and what is in the log
 */
void luo_test_clear(void)
{
	struct luo_test_rule_entry *e, *tmp;

	guard(mutex)(&luo_test_lock);
	list_for_each_entry_safe(e, tmp, &luo_test_rules, link)
		kfree(e);
	INIT_LIST_HEAD(&luo_test_rules);
	luo_test_tail = luo_test_head;
}

/**
 * luo_test_read - read the log, which is what the device gives
 * @file: the device
 * @buf: where to
 * @len: room
 * @pos: not used
 *
 * Return: number of bytes, of whole lines, or ``-EFAULT``.
 */
ssize_t luo_test_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
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
