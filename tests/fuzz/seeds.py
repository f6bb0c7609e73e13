#!/usr/bin/python3
"""Writes the first inputs of fuzz_bus and fuzz_rows: whole, valid conversations and
directories, from which the fuzzer finds the broken ones. Run by hand when bus.proto,
stored.proto or the form of the inputs changes; then tests/fuzz/run --minimise."""
import hashlib
import importlib
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
NOW = 1795219200000
ROLES = {"gate": 0, "router": 1, "sequencer": 2, "store": 3, "idgen": 4, "api": 5}
KINDS = {}
MASK = (1 << 64) - 1


def siphash(data):
    """SipHash-2-4 with a key of zeros, as proto/rows.h says."""
    def rotate(x, n):
        return (x << n | x >> 64 - n) & MASK

    v = [0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 255])
    for n in range(0, len(padded), 8):
        word = int.from_bytes(padded[n:n + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def slot(data):
    return siphash(data) % 1024


def conv(a, b):
    return b"D" + struct.pack(">QQ", min(a, b), max(a, b))


def conv_slot(a, b):
    return slot(conv(a, b))


def user_slot(user):
    return slot(b"U" + struct.pack(">Q", user))


def name_slot(name):
    return slot(b"Ndefault\0" + name)


def pair(n, mine=True):
    """The n-th pair of users whose conversation and inboxes are in our half, or whose
    second inbox is not."""
    found = [(a, b) for a in range(1, 60) for b in range(a + 1, 60)
             if conv_slot(a, b) < 512 and user_slot(a) < 512
             and (user_slot(b) < 512) == mine]
    return found[n]


def uuid(n, ms=NOW):
    return ms.to_bytes(6, "big") + bytes([0x70, n, 0x80]) + bytes([n] * 7)


# ------------------------------------------------------------------ bus

def sized(data):
    return struct.pack(">H", len(data)) + data


def request(kind, body, which=0):
    return bytes([0, KINDS[kind], which]) + sized(body.SerializeToString())


def digest(data):
    return hashlib.blake2b(data, digest_size=16).digest()[:8]


def envelope(kind, role, index=0, body=b"", flags=0, err=0):
    stores = b"".join(struct.pack(">H", n >= 512) for n in range(1024))
    return b"AB" + bytes([KINDS["AN_BUS_VERSION"]]) + struct.pack(">BHHQIBBHI", flags, kind, err, 7, 5000, role, 0, index,
                                   len(body)) + digest(b"fuzz") + digest(stores) + body


def answer(body, err=0, which=0):
    return bytes([3, which, err]) + sized(body.SerializeToString() if body else b"")


def friend(which=0):
    return bytes([4, which])


def later(tenths):
    return bytes([5, tenths])


def send(b, a, c, n, after=None):
    command = b.Command(slot=conv_slot(a, c), trace=n)
    command.send.CopyFrom(b.SendCommand(
        sender=a, recipient=c, **{"from": b"u%d" % a}, to=b"u%d" % c, device=b"phone",
        client_msg_id=uuid(n), type=1, body=b"hello %d" % n))
    if after:
        command.send.after_id = uuid(after)
    return command


def sequencer_seeds(b):
    x, y = pair(0)
    sends = request("SUBMIT", b.Submit(commands=[send(b, x, y, 1), send(b, y, x, 2),
                                                 send(b, x, y, 3, 1)]))
    confirm = b.Command(slot=user_slot(x))
    confirm.confirm.CopyFrom(b.ConfirmCommand(user=x, device=b"phone", inbox_seq=3,
                                              inbox_generation=1))
    delivered = b.Command(slot=conv_slot(x, y))
    delivered.delivered.CopyFrom(b.DeliveredCommand(conversation=conv(x, y), member=y, seq=1))
    user = b.Command(slot=user_slot(x))
    user.create_user.CopyFrom(b.CreateUser(user=x, app=b"default", name=b"alice"))
    directory = b.Command(slot=name_slot(b"alice"))
    directory.put_directory.CopyFrom(b.PutDirectory(app=b"default", name=b"alice", user=x))
    foreign = b.Command(slot=700)
    foreign.send.CopyFrom(send(b, x, y, 9).send)
    first = conv_slot(x, y)
    yield "sends", sends + friend() * 4
    yield "again", sends + friend() * 3 + sends + friend() * 3
    yield "fenced", sends + friend() * 2 + answer(b.Appended(slots=[b.AppendedSlot(
        slot=first, err=701, epoch=9, owner=1)])) + friend() * 3
    for name, err in (("timeout", 5), ("unavailable", 3), ("busy", 2), ("full", 10)):
        yield f"append_{name}", sends + friend() * 2 + answer(None, err) + later(40) + friend() * 6
    yield "gap", sends + friend() * 2 + answer(b.Appended(slots=[b.AppendedSlot(
        slot=first, err=702, head=7)])) + friend() * 5
    yield "conversation", sends + answer(b.ReadDone(answers=[b.Answer(
        conversation_head=5, last_time_ms=NOW, members=[
            b.MemberState(user=x, name=b"u%d" % x, delivered=2),
            b.MemberState(user=y, name=b"u%d" % y)])])) + friend() * 4
    yield "short_answers", sends + answer(b.ReadDone()) + answer(b.Appended()) + friend() * 4
    yield "positions", sends + friend() * 4 + request(
        "SUBMIT", b.Submit(commands=[confirm, delivered])) + friend() * 4 + later(5) + friend() * 4
    yield "accounts", request("SUBMIT", b.Submit(commands=[user, directory])) + friend() * 6
    yield "foreign", request("SUBMIT", b.Submit(commands=[foreign])) + friend() * 6
    yield "probe", request("PROBE", b.Probe(slots=[1, 2, 600])) + friend()
    yield "probed", request("SUBMIT", b.Submit(commands=[foreign])) + answer(
        b.Probed(slots=[b.SlotState(slot=700, holding=2)])) + friend() * 4
    yield "handover", request("HANDOVER", b.Handover(slots=[600, 601])) + friend() * 4
    yield "stop", sends + friend() + bytes([7]) + friend() * 6 + later(40)
    yield "claimed_odd", later(1) + answer(b.Claimed(slots=[b.SlotClaim(slot=5000, epoch=1)]))
    bad = b.Command(slot=first)
    bad.send.CopyFrom(b.SendCommand(sender=x, recipient=y))
    yield "bad_send", request("SUBMIT", b.Submit(commands=[bad, b.Command(slot=9999)]))
    yield "bad_kind", bytes([0, 99, 0]) + sized(b"") + bytes([0, 2, 0]) + sized(b"")


def message(b, x, y, seq):
    return b.MessageEntry(conversation=conv(x, y), seq=seq, message_id=seq + 100, time_ms=NOW,
                          sender=x, recipient=y, **{"from": b"u%d" % x}, to=b"u%d" % y,
                          device=b"phone", client_msg_id=uuid(seq), type=1, body=b"hello",
                          body_hash=b"h" * 16)


def queries(b, x, y):
    q = [b.Query(slot=name_slot(b"alice")), b.Query(slot=user_slot(x)), b.Query(slot=user_slot(x)),
         b.Query(slot=conv_slot(x, y)), b.Query(slot=user_slot(x)), b.Query(slot=conv_slot(x, y)),
         b.Query(slot=conv_slot(x, y)), b.Query(slot=user_slot(x)), b.Query(slot=conv_slot(x, y))]
    q[0].resolve.CopyFrom(b.ResolveQuery(app=b"default", name=b"alice"))
    q[1].login.CopyFrom(b.LoginQuery(user=x, device=b"phone"))
    q[2].sync.CopyFrom(b.SyncQuery(user=x))
    q[3].history.CopyFrom(b.HistoryQuery(conversation=conv(x, y), viewer=x, peer=y))
    q[4].head.CopyFrom(b.HeadQuery(user=x))
    q[5].conversation.CopyFrom(b.ConversationQuery(conversation=conv(x, y)))
    q[6].dedupe.CopyFrom(b.DedupeQuery(conversation=conv(x, y), sender=x, client_msg_id=uuid(1)))
    q[7].device.CopyFrom(b.DeviceQuery(user=x, device=b"phone"))
    q[8].message.CopyFrom(b.MessageQuery(conversation=conv(x, y), seq=1, viewer=x))
    return b.Read(queries=q)


def store_seeds(b):
    x, y = pair(0)
    slots = sorted({conv_slot(x, y), user_slot(x), name_slot(b"alice") % 512})
    claim = request("CLAIM", b.Claim(sequencer=0, slots=slots, incarnation=5, number=1))

    def append(entries, at, number=2, epoch=1):
        return request("APPEND", b.Append(incarnation=5, number=number, slots=[
            b.AppendSlot(slot=at, epoch=epoch, entries=entries)]))

    told = append([b.Entry(trace=1, message=message(b, x, y, 1)),
                   b.Entry(trace=2, message=message(b, y, x, 2)),
                   b.Entry(delivered=b.DeliveredEntry(conversation=conv(x, y), member=y, seq=1,
                                                      member_name=b"u2", peer=x))],
                  conv_slot(x, y))
    account = append([b.Entry(user=b.UserEntry(user=x, app=b"default", name=b"alice",
                                               created_ms=NOW)),
                      b.Entry(device=b.DeviceEntry(user=x, device=b"phone", cursor=1,
                                                   confirmed_ms=NOW))], user_slot(x), 3)
    read = request("READ", queries(b, x, y))
    yield "talk", claim + told + account + read
    yield "gap", claim + append([b.Entry(message=message(b, x, y, 5))], conv_slot(x, y)) + read
    yield "fenced", claim + append([b.Entry(message=message(b, x, y, 1))], conv_slot(x, y), 2, 9)
    yield "held", claim + request("CLAIM", b.Claim(sequencer=1, held=slots, incarnation=6, number=1))
    yield "wrong_slot", claim + append([b.Entry(message=message(b, x, y, 1))], user_slot(x))
    yield "late", claim + told + told
    yield "no_entry", claim + append([b.Entry()], conv_slot(x, y))
    cas = [b.Cas(slot=slot(b"Zids"), name=b"ids", expect_version=n, value=b"v") for n in (0, 0, 1)]
    yield "cas", b"".join(request("CAS", c) for c in cas)
    forward = b.Forward(source=1, slots=[b.ForwardSlot(slot=user_slot(x), first=1, entries=[
        b.ForwardEntry(user=x, trace=3, message=message(b, y, x, 1))])])
    yield "forward", request("FORWARD", forward) * 2 + request("MARKS", b.Marks(source=1)) + read
    forward.slots[0].first = 9
    yield "rewind", request("FORWARD", forward)
    forward.slots[0].skip = True
    yield "skip", request("FORWARD", forward)
    x, y = pair(0, mine=False)
    claim = request("CLAIM", b.Claim(sequencer=0, slots=[conv_slot(x, y)], incarnation=5, number=1))
    told = append([b.Entry(message=message(b, x, y, 1))], conv_slot(x, y))
    yield "outgoing", claim + told + friend() * 3 + later(30)
    yield "outgoing_busy", claim + told + answer(None, 2) * 2 + later(30) + friend() * 3
    yield "outgoing_rewind", claim + told + friend() + answer(b.Forwarded(slots=[
        b.ForwardedSlot(slot=user_slot(y), err=712, mark=0)])) + later(30) + friend() * 3
    yield "foreign", request("READ", b.Read(queries=[b.Query(slot=800, head=b.HeadQuery(user=3))]))


def other_seeds(b):
    x, y = pair(0)
    session = b.Session(user=x, conn=3, device=b"phone", platform=b"api", name=b"u1", since_ms=NOW)
    up = request("SESSIONS", b.Sessions(incarnation=9, complete=True, up=[session]))
    push = request("PUSH", b.Push(items=[
        b.PushItem(user=x, command=64, body=b"event", trace=1, message_id=5, tell_user=y,
                   tell_body=b"r"), b.PushItem(user=y, command=64, body=b"event", tell_user=x)]))
    yield "router", "push", up + push + friend() + later(10)
    yield "router", "down", up + request("SESSIONS", b.Sessions(
        incarnation=9, down=[session], router_incarnation=1)) + push + later(200)
    yield "router", "other_gate", up + request("SESSIONS", b.Sessions(
        incarnation=3, complete=True, up=[session] * 20), 8)
    deliver = b.Deliver(incarnation=1, items=[b.DeliverItem(conns=[1, 2], user=x, command=64,
                                                            body=b"event", close_err=0)])
    yield "gate", "deliver", bytes([6, 1]) + request("DELIVER", deliver)
    yield "gate", "idle", bytes([6, 1]) + later(250) * 2 + friend() * 3 + bytes([7])
    yield "idgen", "ids", request("TAKE_IDS", b.TakeIds(count=1024)) + friend() + request(
        "TAKE_SEGMENT", b.TakeSegment(name=b"user", count=64)) + friend() * 3
    yield "idgen", "cas_lost", request("TAKE_SEGMENT", b.TakeSegment(name=b"user", count=64)) \
        + answer(b.CasDone(swapped=False, version=5, value=b"x")) + friend() * 3 + later(40)
    yield "api", "user", request("INSPECT", b.Inspect(words=b"user add alice"), 7) + friend() * 6
    yield "api", "user_other", request("INSPECT", b.Inspect(words=b"user add app alice"), 7) \
        + friend() + answer(None, 3) + friend() * 4
    good = envelope(KINDS["PUSH"], 4)
    for name, data in (
            ("short", good[:20]), ("magic", b"XB" + good[2:]), ("version", b"AB\x09" + good[3:]),
            ("flags", good[:3] + b"\x80" + good[4:]), ("length", good + b"x"), ("good", good),
            ("cluster", good[:30] + b"??" + good[32:]), ("stores", good[:40] + b"??" + good[42:]),
            ("answer", good[:3] + b"\x01" + good[4:]), ("unknown", envelope(999, 4)),
            ("role", envelope(KINDS["CAS"], 5)), ("sender", envelope(KINDS["PUSH"], 1)),
            ("index", envelope(KINDS["PUSH"], 4, 99)), ("body", envelope(KINDS["PUSH"], 4, 0, b"\xff")),
            ("runner", envelope(KINDS["INSPECT"], 7, 0, b"\x0a\x04help"))):
        yield "router", f"raw_{name}", bytes([2]) + sized(data) + bytes([0x42]) + sized(data)
    tokens = request("TAKE_SEGMENT", b.TakeSegment(name=b"user", count=64))
    answered = KINDS["CAS_DONE"]
    for name, data in (
            ("short", [b"AB"]), ("request", [envelope(answered, 4, n) for n in (0, 1)]),
            ("kind", [envelope(2, 4, n, b"", 1) for n in (0, 1)]),
            ("body", [envelope(answered, 4, n, b"\xff", 1) for n in (0, 1)]),
            ("cluster", [envelope(answered, 4, n, b"", 1)[:28] + bytes(16) for n in (0, 1)]),
            ("refused", [envelope(answered, 4, n, b"", 1, 713)[:28] + bytes(16)
                         for n in (0, 1)])):
        yield "idgen", f"answer_{name}", b"".join(
            tokens + bytes([0x43, 0, 0]) + sized(one) + later(50) for one in data) + friend() * 3
    for err in (129, 130, 131):
        yield "idgen", f"none_{err}", tokens + bytes([3, 0, err, 0, 0]) + later(50) + friend() * 3
    yield "store", "words", bytes([0x47]) + sized(b"store/0 slot 5") + bytes([0x47]) + sized(
        b"metrics")


def bus_seeds(b):
    for role, seeds in (("sequencer", sequencer_seeds(b)), ("store", store_seeds(b))):
        for name, acts in seeds:
            yield f"{role}_{name}", bytes([ROLES[role]]) + acts
    for role, name, acts in other_seeds(b):
        yield f"{role}_{name}", bytes([ROLES[role]]) + acts


# ------------------------------------------------------------------ rows

TABLES = "cmvduhignszowap"


def row(table, a, c, n, value, at=None):
    head = bytes([TABLES.index(table) | (0x80 if at is not None else 0), a, c, n])
    return head + (b"" if at is None else struct.pack(">H", at)) + sized(value.SerializeToString())


def talk(s, x, y, count, **wrong):
    """The rows of a whole conversation and of what belongs to it."""
    members = [s.Member(user=x, name=b"u%d" % (x % 10)), s.Member(user=y, name=b"u%d" % (y % 10))]
    rows = row("c", x, y, 0, s.Conversation(generation=NOW, head=wrong.get("head", count),
                                            last_time_ms=NOW, members=members))
    for n in range(1, count + 1):
        rows += row("m", x, y, n, s.Message(
            message_id=wrong.get("id", 1000 * x + n), time_ms=NOW + wrong.get("back", 0) * -n,
            sender=x, **{"from": members[0].name}, to=members[1].name, from_device=b"phone",
            client_msg_id=bytes([1, 0xa3, 0xd2, 0x10, 0, n, 0x70, 0, 0x80]) + bytes(7), type=1,
            body=b"hello"))
        rows += row("d", x, y, n, s.Dedupe(seq=n, message_id=wrong.get("id", 1000 * x + n),
                                           time_ms=NOW, body_hash=b"h" * 16, inbox_seq=n))
        for user in (x, y):
            rows += row("i", user, 0, n, s.InboxEntry(conversation=conv(x, y), seq=n))
    for user in (x, y):
        name = b"u%d" % (user % 10)
        rows += row("h", user, 0, 0, s.InboxHead(generation=NOW, first=1,
                                                 head=wrong.get("inbox", count)))
        rows += row("u", user, 0, 0, s.User(app=b"default", name=name, created_ms=NOW))
        rows += row("n", user, 0, 0, s.Directory(user=user))
        rows += row("g", user, 0, 0, s.Device(cursor=wrong.get("cursor", 1), confirmed_ms=NOW))
    rows += row("v", x, y, 1, s.Delivered(seq=wrong.get("delivered", 1)))
    return rows + row("s", x, 0, 0, s.Slot(epoch=3, owner=0, incarnation=5)) + \
        row("z", x, 0, 0, s.Register(version=1, value=b"v"))


def rows_seeds(s):
    x, y = pair(0)
    yield "talk", talk(s, x, y, 2)
    for name, value in (("head", 5), ("head", 1), ("id", 7), ("back", 1), ("inbox", 9),
                        ("inbox", 1), ("cursor", 9), ("delivered", 9)):
        yield f"{name}_{value}", talk(s, x, y, 2, **{name: value})
    for table in TABLES:
        yield f"garbage_{table}", talk(s, x, y, 1) + bytes([TABLES.index(table), x, y, 1]) \
            + sized(b"\xff\xff")
        yield f"slot_{table}", bytes([TABLES.index(table) | 0x80, x, y, 1, 0, 9]) + sized(b"")
    for name, table, value in (
            ("no_message", "i", s.InboxEntry(conversation=conv(x, y), seq=9)),
            ("entry_key", "i", s.InboxEntry(conversation=b"short", seq=9)),
            ("outgoing", "o", s.Outgoing(user=3, conversation=b"short", seq=1)),
            ("mark", "w", s.Mark(number=5)),
            ("dedupe", "d", s.Dedupe(seq=9, message_id=1, time_ms=NOW, body_hash=b"h" * 3)),
            ("message", "m", s.Message(message_id=9, time_ms=5, sender=77)),
            ("head", "h", s.InboxHead(generation=1, head=3, first=9)),
            ("head_members", "c", s.Conversation(generation=1, head=0)),
            ("user", "u", s.User(app=b"x/y", name=b"\xff")),
            ("register", "z", s.Register(version=0))):
        yield f"bad_{name}", talk(s, x, y, 1) + row(table, x, y, 2, value)
    near, far = pair(0, mine=False)
    for name, rows in (("one", (1,)), ("two", (1, 2)), ("hole", (1, 3)), ("nothing", (9,))):
        out = b"".join(row("o", far, 0, n, s.Outgoing(user=far, conversation=conv(near, far),
                                                      seq=n)) for n in rows)
        yield f"outgoing_{name}", talk(s, near, far, 2) + out
        yield f"outgoing_{name}_mark", talk(s, near, far, 2) + out + \
            row("w", near, 1, 0, s.Mark(number=2))
    yield "outgoing_here", talk(s, x, y, 1) + row("o", x, 0, 1, s.Outgoing(
        user=x, conversation=conv(x, y), seq=1))
    other = next(user for user in range(60, 250) if user_slot(user) < 512)
    away = next((a, c) for a in range(1, 60) for c in range(a + 1, 60)
                if conv_slot(a, c) >= 512 and user_slot(a) < 512)
    yield "intruder", talk(s, x, y, 1) + row("h", other, 0, 0, s.InboxHead(
        generation=NOW, first=1, head=1)) + row("i", other, 0, 1, s.InboxEntry(
            conversation=conv(x, y), seq=1))
    yield "elsewhere", row("h", away[0], 0, 0, s.InboxHead(
        generation=NOW, first=1, head=1)) + row("i", away[0], 0, 1, s.InboxEntry(
            conversation=conv(*away), seq=1))
    yield "outgoing_zero", talk(s, near, far, 1) + row("o", far, 0, 0, s.Outgoing(
        user=far, conversation=conv(near, far), seq=1))
    yield "outgoing_wrong", talk(s, near, far, 1) + row("o", far, 0, 1, s.Outgoing(
        user=near, conversation=conv(near, far), seq=1))
    yield "marks", b"".join(row("w", x, n, 0, s.Mark(number=n)) for n in (1, 2, 3)) + \
        row("w", y, 1, 0, s.Mark(number=9))
    more = pair(1, mine=False)
    yield "outgoing_many", talk(s, near, far, 2) + talk(s, *more, 2) + b"".join(
        row("o", b, 0, n, s.Outgoing(user=b, conversation=conv(a, b), seq=n))
        for a, b in ((near, far), more) for n in (1, 2))
    long = s.Message(message_id=0, time_ms=0, sender=x, from_device=b"\xff", type=1)
    yield "message_form", talk(s, x, y, 1) + row("m", x, y, 1, long) + row(
        "c", x, y, 0, s.Conversation(generation=NOW, head=1, members=[
            s.Member(user=x, name=b"a/b"), s.Member(user=y, name=b"\xff")]))
    yield "stranger", talk(s, x, y, 1) + row("i", 200, 0, 1, s.InboxEntry(
        conversation=conv(x, y), seq=1)) + row("h", 200, 0, 0, s.InboxHead(
            generation=NOW, first=1, head=1)) + row("v", x, 77, 2, s.Delivered(seq=1))
    yield "old_entry", talk(s, x, y, 2) + row("h", x, 0, 0, s.InboxHead(generation=NOW, first=2,
                                                                       head=2))
    yield "holes", talk(s, x, y, 2) + row("i", x, 0, 5, s.InboxEntry(
        conversation=conv(x, y), seq=2)) + row("m", x, y, 7, s.Message(message_id=5, time_ms=NOW))
    for n, key in enumerate((b"", b"\0", b"\0\1", b"\0\1?", b"\0\1c", b"\0\1m" + b"D" * 17,
                             b"\0\1n\0", b"\0\1ndefault\0a/b", b"\0\1s1", b"\0\1z", b"\0\1w12345",
                             b"\0\1o1234567890", b"\0\1g12345678", b"\3\1s")):
        yield f"key_{n}", bytes([15, len(key)]) + key + sized(b"")


# ------------------------------------------------------------------ writing

def write(folder, seeds):
    count = 0
    for name, data in seeds:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
        count += 1
    print(f"{count} inputs in {folder}")


def main():
    into = sys.argv[1] if len(sys.argv) > 1 else HERE
    with open(os.path.join(TOP, "proto/kinds.h"), encoding="utf-8") as f:
        for line in f:
            word = line.strip().split("(")[-1] if "    X(" in line else ""
            if line.startswith("#define AN_BUS_VERSION"):
                KINDS["AN_BUS_VERSION"] = int(line.split()[2])
            if word and "(" in line and line.strip()[2:3].isdigit():
                number, name = line.strip()[2:].split(",")[:2]
                KINDS[name.strip()] = int(number)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("bus", "stored"):
            subprocess.run(["protoc", f"--proto_path={TOP}", f"--python_out={folder}",
                            f"proto/{name}.proto"], check=True)
        sys.path.insert(0, folder)
        write(os.path.join(into, "corpus_bus"), bus_seeds(importlib.import_module("proto.bus_pb2")))
        write(os.path.join(into, "corpus_rows"),
              rows_seeds(importlib.import_module("proto.stored_pb2")))


if __name__ == "__main__":
    main()
