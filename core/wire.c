#include "core/wire.h"
#include <string.h>

enum {
    WIRE_VARINT = PROTOBUF_C_WIRE_TYPE_VARINT,
    WIRE_64BIT = PROTOBUF_C_WIRE_TYPE_64BIT,
    WIRE_LENGTH = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
    HEAD_MAX = 5 + 10, /* bytes of a tag and a number */
    LENGTH_MAX = 5,    /* bytes of a length */
    NEAR_MAX = 2048,   /* bytes of what is packed on the stack first */
};

static const void *
member_of(const ProtobufCMessage *message, size_t offset)
{
    return (const uint8_t *)message + offset;
}

/* Does the field of this member hold a value? */
static bool
chosen(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const uint32_t *which = member_of(message, field->quantifier_offset);

    return *which == field->id;
}

static void
put_fixed64(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t
get_fixed64(const uint8_t *in)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)in[i] << 8 * i;
    }
    return value;
}

/* ------------------------------------------------------------------ packing */

/* Grows downwards, from the end of the room to its start. */
struct writer {
    uint8_t *start, *at;
    bool full;    /* nothing more was written */
    bool foreign; /* a field that is protobuf-c's */
};

static bool pack_fields(struct writer *w, const ProtobufCMessage *message);

/* Is there room for this many more bytes? */
static inline bool
room(struct writer *w, size_t len)
{
    if ((size_t)(w->at - w->start) < len) {
        w->full = true;
        return false;
    }
    return true;
}

/* There is room for it. */
static inline void
put_varint(struct writer *w, uint64_t value)
{
    unsigned len;

    if (value < 0x80) {
        *--w->at = (uint8_t)value;
        return;
    }
    len = (unsigned)(63 - __builtin_clzll(value)) / 7 + 1;
    w->at -= len;
    for (unsigned i = 0; i + 1 < len; i++) {
        w->at[i] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    w->at[len - 1] = (uint8_t)value;
}

static inline void
put_tag(struct writer *w, const ProtobufCFieldDescriptor *field, unsigned type)
{
    put_varint(w, (uint64_t)field->id << 3 | type);
}

/* Of the types that are one varint. False: it is none. */
static inline bool
varint_of(ProtobufCType type, const void *member, uint64_t *out)
{
    const int32_t *small = member;

    switch (type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        *out = *(const uint64_t *)member;
        return true;
    case PROTOBUF_C_TYPE_UINT32:
        *out = *(const uint32_t *)member;
        return true;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        *out = (uint64_t)(int64_t)*small; /* negative ones are ten bytes long */
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *out = *(const protobuf_c_boolean *)member != 0;
        return true;
    default:
        return false;
    }
}

static bool
pack_bytes(struct writer *w, const ProtobufCFieldDescriptor *field,
           const ProtobufCBinaryData *bytes)
{
    if (bytes->len > SIZE_MAX / 2 || !room(w, bytes->len + HEAD_MAX)) {
        w->full = true;
        return false;
    }
    w->at -= bytes->len;
    if (bytes->len > 0) {
        memcpy(w->at, bytes->data, bytes->len);
    }
    put_varint(w, bytes->len);
    put_tag(w, field, WIRE_LENGTH);
    return true;
}

static bool
pack_nested(struct writer *w, const ProtobufCFieldDescriptor *field,
            const ProtobufCMessage *message)
{
    uint8_t *end = w->at;

    if ((message != NULL && !pack_fields(w, message)) || !room(w, HEAD_MAX)) {
        return false;
    }
    put_varint(w, (uint64_t)(end - w->at));
    put_tag(w, field, WIRE_LENGTH);
    return true;
}

/* One number, behind its tag unless it is one of many in a packed field. */
static bool
pack_number(struct writer *w, const ProtobufCFieldDescriptor *field, const void *member,
            bool tagged)
{
    bool fixed = field->type == PROTOBUF_C_TYPE_FIXED64;
    uint64_t value;

    if (!room(w, HEAD_MAX)) {
        return false;
    }
    if (fixed) {
        w->at -= 8;
        put_fixed64(w->at, *(const uint64_t *)member);
    } else if (varint_of(field->type, member, &value)) {
        put_varint(w, value);
    } else {
        w->foreign = true;
        return false;
    }
    if (tagged) {
        put_tag(w, field, fixed ? WIRE_64BIT : WIRE_VARINT);
    }
    return true;
}

/* Of the types that may be repeated here; 0: another. */
static size_t
number_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_UINT32:
        return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(uint64_t);
    default:
        return 0;
    }
}

static bool
pack_repeated(struct writer *w, const ProtobufCMessage *message,
              const ProtobufCFieldDescriptor *field)
{
    size_t count = *(const size_t *)member_of(message, field->quantifier_offset);
    const void *array = *(const void *const *)member_of(message, field->offset);
    size_t size = number_size(field->type);
    uint8_t *end = w->at;

    if (count == 0) {
        return true;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        while (count-- > 0) {
            if (!pack_nested(w, field, ((const ProtobufCMessage *const *)array)[count])) {
                return false;
            }
        }
        return true;
    }
    if (size == 0 || (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) == 0) {
        w->foreign = true;
        return false;
    }
    while (count-- > 0) {
        if (!pack_number(w, field, (const uint8_t *)array + count * size, false)) {
            return false;
        }
    }
    if (!room(w, HEAD_MAX)) {
        return false;
    }
    put_varint(w, (uint64_t)(end - w->at));
    put_tag(w, field, WIRE_LENGTH);
    return true;
}

/* A field that holds one value, if it is there: with proto3, if it is not zero. */
static bool
pack_single(struct writer *w, const ProtobufCMessage *message,
            const ProtobufCFieldDescriptor *field)
{
    const void *member = member_of(message, field->offset);
    bool oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    const ProtobufCBinaryData *bytes;
    const ProtobufCMessage *nested;
    uint64_t value;

    if (oneof && !chosen(message, field)) {
        return true;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        bytes = member;
        return (bytes->len == 0 && !oneof) || pack_bytes(w, field, bytes);
    case PROTOBUF_C_TYPE_MESSAGE:
        nested = *(const ProtobufCMessage *const *)member;
        return nested == NULL || pack_nested(w, field, nested);
    case PROTOBUF_C_TYPE_FIXED64:
        value = *(const uint64_t *)member;
        break;
    default:
        if (!varint_of(field->type, member, &value)) {
            w->foreign = true;
            return false;
        }
    }
    return (value == 0 && !oneof) || pack_number(w, field, member, true);
}

/* All of one message by protobuf-c. */
static bool
pack_foreign(struct writer *w, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);

    if (!room(w, len)) {
        return false;
    }
    w->at -= len;
    protobuf_c_message_pack(message, w->at);
    return true;
}

static bool
pack_fields(struct writer *w, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *kind = message->descriptor;
    uint8_t *end = w->at;
    bool good = message->n_unknown_fields == 0;

    w->foreign = !good;
    for (unsigned i = kind->n_fields; i-- > 0 && good;) {
        const ProtobufCFieldDescriptor *field = &kind->fields[i];

        if (field->label == PROTOBUF_C_LABEL_NONE) {
            good = pack_single(w, message, field);
        } else if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            good = pack_repeated(w, message, field);
        } else {
            w->foreign = true;
            good = false;
        }
    }
    if (w->foreign && !w->full) {
        w->foreign = false;
        w->at = end;
        good = pack_foreign(w, message);
    }
    return good;
}

size_t
an_wire_pack(const ProtobufCMessage *message, uint8_t *start, uint8_t *end)
{
    struct writer w = {.start = start, .at = end};

    return pack_fields(&w, message) ? (size_t)(end - w.at) : AN_WIRE_NO_ROOM;
}

size_t
an_wire_pack_at(const ProtobufCMessage *message, uint8_t *out, size_t cap)
{
    uint8_t near[NEAR_MAX], *end = near + sizeof(near);
    size_t len = an_wire_pack(message, near, end);

    if (len == AN_WIRE_NO_ROOM) {
        len = protobuf_c_message_get_packed_size(message);
        if (len > cap) {
            return AN_WIRE_NO_ROOM;
        }
        return protobuf_c_message_pack(message, out);
    }
    if (len > cap) {
        return AN_WIRE_NO_ROOM;
    }
    if (len > 0) {
        memcpy(out, end - len, len);
    }
    return len;
}

bool
an_wire_pack_in(const ProtobufCMessage *message, struct an_arena *arena,
                ProtobufCBinaryData *out)
{
    uint8_t near[NEAR_MAX], *end = near + sizeof(near);

    out->len = an_wire_pack(message, near, end);
    if (out->len != AN_WIRE_NO_ROOM) {
        out->data = an_arena_dup(arena, end - out->len, out->len);
        return out->data != NULL;
    }
    out->len = protobuf_c_message_get_packed_size(message);
    out->data = an_arena_alloc(arena, out->len);
    if (out->data != NULL) {
        protobuf_c_message_pack(message, out->data);
    }
    return out->data != NULL;
}

/* ------------------------------------------------------------------ unpacking */

struct reader {
    const uint8_t *at, *end;
    struct an_arena *arena;
};

static void *unpack_fields(const ProtobufCMessageDescriptor *kind, struct reader *r);

/* False: it does not end here, or is longer than any. */
static inline bool
get_varint(struct reader *r, uint64_t *out)
{
    const uint8_t *at = r->at;
    uint64_t value = 0;

    if (at < r->end && *at < 0x80) {
        *out = *at;
        r->at = at + 1;
        return true;
    }
    for (unsigned shift = 0; shift < 70 && at < r->end; shift += 7) {
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (*at++ < 0x80) {
            *out = value;
            r->at = at;
            return true;
        }
    }
    return false;
}

/* protobuf-c takes longer ones too, of which it forgets bits. */
static inline bool
get_tag(struct reader *r, uint64_t *out)
{
    const uint8_t *at = r->at;

    return get_varint(r, out) && r->at - at <= 2;
}

/* What is length-prefixed, as a reader of its own. */
static inline bool
get_part(struct reader *r, struct reader *part)
{
    const uint8_t *at = r->at;
    uint64_t len;

    if (!get_varint(r, &len) || r->at - at > LENGTH_MAX ||
        len > (size_t)(r->end - r->at)) {
        return false;
    }
    *part = (struct reader){r->at, r->at + len, r->arena};
    r->at += len;
    return true;
}

static bool
unpack_number(struct reader *r, ProtobufCType type, void *member)
{
    const uint8_t *at = r->at;
    uint64_t value;

    if (type == PROTOBUF_C_TYPE_FIXED64) {
        if (r->end - r->at < 8) {
            return false;
        }
        *(uint64_t *)member = get_fixed64(r->at);
        r->at += 8;
        return true;
    }
    if (!get_varint(r, &value)) {
        return false;
    }
    switch (type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        *(uint64_t *)member = value;
        return true;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)member = (uint32_t)value;
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = value != 0;
        return r->at - at == 1; /* of longer ones protobuf-c sees lost bits too */
    default:
        return false;
    }
}

static unsigned
wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED64:
        return WIRE_64BIT;
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    default:
        return WIRE_VARINT; /* unpack_number knows which are */
    }
}

static bool
unpack_single(struct reader *r, const ProtobufCFieldDescriptor *field, unsigned type,
              void *message)
{
    void *member = (uint8_t *)message + field->offset;
    ProtobufCBinaryData *bytes = member;
    uint32_t *which;
    struct reader part;

    if (type != wire_type(field->type)) {
        return false;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        which = (uint32_t *)(void *)((uint8_t *)message + field->quantifier_offset);
        if (*which != 0) {
            return false; /* a second one takes the place of the first */
        }
        *which = field->id;
    }
    if (type != WIRE_LENGTH) {
        return unpack_number(r, field->type, member);
    }
    if (!get_part(r, &part)) {
        return false;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        *(void **)member = unpack_fields(field->descriptor, &part);
        return *(void **)member != NULL;
    }
    bytes->len = (size_t)(part.end - part.at);
    bytes->data = bytes->len == 0 ? NULL : an_arena_dup(r->arena, part.at, bytes->len);
    return bytes->len == 0 || bytes->data != NULL;
}

/* How many numbers a packed field holds. */
static size_t
numbers_in(const struct reader *part, ProtobufCType type)
{
    size_t count = 0;

    if (type == PROTOBUF_C_TYPE_FIXED64) {
        return (size_t)(part->end - part->at) / 8;
    }
    for (const uint8_t *at = part->at; at < part->end; at++) {
        count += *at < 0x80;
    }
    return count;
}

static bool
unpack_numbers(struct reader *r, const ProtobufCFieldDescriptor *field, size_t *count,
               void **array)
{
    size_t size = number_size(field->type);
    struct reader part;
    uint8_t *out;

    if (size == 0 || !get_part(r, &part)) {
        return false;
    }
    *count = numbers_in(&part, field->type);
    if (*count == 0) {
        return part.at == part.end;
    }
    out = an_arena_alloc(r->arena, *count * size);
    *array = out;
    for (size_t i = 0; out != NULL && i < *count; i++, out += size) {
        if (!unpack_number(&part, field->type, out)) {
            return false;
        }
    }
    return out != NULL && part.at == part.end;
}

/* How many of the field follow one another, the one whose tag was read among them. */
static size_t
run_length(struct reader r, uint64_t tag)
{
    struct reader part;
    uint64_t next = tag;
    size_t count = 0;

    while (next == tag && get_part(&r, &part)) {
        count++;
        if (r.at == r.end || !get_tag(&r, &next)) {
            break;
        }
    }
    return count;
}

static bool
unpack_messages(struct reader *r, const ProtobufCFieldDescriptor *field, uint64_t tag,
                size_t *count, void **array)
{
    size_t most = run_length(*r, tag);
    void **out = most == 0 ? NULL : an_arena_alloc(r->arena, most * sizeof(void *));
    struct reader part;
    uint64_t again;

    *array = out;
    while (out != NULL && *count < most) {
        if ((*count > 0 && !get_varint(r, &again)) || !get_part(r, &part)) {
            return false;
        }
        out[*count] = unpack_fields(field->descriptor, &part);
        if (out[(*count)++] == NULL) {
            return false;
        }
    }
    return out != NULL;
}

static bool
unpack_repeated(struct reader *r, const ProtobufCFieldDescriptor *field, uint64_t tag,
                void *message)
{
    size_t *count = (size_t *)(void *)((uint8_t *)message + field->quantifier_offset);
    void **array = (void **)(void *)((uint8_t *)message + field->offset);

    if ((tag & 7) != WIRE_LENGTH) {
        return false;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return unpack_messages(r, field, tag, count, array);
    }
    return unpack_numbers(r, field, count, array);
}

/* NULL: not in the form that is known here, malformed, or no memory. */
static void *
unpack_fields(const ProtobufCMessageDescriptor *kind, struct reader *r)
{
    void *message = an_arena_alloc(r->arena, kind->sizeof_message);
    uint64_t tag;

    if (message == NULL || kind->message_init == NULL) {
        return NULL;
    }
    kind->message_init(message);
    for (unsigned i = 0; r->at < r->end; i++) { /* fields is NULL where there are none */
        const ProtobufCFieldDescriptor *field;
        bool good = get_tag(r, &tag);

        while (good && i < kind->n_fields && kind->fields[i].id != tag >> 3) {
            i++;
        }
        if (!good || i == kind->n_fields) {
            return NULL; /* not known, or out of order: a second one is, too */
        }
        field = &kind->fields[i];
        if (field->label == PROTOBUF_C_LABEL_NONE) {
            good = unpack_single(r, field, (unsigned)tag & 7, message);
        } else {
            good = field->label == PROTOBUF_C_LABEL_REPEATED &&
                   unpack_repeated(r, field, tag, message);
        }
        if (!good) {
            return NULL;
        }
    }
    return message;
}

void *
an_wire_unpack(const ProtobufCMessageDescriptor *kind, struct an_arena *arena,
               const uint8_t *data, size_t len)
{
    static const uint8_t nothing[1];
    struct an_arena_mark mark = an_arena_mark(arena);
    struct reader r = {data, data, arena};
    void *out;

    if (len == 0) { /* data may be NULL, and has no end then */
        r.at = r.end = nothing;
    } else {
        r.end = data + len;
    }
    out = unpack_fields(kind, &r);
    if (out != NULL) {
        return out;
    }
    an_arena_rewind(arena, mark);
    return protobuf_c_message_unpack(kind, an_arena_pb(arena), len, data);
}
