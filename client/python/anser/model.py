"""What a client hands out."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Type(enum.IntEnum):
    """Kinds of message body; other numbers pass as well."""

    TEXT = 1
    PICTURE = 2
    FILE = 3
    RED_PACKET = 4


@dataclass(frozen=True)
class Message:
    """One message of a conversation. `seq` orders it there. `inbox_seq` and `generation` are its
    place in the inbox, 0 when it came from the history."""

    message_id: int
    seq: int
    time_ms: int
    sender: str
    to: str
    device: str
    client_msg_id: bytes
    type: int
    body: bytes
    inbox_seq: int = 0
    generation: int = 0

    @property
    def text(self) -> str:
        """The body of a text message."""
        if self.type != Type.TEXT:
            raise TypeError(f"a message of type {self.type} is no text")
        return self.body.decode()

    def peer(self, user: str) -> str:
        """The name of the conversation, as `user` sees it: the one who is not `user`."""
        return self.to if self.sender == user else self.sender


def message_of(wire: Any, inbox_seq: int = 0, generation: int = 0) -> Message:
    return Message(
        wire.message_id,
        wire.seq,
        wire.time_ms,
        getattr(wire, "from").decode(),
        wire.to.decode(),
        wire.from_device.decode(),
        wire.client_msg_id,
        wire.type,
        wire.body,
        inbox_seq,
        generation,
    )


@dataclass(frozen=True)
class Sent:
    """A message is on the server's disk."""

    to: str
    client_msg_id: bytes
    seq: int
    message_id: int
    time_ms: int


class ReceiptKind(enum.IntEnum):
    DELIVERED = 1
    STORED = 2


@dataclass(frozen=True)
class Receipt:
    """A hint. DELIVERED: a device of `peer` has everything up to `seq`. STORED: no device of `peer`
    is online, message `seq` waits for them."""

    peer: str
    seq: int
    kind: int


@dataclass(frozen=True)
class HistoryPage:
    """Messages of a conversation in the order asked for. `head`: the newest number of all.
    `completed`: there is nothing further in this direction."""

    messages: list[Message]
    head: int
    completed: bool
    peer_delivered: int
    own_delivered: int


@dataclass(frozen=True)
class LoggedIn:
    """What a server said at login."""

    user: str
    address: str
    generation: int
    inbox_first: int
    inbox_head: int
    cursor: int
    heartbeat_ms: int
    idle_ms: int
    body_len_max: int
    frame_len_max: int
    sends_max: int
