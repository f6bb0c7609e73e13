"""A server of docs/protocol.md for one user, kept in memory: by itself it behaves; a script bends
it. It looks at every frame of the client and reports the rules that are broken."""
import asyncio
import struct
import time

HEADER = struct.Struct(">2sBBHHII")
ANSWER, ERROR = 1, 2
LOGIN, LOGOUT, HEARTBEAT, SEND, CONFIRM, SYNC, HISTORY = range(1, 8)
EVENT, RECEIPT, GOODBYE = 64, 65, 66
KINDS = {LOGIN: "Login", LOGOUT: "Logout", HEARTBEAT: "Heartbeat", SEND: "Send",
         CONFIRM: "Confirm", SYNC: "Sync", HISTORY: "History"}
PLATFORMS = (b"", b"ios", b"android", b"windows", b"mac", b"linux", b"web", b"api")
ERRORS = {"TOKEN_INVALID": (101, False), "TOKEN_EXPIRED": (102, False),
          "TOKEN_REVOKED": (109, False), "REPLACED": (106, False),
          "LOGIN_REQUIRED": (100, False), "LOGIN_TWICE": (107, False), "IDLE": (506, True),
          "USER_NOT_FOUND": (300, False), "RESET": (404, False), "CURSOR_AHEAD": (405, False),
          "BUSY": (500, True), "UNAVAILABLE": (501, True), "ORDER": (503, True),
          "SHUTTING_DOWN": (507, True), "DRAINING": (510, True), "BODY_MALFORMED": (606, False),
          "BODY_TOO_LARGE": (607, False), "ARGUMENT": (610, False)}
SKEW_MS = 3 * 3600 * 1000  # our clock is ahead of the client's own
EXTRA = bytes.fromhex("c00c07" "ca0c03787978")  # fields 200 and 201 of a later version


class Conn:
    """One connection of the client."""

    def __init__(self, mock, number, gate, writer):
        self.mock, self.number, self.gate, self.writer = mock, number, gate, writer
        self.opened = self.heard = time.monotonic()
        self.login, self.open, self.over = None, {}, False
        self.tries = {}  # peer: lines sent on this connection
        self.waiting = {}  # peer: {line: (not before, refused at)}

    def push(self, command, body, request=0, flags=0):
        data = body if isinstance(body, bytes) else body.SerializeToString()
        if self.mock.extra and not isinstance(body, bytes):
            data += EXTRA
        self.raw(HEADER.pack(b"AN", 1, 1, command, flags, request, len(data)) + data)

    def raw(self, data):
        if not self.over:
            self.writer.write(data)

    def answer(self, command, request, body):
        self.open.pop(request, None)
        self.push(command, body, request, ANSWER)

    def refuse(self, command, request, name, after=0, **more):
        code, retry = ERRORS.get(name, (0, False))
        fields = {"code": code, "retry": retry, "name": name.encode(), "text": b"the script says so",
                  "retry_after_ms": after, **more}
        self.open.pop(request, None)
        self.push(command, self.mock.pb.Error(**fields), request, ANSWER | ERROR)

    def goodbye(self, name, after=0):
        code, retry = ERRORS[name]
        self.push(GOODBYE, self.mock.pb.Goodbye(code=code, name=name.encode(), retry=retry,
                                                retry_after_ms=after, text=b"the script says so"))
        self.close()

    def close(self):
        if not self.over:
            self.mock.judge_silence(self)
            self.over = True
            self.closed = time.monotonic()
            self.writer.close()
            self.mock.wake()


class Mock:
    """broke(rule, what) is called for what the client does wrong. hooks[command](conn, request,
    body) may handle a frame: true when it did."""

    def __init__(self, pb, broke):
        self.pb, self.broke = pb, broke
        self.user, self.device, self.tokens = b"alice", b"kit", []
        self.generation, self.first, self.cursor = 1763711700000, 1, 0
        self.entries, self.head = {}, 0
        self.given, self.printed, self.confirmed = set(), set(), 0
        self.heartbeat_ms, self.idle_ms = 10000, 30000
        self.body_len_max, self.frame_len_max, self.sends_max = 65536, 69632, 256
        self.page, self.extra, self.own_inbox = 100, False, True
        self.hooks, self.greeting = {}, None
        self.conns, self.frames, self.logins, self.gates = [], [], [], []
        self.lines, self.line_times = [], []  # (peer, text) given to the client, and when
        self.ids, self.texts = {}, {}  # (to, body): id, id: (to, body)
        self.results, self.answered, self.final = {}, {}, {}
        self.sends, self.conversations = [], {}
        self.peer_delivered, self.positions = {}, {}
        self.drain, self.slack = lambda: None, 0.5
        self.changed = asyncio.Event()
        self.wrong = {}  # gate: what is wrong with its certificate

    # --- sockets

    async def listen(self, count, door):
        """The addresses of so many gates."""
        self.wrong, addresses = door.wrong, []
        for number in range(count):
            server, address = await door.open(self, number)
            self.gates.append(server)
            addresses.append(address)
        return addresses

    def stop(self):
        for server in self.gates:
            server.close()
        for conn in self.conns:
            conn.close()

    def wake(self):
        self.changed.set()

    async def serve(self, gate, reader, writer):
        conn = Conn(self, len(self.conns) + 1, gate, writer)
        self.conns.append(conn)
        self.wake()
        try:
            if self.greeting and self.greeting(conn):
                return
            while not conn.over:
                head = await reader.readexactly(HEADER.size)
                if gate in self.wrong:
                    self.broke("tls-verify", f"a frame to a server whose certificate has the "
                               f"wrong {self.wrong[gate]}")
                magic, version, codec, command, flags, request, length = HEADER.unpack(head)
                if magic != b"AN" or version != 1 or codec != 1 or flags or command not in KINDS:
                    self.broke("frame-header", f"header {head.hex()} on connection {conn.number}")
                    return
                if HEADER.size + length > self.frame_len_max:
                    self.broke("frame-size", f"{KINDS[command]} of {HEADER.size + length} bytes, "
                               f"at most {self.frame_len_max}")
                    return
                body = await reader.readexactly(length)
                self.judge_silence(conn)
                self.frames.append((time.monotonic(), conn, command))
                self.handle(conn, command, request, body)
                self.wake()
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            conn.close()

    def live(self):
        """The newest connection that is open and logged in."""
        for conn in reversed(self.conns):
            if conn.login and not conn.over:
                return conn
        return None

    # --- judging

    def judge_silence(self, conn):
        now = time.monotonic()
        if conn.login and not conn.over:
            silent = now - conn.heard
            if silent > self.heartbeat_ms * 1.5 / 1000 + self.slack:
                self.broke("heartbeat", f"silent for {silent:.1f} s, heartbeat_ms is "
                           f"{self.heartbeat_ms}")
        conn.heard = now

    def handle(self, conn, command, request, data):
        if request == 0 or request in conn.open:
            self.broke("request-number", f"{KINDS[command]} with request {request}, which is "
                       + ("0" if request == 0 else "not answered yet"))
        conn.open[request] = command
        try:
            body = getattr(self.pb, KINDS[command]).FromString(data)
        except Exception:  # protobuf has its own kinds for each implementation
            self.broke("body-form", f"{KINDS[command]} is not to be read: {data[:40].hex()}")
            conn.refuse(command, request, "BODY_MALFORMED")
            return
        if command == LOGIN:
            self.judge_login(conn, body)
        elif not conn.login:
            self.broke("login-first", f"{KINDS[command]} before any login")
            conn.refuse(command, request, "LOGIN_REQUIRED")
            conn.goodbye("LOGIN_REQUIRED")
            return
        if command == SEND:
            if not self.judge_send(conn, request, body):
                return
        elif command == CONFIRM:
            self.judge_confirm(body)
        elif command == SYNC:
            self.judge_sync(body)
        hook = self.hooks.get(command)
        if hook and hook(conn, request, body):
            return
        getattr(self, f"on_{KINDS[command].lower()}")(conn, request, body)

    def judge_login(self, conn, body):
        if conn.login:
            self.broke("login-first", "a second Login on one connection")
        good = body.token.decode("ascii", "replace") in self.tokens and body.device == self.device
        try:
            good = good and body.platform in PLATFORMS and len(body.client.decode()) <= 64
        except UnicodeDecodeError:
            good = False
        if not good:
            self.broke("login-fields", f"Login says {body!r}"[:300])
        self.logins.append((time.monotonic(), conn, body.token.decode("ascii", "replace")))

    def on_login(self, conn, request, _):
        conn.login = True
        conn.heard = time.monotonic()
        conn.answer(LOGIN, request, self.login_ok())

    def login_ok(self):
        return self.pb.LoginOk(
            user=self.user, server_time_ms=self.now_ms(), inbox_generation=self.generation,
            inbox_first=self.first, inbox_head=self.head, cursor=self.cursor,
            heartbeat_ms=self.heartbeat_ms, idle_ms=self.idle_ms, body_len_max=self.body_len_max,
            frame_len_max=self.frame_len_max, sends_max=self.sends_max)

    @staticmethod
    def now_ms():
        return int(time.time() * 1000) + SKEW_MS

    def judge_id(self, key, id):
        if len(id) != 16 or id[6] >> 4 != 7 or id[8] >> 6 != 2:
            self.broke("id-form", f"{id.hex()} is no UUIDv7")
            return
        if abs(int.from_bytes(id[:6], "big") - self.now_ms()) > 60000:
            self.broke("id-clock", f"{id.hex()} was made at another time than the server's "
                       f"{self.now_ms()} ms")
        if self.ids.setdefault(key, id) != id:
            self.broke("id-kept", f"{key[1][:40]!r} had the id {self.ids[key].hex()} and came "
                       f"again as {id.hex()}")
        if self.texts.setdefault((key[0], id), key) != key:
            self.broke("id-unique", f"{id.hex()} is of {self.texts[key[0], id][1][:40]!r} and of "
                       f"{key[1][:40]!r}")

    def judge_send(self, conn, request, body):
        """False: it was refused here, with ORDER."""
        key, id, now = (body.to, body.body), body.client_msg_id, time.monotonic()
        self.sends.append((now, conn, key, id))
        self.judge_id(key, id)
        if len(body.body) > self.body_len_max:
            self.broke("body-size", f"a body of {len(body.body)} bytes, body_len_max is "
                       f"{self.body_len_max}")
        if sum(c == SEND for c in conn.open.values()) > self.sends_max:
            self.broke("window", f"more than {self.sends_max} Sends are unanswered")
        if key in self.final:
            self.broke("refused-final", f"{key[1][:40]!r} came again, refused with "
                       f"{self.final[key]} before")
        if key not in self.lines:
            return True
        line, peer = self.lines.index(key), body.to
        tried = conn.tries.setdefault(peer, [])
        for n, other in enumerate(self.lines[:line]):
            if other[0] == peer and n not in tried and other not in self.answered \
                    and other not in self.final and len(other[1]) <= self.body_len_max:
                self.broke("order-sent", f"{key[1][:40]!r} came before {other[1][:40]!r} on "
                           f"connection {conn.number}")
                break
        tried.append(line)
        waiting = conn.waiting.setdefault(peer, {})
        if line in waiting and now < waiting[line][0]:
            self.broke("refused-pause", f"{key[1][:40]!r} came again "
                       f"{(waiting[line][0] - now) * 1000:.0f} ms before its retry_after_ms")
        first = min(waiting, default=line)
        if line > first:
            if line in waiting:
                self.broke("order-again", f"{key[1][:40]!r} came again before "
                           f"{self.lines[first][1][:40]!r}, which was refused before it")
            elif now > self.line_times[line] and self.line_times[line] > waiting[first][1] + 0.3:
                self.broke("order-new", f"{key[1][:40]!r} is new, and {self.lines[first][1][:40]!r} "
                           "has not come again")
            self.refuse_send(conn, request, body, "ORDER")
            return False
        waiting.pop(line, None)
        return True

    def refuse_send(self, conn, request, body, name, after=0, **more):
        key = body.to, body.body
        retry = more.get("retry", ERRORS.get(name, (0, False))[1])
        if retry and key in self.lines:
            now = time.monotonic()
            conn.waiting.setdefault(body.to, {})[self.lines.index(key)] = (
                now + after * 0.95 / 1000, now)
        elif not retry:
            self.final[key] = name
        conn.refuse(SEND, request, name, after, client_msg_id=body.client_msg_id, **more)

    def judge_confirm(self, body):
        self.drain()
        if body.inbox_generation not in (0, self.generation):
            return  # answered RESET
        if body.inbox_seq > self.safe():
            self.broke("confirm-early", f"Confirm {body.inbox_seq}, and the application has "
                       f"everything up to {self.safe()} only")
        if body.inbox_seq and body.inbox_seq < self.confirmed:
            self.broke("confirm-back", f"Confirm {body.inbox_seq} behind {self.confirmed}")
        self.confirmed = max(self.confirmed, body.inbox_seq)
        if len(body.delivered) > 100:
            self.broke("confirm-form", f"{len(body.delivered)} positions in one Confirm")
        for position in body.delivered:
            top = self.received(position.peer)
            if position.seq > top:
                self.broke("confirm-form", f"{position.peer.decode()} {position.seq} is confirmed "
                           f"as delivered, received was {top}")

    def received(self, peer):
        """The highest seq of the peer's that the application has."""
        return max((e.message.seq for n, e in self.entries.items() if n in self.printed
                    and getattr(e.message, "from") == peer), default=0)

    def quiet(self, n):
        """An entry that the application need not see: it says nothing, or came from itself."""
        event = self.entries[n]
        return not event.HasField("message") or (
            getattr(event.message, "from") == self.user
            and event.message.from_device == self.device)

    def safe(self):
        """Everything up to here is with the application."""
        n = max(self.cursor, self.first - 1)
        while n + 1 <= self.head and (n + 1 in self.printed or (
                n + 1 in self.given and self.quiet(n + 1))):
            n += 1
        return n

    def reached(self):
        """Everything up to here has been given to the client in some way."""
        n = max(self.cursor, self.first - 1)
        while n + 1 <= self.head and (n + 1 in self.given or n + 1 in self.printed):
            n += 1
        return n

    def judge_sync(self, body):
        if body.inbox_generation in (0, self.generation) and body.after > self.reached() and \
                body.after <= self.head:
            self.broke("sync-after", f"Sync after {body.after}, and entry {self.reached() + 1} "
                       "has never come")

    # --- behaving

    def on_logout(self, conn, request, _):
        conn.answer(LOGOUT, request, self.pb.LogoutOk())
        conn.close()

    def on_heartbeat(self, conn, request, _):
        conn.answer(HEARTBEAT, request, self.pb.HeartbeatOk(
            server_time_ms=self.now_ms(), inbox_generation=self.generation, inbox_head=self.head))

    def store(self, body):
        """The message is on disk, whether or not the client hears of it. SendOk."""
        key = body.to, body.client_msg_id
        if key not in self.results:
            told = self.conversations.setdefault(body.to, [])
            message = self.pb.Message(
                message_id=7401986130894848 + len(self.results), seq=len(told) + 1,
                time_ms=self.now_ms(), to=body.to, from_device=self.device,
                client_msg_id=body.client_msg_id, type=body.type, body=body.body,
                **{"from": self.user})
            told.append(message)
            seq = self.enter(message) if self.own_inbox or body.to == self.user else 0
            self.results[key] = self.pb.SendOk(
                client_msg_id=body.client_msg_id, seq=message.seq, message_id=message.message_id,
                time_ms=message.time_ms, inbox_seq=seq)
        return self.results[key]

    def on_send(self, conn, request, body):
        ok = self.store(body)
        self.answered[body.to, body.body] = ok.seq
        if ok.inbox_seq:
            self.given.add(ok.inbox_seq)
        conn.answer(SEND, request, ok)

    def on_confirm(self, conn, request, body):
        if body.inbox_generation not in (0, self.generation):
            conn.refuse(CONFIRM, request, "RESET")
        elif body.inbox_seq > self.head:
            conn.refuse(CONFIRM, request, "CURSOR_AHEAD")
        else:
            self.cursor = max(self.cursor, body.inbox_seq)
            for position in body.delivered:
                self.positions[position.peer] = max(self.positions.get(position.peer, 0),
                                                    position.seq)
            conn.answer(CONFIRM, request, self.pb.ConfirmOk(inbox_seq=self.cursor))

    def on_sync(self, conn, request, body):
        if body.inbox_generation not in (0, self.generation) or body.after > self.head:
            conn.refuse(SYNC, request, "RESET")
            return
        start = max(body.after + 1, self.first)
        upto = min(self.head, start + min(body.limit or self.page, self.page) - 1)
        self.given |= set(range(start, upto + 1))
        conn.answer(SYNC, request, self.pb.SyncOk(
            events=[self.entries[n] for n in range(start, upto + 1)], head=self.head,
            first=self.first, completed=upto == self.head, inbox_generation=self.generation))

    def on_history(self, conn, request, body):
        told = self.conversations.get(body.peer, [])
        limit = min(body.limit or 100, 100)
        if body.oldest_first:
            wanted = [m for m in told if m.seq > body.after]
        else:
            wanted = [m for m in reversed(told) if not body.before or m.seq < body.before]
        conn.answer(HISTORY, request, self.pb.HistoryOk(
            messages=wanted[:limit], head=len(told), completed=len(wanted) <= limit, generation=1,
            peer_delivered=self.peer_delivered.get(body.peer, 0),
            own_delivered=self.positions.get(body.peer, 0)))

    # --- what others do

    def enter(self, message):
        """A new entry of the inbox; None: one without a message. Its number."""
        self.head += 1
        event = self.pb.Event(inbox_seq=self.head, inbox_generation=self.generation)
        if message is not None:
            event.message.CopyFrom(message)
            if self.extra:
                event.message.MergeFromString(EXTRA)
        self.entries[self.head] = event
        return self.head

    def said(self, peer, text):
        """The peer writes to the user. The entry's number; nothing is pushed."""
        told = self.conversations.setdefault(peer.encode(), [])
        message = self.pb.Message(
            message_id=7501986130894848 + self.head, seq=len(told) + 1, time_ms=self.now_ms(),
            to=self.user, from_device=b"phone", type=1, body=text.encode(),
            client_msg_id=bytes.fromhex("019aa569e9c07c3e9d2f0123") + self.head.to_bytes(4, "big"),
            **{"from": peer.encode()})
        told.append(message)
        return self.enter(message)

    def push(self, *numbers):
        conn = self.live()
        for n in numbers:
            self.given.add(n)
            if conn:
                conn.push(EVENT, self.entries[n])

    def receipt(self, peer, seq, kind):
        conn = self.live()
        if conn:
            conn.push(RECEIPT, self.pb.Receipt(peer=peer.encode(), seq=seq, kind=kind))

    def anew(self, generation=None):
        """The inbox begins again, as after a restore."""
        if generation:
            self.generation = generation
        self.entries, self.head, self.cursor, self.confirmed = {}, 0, 0, 0
        self.given, self.printed, self.conversations = set(), set(), {}
