/* SPDX-License-Identifier: GPL-2.0 */
/* What drivers/pci/liveupdate*.c share. */
#ifndef DRIVERS_PCI_LIVEUPDATE_H
#define DRIVERS_PCI_LIVEUPDATE_H

#include <linux/kho/abi/pci.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct liveupdate_flb_op_args;

/**
 * struct pci_luo_in - a device or bridge that the previous kernel left running
 * @ser: what it said of it, checked
 * @dev: the device, with a reference, from pci_liveupdate_init_device() on
 * @refs: one as long as it is incoming, and one of each who looks at it without the lock
 * @claimed: its config space may be written
 * @taken: a file has it, see pci_liveupdate_claim()
 * @fenced: it was stopped, see liveupdate_fence.c
 * @stuck: ... and could not be reset: it is kept when it is finished
 * @bus_reset: of a bridge, the bus below may be reset
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
	refcount_t refs;
	bool claimed;
	bool taken;
	bool fenced;
	bool stuck;
	bool bus_reset;
	bool pm_held;
	u16 msi;
	u16 msix;
	u16 pcie;
	u16 aer;
	u16 dpc;
	struct rcu_head rcu;
};

/* liveupdate.c */
extern struct mutex pci_luo_lock;
void pci_luo_read_bridge(struct pci_bus *bus, unsigned int devfn,
			 struct pci_liveupdate_dev_ser *ser);
void pci_luo_load(void);

/* liveupdate_in.c */
int pci_luo_read(struct xarray *table, struct luo_incoming_chain *chain,
		 const struct luo_block_ops *ops, u64 pa);
int pci_luo_flb_retrieve(struct liveupdate_flb_op_args *args);
void pci_luo_flb_finish(struct liveupdate_flb_op_args *args);
struct pci_luo_in *pci_luo_in_get(struct pci_bus *bus, unsigned int devfn);
void pci_luo_in_drop(struct pci_luo_in *in);
struct pci_luo_in *pci_luo_in_hold(struct pci_dev *dev);
void pci_luo_in_put(struct pci_luo_in *in);
void pci_luo_in_end(struct pci_dev *dev);
void pci_luo_bridges_put(struct pci_dev *bridge);
bool pci_luo_in_of(const struct pci_luo_in *in, const char *session);
bool pci_luo_unclaimed(const char *session);
struct pci_dev *pci_luo_next_unclaimed(const char *session);

/* liveupdate_fence.c */
void pci_luo_fence_unclaimed(const char *session);
void pci_luo_fence_later(const struct pci_dev *dev);

static inline bool pci_luo_is_bridge(const struct pci_luo_in *in)
{
	return in->ser.hdr_type == PCI_HEADER_TYPE_BRIDGE;
}

#endif /* DRIVERS_PCI_LIVEUPDATE_H */
