// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the kernel's own tests of iommufd pass, and pass with files as well.
 *
 * A part of them runs as it is, and another with each piece of memory in a memfd,
 * see luo_iommufd.h. Left out are those that take long: reads and writes of all
 * lengths, the allocation of IOVAs, dirty bitmaps. Two cannot pass: the kernel that
 * get_hw_info tests is a later one, and page faults of devices, in
 * alloc_hwpt_nested, need an option that no driver of the test kernel selects. That a
 * file is there when its process is gone, unlike an address, is tested by
 * luo_iommufd_file.c.
 *
 * vm-test: name=iommufd kernels=debug mem=1024 timeout=60 append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include "luo_iommufd.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#define main iommufd_main
#include "iommu/iommufd.c"
#undef main

static int run(bool on_files, int argc, char **argv)
{
	int status;
	pid_t pid;

	luo_count_files();
	pid = fork();
	if (!pid) {
		if (on_files)
			luo_use_files(buffer, BUFFER_SIZE);
		/* Exits */
		return test_harness_run(argc, argv);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 1;
	if (on_files && *luo_mapped < 50) {
		luo_note("no more than %lu mappings were of files", *luo_mapped);
		return 1;
	}
	if (on_files)
		luo_note("%lu mappings of files", *luo_mapped);
	return WEXITSTATUS(status);
}

int main(void)
{
#define NEVER	"-T", "get_hw_info", "-T", "alloc_hwpt_nested", "-T", "ioas_iova_alloc",	\
		"-T", "access_rw", "-T", "access_rw_unaligned", "-T", "fork_gone",	\
		"-T", "fork_present", "-F", "iommufd_dirty_tracking"
	const char * const plain[] = {
		"iommufd", NEVER,
		"-V", "no_domain", "-V", "two_mock_domain", "-V", "mock_domain_limit",
		"-V", "two_domains", "-V", "two_domains_hugepage", NULL
	};
	const char * const files[] = {
		"iommufd", NEVER,
		"-V", "mock_domain", "-V", "two_mock_domain",
		"-V", "one_domain", "-V", "one_domain_hugepage", NULL
	};
	int ret;

	setlinebuf(stdout);
	setlinebuf(stderr);
	if (luo_write_file("/proc/sys/vm/nr_hugepages", "16"))
		printf("# no huge pages\n");
	ret = run(false, ARRAY_SIZE(plain) - 1, (char **)plain);
	return run(true, ARRAY_SIZE(files) - 1, (char **)files) || ret;
}
