#include "client/cli/bench_pool.h"
#include "client/cli/target.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    SWEEP_MS = 5,
    SWEEP_MANY_MS = 50,
    MANY = 1000,
    TIMER_SLACK_NS = 1000
};

enum an_err
pool_init(struct pool *pool, size_t count)
{
    *pool = (struct pool){.epoll = epoll_create1(EPOLL_CLOEXEC), .count = count};
    pool->sweep_ms = count > MANY ? SWEEP_MANY_MS : SWEEP_MS;
    pool->clients = calloc(count, sizeof(*pool->clients));
    if (pool->clients == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    /* The kernel may wake a thread 50 us late, which would count as the server's. */
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    return pool->epoll < 0 ? AN_ERR_IO : AN_OK;
}

void
pool_fini(struct pool *pool)
{
    for (size_t i = 0; pool->clients != NULL && i < pool->count; i++) {
        pool_drop(pool, i);
    }
    free(pool->clients);
    pool->clients = NULL;
    if (pool->epoll >= 0) {
        close(pool->epoll);
    }
    pool->epoll = -1;
}

void
pool_put(struct pool *pool, size_t at, struct anser_client *client)
{
    pool->clients[at] = (struct pool_client){.client = client};
    pool_process(pool, at);
}

void
pool_drop(struct pool *pool, size_t at)
{
    anser_client_destroy(pool->clients[at].client);
    pool->clients[at] = (struct pool_client){0};
}

/* A closed descriptor left the epoll by itself; a new one has another link number. */
static void
watch(struct pool *pool, size_t at)
{
    struct pool_client *c = &pool->clients[at];
    struct epoll_event event = {.data.u64 = at};
    int fd = anser_client_fd(c->client);
    unsigned events = anser_client_events(c->client);
    bool fresh = anser_client_link(c->client) != c->link;

    if (fd < 0 || (!fresh && events == c->events)) {
        return;
    }
    event.events = ((events & ANSER_READ) != 0 ? EPOLLIN : 0u) |
                   ((events & ANSER_WRITE) != 0 ? EPOLLOUT : 0u);
    (void)epoll_ctl(pool->epoll, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    c->link = anser_client_link(c->client);
    c->events = events;
}

void
pool_process(struct pool *pool, size_t at)
{
    if (pool->clients[at].client != NULL) {
        (void)anser_client_process(pool->clients[at].client);
        watch(pool, at);
    }
}

void
pool_turn(struct pool *pool, uint64_t us)
{
    uint64_t sweep_us = (uint64_t)pool->sweep_ms * 1000;
    struct timespec wait = {.tv_nsec = (long)(us < sweep_us ? us : sweep_us) * 1000};
    struct epoll_event events[EVENTS];
    uint64_t now;
    int n = epoll_pwait2(pool->epoll, events, EVENTS, &wait, NULL);

    if (n < 0 && errno == ENOSYS) { /* Linux before 5.11: no finer than a millisecond */
        n = epoll_wait(pool->epoll, events, EVENTS, (int)(wait.tv_nsec / 1000000));
    }
    for (int i = 0; i < n; i++) {
        pool_process(pool, (size_t)events[i].data.u64);
    }
    now = cli_mono_ms();
    if (now - pool->swept_ms < pool->sweep_ms) {
        return;
    }
    pool->swept_ms = now;
    for (size_t i = 0; i < pool->count; i++) {
        struct anser_client *client = pool->clients[i].client;
        if (client != NULL && anser_client_timeout_ms(client) == 0) {
            pool_process(pool, i);
        }
    }
}

size_t
pool_online(const struct pool *pool)
{
    size_t online = 0;

    for (size_t i = 0; i < pool->count; i++) {
        struct anser_client *client = pool->clients[i].client;
        online += client != NULL && anser_client_state(client) == ANSER_STATE_ONLINE;
    }
    return online;
}
