# SPDX-License-Identifier: GPL-2.0
"""The list of VM tests, read from the heads of the test programs.

A program says how it wants to be run in its head comment, one line per
configuration:

    vm-test: name=memfd stages=2 mem=2048 append="kho_scratch=64M,64M,64M"

Keys (all optional but name):
  name      what --test selects; "@debug" is appended for the debug kernel,
            "@kcsan" for the one that looks for data races
  stages    kernels that the program runs through, the first one included;
            debug-stages: fewer on the debug kernel, which takes ten times as long
  kernels   comma list of plain, debug, kcsan (not unless it is said)
  mem       guest memory in MiB;  debug-mem: the same on the debug kernel
  smp       CPUs, as QEMU wants it;  debug-smp: the same on the debug kernel (1: each
            one more costs a fifth of the time, and see vm_qemu.OWN_FAULTS)
  timeout   seconds on the plain kernel; the others get four times that
  append    words for the kernel command line; a word "-WORD" takes one off.
            luo_kmemleak: look for leaks when the last stage ends, on the debug kernel
  qemu      further QEMU options
  disk      MiB of an empty, writable disk with the serial "scratch"
  needs     comma list: "shell" (in the initramfs), "kexec-tools" (and a shell), "other" (a disk with
            the kernel that was not booted, serial "other"), "debian" (no initramfs,
            but the root file system that scripts/debian-image makes), "test-handler"
            (lib/tests/luo_test_handler.ko in /root, where it is a module), "gdb" (a
            debugger that looks into the guest, see vm_gdb.py)
  dma       devices with DMA that the host feeds and watches, see vm_dma.py
  iommu     options of the IOMMU that such a test has, as QEMU wants them
  profiles  comma list of 48_bits (page tables for addresses of 48 bits, not 39) and
            caching (caching mode): the test is run with each such IOMMU as well, on the
            plain kernel, and the profile is appended to its name
  modules   comma list of modules, by their path in the kernel's tree without ".ko",
            to be found in /lib/modules of the initramfs
  same      another test, run with this one: the traces of both must be the same,
            see vm_same.py
  poke      1: the host can damage the memory of the guest, see vm_poke.py
  icount    1: one virtual nanosecond per guest instruction
  allow     regular expression of kernel log lines that are no failure, with
            the reason in the comment above it
  wants     regular expression of a kernel log line that must come, for what is
            logged so late that the program cannot look for it
  expect    comma list of case names that must fail in this run and no others:
            a test of the test
"""

import dataclasses
import pathlib
import re
import shlex

HERE = pathlib.Path(__file__).resolve().parent
DIRS = (HERE, HERE.parent / "kho")
SHARED = {"luo_test_util.c", "luo_test_read.c", "luo_e1000e.c", "luo_nvme.c",
          "luo_vfio_util.c", "luo_gcov.c"}
NOT_TESTS = {"luo_init.c", *SHARED}

PROFILES = {"48_bits": "aw-bits=48", "caching": "caching-mode=on"}


@dataclasses.dataclass
class VmTest:
    """One VM run: a program, a kernel and a machine."""

    name: str
    source: pathlib.Path
    kernel: str = "plain"
    stages: int = 1
    mem: int = 2048
    smp: str = "1"
    timeout: float = 90
    append: str = ""
    qemu: str = ""
    disk: int = 0
    needs: tuple = ()
    modules: tuple = ()
    icount: bool = False
    poke: bool = False
    dma: tuple = ()
    iommu: str = ""
    same: str = ""
    allow: tuple = ()
    wants: tuple = ()
    expect: tuple = ()

    @property
    def ident(self):
        """Name as the user sees it."""
        return self.name + ("" if self.kernel == "plain" else f"@{self.kernel}")

    @property
    def guess(self):
        """About how many seconds it takes, for want of a time that was measured."""
        boot = {"plain": 2, "debug": 12, "kcsan": 4}[self.kernel]
        return self.stages * boot + self.timeout / (10 if self.kernel == "plain" else 20)

    @property
    def prog(self):
        """Name of the program in the guest."""
        return self.source.stem


def _parse(source, words):
    keys = {}
    for word in words:
        key, sep, val = word.partition("=")
        if not sep:
            raise SystemExit(f"{source}: vm-test: '{word}' is not key=value")
        if key in ("allow", "wants"):
            keys.setdefault(key, []).append(val)
        else:
            keys[key] = val
    runs = [(kernel, None) for kernel in keys.pop("kernels", "plain,debug").split(",")]
    runs += [("plain", profile) for profile in filter(None, keys.pop("profiles", "").split(","))]
    for kernel, profile in runs:
        k = dict(keys)
        test = VmTest(name=k.pop("name"), source=source, kernel=kernel)
        debug_mem = k.pop("debug-mem", None)
        debug_stages = int(k.pop("debug-stages", 0))
        for key in ("stages", "mem", "disk"):
            setattr(test, key, int(k.pop(key, getattr(test, key))))
        test.timeout = float(k.pop("timeout", test.timeout))
        if kernel != "plain":
            test.timeout *= 4
        if kernel == "debug":
            # KASAN has a byte for eight, and kmemleak looks through them all
            test.mem = int(debug_mem or (test.mem if test.mem > 1024 else 640))
        test.smp = k.pop("smp", test.smp)
        debug_smp = k.pop("debug-smp", "1")
        if kernel == "debug":
            test.smp = debug_smp
        test.append = k.pop("append", "")
        if kernel == "debug" and debug_stages:
            test.stages = debug_stages
            test.append += f" luo_last={debug_stages}"
        if kernel == "debug" and "luo_kmemleak" in test.append.split():
            # On where it looks for leaks, because it doubles what a boot takes
            test.append += f" -luo_kmemleak luo_kmemleak={test.stages}"
            if test.stages == 1:
                test.append += " kmemleak=on"
        test.qemu = k.pop("qemu", "")
        test.icount = k.pop("icount", "0") == "1"
        test.poke = k.pop("poke", "0") == "1"
        test.dma = tuple(filter(None, k.pop("dma", "").split(",")))
        test.iommu = k.pop("iommu", "")
        if profile:
            if profile not in PROFILES or test.iommu:
                raise SystemExit(f"{source}: vm-test: profile '{profile}' does not go here")
            test.name += f"_{profile}"
            test.iommu = PROFILES[profile]
        test.same = k.pop("same", "")
        test.needs = tuple(filter(None, k.pop("needs", "").split(",")))
        test.modules = tuple(filter(None, k.pop("modules", "").split(",")))
        test.expect = tuple(filter(None, k.pop("expect", "").split(",")))
        test.allow = tuple(k.pop("allow", ()))
        test.wants = tuple(k.pop("wants", ()))
        if k:
            raise SystemExit(f"{source}: vm-test: unknown keys {sorted(k)}")
        yield test


def sources():
    """All test programs."""
    found = []
    for folder in DIRS:
        found += [p for p in sorted(folder.glob("*.c")) if p.name not in NOT_TESTS]
    return found


def load():
    """All VM tests of all programs."""
    tests = []
    for source in sources():
        head = source.read_text(encoding="utf-8")
        for line in re.findall(r"^ \* vm-test:[ \t]*((?:.*\\\n)*.*)$", head, re.M):
            tests += _parse(source, shlex.split(line.replace("\\\n *", " ")))
    names = [t.ident for t in tests]
    double = {n for n in names if names.count(n) > 1}
    if double:
        raise SystemExit(f"vm-test: names used twice: {sorted(double)}")
    return tests
