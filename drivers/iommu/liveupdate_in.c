// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMUs that keep translating while the kernel is replaced: what came in.
 */

/**
 * DOC: What IOMMUs came in with
 *
 * What the previous kernel left is input like any other. Blocks, entries, numbers and
 * what they refer to are all looked at before any of it is used, and if one makes no
 * sense, none is: then no unit goes on translating, and the devices are stopped.
 *
 * Locks: see liveupdate.c.
 */

#define pr_fmt(fmt) "iommu_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/liveupdate.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "dma-iommu.h"
#include "iommu-priv.h"
#include "liveupdate.h"

static struct iommu_luo_tables iommu_luo_incoming = {
	.units = XARRAY_INIT(iommu_luo_incoming.units, 0),
	.domains = XARRAY_INIT(iommu_luo_incoming.domains, 0),
	.devices = XARRAY_INIT(iommu_luo_incoming.devices, 0),
};

static struct xarray *iommu_luo_table(struct iommu_luo_tables *tables, u32 type)
{
	switch (type) {
	case IOMMU_LIVEUPDATE_UNIT:
		return &tables->units;
	case IOMMU_LIVEUPDATE_DOMAIN:
		return &tables->domains;
	case IOMMU_LIVEUPDATE_DEVICE:
		return &tables->devices;
	}
	return NULL;
}

static int iommu_luo_in_add(struct iommu_luo_tables *tables,
			    const struct iommu_liveupdate_ser *ser)
{
	struct xarray *table = iommu_luo_table(tables, ser->type);
	struct iommu_luo_in *in;
	int ret;

	if (!table || !ser->refcount || !ser->driver[0] ||
	    !memchr(ser->driver, 0, sizeof(ser->driver)) ||
	    (ser->type == IOMMU_LIVEUPDATE_DOMAIN && !ser->id) ||
	    (ser->type == IOMMU_LIVEUPDATE_DEVICE ? ser->id >> 48 :
	     ser->unit || ser->domain)) {
		pr_err("entry %#llx of type %u of the record is not valid\n", ser->id,
		       ser->type);
		return -EBADMSG;
	}
	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return -ENOMEM;
	in->ser = *ser;
	ret = xa_insert(table, ser->id, in, GFP_KERNEL);
	if (!ret)
		return 0;
	kfree(in);
	if (ret != -EBUSY)
		return ret;
	pr_err("entry %#llx of type %u comes twice in the record\n", ser->id, ser->type);
	return -EBADMSG;
}

/* Has every device its unit and its domain, all of the same driver? */
static int iommu_luo_check(struct iommu_luo_tables *tables)
{
	struct iommu_luo_in *in, *domain, *unit;
	unsigned long id;

	xa_for_each(&tables->devices, id, in) {
		domain = xa_load(&tables->domains, in->ser.domain);
		unit = xa_load(&tables->units, in->ser.unit);
		if (domain && unit && !strcmp(domain->ser.driver, in->ser.driver) &&
		    !strcmp(unit->ser.driver, in->ser.driver))
			continue;
		pr_err("the record has no unit or domain of device %#lx\n", id);
		return -EBADMSG;
	}
	return 0;
}

/**
 * iommu_luo_read - read a record of units, domains and devices
 * @tables: empty; where they are entered, also if it fails
 * @ops: where blocks come from
 * @pa: where the previous kernel left the record
 *
 * Context: may sleep.
 * Return: 0, -EBADMSG if any of it makes no sense, which is logged, or -ENOMEM.
 */
int iommu_luo_read(struct iommu_luo_tables *tables, const struct luo_block_ops *ops, u64 pa)
{
	struct luo_incoming_chain *chain = &tables->chain;
	const struct iommu_liveupdate_ser *ser;
	struct luo_chain_reader reader;
	int ret;

	if (luo_incoming_chain_check(chain, ops, pa, sizeof(*ser), LUO_COUNT_UNKNOWN)) {
		pr_err("the record is damaged: %s (block at %#llx)\n", chain->fault,
		       chain->fault_pa);
		return -EBADMSG;
	}
	luo_chain_read(chain, &reader);
	while ((ser = luo_chain_read_next(&reader))) {
		ret = ser->type == IOMMU_LIVEUPDATE_UNUSED ? 0 : iommu_luo_in_add(tables, ser);
		if (ret)
			return ret;
	}
	return iommu_luo_check(tables);
}

static void iommu_luo_table_free(struct xarray *table)
{
	struct iommu_luo_in *in;
	unsigned long id;

	xa_for_each(table, id, in) {
		xa_erase(table, id);
		kfree(in);
	}
}

/**
 * iommu_luo_tables_free - forget what came in
 * @tables: the tables, empty after that
 */
void iommu_luo_tables_free(struct iommu_luo_tables *tables)
{
	iommu_luo_table_free(&tables->devices);
	iommu_luo_table_free(&tables->domains);
	iommu_luo_table_free(&tables->units);
}

/**
 * iommu_luo_flb_retrieve - read what the previous kernel left
 * @args: of the FLB
 *
 * Context: may sleep.
 * Return: 0 or what iommu_luo_read() returns; nothing is incoming then.
 */
int iommu_luo_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	int ret;

	guard(mutex)(&iommu_luo_lock);
	ret = iommu_luo_read(&iommu_luo_incoming, &luo_kho_block_ops, args->data);
	if (ret) {
		pr_err("translation is not taken over: %pe\n", ERR_PTR(ret));
		iommu_luo_tables_free(&iommu_luo_incoming);
		return ret;
	}
	args->obj = &iommu_luo_incoming;
	return 0;
}

/**
 * iommu_luo_flb_finish - nobody needs to know any more what came in
 * @args: of the FLB
 *
 * Context: may sleep.
 */
void iommu_luo_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct iommu_luo_in *in;
	unsigned long id;

	guard(mutex)(&iommu_luo_lock);
	/* A domain that is still attached goes on, and is never freed. */
	xa_for_each(&iommu_luo_incoming.domains, id, in)
		if (in->users)
			pr_warn("domain %lu was never finished\n", id);
	iommu_luo_tables_free(&iommu_luo_incoming);
	luo_incoming_chain_release(&iommu_luo_incoming.chain);
}

/**
 * iommu_liveupdate_reject_all - no unit goes on translating
 *
 * Every incoming device is stopped: its DMA would reach memory untranslated.
 *
 * Context: may sleep; before translation is switched off.
 */
void iommu_liveupdate_reject_all(void)
{
	pci_liveupdate_reject_all();
}

static int iommu_luo_reject(const struct iommu_liveupdate_ser *device, void *data)
{
	pci_liveupdate_reject(device->id >> 16, device->id & 0xffff);
	return 0;
}

/**
 * iommu_liveupdate_reject_unit - a unit does not go on translating
 * @id: number of the unit
 *
 * Its devices are stopped, and reset if that is possible.
 *
 * Context: may sleep; before the unit is switched off.
 */
void iommu_liveupdate_reject_unit(u64 id)
{
	iommu_liveupdate_walk(id, 0, iommu_luo_reject, NULL);
}

/**
 * iommu_liveupdate_reject_missing - stop the devices of units that are not there
 * @driver: name of the driver that asks
 * @is_there: is this one of its units?
 *
 * Whatever translates for them now may be switched off, as nobody knows about it.
 *
 * Context: may sleep; before any unit is switched off.
 */
void iommu_liveupdate_reject_missing(const char *driver, bool (*is_there)(u64 id))
{
	struct iommu_luo_in *in;
	unsigned long id;

	xa_for_each(&iommu_luo_incoming.units, id, in) {
		if (!strcmp(in->ser.driver, driver) && is_there(id))
			continue;
		pr_err("unit %#lx of %s is not there\n", id, in->ser.driver);
		iommu_liveupdate_reject_unit(id);
	}
}

/* A device that no IOMMU translates for, or not as the record says, does not go on. */
static int iommu_luo_settle(const struct iommu_liveupdate_ser *ser, void *data)
{
	struct iommu_luo_in *dom = xa_load(&iommu_luo_incoming.domains, ser->domain);
	u16 bdf = ser->id & 0xffff;
	bool *finish = data;
	struct pci_dev *dev;

	dev = pci_get_domain_bus_and_slot(ser->id >> 16, PCI_BUS_NUM(bdf), bdf & 0xff);
	if (!dev)
		return 0;
	if (!device_iommu_mapped(&dev->dev) || dom->failed) {
		if (*finish)
			iommu_liveupdate_finish(&dev->dev);
		else
			iommu_luo_reject(ser, NULL);
	}
	pci_dev_put(dev);
	return 0;
}

/*
 * After the drivers of IOMMUs have started, before those of devices do. A group gets another
 * domain when all of its devices are stopped.
 */
static int __init iommu_luo_settle_all(void)
{
	bool finish = false;

	iommu_liveupdate_walk(0, 0, iommu_luo_settle, &finish);
	finish = true;
	iommu_liveupdate_walk(0, 0, iommu_luo_settle, &finish);
	return 0;
}
device_initcall(iommu_luo_settle_all);

/**
 * iommu_liveupdate_unit - what the previous kernel left of a unit
 * @driver: name of the driver that asks
 * @id: number of the unit
 *
 * Context: may sleep; from the rootfs initcalls on.
 * Return: the entry, which stays until all files are finished, or NULL.
 */
const struct iommu_liveupdate_ser *iommu_liveupdate_unit(const char *driver, u64 id)
{
	struct iommu_luo_in *in;

	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_incoming.units, id);
	if (in && strcmp(in->ser.driver, driver)) {
		pr_err("unit %#llx is of %s, not of %s\n", id, in->ser.driver, driver);
		return NULL;
	}
	return in ? &in->ser : NULL;
}

/**
 * iommu_liveupdate_device - what the previous kernel left of a device
 * @unit: number of its unit
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * Context: may sleep.
 * Return: the entry, which stays until the device is finished, or NULL.
 */
const struct iommu_liveupdate_ser *iommu_liveupdate_device(u64 unit, u32 segment, u16 bdf)
{
	struct iommu_luo_in *in;

	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_incoming.devices, (u64)segment << 16 | bdf);
	return in && in->ser.unit == unit ? &in->ser : NULL;
}

/**
 * iommu_liveupdate_walk - go through the incoming devices
 * @unit: of this unit; 0: of any
 * @domain: in this domain; 0: in any
 * @fn: called with each entry; ends the walk by not returning 0
 * @data: for @fn
 *
 * Context: may sleep; in the callbacks of drivers, and while nothing can be finished.
 * Return: what the last call of @fn returned.
 */
int iommu_liveupdate_walk(u64 unit, u64 domain, iommu_liveupdate_fn *fn, void *data)
{
	struct iommu_luo_in *in;
	unsigned long id;
	int ret = 0;

	xa_for_each(&iommu_luo_incoming.devices, id, in) {
		if ((unit && in->ser.unit != unit) || (domain && in->ser.domain != domain))
			continue;
		ret = fn(&in->ser, data);
		if (ret)
			break;
	}
	return ret;
}

/*
 * Is a device of the group not the one that was preserved? Then none of it has a page table
 * that came in: the entries of all are cleared, so that the default domain can be
 * attached.
 */
static bool iommu_luo_block_strange(struct device *dev, struct iommu_liveupdate_driver *driver)
{
	struct iommu_luo_in *in;
	bool strange = false;
	unsigned long id;

	lockdep_assert_held(&iommu_luo_lock);
	for (int pass = 0; !pass || (pass == 1 && strange); pass++) {
		xa_for_each(&iommu_luo_incoming.devices, id, in) {
			struct pci_dev *pdev = pci_get_domain_bus_and_slot(id >> 16,
						PCI_BUS_NUM(id), id & 0xff);

			if (!pdev || pdev->dev.iommu_group != dev->iommu_group) {
				pci_dev_put(pdev);
				continue;
			}
			if (pass) {
				driver->block_device(&pdev->dev);
			} else if (!pci_liveupdate_incoming(pdev)) {
				pci_err(pdev, "is not what was preserved, its DMA is cut off\n");
				strange = true;
			}
			pci_dev_put(pdev);
		}
	}
	return strange;
}

/**
 * iommu_liveupdate_first_domain - the domain that a group starts with
 * @dev: a device of the group
 * @domain: what it would be
 *
 * Context: may sleep; with the mutex of the group.
 * Return: the restored domain; or @domain if there is none; or, if it cannot be restored,
 * one that blocks, for what device is still running.
 */
struct iommu_domain *iommu_liveupdate_first_domain(struct device *dev,
						   struct iommu_domain *domain)
{
	struct iommu_liveupdate_driver *driver;
	struct iommu_luo_in *in, *dom;

	if (!dev_is_pci(dev) || xa_empty(&iommu_luo_incoming.devices))
		return domain;
	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_incoming.devices, iommu_luo_number(dev));
	driver = iommu_luo_driver(dev);
	if (!in || !driver)
		return domain;
	if (iommu_luo_block_strange(dev, driver))
		return domain;

	dom = xa_load(&iommu_luo_incoming.domains, in->ser.domain);
	if (!dom->domain && !dom->failed) {
		dom->domain = driver->restore_domain(dev, &dom->ser);
		if (IS_ERR(dom->domain)) {
			dev_err(dev, "its domain cannot be restored, its DMA is blocked: %pe\n",
				dom->domain);
			dom->domain = NULL;
			dom->failed = true;
		} else {
			dom->domain->owner = driver->ops;
		}
	}
	if (dom->failed) {
		driver->block_device(dev);
		return driver->ops->blocked_domain;
	}
	dom->users++;
	return dom->domain;
}

/* Of a group that is finished: what it started with, and if that is done with. */
struct iommu_luo_walk_in {
	struct iommu_domain *domain;
	bool found;
};

static int iommu_luo_walk_finish(struct device *dev, void *data)
{
	struct iommu_luo_walk_in *walk = data;
	struct iommu_luo_in *in, *dom;

	if (!dev_is_pci(dev))
		return 0;
	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_incoming.devices, iommu_luo_number(dev));
	if (!in || --in->ser.refcount)
		return 0;
	dom = xa_load(&iommu_luo_incoming.domains, in->ser.domain);
	walk->domain = dom->domain;
	walk->found = true;
	xa_erase(&iommu_luo_incoming.devices, in->ser.id);
	kfree(in);
	return 0;
}

/* From here on its page tables are this kernel's, if they are what they should be. */
static bool iommu_luo_claim(struct device *dev, struct iommu_luo_in *dom)
{
	if (!dom->claimed && !dom->failed) {
		dom->claimed = !iommu_luo_driver(dev)->claim_domain(dom->domain);
		dom->failed = !dom->claimed;
	}
	return dom->claimed;
}

/**
 * iommu_liveupdate_domain - the restored domain that an incoming device is using
 * @dev: the device
 *
 * Its page tables are taken over when the first of its devices is asked for.
 *
 * Context: may sleep.
 * Return: the domain, or NULL if there is none, it is damaged, or another one is attached by
 * now.
 */
struct iommu_domain *iommu_liveupdate_domain(struct device *dev)
{
	struct iommu_luo_in *in, *dom = NULL;

	if (!dev_is_pci(dev))
		return NULL;
	scoped_guard(mutex, &iommu_luo_lock) {
		in = xa_load(&iommu_luo_incoming.devices, iommu_luo_number(dev));
		if (in)
			dom = xa_load(&iommu_luo_incoming.domains, in->ser.domain);
		if (!dom || !dom->domain)
			return NULL;
		if (!iommu_luo_claim(dev, dom)) {
			dev_err(dev, "its page tables are damaged, its DMA is blocked\n");
			iommu_luo_driver(dev)->block_device(dev);
			return NULL;
		}
	}
	return iommu_get_domain_for_dev(dev) == dom->domain ? dom->domain : NULL;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_domain);

/**
 * iommu_liveupdate_adopted - a restored domain belongs to somebody from now on
 * @dev: an incoming device that uses it
 *
 * iommu_liveupdate_finish() leaves it attached, and whoever adopted it frees it when it is
 * not attached any more.
 *
 * Context: may sleep; iommu_liveupdate_domain() gave a domain.
 */
void iommu_liveupdate_adopted(struct device *dev)
{
	struct iommu_luo_in *in, *dom;

	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_incoming.devices, iommu_luo_number(dev));
	dom = xa_load(&iommu_luo_incoming.domains, in->ser.domain);
	dom->adopted = true;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_adopted);

static bool iommu_luo_domain_adopted(const struct iommu_domain *domain)
{
	struct iommu_luo_in *in;
	unsigned long id;

	guard(mutex)(&iommu_luo_lock);
	xa_for_each(&iommu_luo_incoming.domains, id, in)
		if (in->domain == domain)
			return in->adopted;
	return false;
}

/**
 * iommu_liveupdate_block - refuse the DMA of an incoming device
 * @dev: the device
 *
 * The first step of pci_liveupdate_fence(). When this returns, no DMA of the device
 * reaches memory.
 *
 * Context: may sleep.
 */
void iommu_liveupdate_block(struct device *dev)
{
	struct iommu_liveupdate_driver *driver;

	if (!dev_is_pci(dev) || !device_iommu_mapped(dev))
		return;
	guard(mutex)(&iommu_luo_lock);
	driver = iommu_luo_driver(dev);
	if (driver && xa_load(&iommu_luo_incoming.devices, iommu_luo_number(dev)))
		driver->block_device(dev);
}

static int iommu_luo_walk_dma_ops(struct device *dev, void *data)
{
	iommu_setup_dma_ops(dev);
	return 0;
}

/* Is that the last group that a restored domain is attached to, and can it be freed? */
static bool iommu_luo_domain_done(struct device *dev, const struct iommu_domain *domain)
{
	struct iommu_luo_in *in;
	unsigned long id;
	bool free;

	guard(mutex)(&iommu_luo_lock);
	xa_for_each(&iommu_luo_incoming.domains, id, in) {
		if (in->domain != domain || --in->users)
			continue;
		/* Tables that are not this kernel's are nobody's until the next one. */
		free = iommu_luo_claim(dev, in);
		in->domain = NULL;
		in->failed = true;
		return free;
	}
	return false;
}

/*
 * A restored domain is not freed as long as a stuck device is attached to it, unless it is
 * somebody else's by now: then the device goes out of it, and is cut off again, or is
 * that one's. It does not master the bus.
 */
static void iommu_luo_finish_stuck(struct device *dev, struct iommu_group *group)
{
	struct iommu_domain *domain = iommu_liveupdate_domain(dev);
	struct iommu_luo_walk_in walk = { };

	if (!domain || !iommu_luo_domain_adopted(domain))
		return;
	if (!iommu_group_dma_owner_claimed(group)) {
		iommu_detach_group(domain, group);
		iommu_liveupdate_block(dev);
	}
	iommu_group_for_each_dev(group, &walk, iommu_luo_walk_finish);
	if (walk.found)
		iommu_luo_domain_done(dev, domain);
}

/**
 * iommu_liveupdate_finish - an incoming device is an ordinary one from now on
 * @dev: the device
 *
 * Its group gets the domain that it would have had; what the restored one mapped
 * is out of reach of its DMA when this returns. If somebody adopted the restored one, and
 * has the group, it stays attached, as that one's. A device that was fenced and could not
 * be reset stays cut off.
 *
 * Context: may sleep; in a finish() of a file handler.
 */
void iommu_liveupdate_finish(struct device *dev)
{
	struct iommu_group *group = iommu_group_get(dev);
	struct iommu_domain *domain, *now;
	struct iommu_luo_walk_in walk = { };
	bool adopted;

	if (!group)
		return;
	if (dev_is_pci(dev) && pci_liveupdate_stuck(to_pci_dev(dev))) {
		iommu_luo_finish_stuck(dev, group);
		iommu_group_put(group);
		return;
	}
	iommu_group_for_each_dev(group, &walk, iommu_luo_walk_finish);
	domain = walk.domain;
	now = iommu_get_domain_for_dev(dev);
	adopted = domain && iommu_luo_domain_adopted(domain);
	if (adopted && iommu_group_dma_owner_claimed(group)) {
		iommu_luo_domain_done(dev, domain);
	} else if (domain ? now == domain : walk.found && now->type == IOMMU_DOMAIN_BLOCKED) {
		iommu_detach_group(now, group);
		/* What was left out as long as it was not the default domain */
		iommu_group_for_each_dev(group, NULL, iommu_luo_walk_dma_ops);
		if (domain && iommu_luo_domain_done(dev, domain) && !adopted)
			iommu_domain_free(domain);
	}
	iommu_group_put(group);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_finish);
