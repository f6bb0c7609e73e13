"""`anser backup`: a copy of a node that serves on."""
import os
import threading

from cluster import Cluster
from harness import Pipeline, send_body


def writer(node, acked, enough, stop):
    """Sends until told to stop; what was acked goes into the list."""
    client = node.client("alice", device="writer")

    def on_answer(tag, _message):
        acked.append(tag)
        if len(acked) == 500:
            enough.set()

    pipe = Pipeline(client, on_answer)
    number = 0
    while not stop.is_set():
        while len(pipe.waiting) < 32:
            pipe.push(number, send_body("bob", b"m%d" % number))
            number += 1
        pipe.pump(1.0)
    while pipe.waiting:
        pipe.pump(10.0)


def case_backup_under_load_is_a_node_of_its_own(case):
    node = case.node()
    node.add_users("alice", "bob")
    acked, enough, stop = [], threading.Event(), threading.Event()
    thread = threading.Thread(target=writer, args=(node, acked, enough, stop))
    thread.start()
    try:
        assert enough.wait(30), "no load"
        before = len(acked)
        out = os.path.join(case.dir, "copy")
        line = node.run("backup", out).lines[0].split()
        assert line[0] == out and int(line[1]) > before, line
        # It is not written over.
        again = node.run("backup", out, expect=8)
        assert "exists" in str(again).lower(), again
    finally:
        stop.set()
        thread.join()
    assert len(acked) > before
    node.stop()
    case.check(node)

    copy = case.node(data=out)
    bodies = [m.body for m in copy.client("bob", device="reader").history("alice")]
    newest = {b"m%d" % i for i in range(len(acked))}
    assert bodies and set(bodies) <= newest, bodies[:3]
    # What was acked before it began is in it: the conversation has a head above that.
    head = int(copy.send("alice", "bob", "after the copy").lines[0].split()[1])
    assert before < head <= len(acked) + 1, (before, head, len(acked))
    copy.stop()
    case.check(copy)


def case_backup_of_a_cluster_finds_the_store_in_its_file(case):
    cluster = Cluster(case, "five").start()
    cluster.add_users("alice", "bob")
    cluster.send("alice", "bob", "keep this")
    out = os.path.join(case.dir, "store-0")
    line = cluster.command("backup", out, "--cluster", cluster.file, "--store", "0").lines[0]
    assert line.split()[0] == out and int(line.split()[1]) > 0, line
    cluster.env["ANSER_CLUSTER"] = cluster.file
    again = cluster.command("backup", out, expect=8)  # store 0, and there already
    assert out in again.err, again
    # Another process says what it lacks.
    control = f"ipc://{cluster.run_dir}/here/gate-0.control"
    lost = cluster.command("backup", out + "-2", "--control", control, expect=5)
    assert lost.err == "anser: backup: store/0 does not run in that process (NOT_FOUND)\n", lost
    cluster.stop()
    cluster.command("check", out)
