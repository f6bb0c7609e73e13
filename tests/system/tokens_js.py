"""Tokens made by npm's jose, a library that is not ours and not Python's (js/tokens.mjs): good
ones and bad ones, at a gate and over HTTP."""
import base64
import json
import subprocess
import time

from accounts import EC, RSA, alive, key_pair, login, refused_login, user
from doors_js import installed
from http_calls import Api, app_key
from scenario import finish

ISSUER = "https://sso.example"
# What its maker says is wrong with it, and the name of the error: eight names.
BAD = {"algorithm none": "TOKEN_UNSIGNED", "HS256 with a public key": "TOKEN_ALGORITHM",
       "wrong key": "TOKEN_INVALID", "expired": "TOKEN_EXPIRED", "not yet valid": "TOKEN_NOT_YET",
       "wrong audience": "TOKEN_AUDIENCE", "another app's": "TOKEN_APP",
       "revoked": "TOKEN_REVOKED"}


def jose(folder, word, asked):
    done = subprocess.run(["node", "tokens.mjs", word], cwd=folder, input=json.dumps(asked),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Maker:
    """Keys of every kind, the node that knows the public ones, and tokens of them."""

    def __init__(self, case, folder):
        self.folder = folder
        self.pem, self.public = {}, {}
        where = case.new_dir("keys")
        for name, how in (("rsa", RSA), ("ec", EC), ("shop", RSA), ("stranger", RSA),
                          ("strange ec", EC)):
            path = key_pair(where, name.replace(" ", "-"), *how)
            for file, into in ((path, self.pem), (f"{path}.pub", self.public)):
                with open(file, encoding="ascii") as f:
                    into[name] = f.read()
        config = f"""apps:
- name: default
  keys:
  - {{id: rsa, alg: RS256, issuer: "{ISSUER}", file: {where}/rsa.pem.pub}}
  - {{id: ec, alg: ES256, file: {where}/ec.pem.pub}}
- name: shop
  keys: [{{id: shop, alg: RS256, file: {where}/shop.pem.pub}}]
"""
        self.node = case.new_node(config=config)
        self.node.start()
        self.own = self.node.key()
        self.asked = []

    def want(self, name, alg, key, kid=None, **claims):
        """key: "own", the name of a pair, or bytes; kid: another than the key's."""
        now = int(time.time())
        whole = {"sub": "alice", "aud": "anser", "iat": now, "exp": now + 120}
        if key == "own":
            whole["app"] = "default"
        if key == "rsa":
            whole["iss"] = ISSUER
        one = {"name": name, "alg": alg, "claims": {**whole, **claims},
               "kid": kid or (self.own["id"] if key == "own" else key)}
        if isinstance(key, bytes):
            one["secret"] = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
        elif key == "own":
            one["secret"] = self.own["secret"]
        elif key is not None:
            one["pem"] = self.pem[key]
        self.asked.append(one)

    def made(self):
        made, self.asked = jose(self.folder, "make", self.asked), []
        return made


def case_A3_A4_A5_tokens_of_npm_jose_good_and_bad(case):
    maker = Maker(case, installed(case, "tokens.mjs"))
    node = maker.node
    node.add_users("alice", "bob")
    user(node, "add", "alice", "--app", "shop")
    own, now = maker.own["id"], int(time.time())
    for alg, key in (("HS256", "own"), ("RS256", "rsa"), ("ES256", "ec")):
        maker.want(f"good {alg}", alg, key)
        maker.want(f"bad {alg}: expired", alg, key, iat=now - 120, exp=now - 60)
        maker.want(f"bad {alg}: not yet valid", alg, key, nbf=now + 3600)
        maker.want(f"bad {alg}: wrong audience", alg, key, aud="another")
        maker.want(f"bad {alg}: revoked", alg, key, sub="bob", iat=now - 60)
    maker.want("bad none: algorithm none", "none", None, app="default")
    for kid, of in (("rsa", "rsa"), ("ec", "ec")):
        maker.want(f"bad {kid}: HS256 with a public key", "HS256", maker.public[of].encode(),
                   kid=kid, iss=ISSUER)
    maker.want("bad HS256: wrong key", "HS256", b"x" * 32, kid=own, app="default")
    maker.want("bad HS256: wrong key (a public one)", "HS256", maker.public["rsa"].encode(),
               kid=own, app="default")
    maker.want("bad RS256: wrong key", "RS256", "stranger", kid="rsa", iss=ISSUER)
    maker.want("bad ES256: wrong key", "ES256", "strange ec", kid="ec")
    maker.want("bad RS256: another app's", "RS256", "shop", app="default")
    maker.want("bad ES256: another app's", "ES256", "ec", app="shop")
    tokens = maker.made()
    user(node, "revoke", "bob")
    api = Api(node)
    seen = set()
    for name, token in tokens.items():
        word, _, what = name.partition(" ")
        if word == "good":
            link = login(node, "alice", f"phone-{what}", token=token)
            link.send("bob", f"by {what}")
            profile = api.good("GET", "/v1/profile", token=token)
            assert (profile["user"], profile["app"]) == ("alice", "default"), profile
            continue
        what = what.partition(": ")[2].partition(" (")[0]
        seen.add(what)
        sub = "bob" if what == "revoked" else "alice"
        assert refused_login(node, sub, token=token) == BAD[what], name
        assert api.refused("GET", "/v1/profile", token=token) == (401, BAD[what]), name
    assert seen == set(BAD) and len(set(BAD.values())) == 8
    # What was revoked is what was made before: nothing else was wrong with those.
    maker.want("later", "HS256", "own", sub="bob", iat=int(time.time()) + 1)
    alive(login(node, "bob", "phone", token=maker.made()["later"]))
    finish(case, node)


def case_A3_npm_jose_reads_our_tokens(case):
    """Those of the command line, of a login over HTTP, and of a back end."""
    folder = installed(case, "tokens.mjs")
    node = case.node()
    api = Api(node, app_key(node))
    api.register("alice")
    key = node.key()
    tokens = {"command": node.token("alice"), "login": api.login("alice")["token"],
              "back end": api.signed("POST", "/v1/app/tokens", {"user": "alice"})[1]["token"]}
    for what, token in tokens.items():
        read = jose(folder, "verify", {"token": token, "secret": key["secret"]})
        assert read["header"]["kid"] == key["id"], (what, read)
        claims = read["claims"]
        assert (claims["sub"], claims["app"]) == ("alice", "default"), (what, read)
        assert claims["iat"] <= time.time() + 1 and claims["exp"] > time.time(), (what, read)
    finish(case, node)
