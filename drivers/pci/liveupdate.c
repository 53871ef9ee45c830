// SPDX-License-Identifier: GPL-2.0
/*
 * PCI devices that keep running while the kernel is replaced: who they are.
 */

/**
 * DOC: PCI live update
 *
 * A device that a user-space driver owns can go on with its DMA while one kernel
 * replaces another. What stands in its way in the PCI core is much: bus mastering
 * is taken from every device before the kexec, and enumeration in the next kernel
 * drops address decoding, sizes base address registers by writing to them, resets
 * interrupts, and configures links, error reporting and power management anew.
 * For the devices recorded here, and for the bridges between them and the root
 * bus, none of this takes place.
 *
 * **Outgoing.** A file handler (that of vfio-pci) registers the FLB of this file,
 * pci_liveupdate_register(), and preserves devices. The record has an entry for
 * each device and bridge, include/linux/kho/abi/pci.h, made when the device is
 * preserved; a bridge is counted as often as devices below it are. At the kexec,
 * pci_device_shutdown() leaves devices alone, and the bus mastering of bridges.
 *
 * **Incoming.** The record is read when the first device is set up. An entry is
 * either refused, if the hardware is not what it says, or the device is
 * *incoming* until pci_liveupdate_finish(). What the next kernel does with
 * an incoming device is in liveupdate_enum.c. Of an incoming device it is known
 * which file handler will come for it: pci_liveupdate_claim() ends the guard of
 * its config space. Bridges are guarded as long as any device below them is
 * incoming.
 *
 * A device that the record does not fit loses its bus mastering and is then
 * an ordinary device. A record that cannot be read at all is an error in the log,
 * and all devices are ordinary: what they are still up to is for the IOMMU to
 * block.
 *
 * Locks: pci_luo_lock protects both sides, outgoing and incoming. It is taken in
 * the callbacks of the FLB, under LUO's own locks, and nothing but allocation and
 * KHO is called with it. The guard looks up incoming devices under RCU, in any
 * context.
 */

#define pr_fmt(fmt) "pci_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/once.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "liveupdate.h"
#include "pci.h"

/* So many blocks have room for more devices than a machine has. */
#define PCI_LUO_MAX_BLOCKS	4096

/**
 * struct pci_luo_out - an entry of the outgoing record
 * @list: in the list of free ones
 * @ser: the entry
 * @dev: the device, with a reference; NULL if free
 */
struct pci_luo_out {
	struct list_head list;
	struct pci_liveupdate_dev_ser *ser;
	struct pci_dev *dev;
};

/**
 * struct pci_luo_block - a block of the outgoing record
 * @list: in the order in which they are chained
 * @ser: the block
 * @slots: its entries
 */
struct pci_luo_block {
	struct list_head list;
	struct pci_liveupdate_block_ser *ser;
	struct pci_luo_out slots[PCI_LIVEUPDATE_PER_BLOCK];
};

/**
 * struct pci_luo_record - the outgoing record
 * @blocks: all of it
 * @free: entries without a device
 */
struct pci_luo_record {
	struct list_head blocks;
	struct list_head free;
};

/* No static key: it is set with locks of IOMMU drivers held, which CPU hotplug takes. */
bool pci_liveupdate_guarded __read_mostly;

static DEFINE_MUTEX(pci_luo_lock);
static struct pci_luo_record *pci_luo_record;	/* while the FLB is preserved */
static DEFINE_XARRAY(pci_luo_in);		/* incoming, by pci_luo_key() */

static unsigned long pci_luo_key(u32 segment, u16 bdf)
{
	return (unsigned long)segment << 16 | bdf;
}

/* ---- outgoing ---- */

static int pci_luo_block_add(struct pci_luo_record *rec)
{
	struct pci_liveupdate_dev_ser *ser;
	struct pci_luo_block *block, *last;

	block = kzalloc(sizeof(*block), GFP_KERNEL);
	if (!block)
		return -ENOMEM;
	block->ser = kho_alloc_preserve(PCI_LIVEUPDATE_BLOCK_SIZE);
	if (IS_ERR(block->ser)) {
		int ret = PTR_ERR(block->ser);

		kfree(block);
		return ret;
	}

	ser = (void *)(block->ser + 1);
	block->ser->count = PCI_LIVEUPDATE_PER_BLOCK;
	for (int i = 0; i < PCI_LIVEUPDATE_PER_BLOCK; i++) {
		block->slots[i].ser = ser + i;
		list_add_tail(&block->slots[i].list, &rec->free);
	}
	if (!list_empty(&rec->blocks)) {
		last = list_last_entry(&rec->blocks, struct pci_luo_block, list);
		last->ser->next = virt_to_phys(block->ser);
	}
	list_add_tail(&block->list, &rec->blocks);
	return 0;
}

static void pci_luo_record_free(struct pci_luo_record *rec)
{
	struct pci_luo_block *block, *next;

	list_for_each_entry_safe(block, next, &rec->blocks, list) {
		kho_unpreserve_free(block->ser);
		kfree(block);
	}
	kfree(rec);
}

static int pci_luo_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct pci_luo_record *rec;
	int ret;

	rec = kzalloc(sizeof(*rec), GFP_KERNEL);
	if (!rec)
		return -ENOMEM;
	INIT_LIST_HEAD(&rec->blocks);
	INIT_LIST_HEAD(&rec->free);
	ret = pci_luo_block_add(rec);
	if (ret) {
		kfree(rec);
		return ret;
	}

	args->data = virt_to_phys(list_first_entry(&rec->blocks, struct pci_luo_block, list)->ser);
	args->obj = rec;
	guard(mutex)(&pci_luo_lock);
	pci_luo_record = rec;
	return 0;
}

static void pci_luo_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	guard(mutex)(&pci_luo_lock);
	pci_luo_record = NULL;
	pci_luo_record_free(args->obj);
}

/*
 * The masks by which the size of a resource is known are made from the size,
 * as the device cannot be asked while it runs.
 */
static u64 pci_luo_mask(const struct resource *res)
{
	return ~(resource_size(res) - 1);
}

static void pci_luo_fill_bars(struct pci_dev *dev, struct pci_liveupdate_dev_ser *ser)
{
	int bars = dev->hdr_type == PCI_HEADER_TYPE_BRIDGE ? 2 : PCI_LIVEUPDATE_BARS;
	struct resource *res;
	u32 bar;

	for (int i = 0; i < bars; i++) {
		res = &dev->resource[i];
		if (!res->flags || !resource_size(res) || (res->flags & IORESOURCE_PCI_FIXED))
			continue;
		pci_read_config_dword(dev, PCI_BASE_ADDRESS_0 + 4 * i, &bar);
		if (res->flags & IORESOURCE_IO) {
			ser->bar_mask[i] = pci_luo_mask(res) | (bar & ~PCI_BASE_ADDRESS_IO_MASK);
			continue;
		}
		ser->bar_mask[i] = pci_luo_mask(res) | (bar & ~PCI_BASE_ADDRESS_MEM_MASK);
		if (res->flags & IORESOURCE_MEM_64 && i + 1 < bars)
			ser->bar_mask[++i] = pci_luo_mask(res) >> 32;
	}
	res = &dev->resource[PCI_ROM_RESOURCE];
	if (res->flags && resource_size(res) && !(res->flags & IORESOURCE_ROM_SHADOW))
		ser->rom_mask = pci_luo_mask(res) & PCI_ROM_ADDRESS_MASK;
}

/**
 * pci_luo_read_bridge - read the numbers and windows of a bridge
 * @bus: the bus on which it is
 * @devfn: its device and function number
 * @ser: where to put them
 *
 * Context: any.
 */
void pci_luo_read_bridge(struct pci_bus *bus, unsigned int devfn,
			 struct pci_liveupdate_dev_ser *ser)
{
	u32 val = 0;

	pci_bus_read_config_word(bus, devfn, PCI_IO_BASE, &ser->io_window);
	pci_bus_read_config_dword(bus, devfn, PCI_PRIMARY_BUS, &val);
	ser->buses = val & 0xffffff;	/* without the latency timer */
	pci_bus_read_config_dword(bus, devfn, PCI_MEMORY_BASE, &ser->mem_window);
	pci_bus_read_config_dword(bus, devfn, PCI_PREF_MEMORY_BASE, &ser->pref_window);
	pci_bus_read_config_dword(bus, devfn, PCI_IO_BASE_UPPER16, &ser->io_upper);
	pci_bus_read_config_dword(bus, devfn, PCI_PREF_BASE_UPPER32, &ser->pref_base_upper);
	pci_bus_read_config_dword(bus, devfn, PCI_PREF_LIMIT_UPPER32, &ser->pref_limit_upper);
}

static void pci_luo_fill(struct pci_dev *dev, struct pci_liveupdate_dev_ser *ser)
{
	ser->segment = pci_domain_nr(dev->bus);
	ser->bdf = pci_dev_id(dev);
	ser->vendor = dev->vendor;
	ser->device = dev->device;
	ser->hdr_type = dev->hdr_type;
	if (dev->broken_intx_masking)
		ser->flags |= PCI_LIVEUPDATE_INTX_UNMASKABLE;
	if (dev->acs_cap)
		pci_read_config_word(dev, dev->acs_cap + PCI_ACS_CTRL, &ser->acs_ctrl);
	pci_luo_fill_bars(dev, ser);
	if (dev->hdr_type != PCI_HEADER_TYPE_BRIDGE)
		return;

	pci_luo_read_bridge(dev->bus, dev->devfn, ser);
	if (dev->io_window)
		ser->flags |= PCI_LIVEUPDATE_IO_WINDOW;
	if (dev->pref_window)
		ser->flags |= PCI_LIVEUPDATE_PREF_WINDOW;
	if (dev->pref_64_window)
		ser->flags |= PCI_LIVEUPDATE_PREF_64_WINDOW;
}

static int pci_luo_out_get(struct pci_dev *dev)
{
	struct pci_luo_out *out = dev->luo_out;
	int ret;

	if (out) {
		out->ser->refcount++;
		return 0;
	}

	if (list_empty(&pci_luo_record->free)) {
		ret = pci_luo_block_add(pci_luo_record);
		if (ret)
			return ret;
	}
	out = list_first_entry(&pci_luo_record->free, struct pci_luo_out, list);
	list_del(&out->list);
	pci_luo_fill(dev, out->ser);
	out->ser->refcount = 1;
	out->dev = pci_dev_get(dev);
	WRITE_ONCE(dev->luo_out, out);
	return 0;
}

static void pci_luo_out_put(struct pci_dev *dev)
{
	struct pci_luo_out *out = dev->luo_out;

	if (--out->ser->refcount)
		return;
	WRITE_ONCE(dev->luo_out, NULL);
	memset(out->ser, 0, sizeof(*out->ser));
	out->dev = NULL;
	list_add(&out->list, &pci_luo_record->free);
	pci_dev_put(dev);
}

static int pci_luo_may_preserve(struct pci_dev *dev)
{
	if (!pci_luo_record) {
		pci_err(dev, "cannot be preserved: its file handler did not register with PCI\n");
		return -EINVAL;
	}
	if (dev->hdr_type != PCI_HEADER_TYPE_NORMAL) {
		pci_err(dev, "cannot be preserved: it is a bridge\n");
		return -EOPNOTSUPP;
	}
	if (dev->is_virtfn || pci_num_vf(dev)) {
		pci_err(dev, "cannot be preserved: SR-IOV is in use\n");
		return -EOPNOTSUPP;
	}
	if (dev->luo_out || dev->luo_in) {
		pci_err(dev, "cannot be preserved: it is already, or not finished\n");
		return -EBUSY;
	}
	return 0;
}

/**
 * pci_liveupdate_preserve - have a device run through the next kexec
 * @dev: the device; no bridge and no part of SR-IOV
 *
 * From here on the numbers and windows of the bridges above are not changed.
 *
 * Context: may sleep; in a preserve() of a file handler that has called
 * pci_liveupdate_register().
 * Return: 0, -EOPNOTSUPP for a device that cannot be preserved, -EBUSY for one
 * that is preserved already or that came in and is not finished, or -ENOMEM. All but
 * the last have a line in the log.
 */
int pci_liveupdate_preserve(struct pci_dev *dev)
{
	struct pci_dev *pos, *undo;
	int ret;

	guard(mutex)(&pci_luo_lock);
	ret = pci_luo_may_preserve(dev);
	if (ret)
		return ret;
	for (pos = dev; pos; pos = pci_upstream_bridge(pos)) {
		ret = pci_luo_out_get(pos);
		if (ret)
			break;
	}
	for (undo = dev; ret && undo != pos; undo = pci_upstream_bridge(undo))
		pci_luo_out_put(undo);
	return ret;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_preserve);

/**
 * pci_liveupdate_unpreserve - undo pci_liveupdate_preserve()
 * @dev: the device
 *
 * Context: may sleep; in an unpreserve() of the same file handler.
 */
void pci_liveupdate_unpreserve(struct pci_dev *dev)
{
	guard(mutex)(&pci_luo_lock);
	for (struct pci_dev *pos = dev; pos; pos = pci_upstream_bridge(pos))
		pci_luo_out_put(pos);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unpreserve);

/**
 * pci_liveupdate_outgoing - will the next kernel find this device running?
 * @dev: the device, or a bridge above one
 *
 * Context: any.
 * Return: true as long as it is preserved.
 */
bool pci_liveupdate_outgoing(const struct pci_dev *dev)
{
	return READ_ONCE(dev->luo_out);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_outgoing);

/**
 * pci_liveupdate_skip_shutdown - is a device to be left alone by device_shutdown()?
 * @dev: the device
 *
 * Not so a bridge: its driver has interrupts to release.
 *
 * Context: any.
 * Return: true on the way to the next kernel, for a device that is preserved.
 */
bool pci_liveupdate_skip_shutdown(const struct pci_dev *dev)
{
	return kexec_in_progress && pci_liveupdate_outgoing(dev) &&
	       dev->hdr_type == PCI_HEADER_TYPE_NORMAL;
}

/* ---- incoming ---- */

static bool pci_luo_ser_valid(const struct pci_liveupdate_dev_ser *ser)
{
	if (ser->reserved || ser->reserved2 || (ser->flags & ~PCI_LIVEUPDATE_FLAGS))
		return false;
	if (ser->hdr_type == PCI_HEADER_TYPE_NORMAL)
		return ser->refcount == 1;
	return ser->hdr_type == PCI_HEADER_TYPE_BRIDGE;
}

static int pci_luo_in_add(const struct pci_liveupdate_dev_ser *ser)
{
	struct pci_luo_in *in;
	int ret;

	if (!pci_luo_ser_valid(ser)) {
		pr_err("the record of %04x:%02x:%02x.%d is not valid\n", ser->segment,
		       PCI_BUS_NUM(ser->bdf), PCI_SLOT(ser->bdf), PCI_FUNC(ser->bdf));
		return -EINVAL;
	}
	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return -ENOMEM;
	in->ser = *ser;
	ret = xa_insert(&pci_luo_in, pci_luo_key(ser->segment, ser->bdf), in, GFP_KERNEL);
	if (ret)
		kfree(in);
	return ret == -EBUSY ? -EINVAL : ret;
}

/* The pages of the record, or of that part of it which is sound. */
static void pci_luo_blocks_free(u64 pa)
{
	while (pa && kho_incoming_order(pa) == 0) {
		struct pci_liveupdate_block_ser *block = phys_to_virt(pa);

		pa = block->next;
		kho_restore_free(block);
	}
}

static int pci_luo_read(u64 pa)
{
	int ret;

	for (int i = 0; pa; i++) {
		const struct pci_liveupdate_block_ser *block;
		const struct pci_liveupdate_dev_ser *ser;

		if (i == PCI_LUO_MAX_BLOCKS || !IS_ALIGNED(pa, PCI_LIVEUPDATE_BLOCK_SIZE) ||
		    kho_incoming_order(pa) != 0) {
			pr_err("there is no block of the record at %#llx\n", pa);
			return -EINVAL;
		}
		block = phys_to_virt(pa);
		if (block->count > PCI_LIVEUPDATE_PER_BLOCK) {
			pr_err("the block at %#llx has %llu entries\n", pa, block->count);
			return -EINVAL;
		}
		ser = (const void *)(block + 1);
		for (u64 n = 0; n < block->count; n++, ser++) {
			if (!ser->refcount)
				continue;
			ret = pci_luo_in_add(ser);
			if (ret)
				return ret;
		}
		pa = block->next;
	}
	return 0;
}

static void pci_luo_in_free(struct pci_luo_in *in)
{
	struct pci_dev *dev = in->dev;

	xa_erase(&pci_luo_in, pci_luo_key(in->ser.segment, in->ser.bdf));
	if (dev) {
		WRITE_ONCE(dev->luo_in, NULL);
		dev->mmio_always_on = 0;
		for (int i = 0; i <= PCI_ROM_RESOURCE; i++)
			dev->resource[i].flags &= ~IORESOURCE_PCI_FIXED;
		if (in->pm_held)
			pm_runtime_put(&dev->dev);
		pci_dev_put(dev);
	}
	kfree_rcu(in, rcu);
}

static int pci_luo_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	struct pci_luo_in *in;
	unsigned long key;
	int ret;

	guard(mutex)(&pci_luo_lock);
	ret = pci_luo_read(args->data);
	if (ret) {
		pr_err("running devices are not taken over: %pe\n", ERR_PTR(ret));
		xa_for_each(&pci_luo_in, key, in)
			pci_luo_in_free(in);
		return ret;
	}
	WRITE_ONCE(pci_liveupdate_guarded, !xa_empty(&pci_luo_in));
	args->obj = &pci_luo_in;
	return 0;
}

static void pci_luo_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct pci_luo_in *in;
	unsigned long key;

	guard(mutex)(&pci_luo_lock);
	xa_for_each(&pci_luo_in, key, in) {
		if (!pci_luo_is_bridge(in))
			pr_warn("%04x:%02x:%02x.%d was never finished\n", in->ser.segment,
				PCI_BUS_NUM(in->ser.bdf), PCI_SLOT(in->ser.bdf),
				PCI_FUNC(in->ser.bdf));
		pci_luo_in_free(in);
	}
	WRITE_ONCE(pci_liveupdate_guarded, false);
	pci_luo_blocks_free(args->data);
}

static const struct liveupdate_flb_ops pci_luo_flb_ops = {
	.preserve = pci_luo_flb_preserve,
	.unpreserve = pci_luo_flb_unpreserve,
	.retrieve = pci_luo_flb_retrieve,
	.finish = pci_luo_flb_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb pci_luo_flb = {
	.ops = &pci_luo_flb_ops,
	.compatible = PCI_LIVEUPDATE_COMPATIBLE,
};

static void pci_luo_load_once(void)
{
	void *obj;

	if (!liveupdate_flb_get_incoming(&pci_luo_flb, &obj))
		liveupdate_flb_put_incoming(&pci_luo_flb);
}

/**
 * pci_luo_load - read what the previous kernel left, if nobody has yet
 *
 * Context: may sleep; from the first scan of a bus on.
 */
void pci_luo_load(void)
{
	DO_ONCE_SLEEPABLE(pci_luo_load_once);
}

/**
 * pci_luo_in_get - look up an incoming device
 * @bus: the bus on which it is
 * @devfn: its device and function number
 *
 * Context: any, under rcu_read_lock() or where nobody can finish the device.
 * Return: the device, or NULL if it did not come in running.
 */
struct pci_luo_in *pci_luo_in_get(struct pci_bus *bus, unsigned int devfn)
{
	return xa_load(&pci_luo_in, pci_luo_key(pci_domain_nr(bus), PCI_DEVID(bus->number, devfn)));
}

/**
 * pci_luo_in_drop - take an incoming device for an ordinary one
 * @in: the device, which is not what the record says
 *
 * Context: may sleep.
 */
void pci_luo_in_drop(struct pci_luo_in *in)
{
	guard(mutex)(&pci_luo_lock);
	pci_luo_in_free(in);
}

/**
 * pci_liveupdate_incoming - did the previous kernel leave this device running?
 * @dev: the device, or a bridge above one
 *
 * Context: any.
 * Return: true until the device is finished.
 */
bool pci_liveupdate_incoming(const struct pci_dev *dev)
{
	return READ_ONCE(dev->luo_in);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_incoming);

/**
 * pci_liveupdate_find - the incoming device of a number
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * Context: may sleep.
 * Return: the device with a reference, or NULL if none that came in running is there.
 */
struct pci_dev *pci_liveupdate_find(u32 segment, u16 bdf)
{
	struct pci_luo_in *in;

	guard(mutex)(&pci_luo_lock);
	in = xa_load(&pci_luo_in, pci_luo_key(segment, bdf));
	return in && !pci_luo_is_bridge(in) ? pci_dev_get(in->dev) : NULL;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_find);

/**
 * pci_liveupdate_claim - take an incoming device, as it is
 * @dev: the device
 *
 * Nothing is written to it; this kernel learns that it is enabled. From now on its
 * config space can be written.
 *
 * Context: may sleep; in a retrieve() of a file handler.
 * Return: 0, -ENOENT if the device is not incoming, -EBUSY if it was claimed.
 */
int pci_liveupdate_claim(struct pci_dev *dev)
{
	struct pci_luo_in *in;
	u16 cmd;

	guard(mutex)(&pci_luo_lock);
	in = dev->luo_in;
	if (!in || pci_luo_is_bridge(in))
		return -ENOENT;
	if (in->claimed)
		return -EBUSY;

	pci_read_config_word(dev, PCI_COMMAND, &cmd);
	atomic_inc(&dev->enable_cnt);
	dev->is_busmaster = !!(cmd & PCI_COMMAND_MASTER);
	WRITE_ONCE(in->claimed, true);
	return 0;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_claim);

/**
 * pci_liveupdate_finish - an incoming device is an ordinary one from now on
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * Also for a device that was never claimed, or is not there. Bridges above go
 * with the last device below them.
 *
 * Context: may sleep; in a finish() of a file handler.
 */
void pci_liveupdate_finish(u32 segment, u16 bdf)
{
	struct pci_dev *pos, *up;
	struct pci_luo_in *in;

	guard(mutex)(&pci_luo_lock);
	in = xa_load(&pci_luo_in, pci_luo_key(segment, bdf));
	if (!in || pci_luo_is_bridge(in))
		return;
	pos = in->dev ? pci_upstream_bridge(in->dev) : NULL;
	pci_luo_in_free(in);
	for (; pos; pos = up) {
		up = pci_upstream_bridge(pos);
		if (pos->luo_in && !--pos->luo_in->ser.refcount)
			pci_luo_in_free(pos->luo_in);
	}
}
EXPORT_SYMBOL_GPL(pci_liveupdate_finish);

/**
 * pci_liveupdate_reject - stop an incoming device, which is then an ordinary one
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * Its bus mastering is taken: for the IOMMU, when it cannot go on translating what
 * the device does.
 *
 * Context: may sleep.
 */
void pci_liveupdate_reject(u32 segment, u16 bdf)
{
	struct pci_dev *dev = pci_liveupdate_find(segment, bdf);

	pci_liveupdate_finish(segment, bdf);
	if (!dev)
		return;
	pci_err(dev, "was left running, and is stopped: its DMA cannot go on\n");
	pci_clear_master(dev);
	pci_dev_put(dev);
}

/**
 * pci_liveupdate_reject_all - stop all incoming devices
 *
 * Context: may sleep; after the buses were scanned.
 */
void pci_liveupdate_reject_all(void)
{
	struct pci_luo_in *in;
	unsigned long key;

	xa_for_each(&pci_luo_in, key, in)
		if (!pci_luo_is_bridge(in))
			pci_liveupdate_reject(in->ser.segment, in->ser.bdf);
}

/**
 * pci_liveupdate_register - let the files of a handler stand for PCI devices
 * @handler: the file handler, registered
 *
 * Context: may sleep.
 * Return: 0 or what liveupdate_register_flb() returns.
 */
int pci_liveupdate_register(struct liveupdate_file_handler *handler)
{
	return liveupdate_register_flb(handler, &pci_luo_flb);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_register);

/**
 * pci_liveupdate_unregister - undo pci_liveupdate_register()
 * @handler: the file handler
 *
 * Context: may sleep.
 * Return: 0 or what liveupdate_unregister_flb() returns.
 */
int pci_liveupdate_unregister(struct liveupdate_file_handler *handler)
{
	return liveupdate_unregister_flb(handler, &pci_luo_flb);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unregister);
