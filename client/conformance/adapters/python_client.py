#!/usr/bin/python3
"""The adapter (client/conformance/README.md) of the Python client."""
import asyncio
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "python"))

import anser  # noqa: E402 (beside this one)


class Adapter:
    def __init__(self, arguments):
        addresses, tokens, device, cursor, answer_ms, _ = arguments
        self.tokens = tokens.split(",")
        one = len(self.tokens) == 1
        self.client = anser.Client(
            addresses.split(","), self.tokens[0] if one else self.next_token, device,
            cursor=None if cursor == "-" else cursor, server_key=os.environ.get("ANSER_SERVER_KEY"),
            answer_timeout=int(answer_ms) / 1000,
            on_receipt=self.on_receipt, on_state=self.on_state)
        self.sent, self.early, self.stored = {}, set(), set()
        self.posted, self.following = set(), set()

    def next_token(self):
        """Each login gets the next one; the last is good for ever."""
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]

    def on_state(self, state, reason):
        word = "CLOSED" if state is anser.State.ENDED else state.value.upper()
        print("state", word, reason.name if reason else "-", flush=True)

    def on_receipt(self, receipt):
        if receipt.kind == anser.ReceiptKind.STORED:
            self.early.add((receipt.peer, receipt.seq))
            self.tell_stored(receipt.peer, receipt.seq)

    def tell_stored(self, peer, seq):
        key = peer, seq
        if key in self.early and key in self.sent and key not in self.stored:
            self.stored.add(key)
            print("send", self.sent[key], "STORED", seq, flush=True)

    async def post(self, number, to, text):
        try:
            sent = await self.client.post(to, text)
        except (anser.AnserError, ValueError) as error:
            print("send", number, "FAILED 0 1", type(error).__name__, flush=True)
            return
        print("send", number, "SENT", sent.seq, flush=True)
        self.sent[to, sent.seq] = number
        self.tell_stored(to, sent.seq)
        self.following.add(asyncio.ensure_future(self.follow(number, sent)))

    async def follow(self, number, sent):
        await self.client.delivered(sent)
        print("send", number, "DELIVERED", sent.seq, flush=True)

    async def receive(self):
        async for message in self.client:
            print("message", message.inbox_seq, message.sender, message.text, flush=True)

    async def history(self, peer):
        async for message in self.client.conversation(peer):
            print("history", peer, message.seq, message.text, flush=True)
        print("history", peer, "end", flush=True)

    async def say(self):
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        number = 0
        while line := await reader.readline():
            to, _, text = line.decode().rstrip("\n").partition(" ")
            if to == "/history":
                self.posted.add(asyncio.ensure_future(self.history(text)))
                continue
            number += 1
            task = asyncio.ensure_future(self.post(number, to, text))
            self.posted.add(task)

    async def main(self):
        try:
            print("can history", flush=True)
            await self.client.start(timeout=60)
            receiving = asyncio.ensure_future(self.receive())
            await self.say()
            if self.posted:
                await asyncio.wait(self.posted)
            receiving.cancel()
            await self.client.close()
        except anser.Ended:
            pass
        for task in self.following:
            task.cancel()
        print("end", flush=True)


asyncio.run(Adapter(sys.argv[1:]).main())
