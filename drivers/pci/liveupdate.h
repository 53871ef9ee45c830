/* SPDX-License-Identifier: GPL-2.0 */
/* What drivers/pci/liveupdate*.c share. */
#ifndef DRIVERS_PCI_LIVEUPDATE_H
#define DRIVERS_PCI_LIVEUPDATE_H

#include <linux/kho/abi/pci.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

/**
 * struct pci_luo_in - a device or bridge that the previous kernel left running
 * @ser: what it said of it, checked
 * @dev: the device, with a reference, from pci_liveupdate_init_device() on
 * @claimed: a file handler has taken it; its config space may be written
 * @pm_held: a runtime PM reference keeps it out of low-power states
 * @msi: offset of the MSI capability of a bridge, 0 if there is none. So are
 * @msix: ... MSI-X,
 * @pcie: ... PCI Express,
 * @aer: ... Advanced Error Reporting,
 * @dpc: ... Downstream Port Containment
 * @rcu: readers of the guard
 */
struct pci_luo_in {
	struct pci_liveupdate_dev_ser ser;
	struct pci_dev *dev;
	bool claimed;
	bool pm_held;
	u16 msi;
	u16 msix;
	u16 pcie;
	u16 aer;
	u16 dpc;
	struct rcu_head rcu;
};

/* liveupdate.c */
void pci_luo_read_bridge(struct pci_bus *bus, unsigned int devfn,
			 struct pci_liveupdate_dev_ser *ser);
void pci_luo_load(void);
struct pci_luo_in *pci_luo_in_get(struct pci_bus *bus, unsigned int devfn);
void pci_luo_in_drop(struct pci_luo_in *in);

static inline bool pci_luo_is_bridge(const struct pci_luo_in *in)
{
	return in->ser.hdr_type == PCI_HEADER_TYPE_BRIDGE;
}

#endif /* DRIVERS_PCI_LIVEUPDATE_H */
