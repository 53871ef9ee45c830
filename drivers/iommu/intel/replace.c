// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d: another domain for a device that goes on with its DMA.
 */

/**
 * DOC: VT-d replace
 *
 * When a device gets another domain, its context entry is usually cleared and written anew, and
 * what the device does in between faults and is lost. It need not be. In legacy
 * mode, the half of the entry that has domain ID and address width stays as it is if
 * the new domain takes over the ID of the old one. What changes is the address of the
 * page tables: one store of 64 bits, which the hardware sees or does not see. The
 * context cache and the IOTLB are invalidated after that, reads and writes in flight are
 * drained, and then the old domain is out of use. Up to that moment DMA reaches what
 * either of the two maps, and nothing else.
 *
 * The old domain must be attached to nothing else on the unit, as its other devices
 * would go on under the same ID with other page tables. The new one must not be
 * attached to the unit yet, since there it has an ID of its own. Both have
 * second-level tables of the width of the unit. The device is alone in using its context entry,
 * and uses no ATS, PASID or page requests; firmware does not require that part of
 * its DMA is mapped all the time. For whatever is different, the entry is cleared and written
 * as before.
 *
 * An error leaves the device where it was. As the core attaches the old domain again after
 * an error, a domain that is attached already is left alone.
 *
 * Locks: of the group, its mutex. The entry, the IDs of the unit and what domains know of it
 * change under iommu->lock, and it is held until the caches are invalidated: a device that is
 * attached to one of the domains meanwhile would get to what the other has mapped. The
 * new domain has its cache tag before, and the old one has its until after that,
 * so what is unmapped from either in the meantime is invalidated as well.
 */

#define pr_fmt(fmt) "DMAR: " fmt

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "iommu.h"
#include "replace.h"

static int replace_other_alias(struct pci_dev *pdev, u16 alias, void *data)
{
	u16 *rid = data;

	return alias != *rid;
}

/* Nobody else's DMA goes through its context entry, and it is an ordinary one. */
static bool replace_device_fits(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	u16 rid = PCI_DEVID(info->bus, info->devfn);
	struct intel_iommu *iommu = info->iommu;
	struct pci_dev *pdev;

	if (!info->domain_attached || !info->domain || sm_supported(iommu) || !dev_is_pci(dev))
		return false;
	if (info->ats_supported || info->ats_enabled || info->pasid_enabled ||
	    info->pri_enabled || dev->iommu->require_direct ||
	    context_copied(iommu, info->bus, info->devfn))
		return false;
	pdev = to_pci_dev(dev);
	return pci_real_dma_dev(pdev) == pdev &&
	       !pci_for_each_dma_alias(pdev, replace_other_alias, &rid);
}

static bool replace_domain_fits(const struct dmar_domain *domain, struct intel_iommu *iommu)
{
	return (domain->domain.type & __IOMMU_DOMAIN_PAGING) && !domain->use_first_level &&
	       !domain->dirty_tracking && !domain->nested_parent && domain->agaw == iommu->agaw;
}

/* The context entry of a device, if it is as its domain wants it. */
static struct context_entry *replace_entry(struct device_domain_info *info, u16 did)
{
	struct dmar_domain *domain = info->domain;
	struct context_entry *entry;

	entry = iommu_context_addr(info->iommu, info->bus, info->devfn, 0);
	if (!entry || !context_entry_fits(entry, virt_to_phys(domain->pgd), domain->agaw, did))
		return NULL;
	return entry;
}

static void replace_move_device(struct device_domain_info *info, struct dmar_domain *new)
{
	unsigned long flags;

	spin_lock_irqsave(&info->domain->lock, flags);
	list_del(&info->link);
	spin_unlock_irqrestore(&info->domain->lock, flags);

	spin_lock_irqsave(&new->lock, flags);
	list_add(&info->link, &new->devices);
	/* Both are of this unit, and that is all that it depends on. */
	new->iotlb_sync_map |= info->domain->iotlb_sync_map;
	spin_unlock_irqrestore(&new->lock, flags);
}

/* With iommu->lock. The info of the unit, and the ID in it, go from the old domain to @new. */
static int replace_switch(struct device_domain_info *info, struct dmar_domain *new, u16 did)
{
	struct dmar_domain *old = info->domain;
	struct intel_iommu *iommu = info->iommu;
	struct iommu_domain_info *unit, *other;
	struct context_entry *entry;

	unit = xa_load(&old->iommu_array, iommu->seq_id);
	entry = replace_entry(info, did);
	if (!entry || unit->refcnt != 1)
		return 0;
	other = xa_cmpxchg(&new->iommu_array, iommu->seq_id, NULL, unit, GFP_ATOMIC);
	if (other)
		return xa_err(other);
	replace_move_device(info, new);
	domain_update_iommu_cap(new);

	/* The new tables are there before anything leads to them. */
	iommu_flush_write_buffer(iommu);
	dma_wmb();
	WRITE_ONCE(entry->lo, (entry->lo & ~VTD_PAGE_MASK) | virt_to_phys(new->pgd));
	__iommu_flush_cache(iommu, entry, sizeof(*entry));
	iommu->flush.flush_context(iommu, did, PCI_DEVID(info->bus, info->devfn),
				   DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL);
	iommu->flush.flush_iotlb(iommu, did, 0, 0, DMA_TLB_DSI_FLUSH);

	info->domain = new;
	xa_erase(&old->iommu_array, iommu->seq_id);
	old->nid = NUMA_NO_NODE;
	domain_update_iommu_cap(old);
	return 1;
}

/**
 * intel_replace_domain - attach a device to another domain, without stopping its DMA
 * @domain: the other domain
 * @dev: the device
 *
 * Context: may sleep; with the mutex of the group.
 * Return: 1 if @dev is attached to @domain now; 0 if it has to be detached for that; or an
 * error, and it is still attached to the domain that it had: -EINVAL if @domain does not
 * fit the unit, -ENOMEM.
 */
int intel_replace_domain(struct dmar_domain *domain, struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct dmar_domain *old = info->domain;
	u16 did;
	int ret;

	if (!replace_device_fits(dev) || !replace_domain_fits(old, iommu) ||
	    !replace_domain_fits(domain, iommu))
		return 0;
	did = domain_id_iommu(old, iommu);
	if (domain == old) {
		spin_lock(&iommu->lock);
		ret = !!replace_entry(info, did);
		spin_unlock(&iommu->lock);
		return ret;
	}

	ret = prepare_domain_attach_device(&domain->domain, dev);
	if (!ret)
		ret = __cache_tag_assign_domain(domain, did, dev, IOMMU_NO_PASID);
	if (ret)
		return ret;
	spin_lock(&iommu->lock);
	ret = replace_switch(info, domain, did);
	spin_unlock(&iommu->lock);
	__cache_tag_unassign_domain(ret > 0 ? old : domain, did, dev, IOMMU_NO_PASID);
	return ret;
}
