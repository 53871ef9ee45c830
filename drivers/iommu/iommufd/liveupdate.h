/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * iommufd and live update: what iommufd's objects have for it, and its call-outs.
 */
#ifndef __IOMMUFD_LIVEUPDATE_H
#define __IOMMUFD_LIVEUPDATE_H

#include <linux/err.h>
#include <linux/iommufd_liveupdate.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/types.h>

struct file;
struct io_pagetable;
struct iommu_domain;
struct iommufd_ctx;
struct iommufd_hw_pagetable;
struct iommufd_hwpt_paging;
struct iommufd_ioas;
struct iommufd_luo_block_ser;
struct iommufd_ucmd;
struct liveupdate_file_op_args;

#ifdef CONFIG_IOMMUFD_LIVEUPDATE

/* Of a context: what it is on its way out or in; see the DOC of liveupdate.c for locks. */
struct iommufd_luo_ctx {
	struct mutex lock;	/* see there */
	bool preserved;
	struct list_head incoming;	/* of struct iommufd_luo_in_hwpt */
};

/* Of an IO page table: */
struct iommufd_luo_iopt {
	bool fixed;			/* no mapping changes */
	bool adopting;			/* a domain that is added has them all */
	u32 number;			/* of a preserved one, in the record */
};

/* Of a HWPT: */
struct iommufd_luo_hwpt {
	bool marked;
	u32 label;
};

/* Of a device: */
struct iommufd_luo_device {
	bool preserved;
	bool adopted;			/* and not finished */
};

/* A HWPT that came in. */
struct iommufd_luo_in_hwpt {
	struct list_head link;
	u32 label;
	u32 flags;
	struct iommufd_ioas *ioas;
	struct iommufd_hwpt_paging *hwpt;	/* as soon as a device was adopted */
};

/**
 * struct iommufd_luo_scan - a look at many folios, one after the other
 * @subsection: the last one that was found to be memory, ~0UL at first
 * @budget: of folios, until the next look at the clock
 */
struct iommufd_luo_scan {
	unsigned long subsection;
	unsigned int budget;
};

/**
 * iommufd_luo_scan_folio - the folio of a page frame, whatever the page frame is
 * @scan: the scan
 * @pfn: the page frame
 *
 * Context: may sleep.
 * Return: the folio, or an ERR_PTR: -EFAULT if it is no memory, -EINTR if the caller is
 * being killed.
 */
static inline struct folio *iommufd_luo_scan_folio(struct iommufd_luo_scan *scan,
						   unsigned long pfn)
{
	/* Of a subsection all is memory, or nothing. */
	if (unlikely(pfn >> PFN_SUBSECTION_SHIFT != scan->subsection)) {
		if (!pfn_valid(pfn))
			return ERR_PTR(-EFAULT);
		scan->subsection = pfn >> PFN_SUBSECTION_SHIFT;
	}
	if (unlikely(!scan->budget--)) {
		scan->budget = 1024;
		cond_resched();
		if (fatal_signal_pending(current))
			return ERR_PTR(-EINTR);
	}
	return pfn_folio(pfn);
}

/* liveupdate.c */
int iommufd_liveupdate_init(void);
void iommufd_liveupdate_exit(void);
void iommufd_liveupdate_init_ctx(struct iommufd_ctx *ictx);
int iommufd_liveupdate_may_change(struct iommufd_hw_pagetable *hwpt);
int iopt_liveupdate_may_change(struct io_pagetable *iopt);

/* liveupdate_mark.c */
struct iommufd_hwpt_paging *iommufd_luo_next_locked(struct iommufd_ctx *ictx, unsigned long *id);
struct iommufd_hwpt_paging *iommufd_luo_next(struct iommufd_ctx *ictx, unsigned long *id);
int iommufd_liveupdate_mark(struct iommufd_ucmd *ucmd);
int iommufd_liveupdate_get_id(struct iommufd_ucmd *ucmd);

/* liveupdate_adopt.c */
void iommufd_liveupdate_release_ctx(struct iommufd_ctx *ictx);
bool iopt_liveupdate_adopts(struct io_pagetable *iopt);
int iopt_liveupdate_adopt_domain(struct io_pagetable *iopt, struct iommu_domain *domain);
struct iommufd_luo_in_hwpt *iommufd_luo_find_in(struct iommufd_ctx *ictx, u32 label);
int iommufd_luo_retrieve(struct liveupdate_file_op_args *args);
void iommufd_luo_finish(struct liveupdate_file_op_args *args);
bool iommufd_luo_can_finish(struct liveupdate_file_op_args *args);

#else /* CONFIG_IOMMUFD_LIVEUPDATE */

struct iommufd_luo_ctx {
};

struct iommufd_luo_iopt {
};

struct iommufd_luo_hwpt {
};

struct iommufd_luo_device {
};

static inline int iommufd_liveupdate_init(void)
{
	return 0;
}

static inline void iommufd_liveupdate_exit(void)
{
}

static inline void iommufd_liveupdate_init_ctx(struct iommufd_ctx *ictx)
{
}

static inline void iommufd_liveupdate_release_ctx(struct iommufd_ctx *ictx)
{
}

static inline int iommufd_liveupdate_may_change(struct iommufd_hw_pagetable *hwpt)
{
	return 0;
}

static inline int iopt_liveupdate_may_change(struct io_pagetable *iopt)
{
	return 0;
}

static inline bool iopt_liveupdate_adopts(struct io_pagetable *iopt)
{
	return false;
}

static inline int iopt_liveupdate_adopt_domain(struct io_pagetable *iopt,
					       struct iommu_domain *domain)
{
	return -EOPNOTSUPP;
}

static inline int iommufd_liveupdate_mark(struct iommufd_ucmd *ucmd)
{
	return -ENOIOCTLCMD;
}

static inline int iommufd_liveupdate_get_id(struct iommufd_ucmd *ucmd)
{
	return -ENOIOCTLCMD;
}

#endif /* CONFIG_IOMMUFD_LIVEUPDATE */

#endif /* __IOMMUFD_LIVEUPDATE_H */
