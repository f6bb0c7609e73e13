"""Everybody with everybody: the C library, the Python client and clients that speak JSON, at
every door they have, in both directions. One table; a cell is one message, from the end at its
left to the end at its head."""
import os
import subprocess
import sys
import time

import client_js
import harness
from doors import tls_node
from doors_json import new_id, talk_to
from doors_noise import channel_for
from features_sdk import Sdk
from scenario import finish

ADAPTERS = {"Python": ("/usr/bin/python3", os.path.join(
    harness.TOP, "client", "conformance", "adapters", "python_client.py")),
            "JavaScript": ("node", client_js.ADAPTER)}
WAIT_S = 60.0
ENDS = (  # client, door, form
    ("C", "tcp", "protobuf"), ("C", "tls", "protobuf"),
    ("Python", "tcp", "protobuf"), ("Python", "tls", "protobuf"),
    ("Python", "ws", "protobuf"), ("Python", "wss", "protobuf"),
    ("hand", "tcp", "JSON"), ("hand", "tls", "JSON"),
    ("hand", "ws", "JSON"), ("hand", "wss", "JSON"),
)
# Where what they need is installed.
NOISE = (("C", "noise", "protobuf"), ("Python", "noise", "protobuf"), ("hand", "noise", "JSON"))
SCRIPT = (("JavaScript", "ws", "protobuf"), ("JavaScript", "wss", "protobuf"))
DOORS = ("tcp", "tls", "noise", "ws", "wss")


def name(end):
    return "-".join(end)


class Program:
    """A client behind the adapter's lines (client/conformance/README.md)."""

    def __init__(self, case, node, end, user):
        client, door, _ = end
        host = "localhost" if door in ("tls", "wss") else "127.0.0.1"
        url = f"{door}://{host}:{node.doors[door][1]}"
        if client == "C":
            self.lines = Sdk(case, node, user, url=url, device=name(end),
                             env={"ANSER_CA": node.ca.pem, "ANSER_SERVER_KEY": node.noise})
            return
        process = subprocess.Popen(
            [*ADAPTERS[client], url, case.token(node, user), name(end), "-", "15000", "16"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, cwd=case.dir,
            env=dict(os.environ, SSL_CERT_FILE=node.ca.pem, NODE_EXTRA_CA_CERTS=node.ca.pem,
                     ANSER_SERVER_KEY=node.noise, PYTHONDONTWRITEBYTECODE="1"))
        case.processes.append(process)
        self.lines = Sdk.__new__(Sdk)  # its lines, of another program
        super(Sdk, self.lines).__init__(process)

    def ready(self):
        self.lines.until("online", lambda seen: any(s.startswith("state ONLINE") for s in seen),
                         WAIT_S)

    def send(self, to, text):
        before = len(self.lines.of("send"))
        self.lines.say(to, text)
        self.lines.until("sent", lambda seen: any(
            " SENT " in s for s in self.lines.of("send")[before:]), WAIT_S)

    def got(self, sender, count):
        """The texts of this sender, in order, once there are so many."""
        def heard():
            words = [line.split(" ", 2) for line in self.lines.of("message")]
            return [text for _, who, text in words if who == sender]
        self.lines.until(f"{count} of {sender}", lambda seen: len(heard()) >= count, WAIT_S)
        return heard()

    def end(self):
        self.lines.close()


class Hand:
    """A client that speaks JSON, without a library."""

    def __init__(self, _, node, end, user):
        self.talk, self.node, self.user, self.end_ = talk_to(node, end[1]), node, user, end
        self.heard = []

    def ready(self):
        self.talk.login(self.node, self.user, name(self.end_))

    def take(self):
        heard = self.talk.hear()
        if heard.get("push") == "Event":
            message = heard["body"]["message"]
            self.heard.append((message["from"], message["body"]))
        return heard

    def send(self, to, text):
        number = self.talk.say("Send", {"to": to, "type": 1, "body": text,
                                        "client_msg_id": new_id()})
        while (heard := self.take()).get("request") != number:
            pass
        assert heard.get("answer") == "Send", heard

    def got(self, sender, count):
        end = time.monotonic() + WAIT_S
        while len(found := [text for who, text in self.heard if who == sender]) < count:
            assert time.monotonic() < end, self.heard
            self.take()
        return found

    def end(self):
        number = self.talk.say("Logout")
        while self.take().get("request") != number:
            pass


def case_Z10_every_client_at_every_door_with_every_other(case):
    node = tls_node(case, listen=",".join(f"{door}://127.0.0.1:0" for door in DOORS))
    node.noise = node.run("noise", "key").out.strip()
    ends = ENDS
    for more, ready in ((NOISE, lambda: channel_for(node.noise)), (SCRIPT, client_js.built)):
        try:
            ready()
            ends += more
        except (harness.Skip, AssertionError) as why:  # npm may have no network
            print(f"     without {name(more[0])}: {str(why).splitlines()[0]}")
    rooms = {user: {end: (Hand if end[0] == "hand" else Program)(case, node, end, user)
                    for end in ends} for user in ("alice", "bob")}
    for room in rooms.values():
        for client in room.values():
            client.ready()
    wrong = []
    for here, there in (("alice", "bob"), ("bob", "alice")):
        said = []
        for end, client in rooms[here].items():
            said.append(f"{name(end)} 你好")
            client.send(there, said[-1])
        for end, client in rooms[there].items():
            got = client.got(here, len(said))
            if got != said:
                wrong.append(f"{here} -> {there} {name(end)}: {got}")
    assert not wrong, "\n".join(wrong)
    print(f"     {len(ends)} clients of each side: {2 * len(ends) ** 2} messages as in the table")
    for room in rooms.values():
        for client in room.values():
            client.end()
    finish(case, node)
