/**
 * What is to be sent, and in which order: pure state, no input or output. Each conversation is a
 * lane. Its messages go out one behind the other, many under way at once, until the server refuses
 * one for now: then the lane is held until none is under way, and the first goes out alone; when it
 * is accepted the rest goes on.
 */

import { backoff } from "./backoff.js";
import { AnserError } from "./errors.js";
import { LIMITS } from "./limits.js";
import { idText } from "./text.js";
import type { Outgoing, SendState } from "./types.js";

export class Item implements Outgoing {
    state: SendState = "pending";
    seq = 0;
    messageId = "";
    timeMs = 0;
    attempts = 0;
    error: AnserError | undefined;
    readonly sent: Promise<Outgoing>;
    settle!: (error?: AnserError) => void;
    /** Under way on the present connection. */
    flying = false;
    /** It was the first of its lane when it was put on the connection. */
    wasFirst = false;
    /** Refused for now on this connection: the server waits for it to come again. */
    owed = false;
    /** Its entry in our own inbox came before its answer. */
    seen = false;

    constructor(
        readonly to: string, readonly type: number, readonly body: Uint8Array, readonly tag: unknown,
        public id: Uint8Array | undefined, readonly acceptedAt: number,
    ) {
        this.sent = new Promise((resolve, reject) => {
            this.settle = (error) => (error ? reject(error) : resolve(this));
        });
        this.sent.catch(() => {}); // who does not look at it has `onSend` and `state`
    }

    get clientMsgId(): string {
        return this.id ? idText(this.id) : "";
    }
}

interface Lane {
    /** All that is not decided, in the order of the calls. */
    readonly items: Item[];
    flying: number;
    /** Refused: the first goes alone, not before `resumeAt`. */
    held: boolean;
    probe: Item | undefined;
    refusals: number;
    /** The server's own wish, of the refusals that have come so far. */
    askedMs: number;
    resumeAt: number;
    lastRefusal: AnserError | undefined;
}

export class Outbox {
    readonly #lanes = new Map<string, Lane>();
    /** All that is not decided, oldest first. */
    readonly items = new Set<Item>();
    bytes = 0;
    flying = 0;
    readonly #window: number;
    #narrow = Infinity; // after RATE: at most so many under way
    #notBefore = 0; // after RATE: none is sent

    constructor(window: number = LIMITS.window) {
        this.#window = window;
    }

    add(item: Item): void {
        let lane = this.#lanes.get(item.to);
        if (!lane) {
            lane = { items: [], flying: 0, held: false, probe: undefined, refusals: 0, askedMs: 0,
                resumeAt: 0, lastRefusal: undefined };
            this.#lanes.set(item.to, lane);
        }
        lane.items.push(item);
        this.items.add(item);
        this.bytes += item.body.length;
    }

    /** An own entry of the inbox: is it that of a message whose answer has not come yet? */
    sees(to: string, clientMsgId: string): boolean {
        const item = this.#lanes.get(to)?.items.find(
            (one) => one.attempts > 0 && one.clientMsgId === clientMsgId);
        if (item) item.seen = true;
        return item !== undefined;
    }

    /** Those that may go out now, lane by lane in turn; `put` puts one on the connection. */
    pump(now: number, room: () => boolean, put: (item: Item) => void): void {
        for (const [to, lane] of this.#lanes) {
            if (now < this.#notBefore || this.flying >= this.#narrow || !room()) return;
            const item = this.#next(lane, now);
            if (!item) continue;
            this.#lanes.delete(to); // behind the others: the loop comes to it again
            this.#lanes.set(to, lane);
            item.flying = true;
            item.wasFirst = lane.items[0] === item;
            item.owed = false;
            item.attempts++;
            if (lane.held) lane.probe = item;
            lane.flying++;
            this.flying++;
            put(item);
        }
    }

    #next(lane: Lane, now: number): Item | undefined {
        if (lane.held && (lane.flying > 0 || now < lane.resumeAt)) return undefined;
        return lane.items.find((item) => !item.flying);
    }

    /** Stored. Out of the queue. */
    accepted(item: Item, now: number): void {
        const lane = this.#landed(item);
        this.#takeOut(lane, item);
        if (++this.#narrow >= this.#window) this.#narrow = Infinity;
        if (lane.probe === item) {
            lane.held = false;
            lane.probe = undefined;
            lane.refusals = 0;
        } else {
            this.#settle(lane, now);
        }
    }

    /** Never as it is. Out of the queue; if the lane is held, the next takes its place at once. */
    refused(item: Item, now: number): void {
        const lane = this.#landed(item);
        this.#takeOut(lane, item);
        if (lane.probe === item) {
            lane.probe = undefined;
            lane.resumeAt = now;
        } else {
            this.#settle(lane, now);
        }
    }

    refusedForNow(item: Item, error: AnserError, now: number): void {
        const lane = this.#landed(item);
        item.owed = true;
        lane.held = true;
        lane.probe = undefined;
        lane.askedMs = Math.max(lane.askedMs, error.retryAfterMs);
        if (error.name === "ORDER" && !item.wasFirst) {
            item.attempts--; // it was refused because of another one
        } else {
            lane.lastRefusal = error;
        }
        if (error.name === "RATE") {
            item.attempts--; // its time is bounded all the same
            this.#slowDown(error.retryAfterMs, now);
        }
        this.#settle(lane, now);
    }

    /**
     * The user has sent more than he may: all conversations wait, and go on with fewer at once, so
     * that what is refused is a few and not a window full.
     */
    #slowDown(pauseMs: number, now: number): void {
        if (now >= this.#notBefore) { // once for all that were under way together
            this.#narrow = Math.max(1, Math.floor(Math.min(this.#narrow, this.#window) / 2));
        }
        this.#notBefore = Math.max(this.#notBefore, now + pauseMs);
    }

    /** Why a message that is given up now was not accepted. */
    lastRefusal(item: Item): AnserError {
        return this.#lanes.get(item.to)?.lastRefusal ?? AnserError.of("TIMEOUT");
    }

    /** Out of the queue undecided. True: the server waits for it, only a new connection helps. */
    giveUp(item: Item): boolean {
        this.#takeOut(this.#lanes.get(item.to)!, item);
        return item.owed;
    }

    /** The connection is gone: all that was not answered is to be sent again, in its order. */
    lost(): void {
        for (const lane of this.#lanes.values()) {
            if (lane.flying > 0) lane.lastRefusal = AnserError.of("CONNECTION");
            for (const item of lane.items) item.flying = item.owed = false;
            lane.flying = 0;
            lane.held = false;
            lane.probe = undefined;
            lane.resumeAt = lane.askedMs = 0;
        }
        this.flying = this.#notBefore = 0; // another gate may count anew
        this.#narrow = Infinity;
    }

    /** When what waits may be tried again; what only needs room is tried with the next answer. */
    resumeAt(now: number): number {
        let at = now < this.#notBefore && this.items.size > this.flying ? 0 : Infinity;
        for (const lane of this.#lanes.values()) {
            if (lane.held && lane.flying === 0) at = Math.min(at, lane.resumeAt);
        }
        return Math.max(at, this.#notBefore);
    }

    #landed(item: Item): Lane {
        const lane = this.#lanes.get(item.to)!;
        item.flying = false;
        lane.flying--;
        this.flying--;
        return lane;
    }

    #takeOut(lane: Lane, item: Item): void {
        lane.items.splice(lane.items.indexOf(item), 1);
        this.items.delete(item);
        this.bytes -= item.body.length;
        if (lane.items.length === 0) this.#lanes.delete(item.to);
    }

    #settle(lane: Lane, now: number): void {
        if (!lane.held || lane.flying > 0) return;
        const pause = backoff(lane.refusals++, LIMITS.askAgainMinMs, LIMITS.askAgainMaxMs);
        lane.resumeAt = now + Math.max(lane.askedMs, pause);
        lane.askedMs = 0;
    }
}
