// The model, with a client and a store that do what a test tells them.
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./load.mjs";

const { Chat, inOrder } = await load("chat.ts");
const tick = () => new Promise((done) => setImmediate(done));
const NOW = 1_800_000_000_000;

class FakeClient {
    state = "offline";
    serverTimeMs = NOW;
    outgoing = [];
    asked = [];
    history_ = {}; // peer: number of messages
    delivered = 0;
    start() {}
    wake() {}
    async close() {}
    send(to, text, { clientMsgId = "" } = {}) {
        if (this.refuse) throw Object.assign(new Error(), { name: this.refuse });
        const one = { to, text, clientMsgId, state: "pending", seq: 0, timeMs: 0 };
        this.outgoing.push(one);
        return one;
    }
    async history(peer, { before = Infinity, limit = 100 } = {}) {
        this.asked.push([peer, before]);
        if (!(peer in this.history_)) throw Object.assign(new Error(), { name: "USER_NOT_FOUND" });
        const head = this.history_[peer];
        const messages = [];
        for (let seq = Math.min(head, before - 1); seq > 0 && messages.length < limit; seq--) {
            messages.push(message(peer, seq));
        }
        return { peer, messages, head, completed: false, peerDelivered: this.delivered, ownDelivered: 0 };
    }
}

function message(peer, seq, more = {}) {
    const own = more.own ?? false;
    return {
        messageId: String(seq), seq, inboxSeq: seq, timeMs: NOW - 1000 + seq, from: own ? "me" : peer,
        to: own ? peer : "me", peer, clientMsgId: `id-${seq}`, type: 1, body: new Uint8Array(3),
        text: `${seq}`, own, ownDevice: false, ...more,
    };
}

class FakeStore {
    rows = new Map();
    kept = new Map();
    out = new Map();
    async talks() { return [...this.rows.values()]; }
    async outgoing() { return [...this.out.values()]; }
    async keep(talk, lines) {
        this.rows.set(talk.peer, talk);
        for (const line of lines) this.kept.set(`${talk.peer} ${line.seq}`, line);
    }
    async putOut(record) { this.out.set(record.id, record); }
    async dropOut(id) { this.out.delete(id); }
    async lines(peer, below, count) {
        const all = [...this.kept.values()].filter((one) => one.peer === peer && one.seq < below)
            .sort((a, b) => b.seq - a.seq);
        const run = all.filter((one, i) => one.seq === all[0].seq - i);
        return run.slice(0, count);
    }
    async clear() { this.rows.clear(); this.kept.clear(); }
}

function make({ client = new FakeClient(), store = new FakeStore(), since = NOW - 100_000 } = {}) {
    let handlers;
    const arrived = [];
    const chat = new Chat("me", since, store, {
        changed() {}, state() {}, arrived: (line) => arrived.push(line.text),
    }, (given) => ((handlers = given), client));
    const online = () => {
        client.state = "online";
        handlers.onState("online", undefined);
    };
    const answer = (one, state, more = {}) => {
        Object.assign(one, { state }, more);
        handlers.onSend(one);
    };
    return { chat, client, store, handlers: () => handlers, arrived, online, answer };
}

const seqs = (talk) => talk.lines.map((line) => line.seq);

test("what arrives is listed, counted, announced and kept before it is confirmed", async () => {
    const { chat, store, handlers, arrived } = make();
    await chat.open();
    await handlers().onMessage(message("bob", 1));
    await handlers().onMessage(message("eve", 1, { timeMs: NOW + 5 }));
    await handlers().onMessage(message("bob", 2));
    assert.deepEqual(chat.list().map((talk) => [talk.peer, talk.unread]), [["eve", 1], ["bob", 2]]);
    assert.equal(chat.unread, 3);
    assert.deepEqual(arrived, ["1", "1", "2"]);
    assert.equal(store.kept.size, 3);
    chat.seen("bob");
    assert.equal(chat.unread, 1);
    assert.equal(store.rows.get("bob").read, 2);
});

test("what cannot be kept is not taken", async () => {
    const { chat, store, handlers } = make();
    await chat.open();
    store.keep = async () => { throw new Error("the disk is full"); };
    await assert.rejects(handlers().onMessage(message("bob", 1)));
});

test("what was there before the device, or was answered elsewhere, is no news", async () => {
    const { chat, handlers, arrived } = make({ since: NOW });
    await chat.open();
    await handlers().onMessage(message("bob", 1, { timeMs: NOW - 1_000_000 }));
    assert.equal(chat.unread, 0);
    assert.deepEqual(arrived, []);
    await handlers().onMessage(message("bob", 2, { timeMs: NOW + 1 }));
    assert.equal(chat.unread, 1);
    await handlers().onMessage(message("bob", 3, { own: true, timeMs: NOW + 2 }));
    assert.equal(chat.unread, 0);
    assert.deepEqual(arrived, ["2"]);
});

test("a message goes from waiting to sent to delivered, as one line", async () => {
    const { chat, client, store, answer, handlers } = make();
    await chat.open();
    chat.send("bob", "hi");
    const talk = chat.talk("bob");
    const [line] = talk.waiting;
    assert.equal(line.seq, 0);
    assert.equal(store.out.size, 1);
    const [one] = client.outgoing;
    answer(one, "sending", { clientMsgId: "uuid" });
    assert.equal([...store.out.values()][0].clientMsgId, "uuid");
    answer(one, "sent", { seq: 1, timeMs: NOW });
    await tick();
    assert.deepEqual([talk.waiting.length, talk.lines[0] === line, line.seq], [0, true, 1]);
    assert.equal(store.out.size, 0);
    handlers().onDelivered("bob", 1);
    assert.equal(talk.delivered, 1);
    assert.equal(store.rows.get("bob").delivered, 1);
});

test("what waits is sent by the next run, under its id", async () => {
    const first = make();
    await first.chat.open();
    first.chat.send("bob", "one");
    first.answer(first.client.outgoing[0], "sending", { clientMsgId: "uuid" });
    first.chat.send("bob", "two");
    const { chat, client, handlers, store } = make({ store: first.store });
    await chat.open();
    assert.deepEqual(client.outgoing.map((one) => [one.text, one.clientMsgId]), [["one", "uuid"], ["two", ""]]);
    assert.deepEqual(chat.list().map((talk) => talk.peer), ["bob"]);
    // It had arrived after all: the inbox says so before the answer does.
    await handlers().onMessage(message("bob", 1, { own: true, ownDevice: true, clientMsgId: "uuid", text: "one" }));
    assert.deepEqual(chat.talk("bob").waiting.map((line) => line.text), ["two"]);
    assert.equal(store.out.size, 1);
});

test("a message that was given up can be sent again or discarded", async () => {
    const { chat, client, answer, store } = make();
    await chat.open();
    chat.send("bob", "a");
    chat.send("bob", "b");
    const [a, b] = client.outgoing;
    const talk = chat.talk("bob");
    const [lineA, lineB] = talk.waiting;
    answer(a, "failed", { error: { name: "MUTED" } });
    answer(b, "failed", { error: { name: "ID_EXPIRED" }, clientMsgId: "old" });
    lineB.clientMsgId = "old";
    assert.equal(lineA.failed, "MUTED");
    client.refuse = "FULL";
    assert.throws(() => chat.again("bob", lineA));
    assert.deepEqual([talk.waiting.length, lineA.failed], [2, "MUTED"]);
    client.refuse = "";
    chat.again("bob", lineA);
    chat.again("bob", lineB);
    assert.deepEqual(talk.waiting, [lineA, lineB]);
    assert.equal(client.outgoing[3].clientMsgId, "");
    chat.discard("bob", lineA);
    assert.deepEqual(talk.waiting, [lineB]);
    assert.equal(store.out.size, 1);
    chat.discard("bob", lineB);
    assert.deepEqual(chat.list(), []);
});

test("history is read page by page, from what was kept where there is some", async () => {
    const { chat, client, online, store } = make();
    client.history_.bob = 100;
    await chat.open();
    online();
    await chat.show("bob");
    assert.deepEqual([seqs(chat.talk("bob"))[0], chat.talk("bob").head], [61, 100]);
    await chat.older("bob");
    assert.equal(chat.talk("bob").lines[0].seq, 21);
    await chat.older("bob");
    await chat.older("bob");
    assert.equal(chat.talk("bob").lines.length, 100);
    assert.ok(inOrder(chat.talk("bob")));
    assert.equal(client.asked.length, 3, "nothing is asked for before the first message");
    // Another run without a connection shows what was kept.
    const later = make({ store });
    await later.chat.open();
    await later.chat.show("bob");
    assert.equal(later.chat.talk("bob").lines[0].seq, 61);
    await later.chat.older("bob");
    assert.ok(later.chat.talk("bob").stuck);
});

test("no hole is shown: what does not touch the newest page waits in the store", async () => {
    const { chat, client, online, store } = make();
    client.history_.bob = 10;
    await chat.open();
    online();
    await chat.show("bob");
    const later = make({ store });
    later.client.history_.bob = 200;
    await later.chat.open();
    later.online();
    await later.chat.show("bob");
    assert.deepEqual(seqs(later.chat.talk("bob")).slice(0, 2), [161, 162]);
    assert.ok(inOrder(later.chat.talk("bob")));
    for (let i = 0; i < 4; i++) await later.chat.older("bob");
    assert.equal(later.chat.talk("bob").lines.length, 200);
    assert.ok(inOrder(later.chat.talk("bob")));
});

test("what was kept is not shown in part: its newest may have come before it is read", async () => {
    const before = make();
    await before.chat.open();
    for (let seq = 1; seq <= 6; seq++) await before.handlers().onMessage(message("bob", seq));
    const { chat, store, handlers } = make({ store: before.store });
    await chat.open();
    await handlers().onMessage(message("bob", 7));
    const read = store.lines.bind(store);
    let answer;
    store.lines = async (...asked) => {
        await new Promise((resolve, reject) => (answer = { resolve, reject }));
        return read(...asked);
    };
    const shown = chat.show("bob");
    assert.ok(chat.talk("bob").reading);
    await chat.older("bob"); // not a second time
    assert.ok(!chat.talk("bob").loading);
    answer.resolve();
    await shown;
    assert.ok(!chat.talk("bob").reading);
    assert.deepEqual(seqs(chat.talk("bob")), [1, 2, 3, 4, 5, 6, 7]);
    const other = chat.show("eve");
    answer.reject(new Error("the disk is broken"));
    await other;
    assert.ok(!chat.talk("eve").reading);
});

test("a number that is missing is asked for", async (t) => {
    const late = [];
    const before = globalThis.setTimeout;
    globalThis.setTimeout = (work) => late.push(work);
    t.after(() => (globalThis.setTimeout = before));
    const { chat, client, online, handlers } = make();
    client.history_.bob = 3;
    await chat.open();
    online();
    await chat.show("bob");
    client.history_.bob = 5;
    await handlers().onMessage(message("bob", 5));
    assert.deepEqual(seqs(chat.talk("bob")), [1, 2, 3, 5]);
    late.forEach((work) => work());
    await tick();
    assert.deepEqual(seqs(chat.talk("bob")), [1, 2, 3, 4, 5]);
});

test("the newest is shown while the inbox is still being read", async () => {
    const { chat, client, online, handlers } = make();
    client.history_.bob = 100;
    await chat.open();
    online();
    for (let seq = 1; seq <= 3; seq++) await handlers().onMessage(message("bob", seq));
    await chat.show("bob");
    assert.deepEqual([seqs(chat.talk("bob"))[0], chat.talk("bob").lines.length], [61, 40]);
    for (let seq = 4; seq <= 100; seq++) {
        await handlers().onMessage(message("bob", seq));
        assert.ok(inOrder(chat.talk("bob")));
    }
    while (chat.talk("bob").lines[0].seq > 1) await chat.older("bob");
    assert.equal(chat.talk("bob").lines.length, 100);
});

test("people are found by name, when there is a connection", async () => {
    const { chat, client, online } = make();
    client.history_.bob = 0;
    await chat.open();
    assert.equal(await chat.find("bob"), "offline");
    online();
    assert.equal(await chat.find("bob"), "found");
    assert.equal(await chat.find("nobody"), "nobody");
    assert.deepEqual(chat.list(), [], "with nothing said there is no conversation");
});

test("a server that began anew is believed", async () => {
    const { chat, client, online, handlers, store } = make();
    client.history_.bob = 5;
    await chat.open();
    online();
    await chat.show("bob");
    client.history_.bob = 1;
    handlers().onGap(1, 5, true);
    await tick();
    assert.deepEqual(seqs(chat.talk("bob")), [1]);
    assert.equal(chat.talk("bob").head, 1);
    assert.equal(store.kept.size, 1);
});
