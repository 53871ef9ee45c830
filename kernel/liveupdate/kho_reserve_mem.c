// SPDX-License-Identifier: GPL-2.0
/*
 * reserve_mem= areas: the same memory, with the same contents, in every kernel.
 */

/**
 * DOC: reserve_mem= areas
 *
 * An area is known by its name. A kernel that finds one of the name it looks for,
 * with the size and alignment it wants, takes it over with its contents; else it
 * allocates a new one, outside scratch. Every area is preserved for the next
 * kernel when KHO is initialised.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/err.h>
#include <linux/io.h>
#include <linux/libfdt.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "kho_internal.h"

struct kho_reserve_area {
	phys_addr_t start;
	phys_addr_t size;
	char name[16];
};

#define KHO_RESERVE_AREAS	8	/* as many as mm/memblock.c takes */

static struct kho_reserve_area areas[KHO_RESERVE_AREAS] __initdata;
static unsigned int nr_areas __initdata;

static int __init find_incoming(const char *name, u64 *start, u64 *size)
{
	const void *fdt, *s, *l;
	phys_addr_t phys;
	size_t fdt_size;
	int node, slen, llen;

	if (kho_retrieve_subtree(KHO_MEMBLOCK_NODE, &phys, &fdt_size))
		return -ENOENT;
	fdt = phys_to_virt(phys);
	if (fdt_size < sizeof(struct fdt_header) || fdt_check_header(fdt) ||
	    fdt_totalsize(fdt) > fdt_size ||
	    fdt_node_check_compatible(fdt, 0, KHO_MEMBLOCK_COMPATIBLE)) {
		pr_err("sub-tree %s is not " KHO_MEMBLOCK_COMPATIBLE "\n", KHO_MEMBLOCK_NODE);
		return -EINVAL;
	}

	node = fdt_subnode_offset(fdt, 0, name);
	if (node < 0)
		return -ENOENT;
	s = fdt_getprop(fdt, node, KHO_RESERVE_MEM_PROP_START, &slen);
	l = fdt_getprop(fdt, node, KHO_RESERVE_MEM_PROP_SIZE, &llen);
	if (fdt_node_check_compatible(fdt, node, KHO_RESERVE_MEM_COMPATIBLE) || !s || !l ||
	    slen != sizeof(*start) || llen != sizeof(*size)) {
		pr_err("reserve_mem %s: node is not " KHO_RESERVE_MEM_COMPATIBLE "\n", name);
		return -EINVAL;
	}
	*start = get_unaligned((const u64 *)s);
	*size = get_unaligned((const u64 *)l);

	return 0;
}

static phys_addr_t __init take_over(const char *name, phys_addr_t size, phys_addr_t align)
{
	phys_addr_t end;
	u64 start, len;

	if (find_incoming(name, &start, &len))
		return 0;
	if (len != size || !IS_ALIGNED(start, align)) {
		pr_warn("reserve_mem %s: %pa bytes wanted, %llu at %#llx were preserved: not taken over\n",
			name, &size, len, start);
		return 0;
	}

	/* The pages become reserved ones, which are never freed nor restored. */
	end = PAGE_ALIGN(start + len);
	if (end <= start || !kho_hold_claim(PFN_DOWN(start), PFN_DOWN(end) - PFN_DOWN(start)) ||
	    memblock_reserve(ALIGN_DOWN(start, PAGE_SIZE), end - ALIGN_DOWN(start, PAGE_SIZE))) {
		pr_err("reserve_mem %s: %llu bytes at %#llx are not preserved\n", name, len, start);
		return 0;
	}
	pr_info("reserve_mem %s: %llu bytes at %#llx taken over\n", name, len, start);

	return start;
}

/**
 * kho_reserve_mem_alloc - find memory for a reserve_mem= area
 * @name: of the area
 * @size: in bytes
 * @align: of its start, a power of two
 *
 * Context: boot, while the command line is parsed.
 * Return: physical address of the area, reserved in memblock, or 0 when KHO is off
 * or it has to be allocated as ever.
 */
phys_addr_t __init kho_reserve_mem_alloc(const char *name, phys_addr_t size, phys_addr_t align)
{
	phys_addr_t start;

	if (!kho_is_enabled() || nr_areas == KHO_RESERVE_AREAS)
		return 0;

	/* Whole pages of its own, or neighbours would be preserved with it. */
	align = max_t(phys_addr_t, align, PAGE_SIZE);
	start = take_over(name, size, align);
	if (!start) {
		kho_memblock_avoid_scratch(true);
		start = memblock_phys_alloc(PAGE_ALIGN(size), align);
		kho_memblock_avoid_scratch(false);
	}
	if (start) {
		areas[nr_areas].start = start;
		areas[nr_areas].size = size;
		strscpy(areas[nr_areas++].name, name, sizeof(areas->name));
	}

	return start;
}

/**
 * kho_reserve_mem_size - how much of a node the areas take
 * @nid: the node
 *
 * Context: boot, in the time of memblock.
 * Return: bytes.
 */
phys_addr_t __init kho_reserve_mem_size(int nid)
{
	phys_addr_t sum = 0;

	for (unsigned int i = 0; i < nr_areas; i++)
		if (early_pfn_to_nid(PFN_DOWN(areas[i].start)) == nid)
			sum += PAGE_ALIGN(areas[i].size);

	return sum;
}

static int __init write_fdt(void *fdt)
{
	int err;

	err = fdt_create(fdt, PAGE_SIZE);
	err = err ?: fdt_finish_reservemap(fdt);
	err = err ?: fdt_begin_node(fdt, "");
	err = err ?: fdt_property_string(fdt, "compatible", KHO_MEMBLOCK_COMPATIBLE);
	for (unsigned int i = 0; i < nr_areas; i++) {
		u64 start = areas[i].start, size = areas[i].size;

		err = err ?: fdt_begin_node(fdt, areas[i].name);
		err = err ?: fdt_property_string(fdt, "compatible", KHO_RESERVE_MEM_COMPATIBLE);
		err = err ?: fdt_property(fdt, KHO_RESERVE_MEM_PROP_START, &start, sizeof(start));
		err = err ?: fdt_property(fdt, KHO_RESERVE_MEM_PROP_SIZE, &size, sizeof(size));
		err = err ?: fdt_end_node(fdt);
	}
	err = err ?: fdt_end_node(fdt);
	err = err ?: fdt_finish(fdt);

	return err ? -ENOSPC : 0;
}

/**
 * kho_reserve_mem_init - preserve all areas for the next kernel
 *
 * Context: initcall.
 * Return: 0, or a negative errno.
 */
int __init kho_reserve_mem_init(void)
{
	void *fdt;
	int ret;

	if (!nr_areas)
		return 0;

	fdt = kho_alloc_preserve(PAGE_SIZE);
	if (IS_ERR(fdt))
		return PTR_ERR(fdt);
	ret = write_fdt(fdt);
	for (unsigned int i = 0; i < nr_areas && !ret; i++)
		ret = kho_preserve_pages(kho_phys_to_page(areas[i].start), PFN_UP(areas[i].size));
	if (!ret)
		ret = kho_add_subtree(KHO_MEMBLOCK_NODE, fdt, fdt_totalsize(fdt));

	return ret;
}
