/* The kinds of actor, and an actor instance's address. */
#ifndef AN_PROTO_ROLES_H
#define AN_PROTO_ROLES_H

#include <stdint.h>

/* X(ROLE, name). Numbers travel in envelopes: append only. */
#define AN_ROLES(X)                                                                      \
    X(NONE, "none")                                                                      \
    X(GATE, "gate")                                                                      \
    X(ROUTER, "router")                                                                  \
    X(SEQUENCER, "sequencer")                                                            \
    X(STORE, "store")                                                                    \
    X(IDGEN, "idgen")                                                                    \
    X(API, "api")                                                                        \
    X(RUNNER, "runner")

#define AN_ROLE_ENUM(role, name) AN_ROLE_##role,
enum an_role { AN_ROLES(AN_ROLE_ENUM) AN_ROLE_COUNT };
#undef AN_ROLE_ENUM

/* "sequencer/0" */
struct an_addr {
    uint8_t role; /* enum an_role */
    uint16_t index;
};

const char *an_role_name(unsigned role); /* "unknown" outside the table */

#endif
