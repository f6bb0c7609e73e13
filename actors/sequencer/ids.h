/* Message ids in hand: runs taken from an id generator ahead of need. Pure; who asks the
 * generator is sequencer.c. */
#ifndef AN_ACTORS_SEQUENCER_IDS_H
#define AN_ACTORS_SEQUENCER_IDS_H

#include "core/actor.h"
#include "proto/bus.pb-c.h"

enum { SEQ_RUNS_MAX = 32 };

struct seq_id_run {
    uint64_t prefix;
    uint32_t start, stride, count, used;
    uint64_t taken_mono_ms;
};

/* Embedded, zeroed. */
struct seq_ids {
    struct seq_id_run runs[SEQ_RUNS_MAX];
    uint32_t first, run_count;
    uint32_t left;
    uint32_t block; /* ids wanted at a time; grows when they run out */
    bool asking;
};

/* false: none left. Runs too old are thrown away: an id tells its time roughly. */
bool seq_ids_take(struct seq_ids *ids, struct an_now now, uint64_t *id);
/* Throws old runs away; are there any left? */
bool seq_ids_any(struct seq_ids *ids, struct an_now now);
/* Is it time to ask for more? */
bool seq_ids_low(const struct seq_ids *ids, struct an_now now);
void seq_ids_add(struct seq_ids *ids, const Anser__Bus__TakenIds *taken,
                 struct an_now now);

#endif
