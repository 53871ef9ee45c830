/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a test talks to the test handler, luo_test_main.c. Not for anything else, and not stable.
 */
#ifndef _LIB_TESTS_LUO_TEST_HANDLER_UAPI_H
#define _LIB_TESTS_LUO_TEST_HANDLER_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LUO_TEST_DEV		"/dev/luo_test"

/* Handlers. Files of A need X and Y, files of B need Y. */
#define LUO_TEST_A		0
#define LUO_TEST_B		1

/* FLBs. Those from %LUO_TEST_EXTRA on are not registered from the beginning. */
#define LUO_TEST_X		0
#define LUO_TEST_Y		1
#define LUO_TEST_EXTRA		2
#define LUO_TEST_NR_FLBS	80

/* What can be made to fail, and what is logged. The last four are those of FLBs. */
enum luo_test_op {
	LUO_TEST_CAN_PRESERVE,
	LUO_TEST_PRESERVE,
	LUO_TEST_UNPRESERVE,
	LUO_TEST_FREEZE,
	LUO_TEST_UNFREEZE,
	LUO_TEST_RETRIEVE,
	LUO_TEST_CAN_FINISH,
	LUO_TEST_FINISH,
	LUO_TEST_DISCARD,
	LUO_TEST_FLB_PRESERVE,
	LUO_TEST_FLB_UNPRESERVE,
	LUO_TEST_FLB_RETRIEVE,
	LUO_TEST_FLB_FINISH,
};

/* Nothing but tag and the lower half of the value crosses, in the number itself. */
#define LUO_TEST_BARE		0x1
/* Asks in retrieve() for the file whose token is its value, be that there or not. */
#define LUO_TEST_ASKS		0x2
/* With a vmalloc area, of as many pages as its value says. */
#define LUO_TEST_AREA		0x4

/**
 * struct luo_test_file - a file of a handler
 * @fd: out, the file, from %LUO_TEST_OPEN
 * @handler: LUO_TEST_A or LUO_TEST_B
 * @flags: LUO_TEST_BARE, LUO_TEST_ASKS or LUO_TEST_AREA, or 0
 * @needs: a file of A or B that must be preserved before this one, or -1; out: how
 *	often that file was there when this one was retrieved, 0 or 1
 * @tag: by which rules and the log know it, across kernels; below 2^31
 * @object: files with the same number stand for the same object; 0: just this file
 * @value: what is carried over
 */
struct luo_test_file {
	__s32 fd;
	__u32 handler;
	__u32 flags;
	__s32 needs;
	__u64 tag;
	__u64 object;
	__u64 value;
};

/* For any file. */
#define LUO_TEST_ANY		(~0ULL)
/* Tag of an FLB. */
#define LUO_TEST_FLB(nr)	((1ULL << 32) + (nr))

/**
 * struct luo_test_rule - misbehave
 * @tag: of the file or FLB, or %LUO_TEST_ANY
 * @op: in which callback
 * @error: what it gives, a negative errno; can_preserve() and can_finish() say no
 * @msleep: how long it sleeps first, in ms
 * @skip: how often it behaves first
 * @times: how often it misbehaves; 0: from then on
 * @reserved: 0
 *
 * The first rule that fits is used, in the order in which they were made.
 */
struct luo_test_rule {
	__u64 tag;
	__u32 op;
	__s32 error;
	__u32 msleep;
	__u32 skip;
	__u32 times;
	__u32 reserved;
};

enum luo_test_flb_cmd {
	LUO_TEST_FLB_GET_IN,	/* value: out */
	LUO_TEST_FLB_PUT_IN,
	LUO_TEST_FLB_GET_OUT,	/* value: out */
	LUO_TEST_FLB_PUT_OUT,
	LUO_TEST_FLB_PEEK_IN,	/* value: out, the number that crossed */
	LUO_TEST_FLB_SET,	/* value: to be preserved, from the next time on */
	LUO_TEST_FLB_REGISTER,	/* with @handler */
	LUO_TEST_FLB_UNREGISTER,
};

struct luo_test_flb {
	__u32 flb;
	__u32 cmd;
	__u32 handler;
	__u32 reserved;
	__u64 value;
};

/**
 * struct luo_test_fail - a function that is to fail, once
 * @name: of a function with ALLOW_ERROR_INJECTION()
 * @err: negative errno that it gives; 0 ends it
 * @left: out, if @err is 0: the number of calls that were still to fail
 */
struct luo_test_fail {
	char name[56];
	__s32 err;
	__u32 left;
};

/* On the device. What read() gives is the log: a line for each callback, see there. */
#define LUO_TEST_OPEN		_IOWR('T', 0xe0, struct luo_test_file)
#define LUO_TEST_RULE		_IOW('T', 0xe1, struct luo_test_rule)
#define LUO_TEST_CLEAR		_IO('T', 0xe2)
#define LUO_TEST_FLB_DO		_IOWR('T', 0xe3, struct luo_test_flb)
#define LUO_TEST_FAIL		_IOWR('T', 0xe4, struct luo_test_fail)

/* On a file. */
#define LUO_TEST_GET		_IOR('T', 0xe8, struct luo_test_file)
#define LUO_TEST_SET		_IOW('T', 0xe9, __u64)

#endif /* _LIB_TESTS_LUO_TEST_HANDLER_UAPI_H */
