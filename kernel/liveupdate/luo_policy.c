// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: what becomes of devices that nobody comes for, from
 * one kernel to the next.
 */

/**
 * DOC: LUO device policies
 *
 * The policy of an outgoing session is set by LIVEUPDATE_SESSION_SET_DEVICE_POLICY. It
 * has no place in the record of the session, whose format is that of other kernels
 * as well, so it has one of its own, include/linux/kho/abi/luo_policy.h. Room for
 * it is reserved when it is set, so that reboot() has nothing to allocate. In the
 * next kernel the policies are read after the sessions, and found by name; what is
 * done about them is in luo_fence.c.
 *
 * A policy that cannot be read is an error in the log, and the session holds its
 * devices.
 *
 * Locks: the policy of a session belongs to its lock. luo_policies_lock, taken with
 * that held, protects the chain of records.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/kho/abi/luo_policy.h>

#include "luo_internal.h"

static DEFINE_MUTEX(luo_policies_lock); /* protects the two below */
static struct luo_policies_ser *luo_policies_ser;
static struct luo_chain luo_policies_chain = {
	.ops = &luo_kho_block_ops,
	.entry_size = sizeof(struct luo_policy_ser),
};

static int luo_policies_start(void)
{
	struct luo_policies_ser *ser;
	int ret;

	if (luo_policies_ser)
		return 0;
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	strscpy_pad(ser->compatible, LUO_POLICY_COMPATIBLE);
	ret = kho_add_subtree(LUO_POLICY_SUBTREE, ser, sizeof(*ser));
	if (ret) {
		kho_unpreserve_free(ser);
		return ret;
	}
	luo_policies_ser = ser;
	return 0;
}

/**
 * luo_policy_valid - is there such a policy?
 * @policy: &enum liveupdate_device_policy
 * @timeout_ms: the time that belongs to it
 *
 * Return: true if there is, and if the time belongs to it, and is no more than INT_MAX.
 */
bool luo_policy_valid(u32 policy, u32 timeout_ms)
{
	switch (policy) {
	case LIVEUPDATE_DEVICE_HOLD:
	case LIVEUPDATE_DEVICE_FENCE_ON_CLOSE:
		return !timeout_ms;
	case LIVEUPDATE_DEVICE_FENCE_AFTER:
		return timeout_ms && timeout_ms <= INT_MAX;
	}
	return false;
}

/**
 * luo_policy_set - set the policy of a session
 * @session: an outgoing session
 * @policy: &enum liveupdate_device_policy, found valid
 * @timeout_ms: the time that belongs to it
 *
 * Context: process context, sleeps.
 * Return: 0, or the errno of the allocation; the policy is as it was then.
 */
int luo_policy_set(struct liveupdate_session *session, u32 policy, u32 timeout_ms)
{
	bool had = session->policy != LIVEUPDATE_DEVICE_HOLD;
	bool has = policy != LIVEUPDATE_DEVICE_HOLD;
	int ret = 0;

	lockdep_assert_held(&session->lock);

	scoped_guard(mutex, &luo_policies_lock) {
		if (has && !had) {
			ret = luo_policies_start();
			if (!ret)
				ret = luo_chain_reserve(&luo_policies_chain);
		} else if (had && !has) {
			luo_chain_unreserve(&luo_policies_chain);
		}
	}
	if (ret)
		return ret;
	session->policy = policy;
	session->timeout_ms = timeout_ms;
	return 0;
}

/**
 * luo_policies_serialize - write the policies of all outgoing sessions
 */
void luo_policies_serialize(void)
{
	struct liveupdate_session *session;
	struct luo_chain_writer writer;
	struct luo_policy_ser *ser;

	lockdep_assert_held_write(&luo_freeze_lock);
	guard(mutex)(&luo_policies_lock);

	if (!luo_policies_ser)
		return;
	luo_chain_write(&luo_policies_chain, &writer);
	list_for_each_entry(session, &luo_outgoing.list, set_link) {
		if (session->policy == LIVEUPDATE_DEVICE_HOLD)
			continue;
		ser = luo_chain_write_next(&writer);
		memcpy(ser->name, session->name, sizeof(ser->name));
		ser->policy = session->policy;
		ser->timeout_ms = session->timeout_ms;
	}
	luo_policies_ser->policies = luo_chain_address(&luo_policies_chain);
}

static void luo_policy_load(struct luo_session_set *set, const struct luo_policy_ser *ser)
{
	struct liveupdate_session *session = NULL;
	const char *fault;

	guard(mutex)(&set->lock);
	if (strnlen(ser->name, sizeof(ser->name)) < sizeof(ser->name))
		session = luo_set_find(set, ser->name);
	if (!session || ser->policy == LIVEUPDATE_DEVICE_HOLD ||
	    !luo_policy_valid(ser->policy, ser->timeout_ms)) {
		fault = session ? "its device policy is not known" :
				  "has a policy and is not there";
		pr_err("session '%*pE': %s, its devices are held\n",
		       (int)strnlen(ser->name, sizeof(ser->name)), ser->name, fault);
		return;
	}
	session->policy = ser->policy;
	session->timeout_ms = ser->timeout_ms;
}

/**
 * luo_policies_read - read the policies from a chain
 * @set: the sessions, whose policies are set
 * @ops: where blocks come from
 * @pa: where the previous kernel left the chain
 *
 * At boot, while nobody else has a session.
 *
 * Context: process context, sleeps.
 */
void luo_policies_read(struct luo_session_set *set, const struct luo_block_ops *ops, u64 pa)
{
	struct luo_incoming_chain chain;
	const struct luo_policy_ser *ser;
	struct luo_chain_reader reader;

	if (luo_incoming_chain_check(&chain, ops, pa, sizeof(*ser), LUO_COUNT_UNKNOWN))
		pr_err("list of device policies is damaged: %s (block at %#llx), %llu are left\n",
		       chain.fault, chain.fault_pa, chain.nr_entries);
	luo_chain_read(&chain, &reader);
	while ((ser = luo_chain_read_next(&reader)))
		luo_policy_load(set, ser);
	luo_incoming_chain_release(&chain);
}

/**
 * luo_policies_load - read what the previous kernel left of the policies
 *
 * Context: process context, sleeps; when the sessions are loaded.
 */
void luo_policies_load(void)
{
	const struct luo_policies_ser *ser;
	phys_addr_t phys;
	size_t size;

	if (kho_retrieve_subtree(LUO_POLICY_SUBTREE, &phys, &size))
		return;
	if (size < sizeof(*ser) || !kho_incoming_range(phys, sizeof(*ser))) {
		pr_err("the device policies are not in preserved memory, all devices are held\n");
		return;
	}
	ser = phys_to_virt(phys);
	if (strncmp(ser->compatible, LUO_POLICY_COMPATIBLE, sizeof(ser->compatible))) {
		pr_err("the device policies are of an unknown format, all devices are held\n");
		return;
	}
	luo_policies_read(&luo_incoming, &luo_kho_block_ops, ser->policies);
	if (kho_incoming_order(phys) >= 0)
		kho_restore_free(phys_to_virt(phys));
}
