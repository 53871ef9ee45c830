# SPDX-License-Identifier: GPL-2.0
"""Which lines of our part of the kernel the tests reached.

The debug kernel counts how often each line of our files ran (gcov).  A guest
saves the counters before each jump and before it ends, luo_gcov.c, on a disk
with the serial "gcov".  They are added up here over all kernels of all tests;
gcov(1) then tells lines from that.  What a kernel does after the last save, the
way from reboot() to the jump, is not in it.
"""

import collections
import json
import pathlib
import re
import struct
import subprocess
import threading

MAGIC = b"LUOGCOV1"
BLOCK = 512
TAG_FUNCTION = 0x01000000
TAG_ARCS = 0x01a10000
# Per cent. All tests together reach 91.
LIMIT = 90.0
OURS = re.compile(r"(?:^|/)((?:kernel/liveupdate|mm)/[^/]*\.[ch])$")


def _counters(data):
    """(offset, length) of the arc counters in a .gcda file; lengths are bytes from GCC 12 on."""
    magic, version, _stamp = struct.unpack_from("<III", data)
    if magic != 0x67636461:
        raise ValueError("no .gcda file")
    letters = version.to_bytes(4, "big").decode("ascii", "replace")
    major = (ord(letters[0]) - ord("A")) * 10 + int(letters[1]) if letters[0].isalpha() else int(letters[0])
    unit, pos = (1, 16) if major >= 12 else (4, 12)
    while pos + 8 <= len(data):
        tag, length = struct.unpack_from("<Ii", data, pos)
        pos += 8
        if not tag:
            break
        # A negative length stands for so many zeroes that are not there.
        if length < 0:
            continue
        if tag == TAG_ARCS:
            yield pos, length * unit
        pos += length * unit


def add(one, other):
    """The sum of two .gcda files of the same object, built alike."""
    spans = list(_counters(one))
    if len(one) != len(other) or spans != list(_counters(other)):
        raise ValueError("not the same object")
    out = bytearray(one)
    for pos, length in spans:
        form = f"<{length // 8}Q"
        sums = map(sum, zip(struct.unpack_from(form, one, pos), struct.unpack_from(form, other, pos)))
        struct.pack_into(form, out, pos, *(s & (1 << 64) - 1 for s in sums))
    return bytes(out)


def read_disk(path):
    """(name, contents) of all that guests wrote."""
    with open(path, "rb") as disk:
        while True:
            head = disk.read(BLOCK)
            if head[:8] != MAGIC:
                return
            size = struct.unpack_from("<Q", head, 8)[0]
            name = head[16:].split(b"\0")[0].decode()
            data = disk.read(-(-size // BLOCK) * BLOCK)[:size]
            yield name, data


class Coverage:
    """The sum over all tests."""

    def __init__(self, kernel, repo):
        self.kernel = kernel
        self.repo = repo
        self.lock = threading.Lock()
        self.sums = {}
        self.dumps = 0
        self.bad = set()
        self.notes = {}
        for folder in ("kernel/liveupdate", "mm"):
            for note in (kernel / folder).glob("*.gcno"):
                self.notes[f"{folder}/{note.stem}"] = note

    def wants(self, test):
        """Is there a kernel in this test that counts?"""
        return bool(self.notes) and (test.kernel == "debug" or "other" in test.needs)

    def add(self, path):
        """Takes the counters of a test, and deletes them."""
        if not path.exists():
            return
        for name, data in read_disk(path):
            key = next((k for k in self.notes if name.endswith(f"/{k}.gcda")), None)
            if not key:
                continue
            with self.lock:
                try:
                    self.sums[key] = add(self.sums[key], data) if key in self.sums else data
                    self.dumps += 1
                except ValueError:
                    self.bad.add(key)
        path.unlink()

    def lines(self, folder):
        """{file: {line: count}} of everything that was built."""
        found = collections.defaultdict(dict)
        for key, note in self.notes.items():
            place = folder / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_suffix(".gcno").write_bytes(note.read_bytes())
            place.with_suffix(".gcda").unlink(missing_ok=True)
            if key in self.sums:
                place.with_suffix(".gcda").write_bytes(self.sums[key])
            run = subprocess.run(["gcov", "--json-format", "--stdout", str(place.with_suffix(".gcno"))],
                                 capture_output=True, text=True, check=False, cwd=folder)
            for text in run.stdout.splitlines():
                if not text.startswith("{"):
                    continue
                for source in json.loads(text)["files"]:
                    match = OURS.search(source["file"])
                    if not match or not (self.repo / match.group(1)).exists():
                        continue
                    lines = found[match.group(1)]
                    for line in source["lines"]:
                        num = line["line_number"]
                        lines[num] = lines.get(num, 0) + line["count"]
        return found

    def report(self, folder):
        """Writes folder/uncovered.txt.  Returns (a line about it, is it enough)."""
        if not self.notes:
            return f"{self.kernel} was built without CONFIG_GCOV_KERNEL", False
        folder.mkdir(parents=True, exist_ok=True)
        found = self.lines(folder)
        total = sum(len(v) for v in found.values())
        if not total:
            return "no line was counted; is gcov installed?", False
        hit = sum(sum(1 for n in v.values() if n) for v in found.values())
        out = []
        for name in sorted(found):
            lines = found[name]
            missed = sorted(n for n, count in lines.items() if not count)
            out.append(f"{name}: {len(lines) - len(missed)} of {len(lines)} lines, "
                       f"{100 * (len(lines) - len(missed)) / len(lines):.1f} %")
            text = (self.repo / name).read_text(encoding="utf-8").split("\n")
            out += [f"  {num:5}: {text[num - 1]}" for num in missed if num <= len(text)]
        percent = 100 * hit / total
        summary = f"{hit} of {total} lines, {percent:.1f} % (at least {LIMIT:.0f} %), {self.dumps} sets of counters"
        if self.bad:
            summary += f"; of another build: {' '.join(sorted(self.bad))}"
        path = folder / "uncovered.txt"
        path.write_text(f"{summary}\n\n" + "\n".join(out) + "\n", encoding="utf-8")
        where = path.relative_to(self.repo) if path.is_relative_to(self.repo) else pathlib.Path(path)
        return f"{summary}; the others: {where}", percent >= LIMIT and not self.bad
