// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: a distribution's user space boots on the kernel and live-updates it.
 *
 * A Debian root file system, on a disk with ext4, comes up to multi-user.target
 * with no failed unit. The next kernel is loaded by kexec-tools and entered by
 * "systemctl kexec", that is, after systemd has stopped its units and killed
 * what is left. The session survives that in a process whose name begins with
 * "@", which systemd-shutdown leaves alone. The next kernel comes up as the
 * first did, and the session is there.
 *
 * vm-test: name=systemd stages=2 mem=1024 kernels=plain needs=debian timeout=180 \
 *          append="systemd.show_status=no systemd.getty_auto=no"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "luo_stages.h"

#define PAGES	4096UL
#define KEEPER	"@luo-keeper"

LUO_STAGE(stage1);
LUO_STAGE(stage2);

/* What a command prints, without the newlines at its end. */
static void output_of(const char *cmd, char *buf, size_t len)
{
	FILE *f = popen(cmd, "r");
	size_t n = f ? fread(buf, 1, len - 1, f) : 0;

	if (f)
		pclose(f);
	while (n && buf[n - 1] == '\n')
		n--;
	buf[n] = 0;
}

static void check_system(struct __test_metadata *_metadata)
{
	char out[4096];

	luo_read_file("/proc/1/comm", out, sizeof(out));
	EXPECT_STREQ("systemd\n", out);
	output_of("systemctl is-system-running --wait", out, sizeof(out));
	EXPECT_STREQ("running", out);
	output_of("systemctl is-active multi-user.target", out, sizeof(out));
	EXPECT_STREQ("active", out);
	output_of("systemctl --failed --plain --no-legend", out, sizeof(out));
	EXPECT_STREQ("", out);
}

LUO_TEST(stage1, no_unit_failed) { check_system(_metadata); }

LUO_TEST(stage1, session)
{
	int s = luo_create_session(self->dev, "systemd"), m;

	ASSERT_LE(0, s);
	m = luo_memfd_filled("systemd", 0, PAGES, 7);
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage2, no_unit_failed) { check_system(_metadata); }

LUO_TEST(stage2, session)
{
	int s = luo_retrieve_session(self->dev, "systemd"), m;

	ASSERT_LE(0, s);
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, PAGES, 7));
	EXPECT_EQ(0, luo_finish(s));
}

static int next(int stage)
{
	char cmdline[2048], cmd[4096];
	int ret;

	ret = luo_disk_to_file("kernel", "/run/luo/kernel");
	if (!ret)
		ret = luo_next_cmdline(cmdline, sizeof(cmdline), stage + 1, NULL);
	if (ret)
		return ret;
	snprintf(cmd, sizeof(cmd), "kexec -s -l /run/luo/kernel --command-line='%s'", cmdline);
	ret = system(cmd);
	if (ret)
		return ret;
	ret = system("systemctl --no-block kexec");
	if (ret)
		return ret;
	/* From here on nothing but a name and the sessions. */
	execl("/proc/self/exe", KEEPER, NULL);
	return -errno;
}

int main(int argc, char **argv)
{
	static const struct luo_stages stages = { .last = 2, .next = next };

	if (!strcmp(argv[0], KEEPER)) {
		for (;;)
			pause();
	}
	return luo_stages_main(&stages);
}
