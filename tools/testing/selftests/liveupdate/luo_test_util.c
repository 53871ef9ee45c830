// SPDX-License-Identifier: GPL-2.0
/* What the live update selftests share, see luo_test_util.h; luo_test_read.c has the readings. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kexec.h>
#include <linux/magic.h>
#include <linux/reboot.h>

#include "luo_test_util.h"

#ifndef KEXEC_FILE_UNLOAD
#define KEXEC_FILE_UNLOAD	0x00000001
#define KEXEC_FILE_ON_CRASH	0x00000002
#endif

#define COPY_CHUNK		(1UL << 20)

/* ---- ioctls ---- */

static int ret_errno(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

int luo_open_dev(void)
{
	return ret_errno(open(LUO_DEV, O_RDWR | O_CLOEXEC));
}

int luo_create_session(int dev, const char *name)
{
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg), .fd = -1 };

	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	if (ioctl(dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg))
		return -errno;
	return arg.fd;
}

int luo_retrieve_session(int dev, const char *name)
{
	struct liveupdate_ioctl_retrieve_session arg = { .size = sizeof(arg), .fd = -1 };

	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	if (ioctl(dev, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &arg))
		return -errno;
	return arg.fd;
}

int luo_preserve_fd(int session, int fd, uint64_t token)
{
	struct liveupdate_session_preserve_fd arg = {
		.size = sizeof(arg), .fd = fd, .token = token,
	};

	return ret_errno(ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg));
}

int luo_retrieve_fd(int session, uint64_t token)
{
	struct liveupdate_session_retrieve_fd arg = {
		.size = sizeof(arg), .fd = -1, .token = token,
	};

	if (ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg))
		return -errno;
	return arg.fd;
}

int luo_finish(int session)
{
	struct liveupdate_session_finish arg = { .size = sizeof(arg) };

	return ret_errno(ioctl(session, LIVEUPDATE_SESSION_FINISH, &arg));
}

int luo_get_name(int session, char *name)
{
	struct liveupdate_session_get_name arg = { .size = sizeof(arg) };

	if (ioctl(session, LIVEUPDATE_SESSION_GET_NAME, &arg))
		return -errno;
	memcpy(name, arg.name, sizeof(arg.name));
	return 0;
}

/* ---- memfds and patterns ---- */

int luo_memfd(const char *name, unsigned int flags, off_t size)
{
	int fd = syscall(SYS_memfd_create, name, flags | MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (size && ftruncate(fd, size)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/*
 * A page is an arithmetic sequence whose start and step follow from the page
 * number and the seed, so every byte of it is predicted: one flipped bit, a
 * page in the place of another, or a page of another file all show up.
 */
static void page_params(uint64_t page, uint64_t seed, uint64_t *start, uint64_t *step)
{
	*start = mix(mix(seed) ^ page);
	*step = mix(*start) | 1;
}

void luo_fill(void *mem, uint64_t first_page, uint64_t pages, uint64_t seed)
{
	uint64_t *word = mem;
	uint64_t val, step;

	while (pages--) {
		page_params(first_page++, seed, &val, &step);
		for (size_t i = 0; i < LUO_PAGE / 8; i++, val += step)
			*word++ = val;
	}
}

long luo_verify(const void *mem, uint64_t first_page, uint64_t pages, uint64_t seed)
{
	const uint64_t *word = mem;
	uint64_t val, step;

	for (uint64_t p = 0; p < pages; p++) {
		page_params(first_page + p, seed, &val, &step);
		for (size_t i = 0; i < LUO_PAGE / 8; i++, val += step, word++) {
			if (*word != val)
				return (const char *)word - (const char *)mem;
		}
	}
	return LUO_OK;
}

int luo_fill_fd(int fd, uint64_t first_page, uint64_t pages, uint64_t seed)
{
	uint64_t chunk = COPY_CHUNK / LUO_PAGE;
	char *buf = malloc(COPY_CHUNK);
	int ret = 0;

	if (!buf)
		return -ENOMEM;
	while (pages && !ret) {
		uint64_t n = pages < chunk ? pages : chunk;

		luo_fill(buf, first_page, n, seed);
		if (pwrite(fd, buf, n * LUO_PAGE, first_page * LUO_PAGE) != (ssize_t)(n * LUO_PAGE))
			ret = errno ? -errno : -EIO;
		first_page += n;
		pages -= n;
	}
	free(buf);
	return ret;
}

static long check_fd(int fd, uint64_t first_page, uint64_t pages, uint64_t seed, bool zero)
{
	uint64_t chunk = COPY_CHUNK / LUO_PAGE;
	char *buf = malloc(COPY_CHUNK);
	long bad = LUO_OK;

	if (!buf)
		return 0;
	while (pages && bad == LUO_OK) {
		uint64_t n = pages < chunk ? pages : chunk;
		off_t off = first_page * LUO_PAGE;
		ssize_t got = pread(fd, buf, n * LUO_PAGE, off);

		if (got != (ssize_t)(n * LUO_PAGE)) {
			bad = off + (got > 0 ? got : 0);
			break;
		}
		if (zero) {
			for (size_t i = 0; i < n * LUO_PAGE && bad == LUO_OK; i++)
				if (buf[i])
					bad = off + i;
		} else {
			bad = luo_verify(buf, first_page, n, seed);
			if (bad != LUO_OK)
				bad += off;
		}
		first_page += n;
		pages -= n;
	}
	free(buf);
	return bad;
}

/* LUO_OK or the offset in the file of the first wrong word. */
long luo_verify_fd(int fd, uint64_t first_page, uint64_t pages, uint64_t seed)
{
	return check_fd(fd, first_page, pages, seed, false);
}

long luo_verify_zero_fd(int fd, uint64_t first_page, uint64_t pages)
{
	return check_fd(fd, first_page, pages, 0, true);
}

int luo_memfd_filled(const char *name, unsigned int flags, uint64_t pages, uint64_t seed)
{
	int fd = luo_memfd(name, flags, pages * LUO_PAGE);
	int ret;

	if (fd < 0)
		return fd;
	ret = luo_fill_fd(fd, 0, pages, seed);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/*
 * The same in scratch memory, which has to be nearly all that is free: one of the next few
 * files lies there then. A CPU may have other pages at hand, which stay in use.
 */
int luo_memfd_in_scratch(const char *name, size_t pages, uint64_t seed)
{
	for (int i = 0; i < 1000; i++) {
		int fd = luo_memfd_filled(name, 0, pages, seed);
		uint64_t at;
		char *map;

		map = mmap(NULL, LUO_PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
		if (map == MAP_FAILED)
			return -errno;
		at = luo_pfn_of(map) * LUO_PAGE;
		munmap(map, LUO_PAGE);
		if (luo_in_scratch(at, at + LUO_PAGE - 1))
			return fd;
	}
	return -ENOENT;
}

long long luo_blocks(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : st.st_blocks;
}

long long luo_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : st.st_size;
}

/* ---- command line ---- */

bool luo_cmdline_get(const char *key, char *val, size_t len)
{
	static char line[8192];
	size_t klen = strlen(key);

	if (!line[0] && luo_read_file("/proc/cmdline", line, sizeof(line)) < 0)
		return false;

	for (const char *p = line; *p; ) {
		size_t n;

		p += strspn(p, "\n ");
		n = strcspn(p, "\n ");
		if (n >= klen && !strncmp(p, key, klen) && (n == klen || p[klen] == '=')) {
			if (val && len) {
				size_t skip = n == klen ? klen : klen + 1;

				snprintf(val, len, "%.*s", (int)(n - skip), p + skip);
			}
			return true;
		}
		p += n;
	}
	return false;
}

long long luo_cmdline_num(const char *key, long long def)
{
	char val[64];

	return luo_cmdline_get(key, val, sizeof(val)) ? strtoll(val, NULL, 0) : def;
}

int luo_stage(void)
{
	return luo_cmdline_num("luo_stage", 1);
}

bool luo_debug_kernel(void)
{
	return luo_kmemleak_available();
}

/* ---- the next kernel ---- */

/* The runner attaches kernels and initial file systems as disks with a serial. */
int luo_disk_find(const char *serial, char *dev, size_t len)
{
	char sys[64], have[64];

	for (char c = 'a'; c <= 'p'; c++) {
		snprintf(sys, sizeof(sys), "/sys/block/vd%c/serial", c);
		if (luo_read_file(sys, have, sizeof(have)) < 0)
			continue;
		have[strcspn(have, "\n")] = 0;
		if (strcmp(have, serial))
			continue;
		snprintf(dev, len, "/dev/vd%c", c);
		return 0;
	}
	return -ENOENT;
}

static int copy_disk(int in, int out)
{
	char *buf = malloc(COPY_CHUNK);
	ssize_t n = -1;

	while (buf && (n = read(in, buf, COPY_CHUNK)) > 0) {
		if (write(out, buf, n) != n) {
			n = -1;
			break;
		}
	}
	/* The disk's page cache would count against the guest twice. */
	posix_fadvise(in, 0, 0, POSIX_FADV_DONTNEED);
	free(buf);
	return buf ? n < 0 ? -EIO : 0 : -ENOMEM;
}

/*
 * The device writes into the pages of the new file, which are few and large: on
 * a debug kernel each page that is copied takes half a millisecond.
 */
static int read_disk(const char *dev, int out)
{
	int in = open(dev, O_RDONLY | O_DIRECT);
	off_t size = in < 0 ? -1 : lseek(in, 0, SEEK_END);
	ssize_t n = 1;
	char *map;

	if (size <= 0 || ftruncate(out, size)) {
		close(in);
		return -EIO;
	}
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
	if (map != MAP_FAILED) {
		madvise(map, size, MADV_HUGEPAGE);
		for (off_t pos = 0; pos < size && n > 0; pos += n)
			n = pread(in, map + pos, size - pos, pos);
		munmap(map, size);
	}
	close(in);
	return map == MAP_FAILED || n <= 0 ? -EIO : 0;
}

int luo_disk_to_file(const char *serial, const char *path)
{
	struct statfs fs;
	int in, out, ret;
	char dev[32];

	if (!access(path, R_OK))
		return 0;
	ret = luo_disk_find(serial, dev, sizeof(dev));
	if (ret)
		return ret;
	in = open(dev, O_RDONLY);
	if (in < 0)
		return -errno;
	out = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (out < 0)
		ret = -errno;
	else if (!fstatfs(out, &fs) && fs.f_type == TMPFS_MAGIC)
		ret = read_disk(dev, out);
	else
		ret = copy_disk(in, out);
	close(in);
	if (out >= 0)
		close(out);
	if (ret)
		unlink(path);
	return ret;
}

/*
 * This kernel's command line with another stage, without what earlier stages
 * left for this one ("luox_*"), and with what this stage tells the next.  A
 * word "-KEY" in extra drops KEY from the line.
 */
int luo_next_cmdline(char *buf, size_t len, int stage, const char *extra)
{
	char line[4096], drop[512] = "", add[1024] = "";
	char *save, *w;
	int n;

	n = luo_read_file("/proc/cmdline", line, sizeof(line));
	if (n < 0)
		return n;
	line[strcspn(line, "\n")] = 0;

	if (extra) {
		char copy[1024];

		snprintf(copy, sizeof(copy), "%s", extra);
		for (w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
			char *to = w[0] == '-' ? drop : add;
			size_t room = w[0] == '-' ? sizeof(drop) : sizeof(add);
			size_t used = strlen(to);

			snprintf(to + used, room - used, " %s", w[0] == '-' ? w + 1 : w);
		}
	}
	strncat(drop, " ", sizeof(drop) - strlen(drop) - 1);

	buf[0] = 0;
	for (w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char key[128];
		size_t used = strlen(buf);

		snprintf(key, sizeof(key), " %.*s ", (int)strcspn(w, "="), w);
		if (!strncmp(w, "luo_stage=", 10) || !strncmp(w, "luox_", 5) || strstr(drop, key))
			continue;
		snprintf(buf + used, len - used, "%s ", w);
	}
	n = strlen(buf);
	n += snprintf(buf + n, len - n, "luo_stage=%d%s", stage, add);
	return (size_t)n < len ? 0 : -ENOSPC;
}

int luo_kexec_load(const char *kernel, int stage, const char *extra, unsigned long flags)
{
	char cmdline[2048], words[1024], self[64];
	char kpath[96];
	int kfd, ifd, ret;

	if (!kernel) {
		if (!luo_cmdline_get("luo_kernel", self, sizeof(self)))
			snprintf(self, sizeof(self), "kernel");
		kernel = self;
	}
	snprintf(kpath, sizeof(kpath), "/tmp/%s", kernel);

	ret = luo_disk_to_file(kernel, kpath);
	if (!ret)
		ret = luo_disk_to_file("initrd", "/tmp/initrd");
	snprintf(words, sizeof(words), "%s%s", extra ?: "",
		 luo_cmdline_num("luo_kmemleak", 0) == stage ? " kmemleak=on" : "");
	if (!ret)
		ret = luo_next_cmdline(cmdline, sizeof(cmdline), stage, words);
	if (ret)
		return ret;

	kfd = open(kpath, O_RDONLY | O_CLOEXEC);
	ifd = open("/tmp/initrd", O_RDONLY | O_CLOEXEC);
	/* khugepaged may have held the copy a little longer than who wrote it. */
	for (int i = 0; i < 100; i++) {
		ret = syscall(SYS_kexec_file_load, kfd, ifd, strlen(cmdline) + 1, cmdline, flags);
		ret = ret < 0 ? -errno : 0;
		if (ret != -ETXTBSY)
			break;
		usleep(20000);
	}
	close(kfd);
	close(ifd);
	return ret;
}

int luo_kexec_unload(unsigned long flags)
{
	return ret_errno(syscall(SYS_kexec_file_load, -1, -1, 0, NULL, KEXEC_FILE_UNLOAD | flags));
}

int luo_kexec_is_loaded(void)
{
	return luo_file_num("/sys/kernel/kexec_loaded");
}

/* Images are loaded whatever they say of the formats that their kernel reads. */
int luo_ignore_record(void)
{
	return luo_write_file("/proc/sys/kernel/liveupdate_ignore_record", "1");
}

int luo_kexec_exec(void)
{
	fflush(stdout);
	fflush(stderr);
	return ret_errno(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
				 LINUX_REBOOT_CMD_KEXEC, NULL));
}

/* From now on the host damages what is handed over. */
int luo_poke(const char *kind)
{
	volatile char *page = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	/* Built in place, so that it is in no other page of this program. */
	strcpy((char *)page, "LUO-POKE");
	strcat((char *)page, "-ACK:");
	printf("luo-vm: POKE %s\n", kind);
	for (int i = 0; i < 6000 && page[64] != 'D'; i++)
		usleep(10000);
	if (page[64] != 'D') {
		printf("# nobody answers\n");
		return -ETIMEDOUT;
	}
	return 0;
}

int luo_kexec_next(const char *kernel, const char *extra)
{
	int ret = luo_kexec_load(kernel, luo_stage() + 1, extra, 0);

	if (ret) {
		printf("# kexec_file_load: %d\n", ret);
		return ret;
	}
	luo_gcov_save();
	return luo_kexec_exec();
}

/* Runs a shell command (needs=shell), its output goes to the log.  Exit status or errno. */
int luo_run(const char *cmd)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		execl("/bin/busybox", "sh", "-c", cmd, NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

/* ---- modules ---- */

int luo_load_module(const char *name)
{
	char path[128];
	int fd, ret;

	snprintf(path, sizeof(path), "/lib/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ret_errno(syscall(SYS_finit_module, fd, "", 0));
	close(fd);
	return ret;
}

int luo_unload_module(const char *name)
{
	return ret_errno(syscall(SYS_delete_module, name, O_NONBLOCK));
}

/* ---- descriptors that outlive a test ---- */

static int keep_sock = -1;
static int keep_other = -1;

/*
 * A descriptor sent over a socket that nobody reads from stays open for as
 * long as the socket does.  The socket belongs to the parent of all tests.
 */
void luo_keep_init(void)
{
	int sv[2], room = 1 << 24;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv)) {
		printf("# socketpair: %d\n", errno);
		exit(1);
	}
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	keep_sock = sv[0];
	keep_other = sv[1];
}

int luo_send_fd(int sock, int fd)
{
	char data = 'f', ctl[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &data, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl, .msg_controllen = sizeof(ctl),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_DONTWAIT) == 1 ? 0 : -errno;
}

int luo_recv_fd(int sock)
{
	char data, ctl[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &data, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl, .msg_controllen = sizeof(ctl),
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

/* Keeps a copy of fd open until the kexec; the caller's own can be closed. */
int luo_keep(int fd)
{
	return luo_send_fd(keep_sock, fd);
}
