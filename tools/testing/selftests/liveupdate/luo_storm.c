// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: everything at once, from many threads, on four CPUs, breaks nothing.
 *
 * Threads create, claim, fill, drain, finish and drop the same few sessions, pass
 * them through sockets and to children, and change the same few memfds, while one
 * of them tries to reboot. What comes of a single call is chance; what must hold is
 * said in the tests: only documented errors, one winner wherever there can be one,
 * files of one piece, nothing left over, and nothing that the debug kernel's
 * lockdep and KASAN, or KCSAN in its own kernel, has to say. The first kexec
 * happens in the middle of it.
 *
 * luox_storm_secs=N is for how long, in each kernel:
 *
 *	run_vm_tests.py --test storm --timeout-scale 20 --append luox_storm_secs=300
 *
 * vm-test: name=storm stages=2 mem=1024 smp=4 debug-smp=4 kernels=debug,kcsan \
 *          timeout=60 append="kcsan.skip_watch=20"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luo_stages.h"

#define CPUS		4
#define THREADS		12
#define SESSIONS	6	/* slots */
#define NAMES		8
#define FILES		8	/* slots */
#define TOKENS		4
#define PAGES		24
#define CLAIMS		16	/* sessions for the next kernel to fight about */
#define CLAIM_FILES	3
#define CLAIM_PAGES	4
#define WORDS		(LUO_PAGE / 8)
#define KCSAN		"/sys/kernel/debug/kcsan"

LUO_STAGE(stage1);
LUO_STAGE(stage2);

static int dev;

/* ---- slots: descriptors that all threads share ---- */

struct slot {
	pthread_mutex_t lock;
	int fd;
	uint32_t seed;
};

static struct slot sessions[SESSIONS], files[FILES];
static int passing[2];

/* A copy of a slot's descriptor: the number may be another file's soon. */
static int borrow(struct slot *slot, uint32_t *seed)
{
	int fd = -1;

	pthread_mutex_lock(&slot->lock);
	if (slot->fd >= 0)
		fd = fcntl(slot->fd, F_DUPFD_CLOEXEC, 3);
	if (seed)
		*seed = slot->seed;
	pthread_mutex_unlock(&slot->lock);
	return fd;
}

static void put(struct slot *slot, int fd, uint32_t seed)
{
	int old;

	pthread_mutex_lock(&slot->lock);
	old = slot->fd;
	slot->fd = fd;
	slot->seed = seed;
	pthread_mutex_unlock(&slot->lock);
	if (old >= 0)
		close(old);
}

static void slots_init(void)
{
	for (int i = 0; i < SESSIONS; i++)
		sessions[i] = (struct slot) { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };
	for (int i = 0; i < FILES; i++)
		files[i] = (struct slot) { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };
}

static void slots_empty(void)
{
	for (int i = 0; i < SESSIONS; i++)
		put(&sessions[i], -1, 0);
	for (int i = 0; i < FILES; i++)
		put(&files[i], -1, 0);
}

/* ---- contents: a page says which file and which page it is ---- */

static uint64_t word_of(uint32_t seed, uint64_t page, uint64_t word)
{
	return (uint64_t)seed << 32 | page << 16 | word;
}

static void fill(uint64_t *mem, uint32_t seed, uint64_t page)
{
	for (uint64_t i = 0; i < WORDS; i++)
		mem[i] = word_of(seed, page, i);
}

/* Every page is a hole or belongs to this file; all to the same one. */
static bool of_one_piece(int fd, uint32_t seed)
{
	uint64_t mem[WORDS];
	long long size = luo_size(fd);

	for (uint64_t page = 0; page < (size + LUO_PAGE - 1) / LUO_PAGE; page++) {
		ssize_t got = pread(fd, mem, LUO_PAGE, page * LUO_PAGE);

		if (got < 0)
			return false;
		for (uint64_t i = 0; i < got / 8; i++) {
			uint32_t found = mem[i] >> 32;

			if (!mem[i])
				continue;
			if (!seed)
				seed = found;
			if (mem[i] != word_of(seed, page, i)) {
				printf("# page %lu word %lu: %#lx, of file %u\n", page, i, mem[i],
				       seed);
				return false;
			}
		}
	}
	return true;
}

/* ---- the storm ---- */

static volatile bool over;
static char wrong[200];
static unsigned long done[THREADS], refused, preserved, retrieved;
static uint32_t next_seed = 1;
static int finished[CLAIMS];

#define END	1000

/* The errno is 0 or one of these, up to END. */
static bool among(const char *what, int ret, ...)
{
	bool found = ret >= 0;
	va_list list;
	int err;

	va_start(list, ret);
	while (!found && (err = va_arg(list, int)) != END)
		found = ret == -err;
	va_end(list);
	if (!found && !wrong[0])
		snprintf(wrong, sizeof(wrong), "%s: %d", what, ret);
	return ret >= 0;
}

static uint32_t draw(uint64_t *chance)
{
	*chance ^= *chance >> 12;
	*chance ^= *chance << 25;
	*chance ^= *chance >> 27;
	return *chance * 0x2545f4914f6cdd1dULL >> 32;
}

static void storm_create(uint64_t *c)
{
	char name[32];
	int s;

	snprintf(name, sizeof(name), "storm-%u", draw(c) % NAMES);
	s = luo_create_session(dev, name);
	if (among("CREATE_SESSION", s, EEXIST, END))
		put(&sessions[draw(c) % SESSIONS], s, 0);
}

static void storm_claim(uint64_t *c)
{
	int nr = draw(c) % (CLAIMS + 2), s;
	char name[32];

	snprintf(name, sizeof(name), "claim-%u", nr);
	s = luo_retrieve_session(dev, name);
	if (among("RETRIEVE_SESSION", s, ENOENT, EBUSY, END))
		put(&sessions[draw(c) % SESSIONS], s, 1 + nr);
}

static void storm_memfd(uint64_t *c)
{
	uint32_t seed = __atomic_add_fetch(&next_seed, 1, __ATOMIC_RELAXED);
	int m = luo_memfd("storm", MFD_ALLOW_SEALING | MFD_EXEC, PAGES * LUO_PAGE);
	uint64_t mem[WORDS];

	if (!among("memfd_create", m, END))
		return;
	for (int page = 0; page < PAGES; page += 1 + draw(c) % 4) {
		fill(mem, seed, page);
		pwrite(m, mem, LUO_PAGE, page * LUO_PAGE);
	}
	put(&files[draw(c) % FILES], m, seed);
}

static void storm_preserve(uint64_t *c)
{
	int s = borrow(&sessions[draw(c) % SESSIONS], NULL);
	int m = borrow(&files[draw(c) % FILES], NULL);

	if (s >= 0 && m >= 0 &&
	    among("PRESERVE_FD", luo_preserve_fd(s, m, draw(c) % TOKENS), EINVAL, EEXIST, EBUSY,
		  END))
		__atomic_add_fetch(&preserved, 1, __ATOMIC_RELAXED);
	close(m);
	close(s);
}

static void storm_retrieve(uint64_t *c)
{
	uint32_t claim;
	int s = borrow(&sessions[draw(c) % SESSIONS], &claim), token = draw(c) % CLAIM_FILES, m;

	if (s >= 0) {
		m = luo_retrieve_fd(s, token);
		/* Finished is EINVAL, and the slot may be of a new session. */
		if (among("RETRIEVE_FD", m, EINVAL, END)) {
			if (luo_verify_fd(m, 0, CLAIM_PAGES, claim * 10 + token) != LUO_OK)
				snprintf(wrong, sizeof(wrong), "claim %u token %d: wrong content",
					 claim, token);
			__atomic_add_fetch(&retrieved, 1, __ATOMIC_RELAXED);
			close(m);
		}
	}
	close(s);
}

static void storm_finish(uint64_t *c)
{
	uint32_t claim;
	int s = borrow(&sessions[draw(c) % SESSIONS], &claim);

	/* Seldom, or there would soon be nothing left to fight about. */
	if (s >= 0 && !(draw(c) % 16) && among("FINISH", luo_finish(s), EINVAL, END) &&
	    __atomic_add_fetch(&finished[claim - 1], 1, __ATOMIC_RELAXED) != 1)
		snprintf(wrong, sizeof(wrong), "claim %u was finished twice", claim);
	close(s);
}

static void storm_name(uint64_t *c)
{
	int s = borrow(&sessions[draw(c) % SESSIONS], NULL);
	char name[64] = "";

	if (s >= 0 && among("GET_NAME", luo_get_name(s, name), END) &&
	    strncmp(name, "storm-", 6) && strncmp(name, "claim-", 6))
		snprintf(wrong, sizeof(wrong), "a session is called %.63s", name);
	close(s);
}

static void storm_drop(uint64_t *c)
{
	put(draw(c) & 1 ? &sessions[draw(c) % SESSIONS] : &files[draw(c) % FILES], -1, 0);
}

/* Whoever receives may get what another thread sent. */
static void storm_pass(uint64_t *c)
{
	uint32_t claim;
	int s = borrow(&sessions[draw(c) % SESSIONS], &claim), got;

	if (s >= 0 && !luo_send_fd(passing[0], s)) {
		close(s);
		got = luo_recv_fd(passing[1]);
		if (got >= 0)
			close(got);
		return;
	}
	close(s);
}

/* A child has copies of all that is open, uses some, and dies. */
static void storm_fork(uint64_t *c)
{
	int s, m, status;
	pid_t pid;

	/* It takes as long as ten of the others. */
	if (draw(c) % 6)
		return;
	s = borrow(&sessions[draw(c) % SESSIONS], NULL);
	m = borrow(&files[draw(c) % FILES], NULL);
	pid = fork();
	if (!pid) {
		char name[64];

		luo_preserve_fd(s, m, draw(c) % TOKENS);
		luo_get_name(s, name);
		luo_open_dev();
		if (draw(c) & 1)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	close(s);
	close(m);
	if (among("fork", pid, EAGAIN, END))
		waitpid(pid, &status, 0);
}

static void storm_change(uint64_t *c)
{
	uint32_t seed;
	int m = borrow(&files[draw(c) % FILES], &seed), page = draw(c) % PAGES, ret = 0;
	uint64_t mem[WORDS];
	void *map;

	if (m < 0)
		return;
	switch (draw(c) % 6) {
	case 0:
		ret = ftruncate(m, page * LUO_PAGE) ? -errno : 0;
		break;
	case 1:
		ret = ftruncate(m, PAGES * LUO_PAGE) ? -errno : 0;
		break;
	case 2:
		ret = fallocate(m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * LUO_PAGE,
				2 * LUO_PAGE) ? -errno : 0;
		break;
	case 3:
		ret = fallocate(m, 0, page * LUO_PAGE, LUO_PAGE) ? -errno : 0;
		break;
	case 4:
		fill(mem, seed, page);
		ret = pwrite(m, mem, LUO_PAGE, page * LUO_PAGE) < 0 ? -errno : 0;
		break;
	default:
		/* Reading makes pages too; writing could hit the end of the file. */
		map = mmap(NULL, PAGES * LUO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
		if (map == MAP_FAILED)
			break;
		madvise(map, PAGES * LUO_PAGE, MADV_POPULATE_READ);
		munmap(map, PAGES * LUO_PAGE);
	}
	among("a change of a memfd", ret, EPERM, END);
	close(m);
}

static void storm_odd(uint64_t *c)
{
	int s = borrow(&sessions[draw(c) % SESSIONS], NULL);

	among("second open", luo_open_dev(), EBUSY, END);
	if (s >= 0) {
		among("PRESERVE_FD of a session", luo_preserve_fd(s, s, 99), ENOENT, EINVAL,
		      EEXIST, END);
		among("PRESERVE_FD of nothing", luo_preserve_fd(s, -1, 99), EBADF, EINVAL, EEXIST,
		      END);
		among("RETRIEVE_FD of nothing", luo_retrieve_fd(s, 99), ENOENT, EINVAL, END);
		among("unknown ioctl", ioctl(s, _IO(LIVEUPDATE_IOCTL_TYPE, 0x7f), 0) ? -errno : 0,
		      ENOTTY, END);
	}
	close(s);
}

static void (* const acts[])(uint64_t *c) = {
	storm_create, storm_create, storm_claim, storm_claim, storm_memfd, storm_preserve,
	storm_preserve, storm_preserve, storm_retrieve, storm_retrieve, storm_finish, storm_name,
	storm_drop, storm_pass, storm_fork, storm_change, storm_change, storm_odd,
};

static void *storm_thread(void *arg)
{
	long nr = (long)arg;
	uint64_t chance = luo_now_ns() * 2 + nr * 0x9e3779b97f4a7c15ULL + 1;

	while (!over) {
		acts[draw(&chance) % (sizeof(acts) / sizeof(acts[0]))](&chance);
		done[nr]++;
	}
	return NULL;
}

/* There is a file that is retrieved and not finished: the answer is no. */
static void *storm_reboot(void *unused)
{
	while (!over) {
		if (!among("reboot", luo_kexec_exec(), EBUSY, END))
			refused++;
		usleep(400000);
	}
	return NULL;
}

static pthread_t threads[THREADS + 1];

static void storm_begin(bool reboot)
{
	slots_init();
	socketpair(AF_UNIX, SOCK_STREAM, 0, passing);
	over = false;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, storm_thread, (void *)i);
	if (reboot)
		pthread_create(&threads[THREADS], NULL, storm_reboot, NULL);
}

static void storm_end(bool reboot)
{
	unsigned long sum = 0;

	sleep(luo_cmdline_num("luox_storm_secs", 5));
	over = true;
	for (int i = 0; i < THREADS + reboot; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < FILES; i++)
		if (files[i].fd >= 0 && !of_one_piece(files[i].fd, files[i].seed))
			snprintf(wrong, sizeof(wrong), "a file has the content of another");
	/* What is on its way in a socket is held by it. */
	close(passing[0]);
	close(passing[1]);
	slots_empty();
	for (int i = 0; i < THREADS; i++)
		sum += done[i];
	luo_note("%lu calls: %lu files preserved, %lu retrieved, %lu reboots refused", sum,
		 preserved, retrieved, refused);
}

/* In the kernel that looks for races it does so. */
static void races_are_looked_for(struct __test_metadata *_metadata)
{
	char buf[4096] = "", *at;
	long watched;

	if (luo_read_file(KCSAN, buf, sizeof(buf)) < 0)
		return;
	EXPECT_NE(NULL, strstr(buf, "enabled: 1"));
	at = strstr(buf, "setup_watchpoints: ");
	watched = at ? atol(at + strlen("setup_watchpoints: ")) : 0;
	EXPECT_LT(100, watched);
	luo_note("%ld accesses were watched for races", watched);
}

static void nothing_is_left(struct __test_metadata *_metadata)
{
	for (int i = 0; i < NAMES; i++) {
		char name[32];
		int s;

		snprintf(name, sizeof(name), "storm-%d", i);
		s = luo_create_session(dev, name);
		ASSERT_LE(0, s) {
			TH_LOG("%s: %d", name, s);
		}
		close(s);
	}
}

LUO_TEST(stage1, a_storm_leaves_nothing_behind)
{
	dev = self->dev;
	/* With one there is no race. */
	ASSERT_EQ(CPUS, sysconf(_SC_NPROCESSORS_ONLN));
	storm_begin(false);
	storm_end(false);
	ASSERT_STREQ("", wrong);
	EXPECT_LT(0, preserved);
	races_are_looked_for(_metadata);
	nothing_is_left(_metadata);
}

LUO_TEST(stage1, sessions_for_the_next_kernel)
{
	/* The last one keeps the next kernel from rebooting. */
	for (int i = 0; i <= CLAIMS; i++) {
		char name[32];
		int s, m;

		snprintf(name, sizeof(name), i == CLAIMS ? "anchor" : "claim-%d", i);
		s = luo_create_session(self->dev, name);
		ASSERT_LE(0, s);
		for (int t = 0; t < CLAIM_FILES; t++) {
			m = luo_memfd_filled(name, 0, CLAIM_PAGES, (1 + i) * 10 + t);
			ASSERT_EQ(0, luo_preserve_fd(s, m, t));
			close(m);
		}
		ASSERT_EQ(0, luo_keep(s));
		close(s);
	}
}

LUO_TEST(stage2, what_the_storm_was_doing_is_whole)
{
	int nr_sessions = 0, nr_files = 0;

	for (int i = 0; i < NAMES; i++) {
		char name[32];
		int s;

		snprintf(name, sizeof(name), "storm-%d", i);
		s = luo_retrieve_session(self->dev, name);
		if (s == -ENOENT)
			continue;
		ASSERT_LE(0, s);
		nr_sessions++;
		for (int t = 0; t < TOKENS; t++) {
			int m = luo_retrieve_fd(s, t);

			if (m == -ENOENT)
				continue;
			ASSERT_LE(0, m);
			nr_files++;
			EXPECT_TRUE(of_one_piece(m, 0));
			close(m);
		}
		ASSERT_EQ(0, luo_finish(s));
		close(s);
	}
	luo_note("%d sessions with %d files were caught by the kexec", nr_sessions, nr_files);
}

LUO_TEST(stage2, one_winner_at_a_time)
{
	int anchor = luo_retrieve_session(self->dev, "anchor"), m, nr_finished = 0;

	ASSERT_LE(0, anchor);
	m = luo_retrieve_fd(anchor, 0);
	ASSERT_LE(0, m);
	ASSERT_EQ(0, luo_kexec_load(NULL, 3, NULL, 0));
	dev = self->dev;
	storm_begin(true);
	storm_end(true);
	ASSERT_STREQ("", wrong);
	EXPECT_LT(0, retrieved);
	EXPECT_LT(0, refused);
	races_are_looked_for(_metadata);

	for (int i = 0; i < CLAIMS; i++) {
		char name[32];
		int s;

		snprintf(name, sizeof(name), "claim-%d", i);
		s = luo_retrieve_session(self->dev, name);
		nr_finished += finished[i];
		if (finished[i]) {
			EXPECT_EQ(-ENOENT, s);
			continue;
		}
		ASSERT_LE(0, s);
		for (int t = 0; t < CLAIM_FILES; t++) {
			m = luo_retrieve_fd(s, t);
			ASSERT_LE(0, m);
			EXPECT_EQ(LUO_OK, luo_verify_fd(m, 0, CLAIM_PAGES, (1 + i) * 10 + t));
			close(m);
		}
		ASSERT_EQ(0, luo_finish(s));
		close(s);
	}
	luo_note("%d of %d sessions were finished in the storm", nr_finished, CLAIMS);
	nothing_is_left(_metadata);
	ASSERT_EQ(0, luo_finish(anchor));
}

/* Is on already, if that was asked for when the kernel was built. */
static void before(int stage)
{
	luo_write_file(KCSAN, "on");
}

static int next(int stage)
{
	char secs[64];
	int ret;

	snprintf(secs, sizeof(secs), "luox_storm_secs=%lld", luo_cmdline_num("luox_storm_secs", 5));
	ret = luo_kexec_load(NULL, stage + 1, secs, 0);
	if (ret)
		return ret;
	luo_gcov_save();
	dev = luo_open_dev();
	storm_begin(false);
	usleep(500000);
	return luo_kexec_exec();
}

int main(void)
{
	static const struct luo_stages stages = { .last = 2, .before = before, .next = next };

	return luo_stages_main(&stages);
}
