#include "json_message.h"
#include "proto/utf8.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ writing */

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

static void
put(struct bytes *out, const void *data, size_t len)
{
    while (out->len + len > out->cap) {
        out->cap = out->cap == 0 ? 256 : out->cap * 2;
        out->data = realloc(out->data, out->cap);
        if (out->data == NULL) {
            abort();
        }
    }
    if (len > 0) {
        memcpy(out->data + out->len, data, len);
    }
    out->len += len;
}

static void
put_varint(struct bytes *out, uint64_t v)
{
    do {
        uint8_t byte = (uint8_t)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
        put(out, &byte, 1);
        v >>= 7;
    } while (v > 0);
}

static uint64_t
number(const json_t *value)
{
    if (json_is_boolean(value)) {
        return json_is_true(value) ? 1 : 0;
    }
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10)
                                 : (uint64_t)json_integer_value(value);
}

static void
put_bytes(struct bytes *out, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (strncmp(text, "hex:", 4) != 0) {
        put_varint(out, len);
        put(out, text, len);
        return;
    }
    put_varint(out, (len - 4) / 2);
    for (size_t i = 4; i + 1 < len; i += 2) {
        char pair[3] = {text[i], text[i + 1], 0};
        uint8_t byte = (uint8_t)strtoul(pair, NULL, 16);
        put(out, &byte, 1);
    }
}

static void
put_value(struct bytes *out, const ProtobufCFieldDescriptor *field, const json_t *value)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        size_t len = 0;
        uint8_t *inner = json_pack_message(value, field->descriptor, &len);
        put_varint(out, field->id << 3 | 2);
        put_varint(out, len);
        put(out, inner, len);
        free(inner);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        put_varint(out, field->id << 3 | 2);
        put_bytes(out, value);
    } else if (field->type == PROTOBUF_C_TYPE_FIXED64) {
        uint64_t v = number(value);
        put_varint(out, field->id << 3 | 1);
        for (int i = 0; i < 8; i++) {
            uint8_t byte = (uint8_t)(v >> (8 * i));
            put(out, &byte, 1);
        }
    } else {
        put_varint(out, field->id << 3);
        put_varint(out, number(value));
    }
}

uint8_t *
json_pack_message(const json_t *json, const ProtobufCMessageDescriptor *kind, size_t *len)
{
    struct bytes out = {0};
    size_t used = 0;

    put(&out, NULL, 0);
    out.data = malloc(out.cap = 256);
    for (unsigned i = 0; i < kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kind->fields[i];
        const json_t *value = json_object_get(json, field->name);
        if (value == NULL) {
            continue;
        }
        used++;
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            put_value(&out, field, value);
            continue;
        }
        for (size_t j = 0; j < json_array_size(value); j++) {
            put_value(&out, field, json_array_get(value, j));
        }
    }
    if (used != json_object_size(json)) {
        fprintf(stderr, "a field that %s does not have\n", kind->name);
        free(out.data);
        return NULL;
    }
    *len = out.len;
    return out.data;
}

/* ------------------------------------------------------------------ reading */

static json_t *
of_bytes(const ProtobufCBinaryData *value)
{
    json_t *out;
    char *text;

    if (an_utf8_valid(value->data, value->len) &&
        memchr(value->data, 0, value->len) == NULL) {
        return json_stringn((const char *)value->data, value->len);
    }
    text = malloc(2 * value->len + 5);
    if (text == NULL) {
        abort();
    }
    memcpy(text, "hex:", 5);
    for (size_t i = 0; i < value->len; i++) {
        (void)snprintf(text + 4 + 2 * i, 3, "%02x", value->data[i]);
    }
    out = json_string(text);
    free(text);
    return out;
}

static json_t *of_fields(const ProtobufCMessage *message);

/* NULL: at its default. */
static json_t *
of_value(const ProtobufCFieldDescriptor *field, const void *at)
{
    char text[24];
    uint64_t v = 0;

    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE: {
        ProtobufCMessage *const *message = at;
        return *message == NULL ? NULL : of_fields(*message);
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = at;
        return bytes->len == 0 ? NULL : of_bytes(bytes);
    }
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)at ? json_true() : NULL;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        v = *(const uint32_t *)at;
        return v == 0 ? NULL : json_integer((json_int_t)v);
    default:
        v = *(const uint64_t *)at;
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
        return v == 0 ? NULL : json_string(text);
    }
}

static json_t *
of_fields(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *kind = message->descriptor;
    const char *base = (const char *)message;
    json_t *out = json_object();

    for (unsigned i = 0; i < kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kind->fields[i];
        const void *at = base + field->offset;
        json_t *value = NULL;
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            value = of_value(field, at);
        } else {
            size_t count =
                *(const size_t *)(const void *)(base + field->quantifier_offset);
            const char *const *items = *(const char *const *const *)at;
            value = count == 0 ? NULL : json_array();
            for (size_t j = 0; j < count; j++) {
                json_array_append_new(value, of_value(field, &items[j]));
            }
        }
        if (value != NULL) {
            json_object_set_new(out, field->name, value);
        }
    }
    return out;
}

json_t *
json_of_message(const uint8_t *data, size_t len, const ProtobufCMessageDescriptor *kind)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(kind, NULL, len, data);
    json_t *out;

    if (message == NULL) {
        return NULL;
    }
    out = of_fields(message);
    protobuf_c_message_free_unpacked(message, NULL);
    return out;
}
