// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: lists of records that are kept up to date.
 */

/**
 * DOC: LUO slots
 *
 * The records of sessions and files are written when all is frozen (luo_block.c). State
 * that files share has no such moment: its FLB is preserved with the first file that
 * needs it, and what it holds changes with every file after that. Its records are *slots*
 * in blocks of the same format. A slot is used or is all zeroes, which the
 * owner must be able to tell from a record; every block counts all its slots. So the
 * list is at any time what the next kernel is to find.
 *
 * Blocks are added when all slots are used, and freed with the list. The next kernel
 * reads the list as any other, luo_incoming_chain_check().
 *
 * Locks: none, lists are protected by those who own them.
 */

#include <linux/bitmap.h>
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/luo_block.h>
#include <linux/slab.h>
#include <linux/string.h>

/* Entries are not smaller than the head of a block. */
#define LUO_SLOTS_MAX	(LUO_BLOCK_SIZE / sizeof(struct luo_block_ser))

/**
 * struct luo_slot_block - a block
 * @list: in the order in which they are chained
 * @ser: the block
 * @used: which of its slots are used
 */
struct luo_slot_block {
	struct list_head list;
	struct luo_block_ser *ser;
	DECLARE_BITMAP(used, LUO_SLOTS_MAX);
};

static struct luo_slot_block *luo_slots_grow(struct luo_slots *slots)
{
	struct luo_slot_block *block, *last;
	void *ser;

	block = kzalloc(sizeof(*block), GFP_KERNEL);
	if (!block)
		return ERR_PTR(-ENOMEM);
	ser = slots->ops->alloc();
	if (IS_ERR(ser)) {
		kfree(block);
		return ser;
	}
	block->ser = ser;
	block->ser->count = slots->per_block;
	if (!list_empty(&slots->blocks)) {
		last = list_last_entry(&slots->blocks, struct luo_slot_block, list);
		last->ser->next = virt_to_phys(ser);
	}
	list_add_tail(&block->list, &slots->blocks);
	return block;
}

/**
 * luo_slots_init - start a list of slots
 * @slots: the list
 * @ops: where blocks come from
 * @entry_size: bytes per slot, not less than sizeof(struct luo_block_ser)
 *
 * Context: may sleep.
 * Return: 0, or the errno of the allocation of the first block.
 */
int luo_slots_init(struct luo_slots *slots, const struct luo_block_ops *ops, size_t entry_size)
{
	INIT_LIST_HEAD(&slots->blocks);
	slots->ops = ops;
	slots->entry_size = entry_size;
	slots->per_block = (LUO_BLOCK_SIZE - sizeof(struct luo_block_ser)) / entry_size;
	return PTR_ERR_OR_ZERO(luo_slots_grow(slots));
}

/**
 * luo_slots_destroy - free a list of slots
 * @slots: the list, not to be used any more
 *
 * Context: may sleep.
 */
void luo_slots_destroy(struct luo_slots *slots)
{
	struct luo_slot_block *block, *next;

	list_for_each_entry_safe(block, next, &slots->blocks, list) {
		slots->ops->free(block->ser);
		kfree(block);
	}
	INIT_LIST_HEAD(&slots->blocks);
}

/**
 * luo_slots_address - where the next kernel finds the list
 * @slots: the list
 *
 * Return: the physical address of the first block, which stays the same.
 */
u64 luo_slots_address(const struct luo_slots *slots)
{
	return virt_to_phys(list_first_entry(&slots->blocks, struct luo_slot_block, list)->ser);
}

/**
 * luo_slot_get - get a slot
 * @slots: the list
 *
 * Context: may sleep.
 * Return: the slot, zeroed, or the errno of the allocation of a block.
 */
void *luo_slot_get(struct luo_slots *slots)
{
	struct luo_slot_block *block;
	unsigned long nr;

	list_for_each_entry(block, &slots->blocks, list) {
		nr = find_first_zero_bit(block->used, slots->per_block);
		if (nr < slots->per_block)
			goto found;
	}
	block = luo_slots_grow(slots);
	if (IS_ERR(block))
		return block;
	nr = 0;
found:
	__set_bit(nr, block->used);
	return (void *)(block->ser + 1) + nr * slots->entry_size;
}

/**
 * luo_slot_put - give a slot back
 * @slots: the list
 * @slot: the slot
 */
void luo_slot_put(struct luo_slots *slots, void *slot)
{
	struct luo_slot_block *block;

	list_for_each_entry(block, &slots->blocks, list) {
		size_t offset = slot - (void *)(block->ser + 1);

		if (offset >= LUO_BLOCK_SIZE)
			continue;
		memset(slot, 0, slots->entry_size);
		__clear_bit(offset / slots->entry_size, block->used);
		return;
	}
	WARN_ON_ONCE(1);
}
