/** What the client takes and hands out. `Client` itself is in client.ts. */

import type { AnserError } from "./errors.js";

/** What a body is. Other numbers pass through untouched. */
export const Type = { TEXT: 1, PICTURE: 2, FILE: 3, RED_PACKET: 4 } as const;

/**
 * `offline` (waiting until the next attempt) → `connecting` → `online` and back, until it is
 * `closed`: for good, by `close()` or an error that no retry heals. A client that was not started
 * is offline.
 */
export type State = "offline" | "connecting" | "online" | "closed";

/** A message that was received, or read from history. Nobody changes it afterwards. */
export interface Message {
    /** Unique in the whole installation, as decimal digits; says nothing about order. */
    readonly messageId: string;
    /** Its place in the conversation: 1, 2, 3... without gaps. Orders it there. */
    readonly seq: number;
    /** Its place in this user's inbox; 0 from history. */
    readonly inboxSeq: number;
    /** Unix time of the server; never goes back within a conversation. */
    readonly timeMs: number;
    readonly from: string;
    readonly to: string;
    /** The other side: names the conversation. Oneself in messages to oneself. */
    readonly peer: string;
    /** May be empty. */
    readonly fromDevice: string;
    /** The UUID that its sender chose, 36 characters. */
    readonly clientMsgId: string;
    /** One of `Type`, or another number. */
    readonly type: number;
    readonly body: Uint8Array;
    /** The body of a `TEXT`; "" of other types. */
    readonly text: string;
    /** Sent by this user, here or on another device. */
    readonly own: boolean;
    /** Sent by this very device (by an earlier run of it, say). */
    readonly ownDevice: boolean;
}

/**
 * Where a message to be sent stands. Each is told at most once, in this order, except that
 * `delivered` may come without `stored`; `sent` and `failed` exclude each other.
 *
 * - `pending`: accepted, not yet handed to a connection
 * - `sending`: handed to a connection for the first time
 * - `sent`: on the server's disk: `seq`, `messageId`, `timeMs` are set
 * - `stored`: the server keeps it: the other side has no device online
 * - `delivered`: a device of the other side has it
 * - `failed`: given up, `error` says why. With TIMEOUT or CONNECTION it *may* have arrived
 */
export type SendState = "pending" | "sending" | "sent" | "stored" | "delivered" | "failed";

/** A message accepted by `send()`. The object stays the same; its fields move on. */
export interface Outgoing {
    readonly to: string;
    readonly type: number;
    readonly body: Uint8Array;
    /** Yours, from `SendOptions.tag`. */
    readonly tag: unknown;
    readonly state: SendState;
    /**
     * The UUID it is sent under, the same at every try. "" until it is first sent: it is stamped
     * with the server's time, which is known from the first login on.
     */
    readonly clientMsgId: string;
    /** 0 until `sent`. */
    readonly seq: number;
    /** "" until `sent`. */
    readonly messageId: string;
    /** 0 until `sent`. */
    readonly timeMs: number;
    /** How often it was put on a connection. */
    readonly attempts: number;
    /** Set when `failed`. */
    readonly error: AnserError | undefined;
    /**
     * Settles when it is decided: with this object when `sent`, else rejects with `error`. You
     * may leave it alone: an unobserved rejection is no fault.
     */
    readonly sent: Promise<Outgoing>;
}

export interface SendOptions {
    /** Without: `TEXT` for a string, `FILE` for bytes. */
    type?: number;
    /** Anything of yours: comes back in `Outgoing`. */
    tag?: unknown;
    /**
     * The `clientMsgId` of an earlier run, if you keep your own outbox: within 24 hours the
     * server answers with the first outcome and stores nothing twice.
     */
    clientMsgId?: string;
}

export interface HistoryQuery {
    /** Newest first: messages with `seq` below it. Without: from the newest. */
    before?: number;
    /** With `oldestFirst`: messages with `seq` above it. */
    after?: number;
    oldestFirst?: boolean;
    /** The server gives fewer if it must, at most 100. Without: as many as it likes. */
    limit?: number;
}

/** A page of a conversation, in the order asked for. */
export interface Page {
    readonly peer: string;
    readonly messages: readonly Message[];
    /** The newest `seq` of the conversation; 0: empty. */
    readonly head: number;
    /** Nothing further in the asked direction. */
    readonly completed: boolean;
    /** The other side's devices have everything up to here. */
    readonly peerDelivered: number;
    /** The same of this user's. */
    readonly ownDelivered: number;
}

/** Where a device stands in its inbox. Plain JSON. */
export interface Position {
    /** Which inbox; decimal digits. */
    generation: string;
    /** The entry wanted next: those below are safely yours. */
    next: number;
    /** What has still to be told to the server: the highest `seq` received, by peer. */
    marks: Record<string, number>;
}

/**
 * Keeps the position over restarts: one for each user and device. `load` is called once, before the
 * first login; `save` before the server is told, at most every `confirmDelayMs`. When one of them
 * fails `onWarning` is told, and the server's memory of the device is enough to go on.
 */
export interface CursorStore {
    load(): Position | undefined | Promise<Position | undefined>;
    save(position: Position): void | Promise<void>;
}

/**
 * What `Options.token` may be: a token, or a function that is asked before each login. `refused`
 * says why the last token was not accepted (TOKEN_EXPIRED, say): a fresh one is wanted. To give
 * up, throw an `AnserError` whose handling is not `retry`: the client closes with it. Whatever
 * else is thrown is a try that failed; the next one is after a pause.
 */
export type TokenSource =
    | string
    | ((refused: AnserError | undefined) => string | Promise<string>);

/** As far as it is used; the browser's, Node's (22) and `ws`'s all fit. */
export interface WebSocketLike {
    binaryType: string;
    readonly readyState: number;
    readonly bufferedAmount: number;
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    send(data: Uint8Array<ArrayBuffer>): void;
    close(code?: number): void;
}
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/**
 * All functions are optional and are called one at a time, never from inside a call of yours. One
 * that throws (or rejects) does no harm to the client: `onWarning` is told.
 */
export interface Handlers {
    /** The state changed. `why`: what ended the connection or the attempt, if anything. */
    onState?(state: State, why: AnserError | undefined): void;
    /**
     * The next inbox entry, strictly in order and each once. When it returns (or its promise
     * resolves) the message is safe with you: it will be confirmed to the server. The next one
     * comes afterwards. Return "pause", or a promise of it, to pause: it and all that follow wait
     * until `resume()`, and come again then; so they do when it throws. Other results do not
     * matter. Without this function nothing is taken nor confirmed.
     */
    onMessage?(message: Message): unknown;
    /** A message of `send()` has another `state`. */
    onSend?(outgoing: Outgoing): void;
    /**
     * The devices of `peer` have everything up to `seq` in the conversation with them, from
     * whichever device of yours. From receipts and from `history()`; grows only.
     */
    onDelivered?(peer: string, seq: number): void;
    /**
     * Inbox entries `from` to `to` (both included) will not come: they are older than the server
     * keeps in inboxes, or (`reset`) the server's inbox began anew, from a backup for example, and
     * may repeat messages. Conversations are whole in `history()`. `from > to`: the extent is not
     * known.
     */
    onGap?(from: number, to: number, reset: boolean): void;
    /** Something is not as it should be, and was handled: a damaged cursor, say. */
    onWarning?(warning: AnserError): void;
}

export interface Options extends Handlers {
    /**
     * "wss://HOST:PORT" or "ws://HOST:PORT", 1 to 16, one for each gate. Tried in turn, the next
     * one at once when a connection ends; a pause after a round.
     */
    addresses: string | readonly string[];
    token: TokenSource;
    /** Stable for one installation: the place in the inbox is its own. 1 to 64 bytes. */
    device: string;
    /** Without: `web` in a page, `api` elsewhere. */
    platform?: "ios" | "android" | "windows" | "mac" | "linux" | "web" | "api";
    /** Name and version of your program, for the operator. At most 64 bytes. */
    clientName?: string;
    /** Receive nothing, and leave the device's session alone. */
    sendOnly?: boolean;
    /** Where the position is kept. Without: only the server remembers it. */
    cursor?: CursorStore;
    /** Without: the global one, in Node else `ws`. */
    webSocket?: WebSocketConstructor;
    /** Messages sent and not yet answered: 64. */
    window?: number;
    /** Messages accepted and not yet decided: 1024. */
    pendingMax?: number;
    /** A message is given up after so many attempts: 16. */
    sendAttemptsMax?: number;
    /** Or so long after `send()`: 600,000. */
    sendTimeoutMs?: number;
    /** The first pause before a new connection, which doubles, with jitter: 200. */
    backoffMinMs?: number;
    /** The longest: 30,000. */
    backoffMaxMs?: number;
    /** Of one attempt, login included: 10,000. */
    connectTimeoutMs?: number;
    /** Of a request; then the connection is taken as dead: 15,000. */
    answerTimeoutMs?: number;
    /** Confirmations gather so long into one: 50. */
    confirmDelayMs?: number;
}
