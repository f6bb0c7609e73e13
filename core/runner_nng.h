/* The NNG runner: runs actors on real sockets, threads and clocks.
 *
 * Each actor instance has one thread (a gate: its door's event loop), one mailbox (a REP
 * socket), one REQ socket for each instance it may ask, and for hints one PUB socket for
 * each (router, gate). Addresses follow from topology and places (core/places.h):
 * `inproc://anser-CLUSTER-store-0`, `ipc://RUN_DIR/store-0`, `tls+tcp://ADDRESS:PORT`.
 * Every message carries digests of the cluster's name and of the stores' slots; who has
 * others is refused, both sides say so, and the asking actor sees AN_ERR_UNAVAILABLE.
 *
 * Context: create, add, start, stop and destroy belong to one thread, the node's. */
#ifndef AN_CORE_RUNNER_NNG_H
#define AN_CORE_RUNNER_NNG_H

#include "core/actor.h"
#include "core/door.h"
#include "core/places.h"
#include "core/topology.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct an_runner;

enum an_bus { AN_BUS_INPROC, AN_BUS_IPC };

struct an_runner_cfg {
    const char *cluster; /* its name: of inproc addresses, and in every digest */
    const char *run_dir; /* 0700; holds the ipc sockets */
    enum an_bus bus;
    const struct an_topology *topology; /* borrowed until destroy */
    const struct an_places *places; /* borrowed; NULL: all in this process, over bus */
    uint16_t process;               /* which of places this one is */
    const char *control;            /* URL of the text endpoint; NULL: none */
    const char *events;             /* URL of the event endpoint; NULL: none */
    bool untraced;                  /* keep no hops for `ACTOR trace ID` */
    /* An actor cannot go on (AN_EFFECT_FAILED). Called on its thread. NULL: the process
     * logs why and exits with the error's exit code. */
    void (*failed)(void *ctx, struct an_addr addr, enum an_err err, const char *why);
    void *ctx;
    /* 0 means the default of core/limits.h. */
    uint32_t mailbox_msgs_max;
    uint32_t readers; /* threads of the READ lane */
};

/* Reads the certificates, when hosts are several, and binds the inspection endpoints.
 * AN_ERR_NO_MEMORY, AN_ERR_CONNECTION (*why names the address), AN_ERR_CONFIG (*why names
 * the file). Strings of cfg are copied. */
AN_MUST_USE enum an_err an_runner_create(struct an_runner **out,
                                         const struct an_runner_cfg *cfg, char *why,
                                         size_t why_len);
/* Takes the actor, and for a gate its door (NULL otherwise): both are destroyed by the
 * runner, also on failure. Binds the actor's mailbox and starts the door's listening, but
 * steps nothing. Add all actors of a process before the first start: listeners first,
 * dials after. AN_ERR_NO_MEMORY, AN_ERR_CONNECTION, or the door's error, with *why. */
AN_MUST_USE enum an_err an_runner_add(struct an_runner *runner, struct an_actor *actor,
                                      uint16_t index, struct an_door *door, char *why,
                                      size_t why_len);
/* Dials whom it may ask, starts the actor's thread, delivers START. AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err an_runner_start(struct an_runner *runner, struct an_addr addr);
/* Waits until the actor said it can serve. AN_ERR_TIMEOUT. */
AN_MUST_USE enum an_err an_runner_wait_ready(struct an_runner *runner,
                                             struct an_addr addr, uint32_t timeout_ms);
/* Delivers STOP and waits until the actor is done; a door's listeners close first. The
 * actor still answers until destroy, except a gate. AN_ERR_TIMEOUT. One that was never
 * started: AN_OK. */
AN_MUST_USE enum an_err an_runner_stop(struct an_runner *runner, struct an_addr addr,
                                       uint32_t timeout_ms);
/* Ends every thread, waits for jobs that run, destroys the actors, then closes every
 * socket. What was not stopped before is dropped as by a crash. NULL is fine. NNG 1.5.2
 * may never end the close of an ipc or TCP connection on which a message is just coming
 * in: a process that has to end uses an_runner_destroy_within. */
void an_runner_destroy(struct an_runner *runner);
/* The same, but waits for the sockets at most that long. False: the actors are destroyed
 * (a store has closed its files), connections are not all closed, and runner belongs to a
 * thread that still tries: log it and end the process with _exit(); exit() would wait for
 * NNG, too. */
AN_MUST_USE bool an_runner_destroy_within(struct an_runner *runner, uint32_t timeout_ms);

#endif
