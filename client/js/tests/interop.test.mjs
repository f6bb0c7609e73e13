// The C library, through the command line, and this client talk to each other.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { person, Server, until } from "./node.mjs";

const TEXTS = ["hello", "你好，鸿雁", "two\tcolumns", "🪿".repeat(2000)];
const server = new Server();
const open = [];
before(async () => {
    await server.start();
    server.addUsers("alice", "bob");
});
after(async () => {
    for (const client of open) await client.close();
    await server.remove();
});

test("from the command line", async () => {
    const bob = person(server, "bob");
    open.push(bob);
    const sent = TEXTS.map((text) => server.run("send", "--user", "alice", "--to", "bob", text));
    await until("all are there", () => bob.messages.length === TEXTS.length);
    assert.deepEqual(bob.texts(), TEXTS);
    assert.deepEqual(bob.messages.map((m) => `${m.messageId} ${m.seq}\n`), sent);
    await bob.flush();
    const alice = person(server, "alice", { device: "other" });
    open.push(alice);
    assert.equal((await alice.history("bob", { limit: 1 })).peerDelivered, TEXTS.length);
    assert.deepEqual((await alice.history("bob")).messages.map((m) => m.text), [...TEXTS].reverse());
});

test("to the command line", async () => {
    const alice = person(server, "alice");
    open.push(alice);
    const blob = Uint8Array.from({ length: 256 }, (_, n) => n);
    const outgoing = [...TEXTS, blob].map((body) => alice.send("bob", body));
    await outgoing.at(-1).sent;
    const printed = server.run("recv", "--user", "bob", "--count", "9", "--json");
    const got = printed.trim().split("\n").map((line) => JSON.parse(line)).slice(-5);
    assert.deepEqual(got.map((m) => m.text), [...TEXTS, undefined]);
    assert.deepEqual(new Uint8Array(Buffer.from(got[4].body_base64, "base64")), blob);
    assert.deepEqual(got.map((m) => [m.seq, m.message_id, m.client_msg_id, m.from_device]),
        outgoing.map((o) => [`${o.seq}`, o.messageId, o.clientMsgId.replaceAll("-", ""), "js"]));
    await until("the command line has confirmed", () => outgoing[4].state === "delivered");
});

test("the same message from both", async () => {
    const alice = person(server, "alice", { device: "third" });
    open.push(alice);
    const first = await alice.send("bob", "你好").sent;
    const id = first.clientMsgId.replaceAll("-", "");
    const words = ["send", "--user", "alice", "--to", "bob"];
    assert.equal(server.run(...words, "--id", id, "你好"), `${first.messageId} ${first.seq}\n`);
    const shell = JSON.parse(server.run(...words, "--json", "from the shell"));
    const same = await alice.send("bob", "from the shell",
        { clientMsgId: shell.client_msg_id }).sent;
    assert.equal(same.seq, Number(shell.seq));
});
