// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of hugetlb memfds: the pools that the pages belong to.
 */

/**
 * DOC: hugetlb_luo pool
 *
 * Preserved huge pages are pages of the pool of the next kernel. With ``hugepages=N``
 * and P of them preserved, that kernel allocates N - P, and has N, of which P are in
 * use. They are so whether or not the files are retrieved, which must not change
 * what others see of the pool. When P is larger than N, the rest is surplus, and leaves
 * the pool when it is free, as with a pool that is made smaller while in use.
 *
 * The number of pages, for each size and node, travels in an FLB,
 * include/linux/kho/abi/hugetlb.h. Whether a page was surplus does not: this kernel's
 * own settings decide.
 *
 * **Boot.** Gigantic pages are allocated while parameters are parsed, the others when
 * hugetlb is initialised. Both times hugetlb_luo_boot_pages() says how many less it can
 * be. That reads the record where it is, as there may be no allocator yet. Then
 * hugetlb_luo_boot_adopt() enters the preserved pages into the counts. From there they
 * are *awaited*.
 *
 * **Retrieve** takes two steps, since most of the work is cheaper for many pages at a
 * time. hugetlb_luo_pool_prepare() makes hugetlb pages of folios that KHO gave back:
 * frozen, with their memmap optimised if this kernel does that (whether the previous one
 * did is of no interest, as every kernel makes its own memmap). hugetlb_luo_pool_adopt()
 * puts one among the pages in use. If it was awaited, it is counted already. If not,
 * as the record was lost or wrong, it is added as surplus. Then it is like any other
 * page, and goes its way when the last reference is put: back into the pool. That is
 * also what becomes of the pages of a file that is finished and was never
 * retrieved: the pool was promised N pages, and these are some of them.
 *
 * **Finish.** When no files are left, what is still awaited cannot come any more, and is
 * taken off the counts.
 *
 * The record is bounded by the map of preserved memory, so a wrong one makes a pool
 * too small, but never larger than what there is.
 *
 * Locks: hugetlb_lock protects all counts of pools and what is awaited.
 * &hugetlb_luo_pool.lock protects the outgoing record, and is the innermost lock.
 */

#define pr_fmt(fmt) "hugetlb_luo: " fmt

#include <linux/err.h>
#include <linux/hugetlb.h>
#include <linux/hugetlb_luo.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "hugetlb_luo.h"
#include "hugetlb_vmemmap.h"

static struct liveupdate_flb pool_flb;

/* The outgoing side: a record that is true at any moment. */
struct hugetlb_luo_pool {
	spinlock_t lock;		/* protects the entries of @ser */
	struct hugetlb_luo_pool_ser *ser;
};

/* Counted in the pool, and not adopted yet. */
static unsigned long awaited[HUGE_MAX_HSTATE][MAX_NUMNODES];

/* ---- outgoing ---- */

/**
 * hugetlb_luo_pool_get - the record that pages are counted in
 *
 * Context: preserve() of a file that depends on it; may sleep.
 * Return: the record, to be put, or an ERR_PTR().
 */
struct hugetlb_luo_pool *hugetlb_luo_pool_get(void)
{
	void *obj;
	int err = liveupdate_flb_get_outgoing(&pool_flb, &obj);

	return err ? ERR_PTR(err) : obj;
}

/**
 * hugetlb_luo_pool_put - let go of the record
 * @pool: from hugetlb_luo_pool_get()
 */
void hugetlb_luo_pool_put(struct hugetlb_luo_pool *pool)
{
	liveupdate_flb_put_outgoing(&pool_flb);
}

/**
 * hugetlb_luo_pool_count - a page is preserved, or not any more
 * @pool: from hugetlb_luo_pool_get()
 * @folio: the page
 * @change: 1 or -1
 */
void hugetlb_luo_pool_count(struct hugetlb_luo_pool *pool, struct folio *folio, int change)
{
	unsigned int nr = hstate_index(folio_hstate(folio)) * nr_node_ids + folio_nid(folio);

	spin_lock(&pool->lock);
	pool->ser->entries[nr].nr_pages += change;
	spin_unlock(&pool->lock);
}

static int pool_preserve(struct liveupdate_flb_op_args *args)
{
	unsigned int nr = hugetlb_max_hstate * nr_node_ids;
	struct hugetlb_luo_pool *pool;
	struct hugetlb_luo_pool_ser *ser;

	pool = kzalloc(sizeof(*pool), GFP_KERNEL_ACCOUNT);
	if (!pool)
		return -ENOMEM;

	ser = kho_alloc_preserve(struct_size(ser, entries, nr));
	if (IS_ERR(ser)) {
		kfree(pool);
		return PTR_ERR(ser);
	}
	ser->nr_entries = nr;
	while (nr--)
		ser->entries[nr] = (struct hugetlb_luo_pool_entry_ser) {
			.order = huge_page_order(&hstates[nr / nr_node_ids]),
			.nid = nr % nr_node_ids,
		};

	spin_lock_init(&pool->lock);
	pool->ser = ser;
	args->obj = pool;
	args->data = virt_to_phys(ser);
	return 0;
}

static void pool_unpreserve(struct liveupdate_flb_op_args *args)
{
	struct hugetlb_luo_pool *pool = args->obj;

	for (u64 i = 0; i < pool->ser->nr_entries; i++)
		WARN_ON_ONCE(pool->ser->entries[i].nr_pages);
	kho_unpreserve_free(pool->ser);
	kfree(pool);
}

/* ---- incoming ---- */

/* What the previous kernel says, or NULL. */
static const struct hugetlb_luo_pool_ser *incoming_ser(void)
{
	const struct hugetlb_luo_pool_ser *ser;
	u64 pa;

	if (liveupdate_flb_peek_incoming(&pool_flb, &pa))
		return NULL;

	if (!PAGE_ALIGNED(pa) || !kho_incoming_range(pa, sizeof(*ser)))
		goto bad;
	ser = phys_to_virt(pa);
	if (ser->nr_entries > HUGE_MAX_HSTATE * MAX_NUMNODES ||
	    !kho_incoming_range(pa, struct_size(ser, entries, ser->nr_entries)))
		goto bad;
	return ser;

bad:
	pr_err_once("record %#llx of the pools is damaged: preserved pages will be surplus\n", pa);
	return NULL;
}

/* A node that is no more, or has no number here: count its pages on the first one. */
static int node_of(const struct hugetlb_luo_pool_entry_ser *entry)
{
	return entry->nid < MAX_NUMNODES && node_state(entry->nid, N_MEMORY) ?
		entry->nid : first_memory_node;
}

/* How many pages were preserved, on a node or on all of them. */
static unsigned long incoming_pages(const struct hugetlb_luo_pool_ser *ser, unsigned int order,
				    int nid)
{
	unsigned long limit = kho_incoming_blocks(order);
	unsigned long all = 0, sum = 0;

	for (u64 i = 0; ser && i < ser->nr_entries; i++) {
		const struct hugetlb_luo_pool_entry_ser *entry = &ser->entries[i];

		if (entry->order != order)
			continue;
		if (entry->nr_pages > limit - all) {
			pr_err_once("more huge pages of order %u announced than preserved, none counted\n",
				    order);
			return 0;
		}
		all += entry->nr_pages;
		if (nid == NUMA_NO_NODE || nid == node_of(entry))
			sum += entry->nr_pages;
	}
	return sum;
}

/**
 * hugetlb_luo_boot_pages - how many pages need not be allocated at boot?
 * @h: size of the pages
 * @nid: a node, or %NUMA_NO_NODE for all of them
 *
 * Context: boot, from the parsing of parameters on.
 * Return: number of preserved pages, not more than are asked for.
 */
unsigned long __init hugetlb_luo_boot_pages(struct hstate *h, int nid)
{
	unsigned long wanted = h->max_huge_pages;

	if (nid != NUMA_NO_NODE)
		wanted = h->max_huge_pages_node[nid];
	return min(incoming_pages(incoming_ser(), huge_page_order(h), nid), wanted);
}

static bool __init sized_by_node(struct hstate *h)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		if (h->max_huge_pages_node[nid])
			return true;
	return false;
}

/* Enter the preserved pages of a size into the counts, what is too many as surplus. */
static void __init boot_adopt(struct hstate *h, const struct hugetlb_luo_pool_ser *ser)
{
	unsigned long left = h->max_huge_pages;
	bool by_node = sized_by_node(h);
	unsigned long sum = 0, surplus = 0;
	int nid;

	spin_lock_irq(&hugetlb_lock);
	for_each_node_state(nid, N_MEMORY) {
		unsigned long nr = incoming_pages(ser, huge_page_order(h), nid);
		unsigned long keep = min(nr, by_node ? h->max_huge_pages_node[nid] : left);

		awaited[hstate_index(h)][nid] = nr;
		h->nr_huge_pages += nr;
		h->nr_huge_pages_node[nid] += nr;
		h->surplus_huge_pages += nr - keep;
		h->surplus_huge_pages_node[nid] += nr - keep;
		left -= by_node ? 0 : keep;
		sum += nr;
		surplus += nr - keep;
	}
	spin_unlock_irq(&hugetlb_lock);

	if (sum)
		pr_info("%s: %lu pages preserved, %lu of them surplus\n", h->name, sum, surplus);
}

/**
 * hugetlb_luo_boot_adopt - enter preserved pages into the counts of their pools
 *
 * Context: boot, when the sizes of all pools are known and before those are filled that
 * are not gigantic.
 */
void __init hugetlb_luo_boot_adopt(void)
{
	const struct hugetlb_luo_pool_ser *ser = incoming_ser();
	struct hstate *h;

	if (!ser)
		return;
	for_each_hstate(h)
		boot_adopt(h, ser);
}

/**
 * hugetlb_luo_pool_prepare - make hugetlb pages of folios
 * @h: the size of the folios
 * @folios: folios from KHO, by lru, each with the only reference to it. On return they
 *	are frozen: no one can get a reference.
 *
 * Context: may sleep.
 */
void hugetlb_luo_pool_prepare(struct hstate *h, struct list_head *folios)
{
	struct folio *folio, *next;
	LIST_HEAD(prepared);

	list_for_each_entry_safe(folio, next, folios, lru) {
		list_del(&folio->lru);
		/* Who looks at memory page by page can have one for a moment. */
		while (!folio_ref_freeze(folio, 1))
			cond_resched();
		init_new_hugetlb_folio(h, folio);
		list_add_tail(&folio->lru, &prepared);
		cond_resched();
	}
	hugetlb_vmemmap_optimize_folios(h, &prepared);
	list_splice(&prepared, folios);
}

/**
 * hugetlb_luo_pool_adopt - take a page into its pool, as one in use
 * @h: the size of the page
 * @folio: the page, from hugetlb_luo_pool_prepare(), in no list
 *
 * The caller has the only reference. When it is put, the page goes back to the pool
 * or, if there are enough without it, to the buddy allocator.
 *
 * Context: process context, takes hugetlb_lock.
 */
void hugetlb_luo_pool_adopt(struct hstate *h, struct folio *folio)
{
	int nid = folio_nid(folio);

	spin_lock_irq(&hugetlb_lock);
	if (awaited[hstate_index(h)][nid]) {
		awaited[hstate_index(h)][nid]--;
	} else {
		h->nr_huge_pages++;
		h->nr_huge_pages_node[nid]++;
		h->surplus_huge_pages++;
		h->surplus_huge_pages_node[nid]++;
	}
	list_add(&folio->lru, &h->hugepage_activelist);
	spin_unlock_irq(&hugetlb_lock);

	folio_ref_unfreeze(folio, 1);
}

static int pool_retrieve(struct liveupdate_flb_op_args *args)
{
	/* All has happened at boot. Not NULL, which would stand for nothing. */
	args->obj = awaited;
	return 0;
}

/* What has not come by now does not exist. */
static void forget_awaited(struct hstate *h)
{
	unsigned long lost = 0;
	int nid;

	spin_lock_irq(&hugetlb_lock);
	for_each_node_state(nid, N_MEMORY) {
		unsigned long nr = awaited[hstate_index(h)][nid];
		unsigned long surplus = min(nr, h->surplus_huge_pages_node[nid]);

		awaited[hstate_index(h)][nid] = 0;
		h->nr_huge_pages -= nr;
		h->nr_huge_pages_node[nid] -= nr;
		h->surplus_huge_pages -= surplus;
		h->surplus_huge_pages_node[nid] -= surplus;
		h->max_huge_pages -= nr - surplus;
		lost += nr;
	}
	spin_unlock_irq(&hugetlb_lock);

	if (lost)
		pr_warn("%s: %lu pages were announced and never came\n", h->name, lost);
}

static void pool_finish(struct liveupdate_flb_op_args *args)
{
	struct hstate *h;

	for_each_hstate(h)
		forget_awaited(h);
	if (PAGE_ALIGNED(args->data) && kho_incoming_range(args->data, 1))
		kho_restore_free(phys_to_virt(args->data));
}

static const struct liveupdate_flb_ops pool_flb_ops = {
	.preserve = pool_preserve,
	.unpreserve = pool_unpreserve,
	.retrieve = pool_retrieve,
	.finish = pool_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb pool_flb = {
	.ops = &pool_flb_ops,
	.compatible = HUGETLB_LUO_POOL_COMPATIBLE,
};

/**
 * hugetlb_luo_pool_register - make the pools travel with files
 * @handler: the handler of these files
 *
 * Return: 0 or a negative errno.
 */
int __init hugetlb_luo_pool_register(struct liveupdate_file_handler *handler)
{
	return liveupdate_register_flb(handler, &pool_flb);
}
