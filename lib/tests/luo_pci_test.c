// SPDX-License-Identifier: GPL-2.0
/*
 * A file handler that preserves PCI devices, for tests of the PCI core.
 */

/**
 * DOC: PCI live update test handler
 *
 * A file of /dev/luo_pci_test stands for the device whose name was written to it.
 * Preserving the file preserves the device in the PCI core and, if its DMA goes
 * through page tables of a user, in the IOMMU core: no driver, no interrupts. In the
 * next kernel retrieving the file claims the device, and finishing it makes the
 * device an ordinary one. There nobody takes the page tables over for a user: they
 * stay what they are until then. Discarding it fences the device.
 *
 * LUO_PCI_TEST_HOLD keeps others from the lock of the device for some time. What
 * LUO_PCI_TEST_DAMAGE asks for is done when reboot() has written everything.
 * LUO_PCI_TEST_ASK_IOMMU returns what the IOMMU core says to a caller that nobody has
 * registered, or that should have known better.
 *
 * The number that crosses the kexec is segment << 16 | requester ID.
 *
 * Locks: none. The device of a file is set once; the list of what is to be damaged grows
 * without one.
 */

#define pr_fmt(fmt) "luo_pci_test: " fmt

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/io.h>
#include <linux/iommu_liveupdate.h>
#include <linux/liveupdate.h>
#include <linux/llist.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "luo_pci_test_uapi.h"

#define LUO_PCI_TEST_HOLD_MAX	10000

static int luo_pci_test_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static ssize_t luo_pci_test_write(struct file *file, const char __user *buf, size_t len,
				  loff_t *pos)
{
	unsigned int segment, bus, dev, fn;
	struct pci_dev *pdev;
	char name[32] = "";

	if (len >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, buf, len))
		return -EFAULT;
	if (sscanf(name, "%x:%x:%x.%x", &segment, &bus, &dev, &fn) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(segment, bus, PCI_DEVFN(dev, fn));
	if (!pdev)
		return -ENODEV;
	if (cmpxchg(&file->private_data, NULL, pdev)) {
		pci_dev_put(pdev);
		return -EBUSY;
	}
	return len;
}

struct luo_pci_test_damage_entry {
	struct llist_node link;
	struct luo_pci_test_damage damage;
};

static LLIST_HEAD(luo_pci_test_damages);

static u64 *luo_pci_test_at(const u64 path[LUO_PCI_TEST_STEPS])
{
	u64 phys = 0, *at = NULL;

	for (int i = 0; i < LUO_PCI_TEST_STEPS && path[i]; i++) {
		phys += path[i];
		if (!IS_ALIGNED(phys, sizeof(u64)) || !pfn_valid(PHYS_PFN(phys)))
			return NULL;
		at = phys_to_virt(phys);
		phys = *at;
	}
	return at;
}

static int luo_pci_test_reboot(struct notifier_block *nb, unsigned long code, void *cmd)
{
	struct luo_pci_test_damage_entry *e;
	u64 *at, *from;

	llist_for_each_entry(e, luo_pci_test_damages.first, link) {
		at = luo_pci_test_at(e->damage.path);
		from = e->damage.from[0] ? luo_pci_test_at(e->damage.from) : at;
		if (!at || !from) {
			pr_warn("a path from %#llx leads nowhere\n", e->damage.path[0]);
			continue;
		}
		*at = *from ^ e->damage.flip;
	}
	return NOTIFY_DONE;
}

static struct notifier_block luo_pci_test_nb = { .notifier_call = luo_pci_test_reboot };

static int luo_pci_test_add_damage(const void __user *arg)
{
	struct luo_pci_test_damage_entry *e = kzalloc(sizeof(*e), GFP_KERNEL);

	if (!e)
		return -ENOMEM;
	if (copy_from_user(&e->damage, arg, sizeof(e->damage))) {
		kfree(e);
		return -EFAULT;
	}
	llist_add(&e->link, &luo_pci_test_damages);
	return 0;
}

static int luo_pci_test_ask_iommu(struct pci_dev *pdev)
{
	int ret;

	if (!pdev)
		return -EINVAL;
	ret = iommu_liveupdate_preserve(&pdev->dev);
	if (!ret)
		iommu_liveupdate_unpreserve(&pdev->dev);
	return ret;
}

static long luo_pci_test_ioctl(struct file *file, unsigned int cmd, unsigned long ms)
{
	struct pci_dev *pdev = file->private_data;

	if (cmd == LUO_PCI_TEST_DAMAGE)
		return luo_pci_test_add_damage((const void __user *)ms);
	if (cmd == LUO_PCI_TEST_ASK_IOMMU)
		return luo_pci_test_ask_iommu(pdev);
	if (cmd != LUO_PCI_TEST_HOLD)
		return -ENOTTY;
	if (!pdev || ms > LUO_PCI_TEST_HOLD_MAX)
		return -EINVAL;
	device_lock(&pdev->dev);
	msleep(ms);
	device_unlock(&pdev->dev);
	return 0;
}

static int luo_pci_test_release(struct inode *inode, struct file *file)
{
	pci_dev_put(file->private_data);
	return 0;
}

static const struct file_operations luo_pci_test_fops = {
	.owner = THIS_MODULE,
	.open = luo_pci_test_open,
	.write = luo_pci_test_write,
	.unlocked_ioctl = luo_pci_test_ioctl,
	.release = luo_pci_test_release,
};

static int luo_pci_test_release_claimed(struct inode *inode, struct file *file)
{
	struct pci_dev *pdev = file->private_data;

	if (pdev)
		pci_disable_device(pdev);
	pci_dev_put(pdev);
	return 0;
}

/* A file that was retrieved, with an enabled device. */
static const struct file_operations luo_pci_test_claimed_fops = {
	.owner = THIS_MODULE,
	.release = luo_pci_test_release_claimed,
};

static bool luo_pci_test_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	return file->f_op == &luo_pci_test_claimed_fops ||
	       (file->f_op == &luo_pci_test_fops && file->private_data);
}

static int luo_pci_test_preserve(struct liveupdate_file_op_args *args)
{
	struct pci_dev *pdev = args->file->private_data;
	struct iommu_domain *domain = iommu_get_domain_for_dev(&pdev->dev);
	int ret;

	args->serialized_data = (u64)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
	args->private_data = NULL;
	ret = pci_liveupdate_preserve(pdev, args->session);
	if (ret || !domain || domain->type != IOMMU_DOMAIN_UNMANAGED)
		return ret;
	ret = iommu_liveupdate_preserve(&pdev->dev);
	if (ret)
		pci_liveupdate_unpreserve(pdev);
	else
		args->private_data = pdev;
	return ret;
}

static void luo_pci_test_unpreserve(struct liveupdate_file_op_args *args)
{
	struct pci_dev *pdev = args->file->private_data;

	if (args->private_data)
		iommu_liveupdate_unpreserve(&pdev->dev);
	pci_liveupdate_unpreserve(pdev);
}

static int luo_pci_test_retrieve(struct liveupdate_file_op_args *args)
{
	struct pci_dev *pdev;
	struct file *file;
	int ret;

	pdev = pci_liveupdate_find(args->session, args->serialized_data >> 16,
				   args->serialized_data & 0xffff);
	if (!pdev)
		return -ENODEV;
	file = anon_inode_getfile("[luo_pci_test]", &luo_pci_test_claimed_fops, NULL, O_RDWR);
	if (IS_ERR(file)) {
		pci_dev_put(pdev);
		return PTR_ERR(file);
	}
	ret = pci_liveupdate_claim(pdev);
	if (ret) {
		fput(file);
		pci_dev_put(pdev);
		return ret;
	}
	file->private_data = pdev;
	args->file = file;
	return 0;
}

static void luo_pci_test_discard(struct liveupdate_file_op_args *args)
{
	struct pci_dev *pdev;

	pdev = pci_liveupdate_find(args->session, args->serialized_data >> 16,
				   args->serialized_data & 0xffff);
	if (!pdev)
		return;
	pci_liveupdate_fence(pdev);
	pci_dev_put(pdev);
}

static void luo_pci_test_finish(struct liveupdate_file_op_args *args)
{
	u32 segment = args->serialized_data >> 16;
	u16 bdf = args->serialized_data & 0xffff;
	struct pci_dev *pdev;

	pdev = pci_liveupdate_find(args->session, segment, bdf);
	if (pdev)
		iommu_liveupdate_finish(&pdev->dev);
	pci_liveupdate_finish(args->session, segment, bdf);
	pci_dev_put(pdev);
}

static unsigned long luo_pci_test_get_id(struct file *file)
{
	return (unsigned long)file->private_data;
}

static const struct liveupdate_file_ops luo_pci_test_ops = {
	.can_preserve = luo_pci_test_can_preserve,
	.preserve = luo_pci_test_preserve,
	.unpreserve = luo_pci_test_unpreserve,
	.retrieve = luo_pci_test_retrieve,
	.finish = luo_pci_test_finish,
	.discard = luo_pci_test_discard,
	.get_id = luo_pci_test_get_id,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler luo_pci_test_handler = {
	.ops = &luo_pci_test_ops,
	.compatible = LUO_PCI_TEST_COMPATIBLE,
};

static struct miscdevice luo_pci_test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "luo_pci_test",
	.fops = &luo_pci_test_fops,
	.mode = 0600,
};

static int __init luo_pci_test_init(void)
{
	int ret;

	if (!liveupdate_enabled())
		return 0;
	ret = liveupdate_register_file_handler(&luo_pci_test_handler);
	if (ret)
		return ret;
	ret = pci_liveupdate_register(&luo_pci_test_handler);
	if (ret)
		goto err_handler;
	ret = IS_ENABLED(CONFIG_IOMMU_LIVEUPDATE) ?
	      iommu_liveupdate_register(&luo_pci_test_handler) : 0;
	if (ret)
		goto err_pci;
	ret = misc_register(&luo_pci_test_misc);
	if (ret)
		goto err_iommu;
	register_reboot_notifier(&luo_pci_test_nb);
	return 0;

err_iommu:
	if (IS_ENABLED(CONFIG_IOMMU_LIVEUPDATE))
		iommu_liveupdate_unregister(&luo_pci_test_handler);
err_pci:
	pci_liveupdate_unregister(&luo_pci_test_handler);
err_handler:
	liveupdate_unregister_file_handler(&luo_pci_test_handler);
	return ret;
}
late_initcall(luo_pci_test_init);
