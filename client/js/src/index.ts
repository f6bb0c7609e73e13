/** A client for Anser. Node gets node.ts, which adds to this. */

export { Client } from "./client.js";
export { storageCursor } from "./cursor.js";
export { AnserError, Code } from "./errors.js";
export type { Category, ErrorName, Handling } from "./errors.js";
export { Type } from "./types.js";
export type {
    CursorStore, Handlers, HistoryQuery, Message, Options, Outgoing, Page, Position, SendOptions,
    SendState, State, TokenSource, WebSocketConstructor, WebSocketLike,
} from "./types.js";
