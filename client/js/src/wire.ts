/**
 * The messages of proto/client.proto as tables, over the reader and the writer of
 * @bufbuild/protobuf: its generated classes would be four fifths of a page's bundle. A test
 * compares the tables with the schema.
 */

import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { textOf, utf8 } from "./text.js";

/** How a value of type T is written and read. */
export interface Kind<T> {
    readonly wire: WireType;
    readonly zero: () => T;
    readonly empty: (value: T) => boolean;
    readonly read: (reader: BinaryReader, before: T) => T;
    readonly write: (writer: BinaryWriter, no: number, value: T) => void;
}

export type Fields = Record<string, readonly [number, Kind<any>]>;
export type BodyOf<F extends Fields> = {
    [K in keyof F]: F[K][1] extends Kind<infer T> ? T : never;
};

function scalar<T>(
    wire: WireType, zero: T, read: (reader: BinaryReader) => T,
    write: (writer: BinaryWriter, value: T) => BinaryWriter,
): Kind<T> {
    return {
        wire, zero: () => zero, empty: (value) => value === zero, read,
        write: (writer, no, value) => void write(writer.tag(no, wire), value),
    };
}

/** A 64-bit number that is counted, and never comes near 2^53. */
function counted(value: bigint | string): number {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw new RangeError(`too large a number: ${value}`);
    return number;
}

const bool = scalar(WireType.Varint, false, (r) => r.bool(), (w, v) => w.bool(v));
const u32 = scalar(WireType.Varint, 0, (r) => r.uint32(), (w, v) => w.uint32(v));
const u64 = scalar(WireType.Varint, 0, (r) => counted(r.uint64()), (w, v) => w.uint64(v));
const time = scalar(WireType.Bit64, 0, (r) => counted(r.fixed64()), (w, v) => w.fixed64(v));
/** A 64-bit number that only names something: decimal digits. */
const id = scalar(WireType.Bit64, "0", (r) => String(r.fixed64()), (w, v) => w.fixed64(v));
const bytes: Kind<Uint8Array> = {
    ...scalar(WireType.LengthDelimited, new Uint8Array(), (r) => r.bytes(), (w, v) => w.bytes(v)),
    empty: (value) => value.length === 0,
};
const text = scalar(
    WireType.LengthDelimited, "", (r) => textOf(r.bytes()), (w, v) => w.bytes(utf8(v)),
);

function one<F extends Fields>(schema: Schema<F>): Kind<BodyOf<F> | undefined> {
    return {
        wire: WireType.LengthDelimited, zero: () => undefined, empty: (v) => v === undefined,
        read: (reader) => schema.read(reader.bytes()),
        write: (w, no, v) => void w.tag(no, WireType.LengthDelimited).bytes(schema.write(v!)),
    };
}

function many<F extends Fields>(schema: Schema<F>): Kind<BodyOf<F>[]> {
    return {
        wire: WireType.LengthDelimited, zero: () => [], empty: (list) => list.length === 0,
        read: (reader, before) => (before.push(schema.read(reader.bytes())), before),
        write: (writer, no, list) => {
            for (const v of list) writer.tag(no, WireType.LengthDelimited).bytes(schema.write(v));
        },
    };
}

export class Schema<F extends Fields> {
    readonly #byNumber: Map<number, readonly [string, Kind<unknown>]>;

    constructor(readonly fields: F) {
        this.#byNumber = new Map(Object.entries(fields).map(([k, [no, kind]]) => [no, [k, kind]]));
    }

    /** Fields that are not known are passed over. Throws when it is no protobuf message. */
    read(data: Uint8Array): BodyOf<F> {
        const body: Record<string, unknown> = {};
        for (const [name, kind] of this.#byNumber.values()) body[name] = kind.zero();
        const reader = new BinaryReader(data);
        while (reader.pos < reader.len) {
            const [no, wire] = reader.tag();
            const field = this.#byNumber.get(no);
            if (field && field[1].wire === wire) {
                body[field[0]] = field[1].read(reader, body[field[0]]);
            } else {
                reader.skip(wire, no);
            }
        }
        return body as BodyOf<F>;
    }

    write(body: Partial<BodyOf<F>>): Uint8Array {
        const writer = new BinaryWriter();
        for (const [name, [no, kind]] of Object.entries(this.fields)) {
            const value = body[name];
            if (value !== undefined && !kind.empty(value)) kind.write(writer, no, value);
        }
        return writer.finish();
    }
}

export const Login = new Schema({
    token: [1, text], device: [2, text], platform: [3, text], sendOnly: [4, bool],
    client: [5, text],
});
export const LoginOk = new Schema({
    user: [1, text], serverTimeMs: [2, time], inboxGeneration: [3, id], inboxFirst: [4, u64],
    inboxHead: [5, u64], cursor: [6, u64], heartbeatMs: [7, u32], idleMs: [8, u32],
    bodyLenMax: [9, u32], frameLenMax: [10, u32], sendsMax: [11, u32],
});
export const Heartbeat = new Schema({});
export const HeartbeatOk = new Schema({
    serverTimeMs: [1, time], inboxGeneration: [2, id], inboxHead: [3, u64], headEvent: [4, bytes],
});
export const Send = new Schema({
    to: [1, text], clientMsgId: [2, bytes], type: [3, u32], body: [4, bytes], trace: [5, id],
});
export const SendOk = new Schema({
    clientMsgId: [1, bytes], seq: [2, u64], messageId: [3, id], timeMs: [4, time],
    inboxSeq: [5, u64],
});
export const Position = new Schema({ peer: [1, text], seq: [2, u64] });
export const Confirm = new Schema({
    inboxSeq: [1, u64], delivered: [2, many(Position)], inboxGeneration: [3, id],
});
export const ConfirmOk = new Schema({ inboxSeq: [1, u64] });
export const Message = new Schema({
    messageId: [1, id], seq: [2, u64], timeMs: [3, time], from: [4, text], to: [5, text],
    fromDevice: [6, text], clientMsgId: [7, bytes], type: [8, u32], body: [9, bytes],
});
export const Event = new Schema({
    inboxSeq: [1, u64], message: [2, one(Message)], inboxGeneration: [3, id],
});
export const Sync = new Schema({ after: [1, u64], limit: [2, u32], inboxGeneration: [3, id] });
export const SyncOk = new Schema({
    events: [1, many(Event)], head: [2, u64], first: [3, u64], completed: [4, bool],
    inboxGeneration: [5, id],
});
export const History = new Schema({
    peer: [1, text], before: [2, u64], after: [3, u64], oldestFirst: [4, bool], limit: [5, u32],
});
export const HistoryOk = new Schema({
    messages: [1, many(Message)], head: [2, u64], completed: [3, bool], peerDelivered: [4, u64],
    ownDelivered: [5, u64], generation: [6, id],
});
export const Logout = new Schema({});
export const LogoutOk = new Schema({});
export const Receipt = new Schema({ peer: [1, text], seq: [2, u64], kind: [3, u32] });
/** The server's Error, and Goodbye, which shares its fields. */
export const Refusal = new Schema({
    code: [1, u32], name: [2, text], text: [3, text], retry: [4, bool], retryAfterMs: [5, u32],
    clientMsgId: [6, bytes],
});

export type Body<S> = S extends Schema<infer F> ? BodyOf<F> : never;
