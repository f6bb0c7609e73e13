"""The protocol in WebSocket messages: with Debian's python3-websockets, and with raw sockets
that do what no library would."""
import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
import time
import uuid

from doors import ended, raw, resident, tls_node, trusting, url
from harness import (EVENT, GOODBYE, HEADER, HEARTBEAT, LOGIN, SEND, Client, Skip, await_that, pb,
                     send_body, uuid7)
from scenario import finish

ALL = "tcp://127.0.0.1:0,tls://127.0.0.1:0,ws://127.0.0.1:0,wss://127.0.0.1:0"
DOORS = ("ws", "wss")
BINARY, TEXT, CONTINUE, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def web_node(case, more="", **how):
    return tls_node(case, more, listen=ALL, **how)


def frame(payload, opcode=BINARY, fin=True, mask=b"\x01\x23\x45\x67", rsv=0):
    """One WebSocket frame as a client sends it; mask None: none."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0 if mask is None else 0x80
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
    if mask is None:
        return head + payload
    key = (mask * (len(payload) // 4 + 1))[:len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(
        len(payload), "big") if payload else b""
    return head + mask + masked


def request(path="/", method="GET", version="HTTP/1.1", drop=(), more=(), key=None, **change):
    lines = {"Host": "x", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
             "Sec-WebSocket-Key": key or base64.b64encode(os.urandom(16)).decode(),
             "Sec-WebSocket-Version": "13"}
    lines.update({name.replace("_", "-"): value for name, value in change.items()})
    text = [f"{method} {path} {version}"]
    text += [f"{name}: {value}" for name, value in lines.items() if name not in drop]
    return "\r\n".join([*text, *more, "", ""]).encode()


class Web:
    """A WebSocket over a connected socket, with nothing hidden."""

    def __init__(self, connected, opened=True, **how):
        self.socket, self.buffer = connected, b""
        if opened:
            key = base64.b64encode(os.urandom(16)).decode()
            connected.sendall(request(key=key, **how))
            head = self.head()
            assert head.startswith("HTTP/1.1 101 "), head
            accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
            assert f"\r\nSec-WebSocket-Accept: {accept}\r\n" in head, head

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head.decode() + "\r\n"

    def more(self):
        data = self.socket.recv(65536)
        assert data, f"the end, behind {self.buffer!r}"
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self):
        """(opcode, payload) of the next frame, which is whole and not masked."""
        first, second = self.take(2)
        assert first & 0xF0 == 0x80, "in one frame, without extensions"
        assert second & 0x80 == 0, "a server does not mask"
        length = second
        if second == 126:
            length = struct.unpack(">H", self.take(2))[0]
            assert length > 125
        elif second == 127:
            length = struct.unpack(">Q", self.take(8))[0]
            assert length > 65535
        return first & 15, self.take(length)

    def send(self, data):
        self.socket.sendall(data)

    def closing(self):
        """(code, reason, frames before) of the server's close, which the end follows."""
        before = []
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                self.socket.settimeout(10)
                assert ended(self.socket) == b"" and self.buffer == b""
                return struct.unpack(">H", payload[:2])[0], payload[2:].decode(), before
            before.append((opcode, payload))


class WebSocketLike:
    """A WebSocket that the protocol client of the harness takes for a socket."""

    def __init__(self, connected):
        self.raw, self.web = connected, Web(connected)

    def sendall(self, data):
        self.web.send(frame(bytes(data)))

    def recv(self, count):
        opcode, payload = self.web.read()
        if opcode == CLOSE:
            return b""
        assert opcode == BINARY, opcode
        assert HEADER.unpack(payload[:16])[6] == len(payload) - 16, "one frame a message"
        return payload

    def pending(self):
        return self.web.buffer or getattr(self.raw, "pending", lambda: 0)()

    def __getattr__(self, name):
        return getattr(self.raw, name)


class WebClient(Client):
    def wrap(self, connected):
        if self.secure:
            connected = trusting(self.node.ca).wrap_socket(connected,
                                                           server_hostname="localhost")
        return WebSocketLike(connected)

    def fill(self, timeout):
        if self.socket.pending():
            self.buffer += self.socket.recv(0)
            return True
        return super().fill(timeout)


def web(node, user=None, door="ws", **how):
    WebClient.secure = door == "wss"
    return WebClient(node, user, door=door, **how)


def opened(node, door="ws", **how):
    s = raw(node, door)
    s.settimeout(20)
    if door == "wss":
        s = trusting(node.ca).wrap_socket(s, server_hostname="localhost")
        node.case.sockets.append(s)
    return Web(s, **how)


def login_frame(node, user, device="web", send_only=False):
    body = pb.Login(token=node.case.token(node, user).encode(), device=device.encode(),
                    platform=b"web", send_only=send_only).SerializeToString()
    return HEADER.pack(b"AN", 1, 1, LOGIN, 0, 1, len(body)) + body


def heartbeat(number=2):
    return HEADER.pack(b"AN", 1, 1, HEARTBEAT, 0, number, 0)


def commands(frames):
    return [HEADER.unpack(payload[:16])[3] for opcode, payload in frames if opcode == BINARY]


# --- the same semantics


def case_C3_messages_pass_between_all_doors(case):
    node = web_node(case)
    for door in DOORS:
        alice, bob = web(node, "alice", door, device=door), web(node, "bob", door, device=door)
        plain = node.client("bob", device=f"plain-{door}")
        sizes = (1, 100, 126, 4096, 65535, 65536)
        for size in sizes:
            alice.send("bob", bytes(size), kind=3)
        for reader in (bob, plain):
            got = reader.await_events(len(sizes))[-len(sizes):]
            assert [len(e.message.body) for e in got] == list(sizes)
        plain.send("alice", "你好".encode())
        assert alice.await_events(1)[-1].message.body.decode() == "你好"
        assert len(alice.history("bob")) > 0
        for client in (alice, bob, plain):
            client.close()
    finish(case, node)


def case_C3_debians_websockets_speaks_with_it(case):
    """A library that is not ours: open, login, send, ping, close, over both doors."""
    try:
        import websockets
    except ImportError as error:
        raise Skip("no python3-websockets") from error
    node = web_node(case)

    async def talk(door):
        context = trusting(node.ca) if door == "wss" else None
        address = f"{door}://localhost:{node.doors[door][1]}/"
        async with websockets.connect(address, ssl=context, max_size=None,
                                      subprotocols=["x", "anser.protobuf"]) as ws:
            assert ws.subprotocol == "anser.protobuf"
            await ws.send(login_frame(node, "alice", door))
            answer = await ws.recv()
            assert HEADER.unpack(answer[:16])[3:5] == (LOGIN, 1), answer
            body = send_body("bob", os.urandom(60000), 3).SerializeToString()
            whole = HEADER.pack(b"AN", 1, 1, SEND, 0, 2, len(body)) + body
            # In fragments of any cut.
            await ws.send(whole[i:i + 7919] for i in range(0, len(whole), 7919))
            while HEADER.unpack((await ws.recv())[:16])[3] != SEND:
                pass
            await (await ws.ping(b"are you there"))
            await ws.close(1000, "good-bye")
            assert ws.close_code == 1000, ws.close_code

    for door in DOORS:
        asyncio.run(asyncio.wait_for(talk(door), 30))
    finish(case, node)


# --- opening


def case_C3_wrong_requests_are_answered_in_http(case):
    node = web_node(case, "origins: 'https://chat.example.com, https://b.example'")
    wrong = (
        (400, b"\x00\x01\x02\x03\r\n\r\n"),
        (400, b"HELLO\r\n\r\n"),
        (400, request(version="HTTP/1.0")),
        (400, request(drop=("Host",))),
        (400, request(more=("Host: y",))),
        (400, request(more=("Content-Length: 5",))),
        (400, request(more=("Transfer-Encoding: chunked",))),
        (400, request().replace(b"\r\nUpgrade", b"\nUpgrade")),
        (400, request().replace(b"Host:", b"Host :")),
        (400, request(key="short")),
        (400, request(key="!" * 22 + "==")),
        (400, request(more=("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",))),
        (400, request(Sec_WebSocket_Protocol="mqtt")),
        (405, request(method="POST")),
        (404, request(path="/chat")),
        (426, request(drop=("Upgrade",))),
        (426, request(Connection="keep-alive")),
        (426, request(Sec_WebSocket_Version="8")),
        (426, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (403, request(more=("Origin: https://evil.example",))),
        (403, request(more=("Origin: https://chat.example.com.evil.example",))),
        (403, request(more=("Origin: null",))),
        (431, request(more=("X: " + "y" * 9000,))),
        (431, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000),
    )
    for door in DOORS:
        for status, text in wrong:
            client = opened(node, door, opened=False)
            client.send(text)
            head = client.head()
            assert head.startswith(f"HTTP/1.1 {status} "), (status, text[:200], head)
            assert len(client.buffer) > 0 or client.more() is None, "a clear text"
    for good in (request(), request(path="/?x=1"), request(Upgrade="WebSocket"),
                 request(more=("Origin: https://b.example",)),
                 request(more=("Origin: HTTPS://CHAT.EXAMPLE.COM",)),
                 request(Sec_WebSocket_Protocol="json, anser.protobuf"),
                 request(more=("Sec-WebSocket-Extensions: permessage-deflate",))):
        client = opened(node, opened=False)
        for i in range(0, len(good), 3):  # in any cut
            client.send(good[i:i + 3])
        head = client.head()
        assert head.startswith("HTTP/1.1 101 ") and "xtensions" not in head, head
    finish(case, node)


def case_C3_slow_requests_end_in_time(case):
    node = web_node(case, "handshake_ms: 1000, login_timeout_ms: 1000")
    began = time.monotonic()
    silent = [raw(node, "ws") for _ in range(20)]
    dripping = raw(node, "ws")
    for byte in request()[:20]:
        dripping.sendall(bytes([byte]))
        node.client("bob", device=f"d{byte}").close()
    for s in [*silent, dripping]:
        ended(s, 10)
    assert time.monotonic() - began < 8
    # Open and silent: the protocol's own limit, in its own words.
    code, reason, _ = opened(node).closing()
    assert (code, reason) == (4108, "LOGIN_TIMEOUT"), (code, reason)
    # What follows the request at once is not lost.
    early = opened(node, opened=False)
    early.send(request() + frame(login_frame(node, "alice")))
    assert early.head().startswith("HTTP/1.1 101 ")
    assert commands([early.read()]) == [LOGIN]
    finish(case, node)


# --- frames


def logged_in(node, door="ws", user="alice", **how):
    client = opened(node, door)
    client.send(frame(login_frame(node, user, **how)))
    assert commands([client.read()]) == [LOGIN]
    return client


def case_C3_any_cut_and_fragments_are_one_stream_of_frames(case):
    node = web_node(case)
    for door in DOORS:
        client = logged_in(node, door, device=door)
        # A byte a fragment, a byte a segment, with pings in between and empty ones.
        beat = heartbeat(7)
        stream = frame(b"", BINARY, fin=False)
        for i, byte in enumerate(beat):
            stream += frame(bytes([byte]), CONTINUE, fin=False, mask=os.urandom(4))
            if i % 5 == 0:
                stream += frame(b"p%d" % i, PING) + frame(b"nobody asked", PONG)
        stream += frame(b"", CONTINUE)
        for i in range(0, len(stream), 2):
            client.send(stream[i:i + 2])
        got = []
        while len(got) < 5:
            got.append(client.read())
        assert [p for op, p in got if op == PONG] == [b"p0", b"p5", b"p10", b"p15"], got
        assert commands(got) == [HEARTBEAT]
        # Many frames in a message, many messages in a segment.
        client.send(frame(heartbeat() * 20) + frame(heartbeat()) * 20)
        assert commands(client.read() for _ in range(40)) == [HEARTBEAT] * 40
    finish(case, node)


def case_C3_broken_framing_is_closed_with_its_code(case):
    node = web_node(case)
    beat = heartbeat()
    broken = (
        (1002, frame(beat, mask=None)), (1002, frame(beat, rsv=4)), (1002, frame(beat, rsv=1)),
        (1002, frame(beat, 3)), (1002, frame(beat, 11)), (1002, frame(beat, CONTINUE)),
        (1002, frame(beat, fin=False) + frame(beat)),
        (1002, frame(b"x" * 126, PING)), (1002, frame(b"", PING, fin=False)),
        (1002, b"\x82\xfe\x00\x05" + bytes(9)),  # five bytes, written with two of length
        (1002, b"\x82\xff" + b"\xff" * 8 + bytes(8)),
        (1002, frame(b"\x03", CLOSE)), (1002, frame(struct.pack(">H", 1005), CLOSE)),
        (1002, frame(struct.pack(">H", 999), CLOSE)),
        (1007, frame(struct.pack(">H", 1000) + b"\xff", CLOSE)),
        (1003, frame(b"{}", TEXT)), (1007, frame(beat[:-1])), (1007, frame(beat + b"AN")),
        (1009, b"\x82\xff" + struct.pack(">Q", 1 << 20 | 1) + bytes(40)),
        (4600, frame(b"XX" + beat[2:])), (4601, frame(b"AN\x09" + beat[3:])),
        (4602, frame(HEADER.pack(b"AN", 1, 1, SEND, 0, 3, 1 << 20))),
    )
    for door in DOORS:
        other = logged_in(node, door, user="bob")
        for code, data in broken:
            client = logged_in(node, door)
            client.send(data)
            got, reason, before = client.closing()
            assert got == code, (code, data[:40], got, reason)
            assert reason != "", code
            if code >= 4000:
                assert commands(before) == [GOODBYE], before
        # A message whose fragments go beyond the limit together.
        client = logged_in(node, door)
        whole = heartbeat() * 4096
        client.send(frame(whole, fin=False))
        try:
            for _ in range(16):
                client.send(frame(whole, CONTINUE, fin=False))
        except OSError:
            pass
        assert client.closing()[0] == 1009
        other.send(frame(beat))
        assert commands([other.read()]) == [HEARTBEAT], "others notice nothing"
    finish(case, node)


def case_C3_closes_say_why(case):
    """The client's close is answered with its own code; the server's is 4000 + the number of
    the Goodbye before it, and 1000 behind a Logout."""
    node = web_node(case)
    for door in DOORS:
        for sent, code in ((b"", 1005), (struct.pack(">H", 1000) + b"bye", 1000),
                           (struct.pack(">H", 4999), 4999)):
            client = logged_in(node, door)
            client.send(frame(sent, CLOSE))
            opcode, payload = client.read()
            assert opcode == CLOSE and payload == (sent[:2] if code != 1005 else b""), payload
            assert ended(client.socket) == b""
        client = opened(node, door)
        client.send(frame(heartbeat()))
        code, reason, before = client.closing()
        assert (code, reason) == (4100, "LOGIN_REQUIRED")
        assert commands(before) == [HEARTBEAT, GOODBYE]
        client = logged_in(node, door)
        client.send(frame(HEADER.pack(b"AN", 1, 1, 2, 0, 9, 0)))  # Logout
        assert client.closing()[0] == 1000
        first = logged_in(node, door)
        logged_in(node, door)  # the same device again
        assert first.closing()[:2] == (4106, "REPLACED")
    last = logged_in(node)
    node.process.terminate()
    assert last.closing()[:2] == (4507, "SHUTTING_DOWN")
    assert node.process.wait(20) == 0
    case.check(node)


def case_C3_a_flood_of_pings_is_not_kept_in_memory(case):
    """Who asks and does not read is not read any more; the server's memory stays small."""
    node = web_node(case)
    client = logged_in(node)
    ping, sent = frame(b"x" * 125, PING) * 500, 0
    before = resident(node)
    client.socket.settimeout(2)
    try:
        while sent < 200e6:
            sent += client.socket.send(ping)
    except socket.timeout:
        pass
    assert sent < 100e6, "it was never stopped"
    assert resident(node) - before < 16e6, resident(node) - before
    node.client("bob").send("alice", b"others go on")
    finish(case, node)


def case_C3_slow_reader_is_cut_off(case):
    node = web_node(case)
    for door in DOORS:
        slow = logged_in(node, door, user="bob", device=door)
        alice = node.client("alice", device=door)
        closed = node.metrics()["anser_gate_closed_slow_total"]
        for _ in range(200):
            alice.send("bob", bytes(65536), kind=3)
            if node.metrics()["anser_gate_closed_slow_total"] > closed:
                break
        else:
            raise AssertionError(f"{door}: never cut off")
        try:
            while True:
                slow.read()
        except (AssertionError, OSError):
            pass
        alice.close()
    finish(case, node)


def case_C3_each_door_stands_alone(case):
    """A gate with one kind of door has no other."""
    for door in ("ws", "wss", "tls"):
        node = web_node(case, start=False)
        node.listen = f"{door}://127.0.0.1:0"
        node.start()
        assert [name for name in node.doors if name != "http"] == [door], node.doors
        node.add_users("alice", "bob")
        if door == "tls":
            done = node.run("send", "--user", "alice", "--to", "bob", "--ca", node.ca.pem, "hi")
            assert done.out.endswith(" 1\n"), done
        else:
            done = node.run("send", "--user", "alice", "--to", "bob", "hi", expect=None)
            assert done.code != 0 and "WebSocket" in done.err, done
            logged_in(node, door)
        finish(case, node)


def case_C3_idle_web_connection_is_small(case):
    """User memory of one that is logged in and says nothing: 3 KiB, 20 KiB with TLS."""
    if "asan" in case.build:
        raise Skip("a sanitizer's memory is not ours")
    node = web_node(case, "user_logins_per_s: 0")
    for door, limit, count in (("ws", 3, 1000), ("wss", 20, 300)):
        keep = [logged_in(node, door, device=f"{door}w{i}", send_only=True) for i in range(50)]
        before = resident(node)
        keep += [logged_in(node, door, device=f"{door}{i}", send_only=True) for i in range(count)]
        each = (resident(node) - before) / count / 1024
        print(f"     {door}: {each:.1f} KiB a connection")
        assert each <= limit, (door, each)
        for client in keep:
            client.socket.close()
    finish(case, node)
