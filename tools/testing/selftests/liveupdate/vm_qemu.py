# SPDX-License-Identifier: GPL-2.0
"""Starts QEMU for one test and waits for its end."""

import functools
import os
import pathlib
import re
import shlex
import subprocess
import time

APPEND = ("console=ttyS0 earlycon=uart8250,io,0x3f8 ignore_loglevel console_msg_format=syslog "
          "printk.devkmsg=on log_buf_len=4M panic=-1 oops=panic "
          "rcupdate.rcu_cpu_stall_timeout=120 no_timer_check noreplace-smp kunit.enable=0 "
          "kho=on liveupdate=on")
# Sparse; a kernel writes some 400 KiB.
COUNTS_SIZE = 64 << 20
RAM_PREFIX = "luo-vm-"
# For two guests, and for what else they need
RAM_ROOM = 12 << 30

# MiB for translated code. A kernel that is unpacked over one that ran there before is
# slow: each store to a page with code looks at all code that was translated from that
# page, be it long dead. With little room all of it is dropped now and then.
TCG = "tcg,thread=multi,tb-size=64"

# Faults of QEMU itself, upon which a test is run again. Up to 8.1 a CPU may use the old
# number of a memory region with the new table of them while another one moves regions
# about, as it does when it sets a device up; then its access reaches some other region.
# That of e1000e is a timer that still runs when MSI-X is switched on.
OWN_FAULTS = ("msix_table_mmio_write", "e1000e_intrmgr_on_throttling_timer")
TRIES = 3

# With ERMS a kernel copies and clears by single bytes, each of which TCG emulates, and
# without it by words
CPU = "max,erms=off"

_accel = None


def accel():
    """TCG, unless KVM was asked for and works here."""
    global _accel
    if _accel is None:
        _accel = ["-accel", TCG, "-cpu", CPU]
        if os.environ.get("LUO_ACCEL") == "kvm":
            probe = subprocess.run(
                ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-M", "q35,kernel-irqchip=split",
                 "-display", "none", "-nodefaults", "-S", "-monitor", "stdio"],
                input="quit\n", capture_output=True, text=True, timeout=20, check=False)
            if probe.returncode == 0 and not probe.stderr.strip():
                _accel = ["-accel", "kvm", "-cpu", "host"]
            else:
                print("LUO_ACCEL=kvm does not work here, using TCG")
    return _accel


def words(base, changes):
    """Command line with words added, and "-WORD" taken off."""
    out = base.split()
    for word in shlex.split(changes):
        if word.startswith("-"):
            out = [w for w in out if w.partition("=")[0] != word[1:] and w != word[1:]]
        else:
            out.append(word)
    return " ".join(f'"{w}"' if " " in w else w for w in out)


def command(test, kernels, initrd, workdir, append="", debian=None, counts=None):
    """The QEMU command line of a test.

    debian is its root file system, if it has one, and counts a disk for the
    counters of lines that were reached.
    """
    kernel = kernels[test.kernel]
    line = words(f"{APPEND} luo_test={test.prog} luo_stage=1", f"{test.append} {append}")
    cmd = ["qemu-system-x86_64", "-M", "q35,kernel-irqchip=split", "-display", "none", "-vga", "none", "-no-reboot",
           "-nic", "none", "-monitor", "none", "-m", f"{test.mem}M"]
    if test.icount:
        cmd += ["-accel", "tcg", "-cpu", "max", "-smp", "1", "-icount", "shift=0,sleep=off",
                "-rtc", "clock=vm"]
    else:
        cmd += [*accel(), "-smp", test.smp]
        if test.kernel == "debug":
            # An interrupt while identify_cpu() has the feature bits cleared makes
            # KASAN compute with four page table levels and report wild accesses.
            cmd[cmd.index("-cpu") + 1] += ",la57=off"
    if test.kernel == "kcsan":
        # It knows no ACPI. If there is none the firmware tells of one CPU in each socket
        # by a table that is older.
        cmd += ["-machine", "acpi=off", "-smp", f"{test.smp},sockets={test.smp}"]
    disks = [("kernel", kernel, True), ("initrd", initrd, True)]
    if debian:
        disks[1] = ("root", debian, False)
        cmd += ["-kernel", str(kernel), "-append", line + " root=/dev/vdb rw", "-virtfs",
                f"local,path={workdir / 'share'},mount_tag=luo,security_model=none,readonly=on"]
    else:
        cmd += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", line]
    if "other" in test.needs:
        other = "plain" if test.kernel == "debug" else "debug"
        disks.append(("other", kernels[other], True))
    if test.disk:
        scratch = workdir / "scratch.img"
        with open(scratch, "wb") as img:
            img.truncate(test.disk << 20)
        disks.append(("scratch", scratch, False))
    if counts:
        with open(counts, "wb") as img:
            img.truncate(COUNTS_SIZE)
        disks.append(("gcov", counts, False))
    for num, (serial, path, readonly) in enumerate(disks):
        cmd += ["-drive", f"if=none,id=d{num},file={path},format=raw"
                          f"{',readonly=on' if readonly else ',cache=unsafe'}"
                          f"{',snapshot=on' if path == debian else ''}",
                "-device", f"virtio-blk-pci,drive=d{num},serial={serial}"]
    if test.poke or test.dma:
        cmd += ["-object", f"memory-backend-file,id=ram,size={test.mem}M,share=on,mem-path={ram_file(workdir)}",
                "-machine", "memory-backend=ram"]
    return cmd + shlex.split(test.qemu)


def ram_file(workdir):
    """Where a guest's memory is that the host looks into."""
    if _ram_dir() is None:
        return workdir / "ram.img"
    return _ram_dir() / f"{RAM_PREFIX}{os.getpid()}-{workdir.name}"


@functools.lru_cache(maxsize=None)
def _ram_dir():
    """A tmpfs with room: written to a disk, memory makes the guest wait for that."""
    shm = pathlib.Path("/dev/shm")
    try:
        for stale in shm.glob(f"{RAM_PREFIX}*"):
            if not pathlib.Path("/proc", stale.name[len(RAM_PREFIX):].split("-")[0]).exists():
                stale.unlink()
        room = os.statvfs(shm)
        free = int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    except (OSError, AttributeError):
        return None
    return shm if min(room.f_bavail * room.f_frsize, free << 10) > RAM_ROOM else None


def run(cmd, log, timeout, on_line=None):
    """Runs QEMU.  Returns (reason it was ended for or None, seconds, CPU seconds)."""
    start = time.monotonic()
    reason = None
    cpu = 0.0
    log.write_bytes(b"")
    with open(log.with_suffix(".qemu"), "w", encoding="utf-8") as err:
        err.write(shlex.join(cmd) + "\n")
        err.flush()
        with subprocess.Popen(cmd + ["-serial", f"file:{log}"], stdin=subprocess.DEVNULL,
                              stdout=err, stderr=err) as proc:
            pos = 0
            while True:
                cpu = _cpu_seconds(proc.pid) or cpu
                try:
                    proc.wait(0.1)
                    ended = True
                except subprocess.TimeoutExpired:
                    ended = False
                pos, panic = _follow(log, pos, on_line)
                if panic and not ended:
                    # A kernel that dies before it has a timer cannot end the VM.
                    time.sleep(1)
                    reason = "kernel panic"
                    proc.kill()
                    proc.wait()
                    _follow(log, pos, on_line)
                    break
                if ended:
                    break
                if time.monotonic() - start > timeout:
                    reason = f"timeout after {timeout:.0f} s"
                    proc.kill()
                    proc.wait()
                    break
            if proc.returncode and not reason:
                tail = log.with_suffix(".qemu").read_text(errors="replace").strip().split("\n")[-1]
                reason = f"QEMU ended with {proc.returncode}: {tail[:200]}"
    return reason, time.monotonic() - start, cpu


def _cpu_seconds(pid):
    """What a process used so far, which says more than the clock on a busy host."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def _follow(log, pos, on_line):
    """Reads whole new lines.  Returns (new position, is there a panic)."""
    with open(log, "rb") as src:
        src.seek(pos)
        data = src.read()
    end = data.rfind(b"\n")
    if end < 0:
        return pos, False
    if on_line:
        for line in data[:end].decode(errors="replace").split("\n"):
            on_line(line.rstrip("\r"))
    return pos + end + 1, b"---[ end Kernel panic" in data[:end]


def failed_itself(reason):
    """Whether what run() returned tells of a fault that is not the guest's."""
    return bool(reason) and "Assertion" in reason and any(fault in reason for fault in OWN_FAULTS)


def interactive(cmd):
    """Runs QEMU with the serial line on the terminal (C-a x ends it)."""
    cmd = [c for c in cmd if c not in ("-display", "-monitor")]
    cmd = [c for i, c in enumerate(cmd) if not (c == "none" and cmd[i - 1] != "-nic")]
    return subprocess.call(cmd + ["-nographic", "-serial", "mon:stdio"])
