// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d units that keep translating while the kernel is replaced.
 */

/**
 * DOC: VT-d live update
 *
 * Legacy mode only; a unit in scalable mode is refused.
 *
 * **Outgoing.** When the first device of a unit is preserved, root and context tables are
 * made for the next kernel that hold nothing but preserved devices, with entries
 * copied from those that the hardware uses. The page tables of the domain, which both
 * refer to, are preserved as they are, by a walk over the levels above the last one,
 * in batches. When all drivers are down and the CPUs still run, a syscore shutdown op
 * has the hardware use these tables: setting the root table pointer is allowed with
 * translation on if all that is in flight is translated alike by both, and it is what
 * takes the entry of every other device away at once. Context cache and IOTLB are
 * invalidated after that, and completion waited for, so no wait status is written any more.
 * Fault events are masked, since
 * their interrupt would be written to whatever the next kernel has there. There are no page
 * requests in legacy mode. A unit that was handed over so is left on by
 * intel_iommu_shutdown().
 *
 * **Incoming.** init_dmars() asks for each unit. If registers, capabilities and tables are
 * as recorded, root and context tables become this kernel's own, and the domain IDs
 * in them are reserved before any other is given out. An entry that the record
 * does not know is cleared. From then on translation is as if this kernel had
 * switched it on: no other path need know.
 *
 * A restored domain has the page tables of the previous kernel and its domain IDs. When
 * it is attached, domain_context_mapping_one() finds the entry present, and leaves it
 * alone; whether it is the right one was seen before. Page tables are taken over
 * page by page, and counted, when somebody comes for the domain: until then no kernel
 * touches them, and no boot waits for them.
 *
 * What cannot be taken over is blocked: the context entry of the device is cleared.
 * If a whole unit is not as recorded, or not there, its devices are fenced before any
 * unit is switched off.
 *
 * Locks: callbacks of iommu_luo_lock's owner; vtd_luo_units is changed under it, and read
 * at shutdown, when nobody is left who could. The lock of a unit protects its
 * tables.
 */

#define pr_fmt(fmt) "DMAR: liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommu.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/syscore_ops.h>

#include "iommu.h"
#include "liveupdate.h"
#include "replace.h"
#include "../iommu-pages.h"

#define VTD_LUO_NAME	"vtd-v1"

/* Of a context entry: Fault Processing Disable */
#define VTD_LUO_CONTEXT_FPD	2ULL

/* Of a domain, in priv[3] */
#define VTD_LUO_PTE_SNP		1ULL
#define VTD_LUO_FORCE_SNOOPING	2ULL

/**
 * struct vtd_luo_unit - a unit with preserved devices
 * @list: in vtd_luo_units
 * @iommu: the unit
 * @root: root table for the next kernel
 * @handed_over: the hardware uses it
 */
struct vtd_luo_unit {
	struct list_head list;
	struct intel_iommu *iommu;
	struct root_entry *root;
	bool handed_over;
};

static LIST_HEAD(vtd_luo_units);

static struct vtd_luo_unit *vtd_luo_find(u64 id)
{
	struct vtd_luo_unit *unit;

	list_for_each_entry(unit, &vtd_luo_units, list)
		if (unit->iommu->reg_phys == id)
			return unit;
	return NULL;
}

static struct context_entry *vtd_luo_context(struct root_entry *root)
{
	return root->lo & 1 ? phys_to_virt(root->lo & VTD_PAGE_MASK) : NULL;
}

/* ---- outgoing ---- */

static u64 vtd_luo_unit_id(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return info->iommu->reg_phys;
}

static int vtd_luo_preserve_unit(struct device *dev, struct iommu_liveupdate_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct vtd_luo_unit *unit;

	if (sm_supported(iommu)) {
		dev_err(dev, "cannot be preserved: %s is in scalable mode\n", iommu->name);
		return -EOPNOTSUPP;
	}
	unit = kzalloc(sizeof(*unit), GFP_KERNEL);
	if (!unit)
		return -ENOMEM;
	unit->iommu = iommu;
	unit->root = kho_alloc_preserve(VTD_PAGE_SIZE);
	if (IS_ERR(unit->root)) {
		int ret = PTR_ERR(unit->root);

		kfree(unit);
		return ret;
	}
	__iommu_flush_cache(iommu, unit->root, VTD_PAGE_SIZE);

	ser->priv[0] = virt_to_phys(unit->root);
	ser->priv[1] = iommu->cap;
	ser->priv[2] = iommu->ecap;
	list_add(&unit->list, &vtd_luo_units);
	return 0;
}

static void vtd_luo_unpreserve_unit(struct iommu_liveupdate_ser *ser)
{
	struct vtd_luo_unit *unit = vtd_luo_find(ser->id);

	for (int bus = 0; bus < 256; bus++)
		kho_unpreserve_free(vtd_luo_context(&unit->root[bus]));
	kho_unpreserve_free(unit->root);
	list_del(&unit->list);
	kfree(unit);
}

/* What a domain has beside its page tables, which the record could not tell, or NULL. */
static const char *vtd_luo_more(const struct dmar_domain *dmar)
{
	if (dmar->use_first_level)
		return "first-level tables";
	if (dmar->dirty_tracking)
		return "dirty tracking";
	return dmar->nested_parent ? "nesting" : NULL;
}

static int vtd_luo_preserve_domain(struct iommu_domain *domain, struct iommu_liveupdate_ser *ser)
{
	struct dmar_domain *dmar = to_dmar_domain(domain);
	const char *more = vtd_luo_more(dmar);
	int ret;

	if (more) {
		pr_err("a domain with %s cannot be preserved\n", more);
		return -EOPNOTSUPP;
	}
	ret = vtd_luo_preserve_tables(dmar->pgd, agaw_to_level(dmar->agaw));
	ser->priv[0] = virt_to_phys(dmar->pgd);
	ser->priv[1] = dmar->agaw;
	ser->priv[2] = dmar->gaw;
	ser->priv[3] = (dmar->set_pte_snp ? VTD_LUO_PTE_SNP : 0) |
		       (dmar->force_snooping ? VTD_LUO_FORCE_SNOOPING : 0);
	return ret;
}

static void vtd_luo_unpreserve_domain(struct iommu_domain *domain,
				      struct iommu_liveupdate_ser *ser)
{
	struct dmar_domain *dmar = to_dmar_domain(domain);

	vtd_luo_unpreserve_tables(dmar->pgd, agaw_to_level(dmar->agaw));
}

static int vtd_luo_walk_domain(struct iommu_domain *domain, unsigned long iova,
			       unsigned long last, iommu_liveupdate_run_fn *fn, void *data)
{
	struct dmar_domain *dmar = to_dmar_domain(domain);

	last = min_t(unsigned long, last, domain->geometry.aperture_end);
	if (iova > last || dmar->use_first_level)
		return 0;
	return vtd_luo_walk_tables(dmar->pgd, agaw_to_level(dmar->agaw), iova, last, fn, data);
}

static int vtd_luo_alias(struct pci_dev *pdev, u16 alias, void *data)
{
	u16 *rid = data;

	return alias != *rid;
}

static int vtd_luo_preserve_device(struct device *dev, const struct iommu_liveupdate_ser *ser,
				   struct iommu_domain *domain,
				   struct iommu_liveupdate_ser *device)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct vtd_luo_unit *unit = vtd_luo_find(ser->id);
	struct dmar_domain *dmar = to_dmar_domain(domain);
	u16 rid = PCI_DEVID(info->bus, info->devfn);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *entry, *table;
	int ret = 0;
	u16 did;

	if (info->ats_enabled || info->pasid_enabled || info->pri_enabled ||
	    pci_for_each_dma_alias(to_pci_dev(dev), vtd_luo_alias, &rid)) {
		dev_err(dev, "cannot be preserved: ATS, PASID, PRI or a DMA alias is in use\n");
		return -EOPNOTSUPP;
	}
	table = vtd_luo_context(&unit->root[info->bus]);
	if (!table) {
		table = kho_alloc_preserve(VTD_PAGE_SIZE);
		if (IS_ERR(table))
			return PTR_ERR(table);
		__iommu_flush_cache(iommu, table, VTD_PAGE_SIZE);
		unit->root[info->bus].lo = virt_to_phys(table) | 1;
		__iommu_flush_cache(iommu, &unit->root[info->bus], sizeof(struct root_entry));
	}

	spin_lock(&iommu->lock);
	did = domain_id_iommu(dmar, iommu);
	entry = iommu_context_addr(iommu, info->bus, info->devfn, 0);
	if (entry && context_entry_fits(entry, virt_to_phys(dmar->pgd), dmar->agaw, did))
		table[info->devfn] = *entry;
	else
		ret = -EOPNOTSUPP;
	spin_unlock(&iommu->lock);
	if (ret) {
		dev_err(dev, "cannot be preserved: its context entry is not that of its domain\n");
		return ret;
	}
	__iommu_flush_cache(iommu, &table[info->devfn], sizeof(*table));
	device->priv[0] = did;
	return 0;
}

static void vtd_luo_unpreserve_device(struct device *dev, const struct iommu_liveupdate_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct vtd_luo_unit *unit = vtd_luo_find(ser->id);
	struct context_entry *table = vtd_luo_context(&unit->root[info->bus]);

	context_clear_entry(&table[info->devfn]);
	__iommu_flush_cache(unit->iommu, &table[info->devfn], sizeof(*table));
}

/* ---- the way out ---- */

static void vtd_luo_shutdown(void *data)
{
	struct vtd_luo_unit *unit;
	unsigned long flags;

	list_for_each_entry(unit, &vtd_luo_units, list) {
		struct intel_iommu *iommu = unit->iommu;

		raw_spin_lock_irqsave(&iommu->register_lock, flags);
		writel(DMA_FECTL_IM, iommu->reg + DMAR_FECTL_REG);
		readl(iommu->reg + DMAR_FECTL_REG);
		raw_spin_unlock_irqrestore(&iommu->register_lock, flags);

		spin_lock(&iommu->lock);
		iommu->root_entry = unit->root;
		spin_unlock(&iommu->lock);
		iommu_flush_write_buffer(iommu);
		iommu_set_root_entry(iommu);
		unit->handed_over = true;
		pr_info("%s: only preserved devices are translated from here on\n", iommu->name);
	}
}

static const struct syscore_ops vtd_luo_syscore_ops = {
	.shutdown = vtd_luo_shutdown,
};

static struct syscore vtd_luo_syscore = {
	.ops = &vtd_luo_syscore_ops,
};

/**
 * intel_liveupdate_keep - is a unit to be left on for the next kernel?
 * @iommu: the unit
 *
 * Such a unit writes to no memory of this kernel from here on. The other CPUs are stopped,
 * with whatever locks they have.
 *
 * Context: any; at shutdown.
 * Return: true if it translates for preserved devices.
 */
bool intel_liveupdate_keep(struct intel_iommu *iommu)
{
	struct vtd_luo_unit *unit = vtd_luo_find(iommu->reg_phys);

	if (!unit || !unit->handed_over)
		return false;
	writel(DMA_FECTL_IM, iommu->reg + DMAR_FECTL_REG);
	if (readl(iommu->reg + DMAR_IQH_REG) != readl(iommu->reg + DMAR_IQT_REG))
		pr_err("%s: its queue is not empty, what it still does is unknown\n",
		       iommu->name);
	return true;
}

/* ---- incoming ---- */

static const char *vtd_luo_check_unit(struct intel_iommu *iommu,
				      const struct iommu_liveupdate_ser *ser)
{
	struct root_entry *root;

	if (!(readl(iommu->reg + DMAR_GSTS_REG) & DMA_GSTS_TES))
		return "translation is off";
	if (sm_supported(iommu))
		return "scalable mode is on";
	if (iommu->cap != ser->priv[1] || iommu->ecap != ser->priv[2])
		return "its capabilities are others";
	if (dmar_readq(iommu->reg + DMAR_RTADDR_REG) != ser->priv[0])
		return "its root table is another";
	if (!vtd_luo_is_table(ser->priv[0]))
		return "its root table is not preserved";
	root = phys_to_virt(ser->priv[0]);
	for (int bus = 0; bus < 256; bus++)
		if ((root[bus].lo & 1) && !vtd_luo_is_table(root[bus].lo & VTD_PAGE_MASK))
			return "a context table is not preserved";
	return NULL;
}

static void vtd_luo_adopt_bus(struct intel_iommu *iommu, int bus)
{
	struct context_entry *table = vtd_luo_context(&iommu->root_entry[bus]);
	const struct iommu_liveupdate_ser *device;

	for (int devfn = 0; table && devfn < 256; devfn++) {
		u16 did = context_domain_id(&table[devfn]);

		if (!context_present(&table[devfn]))
			continue;
		device = iommu_liveupdate_device(iommu->reg_phys, iommu->segment,
						 PCI_DEVID(bus, devfn));
		if (device && device->priv[0] == did && did < cap_ndoms(iommu->cap)) {
			set_bit(did, iommu->domain_ids);
			continue;
		}
		pr_warn("%s: %02x:%02x.%d is not in the record, its DMA is blocked\n", iommu->name,
			bus, PCI_SLOT(devfn), PCI_FUNC(devfn));
		context_clear_entry(&table[devfn]);
		__iommu_flush_cache(iommu, &table[devfn], sizeof(*table));
	}
}

/**
 * intel_liveupdate_adopt - take over a unit that was left on
 * @iommu: the unit, with its queue and no domain IDs in use yet
 *
 * Context: may sleep; in init_dmars(). Caches are invalidated afterwards, by
 * iommu_set_root_entry().
 * Return: true if translation stays on, with root and context tables adopted.
 */
bool intel_liveupdate_adopt(struct intel_iommu *iommu)
{
	const struct iommu_liveupdate_ser *ser;
	struct root_entry *root;
	const char *fault;

	ser = iommu_liveupdate_unit(VTD_LUO_NAME, iommu->reg_phys);
	if (!ser)
		return false;
	fault = vtd_luo_check_unit(iommu, ser);
	if (fault) {
		pr_err("%s is not taken over: %s\n", iommu->name, fault);
		iommu_liveupdate_reject_unit(iommu->reg_phys);
		return false;
	}

	root = phys_to_virt(ser->priv[0]);
	for (int bus = 0; bus < 256; bus++)
		if ((root[bus].lo & 1) && !vtd_luo_take(root[bus].lo & VTD_PAGE_MASK))
			pr_err("%s: the context table of bus %02x is used twice\n", iommu->name,
			       bus);
	vtd_luo_take(ser->priv[0]);
	iommu->root_entry = root;
	for (int bus = 0; bus < 256; bus++)
		vtd_luo_adopt_bus(iommu, bus);
	pr_info("%s: taken over with translation on\n", iommu->name);
	return true;
}

static struct intel_iommu *vtd_luo_iommu(u64 id)
{
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;

	guard(rcu)();
	for_each_active_iommu(iommu, drhd)
		if (iommu->reg_phys == id)
			return iommu;
	return NULL;
}

/* The domain IDs by which the hardware knows a domain, before anything is attached. */
static int vtd_luo_restore_did(const struct iommu_liveupdate_ser *device, void *data)
{
	struct intel_iommu *iommu = vtd_luo_iommu(device->unit);
	struct dmar_domain *dmar = data;
	struct iommu_domain_info *info;
	int ret;

	if (!iommu)
		return -ENODEV;
	info = xa_load(&dmar->iommu_array, iommu->seq_id);
	if (info)
		return info->did == device->priv[0] ? 0 : -EINVAL;
	info = kzalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	info->iommu = iommu;
	info->did = device->priv[0];
	ret = xa_err(xa_store(&dmar->iommu_array, iommu->seq_id, info, GFP_KERNEL));
	if (ret)
		kfree(info);
	return ret;
}

/* Do the context entries of its devices lead to this domain? */
static int vtd_luo_check_device(const struct iommu_liveupdate_ser *device, void *data)
{
	struct intel_iommu *iommu = vtd_luo_iommu(device->unit);
	const struct iommu_liveupdate_ser *ser = data;
	struct context_entry *table, *entry;

	if (!iommu)
		return -ENODEV;
	table = vtd_luo_context(&iommu->root_entry[PCI_BUS_NUM(device->id & 0xffff)]);
	entry = table ? &table[device->id & 0xff] : NULL;
	return entry && context_entry_fits(entry, ser->priv[0], ser->priv[1], device->priv[0]) ?
	       0 : -EINVAL;
}

static void vtd_luo_forget_dids(struct dmar_domain *dmar)
{
	struct iommu_domain_info *info;
	unsigned long index;

	xa_for_each(&dmar->iommu_array, index, info) {
		xa_erase(&dmar->iommu_array, index);
		kfree(info);
	}
}

static struct iommu_domain *vtd_luo_restore_domain(struct device *dev,
						   const struct iommu_liveupdate_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct iommu_domain *domain;
	struct dmar_domain *dmar;
	struct dma_pte *fresh;
	int ret;

	domain = intel_iommu_ops.domain_alloc_user(dev, 0, NULL, NULL);
	if (IS_ERR(domain))
		return domain;
	dmar = to_dmar_domain(domain);
	ret = -EINVAL;
	if (ser->priv[1] != iommu->agaw || ser->priv[2] != dmar->gaw)
		goto err_free;
	ret = iommu_liveupdate_walk(0, ser->id, vtd_luo_check_device, (void *)ser);
	if (!ret)
		ret = iommu_liveupdate_walk(0, ser->id, vtd_luo_restore_did, dmar);
	if (!ret && (!vtd_luo_is_table(ser->priv[0]) || !vtd_luo_take(ser->priv[0])))
		ret = -EINVAL;
	if (ret)
		goto err_free;

	fresh = dmar->pgd;
	dmar->pgd = phys_to_virt(ser->priv[0]);
	iommu_free_page(fresh);
	/* Of all units that have an ID of it, not just of the first */
	domain_update_iommu_cap(dmar);
	dmar->has_mappings = true;
	dmar->max_addr = domain->geometry.aperture_end;
	dmar->set_pte_snp = !!(ser->priv[3] & VTD_LUO_PTE_SNP);
	dmar->force_snooping = !!(ser->priv[3] & VTD_LUO_FORCE_SNOOPING);
	return domain;

err_free:
	vtd_luo_forget_dids(dmar);
	iommu_domain_free(domain);
	return ERR_PTR(ret);
}

static int vtd_luo_claim_domain(struct iommu_domain *domain)
{
	struct dmar_domain *dmar = to_dmar_domain(domain);

	return vtd_luo_take_tables(dmar->pgd, agaw_to_level(dmar->agaw));
}

static void vtd_luo_block_device(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *entry;
	u16 did;

	scoped_guard(spinlock, &iommu->lock) {
		entry = iommu_context_addr(iommu, info->bus, info->devfn, 0);
		if (!entry)
			return;
		did = context_domain_id(entry);
		context_clear_entry(entry);
		entry->lo = VTD_LUO_CONTEXT_FPD;
		__iommu_flush_cache(iommu, entry, sizeof(*entry));
	}
	iommu->flush.flush_context(iommu, did, PCI_DEVID(info->bus, info->devfn),
				   DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL);
	iommu->flush.flush_iotlb(iommu, did, 0, 0, DMA_TLB_DSI_FLUSH);
}

struct iommu_liveupdate_driver vtd_luo_driver = {
	.name = VTD_LUO_NAME,
	.ops = &intel_iommu_ops,
	.unit_id = vtd_luo_unit_id,
	.preserve_unit = vtd_luo_preserve_unit,
	.unpreserve_unit = vtd_luo_unpreserve_unit,
	.preserve_domain = vtd_luo_preserve_domain,
	.unpreserve_domain = vtd_luo_unpreserve_domain,
	.walk_domain = vtd_luo_walk_domain,
	.preserve_device = vtd_luo_preserve_device,
	.unpreserve_device = vtd_luo_unpreserve_device,
	.restore_domain = vtd_luo_restore_domain,
	.claim_domain = vtd_luo_claim_domain,
	.block_device = vtd_luo_block_device,
};

static bool vtd_luo_is_unit(u64 id)
{
	return vtd_luo_iommu(id);
}

/**
 * intel_liveupdate_init - this driver can do live updates
 *
 * Context: may sleep; before init_dmars(), with all units known.
 */
void __init intel_liveupdate_init(void)
{
	iommu_liveupdate_register_driver(&vtd_luo_driver);
	register_syscore(&vtd_luo_syscore);
	iommu_liveupdate_reject_missing(VTD_LUO_NAME, vtd_luo_is_unit);
}
