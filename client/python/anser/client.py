"""The client: one device of one user, connected for as long as it lives."""

from __future__ import annotations

import asyncio
import collections
import enum
import inspect
import os
import random
import ssl as ssl_module
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from .connection import Connection, refusal
from .cursor import CursorStore, FileCursor, Position
from .errors import Code, ConnectionLost, Ended, NotDelivered, OutcomeUnknown, Refused
from .frame import Command
from .ids import ServerClock, uuid7
from .inbox import OWN, Entry, Inbox, InboxAnew
from .model import HistoryPage, LoggedIn, Message, Receipt, ReceiptKind, Sent, Type, message_of
from .outbox import PAUSE_MAX, PAUSE_MIN, Outbox, Outgoing
from .schema import pb

ANSWER_TIMEOUT = 15.0
CONNECT_TIMEOUT = 10.0
BACK_OFF_MIN = 0.2
BACK_OFF_MAX = 30.0
LASTED = 5.0  # a connection that held so long was a good one
GATHER = 0.03  # confirmations within this time share one frame
OWN_ANSWER_WAIT = 0.2  # a SendOk may be what fills a hole
MARKS_MAX = 100
TOKEN_TRIES = 3
TOKEN_MENDS = (Code.TOKEN_EXPIRED, Code.TOKEN_NOT_YET, Code.TOKEN_REVOKED)  # another one does
COMING_MAX = 10_000

Token = str | Callable[[], "str | Awaitable[str]"]


class State(enum.Enum):
    """Where a client stands. `OFFLINE` comes with the reason, if one was told."""

    OFFLINE = "offline"
    ONLINE = "online"
    ENDED = "ended"


def _key_for(addresses: Sequence[str], text: str | None) -> bytes | None:
    if not any(address.startswith("noise://") for address in addresses):
        return None
    from .noise import parse_key  # needs a package that the rest does not

    if text is None:
        raise ValueError("noise:// needs a server_key")
    return parse_key(text)


class Client:
    """`async with Client(...) as client:` logs in, keeps the connection, logs out at the end.

    addresses       HOST:PORT of every gate; they are tried in turn. With tcp://, tls://, ws:// or
                    wss:// before it; without, `ssl` says whether there is TLS
    token           a token, or a function (plain or async) that gives a fresh one for each login;
                    when it raises OSError, the next try is after a pause
    device          names this installation; keep it
    cursor          a file name (or a CursorStore): where this device stands in its inbox. Without
                    one the server's memory of it is used
    server_key      with noise://HOST:PORT: the public key that the server must have, as
                    `anser noise key` prints it
    send_only       nothing is received, and another connection of this device is left alone
    queue_max       so many messages wait here for the application; the others wait at the server
    on_receipt      is called with each Receipt
    on_state        is called with a State and, for OFFLINE and ENDED, the reason or None
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        token: Token,
        device: str,
        *,
        cursor: CursorStore | str | os.PathLike[str] | None = None,
        platform: str = "api",
        send_only: bool = False,
        software: str = "anser-python 1",
        ssl: ssl_module.SSLContext | None = None,
        server_key: str | None = None,
        queue_max: int = 1000,
        answer_timeout: float = ANSWER_TIMEOUT,
        on_receipt: Callable[[Receipt], None] | None = None,
        on_state: Callable[[State, Refused | None], None] | None = None,
    ) -> None:
        self._addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not self._addresses:
            raise ValueError("no address")
        self._token = token
        self._device = device
        self._platform = platform
        self._send_only = send_only
        self._software = software
        self._ssl = ssl
        self._server_key = _key_for(self._addresses, server_key)
        self._queue_max = queue_max
        self._answer_timeout = answer_timeout
        self._on_receipt = on_receipt
        self._on_state = on_state

        self._store: CursorStore | None
        if cursor is None or isinstance(cursor, str | os.PathLike):
            self._store = FileCursor(cursor) if cursor is not None else None
        else:
            self._store = cursor
        self._inbox = Inbox(self._store.load() if self._store else None)
        self._saved: Position | None = None
        self._outbox = Outbox()
        self._clock = ServerClock()
        self._queue: collections.deque[Message] = collections.deque()
        self._delivered: dict[str, int] = {}
        self._coming: dict[tuple[str, bytes], None] = {}  # own messages that come as Events

        self._connection: Connection | None = None
        self._login: LoggedIn | None = None
        self._user = ""
        self._cursor = 0  # the server's
        self._end: Ended | None = None
        self._closing = False
        self._runner: asyncio.Task[None] | None = None
        self._watchers: set[asyncio.Future[None]] = set()
        self._wake_sender = asyncio.Event()
        self._wake_syncer = asyncio.Event()
        self._wake_confirmer = asyncio.Event()

    # ---- life ----

    async def __aenter__(self) -> Client:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, timeout: float | None = 30.0) -> LoggedIn:
        """Begins to connect and waits for the first login. Raises Ended when the login is refused
        for good, TimeoutError when no server was found in time."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        try:
            return await self.online(timeout)
        except BaseException:
            await self.close()
            raise

    async def online(self, timeout: float | None = None) -> LoggedIn:
        """Waits until there is a connection that has logged in."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: self._login is not None)
        assert self._login is not None
        return self._login

    async def close(self) -> None:
        """Tells the server what was confirmed, logs out, ends. What is still to be sent is not
        waited for: it raises OutcomeUnknown, or Ended when no server has seen it."""
        if self._closing:
            return
        self._closing = True
        if self._connection and self._login:
            try:
                async with asyncio.timeout(5):
                    await self.flush()
                    await self._connection.request(Command.LOGOUT, pb.Logout())
            except (TimeoutError, ConnectionLost, Refused, Ended):
                pass
        self._save()
        if self._runner:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        self._finish(None)

    @property
    def user(self) -> str:
        """Who we are, as the server said it at the first login."""
        return self._user

    @property
    def login(self) -> LoggedIn | None:
        """What holds for the present connection; None while there is none."""
        return self._login

    # ---- sending ----

    def post(
        self, to: str, body: str | bytes, *, type: int | None = None, id: bytes | None = None
    ) -> asyncio.Future[Sent]:
        """Puts a message behind those already posted to `to`, and returns what will be its answer.
        It is tried again, over as many connections as it takes, until it is answered or the future
        is cancelled. `id` repeats an earlier message."""
        return self._post(to, body, type, id).done

    def _post(self, to: str, body: str | bytes, type: int | None, id: bytes | None) -> Outgoing:
        if self._end:
            raise self._end
        if self._closing:
            raise Ended
        data = body.encode() if isinstance(body, str) else bytes(body)
        if type is None:
            type = Type.TEXT if isinstance(body, str) else Type.FILE
        done: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        message = self._outbox.add(to, type, data, id, done)
        done.add_done_callback(lambda _: self._given_up(message))
        self._wake_sender.set()
        return message

    async def send(
        self,
        to: str,
        body: str | bytes,
        *,
        type: int | None = None,
        id: bytes | None = None,
        timeout: float | None = 60.0,
    ) -> Sent:
        """Sends a message; text when `body` is a str, a file when it is bytes. When this returns, it
        is on the server's disk. Raises Refused when it never will be, OutcomeUnknown or NotDelivered
        when the time is over."""
        message = self._post(to, body, type, id)
        done = message.done
        try:
            await asyncio.wait([done], timeout=timeout)
        finally:
            in_time = done.done()
            done.cancel()
        if not in_time:
            if message.tried and message.client_msg_id:
                raise OutcomeUnknown(message.client_msg_id)
            raise NotDelivered(f"no server took the message within {timeout} s")
        return done.result()

    def _given_up(self, message: Outgoing) -> None:
        if message.done.cancelled() and self._outbox.withdraw(message) and self._connection:
            self._connection.close()  # the server waits for it; a new connection does not

    async def _sender(self, connection: Connection, window: int) -> None:
        loop = asyncio.get_running_loop()

        def new_id() -> bytes:
            return uuid7(self._clock.now_ms())

        while True:
            message = self._outbox.take(loop.time(), window, new_id)
            if message is not None:
                self._transmit(connection, message)
                await connection.drain()
                continue
            self._wake_sender.clear()
            wake_at = self._outbox.wake_at()
            if wake_at is None:
                await self._wake_sender.wait()
            else:
                try:
                    async with asyncio.timeout_at(wake_at):
                        await self._wake_sender.wait()
                except TimeoutError:
                    pass

    def _transmit(self, connection: Connection, message: Outgoing) -> None:
        body = pb.Send(
            to=message.to.encode(),
            client_msg_id=message.client_msg_id,
            type=message.type,
            body=message.body,
        )
        if self._login and len(message.body) > self._login.body_len_max:
            self._outbox.refused(message, 0)
            if not message.done.done():
                limit = f"a body may have at most {self._login.body_len_max} bytes"
                message.done.set_exception(Refused(Code.BODY_TOO_LARGE, "BODY_TOO_LARGE", limit))
            return
        try:
            answer = connection.request(Command.SEND, body)
        except ValueError as fault:
            self._outbox.refused(message, 0)
            if not message.done.done():
                message.done.set_exception(fault)
            return
        answer.add_done_callback(lambda done: self._answered(connection, message, done))

    def _answered(
        self, connection: Connection, message: Outgoing, answer: asyncio.Future[Any]
    ) -> None:
        if connection is not self._connection:
            return  # lost() has put it back
        now = asyncio.get_running_loop().time()
        fault = answer.exception()
        if fault is None:
            ok = answer.result()
            self._outbox.accepted(message, now)
            if not message.done.done():
                message.done.set_result(
                    Sent(message.to, ok.client_msg_id, ok.seq, ok.message_id, ok.time_ms)
                )
            if self._send_only or message.to == self._user:
                pass  # one's own note comes as an Event, whatever is said here
            elif ok.inbox_seq:
                self._offer(ok.inbox_seq, 0, OWN)
            else:
                self._coming[message.to, ok.client_msg_id] = None
                while len(self._coming) > COMING_MAX:
                    del self._coming[next(iter(self._coming))]
        elif isinstance(fault, Refused) and fault.retry:
            if self._outbox.refused_for_now(message, now, fault.retry_after_ms / 1000):
                connection.close()
        elif isinstance(fault, Refused):
            self._outbox.refused(message, now)
            if not message.done.done():
                message.done.set_exception(fault)
        self._wake_sender.set()

    # ---- receiving ----

    async def receive(self, timeout: float | None = None) -> Message:
        """The next message. Say `confirm` when it is safely yours."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: bool(self._queue))
        message = self._queue.popleft()
        if len(self._queue) <= self._queue_max // 2 and self._inbox.behind:
            self._wake_syncer.set()
        return message

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Messages as they come. Each is confirmed when the next one is asked for: a loop whose body
        has raised has not confirmed its message."""
        while True:
            message = await self.receive()
            yield message
            self.confirm(message)

    def confirm(self, message: Message) -> None:
        """This message and all before it are safely with the application. Written to the cursor
        file and told to the server within a moment; `flush` waits for that."""
        self._inbox.confirm(message, self._user)
        self._wake_confirmer.set()

    async def flush(self) -> None:
        """Waits until the server knows all that was confirmed."""
        self._wake_confirmer.set()
        await self._until(lambda: not self._to_confirm())

    def _offer(self, seq: int, generation: int, entry: Entry) -> None:
        try:
            out = self._inbox.offer(seq, generation, entry)
        except InboxAnew:
            if self._connection:
                self._connection.close()
            return
        self._queue.extend(out)
        if out:
            self._notify()
        if self._to_confirm():
            self._wake_confirmer.set()
        if self._inbox.behind:
            self._wake_syncer.set()

    def _event(self, event: Any) -> None:
        if not event.HasField("message"):
            self._offer(event.inbox_seq, event.inbox_generation, None)
            return
        message = message_of(event.message, event.inbox_seq, event.inbox_generation)
        self._offer(
            event.inbox_seq, event.inbox_generation, OWN if self._is_own(message) else message
        )

    def _is_own(self, message: Message) -> bool:
        """Sent from here; its answer has not come yet, or has not named this entry."""
        if message.sender != self._user or message.device != self._device:
            return False
        key = message.to, message.client_msg_id
        if key in self._coming:
            del self._coming[key]
            return True
        return message.to != self._user and self._outbox.holds(*key)

    def _push(self, command: int, body: bytes) -> None:
        if command == Command.EVENT and not self._send_only:
            if len(self._queue) >= self._queue_max:
                event = pb.Event.FromString(body)
                self._inbox.head = max(self._inbox.head, event.inbox_seq)
            else:
                self._event(pb.Event.FromString(body))
        elif command == Command.RECEIPT:
            wire = pb.Receipt.FromString(body)
            receipt = Receipt(wire.peer.decode(), wire.seq, wire.kind)
            if receipt.kind == ReceiptKind.DELIVERED:
                self._is_delivered(receipt.peer, receipt.seq)
            if self._on_receipt:
                self._on_receipt(receipt)

    async def _syncer(self, connection: Connection) -> None:
        pause = PAUSE_MIN
        while True:
            await self._wake_syncer.wait()
            self._wake_syncer.clear()
            if self._outbox.under_way:
                await asyncio.sleep(OWN_ANSWER_WAIT)
            while self._inbox.behind and len(self._queue) < self._queue_max:
                inbox = self._inbox
                try:
                    ok = await connection.request(
                        Command.SYNC,
                        pb.Sync(after=inbox.next - 1, inbox_generation=inbox.generation),
                    )
                except Refused as refused:
                    if not refused.retry:  # RESET, or nothing that asking again would mend
                        connection.close()
                        return
                    await asyncio.sleep(max(refused.retry_after_ms / 1000, _jitter(pause)))
                    pause = min(pause * 2, PAUSE_MAX)
                    continue
                pause = PAUSE_MIN
                inbox.gone_below(ok.first)
                for event in ok.events:
                    self._event(event)
                if ok.completed and inbox.next > ok.head:
                    break

    # ---- confirming ----

    def _to_confirm(self) -> bool:
        return not self._send_only and (
            self._inbox.safe > self._cursor or bool(self._inbox.marks) or self._unsaved()
        )

    def _unsaved(self) -> bool:
        return self._store is not None and self._inbox.position() != self._saved

    def _save(self) -> None:
        if self._store and not self._send_only and self._user and self._unsaved():
            position = self._inbox.position()
            self._store.save(position)
            self._saved = position

    async def _saver(self) -> None:
        """Keeps the cursor file, with a connection or without, and wakes who tells the server."""
        while True:
            await self._wake_confirmer.wait()
            await asyncio.sleep(GATHER)
            self._wake_confirmer.clear()
            self._save()
            connection = self._connection
            if connection and self._login and self._to_confirm():
                try:
                    await self._tell(connection)
                except ConnectionLost:
                    continue
            self._notify()

    async def _tell(self, connection: Connection) -> None:
        """Marks first, the cursor with the last of them: who dies in between tells them again."""
        inbox = self._inbox
        safe, generation = inbox.safe, inbox.generation
        marks = list(inbox.marks.items())
        parts = [dict(marks[i : i + MARKS_MAX]) for i in range(0, len(marks), MARKS_MAX)] or [{}]
        for part in parts:
            upto = safe if part is parts[-1] else 0
            await self._confirm_part(connection, upto, generation, part)
        self._save()

    async def _confirm_part(
        self, connection: Connection, upto: int, generation: int, marks: dict[str, int]
    ) -> None:
        pause = PAUSE_MIN
        body = pb.Confirm(
            inbox_seq=upto,
            inbox_generation=generation,
            delivered=[pb.Position(peer=p.encode(), seq=s) for p, s in marks.items()],
        )
        while True:
            try:
                ok = await connection.request(Command.CONFIRM, body)
            except Refused as refused:
                if refused.retry:
                    await asyncio.sleep(max(refused.retry_after_ms / 1000, _jitter(pause)))
                    pause = min(pause * 2, PAUSE_MAX)
                elif refused.code == Code.RESET or not marks:
                    connection.close()
                    return
                elif len(marks) == 1 and not upto:
                    self._inbox.told(marks)  # it will never be accepted
                    return
                else:  # find out which part is wrong
                    for peer, seq in marks.items():
                        await self._confirm_part(connection, 0, generation, {peer: seq})
                    await self._confirm_part(connection, upto, generation, {})
                    return
            else:
                self._cursor = max(self._cursor, ok.inbox_seq)
                self._inbox.told(marks)
                return

    # ---- history and marks ----

    async def history(
        self,
        peer: str,
        *,
        before: int = 0,
        after: int = 0,
        oldest_first: bool = False,
        limit: int = 0,
        timeout: float | None = 60.0,
    ) -> HistoryPage:
        """A page of the conversation with `peer`: newest first, below `before`; or with
        `oldest_first` from the oldest on, above `after`."""
        ok = await self._ask(
            Command.HISTORY,
            pb.History(
                peer=peer.encode(),
                before=before,
                after=after,
                oldest_first=oldest_first,
                limit=limit,
            ),
            timeout,
        )
        self._is_delivered(peer, ok.peer_delivered)
        return HistoryPage(
            [message_of(m) for m in ok.messages],
            ok.head,
            ok.completed,
            ok.peer_delivered,
            ok.own_delivered,
        )

    async def conversation(self, peer: str, *, after: int = 0) -> AsyncIterator[Message]:
        """All messages of a conversation above `after`, oldest first."""
        while True:
            page = await self.history(peer, after=after, oldest_first=True)
            for message in page.messages:
                yield message
                after = message.seq
            if page.completed:
                return

    async def delivered(self, sent: Sent, timeout: float | None = None) -> None:
        """Waits until a device of the receiver has confirmed this message. Receipts are hints that may
        be lost, so the history is asked too: at the beginning, after each login, and now and then."""
        peer = sent.to
        pause = 1.0
        async with asyncio.timeout(timeout):
            while self._delivered.get(peer, 0) < sent.seq:
                await self.history(peer, limit=1, timeout=None)
                login = self._login
                try:
                    async with asyncio.timeout(_jitter(pause)):
                        await self._until(
                            lambda: self._delivered.get(peer, 0) >= sent.seq
                            or self._login is not login
                        )
                except TimeoutError:
                    pause = min(pause * 2, BACK_OFF_MAX)

    def _is_delivered(self, peer: str, seq: int) -> None:
        if seq > self._delivered.get(peer, 0):
            self._delivered[peer] = seq
            self._notify()

    async def _ask(self, command: Command, body: Any, timeout: float | None) -> Any:
        """A question that can be asked again: over as many connections as it takes."""
        pause = PAUSE_MIN
        async with asyncio.timeout(timeout):
            while True:
                await self.online()
                assert self._connection is not None
                connection = self._connection
                try:
                    return await connection.request(command, body)
                except ConnectionLost:
                    await self._until(lambda: self._connection is not connection)
                except Refused as refused:
                    if not refused.retry:
                        raise
                    await asyncio.sleep(max(refused.retry_after_ms / 1000, _jitter(pause)))
                    pause = min(pause * 2, PAUSE_MAX)

    # ---- the connection ----

    async def _run(self) -> None:
        work = [
            asyncio.create_task(self._saver()),
            asyncio.create_task(self._connect_for_ever()),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if fault := task.exception():  # the cursor cannot be kept, a function raised
                    self._finish(None, fault)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _connect_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        at = tried = token_refusals = 0
        pause = BACK_OFF_MIN
        while True:
            address = self._addresses[at % len(self._addresses)]
            at += 1
            tried += 1
            began = loop.time()
            reason = await self._one_connection(address)
            lasted = loop.time() - began >= LASTED
            if lasted:
                token_refusals = 0
            if reason is not None and not reason.retry:
                if reason.code not in TOKEN_MENDS:
                    token_refusals = TOKEN_TRIES
                token_refusals += 1
                if isinstance(self._token, str) or token_refusals >= TOKEN_TRIES:
                    self._finish(reason)
                    return
            else:
                token_refusals = 0
            if lasted:
                tried, pause = 1, BACK_OFF_MIN
            if tried >= len(self._addresses):
                asked = reason.retry_after_ms / 1000 if reason else 0.0
                await asyncio.sleep(max(asked, _jitter(pause)))
                tried, pause = 0, min(pause * 2, BACK_OFF_MAX)

    async def _one_connection(self, address: str) -> Refused | None:
        """From connecting to the end. Why it ended, if that was told."""
        early: list[tuple[int, bytes]] | None = []

        def on_push(command: int, body: bytes) -> None:
            if early is not None:
                early.append((command, body))  # before we know which inbox it is
            else:
                self._push(command, body)

        try:
            token = self._token if isinstance(self._token, str) else self._token()
            if inspect.isawaitable(token):
                token = await token
            connection = await Connection.open(
                address,
                on_push,
                ssl=self._ssl,
                server_key=self._server_key,
                connect_timeout=CONNECT_TIMEOUT,
                answer_timeout=self._answer_timeout,
            )
        except (OSError, TimeoutError):
            return None
        tasks: list[asyncio.Task[None]] = []
        reason: Refused | None = None
        try:
            login = await connection.request(
                Command.LOGIN,
                pb.Login(
                    token=str(token).encode(),
                    device=self._device.encode(),
                    platform=self._platform.encode(),
                    send_only=self._send_only,
                    client=self._software.encode(),
                ),
            )
            self._logged_in(connection, address, login)
            held, early = early, None
            for command, body in held:
                self._push(command, body)
            tasks = [
                asyncio.create_task(self._sender(connection, login.sends_max)),
                asyncio.create_task(self._heart(connection, login.heartbeat_ms / 1000)),
            ]
            if not self._send_only:
                tasks.append(asyncio.create_task(self._syncer(connection)))
            await asyncio.wait([connection.ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
            connection.close()
            for task in tasks:
                if task.done() and not isinstance(task.exception(), ConnectionLost | None):
                    task.result()  # a fault of this program; let it be seen
            reason = connection.ended.result()
        except Refused as refused:
            reason = refused
        except ConnectionLost:
            reason = connection.ended.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            connection.close()
            was_online = self._login is not None
            self._connection = None
            self._login = None
            self._outbox.lost()
            self._notify()
        if was_online and self._on_state and not self._closing:
            self._on_state(State.OFFLINE, reason)
        return reason

    def _logged_in(self, connection: Connection, address: str, ok: Any) -> None:
        connection.frame_len_max = ok.frame_len_max
        self._user = ok.user.decode()
        self._clock.heard(ok.server_time_ms)
        self._cursor = ok.cursor
        if not self._send_only:
            self._inbox.logged_in(ok.inbox_generation, ok.inbox_first, ok.inbox_head, ok.cursor)
            if self._inbox.behind:
                self._wake_syncer.set()
            if self._to_confirm():
                self._wake_confirmer.set()
        self._connection = connection
        self._login = LoggedIn(
            self._user,
            address,
            ok.inbox_generation,
            ok.inbox_first,
            ok.inbox_head,
            ok.cursor,
            ok.heartbeat_ms,
            ok.idle_ms,
            ok.body_len_max,
            ok.frame_len_max,
            ok.sends_max,
        )
        self._wake_sender.set()
        self._notify()
        if self._on_state:
            self._on_state(State.ONLINE, None)

    async def _heart(self, connection: Connection, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                ok = await connection.request(Command.HEARTBEAT, pb.Heartbeat())
            except Refused:
                continue
            self._clock.heard(ok.server_time_ms)
            if self._send_only:
                continue
            inbox = self._inbox
            if ok.inbox_generation and inbox.generation and ok.inbox_generation != inbox.generation:
                connection.close()
                return
            if ok.head_event and len(self._queue) < self._queue_max:
                self._event(pb.Event.FromString(ok.head_event))
            inbox.head = max(inbox.head, ok.inbox_head)
            if inbox.behind:
                self._wake_syncer.set()

    # ---- inside ----

    def _finish(self, reason: Refused | None, fault: BaseException | None = None) -> None:
        if self._end is None:
            self._end = Ended(reason)
            self._end.__cause__ = fault
            for message in list(self._outbox):
                if not message.done.done():
                    if message.tried and message.client_msg_id:
                        message.done.set_exception(OutcomeUnknown(message.client_msg_id))
                    else:
                        message.done.set_exception(self._end)
                    message.done.exception()
            self._notify()
            if self._on_state:
                self._on_state(State.ENDED, reason)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Waits until it holds; raises Ended when the client ends before."""
        while not holds():
            if self._end:
                raise self._end
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.add(watcher)
            try:
                await watcher
            finally:
                self._watchers.discard(watcher)

    def _notify(self) -> None:
        """Something that somebody may wait for has changed."""
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)


def _jitter(pause: float) -> float:
    return pause * random.uniform(0.5, 1.0)
