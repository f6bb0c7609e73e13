"""Clusters of real processes: a cluster file, `anser cluster up` for each of its hosts,
and a hand on each process.

  five        every actor its own process on one host (cluster/local.yaml's shape)
  namespaces  three hosts in network namespaces, two of each actor, tls+tcp between them
              (cluster/three-hosts.yaml's shape)

A Cluster does what a harness.Node does, so a case written for one process runs on both."""
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import harness
from harness import LOGIN, Client, Closed, Node, ServerError, await_that
from netns import WIRE, Wire

FIVE = """
hosts:
  here: {address: 127.0.0.1}
actors:
  gate/0:      {host: here, listen: [GATE0]}
  router/0:    {host: here, slots: 0-1023}
  sequencer/0: {host: here, slots: 0-1023}
  store/0:     {host: here, slots: 0-1023, data: data/0}
  idgen/0:     {host: here}
  api/0:       {host: here}
"""

# Two of each, and no host without which nothing works but for its stores' slots.
THREE = """
tls: {ca: keys/ca.pem, cert: keys/%h.pem, key: keys/%h.key}
hosts:
  a: {address: ADDRESS_a}
  b: {address: ADDRESS_b}
  c: {address: ADDRESS_c}
actors:
  gate/0:      {host: a, listen: [GATE0]}
  gate/1:      {host: b, listen: [GATE1]}
  router/0:    {host: a, slots: 0-511}
  router/1:    {host: b, slots: 512-1023}
  sequencer/0: {host: a, slots: 0-511,    standby: sequencer/1}
  sequencer/1: {host: b, slots: 512-1023, standby: sequencer/0}
  store/0:     {host: c, slots: 0-511,    data: data/0}
  store/1:     {host: b, slots: 512-1023, data: data/1}
  idgen/0:     {host: a}
  idgen/1:     {host: c}
  api/0:       {host: c}
"""
ACTOR = re.compile(r"^[a-z]+/\d+$")
# Of the restarter; each process is one actor here.
SAID = re.compile(rb"\bsupervisor ([a-z]+-\d+) (ready|started pid=(\d+))")
READY_S = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return [word.decode("utf-8", "replace") for word in f.read().split(b"\0")[:-1]]
    except OSError:
        return []


def send_signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Host:
    """`anser cluster up` on one host, its lines with the time they came, its processes."""

    def __init__(self, cluster, name, actors):
        self.cluster, self.name, self.actors = cluster, name, actors
        self.up = None
        self.ready = {}  # actor -> when it was last said to be ready, monotonic seconds
        self.pids = {}  # actor -> the process that was started for it last
        self.threads = []

    def spawn(self):
        cluster = self.cluster
        self.ready, self.pids = {}, {}
        self.up = subprocess.Popen(
            [*cluster.prefix_of(self.name), cluster.case.anser, "cluster", "up", cluster.file,
             "--host", self.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=cluster.env, cwd=cluster.case.dir)
        self.threads = [threading.Thread(target=read, args=(self.up,), daemon=True)
                        for read in (self._read_out, self._read_log)]
        for thread in self.threads:
            thread.start()

    def _read_out(self, up):
        """The one line that says that all are ready."""
        for line in up.stdout:
            now = time.monotonic()
            for word in line.decode().split():
                if ACTOR.match(word):
                    self.ready.setdefault(word, now)

    def _read_log(self, up):
        """The log of all its processes, into the cluster's; who is ready again."""
        with open(self.cluster.errors, "ab") as errors:
            for line in up.stderr:
                found = SAID.search(line)
                if found:
                    actor = found.group(1).decode().replace("-", "/")
                    if found.group(2) == b"ready":
                        self.ready[actor] = time.monotonic()
                    else:
                        self.pids[actor] = int(found.group(3))
                errors.write(line)
                errors.flush()

    def is_ready(self, actor, since=0.0):
        return self.ready.get(actor, -1.0) >= since

    def kill_stores(self):
        for actor, pid in self.pids.items():
            if actor.startswith("store/"):
                self.signal(pid, signal.SIGKILL)

    def kill(self):
        """The restarter, then what it started."""
        if self.up is None:
            return
        if self.up.poll() is None:
            self.up.kill()
        self.up.wait(20)
        self.threads[1].join(0.05)  # one may have been started meanwhile
        pids = set(self.pids.values())
        for pid in pids:
            self.signal(pid, signal.SIGKILL)
        for pid in pids:
            await_that(f"the end of {pid}", lambda p=pid: not self.runs(p))
        self.close()

    def runs(self, pid):
        """Is it (still) a process of this cluster file, and no zombie?"""
        return self.cluster.file in command_of(pid)

    def signal(self, pid, number):
        return self.runs(pid) and send_signal(pid, number)

    def tell_stop(self):
        """SIGTERM to the restarter; a second one would be impatience."""
        self.up.send_signal(signal.SIGTERM)

    def await_stop(self, timeout=40.0):
        """Its exit code."""
        code = self.up.wait(timeout)
        self.close()
        return code

    def close(self):
        for thread in self.threads:
            thread.join(10)
        self.up.stdout.close()
        self.up.stderr.close()
        self.up = None


class Cluster(Node):
    """A cluster in a shape. settings: YAML of its settings, as a node's configuration.
    text: the file's hosts and actors instead of the shape's. port: every gate's."""

    def __init__(self, case, shape, config=None, env=None, text=None, name=None, key=None,
                 wire=None, port=None):
        super().__init__(case, data=case.new_dir("cluster"), env=env)
        self.env.pop("ANSER_CLUSTER", None)
        self.shape, self.wire = shape, wire
        self.name = name or "t" + secrets.token_hex(6)
        self.run_dir = tempfile.mkdtemp(prefix="anr-")  # short: addresses of sockets
        case.cleanups.append(lambda: shutil.rmtree(self.run_dir, ignore_errors=True))
        self.file = os.path.join(self.data, "cluster.yaml")
        if shape == "namespaces" and self.wire is None:
            self.wire = Wire(case)
        text = text or {"five": FIVE, "namespaces": THREE}[shape]
        self.write(self.fill(text, port), config, key)
        self.hosts = {name: Host(self, name, actors)
                      for name, actors in self.hosts_of(text).items()}
        self.gates = self.gates_of(text)
        self.host, self.port = self.gates[0]
        self.prefix = self.wire.prefix(WIRE) if self.wire else []
        self.seat = next(iter(self.hosts))  # where commands are typed
        self.command("cluster", "keygen", self.file)
        os.mkdir(os.path.join(self.data, "data"))
        self.commands = self.command_dir()

    # --- the file

    def fill(self, text, port):
        """The placeholders of a shape's text."""
        self.ports = {}
        for gate in re.findall(r"\bGATE\d+", text):
            self.ports[gate] = port or (7400 if self.wire else free_port())
        for host in re.findall(r"\bADDRESS_(\w+)", text):
            text = re.sub(rf"\bADDRESS_{host}\b", self.wire.address[host], text)
        for gate, port in self.ports.items():
            text = re.sub(rf"\b{gate}\b", f"tcp://0.0.0.0:{port}", text)
        return text

    def write(self, text, config, key):
        self.token_key = key or os.path.join(self.data, "keys", "token.json")
        head = f"cluster: {self.name}\nrun: {self.run_dir}/%h\ntoken_key: {self.token_key}\n"
        # Hosts reach each other's gates by addresses that are not loopback's.
        plain, lines = "gate: {plain: anywhere", (config or "").splitlines()
        at = next((i for i, line in enumerate(lines) if line.startswith("gate:")), None)
        if at is None:
            lines.append(plain + "}")
        else:
            short = lines[at].startswith("gate: {")
            lines[at] = lines[at].replace("gate: {", plain + ", ")
            if not short:
                lines.insert(at + 1, "  plain: anywhere")
        if lines:
            head += "settings:\n" + "".join(f"  {line}\n" for line in lines)
        with open(self.file, "w", encoding="utf-8") as f:
            f.write(head + text)

    @staticmethod
    def hosts_of(text):
        found = {}
        for actor, host in re.findall(r"^  ([a-z]+/\d+): +\{host: (\w+)", text, re.M):
            found.setdefault(host, []).append(actor)
        return found

    def gates_of(self, text):
        """[(address, port)] of gate/0, gate/1, ... as clients reach them."""
        found = []
        for host, gate in re.findall(r"^  gate/\d+: +\{host: (\w+), listen: \[(\w+)\]", text,
                                     re.M):
            address = self.wire.address[host] if self.wire else "127.0.0.1"
            found.append((address, self.ports[gate]))
        return found

    @property
    def actors(self):
        return [actor for host in self.hosts.values() for actor in host.actors]

    def stores(self):
        return [actor for actor in self.actors if actor.startswith("store/")]

    def host_of(self, actor):
        return next(host for host in self.hosts.values() if actor in host.actors)

    def prefix_of(self, host):
        return self.wire.prefix(host) if self.wire else []

    @property
    def urls(self):
        """Every gate, for the library's list of addresses."""
        return [f"tcp://{address}:{port}" for address, port in self.gates]

    # --- start and stop

    def spawn(self, hosts=None):
        for name in hosts or self.hosts:
            self.hosts[name].spawn()
        return self

    def await_ready(self, timeout=READY_S):
        for host in self.hosts.values():
            if host.up:
                self.await_actors(host.actors, 0.0, timeout)
        self.await_logins(timeout)
        return self

    def await_actors(self, actors, since=0.0, timeout=READY_S):
        """Each was said to be ready after this moment (of time.monotonic())."""
        for actor in actors:
            host = self.host_of(actor)
            try:
                await_that(f"{actor} to be ready",
                           lambda h=host, a=actor: h.is_ready(a, since) or
                           self._must_live(h), timeout)
            except AssertionError:
                self.describe(actor)
                raise

    def describe(self, actor):
        """Into the log, for who reads a failure: what it and the others say of themselves."""
        with open(self.errors, "a", encoding="utf-8") as errors:
            for one in (actor, *(a for a in self.actors if a != actor)):
                for words in ("status", "peers", "stats"):
                    errors.write(f"{one} {words}: {self.ask(one, words)}\n")

    def _must_live(self, host):
        code = host.up.poll()
        assert code is None, f"`cluster up` on {host.name} ended: {code}\n{self.stderr()[-3000:]}"
        return False

    def await_logins(self, timeout=READY_S, gates=None):
        """Each gate judges a login (of nobody) by asking the store: it has joined."""
        for gate in range(len(self.gates)) if gates is None else gates:
            await_that(f"gate/{gate} to take logins", lambda g=gate: self.takes_logins(g),
                       timeout)

    def takes_logins(self, gate, user="nobody-at-all"):
        try:
            client = Client(self, gate=gate, timeout=10)
        except OSError:
            return False
        try:
            client.call(LOGIN, harness.pb.Login(token=self.case.token(self, user).encode(),
                                        device=b"probe", send_only=True))
            return True
        except ServerError as error:
            return error.name == "USER_NOT_FOUND"
        except (Closed, OSError, AssertionError):
            return False
        finally:
            client.close()

    def start(self, timeout=READY_S):
        return self.spawn().await_ready(timeout)

    def stop(self, timeout=40.0):
        for s in self.case.sockets:
            s.close()
        codes = {}
        running = [host for host in self.hosts.values() if host.up]
        for host in running:
            host.tell_stop()
        for host in running:
            codes[host.name] = host.await_stop(timeout)
        assert not any(codes.values()), f"a clean stop exits {codes}\n{self.stderr()[-3000:]}"

    def is_up(self, since):
        """Every store was said to be ready after this moment (of time.monotonic())."""
        return all(self.host_of(store).is_ready(store, since) for store in self.stores())

    def alive(self):
        return all(host.up and host.up.poll() is None for host in self.hosts.values())

    def stop_host(self, name):
        self.hosts[name].tell_stop()
        code = self.hosts[name].await_stop()
        assert code == 0, f"a clean stop of {name} exits {code}\n{self.stderr()[-3000:]}"

    def kill(self):
        """Everything at once: stores first, so that they die doing what they are doing."""
        for host in self.hosts.values():
            host.kill_stores()
        for host in self.hosts.values():
            host.kill()

    # --- one process

    def pid(self, actor):
        pid = self.host_of(actor).pids.get(actor)
        return pid if pid and self.host_of(actor).runs(pid) else None

    def kill_actor(self, actor):
        """kill -9 of its process, which is started again; returns the moment."""
        pid = await_that(f"{actor} to run", lambda: self.pid(actor))
        when = time.monotonic()
        assert send_signal(pid, signal.SIGKILL), actor
        return when

    def stop_actor(self, actor):
        """SIGTERM to its process, which is started again; returns the moment."""
        pid = await_that(f"{actor} to run", lambda: self.pid(actor))
        when = time.monotonic()
        assert send_signal(pid, signal.SIGTERM), actor
        return when

    def pause(self, actor):
        pid = await_that(f"{actor} to run", lambda: self.pid(actor))
        assert send_signal(pid, signal.SIGSTOP), actor
        return pid

    @staticmethod
    def resume(pid):
        send_signal(pid, signal.SIGCONT)

    # --- what a Node does

    def connect(self, timeout, gate=0):
        if self.wire:
            return self.wire.connect(self.gates[gate], timeout)
        return socket.create_connection(self.gates[gate], timeout=timeout)

    def key(self):
        with open(self.token_key, encoding="utf-8") as f:
            return json.load(f)["key"]

    def data_of(self, store):
        """The directory of store/N: paths in the file are relative to it."""
        return os.path.join(self.data, "data", store.split("/")[1])

    def check_args(self):
        return [self.data_of(store) for store in self.stores()]

    def rival(self):
        """A second process of store/0."""
        rival = Node(self.case, data=self.data, env=self.env)
        host = self.host_of("store/0").name
        with open(rival.errors, "ab") as errors:
            rival.process = subprocess.Popen(
                [*self.prefix_of(host), self.case.anser, "run", "store/0", "--cluster",
                 self.file],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=rival.env,
                cwd=self.case.dir)
        return rival

    def command(self, *args, seat=None, **how):
        """`anser ARGS` typed on a host, nothing added."""
        seat = seat or self.seat
        return Node.run(self, *args, data=False, prefix=self.prefix_of(seat), **how)

    def command_dir(self):
        """A directory like a single node's, for commands that know no cluster file: it
        names a gate, the api's endpoint and the key."""
        path = self.case.new_dir("commands")
        control = os.path.join(self.run_dir, self.host_of("api/0").name, "api-0.control")
        with open(os.path.join(path, "node.json"), "w", encoding="utf-8") as f:
            json.dump({"version": 1, "cluster": self.name, "pid": 1, "tcp": self.urls[0],
                       "control": f"ipc://{control}", "app": "default", "key": self.key()}, f)
        return path

    def run(self, *args, data=True, **how):
        return self.command(*args, *(("--data", self.commands) if data else ()), **how)

    def popen(self, *args, **how):
        process = subprocess.Popen(
            [*self.prefix_of(self.seat), self.case.anser, *args, "--data", self.commands],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(self.env, LD_PRELOAD=""), cwd=self.case.dir, **how)
        self.case.processes.append(process)
        return process

    def ask(self, actor, words):
        """What an actor answers to words of docs/debugging.md, as JSON; None when its
        process does not answer."""
        answer = self.ask_process(actor, f"{actor} {words}")
        return json.loads(answer) if answer else None

    def ask_process(self, actor, words):
        """What the actor's process answers; None when it does not."""
        control = os.path.join(self.run_dir, self.host_of(actor).name,
                               actor.replace("/", "-") + ".control")
        done = subprocess.run(
            ["nngcat", "--req", "--dial", f"ipc://{control}", "--data", words, "--raw",
             "--recv-timeout", "5"], capture_output=True, timeout=20, check=False)
        return done.stdout.decode().strip() or None

    def metrics(self):
        """{name: sum over all processes}."""
        return harness.prometheus(line for actor in self.actors
                                  for line in self.ask_process(actor, "metrics").splitlines())

    def settled(self, timeout=60.0):
        """No store has anything left to forward to another."""
        if len(self.stores()) < 2:
            return
        await_that("inboxes on other stores to follow", lambda: self.outgoing() == 0, timeout)

    def outgoing(self):
        """Entries that stores have not yet brought to each other; None: not known, not even by
        a store that has just started and has not heard how far another is."""
        rows = 0
        for store in self.stores():
            said = self.ask(store, "outgoing")
            if said is None or not all(to["known"] for to in said["destinations"]):
                return None
            rows += sum(int(to["waiting"]) for to in said["destinations"])
        return rows
