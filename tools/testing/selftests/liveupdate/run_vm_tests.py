#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the live update selftests in VMs, around real kexecs.

Every test is a static program in an initramfs, booted by QEMU; the kernel and
the initramfs that it jumps to are attached as read-only disks.  A run passes
when every case of every stage passed, the guest said its last words, and no
kernel on the way logged a warning.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import sys
import threading
import time

sys.dont_write_bytecode = True

import vm_dma  # noqa: E402
import vm_coverage  # noqa: E402
import vm_gdb  # noqa: E402
import vm_image  # noqa: E402
import vm_log  # noqa: E402
import vm_poke  # noqa: E402
import vm_qemu  # noqa: E402
import vm_races  # noqa: E402
import vm_same  # noqa: E402
import vm_tests  # noqa: E402

REPO = vm_image.REPO
TAIL = 30
# More than so many that fail are no bad luck
AGAIN = 3
TEST_HANDLER = "lib/tests/luo_test_handler.ko"
print_lock = threading.Lock()


def say(*args):
    """Prints whole lines, whoever else is printing."""
    with print_lock:
        print(*args, flush=True)


def options():
    """Command line."""
    par = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    par.add_argument("--kernel", type=pathlib.Path, default=REPO / "out/x86_64",
                     help="directory with bzImage and config (default: %(default)s)")
    par.add_argument("--debug-kernel", type=pathlib.Path, default=REPO / "out/x86_64-debug",
                     help="the same, with debugging on (default: %(default)s)")
    par.add_argument("--kcsan-kernel", type=pathlib.Path, default=REPO / "out/x86_64-kcsan",
                     help="the same, for data races (default: %(default)s)")
    par.add_argument("--ksrc", type=pathlib.Path, default=REPO / "out/linux",
                     help="kernel tree with kselftest_harness.h (default: %(default)s)")
    par.add_argument("--out", type=pathlib.Path, default=REPO / "out/selftests",
                     help="logs, images and timings (default: %(default)s)")
    par.add_argument("-j", "--jobs", type=int, default=2, help="VMs at a time")
    par.add_argument("--test", action="append", default=[], metavar="NAME",
                     help="run this test, or all whose name contains NAME; can be repeated")
    par.add_argument("--list", action="store_true", help="name the tests")
    par.add_argument("--demo", action="store_true", help="two live updates, told as they happen")
    par.add_argument("--shell", action="store_true", help="a shell in the VM")
    par.add_argument("--timeout-scale", type=float, default=1.0, help="multiplies every time limit")
    par.add_argument("--again", action="store_true",
                     help="run up to %d tests that failed once more, with nothing beside them, and say so; "
                          "not those whose kernels warned of something" % AGAIN)
    par.add_argument("--append", default="", help="further words for the kernel command line")
    par.add_argument("--coverage", action="store_true",
                     help="say which lines were reached also when not all tests run")
    par.add_argument("--file", type=pathlib.Path, action="append", default=[],
                     help="put this file into the guest, in /root")
    return par.parse_args()


def select(tests, patterns):
    """Exact names first, substrings otherwise."""
    if not patterns:
        return tests
    chosen = []
    for pat in patterns:
        exact = [t for t in tests if t.ident == pat]
        exact = exact or [t for t in tests if t.name == pat] or [t for t in tests if pat in t.ident]
        if not exact:
            raise SystemExit(f"no test is called {pat}; --list names them")
        chosen += [t for t in exact if t not in chosen]
    partners = {t.same for t in chosen}
    return chosen + [t for t in tests if t.name in partners and t not in chosen]


class Runner:
    """Everything that the tests of one invocation share."""

    def __init__(self, opt):
        self.opt = opt
        self.out = opt.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.kernels = {}
        self.modules = {}
        for name, folder in (("plain", opt.kernel), ("debug", opt.debug_kernel),
                             ("kcsan", opt.kcsan_kernel)):
            if (folder / "bzImage").exists():
                self.kernels[name] = self.snapshot(name, folder / "bzImage")
                self.modules[name] = [p for p in (folder / TEST_HANDLER,) if p.exists()]
        self.times_file = self.out / "times.json"
        try:
            self.times = json.loads(self.times_file.read_text())
        except (OSError, ValueError):
            self.times = {}
        self.binaries = {}
        self.failed = []
        self.ours = vm_races.own_functions(opt.kcsan_kernel, REPO) if "kcsan" in self.kernels else ()
        self.debian = None
        self.coverage = vm_coverage.Coverage(opt.debug_kernel.resolve(), REPO)
        self.totals = {"pass": 0, "fail": 0, "skip": 0}
        self.records = []

    def snapshot(self, name, image):
        """A copy in whole disk sectors, which a build in the meantime leaves alone."""
        data = image.read_bytes()
        copy = self.out / f"bzImage-{name}"
        tmp = copy.with_suffix(f".{os.getpid()}")
        tmp.write_bytes(data + b"\0" * (-len(data) % 4096))
        tmp.rename(copy)
        return copy

    def build(self, sources):
        """Compiles the programs."""
        self.binaries = vm_image.build_programs(sources, self.out / "bin", self.opt.ksrc.resolve(),
                                                os.cpu_count() or 2)

    def prepare(self, test, append=""):
        """Work directory and QEMU command line of a test."""
        work = self.out / test.ident
        work.mkdir(parents=True, exist_ok=True)
        initrd = work / "initrd.cpio"
        progs = [test.prog] if test.prog in self.binaries else []
        counts = work / "gcov.img" if self.coverage.wants(test) else None
        debian = self.debian if "debian" in test.needs else None
        files = list(self.opt.file)
        if "test-handler" in test.needs:
            files += self.modules[test.kernel]
        if debian:
            vm_image.share(work / "share", progs, self.binaries)
        else:
            folder = self.opt.debug_kernel if test.kernel == "debug" else self.opt.kernel
            vm_image.pack(initrd, progs, self.binaries, test.needs,
                          files, [folder / f"{name}.ko" for name in test.modules])
        return work, vm_qemu.command(test, self.kernels, initrd, work, f"{append} {self.opt.append}", debian,
                                      counts)

    def missing(self, test):
        """Why a test cannot run, or None."""
        need = {test.kernel}
        if "other" in test.needs:
            need |= {"plain", "debug"}
        lack = need - self.kernels.keys()
        return f"no {' or '.join(sorted(lack))} kernel" if lack else None

    def run_one(self, test):
        """Runs a test and prints its line."""
        why = self.missing(test)
        if why:
            say(f"skip                        {test.ident}: {why}")
            self.totals["skip"] += 1
            self.records.append({"test": test.ident, "result": "skip", "why": why})
            return
        for _ in range(vm_qemu.TRIES):
            work, rep, took, reason = self.attempt(test)
            if not vm_qemu.failed_itself(reason):
                break
            say(f"again                       {test.ident}: {reason}")
        self.coverage.add(work / "gcov.img")
        if self.opt.again and rep.maybe_luck:
            with print_lock:
                self.failed.append((test, rep, took))
            return
        self.account(test, rep, took, work / "console.log")

    def run_failed_again(self):
        """Those that failed while others ran beside them.  What fails twice has failed."""
        few = len(self.failed) <= AGAIN
        for test, rep, took in self.failed:
            log = self.out / test.ident / "console.log"
            if few:
                log.rename(log.with_name("console-first.log"))
                for why in (rep.problems + rep.unmet)[:8]:
                    say(f"again                       {test.ident}: {why}")
                work, rep, took, _ = self.attempt(test)
                self.coverage.add(work / "gcov.img")
            self.account(test, rep, took, log)
        return [test.ident for test, *_ in self.failed] if few else []

    def attempt(self, test):
        """Runs it once.  Returns (work directory, report, seconds it took, why it was ended)."""
        work, cmd = self.prepare(test, vm_dma.APPEND if test.dma else "")
        log = work / "console.log"
        bench = vm_dma.Bench(test, work, vm_qemu.ram_file(work)) if test.dma else None
        if bench:
            cmd += bench.qemu()
        debugger = vm_gdb.Debugger(self.opt.kernel, self.opt.ksrc, work) if "gdb" in test.needs else None
        if debugger:
            cmd += debugger.qemu()
        poker = vm_poke.Poker(vm_qemu.ram_file(work)) if test.poke else None

        def on_line(line):
            user, msg = vm_log.split(line)
            if poker and user:
                poker.line(msg)
            if bench:
                bench.line(user, msg)

        reason, secs, cpu = vm_qemu.run(cmd, log, test.timeout * self.opt.timeout_scale,
                                        on_line if poker or bench else None)
        text = log.read_text(errors="replace")
        rep = vm_log.parse(text, test, self.ours if test.kernel == "kcsan" else ())
        if reason:
            rep.problems.insert(0, reason)
        if poker:
            poker.end()
            rep.problems += [f"{kind}: nothing found to damage" for kind, hits in poker.hits if not hits]
        if bench:
            problems, notes = bench.end()
            rep.problems += problems
            rep.notes += notes
            if bench.proc and bench.proc.poll() is None:
                rep.problems.append("the sender outlives its test")
        if debugger:
            rep.problems += debugger.end()
        vm_qemu.ram_file(work).unlink(missing_ok=True)
        (work / "ktap").write_text("\n".join(rep.ktap) + "\n")
        (work / "scratch.img").unlink(missing_ok=True)
        return work, rep, (secs, cpu), reason

    def account(self, test, rep, took, log):
        """Counts and prints the outcome of a test."""
        secs, cpu = took
        text = log.read_text(errors="replace")
        count = {v: sum(c.verdict == v for c in rep.cases) for v in self.totals}
        if rep.problems and not count["fail"]:
            count["fail"] = 1
        bad = rep.failed
        last = self.times.get(test.ident)
        lines = [f"{'FAIL' if bad else 'ok  '} {secs:7.1f} s (last {f'{last:.1f}' if last else '-':>6}, CPU {cpu:.1f}) "
                 f"{test.ident}: {count['pass']} of {sum(count.values())} cases, "
                 f"{rep.stages} kernel{'s' * (rep.stages != 1)}"]
        lines += [f"       {n}" for n in rep.notes]
        if bad:
            lines += [f"     ! {c.name} (stage {c.stage})" for c in rep.cases if c.verdict == "fail"]
            lines += [f"     ! {p}" for p in rep.problems[:12]]
            lines += [f"     # {u}" for u in rep.unmet[:12]]
            lines += [f"     | {ln}" for ln in text.replace("\r", "").rstrip().split("\n")[-TAIL:]]
            lines += [f"     log: {log}"]
        say("\n".join(lines))
        with print_lock:
            for key, num in count.items():
                self.totals[key] += num
            if not bad:
                self.times[test.ident] = round(secs, 1)
            self.records.append({
                "test": test.ident, "result": "fail" if bad else "pass", "seconds": round(secs, 1),
                "cpu_seconds": round(cpu, 1),
                "cases": [[c.stage, c.name, c.verdict] for c in rep.cases],
                "problems": rep.problems, "unmet": rep.unmet, "notes": rep.notes})

    def run_all(self, tests):
        """Runs tests, the longest first, so that all VMs end together.  Returns the exit status."""
        start = time.monotonic()
        tests = sorted(tests, key=lambda t: -self.times.get(t.ident, t.guess))
        with concurrent.futures.ThreadPoolExecutor(max(1, self.opt.jobs)) as pool:
            for job in [pool.submit(self.run_one, t) for t in tests]:
                job.result()
        again = self.run_failed_again()
        for test in tests:
            if test.same and not self.missing(test):
                self.compare(test)
        if self.opt.coverage or not self.opt.test:
            self.report_coverage()
        self.times_file.write_text(json.dumps(self.times, indent=1, sort_keys=True))
        (self.out / "results.json").write_text(json.dumps(self.records, indent=1))
        failed = {r["test"]: r for r in self.records if r["result"] == "fail"}
        print(f"{len(tests)} VM tests in {time.monotonic() - start:.0f} s"
              + (f", run twice: {' '.join(sorted(again))}" if again else "")
              + (f", failed: {' '.join(sorted(failed))}" if failed else ""))
        for name, rec in sorted(failed.items()):
            # Once more, for those who see only the end of what was printed
            for why in rec.get("problems", [])[:3] + rec.get("unmet", [])[:5]:
                print(f"     ! {name}: {why}")
        print("{pass} passed, {fail} failed, {skip} skipped".format(**self.totals))
        return 1 if self.totals["fail"] else 0

    def compare(self, test):
        """Did the machines of two tests see the same?"""
        problems, notes = vm_same.compare(self.out / test.ident / "trace.log",
                                          self.out / test.same / "trace.log")
        name = f"{test.ident} and {test.same}"
        print("\n".join([f"{'FAIL' if problems else 'ok  '} {name}: {'; '.join(notes)}",
                         *(f"     ! {p}" for p in problems)]), flush=True)
        self.totals["fail" if problems else "pass"] += 1
        self.records.append({"test": name, "result": "fail" if problems else "pass",
                             "problems": problems, "notes": notes})

    def report_coverage(self):
        """Which lines no test reached; too few of them is a failure."""
        if "debug" not in self.kernels:
            return
        text, good = self.coverage.report(self.out.parent / "coverage")
        print(f"{'ok  ' if good else 'FAIL'} coverage: {text}", flush=True)
        self.totals["pass" if good else "fail"] += 1
        self.records.append({"test": "coverage", "result": "pass" if good else "fail", "notes": [text]})

    def demo_one(self, test, tell):
        """Runs a test and repeats what it tells.  Returns whether all went well."""
        work, cmd = self.prepare(test, vm_dma.APPEND if test.dma else "")
        log = work / "console.log"
        bench = vm_dma.Bench(test, work, vm_qemu.ram_file(work)) if test.dma else None
        if bench:
            cmd += bench.qemu()

        def on_line(line):
            user, msg = vm_log.split(line)
            if bench:
                bench.line(user, msg)
            if user and msg.startswith("demo: "):
                tell(msg[6:])

        reason, secs, _ = vm_qemu.run(cmd, log, test.timeout * self.opt.timeout_scale, on_line)
        text = log.read_text(errors="replace")
        rep = vm_log.parse(text, test)
        problems = ([reason] if reason else []) + rep.problems
        problems += [f"failed: {c.name}" for c in rep.cases if c.verdict != "pass"]
        if bench:
            found, notes = bench.end()
            problems += found
            for note in notes:
                tell(f"  {note}")
            vm_qemu.ram_file(work).unlink(missing_ok=True)
        tell(f"{secs:.1f} s in the VM; log: {log}")
        if problems:
            for line in text.replace("\r", "").rstrip().split("\n")[-TAIL:]:
                tell(f"| {line}")
            for prob in problems:
                tell(f"! {prob}")
        return not problems

    def demo(self, tests):
        """Memory first, then a device: two VMs side by side, told of one after the other."""
        told = [queue.SimpleQueue() for _ in tests]

        def one(test, lines):
            try:
                return self.demo_one(test, lines.put)
            finally:
                lines.put(None)

        with concurrent.futures.ThreadPoolExecutor(max(1, self.opt.jobs)) as pool:
            jobs = [pool.submit(one, test, lines) for test, lines in zip(tests, told)]
            for lines in told:
                for line in iter(lines.get, None):
                    print(line, flush=True)
        good = all(job.result() for job in jobs)
        print("PASS" if good else "FAIL")
        return 0 if good else 1


def main():
    """Entry point."""
    opt = options()
    # So that threads that follow a VM hardly wait for one that adds up counters
    sys.setswitchinterval(0.0002)
    tests = vm_tests.load()
    if opt.list:
        for test in tests:
            print(f"{test.ident:32} {test.stages} stages, {test.mem} MiB, {test.prog}")
        return 0

    run = Runner(opt)
    if not run.kernels:
        raise SystemExit(f"no bzImage in {opt.kernel} or {opt.debug_kernel}")
    try:
        if opt.shell:
            run.build([])
            kernel = "plain" if "plain" in run.kernels else "debug"
            test = vm_tests.VmTest("shell", pathlib.Path("shell.c"), kernel=kernel, needs=("kexec-tools",))
            _, cmd = run.prepare(test)
            return vm_qemu.interactive(cmd)
        if opt.demo:
            tests = [t for t in tests if t.name in ("demo", "vfio") and t.kernel == "plain"]
            run.build([t.source for t in tests])
            return run.demo(tests)
        tests = select(tests, opt.test)
        run.build(sorted({t.source for t in tests}))
        if any("debian" in t.needs for t in tests):
            run.debian = vm_image.debian_image()
        return run.run_all(tests)
    except vm_image.BuildError as err:
        raise SystemExit(str(err)) from err


if __name__ == "__main__":
    sys.exit(main())
