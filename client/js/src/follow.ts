/**
 * What becomes of sent messages. Receipts are hints and may be lost or overtake the answer;
 * delivered marks only grow, so a missed one is healed by the next, and by asking the history.
 */

import { LIMITS } from "./limits.js";
import type { Item } from "./outbox.js";

export const DELIVERED = 1;
export const STORED = 2;

export interface FollowEvents {
    told(item: Item): void;
    delivered(peer: string, seq: number): void;
}

export class Following {
    readonly #events: FollowEvents;
    readonly #marks = new Map<string, number>();
    readonly #sent = new Map<string, Item[]>();
    readonly #early: { peer: string; seq: number }[] = [];
    #count = 0;
    #bytes = 0;
    #pauseMs = LIMITS.followMinMs;
    /** When missed marks are to be asked for. */
    askAt = Infinity;

    constructor(events: FollowEvents) {
        this.#events = events;
    }

    /** It was answered: from now on it is followed until it is delivered. */
    add(item: Item, now: number): void {
        if (this.#count >= LIMITS.followed || this.#bytes >= LIMITS.followedBytes) return;
        const list = this.#sent.get(item.to) ?? [];
        this.#sent.set(item.to, list);
        list.push(item);
        this.#count++;
        this.#bytes += item.body.length;
        const early = this.#early.findIndex((e) => e.peer === item.to && e.seq === item.seq);
        if (early >= 0) {
            this.#early.splice(early, 1);
            this.#stored(item);
        }
        this.#deliver(item.to);
        if (this.#count > 0 && this.askAt === Infinity) {
            this.#pauseMs = LIMITS.followMinMs;
            this.askAt = now + this.#pauseMs;
        }
    }

    receipt(peer: string, seq: number, kind: number): void {
        if (kind === DELIVERED) this.delivered(peer, seq);
        if (kind !== STORED) return;
        const item = this.#sent.get(peer)?.find((one) => one.seq === seq);
        if (item) {
            this.#stored(item);
        } else {
            this.#early.push({ peer, seq });
            if (this.#early.length > LIMITS.early) this.#early.shift();
        }
    }

    /** The devices of `peer` have everything up to `seq`. */
    delivered(peer: string, seq: number): void {
        if (seq <= (this.#marks.get(peer) ?? 0)) return;
        this.#marks.delete(peer);
        this.#marks.set(peer, seq);
        if (this.#marks.size > LIMITS.conversations) {
            this.#marks.delete(this.#marks.keys().next().value!); // it may be told once more
        }
        this.#deliver(peer);
        this.#events.delivered(peer, seq);
    }

    online(now: number): void {
        if (this.#count === 0) return;
        this.#pauseMs = LIMITS.followMinMs;
        this.askAt = now;
    }

    /** The conversations to be asked for; rarer and rarer while the peers are away. */
    asking(now: number): string[] {
        this.askAt = this.#count > 0 ? now + this.#pauseMs : Infinity;
        this.#pauseMs = Math.min(this.#pauseMs * 2, LIMITS.followMaxMs);
        return [...this.#sent.keys()];
    }

    #stored(item: Item): void {
        if (item.state !== "sent") return;
        item.state = "stored";
        this.#events.told(item);
    }

    #deliver(peer: string): void {
        const mark = this.#marks.get(peer) ?? 0;
        const list = this.#sent.get(peer) ?? [];
        const rest = list.filter((item) => item.seq > mark);
        if (rest.length === list.length) return;
        this.#count -= list.length - rest.length;
        if (rest.length > 0) this.#sent.set(peer, rest);
        else this.#sent.delete(peer);
        for (const item of list) {
            if (item.seq > mark) continue;
            this.#bytes -= item.body.length;
            item.state = "delivered";
            this.#events.told(item);
        }
    }
}
