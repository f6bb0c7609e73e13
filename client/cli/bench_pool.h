/* Many clients in one thread, on one epoll: what a load generator stands on, and an
 * example of the library in an event loop. */
#ifndef AN_CLIENT_CLI_BENCH_POOL_H
#define AN_CLIENT_CLI_BENCH_POOL_H

#include "client/anser.h"
#include "core/err.h"

/* A slot of the pool; user pointer of its client's callbacks is the owner's. */
struct pool_client {
    struct anser_client *client; /* NULL: free */
    uint64_t link;               /* what is registered */
    unsigned events;
};

struct pool {
    int epoll;
    struct pool_client *clients;
    size_t count;
    uint64_t swept_ms;
    uint32_t sweep_ms; /* timers of clients are looked at this often */
};

/* IO, NO_MEMORY. */
AN_MUST_USE enum an_err pool_init(struct pool *pool, size_t count);
void pool_fini(struct pool *pool);
/* Puts a client into a slot; the pool destroys it. */
void pool_put(struct pool *pool, size_t at, struct anser_client *client);
void pool_drop(struct pool *pool, size_t at);
/* Processes one client now: after something was sent through it, for example. */
void pool_process(struct pool *pool, size_t at);
/* Waits at most so many microseconds, asleep all the while, and processes whatever is
 * ready: what measures a server must not take a core from it. */
void pool_turn(struct pool *pool, uint64_t us);
size_t pool_online(const struct pool *pool);

#endif
