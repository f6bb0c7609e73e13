"""What a kill cannot see: the ack leaves only after the disk said yes, and a disk that
says no is heard by everybody."""
import os
import socket
import subprocess
import time

import shim as recorder
from harness import (EXIT, SEND, Closed, Node, Pipeline, ServerError, Skip, await_that, pb,
                     send_body, uuid7)

# Small segments, so that a disk is full soon.
SMALL_LOG = "store:\n  log_segment_bytes: 8388608\n"


def marked(to, number, body=None):
    return send_body(to, body or f"message {number}",
                     message_id=uuid7(tail=recorder.mark(number)))


def unsynced_sends(events):
    """Marks that left on a client's socket before a sync covering their log write had
    returned, and all marks that left."""
    written, covered, synced = {}, {}, set()
    early, left = set(), set()
    for op, fd, tid, result, marks in events:
        if op == recorder.WRITE and result > 0:
            written.setdefault(fd, set()).update(marks)
        elif op == recorder.SYNC_BEGIN:
            covered[tid] = set(written.get(fd, ()))
        elif op == recorder.SYNC_END and result == 0:
            synced |= covered.pop(tid)
        elif op == recorder.SEND:
            left |= marks
            early |= marks - synced
    return early, left


def started(case, config=None, data=None):
    watch = recorder.Shim(case)
    node = Node(case, env=watch.env, config=config, data=data).start()
    node.add_users("alice", "bob")
    return node, watch


def send_all(node, numbers, window):
    alice = node.client("alice", device="load", send_only=True)
    answers = {}
    pipe = Pipeline(alice, answers.__setitem__)
    pipe.run(window, ((n, marked("bob", n)) for n in numbers))
    return answers


DISHONEST = """
import os, socket, sys
log = os.open("0000000000000001.seg", os.O_WRONLY | os.O_CREAT, 0o600)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
client = listener.accept()[0]
for number, honest in ((1, True), (2, False), (3, True)):
    record = b"record ANMK" + number.to_bytes(3, "big")
    os.pwrite(log, record, number * 64)
    if honest:
        os.fdatasync(log)
    client.sendall(b"ack ANMK" + number.to_bytes(3, "big"))
    if not honest:
        os.fdatasync(log)
"""


def case_the_recorder_sees_an_early_ack(case):
    """The instrument itself: a server that acknowledges its second message too early."""
    watch = recorder.Shim(case)
    server = subprocess.Popen(["/usr/bin/python3", "-c", DISHONEST], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=dict(os.environ, **watch.env),
                              cwd=case.dir)
    case.processes.append(server)
    client = socket.create_connection(("127.0.0.1", int(server.stdout.readline())))
    case.sockets.append(client)
    while client.recv(100):
        pass
    assert server.wait(20) == 0, server.stderr.read()
    early, left = unsynced_sends(watch.events())
    assert (early, left) == ({2}, {1, 2, 3}), (early, left)


def case_R1_S1_no_ack_before_the_sync(case):
    node, watch = started(case)
    bob = node.client("bob")
    numbers = range(1, 1001)
    answers = dict(send_all(node, range(1, 101), 1))
    answers.update(send_all(node, range(101, 1001), 64))
    assert all(isinstance(answers[n], pb.SendOk) for n in numbers), answers
    bob.await_events(1000)
    node.stop()
    early, left = unsynced_sends(watch.events())
    assert not early, f"left before their sync returned: {sorted(early)[:10]}"
    assert left >= set(numbers), f"acks the recorder did not see: {len(set(numbers) - left)}"
    case.check(node)


def case_R1_a_slow_sync_holds_the_ack(case):
    node, watch = started(case)
    alice = node.client("alice", device="load")
    watch.set("sync_delay_ms", 700)
    request = alice.send_frame(SEND, marked("bob", 1))
    assert not alice.fill(0.4), "something came while the sync was under way"
    assert alice.answer(request, pb.SendOk).seq == 1
    watch.set("sync_delay_ms", 0)
    node.stop()
    early, _ = unsynced_sends(watch.events())
    assert not early


def case_a_failed_sync_stops_the_server(case):
    node, watch = started(case)
    acked = {n for n, ok in send_all(node, range(1, 51), 8).items()
             if isinstance(ok, pb.SendOk)}
    assert len(acked) == 50
    watch.set("fail_sync", 1)
    alice = node.client("alice", device="load", send_only=True)
    late = {}
    pipe = Pipeline(alice, late.__setitem__)
    for number in range(51, 115):
        try:
            pipe.push(number, marked("bob", number))
        except OSError:
            break
    try:
        while pipe.waiting:
            pipe.pump(20)
    except Closed:
        pass
    assert not [n for n, ok in late.items() if isinstance(ok, pb.SendOk)], late
    code = node.process.wait(20)
    assert code != 0, "a broken disk is no clean end"
    assert watch.get("refused") == 1, "a failed fdatasync is never tried again"
    complaint = node.stderr().lower()
    assert "fdatasync" in complaint or "sync" in complaint and "fail" in complaint, complaint
    early, left = unsynced_sends(watch.events())
    assert not early and not left & set(range(51, 115)), (early, left)
    # With a good disk again it starts, and has all that was acked.
    watch.set("fail_sync", 0)
    node.kill()
    node.start()
    got = {e.message.body for e in node.client("bob").sync()}
    assert {f"message {n}".encode() for n in acked} <= got
    node.stop()
    case.check(node)


def fill_until_refused(node, bulk):
    """Sends until DISK_FULL; the number of acks, and the client with its refused message,
    which is the one that has to go first."""
    alice = node.client("alice", device="load", send_only=True)
    acks, deadline = 0, time.monotonic() + 60
    message = send_body("bob", bulk)
    while time.monotonic() < deadline:
        try:
            alice.call(SEND, message)
            acks += 1
            message = send_body("bob", bulk)
        except ServerError as error:
            assert error.retry, error
            if error.name == "DISK_FULL":
                return acks, alice, message
            assert error.name == "BUSY", error  # a segment is being prepared: again
    raise AssertionError(f"the disk never filled: {acks} acks")


def works_again(case, node, acks, alice, message):
    """The refused message is accepted, next in order, and nothing else was stored."""
    def sent():
        try:
            return alice.call(SEND, message)
        except ServerError as error:
            assert error.name in ("DISK_FULL", "BUSY", "UNAVAILABLE"), error
            return None

    ok = await_that("sends to work again", sent)
    assert ok.seq == acks + 1, (ok.seq, acks)
    assert len(node.client("bob").sync()) == acks + 1
    node.stop()
    case.check(node)
    node.start()
    assert len(node.client("bob").sync()) == acks + 1
    node.stop()


def case_P2_disk_full_by_the_shim(case):
    node, watch = started(case, SMALL_LOG)
    alice = node.client("alice", device="load", send_only=True)
    alice.send("bob", "before")
    watch.set("disk_full", 1)
    message = send_body("bob", "refused at first")
    for _ in range(3):
        assert alice.refused(SEND, message) == "DISK_FULL"
    # What comes behind it is told that it comes too early.
    assert alice.refused(SEND, send_body("bob", "too early")) == "ORDER"
    done = node.send("bob", "alice", "--timeout", "2s", "hello", expect=EXIT["busy"])
    assert "DISK_FULL" in done.err or "TIMEOUT" in done.err, done
    # Reading goes on.
    assert len(node.client("bob", device="reader").sync()) == 1
    watch.set("disk_full", 0)
    works_again(case, node, 1, alice, message)


def case_disk_full_for_real(case):
    """A small file system that fills."""
    if os.geteuid() != 0:
        raise Skip("a small file system needs root")
    path = case.new_dir("small")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", path],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise Skip(f"no tmpfs here: {mounted.stderr.strip()}")
    case.cleanups.append(lambda: subprocess.run(["umount", "-l", path], check=False))
    data = os.path.join(path, "data")
    os.mkdir(data, 0o700)
    node = case.node(config=SMALL_LOG, data=data)
    node.add_users("alice", "bob")
    ballast = os.path.join(path, "ballast")
    with open(ballast, "wb") as f:
        f.write(b"\0" * (12 << 20))
    acks, alice, message = fill_until_refused(node, os.urandom(30000).hex())
    assert acks > 10, acks
    os.unlink(ballast)
    subprocess.run(["mount", "-o", "remount,size=256m", path], check=True)
    works_again(case, node, acks, alice, message)
