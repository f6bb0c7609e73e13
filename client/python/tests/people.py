"""people.py DIR ADDRESS...: people talk over the gates of a running server, whoever is killed
meanwhile; DIR has the node.json with the key. Prints `talking` when half has been sent, and `done
N` when everything has come once and in order; N of the messages were announced to their own sender
by an Event only."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anser  # noqa: E402

NAMES = [f"p{i}" for i in range(6)]
ROUNDS = 60
PATIENCE = 120.0


class Watched(anser.Client):
    """Counts the answers that do not name an inbox entry."""

    unnamed = 0

    def _answered(self, connection: Any, message: Any, answer: asyncio.Future[Any]) -> None:
        if not answer.exception() and not answer.result().inbox_seq:
            Watched.unnamed += 1
        super()._answered(connection, message, answer)


async def hear(me: anser.Client) -> list[anser.Message]:
    got = [await me.receive(PATIENCE) for _ in range(len(NAMES) * ROUNDS)]
    me.confirm(got[-1])
    return got


async def main() -> None:
    key = anser.node_key(sys.argv[1])
    addresses = sys.argv[2:]
    half = asyncio.Event()

    def client(number: int) -> anser.Client:
        turned = addresses[number % len(addresses) :] + addresses[: number % len(addresses)]
        return Watched(turned, lambda: anser.make_token(NAMES[number], *key), "python")

    people = [client(number) for number in range(len(NAMES))]
    await asyncio.gather(*(me.start(PATIENCE) for me in people))

    async def talk(me: anser.Client) -> list[anser.Sent]:
        sent: list[anser.Sent] = []
        for number in range(ROUNDS):
            if number == ROUNDS // 2 and not half.is_set():
                half.set()
                print("talking", flush=True)
            posted = [me.post(to, f"{me.user} {number}") for to in NAMES]
            sent += await asyncio.gather(*posted)
        return sent

    said = await asyncio.gather(*(talk(me) for me in people), *(hear(me) for me in people))
    for me, sent, got in zip(people, said, said[len(people) :], strict=False):
        for other in NAMES:
            texts = [m.text for m in got if m.sender == other]
            assert texts == [f"{other} {n}" for n in range(ROUNDS)], (me.user, other, texts)
            seqs = [m.seq for m in got if m.peer(me.user) == other]
            assert seqs == sorted(set(seqs)), (me.user, other, seqs)
        for one in sent[-len(NAMES) :]:
            await me.delivered(one, PATIENCE)
    await asyncio.gather(*(me.close() for me in people))
    print("done", Watched.unnamed, flush=True)


asyncio.run(main())
