// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d across a kexec, as far as it needs no kexec: page tables of every depth and
 * with every size of page are walked and preserved, those of the previous kernel are
 * looked through without trusting them, and the root and context tables for the next kernel
 * hold what was preserved, of several units, whose walks snoop caches or do not.
 */

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommu.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/sizes.h>

#include "intel_iommu_kunit.h"
#include "../../drivers/iommu/intel/liveupdate.h"

#define TEST_BUS	3
#define TEST_DEVFN	PCI_DEVFN(5, 1)
#define TEST_PHYS	0x4000000000ULL
#define TEST_PROT	(IOMMU_READ | IOMMU_WRITE)
#define TEST_TABLES	150	/* more than two batches */

/* KUnit runs one test after the other. */
static struct vtd_test_unit *test_units[2];
static struct vtd_test_dev *test_devs[2];
static struct dmar_domain *test_domain;

/* A unit of this width, the other of 48 bits, with one device each, and a domain. */
static void test_setup(struct kunit *test, int agaw)
{
	for (int i = 0; i < 2; i++) {
		test_units[i] = vtd_test_unit(test, i, i ? 2 : agaw, i);
		test_devs[i] = vtd_test_dev(test, test_units[i], TEST_BUS + i, TEST_DEVFN);
	}
	test_domain = vtd_test_domain(test, test_devs[0]);
}

static void test_teardown(struct kunit *test)
{
	for (int i = 0; i < 2; i++)
		vtd_test_detach(test_devs[i]);
	iommu_domain_free(&test_domain->domain);
	for (int i = 0; i < 2; i++)
		vtd_test_unit_free(test_units[i]);
}

static void test_map(struct kunit *test, unsigned long iova, phys_addr_t phys, size_t size)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_map(&test_domain->domain, iova, phys, size, TEST_PROT,
					   GFP_KERNEL));
}

/* ---- what is mapped ---- */

static struct iommu_liveupdate_run test_runs[16];
static int test_nr_runs, test_most_runs;

static int test_run(const struct iommu_liveupdate_run *run, void *data)
{
	if (test_nr_runs < ARRAY_SIZE(test_runs))
		test_runs[test_nr_runs] = *run;
	return ++test_nr_runs == test_most_runs ? 7 : 0;
}

static int test_walk(unsigned long iova, unsigned long last)
{
	test_nr_runs = 0;
	return vtd_luo_driver.walk_domain(&test_domain->domain, iova, last, test_run, NULL);
}

static void test_is_run(struct kunit *test, int i, unsigned long iova, phys_addr_t phys,
			size_t size, size_t leaf)
{
	KUNIT_EXPECT_EQ_MSG(test, iova, test_runs[i].iova, "run %d", i);
	KUNIT_EXPECT_EQ_MSG(test, phys, test_runs[i].phys, "run %d", i);
	KUNIT_EXPECT_EQ_MSG(test, size, test_runs[i].size, "run %d", i);
	KUNIT_EXPECT_EQ_MSG(test, leaf, test_runs[i].leaf, "run %d", i);
}

static void test_levels(struct kunit *test, int agaw)
{
	unsigned long top = BIT(agaw_to_width(agaw)) - SZ_4K;

	test_setup(test, agaw);
	test_most_runs = 0;
	KUNIT_EXPECT_EQ(test, 0, test_walk(0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 0, test_nr_runs);

	/* Two pages that are neighbours in both, one that is not, the last of a table */
	test_map(test, 0, TEST_PHYS, SZ_8K);
	test_map(test, SZ_8K, TEST_PHYS + SZ_1M, SZ_4K);
	test_map(test, SZ_2M - SZ_4K, TEST_PHYS + SZ_2M - SZ_4K, SZ_4K);
	/* Neighbours of that, but of another table and another size */
	test_map(test, SZ_2M, TEST_PHYS + SZ_2M, SZ_4M);
	test_map(test, 3 * SZ_2M, TEST_PHYS + SZ_1G, SZ_4K);
	test_map(test, SZ_1G, TEST_PHYS + SZ_2G, SZ_1G);
	test_map(test, top, TEST_PHYS + SZ_4K, SZ_4K);

	KUNIT_EXPECT_EQ(test, 0, test_walk(0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 7, test_nr_runs);
	test_is_run(test, 0, 0, TEST_PHYS, SZ_8K, SZ_4K);
	test_is_run(test, 1, SZ_8K, TEST_PHYS + SZ_1M, SZ_4K, SZ_4K);
	test_is_run(test, 2, SZ_2M - SZ_4K, TEST_PHYS + SZ_2M - SZ_4K, SZ_4K, SZ_4K);
	test_is_run(test, 3, SZ_2M, TEST_PHYS + SZ_2M, SZ_4M, SZ_2M);
	test_is_run(test, 4, 3 * SZ_2M, TEST_PHYS + SZ_1G, SZ_4K, SZ_4K);
	test_is_run(test, 5, SZ_1G, TEST_PHYS + SZ_2G, SZ_1G, SZ_1G);
	test_is_run(test, 6, top, TEST_PHYS + SZ_4K, SZ_4K, SZ_4K);

	/* Parts, that begin and end within pages */
	KUNIT_EXPECT_EQ(test, 0, test_walk(SZ_4K, SZ_8K - 1));
	KUNIT_EXPECT_EQ(test, 1, test_nr_runs);
	test_is_run(test, 0, SZ_4K, TEST_PHYS + SZ_4K, SZ_4K, SZ_4K);
	KUNIT_EXPECT_EQ(test, 0, test_walk(SZ_2M + SZ_4K, SZ_2M + SZ_8K - 1));
	KUNIT_EXPECT_EQ(test, 1, test_nr_runs);
	test_is_run(test, 0, SZ_2M + SZ_4K, TEST_PHYS + SZ_2M + SZ_4K, SZ_4K, SZ_2M);
	KUNIT_EXPECT_EQ(test, 0, test_walk(SZ_1G + SZ_512M, SZ_1G + SZ_512M));
	KUNIT_EXPECT_EQ(test, 1, test_nr_runs);
	test_is_run(test, 0, SZ_1G + SZ_512M, TEST_PHYS + SZ_2G + SZ_512M, 1, SZ_1G);
	KUNIT_EXPECT_EQ(test, 0, test_walk(SZ_1M, SZ_1M + SZ_8K - 1));
	KUNIT_EXPECT_EQ(test, 0, test_nr_runs);
	/* Nothing is beyond the width */
	KUNIT_EXPECT_EQ(test, 0, test_walk(top + SZ_4K, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 0, test_nr_runs);

	/* It ends when told to */
	test_most_runs = 3;
	KUNIT_EXPECT_EQ(test, 7, test_walk(0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 3, test_nr_runs);
	test_teardown(test);
}

static void test_walks(struct kunit *test)
{
	for (int agaw = 1; agaw <= 3; agaw++)
		test_levels(test, agaw);
}

/* ---- tables of the previous kernel, which may be anything ---- */

static u64 test_tables[8];
static int test_taken[ARRAY_SIZE(test_tables)];
static bool test_once;

/* Is it one of those, and, if that matters, not taken yet? */
static bool test_is_table(u64 pa)
{
	for (int i = 0; i < ARRAY_SIZE(test_tables); i++)
		if (pa && test_tables[i] == pa)
			return !test_taken[i]++ || !test_once;
	return false;
}

static int test_each(struct dma_pte *pgd, int level)
{
	memset(test_taken, 0, sizeof(test_taken));
	return vtd_luo_each_table(pgd, level, test_is_table);
}

static int test_nr_taken(void)
{
	int nr = 0;

	for (int i = 0; i < ARRAY_SIZE(test_taken); i++)
		nr += test_taken[i];
	return nr;
}

static void test_malformed(struct kunit *test)
{
	struct dma_pte *table[4];

	test_once = true;
	memset(test_tables, 0, sizeof(test_tables));
	for (int i = 0; i < 4; i++) {
		table[i] = (void *)get_zeroed_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, table[i]);
		test_tables[i] = virt_to_phys(table[i]);
	}
	KUNIT_EXPECT_EQ(test, 0, test_each(table[0], 4));
	KUNIT_EXPECT_EQ(test, 0, test_nr_taken());

	/* Four levels; what the last one maps is no table, and neither is a large page */
	for (int i = 0; i < 3; i++)
		table[i][511 - i].val = test_tables[i + 1] | DMA_PTE_READ | DMA_PTE_WRITE;
	table[3][7].val = 0x123456000 | DMA_PTE_WRITE;
	table[1][1].val = 0x40000000 | DMA_PTE_READ | DMA_PTE_LARGE_PAGE;
	table[2][1].val = 0x200000 | DMA_PTE_WRITE | DMA_PTE_LARGE_PAGE;
	KUNIT_EXPECT_EQ(test, 0, test_each(table[0], 4));
	KUNIT_EXPECT_EQ(test, 3, test_nr_taken());
	KUNIT_EXPECT_EQ(test, 0, test_taken[0]);
	/* A bit that is not of the address, and one that cannot be */
	table[0][511].val |= DMA_PTE_SNP;
	KUNIT_EXPECT_EQ(test, 0, test_each(table[0], 4));
	table[0][511].val |= BIT_ULL(62);
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));
	table[0][511].val &= ~BIT_ULL(62);
	/* An entry without a right is none. */
	table[0][0].val = 0xdead000;
	KUNIT_EXPECT_EQ(test, 0, test_each(table[0], 4));

	/* With fewer levels than there are, entries that map nothing here are not followed. */
	KUNIT_EXPECT_EQ(test, 0, test_each(table[1], 3));
	KUNIT_EXPECT_EQ(test, 2, test_nr_taken());
	KUNIT_EXPECT_EQ(test, 0, test_each(table[1], 1));
	KUNIT_EXPECT_EQ(test, 0, test_nr_taken());
	/* With more levels, what is mapped would be a table, but nobody has preserved it. */
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 5));

	/* Where there is no memory, where there is some, and at 0 */
	table[2][500].val = (BIT_ULL(52) - VTD_PAGE_SIZE) | DMA_PTE_READ;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));
	table[2][500].val = (virt_to_phys(test) & VTD_PAGE_MASK) | DMA_PTE_READ;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));
	table[2][500].val = DMA_PTE_WRITE;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));

	/* Round and round, to itself, and two ways to one */
	table[2][500].val = test_tables[1] | DMA_PTE_READ;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));
	table[2][500].val = test_tables[2] | DMA_PTE_READ;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));
	table[2][500].val = test_tables[3] | DMA_PTE_READ;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_each(table[0], 4));
	/* Even if nobody minds, it comes to an end. */
	test_once = false;
	table[2][500].val = test_tables[2] | DMA_PTE_READ;
	KUNIT_EXPECT_EQ(test, 0, test_each(table[0], 4));
	table[2][500].val = 0;
	KUNIT_EXPECT_EQ(test, 0, test_each(table[0], 4));

	/* This kernel has come by no kexec: none of it was preserved. */
	KUNIT_EXPECT_FALSE(test, vtd_luo_is_table(test_tables[0]));
	KUNIT_EXPECT_FALSE(test, vtd_luo_is_table(test_tables[0] + 8));
	KUNIT_EXPECT_FALSE(test, vtd_luo_is_table(0));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_luo_take_tables(table[0], 4));
	for (int i = 0; i < 4; i++)
		free_page((unsigned long)table[i]);
}

/* ---- preserving page tables ---- */

/* How many tables there are below the top one, and how many of all are preserved. */
static int test_below, test_preserved;

static bool test_count(u64 pa)
{
	struct folio *folio = virt_to_folio(phys_to_virt(pa));
	int ret = kho_preserve_folio(folio);

	if (!ret)
		kho_unpreserve_folio(folio);
	test_preserved += ret == -EEXIST;
	test_below++;
	return true;
}

static void test_count_all(struct kunit *test)
{
	test_preserved = 0;
	test_count(virt_to_phys(test_domain->pgd));
	test_below = 0;
	KUNIT_EXPECT_EQ(test, 0, vtd_luo_each_table(test_domain->pgd,
						    agaw_to_level(test_domain->agaw), test_count));
}

static void test_preserve(struct kunit *test)
{
	struct iommu_liveupdate_ser ser = { };
	struct dma_pte *leaf;
	struct folio *folio;

	if (!kho_is_enabled())
		kunit_skip(test, "needs kho=on");
	test_setup(test, 2);
	for (int i = 0; i < TEST_TABLES; i++)
		test_map(test, i * SZ_2M + SZ_8K, TEST_PHYS + i * SZ_4K, SZ_4K);
	test_map(test, SZ_1G, TEST_PHYS + SZ_1G, SZ_1G);
	test_count_all(test);
	KUNIT_EXPECT_EQ(test, TEST_TABLES + 2, test_below);
	KUNIT_EXPECT_EQ(test, 0, test_preserved);

	test_domain->set_pte_snp = 1;
	KUNIT_EXPECT_EQ(test, 0, vtd_luo_driver.preserve_domain(&test_domain->domain, &ser));
	test_count_all(test);
	KUNIT_EXPECT_EQ(test, test_below + 1, test_preserved);
	KUNIT_EXPECT_EQ(test, virt_to_phys(test_domain->pgd), ser.priv[0]);
	KUNIT_EXPECT_EQ(test, 2, ser.priv[1]);
	KUNIT_EXPECT_EQ(test, 48, ser.priv[2]);
	KUNIT_EXPECT_EQ(test, 1, ser.priv[3]);
	vtd_luo_driver.unpreserve_domain(&test_domain->domain, &ser);
	test_count_all(test);
	KUNIT_EXPECT_EQ(test, 0, test_preserved);

	/* One of the third batch cannot be: none is. */
	leaf = phys_to_virt(dma_pte_addr(&test_domain->pgd[0]));
	leaf = phys_to_virt(dma_pte_addr(&leaf[0]));
	leaf = phys_to_virt(dma_pte_addr(&leaf[TEST_TABLES - 5]));
	folio = virt_to_folio(leaf);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_folio(folio));
	KUNIT_EXPECT_EQ(test, -EEXIST,
			vtd_luo_driver.preserve_domain(&test_domain->domain, &ser));
	test_count_all(test);
	KUNIT_EXPECT_EQ(test, 1, test_preserved);
	kho_unpreserve_folio(folio);

	/* What has more than its page tables */
	test_domain->use_first_level = 1;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			vtd_luo_driver.preserve_domain(&test_domain->domain, &ser));
	KUNIT_EXPECT_EQ(test, 0, test_walk(0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, 0, test_nr_runs);
	test_domain->use_first_level = 0;
	test_domain->dirty_tracking = 1;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			vtd_luo_driver.preserve_domain(&test_domain->domain, &ser));
	test_domain->dirty_tracking = 0;
	test_domain->nested_parent = 1;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			vtd_luo_driver.preserve_domain(&test_domain->domain, &ser));
	test_domain->nested_parent = 0;
	test_count_all(test);
	KUNIT_EXPECT_EQ(test, 0, test_preserved);
	test_teardown(test);
}

/* ---- units and devices ---- */

/* The entry that the next kernel finds for a device, or NULL. */
static struct context_entry *test_next_entry(const struct iommu_liveupdate_ser *unit, u8 bus,
					     u8 devfn)
{
	struct root_entry *root = phys_to_virt(unit->priv[0]);

	if (!(root[bus].lo & 1))
		return NULL;
	return (struct context_entry *)phys_to_virt(root[bus].lo & VTD_PAGE_MASK) + devfn;
}

/* How many entries the next kernel finds for any device of a unit. */
static int test_nr_entries(const struct iommu_liveupdate_ser *unit)
{
	int nr = 0;

	for (int i = 0; i < 1 << 16; i++) {
		struct context_entry *entry = test_next_entry(unit, i >> 8, i & 0xff);

		nr += entry && (entry->lo || entry->hi);
	}
	return nr;
}

static int test_preserve_device(int num, const struct iommu_liveupdate_ser *unit,
				struct iommu_liveupdate_ser *ser)
{
	return vtd_luo_driver.preserve_device(&test_devs[num]->pdev.dev, unit,
					      &test_domain->domain, ser);
}

/* The same domain is attached to devices of two units, under different IDs. */
static void test_unit_tables(struct kunit *test)
{
	struct iommu_liveupdate_ser unit[2] = { }, device[2] = { };
	struct context_entry *entry;

	if (!kho_is_enabled())
		kunit_skip(test, "needs kho=on");
	test_setup(test, 2);
	__set_bit(2, test_units[1]->ids);
	for (int i = 0; i < 2; i++) {
		struct device *dev = &test_devs[i]->pdev.dev;

		KUNIT_ASSERT_EQ(test, 0, vtd_test_attach(test_domain, test_devs[i]));
		unit[i].id = vtd_luo_driver.unit_id(dev);
		KUNIT_EXPECT_EQ(test, test_units[i]->iommu.reg_phys, unit[i].id);
		KUNIT_ASSERT_EQ(test, 0, vtd_luo_driver.preserve_unit(dev, &unit[i]));
		KUNIT_EXPECT_EQ(test, test_units[i]->iommu.cap, unit[i].priv[1]);
		KUNIT_EXPECT_EQ(test, test_units[i]->iommu.ecap, unit[i].priv[2]);
		KUNIT_EXPECT_EQ(test, 0, test_nr_entries(&unit[i]));
		KUNIT_ASSERT_EQ(test, 0, test_preserve_device(i, &unit[i], &device[i]));
	}
	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 2 + i, device[i].priv[0]);
		KUNIT_EXPECT_EQ(test, 1, test_nr_entries(&unit[i]));
		entry = test_next_entry(&unit[i], TEST_BUS + i, TEST_DEVFN);
		KUNIT_ASSERT_NOT_NULL(test, entry);
		KUNIT_EXPECT_MEMEQ(test, entry, vtd_test_entry(test_devs[i]), sizeof(*entry));
		vtd_luo_driver.unpreserve_device(&test_devs[i]->pdev.dev, &unit[i]);
		KUNIT_EXPECT_EQ(test, 0, test_nr_entries(&unit[i]));
		vtd_luo_driver.unpreserve_unit(&unit[i]);
	}
	clear_bit(2, test_units[1]->ids);
	test_teardown(test);
}

static void test_units_refused(struct kunit *test)
{
	struct iommu_liveupdate_ser unit = { }, ser = { };
	struct device_domain_info *info;
	struct context_entry *entry;
	int sm = intel_iommu_sm;
	struct device *dev;

	if (!kho_is_enabled())
		kunit_skip(test, "needs kho=on");
	test_setup(test, 1);
	info = &test_devs[0]->info;
	dev = &test_devs[0]->pdev.dev;
	unit.id = vtd_luo_driver.unit_id(dev);
	KUNIT_ASSERT_EQ(test, 0, vtd_test_attach(test_domain, test_devs[0]));

	intel_iommu_sm = 1;
	test_units[0]->iommu.ecap |= BIT_ULL(43);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, vtd_luo_driver.preserve_unit(dev, &unit));
	test_units[0]->iommu.ecap &= ~BIT_ULL(43);
	intel_iommu_sm = sm;

	KUNIT_ASSERT_EQ(test, 0, vtd_luo_driver.preserve_unit(dev, &unit));
	info->ats_enabled = 1;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_preserve_device(0, &unit, &ser));
	info->ats_enabled = 0;
	info->pasid_enabled = 1;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_preserve_device(0, &unit, &ser));
	info->pasid_enabled = 0;
	info->pri_enabled = 1;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_preserve_device(0, &unit, &ser));
	info->pri_enabled = 0;

	/* The hardware does not use the page tables of the domain. */
	entry = vtd_test_entry(test_devs[0]);
	entry->lo += VTD_PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_preserve_device(0, &unit, &ser));
	entry->lo -= VTD_PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, 0, test_nr_entries(&unit));
	KUNIT_EXPECT_EQ(test, 0, test_preserve_device(0, &unit, &ser));
	KUNIT_EXPECT_EQ(test, 1, test_nr_entries(&unit));
	vtd_luo_driver.unpreserve_device(dev, &unit);
	vtd_luo_driver.unpreserve_unit(&unit);
	test_teardown(test);
}

/* ---- incoming ---- */

static void test_not_incoming(struct kunit *test)
{
	struct iommu_liveupdate_ser ser = { .id = 1 };
	struct iommu_domain *domain;

	test_setup(test, 1);
	KUNIT_EXPECT_FALSE(test, intel_liveupdate_adopt(&test_units[0]->iommu));
	KUNIT_EXPECT_FALSE(test, intel_liveupdate_keep(&test_units[0]->iommu));
	/* Tables that were not preserved, and another width */
	ser.priv[0] = virt_to_phys(test_domain->pgd);
	ser.priv[1] = test_domain->agaw;
	ser.priv[2] = test_domain->gaw;
	domain = vtd_luo_driver.restore_domain(&test_devs[0]->pdev.dev, &ser);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(domain));
	ser.priv[1]++;
	domain = vtd_luo_driver.restore_domain(&test_devs[0]->pdev.dev, &ser);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(domain));
	test_teardown(test);
}

static void test_block(struct kunit *test)
{
	struct context_entry *entry;
	u16 did;

	test_setup(test, 1);
	/* No context table: there is nothing to clear. */
	vtd_luo_driver.block_device(&test_devs[0]->pdev.dev);
	KUNIT_EXPECT_STREQ(test, "", test_units[0]->log);

	KUNIT_ASSERT_EQ(test, 0, vtd_test_attach(test_domain, test_devs[0]));
	entry = vtd_test_entry(test_devs[0]);
	did = context_domain_id(entry);
	vtd_luo_driver.block_device(&test_devs[0]->pdev.dev);
	KUNIT_EXPECT_STREQ(test, "ci", test_units[0]->log);
	KUNIT_EXPECT_EQ(test, did, test_units[0]->did);
	/* Not present, and faults are not reported */
	KUNIT_EXPECT_EQ(test, 2, entry->lo);
	KUNIT_EXPECT_EQ(test, 0, entry->hi);
	test_teardown(test);
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_walks),
	KUNIT_CASE(test_malformed),
	KUNIT_CASE(test_preserve),
	KUNIT_CASE(test_unit_tables),
	KUNIT_CASE(test_units_refused),
	KUNIT_CASE(test_not_incoming),
	KUNIT_CASE(test_block),
	{}
};

static struct kunit_suite test_suite = {
	.name = "intel_liveupdate",
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of Intel VT-d across a kexec");
MODULE_LICENSE("GPL");
