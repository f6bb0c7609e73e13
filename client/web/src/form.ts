/** What is wrong with a form is said in words, and marked at the field that it is about. */

import { h, say, set } from "./dom.js";
import { HttpError } from "./http.js";
import { tellError } from "./i18n.js";

const ABOUT: Record<string, string> = {
    USER_NAME: "user", NAME_KEPT: "user", USER_EXISTS: "user", USER_FORBIDDEN: "user", USER_DELETED: "user",
    PASSWORD_LENGTH: "password", PASSWORD_WRONG: "password",
};

/** The member of the request that an error is about; "": none, or it is not known. */
export function memberOf({ code, message }: HttpError): string {
    return ABOUT[code] ?? /^(\w+): /.exec(message)?.[1] ?? "";
}

export class Faults {
    readonly element: HTMLElement;
    readonly #id: string;
    readonly #fields: Record<string, HTMLInputElement>;
    readonly #hints: Record<string, string | null> = {};

    /** `fields`: by the names that the API has for them. */
    constructor(id: string, fields: Record<string, HTMLInputElement>) {
        this.#id = id;
        this.#fields = fields;
        this.element = h("p", { class: "alert", role: "alert", id });
        for (const [member, field] of Object.entries(fields)) {
            this.#hints[member] = field.getAttribute("aria-describedby");
            set(field, "oninput", () => this.clear());
        }
    }

    clear(): void {
        this.#mark("");
        say(this.element, "");
    }

    /** Said under that member's field, which is gone to; or above `otherwise`, where there is none. */
    say(text: string, member: string, otherwise?: HTMLElement): void {
        const field = this.#fields[member];
        this.#mark(member);
        if (field) field.after(this.element);
        else otherwise?.before(this.element);
        say(this.element, text);
        (field ?? otherwise)?.focus();
    }

    tell(error: HttpError, otherwise: HTMLElement): void {
        this.say(tellError(error.status === 503 ? "BUSY" : error.code, error.message, error.retryAfterS || 1),
            memberOf(error), otherwise);
    }

    #mark(wrong: string): void {
        for (const [member, field] of Object.entries(this.#fields)) {
            const hint = this.#hints[member];
            set(field, "aria-invalid", member === wrong ? "true" : null);
            set(field, "aria-describedby",
                member === wrong ? [hint, this.#id].filter(Boolean).join(" ") : hint);
        }
    }
}
