// SPDX-License-Identifier: GPL-2.0
/*
 * Lists of records that cross the kexec: what is written can be read, and what
 * cannot have been written is recognised and harms nothing else. No KHO is
 * needed: the blocks are ordinary pages, and a table says which of them the
 * "previous kernel" left.
 */

#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../kernel/liveupdate/luo_internal.h"

#define TEST_BLOCKS	64
#define TEST_ENTRY_SIZE	80
#define TEST_CAPACITY	((LUO_BLOCK_SIZE - sizeof(struct luo_block_ser)) / TEST_ENTRY_SIZE)

struct test_entry {
	u64 number;
	u8 pad[TEST_ENTRY_SIZE - sizeof(u64)];
};

/* KUnit runs one test after the other. */
static struct {
	void *blocks[TEST_BLOCKS];
	unsigned int nr;
	unsigned int nr_released;
	bool fail;
} test_pool;

static int test_pool_find(const void *block)
{
	for (int i = 0; i < TEST_BLOCKS; i++) {
		if (test_pool.blocks[i] == block)
			return i;
	}
	return -1;
}

static void *test_block_alloc(void)
{
	void *block;
	int slot;

	slot = test_pool_find(NULL);
	if (test_pool.fail || slot < 0)
		return ERR_PTR(-ENOMEM);
	block = (void *)get_zeroed_page(GFP_KERNEL);
	if (!block)
		return ERR_PTR(-ENOMEM);
	test_pool.blocks[slot] = block;
	test_pool.nr++;
	return block;
}

static void test_block_free(void *block)
{
	int slot = test_pool_find(block);

	if (WARN_ON(slot < 0))
		return;
	test_pool.blocks[slot] = NULL;
	test_pool.nr--;
	free_page((unsigned long)block);
}

static bool test_block_valid(u64 pa)
{
	for (int i = 0; i < TEST_BLOCKS; i++) {
		if (test_pool.blocks[i] && virt_to_phys(test_pool.blocks[i]) == pa)
			return true;
	}
	return false;
}

static void test_block_release(void *block)
{
	test_block_free(block);
	test_pool.nr_released++;
}

static const struct luo_block_ops test_block_ops = {
	.alloc = test_block_alloc,
	.free = test_block_free,
	.valid = test_block_valid,
	.release = test_block_release,
};

static int test_init(struct kunit *test)
{
	memset(&test_pool, 0, sizeof(test_pool));
	return 0;
}

static void test_exit(struct kunit *test)
{
	for (int i = 0; i < TEST_BLOCKS; i++) {
		if (test_pool.blocks[i])
			test_block_free(test_pool.blocks[i]);
	}
}

/* A chain of entries numbered from 0. */
static void test_write(struct kunit *test, struct luo_chain *chain, unsigned int nr)
{
	struct luo_chain_writer writer;

	luo_chain_init(chain, &test_block_ops, TEST_ENTRY_SIZE);
	for (unsigned int i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, 0, luo_chain_reserve(chain));

	luo_chain_write(chain, &writer);
	for (unsigned int i = 0; i < nr; i++) {
		struct test_entry *entry = luo_chain_write_next(&writer);

		KUNIT_ASSERT_NOT_NULL(test, entry);
		entry->number = i;
	}
}

static struct luo_block_ser *test_block(const struct luo_chain *chain, unsigned int nr)
{
	struct luo_block_ser *block = chain->first;

	while (nr--)
		block = phys_to_virt(block->next);
	return block;
}

/* Blocks linked one after the other, with so many entries in each. */
static u64 test_link(struct kunit *test, struct luo_block_ser **blocks,
		     const u64 *counts, unsigned int nr)
{
	u64 number = 0;

	for (unsigned int i = 0; i < nr; i++) {
		struct test_entry *entry;

		blocks[i] = test_block_alloc();
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, blocks[i]);
		blocks[i]->count = counts[i];
		if (i)
			blocks[i - 1]->next = virt_to_phys(blocks[i]);

		entry = (struct test_entry *)(blocks[i] + 1);
		for (u64 n = 0; n < counts[i] && n < TEST_CAPACITY; n++)
			entry[n].number = number++;
	}
	return virt_to_phys(blocks[0]);
}

/* Exactly @nr entries come, numbered from 0. */
static void test_expect_entries(struct kunit *test, struct luo_incoming_chain *chain, u64 nr)
{
	const struct test_entry *entry;
	struct luo_chain_reader reader;
	u64 number = 0;

	KUNIT_EXPECT_EQ(test, chain->nr_entries, nr);
	luo_chain_read(chain, &reader);
	while ((entry = luo_chain_read_next(&reader)))
		KUNIT_ASSERT_EQ(test, entry->number, number++);
	KUNIT_EXPECT_EQ(test, number, nr);
}

static void test_expect_fault(struct kunit *test, u64 first, u64 nr_expected,
			      u64 nr_blocks, u64 nr_entries, const char *fault)
{
	struct luo_incoming_chain chain;
	unsigned int nr = test_pool.nr;

	KUNIT_EXPECT_EQ(test, -EBADMSG,
			luo_incoming_chain_check(&chain, &test_block_ops, first,
						 TEST_ENTRY_SIZE, nr_expected));
	KUNIT_ASSERT_NOT_NULL(test, chain.fault);
	KUNIT_EXPECT_STREQ(test, chain.fault, fault);
	KUNIT_EXPECT_EQ(test, chain.nr_blocks, nr_blocks);
	test_expect_entries(test, &chain, nr_entries);

	/* What a damaged chain points at is not ours to free. */
	luo_incoming_chain_release(&chain);
	KUNIT_EXPECT_EQ(test, test_pool.nr, nr);
	KUNIT_EXPECT_EQ(test, test_pool.nr_released, 0U);
}

static void test_empty_list_is_address_zero(struct kunit *test)
{
	struct luo_incoming_chain in;
	struct luo_chain_reader reader;
	struct luo_chain chain;

	test_write(test, &chain, 0);
	KUNIT_EXPECT_EQ(test, luo_chain_address(&chain), 0ULL);
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);

	KUNIT_EXPECT_EQ(test, 0, luo_incoming_chain_check(&in, &test_block_ops, 0,
							  TEST_ENTRY_SIZE, 0));
	luo_chain_read(&in, &reader);
	KUNIT_EXPECT_NULL(test, luo_chain_read_next(&reader));
	luo_incoming_chain_release(&in);

	KUNIT_EXPECT_EQ(test, 0, luo_incoming_chain_check(&in, &test_block_ops, 0,
							  TEST_ENTRY_SIZE, LUO_COUNT_UNKNOWN));
}

static void test_what_is_written_can_be_read(struct kunit *test)
{
	static const unsigned int sizes[] = {
		1, 2, TEST_CAPACITY - 1, TEST_CAPACITY, TEST_CAPACITY + 1,
		2 * TEST_CAPACITY, 5 * TEST_CAPACITY + 7, TEST_BLOCKS * TEST_CAPACITY,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct luo_incoming_chain in;
		struct luo_chain chain;
		u64 left = sizes[i];
		u64 nr_expected = i % 2 ? sizes[i] : LUO_COUNT_UNKNOWN;

		test_write(test, &chain, sizes[i]);
		KUNIT_EXPECT_EQ(test, chain.nr_blocks, DIV_ROUND_UP(sizes[i], TEST_CAPACITY));
		KUNIT_EXPECT_EQ(test, chain.nr_blocks, test_pool.nr);

		/* All blocks are full but the last one, and none is empty. */
		for (unsigned int b = 0; b < chain.nr_blocks; b++) {
			struct luo_block_ser *block = test_block(&chain, b);

			KUNIT_EXPECT_EQ(test, block->count, min_t(u64, left, TEST_CAPACITY));
			KUNIT_EXPECT_EQ(test, !block->next, b == chain.nr_blocks - 1);
			left -= block->count;
		}

		KUNIT_EXPECT_EQ(test, 0, luo_incoming_chain_check(&in, &test_block_ops,
								  luo_chain_address(&chain),
								  TEST_ENTRY_SIZE, nr_expected));
		KUNIT_EXPECT_EQ(test, in.nr_blocks, chain.nr_blocks);
		test_expect_entries(test, &in, sizes[i]);

		test_pool.nr_released = 0;
		luo_incoming_chain_release(&in);
		KUNIT_EXPECT_EQ(test, test_pool.nr_released, chain.nr_blocks);
		KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
	}
}

static void test_chain_can_be_written_again(struct kunit *test)
{
	struct luo_incoming_chain in;
	struct luo_chain_writer writer;
	struct luo_chain chain;

	test_write(test, &chain, 2 * TEST_CAPACITY + 1);

	/* The kexec failed, a record went and two came. */
	luo_chain_unreserve(&chain);
	KUNIT_EXPECT_EQ(test, test_pool.nr, 2U);
	KUNIT_ASSERT_EQ(test, 0, luo_chain_reserve(&chain));
	KUNIT_ASSERT_EQ(test, 0, luo_chain_reserve(&chain));

	luo_chain_write(&chain, &writer);
	for (unsigned int i = 0; i < 2 * TEST_CAPACITY + 2; i++) {
		struct test_entry *entry = luo_chain_write_next(&writer);

		KUNIT_ASSERT_NOT_NULL(test, entry);
		entry->number = i;
	}
	KUNIT_EXPECT_EQ(test, 0, luo_incoming_chain_check(&in, &test_block_ops,
							  luo_chain_address(&chain),
							  TEST_ENTRY_SIZE,
							  2 * TEST_CAPACITY + 2));
	test_expect_entries(test, &in, 2 * TEST_CAPACITY + 2);
	luo_chain_destroy(&chain);
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
}

static void test_blocks_follow_the_reservations(struct kunit *test)
{
	struct luo_chain chain;
	unsigned int i;

	luo_chain_init(&chain, &test_block_ops, TEST_ENTRY_SIZE);
	for (i = 1; i <= 3 * TEST_CAPACITY; i++) {
		KUNIT_ASSERT_EQ(test, 0, luo_chain_reserve(&chain));
		KUNIT_ASSERT_EQ(test, test_pool.nr, DIV_ROUND_UP(i, TEST_CAPACITY));
	}
	while (--i) {
		KUNIT_ASSERT_EQ(test, test_pool.nr, DIV_ROUND_UP(i, TEST_CAPACITY));
		luo_chain_unreserve(&chain);
	}
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
	KUNIT_EXPECT_EQ(test, luo_chain_address(&chain), 0ULL);
}

static void test_failed_reservation_changes_nothing(struct kunit *test)
{
	struct luo_chain chain;

	test_write(test, &chain, TEST_CAPACITY);
	test_pool.fail = true;
	KUNIT_EXPECT_EQ(test, -ENOMEM, luo_chain_reserve(&chain));
	KUNIT_EXPECT_EQ(test, chain.nr_reserved, (unsigned long)TEST_CAPACITY);
	KUNIT_EXPECT_EQ(test, chain.nr_blocks, 1UL);

	/* There is room in the block again, so that none is needed. */
	luo_chain_unreserve(&chain);
	KUNIT_EXPECT_EQ(test, 0, luo_chain_reserve(&chain));
	luo_chain_destroy(&chain);
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
}

static void test_empty_blocks_are_read_over(struct kunit *test)
{
	static const u64 counts[] = { 0, 3, 0, 0, TEST_CAPACITY, 1, 0 };
	struct luo_block_ser *blocks[ARRAY_SIZE(counts)];
	struct luo_incoming_chain in;
	u64 first;

	first = test_link(test, blocks, counts, ARRAY_SIZE(counts));
	KUNIT_EXPECT_EQ(test, 0, luo_incoming_chain_check(&in, &test_block_ops, first,
							  TEST_ENTRY_SIZE,
							  4 + TEST_CAPACITY));
	KUNIT_EXPECT_EQ(test, in.nr_blocks, (u64)ARRAY_SIZE(counts));
	test_expect_entries(test, &in, 4 + TEST_CAPACITY);
	luo_incoming_chain_release(&in);
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
}

static void test_address_outside_preserved_memory(struct kunit *test)
{
	static const u64 counts[] = { TEST_CAPACITY, 2 };
	struct luo_block_ser *blocks[ARRAY_SIZE(counts)];
	u64 first = test_link(test, blocks, counts, ARRAY_SIZE(counts));
	const u64 addresses[] = { 1, LUO_BLOCK_SIZE, first + 8, first + 1, U64_MAX, 1ULL << 63 };

	for (unsigned int i = 0; i < ARRAY_SIZE(addresses); i++) {
		test_expect_fault(test, addresses[i], 5, 0, 0, "not a preserved block");
		blocks[1]->next = addresses[i];
		test_expect_fault(test, first, 2 * TEST_CAPACITY, 2, TEST_CAPACITY + 2,
				  "not a preserved block");
	}
}

static void test_truncated_chain(struct kunit *test)
{
	static const u64 counts[] = { TEST_CAPACITY, TEST_CAPACITY, 2 };
	struct luo_block_ser *blocks[ARRAY_SIZE(counts)];
	u64 first = test_link(test, blocks, counts, ARRAY_SIZE(counts));

	blocks[1]->next = 0;
	test_expect_fault(test, first, 2 * TEST_CAPACITY + 2, 2, 2 * TEST_CAPACITY,
			  "fewer entries than announced");
	test_expect_fault(test, 0, 1, 0, 0, "fewer entries than announced");
}

static void test_cyclic_chain(struct kunit *test)
{
	static const u64 counts[] = { 1, 2, 3, 0, 5, 6, 7 };
	struct luo_block_ser *blocks[ARRAY_SIZE(counts)];
	u64 first = test_link(test, blocks, counts, ARRAY_SIZE(counts));

	/* Rings of all lengths, with tails of all lengths before them */
	for (unsigned int last = 0; last < ARRAY_SIZE(counts); last++) {
		u64 sum = 0;

		for (unsigned int i = 0; i <= last; i++)
			sum += counts[i];
		for (unsigned int back = 0; back <= last; back++) {
			u64 next = blocks[last]->next;

			blocks[last]->next = virt_to_phys(blocks[back]);
			test_expect_fault(test, first, LUO_COUNT_UNKNOWN, last + 1, sum,
					  "block comes twice");
			test_expect_fault(test, first, 1000, last + 1, sum,
					  "block comes twice");
			test_expect_fault(test, first, sum, last + 1, sum,
					  "block comes twice");
			blocks[last]->next = next;
		}
	}
}

static void test_wrong_counts(struct kunit *test)
{
	static const u64 counts[] = { TEST_CAPACITY, TEST_CAPACITY, 2 };
	static const u64 wrong[] = { TEST_CAPACITY + 1, LUO_BLOCK_SIZE, U32_MAX, U64_MAX };
	struct luo_block_ser *blocks[ARRAY_SIZE(counts)];
	u64 first = test_link(test, blocks, counts, ARRAY_SIZE(counts));
	u64 all = 2 * TEST_CAPACITY + 2;

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		blocks[1]->count = wrong[i];
		test_expect_fault(test, first, all, 1, TEST_CAPACITY,
				  "too many entries for a block");
		test_expect_fault(test, first, LUO_COUNT_UNKNOWN, 1, TEST_CAPACITY,
				  "too many entries for a block");
	}
	blocks[1]->count = TEST_CAPACITY;

	test_expect_fault(test, first, all + 1, 3, all, "fewer entries than announced");
	test_expect_fault(test, first, U64_MAX - 1, 3, all, "fewer entries than announced");
	test_expect_fault(test, first, all - 1, 3, all - 1, "more entries than announced");
	test_expect_fault(test, first, 0, 1, 0, "more entries than announced");
	test_expect_fault(test, first, 7, 1, 7, "more entries than announced");
}

static void test_random_damage(struct kunit *test)
{
	static const u64 counts[] = { 51, 51, 51, 0, 51, 17, 51, 3 };
	struct luo_block_ser *blocks[ARRAY_SIZE(counts)];
	u64 first = test_link(test, blocks, counts, ARRAY_SIZE(counts));
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 6121);
	for (int round = 0; round < 20000; round++) {
		struct luo_incoming_chain in;
		struct luo_chain_reader reader;
		u32 random = prandom_u32_state(&rnd);
		struct luo_block_ser *block = blocks[random % ARRAY_SIZE(blocks)];
		u64 expected = random & 0x100 ? LUO_COUNT_UNKNOWN : (random >> 9) % 300;
		u64 nr = 0;

		random >>= 20;
		switch (random % 8) {
		case 0:
			block->count = prandom_u32_state(&rnd);
			break;
		case 1 ... 3:
			block->count = random % (TEST_CAPACITY + 2);
			break;
		case 4:
			block->next = prandom_u32_state(&rnd);
			break;
		case 5:
			block->next = 0;
			break;
		default:
			block->next = virt_to_phys(blocks[random / 8 % ARRAY_SIZE(blocks)]);
		}

		luo_incoming_chain_check(&in, &test_block_ops, first, TEST_ENTRY_SIZE, expected);
		KUNIT_ASSERT_LE(test, in.nr_blocks, (u64)ARRAY_SIZE(blocks));
		KUNIT_ASSERT_LE(test, in.nr_entries, min(expected, in.nr_blocks * TEST_CAPACITY));
		if (!in.fault && expected != LUO_COUNT_UNKNOWN)
			KUNIT_ASSERT_EQ(test, in.nr_entries, expected);

		luo_chain_read(&in, &reader);
		while (luo_chain_read_next(&reader))
			nr++;
		KUNIT_ASSERT_EQ(test, nr, in.nr_entries);
	}
	KUNIT_EXPECT_EQ(test, test_pool.nr, (unsigned int)ARRAY_SIZE(blocks));
}

/* Sessions as the previous kernel may leave them, and what is made of them */

static struct luo_session_set test_set;

static void test_set_init(void)
{
	test_set = (struct luo_session_set) {
		.list = LIST_HEAD_INIT(test_set.list),
	};
	mutex_init(&test_set.lock);
}

static void test_set_free(void)
{
	struct liveupdate_session *session, *tmp;
	struct luo_file *lf, *next;

	list_for_each_entry_safe(session, tmp, &test_set.list, set_link) {
		scoped_guard(mutex, &session->lock) {
			list_for_each_entry_safe(lf, next, &session->files, link)
				luo_file_del(lf);
		}
		list_del(&session->set_link);
		kfree(session);
	}
}

/* One block with room for all entries of a test. */
static void *test_entries(struct kunit *test, u64 count, u64 *pa)
{
	struct luo_block_ser *block = test_block_alloc();

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, block);
	block->count = count;
	*pa = virt_to_phys(block);
	return block + 1;
}

static struct liveupdate_session *test_load_one(struct kunit *test, u64 files, u64 count)
{
	struct liveupdate_session *session;
	struct luo_session_ser *ser;
	u64 pa;

	test_set_init();
	ser = test_entries(test, 1, &pa);
	*ser = (struct luo_session_ser) { .name = "one", .files = files, .count = count };
	luo_sessions_load(&test_set, &test_block_ops, pa);
	KUNIT_ASSERT_EQ(test, test_set.count, 1UL);

	session = list_first_entry(&test_set.list, struct liveupdate_session, set_link);
	scoped_guard(mutex, &session->lock)
		KUNIT_EXPECT_EQ(test, 0, luo_files_load(session));
	return session;
}

static int test_retrieve(struct liveupdate_session *session, u64 token)
{
	struct file *file;

	guard(mutex)(&session->lock);
	return luo_file_retrieve(session, token, &file);
}

static void test_damaged_sessions_harm_no_other(struct kunit *test)
{
	static const char * const names[] = { "first", "last" };
	struct liveupdate_session *session;
	struct luo_session_ser *ser;
	unsigned int i = 0;
	u64 pa;

	test_set_init();
	ser = test_entries(test, 5, &pa);
	strscpy(ser[0].name, "first");
	memset(ser[1].name, 'n', sizeof(ser[1].name));
	ser[2].name[1] = 'x';
	strscpy(ser[3].name, "first");
	strscpy(ser[4].name, "last");
	luo_sessions_load(&test_set, &test_block_ops, pa);

	KUNIT_EXPECT_EQ(test, test_set.count, 2UL);
	list_for_each_entry(session, &test_set.list, set_link) {
		KUNIT_ASSERT_LT(test, i, ARRAY_SIZE(names));
		KUNIT_EXPECT_STREQ(test, session->name, names[i++]);
	}
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
	test_set_free();
}

static void test_damaged_session_list_keeps_its_beginning(struct kunit *test)
{
	struct luo_session_ser *ser;
	u64 pa;

	test_set_init();
	ser = test_entries(test, 1, &pa);
	strscpy(ser->name, "kept");
	((struct luo_block_ser *)ser - 1)->next = pa;
	luo_sessions_load(&test_set, &test_block_ops, pa);
	KUNIT_EXPECT_EQ(test, test_set.count, 1UL);
	KUNIT_EXPECT_EQ(test, test_pool.nr, 1U);
	test_set_free();
}

static void test_damaged_files_harm_no_other(struct kunit *test)
{
	struct liveupdate_session *session;
	struct luo_file_ser *ser;
	u64 pa;

	ser = test_entries(test, 5, &pa);
	for (u64 i = 0; i < 5; i++) {
		strscpy(ser[i].compatible, "no-such-handler");
		ser[i].token = i;
	}
	memset(ser[1].compatible, 'h', sizeof(ser[1].compatible));
	ser[2].compatible[0] = 0;
	ser[3].token = 0;

	session = test_load_one(test, pa, 5);
	KUNIT_EXPECT_EQ(test, session->nr_files, 4UL);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_retrieve(session, 0));
	KUNIT_EXPECT_EQ(test, -EBADMSG, test_retrieve(session, 1));
	KUNIT_EXPECT_EQ(test, -EBADMSG, test_retrieve(session, 2));
	KUNIT_EXPECT_EQ(test, -ENOENT, test_retrieve(session, 3));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_retrieve(session, 4));
	KUNIT_EXPECT_EQ(test, test_pool.nr, 0U);
	test_set_free();
}

static void test_damaged_file_list_keeps_its_beginning(struct kunit *test)
{
	static const u64 wrong[] = { 0, 1, 3, 64, U64_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct liveupdate_session *session;
		struct luo_file_ser *ser;
		u64 pa;

		ser = test_entries(test, 2, &pa);
		strscpy(ser[0].compatible, "no-such-handler");
		strscpy(ser[1].compatible, "no-such-handler");
		ser[1].token = 1;

		session = test_load_one(test, pa, wrong[i]);
		KUNIT_EXPECT_EQ(test, session->nr_files, min_t(u64, wrong[i], 2));
		KUNIT_EXPECT_EQ(test, test_retrieve(session, 0),
				wrong[i] ? -EOPNOTSUPP : -EBADMSG);
		/* It may be what got lost. */
		KUNIT_EXPECT_EQ(test, -EBADMSG, test_retrieve(session, 7));
		KUNIT_EXPECT_EQ(test, test_pool.nr, i + 1);
		test_set_free();
	}
}

static void test_file_list_out_of_range(struct kunit *test)
{
	static const u64 wrong[] = { 0, 1, LUO_BLOCK_SIZE, U64_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct liveupdate_session *session = test_load_one(test, wrong[i], 2);

		KUNIT_EXPECT_EQ(test, session->nr_files, 0UL);
		KUNIT_EXPECT_EQ(test, -EBADMSG, test_retrieve(session, 0));
		test_set_free();
	}
}

static struct kunit_case test_session_cases[] = {
	KUNIT_CASE(test_damaged_sessions_harm_no_other),
	KUNIT_CASE(test_damaged_session_list_keeps_its_beginning),
	KUNIT_CASE(test_damaged_files_harm_no_other),
	KUNIT_CASE(test_damaged_file_list_keeps_its_beginning),
	KUNIT_CASE(test_file_list_out_of_range),
	{}
};

static struct kunit_suite test_session_suite = {
	.name = "liveupdate_session",
	.init = test_init,
	.exit = test_exit,
	.test_cases = test_session_cases,
};

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_empty_list_is_address_zero),
	KUNIT_CASE(test_what_is_written_can_be_read),
	KUNIT_CASE(test_chain_can_be_written_again),
	KUNIT_CASE(test_blocks_follow_the_reservations),
	KUNIT_CASE(test_failed_reservation_changes_nothing),
	KUNIT_CASE(test_empty_blocks_are_read_over),
	KUNIT_CASE(test_address_outside_preserved_memory),
	KUNIT_CASE(test_truncated_chain),
	KUNIT_CASE(test_cyclic_chain),
	KUNIT_CASE(test_wrong_counts),
	KUNIT_CASE(test_random_damage),
	{}
};

static struct kunit_suite test_suite = {
	.name = "liveupdate_block",
	.init = test_init,
	.exit = test_exit,
	.test_cases = test_cases,
};

kunit_test_suites(&test_suite, &test_session_suite);

MODULE_DESCRIPTION("KUnit tests of the block chains of live update");
MODULE_LICENSE("GPL");
