/* Sequencer: the single decider of its slots. Admission, retries, the next number, the
 * batch. Never sees sockets, storage or a clock.
 *
 * Context: one actor, one thread, no locks. */
#ifndef AN_ACTORS_SEQUENCER_H
#define AN_ACTORS_SEQUENCER_H

#include "core/actor.h"
#include "core/topology.h"

struct sequencer_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed;
    /* 0 means the default of core/limits.h. */
    uint64_t dedupe_window_ms;
    uint32_t dedupe_rows_max;
    uint32_t convs_max;
    uint32_t pending_bytes_max;
    uint32_t confirm_delay_ms;
};

/* AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err sequencer_create(struct an_actor **out,
                                         const struct sequencer_cfg *cfg);

#endif
