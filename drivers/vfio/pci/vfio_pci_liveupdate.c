// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-pci devices that keep running while the kernel is replaced: the file handler.
 */

/**
 * DOC: vfio-pci live update
 *
 * The file of a device that was opened by its character device, bound to an iommufd
 * and attached to a page table of it can be preserved after that iommufd, in the same
 * session. The device goes on with its DMA, through the same page table, until
 * its session is finished in the next kernel, and after that.
 *
 * **Preserve.** The PCI core, iommufd and the IOMMU core are asked in this order to keep
 * the device as it is; each refuses what it cannot carry. The record,
 * include/linux/kho/abi/vfio_pci.h, says what vfio-pci itself has to know again. From
 * here on the device stays attached where it is and its bus is not reset. Its user may
 * do with it what he likes: it is recorded as it is when it is frozen.
 *
 * **Freeze.** Interrupts are masked, the record is completed, and until the kexec takes
 * place or is called off, ioctls and writes that would change the device are ``-EBUSY``.
 * What is mapped into a process cannot be held up.
 *
 * **Retrieve.** The device must have been bound to vfio-pci again; until then it can
 * be tried again (``-EAGAIN``). It is opened as it is: nothing is written to it, by
 * vfio_pci_liveupdate_enable() in place of a reset. Then iommufd adopts it, which is
 * the last step that can fail, and the PCI core is told that it is in use. The
 * file is one of a character device that is bound and attached already.
 *
 * **Finish.** vfio-pci comes first, then iommufd, then the memory. It is refused until
 * the device, its iommufd and all memory are retrieved and verified, so that no device
 * is left behind that writes to memory which is free.
 *
 * **Discard.** The device is fenced, retrieved or not. If the record cannot be read, so
 * that nobody knows which device it was, all of the session are that nobody has claimed.
 *
 * A record that names a device of another session, or one that another file has got,
 * stands for none.
 *
 * Locks, outermost first: the lock of the session (by LUO); the lock of the device, in
 * retrieve(); the lock of the device set, around what changes whether the device
 * is fixed; &vfio_pci_luo.lock, see vfio_pci_liveupdate_dev.c.
 */

#define pr_fmt(fmt) "vfio_pci_liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/io.h>
#include <linux/iommu_liveupdate.h>
#include <linux/iommufd_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/vfio_liveupdate.h>
#include <linux/vfio_pci_liveupdate.h>
#include <uapi/linux/vfio_liveupdate.h>

#include "vfio_pci_liveupdate.h"
#include "vfio_pci_priv.h"

#define VFIO_PCI_LUO_FREEZE_TRIES	100	/* at 1 to 2 ms */

/**
 * struct vfio_pci_luo_out - a device that is preserved
 * @vdev: the device
 * @ser: its record
 * @mask: what freeze() has changed
 */
struct vfio_pci_luo_out {
	struct vfio_pci_core_device *vdev;
	struct vfio_pci_liveupdate_ser *ser;
	struct vfio_pci_luo_mask mask;
};

/* Those of vfio-pci, while the handler is registered. */
static const struct pci_driver *vfio_pci_luo_driver;
static const struct vfio_device_ops *vfio_pci_luo_device_ops;

static struct vfio_pci_core_device *vfio_pci_luo_vdev(struct file *file)
{
	return container_of(vfio_liveupdate_device(file), struct vfio_pci_core_device, vdev);
}

/* Also groups and devices of other drivers, to say why they are refused. */
static bool vfio_pci_luo_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	return vfio_file_is_valid(file);
}

static unsigned long vfio_pci_luo_get_id(struct file *file)
{
	struct vfio_device *device = vfio_liveupdate_device(file);

	return device ? (unsigned long)device : (unsigned long)file;
}

/* ---- outgoing ---- */

/* Is it a file of a kind that can be preserved? */
static int vfio_pci_luo_check_file(struct file *file)
{
	struct vfio_device *device = vfio_liveupdate_device(file);

	if (!device) {
		pr_err_ratelimited("a group cannot be preserved, but devices can that are opened in /dev/vfio/devices\n");
		return -EOPNOTSUPP;
	}
	if (device->ops != vfio_pci_luo_device_ops) {
		dev_err_ratelimited(device->dev,
				    "cannot be preserved: its driver is not vfio-pci\n");
		return -EOPNOTSUPP;
	}
	if (vfio_pci_is_vga(to_pci_dev(device->dev))) {
		dev_err_ratelimited(device->dev, "cannot be preserved: it is a VGA device\n");
		return -EOPNOTSUPP;
	}
	return vfio_liveupdate_check_bound(file);
}

static int vfio_pci_luo_preserve_all(struct vfio_pci_core_device *vdev,
				     struct liveupdate_session *session,
				     struct vfio_pci_liveupdate_ser *ser)
{
	struct iommufd_device *idev = vdev->vdev.iommufd_device;
	struct pci_dev *pdev = vdev->pdev;
	u64 token;
	u32 label;
	int ret;

	ret = pci_liveupdate_preserve(pdev, session);
	if (ret)
		return ret;
	ret = iommufd_liveupdate_preserve_device(idev, session, &token, &label);
	if (ret)
		goto err_pci;
	ret = iommu_liveupdate_preserve(&pdev->dev);
	if (ret)
		goto err_iommufd;
	ser->iommufd_token = token;
	ser->hwpt_label = label;
	return 0;

err_iommufd:
	iommufd_liveupdate_unpreserve_device(idev);
err_pci:
	pci_liveupdate_unpreserve(pdev);
	return ret;
}

static int vfio_pci_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_liveupdate_ser *ser;
	struct vfio_pci_core_device *vdev;
	struct vfio_pci_luo_out *out;
	int ret;

	ret = vfio_pci_luo_check_file(args->file);
	if (ret)
		return ret;
	vdev = vfio_pci_luo_vdev(args->file);
	out = kzalloc(sizeof(*out), GFP_KERNEL_ACCOUNT);
	if (!out)
		return -ENOMEM;
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser)) {
		ret = PTR_ERR(ser);
		goto err_free;
	}
	/* It does not sleep until it is unpreserved. */
	ret = pm_runtime_resume_and_get(&vdev->pdev->dev);
	if (ret)
		goto err_ser;

	mutex_lock(&vdev->vdev.dev_set->lock);
	if (!vdev->vdev.iommufd_attached) {
		pci_err(vdev->pdev, "cannot be preserved: it is not attached to a page table\n");
		ret = -EINVAL;
	} else if (!vfio_pci_luo_irqs_maskable(vdev)) {
		ret = -EOPNOTSUPP;
	} else {
		ret = vfio_pci_luo_save_pristine(vdev, ser);
	}
	if (!ret)
		ret = vfio_pci_luo_preserve_all(vdev, args->session, ser);
	mutex_unlock(&vdev->vdev.dev_set->lock);
	if (ret)
		goto err_pm;

	out->vdev = vdev;
	out->ser = ser;
	args->private_data = out;
	args->serialized_data = virt_to_phys(ser);
	return 0;

err_pm:
	pm_runtime_put(&vdev->pdev->dev);
err_ser:
	kho_unpreserve_free(ser);
err_free:
	kfree(out);
	return ret;
}

static void vfio_pci_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_luo_out *out = args->private_data;
	struct vfio_pci_core_device *vdev = out->vdev;

	scoped_guard(mutex, &vdev->vdev.dev_set->lock) {
		iommu_liveupdate_unpreserve(&vdev->pdev->dev);
		iommufd_liveupdate_unpreserve_device(vdev->vdev.iommufd_device);
		pci_liveupdate_unpreserve(vdev->pdev);
	}
	pm_runtime_put(&vdev->pdev->dev);
	kho_unpreserve_free(out->ser);
	kfree(out);
}

static int vfio_pci_luo_freeze_locked(struct vfio_pci_core_device *vdev,
				      struct vfio_pci_luo_out *out)
{
	/* Whoever unbinds it waits with its lock held, and shutdown would wait for that. */
	if (!device_is_registered(&vdev->vdev.device)) {
		pci_err(vdev->pdev, "cannot be carried over: it is being unbound from vfio-pci\n");
		return -EBUSY;
	}
	if (!vfio_pci_luo_irqs_maskable(vdev))
		return -EBUSY;
	vfio_pci_luo_save(vdev, out->ser);
	out->ser->flags |= VFIO_PCI_LIVEUPDATE_FROZEN;
	vfio_pci_luo_mask_irqs(vdev, &out->mask);
	vdev->luo.frozen = true;
	return 0;
}

static int vfio_pci_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_luo_out *out = args->private_data;
	struct vfio_pci_core_device *vdev = out->vdev;
	int ret;

	/* Whoever has it may wait for user memory, for as long as a pager likes. */
	for (int i = 0; !down_write_trylock(&vdev->luo.lock); i++) {
		if (i == VFIO_PCI_LUO_FREEZE_TRIES) {
			pci_err(vdev->pdev, "cannot be frozen: an ioctl or a write does not end\n");
			return -EBUSY;
		}
		usleep_range(1000, 2000);
	}
	ret = vfio_pci_luo_freeze_locked(vdev, out);
	up_write(&vdev->luo.lock);
	return ret;
}

static void vfio_pci_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_luo_out *out = args->private_data;
	struct vfio_pci_core_device *vdev = out->vdev;

	guard(rwsem_write)(&vdev->luo.lock);
	vfio_pci_luo_unmask_irqs(vdev, &out->mask);
	out->ser->flags &= ~VFIO_PCI_LIVEUPDATE_FROZEN;
	vdev->luo.frozen = false;
}

static int vfio_pci_luo_stat(struct liveupdate_file_op_args *args,
			     struct liveupdate_file_stat *stat)
{
	stat->metadata = sizeof(struct vfio_pci_liveupdate_ser);
	return args->file ? vfio_pci_luo_check_file(args->file) : 0;
}

/* ---- incoming ---- */

/* The record, or NULL if there is none at that address, or it is not sound. */
static struct vfio_pci_liveupdate_ser *vfio_pci_luo_record(u64 pa)
{
	struct vfio_pci_liveupdate_ser *ser;

	if (!PAGE_ALIGNED(pa) || kho_incoming_order(pa) != get_order(sizeof(*ser))) {
		pr_err("there is no record at %#llx\n", pa);
		return NULL;
	}
	ser = phys_to_virt(pa);
	if (vfio_pci_liveupdate_check(ser)) {
		pr_err("the record at %#llx is not valid\n", pa);
		return NULL;
	}
	return ser;
}

static int vfio_pci_luo_open(struct vfio_pci_core_device *vdev, struct liveupdate_session *session,
			     const struct vfio_pci_liveupdate_ser *ser, struct file **filep)
{
	struct pci_dev *pdev = vdev->pdev;
	struct file *file;
	int ret;

	if (ser->vendor != pdev->vendor || ser->device != pdev->device ||
	    ser->vconfig_size != pdev->cfg_size) {
		pci_err(pdev, "is not the device of the record\n");
		return -EINVAL;
	}
	vdev->luo.adopting = ser;
	file = vfio_liveupdate_open(&vdev->vdev, session, ser->iommufd_token, ser->hwpt_label);
	vdev->luo.adopting = NULL;
	if (IS_ERR(file))
		return PTR_ERR(file);

	vfio_pci_luo_restore_vconfig(vdev, ser);
	vdev->luo.came_in = true;
	vdev->luo.irqs_due = true;
	vdev->luo.irqs_seen = false;
	vdev->luo.msix = ser->msix_ctrl & PCI_MSIX_FLAGS_ENABLE ? ser->msix_ctrl : 0;
	ret = pci_liveupdate_claim(pdev);
	if (ret)
		pci_err(pdev, "stays guarded, it cannot be claimed: %pe\n", ERR_PTR(ret));
	*filep = file;
	return 0;
}

static int vfio_pci_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_liveupdate_ser *ser = vfio_pci_luo_record(args->serialized_data);
	struct file *iommufd __free(fput) = NULL;
	struct pci_dev *pdev;
	int ret;

	if (!ser)
		return -EINVAL;
	/* What it needs in turn is retrieved before a lock is taken. */
	ret = liveupdate_session_get_file(args->session, ser->iommufd_token, &iommufd);
	if (ret)
		return ret;
	pdev = pci_liveupdate_find(args->session, ser->segment, ser->bdf);
	if (!pdev) {
		pr_err("%04x:%02x:%02x.%d was not taken over, or is not of this session\n",
		       ser->segment, PCI_BUS_NUM(ser->bdf), PCI_SLOT(ser->bdf),
		       PCI_FUNC(ser->bdf));
		return -ENODEV;
	}
	device_lock(&pdev->dev);
	ret = pci_liveupdate_may_claim(pdev);
	if (ret) {
		pci_err(pdev, "was retrieved by another file, or fenced: %pe\n", ERR_PTR(ret));
	} else if (pci_dev_driver(pdev) != vfio_pci_luo_driver) {
		pci_err(pdev, "cannot be retrieved before it is bound to vfio-pci\n");
		ret = -EAGAIN;
	} else {
		ret = vfio_pci_luo_open(dev_get_drvdata(&pdev->dev), args->session, ser,
					&args->file);
	}
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}

/* The device that a file stands for which was not retrieved, if there is any. */
static struct pci_dev *vfio_pci_luo_find(struct liveupdate_session *session,
					 const struct vfio_pci_liveupdate_ser *ser)
{
	struct pci_dev *pdev = pci_liveupdate_find(session, ser->segment, ser->bdf);

	if (!pdev || !pci_liveupdate_taken(pdev))
		return pdev;
	pci_dev_put(pdev);
	return NULL;
}

/*
 * Whatever is at the address of a device that was stopped, or is another one than before: what
 * it could reach is not kept.
 */
static void vfio_pci_luo_finish_lost(struct liveupdate_session *session,
				     const struct vfio_pci_liveupdate_ser *ser)
{
	struct pci_dev *pdev;

	pdev = pci_get_domain_bus_and_slot(ser->segment, PCI_BUS_NUM(ser->bdf), ser->bdf & 0xff);
	if (pdev && pci_liveupdate_incoming(pdev)) {
		pci_dev_put(pdev);
		pdev = vfio_pci_luo_find(session, ser);
		if (!pdev)
			return;
	}
	if (pdev)
		iommu_liveupdate_finish(&pdev->dev);
	pci_liveupdate_finish(session, ser->segment, ser->bdf);
	pci_dev_put(pdev);
}

static bool vfio_pci_luo_can_finish(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_liveupdate_ser *ser;
	struct vfio_device *device;
	struct pci_dev *pdev;

	if (args->file) {
		device = vfio_liveupdate_device(args->file);
		return iommufd_liveupdate_device_ready(device->iommufd_device);
	}

	ser = vfio_pci_luo_record(args->serialized_data);
	if (!ser)
		return false;
	pdev = vfio_pci_luo_find(args->session, ser);
	if (!pdev)
		return true;
	pci_err(pdev, "still runs, so its session cannot be finished before it is retrieved\n");
	pci_dev_put(pdev);
	return false;
}

static void vfio_pci_luo_finish(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_liveupdate_ser *ser = vfio_pci_luo_record(args->serialized_data);
	struct vfio_pci_core_device *vdev;

	if (args->file) {
		vdev = vfio_pci_luo_vdev(args->file);
		guard(mutex)(&vdev->vdev.dev_set->lock);
		iommufd_liveupdate_finish_device(vdev->vdev.iommufd_device);
		iommu_liveupdate_finish(&vdev->pdev->dev);
		pci_liveupdate_finish(args->session, pci_domain_nr(vdev->pdev->bus),
				      pci_dev_id(vdev->pdev));
		guard(mutex)(&vdev->igate);
		vdev->luo.came_in = false;
		if (vdev->luo.irqs_seen)
			vdev->luo.irqs_due = false;
	} else if (ser) {
		vfio_pci_luo_finish_lost(args->session, ser);
	}
	if (ser)
		kho_restore_free(ser);
}

static void vfio_pci_luo_discard(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_liveupdate_ser *ser;
	struct vfio_pci_core_device *vdev;
	struct pci_dev *pdev;

	if (args->file) {
		/* Attached it stays, until its user or this kernel is gone. */
		vdev = vfio_pci_luo_vdev(args->file);
		vfio_pci_zap_and_down_write_memory_lock(vdev);
		pci_liveupdate_fence(vdev->pdev);
		up_write(&vdev->memory_lock);
		return;
	}
	ser = vfio_pci_luo_record(args->serialized_data);
	if (!ser) {
		/* Whichever it was, it is one that nobody has claimed. */
		pci_liveupdate_fence_unclaimed(args->session);
		return;
	}
	pdev = vfio_pci_luo_find(args->session, ser);
	if (!pdev)
		return;
	pci_liveupdate_fence(pdev);
	pci_dev_put(pdev);
}

static const struct liveupdate_file_ops vfio_pci_luo_ops = {
	.can_preserve = vfio_pci_luo_can_preserve,
	.preserve = vfio_pci_luo_preserve,
	.unpreserve = vfio_pci_luo_unpreserve,
	.freeze = vfio_pci_luo_freeze,
	.unfreeze = vfio_pci_luo_unfreeze,
	.retrieve = vfio_pci_luo_retrieve,
	.can_finish = vfio_pci_luo_can_finish,
	.finish = vfio_pci_luo_finish,
	.get_id = vfio_pci_luo_get_id,
	.stat = vfio_pci_luo_stat,
	.discard = vfio_pci_luo_discard,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler vfio_pci_luo_handler = {
	.ops = &vfio_pci_luo_ops,
	.compatible = VFIO_PCI_LIVEUPDATE_COMPATIBLE,
};

/**
 * vfio_pci_liveupdate_info_cap - tell user space what becomes of a device
 * @vdev: the device
 * @caps: capabilities of VFIO_DEVICE_GET_INFO
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int vfio_pci_liveupdate_info_cap(struct vfio_pci_core_device *vdev, struct vfio_info_cap *caps)
{
	struct vfio_device_info_cap_liveupdate cap = {
		.header.id = VFIO_DEVICE_INFO_CAP_LIVEUPDATE,
		.header.version = 1,
		.flags = VFIO_LIVEUPDATE_SUPPORTED | VFIO_LIVEUPDATE_DMA,
	};

	if (!vfio_pci_luo_device_ops || vdev->vdev.ops != vfio_pci_luo_device_ops ||
	    vdev->pdev->is_virtfn || vfio_pci_is_vga(vdev->pdev))
		return 0;
	if (vfio_pci_luo_irqs_remembered(vdev))
		cap.flags |= VFIO_LIVEUPDATE_IRQS;
	if (vdev->luo.came_in)
		cap.flags |= VFIO_LIVEUPDATE_RETRIEVED;
	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

/**
 * vfio_pci_liveupdate_init - let files of vfio-pci be preserved
 * @driver: vfio-pci
 * @ops: those of its devices
 *
 * If that cannot be, they are not, and the log says so.
 *
 * Context: may sleep; before the driver is registered.
 */
void vfio_pci_liveupdate_init(const struct pci_driver *driver, const struct vfio_device_ops *ops)
{
	int ret;

	if (!liveupdate_enabled())
		return;
	ret = liveupdate_register_file_handler(&vfio_pci_luo_handler);
	if (ret)
		goto err;
	ret = pci_liveupdate_register(&vfio_pci_luo_handler);
	if (ret)
		goto err_handler;
	ret = iommu_liveupdate_register(&vfio_pci_luo_handler);
	if (ret)
		goto err_pci;
	vfio_pci_luo_driver = driver;
	vfio_pci_luo_device_ops = ops;
	return;

err_pci:
	pci_liveupdate_unregister(&vfio_pci_luo_handler);
err_handler:
	liveupdate_unregister_file_handler(&vfio_pci_luo_handler);
err:
	pr_err("devices cannot be preserved: %pe\n", ERR_PTR(ret));
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_init);

/**
 * vfio_pci_liveupdate_exit - undo vfio_pci_liveupdate_init()
 *
 * Context: may sleep; no file of vfio-pci is there any more.
 */
void vfio_pci_liveupdate_exit(void)
{
	if (!vfio_pci_luo_device_ops)
		return;
	iommu_liveupdate_unregister(&vfio_pci_luo_handler);
	pci_liveupdate_unregister(&vfio_pci_luo_handler);
	liveupdate_unregister_file_handler(&vfio_pci_luo_handler);
	vfio_pci_luo_device_ops = NULL;
	vfio_pci_luo_driver = NULL;
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_exit);

MODULE_IMPORT_NS(IOMMUFD);
