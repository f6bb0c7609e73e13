"""One flipped bit in a file of a stopped server's directory: `anser check` or the start
names it, or it changes nothing; whatever is served is what was stored. Every kind of file
that a directory holds has its case here, and a file of a new kind fails the first case.

What became of a flip: `named` by the check or by a refused start; `harmless`: all is served
as it was, and the check is content; `refused`: served as it was but for answers with a named
error; `stopped`: the server died over a page of LMDB's that leads nowhere, which is loud, and
not nice; `hidden`: a page of LMDB's hides rows from the server, and the check names them.
Anything else is a failure: other bytes than were stored, a message less
without a word."""
import os
import random
import shutil
import subprocess
import tempfile
import time

from harness import Closed, Node, ServerError, uuid7
from powercut import shared_memory

CONFIG = "store:\n  overlay_rows_max: 2000\n  log_segment_bytes: 8388608\n"
PAIRS, MESSAGES = 3, 150
# Files that hold nothing of their own: empty, or memory shared by running processes.
EMPTY = ("lock", "store/lock")
SHARED = ("store/lmdb/lock.mdb",)


class Truth:
    """A stopped server's directory and what it serves."""

    def __init__(self, case, clean):
        self.case, self.rng = case, random.Random(random.randrange(1 << 32))
        self.node = node = Node(case, config=CONFIG).start()
        self.users = [f"{kind}{n}" for n in range(PAIRS) for kind in "sr"]
        node.add_users(*self.users)
        self.tokens = {user: node.token(user) for user in self.users}
        for n in range(PAIRS):
            client = node.client(f"s{n}", device="load", send_only=True)
            for number in range(MESSAGES):
                body = f"{number} ".encode() + self.rng.randbytes(self.rng.randint(1, 300)).hex().encode()
                client.send(f"r{n}", body, message_id=uuid7())
        self.served = self.read(node)
        if clean:
            node.stop()
        else:
            node.kill()
        assert not list(self.wrong(self.served))

    def read(self, node):
        """{what: [...]} of everything that people can ask for; a ServerError where one was
        the answer."""
        found = {}
        for user in self.users:
            peer = ("r" if user[0] == "s" else "s") + user[1:]
            for what, ask in (("history", lambda c, p=peer: [
                    (m.seq, m.message_id, m.client_msg_id, m.body) for m in c.history(p)]),
                              ("inbox", lambda c, p=None: [
                    (e.inbox_seq, e.message.message_id, e.message.body) for e in c.sync()])):
                try:
                    # a connection each: an error may end one
                    client = node.client(user, device="verify", token=self.tokens[user])
                    found[f"{what} of {user}"] = ask(client)
                    client.close()
                except ServerError as error:
                    found[f"{what} of {user}"] = error
        return found

    def wrong(self, served):
        return (what for what, content in served.items()
                if not isinstance(content, ServerError) and content != self.served[what])

    def files(self):
        """Relative paths."""
        found = []
        for folder, _, names in os.walk(self.node.data):
            found += [os.path.relpath(os.path.join(folder, n), self.node.data) for n in names]
        return sorted(found)

    def flip(self, file, offset, bit):
        """What became of it, and words."""
        def one_bit(data):
            data[offset] ^= 1 << bit

        return self.altered(file, one_bit)

    def altered(self, file, edit):
        """The same of any damage: edit changes the file's bytes (a bytearray)."""
        folder = tempfile.mkdtemp(prefix="anser-flip-", dir=shared_memory() or self.case.dir)
        data = os.path.join(folder, "data")
        shutil.copytree(self.node.data, data)
        with open(os.path.join(data, file), "r+b") as f:
            content = bytearray(f.read())
            edit(content)
            f.seek(0)
            f.write(content)
        node = Node(self.case, data=data)
        self.case.nodes.pop()
        node.args += self.node.args
        checked = node.run("check", data, data=False, expect=None)
        fate, words = self.start(node)
        node.kill()
        if os.path.exists(node.errors):
            os.unlink(node.errors)
        shutil.rmtree(folder)
        if fate != "WRONG" and checked.code == 9:
            fate = "named" if fate != "gone" else "hidden"
        elif checked.code not in (0, 9) and fate == "harmless":
            fate = "stopped" if checked.code < 0 else "named"
        return fate, f"check: exit {checked.code} {checked.out.splitlines()[:2]}; {words}"

    def start(self, node):
        node.spawn()
        try:
            # One that meets damage at its start names it and gives up after half a minute.
            node.await_ready(40)
        except AssertionError:
            code = node.process.wait(40)
            return ("named" if code > 0 else "stopped"), f"start: {node.stderr()[-300:]}"
        try:
            served = self.read(node)
        except (Closed, OSError, AssertionError) as error:
            # A process that a signal ends closes its connections before it is gone.
            try:
                node.process.wait(10 if isinstance(error, (Closed, OSError)) else 0)
            except subprocess.TimeoutExpired:
                return "WRONG", f"runs, and {error!r}"
            return "stopped", f"exit {node.process.returncode} {node.stderr()[-300:]}"
        wrong = list(self.wrong(served))
        if wrong:
            return self.less(served, wrong)
        refused = [w for w, c in served.items() if isinstance(c, ServerError)]
        return ("refused" if refused else "harmless"), f"refused: {refused}"

    def less(self, served, wrong):
        """Is what is served wrong, or is something not there?"""
        for what in wrong:
            if not all(item in self.served[what] for item in served[what]):
                return "WRONG", f"{what}: other bytes than were stored"
            if len(set(served[what])) != len(served[what]):
                return "WRONG", f"{what}: something twice"
        return "gone", f"{wrong}: {[(len(served[w]), len(self.served[w])) for w in wrong]}"


def flips(truth, file, offsets, allowed=("named", "harmless", "refused")):
    """{fate: count} of a flip at each offset."""
    counts = {}
    for offset in offsets:
        bit = truth.rng.randrange(8)
        fate, words = truth.flip(file, offset, bit)
        counts[fate] = counts.get(fate, 0) + 1
        assert fate in allowed, f"{file}, bit {bit} of byte {offset}: {fate}; {words}"
    print(f"     {file}: {counts}")
    return counts


def count_of(case, short):
    return case.rounds or (short * 10 if case.long else short)


def anywhere(truth, file, count):
    size = os.path.getsize(os.path.join(truth.node.data, file))
    return [truth.rng.randrange(size) for _ in range(count)]


def used_part(truth, file):
    """[(offset, end)] of the records of a segment; docs/storage.md."""
    with open(os.path.join(truth.node.data, file), "rb") as f:
        data = f.read()
    at, found, position = 4096, [], 0
    while data[at:at + 4] == b"ANR1":
        length = int.from_bytes(data[at + 8:at + 12], "little")
        if int.from_bytes(data[at + 16:at + 24], "little") <= position:
            break  # of the segment's earlier life
        position = int.from_bytes(data[at + 16:at + 24], "little")
        found.append((at, at + 24 + length))
        at = (at + 24 + length + 7) // 8 * 8
    return found


def live_segment(truth):
    segments = [f for f in truth.files() if f.endswith(".seg")]
    return max(segments, key=lambda f: len(used_part(truth, f)))


def case_every_kind_of_file_is_known(case):
    """Who adds a kind of file adds a case for its flipped bits."""
    truth = Truth(case, clean=False)
    known = ("node.json", "store/identity", "store/lmdb/data.mdb", *EMPTY, *SHARED)
    unknown = [f for f in truth.files() if f not in known and not f.endswith(".seg")]
    assert not unknown, f"no case for {unknown}"
    for file in EMPTY:
        assert os.path.getsize(os.path.join(truth.node.data, file)) == 0, file
    for file in SHARED:
        flips(truth, file, anywhere(truth, file, count_of(case, 4)), ("harmless",))


def case_flipped_bits_of_the_small_files(case):
    truth = Truth(case, clean=True)
    for file, short in (("store/identity", 25), ("node.json", 30)):
        counts = flips(truth, file, anywhere(truth, file, count_of(case, short)))
        assert counts.get("named"), counts


def case_flipped_bits_of_the_log(case):
    """All but the last record: a flip there looks like an append that was cut off."""
    truth = Truth(case, clean=False)
    file = live_segment(truth)
    records = used_part(truth, file)
    assert len(records) > 100, len(records)
    inside = [truth.rng.randrange(*truth.rng.choice(records[:-1]))
              for _ in range(count_of(case, 30))]
    counts = flips(truth, file, inside, ("named",))
    assert counts["named"] == len(inside)
    flips(truth, file, [truth.rng.randrange(24) for _ in range(4)], ("named",))  # the header
    behind = [truth.rng.randrange(records[-1][1] + 8, 8388608) for _ in range(4)]
    flips(truth, file, behind, ("harmless",))
    for spare in truth.files():
        if spare.endswith(".seg") and spare != file:
            flips(truth, spare, anywhere(truth, spare, 4), ("harmless", "named"))


def case_flipped_bit_of_the_last_record_is_a_torn_append(case):
    """What docs/reliability.md does not promise, shown: the newest record goes, whole, and
    nothing else."""
    truth = Truth(case, clean=False)
    file = live_segment(truth)
    first, end = used_part(truth, file)[-1]
    counts = flips(truth, file, [truth.rng.randrange(first, end) for _ in range(6)],
                   ("gone", "harmless"))
    print(f"     the last record: {counts}")


def case_a_damaged_claim_is_named_at_once(case):
    """The row of a slot's owner, which every start needs: the start says so and ends, and
    does not try until its time is over."""
    truth = Truth(case, clean=True)
    path = os.path.join(truth.node.data, "store/lmdb/data.mdb")
    with open(path, "r+b") as f:
        data = f.read()
        # proto/rows.h: the slot, high byte first, and 's'; the value behind it.
        places = [at for at in range(16, len(data) - 16, 2)
                  if data[at:at + 3] == b"\x00\x05s" and data[at - 2:at] == b"\x03\x00"]
        assert places, "no row of slot 5"
        for at in places:  # of older pages too: which is the living one LMDB knows
            f.seek(at + 3)
            f.write(b"\xff")
    began = time.monotonic()
    node = Node(case, data=truth.node.data).spawn()
    code = node.process.wait(20)
    words = node.stderr()
    assert code > 0 and time.monotonic() - began < 10, (code, words)
    assert "damaged" in words and "anser check" in words, words
    assert node.run("check", truth.node.data, data=False, expect=None).code == 9


PAGE, BRANCH = 4096, 1


def branch_nodes(data):
    """Offsets of the nodes of LMDB's branch pages but for their first ones, whose keys
    nobody looks at. A page: number[8] pad[2] flags[2] lower[2] upper[2] and the offsets of
    its nodes; a node: page number[6], length of its key[2], the key."""
    for page in range(2 * PAGE, len(data) - PAGE + 1, PAGE):
        number, flags, lower = (int.from_bytes(data[page + a:page + b], "little")
                                for a, b in ((0, 8), (10, 12), (12, 14)))
        if flags == BRANCH and number * PAGE == page:
            for at in range(page + 18, page + lower, 2):
                yield page + int.from_bytes(data[at:at + 2], "little")


def case_a_misled_search_is_not_believed(case):
    """Keys of branch pages have no checksum: each points to a wrong leaf for somebody."""
    truth = Truth(case, clean=True)
    fates = {}
    for byte, bit in ((8, 0), (8, 1), (9, 0), (9, 4), (9, 7), (10, 2)):
        def mislead(data, byte=byte, bit=bit):
            nodes = list(branch_nodes(data))
            assert nodes, "the base is one page"
            for node in nodes:
                data[node + byte] ^= 1 << bit

        fate, words = truth.altered("store/lmdb/data.mdb", mislead)
        assert fate in ("named", "refused", "hidden"), f"byte {byte} bit {bit}: {fate}; {words}"
        fates[fate] = fates.get(fate, 0) + 1
    print(f"     keys of every branch page: {fates}")


def case_a_page_that_leads_nowhere_is_named(case):
    """A page beyond the end of the file: who reads it dies of SIGBUS. The check outlives it
    and names it; a server that meets it ends, and answers nothing wrong before."""
    truth = Truth(case, clean=True)

    def lead_nowhere(data):
        for node in branch_nodes(data):
            data[node + 3] ^= 1  # 2^24 pages further

    fate, words = truth.altered("store/lmdb/data.mdb", lead_nowhere)
    assert fate == "named", f"{fate}; {words}"
    assert "check: exit 9" in words, words


def case_flipped_bits_of_the_base(case):
    truth = Truth(case, clean=True)
    file = "store/lmdb/data.mdb"
    counts = flips(truth, file, anywhere(truth, file, count_of(case, 25)),
                   ("named", "harmless", "refused", "stopped", "hidden"))
    assert counts.get("named", 0) > 3, counts
