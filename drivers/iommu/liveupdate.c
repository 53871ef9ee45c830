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
 * **Incoming.** The driver of the IOMMU reads the record before it sets up its first
 * unit, and keeps translation on where there is an entry. When a group gets its
 * default domain, iommu_liveupdate_first_domain() gives the restored one in its
 * place: the default domain is there, but not attached. As it is not the default domain that
 * is attached, no driver of the kernel can use the group for DMA, and nobody can
 * claim ownership, until iommu_liveupdate_finish() attaches it.
 *
 * A domain that cannot be restored is blocked: none of its devices can do DMA any more.
 *
 * Locks: iommu_luo_lock protects both sides. It is taken in callbacks of the FLB, in those
 * of file handlers, and with the mutex of a group held by
 * iommu_liveupdate_first_domain(); the mutex of a group is never taken with it. The
 * callbacks of drivers are called with it.
 */

#define pr_fmt(fmt) "iommu_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommu.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "dma-iommu.h"
#include "iommu-priv.h"

#define IOMMU_LUO_MAX_BLOCKS	65536

/**
 * struct iommu_luo_out - an entry of the outgoing record
 * @list: in one of the lists of the record
 * @ser: the entry
 * @domain: of a domain, itself
 */
struct iommu_luo_out {
	struct list_head list;
	struct iommu_liveupdate_ser *ser;
	struct iommu_domain *domain;
};

/**
 * struct iommu_luo_block - a block of the outgoing record
 * @list: in the order in which they are chained
 * @ser: the block
 * @slots: its entries
 */
struct iommu_luo_block {
	struct list_head list;
	struct iommu_liveupdate_block_ser *ser;
	struct iommu_luo_out slots[IOMMU_LIVEUPDATE_PER_BLOCK];
};

/**
 * struct iommu_luo_record - the outgoing record
 * @blocks: all of it
 * @free: unused entries
 * @units: entries of units, which are few
 * @domains: entries of domains, by the address of the domain
 * @devices: entries of devices, by number
 * @last_domain: the last number given to a domain
 */
struct iommu_luo_record {
	struct list_head blocks;
	struct list_head free;
	struct list_head units;
	struct xarray domains;
	struct xarray devices;
	u64 last_domain;
};

/**
 * struct iommu_luo_in - an entry of the incoming record
 * @ser: a copy
 * @domain: of a domain that was restored, itself
 * @failed: of a domain, it cannot be restored
 * @users: of a domain, number of groups that it is attached to
 */
struct iommu_luo_in {
	struct iommu_liveupdate_ser ser;
	struct iommu_domain *domain;
	bool failed;
	unsigned int users;
};

static DEFINE_MUTEX(iommu_luo_lock);
static LIST_HEAD(iommu_luo_drivers);
static struct iommu_luo_record *iommu_luo_record;	/* while the FLB is preserved */

/* Incoming, each by its number. */
static DEFINE_XARRAY(iommu_luo_units);
static DEFINE_XARRAY(iommu_luo_domains);
static DEFINE_XARRAY(iommu_luo_devices);

static u64 iommu_luo_number(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);

	return (u64)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

static struct iommu_liveupdate_driver *iommu_luo_driver(struct device *dev)
{
	struct iommu_liveupdate_driver *driver;

	lockdep_assert_held(&iommu_luo_lock);
	list_for_each_entry(driver, &iommu_luo_drivers, list)
		if (driver->ops == dev_iommu_ops(dev))
			return driver;
	return NULL;
}

/* ---- outgoing ---- */

static int iommu_luo_block_add(struct iommu_luo_record *rec)
{
	struct iommu_liveupdate_ser *ser;
	struct iommu_luo_block *block, *last;

	block = kzalloc(sizeof(*block), GFP_KERNEL);
	if (!block)
		return -ENOMEM;
	block->ser = kho_alloc_preserve(IOMMU_LIVEUPDATE_BLOCK_SIZE);
	if (IS_ERR(block->ser)) {
		int ret = PTR_ERR(block->ser);

		kfree(block);
		return ret;
	}

	ser = (void *)(block->ser + 1);
	block->ser->count = IOMMU_LIVEUPDATE_PER_BLOCK;
	for (int i = 0; i < IOMMU_LIVEUPDATE_PER_BLOCK; i++) {
		block->slots[i].ser = ser + i;
		list_add_tail(&block->slots[i].list, &rec->free);
	}
	if (!list_empty(&rec->blocks)) {
		last = list_last_entry(&rec->blocks, struct iommu_luo_block, list);
		last->ser->next = virt_to_phys(block->ser);
	}
	list_add_tail(&block->list, &rec->blocks);
	return 0;
}

static void iommu_luo_record_free(struct iommu_luo_record *rec)
{
	struct iommu_luo_block *block, *next;

	list_for_each_entry_safe(block, next, &rec->blocks, list) {
		kho_unpreserve_free(block->ser);
		kfree(block);
	}
	xa_destroy(&rec->domains);
	xa_destroy(&rec->devices);
	kfree(rec);
}

static int iommu_luo_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct iommu_luo_record *rec;
	int ret;

	rec = kzalloc(sizeof(*rec), GFP_KERNEL);
	if (!rec)
		return -ENOMEM;
	INIT_LIST_HEAD(&rec->blocks);
	INIT_LIST_HEAD(&rec->free);
	INIT_LIST_HEAD(&rec->units);
	xa_init(&rec->domains);
	xa_init(&rec->devices);
	ret = iommu_luo_block_add(rec);
	if (ret) {
		kfree(rec);
		return ret;
	}

	args->data = virt_to_phys(list_first_entry(&rec->blocks, struct iommu_luo_block,
						   list)->ser);
	args->obj = rec;
	guard(mutex)(&iommu_luo_lock);
	iommu_luo_record = rec;
	return 0;
}

static void iommu_luo_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	guard(mutex)(&iommu_luo_lock);
	iommu_luo_record = NULL;
	iommu_luo_record_free(args->obj);
}

static struct iommu_luo_out *iommu_luo_out_new(u32 type, const char *driver, u64 id)
{
	struct iommu_luo_out *out;
	int ret;

	if (list_empty(&iommu_luo_record->free)) {
		ret = iommu_luo_block_add(iommu_luo_record);
		if (ret)
			return ERR_PTR(ret);
	}
	out = list_first_entry(&iommu_luo_record->free, struct iommu_luo_out, list);
	list_del_init(&out->list);
	strscpy(out->ser->driver, driver, sizeof(out->ser->driver));
	out->ser->refcount = 1;
	out->ser->id = id;
	out->ser->type = type;
	return out;
}

static void iommu_luo_out_free(struct iommu_luo_out *out)
{
	memset(out->ser, 0, sizeof(*out->ser));
	out->domain = NULL;
	list_move(&out->list, &iommu_luo_record->free);
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
	int ret;

	group = iommu_group_get(dev);
	if (!group) {
		dev_err(dev, "cannot be preserved: no IOMMU translates its DMA\n");
		return -ENODEV;
	}
	walk.domain = iommu_get_domain_for_dev(dev);
	scoped_guard(mutex, &iommu_luo_lock) {
		walk.driver = iommu_luo_driver(dev);
		ret = iommu_luo_record ? 0 : -EINVAL;
	}
	if (ret) {
		dev_err(dev, "cannot be preserved: its file handler did not register with IOMMU\n");
	} else if (!walk.driver) {
		dev_err(dev, "cannot be preserved: the driver of its IOMMU cannot do that\n");
		ret = -EOPNOTSUPP;
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

/* ---- incoming ---- */

static struct xarray *iommu_luo_table(u32 type)
{
	switch (type) {
	case IOMMU_LIVEUPDATE_UNIT:
		return &iommu_luo_units;
	case IOMMU_LIVEUPDATE_DOMAIN:
		return &iommu_luo_domains;
	case IOMMU_LIVEUPDATE_DEVICE:
		return &iommu_luo_devices;
	}
	return NULL;
}

static int iommu_luo_in_add(const struct iommu_liveupdate_ser *ser)
{
	struct xarray *table = iommu_luo_table(ser->type);
	struct iommu_luo_in *in;
	int ret;

	if (!table || !ser->refcount || !memchr(ser->driver, 0, sizeof(ser->driver))) {
		pr_err("an entry of type %u of the record is not valid\n", ser->type);
		return -EINVAL;
	}
	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return -ENOMEM;
	in->ser = *ser;
	ret = xa_insert(table, ser->id, in, GFP_KERNEL);
	if (ret)
		kfree(in);
	return ret == -EBUSY ? -EINVAL : ret;
}

static int iommu_luo_read(u64 pa)
{
	int ret;

	for (int i = 0; pa; i++) {
		const struct iommu_liveupdate_block_ser *block;
		const struct iommu_liveupdate_ser *ser;

		if (i == IOMMU_LUO_MAX_BLOCKS || !IS_ALIGNED(pa, IOMMU_LIVEUPDATE_BLOCK_SIZE) ||
		    kho_incoming_order(pa) != 0) {
			pr_err("there is no block of the record at %#llx\n", pa);
			return -EINVAL;
		}
		block = phys_to_virt(pa);
		if (block->count > IOMMU_LIVEUPDATE_PER_BLOCK) {
			pr_err("the block at %#llx has %llu entries\n", pa, block->count);
			return -EINVAL;
		}
		ser = (const void *)(block + 1);
		for (u64 n = 0; n < block->count; n++, ser++) {
			if (ser->type == IOMMU_LIVEUPDATE_UNUSED)
				continue;
			ret = iommu_luo_in_add(ser);
			if (ret)
				return ret;
		}
		pa = block->next;
	}
	return 0;
}

/* Does every device have its unit and its domain? */
static int iommu_luo_check(void)
{
	struct iommu_luo_in *in, *domain;
	unsigned long id;

	xa_for_each(&iommu_luo_devices, id, in) {
		domain = xa_load(&iommu_luo_domains, in->ser.domain);
		if (domain && xa_load(&iommu_luo_units, in->ser.unit) &&
		    !strcmp(domain->ser.driver, in->ser.driver))
			continue;
		pr_err("the record has no unit or domain of device %#lx\n", id);
		return -EINVAL;
	}
	return 0;
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

static void iommu_luo_tables_free(void)
{
	iommu_luo_table_free(&iommu_luo_devices);
	iommu_luo_table_free(&iommu_luo_domains);
	iommu_luo_table_free(&iommu_luo_units);
}

static int iommu_luo_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	int ret;

	guard(mutex)(&iommu_luo_lock);
	ret = iommu_luo_read(args->data);
	if (!ret)
		ret = iommu_luo_check();
	if (ret) {
		pr_err("translation is not taken over: %pe\n", ERR_PTR(ret));
		iommu_luo_tables_free();
		return ret;
	}
	args->obj = &iommu_luo_devices;
	return 0;
}

static void iommu_luo_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct iommu_luo_in *in;
	unsigned long id;
	u64 pa = args->data;

	guard(mutex)(&iommu_luo_lock);
	/* A domain that is still attached goes on, and is never freed. */
	xa_for_each(&iommu_luo_domains, id, in)
		if (in->users)
			pr_warn("domain %lu was never finished\n", id);
	iommu_luo_tables_free();
	while (pa && kho_incoming_order(pa) == 0) {
		struct iommu_liveupdate_block_ser *block = phys_to_virt(pa);

		pa = block->next;
		kho_restore_free(block);
	}
}

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

/**
 * iommu_liveupdate_reject_all - no unit goes on translating
 *
 * Every incoming device loses its bus mastering: its DMA would reach memory
 * untranslated.
 *
 * Context: may sleep; before translation is switched off.
 */
void iommu_liveupdate_reject_all(void)
{
	pci_liveupdate_reject_all();
}

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
	in = xa_load(&iommu_luo_units, id);
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
	in = xa_load(&iommu_luo_devices, (u64)segment << 16 | bdf);
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

	xa_for_each(&iommu_luo_devices, id, in) {
		if ((unit && in->ser.unit != unit) || (domain && in->ser.domain != domain))
			continue;
		ret = fn(&in->ser, data);
		if (ret)
			break;
	}
	return ret;
}

/**
 * iommu_liveupdate_first_domain - the domain that a group starts with
 * @dev: a device of the group
 * @domain: what it would be
 *
 * Context: may sleep; with the mutex of the group.
 * Return: the restored domain, or @domain if there is none.
 */
struct iommu_domain *iommu_liveupdate_first_domain(struct device *dev,
						   struct iommu_domain *domain)
{
	struct iommu_liveupdate_driver *driver;
	struct iommu_luo_in *in, *dom;

	if (!dev_is_pci(dev) || xa_empty(&iommu_luo_devices))
		return domain;
	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_devices, iommu_luo_number(dev));
	driver = iommu_luo_driver(dev);
	if (!in || !driver)
		return domain;

	dom = xa_load(&iommu_luo_domains, in->ser.domain);
	if (!dom->domain && !dom->failed) {
		dom->domain = driver->restore_domain(dev, &dom->ser);
		if (IS_ERR(dom->domain)) {
			dev_err(dev, "its domain cannot be restored, its DMA is blocked: %pe\n",
				dom->domain);
			dom->domain = NULL;
			dom->failed = true;
		}
	}
	if (dom->failed) {
		driver->block_device(dev);
		return domain;
	}
	dom->users++;
	return dom->domain;
}

static int iommu_luo_walk_finish(struct device *dev, void *data)
{
	struct iommu_domain **domain = data;
	struct iommu_luo_in *in, *dom;

	if (!dev_is_pci(dev))
		return 0;
	guard(mutex)(&iommu_luo_lock);
	in = xa_load(&iommu_luo_devices, iommu_luo_number(dev));
	if (!in || --in->ser.refcount)
		return 0;
	dom = xa_load(&iommu_luo_domains, in->ser.domain);
	*domain = dom->domain;
	xa_erase(&iommu_luo_devices, in->ser.id);
	kfree(in);
	return 0;
}

static int iommu_luo_walk_dma_ops(struct device *dev, void *data)
{
	iommu_setup_dma_ops(dev);
	return 0;
}

/* Is that the last group that a restored domain is attached to? */
static bool iommu_luo_domain_done(const struct iommu_domain *domain)
{
	struct iommu_luo_in *in;
	unsigned long id;

	guard(mutex)(&iommu_luo_lock);
	xa_for_each(&iommu_luo_domains, id, in) {
		if (in->domain == domain && !--in->users) {
			in->domain = NULL;
			in->failed = true;
			return true;
		}
	}
	return false;
}

/**
 * iommu_liveupdate_finish - an incoming device is an ordinary one from now on
 * @dev: the device
 *
 * Its group gets the domain that it would have had; what the restored one mapped
 * is out of reach of its DMA when this returns.
 *
 * Context: may sleep; in a finish() of a file handler.
 */
void iommu_liveupdate_finish(struct device *dev)
{
	struct iommu_group *group = iommu_group_get(dev);
	struct iommu_domain *domain = NULL;

	if (!group)
		return;
	iommu_group_for_each_dev(group, &domain, iommu_luo_walk_finish);
	if (domain && iommu_get_domain_for_dev(dev) == domain) {
		iommu_detach_group(domain, group);
		/* What was left out as long as it was not the default domain */
		iommu_group_for_each_dev(group, NULL, iommu_luo_walk_dma_ops);
		if (iommu_luo_domain_done(domain))
			iommu_domain_free(domain);
	}
	iommu_group_put(group);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_finish);

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
