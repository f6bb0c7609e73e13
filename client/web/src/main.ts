/** Where the page begins. */

import type { AnserError } from "anser-client";

import { App } from "./app.js";
import { fill } from "./dom.js";
import { HttpError } from "./http.js";
import { findLanguage, t, tellError } from "./i18n.js";
import { type Kept, notice, type Session, Windows } from "./session.js";
import { elsewhereView, type SignIn, signView } from "./sign.js";

const page = document.querySelector("#page")!;
let app: App | undefined;
let current: Session | undefined;

const windows = new Windows(() => {
    const kept = current!.kept;
    void app?.close();
    app = undefined;
    leftTo(kept, true);
});

/** Another device of this user has it, or the operator: it may go on later, with what is here. */
const PAUSED = /^(REFRESH_REUSED|KICKED|USER_FORBIDDEN)$/;
/** The server will have no more of this device: nothing of it stays in this browser. */
const VOID = /^(REFRESH_INVALID|TOKEN_REVOKED|USER_DELETED)$/;

/** Why the session ended that this window had. */
function ending(): string {
    const code = notice.get()?.code;
    return !code ? "" : code === "USER_DELETED" || PAUSED.test(code) ? tellError(code, "")
        : VOID.test(code) ? tellError("REVOKED", "") : t("ended");
}

function options(said: () => string, user: string, elsewhere?: Kept): SignIn {
    return {
        said, user, elsewhere,
        dismiss: () => notice.drop(),
        done: (session) => {
            notice.drop();
            void run(session);
        },
        takeOver: (kept) => {
            windows.take(kept.device);
            void begin();
        },
    };
}

function signIn(said: () => string, user: string): void {
    const view = signView(options(said, user));
    fill(page, view);
    view.querySelector<HTMLElement>(user ? "#password" : "#name")!.focus();
}

/** Another window goes on with it. */
function leftTo(kept: Kept, moved: boolean): void {
    fill(page, elsewhereView(options(() => "", "", kept), kept, moved, () => leftTo(kept, moved)));
}

async function run(session: Session): Promise<void> {
    current = session;
    windows.hold(session.device);
    const mine = app = new App(session, { over: (why) => over(mine, session, why) });
    try {
        await app.open();
    } catch (fault) {
        const { code, message, passing } = HttpError.of(fault);
        void mine.close();
        if (!session.kept.refresh && !passing) return over(mine, session, { name: code, message });
        windows.hold("");
        signIn(() => tellError(code, message), session.user);
    }
}

/** It is over: by the user's own wish, or for the reason of that name. */
function over(gone: App, session: Session, why: Pick<AnserError, "name" | "message"> | undefined): void {
    app = undefined;
    windows.hold("");
    if (why?.name === "REPLACED") return leftTo(session.kept, true);
    if (!why) return signIn(() => "", "");
    // The page's own token function tells the HTTP error's name in the text.
    const code = why.name === "TOKEN_INVALID" ? why.message : why.name;
    if (VOID.test(code)) {
        session.forget();
        void gone.clear();
    } else {
        session.ended();
    }
    notice.keep({ code, user: session.user });
    signIn(ending, session.user);
}

async function begin(): Promise<void> {
    const said = notice.get();
    if (said) return signIn(ending, said.user);
    const { session, elsewhere } = await windows.find();
    if (session) await run(session);
    else if (elsewhere) leftTo(elsewhere, false);
    else signIn(() => "", "");
}

findLanguage();
document.title = t("title");
void begin();
