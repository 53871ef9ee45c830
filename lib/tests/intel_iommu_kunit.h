/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Units of Intel VT-d, and PCI devices behind them, that are memory and nothing else:
 * what the driver would tell the hardware goes to functions that take note of it.
 */
#ifndef _LIB_TESTS_INTEL_IOMMU_KUNIT_H
#define _LIB_TESTS_INTEL_IOMMU_KUNIT_H

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "../../drivers/iommu/intel/iommu.h"
#include "../../drivers/iommu/intel/pasid.h"
#include "../../drivers/iommu/iommu-pages.h"

#define VTD_TEST_IDS	256

/**
 * struct vtd_test_unit - a unit
 * @iommu: what the driver knows of it
 * @ids: its domain IDs
 * @copied: its copied context entries
 * @log: a letter for each invalidation: context cache, IOTLB
 * @did: domain ID of the last one
 * @unlocked: one came without the lock of the unit
 * @absent: a context entry was not present when it was invalidated
 * @seen: the context entry at the last invalidation of the context cache
 */
struct vtd_test_unit {
	struct intel_iommu iommu;
	DECLARE_BITMAP(ids, VTD_TEST_IDS);
	DECLARE_BITMAP(copied, 1 << 16);
	char log[16];
	u16 did;
	bool unlocked;
	bool absent;
	struct context_entry seen;
};

/**
 * struct vtd_test_dev - a PCI device
 * @pdev: the device
 * @bus: its bus, a root bus
 * @sysdata: of the bus
 * @iommu: what the IOMMU core knows of it
 * @info: what the driver of its IOMMU knows of it
 */
struct vtd_test_dev {
	struct pci_dev pdev;
	struct pci_bus bus;
	struct pci_sysdata sysdata;
	struct dev_iommu iommu;
	struct device_domain_info info;
};

static inline void vtd_test_note(struct vtd_test_unit *unit, char what, u16 did)
{
	size_t len = strlen(unit->log);

	if (len < sizeof(unit->log) - 1)
		unit->log[len] = what;
	unit->did = did;
	if (spin_trylock(&unit->iommu.lock)) {
		unit->unlocked = true;
		spin_unlock(&unit->iommu.lock);
	}
}

static inline void vtd_test_flush_context(struct intel_iommu *iommu, u16 did, u16 sid, u8 mask,
					  u64 type)
{
	struct vtd_test_unit *unit = container_of(iommu, struct vtd_test_unit, iommu);
	struct context_entry *entry = iommu_context_addr(iommu, sid >> 8, sid & 0xff, 0);

	vtd_test_note(unit, 'c', did);
	unit->seen = *entry;
	unit->absent |= !(entry->lo & 1);
}

static inline void vtd_test_flush_iotlb(struct intel_iommu *iommu, u16 did, u64 addr,
					unsigned int order, u64 type)
{
	vtd_test_note(container_of(iommu, struct vtd_test_unit, iommu), 'i', did);
}

/* A unit for @agaw, with superpages of 2 MiB and 1 GiB. */
static inline struct vtd_test_unit *vtd_test_unit(struct kunit *test, int num, int agaw,
						  bool coherent)
{
	struct vtd_test_unit *unit = kunit_kzalloc(test, sizeof(*unit), GFP_KERNEL);
	struct intel_iommu *iommu = &unit->iommu;

	KUNIT_ASSERT_NOT_NULL(test, unit);
	iommu->reg_phys = 0xfed90000 + num * SZ_4K;
	iommu->seq_id = num;
	iommu->agaw = agaw;
	iommu->node = NUMA_NO_NODE;
	/* 256 domain IDs, both kinds of superpages, the width, draining */
	iommu->cap = 2 | 3ULL << 34 | (u64)(agaw_to_width(agaw) - 1) << 16 | 3ULL << 54;
	iommu->ecap = coherent;
	iommu->domain_ids = unit->ids;
	iommu->copied_tables = unit->copied;
	iommu->flush.flush_context = vtd_test_flush_context;
	iommu->flush.flush_iotlb = vtd_test_flush_iotlb;
	spin_lock_init(&iommu->lock);
	raw_spin_lock_init(&iommu->register_lock);
	snprintf(iommu->name, sizeof(iommu->name), "test%d", num);
	set_bit(0, unit->ids);
	set_bit(FLPT_DEFAULT_DID, unit->ids);
	iommu->root_entry = iommu_alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu->root_entry);
	return unit;
}

static inline void vtd_test_unit_free(struct vtd_test_unit *unit)
{
	struct root_entry *root = unit->iommu.root_entry;

	for (int bus = 0; bus < 256; bus++)
		if (root[bus].lo & 1)
			iommu_free_page(phys_to_virt(root[bus].lo & VTD_PAGE_MASK));
	iommu_free_page(root);
}

static inline struct vtd_test_dev *vtd_test_dev(struct kunit *test, struct vtd_test_unit *unit,
						u8 bus, u8 devfn)
{
	struct vtd_test_dev *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	dev->bus.number = bus;
	dev->bus.sysdata = &dev->sysdata;
	dev->pdev.bus = &dev->bus;
	dev->pdev.devfn = devfn;
	dev->pdev.dev.bus = &pci_bus_type;
	dev->pdev.dev.init_name = "test device";
	dev->pdev.dev.iommu = &dev->iommu;
	dev->iommu.priv = &dev->info;
	dev->info.dev = &dev->pdev.dev;
	dev->info.iommu = &unit->iommu;
	dev->info.bus = bus;
	dev->info.devfn = devfn;
	return dev;
}

static inline struct context_entry *vtd_test_entry(struct vtd_test_dev *dev)
{
	return iommu_context_addr(dev->info.iommu, dev->info.bus, dev->info.devfn, 0);
}

/* A domain as iommufd makes it for a device. */
static inline struct dmar_domain *vtd_test_domain(struct kunit *test, struct vtd_test_dev *dev)
{
	struct iommu_domain *domain;

	domain = intel_iommu_ops.domain_alloc_user(&dev->pdev.dev, 0, NULL, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(domain));
	return to_dmar_domain(domain);
}

static inline int vtd_test_attach(struct dmar_domain *domain, struct vtd_test_dev *dev)
{
	return domain->domain.ops->attach_dev(&domain->domain, &dev->pdev.dev);
}

static inline void vtd_test_detach(struct vtd_test_dev *dev)
{
	device_block_translation(&dev->pdev.dev);
}

#endif /* _LIB_TESTS_INTEL_IOMMU_KUNIT_H */
