"""The numbers of a node and of each process of a cluster, after traffic of every kind: what
Prometheus's own promtool says of them, and whether their texts can be read alone."""
import glob
import os
import re
import shutil
import subprocess

import harness
from doors import TlsClient, trusting
from doors_web import web_node
from harness import CONFIRM, HEARTBEAT, LOGIN, Client, await_that, pb
from http_calls import PASSWORD, Api, app_key
from http_cluster import start as start_two
from http_door import curl
from scenario import finish, jwt

FETCHED = os.path.join(harness.TOP, "build", "promtool", "promtool")  # by ./dev
NAME = re.compile(r"\banser_(?:api|gate|idgen|router|runner|sequencer|store)_[a-z0-9_]*")
POINTS_BACK = re.compile(r"\b(them|those|these|the same)\b", re.I)


def promtool():
    found = shutil.which("promtool") or (FETCHED if os.access(FETCHED, os.X_OK) else None)
    if found is None:
        raise harness.Skip("no promtool: ./dev install")
    return found


def complaints(text):
    """What promtool says, of form and of style."""
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True,
                          text=True, timeout=60, check=False)
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


def helps(text):
    """{name: help}, each of which says what it is without its neighbours."""
    found = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.M))
    given = re.findall(r"^((\w+)\{.*\}) ", text, re.M)
    assert len(set(given)) == len(given), "a sample is there twice, which promtool lets pass"
    assert found and set(found) == {name for _, name in given}
    for name, said in found.items():
        assert said[0].isupper() or said[0].isdigit(), (name, said)
        assert not said.endswith(".") and " " in said, (name, said)
        assert not POINTS_BACK.search(said), (name, said)
        for unit, word in (("bytes", "bytes"), ("seconds", "time")):
            if re.search(rf"_{unit}(_total|_in_total|_out_total)?$", name):
                assert word in said.lower(), (name, said)
    by_group = {}
    for name, said in found.items():
        by_group.setdefault((name.split("_")[1], said), []).append(name)
    assert all(len(names) == 1 for names in by_group.values()), by_group
    return found


def samples(text):
    return harness.prometheus(text.splitlines())


def busy_gate(node):
    """Every request, on two doors; strangers, a wrong token and bytes that are none."""
    phone = node.client("alice", device="phone")
    secure = TlsClient(node, "bob", context=trusting(node.ca), door="tls")
    for i in range(3):
        phone.send("bob", f"number {i}")
    secure.await_events(3)
    newest = secure.sync()[-1]
    secure.call(CONFIRM, pb.Confirm(
        inbox_seq=newest.inbox_seq, inbox_generation=secure.login_ok.inbox_generation,
        delivered=[pb.Position(peer=b"alice", seq=newest.message.seq)]))
    secure.history("alice")
    secure.call(HEARTBEAT, pb.Heartbeat())
    secure.close()
    phone.send("bob", "bob is away")
    again = node.client("alice", device="phone")
    assert phone.closing() == "REPLACED"
    stranger = Client(node)
    assert stranger.refused(LOGIN, pb.Login(
        token=jwt(node, "alice", aud="x").encode(), device=b"d")) == "TOKEN_AUDIENCE"
    stranger = Client(node)
    stranger.send_raw(b"\x00 these are no frames " * 4)
    stranger.closing()
    again.call(HEARTBEAT, pb.Heartbeat())


def busy_api(node):
    api = Api(node, app_key(node))
    api.register("carol")
    login = api.login("carol")
    link = Client(node)
    link.call(LOGIN, pb.Login(token=login["token"].encode(), device=b"dev", platform=b"web"))
    api.good("POST", "/v1/refresh", {"refresh_token": login["refresh_token"]})
    wrong = {"user": "carol", "password": f"{PASSWORD}!"}
    seen = {api.refused("POST", "/v1/login", wrong)[1] for _ in range(8)}
    assert seen == {"PASSWORD_WRONG", "TOO_MANY_TRIES"}, seen
    assert api.signed("POST", "/v1/app/users:import", {"users": [{"user": "dave"}]})[0] == 200
    assert api.signed("POST", "/v1/app/messages", {"to": "dave", "text": "hello"})[0] == 200
    key, secret = api.key
    assert api.signed("POST", "/v1/app/tokens", {"user": "dave"}, key=(key, secret + "x"))[0] == 401
    assert api.signed("POST", "/v1/app/tokens:revoke", {"user": "carol"})[0] == 200
    assert link.closing() == "TOKEN_REVOKED"
    curl(node, "/nothing")


def case_promtool_finds_faults(case):
    """What it is asked below, it can say no to."""
    good = "# HELP a_seconds Time\n# TYPE a_seconds gauge\na_seconds 1\n"
    assert complaints(good) == ""
    for bad in (good.replace("a_seconds", "a_ms"), good.replace("gauge", "counter"),
                good.split("\n", 1)[1], good + "what\n"):
        assert complaints(bad), bad


def case_promtool_has_no_complaint_of_a_busy_node(case):
    promtool()
    node = web_node(case)
    busy_gate(node)
    busy_api(node)
    door, command = curl(node, "/metrics").body.decode(), node.run("metrics").out
    for text in (door, command):
        assert complaints(text) == ""
        known = helps(text)
    assert set(samples(door)) == set(samples(command))
    values = samples(door)
    for name in ("gate_closed_bad", "gate_logins_failed", "gate_pages", "gate_confirms",
                 "gate_tls_full", "router_replaced", "router_offline_items", "api_logins",
                 "api_refreshes", "api_passwords_wrong", "api_tries_slowed",
                 "api_signatures_refused", "api_messages_sent", "idgen_ids",
                 "sequencer_messages", "store_accounts", "store_engine_sync_seconds"):
        assert values[f"anser_{name}_total"] > 0, name
    assert 0 < values["anser_store_engine_sync_seconds_total"] < 600
    # What the documents tell an operator to watch is there.
    for path in glob.glob(os.path.join(harness.TOP, "docs", "**", "*.md"), recursive=True):
        with open(path, encoding="utf-8") as f:
            told = set(NAME.findall(f.read()))
        for name in told:
            assert name in known or (name.endswith("_") and any(
                one.startswith(name) for one in known)), (path, name)
    finish(case, node)


def case_promtool_has_no_complaint_of_any_process_of_a_cluster(case):
    promtool()
    cluster, api = start_two(case)
    names = [f"user{i}" for i in range(6)]
    api.register(*names)
    link = Client(cluster, None)
    login = api.login(names[0])
    link.call(LOGIN, pb.Login(token=login["token"].encode(), device=b"dev", platform=b"web"))
    for name in names[1:]:
        link.send(name, "hello")
    texts = {actor: cluster.ask_process(actor, "metrics") for actor in cluster.actors}
    texts["HTTP"] = curl(cluster, "/metrics").body.decode()
    for actor, text in texts.items():
        assert complaints(text + "\n") == "", actor
        assert f'actor="{"api/0" if actor == "HTTP" else actor}"' in text, actor
        helps(text)
    assert len(texts) == 11
    # Of two stores each says what waits for the other.
    assert "anser_store_outgoing_waiting_store_1" in helps(texts["store/0"])
    await_that("nothing to wait", lambda: samples(cluster.ask_process("store/0", "metrics"))[
        "anser_store_outgoing_waiting"] == 0)
    cluster.stop()
    case.check(cluster)
