"""One script's run: the mock server, the client under test behind its adapter, and what broke."""
import asyncio
import os
import subprocess
import time

from mock import Mock

PATIENCE = 10.0  # seconds for what must come; a slow machine may ask for more (conform.py)
LEAVING = 20.0


class Stop(Exception):
    """The script cannot go on; what broke has been noted."""


class Stage:
    def __init__(self, pb, command, folder, door, patience=1.0, verbose=False):
        self.command, self.folder, self.patience, self.verbose = command, folder, patience, verbose
        self.door, self.can, self.pages = door, set(), {}
        self.broken, self.mock = [], Mock(pb, self.broke)
        self.mock.drain, self.mock.slack = self.drain, 0.5 * patience
        self.process, self.buffer = None, b""
        self.accepted, self.told, self.states, self.refused = [], {}, [], []
        self.floor, self.addresses = 0, []
        self.repeats = "inbox-once"  # the rule that a repeated entry breaks

    def broke(self, rule, what):
        if (rule, what) not in self.broken:
            self.broken.append((rule, what))
        self.mock.wake()

    # --- the adapter

    async def start(self, gates=1, tokens=("token-1",), cursor=None, answer_ms=15000, attempts=16):
        """Starts the server, if there is none yet, and the client."""
        self.mock.tokens = list(tokens)
        if not self.addresses:
            self.addresses = await self.mock.listen(gates, self.door)
        arguments = [",".join(self.addresses), ",".join(tokens), "kit",
                     os.path.join(self.folder, cursor) if cursor else "-", str(answer_ms),
                     str(attempts)]
        self.accepted, self.told, self.states, self.refused = [], {}, [], []
        self.process = subprocess.Popen(
            [*self.command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=None if self.verbose else subprocess.DEVNULL, cwd=self.folder,
            env={**os.environ, **self.door.environment()})
        os.set_blocking(self.process.stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(self.process.stdout.fileno(), self.drain)

    async def online(self):
        await self.until("adapter", "the client logs in", self.mock.live)

    def say(self, peer, *texts):
        """The client is to send these."""
        for text in texts:
            self.mock.lines.append((peer.encode(), text.encode()))
            self.mock.line_times.append(time.monotonic())
            self.accepted.append((peer.encode(), text.encode()))
        try:
            self.process.stdin.write("".join(f"{peer} {text}\n" for text in texts).encode())
            self.process.stdin.flush()
        except OSError:
            self.broke("adapter", "the client has ended")
            raise Stop from None

    def ask_history(self, peer):
        """The client is to read the whole conversation."""
        self.pages[peer] = []
        self.process.stdin.write(f"/history {peer}\n".encode())
        self.process.stdin.flush()

    def drain(self):
        """Takes what the adapter has printed so far."""
        fd = self.process.stdout.fileno()
        while True:
            try:
                data = os.read(fd, 1 << 20)
            except BlockingIOError:
                break
            if not data:
                asyncio.get_running_loop().remove_reader(fd)
                break
            *lines, self.buffer = (self.buffer + data).split(b"\n")
            for line in lines:
                if self.verbose:
                    print(f"    < {line[:200].decode('utf-8', 'replace')}")
                word, _, rest = line.partition(b" ")
                handler = getattr(self, f"said_{word.decode('ascii', 'replace')}", None)
                if handler:
                    handler(rest)
        self.mock.wake()

    def said_message(self, rest):
        number, _, rest = rest.partition(b" ")
        sender, _, text = rest.partition(b" ")
        n, mock = int(number), self.mock
        event = mock.entries.get(n)
        if n in mock.printed:
            self.broke(self.repeats, f"entry {n} was taken twice")
        if event is None or not event.HasField("message") or \
                (getattr(event.message, "from"), event.message.body) != (sender, text):
            self.broke("inbox-true", f"entry {n} was taken as {rest[:60]!r}")
        missing = [m for m in range(max(self.floor, mock.first - 1) + 1, n)
                   if m not in mock.printed and m in mock.entries and not mock.quiet(m)]
        if missing and n not in mock.printed:
            self.broke("inbox-order", f"entry {n} was taken before entry {missing[0]}")
        mock.printed.add(n)

    def said_send(self, rest):
        number, state, *more = rest.decode().split()
        states = self.told.setdefault(int(number), [])
        if state in states:
            self.broke("receipt-once" if state in ("STORED", "DELIVERED") else "send-told",
                       f"message {number} was told {state} twice")
        states.append(state)
        if state != "SENT" or int(number) > len(self.accepted):
            return
        key = self.accepted[int(number) - 1]
        if key not in self.mock.answered:
            self.broke("send-told", f"{key[1][:40]!r} is told as SENT and was not answered")
        elif int(more[0]) != self.mock.answered[key]:
            self.broke("answers-matched", f"{key[1][:40]!r} is told as number {more[0]}, it is "
                       f"{self.mock.answered[key]}")

    def said_refused(self, rest):
        self.refused.append(self.accepted.pop())
        self.mock.lines.remove(self.refused[-1])
        self.mock.line_times.pop()

    def said_can(self, rest):
        self.can |= set(rest.decode().split())

    def said_history(self, rest):
        peer, seq, *text = rest.split(b" ", 2)
        entry = ("end",) if seq == b"end" else (seq.decode(), *text)
        self.pages[peer.decode()].append(entry)

    def said_state(self, rest):
        self.states.append(rest.split()[0].decode())

    # --- waiting

    async def until(self, rule, what, condition, seconds=PATIENCE):
        """Waits for it; a client that does not get there breaks the rule."""
        left = seconds * self.patience
        if await self.happens(lambda: condition() or self.gone(), left) and not self.gone():
            return
        if not await self.happens(condition, 0.3 if self.gone() else 0):  # what is on its way
            why = "the client has ended" if self.gone() else f"within {left:.0f} s"
            self.broke(rule, f"{why}, and it did not come to this: {what}")
            raise Stop

    def gone(self):
        return self.process is not None and self.process.poll() is not None

    async def happens(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.mock.changed.clear()
            try:
                await asyncio.wait_for(self.mock.changed.wait(), min(left, 0.05))
            except asyncio.TimeoutError:
                pass
        return True

    async def never(self, rule, what, condition, seconds):
        """For so long it must not happen."""
        if await self.happens(condition, seconds):
            self.broke(rule, what)

    async def calm(self, seconds):
        """Time for the client to do something wrong."""
        await self.happens(lambda: False, seconds)

    def sent(self, count):
        """So many lines are decided."""
        return sum("SENT" in s or "FAILED" in s for s in self.told.values()) >= count

    def all_taken(self):
        mock = self.mock
        return all(n in mock.printed or mock.quiet(n)
                   for n in range(max(self.floor, mock.first - 1) + 1, mock.head + 1))

    async def settle(self):
        """All messages are decided, all entries taken and confirmed."""
        mock = self.mock
        await self.until("send-told", "each message is told SENT or FAILED",
                         lambda: self.sent(len(self.accepted)))
        await self.until("inbox-order", "all entries are taken", self.all_taken)
        await self.until("confirm-comes", f"Confirm {mock.head}",
                         lambda: mock.cursor >= mock.head)
        await self.until("positions", "the last number of each conversation is confirmed", lambda: all(
            mock.positions.get(peer, 0) >= mock.received(peer) for peer in mock.conversations))

    async def leave(self):
        """The end of the adapter's input: the client ends by itself."""
        self.process.stdin.close()
        await self.until("adapter", "the client ends behind its input",
                         lambda: self.process.poll() is not None, LEAVING)
        self.drain()

    def close(self):
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(10)
            asyncio.get_running_loop().remove_reader(self.process.stdout.fileno())
            self.process.stdout.close()
        self.mock.stop()
