"""The JSON form of the protocol: in WebSocket messages, and as lines over TCP and TLS."""
import base64
import json
import socket
import uuid

from doors import TlsClient, ended, raw, resident, tls_node, trusting
from doors_noise import channel_for
from doors_web import (CONTINUE, DOORS, LOGIN, TEXT, commands, frame, heartbeat, login_frame,
                       opened, web, web_node)
from harness import HEADER, HEARTBEAT, ServerError, Skip, pb, uuid7
from scenario import finish

LINE_DOORS = ("tcp", "tls")
LINE_MAX = 512 * 1024


class Talk:
    """A client that speaks JSON; how a text travels is the children's."""

    def __init__(self):
        self.number = 0

    def say(self, command, body=None, number=None):
        self.number = self.number + 1 if number is None else number
        self.raw(json.dumps({"command": command, "request": self.number, "body": body or {}}))
        return self.number

    def hear(self):
        return json.loads(self.text())

    def ask(self, command, body=None):
        """The body of the answer, passing over pushes; an error is an AssertionError."""
        number = self.say(command, body)
        while True:
            heard = self.hear()
            if "push" not in heard:
                assert heard.get("answer") == command and heard["request"] == number, heard
                return heard["body"]

    def refused(self, text):
        """The error's name that a request of any text gets."""
        self.raw(text)
        while True:
            heard = self.hear()
            if "push" not in heard:
                assert "error" in heard, heard
                return heard["body"]["name"]

    def push(self, name):
        while True:
            heard = self.hear()
            if heard.get("push") == name:
                return heard["body"]

    def login(self, node, user, device="json"):
        return self.ask("Login", {"token": node.case.token(node, user), "device": device,
                                  "platform": "web"})


class WebTalk(Talk):
    """In the texts of a WebSocket."""

    def __init__(self, node, door="ws", opened_with="anser.json"):
        super().__init__()
        self.web = opened(node, door, Sec_WebSocket_Protocol=opened_with)
        self.socket = self.web.socket

    def raw(self, text, **how):
        self.web.send(frame(text if isinstance(text, bytes) else text.encode(), TEXT, **how))

    def text(self):
        opcode, payload = self.web.read()
        assert opcode == TEXT, (opcode, payload)
        return payload

    def over(self):
        """The server closes behind what it has said."""
        assert self.web.closing()[0] == 1000


class LineTalk(Talk):
    """In lines over a stream."""

    def __init__(self, node, door="tcp"):
        super().__init__()
        self.socket, self.buffer = raw(node, door), b""
        if door == "tls":
            self.socket = trusting(node.ca).wrap_socket(self.socket, server_hostname="localhost")

    def more(self):
        data = self.socket.recv(65536)
        assert data, f"the end, behind {self.buffer!r}"
        self.buffer += data

    def bytes(self, data):
        self.socket.sendall(data)

    def raw(self, text):
        self.bytes((text if isinstance(text, bytes) else text.encode()) + b"\n")

    def text(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def over(self):
        assert ended(self.socket) == b"" and self.buffer == b""


class NoiseTalk(LineTalk):
    """Lines inside a Noise channel to node.noise."""

    def __init__(self, node, door="noise"):
        Talk.__init__(self)
        self.socket, self.buffer = raw(node, door), b""
        self.channel = channel_for(node.noise)
        self.socket.sendall(self.channel.hello)
        while not self.channel.is_open:
            self.more()

    def more(self):
        data = self.socket.recv(65536)
        assert data, f"the end, behind {self.buffer!r}"
        self.buffer += self.channel.feed(data)

    def bytes(self, data):
        self.socket.sendall(self.channel.seal(data))

    def over(self):
        assert self.channel.feed(ended(self.socket)) == b"" and self.buffer == b""


def talk_to(node, door):
    kind = NoiseTalk if door == "noise" else LineTalk if door in LINE_DOORS else WebTalk
    return kind(node, door)


def new_id():
    return str(uuid.UUID(bytes=uuid7()))


def case_C4_json_and_protobuf_speak_with_each_other(case):
    """Every command in JSON, answered and pushed in JSON, with a client of the other form on
    the other side."""
    node = web_node(case)
    for door in (*DOORS, *LINE_DOORS):
        alice, bob = talk_to(node, door), node.client("bob", device=f"bin-{door}")
        welcome = alice.login(node, "alice", f"json-{door}")
        assert welcome["user"] == "alice" and welcome["body_len_max"] == 65536, welcome
        ids = [new_id() for _ in range(3)]
        texts = ("你好 \"quoted\" \\ \u0000\n", bytes(range(256)), "x" * 65536)
        for each, body in zip(ids, texts):
            kind = 1 if isinstance(body, str) else 3
            shown = body if kind == 1 else base64.b64encode(body).decode()
            sent = alice.ask("Send", {"to": "bob", "client_msg_id": each, "type": kind,
                                      "body": shown})
            assert sent["client_msg_id"] == each and int(sent["message_id"]) > 1 << 53, sent
        got = bob.await_events(3)[-3:]
        assert [e.message.body for e in got] == [
            b if isinstance(b, bytes) else b.encode() for b in texts]
        assert [str(uuid.UUID(bytes=e.message.client_msg_id)) for e in got] == ids
        bob.send("alice", "从这边".encode())
        event = alice.push("Event")
        assert event["message"]["body"] == "从这边" and event["message"]["from"] == "bob", event
        page = alice.ask("Sync", {"after": 0})["events"]
        assert [e["inbox_seq"] for e in page] == [str(i + 1) for i in range(len(page))]
        history = alice.ask("History", {"peer": "bob", "limit": 2})
        assert len(history["messages"]) == 2 and history["completed"] is False
        again = alice.ask("Send", {"to": "bob", "client_msg_id": ids[0], "type": 1,
                                   "body": texts[0]})
        assert again["seq"] == "1" if door == "ws" else True, again
        done = alice.ask("Confirm", {"inbox_seq": event["inbox_seq"], "delivered": [
            {"peer": "bob", "seq": event["message"]["seq"]}]})
        assert done["inbox_seq"] == event["inbox_seq"]
        assert bob.await_receipt(1, int(event["message"]["seq"])) is not None
        beat = alice.ask("Heartbeat")
        assert int(beat["inbox_head"]) >= int(event["inbox_seq"])
        assert alice.ask("Logout") == {}
        alice.over()
        bob.close()
    finish(case, node)


def case_C4_wrong_json_is_refused_in_the_usual_words(case):
    node = web_node(case)
    talk = WebTalk(node)
    assert talk.refused('{"command":"Heartbeat","request":5}') == "LOGIN_REQUIRED"
    assert talk.push("Goodbye")["code"] == 100
    assert talk.web.closing()[:2] == (4100, "LOGIN_REQUIRED")
    talk = WebTalk(node)
    talk.login(node, "alice")
    send = {"to": "bob", "client_msg_id": new_id(), "type": 1, "body": "hi"}
    for name, text in (
            ("COMMAND", '{"command":"Shout","request":1}'), ("COMMAND", '{"request":1}'),
            ("COMMAND", '{"command":"Event","request":1}'), ("COMMAND", '{"command":7}'),
            ("BODY_MALFORMED", '{"command":"Heartbeat","request":-1}'),
            ("BODY_MALFORMED", '{"command":"Heartbeat","request":4294967296}'),
            ("BODY_MALFORMED", '{"command":"Heartbeat","body":[]}'),
            ("BODY_MALFORMED", '{"command":"Sync","body":{"after":"x"}}'),
            ("BODY_MALFORMED", '{"command":"Sync","body":{"after":"18446744073709551616"}}'),
            ("BODY_MALFORMED", '{"command":"Sync","body":{"after":1.5}}'),
            ("BODY_MALFORMED", '{"command":"Confirm","body":{"delivered":{}}}'),
            ("BODY_MALFORMED", '{"command":"Confirm","body":{"delivered":[null]}}'),
            ("BODY_MALFORMED", '{"command":"History","body":{"oldest_first":"yes"}}'),
            *(("BODY_MALFORMED", json.dumps({"command": "Send", "body": dict(send, **wrong)}))
              for wrong in ({"client_msg_id": "no"}, {"client_msg_id": "0" * 31}, {"body": 1},
                            {"type": 3, "body": "not base64!"}, {"type": "x"}, {"to": {}})),
            ("USER_NOT_FOUND", json.dumps({"command": "Send", "body": dict(send, to="nobody")})),
            ("BODY_TOO_LARGE", json.dumps({"command": "Send", "body": dict(send, body="x" * 65537)}))):
        assert talk.refused(text) == name, (name, text[:100])
    assert talk.ask("Sync", {"after": "0", "unknown": [1, {"x": None}], "limit": None})["head"]
    for code, data in ((1007, b"{"), (1007, b"[]"), (1007, b""), (1007, b"{} {}"),
                       (1007, b'{"a":1,"a":2}'), (1007, b'{"command":"\xff"}'),
                       (1007, b"[" * 100000), (1009, b" " * 524289)):
        talk = WebTalk(node)
        talk.login(node, "alice")
        talk.raw(data)
        assert talk.web.closing()[0] == code, data[:30]
    talk = WebTalk(node)
    talk.web.send(frame(heartbeat()))
    assert talk.web.closing()[0] == 1003, "a binary message"
    both = opened(node, Sec_WebSocket_Protocol="anser.json, anser.protobuf")
    both.send(frame(login_frame(node, "bob")))
    assert commands([both.read()]) == [LOGIN], "protobuf wins"
    # A text in fragments that cut its characters.
    talk = WebTalk(node)
    talk.login(node, "alice")
    text = json.dumps({"command": "Send", "request": 9, "body": dict(
        send, client_msg_id=new_id(), body="鸿雁传书" * 100)}, ensure_ascii=False).encode()
    parts = [text[i:i + 7] for i in range(0, len(text), 7)]
    talk.web.send(b"".join(frame(part, TEXT if i == 0 else CONTINUE, fin=i == len(parts) - 1)
                           for i, part in enumerate(parts)))
    assert talk.hear()["request"] == 9
    finish(case, node)


def not_whole_is_bounded(case, node, talk_of, begin, busy):
    """Many who begin a large message and never end it: memory has a bound, the last of them
    are told, others go on. begin(talk) sends half a megabyte, busy(talk) says whether there
    was no room for it."""
    before, told, greedy = resident(node), 0, []
    node.add_users(*(f"greedy{i}" for i in range(13)))
    for i in range(200):
        greedy.append(talk_of(node))
        greedy[-1].login(node, f"greedy{i // 16}", f"{i % 16}")  # a user has sixteen sessions
    for talk in greedy:  # 100 MB, if all of it were kept
        try:
            begin(talk)
        except OSError:
            pass
    for talk in greedy:
        talk.socket.settimeout(0.05)
        try:
            told += busy(talk)
        except (socket.timeout, AssertionError, OSError):
            pass
    assert told > 20, told
    assert resident(node) - before < 90e6, resident(node) - before
    for talk in greedy:
        talk.socket.close()
    talk = talk_of(node)
    talk.login(node, "alice")
    talk.ask("Heartbeat")
    finish(case, node)


def case_C4_json_that_is_not_whole_is_bounded_in_all(case):
    if "asan" in case.build:
        raise Skip("a sanitizer's memory is not ours")

    def begin(talk):
        for i in range(4):
            talk.web.send(frame(b" " * 130000, CONTINUE if i > 0 else TEXT, fin=False))

    not_whole_is_bounded(case, web_node(case), WebTalk, begin,
                         lambda talk: talk.web.closing()[0] == 1013)


# --- lines


def case_C4_the_first_byte_says_which_form(case):
    """Lines on the same port as frames; cut and glued in any way; blank lines are none."""
    node = tls_node(case)
    for door in LINE_DOORS:
        bob = node.client("bob", device=f"frames-{door}")
        talk = LineTalk(node, door)
        text = "鸿雁传书"
        lines = [{"command": "Login", "body": {"token": case.token(node, "alice"), "device": door}},
                 {"command": "Send", "request": 1, "body": {
                     "to": "bob", "client_msg_id": new_id(), "type": 1, "body": text}},
                 {"command": "Heartbeat", "request": 2}]
        data = b"".join(json.dumps(each, ensure_ascii=False).encode() + end for each, end in
                        zip(lines, (b"\n", b"\r\n", b"  \r\n\r\n \t\n")))
        for i in range(len(data)):
            talk.bytes(data[i:i + 1])
        heard = [talk.hear() for _ in range(3)]
        assert [h["answer"] for h in heard] == ["Login", "Send", "Heartbeat"], heard
        assert bob.await_events(1)[-1].message.body == text.encode()
        beats = b"".join(b'{"command":"Heartbeat","request":%d}\n' % i for i in range(1, 21))
        talk.bytes(beats + b" " * 100)  # and the beginning of one more
        got = sorted(talk.hear()["request"] for _ in range(20))
        assert got == list(range(1, 21)), got
        talk.bytes(b'{"command":"Logout","request":9}\n' + beats)
        assert talk.hear() == {"answer": "Logout", "request": 9, "body": {}}
        talk.over()
        bob.close()
    # What is neither ends as ever, in a frame.
    for junk in (b"[]\n", b' {"command":"Heartbeat"}\n', b"GET / HTTP/1.1\r\n\r\n"):
        s = raw(node, "tcp")
        s.sendall(junk)
        told = ended(s)
        goodbye = pb.Goodbye.FromString(told[HEADER.size:])
        assert goodbye.name == b"FRAME_MAGIC", goodbye
    # And who speaks frames does not change to lines.
    s = raw(node, "tcp")
    s.sendall(login_frame(node, "alice") + b'{"command":"Heartbeat"}\n')
    assert b"FRAME_MAGIC" in ended(s)
    finish(case, node)


def case_C4_a_wrong_line_is_told_and_the_next_one_counts(case):
    node = tls_node(case)
    for door in LINE_DOORS:
        talk = LineTalk(node, door)
        wrong = (b"{", b"[]", b"{} {}", b'{"a":1,"a":2}', b'{"command":"\xff"}', b"hello",
                 b"[" * 100000, b'{"a":' * 10000)
        for text in wrong:
            if len(text) > 16384:
                continue  # nobody begins like that: FRAME_TOO_LARGE
            talk.raw(text)
            heard = talk.hear()
            assert heard["error"] == "?" and heard["request"] == 0, heard
            assert heard["body"]["name"] == "JSON", (text[:20], heard)
            assert heard["body"]["text"] == "the text is not one JSON object", heard
        assert talk.login(node, "alice", f"lines-{door}")["user"] == "alice"
        for text in wrong:
            assert talk.refused(text) == "JSON", text[:20]
        assert talk.refused('{"command":"Shout","request":1}') == "COMMAND"
        assert talk.refused('{"command":"Sync","body":{"after":"x"}}') == "BODY_MALFORMED"
        assert talk.refused("{}") == "COMMAND"
        assert talk.ask("Heartbeat")["server_time_ms"]
        # The longest that will do, and one byte more.
        talk.raw(b'{"command":"Heartbeat","request":77}'.ljust(LINE_MAX))
        assert talk.hear()["request"] == 77
        talk.bytes(b'{"command":"Heartbeat"}'.ljust(LINE_MAX + 1))
        goodbye = talk.hear()
        assert goodbye["push"] == "Goodbye" and goodbye["body"]["name"] == "FRAME_TOO_LARGE"
        talk.over()
        # The server's last words are lines too.
        talk = LineTalk(node, door)
        assert talk.refused('{"command":"Heartbeat","request":5}') == "LOGIN_REQUIRED"
        assert talk.push("Goodbye")["code"] == 100
        talk.over()
        first = LineTalk(node, door)
        first.login(node, "alice")
        LineTalk(node, door).login(node, "alice")
        assert first.push("Goodbye")["name"] == "REPLACED"
        first.over()
    finish(case, node)


def case_C4_both_ends_may_speak_json(case):
    """Every pair of doors, no protobuf anywhere."""
    node = web_node(case)
    doors = (*LINE_DOORS, *DOORS)
    talks = {}
    for door in doors:
        talks[door] = talk_to(node, door), talk_to(node, door)
        talks[door][0].login(node, "alice", f"a-{door}")
        talks[door][1].login(node, "bob", f"b-{door}")
    for here in doors:
        for there in doors:
            text = f"{here} to {there}"
            talks[here][0].ask("Send", {"to": "bob", "client_msg_id": new_id(), "type": 1,
                                        "body": text})
            while talks[there][1].push("Event")["message"]["body"] != text:
                pass
    finish(case, node)


def case_C4_lines_that_are_not_whole_are_bounded_in_all(case):
    if "asan" in case.build:
        raise Skip("a sanitizer's memory is not ours")
    not_whole_is_bounded(case, tls_node(case), LineTalk,
                         lambda talk: talk.bytes(b"{" + b" " * 500000),
                         lambda talk: talk.hear()["body"]["name"] == "BUSY")


def case_C4_a_reader_of_lines_gets_pages_of_control_characters(case):
    """Six bytes in JSON for one in a frame: a page of them is longer than a connection's
    output may be, and whoever reads gets it all the same."""
    node = tls_node(case)
    alice = node.client("alice")
    for _ in range(9):
        alice.send("bob", b"\x01" * 65536)
    talk, door = LineTalk(node), socket.socket()
    case.sockets.append(door)
    door.settimeout(20)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)  # as on a real line: the
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)   # kernel does not take it all
    door.connect(talk.socket.getpeername())
    talk.socket.close()
    talk.socket = door
    talk.login(node, "bob")
    after, events = 0, []
    while len(events) < 9:
        page = talk.ask("Sync", {"after": after})["events"]
        assert page, after
        events += page
        after = page[-1]["inbox_seq"]
    assert all(e["message"]["body"] == "\x01" * 65536 for e in events)
    assert node.metrics()["anser_gate_closed_slow_total"] == 0
    finish(case, node)


def case_C4_strangers_that_never_end_a_line_harm_nobody(case):
    """Many who have not logged in and begin a line that is as long as one may be: each is told
    at once, and every door goes on for others."""
    node = web_node(case)
    inside = LineTalk(node)
    inside.login(node, "alice", "inside")
    strangers, told = [LineTalk(node) for _ in range(140)], 0
    for talk in strangers:
        try:
            talk.bytes(b"{" + b" " * (LINE_MAX - 2))
        except OSError:
            pass
    inside.bytes(b'{"command":"Heart')
    web = WebTalk(node)
    web.login(node, "alice", "web")
    later = LineTalk(node)
    login = json.dumps({"command": "Login", "request": 1, "body": {
        "token": case.token(node, "alice"), "device": "later"}}).encode() + b"\n"
    later.bytes(login[:100])
    inside.bytes(b'beat","request":7}\n')
    while inside.hear().get("request") != 7:
        pass
    later.bytes(login[100:])
    assert later.hear()["body"]["user"] == "alice"
    for talk in strangers:
        talk.socket.settimeout(5)
        try:
            told += talk.hear()["body"]["name"] == "FRAME_TOO_LARGE"
        except (AssertionError, OSError):  # reset, for it was still sending
            pass
    assert told > 100, told
    metrics = node.metrics()
    assert metrics["anser_gate_held_refused_total"] == 140, metrics
    assert "refused address=127.0.0.1" in node.stderr(), node.stderr()
    assert metrics["anser_gate_partial_bytes"] < 1e6, metrics["anser_gate_partial_bytes"]
    finish(case, node)


def case_C4_codecs_nobody_knows_are_refused_at_every_door(case):
    """Before the login and behind it; the connection stays."""
    node = web_node(case)
    context = trusting(node.ca)
    for door in (*LINE_DOORS, *DOORS):
        if door in DOORS:
            client = web(node, None, door)
        else:
            client = TlsClient(node, context=context, door=door) if door == "tls" else node.client()
        for codec in (0, 2, 255):
            request = client.send_frame(LOGIN, b"", codec=codec)
            assert refusal(client, request) == "CODEC", (door, codec)
        client.call(LOGIN, pb.Login(token=node.token("alice").encode(),
                                    device=f"codec-{door}".encode()))
        for codec in (0, 2, 123, 255):
            request = client.send_frame(HEARTBEAT, b"", codec=codec)
            assert refusal(client, request) == "CODEC", (door, codec)
        client.call(HEARTBEAT, pb.Heartbeat())
        client.close()
    finish(case, node)


def refusal(client, request):
    try:
        return client.answer(request, pb.Error)
    except ServerError as error:
        return error.name
