#include "actors/gate/gate_json.h"
#include "proto/client.pb-c.h"
#include "proto/utf8.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UUID_LEN = 16, UUID_TEXT_LEN = 36, TYPE_TEXT = 1, BAD_BODY = 0xFF };

typedef const ProtobufCMessageDescriptor *kind_of;

static const struct {
    uint16_t number;
    kind_of request, answer; /* of a push: answer alone */
} commands[] = {
#define REQUEST(number, command, body, answer)                                           \
    {number, &anser__client__##body##__descriptor,                                       \
     &anser__client__##answer##__descriptor},
#define PUSH(number, command, body) {number, NULL, &anser__client__##body##__descriptor},
    AN_COMMANDS(REQUEST) AN_PUSHES(PUSH)
#undef REQUEST
#undef PUSH
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* ------------------------------------------------------------------ fields */

enum form {
    FORM_TEXT,
    FORM_UUID, /* client_msg_id: 019aa569-e9c0-7c3e-9d2f-0123456789ab */
    FORM_BODY, /* text if the message's type is text, else base64 */
    FORM_EVENT /* a packed Event: as its JSON */
};

/* What a bytes field holds: the schema does not say. */
static enum form
form_of(const ProtobufCFieldDescriptor *field)
{
    if (strcmp(field->name, "client_msg_id") == 0) {
        return FORM_UUID;
    }
    if (strcmp(field->name, "body") == 0) {
        return FORM_BODY;
    }
    return strcmp(field->name, "head_event") == 0 ? FORM_EVENT : FORM_TEXT;
}

static const void *
at(const void *message, unsigned offset)
{
    return (const char *)message + offset;
}

/* Is this message's body text? It has a type beside it. */
static bool
is_text(const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *type =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "type");

    return type != NULL && *(const uint32_t *)at(message, type->offset) == TYPE_TEXT;
}

static bool
shown_as_text(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const enum form form = form_of(field);

    return form == FORM_TEXT || (form == FORM_BODY && is_text(message));
}

/* ------------------------------------------------------------------ out */

static json_t *message_out(const ProtobufCMessage *message);

static json_t *
uuid_out(const ProtobufCBinaryData *bytes)
{
    char text[UUID_TEXT_LEN + 1];
    size_t used = 0;

    if (bytes->len != UUID_LEN) {
        return json_null();
    }
    for (unsigned i = 0; i < UUID_LEN; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%02x",
                                 i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                                 bytes->data[i]);
    }
    return json_string(text);
}

static json_t *
base64_out(const ProtobufCBinaryData *bytes)
{
    size_t cap = sodium_base64_ENCODED_LEN(bytes->len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(cap);
    json_t *out;

    if (text == NULL) {
        return NULL;
    }
    sodium_bin2base64(text, cap, bytes->data, bytes->len, sodium_base64_VARIANT_ORIGINAL);
    out = json_string(text);
    free(text);
    return out;
}

static json_t *
event_out(const ProtobufCBinaryData *bytes)
{
    Anser__Client__Event *event =
        anser__client__event__unpack(NULL, bytes->len, bytes->data);
    json_t *out = event == NULL ? json_null() : message_out(&event->base);

    if (event != NULL) {
        anser__client__event__free_unpacked(event, NULL);
    }
    return out;
}

static json_t *
bytes_out(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
          const ProtobufCBinaryData *bytes)
{
    if (form_of(field) == FORM_UUID) {
        return uuid_out(bytes);
    }
    if (form_of(field) == FORM_EVENT) {
        return event_out(bytes);
    }
    return shown_as_text(message, field) && an_utf8_valid(bytes->data, bytes->len)
               ? json_stringn((const char *)bytes->data, bytes->len)
               : base64_out(bytes);
}

/* What should be text and is not comes in base64, under a name that says so: a row that
 * is stored is delivered, whoever wrote it. */
static int
set_out(json_t *out, const ProtobufCMessage *message,
        const ProtobufCFieldDescriptor *field, json_t *value)
{
    const ProtobufCBinaryData *bytes = at(message, field->offset);
    char name[64];

    if (field->type != PROTOBUF_C_TYPE_BYTES ||
        field->label == PROTOBUF_C_LABEL_REPEATED || !shown_as_text(message, field) ||
        an_utf8_valid(bytes->data, bytes->len)) {
        return json_object_set_new(out, field->name, value);
    }
    snprintf(name, sizeof(name), "%s_base64", field->name);
    return json_object_set_new(out, name, value);
}

static json_t *
u64_out(uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    return json_string(text);
}

/* One value of the field; NULL without memory, JSON's null: leave it out. */
static json_t *
value_out(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
          const void *value)
{
    const ProtobufCEnumValue *name;

    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return u64_out(*(const uint64_t *)value);
    case PROTOBUF_C_TYPE_UINT32:
        return json_integer(*(const uint32_t *)value);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)value);
    case PROTOBUF_C_TYPE_ENUM:
        name =
            protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)value);
        return name == NULL ? json_integer(*(const int *)value) : json_string(name->name);
    case PROTOBUF_C_TYPE_BYTES:
        if (((const ProtobufCBinaryData *)value)->len == 0) {
            return json_null();
        }
        return bytes_out(message, field, value);
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(ProtobufCMessage *const *)value == NULL
                   ? json_null()
                   : message_out(*(ProtobufCMessage *const *)value);
    default:
        assert(false); /* the schema has no others */
        return json_null();
    }
}

static json_t *
list_out(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    size_t count = *(const size_t *)at(message, field->quantifier_offset);
    ProtobufCMessage *const *items =
        *(ProtobufCMessage *const *const *)at(message, field->offset);
    json_t *out = json_array();

    for (size_t i = 0; out != NULL && i < count; i++) {
        if (json_array_append_new(out, value_out(message, field, &items[i])) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *
message_out(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *kind = message->descriptor;
    json_t *out = json_object();

    for (unsigned i = 0; out != NULL && i < kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kind->fields[i];
        json_t *value = field->label == PROTOBUF_C_LABEL_REPEATED
                            ? list_out(message, field)
                            : value_out(message, field, at(message, field->offset));

        if (json_is_null(value)) {
            continue; /* not said */
        }
        if (set_out(out, message, field, value) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static unsigned
find_number(uint16_t number)
{
    unsigned i = 0;

    while (i < COMMANDS && commands[i].number != number) {
        i++;
    }
    return i;
}

static json_t *
frame_out(const struct an_frame *frame, const uint8_t *body)
{
    const unsigned i = find_number(frame->command);
    const bool error = (frame->flags & AN_FRAME_ERROR) != 0;
    const bool push = (frame->flags & AN_FRAME_ANSWER) == 0 ||
                      (i < COMMANDS && commands[i].request == NULL);
    const char *name = "?"; /* a command that the server does not know either */
    kind_of kind = &anser__client__error__descriptor;
    ProtobufCMessage *message;
    json_t *out;

    if (i < COMMANDS) {
        name = (push ? commands[i].answer : commands[i].request)->short_name;
        kind = error ? kind : commands[i].answer;
    }
    message = protobuf_c_message_unpack(kind, NULL, frame->body_len, body);
    if (message == NULL) {
        return NULL;
    }
    out = push ? json_pack("{s:s, s:o}", "push", name, "body", message_out(message))
               : json_pack("{s:s, s:I, s:o}", error ? "error" : "answer", name, "request",
                           (json_int_t)frame->request, "body", message_out(message));
    protobuf_c_message_free_unpacked(message, NULL);
    return out;
}

char *
gate_json_out(const uint8_t *data, size_t frame_len, size_t *len)
{
    struct an_frame frame;
    json_t *root;
    char *text;

    if (an_frame_get(&frame, data, frame_len, UINT32_MAX) != AN_FRAME_OK) {
        return NULL;
    }
    root = frame_out(&frame, data + AN_FRAME_HEADER_LEN);
    text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    *len = text == NULL ? 0 : strlen(text);
    return text;
}

/* ------------------------------------------------------------------ in */

static bool message_in(struct an_arena *arena, kind_of kind, const json_t *from,
                       ProtobufCMessage **out);

static bool
number_in(const json_t *from, uint64_t most, uint64_t *out)
{
    const char *text = json_string_value(from);
    char *end;

    if (json_is_integer(from) && json_integer_value(from) >= 0) {
        *out = (uint64_t)json_integer_value(from);
        return *out <= most;
    }
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0 && *out <= most;
}

static bool
uuid_in(struct an_arena *arena, const char *text, size_t len, ProtobufCBinaryData *out)
{
    size_t used = 0;

    out->data = an_arena_alloc(arena, UUID_LEN);
    return out->data != NULL && (len == UUID_TEXT_LEN || len == UUID_LEN * 2) &&
           sodium_hex2bin(out->data, UUID_LEN, text, len, "-", &used, NULL) == 0 &&
           (out->len = used) == UUID_LEN;
}

static bool
base64_in(struct an_arena *arena, const char *text, size_t len, ProtobufCBinaryData *out)
{
    out->data = an_arena_alloc(arena, len / 4 * 3 + 4);
    return out->data != NULL &&
           sodium_base642bin(out->data, len / 4 * 3 + 4, text, len, NULL, &out->len, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0;
}

static bool
bytes_in(struct an_arena *arena, const ProtobufCMessage *message,
         const ProtobufCFieldDescriptor *field, const json_t *from,
         ProtobufCBinaryData *out)
{
    const char *text = json_string_value(from);
    size_t len = json_string_length(from);
    enum form form = form_of(field);

    if (text == NULL) {
        return false;
    }
    if (form == FORM_UUID) {
        return uuid_in(arena, text, len, out);
    }
    if (form == FORM_BODY && !is_text(message)) {
        return base64_in(arena, text, len, out);
    }
    out->data = an_arena_dup(arena, text, len);
    out->len = len;
    return out->data != NULL;
}

/* A value into the message, which is zeroed. */
static bool
value_in(struct an_arena *arena, const ProtobufCMessage *message,
         const ProtobufCFieldDescriptor *field, const json_t *from, void *out)
{
    uint64_t number;

    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return number_in(from, UINT64_MAX, out);
    case PROTOBUF_C_TYPE_UINT32:
        if (!number_in(from, UINT32_MAX, &number)) {
            return false;
        }
        *(uint32_t *)out = (uint32_t)number;
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)out = json_is_true(from);
        return json_is_boolean(from);
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_in(arena, message, field, from, out);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_in(arena, field->descriptor, from, out);
    default:
        return false; /* requests have no others */
    }
}

static bool
list_in(struct an_arena *arena, ProtobufCMessage *message,
        const ProtobufCFieldDescriptor *field, const json_t *from)
{
    size_t count = json_array_size(from);
    ProtobufCMessage **items = an_arena_calloc(arena, count + 1, sizeof(*items));
    char *base = (char *)message;

    if (!json_is_array(from) || items == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!value_in(arena, message, field, json_array_get(from, i), &items[i])) {
            return false;
        }
    }
    memcpy(base + field->quantifier_offset, &count, sizeof(count));
    memcpy(base + field->offset, &items, sizeof(items));
    return true;
}

/* Fields not known are passed over; of those that are, `type` says what `body` is and
 * comes before it, as in the schema. */
static bool
message_in(struct an_arena *arena, kind_of kind, const json_t *from,
           ProtobufCMessage **out)
{
    ProtobufCMessage *message = an_arena_calloc(arena, 1, kind->sizeof_message);

    if (message == NULL || !json_is_object(from)) {
        return false;
    }
    kind->message_init(message);
    for (unsigned i = 0; i < kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kind->fields[i];
        const json_t *value = json_object_get(from, field->name);
        bool good;

        if (value == NULL || json_is_null(value)) {
            continue;
        }
        good =
            field->label == PROTOBUF_C_LABEL_REPEATED
                ? list_in(arena, message, field, value)
                : value_in(arena, message, field, value, (char *)message + field->offset);
        if (!good) {
            return false;
        }
    }
    *out = message;
    return true;
}

/* The command's number, or one that no command has. */
static unsigned
find_name(const json_t *name)
{
    const char *text = json_string_value(name);
    unsigned i = 0;

    while (i < COMMANDS && (text == NULL || commands[i].request == NULL ||
                            strcmp(commands[i].request->short_name, text) != 0)) {
        i++;
    }
    return i;
}

static const uint8_t *
frame_in(struct an_arena *arena, const json_t *root, size_t *len)
{
    const unsigned i = find_name(json_object_get(root, "command"));
    const json_t *body = json_object_get(root, "body");
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = i < COMMANDS ? commands[i].number : 0};
    ProtobufCMessage *message = NULL;
    json_t *empty = json_object();
    uint64_t request = 0;
    bool good = true;
    uint8_t *out;

    if (json_object_get(root, "request") != NULL) {
        good = number_in(json_object_get(root, "request"), UINT32_MAX, &request);
    }
    frame.request = good ? (uint32_t)request : 0;
    good = good && i < COMMANDS &&
           message_in(arena, commands[i].request, body == NULL ? empty : body, &message);
    json_decref(empty);
    frame.body_len = good ? (uint32_t)protobuf_c_message_get_packed_size(message) : 1;
    out = an_arena_alloc(arena, AN_FRAME_HEADER_LEN + frame.body_len + 1u);
    if (out == NULL) {
        return NULL;
    }
    an_frame_put(out, &frame);
    out[AN_FRAME_HEADER_LEN] = BAD_BODY; /* which is no message of any kind */
    if (good) {
        protobuf_c_message_pack(message, out + AN_FRAME_HEADER_LEN);
    }
    *len = AN_FRAME_HEADER_LEN + frame.body_len;
    return out;
}

const uint8_t *
gate_json_in(struct an_arena *arena, const char *text, size_t text_len, size_t *len)
{
    json_t *root =
        json_loadb(text, text_len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const uint8_t *out = json_is_object(root) ? frame_in(arena, root, len) : NULL;

    json_decref(root);
    return out;
}
