"""What a stranger finds on the wire between hosts: with a wrong certificate, with none,
with a recorded conversation. And what two cluster files that disagree can do to data."""
import contextlib
import os
import re
import secrets
import socket
import ssl
import struct
import subprocess
import time

from chaos import CONFIG
from cluster import Cluster
from harness import await_that
from netns import WIRE
from people import People

SP_HELLO = bytes([0, 0x53, 0x50, 0, 0, 0x30, 0, 0])  # NNG's first bytes, of a requester
APPLICATION_DATA = 23  # record type of TLS


def bus_ports(cluster):
    """[(host, port)] that listen between hosts, as the kernel tells."""
    found = []
    for host in cluster.hosts:
        done = subprocess.run([*cluster.wire.prefix(host), "ss", "-Hltn"], check=True,
                              capture_output=True, text=True)
        for line in done.stdout.splitlines():
            address, _, port = line.split()[3].rpartition(":")
            if port != "7400" and address not in ("127.0.0.1", "[::1]"):
                found.append((host, int(port)))
    assert len(found) >= 3, f"no bus ports: {found}"
    return found


def everything(sock, timeout=3.0):
    """What the other side says until it closes, or says nothing for a while."""
    data = b""
    sock.settimeout(timeout)
    with contextlib.suppress(OSError):
        while len(data) < 1 << 20:
            got = sock.recv(65536)
            if not got:
                break
            data += got
    return data


def stranger_keys(case):
    """A certificate of somebody else's authority that names a host of ours."""
    folder = case.new_dir("stranger")
    cert, key = os.path.join(folder, "a.pem"), os.path.join(folder, "a.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=a", "-addext", "subjectAltName=DNS:a"],
                   check=True, capture_output=True)
    return cert, key


def tls_answer(cluster, host, port, cert=None):
    """What comes out of the encrypted connection that a stranger can make; None: none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    if cert:
        context.load_cert_chain(*cert)
    raw = cluster.wire.connect((cluster.wire.address[host], port), 10)
    with contextlib.closing(raw):
        try:
            with context.wrap_socket(raw, server_hostname=host) as s:
                s.sendall(SP_HELLO)
                return everything(s)
        except OSError:  # ssl.SSLError is one
            return None


def records(data):
    """Types of the TLS records in what a server said."""
    found, at = [], 0
    while at + 5 <= len(data):
        found.append(data[at])
        at += 5 + int.from_bytes(data[at + 3:at + 5], "big")
    return found


def case_strangers_get_nothing_from_a_bus_port(case):
    cluster = Cluster(case, "namespaces", config=CONFIG).start()
    cluster.add_users("alice", "bob")
    wrong = stranger_keys(case)
    ports = bus_ports(cluster)
    for host, port in ports:
        with contextlib.closing(cluster.wire.connect((cluster.wire.address[host], port),
                                                     10)) as plain:
            plain.sendall(SP_HELLO)
            said = everything(plain)
        assert APPLICATION_DATA not in records(said) and SP_HELLO[:3] not in said, (port, said)
        for cert in (None, wrong):
            said = tls_answer(cluster, host, port, cert)
            assert not said, (host, port, cert, said)
    # The same question with a certificate of the cluster is answered: the test can fail.
    host, port = ports[0]
    keys = os.path.join(cluster.data, "keys")
    other = next(name for name in cluster.hosts if name != host)
    said = tls_answer(cluster, host, port, (os.path.join(keys, f"{other}.pem"),
                                            os.path.join(keys, f"{other}.key")))
    assert said and said[1:3] == b"SP", said
    cluster.send("alice", "bob", "still here")
    cluster.stop()
    case.check(cluster)


# --- captures


def leave_in_the_handshake(cluster, host, port):
    """With a good certificate: the last bytes of our handshake, then a reset."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    keys = os.path.join(cluster.data, "keys")
    context.load_verify_locations(os.path.join(keys, "ca.pem"))
    context.load_cert_chain(os.path.join(keys, "a.pem"), os.path.join(keys, "a.key"))
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls, flights = context.wrap_bio(heard, said), 0
    with cluster.wire.connect((cluster.wire.address[host], port), 5) as sock:
        while flights < 2:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            if said.pending:
                sock.sendall(said.read())
                flights += 1
            else:
                data = sock.recv(65536)
                assert data, "closed in the handshake"
                heard.write(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def case_who_leaves_in_the_handshake_shuts_no_door(case):
    """As a killed process does. A listener that takes it for its own close would never
    accept again, and its host would be connected to and not answer."""
    cluster = Cluster(case, "namespaces", config=CONFIG).start()
    for host, port in bus_ports(cluster):
        if host == "c":
            for _ in range(100):
                leave_in_the_handshake(cluster, host, port)
    done = cluster.command("cluster", "status", cluster.file, "--host", "a", seat="a",
                           expect=None)
    assert "all is well" in done.out, done
    cluster.stop()
    case.check(cluster)


def packets(path):
    """(source, sport, target, dport, sequence, flags, payload) of TCP over IPv4."""
    with open(path, "rb") as f:
        data = f.read()
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frame = data[at + 16:at + 16 + size]
        at += 16 + size
        if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:]
        head = (ip[0] & 15) * 4
        total = struct.unpack_from(">H", ip, 2)[0]
        sport, dport, sequence = struct.unpack_from(">HHI", ip, head)
        offset = (ip[head + 12] >> 4) * 4
        yield (socket.inet_ntoa(ip[12:16]), sport, socket.inet_ntoa(ip[16:20]), dport, sequence,
               ip[head + 13], ip[head + offset:total])


def streams(path):
    """{(source, sport, target, dport): bytes} of every connection seen from its start."""
    begun, parts = {}, {}
    for source, sport, target, dport, sequence, flags, payload in packets(path):
        key = (source, sport, target, dport)
        if flags & 2:
            begun[key] = sequence + 1
            parts[key] = {}
        elif payload and key in begun:
            parts[key].setdefault((sequence - begun[key]) & 0xffffffff, payload)
    found = {}
    for key, pieces in parts.items():
        data = b""
        for at in sorted(pieces):
            if at <= len(data):
                data = data[:at] + pieces[at] + data[at + len(pieces[at]):]
        found[key] = data
    return found


def case_a_capture_shows_no_body_and_its_replay_gets_nothing(case):
    cluster = Cluster(case, "namespaces", config=CONFIG)
    path = os.path.join(case.dir, "wire.pcap")
    capture = cluster.wire.capture(path, "tcp")
    cluster.start()
    people = People(case, cluster).start()
    secret = secrets.token_hex(20)
    cluster.add_users("alice", "bob", "carol", "dave")
    for one, other in (("alice", "bob"), ("carol", "dave"), ("alice", "dave")):
        reader = cluster.client(other, gate=1)
        cluster.client(one).send(other, secret)
        reader.await_events(1)
    people.finish()
    cluster.wire.end_capture(capture)
    hosts = {address for name, address in cluster.wire.address.items() if name != WIRE}
    between = {key: data for key, data in streams(path).items()
               if key[0] in hosts and key[2] in hosts and 7400 not in (key[1], key[3])}
    clients = [data for key, data in streams(path).items() if 7400 in (key[1], key[3])]
    assert any(secret.encode() in data for data in clients), "the capture saw nothing"
    assert sum(map(len, between.values())) > 20000, "the hosts said nothing"
    for data in between.values():
        assert secret.encode() not in data and b" from p" not in data
    # Every conversation that a host began, said again word for word.
    ports = set(bus_ports(cluster))
    address_of = {address: name for name, address in cluster.wire.address.items()}
    begun = [(key, data) for key, data in between.items()
             if (address_of[key[2]], key[3]) in ports and APPLICATION_DATA in records(data)]
    assert begun, "no conversation to replay"
    before = {actor: stored(cluster, actor) for actor in cluster.stores()}
    for key, data in begun:
        with contextlib.closing(cluster.wire.connect((key[2], key[3]), 10)) as s:
            with contextlib.suppress(OSError):
                s.sendall(data)
            said = everything(s, 1.0)
        assert APPLICATION_DATA not in records(said), (key, records(said))
    assert before == {actor: stored(cluster, actor) for actor in cluster.stores()}
    people.close()
    cluster.stop()
    case.check(cluster)


def stored(cluster, actor):
    return cluster.ask(actor, "stats")["stats"]["store"]["messages_total"]


# --- two files


def case_files_that_name_different_stores_for_a_slot(case):
    """Host a is told that store/1 begins one slot earlier: nobody talks with it, its
    sequencer's slots are taken over, and what is stored stays whole."""
    cluster = Cluster(case, "namespaces", config=CONFIG).start()
    people = People(case, cluster).start()
    cluster.stop_host("a")
    with open(cluster.file, encoding="utf-8") as f:
        text = f.read()
    wrong = os.path.join(cluster.data, "wrong.yaml")
    with open(wrong, "w", encoding="utf-8") as f:
        f.write(re.sub(r"(store/0: .*)0-511", r"\g<1>0-510", re.sub(
            r"(store/1: .*)512-1023", r"\g<1>511-1023", text)))
    right, cluster.file = cluster.file, wrong
    cluster.spawn(["a"])
    cluster.file = right
    await_that("both sides to say why", lambda: all(
        f"{words} has other stores for the slots" in cluster.stderr()
        for words in ("request refused: gate/0", "refused by the one asked: store/1")), 40)
    people.await_flow(time.monotonic())
    assert not cluster.takes_logins(0), "a gate with another map takes logins"
    cluster.stop_host("a")
    cluster.spawn(["a"])
    cluster.await_ready()
    people.finish()
    people.verify()
    people.close()
    cluster.stop()
    case.check(cluster)


def owners_of(cluster):
    """{slot: the sequencers that say they own it}."""
    found = {}
    for sequencer in ("sequencer/0", "sequencer/1"):
        for part in cluster.ask(sequencer, "slots")["ranges"]:
            if part["state"] == "owned":
                for slot in range(part["first"], part["last"] + 1):
                    found.setdefault(slot, []).append(sequencer)
    return found


def case_files_that_name_different_sequencers_for_a_slot(case):
    """Host a is told that all slots but one are its sequencer's. The claims decide: of two
    owners the one that did not claim last is refused by the store, says so, and everybody
    follows. With the right file the slots go back."""
    cluster = Cluster(case, "namespaces", config=CONFIG).start()
    people = People(case, cluster).start()
    right = owners_of(cluster)
    assert {tuple(names) for names in right.values()} == {("sequencer/0",), ("sequencer/1",)}
    with open(cluster.file, encoding="utf-8") as f:
        text = f.read()
    wrong = os.path.join(cluster.data, "wrong.yaml")
    with open(wrong, "w", encoding="utf-8") as f:
        f.write(re.sub(r"(sequencer/0: .*?)0-511", r"\g<1>0-1022", re.sub(
            r"(sequencer/1: .*?)512-1023", r"\g<1>1023", text)))
    good = cluster.file

    def host_a_with(file):
        cluster.stop_host("a")
        cluster.file = file
        cluster.spawn(["a"])
        cluster.file = good
        cluster.await_ready()
        people.await_flow(time.monotonic())

    host_a_with(wrong)
    await_that("sequencer/1 to say that it lost slots", lambda: re.search(
        r"sequencer/1 .*slots lost", cluster.stderr()))
    await_that("one owner for each slot", lambda: sorted(owners_of(cluster).items()) == [
        (slot, ["sequencer/1" if slot == 1023 else "sequencer/0"]) for slot in range(1024)])
    host_a_with(good)
    cluster.stop_host("b")
    cluster.spawn(["b"])
    cluster.await_ready()
    people.await_flow(time.monotonic())
    await_that("the slots to be where they were", lambda: owners_of(cluster) == right)
    people.finish()
    people.verify()
    people.close()
    cluster.stop()
    case.check(cluster)


def case_store_does_not_open_another_slots_data(case):
    cluster = Cluster(case, "five", config=CONFIG).start()
    cluster.add_users("alice", "bob")
    cluster.send("alice", "bob", "hello")
    cluster.stop()
    with open(cluster.file, encoding="utf-8") as f:
        text = f.read()
    other = text.replace(f"cluster: {cluster.name}", "cluster: another")
    less = text.replace("store/0:     {host: here, slots: 0-1023", "store/0:     {host: here, "
                        "slots: 0-511").replace("  idgen/0:", "  store/1:     {host: here, slots: "
                                                "512-1023, data: data/1}\n  idgen/0:")
    for wrong in (other, less):
        assert wrong != text
        path = os.path.join(cluster.data, "wrong.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(wrong)
        done = cluster.command("run", "store/0", "--cluster", path, expect=None, timeout=30)
        assert done.code not in (0, None) and done.err, done
    cluster.start()
    assert [e.message.body for e in cluster.client("bob").sync()] == [b"hello"]
    cluster.stop()
    case.check(cluster)
