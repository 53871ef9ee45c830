/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: lists of records in memory that crosses the kexec.
 *
 * For LUO itself and for state that files share, where it is such a list. See
 * kernel/liveupdate/luo_block.c and luo_slots.c.
 */
#ifndef _LINUX_LUO_BLOCK_H
#define _LINUX_LUO_BLOCK_H

#include <linux/list.h>
#include <linux/types.h>
#include <linux/kho/abi/luo.h>

/**
 * struct luo_block_ops - where blocks come from
 * @alloc: a zeroed block, page aligned and preserved, or an ERR_PTR()
 * @free: undo @alloc
 * @valid: Is there a block of the previous kernel at this address, one that can
 *	be read and that nobody has taken?
 * @release: free a block of the previous kernel
 */
struct luo_block_ops {
	void *(*alloc)(void);
	void (*free)(void *block);
	bool (*valid)(u64 pa);
	void (*release)(void *block);
};

extern const struct luo_block_ops luo_kho_block_ops;

/**
 * struct luo_chain - a chain of blocks that this kernel writes
 * @ops: where blocks come from
 * @first: the first block
 * @entry_size: bytes per entry
 * @nr_blocks: number of blocks
 * @nr_reserved: number of entries for which there must be room
 */
struct luo_chain {
	const struct luo_block_ops *ops;
	struct luo_block_ser *first;
	size_t entry_size;
	unsigned long nr_blocks;
	unsigned long nr_reserved;
};

/**
 * struct luo_chain_writer - position in a chain that is being written
 * @chain: the chain
 * @block: the block to write to
 * @nr_written: number of entries written
 */
struct luo_chain_writer {
	struct luo_chain *chain;
	struct luo_block_ser *block;
	unsigned long nr_written;
};

void luo_chain_init(struct luo_chain *chain, const struct luo_block_ops *ops,
		    size_t entry_size);
void luo_chain_destroy(struct luo_chain *chain);
int luo_chain_reserve(struct luo_chain *chain);
void luo_chain_unreserve(struct luo_chain *chain);
u64 luo_chain_address(const struct luo_chain *chain);
void luo_chain_write(struct luo_chain *chain, struct luo_chain_writer *writer);
void *luo_chain_write_next(struct luo_chain_writer *writer);

/* The number of entries is not recorded anywhere but in the blocks. */
#define LUO_COUNT_UNKNOWN	U64_MAX

/**
 * struct luo_incoming_chain - a chain of blocks that the previous kernel wrote
 * @ops: where blocks come from
 * @first: address of the first block
 * @entry_size: bytes per entry
 * @nr_blocks: number of sound blocks
 * @nr_entries: number of sound entries
 * @fault: what is wrong, or NULL
 * @fault_pa: address of the block that it is wrong with
 */
struct luo_incoming_chain {
	const struct luo_block_ops *ops;
	u64 first;
	size_t entry_size;
	u64 nr_blocks;
	u64 nr_entries;
	const char *fault;
	u64 fault_pa;
};

/**
 * struct luo_chain_reader - position in a chain that is being read
 * @chain: the chain
 * @block: the block to read from
 * @index: the entry in @block to read next
 * @nr_left: number of entries left
 */
struct luo_chain_reader {
	const struct luo_incoming_chain *chain;
	const struct luo_block_ser *block;
	u64 index;
	u64 nr_left;
};

int luo_incoming_chain_check(struct luo_incoming_chain *chain,
			     const struct luo_block_ops *ops, u64 first,
			     size_t entry_size, u64 nr_expected);
void luo_incoming_chain_release(struct luo_incoming_chain *chain);
void luo_chain_read(const struct luo_incoming_chain *chain, struct luo_chain_reader *reader);
const void *luo_chain_read_next(struct luo_chain_reader *reader);

/**
 * struct luo_slots - a list of records that are kept up to date
 * @ops: where blocks come from
 * @blocks: the blocks
 * @entry_size: bytes per slot
 * @per_block: number of slots in a block
 */
struct luo_slots {
	const struct luo_block_ops *ops;
	struct list_head blocks;
	size_t entry_size;
	unsigned int per_block;
};

int luo_slots_init(struct luo_slots *slots, const struct luo_block_ops *ops, size_t entry_size);
void luo_slots_destroy(struct luo_slots *slots);
u64 luo_slots_address(const struct luo_slots *slots);
void *luo_slot_get(struct luo_slots *slots);
void luo_slot_put(struct luo_slots *slots, void *slot);

#endif /* _LINUX_LUO_BLOCK_H */
