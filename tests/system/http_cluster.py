"""HTTP of a cluster: an api in a process of its own, two of everything else."""
import json
import time

from cluster import Cluster, free_port
from chaos import CONFIG
from features_cluster import hold_down
from harness import LOGIN, Client, await_that, pb
from http_calls import Api

TWO = """
hosts:
  here: {address: 127.0.0.1}
actors:
  gate/0:      {host: here, listen: [GATE0]}
  gate/1:      {host: here, listen: [GATE1]}
  router/0:    {host: here, slots: 0-511}
  router/1:    {host: here, slots: 512-1023}
  sequencer/0: {host: here, slots: 0-511, standby: sequencer/1}
  sequencer/1: {host: here, slots: 512-1023, standby: sequencer/0}
  store/0:     {host: here, slots: 0-511, data: data/0}
  store/1:     {host: here, slots: 512-1023, data: data/1}
  idgen/0:     {host: here}
  api/0:       {host: here, listen: ["http://127.0.0.1:PORT"]}
"""
TWO_APIS = TWO + """  api/1:       {host: here, listen: ["http://127.0.0.1:OTHER"]}
"""


def start(case, text=TWO, **ports):
    port = free_port()
    for name, number in {"PORT": port, **ports}.items():
        text = text.replace(name, str(number))
    cluster = Cluster(case, "five", config=CONFIG, text=text)
    cluster.start()
    cluster.doors = {"http": ("127.0.0.1", port)}
    words = cluster.command("app", "key", "--cluster", cluster.file).out.split()
    return cluster, Api(cluster, tuple(words))


def case_L1_A1_a_dead_gate_leaves_the_list(case):
    """People register and log in; one gate dies and stays dead; it comes back."""
    cluster, api = start(case)
    api.register("alice", "bob")
    both = sorted(cluster.urls)
    await_that("both gates", lambda: sorted(api.good("GET", "/v1/gates")["gates"]) == both)
    login = api.login("alice")
    assert sorted(login["gates"]) == both, login
    for gate in (0, 1):
        link = Client(cluster, None, gate=gate)
        link.call(LOGIN, pb.Login(token=login["token"].encode(), device=b"dev", platform=b"web"))
    revive = hold_down(cluster, "here")
    cluster.kill_actor("gate/1")
    began = time.monotonic()
    await_that("the dead gate to leave", lambda: api.good("GET", "/v1/gates?scheme=tcp")["gates"]
               == cluster.urls[:1])
    assert time.monotonic() - began < 10, "later than a heartbeat and two looks"
    assert api.login("bob")["gates"] == cluster.urls[:1]
    revive("gate/1")
    await_that("it to come back", lambda: sorted(api.good("GET", "/v1/gates")["gates"]) == both)
    cluster.stop()
    case.check(cluster)


def case_A7_a_request_is_taken_once_by_all_apis(case):
    """Signed once, shown to both; and again after the sequencer that remembers it, whichever
    that is, has died and the other one has its slots."""
    port = free_port()
    cluster, one = start(case, TWO_APIS, OTHER=port)
    cluster.doors = {"http": ("127.0.0.1", port)}
    other = Api(cluster, one.key)
    path, body = "/v1/app/messages", {"to": "bob", "text": "once"}
    one.signed("POST", "/v1/app/users:import", {"users": [{"user": "bob"}]})

    def shown(api, head):
        status, headers, answer = api.raw("POST", path, json.dumps(body),
                                          {"Content-Type": "application/json", **head})
        return status, answer.get("error", {}).get("name"), headers["Retry-After"]

    seen = []
    for i in range(16):
        first, second = (one, other) if i % 2 else (other, one)
        head, reply = one.signed_now("POST", path, json.dumps(body), shown_to=first)
        assert reply[0] == 200, (i, reply[2])
        seen.append(head)
        assert shown(second, head)[:2] == (401, "SIGNATURE_REPLAYED")
    revive = hold_down(cluster, "here")
    cluster.kill_actor("sequencer/0")
    for i, head in enumerate(seen):
        status, name, retry = shown(one if i % 2 else other, head)
        assert status == 401 and (name == "SIGNATURE_REPLAYED" or retry is not None), (
            status, name, retry)
    status, answer = one.signed("POST", path, body)
    assert (status, answer["seq"]) == (200, 17), answer
    revive("sequencer/0")
    cluster.stop()
    case.check(cluster)


def case_A6_A13_M5_back_ends_reach_every_slot(case):
    """Users of both halves are made, sent to, revoked and deleted, wherever they live; one of
    the sequencers dies meanwhile."""
    cluster, api = start(case)
    names = [f"user{i}" for i in range(20)]
    status, answer = api.signed("POST", "/v1/app/users:import",
                                {"users": [{"user": name} for name in names]})
    assert (status, answer["created"]) == (200, 20), answer
    cluster.kill_actor("sequencer/1")
    for name in names:
        status, answer = api.signed("POST", "/v1/app/messages", {"to": name, "text": "hello"})
        assert status == 200, (name, answer)
    tokens = {name: api.signed("POST", "/v1/app/tokens", {"user": name})[1]["token"]
              for name in names[:6]}
    links = {}
    for i, (name, token) in enumerate(tokens.items()):
        links[name] = Client(cluster, None, gate=i % 2)
        links[name].call(LOGIN, pb.Login(token=token.encode(), device=b"dev", platform=b"web"))
    for name in list(tokens)[:3]:
        assert api.signed("POST", "/v1/app/tokens:revoke", {"user": name})[0] == 200
        assert links[name].closing() == "TOKEN_REVOKED"
    for name in list(tokens)[3:]:
        assert api.signed("DELETE", f"/v1/app/users/{name}")[0] == 200
        assert links[name].closing() == "USER_DELETED"
    cluster.stop()
    case.check(cluster)
