#include "actors/gate/gate_door_priv.h"
#include "core/limits.h"
#include "core/log.h"
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void
gate_door_log(struct gate_door *door, int level, const char *line)
{
    if (door->cfg.log != NULL) {
        door->cfg.log(door->cfg.log_ctx, level, line);
    }
}

/* ------------------------------------------------------------------ shared buffers */

uint8_t *
gate_door_scratch(struct door_scratch *scratch, size_t more)
{
    if (scratch->len + more > scratch->cap) {
        size_t cap = scratch->cap == 0 ? 4096 : scratch->cap;
        uint8_t *bigger;

        while (cap < scratch->len + more) {
            cap *= 2;
        }
        bigger = realloc(scratch->data, cap);
        if (bigger == NULL) {
            return NULL;
        }
        scratch->data = bigger;
        scratch->cap = cap;
    }
    return scratch->data + scratch->len;
}

void
gate_door_scratch_clear(struct door_scratch *scratch)
{
    scratch->len = 0;
    if (scratch->cap > DOOR_SCRATCH_BYTES) {
        free(scratch->data);
        *scratch = (struct door_scratch){0};
    }
}

/* ------------------------------------------------------------------ addresses */

static void
address_print(struct door_listener *listener)
{
    struct an_listen bound = {.scheme = listener->at.scheme};
    int len = sizeof(bound.at);

    if (uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound.at, &len) == 0) {
        an_listen_print(&bound, listener->address, sizeof(listener->address));
    }
}

static const char *
address(const struct an_door *base, unsigned index)
{
    const struct gate_door *door = (const struct gate_door *)base;

    return index < door->listener_count ? door->listeners[index].address : NULL;
}

/* ------------------------------------------------------------------ listening */

static void
on_connection(uv_stream_t *stream, int status)
{
    if (status == 0) {
        gate_door_accept(stream->loop->data, (struct door_listener *)stream);
    }
}

void
gate_door_accept_more(struct gate_door *door)
{
    door->full = false;
    for (unsigned i = 0; i < door->listener_count && !door->quitting; i++) {
        if (door->listeners[i].open && door->listeners[i].waiting) {
            gate_door_accept(door, &door->listeners[i]);
        }
    }
    if (!door->full && door->full_logged) {
        door->full_logged = false;
        gate_door_log(door, AN_LOG_INFO, "descriptors are free: accepting again");
    }
}

static void
on_wake(uv_async_t *async)
{
    (void)async; /* the loop comes round: that is all */
}

/* Whoever waits longer than a client has patience has gone when its turn comes: so few
 * are kept waiting, and the others' kernels try again by themselves. */
static int
backlog(const struct gate_door_cfg *cfg)
{
    uint64_t len = (uint64_t)cfg->accept_per_s * AN_ACCEPT_WAIT_S;

    if (len == 0) {
        return DOOR_BACKLOG;
    }
    return len < DOOR_BACKLOG_MIN   ? DOOR_BACKLOG_MIN
           : len > DOOR_BACKLOG_MAX ? DOOR_BACKLOG_MAX
                                    : (int)len;
}

static enum an_err
listen_at(struct gate_door *door, struct door_listener *listener)
{
    char line[128];
    int rv = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&listener->at.at, 0);

    if (rv == 0) {
        rv = uv_listen((uv_stream_t *)&listener->tcp, backlog(&door->cfg), on_connection);
    }
    if (rv != 0) {
        snprintf(line, sizeof(line), "cannot listen: %s", uv_strerror(rv));
        gate_door_log(door, AN_LOG_ERROR, line);
        return AN_ERR_CONNECTION;
    }
    return AN_OK;
}

static enum an_err
start(struct an_door *base, const struct an_door_host *host)
{
    struct gate_door *door = (struct gate_door *)base;

    door->host = *host;
    for (unsigned i = 0; i < door->listener_count; i++) {
        struct door_listener *listener = &door->listeners[i];

        if (uv_tcp_init(&door->loop, &listener->tcp) != 0) {
            return AN_ERR_NO_MEMORY;
        }
        listener->open = true;
        if (listen_at(door, listener) != AN_OK) {
            return AN_ERR_CONNECTION;
        }
        address_print(listener);
    }
    door->started = true;
    return AN_OK;
}

static void
close_listeners(struct an_door *base)
{
    struct gate_door *door = (struct gate_door *)base;

    for (unsigned i = 0; i < door->listener_count; i++) {
        if (door->listeners[i].open) {
            door->listeners[i].open = false;
            uv_close((uv_handle_t *)&door->listeners[i].tcp, NULL);
        }
    }
}

/* ------------------------------------------------------------------ the loop */

static void
wake(struct an_door *base)
{
    uv_async_send(&((struct gate_door *)base)->async);
}

static void
on_turn_due(uv_timer_t *timer)
{
    (void)timer; /* the loop comes round */
}

/* Waits for sockets, wakes and the actor's next timer, and does what came. */
static void
loop_once(struct gate_door *door, uint64_t wait_ms)
{
    if (wait_ms == 0) {
        uv_run(&door->loop, UV_RUN_NOWAIT);
        return;
    }
    if (wait_ms != UINT64_MAX) {
        uv_update_time(&door->loop);
        uv_timer_start(&door->turn_timer, on_turn_due, wait_ms, 0);
    }
    uv_run(&door->loop, UV_RUN_ONCE);
    uv_timer_stop(&door->turn_timer);
}

static void
on_told_due(uv_timer_t *timer)
{
    gate_door_kill_told(timer->data);
}

static void
end_one(struct gate_door *door, struct door_conn *conn)
{
    if (!conn->open && !conn->ending) {
        gate_door_kill(conn); /* in the middle of a handshake */
        return;
    }
    conn->finish = true;
    gate_door_finish(door, conn);
}

/* Whoever is left gets its last words, and a bounded time to read them; one that has got
 * them a short time only, since clients that do not close must not hold the end. */
static void
end_all(struct gate_door *door)
{
    door->turn_timer.data = door;
    uv_update_time(&door->loop);
    uv_timer_start(&door->turn_timer, on_told_due, AN_GATE_LINGER_MS, AN_GATE_LINGER_MS);
    close_listeners(&door->door);
    for (uint32_t i = 0; i < door->conn_cap; i++) {
        if (door->conns[i] != NULL) {
            end_one(door, door->conns[i]);
        }
    }
    while (door->stats.conns > 0) {
        uv_run(&door->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&door->turn_timer);
}

static void
run(struct an_door *base)
{
    struct gate_door *door = (struct gate_door *)base;
    uint64_t wait_ms = door->host.turn(door->host.ctx);

    while (!door->quitting) {
        /* The actor counts on hearing of stuck output before of anything else. */
        if (gate_door_report(door)) {
            wait_ms = 0;
        }
        loop_once(door, wait_ms);
        wait_ms = door->host.turn(door->host.ctx);
        /* Ends that the door itself began: a turn without a step has flushed nothing. */
        if (door->touched_count > 0) {
            gate_door_flush(&door->door);
        }
    }
    end_all(door);
}

static void
quit(struct an_door *base)
{
    struct gate_door *door = (struct gate_door *)base;

    door->quitting = true;
    uv_async_send(&door->async);
}

/* ------------------------------------------------------------------ life */

static void
close_any(uv_handle_t *handle, void *arg)
{
    struct gate_door *door = arg;

    if (uv_is_closing(handle)) {
        return;
    }
    for (uint32_t i = 0; i < door->conn_cap; i++) {
        if ((uv_handle_t *)door->conns[i] == handle) {
            gate_door_kill(door->conns[i]);
            return;
        }
    }
    uv_close(handle, NULL);
}

static void
destroy(struct an_door *base)
{
    struct gate_door *door = (struct gate_door *)base;
    int left;

    if (door == NULL) {
        return;
    }
    door->quitting = true;
    if (door->loop_made) {
        uv_walk(&door->loop, close_any, door);
        uv_run(&door->loop, UV_RUN_DEFAULT);
        left = uv_loop_close(&door->loop);
        assert(left == 0);
    }
    gate_tls_fini(&door->tls);
    gate_noise_fini(&door->noise);
    gate_ws_shared_fini(&door->ws);
    an_arena_fini(&door->arena);
    gate_from_fini(door);
    free(door->origins);
    free(door->gathered.data);
    free(door->conns);
    free(door->free_list);
    free(door->segs);
    free(door->touched);
    free(door->reports);
    free(door);
}

static uint32_t
descriptors_max(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) {
        return INT32_MAX;
    }
    return (uint32_t)limit.rlim_cur;
}

static bool
loop_make(struct gate_door *door)
{
    if (uv_loop_init(&door->loop) != 0) {
        return false;
    }
    door->loop_made = true;
    door->loop.data = door;
    return uv_async_init(&door->loop, &door->async, on_wake) == 0 &&
           uv_timer_init(&door->loop, &door->turn_timer) == 0 &&
           uv_timer_init(&door->loop, &door->cert_timer) == 0 &&
           uv_timer_init(&door->loop, &door->accept_timer) == 0 &&
           gate_door_waits_init(door, &door->shaking, door->cfg.handshake_ms) &&
           gate_door_waits_init(door, &door->finishing, door->cfg.close_ms);
}

static void
defaults(struct gate_door_cfg *cfg)
{
#define DEFAULT(field, value) cfg->field = cfg->field == 0 ? (value) : cfg->field
    DEFAULT(frame_len_max, AN_FRAME_LEN_MAX);
    DEFAULT(close_ms, DOOR_CLOSE_MS);
    DEFAULT(handshake_ms, AN_HANDSHAKE_MS);
    DEFAULT(handshakes_max, AN_HANDSHAKES_MAX);
    DEFAULT(login_len_max, AN_DOOR_LOGIN_HELD);
#undef DEFAULT
}

/* Clients refuse an expired certificate. It is shown all the same: some do not look. */
static void
warn_expired(struct gate_door *door)
{
    char line[DOOR_LINE_MAX];
    int level;

    if (gate_tls_expires(&door->tls, &level, line, sizeof(line))) {
        gate_door_log(door, level, line);
    }
}

/* Once a day. */
static void
on_cert_look(uv_timer_t *timer)
{
    warn_expired(timer->loop->data);
}

static enum an_err
take_listeners(struct gate_door *door, char *why, size_t why_len)
{
    const struct gate_door_cfg *cfg = &door->cfg;
    enum an_err err = AN_OK;
    bool tls = false, noise = false;

    if (cfg->listen_count > GATE_DOOR_LISTEN_MAX) {
        snprintf(why, why_len, "more than %u addresses to listen on",
                 GATE_DOOR_LISTEN_MAX);
        return AN_ERR_CONFIG;
    }
    for (unsigned i = 0; i < cfg->listen_count; i++) {
        struct an_listen *at = &door->listeners[i].at;

        if (!an_listen_read(at, cfg->listen[i], false, why, why_len)) {
            return AN_ERR_CONFIG;
        }
        tls = tls || an_scheme_cover(at->scheme) == AN_COVER_TLS;
        noise = noise || an_scheme_cover(at->scheme) == AN_COVER_NOISE;
    }
    door->listener_count = cfg->listen_count;
    if (noise) {
        err = gate_noise_init(&door->noise, cfg, why, why_len);
    }
    if (tls && err == AN_OK) {
        err = gate_tls_init(&door->tls, cfg, why, why_len);
    }
    if (tls && err == AN_OK) {
        warn_expired(door);
        uv_timer_start(&door->cert_timer, on_cert_look, AN_CERT_LOOK_MS, AN_CERT_LOOK_MS);
    }
    return err;
}

static enum an_err
reload(struct an_door *base, char *why, size_t why_len)
{
    struct gate_door *door = (struct gate_door *)base;
    enum an_err err = AN_OK;

    if (door->tls.bio != NULL) {
        err = gate_tls_reload(&door->tls, why, why_len);
        if (err == AN_OK) {
            warn_expired(door);
        }
    }
    return err;
}

static void
metrics(const struct an_door *base, an_metric_f *metric, void *ctx)
{
    const struct gate_door_stats *stats = &((const struct gate_door *)base)->stats;

#define METRIC(name, help) metric(ctx, #name "_total", help, true, stats->name);
    DOOR_COUNTERS(METRIC)
#undef METRIC
    metric(ctx, "handshakes", "Handshakes under way now", false, stats->handshakes);
    metric(ctx, "partial_bytes",
           "Bytes of memory of frames and JSON that are not whole yet", false,
           stats->partial_bytes);
}

enum an_err
gate_door_create(struct an_door **out, const struct gate_door_cfg *cfg, char *why,
                 size_t why_len)
{
    static const struct an_door_ops ops = {
        .start = start,
        .address = address,
        .run = run,
        .wake = wake,
        .carry = gate_door_carry,
        .flush = gate_door_flush,
        .reload = reload,
        .metrics = metrics,
        .close_listeners = close_listeners,
        .quit = quit,
        .destroy = destroy,
    };
    struct gate_door *door = calloc(1, sizeof(*door));
    enum an_err err = AN_ERR_NO_MEMORY;

    snprintf(why, why_len, "out of memory");
    if (door == NULL) {
        return err;
    }
    door->door.ops = &ops;
    door->cfg = *cfg;
    defaults(&door->cfg);
    door->fd_max = descriptors_max();
    door->accept_rate = an_rate_of(cfg->accept_per_s, cfg->accept_burst);
    if (cfg->unlimited != NULL) {
        door->unlimited = *cfg->unlimited;
    }
    (void)uv_random(NULL, NULL, &door->froms.hash_key, sizeof(door->froms.hash_key), 0,
                    NULL);
    an_arena_init(&door->arena, GATE_JSON_MEMORY_MAX);
    if (cfg->origins != NULL) {
        door->origins = strdup(cfg->origins);
    }
    if (loop_make(door) && (cfg->origins == NULL || door->origins != NULL)) {
        err = take_listeners(door, why, why_len);
    }
    if (err != AN_OK) {
        destroy(&door->door);
        return err;
    }
    *out = &door->door;
    return AN_OK;
}

void
gate_door_stats(const struct an_door *base, struct gate_door_stats *out)
{
    const struct gate_door *door = (const struct gate_door *)base;

    *out = door->stats;
    for (uint32_t i = 0; i < door->conn_cap; i++) {
        if (door->conns[i] != NULL) {
            out->output_bytes +=
                uv_stream_get_write_queue_size((const uv_stream_t *)&door->conns[i]->tcp);
        }
    }
}
