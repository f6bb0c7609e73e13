/**
 * The receiving algorithm of docs/protocol.md: no input or output. An entry comes as a push, in a
 * page of Sync, beside a heartbeat, or (a message of ours) named by its answer; whatever the way,
 * `next` alone decides: lower is a repetition, higher waits in `held`, and a hole is asked for.
 */

import { AnserError } from "./errors.js";
import { LIMITS } from "./limits.js";
import type { Message, Position } from "./types.js";

/** A message to hand over, or an entry that is passed over in silence. */
export type Entry = Message | "silent";

export interface InboxEvents {
    /** Returns "pause" (or a promise of it), or throws, when it was not taken. */
    hand(message: Message): unknown;
    /** Taken: `own` is what nobody waits to see confirmed. */
    moved(own: boolean): void;
    gap(from: number, to: number, reset: boolean): void;
    /** The program's function has failed, and the inbox pauses. */
    failed(fault: unknown): void;
    /** An asynchronous hand-over is done. */
    after(): void;
}

export class Inbox {
    readonly #events: InboxEvents;
    readonly #held = new Map<number, Entry>();
    #heldBytes = 0;
    #busy = false; // the entry `next` is with the program
    #epoch = 0; // another one: what was handed over belongs to a former inbox
    #known = false;
    #mustReset = false;
    generation = "0";
    next = 1;
    head = 0;
    paused = false;
    /** What has still to be told to the server: the highest number received, by peer. */
    readonly marks = new Map<string, number>();

    constructor(events: InboxEvents) {
        this.#events = events;
    }

    load(position: Position): void {
        this.#known = true;
        this.generation = position.generation;
        this.next = position.next;
        for (const [peer, seq] of Object.entries(position.marks)) this.marks.set(peer, seq);
    }

    position(): Position {
        return {
            generation: this.generation, next: this.next, marks: Object.fromEntries(this.marks),
        };
    }

    /** The server's inbox is another one than ours: to be thrown; the next login forgets ours. */
    anew(): AnserError {
        this.#mustReset = true;
        return AnserError.of("RESET");
    }

    /** Steps 1 to 3 after login. */
    loggedIn(generation: string, first: number, head: number, cursor: number): void {
        const reset = this.#known && (this.#mustReset || this.next - 1 > head ||
            (this.next > 1 && this.generation !== "0" && this.generation !== generation));
        if (reset) this.#forget();
        const before = this.#known && !reset ? this.next : 1;
        this.#known = true;
        this.generation = generation;
        this.head = head;
        this.next = Math.max(before, Math.min(cursor, head) + 1);
        if (reset) this.#events.gap(1, 0, true);
        this.goneBelow(first);
        this.drain();
    }

    #forget(): void {
        this.#held.clear();
        this.#heldBytes = 0;
        this.#mustReset = this.paused = this.#busy = false;
        this.#epoch++;
        this.marks.clear();
    }

    /** The server keeps nothing before `first`. */
    goneBelow(first: number): void {
        if (first <= this.next) return;
        const from = this.next;
        this.next = first;
        this.#events.gap(from, first - 1, false);
        this.#events.moved(false);
    }

    /** Throws RESET when it is not the generation of ours. */
    check(generation: string): void {
        if (generation === "0" || generation === this.generation) return;
        if (this.generation !== "0") throw this.anew();
        this.generation = generation; // it was empty at login: what we passed were own messages
    }

    saw(seq: number): void {
        this.head = Math.max(this.head, seq);
    }

    /** An entry has come, in whatever way. False: it finds no room, and is asked for later. */
    offer(seq: number, entry: Entry): boolean {
        this.saw(seq);
        if (seq < this.next || this.#held.has(seq)) return true;
        const bytes = bytesOf(entry);
        if (seq > this.next && (this.#held.size >= LIMITS.held ||
            this.#heldBytes + bytes > LIMITS.heldBytes)) return false;
        this.#held.set(seq, entry);
        this.#heldBytes += bytes;
        this.drain();
        return true;
    }

    /** Hands over what is held and whose turn it is. */
    drain(): void {
        for (const seq of this.#held.keys()) {
            if (seq < this.next) this.#release(seq);
        }
        while (!this.#busy && !this.paused) {
            const entry = this.#held.get(this.next);
            if (entry === undefined) return;
            if (entry === "silent") this.#taken(this.next, entry);
            else this.#hand(this.next, entry);
        }
    }

    #hand(seq: number, message: Message): void {
        const epoch = this.#epoch;
        const done = (result: unknown) => {
            if (epoch !== this.#epoch) return;
            this.#busy = false;
            if (result === "pause") this.paused = true;
            else this.#taken(seq, message);
        };
        const failed = (fault: unknown) => {
            this.#events.failed(fault);
            done("pause");
        };
        this.#busy = true;
        try {
            const result = this.#events.hand(message);
            if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function") {
                void Promise.resolve(result).then(done, failed).finally(() => this.#events.after());
            } else {
                done(result);
            }
        } catch (fault) {
            failed(fault);
        }
    }

    #taken(seq: number, entry: Entry): void {
        this.#release(seq);
        if (entry !== "silent" && entry.from === entry.peer) {
            this.marks.set(entry.peer, Math.max(this.marks.get(entry.peer) ?? 0, entry.seq));
        }
        if (seq !== this.next) return; // a login has passed over it meanwhile
        this.next++;
        this.#events.moved(entry === "silent" || entry.own);
    }

    #release(seq: number): void {
        const entry = this.#held.get(seq);
        if (entry === undefined || (seq === this.next && this.#busy)) return;
        this.#held.delete(seq);
        this.#heldBytes -= bytesOf(entry);
    }

    /**
     * The first entry that is missing; undefined: none, or the program has what is next and there is
     * no room for a page behind it.
     */
    get missing(): number | undefined {
        if (this.paused) return undefined;
        if (this.#held.has(this.next) && (this.#held.size + LIMITS.pageEntries > LIMITS.held ||
            this.#heldBytes + LIMITS.pageBytes > LIMITS.heldBytes)) return undefined;
        let seq = this.next;
        while (this.#held.has(seq)) seq++;
        return seq <= this.head ? seq : undefined;
    }

    /** Those marks are known to the server now. */
    told(marks: Iterable<readonly [string, number]>): void {
        for (const [peer, seq] of marks) {
            if ((this.marks.get(peer) ?? 0) <= seq) this.marks.delete(peer);
        }
    }
}

const bytesOf = (entry: Entry): number => (entry === "silent" ? 0 : entry.body.length);
