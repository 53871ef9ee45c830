#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""prepare and refresh on a toy tree: the round trip, and no edit is lost."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOOKED = "".join("line %d\n" % n for n in range(40))


class OverlayTest(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.top)
        shutil.copytree(SCRIPTS, os.path.join(self.top, "scripts"))
        self.write("base/Makefile", "VERSION = 6\nPATCHLEVEL = 12\n")
        self.write("base/mm/shmem.c", HOOKED)
        self.write("base/kernel/fork.c", HOOKED)
        self.write("base/MAINTAINERS",
                   "head\n\nAAA\nM:\ta\n\nZZZ\nM:\tz\n\nTHE REST\nM:\tr\n")
        self.write("MAINTAINERS", "KKK\nM:\tk\n")
        self.write("patches/series", "shmem.patch mm/\nrest.patch *\n")
        self.write("mm/ours.c", "ours\n")
        self.write(".gitignore", "/out/\n/base/\n")
        subprocess.run(["git", "init", "-q", self.top], check=True)

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def tool(self, *args, fails=False):
        done = subprocess.run(
            [self.path("scripts/" + args[0])] + list(args[1:]),
            env=dict(os.environ, KSRC=self.path("base")),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode()
        self.assertEqual(bool(done.returncode), fails, text)
        return text

    def hook(self, name="mm/shmem.c", extra="hook\n"):
        self.write("out/linux/" + name,
                   HOOKED.replace("line 20\n", "line 20\n" + extra))

    def test_prepare_copies_overlay_and_merges_maintainers(self):
        self.tool("prepare")
        self.assertEqual(self.read("out/linux/mm/ours.c"), "ours\n")
        text = self.read("out/linux/MAINTAINERS")
        self.assertLess(text.index("AAA"), text.index("KKK"))
        self.assertLess(text.index("KKK"), text.index("ZZZ"))
        self.tool("refresh", "--check")

    def test_round_trip_of_a_hook_and_a_new_file(self):
        self.tool("prepare")
        self.hook()
        self.hook("kernel/fork.c")
        self.write("out/linux/kernel/liveupdate/new.c", "new\n")
        self.tool("refresh", "--check", fails=True)
        self.tool("refresh")
        self.assertIn("+hook", self.read("patches/shmem.patch"))
        self.assertIn("kernel/fork.c", self.read("patches/rest.patch"))
        self.assertEqual(self.read("kernel/liveupdate/new.c"), "new\n")
        before = self.read("patches/shmem.patch")
        shutil.rmtree(self.path("out"))
        self.tool("prepare")
        self.assertIn("hook\n", self.read("out/linux/mm/shmem.c"))
        self.tool("refresh")
        self.assertEqual(self.read("patches/shmem.patch"), before)

    def test_header_of_a_patch_survives(self):
        self.tool("prepare")
        self.hook()
        self.tool("refresh")
        _, diff = self.read("patches/shmem.patch").split("diff ", 1)
        self.write("patches/shmem.patch", "Because.\n\ndiff " + diff)
        self.tool("prepare")
        self.hook(extra="other hook\n")
        self.tool("refresh")
        text = self.read("patches/shmem.patch")
        self.assertTrue(text.startswith("Because.\n\ndiff "), text)
        self.assertIn("other hook", text)

    def test_prepare_keeps_an_edit_and_writes_only_what_changed(self):
        self.tool("prepare")
        self.hook()
        time_before = os.stat(self.path("out/linux/mm/ours.c")).st_mtime_ns
        self.write("kernel/two.c", "two\n")
        self.tool("prepare")
        self.assertIn("hook\n", self.read("out/linux/mm/shmem.c"))
        self.assertEqual(self.read("out/linux/kernel/two.c"), "two\n")
        self.assertEqual(
            os.stat(self.path("out/linux/mm/ours.c")).st_mtime_ns, time_before)

    def test_edits_on_both_sides_are_refused(self):
        self.tool("prepare")
        self.write("out/linux/mm/ours.c", "tree\n")
        self.write("mm/ours.c", "repository\n")
        self.write("mm/unrelated.c", "unrelated\n")
        for tool in "prepare", "refresh":
            self.assertIn("mm/ours.c", self.tool(tool, fails=True))
        self.assertEqual(self.read("out/linux/mm/ours.c"), "tree\n")
        self.assertEqual(self.read("mm/ours.c"), "repository\n")
        self.assertFalse(os.path.exists(
            self.path("out/linux/mm/unrelated.c")))

    def test_a_patch_from_elsewhere_does_not_overwrite_an_edit(self):
        self.tool("prepare")
        self.hook()
        self.tool("refresh")
        self.hook(extra="edit\n")
        self.write("patches/shmem.patch", self.read("patches/shmem.patch")
                   .replace("+hook", "+pulled"))
        self.assertIn("mm/shmem.c", self.tool("prepare", fails=True))
        self.assertIn("edit\n", self.read("out/linux/mm/shmem.c"))

    def test_what_leaves_the_repository_leaves_the_tree(self):
        self.tool("prepare")
        self.hook()
        self.tool("refresh")
        os.unlink(self.path("patches/shmem.patch"))
        os.unlink(self.path("mm/ours.c"))
        self.tool("prepare")
        self.assertEqual(self.read("out/linux/mm/shmem.c"), HOOKED)
        self.assertFalse(os.path.exists(self.path("out/linux/mm/ours.c")))
        self.tool("refresh", "--check")

    def test_a_hook_taken_out_by_hand_leaves_the_patch(self):
        self.tool("prepare")
        self.hook()
        self.hook("mm/shmem.c")
        self.tool("refresh")
        self.write("out/linux/mm/shmem.c", HOOKED)
        self.tool("refresh")
        self.assertFalse(os.path.exists(self.path("patches/shmem.patch")))

    def test_an_edited_file_removed_from_the_repository_is_kept(self):
        self.tool("prepare")
        self.write("out/linux/mm/ours.c", "edited\n")
        os.unlink(self.path("mm/ours.c"))
        self.assertIn("mm/ours.c", self.tool("prepare", fails=True))
        self.assertEqual(self.read("out/linux/mm/ours.c"), "edited\n")

    def test_what_was_built_in_the_tree_is_not_source(self):
        self.tool("prepare")
        self.write("out/linux/tools/testing/selftests/x/test", "\x7fELF")
        self.write("out/linux/mm/ours.o", "object")
        self.tool("refresh", "--check")

    def test_another_base_does_not_replace_a_tree_with_edits(self):
        self.tool("prepare")
        self.hook()
        time.sleep(1.1)
        os.utime(self.path("base/Makefile"))
        self.assertIn("make refresh", self.tool("prepare", fails=True))
        self.assertIn("hook\n", self.read("out/linux/mm/shmem.c"))
        self.tool("refresh")
        self.tool("prepare")
        self.assertIn("hook\n", self.read("out/linux/mm/shmem.c"))

    def test_a_patch_stays_as_it_is_on_another_base(self):
        self.tool("prepare")
        self.hook()
        self.tool("refresh")
        before = self.read("patches/shmem.patch")
        shutil.rmtree(self.path("out"))
        self.write("base/mm/shmem.c", "other\n" + HOOKED)
        self.tool("prepare")
        self.assertIn("hook\n", self.read("out/linux/mm/shmem.c"))
        self.tool("refresh", "--check")
        self.tool("refresh")
        self.assertEqual(self.read("patches/shmem.patch"), before)

    def test_a_file_changes_its_patch_with_the_series(self):
        self.tool("prepare")
        self.hook()
        self.tool("refresh")
        self.write("patches/series", "new.patch mm/shmem.c\n"
                   "shmem.patch mm/\nrest.patch *\n")
        self.tool("refresh")
        self.assertIn("+hook", self.read("patches/new.patch"))
        self.assertFalse(os.path.exists(self.path("patches/shmem.patch")))

    def test_a_base_that_is_not_6_12_is_refused(self):
        self.write("base/Makefile", "VERSION = 6\nPATCHLEVEL = 13\n")
        self.assertIn("6.12", self.tool("prepare", fails=True))


if __name__ == "__main__":
    unittest.main()
