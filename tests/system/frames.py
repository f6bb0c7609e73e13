"""Frames as a broken or hostile client makes them: a clear error, a closed connection, and
nobody else disturbed."""
import os
import random
import struct
import threading
import time

from harness import (CONFIRM, HEADER, HEARTBEAT, LOGIN, SEND, Client, Closed, ServerError,
                     await_that, pb, send_body, uuid7)


class Chat:
    """Two people who keep talking in a thread while the case misbehaves."""

    def __init__(self, node):
        self.alice = node.client("alice", device="chat")
        self.bob = node.client("bob", device="chat")
        self.count, self.slowest, self.failure = 0, 0.0, None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.talk)

    def talk(self):
        try:
            while not self.stop.is_set():
                started = time.monotonic()
                sent = self.alice.send("bob", f"number {self.count}")
                body = None
                while body != f"number {self.count}".encode():  # others write to bob too
                    event, = self.bob.await_events(1)
                    body = event.message.body
                assert event.message.seq == sent.seq, (event, sent)
                # As every client does; who only listens is closed as idle.
                self.bob.call(CONFIRM, pb.Confirm(inbox_seq=event.inbox_seq))
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.count += 1
        except Exception as error:  # reported by __exit__
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failed):
        # At least some talk happens beside the misbehaviour, however short that was.
        if failed[0] is None:
            await_that("some talk", lambda: self.count >= 20 or self.failure)
        self.stop.set()
        self.thread.join(30)
        assert self.failure is None, f"the others were disturbed: {self.failure!r}"
        assert self.slowest < 10, f"the others waited {self.slowest:.1f} s"


def started(case, config=None):
    node = case.node(config=config)
    node.add_users("alice", "bob", "carol")
    return node


def login_bytes(node, user, device):
    login = pb.Login(token=token_of(node, user), device=device.encode())
    body = login.SerializeToString()
    return HEADER.pack(b"AN", 1, 1, LOGIN, 0, 1, len(body)) + body


def token_of(node, user):
    return node.case.token(node, user).encode()


def case_C1_frames_in_single_bytes(case):
    node = started(case)
    with Chat(node):
        client = Client(node)
        body = send_body("bob", "byte by byte").SerializeToString()
        send = HEADER.pack(b"AN", 1, 1, SEND, 0, 2, len(body)) + body
        for request, data, kind in ((1, login_bytes(node, "carol", "slow"), pb.LoginOk),
                                    (2, send, pb.SendOk)):
            for n in range(len(data)):
                client.send_raw(data[n:n + 1])
            client.answer(request, kind)


def case_C1_many_frames_in_a_segment(case):
    node = started(case)
    client = Client(node)
    count = 100
    data = login_bytes(node, "carol", "glue")  # what comes behind a Login waits for its end
    for n in range(count):
        body = send_body("bob", f"glued {n}").SerializeToString()
        data += HEADER.pack(b"AN", 1, 1, SEND, 0, n + 2, len(body)) + body
    with Chat(node):
        client.send_raw(data[:5])
        client.send_raw(data[5:])
        client.answer(1, pb.LoginOk)
        seqs = [client.answer(n + 2, pb.SendOk).seq for n in range(count)]
    assert seqs == list(range(1, count + 1)), seqs


BROKEN = (
    ("FRAME_MAGIC", b"XN", 1, 1, 0, 0),
    ("FRAME_MAGIC", b"GE", 0x54, 0x20, 0, 0x20),
    ("FRAME_VERSION", b"AN", 2, 1, 0, 0),
    ("FRAME_VERSION", b"AN", 0, 1, 0, 0),
    ("FRAME_FLAGS", b"AN", 1, 1, 0x8000, 0),
    ("FRAME_TOO_LARGE", b"AN", 1, 1, 0, 70000),
    ("FRAME_TOO_LARGE", b"AN", 1, 1, 0, 0xFFFFFFFF),
)


def case_C1_broken_headers(case):
    node = started(case)
    with Chat(node):
        for login in (None, "carol"):
            for name, magic, version, codec, flags, length in BROKEN:
                client = node.client(login, device="broken")
                client.send_raw(HEADER.pack(magic, version, codec, HEARTBEAT, flags, 7, length))
                said = client.closing()
                assert said == name, (said, name, login)
                client.close()
        # A wrong first byte is enough.
        client = node.client()
        client.send_raw(b"G")
        assert client.closing() == "FRAME_MAGIC"


def case_C5_broken_bodies_keep_the_connection(case):
    node = started(case)
    with Chat(node):
        client = node.client("carol", device="broken")
        for name, command, body, codec in (
                ("CODEC", HEARTBEAT, b"", 9),
                ("COMMAND", 50, b"", 1),
                ("COMMAND", 65535, b"abc", 1),
                ("BODY_MALFORMED", SEND, b"\xff\xff\xff\xff", 1),
                ("BODY_MALFORMED", SEND, b"\x0a\x7fshort", 1),
                ("LOGIN_TWICE", LOGIN, pb.Login(token=token_of(node, "carol"),
                                                device=b"broken"), 1)):
            request = client.send_frame(command, body, codec=codec)
            try:
                raise AssertionError(f"{name}: answered {client.answer(request, pb.Error)}")
            except ServerError as error:
                assert error.name == name, (error.name, name)
        no_id = pb.Send(to=b"bob", type=1, body=b"no id")
        assert client.refused(SEND, no_id) == "ARGUMENT"
        assert client.refused(SEND, pb.Send(client_msg_id=uuid7(), type=1,
                                            body=b"to nobody")) in ("ARGUMENT", "USER_NAME")
        client.send("bob", "still connected")


def case_A3_command_before_login(case):
    node = started(case)
    for command, body in ((SEND, send_body("bob", "hi")), (HEARTBEAT, pb.Heartbeat()),
                          (99, b"")):
        client = node.client()
        request = client.send_frame(command, body)
        names = []
        try:
            client.answer(request, pb.SendOk)
        except ServerError as error:
            names.append(error.name)
            names.append(client.closing())
        except Closed as closed:
            names.append(closed.goodbye and closed.goodbye.name.decode())
        assert "LOGIN_REQUIRED" in names, names


def case_random_bytes(case):
    node = started(case, config="gate: {user_logins_per_s: 0}\n")
    seed = int.from_bytes(os.urandom(4), "big")
    rng = random.Random(seed)
    end = time.monotonic() + (60 if case.long else 5)
    rounds = 0
    with Chat(node):
        while time.monotonic() < end:
            client = node.client("carol" if rng.random() < 0.3 else None, device="noise")
            data = rng.randbytes(rng.randint(1, 5000))
            if rng.random() < 0.6:  # past the header: noise as a body
                data = HEADER.pack(b"AN", 1, rng.choice((1, 1, 1, 7)), rng.randint(0, 70), 0,
                                   rng.randint(0, 2 ** 32 - 1), len(data)) + data
            if rng.random() < 0.3:  # a good frame with one bit wrong
                good = bytearray(login_bytes(node, "carol", "noise"))
                good[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
                data = bytes(good)
            try:
                client.send_raw(data)
                client.fill(0.02)
            except (Closed, ConnectionError):
                pass
            client.close()
            rounds += 1
    assert rounds > 20, (rounds, seed)
    assert node.process.poll() is None, f"seed {seed}"


IDLE = "gate:\n  idle_ms: 1500\n  heartbeat_ms: 500\n  login_timeout_ms: 1000\n"


def case_C6_idle_connections_are_reaped(case):
    node = started(case, IDLE)
    silent = node.client("carol", device="silent")
    nobody = node.client()
    beating = node.client("carol", device="beating")
    assert silent.login_ok.idle_ms == 1500 and silent.login_ok.heartbeat_ms == 500
    done = threading.Event()
    end = time.monotonic() + 4

    def beat():
        while time.monotonic() < end and not done.wait(0.3):
            beating.call(HEARTBEAT, pb.Heartbeat())

    thread = threading.Thread(target=beat)
    thread.start()
    assert nobody.closing(10) == "LOGIN_TIMEOUT"
    assert silent.closing(10) == "IDLE"
    thread.join()
    beating.send("bob", "the beating heart lives")


def case_C11_slow_consumer_is_cut_off(case):
    node = started(case)
    # Reads nothing while messages of 64 KiB come; the others go on.
    slow = node.client("carol", device="slow")
    fine = node.client("carol", device="fine")
    alice = node.client("alice", device="loud")
    body = b"z" * 65536
    seen = 0

    def cut_off():
        return node.metrics().get("anser_gate_closed_slow_total", 0) > 0

    for _ in range(400):
        alice.send("carol", body)
        seen += len(fine.await_events(1))
        if seen % 50 == 0 and cut_off():
            break
    await_that("the slow one to be cut off", cut_off)
    fine.send("alice", "still here")
    try:
        while True:
            slow.note(slow.read_frame(10))
    except Closed:
        pass


def case_connection_limit(case):
    node = started(case, "gate:\n  conns_max: 8\n")
    kept = [node.client("carol", device=f"d{n}") for n in range(8)]
    extra = node.client()
    assert extra.closing() in ("TOO_MANY_CONNECTIONS", None)
    kept[0].send("bob", "inside the limit")
    kept.pop().close()

    def place():
        try:
            return node.client("carol", device="late")
        except (Closed, ConnectionError):
            return None

    await_that("the place to be free again", place).send("bob", "now there is room")


def case_C1_C2_nothing_is_read_of_a_huge_length(case):
    node = started(case)
    client = node.client("carol")
    client.send_raw(struct.pack(">2sBBHHII", b"AN", 1, 1, SEND, 0, 1, 1 << 30))
    assert client.closing() == "FRAME_TOO_LARGE"
