// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: can the next kernel take the sessions?
 */

/**
 * DOC: LUO and the next kernel
 *
 * kexec_file_load() keeps with an image what its kernel says of itself: the formats
 * that it reads, and whether it will come up with KHO and live update (see
 * kho_image.c). Here that is held against the sessions there are: at load, when
 * there is time for another image, and in reboot() before anything is frozen, since
 * sessions can grow in between. If something does not fit, the image is refused
 * with ``EPROTONOSUPPORT``, and a line in the log says which file of which session
 * it is about.
 *
 * Sessions without files need nothing, so as long as nothing is preserved any image
 * is good, as it always was.
 *
 * An image without a record is taken for mainline. That reads three formats, none of
 * them an FLB, and has limits of its own, past which it would panic or lose files.
 *
 * A session with devices that run on asks for more: the command line must not
 * switch off the IOMMU, or have PCI numbered or laid out anew.
 *
 * Two sysctls change that: ``kernel.liveupdate_require_record`` refuses images
 * without a record, ``kernel.liveupdate_ignore_record`` starts those that do not fit.
 *
 * Locks: luo_freeze_lock is held for writing while sessions are looked through, so
 * that they stand still.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/kho_hooks.h>
#include <linux/kho_image.h>
#include <linux/printk.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/sysctl.h>
#include <linux/kho/abi/formats.h>

#include "luo_internal.h"

/* Not more lines than this about what does not fit. */
#define LUO_IMAGE_LINES		16

/* More blocks in a chain than this make mainline panic. */
#define LUO_MAINLINE_BLOCKS	10000

static int luo_require_record;
static int luo_ignore_record;

static struct ctl_table luo_image_sysctls[] = {
	{
		.procname	= "liveupdate_require_record",
		.data		= &luo_require_record,
		.maxlen		= sizeof(luo_require_record),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
	{
		.procname	= "liveupdate_ignore_record",
		.data		= &luo_ignore_record,
		.maxlen		= sizeof(luo_ignore_record),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
};

/* What mainline 7.3 reads, whatever the names of our own formats are by now. */
static const struct kho_image_format luo_mainline_formats[] = {
	{ KHO_FORMAT_KHO, 0, "kho-v4" },
	{ KHO_FORMAT_LUO, 0, "luo-v5" },
	{ KHO_FORMAT_HANDLER, 0, "memfd-v2" },
};

/* What this kernel says that it reads. */
static const struct kho_image_format luo_own_formats[] = {
#define KHO_FORMAT(_kind, _flags, _name) { _kind, _flags, _name },
#include <linux/kho/abi/formats.h>
};

/**
 * struct luo_fit - an image held against the sessions
 * @img: what the image says
 * @formats: what it reads
 * @nr_formats: number of @formats
 * @nr_misfits: number of things found that do not fit
 */
struct luo_fit {
	const struct kho_image *img;
	const struct kho_image_format *formats;
	unsigned int nr_formats;
	unsigned int nr_misfits;
};

static bool luo_is_among(const struct kho_image_format *formats, unsigned int nr,
			 unsigned int kind, const char *name)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (formats[i].kind == kind && !strcmp(formats[i].name, name))
			return true;
	}
	return false;
}

static bool luo_fit_reads(const struct luo_fit *fit, unsigned int kind, const char *name)
{
	return luo_is_among(fit->formats, fit->nr_formats, kind, name);
}

/**
 * luo_image_check_listed - is a format that this kernel uses in its own record?
 * @kind: KHO_FORMAT_HANDLER or KHO_FORMAT_FLB
 * @name: the name of a handler or an FLB that has been registered
 *
 * Whoever forgets to list it gets a line in the log when it is registered, and not
 * just a kexec that is refused once it is in use.
 */
void luo_image_check_listed(unsigned int kind, const char *name)
{
	if (!luo_is_among(luo_own_formats, ARRAY_SIZE(luo_own_formats), kind, name))
		pr_warn("%s is not in the record of this kernel: files that need it will not be let into one like it\n",
			name);
}

/* Something does not fit: a session, or one file of it if @lf is not NULL. */
__printf(4, 5)
static void luo_misfit(struct luo_fit *fit, struct liveupdate_session *session,
		       struct luo_file *lf, const char *fmt, ...)
{
	const char *level = READ_ONCE(luo_ignore_record) ? KERN_WARNING : KERN_ERR;
	struct va_format vaf;
	va_list args;

	if (fit->nr_misfits++ >= LUO_IMAGE_LINES)
		return;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	if (lf)
		luo_file_log(level, lf, "%pV", &vaf);
	else
		luo_session_log(level, session, "%pV", &vaf);
	va_end(args);
}

/* What concerns all sessions alike is said of the first that has files. */
static void luo_fit_basics(struct luo_fit *fit, struct liveupdate_session *session)
{
	if (!fit->img->has_record && READ_ONCE(luo_require_record))
		luo_misfit(fit, session, NULL,
			   "the image has no record, and kernel.liveupdate_require_record is set");
	if (!fit->img->kho_on)
		luo_misfit(fit, session, NULL,
			   "would be lost, the next kernel comes up with kho=off");
	else if (!fit->img->liveupdate_on)
		luo_misfit(fit, session, NULL,
			   "would be lost, the next kernel comes up with liveupdate=off");
	if (!luo_fit_reads(fit, KHO_FORMAT_KHO, KHO_FDT_COMPATIBLE))
		luo_misfit(fit, session, NULL,
			   "would be lost, the next kernel does not read %s",
			   KHO_FDT_COMPATIBLE);
	if (!luo_fit_reads(fit, KHO_FORMAT_LUO, LUO_COMPATIBLE))
		luo_misfit(fit, session, NULL,
			   "would be lost, the next kernel does not read %s",
			   LUO_COMPATIBLE);
}

/* By bit number of KHO_IMAGE_* */
static const char * const luo_device_words[] = {
	"intel_iommu=off", "iommu=off", "pci=assign-busses", "pci=realloc",
};

/* A device must be left alone, and so must what is above it. */
static bool luo_fit_device(struct luo_fit *fit, struct luo_file *lf)
{
	unsigned long stops = fit->img->stops_devices;
	unsigned int nr;

	for_each_set_bit(nr, &stops, ARRAY_SIZE(luo_device_words))
		luo_misfit(fit, lf->session, lf,
			   "its device would be stopped, the next kernel comes up with %s",
			   luo_device_words[nr]);
	return !stops;
}

/* A file, and the FLBs that it needs. */
static bool luo_fit_file(struct luo_fit *fit, struct luo_file *lf)
{
	const char *name;
	bool good;

	good = luo_fit_reads(fit, KHO_FORMAT_HANDLER, lf->compatible);
	if (!good)
		luo_misfit(fit, lf->session, lf,
			   "would be lost, the next kernel does not read this format");

	for (unsigned int i = 0; (name = luo_flb_name(lf->handler, i)); i++) {
		if (!strcmp(name, PCI_LIVEUPDATE_COMPATIBLE) && !luo_fit_device(fit, lf))
			good = false;
		if (luo_fit_reads(fit, KHO_FORMAT_FLB, name))
			continue;
		luo_misfit(fit, lf->session, lf,
			   "would be lost, the next kernel does not read %s, which it needs",
			   name);
		good = false;
	}
	return good;
}

static void luo_fit_session(struct luo_fit *fit, struct liveupdate_session *session)
{
	const struct liveupdate_file_handler *good = NULL;
	struct luo_file *lf;

	guard(mutex)(&session->lock);

	if (!fit->img->has_record && session->chain.nr_blocks > LUO_MAINLINE_BLOCKS)
		luo_misfit(fit, session, NULL,
			   "has %lu files, more than mainline can read", session->nr_files);

	/* Most files of a session have the same handler. */
	list_for_each_entry(lf, &session->files, link) {
		if (lf->handler == good)
			continue;
		if (luo_fit_file(fit, lf))
			good = lf->handler;
	}
}

static void luo_fit_sessions(struct luo_fit *fit)
{
	struct liveupdate_session *session;
	bool first = true;

	list_for_each_entry(session, &luo_outgoing.list, set_link) {
		if (!session->nr_files)
			continue;
		if (first)
			luo_fit_basics(fit, session);
		first = false;
		luo_fit_session(fit, session);
	}
	if (!fit->img->has_record && luo_outgoing.chain.nr_blocks > LUO_MAINLINE_BLOCKS)
		luo_misfit(fit, list_last_entry(&luo_outgoing.list, struct liveupdate_session,
						set_link), NULL,
			   "is one of %lu, more than mainline can read", luo_outgoing.count);
}

/**
 * luo_image_check - can the next kernel take the sessions there are?
 * @image: the image
 *
 * Return: 0, or ``-EPROTONOSUPPORT``, with lines in the log that say why.
 */
int luo_image_check(struct kimage *image)
{
	struct luo_fit fit = { .img = image->kho };

	lockdep_assert_held_write(&luo_freeze_lock);

	/* Of kexec_load(2). That it cannot carry sessions is found elsewhere. */
	if (!fit.img)
		return 0;
	if (fit.img->has_record) {
		fit.formats = fit.img->formats;
		fit.nr_formats = fit.img->nr_formats;
	} else {
		fit.formats = luo_mainline_formats;
		fit.nr_formats = ARRAY_SIZE(luo_mainline_formats);
	}
	luo_fit_sessions(&fit);
	if (!fit.nr_misfits)
		return 0;

	if (READ_ONCE(luo_ignore_record)) {
		pr_warn("%u things do not fit, kernel.liveupdate_ignore_record says go on\n",
			fit.nr_misfits);
		return 0;
	}
	pr_err("the next kernel cannot take what is preserved: refused\n");
	return -EPROTONOSUPPORT;
}
ALLOW_ERROR_INJECTION(luo_image_check, ERRNO);

/**
 * liveupdate_load_image - can an image that is being loaded take the sessions?
 * @image: the image, with kernel and command line read
 *
 * Called by kexec_file_load(2).
 *
 * Context: process context, sleeps, with the kexec lock held.
 * Return: 0, ``-EPROTONOSUPPORT`` if it cannot, ``-ENOMEM``, or ``-EINTR`` if the caller
 * was killed.
 */
int liveupdate_load_image(struct kimage *image)
{
	int ret;

	if (!liveupdate_enabled() || !kho_image_carries(image))
		return 0;

	ret = kho_image_read(image);
	if (ret)
		return ret;
	if (!image->kho->has_record)
		pr_warn("the image has no record of what its kernel reads: taken for mainline\n");

	ret = down_write_killable(&luo_freeze_lock);
	if (ret)
		return ret;
	luo_sessions_put_released();
	ret = luo_image_check(image);
	up_write(&luo_freeze_lock);
	return ret;
}

/**
 * liveupdate_next_has_record - does the next kernel say what it reads?
 *
 * For freeze(): what has no record is taken for mainline, whose defects a handler
 * may want to warn of.
 *
 * Context: only from freeze().
 * Return: true if it does.
 */
bool liveupdate_next_has_record(void)
{
	lockdep_assert_held_write(&luo_freeze_lock);
	return kexec_image->kho->has_record;
}
EXPORT_SYMBOL_GPL(liveupdate_next_has_record);

static int __init luo_image_init(void)
{
	if (liveupdate_enabled())
		register_sysctl("kernel", luo_image_sysctls);
	return 0;
}
late_initcall_sync(luo_image_init);
