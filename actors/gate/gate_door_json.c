/* The JSON form at the door: text is collected until it is whole, and becomes a frame.
 * Where nothing else frames it, without WebSocket, an object is a line. Translating is
 * gate_json.c's. */
#include "actors/gate/gate_door_priv.h"
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ collecting */

bool
gate_held_add(struct gate_door *door, struct door_conn *conn, struct door_held *held,
              const uint8_t *data, size_t len)
{
    if (held->len + len > held->cap) {
        size_t cap = held->cap == 0 ? 512 : held->cap;
        uint8_t *bigger;

        while (cap < held->len + len) {
            cap *= 2;
        }
        if (!gate_held_room(door, conn, held->cap, cap)) {
            return false;
        }
        bigger = realloc(held->data, cap);
        if (bigger == NULL) {
            return false;
        }
        gate_held_count(door, conn, held->cap, cap);
        held->data = bigger;
        held->cap = (uint32_t)cap;
    }
    if (len > 0) {
        memcpy(held->data + held->len, data, len);
    }
    held->len += (uint32_t)len;
    return true;
}

void
gate_held_free(struct gate_door *door, struct door_conn *conn, struct door_held *held)
{
    gate_held_count(door, conn, held->cap, 0);
    free(held->data);
    *held = (struct door_held){0};
}

bool
gate_json_take(struct gate_door *door, struct door_conn *conn, const uint8_t *text,
               size_t len)
{
    size_t frame_len = 0;
    const uint8_t *frame =
        gate_json_in(&door->arena, (const char *)text, len, &frame_len);

    if (frame != NULL) {
        gate_door_frames_in(door, conn, frame, frame_len);
    }
    an_arena_reset(&door->arena);
    return frame != NULL;
}

/* ------------------------------------------------------------------ lines */

bool
gate_lines_begin(struct door_conn *conn)
{
    conn->lines = calloc(1, sizeof(*conn->lines));
    return conn->lines != NULL;
}

void
gate_lines_free(struct gate_door *door, struct door_conn *conn)
{
    if (conn->lines != NULL) {
        gate_held_free(door, conn, conn->lines);
        free(conn->lines);
        conn->lines = NULL;
    }
}

static bool
blank(const uint8_t *text, size_t len)
{
    size_t i = 0;

    while (i < len && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r')) {
        i++;
    }
    return i == len;
}

/* One that is no object concerns itself alone: where the next begins is certain. */
static void
take_line(struct gate_door *door, struct door_conn *conn, const uint8_t *text, size_t len)
{
    if (blank(text, len) || gate_json_take(door, conn, text, len)) {
        return;
    }
    door->stats.bad_lines++;
    door->msg.err = AN_ERR_JSON;
    gate_door_deliver(door, conn, AN_KIND_CONN_BAD);
}

/* What has come of a line that goes on. false: no more of it is taken. */
static bool
keep(struct gate_door *door, struct door_conn *conn, const uint8_t *data, size_t len)
{
    if (conn->lines->len + len > GATE_JSON_LEN_MAX) {
        gate_door_bad(door, conn, AN_ERR_FRAME_TOO_LARGE);
        return false;
    }
    if (!gate_held_add(door, conn, conn->lines, data, len)) {
        gate_door_bad(door, conn, AN_ERR_BUSY);
        return false;
    }
    return true;
}

/* Lines that lie whole in the read buffer are taken from there. */
void
gate_lines_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
              size_t len)
{
    while (len > 0 && door_reading(conn)) {
        struct door_held *held = conn->lines;
        const uint8_t *end = memchr(data, '\n', len);
        size_t part = end == NULL ? len : (size_t)(end - data);

        if (gate_door_login_too_large(door, conn, held->len + part)) {
            gate_door_bad(door, conn, AN_ERR_FRAME_TOO_LARGE);
            return;
        }
        if ((end == NULL || held->len > 0) && !keep(door, conn, data, part)) {
            return;
        }
        if (end == NULL) {
            return;
        }
        take_line(door, conn, held->len > 0 ? held->data : data,
                  held->len > 0 ? held->len : part);
        gate_held_free(door, conn, held);
        data += part + 1;
        len -= part + 1;
    }
}

bool
gate_lines_put(struct door_scratch *all, const uint8_t *frame, size_t len)
{
    size_t text_len;
    char *text = gate_json_out(frame, len, &text_len);
    uint8_t *to = text == NULL ? NULL : gate_door_scratch(all, text_len + 1);

    if (to != NULL) {
        memcpy(to, text, text_len);
        to[text_len] = '\n';
        all->len += text_len + 1;
    }
    free(text);
    return to != NULL;
}
