/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cases of memfds: made and preserved in stage 1, and in stages 2 and 3
 * retrieved, checked, finished and checked again; stage 2 preserves it once more.
 */
#ifndef LUO_MEMFD_CASE_H
#define LUO_MEMFD_CASE_H

#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

/*
 * CASE(name) is followed by a check of the file.  MAKE(name) comes before it
 * and gives the file; what it does after preserve() is true happens with the
 * file preserved.
 */
struct maker {
	int session;
	bool done;
};

#define MAKE(name)								\
	static int make_##name(struct __test_metadata *_metadata, struct maker *maker)

#define CASE(name)								\
	static void check_##name(struct __test_metadata *_metadata, int fd);	\
	LUO_TEST(stage1, name)							\
	{									\
		struct maker maker = { luo_create_session(self->dev, #name) };	\
		int fd;								\
										\
		ASSERT_LE(0, maker.session);					\
		fd = make_##name(_metadata, &maker);				\
		ASSERT_LE(0, fd);						\
		if (!maker.done) {						\
			ASSERT_EQ(0, luo_preserve_fd(maker.session, fd, 1));	\
		}								\
		ASSERT_EQ(0, luo_keep(maker.session));				\
	}									\
	LUO_TEST(stage2, name)							\
	{									\
		int s = luo_retrieve_session(self->dev, #name), fd;		\
										\
		ASSERT_LE(0, s);						\
		fd = luo_retrieve_fd(s, 1);					\
		ASSERT_LE(0, fd);						\
		check_##name(_metadata, fd);					\
		ASSERT_EQ(0, luo_finish(s));					\
		check_##name(_metadata, fd);					\
		ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));			\
		ASSERT_EQ(0, luo_keep(s));					\
	}									\
	LUO_TEST(stage3, name)							\
	{									\
		int s = luo_retrieve_session(self->dev, #name), fd;		\
										\
		ASSERT_LE(0, s);						\
		fd = luo_retrieve_fd(s, 1);					\
		ASSERT_LE(0, fd);						\
		check_##name(_metadata, fd);					\
		ASSERT_EQ(0, luo_finish(s));					\
		close(s);							\
		check_##name(_metadata, fd);					\
	}									\
	static void check_##name(struct __test_metadata *_metadata, int fd)

/* Preserves early; the rest of make() then happens to a preserved file. */
static void preserve_now(struct __test_metadata *_metadata, struct maker *maker, int fd)
{
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, luo_preserve_fd(maker->session, fd, 1));
	maker->done = true;
}

#endif /* LUO_MEMFD_CASE_H */
