# SPDX-License-Identifier: GPL-2.0
"""Damages what one kernel leaves for the next, from outside of the machine.

A test with "poke=1" runs on memory that the host can see.  It prints
"luo-vm: POKE KIND" and waits; from then to the first line of the next stage
everything that KIND describes is damaged, as often as it is written again
(much of it only by reboot()).
The guest knows that this goes on from a page that begins with ACK.
"""

import mmap
import struct
import threading
import time

PAGE = 4096
ACK = b"LUO-POKE-ACK:"
DONE = b"DONE"
FDT_MAGIC = b"\xd0\x0d\xfe\xed"
VICTIM_SESSION = b"poke-a\0"
VICTIM_TOKEN = 0xA1A1A1A1A1A1A1A1


class Memory:
    """Guest memory below the hole under 4 GiB: file offset is address."""

    def __init__(self, path):
        with open(path, "r+b") as ram:
            self.map = mmap.mmap(ram.fileno(), 0)
        self.found = {}  # what a kind of damage need not search for again

    def pages_with(self, what, at):
        """Addresses of pages that have what at offset at."""
        pos = self.map.find(what)
        while pos >= 0:
            if pos % PAGE == at:
                yield pos - at
            pos = self.map.find(what, pos + 1)

    def u64(self, addr):
        """A number, or 0 outside of memory."""
        return struct.unpack_from("<Q", self.map, addr)[0] if 0 <= addr <= len(self.map) - 8 else 0

    def put(self, addr, data):
        """Overwrites memory."""
        if 0 <= addr <= len(self.map) - len(data):
            self.map[addr:addr + len(data)] = data

    def put_u64(self, addr, val):
        """Overwrites a number."""
        self.put(addr, struct.pack("<Q", val))


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


def _session_blocks(mem):
    """Blocks whose first session may be any; all sessions of the test begin with poke-."""
    for page in mem.pages_with(b"poke-", 16):
        if 0 < mem.u64(page + 8) <= 51:
            yield page


def _victims(mem):
    for page in _session_blocks(mem):
        for i in range(mem.u64(page + 8)):
            at = page + 16 + 80 * i
            if mem.map[at:at + len(VICTIM_SESSION)] == VICTIM_SESSION:
                yield at


def session_count(mem):
    """More sessions than the block can hold."""
    for page in _session_blocks(mem):
        mem.put_u64(page + 8, 10000)
        yield page


def session_cycle(mem):
    """A block that is followed by itself."""
    for page in _session_blocks(mem):
        if mem.u64(page) != page:
            mem.put_u64(page, page)
            yield page


def session_name(mem):
    """A name without an end."""
    for at in _victims(mem):
        mem.put(at, b"p" * 64)
        yield at


def session_files(mem):
    """Files at an address that is not preserved."""
    for at in _victims(mem):
        if mem.u64(at + 64) != 0x100000:
            mem.put_u64(at + 64, 0x100000)
            yield at


def _victim_files(mem):
    token = struct.pack("<Q", VICTIM_TOKEN)
    pos = mem.map.find(token)
    while pos >= 0:
        ent = pos - 56
        if ent % PAGE % 64 == 16 and mem.map[ent:ent + 9] == b"memfd-v2\0":
            yield ent
        pos = mem.map.find(token, pos + 1)


def file_data(mem):
    """A description at an address that is none."""
    for ent in _victim_files(mem):
        if mem.u64(ent + 48) != 0x10:
            mem.put_u64(ent + 48, 0x10)
            yield ent


def file_compatible(mem):
    """A handler that nobody has."""
    for ent in _victim_files(mem):
        mem.put(ent, b"nobody-v2\0")
        yield ent


def memfd_count(mem):
    """More folios than there is memory for."""
    for ent in _victim_files(mem):
        data = mem.u64(ent + 48)
        if data and mem.u64(data + 24) != 1 << 40:
            mem.put_u64(data + 24, 1 << 40)
            yield data


def memfd_size(mem):
    """A size that no file can have."""
    for ent in _victim_files(mem):
        data = mem.u64(ent + 48)
        if data and mem.u64(data + 8) != 1 << 63:
            mem.put_u64(data + 8, 1 << 63)
            yield data


def memfd_pfn(mem):
    """A page that was never preserved, in the place of the first one."""
    for ent in _victim_files(mem):
        data = mem.u64(ent + 48)
        chunk = mem.u64(data + 32) if data else 0
        record = mem.u64(chunk + 8) if chunk else 0
        if record:
            val = mem.u64(record)
            if val & ((1 << 52) - 1) != 0x1000:
                mem.put_u64(record, (val >> 52 << 52) | 0x1000)
                yield record


def memfd_same(mem):
    """The same page twice."""
    for ent in _victim_files(mem):
        data = mem.u64(ent + 48)
        chunk = mem.u64(data + 32) if data else 0
        record = mem.u64(chunk + 8) if chunk else 0
        if record and mem.u64(record) != mem.u64(record + 16):
            mem.put_u64(record + 16, mem.u64(record))
            yield record


def _flb_areas(mem):
    for page in mem.pages_with(b"luo-test-x-v1\0", 16):
        if mem.map[page + 80:page + 94] == b"luo-test-y-v1\0":
            yield page


def flb_entries(mem):
    """Something else is wrong with each of the five records."""
    for page in _flb_areas(mem):
        x, y, name, same, none = (page + 16 + 64 * i for i in range(5))
        if mem.u64(x + 56) < 1000:
            mem.put_u64(x + 56, 1000)
        mem.put_u64(y + 48, 0x10)
        mem.put(name, b"n" * 48)
        mem.put(same, b"luo-test-x-v1\0")
        mem.put_u64(none + 56, 0)
        yield page


def flb_pages(mem):
    """An area that goes on where nothing is preserved."""
    for page in _flb_areas(mem):
        mem.put_u64(page, 2)
        yield page


def flb_count(mem):
    """More records than there is room for."""
    for page in _flb_areas(mem):
        mem.put_u64(page + 8, 64)
        yield page


def flb_address(mem):
    """An area that is not there."""
    for page in mem.pages_with(b"luo-v5\0", 0):
        if mem.u64(page + 24):
            mem.put_u64(page + 24, 0x100000)
            yield page


HUGETLB_VICTIM = b"LUO-HUGETLB-VICTIM"  # at the start of the third huge page of the file


def _hugetlb_victim(mem):
    """Addresses of the description and of the records of the file: search once."""
    found = mem.found.setdefault("victim", [])
    if not found:
        for page in mem.pages_with(HUGETLB_VICTIM, 0):
            if page % (2 << 20):
                continue
            at = mem.map.find(struct.pack("<QQ", 3 << 52 | page // PAGE, 1024))
            if at < 0:
                continue
            records = at // PAGE * PAGE
            for chunk in mem.pages_with(struct.pack("<Q", records), 8):
                for desc in mem.pages_with(struct.pack("<Q", chunk), 32):
                    found.append((desc, records))
    yield from found


def _hugetlb_put(mem, off, val):
    for desc, _ in _hugetlb_victim(mem):
        if mem.u64(desc + off) != val:
            mem.put_u64(desc + off, val)
            yield desc


def _hugetlb_records(mem):
    for _, records in _hugetlb_victim(mem):
        yield records


def _hugetlb_pools(mem):
    """Two sizes on one node, the small one first or last."""
    found = mem.found.setdefault("pools", [])
    if not found:
        for orders in ((9, 18), (18, 9)):
            for page in mem.pages_with(struct.pack("<QII", 2, orders[0], 0), 0):
                if mem.map[page + 24:page + 32] == struct.pack("<II", orders[1], 0):
                    found.append((page, page + (16 if orders[0] == 9 else 32)))
    yield from found


def hugetlb_order(mem):
    """A size of pages that there is not."""
    yield from _hugetlb_put(mem, 48, 10)


def hugetlb_size(mem):
    """A size that is no multiple of the page size; and more entries of pools than fit."""
    yield from _hugetlb_put(mem, 8, (4 << 20) + 4096)
    for page, _ in _hugetlb_pools(mem):
        if mem.u64(page) != 1 << 60:
            mem.put_u64(page, 1 << 60)
            yield page


def hugetlb_pfn(mem):
    """A page that was never preserved; and more preserved pages than there is memory."""
    for record in _hugetlb_records(mem):
        val = mem.u64(record)
        if val & ((1 << 52) - 1) != 0x1000:
            mem.put_u64(record, (val >> 52 << 52) | 0x1000)
            yield record
    for page, count in _hugetlb_pools(mem):
        if mem.u64(count) != 1 << 40:
            mem.put_u64(count, 1 << 40)
            yield page


def hugetlb_same(mem):
    """The same page twice."""
    for record in _hugetlb_records(mem):
        if mem.u64(record) != mem.u64(record + 16):
            mem.put_u64(record + 16, mem.u64(record))
            yield record


def hugetlb_index(mem):
    """Two pages for the same place."""
    for record in _hugetlb_records(mem):
        if mem.u64(record + 8) != mem.u64(record + 24):
            mem.put_u64(record + 24, mem.u64(record + 8))
            yield record


def hugetlb_range(mem):
    """A reservation beyond the end of the file; and a page that never comes."""
    for record in _hugetlb_records(mem):
        if mem.u64(record + 48) >> 52 == 4 and mem.u64(record + 48) & ((1 << 52) - 1) < 1000:
            mem.put_u64(record + 48, (4 << 52) | (1 << 40))
            yield record
    for page, count in _hugetlb_pools(mem):
        if mem.u64(count) != 7:
            mem.put_u64(count, 7)
            yield page


class Poker:
    """Follows the log of a VM and does what it asks for."""

    def __init__(self, path):
        self.path = path
        self.thread = None
        self.stop = threading.Event()
        self.hits = []

    def line(self, msg):
        """A line of user space."""
        if msg.startswith("luo-vm: POKE "):
            self.stop = threading.Event()
            self.thread = threading.Thread(target=self._run, args=(msg.split()[2], self.stop), daemon=True)
            self.thread.start()
        elif msg.startswith("luo-vm: BEGIN "):
            self.end()

    def end(self):
        """Stops damaging."""
        self.stop.set()
        if self.thread:
            self.thread.join()
            self.thread = None

    def _run(self, kind, stop):
        mem = Memory(self.path)
        damage = globals()[kind]
        acked = False
        hits = 0
        while not stop.is_set():
            hits += len(list(damage(mem)))
            if not acked:
                for page in list(mem.pages_with(ACK, 0)):
                    mem.put(page + 64, DONE)
                    acked = True
            if kind.startswith("fdt_"):
                # Written once, at boot; the next kernel's own must not be hit.
                break
            time.sleep(0.02)
        self.hits.append((kind, hits))
