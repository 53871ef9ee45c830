// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd: memory that is named by a file instead of by an address.
 */

/**
 * DOC: iommufd file pages
 *
 * An iopt_pages has one of two sources. The first is user memory: an mm_struct
 * and &iopt_pages.uptr. The second, which this file adds, is a file of shmem or
 * hugetlbfs and &iopt_pages.file_start. It serves IOMMU_IOAS_MAP_FILE, and a live
 * update, after which there is no address that could name the memory.
 *
 * pages.c asks for the source in few places: where a page is pinned, where an
 * access reads or writes without a pin, and where an iopt_pages goes away. All that
 * comes after the pin (xarray, domains, batches, carry, unpin) sees PFNs and cannot
 * tell the one from the other.
 *
 * **Pins.** memfd_pin_folios() takes one pin on each folio, but pages.c gives
 * pins back one by one for each page. So iopt_pin_file_pages() adds what is
 * missing.
 *
 * **Contents.** fallocate(2) leaves folios in a shmem file that were never cleared;
 * shmem clears them at their first use by a fault or a read, which it recognizes
 * by the uptodate flag. A pin is a use: without clearing, a device would read what
 * others left there, and what it wrote would be wiped out by the next fault.
 *
 * **Holes.** memfd_pin_folios() fills them. In hugetlbfs it takes a page from the
 * reservations of the pool, and takes for granted that the file has made one, as
 * mmap(2) does; without, it would eat up those of others or underflow their number.
 * So holes of hugetlbfs are filled here, by the fallocate of the filesystem, which
 * keeps all its books, before memfd_pin_folios() can see one. The inode lock, which
 * holds off truncation and hole punching, is held from the look until the pin.
 *
 * **Seals.** A writeable mapping counts as one of mmap(2) that is shared and
 * writable, from the beginning to the end of its iopt_pages, whether pages are
 * pinned at the moment or not. So F_SEAL_WRITE keeps its promise.
 *
 * **Locks.** Pins are taken under &iopt_pages.mutex, like those of user memory;
 * the inode lock, page locks and those of the filesystem are taken below it. file, file_start and
 * writable do not change in the life of an iopt_pages.
 */
#define pr_fmt(fmt) "iommufd: " fmt

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/iommufd.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/vmstat.h>
#include <uapi/linux/falloc.h>
#include <uapi/linux/fcntl.h>

#include "io_pagetable.h"

/**
 * iopt_adopt_file_pages() - Describe a range of a memfd that a device uses already
 * @file: A memfd, open for reading and writing; a reference is taken
 * @start: Offset of the first byte
 * @length: Number of bytes
 * @writable: Pages may be written to
 *
 * F_SEAL_FUTURE_WRITE is no obstacle: the mapping may be older.
 *
 * Context: may sleep.
 * Return: as iopt_alloc_file_pages().
 */
struct iopt_pages *iopt_adopt_file_pages(struct file *file, u64 start,
					 u64 length, bool writable)
{
	struct iopt_pages *pages;
	u64 end;

	if (check_add_overflow(start, length, &end) || end > MAX_LFS_FILESIZE)
		return ERR_PTR(-EOVERFLOW);
	if (end > PAGE_ALIGN((u64)i_size_read(file_inode(file))))
		return ERR_PTR(-EINVAL);

	/* Rounds the start as it does an address; they share their place */
	pages = iopt_alloc_pages(u64_to_user_ptr(start), length, writable);
	if (IS_ERR(pages))
		return pages;

	/* Fails if the seal has come since */
	if (writable && mapping_map_writable(file->f_mapping)) {
		iopt_put_pages(pages);
		return ERR_PTR(-EPERM);
	}
	pages->file = get_file(file);
	return pages;
}

/**
 * iopt_alloc_file_pages() - Describe a range of a file as a source of pages
 * @file: File of shmem or hugetlbfs; a reference is taken
 * @start: Offset of the first byte
 * @length: Number of bytes
 * @writable: Pages may be written to
 *
 * Nothing is pinned yet. The range may end anywhere in the page that holds the last
 * byte of the file.
 *
 * Context: may sleep.
 * Return: the new iopt_pages, or an ERR_PTR: -EINVAL for a file of another kind or
 * a range that is empty or goes beyond the file, -EACCES if the file is not open for
 * what is asked, -EPERM if it is sealed against writing, -EOVERFLOW, -ENOMEM.
 */
struct iopt_pages *iopt_alloc_file_pages(struct file *file, u64 start,
					 u64 length, bool writable)
{
	long seals = memfd_fcntl(file, F_GET_SEALS, 0);

	if (seals < 0 || !length)
		return ERR_PTR(-EINVAL);
	if (!(file->f_mode & FMODE_READ) ||
	    (writable && !(file->f_mode & FMODE_WRITE)))
		return ERR_PTR(-EACCES);
	if (writable && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return ERR_PTR(-EPERM);
	return iopt_adopt_file_pages(file, start, length, writable);
}

/**
 * iopt_release_file() - Give up the file of an iopt_pages, if it has one
 * @pages: An iopt_pages without users
 *
 * Context: any in which fput() may be called.
 */
void iopt_release_file(struct iopt_pages *pages)
{
	if (!pages->file)
		return;
	if (pages->writable)
		mapping_unmap_writable(pages->file->f_mapping);
	fput(pages->file);
	pages->file = NULL;
}

/* The first hole of a hugetlbfs file in [start, end), or end */
static loff_t iopt_hugetlb_hole(struct file *file, loff_t start, loff_t end)
{
	loff_t size = huge_page_size(hstate_file(file)), pos;

	for (pos = round_down(start, size); pos < end; pos += size) {
		if (!xa_load(&file->f_mapping->i_pages, pos >> PAGE_SHIFT))
			return pos;
	}
	return end;
}

/* memfd_pin_folios() for a file of hugetlbfs, of the bytes in [start, end) */
static long iopt_pin_hugetlb_folios(struct file *file, loff_t start, loff_t end,
				    struct folio **folios, unsigned int max,
				    pgoff_t *offset)
{
	struct inode *inode = file_inode(file);
	int tries = 100;
	loff_t hole;
	long rc;

	while (tries--) {
		inode_lock_shared(inode);
		hole = iopt_hugetlb_hole(file, start, end);
		if (hole >= end) {
			rc = memfd_pin_folios(file, start, end - 1, folios, max,
					      offset);
			inode_unlock_shared(inode);
			return rc;
		}
		inode_unlock_shared(inode);

		if (!(file->f_mode & FMODE_WRITE))
			return -EACCES;
		rc = vfs_fallocate(file, FALLOC_FL_KEEP_SIZE, hole, end - hole);
		if (rc)
			return rc == -ENOSPC ? -ENOMEM : rc;
	}
	/* Somebody punches holes all the time */
	return -EFAULT;
}

/*
 * Make sure that a pinned folio has been cleared, or has contents. In hugetlbfs
 * those in the page cache always have, and lose the flag as they are removed from it.
 */
static int iopt_file_folio_ready(struct file *file, struct folio *folio)
{
	struct folio *found;

	if (likely(folio_test_uptodate(folio)) || is_file_hugepages(file))
		return 0;
	found = shmem_read_folio(file->f_mapping, folio->index);
	if (IS_ERR(found))
		return PTR_ERR(found);
	folio_put(found);
	/* Another one is there if the file was truncated and extended again */
	return folio_test_uptodate(folio) ? 0 : -EFAULT;
}

/* Turn the one pin on a folio into one for each of @npages of its pages */
static void iopt_file_add_pins(struct folio *folio, unsigned long npages)
{
	int more = npages - 1;

	if (!more)
		return;
	folio_ref_add(folio, more);
	atomic_add(more, &folio->_pincount);
	node_stat_mod_folio(folio, NR_FOLL_PIN_ACQUIRED, more);
}

/**
 * iopt_pin_file_pages() - Pin pages of a file
 * @pages: An iopt_pages that has a file
 * @start_index: First page, counted from the start of @pages
 * @npages: Number of pages that are wanted
 * @out_pages: Room for @npages pages
 *
 * Holes are filled. Each page gets one pin, which is long term: its memory is moved
 * out of CMA and movable zones first.
 *
 * Context: pages->mutex is held; may sleep.
 * Return: the number of pages pinned, at least one and possibly fewer than wanted, or
 * an errno: -EINVAL if the file has become too short, -EFAULT if it changes while it
 * is pinned, -EACCES for a hole of hugetlbfs if the file is not open for writing,
 * -EINTR, -ENOMEM.
 */
long iopt_pin_file_pages(struct iopt_pages *pages, unsigned long start_index,
			 unsigned long npages, struct page **out_pages)
{
	/* Folios first, which are pages in the same place in the end */
	struct folio **folios = (struct folio **)out_pages;
	struct file *file = pages->file;
	unsigned long pos, first, total;
	pgoff_t offset = 0;
	loff_t start, end;
	long nr, i;
	int rc;

	lockdep_assert_held(&pages->mutex);

	/* The number of folios is an int */
	npages = min_t(unsigned long, npages, INT_MAX);
	start = pages->file_start + start_index * PAGE_SIZE;
	end = min_t(loff_t, start + npages * PAGE_SIZE,
		    i_size_read(file_inode(file)));
	if (start >= end)
		return -EINVAL;
	npages = DIV_ROUND_UP(end - start, PAGE_SIZE);

	if (is_file_hugepages(file))
		nr = iopt_pin_hugetlb_folios(file, start, end, folios, npages,
					     &offset);
	else
		nr = memfd_pin_folios(file, start, end - 1, folios, npages,
				      &offset);
	if (nr <= 0)
		return nr ? nr : -EINVAL;

	first = offset >> PAGE_SHIFT;
	pos = 0;
	for (i = 0; i < nr; i++) {
		rc = iopt_file_folio_ready(file, folios[i]);
		if (rc) {
			unpin_folios(folios, nr);
			return rc;
		}
		pos += folio_nr_pages(folios[i]) - (i ? 0 : first);
	}
	total = min(pos, npages);

	/*
	 * From the last to the first: the pages of a folio never come to stand
	 * before it, so no folio is overwritten before it has been read.
	 */
	for (i = nr - 1; i >= 0; i--) {
		struct folio *folio = folios[i];
		unsigned long skip = i ? 0 : first;
		unsigned long last = min(pos, total);

		pos -= folio_nr_pages(folio) - skip;
		iopt_file_add_pins(folio, last - pos);
		while (last-- > pos)
			out_pages[last] = folio_page(folio, skip + last - pos);
	}
	return total;
}

/**
 * iommufd_ioas_map_file() - IOMMU_IOAS_MAP_FILE
 * @ucmd: The command, a struct iommu_ioas_map_file
 *
 * Context: ioctl.
 * Return: 0 or an errno, see include/uapi/linux/iommufd.h.
 */
int iommufd_ioas_map_file(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_map_file *cmd = ucmd->cmd;
	unsigned long iova = cmd->iova;
	struct iopt_pages *pages;
	struct iommufd_ioas *ioas;
	unsigned int flags = 0;
	struct file *file;
	int rc;

	if (cmd->flags &
	    ~(IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
	      IOMMU_IOAS_MAP_READABLE))
		return -EOPNOTSUPP;
	if (cmd->iova >= ULONG_MAX || cmd->length >= ULONG_MAX ||
	    cmd->start >= ULONG_MAX)
		return -EOVERFLOW;
	if (!(cmd->flags &
	      (IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)))
		return -EINVAL;
	if (!(cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA))
		flags = IOPT_ALLOC_IOVA;

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	file = fget(cmd->fd);
	if (!file) {
		rc = -EBADF;
		goto out_put;
	}
	pages = iopt_alloc_file_pages(file, cmd->start, cmd->length,
				      cmd->flags & IOMMU_IOAS_MAP_WRITEABLE);
	fput(file);
	if (IS_ERR(pages)) {
		rc = PTR_ERR(pages);
		goto out_put;
	}

	rc = iopt_map_new_pages(ucmd->ictx, &ioas->iopt, pages, &iova,
				cmd->start - pages->file_start, cmd->length,
				conv_iommu_prot(cmd->flags), flags);
	if (rc)
		goto out_put;

	cmd->iova = iova;
	rc = iommufd_ucmd_respond(ucmd, sizeof(*cmd));
out_put:
	iommufd_put_object(ucmd->ictx, &ioas->obj);
	return rc;
}
