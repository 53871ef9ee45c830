// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: "lx-luo" of the kernel's gdb scripts prints sessions and files as they are,
 * of a live guest, outgoing and incoming, and of a core of it.
 *
 * The host looks each time that the fdinfo of a session is read, see vm_gdb.py, which
 * also has what it must see.
 *
 * vm-test: name=gdb stages=2 mem=512 kernels=plain needs=gdb append="nokaslr"
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "luo_stages.h"

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static int look(int session)
{
	char path[64], info[1024];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", session);
	return luo_read_file(path, info, sizeof(info));
}

LUO_TEST(stage1, outgoing)
{
	int s = luo_create_session(self->dev, "gdb one");
	int t = luo_create_session(self->dev, "gdb two");
	int a = luo_memfd_filled("a", 0, 2, 1), b = luo_memfd_filled("b", 0, 3, 2);

	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	ASSERT_EQ(0, luo_preserve_fd(s, b, 0xabc));
	ASSERT_LT(0, look(s));
	ASSERT_EQ(0, luo_keep(s));
	ASSERT_EQ(0, luo_keep(t));
}

LUO_TEST(stage2, incoming)
{
	int s = luo_retrieve_session(self->dev, "gdb one"), m;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	ASSERT_LT(0, look(s));
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 2, 1));
	EXPECT_EQ(0, luo_finish(s));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
