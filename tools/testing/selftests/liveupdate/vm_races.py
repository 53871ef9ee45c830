# SPDX-License-Identifier: GPL-2.0
"""Which data races that KCSAN reports are not ours.

The base kernel has races of its own, and a test with twelve threads finds another one
every few minutes.  What belongs to us is written by our functions alone, also where a
hook in the base kernel reads it; so a race that is ours has one of our functions in one
of its two stacks.  A report with no stack that can be read counts as ours.
"""

import re
import subprocess

# Where the base tree has directories that ours lie in; test programs are not in it
DIRS = ("kernel", "mm", "drivers", "lib", "arch")
FRAME = re.compile(r"^ ?(\w+)(?:\.[\w.]+)?\+0x[0-9a-f]+/0x[0-9a-f]+")
RACE = re.compile(r"\bBUG: KCSAN: (.*)")
ENDS = re.compile(r"^={20}|^Reported by Kernel Concurrency Sanitizer")
LONGEST = 200   # lines of a report, and of what else is printed meanwhile


def own_functions(build, repo):
    """Names of the functions in the objects of our files, in a kernel that was built there."""
    objects = []
    for folder in DIRS:
        for source in (repo / folder).glob("**/*.c"):
            objects.append((build / source.relative_to(repo)).with_suffix(".o"))
    objects = [str(o) for o in objects if o.exists()]
    if not objects:
        return frozenset()
    done = subprocess.run(["nm", "--defined-only", *objects], capture_output=True, text=True, check=True)
    names = re.findall(r"^[0-9a-f]+ [tTwW] (\w+)", done.stdout, re.M)
    return frozenset(names)


def of_others(lines, ours):
    """Numbers of the lines that begin reports in which none of ours has a part.

    lines: (is it from user space, text) of each; ours: names of functions, or none if they
    are not known.
    """
    found = set()
    for start, (user, text) in enumerate(lines):
        if user or not ours or not RACE.search(text):
            continue
        frames = []
        for from_user, line in lines[start + 1:start + LONGEST]:
            if from_user:
                continue
            if ENDS.search(line):
                break
            frames += FRAME.findall(line)
        if frames and not ours.intersection(frames):
            found.add(start)
    return found


def title(text):
    """What such a line says."""
    return RACE.search(text).group(1).strip()
