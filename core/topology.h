/* Who owns which slot, and how many of each actor there are. Filled by cluster/ at start,
 * constant afterwards; actors and runners borrow it. */
#ifndef AN_CORE_TOPOLOGY_H
#define AN_CORE_TOPOLOGY_H

#include "core/limits.h"
#include "proto/roles.h"
#include <stdint.h>

struct an_topology {
    uint16_t count[AN_ROLE_COUNT];     /* instances of each role, indices from 0 */
    uint16_t slot_sequencer[AN_SLOTS]; /* index of the owner */
    uint16_t slot_standby[AN_SLOTS];   /* of the sequencer to ask when it is gone; may be
                                          the owner */
    uint16_t slot_store[AN_SLOTS];
    uint16_t slot_router[AN_SLOTS]; /* of the user's slot */
};

/* What peers compare before they talk: the digest of a cluster's name, and of which store
 * has which slot. First 8 bytes of BLAKE2b, big-endian. */
uint64_t an_cluster_digest(const char *cluster);
uint64_t an_topology_digest(const struct an_topology *topology);

/* One of each actor, every slot on index 0. */
void an_topology_single(struct an_topology *topology);
struct an_addr an_topology_sequencer(const struct an_topology *topology, uint16_t slot);
struct an_addr an_topology_store(const struct an_topology *topology, uint16_t slot);
struct an_addr an_topology_router(const struct an_topology *topology, uint16_t slot);
/* Whom else to ask about a slot when this sequencer is away: the owner's standby, and the
 * owner instead of anybody else. The same one: there is nobody else. */
uint16_t an_topology_other(const struct an_topology *topology, uint16_t slot,
                           uint16_t sequencer);

#endif
