"""People who talk all the time through the client library (sdk_client.c), each a process,
and the journals of what their devices were told: the truth that a case is judged by."""
import bisect
import os
import select
import threading
import time

from features_sdk import Sdk
from harness import await_that

WINDOW = 4  # messages of a person that are not decided
PACE_S = 0.02  # a person hands in at most one in this time
ANSWER_MS = 3000  # a connection that is silent for longer is given up by the library
ATTEMPTS = 100000  # nobody gives up


class Sent:
    """One message of a person, and what became of it."""

    __slots__ = ("peer", "number", "handed", "acked", "seq", "failed", "delivered")

    def __init__(self, peer, number, handed):
        self.peer, self.number, self.handed = peer, number, handed
        self.acked = self.seq = self.failed = self.delivered = None


class Person:
    def __init__(self, case, node, name, urls):
        self.name, self.peers = name, []
        self.sdk = Sdk(case, node, name, ",".join(urls), timeout_ms=ANSWER_MS,
                       attempts=ATTEMPTS)
        self.buffer = b""
        self.sent = []  # by ticket - 1
        self.counts = {}  # peer -> messages handed in
        self.open = 0  # not decided
        self.got = []  # (inbox_seq, from, body, when)
        self.flow = {}  # sender -> ([handed], [heard]) of each message, in order
        self.states = []  # (when, text)
        self.gaps, self.refused = [], []
        self.next_due = 0.0
        self.ended = False

    def handed(self, peer, number):
        """When it was handed in."""
        turn = self.peers.index(peer)
        return self.sent[(number - 1) * len(self.peers) + turn].handed

    @property
    def fd(self):
        return self.sdk.process.stdout.fileno()

    def hand_in(self, now):
        peer = self.peers[len(self.sent) % len(self.peers)]
        number = self.counts[peer.name] = self.counts.get(peer.name, 0) + 1
        self.sent.append(Sent(peer, number, now))
        self.open += 1
        self.next_due = now + PACE_S
        self.sdk.say(peer.name, f"{number} from {self.name}")

    def read(self, now):
        data = os.read(self.fd, 65536)
        if not data:
            self.ended = True
            return
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.note(line.decode(), now)

    def note(self, line, now):
        kind, rest = line.split(" ", 1)
        if kind == "message":
            inbox_seq, sender, body = rest.split(" ", 2)
            self.got.append((int(inbox_seq), sender, body, now))
            if sender in self.flow:
                handed, heard = self.flow[sender]
                handed.append(self.by_name[sender].handed(self, int(body.split()[0])))
                heard.append(now)
        elif kind == "send":
            ticket, state, seq, _, error = rest.split()
            sent = self.sent[int(ticket) - 1]
            if state == "SENT":
                assert sent.acked is None, f"{line}: acked twice"
                sent.acked, sent.seq = now, int(seq)
                self.open -= 1
            elif state == "FAILED":
                sent.failed = error
                self.open -= 1
        elif kind == "state":
            self.states.append((now, rest))
        elif kind == "gap":
            self.gaps.append(rest)
        elif kind != "can":  # what the program is able to, for others
            self.refused.append(line)


class People:
    """Names p0, p1, ... (at least three): each talks with the next and the one before, gates in turn
    first on its list. start() begins, finish() ends the talking; verify() judges."""

    def __init__(self, case, node, count=6, urls=None, add=True):
        self.case, self.node = case, node
        urls = urls or getattr(node, "urls", None) or [node.url]
        names = [f"p{n}" for n in range(count)]
        if add:
            node.add_users(*names)
        self.all = [Person(case, node, name, urls[n % len(urls):] + urls[:n % len(urls)])
                    for n, name in enumerate(names)]
        for n, person in enumerate(self.all):
            person.peers = [self.all[(n + 1) % count], self.all[n - 1]]
        by_name = {person.name: person for person in self.all}
        for person in self.all:
            person.by_name = by_name
            person.flow = {peer.name: ([], []) for peer in person.peers}
        self.talking = True
        self.ending = False
        self.trouble = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        case.cleanups.append(self._abandon)

    def start(self):
        self.thread.start()
        self.await_flow(time.monotonic(), 30)
        return self

    def _run(self):
        try:
            self._loop()
        except Exception as error:  # told by whoever waits
            self.trouble = error

    def _loop(self):
        poll = select.poll()
        people = {person.fd: person for person in self.all}
        for fd in people:
            poll.register(fd, select.POLLIN)
        while people and not self.ending:
            ready = poll.poll(5)
            now = time.monotonic()
            for fd, _ in ready:
                people[fd].read(now)
                if people[fd].ended:
                    poll.unregister(fd)
                    del people[fd]
            if self.talking:
                for person in people.values():
                    if person.open < WINDOW and now >= person.next_due:
                        person.hand_in(now)

    def _abandon(self):
        self.ending = True
        if self.thread.is_alive():
            self.thread.join(10)

    # --- while they talk

    def check(self):
        if self.trouble:
            raise self.trouble
        return True

    def acked(self):
        return sum(sent.acked is not None for person in self.all for sent in person.sent)

    def flow_after(self, since):
        """When, after `since`, everybody had told each of his peers something that was
        handed in after it; None while somebody has not."""
        last = since
        for person in self.all:
            for handed, heard in person.flow.values():
                at = bisect.bisect_left(handed, since)
                if at == len(handed):
                    return None
                last = max(last, heard[at])
        return last

    def await_flow(self, since, timeout=60.0):
        """Seconds from `since` until everything flows again, see flow_after()."""
        def flows():
            self.check()
            return self.flow_after(since)

        try:
            return await_that("everybody to be heard again", flows, timeout) - since
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.silent(since)}") from None

    def silent(self, since):
        """For people: who is not heard, and how each stands."""
        lines = []
        for person in self.all:
            open_ = [f"{sent.peer.name}:{sent.number}" for sent in person.sent
                     if sent.acked is None and sent.failed is None]
            for peer in person.peers:
                handed = peer.flow[person.name][0]
                if not handed or handed[-1] < since:
                    lines.append(f"{person.name} -> {peer.name} (undecided {open_}, "
                                 f"{person.states[-1:]})")
        return "; ".join(lines)

    def slowest(self, since=0.0):
        """The longest that a message handed in after `since` waited for its ack, s."""
        return max((sent.acked - sent.handed for person in self.all for sent in person.sent
                    if sent.acked is not None and sent.handed >= since), default=0.0)

    # --- the end

    def finish(self, timeout=120.0):
        """Nobody says more; everything is decided and heard."""
        self.talking = False

        def decided():
            self.check()
            return not any(person.open for person in self.all)

        await_that("every message to be decided", decided, timeout)
        failed = [(person.name, sent.number, sent.failed) for person in self.all
                  for sent in person.sent if sent.failed]
        assert not failed, failed[:5]

        def heard():
            self.check()
            return all(len(self.heard(person)) >= sum(
                sender.counts.get(person.name, 0) for sender in self.all)
                for person in self.all)

        await_that("every message to be heard", heard, timeout)
        return self

    @staticmethod
    def heard(person):
        """Of others; what an own device sent may show too, after a Sync."""
        return [entry for entry in person.got if entry[1] != person.name]

    def close(self):
        self.ending = True
        self.thread.join(10)
        for person in self.all:
            person.sdk.process.stdin.close()
        for person in self.all:
            person.sdk.process.wait(60)

    def verify(self):
        """Every journal against what was sent, and against the server's inboxes and
        histories: each acked message once, in order, nothing else."""
        self.verify_journals()
        for person in self.all:
            self.verify_server(person)

    def verify_journals(self):
        for person in self.all:
            assert not person.gaps and not person.refused, (person.gaps, person.refused)
            seqs = [entry[0] for entry in person.got]
            assert seqs == sorted(set(seqs)), f"{person.name}: inbox numbers out of order"
            for sender in self.all:
                numbers = [int(body.split()[0]) for _, name, body, _ in person.got
                           if name == sender.name != person.name]
                want = list(range(1, sender.counts.get(person.name, 0) + 1))
                assert numbers == want, (f"{sender.name} -> {person.name}: "
                                         f"{difference(want, numbers)}")

    def verify_server(self, person):
        client = self.node.client(person.name, device="verify")
        inbox = client.sync()
        assert [e.inbox_seq for e in inbox] == list(range(1, len(inbox) + 1)), \
            f"{person.name}: a hole in the inbox"
        ids = [e.message.message_id for e in inbox]
        assert len(set(ids)) == len(ids), f"{person.name}: an entry twice"
        others = [(e.inbox_seq, getattr(e.message, "from").decode(), e.message.body.decode())
                  for e in inbox if getattr(e.message, "from").decode() != person.name]
        assert others == [entry[:3] for entry in self.heard(person)], \
            f"{person.name}: the device's journal is not what the inbox says"
        own = sum(getattr(e.message, "from").decode() == person.name for e in inbox)
        assert own == len(person.sent), f"{person.name}: {own} of {len(person.sent)} own entries"
        for peer in set(person.peers):
            told = client.history(peer.name)
            assert [m.seq for m in told] == list(range(1, len(told) + 1)), "a gap"
            mine = {m.seq: m.body.decode() for m in told
                    if getattr(m, "from").decode() == person.name}
            acked = {sent.seq: f"{sent.number} from {person.name}" for sent in person.sent
                     if sent.peer is peer}
            self.case.count(lost=len(set(acked.values()) - set(mine.values())))
            assert mine == acked, f"{person.name} -> {peer.name}: acks and history differ"
        client.close()


def difference(want, got):
    missing = sorted(set(want) - set(got))
    twice = sorted({n for n in got if got.count(n) > 1}) if len(got) != len(set(got)) else []
    wrong = [got[max(0, n - 2):n + 3] for n in range(1, len(got)) if got[n] < got[n - 1]]
    return f"missing {missing[:10]}, twice {twice[:10]}, out of order {wrong[:3]}"
