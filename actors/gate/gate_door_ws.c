/* WebSocket connections: the request that opens one, frames of the protocol in its binary
 * messages, pings, and closes that say why. Parsing is gate_http.c's and gate_ws.c's. */
#include "actors/gate/gate_door_priv.h"
#include "proto/client.pb-c.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)AN_DOOR_HELD_OWN >= (int)GATE_HTTP_HEAD_MAX,
               "a request waits for nobody's room");

enum { CODE_BASE = 4000, GOODBYE_TEXT_MAX = 32 };

struct door_ws *
gate_ws_new(void)
{
    return calloc(1, sizeof(struct door_ws));
}

void
gate_ws_free(struct gate_door *door, struct door_conn *conn)
{
    if (conn->ws == NULL) {
        return;
    }
    gate_held_free(door, conn, &conn->ws->held);
    gate_ws_fini(&conn->ws->in);
    free(conn->ws);
    conn->ws = NULL;
}

/* ------------------------------------------------------------------ out */

/* A control frame, at once: between two of our frames it may always stand. */
static void
send_control(struct gate_door *door, struct door_conn *conn, unsigned opcode,
             const uint8_t *data, size_t len)
{
    uint8_t bytes[GATE_WS_HEADER_MAX + GATE_WS_CONTROL_MAX];
    size_t head = gate_ws_header(bytes, opcode, len);

    memcpy(bytes + head, data, len);
    if (!gate_door_send(door, conn, bytes, head + len)) {
        gate_door_kill(conn);
    }
}

void
gate_ws_bye(struct gate_door *door, struct door_conn *conn)
{
    struct door_ws *ws = conn->ws;
    uint8_t data[GATE_WS_CONTROL_MAX];
    size_t len;

    if (ws == NULL || !ws->upgraded || ws->said_close || conn->broken) {
        return;
    }
    ws->said_close = true;
    len = gate_ws_close(data, ws->code == 0 ? 1000u : ws->code,
                        ws->reason == NULL ? "" : ws->reason);
    send_control(door, conn, GATE_WS_CLOSE_OP, data, len);
}

/* A browser's script sees the close, perhaps not the frame before it. */
static void
note_goodbye(struct door_conn *conn, const uint8_t *frame, size_t len)
{
    Anser__Client__Goodbye *goodbye = anser__client__goodbye__unpack(
        NULL, len - AN_FRAME_HEADER_LEN, frame + AN_FRAME_HEADER_LEN);

    if (goodbye != NULL && goodbye->code < 1000) {
        conn->ws->code = (uint16_t)(CODE_BASE + goodbye->code);
        conn->ws->reason = an_err_name(goodbye->code);
    }
    if (goodbye != NULL) {
        anser__client__goodbye__free_unpacked(goodbye, NULL);
    }
}

static bool
put_message(struct door_scratch *all, unsigned opcode, const void *data, size_t len)
{
    uint8_t *to = gate_door_scratch(all, GATE_WS_HEADER_MAX + len);

    if (to == NULL) {
        return false;
    }
    all->len += gate_ws_header(to, opcode, len);
    memcpy(all->data + all->len, data, len);
    all->len += len;
    return true;
}

bool
gate_ws_put(struct door_scratch *all, struct door_conn *conn, const uint8_t *frame,
            size_t len)
{
    struct an_frame header;
    size_t text_len;
    char *text;
    bool good;

    if (an_frame_get(&header, frame, len, UINT32_MAX) == AN_FRAME_OK &&
        header.command == AN_COMMAND_GOODBYE) {
        note_goodbye(conn, frame, len);
    }
    if (!conn->ws->in.text) {
        return put_message(all, GATE_WS_BINARY, frame, len);
    }
    text = gate_json_out(frame, len, &text_len);
    good = text != NULL && put_message(all, GATE_WS_TEXT, text, text_len);
    free(text);
    return good;
}

/* ------------------------------------------------------------------ opening */

/* Says no in HTTP. */
static void
turn_away(struct gate_door *door, struct door_conn *conn, const char *answer, size_t len)
{
    if (!gate_door_send(door, conn, (const uint8_t *)answer, len)) {
        gate_door_kill(conn);
        return;
    }
    gate_door_shut_out(door, conn);
}

/* Takes bytes of the request; returns how many. */
static size_t
open_with(struct gate_door *door, struct door_conn *conn, const uint8_t *data, size_t len)
{
    struct door_ws *ws = conn->ws;
    const uint32_t had = ws->held.len;
    size_t take = GATE_HTTP_HEAD_MAX - had < len ? GATE_HTTP_HEAD_MAX - had : len;
    char answer[GATE_HTTP_ANSWER_MAX];
    size_t head, answer_len;
    bool welcome;

    if (!gate_held_add(door, conn, &ws->held, data, take)) {
        gate_door_kill(conn);
        return len;
    }
    head = gate_http_head_len(ws->held.data, ws->held.len);
    if (head == 0 && ws->held.len == GATE_HTTP_HEAD_MAX) {
        gate_http_too_long(answer, &answer_len);
        turn_away(door, conn, answer, answer_len);
        return len;
    }
    if (head == 0) {
        return len;
    }
    welcome =
        gate_http_answer(ws->held.data, head, door->origins == NULL ? "*" : door->origins,
                         answer, &answer_len, &ws->in.text);
    gate_held_free(door, conn, &ws->held);
    if (!welcome) {
        turn_away(door, conn, answer, answer_len);
        return len;
    }
    if (!gate_door_send(door, conn, (const uint8_t *)answer, answer_len)) {
        gate_door_kill(conn);
        return len;
    }
    ws->upgraded = true;
    gate_door_open(door, conn);
    return head - had;
}

/* ------------------------------------------------------------------ frames */

/* A fault of its framing: nothing of it can be trusted any more. */
static void
fail(struct gate_door *door, struct door_conn *conn, unsigned code, const char *reason)
{
    door->stats.bad_streams++;
    conn->ws->code = (uint16_t)code;
    conn->ws->reason = reason;
    gate_door_end(door, conn);
}

/* A piece of a message of JSON; whole: it is the last. */
static void
take_text(struct gate_door *door, struct door_conn *conn, const struct gate_ws_got *got,
          bool whole)
{
    struct door_ws *ws = conn->ws;

    if (ws->held.len + got->len > GATE_JSON_LEN_MAX) {
        fail(door, conn, 1009, "a message of JSON has at most 512 KiB");
        return;
    }
    if (gate_door_login_too_large(door, conn, ws->held.len + got->len)) {
        fail(door, conn, 1009, "FRAME_TOO_LARGE: before a Login at most 16 KiB");
        return;
    }
    if (!gate_held_add(door, conn, &ws->held, got->data, got->len)) {
        fail(door, conn, 1013, "too many messages are not whole: try again later");
        return;
    }
    if (!whole) {
        return;
    }
    if (!gate_json_take(door, conn, ws->held.data, ws->held.len)) {
        fail(door, conn, 1007, "a message is one JSON object");
    }
    gate_held_free(door, conn, &ws->held);
}

static void
take(struct gate_door *door, struct door_conn *conn, enum gate_ws_event event,
     const struct gate_ws_got *got)
{
    switch (event) {
    case GATE_WS_MORE:
        break;
    case GATE_WS_DATA:
    case GATE_WS_WHOLE:
        if (conn->ws->in.text) {
            take_text(door, conn, got, event == GATE_WS_WHOLE);
            break;
        }
        gate_door_frames_in(door, conn, got->data, got->len);
        if (event == GATE_WS_WHOLE && door_reading(conn) && conn->partial_len > 0) {
            fail(door, conn, 1007, "a message holds whole frames");
        }
        break;
    case GATE_WS_PING:
        send_control(door, conn, GATE_WS_PONG, got->data, got->len);
        gate_door_pause_if_full(door, conn);
        break;
    case GATE_WS_CLOSE:
        conn->ws->code = got->code;
        gate_door_end(door, conn);
        break;
    case GATE_WS_FAIL:
        fail(door, conn, got->code, got->text);
        break;
    }
}

void
gate_ws_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
           size_t len)
{
    enum gate_ws_event event = GATE_WS_DATA;

    if (!conn->ws->upgraded) {
        size_t took = open_with(door, conn, data, len);

        data += took;
        len -= took;
        event = len > 0 ? GATE_WS_DATA : GATE_WS_MORE;
    }
    /* To the end: what is taken from the feed may still be in the parser. */
    while (door_reading(conn) && event != GATE_WS_MORE) {
        struct gate_ws_got got;

        /* What is delivered may come back here for another connection. */
        door->ws.feed = data;
        door->ws.feed_len = len;
        event = gate_ws_next(&conn->ws->in, &door->ws, &got);
        data = door->ws.feed;
        len = door->ws.feed_len;
        take(door, conn, event, &got);
    }
}
