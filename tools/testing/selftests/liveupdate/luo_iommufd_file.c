// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: IOMMU_IOAS_MAP_FILE maps the pages of a file, and no others.
 *
 * What files share with addresses is tested by luo_iommufd.c. Here is what only
 * files have: holes, uncleared pages, seals, modes, truncation, an end, a life of
 * their own; and the kernel's fault injection sweeps with all memory in files.
 *
 * vm-test: name=iommufd_file kernels=debug mem=1024 timeout=60 append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include "luo_iommufd.h"
#include <signal.h>
#include <sys/resource.h>

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#define main iommufd_fail_nth_main
#include "iommu/iommufd_fail_nth.c"
#undef main
#undef mmap
#undef munmap
#undef ioctl

#include "luo_iommufd_file.h"

#define MOCK_PAGE	(LUO_PAGE / 2)
#define NOBODY		65534
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static long long vm_pin_kb(void)
{
	char buf[4096] = "", *at;

	luo_read_file("/proc/self/status", buf, sizeof(buf) - 1);
	at = strstr(buf, "VmPin:");
	return at ? atoll(at + 6) : -1;
}

TEST_F(file, pages_and_pins)
{
	size_t small = self->len / LUO_PAGE;
	uint64_t iova, part;

	luo_fill(self->mem, 0, small, 1);
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	if (variant->domains) {
		ASSERT_EQ(0, check_domain(self->iommu, self->hwpt, iova, self->len, self->mem));
		ASSERT_EQ(0, check_pins(self->iommu, self->mem, self->len, 1));
	}
	/* One for each small page, also of a huge one */
	EXPECT_EQ(self->pins + (variant->domains ? small : 0), luo_pins());

	/* From the middle of a page of the file to the middle of another */
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, self->page + MOCK_PAGE,
			 3 * self->page, &part));
	if (variant->domains) {
		ASSERT_EQ(0, check_domain(self->iommu, self->hwpt, part, 3 * self->page,
					  self->mem + self->page + MOCK_PAGE));
		EXPECT_EQ(self->pins + small + 3 * self->page / LUO_PAGE + 1, luo_pins());
	}
	EXPECT_EQ(LUO_OK, luo_verify(self->mem, 0, small, 1));
}

TEST_F(file, holes_are_filled)
{
	char *zero = calloc(1, 3 * LUO_PAGE), *buf = malloc(3 * LUO_PAGE);
	uint64_t iova, at;

	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	if (variant->domains)
		EXPECT_EQ(self->len / 512, luo_blocks(self->fd));
	at = iova + 2 * self->page - LUO_PAGE - 100;
	ASSERT_EQ(0, access_rw(self->iommu, self->access, at, buf, 3 * LUO_PAGE, 0));
	EXPECT_EQ(0, memcmp(buf, zero, 3 * LUO_PAGE));
	memset(buf, 0xa5, 3 * LUO_PAGE);
	ASSERT_EQ(0, access_rw(self->iommu, self->access, at, buf, 3 * LUO_PAGE,
			       MOCK_ACCESS_RW_WRITE));
	EXPECT_EQ(0, memcmp(buf, self->mem + (at - iova), 3 * LUO_PAGE));
	EXPECT_EQ(0, self->mem[at - iova - 1]);
	EXPECT_EQ(0, self->mem[at - iova + 3 * LUO_PAGE]);
	if (variant->domains)
		EXPECT_EQ(0, check_domain(self->iommu, self->hwpt, iova, self->len, self->mem));
}

TEST_F(file, fallocated_pages_are_cleared_once)
{
	char *zero = calloc(1, LUO_PAGE), *buf = malloc(LUO_PAGE);
	uint64_t iova;
	int dirt;

	/* Leave traces in free memory */
	dirt = luo_memfd_filled("dirt", 0, 512, 7);
	ASSERT_LE(0, dirt);
	close(dirt);
	ASSERT_EQ(0, fallocate(self->fd, 0, 0, self->len));
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	for (int i = 0; i < PAGES; i++) {
		uint64_t at = iova + i * self->page;

		ASSERT_EQ(0, access_rw(self->iommu, self->access, at, buf, LUO_PAGE, 0));
		EXPECT_EQ(0, memcmp(buf, zero, LUO_PAGE));
		memset(buf, 0x5a, LUO_PAGE);
		ASSERT_EQ(0, access_rw(self->iommu, self->access, at, buf, LUO_PAGE,
				       MOCK_ACCESS_RW_WRITE));
		/* The first fault on the page */
		EXPECT_EQ(0, memcmp(buf, self->mem + i * self->page, LUO_PAGE));
	}
}

TEST_F(file, access_pins)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_ACCESS_PAGES,
		.access_pages = {
			.length = 3 * self->page,
			.uptr = (uintptr_t)self->mem + self->page,
		},
	};
	unsigned int first;
	uint64_t iova;

	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	ASSERT_EQ(0, _test_cmd_destroy_access(self->access));
	ASSERT_EQ(0, _test_cmd_create_access(self->iommu, self->ioas, &self->access,
					     MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES));
	cmd.id = self->access;
	cmd.access_pages.iova = iova + self->page;
	/* The kernel compares the pages that it gets with those at uptr */
	ASSERT_EQ(0, ioctl(self->iommu, IOMMU_TEST_CMD, &cmd));
	first = cmd.access_pages.out_access_pages_id;
	ASSERT_EQ(0, ioctl(self->iommu, IOMMU_TEST_CMD, &cmd));
	EXPECT_EQ(0, check_pins(self->iommu, self->mem + self->page, 3 * self->page, 1));
	EXPECT_EQ(self->pins + (variant->domains ? self->len : 3 * self->page) / LUO_PAGE,
		  luo_pins());
	ASSERT_EQ(0, _test_cmd_destroy_access_pages(self->iommu, self->access, first));
	ASSERT_EQ(0, _test_cmd_destroy_access_pages(self->iommu, self->access,
						    cmd.access_pages.out_access_pages_id));
	EXPECT_EQ(0, check_pins(self->iommu, self->mem, self->len, variant->domains));
}

TEST_F(file, unmapped_whole_or_not_at_all)
{
	uint64_t iova;

	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	EXPECT_EQ(-1, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova, self->page, NULL));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova + self->page,
					     self->len - self->page, NULL));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova, self->len, NULL));
	EXPECT_EQ(self->pins, luo_pins());
	EXPECT_EQ(0, check_pins(self->iommu, self->mem, self->len, 0));
}

TEST_F(file, bad_input)
{
	struct luo_map_file good = map_cmd(self->ioas, self->fd, 0, self->len), bad;
	struct { struct luo_map_file cmd; uint64_t more; } large = { good, 0 };
	int pipes[2], path, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct iommu_ioas_copy copy;

	ASSERT_LE(0, null);
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	path = open("/dev/null", O_PATH | O_CLOEXEC);

#define BAD(err, member, val)							\
	bad = good;								\
	bad.member = val;							\
	EXPECT_EQ(-(err), try_map(self->iommu, bad)) {				\
		TH_LOG("%s = %s", #member, #val);				\
	}
	BAD(EBADF, fd, -1);
	BAD(EBADF, fd, 1000);
	BAD(EBADF, fd, path);
	BAD(EINVAL, fd, null);
	BAD(EINVAL, fd, pipes[0]);
	BAD(EINVAL, fd, self->iommu);
	BAD(EINVAL, length, 0);
	BAD(EINVAL, length, self->len + 1);
	BAD(EINVAL, length, self->len + LUO_PAGE);
	BAD(EINVAL, start, self->len);
	BAD(EINVAL, start, MOCK_PAGE);
	BAD(EINVAL, start, 1ULL << 62);
	BAD(EOVERFLOW, start, 1ULL << 63);
	BAD(EOVERFLOW, start, -LUO_PAGE);
	BAD(EOVERFLOW, start, -1ULL);
	BAD(EOVERFLOW, length, -1ULL);
	BAD(EOVERFLOW, length, -LUO_PAGE);
	BAD(EOVERFLOW, iova, -1ULL);
	BAD(EOPNOTSUPP, flags, RW | 8);
	BAD(EINVAL, flags, 0);
	BAD(EINVAL, flags, IOMMU_IOAS_MAP_FIXED_IOVA);
	BAD(ENOENT, ioas_id, 10000);
	BAD(EINVAL, size, sizeof(bad) - 8);
#undef BAD
	bad = good;
	bad.start = 1;
	bad.length = LUO_PAGE;
	EXPECT_EQ(variant->domains ? -EINVAL : 0, try_map(self->iommu, bad));
	bad.start = 0;
	bad.length = 1;
	EXPECT_EQ(variant->domains ? -EINVAL : 0, try_map(self->iommu, bad));

	large.cmd.size = sizeof(large);
	EXPECT_EQ(0, ioctl(self->iommu, LUO_MAP_FILE, &large));
	large.more = 1;
	EXPECT_EQ(-1, ioctl(self->iommu, LUO_MAP_FILE, &large));
	EXPECT_EQ(E2BIG, errno);

	bad = good;
	bad.flags |= IOMMU_IOAS_MAP_FIXED_IOVA;
	bad.iova = large.cmd.iova;
	EXPECT_EQ(-EEXIST, try_map(self->iommu, bad));

	/* A read-only mapping cannot become writeable by copying it */
	bad = good;
	bad.flags = IOMMU_IOAS_MAP_READABLE;
	ASSERT_EQ(0, ioctl(self->iommu, LUO_MAP_FILE, &bad));
	copy = (struct iommu_ioas_copy){
		.size = sizeof(copy),
		.flags = RW,
		.dst_ioas_id = self->ioas,
		.src_ioas_id = self->ioas,
		.length = self->len,
		.src_iova = bad.iova,
	};
	EXPECT_EQ(-1, ioctl(self->iommu, IOMMU_IOAS_COPY, &copy));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-EPERM, access_rw(self->iommu, self->access, bad.iova, &copy, 8,
				    MOCK_ACCESS_RW_WRITE));
	EXPECT_EQ(0, access_rw(self->iommu, self->access, bad.iova, &copy, 8, 0));
	close(pipes[0]);
	close(pipes[1]);
	close(null);
	close(path);
}

TEST_F(file, mode_of_the_fd)
{
	char path[64];
	uint64_t iova;
	int fd;

	memset(self->mem, 1, self->len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EACCES, map(self->iommu, self->ioas, fd, 0, self->len, &iova));
	EXPECT_EQ(0, map_flags(self->iommu, self->ioas, fd, 0, self->len,
			       IOMMU_IOAS_MAP_READABLE, &iova));
	close(fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EACCES, map(self->iommu, self->ioas, fd, 0, self->len, &iova));
	close(fd);
}

TEST_F(file, seals)
{
	uint64_t ro, rw;

	munmap(self->mem, self->len);
	self->mem = NULL;

	/* Also when nothing is pinned */
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &rw));
	EXPECT_EQ(-1, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK |
						  F_SEAL_GROW));
	EXPECT_EQ(-EPERM, map(self->iommu, self->ioas, self->fd, 0, self->len, &ro));
	EXPECT_EQ(0, access_rw(self->iommu, self->access, rw, &ro, sizeof(ro),
			       MOCK_ACCESS_RW_WRITE));
	ASSERT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, rw, self->len, NULL));

	EXPECT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(-EPERM, map(self->iommu, self->ioas, self->fd, 0, self->len, &rw));
	EXPECT_EQ(0, map_flags(self->iommu, self->ioas, self->fd, 0, self->len,
			       IOMMU_IOAS_MAP_READABLE, &ro));
}

TEST_F(file, memlock_limit)
{
	const struct rlimit lim = { 5 * self->page, 5 * self->page };
	int status = -1;
	pid_t pid;

	if (!variant->domains)
		return;

	for (int mode = 0; mode < 2; mode++) {
		struct iommu_option opt = {
			.size = sizeof(opt),
			.option_id = IOMMU_OPTION_RLIMIT_MODE,
			.op = IOMMU_OPTION_OP_SET,
			.val64 = mode,
		};

		pid = fork();
		if (!pid) {
			int iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC);
			long long before;
			unsigned int ioas;
			uint64_t iova;

			if (ioctl(iommu, IOMMU_OPTION, &opt) ||
			    _test_ioctl_ioas_alloc(iommu, &ioas) ||
			    _test_cmd_mock_domain(iommu, ioas, NULL, NULL, NULL) ||
			    setrlimit(RLIMIT_MEMLOCK, &lim) || setuid(NOBODY))
				_exit(1);
			before = vm_pin_kb();
			if (map(iommu, ioas, self->fd, 0, 6 * self->page, &iova) != -ENOMEM)
				_exit(2);
			if (vm_pin_kb() != before)
				_exit(3);
			if (map(iommu, ioas, self->fd, 0, 4 * self->page, &iova))
				_exit(4);
			if (vm_pin_kb() != before + 4 * (long long)self->page / 1024)
				_exit(5);
			if (map(iommu, ioas, self->fd, 0, 2 * self->page, &iova) != -ENOMEM)
				_exit(6);
			if (map(iommu, ioas, self->fd, 0, 1 * self->page, &iova))
				_exit(7);
			if (_test_ioctl_ioas_unmap(iommu, ioas, iova, self->page, NULL))
				_exit(8);
			if (map(iommu, ioas, self->fd, self->page, self->page, &iova))
				_exit(9);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, WEXITSTATUS(status)) {
			TH_LOG("rlimit mode %d", mode);
		}
		EXPECT_EQ(self->pins, luo_pins());
	}
}

TEST_F(file, closed_after_mapping)
{
	char buf[100], want[100];
	uint64_t iova;

	luo_fill(self->mem, 0, 1, 3);
	memcpy(want, self->mem, sizeof(want));
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	munmap(self->mem, self->len);
	self->mem = NULL;
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, access_rw(self->iommu, self->access, iova, buf, sizeof(buf), 0));
	EXPECT_EQ(0, memcmp(buf, want, sizeof(buf)));
	/* A domain that comes later finds the pages too */
	EXPECT_EQ(0, _test_cmd_mock_domain(self->iommu, self->ioas, NULL, NULL, NULL));
	EXPECT_LT(self->pins, luo_pins());
}

TEST_F(file, mapped_by_a_process_that_is_gone)
{
	int status = -1;
	uint64_t iova;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(map(self->iommu, self->ioas, self->fd, 0, self->len, &iova) ? 1 : 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(0, _test_cmd_mock_domain(self->iommu, self->ioas, NULL, NULL, NULL));
	EXPECT_EQ(0, check_pins(self->iommu, self->mem, self->len, 1));
}

TEST_F(file, truncated_after_mapping)
{
	unsigned int device, hwpt;
	uint64_t iova, val = 0;
	int ret;

	memset(self->mem, 0x11, self->len);
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	ASSERT_EQ(0, ftruncate(self->fd, 2 * self->page));

	/* What is there can be reached, pinned or not */
	EXPECT_EQ(0, access_rw(self->iommu, self->access, iova, &val, sizeof(val), 0));
	EXPECT_EQ(0x1111111111111111, val);

	/* What is not: as DMA sees it, if it is pinned; if not, there is nothing */
	val = 0;
	ret = access_rw(self->iommu, self->access, iova + 4 * self->page, &val, sizeof(val), 0);
	if (variant->domains) {
		EXPECT_EQ(0, ret);
		EXPECT_EQ(0x1111111111111111, val);
	} else {
		EXPECT_EQ(-EINVAL, ret);
	}

	ret = _test_cmd_mock_domain(self->iommu, self->ioas, &device, &hwpt, NULL);
	if (variant->domains) {
		EXPECT_EQ(0, ret);
	} else {
		EXPECT_EQ(-1, ret);
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(self->pins, luo_pins());
	}

	/* Longer again: other pages now, none of which the first mapping has pinned */
	ASSERT_EQ(0, ftruncate(self->fd, self->len));
	if (variant->domains) {
		EXPECT_EQ(0, check_domain(self->iommu, self->hwpt, iova, 2 * self->page,
					  self->mem));
		EXPECT_EQ(-EINVAL, check_domain(self->iommu, self->hwpt, iova + 4 * self->page,
						self->page, self->mem + 4 * self->page));
	} else {
		EXPECT_EQ(0, _test_cmd_mock_domain(self->iommu, self->ioas, &device, &hwpt, NULL));
		EXPECT_EQ(0, check_domain(self->iommu, hwpt, iova, self->len, self->mem));
	}
	EXPECT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova, self->len, NULL));
}

TEST_F(file, copied_to_another_ioas)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = RW,
		.length = self->len,
		.src_ioas_id = self->ioas,
	};
	unsigned int other, hwpt, device;

	ASSERT_EQ(0, _test_ioctl_ioas_alloc(self->iommu, &other));
	ASSERT_EQ(0, _test_cmd_mock_domain(self->iommu, other, &device, &hwpt, NULL));
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len,
			 (uint64_t *)&copy.src_iova));
	copy.dst_ioas_id = other;
	ASSERT_EQ(0, ioctl(self->iommu, IOMMU_IOAS_COPY, &copy));
	EXPECT_EQ(0, check_domain(self->iommu, hwpt, copy.dst_iova, self->len, self->mem));
	/* Shared, not pinned again */
	EXPECT_EQ(self->pins + self->len / LUO_PAGE, luo_pins());
	ASSERT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, copy.src_iova, self->len,
					    NULL));
	EXPECT_EQ(0, check_domain(self->iommu, hwpt, copy.dst_iova, self->len, self->mem));
	EXPECT_EQ(self->pins + self->len / LUO_PAGE, luo_pins());
}

TEST_F(file, huge_pages_option_and_small_batches)
{
	struct iommu_option opt = {
		.size = sizeof(opt),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = self->ioas,
		.val64 = 0,
	};
	unsigned int device, hwpt;
	uint64_t iova;

	/* An access would keep the IOAS aligned to less than pages */
	ASSERT_EQ(0, ioctl(self->iommu, IOMMU_OPTION, &opt));
	ASSERT_EQ(0, _test_ioctl_set_temp_memory_limit(self->iommu, 16));
	ASSERT_EQ(0, map(self->iommu, self->ioas, self->fd, self->page, 3 * self->page, &iova));
	ASSERT_EQ(0, _test_cmd_mock_domain(self->iommu, self->ioas, &device, &hwpt, NULL));
	EXPECT_EQ(0, check_domain(self->iommu, hwpt, iova, 3 * self->page, self->mem + self->page));
	EXPECT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova, 3 * self->page, NULL));
	EXPECT_EQ(self->pins, luo_pins());
	ASSERT_EQ(0, _test_ioctl_set_temp_memory_limit(self->iommu, 65536));
}

/* Neither side minds what the other does, and all pins come back (teardown). */
TEST_F(file, races_with_truncation)
{
	const int least = variant->memfd_flags & MFD_HUGETLB ? 10 : 100;
	int mapped = 0, refused = 0, status = -1;
	pid_t pid;

	pid = fork();
	if (!pid) {
		for (;;) {
			if (ftruncate(self->fd, 3 * self->page) ||
			    ftruncate(self->fd, self->len) ||
			    fallocate(self->fd, 0, 0, self->len / 2) ||
			    fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      self->page, self->len / 2))
				_exit(1);
		}
	}
	for (int i = 0; i < 2000 && (i < least || !mapped || !refused); i++) {
		char buf[64];
		uint64_t iova;
		int ret;

		ret = map(self->iommu, self->ioas, self->fd, 0, self->len, &iova);
		if (ret) {
			/* EFAULT: the file changed under the pin; ENOMEM: too few huge pages */
			EXPECT_TRUE(ret == -EINVAL || ret == -EFAULT || ret == -ENOMEM) {
				TH_LOG("map: %d", ret);
			}
			refused++;
			continue;
		}
		mapped++;
		ret = access_rw(self->iommu, self->access, iova + 6 * self->page - 32, buf,
				sizeof(buf), MOCK_ACCESS_RW_WRITE);
		EXPECT_TRUE(ret == 0 || (!variant->domains &&
					 (ret == -EINVAL || ret == -EFAULT || ret == -ENOMEM))) {
			TH_LOG("write: %d", ret);
		}
		ASSERT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova, self->len,
						    NULL));
	}
	luo_note("races: mapped %d, refused %d", mapped, refused);
	EXPECT_LT(0, mapped);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

TEST_F(file, large_folios_of_shmem)
{
	const size_t len = 3 * LUO_HUGE, part = LUO_HUGE + 5 * LUO_PAGE;
	const size_t from = LUO_HUGE - 2 * LUO_PAGE;
	uint64_t iova, other;
	char *mem;
	int fd;

	if (variant->memfd_flags & MFD_HUGETLB || !variant->domains)
		return;

	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "always"));
	fd = luo_memfd_filled("large", 0, len / LUO_PAGE, 5);
	ASSERT_EQ(0, luo_write_file(SHMEM_THP, "never"));
	ASSERT_LE(0, fd);
	ASSERT_EQ(len / 1024, luo_meminfo_kb("ShmemHugePages"));
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);

	/* The end of the first, all of the second, a piece of the third */
	ASSERT_EQ(0, map(self->iommu, self->ioas, fd, from, part, &iova));
	EXPECT_EQ(self->pins + part / LUO_PAGE, luo_pins());
	EXPECT_EQ(0, check_domain(self->iommu, self->hwpt, iova, part, mem + from));
	/* In batches of a few pages */
	ASSERT_EQ(0, _test_ioctl_set_temp_memory_limit(self->iommu, 128));
	ASSERT_EQ(0, map(self->iommu, self->ioas, fd, from, part, &other));
	ASSERT_EQ(0, _test_ioctl_set_temp_memory_limit(self->iommu, 65536));
	EXPECT_EQ(self->pins + 2 * part / LUO_PAGE, luo_pins());
	EXPECT_EQ(0, check_domain(self->iommu, self->hwpt, other, part, mem + from));
	EXPECT_EQ(0, _test_ioctl_ioas_unmap(self->iommu, self->ioas, iova, part, NULL));
	EXPECT_EQ(self->pins + part / LUO_PAGE, luo_pins());
	EXPECT_EQ(LUO_OK, luo_verify(mem, 0, len / LUO_PAGE, 5));
	munmap(mem, len);
	close(fd);
}

TEST_F(file, partly_used_last_page)
{
	uint64_t iova;

	if (variant->memfd_flags & MFD_HUGETLB)
		return;
	ASSERT_EQ(0, ftruncate(self->fd, self->len - LUO_PAGE + 10));
	EXPECT_EQ(0, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
	if (variant->domains)
		EXPECT_EQ(0, check_domain(self->iommu, self->hwpt, iova, self->len, self->mem));
	ASSERT_EQ(0, ftruncate(self->fd, self->len - LUO_PAGE));
	EXPECT_EQ(-EINVAL, map(self->iommu, self->ioas, self->fd, 0, self->len, &iova));
}

/* Nobody has reserved a huge page for it; that of others is not taken. */
TEST_F(file, huge_pages_without_reservation)
{
	const long long other = 3;
	uint64_t iova, rsvd;
	int fd, ro, holder;
	char path[64];
	void *mem;

	if (!(variant->memfd_flags & MFD_HUGETLB))
		return;

	rsvd = luo_meminfo_kb("HugePages_Rsvd");
	holder = memfd_create("holder", MFD_CLOEXEC | MFD_HUGETLB);
	ASSERT_EQ(0, ftruncate(holder, other * LUO_HUGE));
	mem = mmap(NULL, other * LUO_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, holder, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(rsvd + other, luo_meminfo_kb("HugePages_Rsvd"));

	fd = memfd_create("nobody", MFD_CLOEXEC | MFD_HUGETLB);
	ASSERT_EQ(0, ftruncate(fd, 16 * LUO_HUGE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(-EACCES, map_flags(self->iommu, self->ioas, ro, 0, LUO_HUGE,
				     IOMMU_IOAS_MAP_READABLE, &iova));
	ASSERT_EQ(0, map(self->iommu, self->ioas, fd, LUO_HUGE + LUO_PAGE, LUO_HUGE, &iova));
	EXPECT_EQ(2 * LUO_HUGE / 512, luo_blocks(fd));
	EXPECT_EQ(0, map_flags(self->iommu, self->ioas, ro, LUO_HUGE, LUO_HUGE,
			       IOMMU_IOAS_MAP_READABLE, &iova));
	EXPECT_EQ(rsvd + other, luo_meminfo_kb("HugePages_Rsvd"));

	/* There are 16 in all */
	EXPECT_EQ(-ENOMEM, map(self->iommu, self->ioas, fd, 0, 16 * LUO_HUGE, &iova));
	EXPECT_EQ(rsvd + other, luo_meminfo_kb("HugePages_Rsvd"));
	memset(mem, 1, other * LUO_HUGE);
	EXPECT_EQ(rsvd, luo_meminfo_kb("HugePages_Rsvd"));
	close(ro);
	close(fd);
	close(holder);
	munmap(mem, other * LUO_HUGE);
}

TEST(huge_pages_come_back)
{
	EXPECT_EQ(0, luo_meminfo_kb("HugePages_Rsvd"));
	EXPECT_EQ(luo_meminfo_kb("HugePages_Total"), luo_meminfo_kb("HugePages_Free"));
	EXPECT_LT(0, luo_meminfo_kb("HugePages_Total"));
}

int main(void)
{
	/* These take as long as all others, and say no more of where pages come from */
	const char * const words[] = {
		"iommufd_file", "-T", "map_two_domains", "-T", "map_domain", "-T", "device", NULL
	};
	int status;
	pid_t pid;

	setlinebuf(stdout);
	setlinebuf(stderr);
	if (luo_write_file("/proc/sys/vm/nr_hugepages", "16"))
		printf("# no huge pages\n");
	luo_count_files();
	pid = fork();
	if (!pid) {
		luo_use_files(buffer, BUFFER_SIZE);
		return test_harness_run(ARRAY_SIZE(words) - 1, (char **)words);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 1;
	luo_note("%lu mappings of files in the sweeps", *luo_mapped);
	return *luo_mapped < 6 ? 1 : WEXITSTATUS(status);
}
