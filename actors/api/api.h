/* Api: what is not a live connection. Today: accounts, by words on the node's control
 * endpoint (`anser user add`); HTTP comes later.
 *
 * Context: one actor, one thread, no locks. */
#ifndef AN_ACTORS_API_H
#define AN_ACTORS_API_H

#include "core/actor.h"
#include "core/topology.h"

struct api_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed;
};

/* AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err api_create(struct an_actor **out, const struct api_cfg *cfg);

#endif
