"""The same data in another shape, under load: one process, five, three hosts and back; and
every process restarted in turn. People talk all the while; nothing may be lost."""
import json
import os
import statistics
import time

from chaos import CONFIG
from cluster import Cluster, free_port
from harness import Node
from netns import WIRE, Wire
from people import People

# Nobody waits longer for an ack while processes are restarted one by one.
ROLLING_S = 5.0

FIVE_ON_DATA = """
hosts:
  here: {{address: 127.0.0.1}}
actors:
  gate/0:      {{host: here, listen: [GATE0]}}
  router/0:    {{host: here, slots: 0-1023}}
  sequencer/0: {{host: here, slots: 0-1023}}
  store/0:     {{host: here, slots: 0-1023, data: {data}}}
  idgen/0:     {{host: here}}
  api/0:       {{host: here}}
"""

# One store, which the one process had, on a; everything else elsewhere too.
HOSTS_ON_DATA = """
tls: {{ca: keys/ca.pem, cert: keys/%h.pem, key: keys/%h.key}}
hosts:
  a: {{address: ADDRESS_a}}
  b: {{address: ADDRESS_b}}
  c: {{address: ADDRESS_c}}
actors:
  gate/0:      {{host: a, listen: [GATE0]}}
  gate/1:      {{host: b, listen: [GATE1]}}
  router/0:    {{host: b, slots: 0-511}}
  router/1:    {{host: c, slots: 512-1023}}
  sequencer/0: {{host: a, slots: 0-511,    standby: sequencer/1}}
  sequencer/1: {{host: c, slots: 512-1023, standby: sequencer/0}}
  store/0:     {{host: a, slots: 0-1023, data: {data}}}
  idgen/0:     {{host: b}}
  api/0:       {{host: c}}
"""


def node_json(node):
    with open(os.path.join(node.data, "node.json"), encoding="utf-8") as f:
        return json.load(f)


def there_and_back(case, node, people, turns, other_shape):
    """From the one process to the other shape and back, `turns` times."""
    for turn in range(turns):
        began = time.monotonic()
        node.stop()
        other = other_shape().start()
        there = people.await_flow(began)
        began = time.monotonic()
        other.stop()
        node.start()
        back = people.await_flow(began)
        print(f"     turn {turn + 1}: there in {there:.2f} s, back in {back:.2f} s, "
              f"{people.acked()} acks")
    people.finish()
    people.verify()
    people.close()
    node.stop()
    case.check(node)


def case_Z6_one_process_to_five_and_back_under_load(case):
    port = free_port()
    node = Node(case, config=CONFIG)
    node.listen = f"tcp://127.0.0.1:{port}"
    node.start()
    people = People(case, node).start()

    def five():
        return Cluster(case, "five", config=CONFIG, name=node_json(node)["cluster"],
                       key=os.path.join(node.data, "node.json"),
                       text=FIVE_ON_DATA.format(data=os.path.join(node.data, "store")),
                       port=port)

    there_and_back(case, node, people, 5 if case.long else 2, five)


class HostNode(Node):
    """One process on host a of a wire."""

    def __init__(self, case, wire, **how):
        super().__init__(case, **how)
        self.wire, self.launch, self.prefix = wire, wire.prefix("a"), wire.prefix(WIRE)
        self.listen = f"tcp://{wire.address['a']}:7400"
        self.args.append("--plain")

    def connect(self, timeout, gate=0):
        return self.wire.connect((self.host, self.port), timeout)

    def run(self, *args, **how):
        return super().run(*args, prefix=self.launch, **how)


def case_Z6_one_process_to_three_hosts_and_back_under_load(case):
    wire = Wire(case)
    node = HostNode(case, wire, config=CONFIG).start()
    urls = [f"tcp://{wire.address[host]}:7400" for host in "ab"]
    people = People(case, node, urls=urls).start()

    def hosts():
        return Cluster(case, "namespaces", config=CONFIG, wire=wire,
                       name=node_json(node)["cluster"],
                       key=os.path.join(node.data, "node.json"),
                       text=HOSTS_ON_DATA.format(data=os.path.join(node.data, "store")))

    there_and_back(case, node, people, 3 if case.long else 1, hosts)


def rolling_restart(case, shape, rounds):
    """SIGTERM to one process after the other, each ready again before the next."""
    cluster = Cluster(case, shape, config=CONFIG).start()
    people = People(case, cluster).start()
    felt = {}  # role -> [(until everybody was heard again, the longest wait for an ack)]
    for _ in range(rounds):
        for actor in cluster.actors:
            when = cluster.stop_actor(actor)
            cluster.await_actors([actor], when)
            flow = people.await_flow(when)
            felt.setdefault(actor.split("/")[0], []).append((flow, people.slowest(when - 1)))
    people.finish()
    people.verify()
    people.close()
    print(f"     {people.acked()} acks; everybody heard again, the longest wait for an ack:")
    for role, seen in sorted(felt.items()):
        flows, waits = zip(*seen)
        print(f"     | {role} ended | {statistics.median(flows):.2f} | {max(flows):.2f} | "
              f"{statistics.median(waits):.2f} | {max(waits):.2f} | {len(seen)} |")
    assert people.slowest() < ROLLING_S, felt
    cluster.stop()
    case.check(cluster)


def case_rolling_restart_of_five_processes(case):
    rolling_restart(case, "five", 5 if case.long else 1)


def case_rolling_restart_over_hosts(case):
    rolling_restart(case, "namespaces", 5 if case.long else 1)
