/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Formats of Kexec HandOver (KHO): what one kernel leaves in memory so that
 * the next one finds the pages and the state that were preserved.
 */
#ifndef _LINUX_KHO_ABI_KEXEC_HANDOVER_H
#define _LINUX_KHO_ABI_KEXEC_HANDOVER_H

#include <linux/build_bug.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/kho/abi/formats.h>

/**
 * DOC: KHO formats
 *
 * All integers are stored little-endian, as the CPU has them; every address
 * is a physical address; a page has 4 KiB.
 *
 * **Boot protocol.** The next kernel is told four numbers: address and size of
 * the root FDT and of the scratch array (&struct kho_scratch). On x86-64 they
 * are the payload of a setup_data node of type ``SETUP_KEXEC_KHO``.
 *
 * **Root FDT.** One page. ``compatible`` is %KHO_FDT_COMPATIBLE, property
 * %KHO_PROP_MEMORY_MAP holds the address of the root of the preserved-memory
 * radix tree. Each producer of state has a subnode, named by it, with the
 * properties %KHO_PROP_SUBTREE_DATA (address) and %KHO_PROP_SUBTREE_SIZE.
 *
 * **Preserved-memory radix tree.** Six levels, each node one page: five levels
 * of &struct kho_radix_table, then &struct kho_radix_leaf. A preserved block of
 * order ``o`` at address ``pa`` is one bit, found by the key
 * ``(1 << (52 - o)) | (pa >> (12 + o))``: the highest bit set tells the order,
 * what is below it the number of the block. The pages of the tree itself are
 * not in the tree.
 *
 * **Preserved vmalloc area.** &struct kho_vmalloc and a chain of
 * &struct kho_vmalloc_chunk.
 *
 * The preserving kernel writes all of this at any time up to the jump; the next
 * kernel only reads it.
 */

/* Root FDT; KHO_FDT_COMPATIBLE is in formats.h. */
#define KHO_PROP_MEMORY_MAP	"preserved-memory-map"
#define KHO_PROP_SUBTREE_DATA	"preserved-data"
#define KHO_PROP_SUBTREE_SIZE	"blob-size"

/**
 * struct kho_scratch - one scratch area
 * @addr: physical address of the first byte
 * @size: length in bytes
 */
struct kho_scratch {
	__u64 addr;
	__u64 size;
};

static_assert(sizeof(struct kho_scratch) == 16);

/* Preserved-memory radix tree. */
#define KHO_RADIX_PAGE_SHIFT	12
#define KHO_RADIX_LEVELS	6	/* five levels of tables and the leaf */
#define KHO_RADIX_TABLE_SHIFT	9
#define KHO_RADIX_LEAF_SHIFT	15
#define KHO_RADIX_MAX_ORDER	52

/**
 * struct kho_radix_table - inner node of the preserved-memory radix tree
 * @child: physical addresses of the nodes one level down, 0 where there is none
 */
struct kho_radix_table {
	__u64 child[1 << KHO_RADIX_TABLE_SHIFT];
};

static_assert(sizeof(struct kho_radix_table) == SZ_4K);

/**
 * struct kho_radix_leaf - last level of the preserved-memory radix tree
 * @bits: bit ``n`` of the bitmap is the key whose low 15 bits are ``n``
 */
struct kho_radix_leaf {
	__u64 bits[(1 << KHO_RADIX_LEAF_SHIFT) / 64];
};

static_assert(sizeof(struct kho_radix_leaf) == SZ_4K);

/* Preserved vmalloc area. */
#define KHO_VMALLOC_ALLOC	0x0001	/* was made by vmalloc(), not vmap() */
#define KHO_VMALLOC_HUGE_VMAP	0x0002	/* may be mapped by huge entries */

/**
 * struct kho_vmalloc - descriptor of a preserved vmalloc area
 * @first: address of the first &struct kho_vmalloc_chunk, 0 if the area is empty
 * @total_pages: number of 4 KiB pages of the area
 * @flags: KHO_VMALLOC_*
 * @order: each address in the chunks stands for ``1 << order`` pages
 */
struct kho_vmalloc {
	__u64 first;
	__u32 total_pages;
	__u16 flags;
	__u16 order;
};

static_assert(sizeof(struct kho_vmalloc) == 16);

#define KHO_VMALLOC_CHUNK_SLOTS	511

/**
 * struct kho_vmalloc_chunk - one page of addresses of a preserved vmalloc area
 * @next: address of the next chunk, 0 in the last one
 * @phys: addresses of blocks of pages; the first 0 ends the list
 */
struct kho_vmalloc_chunk {
	__u64 next;
	__u64 phys[KHO_VMALLOC_CHUNK_SLOTS];
};

static_assert(sizeof(struct kho_vmalloc_chunk) == SZ_4K);

/* Sub-tree "kexec-metadata": where this kernel comes from. */
#define KHO_METADATA_NODE	"kexec-metadata"
#define KHO_METADATA_VERSION	1
#define KHO_METADATA_RELEASE_LEN 65

/**
 * struct kho_metadata - blob of the sub-tree %KHO_METADATA_NODE
 * @version: %KHO_METADATA_VERSION
 * @previous_release: utsname release of the kernel that wrote it, NUL-terminated
 * @kexec_count: number of kexecs with handover since cold boot, that one included
 */
struct kho_metadata {
	__u32 version;
	char previous_release[KHO_METADATA_RELEASE_LEN];
	__u32 kexec_count;
} __packed;

static_assert(sizeof(struct kho_metadata) == 73);

/* Sub-tree "memblock": reserve_mem= areas, itself an FDT. */
#define KHO_MEMBLOCK_NODE	"memblock"
#define KHO_MEMBLOCK_COMPATIBLE	"memblock-v1"
#define KHO_RESERVE_MEM_COMPATIBLE "reserve-mem-v1"
#define KHO_RESERVE_MEM_PROP_START "start"
#define KHO_RESERVE_MEM_PROP_SIZE "size"

#endif /* _LINUX_KHO_ABI_KEXEC_HANDOVER_H */
