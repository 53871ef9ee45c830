/* SPDX-License-Identifier: GPL-2.0 */
/*
 * iommufd and live update: what drivers of devices and the code that makes memfds
 * again call. See drivers/iommu/iommufd/liveupdate.c.
 */
#ifndef _LINUX_IOMMUFD_LIVEUPDATE_H
#define _LINUX_IOMMUFD_LIVEUPDATE_H

#include <linux/err.h>
#include <linux/types.h>

struct device;
struct iommufd_device;
struct iommufd_luo_ser;
struct liveupdate_session;

#ifdef CONFIG_IOMMUFD_LIVEUPDATE

/* drivers/iommu/iommufd/liveupdate.c */
int iommufd_liveupdate_preserve_device(struct iommufd_device *idev,
				       struct liveupdate_session *session,
				       u64 *ctx_token, u32 *label);
void iommufd_liveupdate_unpreserve_device(struct iommufd_device *idev);
bool iommufd_liveupdate_device_fixed(struct iommufd_device *idev);

/* drivers/iommu/iommufd/liveupdate_adopt_dev.c */
struct iommufd_device *iommufd_liveupdate_adopt_device(struct liveupdate_session *session,
						       u64 ctx_token, struct device *dev,
						       u32 label, u32 *devid, u32 *hwpt_id);
bool iommufd_liveupdate_device_ready(struct iommufd_device *idev);
void iommufd_liveupdate_finish_device(struct iommufd_device *idev);

/* drivers/iommu/liveupdate_iommufd.c */
/**
 * struct iommufd_luo_edge - where a mapping of memory of a file begins or ends
 * @token: token of the file
 * @page: first page, or the first one behind it
 * @step: 1 or -1
 */
struct iommufd_luo_edge {
	u64 token;
	u64 page;
	int step;
};

typedef int iommufd_luo_fn(const struct iommufd_luo_ser *ser, void *data);
size_t iommufd_luo_add_edges(struct iommufd_luo_edge *edges, size_t nr, u64 token, u64 first,
			     u64 last);
bool iommufd_luo_too_deep(struct iommufd_luo_edge *edges, size_t nr);
int iommufd_luo_check_depth(struct liveupdate_session *session, u64 pa);
const char *iommufd_luo_fault(const struct iommufd_luo_ser *ser, u32 nr_ioas);
int iommufd_luo_walk(u64 pa, iommufd_luo_fn *fn, void *data);
void iommufd_luo_free(u64 pa);

#else /* CONFIG_IOMMUFD_LIVEUPDATE */

static inline int iommufd_liveupdate_preserve_device(struct iommufd_device *idev,
						     struct liveupdate_session *session,
						     u64 *ctx_token, u32 *label)
{
	return -EOPNOTSUPP;
}

static inline void iommufd_liveupdate_unpreserve_device(struct iommufd_device *idev)
{
}

static inline bool iommufd_liveupdate_device_fixed(struct iommufd_device *idev)
{
	return false;
}

static inline struct iommufd_device *
iommufd_liveupdate_adopt_device(struct liveupdate_session *session, u64 ctx_token,
				struct device *dev, u32 label, u32 *devid, u32 *hwpt_id)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline bool iommufd_liveupdate_device_ready(struct iommufd_device *idev)
{
	return false;
}

static inline void iommufd_liveupdate_finish_device(struct iommufd_device *idev)
{
}

#endif /* CONFIG_IOMMUFD_LIVEUPDATE */

#endif /* _LINUX_IOMMUFD_LIVEUPDATE_H */
