// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: lists of records as chains of pages.
 */

/**
 * DOC: LUO block chains
 *
 * A list of records crosses the kexec as a chain of blocks, one page each, see
 * &struct luo_block_ser.
 *
 * The writer must not fail once files are frozen. So room is reserved when a
 * record is announced, luo_chain_reserve(), and writing is a mere filling in of
 * pages that are there, allocated, preserved and linked. As nothing is in them
 * before that, they are interchangeable: blocks are added and taken away at the
 * head of the chain, and no list of them is needed but the one that the next
 * kernel will follow. There are never more blocks than the records need.
 *
 * The reader trusts nothing. luo_incoming_chain_check() follows the whole chain
 * once, without taking anything, and finds out how many blocks and entries at
 * its beginning are sound: each block lies where the previous kernel preserved
 * a single page, its count fits a page, no block comes twice, and all counts
 * together give the number that was announced. What is sound can then be
 * read. The blocks are freed, luo_incoming_chain_release(), only if all of the
 * chain is sound: a page that a damaged chain points at may belong to a file.
 *
 * Nothing here knows what a record is, and KHO only by &struct luo_block_ops,
 * for the sake of lib/tests/liveupdate_block_kunit.c.
 *
 * Locks: none, chains are protected by those who own them.
 */

#include <linux/bug.h>
#include <linux/err.h>
#include <linux/error-injection.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>

#include "luo_internal.h"

static u64 luo_block_capacity(size_t entry_size)
{
	return (LUO_BLOCK_SIZE - sizeof(struct luo_block_ser)) / entry_size;
}

/* Only for addresses that are 0 or that were found valid. */
static struct luo_block_ser *luo_block_at(u64 pa)
{
	return pa ? phys_to_virt(pa) : NULL;
}

static void *luo_kho_block_alloc(void)
{
	return kho_alloc_preserve(LUO_BLOCK_SIZE);
}

static bool luo_kho_block_valid(u64 pa)
{
	return IS_ALIGNED(pa, LUO_BLOCK_SIZE) && !kho_incoming_order(pa);
}

const struct luo_block_ops luo_kho_block_ops = {
	.alloc = luo_kho_block_alloc,
	.free = kho_unpreserve_free,
	.valid = luo_kho_block_valid,
	.release = kho_restore_free,
};

/**
 * luo_chain_init - start an empty chain
 * @chain: the chain
 * @ops: where blocks come from
 * @entry_size: bytes per entry
 */
void luo_chain_init(struct luo_chain *chain, const struct luo_block_ops *ops,
		    size_t entry_size)
{
	*chain = (struct luo_chain) {
		.ops = ops,
		.entry_size = entry_size,
	};
}

static void luo_chain_pop(struct luo_chain *chain)
{
	struct luo_block_ser *block = chain->first;

	chain->first = luo_block_at(block->next);
	chain->nr_blocks--;
	chain->ops->free(block);
}

/**
 * luo_chain_destroy - free all blocks of a chain
 * @chain: the chain, empty after that
 */
void luo_chain_destroy(struct luo_chain *chain)
{
	while (chain->first)
		luo_chain_pop(chain);
	chain->nr_reserved = 0;
}

/**
 * luo_chain_reserve - make room for one more entry
 * @chain: the chain
 *
 * Context: may sleep.
 * Return: 0, or the errno of the allocation; the chain is as before then.
 */
int luo_chain_reserve(struct luo_chain *chain)
{
	if (chain->nr_reserved == chain->nr_blocks * luo_block_capacity(chain->entry_size)) {
		struct luo_block_ser *block = chain->ops->alloc();

		if (IS_ERR(block))
			return PTR_ERR(block);
		block->next = chain->first ? virt_to_phys(chain->first) : 0;
		chain->first = block;
		chain->nr_blocks++;
	}
	chain->nr_reserved++;
	return 0;
}
ALLOW_ERROR_INJECTION(luo_chain_reserve, ERRNO);

/**
 * luo_chain_unreserve - undo one luo_chain_reserve()
 * @chain: the chain
 */
void luo_chain_unreserve(struct luo_chain *chain)
{
	if (WARN_ON_ONCE(!chain->nr_reserved))
		return;
	chain->nr_reserved--;
	if (chain->nr_reserved == (chain->nr_blocks - 1) * luo_block_capacity(chain->entry_size))
		luo_chain_pop(chain);
}

/**
 * luo_chain_address - where the next kernel finds the chain
 * @chain: the chain
 *
 * Return: the physical address of the first block, 0 if the chain is empty.
 */
u64 luo_chain_address(const struct luo_chain *chain)
{
	return chain->first ? virt_to_phys(chain->first) : 0;
}

/**
 * luo_chain_write - write a chain from its beginning
 * @chain: the chain
 * @writer: for luo_chain_write_next(), which is then called once for each
 *	luo_chain_reserve()
 *
 * A chain can be written any number of times.
 */
void luo_chain_write(struct luo_chain *chain, struct luo_chain_writer *writer)
{
	struct luo_block_ser *block;

	for (block = chain->first; block; block = luo_block_at(block->next))
		block->count = 0;

	*writer = (struct luo_chain_writer) {
		.chain = chain,
		.block = chain->first,
	};
}

/**
 * luo_chain_write_next - add an entry
 * @writer: the position, moved on
 *
 * Return: the entry to be filled in. It cannot fail, but gives NULL, after a
 * warning, to a caller who has not reserved the room.
 */
void *luo_chain_write_next(struct luo_chain_writer *writer)
{
	struct luo_chain *chain = writer->chain;
	struct luo_block_ser *block = writer->block;

	if (WARN_ON_ONCE(writer->nr_written == chain->nr_reserved))
		return NULL;

	if (block->count == luo_block_capacity(chain->entry_size)) {
		block = luo_block_at(block->next);
		writer->block = block;
	}
	writer->nr_written++;
	return (void *)(block + 1) + block->count++ * chain->entry_size;
}

static int luo_chain_fault(struct luo_incoming_chain *chain, u64 pa, const char *fault)
{
	chain->fault = fault;
	chain->fault_pa = pa;
	return -EBADMSG;
}

/* What is wrong with this block taken alone? */
static const char *luo_block_fault(const struct luo_incoming_chain *chain, u64 pa)
{
	if (!chain->ops->valid(pa))
		return "not a preserved block";
	if (luo_block_at(pa)->count > luo_block_capacity(chain->entry_size))
		return "too many entries for a block";
	return NULL;
}

/*
 * The blocks are linked in a ring that is @ring blocks long. How many are there
 * before one comes for the second time?
 */
static u64 luo_chain_distinct(u64 first, u64 ring)
{
	struct luo_block_ser *ahead = luo_block_at(first);
	struct luo_block_ser *block = ahead;
	u64 distinct = ring;

	while (ring--)
		ahead = luo_block_at(ahead->next);
	for (; block != ahead; distinct++) {
		block = luo_block_at(block->next);
		ahead = luo_block_at(ahead->next);
	}
	return distinct;
}

/* The length of the ring in which sound blocks are linked, or 0. */
static u64 luo_chain_ring(const struct luo_incoming_chain *chain)
{
	u64 pa = chain->first, mark = 0, length = 0, limit = 1;

	/* Brent: a mark, moved to the present block at each power of two. */
	while (pa && !luo_block_fault(chain, pa)) {
		if (pa == mark)
			return length;
		if (length == limit) {
			mark = pa;
			limit *= 2;
			length = 0;
		}
		pa = luo_block_at(pa)->next;
		length++;
	}
	return 0;
}

/**
 * luo_incoming_chain_check - find out what of a chain is sound
 * @chain: filled in. @nr_blocks and @nr_entries, from the beginning, can be relied
 *	upon whatever the result is
 * @ops: where blocks come from
 * @first: physical address of the first block, as the previous kernel wrote it
 * @entry_size: bytes per entry
 * @nr_expected: announced number of entries, or %LUO_COUNT_UNKNOWN
 *
 * Return: 0 if all is well, ``-EBADMSG`` if @fault and @fault_pa say what is wrong.
 */
int luo_incoming_chain_check(struct luo_incoming_chain *chain,
			     const struct luo_block_ops *ops, u64 first,
			     size_t entry_size, u64 nr_expected)
{
	u64 pa = first, ring, distinct;

	*chain = (struct luo_incoming_chain) {
		.ops = ops,
		.first = first,
		.entry_size = entry_size,
	};

	ring = luo_chain_ring(chain);
	distinct = ring ? luo_chain_distinct(first, ring) : U64_MAX;

	while (pa) {
		const char *fault = luo_block_fault(chain, pa);
		u64 count;

		if (fault)
			return luo_chain_fault(chain, pa, fault);
		if (chain->nr_blocks == distinct)
			return luo_chain_fault(chain, pa, "block comes twice");

		count = luo_block_at(pa)->count;
		if (count > nr_expected - chain->nr_entries) {
			chain->nr_blocks++;
			chain->nr_entries = nr_expected;
			return luo_chain_fault(chain, pa, "more entries than announced");
		}
		chain->nr_blocks++;
		chain->nr_entries += count;
		pa = luo_block_at(pa)->next;
	}

	if (nr_expected != LUO_COUNT_UNKNOWN && chain->nr_entries != nr_expected)
		return luo_chain_fault(chain, 0, "fewer entries than announced");
	return 0;
}

/**
 * luo_incoming_chain_release - free the blocks of a chain that was read
 * @chain: the chain, unless its check failed: of such a chain nothing is freed
 */
void luo_incoming_chain_release(struct luo_incoming_chain *chain)
{
	u64 pa = chain->first;

	if (chain->fault)
		return;

	while (chain->nr_blocks) {
		struct luo_block_ser *block = luo_block_at(pa);

		pa = block->next;
		chain->nr_blocks--;
		chain->ops->release(block);
	}
	chain->first = 0;
	chain->nr_entries = 0;
}

/**
 * luo_chain_read - read a chain from its beginning
 * @chain: the chain, checked
 * @reader: for luo_chain_read_next()
 */
void luo_chain_read(const struct luo_incoming_chain *chain, struct luo_chain_reader *reader)
{
	*reader = (struct luo_chain_reader) {
		.chain = chain,
		.block = chain->nr_blocks ? luo_block_at(chain->first) : NULL,
		.nr_left = chain->nr_entries,
	};
}

/**
 * luo_chain_read_next - read an entry
 * @reader: the position, moved on
 *
 * Return: the entry, or NULL after the last sound one.
 */
const void *luo_chain_read_next(struct luo_chain_reader *reader)
{
	if (!reader->nr_left)
		return NULL;

	while (reader->index == reader->block->count) {
		reader->block = luo_block_at(reader->block->next);
		reader->index = 0;
	}
	reader->nr_left--;
	return (const void *)(reader->block + 1) + reader->index++ * reader->chain->entry_size;
}
