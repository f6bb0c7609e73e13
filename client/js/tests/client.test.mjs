// A client against a server that stays.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";

import { AnserError, fileCursor, Type } from "../dist/node.js";
import { person, Server, until } from "./node.mjs";

const server = new Server();
const open = new Set();
let count = 0;

before(async () => {
    await server.start();
});
after(async () => {
    for (const client of open) await client.close();
    await server.remove();
});

/** Users of this test alone. */
function users(...names) {
    count++;
    const ours = names.map((name) => `${name}${count}`);
    server.addUsers(...ours);
    return ours;
}

function meet(name, options) {
    const client = person(server, name, options);
    open.add(client);
    return client;
}

/** A token made by this test: `exp` seconds from now. */
function token(user, exp) {
    const key = JSON.parse(readFileSync(join(server.data, "node.json"), "utf8")).key;
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const signed = `${part({ alg: "HS256", kid: key.id })}.${
        part({ sub: user, aud: "anser", exp: now + exp })}`;
    const secret = Buffer.from(key.secret, "base64url");
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

test("two people talk, with marks, in order, and the history has it", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice), b = meet(bob);
    const outgoing = [];
    for (let n = 0; n < 300; n++) outgoing.push(a.send(bob, `m${n}`));
    await outgoing.at(-1).sent;
    await until("all are there", () => b.messages.length === 300);
    assert.deepEqual(b.texts(), outgoing.map((_, n) => `m${n}`));
    assert.deepEqual(outgoing.map((o) => o.seq), outgoing.map((_, n) => n + 1));
    await until("all are delivered", () => outgoing.every((o) => o.state === "delivered"));
    assert.equal(a.marks.at(-1), `${bob} 300`);
    const [first] = b.messages;
    assert.deepEqual(
        [first.from, first.to, first.peer, first.own, first.fromDevice, first.inboxSeq],
        [alice, bob, alice, false, "js", 1]);
    assert.deepEqual([first.clientMsgId, first.messageId, first.timeMs],
        [outgoing[0].clientMsgId, outgoing[0].messageId, outgoing[0].timeMs]);
    assert.ok(Math.abs(first.timeMs - Date.now()) < 60_000);
    assert.ok(a.told.indexOf("sending m7") < a.told.indexOf("sent m7"));

    const newest = await b.history(alice, { limit: 20 });
    assert.deepEqual(newest.messages.map((m) => m.seq), Array.from({ length: 20 }, (_, n) => 300 - n));
    assert.deepEqual([newest.head, newest.completed, newest.messages[0].inboxSeq], [300, false, 0]);
    const older = await b.history(alice, { before: 3 });
    assert.deepEqual([older.messages.map((m) => m.text), older.completed], [["m1", "m0"], true]);
    const forward = await a.history(bob, { after: 299, oldestFirst: true });
    assert.deepEqual(forward.messages.map((m) => [m.seq, m.own, m.ownDevice]), [[300, true, true]]);
    assert.equal(forward.peerDelivered, 300);
    assert.equal(a.messages.length, 0, "what was sent here does not come back");
});

test("another device of the same user sees both sides, a later one goes on where it stood", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice), tablet = meet(alice, { device: "tablet" }), b = meet(bob);
    await a.send(bob, "to bob").sent;
    await until("the tablet has it", () => tablet.messages.length === 1);
    assert.deepEqual([tablet.messages[0].own, tablet.messages[0].ownDevice], [true, false]);
    await b.send(alice, "to alice").sent;
    await until("both have it", () => a.messages.length === 1 && tablet.messages.length === 2);
    await tablet.flush();
    await tablet.close();
    await b.send(alice, "meanwhile").sent;
    const again = meet(alice, { device: "tablet" });
    await until("the rest", () => again.messages.length === 1);
    assert.deepEqual(again.texts(), ["meanwhile"]);
});

test("bytes, types, long texts, a note to oneself", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice), b = meet(bob);
    const blob = Uint8Array.from({ length: 65_536 }, (_, n) => n);
    a.send(bob, blob);
    a.send(bob, blob.subarray(0, 3), { type: Type.PICTURE, tag: "mine" });
    a.send(bob, "🪿".repeat(16_384));
    await until("three", () => b.messages.length === 3);
    assert.deepEqual(b.messages.map((m) => [m.type, m.body.length, m.text.length]),
        [[3, 65_536, 0], [2, 3, 0], [1, 65_536, 32_768]]);
    assert.deepEqual(b.messages[0].body, blob);
    await a.send(alice, "remember the milk").sent;
    await until("the note", () => a.messages.length === 1);
    assert.deepEqual([a.messages[0].peer, a.messages[0].ownDevice], [alice, true]);
    await a.flush();
});

test("refusals are values, and concern their own message", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice), b = meet(bob);
    const lost = a.send("nobody-here", "x"), fine = a.send(bob, "fine");
    await assert.rejects(lost.sent, { name: "USER_NOT_FOUND", code: 300, handling: "give up" });
    assert.equal(lost.state, "failed");
    await fine.sent;
    const again = await a.send(bob, "fine", { clientMsgId: fine.clientMsgId }).sent;
    assert.equal(again.seq, fine.seq, "stored once");
    await assert.rejects(a.send(bob, "other", { clientMsgId: fine.clientMsgId }).sent,
        { name: "ID_CONFLICT", handling: "fix" });
    await assert.rejects(a.history("nobody-here"), { name: "USER_NOT_FOUND" });
    await until("one", () => b.messages.length === 1);
});

test("stored, then delivered, when the other side comes", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice);
    const outgoing = a.send(bob, "wait");
    await until("stored", () => outgoing.state === "stored");
    const b = meet(bob);
    await until("delivered", () => outgoing.state === "delivered");
    assert.deepEqual(a.told, ["sending wait", "sent wait", "stored wait", "delivered wait"]);
    assert.deepEqual(b.texts(), ["wait"]);
});

test("the same device elsewhere replaces this one, for good", async () => {
    const [alice] = users("alice");
    const first = meet(alice);
    await until("online", () => first.state === "online");
    const waiting = first.send("nobody", "x").sent.catch((error) => error);
    const second = meet(alice);
    await until("closed", () => first.state === "closed");
    assert.equal(first.error.name, "REPLACED");
    assert.deepEqual(first.states, ["connecting", "online", "closed REPLACED"]);
    assert.ok((await waiting) instanceof AnserError);
    await assert.rejects(first.flush(), { name: "REPLACED" });
    await assert.rejects(first.history(alice), { name: "REPLACED" });
    assert.throws(() => first.send(alice, "x"), { name: "REPLACED" });
    await until("the other is online", () => second.state === "online");
});

test("tokens: an expired one is asked anew, a bad one ends the client", async () => {
    const [alice] = users("alice");
    const asked = [];
    const fresh = meet(alice, {
        token: async (refused) => {
            asked.push(refused?.name);
            return token(alice, refused ? 60 : -60);
        },
    });
    await until("online", () => fresh.state === "online");
    assert.deepEqual(asked, [undefined, "TOKEN_EXPIRED"]);

    const stale = meet(alice, { device: "b", token: token(alice, -60) });
    await until("closed", () => stale.state === "closed");
    assert.equal(stale.error.name, "TOKEN_EXPIRED");

    asked.length = 0;
    const stubborn = meet(alice, {
        device: "c", backoffMinMs: 1,
        token: (refused) => (asked.push(refused?.name), token(alice, -60)),
    });
    await until("closed", () => stubborn.state === "closed");
    assert.equal(asked.length, 4);

    const wrong = meet(alice, { device: "d", token: "not.a.token" });
    await until("closed", () => wrong.state === "closed");
    assert.equal(wrong.error.name, "TOKEN_INVALID");

    const over = meet(alice, { device: "e", token: () => { throw AnserError.of("FORBIDDEN"); } });
    await until("closed", () => over.state === "closed");
    assert.equal(over.error.name, "FORBIDDEN");

    let tries = 0;
    const slow = meet(alice, {
        device: "f", backoffMinMs: 1,
        token: async () => {
            if (++tries < 3) throw new Error("the login service is away");
            return token(alice, 60);
        },
    });
    await until("online", () => slow.state === "online");
    assert.equal(slow.states.filter((state) => state === "offline UNAVAILABLE").length, 2);
});

test("a message is confirmed when it is safe: pause, failure, resume", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice);
    const seen = [];
    const answers = [() => undefined, () => "pause", () => undefined,
        () => Promise.reject(new Error("the disk is full")), async () => undefined];
    const b = meet(bob, { onMessage: (m) => (seen.push(m.text), answers.shift()()) });
    for (const word of ["one", "two", "three"]) a.send(bob, word);
    await until("two is refused", () => seen.length === 2);
    await b.flush();
    assert.deepEqual([b.cursor, (await a.history(bob)).peerDelivered], [1, 1]);
    b.resume();
    await until("three is refused", () => seen.length === 4);
    await until("the failure is told", () => b.warnings.length === 1);
    assert.match(b.warnings[0].message, /onMessage has failed: the disk is full/);
    b.resume();
    await until("all are taken", () => b.cursor === 3);
    assert.deepEqual(seen, ["one", "two", "two", "three", "three"]);
    await b.flush();
});

test("a slow program gets everything, once and in order, while it sends", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice);
    const seen = [];
    let busy = 0;
    const b = meet(bob, {
        onMessage: async (message) => {
            assert.equal(busy++, 0, "one at a time");
            seen.push(message.text);
            if (seen.length % 10 === 0) b.send(alice, `took ${seen.length}`);
            await new Promise((resolve) => setTimeout(resolve, 1));
            busy--;
        },
    });
    const texts = Array.from({ length: 900 }, (_, n) => `m${n} ${"x".repeat(5000)}`);
    for (const text of texts) a.send(bob, text);
    await until("all are taken", () => seen.length >= 900 && a.messages.length >= 90);
    await b.flush();
    assert.deepEqual(seen, texts);
    assert.deepEqual(a.texts(), Array.from({ length: 90 }, (_, n) => `took ${10 * n + 10}`));
    assert.deepEqual([b.warnings, b.cursor], [[], 990]);
});

test("functions that fail harm nobody", async () => {
    const [alice, bob] = users("alice", "bob");
    const fail = () => { throw new Error("not my day"); };
    const a = meet(alice, { onSend: fail, onState: fail, onDelivered: async () => fail() });
    const b = meet(bob);
    await a.send(bob, "one").sent;
    await until("it came", () => b.messages.length === 1);
    await until("told", () => a.warnings.some((w) => w.message.startsWith("onDelivered")));
    assert.equal(a.state, "online");
});

test("a cursor in a file: a restart repeats nothing, a damaged one is no end", async () => {
    const [alice, bob] = users("alice", "bob");
    const folder = mkdtempSync(join(tmpdir(), "anser-js-"));
    const path = join(folder, "cursor");
    const a = meet(alice), b = meet(bob, { cursor: fileCursor(path) });
    a.send(bob, "one");
    await until("one", () => b.messages.length === 1);
    await b.flush();
    await b.close();
    const kept = JSON.parse(readFileSync(path, "utf8"));
    assert.deepEqual([kept.next, kept.marks], [2, {}]);
    assert.match(kept.generation, /^[1-9]\d*$/);
    await a.send(bob, "two").sent;
    const again = meet(bob, { cursor: fileCursor(path) });
    await until("two", () => again.messages.length === 1);
    assert.deepEqual(again.texts(), ["two"]);
    await again.flush();
    await again.close();
    for (const damage of ["not JSON", '{"generation":"x","next":1,"marks":{}}', "{}"]) {
        writeFileSync(path, damage);
        const third = meet(bob, { cursor: fileCursor(path) });
        await until("online", () => third.state === "online");
        assert.equal(third.warnings[0].name, "CORRUPT");
        await third.close();
    }
    rmSync(folder, { recursive: true });
});

test("send only: nothing is received, and nobody is disturbed", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice), b = meet(bob), tool = meet(alice, { sendOnly: true });
    await tool.send(bob, "from a tool").sent;
    await b.send(alice, "back").sent;
    await until("both", () => b.messages.length === 1 && a.messages.length === 2);
    assert.deepEqual([tool.messages.length, a.state], [0, "online"]);
    assert.deepEqual(a.messages.map((m) => [m.text, m.ownDevice]),
        [["from a tool", true], ["back", false]], "found behind a hole");
    await tool.flush();
});

test("what is asked within a function of the program's works", async () => {
    const [alice, bob] = users("alice", "bob");
    const a = meet(alice);
    const b = meet(bob, {
        onMessage: async (message) => {
            const page = await b.history(message.peer);
            await b.send(message.peer, `${page.head} ${message.text}`).sent;
        },
    });
    a.send(bob, "ping");
    a.send(bob, "pong");
    await until("both came back", () => a.messages.length === 2);
    assert.match(a.texts().join(), /^\d ping,\d pong$/);
    const closing = meet(bob, { device: "x", onState: (state) => state === "online" && closing.close() });
    await until("closed", () => closing.state === "closed");
});

test("a WebSocket that is none of the protocol's", async () => {
    const [alice] = users("alice");
    const plain = meet(alice, { addresses: server.plain.replace("tcp", "ws") });
    await until("offline", () => plain.states.includes("offline CONNECTION"));
    assert.ok(plain.nextAttemptAt > Date.now() - 1000);
    await plain.close();
    assert.equal(plain.nextAttemptAt, 0);
});
