// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: preserving.
 */

/**
 * DOC: memfd_luo
 *
 * A memfd (on shmem) is carried over a kexec with contents, size, position and
 * seals, while it is in use until the last moment. Its pages stay where they are
 * in memory; what the next kernel gets besides is a record with a line for every
 * folio of the page cache, include/linux/kho/abi/memfd.h.
 *
 * **Preserve.** The inode is marked first. From then on the file neither grows
 * nor shrinks: truncate, fallocate, hole punch and writes that would move its end
 * are refused with ``-EPERM``. Then the page cache is walked in ascending order, by
 * what it holds and not by index, so that holes cost nothing. Folios in swap are
 * brought in, folios in movable memory (scratch is such) are migrated out of it,
 * and every folio is preserved, recorded, and keeps one more reference, because of
 * which nobody can migrate, split, collapse or reclaim it. The mapping is made
 * unevictable for as long, so that reclaim does not try in vain.
 *
 * **Folios that come later.** Holes can still be filled: by page faults, writes,
 * userfaultfd. Where a folio enters the page cache, shmem calls
 * memfd_luo_folio_ready(), which preserves and records it before anybody sees it,
 * or fails the fault or write. Allocation avoids movable memory then, see
 * memfd_luo_gfp(). ``cursor`` divides the work: a folio below it is the hook's, a
 * folio at or above it is still to be found by the walk, of which it is the
 * position.
 *
 * **Not up to date.** A folio from fallocate(2) that was never written has no
 * contents yet. The record says so, and remembers it in ``stale``, by which
 * freeze() finds these folios, and no others, to look again.
 *
 * **Freeze.** Size, seals and position are read, and can no longer change, nor can
 * write(2) be used. Mapped memory is carried as it is when the CPUs stop: what is
 * written there, even into a hole, reaches the next kernel, as a page and its
 * record are complete before the fault returns.
 *
 * Locks, outermost first:
 *
 * - ``i_rwsem`` of the inode: the mark is set and cleared, and ``frozen`` changes,
 *   under it. Truncate, fallocate, write(2) and F_ADD_SEALS hold it, so they are
 *   either over or see the mark.
 *   The walk takes it to keep write(2) off folios that it could not migrate at
 *   once.
 * - The folio lock. The hook is called with it. The walk does not wait for it under
 *   ``lock``; whoever holds it may be about to replace the folio without looking at
 *   the reference count again, so the walk lets go and waits.
 * - &memfd_luo.lock protects the members of &struct memfd_luo and the record.
 * - The lock of &struct shmem_inode_info protects its pointer ``luo`` to the
 *   &struct memfd_luo. shmem takes it between adding a folio and calling the hook,
 *   in shmem_recalc_inode(), and preserve() takes it between setting the mark and
 *   the walk. So a folio that the hook did not care for, as there was no mark, is
 *   seen by the walk.
 *
 * &memfd_luo.users counts the owner and the hooks at work.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/memfd_luo.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "memfd_luo.h"

static struct memfd_luo *memfd_luo_get(struct inode *inode)
{
	struct shmem_inode_info *info = SHMEM_I(inode);
	struct memfd_luo *m;

	spin_lock(&info->lock);
	m = info->luo;
	if (m)
		refcount_inc(&m->users);
	spin_unlock(&info->lock);
	return m;
}

static void memfd_luo_put(struct memfd_luo *m)
{
	if (!refcount_dec_and_test(&m->users))
		return;
	free_uid(m->user);
	mutex_destroy(&m->lock);
	kfree(m);
}

static int memfd_luo_check_seals(struct inode *inode)
{
	unsigned int unknown = READ_ONCE(SHMEM_I(inode)->seals) & ~MEMFD_LUO_SEALS;

	if (!unknown)
		return 0;
	pr_err_ratelimited("a memfd has unknown seals %#x\n", unknown);
	return -EOPNOTSUPP;
}

/*
 * Set the mark: from here on the size is fixed, and new folios go through the hook.
 */
static int mark_inode(struct memfd_luo *m)
{
	struct inode *inode = m->inode;
	struct shmem_inode_info *info = SHMEM_I(inode);
	int err;

	guard(rwsem_write)(&inode->i_rwsem);

	if (info->luo)
		return -EBUSY;
	err = memfd_luo_check_seals(inode);
	if (err)
		return err;

	scoped_guard(spinlock, &info->lock)
		WRITE_ONCE(info->luo, m);
	/* For memfd_luo_folio_added(), which has no lock in common with this. */
	smp_mb();

	m->unevictable = !mapping_unevictable(inode->i_mapping);
	if (m->unevictable)
		mapping_set_unevictable(inode->i_mapping);
	return 0;
}

static void unmark_inode(struct memfd_luo *m)
{
	struct inode *inode = m->inode;
	struct shmem_inode_info *info = SHMEM_I(inode);

	guard(rwsem_write)(&inode->i_rwsem);
	guard(mutex)(&m->lock);

	scoped_guard(spinlock, &info->lock)
		WRITE_ONCE(info->luo, NULL);
	m->inode = NULL;
	if (m->unevictable)
		mapping_clear_unevictable(inode->i_mapping);
}

static void memfd_luo_destroy(struct memfd_luo *m)
{
	memfd_luo_drop_folios(m);
	memfd_luo_writer_close(&m->writer);
	memfd_luo_put(m);
}

/**
 * memfd_luo_memlock_limit - how many pages may the caller lock?
 *
 * Context: process context.
 * Return: number of pages, LONG_MAX if there is no limit.
 */
unsigned long memfd_luo_memlock_limit(void)
{
	if (rlimit(RLIMIT_MEMLOCK) == RLIM_INFINITY || capable(CAP_IPC_LOCK))
		return LONG_MAX;
	return rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

static struct memfd_luo *memfd_luo_create(struct inode *inode)
{
	struct memfd_luo *m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	int err;

	if (!m)
		return ERR_PTR(-ENOMEM);

	mutex_init(&m->lock);
	refcount_set(&m->users, 1);
	INIT_LIST_HEAD(&m->stale);
	m->inode = inode;
	m->user = get_uid(current_user());
	m->memlock_limit = memfd_luo_memlock_limit();

	err = memfd_luo_writer_open(&m->writer, sizeof(struct memfd_luo_ser));
	if (err) {
		memfd_luo_put(m);
		return ERR_PTR(err);
	}
	return m;
}

static bool memfd_luo_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	struct inode *inode = file_inode(file);

	/*
	 * A memfd is a file without a name on the kernel's own mount, but not one
	 * that the kernel keeps for itself, as that of a System V segment. Files of
	 * a mounted tmpfs are reached by a path, which is not carried over.
	 */
	return shmem_file(file) && S_ISREG(inode->i_mode) && !inode->i_nlink &&
	       (inode->i_sb->s_flags & SB_KERNMOUNT) && !IS_PRIVATE(inode);
}

/**
 * memfd_luo_check - what can be told of a memfd before its folios are looked at
 * @file: the file, which memfd_luo_can_preserve() takes
 *
 * Context: any.
 * Return: 0, or the errno that preserve() fails with.
 */
int memfd_luo_check(struct file *file)
{
	/* The file that the next kernel makes can be read and written. */
	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE)) {
		pr_err_ratelimited("a memfd is not open for reading and writing\n");
		return -EPERM;
	}
	return memfd_luo_check_seals(file_inode(file));
}

static int memfd_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct file *file = args->file;
	struct inode *inode = file_inode(file);
	struct memfd_luo *m;
	int err;

	err = memfd_luo_check(file);
	if (err)
		return err;

	m = memfd_luo_create(inode);
	if (IS_ERR(m))
		return PTR_ERR(m);

	err = mark_inode(m);
	if (err) {
		memfd_luo_destroy(m);
		return err;
	}

	err = memfd_luo_preserve_folios(m);
	if (err) {
		unmark_inode(m);
		memfd_luo_destroy(m);
		shmem_unlock_mapping(inode->i_mapping);
		return err;
	}

	args->private_data = m;
	args->serialized_data = virt_to_phys(m->writer.ser);
	return 0;
}

static void memfd_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *m = args->private_data;

	unmark_inode(m);
	memfd_luo_destroy(m);
	shmem_unlock_mapping(args->file->f_mapping);
}

/*
 * Mainline makes every memfd executable before it sets the seals, and F_SEAL_EXEC on
 * an executable file adds the seals against writing.
 */
static void memfd_luo_warn_mainline(u32 seals)
{
	if (seals & F_SEAL_EXEC &&
	    (seals & MEMFD_LUO_WRITE_SEALS) != MEMFD_LUO_WRITE_SEALS &&
	    !liveupdate_next_has_record())
		pr_warn_once("a memfd with F_SEAL_EXEC comes out of a mainline kernel sealed against writing\n");
}

static int memfd_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *m = args->private_data;
	struct inode *inode = file_inode(args->file);
	struct memfd_luo_ser *ser = m->writer.ser;

	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;

	scoped_guard(mutex, &m->lock) {
		memfd_luo_refresh(m);
		ser->pos = args->file->f_pos;
		ser->size = i_size_read(inode);
		ser->seals = SHMEM_I(inode)->seals;
		m->frozen = true;
	}
	inode_unlock(inode);
	memfd_luo_warn_mainline(ser->seals);
	return 0;
}

static void memfd_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *m = args->private_data;

	guard(rwsem_write)(&file_inode(args->file)->i_rwsem);
	guard(mutex)(&m->lock);
	m->frozen = false;
}

static unsigned long memfd_luo_get_id(struct file *file)
{
	return (unsigned long)file_inode(file);
}

/* memfd_luo_folio_ready() for a file that has the mark. */
int __memfd_luo_folio_ready(struct inode *inode, struct folio *folio, bool added)
{
	struct memfd_luo *m = memfd_luo_get(inode);
	int err = 0;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);

	if (!m)
		return 0;

	mutex_lock(&m->lock);
	if (!m->inode || folio->index >= m->cursor) {
		/* Given up in the meantime, or still to be found by the walk. */
	} else if (!added) {
		if (m->frozen && folio_test_uptodate(folio))
			memfd_luo_set_uptodate(m, folio);
	} else if (m->frozen && !folio_test_uptodate(folio)) {
		err = -EPERM;
	} else {
		err = memfd_luo_add_folio(m, folio);
	}
	mutex_unlock(&m->lock);

	memfd_luo_put(m);
	return err;
}

/* memfd_luo_folio_gone() for a file that has the mark. */
void __memfd_luo_folio_gone(struct inode *inode, struct folio *folio)
{
	struct memfd_luo *m = memfd_luo_get(inode);

	if (!m)
		return;

	scoped_guard(mutex, &m->lock) {
		if (m->inode && folio->index < m->cursor)
			memfd_luo_remove_folio(m, folio);
	}
	memfd_luo_put(m);
}

/* memfd_luo_may_write() for a file that has the mark. */
int __memfd_luo_may_write(struct inode *inode, loff_t end)
{
	struct memfd_luo *m = SHMEM_I(inode)->luo;

	lockdep_assert_held(&inode->i_rwsem);

	return m->frozen || end > i_size_read(inode) ? -EPERM : 0;
}

/* memfd_luo_may_seal() for a file that has the mark. */
int __memfd_luo_may_seal(struct inode *inode)
{
	lockdep_assert_held(&inode->i_rwsem);

	return SHMEM_I(inode)->luo->frozen ? -EPERM : 0;
}

static const struct liveupdate_file_ops memfd_luo_ops = {
	.can_preserve = memfd_luo_can_preserve,
	.preserve = memfd_luo_preserve,
	.unpreserve = memfd_luo_unpreserve,
	.freeze = memfd_luo_freeze,
	.unfreeze = memfd_luo_unfreeze,
	.retrieve = memfd_luo_retrieve,
	.finish = memfd_luo_finish,
	.get_id = memfd_luo_get_id,
	.owner = THIS_MODULE,
	.stat = memfd_luo_stat,
	/*
	 * No discard(): memory does no harm. What is never claimed is not carried on,
	 * and to free it right before a kexec would only cost time.
	 */
};

static struct liveupdate_file_handler memfd_luo_handler = {
	.ops = &memfd_luo_ops,
	.compatible = MEMFD_LUO_COMPATIBLE,
};

static int __init memfd_luo_init(void)
{
	int err;

	if (!liveupdate_enabled())
		return 0;

	err = liveupdate_register_file_handler(&memfd_luo_handler);
	if (err)
		pr_err("cannot register with the live update orchestrator: %pe\n", ERR_PTR(err));
	return err;
}
late_initcall(memfd_luo_init);
