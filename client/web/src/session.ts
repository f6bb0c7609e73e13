/**
 * Who is signed in in this window. A window is a device: its session (user, device, refresh token)
 * is kept in `localStorage` when the user wants to stay signed in, else in `sessionStorage`, which
 * ends with the window. `sessionStorage` also says which session is this window's, so that two
 * windows of one browser may be two people. README.md says why it is so.
 */

import { type Grant, http, HttpError } from "./http.js";

export interface Kept {
    readonly user: string;
    readonly device: string;
    /** "": the server has ended it; the device's messages are still here. */
    refresh: string;
    gates: readonly string[];
    /** When the user signed in, `Date.now()`. */
    readonly since: number;
}

const PREFIX = "anser.session.";
const MINE = "anser.device";
const NOTICE = "anser.notice";
const SPARE_MS = 20_000; // a token is renewed so long before its end
const ASK_MS = 150;

function read(storage: Storage, key: string): Kept | undefined {
    try {
        const kept = JSON.parse(storage.getItem(key) ?? "null");
        return kept && kept.user && kept.device ? kept : undefined;
    } catch {
        return undefined;
    }
}

/** A name for this browser that says something in a list of devices: "firefox-linux-3k7q2a". */
export function nameDevice(agent: string = navigator.userAgent): string {
    const browser = /Edg\//.test(agent) ? "edge" : /Firefox\//.test(agent) ? "firefox"
        : /Chrom/.test(agent) ? "chrome" : /Safari\//.test(agent) ? "safari" : "web";
    const system = /Android/.test(agent) ? "android" : /iPhone|iPad/.test(agent) ? "ios"
        : /Windows/.test(agent) ? "windows" : /Mac/.test(agent) ? "mac" : "linux";
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    const tail = [...bytes].map((byte) => "0123456789abcdefghijkmnpqrstvwxyz"[byte & 31]).join("");
    return `${browser}-${system}-${tail}`;
}

export class Session {
    #grant: Grant | undefined;
    #renewing: Promise<Grant> | undefined;
    #changing: Promise<void> | undefined;
    #forgotten = false;

    constructor(readonly kept: Kept, readonly stay: boolean, grant?: Grant) {
        this.#grant = grant;
        this.#save();
        sessionStorage.setItem(MINE, kept.device);
    }

    get user(): string {
        return this.kept.user;
    }
    get device(): string {
        return this.kept.device;
    }

    /** Signs in by password. A device that this user had here goes on where it was. */
    static async signIn(user: string, password: string, stay: boolean): Promise<Session> {
        const before = stay ? keptSessions().find((one) => one.user === user && !one.refresh) : undefined;
        const device = before?.device ?? nameDevice();
        const grant = await http.login(user, password, device);
        const { refresh, gates } = grant;
        const since = before?.since ?? Date.now();
        return new Session({ user, device, refresh, gates, since }, stay, grant);
    }

    /**
     * A token that is good for a while; renewed when it must be. `refused`: that one was not
     * accepted. Throws HttpError.
     */
    async token(refused = ""): Promise<string> {
        await this.#changing; // what comes of it is the next token
        const grant = this.#grant;
        if (grant && grant.token !== refused && Date.now() < grant.until - SPARE_MS) return grant.token;
        this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
        return (await this.#renewing).token;
    }

    async #renew(): Promise<Grant> {
        this.#grant = undefined;
        try {
            this.#take(await http.refresh(this.kept.refresh, this.device));
            return this.#grant!;
        } catch (fault) {
            if (fault instanceof HttpError && !fault.passing) this.ended();
            throw fault;
        }
    }

    /** Kept before it is used: the old one is void from now on. */
    #take(grant: Grant): void {
        this.#grant = grant;
        this.kept.refresh = grant.refresh || this.kept.refresh;
        if (grant.gates.length > 0) this.kept.gates = grant.gates;
        this.#save();
    }

    /** Where the gates are, or were when the server was last heard. Throws HttpError. */
    async gates(): Promise<readonly string[]> {
        try {
            const gates = await http.gates(await this.token());
            if (gates.length > 0) this.kept.gates = gates;
            this.#save();
        } catch (fault) {
            if (!(fault instanceof HttpError) || !fault.passing || this.kept.gates.length === 0) throw fault;
        }
        return this.kept.gates;
    }

    /** The server will not renew it: the user has to sign in, and finds everything as it was. */
    ended(): void {
        this.kept.refresh = "";
        this.#grant = undefined;
        this.#save();
    }

    /** Other devices have to sign in anew; this one goes on with what the answer grants. */
    async changePassword(before: string, password: string): Promise<void> {
        const token = await this.token();
        const change = http.password(token, before, password).then((grant) => this.#take(grant));
        // The server ends our connection before we have its answer: who asks for a token waits.
        this.#changing = change.catch(() => undefined).finally(() => (this.#changing = undefined));
        await change;
    }

    /** Forgets, and tells the server if it can be told. */
    async signOut(): Promise<void> {
        const token = this.token();
        this.forget();
        await token.then((it) => http.logout(it)).catch(() => undefined);
    }

    /** Nothing of it is kept in this browser from now on. */
    forget(): void {
        this.#forgotten = true;
        localStorage.removeItem(PREFIX + this.device);
        sessionStorage.removeItem(PREFIX + this.device);
        sessionStorage.removeItem(MINE);
    }

    #save(): void {
        if (this.#forgotten) return;
        (this.stay ? localStorage : sessionStorage)
            .setItem(PREFIX + this.device, JSON.stringify(this.kept));
    }
}

/** Why a session ended that was this window's: said until somebody signs in or puts it away. */
export interface Notice {
    readonly code: string;
    readonly user: string;
}

export const notice = {
    get(): Notice | undefined {
        return JSON.parse(sessionStorage.getItem(NOTICE) ?? "null") ?? undefined;
    },
    keep(said: Notice): void {
        sessionStorage.setItem(NOTICE, JSON.stringify(said));
    },
    drop(): void {
        sessionStorage.removeItem(NOTICE);
    },
};

function keptSessions(): Kept[] {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).sort()
        .map((key) => read(localStorage, key)).filter((kept) => kept !== undefined);
}

/** What this window may go on with. */
export interface Found {
    readonly session?: Session;
    /** Signed in, in another window of this browser: may be taken over. */
    readonly elsewhere?: Kept;
}

/** Windows of one browser tell each other which devices they are. */
export class Windows {
    readonly #channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("anser") : undefined;
    readonly #self = crypto.getRandomValues(new Uint32Array(2)).join("-");
    readonly #held = new Set<string>();
    #mine = "";

    /** `taken`: another window goes on with this one's session. */
    constructor(taken: () => void) {
        if (!this.#channel) return;
        this.#channel.onmessage = ({ data }) => {
            if (data.from === this.#self) return;
            if (data.ask && this.#mine) this.#tell({ held: this.#mine });
            if (data.held) this.#held.add(data.held);
            if (data.take && data.take === this.#mine) {
                this.#mine = "";
                taken();
            }
        };
    }

    #tell(what: object): void {
        this.#channel?.postMessage({ ...what, from: this.#self });
    }

    /** This window is that device from now on; "" : none. */
    hold(device: string): void {
        this.#mine = device;
    }

    /** Another window that is this device lets go of it. */
    take(device: string): void {
        this.#tell({ take: device });
    }

    /** The session of this window, or one that no window has. */
    async find(): Promise<Found> {
        const mine = sessionStorage.getItem(MINE) ?? "";
        const own = read(sessionStorage, PREFIX + mine);
        const kept = keptSessions().filter((one) => one.refresh);
        if (!own && kept.length === 0) return {};
        this.#held.clear();
        this.#tell({ ask: true });
        await new Promise((done) => setTimeout(done, this.#channel ? ASK_MS : 0));
        if (own?.refresh && !this.#held.has(own.device)) return { session: new Session(own, false) };
        const free = kept.filter((one) => !this.#held.has(one.device));
        const next = free.find((one) => one.device === mine) ?? free[0];
        if (next) return { session: new Session(next, true) };
        return { elsewhere: kept.find((one) => one.device === mine) ?? kept[0]! };
    }
}
