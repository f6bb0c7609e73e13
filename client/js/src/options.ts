/** What the program has given, checked and completed. */

import { AnserError } from "./errors.js";
import { LIMITS } from "./limits.js";
import { nameValid, utf8, wellFormed } from "./text.js";
import type { Options, WebSocketConstructor } from "./types.js";

const PLATFORMS = ["ios", "android", "windows", "mac", "linux", "web", "api"];

function argument(text: string): AnserError {
    return AnserError.of("ARGUMENT", text);
}

function isAddress(address: string): boolean {
    try {
        return /^wss?:$/.test(new URL(address).protocol);
    } catch {
        return false;
    }
}

/** Throws ARGUMENT, DEVICE_NAME. */
export function complete(options: Options) {
    const addresses =
        typeof options.addresses === "string" ? [options.addresses] : [...options.addresses];
    const webSocket =
        options.webSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
    const platform = options.platform ?? (typeof document === "undefined" ? "api" : "web");
    const client = options.clientName ?? "anser-js 0.1";
    const number = (name: keyof Options, otherwise: number): number => {
        const value = options[name] ?? otherwise;
        if (!Number.isSafeInteger(value) || (value as number) <= 0) {
            throw argument(`${name} is no number above 0`);
        }
        return value as number;
    };
    if (addresses.length < 1 || addresses.length > LIMITS.addresses) {
        throw argument(`1 to ${LIMITS.addresses} addresses`);
    }
    for (const address of addresses) {
        if (!isAddress(address)) throw argument(`not ws://HOST:PORT: ${address}`);
    }
    if (!webSocket) throw argument("there is no WebSocket here: install ws, or hand one in");
    if (typeof options.token !== "string" && typeof options.token !== "function") {
        throw argument("token is neither a text nor a function");
    }
    if (!nameValid(options.device)) throw AnserError.of("DEVICE_NAME");
    if (!PLATFORMS.includes(platform)) throw argument(`not a platform: ${platform}`);
    if (utf8(client).length > LIMITS.nameBytes || !wellFormed(client)) {
        throw argument(`clientName has more than ${LIMITS.nameBytes} bytes`);
    }
    return {
        addresses, webSocket, platform, client,
        handlers: options, // read at each call: a program may put other functions there
        token: options.token,
        device: options.device,
        cursor: options.cursor,
        sendOnly: options.sendOnly ?? false,
        receiving: !options.sendOnly && options.onMessage !== undefined,
        following: !options.sendOnly && (options.onSend ?? options.onDelivered) !== undefined,
        window: number("window", LIMITS.window),
        pendingMax: number("pendingMax", LIMITS.pending),
        sendAttemptsMax: number("sendAttemptsMax", LIMITS.sendAttempts),
        sendTimeoutMs: number("sendTimeoutMs", LIMITS.sendTimeoutMs),
        backoffMinMs: number("backoffMinMs", LIMITS.backoffMinMs),
        backoffMaxMs: number("backoffMaxMs", LIMITS.backoffMaxMs),
        connectTimeoutMs: number("connectTimeoutMs", LIMITS.connectTimeoutMs),
        answerTimeoutMs: number("answerTimeoutMs", LIMITS.answerTimeoutMs),
        confirmDelayMs: number("confirmDelayMs", LIMITS.confirmDelayMs),
    };
}

export type Settings = ReturnType<typeof complete>;
