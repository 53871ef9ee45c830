// SPDX-License-Identifier: GPL-2.0
/*
 * The record of an iommufd, as the previous kernel left it.
 */

/**
 * DOC: Reading the record of an iommufd
 *
 * Who retrieves a memfd has to know which of its pages a device may write to, before
 * anybody could move them, and iommufd can be a module that is not there yet. So what
 * reads the record, include/linux/kho/abi/iommufd.h, is built in.
 *
 * An entry is checked by itself before anybody sees it. What entries say together, and
 * whether there is what they name, is up to who uses them.
 *
 * A page that is mapped too often could not be pinned so often, so the record is refused,
 * which the kernel that writes it finds out in the same way.
 *
 * Locks: none. The record does not change until the file is finished.
 */

#define pr_fmt(fmt) "iommufd: liveupdate: " fmt

#include <linux/export.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommufd_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/sort.h>

/* What is wrong with the members of which each type has some? */
static const char *iommufd_luo_fault_range(const struct iommufd_luo_ser *ser)
{
	u64 end;

	if (ser->type == IOMMUFD_LUO_ALLOWED)
		return ser->iova >= ser->last ? "an empty range" : NULL;
	if (ser->iova > ser->last || ser->last - ser->iova == U64_MAX)
		return "an impossible range";
	if (check_add_overflow(ser->offset, ser->last - ser->iova, &end) ||
	    end >= MAX_LFS_FILESIZE)
		return "a range beyond any file";
	return NULL;
}

/**
 * iommufd_luo_fault - what is wrong with an entry?
 * @ser: the entry
 * @nr_ioas: number of IOASes that came before it
 *
 * Context: any.
 * Return: what is wrong, for the log, or NULL.
 */
const char *iommufd_luo_fault(const struct iommufd_luo_ser *ser, u32 nr_ioas)
{
	bool mapping = ser->type == IOMMUFD_LUO_MAPPING;
	bool range = mapping || ser->type == IOMMUFD_LUO_ALLOWED;
	u32 flags = 0;

	switch (ser->type) {
	case IOMMUFD_LUO_IOAS:
		flags = IOMMUFD_LUO_SMALL_PAGES;
		break;
	case IOMMUFD_LUO_ALLOWED:
		break;
	case IOMMUFD_LUO_MAPPING:
		flags = IOMMUFD_LUO_READ | IOMMUFD_LUO_WRITE;
		break;
	case IOMMUFD_LUO_HWPT:
		flags = IOMMUFD_LUO_COHERENT;
		break;
	default:
		return "an unknown type";
	}
	if (ser->flags & ~flags || (mapping && !ser->flags))
		return "unknown flags";
	if (ser->type == IOMMUFD_LUO_IOAS ? ser->ioas != nr_ioas : ser->ioas >= nr_ioas)
		return "a wrong IOAS";
	if ((!range && (ser->iova || ser->last)) || (!mapping && (ser->token || ser->offset)) ||
	    (ser->type != IOMMUFD_LUO_HWPT && ser->label))
		return "members that its type has not";
	return range ? iommufd_luo_fault_range(ser) : NULL;
}
EXPORT_SYMBOL_GPL(iommufd_luo_fault);

static const struct iommufd_luo_block_ser *iommufd_luo_block(u64 pa)
{
	const struct iommufd_luo_block_ser *block;

	if (!pa || !IS_ALIGNED(pa, IOMMUFD_LUO_BLOCK_SIZE) || kho_incoming_order(pa) != 0) {
		pr_err("there is no block of a record at %#llx\n", pa);
		return NULL;
	}
	block = phys_to_virt(pa);
	if (!block->count || block->count > IOMMUFD_LUO_PER_BLOCK) {
		pr_err("the block at %#llx has %llu entries\n", pa, block->count);
		return NULL;
	}
	return block;
}

/**
 * iommufd_luo_walk - read the record of an iommufd
 * @pa: data word of the file
 * @fn: called with each entry, which is sound by itself; ends the walk by not returning 0
 * @data: for @fn
 *
 * Context: may sleep, if @fn does.
 * Return: 0, what the last call of @fn returned, or -EINVAL for a record that is not sound,
 * which the log tells.
 */
int iommufd_luo_walk(u64 pa, iommufd_luo_fn *fn, void *data)
{
	u64 slow = pa;
	u32 nr_ioas = 0;
	int ret;

	for (unsigned long nr = 0; pa || !nr; nr++) {
		const struct iommufd_luo_block_ser *block = iommufd_luo_block(pa);
		const struct iommufd_luo_ser *ser;

		if (!block)
			return -EINVAL;
		ser = (const void *)(block + 1);
		for (u64 i = 0; i < block->count; i++, ser++) {
			const char *fault = iommufd_luo_fault(ser, nr_ioas);

			if (fault) {
				pr_err("an entry of the record at %#llx has %s\n", pa, fault);
				return -EINVAL;
			}
			nr_ioas += ser->type == IOMMUFD_LUO_IOAS;
			ret = fn(ser, data);
			if (ret)
				return ret;
		}
		pa = block->next;
		/* Goes half as fast, so in a circle it is met. */
		if (nr & 1)
			slow = ((const struct iommufd_luo_block_ser *)phys_to_virt(slow))->next;
		if (pa == slow) {
			pr_err("the record at %#llx goes round in a circle\n", pa);
			return -EINVAL;
		}
	}
	return 0;
}
EXPORT_SYMBOL_GPL(iommufd_luo_walk);

/**
 * iommufd_luo_add_edges - add a mapping to those that are to be counted
 * @edges: where to
 * @nr: how many edges there are
 * @token: token of the file
 * @first: first page of it that is mapped
 * @last: last page
 *
 * Context: any.
 * Return: how many there are then, up to two more.
 */
size_t iommufd_luo_add_edges(struct iommufd_luo_edge *edges, size_t nr, u64 token, u64 first,
			     u64 last)
{
	edges[nr++] = (struct iommufd_luo_edge){ token, first, 1 };
	if (last != U64_MAX)
		edges[nr++] = (struct iommufd_luo_edge){ token, last + 1, -1 };
	return nr;
}
EXPORT_SYMBOL_GPL(iommufd_luo_add_edges);

/* What ends at a page comes before what begins there. */
static int iommufd_luo_cmp_edges(const void *left, const void *right)
{
	const struct iommufd_luo_edge *a = left, *b = right;

	if (a->token != b->token)
		return a->token < b->token ? -1 : 1;
	if (a->page != b->page)
		return a->page < b->page ? -1 : 1;
	return a->step - b->step;
}

/**
 * iommufd_luo_too_deep - is any page mapped too often?
 * @edges: of all mappings, is sorted
 * @nr: number of them
 *
 * Context: may sleep.
 * Return: true if there are more than IOMMUFD_LUO_MAX_MAPPINGS.
 */
bool iommufd_luo_too_deep(struct iommufd_luo_edge *edges, size_t nr)
{
	int depth = 0;

	sort(edges, nr, sizeof(*edges), iommufd_luo_cmp_edges, NULL);
	for (size_t i = 0; i < nr; i++) {
		if (i && edges[i].token != edges[i - 1].token)
			depth = 0;
		depth += edges[i].step;
		if (depth > (int)IOMMUFD_LUO_MAX_MAPPINGS)
			return true;
	}
	return false;
}
EXPORT_SYMBOL_GPL(iommufd_luo_too_deep);

/* Mappings in records on their way out: counted first, then looked at. */
struct iommufd_luo_depth {
	struct iommufd_luo_edge *edges;
	size_t nr;
};

static int iommufd_luo_depth_record(u64 pa, void *arg)
{
	struct iommufd_luo_depth *depth = arg;
	const struct iommufd_luo_block_ser *block;
	const struct iommufd_luo_ser *ser;
	u64 first, last;

	for (; pa; pa = block->next) {
		block = phys_to_virt(pa);
		ser = (const void *)(block + 1);
		for (u64 i = 0; i < block->count; i++, ser++) {
			if (ser->type != IOMMUFD_LUO_MAPPING)
				continue;
			first = ser->offset >> PAGE_SHIFT;
			last = (ser->offset + (ser->last - ser->iova)) >> PAGE_SHIFT;
			if (depth->edges)
				depth->nr = iommufd_luo_add_edges(depth->edges, depth->nr,
								  ser->token, first, last);
			else
				depth->nr += 2;
		}
	}
	return 0;
}

static void iommufd_luo_depth_all(struct iommufd_luo_depth *depth,
				  struct liveupdate_session *session, u64 pa)
{
	depth->nr = 0;
	iommufd_luo_depth_record(pa, depth);
	liveupdate_session_walk(session, IOMMUFD_LUO_COMPATIBLE, iommufd_luo_depth_record, depth);
}

/**
 * iommufd_luo_check_depth - can the next kernel pin all that iommufds map?
 * @session: from the arguments of preserve()
 * @pa: the record that is about to be added to those of the session
 *
 * Context: may sleep.
 * Return: 0, -EINVAL if a page is mapped too often, which is logged, -ENOMEM.
 */
int iommufd_luo_check_depth(struct liveupdate_session *session, u64 pa)
{
	struct iommufd_luo_depth depth = { };
	bool deep;

	iommufd_luo_depth_all(&depth, session, pa);
	if (depth.nr <= 2 * IOMMUFD_LUO_MAX_MAPPINGS)
		return 0;
	depth.edges = kvmalloc_array(depth.nr, sizeof(*depth.edges), GFP_KERNEL_ACCOUNT);
	if (!depth.edges)
		return -ENOMEM;
	iommufd_luo_depth_all(&depth, session, pa);
	deep = iommufd_luo_too_deep(depth.edges, depth.nr);
	kvfree(depth.edges);
	if (!deep)
		return 0;
	pr_warn_ratelimited("cannot be preserved: a page of a memfd is mapped over %u times\n",
			    IOMMUFD_LUO_MAX_MAPPINGS);
	return -EINVAL;
}
EXPORT_SYMBOL_GPL(iommufd_luo_check_depth);

/**
 * iommufd_luo_free - the record of an iommufd is not needed any more
 * @pa: data word of the file
 *
 * Context: may sleep.
 */
void iommufd_luo_free(u64 pa)
{
	/* A block that was freed is not preserved any more, so circles end. */
	while (pa && IS_ALIGNED(pa, IOMMUFD_LUO_BLOCK_SIZE) && kho_incoming_order(pa) == 0) {
		struct iommufd_luo_block_ser *block = phys_to_virt(pa);

		pa = block->next;
		kho_restore_free(block);
	}
}
EXPORT_SYMBOL_GPL(iommufd_luo_free);
