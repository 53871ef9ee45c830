# SPDX-License-Identifier: GPL-2.0
"""The repository as an overlay of a kernel tree: what the tree should hold.

Three places hold a file: the pristine tree, the repository (as an overlay
file, or as a hunk of a patch) and the prepared tree that is built. The
manifest remembers what the last prepare or refresh left in the prepared tree,
so that an edit on either side is told from one on both.
"""
import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, "out")
PRISTINE = os.path.join(OUT, "pristine")
TREE = os.path.join(OUT, "linux")
INDEX = os.path.join(OUT, ".pristine.json")
MANIFEST = os.path.join(OUT, ".manifest.json")
PATCHES = os.path.join(TOP, "patches")

# Directories of a kernel tree that the repository may hold files for. Its
# own scripts/ and configs/ are not the kernel's, but for scripts/gdb.
ROOTS = ("Documentation", "arch", "block", "drivers", "fs", "include", "init",
         "io_uring", "ipc", "kernel", "lib", "mm", "net", "samples",
         "scripts/gdb", "security", "tools", "usr", "virt")

# Entries that are sorted into the kernel's file of the same name
MAINTAINERS = "MAINTAINERS"

# What a source file may be called: all else that is new in the prepared tree
# was built there
SOURCES = ("*.c", "*.h", "*.S", "*.rst", "*.py", "*.sh", "*.md", "*.txt",
           "*.yaml", "*.json", "*.config", "*.lds.S", "*.service", "*.socket",
           "*.map", "*.pc.in", "Makefile", "Makefile.*", "Kconfig",
           "Kconfig.*", "Kbuild", "config", "settings", ".gitignore",
           ".clang-format", "README")


class Error(Exception):
    """Something the user has to settle; the text says what and how."""


@contextlib.contextmanager
def locked():
    """One at a time: several people may work in one checkout."""
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, ".tree.lock"), "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


class File:
    """Content and executable bit; two equal ones have the same key."""

    def __init__(self, data, executable=False):
        self.data = data
        self.executable = executable
        self.key = hashlib.sha1(data).hexdigest() + ("x" if executable else "")

    @staticmethod
    def read(path):
        try:
            with open(path, "rb") as f:
                mode = os.fstat(f.fileno()).st_mode
                return File(f.read(), bool(mode & 0o100))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def write(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temp = path + ".tmp~"
        with open(temp, "wb") as f:
            f.write(self.data)
        os.chmod(temp, 0o755 if self.executable else 0o644)
        os.replace(temp, path)


def key(file):
    return file.key if file else None


def walk(root):
    """Yield (path below root, stat) of every regular file."""
    stack = [""]
    while stack:
        directory = stack.pop()
        with os.scandir(os.path.join(root, directory)) as entries:
            for entry in entries:
                path = os.path.join(directory, entry.name)
                if entry.is_symlink() or entry.name == ".git":
                    continue
                if entry.is_dir():
                    stack.append(path)
                elif entry.is_file():
                    yield path, entry.stat()


def load(path, default):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (FileNotFoundError, ValueError):
        return default


def store(path, value):
    temp = path + ".tmp"
    with open(temp, "w", encoding="utf-8") as f:
        json.dump(value, f)
    os.replace(temp, path)


def write_index():
    """Size and time of every pristine file: a copy that still has both is
    unchanged, so nothing of the 1.4 GiB need be read to find the edits."""
    store(INDEX, {p: [s.st_size, s.st_mtime_ns] for p, s in walk(PRISTINE)})


def overlay_paths():
    """Files of the repository that stand where they stand in a kernel tree."""
    listed = subprocess.run(
        ["git", "-C", TOP, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard", "--"] + list(ROOTS),
        stdout=subprocess.PIPE, check=True).stdout.decode()
    paths = [p for p in listed.split("\0") if p]
    return sorted(p for p in set(paths)
                  if os.path.isfile(os.path.join(TOP, p)))


class Patch:
    """A line of patches/series: a patch and the paths that are its."""

    def __init__(self, name, prefixes):
        self.name = name
        self.prefixes = prefixes
        self.path = os.path.join(PATCHES, name)
        self.header = ""
        self.diff = ""
        text = File.read(self.path)
        if text:
            lines = text.data.decode().splitlines(keepends=True)
            start = next((n for n, line in enumerate(lines)
                          if line.startswith(("diff ", "--- a/"))), len(lines))
            self.header = "".join(lines[:start])
            self.diff = "".join(lines[start:])

    def owns(self, path):
        return any(p == "*" or path == p or fnmatch.fnmatch(path, p) or
                   (p.endswith("/") and path.startswith(p))
                   for p in self.prefixes)

    def files(self):
        return [line[6:].split("\t")[0].strip()
                for line in self.diff.splitlines()
                if line.startswith("+++ b/")]


def series():
    """The patches in the order in which they apply."""
    result = []
    with open(os.path.join(PATCHES, "series"), encoding="utf-8") as f:
        for line in f:
            words = line.split("#", 1)[0].split()
            if words:
                result.append(Patch(words[0], words[1:]))
    return result


def owner(patches, path):
    for patch in patches:
        if patch.owns(path):
            return patch
    raise Error("no line of patches/series owns %s" % path)


def pristine(path):
    return File.read(os.path.join(PRISTINE, path))


def patched(patches):
    """{path: File} of the pristine files with the patches applied."""
    touched = sorted({p for patch in patches for p in patch.files()})
    result = {}
    with tempfile.TemporaryDirectory(dir=OUT) as temp:
        for path in touched:
            original = pristine(path)
            if not original:
                raise Error("patches/: %s is not in the base tree" % path)
            original.write(os.path.join(temp, path))
        for patch in patches:
            if not patch.diff:
                continue
            done = subprocess.run(
                ["patch", "-p1", "-s", "-f", "--no-backup-if-mismatch",
                 "-r", "-", "-d", temp], input=patch.diff.encode(),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                raise Error("patches/%s does not apply to the base tree:\n%s" %
                            (patch.name, done.stdout.decode()))
        for path in touched:
            result[path] = File.read(os.path.join(temp, path))
    return result


def merge_maintainers(base, ours):
    """Sort our entries into the kernel's MAINTAINERS."""
    def title(block):
        return block.split("\n", 1)[0]

    head, blocks = [], []
    for block in ours.split("\n\n"):
        block = block.strip("\n")
        if block and not block.startswith(("#", "..")):
            blocks.append(block)
    parts = base.rstrip("\n").split("\n\n")
    first = next(n for n, p in enumerate(parts) if "\nM:\t" in p or
                 "\nL:\t" in p or "\nS:\t" in p)
    # The section title of the list may precede the first entry
    head, entries = parts[:first], parts[first:]
    for block in blocks:
        at = next((n for n, e in enumerate(entries)
                   if title(e) > title(block)), len(entries))
        entries.insert(at, block)
    # THE REST stays last
    rest = [e for e in entries if title(e) == "THE REST"]
    entries = [e for e in entries if title(e) != "THE REST"] + rest
    return "\n\n".join(head + entries) + "\n"


class Want:
    """What the repository says that the prepared tree holds."""

    def __init__(self):
        self.patches = series()
        self.overlay = {}
        for path in overlay_paths():
            if pristine(path):
                raise Error("%s is a file of the base tree: hook it in the "
                            "prepared tree, then run make refresh" % path)
            self.overlay[path] = File.read(os.path.join(TOP, path))
        self.hooks = patched(self.patches)
        self.files = dict(self.overlay)
        self.files.update(self.hooks)
        ours = File.read(os.path.join(TOP, MAINTAINERS))
        if ours:
            base = pristine(MAINTAINERS).data.decode()
            self.files[MAINTAINERS] = File(
                merge_maintainers(base, ours.data.decode()).encode())

    def get(self, path):
        """The file as the repository has it, or as the base tree does."""
        return self.files.get(path) or pristine(path)


class Manifest:
    """Keys of what the last prepare or refresh left in the prepared tree."""

    def __init__(self):
        self.keys = load(MANIFEST, {})

    def base(self, path):
        if path in self.keys:
            return self.keys[path]
        return key(pristine(path))

    def set(self, path, file):
        if key(file) == key(pristine(path)):
            self.keys.pop(path, None)
        else:
            self.keys[path] = key(file)

    def save(self):
        store(MANIFEST, self.keys)


def in_tree(path):
    return File.read(os.path.join(TREE, path))


def edited():
    """Paths of the prepared tree that differ from the pristine one."""
    index = load(INDEX, None)
    if index is None:
        write_index()
        index = load(INDEX, {})
    result = []
    for path, stat in walk(TREE):
        known = index.get(path)
        if known == [stat.st_size, stat.st_mtime_ns]:
            continue
        if known and key(in_tree(path)) == key(pristine(path)):
            continue
        result.append(path)
    return sorted(result)


def is_source(path):
    """Is a file that only the prepared tree has something written by hand?"""
    if not path.startswith(tuple(r + "/" for r in ROOTS)):
        return False
    name = os.path.basename(path)
    if name.endswith((".mod.c", ".tmp~", ".orig", ".rej", "~")):
        return False
    if any(fnmatch.fnmatch(name, pattern) for pattern in SOURCES):
        return True
    with open(os.path.join(TREE, path), "rb") as f:
        return f.read(2) == b"#!"


def remove(root, path):
    """Remove a file and the directories that it leaves empty."""
    os.unlink(os.path.join(root, path))
    directory = os.path.dirname(path)
    with contextlib.suppress(OSError):
        while directory:
            os.rmdir(os.path.join(root, directory))
            directory = os.path.dirname(directory)


def copy_tree(source, target):
    """Copy a whole tree; an interrupted copy is not mistaken for one."""
    temp = target + ".tmp"
    if os.path.exists(temp):
        shutil.rmtree(temp)
    subprocess.run(["cp", "-a", "--reflink=auto", source, temp], check=True)
    os.rename(temp, target)


def run(main):
    """Run a tool: an Error is a message, not a traceback."""
    try:
        sys.exit(main())
    except Error as e:
        print("%s: %s" % (os.path.basename(sys.argv[0]), e), file=sys.stderr)
        sys.exit(1)
