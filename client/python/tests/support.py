"""A real server, and a proxy that can be told to lose and change frames."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "client" / "python"))

import anser  # noqa: E402
from anser.connection import split_address  # noqa: E402
from anser.frame import Command, Frame, read_frame  # noqa: E402
from anser.ids import uuid7  # noqa: E402
from anser.schema import pb  # noqa: E402

BINARY = Path(os.environ.get("ANSER", ROOT / "build" / "release" / "bin" / "anser"))
PATIENCE = 60.0

__all__ = [
    "BINARY",
    "PATIENCE",
    "Case",
    "Command",
    "Frame",
    "Proxy",
    "Recorder",
    "Server",
    "anser",
    "at_once",
    "login_ok",
    "pb",
    "uuid7",
]


class Server:
    """`anser up` on a directory; killed and started again at will, each time at a new port."""

    def __init__(self, directory: Path, *more: str, listen: str = "tcp://127.0.0.1:0") -> None:
        self.directory = directory
        self.more = "--listen", listen, *more
        self.address = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with open(self.directory.parent / "server.log", "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                BINARY,
                *("up", "--data", self.directory, "--http", "off", *self.more),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout
        async with asyncio.timeout(PATIENCE):
            line = (await self._process.stdout.readline()).decode()
        if not line.startswith("anser ready "):
            raise RuntimeError(f"the server did not start: {line!r}")
        self.doors = {word.split(":")[0]: word for word in line.split() if "://" in word}
        self.address = line.split()[2]

    async def end(self, how: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(how)
            await self._process.wait()

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    async def stop(self) -> None:
        await self.end(signal.SIGTERM)

    async def cli(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> str:
        """What a command of `anser` prints."""
        process = await asyncio.create_subprocess_exec(
            BINARY,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "ANSER_DATA": str(self.directory)},
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin)
        if process.returncode != code:
            raise AssertionError(f"anser {arguments}: {process.returncode}: {err.decode()}")
        return out.decode()

    def token(self, user: str, **how: Any) -> str:
        return anser.make_token(user, *anser.node_key(self.directory), **how)


class Frames(list[Frame]):
    """What a rule gives to have several frames written in one piece."""

    def pack(self) -> bytes:
        return b"".join(frame.pack() for frame in self)


Rule = Callable[[Frame, bool], Frame | Frames | None]


class Proxy:
    """Passes frames to a server, at an address that stays. `rule` sees each and gives what goes on:
    the frame, another one, several, or None."""

    def __init__(self) -> None:
        self.target = ""
        self.address = ""
        self.rule: Rule = lambda frame, _: frame
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Ends all connections at once."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*split_address(self.target))
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        ways = [
            asyncio.create_task(self._pass(reader, far_writer, False)),
            asyncio.create_task(self._pass(far_reader, writer, True)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.close()
            self._writers.discard(end)
        for way in ways:
            way.cancel()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_server: bool
    ) -> None:
        try:
            while True:
                frame = await read_frame(reader)
                passed = self.rule(frame, from_server)
                if passed is not None:
                    writer.write(passed.pack())
                    await writer.drain()
        except (OSError, EOFError):
            pass


def login_ok(**changes: int) -> Callable[[Frame, bool], Frame | None]:
    """A rule: the server's LoginOk with other values."""

    def rule(frame: Frame, from_server: bool) -> Frame | None:
        if from_server and frame.command == Command.LOGIN and frame.flags == 1:
            ok = pb.LoginOk.FromString(frame.body)
            for name, value in changes.items():
                setattr(ok, name, value)
            return Frame(frame.command, frame.flags, frame.request, ok.SerializeToString())
        return frame

    return rule


def at_once(count: int) -> Rule:
    """A rule: the client believes that it may have so many Sends under way, and the first `count`
    reach the server in one piece: it has no time to answer any before it reads the others, and
    refuses those that are too many."""
    login = login_ok(sends_max=count)
    held = Frames()

    def rule(frame: Frame, from_server: bool) -> Frame | Frames | None:
        if from_server or frame.command != Command.SEND or len(held) == count:
            return login(frame, from_server)
        held.append(frame)
        return held if len(held) == count else None

    return rule


class Recorder:
    """Remembers what a client said of itself; `saw` waits for it."""

    def __init__(self) -> None:
        self.states: list[tuple[anser.State, Any]] = []
        self.receipts: list[anser.Receipt] = []
        self._news = asyncio.Event()

    def on_state(self, state: anser.State, reason: Any) -> None:
        self.states.append((state, reason and reason.name))
        self._news.set()

    def on_receipt(self, receipt: anser.Receipt) -> None:
        self.receipts.append(receipt)
        self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._news.clear()
                await self._news.wait()


class Case(unittest.IsolatedAsyncioTestCase):
    """A server with accounts alice, bob and carol, and a proxy before it, for each test."""

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)
        self.directory = Path(tempfile.mkdtemp(prefix="anser-python-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.server = Server(self.directory / "data")
        await self.server.start()
        self.addAsyncCleanup(self.stop_server)
        self.proxy = Proxy()
        await self.proxy.start()
        self.addAsyncCleanup(self.proxy.stop)
        self.proxy.target = self.server.address
        for user in ("alice", "bob", "carol"):
            await self.server.cli("user", "add", user)

    async def stop_server(self) -> None:
        await self.server.kill()

    async def restart(self) -> None:
        """Starts the server again after its end, and leads the proxy to it."""
        await self.server.start()
        self.proxy.target = self.server.address

    def client(self, user: str, device: str = "py", **how: Any) -> anser.Client:
        """A client behind the proxy."""
        how.setdefault("addresses", self.proxy.address)
        how.setdefault("token", lambda: self.server.token(user))
        return anser.Client(device=device, **how)

    async def receive(self, client: anser.Client, count: int) -> list[anser.Message]:
        """So many messages, confirmed."""
        messages = [await client.receive(PATIENCE) for _ in range(count)]
        if messages:
            client.confirm(messages[-1])
        return messages

    async def nothing_more(self, client: anser.Client, peer: str) -> None:
        """Nothing else lies in this client's inbox: a message sent now is the next to come."""
        async with self.client(peer, "mark", send_only=True) as other:
            sent = await other.send(client.user, "mark")
        self.assertEqual((await client.receive(PATIENCE)).client_msg_id, sent.client_msg_id)


def read_vectors() -> list[dict[str, Any]]:
    return json.loads((ROOT / "tests" / "vectors" / "frames.json").read_text())
