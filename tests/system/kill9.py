"""`kill -9` at random moments under load: every acked message is there once, in order and
without a gap, and a retry gets the first result.

Each round sends on several conversations with at least IN_FLIGHT sends unanswered, waits
for ACKS_A_ROUND new acks, and kills. What the process was doing then is read from the page it
shared with the recorder (shim.c), which a kill freezes: in an append (a log write whose
sync had not returned), in an apply (pages of the store on their way), in a replay (the
log being read at a start). A run without one of each has proved nothing and fails."""
import random
import select
import threading
import time

import shim as recorder
from harness import Closed, Pipeline, ServerError, pb, send_body, uuid7

PAIRS = 8
WINDOW = 16
IN_FLIGHT = 64
ACKS_A_ROUND = 1000
RANDOM_S = 0.3  # so much later at most is a process killed that may do anything
LOOK_AGAIN = threading.Event()  # never set
# Small bounds, so that applies happen all the time.
CONFIG = "store:\n  overlay_rows_max: 4000\n  log_segment_bytes: 8388608\n"


def number_of(item):
    """When the (id, body) was sent first."""
    return int(item[1].split()[1])


class Talker:
    """One sender and all that it knows of its conversation."""

    def __init__(self, number):
        self.user, self.peer = f"s{number}", f"r{number}"
        self.sent = 0
        self.pending = []  # [(id, body)] neither acked nor being asked, in order
        self.asking = {}  # id -> body, in order
        self.acked = {}  # id -> (seq, message_id, body)
        self.pipe = None

    def connect(self, node):
        client = node.client(self.user, device="load", send_only=True)
        self.pipe = Pipeline(client, self.answered)

    def push(self, message_id, body):
        self.asking[message_id] = body
        try:
            self.pipe.push(message_id, send_body(self.peer, body, message_id=message_id))
        except OSError as error:
            raise Closed(None) from error

    def top_up(self, rng):
        """Fills the window: first what is left over, then new messages."""
        if self.pending:
            if self.asking:
                return  # the server wants the refused ones first, in order
            self.send_pending()
        while len(self.asking) < WINDOW:
            self.sent += 1
            body = f"{self.user} {self.sent} ".encode() + rng.randbytes(rng.randint(0, 200)).hex().encode()
            self.push(uuid7(), body)

    def send_pending(self):
        """In their first order, which is what keeps it: refusals arrive in any."""
        again = sorted(self.pending, key=number_of)
        self.pending = []
        for item in again:
            self.push(*item)

    def answered(self, message_id, answer):
        body = self.asking.pop(message_id)
        if isinstance(answer, ServerError):
            assert answer.retry, answer
            self.pending.append((message_id, body))
            return
        result = (answer.seq, answer.message_id, body)
        assert self.acked.setdefault(message_id, result) == result, "another result for a retry"

    def lost(self):
        """The server is gone: reads what still lies in the socket, then all that is
        unanswered has to be sent again in its old order."""
        try:
            while True:
                self.pipe.pump(5)
        except Closed:
            pass
        self.pipe.client.close()
        self.pending = list({**self.asking, **dict(self.pending)}.items())
        self.asking = {}

    def ask_again(self, rng, count):
        """Retries messages that were acked before the crash; the results must be equal.
        settle() awaits them."""
        known = list(self.acked)[-500:]
        for message_id in rng.sample(known, min(count, len(known))):
            _, _, body = self.acked[message_id]
            self.push(message_id, body)

    def settle(self):
        end = time.monotonic() + 30
        while self.asking:
            assert time.monotonic() < end, f"{self.user}: {len(self.asking)} unanswered"
            self.pipe.pump(5)

    def send_all(self):
        """Until nothing is left: a server with much to do refuses some of it for a while."""
        end = time.monotonic() + 30
        while self.pending:
            assert time.monotonic() < end, f"{self.user}: {len(self.pending)} still refused"
            self.send_pending()
            self.settle()


def ask_all_again(talkers, node, rng, count):
    """Everybody is connected and has what was acked asked again, all at the same time."""
    for talker in talkers:
        talker.connect(node)
        talker.ask_again(rng, count)
    for talker in talkers:
        talker.settle()


def load_until(talkers, rng, enough):
    poll, of_fd = select.poll(), {}
    for talker in talkers:
        of_fd[talker.pipe.client.socket.fileno()] = talker
        poll.register(talker.pipe.client.socket, select.POLLIN)
    while not enough():
        for talker in talkers:
            talker.top_up(rng)
        for fd, _ in poll.poll(1):  # enough() looks at what the process does, too
            of_fd[fd].pipe.pump(0)


def acks_of(talkers):
    return sum(len(talker.acked) for talker in talkers)


def kill_under_load(node, watch, talkers, rng, wanted):
    """One round; what the process was doing when it died."""
    before = acks_of(talkers)
    until = [None]

    def enough():
        if acks_of(talkers) - before < ACKS_A_ROUND:
            return False
        if sum(len(t.asking) for t in talkers) < IN_FLIGHT:
            return False
        if until[0] is None:
            until[0] = time.monotonic() + (rng.uniform(0, RANDOM_S) if wanted == "random" else 10)
        if time.monotonic() >= until[0]:
            return True
        return wanted != "random" and watch.get(wanted) == 1

    load_until(talkers, rng, enough)
    node.kill()
    return {name for name in ("appending", "applying") if watch.get(name) == 1}


def kill_in_replay(node, watch):
    """A start that dies while it reads its log; False when it was too quick."""
    watch.set("replaying", 0)
    watch.set("read_delay_ms", 2)
    began = time.monotonic()
    node.spawn()
    end = began + 30
    # Up already: it was over before we looked.
    while watch.get("replaying") == 0 and node.alive() and not node.is_up(began):
        assert time.monotonic() < end, "the log was never read"
        LOOK_AGAIN.wait(0.001)  # nothing tells of it: a page is looked at
    node.kill()
    watch.set("read_delay_ms", 0)
    return watch.get("replaying") == 1


def verify(case, node, talkers):
    """The whole of every conversation against what was acked."""
    ids, lost = set(), 0
    for talker in talkers:
        messages = node.client(talker.user, device="verify").history(talker.peer)
        assert [m.seq for m in messages] == list(range(1, len(messages) + 1)), "a gap"
        by_id = {m.client_msg_id: (m.seq, m.message_id, m.body) for m in messages}
        assert len(by_id) == len(messages), "a message is there twice"
        assert len({m.message_id for m in messages} - ids) == len(messages), "an id twice"
        ids |= {m.message_id for m in messages}
        missing = sum(message_id not in by_id for message_id in talker.acked)
        case.count(acks=len(talker.acked), lost=missing)
        lost += missing
        for message_id, result in talker.acked.items():
            found = by_id.get(message_id, result)
            assert found == result, (talker.user, result, found)
        order = [int(m.body.split()[1]) for m in messages]
        wrong = [n for n in range(1, len(order)) if order[n] < order[n - 1]]
        assert not wrong, (f"{talker.user}: not in the order of sending: "
                           f"{[order[n - 3:n + 4] for n in wrong[:3]]}")
        for user in (talker.user, talker.peer):
            inbox = node.client(user, device="verify").sync()
            assert [e.inbox_seq for e in inbox] == list(range(1, len(messages) + 1)), user
            assert [e.message.message_id for e in inbox] == [m.message_id for m in messages]
    assert lost == 0, f"{lost} acked messages are lost"


def case_R1_R6_S1_I3_T12_P2_kill9_under_load(case):
    rounds = case.rounds or (400 if case.long else 100)
    if case.shape != "one":
        rounds = case.rounds or (100 if case.long else 12)  # a start takes half a second
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    watch = recorder.Shim(case)
    node = case.node(env=watch.env, config=CONFIG)
    talkers = [Talker(n) for n in range(PAIRS)]
    node.add_users(*(t.user for t in talkers), *(t.peer for t in talkers))
    deaths = {"appending": 0, "applying": 0, "replaying": 0, "elsewhere": 0}
    slowest = 0.0
    for number in range(rounds):
        watch.set("applying", 0)  # making a new store writes pages too
        ask_all_again(talkers, node, rng, 20)
        wanted = ("appending", "applying", "random")[number % 3]
        doing = kill_under_load(node, watch, talkers, rng, wanted)
        case.count(kills=1)
        for name in doing or {"elsewhere"}:
            deaths[name] += 1
        for talker in talkers:
            talker.lost()
        if number % 3 == 2:
            killed = kill_in_replay(node, watch)
            deaths["replaying"] += killed
            case.count(kills=int(killed))
        began = time.monotonic()
        node.start()
        slowest = max(slowest, time.monotonic() - began)
    ask_all_again(talkers, node, rng, 50)
    for talker in talkers:
        talker.send_all()
    verify(case, node, talkers)
    node.stop()
    case.check(node)
    print(f"     seed {seed}: {rounds} kills under load, {acks_of(talkers)} acks, "
          f"killed while {deaths}, slowest start {slowest:.2f} s")
    assert deaths["appending"] and deaths["applying"] and deaths["replaying"], deaths
