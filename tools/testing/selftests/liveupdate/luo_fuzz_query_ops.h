/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fuzzer and the ioctls that mainline does not have: what they list is what the
 * model has, and one file can be taken out of a session.
 */
#ifndef LUO_FUZZ_QUERY_OPS_H
#define LUO_FUZZ_QUERY_OPS_H

#include "luo_fuzz_ops.h"

static const char *handler_of(int o)
{
	return model->objects[o].huge ? "hugetlb-memfd-v1" : "memfd-v2";
}

static int fz_nr_held(int s)
{
	int nr = 0;

	for (int o = 0; o < FZ_OBJECTS; o++)
		nr += fz_holds(model, s, o);
	return nr;
}

/* A whole walk: each session that came in, once, and no other. */
static bool op_list_sessions(struct fz_op op)
{
	struct liveupdate_ioctl_next_session arg = {};
	bool seen[FZ_SESSIONS] = {};

	for (int n = 0; ; n++) {
		uint32_t held = 0;
		int got, name = -1, s;

		arg.flags = 0;
		got = call(dev, LIVEUPDATE_IOCTL_NEXT_SESSION, &arg, sizeof(arg), PROPER);
		if (got == -ENOENT)
			break;
		if (!judge("NEXT_SESSION", 0, got))
			return false;
		if (sscanf((char *)arg.name, "fuzz-%d", &name) != 1)
			name = -1;
		s = fz_find_session(model, FZ_CLAIMED, name);
		if (s >= 0)
			held = LIVEUPDATE_SESSION_HELD;
		else
			s = fz_find_session(model, FZ_UNCLAIMED, name);
		if (s < 0 || seen[s] || n > FZ_SESSIONS) {
			snprintf(complaint, sizeof(complaint), "NEXT_SESSION gives '%.64s'",
				 arg.name);
			return false;
		}
		seen[s] = true;
		if (!judge("NEXT_SESSION: flags", held, arg.flags) ||
		    !judge("NEXT_SESSION: files", fz_nr_held(s), arg.nr_files))
			return false;
	}
	for (int s = 0; s < FZ_SESSIONS; s++) {
		bool there = model->sessions[s].state == FZ_UNCLAIMED ||
			     model->sessions[s].state == FZ_CLAIMED;

		if (!judge("NEXT_SESSION: sessions listed", there, seen[s]))
			return false;
	}
	return true;
}

/* One call, with what can be wrong with it. */
static bool op_next_session(struct fz_op op)
{
	struct liveupdate_ioctl_next_session arg = { .flags = op.b % 8 == 1 };
	enum flavour flavour = flavour_of(op.c);
	int want = refused(flavour), got;
	bool any = false, endless = op.b % 8 == 2;

	for (int s = 0; s < FZ_SESSIONS; s++)
		any |= model->sessions[s].state == FZ_UNCLAIMED ||
		       model->sessions[s].state == FZ_CLAIMED;
	if (endless)
		memset(arg.name, 'x', sizeof(arg.name));
	if (!want && (arg.flags || endless))
		want = -EINVAL;
	if (!want && !any)
		want = -ENOENT;
	if (!want && flavour == READ_ONLY)
		want = -EFAULT;
	got = call(dev, LIVEUPDATE_IOCTL_NEXT_SESSION, &arg, sizeof(arg), flavour);
	return judge("NEXT_SESSION", want, got);
}

static bool op_next_file(struct fz_op op)
{
	static const uint32_t states[] = {
		[FZ_PRESERVED] = LIVEUPDATE_FILE_PRESERVED,
		[FZ_INCOMING] = LIVEUPDATE_FILE_WAITING,
		[FZ_RETRIEVED] = LIVEUPDATE_FILE_RETRIEVED,
	};
	struct liveupdate_session_next_file arg = {
		.token = fz_token(op.b),
		.flags = op.b % 8 == 1,
	};
	enum flavour flavour = flavour_of(op.c);
	int s = pick_session(op.a), found = -1, want = refused(flavour), got;

	if (s < 0)
		return true;
	for (int o = 0; o < FZ_OBJECTS; o++) {
		uint64_t token = model->objects[o].token;

		if (fz_holds(model, s, o) && token >= arg.token &&
		    (found < 0 || token < model->objects[found].token))
			found = o;
	}
	if (!want && arg.flags)
		want = -EINVAL;
	if (!want && found < 0)
		want = -ENOENT;
	if (!want && flavour == READ_ONLY)
		want = -EFAULT;
	got = call(session_fd(s), LIVEUPDATE_SESSION_NEXT_FILE, &arg, sizeof(arg), flavour);
	if (!judge("NEXT_FILE", want, got))
		return false;
	return got ||
	       (judge("NEXT_FILE: token", model->objects[found].token, arg.token) &&
		judge("NEXT_FILE: state", states[model->objects[found].hold], arg.state) &&
		judge("NEXT_FILE: error", 0, arg.error) &&
		judge("NEXT_FILE: flags", LIVEUPDATE_FILE_COST_KNOWN, arg.flags) &&
		judge("NEXT_FILE: handler", 0, strcmp(handler_of(found), (char *)arg.handler)));
}

static bool op_unpreserve(struct fz_op op)
{
	struct liveupdate_session_unpreserve_file arg = { .reserved = op.c % 16 == 1 };
	enum flavour flavour = flavour_of(op.c >> 8);
	int s = pick_session(op.a), o, want = refused(flavour), got;

	if (s < 0)
		return true;
	arg.token = op.b % 4 ? fz_some_token(model, s, op.b / 4, op.c) : fz_token(op.c);
	o = fz_find_object(model, s, arg.token);
	if (!want && (arg.reserved || model->sessions[s].state == FZ_CLAIMED))
		want = -EINVAL;
	if (!want && o < 0)
		want = -ENOENT;
	got = call(session_fd(s), LIVEUPDATE_SESSION_UNPRESERVE_FILE, &arg, sizeof(arg),
		   flavour);
	if (!judge("UNPRESERVE_FILE", want, got))
		return false;
	if (!got) {
		model->objects[o].hold = FZ_FREE;
		object_gone(o);
	}
	return true;
}

/* The answer is that of PRESERVE_FD, and nothing has changed. */
static bool op_dry_run(struct fz_op op)
{
	struct liveupdate_session_dry_run arg = {
		.flags = op.c % 16 == 1,
		.reserved = op.c % 16 == 2,
	};
	enum flavour flavour = flavour_of(op.c >> 8);
	int s = pick_session(op.a), o = pick_object(op.b), want = refused(flavour), got, taken = 0;
	bool odd = !((op.c >> 16) % 8), opened = false;

	if (s < 0 || (!odd && o < 0))
		return true;
	arg.fd = object_fd(o);
	if (odd)
		taken = odd_file(op.c >> 24, s, &arg.fd, &opened);
	if (!want && (arg.flags || arg.reserved || model->sessions[s].state == FZ_CLAIMED))
		want = -EINVAL;
	if (!want)
		want = taken;
	if (!want && model->objects[o].hold != FZ_FREE)
		want = -EBUSY;
	if (!want && flavour == READ_ONLY)
		want = -EFAULT;
	got = call(session_fd(s), LIVEUPDATE_SESSION_DRY_RUN, &arg, sizeof(arg), flavour);
	if (opened)
		close(arg.fd);
	if (!judge("DRY_RUN", want, got))
		return false;
	/* Some blocks are counted that no page is in yet. */
	return got ||
	       (judge("DRY_RUN: handler", 0, strcmp(handler_of(o), (char *)arg.handler)) &&
		judge("DRY_RUN: more than there is", 0,
		      arg.cost.bytes > (uint64_t)luo_blocks(object_fd(o)) * 512));
}

#endif /* LUO_FUZZ_QUERY_OPS_H */
