/** The client: one user on one device, connected for as long as it lives. */

import { AnserError } from "./errors.js";
import type { HistoryQuery, Options, Outgoing, Page, SendOptions, State } from "./types.js";

/**
 * Keeps a connection, logs in, sends, receives, and does all of that again when the connection
 * breaks. Nothing happens before `start()`.
 *
 *     const client = new Client({
 *         addresses: ["wss://a.example:7403"], token, device: "laptop",
 *         onMessage: (message) => console.log(message.from, message.text),
 *     });
 *     client.start();
 *     await client.send("bob", "hi").sent;
 *     await client.close();
 */
export class Client {
    /** Throws ARGUMENT when an option is missing or malformed, DEVICE_NAME. */
    constructor(_options: Options) {
        throw AnserError.of("NOT_SUPPORTED");
    }

    /** Begins to connect; what comes of it is told to `onState`. A second call does nothing. */
    start(): void {}

    get state(): State {
        return "offline";
    }
    /** Who we are, as the server said it at login; "" before. */
    get user(): string {
        return "";
    }
    /** The last error that ended a connection, an attempt or the client. */
    get error(): AnserError | undefined {
        return undefined;
    }
    /** While `offline`: when the next attempt begins, as `Date.now()` counts; 0 otherwise. */
    get nextAttemptAt(): number {
        return 0;
    }
    /** The server's Unix time as last heard, moved on by the local clock; 0 before the login. */
    get serverTimeMs(): number {
        return 0;
    }
    /** The newest inbox entry that was taken. */
    get cursor(): number {
        return 0;
    }
    /** Messages accepted and not yet decided, oldest first. */
    get pending(): readonly Outgoing[] {
        return [];
    }
    /** The longest body the server takes, in bytes. */
    get bodyLenMax(): number {
        return 65536;
    }

    /**
     * Accepts a message: it is sent in order within its conversation, again after every reconnect
     * and every refusal that invites it, always with the same id, until it is `sent` or `failed`.
     * A string is text, bytes are a file unless `type` says otherwise. Before `start()` it waits.
     * Throws, and accepts nothing: USER_NAME, BODY_EMPTY, BODY_TOO_LARGE, ARGUMENT, FULL when as
     * many are pending as may be, or why the client is closed.
     */
    send(_to: string, _body: string | Uint8Array, _options?: SendOptions): Outgoing {
        throw AnserError.of("NOT_SUPPORTED");
    }

    /**
     * A page of the conversation with `peer`, asked again after a reconnect. Rejects with
     * USER_NAME, USER_NOT_FOUND, FULL with 16 unanswered, TIMEOUT after some refusals, or why the
     * client is closed.
     */
    history(_peer: string, _query?: HistoryQuery): Promise<Page> {
        throw AnserError.of("NOT_SUPPORTED");
    }

    /** Goes on after `onMessage` has returned false or thrown. */
    resume(): void {}

    /** Tries to connect now instead of after the pause: the network is back, the page is shown. */
    wake(): void {}

    /**
     * Waits until every message is decided and every taken inbox entry is confirmed. Rejects with
     * TIMEOUT after `ms`, or why the client is closed.
     */
    flush(_ms = 10_000): Promise<void> {
        throw AnserError.of("NOT_SUPPORTED");
    }

    /**
     * Says good-bye to the server (Logout) and closes, waiting at most `ms` for its answer. Flush
     * first: what is still pending fails with CONNECTION. The state is `closed` afterwards.
     */
    close(_ms = 1_000): Promise<void> {
        throw AnserError.of("NOT_SUPPORTED");
    }
}
