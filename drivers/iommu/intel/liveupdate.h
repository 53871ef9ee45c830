/* SPDX-License-Identifier: GPL-2.0 */
/* What the VT-d driver calls in liveupdate.c, and what it gives to it. */
#ifndef DRIVERS_IOMMU_INTEL_LIVEUPDATE_H
#define DRIVERS_IOMMU_INTEL_LIVEUPDATE_H

#include <linux/init.h>
#include <linux/types.h>

struct intel_iommu;

void iommu_set_root_entry(struct intel_iommu *iommu);

#ifdef CONFIG_IOMMU_LIVEUPDATE

void __init intel_liveupdate_init(void);
bool intel_liveupdate_adopt(struct intel_iommu *iommu);
bool intel_liveupdate_keep(struct intel_iommu *iommu);

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
