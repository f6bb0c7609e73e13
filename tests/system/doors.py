"""TLS on the client port: who gets in, who does not and is told why, and what a reload does
to those who are there."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

from certs import Ca
from cluster import free_port
from features_sdk import Sdk
from harness import Client, Closed, Skip, await_that
from scenario import finish

BOTH = "tcp://127.0.0.1:0,tls://127.0.0.1:0"


class TlsClient(Client):
    """The protocol client over TLS; keeps what it needs to resume."""

    def __init__(self, node, user=None, context=None, session=None, **how):
        self.context, self.resume = context, session
        super().__init__(node, user, **how)

    def wrap(self, raw):
        return self.context.wrap_socket(raw, server_hostname="localhost", session=self.resume)

    def fill(self, timeout):
        """What is decrypted already, the socket does not show."""
        if self.socket.pending():
            self.buffer += self.socket.recv(262144)
            return True
        return super().fill(timeout)


def trusting(ca, version=None, cert=None):
    context = ssl.create_default_context(cafile=ca.pem)
    if version:
        context.minimum_version = context.maximum_version = version
    if cert:
        context.load_cert_chain(*cert)
    return context


def tls_node(case, more="", people=("alice", "bob"), listen=BOTH, start=True):
    """A node with a plain and a TLS door; node.ca made its certificate."""
    folder = os.path.join(case.dir, "certs")
    ca = Ca(folder)
    ca.sign("server")
    config = (f"gate: {{tls_cert: {folder}/server.pem, tls_key: {folder}/server.key, "
              f"{more}}}\n")
    node = case.new_node(config=config)
    node.listen = listen
    node.ca, node.certs = ca, folder
    if start:
        node.start()
        node.add_users(*people)
    return node


def case_Y1_a_key_that_others_may_read_is_said(case):
    node = tls_node(case, start=False)
    key = os.path.join(node.certs, "server.key")
    for mode, said in ((0o600, False), (0o640, True)):
        os.chmod(key, mode)
        node.start()
        assert (f"{key} is open to others (mode 640)" in node.stderr()) == said, node.stderr()
        node.stop()


def tls(node, user=None, context=None, **how):
    client = TlsClient(node, user, context or trusting(node.ca), door="tls", **how)
    return client


def url(node, host="127.0.0.1"):
    return f"tls://{host}:{node.doors['tls'][1]}"


def s_client(node, *args, stdin=b"Q\n", expect=0):
    """Output of openssl s_client against the TLS door."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{node.doors['tls'][1]}", "-CAfile",
         node.ca.pem, *args], input=stdin, capture_output=True, timeout=20, check=False)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert expect is None or (done.returncode == 0) == (expect == 0), text
    return text


def raw(node, door="tls"):
    s = socket.create_connection(node.doors[door], timeout=20)
    node.case.sockets.append(s)
    return s


def ended(s, timeout=20):
    """Reads to the end; what came."""
    s.settimeout(timeout)
    got = b""
    try:
        while True:
            data = s.recv(65536)
            if not data:
                return got
            got += data
    except ConnectionResetError:
        return got


def still_serves(node):
    client = tls(node, "alice", device="probe")
    client.send("bob", b"still here")
    client.close()


def only_the_newest_stay(silent, room):
    """Connections in the order they were made: all end but so many, and the last is open."""
    for s in silent[:-room]:
        assert ended(s, 10) == b""
    silent[-1].settimeout(0.2)
    try:
        assert silent[-1].recv(1) != b"", "the newest was closed"
    except socket.timeout:
        pass


def library_goes_through(case, node, address, env, meanwhile=lambda: None):
    """Messages both ways, a restart in between; meanwhile() while the node is down."""
    alice = Sdk(case, node, "alice", url=address, env=env)
    bob = Sdk(case, node, "bob", url=address, env=env)
    alice.say("bob", *[f"message-{i}" for i in range(200)])
    bob.until("200 messages", lambda lines: len(bob.messages()) == 200)
    node.stop()
    meanwhile()
    node.listen = f"tcp://127.0.0.1:0,{address}"
    node.start()
    alice.say("bob", "after the restart")
    bob.until("the last message", lambda lines: len(bob.messages()) == 201)
    alice.close()
    bob.close()


# --- who gets in


def case_Y1_messages_pass_over_tls_1_2_and_1_3(case):
    node = tls_node(case)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        alice = tls(node, "alice", trusting(node.ca, version), device=version.name)
        bob = tls(node, "bob", trusting(node.ca, version), device=version.name)
        count = len(bob.events)
        for size in (1, 16384, 65536):  # in one record, at its edge, in several
            alice.send("bob", bytes(size), kind=3)
        got = bob.await_events(count + 3)
        assert [len(e.message.body) for e in got[-3:]] == [1, 16384, 65536]
        alice.close()
        bob.close()
    # A plain client and one over TLS are in one conversation.
    plain = node.client("bob", device="plain")
    alice = tls(node, "alice")
    alice.send("bob", b"mixed")
    assert plain.await_events(1)[-1].message.body == b"mixed"
    finish(case, node)


def case_Y1_old_versions_and_weak_ciphers_are_refused(case):
    node = tls_node(case)
    for option in ("-tls1", "-tls1_1"):
        text = s_client(node, option, "-cipher", "ALL:@SECLEVEL=0", expect=1)
        assert "alert protocol version" in text, text
    for cipher in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384",
                   "eNULL", "aNULL", "DHE-RSA-AES128-GCM-SHA256"):
        text = s_client(node, "-tls1_2", "-cipher", cipher + ":@SECLEVEL=0", expect=1)
        assert "handshake failure" in text or "no ciphers" in text, text
    for good in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        assert f"Cipher is {good}" in s_client(node, "-tls1_2", "-cipher", good)
    text = s_client(node, "-tls1_2", stdin=b"R\nQ\n", expect=None)
    assert "no renegotiation" in text or "RENEGOTIATING" in text, text
    assert "Compression: NONE" in s_client(node, "-tls1_2", "-comp")
    still_serves(node)
    finish(case, node)


def case_Y1_sessions_are_resumed(case):
    node = tls_node(case)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(node.ca, version)
        first = tls(node, "alice", context)
        session = first.socket.session
        first.close()
        second = tls(node, "alice", context, session=session)
        assert second.socket.session_reused, version
        second.close()
    # Not behind a reload: its tickets have another key.
    node.process.send_signal(signal.SIGHUP)
    await_that("the reload", lambda: "certificates read again" in node.stderr())
    third = tls(node, "alice", context, session=session)
    assert not third.socket.session_reused
    third.close()
    s_client(node, "-tls1_1", expect=1)
    metrics = node.metrics()
    counted = {name: metrics[f"anser_gate_{name}_total"]
               for name in ("tls_full", "tls_resumed", "handshakes_failed", "handshakes_late")}
    assert list(counted.values()) == [3, 2, 1, 0], counted
    assert metrics["anser_gate_handshakes"] == 0, metrics
    finish(case, node)


def case_Y1_many_clients_of_one_program_share_their_sessions(case):
    """The load generator's logins, 64 at once: after the first of them all are resumed."""
    node = tls_node(case, listen="tls://127.0.0.1:0")
    done = node.run("bench", "--logins", "1000", "--users", "64", "--json",
                    env={"ANSER_CA": node.ca.pem})
    assert json.loads(done.out)["logins"] == 1000, done
    metrics = node.metrics()
    full, resumed = (metrics[f"anser_gate_tls_{how}_total"] for how in ("full", "resumed"))
    print(f"     {full} in full, {resumed} resumed")
    assert full + resumed == 1000 and full <= 128, (full, resumed)
    finish(case, node)


def case_Y1_client_certificates(case):
    """With tls_client_ca only those that show a certificate of it get in; in words that
    both sides see."""
    folder = os.path.join(case.dir, "certs")
    node = tls_node(case, f"tls_client_ca: {folder}/ca.pem")
    mine, stranger = node.ca.sign("phone"), Ca(folder, "other").sign("thief")
    assert tls(node, "alice", trusting(node.ca, cert=mine)).login_ok.user == b"alice"
    for cert in (None, stranger):
        try:
            tls(node, "alice", trusting(node.ca, cert=cert))
            raise AssertionError(f"let in with {cert}")
        except (ssl.SSLError, ConnectionError, Closed):
            pass
    await_that("the line of the log", lambda: "TLS with a client failed" in node.stderr())
    done = node.run("send", "--server", url(node), "--token", node.token("alice"), "--to",
                    "bob", "hi", "--ca", node.ca.pem, data=False, expect=3)
    assert "certificate required" in done.err, done
    node.run("send", "--server", url(node), "--token", node.token("alice"), "--to", "bob",
             "hi", "--ca", node.ca.pem, "--cert", mine[0], "--key", mine[1], data=False)
    finish(case, node)


def case_Y1_no_key_log_whatever_the_environment_says(case):
    """SSLKEYLOGFILE opens no connection of the server's, nor of our commands."""
    keys = os.path.join(case.dir, "keys")
    node = tls_node(case, start=False)
    node.env = dict(node.env, SSLKEYLOGFILE=keys)
    node.start()
    node.add_users("alice", "bob")
    node.run("send", "--server", url(node), "--token", node.token("alice"), "--to", "bob", "hi",
             "--ca", node.ca.pem, data=False)
    assert not os.path.exists(keys), "keys were written"
    # The variable does what it should to those who heed it.
    done = subprocess.run(
        ["/usr/bin/python3", "-c", "import ssl, socket, sys\n"
         "c = ssl.create_default_context(cafile=sys.argv[1])\n"
         "c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2]))), "
         "server_hostname='localhost')", node.ca.pem, str(node.doors["tls"][1])],
        env=node.env, check=True, capture_output=True, timeout=20)
    assert os.path.getsize(keys) > 0, done
    finish(case, node)


# --- what our own client says


def send_over(node, *more, host="127.0.0.1", expect=0):
    return node.run("send", "--server", url(node, host), "--token", node.token("alice"),
                    "--to", "bob", "hi", *more, data=False, expect=expect)


def case_Y1_the_client_says_why_it_does_not_believe(case):
    node = tls_node(case)
    other = Ca(node.certs, "other")
    send_over(node, "--ca", node.ca.pem)
    send_over(node, "--ca", node.ca.pem, host="localhost")
    done = send_over(node, "--ca", other.pem, expect=3)
    assert "unable to get local issuer certificate" in done.err, done
    done = send_over(node, expect=3)  # whom the system believes
    assert "unable to get local issuer certificate" in done.err, done
    done = send_over(node, "--ca", os.path.join(case.dir, "none.pem"), expect=None)
    assert "none.pem: No such file" in done.err and done.code != 0, done
    done = send_over(node, "--ca", node.certs + "/server.key", expect=3)
    assert "server.key" in done.err, done
    node.ca.sign("elsewhere", san="DNS:chat.example.com", to="server")
    node.process.send_signal(signal.SIGHUP)
    await_that("the reload", lambda: "certificates read again" in node.stderr())
    done = send_over(node, "--ca", node.ca.pem, expect=3)
    assert "IP address mismatch" in done.err, done
    done = send_over(node, "--ca", node.ca.pem, host="localhost", expect=3)
    assert "ostname mismatch" in done.err, done
    node.ca.sign("server", days="-1")
    node.process.send_signal(signal.SIGHUP)
    await_that("the warning", lambda: "expired on 2021-01-01" in node.stderr())
    done = send_over(node, "--ca", node.ca.pem, expect=3)
    assert "certificate has expired" in done.err, done
    finish(case, node)


def case_Y1_plain_beyond_loopback_needs_a_word(case):
    node = case.new_node()
    for listen in ("tcp://0.0.0.0:0", "tcp://[::]:0", "ws://0.0.0.0:0"):
        done = node.run("up", "--listen", listen, expect=8)
        assert listen in done.err and "gate.plain: anywhere" in done.err, done
        assert not os.path.exists(os.path.join(node.data, "node.json")), "made something"
    done = node.run("up", "--listen", "tls://0.0.0.0:0", expect=8)
    assert "gate.tls_cert" in done.err, done
    node.listen = "tcp://0.0.0.0:0"
    node.args = ["--plain"]
    node.start()
    node.add_users("alice", "bob")
    node.send("alice", "bob", "hi")
    finish(case, node)


def case_Y1_every_bad_file_is_named(case):
    folder = os.path.join(case.dir, "certs")
    ca, other = Ca(folder), Ca(folder, "other")
    cert, key = ca.sign("server")
    other_key = other.sign("thief")[1]
    junk = os.path.join(folder, "junk")
    with open(junk, "w", encoding="utf-8") as f:
        f.write("no PEM\n")
    for pair, named in (((f"{folder}/none", key), "tls_cert: " + f"{folder}/none: No such file"),
                        ((cert, f"{folder}/none"), f"tls_key: {folder}/none: No such file"),
                        ((junk, key), f"tls_cert: {junk}: "), ((cert, junk), f"tls_key: {junk}: "),
                        ((cert, other_key), f"tls_key: {other_key}: key values mismatch"),
                        ((cert, key, junk), f"tls_client_ca: {junk}: "),
                        ((cert, key, folder + "/no"), f"tls_client_ca: {folder}/no: No such")):
        keys = ("tls_cert", "tls_key", "tls_client_ca")
        text = ", ".join(f"{k}: {v}" for k, v in zip(keys, pair))
        node = case.new_node(config=f"gate: {{{text}}}\n")
        done = node.run("up", "--listen", "tls://127.0.0.1:0", *node.args, expect=8)
        assert named in done.err, (named, done)


# --- reload


def case_Y1_reload_under_load_drops_nobody(case):
    """New connections meet the new certificate while old ones go on, by signal and by word;
    a broken file changes nothing."""
    node = tls_node(case)
    alice, bob = tls(node, "alice"), tls(node, "bob")
    stop, sent, errors = threading.Event(), [], []

    def load():
        try:
            while not stop.is_set():
                alice.send("bob", b"%d" % len(sent))
                sent.append(1)
        except Exception as error:  # judged below
            errors.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    serials = set()
    for i in range(10):
        before = len(sent)
        node.ca.sign("server")
        if i % 2 == 0:
            node.process.send_signal(signal.SIGHUP)
            await_that("the reload",
                       lambda n=i: node.stderr().count("certificates read again") == n // 2 + 1)
        else:
            told = ask(node, "gate/0 reload")
            assert '"reloaded":true' in told, told
        raw_tls = trusting(node.ca).wrap_socket(raw(node), server_hostname="localhost")
        serials.add(raw_tls.getpeercert()["serialNumber"])
        await_that("messages to go on", lambda n=before: len(sent) > n + 10 or errors)
    assert len(serials) == 10, serials
    with open(f"{node.certs}/server.pem", "w", encoding="utf-8") as f:
        f.write("half a fi")
    assert '"reloaded":false,"error":"gate.tls_cert: ' in ask(node, "gate/0 reload")
    node.process.send_signal(signal.SIGHUP)
    await_that("the error", lambda: "the old certificate stays" in node.stderr())
    still_serves(node)
    stop.set()
    thread.join(20)
    assert not errors, errors
    bob.await_events(len(sent))
    finish(case, node)


def case_Y1_reload_reaches_the_gates_of_a_cluster(case):
    """SIGHUP to `anser cluster up`; files named by host, beside the cluster file."""
    case.shape = "five"
    node = case.new_node(config="gate: {tls_cert: certs/%h.pem, tls_key: certs/%h.key}")
    folder = os.path.join(os.path.dirname(node.file), "certs")
    node.ca, host = Ca(folder), node.seat
    node.ca.sign(host)
    port = free_port()
    with open(node.file, encoding="utf-8") as f:
        text = f.read()
    with open(node.file, "w", encoding="utf-8") as f:
        f.write(re.sub(r"listen: \[([^\]]+)\]", rf'listen: [\1, "tls://127.0.0.1:{port}"]', text))
    node.start()
    node.doors = {"tls": ("127.0.0.1", port)}

    def serial():
        with trusting(node.ca).wrap_socket(raw(node), server_hostname="localhost") as s:
            return s.getpeercert()["serialNumber"]

    before = serial()
    node.ca.sign(host)
    node.hosts[host].up.send_signal(signal.SIGHUP)
    await_that("the reload", lambda: "certificates read again" in node.stderr())
    await_that("the new certificate", lambda: serial() != before)
    finish(case, node)


def ask(node, words):
    with open(os.path.join(node.data, "node.json"), encoding="utf-8") as f:
        control = json.load(f)["control"]
    done = subprocess.run(["nngcat", "--req", "--dial", control, "--data", words, "--ascii",
                           "--recv-timeout", "10"], capture_output=True, check=False, timeout=20)
    return done.stdout.decode()


# --- those who do not want to talk


def case_Y1_garbage_and_plain_protocol_on_the_tls_port(case):
    node = tls_node(case)
    good = tls(node, "alice")
    for junk in (b"AN\x01\x01" + bytes(12), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 64,
                 b"\x16\x03\x01\xff\xff" + b"x" * 40000, b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
                 os.urandom(5000)):
        s = raw(node)
        s.sendall(junk)
        try:
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        ended(s)
    # In the middle of a session: a record that was changed on its way ends it.
    victim = trusting(node.ca).wrap_socket(raw(node), server_hostname="localhost")
    os.write(victim.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
    try:
        assert victim.recv(100) == b""
    except ssl.SSLError as error:
        assert "MAC" in str(error) or "ALERT" in str(error).upper(), error
    good.send("bob", b"unharmed")
    still_serves(node)
    finish(case, node)


def case_Y1_slow_handshakes_end_in_time(case):
    """Silent, or a byte at a time: none lasts longer than handshake_ms, and others are served
    meanwhile."""
    node = tls_node(case, "handshake_ms: 1000")
    began = time.monotonic()
    silent = [raw(node) for _ in range(50)]
    dripping = raw(node)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    for i in range(5):
        dripping.sendall(hello[i:i + 1])
        still_serves(node)
    for s in silent + [dripping]:
        ended(s, 10)
    spent = time.monotonic() - began
    assert 0.9 < spent < 6, spent
    still_serves(node)
    finish(case, node)


def case_Y1_many_handshakes_at_once_push_out_the_oldest(case):
    node = tls_node(case, "handshakes_max: 8, handshake_ms: 60000")
    silent = [raw(node) for _ in range(40)]
    still_serves(node)
    only_the_newest_stay(silent, 8)
    finish(case, node)


# --- the library, and what it costs


def case_Y1_library_over_tls(case):
    """The same program as over TCP: messages both ways, a restart in between, a certificate
    that is exchanged meanwhile."""
    node = tls_node(case)
    library_goes_through(case, node, url(node), {"ANSER_CA": node.ca.pem},
                         meanwhile=lambda: node.ca.sign("server"))
    finish(case, node)


def case_Y1_idle_connection_over_tls_is_small(case):
    """User memory of a logged-in connection that says nothing: at most 16 KiB."""
    node = tls_node(case, "user_logins_per_s: 0")
    if "asan" in case.build:
        raise Skip("a sanitizer's memory is not ours")
    context = trusting(node.ca)
    tokens = node.token("alice")
    warm = [tls(node, "alice", context, device=f"w{i}", send_only=True, token=tokens)
            for i in range(50)]
    before, count = resident(node), 400
    idle = [tls(node, "alice", context, device=f"d{i}", send_only=True, token=tokens)
            for i in range(count)]
    each = (resident(node) - before) / count
    print(f"     {each / 1024:.1f} KiB a connection")
    assert each <= 16 * 1024, each
    assert len(warm) + len(idle) == count + 50
    finish(case, node)


def resident(node):
    with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")
