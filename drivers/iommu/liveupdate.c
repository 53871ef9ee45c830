// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMUs that keep translating while the kernel is replaced: what all have in common.
 */

/**
 * DOC: IOMMU live update
 *
 * The DMA of a device that runs through a live update goes through the same page
 * tables before, during and after the kexec. No second set of tables is
 * built and nothing is mapped again: the next kernel takes over what the hardware uses.
 *
 * **Outgoing.** A file handler registers the FLB of this file,
 * iommu_liveupdate_register(), and preserves devices. All devices of the group come
 * along. The record has an entry for each unit, each domain and each device,
 * include/linux/kho/abi/iommu.h, counted by how often it is needed; what is
 * hardware in it comes from the driver of the IOMMU, &struct
 * iommu_liveupdate_driver. The domain must be one that its user maps, not that of the DMA
 * API, and must not change until the kexec, which is up to that user.
 *
 * **Incoming.** (liveupdate_in.c) The driver of the IOMMU reads the record before it
 * sets up its first unit, and keeps translation on where there is an entry. When a group gets its
 * default domain, iommu_liveupdate_first_domain() gives the restored one in its
 * place: the default domain is there, but not attached. As it is not the default domain that
 * is attached, no driver of the kernel can use the group for DMA, and nobody can
 * claim ownership, until iommu_liveupdate_finish() attaches it.
 *
 * A domain that cannot be restored is blocked: none of its devices can do DMA any more.
 * Before drivers of devices start they are fenced, as are those that no IOMMU translates
 * for. Those of a unit that does not go on translating are fenced before it is switched
 * off.
 *
 * Locks: iommu_luo_lock protects both sides. It is taken in callbacks of the FLB, in those
 * of file handlers, and with the mutex of a group held by
 * iommu_liveupdate_first_domain(); the mutex of a group is never taken with it. The
 * callbacks of drivers are called with it.
 */

#define pr_fmt(fmt) "iommu_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kho/abi/iommu.h>
#include <linux/liveupdate.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "iommu-priv.h"
#include "liveupdate.h"

/**
 * struct iommu_luo_out - an entry of the outgoing record
 * @list: of a unit, in the list of units
 * @ser: the entry
 * @domain: of a domain, itself
 */
struct iommu_luo_out {
	struct list_head list;
	struct iommu_liveupdate_ser *ser;
	struct iommu_domain *domain;
};

/**
 * struct iommu_luo_record - the outgoing record
 * @slots: all of it
 * @units: entries of units, which are few
 * @domains: entries of domains, by the address of the domain
 * @devices: entries of devices, by number
 * @last_domain: the last number given to a domain
 */
struct iommu_luo_record {
	struct luo_slots slots;
	struct list_head units;
	struct xarray domains;
	struct xarray devices;
	u64 last_domain;
};

DEFINE_MUTEX(iommu_luo_lock); /* protects all of it, see above */
static LIST_HEAD(iommu_luo_drivers);
static struct iommu_luo_record *iommu_luo_record;	/* while the FLB is preserved */

/**
 * iommu_luo_number - the number of a device in the record
 * @dev: a PCI device
 *
 * Return: segment << 16 | requester ID.
 */
u64 iommu_luo_number(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);

	return (u64)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

static struct iommu_liveupdate_driver *iommu_luo_driver_of(const struct iommu_ops *ops)
{
	struct iommu_liveupdate_driver *driver;

	lockdep_assert_held(&iommu_luo_lock);
	list_for_each_entry(driver, &iommu_luo_drivers, list)
		if (driver->ops == ops)
			return driver;
	return NULL;
}

/**
 * iommu_luo_driver - the driver of the IOMMU of a device
 * @dev: a device that has one
 *
 * Return: the driver, or NULL if it cannot do live updates.
 */
struct iommu_liveupdate_driver *iommu_luo_driver(struct device *dev)
{
	return iommu_luo_driver_of(dev_iommu_ops(dev));
}

/* ---- what a domain maps ---- */

/* Of an IOMMU without live update, page by page. */
static int iommu_luo_walk_pages(struct iommu_domain *domain, unsigned long iova,
				unsigned long last, iommu_liveupdate_run_fn *fn, void *data)
{
	struct iommu_liveupdate_run run = { .leaf = 1UL << __ffs(domain->pgsize_bitmap) };
	int ret;

	for (run.iova = iova;; run.iova += run.size) {
		run.phys = iommu_iova_to_phys(domain, run.iova);
		run.size = PAGE_SIZE - offset_in_page(run.phys);
		if (last - run.iova < run.size)
			run.size = last - run.iova + 1;
		ret = run.phys ? fn(&run, data) : 0;
		if (ret || last - run.iova < run.size)
			return ret;
	}
}

/**
 * iommu_liveupdate_walk_domain - go through what a domain maps
 * @domain: a domain whose mappings do not change meanwhile
 * @iova: first IOVA
 * @last: last IOVA
 * @fn: called with each stretch, in order; what is not mapped is left out. Ends the
 *	walk by not returning 0.
 * @data: for @fn
 *
 * The driver of the IOMMU reads its own page tables, which costs a few instructions for
 * each entry. With one that cannot, it is slow; its devices cannot be preserved
 * anyway.
 *
 * Context: may sleep if @fn does, which has to give way to others now and then.
 * Return: what the last call of @fn returned.
 */
int iommu_liveupdate_walk_domain(struct iommu_domain *domain, unsigned long iova,
				 unsigned long last, iommu_liveupdate_run_fn *fn, void *data)
{
	struct iommu_liveupdate_driver *driver;

	/* Drivers do not go. */
	scoped_guard(mutex, &iommu_luo_lock)
		driver = iommu_luo_driver_of(domain->owner);
	return (driver ? driver->walk_domain : iommu_luo_walk_pages)(domain, iova, last, fn, data);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_walk_domain);

/* ---- outgoing ---- */

static int iommu_luo_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct iommu_luo_record *rec;
	int ret;

	rec = kzalloc(sizeof(*rec), GFP_KERNEL);
	if (!rec)
		return -ENOMEM;
	INIT_LIST_HEAD(&rec->units);
	xa_init(&rec->domains);
	xa_init(&rec->devices);
	ret = luo_slots_init(&rec->slots, &luo_kho_block_ops,
			     sizeof(struct iommu_liveupdate_ser));
	if (ret) {
		kfree(rec);
		return ret;
	}

	args->data = luo_slots_address(&rec->slots);
	args->obj = rec;
	guard(mutex)(&iommu_luo_lock);
	iommu_luo_record = rec;
	return 0;
}

static void iommu_luo_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	struct iommu_luo_record *rec = args->obj;

	guard(mutex)(&iommu_luo_lock);
	iommu_luo_record = NULL;
	luo_slots_destroy(&rec->slots);
	xa_destroy(&rec->domains);
	xa_destroy(&rec->devices);
	kfree(rec);
}

static struct iommu_luo_out *iommu_luo_out_new(u32 type, const char *driver, u64 id)
{
	struct iommu_luo_out *out;

	out = kzalloc(sizeof(*out), GFP_KERNEL);
	if (!out)
		return ERR_PTR(-ENOMEM);
	out->ser = luo_slot_get(&iommu_luo_record->slots);
	if (IS_ERR(out->ser)) {
		int ret = PTR_ERR(out->ser);

		kfree(out);
		return ERR_PTR(ret);
	}
	INIT_LIST_HEAD(&out->list);
	strscpy(out->ser->driver, driver, sizeof(out->ser->driver));
	out->ser->refcount = 1;
	out->ser->id = id;
	out->ser->type = type;
	return out;
}

static void iommu_luo_out_free(struct iommu_luo_out *out)
{
	list_del(&out->list);
	luo_slot_put(&iommu_luo_record->slots, out->ser);
	kfree(out);
}

static struct iommu_luo_out *iommu_luo_unit_find(u64 id)
{
	struct iommu_luo_out *out;

	list_for_each_entry(out, &iommu_luo_record->units, list)
		if (out->ser->id == id)
			return out;
	return NULL;
}

static struct iommu_luo_out *iommu_luo_unit_get(struct iommu_liveupdate_driver *driver,
						struct device *dev)
{
	u64 id = driver->unit_id(dev);
	struct iommu_luo_out *out = iommu_luo_unit_find(id);
	int ret;

	if (out) {
		out->ser->refcount++;
		return out;
	}
	out = iommu_luo_out_new(IOMMU_LIVEUPDATE_UNIT, driver->name, id);
	if (IS_ERR(out))
		return out;
	ret = driver->preserve_unit(dev, out->ser);
	if (ret) {
		iommu_luo_out_free(out);
		return ERR_PTR(ret);
	}
	list_add(&out->list, &iommu_luo_record->units);
	return out;
}

static void iommu_luo_unit_put(struct iommu_liveupdate_driver *driver, struct iommu_luo_out *out)
{
	if (--out->ser->refcount)
		return;
	driver->unpreserve_unit(out->ser);
	iommu_luo_out_free(out);
}

static struct iommu_luo_out *iommu_luo_domain_get(struct iommu_liveupdate_driver *driver,
						  struct iommu_domain *domain)
{
	unsigned long index = (unsigned long)domain;
	struct iommu_luo_out *out = xa_load(&iommu_luo_record->domains, index);
	int ret;

	if (out) {
		out->ser->refcount++;
		return out;
	}
	out = iommu_luo_out_new(IOMMU_LIVEUPDATE_DOMAIN, driver->name,
				++iommu_luo_record->last_domain);
	if (IS_ERR(out))
		return out;
	out->domain = domain;
	ret = xa_err(xa_store(&iommu_luo_record->domains, index, out, GFP_KERNEL));
	if (!ret) {
		ret = driver->preserve_domain(domain, out->ser);
		if (!ret)
			return out;
		xa_erase(&iommu_luo_record->domains, index);
	}
	iommu_luo_out_free(out);
	return ERR_PTR(ret);
}

static void iommu_luo_domain_put(struct iommu_liveupdate_driver *driver, struct iommu_luo_out *out)
{
	if (--out->ser->refcount)
		return;
	driver->unpreserve_domain(out->domain, out->ser);
	xa_erase(&iommu_luo_record->domains, (unsigned long)out->domain);
	iommu_luo_out_free(out);
}

static void iommu_luo_device_put(struct iommu_liveupdate_driver *driver, struct device *dev)
{
	struct iommu_luo_out *out = xa_load(&iommu_luo_record->devices, iommu_luo_number(dev));
	struct iommu_luo_out *unit, *domain;

	if (--out->ser->refcount)
		return;
	unit = iommu_luo_unit_find(out->ser->unit);
	domain = xa_load(&iommu_luo_record->domains, (unsigned long)out->domain);
	driver->unpreserve_device(dev, unit->ser);
	xa_erase(&iommu_luo_record->devices, out->ser->id);
	iommu_luo_out_free(out);
	iommu_luo_domain_put(driver, domain);
	iommu_luo_unit_put(driver, unit);
}

static int iommu_luo_device_get(struct iommu_liveupdate_driver *driver, struct device *dev,
				struct iommu_domain *dom)
{
	struct iommu_luo_out *out = xa_load(&iommu_luo_record->devices, iommu_luo_number(dev));
	struct iommu_luo_out *unit, *domain;
	int ret;

	if (out) {
		out->ser->refcount++;
		return 0;
	}

	unit = iommu_luo_unit_get(driver, dev);
	if (IS_ERR(unit))
		return PTR_ERR(unit);
	domain = iommu_luo_domain_get(driver, dom);
	if (IS_ERR(domain)) {
		ret = PTR_ERR(domain);
		goto err_unit;
	}
	out = iommu_luo_out_new(IOMMU_LIVEUPDATE_DEVICE, driver->name, iommu_luo_number(dev));
	if (IS_ERR(out)) {
		ret = PTR_ERR(out);
		goto err_domain;
	}
	out->domain = dom;
	out->ser->unit = unit->ser->id;
	out->ser->domain = domain->ser->id;
	ret = xa_err(xa_store(&iommu_luo_record->devices, out->ser->id, out, GFP_KERNEL));
	if (ret)
		goto err_out;
	ret = driver->preserve_device(dev, unit->ser, dom, out->ser);
	if (!ret)
		return 0;

	xa_erase(&iommu_luo_record->devices, out->ser->id);
err_out:
	iommu_luo_out_free(out);
err_domain:
	iommu_luo_domain_put(driver, domain);
err_unit:
	iommu_luo_unit_put(driver, unit);
	return ret;
}

/* The walk over a group: devices that were done before an error are undone. */
struct iommu_luo_walk {
	struct iommu_liveupdate_driver *driver;
	struct iommu_domain *domain;
	int done;
};

static int iommu_luo_walk_get(struct device *dev, void *data)
{
	struct iommu_luo_walk *walk = data;
	int ret;

	if (!dev_is_pci(dev)) {
		dev_err(dev, "cannot be preserved: no PCI device\n");
		return -EOPNOTSUPP;
	}
	guard(mutex)(&iommu_luo_lock);
	ret = iommu_luo_device_get(walk->driver, dev, walk->domain);
	if (!ret)
		walk->done++;
	return ret;
}

static int iommu_luo_walk_put(struct device *dev, void *data)
{
	struct iommu_luo_walk *walk = data;

	if (!walk->done--)
		return 1;
	guard(mutex)(&iommu_luo_lock);
	iommu_luo_device_put(walk->driver, dev);
	return 0;
}

/**
 * iommu_liveupdate_preserve - keep the DMA of a device going through the next kexec
 * @dev: the device. All of its group come along.
 *
 * The domain to which the group is attached must not change from here on, nor what
 * it maps: that is up to whose domain it is.
 *
 * Context: may sleep; in a preserve() of a file handler that has called
 * iommu_liveupdate_register().
 * Return: 0, -ENODEV without an IOMMU, -EINVAL if the domain is that of the kernel's
 * own drivers, -EOPNOTSUPP for what the driver of the IOMMU cannot preserve, or
 * -ENOMEM. All but the last have a line in the log.
 */
int iommu_liveupdate_preserve(struct device *dev)
{
	struct iommu_luo_walk walk = { };
	struct iommu_group *group;
	bool registered;
	int ret;

	group = iommu_group_get(dev);
	if (!group) {
		dev_err(dev, "cannot be preserved: no IOMMU translates its DMA\n");
		return -ENODEV;
	}
	walk.domain = iommu_get_domain_for_dev(dev);
	scoped_guard(mutex, &iommu_luo_lock) {
		walk.driver = iommu_luo_driver(dev);
		registered = iommu_luo_record;
	}
	if (!walk.driver) {
		dev_err(dev, "cannot be preserved: the driver of its IOMMU cannot do that\n");
		ret = -EOPNOTSUPP;
	} else if (!registered) {
		dev_err(dev, "cannot be preserved: its file handler did not register with IOMMU\n");
		ret = -EINVAL;
	} else if (!walk.domain || walk.domain->type != IOMMU_DOMAIN_UNMANAGED) {
		dev_err(dev, "cannot be preserved: not attached to page tables of a user\n");
		ret = -EINVAL;
	} else {
		ret = iommu_group_for_each_dev(group, &walk, iommu_luo_walk_get);
		if (ret)
			iommu_group_for_each_dev(group, &walk, iommu_luo_walk_put);
	}
	iommu_group_put(group);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_preserve);

/**
 * iommu_liveupdate_unpreserve - undo iommu_liveupdate_preserve()
 * @dev: the device
 *
 * Context: may sleep; in an unpreserve() of the same file handler.
 */
void iommu_liveupdate_unpreserve(struct device *dev)
{
	struct iommu_luo_walk walk = { .done = INT_MAX };
	struct iommu_group *group = iommu_group_get(dev);

	scoped_guard(mutex, &iommu_luo_lock)
		walk.driver = iommu_luo_driver(dev);
	iommu_group_for_each_dev(group, &walk, iommu_luo_walk_put);
	iommu_group_put(group);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_unpreserve);

static const struct liveupdate_flb_ops iommu_luo_flb_ops = {
	.preserve = iommu_luo_flb_preserve,
	.unpreserve = iommu_luo_flb_unpreserve,
	.retrieve = iommu_luo_flb_retrieve,
	.finish = iommu_luo_flb_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb iommu_luo_flb = {
	.ops = &iommu_luo_flb_ops,
	.compatible = IOMMU_LIVEUPDATE_COMPATIBLE,
};

/*
 * After the buses were scanned, before the drivers of IOMMUs start, which ask with
 * locks held.
 */
static int __init iommu_luo_load(void)
{
	void *obj;
	int ret;

	ret = liveupdate_flb_get_incoming(&iommu_luo_flb, &obj);
	if (!ret)
		liveupdate_flb_put_incoming(&iommu_luo_flb);
	else if (ret != -EOPNOTSUPP && ret != -ENOENT)
		iommu_liveupdate_reject_all();
	return 0;
}
fs_initcall_sync(iommu_luo_load);

/**
 * iommu_liveupdate_register_driver - the driver of an IOMMU can do live updates
 * @driver: what it can do; stays registered
 *
 * Context: may sleep; before the driver registers its first unit.
 */
void iommu_liveupdate_register_driver(struct iommu_liveupdate_driver *driver)
{
	guard(mutex)(&iommu_luo_lock);
	list_add(&driver->list, &iommu_luo_drivers);
}

/**
 * iommu_liveupdate_register - let the files of a handler stand for devices
 * @handler: the file handler, registered
 *
 * Context: may sleep.
 * Return: 0 or what liveupdate_register_flb() returns.
 */
int iommu_liveupdate_register(struct liveupdate_file_handler *handler)
{
	return liveupdate_register_flb(handler, &iommu_luo_flb);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_register);

/**
 * iommu_liveupdate_unregister - undo iommu_liveupdate_register()
 * @handler: the file handler
 *
 * Context: may sleep.
 * Return: 0 or what liveupdate_unregister_flb() returns.
 */
int iommu_liveupdate_unregister(struct liveupdate_file_handler *handler)
{
	return liveupdate_unregister_flb(handler, &iommu_luo_flb);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_unregister);
