"""The tape of tests/system/tape.c, and every disk that a power cut could have left of it.

The disk is taken at its word and no further. Bytes of a file are kept for sure once a sync
of that file was begun behind them and has returned (or they were written through a
descriptor opened with O_DSYNC). A name, made, changed or removed, is kept for sure once the
directory that holds it was synced. All else may be there, be missing, or be there in part:
sectors of unsynced writes in any combination, a write cut off at any byte, names without
their content and content without its name. A rename happens or does not."""
import collections
import os
import struct

EVENT = struct.Struct("=IiQQIIII")
(START, OPEN, CLOSE, WRITE, ZEROS, TRUNCATE, ALLOCATE, RENAME, UNLINK, MKDIR, SYNCING, SYNCED,
 SENT) = range(1, 14)
NAMES = {START: "start", OPEN: "open", CLOSE: "close", WRITE: "write", ZEROS: "zeros",
         TRUNCATE: "truncate", ALLOCATE: "allocate", RENAME: "rename", UNLINK: "unlink",
         MKDIR: "mkdir", SYNCING: "sync begun", SYNCED: "sync", SENT: "answer"}
SECTOR = 512

Event = collections.namedtuple("Event", "op fd a b data data_2")  # fd: (process, number)


def read_tape(path):
    """[Event] in order."""
    with open(path, "rb") as f:
        data = f.read()
    found, at = [], 0
    while at < len(data):
        op, fd, a, b, size, size_2, pid, _ = EVENT.unpack_from(data, at)
        at += EVENT.size
        found.append(Event(op, (pid, fd), a, b, data[at:at + size], data[at + size:at + size + size_2]))
        at += size + size_2
    return found


class Change:
    """Something that was asked of the disk and is not yet certain to be on it."""

    def __init__(self, number, kind, at=0, data=b"", path=None, target=None, inode=None):
        self.number, self.kind, self.at, self.data = number, kind, at, data
        self.path, self.target, self.inode = path, target, inode

    def part(self, first, end):
        return Change(self.number, self.kind, self.at + first, self.data[first:end])


def apply_data(content, change):
    """A change to a file's bytes (a bytearray)."""
    if change.kind == TRUNCATE:
        if change.at < len(content):
            del content[change.at:]
        else:
            content.extend(bytes(change.at - len(content)))
    elif change.kind == ALLOCATE:
        if change.at > len(content):
            content.extend(bytes(change.at - len(content)))
    else:
        end = change.at + len(change.data)
        if end > len(content):
            content.extend(bytes(end - len(content)))
        content[change.at:end] = change.data


def apply_name(names, change):
    """A change to the names ({path: Inode})."""
    if change.kind == UNLINK:
        names.pop(change.path, None)
    elif change.kind == RENAME:
        if change.path in names:
            names[change.target] = names.pop(change.path)
    else:
        names[change.path] = change.inode


class Inode:
    def __init__(self, directory=False):
        self.directory = directory
        self.content = bytearray()  # what is certain
        self.pending = []  # [Change]


class Disk:
    """What is certain, what is under way, and what was said, after so many events.
    lies_from: the event from which on a sync of the log does nothing."""

    def __init__(self, root):
        self.root, self.lies_from = root, None
        self.certain = {root: Inode(directory=True)}  # path -> Inode
        self.now = dict(self.certain)  # as the processes see it
        self.pending = {}  # directory -> [Change] of its names
        self.fds = {}  # fd -> (Inode, path, written through)
        self.begun = {}  # fd -> [number of the event] of syncs under way
        self.through = None  # (Inode, Change) of the last event, if it was written through
        self.sent = set()
        self.count = 0

    def _name(self, change):
        apply_name(self.now, change)
        self.pending.setdefault(os.path.dirname(change.path), []).append(change)

    def _open(self, event):
        path = event.data.decode()
        if path not in self.now:
            assert event.a & os.O_CREAT, path
            self._name(Change(self.count, OPEN, path=path, inode=Inode()))
        elif event.a & os.O_TRUNC:
            self.now[path].pending.append(Change(self.count, TRUNCATE))
        # O_SYNC contains O_DSYNC
        self.fds[event.fd] = (self.now[path], path, bool(event.a & os.O_DSYNC))

    def _data(self, event):
        inode, _, through = self.fds[event.fd]
        data = bytes(event.b) if event.op == ZEROS else event.data
        kind = WRITE if event.op == ZEROS else event.op
        change = Change(self.count, kind, event.a, data)
        inode.pending.append(change)
        if through:
            self.through = (inode, change)

    def _synced(self, event):
        inode, path, _ = self.fds[event.fd]
        begun = self.begun[event.fd].pop(0)
        if event.a != 0 or (path.endswith(".seg") and self.lies()):
            return
        if inode.directory:
            waiting = self.pending.get(path, [])
            for change in waiting:
                if change.number < begun:
                    apply_name(self.certain, change)
            self.pending[path] = [c for c in waiting if c.number >= begun]
        for change in inode.pending:
            if change.number < begun:
                apply_data(inode.content, change)
        inode.pending = [c for c in inode.pending if c.number >= begun]

    def take(self, event):
        """The next event happens; the one before it, if it was written through, is certain."""
        if self.through:
            inode, change = self.through
            apply_data(inode.content, change)
            inode.pending.remove(change)
            self.through = None
        if event.op == START:  # of one of them; a number may come again
            for table in (self.fds, self.begun):
                for fd in [fd for fd in table if fd[0] == event.fd[0]]:
                    del table[fd]
        elif event.op == OPEN:
            self._open(event)
        elif event.op == CLOSE:
            self.fds.pop(event.fd, None)
        elif event.op in (WRITE, ZEROS, TRUNCATE, ALLOCATE):
            self._data(event)
        elif event.op == RENAME:
            self._name(Change(self.count, RENAME, path=event.data.decode(),
                              target=event.data_2.decode()))
        elif event.op == UNLINK:
            self._name(Change(self.count, UNLINK, path=event.data.decode()))
        elif event.op == MKDIR:
            self._name(Change(self.count, MKDIR, path=event.data.decode(),
                              inode=Inode(directory=True)))
        elif event.op == SYNCING:
            self.begun.setdefault(event.fd, []).append(self.count)
        elif event.op == SYNCED:
            self._synced(event)
        elif event.op == SENT:
            self.sent |= set(struct.unpack(f"={len(event.data) // 4}I", event.data))
        self.count += 1

    def lies(self):
        return self.lies_from is not None and self.count >= self.lies_from

    # --- what may be left

    def inodes(self):
        """Every file that has a name, certain or not, in a fixed order."""
        found = dict.fromkeys(self.certain.values())
        for changes in self.pending.values():
            found.update(dict.fromkeys(c.inode for c in changes if c.inode))
        return list(found)

    def uncertain(self):
        return (any(self.pending.values()) or
                any(inode.pending for inode in self.inodes()))

    def left_apart(self, variants, rng):
        """The same of several disks that lost their power at the same moment, each left
        as it happens: variants has one for each directory below the root."""
        found = {self.root: None}
        for name, variant in variants.items():
            top = os.path.join(self.root, name)
            found.update({path: content for path, content in self.left(variant, rng).items()
                          if path == top or path.startswith(top + "/")})
        return found

    def left(self, variant, rng):
        """{path: bytes, or None for a directory} that a cut now may leave."""
        names = dict(self.certain)
        for changes in self.pending.values():
            for change in VARIANTS[variant].names(changes, rng):
                apply_name(names, change)
        last = max((c.number for i in self.inodes() for c in i.pending if c.data), default=-1)
        found, contents = {}, {}
        for path in sorted(names):
            # a name in a directory that is not there itself is not there
            if path != self.root and found.get(os.path.dirname(path), b"") is not None:
                continue
            inode = names[path]
            if inode.directory:
                found[path] = None
                continue
            if inode not in contents:
                content = bytearray(inode.content)
                for change in VARIANTS[variant].data(inode.pending, rng, last):
                    apply_data(content, change)
                contents[inode] = content
            found[path] = contents[inode]
        return found


def all_of(changes, *_):
    return changes


def none_of(*_):
    return []


def some_of(changes, rng, *_):
    share = rng.random()
    return [c for c in changes if rng.random() < share]


def first_of(changes, rng, *_):
    return changes[:rng.randint(0, len(changes))]


def torn(changes, rng, last):
    """All, but of the very last write only the beginning: whole sectors, or any bytes."""
    found = []
    for change in changes:
        if change.number == last and change.data:
            end = rng.randrange(len(change.data))
            if rng.random() < 0.5:
                end = max(0, (change.at + end) // SECTOR * SECTOR - change.at)
            change = change.part(0, end)
        found.append(change)
    return found


def sectors(changes, rng, *_):
    """Of each write some sectors, and none of others."""
    share = rng.random()
    found = []
    for change in changes:
        if not change.data:
            found += [change] if rng.random() < share else []
            continue
        at = 0
        while at < len(change.data):
            end = min(len(change.data), (change.at + at) // SECTOR * SECTOR + SECTOR - change.at)
            if rng.random() < share:
                found.append(change.part(at, end))
            at = end
    return found


Variant = collections.namedtuple("Variant", "names data")
VARIANTS = {
    "nothing unsynced": Variant(none_of, none_of),
    "everything": Variant(all_of, all_of),
    "last write torn": Variant(all_of, torn),
    "some sectors": Variant(first_of, sectors),
    "some writes": Variant(some_of, some_of),
    "a beginning": Variant(first_of, first_of),
    "names, no bytes": Variant(all_of, none_of),
    "bytes, no names": Variant(none_of, all_of),
}


def materialise(files, root, target):
    """Writes what was left below root to target, which is made."""
    for path, content in files.items():
        path = target + path[len(root):]
        if content is None:
            os.mkdir(path, 0o700)
            continue
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            at, size = 0, len(content)
            view = memoryview(content)
            while at < size:  # leaves out what is zero: most of a log segment is
                piece = view[at:at + 65536]
                if piece != ZERO[:len(piece)]:
                    f.seek(at)
                    f.write(piece)
                at += len(piece)
            f.truncate(size)
        view.release()


ZERO = bytes(65536)
