/* The rows of one log record while they are being built.
 *
 * Keys and values lie one after another in one buffer that is reserved before they are
 * built, so that building a row takes no memory and cannot fail.
 *
 * Context: the store actor's thread. */
#ifndef AN_ACTORS_STORE_BATCH_H
#define AN_ACTORS_STORE_BATCH_H

#include "core/limits.h"
#include "store/engine.h"
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_batch_row {
    size_t at; /* of the key in bytes; the value follows it */
    uint32_t value_len;
    uint16_t slot;
    uint8_t key_len;
    uint8_t op; /* enum engine_op */
};

struct store_batch {
    uint8_t *bytes;
    size_t len, cap;
    struct store_batch_row *rows;
    size_t row_count, row_cap;
    struct engine_row *sorted; /* the same rows by slot, as the engine takes them */
    size_t sorted_cap;
    struct engine_group groups[AN_SLOTS];
    size_t group_count;
    uint32_t slot_rows[AN_SLOTS]; /* rows of each slot; 0 where not in slots */
    uint16_t slots[AN_SLOTS];     /* in the order of their first row */
    size_t slot_count;
};

/* Forgets its rows; gives back memory that one large batch took. */
void store_batch_reset(struct store_batch *batch);
void store_batch_fini(struct store_batch *batch);
/* Room for this many more rows and for their keys and values. false without memory. */
bool store_batch_reserve(struct store_batch *batch, size_t rows, size_t bytes);
/* Where the next row's key is to be written. */
uint8_t *store_batch_key(struct store_batch *batch);
/* Adds the row whose key of key_len bytes was written there. */
void store_batch_put(struct store_batch *batch, uint16_t slot, size_t key_len,
                     const ProtobufCMessage *value);
void store_batch_delete(struct store_batch *batch, uint16_t slot, size_t key_len);
/* Brings the rows into groups by slot, rows of a slot in the order they were added, with
 * the slots' fences (AN_SLOTS of them). false without memory. */
bool store_batch_group(struct store_batch *batch, const uint64_t *fences);

#endif
