#include "core/topology.h"
#include <assert.h>

void
an_topology_single(struct an_topology *topology)
{
    *topology = (struct an_topology){0};
    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        topology->count[role] = 1;
    }
}

struct an_addr
an_topology_sequencer(const struct an_topology *topology, uint16_t slot)
{
    assert(slot < AN_SLOTS);
    return (struct an_addr){AN_ROLE_SEQUENCER, topology->slot_sequencer[slot]};
}

struct an_addr
an_topology_store(const struct an_topology *topology, uint16_t slot)
{
    assert(slot < AN_SLOTS);
    return (struct an_addr){AN_ROLE_STORE, topology->slot_store[slot]};
}

struct an_addr
an_topology_router(const struct an_topology *topology, uint16_t slot)
{
    assert(slot < AN_SLOTS);
    return (struct an_addr){AN_ROLE_ROUTER, topology->slot_router[slot]};
}
