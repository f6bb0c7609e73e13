/* Gate: terminates client connections, authenticates them, turns frames into bus messages
 * and back. This is the pure half: every decision (who may do what, limits, slow
 * consumers, order after a refusal); gate_door.c is the half with sockets.
 *
 * Context: one actor, one thread, no locks. Never sees sockets or a clock. */
#ifndef AN_ACTORS_GATE_H
#define AN_ACTORS_GATE_H

#include "core/actor.h"
#include "core/token.h"
#include "core/topology.h"

struct gate_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed; /* of traces; also the gate's incarnation (not 0) */
    const struct an_token_keys
        *keys; /* borrowed; what a login token may be signed with */
    /* 0 means the default of core/limits.h. */
    uint32_t conns_max;
    uint32_t heartbeat_ms;
    uint32_t idle_ms;
    uint32_t login_timeout_ms;
    uint32_t output_bytes_max;
    uint32_t sends_max;
    uint32_t submits_flying_max; /* to one (sequencer, store) */
};

/* AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err gate_create(struct an_actor **out, const struct gate_cfg *cfg);

#endif
