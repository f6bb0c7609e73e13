"""What is to be sent, and in which order: pure state, no input or output.

Each conversation is a lane. Its messages go out one behind the other, many under way at once, until
the server refuses one for now: then the lane is held, everything comes back into its order, and the
first goes out alone until it is accepted.
"""

from __future__ import annotations

import asyncio
import bisect
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .model import Sent

PAUSE_MIN = 0.1
PAUSE_MAX = 5.0


@dataclass(eq=False)
class Outgoing:
    order: int
    to: str
    type: int
    body: bytes
    client_msg_id: bytes | None
    done: asyncio.Future[Sent]
    tried: bool = False  # it was given to a server at least once
    refused: bool = False  # on the present connection, for now


@dataclass
class _Lane:
    waiting: list[Outgoing] = field(default_factory=list)
    flying: set[Outgoing] = field(default_factory=set)
    held: bool = False
    alone: Outgoing | None = None
    pause: float = PAUSE_MIN
    asked: float = 0.0  # the server's own wish
    resume_at: float = 0.0


class Outbox:
    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._count = 0
        self._tried: set[tuple[str, bytes | None]] = set()
        self.under_way = 0

    def __iter__(self) -> Iterator[Outgoing]:
        for lane in self._lanes.values():
            yield from lane.waiting
            yield from lane.flying

    def holds(self, to: str, client_msg_id: bytes) -> bool:
        """It was given to a server and is not answered yet."""
        return (to, client_msg_id) in self._tried

    def add(
        self,
        to: str,
        type: int,
        body: bytes,
        client_msg_id: bytes | None,
        done: asyncio.Future[Sent],
    ) -> Outgoing:
        self._count += 1
        message = Outgoing(self._count, to, type, body, client_msg_id, done)
        self._lanes.setdefault(to, _Lane()).waiting.append(message)
        return message

    def take(self, now: float, window: int, new_id: Callable[[], bytes]) -> Outgoing | None:
        """The next message that may go out now, if any. It gets its id with its first try."""
        if self.under_way >= window:
            return None
        for lane in self._lanes.values():
            if not lane.waiting or lane.held and (lane.flying or now < lane.resume_at):
                continue
            message = lane.waiting.pop(0)
            lane.flying.add(message)
            self.under_way += 1
            if lane.held:
                lane.alone = message
            message.tried = True
            message.client_msg_id = message.client_msg_id or new_id()
            self._tried.add((message.to, message.client_msg_id))
            return message
        return None

    def wake_at(self) -> float | None:
        """When a held lane may try again."""
        times = [
            lane.resume_at
            for lane in self._lanes.values()
            if lane.held and lane.waiting and not lane.flying
        ]
        return min(times, default=None)

    def accepted(self, message: Outgoing, now: float) -> None:
        lane = self._landed(message)
        self._tried.discard((message.to, message.client_msg_id))
        if lane and lane.alone is message:
            lane.held = False
            lane.alone = None
            lane.pause = PAUSE_MIN
        elif lane:
            self._settle(lane, now)
        self._tidy(message.to)

    def refused(self, message: Outgoing, now: float) -> None:
        """For good. If the lane is held, the next one takes its place at once."""
        lane = self._landed(message)
        self._tried.discard((message.to, message.client_msg_id))
        if lane:
            alone, lane.alone = lane.alone, None
            self._settle(lane, now, at_once=alone is message)
        self._tidy(message.to)

    def refused_for_now(self, message: Outgoing, now: float, after: float) -> bool:
        """True: the message was given up meanwhile, but the server waits for it: connect anew."""
        lane = self._landed(message)
        if lane is None:
            return False
        if lane.alone is message:
            lane.alone = None
            lane.pause = min(lane.pause * 2, PAUSE_MAX)
        lane.held = True
        lane.asked = max(lane.asked, after)
        message.refused = True
        given_up = message.done.done()
        if given_up:
            self._tried.discard((message.to, message.client_msg_id))
        else:
            bisect.insort(lane.waiting, message, key=lambda m: m.order)
        self._settle(lane, now)
        self._tidy(message.to)
        return given_up

    def withdraw(self, message: Outgoing) -> bool:
        """Given up. True: the server waits for it; connect anew."""
        lane = self._lanes.get(message.to)
        if lane is None or message not in lane.waiting:
            return False  # under way: its answer will be passed over
        lane.waiting.remove(message)
        self._tried.discard((message.to, message.client_msg_id))
        self._tidy(message.to)
        return message.refused

    def lost(self) -> None:
        """The connection is gone: all that was not answered is to be sent again, in its order."""
        for to, lane in list(self._lanes.items()):
            for message in [*lane.waiting, *lane.flying]:
                message.refused = False
            kept = [m for m in [*lane.waiting, *lane.flying] if not m.done.done()]
            kept.sort(key=lambda m: m.order)
            self._lanes[to] = _Lane(waiting=kept)
            self._tidy(to)
        self.under_way = 0
        self._tried = {(m.to, m.client_msg_id) for m in self if m.tried}

    def _landed(self, message: Outgoing) -> _Lane | None:
        lane = self._lanes.get(message.to)
        if lane is None or message not in lane.flying:
            return None
        lane.flying.remove(message)
        self.under_way -= 1
        return lane

    def _settle(self, lane: _Lane, now: float, at_once: bool = False) -> None:
        if lane.held and not lane.flying:
            pause = 0.0 if at_once else max(lane.asked, lane.pause * random.uniform(0.5, 1.0))
            lane.resume_at = now + pause
            lane.asked = 0.0

    def _tidy(self, to: str) -> None:
        lane = self._lanes.get(to)
        if lane is not None and not lane.waiting and not lane.flying:
            del self._lanes[to]
