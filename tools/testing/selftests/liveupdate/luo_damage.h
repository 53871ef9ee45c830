/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share that damage a hand-over, luo_damage.c and luo_damage_all.c:
 * where things are, /sys/kernel/debug/kho/out/poke_late, which changes them when the
 * kernel has written everything, and sessions to be damaged and to be left alone.
 */
#ifndef LUO_DAMAGE_H
#define LUO_DAMAGE_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define OUT		"/sys/kernel/debug/kho/out/"
#define OTHER_PAGES	4	/* of file 2 */
#define NOWHERE		"100000"	/* memory that is not preserved */
#define BEYOND		"4000000000000"	/* no memory */

/* ---- addresses ---- */

static inline uint32_t be32(const char *at)
{
	const uint8_t *b = (const uint8_t *)at;

	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

/* Where the value of a property is in the root FDT; 0 if there is none. */
static inline size_t fdt_find(const char *fdt, const char *node, const char *prop)
{
	const char *strings = fdt + be32(fdt + 12);
	size_t at = be32(fdt + 8);
	bool inside = false;

	for (;;) {
		uint32_t tag = be32(fdt + at), len;

		at += 4;
		switch (tag) {
		case 1:
			inside = !strcmp(fdt + at, node);
			at += (strlen(fdt + at) + 4) & ~3UL;
			break;
		case 2:
			inside = false;
			break;
		case 3:
			len = be32(fdt + at);
			if (inside && !strcmp(strings + be32(fdt + at + 4), prop))
				return at + 8;
			at += 8 + ((len + 3) & ~3UL);
			break;
		case 4:
			break;
		default:
			return 0;
		}
	}
}

static char fdt[4097];
static unsigned long long fdt_phys;

static inline unsigned long long number_in(const char *file)
{
	char buf[64] = "";

	return luo_read_file(file, buf, sizeof(buf)) > 0 ? strtoull(buf, NULL, 16) : 0;
}

/* Physical address of what a producer handed over. */
static inline unsigned long long subtree(const char *node)
{
	unsigned long long phys = 0;
	size_t at;

	fdt_phys = number_in(OUT "fdt_address");
	if (!fdt_phys || luo_read_file(OUT "fdt", fdt, sizeof(fdt)) != 4096)
		return 0;
	at = fdt_find(fdt, node, "preserved-data");
	if (at)
		memcpy(&phys, fdt + at, 8);
	return phys;
}

static inline int late(const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	return luo_write_file(OUT "poke_late", line);
}

/* ---- sessions to be damaged, and others ---- */

/* Short, and all of the same length: a name is one word. */
static inline void name_of(char *name, char group, int nr)
{
	snprintf(name, 8, "%c-%03d", group, nr);
}

static inline void leave_one(struct __test_metadata *_metadata, int dev, char group, int nr,
			     int pages)
{
	char name[8];
	int s, m;

	name_of(name, group, nr);
	s = luo_create_session(dev, name);
	ASSERT_LE(0, s);
	for (int token = 1; token <= (pages > 1 ? 2 : 1); token++) {
		m = luo_memfd_filled(name, 0, token == 1 ? pages : OTHER_PAGES, nr * 10 + token);
		ASSERT_EQ(0, luo_preserve_fd(s, m, token));
		close(m);
	}
	ASSERT_EQ(0, luo_keep(s));
	close(s);
}

/* 0 if the file is there with so many sound pages, the others zero. */
static inline int look(struct __test_metadata *_metadata, int s, uint64_t token, int pages,
		       int sound, int seed)
{
	int m = luo_retrieve_fd(s, token);

	if (m < 0)
		return m;
	EXPECT_EQ(pages * (long long)LUO_PAGE, luo_size(m));
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, sound, seed));
	EXPECT_EQ(LUO_OK, luo_verify_zero_fd(m, sound, pages - sound));
	/* An error that stays is the same again, a file is the same file. */
	close(m);
	return 0;
}

static inline void intact_are_there(struct __test_metadata *_metadata, int dev, char group, int nr)
{
	for (int i = 0; i < nr; i++) {
		char name[8];
		int s;

		name_of(name, group, i);
		s = luo_retrieve_session(dev, name);
		ASSERT_LE(0, s) {
			TH_LOG("%s: %d", name, s);
		}
		ASSERT_EQ(0, look(_metadata, s, 1, 1, 1, i * 10 + 1));
		ASSERT_EQ(0, luo_finish(s));
		close(s);
	}
}

/* Everything that can be done in a fresh kernel can be done here. */
static inline void usable(struct __test_metadata *_metadata, int dev)
{
	int s = luo_create_session(dev, "usable"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("usable", 0, 2, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	close(m);
	close(s);
}

/* Which record of an FLB is it? As the list is, so are the records. */
static inline int flb_record(const char *name)
{
	char list[8192], *line, *next;
	int nr = 0;

	if (luo_read_file("/sys/kernel/debug/liveupdate/flb", list, sizeof(list)) < 0)
		return -1;
	for (line = list; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (!strstr(line, "direction=outgoing") || strstr(line, " files=0 "))
			continue;
		if (strstr(line, name))
			return nr;
		nr++;
	}
	return -1;
}

#endif /* LUO_DAMAGE_H */
