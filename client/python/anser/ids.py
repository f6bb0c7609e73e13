"""Message ids: UUIDv7 stamped with the server's time."""

from __future__ import annotations

import secrets
import time


def uuid7(time_ms: int) -> bytes:
    """Sixteen bytes: 48 bits of Unix milliseconds, version 7, 74 random bits."""
    value = (time_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return value.to_bytes(16, "big")


class ServerClock:
    """What the server's clock shows now: its last word plus what ours has run since."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    def heard(self, server_time_ms: int) -> None:
        self._offset_ms = server_time_ms - time.monotonic() * 1000

    @property
    def known(self) -> bool:
        return self._offset_ms is not None

    def now_ms(self) -> int:
        if self._offset_ms is None:
            raise RuntimeError("the server's time is not known before the first login")
        return int(time.monotonic() * 1000 + self._offset_ms)
