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

/* ------------------------------------------------------------------ addresses */

/* "tcp://127.0.0.1:7400", "tcp://[::1]:0", "tcp://localhost:7400" */
static bool
url_parse(struct sockaddr_storage *at, const char *url)
{
    static const char scheme[] = "tcp://";
    const char *colon = strrchr(url, ':');
    char host[INET6_ADDRSTRLEN + 2], *end;
    unsigned long port;
    size_t len;

    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0 || colon == NULL ||
        colon < url + sizeof(scheme) - 1 || colon[1] < '0' || colon[1] > '9') {
        return false;
    }
    port = strtoul(colon + 1, &end, 10);
    url += sizeof(scheme) - 1;
    len = (size_t)(colon - url);
    if (*end != 0 || port > UINT16_MAX || len == 0 || len >= sizeof(host)) {
        return false;
    }
    memcpy(host, url, len);
    host[len] = 0;
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        return uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)at) == 0;
    }
    return uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port,
                       (struct sockaddr_in *)at) == 0;
}

static void
address_print(struct door_listener *listener)
{
    struct sockaddr_storage at;
    char host[INET6_ADDRSTRLEN] = "";
    int len = sizeof(at);

    if (uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&at, &len) != 0) {
        return;
    }
    if (at.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at;
        uv_ip6_name(in6, host, sizeof(host));
        snprintf(listener->address, sizeof(listener->address), "tcp://[%s]:%u", host,
                 ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&at;
        uv_ip4_name(in, host, sizeof(host));
        snprintf(listener->address, sizeof(listener->address), "tcp://%s:%u", host,
                 ntohs(in->sin_port));
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

static enum an_err
listen_at(struct gate_door *door, struct door_listener *listener)
{
    char line[128];
    int rv = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&listener->at, 0);

    if (rv == 0) {
        rv = uv_listen((uv_stream_t *)&listener->tcp, DOOR_BACKLOG, on_connection);
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
            door->conns[i]->finish = true;
            gate_door_finish(door, door->conns[i]);
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
    door->finish_timer.data = door;
    door->finish_last = &door->finish_first;
    return uv_async_init(&door->loop, &door->async, on_wake) == 0 &&
           uv_timer_init(&door->loop, &door->turn_timer) == 0 &&
           uv_timer_init(&door->loop, &door->finish_timer) == 0;
}

enum an_err
gate_door_create(struct an_door **out, const struct gate_door_cfg *cfg)
{
    static const struct an_door_ops ops = {
        .start = start,
        .address = address,
        .run = run,
        .wake = wake,
        .carry = gate_door_carry,
        .flush = gate_door_flush,
        .close_listeners = close_listeners,
        .quit = quit,
        .destroy = destroy,
    };
    struct gate_door *door = calloc(1, sizeof(*door));

    if (door == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    door->door.ops = &ops;
    door->cfg = *cfg;
    door->cfg.frame_len_max =
        cfg->frame_len_max == 0 ? AN_FRAME_LEN_MAX : cfg->frame_len_max;
    door->cfg.close_ms = cfg->close_ms == 0 ? DOOR_CLOSE_MS : cfg->close_ms;
    door->fd_max = descriptors_max();
    if (!loop_make(door)) {
        destroy(&door->door);
        return AN_ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < cfg->listen_count; i++) {
        if (i >= GATE_DOOR_LISTEN_MAX ||
            !url_parse(&door->listeners[i].at, cfg->listen[i])) {
            destroy(&door->door);
            return AN_ERR_CONFIG;
        }
        door->listener_count++;
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
