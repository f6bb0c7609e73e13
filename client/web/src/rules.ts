/** What the server takes as a name and as a password (docs/http.md): lengths are bytes of UTF-8. */

const NAME = /^[^\s/"\u0000-\u001f\u007f-\u009f]+$/u;

export function byteLength(text: string): number {
    return new TextEncoder().encode(text).length;
}

export function isName(text: string): boolean {
    return NAME.test(text) && byteLength(text) <= 64;
}

export function isPassword(text: string): boolean {
    const count = byteLength(text);
    return count >= 8 && count <= 256;
}
