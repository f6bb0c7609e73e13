"""What an operator of several processes sees: `anser cluster up` restarts what died and says
so, `anser cluster status` tells who is well, `anser trace` follows a message through all of
them, and `anser run` waits for whom it needs, by name."""
import json
import os
import signal
import subprocess

from cluster import Cluster
from harness import await_that

HOPS = ["gate_in", "order", "commit", "ack"]  # in this order, whatever the pushes do


def five(case):
    """Every actor its own process, alice and bob in it."""
    cluster = Cluster(case, "five").start()
    cluster.add_users("alice", "bob")
    return cluster


def status(cluster, expect):
    return json.loads(cluster.command("cluster", "status", cluster.file, "--json",
                                      expect=expect).out)


def trace(node, *args, expect=0):
    if isinstance(node, Cluster):
        return node.command("trace", *args, "--cluster", node.file, "--host", node.seat,
                            expect=expect)
    return node.run("trace", *args, expect=expect)


def send_one(node):
    """One message that bob has; its id as the command line prints it."""
    bob = node.client("bob", device="here")
    message_id = node.send("alice", "bob", "where am I seen?").lines[0].split()[0]
    bob.await_events(1)
    return message_id


def case_a_dead_process_comes_back_and_it_is_said(case):
    cluster = five(case)
    for actor in ("store/0", "gate/0"):
        name = actor.replace("/", "-")
        when = cluster.kill_actor(actor)
        cluster.await_actors([actor], when)
        assert f"supervisor {name} ended: signal 9 (Killed), starts again in 200 ms" in \
            cluster.stderr()
    cluster.await_logins()
    cluster.send("alice", "bob", "still here")
    assert [m["text"] for m in cluster.recv("bob", 1)] == ["still here"]
    cluster.stop()
    ended = [line.split()[3] for line in cluster.stderr().splitlines()
             if " ended: exit status 0" in line]
    assert ended[0] == "gate-0" and ended[-1] == "store-0", ended


def case_a_second_cluster_up_of_the_host_is_refused(case):
    cluster = five(case)
    done = cluster.command("cluster", "up", cluster.file, expect=6)
    assert "keeps host here" in done.err, done
    assert status(cluster, 0)["well"]


def case_status_tells_who_is_not_well(case):
    cluster = five(case)
    seen = status(cluster, 0)
    actors = {one["actor"]: one for one in seen["actors"]}
    assert sorted(actors) == sorted(cluster.actors)
    assert all(one["state"] == "ready" and not one["not_connected"]
               for one in actors.values()), seen
    owned = actors["sequencer/0"]["slots"]["ranges"]
    assert [(r["first"], r["last"], r["state"]) for r in owned] == [(0, 1023, "owned")], owned
    assert actors["store/0"]["outgoing_rows"] == 0
    pid = cluster.pause("router/0")
    try:
        seen = status(cluster, 7)
        actors = {one["actor"]: one for one in seen["actors"]}
        assert not seen["well"] and actors["router/0"]["state"] == "DOWN", seen
        assert "router-0" in actors["router/0"]["why"], seen
        table = cluster.command("cluster", "status", cluster.file, expect=7).out
        assert "1 down" in table.splitlines()[-1], table
    finally:
        cluster.resume(pid)
    await_that("the router to be well again", lambda: cluster.command(
        "cluster", "status", cluster.file, expect=None).code == 0)


# Two sequencers, each the other's standby.
PAIR = """
hosts:
  here: {address: 127.0.0.1}
actors:
  gate/0:      {host: here, listen: [GATE0]}
  router/0:    {host: here, slots: 0-1023}
  sequencer/0: {host: here, slots: 0-511,    standby: sequencer/1}
  sequencer/1: {host: here, slots: 512-1023, standby: sequencer/0}
  store/0:     {host: here, slots: 0-1023, data: data/0}
  idgen/0:     {host: here}
  api/0:       {host: here}
"""


def case_status_is_well_after_an_owner_came_back(case):
    """The standby that was overtaken learns it only when it writes: that is no trouble."""
    cluster = Cluster(case, "five", text=PAIR).start()
    cluster.add_users("alice", *(f"user{n}" for n in range(8)))
    cluster.pause("sequencer/0")
    for n in range(8):  # in some conversation's slot the standby takes over
        cluster.send("alice", f"user{n}", "who has it?")
    moved = {one["actor"]: one for one in status(cluster, 7)["actors"]}
    assert moved["sequencer/0"]["state"] == "DOWN", moved
    owned = [(r["first"], r["last"]) for r in moved["sequencer/1"]["slots"]["ranges"]
             if r["state"] == "owned"]
    assert owned == [(0, 1023)] or owned == [(0, 511), (512, 1023)], owned
    when = cluster.kill_actor("sequencer/0")
    cluster.await_actors(["sequencer/0"], when)
    seen = await_that("all to be connected", lambda: well(cluster))
    actors = {one["actor"]: one for one in seen["actors"]}
    assert seen["slots_with_several"] == seen["slots_without_sequencer"] == 0, seen
    assert actors["sequencer/1"]["stale_slots"] == 512, seen
    assert actors["sequencer/0"]["stale_slots"] == 0, seen
    table = cluster.command("cluster", "status", cluster.file).out
    assert "slots 512-1023  stale 0-511" in table, table
    assert "all is well" in table.splitlines()[-1], table
    # And each still sends.
    for n in range(8):
        cluster.send("alice", f"user{n}", "you again")
    cluster.stop()
    case.check(cluster)


def well(cluster):
    done = cluster.command("cluster", "status", cluster.file, "--json", expect=None)
    seen = json.loads(done.out)
    assert seen["well"] == (done.code == 0), done
    return seen if seen["well"] else None


def case_trace_follows_a_message_through_all_processes(case):
    cluster = five(case)
    message_id = send_one(cluster)
    wanted = set(HOPS + ["push", "deliver"])
    seen = await_that("all hops", lambda: complete(cluster, message_id, wanted))
    assert {hop["process"] for hop in seen["hops"]} == \
        {"gate-0", "sequencer-0", "store-0", "router-0"}, seen
    assert [hop["hop"] for hop in seen["hops"] if hop["hop"] in HOPS] == HOPS, seen
    times = [int(hop["us"]) for hop in seen["hops"]]
    assert times == sorted(times) and times[0] == 0 and times[-1] < 60_000_000, seen
    assert not seen["not_reached"] and not seen["no_longer_know"], seen
    # The trace finds the same, in upper case too.
    found = seen["hops"][0]["trace"]
    for name in (found, found.upper()):
        again = json.loads(trace(cluster, name, "--json").out)
        assert again["hops"] == seen["hops"], again
    # Who is gone is named; who came back no longer knows.
    pid = cluster.pause("store/0")
    try:
        table = trace(cluster, message_id).out
        assert "store/0 was not reached" in table and "gate_in" in table, table
    finally:
        cluster.resume(pid)
    when = cluster.kill_actor("router/0")
    cluster.await_actors(["router/0"], when)
    table = trace(cluster, message_id).out
    assert "router/0 no longer knows what was before" in table, table
    nobody = trace(cluster, "123456789", expect=5)
    assert "no actor knows of it" in nobody.err, nobody
    trace(cluster, "hello", expect=2)


def complete(node, message_id, wanted):
    seen = json.loads(trace(node, message_id, "--json").out)
    return seen if wanted <= {hop["hop"] for hop in seen["hops"]} else None


def case_trace_of_one_process(case):
    node = case.node()
    node.add_users("alice", "bob")
    message_id = send_one(node)
    seen = await_that("all hops", lambda: complete(node, message_id,
                                                   set(HOPS + ["push", "deliver"])))
    assert [hop["hop"] for hop in seen["hops"] if hop["hop"] in HOPS] == HOPS, seen
    table = trace(node, message_id).out
    assert "sequencer/0" in table and "was not reached" not in table, table


def case_descriptors_up_to_the_hard_limit(case):
    launch = ["prlimit", "--nofile=256:2048"]

    def raised(pid):
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            found = next(line.split() for line in f if line.startswith("Max open files"))
        return found[3:5] == ["2048", "2048"]

    node = case.new_node()
    node.launch = launch
    node.start()
    assert raised(node.process.pid)
    node.stop()
    cluster = Cluster(case, "five")
    for command in (("cluster", "up", cluster.file),
                    ("run", "idgen/0", "--cluster", cluster.file)):
        process = subprocess.Popen([*launch, case.anser, *command],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        case.processes.append(process)
        await_that(f"{command} to have them", lambda p=process: raised(p.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) in (0, -signal.SIGTERM)


def case_run_says_for_whom_it_waits(case):
    cluster = Cluster(case, "five")
    lone = subprocess.Popen(
        [case.anser, "run", "sequencer/0", "--cluster", cluster.file],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    case.processes.append(lone)
    line = b""
    while b"still waiting" not in line:
        line = lone.stderr.readline()
        assert line, "it ended"
    assert b"sequencer/0" in line and b"not connected to store/0, idgen/0" in line, line
    lone.send_signal(signal.SIGTERM)
    lone.stderr.read()  # to its end: a full pipe would stop it
    assert lone.wait(30) == 0
    assert not os.path.exists(os.path.join(cluster.run_dir, "here", "sequencer-0"))


def case_status_and_trace_reach_every_host(case):
    cluster = Cluster(case, "namespaces").start()
    cluster.add_users("alice", "bob")
    message_id = send_one(cluster)
    for seat in cluster.hosts:
        done = cluster.command("cluster", "status", cluster.file, "--host", seat, seat=seat)
        assert "all is well" in done.out.splitlines()[-1], done
        seen = json.loads(cluster.command(
            "trace", message_id, "--cluster", cluster.file, "--host", seat, "--json",
            seat=seat).out)
        assert set(HOPS) <= {hop["hop"] for hop in seen["hops"]}, seen
        assert len({hop["host"] for hop in seen["hops"]}) > 1, seen
        assert not seen["not_reached"], seen
