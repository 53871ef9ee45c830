// SPDX-License-Identifier: GPL-2.0
/*
 * The record of an iommufd: what is not sound in an entry is found before it is used.
 */

#include <kunit/test.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommufd_liveupdate.h>
#include <linux/kho/abi/iommufd.h>
#include <linux/limits.h>
#include <linux/slab.h>

static const struct iommufd_luo_ser test_ioas = { .type = IOMMUFD_LUO_IOAS, .ioas = 1 };
static const struct iommufd_luo_ser test_allowed = {
	.type = IOMMUFD_LUO_ALLOWED, .iova = 1, .last = U64_MAX,
};

static const struct iommufd_luo_ser test_mapping = {
	.type = IOMMUFD_LUO_MAPPING, .flags = IOMMUFD_LUO_READ | IOMMUFD_LUO_WRITE,
	.iova = 0x100000, .last = 0x1fffff, .token = 7, .offset = 0x3000,
};

static const struct iommufd_luo_ser test_hwpt = {
	.type = IOMMUFD_LUO_HWPT, .flags = IOMMUFD_LUO_COHERENT, .label = U32_MAX,
};

static const struct iommufd_luo_ser *const test_good[] = {
	&test_ioas, &test_allowed, &test_mapping, &test_hwpt,
};

/* One IOAS came before. */
static const char *test_fault(struct iommufd_luo_ser ser)
{
	return iommufd_luo_fault(&ser, 1);
}

static void test_good_entries(struct kunit *test)
{
	struct iommufd_luo_ser ser = test_mapping;

	for (int i = 0; i < ARRAY_SIZE(test_good); i++)
		KUNIT_EXPECT_NULL(test, test_fault(*test_good[i]));
	ser.last = ser.iova;
	KUNIT_EXPECT_NULL(test, test_fault(ser));
	ser.offset = MAX_LFS_FILESIZE - 1;
	KUNIT_EXPECT_NULL(test, test_fault(ser));
}

static void test_types(struct kunit *test)
{
	struct iommufd_luo_ser ser = test_mapping;

	ser.type = 0;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an unknown type");
	ser.type = IOMMUFD_LUO_HWPT + 1;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an unknown type");
	ser.type = U32_MAX;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an unknown type");
}

static void test_flags(struct kunit *test)
{
	static const u32 bad[] = { 2, 1, 4, 2 };
	struct iommufd_luo_ser ser;

	for (int i = 0; i < ARRAY_SIZE(test_good); i++) {
		ser = *test_good[i];
		ser.flags |= bad[i];
		KUNIT_EXPECT_STREQ(test, test_fault(ser), "unknown flags");
		ser.flags = BIT(31);
		KUNIT_EXPECT_STREQ(test, test_fault(ser), "unknown flags");
	}
	/* A mapping that nobody may use */
	ser = test_mapping;
	ser.flags = 0;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "unknown flags");
}

/* An IOAS has the next number, what belongs to one has a number that was there. */
static void test_numbers(struct kunit *test)
{
	for (int i = 0; i < ARRAY_SIZE(test_good); i++) {
		struct iommufd_luo_ser ser = *test_good[i];

		ser.ioas = !ser.ioas;
		KUNIT_EXPECT_STREQ(test, test_fault(ser), "a wrong IOAS");
		ser.ioas = U32_MAX;
		KUNIT_EXPECT_STREQ(test, test_fault(ser), "a wrong IOAS");
	}
	KUNIT_EXPECT_STREQ(test, iommufd_luo_fault(&test_hwpt, 0), "a wrong IOAS");
}

static void test_strange_members(struct kunit *test)
{
	static const char *const want = "members that its type has not";

	for (int i = 0; i < ARRAY_SIZE(test_good); i++) {
		bool mapping = test_good[i] == &test_mapping, range = mapping ||
			       test_good[i] == &test_allowed;
		struct iommufd_luo_ser ser = *test_good[i];

		if (!range) {
			ser.iova = 1;
			KUNIT_EXPECT_STREQ(test, test_fault(ser), want);
			ser = *test_good[i];
			ser.last = 1;
			KUNIT_EXPECT_STREQ(test, test_fault(ser), want);
			ser = *test_good[i];
		}
		if (!mapping) {
			ser.token = 1;
			KUNIT_EXPECT_STREQ(test, test_fault(ser), want);
			ser = *test_good[i];
			ser.offset = 1;
			KUNIT_EXPECT_STREQ(test, test_fault(ser), want);
			ser = *test_good[i];
		}
		if (test_good[i] != &test_hwpt) {
			ser.label = 1;
			KUNIT_EXPECT_STREQ(test, test_fault(ser), want);
		}
	}
}

static void test_ranges(struct kunit *test)
{
	struct iommufd_luo_ser ser = test_allowed;

	ser.last = ser.iova;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an empty range");
	ser.last = 0;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an empty range");

	ser = test_mapping;
	ser.last = ser.iova - 1;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an impossible range");
	ser.iova = 0;
	ser.last = U64_MAX;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "an impossible range");

	ser = test_mapping;
	ser.offset = U64_MAX;
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "a range beyond any file");
	ser.offset = MAX_LFS_FILESIZE - (ser.last - ser.iova);
	KUNIT_EXPECT_STREQ(test, test_fault(ser), "a range beyond any file");
	ser.offset--;
	KUNIT_EXPECT_NULL(test, test_fault(ser));
}

static int test_never(const struct iommufd_luo_ser *ser, void *data)
{
	++*(int *)data;
	return 0;
}

/* An address that the previous kernel did not preserve is not looked at. */
static void test_no_record(struct kunit *test)
{
	int nr = 0;

	KUNIT_EXPECT_EQ(test, iommufd_luo_walk(0, test_never, &nr), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommufd_luo_walk(1, test_never, &nr), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommufd_luo_walk(U64_MAX - SZ_4K + 1, test_never, &nr), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommufd_luo_walk(virt_to_phys(test) & PAGE_MASK, test_never, &nr),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, nr, 0);
	iommufd_luo_free(0);
	iommufd_luo_free(virt_to_phys(test) & PAGE_MASK);
}

/* As often as it may be mapped, one time more, and as often but not in one place. */
static void test_depth(struct kunit *test)
{
	size_t max = 2 * (IOMMUFD_LUO_MAX_MAPPINGS + 2), nr = 0;
	struct iommufd_luo_edge *edges = kvmalloc_array(max, sizeof(*edges), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, edges);
	for (int i = 0; i < IOMMUFD_LUO_MAX_MAPPINGS; i++)
		nr = iommufd_luo_add_edges(edges, nr, 7, i, U64_MAX);
	KUNIT_EXPECT_EQ(test, nr, IOMMUFD_LUO_MAX_MAPPINGS);
	KUNIT_EXPECT_FALSE(test, iommufd_luo_too_deep(edges, nr));
	nr = iommufd_luo_add_edges(edges, nr, 8, 0, U64_MAX);
	KUNIT_EXPECT_FALSE(test, iommufd_luo_too_deep(edges, nr));
	nr = iommufd_luo_add_edges(edges, nr, 7, 0, IOMMUFD_LUO_MAX_MAPPINGS - 2);
	KUNIT_EXPECT_FALSE(test, iommufd_luo_too_deep(edges, nr));
	nr = iommufd_luo_add_edges(edges, nr, 7, 9999, 9999);
	KUNIT_EXPECT_TRUE(test, iommufd_luo_too_deep(edges, nr));
	kvfree(edges);
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_good_entries),
	KUNIT_CASE(test_types),
	KUNIT_CASE(test_flags),
	KUNIT_CASE(test_numbers),
	KUNIT_CASE(test_strange_members),
	KUNIT_CASE(test_ranges),
	KUNIT_CASE(test_no_record),
	KUNIT_CASE(test_depth),
	{}
};

static struct kunit_suite test_suite = {
	.name = "iommufd_liveupdate",
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of the record of an iommufd");
MODULE_LICENSE("GPL");
