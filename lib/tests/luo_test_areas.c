// SPDX-License-Identifier: GPL-2.0
/*
 * The test handler: vmalloc areas that go with a file.
 */

#include <linux/bits.h>
#include <linux/hash.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "luo_test_internal.h"

/* As many that huge pages pay, and are used where there are any. */
#define HUGE_FROM	(PMD_SIZE >> PAGE_SHIFT)

static u64 luo_test_word(u64 tag, unsigned long at)
{
	return hash_64(tag << 32 | at, 64);
}

/**
 * luo_test_area_make - a filled area
 * @tag: of the file
 * @pages: its size
 *
 * Return: the area, or NULL.
 */
void *luo_test_area_make(u64 tag, unsigned long pages)
{
	size_t size = pages * PAGE_SIZE;
	u64 *area = pages < HUGE_FROM ? vmalloc(size) : vmalloc_huge(size, GFP_KERNEL);

	for (size_t i = 0; area && i < size / sizeof(*area); i++)
		area[i] = luo_test_word(tag, i);
	return area;
}

/**
 * luo_test_area_restore - the area of a file that came in
 * @tag: of the file
 * @pages: its size
 * @preservation: what was carried
 * @areap: the area, if it is all right
 *
 * Return: 0, -ENOMEM, in which case it can be tried again, or -EBADMSG: something else
 * is in it.
 */
int luo_test_area_restore(u64 tag, unsigned long pages, const struct kho_vmalloc *preservation,
			  void **areap)
{
	u64 *area = kho_restore_vmalloc(preservation);

	if (!area)
		return -ENOMEM;
	for (size_t i = 0; i < pages * PAGE_SIZE / sizeof(*area); i++) {
		if (area[i] != luo_test_word(tag, i)) {
			vfree(area);
			return -EBADMSG;
		}
	}
	*areap = area;
	return 0;
}
