/* Asks a running node, or one actor of a cluster, for words. Blocking: for command line
 * programs. */
#ifndef AN_CORE_CONTROL_H
#define AN_CORE_CONTROL_H

#include "core/err.h"
#include "core/places.h"
#include "core/topology.h"
#include <stddef.h>
#include <stdint.h>

/* The text endpoint of a process, as `nngcat --req` asks it. *out: the answer,
 * terminated, the caller's to free(). AN_ERR_UNAVAILABLE: nobody listens there.
 * AN_ERR_TIMEOUT, AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err an_control_ask(char **out, const char *url, const char *words,
                                       uint32_t timeout_ms);

/* Who asks: a command on a host of the cluster. */
struct an_control_from {
    const char *cluster;
    const struct an_topology *topology;
    const struct an_places *places; /* with certificates, when hosts are several */
    const char *run_dir;            /* of this host */
    uint16_t host; /* this one; AN_HOST_NONE: another machine with a certificate */
};

/* The mailbox of an actor, wherever it is: "stats", "help", "peers", "trace ID", or words
 * of the actor's own. *out: one JSON value, terminated, the caller's to free().
 * AN_ERR_UNAVAILABLE: not reached (*why: the address and why), AN_ERR_TIMEOUT,
 * AN_ERR_CLUSTER: it is of another cluster or has another slot map, AN_ERR_CONFIG: the
 * certificates (*why: the file), AN_ERR_ARGUMENT: the actor does not know the words, or
 * what it answered. AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err
an_control_ask_actor(char **out, const struct an_control_from *from, struct an_addr addr,
                     const char *words, uint32_t timeout_ms, char *why, size_t why_len);

#endif
