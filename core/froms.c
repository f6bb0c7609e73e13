#include "core/froms.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct an_from *
add(struct an_froms *froms, uint64_t hash, const uint8_t network[AN_ADDRESS_LEN],
    size_t size)
{
    struct an_from *from = calloc(1, size);

    if (from == NULL || !an_chains_add(&froms->chains, &from->chained, hash)) {
        free(from);
        return NULL;
    }
    memcpy(from->network, network, AN_ADDRESS_LEN);
    return from;
}

void *
an_froms_join(struct an_froms *froms, const uint8_t address[AN_ADDRESS_LEN], size_t size)
{
    uint8_t network[AN_ADDRESS_LEN];
    struct an_from *from;
    uint64_t hash;

    assert(size >= sizeof(*from));
    memcpy(network, address, sizeof(network));
    an_address_network(network);
    hash = an_hash(&froms->hash_key, network, sizeof(network));
    from = (struct an_from *)an_chains_first(&froms->chains, hash);
    while (from != NULL && memcmp(from->network, network, sizeof(network)) != 0) {
        from = (struct an_from *)an_chains_next(&from->chained);
    }
    if (from == NULL) {
        from = add(froms, hash, network, size);
    }
    if (from != NULL) {
        from->conns++;
    }
    return from;
}

void
an_froms_leave(struct an_froms *froms, struct an_from *from)
{
    assert(from->conns > 0);
    if (--from->conns > 0) {
        return;
    }
    an_chains_remove(&froms->chains, &from->chained);
    free(from);
}

void
an_froms_fini(struct an_froms *froms)
{
    assert(froms->chains.count == 0);
    an_chains_fini(&froms->chains);
}
