/* Who is online, for the app's back end. Context: the router actor's thread. */
#ifndef AN_ACTORS_ROUTER_ONLINE_H
#define AN_ACTORS_ROUTER_ONLINE_H

#include "actors/router/router_table.h"
#include "core/actor.h"

enum { ROUTER_LIVE_MAX = 256 };

/* Gates that show signs of life. */
struct router_live {
    uint32_t gates[ROUTER_LIVE_MAX];
    size_t count;
};

/* Answers an Online. complete: every gate has announced its sessions. AN_ERR_ARGUMENT to
 * one that names too many users, AN_ERR_NO_MEMORY. */
void router_online_answer(const struct router_table *table, bool complete,
                          const struct router_live *live, struct an_msg *msg,
                          struct an_outbox *out);

#endif
