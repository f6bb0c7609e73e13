/**
 * The conversations of one user, as the page shows them: what the client tells, what was kept, and
 * what is being written, put together. The protocol has no list of conversations; ours comes from
 * the inbox, so it has everybody whose messages the inbox still holds or this window has seen.
 * Knows nothing of elements.
 */

import type {
    AnserError, Client, Handlers, Message, Outgoing, Page, State,
} from "anser-client";

import type { LineRecord, OutRecord, Store, TalkRecord } from "./store.js";

/** A message as it is shown. */
export interface Line {
    /** Stable for as long as it is shown. */
    readonly key: string;
    /** 0: not on the server yet. */
    seq: number;
    readonly own: boolean;
    readonly from: string;
    readonly type: number;
    readonly text: string;
    readonly size: number;
    timeMs: number;
    /** The name of the error: it was given up. */
    failed: string;
    clientMsgId: string;
}

export interface Talk {
    readonly peer: string;
    /** In the list, or only looked at. */
    listed: boolean;
    head: number;
    read: number;
    delivered: number;
    unread: number;
    last: LineRecord | undefined;
    /** On the server, by number; a hole is being filled. */
    lines: Line[];
    /** Not yet there, in the order of writing. */
    waiting: Line[];
    loading: boolean;
    /** What was kept is being read: a moment, in which it is not shown in part. */
    reading: boolean;
    /** Older ones could not be had just now. */
    stuck: boolean;
    /** The server knows nobody of that name. */
    nobody: boolean;
    draft: string;
}

export type Find = "found" | "nobody" | "offline" | "name";
/** What the model needs of the client. */
export type Speaker = Pick<Client,
    "start" | "state" | "error" | "nextAttemptAt" | "serverTimeMs" | "send" | "history" | "wake" | "close">;
export interface Events {
    /** Something is another than before. Told often: gather. */
    changed(): void;
    state(state: State, why: AnserError | undefined): void;
    /** A message that has just been written to this user. */
    arrived(line: Line): void;
}

const PAGE = 40;
const LINES_MAX = 4 * PAGE; // in memory, of a conversation that is not shown
const TEXT = 1;
const NEW_MS = 60_000; // older ones are not news
const HOLE_MS = 800; // an answer that is overtaken comes sooner

export function inOrder(talk: Talk): boolean {
    return talk.lines.every((line, i) => i === 0 || line.seq === talk.lines[i - 1]!.seq + 1);
}

export class Chat {
    readonly talks = new Map<string, Talk>();
    /** Of whom the conversation is shown; "": nobody. */
    active = "";
    /** The list is still being read. */
    filling = true;
    readonly #client: Speaker;
    readonly #lines = new Map<Outgoing, { talk: Talk; line: Line }>();
    #count = 0;

    constructor(
        readonly user: string, readonly since: number, readonly store: Store,
        readonly events: Events, make: (handlers: Handlers) => Speaker,
    ) {
        this.#client = make({
            onState: (state, why) => this.#state(state, why),
            onMessage: (message) => this.#message(message),
            onSend: (outgoing) => this.#sent(outgoing),
            onDelivered: (peer, seq) => this.#delivered(peer, seq),
            onGap: (_from, _to, reset) => this.#gap(reset),
        });
    }

    get client(): Speaker {
        return this.#client;
    }

    /** Shows what was kept, then connects; what was written before is sent. */
    async open(): Promise<void> {
        for (const record of await this.store.talks()) {
            Object.assign(this.talk(record.peer), record, { listed: true });
        }
        for (const out of await this.store.outgoing()) {
            const talk = this.talk(out.peer);
            const line = this.#written(out);
            talk.listed = true;
            try {
                this.#send(talk, line, out.clientMsgId);
            } catch (fault) {
                line.failed = (fault as AnserError).name;
                talk.waiting.push(line);
            }
        }
        this.#client.start();
        this.events.changed();
    }

    close(): Promise<void> {
        return this.#client.close();
    }

    talk(peer: string): Talk {
        let talk = this.talks.get(peer);
        if (!talk) {
            talk = {
                peer, listed: false, head: 0, read: 0, delivered: 0, unread: 0, last: undefined,
                lines: [], waiting: [], loading: false, reading: false, stuck: false,
                nobody: false, draft: "",
            };
            this.talks.set(peer, talk);
        }
        return talk;
    }

    /** Those with somebody, the latest first. */
    list(): Talk[] {
        const time = (talk: Talk) => Math.max(talk.last?.timeMs ?? 0, talk.waiting.at(-1)?.timeMs ?? 0);
        return [...this.talks.values()].filter((talk) => talk.listed)
            .sort((a, b) => time(b) - time(a) || (a.peer < b.peer ? -1 : 1));
    }

    get unread(): number {
        let sum = 0;
        for (const talk of this.talks.values()) sum += talk.unread;
        return sum;
    }

    // --- looking

    /** Is there somebody of that name? The history knows. */
    async find(name: string): Promise<Find> {
        if (this.talks.get(name)?.listed) return "found";
        if (this.#client.state !== "online") return "offline";
        try {
            this.#page(this.talk(name), await this.#client.history(name, { limit: PAGE }));
            return "found";
        } catch (error) {
            this.talks.delete(name);
            const code = (error as AnserError).name;
            if (code === "USER_NAME") return "name";
            return /^USER_/.test(code) ? "nobody" : "offline";
        }
    }

    /** The conversation is on the screen: what was kept at once, what the server has then. */
    async show(peer: string): Promise<void> {
        this.active = peer;
        if (!peer) return;
        const talk = this.talk(peer);
        if (talk.lines.length < PAGE) {
            const first = talk.lines[0]?.seq;
            talk.reading = true;
            const kept = await this.store.lines(peer, first ?? Infinity, PAGE).catch(() => []);
            if (!first || kept[0]?.seq === first - 1) merge(talk, kept.map((one) => this.#line(one)));
            talk.reading = false;
            this.events.changed();
        }
        await this.refresh(peer);
    }

    async refresh(peer: string): Promise<void> {
        if (this.#client.state !== "online") return;
        const talk = this.talk(peer);
        try {
            this.#page(talk, await this.#client.history(peer, { limit: PAGE }));
        } catch (fault) {
            // Whatever else it was, it is asked again with the next connection.
            talk.nobody = /^USER_/.test((fault as AnserError).name);
            this.events.changed();
        }
    }

    /** More of what was said before. Nothing happens while it is under way. */
    async older(peer: string): Promise<void> {
        const talk = this.talk(peer);
        const first = talk.lines[0]?.seq ?? 0;
        if (talk.loading || talk.reading || first <= 1) return;
        talk.loading = true;
        talk.stuck = false;
        this.events.changed();
        try {
            let lines: Line[];
            const kept = await this.store.lines(peer, first, PAGE);
            if (kept[0]?.seq === first - 1) {
                lines = kept.map((one) => this.#line(one));
            } else {
                if (this.#client.state !== "online") throw new Error("offline");
                const page = await this.#client.history(peer, { before: first, limit: PAGE });
                lines = page.messages.map((one) => this.#line(record(one)));
            }
            merge(talk, lines);
        } catch {
            talk.stuck = true;
        }
        talk.loading = false;
        this.events.changed();
    }

    /** The user has seen what is there. */
    seen(peer: string): void {
        const talk = this.talk(peer);
        if (talk.unread === 0 && talk.read >= talk.head) return;
        talk.unread = 0;
        talk.read = talk.head;
        this.#keep(talk, []);
        this.events.changed();
    }

    // --- saying

    /** Throws what `Client.send` throws; then nothing was taken. */
    send(peer: string, text: string): void {
        const talk = this.talk(peer);
        const id = `${Date.now().toString(36).padStart(9, "0")}-${(this.#count++).toString(36).padStart(4, "0")}`;
        const line = this.#written({ id, peer, text, timeMs: this.#now(), clientMsgId: "" });
        this.#send(talk, line, "");
        talk.listed = true;
        this.#keepOut(talk, line);
        this.events.changed();
    }

    /** Once more, under the same id if it had one: it may have arrived after all. */
    again(peer: string, line: Line): void {
        const talk = this.talk(peer);
        if (line.failed.startsWith("ID_")) line.clientMsgId = ""; // of no use any more
        this.#send(talk, line, line.clientMsgId);
        talk.waiting.splice(talk.waiting.indexOf(line), 1); // it stands at the end now
        line.failed = "";
        this.#keepOut(talk, line);
        this.events.changed();
    }

    discard(peer: string, line: Line): void {
        const talk = this.talk(peer);
        talk.waiting = talk.waiting.filter((one) => one !== line);
        if (talk.head === 0 && talk.waiting.length === 0) talk.listed = false; // nothing was said
        void this.store.dropOut(line.key).catch(() => undefined);
        this.events.changed();
    }

    #send(talk: Talk, line: Line, clientMsgId: string): void {
        const outgoing = this.#client.send(talk.peer, line.text,
            clientMsgId ? { clientMsgId } : {});
        this.#lines.set(outgoing, { talk, line });
        talk.waiting.push(line);
    }

    #written(out: OutRecord): Line {
        return {
            key: out.id, seq: 0, own: true, from: this.user, type: TEXT, text: out.text, size: 0,
            timeMs: out.timeMs, failed: "", clientMsgId: out.clientMsgId,
        };
    }

    #keepOut(talk: Talk, line: Line): void {
        const { key, text, timeMs, clientMsgId } = line;
        void this.store.putOut({ id: key, peer: talk.peer, text, timeMs, clientMsgId })
            .catch(() => undefined);
    }

    #now(): number {
        return this.#client.serverTimeMs || Date.now();
    }

    // --- what the client tells

    #state(state: State, why: AnserError | undefined): void {
        if (state === "online") {
            if (this.active) void this.refresh(this.active);
            setTimeout(() => {
                this.filling = false;
                this.events.changed();
            }, 1000);
        }
        this.events.state(state, why);
        this.events.changed();
    }

    async #message(message: Message): Promise<void> {
        const talk = this.talk(message.peer);
        const kept = record(message);
        const line = this.#line(kept);
        const known = message.seq <= talk.head && talk.lines.some((one) => one.seq === message.seq);
        talk.listed = true;
        if (message.own) this.#arrivedAfterAll(talk, message.clientMsgId);
        // What is older than all that is shown, and does not touch it, is found on scrolling up.
        if (!known && message.seq >= (talk.lines[0]?.seq ?? 0) - 1) merge(talk, [line]);
        if (this.active === talk.peer) {
            if (!inOrder(talk)) this.#fillLater(talk);
        } else if (talk.lines.length > LINES_MAX) {
            talk.lines = talk.lines.slice(-PAGE);
        }
        this.#judge(talk, message);
        this.#advance(talk, kept);
        this.events.changed();
        if (!message.own && !known && this.#now() - message.timeMs < NEW_MS) this.events.arrived(line);
        await this.store.keep(row(talk), [kept]);
    }

    /** What was there before this device signed in, or was answered elsewhere, is not news. */
    #judge(talk: Talk, message: Message): void {
        if (message.seq <= talk.read) return;
        if (message.own || message.timeMs < this.since) {
            talk.read = message.seq;
            talk.unread = 0;
        } else if (message.seq > talk.head) {
            talk.unread++;
        }
    }

    /** An earlier run sent it, or this one before it gave up, and never saw the answer. */
    #arrivedAfterAll(talk: Talk, clientMsgId: string): void {
        const line = talk.waiting.find((one) => one.clientMsgId === clientMsgId);
        if (line) this.discard(talk.peer, line);
    }

    #sent(outgoing: Outgoing): void {
        const found = this.#lines.get(outgoing);
        if (!found) return;
        const { talk, line } = found;
        if (outgoing.state === "sending") {
            line.clientMsgId = outgoing.clientMsgId;
            this.#keepOut(talk, line);
        } else if (outgoing.state === "sent") {
            talk.waiting = talk.waiting.filter((one) => one !== line);
            line.seq = outgoing.seq;
            line.timeMs = outgoing.timeMs;
            line.clientMsgId = outgoing.clientMsgId;
            merge(talk, [line]);
            const { seq, from, type, text, size, timeMs } = line;
            const kept = { peer: talk.peer, seq, from, type, text, size, timeMs };
            this.#advance(talk, kept);
            talk.read = Math.max(talk.read, seq);
            this.#keep(talk, [kept]);
            void this.store.dropOut(line.key).catch(() => undefined);
        } else if (outgoing.state === "failed") {
            line.failed = outgoing.error?.name ?? "TIMEOUT";
        }
        if (outgoing.state === "delivered" || outgoing.state === "failed") this.#lines.delete(outgoing);
        if (outgoing.state === "delivered") this.#delivered(talk.peer, outgoing.seq);
        this.events.changed();
    }

    #delivered(peer: string, seq: number): void {
        const talk = this.talks.get(peer);
        if (!talk || seq <= talk.delivered) return;
        talk.delivered = seq;
        if (talk.listed) this.#keep(talk, []);
        this.events.changed();
    }

    #gap(reset: boolean): void {
        for (const talk of this.talks.values()) {
            talk.lines = [];
            if (reset) Object.assign(talk, { head: 0, read: 0, delivered: 0, unread: 0 });
        }
        if (reset) void this.store.clear().catch(() => undefined);
        if (this.active) void this.refresh(this.active);
    }

    /** The newest of a conversation, as the server has it. */
    #page(talk: Talk, page: Page): void {
        const kept = page.messages.map(record);
        merge(talk, kept.map((one) => this.#line(one)));
        // What does not touch the page is kept for later, not shown above a hole.
        const floor = page.messages.at(-1)?.seq ?? 1;
        const below = talk.lines.filter((line) => line.seq < floor);
        if (below.length > 0 && below.at(-1)!.seq !== floor - 1) {
            talk.lines = talk.lines.slice(below.length);
        }
        talk.delivered = Math.max(talk.delivered, page.peerDelivered);
        if (page.head > 0) talk.listed = true;
        if (kept[0]) this.#advance(talk, kept[0]);
        if (talk.listed) this.#keep(talk, kept);
        this.events.changed();
    }

    #fillLater(talk: Talk): void {
        setTimeout(() => {
            if (!inOrder(talk)) void this.refresh(talk.peer);
        }, HOLE_MS);
    }

    #advance(talk: Talk, last: LineRecord): void {
        if (last.seq < talk.head) return;
        talk.head = last.seq;
        talk.last = last;
    }

    #keep(talk: Talk, lines: readonly LineRecord[]): void {
        void this.store.keep(row(talk), lines).catch(() => undefined);
    }

    #line(kept: LineRecord): Line {
        const { seq, from, type, text, size, timeMs } = kept;
        return {
            key: `s${seq}`, seq, own: from === this.user, from, type, text, size, timeMs,
            failed: "", clientMsgId: "",
        };
    }
}

/** Those that are there stay the same objects. */
function merge(talk: Talk, lines: readonly Line[]): void {
    const known = new Set(talk.lines.map((line) => line.seq));
    const fresh = lines.filter((line) => !known.has(line.seq));
    if (fresh.length > 0) talk.lines = [...talk.lines, ...fresh].sort((a, b) => a.seq - b.seq);
}

function record(message: Message): LineRecord {
    const { peer, seq, from, type, text, timeMs, body } = message;
    return { peer, seq, from, type, text, size: body.length, timeMs };
}

function row(talk: Talk): TalkRecord {
    const { peer, head, read, delivered, unread, last } = talk;
    return { peer, head, read, delivered, unread, last };
}
