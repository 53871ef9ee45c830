// SPDX-License-Identifier: GPL-2.0
/*
 * A file handler for live update, small and complete.
 */

/**
 * DOC: luo_sample
 *
 * Whoever opens ``/dev/luo_sample`` gets an empty note: what is written is appended
 * to it, up to %NOTE_SIZE bytes, and what is read comes from its beginning. The note
 * lives as long as the file is open, or, with the handler below, across kexecs.
 *
 * Locks: note.lock protects a note.
 */

#define pr_fmt(fmt) "luo_sample: " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define NOTE_SIZE	256

/**
 * struct note - what is behind an open file
 * @lock: protects it
 * @frozen: its record is complete, it may not change
 * @len: number of bytes that were written
 * @text: these bytes
 */
struct note {
	struct mutex lock; /* protects the note */
	bool frozen;
	size_t len;
	char text[NOTE_SIZE];
};

static ssize_t note_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct note *note = file->private_data;

	guard(mutex)(&note->lock);
	return simple_read_from_buffer(buf, size, pos, note->text, note->len);
}

static ssize_t note_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	struct note *note = file->private_data;
	size_t room;

	guard(mutex)(&note->lock);
	if (note->frozen)
		return -EPERM;
	room = sizeof(note->text) - note->len;
	if (!room)
		return -ENOSPC;
	size = min(size, room);
	if (copy_from_user(note->text + note->len, buf, size))
		return -EFAULT;
	note->len += size;
	return size;
}

static struct note *note_alloc(void)
{
	struct note *note = kzalloc(sizeof(*note), GFP_KERNEL_ACCOUNT);

	if (note)
		mutex_init(&note->lock);
	return note;
}

static int note_open(struct inode *inode, struct file *file)
{
	file->private_data = note_alloc();
	return file->private_data ? 0 : -ENOMEM;
}

static int note_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations note_fops = {
	.owner = THIS_MODULE,
	.open = note_open,
	.release = note_release,
	.read = note_read,
	.write = note_write,
};

static struct miscdevice note_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "luo_sample",
	.fops = &note_fops,
	.mode = 0600,
};

/* doc: format */
/**
 * struct note_ser - a note as one kernel leaves it to the next
 * @pos: file position
 * @len: number of bytes in @text
 * @text: these bytes
 *
 * Alone on its page, which is preserved as a folio of order 0. Its address is the
 * data word of the file. Written by preserve() and freeze() of the kernel before,
 * read by retrieve() of the next. All of it is one version and changes only together
 * with the string %LUO_SAMPLE_COMPATIBLE.
 */
struct note_ser {
	__u64 pos;
	__u64 len;
	char text[NOTE_SIZE];
} __packed;
static_assert(sizeof(struct note_ser) == 272);

/* end: format */

/* doc: out */
static bool note_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	return file->f_op == &note_fops;
}

/* All that can fail: memory. The note itself is still in use. */
static int note_preserve(struct liveupdate_file_op_args *args)
{
	struct note_ser *ser = kho_alloc_preserve(sizeof(*ser));

	if (IS_ERR(ser))
		return PTR_ERR(ser);
	args->serialized_data = virt_to_phys(ser);
	args->private_data = ser;
	return 0;
}

static void note_unpreserve(struct liveupdate_file_op_args *args)
{
	kho_unpreserve_free(args->private_data);
}

/* In the blackout: write what was not known before, and let nothing change it. */
static int note_freeze(struct liveupdate_file_op_args *args)
{
	struct note *note = args->file->private_data;
	struct note_ser *ser = args->private_data;

	guard(mutex)(&note->lock);
	ser->pos = args->file->f_pos;
	ser->len = note->len;
	memcpy(ser->text, note->text, note->len);
	note->frozen = true;
	return 0;
}

/* The kexec did not take place. */
static void note_unfreeze(struct liveupdate_file_op_args *args)
{
	struct note *note = args->file->private_data;

	guard(mutex)(&note->lock);
	note->frozen = false;
}

/* end: out */

/* doc: in */
/* What comes from the previous kernel is input like any other. */
static const struct note_ser *note_record(u64 data)
{
	const struct note_ser *ser;

	if (kho_incoming_order(data) != 0)
		return NULL;
	ser = phys_to_virt(data);
	return ser->len <= sizeof(ser->text) ? ser : NULL;
}

/* After -ENOMEM this is called again: nothing is given away before all is there. */
static int note_retrieve(struct liveupdate_file_op_args *args)
{
	const struct note_ser *ser = note_record(args->serialized_data);
	struct note *note __free(kfree) = NULL;
	struct file *file;

	if (!ser)
		return -EBADMSG;
	note = note_alloc();
	if (!note)
		return -ENOMEM;
	note->len = ser->len;
	memcpy(note->text, ser->text, ser->len);

	file = anon_inode_getfile("[luo_sample]", &note_fops, note, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	retain_and_null_ptr(note);
	file->f_pos = ser->pos;
	args->file = file;
	return 0;
}

/* The file, if it was retrieved, has all it needs; the record goes in any case. */
static void note_finish(struct liveupdate_file_op_args *args)
{
	if (note_record(args->serialized_data))
		kho_restore_free(phys_to_virt(args->serialized_data));
}

/* end: in */

/* doc: register */
static const struct liveupdate_file_ops note_luo_ops = {
	.can_preserve = note_can_preserve,
	.preserve = note_preserve,
	.unpreserve = note_unpreserve,
	.freeze = note_freeze,
	.unfreeze = note_unfreeze,
	.retrieve = note_retrieve,
	.finish = note_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler note_handler = {
	.ops = &note_luo_ops,
	.compatible = LUO_SAMPLE_COMPATIBLE,
};

static int __init luo_sample_init(void)
{
	int ret;

	ret = misc_register(&note_device);
	if (ret)
		return ret;

	/* Without live update the device is still a device. */
	ret = liveupdate_register_file_handler(&note_handler);
	if (ret && ret != -EOPNOTSUPP) {
		pr_err("cannot register the handler: %pe\n", ERR_PTR(ret));
		misc_deregister(&note_device);
		return ret;
	}
	return 0;
}

/* Files in the care of the handler keep the module from going. */
static void __exit luo_sample_exit(void)
{
	liveupdate_unregister_file_handler(&note_handler);
	misc_deregister(&note_device);
}

/* end: register */

module_init(luo_sample_init);
module_exit(luo_sample_exit);

MODULE_DESCRIPTION("Sample of a file handler for live update");
MODULE_LICENSE("GPL");
