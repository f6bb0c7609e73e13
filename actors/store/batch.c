#include "actors/store/batch.h"
#include "core/wire.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_BYTES_MAX = 8 * 1024 * 1024, KEEP_ROWS_MAX = 65536 };

void
store_batch_reset(struct store_batch *batch)
{
    for (size_t i = 0; i < batch->slot_count; i++) {
        batch->slot_rows[batch->slots[i]] = 0;
    }
    batch->slot_count = 0;
    batch->group_count = 0;
    batch->row_count = 0;
    batch->len = 0;
    if (batch->cap > KEEP_BYTES_MAX || batch->row_cap > KEEP_ROWS_MAX) {
        store_batch_fini(batch);
    }
}

void
store_batch_fini(struct store_batch *batch)
{
    free(batch->bytes);
    free(batch->rows);
    free(batch->sorted);
    memset(batch, 0, sizeof(*batch));
}

/* The next capacity that holds need, doubling so that growth is cheap on the whole. */
static size_t
grown(size_t cap, size_t need, size_t first)
{
    size_t out = cap == 0 ? first : cap;

    while (out < need) {
        out *= 2;
    }
    return out;
}

bool
store_batch_reserve(struct store_batch *batch, size_t rows, size_t bytes)
{
    if (batch->row_count + rows > batch->row_cap) {
        size_t cap = grown(batch->row_cap, batch->row_count + rows, 512);
        struct store_batch_row *more = realloc(batch->rows, cap * sizeof(*more));

        if (more == NULL) {
            return false;
        }
        batch->rows = more;
        batch->row_cap = cap;
    }
    if (batch->len + bytes > batch->cap) {
        size_t cap = grown(batch->cap, batch->len + bytes, 65536);
        uint8_t *more = realloc(batch->bytes, cap);

        if (more == NULL) {
            return false;
        }
        batch->bytes = more;
        batch->cap = cap;
    }
    return true;
}

uint8_t *
store_batch_key(struct store_batch *batch)
{
    return batch->bytes + batch->len;
}

static struct store_batch_row *
add(struct store_batch *batch, uint16_t slot, size_t key_len, enum engine_op op)
{
    struct store_batch_row *row;

    assert(slot < AN_SLOTS);
    assert(key_len <= ENGINE_KEY_LEN_MAX);
    assert(batch->row_count < batch->row_cap);
    if (batch->slot_rows[slot]++ == 0) {
        batch->slots[batch->slot_count++] = slot;
    }
    row = &batch->rows[batch->row_count++];
    *row = (struct store_batch_row){
        .at = batch->len, .slot = slot, .key_len = (uint8_t)key_len, .op = (uint8_t)op};
    batch->len += key_len;
    assert(batch->len <= batch->cap);
    return row;
}

void
store_batch_put(struct store_batch *batch, uint16_t slot, size_t key_len,
                const ProtobufCMessage *value)
{
    struct store_batch_row *row = add(batch, slot, key_len, ENGINE_PUT);
    size_t len =
        an_wire_pack_at(value, batch->bytes + batch->len, batch->cap - batch->len);

    assert(len <= ENGINE_VALUE_LEN_MAX); /* and there was room */
    row->value_len = (uint32_t)len;
    batch->len += len;
}

void
store_batch_delete(struct store_batch *batch, uint16_t slot, size_t key_len)
{
    add(batch, slot, key_len, ENGINE_DELETE);
}

/* A counting sort: the counts are known, so every row goes straight to its place. */
bool
store_batch_group(struct store_batch *batch, const uint64_t *fences)
{
    size_t next = 0;

    if (batch->row_count > batch->sorted_cap) {
        struct engine_row *more =
            realloc(batch->sorted, batch->row_cap * sizeof(*batch->sorted));

        if (more == NULL) {
            return false;
        }
        batch->sorted = more;
        batch->sorted_cap = batch->row_cap;
    }
    for (size_t i = 0; i < batch->slot_count; i++) {
        uint16_t slot = batch->slots[i];

        batch->groups[i] = (struct engine_group){.slot = slot,
                                                 .fence = fences[slot],
                                                 .rows = batch->sorted + next,
                                                 .row_count = batch->slot_rows[slot]};
        next += batch->slot_rows[slot];
        /* From here on: where the slot's next row goes. */
        batch->slot_rows[slot] = (uint32_t)(next - batch->slot_rows[slot]);
    }
    for (size_t i = 0; i < batch->row_count; i++) {
        const struct store_batch_row *row = &batch->rows[i];
        const uint8_t *key = batch->bytes + row->at;

        batch->sorted[batch->slot_rows[row->slot]++] = (struct engine_row){
            .op = (enum engine_op)row->op,
            .key = {key, row->key_len},
            .value = {key + row->key_len, row->value_len},
        };
    }
    batch->group_count = batch->slot_count;
    return true;
}
