// SPDX-License-Identifier: GPL-2.0
/*
 * Root FDTs: the directory of what one kernel leaves to the next.
 */

/**
 * DOC: sub-trees
 *
 * A producer of state puts its data in memory of kho_alloc_preserve() and
 * announces it with kho_add_subtree(); the consumer in the next kernel finds it by
 * the same name with kho_retrieve_subtree(). What is in the blob is between the
 * two.
 *
 * The root FDT is one page, the same for as long as the kernel runs, and is
 * written anew from the list of sub-trees whenever that changes. @subtree_lock
 * protects list and page.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/libfdt.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "kho_internal.h"

struct kho_subtree {
	struct list_head list;
	const char *name;
	u64 phys;
	u64 size;
};

static DEFINE_MUTEX(subtree_lock);	/* protects what follows, and the FDT itself */
static LIST_HEAD(subtrees);
static void *fdt_out;			/* one page */
static u64 fdt_map;

/* A u64 property of the machine's own byte order, as the format has it. */
static int get_u64(const void *fdt, int node, const char *name, u64 *val)
{
	int len;
	const void *prop = fdt_getprop(fdt, node, name, &len);

	if (!prop || len != sizeof(*val))
		return -EINVAL;
	*val = get_unaligned((const u64 *)prop);

	return 0;
}

/**
 * kho_fdt_check_root - is this a root FDT that can be used?
 * @fdt: one page
 * @map: on success, physical address of the root of the memory map
 *
 * Return: 0, or -EINVAL, with a log line that names what is wrong.
 */
int kho_fdt_check_root(const void *fdt, phys_addr_t *map)
{
	const char *what;
	u64 phys;

	*map = 0;
	if (fdt_check_header(fdt))
		what = "header";
	else if (fdt_totalsize(fdt) > PAGE_SIZE)
		what = "totalsize";
	else if (fdt_node_check_compatible(fdt, 0, KHO_FDT_COMPATIBLE))
		what = "compatible";
	else if (get_u64(fdt, 0, KHO_PROP_MEMORY_MAP, &phys) || !phys || !PAGE_ALIGNED(phys))
		what = KHO_PROP_MEMORY_MAP;
	else
		*map = phys;
	if (*map)
		return 0;

	pr_err("handover ignored: root FDT with bad %s\n", what);
	return -EINVAL;
}

static int write_fdt(void *fdt)
{
	struct kho_subtree *sub;
	int err;

	err = fdt_create(fdt, PAGE_SIZE);
	err = err ?: fdt_finish_reservemap(fdt);
	err = err ?: fdt_begin_node(fdt, "");
	err = err ?: fdt_property_string(fdt, "compatible", KHO_FDT_COMPATIBLE);
	err = err ?: fdt_property(fdt, KHO_PROP_MEMORY_MAP, &fdt_map, sizeof(fdt_map));
	list_for_each_entry(sub, &subtrees, list) {
		err = err ?: fdt_begin_node(fdt, sub->name);
		err = err ?: fdt_property(fdt, KHO_PROP_SUBTREE_DATA, &sub->phys,
					  sizeof(sub->phys));
		err = err ?: fdt_property(fdt, KHO_PROP_SUBTREE_SIZE, &sub->size,
					  sizeof(sub->size));
		err = err ?: fdt_end_node(fdt);
	}
	err = err ?: fdt_end_node(fdt);
	err = err ?: fdt_finish(fdt);

	return err ? -ENOSPC : 0;
}

/* Write into another page first: the next kernel must never find half of it. */
static int update_fdt(void)
{
	void *page;
	int ret;

	lockdep_assert_held(&subtree_lock);

	page = (void *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	ret = write_fdt(page);
	if (!ret)
		memcpy(fdt_out, page, PAGE_SIZE);
	free_page((unsigned long)page);

	return ret;
}

/**
 * kho_add_subtree - announce data to the next kernel
 * @name: of the producer, not longer than a device tree node's name may be; must
 *	stay valid
 * @blob: the data, preserved by the caller, at the start of a page
 * @size: of the data in bytes
 *
 * Context: may sleep.
 * Return: 0, -EOPNOTSUPP when KHO is off, -EEXIST when the name is taken, -ENOSPC
 * when the directory is full, -ENOMEM.
 */
int kho_add_subtree(const char *name, void *blob, size_t size)
{
	struct kho_subtree *sub, *other;
	int ret;

	if (!kho_is_enabled() || !fdt_out)
		return -EOPNOTSUPP;

	sub = kzalloc(sizeof(*sub), GFP_KERNEL);
	if (!sub)
		return -ENOMEM;
	sub->name = name;
	sub->phys = virt_to_phys(blob);
	sub->size = size;

	guard(mutex)(&subtree_lock);
	list_for_each_entry(other, &subtrees, list) {
		if (!strcmp(other->name, name)) {
			kfree(sub);
			return -EEXIST;
		}
	}
	list_add_tail(&sub->list, &subtrees);
	ret = update_fdt();
	if (ret) {
		list_del(&sub->list);
		kfree(sub);
		pr_err("sub-tree %s cannot be added: %d\n", name, ret);
	}

	return ret;
}
EXPORT_SYMBOL_GPL(kho_add_subtree);

/**
 * kho_remove_subtree - withdraw data announced with kho_add_subtree()
 * @blob: the data
 *
 * The memory stays preserved until its owner says otherwise.
 *
 * Context: may sleep.
 */
void kho_remove_subtree(void *blob)
{
	phys_addr_t phys = virt_to_phys(blob);
	struct kho_subtree *sub;

	guard(mutex)(&subtree_lock);
	list_for_each_entry(sub, &subtrees, list) {
		if (sub->phys != phys)
			continue;
		list_del(&sub->list);
		/* What is left fits; only the spare page can be missing. */
		if (update_fdt() && write_fdt(fdt_out))
			pr_err("sub-tree %s could not be removed cleanly\n", sub->name);
		kfree(sub);
		return;
	}
}
EXPORT_SYMBOL_GPL(kho_remove_subtree);

/**
 * kho_retrieve_subtree - find data that the previous kernel announced
 * @name: of the producer
 * @phys: on success, physical address of the data, in the direct map
 * @size: on success, its size in bytes; may be NULL
 *
 * The data was checked to lie in one preserved block. It stays there until
 * kho_restore_free() or kho_restore_folio() is called for it; what is in it is for
 * the caller to check.
 *
 * Context: any, after kho_take_over_map().
 * Return: 0, -ENOENT when there is no such data, -EINVAL, with a log line, when it
 * is not where preserved data can be.
 */
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size)
{
	void *fdt = kho_in_fdt();
	u64 addr, len;
	int node;

	if (!fdt)
		return -ENOENT;
	node = fdt_subnode_offset(fdt, 0, name);
	if (node < 0)
		return -ENOENT;

	if (get_u64(fdt, node, KHO_PROP_SUBTREE_DATA, &addr) ||
	    get_u64(fdt, node, KHO_PROP_SUBTREE_SIZE, &len)) {
		pr_err("sub-tree %s: properties are missing\n", name);
		return -EINVAL;
	}
	if (!len || !kho_incoming_range(addr, len)) {
		pr_err("sub-tree %s: %llu bytes at %#llx are not preserved\n", name, len, addr);
		return -EINVAL;
	}
	*phys = addr;
	if (size)
		*size = len;

	return 0;
}
EXPORT_SYMBOL_GPL(kho_retrieve_subtree);

/**
 * kho_fdt_init - make the outgoing root FDT
 * @map: physical address of the root of this kernel's memory map
 *
 * Context: initcall.
 * Return: 0, or a negative errno.
 */
int __init kho_fdt_init(phys_addr_t map)
{
	void *fdt = kho_alloc_preserve(PAGE_SIZE);
	int ret;

	if (IS_ERR(fdt))
		return PTR_ERR(fdt);

	guard(mutex)(&subtree_lock);
	fdt_out = fdt;
	fdt_map = map;
	ret = update_fdt();
	if (ret) {
		fdt_out = NULL;
		kho_unpreserve_free(fdt);
	}

	return ret;
}

/**
 * kho_fdt_out - the root FDT for the next kernel
 *
 * Return: one page, or NULL when there is none.
 */
void *kho_fdt_out(void)
{
	return fdt_out;
}

/**
 * kho_fdt_phys - where the next kernel finds the root FDT
 *
 * Return: physical address.
 */
phys_addr_t kho_fdt_phys(void)
{
	return virt_to_phys(fdt_out);
}
