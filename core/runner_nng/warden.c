/* Looks after the connections of a process that has others around it: says which peer
 * cannot be reached and why, dials again where a dial stands still, says who was refused
 * at our own addresses, and lets the kernel notice hosts that vanished. One thread of the
 * runner, none for a process that is alone. */
#include "core/runner_nng/priv.h"
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    TICK_MS = 250,
    DOWN_MS = 1000,       /* a peer away for longer is said */
    SAY_AGAIN_MS = 30000, /* and said again */
    STUCK_MS = 2000,      /* a dial without an end is begun anew */
};

struct warden {
    struct an_runner *runner;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool quit;
};

/* ------------------------------------------------------------------ hosts that vanish */

static int
int_option(int fd, int level, int name)
{
    socklen_t len = sizeof(int);
    int value = 0;

    return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

static void
set_option(int fd, int name, int value)
{
    /* Only a slower notice of a dead host comes of a failure. */
    (void)setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value));
}

static void
watch_fd(int fd)
{
    set_option(fd, TCP_KEEPIDLE, AN_LINK_IDLE_MS / 1000);
    set_option(fd, TCP_KEEPINTVL, 1);
    set_option(fd, TCP_KEEPCNT, (AN_LINK_DEAD_MS - AN_LINK_IDLE_MS) / 1000);
    set_option(fd, TCP_USER_TIMEOUT, AN_LINK_DEAD_MS);
}

static uint16_t
port_of(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        return 0;
    }
    if (addr.ss_family == AF_INET) {
        return ntohs(((struct sockaddr_in *)&addr)->sin_port);
    }
    return addr.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&addr)->sin6_port)
                                      : 0;
}

/* Ours are found by what NNG can set: keepalive, on or (a listener, whose connections
 * inherit the rest) to come. Two hours is the kernel's idea of idle. */
static bool
to_be_watched(int fd, uint16_t listening)
{
    if (int_option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP) {
        return false;
    }
    if (listening != 0) {
        return int_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1 && port_of(fd) == listening;
    }
    return int_option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1 &&
           int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE) > (int)(AN_LINK_DEAD_MS / 1000);
}

void
links_watch_host(uint16_t listening)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (dir == NULL) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (end != entry->d_name && *end == '\0' && to_be_watched((int)fd, listening)) {
            watch_fd((int)fd);
        }
    }
    closedir(dir);
}

/* ------------------------------------------------------------------ links */

static void
say_down(struct link *link, uint64_t now_ms, const char *why)
{
    if (why != NULL) {
        link->why = why;
    }
    if (now_ms - link->down_ms < DOWN_MS ||
        (link->said_ms != 0 && now_ms - link->said_ms < SAY_AGAIN_MS)) {
        return;
    }
    link->said_ms = now_ms;
    an_log(AN_LOG_WARN, link->inst->who, "cannot reach %s/%u at %s for %llu ms: %s",
           an_role_name(link->to.role), (unsigned)link->to.index, link->url,
           (unsigned long long)(now_ms - link->down_ms),
           link->why == NULL ? "no answer" : link->why);
}

static void
say_up(struct link *link, uint64_t now_ms)
{
    if (link->said_ms != 0) {
        an_log(AN_LOG_INFO, link->inst->who, "reached %s/%u at %s after %llu ms",
               an_role_name(link->to.role), (unsigned)link->to.index, link->url,
               (unsigned long long)(now_ms - link->down_ms));
    }
    link->down_ms = 0;
    link->said_ms = 0;
    link->why = NULL;
}

/* A dial to a host that is gone takes the kernel two minutes, also when the host is back
 * after two seconds. Where others fail again and again, nothing at all happens here. */
static void
dial_anew(struct link *link, const char *why, uint64_t now_ms)
{
    if (why != NULL || link->moved_ms == 0) {
        link->moved_ms = now_ms;
        return;
    }
    if (link->reach == REACH_TLS && now_ms - link->moved_ms >= STUCK_MS) {
        link->moved_ms = now_ms;
        link_restart(link);
    }
}

static void
look_at_link(struct link *link, nng_stat *all, uint64_t now_ms)
{
    struct faults now;
    const char *why = NULL;

    if (atomic_load(&link->pipes) > 0) {
        if (link->down_ms != 0) {
            say_up(link, now_ms);
        }
        return;
    }
    if (link->down_ms == 0) {
        link->down_ms = now_ms;
        link->moved_ms = now_ms;
    }
    if (all != NULL && faults_read(all, "dialer", atomic_load(&link->dialer), &now)) {
        why = fault_meaning(faults_newer(&link->faults, &now));
        link->faults = now;
    }
    say_down(link, now_ms, why);
    dial_anew(link, why, now_ms);
}

/* ------------------------------------------------------------------ our addresses */

static void
look_at_ear(struct instance *inst, struct ear *ear, nng_stat *all, uint64_t now_ms)
{
    unsigned id = (unsigned)nng_listener_id(ear->listener);
    struct faults now;
    enum fault fault;

    if (ear->reach != REACH_TLS || all == NULL ||
        !faults_read(all, "listener", id, &now)) {
        return;
    }
    fault = faults_newer(&ear->faults, &now);
    /* The others also count connections that were lost later. */
    if ((fault != FAULT_auth && fault != FAULT_proto) ||
        (ear->said_ms != 0 && now_ms - ear->said_ms < LOG_GAP_MS)) {
        return; /* the next look sees it, too */
    }
    ear->said_ms = now_ms;
    ear->faults = now;
    an_log(AN_LOG_WARN, inst->who, "a connection to %s was refused: %s", ear->url,
           fault_meaning(fault));
}

static void
look_at_ears(struct instance *inst, nng_stat *all, uint64_t now_ms)
{
    for (size_t i = 0; i < EARS_MAX; i++) {
        look_at_ear(inst, &inst->mailbox.ears[i], all, now_ms);
    }
    for (size_t gate = 0; gate < inst->pub_count; gate++) {
        for (size_t i = 0; i < EARS_MAX; i++) {
            look_at_ear(inst, &inst->pubs[gate].ears[i], all, now_ms);
        }
    }
}

/* ------------------------------------------------------------------ the thread */

/* The next one that runs, from *index on; NULL: no more. Instances are not freed before
 * the warden ends, and those started open nothing more. */
static struct instance *
next_started(struct an_runner *runner, size_t *index)
{
    struct instance *inst = NULL;

    pthread_mutex_lock(&runner->lock);
    while (*index < runner->instance_count && inst == NULL) {
        inst = runner->instances[(*index)++];
        inst = inst->started ? inst : NULL;
    }
    pthread_mutex_unlock(&runner->lock);
    return inst;
}

static void
look_at_instance(struct instance *inst, nng_stat *all, uint64_t now_ms)
{
    for (size_t i = 0; i < inst->peer_count; i++) {
        look_at_link(&inst->peers[i]->link, all, now_ms);
    }
    for (size_t i = 0; i < inst->sub.link_count; i++) {
        look_at_link(&inst->sub.links[i], all, now_ms);
    }
    look_at_ears(inst, all, now_ms);
}

static void
look(struct an_runner *runner)
{
    uint64_t now_ms = clock_mono_ms();
    struct instance *inst;
    nng_stat *all = NULL;
    size_t index = 0;

    if (nng_stats_get(&all) != 0) {
        all = NULL;
    }
    if (atomic_exchange(&runner->fresh, 0) > 0) {
        links_watch_host(0);
    }
    while ((inst = next_started(runner, &index)) != NULL) {
        look_at_instance(inst, all, now_ms);
    }
    if (all != NULL) {
        nng_stats_free(all);
    }
}

static void *
warden_main(void *arg)
{
    struct warden *warden = arg;
    bool quit = false;

    pthread_setname_np(pthread_self(), "warden");
    while (!quit) {
        uint64_t until_ms = clock_mono_ms() + TICK_MS;
        struct timespec until = {(time_t)(until_ms / 1000),
                                 (long)(until_ms % 1000) * 1000000};
        look(warden->runner);
        pthread_mutex_lock(&warden->lock);
        while (!warden->quit &&
               pthread_cond_timedwait(&warden->wake, &warden->lock, &until) == 0) {
        }
        quit = warden->quit;
        pthread_mutex_unlock(&warden->lock);
    }
    return NULL;
}

enum an_err
warden_start(struct an_runner *runner)
{
    struct warden *warden;
    pthread_condattr_t attr;

    if (runner->cfg.places == NULL) {
        return AN_OK;
    }
    warden = calloc(1, sizeof(*warden));
    if (warden == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    warden->runner = runner;
    pthread_mutex_init(&warden->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&warden->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&warden->thread, NULL, warden_main, warden) != 0) {
        pthread_cond_destroy(&warden->wake);
        pthread_mutex_destroy(&warden->lock);
        free(warden);
        return AN_ERR_NO_MEMORY;
    }
    runner->warden = warden;
    return AN_OK;
}

void
warden_stop(struct an_runner *runner)
{
    struct warden *warden = runner->warden;

    if (warden == NULL) {
        return;
    }
    pthread_mutex_lock(&warden->lock);
    warden->quit = true;
    pthread_cond_signal(&warden->wake);
    pthread_mutex_unlock(&warden->lock);
    pthread_join(warden->thread, NULL);
    pthread_cond_destroy(&warden->wake);
    pthread_mutex_destroy(&warden->lock);
    free(warden);
    runner->warden = NULL;
}
