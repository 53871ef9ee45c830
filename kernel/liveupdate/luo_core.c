// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the device, its ioctls, and how it comes up.
 */

/**
 * DOC: LUO core
 *
 * The Live Update Orchestrator (LUO) carries open files across a kexec. It is a
 * user of KHO: that keeps memory, LUO knows what the memory means. The parts are
 *
 * ==================  =====================================================
 * ``luo_core.c``      ``/dev/liveupdate``, dispatch of ioctls, start of all this
 * ``luo_session.c``   sessions, outgoing and incoming
 * ``luo_file.c``      files of a session: preserve, retrieve, finish
 * ``luo_handover.c``  files of a session: freeze, write, read
 * ``luo_handler.c``   who takes care of which kind of file; what is preserved
 * ``luo_flb.c``       state that several files share
 * ``luo_call.c``      calls of handlers, traced and counted
 * ``luo_depend.c``    which file depends on which
 * ``luo_query.c``     ioctls that list what there is, and the dry run
 * ``luo_phases.c``    where the time of a live update goes
 * ``luo_debugfs.c``   /sys/kernel/debug/liveupdate
 * ``luo_reboot.c``    from reboot() to the jump
 * ``luo_fence.c``     devices that are stopped since nobody comes for them
 * ``luo_policy.c``    when that is to happen, from one kernel to the next
 * ``luo_block.c``     lists of records in memory that crosses the kexec
 * ``luo_slots.c``     the same, for records that are kept up to date
 * ==================  =====================================================
 *
 * At boot the one struct that the previous kernel left is found and its sessions
 * are listed; their files are read when a session is claimed. The struct for
 * the next kernel is made at the same time, so that reboot() has nothing to
 * allocate.
 *
 * Locks, in the order in which they nest:
 *
 * 1. luo_freeze_lock protects what is frozen. Everything that changes a session
 *    holds it for reading; reboot() holds it for writing from its first check to
 *    the jump, or until it has failed. User memory is never touched with it.
 * 2. liveupdate_session.lock protects a session and its files.
 * 3. luo_session_set.lock protects a set of sessions, its names, and who
 *    holds an incoming session.
 * 4. luo_handlers_lock, luo_objects_lock: see luo_handler.c. Taken with the lock
 *    of a session held.
 * 5. Those of FLBs: see luo_flb.c.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kstrtox.h>
#include <linux/miscdevice.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "luo_internal.h"

DECLARE_RWSEM(luo_freeze_lock);
struct workqueue_struct *luo_release_wq;

static bool luo_on __ro_after_init = LIVEUPDATE_ON_BY_DEFAULT;

/* Live updates since cold boot. */
static u64 luo_num __ro_after_init;

/* There is one opener of the device at a time. */
static atomic_t luo_device_open = ATOMIC_INIT(0);

static int __init luo_early_param(char *arg)
{
	return kstrtobool(arg, &luo_on);
}
early_param("liveupdate", luo_early_param);

/**
 * liveupdate_enabled - Can this kernel be replaced with files carried over?
 *
 * Context: any, after early parameters are parsed and KHO is set up.
 * Return: true if live update was asked for (``liveupdate=on``) and there is KHO.
 */
bool liveupdate_enabled(void)
{
	return luo_on && kho_is_enabled();
}
EXPORT_SYMBOL_GPL(liveupdate_enabled);

static const struct luo_ioctl_op *luo_ioctl_find(const struct luo_ioctl_op *ops,
						 unsigned int nr_ops, unsigned int cmd)
{
	const struct luo_ioctl_op *op;

	for (op = ops; op < ops + nr_ops; op++) {
		if (op->cmd == cmd)
			return op;
	}
	return NULL;
}

static int luo_ioctl_execute(const struct luo_ioctl_op *op, struct luo_ucmd *ucmd)
{
	int ret = down_read_killable(&luo_freeze_lock);

	if (ret)
		return ret;
	ret = op->execute(ucmd);
	up_read(&luo_freeze_lock);

	atomic64_inc(&op->stat->calls);
	if (ret)
		atomic64_inc(&op->stat->failures);
	return ret;
}

/*
 * Hand the result to user space. If that fails with a file in it, the file is put:
 * a new session is gone then, a claimed one is back, and a retrieved file can be
 * asked for again.
 */
static int luo_ioctl_answer(const struct luo_ioctl_op *op, struct luo_ucmd *ucmd,
			    void __user *uptr, u32 user_size)
{
	struct file *file __free(fput) = ucmd->file;
	size_t size = min_t(size_t, user_size, op->size);

	CLASS(get_unused_fd, fd)(O_CLOEXEC);
	if (fd < 0)
		return fd;

	*(s32 *)(ucmd->cmd + LUO_UCMD_FD) = fd;
	if (copy_to_user(uptr, ucmd->cmd, size))
		return -EFAULT;
	luo_session_given(file);
	fd_install(take_fd(fd), no_free_ptr(file));
	return 0;
}

/**
 * luo_ioctl - do an ioctl
 * @ops: what can be asked for
 * @nr_ops: number of @ops
 * @session: what it is asked of, or NULL for the device
 * @cmd: what is asked for
 * @arg: pointer to the user's struct
 *
 * Return: 0 or the errno for user space, see include/uapi/linux/liveupdate.h.
 */
long luo_ioctl(const struct luo_ioctl_op *ops, unsigned int nr_ops,
	       struct liveupdate_session *session, unsigned int cmd, unsigned long arg)
{
	const struct luo_ioctl_op *op = luo_ioctl_find(ops, nr_ops, cmd);
	u8 buf[LUO_UCMD_SIZE] __aligned(8) = {};
	struct luo_ucmd ucmd = { .cmd = buf, .session = session };
	void __user *uptr = (void __user *)arg;
	u32 user_size;
	int ret;

	if (!op)
		return -ENOTTY;
	if (get_user(user_size, (u32 __user *)uptr))
		return -EFAULT;
	if (user_size < op->min_size)
		return -EINVAL;
	ret = copy_struct_from_user(buf, op->size, uptr, user_size);
	if (ret)
		return ret;

	ret = luo_ioctl_execute(op, &ucmd);
	if (ret)
		return ret;
	if (op->flags & LUO_IOCTL_FD)
		return luo_ioctl_answer(op, &ucmd, uptr, user_size);
	if (op->flags & LUO_IOCTL_OUT &&
	    copy_to_user(uptr, buf, min_t(size_t, user_size, op->size)))
		return -EFAULT;
	return 0;
}

static const struct luo_ioctl_op luo_device_ioctl_ops[] = {
	LUO_IOCTL(LIVEUPDATE_IOCTL_CREATE_SESSION, luo_session_create,
		  struct liveupdate_ioctl_create_session, name, LUO_IOCTL_FD),
	LUO_IOCTL(LIVEUPDATE_IOCTL_RETRIEVE_SESSION, luo_session_retrieve,
		  struct liveupdate_ioctl_retrieve_session, name, LUO_IOCTL_FD),
	LUO_IOCTL(LIVEUPDATE_IOCTL_NEXT_SESSION, luo_query_next_session,
		  struct liveupdate_ioctl_next_session, nr_files, LUO_IOCTL_OUT),
};

static_assert(offsetof(struct liveupdate_ioctl_create_session, fd) == LUO_UCMD_FD);
static_assert(offsetof(struct liveupdate_ioctl_retrieve_session, fd) == LUO_UCMD_FD);
static_assert(offsetof(struct liveupdate_session_retrieve_fd, fd) == LUO_UCMD_FD);

/**
 * luo_ioctl_stats_show - write a line about each ioctl
 * @s: where to
 * @ops: the ioctls
 * @nr_ops: number of them
 */
void luo_ioctl_stats_show(struct seq_file *s, const struct luo_ioctl_op *ops,
			  unsigned int nr_ops)
{
	const struct luo_ioctl_op *op;

	for (op = ops; op < ops + nr_ops; op++)
		seq_printf(s, "ioctl=%s calls=%lld failures=%lld\n", op->name,
			   atomic64_read(&op->stat->calls), atomic64_read(&op->stat->failures));
}

/**
 * luo_device_stats_show - write a line about each ioctl of the device
 * @s: where to
 */
void luo_device_stats_show(struct seq_file *s)
{
	luo_ioctl_stats_show(s, luo_device_ioctl_ops, ARRAY_SIZE(luo_device_ioctl_ops));
}

static int luo_device_fop_open(struct inode *inode, struct file *file)
{
	if (atomic_cmpxchg(&luo_device_open, 0, 1))
		return -EBUSY;
	return 0;
}

static int luo_device_fop_release(struct inode *inode, struct file *file)
{
	atomic_set(&luo_device_open, 0);
	return 0;
}

static long luo_device_fop_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return luo_ioctl(luo_device_ioctl_ops, ARRAY_SIZE(luo_device_ioctl_ops),
			 NULL, cmd, arg);
}

static const struct file_operations luo_device_fops = {
	.owner = THIS_MODULE,
	.open = luo_device_fop_open,
	.release = luo_device_fop_release,
	.unlocked_ioctl = luo_device_fop_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice luo_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "liveupdate",
	.fops = &luo_device_fops,
	.mode = 0600,
};

/* Returns what is wrong with what the previous kernel left, or NULL. */
static const char *luo_read_ser(struct luo_ser *ser, phys_addr_t phys, size_t size)
{
	if (size < sizeof(*ser))
		return "too short";
	if (!kho_incoming_range(phys, sizeof(*ser)))
		return "not in preserved memory";

	memcpy(ser, phys_to_virt(phys), sizeof(*ser));
	if (strncmp(ser->compatible, LUO_COMPATIBLE, sizeof(ser->compatible)))
		return "of an unknown format";
	return NULL;
}

/**
 * luo_find_ser - find what the previous kernel left
 * @ser: set to a copy of it
 * @phys: set to where it is
 * @size: set to its size in bytes
 *
 * To be found until luo_load() has freed it. Says nothing; that does luo_load().
 *
 * Context: any, after kho_take_over_map().
 * Return: 0, or a negative errno if there is nothing that could be read.
 */
int luo_find_ser(struct luo_ser *ser, phys_addr_t *phys, size_t *size)
{
	int ret = kho_retrieve_subtree(LUO_SUBTREE, phys, size);

	if (!ret && luo_read_ser(ser, *phys, *size))
		ret = -EBADMSG;
	return ret;
}

/* What cannot be read is left where it is, and its memory with it. */
static void __init luo_load(void)
{
	struct luo_ser ser = {};
	const char *fault;
	phys_addr_t phys;
	size_t size;
	int ret;

	ret = kho_retrieve_subtree(LUO_SUBTREE, &phys, &size);
	if (ret) {
		if (ret != -ENOENT)
			pr_err("cannot find what the previous kernel left: %pe\n",
			       ERR_PTR(ret));
		return;
	}

	fault = luo_read_ser(&ser, phys, size);
	if (fault) {
		pr_err("what the previous kernel left is %s (format '%*pE', %zu bytes at %pa)\n",
		       fault, (int)strnlen(ser.compatible, sizeof(ser.compatible)),
		       ser.compatible, size, &phys);
		return;
	}

	luo_num = ser.liveupdate_num;
	luo_sessions_load(&luo_incoming, &luo_kho_block_ops, ser.sessions_pa);
	luo_policies_load();
	if (!luo_flbs_load(ser.flbs_pa) && kho_incoming_order(phys) >= 0)
		kho_restore_free(phys_to_virt(phys));
	pr_info("live update %llu since cold boot brought %lu sessions\n",
		luo_num, luo_incoming.count);
}

static int __init luo_start(void)
{
	struct luo_ser *ser;
	int ret;

	luo_release_wq = alloc_workqueue("luo_release", WQ_UNBOUND, 1);
	if (!luo_release_wq)
		return -ENOMEM;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser)) {
		ret = PTR_ERR(ser);
		goto err_destroy_wq;
	}
	strscpy_pad(ser->compatible, LUO_COMPATIBLE);

	ret = kho_add_subtree(LUO_SUBTREE, ser, sizeof(*ser));
	if (ret)
		goto err_free;

	luo_load();
	luo_phases_init();
	ser->liveupdate_num = luo_num + 1;
	luo_reboot_init(ser);

	/* Sessions have come in; without the device they are out of reach. */
	ret = misc_register(&luo_device);
	if (ret)
		goto err_remove_subtree;
	luo_fence_init();
	return 0;

err_remove_subtree:
	kho_remove_subtree(ser);
err_free:
	kho_unpreserve_free(ser);
err_destroy_wq:
	destroy_workqueue(luo_release_wq);
	return ret;
}

static int __init luo_init(void)
{
	int ret;

	if (!luo_on)
		return 0;

	if (!kho_is_enabled()) {
		pr_warn("liveupdate=on needs kho=on\n");
		luo_on = false;
		return 0;
	}

	ret = luo_start();
	if (ret) {
		pr_err("cannot start: %pe\n", ERR_PTR(ret));
		luo_on = false;
	}
	return ret;
}
late_initcall(luo_init);
