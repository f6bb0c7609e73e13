#include "actors/gate/gate_ws.h"
#include "proto/utf8.h"
#include <stdio.h>
#include <string.h>
#include <wslay/wslay.h>

/* ------------------------------------------------------------------ parsers */

static ssize_t
on_recv(uint8_t *to, size_t len, int flags, void *arg)
{
    struct gate_ws_shared *shared = arg;
    size_t take = shared->feed_len < len ? shared->feed_len : len;

    (void)flags;
    if (take == 0) {
        return -1; /* more later */
    }
    memcpy(to, shared->feed, take);
    shared->feed += take;
    shared->feed_len -= take;
    return (ssize_t)take;
}

static bool
parser_take(struct gate_ws *ws, struct gate_ws_shared *shared)
{
    const struct wslay_frame_callbacks callbacks = {.recv_callback = on_recv};
    wslay_frame_context_ptr made = NULL;

    if (ws->parser != NULL) {
        return true;
    }
    if (shared->spare == NULL &&
        wslay_frame_context_init(&made, &callbacks, shared) == 0) {
        shared->spare = made;
    }
    ws->parser = shared->spare;
    shared->spare = NULL;
    return ws->parser != NULL;
}

/* Between two frames it holds nothing. */
static void
parser_give(struct gate_ws *ws, struct gate_ws_shared *shared)
{
    if (shared->spare == NULL) {
        shared->spare = ws->parser;
    } else {
        wslay_frame_context_free(ws->parser);
    }
    ws->parser = NULL;
}

void
gate_ws_fini(struct gate_ws *ws)
{
    if (ws->parser != NULL) {
        wslay_frame_context_free(ws->parser);
    }
    ws->parser = NULL;
}

void
gate_ws_shared_fini(struct gate_ws_shared *shared)
{
    if (shared->spare != NULL) {
        wslay_frame_context_free(shared->spare);
    }
    shared->spare = NULL;
}

/* ------------------------------------------------------------------ frames */

static enum gate_ws_event
fail(struct gate_ws *ws, struct gate_ws_got *got, uint16_t code, const char *text)
{
    ws->closed = true;
    *got = (struct gate_ws_got){.code = code, .text = text};
    return GATE_WS_FAIL;
}

static uint64_t
whole_len(const struct wslay_frame_iocb *frame)
{
    return 2u +
           (frame->payload_length > UINT16_MAX ? 8u
            : frame->payload_length > 125      ? 2u
                                               : 0u) +
           (frame->mask != 0 ? 4u : 0u) + frame->payload_length;
}

/* What is wrong with a frame that begins; GATE_WS_MORE: nothing. */
static enum gate_ws_event
judge(struct gate_ws *ws, const struct wslay_frame_iocb *frame, struct gate_ws_got *got)
{
    bool control = wslay_is_ctrl_frame(frame->opcode);

    if (frame->mask == 0) {
        return fail(ws, got, 1002, "a client masks its frames");
    }
    if (frame->rsv != 0) {
        return fail(ws, got, 1002, "no extension was agreed");
    }
    if (frame->opcode == (ws->text ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME)) {
        return fail(ws, got, 1003,
                    ws->text ? "messages are text here" : "messages are binary here");
    }
    if (frame->opcode != WSLAY_CONTINUATION_FRAME &&
        frame->opcode != WSLAY_BINARY_FRAME && frame->opcode != WSLAY_TEXT_FRAME &&
        frame->opcode != WSLAY_CONNECTION_CLOSE && frame->opcode != WSLAY_PING &&
        frame->opcode != WSLAY_PONG) {
        return fail(ws, got, 1002, "opcode not known");
    }
    if (!control && ws->in_message != (frame->opcode == WSLAY_CONTINUATION_FRAME)) {
        return fail(ws, got, 1002, "a fragment out of its order");
    }
    if (!control && ws->message + frame->payload_length > GATE_WS_MESSAGE_MAX) {
        return fail(ws, got, 1009, "a message has at most 1 MiB");
    }
    if (!control) {
        ws->message += frame->payload_length;
        ws->in_message = true;
    }
    ws->control_len = 0;
    return GATE_WS_MORE;
}

static bool
code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 &&
            code != 1006) ||
           (code >= 3000 && code <= 4999);
}

static enum gate_ws_event
take_close(struct gate_ws *ws, struct gate_ws_got *got)
{
    unsigned code = 1005;

    if (ws->control_len == 1) {
        return fail(ws, got, 1002, "half a code");
    }
    if (ws->control_len >= 2) {
        code = (unsigned)ws->control[0] << 8 | ws->control[1];
        if (!code_valid(code)) {
            return fail(ws, got, 1002, "no such code");
        }
        if (!an_utf8_valid(ws->control + 2, ws->control_len - 2u)) {
            return fail(ws, got, 1007, "a reason that is not UTF-8");
        }
    }
    ws->closed = true;
    *got = (struct gate_ws_got){.code = (uint16_t)code};
    return GATE_WS_CLOSE;
}

static enum gate_ws_event
take_control(struct gate_ws *ws, const struct wslay_frame_iocb *frame, bool whole,
             struct gate_ws_got *got)
{
    if (ws->control_len + frame->data_length > GATE_WS_CONTROL_MAX) {
        return fail(ws, got, 1002, "a control frame is short"); /* wslay's to see */
    }
    if (frame->data_length > 0) {
        memcpy(ws->control + ws->control_len, frame->data, frame->data_length);
    }
    ws->control_len = (uint8_t)(ws->control_len + frame->data_length);
    if (!whole || frame->opcode == WSLAY_PONG) {
        return GATE_WS_MORE;
    }
    if (frame->opcode == WSLAY_PING) {
        *got = (struct gate_ws_got){.data = ws->control, .len = ws->control_len};
        return GATE_WS_PING;
    }
    return take_close(ws, got);
}

static enum gate_ws_event
take_piece(struct gate_ws *ws, const struct wslay_frame_iocb *frame,
           struct gate_ws_got *got)
{
    bool whole;

    if (!ws->started) {
        enum gate_ws_event event = judge(ws, frame, got);

        if (event != GATE_WS_MORE) {
            return event;
        }
        ws->started = true;
    }
    ws->off += frame->data_length;
    whole = ws->off == frame->payload_length;
    if (whole) {
        ws->fed -= whole_len(frame);
        ws->off = 0;
        ws->started = false;
    }
    if (wslay_is_ctrl_frame(frame->opcode)) {
        return take_control(ws, frame, whole, got);
    }
    *got = (struct gate_ws_got){.data = frame->data, .len = frame->data_length};
    if (!whole || frame->fin == 0) {
        return GATE_WS_DATA;
    }
    ws->in_message = false;
    ws->message = 0;
    return GATE_WS_WHOLE;
}

enum gate_ws_event
gate_ws_next(struct gate_ws *ws, struct gate_ws_shared *shared, struct gate_ws_got *got)
{
    while (!ws->closed) {
        struct wslay_frame_iocb frame = {0};
        enum gate_ws_event event;
        size_t before = shared->feed_len;
        ssize_t rv;

        if (!parser_take(ws, shared)) {
            return fail(ws, got, 1011, "out of memory");
        }
        rv = wslay_frame_recv(ws->parser, &frame);
        ws->fed += before - shared->feed_len;
        if (rv == WSLAY_ERR_WANT_READ && shared->feed_len == 0) {
            if (ws->fed == 0) {
                parser_give(ws, shared);
            }
            return GATE_WS_MORE;
        }
        if (rv < 0 && rv != WSLAY_ERR_WANT_READ) {
            return fail(ws, got, 1002, "not a WebSocket frame");
        }
        event = rv < 0 ? GATE_WS_MORE : take_piece(ws, &frame, got);
        if (event != GATE_WS_MORE) {
            return event;
        }
    }
    shared->feed_len = 0; /* behind a close: nothing counts */
    return GATE_WS_MORE;
}

/* ------------------------------------------------------------------ out */

size_t
gate_ws_header(uint8_t out[GATE_WS_HEADER_MAX], unsigned opcode, size_t len)
{
    size_t bytes = len > UINT16_MAX ? 8 : len > 125 ? 2 : 0;

    out[0] = (uint8_t)(0x80u | opcode);
    out[1] = (uint8_t)(bytes == 8 ? 127 : bytes == 2 ? 126 : len);
    for (size_t i = 0; i < bytes; i++) {
        out[2 + i] = (uint8_t)((uint64_t)len >> (8 * (bytes - 1 - i)));
    }
    return 2 + bytes;
}

size_t
gate_ws_close(uint8_t out[GATE_WS_CONTROL_MAX], unsigned code, const char *text)
{
    size_t len = strnlen(text, GATE_WS_CONTROL_MAX - 2);

    if (code == 1005) { /* never said on the wire */
        return 0;
    }
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    memcpy(out + 2, text, len);
    return len + 2;
}
