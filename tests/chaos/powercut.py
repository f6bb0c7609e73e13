"""Power cuts without a power switch. A real server runs under the recorder; then every
moment of the record is a moment at which the power may have gone, and each disk that it may
have left (tape.py) is put into a directory, checked, and served by a real server again:
every message whose acknowledgement (or push) had left by then is there once, in order, with
its number and id, in the inboxes of both; a retry gives the first result; what is sent next
gets a number and an id that nobody had.

The same of a cluster with two stores, each a process with a disk of its own, whose power
goes at one moment: what lies on the one is cut as it happens, and so is the other. Both are
checked together (`anser check DIR DIR`), before and after a cluster has served them.

The recorder has a check of its own: the record played to its end must be the directory that
is there, byte for byte."""
import contextlib
import os
import random
import shutil
import tempfile
import time

import shim as recorder
import tape
from cluster import Cluster
from harness import Closed, Node, Pipeline, ServerError, pb, send_body, uuid7

CONFIG = "store:\n  overlay_rows_max: {rows}\n  log_segment_bytes: 8388608\n"
FIRST_EVENTS = 60  # of a directory: with them it is made
RECORDINGS_MAX = 3  # until one is true
# LMDB's lock file is shared memory: it means nothing once nobody runs.
SHARED = "/lmdb/lock.mdb"
# Each actor a process, and two stores: half of the conversations have an inbox elsewhere.
TWO_STORES = """
hosts:
  here: {address: 127.0.0.1}
actors:
  gate/0:      {host: here, listen: [GATE0]}
  router/0:    {host: here, slots: 0-1023}
  sequencer/0: {host: here, slots: 0-1023}
  store/0:     {host: here, slots: 0-511,    data: data/0}
  store/1:     {host: here, slots: 512-1023, data: data/1}
  idgen/0:     {host: here}
  api/0:       {host: here}
"""
STORES = ("0", "1")


class Sent:
    """A message and all that was heard of it."""

    def __init__(self, number, user, peer, body):
        self.number, self.user, self.peer, self.body = number, user, peer, body
        self.id = uuid7(tail=recorder.mark(number))
        self.result = None  # (seq, message_id)


class NotWhatLiesThere(AssertionError):
    """Of a recording. One killed between a write and its note, which is rare, is no fault of the
    recorder; one that is wrong each time is."""


class Recording:
    """A run that was recorded."""

    def __init__(self, case, seed, pairs, rows, bodies):
        self.case, self.rng = case, random.Random(seed)
        self.watch = recorder.Shim(case)
        self.bodies = bodies  # () -> length of the next
        self.config = CONFIG.format(rows=rows)
        self.node = self.new_node()
        # a name of its own, for a recording may be made again
        self.path = os.path.join(case.dir, "tape" + self.root.replace(os.sep, "_"))
        self.node.env.update(ANSER_TAPE=self.path, ANSER_TAPE_ROOT=self.root)
        self.users = [f"s{n}" for n in range(pairs)] + [f"r{n}" for n in range(pairs)]
        self.pairs = pairs
        self.messages = []  # of Sent, numbered from 1
        self.unsettled = []  # of Sent, unanswered when the server died
        self.refused = []  # of Sent, to be sent again
        self.users_at = 0  # length of the tape when all users had been told made

    def new_node(self):
        node = Node(self.case, env=self.watch.env, config=self.config)
        self.root = node.data
        return node

    def start(self):
        self.node.start()
        if not self.users_at:
            self.node.add_users(*self.users)
            self.users_at = os.path.getsize(self.path)
            self.tokens = {user: self.node.token(user) for user in self.users}
        for user, token in self.tokens.items():
            self.case.tokens[(self.node.data, user)] = token
        return self

    def talk(self, count, window=16, kill=False):
        """count new messages, in turn of the pairs; kill: with the last ones unanswered."""
        pipes, again = [], self.unsettled
        self.unsettled = []
        for n in range(self.pairs):
            client = self.node.client(f"s{n}", device="load", send_only=True)
            pipes.append(Pipeline(client, self._answered))
        listener = self.node.client("r0", device="listener")  # pushes leave too
        for message in again:
            self._push(pipes, message)
        for i in range(count):
            n = i % self.pairs
            length = self.bodies(self.rng)
            body = f"{len(self.messages) + 1} ".encode() + self.rng.randbytes(length // 2).hex().encode()
            message = Sent(len(self.messages) + 1, f"s{n}", f"r{n}", body)
            self.messages.append(message)
            while len(pipes[n].waiting) >= window:
                pipes[n].pump(20)
            self._settle(pipes)
            self._push(pipes, message)
            for pipe in pipes:
                pipe.pump(0)
        if kill:
            self.node.kill()
            self._lost(pipes)
        else:
            self._settle(pipes, last=True)
            for pipe in pipes:
                pipe.client.close()
        listener.close()

    def _push(self, pipes, message):
        pipe = pipes[int(message.user[1:])]
        pipe.push(message, send_body(message.peer, message.body, message_id=message.id))

    def _settle(self, pipes, last=False):
        """Sends again what a busy server refused, in its order; last: and awaits all."""
        end = time.monotonic() + 60
        while self.refused or (last and any(pipe.waiting for pipe in pipes)):
            assert time.monotonic() < end, "the server stays busy"
            for pipe in pipes:
                while pipe.waiting:
                    pipe.pump(20)
            again, self.refused = sorted(self.refused, key=lambda m: m.number), []
            for message in again:
                self._push(pipes, message)

    def _answered(self, message, answer):
        if isinstance(answer, ServerError):
            assert answer.retry, answer
            self.refused.append(message)
            return
        result = (answer.seq, answer.message_id)
        assert message.result in (None, result), "another result for a retry"
        message.result = result

    def _lost(self, pipes):
        for pipe in pipes:
            try:
                while True:
                    pipe.pump(5)
            except Closed:
                pass
            self.unsettled += pipe.waiting.values()
            pipe.client.close()
        self.unsettled += self.refused
        self.refused = []
        self.unsettled.sort(key=lambda m: m.number)

    def finish(self):
        """The recorder saw everything: its last word is what lies there."""
        self.node.stop()
        self.case.check(self.node)
        self.events = tape.read_tape(self.path)
        disk = tape.Disk(self.root)
        for event in self.events:
            disk.take(event)
        wanted = disk.left("everything", self.rng)
        found = {}
        for folder, _, names in os.walk(self.root):
            found[folder] = None
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    found[os.path.join(folder, name)] = f.read()
        for files in (wanted, found):
            for path in [path for path in files if path.endswith(SHARED)]:
                files.pop(path)
        assert set(wanted) == set(found), set(wanted) ^ set(found)
        wrong = [path for path, content in found.items() if content != wanted[path]]
        if wrong:
            raise NotWhatLiesThere(f"the record is not what lies there: {wrong}")
        left = {mark for mark in disk.sent if mark > 0}
        acked = {m.number for m in self.messages if m.result}
        assert acked <= left, f"acks that the recorder did not see: {acked - left}"
        return self


class ClusterRecording(Recording):
    """The same of a cluster; below its root are the directories of its stores."""

    def new_node(self):
        node = Cluster(self.case, "five", config=self.config, env=self.watch.env,
                       text=TWO_STORES)
        self.root = os.path.join(node.data, "data")
        return node


class Cuts:
    """Cuts of a recording and what became of them."""

    def __init__(self, case, recording, rng):
        self.case, self.recording, self.rng = case, recording, rng
        self.disk = tape.Disk(recording.root)
        self.done, self.after_ack, self.by_kind = 0, 0, {}
        self.served = 0
        self.first = 0  # no cut before it
        users_at, size = recording.users_at, 0
        self.users_from = len(recording.events)
        for number, event in enumerate(recording.events):
            size += tape.EVENT.size + len(event.data) + len(event.data_2)
            if size >= users_at:
                self.users_from = number + 1
                break

    def choose(self, count):
        """{number of events: [variant]}: each rare kind of moment, and random others."""
        kinds = {}
        for number, event in enumerate(self.recording.events):
            if event.op not in (tape.OPEN, tape.CLOSE) and number >= self.first:
                fd_kind = (tape.NAMES[event.op],)
                kinds.setdefault(fd_kind, []).append(number + 1)
        chosen = {}
        variants = list(tape.VARIANTS)
        queues = [self.rng.sample(numbers, len(numbers)) for numbers in kinds.values()]
        while count > 0 and any(queues):
            for queue in queues:
                if queue and count > 0:
                    number = queue.pop()
                    picked = self.rng.sample(variants, min(2, count))
                    chosen.setdefault(number, []).extend(picked)
                    count -= len(picked)
        return chosen

    def run(self, chosen):
        """Each chosen cut, in the order of the record."""
        seen = set()
        for number, event in enumerate(self.recording.events):
            self.disk.take(event)
            for variant in chosen.get(number + 1, ()):
                seed = self.rng.randrange(1 << 32)
                if not self.disk.uncertain():
                    if number in seen:
                        continue  # all variants are one
                    seen.add(number)
                try:
                    self.cut(variant, seed)
                except Exception:
                    print(f"     cut behind event {number + 1} ({tape.NAMES[event.op]}), "
                          f"{variant}, seed {seed}")
                    raise
                name = tape.NAMES[event.op]
                self.by_kind[name] = self.by_kind.get(name, 0) + 1
        return self

    def left(self, variant, rng):
        return self.disk.left(variant, rng)

    def cut(self, variant, seed):
        files = self.left(variant, random.Random(seed))
        self.folder = tempfile.mkdtemp(prefix="anser-cut-",
                                       dir=shared_memory() or self.case.dir)
        target = os.path.join(self.folder, "data")
        acked = [m for m in self.recording.messages if m.number in self.disk.sent]
        tape.materialise(files, self.recording.root, target)
        self.verify(target, acked)
        shutil.rmtree(self.folder)  # kept when it failed: the trace names it
        self.done += 1
        self.after_ack += bool(acked)

    def verify(self, target, acked):
        recording = self.recording
        node = Node(self.case, data=target, config=None)
        self.case.nodes.pop()
        node.args += recording.node.args
        users = self.disk.count >= self.users_from
        if users:
            self.check_offline(node)
        node.start()
        try:
            if users:
                for user, token in recording.tokens.items():
                    self.case.tokens[(target, user)] = token
                self.verify_served(node, acked)
        except Exception:
            print(f"     {target}\n{node.stderr()[-2000:]}")
            raise
        finally:
            for s in self.case.sockets:
                s.close()
            self.case.sockets.clear()
            for user in recording.users:
                self.case.tokens.pop((target, user), None)
            node.kill()
            if os.path.exists(node.errors):
                os.unlink(node.errors)
        if users:
            self.check_offline(node)

    @staticmethod
    def check_offline(node):
        node.run("check", node.data, data=False)

    def verify_served(self, node, acked):
        of_user = {}
        for message in acked:
            of_user.setdefault(message.user, {})[message.id] = message
        ids = set()
        for n in range(self.recording.pairs):
            user, peer = f"s{n}", f"r{n}"
            client = node.client(user, device="verify")
            messages = client.history(peer)
            self.verify_history(messages, of_user.get(user, {}))
            for name in (user, peer):
                inbox = (client if name == user else node.client(peer, device="verify")).sync()
                assert [e.inbox_seq for e in inbox] == list(range(1, len(messages) + 1)), name
                assert ([e.message.message_id for e in inbox] ==
                        [m.message_id for m in messages]), name
            ids |= {m.message_id for m in messages}
            self.verify_next(client, peer, messages, of_user.get(user, {}), ids)
        self.served += sum(map(len, of_user.values()))

    @staticmethod
    def verify_history(messages, acked):
        assert [m.seq for m in messages] == list(range(1, len(messages) + 1)), "a gap"
        by_id = {m.client_msg_id: m for m in messages}
        assert len(by_id) == len(messages), "a message is there twice"
        for message_id, message in acked.items():
            found = by_id.get(message_id)
            assert found is not None, f"acked message {message.number} is lost"
            assert found.body == message.body, f"message {message.number} has another body"
            assert message.result in (None, (found.seq, found.message_id)), message.number
        order = [int(m.body.split()[0]) for m in messages]
        assert order == sorted(order), "not in the order of sending"

    def verify_next(self, client, peer, messages, acked, ids):
        """One retry, and one new message."""
        if acked:
            message = list(acked.values())[-1]
            again = client.send(peer, message.body, message_id=message.id)
            found = next(m for m in messages if m.client_msg_id == message.id)
            assert (again.seq, again.message_id) == (found.seq, found.message_id), "a retry"
        ours = {m.result[1] for m in self.recording.messages if m.result and m.id in acked}
        new = client.send(peer, b"0 after the cut")
        assert new.seq == len(messages) + 1 and new.message_id not in ids | ours, new
        ids.add(new.message_id)


class ClusterCuts(Cuts):
    """Cuts of all disks of a cluster at one moment, each left in a way of its own."""

    def __init__(self, case, recording, rng):
        super().__init__(case, recording, rng)
        self.first = self.users_from  # before that it is about making stores
        self.apart = 0  # disks of which one had lost what the other knows of

    def left(self, variant, rng):
        variants = dict.fromkeys(STORES, variant)
        variants[rng.choice(STORES)] = rng.choice(list(tape.VARIANTS))
        self.apart += len(set(variants.values())) > 1
        return self.disk.left_apart(variants, rng)

    def verify(self, target, acked):
        recording = self.recording
        node = Cluster(self.case, "five", config=recording.config, text=TWO_STORES,
                       name=recording.node.name, key=recording.node.token_key)
        os.rmdir(os.path.join(node.data, "data"))
        shutil.move(target, os.path.join(node.data, "data"))
        for user, token in recording.tokens.items():
            self.case.tokens[(node.data, user)] = token
        try:
            self.case.check(node)
            node.start()
            self.verify_served(node, acked)
            node.settled()
            node.kill()
            self.case.check(node)
        except Exception:
            print(f"     {node.data}\n{node.stderr()[-2000:]}")
            raise
        finally:
            for s in self.case.sockets:
                s.close()
            self.case.sockets.clear()
            node.kill()
        self.case.nodes.remove(node)
        shutil.rmtree(node.data)


def shared_memory():
    """A directory in memory: what is cut a thousand times need not be written as often."""
    path = "/dev/shm"
    if os.access(path, os.W_OK) and shutil.disk_usage(path).free > 512 << 20:
        return path
    return None


def small(rng):
    return rng.randint(0, 400)


def large(rng):
    return rng.randint(0, 400) if rng.random() < 0.3 else rng.randint(10000, 60000)


def record_small(case, seed):
    """Short messages and an apply every few dozen; a kill and a restart on the way."""
    recording = Recording(case, seed, 4, 400, small).start()
    recording.talk(200)
    recording.talk(200, kill=True)
    recording.start().talk(200)
    return recording.finish()


def record_large(case, seed):
    """Long messages: the log goes through its segments and uses them again."""
    recording = Recording(case, seed, 2, 1000, large).start()
    recording.talk(500)
    recording.talk(300, kill=True)
    recording.start().talk(200)
    return recording.finish()


def record_two_stores(case, seed):
    """A cluster of processes with two stores; all of it is killed on the way."""
    recording = ClusterRecording(case, seed, 6, 400, small).start()
    recording.talk(240)
    recording.talk(240, kill=True)
    recording.start().talk(120)
    return recording.finish()


def true_recording(case, seed, record):
    for _ in range(RECORDINGS_MAX - 1):
        with contextlib.suppress(NotWhatLiesThere):
            return record(case, seed)
    return record(case, seed)


def run_cuts(case, seed, counts):
    """(cuts, acked messages served, message); counts: of each kind of recording."""
    cuts, acks, lines = 0, 0, []
    for record, count in zip((record_small, record_large), counts):
        recording = true_recording(case, seed, record)
        rng = random.Random(seed)
        run = Cuts(case, recording, rng)
        run.run(run.choose(count))
        cuts += run.done
        acks += sum(m.result is not None for m in recording.messages)
        lines.append(f"     {record.__name__[7:]}: {run.done} disks of "
                     f"{len(recording.events)} events, {run.after_ack} behind an ack, "
                     f"{run.served} acked messages found again; cut behind {run.by_kind}")
        os.unlink(recording.path)
    return cuts, acks, "\n".join(lines)


def case_R1_S1_R6_power_cuts_of_a_cluster(case):
    """Two stores, one moment: what the one has acknowledged stays, and what it owes to the
    inboxes of the other still comes."""
    seed = int(os.environ.get("POWER_SEED", random.randrange(1 << 32)))
    print(f"     seed {seed} (POWER_SEED={seed} records alike, and cuts)", flush=True)
    recording = true_recording(case, seed, record_two_stores)
    cuts = ClusterCuts(case, recording, random.Random(seed))
    cuts.run(cuts.choose(150 if case.long else 24))
    print(f"     two stores: {cuts.done} disks of {len(recording.events)} events, "
          f"{cuts.after_ack} behind an ack, {cuts.apart} left unlike each other, "
          f"{cuts.served} acked messages found again; cut behind {cuts.by_kind}")
    case.count(prefixes=cuts.done, acks=sum(m.result is not None for m in recording.messages))
    assert cuts.done > 12 and cuts.after_ack > 6, (cuts.done, cuts.after_ack)


def case_a_disk_that_lies_is_found_out(case):
    """The instrument itself: when a sync of the log does nothing, acked messages are gone,
    and that is what the cuts must say."""
    recording = Recording(case, 1, 4, 400, small).start()
    recording.talk(40)
    recording.finish()
    cuts = Cuts(case, recording, random.Random(1))
    cuts.disk.lies_from = cuts.users_from
    last = max(n for n, e in enumerate(recording.events) if e.op == tape.SENT) + 1
    try:
        cuts.run({last: ["nothing unsynced"]})
    except AssertionError as error:
        assert "is lost" in str(error), error
        shutil.rmtree(cuts.folder)
        return
    raise AssertionError("nothing was found wrong with a disk that lies")


def case_a_wrong_recording_is_made_again(case):
    """The second is a recording of its own, of which nothing was said before."""
    recordings = []

    def record(case, seed):
        recordings.append(Recording(case, seed, 1, 400, small).start())
        recordings[-1].talk(1)
        recordings[-1].finish()
        if len(recordings) == 1:
            raise NotWhatLiesThere("so this case says")
        return recordings[-1]

    assert true_recording(case, 1, record) is recordings[1]
    assert len(recordings) == 2, recordings


def case_R1_power_cuts_of_the_first_start(case):
    """A directory that is being made, cut behind every operation and in every way: the
    next start makes what is missing."""
    recording = Recording(case, 1, 4, 400, small).start()
    recording.talk(1)
    recording.finish()
    cuts = Cuts(case, recording, random.Random(1))
    made = [number for number, event in enumerate(recording.events[:FIRST_EVENTS], 1)
            if event.op == tape.WRITE]
    variants = list(tape.VARIANTS) * 4
    cuts.run({number: variants for number in made})
    print(f"     {cuts.done} disks behind {cuts.by_kind}")
    case.count(prefixes=cuts.done)
    assert cuts.done > 100, cuts.done


def case_R1_S1_R6_power_cuts_of_a_recorded_run(case):
    seed = int(os.environ.get("POWER_SEED", random.randrange(1 << 32)))
    print(f"     seed {seed} (POWER_SEED={seed} records alike, and cuts)", flush=True)
    counts = (1500, 500) if case.long else (220, 60)
    cuts, acks, text = run_cuts(case, seed, counts)
    print(text)
    case.count(prefixes=cuts, acks=acks)
    assert cuts > 100, cuts
