/** Where browsers keep a position. */

import type { CursorStore, Position } from "./types.js";

/**
 * A `CursorStore` in an item of `localStorage` (or what you give): one key for each user and device.
 */
export function storageCursor(key: string, storage: Storage = localStorage): CursorStore {
    return {
        load() {
            const text = storage.getItem(key);
            return text === null ? undefined : (JSON.parse(text) as Position);
        },
        save(position) {
            storage.setItem(key, JSON.stringify(position));
        },
    };
}
