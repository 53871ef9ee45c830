// SPDX-License-Identifier: GPL-2.0
/*
 * Guards: whatever is asked of live update, in whatever order, the answer is the
 * documented one, and the next kernel has just what the sessions hold.
 *
 * A fuzzer that knows what should happen. It keeps a model of all sessions and
 * memfds (luo_fuzz_model.h), draws operations from a grammar, does each of them
 * to the kernel and to the model, and compares errno and contents. The model
 * itself is a preserved memfd: the next kernel's half of this program reads it,
 * goes on with the sessions that came in, and in the end claims all of them.
 *
 * An operation is eight bytes that mean something in any state, so a list of
 * them is a program. A failure prints the seed and the list; it is run again,
 * also in part, with
 *
 *	run_vm_tests.py --test fuzz@debug --file console.log \
 *		--append luox_fuzz_trace=/root/console.log
 *
 * Further words for the kernel command line:
 *
 *	luox_fuzz_secs=N	how long, instead of a few seconds
 *	luox_fuzz_seed=N	other operations; 0: by the clock
 *	luox_fuzz_guide=0	do not let coverage guide it
 *
 * Where the kernel has kcov, operations that reach new code of live update are
 * remembered with what led to them, and done again with changes.
 *
 * vm-test: name=fuzz stages=3 debug-stages=2 mem=1024 timeout=60 \
 *          kernels=plain,debug,kcsan append="hugepagesz=2M hugepages=40"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "luo_stages.h"
#include "luo_fuzz_ops.h"
#include "luo_fuzz_file_ops.h"
#include "luo_fuzz_query_ops.h"

#define EPISODE		400	/* operations from an empty state to the next */
#define LATER_OPS	500	/* operations in the kernels after the first */
#define MODEL_NAME	"fuzz-model"
#define TRACE_WORD	"fuzz-trace"

LUO_STAGE(stage1);
LUO_STAGE(stage2);
LUO_STAGE(stage3);

/* ---- chance ---- */

static uint64_t chance;

static uint64_t draw(void)
{
	chance ^= chance >> 12;
	chance ^= chance << 25;
	chance ^= chance >> 27;
	return chance * 0x2545f4914f6cdd1dULL;
}

static const struct {
	bool (*run)(struct fz_op op);
	unsigned int weight;
	const char *name;
} grammar[] = {
	{ op_create_session, 10, "CREATE_SESSION" },
	{ op_retrieve_session, 4, "RETRIEVE_SESSION" },
	{ op_preserve, 30, "PRESERVE_FD" },
	{ op_retrieve_fd, 8, "RETRIEVE_FD" },
	{ op_finish, 2, "FINISH" },
	{ op_get_name, 2, "GET_NAME" },
	{ op_list_sessions, 1, "list of sessions" },
	{ op_next_session, 1, "NEXT_SESSION" },
	{ op_next_file, 6, "NEXT_FILE" },
	{ op_unpreserve, 6, "UNPRESERVE_FILE" },
	{ op_dry_run, 6, "DRY_RUN" },
	{ op_unknown_ioctl, 2, "unknown ioctl" },
	{ op_close_session, 3, "close of a session" },
	{ op_copy_session, 3, "copy of a session fd" },
	{ op_copy_object, 3, "copy of a memfd" },
	{ op_fork, 1, "fork" },
	{ op_open_again, 1, "second open" },
	{ op_reopen, 1, "open again" },
	{ op_memfd, 14, "memfd_create" },
	{ op_close_object, 6, "close of a memfd" },
	{ op_write, 16, "write" },
	{ op_seek, 6, "lseek" },
	{ op_truncate, 8, "ftruncate" },
	{ op_fallocate, 8, "fallocate" },
	{ op_mmap, 8, "mmap" },
	{ op_seal, 4, "F_ADD_SEALS" },
	{ op_look, 6, "read" },
};

#define KINDS	(sizeof(grammar) / sizeof(grammar[0]))

static struct fz_op random_op(void)
{
	struct fz_op op = { .a = draw(), .b = draw(), .c = draw() };
	unsigned int sum = 0, at;

	for (unsigned int i = 0; i < KINDS; i++)
		sum += grammar[i].weight;
	at = draw() % sum;
	while (at >= grammar[op.kind].weight)
		at -= grammar[op.kind++].weight;
	return op;
}

/* ---- guided by coverage ---- */

#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_DISABLE	_IO('c', 101)
#define KCOV_WORDS	(64 << 10)
#define CORPUS		256
#define LED_TO		8	/* operations that are remembered at a time */

static unsigned long *kcov;
static uint8_t reached[1 << 16];
static unsigned long nr_reached;
static struct fz_op corpus[CORPUS][LED_TO];
static unsigned int nr_corpus;

static void kcov_open(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0 || !luo_cmdline_num("luox_fuzz_guide", 1))
		return;
	if (ioctl(fd, KCOV_INIT_TRACE, KCOV_WORDS))
		return;
	kcov = mmap(NULL, KCOV_WORDS * sizeof(*kcov), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (kcov == MAP_FAILED || ioctl(fd, KCOV_ENABLE, 0))
		kcov = NULL;
}

/* Was there code that no operation reached before? */
static bool new_code(void)
{
	unsigned long nr;
	bool fresh = false;

	if (!kcov)
		return false;
	nr = __atomic_exchange_n(&kcov[0], 0, __ATOMIC_RELAXED);
	for (unsigned long i = 1; i <= nr && i < KCOV_WORDS; i++) {
		unsigned int at = (kcov[i] ^ kcov[i] >> 16) & 0xffff;

		if (reached[at])
			continue;
		reached[at] = 1;
		nr_reached++;
		fresh = true;
	}
	return fresh;
}

static void remember(void)
{
	unsigned int nr = model->nr_trace, at = nr_corpus % CORPUS;

	if (nr < LED_TO)
		return;
	memcpy(corpus[at], &model->trace[nr - LED_TO], sizeof(corpus[at]));
	nr_corpus++;
}

/* ---- episodes ---- */

static unsigned long nr_ops, nr_kind[KINDS];

static bool run_op(struct fz_op op)
{
	if (model->nr_trace == FZ_TRACE)
		return true;
	model->trace[model->nr_trace++] = op;
	nr_ops++;
	nr_kind[op.kind % KINDS]++;
	complaint[0] = 0;
	if (kcov)
		__atomic_store_n(&kcov[0], 0, __ATOMIC_RELAXED);
	if (!grammar[op.kind % KINDS].run(op)) {
		if (!complaint[0])
			snprintf(complaint, sizeof(complaint), "%s: errno %d",
				 grammar[op.kind % KINDS].name, errno);
		return false;
	}
	if (new_code())
		remember();
	return true;
}

/* A few operations: new ones, or what once reached new code, a bit changed. */
static bool run_some(void)
{
	unsigned int seen = nr_corpus < CORPUS ? nr_corpus : CORPUS;

	if (seen && !(draw() % 4)) {
		struct fz_op *list = corpus[draw() % seen];

		for (int i = 0; i < LED_TO; i++) {
			struct fz_op op = list[i];

			switch (draw() % 8) {
			case 0:
				op.a = draw();
				break;
			case 1:
				op.b = draw();
				break;
			case 2:
				op.c = draw();
				break;
			case 3:
				op.c ^= 1U << draw() % 32;
				break;
			case 4:
				op = random_op();
				break;
			}
			if (!run_op(op))
				return false;
		}
		return true;
	}
	return run_op(random_op());
}

static void show_trace(const struct fz_model *m, int stage)
{
	for (unsigned int i = 0; i < m->nr_trace; ) {
		char line[700];
		int n = snprintf(line, sizeof(line), TRACE_WORD " %d:", stage);

		for (int k = 0; k < 32 && i < m->nr_trace; k++, i++) {
			uint64_t word;

			memcpy(&word, &m->trace[i], sizeof(word));
			n += snprintf(line + n, sizeof(line) - n, " %016llx",
				      (unsigned long long)word);
		}
		printf("# %s\n", line);
	}
}

static void show_model(void)
{
	for (int s = 0; s < FZ_SESSIONS; s++)
		if (model->sessions[s].state != FZ_NONE)
			printf("# session %d: fuzz-%d, state %d\n", s, model->sessions[s].name,
			       model->sessions[s].state);
	for (int o = 0; o < FZ_OBJECTS; o++) {
		struct fz_object *obj = &model->objects[o];

		if (obj->used)
			printf("# object %d: fd %d, held %d by %d as %#llx, seals %#x, size %lld\n",
			       o, object_fd(o), obj->hold, obj->session,
			       (unsigned long long)obj->token, obj->seals, (long long)obj->size);
	}
}

static struct fz_model *first_model;	/* what the previous kernel did */

static void fail(const char *when)
{
	printf("# fuzz: %s: %s\n", when, complaint);
	printf("# fuzz: seed %llu, operation %lu, the last of these %u:\n",
	       (unsigned long long)model->seed, nr_ops, model->nr_trace);
	show_model();
	if (first_model)
		show_trace(first_model, luo_stage() - 1);
	show_trace(model, luo_stage());
}

/* Everything back to nothing; only for the first kernel, where nothing came in. */
static bool clear_all(void)
{
	uint64_t seed = model->seed;

	for (int s = 0; s < FZ_SESSIONS; s++)
		while (session_fd(s) >= 0)
			op_close_session((struct fz_op) { .a = s });
	for (int o = 0; o < FZ_OBJECTS; o++)
		while (object_fd(o) >= 0)
			op_close_object((struct fz_op) { .a = o });
	for (int i = 0; i < FZ_NAMES; i++) {
		char name[16];
		int s;

		snprintf(name, sizeof(name), "fuzz-%d", i);
		s = luo_create_session(dev, name);
		if (s < 0)
			return judge("a closed session is still there", 0, s);
		close(s);
	}
	fz_model_init(model, seed);
	return true;
}

static bool look_at_all(void)
{
	for (int o = 0; o < FZ_OBJECTS; o++)
		if (object_fd(o) >= 0 && !same_contents(o, object_fd(o)))
			return false;
	return true;
}

/* Claims what came in and has to be there, and no more. */
static bool claim_all(void)
{
	for (int name = 0; name < FZ_NAMES; name++) {
		int s = fz_find_session(model, FZ_UNCLAIMED, name), fd, got;

		if (fz_find_session(model, FZ_CLAIMED, name) >= 0)
			continue;
		got = retrieve_session(name, PROPER, &fd);
		if (!judge("RETRIEVE_SESSION at the end", s < 0 ? -ENOENT : 0, got))
			return false;
		if (s >= 0) {
			session_fds[s][0] = fd;
			model->sessions[s].state = FZ_CLAIMED;
		}
	}
	for (int s = 0; s < FZ_SESSIONS; s++) {
		if (model->sessions[s].state != FZ_CLAIMED)
			continue;
		for (unsigned int t = 0; t < FZ_TOKENS; t++) {
			uint64_t token = fz_token(t);
			int o = fz_find_object(model, s, token);
			int fd = luo_retrieve_fd(session_fd(s), token);

			if (o < 0) {
				if (!judge("RETRIEVE_FD of nothing", -ENOENT, fd))
					return false;
				continue;
			}
			if (fd < 0)
				return judge("RETRIEVE_FD at the end", 0, fd);
			model->objects[o].hold = FZ_RETRIEVED;
			if (!same_contents(o, fd))
				return false;
			put_fd(object_fds[o], FZ_OBJECT_FDS, fd);
		}
	}
	return true;
}

/* ---- tests ---- */

static bool setup(int device)
{
	dev = device;
	memset(session_fds, -1, sizeof(session_fds));
	memset(object_fds, -1, sizeof(object_fds));
	readonly_page = mmap(NULL, LUO_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (readonly_page == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM, 0, passing))
		return false;
	kcov_open();
	return true;
}

static void say_what_was_done(void)
{
	char line[640];
	int n = 0;

	for (unsigned int i = 0; i < KINDS && n < (int)sizeof(line) - 40; i++)
		n += snprintf(line + n, sizeof(line) - n, "%s%s %lu", i ? ", " : "",
			      grammar[i].name, nr_kind[i]);
	printf("# %s\n", line);
	luo_note("seed %llu: %lu operations", (unsigned long long)model->seed, nr_ops);
	if (kcov)
		luo_note("guided by coverage: %lu places in the code, new ones %u times",
			 nr_reached, nr_corpus);
}

/* The operations that a log has for this stage, or -1. */
static long run_trace(const char *path)
{
	char *buf, *line, *save, want[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);
	long nr = 0;

	if (fd < 0 || size < 0)
		return -1;
	buf = calloc(1, size + 1);
	if (!buf || pread(fd, buf, size, 0) != size)
		return -1;
	close(fd);
	snprintf(want, sizeof(want), TRACE_WORD " %d:", luo_stage());
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *at = strstr(line, want), *end;

		for (at = at ? at + strlen(want) : NULL; at && *at == ' '; at = end, nr++) {
			uint64_t word = strtoull(at, &end, 16);
			struct fz_op op;

			if (end == at)
				break;
			memcpy(&op, &word, sizeof(op));
			if (!run_op(op))
				return -1;
		}
	}
	free(buf);
	return nr;
}

static void leave(struct __test_metadata *_metadata)
{
	int s, fd;

	for (int i = 0; i < FZ_SESSIONS; i++)
		if (session_fd(i) >= 0)
			ASSERT_EQ(0, luo_keep(session_fd(i)));
	luo_note("%d files are handed over", fz_nr_preserved(model));
	fz_model_seal(model);
	s = luo_create_session(dev, MODEL_NAME);
	ASSERT_LE(0, s);
	fd = luo_memfd("model", 0, sizeof(*model));
	ASSERT_LE(0, fd);
	ASSERT_EQ(sizeof(*model), pwrite(fd, model, sizeof(*model), 0));
	ASSERT_EQ(0, luo_preserve_fd(s, fd, 1));
	ASSERT_EQ(0, luo_keep(s));
	say_what_was_done();
}

LUO_TEST(stage1, the_judge_sees_a_wrong_byte)
{
	ASSERT_TRUE(setup(self->dev));
	model = calloc(1, sizeof(*model));
	ASSERT_NE(NULL, model);
	fz_model_init(model, 1);
	ASSERT_TRUE(op_memfd((struct fz_op) { .b = 1 }));
	ASSERT_TRUE(op_write((struct fz_op) { .b = 4000 }));
	ASSERT_TRUE(same_contents(0, object_fd(0)));
	model->objects[0].shadow[3999] ^= 1;
	ASSERT_FALSE(same_contents(0, object_fd(0)));
	model->objects[0].shadow[3999] ^= 1;
	model->objects[0].seals = F_SEAL_GROW;
	ASSERT_FALSE(same_contents(0, object_fd(0)));
}

LUO_TEST(stage1, answers_are_the_documented_ones)
{
	uint64_t seed = luo_cmdline_num("luox_fuzz_seed", 1), end;
	char trace[128];

	if (!seed)
		seed = luo_now_ns() ^ (uint64_t)time(NULL) << 20;
	ASSERT_TRUE(setup(self->dev));
	model = calloc(1, sizeof(*model));
	ASSERT_NE(NULL, model);
	fz_model_init(model, seed);
	chance = seed * 0x9e3779b97f4a7c15ULL | 1;
	if (luo_cmdline_get("luox_fuzz_trace", trace, sizeof(trace))) {
		long nr = run_trace(trace);

		if (nr < 0)
			fail(trace);
		ASSERT_LE(0, nr);
		luo_note("%ld operations of %s", nr, trace);
		leave(_metadata);
		return;
	}

	end = luo_now_ns() + luo_cmdline_num("luox_fuzz_secs", luo_debug_kernel() ? 10 : 3) *
	      1000000000ULL;
	for (;;) {
		bool good = true;

		while (good && model->nr_trace < EPISODE)
			good = run_some();
		good = good && look_at_all();
		if (!good)
			fail("this kernel");
		ASSERT_TRUE(good);
		/* The last state is left as it is, for the next kernel. */
		if (luo_now_ns() >= end)
			break;
		good = clear_all();
		if (!good)
			fail("after all was closed");
		ASSERT_TRUE(good);
	}
	leave(_metadata);
}

static void arrive(struct __test_metadata *_metadata, int device)
{
	struct fz_model *came;
	char trace[128];
	bool good = true;
	int s, fd;

	ASSERT_TRUE(setup(device));
	s = luo_retrieve_session(dev, MODEL_NAME);
	ASSERT_LE(0, s);
	fd = luo_retrieve_fd(s, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ((long long)sizeof(*came), luo_size(fd));
	came = mmap(NULL, sizeof(*came), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, came);
	ASSERT_TRUE(fz_model_sound(came));
	ASSERT_EQ(0, luo_finish(s));
	close(s);

	model = calloc(1, sizeof(*model));
	ASSERT_NE(NULL, model);
	*model = *came;
	first_model = came;
	fz_model_next_kernel(model);
	chance = (model->seed + luo_stage()) * 0x9e3779b97f4a7c15ULL | 1;

	if (luo_cmdline_get("luox_fuzz_trace", trace, sizeof(trace)))
		good = run_trace(trace) >= 0;
	else
		while (good && model->nr_trace < LATER_OPS)
			good = run_some();
	good = good && claim_all() && look_at_all();
	if (!good)
		fail("the next kernel");
	ASSERT_TRUE(good);

	/* Unfinished files would stop the next kexec. */
	for (int i = 0; i < FZ_SESSIONS; i++)
		if (model->sessions[i].state == FZ_CLAIMED)
			ASSERT_TRUE(op_finish((struct fz_op) { .a = i, .b = 1, .c = 1 }));
}

LUO_TEST(stage2, the_next_kernel_has_what_the_sessions_held)
{
	arrive(_metadata, self->dev);
	leave(_metadata);
}

LUO_TEST(stage3, and_the_one_after_it)
{
	arrive(_metadata, self->dev);
	say_what_was_done();
}

static int next(int stage)
{
	char words[512] = "", val[128];
	static const char * const keys[] = { "luox_fuzz_trace", "luox_fuzz_guide" };

	for (int i = 0; i < 2; i++) {
		size_t n = strlen(words);

		if (luo_cmdline_get(keys[i], val, sizeof(val)))
			snprintf(words + n, sizeof(words) - n, " %s=%s", keys[i], val);
	}
	return luo_kexec_next(NULL, words);
}

int main(void)
{
	static const struct luo_stages stages = { .last = 3, .next = next };

	return luo_stages_main(&stages);
}
