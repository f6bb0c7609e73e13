/* Token, name, store, router, store: a login passes them all, in this order. The store is
 * asked first whether the account lets it in: a router that hears of the session may
 * close others for it. It is asked again when the router knows, for the inbox head, so
 * that whatever is stored after that head is pushed. */
#include "actors/gate/gate_priv.h"
#include "proto/names.h"
#include "proto/utf8.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool
platform_get(uint8_t *platform, ProtobufCBinaryData text)
{
    unsigned place = text.len == 0 ? 0 : an_platform_find(text.data, text.len);

    if (place < AN_PLATFORM_COUNT) {
        *platform = (uint8_t)place;
    }
    return place < AN_PLATFORM_COUNT;
}

/* ------------------------------------------------------------------ the token */

/* A token may be for one device, or for one platform, which a client then need not say.
 */
static enum an_err
token_bound(const struct an_token_claims *claims, const Anser__Client__Login *login,
            uint8_t *platform)
{
    ProtobufCBinaryData said = {claims->platform_len,
                                (uint8_t *)(uintptr_t)claims->platform};
    uint8_t bound = *platform;

    if (claims->device_len > 0 &&
        (claims->device_len != login->device.len ||
         memcmp(claims->device, login->device.data, login->device.len) != 0)) {
        return AN_ERR_TOKEN_DEVICE;
    }
    if (!platform_get(&bound, said)) {
        return AN_ERR_TOKEN_INVALID;
    }
    if (said.len > 0 && login->platform.len > 0 && bound != *platform) {
        return AN_ERR_TOKEN_DEVICE;
    }
    *platform = said.len > 0 ? bound : *platform;
    return AN_OK;
}

static enum an_err
session_fill(struct gate *g, struct gate_conn *c, const Anser__Client__Login *login)
{
    struct an_token_claims claims;
    uint8_t platform;
    enum an_err err;

    if (!an_name_valid(login->device.data, login->device.len)) {
        return AN_ERR_DEVICE_NAME;
    }
    if (!platform_get(&platform, login->platform) ||
        login->client.len > AN_NAME_LEN_MAX) {
        return AN_ERR_ARGUMENT;
    }
    if (!an_utf8_valid(login->client.data, login->client.len)) {
        return AN_ERR_UTF8;
    }
    err = an_token_verify(&claims, g->keys, login->token.data, login->token.len,
                          g->now.wall_ms);
    if (err != AN_OK) {
        return err;
    }
    if (an_apps_find(g->apps, claims.app, claims.app_len) == NULL) {
        return AN_ERR_APP_UNKNOWN;
    }
    err = token_bound(&claims, login, &platform);
    if (err != AN_OK) {
        return err;
    }
    c->text = malloc(claims.user_len + login->device.len + claims.app_len);
    if (c->text == NULL) {
        return AN_ERR_BUSY;
    }
    c->user_len = (uint8_t)claims.user_len;
    c->device_len = (uint8_t)login->device.len;
    c->app_len = (uint8_t)claims.app_len;
    c->platform = platform;
    c->issued_ms = claims.issued_ms;
    c->account_version = 0;
    c->muted_until_ms = 0;
    c->send_only = login->send_only != 0;
    memcpy(c->text, claims.user, claims.user_len);
    memcpy(c->text + c->user_len, login->device.data, login->device.len);
    memcpy(c->text + c->user_len + c->device_len, claims.app, claims.app_len);
    return AN_OK;
}

/* Refused: the client may try again on this connection only when trying again helps. */
void
gate_login_failed(struct gate *g, struct gate_conn *c, uint32_t request, enum an_err err,
                  uint32_t retry_after_ms)
{
    char address[AN_ADDRESS_TEXT_MAX];

    gate_router_down(g, c);
    gate_rate_user_gone(g, c);
    free(c->text);
    c->text = NULL;
    c->user = 0;
    c->pushed_early = false;
    if (c->state == CONN_LOGIN) {
        c->state = CONN_NEW;
    }
    if (c->state != CONN_NEW) {
        return;
    }
    g->counted.logins_failed++;
    an_address_print(c->address, address, sizeof(address));
    an_out_event(g->out, "error.login",
                 "{\"gate\":%u,\"conn\":\"%" PRIu64
                 "\",\"address\":\"%s\",\"error\":\"%s\"}",
                 g->index, c->id, address, an_err_name(err));
    gate_conn_error(g, c, AN_COMMAND_LOGIN, request, err, retry_after_ms, NULL);
    if (an_err_handling(err) != AN_HANDLE_RETRY) {
        gate_conn_goodbye(g, c, err);
    } else {
        gate_client_held(g, c); /* refused too: there is no session */
    }
}

void
gate_login(struct gate *g, struct gate_conn *c, uint32_t request,
           const Anser__Client__Login *login)
{
    struct gate_op *op;
    enum an_err err;

    if (c->state != CONN_NEW) {
        gate_conn_error(g, c, AN_COMMAND_LOGIN, request, AN_ERR_LOGIN_TWICE, 0, NULL);
        return;
    }
    err = session_fill(g, c, login);
    if (err != AN_OK) {
        gate_login_failed(g, c, request, err, 0);
        return;
    }
    op = gate_op_create(g, c, OP_LOGIN, request, c->text, c->user_len, NULL, 0);
    if (op == NULL) {
        gate_login_failed(g, c, request, AN_ERR_BUSY, 0);
        return;
    }
    c->state = CONN_LOGIN;
    c->since_ms = g->now.wall_ms;
    gate_name_resolve(g, op, c->text + c->user_len + c->device_len, c->app_len);
}

/* ------------------------------------------------------------------ after it */

/* The client has gone while we asked. */
static bool
abandoned(struct gate *g, struct gate_op *op)
{
    if (op->conn->state == CONN_LOGIN) {
        return false;
    }
    gate_op_free(g, op);
    return true;
}

void
gate_login_resolved(struct gate *g, struct gate_op *op)
{
    uint32_t retry_after_ms = 0;
    enum an_err err;

    if (abandoned(g, op)) {
        return;
    }
    err = gate_rate_user(g, op->conn, op->peer, &retry_after_ms);
    if (err != AN_OK) {
        gate_op_fail(g, op, err, retry_after_ms);
        return;
    }
    op->conn->user = op->peer;
    op->slot = an_slot_user(op->peer);
    gate_read(g, op);
}

void
gate_login_announced(struct gate *g, struct gate_op *op)
{
    if (!abandoned(g, op)) {
        op->u.login.announced = true;
        gate_read(g, op);
    }
}

static void
event_login(struct gate *g, const struct gate_conn *c)
{
    char user[2 * AN_NAME_LEN_MAX + 1], device[2 * AN_NAME_LEN_MAX + 1];
    char app[2 * AN_NAME_LEN_MAX + 1];

    if (!g->out->watched) {
        return;
    }
    an_out_event(g->out, "session.login",
                 "{\"user\":\"%s\",\"device\":\"%s\",\"app\":\"%s\",\"platform\":\"%s\","
                 "\"gate\":%u,\"conn\":\"%" PRIu64 "\",\"send_only\":%s}",
                 gate_json_name(user, c->text, c->user_len),
                 gate_json_name(device, c->text + c->user_len, c->device_len),
                 gate_json_name(app, c->text + c->user_len + c->device_len, c->app_len),
                 an_platform_name(c->platform), g->index, c->id,
                 c->send_only ? "true" : "false");
}

void
gate_login_read(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *a)
{
    Anser__Client__LoginOk ok = ANSER__CLIENT__LOGIN_OK__INIT;
    struct gate_conn *c = op->conn;
    enum an_err err;

    if (abandoned(g, op)) {
        return;
    }
    if (c->pushed_early && op->u.login.rereads < GATE_REREADS_MAX) {
        c->pushed_early = false;
        op->u.login.rereads++;
        gate_read(g, op);
        return;
    }
    err = gate_account_login(g, c, a);
    if (err != AN_OK) {
        gate_op_fail(g, op, err, 0);
        return;
    }
    if (!c->send_only && !op->u.login.announced) {
        gate_router_up(g, op);
        return;
    }
    c->confirmed = a->cursor;
    gate_conn_ready(g, c);
    g->counted.logins++;
    event_login(g, c);
    ok.user = (ProtobufCBinaryData){c->user_len, c->text};
    ok.server_time_ms = g->now.wall_ms;
    ok.inbox_generation = a->inbox_generation;
    ok.inbox_first = a->inbox_first;
    ok.inbox_head = a->inbox_head;
    ok.cursor = a->cursor;
    ok.heartbeat_ms = g->heartbeat_ms;
    ok.idle_ms = g->idle_ms;
    ok.body_len_max = AN_BODY_LEN_MAX;
    ok.frame_len_max = AN_FRAME_LEN_MAX;
    ok.sends_max = g->sends_max;
    gate_conn_answer(g, c, AN_COMMAND_LOGIN, op->request, &ok.base);
    gate_account_note(g, c, a);
    gate_client_held(g, c);
    gate_op_free(g, op);
}

/* ------------------------------------------------------------------ heartbeats */

void
gate_heartbeat(struct gate *g, struct gate_conn *c, uint32_t request)
{
    struct gate_op *op = gate_op_create(g, c, OP_HEARTBEAT, request, NULL, 0, NULL, 0);

    if (op == NULL) {
        gate_conn_error(g, c, AN_COMMAND_HEARTBEAT, request, AN_ERR_BUSY, 0, NULL);
        return;
    }
    g->counted.heartbeats++;
    op->slot = an_slot_user(c->user);
    if (g->heads.first == NULL) {
        an_out_timer(g->out, g->now.mono_ms + GATE_HEAD_DELAY_MS, GATE_TAG(TAG_HEADS, 0));
    }
    gate_ops_push(&g->heads, op);
}

void
gate_heads_due(struct gate *g)
{
    struct gate_op *op;

    while ((op = gate_ops_pop(&g->heads)) != NULL) {
        gate_read(g, op);
    }
}

/* a: NULL when the store could not be asked. The link lives, and that much is said. */
void
gate_heartbeat_read(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *a)
{
    Anser__Client__HeartbeatOk ok = ANSER__CLIENT__HEARTBEAT_OK__INIT;

    ok.server_time_ms = g->now.wall_ms;
    if (a != NULL) {
        ok.inbox_generation = a->inbox_generation;
        ok.inbox_head = a->inbox_head;
        if (a->inbox_head > op->conn->confirmed && !op->conn->send_only) {
            ok.head_event = a->head_event;
        }
        gate_account_seen(g, op->conn, a);
    }
    gate_conn_answer(g, op->conn, AN_COMMAND_HEARTBEAT, op->request, &ok.base);
    gate_op_free(g, op);
}
