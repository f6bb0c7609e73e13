import { backoff } from "./backoff.js";
import type { AnserError } from "./errors.js";
import { LIMITS } from "./limits.js";

/** One question at a time, and when it may be asked again. */
export class Asking {
    busy = false;
    notBefore = 0;
    #refusals = 0;

    /** Refused for now, or answered with nothing. */
    refused(now: number, error?: AnserError): void {
        const pause = backoff(this.#refusals++, LIMITS.askAgainMinMs, LIMITS.askAgainMaxMs);
        this.notBefore = now + Math.max(pause, error?.retryAfterMs ?? 0);
    }

    answered(): void {
        this.#refusals = this.notBefore = 0;
    }

    lost(): void {
        this.busy = false;
        this.answered();
    }
}
