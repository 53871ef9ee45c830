# SPDX-License-Identifier: GPL-2.0
"""Lets gdb look into a guest, with the kernel's script for it.

A test with "needs=gdb" (and "nokaslr") is stopped at its first instruction until
gdb has attached, and then each time that somebody reads the fdinfo of a session,
once in each of two kernels. What "lx-luo" prints there is compared. The second time
QEMU writes a core of the guest as well, with its virtual addresses, and "lx-luo" must
print the same from that when the guest is gone.

The kernel is built without debug information. gdb takes the types from one object
that is compiled a second time, with them, and the addresses from vmlinux.
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

OBJECT = "kernel/liveupdate/luo_debugfs.o"
STOP_AT = "luo_query_show_fdinfo"
TIMEOUT = 600   # of a gdb that nobody ends; the guest has a limit of its own

ADDRESS = "0x[0-9a-f]+"
FILE = r"    token {}  memfd-v2  {}  data 0x[1-9a-f][0-9a-f]*  file {}"
OUTGOING = (
    f"outgoing session 'gdb one' at {ADDRESS}: 2 files, held by \\d+ \\(luo_gdb\\)",
    FILE.format("0x1", "preserved", "0xff[0-9a-f]+"),
    FILE.format("0xabc", "preserved", "0xff[0-9a-f]+"),
    f"outgoing session 'gdb two' at {ADDRESS}: 0 files, held by \\d+ \\(luo_gdb\\)",
)
INCOMING = (
    f"incoming session 'gdb one' at {ADDRESS}: 2 files, held by \\d+ \\(luo_gdb\\)",
    FILE.format("0x1", "retrieved", "0xff[0-9a-f]+"),
    FILE.format("0xabc", "waiting", "0x0"),
    f"incoming session 'gdb two' at {ADDRESS}: 0 files, held by nobody, not read in",
)
EXPECTED = OUTGOING + INCOMING + INCOMING

SCRIPT = """
import sys
sys.path.insert(0, {scripts!r})
import linux.liveupdate
# A core takes longer than an answer may usually take.
gdb.execute("set remotetimeout {timeout}")
gdb.execute("target remote {sock}")
gdb.execute("hbreak *&{stop}")
for stage in range(2):
    gdb.execute("continue")
    gdb.execute("lx-luo")
gdb.execute("monitor dump-guest-memory -p {core}")
gdb.execute("delete")
gdb.execute("detach")
gdb.execute("core-file {core}")
gdb.execute("lx-luo")
"""


class Debugger:
    """A gdb for one guest."""

    def __init__(self, build, tree, work):
        self.build = pathlib.Path(build).resolve()
        self.tree = pathlib.Path(tree).resolve()
        self.log = work / "gdb.log"
        self.types = (work / "types.o").resolve()
        # The name of a socket must be short.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="luo-gdb."))
        self.sock = self.dir / "sock"
        self.core = (work / "core").resolve()
        self.proc = None

    def _compile_types(self):
        cmd = self.build / OBJECT.replace("luo_debugfs.o", ".luo_debugfs.o.cmd")
        line = re.match(r"savedcmd_\S+ := (.*?)(?: ; .*)?$", cmd.read_text().split("\n", 1)[0]).group(1)
        words = shlex.split(line)
        words[words.index("-o") + 1] = str(self.types)
        subprocess.run([*words, "-g"], cwd=self.build, check=True)

    def qemu(self):
        """What QEMU has to be told; gdb waits for it."""
        self._compile_types()
        script = self.dir / "script.py"
        script.write_text(SCRIPT.format(scripts=str(self.tree / "scripts/gdb"), sock=self.sock,
                                        stop=STOP_AT, core=self.core, timeout=TIMEOUT), encoding="utf-8")
        wait = f"while ! [ -S {self.sock} ]; do sleep 0.1; done; exec \"$@\""
        gdb = ["gdb", "-batch", "-nx", "-ex", "set confirm off", "-ex", "set pagination off",
               "-ex", f"file {self.build / 'vmlinux'}",
               "-ex", f"add-symbol-file {self.types} 0x1000", "-ex", f"source {script}"]
        with open(self.log, "wb") as log:
            self.proc = subprocess.Popen(["timeout", str(TIMEOUT), "sh", "-c", wait, "sh", *gdb],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return ["-gdb", f"unix:{self.sock},server=on,wait=off", "-S"]

    def end(self):
        """Judges what gdb printed. Returns a list of problems."""
        status = self.proc.wait()
        shutil.rmtree(self.dir)
        self.core.unlink(missing_ok=True)
        lines = [ln for ln in self.log.read_text(errors="replace").split("\n")
                 if re.match(r"outgoing |incoming |    token ", ln)]
        problems = [f"gdb: ended with {status}, see {self.log}"] if status else []
        problems += [f"gdb: '{have}', expected '{want}'" for have, want in zip(lines, EXPECTED)
                     if not re.fullmatch(want, have)]
        if len(lines) != len(EXPECTED):
            problems.append(f"gdb: {len(lines)} lines, expected {len(EXPECTED)}, see {self.log}")
        return problems
