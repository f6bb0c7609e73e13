"""Sessions of real programs, listened to with tcpdump and read with client/wireshark/anser.lua."""
import os
import shutil
import subprocess
import sys

import harness
from doors import TlsClient, tls_node, trusting
from doors_json import LineTalk, WebTalk
from doors_web import web, web_node
from harness import Client, Skip, await_that

sys.path.append(os.path.join(harness.TOP, "tests", "client", "wireshark"))
import kit  # noqa: E402

LAST = 0x7e57da7a  # the request number of the last frame of a session


class Tap:
    """tcpdump on the loopback interface, of these ports."""

    def __init__(self, case, path, ports):
        if os.geteuid() != 0:
            raise Skip("to listen needs root")
        if not shutil.which("tcpdump") or not shutil.which("tshark"):
            raise Skip("no tcpdump or no tshark")
        self.path = path
        self.process = subprocess.Popen(
            ["tcpdump", "-i", "lo", "-s", "0", "-U", "-B", "32768", "-Z", "root", "-w", path,
             " or ".join(f"tcp port {port}" for port in ports)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        case.processes.append(self.process)
        line = self.process.stderr.readline()
        while b"listening" not in line:
            if not line:
                raise Skip("tcpdump may not listen here")
            line = self.process.stderr.readline()

    def holds(self, data):
        with open(self.path, "rb") as f:
            return data in f.read()

    def end(self, node):
        """Ends behind a last plain connection whose Goodbye is in the capture."""
        client = Client(node)
        client.send_frame(harness.HEARTBEAT, request=LAST)
        assert client.closing() == "LOGIN_REQUIRED"
        client.close()
        goodbye = harness.HEADER.pack(b"AN", 1, 1, harness.GOODBYE, 0, 0, 0)[:12]
        await_that("the capture holds the end", lambda: self.holds(LAST.to_bytes(4, "big")) and
                   self.holds(goodbye))
        self.process.terminate()
        self.process.wait(20)


def talk(node):
    """What `anser send`, `recv` and `history` say, and what they are refused."""
    node.send("alice", "bob", "你好, bob")
    node.send("alice", "bob", "--type", "4", "a red packet")
    node.send("alice", "nobody", "hello", expect=5)
    assert len(node.recv("bob", 2)) == 2
    node.send("bob", "alice", "hello, alice")
    assert len(node.recv("alice", 1)) == 1
    assert len(node.run("history", "--user", "alice", "--with", "bob").lines) == 3


def talk_over_tls(node, keys):
    """The same commands over TLS, by a program that writes its keys down."""
    context = trusting(node.ca)
    context.keylog_filename = keys
    alice = TlsClient(node, "alice", context, door="tls")
    bob = TlsClient(node, "bob", context, door="tls")
    alice.send("bob", b"secret")
    bob.await_events(1)
    bob.call(harness.CONFIRM, harness.pb.Confirm(
        inbox_seq=1, delivered=[harness.pb.Position(peer=b"alice", seq=1)]))
    alice.await_receipt(1, 1)
    bob.sync()
    bob.history("alice")
    bob.call(harness.HEARTBEAT, harness.pb.Heartbeat())
    alice.call(harness.LOGOUT, harness.pb.Logout())
    alice.close()
    bob.close()


def payload(path, *args):
    """Bytes of the connections that TCP carried."""
    lines = kit.tshark(path, "-T", "fields", "-e", "tcp.len", "-Y",
                       "tcp.len > 0 and not tcp.analysis.retransmission", *args).split()
    return sum(int(line) for line in lines)


def all_named(frames):
    for number, tree in frames:
        assert not kit.complaints(tree), (number, tree.get("showname"), kit.complaints(tree))
        assert kit.uncovered(tree) == 0, (number, tree.get("showname"), kit.uncovered(tree))


def case_Z5_every_byte_of_a_live_session_is_named(case):
    node = case.node()
    node.add_users("alice", "bob")
    tap = Tap(case, os.path.join(case.dir, "live.pcap"), [node.port])
    talk(node)
    client = node.client("alice", device="second")
    client.send("bob", bytes(65536), kind=3)  # over several segments
    for i in range(50):  # and many frames in one
        client.send_frame(harness.SEND, harness.send_body("bob", f"{i}"))
    for request in range(client.next_request - 50, client.next_request):
        client.answer(request, harness.pb.SendOk)
    client.sync()
    client.close()
    tap.end(node)
    # The port is one that nobody knows: found by what frames look like.
    frames = kit.dissected(tap.path)
    all_named(frames)
    assert sum(int(tree.get("size")) for _, tree in frames) == payload(tap.path)
    names = " ".join(tree.get("showname") for _, tree in frames)
    for word in ("Login ", "LoginOk", "Send ", "SendOk", "Send refused", "USER_NOT_FOUND", "Sync ",
                 "SyncOk", "History ", "HistoryOk", "Goodbye LOGIN_REQUIRED"):
        assert word in names, f"no {word} in {names}"
    linked = [tree for _, tree in frames if "anser.time" in kit.values(tree)]
    answers = [tree for _, tree in frames if kit.values(tree)["anser.flags.answer"] == ["1"]]
    assert len(linked) == len(answers) > 50
    node.stop()


def case_Z5_a_session_over_tls_is_named_when_its_keys_are_known(case):
    node = tls_node(case)
    port = node.doors["tls"][1]
    tap = Tap(case, os.path.join(case.dir, "tls.pcap"), [port, node.port])
    keys = os.path.join(case.dir, "keys")
    talk_over_tls(node, keys)
    tap.end(node)
    for known in ([], ["-o", f"anser.tls_ports:{port}"]):  # by looks, by port
        frames = kit.dissected(tap.path, "-o", f"tls.keylog_file:{keys}", *known)
        all_named(frames)
        names = " ".join(tree.get("showname") for _, tree in frames)
        for word in ("Send ", "Event", "Confirm ", "Receipt", "SyncOk", "HeartbeatOk", "LogoutOk"):
            assert word in names, f"no {word} in {names}"
    assert "secret" not in kit.text(tap.path), "read without the keys"
    node.stop()


def case_Z5_websockets_are_named_too(case):
    node = web_node(case)
    tap = Tap(case, os.path.join(case.dir, "web.pcap"), [port for _, port in node.doors.values()])
    keys = os.path.join(case.dir, "keys")
    before = os.environ.get("SSLKEYLOGFILE")
    os.environ["SSLKEYLOGFILE"] = keys  # as a browser takes it
    try:
        alice, bob = web(node, "alice", "ws"), web(node, "bob", "wss")
    finally:
        os.environ.pop("SSLKEYLOGFILE")
        if before is not None:
            os.environ["SSLKEYLOGFILE"] = before
    alice.send("bob", bytes(65536), kind=3)
    bob.await_events(1)
    bob.send("alice", b"back")
    bob.sync()
    alice.history("bob")
    talk_json = WebTalk(node)
    talk_json.login(node, "alice")
    talk_json.ask("Sync", {})
    for client in (alice, bob):
        client.close()
    tap.end(node)
    keyed = ["-o", f"tls.keylog_file:{keys}"]
    frames = kit.dissected(tap.path, *keyed)
    all_named(frames)
    names = [tree.get("showname").split(", ")[1].split(" ")[0] for _, tree in frames]
    assert names.count("Login") == names.count("LoginOk") == 2, names
    for word in ("Send", "SendOk", "Event", "Sync", "SyncOk", "History", "HistoryOk"):
        assert word in names, f"no {word} in {names}"
    said = kit.tshark(tap.path, "-T", "fields", "-e", "json.value.string", "-Y", "json", *keyed)
    assert "Login" in said and "Sync" in said, said
    node.stop()
