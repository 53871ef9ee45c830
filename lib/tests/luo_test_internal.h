/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the test handler know of each other, see luo_test_main.c.
 */
#ifndef _LIB_TESTS_LUO_TEST_INTERNAL_H
#define _LIB_TESTS_LUO_TEST_INTERNAL_H

#include <linux/types.h>

#include "luo_test_handler_uapi.h"

struct file;
struct kho_vmalloc;
struct liveupdate_file_handler;
struct liveupdate_flb;

#define LUO_TEST_MAGIC		0x74736574206f756cULL

/* luo_test_rules.c */
int luo_test_obey(u64 tag, enum luo_test_op op);
int luo_test_add_rule(const struct luo_test_rule *rule);
int luo_test_note(char who, u64 tag, enum luo_test_op op, int result);
void luo_test_clear(void);
ssize_t luo_test_read(struct file *file, char __user *buf, size_t len, loff_t *pos);

/* luo_test_areas.c */
void *luo_test_area_make(u64 tag, unsigned long pages);
int luo_test_area_restore(u64 tag, unsigned long pages, const struct kho_vmalloc *preservation,
			  void **areap);

/* luo_test_fail.c */
int luo_test_ioctl_fail(struct luo_test_fail *cmd);

/* luo_test_flbs.c */
void luo_test_name_extra(void);
struct liveupdate_flb *luo_test_flb(unsigned int nr);
int luo_test_ioctl_flb(struct luo_test_flb *cmd);

/* luo_test_files.c */
struct liveupdate_file_handler *luo_test_handler(unsigned int nr);
int luo_test_ioctl_open(struct luo_test_file *desc);

#endif /* _LIB_TESTS_LUO_TEST_INTERNAL_H */
