/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Call-outs of shmem and memfd to the live update of memfds.
 */
#ifndef _LINUX_MEMFD_LUO_H
#define _LINUX_MEMFD_LUO_H

#include <linux/shmem_fs.h>

#ifdef CONFIG_IOMMUFD_LIVEUPDATE
bool memfd_luo_has_pins(struct inode *inode);
bool memfd_luo_is_retrieved(struct file *file);
bool memfd_luo_take_pins(struct file *file, pgoff_t first, unsigned long nr);
void memfd_luo_give_pins(struct file *file, pgoff_t first, unsigned long nr);
#else
static inline bool memfd_luo_has_pins(struct inode *inode)
{
	return false;
}
#endif

#ifdef CONFIG_LIVEUPDATE_MEMFD

int __memfd_luo_folio_ready(struct inode *inode, struct folio *folio, bool added);
void __memfd_luo_folio_gone(struct inode *inode, struct folio *folio);
int __memfd_luo_may_write(struct inode *inode, loff_t end);
int __memfd_luo_may_seal(struct inode *inode);

/**
 * memfd_luo_preserved - Is a file preserved for the next kernel?
 * @inode: a shmem inode
 *
 * Context: Any. The answer is stable for those who hold the i_rwsem of @inode.
 * Return: true from PRESERVE_FD on until the session is given up.
 */
static inline bool memfd_luo_preserved(struct inode *inode)
{
	return unlikely(READ_ONCE(SHMEM_I(inode)->luo));
}

/**
 * memfd_luo_holds_pages - must a file keep the pages that it has?
 * @inode: a shmem inode
 *
 * Context: The i_rwsem of @inode is held.
 * Return: true if it is preserved, or came in with pages that a device is using and was
 * not finished.
 */
static inline bool memfd_luo_holds_pages(struct inode *inode)
{
	return memfd_luo_preserved(inode) || memfd_luo_has_pins(inode);
}

/**
 * memfd_luo_gfp - where the folios of a file may come from
 * @inode: a shmem inode
 * @gfp: allocation flags
 *
 * The folios of a preserved file stay where they are, so they must not be taken
 * from memory that is meant for movable pages, which the scratch areas of KHO are.
 *
 * Context: Any.
 * Return: @gfp, without __GFP_MOVABLE if @inode is preserved.
 */
static inline gfp_t memfd_luo_gfp(struct inode *inode, gfp_t gfp)
{
	return memfd_luo_preserved(inode) ? gfp & ~__GFP_MOVABLE : gfp;
}

/**
 * memfd_luo_folio_ready - a folio was added to the page cache or filled
 * @inode: a shmem inode
 * @folio: its folio
 * @added: whether @folio is new in the page cache, else it became up to date
 *
 * shmem_recalc_inode() must have been called since @folio was added.
 *
 * Context: @folio is locked. May sleep.
 * Return: 0 if @inode is not preserved, or @folio is now. -EAGAIN if @folio must be
 * allocated again, with memfd_luo_gfp(). Any other errno if @folio cannot be
 * preserved and must not stay in the page cache.
 */
static inline int memfd_luo_folio_ready(struct inode *inode, struct folio *folio,
					bool added)
{
	return memfd_luo_preserved(inode) ?
		__memfd_luo_folio_ready(inode, folio, added) : 0;
}

/**
 * memfd_luo_folio_added - a folio was added to the page cache
 * @inode: a shmem inode
 * @folio: its folio
 *
 * Like memfd_luo_folio_ready(), for callers that get here without a call to
 * shmem_recalc_inode().
 *
 * Context: @folio is locked. May sleep.
 * Return: As memfd_luo_folio_ready().
 */
static inline int memfd_luo_folio_added(struct inode *inode, struct folio *folio)
{
	/* The walk of preserve() sees @folio, or we see that it has begun. */
	smp_mb();
	return memfd_luo_folio_ready(inode, folio, true);
}

/**
 * memfd_luo_folio_gone - a folio that was added leaves the page cache again
 * @inode: a shmem inode
 * @folio: its folio, for which memfd_luo_folio_added() returned 0
 *
 * Context: @folio is locked, and has been since it was added. May sleep.
 */
static inline void memfd_luo_folio_gone(struct inode *inode, struct folio *folio)
{
	if (memfd_luo_preserved(inode))
		__memfd_luo_folio_gone(inode, folio);
}

/**
 * memfd_luo_may_write - May write(2) change a file?
 * @inode: a shmem inode
 * @end: where the write ends, in bytes
 *
 * Context: The i_rwsem of @inode is held.
 * Return: 0, or -EPERM if @inode is frozen, or preserved and would grow.
 */
static inline int memfd_luo_may_write(struct inode *inode, loff_t end)
{
	return memfd_luo_preserved(inode) ? __memfd_luo_may_write(inode, end) : 0;
}

/**
 * memfd_luo_may_seal - May seals be added to a file?
 * @inode: a shmem or hugetlbfs inode
 *
 * Context: The i_rwsem of @inode is held.
 * Return: 0, or -EPERM if @inode is frozen.
 */
static inline int memfd_luo_may_seal(struct inode *inode)
{
	return shmem_mapping(inode->i_mapping) && memfd_luo_preserved(inode) ?
		__memfd_luo_may_seal(inode) : 0;
}

#else /* CONFIG_LIVEUPDATE_MEMFD */

static inline bool memfd_luo_preserved(struct inode *inode)
{
	return false;
}

static inline bool memfd_luo_holds_pages(struct inode *inode)
{
	return false;
}

static inline gfp_t memfd_luo_gfp(struct inode *inode, gfp_t gfp)
{
	return gfp;
}

static inline int memfd_luo_folio_ready(struct inode *inode, struct folio *folio,
					bool added)
{
	return 0;
}

static inline int memfd_luo_folio_added(struct inode *inode, struct folio *folio)
{
	return 0;
}

static inline void memfd_luo_folio_gone(struct inode *inode, struct folio *folio)
{
}

static inline int memfd_luo_may_write(struct inode *inode, loff_t end)
{
	return 0;
}

static inline int memfd_luo_may_seal(struct inode *inode)
{
	return 0;
}

#endif /* CONFIG_LIVEUPDATE_MEMFD */

#endif /* _LINUX_MEMFD_LUO_H */
