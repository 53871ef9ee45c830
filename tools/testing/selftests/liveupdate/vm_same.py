# SPDX-License-Identifier: GPL-2.0
"""Compares what two boots did to PCI devices and to the IOMMU, by QEMU's traces.

A test with "same=NAME" and the test of that name trace

    pci_cfg_write     writes to config space
    vtd_reg_write*    writes to registers of the IOMMU
    vtd_inv_desc_*    commands that its queue was given

The writes must be the same, in the same order, for each device; so must be the commands
for each domain, those for each interrupt, and the registers.

Not compared is
  - where the kernel got memory for tables of the IOMMU, which is another place when some
    is set aside: the addresses in RTADDR, IQA and IRTA (but the bits below them are), and
    that of the status which a wait descriptor has written;
  - what comes first of two devices, of domains or of interrupts, since drivers probe at
    the same time.
"""

import collections
import itertools
import re

CONFIG = re.compile(r"pci_cfg_write \S+ ([0-9a-f:.]+) @(0x[0-9a-f]+) <- (0x[0-9a-f]+)")
REGISTER = re.compile(r"vtd_reg_write (addr (0x[0-9a-f]+) size 0x[0-9a-f]+ value )(0x[0-9a-f]+)")
COMMAND = re.compile(r"vtd_inv_desc_(\w+) (.*)")
OF = re.compile(r"domain 0x[0-9a-f]+|index 0x[0-9a-f]+")
PLACES = {"0x20", "0x90", "0xb8"}
LOW_BITS = 0xfff


def read(path):
    """{what it was done to: [what was done]} of a trace."""
    done = collections.defaultdict(list)
    with open(path, encoding="ascii", errors="replace") as src:
        for line in src:
            match = CONFIG.search(line)
            if match:
                done[match.group(1)].append(f"{match.group(2)} <- {match.group(3)}")
            match = REGISTER.search(line)
            if match:
                val = int(match.group(3), 16)
                val &= LOW_BITS if match.group(2) in PLACES else -1
                done["IOMMU"].append(f"{match.group(1)}{val:#x}")
            match = COMMAND.search(line)
            if match and match.group(1).startswith("wait"):
                done["IOMMU, waits"].append(match.group(1))
            elif match:
                of = OF.search(match.group(2))
                done[f"IOMMU, {of.group() if of else 'all'}"].append(f"{match.group(1)}: {match.group(2)}")
    return done


def compare(one, other):
    """(problems, notes) of the traces of two boots."""
    one, other = read(one), read(other)
    problems = []
    for who in sorted(one.keys() | other.keys()):
        pairs = itertools.zip_longest(one[who], other[who], fillvalue="nothing")
        num, (a, b) = next(((n, p) for n, p in enumerate(pairs) if p[0] != p[1]), (0, (0, 0)))
        if a != b:
            problems.append(f"{who}: number {num} is {a}, and was {b}; "
                            f"{len(one[who])} in all, and were {len(other[who])}")
    count = collections.Counter()
    for who, done in one.items():
        count["devices"] += not who.startswith("IOMMU")
        count[who.partition(",")[0] if who.startswith("IOMMU") else "config"] += len(done)
    if not count["config"] or not count["IOMMU"]:
        problems.append("nothing was traced")
    return problems, [f"{count['config']} config writes to {count['devices']} devices, and "
                      f"{count['IOMMU']} register writes and commands of the IOMMU"]
