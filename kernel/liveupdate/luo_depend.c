// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: files that depend on other files.
 */

/**
 * DOC: LUO dependencies
 *
 * A handler whose file needs another one asks for that in preserve() or freeze(), by
 * liveupdate_session_token() or liveupdate_session_get_file(). That is
 * remembered here: as long as the one is preserved, the other cannot be taken
 * out of the session. Handlers have nothing to do for it. A session that is closed
 * needs no such care, as its files are unpreserved in reverse order, and a file
 * can only depend on those before it.
 *
 * Locks: all of it is protected by the lock of the session.
 */

#include <linux/error-injection.h>
#include <linux/list.h>
#include <linux/slab.h>

#include "luo_internal.h"

struct luo_dep {
	struct luo_file *on;
	struct list_head link;
};

/**
 * luo_dep_add - the file whose callback is running depends on another one
 * @on: the other one, of the same session
 *
 * Return: 0, also if that was known or if no such callback is running, or ``-ENOMEM``.
 */
int luo_dep_add(struct luo_file *on)
{
	struct luo_file *lf = on->session->calling;
	struct luo_dep *dep;

	lockdep_assert_held(&on->session->lock);

	if (!lf || lf == on)
		return 0;
	list_for_each_entry(dep, &lf->deps, link) {
		if (dep->on == on)
			return 0;
	}

	dep = kmalloc(sizeof(*dep), GFP_KERNEL_ACCOUNT);
	if (!dep)
		return -ENOMEM;
	dep->on = on;
	on->nr_dependents++;
	list_add_tail(&dep->link, &lf->deps);
	return 0;
}
ALLOW_ERROR_INJECTION(luo_dep_add, ERRNO);

/**
 * luo_deps_del - a file does not depend on others any more
 * @lf: the file
 */
void luo_deps_del(struct luo_file *lf)
{
	struct luo_dep *dep, *tmp;

	lockdep_assert_held(&lf->session->lock);

	list_for_each_entry_safe(dep, tmp, &lf->deps, link) {
		dep->on->nr_dependents--;
		kfree(dep);
	}
	INIT_LIST_HEAD(&lf->deps);
}
