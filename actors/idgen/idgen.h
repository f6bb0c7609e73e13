/* Id generator: unique message ids (41 bits of milliseconds since 2025-01-01T00:00:00Z,
 * 10 bits of worker, 12 bits of sequence) in runs, and segments of small numbers.
 *
 * Issues only inside intervals of (worker, logical time) reserved by a durable
 * compare-and-set at the store, so that a restart, a clock stepped back or a second
 * instance with the same worker number never repeats an id.
 *
 * Context: one actor, one thread, no locks. */
#ifndef AN_ACTORS_IDGEN_H
#define AN_ACTORS_IDGEN_H

#include "core/actor.h"
#include "core/topology.h"

struct idgen_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed;                      /* also names this instance in its reservation */
    uint16_t worker;                    /* 0..1023, unique in the cluster */
    uint32_t reserve_ms;                /* 0: AN_ID_RESERVE_MS */
    uint32_t segment;                   /* 0: AN_ID_SEGMENT */
};

#define IDGEN_EPOCH_MS 1735689600000ull

/* AN_ERR_NO_MEMORY, AN_ERR_ARGUMENT (worker). The caller destroys *out. */
AN_MUST_USE enum an_err idgen_create(struct an_actor **out, const struct idgen_cfg *cfg);

#endif
