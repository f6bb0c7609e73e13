/** Where the page begins. */

import type { AnserError } from "anser-client";

import { App } from "./app.js";
import { fill } from "./dom.js";
import { HttpError } from "./http.js";
import { findLanguage, t, tellError } from "./i18n.js";
import { type Kept, type Session, Windows } from "./session.js";
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

function options(notice: string, user: string, redraw: () => void, elsewhere?: Kept): SignIn {
    return {
        notice, user, elsewhere, redraw,
        done: (session) => void run(session),
        takeOver: (kept) => {
            windows.take(kept.device);
            void begin();
        },
    };
}

function signIn(notice: string, user: string): void {
    const view = signView(options(notice, user, () => signIn(notice, user)));
    fill(page, view);
    view.querySelector<HTMLElement>(user ? "#password" : "#name")!.focus();
}

/** Another window goes on with it. */
function leftTo(kept: Kept, moved: boolean): void {
    fill(page, elsewhereView(options("", "", () => leftTo(kept, moved)), kept, moved));
}

async function run(session: Session): Promise<void> {
    current = session;
    windows.hold(session.device);
    app = new App(session, { over: (why) => over(session, why) });
    try {
        await app.open();
    } catch (fault) {
        void app.close();
        if (fault instanceof HttpError) {
            over(session, undefined, tellError(fault.code, fault.message));
        } else {
            over(session, undefined, tellError("OTHER", String(fault)));
        }
    }
}

function over(session: Session, why: AnserError | undefined, notice = ""): void {
    app = undefined;
    windows.hold("");
    if (why?.name === "REPLACED") return leftTo(session.kept, true);
    if (why) {
        session.ended();
        // The page's own token function tells the HTTP error's name in the text.
        const name = why.name === "TOKEN_INVALID" ? why.message : why.name;
        notice = /^(REFRESH_REUSED|KICKED|USER_FORBIDDEN|USER_DELETED)$/.test(name)
            ? tellError(name, why.message) : t("ended");
    }
    signIn(notice, why || notice ? session.user : "");
}

async function begin(): Promise<void> {
    const { session, elsewhere } = await windows.find();
    if (session) await run(session);
    else if (elsewhere) leftTo(elsewhere, false);
    else signIn("", "");
}

findLanguage();
document.title = t("title");
void begin();
