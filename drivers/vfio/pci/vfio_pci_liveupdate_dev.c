// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-pci devices that keep running while the kernel is replaced: the device.
 */

/**
 * DOC: vfio-pci live update: the device
 *
 * What of a device goes into its record and comes out of it, how its interrupts are
 * masked for the way, and what changes of it wait for a freeze.
 *
 * **Config space.** The hardware keeps its registers, so nothing of them is restored.
 * What only vfio-pci knows crosses: what the user sees in place of some of the
 * registers (vconfig), and the state that the device had before its first user,
 * to which it goes back when its last one closes it.
 *
 * **Interrupts.** The next kernel cannot take any before they are set up anew, and
 * where the old ones go is not carried over. So they are masked: MSI-X by its function
 * mask and MSI by its mask bits, with which the device remembers what it
 * would have signalled; MSI without mask bits and INTx by being disabled. The first
 * VFIO_DEVICE_SET_IRQS afterwards signals each eventfd once, as nobody can tell what
 * was missed.
 *
 * Locks: &vfio_pci_luo.lock. ``igate`` is taken within it, as are all locks that
 * the core of vfio-pci takes.
 */

#define pr_fmt(fmt) "vfio_pci_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
#include <linux/vfio_pci_liveupdate.h>

#include "vfio_pci_liveupdate.h"
#include "vfio_pci_priv.h"

#define VFIO_PCI_LUO_MSI_MAX	32	/* vectors that MSI can have */

static u16 vfio_pci_luo_word(struct pci_dev *pdev, u8 cap, int reg)
{
	u16 val = 0;

	if (cap)
		pci_read_config_word(pdev, cap + reg, &val);
	return val;
}

/**
 * vfio_pci_luo_save_pristine - record what a device was like before its first user
 * @vdev: the device, open
 * @ser: its record
 *
 * Context: may sleep; with the lock of the device set.
 * Return: 0, -EBUSY if the device is being reset or unbound, or -EOPNOTSUPP if there is
 * more of it than fits. Errors have a line in the log.
 */
int vfio_pci_luo_save_pristine(struct vfio_pci_core_device *vdev,
			       struct vfio_pci_liveupdate_ser *ser)
{
	struct pci_dev *pdev = vdev->pdev;
	int ret;

	if (!vdev->pci_saved_state)
		return 0;
	/* The buffers are in use during a reset, which holds this lock. */
	if (!device_trylock(&pdev->dev)) {
		pci_err(pdev, "cannot be preserved: it is being reset or unbound\n");
		return -EBUSY;
	}
	ret = pci_liveupdate_pack_state(pdev, vdev->pci_saved_state, &ser->pristine);
	device_unlock(&pdev->dev);
	if (ret) {
		pci_err(pdev, "cannot be preserved: the state to go back to: %pe\n", ERR_PTR(ret));
		return -EOPNOTSUPP;
	}
	ser->flags |= VFIO_PCI_LIVEUPDATE_PRISTINE;
	return 0;
}

/**
 * vfio_pci_luo_save - record the rest
 * @vdev: the device, open
 * @ser: its record
 *
 * Context: may sleep.
 */
void vfio_pci_luo_save(struct vfio_pci_core_device *vdev, struct vfio_pci_liveupdate_ser *ser)
{
	struct pci_dev *pdev = vdev->pdev;
	unsigned long index;
	void *ctx;

	ser->segment = pci_domain_nr(pdev->bus);
	ser->bdf = pci_dev_id(pdev);
	ser->vendor = pdev->vendor;
	ser->device = pdev->device;
	if (vdev->reset_works)
		ser->flags |= VFIO_PCI_LIVEUPDATE_RESETS;
	if (vdev->pci_2_3)
		ser->flags |= VFIO_PCI_LIVEUPDATE_PCI_2_3;
	if (vdev->nointx)
		ser->flags |= VFIO_PCI_LIVEUPDATE_NOINTX;

	pci_read_config_word(pdev, PCI_COMMAND, &ser->command);
	ser->devctl = vfio_pci_luo_word(pdev, pdev->pcie_cap, PCI_EXP_DEVCTL);
	ser->msi_ctrl = vfio_pci_luo_word(pdev, pdev->msi_cap, PCI_MSI_FLAGS);
	ser->msix_ctrl = vfio_pci_luo_word(pdev, pdev->msix_cap, PCI_MSIX_FLAGS);
	ser->pm_ctrl = vfio_pci_luo_word(pdev, pdev->pm_cap, PCI_PM_CTRL);

	scoped_guard(mutex, &vdev->igate) {
		ser->irq_index = VFIO_PCI_LIVEUPDATE_NO_IRQ;
		ser->irq_vectors = 0;
		if (vdev->irq_type <= VFIO_PCI_MSIX_IRQ_INDEX) {
			ser->irq_index = vdev->irq_type;
			xa_for_each(&vdev->ctx, index, ctx)
				ser->irq_vectors = index + 1;
		}
	}
	ser->vconfig_size = pdev->cfg_size;
	memcpy(ser->vconfig, vdev->vconfig, pdev->cfg_size);
}

/**
 * vfio_pci_luo_irqs_maskable - can the interrupts of a device be masked for the way?
 * @vdev: the device, open
 *
 * Context: may sleep.
 * Return: false if it uses INTx and cannot disable it. That is logged.
 */
bool vfio_pci_luo_irqs_maskable(struct vfio_pci_core_device *vdev)
{
	guard(mutex)(&vdev->igate);
	if (vdev->irq_type != VFIO_PCI_INTX_IRQ_INDEX || vdev->pci_2_3)
		return true;
	pci_err(vdev->pdev, "cannot be preserved: it uses INTx, and cannot mask it\n");
	return false;
}

/**
 * vfio_pci_luo_irqs_remembered - does a device remember what it could not signal?
 * @vdev: the device
 *
 * Context: any.
 * Return: true if that holds for its best kind of interrupts.
 */
bool vfio_pci_luo_irqs_remembered(struct vfio_pci_core_device *vdev)
{
	struct pci_dev *pdev = vdev->pdev;

	return pdev->msix_cap ||
	       (vfio_pci_luo_word(pdev, pdev->msi_cap, PCI_MSI_FLAGS) & PCI_MSI_FLAGS_MASKBIT);
}

static void vfio_pci_luo_mask_msi(struct pci_dev *pdev, struct vfio_pci_luo_mask *mask)
{
	u8 cap = pdev->msi_cap;

	if (!(mask->msi_ctrl & PCI_MSI_FLAGS_ENABLE))
		return;
	if (!(mask->msi_ctrl & PCI_MSI_FLAGS_MASKBIT)) {
		pci_write_config_word(pdev, cap + PCI_MSI_FLAGS,
				      mask->msi_ctrl & ~PCI_MSI_FLAGS_ENABLE);
		return;
	}
	mask->msi_pos = cap + (mask->msi_ctrl & PCI_MSI_FLAGS_64BIT ? PCI_MSI_MASK_64 :
								      PCI_MSI_MASK_32);
	pci_read_config_dword(pdev, mask->msi_pos, &mask->msi_mask);
	pci_write_config_dword(pdev, mask->msi_pos, 0xffffffff);
}

static void vfio_pci_luo_disable_virq(struct vfio_pci_core_device *vdev, bool disable)
{
	spin_lock_irq(&vdev->irqlock);
	vdev->virq_disabled = disable;
	spin_unlock_irq(&vdev->irqlock);
}

/*
 * An eventfd can unmask INTx at any time, and its handler runs for whoever shares the
 * line: both see that it is disabled and masked.
 */
static void vfio_pci_luo_mask_intx(struct vfio_pci_core_device *vdev,
				   struct vfio_pci_luo_mask *mask)
{
	mask->intx = vdev->irq_type == VFIO_PCI_INTX_IRQ_INDEX;
	if (mask->intx) {
		mask->virq_disabled = vdev->virq_disabled;
		vfio_pci_luo_disable_virq(vdev, true);
		vfio_pci_intx_mask(vdev);
	} else if (!(mask->command & PCI_COMMAND_INTX_DISABLE) &&
		   !vdev->pdev->broken_intx_masking) {
		pci_write_config_word(vdev->pdev, PCI_COMMAND,
				      mask->command | PCI_COMMAND_INTX_DISABLE);
	}
}

/* What is pending is signalled, also if its user knows already. */
static void vfio_pci_luo_unmask_intx(struct vfio_pci_core_device *vdev,
				     const struct vfio_pci_luo_mask *mask)
{
	if (!mask->intx) {
		pci_write_config_word(vdev->pdev, PCI_COMMAND, mask->command);
		return;
	}
	vfio_pci_luo_disable_virq(vdev, mask->virq_disabled);
	if (!mask->virq_disabled)
		vfio_pci_intx_unmask(vdev);
}

/* MSI without mask bits remembers nothing, so all of it may have been meant. */
static void vfio_pci_luo_signal_msi(struct vfio_pci_core_device *vdev)
{
	guard(mutex)(&vdev->igate);
	if (vdev->irq_type == VFIO_PCI_MSI_IRQ_INDEX)
		vfio_pci_set_irqs_ioctl(vdev, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
					VFIO_PCI_MSI_IRQ_INDEX, 0, VFIO_PCI_LUO_MSI_MAX, NULL);
}

/**
 * vfio_pci_luo_mask_irqs - let a device signal nothing more
 * @vdev: the device, open
 * @mask: remembers what is changed
 *
 * INTx is disabled first, so that what MSI can no longer signal does not come that way.
 *
 * Context: may sleep; with &vfio_pci_luo.lock for writing.
 */
void vfio_pci_luo_mask_irqs(struct vfio_pci_core_device *vdev, struct vfio_pci_luo_mask *mask)
{
	struct pci_dev *pdev = vdev->pdev;

	memset(mask, 0, sizeof(*mask));
	pci_read_config_word(pdev, PCI_COMMAND, &mask->command);
	mask->msi_ctrl = vfio_pci_luo_word(pdev, pdev->msi_cap, PCI_MSI_FLAGS);
	mask->msix_ctrl = vfio_pci_luo_word(pdev, pdev->msix_cap, PCI_MSIX_FLAGS);

	vfio_pci_luo_mask_intx(vdev, mask);
	if (mask->msix_ctrl & PCI_MSIX_FLAGS_ENABLE)
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      mask->msix_ctrl | PCI_MSIX_FLAGS_MASKALL);
	vfio_pci_luo_mask_msi(pdev, mask);
}

/**
 * vfio_pci_luo_unmask_irqs - undo vfio_pci_luo_mask_irqs()
 * @vdev: the device
 * @mask: what was changed
 *
 * No interrupt is lost: what the device does not remember is signalled.
 *
 * Context: may sleep; with &vfio_pci_luo.lock for writing.
 */
void vfio_pci_luo_unmask_irqs(struct vfio_pci_core_device *vdev,
			      const struct vfio_pci_luo_mask *mask)
{
	struct pci_dev *pdev = vdev->pdev;

	if (mask->msi_pos) {
		pci_write_config_dword(pdev, mask->msi_pos, mask->msi_mask);
	} else if (mask->msi_ctrl & PCI_MSI_FLAGS_ENABLE) {
		pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, mask->msi_ctrl);
		vfio_pci_luo_signal_msi(vdev);
	}
	if (mask->msix_ctrl & PCI_MSIX_FLAGS_ENABLE)
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, mask->msix_ctrl);
	vfio_pci_luo_unmask_intx(vdev, mask);
}

/**
 * vfio_pci_liveupdate_check - is a record sound?
 * @ser: the record, all of its pages
 *
 * Context: any.
 * Return: 0 or -EINVAL.
 */
int vfio_pci_liveupdate_check(const struct vfio_pci_liveupdate_ser *ser)
{
	if ((ser->flags & ~VFIO_PCI_LIVEUPDATE_FLAGS) || ser->reserved ||
	    !(ser->flags & VFIO_PCI_LIVEUPDATE_FROZEN) ||
	    (ser->vconfig_size != PCI_CFG_SPACE_SIZE &&
	     ser->vconfig_size != PCI_CFG_SPACE_EXP_SIZE))
		return -EINVAL;
	if (ser->irq_index == VFIO_PCI_LIVEUPDATE_NO_IRQ ? ser->irq_vectors != 0 :
	    ser->irq_index > VFIO_PCI_MSIX_IRQ_INDEX ||
	    ser->irq_vectors > VFIO_PCI_LIVEUPDATE_MAX_IRQS)
		return -EINVAL;
	return pci_liveupdate_state_valid(&ser->pristine) ? 0 : -EINVAL;
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_check);

/**
 * vfio_pci_luo_restore_vconfig - let the user see the config space that he saw before
 * @vdev: the device, opened as it came in
 * @ser: its record, which fits
 *
 * Context: before anybody can use the device.
 */
void vfio_pci_luo_restore_vconfig(struct vfio_pci_core_device *vdev,
				  const struct vfio_pci_liveupdate_ser *ser)
{
	memcpy(vdev->vconfig, ser->vconfig, ser->vconfig_size);
	vdev->virq_disabled = !!(get_unaligned_le16(vdev->vconfig + PCI_COMMAND) &
				 PCI_COMMAND_INTX_DISABLE);
}

/**
 * vfio_pci_liveupdate_adopting - is a device being opened as it came in?
 * @vdev: the device
 *
 * Context: with the lock of the device set.
 * Return: true while its file is retrieved, or that is undone: nothing may be
 * written to it.
 */
bool vfio_pci_liveupdate_adopting(const struct vfio_pci_core_device *vdev)
{
	return vdev->luo.adopting;
}

/**
 * vfio_pci_liveupdate_enable - in place of enabling and resetting a device
 * @vdev: the device, which is being adopted
 *
 * That the pristine state is lost for want of memory is the same as for any other
 * device: there is none to go back to.
 *
 * Context: may sleep; with the locks of the device and of the device set.
 */
void vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev)
{
	const struct vfio_pci_liveupdate_ser *ser = vdev->luo.adopting;

	vdev->reset_works = !!(ser->flags & VFIO_PCI_LIVEUPDATE_RESETS);
	vdev->pci_2_3 = !!(ser->flags & VFIO_PCI_LIVEUPDATE_PCI_2_3);
	vdev->nointx = !!(ser->flags & VFIO_PCI_LIVEUPDATE_NOINTX);
	if (ser->flags & VFIO_PCI_LIVEUPDATE_PRISTINE)
		vdev->pci_saved_state = pci_liveupdate_unpack_state(vdev->pdev, &ser->pristine);
}

/**
 * vfio_pci_liveupdate_disable - undo vfio_pci_liveupdate_enable()
 * @vdev: the device, which cannot be adopted after all, now
 *
 * Context: may sleep; with the lock of the device set.
 */
void vfio_pci_liveupdate_disable(struct vfio_pci_core_device *vdev)
{
	kfree(vdev->pci_saved_state);
	vdev->pci_saved_state = NULL;
}

/**
 * vfio_pci_liveupdate_init_dev - there is a new device
 * @vdev: the device
 *
 * Context: any.
 */
void vfio_pci_liveupdate_init_dev(struct vfio_pci_core_device *vdev)
{
	init_rwsem(&vdev->luo.lock);
}

/*
 * A message that was on its way into the previous kernel, or that could not be sent, is
 * nobody's. Whoever asks for signals from now on gets one.
 */
static void vfio_pci_luo_signal(struct vfio_pci_core_device *vdev, const struct vfio_irq_set *set)
{
	if (set->flags != (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER) ||
	    set->index > VFIO_PCI_MSIX_IRQ_INDEX || !set->count ||
	    set->count > VFIO_PCI_LIVEUPDATE_MAX_IRQS ||
	    set->start > VFIO_PCI_LIVEUPDATE_MAX_IRQS)
		return;
	guard(mutex)(&vdev->igate);
	vfio_pci_set_irqs_ioctl(vdev, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
				set->index, set->start, set->count, NULL);
	vdev->luo.irqs_seen = true;
	if (!vdev->luo.came_in)
		vdev->luo.irqs_due = false;
}

/* Interrupts could not be set up: the device goes on remembering them. */
static void vfio_pci_luo_stay_masked(struct vfio_pci_core_device *vdev)
{
	struct pci_dev *pdev = vdev->pdev;

	guard(mutex)(&vdev->igate);
	if (vdev->luo.msix && !vdev->luo.irqs_seen && !pci_dev_msi_enabled(pdev))
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      vdev->luo.msix | PCI_MSIX_FLAGS_MASKALL);
}

/**
 * vfio_pci_liveupdate_ioctl - an ioctl of a vfio-pci device
 * @core_vdev: the device
 * @cmd: number of the ioctl
 * @arg: its argument
 *
 * Context: may sleep.
 * Return: -EBUSY for what would change a frozen device, else what
 * vfio_pci_core_ioctl() returns.
 */
long vfio_pci_liveupdate_ioctl(struct vfio_device *core_vdev, unsigned int cmd, unsigned long arg)
{
	struct vfio_pci_core_device *vdev =
		container_of(core_vdev, struct vfio_pci_core_device, vdev);
	bool irqs = cmd == VFIO_DEVICE_SET_IRQS;
	struct vfio_irq_set set;
	long ret;

	guard(rwsem_read)(&vdev->luo.lock);
	if (vdev->luo.frozen &&
	    (irqs || cmd == VFIO_DEVICE_RESET || cmd == VFIO_DEVICE_PCI_HOT_RESET))
		return -EBUSY;
	ret = vfio_pci_core_ioctl(core_vdev, cmd, arg);
	if (!irqs || !vdev->luo.irqs_due)
		return ret;
	if (ret)
		vfio_pci_luo_stay_masked(vdev);
	else if (!copy_from_user(&set, (void __user *)arg, offsetofend(struct vfio_irq_set, count)))
		vfio_pci_luo_signal(vdev, &set);
	return ret;
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_ioctl);

/**
 * vfio_pci_liveupdate_feature - VFIO_DEVICE_FEATURE of a vfio-pci device
 * @device: the device
 * @flags: which one, and what of it
 * @arg: its data
 * @argsz: bytes of data
 *
 * Context: may sleep.
 * Return: -EBUSY for what would change a frozen device, else what
 * vfio_pci_core_ioctl_feature() returns.
 */
int vfio_pci_liveupdate_feature(struct vfio_device *device, u32 flags, void __user *arg,
				size_t argsz)
{
	struct vfio_pci_core_device *vdev =
		container_of(device, struct vfio_pci_core_device, vdev);

	guard(rwsem_read)(&vdev->luo.lock);
	if (vdev->luo.frozen && (flags & VFIO_DEVICE_FEATURE_SET))
		return -EBUSY;
	return vfio_pci_core_ioctl_feature(device, flags, arg, argsz);
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_feature);

/**
 * vfio_pci_liveupdate_write - a write to a region of a vfio-pci device
 * @core_vdev: the device
 * @buf: data
 * @count: bytes
 * @ppos: region and offset in it
 *
 * Context: may sleep.
 * Return: -EBUSY if the device is frozen, else what vfio_pci_core_write() returns.
 */
ssize_t vfio_pci_liveupdate_write(struct vfio_device *core_vdev, const char __user *buf,
				  size_t count, loff_t *ppos)
{
	struct vfio_pci_core_device *vdev =
		container_of(core_vdev, struct vfio_pci_core_device, vdev);

	guard(rwsem_read)(&vdev->luo.lock);
	if (vdev->luo.frozen)
		return -EBUSY;
	return vfio_pci_core_write(core_vdev, buf, count, ppos);
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_write);
