"""What every system test stands on: a real `anser up` in a fresh directory, the command
line, and a client of the protocol in a hundred lines (docs/protocol.md is its only source).

Nothing here sleeps: it waits for a line, a socket or the end of a process, each with a
timeout. `await_that` looks again and again at a condition of another process that offers
nothing to wait for (a file, a counter)."""
import importlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
READY = re.compile(r"^anser ready ((?:(?:tcp|tls|noise|ws|wss|https?)://\S+ )+)data=(.*)$")
ADDRESS = re.compile(r"^(\w+)://(\[[^\]]+\]|[^:]+):(\d+)$")
BODY_MAX = 65536

# proto/frame.h
LOGIN, LOGOUT, HEARTBEAT, SEND, CONFIRM, SYNC, HISTORY = 1, 2, 3, 4, 5, 6, 7
EVENT, RECEIPT, GOODBYE = 64, 65, 66
ANSWER, ERROR = 1, 2
HEADER = struct.Struct(">2sBBHHII")
RECEIPT_DELIVERED, RECEIPT_STORED = 1, 2

# core/err.h: exit codes of the command line
EXIT = {"ok": 0, "usage": 2, "auth": 3, "permission": 4, "not found": 5, "conflict": 6,
        "busy": 7, "invalid": 8, "internal": 9}

pb = None  # proto/client.proto, compiled by load_proto()


def readable(fd, timeout):
    """Waits for input; unlike select(), of descriptors beyond 1,023 too."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, timeout) * 1000))


class Skip(Exception):
    """This machine cannot run the case; the text says why."""


class ServerError(Exception):
    """An Error answer or a Goodbye."""

    def __init__(self, error):
        self.code = error.code
        self.name = error.name.decode()
        self.retry = error.retry
        self.retry_after_ms = error.retry_after_ms
        super().__init__(f"{self.name} ({self.code}): {error.text.decode()}")


class Closed(Exception):
    """The server closed the connection; goodbye is its last word, or None."""

    def __init__(self, goodbye):
        self.goodbye = goodbye
        name = goodbye.name.decode() if goodbye else "no goodbye"
        super().__init__(f"closed by the server ({name})")


def load_proto(folder):
    """Compiles proto/client.proto with protoc into folder and imports it."""
    global pb
    subprocess.run(["protoc", f"--proto_path={TOP}", f"--python_out={folder}",
                    "proto/client.proto"], check=True)
    sys.path.insert(0, folder)
    pb = importlib.import_module("proto.client_pb2")
    return pb


def await_that(what, condition, timeout=20.0):
    """condition()'s first true value; AssertionError naming `what` after the timeout."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        pause.wait(0.01)


def uuid7(now_ms=None, tail=None):
    """A UUIDv7 (RFC 9562); tail: its last 7 bytes."""
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    head = now_ms.to_bytes(6, "big") + bytes([0x70 | secrets.randbelow(16)])
    head += secrets.token_bytes(1) + bytes([0x80 | secrets.randbelow(64)])
    return head + (tail if tail is not None else secrets.token_bytes(7))


class Finished:
    """A command line run to its end."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out_bytes, self.err = args, code, out, err

    @property
    def out(self):
        return self.out_bytes.decode("utf-8", "replace")

    @property
    def lines(self):
        return self.out.splitlines()

    def __str__(self):
        return (f"{' '.join(self.args)} -> exit {self.code}\nstdout: {self.out[:2000]}\n"
                f"stderr: {self.err[:2000]}")


class Node:
    """One `anser up`, and the commands spoken to it."""

    def __init__(self, case, data=None, env=None, args=(), config=None):
        self.case = case
        self.data = data or case.new_dir("data")
        self.env = dict(os.environ, **(env or {}))
        self.env.pop("ANSER_DATA", None)
        self.args = list(args)
        if config is not None:
            path = os.path.join(case.dir, f"config-{secrets.token_hex(3)}.yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(config)
            self.args += ["--config", path]
        self.process = None
        self.listen = "tcp://127.0.0.1:0"
        self.http = "http://127.0.0.1:0"
        self.host, self.port = "127.0.0.1", 0
        self.doors = {}  # scheme: (host, port), once it is ready
        self.prefix = []  # before a command: how to be where the server is reached
        self.launch = []  # before the server itself
        self.errors = os.path.join(case.dir, f"stderr-{secrets.token_hex(3)}")
        case.nodes.append(self)

    def spawn(self):
        """Starts the process and does not wait for anything."""
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [*self.launch, self.case.anser, "up", "--data", self.data, "--listen",
                 self.listen, "--http", self.http, *self.args],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=self.env, cwd=self.case.dir)
        return self

    def await_ready(self, timeout=30.0):
        line = self.read_line(timeout)
        found = READY.match(line)
        assert found, f"the first line of `up` is {line!r}\n{self.stderr()}"
        assert os.path.realpath(found.group(2)) == os.path.realpath(self.data), line
        for url in found.group(1).split():
            scheme, host, port = ADDRESS.match(url).groups()
            self.doors[scheme] = (host, int(port))
        self.host, self.port = self.doors.get("tcp", next(iter(self.doors.values())))
        return self

    def start(self, timeout=30.0):
        return self.spawn().await_ready(timeout)

    def read_line(self, timeout):
        line, end = b"", time.monotonic() + timeout
        fd = self.process.stdout.fileno()
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            assert left > 0, f"no line from `up` within {timeout:g} s\n{self.stderr()}"
            if readable(fd, left):
                byte = os.read(fd, 1)
                assert byte, f"`up` ended: exit {self.process.wait(10)}\n{self.stderr()}"
                line += byte
        return line.decode().rstrip("\n")

    def connect(self, timeout, gate=0):
        """A TCP connection to a gate."""
        assert gate == 0, gate
        return socket.create_connection((self.host, self.port), timeout=timeout)

    @property
    def url(self):
        return f"tcp://{self.host}:{self.port}"

    def key(self):
        """The key of login tokens: {"id", "secret"}."""
        with open(os.path.join(self.data, "node.json"), encoding="utf-8") as f:
            return json.load(f)["key"]

    def rival(self):
        """A second process that wants this one's data; it has been spawned."""
        return Node(self.case, data=self.data).spawn()

    def check_args(self):
        """What `anser check` is given."""
        return [self.data]

    def settled(self):
        """Returns when every inbox has what is acknowledged: here, always."""

    def stderr(self):
        if not os.path.exists(self.errors):
            return ""
        with open(self.errors, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, timeout=20.0):
        """SIGTERM and a clean end. Our own connections go first: the node would wait for
        them to close after its goodbye."""
        for s in self.case.sockets:
            s.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        assert code == 0, f"a clean stop exits {code}\n{self.stderr()}"
        self.process.stdout.close()

    def is_up(self, since):
        """It has said that it is ready; since: when it was spawned."""
        return readable(self.process.stdout.fileno(), 0)

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        if self.process:
            self.process.stdout.close()

    # --- the command line

    def run(self, *args, stdin=b"", timeout=60, expect=0, env=None, data=True, prefix=()):
        """Runs `anser ARGS --data DIR`; expect: the exit code, or None for any."""
        command = [*prefix, self.case.anser, *args]
        if data:
            command += ["--data", self.data]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout,
                              env=dict(self.env if env is None else env, LD_PRELOAD=""),
                              cwd=self.case.dir, check=False)
        result = Finished(args, done.returncode, done.stdout,
                          done.stderr.decode("utf-8", "replace"))
        assert expect is None or result.code == expect, f"expected exit {expect}: {result}"
        return result

    def popen(self, *args, **how):
        """A command that runs beside the test; killed with the case."""
        process = subprocess.Popen([self.case.anser, *args, "--data", self.data],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE,
                                   env=dict(self.env, LD_PRELOAD=""), cwd=self.case.dir,
                                   **how)
        self.case.processes.append(process)
        return process

    def add_users(self, *names):
        for name in names:
            self.run("user", "add", name)

    def token(self, name):
        return self.run("token", name).out.strip()

    def send(self, user, to, *text, **how):
        return self.run("send", "--user", user, "--to", to, *text, **how)

    def recv(self, user, count, *more, **how):
        """The --json lines of `recv` as dicts."""
        done = self.run("recv", "--user", user, "--count", str(count), "--json", *more, **how)
        return [json.loads(line) for line in done.lines]

    def client(self, user=None, **how):
        return Client(self, user, **how)

    def metrics(self):
        """{name: value} of `anser metrics`."""
        return prometheus(self.run("metrics").lines)


def prometheus(lines):
    """{name: value} of Prometheus text, every line of which must be understood."""
    values = {}
    for line in lines:
        if not line or line.startswith("#"):
            assert re.match(r"^(# (HELP|TYPE) [a-z_:0-9]+ .+)?$", line), line
            continue
        found = re.match(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})? ([0-9.eE+-]+)$", line)
        assert found, f"not Prometheus text: {line!r}"
        name = found.group(1)
        values[name] = values.get(name, 0) + float(found.group(3))
    return values


class Frame:
    def __init__(self, command, flags, request, body):
        self.command, self.flags, self.request, self.body = command, flags, request, body


class Client:
    """One connection. Pushes that arrive while an answer is awaited are kept in events
    and receipts. Not thread safe."""

    def __init__(self, node, user=None, device="dev", token=None, send_only=False,
                 login=True, timeout=20.0, gate=0, door=None):
        self.timeout = timeout
        self.node = node
        if user is not None:
            node.settled()
        self.socket = self.wrap(
            socket.create_connection(node.doors[door], timeout=timeout) if door
            else node.connect(timeout, gate))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        node.case.sockets.append(self.socket)
        self.buffer = bytearray()
        self.next_request = 1
        self.events, self.receipts = [], []
        self.login_ok = None
        if user is not None and login:
            token = token or node.case.token(node, user)
            self.login_ok = self.call(LOGIN, pb.Login(
                token=token.encode(), device=device.encode(), platform=b"api",
                send_only=send_only, client=b"system-test"))

    def wrap(self, connected):
        """What a subclass puts around the socket."""
        return connected

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send_frame(self, command, body=b"", flags=0, request=None, version=1, codec=1,
                   magic=b"AN", length=None):
        """Sends one frame; returns its request number. body: bytes or a message."""
        if not isinstance(body, bytes):
            body = body.SerializeToString()
        if request is None:
            request = self.next_request
            self.next_request += 1
        length = len(body) if length is None else length
        self.send_raw(HEADER.pack(magic, version, codec, command, flags, request, length)
                      + body)
        return request

    def uncover(self, data):
        """What is in the bytes that came; another door covers them."""
        return data

    def fill(self, timeout):
        """Reads what there is into the buffer; False when nothing came in time."""
        if not readable(self.socket, timeout):
            return False
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(None)
        self.buffer += self.uncover(data)
        return True

    def take_frame(self):
        """A whole frame of the buffer, or None."""
        if len(self.buffer) < HEADER.size:
            return None
        magic, version, codec, command, flags, request, length = HEADER.unpack_from(self.buffer)
        assert (magic, version, codec) == (b"AN", 1, 1), bytes(self.buffer[:16])
        if len(self.buffer) < HEADER.size + length:
            return None
        body = bytes(self.buffer[HEADER.size:HEADER.size + length])
        del self.buffer[:HEADER.size + length]
        return Frame(command, flags, request, body)

    def read_frame(self, timeout=None):
        """The next frame; AssertionError when none comes, Closed at the end."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            frame = self.take_frame()
            if frame:
                return frame
            left = end - time.monotonic()
            assert left > 0, "no frame in time"
            self.fill(left)

    def note(self, frame):
        """Keeps a push. Closed for a Goodbye."""
        if frame.command == EVENT:
            self.events.append(pb.Event.FromString(frame.body))
        elif frame.command == RECEIPT:
            self.receipts.append(pb.Receipt.FromString(frame.body))
        elif frame.command == GOODBYE:
            raise Closed(pb.Goodbye.FromString(frame.body))
        else:
            raise AssertionError(f"an unknown push: command {frame.command}")

    def answer(self, request, kind, timeout=None):
        """Awaits the answer to request: a `kind`, or raises ServerError."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            frame = self.read_frame(end - time.monotonic())
            if not frame.flags & ANSWER:
                self.note(frame)
                continue
            assert frame.request == request, f"answer to {frame.request}, not {request}"
            if frame.flags & ERROR:
                raise ServerError(pb.Error.FromString(frame.body))
            return kind.FromString(frame.body)

    def call(self, command, body, timeout=None):
        kind = {LOGIN: pb.LoginOk, LOGOUT: pb.LogoutOk, HEARTBEAT: pb.HeartbeatOk,
                SEND: pb.SendOk, CONFIRM: pb.ConfirmOk, SYNC: pb.SyncOk,
                HISTORY: pb.HistoryOk}[command]
        return self.answer(self.send_frame(command, body), kind, timeout)

    def refused(self, command, body):
        """The name of the error that a request is answered with."""
        try:
            answer = self.call(command, body)
        except ServerError as error:
            return error.name
        raise AssertionError(f"not refused: {answer}")

    def closing(self, timeout=None):
        """Reads to the end of the connection; the name in the Goodbye, None without."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        name = None
        try:
            while True:
                frame = self.read_frame(end - time.monotonic())
                if frame.command == GOODBYE:
                    name = pb.Goodbye.FromString(frame.body).name.decode()
        except Closed:
            return name

    def send(self, to, body, kind=1, message_id=None):
        return self.call(SEND, send_body(to, body, kind, message_id))

    def send_until_taken(self, to, body):
        """The same again while it is refused for now: a loaded cluster has just begun."""
        message, end = send_body(to, body), time.monotonic() + 30
        while True:
            try:
                return self.call(SEND, message)
            except ServerError as error:
                assert error.retry and time.monotonic() < end, error

    def sync(self, after=0):
        """Every inbox entry above after."""
        self.node.settled()
        found = []
        while True:
            page = self.call(SYNC, pb.Sync(after=after))
            found += page.events
            if page.completed or not page.events:
                return found
            after = page.events[-1].inbox_seq

    def history(self, peer):
        """The whole conversation, oldest first."""
        found, after = [], 0
        while True:
            page = self.call(HISTORY, pb.History(peer=peer.encode(), after=after,
                                                 oldest_first=True))
            found += page.messages
            if page.completed or not page.messages:
                return found
            after = page.messages[-1].seq

    def await_events(self, count, timeout=None):
        """Waits until `count` events were pushed; takes them."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while len(self.events) < count:
            frame = self.read_frame(end - time.monotonic())
            assert not frame.flags & ANSWER, "an answer nobody asked for"
            self.note(frame)
        taken, self.events = self.events[:count], self.events[count:]
        return taken

    def await_receipt(self, kind, seq, timeout=None):
        """Waits for a receipt of this kind that reaches seq."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            for receipt in self.receipts:
                if receipt.kind == kind and receipt.seq >= seq:
                    return receipt
            self.note(self.read_frame(end - time.monotonic()))


def send_body(to, body, kind=1, message_id=None):
    if isinstance(body, str):
        body = body.encode()
    return pb.Send(to=to.encode(), client_msg_id=message_id or uuid7(), type=kind, body=body)


class Pipeline:
    """Keeps `window` Sends unanswered on one connection. Answers come to on_answer(tag,
    SendOk or ServerError)."""

    def __init__(self, client, on_answer):
        self.client, self.on_answer = client, on_answer
        self.waiting = {}  # request -> tag, in sending order

    def push(self, tag, message):
        self.waiting[self.client.send_frame(SEND, message)] = tag

    def pump(self, timeout):
        """Handles what has arrived, waiting at most `timeout` for the first byte."""
        self.client.fill(timeout)
        self.drain()

    def drain(self):
        while True:
            frame = self.client.take_frame()
            if frame is None:
                return
            if not frame.flags & ANSWER:
                self.client.note(frame)
                continue
            tag = self.waiting.pop(frame.request)
            if frame.flags & ERROR:
                self.on_answer(tag, ServerError(pb.Error.FromString(frame.body)))
            else:
                self.on_answer(tag, pb.SendOk.FromString(frame.body))

    def run(self, window, items, timeout=60.0):
        """Sends all of items [(tag, message)], then waits for the last answer."""
        end = time.monotonic() + timeout
        items = iter(items)
        more = True
        while more or self.waiting:
            while more and len(self.waiting) < window:
                item = next(items, None)
                if item is None:
                    more = False
                    break
                self.push(*item)
            if self.waiting:
                assert time.monotonic() < end, f"{len(self.waiting)} sends unanswered"
                self.pump(end - time.monotonic())


class Case:
    """One test case's directory, processes and sockets; all gone when it ends."""

    def __init__(self, anser, build, name, long=False, rounds=None, shape="one"):
        self.anser, self.build, self.name = anser, build, name
        self.shape = shape  # of what node() starts; see cluster.py
        self.long, self.rounds = long, rounds
        self.figures = {}  # what the case counted, for the record (tests/chaos/record.py)
        self.dir = tempfile.mkdtemp(prefix="anser-test-")
        self.nodes, self.processes, self.sockets, self.cleanups = [], [], [], []
        self.tokens = {}

    def count(self, **figures):
        """Adds to what the record of runs is told: kills, acks, prefixes, ..."""
        for name, number in figures.items():
            self.figures[name] = self.figures.get(name, 0) + number

    def new_dir(self, name):
        path = os.path.join(self.dir, f"{name}-{secrets.token_hex(3)}")
        os.mkdir(path, 0o700)
        return path

    def new_node(self, **how):
        """A server in the shape that the case runs in, not yet started."""
        if self.shape == "one":
            return Node(self, **how)
        return importlib.import_module("cluster").Cluster(self, self.shape, **how)

    def node(self, **how):
        """A running node."""
        return self.new_node(**how).start()

    def token(self, node, user):
        key = (node.data, user)
        if key not in self.tokens:
            self.tokens[key] = node.token(user)
        return self.tokens[key]

    def shim(self):
        """The path of the preloaded recorder (shim.c); skipped for sanitizer builds."""
        path = os.path.join(self.build, "tests", "system", "libanser_shim.so")
        if not os.path.exists(path):
            raise Skip(f"no {path}")
        return path

    def check(self, node):
        """The stopped node's data is whole."""
        return node.run("check", *node.check_args(), data=False)

    def close(self, keep):
        for s in self.sockets:
            s.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(20)
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        for node in self.nodes:
            node.kill()
        for cleanup in self.cleanups:
            cleanup()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
