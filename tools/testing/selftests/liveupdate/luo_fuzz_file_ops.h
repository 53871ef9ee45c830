/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the fuzzer does to memfds, of single and of huge pages.
 *
 * Files of huge pages are written by mmap() only, their size is cut at whole pages by
 * ftruncate(), grows with what is mapped, and is any number after fallocate().
 */
#ifndef LUO_FUZZ_FILE_OPS_H
#define LUO_FUZZ_FILE_OPS_H

#include "luo_fuzz_ops.h"

#define MFD_HUGE	(MFD_HUGETLB | 21U << 26)

/* Not every kernel has a pool of them. Each file uses one page at most. */
static bool huge_pages(void)
{
	static long long nr = -1;

	if (nr < 0)
		nr = luo_file_num("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	return nr >= FZ_OBJECTS;
}

static bool op_memfd(struct fz_op op)
{
	static const unsigned int flags[] = {
		MFD_ALLOW_SEALING | MFD_EXEC, MFD_EXEC, MFD_NOEXEC_SEAL,
		MFD_ALLOW_SEALING | MFD_EXEC,
	};
	bool huge = !(op.b % 5) && huge_pages();
	int o = fz_free_object(model);
	struct fz_object *obj;

	if (o < 0)
		return true;
	obj = &model->objects[o];
	object_fds[o][0] = luo_memfd("fuzz", flags[op.a % 4] | (huge ? MFD_HUGE : 0), 0);
	if (object_fds[o][0] < 0)
		return judge("memfd_create", 0, object_fds[o][0]);
	memset(obj, 0, sizeof(*obj));
	obj->used = true;
	obj->huge = huge;
	obj->seals = flags[op.a % 4] == MFD_EXEC ? F_SEAL_SEAL :
		     flags[op.a % 4] == MFD_NOEXEC_SEAL ? F_SEAL_EXEC : 0;
	return true;
}

static bool op_close_object(struct fz_op op)
{
	int o = pick_object(op.a), *fd;

	if (o < 0)
		return true;
	fd = used_slot(object_fds[o], FZ_OBJECT_FDS, op.b);
	close(*fd);
	*fd = -1;
	object_gone(o);
	return true;
}

static bool op_write(struct fz_op op)
{
	static uint8_t buf[3 * LUO_PAGE];
	int o = pick_object(op.a), len = 1 + op.b % (op.b & 1 ? 100 : sizeof(buf));
	bool at_pos = op.c & 1;
	struct fz_object *obj;
	long off, end, got;

	if (o < 0)
		return true;
	obj = &model->objects[o];
	off = at_pos ? obj->pos : (op.c >> 1) % FZ_SHADOW;
	if (off + len > FZ_SHADOW)
		return true;
	end = off + len;
	for (int i = 0; i < len; i++)
		buf[i] = op.c * 7 + i;
	got = at_pos ? write(object_fd(o), buf, len) : pwrite(object_fd(o), buf, len, off);
	if (got < 0)
		got = -errno;

	if (obj->huge)
		return judge("write to huge pages", -EINVAL, got);
	if (obj->seals & FZ_WRITE_SEALS)
		return judge("write to a sealed file", -EPERM, got);
	if (end > obj->size && (obj->hold == FZ_PRESERVED || obj->seals & F_SEAL_GROW)) {
		/* What lies before the end may be written. */
		if (got != -EPERM && (got <= 0 || off + got > obj->size))
			return judge("write over the end", -EPERM, got);
	} else if (!judge("write", len, got)) {
		return false;
	}
	if (got <= 0)
		return true;
	memcpy(obj->shadow + off, buf, got);
	if (off + got > obj->size)
		obj->size = off + got;
	if (at_pos)
		obj->pos = off + got;
	return true;
}

static bool op_seek(struct fz_op op)
{
	int o = pick_object(op.a);

	if (o < 0)
		return true;
	model->objects[o].pos = op.c % (op.b & 1 ? FZ_SHADOW : INT32_MAX);
	return judge("lseek", model->objects[o].pos,
		     lseek(object_fd(o), model->objects[o].pos, SEEK_SET));
}

static bool op_truncate(struct fz_op op)
{
	int o = pick_object(op.a);
	struct fz_object *obj;
	int64_t size;
	int want = 0, got;

	if (o < 0)
		return true;
	obj = &model->objects[o];
	/* Now and then far beyond what is ever written: zeroes without pages. */
	size = op.b % 8 ? op.c % (FZ_SHADOW + 1) : (int64_t)op.c << 8;
	if (obj->huge && op.b % 16)
		size = op.c % 3 * LUO_HUGE;
	if (obj->huge && size % LUO_HUGE)
		want = -EINVAL;
	else if ((size < obj->size && obj->seals & F_SEAL_SHRINK) ||
		 (size > obj->size && obj->seals & F_SEAL_GROW) ||
		 obj->hold == FZ_PRESERVED)
		want = -EPERM;
	got = ftruncate(object_fd(o), size) ? -errno : 0;
	if (!judge("ftruncate", want, got))
		return false;
	if (!got)
		fz_truncate(obj, size);
	return true;
}

static bool op_fallocate(struct fz_op op)
{
	int o = pick_object(op.a), want = 0, got, mode;
	long off = op.b % FZ_SHADOW, len = 1 + op.c % (4 * LUO_PAGE);
	struct fz_object *obj;

	if (o < 0)
		return true;
	if (off + len > FZ_SHADOW)
		len = FZ_SHADOW - off;
	obj = &model->objects[o];
	mode = op.c >> 28 & 1 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE :
	       op.c >> 29 & 1 ? FALLOC_FL_KEEP_SIZE : 0;
	if (obj->hold == FZ_PRESERVED)
		want = -EPERM;
	else if (mode & FALLOC_FL_PUNCH_HOLE)
		want = obj->seals & FZ_WRITE_SEALS ? -EPERM : 0;
	else
		want = obj->seals & F_SEAL_GROW && off + len > obj->size ? -EPERM : 0;
	got = fallocate(object_fd(o), mode, off, len) ? -errno : 0;
	if (!judge("fallocate", want, got))
		return false;
	if (got)
		return true;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		memset(obj->shadow + off, 0, len);
	else if (!mode && off + len > obj->size)
		obj->size = off + len;
	return true;
}

static bool op_mmap(struct fz_op op)
{
	int o = pick_object(op.a), len = 1 + op.c % 64;
	struct fz_object *obj;
	long off, base, span = 2 * LUO_PAGE;
	uint8_t *map;
	bool grows;

	if (o < 0)
		return true;
	obj = &model->objects[o];
	if (obj->size < LUO_PAGE)
		return true;
	/* The size of a file of huge pages follows its mappings. */
	if (obj->huge)
		span = LUO_HUGE;
	grows = obj->huge && obj->size < span;
	off = (op.b * 8L + (op.c >> 16)) %
	      ((obj->size < FZ_SHADOW ? obj->size : FZ_SHADOW) - len);
	base = obj->huge ? 0 : off & ~(LUO_PAGE - 1);
	map = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED, object_fd(o), base);
	if (obj->seals & FZ_WRITE_SEALS || (grows && obj->hold == FZ_PRESERVED))
		return judge("mmap", -EPERM, map == MAP_FAILED ? -errno : 0);
	if (map == MAP_FAILED)
		return judge("mmap", 0, -errno);
	memset(map + off - base, op.c >> 8, len);
	munmap(map, span);
	if (grows)
		obj->size = span;
	memset(obj->shadow + off, op.c >> 8, len);
	return true;
}

static bool op_seal(struct fz_op op)
{
	static const int seals[] = { F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE,
				     F_SEAL_WRITE, F_SEAL_SEAL, F_SEAL_SHRINK | F_SEAL_GROW };
	int o = pick_object(op.a), seal = seals[op.b % 6], got;
	struct fz_object *obj;

	if (o < 0)
		return true;
	obj = &model->objects[o];
	/* Pinned pages are waited for, for long. */
	if (seal == F_SEAL_WRITE && obj->hold == FZ_PRESERVED && op.c % 8)
		return true;
	got = fcntl(object_fd(o), F_ADD_SEALS, seal) ? -errno : 0;
	if (obj->seals & F_SEAL_SEAL)
		return judge("F_ADD_SEALS", -EPERM, got);
	if (seal == F_SEAL_WRITE && got == -EBUSY)
		return true;
	if (!judge("F_ADD_SEALS", 0, got))
		return false;
	obj->seals |= seal;
	return true;
}

static bool op_look(struct fz_op op)
{
	int o = pick_object(op.a);

	return o < 0 || same_contents(o, object_fd(o));
}

#endif /* LUO_FUZZ_FILE_OPS_H */
