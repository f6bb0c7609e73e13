/* Deletes dedupe rows that nobody may ask for any more: a few slots at a time, a bounded
 * number of rows each, as a write like any other. */
#include "actors/store/store_priv.h"
#include "core/log.h"
#include <stdlib.h>
#include <string.h>

/* Its own write; the keys to delete lie behind it. */
struct expiry {
    struct store_write write;
    size_t count;
    size_t len; /* of the keys: each 2 bytes of length and the key */
    uint8_t keys[];
};

static void
advance(struct store *store)
{
    struct store_retention *retention = &store->retention;

    retention->busy = false;
    if (!retention->more) {
        retention->slot = (uint16_t)((retention->first + AN_RETENTION_SLOTS) % AN_SLOTS);
    }
}

static void
expiry_build(struct store *store, struct store_write *write)
{
    const struct expiry *expiry = (const struct expiry *)write;
    const uint8_t *at = expiry->keys;

    if (!store_reserve(store, expiry->count, 0, expiry->len)) {
        write->failed = AN_ERR_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < expiry->count; i++) {
        size_t len = an_get_u16(at);

        memcpy(store_batch_key(&store->batch), at + 2, len);
        store_batch_delete(&store->batch, an_get_u16(at + 2), len);
        at += 2 + len;
    }
}

static void
expiry_finish(struct store *store, struct store_write *write, enum an_err err)
{
    if (err == AN_OK && write->failed == AN_OK) {
        store->counts.expired_rows += ((const struct expiry *)write)->count;
    } else {
        store->retention.more = false; /* a later round finds them again */
    }
    advance(store);
    free(write);
}

static void
expiry_discard(struct store *store, struct store_write *write)
{
    (void)store;
    free(write);
}

static const struct store_write_ops EXPIRY_OPS = {expiry_build, expiry_finish,
                                                  expiry_discard};

static struct expiry *
collect(const struct engine_answer *answers, size_t answer_count)
{
    size_t count = 0;
    size_t len = 0;
    struct expiry *expiry;

    for (size_t i = 0; i < answer_count; i++) {
        for (size_t k = 0; k < answers[i].item_count; k++) {
            count++;
            len += 2 + answers[i].items[k].key.len;
        }
    }
    expiry = count > 0 ? calloc(1, sizeof(*expiry) + len) : NULL;
    if (expiry == NULL) {
        return NULL;
    }
    expiry->write.ops = &EXPIRY_OPS;
    for (size_t i = 0; i < answer_count; i++) {
        for (size_t k = 0; k < answers[i].item_count; k++) {
            struct engine_blob key = answers[i].items[k].key;

            an_put_u16(expiry->keys + expiry->len, (uint16_t)key.len);
            memcpy(expiry->keys + expiry->len + 2, key.data, key.len);
            expiry->len += 2 + key.len;
            expiry->count++;
        }
    }
    return expiry;
}

static void
expired_read(void *ctx, enum an_err err, const struct engine_answer *answers,
             size_t answer_count)
{
    struct store *store = ctx;
    struct expiry *expiry;

    store->retention.more = false;
    if (err != AN_OK) {
        an_out_log(store->out, AN_LOG_WARN, 0, "looking for expired ids failed err=%s",
                   an_err_name(err));
        advance(store);
        return;
    }
    for (size_t i = 0; i < answer_count; i++) {
        store->retention.more = store->retention.more || answers[i].more;
    }
    expiry = collect(answers, answer_count);
    if (expiry == NULL) {
        advance(store);
        return;
    }
    store_write_add(store, &expiry->write);
}

/* Ids up to this time are answered ID_EXPIRED by every sequencer, whatever its clock
 * says within reason. */
static uint64_t
horizon_ms(const struct store *store)
{
    uint64_t keep = store->dedupe_window_ms + AN_DEDUPE_AHEAD_MS;

    return store->now.wall_ms > keep ? store->now.wall_ms - keep : 0;
}

static void
look(struct store *store)
{
    struct store_retention *retention = &store->retention;
    struct engine_query queries[AN_RETENTION_SLOTS];
    uint8_t keys[AN_RETENTION_SLOTS][2][16];
    uint64_t horizon = horizon_ms(store);
    size_t count = 0;

    retention->first = retention->slot;
    for (unsigned i = 0; i < AN_RETENTION_SLOTS; i++) {
        unsigned slot = (retention->first + i) % AN_SLOTS;
        uint8_t *first = keys[count][0];
        uint8_t *end = keys[count][1];

        if (!store_owns(store, slot)) {
            continue;
        }
        /* The time is the first 48 bits of the id. */
        store_key_table(first, slot, 'd');
        store_key_table(end, slot, 'd');
        an_put_u64(end + 3, horizon << 16);
        queries[count++] = (struct engine_query){
            .first = {first, 3}, .end = {end, 9}, .items_max = AN_RETENTION_ROWS};
    }
    retention->busy = true;
    if (count == 0) {
        retention->more = false;
        advance(store);
        return;
    }
    engine_read(store->engine, queries, count, expired_read, store);
}

void
store_retention_run(struct store *store)
{
    if (!store->retention.busy && store->retention.more && !store->stopping) {
        look(store);
    }
}

void
store_retention_tick(struct store *store)
{
    if (!store->retention.busy && !store->stopping) {
        look(store);
    }
}
