/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live update of hugetlb memfds: what its files share, and what they use of
 * mm/hugetlb.c.
 */
#ifndef _MM_HUGETLB_LUO_H
#define _MM_HUGETLB_LUO_H

#include <linux/hugetlb_luo.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/kho/abi/hugetlb.h>

#include "memfd_luo.h"

struct folio;
struct hstate;
struct inode;
struct hugetlb_luo_pool;
struct list_head;
struct liveupdate_file_handler;
struct liveupdate_file_op_args;
struct vm_area_struct;

/* A preserved file. */
struct hugetlb_luo {
	refcount_t users;

	struct mutex lock;		/* protects all of the following */
	struct inode *inode;		/* NULL when the file is not preserved any more */
	pgoff_t cursor;			/* folios below are recorded */
	bool frozen;
	struct memfd_luo_writer writer;
	u64 first_range;		/* records of ranges that freeze() wrote: the first */
	u64 nr_ranges;			/* and how many */
	struct hugetlb_luo_pool *pool;	/* the outgoing one */
};

static inline struct hugetlb_luo_ser *hugetlb_luo_ser_of(struct hugetlb_luo *m)
{
	return container_of(m->writer.ser, struct hugetlb_luo_ser, file);
}

/* hugetlb_luo_restore.c */
int hugetlb_luo_retrieve(struct liveupdate_file_op_args *args);
void hugetlb_luo_finish(struct liveupdate_file_op_args *args);

/* hugetlb_luo_pool.c */
void hugetlb_luo_pool_prepare(struct hstate *h, struct list_head *folios);
void hugetlb_luo_pool_adopt(struct hstate *h, struct folio *folio);
struct hugetlb_luo_pool *hugetlb_luo_pool_get(void);
void hugetlb_luo_pool_put(struct hugetlb_luo_pool *pool);
void hugetlb_luo_pool_count(struct hugetlb_luo_pool *pool, struct folio *folio, int change);
int hugetlb_luo_pool_register(struct liveupdate_file_handler *handler);

/* hugetlb.c */
void init_new_hugetlb_folio(struct hstate *h, struct folio *folio);
long vma_needs_reservation(struct hstate *h, struct vm_area_struct *vma, unsigned long addr);
long vma_commit_reservation(struct hstate *h, struct vm_area_struct *vma, unsigned long addr);
void vma_end_reservation(struct hstate *h, struct vm_area_struct *vma, unsigned long addr);

#endif /* _MM_HUGETLB_LUO_H */
