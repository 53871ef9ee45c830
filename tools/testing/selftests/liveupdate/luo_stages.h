/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kselftest harness with stages: one program, one kernel per stage.
 *
 * A test belongs to the fixture stageN and runs in the N-th kernel.  What it
 * must not lose when it returns (a session fd, say) goes to luo_keep().
 */
#ifndef LUO_STAGES_H
#define LUO_STAGES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kselftest_harness.h"
#include "luo_test_util.h"

/* TCG on a loaded host is slow; the runner has the limit that matters. */
#define LUO_TEST(stage, name)	TEST_F_TIMEOUT(stage, name, 900)

#define LUO_STAGE(stage)					\
	FIXTURE(stage) { int dev; };				\
	FIXTURE_SETUP(stage)					\
	{							\
		self->dev = luo_open_dev();			\
		ASSERT_LE(0, self->dev) {			\
			TH_LOG("open %s: %d", LUO_DEV, self->dev); \
		}						\
	}							\
	FIXTURE_TEARDOWN(stage) { close(self->dev); }

#define LUO_STAGE_NODEV(stage)					\
	FIXTURE(stage) { int unused; };				\
	FIXTURE_SETUP(stage) { self->unused = 0; }		\
	FIXTURE_TEARDOWN(stage) { }

static int luo_stages_main(const struct luo_stages *stages)
{
	int last = luo_cmdline_num("luo_last", stages->last);
	int stage = luo_stage(), ret, status;
	char prog[] = "test", opt[] = "-f", fixture[16];
	char *argv[] = { prog, opt, fixture, NULL };
	pid_t pid;

	setlinebuf(stdout);
	setlinebuf(stderr);
	luo_keep_init();
	if (stages->before)
		stages->before(stage);

	/* The harness ends in exit(), but the way to the next kernel follows. */
	snprintf(fixture, sizeof(fixture), "stage%d", stage);
	pid = fork();
	if (!pid)
		exit(test_harness_run(3, argv));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	ret = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	if (ret || stage >= last)
		return ret;

	ret = stages->next ? stages->next(stage) : luo_kexec_next(NULL, NULL);
	printf("# no way from stage %d to the next: %d\n", stage, ret);
	return 1;
}

#endif /* LUO_STAGES_H */
