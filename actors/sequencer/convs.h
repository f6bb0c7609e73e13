/* Conversations in memory: heads and members. Bounded; an idle one that was not used
 * lately makes room, and is read again from the store on its next use. */
#ifndef AN_ACTORS_SEQUENCER_CONVS_H
#define AN_ACTORS_SEQUENCER_CONVS_H

#include "actors/sequencer/position.h"
#include "actors/sequencer/table.h"
#include "core/hash.h"
#include "core/limits.h"
#include "proto/rows.h"

struct seq_conv {
    struct an_conv key;
    uint16_t slot;
    bool used, touched;
    bool loaded, loading; /* the fields below; a read is out */
    uint64_t asked;       /* reads begun */
    uint64_t answered;    /* of those, the last one answered */
    uint32_t hash;
    uint32_t refs;     /* commands that point here */
    uint64_t head;     /* on disk */
    uint64_t assigned; /* given out, at least head */
    uint64_t last_time_ms;
    uint64_t users[2]; /* ascending; both the same for messages to oneself */
    uint8_t names[2][AN_NAME_LEN_MAX];
    uint8_t name_lens[2];
    struct seq_position delivered[2];
    struct seq_list waiting; /* sends and deliveries, for the load or a dedupe answer */
};

struct seq_convs {
    struct seq_table table;
    struct seq_conv *convs;
    uint32_t cap, count, hand;
    struct an_hash_key hash_key;
};

/* Room for max; false without memory. Seeds of the hash come from the runner. */
bool seq_convs_init(struct seq_convs *c, uint32_t max, uint64_t hash_seed);
void seq_convs_fini(struct seq_convs *c);
/* The cached one, or a new one that is not loaded. NULL when all are busy. */
struct seq_conv *seq_convs_get(struct seq_convs *c, const struct an_conv *key,
                               uint16_t slot);
/* Nothing may point at it any more. */
void seq_convs_drop(struct seq_convs *c, struct seq_conv *conv);

#endif
