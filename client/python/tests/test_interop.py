"""The C library's command line and this client talk to each other."""

from __future__ import annotations

import base64
import json
import unittest

from support import PATIENCE, Case, anser

TEXTS = ["hello", "你好，鸿雁", "two\tcolumns", "🪿" * 2000]


class Interop(Case):
    async def send(self, *arguments: str, stdin: bytes = b"") -> tuple[int, int]:
        """`anser send` as alice: the message's id and number."""
        arguments = ("send", "--user", "alice", "--to", "bob", *arguments)
        line = await self.server.cli(*arguments, stdin=stdin)
        message_id, seq = line.split()
        return int(message_id), int(seq)

    async def recv(self, count: int, *arguments: str) -> list[dict[str, str]]:
        """`anser recv` as bob."""
        arguments = ("recv", "--user", "bob", "--count", str(count), "--json", *arguments)
        return [json.loads(line) for line in (await self.server.cli(*arguments)).splitlines()]

    async def test_from_the_command_line(self) -> None:
        blob = self.directory / "blob"
        blob.write_bytes(bytes(range(256)) * 16)
        async with self.client("bob") as bob:
            ids = [await self.send(text) for text in TEXTS]
            ids.append(await self.send("--file", str(blob)))
            ids.append(await self.send("--type", "2", "--file", str(blob)))
            got = await self.receive(bob, len(ids))
            self.assertEqual([(m.message_id, m.seq) for m in got], ids)
            self.assertEqual([m.text for m in got[:-2]], TEXTS)
            self.assertEqual([m.body for m in got[-2:]], [blob.read_bytes()] * 2)
            self.assertEqual([m.type for m in got[-2:]], [anser.Type.FILE, anser.Type.PICTURE])
            await self.server.cli(
                "send", "--user", "alice", "--to", "bob", "-", stdin="一\n二\n三\n".encode()
            )
            self.assertEqual([m.text for m in await self.receive(bob, 3)], ["一", "二", "三"])
            # The mark of delivery, as the command line's user sees it.
            await bob.flush()
            async with self.client("alice", "other") as alice:
                self.assertEqual((await alice.history("bob", limit=1)).peer_delivered, 9)

    async def test_to_the_command_line(self) -> None:
        bodies: list[str | bytes] = [*TEXTS, bytes(range(256))]
        async with self.client("alice") as alice:
            sent = [await alice.send("bob", body) for body in bodies]
            got = await self.recv(len(bodies))
            self.assertEqual([int(m["seq"]) for m in got], [s.seq for s in sent])
            self.assertEqual([int(m["message_id"]) for m in got], [s.message_id for s in sent])
            self.assertEqual([m["client_msg_id"] for m in got], [s.client_msg_id.hex() for s in sent])
            self.assertEqual([m.get("text") for m in got[:-1]], TEXTS)
            self.assertEqual(base64.b64decode(got[-1]["body_base64"]), bodies[-1])
            self.assertEqual({m["from_device"] for m in got}, {"py"})
            await alice.delivered(sent[-1], PATIENCE)  # recv has confirmed it
            # Over a kill: the device goes on where it stood.
            await self.server.kill()
            await self.restart()
            await alice.send("bob", "again")
            self.assertEqual([m["text"] for m in await self.recv(1)], ["again"])

    async def test_the_same_message_from_both(self) -> None:
        async with self.client("alice") as alice, self.client("bob") as bob:
            first = await alice.send("bob", "你好")
            again = await self.send("--id", first.client_msg_id.hex(), "你好")
            self.assertEqual(again, (first.message_id, first.seq))
            line = await self.server.cli(
                *("send", "--user", "alice", "--to", "bob", "--json", "from the shell")
            )
            shell = json.loads(line)
            same = await alice.send(
                "bob", "from the shell", id=bytes.fromhex(shell["client_msg_id"])
            )
            self.assertEqual(same.seq, int(shell["seq"]))
            with self.assertRaises(anser.Refused) as caught:
                await alice.send("bob", "other", id=first.client_msg_id)
            self.assertIs(caught.exception.code, anser.Code.ID_CONFLICT)
            await self.receive(bob, 2)
            await self.nothing_more(bob, "alice")

    async def test_both_see_one_history(self) -> None:
        async with self.client("alice") as alice, self.client("bob") as bob:
            for i in range(10):
                await alice.send("bob", f"甲 {i}")
                await bob.send("alice", f"乙 {i}")
                await self.send(f"shell {i}")
            lines = await self.server.cli(
                *("history", "--user", "bob", "--with", "alice", "--limit", "30", "--json")
            )
            shell = [json.loads(line) for line in lines.splitlines()]
            ours = [m async for m in bob.conversation("alice")]
            self.assertEqual(
                [(int(m["seq"]), m["from"], m["text"]) for m in shell],
                [(m.seq, m.sender, m.text) for m in ours],
            )

    async def test_over_noise(self) -> None:
        """Each program's own Noise against the server's; frames of one record and of several."""
        await self.server.stop()
        self.server.more = "--listen", "tcp://127.0.0.1:0,noise://127.0.0.1:0"
        await self.restart()
        url = self.server.doors["noise"]
        key = (await self.server.cli("noise", "key")).strip()
        bodies = [bytes([i]) * size for i, size in enumerate((1, 1000, 16384, 40000, 65536))]
        async with (
            self.client("alice", addresses=url, server_key=key) as alice,
            self.client("bob", addresses=url, server_key=key) as bob,
        ):
            for body in bodies:
                await alice.send("bob", body)
            self.assertEqual([m.body for m in await self.receive(bob, len(bodies))], bodies)
            await self.server.cli(
                *("send", "--server", url, "--server-key", key, "--to", "bob"),
                *("--token", self.server.token("alice"), "from the shell"),
            )
            self.assertEqual([m.text for m in await self.receive(bob, 1)], ["from the shell"])
            pages = [m async for m in alice.conversation("bob")]  # longer than a record
            self.assertEqual([m.body for m in pages[:-1]], bodies)
            # Behind a kill, on the same port: new keys, the same pin.
            self.server.more = "--listen", f"tcp://127.0.0.1:0,{url}"
            await self.server.kill()
            await self.restart()
            await alice.send("bob", "again")
            self.assertEqual([m.text for m in await self.receive(bob, 1)], ["again"])
        stranger = self.client("alice", addresses=url, server_key="9" + key[1:])
        with self.assertRaises(TimeoutError):
            await stranger.start(timeout=1)
        await stranger.close()

    async def test_one_device_taken_over_by_the_other_program(self) -> None:
        async with self.client("alice") as alice:
            for i in range(4):
                await alice.send("bob", f"{i}")
        self.assertEqual([m["text"] for m in await self.recv(2, "--device", "py")], ["0", "1"])
        async with self.client("bob") as bob:
            self.assertEqual([m.text for m in await self.receive(bob, 1)], ["2"])
        self.assertEqual([m["text"] for m in await self.recv(1, "--device", "py")], ["3"])


if __name__ == "__main__":
    unittest.main()
