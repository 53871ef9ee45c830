// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the file handler that the documentation explains does what it says.
 *
 * It is a module. Notes are preserved, changed afterwards, and carried over; the
 * next kernel gets at them as soon as the module is loaded, and not before, which
 * loses nothing. The module cannot go while its files are in a session.
 *
 * vm-test: name=sample stages=3 debug-stages=2 mem=768 debug-mem=1024 \
 *          timeout=60 modules=samples/liveupdate/luo_sample
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "luo_stages.h"

#define NOTE	"/dev/luo_sample"
#define SIZE	256

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

static int note(const char *text)
{
	int fd = open(NOTE, O_RDWR | O_CLOEXEC);

	if (fd >= 0 && text && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -1;
	return fd;
}

/* What is left to read of a note. */
static const char *rest(int fd)
{
	static char buf[SIZE + 1];
	ssize_t n = read(fd, buf, SIZE);

	buf[n > 0 ? n : 0] = 0;
	return buf;
}

LUO_TEST(stage1, notes_are_preserved_and_go_on)
{
	char full[SIZE];
	int s, a, b;

	EXPECT_EQ(-ENOENT, luo_unload_module("luo_sample"));
	ASSERT_EQ(0, luo_load_module("luo_sample"));
	s = luo_create_session(self->dev, "notes");
	ASSERT_LE(0, s);

	a = note("first, ");
	ASSERT_LE(0, a);
	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, a, 2));
	EXPECT_EQ(7, write(a, "second.", 7));
	EXPECT_EQ(6, read(a, full, 6));

	b = note(NULL);
	memset(full, 'x', sizeof(full));
	EXPECT_EQ(SIZE, write(b, full, SIZE));
	EXPECT_EQ(-1, write(b, full, 1));
	EXPECT_EQ(ENOSPC, errno);
	ASSERT_EQ(0, luo_preserve_fd(s, b, 2));
	ASSERT_EQ(0, luo_preserve_fd(s, note("nobody asks for this"), 3));
	close(a);
	close(b);

	EXPECT_EQ(-EAGAIN, luo_unload_module("luo_sample"));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, a_session_that_is_given_up_lets_go_of_the_module)
{
	int s = luo_create_session(self->dev, "gone"), a = note("kept");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	close(s);
	EXPECT_STREQ("kept", rest(a));
	EXPECT_EQ(4, write(a, "more", 4));
	close(a);
}

LUO_TEST(stage2, notes_wait_for_the_module)
{
	int s = luo_retrieve_session(self->dev, "notes"), a, b;

	ASSERT_LE(0, s);
	EXPECT_EQ(-EOPNOTSUPP, luo_retrieve_fd(s, 1));
	EXPECT_EQ(-EOPNOTSUPP, luo_finish(s));
	ASSERT_EQ(0, luo_load_module("luo_sample"));

	/* The position is that of before. */
	a = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, a);
	EXPECT_STREQ(" second.", rest(a));
	b = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, b);
	EXPECT_EQ(SIZE, strspn(rest(b), "x"));
	EXPECT_EQ(5, write(a, " More", 5));
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_STREQ(" More", rest(a));
	close(b);

	/* And on. */
	ASSERT_EQ(0, luo_preserve_fd(s, a, 4));
	close(a);
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage3, a_second_update_and_the_module_goes)
{
	int s, a;

	ASSERT_EQ(0, luo_load_module("luo_sample"));
	s = luo_retrieve_session(self->dev, "notes");
	ASSERT_LE(0, s);
	a = luo_retrieve_fd(s, 4);
	ASSERT_LE(0, a);
	EXPECT_STREQ("", rest(a));
	EXPECT_EQ(1, write(a, ".", 1));
	EXPECT_STREQ(".", rest(a));
	ASSERT_EQ(0, luo_finish(s));
	close(s);
	EXPECT_EQ(-EAGAIN, luo_unload_module("luo_sample"));
	close(a);
	EXPECT_EQ(0, luo_unload_module("luo_sample"));
	EXPECT_NE(0, access(NOTE, F_OK));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3 };

	return luo_stages_main(&stages);
}
