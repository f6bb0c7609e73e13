"""Noise on the client port: who gets in without a certificate, what is on the wire, and what
becomes of those who are no holder of a key. The client's end here is client/python's, on
python3-cryptography: neither our C nor libsodium."""
import json
import os
import re
import secrets
import shutil
import socket
import struct
import sys
import threading
import time

import harness
from cluster import free_port
from doors import ended, library_goes_through, only_the_newest_stay, raw, resident
from features_sdk import Sdk
from harness import Client, Closed, Skip, await_that
from scenario import finish

sys.path.insert(0, os.path.join(harness.TOP, "client", "python"))

BOTH = "tcp://127.0.0.1:0,noise://127.0.0.1:0"
HELLO = 50  # a handshake record
EXTRA = 18  # of every other, beside its piece


def channel_for(key):
    try:
        from anser.noise import Channel, parse_key
    except ImportError as missing:
        raise Skip(str(missing)) from missing
    return Channel(parse_key(key))


class NoiseClient(Client):
    """The protocol client over Noise."""

    def __init__(self, node, user=None, key=None, door="noise", **how):
        self.key = key or node.noise
        super().__init__(node, user, door=door, **how)

    def wrap(self, connected):
        self.channel = channel_for(self.key)
        connected.sendall(self.channel.hello)
        while not self.channel.is_open:
            data = connected.recv(65536)
            if not data:
                raise Closed(None)
            self.channel.feed(data)
        return connected

    def send_raw(self, data):
        self.socket.sendall(self.channel.seal(data))

    def uncover(self, data):
        return self.channel.feed(data)


def noise_node(case, more="", people=("alice", "bob"), listen=BOTH, start=True):
    """A node with a plain and a Noise door; node.noise is its public key."""
    channel_for("B" * 42 + "A")  # or skipped
    node = case.new_node(config=f"gate: {{{more}}}\n" if more else None)
    node.listen = listen
    if start:
        node.start()
        node.noise = node.run("noise", "key").out.strip()
        node.add_users(*people)
    return node


def url(node, port=None):
    return f"noise://127.0.0.1:{port or node.doors['noise'][1]}"


def by_noise(node, user, *words, key=None, port=None, **how):
    """A command that is told where to go and whom to believe."""
    return node.run(*words, "--server", url(node, port), "--server-key", key or node.noise,
                    "--token", node.case.token(node, user), data=False, **how)


def still_serves(node):
    client = NoiseClient(node, "alice", device="probe")
    client.send("bob", b"still here")
    client.close()


def await_log(node, provoke, said):
    """Does it again until the log says so: it speaks of clients once a second."""
    def told():
        provoke()
        return said in node.stderr()
    await_that(f"the log to say '{said}'", told)


def say(node, record):
    """A good client that then says this record; the server's answer is the end."""
    client = NoiseClient(node, "bob", device="bad")
    client.socket.sendall(record)
    try:
        client.read_frame()
    except Closed as closed:
        assert closed.goodbye is None
    else:
        raise AssertionError(f"answered: {record[:4]}")


def records(data):
    """The lengths of the records that a stream holds; it holds nothing else."""
    found, at = [], 0
    while at < len(data):
        length, = struct.unpack_from(">H", data, at)
        found.append(length)
        at += 2 + length
    assert at == len(data), "the stream ends in a record"
    return found


class Tap:
    """A wire that is listened to, cut into bytes, or bent: bend(number of the connection,
    upward, offset in the stream, data) gives what goes on."""

    def __init__(self, case, node, bend=None, step=65536):
        self.node, self.bend, self.step = node, bend, step
        self.heard = []  # of each connection: [upward, downward]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets, self.threads = [], []
        self.spawn(self.accept)
        case.cleanups.append(self.close)

    def spawn(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def close(self):
        for s in [self.listener, *self.sockets]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        for thread in self.threads:
            thread.join(10)

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
                server = socket.create_connection(self.node.doors["noise"], timeout=10)
            except OSError:
                return
            server.settimeout(None)
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += [client, server]
            heard = [bytearray(), bytearray()]
            self.heard.append(heard)
            number = len(self.heard)
            self.spawn(self.pass_on, number, client, server, True, heard[0])
            self.spawn(self.pass_on, number, server, client, False, heard[1])

    def pass_on(self, number, source, target, upward, heard):
        try:
            while data := source.recv(65536):
                at = len(heard)
                heard += data
                if self.bend:
                    data = self.bend(number, upward, at, data)
                for i in range(0, len(data), self.step):
                    target.sendall(data[i:i + self.step])
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# --- who gets in


def case_Y2_messages_pass_over_noise(case):
    """Frames within a record, at its edge, over several; the command line beside a client that
    is not ours; the JSON form."""
    node = noise_node(case)
    alice, bob = NoiseClient(node, "alice"), NoiseClient(node, "bob")
    for size in (1, 16384, 65536):
        alice.send("bob", bytes(size), kind=3)
        assert len(bob.await_events(1)[0].message.body) == size
    by_noise(node, "alice", "send", "--to", "bob", "from the shell")
    assert bob.await_events(1)[0].message.body == b"from the shell"
    for i in range(60):
        alice.send("bob", bytes([i]) * 30000, kind=3)
    page = NoiseClient(node, "bob", device="other").sync()  # far longer than a record may be
    assert [len(e.message.body) for e in page[-60:]] == [30000] * 60
    done = by_noise(node, "bob", "recv", "--count", "3", "--json", "--device", "shell")
    assert len(done.lines) == 3, done
    form = NoiseClient(node)
    form.send_raw(json.dumps({"command": "Login", "request": 1, "body": {
        "token": node.token("alice"), "device": "json"}}).encode() + b"\n")
    while b"\n" not in form.buffer:
        form.fill(20)
    assert form.buffer.startswith(b'{"answer":"Login","request":1,"body":{'), form.buffer
    finish(case, node)


def case_Y2_another_key_than_the_pinned_one_is_refused(case):
    """Whoever stands at the server's address without its key gets nothing but a first record."""
    node = noise_node(case)
    impostor = noise_node(case, people=())
    assert node.noise != impostor.noise
    for believed in (impostor.noise, secrets.token_urlsafe(32)):
        done = by_noise(node, "alice", "send", "--to", "bob", "secret", key=believed,
                        expect=harness.EXIT["auth"])
        assert "another key than the pinned one" in done.err and url(node) in done.err, done
        try:
            NoiseClient(node, "alice", key=believed)
        except Closed:
            continue
        raise AssertionError("let in with another key")
    done = by_noise(node, "alice", "send", "--to", "bob", "secret", port=node.port,
                    expect=harness.EXIT["auth"])  # the plain door
    assert "whoever answers there speaks no Noise" in done.err, done
    tap = Tap(case, node)
    by_noise(node, "alice", "send", "--to", "bob", "secret", key=impostor.noise, port=tap.port,
             expect=harness.EXIT["auth"])
    assert all(len(up) == HELLO and not down for up, down in tap.heard), tap.heard
    assert re.search(r"gate/0 Noise with a client failed, the handshake is for another key",
                     node.stderr()), node.stderr()
    for wrong, said in ((None, "--server-key"), ("AAAA", "32 bytes in base64"),
                        ("A" * 43, "no key of a server")):
        more = ["--server-key", wrong] if wrong else []
        done = node.run("send", "--to", "bob", "x", "--server", url(node), "--token", "t", *more,
                        data=False, expect=None)
        assert done.code not in (0, None) and said in done.err, done
    still_serves(node)
    finish(case, impostor)
    finish(case, node)


def case_Y2_key_is_made_once_private_and_in_the_backup(case):
    node = noise_node(case)
    path = os.path.join(node.data, "noise.json")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[\w-]{43}", node.noise), node.noise
    with open(path, encoding="utf-8") as f:
        secret = json.load(f)["noise"]["secret"]
    assert secret not in node.stderr() and node.noise in node.stderr()
    node.send("alice", "bob", "kept")
    out = os.path.join(case.dir, "copy")
    node.run("backup", out)
    node.stop()
    with open(os.path.join(out, "noise.json"), encoding="utf-8") as f:
        assert json.load(f)["noise"]["public"] == node.noise
    # Lost: every client would be locked out by another, so it is asked for.
    os.unlink(path)
    done = node.run("up", "--listen", node.listen, expect=8)
    assert path in done.err and node.noise in done.err and "backup" in done.err, done
    shutil.copy(os.path.join(out, "noise.json"), path)
    node.start()
    assert node.run("noise", "key").out.strip() == node.noise
    assert NoiseClient(node, "bob").sync()[0].message.body == b"kept"
    finish(case, node)
    plain = case.node()
    done = plain.run("noise", "key", expect=harness.EXIT["not found"])
    assert "noise://" in done.err, done
    finish(case, plain)


def case_Y2_it_counts_as_encrypted_beyond_loopback(case):
    """No word is needed for it; commands of the machine pin the key by themselves."""
    node = noise_node(case, listen="noise://0.0.0.0:0", start=False).start()
    node.add_users("alice", "bob")
    node.send("alice", "bob", "over noise")
    assert [m["text"] for m in node.recv("bob", 1)] == ["over noise"]
    finish(case, node)


def case_Y2_gates_of_a_cluster_have_the_key_of_keygen(case):
    case.shape = "five"
    channel_for("B" * 42 + "A")  # or skipped
    node = case.new_node(config="gate: {noise_key: keys/noise.json}")
    port = free_port()
    with open(node.file, encoding="utf-8") as f:
        text = f.read()
    with open(node.file, "w", encoding="utf-8") as f:
        f.write(re.sub(r"listen: \[([^\]]+)\]", rf'listen: [\1, "noise://127.0.0.1:{port}"]', text))
    key = os.path.join(os.path.dirname(node.file), "keys", "noise.json")
    if os.path.exists(key):
        os.unlink(key)
    done = node.command("run", "gate/0", "--cluster", node.file, expect=None)
    assert done.code == 8 and "anser cluster keygen" in done.err and key in done.err, done
    said = node.command("cluster", "keygen", node.file).out
    assert os.stat(key).st_mode & 0o777 == 0o600
    node.start()
    node.add_users("alice", "bob")
    node.doors = {"noise": ("127.0.0.1", port)}
    node.noise = node.command("noise", "key", "--cluster", node.file).out.strip()
    assert node.noise in said, said
    client = NoiseClient(node, "alice")
    client.send("bob", b"to the cluster")
    client.close()
    finish(case, node)


# --- the wire


def case_Y2_a_capture_shows_no_plaintext_and_its_replay_gets_nothing(case):
    """Both directions of what the C library says: records, nothing else, and in them nothing
    that is known. Said again word for word, it is not believed."""
    node = noise_node(case)
    tap = Tap(case, node)
    secret = secrets.token_hex(30)
    by_noise(node, "alice", "send", "--to", "bob", secret, port=tap.port)
    by_noise(node, "bob", "recv", "--count", "1", port=tap.port)
    by_noise(node, "alice", "history", "--with", "bob", port=tap.port)
    assert len(tap.heard) == 3
    known = [secret.encode(), node.token("alice").encode()[:30], b"alice", b"bob", b"AN\x01\x01",
             b"Login"]
    before = node.metrics()["anser_store_messages_total"]
    for up, down in tap.heard:
        assert not any(word in data for word in known for data in (up, down))
        for data in (up, down):
            lengths = records(bytes(data))
            assert lengths[0] == HELLO - 2 and len(lengths) > 1 and min(lengths) >= 16, lengths
        again = raw(node, "noise")
        again.sendall(bytes(up))
        assert len(ended(again)) == HELLO, "a replay was answered"
    assert node.metrics()["anser_store_messages_total"] == before
    plain = raw(node, "tcp")  # the words are ones that can be found
    plain.sendall(b"AN\x01\x01")
    finish(case, node)


def case_Y2_one_changed_byte_ends_the_connection(case):
    """Wherever it is, in either direction, in a length, a piece or a tag; what the connection
    carried is sent again by the library, and is there once."""
    node = noise_node(case)
    for at in (0, 1, 2, 33, HELLO - 1, HELLO, HELLO + 1, HELLO + 2, HELLO + 30):
        def flip(number, upward, offset, data, at=at):
            if number == 1 and upward and offset <= at < offset + len(data):
                data = bytearray(data)
                data[at - offset] ^= 0x01
            return bytes(data)
        tap = Tap(case, node, flip)
        done = by_noise(node, "alice", "send", "--to", "bob", f"byte {at}", port=tap.port,
                        expect=None, timeout=30)
        # In the handshake it is an impostor's; behind it, a wire that is cut.
        assert done.code == (harness.EXIT["auth"] if at < HELLO else 0), (at, done)
        tap.close()

    def flip_often(number, upward, offset, data):
        data = bytearray(data)
        if number % 4 and offset <= 3000 < offset + len(data):
            data[3000 - offset] ^= 0x80
        return bytes(data)

    tap = Tap(case, node, flip_often)
    env = {"ANSER_SERVER_KEY": node.noise}
    alice = Sdk(case, node, "alice", url=url(node, tap.port), env=env, timeout_ms=60000,
                attempts=1000)
    bob = Client(node, "bob", device="reader")
    texts = [f"m{i}" for i in range(300)]
    alice.say("bob", *texts)
    alice.close()
    got = [e.message.body.decode() for e in bob.sync()]
    assert got == [f"byte {at}" for at in (HELLO, HELLO + 1, HELLO + 2, HELLO + 30)] + texts, got
    assert len(tap.heard) > 1, "the wire was never bent"
    await_log(node, lambda: say(node, b"\x00\x20" + bytes(32)),
              "Noise with a client failed, a record was changed, lost or repeated (127.0.0.1:")
    finish(case, node)


def case_Y2_bytes_one_at_a_time(case):
    node = noise_node(case)
    tap = Tap(case, node, step=1)
    by_noise(node, "alice", "send", "--to", "bob", "x" * 20000, port=tap.port)
    done = by_noise(node, "bob", "recv", "--count", "1", port=tap.port)
    assert "x" * 20000 in done.out
    finish(case, node)


# --- those who do not want to talk


def case_Y2_garbage_ends_and_others_are_served(case):
    node = noise_node(case)
    good = NoiseClient(node, "alice")
    for junk in (b"AN\x01\x01" + bytes(12), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(64),
                 b"\x16\x03\x01\x02\x00" + bytes(512), b"\x00\x30" + bytes(48),
                 b"\x00\x30" + b"\x01" + bytes(47), b"\x00\x31" + bytes(49),
                 b"\x00\x2f" + bytes(47),
                 b"\xff\xff" + bytes(70000), b"\x00\x30" + os.urandom(48), os.urandom(5000)):
        s = raw(node, "noise")
        try:
            s.sendall(junk)
        except OSError:
            pass
        assert ended(s) == b"", junk[:16]
    for record in (b"\x00\x00", b"\x00\x0f" + bytes(15), b"\x00\x10" + bytes(16),
                   b"\x40\x00" + os.urandom(16384), b"\xff\xff" + os.urandom(65535)):
        say(node, record)
    good.send("bob", b"still here")
    await_log(node, lambda: say(node, b"\x00\x0f"), "a record that is too short")
    counted = node.metrics()
    assert counted["anser_gate_broken_total"] >= 6, counted
    assert counted["anser_gate_noise_full_total"] >= 7, counted
    assert counted["anser_gate_handshakes_failed_total"] >= 11, counted
    for junk, said in ((b"\x00\x31", "too long"), (b"\x00\x2f", "too short")):
        await_log(node, lambda junk=junk: raw(node, "noise").sendall(junk),
                  f"a handshake message that is {said}")
    finish(case, node)


def case_Y2_slow_handshakes_end_in_time(case):
    """Silent, or a byte at a time: none lasts longer than handshake_ms, and others are served
    meanwhile. Of many at once the oldest makes room."""
    node = noise_node(case, "handshake_ms: 1000")
    began = time.monotonic()
    silent = [raw(node, "noise") for _ in range(50)]
    dripping = raw(node, "noise")
    for i in range(5):
        dripping.sendall(b"\x00\x30abc"[i:i + 1])
        still_serves(node)
    for s in silent + [dripping]:
        assert ended(s, 10) == b""
    spent = time.monotonic() - began
    assert 0.9 < spent < 6, spent
    finish(case, node)
    node = noise_node(case, "handshakes_max: 8, handshake_ms: 60000")
    silent = [raw(node, "noise") for _ in range(40)]
    still_serves(node)
    only_the_newest_stay(silent, 8)
    finish(case, node)


# --- the library, and what it costs


def case_Y2_library_over_noise(case):
    """The same program as over TCP: messages both ways, a restart in between."""
    node = noise_node(case)
    library_goes_through(case, node, url(node), {"ANSER_SERVER_KEY": node.noise})
    finish(case, node)


def case_Y2_idle_connection_over_noise_is_small(case):
    """User memory of a logged-in connection that says nothing: at most 2 KiB."""
    node = noise_node(case, "user_logins_per_s: 0")
    if "asan" in case.build or "tsan" in case.build:
        raise Skip("a sanitizer's memory is not ours")
    token = node.token("alice")

    def many(door, name, count):
        return [(NoiseClient if door == "noise" else Client)(
            node, "alice", device=f"{name}{i}", send_only=True, token=token, door=door)
            for i in range(count)]

    each = {}
    for door in ("tcp", "noise"):
        held = many(door, f"warm-{door}", 100)
        before, count = resident(node), 400
        held += many(door, door, count)
        each[door] = (resident(node) - before) / count
        assert len(held) == count + 100
    print("     " + ", ".join(f"{door} {size / 1024:.2f} KiB" for door, size in each.items()))
    assert each["noise"] <= 2 * 1024, each
    finish(case, node)
