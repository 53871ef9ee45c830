// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd and live update: which HWPTs are to travel, and what they are called.
 *
 * User space marks a HWPT with a label of its own choice, and asks for what has a label in
 * the next kernel. A mark is set once, under the lock of &iommufd_luo_ctx, and stays as long
 * as the HWPT; whoever goes through all marked ones holds the lock of the array of
 * objects, or a reference on each. Both ioctls may sleep and may be called at any time.
 */
#define pr_fmt(fmt) "iommufd: liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <uapi/linux/iommufd_liveupdate.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/**
 * iommufd_luo_next_locked - the first HWPT that has a mark, from an ID on
 * @ictx: the context
 * @id: the ID to begin at; set to that of the HWPT
 *
 * Context: the lock of the array of objects is held.
 * Return: the HWPT, which stays as long as the lock is held, or NULL.
 */
struct iommufd_hwpt_paging *iommufd_luo_next_locked(struct iommufd_ctx *ictx, unsigned long *id)
{
	struct iommufd_hwpt_paging *hwpt;
	struct iommufd_object *obj;

	lockdep_assert_held(&ictx->objects.xa_lock);
	xa_for_each_start(&ictx->objects, *id, obj, *id) {
		if (obj->type != IOMMUFD_OBJ_HWPT_PAGING)
			continue;
		hwpt = container_of(obj, struct iommufd_hwpt_paging, common.obj);
		if (hwpt->luo.marked)
			return hwpt;
	}
	return NULL;
}

/**
 * iommufd_luo_next - the same for those who hold a reference on each of them
 * @ictx: the context
 * @id: the ID to begin at; set to that of the HWPT
 *
 * Return: the HWPT or NULL.
 */
struct iommufd_hwpt_paging *iommufd_luo_next(struct iommufd_ctx *ictx, unsigned long *id)
{
	struct iommufd_hwpt_paging *hwpt;

	xa_lock(&ictx->objects);
	hwpt = iommufd_luo_next_locked(ictx, id);
	xa_unlock(&ictx->objects);
	return hwpt;
}

/* The HWPT that has a label; it stays as long as the lock is held. */
static struct iommufd_hwpt_paging *iommufd_luo_find_locked(struct iommufd_ctx *ictx, u32 label)
{
	struct iommufd_hwpt_paging *hwpt;

	for (unsigned long id = 0; (hwpt = iommufd_luo_next_locked(ictx, &id)); id++)
		if (hwpt->luo.label == label)
			return hwpt;
	return NULL;
}

static int iommufd_luo_refuse_mark(u32 id, const char *why, int err)
{
	pr_warn_ratelimited("HWPT %u cannot be marked: it %s\n", id, why);
	return err;
}

static int iommufd_luo_check_hwpt(struct iommufd_hwpt_paging *hwpt)
{
	u32 id = hwpt->common.obj.id;

	if (hwpt->auto_domain)
		return iommufd_luo_refuse_mark(id, "was made by an attachment", -EINVAL);
	if (hwpt->nest_parent)
		return iommufd_luo_refuse_mark(id, "is the parent of nested ones", -EOPNOTSUPP);
	if (hwpt->common.fault)
		return iommufd_luo_refuse_mark(id, "delivers faults", -EOPNOTSUPP);
	if (hwpt->common.domain->dirty_ops)
		return iommufd_luo_refuse_mark(id, "tracks dirty pages", -EOPNOTSUPP);
	return 0;
}

static int iommufd_luo_set_mark(struct iommufd_ctx *ictx, struct iommufd_hwpt_paging *hwpt,
				u32 label)
{
	int ret = 0;

	guard(mutex)(&ictx->luo.lock);
	if (ictx->luo.preserved)
		return -EBUSY;
	if (hwpt->luo.marked)
		return hwpt->luo.label == label ? 0 : -EEXIST;
	/* The label of one that came in is taken, whether it is there yet or not. */
	if (iommufd_luo_find_in(ictx, label))
		return -EADDRINUSE;

	/* The lock of the array holds off that one of them is freed. */
	xa_lock(&ictx->objects);
	if (iommufd_luo_find_locked(ictx, label)) {
		ret = -EADDRINUSE;
	} else {
		hwpt->luo.label = label;
		hwpt->luo.marked = true;
	}
	xa_unlock(&ictx->objects);
	return ret;
}

/**
 * iommufd_liveupdate_mark() - IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE
 * @ucmd: The command, a struct iommu_hwpt_liveupdate_mark_preserve
 *
 * Context: ioctl.
 * Return: 0 or an errno, see include/uapi/linux/iommufd_liveupdate.h.
 */
int iommufd_liveupdate_mark(struct iommufd_ucmd *ucmd)
{
	struct iommu_hwpt_liveupdate_mark_preserve *cmd = ucmd->cmd;
	struct iommufd_hwpt_paging *hwpt;
	struct iommufd_object *obj;
	int ret;

	obj = iommufd_get_object(ucmd->ictx, cmd->hwpt_id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(obj))
		return PTR_ERR(obj);

	if (obj->type == IOMMUFD_OBJ_HWPT_NESTED) {
		ret = iommufd_luo_refuse_mark(obj->id, "is nested", -EOPNOTSUPP);
	} else if (obj->type != IOMMUFD_OBJ_HWPT_PAGING) {
		ret = -ENOENT;
	} else {
		hwpt = container_of(obj, struct iommufd_hwpt_paging, common.obj);
		ret = iommufd_luo_check_hwpt(hwpt);
		if (!ret)
			ret = iommufd_luo_set_mark(ucmd->ictx, hwpt, cmd->label);
	}
	iommufd_put_object(ucmd->ictx, obj);
	return ret;
}

/**
 * iommufd_liveupdate_get_id() - IOMMU_LIVEUPDATE_GET_ID
 * @ucmd: The command, a struct iommu_liveupdate_get_id
 *
 * Context: ioctl.
 * Return: 0 or an errno, see include/uapi/linux/iommufd_liveupdate.h.
 */
int iommufd_liveupdate_get_id(struct iommufd_ucmd *ucmd)
{
	struct iommu_liveupdate_get_id *cmd = ucmd->cmd;
	struct iommufd_luo_in_hwpt *in;
	struct iommufd_hwpt_paging *hwpt;
	int ret = -ENOENT;

	guard(mutex)(&ucmd->ictx->luo.lock);
	in = iommufd_luo_find_in(ucmd->ictx, cmd->label);
	if (in && !in->hwpt) {
		cmd->out_ioas_id = in->ioas->obj.id;
		cmd->out_hwpt_id = 0;
		return iommufd_ucmd_respond(ucmd, sizeof(*cmd));
	}

	xa_lock(&ucmd->ictx->objects);
	hwpt = iommufd_luo_find_locked(ucmd->ictx, cmd->label);
	if (hwpt) {
		cmd->out_ioas_id = hwpt->ioas->obj.id;
		cmd->out_hwpt_id = hwpt->common.obj.id;
		ret = 0;
	}
	xa_unlock(&ucmd->ictx->objects);
	return ret ?: iommufd_ucmd_respond(ucmd, sizeof(*cmd));
}
