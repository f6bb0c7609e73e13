/** What can go wrong, as values with the numbers and names of docs/protocol.md. */

import { ERRORS } from "./codes.js";

/** The names this version knows; a newer server may say others. */
export type ErrorName = keyof typeof ERRORS;

/** Whose fault it is. */
export type Category =
    | "auth" | "permission" | "not found" | "conflict" | "busy" | "invalid" | "internal";

/** What to do: the same later; mend the request, the token or the id first; nothing. */
export type Handling = "retry" | "fix" | "give up";

/** The numbers by name: `error.code === Code.USER_NOT_FOUND`. */
export const Code = Object.freeze(
    Object.fromEntries(Object.entries(ERRORS).map(([name, [code]]) => [name, code])),
) as { readonly [N in ErrorName]: (typeof ERRORS)[N][0] };

const BY_CODE = new Map(Object.entries(ERRORS).map(([name, row]) => [row[0] as number, { name, row }]));

/** Everything the client reports is one of these. `message` is one English sentence, for people. */
export class AnserError extends Error {
    /** Stable: the same on the wire, in every language and in every version. */
    readonly code: number;
    /** "USER_NOT_FOUND". */
    override readonly name: string;
    readonly category: Category;
    readonly handling: Handling;
    /** Not before so long; 0: not said. */
    readonly retryAfterMs: number;

    private constructor(
        code: number, name: string, category: Category, handling: Handling, text: string,
        retryAfterMs: number, cause?: unknown,
    ) {
        super(text, cause === undefined ? undefined : { cause });
        this.code = code;
        this.name = name;
        this.category = category;
        this.handling = handling;
        this.retryAfterMs = retryAfterMs;
    }

    /** The same may succeed later. */
    get retry(): boolean {
        return this.handling === "retry";
    }

    /** An error of this library's, or of a program's own `token` function. */
    static of(name: ErrorName, text?: string, cause?: unknown): AnserError {
        const [code, category, handling, sentence] = ERRORS[name];
        return new AnserError(code, name, category, handling, text ?? sentence, 0, cause);
    }

    /** An `Error` or `Goodbye` of a server. Its `retry` counts, whether or not we know the number. */
    static told(code: number, name: string, text: string, retry: boolean, after: number): AnserError {
        const known = BY_CODE.get(code);
        const handling = retry ? "retry" : known?.row[2] ?? "give up";
        return new AnserError(
            code, name || known?.name || "UNKNOWN", known?.row[1] ?? "internal",
            handling === "retry" && !retry ? "give up" : handling,
            text || known?.row[3] || "", after,
        );
    }
}
