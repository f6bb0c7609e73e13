/* The id generator's logical time and the ids of one of its milliseconds. Pure.
 *
 * Logical time is milliseconds since IDGEN_EPOCH_MS. It follows the wall clock forwards;
 * when that is stepped back, logical time goes on with the monotonic clock. It never goes
 * back, and ids come only out of the interval [lo, hi) that was reserved durably. */
#ifndef AN_ACTORS_IDGEN_CLOCK_H
#define AN_ACTORS_IDGEN_CLOCK_H

#include "core/actor.h"
#include "core/rng.h"

#define IDGEN_SEQUENCE_BITS 12u
#define IDGEN_WORKER_BITS   10u
#define IDGEN_PER_MS        (1u << IDGEN_SEQUENCE_BITS)
#define IDGEN_TIME_END      (1ull << 41)

/* Embedded. Zeroed and with rng seeded: nothing reserved yet. */
struct idgen_clock {
    struct an_rng rng;
    uint64_t worker;
    uint64_t logical_ms; /* as of mono_ms */
    uint64_t mono_ms;
    uint64_t lo, hi; /* reserved: lo <= ms < hi */

    /* The millisecond being used up. start and stride are drawn once for it, so that its
     * runs continue one permutation of 0..4095 (the stride is odd) and never overlap. */
    uint64_t ms;
    uint32_t used;
    uint32_t start;
    uint32_t stride;
};

struct idgen_run {
    uint64_t prefix;
    uint32_t start, stride, count;
};

/* Logical time now; at least what it said before. */
uint64_t idgen_clock_read(struct idgen_clock *clock, struct an_now now);
/* [lo, hi) is ours, durably. Joined to the present interval when it continues it. */
void idgen_clock_reserved(struct idgen_clock *clock, uint64_t lo, uint64_t hi);
/* Up to count ids, all of one millisecond. false: the interval is used up. */
bool idgen_clock_take(struct idgen_clock *clock, struct an_now now, uint32_t count,
                      struct idgen_run *run);
/* How many milliseconds of the interval are still to come. */
uint64_t idgen_clock_left(struct idgen_clock *clock, struct an_now now);

#endif
