/** A conversation: its messages, marks of what became of them, and the field to write in. */

import { type AnserError, Type } from "anser-client";

import type { Chat, Line, Talk } from "./chat.js";
import { arrange, fill, h, icon, linked, say, set, unseen } from "./dom.js";
import { bytes, clock, day, daysAgo, t, tellError } from "./i18n.js";
import { preview } from "./preview.js";
import { byteLength } from "./rules.js";
import { avatar } from "./side.js";

const TOGETHER_MS = 5 * 60_000; // messages of one person within it stand together
const NEAR_PX = 60; // so close to the end counts as at the end
const AHEAD_PX = 300; // older ones are fetched before the top is reached

// One to three signs and nothing else: shown large.
const SIGN = "\\p{Extended_Pictographic}[\\p{Emoji_Modifier}\\u{FE0F}]*";
const SIGNS = new RegExp(`^(?:${SIGN}(?:\\u{200D}${SIGN})*){1,3}$`, "u");

type Mark = "wait" | "sent" | "delivered" | "failed" | "";
const MARKS = {
    wait: "isWaiting", sent: "isSent", delivered: "isDelivered", failed: "isFailed",
} as const;

interface Shown {
    readonly element: HTMLElement;
    readonly as: string;
}

export class TalkView {
    readonly element: HTMLElement;
    readonly peer: string;
    readonly #chat: Chat;
    readonly #scroll: HTMLElement;
    readonly #list: HTMLElement;
    readonly #top: HTMLElement;
    readonly #down: HTMLButtonElement;
    readonly #field: HTMLTextAreaElement;
    readonly #alert: HTMLElement;
    readonly #heading: HTMLElement;
    #shown = new Map<string, Shown>();
    #opened = false;
    #atEnd = true;
    #news = false;

    constructor(chat: Chat, peer: string) {
        this.#chat = chat;
        this.peer = peer;
        this.#top = h("div", { class: "top" });
        this.#list = h("ol", { class: "lines", role: "list" });
        this.#scroll = h("div", {
            class: "scroll", tabindex: 0, role: "region", "aria-label": t("messages", { name: peer }),
            onscroll: () => this.#scrolled(),
        }, this.#top, this.#list);
        this.#down = h("button", { class: "down", type: "button", hidden: true, onclick: () => this.#toEnd() });
        this.#alert = h("p", { class: "alert", role: "alert" });
        this.#heading = h("h1", { tabindex: -1 }, h("bdi", {}, peer));
        this.#field = h("textarea", {
            id: "write", rows: 1, placeholder: t("write", { name: peer }),
            "aria-label": t("write", { name: peer }), enterkeyhint: "send", autocomplete: "off",
            oninput: () => this.#typed(), onkeydown: (event: KeyboardEvent) => this.#key(event),
        });
        this.#field.value = chat.talk(peer).draft;
        const note = peer === chat.user ? h("small", {}, t("note")) : null;
        this.element = h("div", { class: "talk" },
            h("header", {},
                h("a", { class: "back", href: "#/", "aria-label": t("back") }, icon("back")),
                avatar(peer), h("div", {}, this.#heading, note)),
            this.#scroll, this.#down,
            h("form", { class: "write", onsubmit: (event: Event) => {
                event.preventDefault();
                this.#send();
            } }, this.#alert, this.#field,
            h("button", { type: "submit", class: "primary", "aria-label": t("send") }, icon("send"))));
    }

    /** Where reading or writing begins; no keyboard jumps up on a phone. */
    focus(): void {
        if (matchMedia("(pointer: coarse)").matches) this.#heading.focus();
        else this.#field.focus();
    }

    /** The first time it is in the page. */
    opened(): void {
        this.update();
        this.#grow();
        this.#toEnd();
    }

    update(): void {
        const talk = this.#chat.talk(this.peer);
        if (talk.reading) return;
        const before = this.#scroll.scrollHeight - this.#scroll.scrollTop;
        const last = this.#list.lastElementChild;
        this.#drawTop(talk);
        arrange(this.#list, this.#items(talk));
        this.#opened = true;
        if (this.#atEnd) {
            this.#scroll.scrollTop = this.#scroll.scrollHeight;
        } else if (this.#list.lastElementChild === last) {
            this.#scroll.scrollTop = this.#scroll.scrollHeight - before; // something came above
        } else if (talk.unread > 0) {
            this.#news = true;
        }
        this.#drawDown();
        this.#see(talk);
        const { scrollHeight, clientHeight } = this.#scroll;
        if (scrollHeight <= clientHeight && clientHeight > 0 && !talk.stuck) void this.#chat.older(this.peer);
    }

    /** What is on the screen of a window that is looked at has been seen. */
    #see(talk: Talk): void {
        if (!talk.reading && this.#atEnd && document.visibilityState === "visible" && document.hasFocus() &&
            (talk.unread > 0 || talk.read < talk.head)) {
            this.#chat.seen(this.peer);
        }
    }

    #drawTop(talk: Talk): void {
        const first = talk.lines[0]?.seq ?? 0;
        const state = talk.loading ? "loading" : talk.stuck ? "stuck" : talk.nobody ? "nobody"
            : first === 1 ? "beginning" : first === 0 && talk.waiting.length === 0 ? "empty" : "";
        if (this.#top.dataset["state"] === state) return;
        this.#top.dataset["state"] = state;
        if (!state) return fill(this.#top);
        fill(this.#top, h("p", {}, t(state, { name: this.peer })),
            state === "stuck" ? h("button", { class: "link", type: "button",
                onclick: () => void this.#chat.older(this.peer) }, t("retry")) : null);
    }

    #items(talk: Talk): Element[] {
        const lines = [...talk.lines, ...talk.waiting];
        const items: Element[] = [];
        const shown = new Map<string, Shown>();
        const keep = (key: string, as: string, make: () => HTMLElement) => {
            const old = this.#shown.get(key);
            const one = old?.as === as ? old : { element: make(), as };
            if (!old && this.#opened) one.element.classList.add("fresh");
            shown.set(key, one);
            items.push(one.element);
        };
        const days = lines.map((line) => daysAgo(line.timeMs));
        lines.forEach((line, i) => {
            const newDay = days[i] !== days[i - 1];
            if (newDay) {
                keep(`day ${days[i]} ${line.key}`, "", () => h("li", { class: "day" }, h("span", {}, day(line.timeMs))));
            }
            const first = newDay || !together(lines[i - 1], line);
            const after = lines[i + 1];
            const last = !after || days[i + 1] !== days[i] || !together(line, after);
            const mark = this.#mark(talk, line);
            const as = [first, last, mark, line.failed, line.timeMs].join();
            keep(line.key, as, () => this.#draw(line, mark, first, last));
        });
        this.#shown = shown;
        return items;
    }

    #mark(talk: Talk, line: Line): Mark {
        if (!line.own) return "";
        if (line.failed) return "failed";
        if (line.seq === 0) return "wait";
        // A note to oneself has reached this device, whatever the others do.
        return talk.delivered >= line.seq || this.peer === this.#chat.user ? "delivered" : "sent";
    }

    #draw(line: Line, mark: Mark, first: boolean, last: boolean): HTMLElement {
        const body = line.type === Type.TEXT
            ? h("p", { class: SIGNS.test(line.text) ? "text big" : "text", dir: "auto" }, ...linked(line.text))
            : h("p", { class: "text odd" }, preview(line));
        const foot = h("span", { class: "foot" },
            h("time", { datetime: new Date(line.timeMs).toISOString() }, clock(line.timeMs)),
            mark ? icon(mark) : null, mark ? unseen(t(MARKS[mark])) : null);
        const classes = ["line", line.own ? "own" : "theirs", first && "first", last && "last",
            mark === "failed" && "failed"];
        return h("li", { class: classes.filter(Boolean).join(" "), "data-seq": line.seq, "data-mark": mark },
            h("div", { class: "bubble" },
                unseen(`${line.own ? t("you") : line.from}: `), body, foot),
            mark === "failed" ? this.#failure(line) : null);
    }

    #failure(line: Line): HTMLElement {
        const maybe = line.failed === "TIMEOUT" || line.failed === "CONNECTION";
        return h("div", { class: "failure" },
            h("p", {}, maybe ? t("maybeSent") : t("notSent", { why: tellError(line.failed, "") })),
            h("button", { class: "link", type: "button", onclick: () => {
                this.#try(() => this.#chat.again(this.peer, line));
            } }, t("retry")),
            h("button", { class: "link", type: "button",
                onclick: () => this.#chat.discard(this.peer, line) }, t("discard")));
    }

    // --- scrolling

    #scrolled(): void {
        const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
        const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
        const talk = this.#chat.talk(this.peer);
        if (atEnd !== this.#atEnd) {
            this.#atEnd = atEnd;
            if (atEnd) this.#news = false;
            this.#drawDown();
            this.#see(talk);
        }
        if (scrollTop < AHEAD_PX && !talk.stuck && scrollHeight > clientHeight) {
            void this.#chat.older(this.peer);
        }
    }

    #drawDown(): void {
        this.#down.hidden = this.#atEnd;
        const text = t(this.#news ? "fresh" : "latest");
        if (this.#down.dataset["text"] === text) return;
        this.#down.dataset["text"] = text;
        set(this.#down, "class", this.#news ? "down news" : "down");
        fill(this.#down, icon("down"), this.#news ? h("span", {}, text) : unseen(text));
    }

    #toEnd(): void {
        this.#atEnd = true;
        this.#news = false;
        this.#scroll.scrollTop = this.#scroll.scrollHeight;
        this.#drawDown();
        this.#see(this.#chat.talk(this.peer));
    }

    // --- writing

    #typed(): void {
        this.#chat.talk(this.peer).draft = this.#field.value;
        say(this.#alert, "");
        this.#grow();
    }

    #grow(): void {
        this.#field.style.height = "auto";
        if (this.#field.value) this.#field.style.height = `${this.#field.scrollHeight}px`;
        if (this.#atEnd) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    }

    #key(event: KeyboardEvent): void {
        // While an input method is open, Enter is its own.
        if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
        if (matchMedia("(pointer: coarse)").matches) return; // there it is a new line
        event.preventDefault();
        this.#send();
    }

    #send(): void {
        const text = this.#field.value.replace(/^\s*\n|\s+$/g, "");
        if (!text) return;
        if (!this.#try(() => this.#chat.send(this.peer, text))) return;
        this.#field.value = "";
        this.#typed();
        this.#toEnd();
        this.#field.focus();
    }

    /** True: it was taken. */
    #try(work: () => void): boolean {
        try {
            work();
            return true;
        } catch (fault) {
            const error = fault as AnserError;
            const size = bytes(byteLength(this.#field.value));
            say(this.#alert, error.name === "BODY_TOO_LARGE" ? t("tooLong", { size, most: "64 KB" })
                : error.name === "FULL" ? t("tooMany") : tellError(error.name, error.message));
            return false;
        }
    }
}

function together(a: Line | undefined, b: Line): boolean {
    return a !== undefined && a.own === b.own && b.timeMs - a.timeMs < TOGETHER_MS &&
        !a.failed && !b.failed;
}
