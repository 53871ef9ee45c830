/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the live update selftests share: ioctl wrappers, page patterns, the
 * way to the next kernel, and a few readings of /proc and /sys.
 *
 * Wrappers return a value >= 0 or a negative errno, so that a test states the
 * error it wants in one line: ASSERT_EQ(-EBUSY, luo_open_dev()).
 */
#ifndef LUO_TEST_UTIL_H
#define LUO_TEST_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/liveupdate.h>

#define LUO_DEV		"/dev/liveupdate"
#define LUO_PAGE	4096UL
#define LUO_HUGE	(2UL << 20)
#ifndef __printf
#define __printf(a, b)	__attribute__((__format__(__printf__, a, b)))
#endif

#define LUO_OK		(-1L)	/* luo_verify(): nothing differs */

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC		0x0020
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL		0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC		0x0010U
#endif

/* IOMMU_IOAS_MAP_FILE, which the headers of Debian 13 do not have either */
struct luo_map_file {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	int32_t fd;
	uint64_t start;
	uint64_t length;
	uint64_t iova;
};

#define LUO_MAP_FILE		_IO(';', 0x8f)

/* ioctls */
int luo_open_dev(void);
int luo_create_session(int dev, const char *name);
int luo_retrieve_session(int dev, const char *name);
int luo_preserve_fd(int session, int fd, uint64_t token);
int luo_retrieve_fd(int session, uint64_t token);
int luo_finish(int session);
int luo_get_name(int session, char *name);

/* memfds and patterns; pages are numbered from the start of the file */
int luo_memfd(const char *name, unsigned int flags, off_t size);
void luo_fill(void *mem, uint64_t first_page, uint64_t pages, uint64_t seed);
long luo_verify(const void *mem, uint64_t first_page, uint64_t pages, uint64_t seed);
int luo_fill_fd(int fd, uint64_t first_page, uint64_t pages, uint64_t seed);
long luo_verify_fd(int fd, uint64_t first_page, uint64_t pages, uint64_t seed);
int luo_memfd_filled(const char *name, unsigned int flags, uint64_t pages, uint64_t seed);
int luo_memfd_in_scratch(const char *name, size_t pages, uint64_t seed);
long luo_verify_zero_fd(int fd, uint64_t first_page, uint64_t pages);
long long luo_blocks(int fd);
long long luo_size(int fd);

/* the kernel command line, which carries what stages tell each other */
bool luo_cmdline_get(const char *key, char *val, size_t len);
long long luo_cmdline_num(const char *key, long long def);
int luo_stage(void);
bool luo_debug_kernel(void);

/* the next kernel */
int luo_disk_find(const char *serial, char *dev, size_t len);
int luo_disk_to_file(const char *serial, const char *path);
int luo_next_cmdline(char *buf, size_t len, int stage, const char *extra);
int luo_kexec_load(const char *kernel, int stage, const char *extra, unsigned long flags);
int luo_kexec_unload(unsigned long flags);
int luo_kexec_exec(void);
int luo_kexec_next(const char *kernel, const char *extra);
int luo_kexec_is_loaded(void);
int luo_ignore_record(void);
int luo_run(const char *cmd);
void luo_gcov_save(void);

/* modules that "modules=" of the vm-test line has put into the initramfs */
int luo_load_module(const char *name);
int luo_unload_module(const char *name);

/* damage by the host, see vm_poke.py */
int luo_poke(const char *kind);

/* descriptors that outlive the test that made them, up to the kexec */
void luo_keep_init(void);
int luo_keep(int fd);
int luo_send_fd(int sock, int fd);
int luo_recv_fd(int sock);

/* readings, in luo_test_read.c */
uint64_t luo_tsc(void);
uint64_t luo_now_ns(void);
long long luo_meminfo_kb(const char *field);
int luo_in_scratch(unsigned long long start, unsigned long long end);
long long luo_free_kb(void);
long long luo_file_num(const char *path);
int luo_write_file(const char *path, const char *val);
ssize_t luo_read_file(const char *path, char *buf, size_t len);
int luo_klog_has(const char *needle);
uint64_t luo_pfn_of(const void *addr);
void luo_pfns_of(const void *addr, uint64_t *pfns, size_t nr);
uint64_t luo_kpageflags(uint64_t pfn);
bool luo_kmemleak_available(void);
long luo_kmemleak_scan(void);
long luo_slab_active(const char *cache);
long long luo_pins(void);
void luo_note(const char *fmt, ...) __printf(1, 2);

extern char luo_init_tsc_env[32];
uint64_t luo_init_tsc(void);

/*
 * Main function of a program with stages: runs the tests of fixture "stageN",
 * then, unless this is the last stage, calls next() to leave for stage N + 1.
 */
struct luo_stages {
	int last;
	int (*next)(int stage);		/* NULL: luo_kexec_next(NULL, NULL); saves counters */
	void (*before)(int stage);	/* optional, runs before the tests */
};

#endif /* LUO_TEST_UTIL_H */
