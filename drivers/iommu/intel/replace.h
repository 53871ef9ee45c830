/* SPDX-License-Identifier: GPL-2.0 */
/* The domain of a device is replaced without its DMA being stopped. */
#ifndef DRIVERS_IOMMU_INTEL_REPLACE_H
#define DRIVERS_IOMMU_INTEL_REPLACE_H

#include <linux/types.h>

#include "iommu.h"

int intel_replace_domain(struct dmar_domain *domain, struct device *dev);

/* cache.c: as those without underscores, for a domain ID that the domain may not have yet */
int __cache_tag_assign_domain(struct dmar_domain *domain, u16 did, struct device *dev,
			      ioasid_t pasid);
void __cache_tag_unassign_domain(struct dmar_domain *domain, u16 did, struct device *dev,
				 ioasid_t pasid);

/**
 * context_entry_fits - does a context entry of legacy mode lead to these page tables?
 * @entry: the entry
 * @pgd: physical address of the top one
 * @agaw: its address width
 * @did: the domain ID
 *
 * Return: true if it does, through second-level translation and with faults enabled.
 */
static inline bool context_entry_fits(const struct context_entry *entry, u64 pgd, int agaw,
				      u16 did)
{
	return (entry->lo & VTD_PAGE_MASK) == pgd && (entry->lo & 3) == 1 &&
	       ((entry->lo >> 2) & 3) == CONTEXT_TT_MULTI_LEVEL && (entry->hi & 7) == agaw &&
	       ((entry->hi >> 8) & 0xffff) == did;
}

#endif /* DRIVERS_IOMMU_INTEL_REPLACE_H */
