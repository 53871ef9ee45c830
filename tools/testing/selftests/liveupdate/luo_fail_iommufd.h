/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The cases of luo_fail_nth.c in which an iommufd is preserved and retrieved. That of a
 * device which runs on is in luo_vfio.c.
 */
#ifndef LUO_FAIL_IOMMUFD_H
#define LUO_FAIL_IOMMUFD_H

#define IOMMUFDS	160	/* more than the allocations in RETRIEVE_FD of one, and then half */
#define MAPPED		4	/* pages of each, twice */
/*
 * And single pages, each with one before it that is not mapped. What is remembered of each run
 * of pages that is pinned is an allocation. Others come and go from one file to the next, so
 * a failure may pass over one of them, but not over all.
 */
#define RUNS		6
#define APART(run)	(MAPPED + 1 + 2 * (run))
#define PAGES_OF_EACH	(APART(RUNS - 1) + 1)
#define PINS_OF_EACH	(2 * MAPPED + RUNS)
#define IOVA		0x2000000UL

/* Is a mapping of it still to be changed, or not any more? */
static int remap(const struct ctx *c, int memfd)
{
	int ret = map_file(c->fd, c->ioas, memfd, 0, LUO_PAGE, 2 * IOVA, RW);

	return ret ? ret : vfio_unmap(c->fd, c->ioas, 2 * IOVA, LUO_PAGE);
}

/* Memory and an iommufd in which it is mapped, by its file and by its address. */
static int open_iommufd(struct ctx *c, uint64_t seed)
{
	int fd = sealed(PAGES_OF_EACH, seed), ret = open_ctx(c);
	char *mem;

	if (fd < 0 || ret)
		return fd < 0 ? fd : ret;
	mem = mmap(NULL, MAPPED * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ret = map_file(c->fd, c->ioas, fd, 0, MAPPED * LUO_PAGE, IOVA, RW);
	if (!ret)
		ret = map_addr(c->fd, c->ioas, mem, MAPPED * LUO_PAGE, 3 * IOVA, RW);
	for (int run = 0; !ret && run < RUNS; run++)
		ret = map_file(c->fd, c->ioas, fd, APART(run) * LUO_PAGE, LUO_PAGE,
			       (4 + run) * IOVA, RW);
	if (!ret)
		ret = vfio_mark(c->fd, c->hwpt, VFIO_LABEL);
	munmap(mem, MAPPED * LUO_PAGE);
	return ret ? ret : fd;
}

LUO_TEST(stage1, iommufds)
{
	int s = luo_create_session(self->dev, "nth iommufd"), m;
	struct ctx c;

	ASSERT_LE(0, s);
	/* In one folio nothing would be apart. */
	luo_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	m = open_iommufd(&c, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	for_each_failure(nth) {
		int ret;

		inject(nth);
		ret = luo_preserve_fd(s, c.fd, 2);
		inject_count(ret);
		if (ret) {
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_EQ(0, remap(&c, m));
			ASSERT_EQ(0, luo_preserve_fd(s, c.fd, 2));
		}
		ASSERT_EQ(-EBUSY, remap(&c, m));
		close(s);
		ASSERT_EQ(0, remap(&c, m));
		s = luo_create_session(self->dev, "nth iommufd");
		ASSERT_LE(0, s);
		ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	}
	EXPECT_LT(0, inject_failures);
	tell("PRESERVE_FD of an iommufd");
	close(c.fd);
	close(m);
	close(s);

	s = luo_create_session(self->dev, "nth iommufd");
	ASSERT_LE(0, s);
	for (int i = 0; i < IOMMUFDS; i++) {
		m = open_iommufd(&c, i);
		ASSERT_LE(0, m);
		ASSERT_EQ(0, luo_preserve_fd(s, m, 2 * i));
		ASSERT_EQ(0, luo_preserve_fd(s, c.fd, 2 * i + 1));
		close(c.fd);
		close(m);
	}
	ASSERT_EQ(0, luo_keep(s));
}

/* Has it all that was mapped, of pages that are pinned once for each mapping? */
static void expect_iommufd(struct __test_metadata *_metadata, int s, int fd, int i,
			   long long pins)
{
	int m = luo_retrieve_fd(s, 2 * i);
	uint32_t ioas, hwpt;

	EXPECT_EQ(pins, luo_pins());
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES_OF_EACH, i));
	ASSERT_EQ(0, vfio_marked(fd, VFIO_LABEL, &ioas, &hwpt));
	EXPECT_EQ(-EBUSY, vfio_unmap(fd, ioas, IOVA, MAPPED * LUO_PAGE));
	close(m);
	close(fd);
}

LUO_TEST(stage2, iommufds)
{
	int s = luo_retrieve_session(self->dev, "nth iommufd"), i = 0, fd = -1;
	long long pins = luo_pins();

	ASSERT_LE(0, s);
	/* With its memory: another one for each failure, since what came of that stays */
	for_each_failure(nth) {
		ASSERT_GT(IOMMUFDS, i);
		inject(nth);
		fd = luo_retrieve_fd(s, 2 * i + 1);
		inject_count(fd);
		if (fd < 0) {
			ASSERT_EQ(-ENOMEM, fd);
			fd = luo_retrieve_fd(s, 2 * i + 1);
			ASSERT_LE(0, fd);
		}
		pins += PINS_OF_EACH;
		expect_iommufd(_metadata, s, fd, i++, pins);
	}
	EXPECT_LT(5, inject_failures);
	tell("RETRIEVE_FD of an iommufd and its memory");

	/* All of it but the memory; the next one when one did without what failed */
	close(luo_retrieve_fd(s, 2 * i));
	pins += PINS_OF_EACH;
	for_each_failure(nth) {
		ASSERT_GT(IOMMUFDS - 1, i);
		inject(nth);
		fd = luo_retrieve_fd(s, 2 * i + 1);
		inject_count(fd);
		if (fd < 0) {
			ASSERT_EQ(-ENOMEM, fd);
			ASSERT_EQ(pins, luo_pins());
			continue;
		}
		expect_iommufd(_metadata, s, fd, i++, pins);
		close(luo_retrieve_fd(s, 2 * i));
		pins += PINS_OF_EACH;
	}
	EXPECT_LT(2, inject_failures);
	tell("RETRIEVE_FD of an iommufd");

	finish_after_failures(_metadata, s, "FINISH of iommufds");
	EXPECT_EQ(0, luo_pins());
}

#endif /* LUO_FAIL_IOMMUFD_H */
