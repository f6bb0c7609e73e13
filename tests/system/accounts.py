"""Accounts, tokens, devices and login policies, without HTTP: each case is named after the
codes of the rows that it proves (docs/testing.md has the table)."""
import base64
import itertools
import json
import os
import signal
import subprocess
import time

from cluster import Cluster
from harness import (EXIT, HEARTBEAT, LOGIN, Client, Closed, ServerError, await_that,
                     pb)
from scenario import bodies, finish, jwt, pair

PLATFORMS = ("ios", "android", "windows", "mac", "linux", "web", "api")
QUICK = "gate: {heartbeat_ms: 1000, idle_ms: 30000}\n"


def login(node, user, device, platform="", gate=0, token=None, app="default"):
    """A client that says its platform, or raises what the login was refused with."""
    client = Client(node, gate=gate)
    token = token or jwt(node, user, app=app)
    client.login_ok = client.call(LOGIN, pb.Login(
        token=token.encode(), device=device.encode(), platform=platform.encode()))
    return client


def refused_login(node, user, device="phone", token=None, **how):
    try:
        login(node, user, device, token=token, **how)
    except ServerError as error:
        return error.name
    raise AssertionError(f"{user} was let in")


def user(node, *words, **how):
    return node.run("user", *words, **how)


def show(node, name):
    return json.loads(user(node, "show", name).out)


def alive(client):
    """A round trip, and nothing but it."""
    return client.call(HEARTBEAT, pb.Heartbeat())


def still_there(client):
    try:
        alive(client)
    except Closed:
        return False
    return True


# --- A4


def der_public_key():
    """A public key as everybody may know it, PEM."""
    made = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, check=True)
    return subprocess.run(["openssl", "rsa", "-pubout"], input=made.stdout,
                          capture_output=True, check=True).stdout


def case_A4_each_way_a_token_is_wrong_has_its_own_name(case):
    node = pair(case)
    now = int(time.time())
    wrong = {"none": (jwt(node, "alice", {"alg": "none"}), "TOKEN_UNSIGNED"),
             "public": (jwt(node, "alice", {"alg": "RS256"}, secret=der_public_key()),
                        "TOKEN_ALGORITHM"),
             "public as secret": (jwt(node, "alice", secret=der_public_key()),
                                  "TOKEN_INVALID"),
             "no such key": (jwt(node, "alice", {"kid": "x"}), "TOKEN_KEY"),
             "wrong key": (jwt(node, "alice", secret=os.urandom(32)), "TOKEN_INVALID"),
             "expired": (jwt(node, "alice", exp=now - 60), "TOKEN_EXPIRED"),
             "not yet": (jwt(node, "alice", nbf=now + 3600), "TOKEN_NOT_YET"),
             "audience": (jwt(node, "alice", aud="other"), "TOKEN_AUDIENCE"),
             "device": (jwt(node, "alice", dev="tv"), "TOKEN_DEVICE"),
             "platform": (jwt(node, "alice", plat="web"), "TOKEN_DEVICE")}
    for what, (token, name) in wrong.items():
        assert refused_login(node, "alice", token=token, platform="ios") == name, what
    user(node, "revoke", "alice")
    old = jwt(node, "alice", iat=now - 60)
    assert refused_login(node, "alice", token=old) == "TOKEN_REVOKED"
    # From the future: it would outlive what is revoked before then.
    assert refused_login(node, "alice", token=jwt(node, "alice", iat=now + 3600)) == \
        "TOKEN_NOT_YET"
    good = jwt(node, "alice", dev="phone", plat="ios", iat=int(time.time()) + 2)
    alive(login(node, "alice", "phone", token=good))
    finish(case, node)


# --- A5


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True,
                          check=True).stdout


def key_pair(folder, name, *how):
    """A private key's file, and beside it the public one."""
    private = os.path.join(folder, f"{name}.pem")
    openssl("genpkey", *how, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", f"{private}.pub")
    return private


RSA = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
EC = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def raw_signature(der):
    """ECDSA's two numbers, as JWS has them (RFC 7518, 3.4), from ASN.1."""
    at, numbers = 2, []
    for _ in range(2):
        length = der[at + 1]
        numbers.append(der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + length
    return b"".join(numbers)


def foreign(private, kid, alg, **claims):
    """A token as a sign-on service makes it, which knows nothing of the server's keys."""
    now = int(time.time())
    payload = {"sub": "alice", "aud": "anser", "iat": now, "exp": now + 60, **claims}
    head = encoded(json.dumps({"alg": alg, "kid": kid}).encode())
    text = head + b"." + encoded(json.dumps(payload).encode())
    signature = openssl("dgst", "-sha256", "-sign", private, data=text)
    if alg == "ES256":
        signature = raw_signature(signature)
    return (text + b"." + encoded(signature)).decode()


def case_A5_tokens_of_sign_on_services_with_configured_keys(case):
    folder = case.new_dir("keys")
    rsa, ec = key_pair(folder, "rsa", *RSA), key_pair(folder, "ec", *EC)
    shop, other = key_pair(folder, "shop", *RSA), key_pair(folder, "other", *RSA)
    node = case.node(config=f"""apps:
- name: default
  keys:
  - {{id: sso, alg: RS256, issuer: "https://sso.example", file: {rsa}.pub}}
  - {{id: ec, alg: ES256, file: {ec}.pub}}
- name: shop
  keys: [{{id: shop, alg: RS256, file: {shop}.pub}}]
""")
    node.add_users("alice")
    user(node, "add", "alice", "--app", "shop")
    iss = "https://sso.example"
    good = (foreign(rsa, "sso", "RS256", iss=iss, app="default"),
            foreign(rsa, "sso", "RS256", iss=iss), foreign(ec, "ec", "ES256"))
    here = [login(node, "alice", f"phone{n}", token=token) for n, token in enumerate(good)]
    here[0].send("alice", "from the default app")
    there = login(node, "alice", "phone", token=foreign(shop, "shop", "RS256"))
    there.send("alice", "from the shop")
    assert bodies(there.sync()) == [b"from the shop"]
    assert bodies(here[1].sync()) == [b"from the default app"]
    now = int(time.time())
    with open(f"{rsa}.pub", "rb") as f:
        public = f.read()
    wrong = {"HS256 with the public key":
             (jwt(node, "alice", {"kid": "sso"}, secret=public, iss=iss), "TOKEN_ALGORITHM"),
             "none": (jwt(node, "alice", {"kid": "sso", "alg": "none"}), "TOKEN_UNSIGNED"),
             "another's key": (foreign(other, "sso", "RS256", iss=iss), "TOKEN_INVALID"),
             "another algorithm": (foreign(ec, "sso", "ES256", iss=iss), "TOKEN_ALGORITHM"),
             "another issuer": (foreign(rsa, "sso", "RS256", iss="https://x"), "TOKEN_APP"),
             "no issuer": (foreign(rsa, "sso", "RS256"), "TOKEN_APP"),
             "another's app": (foreign(shop, "shop", "RS256", app="default"), "TOKEN_APP"),
             "expired": (foreign(ec, "ec", "ES256", exp=now - 60), "TOKEN_EXPIRED"),
             "not yet": (foreign(ec, "ec", "ES256", nbf=now + 60), "TOKEN_NOT_YET"),
             "audience": (foreign(ec, "ec", "ES256", aud="x"), "TOKEN_AUDIENCE"),
             "nobody": (foreign(ec, "ec", "ES256", sub="ghost"), "USER_NOT_FOUND")}
    for what, (token, name) in wrong.items():
        assert refused_login(node, "alice", token=token) == name, what
    user(node, "revoke", "alice")
    assert here[2].closing(timeout=5) == "TOKEN_REVOKED"
    assert refused_login(node, "alice", token=good[2]) == "TOKEN_REVOKED"
    alive(there)
    finish(case, node)


def case_A5_keys_that_are_none_are_named_at_the_start(case):
    folder = case.new_dir("keys")
    rsa, ec = key_pair(folder, "rsa", *RSA), key_pair(folder, "ec", *EC)
    short = key_pair(folder, "short", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    for file, alg, why in ((f"{rsa}.none", "RS256", "cannot be read"),
                           (rsa, "RS256", "is not the PEM of a public key"),
                           (f"{short}.pub", "RS256", "2048 bits"),
                           (f"{ec}.pub", "RS256", "is not an RSA key"),
                           (f"{rsa}.pub", "ES256", "P-256"),
                           (f"{rsa}.pub", "HS256", "'HS256' is none of RS256|ES256")):
        config = os.path.join(folder, "anser.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"apps: [{{name: default, keys: [{{id: k, alg: {alg}, file: {file}}}]}}]\n")
        done = subprocess.run([case.anser, "up", "--data", case.new_dir(f"n-{alg}-{why[:4]}"),
                               "--config", config, "--listen", "tcp://127.0.0.1:0"],
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == EXIT["invalid"] and why in done.stderr.decode(), (done, why)


# --- A6


def case_A6_revoked_tokens_end_live_links_and_log_in_nowhere(case):
    node = pair(case)
    token = jwt(node, "alice")
    links = [login(node, "alice", device, token=token) for device in ("phone", "tv")]
    sender = Client(node, "alice", device="robot", token=token, send_only=True)
    other = login(node, "bob", "phone")
    since = time.monotonic()
    user(node, "revoke", "alice")
    for link in (*links, sender):
        assert link.closing(timeout=5) == "TOKEN_REVOKED"
    took = time.monotonic() - since
    assert took < 2, f"{took:.1f} s"
    assert refused_login(node, "alice", token=token) == "TOKEN_REVOKED"
    alive(other)
    # One made after it is good, from the next second on.
    await_that("a new token is good", lambda: new_token_is_good(node, "alice"))
    finish(case, node)


def new_token_is_good(node, name, device="phone"):
    try:
        login(node, name, device).close()
    except ServerError as error:
        assert error.name == "TOKEN_REVOKED"
        return False
    return True


def case_A6_one_device_is_revoked_alone(case):
    node = pair(case)
    phone, desk = login(node, "alice", "phone"), login(node, "alice", "tv")
    token = jwt(node, "alice")
    user(node, "revoke", "alice", "--device", "phone")
    assert phone.closing(timeout=5) == "TOKEN_REVOKED"
    assert refused_login(node, "alice", "phone", token=token) == "TOKEN_REVOKED"
    alive(desk)
    alive(login(node, "alice", "tv2", token=token))
    finish(case, node)


def case_A6_a_lost_hint_is_healed_within_a_heartbeat(case):
    """The router stands still, so no gate hears of it; clients send heartbeats, or do not."""
    cluster = Cluster(case, "five", config=QUICK).start()
    cluster.add_users("alice", "bob")
    token = jwt(cluster, "alice")
    busy = login(cluster, "alice", "phone", token=token)
    silent = Client(cluster, "alice", device="robot", token=token, send_only=True)
    router = cluster.pid("router/0")
    os.kill(router, signal.SIGSTOP)
    try:
        user(cluster, "revoke", "alice")
        since = time.monotonic()
        await_that("the busy one is closed", lambda: not still_there(busy), timeout=3)
        assert silent.closing(timeout=5) == "TOKEN_REVOKED"
        assert time.monotonic() - since < 4
    finally:
        os.kill(router, signal.SIGCONT)
    cluster.stop()
    case.check(cluster)


# --- A8


def case_A8_an_app_that_is_not_configured_is_unknown_everywhere(case):
    node = case.node(config="apps: [{name: game}]\n")
    node.add_users("alice")
    made = user(node, "add", "alice", "--app", "shop", expect=None)
    assert made.code != 0 and "APP_UNKNOWN" in made.err, made
    user(node, "add", "alice", "--app", "game")
    alive(login(node, "alice", "phone", app="game"))
    alive(login(node, "alice", "phone"))
    assert refused_login(node, "alice", app="shop") == "APP_UNKNOWN"
    finish(case, node)


def case_A8_two_apps_with_the_same_names_never_meet(case):
    node = case.node(config="apps: [{name: game}]\n")
    names = ("alice", "bob")
    node.add_users(*names)
    for name in names:
        user(node, "add", name, "--app", "game")
    here = {name: login(node, name, "phone") for name in names}
    there = {name: login(node, name, "phone", app="game") for name in names}
    here["alice"].send("bob", "to the default's bob")
    there["alice"].send("bob", "to the game's bob")
    assert bodies(here["bob"].await_events(1)) == [b"to the default's bob"]
    assert bodies(there["bob"].await_events(1)) == [b"to the game's bob"]
    for bob, text in ((here["bob"], b"to the default's bob"),
                      (there["bob"], b"to the game's bob")):
        assert bodies(bob.sync()) == [text]
        assert [message.body for message in bob.history("alice")] == [text]
    user(node, "forbid", "bob", "--app", "game")
    assert there["bob"].closing(timeout=5) == "USER_FORBIDDEN"
    alive(here["bob"])
    user(node, "delete", "alice", "--app", "game")
    assert there["alice"].closing(timeout=5) == "USER_DELETED"
    here["bob"].send("alice", "still there")
    finish(case, node)


# --- A9 to A12


def policies(case, word, shape):
    config = f"{QUICK}apps: [{{name: default, login: {word}}}]\n"
    cluster = Cluster(case, shape, config=config).start()
    cluster.add_users("alice", "bob")
    return cluster


def excludes(policy, one, other):
    """The table of features.md, row by row."""
    mobile, desktop = {"ios", "android"}, {"windows", "mac", "linux"}
    if policy == "multi" or "api" in (one, other):
        return False
    if policy == "single":
        return True
    if "web" in (one, other):
        return False
    return policy == "double" or any(one in kind and other in kind
                                     for kind in (mobile, desktop))


def every_cell(case, policy):
    """Each pair of platforms, the older on one gate and the newer on another; then the same
    with both on one."""
    node = policies(case, policy, "namespaces")
    for n, (one, other) in enumerate(itertools.product(PLATFORMS, PLATFORMS)):
        gates = (0, 1) if n % 3 else (0, 0)
        old = login(node, "alice", "old", one, gate=gates[0])
        new = login(node, "alice", "new", other, gate=gates[1])
        if excludes(policy, one, other):
            assert old.closing(timeout=10) == "KICKED", (policy, one, other)
        else:
            alive(old)
            old.close()
        alive(new)
        new.close()
    node.stop()
    case.check(node)


def case_A10_A11_single_every_cell_across_gates(case):
    every_cell(case, "single")


def case_A10_A11_double_every_cell_across_gates(case):
    every_cell(case, "double")


def case_A10_A11_triple_every_cell_across_gates(case):
    every_cell(case, "triple")


def case_A9_A12_every_platform_at_once_hears_everything(case):
    node = pair(case)
    links = {platform: login(node, "bob", f"my-{platform}", platform)
             for platform in PLATFORMS}
    links["ios, another"] = login(node, "bob", "my-other-ios", "ios")
    login(node, "alice", "phone").send("bob", "to all of you")
    for name, link in links.items():
        event, = link.await_events(1)
        assert event.message.body == b"to all of you", name
    finish(case, node)


def case_A10_same_device_again_replaces_whatever_the_policy(case):
    node = pair(case)
    old = login(node, "alice", "phone", "ios")
    new = login(node, "alice", "phone", "ios")
    assert old.closing(timeout=5) == "REPLACED"
    alive(new)
    finish(case, node)


def case_A10_a_refused_login_kicks_nobody(case):
    node = case.node(config="apps: [{name: default, login: single}]\n")
    node.add_users("alice")
    now = int(time.time())
    stolen = jwt(node, "alice", iat=now - 5)
    user(node, "revoke", "alice")
    await_that("a new token is good", lambda: new_token_is_good(node, "alice"))
    mine = login(node, "alice", "phone", "ios")
    for _ in range(3):
        assert refused_login(node, "alice", "thief", token=stolen,
                             platform="ios") == "TOKEN_REVOKED"
    alive(mine)
    finish(case, node)


def case_A10_A11_holds_while_a_gate_dies(case):
    """The loser's gate stands still when the newcomer logs in, and then goes on; or dies."""
    node = policies(case, "single", "namespaces")
    old = login(node, "alice", "old", "ios", gate=0)
    gate = node.pid("gate/0")
    os.kill(gate, signal.SIGSTOP)
    new = login(node, "alice", "new", "ios", gate=1)
    alive(new)
    os.kill(gate, signal.SIGCONT)
    assert old.closing(timeout=15) == "KICKED"
    alive(new)
    third = login(node, "alice", "third", "ios", gate=0)
    assert new.closing(timeout=15) == "KICKED"
    os.kill(node.pid("gate/0"), signal.SIGKILL)
    last = login(node, "alice", "last", "ios", gate=1)
    alive(last)
    assert third.closing(timeout=15) is None  # cut, with its gate
    node.stop()
    case.check(node)


# --- A13, A14


def case_A13_deleted_users_neither_log_in_nor_are_written_to(case):
    node = pair(case)
    alice, bob = login(node, "alice", "phone"), login(node, "bob", "phone")
    alice.send("bob", "before")
    bob.await_events(1)
    user(node, "delete", "bob")
    assert bob.closing(timeout=5) == "USER_DELETED"
    assert refused_login(node, "bob") == "USER_DELETED"
    await_that("alice is told", lambda: refused_send(alice, "bob") == "USER_DELETED")
    assert [message.body for message in alice.history("bob")] == [b"before"]
    assert user(node, "add", "bob", expect=EXIT["conflict"])
    assert show(node, "bob")["deleted"] is True
    node.kill()
    node.start()
    assert refused_login(node, "bob") == "USER_DELETED"
    assert refused_send(login(node, "alice", "phone"), "bob") == "USER_DELETED"
    finish(case, node)


def refused_send(client, to):
    try:
        client.send(to, "hello?")
    except ServerError as error:
        return error.name
    return None


def case_A14_forbidden_and_muted_have_their_own_names_and_store_nothing(case):
    node = pair(case)
    alice, bob = login(node, "alice", "phone"), login(node, "bob", "phone")
    user(node, "mute", "alice", "--for", "1h")
    await_that("alice is muted", lambda: refused_send(alice, "bob") == "MUTED")
    told = len(bob.sync())
    assert refused_send(alice, "bob") == "MUTED"
    assert len(bob.sync()) == told
    bob.send("alice", "you can hear me")
    assert bodies(alice.await_events(1))[-1] == b"you can hear me"
    assert show(node, "alice")["muted_until_ms"] > time.time() * 1000
    user(node, "unmute", "alice")
    await_that("alice speaks", lambda: refused_send(alice, "bob") is None)
    user(node, "mute", "alice", "--for", "2s")
    await_that("alice is muted", lambda: refused_send(alice, "bob") == "MUTED")
    await_that("the time is over", lambda: refused_send(alice, "bob") is None)
    user(node, "forbid", "alice")
    assert alice.closing(timeout=5) == "USER_FORBIDDEN"
    assert refused_login(node, "alice") == "USER_FORBIDDEN"
    user(node, "unforbid", "alice")
    login(node, "alice", "phone").send("bob", "again")
    assert user(node, "forbid", "nobody", expect=EXIT["not found"])
    finish(case, node)
