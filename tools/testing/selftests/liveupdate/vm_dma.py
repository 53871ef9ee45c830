# SPDX-License-Identifier: GPL-2.0
"""Sends frames to devices of a VM and watches them land in its memory.

A test with "dma=VERDICT[,VERDICT...]" runs in a machine with an IOMMU and one
e1000e below a root port for each verdict, on memory that the host can see.
The guest prints, for device N,

    dma: N map OFFSET PHYS LENGTH    where a part of its memfd is
    dma: N send                      start sending
    dma: N quiet                     stop sending

From then on frames leave at RATE per second, each with a number and the time,
and the buffers are polled: the I-th frame that the device takes is in the I-th
buffer, whatever the guest is doing.  What a frame was late is counted without
the time in which this process itself did not run.

Verdicts:
  stop   frames land before the kexec, and none after it
  run    frames land all the time, none is lost, and none is late; the IOMMU
         is never switched off; and what "quiet" says
  quiet  the guest has no frames sent; nothing is written to the config space of
         the device between two marks, and to that of the root port above it
         nothing that matters
  none   nothing in particular

The marks are writes of 0xa5 and 0x5a to the interrupt line of the second device.

Witnesses, from QEMU's trace points: writes to config space, and the IOMMU
being switched.  The memory that is physically where the device's addresses
are, should nobody translate them, is kept out of use and has to stay zero.

Run as a program it is the sender and watcher, with commands on standard input.
"""

import json
import mmap
import pathlib
import re
import select
import socket
import struct
import subprocess
import sys
import time

PAGE = 4096
RATE = 200
FRAME = struct.Struct("<6s6sH2x8sQQ16x8s")
ETHERTYPE = 0xb588
HEAD, TAIL = b"LUOFRAME", b"LUO-DONE"
TAIL_AT = FRAME.size - len(TAIL)
BUF_OFFSET, BUF_SIZE, RING = 2 << 20, 256, 32768
IOVA, IOVA_SIZE = 0x100200000, 16 << 20
LOW, HIGH = 2 << 30, 4 << 30     # q35 with more than 2.75 GiB: so much is below 4 GiB
STALL = 0.010
LATE = 0.100

APPEND = f"intel_iommu=on memmap={IOVA_SIZE >> 20}M${IOVA:#x}"
TRACES = ("pci_cfg_write", "vtd_dmar_enable")


CFG_WRITE = re.compile(r"pci_cfg_write \S+ ([0-9a-f:.]+) @(0x[0-9a-f]+) <- (0x[0-9a-f]+)")
IOMMU_SWITCH = re.compile(r"vtd_dmar_enable enable (\d)")
INTERRUPT_LINE = 0x3c
MARKS = (0xa5, 0x5a)
# Base addresses, bus numbers and windows.  Status words lie between.
PORT_KEEPS = (range(0x10, 0x1e), range(0x20, 0x34))
COMMAND, COMMAND_ON = 0x04, 0x06


def slot(num):
    """A device as the traces name it."""
    return f"{num + 1:02x}:00.0"


def port_slot(num):
    """The root port above it."""
    return f"00:{num + 8:02x}.0"


class Device:
    """A device, its buffers and what has landed in them."""

    def __init__(self, num, port, to):
        self.num = num
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.to = ("127.0.0.1", to)
        self.pages = {}           # offset in the memfd to offset in the file of the memory
        self.sending = False
        self.sent = 0
        self.due = 0.0
        self.landed = []          # (number, sent, seen)
        self.marks = {}

    def send(self, now):
        """Sends what is due."""
        while self.sending and self.due <= now:
            self.due += 1 / RATE
            data = FRAME.pack(b"\xff" * 6, b"\x52\x54\0\0\0\x01", ETHERTYPE, HEAD, self.sent,
                              time.monotonic_ns(), TAIL)
            try:
                self.sock.sendto(data, self.to)
                self.sent += 1
            except OSError:
                # The VM is not there yet, or no more.
                return

    def map(self, off, phys, length):
        """Learns where a part of the memfd is."""
        at = phys if phys < LOW else phys - HIGH + LOW
        for page in range(0, length, PAGE):
            self.pages[off + page] = at + page

    def look(self, mem):
        """Takes note of what has landed since the last time."""
        while len(self.landed) < RING:
            off = BUF_OFFSET + len(self.landed) * BUF_SIZE
            page = self.pages.get(off & -PAGE)
            if page is None:
                return
            at = page + off % PAGE
            if mem[at + TAIL_AT:at + FRAME.size] != TAIL:
                return
            frame = FRAME.unpack_from(mem, at)
            self.landed.append((frame[4], frame[5] / 1e9, time.monotonic()))


def serve(ram, ports):
    """Sends and watches until told to end; prints what came of it."""
    devices = [Device(num, *pair) for num, pair in enumerate(ports)]
    gaps = []
    with open(ram, "r+b") as src:
        mem = mmap.mmap(src.fileno(), 0)
    last = time.monotonic()
    buf = b""
    while True:
        ready = select.select([0], [], [], 0.001)[0]
        now = time.monotonic()
        if now - last > STALL:
            gaps.append((last, now))
        last = now
        for dev in devices:
            dev.send(now)
            dev.look(mem)
        if not ready:
            continue
        data = sys.stdin.buffer.raw.read(65536)
        if not data:
            return
        *lines, buf = (buf + data).split(b"\n")
        for cmd in map(json.loads, lines):
            if cmd[0] == "end":
                start = IOVA - HIGH + LOW
                clean = not any(mem[start:start + IOVA_SIZE])
                print(json.dumps({"untranslated": not clean, "gaps": gaps, "devices": [
                    {"sent": d.sent, "landed": d.landed, "marks": d.marks} for d in devices]}))
                return
            if cmd[0] == "mark":
                for dev in devices:
                    dev.marks.setdefault(cmd[1], [now, len(dev.landed)])
            elif cmd[0] == "map":
                devices[cmd[1]].map(*cmd[2:])
            elif cmd[0] == "quiet":
                devices[cmd[1]].sending = False
            elif cmd[0] == "send":
                devices[cmd[1]].sending = True
                devices[cmd[1]].due = now


def _free_ports(num):
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(num)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for sock in socks:
        sock.close()
    return ports


class Bench:
    """The host's side of one test."""

    def __init__(self, test, workdir, ram):
        self.verdicts = test.dma
        self.workdir = workdir
        self.ram = ram
        ports = _free_ports(2 * len(self.verdicts))
        self.ports = list(zip(ports[::2], ports[1::2]))
        self.trace = workdir / "trace.log"
        self.trace.unlink(missing_ok=True)
        self.iommu = test.iommu
        self.proc = None

    def qemu(self):
        """Options for QEMU."""
        opt = ["-device", f"intel-iommu,intremap=on{',' if self.iommu else ''}{self.iommu}"]
        for num, (ours, theirs) in enumerate(self.ports):
            opt += ["-device", f"pcie-root-port,id=rp{num},chassis={num + 1},bus=pcie.0,addr={num + 8:#x}",
                    "-netdev", f"socket,id=n{num},udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}",
                    "-device", f"e1000e,netdev=n{num},bus=rp{num},id=nic{num}"]
        for name in TRACES:
            opt += ["-trace", name]
        return opt + ["-D", str(self.trace), "-msg", "timestamp=on"]

    def _tell(self, *cmd):
        if not self.proc:
            self.proc = subprocess.Popen(
                [sys.executable, "-B", __file__, str(self.ram), json.dumps(self.ports)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.proc.stdin.write(json.dumps(cmd).encode() + b"\n")
            self.proc.stdin.flush()
        except BrokenPipeError:
            pass

    def line(self, user, msg):
        """Follows the log of the VM."""
        if user and msg.startswith("dma: "):
            words = msg[5:].split()
            if words[1] == "map":
                self._tell("map", int(words[0]), *(int(w, 0) for w in words[2:5]))
            elif words[1] in ("send", "quiet"):
                self._tell(words[1], int(words[0]))
        elif not self.proc:
            return
        elif not user and "Starting new kernel" in msg:
            self._tell("mark", "jump")
        elif user and msg.startswith("luo-vm: BEGIN stage=2"):
            self._tell("mark", "init")
        elif user and msg.startswith("luo-vm: END"):
            self._tell("mark", "end")

    def _writes(self):
        """What the trace has up to the second mark: ([(slot, address, value)] of the writes to
        config space from the first mark on, [value] of the IOMMU's switch), or None."""
        writes, switched = [], []
        state = 0
        with open(self.trace, encoding="ascii", errors="replace") as src:
            for line in src:
                match = IOMMU_SWITCH.search(line)
                if match:
                    switched.append(match.group(1))
                match = CFG_WRITE.search(line)
                if not match:
                    continue
                write = (match.group(1), int(match.group(2), 16), int(match.group(3), 16))
                if write[:2] == (slot(1), INTERRUPT_LINE) and write[2] == MARKS[state]:
                    state += 1
                    if state == len(MARKS):
                        return writes, switched
                elif state:
                    writes.append(write)
        return None

    def _quiet(self, num, run):
        """(problems, what was seen) of a device that nobody may write to."""
        found = self._writes()
        if found is None:
            return ["the marks are not in the trace"], "no marks"
        writes, switched = found
        dev = [w for w in writes if w[0] == slot(num)]
        port = [w for w in writes if w[0] == port_slot(num)]
        bad = dev + [w for w in port if any(w[1] in r for r in PORT_KEEPS)]
        bad += [w for w in port if w[1] == COMMAND and w[2] & COMMAND_ON != COMMAND_ON]
        problems = [f"{w[0]} @{w[1]:#x} <- {w[2]:#x} was written" for w in bad]
        if run and switched != ["1"]:
            problems.append(f"the IOMMU was switched: {' '.join(switched)}")
        return problems, (
            f"{len(writes)} config writes from reboot() on, {len(dev)} to the device, {len(port)} to its port")

    def end(self):
        """Ends the sender.  Returns (problems, notes)."""
        problems, notes = [], []
        for num, verdict in enumerate(self.verdicts):
            if verdict in ("quiet", "run"):
                got = self._quiet(num, verdict == "run")
                problems += got[0]
                notes.append(f"device {num}: {got[1]}")
        if {"run", "stop"} & set(self.verdicts):
            got = self._frames()
            problems += got[0]
            notes += got[1]
        return problems, notes

    def _frames(self):
        """(problems, notes) of all devices that were sent to."""
        if not self.proc:
            return ["no device was told to be watched"], []
        self._tell("end")
        try:
            res = json.loads(self.proc.communicate(timeout=60)[0])
        except (subprocess.TimeoutExpired, ValueError):
            self.proc.kill()
            self.proc.wait()
            return ["the sender died"], []
        problems, notes = [], []
        if res["untranslated"]:
            problems.append("DMA went through untranslated")
        for num, (verdict, dev) in enumerate(zip(self.verdicts, res["devices"])):
            if verdict not in ("run", "stop"):
                continue
            got = judge(verdict, dev, res["gaps"])
            problems += [f"device {num}: {p}" for p in got[0]]
            notes.append(f"device {num}: {got[1]}")
        return problems, notes


def _own_part(start, end, gaps):
    """Seconds of this interval in which the sender did not run."""
    return sum(max(0.0, min(end, g[1]) - max(start, g[0])) for g in gaps)


def judge(verdict, dev, gaps):
    """(problems, what was seen) of one device."""
    landed, marks = dev["landed"], dev["marks"]
    if "jump" not in marks or "init" not in marks:
        return ["the log does not tell when the kernel was replaced"], f"{len(landed)} frames"
    before = sum(f[2] <= marks["jump"][0] for f in landed)
    between = sum(marks["jump"][0] < f[2] <= marks["init"][0] for f in landed)
    after = len(landed) - before - between
    late = [(f[2] - f[1] - _own_part(f[1], f[2], gaps), f[2] - f[1]) for f in landed]
    worst, raw = max(late, default=(0.0, 0.0))
    lost = landed[-1][0] + 1 - len(landed) if landed else 0
    quiet = max((b[2] - a[2] for a, b in zip(landed, landed[1:])), default=0.0)
    seen = (f"{before} frames before the jump, {between} up to init, {after} after it, {lost} lost; "
            f"worst delay {worst * 1e3:.1f} ms ({raw * 1e3:.1f} by the clock), longest silence {quiet * 1e3:.0f} ms")
    problems = []
    if before < 100:
        problems.append(f"just {before} frames before the jump")
    if verdict == "stop":
        # The line that marks the jump is seen a moment after it was written.
        if landed and landed[-1][2] > marks["jump"][0]:
            problems.append(f"{between + after} frames landed after the jump")
    elif verdict == "run":
        if not between or not after:
            problems.append("frames stopped landing")
        if dev["sent"] != len(landed):
            problems.append(f"of {dev['sent']} frames {len(landed)} landed")
        if worst > LATE:
            problems.append(f"a frame came {worst * 1e3:.1f} ms late")
    return problems, seen


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))
