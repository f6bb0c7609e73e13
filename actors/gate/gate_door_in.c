/* Bytes in: from the socket through the layers, then cut into frames. */
#include "actors/gate/gate_door_priv.h"
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ frames */

void
gate_door_bad(struct gate_door *door, struct door_conn *conn, enum an_err err)
{
    conn->bad = true;
    door->stats.bad_streams++;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    gate_door_partial_free(door, conn);
    door->msg.err = err;
    gate_door_deliver(door, conn, AN_KIND_CONN_BAD);
}

void
gate_door_partial_free(struct gate_door *door, struct door_conn *conn)
{
    door->stats.partial_bytes -= conn->partial_cap;
    free(conn->partial);
    conn->partial = NULL;
    conn->partial_len = conn->partial_cap = 0;
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
    conn->asked = true;
    door->msg.frame = *frame;
    door->msg.frame_body = body;
    gate_door_deliver(door, conn, AN_KIND_CONN_FRAME);
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
        gate_door_login_too_large(door, conn, AN_FRAME_HEADER_LEN + frame.body_len)) {
        gate_door_bad(door, conn, AN_ERR_FRAME_TOO_LARGE);
        return take;
    }
    if (state == AN_FRAME_OK &&
        conn->partial_len == AN_FRAME_HEADER_LEN + frame.body_len) {
        deliver_frame(door, conn, &frame, conn->partial + AN_FRAME_HEADER_LEN);
        gate_door_partial_free(door, conn);
    } else if (an_err_of_frame(state) != AN_OK) {
        gate_door_bad(door, conn, an_err_of_frame(state));
    }
    return take;
}

/* Frames that lie whole in the read buffer are delivered from there. */
void
gate_door_frames_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                    size_t len)
{
    while (len > 0 && door_reading(conn)) {
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
        if (an_err_of_frame(state) != AN_OK) {
            gate_door_bad(door, conn, an_err_of_frame(state));
            return;
        }
        took = AN_FRAME_HEADER_LEN + (state == AN_FRAME_OK ? frame.body_len : 0u);
        if (gate_door_login_too_large(door, conn, took)) {
            gate_door_bad(door, conn, AN_ERR_FRAME_TOO_LARGE);
            return;
        }
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

/* ------------------------------------------------------------------ the socket */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct gate_door *door = handle->loop->data;

    (void)suggested;
    /* One buffer for all: it is used up in the read that follows. */
    *buf = uv_buf_init((char *)door->read_buf, sizeof(door->read_buf));
}

void
gate_door_layer_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                   size_t len)
{
    if (!conn->chosen && len > 0) {
        conn->chosen = true;
        /* A frame begins with another byte. */
        if (conn->ws == NULL && data[0] == '{' && !gate_lines_begin(conn)) {
            gate_door_kill(conn);
            return;
        }
    }
    if (conn->ws != NULL) {
        gate_ws_in(door, conn, data, len);
    } else if (conn->lines != NULL) {
        gate_lines_in(door, conn, data, len);
    } else {
        gate_door_frames_in(door, conn, data, len);
    }
}

/* What it has sent behind its Login can wait in its socket until that is answered. */
static void
login_await(struct gate_door *door, struct door_conn *conn)
{
    size_t held = conn->partial_len;

    held += conn->lines == NULL ? 0 : conn->lines->len;
    held += conn->ws == NULL ? 0 : conn->ws->held.len;
    held += conn->noise == NULL ? 0 : conn->noise->held_len;
    if (!conn->known && !conn->awaits && held > door->cfg.login_len_max &&
        door_reading(conn)) {
        conn->awaits = true;
        uv_read_stop((uv_stream_t *)&conn->tcp);
    }
}

static void
on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct door_conn *conn = (struct door_conn *)stream;
    struct gate_door *door = door_of(conn);

    if (got < 0) { /* the end, or an error: nobody is there any more */
        door->stats.handshakes_failed += !conn->open && !conn->ending;
        gate_door_kill(conn);
        return;
    }
    door->stats.bytes_in += (uint64_t)got;
    if (conn->ending) {
        return; /* thrown away */
    }
    if (conn->noise != NULL) {
        gate_noise_in(door, conn, (const uint8_t *)buf->base, (size_t)got);
    } else if (conn->tls != NULL) {
        gate_tls_in(door, conn, (const uint8_t *)buf->base, (size_t)got);
    } else {
        gate_door_layer_in(door, conn, (const uint8_t *)buf->base, (size_t)got);
    }
    login_await(door, conn);
}

bool
gate_door_read(struct door_conn *conn)
{
    return uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) == 0;
}

void
gate_door_logged_in(struct door_conn *conn)
{
    conn->known = true;
    if (conn->awaits) {
        conn->awaits = false;
        if (!conn->paused && door_reading(conn)) {
            (void)gate_door_read(conn);
        }
    }
}
