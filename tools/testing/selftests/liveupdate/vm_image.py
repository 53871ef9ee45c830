# SPDX-License-Identifier: GPL-2.0
"""Builds test programs and packs them into initramfs images."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import stat
import subprocess

from vm_tests import HERE, SHARED

REPO = HERE.parents[3]
CFLAGS = ["-static", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter",
          "-Wno-missing-field-initializers", "-Wno-clobbered", "-Wno-sign-compare",
          "-pthread"]


class BuildError(Exception):
    """A test program did not compile, or something to pack is missing."""


class Cpio:
    """A newc archive, written without help from outside."""

    def __init__(self):
        self._parts = []
        self._ino = 0
        self._dirs = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self._ino += 1
        raw = name.encode() + b"\0"
        head = "070701" + "".join(f"{v:08x}" for v in (
            self._ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0))
        blob = head.encode() + raw
        blob += b"\0" * (-len(blob) % 4) + data
        self._parts.append(blob + b"\0" * (-len(blob) % 4))

    def mkdir(self, name):
        """Adds a directory and its parents."""
        name = name.strip("/")
        if not name or name in self._dirs:
            return
        self.mkdir(str(pathlib.PurePosixPath(name).parent).strip("."))
        self._dirs.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def add(self, name, data, mode=0o755):
        """Adds a file."""
        name = name.strip("/")
        self.mkdir(str(pathlib.PurePosixPath(name).parent).strip("."))
        self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, name, target):
        """Adds a symbolic link."""
        self._entry(name.strip("/"), stat.S_IFLNK | 0o777, target.encode())

    def mknod(self, name, major, minor):
        """Adds a character device."""
        self._entry(name.strip("/"), stat.S_IFCHR | 0o600, rdev=(major, minor))

    def bytes(self):
        """The archive, padded to whole disk sectors."""
        parts, self._parts = self._parts, []
        self._entry("TRAILER!!!", 0)
        blob = b"".join(parts + self._parts)
        self._parts = parts
        return blob + b"\0" * (-len(blob) % 4096)


def _run(cmd, env=None):
    run = subprocess.run([str(word) for word in cmd], capture_output=True, text=True, check=False, env=env)
    if run.returncode:
        raise BuildError(f"{' '.join(map(str, cmd))}\n{run.stderr}")
    if run.stderr.strip():
        print(run.stderr.rstrip())


def _fresh(target, deps):
    return target.exists() and target.stat().st_mtime >= max(p.stat().st_mtime for p in deps)


def _compile(source, target, ksrc, deps):
    """An object; ccache knows it if it was made before, in any checkout."""
    if _fresh(target, deps):
        return
    cmd = ["gcc", *CFLAGS, "-I", HERE, "-idirafter", REPO / "include/uapi",
           "-idirafter", ksrc / "include/uapi", "-I", ksrc / "tools/testing/selftests"]
    uapi = REPO / "include/uapi/linux/liveupdate.h"
    if uapi.exists():
        cmd += ["-include", uapi]
    env = dict(os.environ, CCACHE_BASEDIR=str(REPO), CCACHE_NOHASHDIR="1")
    ccache = ["ccache"] if shutil.which("ccache") else []
    tmp = target.with_suffix(".tmp")
    _run([*ccache, *cmd, "-c", "-o", tmp, source], env)
    tmp.rename(target)


def _stripped(binary):
    return binary.with_name(f"{binary.name}.stripped")


def _link(objects, target):
    if _fresh(target, objects) and _fresh(_stripped(target), objects):
        return
    tmp = target.with_suffix(".tmp")
    _run(["gcc", *CFLAGS, "-o", tmp, *objects])
    _run(["strip", "-o", _stripped(target), tmp])
    tmp.rename(target)


def build_programs(srcs, bindir, ksrc, jobs):
    """Compiles what is out of date.  Returns {program name: binary}."""
    objdir = bindir / "obj"
    objdir.mkdir(parents=True, exist_ok=True)
    headers = [*HERE.glob("*.h"), ksrc / "tools/testing/selftests/kselftest_harness.h"]
    uapi = REPO / "include/uapi/linux/liveupdate.h"
    if uapi.exists():
        headers.append(uapi)
    programs = [HERE / "luo_init.c", *srcs]
    shared = [HERE / name for name in sorted(SHARED)]
    objects = {src: objdir / f"{src.stem}.o" for src in [*shared, *programs]}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for job in [pool.submit(_compile, src, obj, ksrc, [src, *headers]) for src, obj in objects.items()]:
            job.result()
        made = {src.stem: bindir / src.stem for src in programs}
        for job in [pool.submit(_link, [objects[src], *[objects[s] for s in shared]], made[src.stem])
                    for src in programs]:
            job.result()
    return made


def _which(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not found:
        raise BuildError(f"{name} is not installed")
    return pathlib.Path(found)


def _with_libraries(cpio, binary, name):
    cpio.add(name, binary.read_bytes())
    ldd = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    for lib in re.findall(r"(/\S+)\s+\(0x", ldd.stdout):
        cpio.add(lib, pathlib.Path(lib).read_bytes())


def debian_image():
    """The root file system with systemd, made if it is not there."""
    run = subprocess.run([REPO / "scripts/debian-image"], check=False)
    if run.returncode:
        raise BuildError("scripts/debian-image failed")
    return REPO / "out/debian/root.img"


def share(folder, programs, binaries):
    """Puts programs where the guest finds them by 9p."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for prog in ["luo_init", *programs]:
        shutil.copy(binaries[prog], folder / prog)


def pack(target, programs, binaries, needs, files=(), modules=()):
    """Writes an initramfs with the named programs, modules, and files in /root.

    Small, because each kernel of a test unpacks it: a shell is there if it is needed.
    """
    cpio = Cpio()
    for folder in ("dev", "proc", "sys", "tmp", "bin", "sbin", "root"):
        cpio.mkdir(folder)
    cpio.mknod("dev/console", 5, 1)
    cpio.mknod("dev/null", 1, 3)
    cpio.add("init", _stripped(binaries["luo_init"]).read_bytes())
    if {"shell", "kexec-tools"} & set(needs):
        busybox = _which("busybox")
        if b"ld-linux" in busybox.read_bytes()[:8192]:
            raise BuildError("busybox is not static (install busybox-static)")
        cpio.add("bin/busybox", busybox.read_bytes())
        cpio.symlink("bin/sh", "busybox")
    for prog in programs:
        cpio.add(f"bin/{prog}", _stripped(binaries[prog]).read_bytes())
    for path in files:
        cpio.add(f"root/{path.name}", path.read_bytes(), 0o644)
    for module in modules:
        if not module.exists():
            raise BuildError(f"there is no {module}")
        cpio.add(f"lib/modules/{module.name}", module.read_bytes())
    if "kexec-tools" in needs:
        _with_libraries(cpio, _which("kexec"), "sbin/kexec")
    target.write_bytes(cpio.bytes())
