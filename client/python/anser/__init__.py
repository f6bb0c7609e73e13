"""A client for Anser, written from docs/protocol.md."""

from .client import Client, State
from .cursor import CursorStore, FileCursor, Position
from .errors import (
    AnserError,
    Code,
    ConnectionLost,
    Ended,
    NotDelivered,
    OutcomeUnknown,
    Refused,
)
from .model import HistoryPage, LoggedIn, Message, Receipt, ReceiptKind, Sent, Type
from .tokens import make_token, node_key

__all__ = [
    "AnserError",
    "Client",
    "Code",
    "ConnectionLost",
    "CursorStore",
    "Ended",
    "FileCursor",
    "HistoryPage",
    "LoggedIn",
    "Message",
    "NotDelivered",
    "OutcomeUnknown",
    "Position",
    "Receipt",
    "ReceiptKind",
    "Refused",
    "Sent",
    "State",
    "Type",
    "make_token",
    "node_key",
]
