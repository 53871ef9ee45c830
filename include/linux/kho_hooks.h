/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Call-outs of Kexec HandOver from early boot, memblock, the page allocator and
 * kexec. Each does nothing when KHO is not configured or not in use.
 */
#ifndef _LINUX_KHO_HOOKS_H
#define _LINUX_KHO_HOOKS_H

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/types.h>

struct boot_params;
struct kexec_buf;
struct kimage;
struct resource;

#ifdef CONFIG_KEXEC_HANDOVER

/* Provided by the architecture. */
bool arch_kho_is_ram(phys_addr_t phys, u64 size);
int arch_kho_find_record(const void *kernel, size_t size, const void **record,
			 size_t *record_size);

/* setup_arch() */
void kho_populate(phys_addr_t fdt_phys, u64 fdt_len, phys_addr_t scratch_phys, u64 scratch_len);
void kho_take_over_map(void);

/* memblock */
bool kho_memblock_restricted(void);
phys_addr_t kho_memblock_find(phys_addr_t size, phys_addr_t align, phys_addr_t start,
			      phys_addr_t end, int nid, int flags);
bool kho_range_is_held(phys_addr_t base, phys_addr_t size);
phys_addr_t kho_reserve_mem_alloc(const char *name, phys_addr_t size, phys_addr_t align);
void kho_memory_init(void);
unsigned long kho_memblock_freed(void);

/* freeing memory to the buddy allocator at boot */
bool kho_free_boot_pages(unsigned long pfn, unsigned long nr_pages);

/* kexec */
bool kho_image_carries(struct kimage *image);
void kho_fill_boot_data(u64 *fdt_phys, u64 *fdt_size, u64 *scratch_phys, u64 *scratch_size);
int kho_locate_mem_hole(struct kexec_buf *kbuf, int (*func)(struct resource *, void *));
bool kho_image_needs_no_digest(struct kimage *image);
int kho_check_image(struct kimage *image);
void kho_image_free(struct kimage *image);

#else /* CONFIG_KEXEC_HANDOVER */

static inline void kho_take_over_map(void)
{
}

static inline bool kho_memblock_restricted(void)
{
	return false;
}

static inline phys_addr_t kho_memblock_find(phys_addr_t size, phys_addr_t align, phys_addr_t start,
					    phys_addr_t end, int nid, int flags)
{
	return 0;
}

static inline bool kho_range_is_held(phys_addr_t base, phys_addr_t size)
{
	return false;
}

static inline phys_addr_t kho_reserve_mem_alloc(const char *name, phys_addr_t size,
						phys_addr_t align)
{
	return 0;
}

static inline void kho_memory_init(void)
{
}

static inline unsigned long kho_memblock_freed(void)
{
	return 0;
}

static inline bool kho_free_boot_pages(unsigned long pfn, unsigned long nr_pages)
{
	return false;
}

static inline int kho_locate_mem_hole(struct kexec_buf *kbuf,
				      int (*func)(struct resource *, void *))
{
	return 1;
}

static inline bool kho_image_needs_no_digest(struct kimage *image)
{
	return false;
}

static inline int kho_check_image(struct kimage *image)
{
	return 0;
}

static inline void kho_image_free(struct kimage *image)
{
}

#endif /* CONFIG_KEXEC_HANDOVER */

#endif /* _LINUX_KHO_HOOKS_H */
