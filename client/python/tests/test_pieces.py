"""The parts that need no server."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from support import ROOT, Frame, anser, pb, uuid7

from anser.connection import split_address
from anser.frame import read_frame
from anser.inbox import OWN, Inbox, InboxAnew
from anser.noise import PROTOCOL, Channel, Cipher, Handshake, NoiseError, parse_key
from anser.outbox import Outbox, Outgoing
from anser.tokens import sign


def message(inbox_seq: int, seq: int = 0, sender: str = "alice", generation: int = 7) -> anser.Message:
    return anser.Message(
        inbox_seq, seq or inbox_seq, 0, sender, "bob", "d", b"", 1, b"x", inbox_seq, generation
    )


class Frames(unittest.IsolatedAsyncioTestCase):
    async def test_every_vector_is_read_and_written_again(self) -> None:
        kinds = {
            (1, 0): pb.Login,
            (1, 1): pb.LoginOk,
            (2, 0): pb.Logout,
            (2, 1): pb.LogoutOk,
            (3, 0): pb.Heartbeat,
            (3, 1): pb.HeartbeatOk,
            (4, 0): pb.Send,
            (4, 1): pb.SendOk,
            (5, 0): pb.Confirm,
            (5, 1): pb.ConfirmOk,
            (6, 0): pb.Sync,
            (6, 1): pb.SyncOk,
            (7, 0): pb.History,
            (7, 1): pb.HistoryOk,
            (64, 0): pb.Event,
            (65, 0): pb.Receipt,
            (66, 0): pb.Goodbye,
        }
        vectors = json.loads((ROOT / "tests" / "vectors" / "frames.json").read_text())
        self.assertGreater(len(vectors), 20)
        for vector in vectors:
            with self.subTest(vector["name"]):
                data = bytes.fromhex(vector["hex"])
                reader = asyncio.StreamReader()
                reader.feed_data(data)
                frame = await read_frame(reader)
                for field in ("command", "flags", "request"):
                    self.assertEqual(getattr(frame, field), vector[field])
                kind = pb.Error if frame.flags & 2 else kinds[frame.command, frame.flags]
                body = kind.FromString(frame.body)
                again = Frame(frame.command, frame.flags, frame.request, body.SerializeToString())
                self.assertEqual(again.pack(), data)
                for name, value in vector["body"].items():
                    self.assertTrue(hasattr(body, name), name)
                    if isinstance(value, str):
                        self.assertIn(value, self.as_told(getattr(body, name)))

    @staticmethod
    def as_told(value: object) -> list[str]:
        if isinstance(value, bytes):
            told = [f"hex:{value.hex()}"]
            try:
                told.append(value.decode())
            except UnicodeDecodeError:
                pass
            return told
        return [str(value)]


class Errors(unittest.TestCase):
    def test_the_codes_are_those_of_the_document(self) -> None:
        text = (ROOT / "docs" / "protocol.md").read_text()
        table = text.split("<!-- errors: begin -->")[1].split("<!-- errors: end -->")[0]
        told = {m[2]: int(m[1]) for m in re.finditer(r"^\| (\d+) \| (\w+) \|", table, re.M)}
        self.assertEqual({code.name: int(code) for code in anser.Code}, told, "anser/errors.py")


class Ids(unittest.TestCase):
    def test_uuid7(self) -> None:
        ids = {uuid7(0x019AA569E9C0) for _ in range(1000)}
        self.assertEqual(len(ids), 1000)
        for one in ids:
            self.assertEqual(one[:6].hex(), "019aa569e9c0")
            self.assertEqual((one[6] >> 4, one[8] >> 6), (7, 2))

    def test_addresses(self) -> None:
        self.assertEqual(split_address("tcp://a.example:7400"), ("a.example", 7400))
        self.assertEqual(split_address("[::1]:1"), ("::1", 1))
        for bad in ("a.example", "a:b", ""):
            with self.assertRaises(ValueError):
                split_address(bad)


class Cursors(unittest.TestCase):
    def test_a_file_gives_back_what_it_was_given(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = anser.FileCursor(Path(folder) / "cursor")
            self.assertIsNone(kept.load())
            for position in (
                anser.Position(1 << 63, 1 << 62, {"鸿雁": 3}),
                anser.Position(7, 2, {}),
            ):
                kept.save(position)
                self.assertEqual(kept.load(), position)


class Inboxes(unittest.TestCase):
    def inbox(self, head: int = 0, cursor: int = 0, first: int = 1) -> Inbox:
        inbox = Inbox(None)
        inbox.logged_in(7, first, head, cursor)
        return inbox

    def test_twice_turned_around_and_missing(self) -> None:
        inbox = self.inbox()
        self.assertEqual([m.inbox_seq for m in inbox.offer(1, 7, message(1))], [1])
        self.assertEqual(inbox.offer(1, 7, message(1)), [])
        self.assertEqual(inbox.offer(3, 7, message(3)), [])
        self.assertTrue(inbox.behind)
        self.assertEqual([m.inbox_seq for m in inbox.offer(2, 7, message(2))], [2, 3])
        self.assertFalse(inbox.behind)

    def test_own_entries_are_taken_silently(self) -> None:
        inbox = self.inbox()
        self.assertEqual(inbox.offer(2, 0, OWN), [])
        self.assertEqual([m.inbox_seq for m in inbox.offer(1, 7, message(1))], [1])
        self.assertEqual(inbox.next, 3)
        self.assertEqual(inbox.safe, 0)  # the application has not confirmed 1
        inbox.confirm(message(1), "bob")
        self.assertEqual(inbox.safe, 2)
        self.assertEqual(inbox.marks, {"alice": 1})

    def test_a_page_does_not_hand_out_what_sendok_has_named(self) -> None:
        inbox = self.inbox()
        inbox.offer(2, 0, OWN)
        inbox.offer(1, 7, message(1))
        self.assertEqual(inbox.offer(2, 7, message(2, sender="bob")), [])

    def test_first_and_cursor(self) -> None:
        self.assertEqual(self.inbox(head=9, cursor=4).next, 5)
        self.assertEqual(self.inbox(head=9, cursor=4, first=8).next, 8)
        inbox = Inbox(anser.Position(7, 6, {}))
        self.assertFalse(inbox.logged_in(7, 1, 9, 4))
        self.assertEqual((inbox.next, inbox.behind), (6, True))

    def test_another_inbox(self) -> None:
        for generation, head in ((8, 9), (7, 3)):
            inbox = Inbox(anser.Position(7, 6, {"alice": 3}))
            self.assertTrue(inbox.logged_in(generation, 1, head, 2))
            self.assertEqual((inbox.next, inbox.marks), (3, {}))
        with self.assertRaises(InboxAnew):
            inbox.offer(3, 99, message(3))

    def test_a_bound_on_what_is_kept_aside(self) -> None:
        inbox = self.inbox()
        for seq in range(2, 5000):
            inbox.offer(seq, 7, message(seq))
        self.assertEqual(len(inbox.offer(1, 7, message(1))), 1001)
        self.assertTrue(inbox.behind)

    def test_marks_told(self) -> None:
        inbox = self.inbox()
        inbox.offer(1, 7, message(1))
        inbox.offer(2, 7, message(2))
        inbox.confirm(message(1), "bob")
        told = dict(inbox.marks)
        inbox.confirm(message(2), "bob")
        inbox.told(told)
        self.assertEqual(inbox.marks, {"alice": 2})
        inbox.told({"alice": 2})
        self.assertEqual(inbox.marks, {})


class Outboxes(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.box = Outbox()
        self.now = 0.0
        self.made = 0

    def add(self, *names: str, to: str = "bob") -> list[Outgoing]:
        loop = asyncio.get_running_loop()
        return [self.box.add(to, 1, n.encode(), None, loop.create_future()) for n in names]

    def take(self, window: int = 256) -> list[Outgoing]:
        def new_id() -> bytes:
            self.made += 1
            return self.made.to_bytes(16, "big")

        out = []
        while (one := self.box.take(self.now, window, new_id)) is not None:
            out.append(one)
        return out

    async def test_held_until_the_first_is_accepted(self) -> None:
        a, b, c = self.add("a", "b", "c")
        (other,) = self.add("x", to="carol")
        self.assertEqual(self.take(), [a, b, c, other])
        self.box.refused_for_now(b, self.now, 0.5)
        self.assertEqual(self.take(), [])
        self.box.refused_for_now(a, self.now, 0)
        self.assertEqual(self.take(), [])
        self.box.refused_for_now(c, self.now, 0)
        self.assertEqual(self.box.wake_at(), 0.5)
        (d,) = self.add("d")
        self.now = 0.6
        self.assertEqual(self.take(), [a])
        self.box.accepted(a, self.now)
        self.assertEqual(self.take(), [b, c, d])

    async def test_the_pause_grows(self) -> None:
        (a,) = self.add("a")
        waits = []
        for _ in range(12):
            self.assertEqual(self.take(), [a])
            self.box.refused_for_now(a, self.now, 0)
            wake_at = self.box.wake_at()
            assert wake_at is not None
            waits.append(wake_at - self.now)
            self.now = wake_at
        self.assertLess(waits[0], 0.2)
        self.assertTrue(2.5 <= waits[-1] <= 5.0, waits)

    async def test_a_refusal_for_good_lets_the_next_one_go(self) -> None:
        a, b = self.add("a", "b")
        self.take()
        self.box.refused_for_now(a, self.now, 0)
        self.box.refused_for_now(b, self.now, 0)
        self.now = 10
        self.assertEqual(self.take(), [a])
        self.box.refused(a, self.now)
        self.assertEqual(self.take(), [b])

    async def test_a_lost_connection(self) -> None:
        a, b, c = self.add("a", "b", "c")
        self.take(window=2)
        self.box.refused_for_now(a, self.now, 5)
        b.done.cancel()
        self.box.lost()
        self.assertEqual(self.take(), [a, c])
        self.assertEqual([m.client_msg_id for m in (a, b, c)], [bytes(15) + bytes([i]) for i in (1, 2, 3)])

    async def test_giving_up(self) -> None:
        a, b = self.add("a", "b")
        self.assertFalse(self.box.withdraw(b))
        self.take()
        self.box.refused_for_now(a, self.now, 0)
        self.assertTrue(self.box.withdraw(a))
        self.assertEqual(list(self.box), [])


class Noise(unittest.TestCase):
    def test_published_vectors(self) -> None:
        vectors = json.loads((ROOT / "tests" / "vectors" / "noise_nk.json").read_text())["vectors"]
        self.assertEqual(len(vectors), 2)
        for vector in vectors:
            with self.subTest(vector["origin"]):
                self.assertEqual(vector["protocol_name"], PROTOCOL.decode())
                part = {
                    name: bytes.fromhex(text)
                    for name, text in vector.items()
                    if name.split("_")[0] in ("init", "resp", "handshake")
                }
                messages = [
                    (bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"]))
                    for m in vector["messages"]
                ]
                shake = Handshake(
                    part["init_remote_static"], part["init_prologue"], part["init_ephemeral"]
                )
                self.assertEqual(shake.write(messages[0][0]), messages[0][1])
                self.assertEqual(shake.read(messages[1][1]), messages[1][0])
                self.assertEqual(shake.hash, part.get("handshake_hash", shake.hash))
                ours, theirs = shake.split()
                for i, (payload, sealed) in enumerate(messages[2:]):
                    if i % 2 == 0:
                        self.assertEqual(ours.encrypt(payload), sealed)
                    else:
                        self.assertEqual(theirs.decrypt(sealed), payload)

    def test_what_is_refused(self) -> None:
        key = bytes(range(32))
        for weak in (bytes(32), b"\x01" + bytes(31)):
            with self.assertRaises(NoiseError):
                Handshake(weak).write()
            shake = Handshake(key)
            shake.write()
            with self.assertRaises(NoiseError):
                shake.read(weak + bytes(16))
        with self.assertRaises(NoiseError):
            Channel(key).feed(b"\x00\x30" + bytes(range(48)))
        cipher = Cipher(key)
        sealed = cipher.encrypt(b"a")
        with self.assertRaises(NoiseError):
            cipher.decrypt(sealed)  # of another number
        cipher._nonce = 2**64 - 1
        with self.assertRaises(NoiseError):
            cipher.encrypt(b"a")

    def test_keys_in_base64(self) -> None:
        key = b"\xfb" * 32
        for text in (base64.b64encode(key), base64.urlsafe_b64encode(key)):
            self.assertEqual(parse_key(text.decode()), key)
            self.assertEqual(parse_key(text.decode().rstrip("=")), key)
        for text in ("", "AAAA", "*" * 43):
            with self.assertRaises(ValueError):
                parse_key(text)
        with self.assertRaises(ValueError):
            anser.Client("noise://127.0.0.1:7404", "t", "d")


class Vectors(unittest.IsolatedAsyncioTestCase):
    """tests/vectors: what tests/vectors/README.md says of each."""

    def read(self, name: str) -> Any:
        return json.loads((ROOT / "tests" / "vectors" / name).read_text())

    def test_tokens_are_signed_to_the_byte(self) -> None:
        vectors = self.read("tokens.json")
        secret = base64.urlsafe_b64decode(vectors["key"]["secret"] + "=")
        for vector in vectors["tokens"]:
            if vector["name"] in ("bent", "two-parts"):
                continue
            with self.subTest(vector["name"]):
                made = sign(vector["header"], vector["claims"], secret)
                self.assertEqual(made, vector["token"])

    def test_ids(self) -> None:
        for vector in self.read("ids.json")["ids"]:
            if vector["time_ms"] is None:
                continue
            with self.subTest(vector["name"]):
                id = bytes.fromhex(vector["hex"])
                rest = int.from_bytes(id, "big") & (1 << 80) - 1
                with mock.patch("secrets.randbits", lambda _, rest=rest: rest):
                    self.assertEqual(uuid7(int(vector["time_ms"])), id)

    def test_the_receiving_algorithm(self) -> None:
        for vector in self.read("inbox.json"):
            with self.subTest(vector["name"]):
                at = vector["position"]
                inbox = Inbox(anser.Position(at["generation"], at["next"], {}) if at else None)
                for step in vector["steps"]:
                    self.receive_step(inbox, step)

    def receive_step(self, inbox: Inbox, step: Any) -> None:
        if login := step.get("login"):
            inbox.logged_in(
                login["inbox_generation"], login["inbox_first"], login["inbox_head"], login["cursor"]
            )
        elif own := step.get("own"):
            taken = inbox.offer(own, 0, OWN)
            self.assertEqual([m.inbox_seq for m in taken], step["take"])
        else:
            seq, generation = step["arrive"], step["generation"]
            if step.get("reconnect"):
                with self.assertRaises(InboxAnew):
                    inbox.offer(seq, generation, message(seq, generation=generation))
                return
            taken = inbox.offer(seq, generation, message(seq, generation=generation))
            self.assertEqual([m.inbox_seq for m in taken], step["take"])
        self.assertEqual(inbox.next, step["next"])
        self.assertEqual(inbox.behind, step["sync"])

    async def test_the_order_of_sends(self) -> None:
        for vector in self.read("order.json"):
            with self.subTest(vector["name"]):
                self.send_steps(vector["steps"])

    def send_steps(self, steps: Any) -> None:
        box, now, all = Outbox(), 0.0, {}
        for step in steps:
            for name in step.get("write", ()):
                done = asyncio.get_running_loop().create_future()
                all[name] = box.add("bob", 1, name.encode(), None, done)
            if name := step.get("ok"):
                box.accepted(all[name], now)
                all[name].done.set_result(None)
            if name := step.get("fail"):
                box.refused(all[name], now)
                all[name].done.cancel()
            if name := step.get("retry"):
                box.refused_for_now(all[name], now, step.get("retry_after_ms", 0) / 1000)
            if step.get("lost"):
                box.lost()
            now += step.get("wait_ms", 0) / 1000
            sent = []
            while one := box.take(now, 256, lambda: b"id"):
                sent.append(one.body.decode())
            self.assertEqual(sent, step.get("send", []), step)


if __name__ == "__main__":
    unittest.main()
