// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: pages that a device is writing to.
 */

/**
 * DOC: memfd_luo pins
 *
 * A device that runs through a live update goes on writing to pages of memfds. As
 * soon as such a page is in the page cache again it could be migrated, and the device
 * would write to what is somebody else's by then. So when a memfd is retrieved it looks
 * into the records of the iommufds of its session for mappings of it, and each page
 * gets one pin for each mapping that covers it before anybody else can see it.
 *
 * iommufd takes these pins over when it adopts the page tables, mapping by mapping
 * (memfd_luo_take_pins()), and gives them back in its own time. Pins that nobody has taken
 * when the session is finished are dropped then: by that time no device can write
 * there any more.
 *
 * What was pinned is remembered, as runs of pages: there can be holes in the file that somebody
 * fills later, and such a page has no pin to drop. As long as there are pins of which nobody
 * knows who will take them, holes cannot be punched into the file, and it cannot be made
 * shorter: the device's page could not be found again.
 *
 * If a record cannot be read, nobody knows what the device uses. Then all of the file
 * is pinned, until the session is finished.
 *
 * Memfds on shmem and on hugetlbfs share this; what is said of pages here is of pages
 * of %PAGE_SIZE, of which a huge page has many.
 *
 * Locks: memfd_luo_pins_lock protects &memfd_luo_pin.taken. The tree is complete before
 * anybody knows the file. It goes away in finish(), when no other callback of the session
 * is running; whoever finds it in memfd_luo_all_pins does not look into it, or is such
 * a callback.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/interval_tree.h>
#include <linux/iommufd_liveupdate.h>
#include <linux/kho/abi/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/memfd_luo.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "internal.h"
#include "memfd_luo.h"

/* The pages of a mapping. */
struct memfd_luo_pin {
	struct interval_tree_node node;
	bool taken;
};

struct memfd_luo_pins {
	struct rb_root_cached tree;
	struct rb_root_cached pinned;		/* runs of pages of folios that have pins */
	struct interval_tree_node *run;		/* the last one, not in the tree yet */
};

static DEFINE_MUTEX(memfd_luo_pins_lock);
/* By the address of the inode. */
static DEFINE_XARRAY(memfd_luo_all_pins);

/* What the records are searched for, and what was found. */
struct memfd_luo_pin_search {
	struct memfd_luo_pins *pins;
	u64 token;
};

static struct memfd_luo_pins *pins_of(const struct inode *inode)
{
	return xa_load(&memfd_luo_all_pins, (unsigned long)inode);
}

static int add_pin(struct memfd_luo_pins *pins, pgoff_t first, pgoff_t last)
{
	struct memfd_luo_pin *pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);

	if (!pin)
		return -ENOMEM;
	pin->node.start = first;
	pin->node.last = last;
	interval_tree_insert(&pin->node, &pins->tree);
	return 0;
}

static int search_entry(const struct iommufd_luo_ser *ser, void *data)
{
	struct memfd_luo_pin_search *search = data;

	if (ser->type != IOMMUFD_LUO_MAPPING || ser->token != search->token)
		return 0;
	return add_pin(search->pins, ser->offset >> PAGE_SHIFT,
		       (ser->offset + (ser->last - ser->iova)) >> PAGE_SHIFT);
}

static int search_record(u64 pa, void *data)
{
	struct memfd_luo_pin_search *search = data;
	int err = iommufd_luo_walk(pa, search_entry, search);

	if (err != -EINVAL)
		return err;
	pr_err("an iommufd cannot be read, so all of the memfd with token %#llx is pinned\n",
	       search->token);
	return add_pin(search->pins, 0, ULONG_MAX);
}

static struct interval_tree_node *first_of(struct rb_root_cached *tree)
{
	return interval_tree_iter_first(tree, 0, ULONG_MAX);
}

/*
 * A folio counts its pins in an int. Only a record that is not sound can name a page so
 * often that this overflows; a folio has up to 2^18 pages.
 */
static int mapped_too_often(struct memfd_luo_pins *pins)
{
	struct iommufd_luo_edge *edges;
	struct interval_tree_node *node;
	size_t nr = 0;
	bool too_often;

	for (node = first_of(&pins->tree); node; node = interval_tree_iter_next(node, 0, ULONG_MAX))
		nr++;
	if (nr <= IOMMUFD_LUO_MAX_MAPPINGS)
		return 0;
	edges = kvmalloc_array(nr, 2 * sizeof(*edges), GFP_KERNEL_ACCOUNT);
	if (!edges)
		return -ENOMEM;
	nr = 0;
	for (node = first_of(&pins->tree); node; node = interval_tree_iter_next(node, 0, ULONG_MAX))
		nr = iommufd_luo_add_edges(edges, nr, 0, node->start, node->last);
	too_often = iommufd_luo_too_deep(edges, nr);
	kvfree(edges);
	return too_often ? -EINVAL : 0;
}

static void free_pins(struct memfd_luo_pins *pins)
{
	struct interval_tree_node *node;

	while ((node = first_of(&pins->tree))) {
		interval_tree_remove(node, &pins->tree);
		kfree(container_of(node, struct memfd_luo_pin, node));
	}
	while ((node = first_of(&pins->pinned))) {
		interval_tree_remove(node, &pins->pinned);
		kfree(node);
	}
	kfree(pins->run);
	kfree(pins);
}

/**
 * memfd_luo_find_pins - find out what is to be pinned of a memfd
 * @args: of its retrieve()
 * @inode: the inode of the new file, still empty
 *
 * Return: 0, -ENOMEM, or -EINVAL if a page is mapped more often than can be.
 */
int memfd_luo_find_pins(struct liveupdate_file_op_args *args, struct inode *inode)
{
	struct memfd_luo_pin_search search = { .token = args->token };
	int err;

	search.pins = kzalloc(sizeof(*search.pins), GFP_KERNEL_ACCOUNT);
	if (!search.pins)
		return -ENOMEM;
	search.pins->tree = RB_ROOT_CACHED;
	search.pins->pinned = RB_ROOT_CACHED;
	err = liveupdate_session_walk(args->session, IOMMUFD_LUO_COMPATIBLE, search_record,
				      &search);
	if (!err)
		err = mapped_too_often(search.pins);
	if (err == -EINVAL)
		pr_err("a page of the memfd with token %#llx is mapped over %u times\n",
		       args->token, IOMMUFD_LUO_MAX_MAPPINGS);
	if (!err && !RB_EMPTY_ROOT(&search.pins->tree.rb_root)) {
		err = xa_err(xa_store(&memfd_luo_all_pins, (unsigned long)inode, search.pins,
				      GFP_KERNEL));
		if (!err)
			return 0;
	}
	free_pins(search.pins);
	return err;
}

/**
 * memfd_luo_has_pins - did a file come in with pages that a device is using?
 * @inode: an inode of shmem or hugetlbfs
 *
 * Context: any.
 * Return: true if it did, and its session was not finished.
 */
bool memfd_luo_has_pins(struct inode *inode)
{
	return !xa_empty(&memfd_luo_all_pins) && pins_of(inode);
}

/* How many pins do the pages of a folio have in all? */
static unsigned long count_pins(struct memfd_luo_pins *pins, const struct folio *folio,
				bool untaken)
{
	pgoff_t first = folio->index, last = first + folio_nr_pages(folio) - 1;
	struct interval_tree_node *node;
	unsigned long nr = 0;

	for (node = interval_tree_iter_first(&pins->tree, first, last); node;
	     node = interval_tree_iter_next(node, first, last))
		if (!untaken || !container_of(node, struct memfd_luo_pin, node)->taken)
			nr += min(node->last, last) - max(node->start, first) + 1;
	return nr;
}

/* Remember that a folio has pins. They come one after the other, most of the time. */
static int note_pinned(struct memfd_luo_pins *pins, const struct folio *folio)
{
	pgoff_t first = folio->index, last = first + folio_nr_pages(folio) - 1;
	struct interval_tree_node *run = pins->run;

	if (run && run->last + 1 == first) {
		run->last = last;
		return 0;
	}
	run = kzalloc(sizeof(*run), GFP_KERNEL_ACCOUNT);
	if (!run)
		return -ENOMEM;
	run->start = first;
	run->last = last;
	if (pins->run)
		interval_tree_insert(pins->run, &pins->pinned);
	pins->run = run;
	return 0;
}

static bool was_pinned(struct memfd_luo_pins *pins, const struct folio *folio)
{
	struct interval_tree_node *run = pins->run;

	if (run && folio->index >= run->start && folio->index <= run->last)
		return true;
	return interval_tree_iter_first(&pins->pinned, folio->index, folio->index);
}

/**
 * memfd_luo_pin_folio - pin what a device uses of a folio
 * @inode: the inode of the memfd
 * @folio: a folio that is ours alone, with its index
 *
 * Return: 0 or -ENOMEM; it has no pins then.
 */
int memfd_luo_pin_folio(struct inode *inode, struct folio *folio)
{
	struct memfd_luo_pins *pins = pins_of(inode);
	unsigned long nr = pins ? count_pins(pins, folio, false) : 0;
	int err;

	if (!nr)
		return 0;
	err = try_grab_folio(folio, nr, FOLL_PIN);
	if (err)
		return err;
	err = note_pinned(pins, folio);
	if (err)
		for (; nr; nr--)
			unpin_folio(folio);
	return err;
}

static void drop_folio_pins(struct memfd_luo_pins *pins, struct folio *folio)
{
	if (!was_pinned(pins, folio))
		return;
	for (unsigned long nr = count_pins(pins, folio, true); nr; nr--)
		unpin_folio(folio);
}

/**
 * memfd_luo_unpin_folio - undo memfd_luo_pin_folio()
 * @inode: the inode of the memfd
 * @folio: a folio that never got into the page cache
 *
 * Context: may sleep; nobody can take any more.
 */
void memfd_luo_unpin_folio(struct inode *inode, struct folio *folio)
{
	struct memfd_luo_pins *pins = pins_of(inode);

	if (pins)
		drop_folio_pins(pins, folio);
}

/**
 * memfd_luo_drop_pins - drop the pins that nobody took
 * @inode: the inode of a memfd whose session is finished
 * @folios: folios that never got into the page cache
 *
 * Context: may sleep; nobody can take any more.
 */
void memfd_luo_drop_pins(struct inode *inode, struct list_head *folios)
{
	struct memfd_luo_pins *pins = pins_of(inode);
	struct folio_batch batch;
	struct folio *folio;
	pgoff_t next = 0;

	if (!pins)
		return;
	if (folios)
		list_for_each_entry(folio, folios, lru)
			drop_folio_pins(pins, folio);

	folio_batch_init(&batch);
	while (filemap_get_folios(inode->i_mapping, &next, ULONG_MAX, &batch)) {
		for (unsigned int i = 0; i < folio_batch_count(&batch); i++)
			drop_folio_pins(pins, batch.folios[i]);
		folio_batch_release(&batch);
		cond_resched();
	}
	xa_erase(&memfd_luo_all_pins, (unsigned long)inode);
	free_pins(pins);
}

static bool set_taken(struct file *file, pgoff_t first, unsigned long nr, bool taken)
{
	struct memfd_luo_pins *pins = pins_of(file_inode(file));
	struct interval_tree_node *node;
	struct memfd_luo_pin *pin;

	guard(mutex)(&memfd_luo_pins_lock);
	for (node = interval_tree_iter_first(&pins->tree, first, first); node;
	     node = interval_tree_iter_next(node, first, first)) {
		pin = container_of(node, struct memfd_luo_pin, node);
		if (node->start == first && node->last == first + nr - 1 && pin->taken != taken) {
			pin->taken = taken;
			return true;
		}
	}
	return false;
}

/**
 * memfd_luo_is_retrieved - is that a memfd with pins that were made when it was retrieved?
 * @file: any file
 *
 * Context: from a callback of the session that the memfd would be in.
 * Return: true if it is, and its session was not finished.
 */
bool memfd_luo_is_retrieved(struct file *file)
{
	return pins_of(file_inode(file));
}
EXPORT_SYMBOL_GPL(memfd_luo_is_retrieved);

/**
 * memfd_luo_take_pins - take over the pins of a mapping
 * @file: a memfd, for which memfd_luo_is_retrieved()
 * @first: first page of the mapping in the file
 * @nr: number of pages
 *
 * Each of these pages has one pin that the caller then has to give back to the page.
 *
 * Context: from a callback of the session that the memfd is in. May sleep.
 * Return: true if there is such a mapping, and its pins were not taken yet.
 */
bool memfd_luo_take_pins(struct file *file, pgoff_t first, unsigned long nr)
{
	return set_taken(file, first, nr, true);
}
EXPORT_SYMBOL_GPL(memfd_luo_take_pins);

/**
 * memfd_luo_give_pins - undo memfd_luo_take_pins()
 * @file: as there
 * @first: as there
 * @nr: as there
 *
 * Context: from a callback of the session that the memfd is in. May sleep.
 */
void memfd_luo_give_pins(struct file *file, pgoff_t first, unsigned long nr)
{
	WARN_ON_ONCE(!set_taken(file, first, nr, false));
}
EXPORT_SYMBOL_GPL(memfd_luo_give_pins);
