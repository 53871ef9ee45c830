// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: each structure that crosses the kexec, damaged in each way, harms no more
 * than what it describes.
 *
 * The tables below are structure by damage. All of it is done in one jump, to a session
 * for each line; among them stand sessions that nothing was done to. Damage is done
 * when the kernel has written everything, by /sys/kernel/debug/kho/out/poke_late. After
 * the jump: the kernel is up without a warning, the log names the culprit, each file
 * gives the error or the content that the table says, and whatever is intact is there.
 * What takes all sessions with it is in luo_damage_all.c.
 *
 * A format without checksums cannot tell a page that was dropped, or a list that
 * became shorter in the right way, from one that never was. These lines are in the
 * table too, with what comes of them.
 *
 * vm-test: name=damage stages=3 mem=1024 kernels=debug \
 *          timeout=90 append="reserve_mem=1M:4096:damage hugepagesz=2M hugepages=40"
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>

#include "luo_damage.h"
#include "luo_test_handler.h"

#define PAGES		16	/* of file 1, the victim */
#define LIST		"@list of files is damaged: "
#define INTACT		8	/* sessions that nothing is done to */
#define MANY		60	/* more than one block has room for */
#define PER_BLOCK	51

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

/* ---- damage to hugetlb memfds ---- */

#define MFD_HUGE	(MFD_HUGETLB | 21U << 26)
#define PER_HUGE	(LUO_HUGE / LUO_PAGE)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_POOL	40
#define HUGE_PAGES	2	/* in each file; a third one is reserved */

/* Records of a file: the two pages, then the reservation. */
static const struct {
	const char *what, *how;
	int error;
	const char *says;
	int lost;		/* pages that nothing points at any more */
} huge_damages[] = {
	{ "nothing", NULL, 0, NULL, 0 },
	{ "an unknown flag", "M30^100000000", -EOPNOTSUPP, "unknown flags 0x1", 2 },
	{ "pages of another size", "M30=a", -EOPNOTSUPP, "huge pages of order 10,", 2 },
	{ "pages of a size that cannot be", "M30=40", -EOPNOTSUPP, "huge pages of order 64,", 2 },
	{ "a size that no file has", "M8=8000000000000001", -EINVAL,
	  "size 9223372036854775809", 2 },
	{ "a page that is not preserved", "R0=30000000000101", -EINVAL,
	  "huge page 0x101 of a memfd", 1 },
	{ "a page twice", "R10*R0", -EINVAL, "is not preserved, or does not fit at page 512", 1 },
	{ "two pages for one place", "R18=0", -EINVAL, "two huge pages for page 0", 0 },
	{ "a place that is not aligned", "R18=201", -EINVAL, "does not fit at page 513", 0 },
	{ "a place beyond any file", "R18=8000000000000000", -EINVAL,
	  "does not fit at page 9223372036854775808", 0 },
	{ "unknown flags of a page", "R0^8000000000000000", -EINVAL, "flags 0x803", 1 },
	{ "a reservation beyond the end", "R20=40010000000000", -EINVAL,
	  "reservation of 1099511627776", 0 },
	{ "a reservation of nothing", "R20=40000000000000", -EINVAL, "reservation of 0", 0 },
};

#define NR_HUGE		((int)(sizeof(huge_damages) / sizeof(huge_damages[0])))

static char *huge_map(int fd)
{
	return mmap(NULL, (HUGE_PAGES + 1) * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void leave_huge(struct __test_metadata *_metadata, int dev, int nr)
{
	char name[8], *map;
	int s, fd;

	name_of(name, 'h', nr);
	s = luo_create_session(dev, name);
	ASSERT_LE(0, s);
	fd = luo_memfd(name, MFD_HUGE, (HUGE_PAGES + 1) * LUO_HUGE);
	ASSERT_LE(0, fd);
	map = huge_map(fd);
	ASSERT_NE(MAP_FAILED, (void *)map);
	for (int i = 0; i < HUGE_PAGES; i++)
		luo_fill(map + i * LUO_HUGE, i * PER_HUGE, 1, nr);
	munmap(map, (HUGE_PAGES + 1) * LUO_HUGE);
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	close(fd);
	ASSERT_EQ(0, luo_keep(s));
	close(s);
}

static void judge_huge(struct __test_metadata *_metadata, int dev, int nr)
{
	const char *says = huge_damages[nr].says;
	char name[8], *map;
	int s, fd;

	name_of(name, 'h', nr);
	s = luo_retrieve_session(dev, name);
	ASSERT_LE(0, s);
	fd = luo_retrieve_fd(s, 1);
	EXPECT_EQ(huge_damages[nr].error, fd < 0 ? fd : 0) {
		TH_LOG("%s: %s", name, huge_damages[nr].what);
	}
	EXPECT_TRUE(!says || luo_klog_has(says) > 0) {
		TH_LOG("%s: %s: '%s' was not said", name, huge_damages[nr].what, says);
	}
	if (fd >= 0) {
		map = huge_map(fd);
		ASSERT_NE(MAP_FAILED, (void *)map);
		for (int i = 0; i < HUGE_PAGES; i++)
			EXPECT_EQ(LUO_OK, luo_verify(map + i * LUO_HUGE, i * PER_HUGE, 1, nr));
		munmap(map, (HUGE_PAGES + 1) * LUO_HUGE);
		close(fd);
	}
	EXPECT_EQ(0, luo_finish(s));
	close(s);
}

/* ---- damage to shared state ---- */

static int flb_damage(unsigned long long luo, const char *name, int off, const char *how)
{
	int nr = flb_record(name);

	return nr < 0 ? -ENOENT : late("%llx:%x%s", luo + 24, 16 + 64 * nr + off, how);
}

/* ---- damage to the map ---- */

/* A bit of the map that stands for a single page, flipped; memory is below 64 GiB. */
static int forget_page(uint64_t pfn)
{
	return late("%llx:0:0:0:%llx:%llx^%llx", number_in(OUT "map_address") + 16,
		    (unsigned long long)(pfn >> 15) * 8,
		    (unsigned long long)(pfn & 32767) / 64 * 8, 1ULL << (pfn & 63));
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
	for (int i = 0; i < NR_HUGE; i++) {
		leave_huge(_metadata, self->dev, i);
		if (huge_damages[i].how)
			ASSERT_EQ(0, do_damage(luo, NR_DAMAGES + INTACT + i, huge_damages[i].how));
	}
	/* And the list of sessions has two blocks, the second one followed by itself. */
	ASSERT_EQ(0, late("%llx:0:0*%llx:0", luo + 16, luo + 16));
	luo_note("%d sessions are damaged, %d are not", NR_DAMAGES, INTACT);
}

/* Five records: of each something else is wrong. */
LUO_TEST(stage1, damage_shared_state)
{
	unsigned long long luo = subtree("LUO");
	int s = luo_create_session(self->dev, "flbs"), lt = lt_open();

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, lt_flb_do(lt, LUO_TEST_EXTRA + i, LUO_TEST_FLB_REGISTER,
				       LUO_TEST_B, 0));
	ASSERT_EQ(5, lt_flb_do(lt, LUO_TEST_X, LUO_TEST_FLB_SET, 0, 5));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_A, 1, 51));
	ASSERT_EQ(0, lt_preserve(lt, s, LUO_TEST_B, 2, 52));
	/* As mainline counts, who knows more users than files. */
	ASSERT_EQ(0, flb_damage(luo, "luo-test-x", 56, "=3e8"));
	ASSERT_EQ(0, flb_damage(luo, "luo-test-y", 48, "=10"));
	for (int off = 0; off < 48; off += 8)
		ASSERT_EQ(0, flb_damage(luo, "luo-test-extra2", off, "=6e6e6e6e6e6e6e6e"));
	ASSERT_EQ(0, late("%llx:%x*%llx:%x", luo + 24, 16 + 64 * flb_record("luo-test-extra3"),
			  luo + 24, 16 + 64 * flb_record("luo-test-x")));
	ASSERT_EQ(0, late("%llx:%x*%llx:%x", luo + 24, 24 + 64 * flb_record("luo-test-extra3"),
			  luo + 24, 24 + 64 * flb_record("luo-test-x")));
	ASSERT_EQ(0, flb_damage(luo, "luo-test-extra4", 56, "=0"));
	ASSERT_EQ(0, late("%llx=0", subtree("x86-clocks") + 16));
	ASSERT_EQ(0, luo_keep(s));
	close(lt);
}

/* One page of the first of two files is not in the map any more. */
LUO_TEST(stage1, damage_the_map)
{
	int s = luo_create_session(self->dev, "map"), m[2];
	uint64_t pfn[2];

	ASSERT_LE(0, s);
	for (int i = 0; i < 2; i++) {
		char *map;

		m[i] = luo_memfd_filled("map", 0, OTHER_PAGES, 60 + i);
		ASSERT_EQ(0, luo_preserve_fd(s, m[i], 1 + i));
		map = mmap(NULL, LUO_PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, m[i], 0);
		ASSERT_NE(MAP_FAILED, (void *)map);
		pfn[i] = luo_pfn_of(map);
		ASSERT_NE(0, pfn[i]);
	}
	ASSERT_EQ(0, forget_page(pfn[0]));
	ASSERT_EQ(0, luo_keep(s));
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

LUO_TEST(stage2, huge_pages)
{
	int lost = 0;
	char says[80];

	EXPECT_EQ(HUGE_POOL, luo_file_num(POOL "nr_hugepages"));
	EXPECT_EQ(0, luo_file_num(POOL "surplus_hugepages"));
	for (int i = 0; i < NR_HUGE; i++) {
		judge_huge(_metadata, self->dev, i);
		lost += huge_damages[i].lost;
	}
	snprintf(says, sizeof(says), "%d pages were announced and never came", lost);
	EXPECT_EQ(1, luo_klog_has(says)) {
		TH_LOG("'%s' was not said", says);
	}
	EXPECT_EQ(HUGE_POOL - lost, luo_file_num(POOL "nr_hugepages"));
}

LUO_TEST(stage2, shared_state)
{
	int s = luo_retrieve_session(self->dev, "flbs"), lt = lt_open();

	ASSERT_LE(0, s);
	ASSERT_LE(0, lt);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, lt_flb_do(lt, LUO_TEST_EXTRA + i, LUO_TEST_FLB_REGISTER,
				       LUO_TEST_B, 0));
	EXPECT_EQ(5, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(0, lt_flb(lt, LUO_TEST_X, LUO_TEST_FLB_PUT_IN));
	EXPECT_EQ(-EBADMSG, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-ENOENT, lt_flb(lt, LUO_TEST_EXTRA + i, LUO_TEST_FLB_GET_IN));
	EXPECT_EQ(1, luo_klog_has("nnnn' of the previous kernel: name is damaged"));
	EXPECT_EQ(1, luo_klog_has("FLB 'luo-test-x-v1' of the previous kernel: comes twice"));
	EXPECT_EQ(1, luo_klog_has("'luo-test-extra4-v1' of the previous kernel: no file depends"));
	lt_log(lt);
	/* The files are whole whatever was done. */
	EXPECT_EQ(51, lt_value(luo_retrieve_fd(s, 1)));
	EXPECT_EQ(52, lt_value(luo_retrieve_fd(s, 2)));
	EXPECT_EQ(0, luo_finish(s));
	EXPECT_EQ(-EBADMSG, lt_flb(lt, LUO_TEST_Y, LUO_TEST_FLB_GET_IN));
	close(lt);
}

LUO_TEST(stage2, a_page_that_the_map_forgot)
{
	int s = luo_retrieve_session(self->dev, "map");

	ASSERT_LE(0, s);
	EXPECT_EQ(-EINVAL, look(_metadata, s, 1, OTHER_PAGES, OTHER_PAGES, 60));
	EXPECT_EQ(0, look(_metadata, s, 2, OTHER_PAGES, OTHER_PAGES, 61));
	EXPECT_EQ(0, luo_finish(s));
}

LUO_TEST(stage2, the_intact_ones_are_there)
{
	EXPECT_EQ(1, luo_klog_has("list of sessions is damaged: block comes twice"));
	intact_are_there(_metadata, self->dev, 'i', INTACT);
	usable(_metadata, self->dev);
}

/* ---- damage to all sessions ---- */

/* A session whose devices are to be fenced, if the next kernel could read that. */
static void leave_policy(struct __test_metadata *_metadata, int dev)
{
	struct liveupdate_session_set_device_policy arg = {
		.size = sizeof(arg), .policy = LIVEUPDATE_DEVICE_FENCE_ON_CLOSE,
	};
	int s = luo_create_session(dev, "policy");

	ASSERT_LE(0, s);
	ASSERT_EQ(0, ioctl(s, LIVEUPDATE_SESSION_SET_DEVICE_POLICY, &arg));
	ASSERT_EQ(0, luo_keep(s));
	close(s);
}

LUO_TEST(stage2, clocks_are_measured_again)
{
	EXPECT_EQ(1, luo_klog_has("what was handed over is no frequency"));
	EXPECT_EQ(0, luo_klog_has("local APIC timer runs at "));
}

LUO_TEST(stage2, damage_the_second_block_of_sessions)
{
	unsigned long long luo = subtree("LUO");

	ASSERT_NE(0, luo);
	for (int i = 0; i < MANY; i++)
		leave_one(_metadata, self->dev, 'm', i, 1);
	ASSERT_EQ(0, late("%llx:0:8=34", luo + 16));
	/* None is read by who reads the sessions. */
	leave_huge(_metadata, self->dev, 99);
	ASSERT_LE(0, flb_record("hugetlb"));
	ASSERT_EQ(0, late("%llx:%x:0=1000000000000000", luo + 24,
			  16 + 64 * flb_record("hugetlb") + 48));
	ASSERT_EQ(0, late("%llx^ff", subtree("kexec-metadata")));
	ASSERT_EQ(0, late("%llx=0", subtree("memblock")));
	leave_policy(_metadata, self->dev);
	ASSERT_EQ(0, late("%llx^1", subtree("luo-policy")));
	ASSERT_EQ(0, late("%llx^1", subtree("luo-phases")));
	ASSERT_EQ(0, late("%llx^1", subtree("x86-clocks")));
}

LUO_TEST(stage3, the_first_block_is_taken)
{
	EXPECT_EQ(1, luo_klog_has("list of sessions is damaged: too many entries for a block"));
	EXPECT_EQ(1, luo_klog_has("51 sessions are left"));
	EXPECT_EQ(1, luo_klog_has("of the pools is damaged: preserved pages will be surplus"));
	EXPECT_EQ(1, luo_klog_has("kexec-metadata: "));
	EXPECT_EQ(1, luo_klog_has("not understood"));
	EXPECT_EQ(1, luo_klog_has("sub-tree memblock is not memblock-v1"));
	EXPECT_EQ(1, luo_klog_has("device policies are of an unknown format, all devices are"));
	EXPECT_EQ(1, luo_klog_has("time stamps of the previous kernel are of an unknown format"));
	EXPECT_EQ(1, luo_klog_has("clocks are measured again: what was handed over is of"));
	intact_are_there(_metadata, self->dev, 'm', PER_BLOCK);
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->dev, "m-051"));
	usable(_metadata, self->dev);
}

static int next(int stage)
{
	/* Three of the FLBs are in no list of formats. */
	return luo_ignore_record() ?: luo_kexec_next(NULL, NULL);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
