"""The conformance kit (client/conformance): our clients break no rule, and clients that are made
to break one are caught by it."""
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import SEND, ServerError, pb
from scenario import finish, pair

KIT = os.path.join(harness.TOP, "client", "conformance")
PYTHON = "/usr/bin/python3"
AT_ONCE = 3  # they wait most of the time


def conform(*arguments, env=None):
    """(exit code, output) of a run."""
    done = subprocess.run([PYTHON, os.path.join(KIT, "conform.py"), *arguments],
                          env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=600, check=False)
    return done.returncode, done.stdout


def load(name):
    """A module of the kit."""
    sys.path.append(KIT)
    try:
        spec = importlib.util.spec_from_file_location(name, os.path.join(KIT, f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(KIT)


def passes(*adapter, env=None, door="tcp"):
    code, out = conform("--patience", "3", "--door", door, "--", *adapter, env=env)
    assert code == 0 and " scripts, 0 rules broken\n" in out, out
    assert "advice note-to-self" not in out, out


def case_Z10_c_library_breaks_no_rule(case):
    path = os.path.join(case.build, "bin", "sdk_client")
    if not os.path.exists(path):
        raise harness.Skip(f"no {path}")
    passes(path, env={"SDK_PATIENT": "1"})


def case_Z10_python_client_breaks_no_rule(case):
    passes(PYTHON, os.path.join(KIT, "adapters", "python_client.py"))


def case_Z10_tiny_client_breaks_no_rule(case):
    passes(PYTHON, os.path.join(KIT, "tiny.py"))


def case_Z10_c_library_breaks_no_rule_over_tls(case):
    path = os.path.join(case.build, "bin", "sdk_client")
    if not os.path.exists(path):
        raise harness.Skip(f"no {path}")
    passes(path, env={"SDK_PATIENT": "1"}, door="tls")


def case_Z10_python_client_breaks_no_rule_over_tls_and_websocket(case):
    adapter = PYTHON, os.path.join(KIT, "adapters", "python_client.py")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda door: passes(*adapter, door=door), ("tls", "ws", "wss")))


def case_Z10_adapters_that_are_none_are_told(case):
    code, out = conform("--", os.path.join(case.dir, "none"))
    assert code == 2 and "No such file" in out, (code, out)
    code, out = conform("--only", "whole-day", "--", "/bin/false")
    assert code == 1 and "the client has ended" in out, (code, out)


def case_Z10_each_broken_client_is_caught_by_its_rule(case):
    doors = load("tiny").FAULT_DOORS

    def play(fault, rule, script):
        code, out = conform("--only", script, "--patience", "0.5", "--door", doors.get(fault, "tcp"),
                            "--", PYTHON, os.path.join(KIT, "tiny.py"), "--break", fault)
        if code == 1 and f"\nrule {rule}: " in out:
            return None
        return f"{fault}: not caught by {rule} but {code}\n{out}"

    faults = load("tiny").FAULTS
    with ThreadPoolExecutor(AT_ONCE) as pool:
        missed = [m for m in pool.map(lambda item: play(item[0], *item[1]), faults.items()) if m]
    assert not missed, "\n".join(missed)


def case_Z10_vectors_of_message_ids_are_judged_as_they_say(case):
    """By a running server: the time in each is moved to where the server's clock is."""
    with open(os.path.join(harness.TOP, "tests", "vectors", "ids.json"), encoding="utf-8") as f:
        vectors = json.load(f)
    node = pair(case)
    alice = node.client("alice")
    ahead = alice.login_ok.server_time_ms - int(vectors["server_time_ms"])
    for vector in vectors["ids"]:
        id = bytes.fromhex(vector["hex"])
        if vector["time_ms"] is not None:
            assert int(vector["time_ms"]) == int.from_bytes(id[:6], "big"), vector
            id = (int(vector["time_ms"]) + ahead).to_bytes(6, "big") + id[6:]
        said = "OK"
        try:
            alice.call(SEND, pb.Send(to=b"bob", type=1, body=b"x", client_msg_id=id))
        except ServerError as error:
            said = error.name
        assert said == vector["expect"], (vector, said)
    finish(case, node)


def case_Z10_rules_name_sections_of_the_protocol(case):
    rules = load("rules")
    with open(os.path.join(harness.TOP, "docs", "protocol.md"), encoding="utf-8") as f:
        headings = {line.lstrip("#").strip() for line in f if line.startswith("#")}
    for rule, (section, _) in rules.RULES.items():
        assert not section or section in headings, f"{rule}: no section {section!r}"
    with open(os.path.join(KIT, "scripts.py"), encoding="utf-8") as f:
        text = f.read()
    with open(os.path.join(KIT, "mock.py"), encoding="utf-8") as f:
        text += f.read()
    for name in ("stage.py", "doors.py", "websocket.py"):
        with open(os.path.join(KIT, name), encoding="utf-8") as f:
            text += f.read()
    unused = [rule for rule in rules.RULES if f'"{rule}"' not in text]
    assert not unused, f"nothing can break {unused}"
    caught = {rule for rule, _ in load("tiny").FAULTS.values()}
    without = set(rules.RULES) - caught - rules.ADVICE - {"adapter"}
    assert not without, f"no broken client for {without}"
