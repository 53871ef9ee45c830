/* SPDX-License-Identifier: GPL-2.0 */
/* What drivers/iommu/liveupdate*.c share. */
#ifndef DRIVERS_IOMMU_LIVEUPDATE_H
#define DRIVERS_IOMMU_LIVEUPDATE_H

#include <linux/kho/abi/iommu.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct device;
struct iommu_domain;
struct liveupdate_flb_op_args;

/**
 * struct iommu_luo_in - an entry of the incoming record
 * @ser: a copy
 * @domain: of a domain that was restored, itself
 * @failed: of a domain, it cannot be restored or claimed
 * @claimed: of a domain, its page tables are this kernel's
 * @adopted: of a domain, it belongs to somebody who will free it
 * @users: of a domain, number of groups that it is attached to
 */
struct iommu_luo_in {
	struct iommu_liveupdate_ser ser;
	struct iommu_domain *domain;
	bool failed;
	bool claimed;
	bool adopted;
	unsigned int users;
};

/**
 * struct iommu_luo_tables - an incoming record
 * @units: its units, by number; each a &struct iommu_luo_in, as all are
 * @domains: its domains, by number
 * @devices: its devices, by number
 * @chain: from which they were read
 */
struct iommu_luo_tables {
	struct xarray units;
	struct xarray domains;
	struct xarray devices;
	struct luo_incoming_chain chain;
};

/* liveupdate.c */
extern struct mutex iommu_luo_lock;
u64 iommu_luo_number(struct device *dev);
struct iommu_liveupdate_driver *iommu_luo_driver(struct device *dev);

/* liveupdate_in.c */
int iommu_luo_read(struct iommu_luo_tables *tables, const struct luo_block_ops *ops, u64 pa);
void iommu_luo_tables_free(struct iommu_luo_tables *tables);
int iommu_luo_flb_retrieve(struct liveupdate_flb_op_args *args);
void iommu_luo_flb_finish(struct liveupdate_flb_op_args *args);

#endif /* DRIVERS_IOMMU_LIVEUPDATE_H */
