// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: the ioctls that mainline does not have: what they list is what there is,
 * a dry run tells the truth and changes nothing, and one file can be taken out of
 * a session.
 *
 * vm-test: name=query stages=2 mem=1024 needs=test-handler append="luo_kmemleak"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_test_handler.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MANY		(luo_debug_kernel() ? 300 : 3000)
#define HUGE_ORDER	9

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static int next_session(int dev, struct liveupdate_ioctl_next_session *arg)
{
	arg->size = sizeof(*arg);
	arg->flags = 0;
	return ioctl(dev, LIVEUPDATE_IOCTL_NEXT_SESSION, arg) ? -errno : 0;
}

static int next_file(int session, uint64_t token, struct liveupdate_session_next_file *arg)
{
	memset(arg, 0xff, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->flags = 0;
	arg->token = token;
	return ioctl(session, LIVEUPDATE_SESSION_NEXT_FILE, arg) ? -errno : 0;
}

static int unpreserve(int session, uint64_t token)
{
	struct liveupdate_session_unpreserve_file arg = { .size = sizeof(arg), .token = token };

	return ioctl(session, LIVEUPDATE_SESSION_UNPRESERVE_FILE, &arg) ? -errno : 0;
}

static int dry_run(int session, int fd, struct liveupdate_session_dry_run *arg)
{
	memset(arg, 0xff, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->fd = fd;
	arg->flags = 0;
	arg->reserved = 0;
	return ioctl(session, LIVEUPDATE_SESSION_DRY_RUN, arg) ? -errno : 0;
}

/* Whether a cost is that of so many single pages and huge folios. */
static bool cost_is(const struct liveupdate_file_cost *cost, uint64_t small, uint64_t huge)
{
	uint64_t records = (small + huge + 255) / 256, chunks = (records + 510) / 511;

	for (int i = 0; i < LIVEUPDATE_NR_ORDERS; i++) {
		if (cost->folios[i] != (i ? i == HUGE_ORDER ? huge : 0 : small))
			return false;
	}
	return cost->bytes == small * LUO_PAGE + huge * LUO_HUGE &&
	       cost->metadata == (1 + records + chunks) * LUO_PAGE;
}

/* A memfd with nr_huge huge folios, then single pages, then a hole. */
static int memfd_mixed(uint64_t nr_huge, uint64_t nr_small, uint64_t seed)
{
	int m;

	luo_write_file(SHMEM_THP, "always");
	m = luo_memfd("mixed", MFD_ALLOW_SEALING, 0);
	luo_fill_fd(m, 0, nr_huge * 512, seed);
	luo_write_file(SHMEM_THP, "never");
	luo_fill_fd(m, nr_huge * 512, nr_small, seed);
	if (ftruncate(m, 1 << 30))
		return -errno;
	return m;
}

LUO_TEST(stage1, files_are_listed_by_token)
{
	static const uint64_t tokens[] = { 7, UINT64_MAX, 0, 1ULL << 40, 8 };
	static const uint64_t sorted[] = { 0, 7, 8, 1ULL << 40, UINT64_MAX };
	int s = luo_create_session(self->dev, "by-token");
	struct liveupdate_session_next_file arg;
	uint64_t token = 0;

	EXPECT_EQ(-ENOENT, next_file(s, 0, &arg));
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
		int m = luo_memfd_filled("m", 0, tokens[i] % 10, i);

		ASSERT_EQ(0, luo_preserve_fd(s, m, tokens[i]));
		close(m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		ASSERT_EQ(0, next_file(s, token, &arg));
		EXPECT_EQ(sorted[i], arg.token);
		EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_PRESERVED, arg.state);
		EXPECT_EQ(0U, arg.error);
		EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_COST_KNOWN, arg.flags);
		EXPECT_STREQ("memfd-v2", (char *)arg.handler);
		EXPECT_EQ(0, arg.handler[sizeof(arg.handler) - 1]);
		EXPECT_TRUE(cost_is(&arg.cost, sorted[i] % 10, 0)) {
			TH_LOG("token %#llx: %llu bytes", (unsigned long long)arg.token,
			       (unsigned long long)arg.cost.bytes);
		}
		token = arg.token + 1;
	}
	EXPECT_EQ(0U, token);
	arg.flags = 1;
	arg.token = 0;
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_NEXT_FILE, &arg));
	EXPECT_EQ(EINVAL, errno);
	close(s);
}

LUO_TEST(stage1, dry_run_tells_what_preserve_does)
{
	int s = luo_create_session(self->dev, "truth"), m = memfd_mixed(3, 300, 5);
	struct liveupdate_session_dry_run dry;
	struct liveupdate_session_next_file file;
	char *map;

	ASSERT_LE(0, m);
	ASSERT_EQ(0, dry_run(s, m, &dry));
	EXPECT_STREQ("memfd-v2", (char *)dry.handler);
	EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_COST_KNOWN, dry.flags);
	EXPECT_TRUE(cost_is(&dry.cost, 300, 3)) {
		TH_LOG("%llu small, %llu huge", (unsigned long long)dry.cost.folios[0],
		       (unsigned long long)dry.cost.folios[HUGE_ORDER]);
	}
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	ASSERT_EQ(0, next_file(s, 1, &file));
	EXPECT_EQ(0, memcmp(&dry.cost, &file.cost, sizeof(dry.cost)));

	/* A hole that is filled afterwards is more. */
	map = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 1 << 29);
	ASSERT_NE(MAP_FAILED, (void *)map);
	map[0] = 1;
	ASSERT_EQ(0, next_file(s, 1, &file));
	EXPECT_TRUE(cost_is(&file.cost, 301, 3));
	munmap(map, LUO_PAGE);
	close(s);
	close(m);
}

LUO_TEST(stage1, dry_run_changes_nothing)
{
	int s = luo_create_session(self->dev, "unchanged"), m = memfd_mixed(1, 5, 6);
	long long blocks = luo_blocks(m), locked = luo_meminfo_kb("Unevictable");
	struct liveupdate_session_dry_run dry;
	struct liveupdate_session_next_file file;

	for (int i = 0; i < 100; i++)
		ASSERT_EQ(0, dry_run(s, m, &dry));
	EXPECT_EQ(blocks, luo_blocks(m));
	EXPECT_EQ(locked, luo_meminfo_kb("Unevictable"));
	EXPECT_EQ(-ENOENT, next_file(s, 0, &file));
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 517, 6));
	/* What a preserved memfd refuses, this one does. */
	EXPECT_EQ(0, fallocate(m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 512 * LUO_PAGE,
			       LUO_PAGE));
	ASSERT_EQ(0, dry_run(s, m, &dry));
	EXPECT_TRUE(cost_is(&dry.cost, 4, 1));
	EXPECT_EQ(0, ftruncate(m, 0));
	ASSERT_EQ(0, dry_run(s, m, &dry));
	EXPECT_TRUE(cost_is(&dry.cost, 0, 0));
	close(m);
	close(s);
}

LUO_TEST(stage1, dry_run_fails_as_preserve_does)
{
	int s = luo_create_session(self->dev, "no"), t = luo_create_session(self->dev, "other");
	int m = luo_memfd_filled("m", 0, 4, 1), ro, pipes[2], status;
	struct rlimit lim = { 3 * LUO_PAGE, 3 * LUO_PAGE };
	struct liveupdate_session_dry_run dry;
	char path[64];
	pid_t pid;

	EXPECT_EQ(-EBADF, dry_run(s, -1, &dry));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-ENOENT, dry_run(s, pipes[0], &dry));
	EXPECT_EQ(-ENOENT, dry_run(s, s, &dry));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, ro);
	EXPECT_EQ(-EPERM, dry_run(s, ro, &dry));

	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_MEMLOCK, &lim);
		if (setgid(1002) || setuid(1002))
			_exit(1);
		if (dry_run(s, m, &dry) != -ENOMEM || luo_preserve_fd(s, m, 1) != -ENOMEM)
			_exit(2);
		_exit(dry_run(s, luo_memfd_filled("n", 0, 3, 1), &dry) ? 3 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("exit %d", WEXITSTATUS(status));
	}

	ASSERT_EQ(0, dry_run(s, m, &dry));
	ASSERT_EQ(0, luo_preserve_fd(s, m, 1));
	EXPECT_EQ(-EBUSY, dry_run(s, m, &dry));
	EXPECT_EQ(-EBUSY, dry_run(t, m, &dry));

	dry.reserved = 1;
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_DRY_RUN, &dry));
	EXPECT_EQ(EINVAL, errno);
	dry.reserved = 0;
	dry.flags = 2;
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_DRY_RUN, &dry));
	EXPECT_EQ(EINVAL, errno);
	close(s);
	close(t);
}

LUO_TEST(stage1, one_file_is_taken_out_in_any_order)
{
	struct liveupdate_session_unpreserve_file arg = { .size = sizeof(arg), .reserved = 1 };
	int s = luo_create_session(self->dev, "taken-out"), m[5];
	struct liveupdate_session_next_file file;

	EXPECT_EQ(-ENOENT, unpreserve(s, 1));
	for (int i = 0; i < 5; i++) {
		m[i] = luo_memfd_filled("m", 0, 4, i);
		ASSERT_EQ(0, luo_preserve_fd(s, m[i], i));
	}
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_UNPRESERVE_FILE, &arg));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-ENOENT, unpreserve(s, 5));

	ASSERT_EQ(-1, ftruncate(m[1], 0));
	EXPECT_EQ(0, unpreserve(s, 1));
	EXPECT_EQ(-ENOENT, unpreserve(s, 1));
	EXPECT_EQ(0, ftruncate(m[1], 0));
	EXPECT_EQ(0, unpreserve(s, 4));
	EXPECT_EQ(0, unpreserve(s, 0));
	ASSERT_EQ(0, next_file(s, 0, &file));
	EXPECT_EQ(2U, file.token);
	ASSERT_EQ(0, next_file(s, 3, &file));
	EXPECT_EQ(3U, file.token);
	EXPECT_EQ(-ENOENT, next_file(s, 4, &file));

	/* Token and file can be used again; the others are as they were. */
	EXPECT_EQ(0, luo_preserve_fd(s, m[4], 1));
	EXPECT_EQ(-EBUSY, luo_preserve_fd(s, m[3], 7));
	EXPECT_EQ(-1, ftruncate(m[2], 0));
	ASSERT_EQ(0, luo_keep(s));
	close(s);
}

/* Room for records comes and goes by the page, of which one holds 63. */
LUO_TEST(stage1, files_are_taken_out_by_the_hundred)
{
	int s = luo_create_session(self->dev, "hundreds");
	struct liveupdate_session_next_file file;
	uint64_t token = 0;
	int nr = 0;

	for (int i = 0; i < 200; i++) {
		int m = luo_memfd_filled("m", 0, 0, i);

		ASSERT_EQ(0, luo_preserve_fd(s, m, i));
		close(m);
	}
	for (int i = 0; i < 200; i++) {
		if (i % 3)
			ASSERT_EQ(0, unpreserve(s, i));
	}
	for (; !next_file(s, token, &file); token = file.token + 1, nr++)
		ASSERT_EQ(0U, file.token % 3);
	EXPECT_EQ(67, nr);
	ASSERT_EQ(0, luo_keep(s));
	close(s);
}

LUO_TEST(stage1, a_file_that_others_need_stays)
{
	struct luo_test_file file = { .handler = LUO_TEST_A, .tag = 2, .value = 2 };
	int s = luo_create_session(self->dev, "needed"), lt, a, b, c;

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	a = lt_file(lt, LUO_TEST_B, 1, 1);
	file.needs = a;
	b = lt_make(lt, &file);
	file.tag = 3;
	file.needs = a;
	c = lt_make(lt, &file);
	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	ASSERT_EQ(0, luo_preserve_fd(s, b, 2));
	ASSERT_EQ(0, luo_preserve_fd(s, c, 3));

	EXPECT_EQ(-EBUSY, unpreserve(s, 1));
	EXPECT_EQ(0, unpreserve(s, 2));
	EXPECT_EQ(-EBUSY, unpreserve(s, 1));
	EXPECT_EQ(0, luo_preserve_fd(s, b, 2));
	EXPECT_EQ(0, unpreserve(s, 3));
	EXPECT_EQ(-EBUSY, unpreserve(s, 1));
	EXPECT_EQ(0, unpreserve(s, 2));
	EXPECT_EQ(0, unpreserve(s, 1));

	/* A file whose preserve() failed does not hold anything. */
	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	ASSERT_EQ(0, lt_rule(lt, 2, LUO_TEST_PRESERVE, -EIO, 0, 1));
	EXPECT_EQ(-EIO, luo_preserve_fd(s, b, 2));
	EXPECT_EQ(0, unpreserve(s, 1));
	ASSERT_EQ(0, lt_clear(lt));

	/* And a session that is closed as a whole goes in the right order. */
	ASSERT_EQ(0, luo_preserve_fd(s, a, 9));
	ASSERT_EQ(0, luo_preserve_fd(s, b, 2));
	lt_log(lt);
	close(s);
	EXPECT_NE(NULL, strstr(lt_log(lt), "A 2 unpreserve 0"));
}

LUO_TEST(stage1, a_handler_need_not_know_the_cost)
{
	int s = luo_create_session(self->dev, "unknown"), lt, a;
	struct liveupdate_session_next_file file;
	struct liveupdate_session_dry_run dry;
	struct liveupdate_file_cost none = {};

	ASSERT_EQ(0, lt_load());
	lt = lt_open();
	ASSERT_LE(0, lt);
	a = lt_file(lt, LUO_TEST_B, 1, 1);
	ASSERT_EQ(0, dry_run(s, a, &dry));
	EXPECT_EQ(0U, dry.flags);
	EXPECT_STREQ("luo-test-b-v1", (char *)dry.handler);
	EXPECT_EQ(0, memcmp(&none, &dry.cost, sizeof(none)));
	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	EXPECT_EQ(-EBUSY, dry_run(s, a, &dry));
	ASSERT_EQ(0, next_file(s, 0, &file));
	EXPECT_EQ(0U, file.flags);
	EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_PRESERVED, file.state);
	EXPECT_EQ(0, memcmp(&none, &file.cost, sizeof(none)));
	close(s);
}

LUO_TEST(stage1, prepare_files_with_a_cost)
{
	int s = luo_create_session(self->dev, "cost");
	int a = memfd_mixed(2, 700, 8), b = luo_memfd_filled("b", 0, 3, 9);

	ASSERT_EQ(0, luo_preserve_fd(s, a, 1));
	ASSERT_EQ(0, luo_preserve_fd(s, b, 2));
	ASSERT_EQ(0, luo_keep(s));
}

LUO_TEST(stage1, prepare_many_sessions)
{
	char name[NAME_LEN];

	for (int i = 0; i < MANY; i++) {
		int s, m;

		snprintf(name, sizeof(name), "many-%d", i);
		s = luo_create_session(self->dev, name);
		ASSERT_LE(0, s);
		if (i < 4) {
			m = luo_memfd_filled(name, 0, 1, i);
			ASSERT_EQ(0, luo_preserve_fd(s, m, i));
			close(m);
		}
		ASSERT_EQ(0, luo_keep(s));
		close(s);
	}
}

LUO_TEST(stage1, a_kernel_that_booted_cold_has_no_incoming_session)
{
	struct liveupdate_ioctl_next_session arg = {};

	EXPECT_EQ(-ENOENT, next_session(self->dev, &arg));
	memset(arg.name, 'x', sizeof(arg.name));
	EXPECT_EQ(-EINVAL, next_session(self->dev, &arg));
	memset(&arg, 0, sizeof(arg));
	arg.size = sizeof(arg);
	arg.flags = 1;
	EXPECT_EQ(-1, ioctl(self->dev, LIVEUPDATE_IOCTL_NEXT_SESSION, &arg));
	EXPECT_EQ(EINVAL, errno);
}

LUO_TEST(stage2, every_session_is_listed_once)
{
	struct liveupdate_ioctl_next_session arg = {};
	static uint8_t seen[4000];
	int others = 0, held = luo_retrieve_session(self->dev, "many-5"), nr = 0;

	ASSERT_LE(0, held);
	while (!next_session(self->dev, &arg)) {
		const char *name = (char *)arg.name;
		int i = -1;

		if (sscanf(name, "many-%d", &i) != 1) {
			others++;
			EXPECT_EQ(!strcmp(name, "cost") ? 2ULL : !strcmp(name, "hundreds") ? 67 : 3,
				  arg.nr_files);
			continue;
		}
		ASSERT_TRUE(i >= 0 && i < MANY && !seen[i]);
		seen[i] = 1;
		EXPECT_EQ(i < 4 ? 1ULL : 0, arg.nr_files);
		EXPECT_EQ(i == 5 ? LIVEUPDATE_SESSION_HELD : 0, arg.flags);
		nr++;
	}
	EXPECT_EQ(MANY, nr);
	EXPECT_EQ(3, others);
}

LUO_TEST(stage2, a_list_goes_on_when_its_place_is_gone)
{
	struct liveupdate_ioctl_next_session arg = {}, after;
	int s, nr = 0;

	ASSERT_EQ(0, next_session(self->dev, &arg));
	while (strncmp((char *)arg.name, "many-", 5) || atoi((char *)arg.name + 5) < 8)
		ASSERT_EQ(0, next_session(self->dev, &arg));
	after = arg;
	if (next_session(self->dev, &after))
		after.name[0] = 0;
	s = luo_retrieve_session(self->dev, (char *)arg.name);
	ASSERT_LE(0, s);
	ASSERT_EQ(0, luo_finish(s));
	if (next_session(self->dev, &arg))
		arg.name[0] = 0;
	EXPECT_STREQ((char *)after.name, (char *)arg.name);

	memset(&arg, 0, sizeof(arg));
	while (!next_session(self->dev, &arg))
		nr++;
	EXPECT_EQ(MANY + 3 - 1, nr);
}

LUO_TEST(stage2, files_say_what_became_of_them)
{
	int s = luo_retrieve_session(self->dev, "cost"), m;
	struct liveupdate_session_next_file file;
	struct liveupdate_session_dry_run dry;

	ASSERT_LE(0, s);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, next_file(s, 0, &file));
		EXPECT_EQ(1U, file.token);
		EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_WAITING, file.state);
		EXPECT_EQ(0U, file.error);
		EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_COST_KNOWN, file.flags);
		EXPECT_TRUE(cost_is(&file.cost, 700, 2)) {
			TH_LOG("%llu small, %llu huge", (unsigned long long)file.cost.folios[0],
			       (unsigned long long)file.cost.folios[HUGE_ORDER]);
		}
	}
	/* Looking took nothing away. */
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 2 * 512 + 700, 8));
	ASSERT_EQ(0, next_file(s, 1, &file));
	EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_RETRIEVED, file.state);
	EXPECT_TRUE(cost_is(&file.cost, 700, 2));
	ASSERT_EQ(0, next_file(s, 2, &file));
	EXPECT_EQ(2U, file.token);
	EXPECT_EQ((uint32_t)LIVEUPDATE_FILE_WAITING, file.state);
	EXPECT_TRUE(cost_is(&file.cost, 3, 0));

	EXPECT_EQ(-EINVAL, dry_run(s, m, &dry));
	EXPECT_EQ(-EINVAL, unpreserve(s, 1));
	ASSERT_EQ(0, luo_finish(s));
	EXPECT_EQ(-ENOENT, next_file(s, 0, &file));
	EXPECT_EQ(-ENOENT, unpreserve(s, 1));
	/* And to be filled again. */
	EXPECT_EQ(0, dry_run(s, m, &dry));
	EXPECT_TRUE(cost_is(&dry.cost, 700, 2));
	close(s);
}

LUO_TEST(stage2, what_was_taken_out_did_not_travel)
{
	int s = luo_retrieve_session(self->dev, "taken-out"), m;
	struct liveupdate_session_next_file file;
	uint64_t token = 0;
	int nr = 0;

	ASSERT_LE(0, s);
	for (; !next_file(s, token, &file); token = file.token + 1, nr++)
		EXPECT_EQ(1U + nr, file.token);
	EXPECT_EQ(3, nr);
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(s, 0));
	m = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 4, 4));
	m = luo_retrieve_fd(s, 2);
	ASSERT_LE(0, m);
	EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, 4, 2));
	EXPECT_EQ(0, luo_finish(s));
	close(s);

	s = luo_retrieve_session(self->dev, "hundreds");
	ASSERT_LE(0, s);
	for (int i = 0; i < 200; i++) {
		m = luo_retrieve_fd(s, i);
		ASSERT_EQ(i % 3 ? -ENOENT : 0, m < 0 ? m : 0);
		if (m >= 0)
			close(m);
	}
	EXPECT_EQ(0, luo_finish(s));
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2 };

	return luo_stages_main(&stages);
}
