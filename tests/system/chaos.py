"""Processes killed and stopped, hosts cut off, one thing after another at random, while
people talk across gates: afterwards every acknowledged message is there once, in order, in
the inboxes and in the journals of the devices. How long it took until everybody was heard
again is measured and printed; docs/operations.md has the figures of a long run."""
import os
import random
import statistics
import time

import netns
from cluster import Cluster
from harness import await_that
from people import People

# Heartbeats that find a dead wire in seconds; small bounds, so that applies happen.
CONFIG = """gate: {heartbeat_ms: 1000, idle_ms: 3000}
store: {overlay_rows_max: 4000, log_segment_bytes: 8388608}
"""
# A fault that lasts lasts longer than every budget of an ask (5 s, AN_ASK_MS).
HOLD_S = 7.0
ROLES = ("gate", "router", "sequencer", "store", "idgen", "api")


class Chaos:
    """Faults, one after another, and how long each was felt."""

    def __init__(self, cluster, people, rng):
        self.cluster, self.people, self.rng = cluster, people, rng
        self.felt = {}  # what -> [(seconds, counted from the end of the fault)]

    def note(self, what, seconds, from_end=False):
        self.felt.setdefault(what, []).append((seconds, from_end))

    def pick(self, role):
        return self.rng.choice([a for a in self.cluster.actors if a.startswith(role + "/")])

    def lasting(self, what, begin, end):
        """A fault that is held. People who can go on during it should."""
        began = time.monotonic()
        undo = begin()
        flows = []

        def over():
            self.people.check()
            if not flows and self.people.flow_after(began) is not None:
                flows.append(self.people.flow_after(began) - began)
            return time.monotonic() - began >= HOLD_S

        try:
            await_that("the fault to last", over, HOLD_S + 5)
        finally:
            end(undo)
        after = self.people.await_flow(time.monotonic())
        self.note(what, *((flows[0], False) if flows else (after, True)))

    def kill(self, role):
        actor = self.pick(role)
        when = self.cluster.kill_actor(actor)
        self.note(f"{role} killed", self.people.await_flow(when))
        self.cluster.await_actors([actor], when)
        return actor

    def pause(self, role):
        actor = self.pick(role)
        self.lasting(f"{role} stopped for {HOLD_S:g} s", lambda: self.cluster.pause(actor),
                     self.cluster.resume)
        return actor

    def pair(self):
        return self.rng.sample(sorted(self.cluster.hosts), 2)

    def cut_one_way(self):
        at, source = self.pair()
        self.lasting(f"one way cut for {HOLD_S:g} s",
                     lambda: self.cluster.wire.cut(at, source),
                     lambda _: self.cluster.wire.heal())
        return f"{source} to {at}"

    def cut_both_ways(self):
        one, other = self.pair()
        self.lasting(f"both ways cut for {HOLD_S:g} s",
                     lambda: self.cluster.wire.cut_both(one, other),
                     lambda _: self.cluster.wire.heal())
        return f"{one} and {other}"

    def isolate(self):
        host = self.rng.choice(sorted(self.cluster.hosts))
        self.lasting(f"host cut off for {HOLD_S:g} s",
                     lambda: self.cluster.wire.isolate(host),
                     lambda _: self.cluster.wire.heal())
        return host

    def run(self, plan):
        for number, (fault, *words) in enumerate(plan):
            began = time.monotonic()
            hit = fault(*words)
            print(f"     {number + 1}/{len(plan)} {fault.__name__} {hit}: "
                  f"{time.monotonic() - began:.1f} s, {self.people.acked()} acks", flush=True)

    def table(self):
        lines = []
        for what, felt in sorted(self.felt.items()):
            for from_end in (False, True):
                seconds = [s for s, end in felt if end == from_end]
                if seconds:
                    whence = "after its end" if from_end else "from its begin"
                    lines.append(f"     | {what} | {whence} | {statistics.median(seconds):.2f} "
                                 f"| {max(seconds):.2f} | {len(seconds)} |")
        return "\n".join(lines)


def random_faults(case, shape, once, count, long_rounds):
    """once: faults that every run has; filled up with random ones to count."""
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
    rng = random.Random(seed)
    print(f"     seed {seed} (CHAOS_SEED={seed} plays its faults again)", flush=True)
    cluster = Cluster(case, shape, config=CONFIG).start()
    people = People(case, cluster).start()
    chaos = Chaos(cluster, people, rng)
    kinds = [(getattr(chaos, name), *words) for name, *words in once]
    plan = kinds[:]
    rounds = (case.rounds or long_rounds) if case.long else count
    while len(plan) < rounds:
        plan.append(rng.choice(kinds))
    rng.shuffle(plan)
    try:
        chaos.run(plan)
    except AssertionError:
        print(chaos.table(), flush=True)
        raise
    people.finish()
    people.verify()
    people.close()
    print(f"     {people.acked()} acks, slowest {people.slowest():.1f} s\n{chaos.table()}")
    cluster.stop()
    case.check(cluster)
    case.count(kills=sum(f.__name__ == "kill" for f, *_ in plan), acks=people.acked())


def case_cuts_cut(case):
    """A cluster that survives cuts which cut nothing has shown nothing."""
    netns.selftest(case)


def case_X3_R1_P2_random_faults_on_one_host(case):
    once = [("kill", role) for role in ROLES[:5]] + [("pause", "sequencer"),
                                                     ("pause", "store")]
    if case.long:
        once += [("pause", role) for role in ("gate", "router", "idgen")]
    random_faults(case, "five", once, len(once), 60)


def case_X3_R1_P2_random_faults_over_hosts(case):
    once = [("kill", role) for role in ROLES[:5]]
    once += [("pause", "sequencer"), ("cut_one_way",), ("cut_both_ways",)]
    if case.long:
        once += [("pause", role) for role in ("gate", "router", "store", "idgen")]
        once += [("isolate",)]
    random_faults(case, "namespaces", once, len(once), 100)
