// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d: a device that is attached to another domain goes on with its DMA, if that
 * can be, and whatever is different takes the old way.
 */

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/xarray.h>

#include "intel_iommu_kunit.h"
#include "../../drivers/iommu/intel/replace.h"

#define TEST_BUS	1
#define TEST_DEVFN	PCI_DEVFN(3, 0)
#define TEST_AGAW	1	/* 39 bits */
#define TEST_ECAP_SMTS	BIT_ULL(43)

/* KUnit runs one test after the other. */
static struct vtd_test_unit *test_units[2];
static struct vtd_test_dev *test_dev, *test_beside, *test_far;
static struct dmar_domain *test_old, *test_new;

static int test_init(struct kunit *test)
{
	test_units[0] = vtd_test_unit(test, 0, TEST_AGAW, false);
	test_units[1] = vtd_test_unit(test, 1, TEST_AGAW, true);
	test_dev = vtd_test_dev(test, test_units[0], TEST_BUS, TEST_DEVFN);
	test_beside = vtd_test_dev(test, test_units[0], TEST_BUS, TEST_DEVFN + 8);
	test_far = vtd_test_dev(test, test_units[1], TEST_BUS, TEST_DEVFN + 16);
	test_old = vtd_test_domain(test, test_dev);
	test_new = vtd_test_domain(test, test_dev);
	return vtd_test_attach(test_old, test_dev);
}

/* Whoever has changed something about a device has put it back. */
static void test_exit(struct kunit *test)
{
	vtd_test_detach(test_dev);
	vtd_test_detach(test_beside);
	vtd_test_detach(test_far);
	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 2, bitmap_weight(test_units[i]->ids, VTD_TEST_IDS));
		vtd_test_unit_free(test_units[i]);
	}
	for (int i = 0; i < 2; i++) {
		struct dmar_domain *domain = i ? test_new : test_old;

		KUNIT_EXPECT_TRUE(test, list_empty(&domain->devices));
		KUNIT_EXPECT_TRUE(test, list_empty(&domain->cache_tags));
		KUNIT_EXPECT_TRUE(test, xa_empty(&domain->iommu_array));
		iommu_domain_free(&domain->domain);
	}
}

/* The ID of a domain, 0 if it has none, and how many devices use it. */
static int test_id(struct dmar_domain *domain, int unit, unsigned int *users)
{
	struct iommu_domain_info *info = xa_load(&domain->iommu_array, unit);

	*users = info ? info->refcnt : 0;
	return info ? info->did : 0;
}

/* The only cache tag, or none, is of this ID. */
static bool test_tag(struct dmar_domain *domain, int did)
{
	struct cache_tag *tag;

	if (list_empty(&domain->cache_tags))
		return !did;
	tag = list_first_entry(&domain->cache_tags, struct cache_tag, node);
	return list_is_singular(&domain->cache_tags) && tag->domain_id == did &&
	       tag->users == 1;
}

/* Is the device attached to the domain, in every way, and to nothing else? */
static void test_is_attached(struct kunit *test, struct dmar_domain *domain, int did)
{
	struct dmar_domain *other = domain == test_old ? test_new : test_old;
	unsigned int users;

	KUNIT_EXPECT_PTR_EQ(test, domain, test_dev->info.domain);
	KUNIT_EXPECT_TRUE(test, test_dev->info.domain_attached);
	KUNIT_EXPECT_TRUE(test, context_entry_fits(vtd_test_entry(test_dev),
						   virt_to_phys(domain->pgd), TEST_AGAW, did));
	KUNIT_EXPECT_EQ(test, did, test_id(domain, 0, &users));
	KUNIT_EXPECT_EQ(test, 1, users);
	KUNIT_EXPECT_TRUE(test, test_bit(did, test_units[0]->ids));
	KUNIT_EXPECT_TRUE(test, list_is_singular(&domain->devices));
	KUNIT_EXPECT_TRUE(test, test_tag(domain, did));
	KUNIT_EXPECT_EQ(test, 0, test_id(other, 0, &users));
	KUNIT_EXPECT_TRUE(test, list_empty(&other->devices));
	KUNIT_EXPECT_TRUE(test, test_tag(other, 0));
}

static void test_replaced(struct kunit *test)
{
	struct context_entry before = *vtd_test_entry(test_dev), *entry = vtd_test_entry(test_dev);
	int did = context_domain_id(&before);
	struct dmar_domain *next = test_new;

	KUNIT_EXPECT_LE(test, 2, did);
	test_is_attached(test, test_old, did);
	test_old->iotlb_sync_map = 1;
	for (int i = 0; i < 3; i++) {
		memset(test_units[0]->log, 0, sizeof(test_units[0]->log));
		KUNIT_ASSERT_EQ(test, 0, vtd_test_attach(next, test_dev));
		KUNIT_EXPECT_STREQ(test, "ci", test_units[0]->log);
		KUNIT_EXPECT_EQ(test, did, test_units[0]->did);
		/* It was there when caches were invalidated, and nothing else has changed. */
		KUNIT_EXPECT_EQ(test, entry->lo, test_units[0]->seen.lo);
		KUNIT_EXPECT_EQ(test, entry->hi, before.hi);
		KUNIT_EXPECT_EQ(test, entry->lo & ~VTD_PAGE_MASK, before.lo & ~VTD_PAGE_MASK);
		test_is_attached(test, next, did);
		KUNIT_EXPECT_TRUE(test, !!next->iotlb_sync_map);
		next = next == test_old ? test_new : test_old;
	}
	KUNIT_EXPECT_FALSE(test, test_units[0]->absent);
	KUNIT_EXPECT_FALSE(test, test_units[0]->unlocked);
	KUNIT_EXPECT_EQ(test, 3, bitmap_weight(test_units[0]->ids, VTD_TEST_IDS));
}

/* It is already where it is to be: as long as its entry says so. */
static void test_same(struct kunit *test)
{
	struct context_entry *entry = vtd_test_entry(test_dev);
	int did = context_domain_id(entry);

	KUNIT_EXPECT_EQ(test, 0, vtd_test_attach(test_old, test_dev));
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);
	test_is_attached(test, test_old, did);
	entry->lo &= ~1ULL;
	KUNIT_EXPECT_EQ(test, 0, vtd_test_attach(test_old, test_dev));
	KUNIT_EXPECT_TRUE(test, test_units[0]->absent);
	test_is_attached(test, test_old, did);
}

/* On another unit, the old domain stays as it is. */
static void test_two_units(struct kunit *test)
{
	unsigned int users;
	int did;

	/* They have other IDs there. */
	bitmap_set(test_units[1]->ids, 2, 4);
	KUNIT_ASSERT_EQ(test, 0, vtd_test_attach(test_old, test_far));
	did = test_id(test_old, 1, &users);
	KUNIT_EXPECT_EQ(test, 6, did);
	KUNIT_EXPECT_NE(test, did, test_id(test_old, 0, &users));
	KUNIT_EXPECT_EQ(test, 0, vtd_test_attach(test_new, test_dev));
	KUNIT_EXPECT_FALSE(test, test_units[0]->absent);
	KUNIT_EXPECT_STREQ(test, "", test_units[1]->log);
	KUNIT_EXPECT_EQ(test, 0, test_id(test_old, 0, &users));
	KUNIT_EXPECT_EQ(test, did, test_id(test_old, 1, &users));
	KUNIT_EXPECT_EQ(test, 1, users);
	KUNIT_EXPECT_TRUE(test, test_tag(test_old, did));
	KUNIT_EXPECT_TRUE(test, context_entry_fits(vtd_test_entry(test_far),
						   virt_to_phys(test_old->pgd), TEST_AGAW, did));

	/* There it can be replaced as well. */
	KUNIT_EXPECT_EQ(test, 0, vtd_test_attach(test_new, test_far));
	KUNIT_EXPECT_STREQ(test, "ci", test_units[1]->log);
	KUNIT_EXPECT_FALSE(test, test_units[1]->absent);
	KUNIT_EXPECT_EQ(test, did, test_id(test_new, 1, &users));
	KUNIT_EXPECT_TRUE(test, xa_empty(&test_old->iommu_array));
	bitmap_clear(test_units[1]->ids, 2, 4);
}

/* Another device needs the ID of the old domain, or has given one to the new one. */
static void test_two_devices(struct kunit *test)
{
	unsigned int users;
	int did;

	KUNIT_ASSERT_EQ(test, 0, vtd_test_attach(test_old, test_beside));
	did = test_id(test_old, 0, &users);
	KUNIT_EXPECT_EQ(test, 2, users);
	KUNIT_EXPECT_EQ(test, 0, intel_replace_domain(test_new, &test_dev->pdev.dev));
	KUNIT_EXPECT_TRUE(test, list_empty(&test_new->cache_tags));
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);

	KUNIT_EXPECT_EQ(test, 0, vtd_test_attach(test_new, test_dev));
	KUNIT_EXPECT_TRUE(test, test_units[0]->absent);
	KUNIT_EXPECT_EQ(test, did, test_id(test_old, 0, &users));
	KUNIT_EXPECT_EQ(test, 1, users);
	KUNIT_EXPECT_NE(test, did, test_id(test_new, 0, &users));
	KUNIT_EXPECT_EQ(test, 1, users);

	memset(test_units[0]->log, 0, sizeof(test_units[0]->log));
	KUNIT_EXPECT_EQ(test, 0, intel_replace_domain(test_old, &test_dev->pdev.dev));
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);
	KUNIT_EXPECT_TRUE(test, test_tag(test_old, did));
	KUNIT_EXPECT_EQ(test, did, test_id(test_old, 0, &users));
	KUNIT_EXPECT_EQ(test, 1, users);
}

/* It takes the old way, and nothing has been done. */
static void test_refused(struct kunit *test, const char *why)
{
	struct context_entry before = *vtd_test_entry(test_dev);

	KUNIT_EXPECT_EQ_MSG(test, 0, intel_replace_domain(test_new, &test_dev->pdev.dev),
			    "%s", why);
	KUNIT_EXPECT_STREQ_MSG(test, "", test_units[0]->log, "%s", why);
	KUNIT_EXPECT_EQ_MSG(test, before.lo, vtd_test_entry(test_dev)->lo, "%s", why);
	KUNIT_EXPECT_EQ_MSG(test, before.hi, vtd_test_entry(test_dev)->hi, "%s", why);
	KUNIT_EXPECT_PTR_EQ_MSG(test, test_old, test_dev->info.domain, "%s", why);
	KUNIT_EXPECT_TRUE_MSG(test, list_empty(&test_new->cache_tags), "%s", why);
	KUNIT_EXPECT_TRUE_MSG(test, list_empty(&test_new->devices), "%s", why);
	KUNIT_EXPECT_TRUE_MSG(test, xa_empty(&test_new->iommu_array), "%s", why);
}

#define TEST_REFUSED(test, field, value) do {		\
	typeof(field) *at = &(field), was = *at;	\
							\
	*at = (value);					\
	test_refused(test, #field);			\
	*at = was;					\
} while (0)

static void test_devices(struct kunit *test)
{
	struct device_domain_info *info = &test_dev->info;
	unsigned long aliases[BITS_TO_LONGS(256)] = { };
	int sm = intel_iommu_sm;

	info->ats_supported = 1;
	test_refused(test, "ats_supported");
	info->ats_supported = 0;
	info->ats_enabled = 1;
	test_refused(test, "ats_enabled");
	info->ats_enabled = 0;
	info->pasid_enabled = 1;
	test_refused(test, "pasid_enabled");
	info->pasid_enabled = 0;
	info->pri_enabled = 1;
	test_refused(test, "pri_enabled");
	info->pri_enabled = 0;
	info->domain_attached = 0;
	test_refused(test, "not attached");
	info->domain_attached = 1;
	test_dev->iommu.require_direct = 1;
	test_refused(test, "require_direct");
	test_dev->iommu.require_direct = 0;
	TEST_REFUSED(test, test_dev->pdev.dev.bus, NULL);
	/* DMA of a function that is not there, and DMA that comes by a bridge */
	set_bit(PCI_DEVFN(4, 1), aliases);
	TEST_REFUSED(test, test_dev->pdev.dma_alias_mask, aliases);
	TEST_REFUSED(test, info->devfn, test_beside->info.devfn);
	set_bit(TEST_BUS << 8 | TEST_DEVFN, test_units[0]->copied);
	KUNIT_EXPECT_EQ(test, 0, intel_replace_domain(test_new, &test_dev->pdev.dev));
	clear_bit(TEST_BUS << 8 | TEST_DEVFN, test_units[0]->copied);
	intel_iommu_sm = 1;
	test_units[0]->iommu.ecap |= TEST_ECAP_SMTS;
	KUNIT_EXPECT_EQ(test, 0, intel_replace_domain(test_new, &test_dev->pdev.dev));
	test_units[0]->iommu.ecap &= ~TEST_ECAP_SMTS;
	intel_iommu_sm = sm;
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);
	test_replaced(test);
}

static void test_domains(struct kunit *test)
{
	struct intel_iommu *iommu = &test_units[0]->iommu;

	/* Wider than the unit, or not as wide */
	TEST_REFUSED(test, test_new->agaw, TEST_AGAW + 1);
	TEST_REFUSED(test, test_new->agaw, TEST_AGAW - 1);
	TEST_REFUSED(test, test_old->agaw, TEST_AGAW + 1);
	TEST_REFUSED(test, iommu->agaw, TEST_AGAW + 1);
	TEST_REFUSED(test, test_new->domain.type, IOMMU_DOMAIN_IDENTITY);
	TEST_REFUSED(test, test_old->domain.type, IOMMU_DOMAIN_BLOCKED);
	test_new->use_first_level = 1;
	test_refused(test, "use_first_level");
	test_new->use_first_level = 0;
	test_old->use_first_level = 1;
	test_refused(test, "use_first_level");
	test_old->use_first_level = 0;
	test_new->dirty_tracking = 1;
	test_refused(test, "dirty_tracking");
	test_new->dirty_tracking = 0;
	test_old->dirty_tracking = 1;
	test_refused(test, "dirty_tracking");
	test_old->dirty_tracking = 0;
	test_new->nested_parent = 1;
	test_refused(test, "nested_parent");
	test_new->nested_parent = 0;
	test_old->nested_parent = 1;
	test_refused(test, "nested_parent");
	test_old->nested_parent = 0;
	test_replaced(test);
}

/* A context entry that is not as the old domain has it is nothing to build on. */
static void test_entries(struct kunit *test)
{
	struct context_entry *entry = vtd_test_entry(test_dev);
	struct root_entry *root = &test_units[0]->iommu.root_entry[TEST_BUS];
	u64 was = root->lo;

	TEST_REFUSED(test, entry->lo, 0);
	TEST_REFUSED(test, entry->lo, entry->lo & ~1ULL);
	TEST_REFUSED(test, entry->lo, entry->lo | 2);
	TEST_REFUSED(test, entry->lo, entry->lo | CONTEXT_TT_DEV_IOTLB << 2);
	TEST_REFUSED(test, entry->lo, entry->lo | CONTEXT_TT_PASS_THROUGH << 2);
	TEST_REFUSED(test, entry->lo, entry->lo + VTD_PAGE_SIZE);
	TEST_REFUSED(test, entry->hi, entry->hi + 1);
	TEST_REFUSED(test, entry->hi, entry->hi + (1 << 8));
	root->lo = 0;
	KUNIT_EXPECT_EQ(test, 0, intel_replace_domain(test_new, &test_dev->pdev.dev));
	root->lo = was;
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);
	test_replaced(test);
}

/* It cannot be attached: it is where it was, also when the core puts it back there. */
static void test_error(struct kunit *test, int did)
{
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_test_attach(test_new, test_dev));
	test_is_attached(test, test_old, did);
	KUNIT_EXPECT_EQ(test, 0, vtd_test_attach(test_old, test_dev));
	test_is_attached(test, test_old, did);
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);
}

static void test_errors(struct kunit *test)
{
	int did = context_domain_id(vtd_test_entry(test_dev));
	u64 max = test_new->max_addr;

	/* More is mapped than the unit can address */
	test_new->max_addr = (1ULL << agaw_to_width(TEST_AGAW)) + 1;
	test_error(test, did);
	test_new->max_addr = max;
	/* It would have to snoop, and cannot */
	test_new->force_snooping = 1;
	test_error(test, did);
	test_new->force_snooping = 0;
	test_replaced(test);
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_replaced),
	KUNIT_CASE(test_same),
	KUNIT_CASE(test_two_units),
	KUNIT_CASE(test_two_devices),
	KUNIT_CASE(test_devices),
	KUNIT_CASE(test_domains),
	KUNIT_CASE(test_entries),
	KUNIT_CASE(test_errors),
	{}
};

static struct kunit_suite test_suite = {
	.name = "intel_replace",
	.init = test_init,
	.exit = test_exit,
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests for replacing domains of Intel VT-d");
MODULE_LICENSE("GPL");
