/** The first page: sign in, or make an account and be signed in. */

import { fill, h, icon, say } from "./dom.js";
import { Faults } from "./form.js";
import { http, HttpError } from "./http.js";
import { t, tellError } from "./i18n.js";
import { languageSwitch } from "./language.js";
import { isName, isPassword } from "./rules.js";
import { type Kept, Session } from "./session.js";

export interface SignIn {
    /** What is said above the fields, if anything, in the language that is. */
    said(): string;
    /** It has been read: not again. */
    dismiss(): void;
    readonly user: string;
    /** A session of another window, which may be taken over. */
    readonly elsewhere: Kept | undefined;
    done(session: Session): void;
    takeOver(kept: Kept): void;
}

interface Fields {
    readonly name: HTMLInputElement;
    readonly password: HTMLInputElement;
    readonly stay: HTMLInputElement;
}

function card(redraw: () => void, ...children: (Node | null)[]): HTMLElement {
    document.title = t("title");
    return h("main", { class: "sign" },
        h("div", { class: "card" },
            h("div", { class: "brand" }, h("span", { class: "mark" }, icon("goose")),
                h("h1", {}, t("title")), h("p", {}, t("tagline"))),
            ...children),
        languageSwitch(redraw));
}

function show(view: HTMLElement, focus: string): void {
    fill(document.querySelector("#page")!, view);
    view.querySelector<HTMLElement>(focus)!.focus();
}

/** Another window of this browser has the session. */
export function elsewhereView(
    options: SignIn, kept: Kept, moved: boolean, redraw: () => void,
): HTMLElement {
    return card(redraw,
        h("p", { class: "notice" }, t(moved ? "moved" : "elsewhere", { name: kept.user })),
        h("button", { class: "primary", onclick: () => options.takeOver(kept) }, t("useHere")),
        h("button", { class: "plain", onclick: () => {
            show(signView({ ...options, elsewhere: undefined }), "#name");
        } }, t("other")));
}

async function enter(name: string, fields: Fields, fresh: boolean): Promise<Session> {
    const password = fields.password.value;
    if (fresh) {
        await http.register(name, password).catch((fault: HttpError) => {
            if (fault.code === "FORBIDDEN") throw new HttpError(0, "REGISTER_CLOSED", "", 0);
            if (fault.code === "USER_NAME") throw new HttpError(0, "NAME_KEPT", "", 0); // well formed it is
            // A try whose answer was lost may have made it: the password decides.
            if (fault.code !== "USER_EXISTS" || !tried.has(name)) throw fault;
        });
    }
    return Session.signIn(name, password, fields.stay.checked);
}

const tried = new Set<string>();

function noticeOf({ said, dismiss }: SignIn, next: HTMLElement): HTMLElement | null {
    const text = said();
    if (!text) return null;
    const box = h("div", { class: "notice" }, h("p", {}, text),
        h("button", { class: "close", type: "button", "aria-label": t("close"), onclick: () => {
            dismiss();
            box.remove();
            next.focus();
        } }, icon("close")));
    return box;
}

export function signView(options: SignIn, fresh = false): HTMLElement {
    const fields: Fields = {
        name: h("input", {
            id: "name", name: "username", autocomplete: "username", autocapitalize: "none",
            spellcheck: "false", required: true, value: options.user,
            "aria-describedby": fresh ? "name-hint" : null,
        }),
        password: h("input", {
            id: "password", name: "password", type: "password", required: true,
            autocomplete: fresh ? "new-password" : "current-password",
            "aria-describedby": fresh ? "password-hint" : null,
        }),
        stay: h("input", { id: "stay", type: "checkbox", checked: true, "aria-describedby": "stay-hint" }),
    };
    const faults = new Faults("sign-alert", { user: fields.name, password: fields.password });
    const shown = h("input", { id: "shown", type: "checkbox", onchange: () => {
        fields.password.type = shown.checked ? "text" : "password";
    } });
    const button = h("button", { class: "primary", type: "submit" }, t(fresh ? "register" : "signIn"));

    const submit = async (event: SubmitEvent) => {
        event.preventDefault();
        if (button.disabled) return;
        faults.clear();
        const name = fields.name.value.trim().normalize("NFC");
        if (!isName(name)) return faults.say(tellError("USER_NAME", ""), "user");
        if (!fields.password.value) return faults.say(t("passwordMissing"), "password");
        if (fresh && !isPassword(fields.password.value)) {
            return faults.say(tellError("PASSWORD_LENGTH", ""), "password");
        }
        button.disabled = true;
        say(button, t("working"));
        try {
            options.done(await enter(name, fields, fresh));
        } catch (fault) {
            const error = HttpError.of(fault);
            if (fresh && error.code === "NETWORK") tried.add(name);
            button.disabled = false;
            say(button, t(fresh ? "register" : "signIn"));
            faults.tell(error, button);
        }
    };
    /** Once more, with what was written. */
    const again = (another: boolean, focus: string) => {
        const view = signView({ ...options, user: fields.name.value }, another);
        show(view, focus);
        view.querySelector<HTMLInputElement>("#password")!.value = fields.password.value;
        view.querySelector<HTMLInputElement>("#stay")!.checked = fields.stay.checked;
    };
    const other = h("p", { class: "other" }, t(fresh ? "haveAccount" : "noAccount"), " ",
        h("button", { class: "link", type: "button", onclick: () => again(!fresh, "#name") },
            t(fresh ? "signIn" : "register")));
    const form = h("form", { onsubmit: submit, novalidate: true });
    fill(form, h("h2", {}, t(fresh ? "register" : "signIn")),
        noticeOf(options, options.user ? fields.password : fields.name),
        h("label", { for: "name" }, t("name")), fields.name,
        fresh ? h("p", { class: "hint", id: "name-hint" }, t("nameHint")) : null,
        h("label", { for: "password" }, t("password")), fields.password,
        fresh ? h("p", { class: "hint", id: "password-hint" }, t("passwordHint")) : null,
        h("label", { class: "check" }, shown, h("span", {}, t("showPassword"))),
        h("label", { class: "check" }, fields.stay, h("span", {}, t("stay"))),
        h("p", { class: "hint", id: "stay-hint" }, t("stayHint")),
        faults.element, button, other);
    return card(() => again(fresh, '.languages [aria-pressed="true"]'), form);
}
