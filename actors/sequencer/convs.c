#include "actors/sequencer/convs.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
seq_convs_init(struct seq_convs *c, uint32_t max, uint64_t hash_seed)
{
    assert(max > 0);
    an_hash_seed(&c->hash_key, hash_seed);
    c->cap = max;
    c->convs = calloc(max, sizeof(*c->convs));
    return c->convs != NULL && seq_table_init(&c->table, max);
}

void
seq_convs_fini(struct seq_convs *c)
{
    seq_table_fini(&c->table);
    free(c->convs);
    c->convs = NULL;
}

static bool
idle(const struct seq_conv *conv)
{
    return conv->refs == 0 && !conv->loading && seq_position_idle(&conv->delivered[0]) &&
           seq_position_idle(&conv->delivered[1]);
}

void
seq_convs_drop(struct seq_convs *c, struct seq_conv *conv)
{
    assert(conv->used);
    assert(conv->refs == 0);
    seq_table_remove(&c->table, conv->hash, (uint32_t)(conv - c->convs));
    conv->used = false;
    c->count--;
}

/* The clock algorithm: whatever was touched since the hand last passed stays. */
static struct seq_conv *
place(struct seq_convs *c)
{
    for (uint32_t i = 0; i < 2 * c->cap; i++) {
        struct seq_conv *conv = &c->convs[c->hand];

        c->hand = c->hand + 1 == c->cap ? 0 : c->hand + 1;
        if (!conv->used) {
            return conv;
        }
        if (conv->touched) {
            conv->touched = false;
        } else if (idle(conv)) {
            seq_convs_drop(c, conv);
            return conv;
        }
    }
    return NULL;
}

static void
fill(struct seq_conv *conv, const struct an_conv *key, uint16_t slot, uint32_t hash)
{
    *conv = (struct seq_conv){
        .key = *key, .slot = slot, .used = true, .touched = true, .hash = hash};
    an_conv_users(key, &conv->users[0], &conv->users[1]);
    conv->waiting.tail = &conv->waiting.head;
    for (uint8_t i = 0; i < 2; i++) {
        struct seq_position *p = &conv->delivered[i];

        p->conv = conv;
        p->member = i;
        p->slot = slot;
        p->waiting.tail = &p->waiting.head;
    }
}

struct seq_conv *
seq_convs_get(struct seq_convs *c, const struct an_conv *key, uint16_t slot)
{
    uint32_t hash, probe, e;
    struct seq_conv *conv;

    hash = probe = (uint32_t)an_hash(&c->hash_key, key->bytes, AN_CONV_LEN);
    while ((e = seq_table_next(&c->table, hash, &probe)) != SEQ_NONE) {
        conv = &c->convs[e];
        if (memcmp(conv->key.bytes, key->bytes, AN_CONV_LEN) == 0) {
            conv->touched = true;
            return conv;
        }
    }
    conv = place(c);
    if (conv == NULL) {
        return NULL;
    }
    fill(conv, key, slot, hash);
    seq_table_put(&c->table, hash, (uint32_t)(conv - c->convs));
    c->count++;
    return conv;
}
