/* The life of connections: accepted, through their handshakes, known to the actor; ends
 * that never wait long for the other side. */
#include "actors/gate/gate_door_priv.h"
#include "core/limits.h"
#include "core/log.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ ids */

struct door_conn *
gate_door_find(const struct gate_door *door, uint64_t id)
{
    uint32_t index = (uint32_t)(id & ((1u << DOOR_INDEX_BITS) - 1));
    struct door_conn *conn = index < door->conn_cap ? door->conns[index] : NULL;

    return conn != NULL && conn->id == id ? conn : NULL;
}

/* Makes room for one more; false without memory. */
static bool
table_grow(struct gate_door *door)
{
    uint32_t cap = door->conn_cap == 0 ? 64 : door->conn_cap * 2;
    struct door_conn **conns;
    uint32_t *free_list;

    if (door->free_count > 0) {
        return true;
    }
    if (cap > 1u << DOOR_INDEX_BITS) {
        return false;
    }
    conns = realloc(door->conns, cap * sizeof(struct door_conn *));
    if (conns == NULL) {
        return false;
    }
    door->conns = conns;
    free_list = realloc(door->free_list, cap * sizeof(*free_list));
    if (free_list == NULL) {
        return false;
    }
    door->free_list = free_list;
    for (uint32_t i = cap; i-- > door->conn_cap;) {
        conns[i] = NULL;
        free_list[door->free_count++] = i;
    }
    door->conn_cap = cap;
    return true;
}

/* ------------------------------------------------------------------ delivering */

void
gate_door_deliver(struct gate_door *door, struct door_conn *conn, enum an_kind kind)
{
    struct an_msg *msg = &door->msg;

    if (door->quitting) {
        return;
    }
    msg->kind = (uint16_t)kind;
    msg->conn = conn->id;
    msg->refs = 1;
    door->host.deliver(door->host.ctx, msg);
    assert(msg->refs == 1); /* borrowed: nobody holds it */
    msg->err = AN_OK;
    msg->frame_body = NULL;
    msg->output_bytes = 0;
}

void
gate_door_deliver_output(struct gate_door *door, struct door_conn *conn)
{
    conn->reported = door_unsent(conn) > 0;
    door->msg.output_bytes = gate_door_unread(conn);
    gate_door_deliver(door, conn, AN_KIND_CONN_OUTPUT);
}

bool
gate_door_report(struct gate_door *door)
{
    bool any = door->report_count > 0;

    for (uint32_t i = 0; i < door->report_count; i++) {
        struct door_conn *conn = gate_door_find(door, door->reports[i]);

        if (conn != NULL && !door_gone(conn) && !conn->finish) {
            gate_door_deliver_output(door, conn);
        }
    }
    door->report_count = 0;
    return any;
}

/* ------------------------------------------------------------------ waiting */

static void
on_wait_over(uv_timer_t *timer)
{
    struct gate_door *door = timer->loop->data;
    struct door_waits *waits = timer->data;
    uint64_t now = uv_now(&door->loop);

    while (waits->first != NULL && waits->first->wait_ms <= now) {
        door->stats.handshakes_late += waits == &door->shaking;
        gate_door_kill(waits->first);
    }
    if (waits->first != NULL) {
        uv_timer_start(timer, on_wait_over, waits->first->wait_ms - now, 0);
    }
}

bool
gate_door_waits_init(struct gate_door *door, struct door_waits *waits, uint64_t ms)
{
    waits->last = &waits->first;
    waits->ms = ms;
    waits->timer.data = waits;
    return uv_timer_init(&door->loop, &waits->timer) == 0;
}

static void
waits_add(struct gate_door *door, struct door_waits *waits, struct door_conn *conn)
{
    uv_update_time(&door->loop);
    conn->wait_ms = uv_now(&door->loop) + waits->ms;
    conn->wait_next = NULL;
    conn->wait_link = waits->last;
    *waits->last = conn;
    waits->last = &conn->wait_next;
    if (!uv_is_active((uv_handle_t *)&waits->timer)) {
        uv_timer_start(&waits->timer, on_wait_over, waits->ms, 0);
    }
}

/* Those that end have left the handshakes before. */
static void
waits_remove(struct gate_door *door, struct door_conn *conn)
{
    struct door_waits *waits = conn->ending ? &door->finishing : &door->shaking;

    if (conn->wait_link == NULL) {
        return;
    }
    *conn->wait_link = conn->wait_next;
    if (conn->wait_next != NULL) {
        conn->wait_next->wait_link = conn->wait_link;
    } else {
        waits->last = conn->wait_link;
    }
    conn->wait_link = NULL;
    if (waits == &door->shaking) {
        door->stats.handshakes--;
        if (conn->from != NULL) {
            conn->from->handshakes--;
        }
    }
}

/* ------------------------------------------------------------------ ends */

static void
on_closed(uv_handle_t *handle)
{
    struct door_conn *conn = (struct door_conn *)handle;
    struct gate_door *door = door_of(conn);

    if (conn->open) {
        gate_door_deliver(door, conn, AN_KIND_CONN_CLOSED);
    }
    gate_door_untouch(door, conn);
    gate_door_partial_free(door, conn);
    gate_ws_free(door, conn);
    gate_lines_free(door, conn);
    gate_noise_free(door, conn);
    SSL_free(conn->tls);
    gate_from_leave(door, conn);
    door->conns[conn->id & ((1u << DOOR_INDEX_BITS) - 1)] = NULL;
    door->free_list[door->free_count++] =
        (uint32_t)(conn->id & ((1u << DOOR_INDEX_BITS) - 1));
    door->stats.closed++;
    door->stats.conns--;
    free(conn);
    gate_door_accept_more(door);
}

void
gate_door_kill(struct door_conn *conn)
{
    if (!door_gone(conn)) {
        waits_remove(door_of(conn), conn);
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    }
}

void
gate_door_kill_told(struct gate_door *door)
{
    for (uint32_t i = 0; i < door->conn_cap; i++) {
        if (door->conns[i] != NULL && door_unsent(door->conns[i]) == 0) {
            gate_door_kill(door->conns[i]);
        }
    }
}

static void
on_shut(uv_shutdown_t *req, int status)
{
    (void)status; /* the end comes with the peer's own, or by the clock */
    free(req);
}

/* Closing a socket with unread input would reset it, and the reset would overtake our
 * last words. So: send all, say that no more comes, throw away input until the peer ends
 * too; and wait for none of this longer than close_ms. */
void
gate_door_finish(struct gate_door *door, struct door_conn *conn)
{
    uv_shutdown_t *req;

    if (conn->ending || door_gone(conn)) {
        return;
    }
    waits_remove(door, conn);
    gate_ws_bye(door, conn);
    gate_tls_bye(door, conn);
    if (door_gone(conn)) {
        return;
    }
    conn->ending = true;
    gate_door_partial_free(door, conn);
    req = malloc(sizeof(*req));
    if (req == NULL || uv_shutdown(req, (uv_stream_t *)&conn->tcp, on_shut) != 0) {
        free(req);
        gate_door_kill(conn);
        return;
    }
    waits_add(door, &door->finishing, conn);
    (void)gate_door_read(conn);
}

/* ------------------------------------------------------------------ handshakes */

void
gate_door_open(struct gate_door *door, struct door_conn *conn)
{
    waits_remove(door, conn);
    conn->open = true;
    memcpy(door->msg.address, conn->address, sizeof(door->msg.address));
    gate_door_deliver(door, conn, AN_KIND_CONN_OPEN);
}

void
gate_door_shut_out(struct gate_door *door, struct door_conn *conn)
{
    door->stats.handshakes_failed++;
    conn->finish = true;
    gate_door_finish(door, conn);
}

static void
log_refusal(struct gate_door *door, const struct door_conn *conn, const char *layer,
            const char *text)
{
    struct an_listen from = {.scheme = AN_SCHEME_TCP};
    int len = sizeof(from.at);
    char line[DOOR_LINE_MAX], who[AN_LISTEN_TEXT_MAX] = "tcp://?";
    uint64_t now = uv_now(&door->loop);

    if (door->refused_ms != 0 && now - door->refused_ms < DOOR_SAY_MS) {
        return;
    }
    door->refused_ms = now;
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&from.at, &len) == 0) {
        an_listen_print(&from, who, sizeof(who));
    }
    snprintf(line, sizeof(line), "%s with a client failed, %s (%s)", layer, text,
             who + strlen("tcp://"));
    gate_door_log(door, AN_LOG_INFO, line);
}

void
gate_door_break_off(struct gate_door *door, struct door_conn *conn, const char *layer,
                    const char *why)
{
    conn->broken = true;
    log_refusal(door, conn, layer, why);
    if (!conn->open) {
        gate_door_shut_out(door, conn);
        return;
    }
    door->stats.broken++;
    gate_door_end(door, conn);
}

/* One handshake ends so that another may begin. */
static void
push_out(struct gate_door *door, const struct door_conn *newer)
{
    struct door_conn *conn = gate_from_victim(door, newer);

    door->stats.handshakes_late++;
    log_refusal(door, conn, "the handshake", "there are gate.handshakes_max of them");
    gate_door_kill(conn);
}

/* Until then the actor knows nothing of it. Too many at once: one makes room, of whoever
 * has most. false: without memory. */
static bool
handshake_begin(struct gate_door *door, struct door_conn *conn,
                const struct door_listener *listener)
{
    if (an_scheme_cover(listener->at.scheme) == AN_COVER_TLS) {
        conn->tls = gate_tls_accept(&door->tls);
        if (conn->tls == NULL) {
            return false;
        }
    }
    if (an_scheme_cover(listener->at.scheme) == AN_COVER_NOISE) {
        conn->noise = gate_noise_accept(&door->noise);
        if (conn->noise == NULL) {
            return false;
        }
    }
    if (an_scheme_is_web(listener->at.scheme)) {
        conn->ws = gate_ws_new();
        if (conn->ws == NULL) {
            return false;
        }
    }
    if (door->stats.handshakes >= door->cfg.handshakes_max) {
        push_out(door, conn);
    }
    door->stats.handshakes++;
    if (conn->from != NULL) {
        conn->from->handshakes++;
    }
    waits_add(door, &door->shaking, conn);
    return true;
}

/* ------------------------------------------------------------------ accepting */

/* A connection that could not be taken into the table. */
static void
on_refused(uv_handle_t *handle)
{
    free(handle);
}

/* The new descriptor is the lowest that was free: near the limit means that few are. */
static void
watch_descriptors(struct gate_door *door, const struct door_conn *conn)
{
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&conn->tcp, &fd) == 0 &&
        (uint32_t)fd + DOOR_SPARE_FDS >= door->fd_max) {
        door->full = true;
    }
}

static void
say_full(struct gate_door *door)
{
    door->stats.accept_pauses++;
    /* Clients that come and go at the limit must not fill the log. */
    if (!door->full_logged &&
        (door->full_ms == 0 || uv_now(&door->loop) - door->full_ms >= DOOR_SAY_MS)) {
        door->full_logged = true;
        door->full_ms = uv_now(&door->loop);
        gate_door_log(door, AN_LOG_WARN,
                      "out of descriptors: connections wait until others end");
    }
}

void
gate_door_accept_due(uv_timer_t *timer)
{
    struct gate_door *door = timer->loop->data;

    for (unsigned i = 0; i < door->listener_count && !door->quitting; i++) {
        if (door->listeners[i].open && door->listeners[i].waiting && !door->full) {
            gate_door_accept(door, &door->listeners[i]);
        }
    }
}

/* After another gate's end all its clients come here at once: they are taken no faster
 * than those inside can bear. The rest wait in the backlog. */
static bool
in_turn(struct gate_door *door)
{
    uint64_t now_ms = uv_now(&door->loop);
    uint64_t wait_ms = an_bucket_wait_ms(&door->accepts, &door->accept_rate, now_ms);

    if (wait_ms == 0) {
        an_bucket_take(&door->accepts, &door->accept_rate, now_ms);
        return true;
    }
    door->stats.accept_waits++;
    if (!uv_is_active((uv_handle_t *)&door->accept_timer)) {
        uv_timer_start(&door->accept_timer, gate_door_accept_due,
                       wait_ms < DOOR_ACCEPT_STEP_MS ? DOOR_ACCEPT_STEP_MS : wait_ms, 0);
    }
    if (door->crowd_ms == 0 || now_ms - door->crowd_ms >= DOOR_CROWD_SAY_MS) {
        door->crowd_ms = now_ms;
        gate_door_log(door, AN_LOG_INFO, "more connections than accept_per_s: they wait");
    }
    return false;
}

void
gate_door_accept(struct gate_door *door, struct door_listener *listener)
{
    struct door_conn *conn;

    if (door->full) {
        say_full(door);
    }
    /* uv stops polling a listener whose connection is not accepted. */
    listener->waiting = door->full || !in_turn(door);
    if (listener->waiting) {
        return;
    }
    conn = table_grow(door) ? calloc(1, sizeof(*conn)) : NULL;
    if (conn == NULL) {
        listener->waiting = true; /* without memory the same as without descriptors */
        return;
    }
    conn->seg_first = conn->seg_last = DOOR_NONE;
    uv_tcp_init(&door->loop, &conn->tcp);
    if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&conn->tcp) != 0) {
        uv_close((uv_handle_t *)&conn->tcp, on_refused);
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    conn->id = ++door->serial << DOOR_INDEX_BITS | door->free_list[--door->free_count];
    door->conns[conn->id & ((1u << DOOR_INDEX_BITS) - 1)] = conn;
    door->stats.accepted++;
    door->stats.conns++;
    watch_descriptors(door, conn);
    if (!gate_from_join(door, conn)) {
        gate_door_kill(conn);
    } else if (listener->at.scheme == AN_SCHEME_TCP) {
        gate_door_open(door, conn);
    } else if (!handshake_begin(door, conn, listener)) {
        gate_door_kill(conn);
    }
    if (door_reading(conn) && !gate_door_read(conn)) {
        gate_door_kill(conn);
    }
}
