// SPDX-License-Identifier: GPL-2.0
/*
 * Records of devices, of what IOMMUs translate and of device policies as the previous
 * kernel leaves them: what this kernel writes it can read, and what cannot have been
 * written is recognised, whatever is wrong with it. No KHO and no devices are needed:
 * the blocks are ordinary pages, and a table says which of them were preserved.
 */

#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/luo_block.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/kho/abi/luo_policy.h>

#include "../../drivers/iommu/liveupdate.h"
#include "../../drivers/pci/liveupdate.h"
#include "../../kernel/liveupdate/luo_internal.h"

#define TEST_BLOCKS	8

/* KUnit runs one test after the other. */
static void *test_blocks[TEST_BLOCKS];
static bool test_fail;

static int test_find(u64 pa)
{
	for (int i = 0; i < TEST_BLOCKS; i++) {
		if (test_blocks[i] && virt_to_phys(test_blocks[i]) == pa)
			return i;
	}
	return -1;
}

static void *test_alloc(void)
{
	for (int i = 0; i < TEST_BLOCKS && !test_fail; i++) {
		if (test_blocks[i])
			continue;
		test_blocks[i] = (void *)get_zeroed_page(GFP_KERNEL);
		return test_blocks[i] ?: ERR_PTR(-ENOMEM);
	}
	return ERR_PTR(-ENOMEM);
}

static void test_free(void *block)
{
	int nr = test_find(virt_to_phys(block));

	if (WARN_ON(nr < 0))
		return;
	test_blocks[nr] = NULL;
	free_page((unsigned long)block);
}

static bool test_valid(u64 pa)
{
	return test_find(pa) >= 0;
}

static const struct luo_block_ops test_ops = {
	.alloc = test_alloc,
	.free = test_free,
	.valid = test_valid,
	.release = test_free,
};

static int test_init(struct kunit *test)
{
	test_fail = false;
	return 0;
}

static void test_exit(struct kunit *test)
{
	for (int i = 0; i < TEST_BLOCKS; i++) {
		if (test_blocks[i])
			test_free(test_blocks[i]);
	}
}

static int test_nr_blocks(void)
{
	int nr = 0;

	for (int i = 0; i < TEST_BLOCKS; i++)
		nr += !!test_blocks[i];
	return nr;
}

/* ---- slots ---- */

static void test_slots(struct kunit *test)
{
	struct luo_slots slots;
	const int nr = 51 * 3;	/* three blocks of 80 bytes each */
	u64 **slot;
	u64 first;

	slot = kunit_kcalloc(test, nr, sizeof(*slot), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, slot);
	KUNIT_ASSERT_EQ(test, 0, luo_slots_init(&slots, &test_ops, 80));
	first = luo_slots_address(&slots);
	for (int i = 0; i < nr; i++) {
		slot[i] = luo_slot_get(&slots);
		KUNIT_ASSERT_FALSE(test, IS_ERR(slot[i]));
		KUNIT_EXPECT_EQ(test, 0ULL, *slot[i]);
		*slot[i] = i + 1;
	}
	KUNIT_EXPECT_EQ(test, 3, test_nr_blocks());
	for (int i = 0; i < nr; i++)
		KUNIT_EXPECT_EQ(test, i + 1ULL, *slot[i]);

	/* No memory: nothing changes. One is given back: that one is found again. */
	test_fail = true;
	KUNIT_EXPECT_TRUE(test, IS_ERR(luo_slot_get(&slots)));
	luo_slot_put(&slots, slot[77]);
	KUNIT_EXPECT_EQ(test, 0ULL, *slot[77]);
	KUNIT_EXPECT_PTR_EQ(test, (void *)slot[77], luo_slot_get(&slots));
	KUNIT_EXPECT_EQ(test, first, luo_slots_address(&slots));
	luo_slots_destroy(&slots);
	KUNIT_EXPECT_EQ(test, 0, test_nr_blocks());
}

/* ---- devices ---- */

static struct xarray test_table;
static struct luo_incoming_chain test_chain;

static void test_table_empty(void)
{
	unsigned long key;
	void *in;

	xa_for_each(&test_table, key, in)
		kfree(in);
	xa_destroy(&test_table);
}

/* How many devices were read, or an errno. */
static int test_pci_read(u64 pa)
{
	unsigned long key;
	int ret, nr = 0;
	void *in;

	xa_init(&test_table);
	ret = pci_luo_read(&test_table, &test_chain, &test_ops, pa);
	xa_for_each(&test_table, key, in)
		nr++;
	test_table_empty();
	return ret ?: nr;
}

static struct pci_liveupdate_dev_ser *test_pci_add(struct kunit *test, struct luo_slots *slots,
						   u16 bdf, u8 hdr_type)
{
	struct pci_liveupdate_dev_ser *ser = luo_slot_get(slots);

	KUNIT_ASSERT_FALSE(test, IS_ERR(ser));
	ser->bdf = bdf;
	ser->hdr_type = hdr_type;
	ser->refcount = 1;
	if (hdr_type == PCI_HEADER_TYPE_NORMAL)
		strscpy_pad(ser->session, "session");
	return ser;
}

static void test_pci_start(struct kunit *test, struct luo_slots *slots)
{
	KUNIT_ASSERT_EQ(test, 0, luo_slots_init(slots, &test_ops,
						sizeof(struct pci_liveupdate_dev_ser)));
	test_pci_add(test, slots, 0x40, PCI_HEADER_TYPE_BRIDGE);
	test_pci_add(test, slots, 0x100, PCI_HEADER_TYPE_NORMAL);
}

static void test_pci_good(struct kunit *test)
{
	struct luo_slots slots;

	test_pci_start(test, &slots);
	KUNIT_EXPECT_EQ(test, 2, test_pci_read(luo_slots_address(&slots)));
	for (int i = 0; i < 100; i++)
		test_pci_add(test, &slots, 0x200 + i, PCI_HEADER_TYPE_NORMAL);
	KUNIT_EXPECT_EQ(test, 102, test_pci_read(luo_slots_address(&slots)));
	KUNIT_EXPECT_EQ(test, 0, test_pci_read(0));
	luo_slots_destroy(&slots);
}

static void test_pci_bad_entries(struct kunit *test)
{
	struct pci_liveupdate_dev_ser *ser;
	struct luo_slots slots;
	u64 pa;

	test_pci_start(test, &slots);
	pa = luo_slots_address(&slots);
	ser = test_pci_add(test, &slots, 0x100, PCI_HEADER_TYPE_NORMAL);
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "twice");
	ser->segment = 1;
	KUNIT_EXPECT_EQ(test, 3, test_pci_read(pa));
	ser->refcount = 2;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "count of a device");
	ser->refcount = 1;
	ser->hdr_type = PCI_HEADER_TYPE_CARDBUS;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "header");
	ser->hdr_type = PCI_HEADER_TYPE_NORMAL;
	ser->reserved = 1;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "reserved");
	ser->reserved = 0;
	ser->reserved2 = 1;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "reserved2");
	ser->reserved2 = 0;
	ser->flags = PCI_LIVEUPDATE_FLAGS + 1;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "flags");
	ser->flags = PCI_LIVEUPDATE_FLAGS;
	KUNIT_EXPECT_EQ(test, 3, test_pci_read(pa));
	memset(ser->session, 'x', sizeof(ser->session));
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "session without an end");
	ser->hdr_type = PCI_HEADER_TYPE_BRIDGE;
	ser->session[1] = 0;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "session of a bridge");
	ser->hdr_type = PCI_HEADER_TYPE_NORMAL;
	KUNIT_EXPECT_EQ(test, 3, test_pci_read(pa));
	ser->session[0] = 0;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_pci_read(pa), "no session");
	luo_slots_destroy(&slots);
}

/* Of each reader: what is wrong with the blocks, whatever is in them. */
static void test_bad_blocks(struct kunit *test, u64 pa, int (*read)(u64 pa))
{
	struct luo_block_ser *block = phys_to_virt(pa);
	u64 count = block->count;

	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, read(pa + 8), "not aligned");
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, read(pa + (1ULL << 40)), "out of range");
	block->count = count + 1;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, read(pa), "one too many");
	block->count = U64_MAX;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, read(pa), "far too many");
	block->count = count;
	block->next = pa;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, read(pa), "a ring");
	block->next = U64_MAX;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, read(pa), "next is nowhere");
	block->next = 0;
	KUNIT_EXPECT_LE(test, 0, read(pa));
}

/* Whatever is in them: no more is read than was preserved, which KASAN sees. */
static void test_noise(struct kunit *test, u64 pa, int (*read)(u64 pa))
{
	struct luo_block_ser *block = phys_to_virt(pa);
	struct rnd_state rnd;
	u64 count = block->count;

	prandom_seed_state(&rnd, 4711);
	for (int i = 0; i < 40; i++) {
		prandom_bytes_state(&rnd, block, LUO_BLOCK_SIZE);
		block->next = 0;
		block->count = i % 2 ? count : block->count;
		KUNIT_EXPECT_GT(test, 0, read(pa));
	}
}

static void test_pci_bad_blocks(struct kunit *test)
{
	struct luo_slots slots;

	test_pci_start(test, &slots);
	test_bad_blocks(test, luo_slots_address(&slots), test_pci_read);
	test_noise(test, luo_slots_address(&slots), test_pci_read);
	luo_slots_destroy(&slots);
}

/* ---- what IOMMUs translate ---- */

static int test_iommu_read(u64 pa)
{
	struct iommu_luo_tables tables = {};
	unsigned long id;
	int ret, nr = 0;
	void *in;

	xa_init(&tables.units);
	xa_init(&tables.domains);
	xa_init(&tables.devices);
	ret = iommu_luo_read(&tables, &test_ops, pa);
	xa_for_each(&tables.devices, id, in)
		nr++;
	iommu_luo_tables_free(&tables);
	return ret ?: nr;
}

static struct iommu_liveupdate_ser *test_iommu_add(struct kunit *test, struct luo_slots *slots,
						   u32 type, u64 id)
{
	struct iommu_liveupdate_ser *ser = luo_slot_get(slots);

	KUNIT_ASSERT_FALSE(test, IS_ERR(ser));
	strscpy(ser->driver, "test-v1");
	ser->type = type;
	ser->id = id;
	ser->refcount = 1;
	if (type == IOMMU_LIVEUPDATE_DEVICE) {
		ser->unit = 0xfed90000;
		ser->domain = 1;
	}
	return ser;
}

struct test_iommu {
	struct luo_slots slots;
	struct iommu_liveupdate_ser *unit, *domain, *device;
	u64 pa;
};

static void test_iommu_start(struct kunit *test, struct test_iommu *t)
{
	KUNIT_ASSERT_EQ(test, 0, luo_slots_init(&t->slots, &test_ops,
						sizeof(struct iommu_liveupdate_ser)));
	t->device = test_iommu_add(test, &t->slots, IOMMU_LIVEUPDATE_DEVICE, 0x100);
	t->unit = test_iommu_add(test, &t->slots, IOMMU_LIVEUPDATE_UNIT, 0xfed90000);
	t->domain = test_iommu_add(test, &t->slots, IOMMU_LIVEUPDATE_DOMAIN, 1);
	t->pa = luo_slots_address(&t->slots);
	KUNIT_ASSERT_EQ(test, 1, test_iommu_read(t->pa));
}

static void test_iommu_bad_entries(struct kunit *test)
{
	struct iommu_liveupdate_ser *more, keep;
	struct test_iommu t;

	test_iommu_start(test, &t);
	more = test_iommu_add(test, &t.slots, IOMMU_LIVEUPDATE_DEVICE, 0x200);
	KUNIT_EXPECT_EQ(test, 2, test_iommu_read(t.pa));
	keep = *more;
	more->id = t.device->id;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "twice");
	more->id = 1ULL << 48;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "no such device");
	*more = keep;
	more->refcount = 0;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "count");
	*more = keep;
	more->type = IOMMU_LIVEUPDATE_DEVICE + 1;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "type");
	*more = keep;
	more->unit++;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "no such unit");
	*more = keep;
	more->domain++;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "no such domain");
	*more = keep;
	memset(more->driver, 'x', sizeof(more->driver));
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "name without an end");
	memset(more->driver, 0, sizeof(more->driver));
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "no name");
	strscpy(more->driver, "other-v1");
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "other driver");
	*more = keep;
	strscpy(t.unit->driver, "other-v1");
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "other driver of the unit");
	strscpy(t.unit->driver, "test-v1");
	t.unit->domain = 1;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "a unit in a domain");
	t.unit->domain = 0;
	t.domain->id = 0;
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, test_iommu_read(t.pa), "domain 0");
	t.domain->id = 1;
	KUNIT_EXPECT_EQ(test, 2, test_iommu_read(t.pa));
	luo_slots_destroy(&t.slots);
}

/* A device behind an IOMMU whose driver knows nothing of live updates, and behind none */
static void test_iommu_refuses(struct kunit *test)
{
	const struct iommu_ops ops = { };
	struct iommu_device iommu = { .ops = &ops };
	struct dev_iommu param = { .iommu_dev = &iommu };
	struct iommu_group *group;
	struct pci_dev *pdev;

	pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->dev.init_name = "test device";
	pdev->dev.bus = &pci_bus_type;
	KUNIT_EXPECT_EQ(test, -ENODEV, iommu_liveupdate_preserve(&pdev->dev));

	group = iommu_group_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(group));
	pdev->dev.iommu = &param;
	pdev->dev.iommu_group = group;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, iommu_liveupdate_preserve(&pdev->dev));
	iommu_group_put(group);
}

static void test_iommu_bad_blocks(struct kunit *test)
{
	struct test_iommu t;

	test_iommu_start(test, &t);
	test_bad_blocks(test, t.pa, test_iommu_read);
	test_noise(test, t.pa, test_iommu_read);
	luo_slots_destroy(&t.slots);
}

/* ---- policies ---- */

static struct luo_session_set test_set = {
	.lock = __MUTEX_INITIALIZER(test_set.lock),
	.list = LIST_HEAD_INIT(test_set.list),
	.names = RB_ROOT,
};

static void test_sessions(struct kunit *test)
{
	static const char * const names[] = { "a", "b", "c" };
	struct luo_session_ser *ser;
	struct luo_slots slots;
	struct luo_block_ser *block;

	KUNIT_ASSERT_EQ(test, 0, luo_slots_init(&slots, &test_ops, sizeof(*ser)));
	for (int i = 0; i < ARRAY_SIZE(names); i++) {
		ser = luo_slot_get(&slots);
		KUNIT_ASSERT_FALSE(test, IS_ERR(ser));
		strscpy(ser->name, names[i]);
	}
	/* The list of sessions has no unused entries. */
	block = phys_to_virt(luo_slots_address(&slots));
	block->count = ARRAY_SIZE(names);
	/* Which frees the block; what the list knows of it is left. */
	luo_sessions_load(&test_set, &test_ops, luo_slots_address(&slots));
	KUNIT_ASSERT_EQ(test, 3UL, test_set.count);
	KUNIT_EXPECT_EQ(test, 0, test_nr_blocks());
	kfree(slots.blocks.next);
}

static struct liveupdate_session *test_session(const char *name)
{
	guard(mutex)(&test_set.lock);
	return luo_set_find(&test_set, name);
}

static void test_sessions_end(void)
{
	struct liveupdate_session *session, *next;

	list_for_each_entry_safe(session, next, &test_set.list, set_link) {
		list_del(&session->set_link);
		luo_session_free(session);
	}
	test_set.names = RB_ROOT;
	test_set.count = 0;
}

static void test_policies(struct kunit *test)
{
	static const struct luo_policy_ser records[] = {
		{ "a", LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 0 },
		{ "b", LIVEUPDATE_DEVICE_FENCE_AFTER, 0 },
		{ "b", LIVEUPDATE_DEVICE_FENCE_AFTER, 0x80000000U },
		{ "b", LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 5 },
		{ "b", 3, 0 },
		{ "b", LIVEUPDATE_DEVICE_HOLD, 0 },
		{ "nobody", LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 0 },
		{ "", LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, 0 },
		{ "c", LIVEUPDATE_DEVICE_FENCE_AFTER, 1000 },
	};
	struct luo_block_ser *block;

	test_sessions(test);
	block = test_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(block));
	memcpy(block + 1, records, sizeof(records));
	block->count = ARRAY_SIZE(records);
	luo_policies_read(&test_set, &test_ops, virt_to_phys(block));
	KUNIT_EXPECT_EQ(test, 0, test_nr_blocks());
	KUNIT_EXPECT_EQ(test, (u32)LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, test_session("a")->policy);
	KUNIT_EXPECT_EQ(test, (u32)LIVEUPDATE_DEVICE_HOLD, test_session("b")->policy);
	KUNIT_EXPECT_EQ(test, 0U, test_session("b")->timeout_ms);
	KUNIT_EXPECT_EQ(test, (u32)LIVEUPDATE_DEVICE_FENCE_AFTER, test_session("c")->policy);
	KUNIT_EXPECT_EQ(test, 1000U, test_session("c")->timeout_ms);
	test_sessions_end();
}

static void test_policies_damaged(struct kunit *test)
{
	struct luo_policy_ser *ser;
	struct luo_block_ser *block;

	test_sessions(test);
	block = test_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(block));
	ser = (void *)(block + 1);
	memset(ser->name, 'a', sizeof(ser->name));
	ser->policy = LIVEUPDATE_DEVICE_FENCE_ON_CLOSE;
	strscpy(ser[1].name, "a");
	ser[1].policy = LIVEUPDATE_DEVICE_FENCE_ON_CLOSE;
	block->count = 2;
	block->next = virt_to_phys(block);
	/* What comes before the damage holds, and nothing is freed. */
	luo_policies_read(&test_set, &test_ops, virt_to_phys(block));
	KUNIT_EXPECT_EQ(test, 1, test_nr_blocks());
	KUNIT_EXPECT_EQ(test, (u32)LIVEUPDATE_DEVICE_FENCE_ON_CLOSE, test_session("a")->policy);
	block->count = U64_MAX;
	test_session("a")->policy = LIVEUPDATE_DEVICE_HOLD;
	luo_policies_read(&test_set, &test_ops, virt_to_phys(block));
	luo_policies_read(&test_set, &test_ops, virt_to_phys(block) + 8);
	KUNIT_EXPECT_EQ(test, (u32)LIVEUPDATE_DEVICE_HOLD, test_session("a")->policy);
	test_sessions_end();
}

/* ---- devices of handlers that have not registered ---- */

static void test_pci_refuses(struct kunit *test)
{
	struct liveupdate_session *session;
	struct pci_dev *pdev;

	pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->dev.init_name = "test device";
	pdev->dev.bus = &pci_bus_type;
	test_sessions(test);
	session = test_session("a");
	scoped_guard(mutex, &session->lock)
		KUNIT_EXPECT_EQ(test, -EINVAL, pci_liveupdate_preserve(pdev, session));
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_outgoing(pdev));
	test_sessions_end();
}

/* ---- devices that no file has ---- */

static bool test_runs;

static bool test_unclaimed(const char *session)
{
	return test_runs && !strcmp(session, "a");
}

static const struct liveupdate_device_ops test_device_ops = {
	.unclaimed = test_unclaimed,
};

static int test_finish(const char *name, bool lost)
{
	struct liveupdate_session *session = test_session(name);

	guard(mutex)(&session->lock);
	session->lost = lost;
	return luo_files_finish(session);
}

/* What a session has lost may be the file of the device that runs. */
static void test_lost_file(struct kunit *test)
{
	test_sessions(test);
	liveupdate_set_device_ops(&test_device_ops);
	test_runs = true;
	KUNIT_EXPECT_EQ(test, 0, test_finish("a", false));
	KUNIT_EXPECT_EQ(test, -EBUSY, test_finish("a", true));
	KUNIT_EXPECT_EQ(test, 0, test_finish("b", true));
	test_runs = false;
	KUNIT_EXPECT_EQ(test, 0, test_finish("a", true));
	liveupdate_set_device_ops(NULL);
	test_sessions_end();
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_slots),
	KUNIT_CASE(test_pci_good),
	KUNIT_CASE(test_pci_bad_entries),
	KUNIT_CASE(test_pci_bad_blocks),
	KUNIT_CASE(test_iommu_bad_entries),
	KUNIT_CASE(test_iommu_bad_blocks),
	KUNIT_CASE(test_iommu_refuses),
	KUNIT_CASE(test_pci_refuses),
	KUNIT_CASE(test_policies),
	KUNIT_CASE(test_policies_damaged),
	KUNIT_CASE(test_lost_file),
	{}
};

static struct kunit_suite test_suite = {
	.name = "liveupdate_devices",
	.init = test_init,
	.exit = test_exit,
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("Records of devices across a kexec");
MODULE_LICENSE("GPL");
