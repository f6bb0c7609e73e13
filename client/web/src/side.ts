/** The left side: who you are, a field to find people, the conversations. */

import type { Chat, Talk } from "./chat.js";
import { arrange, fill, h, icon, say, set, unseen } from "./dom.js";
import { t, when } from "./i18n.js";
import { preview } from "./preview.js";

/** A colour that is always the same for a name. */
export function avatar(name: string): HTMLElement {
    let sum = 0;
    for (const char of name) sum = (sum * 31 + char.codePointAt(0)!) >>> 0;
    const first = String.fromCodePoint(name.codePointAt(0) ?? 63).toUpperCase();
    return h("span", { class: `avatar c${sum % 8}`, "aria-hidden": "true" }, first);
}

export function linkTo(peer: string): string {
    return `#/with/${encodeURIComponent(peer)}`;
}

interface Row {
    readonly element: HTMLLIElement;
    readonly link: HTMLAnchorElement;
    readonly time: HTMLTimeElement;
    readonly last: HTMLElement;
    readonly badge: HTMLElement;
    shown: string;
}

export class Side {
    readonly element: HTMLElement;
    readonly #chat: Chat;
    readonly #rows = new Map<string, Row>();
    readonly #list: HTMLUListElement;
    readonly #none: HTMLElement;
    readonly #input: HTMLInputElement;
    readonly #answer: HTMLElement;
    readonly #state: HTMLElement;

    /** `skip` leads past it. */
    constructor(chat: Chat, skip: HTMLElement) {
        this.#chat = chat;
        this.#list = h("ul", { class: "talks", role: "list", "aria-label": t("conversations") });
        this.#none = h("div", { class: "none" });
        this.#answer = h("p", { class: "answer", role: "status", id: "find-answer" });
        this.#input = h("input", {
            type: "search", id: "find", placeholder: t("find"), "aria-label": t("find"),
            "aria-describedby": "find-answer", autocapitalize: "none", autocomplete: "off",
            spellcheck: "false", maxlength: 64, enterkeyhint: "search",
            oninput: () => this.#typed(),
            onkeydown: (event: KeyboardEvent) => {
                if (event.key === "Escape") this.#clear();
            },
        });
        this.#state = h("span", { class: "dot" });
        const form = h("form", { class: "find", role: "search", onsubmit: (event: Event) => {
            event.preventDefault();
            void this.#find();
        } }, icon("search"), this.#input,
        h("button", { type: "submit", class: "plain" }, t("findButton")));
        this.element = h("nav", { class: "side", "aria-label": t("conversations") },
            skip, h("header", {}, h("span", { class: "mark" }, icon("goose")), h("h1", {}, t("title")),
                h("a", { class: "me", href: "#/you", title: t("account") },
                    avatar(chat.user), h("span", {}, chat.user), unseen(t("account")), this.#state)),
            form, this.#answer, this.#list, this.#none);
    }

    update(): void {
        const filter = this.#input.value.trim();
        const talks = this.#chat.list().filter((talk) => talk.peer.includes(filter));
        set(this.#state, "class", `dot ${this.#chat.client.state}`);
        arrange(this.#list, talks.map((talk) => this.#row(talk)));
        this.#list.hidden = talks.length === 0;
        this.#nothing(talks.length, filter);
    }

    /** Where one was; no keyboard jumps up on a phone. */
    focus(peer?: string): void {
        const row = this.#rows.get(peer ?? "");
        if (row) row.link.focus();
        else if (!matchMedia("(pointer: coarse)").matches) this.#input.focus();
    }

    #nothing(count: number, filter: string): void {
        this.#none.hidden = count > 0;
        if (count > 0) return;
        const text = filter ? t("noMatch")
            : this.#chat.filling && this.#chat.client.state === "online" ? t("filling") : t("noTalks");
        if (this.#none.firstChild?.textContent === text) return;
        fill(this.#none, h("p", {}, text),
            text === t("noTalks") ? h("p", { class: "hint" }, t("noTalksHint")) : null);
    }

    #row(talk: Talk): HTMLLIElement {
        let row = this.#rows.get(talk.peer);
        if (!row) {
            row = this.#makeRow(talk);
            this.#rows.set(talk.peer, row);
        }
        const last = talk.waiting.at(-1) ?? talk.last;
        set(row.link, "aria-current", this.#chat.active === talk.peer ? "page" : false);
        const shown = JSON.stringify([last?.text, last?.timeMs, talk.unread, talk.waiting.length,
            last && when(last.timeMs)]);
        if (shown === row.shown) return row.element;
        row.shown = shown;
        say(row.time, last ? when(last.timeMs) : "");
        const own = last?.from === this.#chat.user && talk.peer !== this.#chat.user;
        say(row.last, last ? `${own ? `${t("you")}: ` : ""}${preview(last)}` : "");
        row.badge.hidden = talk.unread === 0;
        fill(row.badge, h("span", { "aria-hidden": "true" }, talk.unread > 99 ? "99+" : String(talk.unread)),
            unseen(t("unread", { n: talk.unread })));
        set(row.link, "class", talk.unread > 0 ? "news" : "");
        return row.element;
    }

    #makeRow(talk: Talk): Row {
        const time = h("time");
        const last = h("span", { class: "preview" });
        const badge = h("span", { class: "badge", hidden: true });
        const note = talk.peer === this.#chat.user ? h("small", {}, ` ${t("note")}`) : null;
        const link = h("a", { href: linkTo(talk.peer) }, avatar(talk.peer),
            h("span", { class: "who" }, h("bdi", {}, talk.peer), note), time, last, badge);
        return { element: h("li", {}, link), link, time, last, badge, shown: "" };
    }

    #typed(): void {
        say(this.#answer, "");
        this.update();
    }

    #clear(): void {
        this.#input.value = "";
        this.#typed();
    }

    async #find(): Promise<void> {
        const name = this.#input.value.trim().normalize("NFC");
        if (!name) return;
        const found = await this.#chat.find(name);
        if (found === "found") {
            this.#clear();
            location.hash = linkTo(name);
            return;
        }
        const key = { nobody: "nobody", name: "badName", offline: "findOffline" } as const;
        say(this.#answer, t(key[found], { name }));
    }
}
