# SPDX-License-Identifier: GPL-2.0
"""Sends frames to devices of a VM and watches them land in its memory.

A test with "dma=VERDICT[,VERDICT...]" runs in a machine with an IOMMU and one
device below a root port for each verdict, on memory that the host can see: an
e1000e, or an NVMe disk for the verdicts "nvme" and "flr".  An e1000e with "+" before its
verdict is another function of the device before it.
The guest prints, for device N,

    dma: N map OFFSET PHYS LENGTH    where a part of its memfd is
    dma: N send                      start sending
    dma: N quiet                     stop sending
    dma: N fenced                    from here on no frame lands
    dma: N watch                     of an NVMe disk: look at the memory only

From then on frames leave, RATE per second for all devices that are to run on, each
with a number and the time, and the buffers are polled: the I-th frame that the device
takes is in the I-th buffer, whatever the guest is doing.  What a frame was late is
counted without the time in which this process itself did not run, or QEMU waited for
a CPU of a busy host.

Verdicts:
  stop   frames land before the kexec, and none after it
  run    frames land all the time, none is lost, and none is late; the IOMMU
         is never switched off; and what "quiet" says
  carry  as run, but interrupts of the device may be masked on the way out
  quiet  the guest has no frames sent; nothing is written to the config space of
         the device between two marks, and to that of the root port above it
         nothing that matters
  fence  frames land before and after the kexec, and none after "fenced"
  cut    frames land before and after the kexec, and none after the next kexec, if
         there is one
  nvme   as carry, of a disk, without frames; between the marks its controller is
         neither started nor stopped, and its admin queue stays where it is
  flr    a disk like that, which is reset by FLR after the marks
  none   nothing in particular

The marks are writes of 0xa5 and 0x5a to the interrupt line of the last device, once
for each kexec.

Witnesses, from QEMU's trace points: writes to config space, the IOMMU
being switched, and the controllers of disks.  The memory that is physically where the device's addresses
are, should nobody translate them, is kept out of use and has to stay zero.

Run as a program it is the sender and watcher, with commands on standard input.
"""

import bisect
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
SLOW_RATE = 50               # where it is not about delay
FRAME = struct.Struct("<6s6sH2x8sQQ16x8s")
ETHERTYPE = 0xb588
HEAD, TAIL = b"LUOFRAME", b"LUO-DONE"
TAIL_AT = FRAME.size - len(TAIL)
BUF_OFFSET, BUF_SIZE, RING = 2 << 20, 256, 32768
SHORT_RING = 8191            # of devices that are to be fenced, see luo_fence.c
IOVA, IOVA_SIZE = 0x100200000, 32 << 20
LOW, HIGH = 2 << 30, 4 << 30     # q35 with more than 2.75 GiB: so much is below 4 GiB
STALL = 0.010
LATE = 0.100
LATE_DEBUG = 0.300        # the host has to emulate ten times as much then

APPEND = f"intel_iommu=on memmap={IOVA_SIZE >> 20}M${IOVA:#x}"
TRACES = ("pci_cfg_write", "vtd_dmar_enable")
NVME_TRACES = tuple("pci_nvme_" + n for n in (
    "mmio_cfg", "mmio_aqattr", "mmio_asqaddr", "mmio_acqaddr", "mmio_start_success", "mmio_stopped",
    "mmio_shutdown_set", "pci_reset"))
NVME_SIZE = 16 << 20
NVME_IOPS = 10               # so that 64 reads take longer than a kexec
NVME_KINDS = ("nvme", "flr")
FRAME_KINDS = ("run", "carry", "stop", "fence", "cut")
RUN_KINDS = ("run", "carry")
QUIET_KINDS = ("quiet", "run", "carry", "nvme")


CFG_WRITE = re.compile(r"pci_cfg_write \S+ ([0-9a-f:.]+) @(0x[0-9a-f]+) <- (0x[0-9a-f]+)")
IOMMU_SWITCH = re.compile(r"vtd_dmar_enable enable (\d)")
NVME_EVENT = re.compile(r"pci_nvme_(\w+)")
INTERRUPT_LINE = 0x3c
MARKS = (0xa5, 0x5a)
# Base addresses, bus numbers and windows.  Status words lie between.
PORT_KEEPS = (range(0x10, 0x1e), range(0x20, 0x34))
COMMAND, COMMAND_ON = 0x04, 0x06
# INTx Disable; of an e1000e: MSI enabled no more, MSI-X with its function mask
INTX_DISABLE, MSI, MSIX = 0x400, 0xd2, 0xa2
NVME_MSIX = 0x42


class Place:
    """Where a device is."""

    def __init__(self, port, function):
        self.port = port                                # the number of its root port
        self.function = function
        self.slot = f"{port + 1:02x}:00.{function}"     # as the traces name it
        self.port_slot = f"00:{port + 8:02x}.0"


def places(verdicts):
    """Where the devices of a test are."""
    found = []
    for verdict in verdicts:
        if verdict.startswith("+"):
            found.append(Place(found[-1].port, found[-1].function + 1))
        else:
            found.append(Place(found[-1].port + 1 if found else 0, 0))
    return found


def masks(write, nvme):
    """Does a write to a device do nothing but hold its interrupts up?"""
    return (write[1] == COMMAND and write[2] & COMMAND_ON == COMMAND_ON and write[2] & INTX_DISABLE or
            not nvme and write[1] == MSI and not write[2] & 1 or
            write[1] == (NVME_MSIX if nvme else MSIX) and write[2] & 0xc000 == 0xc000)


class Trace:
    """What QEMU saw between the marks, and after them."""

    def __init__(self, path, marked):
        self.writes = []          # (slot, address, value) to config space, between marks
        self.switched = []        # the IOMMU's switch, up to the last mark
        self.nvme = []            # events of disks: (between marks?, after them?, name)
        self.windows = 0          # pairs of marks
        state = 0
        switched, writes = [], []
        with open(path, encoding="ascii", errors="replace") as src:
            for line in src:
                match = IOMMU_SWITCH.search(line)
                if match:
                    switched.append(match.group(1))
                match = NVME_EVENT.search(line)
                if match:
                    self.nvme.append((state > 0, self.windows > 0 and not state, match.group(1)))
                match = CFG_WRITE.search(line)
                if not match:
                    continue
                write = (match.group(1), int(match.group(2), 16), int(match.group(3), 16))
                if write[:2] == (marked, INTERRUPT_LINE) and write[2] == MARKS[state]:
                    state = 1 - state
                    if not state:
                        self.windows += 1
                        self.switched = list(switched)
                        self.writes += writes
                    writes = []
                elif state:
                    writes.append(write)


class Device:
    """A device, its buffers and what has landed in them."""

    def __init__(self, num, verdicts, port, to):
        self.num = num
        run = sum(v in RUN_KINDS for v in verdicts)
        self.rate = SLOW_RATE if verdicts[num] in ("fence", "cut") else RATE / max(1, run)
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
            self.due += 1 / self.rate
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


class Waits:
    """How long the threads of QEMU have been ready to run, and did not."""

    def __init__(self, pidfile):
        self.tasks = []
        self.last = []
        try:
            pid = int(pidfile.read_text())
            self.tasks = [p / "schedstat" for p in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        except (OSError, ValueError):
            pass
        self.more()

    def more(self):
        """Seconds since the last time, of the thread that waited longest."""
        now = []
        for task in self.tasks:
            try:
                now.append(int(task.read_text().split()[1]))
            except (OSError, IndexError):
                now.append(0)
        old, self.last = self.last or now, now
        return max((b - a for a, b in zip(old, now)), default=0) / 1e9


def serve(ram, verdicts, ports, pidfile):
    """Sends and watches until told to end; prints what came of it."""
    waits = None
    devices = [Device(num, verdicts, *pair) for num, pair in enumerate(ports)]
    gaps = []
    with open(ram, "r+b") as src:
        mem = mmap.mmap(src.fileno(), 0)
    last = time.monotonic()
    buf = b""
    while True:
        ready = select.select([0], [], [], 0.001)[0]
        now = time.monotonic()
        waited = waits.more() if waits else 0
        if now - last > STALL:
            gaps.append((last, now))
        elif waited > STALL / 2:
            gaps.append((now - waited, now))
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
                dirty = sum(mem[at:at + PAGE] != bytes(PAGE) for at in range(start, start + IOVA_SIZE, PAGE))
                print(json.dumps({"untranslated": dirty, "gaps": gaps, "devices": [
                    {"sent": d.sent, "landed": d.landed, "marks": d.marks} for d in devices]}))
                return
            if cmd[0] == "mark":
                for dev in devices:
                    dev.marks.setdefault(cmd[1], [now, len(dev.landed)])
            elif cmd[0] == "fenced":
                devices[cmd[1]].marks["fenced"] = [now, len(devices[cmd[1]].landed)]
            elif cmd[0] == "map":
                devices[cmd[1]].map(*cmd[2:])
            elif cmd[0] == "quiet":
                devices[cmd[1]].sending = False
            elif cmd[0] == "send":
                waits = Waits(pidfile)
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
        self.verdicts = [v.removeprefix("+") for v in test.dma]
        self.places = places(test.dma)
        self.late = LATE if test.kernel == "plain" else LATE_DEBUG
        self.workdir = workdir
        self.ram = ram
        ports = _free_ports(2 * len(self.verdicts))
        self.ports = list(zip(ports[::2], ports[1::2]))
        self.pidfile = workdir / "qemu.pid"
        self.trace = workdir / "trace.log"
        # Empty, for a QEMU that does not get that far
        self.trace.write_bytes(b"")
        self.iommu = test.iommu
        self.disks = []
        self.proc = None
        self.jumps = 0

    def qemu(self):
        """Options for QEMU."""
        opt = ["-device", f"intel-iommu,intremap=on{',' if self.iommu else ''}{self.iommu}"]
        for num, (place, (ours, theirs)) in enumerate(zip(self.places, self.ports)):
            port = place.port
            if not place.function:
                opt += ["-device", f"pcie-root-port,id=rp{port},chassis={port + 1},bus=pcie.0,addr={port + 8:#x}"]
            if self.verdicts[num] in NVME_KINDS:
                opt += self._disk(num)
                continue
            many = any(p.port == port and p.function for p in self.places)
            opt += ["-netdev", f"socket,id=n{num},udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}",
                    "-device", f"e1000e,netdev=n{num},bus=rp{port},id=nic{num},addr=0.{place.function},"
                               f"multifunction={'on' if many else 'off'}"]
        for name in TRACES + NVME_TRACES * bool(self.disks):
            opt += ["-trace", name]
        return opt + ["-D", str(self.trace), "-msg", "timestamp=on", "-pidfile", str(self.pidfile)]

    def _disk(self, num):
        """Options for an empty disk that takes its time."""
        img = self.workdir / f"nvme{num}.img"
        with open(img, "wb") as dst:
            dst.truncate(NVME_SIZE)
        self.disks.append(img)
        return ["-drive", f"if=none,id=nvd{num},file={img},format=raw,cache=unsafe,throttling.iops-total={NVME_IOPS}",
                "-device", f"nvme,serial=luo{num},drive=nvd{num},bus=rp{self.places[num].port}"]

    def _tell(self, *cmd):
        if not self.proc:
            self.proc = subprocess.Popen(
                [sys.executable, "-B", __file__, str(self.ram), json.dumps(self.verdicts),
                 json.dumps(self.ports), str(self.pidfile)],
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
            elif words[1] in ("send", "quiet", "fenced", "watch"):
                self._tell(words[1], int(words[0]))
        elif not self.proc:
            return
        elif not user and "Starting new kernel" in msg:
            self.jumps += 1
            self._tell("mark", "jump" if self.jumps == 1 else f"jump{self.jumps}")
        elif user and msg.startswith("luo-vm: BEGIN stage=2"):
            self._tell("mark", "init")
        elif user and msg.startswith("luo-vm: END"):
            self._tell("mark", "end")

    def _quiet(self, num, verdict, trace):
        """(problems, what was seen) of a device that nobody may write to."""
        if not trace.windows:
            return ["the marks are not in the trace"], "no marks"
        dev = [w for w in trace.writes if w[0] == self.places[num].slot]
        held = len(dev)
        if verdict != "quiet" and verdict != "run":
            dev = [w for w in dev if not masks(w, verdict == "nvme")]
        held -= len(dev)
        port = [w for w in trace.writes if w[0] == self.places[num].port_slot]
        bad = dev + [w for w in port if any(w[1] in r for r in PORT_KEEPS)]
        bad += [w for w in port if w[1] == COMMAND and w[2] & COMMAND_ON != COMMAND_ON]
        problems = [f"{w[0]} @{w[1]:#x} <- {w[2]:#x} was written" for w in bad]
        if verdict != "quiet" and trace.switched != ["1"]:
            problems.append(f"the IOMMU was switched: {' '.join(trace.switched)}")
        return problems, (
            f"{len(dev)} config writes, {held} more to mask its interrupts and {len(port)} to its port, "
            f"in {trace.windows} kexec{'s' * (trace.windows != 1)}")

    @staticmethod
    def _controllers(verdicts, trace):
        """(problems, what was seen) of all disks."""
        between = [e[2] for e in trace.nvme if e[0]]
        resets = sum(e[1] and e[2] == "pci_reset" for e in trace.nvme)
        starts = sum(e[2] == "mmio_start_success" for e in trace.nvme if not e[0] and not e[1])
        problems = [f"{name} of a controller" for name in between]
        if starts < len([v for v in verdicts if v in NVME_KINDS]):
            problems.append(f"just {starts} controllers were started")
        if "flr" in verdicts and not resets:
            problems.append("no controller was reset")
        return problems, (f"controllers of disks: {starts} started, then {len(between)} events between the marks, "
                          f"{resets} resets after them")

    def end(self):
        """Ends the sender.  Returns (problems, notes)."""
        problems, notes = [], []
        trace = Trace(self.trace, self.places[-1].slot)
        for num, verdict in enumerate(self.verdicts):
            if verdict in QUIET_KINDS:
                got = self._quiet(num, verdict, trace)
                problems += got[0]
                notes.append(f"device {num}: {got[1]}")
        if self.disks:
            got = self._controllers(self.verdicts, trace)
            problems += got[0]
            notes.append(got[1])
            for img in self.disks:
                img.unlink(missing_ok=True)
        if set(FRAME_KINDS + NVME_KINDS) & set(self.verdicts):
            got = self._frames()
            problems += got[0]
            notes += got[1]
        elif self.proc:
            # It would go on until all tests have ended
            self.proc.kill()
            self.proc.communicate()
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
            problems.append(f"{res['untranslated']} pages were written to untranslated")
        notes.append(f"{res['untranslated']} pages written to untranslated, of {IOVA_SIZE >> 12} that the devices name")
        for num, (verdict, dev) in enumerate(zip(self.verdicts, res["devices"])):
            if verdict not in FRAME_KINDS:
                continue
            got = judge(verdict, dev, res["gaps"], self.late)
            problems += [f"device {num}: {p}" for p in got[0]]
            notes.append(f"device {num}: {got[1]}")
        return problems, notes


def _merged(gaps):
    """Gaps in their order, those that overlap as one."""
    merged = []
    for start, end in sorted(gaps):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def _own_part(start, end, gaps):
    """Seconds of this interval in which the sender did not run, or QEMU could not."""
    part = 0.0
    at = max(0, bisect.bisect_right(gaps, [start, start]) - 1)
    while at < len(gaps) and gaps[at][0] < end:
        part += max(0.0, min(end, gaps[at][1]) - max(start, gaps[at][0]))
        at += 1
    return part


def _rate(frames, start, end):
    return f"{frames} frames ({frames / max(end - start, 0.001):.0f}/s)"


def judge(verdict, dev, gaps, limit):
    """(problems, what was seen) of one device."""
    landed, marks = dev["landed"], dev["marks"]
    gaps = _merged(gaps)
    if "jump" not in marks or "init" not in marks:
        return ["the log does not tell when the kernel was replaced"], f"{len(landed)} frames"
    before = sum(f[2] <= marks["jump"][0] for f in landed)
    between = sum(marks["jump"][0] < f[2] <= marks["init"][0] for f in landed)
    after = len(landed) - before - between
    late = [(f[2] - f[1] - _own_part(f[1], f[2], gaps), f[2] - f[1]) for f in landed]
    worst, raw = max(late, default=(0.0, 0.0))
    lost = landed[-1][0] + 1 - len(landed) if landed else 0
    quiet = max((b[2] - a[2] for a, b in zip(landed, landed[1:])), default=0.0)
    start, jump, init = landed[0][2] if landed else 0, marks["jump"][0], marks["init"][0]
    end = max(init, landed[-1][2]) if landed else init
    seen = (f"{_rate(before, start, jump)} before the jump, {_rate(between, jump, init)} up to init, "
            f"{_rate(after, init, end)} after it, {lost} lost; worst delay {worst * 1e3:.1f} ms "
            f"({raw * 1e3:.1f} by the clock), longest silence {quiet * 1e3:.0f} ms")
    problems = []
    if before < 100:
        problems.append(f"just {before} frames before the jump")
    if verdict == "stop":
        # The line that marks the jump is seen a moment after it was written.
        if landed and landed[-1][2] > marks["jump"][0]:
            problems.append(f"{between + after} frames landed after the jump")
    elif verdict in ("fence", "cut"):
        end = marks.get("fenced" if verdict == "fence" else "jump2")
        if not between + after:
            problems.append("no frame landed after the jump")
        if not end and verdict == "fence":
            problems.append("nobody said that it is fenced")
        if end and landed and landed[-1][2] > end[0]:
            problems.append(f"{len(landed) - end[1]} frames landed after it was fenced")
        if len(landed) >= SHORT_RING:
            problems.append("the ring was full")
    else:
        if not between or not after:
            problems.append("frames stopped landing")
        if dev["sent"] != len(landed):
            problems.append(f"of {dev['sent']} frames {len(landed)} landed")
        if worst > limit:
            problems.append(f"a frame came {worst * 1e3:.1f} ms late")
    return problems, seen


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]), *map(json.loads, sys.argv[2:4]), pathlib.Path(sys.argv[4]))
