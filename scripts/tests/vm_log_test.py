#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the runner of the VM tests makes of a log: what must fail does."""
import os
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tools/testing/selftests/liveupdate"))
sys.dont_write_bytecode = True

import vm_log  # noqa: E402
import vm_races  # noqa: E402
import vm_tests  # noqa: E402

OURS = frozenset({"luo_session_close", "memfd_luo_folio_ready"})
HEAD = """<13>[    1.000000] luo-vm: BEGIN stage=1
<13>[    1.100000] 1..1
"""
CASE = "<13>[    1.200000] ok 1 stage1.something\n"
END = "<13>[    2.000000] luo-vm: END stage=1 result=pass code=0\n"
RACE = """<3>[    1.300000] ==================================================================
<3>[    1.300001] BUG: KCSAN: data-race in {0} / shmem_fault
<3>[    1.300002]
<3>[    1.300003] write to 0xffff888004a6c3a8 of 8 bytes by task 91 on cpu 1:
<4>[    1.300004]  {0}+0x105/0x6f0
<13>[    1.300005] # from user space, meanwhile
<4>[    1.300006]  {1}+0x2a1/0x470
<4>[    1.300007]  do_syscall_64+0x54/0x120
<3>[    1.300008]
<3>[    1.300009] read to 0xffff888004a6c3a8 of 8 bytes by task 92 on cpu 0:
<4>[    1.300010]  shmem_fault+0x6e/0x320
<4>[    1.300011]  {2}+0x2f/0x100
<3>[    1.300012]
<3>[    1.300013] Reported by Kernel Concurrency Sanitizer on:
<4>[    1.300014]  luo_session_close+0x1/0x2
<3>[    1.300015] ==================================================================
"""


def judge(text, ours=(), **keys):
    test = vm_tests.VmTest("test", None, **keys)
    return vm_log.parse(text, test, ours)


class LogTest(unittest.TestCase):
    def test_good(self):
        rep = judge(HEAD + CASE + END)
        self.assertFalse(rep.failed)
        self.assertFalse(rep.maybe_luck)
        self.assertEqual([c.verdict for c in rep.cases], ["pass"])

    def test_failed_case(self):
        rep = judge(HEAD + "<13>[    1.150000] # luo_x.c:9:something:Expected 1 (1) == 2 (2)\n" +
                    CASE.replace("ok 1", "not ok 1") + END)
        self.assertTrue(rep.failed)
        self.assertTrue(rep.maybe_luck)
        self.assertEqual(len(rep.unmet), 1)

    def test_ends_too_soon(self):
        self.assertTrue(judge(HEAD + CASE).failed)
        self.assertTrue(judge(HEAD + END).failed)
        self.assertTrue(judge(HEAD + CASE + END, stages=2).failed)
        self.assertTrue(judge(END).failed)

    def test_warning(self):
        for line in ("WARNING: CPU: 0 PID: 1 at kernel/fork.c:1 fork+0x1/0x2",
                     "BUG: KASAN: slab-use-after-free in luo_x+0x1/0x2",
                     "unreferenced object 0xffff888004a6c3a8 (size 16):"):
            with self.subTest(line):
                text = HEAD + f"<4>[    1.150000] {line}\n" + CASE + END
                self.assertTrue(judge(text).failed)
                self.assertFalse(judge(text).maybe_luck)
                self.assertTrue(judge(text, OURS).failed)
                self.assertFalse(judge(text, allow=("fork", "KASAN", "unref")).failed)

    def test_user_space_may_say_it(self):
        self.assertFalse(judge(HEAD + "<13>[    1.150000] # WARNING: of a test\n" + CASE + END).failed)

    def race(self, *names, ours=OURS):
        return judge(HEAD + RACE.format(*names) + CASE + END, ours)

    def test_race_of_others(self):
        rep = self.race("shmem_fallocate", "vfs_fallocate", "__do_fault")
        self.assertFalse(rep.failed)
        self.assertIn("stage 1, of the base kernel: data-race in shmem_fallocate / shmem_fault", rep.notes)

    def test_race_of_ours(self):
        for names in (("luo_session_close", "__fput", "__do_fault"),
                      ("shmem_fallocate", "memfd_luo_folio_ready.constprop.0", "__do_fault"),
                      ("shmem_fallocate", "vfs_fallocate", "memfd_luo_folio_ready.isra.0")):
            with self.subTest(names):
                rep = self.race(*names)
                self.assertTrue(rep.failed)
                self.assertFalse(rep.maybe_luck)

    def test_race_of_unknown(self):
        self.assertTrue(self.race("shmem_fallocate", "vfs_fallocate", "__do_fault", ours=()).failed)
        text = HEAD + "<3>[    1.300000] BUG: KCSAN: data-race in a / b\n" + CASE + END
        self.assertTrue(judge(text, OURS).failed)

    def test_own_functions_need_a_build(self):
        self.assertEqual(vm_races.own_functions(vm_tests.HERE / "no-such-build", vm_tests.HERE.parents[3]),
                         frozenset())


if __name__ == "__main__":
    unittest.main()
