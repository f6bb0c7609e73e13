#!/usr/bin/env node
// The adapter (client/conformance/README.md) of the JavaScript client, as `npm run build` makes it.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

import { Client, fileCursor } from "../../js/dist/node.js";

const [addresses, tokens, device, cursor, answerMs, attempts] = process.argv.slice(2);
const fresh = tokens.split(",");

// Out before the client goes on: process.stdout would keep what a full pipe does not take, and
// a Confirm would overtake what it confirms.
const say = (...words) => {
    let rest = Buffer.from(`${words.join(" ")}\n`);
    while (rest.length > 0) rest = rest.subarray(writeSync(1, rest));
};

const client = new Client({
    addresses: addresses.split(","),
    token: fresh.length > 1 ? (refused) => (refused ? fresh[1] : fresh[0]) : fresh[0],
    device,
    answerTimeoutMs: Number(answerMs),
    sendAttemptsMax: Number(attempts),
    ...(cursor === "-" ? {} : { cursor: fileCursor(cursor) }),
    onState: (state, why) => say("state", state.toUpperCase(), why?.name ?? "-", why?.message ?? ""),
    onMessage: (message) => say("message", message.inboxSeq, message.from, message.text),
    onSend: ({ tag, state, seq, error }) =>
        say("send", tag, state.toUpperCase(), seq, error?.name ?? ""),
    onWarning: (warning) => say("warning", warning.name, warning.message),
});
say("can history");
client.start();

async function readAll(peer) {
    let page, after = 0;
    do {
        page = await client.history(peer, { oldestFirst: true, after });
        for (const message of page.messages) say("history", peer, message.seq, message.text);
        after = page.messages.at(-1)?.seq ?? after;
    } while (!page.completed);
    say("history", peer, "end");
}

let number = 0;
for await (const line of createInterface({ input: process.stdin })) {
    const space = line.indexOf(" ");
    if (line.startsWith("/history ")) {
        void readAll(line.slice(space + 1));
        continue;
    }
    try {
        client.send(line.slice(0, space), line.slice(space + 1), { tag: number + 1 });
        number++;
    } catch (error) {
        say("refused", error.name);
    }
}
if (client.state !== "closed") {
    await client.flush(60_000).catch(() => {});
    await client.close();
}
