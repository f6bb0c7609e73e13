"""The TLS doors under testssl.sh, with the test CA among those it believes: nothing that it
finds may be above LOW. Minutes long: with --long only."""
import json
import os
import shutil
import subprocess

from doors_web import web_node
from harness import Skip
from scenario import finish

FINE = ("OK", "INFO", "LOW", "DEBUG")
# What is of the test's surroundings, and not of the door's.
OURS = {
    "cert_revocation": "the test CA has no revocation list",
    "engine_problem": "the tool's openssl has no GOST",
    "HTTP_status_code": "426: a door of WebSockets has no page",
}


def case_Y1_testssl_finds_nothing_above_low(case):
    if not case.long:
        raise Skip("minutes long: with --long")
    if shutil.which("testssl") is None:
        raise Skip("no testssl")
    node = web_node(case, start=False)
    node.ca.sign("server", days="200")
    node.start()
    node.add_users("alice", "bob")
    for door in ("tls", "wss"):
        out = os.path.join(case.dir, f"{door}.json")
        done = subprocess.run(
            ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none",
             "--add-ca", node.ca.pem, "--jsonfile", out, f"localhost:{node.doors[door][1]}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=1500, check=False)
        with open(out, encoding="utf-8") as f:
            found = json.load(f)
        names = {each["id"] for each in found}
        for needed in ("TLS1", "TLS1_3", "heartbleed", "ROBOT", "BEAST", "cert_chain_of_trust"):
            assert needed in names, f"{door}: {needed} was not looked at\n{done.stdout[-3000:]}"
        bad = [each for each in found if each["severity"] not in FINE and each["id"] not in OURS]
        for each in found:
            if each["severity"] not in ("OK", "INFO", "DEBUG"):
                print(f"     {door}: {each['severity']} {each['id']}: {each['finding']}")
        assert not bad, "\n".join(f"{door}: {each}" for each in bad)
    node.client("bob").send("alice", b"still here")
    finish(case, node)
