/** Texts, names and message ids, as bytes and back. */

import { LIMITS } from "./limits.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const utf8 = (text: string): Uint8Array => encoder.encode(text);
export const textOf = (data: Uint8Array): string => decoder.decode(data);

/** Has it no half of a surrogate pair, so that it survives UTF-8? */
export const wellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text);

/** A user, device or app name as docs/protocol.md allows it. */
export function nameValid(name: unknown): name is string {
    return (
        typeof name === "string" && name.length > 0 && utf8(name).length <= LIMITS.nameBytes &&
        wellFormed(name) && !/[\u0000-\u0020\u007f-\u009f/"]/.test(name)
    );
}

/** 16 bytes of a UUIDv7 that was made at this Unix time. */
export function uuid7(timeMs: number): Uint8Array {
    const id = crypto.getRandomValues(new Uint8Array(16));
    const view = new DataView(id.buffer);
    view.setUint32(0, Math.floor(timeMs / 0x10000));
    view.setUint16(4, timeMs % 0x10000);
    id[6] = (id[6]! & 0x0f) | 0x70;
    id[8] = (id[8]! & 0x3f) | 0x80;
    return id;
}

/** "019aa569-e9c0-7c3e-9d2f-0123456789ab"; "" for what is no id. */
export function idText(id: Uint8Array): string {
    if (id.length !== 16) return "";
    const hex = Array.from(id, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** The 16 bytes; undefined when the text is no UUIDv7. */
export function idOf(text: string): Uint8Array | undefined {
    const hex = text.replaceAll("-", "");
    if (!/^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/i.test(hex)) return undefined;
    return Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16));
}
