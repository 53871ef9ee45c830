// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: pools of huge pages asked for at boot are as large in every kernel.
 *
 * hugepages= takes its pages while the kernel boots, and in the next kernel that
 * is while preserved memory has to be kept out of their way. Pages of 1 GiB fit
 * into no scratch area, and no page of a pool may lie in one, or there would be
 * no room for the kernel after that. Every page of the pools is used, with the
 * preserved file there to be damaged. Nor do the pools count when scratch is sized
 * by use: there would be no room for twice as much.
 *
 * vm-test: name=hugepages stages=3 mem=4096 kernels=plain timeout=90 \
 *          append="hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=64"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/memfd.h>

#include "luo_stages.h"

#define PAGES		16384UL
#define SCRATCH		"/sys/kernel/debug/kho/scratch"
#define POOL		"/sys/kernel/mm/hugepages/hugepages-%lukB/%s"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static const struct pool {
	const char *name;
	unsigned long size;
	unsigned int flag;
	int nr;
} pools[] = {
	{ "1G", 1UL << 30, MFD_HUGE_1GB, 1 },
	{ "2M", 2UL << 20, MFD_HUGE_2MB, 64 },
};

static int pool_num(const struct pool *pool, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), POOL, pool->size >> 10, what);
	return luo_file_num(path);
}

static bool meets_scratch(uint64_t start, uint64_t size)
{
	FILE *f = fopen(SCRATCH, "r");
	unsigned long long at, len;
	bool found = !f;

	while (f && fscanf(f, "%llx %llx", &at, &len) == 2)
		found |= at < start + size && start < at + len;
	if (f)
		fclose(f);
	return found;
}

static void use_pool(struct __test_metadata *_metadata, const struct pool *pool)
{
	int m = luo_memfd(pool->name, MFD_HUGETLB | pool->flag, pool->size * pool->nr);
	char *map;

	ASSERT_LE(0, m);
	EXPECT_EQ(pool->nr, pool_num(pool, "nr_hugepages"));
	EXPECT_EQ(pool->nr, pool_num(pool, "free_hugepages"));
	map = mmap(NULL, pool->size * pool->nr, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (int i = 0; i < pool->nr; i++) {
		char *page = map + i * pool->size;

		*page = i + 1;
		EXPECT_FALSE(meets_scratch(luo_pfn_of(page) * LUO_PAGE, pool->size)) {
			TH_LOG("page %d of %s is in scratch memory", i, pool->name);
		}
	}
	EXPECT_EQ(0, pool_num(pool, "free_hugepages"));
	munmap(map, pool->size * pool->nr);
	close(m);
	EXPECT_EQ(pool->nr, pool_num(pool, "free_hugepages"));
}

static void use_pools(struct __test_metadata *_metadata)
{
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
		use_pool(_metadata, &pools[i]);
}

LUO_TEST(stage1, pools_beside_a_preserved_file)
{
	int s = luo_create_session(self->dev, "beside"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("beside", 0, PAGES, 3);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	use_pools(_metadata);
	ASSERT_EQ(0, luo_keep(s));
}

static void pools_again(struct __test_metadata *_metadata, int dev)
{
	int s, m;

	/* What is preserved is there, but known to nobody, when the pools are used. */
	use_pools(_metadata);
	s = luo_retrieve_session(dev, "beside");
	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 3));
	ASSERT_EQ(0, luo_finish(s));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, pools_beside_a_preserved_file) { pools_again(_metadata, self->dev); }
LUO_TEST(stage3, pools_beside_a_preserved_file) { pools_again(_metadata, self->dev); }

int main(void)
{
	static const struct luo_stages stages = { .last = 3 };

	return luo_stages_main(&stages);
}
