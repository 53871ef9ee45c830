// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: kexec as everybody uses it, with no session in the picture.
 *
 * Every way of loading works and leads on: the system call, kexec-tools with
 * the file based system call, and kexec-tools with kexec_load(2), which no
 * image with preserved state could use.  Runs on any kernel, so that the test
 * set-up itself can be proven on one without live update.
 *
 * vm-test: name=kexec_plain stages=4 kernels=plain needs=kexec-tools timeout=90
 */
#define _GNU_SOURCE
#include <unistd.h>
#include "luo_stages.h"

#ifndef __aligned
#define __aligned(x)	__attribute__((__aligned__(x)))
#endif

LUO_STAGE_NODEV(stage1);
LUO_STAGE_NODEV(stage2);
LUO_STAGE_NODEV(stage3);
LUO_STAGE_NODEV(stage4);

LUO_TEST(stage1, pattern_sees_every_byte_and_every_swap)
{
	static unsigned char mem[4 * LUO_PAGE] __aligned(4096);
	unsigned char tmp[LUO_PAGE];

	luo_fill(mem, 7, 4, 42);
	ASSERT_EQ(LUO_OK, luo_verify(mem, 7, 4, 42));
	EXPECT_NE(LUO_OK, luo_verify(mem, 8, 4, 42));
	EXPECT_NE(LUO_OK, luo_verify(mem, 7, 4, 43));

	for (size_t i = 0; i < sizeof(mem); i++) {
		mem[i] ^= 1;
		ASSERT_EQ((long)(i & ~7UL), luo_verify(mem, 7, 4, 42));
		mem[i] ^= 1;
	}

	memcpy(tmp, mem, LUO_PAGE);
	memcpy(mem, mem + LUO_PAGE, LUO_PAGE);
	memcpy(mem + LUO_PAGE, tmp, LUO_PAGE);
	EXPECT_EQ(0, luo_verify(mem, 7, 4, 42));
}

LUO_TEST(stage1, nothing_is_loaded_at_boot)
{
	EXPECT_EQ(0, luo_kexec_is_loaded());
}

LUO_TEST(stage1, file_load_and_unload)
{
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	EXPECT_EQ(1, luo_kexec_is_loaded());
	EXPECT_EQ(0, luo_kexec_unload(0));
	EXPECT_EQ(0, luo_kexec_is_loaded());
}

LUO_TEST(stage2, system_call_got_here)
{
	EXPECT_EQ(2, luo_stage());
	EXPECT_EQ(11, luo_cmdline_num("luox_hint", 0));
}

LUO_TEST(stage3, kexec_tools_file_load_got_here)
{
	EXPECT_EQ(3, luo_stage());
	EXPECT_FALSE(luo_cmdline_get("luox_hint", NULL, 0));
}

LUO_TEST(stage4, kexec_tools_classic_load_got_here)
{
	EXPECT_EQ(4, luo_stage());
}

static int next(int stage)
{
	char line[2048], cmd[3072];
	int ret;

	if (stage == 1)
		return luo_kexec_next(NULL, "luox_hint=11");

	ret = luo_disk_to_file("kernel", "/tmp/kernel");
	if (!ret)
		ret = luo_disk_to_file("initrd", "/tmp/initrd");
	if (!ret)
		ret = luo_next_cmdline(line, sizeof(line), stage + 1, NULL);
	if (ret)
		return ret;
	snprintf(cmd, sizeof(cmd),
		 "kexec %s -l /tmp/kernel --initrd=/tmp/initrd --command-line='%s'",
		 stage == 2 ? "-s" : "-c", line);
	ret = luo_run(cmd);
	if (ret)
		return ret;
	return luo_run("kexec -e");
}

int main(void)
{
	static const struct luo_stages stages = { .last = 4, .next = next };

	return luo_stages_main(&stages);
}
