"""Protection: what a user, an address, a crowd and those who dawdle are held to, and that
nobody else notices (docs/limits.md)."""
import json
import selectors
import socket
import statistics
import threading
import time

from cluster import FIVE, Cluster
from doors import raw, tls_node, trusting
from doors_web import ALL, frame, logged_in, opened, request
from features_sdk import Sdk
from frames import Chat, login_bytes
from harness import (CONFIRM, ERROR, HEADER, HEARTBEAT, HISTORY, LOGIN, SEND, SYNC, Client,
                     Pipeline, ServerError, await_that, pb, send_body)
from scenario import bodies, finish, jwt, pair


def over(node, limit):
    return node.metrics()[f"anser_gate_over_{limit}_total"]


# --- users


def case_Y4_a_user_over_its_rate(case):
    """All connections of a user count together. What is refused is not stored, what follows it
    in a conversation waits for it, and when it has waited as long as it was told, it is taken."""
    node = pair(case, config="gate: {user_sends_per_s: 5, rate_burst_s: 2}\n")
    other = node.client("bob", device="other", send_only=True)
    answers = {}
    lines = [Pipeline(node.client("alice", device=f"d{n}", send_only=True),
                      lambda tag, answer: answers.__setitem__(tag, answer)) for n in range(3)]
    messages = {(n, k): send_body("bob", f"{n} {k}") for n in range(3) for k in range(20)}
    began = time.monotonic()
    for n, k in messages:
        lines[n].push((n, k), messages[n, k])
    for line in lines:
        line.run(100, [])
    other.send("alice", "others do not wait")
    taken = {tag for tag, answer in answers.items() if not isinstance(answer, ServerError)}
    spent = time.monotonic() - began
    assert 10 <= len(taken) <= 11 + 5 * spent, (len(taken), spent)
    refused = [answer for answer in answers.values() if isinstance(answer, ServerError)]
    assert {"RATE"} <= {error.name for error in refused} <= {"RATE", "ORDER"}, refused
    assert all(0 < error.retry_after_ms <= 1000 for error in refused if error.name == "RATE")
    assert over(node, "user_sends") == sum(error.name == "RATE" for error in refused)
    inbox = node.client("bob", device="reads")
    stored = [body.decode() for body in bodies(inbox.sync()) if body[:1].isdigit()]
    assert {tuple(map(int, text.split())) for text in stored} == taken, stored
    # Once more, in order, by one who waits.
    for n, k in messages:
        while (n, k) not in taken:
            try:
                lines[n].client.call(SEND, messages[n, k])
                taken.add((n, k))
            except ServerError as error:
                assert error.name == "RATE" and error.retry, error
                threading.Event().wait(error.retry_after_ms / 1000)
    texts = [m.body.decode() for m in inbox.history("alice") if m.body[:1].isdigit()]
    for n in range(3):
        own = [text for text in texts if text.startswith(f"{n} ")]
        assert own == [f"{n} {k}" for k in range(20)], own
    assert time.monotonic() - began > (60 - 11) / 5, "faster than the rate"
    finish(case, node)


def case_Y4_each_command_has_its_rate(case):
    rates = "".join(f"user_{name}_per_s: 1, " for name in
                    ("syncs", "histories", "confirms", "heartbeats", "logins"))
    node = pair(case, config=f"gate: {{{rates} rate_burst_s: 3}}\n")
    asks = {"syncs": (SYNC, pb.Sync()), "histories": (HISTORY, pb.History(peer=b"bob")),
            "confirms": (CONFIRM, pb.Confirm()), "heartbeats": (HEARTBEAT, pb.Heartbeat())}
    alice = node.client("alice")
    for name, (command, body) in asks.items():
        said = []
        for _ in range(12):
            try:
                alice.call(command, body)
            except ServerError as error:
                assert error.retry and error.retry_after_ms > 0, error
                said.append(error.name)
        assert said and set(said) == {"RATE"}, (name, said)
        assert over(node, f"user_{name}") == len(said)
    alice.send("bob", "what has no limit goes on")
    refused = 0
    for n in range(12):
        try:
            node.client("alice", device=f"d{n}").close()
        except ServerError as error:
            assert error.name == "RATE" and error.retry_after_ms > 0, error
            refused += 1
    assert refused and over(node, "user_logins") == refused
    node.client("bob")
    finish(case, node)


def case_Y4_the_library_waits_as_it_is_told(case):
    """Many messages to several people at once: all arrive, each conversation in order, and
    little is asked in vain."""
    node = pair(case, config="gate: {user_sends_per_s: 20, rate_burst_s: 1}\n")
    node.add_users("carol", "dave")
    people = ("bob", "carol", "dave")
    sdk = Sdk(case, node, "alice", attempts=4, timeout_ms=60000)
    for n in range(40):
        for name in people:
            sdk.say(name, f"{n}")
    lines = sdk.close()
    assert sum(" SENT " in line for line in lines) == 120, lines[-20:]
    assert not any(" FAILED " in line for line in lines), lines[-20:]
    for name in people:
        told = bodies(node.client(name).sync())
        assert told == [str(n).encode() for n in range(40)], (name, told)
    refused = over(node, "user_sends")
    print(f"     120 messages at 20/s: {refused:.0f} refused with RATE")
    assert 0 < refused < 360, refused
    finish(case, node)


# --- addresses


class From(Client):
    """A client at another of this machine's addresses."""

    def __init__(self, node, address, user=None, **how):
        self.address = address
        super().__init__(At(node, address), user, **how)


class At:
    """The node as seen from there."""

    def __init__(self, node, address):
        self.node, self.case, self.address = node, node.case, address

    def settled(self):
        self.node.settled()

    def connect(self, timeout, gate=0):
        assert gate == 0
        return socket.create_connection((self.node.host, self.node.port), timeout,
                                        source_address=(self.address, 0))


def case_Y4_an_address_over_its_limits(case):
    """Connections, and tries at tokens: 127.0.0.2 is held, 127.0.0.3 and who is trusted are
    not."""
    node = case.node(config="gate: {unlimited: 127.0.0.1, address_conns_max: 10, "
                     "address_logins_per_s: 2, address_requests_per_s: 10, "
                     "rate_burst_s: 4}\n")
    node.add_users("alice", "bob", "carol")
    tokens = {name: case.token(node, name) for name in ("alice", "bob", "carol")}

    def at(address, user=None, **how):
        return From(node, address, user, token=tokens.get(user), **how)

    with Chat(node):
        inside = at("127.0.0.2", "carol", device="inside")
        crowd = [at("127.0.0.2") for _ in range(9)]
        assert at("127.0.0.2").closing() == "ADDRESS_FULL"
        at("127.0.0.3", "carol", device="next")
        for client in crowd[:7]:
            assert client.refused(LOGIN, pb.Login(token=b"guess", device=b"d")) == \
                "TOKEN_INVALID"
        for client in crowd[7:]:  # a good one too: nobody looked at it
            try:
                client.call(LOGIN, pb.Login(token=tokens["bob"].encode(), device=b"d"))
                raise AssertionError("not refused")
            except ServerError as error:
                assert error.name == "RATE" and 0 < error.retry_after_ms <= 500, error
        again = crowd[8]
        threading.Event().wait(1.1)  # what it was told to wait, and for the one before it
        again.call(LOGIN, pb.Login(token=tokens["bob"].encode(), device=b"d"))
        at("127.0.0.3", "bob", device="next")
        # All users of the address together.
        said = []
        for n in range(100):
            try:
                (inside, again)[n % 2].call(SYNC, pb.Sync())
            except ServerError as error:
                said.append(error.name)
        assert said and set(said) == {"RATE"}, said
        at("127.0.0.3", "alice", device="next").call(HEARTBEAT, pb.Heartbeat())
    for limit in ("address_conns", "address_logins", "address_requests"):
        assert over(node, limit) >= 1, limit
    said = [line for line in node.stderr().splitlines() if "refused limit=" in line]
    assert "limit=address_conns address=127.0.0.2 conn=" in said[0], said
    assert said[0].endswith(" user=- count=1"), said
    finish(case, node)


# --- a byte at a time


class Drip(threading.Thread):
    """Sends a byte in a tenth of a second, until the server ends it."""

    def __init__(self, name, connected, data):
        super().__init__(daemon=True)
        self.what, self.socket, self.data, self.ended_s = name, connected, data, None
        self.began = time.monotonic()

    def run(self):
        self.socket.settimeout(0.1)
        for byte in self.data:
            try:
                self.socket.sendall(bytes([byte]))
                if not self.socket.recv(65536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            return
        self.ended_s = time.monotonic() - self.began


def case_Y4_slow_loris_on_every_door(case):
    """In the handshake of TLS and of Noise, the request of a WebSocket, the Login and a later
    frame: the time runs from the beginning, and two people talk on beside them all."""
    node = tls_node(case, "handshake_ms: 2000, login_timeout_ms: 2000, idle_ms: 4000, "
                    "heartbeat_ms: 1000", listen=ALL + ",noise://127.0.0.1:0")
    node.add_users("carol")
    login = login_bytes(node, "carol", "slow")
    heartbeat = HEADER.pack(b"AN", 1, 1, HEARTBEAT, 0, 9, 0)
    line = json.dumps({"command": "Login", "request": 1, "body": {"token": "x" * 500}}).encode()
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    slow_request = request()[:-2] + b"X-Slow: " + b"x" * 500

    def tls(door):
        return trusting(node.ca).wrap_socket(raw(node, door), server_hostname="localhost")

    def told(door, user):  # logged in
        return logged_in(node, door, user).socket

    def plain_told():
        client = node.client("carol", device="plain")
        return client.socket

    with Chat(node):
        drips = [
            (2, Drip("tcp login", raw(node, "tcp"), login + bytes(500))),
            (2, Drip("tcp line", raw(node, "tcp"), line)),
            (2, Drip("tls hello", raw(node, "tls"), hello)),
            (2, Drip("tls login", tls("tls"), login + bytes(500))),
            (2, Drip("noise hello", raw(node, "noise"), bytes([0, 48]) + bytes(500))),
            (2, Drip("ws request", raw(node, "ws"), slow_request)),
            (2, Drip("ws login", opened(node, "ws").socket, frame(login) + bytes(500))),
            (2, Drip("wss hello", raw(node, "wss"), hello)),
            (2, Drip("wss request", tls("wss"), slow_request)),
            (2, Drip("wss login", opened(node, "wss").socket, frame(login) + bytes(500))),
            (4, Drip("tcp frame", plain_told(), heartbeat[:12] + b"\0\0\2\0" + bytes(500))),
            (4, Drip("ws frame", told("ws", "carol"), frame(bytes(1000)))),
            (4, Drip("wss frame", told("wss", "alice"), frame(bytes(1000)))),
        ]
        for _, drip in drips:
            drip.start()
        for limit, drip in drips:
            drip.join(30)
            assert drip.ended_s is not None, f"{drip.what} is still there"
            # A tick of the gate, and a machine with much to do.
            assert drip.ended_s < limit + 4, f"{drip.what} lasted {drip.ended_s:.1f} s"
    assert node.metrics()["anser_gate_handshakes_late_total"] >= 4
    finish(case, node)


# --- all at once

CROWD, CROWD_LONG = 2000, 6000
PER_S, BURST = 250, 50
THREE_GATES = FIVE.replace("  router/0:", "  gate/1:      {host: here, listen: [GATE1]}\n"
                           "  gate/2:      {host: here, listen: [GATE2]}\n  router/0:")


class Crowd:
    """Thousands of clients in one thread: connects them, logs them in, and connects who is
    lost again at once, to the gate that choose() says."""

    def __init__(self, cluster, logins, choose):
        self.cluster, self.logins, self.choose = cluster, logins, choose
        self.selector = selectors.EpollSelector()
        self.sockets = [None] * len(logins)
        self.gate = [None] * len(logins)
        self.got = [b""] * len(logins)
        self.inside = [False] * len(logins)
        self.tries = 0

    def connect(self, n):
        self.gate[n] = self.choose(n)
        s = socket.socket()
        s.setblocking(False)
        self.sockets[n], self.got[n], self.inside[n] = s, b"", False
        self.tries += 1
        s.connect_ex(self.cluster.gates[self.gate[n]])
        self.selector.register(s, selectors.EVENT_WRITE, n)

    def lost(self, n):
        self.selector.unregister(self.sockets[n])
        self.sockets[n].close()
        self.connect(n)

    def step(self, timeout=0.1):
        for key, events in self.selector.select(timeout):
            n, s = key.data, key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    s.sendall(self.logins[n])
                    self.selector.modify(s, selectors.EVENT_READ, n)
                    continue
                data = s.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.lost(n)
                continue
            if not self.inside[n]:
                self.got[n] += data
                self.judge(n)

    def judge(self, n):
        if len(self.got[n]) < HEADER.size:
            return
        _, _, _, command, flags, _, _ = HEADER.unpack_from(self.got[n])
        if command == LOGIN and not flags & ERROR:
            self.inside[n], self.got[n] = True, b""
        else:
            self.lost(n)  # a Goodbye, or an error: at once again, as nobody should

    def until(self, what, condition, timeout):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, \
                f"not within {timeout:g} s: {what}; {sum(self.inside)} inside"
            self.step()

    def close(self):
        for s in self.sockets:
            if s is not None:
                s.close()
        self.selector.close()


class Watch(threading.Thread):
    """How many connections a gate has taken, by the time."""

    def __init__(self, cluster, gate):
        super().__init__(daemon=True)
        self.cluster, self.gate, self.seen, self.stop = cluster, gate, [], threading.Event()

    def accepted(self):
        return self.cluster.ask(self.gate, "stats")["stats"]["gate"]["accepted_total"]

    def run(self):
        while not self.stop.wait(0.2):
            before = time.monotonic()
            self.seen.append((before, self.accepted(), time.monotonic()))

    def end(self):
        self.stop.set()
        self.join(30)
        return self.seen

    def peak(self):
        """The most that was taken in a second or a little more, as a rate of that time; how
        much more than the limit allows was taken in any stretch."""
        rates, beyond = [0], [0]
        for i, (_, count, after) in enumerate(self.seen):
            for before, later, at in self.seen[i + 1:]:
                # The counts are of some moment between the two of each.
                beyond.append(later - count - PER_S * (at - self.seen[i][0]) - BURST)
                if before - after >= 1:
                    rates.append((later - count) / (before - after))
                    break
        return max(rates), max(beyond)


def case_L6_all_clients_of_a_dead_gate_come_at_once(case):
    """Thousands of clients on three gates; one is killed, and all of its clients come at once
    to one other, without any pause of their own. It takes them no faster than it may, those
    inside go on, everybody is back in time, and the gate that comes back fills up."""
    count = CROWD_LONG if case.long else CROWD
    cluster = Cluster(case, "five", text=THREE_GATES,
                      config=f"gate: {{accept_per_s: {PER_S}, accept_burst: {BURST}}}\n")
    cluster.start()
    users = [f"bench{n:05}" for n in range(count // 10)]
    cluster.run("bench", "--users", str(len(users)), "--fill", "1", timeout=120)
    cluster.add_users("alice", "bob", "carol")
    logins = []
    for n in range(count):
        body = pb.Login(token=jwt(cluster, users[n // 10], exp=int(time.time()) + 3600).encode(),
                        device=f"d{n % 10}".encode(), platform=b"ios").SerializeToString()
        logins.append(HEADER.pack(b"AN", 1, 1, LOGIN, 0, 1, len(body)) + body)
    dead = [False]
    crowd = Crowd(cluster, logins,
                  lambda n: 1 if dead[0] and n % 3 == 0 else n % 3)
    case.cleanups.append(crowd.close)
    for n in range(count):
        crowd.connect(n)
    crowd.until("all inside", lambda: all(crowd.inside), 30 + count / PER_S)

    watch = Watch(cluster, "gate/1")
    watch.start()
    talk = Talk(cluster)
    talk.start()
    dead[0], crowd.tries = True, 0
    when = cluster.kill_actor("gate/0")
    moved = [n for n in range(count) if n % 3 == 0]
    crowd.until("the kill to be noticed", lambda: not all(crowd.inside), 10)
    crowd.until("all back", lambda: all(crowd.inside), 30 + 2 * len(moved) / PER_S)
    took = time.monotonic() - when
    slowest = talk.end()
    watch.end()
    peak, beyond = watch.peak()
    print(f"     {len(moved)} of {count} clients back in {took:.1f} s after {crowd.tries} tries; "
          f"peak {peak:.0f} a second at {PER_S}/s and {BURST} at once; beside it a message took "
          f"{statistics.median(talk.took) * 1e3:.0f} ms, at worst {slowest * 1e3:.0f}")
    assert all(crowd.gate[n] == 1 for n in moved)
    assert beyond <= 5, f"{beyond:.0f} more than the limit"
    assert took > 0.8 * (len(moved) - BURST) / PER_S, "no storm, or no limit"
    assert slowest < 5, slowest
    assert len(talk.took) >= 10, "nobody talked"

    # The gate that is back takes clients again: those who come now.
    cluster.await_actors(["gate/0"], when)
    cluster.await_logins()
    dead[0] = False
    for n in moved[:300]:
        crowd.lost(n)
    crowd.until("the new gate to fill up", lambda: all(crowd.inside), 30 + 300 / PER_S)
    assert cluster.ask("gate/0", "conns")["count"] >= 300
    crowd.close()
    finish(case, cluster)


class Talk(threading.Thread):
    """Two people inside the gate that all come to."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.alice = cluster.client("alice", gate=1)
        self.bob = cluster.client("bob", gate=1)
        self.took, self.over, self.failure = [], threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(0.02):
                began = time.monotonic()
                self.alice.send("bob", f"number {len(self.took)}")
                self.bob.await_events(1)
                self.took.append(time.monotonic() - began)
        except Exception as error:  # reported by end()
            self.failure = error

    def end(self):
        """The slowest."""
        self.over.set()
        self.join(30)
        assert self.failure is None, self.failure
        return max(self.took)
