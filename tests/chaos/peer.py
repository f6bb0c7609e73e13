"""The same question to another server: mosquitto (Debian's package), persistence on. Kills
under load, at every moment; how many of the messages whose PUBACK had left are gone
afterwards? A harness that finds nothing wrong with anybody would be worth nothing. A peer's
promises are its own: MQTT lets a broker that restarts forget (its documentation says how
often it saves), and nothing here is a fault of it.

Only in the long form, and only where the package is."""
import os
import random
import shutil
import socket
import struct
import subprocess
import time

from harness import Skip, await_that, readable
from cluster import free_port

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
CONFIG = """listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_queued_messages 0
max_inflight_messages 0
user root
{more}
"""
SETTINGS = {
    "saved every 1,800 s, the default": "",
    "saved every second": "autosave_interval 1",
    "saved on every change": "autosave_on_changes true\nautosave_interval 1",
}
WINDOW = 16


def length_of(count):
    out = b""
    while True:
        count, low = divmod(count, 128)
        out += bytes([low | (0x80 if count else 0)])
        if not count:
            return out


def text(value):
    return struct.pack(">H", len(value)) + value


class Mqtt:
    """MQTT 3.1.1 in a page: QoS 1, a session that stays."""

    def __init__(self, port, name):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.send(CONNECT, 0, text(b"MQTT") + bytes([4, 0]) + struct.pack(">H", 0) + text(name))
        assert self.packet(10)[0] == CONNACK

    def send(self, kind, flags, body):
        self.socket.sendall(bytes([kind << 4 | flags]) + length_of(len(body)) + body)

    def packet(self, timeout):
        """(kind, body), or None when none comes; EOFError at the end."""
        end = time.monotonic() + timeout
        while True:
            found = self._take()
            if found:
                return found
            left = end - time.monotonic()
            if left < 0 or not readable(self.socket, left):
                return None
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError
            self.buffer += data

    def _take(self):
        size, shift = 0, 0
        for at, byte in enumerate(self.buffer[1:5], 2):
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                if len(self.buffer) < at + size:
                    return None
                found = self.buffer[0] >> 4, self.buffer[at:at + size]
                self.buffer = self.buffer[at + size:]
                return found
        return None

    def subscribe(self, topic):
        self.send(SUBSCRIBE, 2, struct.pack(">H", 1) + text(topic) + b"\1")
        assert self.packet(10)[0] == SUBACK

    def publish(self, topic, number, body):
        self.send(PUBLISH, 2, text(topic) + struct.pack(">H", number) + body)

    def take_all(self):
        """Every message of the session; each is confirmed."""
        found = []
        while (got := self.packet(1.0)) is not None:
            kind, body = got
            if kind == PUBLISH:
                at = 2 + int.from_bytes(body[:2], "big")
                found.append(body[at + 2:])
                self.send(PUBACK, 0, body[at:at + 2])
        return found


class Broker:
    def __init__(self, case, more):
        self.case, self.port = case, free_port()
        folder = case.new_dir("mosquitto")
        self.file = os.path.join(folder, "mosquitto.conf")
        with open(self.file, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(port=self.port, folder=folder, more=more))

    def start(self):
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        self.process = subprocess.Popen([program, "-c", self.file], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.case.processes.append(self.process)
        await_that("mosquitto to listen", self.listens)
        return self

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def kill(self):
        self.process.kill()
        self.process.wait(20)


def round_of(broker, rng, number):
    """(acked, lost) of one kill under load."""
    reader = Mqtt(broker.port, b"bob")
    reader.subscribe(b"to/bob")
    reader.take_all()  # what an earlier round left
    reader.socket.close()
    writer, sent, acked = Mqtt(broker.port, b"alice"), {}, set()
    end = time.monotonic() + rng.uniform(0.3, 1.5)
    count = 0
    try:
        while True:
            while count - len(acked) < WINDOW and time.monotonic() < end:
                count += 1
                body = b"%d %d" % (number, count)
                sent[count % 65535 + 1] = body
                writer.publish(b"to/bob", count % 65535 + 1, body)
            if time.monotonic() >= end:
                broker.kill()  # with some unanswered
                end = float("inf")
            got = writer.packet(5)
            if got and got[0] == PUBACK:
                acked.add(sent[int.from_bytes(got[1][:2], "big")])
    except (EOFError, OSError):
        pass
    broker.start()
    there = set(Mqtt(broker.port, b"bob").take_all())
    return len(acked), len(acked - there)


def case_mosquitto_under_the_same_kills(case):
    if not case.long:
        raise Skip("only with --long")
    if not shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin"):
        raise Skip("no mosquitto; apt-get install mosquitto")
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    found = 0
    for what, more in SETTINGS.items():
        acks = lost = 0
        kills = case.rounds or 5
        for number in range(kills):
            broker = Broker(case, more).start()
            acked, gone = round_of(broker, rng, number)
            broker.kill()
            acks, lost = acks + acked, lost + gone
        print(f"     mosquitto, {what}: acked lost: {lost} of {acks}, kills {kills}", flush=True)
        found += lost
    assert found, f"nothing was lost, seed {seed}: the harness saw no kill"
