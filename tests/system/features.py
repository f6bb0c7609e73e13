"""Rows of the feature list, connection to reliability: each case is named after the codes of
the rows that it proves (docs/testing.md has the table)."""
import os
import random
import re
import socket
import struct
import time

from harness import (ANSWER, BODY_MAX, CONFIRM, ERROR, GOODBYE, HEADER, HEARTBEAT, HISTORY,
                     LOGIN, LOGOUT, RECEIPT_DELIVERED, RECEIPT_STORED, SEND, SYNC, TOP, Closed,
                     Pipeline, ServerError, await_that, pb, send_body, uuid7)
from scenario import finish, jwt, pair

MINUTE = 60 * 1000
HOUR = 60 * MINUTE


def now_ms():
    return int(time.time() * 1000)


def result(ok):
    return ok.seq, ok.message_id, ok.time_ms


def send_many(client, sends, window=64):
    """The SendOks of [(to, body)] in their order, `window` of them under way."""
    answers = {}
    pipe = Pipeline(client, answers.__setitem__)
    pipe.run(window, ((n, send_body(*send)) for n, send in enumerate(sends)))
    failed = [ok for ok in answers.values() if isinstance(ok, ServerError)]
    assert not failed, failed[0]
    return [answers[n] for n in range(len(answers))]


def confirm(client, event, peer=None, seq=None):
    """Confirms up to event, and with it messages of peer up to seq."""
    return client.call(CONFIRM, pb.Confirm(
        inbox_seq=event.inbox_seq, inbox_generation=event.inbox_generation,
        delivered=[pb.Position(peer=peer.encode(), seq=seq)] if peer else []))


# --- connection


def case_C2_frame_limit_to_the_byte(case):
    """A frame of the limit passes, one byte more is named; the limit is in the docs."""
    node = pair(case)
    alice = node.client("alice")
    limit = alice.login_ok.frame_len_max
    with open(os.path.join(TOP, "docs", "protocol.md"), encoding="utf-8") as f:
        assert f"frame from a client | {limit:,} bytes" in f.read()
    assert limit >= 65536 and alice.login_ok.body_len_max == BODY_MAX
    # Filled up with a field that the server does not know and passes over.
    body = send_body("bob", b"x" * BODY_MAX, kind=3).SerializeToString()
    rest = limit - HEADER.size - len(body) - 4
    body += b"\xfa\x7f" + bytes([rest & 0x7f | 0x80, rest >> 7]) + b"p" * rest
    assert len(body) + HEADER.size == limit
    assert alice.answer(alice.send_frame(SEND, body), pb.SendOk).seq == 1
    alice.send_raw(HEADER.pack(b"AN", 1, 1, SEND, 0, 9, limit - HEADER.size + 1))
    assert alice.closing() == "FRAME_TOO_LARGE"
    finish(case, node)


def case_C5_unknown_fields_are_ignored(case):
    node = pair(case)
    # Fields 500 to 503: a varint, eight bytes, a text, four bytes.
    strange = (b"\xa0\x1f\x96\x01" + b"\xa9\x1f12345678" + b"\xb2\x1f\x05hello" +
               b"\xbd\x1f1234")
    alice = node.client()
    login = pb.Login(token=node.token("alice").encode(), device=b"new").SerializeToString()
    alice.answer(alice.send_frame(LOGIN, strange + login), pb.LoginOk)
    bob = node.client("bob")
    body = send_body("bob", "from the future").SerializeToString()
    assert alice.answer(alice.send_frame(SEND, body + strange), pb.SendOk).seq == 1
    event, = bob.await_events(1)
    assert event.message.body == b"from the future" and b"hello" not in event.SerializeToString()
    for command, request, kind in ((HEARTBEAT, pb.Heartbeat(), pb.HeartbeatOk),
                                   (SYNC, pb.Sync(), pb.SyncOk),
                                   (HISTORY, pb.History(peer=b"bob"), pb.HistoryOk),
                                   (CONFIRM, pb.Confirm(), pb.ConfirmOk),
                                   (LOGOUT, pb.Logout(), pb.LogoutOk)):
        request = request.SerializeToString() + strange
        alice.answer(alice.send_frame(command, request), kind)
    finish(case, node)


IDLE_MS = 1500
GATE_TICK_MS = 1000  # core/limits.h
SLACK_MS = 1000      # of a busy machine


def case_C6_silent_is_closed_in_time_and_its_route_goes(case):
    node = pair(case, config=f"gate:\n  idle_ms: {IDLE_MS}\n  heartbeat_ms: 500\n")
    node.add_users("carol")
    alice = node.client("alice")
    silent = node.client("carol", device="phone")
    began = time.monotonic()
    life = [lambda: alice.call(HISTORY, pb.History(peer=b"bob")),
            lambda: alice.call(SYNC, pb.Sync()),
            lambda: alice.call(CONFIRM, pb.Confirm()),
            lambda: alice.send("bob", "a sign of life"),
            lambda: alice.call(HEARTBEAT, pb.Heartbeat()),
            lambda: alice.refused(SEND, send_body("nobody", "hello")),
            lambda: alice.send_frame(4711)]  # refused, and a sign of life all the same
    closed = None
    for n in range(14):  # 14 times 0.3 s: nearly three times what silence may last
        life[n % len(life)]()
        try:
            if closed is None and silent.fill(0):
                silent.note(silent.read_frame())
        except Closed as end:
            closed = (time.monotonic() - began) * 1000
            assert end.goodbye.name == b"IDLE", end
        # Waits for a word that must not come: nobody has a reason to close this one.
        while alice.fill(0.3):
            while (frame := alice.take_frame()) is not None:
                assert frame.command == 4711 or alice.note(frame) is None
    assert closed is not None, "the silent one was never closed"
    assert IDLE_MS - 50 <= closed <= IDLE_MS + GATE_TICK_MS + 300 + SLACK_MS, closed
    # The route went with it: nobody is online, and the sender hears that.
    sent = alice.send("carol", "are you gone?")
    alice.await_receipt(RECEIPT_STORED, sent.seq)
    assert node.metrics()["anser_router_sessions"] == 1
    finish(case, node)


def case_C6_defaults_are_told_at_login(case):
    node = pair(case)
    ok = node.client("alice").login_ok
    assert (ok.idle_ms, ok.heartbeat_ms) == (30000, 10000), ok
    finish(case, node)


def envelope(kind, role):
    """A bus message as cluster members speak it (proto/envelope.h)."""
    return struct.pack(">2sBBHHQIBBHI", b"AB", 1, 0, kind, 0, 7, 5000, role, 0, 0, 0)


def listening_inet_ports(pid):
    """The TCP and UDP ports that the process listens on."""
    sockets = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        found = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        if found:
            sockets.add(found.group(1))
    ports = set()
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        path = f"/proc/{pid}/net/{table}"
        if not os.path.exists(path):
            continue
        with open(path, encoding="ascii") as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[3] == state and fields[9] in sockets:
                    ports.add((table, int(fields[1].split(":")[1], 16)))
    return ports


def no_cluster_words(node):
    """Nothing of the inner language is understood on the client port."""
    words = [envelope(kind, role) for kind in range(1, 22) for role in range(8)]
    words += [b"\x00SP\x00\x00\x30\x00\x00", b"\x00SP\x00\x00\x10\x00\x00",  # NNG's greeting
              b"api/0 user-add mallory\n", b"gate/0 conns\n"]
    for n, word in enumerate(words):
        client = node.client("alice" if n % 8 == 0 else None, device="stranger")
        client.send_raw(word)
        assert client.closing() == "FRAME_MAGIC", word
        client.close()
    node.send("mallory", "bob", "hello", expect=5)  # USER_NOT_FOUND: nobody added him


def case_C10_cluster_words_are_refused_on_the_client_port(case):
    for bus in ("inproc", "ipc"):
        node = pair(case, config=f"bus: {bus}\n")
        doors = {("tcp", port) for _, port in node.doors.values()}
        assert listening_inet_ports(node.process.pid) == doors
        no_cluster_words(node)
        finish(case, node)


def case_C10_only_client_commands_have_numbers(case):
    """Every command that is not of docs/protocol.md is refused as unknown, login or not;
    what only a server says (answers, pushes) is refused too."""
    node = pair(case)
    alice = node.client("alice")
    numbers = [0, *range(8, 2000), *range(2000, 65536, 97), 65535]
    for at in range(0, len(numbers), 200):
        part = numbers[at:at + 200]
        asked = {alice.send_frame(number, b"\x08\x01"): number for number in part}
        while asked:
            frame = alice.read_frame()
            assert frame.flags == ANSWER | ERROR, (asked.get(frame.request), frame.flags)
            error = pb.Error.FromString(frame.body)
            assert (frame.command, error.name) == (asked.pop(frame.request), b"COMMAND"), error
    alice.send("bob", "still connected")
    for flags in (ANSWER, ERROR, ANSWER | ERROR):
        client = node.client("alice", device="server?")
        client.send_frame(SEND, send_body("bob", "an answer nobody asked for"), flags=flags)
        assert client.closing() == "FRAME_FLAGS", flags
    assert len(node.client("bob").sync()) == 1
    finish(case, node)


def case_C11_cut_off_reader_finds_all_in_the_inbox(case):
    """Who is cut off for not reading loses the connection and nothing else; what waits for
    it in the server is bounded."""
    node = pair(case, config="gate:\n  output_bytes_max: 600000\n")
    slow = node.client("bob", device="slow")
    other = node.client("bob", device="other")
    alice = node.client("alice")
    body = os.urandom(BODY_MAX)
    count = 0
    while node.metrics()["anser_gate_closed_slow_total"] == 0:
        assert count < 1000, "never cut off"
        for _ in range(50):
            alice.send("bob", body, kind=3)
            other.await_events(1)
            count += 1
    try:
        while True:
            slow.note(slow.read_frame())
    except Closed:
        pass
    assert len(slow.events) < count  # what was in the kernel's buffers
    again = node.client("bob", device="slow")
    assert [e.inbox_seq for e in again.sync()] == list(range(1, count + 1))
    finish(case, node)


def case_C12_M6_bodies_and_types_pass_untouched(case):
    node = pair(case)
    alice, bob = node.client("alice"), node.client("bob")
    rng = random.Random(12)
    sent = [(kind, rng.randbytes(rng.randint(1, 3000)))
            for kind in (2, 3, 4, 5, 63, 64, 1000, 65535, 65536, 2 ** 31, 2 ** 32 - 1)]
    sent += [(99, bytes(range(256))), (99, b"\x00"), (99, b"\xff" * BODY_MAX),
             (5, b"AN\x01\x01\x00\x42\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
             (1, "text stays text 文".encode()), (4, b'{"amount":1}')]
    for kind, body in sent:
        alice.send("bob", body, kind=kind)
    assert alice.refused(SEND, send_body("bob", "no type", kind=0)) == "ARGUMENT"
    for name, messages in (("pushed", [e.message for e in bob.await_events(len(sent))]),
                           ("synced", [e.message for e in bob.sync()]),
                           ("history", bob.history("alice")),
                           ("own", alice.history("bob"))):
        assert [(m.type, m.body) for m in messages] == sent, name
    finish(case, node)


# --- login


def case_A3_failed_login_binds_nothing(case):
    node = pair(case)
    phone = node.client("bob", device="phone")
    now = int(time.time())
    tokens = {jwt(node, "bob", exp=now - 60): "TOKEN_EXPIRED",
              jwt(node, "bob", secret=b"another secret of thirty-two byt"): "TOKEN_INVALID",
              "": "TOKEN_INVALID", "a.b.c": "TOKEN_INVALID"}
    for token, name in tokens.items():
        thief = node.client()
        login = thief.send_frame(LOGIN, pb.Login(token=token.encode(), device=b"phone"))
        send = thief.send_frame(SEND, send_body("alice", "stolen"))
        names = {}
        try:
            while True:
                frame = thief.read_frame()
                if frame.command != GOODBYE:
                    assert frame.flags == ANSWER | ERROR, frame.flags
                    names[frame.request] = pb.Error.FromString(frame.body).name.decode()
        except Closed:
            pass
        assert names[login] == name, (token, names)
        assert names.get(send, "LOGIN_REQUIRED") in ("LOGIN_REQUIRED", name), names
    # Nobody took bob's place, and nothing was said in his name.
    node.send("alice", "bob", "are you still you?")
    assert phone.await_events(1)[0].message.body == b"are you still you?"
    assert not [m for m in phone.history("alice") if m.body == b"stolen"]
    finish(case, node)


def case_A3_any_command_before_login_is_refused_and_closed(case):
    node = pair(case)
    bodies = {LOGOUT: pb.Logout(), HEARTBEAT: pb.Heartbeat(), SEND: send_body("bob", "hi"),
              CONFIRM: pb.Confirm(inbox_seq=1), SYNC: pb.Sync(),
              HISTORY: pb.History(peer=b"bob")}
    for command, body in bodies.items():
        client = node.client()
        try:
            client.call(command, body)
            raise AssertionError(f"command {command} before login was answered")
        except ServerError as error:
            assert error.name == "LOGIN_REQUIRED", error
            assert client.closing() == "LOGIN_REQUIRED"
        except Closed as closed:
            assert closed.goodbye.name == b"LOGIN_REQUIRED", closed
    assert not node.client("bob").sync()
    finish(case, node)


def case_A4_tokens_are_judged_without_the_store(case):
    node = pair(case)
    now = int(time.time())
    wrong = {jwt(node, "alice", exp=now - 60): "TOKEN_EXPIRED",
             jwt(node, "alice", secret=os.urandom(32)): "TOKEN_INVALID",
             jwt(node, "alice", {"alg": "none"}): "TOKEN_UNSIGNED",
             jwt(node, "alice", {"alg": "HS512"}): "TOKEN_ALGORITHM",
             jwt(node, "alice", aud="other"): "TOKEN_AUDIENCE"}
    # The empty signature as "none" has it, under a header that says HS256.
    head, claims, _ = jwt(node, "alice").split(".")
    wrong[f"{head}.{claims}."] = "TOKEN_INVALID"

    def reads():
        values = node.metrics()
        return values["anser_store_requests_total"], values["anser_store_queries_total"]

    before = reads()
    for _ in range(3):
        for token, name in wrong.items():
            client = node.client()
            login = pb.Login(token=token.encode(), device=b"d")
            assert client.refused(LOGIN, login) == name, token
            client.close()
    assert reads() == before, "a bad token reached the store"
    node.client("alice")
    assert reads() != before, "the counters count nothing"
    finish(case, node)


# --- messages


def case_M1_text_arrives_with_id_sequence_and_time(case):
    node = pair(case)
    alice, bob = node.client("alice", device="desk"), node.client("bob")
    seen = set()
    for number in range(1, 6):
        message_id = uuid7()
        before = now_ms()
        ok = alice.send("bob", f"letter {number}", message_id=message_id)
        event, = bob.await_events(1)
        message = event.message
        assert ok.client_msg_id == message_id == message.client_msg_id
        assert (ok.seq, ok.inbox_seq) == (number, number)
        assert (message.seq, message.message_id, message.time_ms) == result(ok)
        assert before <= ok.time_ms <= now_ms(), (before, ok.time_ms)
        assert (getattr(message, "from"), message.to) == (b"alice", b"bob")
        assert (message.from_device, message.type) == (b"desk", 1)
        assert message.body == f"letter {number}".encode()
        assert ok.message_id and ok.message_id not in seen
        seen.add(ok.message_id)
    finish(case, node)


# --- reliability


def case_R1_S1_kill9_right_behind_the_ack(case):
    node = pair(case)
    acked = []
    for number in range(5):
        alice = node.client("alice", device="load", send_only=True)
        for n in range(number):
            acked.append(result(alice.send("bob", f"{number} {n}")))
        acked.append(result(alice.send("bob", f"{number} last")))
        node.kill()
        node.start()
        history = node.client("bob").history("alice")
        assert [result(m) for m in history] == acked
        assert history[-1].body == f"{number} last".encode()
    finish(case, node)


def case_R2_delivered_when_any_device_has_it(case):
    node = pair(case)
    alice = node.client("alice")
    phone, tablet = node.client("bob", device="phone"), node.client("bob", device="tablet")
    sent = [alice.send("bob", f"m{n}") for n in range(3)]
    events = phone.await_events(3)
    tablet.await_events(3)
    alice.call(HEARTBEAT, pb.Heartbeat())
    assert not alice.receipts, "a mark before anybody confirmed"
    confirm(phone, events[1], "alice", sent[1].seq)
    receipt = alice.await_receipt(RECEIPT_DELIVERED, sent[1].seq)
    assert (receipt.peer, receipt.seq) == (b"bob", sent[1].seq), receipt
    # The second device's confirm of the same is no news.
    confirm(tablet, events[1], "alice", sent[1].seq)
    confirm(tablet, events[2], "alice", sent[2].seq)
    alice.await_receipt(RECEIPT_DELIVERED, sent[2].seq)
    marks = [r.seq for r in alice.receipts if r.kind == RECEIPT_DELIVERED]
    assert marks == [sent[1].seq, sent[2].seq], marks
    assert alice.call(HISTORY, pb.History(peer=b"bob", limit=1)).peer_delivered == 3
    finish(case, node)


def case_R3_the_server_answers_for_an_offline_receiver(case):
    node = pair(case)
    alice, laptop = node.client("alice"), node.client("alice", device="laptop")
    sent = alice.send("bob", "nobody is there")
    for device in (alice, laptop):
        receipt = device.await_receipt(RECEIPT_STORED, sent.seq)
        assert (receipt.peer, receipt.kind) == (b"bob", RECEIPT_STORED)
    bob = node.client("bob")
    alice.receipts.clear()
    second = alice.send("bob", "now you are")
    event, = bob.await_events(1)
    confirm(bob, event, "alice", second.seq)
    alice.await_receipt(RECEIPT_DELIVERED, second.seq)
    assert not [r for r in alice.receipts if r.kind == RECEIPT_STORED], "bob was online"
    bob.call(LOGOUT, pb.Logout())
    bob.closing()
    third = alice.send("bob", "gone again")
    alice.await_receipt(RECEIPT_STORED, third.seq)
    finish(case, node)


def ask_all_ways(clients, ids):
    """Each id twice on each connection, all at once; {id: {its different answers}}."""
    answers = {message_id: set() for message_id in ids}

    def note(message_id, ok):
        assert not isinstance(ok, ServerError), ok
        assert ok.client_msg_id == message_id
        answers[message_id].add((*result(ok), ok.inbox_seq))

    pipes = [Pipeline(client, note) for client in clients]
    for message_id in ids:
        for pipe in pipes + pipes:
            pipe.push(message_id, send_body("bob", message_id.hex(), message_id=message_id))
    for pipe in pipes:
        while pipe.waiting:
            pipe.pump(20)
    return answers


def case_R6_one_id_many_ways_is_one_message(case):
    node = pair(case)
    first = {}
    for how in ("fresh", "stop", "kill"):
        if how == "stop":
            node.stop()
        elif how == "kill":
            node.kill()
        if how != "fresh":
            node.start()
        clients = [node.client("alice", device=device) for device in ("one", "two", "one+")]
        old = list(first)
        new = [uuid7() for _ in range(25)]
        for ids in (old, new, old + new):
            answers = ask_all_ways(clients, ids)
            for message_id, given in answers.items():
                assert len(given) == 1, (how, message_id.hex(), given)
                assert first.setdefault(message_id, given) == given, (how, given)
        history = clients[0].history("bob")
        assert [m.seq for m in history] == list(range(1, len(first) + 1))
        assert {m.client_msg_id for m in history} == set(first)
        assert [e.message.client_msg_id for e in node.client("bob").sync()] == \
            [m.client_msg_id for m in history]
    finish(case, node)


def case_R7_window_of_a_day_and_its_edges(case):
    node = pair(case)
    alice = node.client("alice")

    def answer(offset_ms):
        body = send_body("bob", "about time", message_id=uuid7(now_ms() + offset_ms))
        try:
            return alice.call(SEND, body).seq
        except ServerError as error:
            assert not error.retry, error
            assert alice.send("bob", "a new id works").seq > 0
            return error.name

    for offset, expect in ((-24 * HOUR + MINUTE, None), (-24 * HOUR - MINUTE, "ID_EXPIRED"),
                           (-400 * 24 * HOUR, "ID_EXPIRED"), (5 * MINUTE - 20000, None),
                           (5 * MINUTE + 20000, "ID_TIME"), (24 * HOUR, "ID_TIME")):
        got = answer(offset)
        assert got == expect or (expect is None and isinstance(got, int)), (offset, got)
    stored = [m.body for m in alice.history("bob")]
    assert stored.count(b"about time") == 2, stored
    finish(case, node)


def case_R7_stored_id_ends_explicitly(case):
    """An id that ages out of the window: the first result until then, ID_EXPIRED from then
    on, and never a second message."""
    node = pair(case, config="sequencer:\n  dedupe_window_ms: 60000\n")
    alice = node.client("alice")
    body = send_body("bob", "once", message_id=uuid7(now_ms() - MINUTE + 2500))
    first = alice.call(SEND, body)
    again = 0

    def expired():
        nonlocal again
        try:
            assert result(alice.call(SEND, body)) == result(first)
            again += 1
        except ServerError as error:
            assert error.name == "ID_EXPIRED" and not error.retry, error
            return True

    await_that("the id to expire", expired)
    assert again > 0
    assert len(alice.history("bob")) == 1
    finish(case, node)


def case_R8_P2_two_devices_see_one_order(case):
    """Both people pipeline into one conversation; every device that looks on sees the same
    order without a gap, each sender's messages in the order of sending."""
    node = pair(case)
    count = 400
    lookers = [node.client("alice", device="watch"), node.client("bob", device="watch")]
    people = {"alice": "bob", "bob": "alice"}
    acks = {name: {} for name in people}
    pipes = {name: Pipeline(node.client(name, device="load"), acks[name].__setitem__)
             for name in people}
    for number in range(count):
        for name, pipe in pipes.items():
            pipe.push(number, send_body(people[name], f"{name} {number}"))
            if len(pipe.waiting) >= 100:
                pipe.pump(20)
    for pipe in pipes.values():
        while pipe.waiting:
            pipe.pump(20)
    seen = [[e.message for e in looker.await_events(2 * count)] for looker in lookers]
    for messages in seen:
        assert [m.seq for m in messages] == list(range(1, 2 * count + 1))
        assert [m.message_id for m in messages] == [m.message_id for m in seen[0]]
        for name in people:
            own = [m for m in messages if getattr(m, "from") == name.encode()]
            assert [m.body for m in own] == [f"{name} {n}".encode() for n in range(count)]
            assert [m.seq for m in own] == [acks[name][n].seq for n in range(count)]
    times = [m.time_ms for m in seen[0]]
    assert times == sorted(times)
    finish(case, node)


def case_R11_one_confirm_covers_all_before(case):
    node = pair(case)
    alice, bob = node.client("alice"), node.client("bob", device="phone")
    sent = send_many(alice, [("bob", f"m{n}") for n in range(60)])
    events = bob.await_events(60)
    ok = confirm(bob, events[49], "alice", sent[49].seq)
    assert ok.inbox_seq == 50
    alice.await_receipt(RECEIPT_DELIVERED, 50)
    assert alice.call(HISTORY, pb.History(peer=b"bob", limit=1)).peer_delivered == 50
    bob.close()
    again = node.client("bob", device="phone")
    assert (again.login_ok.cursor, again.login_ok.inbox_head) == (50, 60)
    assert [e.inbox_seq for e in again.sync(again.login_ok.cursor)] == list(range(51, 61))
    finish(case, node)


# --- ids


def case_I1_I2_I3_no_number_comes_twice_over_kills(case):
    """kill -9 with sends under way, again and again: message ids, numbers of conversations
    and inboxes, and users' keys go on where they were and never repeat."""
    node = pair(case)
    ids, seqs, users = set(), [], ["bob"]
    for number in range(4):
        alice = node.client("alice", device="load", send_only=True)
        for user in users:
            for ok in send_many(alice, [(user, f"{number} {n}") for n in range(40)]):
                assert ok.message_id not in ids
                ids.add(ok.message_id)
                seqs.append((user, ok.seq))
        for n in range(20):  # not awaited: the kill falls among them
            alice.send_frame(SEND, send_body("bob", f"{number} cut {n}"))
        node.run("user", "add", f"user{number}")
        node.kill()
        node.start()
        users.append(f"user{number}")
        node.run("user", "add", f"again{number}")  # with a key from a new lease
        assert node.client(f"again{number}").login_ok.inbox_head == 0
    assert len(set(seqs)) == len(seqs)
    for user in users:
        history = node.client("alice").history(user)
        assert [m.seq for m in history] == list(range(1, len(history) + 1)), user
        acked = [seq for name, seq in seqs if name == user]
        assert acked == sorted(acked)
        times = [m.time_ms for m in history]
        assert times == sorted(times)
    everything = [e.message.message_id for e in node.client("alice", device="all").sync()]
    assert len(set(everything)) == len(everything) >= len(ids) and ids <= set(everything)
    finish(case, node)


def case_I5_ids_tell_nothing_about_their_count(case):
    node = pair(case)
    alice = node.client("alice")
    slow = [alice.send("bob", f"one by one {n}").message_id for n in range(50)]
    fast = [ok.message_id for ok in send_many(alice, [("bob", f"m{n}") for n in range(500)])]
    for ids in (slow, fast):
        steps = [b - a for a, b in zip(ids, ids[1:])]
        assert not [s for s in steps if abs(s) <= 1], steps
        assert ids[-1] - ids[0] != len(ids) - 1
    assert len({i % 8 for i in slow}) > 4, "low bits that hardly change"
    finish(case, node)


# --- faults


def drop(client):
    """The client's machine is gone: a reset, no good-bye."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def case_X1_client_drop_keeps_messages(case):
    node = pair(case)
    alice, bob = node.client("alice"), node.client("bob", device="phone")
    alice.send("bob", "seen, not confirmed")
    bob.await_events(1)
    assert node.metrics()["anser_router_sessions"] == 2
    drop(bob)
    await_that("the session to be gone",
               lambda: node.metrics()["anser_router_sessions"] == 1)
    sent = alice.send("bob", "while away")
    alice.await_receipt(RECEIPT_STORED, sent.seq)
    # A sender that drops with sends under way: sent again, each is there once.
    left = [send_body("bob", f"last words {n}") for n in range(50)]
    desk = node.client("alice", device="desk")
    for body in left:
        desk.send_frame(SEND, body)
    drop(desk)
    desk = node.client("alice", device="desk")
    for body in left:
        desk.call(SEND, body)
    back = node.client("bob", device="phone")
    assert back.login_ok.cursor == 0
    assert [e.message.body for e in back.sync()] == [
        b"seen, not confirmed", b"while away", *(body.body for body in left)]
    finish(case, node)
