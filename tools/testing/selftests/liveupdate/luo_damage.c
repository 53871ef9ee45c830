// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: each structure that crosses the kexec, damaged in each way, harms no more
 * than what it describes.
 *
 * The table below is structure by damage. All that concerns one session is done in
 * one jump, to a session for each line; among them stand sessions that nothing was
 * done to. Then comes what concerns all of them. Damage is done when the kernel has
 * written everything, by /sys/kernel/debug/kho/out/poke_late. After each jump: the
 * kernel is up without a warning, the log names the culprit, each file gives the
 * error or the content that the table says, and whatever is intact is there.
 *
 * A format without checksums cannot tell a page that was dropped, or a list that
 * became shorter in the right way, from one that never was. These lines are in the
 * table too, with what comes of them.
 *
 * vm-test: name=damage stages=3 mem=1024 smp=2 kernels=debug \
 *          timeout=90 append="reserve_mem=1M:4096:damage"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "luo_stages.h"

#define OUT		"/sys/kernel/debug/kho/out/"
#define PAGES		16	/* of file 1, the victim */
#define OTHER_PAGES	4	/* of file 2 */
#define NOWHERE		"100000"	/* memory that is not preserved */
#define BEYOND		"4000000000000"	/* no memory */
#define LIST		"@list of files is damaged: "
#define INTACT		8	/* sessions that nothing is done to */
#define MANY		60	/* more than one block has room for */
#define PER_BLOCK	51

/* ---- addresses ---- */

static uint32_t be32(const char *at)
{
	const uint8_t *b = (const uint8_t *)at;

	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

/* Where the value of a property is in the root FDT; 0 if there is none. */
static size_t fdt_find(const char *fdt, const char *node, const char *prop)
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

static unsigned long long number_in(const char *file)
{
	char buf[64] = "";

	return luo_read_file(file, buf, sizeof(buf)) > 0 ? strtoull(buf, NULL, 16) : 0;
}

/* Physical address of what a producer handed over. */
static unsigned long long subtree(const char *node)
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

static int late(const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	return luo_write_file(OUT "poke_late", line);
}

/* ---- damage to one session ---- */

/*
 * Places, from the record of the session (S), of its list of files (L), of its
 * first file (F), of that file's memfd record (M), of its first chunk (C), and of
 * its folio records (R). "#" stands for the same in the session of the line before,
 * "2" for the second file of the same session.
 */
struct damage {
	const char *what;
	const char *how[8];	/* "PLACE=VALUE", "PLACE^VALUE", "PLACE*PLACE" */
	int session, one, two, finish;
	const char *says;	/* in the log; "@": after the name of the session */
	int pages;		/* sound ones of file 1, if that can be had */
};

static const struct damage damages[] = {
	/* The record of a session. */
	{ "a name without an end", { "S0=7878787878787878", "S8=7878787878787878",
	  "S10=7878787878787878", "S18=7878787878787878", "S20=7878787878787878",
	  "S28=7878787878787878", "S30=7878787878787878", "S38=7878787878787878" },
	  -ENOENT, 0, 0, 0, "name is damaged, 2 files are lost" },
	{ "no name", { "S0=0" }, -ENOENT, 0, 0, 0, "session '': name is damaged" },
	{ "no list of files", { "S40=0" }, 0, -EBADMSG, -EBADMSG, 0, LIST "fewer entries" },
	{ "a list of files that is not aligned", { "S40^8" }, 0, -EBADMSG, -EBADMSG, 0,
	  LIST "not a preserved block" },
	{ "the name of another session", { "S0*#S0" }, -ENOENT, 0, 0, 0, ": comes twice, 2 files" },
	{ "a list of files that is not preserved", { "S40=" NOWHERE }, 0, -EBADMSG, -EBADMSG, 0,
	  LIST "not a preserved block" },
	{ "a list of files beyond memory", { "S40=" BEYOND }, 0, -EBADMSG, -EBADMSG, 0,
	  LIST "not a preserved block" },
	/* It was not freed, as it is damaged itself, and is read as that of files. */
	{ "the list of sessions as list of files", { "S40*B" }, 0, -EBADMSG, -EBADMSG,
	  0, LIST "more entries than announced" },
	{ "a memfd as list of files", { "S40*M" }, 0, -EBADMSG, -EBADMSG, 0,
	  LIST "too many entries" },
	{ "a count that is too large", { "S48=3" }, 0, 0, 0, 0, "2 of 3 files are left" },
	{ "a count that is too small", { "S48=1" }, 0, 0, -EBADMSG, 0,
	  LIST "more entries than announced" },
	{ "a count of 0", { "S48=0" }, 0, -EBADMSG, -EBADMSG, 0,
	  LIST "more entries than announced" },
	{ "the largest count", { "S48=ffffffffffffffff" }, 0, 0, 0, 0,
	  LIST "fewer entries" },
	/* A block of files. */
	{ "more entries than fit", { "L8=40" }, 0, -EBADMSG, -EBADMSG, 0, LIST "too many entries" },
	{ "no entries", { "L8=0" }, 0, -EBADMSG, -EBADMSG, 0, LIST "fewer entries" },
	{ "a block that follows itself", { "L0*S40" }, 0, 0, 0, 0,
	  LIST "block comes twice" },
	{ "a next block that is not preserved", { "L0=" NOWHERE }, 0, 0, 0, 0,
	  LIST "not a preserved block" },
	{ "a next block of another session", { "L0*#S40" }, 0, 0, 0, 0, LIST "more entries" },
	/* The record of a file. */
	{ "a handler without an end", { "F0=7878787878787878", "F8=7878787878787878",
	  "F10=7878787878787878", "F18=7878787878787878", "F20=7878787878787878",
	  "F28=7878787878787878" }, 0, -EBADMSG, 0, 0,
	  "@token 0x1: name of the handler is damaged" },
	{ "no handler", { "F0=0" }, 0, -EBADMSG, 0, 0,
	  "@token 0x1: name of the handler is damaged" },
	{ "a handler that nobody knows", { "F0^1" }, 0, -EOPNOTSUPP, 0, -EOPNOTSUPP,
	  "@token 0x1: lemfd-v2: not finished, no such handler" },
	{ "a token that comes twice", { "2F38*F38" }, 0, 0, -ENOENT, 0,
	  "@token 0x1: comes twice, the second file is lost" },
	{ "no data", { "F30=0" }, 0, -EINVAL, 0, 0, "record 0x0 of a memfd is not preserved" },
	{ "data that is not aligned", { "F30^4" }, 0, -EINVAL, 0, 0,
	  "of a memfd is not preserved" },
	{ "data that is not preserved", { "F30=" NOWHERE }, 0, -EINVAL, 0, 0,
	  "record 0x" NOWHERE " of a memfd" },
	{ "data beyond memory", { "F30=" BEYOND }, 0, -EINVAL, 0, 0, "record 0x" BEYOND },
	{ "the data of the other file", { "F30*2F30" }, 0, -EINVAL, 0, 0,
	  "of a memfd is not preserved" },
	{ "the list of files as data", { "F30*S40" }, 0, -EINVAL, 0, 0,
	  "of a memfd is not preserved" },
	{ "folio records as data", { "F30*C8" }, 0, -EOPNOTSUPP, 0, 0,
	  "a memfd has unknown flags" },
	/* The record of a memfd. */
	{ "a size that no file has", { "M8=8000000000000000" }, 0, -EINVAL, 0, 0, "out of range" },
	{ "a position that no file has", { "M0=8000000000000000" }, 0, -EINVAL, 0, 0,
	  "out of range" },
	{ "an unknown seal", { "M10^80000000" }, 0, -EOPNOTSUPP, 0, 0, "seals 0x80000000" },
	{ "an unknown flag", { "M10^8000000000000000" }, 0, -EOPNOTSUPP, 0, 0,
	  "unknown flags 0x80000000" },
	{ "more folios than records", { "M18=10000000000" }, 0, -EINVAL, 0, 0,
	  "has 1099511627776 folios" },
	{ "more folios than there were", { "M18=11", "R100=0" }, 0, 0, 0, 0, NULL, PAGES },
	{ "the list of files of another session", { "S40*#S40" }, 0, -EBADMSG, -EBADMSG, 0,
	  LIST "not a preserved block" },
	{ "fewer folios than there were", { "M18=8" }, 0, 0, 0, 0, NULL, 8 },
	{ "no pages of records", { "M28^1" }, 0, -EINVAL, 0, 0, "in 0 pages of records" },
	{ "records that are not there", { "M18=200", "M28^2" }, 0, -EINVAL, 0, 0,
	  "records are missing" },
	{ "a large order", { "M28^3f000000000000" }, 0, -EINVAL, 0, 0, "of records of order 63" },
	{ "no chunk", { "M20=0" }, 0, -EINVAL, 0, 0, "records are missing" },
	{ "a chunk that is not preserved", { "M20=" NOWHERE }, 0, -EINVAL, 0, 0,
	  "of the records is not preserved" },
	{ "the memfd as its chunk", { "M20*F30" }, 0, -EINVAL, 0, 0, "of the records is not" },
	/* A chunk of records. */
	{ "an empty chunk", { "C8=0" }, 0, -EINVAL, 0, 0, "records are missing" },
	{ "records that are not preserved", { "C8=" NOWHERE }, 0, -EINVAL, 0, 0,
	  "page 0x0000000000" NOWHERE " of the records" },
	{ "records that are not aligned", { "C8^8" }, 0, -EINVAL, 0, 0, "of the records is not" },
	{ "the chunk as records", { "C8*M20" }, 0, -EINVAL, 0, 0, "of the records is not" },
	{ "the records of the other file", { "C8*2C8" }, 0, -EINVAL, 0, 0,
	  "of the records is not" },
	{ "a next chunk that is the same", { "C0*M20" }, 0, 0, 0, 0, NULL, PAGES },
	/* The record of a folio. */
	{ "a folio that is not preserved", { "R0=30000000000100" }, 0, -EINVAL, 0, 0,
	  "is not preserved, or" },
	{ "a folio beyond memory", { "R0=3fffffffffffff" }, 0, -EINVAL, 0, 0,
	  "is not preserved, or" },
	{ "a folio twice", { "R10*R0" }, 0, -EINVAL, 0, 0, "is not preserved, or" },
	{ "a folio of the other file", { "R0*2R0" }, 0, -EINVAL, 0, 0, "is not preserved, or" },
	{ "an unknown flag of a folio", { "R0^8000000000000000" }, 0, -EINVAL, 0, 0,
	  "unknown flags 0x80" },
	{ "an index beyond any file", { "R8=8000000000000000" }, 0, -EINVAL, 0, 0,
	  "does not fit at page" },
	{ "an index twice", { "R18=0" }, 0, -EINVAL, 0, 0, "two folios for page 0" },
};

#define NR_DAMAGES	((int)(sizeof(damages) / sizeof(damages[0])))

/* The path to a place in a session; nr counts sessions from the first one. */
static int path(char *buf, size_t len, unsigned long long luo, int nr, const char *place,
		const char **end)
{
	int file = 0, n, block;
	char *stop;
	unsigned long off;
	char level;

	for (; *place == '#' || *place == '2'; place++) {
		if (*place == '#')
			nr--;
		else
			file = 1;
	}
	level = *place++;
	if (level == 'B') {
		*end = place;
		return snprintf(buf, len, "%llx", luo + 16);
	}
	off = strtoul(place, &stop, 16);
	if (stop == place)
		off = 0;
	*end = stop;
	n = snprintf(buf, len, "%llx", luo + 16);
	for (block = nr / PER_BLOCK; block; block--)
		n += snprintf(buf + n, len - n, ":0");
	nr %= PER_BLOCK;
	if (level == 'S')
		return n + snprintf(buf + n, len - n, ":%lx", 16 + 80 * nr + off);
	n += snprintf(buf + n, len - n, ":%x", 16 + 80 * nr + 64);
	if (level == 'L')
		return n + snprintf(buf + n, len - n, ":%lx", off);
	if (level == 'F')
		return n + snprintf(buf + n, len - n, ":%lx", 16 + 64 * file + off);
	n += snprintf(buf + n, len - n, ":%x", 16 + 64 * file + 48);
	/* "M" alone is its address. */
	if (level == 'M' && stop == place)
		return n;
	if (level == 'M')
		return n + snprintf(buf + n, len - n, ":%lx", off);
	n += snprintf(buf + n, len - n, ":20");
	if (level == 'C')
		return n + snprintf(buf + n, len - n, ":%lx", off);
	return n + snprintf(buf + n, len - n, ":8:%lx", off);
}

static int do_damage(unsigned long long luo, int nr, const char *how)
{
	char line[512], from[200];
	const char *end;
	int n = path(line, sizeof(line), luo, nr, how, &end);

	if (*end == '*') {
		path(from, sizeof(from), luo, nr, end + 1, &end);
		snprintf(line + n, sizeof(line) - n, "*%s", from);
	} else {
		snprintf(line + n, sizeof(line) - n, "%s", end);
	}
	return late("%s", line);
}

/* ---- sessions to be damaged, and others ---- */

/* Short, and all of the same length: a name is one word. */
static void name_of(char *name, char group, int nr)
{
	snprintf(name, 8, "%c-%03d", group, nr);
}

static void leave_one(struct __test_metadata *_metadata, int dev, char group, int nr, int pages)
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
static int look(struct __test_metadata *_metadata, int s, uint64_t token, int pages, int sound,
		int seed)
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

static void intact_are_there(struct __test_metadata *_metadata, int dev, char group, int nr)
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
static void usable(struct __test_metadata *_metadata, int dev)
{
	int s = luo_create_session(dev, "usable"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("usable", 0, 2, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	close(m);
	close(s);
}

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

LUO_TEST(stage1, damage_every_structure_of_a_session)
{
	unsigned long long luo = subtree("LUO");

	ASSERT_NE(0, luo);
	for (int i = 0; i < NR_DAMAGES; i++)
		leave_one(_metadata, self->dev, 'd', i, PAGES);
	for (int i = 0; i < INTACT; i++)
		leave_one(_metadata, self->dev, 'i', i, 1);
	for (int i = 0; i < NR_DAMAGES; i++) {
		for (int k = 0; k < 8 && damages[i].how[k]; k++)
			ASSERT_EQ(0, do_damage(luo, i, damages[i].how[k])) {
				TH_LOG("%s", damages[i].what);
			}
	}
	/* And the list of sessions has two blocks, the second one followed by itself. */
	ASSERT_EQ(0, late("%llx:0:0*%llx:0", luo + 16, luo + 16));
	luo_note("%d sessions are damaged, %d are not", NR_DAMAGES, INTACT);
}

static void judge(struct __test_metadata *_metadata, int dev, int i)
{
	const struct damage *d = &damages[i];
	int s, one = 0, two = 0, finish = 0, sound = d->pages ?: PAGES;
	char name[8], says[160];

	name_of(name, 'd', i);
	s = luo_retrieve_session(dev, name);
	if (s >= 0) {
		/* The other file first: what it shares with the victim is its own. */
		two = look(_metadata, s, 2, OTHER_PAGES, OTHER_PAGES, i * 10 + 2);
		one = look(_metadata, s, 1, PAGES, sound, i * 10 + 1);
		EXPECT_EQ(one, look(_metadata, s, 1, PAGES, sound, i * 10 + 1));
		finish = luo_finish(s);
		close(s);
	}
	if (d->says && d->says[0] == '@')
		snprintf(says, sizeof(says), "session '%s': %s", name, d->says + 1);
	else
		snprintf(says, sizeof(says), "%s", d->says ?: "");
	EXPECT_TRUE((s < 0 ? s : 0) == d->session && one == d->one && two == d->two &&
		    finish == d->finish && (!d->says || luo_klog_has(says) > 0)) {
		TH_LOG("%s: %s: session %d, files %d and %d, FINISH %d, '%s' said %d times", name,
		       d->what, s, one, two, finish, says, d->says ? luo_klog_has(says) : 0);
	}
}

LUO_TEST(stage2, each_damage_is_named_and_stays_where_it_is)
{
	for (int i = 0; i < NR_DAMAGES; i++)
		judge(_metadata, self->dev, i);
}

LUO_TEST(stage2, the_intact_ones_are_there)
{
	EXPECT_EQ(1, luo_klog_has("list of sessions is damaged: block comes twice"));
	intact_are_there(_metadata, self->dev, 'i', INTACT);
	usable(_metadata, self->dev);
}

/* ---- damage to all sessions ---- */

LUO_TEST(stage2, damage_the_second_block_of_sessions)
{
	unsigned long long luo = subtree("LUO");

	ASSERT_NE(0, luo);
	for (int i = 0; i < MANY; i++)
		leave_one(_metadata, self->dev, 'm', i, 1);
	ASSERT_EQ(0, late("%llx:0:8=34", luo + 16));
	/* Neither is read by who reads the sessions. */
	ASSERT_EQ(0, late("%llx=" NOWHERE, luo + 24));
	ASSERT_EQ(0, late("%llx^ff", subtree("kexec-metadata")));
	ASSERT_EQ(0, late("%llx=0", subtree("memblock")));
}

LUO_TEST(stage3, the_first_block_is_taken)
{
	EXPECT_EQ(1, luo_klog_has("list of sessions is damaged: too many entries for a block"));
	EXPECT_EQ(1, luo_klog_has("51 sessions are left"));
	EXPECT_EQ(1, luo_klog_has("the FLB area of the previous kernel at 0x" NOWHERE));
	EXPECT_EQ(1, luo_klog_has("kexec-metadata: "));
	EXPECT_EQ(1, luo_klog_has("not understood"));
	EXPECT_EQ(1, luo_klog_has("sub-tree memblock is not memblock-v1"));
	intact_are_there(_metadata, self->dev, 'm', PER_BLOCK);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "m-051"));
	usable(_metadata, self->dev);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3 };

	return luo_stages_main(&stages);
}
