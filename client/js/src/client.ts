/** The client: one user on one device, connected for as long as it lives. */

import { Asking } from "./asking.js";
import { Confirmer } from "./confirmer.js";
import { AnserError, type ErrorName } from "./errors.js";
import { Following } from "./follow.js";
import { Command } from "./frame.js";
import { Histories } from "./histories.js";
import { Inbox } from "./inbox.js";
import { LIMITS } from "./limits.js";
import type { Answer, Link } from "./link.js";
import { messageOf } from "./message.js";
import { complete, type Settings } from "./options.js";
import { Item, Outbox } from "./outbox.js";
import { type HeartbeatOk, type LoginOk, Session } from "./session.js";
import { idOf, nameValid, utf8, uuid7, wellFormed } from "./text.js";
import {
    type Handlers, type HistoryQuery, type Message, type Options, type Outgoing, type Page,
    type SendOptions, type State, Type,
} from "./types.js";
import { type Body, Event, Receipt } from "./wire.js";

interface Flush {
    readonly until: number;
    readonly done: (error?: AnserError) => void;
}

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
    readonly #settings: Settings;
    readonly #session: Session;
    readonly #outbox: Outbox;
    readonly #inbox: Inbox;
    readonly #confirmer: Confirmer;
    readonly #histories: Histories;
    readonly #following: Following;
    readonly #ownIds = new Set<string>(); // own messages whose inbox entry follows as an Event
    readonly #syncing = new Asking();
    #holeAt = 0;
    #holeSince = 0;
    #flushes: Flush[] = [];
    #ends: (() => void)[] = [];
    #timer: ReturnType<typeof setTimeout> | undefined;
    #soonQueued = false;
    #steppedAt = Date.now();

    /** Throws ARGUMENT when an option is missing or malformed, DEVICE_NAME. */
    constructor(options: Options) {
        const settings = (this.#settings = complete(options));
        this.#outbox = new Outbox(settings.window);
        const now = () => performance.now();
        const after = () => this.#soon();
        this.#session = new Session(settings, {
            now, after,
            prepare: () => this.#confirmer.load(),
            state: (state, why) => this.#tell("onState", state, why),
            online: (ok) => this.#online(ok),
            heartbeat: (ok) => this.#heartbeat(ok),
            pushed: (command, body) => this.#pushed(command, body),
            lost: () => this.#lost(),
            ended: (error) => this.#ended(error),
        });
        this.#inbox = new Inbox({
            after,
            hand: (message) => settings.handlers.onMessage!(message),
            moved: (own) => this.#confirmer.moved(own, now()),
            gap: (from, to, reset) => this.#tell("onGap", from, to, reset),
            failed: (fault) => this.#thrown("onMessage", fault),
        });
        this.#confirmer = new Confirmer(this.#inbox, settings.cursor, settings.confirmDelayMs, {
            now, after,
            warn: (error) => this.#tell("onWarning", error),
            reset: () => this.#session.drop(this.#inbox.anew()),
        });
        this.#following = new Following({
            told: (item) => this.#tell("onSend", item),
            delivered: (peer, seq) => this.#tell("onDelivered", peer, seq),
        });
        this.#histories = new Histories({
            now,
            reader: () => ({ user: this.user, device: settings.device }),
            delivered: (peer, seq) => this.#following.delivered(peer, seq),
        });
    }

    /** Begins to connect; what comes of it is told to `onState`. A second call does nothing. */
    start(): void {
        this.#session.start();
        this.#soon();
    }

    get state(): State {
        return this.#session.state;
    }
    /** Who we are, as the server said it at login; "" before. */
    get user(): string {
        return this.#session.login?.user ?? "";
    }
    /** The last error that ended a connection, an attempt or the client. */
    get error(): AnserError | undefined {
        return this.#session.error;
    }
    /** While `offline`: when the next attempt begins, as `Date.now()` counts; 0 otherwise. */
    get nextAttemptAt(): number {
        const at = this.#session.connectAt;
        if (this.state !== "offline" || at === Infinity) return 0;
        return Date.now() + Math.max(0, at - performance.now());
    }
    /** The server's Unix time as last heard, moved on by the local clock; 0 before the login. */
    get serverTimeMs(): number {
        return this.#session.serverTimeMs;
    }
    /** The newest inbox entry that was taken. */
    get cursor(): number {
        return this.#inbox.next - 1;
    }
    /** Messages accepted and not yet decided, oldest first. */
    get pending(): readonly Outgoing[] {
        return [...this.#outbox.items];
    }
    /** The longest body the server takes, in bytes. */
    get bodyLenMax(): number {
        return this.#session.login?.bodyLenMax ?? LIMITS.bodyBytes;
    }

    /**
     * Accepts a message: it is sent in order within its conversation, again after every reconnect
     * and every refusal that invites it, always with the same id, until it is `sent` or `failed`.
     * A string is text, bytes are a file unless `type` says otherwise. Before `start()` it waits.
     * Throws, and accepts nothing: USER_NAME, BODY_EMPTY, BODY_TOO_LARGE, UTF8, ARGUMENT, FULL when
     * as many are pending as may be, or why the client is closed.
     */
    send(to: string, body: string | Uint8Array, options: SendOptions = {}): Outgoing {
        const isText = typeof body === "string";
        const data = isText ? utf8(body) : body.slice();
        const type = options.type ?? (isText ? Type.TEXT : Type.FILE);
        const id = options.clientMsgId === undefined ? undefined : idOf(options.clientMsgId);
        const fault = this.#faultOf(to, data, isText && !wellFormed(body));
        if (fault) throw AnserError.of(fault);
        if (!Number.isSafeInteger(type) || type < 1 || type > 0xffffffff ||
            (options.clientMsgId !== undefined && !id)) throw AnserError.of("ARGUMENT");
        const item = new Item(to, type, data, options.tag, id, performance.now());
        this.#outbox.add(item);
        this.#soon();
        return item;
    }

    #faultOf(to: string, data: Uint8Array, malformed: boolean): ErrorName | undefined {
        if (this.state === "closed") throw this.error ?? AnserError.of("CONNECTION");
        if (!nameValid(to)) return "USER_NAME";
        if (data.length === 0) return "BODY_EMPTY";
        if (data.length > this.bodyLenMax) return "BODY_TOO_LARGE";
        if (malformed) return "UTF8";
        const { items, bytes } = this.#outbox;
        const full = items.size >= this.#settings.pendingMax;
        return full || bytes + data.length > LIMITS.pendingBytes ? "FULL" : undefined;
    }

    /**
     * A page of the conversation with `peer`, asked again after a reconnect. Rejects with
     * USER_NAME, USER_NOT_FOUND, FULL with 16 unanswered, TIMEOUT after five attempts, or why the
     * client is closed.
     */
    async history(peer: string, query: HistoryQuery = {}): Promise<Page> {
        const { before = 0, after = 0, limit = 0, oldestFirst = false } = query;
        if (this.state === "closed") throw this.error ?? AnserError.of("CONNECTION");
        if (!nameValid(peer)) throw AnserError.of("USER_NAME");
        for (const number of [before, after, limit]) {
            if (!Number.isSafeInteger(number) || number < 0) throw AnserError.of("ARGUMENT");
        }
        if (this.#histories.full) throw AnserError.of("FULL");
        return new Promise((resolve, reject) => {
            const asked = { before, after, limit: Math.min(limit, LIMITS.pageEntries), oldestFirst };
            this.#histories.add(peer, asked, (result) => {
                if (result instanceof AnserError) reject(result);
                else resolve(result);
            });
            this.#soon();
        });
    }

    /** Goes on after `onMessage` has paused or thrown. */
    resume(): void {
        this.#inbox.paused = false;
        this.#soon();
    }

    /** Tries to connect now instead of after the pause: the network is back, the page is shown. */
    wake(): void {
        this.#session.wake();
        this.#soon();
    }

    /**
     * Waits until every message is decided and every taken inbox entry is confirmed. Rejects with
     * TIMEOUT after `ms`, or why the client is closed.
     */
    flush(ms = 10_000): Promise<void> {
        return new Promise((resolve, reject) => {
            const done = (error?: AnserError) => (error ? reject(error) : resolve());
            if (this.state === "closed") return done(this.error ?? AnserError.of("CONNECTION"));
            this.#flushes.push({ until: performance.now() + ms, done });
            this.#soon();
        });
    }

    /**
     * Says good-bye to the server (Logout) and closes, waiting at most `ms` for its answer. Flush
     * first: what is still pending fails with CONNECTION. The state is `closed` afterwards.
     */
    async close(ms = 1_000): Promise<void> {
        if (this.state === "closed") return;
        const ended = new Promise<void>((resolve) => this.#ends.push(resolve));
        const late = setTimeout(() => this.#session.end(undefined), ms);
        await Promise.race([this.#confirmer.close(), ended]);
        this.#session.logout();
        await ended;
        clearTimeout(late);
    }

    // ---- doing what is due ----

    /** Never from inside a call of the program's. */
    #soon(): void {
        if (this.#soonQueued) return;
        this.#soonQueued = true;
        queueMicrotask(() => {
            this.#soonQueued = false;
            this.#step();
        });
    }

    #step(): void {
        clearTimeout(this.#timer);
        if (this.state === "closed") return;
        const now = performance.now();
        this.#looksDead();
        this.#expire(now);
        this.#session.step(now);
        this.#inbox.drain();
        const link = this.#session.link;
        if (link) this.#talk(link, now);
        this.#confirmer.step(now, this.#session.link);
        this.#flush(now);
        const dueAt = Math.min(
            this.#session.dueAt, this.#confirmer.dueAt(this.#session.link !== undefined),
            this.#talkDueAt(now), this.#expiresAt(), ...this.#flushes.map((flush) => flush.until));
        if ((this.state as State) === "closed" || dueAt === Infinity) return;
        const ms = Math.ceil(Math.max(0, dueAt - performance.now()));
        this.#timer = setTimeout(() => this.#step(), Math.min(ms, 0x7fffffff));
    }

    /** The machine slept, or the page was not given any time: the server has closed us long ago. */
    #looksDead(): void {
        const wall = Date.now();
        const silentMs = wall - this.#steppedAt;
        this.#steppedAt = wall;
        const { login, link } = this.#session;
        if (link && login!.idleMs > 0 && silentMs > login!.idleMs) {
            this.#session.drop(AnserError.of("IDLE", "this side was asleep"), true);
        }
    }

    #talk(link: Link, now: number): void {
        this.#sync(link, now);
        if (now >= this.#following.askAt) {
            for (const peer of this.#following.asking(now)) this.#histories.addForMark(peer);
        }
        this.#histories.step(now, link);
        this.#pump(link, now);
    }

    #talkDueAt(now: number): number {
        if (!this.#session.link) return Infinity;
        return Math.min(
            this.#syncDueAt(), this.#following.askAt, this.#histories.dueAt,
            this.#outbox.resumeAt(now));
    }

    #flush(now: number): void {
        if (this.#flushes.length === 0) return;
        const flushed = this.#outbox.items.size === 0 && this.#confirmer.done;
        if (!flushed) this.#confirmer.hurry(now);
        const waiting = this.#flushes;
        this.#flushes = waiting.filter((flush) => !flushed && now < flush.until);
        for (const flush of waiting) {
            if (flushed) flush.done();
            else if (now >= flush.until) flush.done(AnserError.of("TIMEOUT"));
        }
    }

    // ---- connections ----

    #online(ok: LoginOk): void {
        const now = performance.now();
        this.#steppedAt = Date.now();
        if (this.#settings.receiving) {
            this.#inbox.loggedIn(ok.inboxGeneration, ok.inboxFirst, ok.inboxHead, ok.cursor);
            this.#confirmer.loggedIn(ok.cursor, now);
        }
        this.#following.online(now);
    }

    #lost(): void {
        this.#outbox.lost();
        this.#giveUpWorn();
        this.#syncing.lost();
        this.#histories.lost();
        this.#confirmer.lost();
    }

    #ended(error: AnserError | undefined): void {
        clearTimeout(this.#timer);
        const why = error ?? AnserError.of("CONNECTION", "the client was closed");
        for (const item of [...this.#outbox.items]) {
            this.#outbox.giveUp(item);
            this.#fail(item, why);
        }
        this.#histories.failAll(why);
        for (const flush of this.#flushes.splice(0)) flush.done(why);
        for (const end of this.#ends.splice(0)) end();
    }

    #pushed(command: number, body: Uint8Array): void {
        if (command === Command.EVENT) {
            if (this.#settings.receiving) this.#event(Event.read(body));
        } else if (command === Command.RECEIPT) {
            const { peer, seq, kind } = Receipt.read(body);
            this.#following.receipt(peer, seq, kind);
        } // else a newer server's push
    }

    #heartbeat(ok: HeartbeatOk): void {
        if (!this.#settings.receiving) return;
        this.#inbox.check(ok.inboxGeneration);
        if (ok.headEvent.length > 0) this.#event(Event.read(ok.headEvent));
        this.#inbox.saw(ok.inboxHead);
    }

    // ---- receiving ----

    #event(event: Body<typeof Event>): void {
        const { inboxSeq, inboxGeneration } = event;
        this.#inbox.check(inboxGeneration);
        if (inboxSeq < this.#inbox.next) return;
        const reader = { user: this.user, device: this.#settings.device };
        const message = event.message && messageOf(event.message, inboxSeq, reader);
        // An entry without a message is of a kind that this version does not know.
        const silent = !message || this.#isOurs(message);
        this.#inbox.offer(inboxSeq, silent ? "silent" : message);
    }

    /** Sent from here: `onSend` has told of it, or will. Notes to oneself are handed over. */
    #isOurs(message: Message): boolean {
        if (!message.ownDevice || message.to === message.from) return false;
        return this.#ownIds.delete(`${message.clientMsgId} ${message.to}`) ||
            this.#outbox.sees(message.to, message.clientMsgId);
    }

    #syncDueAt(): number {
        const missing = this.#settings.receiving ? this.#inbox.missing : undefined;
        if (missing === undefined || this.#syncing.busy) return Infinity;
        // An answer still due may fill the hole: our own messages are entries too.
        const waitMs = this.#outbox.flying > 0 && this.#holeAt === missing ? LIMITS.holeWaitMs : 0;
        return Math.max(this.#syncing.notBefore, this.#holeSince + waitMs);
    }

    #sync(link: Link, now: number): void {
        const missing = this.#settings.receiving ? this.#inbox.missing : undefined;
        if (missing === undefined || this.#syncing.busy) return;
        if (this.#holeAt !== missing) {
            this.#holeAt = missing;
            this.#holeSince = now;
        }
        if (now < this.#syncDueAt()) return;
        const body = { after: missing - 1, inboxGeneration: this.#inbox.generation };
        this.#syncing.busy = true;
        link.ask(Command.SYNC, body, now, (answer) => {
            this.#syncing.busy = false;
            if (!(answer instanceof AnserError)) return this.#page(answer, missing);
            if (answer.name === "RESET") throw this.#inbox.anew();
            if (!answer.retry) throw answer;
            this.#syncing.refused(performance.now(), answer);
        });
    }

    #page(ok: Answer<typeof Command.SYNC>, asked: number): void {
        this.#inbox.check(ok.inboxGeneration);
        this.#inbox.goneBelow(ok.first);
        for (const event of ok.events) this.#event(event);
        this.#inbox.saw(ok.head);
        const missing = this.#inbox.missing;
        if (missing === asked) {
            this.#syncing.refused(performance.now()); // no use in asking the same at once
            return;
        }
        this.#syncing.answered();
        if (missing !== undefined && !ok.completed) {
            this.#holeAt = missing; // the rest is known to be missing: no need to wait
            this.#holeSince = -LIMITS.holeWaitMs;
        }
    }

    // ---- sending ----

    #pump(link: Link, now: number): void {
        const window = Math.min(this.#settings.window, this.#session.login!.sendsMax);
        const room = () => this.#session.link === link && this.#outbox.flying < window &&
            link.output < LIMITS.outputHighBytes;
        this.#outbox.pump(now, room, (item) => {
            if (item.body.length > this.bodyLenMax) { // accepted before this login
                this.#outbox.refused(item, now);
                return this.#fail(item, AnserError.of("BODY_TOO_LARGE"));
            }
            item.id ??= uuid7(this.serverTimeMs); // once, for every try
            const body = { to: item.to, clientMsgId: item.id, type: item.type, body: item.body };
            link.ask(Command.SEND, body, now, (answer) => this.#answered(item, answer));
            if (item.state === "pending") {
                item.state = "sending";
                this.#tell("onSend", item);
            }
        });
    }

    #answered(item: Item, answer: Answer<typeof Command.SEND> | AnserError): void {
        const now = performance.now();
        if (!(answer instanceof AnserError)) {
            this.#outbox.accepted(item, now);
            this.#accepted(item, answer, now);
        } else if (answer.retry) {
            this.#outbox.refusedForNow(item, answer, now);
            this.#giveUpWorn();
        } else {
            this.#outbox.refused(item, now);
            this.#fail(item, answer);
        }
    }

    #accepted(item: Item, ok: Answer<typeof Command.SEND>, now: number): void {
        item.seq = ok.seq;
        item.messageId = ok.messageId;
        item.timeMs = ok.timeMs;
        item.state = "sent";
        if (this.#settings.receiving && item.to !== this.user) {
            const known = ok.inboxSeq > 0 ? this.#inbox.offer(ok.inboxSeq, "silent") : item.seen;
            if (!known) this.#ownIds.add(`${item.clientMsgId} ${item.to}`);
            if (this.#ownIds.size > LIMITS.ownIds) {
                this.#ownIds.delete(this.#ownIds.values().next().value!);
            }
        }
        item.settle();
        this.#tell("onSend", item);
        if (this.#settings.following) this.#following.add(item, now);
    }

    #fail(item: Item, error: AnserError): void {
        item.state = "failed";
        item.error = error;
        item.settle(error);
        this.#tell("onSend", item);
    }

    /** What has been tried too often. */
    #giveUpWorn(): void {
        const max = this.#settings.sendAttemptsMax;
        this.#giveUp((item) => !item.flying && item.attempts >= max);
    }

    /** What waited too long. What is under way is left to its answer, which comes or not. */
    #expire(now: number): void {
        if (now < this.#expiresAt()) return;
        this.#giveUp((item) => !item.flying &&
            now - item.acceptedAt >= this.#settings.sendTimeoutMs);
    }

    #expiresAt(): number {
        for (const item of this.#outbox.items) {
            if (!item.flying) return item.acceptedAt + this.#settings.sendTimeoutMs;
        }
        return Infinity;
    }

    #giveUp(which: (item: Item) => boolean): void {
        let owed = false;
        for (const item of [...this.#outbox.items].filter(which)) {
            const why = this.#outbox.lastRefusal(item);
            owed = this.#outbox.giveUp(item) || owed;
            this.#fail(item, why);
        }
        if (owed) this.#session.drop(AnserError.of("ORDER")); // only so are those behind it freed
    }

    // ---- telling ----

    /** One of the program's functions; what it throws does no harm here. */
    #tell<N extends Exclude<keyof Handlers, "onMessage">>(
        name: N, ...what: Parameters<NonNullable<Handlers[N]>>
    ): void {
        const handler = this.#settings.handlers[name] as ((...a: unknown[]) => unknown) | undefined;
        try {
            const result = handler?.apply(this.#settings.handlers, what);
            if (result instanceof Promise) result.catch((fault) => this.#thrown(name, fault));
        } catch (fault) {
            this.#thrown(name, fault);
        }
    }

    #thrown(name: keyof Handlers, fault: unknown): void {
        const { onWarning } = this.#settings.handlers;
        if (name === "onWarning" || !onWarning) {
            console.error(`anser: ${name} has failed:`, fault);
        } else {
            const text = `${name} has failed: ${(fault as Error)?.message ?? fault}`;
            this.#tell("onWarning", AnserError.of("INTERNAL", text, fault));
        }
    }
}
