/** The account: language, devices, password, signing out. */

import type { Chat } from "./chat.js";
import { fill, h, icon, say } from "./dom.js";
import { Faults } from "./form.js";
import { type Device, http, HttpError } from "./http.js";
import { t, tellError, when } from "./i18n.js";
import { languageSwitch } from "./language.js";
import { isPassword } from "./rules.js";
import type { Session } from "./session.js";
import { avatar } from "./side.js";

export interface Account {
    readonly chat: Chat;
    readonly session: Session;
    signOut(): void;
    redraw(): void;
}

function told(fault: unknown): string {
    return fault instanceof HttpError ? tellError(fault.code, fault.message, fault.retryAfterS || 1)
        : tellError("OTHER", String(fault));
}

/** `online`: it can be asked again what could not be had. */
export function accountView(account: Account): { element: HTMLElement; online(): void } {
    const { session } = account;
    const list = devices(account);
    const heading = h("h1", { tabindex: -1 }, t("account"));
    const element = h("section", { class: "you", "aria-label": t("account") },
        h("header", {}, h("a", { class: "back", href: "#/", "aria-label": t("back") }, icon("back")),
            heading),
        h("div", { class: "scroll" },
            h("div", { class: "sheet self" }, avatar(session.user),
                h("div", {}, h("p", { class: "hint" }, t("signedInAs")), h("p", { class: "name" }, session.user)),
                languageSwitch(account.redraw)),
            list.element, password(account, list.draw), leave(account)));
    return { element, online: () => void list.draw() };
}

function devices({ session }: Account): { element: HTMLElement; draw(): Promise<void> } {
    const list = h("ul", { class: "devices" });
    const status = h("p", { class: "answer", role: "status" });
    let failed = false;
    const draw = async () => {
        try {
            const all = await http.devices(await session.token());
            if (failed) say(status, "");
            failed = false;
            fill(list, ...all.filter((one) => one.active || one.device === session.device)
                .sort((a, b) => b.used - a.used).map((device) => row(device)));
        } catch (fault) {
            failed = true;
            say(status, told(fault));
        }
    };
    const row = (device: Device) => {
        const mine = device.device === session.device;
        const phone = /ios|android/.test(`${device.platform} ${device.device}`);
        const notes = [device.platform,
            device.used > 0 && t("lastUsed", { when: when(device.used) })];
        return h("li", {}, icon(phone ? "phone" : "screen"),
            h("div", {}, h("p", { class: "name" }, device.device),
                h("p", { class: "hint" }, notes.filter(Boolean).join(" · "))),
            mine ? h("span", { class: "tag" }, t("thisDevice"))
                : h("button", { class: "plain", type: "button",
                    "aria-label": `${t("remove")} ${device.device}`,
                    onclick: () => void remove(device.device) }, t("remove")));
    };
    const remove = async (device: string) => {
        try {
            await http.removeDevice(await session.token(), device);
            say(status, t("removed", { name: device }));
        } catch (fault) {
            say(status, told(fault));
        }
        await draw();
    };
    void draw();
    const element = h("div", { class: "sheet" }, h("h2", {}, t("devices")),
        h("p", { class: "hint" }, t("devicesHint")), list, status);
    return { element, draw };
}

/** `changed`: other devices were ended. */
function password({ session }: Account, changed: () => void): HTMLElement {
    const status = h("p", { class: "answer", role: "status" });
    const before = h("input", { id: "old", type: "password", autocomplete: "current-password", required: true });
    const fresh = h("input", {
        id: "new", type: "password", autocomplete: "new-password", required: true, "aria-describedby": "new-hint",
    });
    const faults = new Faults("change-alert", { old_password: before, password: fresh });
    const button = h("button", { type: "submit", class: "plain" }, t("change"));
    const submit = async (event: SubmitEvent) => {
        event.preventDefault();
        if (button.disabled) return;
        say(status, "");
        faults.clear();
        if (!before.value) return faults.say(t("passwordMissing"), "old_password");
        if (!isPassword(fresh.value)) return faults.say(tellError("PASSWORD_LENGTH", ""), "password");
        button.disabled = true;
        say(button, t("working"));
        const error = await session.changePassword(before.value, fresh.value).then(() => undefined, HttpError.of);
        button.disabled = false;
        say(button, t("change"));
        if (error?.code === "PASSWORD_WRONG") return faults.say(t("oldPasswordWrong"), "old_password");
        if (error) return faults.tell(error, button);
        say(status, t("changed"));
        before.value = fresh.value = "";
        changed();
    };
    return h("details", { class: "sheet" }, h("summary", {}, h("h2", {}, t("changePassword"))),
        h("form", { onsubmit: submit, novalidate: true },
            h("input", { type: "text", name: "username", autocomplete: "username", value: session.user,
                hidden: true }),
            h("label", { for: "old" }, t("oldPassword")), before,
            h("label", { for: "new" }, t("newPassword")), fresh,
            h("p", { class: "hint", id: "new-hint" }, t("passwordHint")),
            faults.element, button, status));
}

function leave({ chat, signOut }: Account): HTMLElement {
    return h("div", { class: "sheet" },
        h("button", { class: "plain danger", type: "button", onclick: () => {
            let waiting = 0;
            for (const talk of chat.talks.values()) waiting += talk.waiting.length;
            if (waiting === 0 || confirm(t("signOutWaiting", { n: waiting }))) signOut();
        } }, t("signOut")),
        h("p", { class: "hint" }, t("signOutHint")));
}
