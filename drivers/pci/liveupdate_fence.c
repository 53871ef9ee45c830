// SPDX-License-Identifier: GPL-2.0
/*
 * PCI devices that keep running while the kernel is replaced: how one is stopped.
 */

/**
 * DOC: PCI fence
 *
 * A device that came in running, and that nobody wants or can have any more, is made
 * an ordinary one in steps, each of which can rely on those before it:
 *
 * 1. the IOMMU refuses its DMA, and does not report what it refuses. When that is
 *    done, no DMA reaches memory, whatever the device does;
 * 2. its bus mastering is taken;
 * 3. it is reset: as a quirk says, by FLR, AF FLR, by a reset of the bus if
 *    it is alone on it, or at last by way of D3hot, which many devices survive;
 * 4. its config space is what it was, without bus mastering;
 * 5. the group gets its default domain, with iommu_liveupdate_finish(), and the device
 *    is an ordinary one, with pci_liveupdate_finish(). That is for the finish() of
 *    the file handler to do.
 *
 * If no reset works, the device is *stuck*: it is not known what it will do when it
 * may. So iommu_liveupdate_finish() leaves it cut off, with its group not attached to
 * the default domain. It stays that as long as it is there, whatever becomes of its
 * session: no driver may have it, and nobody may open it.
 *
 * A device that is not what the record says lost its bus mastering when it was found, and the
 * IOMMU core gives it no page table that came in. It is reset as soon as all that is needed
 * for that is there, before drivers can have it, and is an ordinary device then.
 *
 * A device that is still incoming when this kernel ends, by kexec or otherwise, is
 * fenced when devices are shut down, if its handler has not done so before: after
 * that the IOMMU may be switched off.
 *
 * Locks: those of the device and of the bridge above it are only tried for: who holds
 * them may be waiting for the file of the device to be finished.
 */

#define pr_fmt(fmt) "pci_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include "liveupdate.h"
#include "pci.h"

#define PCI_LUO_LOCK_TRIES	50
#define PCI_LUO_LOCK_WAIT_MS	20

/* Not in the order of the PCI core: many devices go on after a reset by D3hot. */
static const char * const pci_luo_resets[] = {
	"device_specific", "flr", "af_flr", "bus", "pm",
};

static const struct pci_reset_fn_method *pci_luo_reset_method(const char *name)
{
	/* The first one has no name, it stands for none. */
	for (int i = 1; i < PCI_NUM_RESET_METHODS; i++)
		if (!strcmp(pci_reset_fn_methods[i].name, name))
			return &pci_reset_fn_methods[i];
	return NULL;
}

/* Returns the name of the method that worked, or NULL. */
static const char *pci_luo_reset_any(struct pci_dev *dev)
{
	const struct pci_reset_fn_method *method;
	int ret;

	for (int i = 0; i < ARRAY_SIZE(pci_luo_resets); i++) {
		method = pci_luo_reset_method(pci_luo_resets[i]);
		if (!method || method->reset_fn(dev, PCI_RESET_PROBE))
			continue;
		ret = method->reset_fn(dev, PCI_RESET_DO_RESET);
		if (!ret)
			return method->name;
		pci_warn(dev, "cannot be reset by %s: %pe\n", method->name, ERR_PTR(ret));
	}
	return NULL;
}

/* Its config space, and the reset of its bus, are ours from here on. */
static void pci_luo_unguard(struct pci_dev *dev, struct pci_luo_in *in, bool bus_reset)
{
	struct pci_dev *bridge = pci_upstream_bridge(dev);

	guard(mutex)(&pci_luo_lock);
	if (in)
		WRITE_ONCE(in->claimed, true);
	if (bridge && bridge->luo_in)
		WRITE_ONCE(bridge->luo_in->bus_reset, bus_reset);
}

static const char *pci_luo_reset(struct pci_dev *dev, struct pci_luo_in *in)
{
	const char *how;

	pci_set_power_state(dev, PCI_D0);
	pci_save_state(dev);
	pci_write_config_word(dev, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
	pci_luo_unguard(dev, in, true);
	how = pci_luo_reset_any(dev);
	pci_luo_unguard(dev, in, false);
	pci_restore_state(dev);
	return how;
}

static bool pci_luo_lock_both(struct pci_dev *dev, struct pci_dev *bridge)
{
	for (int i = 0; i < PCI_LUO_LOCK_TRIES; i++) {
		if (!bridge || pci_dev_trylock(bridge)) {
			if (pci_dev_trylock(dev))
				return true;
			if (bridge)
				pci_dev_unlock(bridge);
		}
		msleep(PCI_LUO_LOCK_WAIT_MS);
	}
	return false;
}

static const char *pci_luo_lock_and_reset(struct pci_dev *dev, struct pci_luo_in *in)
{
	struct pci_dev *bridge = pci_upstream_bridge(dev);
	const char *how;

	if (!pci_luo_lock_both(dev, bridge)) {
		pci_err(dev, "is in use by others and cannot be reset\n");
		return NULL;
	}
	how = pci_luo_reset(dev, in);
	pci_dev_unlock(dev);
	if (bridge)
		pci_dev_unlock(bridge);
	return how;
}

static void pci_luo_cut_off(struct pci_dev *dev, struct pci_luo_in *in)
{
	iommu_liveupdate_block(&dev->dev);
	pci_luo_unguard(dev, in, false);
	pci_clear_master(dev);
}

static int pci_luo_fenced(struct pci_dev *dev, struct pci_luo_in *in, const char *how)
{
	scoped_guard(mutex, &pci_luo_lock) {
		in->fenced = true;
		in->stuck = !how;
	}
	if (how)
		pci_notice(dev, "fenced: its DMA is cut off, and it was reset by %s\n", how);
	else
		pci_err(dev, "fenced: its DMA is cut off, and stays so: no reset works\n");
	return how ? 0 : -ENOTTY;
}

/**
 * pci_liveupdate_fence - stop an incoming device for good
 * @dev: the device, claimed or not
 *
 * When this returns, no DMA of the device reaches memory any more, also if it
 * could not be reset. A file handler calls it in discard(), and
 * iommu_liveupdate_finish() and pci_liveupdate_finish() in finish(), as always. To do it
 * again does nothing, unless the device could not be reset: that is tried again.
 *
 * Context: may sleep, for seconds; without the lock of the device, in a callback of
 * the file handler that stands for it.
 * Return: 0, -ENOENT if the device is not incoming, -ENOTTY if it could not be
 * reset.
 */
int pci_liveupdate_fence(struct pci_dev *dev)
{
	struct pci_luo_in *in = pci_luo_in_hold(dev);
	int ret = -ENOENT;

	if (in && !pci_luo_is_bridge(in)) {
		ret = 0;
		if (!in->fenced)
			pci_luo_cut_off(dev, in);
		if (!in->fenced || in->stuck)
			ret = pci_luo_fenced(dev, in, pci_luo_lock_and_reset(dev, in));
	}
	pci_luo_in_put(in);
	return ret;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_fence);

/* Devices that are not those of the record, by segment and requester ID. */
static DEFINE_XARRAY(pci_luo_strange);

static unsigned long pci_luo_strange_key(const struct pci_dev *dev)
{
	return (unsigned long)pci_domain_nr(dev->bus) << 16 |
	       PCI_DEVID(dev->bus->number, dev->devfn);
}

/**
 * pci_luo_fence_later - have a device reset that is not what the record says
 * @dev: the device, which was just found
 *
 * Context: may sleep.
 */
void pci_luo_fence_later(const struct pci_dev *dev)
{
	if (xa_err(xa_store(&pci_luo_strange, pci_luo_strange_key(dev), xa_mk_value(0),
			    GFP_KERNEL)))
		pr_err("no memory to have %04x:%02x:%02x.%d reset\n", pci_domain_nr(dev->bus),
		       dev->bus->number, PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn));
}

/* The buses are scanned, IOMMUs are there, and drivers of devices come after us. */
static int __init pci_luo_fence_strange(void)
{
	struct pci_dev *dev;
	unsigned long key;
	const char *how;
	void *entry;

	xa_for_each(&pci_luo_strange, key, entry) {
		dev = pci_get_domain_bus_and_slot(key >> 16, PCI_BUS_NUM(key), key & 0xff);
		if (!dev)
			continue;
		how = pci_luo_lock_and_reset(dev, NULL);
		if (how)
			pci_notice(dev, "fenced: not the device that was preserved, it was reset by %s\n",
				   how);
		else
			pci_err(dev, "not the device that was preserved, and no reset works\n");
		scoped_guard(mutex, &pci_luo_lock)
			pci_luo_bridges_put(pci_upstream_bridge(dev));
		pci_dev_put(dev);
	}
	xa_destroy(&pci_luo_strange);
	return 0;
}
device_initcall(pci_luo_fence_strange);

/**
 * pci_luo_fence_unclaimed - stop all devices of a session that no file has
 * @session: name of the session
 *
 * They are ordinary devices then, as there may be nobody to finish them.
 *
 * Context: as for pci_liveupdate_fence().
 */
void pci_luo_fence_unclaimed(const char *session)
{
	struct pci_dev *dev;

	while ((dev = pci_luo_next_unclaimed(session))) {
		pci_liveupdate_fence(dev);
		iommu_liveupdate_finish(&dev->dev);
		pci_luo_in_end(dev);
		pci_dev_put(dev);
	}
}

/**
 * pci_liveupdate_fence_unclaimed - stop all incoming devices of a session that nobody has
 * @session: from the arguments of the callback
 *
 * For a file handler that cannot tell any more which device a file stood for. They are
 * ordinary devices then.
 *
 * Context: as for pci_liveupdate_fence().
 */
void pci_liveupdate_fence_unclaimed(struct liveupdate_session *session)
{
	pci_luo_fence_unclaimed(liveupdate_session_name(session));
}
EXPORT_SYMBOL_GPL(pci_liveupdate_fence_unclaimed);

/**
 * pci_liveupdate_stuck - is this a device that was fenced and could not be reset?
 * @dev: the device
 *
 * Context: may sleep.
 * Return: true if it must stay cut off, also when its session is finished.
 */
bool pci_liveupdate_stuck(const struct pci_dev *dev)
{
	guard(mutex)(&pci_luo_lock);
	return dev->luo_in && dev->luo_in->stuck;
}

/**
 * pci_liveupdate_skip_shutdown - is a device to be left alone by device_shutdown()?
 * @dev: the device
 *
 * Not so a bridge: its driver has interrupts to release. What is still
 * incoming and not fenced is fenced here, whether there is a next kernel or not.
 *
 * Context: may sleep; with the lock of the device and of that above it.
 * Return: true on the way to the next kernel, for a device that is preserved.
 */
bool pci_liveupdate_skip_shutdown(struct pci_dev *dev)
{
	struct pci_dev *bridge = pci_upstream_bridge(dev);
	struct pci_luo_in *in = pci_luo_in_hold(dev);

	if (in && pci_luo_is_bridge(in)) {
		/* Nothing below it is incoming any more. */
		WRITE_ONCE(in->claimed, true);
	} else if (in && (!in->fenced || in->stuck)) {
		pci_luo_cut_off(dev, in);
		pci_cfg_access_lock(dev);
		if (bridge)
			pci_cfg_access_lock(bridge);
		pci_luo_fenced(dev, in, pci_luo_reset(dev, in));
		if (bridge)
			pci_cfg_access_unlock(bridge);
		pci_cfg_access_unlock(dev);
	}
	pci_luo_in_put(in);
	return kexec_in_progress && pci_liveupdate_outgoing(dev) &&
	       dev->hdr_type == PCI_HEADER_TYPE_NORMAL;
}
