"""Edges: clients by the hundred that want nothing, take too much, never read or are gone
without a word, and a server that runs out of something. What it does then is stated in
docs/limits.md; in every case two people go on talking beside it."""
import contextlib
import os
import select
import socket
import subprocess
import sys
import time

from frames import Chat, login_bytes
from harness import (HEADER, HEARTBEAT, SEND, Closed, Node, ServerError, await_that, pb, send_body)
from netns import Wire

QUIET, MESSAGES = 8, 40  # people beside the flood, and what each of them sends in turn


def started(case, config=None, launch=()):
    node = case.new_node(config=config)
    node.launch = list(launch)
    node.start()
    node.add_users("alice", "bob", "carol")
    return node


def resident_kib(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def cpu_s(node):
    with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------ a flood of messages

FLOOD = """
import collections, os, socket, struct, sys, time
host, port, window, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
login = bytes.fromhex(sys.stdin.readline())
s = socket.create_connection((host, port))
s.sendall(login)
header = struct.Struct(">2sBBHHII")
def field(n, data):
    out = bytes([n << 3 | 2])
    size = len(data)
    while size > 127:
        out += bytes([size & 127 | 128]); size >>= 7
    return out + bytes([size]) + data
def message():
    now = int(time.time() * 1000).to_bytes(6, "big")
    id = now + bytes([0x70, 0, 0x80]) + os.urandom(7)
    return field(1, b"bob") + field(2, id) + bytes([3 << 3, 2]) + field(4, b"f" * size)
# What is refused goes again, in its order, as any client does.
buffer, waiting, n, acked, other, again = b"", {1: None}, 1, 0, 0, collections.deque()
print("flooding", flush=True)
while True:
    while len(waiting) < window:
        n += 1
        body = waiting[n] = again.popleft() if again else message()
        s.sendall(header.pack(b"AN", 1, 1, 4, 0, n, len(body)) + body)
    data = s.recv(1 << 20)
    if not data:
        break
    buffer += data
    at = 0
    while len(buffer) - at >= 16:
        flags, request, length = struct.unpack_from(">HII", buffer, at + 6)
        if len(buffer) - at < 16 + length:
            break
        if flags & 1:
            body = waiting.pop(request)
            if flags & 2:
                other += 1; again.append(body)
            else:
                acked += 1
        at += 16 + length
    buffer = buffer[at:]
    sys.stderr.seek(0)
    print(acked, other, file=sys.stderr, flush=True)
"""


def flood(case, node, window, size):
    """A process of its own, so that it takes nothing from those who measure."""
    counts = os.path.join(case.dir, f"flood-{window}-{size}")
    with open(counts, "wb") as f:
        process = subprocess.Popen(
            [sys.executable, "-c", FLOOD, node.host, str(node.port), str(window), str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=f)
    case.processes.append(process)
    process.stdin.write(login_bytes(node, "alice", "flood").hex().encode() + b"\n")
    process.stdin.close()
    assert process.stdout.readline() == b"flooding\n"

    def so_far():
        with open(counts, encoding="ascii") as f:
            found = f.readline().split()
        return int(found[0]) if len(found) == 2 else 0

    await_that("the flood to run", lambda: so_far() > window)
    return process, so_far


def acked(person, message):
    """Until it is acknowledged: a disk that the flood fills faster than segments are made
    is BUSY for everybody for a moment."""
    while True:
        try:
            return person.answer(person.send_frame(SEND, message), pb.SendOk)
        except ServerError as error:
            assert error.name == "BUSY" and error.retry, error


def talk(people):
    """Everybody sends, then everybody waits for the ack: how long each round took."""
    took = []
    for n in range(MESSAGES):
        began = time.monotonic()
        messages = [send_body("bob", f"number {n}", 2) for _ in people]
        requests = [person.send_frame(SEND, message)
                    for person, message in zip(people, messages)]
        for person, message, request in zip(people, messages, requests):
            try:
                person.answer(request, pb.SendOk)
            except ServerError as error:
                assert error.name == "BUSY" and error.retry, error
                acked(person, message)
        took.append(time.monotonic() - began)
    return sorted(took)


def flooded(case, window, size):
    node = started(case, "gate:\n  user_sends_per_s: 0\n")
    people = [node.client("carol", device=f"quiet{n}", send_only=True) for n in range(QUIET)]
    alone = talk(people)
    process, so_far = flood(case, node, window, size)
    before, taken, beside = so_far(), 0, []
    while taken <= QUIET * MESSAGES and len(beside) < 20 * MESSAGES:
        beside = sorted(beside + talk(people))
        taken = so_far() - before
    assert process.poll() is None, "the flood ended"
    process.kill()
    figures = (f"round of {QUIET} alone: median {alone[MESSAGES // 2] * 1e3:.1f} ms, "
               f"worst {alone[-1] * 1e3:.1f}; beside {taken} messages of the flood: "
               f"{beside[len(beside) // 2] * 1e3:.1f}, worst {beside[-1] * 1e3:.1f}")
    print(f"     {figures}")
    assert taken > QUIET * MESSAGES, f"no flood: {figures}"
    # Nobody waits for more than the batches under way: the flood's whole window would be
    # many of them. A loaded machine is slow for everybody; these bounds are wide.
    assert beside[len(beside) // 2] < 20 * alone[MESSAGES // 2] + 0.25, figures
    assert beside[-1] < 5, figures
    return node


def case_P7_one_that_floods_gets_its_share(case):
    flooded(case, 256, 200)


def case_P7_a_flood_of_large_bodies_leaves_room(case):
    node = flooded(case, 64, 60000)
    assert node.metrics()["anser_gate_request_bytes"] < 8 << 20


# ------------------------------------------------------------------ connections

def case_P7_connections_that_want_nothing(case):
    """Hundreds that never log in: those inside go on, those behind the limit hear why, and
    the places come back by themselves."""
    node = started(case, "gate:\n  conns_max: 64\n  login_timeout_ms: 2000\n")
    with Chat(node):
        flood = []
        for _ in range(300):
            s = node.connect(20)
            case.sockets.append(s)
            flood.append(s)
        await_that("the limit", lambda: node.metrics()["anser_gate_conns_refused_total"] >= 200)
        def inside():
            try:
                return node.client("carol", device="late")
            except (Closed, ConnectionError, AssertionError):
                return None

        late = await_that("a place", inside)
        late.send("bob", "the flood is over")
        said = flood[-1].recv(1000)
        assert b"TOO_MANY_CONNECTIONS" in said, said
    assert node.metrics()["anser_gate_conns"] <= 64


def case_P7_out_of_descriptors(case):
    """Accepting stops before the descriptors end: nothing else of the process misses one,
    nobody spins, and it goes on when some are free."""
    few = ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]
    began = time.monotonic()
    node = started(case, launch=few)
    chat = Chat(node)
    held = []
    with chat:
        for _ in range(400):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((node.host, node.port))
            case.sockets.append(s)
            held.append(s)
        await_that("accepting to stop", lambda: "out of descriptors" in node.stderr())
        inside = node.metrics()["anser_gate_conns"]  # the control endpoint still answers
        assert 50 < inside < 256, inside
        talked = chat.count
        await_that("the talk to go on", lambda: chat.count > talked + 50 or chat.failure)
    # Nothing happens now: whoever polls a listener that it cannot serve would spin.
    before = cpu_s(node)
    select.select([], [], [], 2)
    spent = cpu_s(node) - before
    assert spent < 0.5, f"{spent:.2f} s of processor in 2 s of nothing"
    for s in held:
        s.close()
    await_that("accepting to go on", lambda: "accepting again" in node.stderr())
    node.client("carol", device="late").send("bob", "there is room")
    lines = node.stderr().count("out of descriptors")
    assert lines <= 1 + time.monotonic() - began, f"{lines} lines\n{node.stderr()}"


# ------------------------------------------------------------------ silent and gone

class WiredNode(Node):
    """A node on a host of its own; clients come over the wire."""

    def __init__(self, case, wire, **how):
        super().__init__(case, **how)
        self.wire = wire
        self.launch = wire.prefix("a")
        self.listen = f"tcp://{wire.address['a']}:0"
        self.args.append("--plain")

    def connect(self, timeout, gate=0):
        return self.wire.connect((self.host, self.port), timeout)


def case_P7_a_half_open_peer_is_dropped(case):
    """Every packet of a client is lost, and nobody says that it is gone."""
    wire = Wire(case, hosts=("a", "b"))
    config = "gate:\n  plain: anywhere\n  idle_ms: 3000\n  heartbeat_ms: 1000\n"
    node = WiredNode(case, wire, config=config).start()
    node.add_users("alice", "bob", "carol")
    with wire.entered("b"):
        node.wire = _From(wire, "b")
        lost = node.client("carol", device="lost")
    node.wire = wire
    with Chat(node):
        assert node.metrics()["anser_gate_conns"] >= 3
        wire.cut("a", "b")
        alice = node.client("alice", device="writes")
        for n in range(20):
            alice.send("carol", f"into nowhere {n}")
        await_that("the lost one to be closed",
                   lambda: node.metrics()["anser_gate_closed_idle_total"] >= 1)
        # Its place goes too, without a word from it: last words are not waited for.
        await_that("its connection to end", lambda: node.metrics()["anser_gate_conns"] <= 3)
    wire.heal()
    lost.close()
    carol = node.client("carol", device="lost")
    assert len(carol.sync()) == 20


class _From:
    """The wire as seen from another of its hosts."""

    def __init__(self, wire, host):
        self.wire, self.host = wire, host

    def connect(self, address, timeout):
        return self.wire.connect(address, timeout, self.host)


def case_P7_one_that_asks_and_never_reads(case):
    """Its answers fill its own sockets and then nothing of it is read any more: no memory
    of ours, nobody else's time, and in the end it counts as silent."""
    node = started(case, "gate:\n  idle_ms: 3000\n  heartbeat_ms: 1000\n")
    client = node.client("carol", device="deaf")
    client.socket.setblocking(False)
    data = b"".join(HEADER.pack(b"AN", 1, 1, HEARTBEAT, 0, n + 10, 0) for n in range(4096))
    before = resident_kib(node)
    with Chat(node):
        written, end = 0, time.monotonic() + 60

        def closed():
            nonlocal written
            with contextlib.suppress(BlockingIOError):
                try:
                    written += client.socket.send(data)
                except (ConnectionError, BrokenPipeError):
                    return True
            metrics = node.metrics()
            return metrics["anser_gate_closed_slow_total"] + \
                metrics["anser_gate_closed_idle_total"] >= 1

        await_that("it to be cut off", closed, 60)
        assert time.monotonic() < end
    grown = resident_kib(node) - before
    assert grown < 32 * 1024, f"{grown} KiB for {written} bytes of a client that never reads"


def case_P7_slow_one_beside_a_fast_one(case):
    """Two devices of one user: the one that does not read is cut off, the other misses
    nothing, and the memory for the first is bounded."""
    node = started(case)
    slow = node.client("carol", device="slow")
    fine = node.client("carol", device="fine")
    alice = node.client("alice", device="loud")
    before, body = resident_kib(node), b"z" * 65536
    for n in range(150):
        alice.send("carol", body, kind=2)
        fine.await_events(1)
    await_that("the slow one to be cut off",
               lambda: node.metrics()["anser_gate_closed_slow_total"] >= 1)
    assert resident_kib(node) - before < 96 * 1024
    fine.send("bob", "still here")
    with contextlib.suppress(Closed):
        while True:
            slow.note(slow.read_frame(10))
    assert slow.events, "nothing of what was sent before the cut"
