"""The harness's side of shim.c: the shared page and the record of events."""
import mmap
import os
import secrets
import struct

WRITE, SYNC_BEGIN, SYNC_END, SEND = 1, 2, 3, 4
FIELDS = ("fail_sync", "sync_delay_ms", "disk_full", "read_delay_ms",
          "appending", "applying", "replaying", "refused")
EVENT = struct.Struct("=IIIIiI")


class Shim:
    """A page and an event file for one node after another; fields are attributes."""

    def __init__(self, case):
        path = os.path.join(case.dir, f"shim-{secrets.token_hex(3)}")
        self.events_path = path + ".events"
        self.env = {"LD_PRELOAD": case.shim(), "ANSER_SHIM": path}
        with open(path, "wb") as f:
            f.write(b"\0" * mmap.PAGESIZE)
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), mmap.PAGESIZE)
        case.cleanups.append(self.page.close)

    def get(self, name):
        return struct.unpack_from("=I", self.page, 4 * FIELDS.index(name))[0]

    def set(self, name, value):
        struct.pack_into("=I", self.page, 4 * FIELDS.index(name), value)

    def events(self):
        """[(op, fd, tid, result, {marks})] in order."""
        with open(self.events_path, "rb") as f:
            data = f.read()
        found, at = [], 0
        while at + EVENT.size <= len(data):
            op, _, fd, tid, result, count = EVENT.unpack_from(data, at)
            at += EVENT.size
            marks = struct.unpack_from(f"={count}I", data, at)
            at += 4 * count
            found.append((op, fd, tid, result, set(marks)))
        return found


def mark(number):
    """The last 7 bytes of a client_msg_id that shim.c recognises."""
    return b"ANMK" + number.to_bytes(3, "big")
