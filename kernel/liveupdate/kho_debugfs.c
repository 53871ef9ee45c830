// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/kho: what was handed over, and what will be.
 */

#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/seq_file.h>

#include "kho_internal.h"

static struct debugfs_blob_wrapper fdt_in, fdt_out;
static u64 map_out, root_out;		/* physical addresses */

static int in_preserved_show(struct seq_file *s, void *unused)
{
	kho_in_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(in_preserved);

static int out_preserved_show(struct seq_file *s, void *unused)
{
	kho_out_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(out_preserved);

static int scratch_show(struct seq_file *s, void *unused)
{
	kho_scratch_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(scratch);

static int __init kho_debugfs_init(void)
{
	struct dentry *root, *in, *out;

	if (!kho_is_enabled())
		return 0;

	root = debugfs_create_dir("kho", NULL);
	debugfs_create_file("scratch", 0400, root, NULL, &scratch_fops);

	out = debugfs_create_dir("out", root);
	fdt_out.data = kho_fdt_out();
	fdt_out.size = PAGE_SIZE;
	map_out = kho_out_root_phys();
	root_out = kho_fdt_phys();
	debugfs_create_blob("fdt", 0400, out, &fdt_out);
	debugfs_create_file("preserved", 0400, out, NULL, &out_preserved_fops);
	debugfs_create_x64("map_address", 0400, out, &map_out);
	debugfs_create_x64("fdt_address", 0400, out, &root_out);
	kho_poke_init(out);

	if (kho_in_carries_data()) {
		in = debugfs_create_dir("in", root);
		fdt_in.data = kho_in_fdt();
		fdt_in.size = fdt_in.data ? PAGE_SIZE : 0;
		debugfs_create_blob("fdt", 0400, in, &fdt_in);
		debugfs_create_file("preserved", 0400, in, NULL, &in_preserved_fops);
	}

	return 0;
}
late_initcall(kho_debugfs_init);
