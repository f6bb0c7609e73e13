"""One connection: frames out, answers matched to their requests, pushes handed on."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from .errors import ConnectionLost, Refused
from .frame import ANSWER, ERROR, HEADER_LEN, Command, Frame, FrameError, read_frame
from .schema import pb
from .web import WebWriter, open_web

if TYPE_CHECKING:
    from .noise import NoiseReader, NoiseWriter

_ANSWERS = {
    Command.LOGIN: pb.LoginOk,
    Command.LOGOUT: pb.LogoutOk,
    Command.HEARTBEAT: pb.HeartbeatOk,
    Command.SEND: pb.SendOk,
    Command.CONFIRM: pb.ConfirmOk,
    Command.SYNC: pb.SyncOk,
    Command.HISTORY: pb.HistoryOk,
}


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def refusal(error: Any) -> Refused:
    """An Error or a Goodbye; they share their fields."""
    return Refused(
        error.code, text_of(error.name), text_of(error.text), error.retry, error.retry_after_ms
    )


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT, with a scheme or without; [::1]:7400 for IPv6."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"not HOST:PORT: {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Connection:
    """`ended` is done when the connection is over: its result is the Goodbye, or None."""

    def __init__(
        self,
        reader: asyncio.StreamReader | NoiseReader,
        writer: asyncio.StreamWriter | WebWriter | NoiseWriter,
        on_push: Callable[[int, bytes], None],
        answer_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._writer = writer
        self._on_push = on_push
        self._answer_timeout = answer_timeout
        self._last_request = 0
        self._waiting: dict[int, tuple[Command, float, asyncio.Future[Any]]] = {}
        self._goodbye: Refused | None = None
        self.frame_len_max: int | None = None
        self.ended: asyncio.Future[Refused | None] = self._loop.create_future()
        self._tasks = [
            self._loop.create_task(self._read()),
            self._loop.create_task(self._watch()),
        ]

    @classmethod
    async def open(
        cls,
        address: str,
        on_push: Callable[[int, bytes], None],
        *,
        ssl: ssl_module.SSLContext | None,
        server_key: bytes | None,
        connect_timeout: float,
        answer_timeout: float,
    ) -> Connection:
        """tls and wss verify as `ssl` says, or as the system does; with tcp, or without a
        scheme, `ssl` decides."""
        scheme = address.rpartition("://")[0]
        if scheme not in ("", "tcp", "tls", "noise", "ws", "wss"):
            raise ValueError(f"no scheme that is known: {address!r}")
        if scheme == "ws" and ssl:
            raise ValueError(f"ws:// has no TLS, wss:// has: {address!r}")
        if scheme in ("tls", "wss"):
            ssl = ssl or ssl_module.create_default_context()
        host, port = split_address(address)
        if scheme == "noise":
            from .noise import open_noise  # needs a package that the rest does not

            if server_key is None:
                raise ValueError(f"{address} needs a server_key")
            async with asyncio.timeout(connect_timeout):
                opened = await open_noise(host, port, server_key)
            return cls(*opened, on_push, answer_timeout)
        async with asyncio.timeout(connect_timeout):
            if scheme in ("ws", "wss"):
                return cls(*await open_web(address, ssl), on_push, answer_timeout)
            reader, writer = await asyncio.open_connection(host, port, ssl=ssl)
        return cls(reader, writer, on_push, answer_timeout)

    def request(self, command: Command, body: Any) -> asyncio.Future[Any]:
        """The answer's body; raises Refused or ConnectionLost."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.ended.done():
            future.set_exception(ConnectionLost())
            return future
        self._last_request = self._last_request % 0xFFFFFFFF + 1
        data = body.SerializeToString()
        if self.frame_len_max and HEADER_LEN + len(data) > self.frame_len_max:
            raise ValueError(f"a frame may have at most {self.frame_len_max} bytes")
        deadline = self._loop.time() + self._answer_timeout
        self._waiting[self._last_request] = command, deadline, future
        self._writer.write(Frame(command, 0, self._last_request, data).pack())
        return future

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError:
            raise ConnectionLost from None

    def close(self) -> None:
        """Ends the connection at once."""
        self._over()

    async def _read(self) -> None:
        try:
            while True:
                self._frame(await read_frame(self._reader))
        except (OSError, EOFError, FrameError, DecodeError):
            pass  # a body that is no message of its kind is as bad as a bad frame
        finally:
            self._over()

    def _frame(self, frame: Frame) -> None:
        if not frame.flags & ANSWER:
            if frame.command == Command.GOODBYE:
                self._goodbye = refusal(pb.Goodbye.FromString(frame.body))
            else:
                self._on_push(frame.command, frame.body)
            return
        waiting = self._waiting.pop(frame.request, None)
        if waiting is None:
            return
        command, _, future = waiting
        if future.done():
            return
        if frame.flags & ERROR:
            future.set_exception(refusal(pb.Error.FromString(frame.body)))
            future.exception()
        else:
            future.set_result(_ANSWERS[command].FromString(frame.body))

    async def _watch(self) -> None:
        """An answer that is too late makes the connection a dead one."""
        while True:
            oldest = next(iter(self._waiting.values()), None)
            now = self._loop.time()
            if oldest is None:
                await asyncio.sleep(self._answer_timeout / 10)
            elif oldest[1] <= now:
                self._over()
                return
            else:
                await asyncio.sleep(min(oldest[1] - now, self._answer_timeout / 10))

    def _over(self) -> None:
        if self.ended.done():
            return
        self.ended.set_result(self._goodbye)
        for _, _, future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionLost())
                future.exception()
        self._waiting.clear()
        self._writer.transport.abort()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
