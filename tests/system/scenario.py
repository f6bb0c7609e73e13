"""The README's scenario and its edges: what two people and their devices see."""
import base64
import hashlib
import hmac
import json
import os
import random
import time

from harness import (BODY_MAX, CONFIRM, EXIT, HEARTBEAT, HISTORY, LOGIN, RECEIPT_DELIVERED,
                     RECEIPT_STORED, SEND, SYNC, Client, Pipeline, ServerError,
                     await_that, pb, send_body, uuid7)

TEXTS = ("hello", "你好，世界", "👩‍👩‍👧‍👦 🦢 🏳️‍🌈", "e\u0301 n\u0303 a\u030a\u0323", "नमस्ते", "‏שלום‎",
         "a" * 300, "tab\there", "quote \" and \\ backslash")


def pair(case, **how):
    """A node with alice and bob."""
    node = case.node(**how)
    node.add_users("alice", "bob")
    return node


def finish(case, node):
    """A clean stop, then the offline check finds nothing."""
    node.stop()
    case.check(node)


def bodies(events):
    return [event.message.body for event in events]


def case_offline_message_waits(case):
    node = pair(case)
    line = node.send("alice", "bob", "are", "you", "there?").lines
    assert len(line) == 1 and len(line[0].split()) == 2, line
    message_id, seq = line[0].split()
    assert seq == "1" and int(message_id) > 0, line
    got = node.run("recv", "--user", "bob", "--count", "1").lines
    assert got == ["1 alice are you there?"], got
    finish(case, node)


def case_online_message_arrives(case):
    node = pair(case)
    reader = node.popen("recv", "--user", "bob", "--follow")
    # The reader is there once it has printed the first message.
    node.send("alice", "bob", "one")
    assert reader.stdout.readline().decode().rstrip("\n") == "1 alice one"
    bob = node.client("bob", device="raw")
    node.send("alice", "bob", "two")
    assert reader.stdout.readline().decode().rstrip("\n") == "2 alice two"
    event, = bob.await_events(1)
    assert (event.message.body, event.inbox_seq) == (b"two", 2), event
    finish(case, node)


def case_T3_second_device_has_its_own_cursor(case):
    node = pair(case)
    for number in range(3):
        node.send("alice", "bob", f"m{number}")
    first = node.recv("bob", 3, "--device", "phone")
    assert len(first) == 3
    node.send("alice", "bob", "m3")
    # The phone continues where it confirmed; a device never seen starts at the oldest.
    assert node.run("recv", "--user", "bob", "--device", "phone", "--count",
                    "1").lines == ["4 alice m3"]
    tablet = node.run("recv", "--user", "bob", "--device", "tablet", "--count", "4").lines
    assert tablet == [f"{n + 1} alice m{n}" for n in range(4)], tablet
    finish(case, node)


def case_M3_own_other_device_gets_an_echo(case):
    node = pair(case)
    phone = node.client("alice", device="phone")
    laptop = node.client("alice", device="laptop")
    sent = phone.send("bob", "from the phone")
    event, = laptop.await_events(1)
    assert event.message.body == b"from the phone"
    assert event.message.seq == sent.seq and event.message.message_id == sent.message_id
    assert getattr(event.message, "from") == b"alice" and event.message.to == b"bob"
    assert event.message.from_device == b"phone"
    # The sending device is told its own inbox number instead; where the inbox is on
    # another store than the conversation, it is told by a push like the others.
    if not sent.inbox_seq:
        sent.inbox_seq = phone.await_events(1)[0].inbox_seq
    assert sent.inbox_seq == event.inbox_seq
    phone.call(HEARTBEAT, pb.Heartbeat())
    assert not phone.events
    finish(case, node)


def case_text_of_the_world(case):
    node = pair(case)
    for text in TEXTS:
        node.send("alice", "bob", text)
    got = [event.message.body.decode() for event in node.client("bob").sync()]
    assert got == list(TEXTS), got
    shown = node.recv("bob", len(TEXTS))
    assert [line["text"] for line in shown] == list(TEXTS), shown
    finish(case, node)


def case_recv_escapes_control_characters(case):
    node = pair(case)
    node.client("alice").send("bob", "line one\nline two\x1b[31m red\x00end")
    out = node.run("recv", "--user", "bob", "--count", "1").out
    assert out.count("\n") == 1 and "\x1b" not in out and "\x00" not in out, repr(out)
    assert "line one" in out and "line two" in out
    finish(case, node)


def case_stdin_lines_are_messages(case):
    node = pair(case)
    lines = node.send("alice", "bob", "-", stdin="eins\nzwei\n三\n".encode()).lines
    assert [line.split()[1] for line in lines] == ["1", "2", "3"], lines
    got = node.run("recv", "--user", "bob", "--count", "3").lines
    assert got == ["1 alice eins", "2 alice zwei", "3 alice 三"], got
    finish(case, node)


def case_invalid_utf8_is_refused(case):
    node = pair(case)
    alice = node.client("alice")
    for bad in (b"\xff", b"ab\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        assert alice.refused(SEND, send_body("bob", bad)) == "UTF8", bad
    alice.send("bob", b"\xff\x00 not text", kind=3)  # other types are bytes
    path = os.path.join(case.dir, "latin1.txt")
    with open(path, "wb") as f:
        f.write("Grüße".encode("latin-1"))
    done = node.send("alice", "bob", "--file", path, "--type", "1", expect=EXIT["invalid"])
    assert "UTF8" in done.err, done
    done = node.send("alice", "bob", "-", stdin=b"caf\xe9\n", expect=EXIT["invalid"])
    assert "UTF8" in done.err, done
    assert len(node.client("bob").sync()) == 1
    finish(case, node)


def case_sizes_of_a_body(case):
    node = pair(case)
    alice = node.client("alice")
    alice.send("bob", b"x" * BODY_MAX)
    assert alice.refused(SEND, send_body("bob", b"x" * (BODY_MAX + 1))) == "BODY_TOO_LARGE"
    assert alice.refused(SEND, send_body("bob", b"")) == "BODY_EMPTY"
    alice.send("bob", b"y")  # the connection is still good
    for size, expect in ((BODY_MAX, "ok"), (BODY_MAX + 1, "invalid"), (0, "invalid")):
        path = os.path.join(case.dir, f"{size}.bin")
        with open(path, "wb") as f:
            f.write(os.urandom(size))
        node.send("alice", "bob", "--file", path, expect=EXIT[expect])
    sizes = [len(body) for body in bodies(node.client("bob").sync())]
    assert sizes == [BODY_MAX, 1, BODY_MAX], sizes
    finish(case, node)


def case_C1_binary_file_is_byte_equal(case):
    node = pair(case)
    data = bytes(range(256)) * 200 + os.urandom(1000)
    path = os.path.join(case.dir, "picture.bin")
    with open(path, "wb") as f:
        f.write(data)
    node.send("alice", "bob", "--file", path)
    event, = node.client("bob").sync()
    assert event.message.body == data and event.message.type == 3
    line, = node.recv("bob", 1)
    assert line["seq"] == "1" and line["from"] == "alice", line
    shown = node.run("history", "--user", "bob", "--with", "alice").out
    assert shown == f"1 alice [file, {len(data)} bytes]\n", shown[:200]
    finish(case, node)


def case_unknown_user_and_oneself(case):
    node = pair(case)
    alice = node.client("alice")
    assert alice.refused(SEND, send_body("nobody", "hello")) == "USER_NOT_FOUND"
    done = node.send("alice", "nobody", "hello", expect=EXIT["not found"])
    assert "nobody: " in done.err and "USER_NOT_FOUND" in done.err, done
    # It is the one who is not there that is named, even when that is oneself.
    done = node.send("noone", "bob", "hello", expect=EXIT["not found"])
    assert "login as noone: " in done.err and "bob" not in done.err, done
    # A user made later is found: a miss is not remembered.
    node.add_users("nobody")
    alice.send("nobody", "hello now")
    # A note to oneself is one entry, and comes to all own devices.
    tablet = node.client("alice", device="tablet")
    sent = alice.send("alice", "note to self")
    event, = tablet.await_events(1)
    assert event.message.body == b"note to self"
    own, = [e for e in tablet.sync() if e.message.to == b"alice"]
    assert own.inbox_seq == event.inbox_seq and own.message.seq == sent.seq == 1
    assert [m.body for m in tablet.history("alice")] == [b"note to self"]
    finish(case, node)


def case_restart_keeps_everything(case):
    node = pair(case)
    sent = [node.client("alice", device=f"d{n}").send("bob", f"m{n}") for n in range(3)]
    node.recv("bob", 1)
    node.stop()
    node.start()
    assert node.run("recv", "--user", "bob", "--count", "2").lines == ["2 alice m1", "3 alice m2"]
    history = node.client("bob", device="h").history("alice")
    assert [(m.seq, m.message_id) for m in history] == [(s.seq, s.message_id) for s in sent]
    after = node.client("alice").send("bob", "m3")
    assert after.seq == 4 and after.message_id not in [s.message_id for s in sent]
    finish(case, node)


def case_adding_a_user_twice(case):
    node = pair(case)
    done = node.run("user", "add", "alice", expect=EXIT["conflict"])
    assert "USER_EXISTS" in done.err, done
    done = node.run("user", "add", "no spaces", expect=EXIT["invalid"])
    assert "USER_NAME" in done.err, done
    finish(case, node)


def jwt(node, user, header=None, secret=None, **claims):
    """A token made by a stranger's code from the node's own key; secret: instead of its."""
    key = node.key()
    secret = secret or base64.urlsafe_b64decode(
        key["secret"] + "=" * (-len(key["secret"]) % 4))
    now = int(time.time())
    head = {"alg": "HS256", "typ": "JWT", "kid": key["id"]}
    head.update(header or {})
    payload = {"sub": user, "app": "default", "aud": "anser", "iat": now, "nbf": now,
               "exp": now + 60}
    payload.update(claims)
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
             for part in (head, payload)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    if head["alg"] == "none":
        signature = b""
    parts.append(base64.urlsafe_b64encode(signature).rstrip(b"="))
    return b".".join(parts).decode()


def case_A3_A4_wrong_tokens(case):
    node = pair(case)
    now = int(time.time())
    node.client("alice", token=jwt(node, "alice")).send("bob", "a foreign token is fine")
    good = node.token("alice")
    wrong = {"garbage": "TOKEN_INVALID",
             good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"): "TOKEN_INVALID",
             jwt(node, "alice", exp=now - 60): "TOKEN_EXPIRED",
             jwt(node, "alice", nbf=now + 3600): "TOKEN_NOT_YET",
             jwt(node, "alice", aud="other"): "TOKEN_AUDIENCE",
             jwt(node, "alice", {"kid": "stranger"}): "TOKEN_KEY",
             jwt(node, "alice", {"alg": "none"}): "TOKEN_UNSIGNED",
             jwt(node, "ghost"): "USER_NOT_FOUND"}
    for token, name in wrong.items():
        client = Client(node)
        login = pb.Login(token=token.encode(), device=b"d")
        assert client.refused(LOGIN, login) == name, (token, name)
    done = node.run("send", "--server", node.url, "--token", "garbage",
                    "--to", "bob", "hello", data=False, expect=EXIT["auth"])
    assert "TOKEN_INVALID" in done.err, done
    finish(case, node)


def case_second_up_is_locked_out(case):
    node = pair(case)
    second = node.rival()
    assert second.process.wait(20) == EXIT["conflict"], second.stderr()
    assert "LOCKED" in second.stderr(), second.stderr()
    node.send("alice", "bob", "still here")
    done = node.run("check", node.check_args()[0], data=False, expect=EXIT["conflict"])
    assert "LOCKED" in done.err, done
    finish(case, node)


def case_exit_codes(case):
    node = pair(case)
    node.run("no-such-command", data=False, expect=EXIT["usage"])
    node.run("send", "--user", "alice", expect=EXIT["usage"])
    assert "unknown option -x;" in node.run("send", "-xyz", data=False, expect=EXIT["usage"]).err
    node.send("alice", "bob", "", expect=EXIT["invalid"])
    started = time.monotonic()
    node.run("recv", "--user", "bob", "--count", "1", "--timeout", "1", expect=EXIT["busy"])
    assert time.monotonic() - started < 8
    for command in ((), ("up",), ("user",), ("token",), ("send",), ("recv",), ("history",),
                    ("chat",), ("check",), ("metrics",), ("bench",)):
        done = node.run(*command, "--help", data=False)
        assert "anser" in done.out and not done.err, done
    node.run("--version", data=False)
    finish(case, node)
    done = node.send("alice", "bob", "to a stopped node", expect=EXIT["busy"])
    assert "no server answers at tcp://" in done.err, done
    assert done.err.strip(), done


def case_json_is_json(case):
    node = pair(case)
    done = node.send("alice", "bob", "--json", "hi")
    line = json.loads(done.lines[0])
    assert isinstance(line["id"], str) and line["seq"] == "1", line
    got, = node.recv("bob", 1)
    assert got["text"] == "hi" and got["id"] == line["id"], got
    done = node.run("history", "--user", "alice", "--with", "bob", "--json")
    entry, = [json.loads(text) for text in done.lines]
    assert entry["id"] == line["id"] and entry["from"] == "alice" and entry["text"] == "hi"
    finish(case, node)


def case_T10_history_pages(case):
    node = pair(case)
    alice = node.client("alice")
    for number in range(250):
        alice.send("bob", f"m{number}")
    assert [m.body.decode() for m in alice.history("bob")] == [f"m{n}" for n in range(250)]
    page = alice.call(HISTORY, pb.History(peer=b"bob", before=101, limit=30))
    assert [m.seq for m in page.messages] == list(range(100, 70, -1)) and not page.completed
    assert page.head == 250
    out = node.run("history", "--user", "bob", "--with", "alice", "--before", "11", "--limit",
                   "3").lines
    assert [line.split()[0] for line in out] == ["8", "9", "10"], out
    assert alice.refused(HISTORY, pb.History(peer=b"nobody")) == "USER_NOT_FOUND"
    finish(case, node)


def case_R6_R7_retries_give_the_first_result(case):
    node = pair(case)
    alice = node.client("alice")
    now = int(time.time() * 1000)
    message_id = uuid7()
    first = alice.send("bob", "once", message_id=message_id)
    again = alice.send("bob", "once", message_id=message_id)
    other = node.client("alice", device="other").send("bob", "once", message_id=message_id)
    assert first.seq == again.seq == other.seq == 1
    assert first.message_id == again.message_id == other.message_id
    refused = send_body("bob", "another body", message_id=message_id)
    assert alice.refused(SEND, refused) == "ID_CONFLICT"
    old = send_body("bob", "old", message_id=uuid7(now - 25 * 3600 * 1000))
    assert alice.refused(SEND, old) == "ID_EXPIRED"
    ahead = send_body("bob", "ahead", message_id=uuid7(now + 10 * 60 * 1000))
    assert alice.refused(SEND, ahead) == "ID_TIME"
    version4 = send_body("bob", "v4", message_id=os.urandom(6) + b"\x40" + os.urandom(9))
    assert alice.refused(SEND, version4) == "ARGUMENT"
    node.stop()
    node.start()
    after = node.client("alice").send("bob", "once", message_id=message_id)
    assert (after.seq, after.message_id) == (first.seq, first.message_id)
    assert len(node.client("bob").sync()) == 1
    finish(case, node)


def case_R2_R3_marks_of_delivery(case):
    node = pair(case)
    alice = node.client("alice")
    sent = alice.send("bob", "are you there?")
    alice.await_receipt(RECEIPT_STORED, sent.seq)  # bob has no device online
    bob = node.client("bob")
    event, = bob.sync()
    confirm = pb.Confirm(inbox_seq=event.inbox_seq, inbox_generation=event.inbox_generation,
                         delivered=[pb.Position(peer=b"alice", seq=event.message.seq)])
    assert bob.call(CONFIRM, confirm).inbox_seq == event.inbox_seq
    receipt = alice.await_receipt(RECEIPT_DELIVERED, sent.seq)
    assert receipt.peer == b"bob"
    page = alice.call(HISTORY, pb.History(peer=b"bob"))
    assert page.peer_delivered == 1
    # Forward only, and never beyond the end.
    assert bob.call(CONFIRM, pb.Confirm(inbox_seq=0)).inbox_seq == 1
    assert bob.refused(CONFIRM, pb.Confirm(inbox_seq=99)) == "CURSOR_AHEAD"
    finish(case, node)


def case_cursors_of_another_time(case):
    node = pair(case)
    node.send("alice", "bob", "one")
    bob = node.client("bob")
    ok = bob.login_ok
    assert (ok.inbox_head, ok.inbox_first, ok.cursor) == (1, 1, 0), ok
    assert bob.refused(SYNC, pb.Sync(after=0, inbox_generation=12345)) == "RESET"
    assert bob.refused(SYNC, pb.Sync(after=99)) in ("RESET", "CURSOR_AHEAD")
    page = bob.call(SYNC, pb.Sync(after=0, inbox_generation=ok.inbox_generation))
    assert page.completed and page.head == 1
    assert await_that("the heartbeat to know the head",
                      lambda: bob.call(HEARTBEAT, pb.Heartbeat()).inbox_head == 1)
    finish(case, node)


def case_same_device_replaces_itself(case):
    node = pair(case)
    old = node.client("bob", device="phone")
    other = node.client("bob", device="tablet")
    new = node.client("bob", device="phone")
    assert old.closing() == "REPLACED"
    node.send("alice", "bob", "to the new one")
    assert bodies(new.await_events(1)) == bodies(other.await_events(1)) == [b"to the new one"]
    # A sender that wants no pushes evicts nobody; the sending device gets no echo, by name
    # (unless bob's inbox is on another store, which does not know the number in time).
    sent = node.client("bob", device="phone", send_only=True).send("alice", "hi")
    assert bodies(other.await_events(1)) == [b"hi"]
    if not sent.inbox_seq:
        new.await_events(1)
    new.call(HEARTBEAT, pb.Heartbeat())
    assert not new.events, new.events
    finish(case, node)


def case_metrics_are_prometheus_text(case):
    node = pair(case)
    before = node.metrics()
    node.send("alice", "bob", "count me")
    after = node.metrics()
    roles = {name.split("_")[1] for name in after if name.startswith("anser_")}
    assert {"gate", "router", "sequencer", "store", "idgen"} <= roles, roles
    assert any(after[name] > before.get(name, 0) for name in after
               if name.startswith("anser_store_")), "no counter of the store moved"
    finish(case, node)


def real_size(rng):
    """Mostly a line, sometimes a page, now and then the largest body."""
    kind = rng.random()
    if kind < 0.90:
        return rng.randint(1, 300)
    if kind < 0.998:
        return rng.randint(300, 4000)
    return rng.randint(4000, BODY_MAX)


def case_ten_thousand_both_ways(case):
    node = pair(case)
    rng = random.Random(7)
    count = 5000
    people = {"alice": "bob", "bob": "alice"}
    sent = {name: [f"{n:05} ".encode() + rng.randbytes(real_size(rng)).hex().encode()[:BODY_MAX - 6]
                   for n in range(count)] for name in people}
    clients = {name: node.client(name, device="load", send_only=True) for name in people}
    answers = {name: [] for name in people}
    pipes = {name: Pipeline(clients[name], lambda tag, ok, n=name: answers[n].append((tag, ok)))
             for name in people}
    left = {name: list(enumerate(sent[name]))[::-1] for name in people}
    while any(left[name] or pipes[name].waiting for name in people):
        for name, pipe in pipes.items():
            while left[name] and len(pipe.waiting) < 64:
                number, body = left[name].pop()
                pipe.push(number, send_body(people[name], body))
            if pipe.waiting:
                pipe.pump(0.05)
    for name in people:
        failed = [ok for _, ok in answers[name] if isinstance(ok, ServerError)]
        assert not failed, (len(failed), failed[0])
        answers[name].sort(key=lambda answer: answer[0])  # they may overtake each other
        assert [tag for tag, _ in answers[name]] == list(range(count))
        seqs = [ok.seq for _, ok in answers[name]]
        assert seqs == sorted(seqs), "messages of one sender are not numbered in the order of sending"
    history = node.client("alice", device="reader").history("bob")
    assert [m.seq for m in history] == list(range(1, 2 * count + 1))
    for name in people:
        got = [m.body for m in history if getattr(m, "from") == name.encode()]
        assert got == sent[name], f"what {name} sent came back different"
    inbox = node.client("bob", device="reader").sync()
    assert [e.inbox_seq for e in inbox] == list(range(1, 2 * count + 1))
    assert [e.message.message_id for e in inbox] == [m.message_id for m in history]
    finish(case, node)
