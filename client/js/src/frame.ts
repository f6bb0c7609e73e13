/** The frame: sixteen bytes before each body. */

import { LIMITS } from "./limits.js";
import * as wire from "./wire.js";

export const HEADER_LEN = 16;
const MAGIC = 0x414e;
const VERSION = 1;
const CODEC = 1;

export const Command = {
    LOGIN: 1, LOGOUT: 2, HEARTBEAT: 3, SEND: 4, CONFIRM: 5, SYNC: 6, HISTORY: 7,
    EVENT: 64, RECEIPT: 65, GOODBYE: 66,
} as const;

/** What is asked by a command and what answers it. */
export const REQUESTS = {
    [Command.LOGIN]: [wire.Login, wire.LoginOk],
    [Command.LOGOUT]: [wire.Logout, wire.LogoutOk],
    [Command.HEARTBEAT]: [wire.Heartbeat, wire.HeartbeatOk],
    [Command.SEND]: [wire.Send, wire.SendOk],
    [Command.CONFIRM]: [wire.Confirm, wire.ConfirmOk],
    [Command.SYNC]: [wire.Sync, wire.SyncOk],
    [Command.HISTORY]: [wire.History, wire.HistoryOk],
} as const;
export type Asked = keyof typeof REQUESTS;

export interface Frame {
    readonly command: number;
    readonly answer: boolean;
    readonly error: boolean;
    readonly request: number;
    readonly body: Uint8Array;
}

export function packFrame(command: number, request: number, body: Uint8Array) {
    const data = new Uint8Array(HEADER_LEN + body.length);
    const view = new DataView(data.buffer);
    view.setUint16(0, MAGIC);
    view.setUint8(2, VERSION);
    view.setUint8(3, CODEC);
    view.setUint16(4, command);
    view.setUint32(8, request);
    view.setUint32(12, body.length);
    data.set(body, HEADER_LEN);
    return data;
}

/** The frames of a WebSocket message, whole ones. Throws when they are not what they should be. */
export function* unpackFrames(data: ArrayBuffer): Generator<Frame> {
    for (let at = 0; at < data.byteLength; ) {
        const view = new DataView(data, at);
        if (view.byteLength < HEADER_LEN) throw new RangeError("a message ends inside a header");
        const flags = view.getUint16(6);
        const length = view.getUint32(12);
        if (view.getUint16(0) !== MAGIC || view.getUint8(2) !== VERSION ||
            view.getUint8(3) !== CODEC || flags > 3 || flags === 2) {
            throw new RangeError("a frame's header is not one of this protocol");
        }
        if (HEADER_LEN + length > Math.min(view.byteLength, LIMITS.frameIn)) {
            throw new RangeError(`a frame of ${length} bytes in a message that has fewer`);
        }
        yield {
            command: view.getUint16(4),
            answer: (flags & 1) !== 0,
            error: (flags & 2) !== 0,
            request: view.getUint32(8),
            body: new Uint8Array(data, at + HEADER_LEN, length),
        };
        at += HEADER_LEN + length;
    }
}
