/** A pause that doubles, drawn from its upper half so that a crowd does not come back at once. */
export function backoff(level: number, minMs: number, maxMs: number): number {
    const pause = Math.min(minMs * 2 ** Math.min(level, 30), maxMs);
    return pause * (0.5 + Math.random() / 2);
}
