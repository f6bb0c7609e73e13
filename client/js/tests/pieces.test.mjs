// The pieces that need no server: the vectors of tests/vectors, and the tables against their
// documents.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { AnserError, Client, Code, storageCursor } from "../dist/node.js";
import { packFrame, REQUESTS, unpackFrames } from "../dist/frame.js";
import { Inbox } from "../dist/inbox.js";
import { LIMITS } from "../dist/limits.js";
import { Item, Outbox } from "../dist/outbox.js";
import { idOf, idText, nameValid, textOf, utf8, uuid7 } from "../dist/text.js";
import * as wire from "../dist/wire.js";

const top = new URL("../../../", import.meta.url);
const text = (path) => readFileSync(new URL(path, top), "utf8");
const vectors = (name) => JSON.parse(text(`tests/vectors/${name}.json`));
const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const hex = (data) => Buffer.from(data).toString("hex");
const refused = (name, retryAfterMs = 0) =>
    AnserError.told(Code[name], name, "", true, retryAfterMs);

test("the tables of messages are those of proto/client.proto", () => {
    const kinds = { bytes: 2, bool: 0, uint32: 0, uint64: 0, fixed64: 1 };
    for (const [, name, body] of text("proto/client.proto").matchAll(
        /^message (\w+) \{(.*?)\}/gms)) {
        const schema = name === "Error" || name === "Goodbye" ? wire.Refusal : wire[name];
        const fields = [...body.matchAll(/^ +(repeated )?(\w+) (\w+) = (\d+);/gm)];
        for (const [, , kind, field, no] of fields) {
            const ours = schema.fields[camel(field)];
            assert.ok(ours, `${name}.${field} is missing`);
            const wireType = kind === "ReceiptKind" ? 0 : kinds[kind] ?? 2;
            assert.deepEqual([ours[0], ours[1].wire], [Number(no), wireType], `${name}.${field}`);
        }
        const more = name === "Goodbye" ? 1 : 0; // Error's client_msg_id
        assert.equal(Object.keys(schema.fields).length, fields.length + more, name);
    }
});

function schemaOf({ command, flags }) {
    if (flags === 3 || command === 66) return wire.Refusal;
    if (command === 64) return wire.Event;
    if (command === 65) return wire.Receipt;
    return REQUESTS[command][flags];
}

function plain(value, schema) {
    const kindOf = (name) => schema.fields[camel(name)][1];
    return Object.fromEntries(Object.entries(value).map(([name, given]) => {
        const zero = kindOf(name).zero();
        const inner = { message: wire.Message, messages: wire.Message, events: wire.Event,
            delivered: wire.Position }[name];
        if (Array.isArray(given)) given = given.map((one) => plain(one, inner));
        else if (inner) given = plain(given, inner);
        else if (zero instanceof Uint8Array) {
            given = given.startsWith("hex:") ? Uint8Array.from(Buffer.from(given.slice(4), "hex"))
                : utf8(given);
        } else if (typeof zero === "number" && typeof given === "string") given = Number(given);
        return [camel(name), given];
    }));
}

for (const vector of vectors("frames")) {
    test(`frame ${vector.name} is read and written`, () => {
        const data = Uint8Array.from(Buffer.from(vector.hex, "hex"));
        const [frame, ...more] = unpackFrames(data.buffer);
        assert.equal(more.length, 0);
        assert.deepEqual([frame.command, frame.request, frame.answer, frame.error],
            [vector.command, vector.request, (vector.flags & 1) > 0, (vector.flags & 2) > 0]);
        const schema = schemaOf(vector);
        const body = schema.read(frame.body);
        const expected = plain(vector.body, schema);
        for (const [name, value] of Object.entries(expected)) {
            if (name === "kind") assert.ok(body.kind === 1 || body.kind === 2);
            else if (!Array.isArray(value) && name !== "message") {
                assert.deepEqual(body[name], value, name);
            }
        }
        assert.equal(hex(schema.write(body)), hex(frame.body));
        if (vector.flags === 0 && vector.command < 64) {
            assert.equal(hex(packFrame(vector.command, vector.request, frame.body)), vector.hex);
        }
    });
}

test("frames that are none are refused, several in a message are read", () => {
    const good = packFrame(3, 1, new Uint8Array(0));
    const two = new Uint8Array([...good, ...good]);
    assert.equal([...unpackFrames(two.buffer)].length, 2);
    for (const [at, byte] of [[0, 1], [2, 2], [3, 2], [6, 1], [7, 2], [12, 1], [15, 1]]) {
        const bad = good.slice();
        bad[at] = byte;
        assert.throws(() => [...unpackFrames(bad.buffer)], RangeError, `byte ${at}`);
    }
    assert.throws(() => [...unpackFrames(good.slice(0, 15).buffer)], RangeError);
});

test("unknown fields are passed over, numbers beyond 2^53 and cut bodies are refused", () => {
    const later = Uint8Array.from([0x08, 5, 0xc0, 0x0c, 7, 0xca, 0x0c, 1, 0x78, 0x12, 1, 9]);
    assert.deepEqual(wire.ConfirmOk.read(later), { inboxSeq: 5 });
    assert.throws(() => wire.ConfirmOk.read(Uint8Array.from([8, ...Array(8).fill(255), 127])));
    assert.throws(() => wire.Event.read(Uint8Array.from([0x12, 5, 1])));
});

for (const { name, what, position, steps } of vectors("inbox")) {
    test(`inbox ${name}: ${what}`, () => {
        let taken;
        const inbox = new Inbox({
            hand: (message) => void taken.push(message.inboxSeq), moved() {}, gap() {}, after() {},
            failed: (fault) => assert.fail(fault),
        });
        if (position) {
            const { generation, next } = position;
            inbox.load({ generation: String(generation), next: Number(next), marks: {} });
        }
        for (const step of steps) {
            taken = [];
            let reconnect = false;
            try {
                if (step.login) {
                    const { inbox_generation, inbox_first, inbox_head, cursor } = step.login;
                    inbox.loggedIn(String(inbox_generation), Number(inbox_first),
                        Number(inbox_head), Number(cursor));
                } else if (step.own) {
                    inbox.offer(Number(step.own), "silent");
                } else {
                    inbox.check(String(step.generation));
                    const seq = Number(step.arrive);
                    inbox.offer(seq, { inboxSeq: seq, seq, from: "bob", peer: "bob",
                        body: new Uint8Array(1), own: false });
                }
            } catch (fault) {
                assert.equal(fault.name, "RESET");
                reconnect = true;
            }
            const where = JSON.stringify(step);
            assert.equal(reconnect, step.reconnect ?? false, where);
            if (step.take) assert.deepEqual(taken, step.take.map(Number), where);
            if (step.next) assert.equal(inbox.next, Number(step.next), where);
            if (step.sync !== undefined) assert.equal(inbox.missing !== undefined, step.sync, where);
        }
    });
}

test("what is handed over asynchronously comes one at a time, and pauses", async () => {
    const taken = [];
    let answer, moved = 0;
    const inbox = new Inbox({
        hand: (m) => (taken.push(m.inboxSeq), new Promise((resolve) => (answer = resolve))),
        moved: () => moved++, gap() {}, after: () => inbox.drain(), failed() {},
    });
    inbox.loggedIn("7", 1, 0, 0);
    for (let seq = 1; seq <= 600; seq++) {
        inbox.offer(seq, { inboxSeq: seq, seq, from: "b", peer: "b", body: new Uint8Array(9) });
    }
    assert.deepEqual([taken, inbox.next, inbox.head], [[1], 1, 600]);
    assert.equal(inbox.missing, undefined, "no room for a page: none is asked for");
    answer();
    await new Promise(setImmediate);
    assert.deepEqual([taken, inbox.next], [[1, 2], 2]);
    answer("pause");
    await new Promise(setImmediate);
    assert.deepEqual([taken, inbox.next, inbox.paused], [[1, 2], 2, true]);
    inbox.paused = false;
    inbox.drain();
    for (let n = 2; n <= LIMITS.held; n++) {
        answer();
        await new Promise(setImmediate);
    }
    assert.equal(inbox.missing, LIMITS.held + 1, "what found no room is asked for");
    inbox.loggedIn("8", 1, 3, 0); // another inbox: what was with the program is forgotten
    assert.deepEqual([inbox.next, inbox.marks.size, moved], [1, 0, LIMITS.held]);
});

test("a hole is asked for however much waits behind it", () => {
    const inbox = new Inbox({ hand() {}, moved() {}, gap() {}, after() {}, failed() {} });
    const entry = (seq) => ({ inboxSeq: seq, seq, from: "b", peer: "b", body: new Uint8Array(9) });
    inbox.loggedIn("7", 1, 0, 0);
    for (let seq = 2; seq <= 600; seq++) inbox.offer(seq, entry(seq));
    assert.equal(inbox.missing, 1);
    for (let seq = 1; seq <= 100; seq++) inbox.offer(seq, entry(seq));
    assert.equal(inbox.next, LIMITS.held + 2);
    assert.equal(inbox.missing, LIMITS.held + 2);
});

for (const { name, what, steps } of vectors("order")) {
    test(`order ${name}: ${what}`, () => {
        const outbox = new Outbox();
        const items = new Map();
        let now = 0, sent;
        for (const step of steps) {
            for (const letter of step.write ?? []) {
                const item = new Item("bob", 1, utf8(letter), undefined, uuid7(1), now);
                items.set(letter, item);
                outbox.add(item);
            }
            if (step.ok) outbox.accepted(items.get(step.ok), now);
            if (step.fail) outbox.refused(items.get(step.fail), now);
            if (step.retry) {
                const error = refused("BUSY", Number(step.retry_after_ms ?? 0));
                outbox.refusedForNow(items.get(step.retry), error, now);
            }
            now += Number(step.wait_ms ?? 0);
            if (step.lost) outbox.lost();
            sent = [];
            outbox.pump(now, () => true, (item) => sent.push(textOf(item.body)));
            assert.deepEqual(sent, step.send ?? [], JSON.stringify(step));
        }
    });
}

test("conversations take turns, the window holds, a refused one given up needs a new link", () => {
    const outbox = new Outbox();
    const put = [];
    for (const word of ["a1", "a2", "a3", "b1", "b2"]) {
        outbox.add(new Item(word[0], 1, utf8(word), undefined, uuid7(1), 0));
    }
    outbox.pump(0, () => put.length < 4, (item) => put.push(item));
    assert.deepEqual(put.map((item) => textOf(item.body)), ["a1", "b1", "a2", "b2"]);
    outbox.refusedForNow(put[0], refused("BUSY"), 0);
    outbox.refusedForNow(put[2], refused("ORDER"), 0);
    assert.deepEqual([put[0].attempts, put[2].attempts], [1, 0]);
    assert.equal(outbox.lastRefusal(put[0]).name, "BUSY");
    assert.equal(outbox.giveUp(put[0]), true);
    outbox.lost();
    assert.equal(outbox.giveUp(put[2]), false);
    assert.deepEqual([outbox.items.size, outbox.bytes, outbox.flying], [3, 6, 0]);
});

test("who sent too much waits in all conversations, and goes on with fewer at once", () => {
    const outbox = new Outbox(8);
    const pump = (now) => {
        const put = [];
        outbox.pump(now, () => outbox.flying < 8, (item) => put.push(item));
        return put;
    };
    for (let n = 0; n < 12; n++) {
        outbox.add(new Item(`u${n % 3}`, 1, utf8(`m${n}`), undefined, uuid7(1), 0));
    }
    const first = pump(0);
    assert.equal(first.length, 8);
    for (const item of first.slice(0, 4)) outbox.accepted(item, 0);
    for (const item of first.slice(4)) outbox.refusedForNow(item, refused("RATE", 700), 0);
    assert.deepEqual(first.slice(4).map((item) => item.attempts), [0, 0, 0, 0]);
    assert.deepEqual([pump(699).length, outbox.resumeAt(699)], [0, 700]);
    const second = pump(700);
    assert.equal(second.length, 3, "the first of each conversation");
    for (const item of second) outbox.accepted(item, 700);
    assert.equal(pump(700).length, 5);
    outbox.lost();
    assert.equal(outbox.resumeAt(700), Infinity);
});

test("ids are UUIDv7 with the time given", () => {
    for (const vector of vectors("ids").ids) {
        if (vector.time_ms === null) {
            assert.equal(idOf(vector.hex), undefined, vector.name);
            continue;
        }
        const id = idOf(vector.hex);
        assert.equal(hex(id), vector.hex);
        assert.equal(idText(id).replaceAll("-", ""), vector.hex);
        const ours = uuid7(Number(vector.time_ms));
        assert.equal(hex(ours.slice(0, 6)), vector.hex.slice(0, 12));
        assert.ok(idOf(idText(ours)));
    }
    assert.notEqual(idText(uuid7(1)), idText(uuid7(1)));
});

test("names are those of the protocol", () => {
    for (const good of ["a", "鸿雁", "x".repeat(64), "a.b-c_d@e"]) assert.ok(nameValid(good), good);
    for (const bad of ["", "x".repeat(65), "鸿".repeat(22), "a b", "a/b", 'a"', "a\n", "\x7f", "\x85",
        "\ud800", undefined, 7]) assert.ok(!nameValid(bad), String(bad));
});

test("what cannot be a client is refused", () => {
    const good = { addresses: "ws://127.0.0.1:1", token: "t", device: "d" };
    const names = (change) => {
        try {
            new Client({ ...good, ...change });
            return "OK";
        } catch (error) {
            assert.ok(error instanceof AnserError);
            return error.name;
        }
    };
    assert.equal(names({}), "OK");
    assert.equal(names({ device: "a b" }), "DEVICE_NAME");
    for (const change of [{ addresses: [] }, { addresses: "tcp://127.0.0.1:1" }, { window: 0 },
        { addresses: Array(17).fill("ws://a") }, { token: undefined }, { platform: "amiga" },
        { clientName: "x".repeat(65) }, { addresses: "ws://" }, { sendTimeoutMs: NaN }]) {
        assert.equal(names(change), "ARGUMENT", JSON.stringify(change));
    }
});

test("what cannot be sent is refused at once, what can waits for a start", async () => {
    const client = new Client({
        addresses: "ws://127.0.0.1:1", token: "t", device: "d", pendingMax: 2,
    });
    const names = (...words) => {
        try {
            return client.send(...words).state;
        } catch (error) {
            return error.name;
        }
    };
    assert.equal(names("b/b", "x"), "USER_NAME");
    assert.equal(names("bob", ""), "BODY_EMPTY");
    assert.equal(names("bob", "x".repeat(65_537)), "BODY_TOO_LARGE");
    assert.equal(names("bob", "\ud800"), "UTF8");
    assert.equal(names("bob", "x", { type: 0 }), "ARGUMENT");
    assert.equal(names("bob", "x", { clientMsgId: "17" }), "ARGUMENT");
    assert.equal(names("bob", "x"), "pending");
    assert.equal(names("bob", new Uint8Array(1)), "pending");
    assert.equal(names("bob", "x"), "FULL");
    await assert.rejects(client.history("b/b"), { name: "USER_NAME", code: 611 });
    await assert.rejects(client.history("bob", { before: -1 }), { name: "ARGUMENT" });
    const [first] = client.pending;
    await client.close();
    await assert.rejects(first.sent, { name: "CONNECTION", retry: true });
    assert.deepEqual([first.state, first.error.name, client.state], ["failed", "CONNECTION", "closed"]);
    assert.equal(names("bob", "x"), "CONNECTION");
});

/** A server in a few lines: `answers` says what a connection gets, from its first to its last. */
function scripted(answers) {
    return class {
        static made = [];
        bufferedAmount = 0;

        constructor(address) {
            this.address = address;
            this.constructor.made.push(this);
            setImmediate(() => this.onopen());
        }
        send(data) {
            const [{ command, request, body }] = unpackFrames(data.buffer);
            if (command !== 1) return;
            this.token = wire.Login.read(body).token;
            const ok = { user: "alice", serverTimeMs: 1, heartbeatMs: 9e6, sendsMax: 1 };
            this.say(packFrame(1, request, wire.LoginOk.write(ok)), 1);
            const name = answers.shift();
            if (!name) return;
            const goodbye = { code: Code[name], retry: ["DRAINING"].includes(name) };
            this.say(packFrame(66, 0, wire.Refusal.write(goodbye)), 0);
        }
        say(frame, flags) {
            frame[7] = flags;
            setImmediate(() => this.onmessage({ data: frame.buffer }));
        }
        close() {}
    };
}

for (const [name, token, expected] of [
    ["DRAINING", "t", "online, offline DRAINING, online"],
    ["REPLACED", "t", "online, closed REPLACED"],
    ["KICKED", () => "t", "online, closed KICKED"],
    ["USER_FORBIDDEN", () => "t", "online, closed USER_FORBIDDEN"],
    ["USER_DELETED", () => "t", "online, closed USER_DELETED"],
    ["TOKEN_REVOKED", "t", "online, closed TOKEN_REVOKED"],
    ["TOKEN_REVOKED", (refused) => refused?.name ?? "t", "online, offline TOKEN_REVOKED, online"],
]) {
    test(`Goodbye ${name} with a token that is a ${typeof token}: ${expected}`, async () => {
        const told = [];
        const webSocket = scripted([name]);
        await new Promise((resolve) => {
            const client = new Client({
                addresses: ["ws://a", "ws://b"], device: "d", token, webSocket,
                onState: (state, why) => {
                    if (state !== "connecting") told.push(why ? `${state} ${why.name}` : state);
                    if (state === "closed" || told.length === 3) resolve(client.close(1));
                },
            });
            client.start();
        });
        assert.equal(told.slice(0, 3).join(", "), expected);
        const [first, second] = webSocket.made;
        assert.equal(first.address, "ws://a");
        if (second) assert.equal(second.address, "ws://b");
        if (second && name === "TOKEN_REVOKED") assert.equal(second.token, "TOKEN_REVOKED");
    });
}

test("errors are values", () => {
    const known = AnserError.told(300, "USER_NOT_FOUND", "there is none", false, 0);
    assert.deepEqual([known.code, known.name, known.category, known.handling, known.message],
        [Code.USER_NOT_FOUND, "USER_NOT_FOUND", "not found", "give up", "there is none"]);
    const later = AnserError.told(9901, "FROM_LATER", "", true, 70);
    assert.deepEqual([later.name, later.handling, later.retry, later.retryAfterMs],
        ["FROM_LATER", "retry", true, 70]);
    assert.equal(AnserError.told(9902, "", "", false, 0).name, "UNKNOWN");
    assert.equal(AnserError.told(500, "BUSY", "", false, 0).handling, "give up");
    assert.ok(known instanceof Error && String(known) === "USER_NOT_FOUND: there is none");
});

test("a position in a browser's storage", () => {
    const items = new Map();
    const storage = { getItem: (k) => items.get(k) ?? null, setItem: (k, v) => items.set(k, v) };
    const cursor = storageCursor("k", storage);
    assert.equal(cursor.load(), undefined);
    cursor.save({ generation: "7", next: 3, marks: { bob: 2 } });
    assert.deepEqual(cursor.load(), { generation: "7", next: 3, marks: { bob: 2 } });
});
