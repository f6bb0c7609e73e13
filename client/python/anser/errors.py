"""What can go wrong, by the numbers of docs/protocol.md."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    LOGIN_REQUIRED = 100
    TOKEN_INVALID = 101
    TOKEN_EXPIRED = 102
    TOKEN_NOT_YET = 103
    TOKEN_AUDIENCE = 104
    TOKEN_KEY = 105
    REPLACED = 106
    LOGIN_TWICE = 107
    LOGIN_TIMEOUT = 108
    TOKEN_REVOKED = 109
    TOKEN_DEVICE = 110
    TOKEN_APP = 111
    TOKEN_ALGORITHM = 112
    TOKEN_UNSIGNED = 113
    KICKED = 114
    PASSWORD_WRONG = 115
    REFRESH_INVALID = 116
    REFRESH_REUSED = 117
    SIGNATURE_MISSING = 118
    SIGNATURE_KEY = 119
    SIGNATURE_EXPIRED = 120
    SIGNATURE_WRONG = 121
    SIGNATURE_REPLAYED = 122
    FORBIDDEN = 200
    USER_FORBIDDEN = 201
    MUTED = 202
    USER_NOT_FOUND = 300
    NOT_FOUND = 301
    USER_DELETED = 302
    APP_UNKNOWN = 303
    ID_CONFLICT = 400
    ID_EXPIRED = 401
    ID_TIME = 402
    USER_EXISTS = 403
    RESET = 404
    CURSOR_AHEAD = 405
    LOCKED = 406
    WORKER_TAKEN = 407
    TOO_MANY_DEVICES = 408
    BUSY = 500
    UNAVAILABLE = 501
    EXPIRED = 502
    ORDER = 503
    DISK_FULL = 504
    SLOW_CONSUMER = 505
    IDLE = 506
    SHUTTING_DOWN = 507
    TIMEOUT = 508
    TOO_MANY_CONNECTIONS = 509
    DRAINING = 510
    RATE = 511
    ADDRESS_FULL = 512
    TOO_MANY_TRIES = 513
    FRAME_MAGIC = 600
    FRAME_VERSION = 601
    FRAME_TOO_LARGE = 602
    FRAME_FLAGS = 603
    CODEC = 604
    COMMAND = 605
    BODY_MALFORMED = 606
    BODY_TOO_LARGE = 607
    BODY_EMPTY = 608
    UTF8 = 609
    ARGUMENT = 610
    USER_NAME = 611
    DEVICE_NAME = 612
    CONFIG = 613
    JSON = 614
    METHOD = 615
    CONTENT_TYPE = 616
    PASSWORD_LENGTH = 617
    INTERNAL = 700
    FENCED = 701
    GAP = 702
    MOVED = 703
    NOT_MINE = 704
    IO = 705
    CORRUPT = 706
    NO_MEMORY = 707
    ENVELOPE = 708
    NOT_SUPPORTED = 709
    CONNECTION = 710
    FULL = 711
    REWIND = 712
    CLUSTER = 713
    TLS = 714


def code_of(number: int) -> Code | int:
    """The name of a number; the number itself when a newer server uses one not known here."""
    try:
        return Code(number)
    except ValueError:
        return number


class AnserError(Exception):
    """The root of what this package raises."""


class Refused(AnserError):
    """The server answered a request with an error."""

    def __init__(
        self, number: int, name: str, text: str, retry: bool = False, retry_after_ms: int = 0
    ) -> None:
        super().__init__(f"{name} ({number}): {text}")
        self.code = code_of(number)
        self.name = name
        self.text = text
        self.retry = retry
        self.retry_after_ms = retry_after_ms


class Ended(AnserError):
    """The client has ended and will not connect again. `reason` says why: a refused login, a
    Goodbye, or None when it was closed here, or failed here: then `__cause__` is what was raised."""

    def __init__(self, reason: Refused | None = None) -> None:
        super().__init__(str(reason) if reason else "the client was closed")
        self.reason = reason


class ConnectionLost(AnserError):
    """The connection ended before the answer came."""


class NotDelivered(AnserError, TimeoutError):
    """The time given is over and the message was never given to a server."""


class OutcomeUnknown(AnserError, TimeoutError):
    """The time given is over and no answer came: the message may have arrived. Sending it again
    with `id=client_msg_id` is safe for 24 hours."""

    def __init__(self, client_msg_id: bytes) -> None:
        super().__init__(f"message {client_msg_id.hex()}: no answer; it may have arrived")
        self.client_msg_id = client_msg_id
