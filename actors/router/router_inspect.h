/* The router's answers to an operator: who is online, with which device, where. */
#ifndef AN_ACTORS_ROUTER_INSPECT_H
#define AN_ACTORS_ROUTER_INSPECT_H

#include "actors/router/router_table.h"
#include "core/actor.h"

/* Answers msg, an INSPECT. ARGUMENT: no such words. */
void router_inspect(const struct router_table *table, struct an_msg *msg,
                    struct an_outbox *out);

#endif
