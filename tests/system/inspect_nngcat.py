"""The nngcat command lines of docs/debugging.md, run as they stand there: a message sent
meanwhile shows at every station, and the counters grow by exactly what was sent."""
import json
import os
import re
import shlex
import shutil
import subprocess
import threading

from harness import TOP, CONFIRM, Skip, await_that, pb

PAGE = os.path.join(TOP, "docs", "debugging.md")


def node_json(node):
    with open(os.path.join(node.data, "node.json"), encoding="utf-8") as f:
        return json.load(f)


def command_lines(node):
    """The nngcat lines of the page, ready to run here: $CONTROL, $EVENTS and alice."""
    if shutil.which("nngcat") is None:
        raise Skip("no nngcat")
    places = node_json(node)
    with open(PAGE, encoding="utf-8") as f:
        blocks = re.findall(r"```(?:sh|console|bash)?\n(.*?)```", f.read(), re.S)
    lines = []
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line.startswith("nngcat "):
                line = re.sub(r"\s#.*$", "", line)
                line = re.sub(r'"?\$\{?CONTROL\}?"?', places["control"], line)
                lines.append(re.sub(r'"?\$\{?EVENTS\}?"?', places["events"], line))
    assert lines, f"no nngcat line in {PAGE}"
    return lines


def ask(node, words):
    """What the inspection endpoint answers, as JSON."""
    done = subprocess.run(["nngcat", "--req", "--dial", node_json(node)["control"], "--data",
                           words, "--raw", "--recv-timeout", "5"],
                          capture_output=True, timeout=20, check=True)
    return json.loads(done.stdout)


def numbers(value, prefix=""):
    """{path: number} of nested JSON; numbers may be strings."""
    if isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            found.update(numbers(inner, f"{prefix}.{key}" if prefix else key))
        return found
    try:
        return {prefix: int(value)}
    except (TypeError, ValueError):
        return {}


def case_every_question_of_the_page_is_answered(case):
    node = case.node()
    node.add_users("alice", "bob")
    online = node.client("alice", device="here")
    asked = [line for line in command_lines(node) if "--req" in line]
    assert asked, "no --req line in the page"
    for line in asked:
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=20,
                              check=False)
        assert done.returncode == 0 and done.stdout.strip(), (line, done.stderr)
        assert "error" not in done.stdout[:20].lower(), (line, done.stdout)
    online.close()


def case_help_of_an_actor_names_every_word_of_the_page(case):
    node = case.node()
    with open(PAGE, encoding="utf-8") as f:
        rows = re.findall(r"^\| `([a-z]+/0) ([^ `]+)[^`]*` \|", f.read(), re.M)
    assert len(rows) >= 6, rows
    for actor, word in rows + [("gate/0", "stats")]:
        words = ask(node, actor + " help")["words"]
        assert any(known.split()[0] == word for known in words), (actor, word, words)


class Watcher:
    """A line of the page that listens for events, collecting what it prints."""

    def __init__(self, case, line):
        self.line, self.text = line, ""
        self.process = subprocess.Popen(shlex.split(line), stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        case.processes.append(self.process)
        self.process.stderr = None
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return
            self.text += data.decode("utf-8", "replace")

    def plain(self):
        """nngcat --quoted escapes the quotes."""
        return self.text.replace('\\"', '"')


STATIONS = ("message.gate_in", "message.order", "message.commit", "message.push",
            "message.ack")


def case_a_message_shows_at_every_station(case):
    node = case.node()
    node.add_users("alice", "bob")
    listening = [line for line in command_lines(node) if "--sub" in line]
    assert listening, "no --sub line in the page"
    all_topics = [line for line in listening
                  if "message" in line or "--subscribe" not in line] or listening
    watcher = Watcher(case, all_topics[0])
    alice, bob = node.client("alice"), node.client("bob")

    def seen_one():
        """Subscribing takes a moment: probes until one shows."""
        alice.send("bob", "a probe")
        return STATIONS[0] in watcher.text

    await_that("the subscription", seen_one)
    sent = alice.send("bob", "watch me")
    trace = hex_id = None

    def stations():
        nonlocal trace, hex_id
        lines = [line for line in watcher.plain().splitlines()
                 if f'"{sent.message_id}"' in line]
        hex_id = sent.client_msg_id.hex()
        lines += [line for line in watcher.plain().splitlines()
                  if hex_id in line and line not in lines]
        return [s for s in STATIONS if not any(s in line for line in lines)] == []

    try:
        await_that("every station", stations)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{watcher.plain()[-3000:]}") from None
    assert "watch me" not in watcher.text, "a body is shown"
    for line in watcher.plain().splitlines():
        if hex_id in line and "message.order" in line:
            assert f'"{sent.message_id}"' in line, line
    event = bob.await_events(1)[0]
    assert event.message.body == b"a probe"


def case_trace_off_keeps_no_hops(case):
    """The setting reaches the actors, and who asks is told."""
    node = case.node(config="trace: off\n")
    node.add_users("alice", "bob")
    sent = node.client("alice").send("bob", "unseen")
    done = node.run("trace", str(sent.message_id), expect=5)
    assert "store/0 keeps no hops: trace is off" in done.out, done


def settled(node, words):
    """The counters once two answers in a row agree on everything of messages."""
    return numbers(ask(node, words))


def case_counters_grow_by_what_was_sent(case):
    node = case.node()
    node.add_users("alice", "bob")
    alice, bob = node.client("alice"), node.client("bob")
    alice.send("bob", "warm-up")
    bob.await_events(1)
    before = node.metrics()
    count = 37
    for number in range(count):
        alice.send("bob", f"number {number}")
    last = bob.await_events(count)[-1]
    bob.call(CONFIRM, pb.Confirm(inbox_seq=last.inbox_seq, delivered=[
        pb.Position(peer=b"alice", seq=last.message.seq)]))

    def grown():
        after = node.metrics()
        return {name: after[name] - before.get(name, 0) for name in after}

    await_that("the counters", lambda: grown().get("anser_store_messages_total") == count)
    for name in ("anser_gate_sends_total", "anser_sequencer_messages_total",
                 "anser_store_messages_total"):
        assert grown().get(name) == count, (name, grown().get(name), sorted(grown()))
    stats = settled(node, "store/0 stats")
    assert count + 1 in stats.values(), stats
