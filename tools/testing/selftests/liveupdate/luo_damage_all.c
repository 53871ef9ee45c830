// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: damage to what all sessions hang on ends with a kernel that is up and says
 * what was wrong.
 *
 * The record of LUO, its node in the root FDT, the map of preserved memory, the area
 * of shared state and the record of the pools of huge pages are damaged, one jump for
 * each. After it: no warning, a line in the log that names the culprit, whatever does
 * not hang on it is there with the right content, and everything can be done that can
 * be done in any kernel. A root FDT that is not one: see ../kho/kho_hostile.c.
 *
 * vm-test: name=damage_all stages=6 mem=1024 kernels=debug timeout=90 \
 *          append="hugepagesz=2M hugepages=8"
 */
#define _GNU_SOURCE
#include "luo_damage.h"
#include "luo_test_handler.h"

#define SESSIONS	4	/* of one page each, and one with shared state */
#define MFD_HUGE	(MFD_HUGETLB | 21U << 26)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_POOL	8
#define HUGE_USED	2

/* What comes of it. */
enum {
	NONE,		/* no session */
	ANY,		/* whatever comes has the right content */
	NO_FLB,		/* all sessions, but no shared state */
	NO_POOL,	/* all, but preserved huge pages are not counted in the pool */
};

enum {
	LUO_FORMAT = 1,
	LUO_ADDRESS,
	MAP_LEAF,
	FLB_PAGES,
	POOL_PAGES,
};

static const struct {
	int left;
	const char *says;
} damages[] = {
	[LUO_FORMAT] = { NONE, "luo: what the previous kernel left is of an unknown format" },
	[LUO_ADDRESS] = { NONE, "sub-tree LUO: 32 bytes at 0x" NOWHERE " are not preserved" },
	[MAP_LEAF] = { ANY, "kho: memory map: bad node of level 0 at " },
	[FLB_PAGES] = { NO_FLB, "is not in preserved memory as a whole: all FLBs are lost" },
	[POOL_PAGES] = { NO_POOL, "more huge pages of order 9 announced than preserved" },
};

/* Overwrites bytes of the root FDT, whatever they are aligned to. */
static int late_fdt(size_t at, const void *bytes, size_t len)
{
	uint64_t word;
	int ret = 0;

	memcpy(fdt + at, bytes, len);
	for (size_t w = at & ~7UL; w < at + len && !ret; w += 8) {
		memcpy(&word, fdt + w, 8);
		ret = late("%llx=%llx", fdt_phys + w, (unsigned long long)word);
	}
	return ret;
}

static int late_node(const char *prop, uint64_t val)
{
	size_t at = fdt_find(fdt, "LUO", prop);

	return at ? late_fdt(at, &val, sizeof(val)) : -ENOENT;
}

static int ruin(int damage)
{
	unsigned long long luo = subtree("LUO"), map = number_in(OUT "map_address") + 16;

	if (!luo)
		return -ENOENT;
	switch (damage) {
	case LUO_FORMAT:
		return late("%llx^1", luo);
	case LUO_ADDRESS:
		return late_node("preserved-data", strtoull(NOWHERE, NULL, 16));
	case MAP_LEAF:
		/* That of the single pages below 128 MiB. */
		return late("%llx:0:0:0:0=1", map);
	case FLB_PAGES:
		/* Nor can the next page be preserved as a part of this one. */
		return late("%llx:0=2", luo + 24);
	case POOL_PAGES:
		return late("%llx:%x:10=10000000000", luo + 24,
			    16 + 64 * flb_record("hugetlb") + 48);
	}
	return -EINVAL;
}

static void leave(struct __test_metadata *_metadata, int dev, int damage)
{
	int s, fd, lt = lt_open();
	char *map;

	for (int i = 0; i < SESSIONS; i++)
		leave_one(_metadata, dev, 'r', i, 1);

	s = luo_create_session(dev, "huge");
	ASSERT_LE(0, s);
	fd = luo_memfd("huge", MFD_HUGE, HUGE_USED * LUO_HUGE);
	ASSERT_LE(0, fd);
	map = mmap(NULL, HUGE_USED * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (int i = 0; i < HUGE_USED; i++)
		luo_fill(map + i * LUO_HUGE, i, 1, damage);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));

	s = luo_create_session(dev, "shared");
	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	ASSERT_EQ(damage, lt_flb_do(lt, LUO_TEST_X, LUO_TEST_FLB_SET, 0, damage));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_A, 1, damage));
	ASSERT_EQ(0, luo_keep(s));
	close(lt);
	ASSERT_EQ(0, ruin(damage));
}

static void none_is_there(struct __test_metadata *_metadata, int dev)
{
	char name[8];

	for (int i = 0; i < SESSIONS; i++) {
		name_of(name, 'r', i);
		ASSERT_EQ(-ENOENT, luo_retrieve_session(dev, name));
	}
	ASSERT_EQ(-ENOENT, luo_retrieve_session(dev, "huge"));
	ASSERT_EQ(-ENOENT, luo_retrieve_session(dev, "shared"));
}

/* Without a part of the map nobody knows which sessions were in it. */
static void content_is_right(struct __test_metadata *_metadata, int dev)
{
	int whole = 0;

	for (int i = 0; i < SESSIONS; i++) {
		char name[8];
		int s, ret;

		name_of(name, 'r', i);
		s = luo_retrieve_session(dev, name);
		if (s < 0) {
			EXPECT_EQ(-ENOENT, s);
			continue;
		}
		ret = look(_metadata, s, 1, 1, 1, i * 10 + 1);
		EXPECT_TRUE(!ret || ret == -EINVAL || ret == -EBADMSG) {
			TH_LOG("%s: %d", name, ret);
		}
		whole += !ret;
		close(s);
	}
	luo_note("%d of %d sessions are whole", whole, SESSIONS);
}

/* Pages that nobody knew of are more than the pool was to have. */
static void huge_is_there(struct __test_metadata *_metadata, int dev, int damage)
{
	int s = luo_retrieve_session(dev, "huge"), fd;
	char *map;

	ASSERT_LE(0, s);
	EXPECT_EQ(HUGE_POOL, luo_file_num(POOL "nr_hugepages"));
	EXPECT_EQ(HUGE_POOL, luo_file_num(POOL "free_hugepages"));
	EXPECT_EQ(0, luo_file_num(POOL "surplus_hugepages"));
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	map = mmap(NULL, HUGE_USED * LUO_HUGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (int i = 0; i < HUGE_USED; i++)
		EXPECT_EQ(LUO_OK, luo_verify(map + i * LUO_HUGE, i, 1, damage));
	munmap(map, HUGE_USED * LUO_HUGE);
	EXPECT_EQ(HUGE_POOL + HUGE_USED, luo_file_num(POOL "nr_hugepages"));
	EXPECT_EQ(HUGE_USED, luo_file_num(POOL "surplus_hugepages"));
	close(fd);
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_EQ(HUGE_POOL, luo_file_num(POOL "nr_hugepages"));
	EXPECT_EQ(HUGE_POOL, luo_file_num(POOL "free_hugepages"));
	EXPECT_EQ(0, luo_file_num(POOL "surplus_hugepages"));
}

static void shared_is_there(struct __test_metadata *_metadata, int dev, int damage)
{
	bool lost = damages[damage].left == NO_FLB;
	int s = luo_retrieve_session(dev, "shared"), lt = lt_open();

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	EXPECT_EQ(lost ? -ENOENT : damage, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(lost ? -EINVAL : 0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(damage, lt_value(luo_retrieve_fd(s, 1)));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
	close(lt);
}

static void arrive(struct __test_metadata *_metadata, int dev, int damage)
{
	int left = damages[damage].left;

	if (left == NONE) {
		none_is_there(_metadata, dev);
	} else if (left == ANY) {
		content_is_right(_metadata, dev);
	} else {
		intact_are_there(_metadata, dev, 'r', SESSIONS);
		huge_is_there(_metadata, dev, damage);
		shared_is_there(_metadata, dev, damage);
	}
	EXPECT_LT(0, luo_klog_has(damages[damage].says)) {
		TH_LOG("not said: %s", damages[damage].says);
	}
	usable(_metadata, dev);
}

#define FIRST(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

#define STAGE(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, arrive) { arrive(_metadata, self->dev, (n) - 1); } \
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev, n); }

#define LAST(n)								\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, arrive) { arrive(_metadata, self->dev, (n) - 1); }

FIRST(1)
STAGE(2)
STAGE(3)
STAGE(4)
STAGE(5)
LAST(6)

int main(void)
{
	static const struct luo_stages stages = { .last = 6 };

	return luo_stages_main(&stages);
}
