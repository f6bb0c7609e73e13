"""The client against a real server."""

from __future__ import annotations

import asyncio
import time
import unittest

from support import PATIENCE, Case, Command, Frame, Recorder, anser, at_once, login_ok, pb, uuid7


class Sending(Case):
    async def test_text_and_bytes_arrive_as_they_were(self) -> None:
        bodies: list[tuple[str | bytes, int | None]] = [
            ("hello", None),
            ("你好，鸿雁 🪿", None),
            (bytes(range(256)), None),
            (b"\x89PNG", anser.Type.PICTURE),
            (b"x" * 65536, 99),
        ]
        async with self.client("alice") as alice, self.client("bob") as bob:
            for body, type in bodies:
                await alice.send("bob", body, type=type)
            got = await self.receive(bob, len(bodies))
        for message, (body, type) in zip(got, bodies, strict=True):
            self.assertEqual(message.body, body.encode() if isinstance(body, str) else body)
            default = anser.Type.TEXT if isinstance(body, str) else anser.Type.FILE
            self.assertEqual(message.type, type or default)
            self.assertEqual((message.sender, message.to), ("alice", "bob"))
        self.assertEqual([m.seq for m in got], [1, 2, 3, 4, 5])

    async def test_a_message_to_oneself_comes(self) -> None:
        async with self.client("alice") as alice:
            sent = await alice.send("alice", "note")
            message = await alice.receive(PATIENCE)
            self.assertEqual(message.client_msg_id, sent.client_msg_id)
            alice.confirm(message)
            await alice.delivered(sent, PATIENCE)

    async def test_posted_messages_keep_their_order(self) -> None:
        async with self.client("alice") as alice, self.client("bob") as bob:
            sent = await asyncio.gather(*(alice.post("bob", f"{i}") for i in range(2000)))
            self.assertEqual([s.seq for s in sent], list(range(1, 2001)))
            got = await self.receive(bob, 2000)
            self.assertEqual([m.text for m in got], [f"{i}" for i in range(2000)])
            await alice.delivered(sent[-1], PATIENCE)

    async def test_refusals_for_now_do_not_turn_the_order_around(self) -> None:
        self.proxy.rule = at_once(2000)  # the server says BUSY and ORDER
        async with self.client("alice") as alice, self.client("bob") as bob:
            posted = [alice.post(to, f"{i}") for i in range(1000) for to in ("bob", "carol")]
            await self.until_one_is_refused(alice, posted)
            sent = await asyncio.gather(*posted)
            self.assertEqual([s.seq for s in sent[::2]], list(range(1, 1001)))
            self.assertEqual([s.seq for s in sent[1::2]], list(range(1, 1001)))
            got = await self.receive(bob, 1000)
            self.assertEqual([m.text for m in got], [f"{i}" for i in range(1000)])

    async def test_one_given_up_while_the_server_waits_for_it(self) -> None:
        self.proxy.rule = at_once(300)
        async with self.client("alice") as alice, self.client("bob"):
            posted = [alice.post("bob", f"{i}") for i in range(300)]
            posted = await self.until_one_is_refused(alice, posted)
            first = min((m for m in alice._outbox if m.refused), key=lambda m: m.order)
            first.done.cancel()
            await asyncio.wait(posted)
            self.assertEqual([p for p in posted if p.cancelled()], [first.done])
            self.assertEqual((await alice.history("bob", limit=1)).head, 299)

    async def until_one_is_refused(
        self, client: anser.Client, posted: list[asyncio.Future[anser.Sent]]
    ) -> list[asyncio.Future[anser.Sent]]:
        """For now, and before all are answered. Those that are not answered yet."""
        while not any(m.refused for m in client._outbox):
            self.assertTrue(posted, "none was refused")
            await asyncio.wait(posted, return_when=asyncio.FIRST_COMPLETED)
            posted = [p for p in posted if not p.done()]
        return posted

    async def test_a_refusal_for_good_concerns_its_own_message(self) -> None:
        async with self.client("alice") as alice:
            now = int(time.time() * 1000)
            posted = [
                alice.post("bob", "1"),
                alice.post("bob", b"\xff", type=anser.Type.TEXT),
                alice.post("bob", "2"),
                alice.post("bob", "ahead", id=uuid7(now + 3_600_000)),
                alice.post("bob", "3"),
                alice.post("bob", "old", id=uuid7(now - 25 * 3_600_000)),
                alice.post("bob", ""),
                alice.post("bob", b"x" * 65537),
                alice.post("nobody", "x"),
                alice.post("bob", "4"),
            ]
            done = await asyncio.gather(*posted, return_exceptions=True)
            names = [d.name if isinstance(d, anser.Refused) else d.seq for d in done]
            wanted = [1, "UTF8", 2, "ID_TIME", 3, "ID_EXPIRED", "BODY_EMPTY", "BODY_TOO_LARGE"]
            self.assertEqual(names, [*wanted, "USER_NOT_FOUND", 4])
            self.assertIs(done[1].code, anser.Code.UTF8)
            with self.assertRaises(anser.Refused) as huge:
                await alice.send("bob", b"x" * 70000)
            self.assertIs(huge.exception.code, anser.Code.BODY_TOO_LARGE)

    async def test_a_body_above_the_servers_limit_is_not_sent(self) -> None:
        sends: list[int] = []
        login = login_ok(body_len_max=1000)

        def rule(frame: Frame, from_server: bool) -> Frame | None:
            if frame.command == Command.SEND and not from_server:
                sends.append(len(frame.body))
            return login(frame, from_server)

        self.proxy.rule = rule
        async with self.client("alice") as alice:
            done = await asyncio.gather(
                alice.post("bob", b"x" * 1001),
                alice.post("bob", b"x" * 1000),
                return_exceptions=True,
            )
            self.assertIs(done[0].code, anser.Code.BODY_TOO_LARGE)
            self.assertEqual(done[1].seq, 1)
            self.assertEqual(len(sends), 1)

    async def test_the_same_id_again_is_the_same_message(self) -> None:
        async with self.client("alice") as alice, self.client("bob") as bob:
            first = await alice.send("bob", "once")
            async with self.client("alice", "other") as other:
                again = await other.send("bob", "once", id=first.client_msg_id)
                self.assertEqual(again, first)
            with self.assertRaises(anser.Refused) as caught:
                await alice.send("bob", "twice", id=first.client_msg_id)
            self.assertIs(caught.exception.code, anser.Code.ID_CONFLICT)
            await self.receive(bob, 1)
            await self.nothing_more(bob, "alice")

    async def test_a_lost_answer_is_asked_for_again(self) -> None:
        lost = 0

        def rule(frame: Frame, from_server: bool) -> Frame | None:
            nonlocal lost
            if from_server and frame.command == Command.SEND and lost < 3:
                lost += 1
                self.proxy.cut()
                return None
            return frame

        self.proxy.rule = rule
        async with self.client("alice") as alice, self.client("bob") as bob:
            sent = await asyncio.gather(*(alice.post("bob", f"{i}") for i in range(20)))
            self.assertEqual([s.seq for s in sent], list(range(1, 21)))
            self.assertEqual([m.seq for m in await self.receive(bob, 20)], list(range(1, 21)))
            await self.nothing_more(bob, "alice")
        self.assertEqual(lost, 3)

    async def test_time_over(self) -> None:
        async with self.client("alice") as alice:
            self.proxy.rule = lambda frame, from_server: None if from_server else frame
            with self.assertRaises(anser.OutcomeUnknown) as caught:
                await alice.send("bob", "did it?", timeout=0.2)
            self.proxy.rule = lambda frame, _: frame
            self.proxy.cut()
            sent = await alice.send("bob", "did it?", id=caught.exception.client_msg_id)
            self.assertEqual(sent.seq, 1)
            await self.server.kill()
            self.proxy.cut()
            with self.assertRaises(anser.AnserError):
                await alice.send("bob", "hello?", timeout=0.2)

    async def test_send_only(self) -> None:
        watch = Recorder()
        async with self.client("bob", on_state=watch.on_state) as bob:
            async with self.client("bob", send_only=True) as sender:
                sent = await sender.send("alice", "from a script")
                self.assertEqual((await sender.history("alice")).messages[0].seq, sent.seq)
            # Sent by this device, but not by this program: it comes, when the hole is seen.
            await self.nothing_more_than(bob, [sent.client_msg_id])
        self.assertEqual([s for s, _ in watch.states], [anser.State.ONLINE, anser.State.ENDED])

    async def nothing_more_than(self, client: anser.Client, ids: list[bytes]) -> None:
        async with self.client("alice", "mark", send_only=True) as other:
            ids = [*ids, (await other.send(client.user, "mark")).client_msg_id]
        got = await self.receive(client, len(ids))
        self.assertEqual([m.client_msg_id for m in got], ids)


class Receiving(Case):
    async def test_every_device_gets_everything_once(self) -> None:
        async with (
            self.client("alice", "one") as one,
            self.client("alice", "two") as two,
            self.client("bob") as bob,
        ):
            sent = await asyncio.gather(
                *(c.post(to, f"{i}") for i in range(50) for c, to in ((one, "bob"), (two, "bob"))),
                *(bob.post("alice", f"b{i}") for i in range(50)),
            )
            self.assertEqual(sorted(s.seq for s in sent), list(range(1, 151)))
            for device, others in ((one, "two"), (two, "one"), (bob, "")):
                got = await self.receive(device, 100)
                self.assertEqual([m.seq for m in got], sorted({m.seq for m in got}))
                self.assertEqual(
                    {m.device for m in got}, {others, "py"} if others else {"one", "two"}
                )
                self.assertEqual(got[-1].inbox_seq, max(m.inbox_seq for m in got))

    async def test_lost_pushes_are_fetched(self) -> None:
        events = 0

        def rule(frame: Frame, from_server: bool) -> Frame | None:
            nonlocal events
            if frame.command == Command.EVENT:
                events += 1
                return frame if events % 3 == 0 else None
            return login_ok(heartbeat_ms=200)(frame, from_server)

        self.proxy.rule = rule
        async with self.client("alice") as alice, self.client("bob") as bob:
            for i in range(31):  # the last push is among the lost
                await alice.send("bob", f"{i}")
            got = await self.receive(bob, 31)
            self.assertEqual([m.text for m in got], [f"{i}" for i in range(31)])
            await self.nothing_more(bob, "alice")

    async def test_pushes_twice_and_turned_around(self) -> None:
        kept: list[Frame] = []

        def rule(frame: Frame, from_server: bool) -> Frame | None:
            if frame.command != Command.EVENT:
                return frame
            kept.append(frame)
            return kept[-2] if len(kept) % 2 == 0 else None

        self.proxy.rule = rule
        async with self.client("alice") as alice, self.client("bob") as bob:
            await asyncio.gather(*(alice.post("bob", f"{i}") for i in range(40)))
            self.proxy.rule = lambda frame, _: frame
            await alice.send("bob", "end")
            got = await self.receive(bob, 41)
            self.assertEqual([m.seq for m in got], list(range(1, 42)))

    async def test_what_was_sent_from_here_is_not_handed_out(self) -> None:
        def rule(frame: Frame, from_server: bool) -> Frame | None:
            if from_server and frame.command == Command.SEND:
                ok = pb.SendOk.FromString(frame.body)
                ok.inbox_seq = 0  # as of a server whose stores are several
                return Frame(frame.command, 1, frame.request, ok.SerializeToString())
            return frame

        async with self.client("alice") as alice, self.client("bob", send_only=True) as bob:
            await asyncio.gather(*(alice.post("bob", f"{i}") for i in range(5)))
            self.proxy.rule = rule
            await asyncio.gather(*(alice.post("bob", f"{i}") for i in range(5)))
            await bob.send("alice", "x")
            self.assertEqual([m.text for m in await self.receive(alice, 1)], ["x"])
            await alice.send("alice", "note")
            self.assertEqual([m.text for m in await self.receive(alice, 1)], ["note"])
            self.assertEqual(alice._coming, {})

    async def test_an_application_that_is_slow(self) -> None:
        async with self.client("alice") as alice, self.client("bob", queue_max=10) as bob:
            await asyncio.gather(*(alice.post("bob", f"{i}") for i in range(500)))
            self.assertLessEqual(len(bob._queue), 10 + 100)
            got = await self.receive(bob, 500)
            self.assertEqual([m.seq for m in got], list(range(1, 501)))

    async def test_unknown_pushes_and_empty_entries_are_passed_over(self) -> None:
        def rule(frame: Frame, from_server: bool) -> Frame | None:
            if frame.command == Command.EVENT:
                event = pb.Event.FromString(frame.body)
                if event.inbox_seq == 1:
                    event.ClearField("message")
                    return Frame(frame.command, 0, 0, event.SerializeToString() + b"\xf8\x7f\x01")
                if event.inbox_seq == 2:
                    return Frame(99, 0, 0, b"\xff")  # and the event is lost
            return frame

        self.proxy.rule = rule
        async with self.client("alice") as alice, self.client("bob") as bob:
            for i in range(3):
                await alice.send("bob", f"{i}")
            self.assertEqual([m.text for m in await self.receive(bob, 2)], ["1", "2"])
            await bob.flush()

    async def test_the_server_keeps_the_place_of_who_keeps_none(self) -> None:
        async with self.client("alice") as alice:
            for i in range(4):
                await alice.send("bob", f"{i}")
        async with self.client("bob") as bob:
            await self.receive(bob, 2)
        async with self.client("bob") as bob:
            self.assertEqual([m.text for m in await self.receive(bob, 2)], ["2", "3"])

    async def test_a_loop_confirms_what_it_has_done(self) -> None:
        async with self.client("alice") as alice:
            for i in range(4):
                await alice.send("bob", f"{i}")
        with self.assertRaises(ZeroDivisionError):
            async with self.client("bob") as bob:
                async for message in bob:
                    if message.text == "2":
                        _ = 1 // 0
        async with self.client("bob") as bob:
            self.assertEqual((await bob.receive(PATIENCE)).text, "2")

    async def test_the_cursor_file_goes_before_the_servers_memory(self) -> None:
        path = self.directory / "cursor"

        def no_confirm(frame: Frame, from_server: bool) -> Frame | None:
            return None if frame.command == Command.CONFIRM else frame

        async with self.client("alice", addresses=self.server.address) as alice:
            sent = [await alice.send("bob", f"{i}") for i in range(4)]
            self.proxy.rule = no_confirm
            bob = self.client("bob", cursor=path)
            await bob.start()
            await self.receive(bob, 3)
            kept = anser.FileCursor(path)
            while not (position := kept.load()) or position.next < 4:
                await asyncio.sleep(0)
            assert bob._runner
            bob._runner.cancel()  # as if killed
            await asyncio.wait([bob._runner])
            self.assertEqual(position.marks, {"alice": 3})
            self.proxy.rule = lambda frame, _: frame
            async with self.client("bob", cursor=path) as bob:
                await alice.delivered(sent[2], PATIENCE)  # told now, without a new message
                self.assertEqual([m.text for m in await self.receive(bob, 1)], ["3"])
                await bob.flush()
            self.assertEqual(kept.load(), anser.Position(position.generation, 5, {}))
            async with self.client("bob", cursor=path) as bob:
                await self.nothing_more(bob, "alice")


class Marks(Case):
    async def test_receipts_and_history(self) -> None:
        watch = Recorder()
        async with self.client("alice", on_receipt=watch.on_receipt) as alice:
            sent = await alice.send("bob", "are you there?")
            await watch.until(lambda: bool(watch.receipts))
            self.assertEqual(
                watch.receipts, [anser.Receipt("bob", 1, anser.ReceiptKind.STORED)]
            )
            with self.assertRaises(TimeoutError):
                await alice.delivered(sent, 0.1)
            async with self.client("bob") as bob:
                await self.receive(bob, 1)
                await alice.delivered(sent, PATIENCE)
                self.assertEqual((await bob.history("alice")).own_delivered, 1)
            self.assertEqual((await alice.history("bob")).peer_delivered, 1)

    async def test_a_lost_receipt(self) -> None:
        def rule(frame: Frame, from_server: bool) -> Frame | None:
            return None if frame.command == Command.RECEIPT else frame

        self.proxy.rule = rule
        async with self.client("alice") as alice, self.client("bob") as bob:
            sent = await alice.send("bob", "x")
            waiting = asyncio.create_task(alice.delivered(sent, PATIENCE))
            await self.receive(bob, 1)
            await waiting

    async def test_more_conversations_than_one_confirm_holds(self) -> None:
        names = [f"u{i}" for i in range(101)]

        async def greet(name: str) -> None:
            async with few:
                await self.server.cli("user", "add", name)
                async with self.client(name, send_only=True) as one:
                    await one.send("bob", "hi")

        few = asyncio.Semaphore(8)
        await asyncio.gather(*(greet(name) for name in names))
        async with self.client("bob") as bob:
            await self.receive(bob, len(names))
            await bob.flush()
            for name in (names[0], names[-1]):
                self.assertEqual((await bob.history(name)).own_delivered, 1)

    async def test_history(self) -> None:
        async with self.client("alice") as alice, self.client("bob") as bob:
            for k in range(6):
                who, to = ((alice, "bob"), (bob, "alice"))[k % 2]
                await asyncio.gather(*(who.post(to, f"{k}.{i}") for i in range(50)))
            page = await bob.history("alice")
            self.assertEqual([m.seq for m in page.messages], list(range(300, 200, -1)))
            self.assertEqual((page.head, page.completed), (300, False))
            page = await bob.history("alice", before=4)
            self.assertEqual(([m.seq for m in page.messages], page.completed), ([3, 2, 1], True))
            page = await bob.history("alice", after=10, oldest_first=True, limit=2)
            self.assertEqual(([m.seq for m in page.messages], page.completed), ([11, 12], False))
            self.assertEqual([m.seq async for m in alice.conversation("bob")], list(range(1, 301)))
            self.assertEqual((await bob.history("carol")).head, 0)
            with self.assertRaises(anser.Refused) as caught:
                await bob.history("nobody")
            self.assertIs(caught.exception.code, anser.Code.USER_NOT_FOUND)


class Logins(Case):
    async def test_refused_for_good(self) -> None:
        for token, name in (
            ("nonsense", "TOKEN_INVALID"),
            (self.server.token("nobody"), "USER_NOT_FOUND"),
            (self.server.token("alice", ttl=-60), "TOKEN_EXPIRED"),
            (self.server.token("alice", app="other"), "APP_UNKNOWN"),
        ):
            with self.assertRaises(anser.Ended) as caught:
                await self.client("alice", token=token).start()
            assert caught.exception.reason
            self.assertEqual(caught.exception.reason.name, name)

    async def test_a_fresh_token_for_each_login(self) -> None:
        tokens = [self.server.token("alice", ttl=-60), self.server.token("alice")]

        async def token() -> str:
            return tokens.pop(0)

        async with self.client("alice", token=token) as alice:
            await alice.send("bob", "in")

    async def test_a_token_service_that_is_away(self) -> None:
        tries = 0

        def token() -> str:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise ConnectionRefusedError
            return self.server.token("alice")

        async with self.client("alice", token=token) as alice:
            await alice.send("bob", "in")

    async def test_a_cursor_that_cannot_be_kept_ends_the_client(self) -> None:
        async with (
            self.client("alice") as alice,
            self.client("bob", cursor=self.directory / "folder" / "cursor") as bob,
        ):
            await alice.send("bob", "1")
            await self.receive(bob, 1)
            with self.assertRaises(anser.Ended) as caught:
                await bob.receive(PATIENCE)
            self.assertIsInstance(caught.exception.__cause__, FileNotFoundError)
            (self.directory / "folder").mkdir()

    async def test_replaced(self) -> None:
        watch = Recorder()
        async with self.client("alice", on_state=watch.on_state) as old:
            async with self.client("alice") as new:
                with self.assertRaises(anser.Ended) as caught:
                    await old.receive(PATIENCE)
                assert caught.exception.reason
                self.assertIs(caught.exception.reason.code, anser.Code.REPLACED)
                with self.assertRaises(anser.Ended):
                    await old.send("bob", "x")
                await new.send("bob", "x")
        self.assertEqual(watch.states[-1], (anser.State.ENDED, "REPLACED"))

    async def test_the_next_address(self) -> None:
        gone = "127.0.0.1:1"
        async with self.client("alice", addresses=[gone, self.proxy.address, gone]) as alice:
            await alice.send("bob", "1")
            self.proxy.cut()
            await alice.send("bob", "2")
            assert alice.login
            self.assertEqual(alice.login.address, self.proxy.address)

    async def test_no_server(self) -> None:
        with self.assertRaises(TimeoutError):
            await self.client("alice", addresses="127.0.0.1:1").start(timeout=0.5)

    async def test_a_connection_that_says_nothing_is_left(self) -> None:
        watch = Recorder()
        how = {"answer_timeout": 0.5, "on_state": watch.on_state}
        async with self.client("alice", **how) as alice:
            first = self.proxy.connections

            def silent(frame: Frame, from_server: bool) -> Frame | None:
                return None if self.proxy.connections == first else frame

            self.proxy.rule = silent
            await alice.send("bob", "x")
        self.assertIn((anser.State.OFFLINE, None), watch.states)


if __name__ == "__main__":
    unittest.main()
