// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: calling the handlers, and watching them.
 */

/**
 * DOC: LUO callbacks
 *
 * Every operation of a file handler or an FLB is called from here. Around the call
 * there are the tracepoints ``liveupdate:luo_file_call`` and
 * ``liveupdate:luo_file_return`` (of FLBs ``luo_flb_call`` and ``luo_flb_return``), and it is
 * counted: how often, how often it failed, how long it took. So whatever a handler
 * does to a file can be seen with its session, token and result, and a callback
 * that hangs is a call without a return.
 *
 * Locks: none. The counters are atomic, each by itself. The caller has the lock of
 * the session, or of the FLB.
 */

#include <linux/ktime.h>

#include "luo_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/liveupdate.h>

struct luo_op_stat luo_op_stats[LUO_NR_OPS];
struct luo_op_stat luo_flb_op_stats[LUO_NR_OPS];

const char * const luo_op_names[LUO_NR_OPS] = {
	[LUO_OP_PRESERVE] = "preserve",
	[LUO_OP_UNPRESERVE] = "unpreserve",
	[LUO_OP_FREEZE] = "freeze",
	[LUO_OP_UNFREEZE] = "unfreeze",
	[LUO_OP_RETRIEVE] = "retrieve",
	[LUO_OP_CAN_FINISH] = "can_finish",
	[LUO_OP_FINISH] = "finish",
	[LUO_OP_DISCARD] = "discard",
	[LUO_OP_STAT] = "stat",
};

static int luo_call_op(const struct liveupdate_file_ops *ops, enum luo_op op,
		       struct liveupdate_file_op_args *args)
{
	switch (op) {
	case LUO_OP_PRESERVE:
		return ops->preserve(args);
	case LUO_OP_UNPRESERVE:
		ops->unpreserve(args);
		return 0;
	case LUO_OP_FREEZE:
		return ops->freeze(args);
	case LUO_OP_UNFREEZE:
		ops->unfreeze(args);
		return 0;
	case LUO_OP_RETRIEVE:
		return ops->retrieve(args);
	case LUO_OP_CAN_FINISH:
		return ops->can_finish(args);
	case LUO_OP_FINISH:
		ops->finish(args);
		return 0;
	case LUO_OP_DISCARD:
		ops->discard(args);
		return 0;
	case LUO_OP_STAT:
	case LUO_NR_OPS:
		break;
	}
	return -EINVAL;
}

static void luo_count(struct luo_op_stat *stat, u64 duration, bool failed)
{
	s64 max = atomic64_read(&stat->max_ns);

	atomic64_inc(&stat->calls);
	if (failed)
		atomic64_inc(&stat->failures);
	atomic64_add(duration, &stat->total_ns);
	while (duration > max && !atomic64_try_cmpxchg(&stat->max_ns, &max, duration))
		;
}

/**
 * luo_file_call - call an operation of the handler of a file
 * @lf: the file, with its handler
 * @op: which one; the handler has it
 * @args: what it is called with, see luo_file_args()
 *
 * Context: may sleep, with the lock of the session held.
 * Return: what the operation returned: 0 or a negative errno; of can_finish() true
 * or false; 0 if it returns nothing.
 */
int luo_file_call(struct luo_file *lf, enum luo_op op, struct liveupdate_file_op_args *args)
{
	const char *session = lf->session->name, *handler = lf->handler->compatible;
	u64 start, duration;
	int ret;

	lockdep_assert_held(&lf->session->lock);

	if (op == LUO_OP_PRESERVE || op == LUO_OP_FREEZE)
		lf->session->calling = lf;
	trace_luo_file_call(session, lf->token, handler, op);
	start = ktime_get_ns();
	ret = luo_call_op(lf->handler->ops, op, args);
	duration = ktime_get_ns() - start;
	trace_luo_file_return(session, lf->token, handler, op, duration, ret);
	luo_count(&luo_op_stats[op], duration, op == LUO_OP_CAN_FINISH ? !ret : ret);
	lf->session->calling = NULL;
	return ret;
}

/**
 * luo_call_stat - ask a handler what it takes to carry a file
 * @token: token of the file, 0 in a dry run
 * @args: what it is called with; the handler has stat()
 * @stat: for the answer
 *
 * Context: may sleep, with the lock of the session held.
 * Return: what stat() returned.
 */
int luo_call_stat(u64 token, struct liveupdate_file_op_args *args,
		  struct liveupdate_file_stat *stat)
{
	const char *session = args->session->name, *handler = args->handler->compatible;
	u64 start, duration;
	int ret;

	lockdep_assert_held(&args->session->lock);

	trace_luo_file_call(session, token, handler, LUO_OP_STAT);
	start = ktime_get_ns();
	ret = args->handler->ops->stat(args, stat);
	duration = ktime_get_ns() - start;
	trace_luo_file_return(session, token, handler, LUO_OP_STAT, duration, ret);
	luo_count(&luo_op_stats[LUO_OP_STAT], duration, ret);
	return ret;
}

/**
 * luo_call_can_preserve - ask a handler whether a file is for it
 * @handler: the handler
 * @file: the file
 *
 * Return: its answer.
 */
bool luo_call_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	u64 start = ktime_get_ns();
	bool ret = handler->ops->can_preserve(handler, file);

	trace_luo_can_preserve(handler->compatible, file, ktime_get_ns() - start, ret);
	return ret;
}

/**
 * luo_flb_call - call an operation of an FLB
 * @op: which one, of the four that there are
 * @args: what it is called with
 *
 * Context: may sleep, with the lock of the FLB held.
 * Return: what the operation returned, 0 if it returns nothing.
 */
int luo_flb_call(enum luo_op op, struct liveupdate_flb_op_args *args)
{
	const struct liveupdate_flb_ops *ops = args->flb->ops;
	const char *flb = args->flb->compatible;
	u64 start, duration;
	int ret = 0;

	trace_luo_flb_call(flb, op);
	start = ktime_get_ns();
	switch (op) {
	case LUO_OP_PRESERVE:
		ret = ops->preserve(args);
		break;
	case LUO_OP_UNPRESERVE:
		ops->unpreserve(args);
		break;
	case LUO_OP_RETRIEVE:
		ret = ops->retrieve(args);
		break;
	case LUO_OP_FINISH:
		ops->finish(args);
		break;
	default:
		ret = -EINVAL;
	}
	duration = ktime_get_ns() - start;
	trace_luo_flb_return(flb, op, duration, ret);
	luo_count(&luo_flb_op_stats[op], duration, ret);
	return ret;
}
