// SPDX-License-Identifier: GPL-2.0
/*
 * PCI devices that keep running while the kernel is replaced: enumeration.
 */

/**
 * DOC: PCI devices found running
 *
 * A device that comes in running is described from the record and from what its
 * registers say, and not a bit of it is changed. There are two lines of defence.
 *
 * Each place of the PCI core that would write to a device asks a function of this
 * file first, and learns instead what it wanted to find out or to set up: the sizes
 * of base address registers, whether INTx can be masked, which windows a bridge has,
 * whether ARI is on, in which power state the device is. Base addresses are
 * claimed where they are, as fixed ones. MSI and MSI-X, DEVCTL, link control and ASPM, ACS,
 * PTM, AER, SR-IOV, DOE and PME are left as the previous kernel had them; what of it
 * this kernel would use is off for such a device until it is enumerated anew.
 *
 * Whatever is missed ends at the guard in the config accessors: every write to
 * an incoming device is refused until a file handler claims it, and logged with
 * those who called. Of a bridge above, its own interrupts (INTx Disable in the
 * Command register goes with MSI), hot-plug, root control, error reporting and
 * containment can be written, Master-Abort mode and status bits, since its
 * driver needs them; bus numbers, windows, all else of Command, DEVCTL, link, ACS,
 * ARI, secondary bus reset and power state cannot.
 *
 * What writes to config space before there is a PCI core (early quirks of x86) is not
 * covered.
 */

#define pr_fmt(fmt) "pci_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/kexec_handover.h>
#include <linux/mutex.h>
#include <linux/pm_runtime.h>
#include <linux/ratelimit.h>
#include <linux/stacktrace.h>

#include "liveupdate.h"
#include "pci.h"

/* MSI: the longest form. AER, DPC: what there is up to the logs. */
#define PCI_LUO_MSI_SIZE	0x18
#define PCI_LUO_AER_SIZE	0x38
#define PCI_LUO_DPC_SIZE	0x30

static bool pci_luo_within(int pos, int len, u16 start, int size)
{
	return start && pos >= start && pos + len <= start + size;
}

/* Registers of the PCI Express capability that a bridge may be written to. */
static bool pci_luo_pcie_writable(int off, int len)
{
	static const u8 words[] = {
		PCI_EXP_DEVSTA, PCI_EXP_LNKSTA, PCI_EXP_SLTCTL, PCI_EXP_SLTSTA, PCI_EXP_RTCTL,
	};

	for (int i = 0; i < ARRAY_SIZE(words); i++)
		if (off == words[i] && len == 2)
			return true;
	return (off == PCI_EXP_RTSTA && len == 4) || (off == PCI_EXP_SLTCTL && len == 4);
}

static bool pci_luo_bridge_writable(struct pci_bus *bus, unsigned int devfn,
				    const struct pci_luo_in *in, int pos, int len, u32 val)
{
	u16 old;

	if (len == 2 && (pos == PCI_STATUS || pos == PCI_SEC_STATUS))
		return true;
	if (len == 2 && (pos == PCI_BRIDGE_CONTROL || pos == PCI_COMMAND)) {
		u16 free = pos == PCI_COMMAND ? PCI_COMMAND_INTX_DISABLE :
						PCI_BRIDGE_CTL_MASTER_ABORT;

		if (pos == PCI_BRIDGE_CONTROL && READ_ONCE(in->bus_reset))
			free |= PCI_BRIDGE_CTL_BUS_RESET;

		pci_bus_read_config_word(bus, devfn, pos, &old);
		return !((old ^ val) & ~free);
	}
	if (pci_luo_within(pos, len, in->msi, PCI_LUO_MSI_SIZE) ||
	    pci_luo_within(pos, len, in->msix, PCI_CAP_MSIX_SIZEOF) ||
	    pci_luo_within(pos, len, in->aer, PCI_LUO_AER_SIZE) ||
	    pci_luo_within(pos, len, in->dpc, PCI_LUO_DPC_SIZE))
		return true;
	return in->pcie && pos >= in->pcie && pci_luo_pcie_writable(pos - in->pcie, len);
}

static void pci_luo_refused(struct pci_bus *bus, unsigned int devfn, int pos, int len, u32 val)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL, 20);
	unsigned long from[4] = { };

	if (!__ratelimit(&limit))
		return;
	/* Not this function, the guard and the accessor. */
	stack_trace_save(from, ARRAY_SIZE(from), 3);
	pr_warn("%04x:%02x:%02x.%d: not written to, it is in use: %d bytes %#x at %#x, by %pS < %pS < %pS < %pS\n",
		pci_domain_nr(bus), bus->number, PCI_SLOT(devfn), PCI_FUNC(devfn), len, val, pos,
		(void *)from[0], (void *)from[1], (void *)from[2], (void *)from[3]);
}

/**
 * __pci_liveupdate_may_write - the guard of config space
 * @bus: bus of the device
 * @devfn: its device and function number
 * @pos: offset of the register
 * @len: bytes
 * @val: value
 *
 * Context: any.
 * Return: false for what must not reach an incoming device; that is logged.
 */
bool __pci_liveupdate_may_write(struct pci_bus *bus, unsigned int devfn, int pos, int len,
				u32 val)
{
	struct pci_luo_in *in;
	bool may;

	rcu_read_lock();
	in = pci_luo_in_get(bus, devfn);
	may = !in || READ_ONCE(in->claimed) ||
	      (pci_luo_is_bridge(in) && pci_luo_bridge_writable(bus, devfn, in, pos, len, val));
	rcu_read_unlock();
	if (!may)
		pci_luo_refused(bus, devfn, pos, len, val);
	return may;
}

/* Is a bridge still set up as it was? If not, what is below it is out of reach. */
static bool pci_luo_bridge_as_recorded(struct pci_dev *dev, const struct pci_luo_in *in)
{
	struct pci_liveupdate_dev_ser now = in->ser;

	pci_luo_read_bridge(dev->bus, dev->devfn, &now);
	return !memcmp(&now, &in->ser, sizeof(now));
}

/**
 * pci_liveupdate_setup_device - find out whether a device was left running
 * @dev: the device, of which numbers and IDs are known; nothing was written to it
 *
 * Context: may sleep; first of all in pci_setup_device().
 */
void pci_liveupdate_setup_device(struct pci_dev *dev)
{
	struct pci_luo_in *in;
	const char *what = NULL;
	u8 hdr_type = 0;
	u16 cmd;

	if (!is_kho_boot())
		return;
	pci_luo_load();
	in = pci_luo_in_get(dev->bus, dev->devfn);
	if (!in)
		return;

	pci_bus_read_config_byte(dev->bus, dev->devfn, PCI_HEADER_TYPE, &hdr_type);
	if (in->dev)
		what = "was removed and has come back";
	else if (dev->vendor != in->ser.vendor || dev->device != in->ser.device)
		what = "is not the device";
	else if ((hdr_type & PCI_HEADER_TYPE_MASK) != in->ser.hdr_type)
		what = "has not the header";
	else if (pci_luo_is_bridge(in) && !pci_luo_bridge_as_recorded(dev, in))
		what = "has not the bus numbers and windows";
	if (what) {
		pr_err("%04x:%02x:%02x.%d %s of the record, it is not taken over\n",
		       pci_domain_nr(dev->bus), dev->bus->number, PCI_SLOT(dev->devfn),
		       PCI_FUNC(dev->devfn), what);
		if (!pci_luo_is_bridge(in) && !in->dev)
			pci_luo_fence_later(dev);
		pci_luo_in_drop(in);
		pci_bus_read_config_word(dev->bus, dev->devfn, PCI_COMMAND, &cmd);
		if ((hdr_type & PCI_HEADER_TYPE_MASK) == PCI_HEADER_TYPE_NORMAL &&
		    (cmd & PCI_COMMAND_MASTER))
			pci_bus_write_config_word(dev->bus, dev->devfn, PCI_COMMAND,
						  cmd & ~PCI_COMMAND_MASTER);
		return;
	}

	dev->luo_in = in;
	/* Sizing then does without switching decoding off. */
	dev->mmio_always_on = 1;
	in->pcie = pci_bus_find_capability(dev->bus, dev->devfn, PCI_CAP_ID_EXP);
	in->msi = pci_bus_find_capability(dev->bus, dev->devfn, PCI_CAP_ID_MSI);
	in->msix = pci_bus_find_capability(dev->bus, dev->devfn, PCI_CAP_ID_MSIX);
}

/**
 * pci_liveupdate_init_device - the device has become one of the driver model
 * @dev: the device
 *
 * Context: may sleep; first of all in pci_init_capabilities().
 */
void pci_liveupdate_init_device(struct pci_dev *dev)
{
	struct pci_luo_in *in = dev->luo_in;

	if (!in)
		return;
	in->dev = pci_dev_get(dev);
	in->aer = pci_find_ext_capability(dev, PCI_EXT_CAP_ID_ERR);
	in->dpc = pci_find_ext_capability(dev, PCI_EXT_CAP_ID_DPC);
	pci_info(dev, "running since before this kernel, left as it is\n");
}

/**
 * pci_liveupdate_bar_mask - size a base address without writing to it
 * @dev: the device
 * @pos: offset of the register
 * @mask: set to what it would read after all ones were written
 *
 * Context: any.
 * Return: false if the device is to be asked.
 */
bool pci_liveupdate_bar_mask(const struct pci_dev *dev, unsigned int pos, u32 *mask)
{
	const struct pci_luo_in *in = dev->luo_in;
	unsigned int bar = (pos - PCI_BASE_ADDRESS_0) / 4;

	if (!in)
		return false;
	*mask = bar < PCI_LIVEUPDATE_BARS ? in->ser.bar_mask[bar] : in->ser.rom_mask;
	return true;
}

/**
 * pci_liveupdate_intx_unmaskable - what pci_intx_mask_broken() found out before
 * @dev: an incoming device
 *
 * Context: any.
 * Return: true if INTX_DISABLE cannot be set.
 */
bool pci_liveupdate_intx_unmaskable(const struct pci_dev *dev)
{
	return dev->luo_in->ser.flags & PCI_LIVEUPDATE_INTX_UNMASKABLE;
}

/**
 * pci_liveupdate_bridge_windows - know the windows of a bridge from the record
 * @bridge: the bridge
 *
 * Context: any.
 * Return: false if the bridge is to be asked.
 */
bool pci_liveupdate_bridge_windows(struct pci_dev *bridge)
{
	const struct pci_luo_in *in = bridge->luo_in;

	if (!in)
		return false;
	bridge->io_window = !!(in->ser.flags & PCI_LIVEUPDATE_IO_WINDOW);
	bridge->pref_window = !!(in->ser.flags & PCI_LIVEUPDATE_PREF_WINDOW);
	bridge->pref_64_window = !!(in->ser.flags & PCI_LIVEUPDATE_PREF_64_WINDOW);
	return true;
}

/**
 * pci_liveupdate_configure_device - adopt the configuration of a device
 * @dev: the device, all resources of which are known
 *
 * Context: may sleep.
 * Return: false if the device is to be configured.
 */
bool pci_liveupdate_configure_device(struct pci_dev *dev)
{
	u16 ctl2 = 0;

	if (!dev->luo_in)
		return false;
	for (int i = 0; i <= PCI_ROM_RESOURCE; i++)
		if (dev->resource[i].flags)
			dev->resource[i].flags |= IORESOURCE_PCI_FIXED;
	dev->resource[PCI_ROM_RESOURCE].flags &= ~IORESOURCE_ROM_ENABLE;
	pcie_capability_read_word(dev, PCI_EXP_DEVCTL2, &ctl2);
#ifdef CONFIG_PCIEASPM
	dev->ltr_path = !!(ctl2 & PCI_EXP_DEVCTL2_LTR_EN);
#endif
	return true;
}

/**
 * pci_liveupdate_configure_ari - adopt the ARI forwarding of the bridge above
 * @dev: the device
 *
 * Context: may sleep.
 * Return: false if the bridge is to be configured.
 */
bool pci_liveupdate_configure_ari(struct pci_dev *dev)
{
	struct pci_dev *bridge = pci_upstream_bridge(dev);
	u16 ctl2 = 0;

	if (!bridge || !bridge->luo_in)
		return false;
	pcie_capability_read_word(bridge, PCI_EXP_DEVCTL2, &ctl2);
	bridge->ari_enabled = !!(ctl2 & PCI_EXP_DEVCTL2_ARI);
	return true;
}

/**
 * pci_liveupdate_pm_init - adopt the power state of a device, and keep it
 * @dev: the device, the power management capability of which is known
 *
 * Context: may sleep.
 * Return: false if power management is to be set up.
 */
bool pci_liveupdate_pm_init(struct pci_dev *dev)
{
	if (!dev->luo_in)
		return false;
	pci_update_current_state(dev, PCI_D0);
	dev->bridge_d3 = false;
	pm_runtime_get_noresume(&dev->dev);
	dev->luo_in->pm_held = true;
	return true;
}

/**
 * pci_liveupdate_fixed - must bus numbers and windows stay as they are?
 * @dev: a bridge
 *
 * Context: any.
 * Return: true if a device below is preserved or incoming.
 */
bool pci_liveupdate_fixed(const struct pci_dev *dev)
{
	return pci_liveupdate_incoming(dev) || pci_liveupdate_outgoing(dev);
}

/**
 * pci_liveupdate_can_probe - may this driver have the device?
 * @dev: the device
 * @drv: a driver that matches
 *
 * A driver that does DMA of its own may not have one that is not finished, and no driver
 * one that was fenced and could not be reset.
 *
 * Context: may sleep.
 * Return: false to keep the driver off.
 */
bool pci_liveupdate_can_probe(const struct pci_dev *dev, const struct pci_driver *drv)
{
	return !pci_liveupdate_incoming(dev) ||
	       (drv->driver_managed_dma && !pci_liveupdate_stuck(dev));
}

/**
 * pci_liveupdate_may_unbind - may user space take a device from its driver, or remove it?
 * @dev: any device
 *
 * The driver would wait for the file of the device to be closed, which a session
 * keeps open, and nobody else could wait for the device then, the next kexec included.
 *
 * Context: may sleep.
 * Return: false if a session has it, and if it does not end by that. It is logged.
 */
bool pci_liveupdate_may_unbind(struct device *dev)
{
	struct pci_dev *pdev;
	bool held;

	if (!dev_is_pci(dev))
		return true;
	pdev = to_pci_dev(dev);
	if (pci_is_bridge(pdev))
		return true;
	scoped_guard(mutex, &pci_luo_lock)
		held = pdev->luo_out || (pdev->luo_in && pdev->luo_in->taken);
	if (held)
		pci_err(pdev, "stays with its driver as long as a session has it\n");
	return !held;
}
