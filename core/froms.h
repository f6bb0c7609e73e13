/* What the connections of one address have in common, to be counted against its share: a
 * struct of the caller's for each address that connections are of now. An IPv6 address
 * counts as its network (an_address_network). The caller's struct begins with its struct
 * an_from, so that a pointer to that is one to the whole.
 *
 * Context: one thread at a time. */
#ifndef AN_CORE_FROMS_H
#define AN_CORE_FROMS_H

#include "core/chains.h"
#include "core/hash.h"
#include "core/nets.h"

struct an_from {
    struct an_chained chained; /* first */
    uint8_t network[AN_ADDRESS_LEN];
    uint32_t conns; /* that joined, and did not leave */
};

/* Zeroed: empty; hash_key is to be random then, as clients choose their addresses. */
struct an_froms {
    struct an_chains chains;
    struct an_hash_key hash_key;
};

/* Counts one more connection of the address; its struct, of size bytes and zeroed when it
 * is the first. NULL without memory: nothing was counted. */
void *an_froms_join(struct an_froms *froms, const uint8_t address[AN_ADDRESS_LEN],
                    size_t size);
/* Counts one less; the struct is gone with the last. */
void an_froms_leave(struct an_froms *froms, struct an_from *from);
/* All have left. */
void an_froms_fini(struct an_froms *froms);

#endif
