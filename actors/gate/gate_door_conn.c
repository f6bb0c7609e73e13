/* Connections: bytes in, cut into frames; frames out, one write for each connection and
 * drain; ends that never wait long for the other side. */
#include "actors/gate/gate_door_priv.h"
#include "core/limits.h"
#include "core/log.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { IOV_MAX_OURS = 512 };

/* Bytes that could not be written at once. */
struct pending {
    uv_write_t req;
    uint8_t data[];
};

static struct gate_door *
door_of(const struct door_conn *conn)
{
    return conn->tcp.loop->data;
}

static size_t
unsent(const struct door_conn *conn)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
}

static bool
gone(const struct door_conn *conn)
{
    return uv_is_closing((const uv_handle_t *)&conn->tcp) != 0;
}

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

static void
deliver(struct gate_door *door, struct door_conn *conn, enum an_kind kind)
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

static void
deliver_output(struct gate_door *door, struct door_conn *conn)
{
    conn->reported = unsent(conn) > 0;
    door->msg.output_bytes = unsent(conn);
    deliver(door, conn, AN_KIND_CONN_OUTPUT);
}

bool
gate_door_report(struct gate_door *door)
{
    bool any = door->report_count > 0;

    for (uint32_t i = 0; i < door->report_count; i++) {
        struct door_conn *conn = gate_door_find(door, door->reports[i]);

        if (conn != NULL && !gone(conn) && !conn->finish) {
            deliver_output(door, conn);
        }
    }
    door->report_count = 0;
    return any;
}

/* ------------------------------------------------------------------ ends */

static void
partial_free(struct gate_door *door, struct door_conn *conn)
{
    door->stats.partial_bytes -= conn->partial_cap;
    free(conn->partial);
    conn->partial = NULL;
    conn->partial_len = conn->partial_cap = 0;
}

static void
finish_unlink(struct gate_door *door, struct door_conn *conn)
{
    if (conn->finish_link == NULL) {
        return;
    }
    *conn->finish_link = conn->finish_next;
    if (conn->finish_next != NULL) {
        conn->finish_next->finish_link = conn->finish_link;
    } else {
        door->finish_last = conn->finish_link;
    }
    conn->finish_link = NULL;
}

static void
on_closed(uv_handle_t *handle)
{
    struct door_conn *conn = (struct door_conn *)handle;
    struct gate_door *door = door_of(conn);

    deliver(door, conn, AN_KIND_CONN_CLOSED);
    partial_free(door, conn);
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
    if (!gone(conn)) {
        finish_unlink(door_of(conn), conn);
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    }
}

void
gate_door_kill_told(struct gate_door *door)
{
    for (uint32_t i = 0; i < door->conn_cap; i++) {
        if (door->conns[i] != NULL && unsent(door->conns[i]) == 0) {
            gate_door_kill(door->conns[i]);
        }
    }
}

static void
on_finish_due(uv_timer_t *timer)
{
    struct gate_door *door = timer->data;
    uint64_t now = uv_now(&door->loop);

    while (door->finish_first != NULL && door->finish_first->finish_ms <= now) {
        gate_door_kill(door->finish_first);
    }
    if (door->finish_first != NULL) {
        uv_timer_start(timer, on_finish_due, door->finish_first->finish_ms - now, 0);
    }
}

static void
on_shut(uv_shutdown_t *req, int status)
{
    (void)status; /* the end comes with the peer's own, or by the clock */
    free(req);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

/* Closing a socket with unread input would reset it, and the reset would overtake our
 * last words. So: send all, say that no more comes, throw away input until the peer ends
 * too; and wait for none of this longer than close_ms. */
void
gate_door_finish(struct gate_door *door, struct door_conn *conn)
{
    uv_shutdown_t *req;

    if (conn->ending || gone(conn)) {
        return;
    }
    conn->ending = true;
    partial_free(door, conn);
    req = malloc(sizeof(*req));
    if (req == NULL || uv_shutdown(req, (uv_stream_t *)&conn->tcp, on_shut) != 0) {
        free(req);
        gate_door_kill(conn);
        return;
    }
    uv_update_time(&door->loop);
    conn->finish_ms = uv_now(&door->loop) + door->cfg.close_ms;
    conn->finish_next = NULL;
    conn->finish_link = door->finish_last;
    *door->finish_last = conn;
    door->finish_last = &conn->finish_next;
    if (!uv_is_active((uv_handle_t *)&door->finish_timer)) {
        uv_timer_start(&door->finish_timer, on_finish_due, door->cfg.close_ms, 0);
    }
    uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

/* ------------------------------------------------------------------ bytes in */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct gate_door *door = handle->loop->data;

    (void)suggested;
    /* One buffer for all: it is used up in the read that follows. */
    *buf = uv_buf_init((char *)door->read_buf, sizeof(door->read_buf));
}

static enum an_err
frame_err(enum an_frame_state state)
{
    switch (state) {
    case AN_FRAME_BAD_MAGIC:
        return AN_ERR_FRAME_MAGIC;
    case AN_FRAME_BAD_VERSION:
        return AN_ERR_FRAME_VERSION;
    case AN_FRAME_BAD_FLAGS:
        return AN_ERR_FRAME_FLAGS;
    case AN_FRAME_TOO_LARGE:
        return AN_ERR_FRAME_TOO_LARGE;
    case AN_FRAME_OK:
    case AN_FRAME_MORE:
        break;
    }
    return AN_OK;
}

static void
stream_bad(struct gate_door *door, struct door_conn *conn, enum an_err err)
{
    conn->bad = true;
    door->stats.bad_streams++;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    partial_free(door, conn);
    door->msg.err = err;
    deliver(door, conn, AN_KIND_CONN_BAD);
}

/* Does it still take frames? Delivering one may have ended that. */
static bool
reading(const struct door_conn *conn)
{
    return !conn->bad && !conn->finish && !gone(conn);
}

/* Room for as many bytes as have come, not for as many as were announced. */
static bool
partial_add(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
            size_t len)
{
    size_t want = conn->partial_len + len;

    if (want > conn->partial_cap) {
        size_t cap = conn->partial_cap == 0 ? 64 : conn->partial_cap;
        uint8_t *bigger;

        while (cap < want) {
            cap *= 2;
        }
        bigger = realloc(conn->partial, cap);
        if (bigger == NULL) {
            return false;
        }
        door->stats.partial_bytes += cap - conn->partial_cap;
        conn->partial = bigger;
        conn->partial_cap = (uint32_t)cap;
    }
    memcpy(conn->partial + conn->partial_len, data, len);
    conn->partial_len += (uint32_t)len;
    return true;
}

static void
deliver_frame(struct gate_door *door, struct door_conn *conn,
              const struct an_frame *frame, const uint8_t *body)
{
    door->stats.frames_in++;
    door->msg.frame = *frame;
    door->msg.frame_body = body;
    deliver(door, conn, AN_KIND_CONN_FRAME);
}

/* Completes the frame begun earlier, as far as the new bytes go. Returns how many of them
 * it took. */
static size_t
partial_go_on(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
              size_t len)
{
    struct an_frame frame;
    size_t whole = AN_FRAME_HEADER_LEN, take;
    enum an_frame_state state =
        an_frame_get(&frame, conn->partial, conn->partial_len, door->cfg.frame_len_max);

    if (state == AN_FRAME_OK) {
        whole += frame.body_len;
    }
    take = whole - conn->partial_len < len ? whole - conn->partial_len : len;
    if (!partial_add(door, conn, data, take)) {
        gate_door_kill(conn);
        return len;
    }
    state =
        an_frame_get(&frame, conn->partial, conn->partial_len, door->cfg.frame_len_max);
    if (state == AN_FRAME_OK &&
        conn->partial_len == AN_FRAME_HEADER_LEN + frame.body_len) {
        deliver_frame(door, conn, &frame, conn->partial + AN_FRAME_HEADER_LEN);
        partial_free(door, conn);
    } else if (frame_err(state) != AN_OK) {
        stream_bad(door, conn, frame_err(state));
    }
    return take;
}

/* Frames that lie whole in the read buffer are delivered from there. */
static void
cut(struct gate_door *door, struct door_conn *conn, const uint8_t *data, size_t len)
{
    while (len > 0 && reading(conn)) {
        struct an_frame frame;
        enum an_frame_state state;
        size_t took;

        if (conn->partial_len > 0) {
            took = partial_go_on(door, conn, data, len);
            data += took;
            len -= took;
            continue;
        }
        state = an_frame_get(&frame, data, len, door->cfg.frame_len_max);
        if (frame_err(state) != AN_OK) {
            stream_bad(door, conn, frame_err(state));
            return;
        }
        took = AN_FRAME_HEADER_LEN + (state == AN_FRAME_OK ? frame.body_len : 0u);
        if (state == AN_FRAME_MORE || len < took) {
            if (!partial_add(door, conn, data, len)) {
                gate_door_kill(conn);
            }
            return;
        }
        deliver_frame(door, conn, &frame, data + AN_FRAME_HEADER_LEN);
        data += took;
        len -= took;
    }
}

static void
on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct door_conn *conn = (struct door_conn *)stream;
    struct gate_door *door = door_of(conn);

    if (got < 0) { /* the end, or an error: nobody is there any more */
        gate_door_kill(conn);
        return;
    }
    door->stats.bytes_in += (uint64_t)got;
    if (!conn->ending) {
        cut(door, conn, (const uint8_t *)buf->base, (size_t)got);
    }
}

/* ------------------------------------------------------------------ bytes out */

static bool
touch(struct gate_door *door, struct door_conn *conn)
{
    if (conn->touched) {
        return true;
    }
    if (door->touched_count == door->touched_cap) {
        uint32_t cap = door->touched_cap == 0 ? 256 : door->touched_cap * 2;
        struct door_conn **bigger =
            realloc(door->touched, cap * sizeof(struct door_conn *));

        if (bigger == NULL) {
            return false;
        }
        door->touched = bigger;
        door->touched_cap = cap;
    }
    conn->touched = true;
    door->touched[door->touched_count++] = conn;
    return true;
}

static bool
seg_add(struct gate_door *door, struct door_conn *conn, const uint8_t *data, size_t len)
{
    if (door->seg_count == door->seg_cap) {
        uint32_t cap = door->seg_cap == 0 ? 1024 : door->seg_cap * 2;
        struct door_seg *bigger = realloc(door->segs, cap * sizeof(*bigger));

        if (bigger == NULL) {
            return false;
        }
        door->segs = bigger;
        door->seg_cap = cap;
    }
    door->segs[door->seg_count] =
        (struct door_seg){.data = data, .len = (uint32_t)len, .next = DOOR_NONE};
    if (conn->seg_first == DOOR_NONE) {
        conn->seg_first = door->seg_count;
    } else {
        door->segs[conn->seg_last].next = door->seg_count;
    }
    conn->seg_last = door->seg_count++;
    return true;
}

void
gate_door_carry(struct an_door *base, const struct an_effect *effect,
                const uint8_t *bytes)
{
    struct gate_door *door = (struct gate_door *)base;
    struct door_conn *conn = gate_door_find(door, effect->conn);

    if (conn == NULL || gone(conn) || conn->finish) {
        return;
    }
    if (!touch(door, conn) || (effect->type == AN_EFFECT_CONN_SEND &&
                               !seg_add(door, conn, bytes, effect->len))) {
        gate_door_kill(conn);
        return;
    }
    if (effect->type == AN_EFFECT_CONN_SEND) {
        door->stats.frames_out++;
    } else {
        conn->finish = true;
    }
}

static void
on_written(uv_write_t *req, int status)
{
    struct door_conn *conn = (struct door_conn *)req->handle;
    struct gate_door *door = door_of(conn);

    free(req); /* the first of struct pending */
    if (gone(conn)) {
        return;
    }
    if (status < 0) {
        gate_door_kill(conn);
        return;
    }
    if (conn->paused && unsent(conn) <= DOOR_PAUSE_BYTES / 2) {
        conn->paused = false;
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    }
    if (conn->reported && !conn->finish) {
        deliver_output(door, conn);
    }
}

/* What try_write left, from this segment and this byte of it on, is copied and queued. */
static bool
queue_rest(struct gate_door *door, struct door_conn *conn, uint32_t seg, size_t skip)
{
    size_t len = 0, at = 0;
    struct pending *pending;
    uv_buf_t buf;

    for (uint32_t i = seg; i != DOOR_NONE; i = door->segs[i].next) {
        len += door->segs[i].len;
    }
    len -= skip;
    pending = malloc(sizeof(*pending) + len);
    if (pending == NULL) {
        return false;
    }
    for (uint32_t i = seg; i != DOOR_NONE; i = door->segs[i].next) {
        memcpy(pending->data + at, door->segs[i].data + skip, door->segs[i].len - skip);
        at += door->segs[i].len - skip;
        skip = 0;
    }
    buf = uv_buf_init((char *)pending->data, (unsigned)len);
    if (uv_write(&pending->req, (uv_stream_t *)&conn->tcp, &buf, 1, on_written) != 0) {
        free(pending);
        return false;
    }
    door->stats.bytes_out += len;
    return true;
}

/* As much as the socket takes. Leaves what it did not take in *seg and *skip. false: the
 * connection is broken. */
static bool
write_now(struct gate_door *door, struct door_conn *conn, uint32_t *seg, size_t *skip)
{
    while (*seg != DOOR_NONE) {
        uv_buf_t bufs[IOV_MAX_OURS];
        unsigned count = 0;
        int wrote;

        for (uint32_t i = *seg; i != DOOR_NONE && count < IOV_MAX_OURS;
             i = door->segs[i].next) {
            size_t from = count == 0 ? *skip : 0;
            bufs[count++] = uv_buf_init((char *)(uintptr_t)door->segs[i].data + from,
                                        (unsigned)(door->segs[i].len - from));
        }
        wrote = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
        if (wrote < 0) {
            return wrote == UV_EAGAIN;
        }
        door->stats.writes++;
        door->stats.bytes_out += (unsigned)wrote;
        *skip += (unsigned)wrote;
        while (*seg != DOOR_NONE && *skip >= door->segs[*seg].len) {
            *skip -= door->segs[*seg].len;
            *seg = door->segs[*seg].next;
        }
    }
    return true;
}

static bool
report_later(struct gate_door *door, const struct door_conn *conn)
{
    if (door->report_count == door->report_cap) {
        uint32_t cap = door->report_cap == 0 ? 64 : door->report_cap * 2;
        uint64_t *bigger = realloc(door->reports, cap * sizeof(*bigger));

        if (bigger == NULL) {
            return false;
        }
        door->reports = bigger;
        door->report_cap = cap;
    }
    door->reports[door->report_count++] = conn->id;
    return true;
}

static bool
conn_flush(struct gate_door *door, struct door_conn *conn)
{
    uint32_t seg = conn->seg_first;
    size_t skip = 0;

    if (seg != DOOR_NONE && unsent(conn) == 0 && !write_now(door, conn, &seg, &skip)) {
        return false;
    }
    if (seg != DOOR_NONE && !queue_rest(door, conn, seg, skip)) {
        return false;
    }
    if (unsent(conn) == 0) {
        return true;
    }
    if (unsent(conn) > DOOR_PAUSE_BYTES && !conn->paused && !conn->bad) {
        conn->paused = true;
        door->stats.read_pauses++;
        uv_read_stop((uv_stream_t *)&conn->tcp);
    }
    return report_later(door, conn);
}

void
gate_door_flush(struct an_door *base)
{
    struct gate_door *door = (struct gate_door *)base;

    for (uint32_t i = 0; i < door->touched_count; i++) {
        struct door_conn *conn = door->touched[i];

        conn->touched = false;
        if (!gone(conn) && !conn_flush(door, conn)) {
            gate_door_kill(conn);
        }
        conn->seg_first = DOOR_NONE;
        if (conn->finish) {
            gate_door_finish(door, conn);
        }
    }
    door->touched_count = 0;
    door->seg_count = 0;
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

void
gate_door_accept(struct gate_door *door, struct door_listener *listener)
{
    struct door_conn *conn;

    if (door->full) {
        /* uv stops polling a listener whose connection is not accepted. */
        listener->waiting = true;
        door->stats.accept_pauses++;
        if (!door->full_logged) {
            door->full_logged = true;
            gate_door_log(door, AN_LOG_WARN,
                          "out of descriptors: connections wait until others end");
        }
        return;
    }
    listener->waiting = false;
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
    deliver(door, conn, AN_KIND_CONN_OPEN);
    if (reading(conn) &&
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0) {
        gate_door_kill(conn);
    }
}
