/** The page of somebody who is signed in: the client, the sides of the page, and its address. */

import { AnserError, Client, type Handlers, type State } from "anser-client";

import { Chat, type Line } from "./chat.js";
import { fill, h, icon, say, set } from "./dom.js";
import { HttpError } from "./http.js";
import { t } from "./i18n.js";
import { preview } from "./preview.js";
import type { Session } from "./session.js";
import { Side } from "./side.js";
import { openStore, type Store } from "./store.js";
import { TalkView } from "./talk.js";
import { accountView } from "./you.js";

export interface Leaving {
    /** Signed out by the user; or the session ended, and why. */
    over(why: AnserError | undefined): void;
}

const CALM_MS = 1500; // a shorter interruption is not worth a word

export class App {
    readonly #session: Session;
    readonly #leaving: Leaving;
    readonly #page = document.querySelector("#page")!;
    readonly #heard = document.querySelector("#heard")!;
    readonly #ends = new AbortController();
    #chat!: Chat;
    #store: Store | undefined;
    #side!: Side;
    #bar!: HTMLElement;
    #main!: HTMLElement;
    #talk: TalkView | undefined;
    #you: ReturnType<typeof accountView> | undefined;
    #route = "";
    #drawing = 0;
    #offlineSince = Date.now();
    #ticking = 0;

    constructor(session: Session, leaving: Leaving) {
        this.#session = session;
        this.#leaving = leaving;
    }

    async open(): Promise<void> {
        const { user, device, kept } = this.#session;
        const store = this.#store = await openStore(user, device, this.#session.stay);
        const gates = await this.#session.gates();
        if (gates.length === 0) throw new HttpError(0, "OTHER", t("noGate"), 0);
        this.#chat = new Chat(user, kept.since, store, {
            changed: () => this.#soon(),
            state: (state, why) => this.#state(state, why),
            arrived: (line) => this.#arrived(line),
        }, (handlers) => this.#client(gates, store, handlers));
        this.draw();
        const { signal } = this.#ends;
        addEventListener("hashchange", () => this.#go(true), { signal });
        addEventListener("online", () => this.#chat.client.wake(), { signal });
        addEventListener("focus", () => this.#soon(), { signal });
        document.addEventListener("visibilitychange", () => {
            if (document.visibilityState !== "visible") return;
            this.#chat.client.wake();
            this.#soon();
        }, { signal });
        this.#ticking = setInterval(() => this.#status(), 1000) as unknown as number;
        await this.#chat.open();
    }

    #client(gates: readonly string[], store: Store, handlers: Handlers): Client {
        let last = "";
        return new Client({
            ...handlers,
            addresses: gates,
            device: this.#session.device,
            platform: "web",
            clientName: "anser-web/0.1.0",
            cursor: store,
            backoffMaxMs: 8_000, // somebody is looking
            sendTimeoutMs: 23 * 3_600_000, // and sees what waits; the server knows an id for a day
            sendAttemptsMax: 10_000,
            token: async (refused) => {
                try {
                    return (last = await this.#session.token(refused ? last : ""));
                } catch (fault) {
                    if (fault instanceof HttpError && !fault.passing) {
                        throw AnserError.of("TOKEN_INVALID", fault.code);
                    }
                    throw fault;
                }
            },
        });
    }

    /** Everything anew, in the language that is. */
    draw(): void {
        this.#side = new Side(this.#chat, h("a", { class: "skip", href: "#/", onclick: (event: Event) => {
            event.preventDefault();
            (this.#talk ?? this.#main).focus();
        } }, t("skip")));
        this.#bar = h("div", { class: "bar", role: "status", hidden: true });
        this.#main = h("main", { class: "main", id: "main", tabindex: -1 });
        this.#talk = undefined;
        fill(this.#page, h("div", { class: "app" }, this.#bar, this.#side.element, this.#main));
        this.#route = "";
        this.#go(false);
        this.#status();
    }

    /** Nobody is signed in here any more; the store stays. */
    async close(): Promise<void> {
        this.#ends.abort();
        clearInterval(this.#ticking);
        cancelAnimationFrame(this.#drawing);
        this.#drawing = -1;
        document.title = t("title");
        await this.#chat?.close().catch(() => undefined);
    }

    /** Nor does anything of theirs stay here. It begins at once: the window may be closed any moment. */
    async clear(): Promise<void> {
        const gone = this.#store?.destroy().catch(() => undefined);
        history.replaceState(null, "", "#/");
        await this.close();
        await gone;
    }

    async #signOut(): Promise<void> {
        this.#ends.abort(); // that the server ends it now is no news
        void this.#session.signOut();
        await this.clear();
        this.#leaving.over(undefined);
    }

    // --- where we are

    /** #/ is the list, #/with/NAME a conversation, #/you the account. */
    #go(focus: boolean): void {
        const hash = location.hash || "#/";
        if (hash === this.#route) return;
        const before = this.#talk?.peer;
        this.#route = hash;
        this.#talk = this.#you = undefined;
        let peer = "";
        try {
            peer = decodeURIComponent(/^#\/with\/(.+)$/.exec(hash)?.[1] ?? "");
        } catch {
            // Not an address of ours: the list.
        }
        void this.#chat.show(peer);
        const app = this.#page.firstElementChild!;
        if (peer) {
            set(app, "data-pane", "talk");
            this.#talk = new TalkView(this.#chat, peer);
            fill(this.#main, this.#talk.element);
            this.#talk.opened();
            if (focus || innerWidth > 720) this.#talk.focus();
        } else if (hash === "#/you") {
            set(app, "data-pane", "you");
            const { chat, session } = { chat: this.#chat, session: this.#session };
            this.#you = accountView({
                chat, session, signOut: () => void this.#signOut(), redraw: () => this.draw(),
            });
            fill(this.#main, this.#you.element);
            if (focus) this.#main.querySelector("h1")!.focus();
        } else {
            set(app, "data-pane", "list");
            fill(this.#main, h("div", { class: "choose" }, h("span", { class: "mark" }, icon("goose")),
                h("p", {}, t("choose"))));
            if (focus) this.#side.focus(before);
        }
        this.#soon();
    }

    /** However often it is told, it is drawn once a frame. A hidden page has no frames. */
    #soon(): void {
        if (this.#drawing) return;
        const draw = () => {
            this.#drawing = 0;
            this.#side.update();
            this.#talk?.update();
            const { unread } = this.#chat;
            document.title = `${unread > 0 ? `(${unread}) ` : ""}${t("title")}`;
            this.#status();
        };
        this.#drawing = document.visibilityState === "visible" ? requestAnimationFrame(draw)
            : setTimeout(draw, 200) as unknown as number;
    }

    // --- the connection

    #state(state: State, why: AnserError | undefined): void {
        if (state === "online") {
            this.#offlineSince = 0;
            this.#you?.online();
        } else this.#offlineSince ||= Date.now();
        if (state !== "closed" || this.#ends.signal.aborted) return;
        void this.close();
        this.#leaving.over(why ?? AnserError.of("CONNECTION"));
    }

    #status(): void {
        const { state, nextAttemptAt } = this.#chat.client;
        const calm = state === "online" || Date.now() - this.#offlineSince < CALM_MS;
        const wasHidden = this.#bar.hidden;
        this.#bar.hidden = calm;
        if (calm) {
            if (!wasHidden) {
                fill(this.#bar);
                this.#hear(t("connected"));
            }
            return;
        }
        if (!this.#bar.firstChild) {
            fill(this.#bar, h("span", { class: "text" }), h("span", { class: "count", "aria-hidden": "true" }),
                h("button", { class: "link", type: "button", onclick: () => this.#chat.client.wake() }, t("tryNow")));
        }
        const seconds = Math.max(0, Math.ceil((nextAttemptAt - Date.now()) / 1000));
        say(this.#bar.children[0]!, t("offline")); // said once; the numbers are not read out
        say(this.#bar.children[1]!, state === "connecting" ? t("connecting")
            : seconds > 0 ? t("inSeconds", { n: seconds }) : "");
    }

    // --- what is heard

    #arrived(line: Line): void {
        this.#hear(`${line.from}: ${preview(line)}`);
    }

    #hear(text: string): void {
        this.#heard.append(h("p", {}, text));
        while (this.#heard.children.length > 20) this.#heard.firstElementChild!.remove();
    }
}
