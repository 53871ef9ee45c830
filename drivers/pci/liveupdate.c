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
 * **Incoming.** (liveupdate_in.c) The record is read when the first device is set up.
 * An entry is either refused, if the hardware is not what it says, or the device is
 * *incoming* until pci_liveupdate_finish(). What the next kernel does with
 * an incoming device is in liveupdate_enum.c. Of an incoming device it is known
 * which session it belongs to, and a file of that one can take it:
 * pci_liveupdate_claim() ends the guard of its config space. Bridges are guarded as
 * long as any device below them is incoming.
 *
 * One that nobody comes for can be stopped, see liveupdate_fence.c.
 *
 * A device that the record does not fit loses its bus mastering, is reset, and is then
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
#include <linux/liveupdate.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/once.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate.h"
#include "pci.h"

/**
 * struct pci_luo_out - an entry of the outgoing record
 * @ser: the entry
 */
struct pci_luo_out {
	struct pci_liveupdate_dev_ser *ser;
};

DEFINE_MUTEX(pci_luo_lock); /* protects who is outgoing and who is incoming */
static struct luo_slots *pci_luo_record;	/* while the FLB is preserved */

static int pci_luo_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct luo_slots *rec;
	int ret;

	rec = kzalloc(sizeof(*rec), GFP_KERNEL);
	if (!rec)
		return -ENOMEM;
	ret = luo_slots_init(rec, &luo_kho_block_ops, sizeof(struct pci_liveupdate_dev_ser));
	if (ret) {
		kfree(rec);
		return ret;
	}

	args->data = luo_slots_address(rec);
	args->obj = rec;
	guard(mutex)(&pci_luo_lock);
	pci_luo_record = rec;
	return 0;
}

static void pci_luo_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	guard(mutex)(&pci_luo_lock);
	luo_slots_destroy(pci_luo_record);
	kfree(pci_luo_record);
	pci_luo_record = NULL;
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

static int pci_luo_out_get(struct pci_dev *dev, const char *session)
{
	struct pci_luo_out *out = dev->luo_out;

	if (out) {
		out->ser->refcount++;
		return 0;
	}

	out = kzalloc(sizeof(*out), GFP_KERNEL);
	if (!out)
		return -ENOMEM;
	out->ser = luo_slot_get(pci_luo_record);
	if (IS_ERR(out->ser)) {
		int ret = PTR_ERR(out->ser);

		kfree(out);
		return ret;
	}
	pci_luo_fill(dev, out->ser);
	strscpy_pad(out->ser->session, session);
	out->ser->refcount = 1;
	pci_dev_get(dev);
	WRITE_ONCE(dev->luo_out, out);
	return 0;
}

static void pci_luo_out_put(struct pci_dev *dev)
{
	struct pci_luo_out *out = dev->luo_out;

	if (--out->ser->refcount)
		return;
	WRITE_ONCE(dev->luo_out, NULL);
	luo_slot_put(pci_luo_record, out->ser);
	kfree(out);
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
	if (dev->luo_out || pci_liveupdate_incoming(dev)) {
		pci_err(dev, "cannot be preserved: it is already, or not finished\n");
		return -EBUSY;
	}
	return 0;
}

/**
 * pci_liveupdate_preserve - have a device run through the next kexec
 * @dev: the device; no bridge and no part of SR-IOV
 * @session: from the arguments of the callback
 *
 * From here on the numbers and windows of the bridges above are not changed.
 *
 * Context: may sleep; in a preserve() of a file handler that has called
 * pci_liveupdate_register().
 * Return: 0, -EOPNOTSUPP for a device that cannot be preserved, -EBUSY for one
 * that is preserved already or that came in and is not finished, or -ENOMEM. All but
 * the last have a line in the log.
 */
int pci_liveupdate_preserve(struct pci_dev *dev, struct liveupdate_session *session)
{
	const char *name = liveupdate_session_name(session);
	struct pci_dev *pos, *undo;
	int ret;

	guard(mutex)(&pci_luo_lock);
	ret = pci_luo_may_preserve(dev);
	if (ret)
		return ret;
	for (pos = dev; pos; pos = pci_upstream_bridge(pos)) {
		ret = pci_luo_out_get(pos, pos == dev ? name : "");
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

static const struct liveupdate_device_ops pci_luo_device_ops = {
	.unclaimed = pci_luo_unclaimed,
	.fence_unclaimed = pci_luo_fence_unclaimed,
};

static void pci_luo_load_once(void)
{
	void *obj;

	liveupdate_set_device_ops(&pci_luo_device_ops);
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
