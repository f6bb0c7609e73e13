/* Router: who is online, on which gate, with which device. Soft state, announced by the
 * gates; turns "for this user" into "for these connections".
 *
 * Context: one actor, one thread, no locks. */
#ifndef AN_ACTORS_ROUTER_H
#define AN_ACTORS_ROUTER_H

#include "core/actor.h"
#include "core/apps.h"
#include "core/topology.h"

struct router_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed;                      /* also the router's incarnation (not 0) */
    uint32_t heartbeat_ms;              /* 0: AN_HEARTBEAT_MS */
    const struct an_apps *apps;         /* login policies; borrowed; NULL: none */
};

/* AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err router_create(struct an_actor **out,
                                      const struct router_cfg *cfg);

#endif
