// SPDX-License-Identifier: GPL-2.0
/*
 * Pages held back: preserved by the previous kernel, not yet restored by this.
 */

/**
 * DOC: held-back pages
 *
 * What the previous kernel preserved must not be touched before its owner
 * restores it: not by memblock, and not by the buddy allocator. The number of
 * preserved pages is large and their order can be any, so nothing is kept per
 * page or per run of pages but one bit.
 *
 * Memory is divided into at most %HOLD_GRANULES granules of equal size. A granule
 * is *busy* if a page in it is held back. Busy granules have a bitmap with a bit
 * for each of their pages; the others have nothing, and memblock may use them at
 * once.
 *
 *  1. Until the map is taken over, memblock allocates only in scratch and in the
 *     first MiB, where no page is ever preserved.
 *  2. From then to the end of memblock it prefers granules that are not busy,
 *     and goes to scratch when they do not suffice (kho_memblock_find()).
 *  3. When memblock's free memory goes to the buddy allocator, the pages held
 *     back are left out (kho_free_boot_pages()). Their struct pages are
 *     initialised like those of all others and stay as they are: reference count
 *     one, no owner, not counted as managed.
 *  4. kho_hold_claim() takes pages out of the bitmap, once each, when they are
 *     restored. So a page can never be given out twice, whatever the previous
 *     kernel wrote.
 *
 * Steps 1 to 3 run before there is a second thread, but for the deferred
 * initialisation of struct pages, which only reads. Later the
 * bitmaps are protected by @hold_lock.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/bitmap.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include "../../mm/internal.h"
#include "kho_internal.h"

#define HOLD_GRANULES		1024
#define HOLD_NO_BITMAP		U16_MAX

enum hold_phase {
	HOLD_UNUSED,		/* nothing was handed over: all is as without KHO */
	HOLD_SCRATCH_ONLY,	/* the map has not been read */
	HOLD_MAP,		/* bitmaps are valid */
};

static enum hold_phase hold_phase;
static bool hold_everything;
static bool avoid_scratch;
static unsigned int granule_shift;	/* in pages */
static unsigned long hold_end_pfn;
static DECLARE_BITMAP(busy, HOLD_GRANULES);
static DECLARE_BITMAP(unfit, HOLD_GRANULES);	/* busy, or reaching into scratch */
static u16 granule_map[HOLD_GRANULES];
static unsigned long *hold_bits;
static DEFINE_SPINLOCK(hold_lock);		/* protects what @hold_bits points at */

/**
 * kho_hold_granule_pages - size of a granule
 *
 * Return: number of pages, a power of two and at least a block of the buddy
 * allocator's highest order.
 */
unsigned long kho_hold_granule_pages(void)
{
	return BIT(granule_shift);
}

static unsigned int granule_of(unsigned long pfn)
{
	return pfn >> granule_shift;
}

/**
 * kho_hold_begin - restrict memblock to scratch
 * @end_pfn: 0 as long as the end of memory is not known, else the first page
 *	frame behind it, which fixes the size of the granules
 */
void __init kho_hold_begin(unsigned long end_pfn)
{
	hold_phase = HOLD_SCRATCH_ONLY;
	if (!end_pfn)
		return;

	hold_end_pfn = end_pfn;
	granule_shift = MAX_PAGE_ORDER;
	while ((end_pfn - 1) >> granule_shift >= HOLD_GRANULES)
		granule_shift++;
}

/**
 * kho_hold_none - there is nothing to hold back after all
 */
void __init kho_hold_none(void)
{
	hold_phase = HOLD_UNUSED;
}

/**
 * kho_hold_mark_granules - note that pages of these granules will be held back
 * @pfn: first page frame
 * @nr_pages: number of pages, 0 does nothing; what is behind the end of memory
 *	is ignored
 */
void __init kho_hold_mark_granules(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long end = min(pfn + nr_pages, hold_end_pfn);

	if (pfn < end)
		bitmap_set(busy, granule_of(pfn), granule_of(end - 1) - granule_of(pfn) + 1);
}

/* From here memblock may use the granules that are not busy. */
static void __init hold_open_granules(void)
{
	bitmap_copy(unfit, busy, HOLD_GRANULES);
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		unsigned long pfn = PHYS_PFN(kho_scratch_areas[i].addr);
		unsigned long last = pfn + PHYS_PFN(kho_scratch_areas[i].size) - 1;

		if (last < hold_end_pfn)
			bitmap_set(unfit, granule_of(pfn), granule_of(last) - granule_of(pfn) + 1);
	}
	hold_phase = HOLD_MAP;
}

/**
 * kho_hold_everything - leave all memory outside scratch alone
 *
 * For when nobody knows what is preserved. Scratch is all that this kernel has
 * then, so it is ordinary memory, and there can be no handover to the next one.
 */
void __init kho_hold_everything(void)
{
	pr_err("all memory outside scratch stays unused until the next kexec\n");
	hold_everything = true;
}

/**
 * kho_holds_everything - is scratch all the memory there is?
 *
 * Return: true after kho_hold_everything().
 */
bool kho_holds_everything(void)
{
	return hold_everything;
}

/**
 * kho_hold_no_room - is no granule left to allocate from?
 *
 * Return: true if every granule is busy or in scratch.
 */
bool __init kho_hold_no_room(void)
{
	return find_first_zero_bit(unfit, granule_of(hold_end_pfn - 1) + 1) >
	       granule_of(hold_end_pfn - 1);
}

/**
 * kho_hold_alloc - get the bitmaps of the busy granules
 *
 * All granules with a page to be held back must have been marked.
 *
 * Return: 0, or -ENOMEM when there is no room for the bitmaps. Then every page
 * outside scratch is held back for good: preserved memory stays untouched, and
 * is lost with the next kexec.
 */
int __init kho_hold_alloc(void)
{
	unsigned int nr = bitmap_weight(busy, HOLD_GRANULES);
	size_t size = (size_t)nr * BITS_TO_LONGS(BIT(granule_shift)) * sizeof(long);
	unsigned int g, i = 0;
	phys_addr_t phys;

	memset16(granule_map, HOLD_NO_BITMAP, HOLD_GRANULES);
	if (!nr) {
		hold_open_granules();
		return 0;
	}

	hold_open_granules();
	phys = memblock_phys_alloc_range(size, SMP_CACHE_BYTES, 0, PFN_PHYS(hold_end_pfn));
	if (!phys) {
		pr_err("no room for the bitmaps of %u busy granules (%zu bytes)\n", nr, size);
		kho_hold_everything();
		return -ENOMEM;
	}
	hold_bits = phys_to_virt(phys);
	memset(hold_bits, 0, size);
	for_each_set_bit(g, busy, HOLD_GRANULES)
		granule_map[g] = i++;

	return 0;
}

/* The word with the bit of @pfn, or NULL if its granule is not busy. */
static unsigned long *hold_word(unsigned long pfn)
{
	unsigned int slot;

	if (pfn >= hold_end_pfn || !hold_bits)
		return NULL;
	slot = granule_map[granule_of(pfn)];
	if (slot == HOLD_NO_BITMAP)
		return NULL;

	return hold_bits + ((size_t)slot << (granule_shift - ilog2(BITS_PER_LONG))) +
	       ((pfn & (BIT(granule_shift) - 1)) >> ilog2(BITS_PER_LONG));
}

/**
 * kho_hold_word - hold back some of 64 pages
 * @pfn: first page frame, a multiple of 64
 * @word: bit for each page; on return without those that were held already
 *
 * Return: true if all pages could be held back as asked.
 */
bool __init kho_hold_word(unsigned long pfn, unsigned long *word)
{
	unsigned long *have = hold_word(pfn);
	unsigned long fresh;

	if (!have) {
		*word = 0;
		return false;
	}
	fresh = *word & ~*have;
	*have |= fresh;
	swap(*word, fresh);

	return *word == fresh;
}

typedef unsigned long (*piece_op)(unsigned long *bits, unsigned int start, unsigned int nr);

/*
 * Call @op for the part in each granule of the pages from @pfn on. Adds up what
 * it returns. Pages of granules that are not busy are passed by.
 */
static unsigned long sum_pieces(unsigned long pfn, unsigned long nr_pages, piece_op op)
{
	unsigned long end = min(pfn + nr_pages, hold_end_pfn);
	unsigned long sum = 0;

	while (pfn < end) {
		unsigned long next = min(ALIGN(pfn + 1, BIT(granule_shift)), end);
		unsigned long base = ALIGN_DOWN(pfn, BIT(granule_shift));
		unsigned long *bits = hold_word(base);

		if (bits)
			sum += op(bits, pfn - base, next - pfn);
		pfn = next;
	}

	return sum;
}

static unsigned long piece_weight(unsigned long *bits, unsigned int start, unsigned int nr)
{
	unsigned long weight = 0;
	unsigned int end = start + nr;

	/* Aligned pieces, the usual case, are counted word by word. */
	while (start < end) {
		unsigned int off = start % BITS_PER_LONG;
		unsigned int len = min(end - start, BITS_PER_LONG - off);

		weight += hweight_long(bits[start / BITS_PER_LONG] &
				       (GENMASK(len - 1, 0) << off));
		start += len;
	}

	return weight;
}

static unsigned long piece_set(unsigned long *bits, unsigned int start, unsigned int nr)
{
	unsigned long had = piece_weight(bits, start, nr);

	bitmap_set(bits, start, nr);
	return nr - had;
}

static unsigned long piece_clear(unsigned long *bits, unsigned int start, unsigned int nr)
{
	unsigned long had = piece_weight(bits, start, nr);

	bitmap_clear(bits, start, nr);
	return had;
}

static unsigned long hold_weight(unsigned long pfn, unsigned long nr_pages)
{
	return sum_pieces(pfn, nr_pages, piece_weight);
}

/* Return: how many of the pages were not held back before. */
unsigned long __init kho_hold_set(unsigned long pfn, unsigned long nr_pages)
{
	return sum_pieces(pfn, nr_pages, piece_set);
}

/* Return: how many of the pages were held back before. */
unsigned long __init kho_hold_clear(unsigned long pfn, unsigned long nr_pages)
{
	return sum_pieces(pfn, nr_pages, piece_clear);
}

/**
 * kho_hold_test - are all these pages held back?
 * @pfn: first page frame
 * @nr_pages: number of pages, not 0
 *
 * Context: any.
 * Return: true if all of them are.
 */
bool kho_hold_test(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long flags, weight;

	spin_lock_irqsave(&hold_lock, flags);
	weight = hold_weight(pfn, nr_pages);
	spin_unlock_irqrestore(&hold_lock, flags);

	return weight == nr_pages;
}

/**
 * kho_hold_claim - take pages for their owner, all or none
 * @pfn: first page frame
 * @nr_pages: number of pages, not 0
 *
 * Context: any.
 * Return: true if every page was held back and now belongs to the caller.
 */
bool kho_hold_claim(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long flags, *word;
	bool all;

	spin_lock_irqsave(&hold_lock, flags);
	if (nr_pages == 1) {
		word = hold_word(pfn);
		all = word && __test_and_clear_bit(pfn % BITS_PER_LONG, word);
	} else {
		all = hold_weight(pfn, nr_pages) == nr_pages;
		if (all)
			sum_pieces(pfn, nr_pages, piece_clear);
	}
	spin_unlock_irqrestore(&hold_lock, flags);

	return all;
}

/**
 * kho_hold_unclaim - give claimed pages back, untouched
 * @pfn: first page frame
 * @nr_pages: number of pages
 *
 * Context: any.
 */
void kho_hold_unclaim(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long flags;

	spin_lock_irqsave(&hold_lock, flags);
	sum_pieces(pfn, nr_pages, piece_set);
	spin_unlock_irqrestore(&hold_lock, flags);
}

/**
 * kho_range_is_held - does a range reach into memory that must not be given out?
 * @base: physical address of the first byte
 * @size: number of bytes
 *
 * Called where memory at a fixed place is asked for.
 *
 * Context: boot, before the end of memblock.
 * Return: true if a page of the range is held back.
 */
bool __init_memblock kho_range_is_held(phys_addr_t base, phys_addr_t size)
{
	unsigned long pfn = PHYS_PFN(base);

	if (hold_phase != HOLD_MAP || !size)
		return false;
	if (hold_everything)
		return !kho_scratch_covers(base, size);

	return hold_weight(pfn, PHYS_PFN(base + size - 1) - pfn + 1);
}

/* memblock: where to allocate. */

/**
 * kho_memblock_restricted - must memblock ask kho_memblock_find() for room?
 *
 * Return: true if the previous kernel handed memory over.
 */
bool __init_memblock kho_memblock_restricted(void)
{
	return hold_phase != HOLD_UNUSED;
}

static phys_addr_t __init_memblock fit(phys_addr_t start, phys_addr_t end, phys_addr_t size,
				       phys_addr_t align)
{
	phys_addr_t cand;

	if (start >= end || end - start < size)
		return 0;
	if (memblock_bottom_up()) {
		cand = round_up(start, align);
		return cand < end && end - cand >= size ? cand : 0;
	}
	cand = round_down(end - size, align);

	return cand >= start ? cand : 0;
}

/* The next run of granules fit for use among @first to @last, in memblock's direction. */
static bool __init_memblock next_fit_run(unsigned int *first, unsigned int *last)
{
	unsigned int from, to;

	if (memblock_bottom_up()) {
		from = find_next_zero_bit(unfit, *last + 1, *first);
		if (from > *last)
			return false;
		to = find_next_bit(unfit, *last + 1, from) - 1;
	} else {
		for (to = *last; test_bit(to, unfit); to--)
			if (to == *first)
				return false;
		for (from = to; from > *first && !test_bit(from - 1, unfit); from--)
			;
	}
	*first = from;
	*last = to;

	return true;
}

/* Room in [@start, @end) in granules that are neither busy nor in scratch. */
static phys_addr_t __init_memblock fit_granules(phys_addr_t start, phys_addr_t end,
						phys_addr_t size, phys_addr_t align)
{
	unsigned int shift = granule_shift + PAGE_SHIFT;

	end = min(end, PFN_PHYS(hold_end_pfn));
	while (start < end && end - start >= size) {
		unsigned int first = start >> shift;
		unsigned int last = (end - 1) >> shift;
		phys_addr_t from, to, found;

		if (!next_fit_run(&first, &last))
			return 0;
		from = max(start, (phys_addr_t)first << shift);
		to = min(end, (phys_addr_t)(last + 1) << shift);
		found = fit(from, to, size, align);
		if (found)
			return found;
		if (memblock_bottom_up())
			start = to;
		else
			end = from;
	}

	return 0;
}

static phys_addr_t __init_memblock fit_scratch(phys_addr_t start, phys_addr_t end,
					       phys_addr_t size, phys_addr_t align)
{
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		struct kho_scratch *area = &kho_scratch_areas[i];
		phys_addr_t found = fit(max(start, area->addr), min(end, area->addr + area->size),
					size, align);

		if (found)
			return found;
	}

	/* Nothing in the first MiB is ever preserved; the trampoline goes there. */
	return fit(start, min_t(phys_addr_t, end, SZ_1M), size, align);
}

/**
 * kho_memblock_find - find room where no page is held back
 * @size: bytes wanted
 * @align: alignment of the first byte, a power of two
 * @start: lowest address
 * @end: address behind the last byte
 * @nid: node, or %NUMA_NO_NODE
 * @flags: &enum memblock_flags of the memory to choose from
 *
 * Stands in for memblock's own search when kho_memblock_restricted(). Scratch is
 * the last resort once the map is known, since what is allocated there is lost
 * to later kernels; gigantic pages never come from it.
 *
 * Return: physical address, or 0 if there is no room.
 */
phys_addr_t __init_memblock kho_memblock_find(phys_addr_t size, phys_addr_t align,
					      phys_addr_t start, phys_addr_t end,
					      int nid, int flags)
{
	phys_addr_t from, to, found;
	u64 i;

	if (hold_phase == HOLD_MAP && !hold_everything) {
		if (memblock_bottom_up()) {
			for_each_free_mem_range(i, nid, flags, &from, &to, NULL) {
				found = fit_granules(max(from, start), min(to, end), size, align);
				if (found)
					return found;
			}
		} else {
			for_each_free_mem_range_reverse(i, nid, flags, &from, &to, NULL) {
				found = fit_granules(max(from, start), min(to, end), size, align);
				if (found)
					return found;
			}
		}
		if (avoid_scratch || size >= PUD_SIZE)
			return 0;
	}

	for_each_free_mem_range_reverse(i, nid, flags, &from, &to, NULL) {
		found = fit_scratch(max(from, start), min(to, end), size, align);
		if (found)
			return found;
	}

	return 0;
}

/**
 * kho_memblock_avoid_scratch - what is allocated now will be preserved
 * @avoid: true from here on, false afterwards
 *
 * Context: boot, in the time of memblock.
 */
void __init kho_memblock_avoid_scratch(bool avoid)
{
	avoid_scratch = avoid;
}

/* The buddy allocator: what to leave out. */

static void __init free_run(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		unsigned int order = pfn ? min_t(unsigned int, MAX_PAGE_ORDER, __ffs(pfn)) :
					   MAX_PAGE_ORDER;

		while (pfn + BIT(order) > end)
			order--;
		__free_pages_core(pfn_to_page(pfn), order, MEMINIT_EARLY);
		pfn += BIT(order);
	}
}

/* Free the pages of one granule, which are on one side of a scratch boundary. */
static void __init free_piece(unsigned long pfn, unsigned long end)
{
	unsigned long base = ALIGN_DOWN(pfn, BIT(granule_shift));
	unsigned long *bits = hold_word(base);
	bool scratch = kho_scratch_covers(PFN_PHYS(pfn), PFN_PHYS(end - pfn));

	for (unsigned long p = pfn; p < end; p = pageblock_end_pfn(p))
		set_pageblock_migratetype(pfn_to_page(p), scratch && !hold_everything ?
					  MIGRATE_CMA : MIGRATE_MOVABLE);

	if (!scratch && hold_everything)
		return;
	if (!bits) {
		free_run(pfn, end);
		return;
	}
	while (pfn < end) {
		unsigned long from = base + find_next_zero_bit(bits, end - base, pfn - base);
		unsigned long to;

		if (from >= end)
			break;
		to = base + find_next_bit(bits, end - base, from - base);
		free_run(from, to);
		pfn = to;
	}
}

/* First page frame behind @pfn, at most @end, where scratch begins or ends. */
static unsigned long __init scratch_boundary(unsigned long pfn, unsigned long end)
{
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		unsigned long from = PHYS_PFN(kho_scratch_areas[i].addr);
		unsigned long to = from + PHYS_PFN(kho_scratch_areas[i].size);

		if (from > pfn && from < end)
			end = from;
		if (to > pfn && to < end)
			end = to;
	}

	return end;
}

static bool __init plain_range(unsigned long pfn, unsigned long end)
{
	if (hold_phase != HOLD_MAP)
		return true;
	if (hold_everything)
		return false;
	for (; pfn < end; pfn = ALIGN(pfn + 1, BIT(granule_shift)))
		if (pfn < hold_end_pfn && test_bit(granule_of(pfn), unfit))
			return false;

	return true;
}

/**
 * kho_free_boot_pages - free boot memory except what is held back
 * @pfn: first page frame; struct pages are initialised
 * @nr_pages: number of pages
 *
 * Page blocks in scratch become MIGRATE_CMA, as they were in the kernel that set
 * scratch aside, so that only movable pages get there.
 *
 * Context: boot, also from the threads of deferred initialisation.
 * Return: false if there is nothing special about the range and the caller is to
 * free it as ever, true if that is done.
 */
bool __init kho_free_boot_pages(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long end = pfn + nr_pages;

	if (plain_range(pfn, end))
		return false;

	accept_memory(PFN_PHYS(pfn), nr_pages << PAGE_SHIFT);
	while (pfn < end) {
		unsigned long to = min(end, ALIGN(pfn + 1, BIT(granule_shift)));

		to = scratch_boundary(pfn, to);
		free_piece(pfn, to);
		pfn = to;
	}

	return true;
}

/**
 * kho_memblock_freed - account for what kho_free_boot_pages() left out
 *
 * Called when memblock has given all its free memory away, or, where struct pages
 * are initialised later, has counted it.
 *
 * Return: number of pages that memblock counted but that are held back.
 */
unsigned long __init kho_memblock_freed(void)
{
	unsigned long held = 0;
	phys_addr_t from, to;
	u64 i;

	if (hold_phase != HOLD_MAP)
		return 0;

	for_each_free_mem_range(i, NUMA_NO_NODE, MEMBLOCK_NONE, &from, &to, NULL) {
		unsigned long pfn = PFN_UP(from);
		unsigned long end = PFN_DOWN(to);

		if (pfn >= end)
			continue;
		if (hold_everything) {
			for (; pfn < end; pfn = scratch_boundary(pfn, end))
				if (!kho_scratch_covers(PFN_PHYS(pfn), PAGE_SIZE))
					held += scratch_boundary(pfn, end) - pfn;
		} else {
			held += hold_weight(pfn, end - pfn);
		}
	}
	if (!hold_everything)
		kho_scratch_set_pageblocks();

	return held;
}
