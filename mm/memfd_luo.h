/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live update of memfds: what its files share.
 */
#ifndef _MM_MEMFD_LUO_H
#define _MM_MEMFD_LUO_H

#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/kho/abi/memfd.h>

struct file;
struct folio;
struct inode;
struct user_struct;

#define MEMFD_LUO_RECORDS_PER_PAGE	(PAGE_SIZE / sizeof(struct memfd_luo_folio_ser))

/*
 * Reading an array of records, by the direct map. An array that the previous kernel
 * left is taken over page by page on the way, and freed behind the reader.
 */
struct memfd_luo_reader {
	struct kho_vmalloc_chunk *chunk;
	struct memfd_luo_folio_ser *block;	/* 1 << @order pages of records */
	u64 left;			/* records not yet read, in all blocks */
	unsigned int room;		/* records not yet read, in this block */
	unsigned int slot;		/* of the next block, in @chunk */
	unsigned int order;
	bool incoming;			/* left by the previous kernel: trust nothing */
};

/* Writing to an array of records, at its end. */
struct memfd_luo_writer {
	struct memfd_luo_ser *ser;
	struct kho_vmalloc_chunk *chunk;		/* the last one */
	struct memfd_luo_folio_ser *records;		/* the last page */
	unsigned int slots;		/* used in @chunk */
};

/* A preserved file. */
struct memfd_luo {
	refcount_t users;

	struct mutex lock;		/* protects all of the following */
	struct inode *inode;		/* NULL when the file is not preserved any more */
	pgoff_t cursor;			/* folios below are recorded */
	bool frozen;
	bool unevictable;		/* made so by us */
	struct memfd_luo_writer writer;
	struct list_head stale;		/* of struct stale_page */
	unsigned long nr_folios[LIVEUPDATE_NR_ORDERS];	/* recorded, by order */

	struct user_struct *user;	/* on whose locked_vm the pages are */
	unsigned long memlock_limit;	/* in pages */
	unsigned long locked_pages;
};

/* memfd_luo.c */
unsigned long memfd_luo_memlock_limit(void);
int memfd_luo_check(struct file *file);

/* memfd_luo_folios.c */
int memfd_luo_preserve_folios(struct memfd_luo *m);
int memfd_luo_add_folio(struct memfd_luo *m, struct folio *folio);
void memfd_luo_remove_folio(struct memfd_luo *m, struct folio *folio);
void memfd_luo_drop_folios(struct memfd_luo *m);
void memfd_luo_refresh(struct memfd_luo *m);
void memfd_luo_set_uptodate(struct memfd_luo *m, struct folio *folio);

/* memfd_luo_records.c */
int memfd_luo_writer_open(struct memfd_luo_writer *w, size_t size);
struct memfd_luo_folio_ser *memfd_luo_writer_room(struct memfd_luo_writer *w,
						  unsigned int *room);
void memfd_luo_writer_commit(struct memfd_luo_writer *w, unsigned int nr);
void memfd_luo_writer_close(struct memfd_luo_writer *w);
struct memfd_luo_folio_ser *memfd_luo_record(struct memfd_luo_ser *ser, u64 nr);
void memfd_luo_reader_open(struct memfd_luo_reader *r, const struct memfd_luo_ser *ser,
			   bool incoming);
const struct memfd_luo_folio_ser *memfd_luo_reader_next(struct memfd_luo_reader *r);
void memfd_luo_reader_close(struct memfd_luo_reader *r);

/* memfd_luo_pins.c */
#ifdef CONFIG_IOMMUFD_LIVEUPDATE
int memfd_luo_find_pins(struct liveupdate_file_op_args *args, struct inode *inode);
int memfd_luo_pin_folio(struct inode *inode, struct folio *folio);
void memfd_luo_unpin_folio(struct inode *inode, struct folio *folio);
void memfd_luo_drop_pins(struct inode *inode, struct list_head *folios);
#else
static inline int memfd_luo_find_pins(struct liveupdate_file_op_args *args,
				      struct inode *inode)
{
	return 0;
}

static inline int memfd_luo_pin_folio(struct inode *inode, struct folio *folio)
{
	return 0;
}

static inline void memfd_luo_unpin_folio(struct inode *inode, struct folio *folio)
{
}

static inline void memfd_luo_drop_pins(struct inode *inode, struct list_head *folios)
{
}
#endif

/* memfd_luo_restore.c */
int memfd_luo_make_attrs(struct file *file, const struct memfd_luo_ser *ser,
			 unsigned int *seals);
int memfd_luo_retrieve(struct liveupdate_file_op_args *args);
void memfd_luo_finish(struct liveupdate_file_op_args *args);
int memfd_luo_read_ser(u64 pa, struct memfd_luo_ser *ser);

/* memfd_luo_stat.c */
u64 memfd_luo_record_bytes(u64 record_pages);
int memfd_luo_stat_incoming(u64 pa, unsigned int skip, struct liveupdate_file_stat *stat);
int memfd_luo_stat(struct liveupdate_file_op_args *args, struct liveupdate_file_stat *stat);

#endif /* _MM_MEMFD_LUO_H */
