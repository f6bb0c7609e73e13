/* Bytes out: the frames of a drain to each connection in one write, through the layers;
 * what the socket does not take is queued. */
#include "actors/gate/gate_door_priv.h"
#include "core/limits.h"
#include "core/log.h"
#include "proto/client.pb-c.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IOV_MAX_OURS = 512, GOODBYE_LEN_MAX = 128, GOODBYE_PAUSE_MS = 200 };

/* Bytes that could not be written at once. */
struct pending {
    uv_write_t req;
    uint8_t data[];
};

/* ------------------------------------------------------------------ frames */

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

void
gate_door_untouch(struct gate_door *door, struct door_conn *conn)
{
    for (uint32_t i = 0; conn->touched && i < door->touched_count; i++) {
        if (door->touched[i] == conn) {
            door->touched[i] = NULL;
            conn->touched = false;
        }
    }
}

void
gate_door_end(struct gate_door *door, struct door_conn *conn)
{
    conn->finish = true;
    if (!touch(door, conn)) {
        gate_door_kill(conn);
    }
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

/* The answer to its Login says that it is in. */
static void
note_login(struct door_conn *conn, const uint8_t *frame, size_t len)
{
    struct an_frame header;

    if (!conn->known && an_frame_get(&header, frame, len, UINT32_MAX) == AN_FRAME_OK &&
        header.command == AN_COMMAND_LOGIN && header.flags == AN_FRAME_ANSWER) {
        gate_door_logged_in(conn);
    }
}

void
gate_door_carry(struct an_door *base, const struct an_effect *effect,
                const uint8_t *bytes)
{
    struct gate_door *door = (struct gate_door *)base;
    struct door_conn *conn = gate_door_find(door, effect->conn);

    if (conn == NULL || door_gone(conn) || conn->finish) {
        return;
    }
    if (!touch(door, conn) || (effect->type == AN_EFFECT_CONN_SEND &&
                               !seg_add(door, conn, bytes, effect->len))) {
        gate_door_kill(conn);
        return;
    }
    if (effect->type == AN_EFFECT_CONN_SEND) {
        door->stats.frames_out++;
        note_login(conn, bytes, effect->len);
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
    if (door_gone(conn)) {
        return;
    }
    if (status < 0) {
        gate_door_kill(conn);
        return;
    }
    if (conn->paused && door_unsent(conn) <= DOOR_PAUSE_BYTES / 2) {
        conn->paused = false;
        if (!conn->awaits) {
            (void)gate_door_read(conn);
        }
    }
    if (conn->reported && !conn->finish) {
        gate_door_deliver_output(door, conn);
    }
}

static bool
queue_write(struct gate_door *door, struct door_conn *conn, struct pending *pending,
            size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)pending->data, (unsigned)len);

    if (uv_write(&pending->req, (uv_stream_t *)&conn->tcp, &buf, 1, on_written) != 0) {
        free(pending);
        return false;
    }
    door->stats.bytes_out += len;
    return true;
}

/* What try_write left, from this segment and this byte of it on, is copied and queued. */
static bool
queue_rest(struct gate_door *door, struct door_conn *conn, uint32_t seg, size_t skip)
{
    size_t len = 0, at = 0;
    struct pending *pending;

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
    return queue_write(door, conn, pending, len);
}

bool
gate_door_write(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                size_t len)
{
    struct pending *pending;

    if (door_unsent(conn) == 0) {
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
        int wrote = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);

        if (wrote < 0 && wrote != UV_EAGAIN) {
            return false;
        }
        if (wrote > 0) {
            door->stats.writes++;
            door->stats.bytes_out += (unsigned)wrote;
            data += wrote;
            len -= (unsigned)wrote;
        }
    }
    if (len == 0) {
        return true;
    }
    pending = malloc(sizeof(*pending) + len);
    if (pending == NULL) {
        return false;
    }
    memcpy(pending->data, data, len);
    return queue_write(door, conn, pending, len);
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
flush_plain(struct gate_door *door, struct door_conn *conn)
{
    uint32_t seg = conn->seg_first;
    size_t skip = 0;

    if (door_unsent(conn) == 0 && !write_now(door, conn, &seg, &skip)) {
        return false;
    }
    return seg == DOOR_NONE || queue_rest(door, conn, seg, skip);
}

bool
gate_door_send(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
               size_t len)
{
    if (conn->noise != NULL) {
        return gate_noise_out(door, conn, data, len);
    }
    return conn->tls != NULL ? gate_tls_out(door, conn, data, len)
                             : gate_door_write(door, conn, data, len);
}

static bool
gather(struct door_scratch *all, struct door_conn *conn, const struct door_seg *seg)
{
    uint8_t *to;

    if (conn->ws != NULL) {
        return gate_ws_put(all, conn, seg->data, seg->len);
    }
    if (conn->lines != NULL) {
        return gate_lines_put(all, seg->data, seg->len);
    }
    to = gate_door_scratch(all, seg->len);
    if (to == NULL) {
        return false;
    }
    memcpy(to, seg->data, seg->len);
    all->len += seg->len;
    return true;
}

/* Of what waits, all forms alike: the oldest is not told from the newest. */
static size_t
framed_of(const struct door_conn *conn)
{
    size_t unsent = door_unsent(conn);

    return conn->formed == 0 ? unsent
                             : (unsent * conn->framed + conn->formed - 1) / conn->formed;
}

size_t
gate_door_unread(const struct door_conn *conn)
{
    size_t framed = framed_of(conn);
    size_t least = (door_unsent(conn) + AN_CONN_JSON_GROWTH - 1) / AN_CONN_JSON_GROWTH;

    return framed < least ? least : framed;
}

/* What a frame that could not be made leaves to say: that there is more, and to come back
 * for it. Much smaller than what failed. */
static bool
put_goodbye(struct door_scratch *all, struct door_conn *conn)
{
    const char *name = an_err_name(AN_ERR_NO_MEMORY),
               *text = an_err_text(AN_ERR_NO_MEMORY);
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF, .command = AN_COMMAND_GOODBYE};
    Anser__Client__Goodbye goodbye = ANSER__CLIENT__GOODBYE__INIT;
    uint8_t data[AN_FRAME_HEADER_LEN + GOODBYE_LEN_MAX];
    struct door_seg seg = {.data = data};

    goodbye.code = AN_ERR_NO_MEMORY;
    goodbye.name = (ProtobufCBinaryData){strlen(name), (uint8_t *)(uintptr_t)name};
    goodbye.text = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    goodbye.retry = true;
    goodbye.retry_after_ms = GOODBYE_PAUSE_MS;
    frame.body_len = (uint32_t)anser__client__goodbye__get_packed_size(&goodbye);
    assert(frame.body_len <= GOODBYE_LEN_MAX);
    an_frame_put(data, &frame);
    seg.len = (uint32_t)(AN_FRAME_HEADER_LEN + anser__client__goodbye__pack(
                                                   &goodbye, data + AN_FRAME_HEADER_LEN));
    return gather(all, conn, &seg);
}

/* None may be left out: what follows would hide that it is missing. So the connection
 * ends with a word, and this is logged, at most once a second. */
static bool
end_unmade(struct gate_door *door, struct door_conn *conn, const struct door_seg *seg)
{
    struct an_frame frame = {0};
    const uint64_t now = uv_now(&door->loop);
    char line[DOOR_LINE_MAX];

    if (door->unmade_ms == 0 || now - door->unmade_ms >= DOOR_SAY_MS) {
        door->unmade_ms = now;
        (void)an_frame_get(&frame, seg->data, seg->len, UINT32_MAX);
        snprintf(line, sizeof(line),
                 "connection %llu ends: a frame could not be made, command %u, %u bytes",
                 (unsigned long long)conn->id, frame.command, seg->len);
        gate_door_log(door, AN_LOG_ERROR, line);
    }
    conn->finish = true; /* flush goes on with it */
    return put_goodbye(&door->gathered, conn);
}

/* Layers are given all at once: fewer and larger records. */
static bool
flush_layered(struct gate_door *door, struct door_conn *conn)
{
    struct door_scratch *all = &door->gathered;
    bool good = true;

    conn->framed = framed_of(conn);
    conn->formed = door_unsent(conn);
    for (uint32_t i = conn->seg_first; i != DOOR_NONE; i = door->segs[i].next) {
        if (!gather(all, conn, &door->segs[i])) {
            good = end_unmade(door, conn, &door->segs[i]);
            break;
        }
        conn->framed += door->segs[i].len;
    }
    conn->formed += all->len;
    good = good && gate_door_send(door, conn, all->data, all->len);
    gate_door_scratch_clear(all);
    return good;
}

void
gate_door_pause_if_full(struct gate_door *door, struct door_conn *conn)
{
    if (door_unsent(conn) > DOOR_PAUSE_BYTES && !conn->paused && !conn->bad &&
        !conn->ending && !door_gone(conn)) {
        conn->paused = true;
        door->stats.read_pauses++;
        uv_read_stop((uv_stream_t *)&conn->tcp);
    }
}

static bool
is_plain(const struct door_conn *conn)
{
    return conn->tls == NULL && conn->noise == NULL && conn->ws == NULL &&
           conn->lines == NULL;
}

static bool
conn_flush(struct gate_door *door, struct door_conn *conn)
{
    if (conn->seg_first != DOOR_NONE &&
        !(is_plain(conn) ? flush_plain(door, conn) : flush_layered(door, conn))) {
        return false;
    }
    if (door_unsent(conn) == 0) {
        return true;
    }
    gate_door_pause_if_full(door, conn);
    return report_later(door, conn);
}

void
gate_door_flush(struct an_door *base)
{
    struct gate_door *door = (struct gate_door *)base;

    for (uint32_t i = 0; i < door->touched_count; i++) {
        struct door_conn *conn = door->touched[i];

        if (conn == NULL) {
            continue;
        }
        conn->touched = false;
        if (!door_gone(conn) && !conn_flush(door, conn)) {
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
