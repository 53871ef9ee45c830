// SPDX-License-Identifier: GPL-2.0
/*
 * Damaging what is handed over, for tests.
 */

/**
 * DOC: damage
 *
 * What one kernel leaves for the next is input that need not be sound. Two files
 * in debugfs make it unsound, 64 bits at a time.
 *
 * ``poke`` takes a line "ADDRESS VALUE" and writes VALUE at a physical address at
 * once.
 *
 * ``poke_late`` takes lines "PATH=VALUE", "PATH^VALUE" and "PATH*PATH": to overwrite,
 * to flip bits, and to copy from another place. They are carried out in their order
 * when reboot() has written everything and the jump is near. A path is a list of
 * numbers with colons in between: the first is a physical address, each of the
 * others is added to the address that is stored where the path has led so far. So
 * structures are found through each other, as the next kernel finds them. An empty
 * line drops what was asked for. All numbers are hexadecimal.
 *
 * Locks: poke_lock protects the list of what is to be done.
 */

#define pr_fmt(fmt) "kho: " fmt

#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kexec.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kho_internal.h"

#define POKE_STEPS	12

struct poke_path {
	unsigned int nr;
	u64 step[POKE_STEPS];
};

struct poke_late {
	struct list_head list;
	char how;		/* '=', '^' or '*' */
	u64 val;
	struct poke_path path, from;
};

static DEFINE_MUTEX(poke_lock);
static LIST_HEAD(poke_list);

/* Where is that in this kernel's mapping? NULL if it is not memory to poke in. */
static u64 *poke_at(u64 phys)
{
	if (!IS_ALIGNED(phys, sizeof(u64)) || !pfn_valid(PHYS_PFN(phys)) ||
	    PageReserved(kho_phys_to_page(phys)))
		return NULL;
	return phys_to_virt(phys);
}

static ssize_t poke_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char line[64] = {};
	u64 phys, val, *at;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	if (sscanf(line, "%llx %llx", &phys, &val) != 2)
		return -EINVAL;
	at = poke_at(phys);
	if (!at)
		return -EINVAL;

	pr_notice("poke: %#llx at %#llx, was %#llx\n", val, phys, *at);
	*at = val;

	return len;
}

static const struct file_operations poke_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = poke_write,
};

static u64 *poke_follow(const struct poke_path *path)
{
	u64 phys = 0, *at;

	for (unsigned int i = 0; i < path->nr; i++) {
		phys += path->step[i];
		at = poke_at(phys);
		if (!at)
			return NULL;
		phys = *at;
	}
	return at;
}

static void poke_one(const struct poke_late *late)
{
	u64 *at = poke_follow(&late->path), *from = NULL;

	if (late->how == '*')
		from = poke_follow(&late->from);
	if (!at || (late->how == '*' && !from)) {
		pr_warn("poke: a path from %#llx leads nowhere\n", late->path.step[0]);
		return;
	}
	if (late->how == '^')
		*at ^= late->val;
	else
		*at = from ? *from : late->val;
}

static int poke_reboot(struct notifier_block *nb, unsigned long action, void *unused)
{
	struct poke_late *late;
	unsigned int nr = 0;

	/* Only on the way into another kernel everything is written. */
	if (action != SYS_RESTART)
		return NOTIFY_DONE;

	guard(mutex)(&poke_lock);
	list_for_each_entry(late, &poke_list, list) {
		poke_one(late);
		nr++;
	}
	if (nr)
		pr_notice("poke: %u late changes\n", nr);

	return NOTIFY_DONE;
}

static struct notifier_block poke_reboot_nb = {
	.notifier_call = poke_reboot,
	.priority = INT_MIN,
};

/* Return: what follows the path, or NULL if it is none. */
static char *poke_parse_path(char *text, struct poke_path *path)
{
	for (path->nr = 0; path->nr < POKE_STEPS; text++) {
		int len = 0;

		if (sscanf(text, "%llx%n", &path->step[path->nr], &len) != 1)
			return NULL;
		path->nr++;
		text += len;
		if (*text != ':')
			return text;
	}
	return NULL;
}

static int poke_parse(char *line, struct poke_late *late)
{
	char *text = poke_parse_path(line, &late->path);

	if (!text)
		return -EINVAL;
	late->how = *text++;
	switch (late->how) {
	case '*':
		text = poke_parse_path(text, &late->from);
		return text && !*text ? 0 : -EINVAL;
	case '=':
	case '^':
		return kstrtou64(text, 16, &late->val);
	default:
		return -EINVAL;
	}
}

static void poke_forget(void)
{
	struct poke_late *late, *next;

	list_for_each_entry_safe(late, next, &poke_list, list) {
		list_del(&late->list);
		kfree(late);
	}
}

static ssize_t poke_late_write(struct file *file, const char __user *buf, size_t len,
			       loff_t *pos)
{
	struct poke_late *late __free(kfree) = NULL;
	char *line __free(kfree) = NULL;
	int ret;

	if (len > PAGE_SIZE)
		return -EINVAL;
	line = memdup_user_nul(buf, len);
	if (IS_ERR(line))
		return PTR_ERR(line);

	guard(mutex)(&poke_lock);
	if (!*strim(line)) {
		poke_forget();
		return len;
	}
	late = kzalloc(sizeof(*late), GFP_KERNEL);
	if (!late)
		return -ENOMEM;
	ret = poke_parse(strim(line), late);
	if (ret)
		return ret;
	list_add_tail(&no_free_ptr(late)->list, &poke_list);

	return len;
}

static const struct file_operations poke_late_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = poke_late_write,
};

/**
 * kho_poke_init - add the files that damage data
 * @dir: the debugfs directory of what is handed over
 */
void __init kho_poke_init(struct dentry *dir)
{
	debugfs_create_file("poke", 0200, dir, NULL, &poke_fops);
	debugfs_create_file("poke_late", 0200, dir, NULL, &poke_late_fops);
	register_reboot_notifier(&poke_reboot_nb);
}
