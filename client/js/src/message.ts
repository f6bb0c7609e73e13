import { idText, nameValid, textOf } from "./text.js";
import { type Message, Type } from "./types.js";
import type { Body, Message as Schema } from "./wire.js";

/** Who reads a message. */
export interface Reader {
    readonly user: string;
    readonly device: string;
}

/** Throws when it lacks what every message has. */
export function messageOf(wire: Body<typeof Schema>, inboxSeq: number, reader: Reader): Message {
    const { messageId, seq, timeMs, from, to, fromDevice, type } = wire;
    if (seq === 0 || !nameValid(from) || !nameValid(to)) {
        throw new RangeError("a message without its names or its number");
    }
    const own = from === reader.user;
    return {
        messageId, seq, inboxSeq, timeMs, from, to, fromDevice, type, own,
        peer: own ? to : from,
        ownDevice: own && fromDevice === reader.device,
        clientMsgId: idText(wire.clientMsgId),
        body: wire.body.slice(), // not a view that would keep the whole page
        text: type === Type.TEXT ? textOf(wire.body) : "",
    };
}
