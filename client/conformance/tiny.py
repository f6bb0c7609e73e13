#!/usr/bin/python3
"""A small client that keeps the rules, for the kit's own test, and breaks the one it is told to:

    tiny.py [--break FAULT] ADDRESSES TOKENS DEVICE CURSOR ANSWER_TIMEOUT_MS ATTEMPTS

FAULTS names the faults, each with the rule that the kit must name and the script that finds it.
It shows how little a client needs; it is not meant to be used."""
import asyncio
import bisect
import json
import os
import random
import secrets
import ssl
import sys
import tempfile
import time

from mock import (ANSWER, CONFIRM, ERROR, EVENT, GOODBYE, HEADER, HEARTBEAT, HISTORY, LOGIN, RECEIPT,
                  SEND, SYNC)
from schema import load_proto

FAULTS = {  # fault: (rule, script)
    "request-zero": ("request-number", "whole-day"),
    "odd-codec": ("frame-header", "whole-day"),
    "noise": ("body-form", "whole-day"),
    "toaster": ("login-fields", "whole-day"),
    "hopeful": ("send-told", "answer-lost"),
    "garbler": ("inbox-true", "whole-day"),
    "late-sleeper": ("after-login", "whole-day"),
    "no-nothing": ("entry-empty", "a-later-version"),
    "touchy": ("login-again", "login-refused-for-now"),
    "wide-load": ("body-size", "oversized"),
    "leaps": ("position-kept", "restart"),
    "said-once": ("confirm-again", "restart"),
    "early-send": ("login-first", "whole-day"),
    "local-clock": ("id-clock", "whole-day"),
    "random-id": ("id-form", "whole-day"),
    "one-id": ("id-unique", "whole-day"),
    "confirm-back": ("confirm-back", "whole-day"),
    "no-confirm": ("confirm-comes", "whole-day"),
    "no-positions": ("positions", "whole-day"),
    "one-read": ("frame-cut", "frames-cut-and-glued"),
    "credulous": ("tls-verify", "wrong-certificate"),
    "half-frames": ("web-form", "whole-day"),
    "one-history-page": ("history-pages", "history-pages"),
    "trusting": ("frame-bad", "broken-frames"),
    "strict": ("unknown", "a-later-version"),
    "known-numbers": ("unknown-error", "a-later-version"),
    "in-turn": ("answers-matched", "answers-overtake"),
    "login-storm": ("goodbye-pause", "login-refused-for-now"),
    "stubborn": ("login-final", "login-refused-for-good"),
    "old-token": ("token-fresh", "token-expired"),
    "revoked-ends": ("token-fresh", "token-revoked"),
    "comes-back": ("goodbye-final", "replaced"),
    "new-id": ("id-kept", "answer-lost"),
    "forgetful": ("answer-lost", "answer-lost"),
    "backwards": ("order-sent", "answer-lost"),
    "patient": ("answer-late", "answer-late"),
    "no-window": ("window", "window-of-four"),
    "order-blind": ("order-again", "busy-and-order"),
    "hasty": ("refused-pause", "busy-and-order"),
    "newest-first": ("order-new", "busy-and-order"),
    "gives-up": ("refused-again", "busy-and-order"),
    "insists": ("refused-final", "refused-for-good"),
    "big": ("frame-size", "oversized"),
    "taken-twice": ("inbox-once", "doubled-and-reordered"),
    "as-it-comes": ("inbox-order", "doubled-and-reordered"),
    "no-sync": ("hole", "hole"),
    "confirm-early": ("confirm-early", "hole"),
    "sync-head": ("sync-after", "hole"),
    "one-page": ("sync-pages", "hole"),
    "sync-storm": ("sync-refused", "hole"),
    "own-blind": ("own-entry", "own-entries"),
    "untrimmed": ("trimmed", "trimmed"),
    "mute": ("heartbeat", "heartbeats"),
    "head-blind": ("heartbeat-head", "heartbeats"),
    "one-inbox": ("anew", "inbox-begins-anew"),
    "old-position": ("anew", "restored-backup"),
    "no-file": ("position-kept", "restart"),
    "two-hundred": ("confirm-form", "many-conversations"),
    "tells-twice": ("receipt-once", "receipts"),
    "no-history": ("receipt-lost", "receipt-lost"),
    "same-gate": ("goodbye-next", "draining"),
    "hurry": ("goodbye-pause", "shutting-down"),
    "storm": ("back-off", "back-off"),
    "one-life": ("reconnect", "back-off"),
}
FAULT_DOORS = {"credulous": "tls", "half-frames": "ws"}  # the others are found at any
FAULT = ""


def breaks(name):
    return FAULT == name


class WebWriter:
    def __init__(self, web, reader):
        self.web, self.queue, self.transport = web, asyncio.Queue(), self
        self.tasks = [asyncio.ensure_future(self.give()), asyncio.ensure_future(self.take(reader))]

    def write(self, data):
        if breaks("half-frames"):
            self.queue.put_nowait(data[:9])
            data = data[9:]
        self.queue.put_nowait(data)

    def close(self):
        self.queue.put_nowait(None)

    def abort(self):
        self.web.transport.abort()

    async def give(self):
        try:
            while (data := await self.queue.get()) is not None:
                await self.web.send(data)
            await self.web.close()
        except Exception:  # an end, in the library's words
            pass

    async def take(self, reader):
        try:
            async for message in self.web:
                reader.feed_data(message)
        except Exception:
            pass
        reader.feed_eof()


async def connect(address):
    scheme, _, place = address.partition("://")
    context = ssl.create_default_context() if scheme in ("tls", "wss") else None
    if context and breaks("credulous"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if scheme in ("tcp", "tls"):
        host, port = place.rsplit(":", 1)
        return await asyncio.open_connection(host, int(port), ssl=context, limit=1 << 22)
    import websockets
    from websockets.exceptions import WebSocketException
    reader = asyncio.StreamReader(limit=1 << 22)
    try:
        web = await websockets.connect(address, ssl=context, subprotocols=["anser.protobuf"],
                                       compression=None, max_size=1 << 20, ping_interval=None)
    except WebSocketException as error:
        raise Over from error
    return reader, WebWriter(web, reader)


class Over(Exception):
    """The connection is to end."""


class Lane:
    """One conversation's messages, in their order."""

    def __init__(self):
        self.waiting, self.flying = [], []
        self.held, self.alone, self.resume = False, None, 0.0


class Message:
    def __init__(self, number, to, text):
        self.number, self.to, self.text = number, to, text
        self.id, self.seq, self.told = None, 0, set()

    def tell(self, state, seq=0):
        if state not in self.told or breaks("tells-twice"):
            self.told.add(state)
            print("send", self.number, state, seq, flush=True)


class Tiny:
    def __init__(self, pb, arguments):
        addresses, tokens, self.device, cursor, answer_ms, _ = arguments
        self.pb, self.answer_s = pb, int(answer_ms) / 1000
        self.addresses = addresses.split(",")
        self.history = {}  # peer: the last number of its pages
        self.tokens, self.cursor_path = tokens.split(","), None if cursor == "-" else cursor
        self.known, self.generation, self.next, self.marks = False, 0, 1, {}
        self.messages, self.lanes, self.early = [], {}, set()
        self.finished, self.ended = False, False
        self.writer, self.retry_after, self.asked_to = None, 0.0, None
        if self.cursor_path and os.path.exists(self.cursor_path) and not breaks("no-file"):
            with open(self.cursor_path, encoding="utf-8") as f:
                self.generation, self.next, self.marks = json.load(f)
            self.known = True
            self.next += 1 if breaks("leaps") else 0

    # --- the connection

    async def live(self):
        pause, tried, at = 0.2, 0, 0
        while not self.ended and not (self.finished and self.idle()):
            address = self.addresses[at % len(self.addresses)]
            at += 0 if breaks("same-gate") else 1
            tried += 1
            self.retry_after, self.online = 0.0, False
            try:
                await self.connection(address)
            except (Over, OSError, asyncio.IncompleteReadError):
                pass
            finally:
                if self.writer:
                    self.writer.close()
                self.writer = None
            self.lost()
            if self.ended or breaks("one-life"):
                break
            if self.online and tried < len(self.addresses):
                continue
            if tried >= len(self.addresses):
                rest = 0.01 if breaks("storm") else pause * random.uniform(0.5, 1)
                if not breaks("hurry"):
                    rest = max(rest, self.retry_after)
                await asyncio.sleep(rest)
                tried, pause = 0, min(2 * pause, 30)
        print("end", flush=True)

    async def connection(self, address):
        reader, self.writer = await connect(address)
        self.open, self.request, self.login, self.heard = {}, 0, None, 0.0
        self.aside, self.sync_at, self.hole_since, self.sync_pause = {}, 0.0, 0.0, 0.1
        if breaks("early-send"):
            self.ask(HEARTBEAT, self.pb.Heartbeat())
        self.say_login()
        ticking = asyncio.ensure_future(self.tick_on())
        try:
            while True:
                self.frame(*await self.read(reader))
        finally:
            ticking.cancel()

    async def read(self, reader):
        if breaks("one-read"):
            data = await reader.read(1 << 20)
            if not data:
                raise Over
            magic, _, _, command, flags, request, length = HEADER.unpack(data[:16])
            return command, flags, request, data[16:16 + length]
        magic, version, codec, command, flags, request, length = HEADER.unpack(
            await reader.readexactly(HEADER.size))
        if (magic, version, codec) != (b"AN", 1, 1) or length > (1 << 20) - HEADER.size:
            if not breaks("trusting"):
                raise Over
        return command, flags, request, await reader.readexactly(length)

    def say_login(self):
        self.ask(LOGIN, self.pb.Login(token=self.tokens[0].encode(), device=self.device.encode(),
                                      client=b"tiny 1",
                                      platform=b"toaster" if breaks("toaster") else b""))

    def ask(self, command, body, what=None):
        self.request += 0 if breaks("request-zero") else 1
        self.open[self.request] = command, time.monotonic(), what
        data = body.SerializeToString()
        if breaks("noise") and command == CONFIRM:
            data = b"\xff\xff\xff"
        codec = 3 if breaks("odd-codec") and command == SEND else 1
        self.writer.write(HEADER.pack(b"AN", 1, codec, command, 0, self.request, len(data)) + data)

    def lost(self):
        """What had no answer goes out again, in its order."""
        for lane in self.lanes.values():
            if breaks("forgetful"):
                lane.flying = []
            lane.waiting = sorted(lane.waiting + lane.flying, key=lambda m: m.number,
                                  reverse=breaks("backwards"))
            lane.flying, lane.held, lane.alone = [], False, None

    # --- frames

    def frame(self, command, flags, request, data):
        if not flags & ANSWER:
            self.push(command, data)
            return
        if breaks("in-turn"):
            request = min((n for n, (c, _, _) in self.open.items() if c == command), default=0)
        if request not in self.open:
            return
        _, _, what = self.open.pop(request)
        if flags & ERROR:
            self.refused(command, self.pb.Error.FromString(data), what)
            return
        if command == LOGIN:
            self.logged_in(self.pb.LoginOk.FromString(data))
        elif command == HEARTBEAT:
            self.heartbeat_ok(self.pb.HeartbeatOk.FromString(data))
        elif command == SEND:
            self.sent(what, self.pb.SendOk.FromString(data))
        elif command == CONFIRM:
            self.confirmed(what, self.pb.ConfirmOk.FromString(data))
        elif command == SYNC:
            self.synced(self.pb.SyncOk.FromString(data))
        elif command == HISTORY:
            self.paged(what, self.pb.HistoryOk.FromString(data))

    def push(self, command, data):
        if command == EVENT:
            self.event(self.pb.Event.FromString(data))
        elif command == RECEIPT:
            receipt = self.pb.Receipt.FromString(data)
            if receipt.kind == 1:
                self.delivered(receipt.peer.decode(), receipt.seq)
            elif receipt.kind == 2:
                self.early.add((receipt.peer.decode(), receipt.seq))
                self.stored()
                if breaks("tells-twice"):
                    self.stored()
        elif command == GOODBYE:
            bye = self.pb.Goodbye.FromString(data)
            self.retry_after = bye.retry_after_ms / 1000
            if not bye.retry and not breaks("comes-back") and not breaks("stubborn"):
                self.ended = self.ended or not self.other_token(bye.code)
        elif breaks("strict"):
            raise Over

    def other_token(self, code):
        """Is there another token, and does it mend this?"""
        mends = (102,) if breaks("revoked-ends") else (102, 109)
        if code not in mends or len(self.tokens) < 2 or breaks("old-token"):
            return False
        self.tokens.pop(0)
        return True

    def refused(self, command, error, what):
        after = error.retry_after_ms / 1000
        if command == LOGIN:
            if self.other_token(error.code):
                pass
            elif not error.retry and not breaks("stubborn") and not breaks("old-token"):
                self.ended = True
            elif error.retry:
                self.ended = breaks("touchy")
                self.retry_after = 0.0 if breaks("login-storm") else after
            raise Over
        if command == SEND:
            self.send_refused(what, error, after)
        elif not error.retry:
            raise Over
        elif command == SYNC:
            self.sync_at = time.monotonic() + (0.0 if breaks("sync-storm") else max(after, 0.1))
        elif command == HEARTBEAT:
            pass

    def logged_in(self, ok):
        self.login, self.online = ok, True
        self.clock = ok.server_time_ms - time.monotonic() * 1000
        anew = self.known and (ok.inbox_generation != self.generation
                               or self.next - 1 > ok.inbox_head)
        if anew and not breaks("old-position"):
            self.next, self.marks = 1, {}
        self.known, self.generation, self.head = True, ok.inbox_generation, ok.inbox_head
        self.next = max(self.next, ok.cursor + 1)
        if not breaks("untrimmed"):
            self.next = max(self.next, ok.inbox_first)
        if breaks("late-sleeper"):
            self.head = self.next - 1
        self.server_has, self.beat = ok.cursor, time.monotonic()
        if breaks("said-once"):
            self.server_has, self.marks = max(ok.cursor, self.next - 1), {}
        print("state ONLINE", flush=True)
        for peer in {m.to for m in self.messages if "SENT" in m.told and "DELIVERED" not in m.told}:
            if not breaks("no-history"):
                self.ask(HISTORY, self.pb.History(peer=peer.encode(), limit=1), peer)

    def paged(self, peer, ok):
        if peer not in self.history:
            self.delivered(peer, ok.peer_delivered)
            return
        for message in ok.messages:
            print("history", peer, message.seq, message.body.decode(), flush=True)
            self.history[peer] = message.seq
        if ok.completed or breaks("one-history-page"):
            del self.history[peer]
            print("history", peer, "end", flush=True)
        else:
            self.next_page(peer)

    def next_page(self, peer):
        self.ask(HISTORY, self.pb.History(peer=peer.encode(), oldest_first=True,
                                          after=self.history[peer]), peer)

    # --- the inbox

    def event(self, event):
        if event.inbox_generation and not breaks("one-inbox"):
            if self.generation and event.inbox_generation != self.generation:
                raise Over
            self.generation = event.inbox_generation
        self.arrived(event.inbox_seq, event)

    def arrived(self, seq, event):
        """event None: what we have sent ourselves."""
        self.head = max(self.head, seq)
        if breaks("taken-twice") and seq < self.next or breaks("as-it-comes") and seq > self.next:
            self.take(event)
        if breaks("as-it-comes") and seq > self.next:
            self.next = seq + 1
        if seq < self.next:
            return
        self.aside[seq] = event
        while self.next in self.aside:
            self.take(self.aside.pop(self.next))
            self.next += 1
        self.hole_since = self.hole_since or time.monotonic()
        if self.next > self.head:
            self.hole_since = 0.0

    def take(self, event):
        if event and not event.HasField("message") and breaks("no-nothing"):
            raise Over
        if event is None or not event.HasField("message"):
            return
        message = event.message
        sender = getattr(message, "from").decode()
        if sender == self.login.user.decode() and message.from_device.decode() == self.device \
                and message.to != self.login.user:
            return
        text = "?" if breaks("garbler") else message.body.decode()
        print("message", event.inbox_seq, sender, text, flush=True)
        peer = message.to.decode() if sender == self.login.user.decode() else sender
        if sender == peer:
            self.marks[peer] = max(self.marks.get(peer, 0), message.seq)

    def synced(self, ok):
        self.head = max(self.head, ok.head)
        if not breaks("untrimmed"):
            self.next = max(self.next, ok.first)
        for event in ok.events:
            self.event(event)
        if breaks("one-page") and not ok.completed:
            self.sync_at = time.monotonic() + 60

    def heartbeat_ok(self, ok):
        if ok.inbox_generation and self.generation and ok.inbox_generation != self.generation \
                and not breaks("one-inbox"):
            raise Over
        if breaks("head-blind"):
            return
        if ok.head_event:
            self.event(self.pb.Event.FromString(ok.head_event))
        self.head = max(self.head, ok.inbox_head)

    def confirm(self):
        upto = max(self.aside, default=0) if breaks("confirm-early") and self.aside else self.next - 1
        most = 200 if breaks("two-hundred") else 100
        marks = dict(list(self.marks.items())[:most])
        last = len(marks) == len(self.marks)
        if self.cursor_path and not breaks("no-file"):
            with open(self.cursor_path + ".new", "w", encoding="utf-8") as f:
                json.dump([self.generation, self.next, self.marks], f)
            os.rename(self.cursor_path + ".new", self.cursor_path)
        if breaks("confirm-back") and self.server_has > 1:
            upto = self.server_has - 1
        positions = [self.pb.Position(peer=p.encode(), seq=s) for p, s in marks.items()]
        self.ask(CONFIRM, self.pb.Confirm(
            inbox_seq=upto if last else 0, inbox_generation=self.generation,
            delivered=[] if breaks("no-positions") else positions), marks)

    def confirmed(self, marks, ok):
        self.server_has = max(self.server_has, ok.inbox_seq)
        for peer, seq in marks.items():
            if self.marks.get(peer) == seq:
                del self.marks[peer]

    # --- sending

    def accept(self, line):
        to, _, text = line.partition(" ")
        if to == "/history":
            self.history[text] = 0
            self.next_page(text)
            return
        message = Message(len(self.messages) + 1, to, text)
        self.messages.append(message)
        self.lanes.setdefault(to, Lane()).waiting.append(message)

    def new_id(self):
        if breaks("random-id"):
            return bytes(16)
        now = time.time() * 1000 if breaks("local-clock") else time.monotonic() * 1000 + self.clock
        value = int(now) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
        if breaks("one-id"):
            self.same = getattr(self, "same", value)
            value = self.same
        return value.to_bytes(16, "big")

    def pump(self):
        now = time.monotonic()
        for lane in self.lanes.values():
            while lane.waiting:
                under_way = sum(c == SEND for c, _, _ in self.open.values())
                if under_way >= self.login.sends_max and not breaks("no-window"):
                    return
                if lane.held and (lane.flying or now < lane.resume):
                    if breaks("newest-first") and lane.waiting[-1].id is None:
                        self.send(lane, lane.waiting.pop())
                    break
                message = lane.waiting.pop(0)
                limit = self.login.body_len_max + (100 if breaks("wide-load") else 0)
                if len(message.text.encode()) > limit and not breaks("big"):
                    message.tell("FAILED")
                    continue
                if lane.held:
                    lane.alone = message
                self.send(lane, message)

    def send(self, lane, message):
        lane.flying.append(message)
        if breaks("hopeful"):
            message.tell("SENT", message.number)
        if message.id is None or breaks("new-id"):
            message.id = self.new_id()
        self.ask(SEND, self.pb.Send(to=message.to.encode(), client_msg_id=message.id, type=1,
                                    body=message.text.encode()), message)

    def sent(self, message, ok):
        lane = self.lanes[message.to]
        lane.flying.remove(message)
        if lane.alone is message:
            lane.held, lane.alone = False, None
        message.seq = ok.seq
        message.tell("SENT", ok.seq)
        self.stored()
        if ok.inbox_seq and message.to != self.login.user.decode() and not breaks("own-blind"):
            self.arrived(ok.inbox_seq, None)

    def send_refused(self, message, error, after):
        lane = self.lanes[message.to]
        lane.flying.remove(message)
        retry = error.retry
        if breaks("known-numbers"):
            retry = error.code in (500, 501, 503)
        if retry and breaks("gives-up") and error.code == 500:
            return
        if retry or breaks("insists"):
            bisect.insort(lane.waiting, message, key=lambda m: m.number)
            if breaks("hasty"):
                after = 0.0
            lane.held = not breaks("order-blind")
            lane.resume = max(lane.resume, time.monotonic() + max(after, 0.1))
            lane.alone = None
            return
        if lane.alone is message:
            lane.held, lane.alone = False, None
        message.tell("FAILED")

    def stored(self):
        for message in self.messages:
            if message.seq and (message.to, message.seq) in self.early:
                message.tell("STORED", message.seq)

    def delivered(self, peer, seq):
        for message in self.messages:
            if message.to == peer and 0 < message.seq <= seq:
                message.tell("DELIVERED", message.seq)

    # --- time

    def idle(self):
        undecided = [m for m in self.messages if not m.told & {"SENT", "FAILED"}]
        return not undecided and not self.marks and self.server_has >= self.next - 1

    async def tick_on(self):
        try:
            while True:
                await asyncio.sleep(0.02)
                self.tick(time.monotonic())
        except Over:
            self.writer.transport.abort()

    def tick(self, now):
        asked = {command for command, _, _ in self.open.values()}
        if any(now - at > self.answer_s for _, at, _ in self.open.values()) and not breaks("patient"):
            raise Over
        if not self.login:
            return
        if self.finished and self.idle():
            self.ended = True
            raise Over
        if now - self.beat >= self.login.heartbeat_ms / 1000 and not breaks("mute"):
            self.beat = now
            self.ask(HEARTBEAT, self.pb.Heartbeat())
        if self.head >= self.next and SYNC not in asked and now >= self.sync_at and not breaks(
                "no-sync") and (SEND not in asked or now - self.hole_since > 0.2):
            after = self.head - 1 if breaks("sync-head") else self.next - 1
            self.ask(SYNC, self.pb.Sync(after=after, inbox_generation=self.generation))
        moved = self.marks or self.next - 1 > self.server_has or self.aside and breaks("confirm-early")
        if moved and CONFIRM not in asked and not breaks("no-confirm"):
            self.confirm()
        self.pump()

    async def read_lines(self):
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self.accept(line.decode().rstrip("\n"))
        self.finished = True

    async def main(self):
        self.server_has = 0
        print("can history", flush=True)
        reading = asyncio.ensure_future(self.read_lines())
        await self.live()
        reading.cancel()


def main():
    global FAULT
    arguments = sys.argv[1:]
    if arguments[:1] == ["--break"]:
        FAULT = arguments[1]
        assert FAULT in FAULTS, FAULT
        arguments = arguments[2:]
    with tempfile.TemporaryDirectory(prefix="tiny-proto-") as folder:
        pb = load_proto(folder)
    asyncio.run(Tiny(pb, arguments).main())


if __name__ == "__main__":
    main()
