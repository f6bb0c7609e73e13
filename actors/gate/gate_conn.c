#include "actors/gate/gate_priv.h"
#include "core/wire.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct gate_conn *
gate_conn_find(const struct gate *g, uint64_t id)
{
    struct an_chained *at = an_chains_first(&g->conns, id);

    assert(at == NULL || an_chains_next(at) == NULL);
    return (struct gate_conn *)at;
}

struct gate_conn *
gate_conn_walk(const struct gate *g, const struct gate_conn *c)
{
    return (struct gate_conn *)an_chains_walk(&g->conns, c == NULL ? NULL : &c->chained);
}

/* ------------------------------------------------------------------ lists by age */

static void
unlink_age(struct gate_conn *c)
{
    if (c->newer != NULL) {
        c->newer->older = c->older;
        c->older->newer = c->newer;
        c->newer = c->older = NULL;
    }
}

/* ring->newer is the oldest, ring->older the newest. */
static void
link_newest(struct gate_conn *ring, struct gate_conn *c)
{
    c->newer = ring;
    c->older = ring->older;
    ring->older->newer = c;
    ring->older = c;
}

void
gate_conn_touch(struct gate *g, struct gate_conn *c)
{
    if (c->state == CONN_READY) {
        c->active_ms = g->now.mono_ms;
        unlink_age(c);
        link_newest(&g->active, c);
    }
}

void
gate_conn_ready(struct gate *g, struct gate_conn *c)
{
    c->state = CONN_READY;
    gate_conn_touch(g, c);
    gate_account_heard(g, c);
}

void
gate_conn_walk_old(struct gate *g)
{
    while (g->opening.newer != &g->opening &&
           g->now.mono_ms - g->opening.newer->active_ms >= g->login_timeout_ms) {
        gate_conn_goodbye(g, g->opening.newer, AN_ERR_LOGIN_TIMEOUT);
    }
    while (g->active.newer != &g->active &&
           g->now.mono_ms - g->active.newer->active_ms >= g->idle_ms) {
        g->counted.closed_idle++;
        gate_conn_goodbye(g, g->active.newer, AN_ERR_IDLE);
    }
}

/* ------------------------------------------------------------------ frames out */

static uint32_t
capped(size_t bytes)
{
    return bytes > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)bytes;
}

/* The door tells of output that a client did not take at once before it brings anything
 * else (core/door.h). So when nothing is known to wait, all that was sent before this
 * drain has been taken. */
static void
count_out(struct gate *g, struct gate_conn *c, size_t bytes)
{
    if (c->output == 0 && g->drains != c->sent_drain) {
        c->sent = 0;
    }
    c->sent = capped((size_t)c->sent + bytes);
    c->sent_drain = g->drains;
    g->counted.frames_out++;
    g->counted.bytes_out += bytes;
}

/* A page in answer must not be what makes a connection too slow: what waits now, one page
 * and some pushes stay below the cap. */
bool
gate_conn_reads(const struct gate *g, const struct gate_conn *c)
{
    return c->output <= g->output_bytes_max / 4;
}

static bool
closing(const struct gate_conn *c)
{
    return c->state == CONN_CLOSING || c->state == CONN_GONE;
}

/* A client that does not read would make us keep all that is sent to it. */
static bool
too_slow(struct gate *g, struct gate_conn *c)
{
    if ((size_t)c->output + c->sent <= g->output_bytes_max) {
        return false;
    }
    g->counted.closed_slow++;
    gate_conn_goodbye(g, c, AN_ERR_SLOW_CONSUMER);
    return true;
}

void
gate_conn_send_packed(struct gate *g, struct gate_conn *c, unsigned command,
                      uint16_t flags, uint32_t request, const uint8_t *body, size_t len)
{
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = (uint16_t)command,
                             .flags = flags,
                             .request = request};

    if (closing(c)) {
        return;
    }
    count_out(g, c, AN_FRAME_HEADER_LEN + len);
    if (!too_slow(g, c)) {
        an_out_conn_send_packed(g->out, c->id, &frame, body, len);
    }
}

static void
send_body(struct gate *g, struct gate_conn *c, unsigned command, uint16_t flags,
          uint32_t request, const ProtobufCMessage *body)
{
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = (uint16_t)command,
                             .flags = flags,
                             .request = request};
    uint8_t near[1024], *end = near + sizeof(near);
    size_t len;

    if (closing(c)) {
        return;
    }
    len = an_wire_pack(body, near, end);
    if (len != AN_WIRE_NO_ROOM) {
        gate_conn_send_packed(g, c, command, flags, request, end - len, len);
        return;
    }
    count_out(g, c, AN_FRAME_HEADER_LEN + protobuf_c_message_get_packed_size(body));
    if (!too_slow(g, c)) {
        an_out_conn_send(g->out, c->id, &frame, body);
    }
}

void
gate_conn_answer(struct gate *g, struct gate_conn *c, unsigned command, uint32_t request,
                 const ProtobufCMessage *body)
{
    send_body(g, c, command, AN_FRAME_ANSWER, request, body);
}

static ProtobufCBinaryData
text_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static uint32_t
retry_after(enum an_err err, uint32_t given_ms)
{
    if (given_ms != 0) {
        return given_ms;
    }
    switch (err) {
    case AN_ERR_BUSY:
    case AN_ERR_DRAINING:
        return 100;
    case AN_ERR_UNAVAILABLE:
    case AN_ERR_TIMEOUT:
        return 200;
    case AN_ERR_TOO_MANY_CONNECTIONS:
    case AN_ERR_ADDRESS_FULL:
    case AN_ERR_SHUTTING_DOWN:
    case AN_ERR_DISK_FULL:
        return 1000;
    default: /* of the error table: the others need no pause */
        return 0;
    }
}

void
gate_conn_error(struct gate *g, struct gate_conn *c, unsigned command, uint32_t request,
                enum an_err err, uint32_t retry_after_ms, const uint8_t *id)
{
    Anser__Client__Error error = ANSER__CLIENT__ERROR__INIT;

    error.code = (uint32_t)err;
    error.name = text_of(an_err_name(err));
    error.text = text_of(an_err_text(err));
    error.retry = an_err_handling(err) == AN_HANDLE_RETRY;
    error.retry_after_ms = retry_after(err, retry_after_ms);
    if (id != NULL) {
        error.client_msg_id.data = (uint8_t *)(uintptr_t)id;
        error.client_msg_id.len = AN_CLIENT_MSG_ID_LEN;
    }
    g->counted.errors_out++;
    send_body(g, c, command, AN_FRAME_ANSWER | AN_FRAME_ERROR, request, &error.base);
}

/* Straight to the door: the last words of a connection, which may have no entry. */
static void
goodbye_and_close(struct gate *g, uint64_t id, enum an_err err)
{
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF, .command = AN_COMMAND_GOODBYE};
    Anser__Client__Goodbye goodbye = ANSER__CLIENT__GOODBYE__INIT;

    goodbye.code = (uint32_t)err;
    goodbye.name = text_of(an_err_name(err));
    goodbye.text = text_of(an_err_text(err));
    goodbye.retry = an_err_handling(err) == AN_HANDLE_RETRY;
    goodbye.retry_after_ms = retry_after(err, 0);
    g->counted.frames_out++;
    an_out_conn_send(g->out, id, &frame, &goodbye.base);
    an_out_conn_close(g->out, id);
}

/* ------------------------------------------------------------------ life */

/* Why nobody is let in now. */
static enum an_err
door_shut(const struct gate *g)
{
    if (g->stopping) {
        return AN_ERR_SHUTTING_DOWN;
    }
    if (g->draining) {
        return AN_ERR_DRAINING;
    }
    if (!g->ready) {
        return AN_ERR_UNAVAILABLE;
    }
    return g->conns.count >= g->conns_max ? AN_ERR_TOO_MANY_CONNECTIONS : AN_OK;
}

void
gate_conn_open(struct gate *g, uint64_t id, const uint8_t address[AN_ADDRESS_LEN])
{
    enum an_err err = door_shut(g);
    struct gate_conn *c = NULL;

    if (err != AN_OK) {
        g->counted.conns_refused++;
        goodbye_and_close(g, id, err);
        return;
    }
    if (gate_conn_find(g, id) != NULL) {
        return; /* doubled */
    }
    c = calloc(1, sizeof(*c));
    err = AN_ERR_BUSY;
    if (c != NULL) {
        c->id = id;
        memcpy(c->address, address, sizeof(c->address));
        err = gate_rate_open(g, c, address);
    }
    if (err == AN_OK && !an_chains_add(&g->conns, &c->chained, id)) {
        gate_rate_closed(g, c);
        err = AN_ERR_BUSY;
    }
    if (err != AN_OK) {
        free(c);
        g->counted.conns_refused++;
        goodbye_and_close(g, id, err);
        return;
    }
    c->active_ms = g->now.mono_ms;
    link_newest(&g->opening, c);
    g->counted.conns_opened++;
}

static void
event_closed(struct gate *g, const struct gate_conn *c, const char *why)
{
    char user[2 * AN_NAME_LEN_MAX + 1], device[2 * AN_NAME_LEN_MAX + 1];

    if (g->out->watched && c->text != NULL) {
        an_out_event(g->out, "session.closed",
                     "{\"user\":\"%s\",\"device\":\"%s\",\"gate\":%u,\"conn\":\"%" PRIu64
                     "\",\"why\":\"%s\"}",
                     gate_json_name(user, c->text, c->user_len),
                     gate_json_name(device, c->text + c->user_len, c->device_len),
                     g->index, c->id, why);
    }
}

/* The session ends here and now, whoever ended it; ops under way end by themselves. */
static void
session_end(struct gate *g, struct gate_conn *c, const char *why)
{
    event_closed(g, c, why);
    unlink_age(c);
    gate_account_gone(c);
    gate_router_down(g, c);
    c->state = CONN_CLOSING;
    g->closing_count++;
    g->goodbye_ms = g->now.mono_ms;
    gate_client_drop(g, c);
}

void
gate_conn_goodbye(struct gate *g, struct gate_conn *c, enum an_err err)
{
    if (closing(c)) {
        return;
    }
    session_end(g, c, an_err_name(err));
    goodbye_and_close(g, c->id, err);
}

void
gate_conn_close(struct gate *g, struct gate_conn *c)
{
    if (closing(c)) {
        return;
    }
    session_end(g, c, "LOGOUT");
    an_out_conn_close(g->out, c->id);
}

void
gate_conn_unref(struct gate *g, struct gate_conn *c)
{
    if (c->state == CONN_GONE && c->ops == 0) {
        gate_rate_user_gone(g, c);
        free(c->text);
        free(c);
    }
}

void
gate_conn_closed(struct gate *g, uint64_t id)
{
    struct gate_conn *c = gate_conn_find(g, id);

    if (c == NULL) {
        return;
    }
    if (!closing(c)) {
        session_end(g, c, "CONNECTION");
    }
    an_chains_remove(&g->conns, &c->chained);
    gate_rate_closed(g, c);
    c->state = CONN_GONE;
    g->closing_count--;
    g->counted.conns_closed++;
    gate_conn_unref(g, c);
}

void
gate_conn_output(struct gate *g, uint64_t id, uint64_t bytes)
{
    struct gate_conn *c = gate_conn_find(g, id);

    if (c == NULL || closing(c)) {
        return;
    }
    c->output = capped(bytes);
    c->sent = 0;
    if (!too_slow(g, c)) {
        gate_client_pages(g, c);
    }
}

void
gate_conn_table_fini(struct gate *g)
{
    struct gate_conn *c = gate_conn_walk(g, NULL);

    while (c != NULL) {
        struct gate_conn *next = gate_conn_walk(g, c);

        gate_client_drop(g, c);
        gate_rate_closed(g, c);
        c->state = CONN_GONE;
        gate_conn_unref(g, c);
        c = next;
    }
    an_chains_fini(&g->conns);
}
