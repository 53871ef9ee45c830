/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Format in which one kernel tells the next what becomes of devices that nobody
 * comes for.
 */
#ifndef _LINUX_KHO_ABI_LUO_POLICY_H
#define _LINUX_KHO_ABI_LUO_POLICY_H

#include <linux/build_bug.h>
#include <linux/types.h>
#include <uapi/linux/liveupdate.h>

/**
 * DOC: LUO policy format
 *
 * The sub-tree %LUO_POLICY_SUBTREE of the root FDT points at one packed &struct
 * luo_policies_ser, alone on its page, which points at a chain of blocks (see
 * luo.h) of &struct luo_policy_ser: one for each session that has another policy
 * than %LIVEUPDATE_DEVICE_HOLD. The sub-tree is missing if no session ever had
 * one. A kernel that does not know it holds all devices.
 *
 * Written when all files are frozen, by ``kernel/liveupdate/luo_policy.c``; read
 * by the same file in the next kernel, when it has read the sessions. All of it is
 * one version and changes only together with the string %LUO_POLICY_COMPATIBLE.
 */

#define LUO_POLICY_SUBTREE	"luo-policy"
#define LUO_POLICY_COMPATIBLE	"luo-policy-v1"

/**
 * struct luo_policies_ser - where everything starts
 * @compatible: %LUO_POLICY_COMPATIBLE, padded with NULs
 * @policies: first block of &struct luo_policy_ser, or 0
 */
struct luo_policies_ser {
	char compatible[16];
	__u64 policies;
} __packed;
static_assert(sizeof(struct luo_policies_ser) == 24);

/**
 * struct luo_policy_ser - the policy of a session
 * @name: name of the session
 * @policy: &enum liveupdate_device_policy, not %LIVEUPDATE_DEVICE_HOLD
 * @timeout_ms: of %LIVEUPDATE_DEVICE_FENCE_AFTER, ms from the start of LUO in the
 *	next kernel on; else 0
 */
struct luo_policy_ser {
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	__u32 policy;
	__u32 timeout_ms;
} __packed;
static_assert(sizeof(struct luo_policy_ser) == 72);

#endif /* _LINUX_KHO_ABI_LUO_POLICY_H */
