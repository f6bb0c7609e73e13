"""The server ends, by force or not, and comes back."""

from __future__ import annotations

import asyncio
import unittest

from support import PATIENCE, Case, Recorder, Server, anser


class Restart(Case):
    async def test_killed_in_the_middle_of_everything(self) -> None:
        count = 1500
        async with self.client("alice") as alice, self.client("bob") as bob:

            async def talk(who: anser.Client, to: str) -> list[anser.Sent]:
                return await asyncio.gather(*(who.post(to, f"{i}") for i in range(count)))

            async def kill() -> None:
                for already in (100, 600, 1100):
                    while (await self.head(alice)) < already:
                        pass
                    await self.server.kill()
                    await self.restart()

            sent, _, got = await asyncio.gather(
                talk(alice, "bob"), kill(), self.receive(bob, count)
            )
            self.assertEqual([s.seq for s in sent], list(range(1, count + 1)))
            self.assertEqual([m.text for m in got], [f"{i}" for i in range(count)])
            self.assertEqual([m.client_msg_id for m in got], [s.client_msg_id for s in sent])
            await alice.delivered(sent[-1], PATIENCE)
            await self.nothing_more(bob, "alice")
        await self.server.stop()
        await self.server.cli("check", str(self.server.directory))

    async def head(self, alice: anser.Client) -> int:
        return (await alice.history("bob", limit=1)).head

    async def test_stopped_with_a_word(self) -> None:
        watch = Recorder()
        async with self.client("alice", on_state=watch.on_state) as alice:
            await self.server.stop()
            await watch.until(lambda: len(watch.states) == 2)
            self.assertEqual(watch.states[1], (anser.State.OFFLINE, "SHUTTING_DOWN"))
            waiting = asyncio.create_task(alice.send("bob", "when you are back"))
            await self.restart()
            self.assertEqual((await waiting).seq, 1)
            self.assertEqual(watch.states[2], (anser.State.ONLINE, None))

    async def test_both_ends_restart(self) -> None:
        path = self.directory / "cursor"
        async with self.client("alice") as alice:
            for i in range(6):
                await alice.send("bob", f"{i}")
            async with self.client("bob", cursor=path) as bob:
                await self.receive(bob, 3)
            await self.server.kill()
            await self.restart()
            await alice.send("bob", "6")
            async with self.client("bob", cursor=path) as bob:
                got = await self.receive(bob, 4)
                self.assertEqual([m.text for m in got], ["3", "4", "5", "6"])

    async def test_confirmed_while_offline(self) -> None:
        path = self.directory / "cursor"
        async with self.client("alice") as alice, self.client("bob", cursor=path) as bob:
            sent = await alice.send("bob", "1")
            message = await bob.receive(PATIENCE)
            await self.server.kill()
            self.proxy.cut()
            bob.confirm(message)
            await self.restart()
            await alice.delivered(sent, PATIENCE)

    async def test_another_node_has_another_inbox(self) -> None:
        path = self.directory / "cursor"
        async with self.client("alice") as alice, self.client("bob", cursor=path) as bob:
            for i in range(5):
                await alice.send("bob", f"old {i}")
            await self.receive(bob, 5)
            await bob.flush()
            await self.server.kill()
            self.proxy.cut()
            self.server = Server(self.directory / "fresh")
            self.addAsyncCleanup(self.server.kill)
            await self.server.start()
            for user in ("alice", "bob"):
                await self.server.cli("user", "add", user)
            async with self.client("alice", "new", addresses=self.server.address) as new:
                for i in range(7):
                    await new.send("bob", f"new {i}")
            self.proxy.target = self.server.address
            got = await self.receive(bob, 7)
            self.assertEqual([m.text for m in got], [f"new {i}" for i in range(7)])
            await bob.flush()
        kept = anser.FileCursor(path).load()
        assert kept
        self.assertEqual(kept.next, 8)

    async def test_a_restored_backup(self) -> None:
        path = self.directory / "cursor"
        async with self.client("alice") as alice, self.client("bob", cursor=path) as bob:
            await alice.send("bob", "1")
            await self.receive(bob, 1)
            await bob.flush()
            copy = self.directory / "copy"
            await self.server.cli("backup", str(copy))
            for i in (2, 3, 4):
                await alice.send("bob", f"{i}")
            await self.receive(bob, 3)
            await bob.flush()
            await self.server.kill()
            self.server = Server(copy)
            self.addAsyncCleanup(self.server.kill)
            await self.restart()
            await alice.send("bob", "2 again")
            got = await bob.receive(PATIENCE)
            self.assertIn(got.text, ("1", "2 again"))  # messages may repeat
            if got.text == "1":
                got = await bob.receive(PATIENCE)
            self.assertEqual(got.text, "2 again")


if __name__ == "__main__":
    unittest.main()
