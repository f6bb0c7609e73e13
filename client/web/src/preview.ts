/** A message in a few words, where its body cannot be shown whole. */

import { Type } from "anser-client";

import { bytes, t } from "./i18n.js";

export function preview(message: { type: number; text: string; size?: number }): string {
    const size = bytes(message.size ?? 0);
    switch (message.type) {
        case Type.TEXT: return message.text;
        case Type.PICTURE: return t("picture", { size });
        case Type.FILE: return t("file", { size });
        case Type.RED_PACKET: return t("packet");
        default: return t("unknown", { size });
    }
}
