/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the fuzzer believes: sessions, memfds, and who holds what.
 *
 * All of it is one struct without pointers, which luo_fuzz.c carries to the next
 * kernel in a preserved memfd.
 */
#ifndef LUO_FUZZ_MODEL_H
#define LUO_FUZZ_MODEL_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FZ_SESSIONS	10
#define FZ_SESSION_FDS	3
#define FZ_NAMES	7
#define FZ_OBJECTS	32
#define FZ_OBJECT_FDS	4
#define FZ_TOKENS	10
#define FZ_SHADOW	(64 << 10)	/* bytes of a file that are not always zero */
#define FZ_TRACE	1024
#define FZ_MAGIC	0x4c554f2d46555a5aULL
#define FZ_WRITE_SEALS	(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

struct fz_op {
	uint8_t kind, a;
	uint16_t b;
	uint32_t c;
};

_Static_assert(sizeof(struct fz_op) == 8, "a trace has a word for each operation");

enum { FZ_NONE, FZ_OUTGOING, FZ_UNCLAIMED, FZ_CLAIMED, FZ_FINISHED };

struct fz_session {
	uint8_t state;
	uint8_t name;
};

/* By whom an object is held, besides descriptors. */
enum { FZ_FREE, FZ_PRESERVED, FZ_INCOMING, FZ_RETRIEVED };

struct fz_object {
	uint8_t used;
	uint8_t hold;
	uint8_t huge;		/* its pages are */
	uint8_t session;	/* unless hold is FZ_FREE */
	uint32_t seals;
	uint64_t token;
	int64_t size;
	int64_t pos;
	uint8_t shadow[FZ_SHADOW];
};

struct fz_model {
	uint64_t magic;
	uint64_t sum;
	uint64_t seed;
	struct fz_session sessions[FZ_SESSIONS];
	struct fz_object objects[FZ_OBJECTS];
	uint32_t nr_trace;
	struct fz_op trace[FZ_TRACE];
};

static inline uint64_t fz_model_sum(struct fz_model *m)
{
	uint64_t sum = 0xcbf29ce484222325ULL, old = m->sum;

	m->sum = 0;
	for (size_t i = 0; i < sizeof(*m); i++)
		sum = (sum ^ ((uint8_t *)m)[i]) * 0x100000001b3ULL;
	m->sum = old;
	return sum;
}

static inline void fz_model_seal(struct fz_model *m)
{
	m->sum = fz_model_sum(m);
}

static inline bool fz_model_sound(struct fz_model *m)
{
	return m->magic == FZ_MAGIC && m->sum == fz_model_sum(m);
}

static inline void fz_model_init(struct fz_model *m, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->magic = FZ_MAGIC;
	m->seed = seed;
}

/* Tokens are few, so that they meet, and some are odd. */
static inline uint64_t fz_token(unsigned int arg)
{
	arg %= FZ_TOKENS;
	return arg == FZ_TOKENS - 1 ? UINT64_MAX : arg == FZ_TOKENS - 2 ? 1ULL << 63 : arg;
}

static inline int fz_free_session(const struct fz_model *m)
{
	for (int s = 0; s < FZ_SESSIONS; s++)
		if (m->sessions[s].state == FZ_NONE)
			return s;
	return -1;
}

static inline int fz_find_session(const struct fz_model *m, int state, int name)
{
	for (int s = 0; s < FZ_SESSIONS; s++)
		if (m->sessions[s].state == state && m->sessions[s].name == name)
			return s;
	return -1;
}

static inline int fz_free_object(const struct fz_model *m)
{
	for (int o = 0; o < FZ_OBJECTS; o++)
		if (!m->objects[o].used)
			return o;
	return -1;
}

static inline bool fz_holds(const struct fz_model *m, int s, int o)
{
	return m->objects[o].used && m->objects[o].hold != FZ_FREE &&
	       m->objects[o].session == s;
}

static inline int fz_find_object(const struct fz_model *m, int s, uint64_t token)
{
	for (int o = 0; o < FZ_OBJECTS; o++)
		if (fz_holds(m, s, o) && m->objects[o].token == token)
			return o;
	return -1;
}

/* A token of a session, or any if it has none. */
static inline uint64_t fz_some_token(const struct fz_model *m, int s, unsigned int arg,
				     unsigned int other)
{
	for (unsigned int i = 0; i < FZ_OBJECTS; i++) {
		int o = (arg + i) % FZ_OBJECTS;

		if (fz_holds(m, s, o))
			return m->objects[o].token;
	}
	return fz_token(other);
}

static inline void fz_hold(struct fz_model *m, int o, int s, uint64_t token, int hold)
{
	m->objects[o].hold = hold;
	m->objects[o].session = s;
	m->objects[o].token = token;
}

/* A session is closed or finished: its files are nobody's, or the caller's. */
static inline void fz_let_go(struct fz_model *m, int s)
{
	for (int o = 0; o < FZ_OBJECTS; o++)
		if (fz_holds(m, s, o))
			m->objects[o].hold = FZ_FREE;
}

/* The number of files that the next kernel gets. */
static inline int fz_nr_preserved(const struct fz_model *m)
{
	int nr = 0;

	for (int o = 0; o < FZ_OBJECTS; o++)
		nr += m->objects[o].used && m->objects[o].hold == FZ_PRESERVED;
	return nr;
}

/* No descriptor is left of an object. */
static inline void fz_object_closed(struct fz_model *m, int o)
{
	if (m->objects[o].hold == FZ_FREE)
		m->objects[o].used = false;
}

static inline void fz_truncate(struct fz_object *obj, int64_t size)
{
	if (size < FZ_SHADOW)
		memset(obj->shadow + size, 0, FZ_SHADOW - size);
	obj->size = size;
}

/* A live update: what outgoing sessions hold comes in, all else is gone. */
static inline void fz_model_next_kernel(struct fz_model *m)
{
	for (int s = 0; s < FZ_SESSIONS; s++)
		m->sessions[s].state = m->sessions[s].state == FZ_OUTGOING ? FZ_UNCLAIMED : FZ_NONE;
	for (int o = 0; o < FZ_OBJECTS; o++) {
		m->objects[o].used = m->objects[o].used && m->objects[o].hold == FZ_PRESERVED;
		m->objects[o].hold = FZ_INCOMING;
	}
	m->nr_trace = 0;
}

#endif /* LUO_FUZZ_MODEL_H */
