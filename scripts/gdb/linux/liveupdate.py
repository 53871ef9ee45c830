# SPDX-License-Identifier: GPL-2.0
#
# gdb helper commands and functions for Linux kernel debugging
#
#  live update sessions and their files

import gdb

from linux import lists, utils

session_type = utils.CachedType("struct liveupdate_session")
set_type = utils.CachedType("struct luo_session_set")
file_type = utils.CachedType("struct luo_file")


def text(array):
    """A char array up to its NUL, whatever bytes are in it."""
    size = array.type.sizeof
    data = bytes(int(array[i]) & 0xff for i in range(size))
    return data.split(b"\0")[0].decode("ascii", "backslashreplace")


def session_set(name):
    """A set of sessions by its address, so that any object may bring the type."""
    address = gdb.parse_and_eval("(unsigned long)&" + name)
    return address.cast(set_type.get_type().pointer()).dereference()


def sessions(name):
    yield from lists.list_for_each_entry(session_set(name)["list"],
                                         session_type.get_type().pointer(), "set_link")


def files(session):
    yield from lists.list_for_each_entry(session["files"],
                                         file_type.get_type().pointer(), "link")


def file_state(outgoing, lf):
    """The state as /sys/kernel/debug/liveupdate/files has it."""
    status = int(lf["retrieve_status"])
    if outgoing:
        return "frozen" if lf["frozen"] else "preserved"
    if lf["damaged"]:
        return "damaged"
    if lf["discarded"]:
        return "given up"
    if status < 0:
        return "failed (%d)" % status
    return "retrieved" if status else "waiting"


class LxLuo(gdb.Command):
    """Print the live update sessions and their files.

lx-luo [NAME...]: all sessions, or those of the given names. Sessions for the next
kernel are outgoing, those that came from the previous one incoming. Of an incoming
session that nobody has claimed yet only the number of its files is known."""

    def __init__(self):
        super().__init__("lx-luo", gdb.COMMAND_DATA)

    def print_file(self, outgoing, lf):
        handler = text(lf["compatible"])
        gdb.write("    token %#x  %s  %s  data %#x  file %#x\n" % (
            int(lf["token"]), handler or "?", file_state(outgoing, lf),
            int(lf["data"]), int(lf["file"])))

    def print_session(self, outgoing, session):
        address = int(session)
        holder = "nobody"
        if outgoing or session["held"]:
            holder = "%d (%s)" % (int(session["holder"]), text(session["holder_comm"]))
        known = outgoing or session["loaded"]
        number = int(session["nr_files"] if known else session["incoming_count"])
        gdb.write("%s session '%s' at %#x: %d files, held by %s%s\n" % (
            "outgoing" if outgoing else "incoming", text(session["name"]), address,
            number, holder, "" if known else ", not read in"))
        for lf in files(session):
            self.print_file(outgoing, lf)

    def invoke(self, arg, from_tty):
        names = gdb.string_to_argv(arg)
        for outgoing, name in ((True, "luo_outgoing"), (False, "luo_incoming")):
            for session in sessions(name):
                if not names or text(session["name"]) in names:
                    self.print_session(outgoing, session)


LxLuo()
