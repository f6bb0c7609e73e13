/* Frames from clients. The gate judges form and standing; whether a message is a retry,
 * in order or allowed is the sequencer's to say. Bodies of messages are not looked into,
 * except that text must be UTF-8. */
#include "actors/gate/gate_priv.h"
#include "core/wire.h"
#include "proto/names.h"
#include "proto/utf8.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_TEXT = 1 };

/* ------------------------------------------------------------------ Send */

static enum an_err
send_form(const Anser__Client__Send *send)
{
    const uint8_t *id = send->client_msg_id.data;

    if (send->client_msg_id.len != AN_CLIENT_MSG_ID_LEN || id[6] >> 4 != 7 ||
        id[8] >> 6 != 2 || send->type == 0) {
        return AN_ERR_ARGUMENT;
    }
    if (!an_name_valid(send->to.data, send->to.len)) {
        return AN_ERR_USER_NAME;
    }
    if (send->body.len == 0) {
        return AN_ERR_BODY_EMPTY;
    }
    if (send->body.len > AN_BODY_LEN_MAX) {
        return AN_ERR_BODY_TOO_LARGE;
    }
    if (send->type == TYPE_TEXT && !an_utf8_valid(send->body.data, send->body.len)) {
        return AN_ERR_UTF8;
    }
    return AN_OK;
}

static void
event_gate_in(struct gate *g, const struct gate_op *op)
{
    char id[2 * AN_CLIENT_MSG_ID_LEN + 1];
    char from[2 * AN_NAME_LEN_MAX + 1], to[2 * AN_NAME_LEN_MAX + 1];

    an_out_hop(g->out, AN_HOP_GATE_IN, op->trace, 0, op->conn->id);
    if (!g->out->watched) {
        return;
    }
    an_out_event(g->out, "message.gate_in",
                 "{\"trace\":\"%016" PRIx64 "\",\"client_msg_id\":\"%s\",\"from\":\"%s\","
                 "\"to\":\"%s\",\"type\":%" PRIu32 ",\"len\":%" PRIu32 ",\"gate\":%u}",
                 op->trace, gate_json_id(id, op->u.send.id),
                 gate_json_name(from, op->conn->text, op->conn->user_len),
                 gate_json_name(to, op->data, op->peer_len), op->u.send.type,
                 op->u.send.body_len, g->index);
}

static enum an_err
send_take(struct gate *g, struct gate_conn *c, uint32_t request,
          const Anser__Client__Send *send, uint64_t number)
{
    struct gate_op *op = gate_op_create(g, c, OP_SEND, request, send->to.data,
                                        send->to.len, send->body.data, send->body.len);

    if (op == NULL) {
        return AN_ERR_BUSY;
    }
    op->trace = send->trace == 0 ? op->trace : send->trace;
    op->u.send.order = number;
    op->u.send.again = number < g->next_order;
    op->u.send.type = send->type;
    op->u.send.body_len = (uint32_t)send->body.len;
    memcpy(op->u.send.id, send->client_msg_id.data, AN_CLIENT_MSG_ID_LEN);
    op->u.send.older = c->sends;
    if (c->sends != NULL) {
        c->sends->u.send.newer = op;
    }
    c->sends = op;
    c->send_count++;
    c->again_count = (uint16_t)(c->again_count + op->u.send.again);
    gate_order_after(op);
    event_gate_in(g, op);
    gate_name_resolve(g, op, c->text + c->user_len + c->device_len, c->app_len);
    return AN_OK;
}

/* A Send that is none costs as much as one. What it is to be answered with. */
static enum an_err
rate_bad(struct gate *g, struct gate_conn *c, enum an_err bad, uint32_t *retry_after_ms)
{
    enum an_err err = gate_rate_take(g, c, AN_COMMAND_SEND, retry_after_ms);

    return err == AN_OK ? bad : err;
}

static void
send_refuse(struct gate *g, struct gate_conn *c, uint32_t request,
            const Anser__Client__Send *send, enum an_err err, uint32_t retry_after_ms)
{
    const ProtobufCBinaryData *id = &send->client_msg_id;

    g->counted.sends_failed++;
    gate_conn_error(g, c, AN_COMMAND_SEND, request, err, retry_after_ms,
                    id->len == AN_CLIENT_MSG_ID_LEN ? id->data : NULL);
}

static void
on_send(struct gate *g, struct gate_conn *c, uint32_t request,
        const ProtobufCMessage *body)
{
    const Anser__Client__Send *send = (const Anser__Client__Send *)body;
    uint32_t retry_after_ms = 0;
    uint64_t number = 0;
    enum an_err err = send_form(send);

    g->counted.sends++;
    if (err != AN_OK) {
        err = rate_bad(g, c, err, &retry_after_ms);
        send_refuse(g, c, request, send, err, retry_after_ms);
        return;
    }
    if (c->leaving) {
        err = g->leave_err; /* for every later one too, so their order is kept */
    }
    if (err == AN_OK) {
        bool admitted =
            gate_order_admits(g, c, send, &number); /* its place, even if refused */

        err = gate_rate_take(g, c, AN_COMMAND_SEND, &retry_after_ms);
        if (err == AN_OK && !admitted) {
            err = AN_ERR_ORDER;
        }
    }
    if (err == AN_OK && gate_account_muted(g, c)) {
        err = AN_ERR_MUTED;
    }
    if (err == AN_OK) {
        err = c->send_count < g->sends_max ? send_take(g, c, request, send, number)
                                           : AN_ERR_BUSY;
    }
    if (err == AN_OK) {
        return;
    }
    send_refuse(g, c, request, send, err, retry_after_ms);
    if (err == AN_ERR_BUSY || err == AN_ERR_ORDER || err == AN_ERR_RATE) {
        gate_order_refuse(g, c, send->to.data, send->to.len, send->client_msg_id.data,
                          number);
    }
}

/* ------------------------------------------------------------------ Confirm */

static enum an_err
confirm_form(const Anser__Client__Confirm *confirm)
{
    if (confirm->n_delivered > AN_PAGE_ITEMS_MAX) {
        return AN_ERR_ARGUMENT;
    }
    for (size_t i = 0; i < confirm->n_delivered; i++) {
        if (!an_name_valid(confirm->delivered[i]->peer.data,
                           confirm->delivered[i]->peer.len)) {
            return AN_ERR_USER_NAME;
        }
    }
    return AN_OK;
}

void
gate_confirm_part(struct gate *g, struct gate_op *op)
{
    const struct gate_confirm *all = op->u.confirm.all;
    struct gate_conn *c = op->conn;
    Anser__Client__ConfirmOk ok = ANSER__CLIENT__CONFIRM_OK__INIT;

    if (all->left == 1 && all->err != AN_OK) {
        gate_conn_error(g, c, AN_COMMAND_CONFIRM, op->request, all->err,
                        all->retry_after_ms, NULL);
    } else if (all->left == 1) {
        if (all->cursor > c->confirmed) {
            c->confirmed = all->cursor;
        }
        ok.inbox_seq = all->cursor;
        gate_conn_answer(g, c, AN_COMMAND_CONFIRM, op->request, &ok.base);
    }
    gate_op_free(g, op);
}

static struct gate_op *
confirm_op(struct gate *g, struct gate_conn *c, enum gate_what what, uint32_t request,
           struct gate_confirm *all, const ProtobufCBinaryData *peer)
{
    struct gate_op *op =
        gate_op_create(g, c, what, request, peer == NULL ? NULL : peer->data,
                       peer == NULL ? 0 : peer->len, NULL, 0);

    if (op != NULL) {
        op->u.confirm.all = all;
        all->left++;
    }
    return op;
}

static void
on_confirm(struct gate *g, struct gate_conn *c, uint32_t request,
           const ProtobufCMessage *body)
{
    const Anser__Client__Confirm *confirm = (const Anser__Client__Confirm *)body;
    struct gate_confirm *all;
    struct gate_op *cursor;
    enum an_err err = confirm_form(confirm);

    g->counted.confirms++;
    all = err == AN_OK ? calloc(1, sizeof(*all)) : NULL;
    cursor = all == NULL ? NULL : confirm_op(g, c, OP_CONFIRM, request, all, NULL);
    if (cursor == NULL) {
        free(all);
        gate_conn_error(g, c, AN_COMMAND_CONFIRM, request,
                        err == AN_OK ? AN_ERR_BUSY : err, 0, NULL);
        return;
    }
    /* The cursor's command is queued last: it keeps *all alive through the loop. */
    for (size_t i = 0; i < confirm->n_delivered; i++) {
        const Anser__Client__Position *position = confirm->delivered[i];
        struct gate_op *op =
            confirm_op(g, c, OP_DELIVERED, request, all, &position->peer);

        if (op == NULL) {
            all->err = AN_ERR_BUSY;
            break;
        }
        op->u.confirm.seq = position->seq;
        gate_name_resolve(g, op, c->text + c->user_len + c->device_len, c->app_len);
    }
    cursor->u.confirm.seq = confirm->inbox_seq;
    cursor->u.confirm.generation = confirm->inbox_generation;
    cursor->slot = an_slot_user(c->user);
    gate_submit(g, cursor);
}

/* ------------------------------------------------------------------ Sync, History */

static uint32_t
page_limit(uint32_t asked)
{
    return asked == 0 || asked > AN_PAGE_ITEMS_MAX ? AN_PAGE_ITEMS_MAX : asked;
}

/* One page at a time for each connection, and none while much of what it got is unread:
 * a client that asks faster than it reads is slowed down, not thrown out. */
void
gate_client_pages(struct gate *g, struct gate_conn *c)
{
    struct gate_op *op = c->pages;

    if (op == NULL || c->page_flying || c->state != CONN_READY ||
        !gate_conn_reads(g, c)) {
        return;
    }
    c->pages = op->next;
    c->page_flying = true;
    if (op->what == OP_SYNC) {
        op->slot = an_slot_user(c->user);
        gate_read(g, op);
    } else {
        gate_name_resolve(g, op, c->text + c->user_len + c->device_len, c->app_len);
    }
}

static void
page_queue(struct gate *g, struct gate_conn *c, struct gate_op *op)
{
    struct gate_op **link = &c->pages;

    while (*link != NULL) {
        link = &(*link)->next;
    }
    op->next = NULL;
    *link = op;
    g->counted.pages++;
    gate_client_pages(g, c);
}

static void
on_sync(struct gate *g, struct gate_conn *c, uint32_t request,
        const ProtobufCMessage *body)
{
    const Anser__Client__Sync *sync = (const Anser__Client__Sync *)body;
    struct gate_op *op = gate_op_create(g, c, OP_SYNC, request, NULL, 0, NULL, 0);

    if (op == NULL) {
        gate_conn_error(g, c, AN_COMMAND_SYNC, request, AN_ERR_BUSY, 0, NULL);
        return;
    }
    op->u.page.after = sync->after;
    op->u.page.generation = sync->inbox_generation;
    op->u.page.limit = page_limit(sync->limit);
    page_queue(g, c, op);
}

static void
on_history(struct gate *g, struct gate_conn *c, uint32_t request,
           const ProtobufCMessage *body)
{
    const Anser__Client__History *history = (const Anser__Client__History *)body;
    struct gate_op *op = NULL;
    enum an_err err = AN_ERR_USER_NAME;

    if (an_name_valid(history->peer.data, history->peer.len)) {
        op = gate_op_create(g, c, OP_HISTORY, request, history->peer.data,
                            history->peer.len, NULL, 0);
        err = AN_ERR_BUSY;
    }
    if (op == NULL) {
        gate_conn_error(g, c, AN_COMMAND_HISTORY, request, err, 0, NULL);
        return;
    }
    op->u.page.before = history->before;
    op->u.page.after = history->after;
    op->u.page.oldest_first = history->oldest_first != 0;
    op->u.page.limit = page_limit(history->limit);
    page_queue(g, c, op);
}

/* ------------------------------------------------------------------ names */

void
gate_client_resolved(struct gate *g, struct gate_op *op, enum an_err err)
{
    struct an_conv conv;

    if (err != AN_OK) {
        gate_op_fail(g, op, err, 0);
        return;
    }
    if (op->what == OP_LOGIN) {
        gate_login_resolved(g, op);
        return;
    }
    conv = an_conv_direct(op->conn->user, op->peer);
    op->slot = an_slot_conv(&conv);
    if (op->what == OP_HISTORY) {
        gate_read(g, op);
    } else {
        gate_submit(g, op);
    }
}

/* ------------------------------------------------------------------ frames */

static void
on_login(struct gate *g, struct gate_conn *c, uint32_t request,
         const ProtobufCMessage *body)
{
    gate_login(g, c, request, (const Anser__Client__Login *)body);
}

static void
on_logout(struct gate *g, struct gate_conn *c, uint32_t request,
          const ProtobufCMessage *body)
{
    Anser__Client__LogoutOk ok = ANSER__CLIENT__LOGOUT_OK__INIT;

    (void)body;
    gate_conn_answer(g, c, AN_COMMAND_LOGOUT, request, &ok.base);
    gate_conn_close(g, c);
}

static void
on_heartbeat(struct gate *g, struct gate_conn *c, uint32_t request,
             const ProtobufCMessage *body)
{
    (void)body;
    gate_heartbeat(g, c, request);
}

typedef void command_f(struct gate *g, struct gate_conn *c, uint32_t request,
                       const ProtobufCMessage *body);

struct command {
    unsigned number;
    const ProtobufCMessageDescriptor *body;
    command_f *handle;
};

static const struct command *
command_find(unsigned number)
{
#define ROW(n, COMMAND, name, answer)                                                    \
    {n, &anser__client__##name##__descriptor, on_##name},
    static const struct command commands[] = {AN_COMMANDS(ROW)};
#undef ROW

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].number == number) {
            return &commands[i];
        }
    }
    return NULL;
}

/* A client need not wait for LoginOk before it sends on: what comes behind a Login whose
 * token is good waits for the login's end. */
static void
hold(struct gate *g, struct gate_conn *c, const struct an_frame *frame,
     const uint8_t *body)
{
    struct gate_op *op = NULL, **link = &c->held;

    if (c->held_count < GATE_HELD_MAX) {
        op =
            gate_op_create(g, c, OP_HELD, frame->request, NULL, 0, body, frame->body_len);
    }
    if (op == NULL) {
        gate_conn_goodbye(g, c, AN_ERR_BUSY);
        return;
    }
    op->u.frame = *frame;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = op;
    c->held_count++;
}

/* May it ask that now? A Send is judged with its form, in on_send. */
static enum an_err
frame_rate(struct gate *g, struct gate_conn *c, unsigned command,
           uint32_t *retry_after_ms)
{
    if (command == AN_COMMAND_SEND) {
        return AN_OK;
    }
    return gate_rate_take(g, c, command, retry_after_ms);
}

/* The connection is not closing, and not in the middle of its login. */
static void
frame_handle(struct gate *g, struct gate_conn *c, const struct an_frame *frame,
             const uint8_t *bytes)
{
    const struct command *command = command_find(frame->command);
    uint32_t retry_after_ms = 0;
    ProtobufCMessage *body;
    enum an_err err;

    if (c->state == CONN_NEW && frame->command != AN_COMMAND_LOGIN) {
        gate_conn_error(g, c, frame->command, frame->request, AN_ERR_LOGIN_REQUIRED, 0,
                        NULL);
        gate_conn_goodbye(g, c, AN_ERR_LOGIN_REQUIRED);
        return;
    }
    err = frame_rate(g, c, frame->command, &retry_after_ms);
    if (err == AN_OK && (command == NULL || frame->codec != AN_CODEC_PROTOBUF)) {
        err = command == NULL ? AN_ERR_COMMAND : AN_ERR_CODEC;
    }
    if (err != AN_OK) {
        gate_conn_error(g, c, frame->command, frame->request, err, retry_after_ms, NULL);
        return;
    }
    body = an_wire_unpack(command->body, &g->frame, bytes, frame->body_len);
    if (body == NULL) {
        err = frame->command == AN_COMMAND_SEND
                  ? rate_bad(g, c, AN_ERR_BODY_MALFORMED, &retry_after_ms)
                  : AN_ERR_BODY_MALFORMED;
        gate_conn_error(g, c, frame->command, frame->request, err, retry_after_ms, NULL);
    } else {
        command->handle(g, c, frame->request, body);
    }
    an_arena_reset(&g->frame);
}

void
gate_client_drop(struct gate *g, struct gate_conn *c)
{
    struct gate_op **lists[] = {&c->pages, &c->held};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        while (*lists[i] != NULL) {
            struct gate_op *op = *lists[i];

            *lists[i] = op->next;
            gate_op_free(g, op);
        }
    }
    gate_order_drop(c);
}

void
gate_client_held(struct gate *g, struct gate_conn *c)
{
    while (c->held != NULL && (c->state == CONN_NEW || c->state == CONN_READY)) {
        struct gate_op *op = c->held;

        c->held = op->next;
        c->held_count--;
        frame_handle(g, c, &op->u.frame, op->data);
        gate_op_free(g, op);
    }
}

void
gate_client_bad_line(struct gate *g, struct gate_conn *c)
{
    uint32_t retry_after_ms = 0;
    enum an_err err;

    if (c->state == CONN_CLOSING) {
        return;
    }
    err = gate_rate_take(g, c, 0, &retry_after_ms);
    gate_conn_error(g, c, 0, 0, err == AN_OK ? AN_ERR_JSON : err, retry_after_ms, NULL);
    if (++c->bad_lines > AN_CONN_BAD_LINES_MAX) {
        g->counted.closed_bad++;
        gate_conn_goodbye(g, c, AN_ERR_JSON);
    }
}

void
gate_client_frame(struct gate *g, struct gate_conn *c, const struct an_msg *msg)
{
    const struct an_frame *frame = &msg->frame;

    if (c->state == CONN_CLOSING) {
        return;
    }
    g->counted.frames_in++;
    g->counted.bytes_in += AN_FRAME_HEADER_LEN + frame->body_len;
    gate_conn_touch(g, c);
    c->bad_lines = 0;
    if (frame->flags != 0) { /* only we answer */
        gate_conn_goodbye(g, c, AN_ERR_FRAME_FLAGS);
    } else if (c->state == CONN_LOGIN && frame->command != AN_COMMAND_LOGIN) {
        hold(g, c, frame, msg->frame_body);
    } else {
        frame_handle(g, c, frame, msg->frame_body);
    }
}
