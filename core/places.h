/* Where actor instances are: which process, which host, which ports. With it a runner
 * chooses how to reach another instance:
 *
 *   the same process   inproc://anser-CLUSTER-store-0
 *   the same host      ipc://RUN_DIR/store-0
 *   another host       tls+tcp://ADDRESS:PORT, with certificates of both
 *
 * and binds each mailbox (and a router's socket for each gate) to those of the three
 * that somebody uses. Filled by cluster/ at start, constant afterwards; runners borrow
 * it. */
#ifndef AN_CORE_PLACES_H
#define AN_CORE_PLACES_H

#include "core/topology.h"

enum { AN_HOST_NAME_MAX = 32, AN_ADDRESS_MAX = 64, AN_PATH_LEN_MAX = 256 };
enum { AN_HOST_NONE = 0xffff }; /* an index of no host */

struct an_host {
    char name[AN_HOST_NAME_MAX + 1];  /* what its certificate is made for */
    char address[AN_ADDRESS_MAX + 1]; /* numeric, or a name to resolve */
};

struct an_place {
    uint16_t host;    /* index into hosts */
    uint16_t process; /* unique in the cluster */
    uint16_t port;    /* of the mailbox between hosts; 0: nobody elsewhere needs one */
    uint16_t hints; /* router: of its socket for gate 0; that for gate N is N above it */
};

struct an_places {
    struct an_host *hosts;
    uint16_t host_count;
    struct an_place *of[AN_ROLE_COUNT]; /* by role, then index; topology's counts */
    /* PEM files of this host; needed when there is more than one. */
    char ca[AN_PATH_LEN_MAX], cert[AN_PATH_LEN_MAX], key[AN_PATH_LEN_MAX];
};

static inline const struct an_place *
an_place_of(const struct an_places *places, struct an_addr addr)
{
    return &places->of[addr.role][addr.index];
}

#endif
