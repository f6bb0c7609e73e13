/* Store: the durable timelines of its slots. One synced log record per batch; it gives
 * the inbox numbers, answers reads, and emits pushes after the sync. What a row means is
 * decided here; how rows are kept is the engine's (store/engine.h).
 *
 * Context: one actor, one thread, no locks. */
#ifndef AN_ACTORS_STORE_H
#define AN_ACTORS_STORE_H

#include "core/actor.h"
#include "core/topology.h"
#include "store/engine.h"

struct store_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed;
    /* kind, dir, files, host.fatal and limits are the caller's; the actor fills in the
     * rest of host, the store id and the slot range. */
    struct engine_cfg engine;
    /* 0 means the default of core/limits.h. */
    uint64_t dedupe_window_ms;
    uint32_t page_items_max;
    uint32_t page_bytes_max;
    uint32_t outgoing_rows_max;
    size_t outgoing_bytes_max;
};

/* Opens the engine, which may replay a log: the errors and *why of engine_open, or
 * AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err store_create(struct an_actor **out, const struct store_cfg *cfg,
                                     char *why, size_t why_len);

#endif
