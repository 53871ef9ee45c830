// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: kdump works as before, and a crash kernel never carries a live update.
 *
 * With a crash kernel loaded, sessions travel through an ordinary kexec. Then
 * a crash image is loaded with state preserved, the kernel is made to panic,
 * and the crash kernel boots, has a vmcore, and knows of no session.
 *
 * The panic that is asked for, and what it prints, is no failure here:
 * vm-test: name=kdump stages=3 mem=1024 kernels=plain timeout=90 \
 *          append="crashkernel=256M" allow="sysrq triggered crash" allow="Call Trace:"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "luo_stages.h"

#define ON_CRASH	2UL

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE_NODEV(stage3);

static void leave(struct __test_metadata *_metadata, int dev, int seed)
{
	int s = luo_create_session(dev, "kdump"), m = luo_memfd_filled("kdump", 0, 256, seed);

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, crash_image_beside_a_session)
{
	ASSERT_LT(0, luo_file_num("/sys/kernel/kexec_crash_size"));
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, NULL, ON_CRASH));
	EXPECT_EQ(1, luo_file_num("/sys/kernel/kexec_crash_loaded"));
	leave(_metadata, self->dev, 1);
	/* Both images can be there, in either order. */
	ASSERT_EQ(0, luo_kexec_load(NULL, 2, NULL, 0));
	ASSERT_EQ(0, luo_kexec_unload(ON_CRASH));
	/* What it says of live update is its own affair. */
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, "-kho kho=off", ON_CRASH));
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, NULL, ON_CRASH));
}

LUO_TEST(stage2, session_came_and_a_crash_is_prepared)
{
	int s = luo_retrieve_session(self->dev, "kdump"), m;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_EQ(LUO_OK, luo_verify_fd(m, 0, 256, 1));
	ASSERT_EQ(0, luo_finish(s));
	leave(_metadata, self->dev, 2);
	ASSERT_LT(0, luo_file_num("/sys/kernel/kexec_crash_size"));
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, NULL, ON_CRASH));
}

LUO_TEST(stage3, crash_kernel_has_a_dump_and_no_session)
{
	int dev;

	ASSERT_EQ(0, access("/proc/vmcore", R_OK));
	EXPECT_NE(0, access("/sys/kernel/debug/kho/in/fdt", F_OK));
	dev = luo_open_dev();
	if (dev >= 0) {
		EXPECT_EQ(-ENOENT, luo_retrieve_session(dev, "kdump"));
		close(dev);
	}
}

static int next(int stage)
{
	if (stage == 1)
		return luo_kexec_next(NULL, NULL);
	luo_write_file("/proc/sys/kernel/sysrq", "1");
	return luo_write_file("/proc/sysrq-trigger", "c");
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
