"""Rows of the feature list that the client library keeps, seen from outside: the library as
a program (sdk_client.c) or the command line, over a wire that a case can bend (proxy.py)."""
import os
import select
import subprocess
import time

from harness import ANSWER, CONFIRM, EVENT, LOGIN, RECEIPT, SEND, Skip, await_that, pb
from proxy import Cut, Proxy
from scenario import finish, pair


class Lines:
    """The lines that a process prints, as they come."""

    def __init__(self, process):
        self.process, self.buffer, self.seen = process, b"", []

    def fill(self, timeout):
        if not select.select([self.process.stdout], [], [], max(0, timeout))[0]:
            return False
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            return None
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        self.seen += [line.decode() for line in lines]
        return True

    def until(self, what, condition, timeout=30.0):
        """Reads until condition(lines so far); AssertionError after the timeout."""
        end = time.monotonic() + timeout
        while not condition(self.seen):
            left = end - time.monotonic()
            more = self.fill(left) if left > 0 else False
            assert more, f"{what}: only {self.seen[-20:]}"
        return self.seen

    def rest(self, timeout=30.0):
        """Reads to the end; all lines."""
        end = time.monotonic() + timeout
        while True:
            more = self.fill(end - time.monotonic())
            if more is None:
                self.process.wait(10)
                return self.seen
            assert more, f"no end: {self.seen[-20:]}"

    def of(self, kind):
        return [line.split(" ", 1)[1] for line in self.seen if line.startswith(kind + " ")]


class Sdk(Lines):
    """A run of sdk_client."""

    def __init__(self, case, node, user, url=None, device="sdk", cursor="-", timeout_ms=15000,
                 attempts=16, env=None):
        path = os.path.join(case.build, "bin", "sdk_client")
        if not os.path.exists(path):
            raise Skip(f"no {path}")
        url = url or node.url
        process = subprocess.Popen(
            [*node.prefix, path, url, case.token(node, user), device, cursor, str(timeout_ms), str(attempts)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(node.env, LD_PRELOAD="", **(env or {})), cwd=case.dir)
        case.processes.append(process)
        super().__init__(process)

    def say(self, to, *texts):
        self.process.stdin.write("".join(f"{to} {text}\n" for text in texts).encode())
        self.process.stdin.flush()

    def close(self):
        """End of input, then all lines to the program's own end."""
        self.process.stdin.close()
        return self.rest()

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def messages(self):
        return self.of("message")

    def states(self, ticket):
        """[state, seq, attempts, error] of each time the ticket was told of."""
        told = [line.split() for line in self.of("send")]
        return [line[1:] for line in told if line[0] == str(ticket)]


def same_port(node):
    """The node started again where its clients look for it."""
    node.listen = f"tcp://127.0.0.1:{node.port}"
    node.start()


# --- R4


def case_R4_lost_answers_are_sent_again_with_the_same_id(case):
    """The first connection loses every answer, which only the library's own clock finds; the
    second is cut when the first answer comes; the third is whole."""
    node = pair(case)
    ids, logins = [], []

    def rule(upward, command, flags, frame):
        if upward and command == LOGIN:
            logins.append(frame)
        if command != SEND:
            return [frame]
        if upward:
            ids.append((len(logins), pb.Send.FromString(frame[16:]).client_msg_id))
        elif len(logins) == 1:
            return []
        elif len(logins) == 2:
            raise Cut
        return [frame]

    alice = Sdk(case, node, "alice", Proxy(case, node, rule).url, timeout_ms=400)
    alice.say("bob", "said once", "said behind it")
    alice.until("both to be sent", lambda lines: sum(" SENT " in line for line in lines) == 2)
    alice.close()
    assert len(logins) == 3, alice.seen
    tries = [[one for number, one in ids if number == n] for n in (1, 2, 3)]
    assert len(tries[0]) == 2 and tries[0] == tries[1] == tries[2], tries
    for ticket, message in ((1, b"said once"), (2, b"said behind it")):
        assert [s[0] for s in alice.states(ticket)] in (
            ["SENDING", "SENT"], ["SENDING", "SENT", "STORED"]), alice.seen
        assert alice.states(ticket)[1][1:3] == [str(ticket), "3"], alice.seen
        assert node.client("bob").history("alice")[ticket - 1].body == message
    assert len(node.client("bob").sync()) == 2
    finish(case, node)


def case_R4_gives_up_after_its_attempts_and_says_so(case):
    node = pair(case)
    tries = []

    def rule(upward, command, flags, frame):
        if command == SEND and upward:
            tries.append(pb.Send.FromString(frame[16:]).client_msg_id)
            return []
        return [frame]

    alice = Sdk(case, node, "alice", Proxy(case, node, rule).url, timeout_ms=300, attempts=3)
    alice.say("bob", "never heard")
    alice.until("the end of trying", lambda lines: any(" FAILED " in line for line in lines))
    alice.close()
    assert len(tries) == 3 and len(set(tries)) == 1, tries
    states = alice.states(1)
    assert [s[0] for s in states] == ["SENDING", "FAILED"], states
    assert states[1][3] in ("TIMEOUT", "CONNECTION"), states
    assert not node.client("bob").sync()
    finish(case, node)


# --- R10


def case_R10_holes_are_pulled_and_order_is_kept(case):
    """Pushes left out, changed in order and doubled on the way: the library hands all over,
    in order, once."""
    node = pair(case)
    held, passed = [], [0]

    def rule(upward, command, flags, frame):
        if upward or command != EVENT:
            return [frame]
        passed[0] += 1
        if passed[0] % 10 == 3:
            return []  # lost
        if passed[0] % 10 == 5:
            held.append(frame)  # late: behind the next one
            return []
        out = [frame] + held + ([frame] if passed[0] % 10 == 8 else [])
        held.clear()
        return out

    bob = Sdk(case, node, "bob", Proxy(case, node, rule).url)
    bob.until("to be online", lambda lines: "state ONLINE -" in lines)
    alice = node.client("alice")
    for number in range(1, 101):
        alice.send("bob", f"m{number}")
    bob.until("all messages", lambda lines: len(bob.messages()) >= 100)
    bob.close()
    assert bob.messages() == [f"{n} alice m{n}" for n in range(1, 101)], bob.messages()
    assert passed[0] >= 90 and not bob.of("gap"), (passed, bob.of("gap"))
    finish(case, node)


# --- Q1


def case_Q1_recv_goes_on_over_restarts(case):
    node = pair(case)
    reader = Lines(node.popen("recv", "--user", "bob", "--follow", "--device", "tv"))
    said = []

    def say(text):
        node.send("alice", "bob", text)
        said.append(f"{len(said) + 1} alice {text}")
        reader.until(text, lambda lines: len(lines) >= len(said))

    say("before")
    node.stop()
    same_port(node)
    say("behind a restart")
    node.kill()
    node.start()
    say("behind a crash")
    assert reader.seen == said, reader.seen
    finish(case, node)


def case_Q1_library_reconnects_logs_in_and_syncs(case):
    node = pair(case)
    bob = Sdk(case, node, "bob")
    alice = Sdk(case, node, "alice")
    alice.say("bob", "one")
    bob.until("one", lambda lines: len(bob.messages()) == 1)
    node.kill()
    for person in (alice, bob):
        person.until("to notice", lambda lines: any("state OFFLINE" in x for x in lines))
    alice.say("bob", "written while the server was away")
    same_port(node)
    node.send("alice", "bob", "from elsewhere")
    bob.until("all three", lambda lines: len(bob.messages()) == 3)
    alice.close()
    bob.close()
    for person in (alice, bob):
        assert person.seen.count("state ONLINE -") == 2, person.seen
    texts = [line.split(" ", 2)[2] for line in bob.messages()]
    assert texts[0] == "one" and sorted(texts[1:]) == sorted(
        ["from elsewhere", "written while the server was away"]), texts
    assert [line.split()[0] for line in bob.messages()] == ["1", "2", "3"]
    finish(case, node)


# --- Q2


def cursor_of(node, user, device):
    """What the server knows of the device's place, without taking its connection."""
    client = node.client(user, device=device, send_only=True)
    cursor = client.login_ok.cursor
    client.close()
    return cursor


def case_Q2_restarted_recv_repeats_nothing(case):
    node = pair(case)
    printed = []
    for number in range(3):
        for n in range(4):
            node.send("alice", "bob", f"m{4 * number + n}")
        reader = Lines(node.popen("recv", "--user", "bob", "--follow"))
        reader.until("four", lambda lines: len(lines) >= 4)
        await_that("the confirm", lambda: cursor_of(node, "bob", "cli") == 4 * number + 4)
        reader.process.kill()
        printed += reader.rest()
    assert printed == [f"{n + 1} alice m{n}" for n in range(12)], printed
    # Killed between print and confirm: repeats what was not confirmed, loses nothing.
    for n in range(12, 30):
        node.send("alice", "bob", f"m{n}")
    sure = 12
    while sure < 30:
        reader = Lines(node.popen("recv", "--user", "bob", "--follow"))
        lines = reader.until("a line", lambda lines: lines)
        reader.process.kill()
        lines = reader.rest()
        numbers = [int(line.split()[0]) for line in lines]
        assert numbers == list(range(sure + 1, sure + 1 + len(numbers))), (sure, numbers)
        before, sure = sure, cursor_of(node, "bob", "cli")
        assert before <= sure <= numbers[-1], "confirmed what was never printed"
        if sure == before:
            node.run("recv", "--user", "bob", "--count", "1")
            sure += 1
    finish(case, node)


def case_Q2_cursor_file_is_ahead_of_the_confirm(case):
    """Killed when the Confirm has left the library and before the server has it: the
    library's own file knows, and the restart repeats nothing."""
    node = pair(case)
    cursor = os.path.join(case.new_dir("app"), "cursor")
    confirms = []

    def rule(upward, command, flags, frame):
        if upward and command == CONFIRM:
            confirms.append(pb.Confirm.FromString(frame[16:]).inbox_seq)
            return []
        return [frame]

    url = Proxy(case, node, rule).url
    alice = node.client("alice")
    for number in range(1, 4):
        for n in range(5):
            alice.send("bob", f"m{5 * number - 4 + n}")
        bob = Sdk(case, node, "bob", url, cursor=cursor)
        await_that("the Confirm", lambda: confirms and confirms[-1] == 5 * number)
        bob.kill()
        bob.rest()
        assert bob.messages() == [f"{n} alice m{n}" for n in
                                  range(5 * number - 4, 5 * number + 1)], bob.messages()
        assert cursor_of(node, "bob", "sdk") == 0
    bob = Sdk(case, node, "bob", url, cursor=cursor)
    bob.until("to be online", lambda lines: "state ONLINE -" in lines)
    alice.send("bob", "m16")
    bob.until("the new one", lambda lines: bob.messages())
    assert bob.messages() == ["16 alice m16"]
    finish(case, node)


# --- Q4


def case_Q4_each_state_is_told_once(case):
    """Receipts doubled on the way, a lost answer, a reconnect: sending, sent, stored,
    delivered each come once for each message, in this order; failed alone."""
    node = pair(case)
    lost = []

    def rule(upward, command, flags, frame):
        if command == RECEIPT:
            return [frame, frame]
        if command == SEND and not upward and flags == ANSWER and not lost:
            lost.append(frame)
            raise Cut
        return [frame]

    alice = Sdk(case, node, "alice", Proxy(case, node, rule).url)
    alice.say("bob", *(f"m{n}" for n in range(10)))
    alice.say("nobody", "hello")
    alice.until("the end of sending",
                lambda lines: sum(" SENT " in x or " FAILED " in x for x in lines) == 11)
    alice.say("bob", "one more")  # bob is offline, and the wire is whole: stored is told
    alice.until("stored", lambda lines: any(x.startswith("send 12 STORED") for x in lines))
    bob = Sdk(case, node, "bob")
    alice.until("delivered", lambda lines: sum(" DELIVERED " in x for x in lines) == 11)
    alice.close()
    bob.close()
    assert lost
    order = ["SENDING", "SENT", "STORED", "DELIVERED"]
    for ticket in [*range(1, 11), 12]:
        states = [s[0] for s in alice.states(ticket)]
        assert len(set(states)) == len(states), (ticket, states)
        assert states == [s for s in order if s in states], (ticket, states)
        assert {"SENDING", "SENT", "DELIVERED"} <= set(states), (ticket, states)
    failed = alice.states(11)
    assert [s[0] for s in failed] == ["SENDING", "FAILED"], failed
    assert failed[1][3] == "USER_NOT_FOUND", failed
    finish(case, node)
