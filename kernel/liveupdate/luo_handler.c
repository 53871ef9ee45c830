// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: file handlers, and the objects they stand for.
 */

/**
 * DOC: LUO file handlers
 *
 * A file handler (&struct liveupdate_file_handler) takes care of one kind of
 * file. It registers at any time, built in or as a module, also long after the
 * previous kernel's files have come in: those know it by name only, and it is
 * looked up when something is wanted of them. A file that is in the care of a
 * handler pins it and its module, and the modules of the FLBs that it needs.
 *
 * One object can be reached through several files, but preserved just once. So
 * everything that is preserved, and everything that is retrieved but not
 * finished, is entered here by handler and by the number that get_id() gives.
 *
 * Locks: luo_handlers_lock protects the list of handlers and the FLBs that they
 * need, luo_objects_lock the objects. Both are taken with a session's lock held,
 * neither inside the other.
 */

#define pr_fmt(fmt) "luo: " fmt

#include <linux/cleanup.h>
#include <linux/error-injection.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/kho/abi/image.h>

#include "luo_internal.h"

DECLARE_RWSEM(luo_handlers_lock);
static LIST_HEAD(luo_handlers);
static unsigned int luo_nr_discard;

static DEFINE_SPINLOCK(luo_objects_lock);
static struct rb_root luo_objects = RB_ROOT;

static struct liveupdate_file_handler *luo_handler_find(const char *compatible)
{
	struct liveupdate_file_handler *handler;

	lockdep_assert_held(&luo_handlers_lock);

	list_for_each_entry(handler, &luo_handlers, list) {
		if (!strcmp(handler->compatible, compatible))
			return handler;
	}
	return NULL;
}

static bool luo_handler_get(struct liveupdate_file_handler *handler)
{
	lockdep_assert_held(&luo_handlers_lock);

	if (!try_module_get(handler->ops->owner))
		return false;
	if (!luo_flbs_pin(handler)) {
		module_put(handler->ops->owner);
		return false;
	}
	atomic_long_inc(&handler->users);
	return true;
}

/**
 * luo_handler_put - let go of a handler
 * @handler: from luo_handler_get_for_file() or luo_handler_get_by_name()
 */
void luo_handler_put(struct liveupdate_file_handler *handler)
{
	struct module *owner = handler->ops->owner;

	/* Without users it may lose its FLBs, but not before these are unpinned. */
	scoped_guard(rwsem_read, &luo_handlers_lock) {
		atomic_long_dec(&handler->users);
		luo_flbs_unpin(handler);
	}
	module_put(owner);
}

/**
 * luo_handler_get_for_file - who takes care of this file?
 * @file: the file
 *
 * Return: the first registered handler that takes it, pinned, or NULL.
 */
struct liveupdate_file_handler *luo_handler_get_for_file(struct file *file)
{
	struct liveupdate_file_handler *handler;

	guard(rwsem_read)(&luo_handlers_lock);
	list_for_each_entry(handler, &luo_handlers, list) {
		if (luo_call_can_preserve(handler, file) && luo_handler_get(handler))
			return handler;
	}
	return NULL;
}

/**
 * luo_handler_get_by_name - who takes care of files of this format?
 * @compatible: name of the format
 *
 * Return: the handler, pinned, or NULL.
 */
struct liveupdate_file_handler *luo_handler_get_by_name(const char *compatible)
{
	struct liveupdate_file_handler *handler;

	guard(rwsem_read)(&luo_handlers_lock);
	handler = luo_handler_find(compatible);
	return handler && luo_handler_get(handler) ? handler : NULL;
}

/**
 * luo_handler_is_registered - is this a handler that is registered?
 * @handler: what may be one
 *
 * Return: true if it is.
 */
bool luo_handler_is_registered(struct liveupdate_file_handler *handler)
{
	return luo_handler_find(handler->compatible) == handler;
}

/**
 * luo_handlers_discard - Does any handler care for being told discard()?
 *
 * Return: true if there is one.
 */
bool luo_handlers_discard(void)
{
	guard(rwsem_read)(&luo_handlers_lock);
	return luo_nr_discard;
}

/**
 * liveupdate_register_file_handler - offer to take care of a kind of file
 * @handler: the handler, zeroed but for @ops and @compatible. It must stay until
 *	it is unregistered.
 *
 * A file that is preserved goes to the first registered handler that takes it.
 *
 * Context: may sleep; not from a callback of a handler.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update (not an error for a
 * driver, which just goes on without), ``-EINVAL`` if an operation or the name is
 * missing, ``-EEXIST`` if there is a handler of this name.
 */
int liveupdate_register_file_handler(struct liveupdate_file_handler *handler)
{
	const struct liveupdate_file_ops *ops = handler->ops;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!ops || !ops->can_preserve || !ops->preserve || !ops->unpreserve ||
	    !ops->retrieve || !ops->finish)
		return -EINVAL;
	if (!handler->compatible[0] ||
	    strnlen(handler->compatible, sizeof(handler->compatible)) ==
	    sizeof(handler->compatible))
		return -EINVAL;

	guard(rwsem_write)(&luo_handlers_lock);
	if (luo_handler_find(handler->compatible))
		return -EEXIST;
	atomic_long_set(&handler->users, 0);
	INIT_LIST_HEAD(&handler->flbs);
	list_add_tail(&handler->list, &luo_handlers);
	luo_nr_discard += !!ops->discard;
	luo_image_check_listed(KHO_FORMAT_HANDLER, handler->compatible);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_register_file_handler);

/**
 * liveupdate_unregister_file_handler - take the offer back
 * @handler: the handler
 *
 * A module's handler is not in use when its exit function runs, since files in
 * the care of a handler pin the module. Its FLBs are unregistered with it.
 *
 * Context: may sleep; not from a callback of a handler.
 * Return: 0 on success, ``-EOPNOTSUPP`` without live update, ``-EBUSY`` if there are
 * files in the care of the handler, ``-ENOENT`` if it is not registered.
 */
int liveupdate_unregister_file_handler(struct liveupdate_file_handler *handler)
{
	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	guard(rwsem_write)(&luo_handlers_lock);
	if (!luo_handler_is_registered(handler))
		return -ENOENT;
	if (atomic_long_read(&handler->users))
		return -EBUSY;
	luo_flbs_unregister_all(handler);
	list_del(&handler->list);
	luo_nr_discard -= !!handler->ops->discard;
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_unregister_file_handler);

static unsigned long luo_object_id(struct liveupdate_file_handler *handler, struct file *file)
{
	return handler->ops->get_id ? handler->ops->get_id(file) : (unsigned long)file;
}

struct luo_object_key {
	struct liveupdate_file_handler *handler;
	unsigned long id;
};

static int luo_object_cmp(const void *key, const struct rb_node *node)
{
	const struct luo_file *lf = rb_entry(node, struct luo_file, id_node);
	const struct luo_object_key *k = key;

	if (k->id != lf->id)
		return k->id < lf->id ? -1 : 1;
	if (k->handler != lf->handler)
		return k->handler < lf->handler ? -1 : 1;
	return 0;
}

static int luo_object_cmp_inode(const void *key, const struct rb_node *node)
{
	unsigned long id = rb_entry(node, struct luo_file, id_node)->id;

	return (unsigned long)key < id ? -1 : (unsigned long)key > id;
}

static int luo_object_cmp_node(struct rb_node *node, const struct rb_node *other)
{
	const struct luo_file *lf = rb_entry(node, struct luo_file, id_node);
	struct luo_object_key key = { .handler = lf->handler, .id = lf->id };

	return luo_object_cmp(&key, other);
}

/**
 * luo_object_add - enter the object behind a file
 * @lf: the file, with its handler and its struct file
 *
 * Return: 0, or ``-EBUSY`` if the object is there already.
 */
int luo_object_add(struct luo_file *lf)
{
	struct rb_node *taken;

	lockdep_assert_held(&lf->session->lock);

	lf->id = luo_object_id(lf->handler, lf->file);

	spin_lock(&luo_objects_lock);
	taken = rb_find_add(&lf->id_node, &luo_objects, luo_object_cmp_node);
	spin_unlock(&luo_objects_lock);

	if (!taken)
		return 0;
	RB_CLEAR_NODE(&lf->id_node);
	return -EBUSY;
}
ALLOW_ERROR_INJECTION(luo_object_add, ERRNO);

/**
 * luo_object_del - take the object behind a file out, if it is in
 * @lf: the file
 */
void luo_object_del(struct luo_file *lf)
{
	lockdep_assert_held(&lf->session->lock);

	if (RB_EMPTY_NODE(&lf->id_node))
		return;

	spin_lock(&luo_objects_lock);
	rb_erase(&lf->id_node, &luo_objects);
	spin_unlock(&luo_objects_lock);
	RB_CLEAR_NODE(&lf->id_node);
}

/**
 * luo_object_taken - is the object behind a file preserved, or not finished?
 * @handler: the handler of the file
 * @file: the file
 *
 * Return: true if it is, in whatever session.
 */
bool luo_object_taken(struct liveupdate_file_handler *handler, struct file *file)
{
	struct luo_object_key key = { .handler = handler, .id = luo_object_id(handler, file) };
	bool taken;

	spin_lock(&luo_objects_lock);
	taken = rb_find(&key, &luo_objects, luo_object_cmp);
	spin_unlock(&luo_objects_lock);
	return taken;
}

/**
 * luo_object_token - by which token is this object known in a session?
 * @session: the session
 * @file: any file that stands for the object
 * @tokenp: set to the token
 *
 * Return: 0, or ``-ENOENT`` if the object is not in this session.
 */
int luo_object_token(struct liveupdate_session *session, struct file *file, u64 *tokenp)
{
	struct luo_object_key key = { .handler = luo_handler_get_for_file(file) };
	struct rb_node *node;
	struct luo_file *lf;
	int ret = -ENOENT;

	lockdep_assert_held(&session->lock);

	if (!key.handler)
		return -ENOENT;
	key.id = luo_object_id(key.handler, file);

	spin_lock(&luo_objects_lock);
	node = rb_find(&key, &luo_objects, luo_object_cmp);
	lf = rb_entry_safe(node, struct luo_file, id_node);
	if (lf && lf->session == session) {
		*tokenp = lf->token;
		ret = 0;
	}
	spin_unlock(&luo_objects_lock);

	luo_handler_put(key.handler);
	return ret;
}

/**
 * luo_object_find_inode - which file of a session stands for an inode?
 * @session: the session
 * @inode: the inode, which is not looked into
 *
 * Return: the file, or NULL. Only objects that are inodes are found.
 */
struct luo_file *luo_object_find_inode(struct liveupdate_session *session,
				       const struct inode *inode)
{
	struct rb_node *node;
	struct luo_file *lf;

	lockdep_assert_held(&session->lock);

	spin_lock(&luo_objects_lock);
	node = rb_find(inode, &luo_objects, luo_object_cmp_inode);
	lf = rb_entry_safe(node, struct luo_file, id_node);
	if (lf && (lf->session != session || !lf->file || file_inode(lf->file) != inode))
		lf = NULL;
	spin_unlock(&luo_objects_lock);
	return lf;
}
