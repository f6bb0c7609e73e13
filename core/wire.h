/* Messages to bytes and back, as protobuf-c does it: the same bytes, the same structures,
 * in a third of the time. It knows what the schemas of proto/ use (proto3 without floats,
 * maps and groups) in the form that every writer of protobuf produces: each field once,
 * in the order of the numbers. Whatever else comes is left to protobuf-c, which also
 * decides what is malformed.
 *
 * Context: any thread. */
#ifndef AN_CORE_WIRE_H
#define AN_CORE_WIRE_H

#include "core/arena.h"
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define AN_WIRE_NO_ROOM SIZE_MAX

/* Packs backwards, so that lengths need no pass of their own: the last byte stands right
 * before end. How many they are; AN_WIRE_NO_ROOM when they do not fit in after start, and
 * what lies there is lost then. */
size_t an_wire_pack(const ProtobufCMessage *message, uint8_t *start, uint8_t *end);
/* Packs into the room of cap bytes at out, as protobuf_c_message_pack does; how many they
 * are, or AN_WIRE_NO_ROOM. */
size_t an_wire_pack_at(const ProtobufCMessage *message, uint8_t *out, size_t cap);
/* Packs into memory of the arena. False without it. */
bool an_wire_pack_in(const ProtobufCMessage *message, struct an_arena *arena,
                     ProtobufCBinaryData *out);
/* NULL: malformed, or the arena is exhausted (which it then says). */
void *an_wire_unpack(const ProtobufCMessageDescriptor *kind, struct an_arena *arena,
                     const uint8_t *data, size_t len);

#endif
