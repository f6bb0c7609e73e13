/**
 * Telling the server what was taken. The cursor is kept first; then one Confirm at a time covers
 * all that was taken before it, and what is taken meanwhile goes into the next.
 */

import { Asking } from "./asking.js";
import { AnserError } from "./errors.js";
import { Command } from "./frame.js";
import type { Inbox } from "./inbox.js";
import { LIMITS } from "./limits.js";
import type { Link } from "./link.js";
import type { CursorStore, Position } from "./types.js";

export interface ConfirmEvents {
    now(): number;
    warn(error: AnserError): void;
    /** Another inbox: the connection must be made anew. */
    reset(error: AnserError): void;
    /** The cursor was kept: time for a step. */
    after(): void;
}

function valid(position: Position): boolean {
    return (
        /^\d+$/.test(position.generation) && Number.isSafeInteger(position.next) &&
        position.next > 0 && Object.values(position.marks).every(Number.isSafeInteger)
    );
}

export class Confirmer {
    readonly #inbox: Inbox;
    readonly #store: CursorStore | undefined;
    readonly #delayMs: number;
    readonly #events: ConfirmEvents;
    readonly #asking = new Asking();
    #confirmed = 0;
    #saved = "";
    #saving: Promise<void> | undefined;
    #dueAt = Infinity;
    #part = LIMITS.positions; // 1 while it is found out which mark is refused

    constructor(
        inbox: Inbox, store: CursorStore | undefined, delayMs: number, events: ConfirmEvents,
    ) {
        this.#inbox = inbox;
        this.#store = store;
        this.#delayMs = delayMs;
        this.#events = events;
    }

    async load(): Promise<void> {
        try {
            const position = await this.#store?.load();
            if (!position) return;
            if (!valid(position)) throw new TypeError("it is no position");
            this.#inbox.load(position);
        } catch (fault) {
            this.#events.warn(AnserError.of(
                "CORRUPT", `the cursor was ignored: ${(fault as Error).message}`, fault));
        }
    }

    loggedIn(cursor: number, now: number): void {
        this.#confirmed = cursor;
        if (this.#left) this.#dueAt = now;
    }

    moved(own: boolean, now: number): void {
        const delay = own ? LIMITS.confirmOwnDelayMs : this.#delayMs;
        this.#dueAt = Math.min(this.#dueAt, now + delay);
    }

    hurry(now: number): void {
        if (this.#dueAt < Infinity) this.#dueAt = now;
    }

    /** Is there nothing to tell and nothing to keep? */
    get done(): boolean {
        return !this.#left && !this.#asking.busy && !this.#saving && this.#unsaved === undefined;
    }

    /** When there is something to do. */
    dueAt(online: boolean): number {
        if (this.#asking.busy || this.#saving) return Infinity;
        return online ? Math.max(this.#dueAt, this.#asking.notBefore) : this.#dueAt;
    }

    get #left(): boolean {
        return this.#inbox.next - 1 > this.#confirmed || this.#inbox.marks.size > 0;
    }

    get #unsaved(): string | undefined {
        const text = this.#store && JSON.stringify(this.#inbox.position());
        return text === this.#saved ? undefined : text;
    }

    /** The cursor is kept without a connection too; a Confirm needs one. */
    step(now: number, link: Link | undefined): void {
        if (now < this.dueAt(link !== undefined)) return;
        const unsaved = this.#dueAt < Infinity ? this.#unsaved : undefined;
        if (unsaved !== undefined && this.#save(unsaved)) return;
        this.#dueAt = Infinity;
        if (link && this.#left) this.#ask(now, link);
    }

    /** True: it goes on later. */
    #save(text: string): boolean {
        const failed = (fault: unknown) => this.#events.warn(AnserError.of(
            "IO", `the cursor could not be kept: ${(fault as Error)?.message}`, fault));
        this.#saved = text;
        try {
            const saving = this.#store!.save(JSON.parse(text) as Position);
            if (typeof saving !== "object") return false;
            this.#saving = saving.catch(failed).finally(() => {
                this.#saving = undefined;
                this.#events.after();
            });
            return true;
        } catch (fault) {
            failed(fault);
            return false;
        }
    }

    /** Marks first, the cursor with the last of them: who ends in between has not lost a mark. */
    #ask(now: number, link: Link): void {
        const marks = [...this.#inbox.marks].slice(0, this.#part);
        const last = marks.length === this.#inbox.marks.size && (this.#part > 1 || marks.length === 0);
        const body = {
            inboxSeq: last ? this.#inbox.next - 1 : 0,
            inboxGeneration: this.#inbox.generation,
            delivered: marks.map(([peer, seq]) => ({ peer, seq })),
        };
        this.#asking.busy = true;
        link.ask(Command.CONFIRM, body, now, (answer) => {
            this.#asking.busy = false;
            const again = this.#events.now();
            if (answer instanceof AnserError) this.#refused(answer, body.inboxSeq, marks, again);
            else this.#told(body.inboxSeq, marks);
            if (this.#left) this.#dueAt = Math.min(this.#dueAt, again + (last ? this.#delayMs : 0));
            else if (this.#unsaved !== undefined) this.moved(true, again); // marks that are told
        });
    }

    #told(inboxSeq: number, marks: [string, number][]): void {
        this.#asking.answered();
        this.#confirmed = Math.max(this.#confirmed, inboxSeq);
        this.#inbox.told(marks);
        if (this.#inbox.marks.size === 0) this.#part = LIMITS.positions;
    }

    #refused(error: AnserError, inboxSeq: number, marks: [string, number][], now: number): void {
        if (error.retry) {
            this.#asking.refused(now, error);
        } else if (error.name === "RESET") {
            this.#events.reset(error);
        } else if (marks.length > 0 && (marks.length > 1 || inboxSeq > 0)) {
            this.#part = 1; // find out which part it means
        } else {
            this.#told(inboxSeq, marks); // never to be accepted
            this.#events.warn(error);
        }
    }

    lost(): void {
        this.#asking.lost();
    }

    /** The last thing before the end. */
    async close(): Promise<void> {
        const unsaved = this.#dueAt < Infinity ? this.#unsaved : undefined;
        if (unsaved !== undefined && !this.#saving) this.#save(unsaved);
        await this.#saving;
    }
}
