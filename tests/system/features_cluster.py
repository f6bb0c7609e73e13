"""Rows of the feature list that need more than one process or host, seen from outside."""
import re
import signal
import time

from chaos import CONFIG
from cluster import THREE, Cluster
from features_sdk import Sdk
from harness import (HEARTBEAT, RECEIPT_DELIVERED, RECEIPT_STORED, Client, Closed, await_that,
                     pb)
from people import People

HEARTBEAT_S = 1.0  # CONFIG's


def three(case, **how):
    return Cluster(case, "namespaces", config=CONFIG, **how).start()


def end(case, cluster):
    cluster.stop()
    case.check(cluster)


def hold_down(cluster, host):
    """What dies on this host from now on stays dead until the returned is called with its
    name."""
    up = cluster.hosts[host].up
    up.send_signal(signal.SIGSTOP)

    def revive(*dead):
        alive = [actor for actor in dead if cluster.pid(actor)]
        up.send_signal(signal.SIGCONT)
        assert not alive, f"{alive} came back"

    return revive


# --- C8


ONE_GATE_MORE = THREE.replace("api/0:       {host: c}", "api/0:       {host: a}").replace(
    "idgen/1:     {host: c}", "idgen/1:     {host: a}").replace(
    "store/0:     {host: c", "store/0:     {host: a").replace(
    "  router/0:", "  gate/2:      {host: c, listen: [GATE2]}\n  router/0:")


def case_C8_a_gate_comes_while_people_talk(case):
    """gate/2 is the only actor of host c, which starts when two gates are busy: people at
    all three hear each other, and nothing is lost."""
    cluster = Cluster(case, "namespaces", config=CONFIG, text=ONE_GATE_MORE)
    cluster.spawn(["a", "b"])
    cluster.await_actors([*cluster.hosts["a"].actors, *cluster.hosts["b"].actors])
    cluster.await_logins(gates=(0, 1))
    people = People(case, cluster, urls=cluster.urls[:2]).start()
    cluster.spawn(["c"])
    cluster.await_actors(["gate/2"])
    cluster.await_logins(gates=(2,))
    cluster.add_users("late")
    late = Sdk(case, cluster, "late", cluster.urls[2])
    late.until("to be online", lambda lines: "state ONLINE -" in lines)
    # From each old gate to the new one, and back.
    for number, person in enumerate(people.all[:2]):
        client = cluster.client(person.name, device="desk", gate=number)
        client.send_until_taken("late", f"to the new gate {number}")
    late.until("both", lambda lines: len(late.messages()) == 2)
    late.say(people.all[0].name, "from the new gate")
    late.until("the ack", lambda lines: any(" SENT " in line for line in lines))
    await_that("p0 to hear it", lambda: any(entry[1] == "late" for entry in people.all[0].got))
    people.await_flow(time.monotonic())
    late.close()
    people.finish()
    people.verify_journals()
    people.close()
    end(case, cluster)


# --- C9


def local_view(cluster):
    """{(user, device, gate)} of every logged-in connection, as the gates say; None while
    one does not answer."""
    found = set()
    for gate in range(len(cluster.gates)):
        answer = cluster.ask(f"gate/{gate}", "conns")
        if answer is None or "conns" not in answer:
            return None
        found |= {(conn["user"], conn["device"], gate) for conn in answer["conns"]
                  if conn["state"] == "ready"}
    return found


def shared_view(cluster):
    """The same as the routers say."""
    found = set()
    for router in (a for a in cluster.actors if a.startswith("router/")):
        answer = cluster.ask(router, "sessions")
        if answer is None or "sessions" not in answer:
            return None
        found |= {(s["name"], s["device"], s["gate"]) for s in answer["sessions"]}
    return found


def case_C9_gates_and_routers_agree_within_a_heartbeat(case):
    """After logins, a device that came again elsewhere, a drop, and a gate killed."""
    cluster = three(case)
    names = [f"u{n}" for n in range(6)]
    cluster.add_users(*names)
    clients = {}

    def agree(what, want, timeout):
        began = time.monotonic()

        def same():
            for client in clients.values():
                client.send_frame(HEARTBEAT, pb.Heartbeat())
            return local_view(cluster) == shared_view(cluster) == want

        try:
            await_that(what, same, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: gates {local_view(cluster)}, routers "
                                 f"{shared_view(cluster)}, expected {want}") from None
        print(f"     {what}: {time.monotonic() - began:.2f} s")

    want = set()
    for n, name in enumerate(names):
        clients[name] = cluster.client(name, device="phone", gate=n % 2)
        want.add((name, "phone", n % 2))
    agree("logins", want, HEARTBEAT_S + 1)
    clients["u0"] = cluster.client("u0", device="phone", gate=1)  # was at gate 0: replaced
    want ^= {("u0", "phone", 0), ("u0", "phone", 1)}
    agree("the same device at another gate", want, HEARTBEAT_S + 1)
    clients.pop("u1").close()
    want.discard(("u1", "phone", 1))
    agree("a dropped connection", want, HEARTBEAT_S + 1)
    when = cluster.kill_actor("gate/1")
    gone = {entry for entry in want if entry[2] == 1}
    for name, _, _ in gone:
        clients.pop(name).close()
    cluster.await_actors(["gate/1"], when)
    agree("a gate killed", want - gone, HEARTBEAT_S + 2)
    end(case, cluster)


# --- C13


DRAIN_S = 10.0


def case_C13_drained_gate_sends_its_clients_elsewhere(case):
    cluster = three(case)
    people = People(case, cluster).start()
    began = time.monotonic()
    answer = cluster.ask("gate/0", "drain")
    assert answer is not None and "error" not in answer, answer

    def moved():
        people.check()
        conns = cluster.ask("gate/0", "conns")
        return conns is not None and conns["count"] == 0

    await_that("everybody to have left gate/0", moved, DRAIN_S)
    took = time.monotonic() - began
    there = await_that("everybody at gate/1", lambda: {
        conn["user"] for conn in cluster.ask("gate/1", "conns")["conns"]
        if conn["state"] == "ready"} >= {p.name for p in people.all} or None, 10)
    assert there
    people.await_flow(time.monotonic())
    assert any("DRAINING" in text for p in people.all for _, text in p.states), \
        [p.states for p in people.all]
    # Newcomers are not taken, until it is told to go on.
    try:
        Client(cluster, "p0", device="new", gate=0, timeout=5)
        raise AssertionError("a drained gate takes a login")
    except (Closed, OSError):
        pass
    answer = cluster.ask("gate/0", "undrain")
    assert answer is not None and "error" not in answer, answer
    cluster.await_logins(gates=(0,))
    print(f"     {len(people.all) // 2} people left in {took:.2f} s, the slowest ack took "
          f"{people.slowest(began):.2f} s")
    people.finish()
    people.verify()
    people.close()
    end(case, cluster)


# --- R9


DEVICES = 12  # of each of the two


def case_R9_many_devices_one_order_over_restarts(case):
    """Twenty-four devices of two people write into one conversation through two gates
    while a gate, a router and the sequencer are killed: every device sees the others'
    messages in the one order that history has, and each device's own sends keep theirs."""
    cluster = three(case)
    cluster.add_users("alice", "bob")
    rounds, each = 3, 15
    devices = [Sdk(case, cluster, user, ",".join(cluster.urls[n % 2:] + cluster.urls[:n % 2]),
                   device=f"d{n}", timeout_ms=3000, attempts=100000)
               for user in ("alice", "bob") for n in range(DEVICES)]
    for device in devices:
        device.until("to be online", lambda lines: "state ONLINE -" in lines)
    total = 0
    victims = [["gate/0"], ["router/0", "router/1"], ["sequencer/0", "sequencer/1"]]
    for turn in range(rounds):
        for n, device in enumerate(devices):
            to = "bob" if n < DEVICES else "alice"
            device.say(to, *(f"{n} {turn * each + k}" for k in range(each)))
        total += each * len(devices)
        when = time.monotonic()
        for actor in victims[turn % 3][:1 if turn < 2 else 2]:
            cluster.kill_actor(actor)
            cluster.await_actors([actor], when)
    for device in devices:
        device.until("all acks", lambda lines: sum(" SENT " in x for x in lines) >=
                     rounds * each, 120)
        assert not any(" FAILED " in line for line in device.seen)
    reader = cluster.client("alice", device="reader")
    told = [m.body.decode() for m in reader.history("bob")]
    assert len(told) == total == len(set(told)), (len(told), len(set(told)), total)
    for n, device in enumerate(devices):
        own = [text for text in told if text.split()[0] == str(n)]
        assert own == [f"{n} {k}" for k in range(rounds * each)], f"device {n}: {own[:20]}"
        others = [text for text in told if text.split()[0] != str(n)]

        def heard(_, d=device, n=n):
            texts = [line.split(" ", 2)[2] for line in d.messages()]
            return [text for text in texts if text.split()[0] != str(n)]

        device.until("all of the others", lambda lines, h=heard: len(h(lines)) >= len(others), 60)
        assert heard(None) == others, f"device {n} saw another order"
    for device in devices:
        device.kill()
    end(case, cluster)


# --- X2, X3, X6


def case_X2_gate_dies_and_stays_dead(case):
    cluster = three(case)
    people = People(case, cluster).start()
    revive = hold_down(cluster, "a")
    try:
        when = cluster.kill_actor("gate/0")
        took = people.await_flow(when)
        conns = cluster.ask("gate/1", "conns")["conns"]
        assert {p.name for p in people.all} <= {conn["user"] for conn in conns}, conns
    finally:
        revive("gate/0")
    cluster.await_actors(["gate/0"], when)
    print(f"     everybody at the other gate and heard again after {took:.2f} s")
    people.finish()
    people.verify()
    people.close()
    end(case, cluster)


def case_X3_router_and_sequencer_die_and_stay_dead(case):
    """Routers and a sequencer of one host, with nobody to start them again: the standby
    sequencer goes on, and messages come by the heartbeat where their router is gone."""
    cluster = three(case)
    people = People(case, cluster).start()
    revive = hold_down(cluster, "a")
    try:
        when = cluster.kill_actor("sequencer/0")
        standby = people.await_flow(when)
        when = cluster.kill_actor("router/0")
        by_heartbeat = people.await_flow(when)
        assert by_heartbeat < 15 * HEARTBEAT_S, by_heartbeat
    finally:
        revive("router/0", "sequencer/0")
    cluster.await_actors(["router/0", "sequencer/0"], when)
    print(f"     the standby took over in {standby:.2f} s; without a router all were heard "
          f"in {by_heartbeat:.2f} s")
    people.await_flow(time.monotonic())
    people.finish()
    people.verify()
    people.close()
    end(case, cluster)


def case_X6_route_to_a_dead_gate_goes(case):
    """The gate of bob's only device dies and stays dead: soon no router knows a
    route to it, and who writes to bob is told that it is stored."""
    cluster = three(case)
    cluster.add_users("alice", "bob")
    alice = cluster.client("alice", gate=0)
    bob = cluster.client("bob", device="phone", gate=1)
    sent = alice.send_until_taken("bob", "are you there?")
    event, = bob.await_events(1)
    assert event.message.seq == sent.seq
    revive = hold_down(cluster, "b")
    try:
        # host b also has a router, a sequencer and a store: those go on.
        when = cluster.kill_actor("gate/1")
        bob.close()

        def gone():
            alice.send_frame(HEARTBEAT, pb.Heartbeat())
            alice.fill(0)
            return not any(entry[0] == "bob" for entry in shared_view(cluster) or [("bob",)])

        await_that("the route to go", gone, 5 * HEARTBEAT_S + 5)
        took = time.monotonic() - when
        alice = cluster.client("alice", device="desk", gate=0)
        sent = alice.send_until_taken("bob", "stored for you")
        alice.await_receipt(RECEIPT_STORED, sent.seq)
    finally:
        revive("gate/1")
    assert took < 2 * HEARTBEAT_S + 1, took
    cluster.await_actors(["gate/1"], when)
    cluster.await_logins()
    back = cluster.client("bob", device="phone", gate=1)
    assert [e.message.body for e in back.sync()] == [b"are you there?", b"stored for you"]
    print(f"     the route was gone after {took:.2f} s")
    end(case, cluster)


# --- R2, R3 over two gates


def case_R2_R3_marks_of_delivery_between_gates(case):
    cluster = three(case)
    cluster.add_users("alice", "bob")
    alice = cluster.client("alice", gate=0)
    sent = alice.send_until_taken("bob", "are you there?")
    alice.await_receipt(RECEIPT_STORED, sent.seq)
    bob = Sdk(case, cluster, "bob", cluster.urls[1])
    bob.until("the message", lambda lines: bob.messages())
    receipt = alice.await_receipt(RECEIPT_DELIVERED, sent.seq)
    assert receipt.peer == b"bob"
    bob.close()
    end(case, cluster)


# --- I1


def case_I1_ids_over_hosts_and_restarts(case):
    """Message ids and keys of users from two generators, both killed again and again:
    none comes twice."""
    cluster = three(case)
    people = People(case, cluster).start()
    added = []
    for turn in range(6 if case.long else 3):
        for actor in ("idgen/0", "idgen/1", "sequencer/0", "sequencer/1"):
            when = cluster.kill_actor(actor)
            cluster.await_actors([actor], when)
            added.append(f"new-{turn}-{actor.replace('/', '-')}")
            cluster.add_users(added[-1])
        people.await_flow(time.monotonic())
    people.finish()
    people.verify()
    ids = []
    for n, person in enumerate(people.all):
        client = cluster.client(person.name, device="ids")
        ids += [m.message_id for m in client.history(people.all[(n + 1) % 6].name)]
    assert len(ids) == sum(len(person.sent) for person in people.all)
    assert len(set(ids)) == len(ids), f"{len(ids) - len(set(ids))} ids came twice"
    # A key given twice would show one user's messages to another.
    for name in added:
        assert not cluster.client(name).sync(), name
    people.close()
    end(case, cluster)


# --- L7


def case_L7_hosts_start_in_any_order(case):
    """Every order of three hosts, each later one only when the earlier says for whom it
    waits; no gate takes a login before it has joined, and every order works."""
    cluster = Cluster(case, "namespaces", config=CONFIG)
    orders = ["abc", "cba", "bca"] if not case.long else ["abc", "acb", "bac", "bca", "cab",
                                                          "cba"]
    added = []
    for order in orders:
        cluster.spawn([order[0]])
        refused_until_joined(cluster, order[0])
        cluster.spawn([order[1]])
        refused_until_joined(cluster, order[:2])
        cluster.spawn([order[2]])
        cluster.await_ready()
        user = f"user-{order}"
        cluster.add_users(user)
        added.append(user)
        writer = cluster.client(user, gate=0)
        for other in added:
            writer.send_until_taken(other, f"{user} to {other}")
        reader = cluster.client(added[0], gate=1)
        texts = [e.message.body.decode() for e in reader.sync()]
        assert f"{user} to {added[0]}" in texts, texts
        cluster.stop()
    case.check(cluster)


def refused_until_joined(cluster, hosts):
    """The hosts' processes run, wait for others and say for whom; their gates do not
    take logins."""
    waiting = [a for host in hosts for a in cluster.hosts[host].actors]
    await_that("a word about who is waited for",
               lambda: re.search(r"wait|not reach", cluster.stderr()), 30)
    await_that("their processes", lambda: all(cluster.pid(actor) for actor in waiting), 10)
    for gate, host in ((0, "a"), (1, "b")):
        if host not in hosts:
            continue
        try:
            client = Client(cluster, gate=gate, timeout=5)
        except OSError:
            continue  # it does not even listen yet
        name = None
        try:
            token = cluster.case.token(cluster, "nobody")
            client.call(1, pb.Login(token=token.encode(), device=b"early"))
        except Closed as closed:
            name = closed.goodbye.name.decode() if closed.goodbye else "closed"
        except Exception as error:  # an Error answer; anything but a login
            name = getattr(error, "name", str(error))
        assert name in ("UNAVAILABLE", "closed"), f"gate/{gate}: {name}"
        client.close()


# --- Z4


def case_Z4_trace_shows_every_hop_over_hosts(case):
    """`anser trace ID`: gate in, order, commit, push, deliver, ack, with times, whichever
    hosts they happened on; and it says so when it no longer knows."""
    cluster = three(case)
    cluster.add_users("alice", "bob", "carol")
    alice = cluster.client("alice", gate=0)
    readers = {name: cluster.client(name, gate=1) for name in ("bob", "carol")}
    for name, reader in readers.items():
        sent = alice.send_until_taken(name, f"to {name}")
        reader.await_events(1)
        done = cluster.command("trace", str(sent.message_id), "--cluster", cluster.file)
        for hop in ("gate_in", "order", "commit", "push", "deliver", "ack"):
            assert re.search(rf"\b{hop}\b", done.out), (hop, done.out)
        rows = re.findall(r"^ *(\d+) +([abc]) +\S+ +([a-z]+)/\d +([a-z_]+) ", done.out, re.M)
        assert {role for _, _, role, _ in rows} == {"gate", "sequencer", "store", "router"}, done
        assert len({host for _, host, _, _ in rows}) >= 2, done.out
        times = [int(row[0]) for row in rows]
        assert len(times) >= 6 and times == sorted(times), done.out
        assert f"to {name}" not in done.out
    sent = alice.send_until_taken("bob", "before the restart")
    cluster.stop()
    cluster.start()
    done = cluster.command("trace", str(sent.message_id), "--cluster", cluster.file, expect=None)
    assert re.search("no longer|not known|since", done.out + done.err), done
    end(case, cluster)
