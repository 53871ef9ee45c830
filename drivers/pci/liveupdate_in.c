// SPDX-License-Identifier: GPL-2.0
/*
 * PCI devices that keep running while the kernel is replaced: those that came in.
 */

/**
 * DOC: Incoming PCI devices
 *
 * What the previous kernel left is input like any other. Blocks, entries and numbers
 * are all looked at before any of it is used, and if one makes no sense, none is.
 *
 * An entry becomes a &struct pci_luo_in, which lives until its device is finished, or,
 * of a bridge, the last device below it. That of a device that is stuck is kept with the
 * device, but is no longer found by its number.
 *
 * Locks: see liveupdate.c.
 */

#define pr_fmt(fmt) "pci_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/liveupdate.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "liveupdate.h"
#include "pci.h"

/* No static key: it is set with locks of IOMMU drivers held, which CPU hotplug takes. */
bool pci_liveupdate_guarded __read_mostly;

static DEFINE_XARRAY(pci_luo_in);		/* incoming, by pci_luo_key() */
static struct luo_incoming_chain pci_luo_chain;	/* from which they were read */

static unsigned long pci_luo_key(u32 segment, u16 bdf)
{
	return (unsigned long)segment << 16 | bdf;
}

static bool pci_luo_ser_valid(const struct pci_liveupdate_dev_ser *ser)
{
	if (ser->reserved || ser->reserved2 || (ser->flags & ~PCI_LIVEUPDATE_FLAGS))
		return false;
	if (strnlen(ser->session, sizeof(ser->session)) == sizeof(ser->session))
		return false;
	if (ser->hdr_type == PCI_HEADER_TYPE_NORMAL)
		return ser->refcount == 1 && ser->session[0];
	return ser->hdr_type == PCI_HEADER_TYPE_BRIDGE && !ser->session[0];
}

static int pci_luo_in_add(struct xarray *table, const struct pci_liveupdate_dev_ser *ser)
{
	struct pci_luo_in *in;
	int ret;

	if (!pci_luo_ser_valid(ser)) {
		pr_err("the record of %04x:%02x:%02x.%d is not valid\n", ser->segment,
		       PCI_BUS_NUM(ser->bdf), PCI_SLOT(ser->bdf), PCI_FUNC(ser->bdf));
		return -EBADMSG;
	}
	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return -ENOMEM;
	in->ser = *ser;
	refcount_set(&in->refs, 1);
	ret = xa_insert(table, pci_luo_key(ser->segment, ser->bdf), in, GFP_KERNEL);
	if (!ret)
		return 0;
	kfree(in);
	if (ret != -EBUSY)
		return ret;
	pr_err("%04x:%02x:%02x.%d comes twice in the record\n", ser->segment,
	       PCI_BUS_NUM(ser->bdf), PCI_SLOT(ser->bdf), PCI_FUNC(ser->bdf));
	return -EBADMSG;
}

/**
 * pci_luo_read - read a record of devices
 * @table: each is entered here, a &struct pci_luo_in, also if it fails
 * @chain: filled in, to be released when the devices are finished
 * @ops: where blocks come from
 * @pa: where the previous kernel left the record
 *
 * Context: may sleep.
 * Return: 0, -EBADMSG if any of it makes no sense, which is logged, or -ENOMEM.
 */
int pci_luo_read(struct xarray *table, struct luo_incoming_chain *chain,
		 const struct luo_block_ops *ops, u64 pa)
{
	const struct pci_liveupdate_dev_ser *ser;
	struct luo_chain_reader reader;
	int ret;

	if (luo_incoming_chain_check(chain, ops, pa, sizeof(*ser), LUO_COUNT_UNKNOWN)) {
		pr_err("the record is damaged: %s (block at %#llx)\n", chain->fault,
		       chain->fault_pa);
		return -EBADMSG;
	}
	luo_chain_read(chain, &reader);
	while ((ser = luo_chain_read_next(&reader))) {
		ret = ser->refcount ? pci_luo_in_add(table, ser) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * pci_luo_in_hold - the incoming device behind a PCI device
 * @dev: the device
 *
 * Context: may sleep.
 * Return: what it came in as, to be given to pci_luo_in_put() again, or NULL if it is not
 * incoming.
 */
struct pci_luo_in *pci_luo_in_hold(struct pci_dev *dev)
{
	guard(mutex)(&pci_luo_lock);
	if (dev->luo_in)
		refcount_inc(&dev->luo_in->refs);
	return dev->luo_in;
}

/**
 * pci_luo_in_put - undo pci_luo_in_hold()
 * @in: what it gave, or NULL
 *
 * Context: any.
 */
void pci_luo_in_put(struct pci_luo_in *in)
{
	if (in && refcount_dec_and_test(&in->refs))
		kfree_rcu(in, rcu);
}

static void pci_luo_in_free(struct pci_luo_in *in)
{
	struct pci_dev *dev = in->dev;

	xa_erase(&pci_luo_in, pci_luo_key(in->ser.segment, in->ser.bdf));
	if (in->stuck) {
		in->taken = false;
		return;
	}
	if (dev) {
		WRITE_ONCE(dev->luo_in, NULL);
		dev->mmio_always_on = 0;
		for (int i = 0; i <= PCI_ROM_RESOURCE; i++)
			dev->resource[i].flags &= ~IORESOURCE_PCI_FIXED;
		if (in->pm_held)
			pm_runtime_put(&dev->dev);
		pci_dev_put(dev);
	}
	pci_luo_in_put(in);
}

/**
 * pci_luo_flb_retrieve - read what the previous kernel left
 * @args: of the FLB
 *
 * Context: may sleep.
 * Return: 0 or what pci_luo_read() returns; no device is incoming then.
 */
int pci_luo_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	struct pci_luo_in *in;
	unsigned long key;
	int ret;

	guard(mutex)(&pci_luo_lock);
	ret = pci_luo_read(&pci_luo_in, &pci_luo_chain, &luo_kho_block_ops, args->data);
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

/**
 * pci_luo_flb_finish - nobody needs to know any more what came in
 * @args: of the FLB
 *
 * Context: may sleep.
 */
void pci_luo_flb_finish(struct liveupdate_flb_op_args *args)
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
	luo_incoming_chain_release(&pci_luo_chain);
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
 * Return: true until the device is finished, and for ever if it is stuck.
 */
bool pci_liveupdate_incoming(const struct pci_dev *dev)
{
	return READ_ONCE(dev->luo_in);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_incoming);

/**
 * pci_luo_in_of - does an incoming device belong to a session?
 * @in: the device or bridge
 * @session: name of the session
 *
 * Context: any.
 * Return: true if it was preserved there.
 */
bool pci_luo_in_of(const struct pci_luo_in *in, const char *session)
{
	return !pci_luo_is_bridge(in) && !strcmp(in->ser.session, session);
}

/**
 * pci_luo_next_unclaimed - a device that runs and that nobody can come for
 * @session: name of its session
 *
 * Context: may sleep.
 * Return: a device, with a reference, that no file has and that is not fenced, or NULL.
 */
struct pci_dev *pci_luo_next_unclaimed(const char *session)
{
	struct pci_luo_in *in;
	unsigned long key;

	guard(mutex)(&pci_luo_lock);
	xa_for_each(&pci_luo_in, key, in)
		if (in->dev && !in->taken && !in->fenced && pci_luo_in_of(in, session))
			return pci_dev_get(in->dev);
	return NULL;
}

/**
 * pci_luo_unclaimed - does a device of a session run that no file has?
 * @session: name of the session
 *
 * Context: may sleep.
 * Return: true if so, which is logged.
 */
bool pci_luo_unclaimed(const char *session)
{
	struct pci_dev *dev = pci_luo_next_unclaimed(session);

	if (!dev)
		return false;
	pci_err(dev, "still runs and was not retrieved, so its session cannot be finished\n");
	pci_dev_put(dev);
	return true;
}

/**
 * pci_liveupdate_find - the incoming device of a number
 * @session: from the arguments of the callback
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * Context: may sleep.
 * Return: the device with a reference, or NULL if none that came in running, in this
 * session, is there.
 */
struct pci_dev *pci_liveupdate_find(struct liveupdate_session *session, u32 segment, u16 bdf)
{
	const char *name = liveupdate_session_name(session);
	struct pci_luo_in *in;

	guard(mutex)(&pci_luo_lock);
	in = xa_load(&pci_luo_in, pci_luo_key(segment, bdf));
	return in && pci_luo_in_of(in, name) ? pci_dev_get(in->dev) : NULL;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_find);

/**
 * pci_liveupdate_taken - has a file got an incoming device?
 * @dev: the device
 *
 * Context: may sleep; in a callback of a file handler.
 * Return: true after pci_liveupdate_claim().
 */
bool pci_liveupdate_taken(struct pci_dev *dev)
{
	guard(mutex)(&pci_luo_lock);
	return dev->luo_in && dev->luo_in->taken;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_taken);

static int pci_luo_may_claim(const struct pci_dev *dev)
{
	const struct pci_luo_in *in = dev->luo_in;

	lockdep_assert_held(&pci_luo_lock);
	if (!in || pci_luo_is_bridge(in))
		return -ENOENT;
	if (in->taken)
		return -EBUSY;
	return in->fenced ? -ESTALE : 0;
}

/**
 * pci_liveupdate_may_claim - can an incoming device be had?
 * @dev: the device
 *
 * Context: may sleep; in a retrieve() of a file handler.
 * Return: what pci_liveupdate_claim() would, with nothing done.
 */
int pci_liveupdate_may_claim(const struct pci_dev *dev)
{
	guard(mutex)(&pci_luo_lock);
	return pci_luo_may_claim(dev);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_may_claim);

/**
 * pci_liveupdate_claim - take an incoming device, as it is
 * @dev: the device
 *
 * Nothing is written to it; this kernel learns that it is enabled. From now on its
 * config space can be written.
 *
 * Context: may sleep; in a retrieve() of a file handler.
 * Return: 0, -ENOENT if the device is not incoming, -EBUSY if it was claimed, -ESTALE if it
 * was fenced.
 */
int pci_liveupdate_claim(struct pci_dev *dev)
{
	struct pci_luo_in *in;
	u16 cmd;
	int ret;

	guard(mutex)(&pci_luo_lock);
	ret = pci_luo_may_claim(dev);
	if (ret)
		return ret;
	in = dev->luo_in;

	/* Of what pci_enable_device() does, just the routing of INTx is missing. */
	ret = pcibios_enable_device(dev, 0);
	if (ret)
		pci_warn(dev, "has no INTx: %pe\n", ERR_PTR(ret));
	pci_read_config_word(dev, PCI_COMMAND, &cmd);
	atomic_inc(&dev->enable_cnt);
	dev->is_busmaster = !!(cmd & PCI_COMMAND_MASTER);
	in->taken = true;
	WRITE_ONCE(in->claimed, true);
	return 0;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_claim);

/**
 * pci_luo_bridges_put - a device is not incoming any more
 * @bridge: the bridge above it, or NULL
 *
 * Context: pci_luo_lock is held.
 */
void pci_luo_bridges_put(struct pci_dev *bridge)
{
	lockdep_assert_held(&pci_luo_lock);
	for (; bridge; bridge = pci_upstream_bridge(bridge))
		if (bridge->luo_in && !--bridge->luo_in->ser.refcount)
			pci_luo_in_free(bridge->luo_in);
}

static void pci_luo_in_finish(struct pci_luo_in *in)
{
	struct pci_dev *bridge;

	lockdep_assert_held(&pci_luo_lock);
	bridge = in->dev ? pci_upstream_bridge(in->dev) : NULL;
	pci_luo_in_free(in);
	pci_luo_bridges_put(bridge);
}

/**
 * pci_luo_in_end - finish an incoming device that no file stands for
 * @dev: the device
 *
 * Context: may sleep.
 */
void pci_luo_in_end(struct pci_dev *dev)
{
	guard(mutex)(&pci_luo_lock);
	if (dev->luo_in)
		pci_luo_in_finish(dev->luo_in);
}

/**
 * pci_liveupdate_finish - an incoming device is an ordinary one from now on
 * @session: from the arguments of the callback
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * Also for a device that was never claimed, or is not there; not for one of another
 * session. Bridges above go with the last device below them.
 *
 * Context: may sleep; in a finish() of a file handler.
 */
void pci_liveupdate_finish(struct liveupdate_session *session, u32 segment, u16 bdf)
{
	const char *name = liveupdate_session_name(session);
	struct pci_luo_in *in;

	guard(mutex)(&pci_luo_lock);
	in = xa_load(&pci_luo_in, pci_luo_key(segment, bdf));
	if (in && pci_luo_in_of(in, name))
		pci_luo_in_finish(in);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_finish);

/**
 * pci_liveupdate_reject - stop an incoming device, which is then an ordinary one
 * @segment: PCI segment
 * @bdf: bus, device and function number
 *
 * It is fenced: for the IOMMU, when it cannot go on translating what the device does, and
 * for file handlers, when nobody will come for it. One that cannot be reset stays
 * incoming, so that nobody makes it a bus master again.
 *
 * Context: may sleep, for seconds.
 */
void pci_liveupdate_reject(u32 segment, u16 bdf)
{
	struct pci_dev *dev = NULL;
	struct pci_luo_in *in;

	scoped_guard(mutex, &pci_luo_lock) {
		in = xa_load(&pci_luo_in, pci_luo_key(segment, bdf));
		if (in && !pci_luo_is_bridge(in))
			dev = pci_dev_get(in->dev);
	}
	if (dev) {
		pci_err(dev, "was left running, and is stopped: its DMA cannot go on\n");
		pci_liveupdate_fence(dev);
	}
	scoped_guard(mutex, &pci_luo_lock) {
		in = xa_load(&pci_luo_in, pci_luo_key(segment, bdf));
		if (in && !pci_luo_is_bridge(in))
			pci_luo_in_finish(in);
	}
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
