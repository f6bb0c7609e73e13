#include "core/topology.h"
#include "proto/bytes.h"
#include <assert.h>
#include <sodium.h>
#include <string.h>

enum { DIGEST_LEN = 16 }; /* the shortest that libsodium makes */

static uint64_t
digest(const void *data, size_t len)
{
    uint8_t out[DIGEST_LEN];
    int rv = crypto_generichash(out, sizeof(out), data, len, NULL, 0);

    assert(rv == 0);
    return an_get_u64(out);
}

uint64_t
an_cluster_digest(const char *cluster)
{
    return digest(cluster, strlen(cluster));
}

uint64_t
an_topology_digest(const struct an_topology *topology)
{
    uint8_t text[AN_SLOTS * 2];

    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        an_put_u16(text + 2 * (size_t)slot, topology->slot_store[slot]);
    }
    return digest(text, sizeof(text));
}

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

uint16_t
an_topology_other(const struct an_topology *topology, uint16_t slot, uint16_t sequencer)
{
    assert(slot < AN_SLOTS);
    return sequencer == topology->slot_sequencer[slot] ? topology->slot_standby[slot]
                                                       : topology->slot_sequencer[slot];
}
