/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_KEXEC_HANDOVER_H
#define _LINUX_KEXEC_HANDOVER_H

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/types.h>
#include <linux/kho/abi/kexec_handover.h>

struct folio;
struct kexec_buf;
struct kimage;
struct page;

#ifdef CONFIG_KEXEC_HANDOVER

/* What this kernel can do and how it came up. */
bool kho_is_enabled(void);
bool is_kho_boot(void);
bool kho_scratch_overlap(phys_addr_t phys, size_t size);

/* Preserving: the state that this kernel leaves to the next one. */
int kho_preserve_folio(struct folio *folio);
void kho_unpreserve_folio(struct folio *folio);
int kho_preserve_folios(struct folio **folios, unsigned int nr);
void kho_unpreserve_folios(struct folio **folios, unsigned int nr);
int kho_preserve_pages(struct page *page, unsigned long nr_pages);
void kho_unpreserve_pages(struct page *page, unsigned long nr_pages);
int kho_preserve_vmalloc(void *ptr, struct kho_vmalloc *preservation);
void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation);
void *kho_alloc_preserve(size_t size);
void kho_unpreserve_free(void *mem);
int kho_add_subtree(const char *name, void *blob, size_t size);
void kho_remove_subtree(void *blob);

/* Restoring: the state that the previous kernel left to this one. */
struct folio *kho_restore_folio(phys_addr_t phys);
struct page *kho_restore_pages(phys_addr_t phys, unsigned long nr_pages);
void *kho_restore_vmalloc(const struct kho_vmalloc *preservation);
void kho_restore_free(void *mem);
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size);
int kho_incoming_order(phys_addr_t phys);
bool kho_incoming_range(phys_addr_t phys, size_t size);
unsigned long kho_incoming_blocks(unsigned int order);

#else /* CONFIG_KEXEC_HANDOVER */

static inline bool kho_is_enabled(void)
{
	return false;
}

static inline bool is_kho_boot(void)
{
	return false;
}

static inline bool kho_scratch_overlap(phys_addr_t phys, size_t size)
{
	return false;
}

static inline int kho_preserve_folio(struct folio *folio)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_folio(struct folio *folio)
{
}

static inline int kho_preserve_folios(struct folio **folios, unsigned int nr)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_folios(struct folio **folios, unsigned int nr)
{
}

static inline int kho_preserve_pages(struct page *page, unsigned long nr_pages)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_pages(struct page *page, unsigned long nr_pages)
{
}

static inline int kho_preserve_vmalloc(void *ptr, struct kho_vmalloc *preservation)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation)
{
}

static inline void *kho_alloc_preserve(size_t size)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void kho_unpreserve_free(void *mem)
{
}

static inline int kho_add_subtree(const char *name, void *blob, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void kho_remove_subtree(void *blob)
{
}

static inline struct folio *kho_restore_folio(phys_addr_t phys)
{
	return NULL;
}

static inline struct page *kho_restore_pages(phys_addr_t phys, unsigned long nr_pages)
{
	return NULL;
}

static inline void *kho_restore_vmalloc(const struct kho_vmalloc *preservation)
{
	return NULL;
}

static inline void kho_restore_free(void *mem)
{
}

static inline int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size)
{
	return -EOPNOTSUPP;
}

static inline int kho_incoming_order(phys_addr_t phys)
{
	return -ENOENT;
}

static inline bool kho_incoming_range(phys_addr_t phys, size_t size)
{
	return false;
}

static inline unsigned long kho_incoming_blocks(unsigned int order)
{
	return 0;
}

#endif /* CONFIG_KEXEC_HANDOVER */

#endif /* _LINUX_KEXEC_HANDOVER_H */
