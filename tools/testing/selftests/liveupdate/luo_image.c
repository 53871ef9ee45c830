// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: an image whose kernel cannot take what is preserved is not started.
 *
 * The image of this kernel is altered in the record that says what it reads: a
 * format is renamed, the version is one of the future, the record is damaged or
 * gone. As long as no session has a file, all of these load. Then those that lack
 * something are refused, by kexec_file_load() and by reboot(), with a line in the
 * log that names session, file and format, and the sessions are as before.
 * Two sysctls change what happens, as documented. Crash images always load.
 *
 * The last jump goes through an image without a record, which counts as mainline:
 * that is said in the log, and so is that mainline gets one kind of seal wrong.
 *
 * vm-test: name=image stages=2 mem=1280 kernels=plain timeout=60 \
 *          append="crashkernel=256M" needs=shell \
 *          wants="the image has no record of what its kernel reads" \
 *          wants="F_SEAL_EXEC comes out of a mainline kernel"
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "luo_stages.h"

#define ON_CRASH	2UL
#define LOST		"session 'vm-1': would be lost, the next kernel "
#define ALTERED		"/tmp/altered"
#define REQUIRE		"/proc/sys/kernel/liveupdate_require_record"
#define IGNORE		"/proc/sys/kernel/liveupdate_ignore_record"

/* The record, as Documentation/core-api/kho/image.rst has it. */
#define VERSION_AT	8
#define NR_FORMATS_AT	16
#define FORMATS_AT	24
#define FORMAT_SIZE	52
#define NAME_AT		4

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static uint32_t get32(int fd, off_t at)
{
	uint32_t val = 0;

	return pread(fd, &val, sizeof(val), at) == sizeof(val) ? le32toh(val) : 0;
}

/* Where in the file the record is, by way of kernel_info; 0 if there is none. */
static off_t find_record(int fd)
{
	uint8_t sects = 0;
	off_t info, at, end;
	char magic[5] = "";

	pread(fd, &sects, 1, 0x1f1);
	info = (sects + 1) * 512 + get32(fd, 0x268);
	at = info + get32(fd, info + 4);
	end = info + get32(fd, info + 8);
	for (; at < end; at += get32(fd, at + 4)) {
		pread(fd, magic, 4, at);
		if (!strcmp(magic, "LUOF"))
			return at;
		if (!get32(fd, at + 4))
			break;
	}
	return 0;
}

/* Where the name of a format is; 0 if it is not listed. */
static off_t find_format(int fd, const char *name)
{
	off_t at = find_record(fd);
	unsigned int nr = get32(fd, at + NR_FORMATS_AT) & 0xffff;
	char have[48];

	at += FORMATS_AT + NAME_AT;
	for (; nr; nr--, at += FORMAT_SIZE) {
		if (pread(fd, have, sizeof(have), at) == sizeof(have) && !strcmp(have, name))
			return at;
	}
	return 0;
}

enum alter { NOTHING, NO_RECORD, NEW_VERSION, DAMAGED, NO_KHO, NO_LUO, NO_MEMFD };

static const char * const formats[] = {
	[NO_KHO] = "kho-v4", [NO_LUO] = "luo-v5", [NO_MEMFD] = "memfd-v2",
};

static int copy_kernel(void)
{
	return access(ALTERED, F_OK) ? luo_run("cp /tmp/kernel " ALTERED) : 0;
}

/* Loads the image of this kernel with the record altered, and makes it good again. */
static int load_altered(enum alter how, const char *extra, unsigned long flags)
{
	char was[4], now[4] = "XXXX";
	off_t at;
	int fd, ret;

	ret = luo_disk_to_file("kernel", "/tmp/kernel");
	if (!ret)
		ret = copy_kernel();
	if (ret)
		return ret;
	fd = open(ALTERED, O_RDWR | O_CLOEXEC);
	at = find_record(fd);
	if (fd < 0 || !at)
		return -ENOENT;
	if (how == NEW_VERSION)
		at += VERSION_AT;
	else if (how == DAMAGED)
		at += NR_FORMATS_AT;
	else if (how >= NO_KHO)
		at = find_format(fd, formats[how]);
	if (!at || pread(fd, was, 4, at) != 4 || (how && pwrite(fd, now, 4, at) != 4))
		return -EIO;
	/* Files that are open for writing cannot be loaded. */
	close(fd);

	ret = luo_kexec_load("altered", 2, extra, flags);

	fd = open(ALTERED, O_RDWR | O_CLOEXEC);
	if (pwrite(fd, was, 4, at) != 4)
		ret = -EIO;
	close(fd);
	return ret;
}

static int session_with_memfd(struct __test_metadata *_metadata, int dev)
{
	int s = luo_create_session(dev, "vm-1"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("vm", 0, 16, 1);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 7));
	close(m);
	return s;
}

LUO_TEST(stage1, the_record_lists_what_is_read)
{
	int fd;

	ASSERT_EQ(0, luo_disk_to_file("kernel", "/tmp/kernel"));
	fd = open("/tmp/kernel", O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_NE(0, find_record(fd));
	for (int i = NO_KHO; i <= NO_MEMFD; i++) {
		EXPECT_NE(0, find_format(fd, formats[i])) {
			TH_LOG("%s is missing", formats[i]);
		}
	}
	EXPECT_EQ(0, find_format(fd, "memfd-v1"));
	close(fd);

	/* Nothing is registered that is not listed. */
	EXPECT_EQ(0, luo_klog_has("is not in the record of this kernel"));
}

/* One image is enough for refusals that have all the same path. */
LUO_TEST(stage1, with_nothing_preserved_any_image_loads)
{
	int s = luo_create_session(self->dev, "empty");

	ASSERT_LE(0, s);
	EXPECT_EQ(0, load_altered(NO_KHO, "-kho kho=off", 0));
	EXPECT_EQ(0, load_altered(DAMAGED, NULL, 0));
	EXPECT_EQ(1, luo_klog_has("the record of the image is of no use"));
	ASSERT_EQ(0, luo_write_file(REQUIRE, "1"));
	EXPECT_EQ(0, load_altered(NO_RECORD, NULL, 0));
	ASSERT_EQ(0, luo_write_file(REQUIRE, "0"));
	EXPECT_EQ(0, luo_kexec_unload(0));
	close(s);
}

LUO_TEST(stage1, what_is_lacking_is_named)
{
	int s = session_with_memfd(_metadata, self->dev);

	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NO_MEMFD, NULL, 0));
	EXPECT_EQ(1, luo_klog_has("session 'vm-1': token 0x7: memfd-v2: would be lost"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NO_KHO, NULL, 0));
	EXPECT_EQ(1, luo_klog_has(LOST "does not read kho-v4"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NO_LUO, NULL, 0));
	EXPECT_EQ(1, luo_klog_has(LOST "does not read luo-v5"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NEW_VERSION, NULL, 0));
	EXPECT_EQ(1, luo_klog_has("its version is not known here"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(DAMAGED, NULL, 0));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NOTHING, "-kho kho=off", 0));
	EXPECT_EQ(1, luo_klog_has(LOST "comes up with kho=off"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NOTHING, "-liveupdate", 0));
	EXPECT_EQ(1, luo_klog_has(LOST "comes up with liveupdate=off"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NO_RECORD, "-kho kho=0", 0));
	EXPECT_EQ(0, luo_kexec_is_loaded());

	/* A crash kernel takes nothing over. */
	EXPECT_EQ(0, load_altered(NO_MEMFD, "-kho kho=off", ON_CRASH));
	EXPECT_EQ(0, luo_kexec_unload(ON_CRASH));

	/* With the file gone, so is the reason. */
	close(s);
	EXPECT_EQ(0, load_altered(NO_MEMFD, NULL, 0));
	EXPECT_EQ(0, luo_kexec_unload(0));
}

LUO_TEST(stage1, sysctls_require_and_ignore)
{
	int s = session_with_memfd(_metadata, self->dev);

	ASSERT_EQ(0, luo_write_file(REQUIRE, "1"));
	EXPECT_EQ(-EPROTONOSUPPORT, load_altered(NO_RECORD, NULL, 0));
	EXPECT_EQ(1, luo_klog_has("liveupdate_require_record is set"));
	EXPECT_EQ(0, load_altered(NOTHING, NULL, 0));
	ASSERT_EQ(0, luo_write_file(REQUIRE, "0"));
	EXPECT_EQ(0, load_altered(NO_RECORD, NULL, 0));

	ASSERT_EQ(0, luo_write_file(IGNORE, "1"));
	EXPECT_EQ(0, load_altered(NO_MEMFD, "-kho kho=off", 0));
	EXPECT_EQ(1, luo_klog_has("2 things do not fit"));
	ASSERT_EQ(0, luo_write_file(IGNORE, "0"));
	EXPECT_EQ(-EINVAL, luo_write_file(IGNORE, "2"));
	EXPECT_EQ(0, luo_kexec_unload(0));
	close(s);
}

LUO_TEST(stage1, sessions_that_grow_after_the_load)
{
	char name[64] = "";
	int s, m;

	ASSERT_EQ(0, load_altered(NO_MEMFD, NULL, 0));
	s = luo_create_session(self->dev, "vm-2");
	ASSERT_LE(0, s);
	m = luo_memfd_filled("late", 0, 16, 2);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 8));
	EXPECT_EQ(-EPROTONOSUPPORT, luo_kexec_exec());
	EXPECT_EQ(1, luo_klog_has("session 'vm-2': token 0x8: memfd-v2: would be lost"));

	/* Not frozen, not lost. */
	EXPECT_EQ(0, luo_fill_fd(m, 0, 16, 3));
	EXPECT_EQ(0, luo_get_name(s, name));
	EXPECT_STREQ("vm-2", name);
	EXPECT_EQ(-EEXIST, luo_preserve_fd(s, m, 8));
	EXPECT_EQ(1, luo_kexec_is_loaded());
	EXPECT_EQ(0, luo_kexec_unload(0));
	close(s);
	close(m);
}

LUO_TEST(stage1, zz_leave_through_an_image_without_a_record)
{
	int s = luo_create_session(self->dev, "vm-3"), m;

	ASSERT_LE(0, s);
	m = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	ASSERT_LE(0, m);
	ASSERT_EQ(0, ftruncate(m, 16 * LUO_PAGE));
	ASSERT_EQ(0, luo_fill_fd(m, 0, 16, 4));
	ASSERT_EQ(F_SEAL_EXEC, fcntl(m, F_GET_SEALS));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 9));
	ASSERT_EQ(0, luo_keep(s));
	EXPECT_EQ(0, load_altered(NO_RECORD, NULL, 0));
}

LUO_TEST(stage2, all_came)
{
	int s = luo_retrieve_session(self->dev, "vm-3"), m;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 9);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 16, 4));
	EXPECT_EQ(F_SEAL_EXEC, fcntl(m, F_GET_SEALS));
	EXPECT_EQ(0, luo_finish(s));
	close(s);
}

static int next(int stage)
{
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .next = next };

	return luo_stages_main(&stages);
}
