/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Call-outs of hugetlb and hugetlbfs to the live update of hugetlb memfds.
 */
#ifndef _LINUX_HUGETLB_LUO_H
#define _LINUX_HUGETLB_LUO_H

#include <linux/gfp_types.h>
#include <linux/types.h>

struct folio;
struct hstate;
struct inode;
struct vm_area_struct;

#ifdef CONFIG_LIVEUPDATE_HUGETLB

gfp_t hugetlb_luo_gfp(gfp_t gfp);
bool hugetlb_luo_preserved(struct inode *inode);
bool hugetlb_luo_holds_pages(struct inode *inode);
int hugetlb_luo_may_map(struct inode *inode, struct vm_area_struct *vma, loff_t end);
int hugetlb_luo_may_seal(struct inode *inode);
int hugetlb_luo_folio_added(struct inode *inode, struct folio *folio);
unsigned long hugetlb_luo_boot_pages(struct hstate *h, int nid);
void hugetlb_luo_boot_adopt(void);

#else /* CONFIG_LIVEUPDATE_HUGETLB */

static inline gfp_t hugetlb_luo_gfp(gfp_t gfp)
{
	return gfp;
}

static inline bool hugetlb_luo_preserved(struct inode *inode)
{
	return false;
}

static inline bool hugetlb_luo_holds_pages(struct inode *inode)
{
	return false;
}

static inline int hugetlb_luo_may_map(struct inode *inode, struct vm_area_struct *vma,
				      loff_t end)
{
	return 0;
}

static inline int hugetlb_luo_may_seal(struct inode *inode)
{
	return 0;
}

static inline int hugetlb_luo_folio_added(struct inode *inode, struct folio *folio)
{
	return 0;
}

static inline unsigned long hugetlb_luo_boot_pages(struct hstate *h, int nid)
{
	return 0;
}

static inline void hugetlb_luo_boot_adopt(void)
{
}

#endif /* CONFIG_LIVEUPDATE_HUGETLB */

#endif /* _LINUX_HUGETLB_LUO_H */
