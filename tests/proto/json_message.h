/* Protobuf messages as JSON, both ways, by their descriptors: 64-bit numbers as strings,
 * bytes as text or, when they are no text, "hex:0a0b", enums as numbers; fields at their
 * default are left out. */
#ifndef TESTS_PROTO_JSON_MESSAGE_H
#define TESTS_PROTO_JSON_MESSAGE_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* The packed message, from malloc(); NULL with a word on stderr when the JSON is none of
 * that kind. */
uint8_t *json_pack_message(const json_t *json, const ProtobufCMessageDescriptor *kind,
                           size_t *len);
/* A new reference; NULL when the bytes are no message of that kind. */
json_t *json_of_message(const uint8_t *data, size_t len,
                        const ProtobufCMessageDescriptor *kind);

#endif
