/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI devices that keep running while the kernel is replaced.
 *
 * The first part is for file handlers of the Live Update Orchestrator, the
 * second is what the PCI core calls. See drivers/pci/liveupdate.c.
 */
#ifndef _LINUX_PCI_LIVEUPDATE_H
#define _LINUX_PCI_LIVEUPDATE_H

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/types.h>

struct device;
struct liveupdate_file_handler;
struct liveupdate_session;
struct pci_bus;
struct pci_dev;
struct pci_driver;
struct pci_liveupdate_state_ser;
struct pci_saved_state;

#ifdef CONFIG_PCI_LIVEUPDATE

/* For file handlers */
int pci_liveupdate_register(struct liveupdate_file_handler *handler);
int pci_liveupdate_unregister(struct liveupdate_file_handler *handler);
int pci_liveupdate_preserve(struct pci_dev *dev, struct liveupdate_session *session);
void pci_liveupdate_unpreserve(struct pci_dev *dev);
struct pci_dev *pci_liveupdate_find(struct liveupdate_session *session, u32 segment, u16 bdf);
int pci_liveupdate_may_claim(const struct pci_dev *dev);
int pci_liveupdate_claim(struct pci_dev *dev);
void pci_liveupdate_finish(struct liveupdate_session *session, u32 segment, u16 bdf);
void pci_liveupdate_reject(u32 segment, u16 bdf);
void pci_liveupdate_reject_all(void);
int pci_liveupdate_fence(struct pci_dev *dev);
void pci_liveupdate_fence_unclaimed(struct liveupdate_session *session);
bool pci_liveupdate_taken(struct pci_dev *dev);
bool pci_liveupdate_stuck(const struct pci_dev *dev);
bool pci_liveupdate_incoming(const struct pci_dev *dev);
bool pci_liveupdate_outgoing(const struct pci_dev *dev);
int pci_liveupdate_pack_state(struct pci_dev *dev, struct pci_saved_state *state,
			      struct pci_liveupdate_state_ser *ser);
struct pci_saved_state *pci_liveupdate_unpack_state(struct pci_dev *dev,
						    const struct pci_liveupdate_state_ser *ser);
bool pci_liveupdate_state_valid(const struct pci_liveupdate_state_ser *ser);

/* For the PCI core */
extern bool pci_liveupdate_guarded;
bool __pci_liveupdate_may_write(struct pci_bus *bus, unsigned int devfn, int pos,
				int len, u32 val);
void pci_liveupdate_setup_device(struct pci_dev *dev);
void pci_liveupdate_init_device(struct pci_dev *dev);
bool pci_liveupdate_bar_mask(const struct pci_dev *dev, unsigned int pos, u32 *mask);
bool pci_liveupdate_intx_unmaskable(const struct pci_dev *dev);
bool pci_liveupdate_bridge_windows(struct pci_dev *bridge);
bool pci_liveupdate_configure_device(struct pci_dev *dev);
bool pci_liveupdate_configure_ari(struct pci_dev *dev);
bool pci_liveupdate_pm_init(struct pci_dev *dev);
bool pci_liveupdate_fixed(const struct pci_dev *dev);
bool pci_liveupdate_skip_shutdown(struct pci_dev *dev);
bool pci_liveupdate_can_probe(const struct pci_dev *dev, const struct pci_driver *drv);
bool pci_liveupdate_may_unbind(struct device *dev);

/* May this write go to the hardware? One test where nothing has come in. */
static inline bool pci_liveupdate_may_write(struct pci_bus *bus, unsigned int devfn,
					    int pos, int len, u32 val)
{
	if (likely(!READ_ONCE(pci_liveupdate_guarded)))
		return true;
	return __pci_liveupdate_may_write(bus, devfn, pos, len, val);
}

#else /* CONFIG_PCI_LIVEUPDATE */

static inline int pci_liveupdate_register(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline int pci_liveupdate_unregister(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline int pci_liveupdate_preserve(struct pci_dev *dev,
					  struct liveupdate_session *session)
{
	return -EOPNOTSUPP;
}

static inline void pci_liveupdate_unpreserve(struct pci_dev *dev)
{
}

static inline struct pci_dev *pci_liveupdate_find(struct liveupdate_session *session,
						  u32 segment, u16 bdf)
{
	return NULL;
}

static inline int pci_liveupdate_may_claim(const struct pci_dev *dev)
{
	return -EOPNOTSUPP;
}

static inline int pci_liveupdate_claim(struct pci_dev *dev)
{
	return -EOPNOTSUPP;
}

static inline void pci_liveupdate_finish(struct liveupdate_session *session, u32 segment,
					 u16 bdf)
{
}

static inline void pci_liveupdate_reject(u32 segment, u16 bdf)
{
}

static inline void pci_liveupdate_reject_all(void)
{
}

static inline int pci_liveupdate_fence(struct pci_dev *dev)
{
	return -ENOENT;
}

static inline bool pci_liveupdate_stuck(const struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_incoming(const struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_outgoing(const struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_may_write(struct pci_bus *bus, unsigned int devfn,
					    int pos, int len, u32 val)
{
	return true;
}

static inline void pci_liveupdate_setup_device(struct pci_dev *dev)
{
}

static inline void pci_liveupdate_init_device(struct pci_dev *dev)
{
}

static inline bool pci_liveupdate_bar_mask(const struct pci_dev *dev, unsigned int pos,
					   u32 *mask)
{
	return false;
}

static inline bool pci_liveupdate_intx_unmaskable(const struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_bridge_windows(struct pci_dev *bridge)
{
	return false;
}

static inline bool pci_liveupdate_configure_device(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_configure_ari(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_pm_init(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_fixed(const struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_skip_shutdown(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_may_unbind(struct device *dev)
{
	return true;
}

static inline bool pci_liveupdate_can_probe(const struct pci_dev *dev,
					    const struct pci_driver *drv)
{
	return true;
}

#endif /* CONFIG_PCI_LIVEUPDATE */

#endif /* _LINUX_PCI_LIVEUPDATE_H */
