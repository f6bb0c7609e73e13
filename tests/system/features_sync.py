"""Rows of the feature list, timelines and storage: each case is named after the codes of the
rows that it proves (docs/testing.md has the table)."""
import mmap
import os
import secrets

from features import confirm, drop, send_many
from harness import (ANSWER, BODY_MAX, ERROR, HISTORY, SEND, SYNC, Node, ServerError,
                     await_that, pb, send_body)
from scenario import finish, pair


def inbox_of(pages):
    return [event.inbox_seq for page in pages for event in page.events]


def pages_of(client, limit, after=0, most=10000):
    """Sync pages from after until completed."""
    pages = []
    while len(pages) < most:
        page = client.call(SYNC, pb.Sync(after=after, limit=limit))
        pages.append(page)
        if page.completed:
            return pages
        assert page.events, "neither an entry nor the end"
        after = page.events[-1].inbox_seq
    raise AssertionError("the pages never end")


def case_T1_inbox_numbers_only_grow(case):
    """Several senders and the user's own devices, over a restart: every entry gets the next
    number and keeps it."""
    node = pair(case)
    node.add_users("carol", "dave")
    known = []
    for number in range(3):
        bob = node.client("bob", device="watch")
        for name in ("alice", "carol", "dave"):
            send_many(node.client(name), [("bob", f"{name} {number} {n}") for n in range(20)])
        own = node.client("bob", device="desk").send("alice", f"my own {number}")
        pushed = bob.await_events(61)
        first = len(known) + 1
        assert [e.inbox_seq for e in pushed] == list(range(first, first + 61))
        assert own.inbox_seq == pushed[-1].inbox_seq
        known += [(e.inbox_seq, e.message.message_id) for e in pushed]
        read = [(e.inbox_seq, e.message.message_id) for e in bob.sync()]
        assert read == known, "an entry changed its place"
        if number == 0:
            node.stop()
        else:
            node.kill()
        node.start()
    finish(case, node)


def case_T2_ranges_come_in_order_with_the_end_told(case):
    node = pair(case)
    send_many(node.client("alice"), [("bob", f"m{n}") for n in range(1, 51)])
    bob = node.client("bob")
    for after, limit in ((0, 1), (0, 50), (0, 49), (10, 7), (49, 1), (49, 5), (50, 5), (25, 25)):
        page = bob.call(SYNC, pb.Sync(after=after, limit=limit))
        end = min(after + limit, 50)
        assert inbox_of([page]) == list(range(after + 1, end + 1)), (after, limit)
        assert [e.message.body for e in page.events] == \
            [f"m{n}".encode() for n in range(after + 1, end + 1)]
        assert page.completed == (end == 50), (after, limit)
        assert (page.head, page.first) == (50, 1)
    finish(case, node)


def case_T3_confirm_of_one_device_hides_nothing_from_another(case):
    node = pair(case)
    alice = node.client("alice")
    phone, tablet = node.client("bob", device="phone"), node.client("bob", device="tablet")
    send_many(alice, [("bob", f"m{n}") for n in range(10)])
    events = phone.await_events(10)
    tablet.await_events(10)
    confirm(phone, events[7], "alice", 8)
    confirm(tablet, events[2], "alice", 3)
    drop(phone)
    drop(tablet)
    for how in ("again", "stop", "kill"):
        if how != "again":
            node.stop() if how == "stop" else node.kill()
            node.start()
        for device, cursor in (("phone", 8), ("tablet", 3), (f"new-{how}", 0)):
            client = node.client("bob", device=device)
            assert client.login_ok.cursor == cursor, (how, device, client.login_ok)
            left = client.sync(client.login_ok.cursor)
            assert [e.inbox_seq for e in left] == list(range(cursor + 1, 11)), (how, device)
            # What others confirmed is still there for who asks.
            assert len(client.sync(0)) == 10
            client.close()
    finish(case, node)


def case_T6_limit_is_capped_and_pages_have_no_gap_or_repeat(case):
    node = pair(case)
    alice = node.client("alice", send_only=True)
    sent = send_many(alice, [("bob", f"m{n}") for n in range(1000)], 256)
    times = [ok.time_ms for ok in sent]
    assert len(set(times)) < len(times), "no two within one millisecond: not what is asked"
    bob = node.client("bob")
    for limit in (0, 100, 101, 5000, 2 ** 32 - 1):
        page = bob.call(SYNC, pb.Sync(limit=limit))
        assert len(page.events) == 100 and not page.completed, (limit, len(page.events))
        page = bob.call(HISTORY, pb.History(peer=b"alice", limit=limit))
        assert len(page.messages) == 100 and not page.completed, (limit, len(page.messages))
    for limit in (1, 7, 99, 100):
        pages = pages_of(bob, limit)
        assert inbox_of(pages) == list(range(1, 1001)), limit
        assert all(len(page.events) == limit for page in pages[:-1])
        assert [page.completed for page in pages] == [False] * (len(pages) - 1) + [True]
        ids = [e.message.message_id for page in pages for e in page.events]
        assert ids == [ok.message_id for ok in sent], limit
    finish(case, node)


def case_T6_repeated_pulls_converge_while_messages_come(case):
    node = pair(case)
    alice, bob = node.client("alice", send_only=True), node.client("bob")
    seen, asked = [], 0
    for number in range(600):
        alice.send_frame(SEND, send_body("bob", f"m{number}"))
        if number % 20 == 0:
            page = bob.call(SYNC, pb.Sync(after=len(seen), limit=9))
            seen += [e.inbox_seq for e in page.events]
            asked += 1
    while len(seen) < 600:
        page = bob.call(SYNC, pb.Sync(after=len(seen)))
        seen += [e.inbox_seq for e in page.events]
        asked += 1
        assert asked < 10000
    assert seen == list(range(1, 601))
    page = bob.call(SYNC, pb.Sync(after=600))
    assert page.completed and not page.events and page.head == 600
    finish(case, node)


def history_pages(client, peer, oldest_first, limit):
    """(messages, completed of each page) of the whole conversation."""
    found, ends, at = [], [], 0
    while not ends or not ends[-1]:
        asked = pb.History(peer=peer.encode(), limit=limit, oldest_first=oldest_first)
        if oldest_first:
            asked.after = at
        else:
            asked.before = at
        page = client.call(HISTORY, asked)
        found += page.messages
        ends.append(page.completed)
        assert page.messages or page.completed
        assert len(ends) < 1000
        at = page.messages[-1].seq if page.messages else at
    return found, ends


def case_T10_new_device_pages_history_both_ways(case):
    node = pair(case)
    alice, bob = node.client("alice"), node.client("bob")
    sent = []
    for number in range(70):
        sent.append(("alice", alice.send("bob", f"to bob {number}")))
        sent.append(("bob", bob.send("alice", f"to alice {number}")))
    # What was confirmed and read long ago is there all the same.
    confirm(bob, bob.sync()[-1], "alice", 140)
    node.stop()
    node.start()
    for user, peer in (("alice", "bob"), ("bob", "alice")):
        client = node.client(user, device="bought-today")
        for limit in (1, 30, 100, 0):
            for oldest_first in (True, False):
                messages, ends = history_pages(client, peer, oldest_first, limit)
                if not oldest_first:
                    messages.reverse()
                assert [(getattr(m, "from").decode(), m.seq, m.message_id) for m in messages] \
                    == [(name, ok.seq, ok.message_id) for name, ok in sent], (user, limit)
                assert ends[-1] and not any(ends[:-1])
        client.close()
    finish(case, node)


def case_T12_message_and_both_inboxes_are_one_append(case):
    """Killed with sends under way: what is in the history is in both inboxes, whole."""
    node = pair(case)
    total = 0
    for number in range(4):
        client = node.client("alice", device="load", send_only=True)
        for n in range(200):
            client.send_frame(SEND, send_body("bob", f"{number} {n}"))
        # Some are on disk, others are not. Answers may overtake, and may refuse (ORDER).
        frame = client.read_frame(10)
        while not frame.flags & ANSWER or frame.flags & ERROR:
            frame = client.read_frame(10)
        node.kill()
        node.start()
        history = [m.message_id for m in node.client("alice", device="look").history("bob")]
        assert len(history) > total, "nothing was stored in this round"
        total = len(history)
        for user in ("alice", "bob"):
            inbox = node.client(user, device="look").sync()
            assert [e.message.message_id for e in inbox] == history, user
            assert [e.inbox_seq for e in inbox] == list(range(1, total + 1))
    finish(case, node)


def times_in(path, what):
    count = 0
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        at = m.find(what)
        while at >= 0:
            count += 1
            at = m.find(what, at + 1)
    return count


def times_on_disk(folder, what):
    """How often the bytes lie in the files of folder."""
    count = 0
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            try:
                count += times_in(path, what)
            except (FileNotFoundError, ValueError):
                pass  # a log segment in the making, renamed meanwhile or still empty
    return count


def case_T13_body_is_on_disk_once(case):
    """A body has one place in the store; the log holds it once until it is recycled. The
    bodies are larger than a page of LMDB: those are not moved by later writes beside them,
    so an old copy cannot be taken for a second."""
    node = pair(case, config="store:\n  log_segment_bytes: 8388608\n")
    alice = node.client("alice")
    bodies = [secrets.token_bytes(20000) for _ in range(3)]
    for body in bodies:
        before = node.metrics()["anser_store_engine_log_bytes_total"]
        alice.send("bob", body, kind=3)
        # Head, member rows, two inbox references, retry row: small beside the body.
        grown = node.metrics()["anser_store_engine_log_bytes_total"] - before
        assert len(body) < grown < len(body) + 1200, grown
    # Delivered to and confirmed by several devices: that is no reason for a copy either.
    for device in ("phone", "tablet"):
        bob = node.client("bob", device=device)
        confirm(bob, bob.sync()[-1], "alice", 3)
    alice.send("alice", bodies[0][:10000] + bodies[1][:10000], kind=3)
    node.stop()
    store = os.path.join(node.data, "store")
    for body in bodies:
        assert times_on_disk(os.path.join(store, "lmdb"), body) == 1
        assert times_on_disk(store, body) <= 2, "more than the store and the log"
    # As many other bytes as make the log go round: only the store's copy is left.
    node.start()
    alice = node.client("alice", device="load", send_only=True)
    filler = b"f" * BODY_MAX

    def accepted(message):
        try:
            return alice.call(SEND, message)
        except ServerError as error:
            assert error.name == "BUSY", error  # a segment is being prepared: again
            return None

    def recycled():
        for _ in range(40):
            message = send_body("bob", filler)
            await_that("a place in the log", lambda m=message: accepted(m))
        return times_on_disk(os.path.join(store, "log"), bodies[0]) == 0

    await_that("the log to be recycled", recycled)
    node.stop()
    for body in bodies:
        assert times_on_disk(node.data, body) == 1
    assert [m.body for m in node_history(node, 3)] == bodies
    case.check(node)


def node_history(node, count):
    """The first messages of the conversation, of the node started once more."""
    node.start()
    page = node.client("bob", device="reader").call(HISTORY, pb.History(
        peer=b"alice", oldest_first=True, limit=count))
    node.stop()
    return page.messages


def case_S6_engines_are_swapped_by_configuration(case):
    """The same node over each engine gives the same answers, also after a restart."""
    told = {}
    for engine in ("lmdb", "memory"):
        node = pair(case, config=f"store:\n  engine: {engine}\n  overlay_rows_max: 2000\n")
        alice = node.client("alice")
        sent = send_many(alice, [("bob", f"m{n}") for n in range(200)])
        bob = node.client("bob", device="phone")
        confirm(bob, bob.sync()[149], "alice", 150)
        node.kill()
        node.start()
        bob = node.client("bob", device="phone")
        history = bob.history("alice")
        assert [m.message_id for m in history] == [ok.message_id for ok in sent]
        told[engine] = (bob.login_ok.cursor, bob.login_ok.inbox_head,
                        [(m.seq, m.body) for m in history],
                        [(e.inbox_seq, e.message.body) for e in bob.sync()])
        used = node.metrics()["anser_store_engine_base_bytes"]
        node.stop()
        files = sorted(os.listdir(os.path.join(node.data, "store")))
        assert ("lmdb" in files) == (engine == "lmdb"), (engine, files, used)
        # A directory says which engine it is of: the other one does not open it.
        other = "memory" if engine == "lmdb" else "lmdb"
        path = os.path.join(case.dir, f"other-{engine}.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"store:\n  engine: {other}\n")
        wrong = Node(case, data=node.data, args=["--config", path]).spawn()
        assert wrong.process.wait(20) != 0, "the other engine opened the directory"
    assert told["lmdb"] == told["memory"]
    assert told["lmdb"][:2] == (150, 200)
