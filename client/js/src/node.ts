/** What Node gets: the same, with `ws` where there is no global WebSocket, and cursors in files. */

import { webcrypto } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

import { Client as AnyClient } from "./client.js";
import type { CursorStore, Options, Position, WebSocketConstructor } from "./types.js";

export * from "./index.js";

// Node 18 has it under another name.
(globalThis as { crypto?: unknown }).crypto ??= webcrypto;

async function find(): Promise<WebSocketConstructor | undefined> {
    if (globalThis.WebSocket) return globalThis.WebSocket as unknown as WebSocketConstructor;
    try {
        return (await import("ws")).WebSocket as unknown as WebSocketConstructor;
    } catch {
        return undefined; // not installed: the constructor says so unless one is handed in
    }
}
const webSocket = await find();

export class Client extends AnyClient {
    constructor(options: Options) {
        super(webSocket ? { webSocket, ...options } : options);
    }
}

/** A `CursorStore` in a small file, replaced as a whole and synced. Its folder must exist. */
export function fileCursor(path: string): CursorStore {
    return {
        load() {
            try {
                return JSON.parse(readFileSync(path, "utf8")) as Position;
            } catch (error) {
                if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
                throw error;
            }
        },
        save(position) {
            const file = openSync(`${path}.new`, "w", 0o600);
            try {
                writeSync(file, JSON.stringify(position) + "\n");
                fsyncSync(file);
            } finally {
                closeSync(file);
            }
            renameSync(`${path}.new`, path);
            const folder = openSync(dirname(path), "r");
            try {
                fsyncSync(folder);
            } finally {
                closeSync(folder);
            }
        },
    };
}
