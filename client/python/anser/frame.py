"""Frames: sixteen bytes of header, then the body."""

from __future__ import annotations

import asyncio
import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .noise import NoiseReader

_HEADER = struct.Struct(">2sBBHHII")
HEADER_LEN = _HEADER.size
MAGIC = b"AN"
VERSION = 1
PROTOBUF = 1
ANSWER = 1
ERROR = 2
FROM_SERVER_MAX = 1 << 20


class Command(enum.IntEnum):
    LOGIN = 1
    LOGOUT = 2
    HEARTBEAT = 3
    SEND = 4
    CONFIRM = 5
    SYNC = 6
    HISTORY = 7
    EVENT = 64
    RECEIPT = 65
    GOODBYE = 66


class FrameError(Exception):
    """The stream from the server is no stream of frames; it cannot be trusted any more."""


@dataclass(frozen=True)
class Frame:
    command: int
    flags: int
    request: int
    body: bytes

    def pack(self) -> bytes:
        return (
            _HEADER.pack(
                MAGIC, VERSION, PROTOBUF, self.command, self.flags, self.request, len(self.body)
            )
            + self.body
        )


async def read_frame(reader: asyncio.StreamReader | NoiseReader) -> Frame:
    """The next frame; asyncio.IncompleteReadError at the end of the stream."""
    header = await reader.readexactly(HEADER_LEN)
    magic, version, codec, command, flags, request, length = _HEADER.unpack(header)
    if magic != MAGIC or version != VERSION or codec != PROTOBUF:
        raise FrameError(f"not a frame of version {VERSION}: {header.hex()}")
    if HEADER_LEN + length > FROM_SERVER_MAX:
        raise FrameError(f"a frame of {length} bytes")
    return Frame(command, flags, request, await reader.readexactly(length))
