// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of a test VM, or what the unit luo-test.service runs where systemd is that.
 *
 * Mounts what tests need, reads "luo_test=PROGRAM luo_stage=N" from the kernel
 * command line, runs /bin/PROGRAM and reports.  A program that wants another
 * stage performs the kexec itself and never returns here, so a return means
 * that the test is over.  The last words of a VM are one line that starts with
 * "luo-vm: END"; the runner counts a VM without that line as failed.
 *
 * Output of tests goes through /dev/kmsg: lines stay whole, they are in order
 * with what the kernel prints, and nothing is lost at a kexec.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_test_util.h"

static void mount_one(const char *type, const char *dir, const char *opt)
{
	mkdir(dir, 0755);
	/* What this kernel was built without shows up in the test that needs it. */
	mount(type, dir, type, 0, opt);
}

static void mount_all(void)
{
	mount_one("proc", "/proc", NULL);
	mount_one("sysfs", "/sys", NULL);
	mount_one("devtmpfs", "/dev", NULL);
	mount_one("debugfs", "/sys/kernel/debug", NULL);
	mount_one("tracefs", "/sys/kernel/tracing", NULL);
	mount_one("cgroup2", "/sys/fs/cgroup", NULL);
	/* Kernels are copied there; one that has no huge pages knows no such option. */
	mount_one("tmpfs", "/tmp", "mode=1777");
	mount("tmpfs", "/tmp", "tmpfs", MS_REMOUNT, "huge=advise");
	mount_one("tmpfs", "/dev/shm", "mode=1777");
}

static void stdio_to(const char *in, const char *out)
{
	int fd;

	fd = open(in, O_RDONLY);
	if (fd >= 0) {
		dup2(fd, 0);
		if (fd > 0)
			close(fd);
	}
	fd = open(out, O_WRONLY);
	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	setlinebuf(stdout);
	setlinebuf(stderr);
}

static void shell(void)
{
	pid_t pid = fork();

	if (!pid) {
		stdio_to("/dev/ttyS0", "/dev/ttyS0");
		setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
		setenv("HOME", "/", 1);
		setenv("PS1", "guest# ", 1);
		execl("/bin/busybox", "sh", "-c",
		      "/bin/busybox --install -s /bin; exec setsid -c sh -i", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static int run(const char *prog, const char *stage)
{
	char path[128], name[64];
	int status;
	pid_t pid;

	snprintf(name, sizeof(name), "%s", prog);
	snprintf(path, sizeof(path), "%s/%s", getpid() == 1 ? "/bin" : "/run/luo", name);

	pid = fork();
	if (pid < 0)
		return 126;
	if (!pid) {
		setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
		setenv("LUO_STAGE", stage, 1);
		execl(path, name, NULL);
		printf("luo-vm: exec %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	for (;;) {
		pid_t got = wait(&status);

		if (got == pid)
			break;
		if (got < 0 && errno != EINTR)
			return 125;
	}
	if (WIFSIGNALED(status)) {
		printf("luo-vm: %s killed by signal %d\n", name, WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

int main(void)
{
	char prog[64] = "", stage[16] = "1";
	double start = (double)luo_tsc();
	struct utsname uts;
	int ret;

	if (getpid() == 1)
		mount_all();
	stdio_to("/dev/null", "/dev/kmsg");

	luo_cmdline_get("luo_test", prog, sizeof(prog));
	luo_cmdline_get("luo_stage", stage, sizeof(stage));
	snprintf(luo_init_tsc_env, sizeof(luo_init_tsc_env), "%.0f", start);
	setenv("LUO_INIT_TSC", luo_init_tsc_env, 1);
	uname(&uts);

	if (!strcmp(prog, "shell")) {
		shell();
		ret = 0;
	} else {
		printf("luo-vm: BEGIN stage=%s test=%s release=%s\n", stage, prog, uts.release);
		ret = run(prog, stage);
		if (luo_kmemleak_available() &&
		    luo_cmdline_num("luo_kmemleak", 0) == luo_stage()) {
			long leaks = luo_kmemleak_scan();

			printf("luo-vm: kmemleak scan: %ld\n", leaks);
			if (leaks)
				ret = ret ? ret : 99;
		}
		luo_gcov_save();
		printf("luo-vm: END stage=%s result=%s code=%d\n", stage, ret ? "fail" : "pass",
		       ret);
	}
	sync();
	/* Without ACPI there is no power to switch off, and QEMU ends at a reset as well. */
	if (!access("/sys/firmware/acpi", F_OK))
		reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
