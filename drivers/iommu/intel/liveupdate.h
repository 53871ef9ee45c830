/* SPDX-License-Identifier: GPL-2.0 */
/* What the VT-d driver calls in liveupdate.c, and what it gives to it. */
#ifndef DRIVERS_IOMMU_INTEL_LIVEUPDATE_H
#define DRIVERS_IOMMU_INTEL_LIVEUPDATE_H

#include <linux/init.h>
#include <linux/iommu_liveupdate.h>
#include <linux/types.h>

struct dma_pte;
struct intel_iommu;

void iommu_set_root_entry(struct intel_iommu *iommu);

#ifdef CONFIG_IOMMU_LIVEUPDATE

void __init intel_liveupdate_init(void);
bool intel_liveupdate_adopt(struct intel_iommu *iommu);
bool intel_liveupdate_keep(struct intel_iommu *iommu);

extern struct iommu_liveupdate_driver vtd_luo_driver;

/* liveupdate_tables.c */
int vtd_luo_preserve_tables(struct dma_pte *pgd, int level);
void vtd_luo_unpreserve_tables(struct dma_pte *pgd, int level);
int vtd_luo_walk_tables(struct dma_pte *pgd, int level, unsigned long iova, unsigned long last,
			iommu_liveupdate_run_fn *fn, void *data);
int vtd_luo_each_table(struct dma_pte *table, int level, bool (*fn)(u64 pa));
bool vtd_luo_is_table(u64 pa);
bool vtd_luo_take(u64 pa);
int vtd_luo_take_tables(struct dma_pte *pgd, int level);

#else /* CONFIG_IOMMU_LIVEUPDATE */

static inline void intel_liveupdate_init(void)
{
}

static inline bool intel_liveupdate_adopt(struct intel_iommu *iommu)
{
	return false;
}

static inline bool intel_liveupdate_keep(struct intel_iommu *iommu)
{
	return false;
}

#endif /* CONFIG_IOMMU_LIVEUPDATE */

#endif /* DRIVERS_IOMMU_INTEL_LIVEUPDATE_H */
