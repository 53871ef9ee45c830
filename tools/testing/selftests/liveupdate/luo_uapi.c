// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: what /dev/liveupdate and session descriptors answer to bad structs.
 *
 * Every ioctl, extensions included, with structs that are short, long, cut off
 * by an unmapped page or not writable, or on a descriptor of the wrong kind.  The
 * errno is the one of the table in the life cycle documentation, nothing is half
 * done afterwards, and nothing leaks: the whole of it is repeated while slab
 * counts are watched.
 *
 * vm-test: name=uapi mem=1024 append="luo_kmemleak" needs=shell
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luo_stages.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define TOKEN		0x1234
#define TOKEN_KEPT	0x1235	/* preserved from the start */

LUO_STAGE(stage1);

/* The ioctls as a table: what they are issued on and how large they are. */
struct call {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	bool on_session;
	int valid;		/* what a well-formed call gives here, 0 or an errno */
};

static const struct call calls[] = {
	{ "create", LIVEUPDATE_IOCTL_CREATE_SESSION,
	  sizeof(struct liveupdate_ioctl_create_session), false, 0 },
	{ "retrieve session", LIVEUPDATE_IOCTL_RETRIEVE_SESSION,
	  sizeof(struct liveupdate_ioctl_retrieve_session), false, ENOENT },
	{ "preserve", LIVEUPDATE_SESSION_PRESERVE_FD,
	  sizeof(struct liveupdate_session_preserve_fd), true, 0 },
	{ "retrieve fd", LIVEUPDATE_SESSION_RETRIEVE_FD,
	  sizeof(struct liveupdate_session_retrieve_fd), true, EINVAL },
	{ "finish", LIVEUPDATE_SESSION_FINISH,
	  sizeof(struct liveupdate_session_finish), true, EINVAL },
	{ "get name", LIVEUPDATE_SESSION_GET_NAME,
	  sizeof(struct liveupdate_session_get_name), true, 0 },
	{ "next session", LIVEUPDATE_IOCTL_NEXT_SESSION,
	  sizeof(struct liveupdate_ioctl_next_session), false, ENOENT },
	{ "next file", LIVEUPDATE_SESSION_NEXT_FILE,
	  sizeof(struct liveupdate_session_next_file), true, 0 },
	{ "dry run", LIVEUPDATE_SESSION_DRY_RUN,
	  sizeof(struct liveupdate_session_dry_run), true, 0 },
	{ "unpreserve", LIVEUPDATE_SESSION_UNPRESERVE_FILE,
	  sizeof(struct liveupdate_session_unpreserve_file), true, 0 },
	{ "policy", LIVEUPDATE_SESSION_SET_DEVICE_POLICY,
	  sizeof(struct liveupdate_session_set_device_policy), true, 0 },
	{ "fence", LIVEUPDATE_SESSION_FENCE,
	  sizeof(struct liveupdate_session_fence), true, EINVAL },
};

/* Declares c. */
#define for_each_call() for (const struct call *c = calls; c < calls + ARRAY_SIZE(calls); c++)

union any {
	uint32_t size;
	struct liveupdate_ioctl_create_session create;
	struct liveupdate_ioctl_retrieve_session retrieve;
	struct liveupdate_session_preserve_fd preserve;
	struct liveupdate_session_retrieve_fd retrieve_fd;
	struct liveupdate_session_finish finish;
	struct liveupdate_session_get_name get_name;
	struct liveupdate_ioctl_next_session next_session;
	struct liveupdate_session_next_file next_file;
	struct liveupdate_session_dry_run dry_run;
	struct liveupdate_session_unpreserve_file unpreserve;
	struct liveupdate_session_set_device_policy policy;
	struct liveupdate_session_fence fence;
	uint8_t raw[2 * LUO_PAGE];
};

struct ctx {
	int dev;
	int session;
	int memfd;
	int spare;
};

/* Fills in a call that is valid but for what the caller changes afterwards. */
static void good(const struct call *c, union any *arg, const struct ctx *ctx)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = c->size;
	switch (c->cmd) {
	case LIVEUPDATE_IOCTL_CREATE_SESSION:
	case LIVEUPDATE_IOCTL_RETRIEVE_SESSION:
		memcpy(arg->create.name, "uapi-new", 9);
		arg->create.fd = -1;
		break;
	case LIVEUPDATE_SESSION_PRESERVE_FD:
		arg->preserve.fd = ctx->memfd;
		arg->preserve.token = TOKEN;
		break;
	case LIVEUPDATE_SESSION_RETRIEVE_FD:
		arg->retrieve_fd.token = TOKEN;
		break;
	case LIVEUPDATE_SESSION_UNPRESERVE_FILE:
		arg->unpreserve.token = TOKEN_KEPT;
		break;
	case LIVEUPDATE_SESSION_DRY_RUN:
		arg->dry_run.fd = ctx->spare;
		break;
	case LIVEUPDATE_SESSION_SET_DEVICE_POLICY:
		arg->policy.policy = LIVEUPDATE_DEVICE_FENCE_ON_CLOSE;
		break;
	default:
		break;
	}
}

static int issue_at(const struct call *c, void *arg, const struct ctx *ctx)
{
	return ioctl(c->on_session ? ctx->session : ctx->dev, c->cmd, arg) ? errno : 0;
}

static int issue(const struct call *c, union any *arg, const struct ctx *ctx)
{
	int ret = issue_at(c, arg, ctx);

	/* A session that came of it is not what is looked at. */
	if (!ret && c->cmd == LIVEUPDATE_IOCTL_CREATE_SESSION)
		close(arg->create.fd);
	return ret;
}

static void ctx_open(struct ctx *ctx, int dev)
{
	int kept;

	ctx->dev = dev;
	ctx->session = luo_create_session(dev, "uapi");
	ctx->memfd = luo_memfd_filled("uapi", 0, 4, 1);
	ctx->spare = luo_memfd_filled("spare", 0, 1, 2);
	kept = luo_memfd_filled("kept", 0, 1, 3);
	luo_preserve_fd(ctx->session, kept, TOKEN_KEPT);
	close(kept);
}

static void ctx_close(struct ctx *ctx)
{
	close(ctx->session);
	close(ctx->memfd);
	close(ctx->spare);
}

LUO_TEST(stage1, valid_calls_do_what_the_table_says)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	ASSERT_LE(0, ctx.session);
	for_each_call() {
		good(c, &arg, &ctx);
		EXPECT_EQ(c->valid, issue(c, &arg, &ctx)) {
			TH_LOG("%s", c->name);
		}
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, struct_too_short_is_einval)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	for_each_call() {
		for (uint32_t size = 0; size < c->size; size++) {
			good(c, &arg, &ctx);
			arg.size = size;
			ASSERT_EQ(EINVAL, issue(c, &arg, &ctx)) {
				TH_LOG("%s, size %u", c->name, size);
			}
		}
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, longer_struct_with_zero_tail_is_accepted)
{
	static const uint32_t more[] = { 1, 4, 8, 100, LUO_PAGE - 200, LUO_PAGE };
	struct ctx ctx;
	union any arg;

	for_each_call() {
		for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
			ctx_open(&ctx, self->dev);
			good(c, &arg, &ctx);
			arg.size = c->size + more[i];
			ASSERT_EQ(c->valid, issue(c, &arg, &ctx)) {
				TH_LOG("%s, size %u", c->name, arg.size);
			}
			ctx_close(&ctx);
		}
	}
}

LUO_TEST(stage1, longer_struct_with_any_tail_byte_set_is_e2big)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	for_each_call() {
		for (uint32_t at = 0; at < 40; at++) {
			good(c, &arg, &ctx);
			arg.size = c->size + 40;
			arg.raw[c->size + at] = 1;
			ASSERT_EQ(E2BIG, issue(c, &arg, &ctx)) {
				TH_LOG("%s, byte %u", c->name, c->size + at);
			}
		}
		good(c, &arg, &ctx);
		arg.size = c->size + LUO_PAGE;
		arg.raw[arg.size - 1] = 0x80;
		ASSERT_EQ(E2BIG, issue(c, &arg, &ctx));
	}
	ctx_close(&ctx);
}

LUO_TEST(stage1, unmapped_struct_is_efault)
{
	struct ctx ctx;
	union any arg;
	uint8_t *map;

	map = mmap(NULL, 2 * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, munmap(map + LUO_PAGE, LUO_PAGE));

	ctx_open(&ctx, self->dev);
	for_each_call() {
		EXPECT_EQ(EFAULT, issue_at(c, NULL, &ctx));
		EXPECT_EQ(EFAULT, issue_at(c, (void *)-4096UL, &ctx));
		EXPECT_EQ(EFAULT, issue_at(c, map + LUO_PAGE, &ctx));
		good(c, &arg, &ctx);
		for (uint32_t keep = 1; keep < c->size; keep++) {
			void *at = map + LUO_PAGE - keep;

			memcpy(at, &arg, keep);
			ASSERT_EQ(EFAULT, issue_at(c, at, &ctx)) {
				TH_LOG("%s, %u bytes mapped", c->name, keep);
			}
		}
		/* All that is known is there, the rest of what is announced is not. */
		arg.size = c->size + 64;
		memcpy(map + LUO_PAGE - c->size, &arg, c->size);
		EXPECT_EQ(EFAULT, issue_at(c, map + LUO_PAGE - c->size, &ctx));
	}
	ctx_close(&ctx);
	munmap(map, LUO_PAGE);
}

LUO_TEST(stage1, result_that_cannot_be_written_undoes_the_call)
{
	struct liveupdate_ioctl_create_session *create;
	struct liveupdate_session_get_name *get;
	int lowest = dup(0), s;

	ASSERT_LE(0, lowest);
	close(lowest);

	create = mmap(NULL, LUO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)create);
	create->size = sizeof(*create);
	memcpy(create->name, "readonly", 9);
	ASSERT_EQ(0, mprotect(create, LUO_PAGE, PROT_READ));
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(-1, ioctl(self->dev, LIVEUPDATE_IOCTL_CREATE_SESSION, create));
		ASSERT_EQ(EFAULT, errno);
	}
	/* Neither the name nor a descriptor number is gone. */
	s = luo_create_session(self->dev, "readonly");
	EXPECT_EQ(lowest, s);

	ASSERT_EQ(0, mprotect(create, LUO_PAGE, PROT_READ | PROT_WRITE));
	get = (void *)create;
	memset(get, 0, sizeof(*get));
	get->size = sizeof(*get);
	ASSERT_EQ(0, mprotect(get, LUO_PAGE, PROT_READ));
	EXPECT_EQ(-1, ioctl(s, LIVEUPDATE_SESSION_GET_NAME, get));
	EXPECT_EQ(EFAULT, errno);
	close(s);
	munmap(get, LUO_PAGE);
}

LUO_TEST(stage1, unknown_commands_are_enotty)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	memset(&arg, 0, sizeof(arg));
	arg.size = 128;
	/* Each on the descriptor of the other kind. */
	for_each_call() {
		good(c, &arg, &ctx);
		EXPECT_EQ(-1, ioctl(c->on_session ? ctx.dev : ctx.session, c->cmd, &arg));
		EXPECT_EQ(ENOTTY, errno) {
			TH_LOG("%s on the wrong descriptor", c->name);
		}
	}
	/* Numbers that nobody has, other types, directions and sizes in the number. */
	for (int nr = 0x02; nr < 0x100; nr++) {
		if (nr == LIVEUPDATE_CMD_NEXT_SESSION)
			continue;
		EXPECT_EQ(-1, ioctl(ctx.dev, _IO(LIVEUPDATE_IOCTL_TYPE, nr), &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	for (int nr = 0x44; nr < 0x100; nr++) {
		if (nr >= LIVEUPDATE_CMD_SESSION_NEXT_FILE && nr <= LIVEUPDATE_CMD_SESSION_FENCE)
			continue;
		EXPECT_EQ(-1, ioctl(ctx.session, _IO(LIVEUPDATE_IOCTL_TYPE, nr), &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	for_each_call() {
		int fd = c->on_session ? ctx.session : ctx.dev;
		unsigned int nr = c->cmd & 0xff;

		good(c, &arg, &ctx);
		EXPECT_EQ(-1, ioctl(fd, _IO(0xBB, nr), &arg));
		EXPECT_EQ(ENOTTY, errno);
		EXPECT_EQ(-1, ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, LIVEUPDATE_IOCTL_TYPE, nr, 8),
				    &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	/* What every descriptor knows still works. */
	EXPECT_EQ(0, ioctl(ctx.session, FIOCLEX));
	ctx_close(&ctx);
}

LUO_TEST(stage1, other_file_operations_are_refused_quietly)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct ctx ctx;
	char buf[16] = { 0 };
	int ep;

	ctx_open(&ctx, self->dev);
	for (int i = 0; i < 2; i++) {
		int fd = i ? ctx.session : ctx.dev;

		EXPECT_EQ(-1, read(fd, buf, sizeof(buf)));
		EXPECT_EQ(-1, write(fd, buf, sizeof(buf)));
		EXPECT_EQ(-1, ftruncate(fd, 0));
		EXPECT_EQ(-1, fallocate(fd, 0, 0, 4096));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, LUO_PAGE, PROT_READ, MAP_SHARED, fd, 0));
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
		close(ep);
		lseek(fd, 10, SEEK_SET);
		fsync(fd);
	}
	ctx_close(&ctx);
}

/* One round of everything that fails, for the leak hunt below. */
static void bad_round(int dev)
{
	struct ctx ctx;
	union any arg;
	int null;

	ctx_open(&ctx, dev);
	null = open("/dev/null", O_RDWR);
	for_each_call() {
		good(c, &arg, &ctx);
		arg.size--;
		issue(c, &arg, &ctx);
		good(c, &arg, &ctx);
		arg.size += 8;
		arg.raw[arg.size - 1] = 1;
		issue(c, &arg, &ctx);
		issue_at(c, NULL, &ctx);
		good(c, &arg, &ctx);
		issue(c, &arg, &ctx);
		issue(c, &arg, &ctx);
	}
	luo_create_session(dev, "uapi");
	luo_create_session(dev, "");
	luo_preserve_fd(ctx.session, null, 9);
	luo_preserve_fd(ctx.session, -1, 9);
	luo_preserve_fd(ctx.session, ctx.memfd, 9);
	close(null);
	ctx_close(&ctx);
}

struct slab {
	char name[64];
	long active;
};

static int slabs_read(struct slab *slabs, int max)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512];
	int n = 0;

	while (f && fgets(line, sizeof(line), f) && n < max) {
		if (sscanf(line, "%63s %ld", slabs[n].name, &slabs[n].active) == 2 &&
		    slabs[n].name[0] != '#')
			n++;
	}
	if (f)
		fclose(f);
	return n;
}

/* With KASAN a round takes ten times as long. */
#define ROUNDS	(luo_debug_kernel() ? 100 : 400)

#define LOOKS	6
#define CACHES	400

/* How often each thing grew: caches by their place in the first list, and pages. */
struct growth {
	struct slab first[CACHES];
	int caches;
	int times[CACHES];
	int pages;
};

static bool slab_grew(const struct slab *old, const struct slab *now, int n, long most)
{
	for (int i = 0; i < n; i++) {
		if (strcmp(old->name, now[i].name))
			continue;
		if (now[i].active - old->active < most)
			return false;
		printf("# %s grew from %ld to %ld\n", old->name, old->active, now[i].active);
		return true;
	}
	return false;
}

/* What is lost in each round is one object of some cache, or a page, that often. */
static bool look(struct growth *g, int dev, int rounds)
{
	static struct slab before[CACHES], after[CACHES];
	long long free_before, free_after;
	int n, m;

	n = slabs_read(before, CACHES);
	free_before = luo_free_kb();
	for (int i = 0; i < rounds; i++)
		bad_round(dev);
	luo_run("for f in /sys/kernel/slab/*/shrink; do echo 1 > $f; done 2>/dev/null");
	sleep(1);
	m = slabs_read(after, CACHES);
	free_after = luo_free_kb();
	if (n < 10 || m < 10)
		return false;

	if (!g->caches) {
		memcpy(g->first, before, sizeof(before));
		g->caches = n;
	}
	for (int i = 0; i < n; i++) {
		if (!slab_grew(&before[i], after, m, rounds * 3 / 4))
			continue;
		for (int j = 0; j < g->caches; j++)
			g->times[j] += !strcmp(g->first[j].name, before[i].name);
	}
	if (free_before - free_after >= rounds * 4 * 3 / 4) {
		printf("# free memory fell from %lld to %lld KiB\n", free_before, free_after);
		g->pages++;
	}
	return true;
}

/* What grew at each of so many looks, or NULL. */
static const char *grew_always(const struct growth *g, int looks)
{
	/* KASAN holds back what was freed. */
	if (g->pages == looks && !luo_debug_kernel())
		return "pages";
	for (int i = 0; i < g->caches; i++) {
		/* kmemleak counts all objects, also those of everybody else. */
		if (g->times[i] == looks && strcmp(g->first[i].name, "kmemleak_object"))
			return g->first[i].name;
	}
	return NULL;
}

/*
 * Others allocate and keep things as well, and KASAN frees late: at each look something
 * else may have grown. What our calls lose grows every time.
 */
LUO_TEST(stage1, bad_input_leaks_no_slab_object_and_no_page)
{
	static struct growth g;
	const char *lost = "";

	for (int i = 0; i < ROUNDS / 4; i++)
		bad_round(self->dev);
	for (int looks = 1; looks <= LOOKS && lost; looks++) {
		ASSERT_TRUE(look(&g, self->dev, ROUNDS));
		lost = grew_always(&g, looks);
	}
	EXPECT_EQ(NULL, lost) {
		TH_LOG("lost: %s", lost);
	}
}

LUO_TEST(stage1, closed_descriptor_is_ebadf)
{
	struct ctx ctx;
	union any arg;

	ctx_open(&ctx, self->dev);
	close(ctx.session);
	close(ctx.dev);
	for_each_call() {
		good(c, &arg, &ctx);
		EXPECT_EQ(EBADF, issue(c, &arg, &ctx));
	}
	close(ctx.memfd);
	close(ctx.spare);
	self->dev = -1;
}

int main(void)
{
	static const struct luo_stages stages = { .last = 1 };

	return luo_stages_main(&stages);
}
