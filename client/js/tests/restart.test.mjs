// Servers that end and come back, and connections that are lost on the way.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import test, { after, beforeEach } from "node:test";

import { WebSocket, WebSocketServer } from "ws";

import { person, Server, until } from "./node.mjs";

const everything = [];
let server;
beforeEach(async () => {
    const one = (server = await new Server().start());
    everything.push({ close: () => one.remove() });
    server.addUsers("alice", "bob");
});
after(async () => {
    for (const one of everything.reverse()) await one.close();
});

function meet(name, options) {
    const client = person(server, name, options);
    everything.push(client);
    return client;
}

/** A way to the server that can be cut, and can swallow what the server says. */
class Way {
    sockets = new Set();
    silent = false;
    connections = 0;

    async open(address) {
        const { port } = new URL(address);
        this.listener = createServer((near) => {
            const far = connect(Number(port), "127.0.0.1");
            this.connections++;
            for (const socket of [near, far]) {
                this.sockets.add(socket);
                socket.on("error", () => {}).on("close", () => {
                    near.destroy();
                    far.destroy();
                });
            }
            near.pipe(far);
            far.on("data", (data) => this.silent || near.write(data));
        });
        await new Promise((resolve) => this.listener.listen(0, "127.0.0.1", resolve));
        this.address = `ws://127.0.0.1:${this.listener.address().port}`;
        everything.push(this);
        return this;
    }

    cut() {
        for (const socket of this.sockets) socket.destroy();
        this.sockets.clear();
    }

    close() {
        this.cut();
        this.listener.close();
    }
}

test("a killed server: nothing lost, nothing twice, order kept", async () => {
    const a = meet("alice"), b = meet("bob");
    const texts = [];
    const write = (count) => {
        for (let n = 0; n < count; n++) {
            texts.push(`m${texts.length}`);
            a.send("bob", texts.at(-1));
        }
    };
    for (let round = 0; round < 3; round++) {
        write(150);
        await until("some are sent", () => a.told.includes(`sent m${150 * round + 20}`));
        await server.stop("SIGKILL");
        write(50);
        await server.start();
        write(50);
        await until("all are there", () => b.messages.length >= texts.length);
    }
    await a.flush();
    assert.deepEqual(b.texts(), texts);
    assert.deepEqual(b.messages.map((m) => m.seq), texts.map((_, n) => n + 1));
    assert.equal(new Set(b.messages.map((m) => m.clientMsgId)).size, texts.length);
    assert.ok(b.states.includes("offline CONNECTION"));
});

test("a server that stops says so, and the clients come back", async () => {
    const a = meet("alice"), b = meet("bob");
    await until("both are online", () => a.state === "online" && b.state === "online");
    await server.stop("SIGTERM");
    await until("offline", () => a.states.includes("offline SHUTTING_DOWN"));
    const outgoing = a.send("bob", "written meanwhile");
    assert.ok(a.nextAttemptAt > 0);
    await server.start();
    a.wake();
    await outgoing.sent;
    await until("it came", () => b.messages.length === 1);
});

test("answers that are lost: sent again with the same id, stored once", async () => {
    const way = await new Way().open(server.address);
    const a = meet("alice", { addresses: way.address, answerTimeoutMs: 500 }), b = meet("bob");
    await until("online", () => a.state === "online" && b.state === "online");
    way.silent = true;
    const outgoing = ["one", "two", "three"].map((word) => a.send("bob", word));
    await until("bob has them", () => b.messages.length === 3);
    const ids = outgoing.map((o) => o.clientMsgId);
    assert.deepEqual(outgoing.map((o) => o.state), ["sending", "sending", "sending"]);
    await until("no answer in time", () => a.states.includes("offline TIMEOUT"));
    way.silent = false;
    await a.flush();
    assert.deepEqual(outgoing.map((o) => [o.seq, o.clientMsgId, o.attempts > 1]),
        ids.map((id, n) => [n + 1, id, true]));
    assert.equal((await b.history("alice")).head, 3);
});

test("a lost connection: the next address at once, pauses only behind a round", async () => {
    const first = await new Way().open(server.address), second = await new Way().open(server.address);
    const a = meet("alice", { addresses: [first.address, second.address], backoffMinMs: 20_000 });
    await until("online", () => a.state === "online");
    first.cut();
    await until("online at the second", () => a.state === "online" && second.connections === 1, 5_000);
    second.cut();
    await until("a pause", () => a.nextAttemptAt - Date.now() > 5_000);
    assert.equal(first.connections, 1);
    a.wake();
    await until("online at the first again", () => a.state === "online" && first.connections === 2);
});

test("a connection is lost again and again while both write", async () => {
    const way = await new Way().open(server.address);
    const options = { addresses: way.address, backoffMinMs: 10, backoffMaxMs: 50 };
    const a = meet("alice", options), b = meet("bob", options);
    for (let round = 0; round < 15; round++) {
        for (let n = 0; n < 20; n++) {
            a.send("bob", `a${20 * round + n}`);
            b.send("alice", `b${20 * round + n}`);
        }
        await until("something came", () => b.messages.length > round * 10);
        way.cut();
    }
    await until("all", () => a.messages.length >= 300 && b.messages.length >= 300);
    await Promise.all([a.flush(), b.flush()]);
    assert.deepEqual(a.texts(), Array.from({ length: 300 }, (_, n) => `b${n}`));
    assert.deepEqual(b.texts(), Array.from({ length: 300 }, (_, n) => `a${n}`));
    assert.deepEqual([...a.warnings, ...b.warnings, ...a.gaps, ...b.gaps], []);
});

test("what waits too long or is tried too often is given up, and says so", async () => {
    const way = await new Way().open(server.address);
    const options = { addresses: way.address, answerTimeoutMs: 200, backoffMinMs: 10 };
    const a = meet("alice", { ...options, sendAttemptsMax: 2 });
    await until("online", () => a.state === "online");
    way.silent = true;
    const tried = a.send("bob", "tried");
    await until("no answer", () => a.states.includes("offline TIMEOUT"));
    way.silent = false;
    await tried.sent;
    assert.equal(tried.attempts, 2);

    const b = meet("bob", { ...options, sendAttemptsMax: 1 });
    await until("online", () => b.state === "online");
    way.silent = true;
    const once = b.send("alice", "once");
    await assert.rejects(once.sent, { name: "CONNECTION", retry: true });
    assert.deepEqual([once.attempts, once.state], [1, "failed"]);
    const c = meet("alice", { addresses: way.address, device: "c", sendTimeoutMs: 300 });
    await assert.rejects(c.send("bob", "late").sent, { name: "TIMEOUT", retry: true });
});

test("a server that does not answer the login is left after a time", async () => {
    const way = await new Way().open(server.address);
    way.silent = true;
    const a = meet("alice", { addresses: way.address, connectTimeoutMs: 200, backoffMinMs: 10 });
    await until("a second try", () => way.connections > 1);
    assert.ok(a.states.includes("offline TIMEOUT"));
    way.silent = false;
    way.cut();
    await until("online", () => a.state === "online");
});

/**
 * Speaks WebSocket on both sides. `bending()` makes, for each connection, a function that gives the
 * frames that go on instead of one.
 */
async function bent(address, bending) {
    const near = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    near.on("connection", (client) => {
        const far = new WebSocket(address, ["anser.protobuf"]);
        const early = [];
        const bend = bending();
        const pass = (data) => (far.readyState === WebSocket.OPEN ? far.send(data) : early.push(data));
        far.on("open", () => early.splice(0).forEach((data) => far.send(data)));
        client.on("message", pass).on("error", () => {}).on("close", () => far.terminate());
        far.on("message", (data) => bend(data.readUInt16BE(4), data).forEach((d) => client.send(d)));
        far.on("error", () => {}).on("close", () => client.terminate());
    });
    await new Promise((resolve) => near.once("listening", resolve));
    everything.push({ close: () => near.close() });
    return `ws://127.0.0.1:${near.address().port}`;
}

test("pushes that are lost, doubled and swapped, answers that are lost", async () => {
    const [SEND, EVENT, RECEIPT] = [4, 64, 65];
    let dice = 7;
    const roll = (sides) => (dice = (dice * 48_271) % 2_147_483_647) % sides;
    const address = await bent(server.address, () => {
        let held = [];
        return (command, frame) => {
            if (command === SEND) return roll(100) === 0 ? [] : [frame];
            if (command !== EVENT && command !== RECEIPT) return [frame];
            const before = held;
            held = [];
            switch (roll(6)) {
            case 0: return before; // lost
            case 1: return [frame, ...before, frame];
            case 2: held = [frame]; return before; // comes behind the next one, if ever
            default: return [...before, frame];
            }
        };
    });
    const options = { addresses: address, answerTimeoutMs: 1_000, backoffMinMs: 10 };
    const a = meet("alice", options), b = meet("bob", options);
    for (let n = 0; n < 500; n++) {
        a.send("bob", `a${n}`);
        b.send("alice", `b${n}`);
        if (n % 20 === 0) await new Promise(setImmediate);
    }
    await until("all", () => a.messages.length >= 500 && b.messages.length >= 500);
    await Promise.all([a.flush(30_000), b.flush(30_000)]);
    assert.deepEqual(a.texts(), Array.from({ length: 500 }, (_, n) => `b${n}`));
    assert.deepEqual(b.texts(), Array.from({ length: 500 }, (_, n) => `a${n}`));
    const page = await a.history("bob", { limit: 1 });
    assert.deepEqual([page.head, page.peerDelivered], [1000, b.messages.at(-1).seq]);
    const lines = a.told.map((line) => line.split(" ")[0]);
    assert.equal(lines.filter((state) => state === "sent").length, 500);
    assert.equal(new Set(a.told).size, a.told.length, "each state is told once");
    assert.deepEqual([a.gaps, b.gaps, a.warnings, b.warnings], [[], [], [], []]);
});
