/** The calls of the HTTP interface (docs/http.md) that the page makes. */

/** What the server said, by name; "NETWORK" when it said nothing. */
export class HttpError extends Error {
    constructor(
        readonly status: number, readonly code: string, text: string, readonly retryAfterS: number,
    ) {
        super(text);
    }
    /** It may be another answer later. */
    get passing(): boolean {
        return this.status === 0 || this.code === "NETWORK" || this.status === 429 || this.status >= 500;
    }
    static of(fault: unknown): HttpError {
        return fault instanceof HttpError ? fault : new HttpError(0, "OTHER", String(fault), 0);
    }
}

export interface Grant {
    readonly token: string;
    /** `Date.now()` from which on the token is not to be used. */
    readonly until: number;
    readonly refresh: string;
    readonly gates: readonly string[];
}

export interface Device {
    readonly device: string;
    readonly platform: string;
    /** Unix ms, 0: not known. */
    readonly used: number;
    readonly active: boolean;
}

const TIMEOUT_MS = 15_000;

async function call(method: string, path: string, token: string, body?: object): Promise<any> {
    const headers: Record<string, string> = {};
    if (token) headers["Authorization"] = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    let response: Response;
    let text: string;
    try {
        response = await fetch(path, {
            method, headers, body: body ? JSON.stringify(body) : null, cache: "no-store",
            credentials: "omit", redirect: "error", keepalive: path === "/v1/logout", signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        text = await response.text();
    } catch (fault) {
        throw new HttpError(0, "NETWORK", String(fault), 0);
    }
    let answer: any;
    try {
        answer = text ? JSON.parse(text) : {};
    } catch {
        throw new HttpError(response.status, "NETWORK", "the answer is no JSON", 0);
    }
    if (response.ok) return answer;
    const after = Number(response.headers.get("Retry-After")) || 0;
    const { name, message } = answer.error ?? {};
    throw new HttpError(response.status, name ?? `HTTP ${response.status}`, message ?? "", after);
}

function grant(answer: any): Grant {
    return {
        token: answer.token,
        until: Date.now() + (Number(answer.expires_in) || 300) * 1000,
        refresh: answer.refresh_token ?? "",
        gates: usable((answer.gates ?? []).map((gate: any) => gate.url ?? gate)),
    };
}

/**
 * The gates that this page may speak to: a secure page only to secure ones, but for this machine;
 * and a gate that listens everywhere is reached where the page came from.
 */
export function usable(urls: readonly string[], page: Location = location): string[] {
    const found: string[] = [];
    for (const text of urls) {
        if (!/^wss?:/.test(text)) continue;
        const url = new URL(text);
        if (url.hostname === "0.0.0.0" || url.hostname === "[::]") url.hostname = page.hostname;
        const local = /^(localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname);
        if (page.protocol === "https:" && url.protocol === "ws:" && !local) continue;
        found.push(url.href);
    }
    const first = page.protocol === "https:" ? "wss:" : "ws:"; // whose certificate is no question
    return found.sort((a, b) => Number(b.startsWith(first)) - Number(a.startsWith(first))).slice(0, 16);
}

export const http = {
    async register(name: string, password: string): Promise<void> {
        await call("POST", "/v1/register", "", { user: name, password });
    },
    async login(name: string, password: string, device: string): Promise<Grant> {
        return grant(await call("POST", "/v1/login", "", {
            user: name, password, device, platform: "web",
        }));
    },
    async refresh(refresh: string, device: string): Promise<Grant> {
        return grant(await call("POST", "/v1/refresh", "", { refresh_token: refresh, device }));
    },
    async logout(token: string): Promise<void> {
        await call("POST", "/v1/logout", token, {});
    },
    async gates(token: string): Promise<string[]> {
        const { gates } = await call("GET", "/v1/gates", token);
        return usable((gates ?? []).map((gate: any) => gate.url ?? gate));
    },
    async devices(token: string): Promise<Device[]> {
        const { devices } = await call("GET", "/v1/devices", token);
        return (devices ?? []).map((one: any) => ({
            device: one.device, platform: one.platform ?? "",
            used: Number(one.used_ms ?? 0), active: one.active !== false,
        }));
    },
    async removeDevice(token: string, device: string): Promise<void> {
        await call("DELETE", `/v1/devices/${encodeURIComponent(device)}`, token);
    },
    async password(token: string, before: string, password: string): Promise<Grant> {
        return grant(await call("POST", "/v1/password", token, { old_password: before, password }));
    },
};
