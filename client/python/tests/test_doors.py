"""TLS and WebSocket: the same client at every door, and servers that it must not believe."""

from __future__ import annotations

import ssl
import subprocess
import unittest
from pathlib import Path

from support import PATIENCE, Case, Recorder, Server, anser

DOORS = "tcp", "tls", "ws", "wss"


def certificate(folder: Path, name: str, who: str) -> Path:
    """One that signs itself, beside its key."""
    pem = folder / f"{name}.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={who}", "-out", pem, "-keyout", folder / f"{name}.key"),
        ],
        check=True,
        capture_output=True,
    )
    return pem


class Doors(Case):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        await self.server.stop()
        self.pem = certificate(self.directory, "server", "DNS:localhost,IP:127.0.0.1")
        await self.serve("server")

    async def serve(self, name: str) -> None:
        config = self.directory / f"{name}.yaml"
        config.write_text(
            f"gate: {{tls_cert: {self.directory}/{name}.pem, tls_key: {self.directory}/{name}.key}}"
        )
        listen = ",".join(f"{door}://127.0.0.1:0" for door in DOORS)
        self.server = Server(self.server.directory, "--config", str(config), listen=listen)
        await self.server.start()

    def trusting(self, pem: Path | None = None) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=pem or self.pem)

    def at(self, door: str, user: str, **how: object) -> anser.Client:
        if door in ("tls", "wss"):
            how.setdefault("ssl", self.trusting())
        return self.client(user, door, addresses=self.server.doors[door], **how)

    async def test_every_door_leads_to_the_same_people(self) -> None:
        blob = bytes(range(256)) * 256
        for here in DOORS:
            for there in DOORS:
                async with self.at(here, "alice") as alice, self.at(there, "bob") as bob:
                    for body in (f"{here} {there}", blob):
                        sent = await alice.send("bob", body)
                        while (got := (await self.receive(bob, 1))[0]).seq < sent.seq:
                            pass  # what another door's device has had already
                        self.assertEqual(got.body, body if body is blob else body.encode())
                    await alice.delivered(sent, PATIENCE)
                    self.assertEqual(len((await alice.history("bob", limit=2)).messages), 2)

    async def test_a_server_that_ends_and_comes_back(self) -> None:
        for door in ("tls", "wss"):
            watch = Recorder()
            async with self.at(door, "alice", on_state=watch.on_state) as alice:
                first = alice.login
                await self.server.kill()
                await watch.until(lambda w=watch: len(w.states) == 2)
                await self.serve("server")
                alice._addresses = [self.server.doors[door]]  # it has other ports now
                await alice.send("bob", "again")
                self.assertEqual(alice.login.user, first.user)

    async def test_whom_it_must_not_believe(self) -> None:
        other = certificate(self.directory, "other", "DNS:localhost,IP:127.0.0.1")
        for door in ("tls", "wss"):
            for context in (self.trusting(other), None):  # None: whom the system believes
                client = self.at(door, "alice", ssl=context)
                with self.assertRaises(TimeoutError):
                    await client.start(timeout=1)
                await client.close()
        certificate(self.directory, "elsewhere", "DNS:elsewhere.example")
        await self.server.stop()
        await self.serve("elsewhere")
        believed = self.trusting(self.directory / "elsewhere.pem")
        for door in ("tls", "wss"):
            client = self.at(door, "alice", ssl=believed)
            with self.assertRaises(TimeoutError):
                await client.start(timeout=1)
            await client.close()
        # Without a scheme the context alone asks for TLS.
        believed.check_hostname = False
        address = self.server.doors["tls"].removeprefix("tls://")
        async with self.client("alice", addresses=address, ssl=believed) as alice:
            self.assertEqual(alice.login.user, "alice")

    async def test_addresses_that_will_not_do(self) -> None:
        for address, how in (
            ("http://127.0.0.1:1", {}),
            ("ws://127.0.0.1:1", {"ssl": self.trusting()}),
        ):
            client = self.client("alice", addresses=address, **how)
            with self.assertRaises((ValueError, anser.Ended)):
                await client.start(timeout=PATIENCE)
        # A door of the other kind: tried until the time is over.
        for door in ("tcp", "tls"):
            address = self.server.doors[door].replace(door, "ws")
            client = self.client("alice", addresses=address)
            with self.assertRaises(TimeoutError):
                await client.start(timeout=1)
            await client.close()

    async def test_a_quiet_end_at_every_door(self) -> None:
        for door in DOORS:
            watch = Recorder()
            async with self.at(door, "alice", on_state=watch.on_state):
                async with self.at(door, "alice"):
                    await watch.until(lambda w=watch: w.states[-1][0] is anser.State.ENDED)
                self.assertEqual(watch.states[-1][1], "REPLACED")


if __name__ == "__main__":
    unittest.main()
