/* SPDX-License-Identifier: GPL-2.0 */
/*
 * IOMMUs that keep translating while the kernel is replaced.
 *
 * The first part is for file handlers of the Live Update Orchestrator, the second
 * for drivers of IOMMUs, the third is what the IOMMU core calls. See
 * drivers/iommu/liveupdate.c.
 */
#ifndef _LINUX_IOMMU_LIVEUPDATE_H
#define _LINUX_IOMMU_LIVEUPDATE_H

#include <linux/errno.h>
#include <linux/list.h>
#include <linux/types.h>

struct device;
struct iommu_attach_handle;
struct iommu_domain;
struct iommu_liveupdate_ser;
struct iommu_ops;
struct liveupdate_file_handler;

/**
 * struct iommu_liveupdate_run - a stretch of what a domain maps
 * @iova: where it begins
 * @phys: what is there; the rest follows without a gap
 * @size: bytes
 * @leaf: bytes that each entry of the page table maps
 */
struct iommu_liveupdate_run {
	unsigned long iova;
	phys_addr_t phys;
	size_t size;
	size_t leaf;
};

typedef int iommu_liveupdate_run_fn(const struct iommu_liveupdate_run *run, void *data);

/**
 * struct iommu_liveupdate_driver - what the driver of an IOMMU can do
 * @list: in the list of drivers
 * @name: goes into the record, with a version
 * @ops: by which its devices are known; with a @blocked_domain
 * @unit_id: the number of the unit of a device, the same in the next kernel
 * @preserve_unit: fill in the entry of the unit of a device
 * @unpreserve_unit: undo that
 * @preserve_domain: preserve the page tables of a domain, fill in its entry
 * @unpreserve_domain: undo that
 * @walk_domain: go through the page tables of a domain from one IOVA to another, both
 *	included, and tell what is mapped in order; ends when the function does not
 *	return 0, and returns that. Called without iommu_luo_lock.
 * @preserve_device: enter a device in the tables for the next kernel, fill in its
 *	entry. The entry of the unit is filled in.
 * @unpreserve_device: undo that
 * @restore_domain: make a domain of what came in. Attaching it to its devices
 *	afterwards must not touch the hardware. Takes no longer if more is mapped, since no
 *	user space runs yet. Returns an ERR_PTR() on failure.
 * @claim_domain: take over the page tables of a restored domain, which is called once and
 *	before the domain is walked, changed or freed. If it fails, none of that is done.
 * @block_device: have the IOMMU refuse the DMA of an incoming device from here on,
 *	and not report it. When it returns, nothing is cached or under way.
 *
 * All may sleep. Errors are logged by those who find them.
 */
struct iommu_liveupdate_driver {
	struct list_head list;
	const char *name;
	const struct iommu_ops *ops;
	u64 (*unit_id)(struct device *dev);
	int (*preserve_unit)(struct device *dev, struct iommu_liveupdate_ser *unit);
	void (*unpreserve_unit)(struct iommu_liveupdate_ser *unit);
	int (*preserve_domain)(struct iommu_domain *domain, struct iommu_liveupdate_ser *ser);
	void (*unpreserve_domain)(struct iommu_domain *domain, struct iommu_liveupdate_ser *ser);
	int (*walk_domain)(struct iommu_domain *domain, unsigned long iova, unsigned long last,
			   iommu_liveupdate_run_fn *fn, void *data);
	int (*preserve_device)(struct device *dev, const struct iommu_liveupdate_ser *unit,
			       struct iommu_domain *domain, struct iommu_liveupdate_ser *ser);
	void (*unpreserve_device)(struct device *dev, const struct iommu_liveupdate_ser *unit);
	struct iommu_domain *(*restore_domain)(struct device *dev,
					       const struct iommu_liveupdate_ser *ser);
	int (*claim_domain)(struct iommu_domain *domain);
	void (*block_device)(struct device *dev);
};

typedef int iommu_liveupdate_fn(const struct iommu_liveupdate_ser *device, void *data);

#ifdef CONFIG_IOMMU_LIVEUPDATE

int iommu_liveupdate_register(struct liveupdate_file_handler *handler);
int iommu_liveupdate_unregister(struct liveupdate_file_handler *handler);
int iommu_liveupdate_preserve(struct device *dev);
void iommu_liveupdate_unpreserve(struct device *dev);
void iommu_liveupdate_finish(struct device *dev);
struct iommu_domain *iommu_liveupdate_domain(struct device *dev);
void iommu_liveupdate_adopted(struct device *dev);
int iommu_liveupdate_walk_domain(struct iommu_domain *domain, unsigned long iova,
				 unsigned long last, iommu_liveupdate_run_fn *fn, void *data);
int iommu_device_adopt_owner(struct device *dev, struct iommu_domain *domain, void *owner,
			     struct iommu_attach_handle *handle);
void iommu_device_disown(struct device *dev);
void iommu_liveupdate_block(struct device *dev);

void iommu_liveupdate_register_driver(struct iommu_liveupdate_driver *driver);
const struct iommu_liveupdate_ser *iommu_liveupdate_unit(const char *driver, u64 id);
const struct iommu_liveupdate_ser *iommu_liveupdate_device(u64 unit, u32 segment, u16 bdf);
void iommu_liveupdate_reject_unit(u64 id);
void iommu_liveupdate_reject_missing(const char *driver, bool (*is_there)(u64 id));
int iommu_liveupdate_walk(u64 unit, u64 domain, iommu_liveupdate_fn *fn, void *data);

struct iommu_domain *iommu_liveupdate_first_domain(struct device *dev,
						   struct iommu_domain *domain);
void iommu_liveupdate_reject_all(void);

#else /* CONFIG_IOMMU_LIVEUPDATE */

static inline int iommu_liveupdate_register(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline int iommu_liveupdate_unregister(struct liveupdate_file_handler *handler)
{
	return -EOPNOTSUPP;
}

static inline int iommu_liveupdate_preserve(struct device *dev)
{
	return -EOPNOTSUPP;
}

static inline void iommu_liveupdate_unpreserve(struct device *dev)
{
}

static inline void iommu_liveupdate_block(struct device *dev)
{
}

static inline void iommu_liveupdate_finish(struct device *dev)
{
}

static inline struct iommu_domain *iommu_liveupdate_first_domain(struct device *dev,
								 struct iommu_domain *domain)
{
	return domain;
}

static inline void iommu_liveupdate_reject_all(void)
{
}

#endif /* CONFIG_IOMMU_LIVEUPDATE */

#endif /* _LINUX_IOMMU_LIVEUPDATE_H */
