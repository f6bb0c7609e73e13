/* The fixed header before every bus message's protobuf body. 44 bytes, big-endian:
 *
 *   0  2  magic "AB"
 *   2  1  version, AN_BUS_VERSION
 *   3  1  flags: 1 answer; others reserved, must be 0
 *   4  2  kind (proto/kinds.h)
 *   6  2  error number (answers; 0 otherwise)
 *   8  8  trace id
 *  16  4  budget_ms: how long the asker still waits (requests)
 *  20  1  role of the sender
 *  21  1  reserved, 0
 *  22  2  index of the sender
 *  24  4  body length; must be what follows, to the byte
 *  28  8  which cluster the sender is of (core/topology.h)
 *  36  8  which stores have which slots, as the sender knows it
 */
#ifndef AN_PROTO_ENVELOPE_H
#define AN_PROTO_ENVELOPE_H

#include "proto/roles.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AN_ENVELOPE_LEN 44u

struct an_envelope {
    bool answer;
    uint16_t kind;
    uint16_t err;
    uint64_t trace;
    uint32_t budget_ms;
    struct an_addr from;
    uint32_t body_len;
    uint64_t cluster, stores; /* digests: a peer with others is refused */
};

/* Writes the header alone; the body follows it. */
void an_envelope_put(uint8_t out[AN_ENVELOPE_LEN], const struct an_envelope *env);
/* false when the bytes are not one whole valid message: *why then says what is wrong. */
bool an_envelope_get(struct an_envelope *env, const uint8_t *data, size_t len,
                     const char **why);

#endif
