// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: time stamps of the decompressor.
 *
 * The previous kernel left a page for them, which its root FDT leads to. Both are
 * input from another kernel: an address is followed only into memory by the E820 map,
 * and written to only where the page says what it is.
 */

#include "kho.h"

#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/luo_phases.h>

#include <asm/e820/types.h>
#include <asm/msr.h>

#include "../string.h"

#define FDT_MAGIC	0xd00dfeed
#define FDT_BEGIN_NODE	1
#define FDT_END_NODE	2
#define FDT_PROP	3
#define FDT_NOP		4

/* The words of the header of a flattened device tree that are of use here. */
#define HEADER_MAGIC		0
#define HEADER_STRUCT		2
#define HEADER_STRINGS		3
#define HEADER_STRINGS_SIZE	8
#define HEADER_STRUCT_SIZE	9
#define HEADER_WORDS		10

static bool is_ram(u64 addr)
{
	if (!addr || addr % PAGE_SIZE)
		return false;
	for (unsigned int i = 0; i < boot_params_ptr->e820_entries; i++) {
		const struct boot_e820_entry *entry = &boot_params_ptr->e820_table[i];

		if (entry->type == E820_TYPE_RAM && addr >= entry->addr &&
		    entry->size >= PAGE_SIZE && addr - entry->addr <= entry->size - PAGE_SIZE)
			return true;
	}
	return false;
}

/* Whether the string of the tree at @at, which ends before @end, is @name. */
static bool is_name(const char *at, const char *end, const char *name)
{
	size_t len = strlen(name) + 1;

	return at < end && end - at >= len && !memcmp(at, name, len);
}

/* Address of the data of the sub-tree for phases in a tree of one page, or 0. */
static u64 find_subtree(const __be32 *fdt)
{
	const char *end = (const char *)fdt + PAGE_SIZE;
	const char *strings, *strings_end;
	unsigned int depth = 0, words;
	const __be32 *p, *last;
	bool ours = false;
	u64 addr;

	u32 struct_off = be32_to_cpu(fdt[HEADER_STRUCT]);
	u32 struct_len = be32_to_cpu(fdt[HEADER_STRUCT_SIZE]);
	u32 strings_off = be32_to_cpu(fdt[HEADER_STRINGS]);
	u32 strings_len = be32_to_cpu(fdt[HEADER_STRINGS_SIZE]);

	if (be32_to_cpu(fdt[HEADER_MAGIC]) != FDT_MAGIC || struct_off % 4 || struct_len % 4 ||
	    struct_off > PAGE_SIZE || struct_len > PAGE_SIZE - struct_off ||
	    strings_off > PAGE_SIZE || strings_len > PAGE_SIZE - strings_off)
		return 0;

	strings = (const char *)fdt + strings_off;
	strings_end = strings + strings_len;
	p = fdt + struct_off / 4;
	last = p + struct_len / 4;

	while (p < last) {
		switch (be32_to_cpu(*p++)) {
		case FDT_BEGIN_NODE:
			ours = ++depth == 2 && is_name((const char *)p, end, LUO_PHASES_SUBTREE);
			p += strnlen((const char *)p, (last - p) * 4) / 4 + 1;
			break;
		case FDT_END_NODE:
			depth--;
			ours = false;
			break;
		case FDT_PROP:
			if (last - p < 2)
				return 0;
			words = DIV_ROUND_UP(be32_to_cpu(p[0]), 4);
			if (last - p - 2 < words)
				return 0;
			if (ours && be32_to_cpu(p[0]) == sizeof(addr) &&
			    is_name(strings + min(be32_to_cpu(p[1]), strings_len), strings_end,
				    KHO_PROP_SUBTREE_DATA)) {
				memcpy(&addr, p + 2, sizeof(addr));
				return addr;
			}
			p += 2 + words;
			break;
		case FDT_NOP:
			break;
		default:
			return 0;
		}
	}
	return 0;
}

/**
 * kho_phase - note that a phase of a live update begins
 * @phase: %LUO_PHASE_DECOMPRESS or %LUO_PHASE_KERNEL
 *
 * Context: the page fault handler that maps memory is in place.
 */
void kho_phase(enum luo_phase phase)
{
	const struct kho_data *kho = kho_find_data();
	struct luo_phases_ser *ser;
	u64 addr;

	if (!kho || !is_ram(kho->fdt_addr))
		return;
	addr = find_subtree((const __be32 *)(unsigned long)kho->fdt_addr);
	if (!is_ram(addr))
		return;
	ser = (struct luo_phases_ser *)(unsigned long)addr;
	if (memcmp(ser->compatible, LUO_PHASES_COMPATIBLE, sizeof(LUO_PHASES_COMPATIBLE)))
		return;
	ser->stamps[phase].cycles = rdtsc();
}
