/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: a look at every callback.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM liveupdate

#if !defined(_TRACE_LIVEUPDATE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_LIVEUPDATE_H

#include <linux/fs.h>
#include <linux/tracepoint.h>

/* enum luo_op, of kernel/liveupdate/luo_internal.h, which is to be included first. */
TRACE_DEFINE_ENUM(LUO_OP_PRESERVE);
TRACE_DEFINE_ENUM(LUO_OP_UNPRESERVE);
TRACE_DEFINE_ENUM(LUO_OP_FREEZE);
TRACE_DEFINE_ENUM(LUO_OP_UNFREEZE);
TRACE_DEFINE_ENUM(LUO_OP_RETRIEVE);
TRACE_DEFINE_ENUM(LUO_OP_CAN_FINISH);
TRACE_DEFINE_ENUM(LUO_OP_FINISH);
TRACE_DEFINE_ENUM(LUO_OP_DISCARD);
TRACE_DEFINE_ENUM(LUO_OP_STAT);

#define show_luo_op(op)							\
	__print_symbolic(op,						\
		{ LUO_OP_PRESERVE, "preserve" },			\
		{ LUO_OP_UNPRESERVE, "unpreserve" },			\
		{ LUO_OP_FREEZE, "freeze" },				\
		{ LUO_OP_UNFREEZE, "unfreeze" },			\
		{ LUO_OP_RETRIEVE, "retrieve" },			\
		{ LUO_OP_CAN_FINISH, "can_finish" },			\
		{ LUO_OP_FINISH, "finish" },				\
		{ LUO_OP_DISCARD, "discard" },				\
		{ LUO_OP_STAT, "stat" })

/* Before a callback. One that hangs is the last of which this was seen. */
TRACE_EVENT(luo_file_call,

	TP_PROTO(const char *session, u64 token, const char *handler, enum luo_op op),

	TP_ARGS(session, token, handler, op),

	TP_STRUCT__entry(
		__string(session, session)
		__string(handler, handler)
		__field(u64, token)
		__field(enum luo_op, op)
	),

	TP_fast_assign(
		__assign_str(session);
		__assign_str(handler);
		__entry->token = token;
		__entry->op = op;
	),

	TP_printk("session=%s token=%#llx handler=%s op=%s",
		  __get_str(session), __entry->token, __get_str(handler),
		  show_luo_op(__entry->op))
);

/*
 * After a callback. The result is 0 or a negative errno; of can_finish() it is 1 or
 * 0. The duration of retrieve() has that of the files in it that were asked for.
 */
TRACE_EVENT(luo_file_return,

	TP_PROTO(const char *session, u64 token, const char *handler, enum luo_op op,
		 u64 duration, int result),

	TP_ARGS(session, token, handler, op, duration, result),

	TP_STRUCT__entry(
		__string(session, session)
		__string(handler, handler)
		__field(u64, token)
		__field(u64, duration)
		__field(enum luo_op, op)
		__field(int, result)
	),

	TP_fast_assign(
		__assign_str(session);
		__assign_str(handler);
		__entry->token = token;
		__entry->duration = duration;
		__entry->op = op;
		__entry->result = result;
	),

	TP_printk("session=%s token=%#llx handler=%s op=%s duration_ns=%llu result=%d",
		  __get_str(session), __entry->token, __get_str(handler),
		  show_luo_op(__entry->op), __entry->duration,
		  __entry->result)
);

/* After can_preserve(), which is asked before there is a token: of every handler in turn. */
TRACE_EVENT(luo_can_preserve,

	TP_PROTO(const char *handler, struct file *file, u64 duration, bool result),

	TP_ARGS(handler, file, duration, result),

	TP_STRUCT__entry(
		__string(handler, handler)
		__field(u64, ino)
		__field(u64, duration)
		__field(dev_t, dev)
		__field(bool, result)
	),

	TP_fast_assign(
		__assign_str(handler);
		__entry->ino = file_inode(file)->i_ino;
		__entry->dev = file_inode(file)->i_sb->s_dev;
		__entry->duration = duration;
		__entry->result = result;
	),

	TP_printk("dev=%u:%u ino=%llu handler=%s duration_ns=%llu result=%d",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __get_str(handler), __entry->duration, __entry->result)
);

/* The same of shared state (FLB), of whatever session the file is that needs it. */
TRACE_EVENT(luo_flb_call,

	TP_PROTO(const char *flb, enum luo_op op),

	TP_ARGS(flb, op),

	TP_STRUCT__entry(
		__string(flb, flb)
		__field(enum luo_op, op)
	),

	TP_fast_assign(
		__assign_str(flb);
		__entry->op = op;
	),

	TP_printk("flb=%s op=%s", __get_str(flb), show_luo_op(__entry->op))
);

TRACE_EVENT(luo_flb_return,

	TP_PROTO(const char *flb, enum luo_op op, u64 duration, int result),

	TP_ARGS(flb, op, duration, result),

	TP_STRUCT__entry(
		__string(flb, flb)
		__field(u64, duration)
		__field(enum luo_op, op)
		__field(int, result)
	),

	TP_fast_assign(
		__assign_str(flb);
		__entry->duration = duration;
		__entry->op = op;
		__entry->result = result;
	),

	TP_printk("flb=%s op=%s duration_ns=%llu result=%d", __get_str(flb),
		  show_luo_op(__entry->op), __entry->duration, __entry->result)
);

#endif /* _TRACE_LIVEUPDATE_H */

#include <trace/define_trace.h>
