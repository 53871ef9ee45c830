// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: the array of folio records, written and read.
 */

/**
 * DOC: memfd_luo records
 *
 * The next kernel finds the folios of a memfd in an array that looks to it like
 * a preserved vmalloc area. Here it is a list of pages that grows at its end, one
 * page at a time, under a chain of chunks (see &struct kho_vmalloc) that is valid
 * at any moment: a page is entered when it is complete, a record is counted when
 * it is written. A CPU that the kexec stops half-way through leaves an array that
 * is one record short, not a damaged one; only the two stores that enter a page
 * belong together, and are made with interrupts off.
 *
 * Both directions read the array by the direct map. Whatever the previous kernel
 * left is checked with kho_incoming_range() before it is looked at.
 *
 * Locks: none here. The writer is protected by its owner, see memfd_luo.c.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched.h>

#include "memfd_luo.h"

static void *alloc_preserved_page(gfp_t flags)
{
	void *page = (void *)__get_free_page(GFP_KERNEL_ACCOUNT | flags);

	if (page && kho_preserve_pages(virt_to_page(page), 1)) {
		free_page((unsigned long)page);
		page = NULL;
	}
	return page;
}

static void free_preserved_page(void *page)
{
	kho_unpreserve_pages(virt_to_page(page), 1);
	free_page((unsigned long)page);
}

/**
 * memfd_luo_writer_open - begin the record of a memfd
 * @w: the writer
 * @size: of the record in bytes, which begins with a &struct memfd_luo_ser
 *
 * Return: 0 or a negative errno.
 */
int memfd_luo_writer_open(struct memfd_luo_writer *w, size_t size)
{
	struct memfd_luo_ser *ser = kho_alloc_preserve(size);

	if (IS_ERR(ser))
		return PTR_ERR(ser);

	memset(ser, 0, size);
	*w = (struct memfd_luo_writer) { .ser = ser };
	return 0;
}

static int add_page(struct memfd_luo_writer *w)
{
	struct kho_vmalloc *area = &w->ser->folios;
	struct kho_vmalloc_chunk *chunk = NULL;
	struct memfd_luo_folio_ser *records;
	unsigned long flags;

	if (area->total_pages == U32_MAX)
		return -EFBIG;

	records = alloc_preserved_page(0);
	if (!records)
		return -ENOMEM;

	if (!w->chunk || w->slots == KHO_VMALLOC_CHUNK_SLOTS) {
		chunk = alloc_preserved_page(__GFP_ZERO);
		if (!chunk) {
			free_preserved_page(records);
			return -ENOMEM;
		}
		chunk->phys[0] = virt_to_phys(records);
	}

	local_irq_save(flags);
	if (!chunk)
		w->chunk->phys[w->slots] = virt_to_phys(records);
	else if (w->chunk)
		w->chunk->next = virt_to_phys(chunk);
	else
		area->first = virt_to_phys(chunk);
	area->flags = KHO_VMALLOC_ALLOC;
	area->total_pages++;
	local_irq_restore(flags);

	if (chunk) {
		w->chunk = chunk;
		w->slots = 0;
	}
	w->slots++;
	w->records = records;
	return 0;
}

/**
 * memfd_luo_writer_room - where the next records go
 * @w: the writer
 * @room: set to the number of records that there is room for, at least 1
 *
 * May be called any number of times before memfd_luo_writer_commit().
 *
 * Context: may sleep.
 * Return: the first record, to be filled, or NULL if there is no memory.
 */
struct memfd_luo_folio_ser *memfd_luo_writer_room(struct memfd_luo_writer *w,
						  unsigned int *room)
{
	u64 nr = w->ser->nr_folios;
	unsigned int used = nr % MEMFD_LUO_RECORDS_PER_PAGE;

	if (nr == (u64)w->ser->folios.total_pages * MEMFD_LUO_RECORDS_PER_PAGE && add_page(w))
		return NULL;

	*room = MEMFD_LUO_RECORDS_PER_PAGE - used;
	return &w->records[used];
}

/**
 * memfd_luo_writer_commit - count records that memfd_luo_writer_room() gave
 * @w: the writer
 * @nr: how many have been filled
 */
void memfd_luo_writer_commit(struct memfd_luo_writer *w, unsigned int nr)
{
	/* The next kernel may start at any time. */
	barrier();
	w->ser->nr_folios += nr;
}

/**
 * memfd_luo_writer_close - take the record of a memfd back
 * @w: the writer
 *
 * Context: may sleep.
 */
void memfd_luo_writer_close(struct memfd_luo_writer *w)
{
	phys_addr_t pa = w->ser->folios.first;

	while (pa) {
		struct kho_vmalloc_chunk *chunk = phys_to_virt(pa);
		unsigned int i;

		for (i = 0; i < KHO_VMALLOC_CHUNK_SLOTS && chunk->phys[i]; i++)
			free_preserved_page(phys_to_virt(chunk->phys[i]));
		pa = chunk->next;
		free_preserved_page(chunk);
		cond_resched();
	}
	kho_unpreserve_free(w->ser);
	w->ser = NULL;
}

/**
 * memfd_luo_record - look a record up
 * @ser: an outgoing memfd
 * @nr: number of the record, of those that there are
 *
 * Return: the record.
 */
struct memfd_luo_folio_ser *memfd_luo_record(struct memfd_luo_ser *ser, u64 nr)
{
	u64 page = nr / MEMFD_LUO_RECORDS_PER_PAGE;
	struct kho_vmalloc_chunk *chunk = phys_to_virt(ser->folios.first);
	struct memfd_luo_folio_ser *records;

	for (; page >= KHO_VMALLOC_CHUNK_SLOTS; page -= KHO_VMALLOC_CHUNK_SLOTS)
		chunk = phys_to_virt(chunk->next);
	records = phys_to_virt(chunk->phys[page]);
	return &records[nr % MEMFD_LUO_RECORDS_PER_PAGE];
}

static void free_block(struct page *page, unsigned int order)
{
	unsigned long i;

	for (i = 0; i < 1UL << order; i++)
		__free_page(page + i);
}

/*
 * Take 2^order pages at @pa over from the previous kernel. They are ours alone
 * then: who asks for the same pages again, as a bad record may, does not get them.
 */
static void *take_block(phys_addr_t pa, unsigned int order)
{
	struct page *page = NULL;

	if (PAGE_ALIGNED(pa))
		page = kho_restore_pages(pa, 1UL << order);
	return page ? page_address(page) : NULL;
}

static void leave_chunk(struct memfd_luo_reader *r)
{
	if (r->incoming && r->chunk)
		free_page((unsigned long)r->chunk);
	r->chunk = NULL;
	r->slot = 0;
}

static void leave_block(struct memfd_luo_reader *r)
{
	if (r->incoming && r->block)
		free_block(virt_to_page(r->block), r->order);
	r->block = NULL;
	r->room = 0;
}

static bool enter_chunk(struct memfd_luo_reader *r, phys_addr_t pa)
{
	if (!pa)
		return false;
	r->chunk = r->incoming ? take_block(pa, 0) : phys_to_virt(pa);
	if (!r->chunk)
		pr_err_ratelimited("chunk %pa of the records is not preserved\n", &pa);
	return r->chunk;
}

/**
 * memfd_luo_reader_open - begin to read an array of records
 * @r: the reader
 * @ser: the memfd
 * @incoming: whether it comes from the previous kernel. The members of @ser itself
 *	have been checked then, and the array is freed while it is read.
 */
void memfd_luo_reader_open(struct memfd_luo_reader *r, const struct memfd_luo_ser *ser,
			   bool incoming)
{
	*r = (struct memfd_luo_reader) {
		.left = ser->nr_folios,
		.order = ser->folios.order,
		.incoming = incoming,
	};
	enter_chunk(r, ser->folios.first);
}

/* Go on to the next block of records. */
static bool next_block(struct memfd_luo_reader *r)
{
	phys_addr_t pa, next;

	leave_block(r);
	if (!r->chunk)
		return false;

	if (r->slot == KHO_VMALLOC_CHUNK_SLOTS) {
		next = r->chunk->next;
		leave_chunk(r);
		if (!enter_chunk(r, next))
			return false;
	}

	pa = r->chunk->phys[r->slot++];
	if (!pa) {
		leave_chunk(r);
		return false;
	}
	r->block = r->incoming ? take_block(pa, r->order) : phys_to_virt(pa);
	if (!r->block) {
		pr_err_ratelimited("page %pa of the records is not preserved\n", &pa);
		return false;
	}
	r->room = MEMFD_LUO_RECORDS_PER_PAGE << r->order;
	return true;
}

/**
 * memfd_luo_reader_next - read a record
 * @r: the reader
 *
 * Context: may sleep.
 * Return: the record, which is valid until the next call; NULL after the last one;
 * ERR_PTR(-EINVAL) if it cannot be found, which the log tells more about.
 */
const struct memfd_luo_folio_ser *memfd_luo_reader_next(struct memfd_luo_reader *r)
{
	if (!r->left)
		return NULL;
	if (!r->room && !next_block(r)) {
		pr_err_ratelimited("%llu records are missing\n", r->left);
		return ERR_PTR(-EINVAL);
	}
	r->left--;
	r->room--;
	return &r->block[(MEMFD_LUO_RECORDS_PER_PAGE << r->order) - r->room - 1];
}

/**
 * memfd_luo_reader_close - let the array go
 * @r: the reader. If the array comes from the previous kernel, it is freed with all
 *	records that were not read.
 *
 * Context: may sleep.
 */
void memfd_luo_reader_close(struct memfd_luo_reader *r)
{
	r->left = 0;
	leave_block(r);
	if (!r->incoming)
		return;

	while (r->chunk) {
		next_block(r);
		cond_resched();
	}
}
