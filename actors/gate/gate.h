/* Gate: terminates client connections, authenticates them, turns frames into bus messages
 * and back. This is the pure half: every decision (who may do what, limits, slow
 * consumers, order after a refusal); gate_door.c is the half with sockets.
 *
 * Context: one actor, one thread, no locks. Never sees sockets or a clock. */
#ifndef AN_ACTORS_GATE_H
#define AN_ACTORS_GATE_H

#include "core/actor.h"
#include "core/apps.h"
#include "core/nets.h"
#include "core/token.h"
#include "core/topology.h"

/* What is counted for each user and for each address: X(name, OF, COMMAND, what). The
 * command's number, or 0: all that have no row of their own. */
#define GATE_RATES(X)                                                                    \
    X(user_sends, USER, AN_COMMAND_SEND, "Sends")                                        \
    X(user_syncs, USER, AN_COMMAND_SYNC, "Syncs")                                        \
    X(user_histories, USER, AN_COMMAND_HISTORY, "Histories")                             \
    X(user_confirms, USER, AN_COMMAND_CONFIRM, "Confirms")                               \
    X(user_heartbeats, USER, AN_COMMAND_HEARTBEAT, "Heartbeats")                         \
    X(user_logins, USER, AN_COMMAND_LOGIN, "Logins")                                     \
    X(address_logins, ADDRESS, AN_COMMAND_LOGIN, "Logins")                               \
    X(address_requests, ADDRESS, 0, "Requests")

struct gate_cfg {
    uint16_t index;
    const struct an_topology *topology; /* borrowed */
    uint64_t seed; /* of traces; also the gate's incarnation (not 0) */
    const struct an_token_keys
        *keys;                  /* borrowed; what a login token may be signed with */
    const struct an_apps *apps; /* borrowed; whose users are let in; NULL: any app's */
    /* 0 means the default of core/limits.h. */
    uint32_t conns_max;
    uint32_t heartbeat_ms;
    uint32_t idle_ms;
    uint32_t login_timeout_ms;
    uint32_t output_bytes_max;
    uint32_t sends_max;
    uint32_t submits_flying_max; /* to one (sequencer, store) */
/* 0 means no limit. */
#define GATE_CFG_RATE(name, of, command, what) uint32_t name##_per_s;
    GATE_RATES(GATE_CFG_RATE)
#undef GATE_CFG_RATE
    uint32_t address_conns_max;
    uint32_t rate_burst_s;           /* how many seconds' worth may come at once */
    const struct an_nets *unlimited; /* borrowed until create returns: addresses that
                                        those limits are not for; NULL: none */
};

/* AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err gate_create(struct an_actor **out, const struct gate_cfg *cfg);

#endif
