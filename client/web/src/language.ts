/** The switch between the page's languages. */

import { h } from "./dom.js";
import { chooseLanguage, type Language, language, LANGUAGES, t } from "./i18n.js";

export function languageSwitch(changed: () => void): HTMLElement {
    return h("div", { class: "languages", role: "group", "aria-label": t("language") },
        ...Object.entries(LANGUAGES).map(([code, name]) => h("button", {
            type: "button", lang: code, "aria-pressed": String(code === language()),
            onclick: () => {
                chooseLanguage(code as Language);
                changed();
            },
        }, name)));
}
