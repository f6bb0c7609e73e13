"""A WebSocket in the place of a stream, with python3-websockets."""

from __future__ import annotations

import asyncio
import collections
import ssl as ssl_module
from typing import Any

MESSAGE_MAX = 1 << 20  # a frame of the server's


class WebWriter:
    """Of an asyncio.StreamWriter what a Connection uses; each write is one message."""

    def __init__(self, web: Any, reader: asyncio.StreamReader) -> None:
        self.transport = self
        self._web = web
        self._reader = reader
        self._unsent: collections.deque[bytes] = collections.deque()
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._take()), loop.create_task(self._give())]

    def write(self, data: bytes) -> None:
        self._unsent.append(data)
        self._empty.clear()
        self._more.set()

    async def drain(self) -> None:
        """Until the library has taken everything; OSError when the connection is over."""
        await self._empty.wait()
        if self._web.closed:
            raise ConnectionResetError

    def abort(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._web.transport is not None:
            self._web.transport.abort()

    async def _take(self) -> None:
        try:
            async for message in self._web:
                if isinstance(message, bytes):
                    self._reader.feed_data(message)
        except Exception:  # whatever the library says of an end, it is one
            pass
        finally:
            self._reader.feed_eof()
            self._empty.set()

    async def _give(self) -> None:
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._unsent:
                    await self._web.send(self._unsent.popleft())
                self._empty.set()
        except Exception:
            self._empty.set()


async def open_web(
    address: str, ssl: ssl_module.SSLContext | None
) -> tuple[asyncio.StreamReader, WebWriter]:
    """Raises OSError when it cannot be made."""
    # Only who asks for a WebSocket needs it.
    import websockets
    from websockets.exceptions import WebSocketException

    reader = asyncio.StreamReader(limit=MESSAGE_MAX)
    try:
        web = await websockets.connect(
            address,
            ssl=ssl,
            subprotocols=["anser.protobuf"],
            compression=None,
            max_size=MESSAGE_MAX,
            ping_interval=None,  # the protocol has its own
        )
    except WebSocketException as refused:
        raise ConnectionRefusedError(str(refused)) from None
    return reader, WebWriter(web, reader)
