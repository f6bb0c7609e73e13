"""Hosts that are network namespaces of this machine: each host of a cluster file has its
own, all joined by a bridge in one more, the wire, where clients and captures are. Names
carry the id of this process; what a dead run left behind is swept away. Needs root."""
import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import time

from harness import Skip, await_that

CLONE_NEWNET = 0x40000000
NET = "10.99.0."
WIRE = "w"
_libc = ctypes.CDLL(None, use_errno=True)
_count = [0]


def _ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


def _sweep():
    """Deletes namespaces of runs that are gone."""
    for line in _ip("netns", "list").stdout.splitlines():
        found = re.match(r"an-(\d+)-", line)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            _ip("netns", "del", line.split()[0], check=False)


def need_namespaces():
    if os.geteuid() != 0:
        raise Skip("network namespaces need root")
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            raise Skip(f"no {tool}")


class Wire:
    """Namespaces for these hosts; `case` closes them, whatever happens."""

    def __init__(self, case, hosts=("a", "b", "c")):
        need_namespaces()
        _sweep()
        _count[0] += 1
        tag = f"an-{os.getpid()}-{_count[0]}"
        self.ns = {name: f"{tag}-{name}" for name in (*hosts, WIRE)}
        self.address = {WIRE: NET + "1"}
        self.address.update({name: NET + str(10 + n) for n, name in enumerate(hosts)})
        self.captures = []
        case.cleanups.append(self.close)
        try:
            self._build(hosts)
        except subprocess.CalledProcessError as error:
            self.close()
            raise Skip(f"no network namespaces here: {error.stderr.strip()}") from None

    def _build(self, hosts):
        for name in self.ns.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        wire = self.ns[WIRE]
        _ip("-n", wire, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        _ip("-n", wire, "addr", "add", self.address[WIRE] + "/24", "dev", "bridge")
        _ip("-n", wire, "link", "set", "bridge", "up")
        for host in hosts:
            _ip("-n", wire, "link", "add", f"to-{host}", "type", "veth", "peer", "name",
                "eth0", "netns", self.ns[host])
            _ip("-n", wire, "link", "set", f"to-{host}", "master", "bridge", "up")
            _ip("-n", self.ns[host], "addr", "add", self.address[host] + "/24", "dev", "eth0")
            _ip("-n", self.ns[host], "link", "set", "eth0", "up")
            self._nft(host, "add table inet cut")
            self._nft(host, "add chain inet cut input "
                      "{ type filter hook input priority 0; policy accept; }")

    def _nft(self, host, rule):
        subprocess.run(["ip", "netns", "exec", self.ns[host], "nft", rule], check=True,
                       capture_output=True, text=True)

    def prefix(self, host):
        """What stands before a command that runs on this host."""
        return ["ip", "netns", "exec", self.ns[host]]

    @contextlib.contextmanager
    def entered(self, host):
        """Sockets made by this thread inside belong to the host's namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.ns[host]}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                assert _libc.setns(home, CLONE_NEWNET) == 0
        finally:
            os.close(home)
            os.close(there)

    def connect(self, address, timeout, host=WIRE):
        with self.entered(host):
            return socket.create_connection(address, timeout=timeout)

    # --- cuts

    def cut(self, at, source):
        """One way: nothing from source reaches `at`; the other direction works on."""
        self._nft(at, f"add rule inet cut input ip saddr {self.address[source]} drop")

    def cut_both(self, one, other):
        self.cut(one, other)
        self.cut(other, one)

    def isolate(self, host, clients=False):
        """From all other hosts, both ways; from clients too, if told."""
        for other in self.ns:
            if other != host and (clients or other != WIRE):
                self.cut(host, other)
                if other != WIRE:
                    self.cut(other, host)

    def heal(self):
        for host in self.ns:
            if host != WIRE:
                self._nft(host, "flush chain inet cut input")

    # --- looking

    def capture(self, path, *words):
        """tcpdump on the bridge into path; returns when it listens. end_capture() ends."""
        if shutil.which("tcpdump") is None:
            raise Skip("no tcpdump")
        process = subprocess.Popen(
            [*self.prefix(WIRE), "tcpdump", "-i", "bridge", "-s", "0", "-U", "--immediate-mode", "-w", path, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.captures.append(process)
        line = process.stderr.readline()
        while b"listening" not in line:
            assert line, "tcpdump ended"
            line = process.stderr.readline()
        return process

    def end_capture(self, process):
        process.terminate()
        process.wait(20)
        process.stderr.close()
        self.captures.remove(process)

    def close(self):
        for process in list(self.captures):
            self.end_capture(process)
        for name in self.ns.values():
            for pid in _ip("netns", "pids", name, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            _ip("netns", "del", name, check=False)


def selftest(case):
    """The cuts do what they say (a cluster that survives no cut at all proves nothing)."""
    wire = Wire(case)

    def listener(host):
        with wire.entered(host):
            s = socket.create_server((wire.address[host], 7777))
        case.sockets.append(s)
        return s

    def reaches(source, target):
        """A datagram both ways would need two rules; a handshake needs both directions."""
        with wire.entered(source):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((wire.address[target], 7777))
        with contextlib.closing(s):
            end = time.monotonic() + 1
            while time.monotonic() < end:
                try:
                    s.getpeername()
                    return True
                except OSError:
                    await_that("a moment", lambda t=time.monotonic() + 0.02:
                               time.monotonic() > t)
        return False

    for host in ("a", "b", "c"):
        listener(host)
    assert reaches("a", "b") and reaches("b", "c") and reaches("w", "a")
    wire.cut("a", "b")
    assert not reaches("a", "b") and reaches("a", "c") and reaches("w", "b")
    wire.heal()
    assert reaches("a", "b")
    wire.isolate("c")
    assert not reaches("c", "a") and not reaches("b", "c") and reaches("w", "c")
    wire.heal()
    assert reaches("c", "a")
