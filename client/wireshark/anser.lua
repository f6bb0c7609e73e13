-- Anser's client protocol (docs/protocol.md) for Wireshark and tshark, 3.6 or newer.
-- README.md beside it says how to load it; tables.py writes the tables below from the schema.

-- tables: begin
local MESSAGES = {
    Login = { abbr = "login", fields = {
        [1] = { name = "token", kind = "text", note = "JWT, see docs/protocol.md" },
        [2] = { name = "device", kind = "text", note = "1..64 bytes, chosen by the client, stable for one installation" },
        [3] = { name = "platform", kind = "text", note = "ios android windows mac linux web api; empty means api" },
        [4] = { name = "send_only", kind = "bool", note = "no pushes wanted; does not replace the same device's connection" },
        [5] = { name = "client", kind = "text", note = "name and version of the client software, for the operator" },
    } },
    LoginOk = { abbr = "login_ok", fields = {
        [1] = { name = "user", kind = "text" },
        [2] = { name = "server_time_ms", kind = "fixed64", means = "time", note = "Unix time; stamp client_msg_ids with it" },
        [3] = { name = "inbox_generation", kind = "fixed64", note = "0: nothing was ever stored for this user" },
        [4] = { name = "inbox_first", kind = "uint64", note = "oldest inbox seq still held (head + 1 when none is)" },
        [5] = { name = "inbox_head", kind = "uint64", note = "newest inbox seq, 0 when none" },
        [6] = { name = "cursor", kind = "uint64", note = "what this device has confirmed; Sync after it" },
        [7] = { name = "heartbeat_ms", kind = "uint32", means = "ms" },
        [8] = { name = "idle_ms", kind = "uint32", means = "ms" },
        [9] = { name = "body_len_max", kind = "uint32" },
        [10] = { name = "frame_len_max", kind = "uint32" },
        [11] = { name = "sends_max", kind = "uint32", note = "unanswered Sends of a connection" },
    } },
    Heartbeat = { abbr = "heartbeat", fields = {
    } },
    HeartbeatOk = { abbr = "heartbeat_ok", fields = {
        [1] = { name = "server_time_ms", kind = "fixed64", means = "time" },
        [2] = { name = "inbox_generation", kind = "fixed64" },
        [3] = { name = "inbox_head", kind = "uint64", note = "as last read by the gate; above yours: Sync" },
        [4] = { name = "head_event", kind = "message Event", note = "while unconfirmed: the newest Event, packed (may be empty)" },
    } },
    Send = { abbr = "send", fields = {
        [1] = { name = "to", kind = "text", note = "the other user's name; one's own is allowed" },
        [2] = { name = "client_msg_id", kind = "uuid", note = "16 bytes, UUIDv7; the same for every retry of this message" },
        [3] = { name = "type", kind = "uint32", means = "type", note = "1 text (UTF-8), 2 picture, 3 file, 4 red packet; others pass" },
        [4] = { name = "body", kind = "body", note = "1..65536 bytes" },
        [5] = { name = "trace", kind = "fixed64", means = "hex", note = "0: the gate picks one" },
    } },
    SendOk = { abbr = "send_ok", fields = {
        [1] = { name = "client_msg_id", kind = "uuid" },
        [2] = { name = "seq", kind = "uint64", note = "in the conversation, from 1, no gaps" },
        [3] = { name = "message_id", kind = "fixed64" },
        [4] = { name = "time_ms", kind = "fixed64", means = "time" },
        [5] = { name = "inbox_seq", kind = "uint64", note = "of the sender's own inbox entry; 0: follows as an Event" },
    } },
    Position = { abbr = "position", fields = {
        [1] = { name = "peer", kind = "text", note = "names the conversation" },
        [2] = { name = "seq", kind = "uint64" },
    } },
    Confirm = { abbr = "confirm", fields = {
        [1] = { name = "inbox_seq", kind = "uint64" },
        [2] = { name = "delivered", kind = "message Position", note = "highest seq received, of each conversation that moved" },
        [3] = { name = "inbox_generation", kind = "fixed64" },
    } },
    ConfirmOk = { abbr = "confirm_ok", fields = {
        [1] = { name = "inbox_seq", kind = "uint64", note = "the device's cursor now; never moves back" },
    } },
    Sync = { abbr = "sync", fields = {
        [1] = { name = "after", kind = "uint64" },
        [2] = { name = "limit", kind = "uint32", note = "0: the server's maximum" },
        [3] = { name = "inbox_generation", kind = "fixed64", note = "0: not known; another than the server's: RESET" },
    } },
    SyncOk = { abbr = "sync_ok", fields = {
        [1] = { name = "events", kind = "message Event" },
        [2] = { name = "head", kind = "uint64" },
        [3] = { name = "first", kind = "uint64", note = "above after + 1: older entries are gone, see History" },
        [4] = { name = "completed", kind = "bool", note = "the last event returned is the head" },
        [5] = { name = "inbox_generation", kind = "fixed64" },
    } },
    History = { abbr = "history", fields = {
        [1] = { name = "peer", kind = "text" },
        [2] = { name = "before", kind = "uint64", note = "seq < before (0: no bound), newest first" },
        [3] = { name = "after", kind = "uint64", note = "with oldest_first: seq > after, oldest first" },
        [4] = { name = "oldest_first", kind = "bool" },
        [5] = { name = "limit", kind = "uint32", note = "0: the server's maximum" },
    } },
    HistoryOk = { abbr = "history_ok", fields = {
        [1] = { name = "messages", kind = "message Message" },
        [2] = { name = "head", kind = "uint64", note = "newest seq of the conversation, 0 when empty" },
        [3] = { name = "completed", kind = "bool", note = "nothing further in the asked direction" },
        [4] = { name = "peer_delivered", kind = "uint64", note = "highest seq the peer has confirmed as delivered" },
        [5] = { name = "own_delivered", kind = "uint64" },
        [6] = { name = "generation", kind = "fixed64" },
    } },
    Logout = { abbr = "logout", fields = {
    } },
    LogoutOk = { abbr = "logout_ok", fields = {
    } },
    Message = { abbr = "message", fields = {
        [1] = { name = "message_id", kind = "fixed64" },
        [2] = { name = "seq", kind = "uint64" },
        [3] = { name = "time_ms", kind = "fixed64", means = "time", note = "Unix time, never goes back within a conversation" },
        [4] = { name = "from", kind = "text" },
        [5] = { name = "to", kind = "text" },
        [6] = { name = "from_device", kind = "text" },
        [7] = { name = "client_msg_id", kind = "uuid" },
        [8] = { name = "type", kind = "uint32", means = "type" },
        [9] = { name = "body", kind = "body" },
    } },
    Event = { abbr = "event", fields = {
        [1] = { name = "inbox_seq", kind = "uint64" },
        [2] = { name = "message", kind = "message Message" },
        [3] = { name = "inbox_generation", kind = "fixed64" },
    } },
    Receipt = { abbr = "receipt", fields = {
        [1] = { name = "peer", kind = "text" },
        [2] = { name = "seq", kind = "uint64" },
        [3] = { name = "kind", kind = "enum ReceiptKind" },
    } },
    Error = { abbr = "error", fields = {
        [1] = { name = "code", kind = "uint32", means = "error" },
        [2] = { name = "name", kind = "text" },
        [3] = { name = "text", kind = "text" },
        [4] = { name = "retry", kind = "bool" },
        [5] = { name = "retry_after_ms", kind = "uint32", means = "ms" },
        [6] = { name = "client_msg_id", kind = "uuid", note = "of a refused Send" },
    } },
    Goodbye = { abbr = "goodbye", fields = {
        [1] = { name = "code", kind = "uint32", means = "error" },
        [2] = { name = "name", kind = "text" },
        [3] = { name = "text", kind = "text" },
        [4] = { name = "retry", kind = "bool" },
        [5] = { name = "retry_after_ms", kind = "uint32", means = "ms" },
    } },
}
local ENUMS = {
    ReceiptKind = {
        [0] = "RECEIPT_NONE",
        [1] = "RECEIPT_DELIVERED",
        [2] = "RECEIPT_STORED",
    },
}
local COMMANDS = {
    [1] = { request = "Login", answer = "LoginOk" },
    [2] = { request = "Logout", answer = "LogoutOk" },
    [3] = { request = "Heartbeat", answer = "HeartbeatOk" },
    [4] = { request = "Send", answer = "SendOk" },
    [5] = { request = "Confirm", answer = "ConfirmOk" },
    [6] = { request = "Sync", answer = "SyncOk" },
    [7] = { request = "History", answer = "HistoryOk" },
    [64] = { push = "Event" },
    [65] = { push = "Receipt" },
    [66] = { push = "Goodbye" },
}
local TYPES = {
    [1] = "text",
    [2] = "picture",
    [3] = "file",
    [4] = "red packet",
}
local ERRORS = {
    [0] = "OK",
    [100] = "LOGIN_REQUIRED",
    [101] = "TOKEN_INVALID",
    [102] = "TOKEN_EXPIRED",
    [103] = "TOKEN_NOT_YET",
    [104] = "TOKEN_AUDIENCE",
    [105] = "TOKEN_KEY",
    [106] = "REPLACED",
    [107] = "LOGIN_TWICE",
    [108] = "LOGIN_TIMEOUT",
    [109] = "TOKEN_REVOKED",
    [110] = "TOKEN_DEVICE",
    [111] = "TOKEN_APP",
    [112] = "TOKEN_ALGORITHM",
    [113] = "TOKEN_UNSIGNED",
    [114] = "KICKED",
    [115] = "PASSWORD_WRONG",
    [116] = "REFRESH_INVALID",
    [117] = "REFRESH_REUSED",
    [118] = "SIGNATURE_MISSING",
    [119] = "SIGNATURE_KEY",
    [120] = "SIGNATURE_EXPIRED",
    [121] = "SIGNATURE_WRONG",
    [122] = "SIGNATURE_REPLAYED",
    [200] = "FORBIDDEN",
    [201] = "USER_FORBIDDEN",
    [202] = "MUTED",
    [300] = "USER_NOT_FOUND",
    [301] = "NOT_FOUND",
    [302] = "USER_DELETED",
    [303] = "APP_UNKNOWN",
    [400] = "ID_CONFLICT",
    [401] = "ID_EXPIRED",
    [402] = "ID_TIME",
    [403] = "USER_EXISTS",
    [404] = "RESET",
    [405] = "CURSOR_AHEAD",
    [406] = "LOCKED",
    [407] = "WORKER_TAKEN",
    [408] = "TOO_MANY_DEVICES",
    [500] = "BUSY",
    [501] = "UNAVAILABLE",
    [502] = "EXPIRED",
    [503] = "ORDER",
    [504] = "DISK_FULL",
    [505] = "SLOW_CONSUMER",
    [506] = "IDLE",
    [507] = "SHUTTING_DOWN",
    [508] = "TIMEOUT",
    [509] = "TOO_MANY_CONNECTIONS",
    [510] = "DRAINING",
    [511] = "RATE",
    [512] = "ADDRESS_FULL",
    [513] = "TOO_MANY_TRIES",
    [600] = "FRAME_MAGIC",
    [601] = "FRAME_VERSION",
    [602] = "FRAME_TOO_LARGE",
    [603] = "FRAME_FLAGS",
    [604] = "CODEC",
    [605] = "COMMAND",
    [606] = "BODY_MALFORMED",
    [607] = "BODY_TOO_LARGE",
    [608] = "BODY_EMPTY",
    [609] = "UTF8",
    [610] = "ARGUMENT",
    [611] = "USER_NAME",
    [612] = "DEVICE_NAME",
    [613] = "CONFIG",
    [614] = "JSON",
    [615] = "METHOD",
    [616] = "CONTENT_TYPE",
    [617] = "PASSWORD_LENGTH",
    [700] = "INTERNAL",
    [701] = "FENCED",
    [702] = "GAP",
    [703] = "MOVED",
    [704] = "NOT_MINE",
    [705] = "IO",
    [706] = "CORRUPT",
    [707] = "NO_MEMORY",
    [708] = "ENVELOPE",
    [709] = "NOT_SUPPORTED",
    [710] = "CONNECTION",
    [711] = "FULL",
    [712] = "REWIND",
    [713] = "CLUSTER",
    [714] = "TLS",
}
local ERROR_TEXTS = {
    [0] = "no error",
    [100] = "log in before any other command",
    [101] = "the token's form or signature is not valid",
    [102] = "the token has expired",
    [103] = "the token is not valid yet",
    [104] = "the token was made for another audience",
    [105] = "the token names a key that is not accepted",
    [106] = "the same device logged in on another connection",
    [107] = "this connection is already logged in",
    [108] = "the connection did not log in in time",
    [109] = "the token was revoked; log in anew",
    [110] = "the token was issued to another device",
    [111] = "the token's key may not speak for this application or issuer",
    [112] = "the token's algorithm is not the one of its key",
    [113] = "the token is not signed",
    [114] = "a login on another device ended this one: the application's login policy",
    [115] = "the user name or the password is wrong",
    [116] = "the refresh token is not valid",
    [117] = "the refresh token was used before; the device is logged out",
    [118] = "the request is not signed: one of its Anser- headers is missing",
    [119] = "the request is signed with a key that is not known here",
    [120] = "the time in the signed request is too far from the server's",
    [121] = "the signature is not that of this request",
    [122] = "the signed request was seen before",
    [200] = "this user may not do that",
    [201] = "the user is forbidden",
    [202] = "the user is muted and may not send",
    [300] = "there is no user of that name",
    [301] = "there is no such thing",
    [302] = "the user is deleted",
    [303] = "no application of that name is served here",
    [400] = "this client message id was used with another body",
    [401] = "the client message id is older than the retry window",
    [402] = "the client message id is too far in the future",
    [403] = "a user of that name exists already",
    [404] = "the cursor belongs to another generation of the timeline",
    [405] = "the position lies beyond the end of the timeline",
    [406] = "another process holds the data directory",
    [407] = "another id generator owns this worker number",
    [408] = "the user has as many devices as one may have",
    [500] = "the server is overloaded; try again later",
    [501] = "the part that owns this is not reachable now",
    [502] = "the request ran out of time before it was handled",
    [503] = "an earlier message to this conversation must be sent again first",
    [504] = "the store has no disk space left; nothing was written",
    [505] = "the connection did not read its output in time",
    [506] = "the connection was silent for too long",
    [507] = "the server is stopping; connect again",
    [508] = "no answer came in time; the outcome is not known",
    [509] = "the gate holds as many connections as it may",
    [510] = "the gate asks its clients to connect elsewhere",
    [511] = "more requests of this kind than are taken in the time",
    [512] = "this address has as many connections as it may",
    [513] = "too many wrong passwords; wait as long as the answer says",
    [600] = "the frame does not begin with the protocol's magic",
    [601] = "the frame's protocol version is not supported",
    [602] = "the frame is longer than the limit",
    [603] = "the frame has reserved flags set",
    [604] = "the frame's body codec is not supported",
    [605] = "the frame's command is not known",
    [606] = "the body is not a valid message of its kind",
    [607] = "the message body is longer than the limit",
    [608] = "the message body is empty",
    [609] = "the text is not valid UTF-8",
    [610] = "an argument is missing or out of range",
    [611] = "the user name is not allowed",
    [612] = "the device name is not allowed",
    [613] = "the configuration is not valid",
    [614] = "the text is not one JSON object",
    [615] = "the path knows no such method",
    [616] = "the body's content type must be application/json",
    [617] = "a password has 8 to 256 bytes",
    [700] = "the server met a fault of its own",
    [701] = "another sequencer has claimed the slot",
    [702] = "the number is not the next one of its timeline",
    [703] = "the slot belongs to another sequencer",
    [704] = "the slot belongs to another store",
    [705] = "reading or writing a file failed",
    [706] = "stored data is damaged",
    [707] = "out of memory",
    [708] = "a bus message is malformed or from the wrong role",
    [709] = "this is not supported",
    [710] = "the connection could not be made or was lost",
    [711] = "a bounded queue or buffer is full",
    [712] = "the forwarded entry is not the next one",
    [713] = "the peer is of another cluster, or knows other stores for the slots",
    [714] = "the other side of the encrypted connection was not accepted",
}
-- tables: end

local HEADER_LEN = 16
local VERSION, CODEC_PROTOBUF = 1, 1
local ANSWER, ERROR = 1, 2
local LOGIN = 1
local CLIENT_FRAME_MAX, SERVER_FRAME_MAX = 69632, 1048576 -- header included

-- Of each body, what the packet list says beside its name.
local INFO = {
    Login = { "device", "client" }, LoginOk = { "user", "inbox_head" }, Send = { "to", "type" },
    SendOk = { "seq", "message_id" }, Confirm = { "inbox_seq" }, ConfirmOk = { "inbox_seq" },
    Sync = { "after", "limit" }, SyncOk = { "head" }, History = { "peer", "before", "after" },
    HistoryOk = { "head" }, HeartbeatOk = { "inbox_head" }, Event = { "inbox_seq", "from", "to", "seq" },
    Receipt = { "peer", "seq", "kind" },
}

local anser = Proto("anser", "Anser client protocol")
local anser_ws = Proto("anser_ws", "Anser client protocol in a WebSocket")

-- --- fields

local F = {}
local by_field = {} -- a field of the schema: its ProtoField

local function command_names()
    local names = {}
    for number, command in pairs(COMMANDS) do
        names[number] = command.request or command.push
    end
    return names
end

local function declare_header()
    F.magic = ProtoField.string("anser.magic", "Magic")
    F.version = ProtoField.uint8("anser.version", "Version")
    F.codec = ProtoField.uint8("anser.codec", "Codec", base.DEC, { [CODEC_PROTOBUF] = "protobuf" })
    F.command = ProtoField.uint16("anser.command", "Command", base.DEC, command_names())
    F.flags = ProtoField.uint16("anser.flags", "Flags", base.HEX)
    F.answer = ProtoField.bool("anser.flags.answer", "Answer", 16, nil, ANSWER)
    F.error = ProtoField.bool("anser.flags.error", "Error", 16, nil, ERROR)
    F.reserved = ProtoField.uint16("anser.flags.reserved", "Reserved", base.HEX, nil, 0xfffc)
    F.request = ProtoField.uint32("anser.request", "Request")
    F.length = ProtoField.uint32("anser.length", "Length of the body")
    F.tag = ProtoField.uint32("anser.tag", "Tag")
    F.unknown = ProtoField.bytes("anser.unknown", "Unknown field")
    F.undecoded = ProtoField.bytes("anser.undecoded", "Not decoded")
    F.response_in = ProtoField.framenum("anser.response_in", "Answer in", base.NONE,
        frametype.RESPONSE)
    F.response_to = ProtoField.framenum("anser.response_to", "Answer to", base.NONE,
        frametype.REQUEST)
    F.time = ProtoField.relative_time("anser.time", "Time since the request")
end

local NAMES = { error = ERRORS, type = TYPES }

local function proto_field(field, abbr)
    local kind, label, note = field.kind, field.name, field.note
    if kind == "text" then
        return ProtoField.string(abbr, label, base.UNICODE, note)
    elseif kind == "uuid" then
        return ProtoField.guid(abbr, label, base.NONE, note)
    elseif kind == "body" then
        return ProtoField.bytes(abbr, label, base.NONE, note)
    elseif kind == "bool" then
        return ProtoField.bool(abbr, label, base.NONE, nil, 0, note)
    elseif kind:find("^message ") then
        return ProtoField.none(abbr, label, note)
    elseif kind:find("^enum ") then
        return ProtoField.uint32(abbr, label, base.DEC, ENUMS[kind:sub(6)], 0, note)
    elseif kind:find("32$") then
        return ProtoField.uint32(abbr, label, base.DEC, NAMES[field.means], 0, note)
    end
    return ProtoField.uint64(abbr, label, field.means == "hex" and base.HEX or base.DEC, nil, 0,
        note)
end

local function declare_all()
    declare_header()
    local list = {}
    for name, message in pairs(MESSAGES) do
        F[name] = ProtoField.none("anser." .. message.abbr, name)
        for _, field in pairs(message.fields) do
            local abbr = "anser." .. message.abbr .. "." .. field.name
            by_field[field] = proto_field(field, abbr)
            table.insert(list, by_field[field])
            if field.kind == "body" then
                field.text = ProtoField.string(abbr .. ".text", "text", base.UNICODE)
                table.insert(list, field.text)
            end
        end
    end
    for _, field in pairs(F) do
        table.insert(list, field)
    end
    anser.fields = list
end
declare_all()

local function fault(name, text)
    return ProtoExpert.new("anser.fault." .. name, text, expert.group.MALFORMED,
        expert.severity.ERROR)
end
local function note(name, text, group, severity)
    return ProtoExpert.new("anser." .. name, text, group, severity)
end
local X = {
    magic = fault("magic", "FRAME_MAGIC: these bytes begin no frame"),
    version = fault("version", "FRAME_VERSION: not version 1"),
    flags = fault("flags", "FRAME_FLAGS: reserved flags are set, or flags that a client may not set"),
    length = fault("length", "FRAME_TOO_LARGE: the frame is longer than the limit"),
    cut = fault("cut", "The frame is not whole"),
    codec = fault("codec", "CODEC: the body's codec is not known"),
    body = fault("body", "BODY_MALFORMED: the body is not a message of its kind"),
    utf8 = fault("utf8", "UTF8: the text is not valid UTF-8"),
    uuid = fault("uuid", "ARGUMENT: not a UUIDv7 of 16 bytes"),
    command = note("new.command", "A command that this dissector does not know",
        expert.group.UNDECODED, expert.severity.WARN),
    unknown = note("new.field", "A field that this dissector does not know",
        expert.group.UNDECODED, expert.severity.NOTE),
    refused = note("refused", "The request was refused", expert.group.RESPONSE_CODE,
        expert.severity.NOTE),
    goodbye = note("closing", "The server closes the connection", expert.group.RESPONSE_CODE,
        expert.severity.NOTE),
}
local function declare_experts()
    local list = {}
    for _, x in pairs(X) do
        table.insert(list, x)
    end
    anser.experts = list
end
declare_experts()

anser.prefs.tcp_ports = Pref.range("TCP ports", "7400", "Ports of the plain protocol", 65535)
anser.prefs.tls_ports = Pref.range("TLS ports", "7401", "Ports of the protocol over TLS", 65535)
anser.prefs.wire = Pref.bool("Show protobuf's tags", false,
    "An item for the number, wire type and length before each field")

-- --- protobuf

-- The varint at `at`: its value and where it ends; nil when it does not end before `to`.
local function varint(tvb, at, to)
    local value = UInt64.new(0, 0)
    for i = 0, 9 do
        if at + i >= to then
            return nil
        end
        local byte = tvb(at + i, 1):uint()
        value = value:bor(UInt64.new(byte % 128, 0):lshift(7 * i))
        if byte < 128 then
            return value, at + i + 1
        end
    end
    return nil
end

-- Where a value of the wire type lies: its beginning, its end and, of a varint, its value.
local function value_at(tvb, wire, at, to)
    if wire == 0 then
        local value, stop = varint(tvb, at, to)
        return at, stop, value
    elseif wire == 1 then
        return at, at + 8
    elseif wire == 5 then
        return at, at + 4
    elseif wire == 2 then
        local len, start = varint(tvb, at, to)
        if len and len <= UInt64.new(to, 0) then
            return start, start + len:tonumber()
        end
    end
    return at, nil
end

-- The fields of a body in its order, and where it stops being one (nil: nowhere).
local function parse(tvb, at, to)
    local found = {}
    while at < to do
        local tag, start = varint(tvb, at, to)
        if not tag or tag:higher() ~= 0 or tag:lower() < 8 then
            return found, at
        end
        local number, wire = math.floor(tag:lower() / 8), tag:lower() % 8
        local from, stop, value = value_at(tvb, wire, start, to)
        if not stop or stop > to then
            return found, at
        end
        table.insert(found, { number = number, wire = wire, tag = tag:lower(), at = at,
            from = from, stop = stop, value = value })
        at = stop
    end
    return found, nil
end

local WIRES = { uint32 = 0, uint64 = 0, bool = 0, enum = 0, fixed64 = 1, fixed32 = 5 }
local function wire_of(field)
    return WIRES[field.kind:match("^%w+")] or 2
end

local function utc(ms)
    local seconds = math.floor(ms / 1000)
    if seconds > 253402300799 then -- the year 9999
        return nil
    end
    return os.date("!%Y-%m-%d %H:%M:%S", seconds) .. string.format(".%03d UTC", ms % 1000)
end

local show -- of a message, below

local function escaped(text)
    return (text:gsub("%c", function(c)
        return string.format("\\x%02x", c:byte())
    end))
end

-- A NUL would end what is shown.
local function show_text(tree, pfield, range)
    local text = range:len() > 0 and range:string(ENC_UTF_8) or ""
    local item = tree:add(pfield, range, text:find("\0", 1, true) and escaped(text) or text)
    if range:len() > 0 and text ~= range:raw() then
        item:add_proto_expert_info(X.utf8)
    end
    return escaped(text)
end

local function show_uuid(tree, pfield, range)
    if range:len() ~= 16 then
        tree:add(F.undecoded, range):add_proto_expert_info(X.uuid)
        return nil
    end
    local item = tree:add(pfield, range)
    local when = utc(range(0, 6):uint64():tonumber())
    if math.floor(range(6, 1):uint() / 16) == 7 and math.floor(range(8, 1):uint() / 64) == 2 then
        item:append_text(when and (" (made " .. when .. ")") or "")
    else
        item:add_proto_expert_info(X.uuid)
    end
    return nil
end

local function show_body(tree, field, range, is_text)
    local item = tree:add(by_field[field], range)
    if is_text then
        item:append_text(" (" .. show_text(item, field.text, range) .. ")")
    end
    return range:len() .. " bytes"
end

local function show_number(tree, field, range, value)
    local pfield = by_field[field]
    local kind = field.kind
    if kind == "bool" then
        local yes = value ~= UInt64.new(0, 0)
        tree:add(pfield, range, yes)
        return tostring(yes)
    elseif kind == "fixed64" then
        value = range:le_uint64()
    elseif kind == "fixed32" then
        value = UInt64.new(range:le_uint(), 0)
    end
    local item
    if kind == "uint64" or kind == "fixed64" then
        item = tree:add(pfield, range, value)
    else
        item = tree:add(pfield, range, value:lower())
    end
    if field.means == "time" then
        local when = utc(value:tonumber())
        item:append_text(when and (" (" .. when .. ")") or "")
    elseif field.means == "ms" then
        item:append_text(" ms")
    end
    local names = NAMES[field.means] or ENUMS[kind:match("^enum (%w+)")]
    return names and names[value:lower()] or tostring(value)
end

local function show_tag(tree, tvb, entry)
    if anser.prefs.wire then
        tree:add(F.tag, tvb(entry.at, entry.from - entry.at), entry.tag):append_text(
            string.format(" (field %d, wire type %d)", entry.number, entry.wire))
    end
end

-- One field; what the packet list may say of it.
local function show_field(tvb, tree, field, entry, is_text)
    local range = tvb(entry.from, entry.stop - entry.from)
    local inner = field.kind:match("^message (%w+)")
    if inner then
        local item = tree:add(by_field[field], range)
        return show(tvb, item, inner, entry.from, entry.stop)
    elseif field.kind == "text" then
        return show_text(tree, by_field[field], range)
    elseif field.kind == "uuid" then
        return show_uuid(tree, by_field[field], range)
    elseif field.kind == "body" then
        return show_body(tree, field, range, is_text)
    end
    return show_number(tree, field, range, entry.value)
end

-- The message `name` in the bytes from..to below tree; {field: what it says}.
function show(tvb, tree, name, from, to)
    local fields = MESSAGES[name].fields
    local entries, broken = parse(tvb, from, to)
    local says, kind_of_body = {}, nil
    for _, entry in ipairs(entries) do
        local field = fields[entry.number]
        if field and field.means == "type" and entry.value then
            kind_of_body = entry.value:lower()
        end
    end
    for _, entry in ipairs(entries) do
        local field = fields[entry.number]
        if field and wire_of(field) == entry.wire then
            show_tag(tree, tvb, entry)
            says[field.name] = show_field(tvb, tree, field, entry, kind_of_body == 1)
        else
            local item = tree:add(F.unknown, tvb(entry.at, entry.stop - entry.at))
            item:prepend_text(string.format("Field %d, wire type %d: ", entry.number, entry.wire))
            item:add_proto_expert_info(field and X.body or X.unknown)
        end
    end
    if broken then
        tree:add(F.undecoded, tvb(broken, to - broken)):add_proto_expert_info(X.body)
    end
    return says
end

-- --- connections: who is the server, and which answer belongs to which request

-- Connections by their addresses and ports: fields of TCP cannot be asked for in a pass that
-- builds no tree. A Login begins a new connection.
local streams = {}

function anser.init()
    streams = {}
end

local function in_range(port, ranges)
    for from, to in tostring(ranges):gmatch("(%d+)-?(%d*)") do
        if port >= tonumber(from) and port <= tonumber(to ~= "" and to or from) then
            return true
        end
    end
    return false
end

local function is_ours(port)
    return in_range(port, anser.prefs.tcp_ports) or in_range(port, anser.prefs.tls_ports)
end

-- The state of this packet's connection, and whether the server sent it: who has a port of
-- ours; else who answers, or who is asked.
local function stream_of(pinfo, frame)
    local source = tostring(pinfo.src) .. " " .. pinfo.src_port
    local target = tostring(pinfo.dst) .. " " .. pinfo.dst_port
    local id = source < target and source .. " " .. target or target .. " " .. source
    local stream = streams[id]
    if not stream then
        local from = is_ours(pinfo.src_port)
        if from == is_ours(pinfo.dst_port) then
            from = frame.flags % 2 == ANSWER or frame.command >= 64
        end
        stream = { server = from and source or target, pending = {}, answered = {}, asked = {} }
        streams[id] = stream
    end
    return stream, stream.server == source
end

-- Of a request where its answer is, of an answer where its request was.
local function link(pinfo, tree, frame, stream, is_answer)
    local key = pinfo.number .. "/" .. frame.request
    if not pinfo.visited then
        if is_answer then
            local asked = stream.pending[frame.request]
            if asked then
                stream.pending[frame.request] = nil
                stream.answered[key] = asked
                stream.asked[asked.key] = pinfo.number
            end
        else
            if frame.command == LOGIN then
                stream.pending = {}
            end
            stream.pending[frame.request] = { number = pinfo.number, at = pinfo.rel_ts, key = key }
        end
    end
    if is_answer then
        local asked = stream.answered[key]
        if asked then
            local spent = pinfo.rel_ts - asked.at
            local seconds = math.floor(spent)
            tree:add(F.response_to, asked.number):set_generated()
            tree:add(F.time, NSTime.new(seconds, math.floor((spent - seconds) * 1e9 + 0.5)))
                :set_generated()
        end
    elseif stream.asked[key] then
        tree:add(F.response_in, stream.asked[key]):set_generated()
    end
end

-- --- frames

local function header_of(tvb, at)
    return { version = tvb(at + 2, 1):uint(), codec = tvb(at + 3, 1):uint(),
        command = tvb(at + 4, 2):uint(), flags = tvb(at + 6, 2):uint(),
        request = tvb(at + 8, 4):uint(), length = tvb(at + 12, 4):uint() }
end

local function magic_at(tvb, at)
    local len = math.min(tvb:len() - at, 3)
    return tvb:raw(at, len) == ("AN" .. string.char(VERSION)):sub(1, len)
end

-- Does a frame begin here, as far as can be seen?
local function plausible(tvb, at)
    if not magic_at(tvb, at) or tvb:len() - at < HEADER_LEN then
        return false
    end
    local frame = header_of(tvb, at)
    return frame.flags <= ANSWER + ERROR and frame.length <= SERVER_FRAME_MAX - HEADER_LEN and
        COMMANDS[frame.command] ~= nil
end

local function show_header(tvb, tree, at, frame)
    tree:add(F.magic, tvb(at, 2))
    local items = { version = tree:add(F.version, tvb(at + 2, 1)),
        codec = tree:add(F.codec, tvb(at + 3, 1)), command = tree:add(F.command, tvb(at + 4, 2)) }
    items.flags = tree:add(F.flags, tvb(at + 6, 2))
    items.flags:add(F.answer, tvb(at + 6, 2))
    items.flags:add(F.error, tvb(at + 6, 2))
    if frame.flags > ANSWER + ERROR then
        items.flags:add(F.reserved, tvb(at + 6, 2))
    end
    tree:add(F.request, tvb(at + 8, 4))
    items.length = tree:add(F.length, tvb(at + 12, 4))
    return items
end

-- Marks what is wrong with a header.
local function judge(frame, items, serves)
    local flags = frame.flags
    if frame.version ~= VERSION then
        items.version:add_proto_expert_info(X.version)
    end
    if flags > ANSWER + ERROR or flags == ERROR or (flags ~= 0 and not serves) then
        items.flags:add_proto_expert_info(X.flags)
    end
    if frame.length > (serves and SERVER_FRAME_MAX or CLIENT_FRAME_MAX) - HEADER_LEN then
        items.length:add_proto_expert_info(X.length)
    end
    if frame.codec ~= CODEC_PROTOBUF then
        items.codec:add_proto_expert_info(X.codec)
    end
    if not COMMANDS[frame.command] then
        items.command:add_proto_expert_info(X.command)
    end
end

-- The name of the message in the body; nil when it is not known.
local function body_name(frame)
    local command = COMMANDS[frame.command]
    if frame.codec ~= CODEC_PROTOBUF or frame.version ~= VERSION then
        return nil
    elseif frame.flags % 4 == ANSWER + ERROR then
        return "Error"
    elseif not command then
        return nil
    elseif frame.flags % 2 == ANSWER then
        return command.answer
    end
    return command.request or command.push
end

local function describe(name, frame, says)
    local command = COMMANDS[frame.command]
    local what = command and (command.request or command.push) or "Command " .. frame.command
    local words = { name or what }
    if frame.request ~= 0 then
        table.insert(words, "#" .. frame.request)
    end
    if name == "Error" then
        words[1] = what .. " refused"
    end
    if name == "Error" or name == "Goodbye" then
        table.insert(words, says.code)
    end
    local inner = type(says.message) == "table" and says.message or {}
    for _, field in ipairs(INFO[name] or {}) do
        local value = says[field] or inner[field]
        if value then
            table.insert(words, field .. "=" .. value)
        end
    end
    return table.concat(words, " ")
end

local function show_frame(tvb, pinfo, root, at, stop)
    local frame = header_of(tvb, at)
    local stream, serves = stream_of(pinfo, frame)
    local tree = root:add(anser, tvb(at, stop - at))
    local items = show_header(tvb, tree, at, frame)
    judge(frame, items, serves)
    local name, from, says = body_name(frame), at + HEADER_LEN, {}
    local whole = stop - from == frame.length
    if name then
        local item = tree:add(F[name], tvb(from, stop - from))
        if whole then
            says = show(tvb, item, name, from, stop)
        end
        if name == "Error" or name == "Goodbye" then
            item:add_proto_expert_info(name == "Error" and X.refused or X.goodbye)
        end
    end
    if stop > from and not (name and whole) then
        tree:add(F.undecoded, tvb(from, stop - from))
    end
    if not whole then
        tree:add_proto_expert_info(X.cut)
    end
    if frame.flags % 2 == ANSWER or (not serves and frame.request ~= 0) then
        link(pinfo, tree, frame, stream, frame.flags % 2 == ANSWER)
    end
    local text = describe(name, frame, says)
    tree:append_text(", " .. text)
    return text
end

-- Bytes that are no frame, up to where one may begin again.
local function show_garbage(tvb, root, at)
    local bytes, begin = tvb:raw(at), "AN" .. string.char(VERSION)
    local found = bytes:find(begin, 2, true)
    while found and not plausible(tvb, at + found - 1) do
        found = bytes:find(begin, found + 1, true)
    end
    local stop = found and at + found - 1 or tvb:len()
    local tree = root:add(anser, tvb(at, stop - at))
    tree:append_text(", no frame")
    tree:add(F.undecoded, tvb(at, stop - at)):add_proto_expert_info(X.magic)
    return stop, string.format("[%d bytes that are no frame]", stop - at)
end

-- Less than a header, of which nothing more comes.
local function show_stub(tvb, root, at)
    local tree = root:add(anser, tvb(at))
    tree:add(F.undecoded, tvb(at))
    tree:add_proto_expert_info(X.cut)
    return tvb:len(), "[cut]"
end

-- Where the frame at `at` ends; nil when it is not all there and more can be had.
local function frame_end(tvb, at, more)
    local left = tvb:len() - at
    if left < HEADER_LEN then
        return nil, DESEGMENT_ONE_MORE_SEGMENT
    end
    local length = tvb(at + 12, 4):uint()
    if left - HEADER_LEN >= length then
        return at + HEADER_LEN + length
    elseif more and length <= SERVER_FRAME_MAX - HEADER_LEN then
        return nil, HEADER_LEN + length - left
    end
    return tvb:len()
end

-- Every frame in tvb. more: the rest of the last one may be asked for.
local function dissect(tvb, pinfo, root, more)
    local at, texts = 0, {}
    pinfo.cols.protocol = "Anser"
    while at < tvb:len() do
        local text
        if not magic_at(tvb, at) and not (tvb:len() - at >= HEADER_LEN and tvb:raw(at, 2) == "AN") then
            at, text = show_garbage(tvb, root, at)
        else
            local stop, missing = frame_end(tvb, at, more)
            if stop then
                text = show_frame(tvb, pinfo, root, at, stop)
                at = stop
            elseif more then
                pinfo.desegment_offset = at
                pinfo.desegment_len = missing
                break
            else
                at, text = show_stub(tvb, root, at)
            end
        end
        table.insert(texts, text)
    end
    if #texts > 0 then
        pinfo.cols.info = table.concat(texts, ", ")
    end
    return tvb:len()
end

-- Lines of the JSON form, which names its fields itself.
local function dissect_lines(tvb, pinfo, root, more)
    local at, count, json = 0, 0, Dissector.get("json")
    while at < tvb:len() do
        local found = tvb:raw(at):find("\n", 1, true)
        if not found and more then
            pinfo.desegment_offset = at
            pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
            break
        end
        local stop = found and at + found or tvb:len()
        local tree = root:add(anser, tvb(at, stop - at))
        tree:append_text(", a line of JSON")
        json:call(tvb(at, stop - at):tvb(), pinfo, tree)
        at, count = stop, count + 1
    end
    pinfo.cols.protocol = "Anser"
    pinfo.cols.info = string.format("JSON, %d line%s", count, count == 1 and "" or "s")
    return tvb:len()
end

function anser.dissector(tvb, pinfo, root)
    local more = pinfo.can_desegment > 0
    if tvb:len() > 0 and tvb:raw(0, 1) == "{" then
        return dissect_lines(tvb, pinfo, root, more)
    end
    return dissect(tvb, pinfo, root, more)
end

-- A WebSocket's message holds whole frames.
function anser_ws.dissector(tvb, pinfo, root)
    return dissect(tvb, pinfo, root, false)
end

local function guess(tvb, pinfo, root)
    if not plausible(tvb, 0) then
        return false
    end
    pinfo.conversation = anser
    anser.dissector(tvb, pinfo, root)
    return true
end

-- The conversation stays TLS's.
local function guess_tls(tvb, pinfo, root)
    if not plausible(tvb, 0) then
        return false
    end
    anser.dissector(tvb, pinfo, root)
    return true
end

local function guess_ws(tvb, pinfo, root)
    if not plausible(tvb, 0) then
        return false
    end
    anser_ws.dissector(tvb, pinfo, root)
    return true
end

-- --- where it is looked for

local registered = {}

local function register()
    local tcp, tls = DissectorTable.get("tcp.port"), DissectorTable.get("tls.port")
    local over = Dissector.get("tls")
    if registered.tcp then
        tcp:remove(registered.tcp, anser)
        tcp:remove(registered.tls, over)
        tls:remove(registered.tls, anser)
    end
    registered = { tcp = tostring(anser.prefs.tcp_ports), tls = tostring(anser.prefs.tls_ports) }
    if registered.tcp ~= "" then
        tcp:add(registered.tcp, anser)
    end
    if registered.tls ~= "" then
        tcp:add(registered.tls, over)
        tls:add(registered.tls, anser)
    end
end

anser.prefs_changed = register
register()
anser:register_heuristic("tcp", guess)
anser:register_heuristic("tls", guess_tls)
anser_ws:register_heuristic("ws", guess_ws)
DissectorTable.get("ws.protocol"):add("anser.protobuf", anser_ws)
-- The JSON form names its fields itself.
DissectorTable.get("ws.protocol"):add("anser.json", Dissector.get("json"))
