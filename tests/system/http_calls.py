"""Accounts and back ends over HTTP: every example of docs/http.md as it stands there, bad inputs
by their errors, guessing, replays, and logins that do not hold up messages."""
import base64
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import subprocess
import threading
import time
import urllib.parse

from harness import LOGIN, TOP, Client, Closed, ServerError, await_that, pb

DOCS = os.path.join(TOP, "docs", "http.md")
BASE = "http://127.0.0.1:7480"
# What differs from run to run; the rest of an example's answer is as it stands.
VARY = {"token", "refresh_token", "expires_ms", "message_id", "time_ms", "client_msg_id",
        "created_ms", "changed_ms", "issued_ms", "used_ms", "muted_until_ms", "gates", "devices",
        "message"}
PASSWORD = "correct horse battery"


class Api:
    """Calls over one kept connection."""

    def __init__(self, node, app_key=None):
        self.node = node
        self.where = node.doors["http"]
        self.token = None
        self.key = app_key
        self.connection = http.client.HTTPConnection(*self.where, timeout=60)

    def raw(self, method, path, body=None, headers=None):
        """(status, headers, JSON)"""
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, answer.headers, json.loads(text) if text else None

    def call(self, method, path, body=None, token=None, **headers):
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            head.setdefault("Content-Type", "application/json")
        token = token or self.token
        if token:
            head["Authorization"] = f"Bearer {token}"
        return self.raw(method, path, body, head)

    def good(self, method, path, body=None, **how):
        status, _, answer = self.call(method, path, body, **how)
        assert status == 200, (method, path, status, answer)
        return answer

    def refused(self, method, path, body=None, **how):
        """(status, name)"""
        status, _, answer = self.call(method, path, body, **how)
        assert status >= 400, (method, path, status, answer)
        error = answer["error"]
        assert set(error) == {"code", "name", "message"}, error
        if error["name"] in ("ARGUMENT", "JSON"):  # it says what was wrong, and where
            assert ": " in error["message"], (method, path, error)
        return status, error["name"]

    def signature(self, method, path, body, **change):
        key, secret = change.pop("key", self.key)
        parts = {"time": str(int(time.time())), "nonce": secrets.token_hex(12), **change}
        digest = hashlib.sha256(body.encode()).hexdigest()
        text = "\n".join((method, path, parts["time"], parts["nonce"], digest))
        sign = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return {"Anser-Key": key, "Anser-Time": parts["time"], "Anser-Nonce": parts["nonce"],
                "Anser-Signature": sign}

    def signed_now(self, method, path, text, shown_to=None, **change):
        """The head of a request signed now, and what an api (this one) says to it. Signed anew
        as long as who remembers signatures has started in the very second."""
        api, said = shown_to or self, []

        def judged():
            head = {"Content-Type": "application/json",
                    **self.signature(method, path, text, **change)}
            said[:] = head, api.raw(method, path, text or None, head)
            status, headers, _ = said[1]
            return status != 401 or headers["Retry-After"] is None

        await_that("the second of a start to be over", judged)
        return said

    def signed(self, method, path, body=None, headers=None, **change):
        """(status, JSON) of a back end's call; headers, or a time, are shown as they are."""
        text = "" if body is None else json.dumps(body)
        if headers or "time" in change:
            head = headers or self.signature(method, path, text, **change)
            reply = self.raw(method, path, text or None,
                             {"Content-Type": "application/json", **head})
        else:
            _, reply = self.signed_now(method, path, text, **change)
        return reply[0], reply[2]

    def register(self, *names):
        for name in names:
            self.good("POST", "/v1/register", {"user": name, "password": PASSWORD})

    def login(self, user, device="dev", platform="web", **more):
        return self.good("POST", "/v1/login", {"user": user, "password": PASSWORD,
                                               "device": device, "platform": platform, **more})


def start(case, config="", **how):
    """A node and its Api, with the back end's key of the default app."""
    node = case.new_node(config=config or None, **how)
    node.start()
    return node, Api(node, app_key(node))


def app_key(node, *app):
    return tuple(node.run("app", "key", *app).out.split())


def fits(found, example, where):
    """The same members, and the same values but for what varies."""
    if isinstance(example, dict):
        assert isinstance(found, dict) and set(found) == set(example), (where, found, example)
        for name, value in example.items():
            if name in VARY and value is not None:
                assert isinstance(found[name], type(value)), (where, name, found[name])
            else:
                fits(found[name], value, f"{where}.{name}")
    elif isinstance(example, list):
        assert len(found) == len(example), (where, found)
        for i, value in enumerate(example):
            fits(found[i], value, f"{where}[{i}]")
    else:
        assert found == example, (where, found, example)


def case_A1_A2_A7_A13_M5_examples_of_the_docs(case):
    node, api = start(case)
    api.signed("GET", "/v1/app/users/nobody")  # the first second is over
    with open(DOCS, encoding="utf-8") as f:
        blocks = re.findall(r"^```(sh|json)\n(.*?)^```", f.read(), re.M | re.S)
    script, wanted = ["set -e"], []
    for kind, text in blocks:
        if kind == "sh":
            script += [f"echo @@@{len(wanted)}", text.rstrip("\n")]
            wanted.append(None)
        else:
            wanted[-1] = json.loads(text)
    assert len(wanted) > 15 and sum(w is not None for w in wanted) >= 15, wanted
    host, port = node.doors["http"]
    text = "\n".join(script).replace(BASE, f"http://{host}:{port}")
    binary = os.path.dirname(case.anser)
    done = subprocess.run(["bash"], input=text.encode(), capture_output=True, cwd=case.dir,
                          timeout=120, check=False,
                          env=dict(os.environ, ANSER_DATA=node.data,
                                   PATH=f"{binary}:{os.environ['PATH']}"))
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())
    parts = re.split(r"@@@\d+\n", done.stdout.decode())[1:]
    assert len(parts) == len(wanted), done.stdout.decode()
    for i, (said, example) in enumerate(zip(parts, wanted)):
        if example is not None:
            fits(json.loads(said), example, f"example {i}: {said}")
    node.stop()


def case_bad_inputs_are_named(case):
    node, api = start(case)
    api.register("alice")
    login = api.login("alice")
    api.token = None
    for path, body, wanted in (
            ("/v1/register", b"{", (400, "JSON")),
            ("/v1/register", b"[1]", (400, "JSON")),
            ("/v1/register", b"", (400, "JSON")),
            ("/v1/register", b'{"user":"x","user":"y"}', (400, "JSON")),
            ("/v1/register", b"[" * 4000, (400, "JSON")),
            ("/v1/register", b'{"user":"\xff","password":"12345678"}', (400, "JSON")),
            ("/v1/register", {"password": PASSWORD}, (400, "ARGUMENT")),
            ("/v1/register", {"user": 7, "password": PASSWORD}, (400, "USER_NAME")),
            ("/v1/register", {"user": "bob"}, (400, "ARGUMENT")),
            ("/v1/register", {"user": "bob", "password": 12345678}, (400, "ARGUMENT")),
            ("/v1/register", {"user": "bob", "password": "1234567"}, (400, "PASSWORD_LENGTH")),
            ("/v1/register", {"user": "bob", "password": "x" * 257}, (400, "PASSWORD_LENGTH")),
            ("/v1/register", {"user": "a b", "password": PASSWORD}, (400, "USER_NAME")),
            ("/v1/register", {"user": "", "password": PASSWORD}, (400, "USER_NAME")),
            ("/v1/register", {"user": "x" * 65, "password": PASSWORD}, (400, "USER_NAME")),
            ("/v1/register", {"user": "system", "password": PASSWORD}, (400, "USER_NAME")),
            ("/v1/register", {"user": "bob", "app": "a/b", "password": PASSWORD},
             (400, "USER_NAME")),
            ("/v1/register", {"user": "alice", "password": PASSWORD}, (409, "USER_EXISTS")),
            ("/v1/login", {"user": "alice", "password": "wrong horse"}, (401, "PASSWORD_WRONG")),
            ("/v1/login", {"user": "nobody", "password": "wrong horse"}, (401, "PASSWORD_WRONG")),
            ("/v1/login", {"user": "alice", "password": "x"}, (401, "PASSWORD_WRONG")),
            ("/v1/login", {"user": "alice", "app": "shop", "password": PASSWORD},
             (404, "APP_UNKNOWN")),
            ("/v1/register", {"user": "bob", "app": "shop", "password": PASSWORD},
             (404, "APP_UNKNOWN")),
            ("/v1/login", {"user": "alice", "password": PASSWORD, "device": "a b"},
             (400, "DEVICE_NAME")),
            ("/v1/login", {"user": "alice", "password": PASSWORD, "platform": "a b"},
             (400, "ARGUMENT")),
            ("/v1/login", {"user": "alice", "password": PASSWORD, "platform": "iphone"},
             (400, "ARGUMENT")),
            ("/v1/refresh", {}, (400, "ARGUMENT")),
            ("/v1/refresh", {"refresh_token": "x"}, (401, "REFRESH_INVALID")),
            ("/v1/refresh", {"refresh_token": login["refresh_token"][:-1] + "_"},
             (401, "REFRESH_INVALID")),
            ("/v1/refresh", {"refresh_token": "r1.ffffffffffffffff.ZGV2.AAAA"},
             (401, "REFRESH_INVALID")),
            ("/v1/refresh", {"refresh_token": login["refresh_token"], "device": "other"},
             (401, "REFRESH_INVALID")),
            ("/v1/logout", {}, (401, "LOGIN_REQUIRED")),
            ("/v1/password", {"old_password": PASSWORD, "password": PASSWORD},
             (401, "LOGIN_REQUIRED"))):
        got = api.refused("POST", path, body)
        assert got == wanted, (path, body, got, wanted)
    for body, wanted in (
            (b'{"user":\n "bob",}', "the body: is not JSON at line 2, column 8"),
            (b"[]", "the body: has to be an object"),
            (b"", "the body: is empty"),
            ({"user": "bob"}, "password: is missing"),
            ({"user": "bob", "password": 7}, "password: has to be a text"),
            ({"password": PASSWORD}, "user: is missing")):
        message = api.call("POST", "/v1/register", body)[2]["error"]["message"]
        assert message == wanted, (body, message)
    assert api.refused("POST", "/v1/login", b"{}", Content_Type="text/plain") == (
        415, "CONTENT_TYPE")
    assert api.refused("GET", "/v1/login") == (405, "METHOD")
    assert api.refused("GET", "/v1/gates?scheme=WS") == (400, "ARGUMENT")
    token = login["token"]
    for scheme, status in (("bearer", 200), ("BEARER", 200), ("Basic", 401)):
        assert api.call("GET", "/v1/profile", Authorization=f"{scheme} {token}")[0] == status
    for method, path, body, wanted in (
            ("PATCH", "/v1/profile", {}, (400, "ARGUMENT")),
            ("PATCH", "/v1/profile", {"nick": "x" * 129}, (400, "ARGUMENT")),
            ("PATCH", "/v1/profile", {"nick": 7}, (400, "ARGUMENT")),
            ("PATCH", "/v1/profile", {"extra": "x" * 2048}, (400, "ARGUMENT")),
            ("PATCH", "/v1/profile", b'{"extra":' + b"[" * 33 + b"]" * 33 + b"}",
             (400, "ARGUMENT")),
            ("PATCH", "/v1/profile", {"avatar": "x" * 513}, (400, "ARGUMENT")),
            ("DELETE", "/v1/devices/none", None, (404, "NOT_FOUND")),
            ("DELETE", "/v1/devices/%zz", None, (400, "ARGUMENT")),
            ("POST", "/v1/password", {"old_password": "wrong horse", "password": PASSWORD},
             (401, "PASSWORD_WRONG")),
            ("POST", "/v1/password", {"old_password": PASSWORD, "password": "short"},
             (400, "PASSWORD_LENGTH"))):
        got = api.refused(method, path, body, token=token)
        assert got == wanted, (path, body, got)
    for bad, name in (("x", "TOKEN_INVALID"), (token[:-2], "TOKEN_INVALID"),
                      (node.run("token", "alice", "--ttl", "1s").out.strip(), None)):
        if name:
            assert api.refused("GET", "/v1/profile", token=bad) == (401, name)
    node.stop()


def case_A6_revoking_again_and_again_blocks_no_revocation(case):
    node, api = start(case)
    api.register("alice")
    thief, other = (api.login("alice", device=device) for device in ("thief", "other"))
    for _ in range(150):
        api.good("DELETE", "/v1/devices/other", token=thief["token"])
    api.good("GET", "/v1/profile", token=thief["token"])
    assert api.login("alice", device="own")["token"]
    status, answer = api.signed("POST", "/v1/app/tokens:revoke", {"user": "alice"})
    assert status == 200, answer
    assert api.refused("GET", "/v1/profile", token=thief["token"]) == (
        401, "TOKEN_REVOKED")
    status, answer = api.signed("DELETE", "/v1/app/users/alice")
    assert status == 200, answer
    node.stop()


def connect(node, token, device, platform="ios"):
    link = Client(node, None)
    link.call(LOGIN, pb.Login(token=token.encode(), device=device.encode(),
                              platform=platform.encode()))
    return link


def refused_at_the_gate(node, token, device):
    try:
        connect(node, token, device)
    except (ServerError, Closed) as error:
        return str(error)
    raise AssertionError("let in")


def devices_of(api, token):
    return {one["device"]: one for one in api.good("GET", "/v1/devices", token=token)["devices"]}


def case_A6_devices_with_tokens_of_a_back_end_are_listed_and_ended(case):
    """Whatever its token came from, a device that has logged in at a gate is seen by its user,
    who can end it; and a later login of it is seen again."""
    node, api = start(case)
    api.register("alice")
    own = api.login("alice", device="own")["token"]
    given = {device: api.signed("POST", "/v1/app/tokens", {"user": "alice", "device": device})[1]
             ["token"] for device in ("tv", "car")}
    given["robot"] = node.run("token", "alice").out.strip()
    links = {device: connect(node, token, device) for device, token in given.items()}
    await_that("all of them", lambda: set(devices_of(api, own)) == {"own", *given})
    tv = devices_of(api, own)["tv"]
    assert tv["active"] and tv["platform"] == "ios", tv
    assert abs(tv["used_ms"] - time.time() * 1000) < 60000 and tv["issued_ms"] == tv["used_ms"]
    for device in ("tv", "robot"):
        api.good("DELETE", f"/v1/devices/{device}", token=own)
        assert links[device].closing() == "TOKEN_REVOKED"
        assert "TOKEN_REVOKED" in refused_at_the_gate(node, given[device], device)
        assert devices_of(api, own)[device]["active"] is False
    assert api.refused("GET", "/v1/profile", token=given["tv"]) == (401, "TOKEN_REVOKED")
    assert devices_of(api, given["car"])["car"]["active"] is True
    node.stop()
    node.start()
    api = Api(node, api.key)
    assert "TOKEN_REVOKED" in refused_at_the_gate(node, given["tv"], "tv")
    fresh = api.signed("POST", "/v1/app/tokens", {"user": "alice", "device": "tv"})[1]["token"]
    connect(node, fresh, "tv")
    await_that("it to be seen again", lambda: devices_of(api, own)["tv"]["active"])
    node.stop()
    case.check(node)


def case_A6_many_devices_ended_stay_ended_and_let_others_in(case):
    """Far more logins and logouts than a user may have devices: the next is let in, and no
    token of any that was ended is good again."""
    node, api = start(case)
    api.register("alice")
    own = api.login("alice", device="own")["token"]
    given = []
    for i in range(80):
        given.append(api.signed("POST", "/v1/app/tokens", {
            "user": "alice", "device": f"d{i}", "expires_in": 86400 * 300})[1]["token"])
        api.good("POST", "/v1/logout", token=given[i])
    for i, token in enumerate(given):
        assert api.refused("GET", "/v1/profile", token=token) == (401, "TOKEN_REVOKED"), i
    for i in (0, 40, 79):
        assert "TOKEN_REVOKED" in refused_at_the_gate(node, given[i], f"d{i}")
    assert api.login("alice", device="new")["token"]
    listed = devices_of(api, own)
    assert len(listed) == 64 and listed["own"]["active"] and listed["new"]["active"]
    node.stop()
    case.check(node)


def case_A1_login_across_a_password_change_gets_nothing_that_stays(case):
    node, api = start(case)
    api.register("alice")
    own = api.login("alice", device="own")
    late, over = [], threading.Event()

    def keep_trying(number):
        mine = Api(node)
        while not over.is_set():
            status, _, answer = mine.call("POST", "/v1/login", {
                "user": "alice", "password": PASSWORD, "device": f"t{number}"})
            if status == 200:
                late.append(answer)

    threads = [threading.Thread(target=keep_trying, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    try:
        await_that("they log in", lambda: len(late) >= 2)
        api.good("POST", "/v1/password", {"old_password": PASSWORD,
                                          "password": "staple battery"}, token=own["token"])
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for answer in late:
        assert api.call("GET", "/v1/profile", token=answer["token"])[0] == 401
        assert api.call("POST", "/v1/refresh", {
            "refresh_token": answer["refresh_token"]})[0] == 401
    node.stop()


def case_names_of_every_kind(case):
    node, api = start(case)
    for name in ("鸿雁", "a%b", "o'brien", "ü.-_~", "x" * 64, "a?b#c", "..", "a\\b"):
        api.register(name)
        token = api.login(name)["token"]
        assert api.good("GET", "/v1/profile", token=token)["user"] == name
        path = "/v1/app/users/" + urllib.parse.quote(name, safe="")
        status, answer = api.signed("GET", path)
        assert (status, answer["user"]) == (200, name), answer
        device = api.login(name, device="déjà vu".replace(" ", "-"))
        assert device["device"] == "déjà-vu"
        api.good("DELETE", "/v1/devices/" + urllib.parse.quote("déjà-vu"), token=token)
    node.stop()


def case_names_that_pass_for_others_are_refused(case):
    node, api = start(case)
    for name in ("al\u200bice", "\u202eecila", "alice\u00a0", "\ufeffalice"):
        status, _, answer = api.call("POST", "/v1/register",
                                     {"user": name, "password": PASSWORD})
        assert (status, answer["error"]["name"]) == (400, "USER_NAME"), (name, answer)
        assert "invisible" in answer["error"]["message"], answer
        status, answer = api.signed("POST", "/v1/app/users:import", {"users": [{"user": name}]})
        error = answer["results"][0]["error"]
        assert error["name"] == "USER_NAME" and "invisible" in error["message"], answer
        refused = node.run("user", "add", name, expect=8).err
        assert "invisible" in refused and "USER_NAME" in refused, refused
        # Those of before are looked up as ever.
        status, answer = api.signed("GET", "/v1/app/users/" + urllib.parse.quote(name))
        assert (status, answer["error"]["name"]) == (404, "USER_NOT_FOUND"), answer
        assert api.refused("POST", "/v1/login", {"user": name, "password": PASSWORD}) == (
            401, "PASSWORD_WRONG")
    api.register("alice")
    token = api.login("alice")["token"]
    for nick, wanted in (("\U0001f469\u200d\U0001f680", 200), ("A\u202eb", 400), ("A\nb", 400)):
        status, _, answer = api.call("PATCH", "/v1/profile", {"nick": nick}, token=token)
        assert status == wanted, (nick, answer)
    node.stop()


def case_a_platform_is_one_that_gates_know(case):
    node, api = start(case)
    api.register("alice")
    for status, _, answer in (
            api.call("POST", "/v1/login", {"user": "alice", "password": PASSWORD,
                                           "platform": "iphone"}),
            (*api.signed("POST", "/v1/app/tokens", {"user": "alice", "platform": "iphone"})[:1],
             None,
             api.signed("POST", "/v1/app/tokens", {"user": "alice", "platform": "iphone"})[1])):
        assert (status, answer["error"]["name"]) == (400, "ARGUMENT"), answer
        assert "ios" in answer["error"]["message"], answer
    login = api.good("POST", "/v1/login", {"user": "alice", "password": PASSWORD, "device": "d"})
    assert login["platform"] == "web"
    link = Client(node, None)
    link.call(LOGIN, pb.Login(token=login["token"].encode(), device=b"d"))
    for platform in ("api", "mac"):
        status, answer = api.signed("POST", "/v1/app/tokens",
                                    {"user": "alice", "platform": platform})
        assert status == 200, answer
    node.stop()


def case_A7_signatures_are_judged(case):
    node, api = start(case)
    body = {"users": [{"user": "bob"}]}
    text = json.dumps(body)
    path = "/v1/app/users:import"

    def name_of(**how):
        status, answer = api.signed("POST", path, body, **how)
        return status, answer["error"]["name"]

    api.signed("GET", "/v1/app/users/nobody")
    good = api.signature("POST", path, text)
    for header in ("Anser-Key", "Anser-Time", "Anser-Nonce", "Anser-Signature"):
        less = {name: value for name, value in good.items() if name != header}
        assert name_of(headers=less) == (401, "SIGNATURE_MISSING")
    now = int(time.time())
    assert name_of(time=str(now - 310)) == (401, "SIGNATURE_EXPIRED")
    assert name_of(time=str(now + 310)) == (401, "SIGNATURE_EXPIRED")
    assert name_of(time="soon") == (401, "SIGNATURE_EXPIRED")
    assert name_of(key=("nokey", api.key[1])) == (401, "SIGNATURE_KEY")
    assert name_of(key=(api.key[0], "another")) == (401, "SIGNATURE_WRONG")
    assert name_of(nonce="short") == (401, "SIGNATURE_WRONG")
    for altered in ({"Anser-Time": str(now + 9)}, {"Anser-Nonce": "another-nonce"},
                    {"Anser-Signature": "00" * 32}, {"Anser-Signature": "zz"},
                    {"Anser-Signature": good["Anser-Signature"] + "00"}):
        assert name_of(headers={**good, **altered}) == (401, "SIGNATURE_WRONG"), altered
    # Another body, path, method or query with a signature that was good.
    assert api.signed("POST", path, {"users": [{"user": "eve"}]}, headers=good)[1][
        "error"]["name"] == "SIGNATURE_WRONG"
    assert api.signed("POST", "/v1/app/tokens", body, headers=good)[1][
        "error"]["name"] == "SIGNATURE_WRONG"
    assert api.signed("POST", path + "?x=1", body, headers=good)[1][
        "error"]["name"] == "SIGNATURE_WRONG"
    # What was refused has not used up the nonce; what was taken has.
    status, answer = api.signed("POST", path, body, headers=good)
    assert (status, answer["created"]) == (200, 1), answer
    assert name_of(headers=good) == (401, "SIGNATURE_REPLAYED")
    node.stop()


def case_A7_nothing_is_taken_again_after_a_restart(case):
    node, api = start(case)
    api.register("bob")
    path, body = "/v1/app/messages", {"to": "bob", "text": "once"}
    api.signed("GET", "/v1/app/users/bob")
    seen = api.signature("POST", path, json.dumps(body))
    assert api.signed("POST", path, body, headers=seen)[0] == 200
    node.stop()
    node.start()
    api = Api(node, api.key)
    head = {"Content-Type": "application/json", **seen}
    status, headers, answer = api.raw("POST", path, json.dumps(body), head)
    assert (status, answer["error"]["name"]) == (401, "SIGNATURE_EXPIRED"), answer
    assert "started" in answer["error"]["message"], answer
    assert 0 < int(headers["Retry-After"]) < 60
    status, answer = api.signed("POST", path, body)
    assert (status, answer["seq"]) == (200, 2), answer
    assert api.signed("POST", path, body, headers=seen)[0] == 401
    node.stop()


def case_A8_apps_are_those_of_the_configuration(case):
    """Each says whether people register; what is not named is unknown to all who ask."""
    node, api = start(case, config="api: {register: closed}\n"
                      "apps: [{name: game, register: open}, {name: old}, {name: default}]\n")
    for app, wanted in (("game", None), ("old", (403, "FORBIDDEN")), (None, (403, "FORBIDDEN")),
                        ("shop", (404, "APP_UNKNOWN"))):
        body = {"user": "alice", "password": PASSWORD, **({"app": app} if app else {})}
        if wanted:
            assert api.refused("POST", "/v1/register", body) == wanted, app
            continue
        assert api.good("POST", "/v1/register", body)["app"] == app
    login = api.login("alice", app="game")
    assert api.good("GET", "/v1/profile", token=login["token"])["app"] == "game"
    old_key = app_key(node, "old", "--make")
    lost_key = app_key(node, "lost", "--make")
    assert "cannot be the name" in node.run("app", "key", "a b", "--make", expect=2).err
    assert "'late'" in node.run("app", "key", "late", "--make").err  # it is read at a start
    node.stop()
    with open(node.args[node.args.index("--config") + 1], "w", encoding="utf-8") as f:
        f.write("apps: [{name: old, register: open}, {name: default, register: closed}]\n")
    node.start()
    api = Api(node, old_key)
    assert api.signed("GET", "/v1/app/users/alice")[1]["error"]["name"] == "USER_NOT_FOUND"
    api.key = lost_key
    status, answer = api.signed("POST", "/v1/app/tokens", {"user": "alice"})
    assert (status, answer["error"]["name"]) == (404, "APP_UNKNOWN"), answer
    assert "APP_UNKNOWN" in refused_at_the_gate(node, login["token"], "dev")
    assert api.refused("GET", "/v1/profile", token=login["token"]) == (404, "APP_UNKNOWN")
    assert api.refused("POST", "/v1/refresh", {"refresh_token": login["refresh_token"]}) == (
        404, "APP_UNKNOWN")
    node.stop()


def case_A8_back_ends_see_their_own_app(case):
    node, api = start(case, config="apps: [{name: shop}]\n")
    node.stop()
    shop_key = app_key(node, "shop", "--make")
    assert app_key(node, "shop") == shop_key != app_key(node)
    node.start()
    api, shop = Api(node, app_key(node)), Api(node, shop_key)
    for one, nick in ((api, "ours"), (shop, "theirs")):
        status, answer = one.signed("POST", "/v1/app/users:import",
                                    {"users": [{"user": "alice", "nick": nick}]})
        assert (status, answer["created"]) == (200, 1), answer
    assert api.signed("GET", "/v1/app/users/alice")[1]["nick"] == "ours"
    assert shop.signed("GET", "/v1/app/users/alice")[1]["app"] == "shop"
    api.register("bob")
    status, answer = shop.signed("GET", "/v1/app/users/bob")
    assert (status, answer["error"]["name"]) == (404, "USER_NOT_FOUND")
    status, answer = shop.signed("POST", "/v1/app/messages",
                                 {"from": "alice", "to": "bob", "text": "hello"})
    assert (status, answer["error"]["name"]) == (404, "USER_NOT_FOUND")
    assert api.signed("DELETE", "/v1/app/users/alice")[0] == 200
    assert shop.signed("GET", "/v1/app/users/alice")[1]["deleted"] is False
    node.stop()


def case_A13_import_says_of_each(case):
    node, api = start(case)
    users = [{"user": f"u{i}"} for i in range(97)] + [
        {"user": "a b"}, {"user": "u0"}, {"user": "v", "password": "short"}]
    status, answer = api.signed("POST", "/v1/app/users:import", {"users": users})
    assert status == 200 and answer["created"] == 97 and answer["failed"] == 3, answer
    names = [one.get("error", {}).get("name") for one in answer["results"]]
    assert names[:97].count(None) >= 96 and names[97] == "USER_NAME"
    assert names[99] == "PASSWORD_LENGTH"
    assert [one["user"] for one in answer["results"][:97]] == [f"u{i}" for i in range(97)]
    again = api.signed("POST", "/v1/app/users:import", {"users": users[:97]})[1]
    assert again["created"] == 0
    assert {one["error"]["name"] for one in again["results"]} == {"USER_EXISTS"}
    for bad in ({"users": []}, {"users": [{"user": "x"}] * 101}, {"users": "x"}, {}):
        status, answer = api.signed("POST", "/v1/app/users:import", bad)
        assert (status, answer["error"]["name"]) == (400, "ARGUMENT"), (bad, answer)
    assert node.run("token", "u96").out
    node.stop()


def case_M5_messages_are_ordinary_ones(case):
    node, api = start(case)
    api.register("alice", "bob")
    login = api.login("bob", device="phone")
    bob = Client(node, "bob", device="phone", token=login["token"], login=False)
    bob.call(LOGIN, pb.Login(token=login["token"].encode(), device=b"phone", platform=b"web"))
    sent = [api.signed("POST", "/v1/app/messages", body)[1] for body in (
        {"to": "bob", "text": "from the system"},
        {"from": "alice", "to": "bob", "text": "as alice"},
        {"from": "alice", "to": "bob", "type": 9, "body": base64.b64encode(b"\0\xff").decode()})]
    assert [one["seq"] for one in sent] == [1, 1, 2], sent
    events = bob.await_events(3)
    assert [(getattr(e.message, "from").decode(), e.message.type, e.message.body) for e in events] == [
        ("system", 1, b"from the system"), ("alice", 1, b"as alice"), ("alice", 9, b"\0\xff")]
    assert [str(e.message.message_id) for e in events] == [one["message_id"] for one in sent]
    # The same again is the same message.
    mine = {"from": "alice", "to": "bob", "text": "once",
            "client_msg_id": sent[0]["client_msg_id"][:12] + "7000" + "8" + "0" * 15}
    first, second = (api.signed("POST", "/v1/app/messages", mine)[1] for _ in range(2))
    assert first == second and first["seq"] == 3, (first, second)
    other = dict(mine, text="another")
    assert api.signed("POST", "/v1/app/messages", other)[1]["error"]["name"] == "ID_CONFLICT"
    for body, name in (({"to": "bob"}, "ARGUMENT"), ({"to": "bob", "text": ""}, "BODY_EMPTY"),
                       ({"to": "nobody", "text": "x"}, "USER_NOT_FOUND"),
                       ({"from": "nobody", "to": "bob", "text": "x"}, "USER_NOT_FOUND"),
                       ({"to": "bob", "text": "x", "body": "eA=="}, "ARGUMENT"),
                       ({"to": "bob", "body": "!"}, "ARGUMENT"),
                       ({"to": "bob", "text": "x", "type": 0}, "ARGUMENT"),
                       ({"to": "bob", "text": "x", "client_msg_id": "12"}, "ARGUMENT"),
                       ({"to": "bob", "type": 1, "body": "1tDOxA=="}, "UTF8"),
                       ({"to": "bob", "body": "7aCA"}, "UTF8"),
                       ({"to": "bob", "text": "x" * 65537}, "BODY_TOO_LARGE")):
        status, answer = api.signed("POST", "/v1/app/messages", body)
        assert answer.get("error", {}).get("name") == name, (body, answer)
        if name == "UTF8":
            assert status == 400 and answer["error"]["message"].startswith("body: "), answer
    assert api.signed("PATCH", "/v1/app/users/alice", {"mute_s": 60})[0] == 200
    assert api.signed("POST", "/v1/app/messages", dict(mine, client_msg_id=None))[1][
        "error"]["name"] == "MUTED"
    node.stop()
    case.check(node)


def case_guessing_is_slowed_and_the_owner_let_in(case):
    node, api = start(case)
    api.register("alice", "bob")
    names, waited = [], 0
    for _ in range(12):
        status, headers, answer = api.call("POST", "/v1/login",
                                           {"user": "alice", "password": "a wrong one"})
        names.append(answer["error"]["name"])
        if status == 429:
            waited = int(headers["Retry-After"])
            assert 0 < waited <= 60
    assert names[:5] == ["PASSWORD_WRONG"] * 5 and names[5:] == ["TOO_MANY_TRIES"] * 7, names
    # From here not even the right one; from elsewhere at once; others from here at once.
    assert api.refused("POST", "/v1/login", {"user": "alice", "password": PASSWORD}) == (
        429, "TOO_MANY_TRIES")
    assert api.login("bob")
    elsewhere = Api(node)
    elsewhere.connection = http.client.HTTPConnection(*api.where, timeout=60,
                                                      source_address=("127.0.0.2", 0))
    assert elsewhere.login("alice")["token"]
    await_that("the wait to end", lambda: api.call(
        "POST", "/v1/login", {"user": "alice", "password": PASSWORD})[0] == 200, 30)
    assert node.metrics()["anser_api_tries_slowed_total"] >= 8
    node.stop()


def case_a_proxy_says_for_whom_it_asks(case):
    node, api = start(case, config="api: {proxies: 127.0.0.3/32}\n")
    api.register("alice")

    def tries(source, forwarded):
        one = Api(node)
        one.connection = http.client.HTTPConnection(*api.where, timeout=60,
                                                    source_address=(source, 0))
        return [one.call("POST", "/v1/login", {"user": "alice", "password": "a wrong one"},
                         X_Forwarded_For=forwarded)[0] for _ in range(6)]

    assert tries("127.0.0.3", "10.1.1.1, 10.0.0.1")[-1] == 429
    assert tries("127.0.0.3", "10.0.0.1") == [429] * 6
    assert tries("127.0.0.3", "10.0.0.2")[0] == 401
    # Others are who they are, whatever they say.
    assert tries("127.0.0.4", "10.0.0.3")[-1] == 429
    assert tries("127.0.0.4", "10.0.0.4") == [429] * 6
    # A proxy that adds a line of its own: what the client said stands in the lines before.
    assert [forwarded_lines(api, f"10.2.0.{i}", "10.0.0.5") for i in range(6)] == (
        [401] * 5 + [429])
    assert forwarded_lines(api, "10.0.0.5", "10.0.0.6") == 401
    node.stop()


def forwarded_lines(api, *lines):
    """The status of a wrong login by the proxy, with these lines X-Forwarded-For."""
    one = http.client.HTTPConnection(*api.where, timeout=60, source_address=("127.0.0.3", 0))
    body = json.dumps({"user": "alice", "password": "a wrong one"}).encode()
    one.putrequest("POST", "/v1/login")
    for line in lines:
        one.putheader("X-Forwarded-For", line)
    one.putheader("Content-Type", "application/json")
    one.putheader("Content-Length", str(len(body)))
    one.endheaders(body)
    status = one.getresponse().status
    one.close()
    return status


def case_A6_a_changed_password_ends_what_was_before(case):
    node, api = start(case)
    api.register("alice")
    phone, web = api.login("alice", device="phone"), api.login("alice", device="web")
    link = Client(node, None)
    link.call(LOGIN, pb.Login(token=phone["token"].encode(), device=b"phone", platform=b"web"))
    fresh = api.good("POST", "/v1/password", {"old_password": PASSWORD,
                                              "password": "another horse"}, token=web["token"])
    assert fresh["device"] == "web"
    assert link.closing() == "TOKEN_REVOKED"
    for old in (phone, web):
        assert api.refused("GET", "/v1/profile", token=old["token"]) == (401, "TOKEN_REVOKED")
        late = Client(node, None)
        try:
            late.call(LOGIN, pb.Login(token=old["token"].encode(), device=old["device"].encode(),
                                      platform=b"web"))
            raise AssertionError("a revoked token logs in")
        except (ServerError, Closed) as error:
            assert "TOKEN_REVOKED" in str(error), error
    assert api.refused("POST", "/v1/refresh", {"refresh_token": phone["refresh_token"]})[0] == 401
    again = api.good("POST", "/v1/refresh", {"refresh_token": fresh["refresh_token"]})
    assert api.good("GET", "/v1/profile", token=again["token"])["user"] == "alice"
    assert api.refused("POST", "/v1/login", {"user": "alice", "password": PASSWORD}) == (
        401, "PASSWORD_WRONG")
    node.stop()


def case_registration_can_be_closed(case):
    node, api = start(case, config="api: {register: closed, gates: \"wss://chat.example.com\"}\n")
    status, _, answer = api.call("POST", "/v1/register", {"user": "x", "password": PASSWORD})
    assert (status, answer["error"]["name"]) == (403, "FORBIDDEN"), answer
    assert "registration is closed" in answer["error"]["message"], answer
    assert api.good("GET", "/v1/gates") == {"gates": ["wss://chat.example.com"]}
    node.stop()


def case_logins_hold_up_no_messages(case):
    """As many logins as the node can hash beside a thousand messages a second: every message
    is acknowledged, about as soon as without, and every login ends."""
    node, api = start(case)
    people = [f"u{i}" for i in range(8)]
    api.register(*people)

    def load():
        done = node.run("bench", "--users", "20", "--rate", "1000", "--warm", "1", "--time", "4",
                        "--json", timeout=120)
        return json.loads(done.out.splitlines()[-1])

    def flood(user, ended):
        one, good = Api(node), 0
        while not ended.is_set():
            good += bool(one.login(user)["token"])
        return good

    calm, ended = load(), threading.Event()
    with concurrent.futures.ThreadPoolExecutor(len(people)) as pool:
        floods = [pool.submit(flood, user, ended) for user in people]
        try:
            busy = load()
        finally:
            ended.set()
        logins = sum(f.result() for f in floods)
    print(f"1,000 messages a second: p50 {calm['p50_us']} -> {busy['p50_us']} us, "
          f"p99 {calm['p99_us']} -> {busy['p99_us']} us, {logins} logins beside")
    case.count(logins=logins, p50_us=busy["p50_us"], p99_us=busy["p99_us"])
    assert logins >= 8
    for figures in (calm, busy):
        assert figures["failed"] == 0 and figures["shed"] == 0, figures
        assert figures["acked/s"] > 900, figures
    # Were hashes in the way, a message would wait for several: each is a tenth of a second.
    assert busy["p50_us"] < max(10 * calm["p50_us"], 400000), (calm, busy)
    node.stop()
