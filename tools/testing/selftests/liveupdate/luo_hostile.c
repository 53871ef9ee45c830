// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a root FDT that is not one makes the next boot a cold one.
 *
 * The first who reads it is the decompressor, which cannot say anything. Before each
 * kexec the host damages it while the guest reboots, which is what a loader that
 * overwrites it would do. The next kernel must come up without a warning, and must be
 * able to do the next live update. All else that crosses a kexec is damaged in
 * luo_damage.c, luo_damage_all.c and ../kho/kho_hostile.c.
 *
 * vm-test: name=hostile stages=4 mem=512 kernels=plain timeout=90 poke=1
 */
#define _GNU_SOURCE
#include <errno.h>

#include "luo_stages.h"

#define PAGES	16
#define LAST	4

static const char * const damage[LAST] = {
	[1] = "fdt_compatible", [2] = "fdt_magic", [3] = "fdt_size",
};

static void leave(struct __test_metadata *_metadata, int dev)
{
	int s = luo_create_session(dev, "poke"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("poke", 0, PAGES, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
}

static void arrive(struct __test_metadata *_metadata, int dev, int from)
{
	EXPECT_EQ(1, luo_klog_has("kho: handover ignored")) {
		TH_LOG("%s", damage[from]);
	}
	EXPECT_EQ(-ENOENT, luo_retrieve_session(dev, "poke"));
}

#define FIRST(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev); }

#define STAGE(n)							\
	LUO_STAGE(stage##n);						\
	LUO_TEST(stage##n, arrive) { arrive(_metadata, self->dev, (n) - 1); } \
	LUO_TEST(stage##n, leave) { leave(_metadata, self->dev); }

FIRST(1)
STAGE(2)
STAGE(3)
STAGE(4)

static int next(int stage)
{
	int ret;

	ret = luo_kexec_load(NULL, stage + 1, NULL, 0) ?: luo_poke(damage[stage]);
	return ret ?: luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = LAST, .next = next };

	return luo_stages_main(&stages);
}
