# SPDX-License-Identifier: GPL-2.0
"""Reads the serial log of a VM: results of tests, and what a kernel must not say."""

import dataclasses
import re

import vm_races

# "<priority>[ seconds] text"; the facility (priority / 8) of /dev/kmsg is not 0.
LINE = re.compile(r"^(?:<(\d+)>)?\[\s*(\d+\.\d+)\](?:\[[^\]]*\])? (.*)$")

BAD = re.compile("|".join((
    r"\bWARNING:", r"\bBUG:", r"\bBUG at\b", r"\bOops\b", r"kernel BUG", r"\bKASAN:", r"\bUBSAN:", r"\bKFENCE:",
    r"\bKCSAN:", r"general protection fault", r"unable to handle", r"Unable to handle",
    r"Kernel panic", r"Call Trace", r"INFO: task .* blocked", r"blocked for more than",
    r"rcu.*detected (?:expedited )?stall", r"rcu.*(?:self-detected|kthread starved)", r"soft lockup", r"hard LOCKUP", r"possible circular locking",
    r"possible recursive locking", r"inconsistent lock state", r"suspicious RCU", r"possible deadlock",
    r"lockdep is turned off", r"held lock freed", r"sleeping function called", r"scheduling while atomic",
    r"unreferenced object", r"new suspected memory leak", r"Bad page (?:state|map|cache)",
    r"refcount_t:", r"list_(?:add|del) corruption", r"DEBUG_LOCKS_WARN_ON", r"Out of memory:",
    r"Kernel memory leak", r"double free", r"use-after-free", r"slab-out-of-bounds", r"Objects remaining",
    r"invoked oom-killer", r"page dumped because", r"nonzero _refcount", r"kmemleak: Cannot",
)))
# As the harness prints it: "# FILE.c:LINE:CASE:TEXT"
UNMET = re.compile(r"# (?:\S*/)?(\w+\.c:\d+:.*)")
HARMLESS = re.compile(r"Kernel memory leak detector initialized|kmemleak: Kernel memory leak detector")


@dataclasses.dataclass
class Case:
    """One line of KTAP."""

    stage: str
    name: str
    verdict: str  # pass, fail, skip


@dataclasses.dataclass
class Report:
    """What a log says."""

    cases: list = dataclasses.field(default_factory=list)
    problems: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    ktap: list = dataclasses.field(default_factory=list)
    unmet: list = dataclasses.field(default_factory=list)   # expectations, and what went with them
    warned: bool = False    # did a kernel say what it must not
    stages: int = 0

    @property
    def failed(self):
        """Is there anything that makes it no success?"""
        return bool(self.problems) or any(c.verdict == "fail" for c in self.cases)

    @property
    def maybe_luck(self):
        """Can it have failed for want of time alone?  What a kernel warns of is no luck."""
        return self.failed and not self.warned


def split(line):
    """(is it from user space, text) of a line of the log."""
    match = LINE.match(line)
    if not match:
        return False, line
    prio = int(match.group(1) or 0)
    return prio >= 8, match.group(3)


def parse(text, test, ours=()):
    """Judges the log of one test. ours: see vm_races."""
    rep = Report()
    allow = [re.compile(a) for a in test.allow]
    wants = set(test.wants)
    stage, plan, seen, end = "?", None, 0, None

    def close_plan():
        if plan is not None and seen != plan:
            rep.problems.append(f"stage {stage}: {plan} tests planned, {seen} reported")

    lines = [split(line) for line in text.replace("\r", "").split("\n")]
    others = vm_races.of_others(lines, ours)
    for num, (user, msg) in enumerate(lines):
        if num in others:
            rep.notes.append(f"stage {stage}, of the base kernel: {vm_races.title(msg)}")
            continue
        if not user:
            if BAD.search(msg) and not HARMLESS.search(msg) and not any(a.search(msg) for a in allow):
                rep.problems.append(f"kernel log, stage {stage}: {msg.strip()[:160]}")
                rep.warned = True
            wants -= {w for w in wants if re.search(w, msg)}
            continue
        if msg.startswith("luo-vm: BEGIN "):
            close_plan()
            plan, seen = None, 0
            stage = re.search(r"stage=(\S+)", msg).group(1)
            rep.stages += 1
            rep.ktap.append("# " + msg)
            continue
        if msg.startswith("luo-vm: END "):
            close_plan()
            plan = None
            end = msg
            continue
        if msg.startswith("luo-vm: "):
            rep.notes.append(msg[8:])
            continue
        rep.ktap.append(msg)
        if msg.startswith("# note: "):
            rep.notes.append(msg[8:])
        match = UNMET.match(msg)
        if match:
            rep.unmet.append(f"stage {stage}: {match.group(1)}")
        match = re.match(r"1\.\.(\d+)", msg)
        if match:
            close_plan()
            plan, seen = int(match.group(1)), 0
            if not plan:
                rep.problems.append(f"stage {stage}: no tests in it")
        match = re.match(r"(not )?ok (\d+)\s*(?:- )?(.*)$", msg)
        if match and plan is not None:
            seen += 1
            skip = re.search(r"#\s*SKIP\b", match.group(3))
            name = re.sub(r"\s*#.*", "", match.group(3)).strip()
            verdict = "fail" if match.group(1) else "skip" if skip else "pass"
            rep.cases.append(Case(stage, name, verdict))

    rep.problems += [f"kernel log: no line like '{w}'" for w in sorted(wants)]
    if "luo_kmemleak=" in test.append and not any(n.startswith("kmemleak scan: ") for n in rep.notes):
        rep.problems.append("nobody looked for leaks")
    _judge_end(rep, test, end)
    return rep


def _judge_end(rep, test, end):
    if not end:
        rep.problems.append("no end marker: the VM died on its way")
    else:
        stage = int(re.search(r"stage=(\d+)", end).group(1))
        if stage != test.stages:
            rep.problems.append(f"ended in stage {stage}, not {test.stages}")
        if "result=pass" not in end and not test.expect:
            rep.problems.append(end[8:])
    if not rep.cases:
        rep.problems.append("no test reported anything")
    failed = {c.name for c in rep.cases if c.verdict == "fail"}
    if test.expect:
        if failed != set(test.expect):
            rep.problems.append(f"meant to fail: {sorted(test.expect)}, failed: {sorted(failed)}")
        for case in rep.cases:
            if case.verdict == "fail" and case.name in test.expect:
                case.verdict = "pass"
