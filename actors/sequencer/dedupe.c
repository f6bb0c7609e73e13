#include "actors/sequencer/dedupe.h"
#include "proto/bytes.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
seq_dedupe_init(struct seq_dedupe *d, uint32_t rows_max, uint64_t hash_seed)
{
    assert(rows_max > 0);
    an_hash_seed(&d->hash_key, hash_seed);
    d->cap = rows_max;
    d->count = 0;
    d->oldest = d->newest = SEQ_NONE;
    d->free = 0;
    d->rows = calloc(rows_max, sizeof(*d->rows));
    if (d->rows == NULL || !seq_table_init(&d->table, rows_max)) {
        return false;
    }
    return true;
}

void
seq_dedupe_fini(struct seq_dedupe *d)
{
    seq_table_fini(&d->table);
    free(d->rows);
    d->rows = NULL;
}

static uint32_t
hash_of(const struct seq_dedupe *d, const struct seq_dedupe_key *key)
{
    uint8_t in[AN_CLIENT_MSG_ID_LEN + 16];

    memcpy(in, key->id, AN_CLIENT_MSG_ID_LEN);
    an_put_u64(in + AN_CLIENT_MSG_ID_LEN, key->sender);
    an_put_u64(in + AN_CLIENT_MSG_ID_LEN + 8, key->recipient);
    return (uint32_t)an_hash(&d->hash_key, in, sizeof(in));
}

static struct seq_dedupe_row *
find(const struct seq_dedupe *d, const struct seq_dedupe_key *key, uint32_t hash)
{
    uint32_t probe = hash, e;

    while ((e = seq_table_next(&d->table, hash, &probe)) != SEQ_NONE) {
        struct seq_dedupe_row *row = &d->rows[e];

        if (row->key.sender == key->sender && row->key.recipient == key->recipient &&
            memcmp(row->key.id, key->id, sizeof(key->id)) == 0) {
            return row;
        }
    }
    return NULL;
}

struct seq_dedupe_row *
seq_dedupe_find(const struct seq_dedupe *d, const struct seq_dedupe_key *key)
{
    return find(d, key, hash_of(d, key));
}

static uint32_t
number(const struct seq_dedupe *d, const struct seq_dedupe_row *row)
{
    return (uint32_t)(row - d->rows);
}

static void
append(struct seq_dedupe *d, struct seq_dedupe_row *row)
{
    row->older = d->newest;
    row->newer = SEQ_NONE;
    if (d->newest == SEQ_NONE) {
        d->oldest = number(d, row);
    } else {
        d->rows[d->newest].newer = number(d, row);
    }
    d->newest = number(d, row);
}

static void
unlink_row(struct seq_dedupe *d, struct seq_dedupe_row *row)
{
    if (row->older == SEQ_NONE) {
        d->oldest = row->newer;
    } else {
        d->rows[row->older].newer = row->newer;
    }
    if (row->newer == SEQ_NONE) {
        d->newest = row->older;
    } else {
        d->rows[row->newer].older = row->older;
    }
}

void
seq_dedupe_remove(struct seq_dedupe *d, struct seq_dedupe_row *row)
{
    assert(row->used);
    seq_table_remove(&d->table, row->hash, number(d, row));
    unlink_row(d, row);
    row->used = false;
    row->cmd = NULL;
    row->newer = d->free; /* number + 1 of the next free row, 0: none */
    d->free = number(d, row) + 1;
    d->count--;
}

/* Makes room for one row. false when all are in flight. */
static bool
evict(struct seq_dedupe *d)
{
    for (uint32_t i = 0; i < d->cap; i++) {
        struct seq_dedupe_row *row = &d->rows[d->oldest];
        uint64_t ms = seq_id_ms(row->key.id);

        if (row->cmd != NULL) {
            unlink_row(d, row);
            append(d, row);
            continue;
        }
        if (ms > d->watermark_ms[row->slot]) {
            d->watermark_ms[row->slot] = ms;
        }
        seq_dedupe_remove(d, row);
        return true;
    }
    return false;
}

struct seq_dedupe_row *
seq_dedupe_add(struct seq_dedupe *d, const struct seq_dedupe_key *key, uint16_t slot)
{
    struct seq_dedupe_row *row;

    if (d->count == d->cap && !evict(d)) {
        return NULL;
    }
    if (d->free != 0) {
        row = &d->rows[d->free - 1];
        d->free = row->newer;
    } else {
        row = &d->rows[d->count]; /* none was ever freed: they are used in order */
    }
    *row = (struct seq_dedupe_row){.key = *key, .slot = slot, .used = true};
    row->hash = hash_of(d, key);
    append(d, row);
    seq_table_put(&d->table, row->hash, number(d, row));
    d->count++;
    return row;
}

void
seq_dedupe_drop(struct seq_dedupe *d, const bool slots[AN_SLOTS])
{
    uint32_t i = d->oldest;

    while (i != SEQ_NONE) {
        struct seq_dedupe_row *row = &d->rows[i];

        i = row->newer;
        if (slots[row->slot]) {
            seq_dedupe_remove(d, row);
        }
    }
}

uint64_t
seq_id_ms(const uint8_t id[AN_CLIENT_MSG_ID_LEN])
{
    return an_get_u64(id) >> 16;
}
