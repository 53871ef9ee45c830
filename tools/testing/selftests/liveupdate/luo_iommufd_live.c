// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: an iommufd goes through a kexec with what was marked, and nothing may
 * change that was preserved.
 *
 * The devices and the page tables are those of the kernel's own tests of iommufd, which
 * are not carried over: so in the next kernel no HWPT is adopted, and what is seen is
 * that IOASes, ranges and mappings are the same, and that all pages that a device
 * could be writing to are pinned until the session is finished.  A device that runs
 * on is tested by luo_vfio*.c.
 *
 * vm-test: name=iommufd_live stages=2 kernels=debug mem=1024 timeout=60 \
 *          append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_iommufd_mock.h"

#define FIRST		1	/* tokens */
#define SECOND		2
#define IOMMU		3
#define HUGE		4
#define OTHER_LABEL	8
#define PAGES		64UL
#define LEN		(PAGES * LUO_PAGE)
#define HUGE_PAGES	(LUO_HUGE / LUO_PAGE)
#define IOVA_FILE	0x2000000UL
#define IOVA_ADDR	0x4000000UL
#define IOVA_NEW	0x6000000UL
#define IOVA_HUGE	0x7000000UL
#define IOVA_LAST	0x7ffffffUL

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static int allow(int fd, __u32 ioas, uint64_t start, uint64_t last)
{
	struct iommu_iova_range range = { .start = start, .last = last };
	struct iommu_ioas_allow_iovas cmd = {
		.size = sizeof(cmd), .ioas_id = ioas, .num_iovas = 1,
		.allowed_iovas = (uintptr_t)&range,
	};

	return ioctl(fd, IOMMU_IOAS_ALLOW_IOVAS, &cmd) ? -errno : 0;
}

static int unpreserve(int session, uint64_t token)
{
	struct liveupdate_session_unpreserve_file cmd = { .size = sizeof(cmd), .token = token };

	return ioctl(session, LIVEUPDATE_SESSION_UNPRESERVE_FILE, &cmd) ? -errno : 0;
}

LUO_TEST(stage1, marks)
{
	struct { struct iommu_hwpt_liveupdate_mark_preserve cmd; __u32 more; } large = { };
	__u32 ioas, hwpt, second, parent, dirty, nested, automatic, dev, fault, fault_fd;
	struct iommu_hwpt_selftest data = { };
	struct ctx c;

	ASSERT_EQ(0, open_ctx(&c));
	EXPECT_EQ(-ENOENT, vfio_marked(c.fd, VFIO_LABEL, &ioas, &hwpt));
	EXPECT_EQ(-ENOENT, vfio_mark(c.fd, 12345, VFIO_LABEL));
	EXPECT_EQ(-ENOENT, vfio_mark(c.fd, c.ioas, VFIO_LABEL));
	EXPECT_EQ(-ENOENT, vfio_mark(c.fd, c.idev, VFIO_LABEL));
	large.cmd.size = 8;
	EXPECT_EQ(-1, ioctl(c.fd, IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE, &large));
	EXPECT_EQ(EINVAL, errno);
	large.cmd.size = sizeof(large);
	large.more = 1;
	EXPECT_EQ(-1, ioctl(c.fd, IOMMU_HWPT_LIVEUPDATE_MARK_PRESERVE, &large));
	EXPECT_EQ(E2BIG, errno);

	EXPECT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));
	EXPECT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));
	EXPECT_EQ(-EEXIST, vfio_mark(c.fd, c.hwpt, OTHER_LABEL));
	EXPECT_EQ(0, vfio_marked(c.fd, VFIO_LABEL, &ioas, &hwpt));
	EXPECT_EQ(c.ioas, ioas);
	EXPECT_EQ(c.hwpt, hwpt);

	ASSERT_EQ(0, _test_cmd_hwpt_alloc(c.fd, c.idev, c.ioas, 0, 0, &second,
					  IOMMU_HWPT_DATA_NONE, NULL, 0));
	EXPECT_EQ(-EADDRINUSE, vfio_mark(c.fd, second, VFIO_LABEL));
	EXPECT_EQ(0, vfio_mark(c.fd, second, OTHER_LABEL));
	/* A label is free again when its HWPT is gone. */
	EXPECT_EQ(0, _test_ioctl_destroy(c.fd, second));
	EXPECT_EQ(-ENOENT, vfio_marked(c.fd, OTHER_LABEL, &ioas, &hwpt));

	ASSERT_EQ(0, _test_cmd_mock_domain(c.fd, c.ioas, &dev, &automatic, NULL));
	EXPECT_EQ(-EINVAL, vfio_mark(c.fd, automatic, OTHER_LABEL));
	EXPECT_EQ(1, luo_klog_has("was made by an attachment"));
	ASSERT_EQ(0, _test_cmd_hwpt_alloc(c.fd, c.idev, c.ioas, 0, IOMMU_HWPT_ALLOC_NEST_PARENT,
					  &parent, IOMMU_HWPT_DATA_NONE, NULL, 0));
	EXPECT_EQ(-EOPNOTSUPP, vfio_mark(c.fd, parent, OTHER_LABEL));
	EXPECT_EQ(1, luo_klog_has("is the parent of nested ones"));
	ASSERT_EQ(0, _test_cmd_hwpt_alloc(c.fd, c.idev, parent, 0, 0, &nested,
					  IOMMU_HWPT_DATA_SELFTEST, &data, sizeof(data)));
	EXPECT_EQ(-EOPNOTSUPP, vfio_mark(c.fd, nested, OTHER_LABEL));
	EXPECT_EQ(1, luo_klog_has("cannot be marked: it is nested"));
	/* In this kernel only nested ones can deliver faults. */
	ASSERT_EQ(0, _test_ioctl_fault_alloc(c.fd, &fault, &fault_fd));
	EXPECT_EQ(-1, _test_cmd_hwpt_alloc(c.fd, c.idev, c.ioas, fault,
					   IOMMU_HWPT_FAULT_ID_VALID, &second,
					   IOMMU_HWPT_DATA_NONE, NULL, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	ASSERT_EQ(0, _test_cmd_hwpt_alloc(c.fd, c.idev, parent, fault, IOMMU_HWPT_FAULT_ID_VALID,
					  &nested, IOMMU_HWPT_DATA_SELFTEST, &data,
					  sizeof(data)));
	EXPECT_EQ(-EOPNOTSUPP, vfio_mark(c.fd, nested, OTHER_LABEL));
	EXPECT_EQ(2, luo_klog_has("cannot be marked: it is nested"));
	close(fault_fd);
	ASSERT_EQ(0, _test_cmd_hwpt_alloc(c.fd, c.idev, c.ioas, 0,
					  IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &dirty,
					  IOMMU_HWPT_DATA_NONE, NULL, 0));
	EXPECT_EQ(-EOPNOTSUPP, vfio_mark(c.fd, dirty, OTHER_LABEL));
	EXPECT_EQ(1, luo_klog_has("tracks dirty pages"));
	close(c.fd);
}

LUO_TEST(stage1, refusals)
{
	int s, other, fd, plain;
	__u32 access;
	struct ctx c;
	char *mem;

	ASSERT_EQ(0, open_ctx(&c));
	s = luo_create_session(self->dev, "refusals");
	ASSERT_LE(0, s);
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(1, luo_klog_has("no HWPT has a mark"));
	ASSERT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));

	/* Not in a file */
	mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(0, map_addr(c.fd, c.ioas, mem, LEN, IOVA_ADDR, RW));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(1, luo_klog_has("IOVA 0x4000000 is not in a file"));
	ASSERT_EQ(0, vfio_unmap(c.fd, c.ioas, IOVA_ADDR, LEN));

	/* In a memfd that is not preserved, or in another session */
	fd = sealed(PAGES, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_file(c.fd, c.ioas, fd, 0, LEN, IOVA_FILE, RW));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(1, luo_klog_has("IOVA 0x2000000 is not of a memfd that was preserved before"));
	other = luo_create_session(self->dev, "other");
	ASSERT_EQ(0, luo_preserve_fd(other, fd, FIRST));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(0, luo_preserve_fd(other, c.fd, IOMMU));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, c.fd, IOMMU));
	close(other);

	/* An access of the kernel's, which a VFIO device without an IOMMU would have */
	ASSERT_EQ(0, luo_preserve_fd(s, fd, FIRST));
	ASSERT_EQ(0, _test_cmd_create_access(c.fd, c.ioas, &access, 0));
	EXPECT_EQ(-EOPNOTSUPP, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(1, luo_klog_has("is accessed by the kernel"));
	ASSERT_EQ(0, _test_cmd_destroy_access(access));
	EXPECT_EQ(0, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(0, unpreserve(s, IOMMU));

	/* A page that was copied on write is not in the file any more. */
	mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	mem[5 * LUO_PAGE] = 1;
	ASSERT_EQ(0, map_addr(c.fd, c.ioas, mem, LEN, IOVA_ADDR, IOMMU_IOAS_MAP_READABLE));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, c.fd, IOMMU));
	ASSERT_EQ(0, vfio_unmap(c.fd, c.ioas, IOVA_ADDR, LEN));

	/* Not sealed */
	plain = luo_memfd_filled("plain", MFD_ALLOW_SEALING, PAGES, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, plain, SECOND));
	ASSERT_EQ(0, map_file(c.fd, c.ioas, plain, 0, LUO_PAGE, IOVA_ADDR, RW));
	EXPECT_EQ(-EPERM, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(1, luo_klog_has("not sealed against shrinking and growing"));
	ASSERT_EQ(0, vfio_unmap(c.fd, c.ioas, IOVA_ADDR, LUO_PAGE));
	close(s);

	/* A page that was punched out of the file while it is mapped */
	s = luo_create_session(self->dev, "refusals");
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LUO_PAGE,
			       LUO_PAGE));
	ASSERT_EQ(0, luo_preserve_fd(s, fd, FIRST));
	EXPECT_EQ(-EINVAL, luo_preserve_fd(s, c.fd, IOMMU));
	EXPECT_EQ(1, luo_klog_has("IOVA 0x2001000 is not in a file"));
	close(s);

	close(c.fd);
}

LUO_TEST(stage1, nothing_changes_while_preserved)
{
	__u32 access, second, automatic, dev, ioas;
	struct ctx c;
	int s, fd;
	char *mem;

	ASSERT_EQ(0, open_ctx(&c));
	fd = sealed(PAGES, 1);
	mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_EQ(0, map_file(c.fd, c.ioas, fd, 0, LEN, IOVA_FILE, RW));
	ASSERT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));
	ASSERT_EQ(0, _test_cmd_hwpt_alloc(c.fd, c.idev, c.ioas, 0, 0, &second,
					  IOMMU_HWPT_DATA_NONE, NULL, 0));
	s = luo_create_session(self->dev, "fixed");
	ASSERT_EQ(0, luo_preserve_fd(s, fd, FIRST));
	ASSERT_EQ(0, luo_preserve_fd(s, c.fd, IOMMU));

	EXPECT_EQ(-EBUSY, map_file(c.fd, c.ioas, fd, 0, LEN, IOVA_NEW, RW));
	EXPECT_EQ(-EBUSY, map_addr(c.fd, c.ioas, mem, LEN, IOVA_NEW, RW));
	EXPECT_EQ(-EBUSY, vfio_unmap(c.fd, c.ioas, IOVA_FILE, LEN));
	EXPECT_EQ(-EBUSY, vfio_unmap(c.fd, c.ioas, 0, UINT64_MAX));
	EXPECT_EQ(-EBUSY, allow(c.fd, c.ioas, IOVA_FILE, IOVA_LAST));
	EXPECT_EQ(-1, _test_cmd_create_access(c.fd, c.ioas, &access, 0));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, _test_cmd_mock_domain_replace(c.fd, c.dev, c.hwpt, NULL));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, _test_cmd_mock_domain(c.fd, c.ioas, &dev, &automatic, NULL));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, _test_ioctl_destroy(c.fd, c.hwpt));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-EBUSY, vfio_mark(c.fd, second, OTHER_LABEL));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, c.fd, IOMMU + 1));
	/* The memory is needed. */
	EXPECT_EQ(-EBUSY, unpreserve(s, FIRST));
	EXPECT_EQ(-1, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LUO_PAGE));
	/* Another IOAS of the same iommufd is nobody's business. */
	ASSERT_EQ(0, _test_ioctl_ioas_alloc(c.fd, &ioas));
	EXPECT_EQ(0, map_file(c.fd, ioas, fd, 0, LEN, IOVA_FILE, RW));
	EXPECT_EQ(0, vfio_unmap(c.fd, ioas, IOVA_FILE, LEN));

	EXPECT_EQ(0, unpreserve(s, IOMMU));
	EXPECT_EQ(0, unpreserve(s, FIRST));
	EXPECT_EQ(0, _test_cmd_mock_domain_replace(c.fd, c.dev, c.hwpt, NULL));
	EXPECT_EQ(0, vfio_mark(c.fd, second, OTHER_LABEL));
	EXPECT_EQ(0, map_file(c.fd, c.ioas, fd, 0, LEN, IOVA_NEW, RW));
	EXPECT_EQ(0, vfio_unmap(c.fd, c.ioas, 0, UINT64_MAX));
	EXPECT_EQ(0, allow(c.fd, c.ioas, IOVA_FILE, IOVA_LAST));

	/* Preserved again, and given up by who holds both */
	EXPECT_EQ(0, luo_preserve_fd(s, c.fd, IOMMU));
	close(s);
	EXPECT_EQ(0, vfio_unmap(c.fd, c.ioas, 0, UINT64_MAX));
	close(c.fd);
}

/* Pages of both files in turn, then all of the first file but its first page. */
static char *patchwork(int first, int second)
{
	char *mem = mmap(NULL, 2 * LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mmap(mem, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, second, 0) != mem ||
	    mmap(mem + LEN, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, first, 0) !=
	    mem + LEN)
		return NULL;
	for (unsigned int i = 0; i < 8; i += 2) {
		char *at = mem + i * LUO_PAGE;

		if (mmap(at, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, first,
			 (8 - i) * LUO_PAGE) != at)
			return NULL;
	}
	return mem;
}

LUO_TEST(stage1, keep)
{
	int s, first, second, huge;
	__u32 low;
	struct ctx c;
	char *mem, *big;

	ASSERT_EQ(0, open_ctx(&c));
	first = sealed(PAGES, 1);
	second = sealed(PAGES, 2);
	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	mem = patchwork(first, second);
	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, allow(c.fd, c.ioas, IOVA_FILE, IOVA_LAST));
	ASSERT_EQ(0, map_file(c.fd, c.ioas, first, 3 * LUO_PAGE, LEN - 3 * LUO_PAGE, IOVA_FILE,
			      IOMMU_IOAS_MAP_READABLE));
	/* By address, and then there is nothing at that address. */
	ASSERT_EQ(0, map_addr(c.fd, c.ioas, mem, 2 * LEN, IOVA_ADDR, RW));
	munmap(mem, 2 * LEN);
	ASSERT_LE(0, luo_write_file("/proc/sys/vm/nr_hugepages", "1"));
	huge = luo_memfd("huge", MFD_HUGETLB | MFD_ALLOW_SEALING, LUO_HUGE);
	ASSERT_LE(0, huge);
	big = mmap(NULL, LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
	ASSERT_NE(MAP_FAILED, big);
	luo_fill(big, 0, HUGE_PAGES, 3);
	ASSERT_EQ(0, fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	ASSERT_EQ(0, map_file(c.fd, c.ioas, huge, 0, LUO_HUGE, IOVA_HUGE, RW));
	/* Parts of pages */
	ASSERT_EQ(0, map_file(c.fd, c.ioas, second, LUO_PAGE / 2, 2 * LUO_PAGE, IOVA_NEW, RW));
	ASSERT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));
	ASSERT_EQ(0, _test_ioctl_ioas_alloc(c.fd, &low));
	s = luo_create_session(self->dev, "iommufd");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, first, FIRST));
	ASSERT_EQ(0, luo_preserve_fd(s, second, SECOND));
	ASSERT_EQ(0, luo_preserve_fd(s, huge, HUGE));
	ASSERT_EQ(0, luo_preserve_fd(s, c.fd, IOMMU));
	ASSERT_EQ(0, luo_keep(s));
}

/* ---- records that arrive damaged ---- */

#define OUT		"/sys/kernel/debug/kho/out/"
#define BLOCK(at)	(at)		/* a member of the first block */
#define ENTRY(nr, at)	(0x10 + 0x30 * (nr) + (at))
#define DATA		-1		/* the data word of the file */

static const struct damage {
	int where;
	const char *how;		/* as poke_late has it; "*": the data word */
	const char *says;
	long long pins;			/* all of the file, if nobody knows which */
} damages[] = {
	{ ENTRY(1, 0), "^10", "has an unknown type", PAGES },
	{ ENTRY(1, 0), "^800000000", "has unknown flags", PAGES },
	{ ENTRY(0, 8), "^1", "has a wrong IOAS", PAGES },
	{ ENTRY(1, 0x18), "=1", "has an impossible range", PAGES },
	{ ENTRY(1, 0x20), "=99", "of token 0x99, cannot be had", 0 },
	{ ENTRY(1, 0x28), "=100000000", NULL, 0 },
	{ BLOCK(0), "*", "has a wrong IOAS", 2 * PAGES },	/* the one it knew, and all */
	{ BLOCK(0), "=1000", "no block of a record at 0x1000", 2 * PAGES },
	{ BLOCK(8), "=0", "has 0 entries", PAGES },
	{ BLOCK(8), "=56", "has 86 entries", PAGES },
	{ DATA, "=0", "no block of a record at 0", PAGES },
};

/* Where the number of the first property of a node is that LUO has in the root FDT. */
static unsigned long long luo_record(void)
{
	static char fdt[4097];
	unsigned long long phys = 0;
	char *at;

	if (luo_read_file(OUT "fdt", fdt, sizeof(fdt)) != 4096)
		return 0;
	at = memmem(fdt, 4096, "LUO", 4);
	if (at)
		memcpy(&phys, at + 16, sizeof(phys));
	return phys;
}

static int damage(unsigned int session, const struct damage *d)
{
	char data[128], line[400], place[160];

	/* Record, list of sessions, list of files, and the second of these */
	snprintf(data, sizeof(data), "%llx:%x:%x", luo_record() + 0x10,
		 0x10 + 0x50 * session + 0x40, 0x10 + 0x40 + 0x30);
	if (d->where == DATA)
		snprintf(place, sizeof(place), "%s", data);
	else
		snprintf(place, sizeof(place), "%s:%x", data, d->where);
	snprintf(line, sizeof(line), "%s%s%s\n", place, d->how, d->how[0] == '*' ? data : "");
	return luo_write_file(OUT "poke_late", line);
}

LUO_TEST(stage1, keep_for_damage)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(damages); i++) {
		char name[16];
		struct ctx c;
		int s, fd;

		snprintf(name, sizeof(name), "damage%u", i);
		ASSERT_EQ(0, open_ctx(&c));
		fd = sealed(PAGES, 10 + i);
		ASSERT_EQ(0, map_file(c.fd, c.ioas, fd, 0, LEN, IOVA_FILE, RW));
		ASSERT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));
		s = luo_create_session(self->dev, name);
		ASSERT_LE(0, s);
		ASSERT_EQ(0, luo_preserve_fd(s, fd, FIRST));
		ASSERT_EQ(0, luo_preserve_fd(s, c.fd, IOMMU));
		ASSERT_EQ(0, luo_keep(s));
		/* The first is that of "keep". */
		ASSERT_LE(0, damage(1 + i, &damages[i]));
		close(fd);
		close(c.fd);
	}
}

/* Nobody knows what is mapped, so all is pinned that is there, and nothing else. */
LUO_TEST(stage1, keep_with_holes)
{
	struct damage lost = { DATA, "=0" };
	struct ctx c;
	int s, fd;

	ASSERT_EQ(0, open_ctx(&c));
	ASSERT_EQ(0, vfio_mark(c.fd, c.hwpt, VFIO_LABEL));
	fd = luo_memfd("holes", MFD_ALLOW_SEALING, LEN);
	ASSERT_LE(0, fd);
	for (unsigned int page = 0; page < PAGES; page += 4)
		ASSERT_EQ(2, pwrite(fd, "ab", 2, page * LUO_PAGE));
	s = luo_create_session(self->dev, "holes");
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, FIRST));
	ASSERT_EQ(0, luo_preserve_fd(s, c.fd, IOMMU));
	ASSERT_EQ(0, luo_keep(s));
	ASSERT_LE(0, damage(1 + ARRAY_SIZE(damages), &lost));
	close(fd);
	close(c.fd);
}

LUO_TEST(stage2, holes_have_no_pins)
{
	long long before = luo_pins();
	int s, fd;

	s = luo_retrieve_session(self->dev, "holes");
	ASSERT_LE(0, s);
	fd = luo_retrieve_fd(s, FIRST);
	ASSERT_LE(0, fd);
	EXPECT_EQ(before + (long long)PAGES / 4, luo_pins());
	EXPECT_EQ(-1, ftruncate(fd, LEN / 2));
	EXPECT_EQ(EPERM, errno);
	for (unsigned int page = 1; page < PAGES; page += 4)
		ASSERT_EQ(2, pwrite(fd, "cd", 2, page * LUO_PAGE));
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(before, luo_pins());
	EXPECT_EQ(0, ftruncate(fd, LEN / 2));
	close(fd);
	close(s);
}

LUO_TEST(stage2, damage_is_refused)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(damages); i++) {
		const struct damage *d = &damages[i];
		long long before = luo_pins();
		char name[16];
		int s, fd;

		snprintf(name, sizeof(name), "damage%u", i);
		s = luo_retrieve_session(self->dev, name);
		ASSERT_LE(0, s);
		EXPECT_EQ(-EINVAL, luo_retrieve_fd(s, IOMMU)) {
			TH_LOG("%s: %s", name, d->how);
		}
		if (d->says)
			EXPECT_LE(1, luo_klog_has(d->says)) {
				TH_LOG("%s: nothing that \"%s\"", name, d->says);
			}
		/* It takes nothing with it. */
		fd = luo_retrieve_fd(s, FIRST);
		ASSERT_LE(0, fd);
		EXPECT_EQ(LUO_OK, luo_verify_fd(fd, 0, PAGES, 10 + i));
		EXPECT_EQ(before + d->pins, luo_pins()) {
			TH_LOG("%s: %s", name, d->how);
		}
		EXPECT_EQ(0, luo_finish(s));
		EXPECT_EQ(before, luo_pins());
		close(fd);
		close(s);
	}
}

LUO_TEST(stage2, come_back)
{
	long long before = luo_pins(), want = (PAGES - 3) + 2 * PAGES + 3 + HUGE_PAGES;
	__u32 ioas, hwpt, dev, automatic, idev;
	int s, other, fd, first, second, huge;
	char *mem, *one, *two, *big;
	uint64_t pfns[2];
	__u64 iova;

	s = luo_retrieve_session(self->dev, "iommufd");
	ASSERT_LE(0, s);
	/* It brings its memory with it. */
	fd = luo_retrieve_fd(s, IOMMU);
	ASSERT_LE(0, fd);
	EXPECT_EQ(before + want, luo_pins());
	first = luo_retrieve_fd(s, FIRST);
	second = luo_retrieve_fd(s, SECOND);
	huge = luo_retrieve_fd(s, HUGE);
	EXPECT_EQ(LUO_OK, luo_verify_fd(first, 0, PAGES, 1));
	EXPECT_EQ(LUO_OK, luo_verify_fd(second, 0, PAGES, 2));
	EXPECT_EQ(before + want, luo_pins());

	EXPECT_EQ(-ENOENT, vfio_marked(fd, OTHER_LABEL, &ioas, &hwpt));
	ASSERT_EQ(0, vfio_marked(fd, VFIO_LABEL, &ioas, &hwpt));
	EXPECT_EQ(0, hwpt);
	/* Kept, although no device holds it yet */
	EXPECT_EQ(-1, _test_ioctl_destroy(fd, ioas));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-EBUSY, map_file(fd, ioas, first, 0, LUO_PAGE, IOVA_LAST + 1, RW));
	EXPECT_EQ(-EBUSY, vfio_unmap(fd, ioas, 0, UINT64_MAX));
	EXPECT_EQ(-1, _test_cmd_mock_domain(fd, ioas, &dev, &automatic, &idev));
	EXPECT_EQ(EBUSY, errno);
	other = luo_create_session(self->dev, "other");
	EXPECT_EQ(-EBUSY, luo_preserve_fd(other, fd, IOMMU));
	close(other);
	/* No device could be writing here, but nobody knows. */
	one = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, first, 0);
	two = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, second, 0);
	mem = patchwork(first, second);
	big = mmap(NULL, LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
	EXPECT_EQ(LUO_OK, luo_verify(big, 0, HUGE_PAGES, 3));
	EXPECT_EQ(-1, fallocate(huge, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LUO_HUGE));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(LUO_OK, luo_verify(one, 0, PAGES, 1));
	pfns[0] = luo_pfn_of(one + 5 * LUO_PAGE);
	EXPECT_EQ(-1, fallocate(first, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, madvise(one, LEN, MADV_REMOVE));
	luo_write_file("/proc/sys/vm/compact_memory", "1");
	madvise(one, LEN, MADV_PAGEOUT);
	EXPECT_EQ(LUO_OK, luo_verify(one, 0, PAGES, 1));
	pfns[1] = luo_pfn_of(one + 5 * LUO_PAGE);
	EXPECT_NE(0, pfns[0]);
	EXPECT_EQ(pfns[0], pfns[1]);

	ASSERT_EQ(0, luo_finish(s));
	EXPECT_EQ(before, luo_pins());
	EXPECT_EQ(-ENOENT, vfio_marked(fd, VFIO_LABEL, &dev, &hwpt));

	/* Whoever comes now gets what was mapped. */
	ASSERT_EQ(0, _test_cmd_mock_domain(fd, ioas, &dev, &automatic, &idev));
	EXPECT_EQ(0, check_map(fd, automatic, IOVA_FILE, LEN - 3 * LUO_PAGE, one + 3 * LUO_PAGE));
	EXPECT_EQ(0, check_map(fd, automatic, IOVA_ADDR, 2 * LEN, mem));
	EXPECT_EQ(0, check_map(fd, automatic, IOVA_NEW, 2 * LUO_PAGE, two + LUO_PAGE / 2));
	EXPECT_EQ(0, check_map(fd, automatic, IOVA_HUGE, LUO_HUGE, big));
	EXPECT_EQ(before + want, luo_pins());
	EXPECT_EQ(-EEXIST, map_file(fd, ioas, first, 0, LUO_PAGE, IOVA_FILE, RW));
	EXPECT_EQ(0, vfio_unmap(fd, ioas, IOVA_ADDR, 2 * LEN));
	EXPECT_EQ(before + want - 2 * (long long)PAGES, luo_pins());
	/* The kernel chooses from what is allowed. */
	ASSERT_EQ(0, _test_ioctl_ioas_map(fd, ioas, one, LEN, &iova, IOMMU_IOAS_MAP_READABLE));
	EXPECT_LE(IOVA_FILE, iova);
	EXPECT_GE(IOVA_LAST, iova);
	EXPECT_EQ(0, vfio_unmap(fd, ioas, 0, UINT64_MAX));
	EXPECT_EQ(before, luo_pins());

	EXPECT_EQ(0, fallocate(huge, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LUO_HUGE));
	EXPECT_EQ(0, fallocate(second, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN));

	/* And it can be preserved again. */
	ASSERT_EQ(0, _test_cmd_hwpt_alloc(fd, idev, ioas, 0, 0, &hwpt, IOMMU_HWPT_DATA_NONE,
					  NULL, 0));
	ASSERT_EQ(0, vfio_mark(fd, hwpt, VFIO_LABEL));
	ASSERT_EQ(0, map_file(fd, ioas, first, 0, LEN, IOVA_FILE, RW));
	ASSERT_EQ(0, luo_preserve_fd(s, first, FIRST));
	EXPECT_EQ(0, luo_preserve_fd(s, fd, IOMMU));
	close(s);
	close(fd);
}

int main(void)
{
	const struct luo_stages stages = { .last = 2 };

	PAGE_SIZE = LUO_PAGE;
	return luo_stages_main(&stages);
}
