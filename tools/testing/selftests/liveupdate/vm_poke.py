# SPDX-License-Identifier: GPL-2.0
"""Damages what one kernel leaves for the next, from outside of the machine.

Or what that would find there anyway, the tables of the firmware.

A test with "poke=1" runs on memory that the host can see.  It prints
"luo-vm: POKE KIND" and waits; then everything that KIND describes is damaged.
The guest knows that this is done from a page that begins with ACK.
"""

import mmap
import struct
import threading

PAGE = 4096
ACK = b"LUO-POKE-ACK:"
DONE = b"DONE"
FDT_MAGIC = b"\xd0\x0d\xfe\xed"


class Memory:
    """Guest memory: below the hole under 4 GiB, file offset is address."""

    def __init__(self, path):
        with open(path, "r+b") as ram:
            self.map = mmap.mmap(ram.fileno(), 0)

    def pages_with(self, what, at):
        """Addresses of pages that have what at offset at."""
        pos = self.map.find(what)
        while pos >= 0:
            if pos % PAGE == at:
                yield pos - at
            pos = self.map.find(what, pos + 1)

    def put(self, addr, data):
        """Overwrites memory."""
        if 0 <= addr <= len(self.map) - len(data):
            self.map[addr:addr + len(data)] = data


def _root_fdts(mem):
    for page in mem.pages_with(FDT_MAGIC, 0):
        if mem.map.find(b"kho-v4\0", page, page + PAGE) >= 0:
            yield page


def fdt_compatible(mem):
    """A format of another version."""
    for page in _root_fdts(mem):
        at = mem.map.find(b"kho-v4\0", page, page + PAGE)
        mem.put(at, b"kho-x4\0")
        yield page


def fdt_magic(mem):
    """No device tree at all."""
    for page in _root_fdts(mem):
        mem.put(page, b"\0\0\0\0")
        yield page


def fdt_size(mem):
    """A device tree that says it is larger than its page."""
    for page in _root_fdts(mem):
        mem.put(page + 4, struct.pack(">I", 1 << 20))
        yield page


# An entry of the IOMMU record: driver, type, count, number, unit, domain, four words
IOMMU_ENTRY = struct.Struct("<16sIIQQQ4Q")
IOMMU_UNIT, IOMMU_DOMAIN, IOMMU_DEVICE = 1, 2, 3


def _iommu_entries(mem):
    """[(address, entry)] in blocks of what VT-d has left."""
    name = b"vtd-v1".ljust(16, b"\0")
    found = []
    pos = mem.map.find(name)
    while pos >= 0:
        in_page = pos % PAGE - 16
        entry = IOMMU_ENTRY.unpack_from(mem.map, pos) if in_page >= 0 and in_page % IOMMU_ENTRY.size == 0 else None
        if entry and entry[2]:
            found.append((pos, entry))
        pos = mem.map.find(name, pos + 1)
    return found


def iommu_ecap(mem):
    """A unit that has other abilities now."""
    for pos, entry in _iommu_entries(mem):
        if entry[1] == IOMMU_UNIT:
            mem.put(pos + 64, struct.pack("<Q", entry[8] ^ 1))
            yield pos


def iommu_gone(mem):
    """A unit that is not there any more."""
    for pos, entry in _iommu_entries(mem):
        if entry[1] == IOMMU_UNIT:
            mem.put(pos + 24, struct.pack("<Q", entry[3] ^ 0x100000))
            yield pos
        elif entry[1] == IOMMU_DEVICE:
            mem.put(pos + 32, struct.pack("<Q", entry[4] ^ 0x100000))


def iommu_width(mem):
    """A domain of more levels than the unit has."""
    for pos, entry in _iommu_entries(mem):
        if entry[1] == IOMMU_DOMAIN:
            mem.put(pos + 56, struct.pack("<Q", entry[7] + 1))
            yield pos


# What the firmware tells: below the root port at slot 8 is a device that needs these addresses
# mapped as they are.  The memory is out of use by memmap=, and the new table is there too.
RMRR_PATH = bytes((8, 0, 0, 0))
RMRR_TABLE, RMRR_BASE, RMRR_SIZE = 0x20000000, 0x20010000, 0x10000


def _acpi_sealed(table):
    """A table with the checksum that makes its sum 0."""
    table = bytearray(table)
    table[9] = 0
    table[9] = -sum(table) % 256
    return bytes(table)


def _acpi_tables(mem, name):
    """[(address, table)] of those of this name whose checksum is right."""
    found = []
    pos = mem.map.find(name)
    while pos >= 0:
        length = struct.unpack("<I", mem.map[pos + 4:pos + 8])[0]
        table = mem.map[pos:pos + length] if 36 <= length <= PAGE else b""
        if table and _acpi_sealed(table) == table:
            found.append((pos, table))
        pos = mem.map.find(name, pos + 1)
    return found


def dmar_rmrr(mem):
    """A device of which the firmware says where its memory has to be mapped."""
    for old, dmar in _acpi_tables(mem, b"DMAR"):
        scope = struct.pack("<BBHBB", 1, 6 + len(RMRR_PATH), 0, 0, 0) + RMRR_PATH
        rmrr = struct.pack("<HHHHQQ", 1, 24 + len(scope), 0, 0, RMRR_BASE, RMRR_BASE + RMRR_SIZE - 1) + scope
        table = dmar[:4] + struct.pack("<I", len(dmar) + len(rmrr)) + dmar[8:] + rmrr
        for pos, rsdt in _acpi_tables(mem, b"RSDT"):
            if struct.pack("<I", old) in rsdt[36:]:
                entries = rsdt[36:].replace(struct.pack("<I", old), struct.pack("<I", RMRR_TABLE))
                mem.put(RMRR_TABLE, _acpi_sealed(table))
                mem.put(pos, _acpi_sealed(rsdt[:36] + entries))
                yield pos


class Poker:
    """Follows the log of a VM and does what it asks for."""

    def __init__(self, path):
        self.path = path
        self.thread = None
        self.hits = []

    def line(self, msg):
        """A line of user space."""
        if msg.startswith("luo-vm: POKE "):
            self.thread = threading.Thread(target=self._run, args=(msg.split()[2],), daemon=True)
            self.thread.start()
        elif msg.startswith("luo-vm: BEGIN "):
            self.end()

    def end(self):
        """Waits until the damage is done."""
        if self.thread:
            self.thread.join()
            self.thread = None

    def _run(self, kind):
        mem = Memory(self.path)
        hits = len(list(globals()[kind](mem)))
        for page in list(mem.pages_with(ACK, 0)):
            mem.put(page + 64, DONE)
        self.hits.append((kind, hits))
