// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: without kho=on nothing is reserved and nothing is different.
 *
 * vm-test: name=kho_off stages=2 mem=512 kernels=plain append="-kho -liveupdate kho=off"
 * vm-test: name=kho_default stages=2 mem=512 kernels=plain append="-kho -liveupdate"
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "luo_stages.h"

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);

static void check_off(struct __test_metadata *_metadata)
{
	EXPECT_NE(0, access("/sys/kernel/debug/kho", F_OK));
	EXPECT_EQ(0, luo_meminfo_kb("CmaTotal"));
	EXPECT_GT(0, luo_open_dev());
	EXPECT_EQ(0, luo_klog_has("kho: "));
	EXPECT_EQ(0, luo_klog_has("luo: "));
}

LUO_TEST(stage1, nothing_is_reserved_or_said)
{
	check_off(_metadata);
}

LUO_TEST(stage1, images_load_and_unload_as_ever)
{
	EXPECT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	EXPECT_EQ(1, luo_kexec_is_loaded());
	EXPECT_EQ(0, luo_kexec_unload(0));
}

LUO_TEST(stage2, the_next_kernel_finds_nothing)
{
	check_off(_metadata);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
