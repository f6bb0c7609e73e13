"""What the client is led through. Each script is one connection's life or a few of them; the mock
server judges every frame all the while, the script adds what is to be seen in its own case."""
import asyncio
import time

from mock import (ANSWER, CONFIRM, EVENT, HEADER, HEARTBEAT, HISTORY, LOGIN, RECEIPT, SEND, SYNC)

SCRIPTS = {}
AT = {"wrong-certificate": ("tls", "wss")}  # only at these doors; the others at every one


def script(function):
    SCRIPTS[function.__name__.replace("_", "-")] = function
    return function


def once(action):
    """A hook that bends the first frame only."""
    done = []

    def hook(*arguments):
        if done:
            return False
        done.append(True)
        action(*arguments)
        return True
    return hook


# --- frames


@script
async def whole_day(t):
    """Nothing goes wrong: sending, receiving, confirming."""
    for n in range(3):
        t.mock.said("bob", f"before {n}")
    await t.start()
    await t.until("after-login", "Sync for three waiting entries", t.all_taken)
    t.say("bob", "one", "two")
    t.say("carol", "three")
    await t.until("answer-lost", "three messages are sent", lambda: t.sent(3))
    t.mock.push(t.mock.said("bob", "behind"), t.mock.said("carol", "and carol"))
    await t.settle()
    await t.leave()


@script
async def frames_cut_and_glued(t):
    """Frames byte by byte, many in one piece, and large ones."""
    async def drip(conn, data):
        for n in range(len(data)):
            conn.raw(data[n:n + 1])
            await asyncio.sleep(0.001)

    def slowly(conn, request, _):
        conn.login = True
        conn.open.pop(request, None)
        body = t.mock.login_ok().SerializeToString()
        frame = HEADER.pack(b"AN", 1, 1, LOGIN, ANSWER, request, len(body)) + body
        t.drip = asyncio.ensure_future(drip(conn, frame))
    t.mock.hooks[LOGIN] = once(slowly)
    await t.start()
    await t.until("frame-cut", "a login answered byte by byte", lambda: "ONLINE" in t.states)
    conn, glued = t.mock.live(), b""
    for n in range(1, 31):
        t.mock.given.add(t.mock.said("bob", f"glued {n}"))
        body = t.mock.entries[n].SerializeToString()
        glued += HEADER.pack(b"AN", 1, 1, EVENT, 0, 0, len(body)) + body
    conn.raw(glued[:-7])
    await t.calm(0.05)
    conn.raw(glued[-7:])
    await t.until("frame-cut", "30 pushes in two pieces are taken", t.all_taken)
    for n in range(8):
        t.mock.said("bob", f"{n}" + "x" * 60000)
    t.mock.push(t.mock.head)
    await t.until("frame-cut", "a page of 480 KB is taken", t.all_taken)
    await t.settle()
    await t.leave()


@script
async def broken_frames(t):
    """Headers that are none, and one that is too long: close, come again."""
    for n, header in enumerate((
            HEADER.pack(b"XN", 1, 1, EVENT, 0, 0, 0), HEADER.pack(b"AN", 7, 1, EVENT, 0, 0, 0),
            HEADER.pack(b"AN", 1, 1, EVENT, 0, 0, 3 << 20))):
        if n == 0:
            await t.start()
        await t.online()
        conn = t.mock.live()
        conn.raw(header + bytes(100))
        await t.until("frame-bad", f"the connection is closed behind the header {header.hex()}",
                      lambda: conn.over, 5)
        await t.until("frame-bad", "and made again", t.mock.live)
    t.mock.push(t.mock.said("bob", "still here"))
    await t.settle()
    await t.leave()


@script
async def a_later_version(t):
    """Fields, pushes, kinds and errors of a later server."""
    t.mock.extra = True
    await t.start()
    await t.online()
    conn = t.mock.live()
    conn.push(200, b"\xff\xff\xffnot for you")
    conn.push(RECEIPT, t.mock.pb.Receipt(peer=b"bob", seq=1, kind=9))
    t.mock.push(t.mock.said("bob", "with more fields"))
    await t.until("unknown", "an entry with unknown fields, behind an unknown push, is taken",
                  t.all_taken)
    if t.mock.live() is not conn:
        t.broke("unknown", "the connection was closed")
    t.mock.push(t.mock.enter(None))
    t.mock.push(t.mock.said("bob", "behind an entry that says nothing"))
    await t.until("entry-empty", "the entry behind it is taken", t.all_taken)
    await t.until("entry-empty", "both are confirmed", lambda: t.mock.cursor == t.mock.head)
    t.mock.hooks[SEND] = once(lambda conn, request, body: t.mock.refuse_send(
        conn, request, body, "FROM_LATER", code=9901, retry=True))
    t.say("bob", "refused with an unknown number")
    await t.until("unknown-error", "error 9901 with retry: sent again", lambda: t.sent(1))
    if t.told[1][-1] == "FAILED":
        t.broke("unknown-error", "error 9901 with retry was taken as final")
    t.mock.hooks[SEND] = once(lambda conn, request, body: t.mock.refuse_send(
        conn, request, body, "LATER_TOO", code=9902, retry=False))
    t.say("carol", "refused for good with one")
    await t.until("unknown-error", "error 9902 without retry: told as failed",
                  lambda: "FAILED" in t.told.get(2, ()))
    t.say("bob", "goes on")
    await t.settle()
    await t.leave()


@script
async def answers_overtake(t):
    """Answers in the opposite order of their requests."""
    kept = []

    def keep(conn, request, body):
        kept.append((conn, request, body))
        return True
    t.mock.conversations[b"carol"] = [t.mock.pb.Message()] * 7  # numbers of their own
    t.mock.hooks[SEND] = keep
    await t.start()
    await t.online()
    t.say("bob", "one", "two")
    t.say("carol", "three", "four")
    while not t.sent(4):
        await t.until("answers-matched", "all four are sent", lambda: kept or t.sent(4))
        await t.happens(lambda: len(kept) == 4, 0.3)  # one by one is allowed, too
        for _, _, body in kept:
            t.mock.store(body)
        for conn, request, body in reversed(kept):
            t.mock.on_send(conn, request, body)
        kept.clear()
    await t.settle()
    await t.leave()


# --- login


@script
async def login_refused_for_now(t):
    """UNAVAILABLE with a pause of 600 ms: not before, but again."""
    told = []

    def refuse(conn, request, _):
        if len(told) == 2:
            return False
        told.append(time.monotonic())
        conn.refuse(LOGIN, request, "UNAVAILABLE", 600)
        return True
    t.mock.hooks[LOGIN] = refuse
    await t.start()
    await t.until("login-again", "the login is tried a third time", t.mock.live)
    for before, login in zip(told, t.mock.logins[1:]):
        if login[0] - before < 0.57:
            t.broke("goodbye-pause", f"a login came {login[0] - before:.2f} s behind a refusal "
                    "with retry_after_ms 600")
    t.say("bob", "at last")
    await t.settle()
    await t.leave()


@script
async def login_refused_for_good(t):
    """TOKEN_INVALID: that was it."""
    def refuse(conn, request, _):
        conn.refuse(LOGIN, request, "TOKEN_INVALID")
        conn.goodbye("TOKEN_INVALID")
        return True
    t.mock.hooks[LOGIN] = refuse
    await t.start()
    await t.until("adapter", "the client logs in", lambda: t.mock.logins)
    await t.never("login-final", "the refused token came again", lambda: len(t.mock.logins) > 1, 2)


@script
async def token_expired(t):
    """The first token has expired; there is a second."""
    def refuse(conn, request, _):
        if t.mock.logins[-1][2] == "token-2":
            return False
        conn.refuse(LOGIN, request, "TOKEN_EXPIRED")
        conn.goodbye("TOKEN_EXPIRED")
        return True
    t.mock.hooks[LOGIN] = refuse
    await t.start(tokens=("token-1", "token-2"))
    await t.until("token-fresh", "a login with the second token", t.mock.live)
    if [token for _, _, token in t.mock.logins].count("token-1") > 1:
        t.broke("login-final", "the expired token came again")
    await t.leave()


@script
async def token_revoked(t):
    """The first token is revoked while it serves; there is a second."""
    await t.start(tokens=("token-1", "token-2"))
    await t.online()
    t.mock.live().goodbye("TOKEN_REVOKED")
    await t.until("token-fresh", "a login with the second token",
                  lambda: t.mock.logins[-1][2] == "token-2")
    if [token for _, _, token in t.mock.logins].count("token-1") > 1:
        t.broke("login-final", "the revoked token came again")
    await t.leave()


@script
async def replaced(t):
    """The device is online elsewhere: do not come back."""
    await t.start()
    await t.online()
    t.mock.live().goodbye("REPLACED")
    await t.never("goodbye-final", "it came back after REPLACED",
                  lambda: len(t.mock.conns) > 1, 2)


# --- sending


@script
async def answer_lost(t):
    """The connection ends before the answers come; the server has stored two of four."""
    got = []

    def lose(conn, request, body):
        if conn.number > 1:
            return False
        got.append(body)
        if len(got) <= 2:
            t.mock.store(body)
        return True
    t.mock.hooks[SEND] = lose
    await t.start()
    await t.online()
    t.say("bob", "one", "two", "three", "four")
    await t.until("answer-lost", "a Send", lambda: got)
    await t.happens(lambda: len(got) == 4, 0.5)  # one by one is allowed, too
    t.mock.conns[0].close()
    await t.until("reconnect", "a new connection", lambda: len(t.mock.logins) > 1)
    await t.until("answer-lost", "all four are sent again and told", lambda: t.sent(4))
    await t.settle()
    await t.leave()


@script
async def answer_late(t):
    """The first connection is silent: the client's own clock finds it."""
    t.mock.hooks[SEND] = lambda conn, request, body: conn.number == 1
    await t.start(answer_ms=700)
    await t.online()
    t.say("bob", "one", "two")
    await t.until("answer-late", "a new connection", lambda: len(t.mock.logins) > 1)
    await t.until("answer-lost", "both are sent again and told", lambda: t.sent(2))
    await t.settle()
    await t.leave()


@script
async def window_of_four(t):
    """sends_max 4, answers that are long in coming, a dozen messages."""
    t.mock.sends_max, kept = 4, []

    def keep(conn, request, body):
        kept.append((conn, request, body))
        return True
    t.mock.hooks[SEND] = keep
    await t.start()
    await t.online()
    t.say("bob", *[f"m{n}" for n in range(6)])
    t.say("carol", *[f"c{n}" for n in range(6)])
    while not t.sent(12):
        await t.until("answer-lost", "the next message", lambda: kept or t.sent(12))
        await t.calm(0.1)
        for one in kept:
            t.mock.on_send(*one)
        kept.clear()
    await t.settle()
    await t.leave()


@script
async def busy_and_order(t):
    """The second of five is refused twice; the others behind it get ORDER."""
    refusals = []

    def refuse(conn, request, body):
        if body.body != b"two" or len(refusals) == 2:
            return False
        refusals.append(time.monotonic())
        t.mock.refuse_send(conn, request, body, "BUSY", 700 if len(refusals) == 1 else 1000)
        return True
    t.mock.hooks[SEND] = refuse
    await t.start()
    await t.online()
    t.say("bob", "one", "two", "three", "four", "five")
    await t.until("refused-again", "the refused one comes again", lambda: len(refusals) == 2)
    await t.calm(0.5)
    t.say("bob", "six, written while two waits")
    t.say("carol", "another conversation")
    await t.until("refused-again", "all seven are sent", lambda: t.sent(7))
    if t.mock.conversations[b"bob"][2].body != b"three":
        t.broke("order-again", "the conversation stands in another order")
    await t.settle()
    await t.leave()


@script
async def refused_for_good(t):
    """USER_NOT_FOUND for one; the ones behind it live."""
    def refuse(conn, request, body):
        if body.body != b"two":
            return False
        t.mock.refuse_send(conn, request, body, "USER_NOT_FOUND")
        return True
    t.mock.hooks[SEND] = refuse
    await t.start()
    await t.online()
    t.say("bob", "one", "two", "three")
    await t.until("refused-final", "the refused one is told as failed",
                  lambda: "FAILED" in t.told.get(2, ()))
    await t.settle()
    await t.calm(0.5)
    await t.leave()


@script
async def oversized(t):
    """A body above body_len_max: told to the user, the connection lives."""
    t.mock.body_len_max, t.mock.frame_len_max = 1000, 1200
    await t.start()
    await t.online()
    t.say("bob", "x" * 3000)
    await t.until("body-size", "the message is told as failed or refused",
                  lambda: t.refused or "FAILED" in t.told.get(1, ()))
    t.say("bob", "y" * 1050)  # the frame would fit
    await t.until("body-size", "this one, too",
                  lambda: len(t.refused) + sum("FAILED" in s for s in t.told.values()) == 2)
    t.say("bob", "z" * 1000)
    await t.settle()
    if len(t.mock.conns) > 1:
        t.broke("body-size", "the connection was lost")
    await t.leave()


@script
async def note_to_self(t):
    """To oneself: SendOk names the entry, the Event brings it."""
    await t.start()
    await t.online()
    t.say("alice", "remember the milk")
    await t.until("answer-lost", "it is sent", lambda: t.sent(1))
    t.mock.push(1)
    if not await t.happens(lambda: 1 in t.mock.printed, 2):
        t.broke("note-to-self", "the Event is not handed out")
    t.mock.push(t.mock.said("bob", "behind"))
    await t.settle()
    await t.leave()


# --- receiving


@script
async def doubled_and_reordered(t):
    """Pushes twice, and in another order."""
    await t.start()
    await t.online()
    n = [t.mock.said("bob" if i % 2 else "carol", f"m{i}") for i in range(12)]
    t.mock.push(n[0], n[0], n[2], n[1], n[1], n[5], n[4], n[3], n[0], n[5])
    t.mock.push(n[6], n[8], n[7], n[9], n[11], n[10], n[9])
    await t.settle()
    t.mock.push(n[11])
    await t.calm(0.3)
    await t.leave()


@script
async def hole(t):
    """Pushes are lost: Sync; its first answer is BUSY, its pages have two entries."""
    refused = []

    def busy(conn, request, body):
        refused.append(time.monotonic())
        conn.refuse(SYNC, request, "BUSY", 400)
    t.mock.page = 2
    await t.start()
    await t.online()
    n = [t.mock.said("bob", f"m{i}") for i in range(9)]
    t.mock.hooks[SYNC] = once(busy)
    t.mock.push(n[0], n[8])
    await t.until("hole", "a Sync", lambda: refused)
    await t.until("sync-refused", "it is asked again", lambda: syncs(t) > 1)
    again = [at for at, _, command in t.mock.frames if command == SYNC][1]
    if again - refused[0] < 0.38:
        t.broke("sync-refused", f"asked again after {again - refused[0]:.2f} s, retry_after_ms "
                "was 400")
    await t.until("sync-pages", "all pages are asked for", t.all_taken)
    await t.settle()
    await t.leave()


def syncs(t):
    return sum(command == SYNC for _, _, command in t.mock.frames)


@script
async def long_hole(t):
    """One push is lost, Sync is BUSY, and hundreds come meanwhile, own entries among them."""
    t.mock.hooks[SYNC] = once(lambda conn, request, _: conn.refuse(SYNC, request, "BUSY", 600))
    await t.start()
    await t.online()
    t.mock.said("bob", "lost")
    for n in range(4):
        t.mock.push(*[t.mock.said("bob", f"m{100 * n + i}") for i in range(100)])
        t.say("carol", f"c{n}")
        await t.until("answer-lost", "it is sent", lambda: t.sent(len(t.accepted)))
    await t.until("hole", "everything behind the hole is taken", t.all_taken)
    await t.settle()
    await t.leave()


@script
async def own_entries(t):
    """What this device sends has its place in the inbox: named by SendOk, or as an Event."""
    await t.start()
    await t.online()
    t.say("bob", "one", "two")
    await t.until("answer-lost", "both are sent", lambda: t.sent(2))
    t.mock.push(t.mock.said("bob", "between"))
    await t.until("own-entry", "the entry behind its own is taken", t.all_taken)
    if syncs(t):
        t.broke("own-entry", "a Sync for entries that SendOk had named")
    t.mock.own_inbox = False
    t.say("bob", "three")
    await t.until("answer-lost", "it is sent", lambda: t.sent(3))
    t.mock.push(t.mock.enter(t.mock.conversations[b"bob"][-1]))
    t.mock.push(t.mock.said("bob", "behind"))
    await t.settle()
    await t.leave()


@script
async def trimmed(t):
    """The server keeps entries from 5 on only."""
    for n in range(8):
        t.mock.said("bob", f"m{n}")
    t.mock.first = 5
    await t.start()
    await t.until("trimmed", "entries 5 to 8 are taken", t.all_taken)
    t.mock.push(t.mock.said("bob", "behind"))
    await t.settle()
    await t.leave()


@script
async def heartbeats(t):
    """heartbeat_ms 400; a lost last push is found by a HeartbeatOk."""
    t.mock.heartbeat_ms, t.mock.idle_ms = 400, 1200
    await t.start()
    await t.online()
    conn = t.mock.live()
    await t.calm(2)
    t.mock.judge_silence(conn)
    t.mock.said("bob", "this push is lost")
    await t.until("heartbeat-head", "a Sync behind a HeartbeatOk", t.all_taken)
    n = t.mock.said("bob", "this one comes as head_event")

    def head(conn, request, _):
        t.mock.given.add(n)
        conn.answer(HEARTBEAT, request, t.mock.pb.HeartbeatOk(
            server_time_ms=t.mock.now_ms(), inbox_generation=t.mock.generation,
            inbox_head=t.mock.head, head_event=t.mock.entries[n].SerializeToString()))
    t.mock.hooks[HEARTBEAT] = once(head)
    await t.until("heartbeat-head", "a head_event is taken", t.all_taken)
    await t.settle()
    await t.leave()


@script
async def inbox_begins_anew(t):
    """Another generation in a HeartbeatOk, then RESET: connect again, begin at 1."""
    t.mock.heartbeat_ms = 400
    for n in range(4):
        t.mock.said("bob", f"old {n}")
    await t.start()
    await t.until("after-login", "the entries are taken", lambda: t.mock.cursor == 4)
    t.mock.anew(t.mock.generation + 1)
    for n in range(2):
        t.mock.said("bob", f"new {n}")
    await t.until("anew", "a new connection behind a HeartbeatOk of another generation",
                  lambda: len(t.mock.logins) > 1)
    await t.until("anew", "the new inbox is taken from 1 on", t.all_taken)
    await t.until("confirm-comes", "and confirmed", lambda: t.mock.cursor == 2)
    t.mock.anew(t.mock.generation + 1)
    t.mock.hooks[HEARTBEAT] = lambda conn, request, _: conn.number == 2
    t.mock.said("bob", "newest 0")
    n = t.mock.said("bob", "newest 1")
    conn = t.mock.live()
    conn.push(EVENT, t.mock.entries[n])
    await t.until("anew", "a new connection behind an Event of another generation",
                  lambda: len(t.mock.logins) > 2)
    await t.settle()
    await t.leave()


@script
async def restored_backup(t):
    """The same generation, fewer entries: the position is forgotten."""
    for n in range(4):
        t.mock.said("bob", f"old {n}")
    await t.start(cursor="cursor")
    await t.until("after-login", "the entries are taken", lambda: t.mock.cursor == 4)
    await t.settle()
    await t.leave()
    t.mock.anew()
    t.mock.said("bob", "after the restore")
    await t.start(cursor="cursor")
    await t.until("anew", "entry 1 is taken", t.all_taken)
    await t.settle()
    await t.leave()


@script
async def restart(t):
    """The Confirm was lost, the client is killed: its own position says what it has."""
    t.mock.hooks[CONFIRM] = lambda conn, request, body: conn.number == 1
    for n in range(4):
        t.mock.said("bob", f"m{n}")
    await t.start(cursor="cursor")
    await t.until("confirm-comes", "Confirm 4", lambda: t.mock.confirmed == 4)
    t.process.kill()
    t.process.wait(10)
    t.repeats = "position-kept"
    await t.start(cursor="cursor")
    await t.until("confirm-again", "what the server does not know is confirmed again",
                  lambda: t.mock.cursor == 4)
    await t.until("confirm-again", "and so is the position in the conversation",
                  lambda: t.mock.positions.get(b"bob") == 4)
    t.mock.push(t.mock.said("bob", "m4"))
    await t.until("position-kept", "the fifth entry is taken", t.all_taken)
    await t.settle()
    await t.leave()


@script
async def position_unknown(t):
    """No position of its own, a cursor at the server, a generation it has not seen."""
    for n in range(6):
        t.mock.said("bob", f"m{n}")
    t.mock.cursor = t.floor = 4
    await t.start()
    await t.until("after-login", "entries 5 and 6 are taken", t.all_taken)
    await t.settle()
    await t.leave()


@script
async def confirm_refused(t):
    """A Confirm refused for now: what was taken is confirmed nevertheless."""
    t.mock.hooks[CONFIRM] = once(
        lambda conn, request, body: conn.refuse(CONFIRM, request, "BUSY", 100))
    await t.start()
    await t.online()
    for n in range(5):
        t.mock.push(t.mock.said("bob", f"m{n}"))
    await t.settle()
    await t.leave()


@script
async def many_conversations(t):
    """130 conversations move while a Confirm is unanswered: at most 100 positions in the next."""
    kept = []
    t.mock.hooks[CONFIRM] = once(lambda *confirm: kept.append(confirm))
    for n in range(260):
        t.mock.said(f"p{n % 130}", f"m{n}")
    await t.start()
    await t.until("confirm-comes", "a Confirm", lambda: kept)
    await t.until("sync-pages", "all entries are taken", t.all_taken)
    t.mock.on_confirm(*kept[0])
    await t.settle()
    await t.leave()


# --- receipts


@script
async def receipts(t):
    """Receipts twice, and before the answer."""
    async def answer(conn, request, body):
        ok = t.mock.store(body)
        t.mock.receipt("bob", ok.seq, 2)
        t.mock.receipt("bob", ok.seq, 2)
        await asyncio.sleep(0.05)
        t.mock.on_send(conn, request, body)

    def hook(conn, request, body):
        t.answering = asyncio.ensure_future(answer(conn, request, body))
        return True
    t.mock.hooks[SEND] = hook
    await t.start()
    await t.online()
    t.say("bob", "one")
    await t.until("answer-lost", "it is sent", lambda: t.sent(1))
    t.mock.hooks.clear()
    t.say("bob", "two", "three")
    await t.until("answer-lost", "all are sent", lambda: t.sent(3))
    for seq, kind in ((2, 2), (3, 2), (3, 2), (1, 1), (1, 1), (3, 1), (3, 1), (2, 1)):
        t.mock.receipt("bob", seq, kind)
    t.mock.peer_delivered[b"bob"] = 3
    await t.until("receipt-once", "all three are told as delivered",
                  lambda: all("DELIVERED" in t.told.get(n, ()) for n in (1, 2, 3)))
    await t.calm(0.3)
    await t.settle()
    await t.leave()


@script
async def receipt_lost(t):
    """No receipt comes; after a reconnect the history says it."""
    await t.start()
    await t.online()
    t.say("bob", "one")
    await t.until("answer-lost", "it is sent", lambda: t.sent(1))
    await t.calm(0.2)
    t.mock.peer_delivered[b"bob"] = 1
    t.mock.live().close()
    await t.until("reconnect", "a new connection", lambda: len(t.mock.logins) > 1)
    await t.until("receipt-lost", "a History, and DELIVERED is told",
                  lambda: "DELIVERED" in t.told.get(1, ())
                  and any(command == HISTORY for _, _, command in t.mock.frames))
    await t.settle()
    await t.leave()


# --- history


@script
async def history_pages(t):
    """A conversation of 250 messages, read whole (adapters that say `can history`)."""
    texts = [f"line {n}" for n in range(250)]
    for text in texts:
        t.mock.said("bob", text)
    await t.start()
    await t.until("inbox-order", "all entries are taken", t.all_taken, 20)
    if "history" in t.can:
        t.ask_history("bob")
        await t.until("history-pages", "the end of the conversation",
                      lambda: ("end",) in t.pages["bob"])
        wanted = [(str(n + 1), text.encode()) for n, text in enumerate(texts)]
        if t.pages["bob"][:-1] != wanted:
            t.broke("history-pages", f"{len(t.pages['bob']) - 1} of 250 messages, or in another order")
    await t.settle()
    await t.leave()


# --- certificates


@script
async def wrong_certificate(t):
    """Three gates: a certificate that nobody has signed, one of another name, a good one."""
    t.door.wrong = {0: "chain", 1: "name"}
    await t.start(gates=3)
    await t.until("tls-verify", "the third gate is found", t.mock.live, 20)
    t.say("bob", "hello")
    await t.settle()
    await t.leave()


# --- good-byes


@script
async def draining(t):
    """Three gates; one after the other goes, with answers owed."""
    t.mock.hooks[SEND] = lambda conn, request, body: conn.number < 3
    await t.start(gates=3)
    await t.online()
    t.say("bob", "one", "two", "three")
    for name in ("DRAINING", "SHUTTING_DOWN"):
        conn = t.mock.live()
        await t.until("answer-lost", "Sends on this connection", lambda: conn.tries.get(b"bob"))
        await t.happens(lambda: len(conn.tries[b"bob"]) == 3, 0.5)
        conn.goodbye(name)
        known = len(t.mock.conns)
        await t.until("goodbye-next", f"a new connection behind {name}",
                      lambda: len(t.mock.conns) > known)
        new = t.mock.conns[known]
        if new.gate == conn.gate:
            t.broke("goodbye-next", f"behind {name} it came back to the same address")
        if new.opened - conn.closed > max(1.0, t.patience):
            t.broke("goodbye-next", f"behind {name} it took {new.opened - conn.closed:.1f} s to "
                    "the next address")
        await t.online()
    await t.until("answer-lost", "all three are sent at the third gate", lambda: t.sent(3))
    await t.settle()
    await t.leave()


@script
async def shutting_down(t):
    """One address, SHUTTING_DOWN with retry_after_ms 1500."""
    await t.start()
    await t.online()
    conn = t.mock.live()
    conn.goodbye("SHUTTING_DOWN", 1500)
    t.say("bob", "written meanwhile")
    await t.until("reconnect", "a new connection", t.mock.live)
    if t.mock.conns[1].opened - conn.closed < 1.45:
        t.broke("goodbye-pause", f"it came back after {t.mock.conns[1].opened - conn.closed:.2f} s")
    await t.settle()
    await t.leave()


@script
async def back_off(t):
    """Four connections in a row are closed at once."""
    def close(conn):
        if conn.number <= 4:
            conn.close()
            return True
        return False
    t.mock.greeting = close
    await t.start()
    await t.until("reconnect", "a fifth connection", t.mock.live, 15)
    at = [conn.opened for conn in t.mock.conns]
    pauses = [b - a for a, b in zip(at, at[1:])]
    for n, pause in enumerate(pauses):
        if pause < 0.08 * 2 ** n:
            t.broke("back-off", f"pause {n + 1} was {pause:.3f} s; at least {0.1 * 2 ** n:.1f} s "
                    "(200 ms, doubling, drawn from the upper half)")
    await t.leave()
