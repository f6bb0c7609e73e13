/** The first page: sign in, or make an account and be signed in. */

import { fill, h, icon, say } from "./dom.js";
import { http, HttpError } from "./http.js";
import { t, tellError } from "./i18n.js";
import { languageSwitch } from "./language.js";
import { type Kept, Session } from "./session.js";

export interface SignIn {
    /** Said above the fields, if anything. */
    readonly notice: string;
    readonly user: string;
    /** A session of another window, which may be taken over. */
    readonly elsewhere: Kept | undefined;
    done(session: Session): void;
    takeOver(kept: Kept): void;
    /** The language is another one. */
    redraw(): void;
}

interface Fields {
    readonly name: HTMLInputElement;
    readonly password: HTMLInputElement;
    readonly stay: HTMLInputElement;
}

const NAME = /^[^\s/"\u0000-\u001f\u007f-\u009f]{1,64}$/u;

function card(options: SignIn, ...children: (Node | null)[]): HTMLElement {
    return h("main", { class: "sign" },
        h("div", { class: "card" },
            h("div", { class: "brand" }, h("span", { class: "mark" }, icon("goose")),
                h("h1", {}, t("title")), h("p", {}, t("tagline"))),
            ...children),
        languageSwitch(options.redraw));
}

/** Another window of this browser has the session. */
export function elsewhereView(options: SignIn, kept: Kept, moved: boolean): HTMLElement {
    return card(options,
        h("p", { class: "notice" }, t(moved ? "moved" : "elsewhere", { name: kept.user })),
        h("button", { class: "primary", onclick: () => options.takeOver(kept) }, t("useHere")),
        h("button", { class: "plain", onclick: () => {
            document.querySelector("#page")!.replaceChildren(signView({ ...options, elsewhere: undefined }));
        } }, t("other")));
}

async function enter(fields: Fields, fresh: boolean): Promise<Session> {
    const name = fields.name.value.trim().normalize("NFC");
    if (fresh) {
        await http.register(name, fields.password.value).catch((fault: HttpError) => {
            // A try whose answer was lost may have made it: the password decides.
            if (fault.code !== "USER_EXISTS" || !retried(name)) throw fault;
        });
    }
    return Session.signIn(name, fields.password.value, fields.stay.checked);
}

const tried = new Set<string>();
function retried(name: string): boolean {
    return tried.has(name);
}

export function signView(options: SignIn, fresh = false): HTMLElement {
    const alert = h("p", { class: "alert", role: "alert", id: "sign-alert" });
    const fields: Fields = {
        name: h("input", {
            id: "name", name: "username", autocomplete: "username", autocapitalize: "none",
            spellcheck: "false", required: true, maxlength: 64, value: options.user,
            "aria-describedby": fresh ? "name-hint sign-alert" : "sign-alert",
        }),
        password: h("input", {
            id: "password", name: "password", type: "password", required: true, maxlength: 256,
            minlength: fresh ? 8 : undefined,
            autocomplete: fresh ? "new-password" : "current-password",
            "aria-describedby": fresh ? "password-hint sign-alert" : "sign-alert",
        }),
        stay: h("input", { id: "stay", type: "checkbox", checked: true, "aria-describedby": "stay-hint" }),
    };
    const shown = h("input", { id: "shown", type: "checkbox", onchange: () => {
        fields.password.type = shown.checked ? "text" : "password";
    } });
    const button = h("button", { class: "primary", type: "submit" }, t(fresh ? "register" : "signIn"));

    const submit = async (event: SubmitEvent) => {
        event.preventDefault();
        say(alert, "");
        const name = fields.name.value.trim().normalize("NFC");
        if (!NAME.test(name)) {
            say(alert, tellError("USER_NAME", ""));
            fields.name.focus();
            return;
        }
        button.disabled = true;
        say(button, t("working"));
        try {
            options.done(await enter(fields, fresh));
        } catch (fault) {
            const error = fault instanceof HttpError ? fault : new HttpError(0, "OTHER", String(fault), 0);
            if (fresh && error.code === "NETWORK") tried.add(name);
            say(alert, tellError(error.code, error.message, error.retryAfterS || 1));
            button.disabled = false;
            say(button, t(fresh ? "register" : "signIn"));
            (error.code === "PASSWORD_WRONG" ? fields.password : fields.name).focus();
        }
    };
    const other = h("p", { class: "other" }, t(fresh ? "haveAccount" : "noAccount"), " ",
        h("button", { class: "link", type: "button", onclick: () => {
            const view = signView({ ...options, user: fields.name.value }, !fresh);
            document.querySelector("#page")!.replaceChildren(view);
            view.querySelector("input")!.focus();
        } }, t(fresh ? "signIn" : "register")));
    const heading = h("h2", {}, t(fresh ? "register" : "signIn"));
    const form = h("form", { onsubmit: submit, novalidate: true });
    fill(form, heading,
        options.notice ? h("p", { class: "notice" }, options.notice) : null,
        h("label", { for: "name" }, t("name")), fields.name,
        fresh ? h("p", { class: "hint", id: "name-hint" }, t("nameHint")) : null,
        h("label", { for: "password" }, t("password")), fields.password,
        fresh ? h("p", { class: "hint", id: "password-hint" }, t("passwordHint")) : null,
        h("label", { class: "check" }, shown, h("span", {}, t("showPassword"))),
        h("label", { class: "check" }, fields.stay, h("span", {}, t("stay"))),
        h("p", { class: "hint", id: "stay-hint" }, t("stayHint")),
        alert, button, other);
    return card(options, form);
}
