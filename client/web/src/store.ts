/**
 * What this window keeps over a reload: the list of conversations, their newest messages, what was
 * written and not yet sent, and the place in the inbox. One IndexedDB database for each session of
 * a user who stays signed in. For one who does not, or without IndexedDB, the window keeps a little
 * in `sessionStorage` and reads the inbox from its beginning each time.
 */

import type { CursorStore, Position } from "anser-client";

export interface LineRecord {
    readonly peer: string;
    readonly seq: number;
    readonly from: string;
    readonly type: number;
    readonly text: string;
    readonly size: number;
    readonly timeMs: number;
}

export interface TalkRecord {
    readonly peer: string;
    readonly head: number;
    readonly read: number;
    readonly delivered: number;
    readonly unread: number;
    readonly last: LineRecord | undefined;
}

export interface OutRecord {
    readonly id: string;
    readonly peer: string;
    readonly text: string;
    readonly timeMs: number;
    /** "": it was never on its way. */
    readonly clientMsgId: string;
}

export interface Store extends CursorStore {
    talks(): Promise<TalkRecord[]>;
    /** In the order they were written. */
    outgoing(): Promise<OutRecord[]>;
    /** When it resolves both are kept, or none. */
    keep(talk: TalkRecord, lines: readonly LineRecord[]): Promise<void>;
    putOut(record: OutRecord): Promise<void>;
    dropOut(id: string): Promise<void>;
    /** Newest first, those with `seq` below. */
    lines(peer: string, below: number, count: number): Promise<LineRecord[]>;
    /** The server began anew: what was kept of it is void. */
    clear(): Promise<void>;
    /** Everything goes, and the store is not used again. */
    destroy(): Promise<void>;
}

const LINES_MAX = 500; // of each conversation; the rest is in the history

function done<T>(request: IDBRequest<T>): Promise<T> {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
}

class Database implements Store {
    readonly #db: IDBDatabase;

    constructor(db: IDBDatabase) {
        this.#db = db;
        db.onversionchange = () => db.close(); // another window deletes it
    }

    #write(stores: string[], work: (t: IDBTransaction) => void): Promise<void> {
        return new Promise((resolve, reject) => {
            const t = this.#db.transaction(stores, "readwrite");
            t.oncomplete = () => resolve();
            t.onerror = t.onabort = () => reject(t.error);
            work(t);
        });
    }

    talks(): Promise<TalkRecord[]> {
        return done(this.#db.transaction("talks").objectStore("talks").getAll());
    }
    async outgoing(): Promise<OutRecord[]> {
        const all = await done<OutRecord[]>(this.#db.transaction("out").objectStore("out").getAll());
        return all.sort((a, b) => (a.id < b.id ? -1 : 1));
    }
    keep(talk: TalkRecord, lines: readonly LineRecord[]): Promise<void> {
        return this.#write(["talks", "lines"], (t) => {
            t.objectStore("talks").put(talk);
            const store = t.objectStore("lines");
            for (const line of lines) store.put(line);
            if (lines.length > 0 && talk.head > LINES_MAX) {
                store.delete(IDBKeyRange.bound([talk.peer, 0], [talk.peer, talk.head - LINES_MAX]));
            }
        });
    }
    putOut(record: OutRecord): Promise<void> {
        return this.#write(["out"], (t) => t.objectStore("out").put(record));
    }
    dropOut(id: string): Promise<void> {
        return this.#write(["out"], (t) => t.objectStore("out").delete(id));
    }
    lines(peer: string, below: number, count: number): Promise<LineRecord[]> {
        return new Promise((resolve, reject) => {
            const found: LineRecord[] = [];
            const range = IDBKeyRange.bound([peer, 0], [peer, below], false, true);
            const request = this.#db.transaction("lines").objectStore("lines").openCursor(range, "prev");
            request.onerror = () => reject(request.error);
            request.onsuccess = () => {
                const cursor = request.result;
                // A hole ends it: what is shown has none.
                if (!cursor || found.length === count ||
                    (found.length > 0 && cursor.value.seq !== found.at(-1)!.seq - 1)) {
                    return resolve(found);
                }
                found.push(cursor.value);
                cursor.continue();
            };
        });
    }
    load(): Promise<Position | undefined> {
        return done(this.#db.transaction("place").objectStore("place").get("inbox"))
            .then((position) => position ?? BEGINNING);
    }
    save(position: Position): Promise<void> {
        return this.#write(["place"], (t) => t.objectStore("place").put(position, "inbox"));
    }
    clear(): Promise<void> {
        return this.#write(["talks", "lines"], (t) => {
            t.objectStore("talks").clear();
            t.objectStore("lines").clear();
        });
    }
    async destroy(): Promise<void> {
        this.#db.close();
        await done(indexedDB.deleteDatabase(this.#db.name));
    }
}

const BEGINNING: Position = { generation: "0", next: 1, marks: {} };

/** What a window needs to show itself again: what was read, and what was not yet sent. */
class Brief implements Store {
    readonly #key: string;
    #read: Record<string, number> = {};
    #out: OutRecord[] = [];

    constructor(device: string) {
        this.#key = `anser.brief.${device}`;
        const kept = JSON.parse(sessionStorage.getItem(this.#key) ?? "null");
        if (kept) ({ read: this.#read, out: this.#out } = kept);
    }

    #save(): void {
        sessionStorage.setItem(this.#key, JSON.stringify({ read: this.#read, out: this.#out }));
    }

    async talks() {
        return Object.entries(this.#read).map(([peer, read]) => (
            { peer, head: 0, read, delivered: 0, unread: 0, last: undefined }));
    }
    async outgoing() {
        return this.#out;
    }
    async keep(talk: TalkRecord) {
        if (this.#read[talk.peer] === talk.read) return;
        this.#read[talk.peer] = talk.read;
        this.#save();
    }
    async putOut(record: OutRecord) {
        this.#out = [...this.#out.filter((one) => one.id !== record.id), record];
        this.#save();
    }
    async dropOut(id: string) {
        this.#out = this.#out.filter((one) => one.id !== id);
        this.#save();
    }
    async lines() {
        return [];
    }
    async load() {
        return BEGINNING;
    }
    async save() {}
    async clear() {
        this.#read = {};
        this.#save();
    }
    async destroy() {
        sessionStorage.removeItem(this.#key);
    }
}

/** `stay`: keep it in this browser. */
export async function openStore(user: string, device: string, stay: boolean): Promise<Store> {
    if (!stay) return new Brief(device);
    try {
        const request = indexedDB.open(`anser/${user}/${device}`, 1);
        request.onupgradeneeded = () => {
            const db = request.result;
            db.createObjectStore("talks", { keyPath: "peer" });
            db.createObjectStore("lines", { keyPath: ["peer", "seq"] });
            db.createObjectStore("out", { keyPath: "id" });
            db.createObjectStore("place");
        };
        return new Database(await done(request));
    } catch {
        return new Brief(device); // a private window, a full disk: it works, and forgets
    }
}
