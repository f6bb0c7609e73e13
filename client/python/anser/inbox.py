"""The receiving algorithm of docs/protocol.md: pure state, no input or output."""

from __future__ import annotations

from collections import deque

from .cursor import Position
from .model import Message

ASIDE_MAX = 1000


class InboxAnew(Exception):
    """The server's inbox is another one than ours: log in again and look."""


class Own:
    """An entry that holds what this very program sent; nothing to hand out."""


OWN = Own()
Entry = Message | Own | None


class Inbox:
    """`next` is the entry wanted next; `head` the highest number heard of; while `next <= head`
    there is something to ask for. `safe` is the last entry up to which everything is confirmed by
    the application."""

    def __init__(self, position: Position | None) -> None:
        self.generation = position.generation if position else 0
        self.next = position.next if position else 1
        self.head = 0
        self.marks: dict[str, int] = dict(position.marks) if position else {}
        self._stored = position is not None
        self._aside: dict[int, Entry] = {}
        self._open: deque[Message] = deque()  # handed out, not confirmed

    @property
    def behind(self) -> bool:
        return self.next <= self.head

    @property
    def safe(self) -> int:
        return (self._open[0].inbox_seq if self._open else self.next) - 1

    def logged_in(self, generation: int, first: int, head: int, cursor: int) -> bool:
        """Steps 1 to 4 after login. True: the inbox is another one, our position is forgotten."""
        anew = self._stored and (generation != self.generation or self.next - 1 > head)
        if anew:
            self.next = 1
            self.marks.clear()
            self._open.clear()
        if anew or not self._stored:
            self._aside.clear()
        self._stored = True
        self.generation = generation
        self.head = head
        self._skip_to(max(cursor + 1, first))
        return anew

    def gone_below(self, first: int) -> None:
        """The server keeps nothing before `first`."""
        self._skip_to(first)

    def _skip_to(self, seq: int) -> None:
        if seq > self.next:
            self.next = seq
            for old in [n for n in self._aside if n < seq]:
                del self._aside[old]

    def offer(self, seq: int, generation: int, entry: Entry) -> list[Message]:
        """An entry has come, in whatever way. What is to be handed out now, in order."""
        if generation and self.generation and generation != self.generation:
            raise InboxAnew
        if generation:
            self.generation = generation
        self.head = max(self.head, seq)
        if seq < self.next:
            return []
        if self._aside.get(seq) is not OWN:
            if seq > self.next and len(self._aside) >= ASIDE_MAX and seq not in self._aside:
                return []
            self._aside[seq] = entry
        out = []
        while self.next in self._aside:
            taken = self._aside.pop(self.next)
            self.next += 1
            if isinstance(taken, Message):
                self._open.append(taken)
                out.append(taken)
        return out

    def confirm(self, message: Message, user: str) -> None:
        """The application has this message, and all handed out before it, safely."""
        if message.generation != self.generation:
            return
        while self._open and self._open[0].inbox_seq <= message.inbox_seq:
            done = self._open.popleft()
            peer = done.peer(user)
            if done.sender == peer:
                self.marks[peer] = max(self.marks.get(peer, 0), done.seq)

    def told(self, marks: dict[str, int]) -> None:
        """The server knows these marks now."""
        for peer, seq in marks.items():
            if self.marks.get(peer, 0) <= seq:
                self.marks.pop(peer, None)

    def position(self) -> Position:
        return Position(self.generation, self.safe + 1, dict(self.marks))
