/* What goes out at the end of a drain: one DELIVER for each gate, or several when bytes
 * or items say so, and one PUSH for each other router. Bodies are borrowed from the
 * pushes that brought them, which are held until then. Context: the router actor's
 * thread. */
#ifndef AN_ACTORS_ROUTER_BATCH_H
#define AN_ACTORS_ROUTER_BATCH_H

#include "core/actor.h"
#include "core/limits.h"
#include "proto/bus.pb-c.h"

struct router_batch_gate {
    Anser__Bus__DeliverItem **items; /* AN_BATCH_ITEMS_MAX of them; NULL: never used */
    size_t count, bytes;
    uint64_t incarnation; /* of the gate; the router keeps it up to date */
};

/* What the users of another router are told. */
struct router_batch_peer {
    Anser__Bus__PushItem **items; /* as above */
    size_t count, bytes;
    unsigned flying; /* PUSHes not answered */
};

struct router_batch {
    struct router_batch_gate *gates;
    uint16_t gate_count;
    struct router_batch_peer *peers;
    uint16_t peer_count;
    struct an_arena arena;
    struct an_msg *held;
    size_t bytes; /* of all gates */
    uint64_t publishes, items, dropped, told;
};

/* AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err router_batch_init(struct router_batch *batch, uint16_t gate_count,
                                          uint16_t peer_count);
/* Drops what was not flushed. A zeroed batch is fine. */
void router_batch_fini(struct router_batch *batch);
/* item's body must live in msg, which is held. Its conns are copied. Publishes by itself
 * what grew too large. Without memory the item is dropped and counted: pushes are hints.
 */
void router_batch_add(struct router_batch *batch, uint16_t gate,
                      const Anser__Bus__DeliverItem *item, struct an_msg *msg,
                      struct an_outbox *out);
/* The same for something to tell a user of another router: item, in memory of msg, goes
 * there as it is. Dropped and counted when too much is under way to that one. */
void router_batch_tell(struct router_batch *batch, uint16_t peer,
                       const Anser__Bus__PushItem *item, struct an_msg *msg,
                       struct an_outbox *out);
/* An answer to one of those, whatever it says. tag: the ask's, the router's index. */
void router_batch_told(struct router_batch *batch, uint64_t tag);
void router_batch_flush(struct router_batch *batch, struct an_outbox *out);

#endif
