// A server for a test: `anser up` in a directory of its own, with a WebSocket door on a port that
// the system picks. ANSER names the program.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { Client } from "../dist/node.js";
import { textOf } from "../dist/text.js";

const ANSER = process.env.ANSER ?? new URL("../../../build/dev/bin/anser", import.meta.url).pathname;

export class Server {
    #folder = mkdtempSync(join(tmpdir(), "anser-js-"));
    #process;
    address; // ws://...
    plain; // tcp://..., for the command line

    get data() {
        return join(this.#folder, "data");
    }

    /** Starts it, again at the same ports. Resolves when it is ready. */
    async start() {
        const listen = this.address ? [this.plain, this.address]
            : ["tcp://127.0.0.1:0", "ws://127.0.0.1:0"];
        this.#process = spawn(
            ANSER, ["up", "--data", this.data, "--http", "off", "--listen", listen.join(",")],
            { stdio: ["ignore", "pipe", "ignore"] });
        const lines = createInterface({ input: this.#process.stdout });
        for await (const line of lines) {
            if (!line.startsWith("anser ready")) continue;
            [this.plain] = line.match(/tcp:\/\/\S+/);
            [this.address] = line.match(/ws:\/\/\S+/);
            this.#process.stdout.resume();
            return this;
        }
        throw new Error("the server ended before it was ready");
    }

    /** Ends it, as an operator does or as a power cut does. */
    async stop(signal = "SIGTERM") {
        if (!this.#process || this.#process.exitCode !== null) return;
        const ended = new Promise((resolve) => this.#process.once("exit", resolve));
        this.#process.kill(signal);
        await ended;
        this.#process = undefined;
    }

    async remove() {
        await this.stop();
        rmSync(this.#folder, { recursive: true });
    }

    /** Runs a command and gives what it prints. */
    run(...args) {
        const done = spawnSync(ANSER, [...args, "--data", this.data], { encoding: "utf8" });
        if (done.status !== 0) throw new Error(`anser ${args.join(" ")}: ${done.stderr}`);
        return done.stdout;
    }

    addUsers(...names) {
        for (const name of names) this.run("user", "add", name);
    }

    token(name) {
        return this.run("token", name).trim();
    }
}

/** Waits until `condition` holds; `what` is for the error when it does not. */
export async function until(what, condition, ms = 60_000) {
    const end = performance.now() + ms;
    while (!condition()) {
        if (performance.now() > end) throw new Error(`it did not come to this: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

/** A client of `name` that keeps what it is told: `messages`, `states`, `told`, `gaps`, `warnings`. */
export function person(server, name, options = {}) {
    const kept = { messages: [], states: [], told: [], gaps: [], warnings: [], marks: [] };
    const client = new Client({
        addresses: server.address,
        token: server.token(name),
        device: "js",
        onMessage: (message) => void kept.messages.push(message),
        onState: (state, why) => void kept.states.push(why ? `${state} ${why.name}` : state),
        onSend: (outgoing) => void kept.told.push(`${outgoing.state} ${textOf(outgoing.body)}`),
        onDelivered: (peer, seq) => void kept.marks.push(`${peer} ${seq}`),
        onGap: (...gap) => void kept.gaps.push(gap),
        onWarning: (warning) => void kept.warnings.push(warning),
        ...options,
    });
    client.start();
    return Object.assign(client, kept, { texts: () => kept.messages.map((m) => m.text) });
}
