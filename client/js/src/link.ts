/** One connection: frames out, answers matched to their requests, pushes handed on. */

import { AnserError } from "./errors.js";
import { type Asked, Command, type Frame, packFrame, REQUESTS, unpackFrames } from "./frame.js";
import { LIMITS } from "./limits.js";
import type { WebSocketConstructor, WebSocketLike } from "./types.js";
import { type Body, Refusal } from "./wire.js";

export type Answer<C extends Asked> = Body<(typeof REQUESTS)[C][1]>;
type Done<C extends Asked> = (answer: Answer<C> | AnserError) => void;
interface Waiting {
    readonly command: Asked;
    readonly askedAt: number;
    readonly done: (answer: any) => void;
}

export interface LinkEvents {
    /** The WebSocket stands: log in. */
    opened(): void;
    pushed(command: number, body: Uint8Array): void;
    /** Said once, and nothing comes behind it. `final`: the server said not to come back. */
    over(why: AnserError, final: boolean): void;
    /** Something was handled: time for a step. */
    after(): void;
}

/** An `Error` or `Goodbye` as a value. */
export function refusal(data: Uint8Array): AnserError {
    const { code, name, text, retry, retryAfterMs } = Refusal.read(data);
    return AnserError.told(code, name, text, retry, Math.min(retryAfterMs, LIMITS.retryAfterMaxMs));
}

/** Callbacks are called from the WebSocket's events, never from inside `ask`. */
export class Link {
    readonly #socket: WebSocketLike;
    readonly #events: LinkEvents;
    readonly #waiting = new Map<number, Waiting>(); // oldest first
    #lastRequest = 0;
    #over = false;
    #fault = "";

    /** Throws when the address is none. */
    constructor(make: WebSocketConstructor, address: string, events: LinkEvents) {
        this.#events = events;
        this.#socket = new make(address, ["anser.protobuf"]);
        this.#socket.binaryType = "arraybuffer";
        this.#socket.onopen = () => this.#guard(() => events.opened());
        this.#socket.onmessage = ({ data }) => this.#guard(() => this.#message(data));
        this.#socket.onerror = (event) => (this.#fault = event?.message ?? "");
        this.#socket.onclose = (event) => this.#guard(() => {
            throw AnserError.of("CONNECTION", this.#fault || event?.reason || undefined);
        });
    }

    /** Bytes that are not yet written. */
    get output(): number {
        return this.#socket.bufferedAmount;
    }

    /** When the answer that is waited for longest was asked for; undefined: none is. */
    get oldestAskedAt(): number | undefined {
        return this.#waiting.values().next().value?.askedAt;
    }

    /** `done` gets the answer or the refusal; it is not called when the connection ends before. */
    ask<C extends Asked>(
        command: C, body: Partial<Body<(typeof REQUESTS)[C][0]>>, now: number, done: Done<C>,
    ): void {
        if (this.#over) return;
        this.#lastRequest = (this.#lastRequest % 0xffffffff) + 1;
        this.#waiting.set(this.#lastRequest, { command, askedAt: now, done });
        const data = REQUESTS[command][0].write(body as never);
        this.#socket.send(packFrame(command, this.#lastRequest, data));
    }

    /** Ends it without a word to anybody. `dead`: without waiting for the other side. */
    close(dead = false): void {
        this.#over = true;
        this.#waiting.clear();
        const terminate = (this.#socket as { terminate?: () => void }).terminate;
        if (dead && terminate) terminate.call(this.#socket); // of `ws`
        else this.#socket.close();
    }

    /** A fault of the other side's ends the connection; one of ours too, rather than the program. */
    #guard(work: () => void): void {
        if (this.#over) return;
        try {
            work();
        } catch (fault) {
            this.#end(fault instanceof AnserError ? fault
                : AnserError.of("BODY_MALFORMED", String((fault as Error).message), fault));
        }
        this.#events.after();
    }

    #message(data: unknown): void {
        if (!(data instanceof ArrayBuffer)) throw AnserError.of("CODEC", "a message that is a text");
        for (const frame of unpackFrames(data)) {
            if (!this.#over) this.#frame(frame);
        }
    }

    #frame(frame: Frame): void {
        if (!frame.answer) {
            if (frame.command === Command.GOODBYE) this.#goodbye(refusal(frame.body));
            else this.#events.pushed(frame.command, frame.body);
            return;
        }
        const waiting = this.#waiting.get(frame.request);
        if (!waiting || waiting.command !== frame.command) return; // nobody waits for it
        this.#waiting.delete(frame.request);
        const schema = REQUESTS[waiting.command][1];
        waiting.done(frame.error ? refusal(frame.body) : schema.read(frame.body));
    }

    #goodbye(why: AnserError): void {
        this.close();
        this.#events.over(why, !why.retry);
    }

    #end(why: AnserError): void {
        if (this.#over) return;
        this.close();
        this.#events.over(why, false);
    }
}
