/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: what its files share among themselves.
 */
#ifndef _KERNEL_LIVEUPDATE_LUO_INTERNAL_H
#define _KERNEL_LIVEUPDATE_LUO_INTERNAL_H

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/llist.h>
#include <linux/luo_block.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/workqueue.h>
#include <linux/kho/abi/luo.h>
#include <linux/kho/abi/luo_phases.h>

/**
 * struct luo_op_stat - how something went so far
 * @calls: number of calls that are over
 * @failures: how many of them failed
 * @total_ns: how long they took, in ns
 * @max_ns: the longest of them
 */
struct luo_op_stat {
	atomic64_t calls;
	atomic64_t failures;
	atomic64_t total_ns;
	atomic64_t max_ns;
};

struct seq_file;

/* luo_core.c */

/* See "Locks" in luo_core.c. */
extern struct rw_semaphore luo_freeze_lock;
extern struct workqueue_struct *luo_release_wq;

/**
 * struct luo_ucmd - an ioctl being executed
 * @cmd: copy of the user's struct
 * @session: the session that it was issued on, or NULL
 * @file: set by the operation: a file to be installed as a file descriptor, whose
 *	number goes to the user's struct
 */
struct luo_ucmd {
	void *cmd;
	struct liveupdate_session *session;
	struct file *file;
};

#define LUO_IOCTL_OUT	BIT(0)	/* The struct is copied back. */
#define LUO_IOCTL_FD	BIT(1)	/* And gets a file descriptor. */

/**
 * struct luo_ioctl_op - an ioctl
 * @name: its name
 * @stat: how often it was done, and how often it failed, a bad struct not included
 * @cmd: its number
 * @size: size of its struct
 * @min_size: size of the first version of its struct
 * @flags: LUO_IOCTL_*
 * @execute: does the work, with luo_freeze_lock held for reading
 */
struct luo_ioctl_op {
	const char *name;
	struct luo_op_stat *stat;
	unsigned int cmd;
	unsigned int size;
	unsigned int min_size;
	unsigned int flags;
	int (*execute)(struct luo_ucmd *ucmd);
};

#define LUO_IOCTL(_cmd, _fn, _struct, _last, _flags)			\
	{								\
		.name = #_cmd,						\
		.stat = &(struct luo_op_stat) {},			\
		.cmd = _cmd,						\
		.size = sizeof(_struct) +				\
			BUILD_BUG_ON_ZERO(sizeof(_struct) > LUO_UCMD_SIZE), \
		.min_size = offsetofend(_struct, _last),		\
		.flags = _flags,					\
		.execute = _fn,						\
	}

/* No struct is larger than this. */
#define LUO_UCMD_SIZE	256
/* Where a struct with LUO_IOCTL_FD has it. */
#define LUO_UCMD_FD	4

void luo_ioctl_stats_show(struct seq_file *s, const struct luo_ioctl_op *ops,
			  unsigned int nr_ops);
void luo_device_stats_show(struct seq_file *s);
long luo_ioctl(const struct luo_ioctl_op *ops, unsigned int nr_ops,
	       struct liveupdate_session *session, unsigned int cmd, unsigned long arg);

int luo_find_ser(struct luo_ser *ser, phys_addr_t *phys, size_t *size);

/* Everything is as it was before the attempt, and it may work another time. */
static inline bool luo_may_retry(int err)
{
	return err == -ENOMEM || err == -EINTR || err == -EAGAIN || err == -ERESTARTSYS;
}

/* luo_image.c */
int luo_image_check(struct kimage *image);
void luo_image_check_listed(unsigned int kind, const char *name);

/* luo_reboot.c */
void luo_reboot_init(struct luo_ser *ser);

/* luo_phases.c */
void luo_phases_init(void);
void luo_phase_leave(enum luo_phase phase);
void luo_phase_retrieve(void);
void luo_phase_finish(bool last);
void luo_phases_show(struct seq_file *s);
const char *luo_clock_fault(const struct luo_phase_stamp *stamps, u32 khz_before, u32 khz);
s64 luo_clock_drift_ms(const struct luo_phase_stamp *jump,
		       const struct luo_phase_stamp *loaded, u32 khz);

/* luo_session.c */

/**
 * enum luo_session_state - what a session is
 * @LUO_OUTGOING: for the next kernel, among luo_outgoing
 * @LUO_INCOMING: from the previous kernel, among luo_incoming
 * @LUO_FINISHED: was incoming, is empty, in neither set
 */
enum luo_session_state {
	LUO_OUTGOING,
	LUO_INCOMING,
	LUO_FINISHED,
};

/**
 * struct luo_session_set - sessions with a common name space
 * @lock: protects all of it, and who holds an incoming session
 * @list: in the order in which they were entered
 * @names: the same by name
 * @count: number of them
 * @lost: some of what the previous kernel left is lost; incoming only
 * @chain: room for their records; outgoing only
 */
struct luo_session_set {
	struct mutex lock; /* protects the set, see above */
	struct list_head list;
	struct rb_root names;
	unsigned long count;
	bool lost;
	struct luo_chain chain;
};

extern struct luo_session_set luo_outgoing;
extern struct luo_session_set luo_incoming;

/* A device asks for its iommufd, and that for memory: 3 are needed. */
#define LUO_MAX_NESTING	8

/**
 * struct liveupdate_session - a named collection of files
 * @lock: protects the session, @held and what links it in its set excepted
 * @state: what it is
 * @held: there is an open file of it. Incoming sessions only: all others exist
 *	just as long as their file
 * @loaded: @files has what @incoming_pa says
 * @fault: errno for what is lost of @files because of damage, or 0
 * @lost: a file of it is lost, or cannot be told what it is
 * @given: user space has got a descriptor since it was claimed
 * @policy: &enum liveupdate_device_policy; outgoing and incoming only
 * @timeout_ms: the time that belongs to it
 * @fence_later: jiffies that are added to it, because it could not be given up then
 * @fence_wait: for how many seconds the last time
 * @files: in the order in which they were preserved
 * @tokens: the same by token
 * @nr_files: number of files
 * @nr_retrieved: number of files that are retrieved
 * @nesting: how many of @files are being retrieved, each because the one before it asks
 *	for it
 * @calling: the file whose preserve() or freeze() is running, or NULL
 * @chain: room for the records of its files; outgoing only
 * @incoming_pa: where the previous kernel left the files
 * @incoming_count: their number, by its word
 * @set_link: in luo_session_set.list
 * @name_node: in luo_session_set.names
 * @name_hash: what that is sorted by
 * @released: in the list of sessions whose release could not wait
 * @holder: process that created or claimed it
 * @holder_comm: its name
 * @name: its name, padded with NULs
 */
struct liveupdate_session {
	struct mutex lock; /* protects the session, see above */
	enum luo_session_state state;
	bool held;
	bool loaded;
	int fault;
	bool lost;
	bool given;
	u32 policy;
	u32 timeout_ms;
	unsigned long fence_later;
	unsigned int fence_wait;
	struct list_head files;
	struct rb_root tokens;
	unsigned long nr_files;
	unsigned long nr_retrieved;
	unsigned int nesting;
	struct luo_file *calling;
	struct luo_chain chain;
	u64 incoming_pa;
	u64 incoming_count;

	struct list_head set_link;
	struct rb_node name_node;
	u32 name_hash;
	struct llist_node released;
	pid_t holder;
	char holder_comm[TASK_COMM_LEN];
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

__printf(3, 4)
void luo_session_log(const char *level, struct liveupdate_session *session,
		     const char *fmt, ...);
void luo_session_stats_show(struct seq_file *s);
int luo_session_create(struct luo_ucmd *ucmd);
int luo_session_retrieve(struct luo_ucmd *ucmd);
void luo_sessions_load(struct luo_session_set *set, const struct luo_block_ops *ops,
		       u64 sessions_pa);
u64 luo_sessions_serialize(void);
struct liveupdate_session *luo_set_next(struct luo_session_set *set, const char *name);
void luo_sessions_put_released(void);
struct liveupdate_session *luo_set_find(struct luo_session_set *set, const char *name);
int luo_session_finish(struct liveupdate_session *session);
void luo_session_free(struct liveupdate_session *session);
void luo_session_given(struct file *file);

/* luo_fence.c */
int luo_fence_set_policy(struct luo_ucmd *ucmd);
int luo_fence_session(struct luo_ucmd *ucmd);
bool luo_fence_on_close(struct liveupdate_session *session);
void luo_fence_init(void);

/* luo_policy.c */
bool luo_policy_valid(u32 policy, u32 timeout_ms);
int luo_policy_set(struct liveupdate_session *session, u32 policy, u32 timeout_ms);
void luo_policies_serialize(void);
void luo_policies_read(struct luo_session_set *set, const struct luo_block_ops *ops, u64 pa);
void luo_policies_load(void);

/* luo_file.c */

/**
 * struct luo_file - a file of a session
 * @session: the session
 * @handler: who takes care of it; NULL if that was not asked yet
 * @token: its number in the session
 * @id: what stands for the object behind it
 * @file: the file, with a reference; NULL as long as it is not retrieved
 * @data: see &struct liveupdate_file_op_args
 * @private_data: see &struct liveupdate_file_op_args
 * @retrieve_status: see &struct liveupdate_file_op_args
 * @frozen: freeze() was called and succeeded
 * @retrieving: retrieve() is running
 * @damaged: the record makes no sense, there is no handler for it
 * @discarded: it was given up
 * @deps: the files that it depends on, of &struct luo_dep; outgoing only
 * @nr_dependents: number of files that depend on it
 * @link: in liveupdate_session.files
 * @token_node: in liveupdate_session.tokens
 * @id_node: in luo_objects; empty if @id is not set
 * @compatible: name of the handler
 */
struct luo_file {
	struct liveupdate_session *session;
	struct liveupdate_file_handler *handler;
	u64 token;
	unsigned long id;
	struct file *file;
	u64 data;
	void *private_data;
	int retrieve_status;
	bool frozen:1;
	bool retrieving:1;
	bool damaged:1;
	bool discarded:1;

	struct list_head deps;
	unsigned long nr_dependents;
	struct list_head link;
	struct rb_node token_node;
	struct rb_node id_node;
	char compatible[LIVEUPDATE_HNDL_COMPAT_LENGTH];
};

__printf(3, 4)
void luo_file_log(const char *level, struct luo_file *lf, const char *fmt, ...);
struct luo_file *luo_file_add(struct liveupdate_session *session, u64 token);
void luo_file_del(struct luo_file *lf);
struct luo_file *luo_file_find(struct liveupdate_session *session, u64 token);
struct luo_file *luo_file_find_from(struct liveupdate_session *session, u64 token);
struct liveupdate_file_op_args luo_file_args(struct luo_file *lf);
int luo_file_resolve(struct luo_file *lf);

int luo_files_resolve(struct liveupdate_session *session);
int luo_file_preserve(struct liveupdate_session *session, int fd, u64 token);
int luo_file_unpreserve(struct liveupdate_session *session, u64 token);
void luo_files_unpreserve(struct liveupdate_session *session);
int luo_file_retrieve(struct liveupdate_session *session, u64 token, struct file **filep);
int luo_files_finish(struct liveupdate_session *session);

/* luo_handover.c */
int luo_files_load(struct liveupdate_session *session);
int luo_files_freeze(struct liveupdate_session *session);
void luo_files_unfreeze(struct liveupdate_session *session);
void luo_files_serialize(struct liveupdate_session *session);
void luo_files_discard(struct liveupdate_session *session);

/* luo_call.c */

/**
 * enum luo_op - an operation of &struct liveupdate_file_ops, by the same name
 * @LUO_OP_PRESERVE: preserve()
 * @LUO_OP_UNPRESERVE: unpreserve()
 * @LUO_OP_FREEZE: freeze()
 * @LUO_OP_UNFREEZE: unfreeze()
 * @LUO_OP_RETRIEVE: retrieve()
 * @LUO_OP_CAN_FINISH: can_finish()
 * @LUO_OP_FINISH: finish()
 * @LUO_OP_DISCARD: discard()
 * @LUO_OP_STAT: stat()
 * @LUO_NR_OPS: number of them
 */
enum luo_op {
	LUO_OP_PRESERVE,
	LUO_OP_UNPRESERVE,
	LUO_OP_FREEZE,
	LUO_OP_UNFREEZE,
	LUO_OP_RETRIEVE,
	LUO_OP_CAN_FINISH,
	LUO_OP_FINISH,
	LUO_OP_DISCARD,
	LUO_OP_STAT,
	LUO_NR_OPS,
};

extern struct luo_op_stat luo_op_stats[LUO_NR_OPS];
extern struct luo_op_stat luo_flb_op_stats[LUO_NR_OPS];
extern const char * const luo_op_names[LUO_NR_OPS];

int luo_file_call(struct luo_file *lf, enum luo_op op, struct liveupdate_file_op_args *args);
int luo_call_stat(u64 token, struct liveupdate_file_op_args *args,
		  struct liveupdate_file_stat *stat);
bool luo_call_can_preserve(struct liveupdate_file_handler *handler, struct file *file);
int luo_flb_call(enum luo_op op, struct liveupdate_flb_op_args *args);

/* luo_flb.c */
const char *luo_flb_name(struct liveupdate_file_handler *handler, unsigned int nr);
bool luo_flbs_pin(struct liveupdate_file_handler *handler);
void luo_flbs_unpin(struct liveupdate_file_handler *handler);
void luo_flbs_unregister_all(struct liveupdate_file_handler *handler);
void luo_flbs_show(struct seq_file *s);

/* luo_flb_out.c */
int luo_flbs_preserve(struct liveupdate_file_handler *handler);
void luo_flbs_unpreserve(struct liveupdate_file_handler *handler);
u64 luo_flbs_serialize(void);
void luo_flbs_unserialize(void);

/* luo_flb_in.c */
const char *luo_flb_area_check(u64 pa, bool (*valid)(phys_addr_t pa, size_t size),
			       const struct luo_flb_header_ser **areap);
const char *luo_flb_ser_check(const struct luo_flb_ser *ser);
int luo_flbs_load(u64 flbs_pa);
int luo_flbs_retrieve(struct liveupdate_file_handler *handler);
void luo_flbs_finish(struct liveupdate_file_handler *handler);
void luo_flbs_finish_rest(void);
void luo_flbs_log_unfinished(void);

/* luo_depend.c */
int luo_dep_add(struct luo_file *on);
void luo_deps_del(struct luo_file *lf);

/* luo_query.c */
u64 luo_stat_bytes(const struct liveupdate_file_stat *stat);
int luo_file_stat(struct luo_file *lf, struct liveupdate_file_stat *stat);
enum liveupdate_file_state luo_file_state(struct luo_file *lf, unsigned int *error);
int luo_query_next_session(struct luo_ucmd *ucmd);
int luo_query_next_file(struct luo_ucmd *ucmd);
int luo_query_dry_run(struct luo_ucmd *ucmd);
void luo_query_show_fdinfo(struct seq_file *s, struct file *file);

/* luo_handler.c */

/* See "Locks" in luo_handler.c and luo_flb.c. */
extern struct rw_semaphore luo_handlers_lock;

bool luo_handler_is_registered(struct liveupdate_file_handler *handler);
struct liveupdate_file_handler *luo_handler_get_for_file(struct file *file);
struct liveupdate_file_handler *luo_handler_get_by_name(const char *compatible);
void luo_handler_put(struct liveupdate_file_handler *handler);
bool luo_handlers_discard(void);
int luo_object_add(struct luo_file *lf);
void luo_object_del(struct luo_file *lf);
bool luo_object_taken(struct liveupdate_file_handler *handler, struct file *file);
struct luo_file *luo_object_find_inode(struct liveupdate_session *session,
				       const struct inode *inode);
int luo_object_token(struct liveupdate_session *session, struct file *file, u64 *tokenp);

#endif /* _KERNEL_LIVEUPDATE_LUO_INTERNAL_H */
