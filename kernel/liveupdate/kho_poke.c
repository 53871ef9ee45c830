// SPDX-License-Identifier: GPL-2.0
/*
 * Damaging what is handed over, for tests.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kho_internal.h"

static ssize_t poke_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char line[64] = {};
	u64 phys, val;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	if (sscanf(line, "%llx %llx", &phys, &val) != 2)
		return -EINVAL;
	if (!IS_ALIGNED(phys, sizeof(val)) || !pfn_valid(PHYS_PFN(phys)) ||
	    PageReserved(kho_phys_to_page(phys)))
		return -EINVAL;

	pr_notice("poke: %#llx at %#llx, was %#llx\n", val, phys, *(u64 *)phys_to_virt(phys));
	*(u64 *)phys_to_virt(phys) = val;

	return len;
}

static const struct file_operations poke_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = poke_write,
};

/**
 * kho_poke_init - add the file that damages data
 * @dir: the debugfs directory of what is handed over
 */
void __init kho_poke_init(struct dentry *dir)
{
	debugfs_create_file("poke", 0200, dir, NULL, &poke_fops);
}
