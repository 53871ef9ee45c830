// SPDX-License-Identifier: GPL-2.0
/*
 * Preserving and restoring vmalloc areas.
 */

/**
 * DOC: preserved vmalloc areas
 *
 * The address of a vmalloc area means nothing to the next kernel; its pages do.
 * They are listed, in order, in a chain of pages (&struct kho_vmalloc_chunk),
 * each entry standing for 2^order pages that are contiguous in memory.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kho_internal.h"

static struct kho_vmalloc_chunk *chunk_at(u64 phys)
{
	return phys_to_virt(phys);
}

/* Give up the pages listed so far and the chain that lists them. */
static void drop_chain(u64 phys, unsigned int order)
{
	while (phys) {
		struct kho_vmalloc_chunk *chunk = chunk_at(phys);

		for (unsigned int i = 0; i < KHO_VMALLOC_CHUNK_SLOTS && chunk->phys[i]; i++)
			kho_unpreserve_pages(kho_phys_to_page(chunk->phys[i]), BIT(order));
		phys = chunk->next;
		kho_unpreserve_free(chunk);
	}
}

/**
 * kho_preserve_vmalloc - let a vmalloc area survive the next kexec
 * @ptr: start of an area from vmalloc(), or from kho_restore_vmalloc()
 * @preservation: filled in; to be carried to the next kernel by the caller
 *
 * Context: may sleep.
 * Return: 0, -EOPNOTSUPP when KHO is off or the area is of a kind that cannot be
 * carried, -EINVAL when @ptr is no such area, or as kho_preserve_pages().
 */
int kho_preserve_vmalloc(void *ptr, struct kho_vmalloc *preservation)
{
	const unsigned long known = VM_ALLOC | VM_ALLOW_HUGE_VMAP | VM_MAP | VM_MAP_PUT_PAGES |
				    VM_UNINITIALIZED | VM_KASAN;
	struct vm_struct *vm = find_vm_area(ptr);
	struct kho_vmalloc_chunk *chunk = NULL;
	struct kho_vmalloc area = {};
	unsigned int slot = KHO_VMALLOC_CHUNK_SLOTS;
	unsigned int step;
	int ret;

	if (!kho_is_enabled())
		return -EOPNOTSUPP;
	if (!vm || vm->addr != ptr || !vm->pages)
		return -EINVAL;
	if ((vm->flags & ~known) || !(vm->flags & (VM_ALLOC | VM_MAP_PUT_PAGES)))
		return -EOPNOTSUPP;

	area.total_pages = vm->nr_pages;
	area.flags = KHO_VMALLOC_ALLOC;
	if (vm->flags & VM_ALLOW_HUGE_VMAP)
		area.flags |= KHO_VMALLOC_HUGE_VMAP;
#ifdef CONFIG_HAVE_ARCH_HUGE_VMALLOC
	area.order = vm->page_order;
#endif
	step = BIT(area.order);

	for (unsigned int i = 0; i < vm->nr_pages; i += step) {
		if (slot == KHO_VMALLOC_CHUNK_SLOTS) {
			struct kho_vmalloc_chunk *next = kho_alloc_preserve(sizeof(*next));

			if (IS_ERR(next)) {
				ret = PTR_ERR(next);
				goto undo;
			}
			if (chunk)
				chunk->next = virt_to_phys(next);
			else
				area.first = virt_to_phys(next);
			chunk = next;
			slot = 0;
		}
		ret = kho_preserve_pages(vm->pages[i], step);
		if (ret)
			goto undo;
		chunk->phys[slot++] = page_to_phys(vm->pages[i]);
	}
	*preservation = area;

	return 0;
undo:
	drop_chain(area.first, area.order);
	return ret;
}
EXPORT_SYMBOL_GPL(kho_preserve_vmalloc);
ALLOW_ERROR_INJECTION(kho_preserve_vmalloc, ERRNO);

/**
 * kho_unpreserve_vmalloc - undo kho_preserve_vmalloc()
 * @preservation: what it filled in; empty afterwards
 *
 * Context: may sleep.
 */
void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation)
{
	drop_chain(preservation->first, preservation->order);
	*preservation = (struct kho_vmalloc){};
}
EXPORT_SYMBOL_GPL(kho_unpreserve_vmalloc);

/* Next entry of a chain that need not be sound. Return: 0 when there is none. */
static u64 next_entry(u64 *chunk_phys, unsigned int *slot)
{
	struct kho_vmalloc_chunk *chunk;

	if (!kho_incoming_range(*chunk_phys, sizeof(*chunk)))
		return 0;
	chunk = chunk_at(*chunk_phys);
	if (*slot == KHO_VMALLOC_CHUNK_SLOTS) {
		*chunk_phys = chunk->next;
		*slot = 0;
		if (!kho_incoming_range(*chunk_phys, sizeof(*chunk)))
			return 0;
		chunk = chunk_at(*chunk_phys);
	}

	return chunk->phys[(*slot)++];
}

/* Free the chunks of a chain; each can be had once, so a cycle ends by itself. */
static void free_chain(u64 phys)
{
	while (phys && kho_incoming_range(phys, sizeof(struct kho_vmalloc_chunk))) {
		struct kho_vmalloc_chunk *chunk = chunk_at(phys);

		phys = chunk->next;
		kho_restore_free(chunk);
	}
}

/**
 * kho_restore_vmalloc - get a preserved vmalloc area back
 * @preservation: what kho_preserve_vmalloc() in the previous kernel filled in
 *
 * Its pages come back one by one, at another virtual address.
 *
 * Context: may sleep.
 * Return: the area, to be freed with vfree(), or NULL: when there is no memory
 * everything is as before; when the descriptor is not sound, with a log line, what
 * it stands for stays preserved.
 */
void *kho_restore_vmalloc(const struct kho_vmalloc *preservation)
{
	unsigned long total = preservation->total_pages;
	unsigned int order = preservation->order;
	u64 chunk_phys = preservation->first;
	unsigned long nr = 0;
	unsigned int slot = 0;
	struct page **pages;
	void *area;

	if (!total || order > MAX_PAGE_ORDER || total % BIT(order) || total > totalram_pages() ||
	    (preservation->flags & ~(KHO_VMALLOC_ALLOC | KHO_VMALLOC_HUGE_VMAP)))
		goto bad;

	pages = kvmalloc_array(total, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;

	while (nr < total) {
		u64 phys = next_entry(&chunk_phys, &slot);
		struct page *page = phys ? kho_restore_pages(phys, BIT(order)) : NULL;

		if (!page)
			goto undo;
		for (unsigned int i = 0; i < BIT(order); i++)
			pages[nr++] = page + i;
	}

	/* The area owns the pages and the array from here on. */
	area = vmap(pages, total, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (!area)
		goto undo_silent;
	free_chain(preservation->first);

	return area;

undo:
	pr_err("vmalloc area at %#llx: page %lu of %lu is not preserved\n", preservation->first,
	       nr, total);
undo_silent:
	while (nr) {
		nr -= BIT(order);
		kho_hold_back(page_to_phys(pages[nr]), BIT(order));
	}
	kvfree(pages);
	return NULL;
bad:
	pr_err("vmalloc area at %#llx: descriptor with %lu pages of order %u makes no sense\n",
	       preservation->first, total, order);
	return NULL;
}
EXPORT_SYMBOL_GPL(kho_restore_vmalloc);
