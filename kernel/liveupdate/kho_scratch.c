// SPDX-License-Identifier: GPL-2.0
/*
 * Scratch: the memory in which the next kernel boots.
 */

/**
 * DOC: scratch areas
 *
 * A kernel that boots with preserved memory around it needs room that is known to
 * be free of it. That is scratch: a few areas set aside once, on a cold boot, and
 * inherited by every later kernel. kexec_file_load() places all segments in them
 * and the next kernel allocates only there until it has read the memory map.
 *
 * While a kernel runs, scratch belongs to MIGRATE_CMA page blocks: movable pages
 * may use it, pages that could be preserved are never there.
 *
 * There is one area below 4 GiB, one anywhere, and one for each node with
 * memory. Their sizes are given by ``kho_scratch=<low>,<global>,<per node>`` in
 * bytes with the usual suffixes, or are ``kho_scratch=<percent>%`` of what the boot
 * used of memblock, 200 % by default. Crash kernel, CMA, shadow memory,
 * gigantic pages of hugepages= and areas of reserve_mem= do not count: the next
 * kernel takes them from memory outside scratch.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/cma.h>
#include <linux/crash_reserve.h>
#include <linux/hugetlb.h>
#include <linux/init.h>
#include <linux/initrd.h>
#include <linux/io.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/numa.h>
#include <linux/page-isolation.h>
#include <linux/pageblock-flags.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>

#include <asm/early_ioremap.h>
#include <asm/sections.h>

#include "../../mm/internal.h"
#include "kho_internal.h"

#define KHO_SCRATCH_MAX		(MAX_NUMNODES + 2)
#define KHO_SCRATCH_ALIGN	max_t(phys_addr_t, CMA_MIN_ALIGNMENT_BYTES, SZ_2M)

/* Room for a kernel with its boot parameters, whatever the percentage says. */
#define KHO_SCRATCH_MIN_GLOBAL	SZ_64M
#define KHO_SCRATCH_MIN_LOW	SZ_16M
#define KHO_SCRATCH_MIN_NODE	SZ_8M

struct kho_scratch kho_scratch_areas[KHO_SCRATCH_MAX] __ro_after_init;
unsigned int kho_scratch_nr __ro_after_init;

static bool scratch_inherited __ro_after_init;
static struct kho_scratch *scratch_array __ro_after_init;	/* copy for the next kernel */

/* kho_scratch= */
static unsigned int scratch_percent __initdata = 200;
static phys_addr_t scratch_low __initdata;
static phys_addr_t scratch_global __initdata;
static phys_addr_t scratch_node __initdata;
static phys_addr_t node_size[MAX_NUMNODES] __initdata;

static int __init parse_scratch(char *p)
{
	phys_addr_t sizes[3];
	char *end;

	if (!p)
		return -EINVAL;

	if (strchr(p, '%')) {
		unsigned long long percent = memparse(p, &end);

		if (end == p || strcmp(end, "%") || !percent || percent > 10000)
			goto bad;
		scratch_percent = percent;
		return 0;
	}

	end = p;
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *from = end;

		sizes[i] = memparse(from, &end);
		if (end == from || *end != (i < 2 ? ',' : '\0'))
			goto bad;
		end++;
	}
	if (!sizes[0] && !sizes[1])
		goto bad;
	scratch_percent = 0;
	scratch_low = sizes[0];
	scratch_global = sizes[1];
	scratch_node = sizes[2];

	return 0;
bad:
	pr_warn("kho_scratch=%s not understood, using %u%%\n", p, scratch_percent);
	return -EINVAL;
}
early_param("kho_scratch", parse_scratch);

/**
 * kho_scratch_adopt - take over the scratch areas of the previous kernel
 * @phys: address of the array of &struct kho_scratch
 * @len: its size in bytes
 *
 * Context: boot, before memblock allocates.
 * Return: 0, or -EINVAL, with a log line, when the array makes no sense.
 */
int __init kho_scratch_adopt(phys_addr_t phys, u64 len)
{
	struct kho_scratch *areas;
	unsigned int nr;

	if (!len || len % sizeof(*areas) || len > sizeof(kho_scratch_areas) ||
	    !arch_kho_is_ram(phys, len)) {
		pr_err("handover ignored: scratch array at %pa with %llu bytes\n", &phys, len);
		return -EINVAL;
	}
	nr = len / sizeof(*areas);

	areas = early_memremap(phys, len);
	if (!areas) {
		pr_err("handover ignored: cannot map the scratch array at %pa\n", &phys);
		return -EINVAL;
	}
	memcpy(kho_scratch_areas, areas, len);
	early_memunmap(areas, len);

	for (unsigned int i = 0; i < nr; i++) {
		u64 addr = kho_scratch_areas[i].addr;
		u64 size = kho_scratch_areas[i].size;
		bool bad = !size || !IS_ALIGNED(addr | size, SZ_2M) || addr < SZ_1M ||
			   addr + size < addr || !arch_kho_is_ram(addr, size);

		for (unsigned int j = 0; j < i && !bad; j++)
			bad = addr < kho_scratch_areas[j].addr + kho_scratch_areas[j].size &&
			      kho_scratch_areas[j].addr < addr + size;
		if (bad) {
			pr_err("handover ignored: scratch area %u at %#llx with %#llx bytes\n",
			       i, addr, size);
			return -EINVAL;
		}
	}

	kho_scratch_nr = nr;
	scratch_inherited = true;
	return 0;
}

/**
 * kho_scratch_forget - undo kho_scratch_adopt()
 */
void __init kho_scratch_forget(void)
{
	kho_scratch_nr = 0;
	scratch_inherited = false;
}

/**
 * kho_scratch_overlap - does a range reach into scratch?
 * @phys: physical address of the first byte
 * @size: number of bytes
 *
 * What lies in scratch does not survive a kexec, so it cannot be preserved.
 *
 * Context: any.
 * Return: true if a byte of the range is in a scratch area.
 */
bool kho_scratch_overlap(phys_addr_t phys, size_t size)
{
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		const struct kho_scratch *area = &kho_scratch_areas[i];

		if (phys < area->addr + area->size && area->addr < phys + size)
			return true;
	}

	return false;
}
EXPORT_SYMBOL_GPL(kho_scratch_overlap);

/**
 * kho_scratch_covers - does a range lie in scratch?
 * @phys: physical address of the first byte
 * @size: number of bytes
 *
 * Context: any.
 * Return: true if all of the range is in one scratch area.
 */
bool kho_scratch_covers(phys_addr_t phys, u64 size)
{
	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		const struct kho_scratch *area = &kho_scratch_areas[i];

		if (phys >= area->addr && phys + size <= area->addr + area->size)
			return true;
	}

	return false;
}

static int __init reserve_area(phys_addr_t size, phys_addr_t end, int nid, const char *what)
{
	struct kho_scratch *area = &kho_scratch_areas[kho_scratch_nr];
	phys_addr_t addr;

	if (!size)
		return 0;
	size = round_up(size, KHO_SCRATCH_ALIGN);
	addr = memblock_alloc_range_nid(size, KHO_SCRATCH_ALIGN, SZ_1M, end, nid, true);
	if (!addr) {
		pr_err("no room for %pa bytes of %s scratch\n", &size, what);
		return -ENOMEM;
	}
	area->addr = addr;
	area->size = size;
	kho_scratch_nr++;

	return 0;
}

/* Bytes of memblock's reservations in a part of memory. */
static phys_addr_t __init reserved_in(phys_addr_t end, int nid)
{
	struct memblock_region *r;
	phys_addr_t sum = 0;

	for_each_reserved_mem_region(r) {
		if (r->base >= end)
			continue;
		if (nid != NUMA_NO_NODE && early_pfn_to_nid(PHYS_PFN(r->base)) != nid)
			continue;
		sum += min(r->size, end - r->base);
	}

	return sum;
}

static phys_addr_t __init minus(phys_addr_t from, phys_addr_t what)
{
	return from > what ? from - what : 0;
}

/*
 * How much of memory the next boot will want, going by this one. @part is the
 * size of the memory whose reservations are @used.
 */
static phys_addr_t __init scaled(phys_addr_t used, phys_addr_t part, phys_addr_t at_least)
{
	/* A byte of shadow for eight of memory. */
	if (IS_ENABLED(CONFIG_KASAN_GENERIC))
		used = minus(used, part >> 3);
	used = used / 100 * scratch_percent;

	return max(used, at_least);
}

/* Reserved, but not by what the next boot has to find room for in scratch. */
static phys_addr_t __init set_aside(void)
{
	phys_addr_t sum = PFN_PHYS(totalcma_pages);

#ifdef CONFIG_CRASH_RESERVE
	if (crashk_res.end)
		sum += resource_size(&crashk_res);
	if (crashk_low_res.end)
		sum += resource_size(&crashk_low_res);
#endif

	return sum;
}

/* Gigantic pages of a node that hugepages= has taken from memblock. */
static phys_addr_t __init gigantic_pages(int nid)
{
	phys_addr_t sum = 0;

#ifdef CONFIG_HUGETLB_PAGE
	struct huge_bootmem_page *page;

	/* The lists are not initialised before pages are asked for. */
	if (!huge_boot_pages[nid].next)
		return 0;
	list_for_each_entry(page, &huge_boot_pages[nid], list)
		sum += huge_page_size(page->hstate);
#endif

	return sum;
}

/* What the boot loader placed, kexec places next time. */
static phys_addr_t __init loaded(void)
{
	phys_addr_t sum = __pa_symbol(_end) - __pa_symbol(_text);

#ifdef CONFIG_BLK_DEV_INITRD
	sum += initrd_end - initrd_start;
#endif

	return sum;
}

static phys_addr_t __init memory_of(int nid)
{
	unsigned long start, end;
	phys_addr_t sum = 0;
	int i;

	for_each_mem_pfn_range(i, nid, &start, &end, NULL)
		sum += PFN_PHYS(end - start);

	return sum;
}

static void __init size_by_use(void)
{
	int home = early_pfn_to_nid(PHYS_PFN(__pa_symbol(_text)));
	int nid;

	scratch_low = KHO_SCRATCH_MIN_LOW;
	scratch_global = scaled(loaded(), 0, KHO_SCRATCH_MIN_GLOBAL);
	for_each_node_state(nid, N_MEMORY) {
		phys_addr_t used = reserved_in(PHYS_ADDR_MAX, nid);

		used = minus(used, gigantic_pages(nid) + kho_reserve_mem_size(nid));
		if (nid == home)
			used = minus(used, loaded() + set_aside());
		node_size[nid] = scaled(used, memory_of(nid), KHO_SCRATCH_MIN_NODE);
	}
}

/**
 * kho_scratch_reserve - set scratch aside on a cold boot
 *
 * Context: boot, late in the time of memblock.
 * Return: 0, or -ENOMEM, with a log line and nothing reserved.
 */
int __init kho_scratch_reserve(void)
{
	int nid, ret;

	if (scratch_inherited)
		return 0;

	if (scratch_percent)
		size_by_use();
	else
		for_each_node_state(nid, N_MEMORY)
			node_size[nid] = scratch_node;

	ret = reserve_area(scratch_low, min_t(phys_addr_t, SZ_4G, memblock_end_of_DRAM()),
			   NUMA_NO_NODE, "low");
	if (!ret)
		ret = reserve_area(scratch_global, MEMBLOCK_ALLOC_ACCESSIBLE, NUMA_NO_NODE,
				   "global");
	for_each_node_state(nid, N_MEMORY)
		if (!ret)
			ret = reserve_area(node_size[nid], MEMBLOCK_ALLOC_ACCESSIBLE, nid, "node");
	if (!ret) {
		scratch_array = memblock_alloc(PAGE_ALIGN(kho_scratch_array_size()), PAGE_SIZE);
		if (!scratch_array)
			ret = -ENOMEM;
	}
	if (ret) {
		while (kho_scratch_nr) {
			struct kho_scratch *area = &kho_scratch_areas[--kho_scratch_nr];

			memblock_phys_free(area->addr, area->size);
		}
	}

	return ret;
}

/* The page blocks of scratch that begin in reserved memory get their type here. */
void __init kho_scratch_set_pageblocks(void)
{
	struct memblock_region *r;

	for_each_reserved_mem_region(r) {
		unsigned long pfn = PFN_DOWN(r->base);
		unsigned long end = PFN_UP(r->base + r->size);

		for (; pfn < end; pfn = pageblock_end_pfn(pfn))
			if (kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE))
				set_pageblock_migratetype(pfn_to_page(pfn), MIGRATE_CMA);
	}
}

/**
 * kho_scratch_init - let movable pages use scratch, and pass the list on
 *
 * Context: initcall.
 * Return: 0, or -ENOMEM.
 */
int __init kho_scratch_init(void)
{
	size_t size = kho_scratch_array_size();

	for (unsigned int i = 0; i < kho_scratch_nr; i++) {
		unsigned long pfn = PHYS_PFN(kho_scratch_areas[i].addr);
		unsigned long end = pfn + PHYS_PFN(kho_scratch_areas[i].size);

		totalcma_pages += end - pfn;
		for (; pfn < end; pfn += pageblock_nr_pages) {
			struct page *page = pfn_to_page(pfn);

			if (scratch_inherited)
				page_zone(page)->cma_pages += pageblock_nr_pages;
			else
				init_cma_reserved_pageblock(page);
		}
	}

	if (scratch_inherited) {
		scratch_array = kho_alloc_preserve(size);
		if (IS_ERR(scratch_array)) {
			scratch_array = NULL;
			return -ENOMEM;
		}
	} else {
		int ret = kho_preserve_pages(virt_to_page(scratch_array), PFN_UP(size));

		if (ret)
			return ret;
	}
	memcpy(scratch_array, kho_scratch_areas, size);

	return 0;
}

/**
 * kho_scratch_array_phys - where the next kernel finds the list of areas
 *
 * Return: physical address of an array of &struct kho_scratch.
 */
phys_addr_t kho_scratch_array_phys(void)
{
	return virt_to_phys(scratch_array);
}

/**
 * kho_scratch_array_size - size of the list of areas
 *
 * Return: bytes.
 */
size_t kho_scratch_array_size(void)
{
	return kho_scratch_nr * sizeof(*scratch_array);
}

/**
 * kho_scratch_show - the areas, a line each
 * @s: where to
 */
void kho_scratch_show(struct seq_file *s)
{
	for (unsigned int i = 0; i < kho_scratch_nr; i++)
		seq_printf(s, "%#llx %#llx\n", kho_scratch_areas[i].addr,
			   kho_scratch_areas[i].size);
}
