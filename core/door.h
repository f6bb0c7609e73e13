/* A door: the runner-side half of an actor whose peers are not on the bus (the gate's TCP
 * connections, the api's HTTP requests). It turns bytes into CONN_* or HTTP messages and
 * such effects into bytes, and it decides nothing. The actor's thread belongs to the
 * door's event loop; the runner does its own work in the loop's turns:
 *
 *   before the thread: door->ops->start(door, &host)  listens, accepts nothing yet
 *   the thread:        door->ops->run(door)           until quit; in a loop:
 *       socket events        -> host.deliver(msg): step the actor, once for each
 *       end of a loop turn   -> host.turn(): the runner steps the actor with mailbox,
 *                               due timers and finished jobs; calls drained; carries out
 *                               the outbox (CONN_SEND, CONN_CLOSE: ops->carry, others by
 *                               itself); ops->flush(door); then clears the outbox
 *   any thread:        door->ops->wake(door)          a turn soon: bus, timer or job
 *
 * Context: everything on the door's thread except wake and reload, and create, start,
 * address and destroy, which come before run() or after it returned. Needs neither NNG
 * nor libuv: core/runner_nng/ calls doors, actors/gate/gate_door.c is one, a test may be
 * the host.
 */
#ifndef AN_CORE_DOOR_H
#define AN_CORE_DOOR_H

#include "core/actor.h"
#include <stdbool.h>
#include <stdint.h>

struct an_door;

/* The runner, as its door sees it. */
struct an_door_host {
    void *ctx;
    /* One CONN_* or HTTP message: step the actor with it now. It is borrowed: it and the
     * bytes it points at are gone when this returns, so an actor copies what it keeps and
     * never holds one. The host may, when AN_DRAIN_MSGS_MAX steps are full, call drained
     * and carry out effects (ops->carry, ops->flush) inside this call. */
    void (*deliver)(void *ctx, struct an_msg *msg);
    /* Called after every batch of socket events, after a wake, and when the time returned
     * last has passed. Returns in how many ms it wants the next call at the latest: 0 at
     * once (more work waits; sockets get a look in between), UINT64_MAX when only events
     * matter. */
    uint64_t (*turn)(void *ctx);
};

struct an_door_ops {
    /* Binds and listens; accepts from the first turn of run() on. *host is copied. An
     * error (AN_ERR_CONFIG: the URL; AN_ERR_CONNECTION: the address cannot be had) leaves
     * the door to be destroyed. */
    enum an_err (*start)(struct an_door *door, const struct an_door_host *host);
    /* The bound address, "tcp://HOST:PORT" or its kin with the real port; valid after
     * start, for the door's life. Index 0 up to the number of listeners; NULL beyond. */
    const char *(*address)(const struct an_door *door, unsigned index);
    /* The loop. Calls host.turn() at least once before anything else, so that the actor's
     * START may run in it. Returns after quit. */
    void (*run)(struct an_door *door);
    /* Thread safe, cheap, may be called at any time between start and destroy. */
    void (*wake)(struct an_door *door);
    /* One CONN_SEND, CONN_CLOSE or HTTP effect. bytes: its effect->len bytes; they must
     * stay where they are until flush. Of a connection that is gone: nothing happens.
     * Delivers nothing. */
    void (*carry)(struct an_door *door, const struct an_effect *effect,
                  const uint8_t *bytes);
    /* Writes what was carried: one write for each connection. Delivers nothing. */
    void (*flush)(struct an_door *door);
    /* Reads again the files that new connections are met with (certificates); those that
     * are there keep what they have. Any thread, between start and destroy; blocks for
     * the files. An error, with *why, changes nothing. */
    enum an_err (*reload)(struct an_door *door, char *why, size_t why_len);
    /* Every metric that the door keeps itself, as an actor's own are. NULL: none. */
    void (*metrics)(const struct an_door *door, an_metric_f *metric, void *ctx);
    /* Accept no more (the actor was told to stop). Connections stay. */
    void (*close_listeners)(struct an_door *door);
    /* run() closes what is left, after at most a bounded time for unsent output, delivers
     * nothing any more and returns. Call it when the actor has stopped. */
    void (*quit)(struct an_door *door);
    /* After run() returned, or when it never ran. */
    void (*destroy)(struct an_door *door);
};

/* First member of every door's struct. */
struct an_door {
    const struct an_door_ops *ops;
};

#endif
