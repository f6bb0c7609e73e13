/**
 * Connecting, login, heartbeat, good-byes and back-off: one connection after the other. What
 * travels over it is the business of client.ts.
 */

import { backoff } from "./backoff.js";
import { AnserError } from "./errors.js";
import { Command } from "./frame.js";
import { LIMITS } from "./limits.js";
import { type Answer, Link } from "./link.js";
import type { Settings } from "./options.js";
import type { State } from "./types.js";

export type LoginOk = Answer<typeof Command.LOGIN>;
export type HeartbeatOk = Answer<typeof Command.HEARTBEAT>;

export interface SessionEvents {
    now(): number;
    /** Before the first login; a connection is not made before it is done. */
    prepare(): Promise<void>;
    state(state: State, why: AnserError | undefined): void;
    online(ok: LoginOk): void;
    heartbeat(ok: HeartbeatOk): void;
    pushed(command: number, body: Uint8Array): void;
    /** The connection is gone. */
    lost(): void;
    /** It is closed for good; `state` was told. */
    ended(error: AnserError | undefined): void;
    /** Time for a step. */
    after(): void;
}

export class Session {
    readonly #settings: Settings;
    readonly #events: SessionEvents;
    #state: State = "offline";
    #link: Link | undefined;
    #attempt = 0; // what belongs to a former one comes too late
    #prepared = false;
    #since = 0;
    #connectAt = Infinity;
    #notBefore = 0; // the server's wish, which waking respects
    #address = 0;
    #tried = 0; // addresses in this round
    #level = 0; // of the pause behind it
    #tokenTries = 0;
    #refused: AnserError | undefined; // why the last token was not accepted
    #heartbeatAt = Infinity;
    #beating = false;
    #closing = false;
    #offsetMs: number | undefined; // the server's clock minus ours
    login: LoginOk | undefined;
    error: AnserError | undefined;

    constructor(settings: Settings, events: SessionEvents) {
        this.#settings = settings;
        this.#events = events;
    }

    get state(): State {
        return this.#state;
    }
    /** The connection, while it is online. */
    get link(): Link | undefined {
        return this.#state === "online" && !this.#closing ? this.#link : undefined;
    }
    get connectAt(): number {
        return this.#connectAt;
    }
    /** The server's Unix time; 0 before the first login. */
    get serverTimeMs(): number {
        return this.#offsetMs === undefined ? 0 : Math.round(this.#events.now() + this.#offsetMs);
    }

    start(): void {
        if (this.#connectAt === Infinity && this.#attempt === 0) this.#connectAt = 0;
    }

    wake(): void {
        if (this.#state === "offline" && this.#attempt > 0) this.#connectAt = this.#notBefore;
    }

    /** Does what is due. */
    step(now: number): void {
        const { connectTimeoutMs, answerTimeoutMs } = this.#settings;
        if (this.#state === "offline" && now >= this.#connectAt) {
            this.#connect(now);
        } else if (this.#state === "connecting" && now - this.#since >= connectTimeoutMs) {
            this.drop(AnserError.of("TIMEOUT", "no login within the time for it"), true);
        }
        if (!this.link) return;
        if (now - (this.link.oldestAskedAt ?? now) >= answerTimeoutMs) {
            this.drop(AnserError.of("TIMEOUT"), true);
        } else if (now >= this.#heartbeatAt && !this.#beating) {
            this.#beat(now);
        }
    }

    /** When there is something to do. */
    get dueAt(): number {
        const { connectTimeoutMs, answerTimeoutMs } = this.#settings;
        if (this.#state === "offline") return this.#connectAt;
        if (this.#state === "connecting") return this.#since + connectTimeoutMs;
        const overdueAt = (this.link?.oldestAskedAt ?? Infinity) + answerTimeoutMs;
        return Math.min(overdueAt, this.#beating ? Infinity : this.#heartbeatAt);
    }

    // ---- a connection ----

    #connect(now: number): void {
        this.#since = now;
        this.#attempt++;
        this.#enter("connecting", undefined);
        void this.#open(this.#attempt);
    }

    /** A token may take its time, so may a cursor. */
    async #open(attempt: number): Promise<void> {
        const here = () => attempt === this.#attempt && this.#state === "connecting";
        try {
            if (!this.#prepared) await this.#events.prepare();
            if (!here()) return;
            this.#prepared = true;
            const { token, addresses, webSocket } = this.#settings;
            const given = typeof token === "string" ? token : await token(this.#refused);
            if (!here()) return;
            this.#link = new Link(webSocket, addresses[this.#address]!, {
                opened: () => this.#login(String(given)),
                pushed: (command, body) => this.#events.pushed(command, body),
                over: (why, final) => this.#over(why, final),
                after: () => this.#events.after(),
            });
        } catch (fault) {
            if (!here()) return;
            if (fault instanceof AnserError && !fault.retry) this.end(fault);
            else if (fault instanceof AnserError) this.drop(fault);
            else this.drop(AnserError.of("UNAVAILABLE", `not tried: ${String(fault)}`, fault));
            this.#events.after();
        }
    }

    #login(token: string): void {
        const { device, platform, sendOnly, client } = this.#settings;
        const body = { token, device, platform, sendOnly, client };
        this.#link!.ask(Command.LOGIN, body, this.#events.now(), (answer) => {
            if (!(answer instanceof AnserError)) this.#loggedIn(answer);
            else this.#over(answer, !answer.retry);
        });
    }

    #loggedIn(ok: LoginOk): void {
        ok.heartbeatMs ||= LIMITS.heartbeatMs;
        ok.bodyLenMax ||= LIMITS.bodyBytes;
        ok.sendsMax ||= 1;
        this.login = ok;
        this.#tokenTries = 0;
        this.#refused = undefined;
        this.#beating = false;
        this.#heard(ok.serverTimeMs);
        this.#since = this.#events.now();
        this.#heartbeatAt = this.#since + ok.heartbeatMs;
        this.#enter("online", undefined);
        this.#events.online(ok);
    }

    #beat(now: number): void {
        this.#beating = true;
        this.#heartbeatAt = now + this.login!.heartbeatMs;
        this.link!.ask(Command.HEARTBEAT, {}, now, (answer) => {
            this.#beating = false;
            if (answer instanceof AnserError) return; // it was alive enough to refuse
            this.#heard(answer.serverTimeMs);
            this.#events.heartbeat(answer);
        });
    }

    #heard(serverTimeMs: number): void {
        this.#offsetMs = serverTimeMs - this.#events.now();
    }

    // ---- its end ----

    /** `final`: the server said not to come back, which another token may mend. */
    #over(why: AnserError, final: boolean): void {
        const mendable = why.category === "auth" && why.handling === "fix" &&
            why.name.startsWith("TOKEN_") && typeof this.#settings.token === "function";
        if (!final) {
            this.drop(why);
        } else if (mendable && ++this.#tokenTries <= LIMITS.tokenTries) {
            this.#refused = why;
            this.drop(why);
            if (this.#tokenTries === 1) this.#connectAt = 0;
        } else {
            this.end(why);
        }
    }

    /** Ends the connection or the attempt; the next one comes. */
    drop(why: AnserError, dead = false): void {
        if (this.#state === "closed" || this.#state === "offline") return;
        if (this.#closing) return this.end(undefined);
        const wasOnline = this.#state === "online";
        this.error = why;
        this.#unlink(dead);
        this.#plan(wasOnline, why.retryAfterMs);
        this.#enter("offline", why);
    }

    end(error: AnserError | undefined): void {
        if (this.#state === "closed") return;
        if (error) this.error = error;
        this.#unlink(false);
        this.#enter("closed", error);
        this.#events.ended(error);
    }

    #unlink(dead: boolean): void {
        this.#attempt++;
        this.#link?.close(dead);
        this.#link = undefined;
        this.#events.lost();
    }

    /**
     * At once at the next address, as long as one was not tried yet; then after a pause, which is
     * also when the server's wish to wait counts: it was one server's. A connection that lasted
     * begins a new round.
     */
    #plan(wasOnline: boolean, retryAfterMs: number): void {
        const { addresses, backoffMinMs, backoffMaxMs } = this.#settings;
        const now = this.#events.now();
        if (wasOnline && now - this.#since >= LIMITS.stableMs) this.#level = this.#tried = 0;
        this.#address = (this.#address + 1) % addresses.length;
        this.#connectAt = this.#notBefore = now;
        if (++this.#tried < addresses.length) return;
        this.#tried = 0;
        this.#notBefore = now + retryAfterMs;
        const pause = backoff(this.#level++, backoffMinMs, backoffMaxMs);
        this.#connectAt = now + Math.max(pause, retryAfterMs);
    }

    #enter(state: State, why: AnserError | undefined): void {
        this.#state = state;
        this.#events.state(state, why);
    }

    /** Says good-bye; the end comes with the answer, or with `end`. */
    logout(): void {
        const link = this.link;
        this.#closing = true;
        if (link) link.ask(Command.LOGOUT, {}, this.#events.now(), () => this.end(undefined));
        else this.end(undefined);
    }
}
