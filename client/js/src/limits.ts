/** Every bound of the client. Those that `Options` can change are defaults. */
export const LIMITS = {
    addresses: 16,
    window: 64,
    pending: 1024,
    pendingBytes: 16 * 1024 * 1024,
    sendAttempts: 16,
    /** Far below the 24 hours for which the server remembers an id. */
    sendTimeoutMs: 10 * 60_000,
    backoffMinMs: 200,
    backoffMaxMs: 30_000,
    /** A server's wish to wait is cut here. */
    retryAfterMaxMs: 300_000,
    /** Online for so long: the next pause is the shortest again. */
    stableMs: 5_000,
    /** Login included. */
    connectTimeoutMs: 10_000,
    /** Longer than the server waits inside. */
    answerTimeoutMs: 15_000,
    /** One Confirm for a burst. */
    confirmDelayMs: 50,
    /** Nobody waits for the Confirm of one's own message. */
    confirmOwnDelayMs: 2_000,
    /** Between refusals of a Sync, a Confirm or a History: from, doubling to. */
    askAgainMinMs: 100,
    askAgainMaxMs: 5_000,
    /** Positions in one Confirm: what the server takes. */
    positions: 100,
    /** An answer still due may fill a hole; then Sync is asked. */
    holeWaitMs: 200,
    /** Own messages whose inbox entry follows; more: handed over too. */
    ownIds: 1024,
    /** Entries held back behind a hole or a pause; more: asked again. */
    held: 256,
    heldBytes: 4 * 1024 * 1024,
    /** What a page of Sync may bring: none is asked for that would find no room. */
    pageEntries: 100,
    pageBytes: 512 * 1024,
    /** Sent messages followed until delivered; more: not followed. */
    followed: 4096,
    /** Bytes of their bodies. */
    followedBytes: 16 * 1024 * 1024,
    /** Missed delivered marks are asked for after so long, doubling to. */
    followMinMs: 15_000,
    followMaxMs: 600_000,
    /** Receipts that may overtake the answer to their message. */
    early: 64,
    /** Conversations whose delivered mark is remembered. */
    conversations: 4096,
    /** History questions not yet answered. */
    histories: 16,
    historyAttempts: 5,
    frameIn: 1024 * 1024,
    /** Unwritten output above which no message is added. */
    outputHighBytes: 256 * 1024,
    /** Tokens of a function that are refused in a row. */
    tokenTries: 3,
    nameBytes: 64,
    /** What holds when a server does not say it. */
    heartbeatMs: 10_000,
    bodyBytes: 65_536,
};
