/* The JSON form of the protocol's frames: the same commands and bodies, as one JSON
 * object each, by protobuf-c's own description of the messages. docs/protocol.md has the
 * rules.
 *
 * Context: pure functions. */
#ifndef AN_ACTORS_GATE_JSON_H
#define AN_ACTORS_GATE_JSON_H

#include "core/arena.h"
#include "proto/frame.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GATE_JSON_LEN_MAX = 512 * 1024,         /* of a message: the largest body, escaped */
    GATE_JSON_MEMORY_MAX = 2 * 1024 * 1024, /* while it is read */
};

/* A frame from a request; its bytes are the arena's. What is wrong with command or body
 * is put into the frame so that whoever reads it refuses it in the usual words. NULL: it
 * is no JSON object, too deep, or memory is out. */
const uint8_t *gate_json_in(struct an_arena *arena, const char *text, size_t text_len,
                            size_t *len);
/* The JSON of a whole frame of the server's, from malloc(); NULL without memory, or if it
 * is no frame of a message. Text that is not UTF-8 is put in base64 as NAME_base64. */
char *gate_json_out(const uint8_t *frame, size_t frame_len, size_t *len);

#endif
