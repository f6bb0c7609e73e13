/* Connecting, login, heartbeat, back-off, and the dispatch of frames. */
#include "client/client_priv.h"
#include <assert.h>
#include <netdb.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void *
ac_unpack(struct anser_client *client, const ProtobufCMessageDescriptor *kind,
          const uint8_t *data, size_t len)
{
    return protobuf_c_message_unpack(kind, an_arena_pb(&client->arena), len, data);
}

static ProtobufCBinaryData
bytes_of(char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
}

enum an_err
ac_session_ask(struct anser_client *client, enum an_command command,
               const ProtobufCMessage *body, uint32_t *request)
{
    struct ac_session *s = &client->session;
    size_t len = protobuf_c_message_get_packed_size(body);
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = (uint16_t)command,
                             .body_len = (uint32_t)len};
    uint8_t *at = ac_link_put(&client->link, AN_FRAME_HEADER_LEN + len);

    if (at == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    s->last_request = s->last_request == UINT32_MAX ? 1 : s->last_request + 1;
    frame.request = s->last_request;
    an_frame_put(at, &frame);
    protobuf_c_message_pack(body, at + AN_FRAME_HEADER_LEN);
    *request = frame.request;
    return AN_OK;
}

/* ------------------------------------------------------------------ phases */

static enum anser_state
public_state(enum ac_phase phase)
{
    switch (phase) {
    case AC_OFFLINE:
        return ANSER_STATE_OFFLINE;
    case AC_CONNECTING:
    case AC_LOGIN:
        return ANSER_STATE_CONNECTING;
    case AC_ONLINE:
        return ANSER_STATE_ONLINE;
    case AC_CLOSED:
        break;
    }
    return ANSER_STATE_CLOSED;
}

static void
enter(struct anser_client *client, enum ac_phase phase, const struct anser_error *why)
{
    enum anser_state state = public_state(phase);

    client->session.phase = phase;
    client->session.since = client->now;
    if (state == client->told_state) {
        return;
    }
    client->told_state = state;
    if (client->callbacks.on_state != NULL) {
        client->in_callback = true;
        client->callbacks.on_state(client->user, state, why);
        client->in_callback = false;
    }
}

uint32_t
ac_session_backoff(struct anser_client *client, unsigned level)
{
    uint64_t pause = (uint64_t)client->backoff_min_ms << (level < 20 ? level : 20);

    if (pause > client->backoff_max_ms) {
        pause = client->backoff_max_ms;
    }
    return (uint32_t)(pause / 2) +
           client->env.below(client->env.ctx, (uint32_t)(pause - pause / 2) + 1);
}

static void
link_lost(struct anser_client *client)
{
    struct ac_session *s = &client->session;

    ac_link_close(&client->link);
    s->login_request = 0;
    s->logout_request = 0;
    s->heartbeat_request = 0;
    ac_outgoing_link_lost(client);
    ac_inbox_link_lost(client);
    ac_confirm_link_lost(client);
    ac_history_link_lost(client);
}

void
ac_session_end(struct anser_client *client, const struct anser_error *error)
{
    struct anser_error why = *error;

    if (client->session.phase == AC_CLOSED) {
        return;
    }
    link_lost(client);
    client->error = why;
    enter(client, AC_CLOSED, &why);
    ac_outgoing_fail_all(client);
    ac_history_fail_all(client);
}

/* The next attempt: at once at the next socket address, or at the next address as long as
 * one was not tried yet; then after a pause, which is also when the server's wish to wait
 * counts: it was one server's. A connection that lasted begins a new round. */
static void
plan_attempt(struct anser_client *client, bool was_online, uint32_t retry_after_ms)
{
    struct ac_session *s = &client->session;
    uint64_t pause;

    s->connect_at = client->now;
    if (was_online && client->now - s->since >= ANSER_LIMIT_STABLE_MS) {
        s->level = 0;
        s->tried = 0;
    }
    if (!was_online && ++s->resolved_at < s->resolved_count) {
        return;
    }
    s->resolved_count = 0;
    s->address = (s->address + 1) % client->address_count;
    if (++s->tried < client->address_count) {
        return;
    }
    s->tried = 0;
    pause = ac_session_backoff(client, s->level++);
    s->connect_at += pause < retry_after_ms ? retry_after_ms : pause;
}

void
ac_session_drop(struct anser_client *client, const struct anser_error *error)
{
    struct anser_error why = *error;
    bool was_online = client->session.phase == AC_ONLINE;

    if (client->session.phase == AC_CLOSED || client->session.phase == AC_OFFLINE) {
        return;
    }
    client->error = why;
    link_lost(client);
    plan_attempt(client, was_online, why.retry_after_ms);
    enter(client, AC_OFFLINE, &why);
}

void
ac_session_drop_code(struct anser_client *client, enum an_err err)
{
    struct anser_error error =
        err == AN_ERR_TLS ? ac_error_text(AN_ERR_TLS, client->link.why) : ac_error(err);

    ac_session_drop(client, &error);
}

/* ------------------------------------------------------------------ connecting */

static void
resolve(struct anser_client *client)
{
    struct ac_session *s = &client->session;
    const struct ac_address *address = &client->addresses[s->address];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;

    s->resolved_count = 0;
    s->resolved_at = 0;
    if (getaddrinfo(address->host, address->port, &hints, &list) != 0) {
        return;
    }
    for (struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        if (s->resolved_count < ANSER_LIMIT_RESOLVED_MAX &&
            at->ai_addrlen <= sizeof(s->resolved[0])) {
            memcpy(&s->resolved[s->resolved_count], at->ai_addr, at->ai_addrlen);
            s->resolved_len[s->resolved_count++] = at->ai_addrlen;
        }
    }
    freeaddrinfo(list);
}

static void
connect_now(struct anser_client *client)
{
    struct ac_session *s = &client->session;
    enum an_err err = AN_ERR_CONNECTION;

    if (s->resolved_at >= s->resolved_count) {
        resolve(client);
    }
    enter(client, AC_CONNECTING, NULL);
    if (s->resolved_at < s->resolved_count) {
        err = ac_link_open(&client->link,
                           (const struct sockaddr *)&s->resolved[s->resolved_at],
                           s->resolved_len[s->resolved_at]);
    }
    if (err == AN_OK && client->addresses[s->address].tls) {
        err = ac_tls_begin(client->tls, &client->link, &client->addresses[s->address]);
    }
    if (err == AN_OK && client->addresses[s->address].noise) {
        err = ac_noise_begin(&client->link, client->server_key);
    }
    if (err != AN_OK) {
        ac_session_drop_code(client, err);
    }
}

static enum an_err
send_login(struct anser_client *client)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;

    login.token = bytes_of(client->token);
    login.device = bytes_of(client->device);
    login.platform = bytes_of(client->platform);
    login.client = bytes_of(client->client_name);
    login.send_only = client->send_only;
    client->session.phase = AC_LOGIN; /* its time began with the attempt */
    return ac_session_ask(client, AN_COMMAND_LOGIN, &login.base,
                          &client->session.login_request);
}

/* ------------------------------------------------------------------ login */

static void
learn_time(struct anser_client *client, uint64_t server_time_ms)
{
    client->session.server_offset_ms = (int64_t)(server_time_ms - client->now);
    client->session.server_time_known = true;
}

static enum an_err
login_ok(struct anser_client *client, const uint8_t *body, size_t len)
{
    struct ac_session *s = &client->session;
    Anser__Client__LoginOk *ok =
        ac_unpack(client, &anser__client__login_ok__descriptor, body, len);
    enum an_err err;

    if (ok == NULL || ok->user.len == 0 || ok->user.len > AN_NAME_LEN_MAX) {
        return AN_ERR_BODY_MALFORMED;
    }
    memcpy(client->name, ok->user.data, ok->user.len);
    client->name[ok->user.len] = '\0';
    learn_time(client, ok->server_time_ms);
    s->heartbeat_ms = ok->heartbeat_ms == 0 ? AN_HEARTBEAT_MS : ok->heartbeat_ms;
    s->body_len_max = ok->body_len_max == 0 ? AN_BODY_LEN_MAX : ok->body_len_max;
    s->frame_len_max = ok->frame_len_max == 0 ? AN_FRAME_LEN_MAX : ok->frame_len_max;
    s->sends_max = ok->sends_max == 0 ? 1 : ok->sends_max;
    s->heartbeat_at = client->now + s->heartbeat_ms;
    s->token_asked = false;
    enter(client, AC_ONLINE, NULL);
    if (client->send_only) {
        return AN_OK;
    }
    err = ac_inbox_login(client, ok);
    if (err == AN_OK) {
        ac_follow_online(client);
    }
    return err;
}

/* A fresh token, if there is someone to ask and this is the first time since the last
 * good login. */
static bool
refresh_token(struct anser_client *client)
{
    char *token;

    if (client->callbacks.on_token == NULL || client->session.token_asked) {
        return false;
    }
    client->session.token_asked = true;
    client->in_callback = true;
    token = client->callbacks.on_token(client->user);
    client->in_callback = false;
    if (token == NULL) {
        return false;
    }
    if (anser_client_set_token(client, token) != ANSER_OK) {
        sodium_memzero(token, strlen(token));
        free(token);
        return false;
    }
    sodium_memzero(token, strlen(token));
    free(token);
    return true;
}

/* The server refused the login, or said good-bye. */
static void
sent_away(struct anser_client *client, const struct anser_error *error)
{
    bool token_old = error->code == AN_ERR_TOKEN_EXPIRED ||
                     error->code == AN_ERR_TOKEN_NOT_YET ||
                     error->code == AN_ERR_TOKEN_REVOKED;

    if (token_old && refresh_token(client)) {
        ac_session_drop(client, error);
        client->session.connect_at = client->now;
    } else if (error->retry) {
        ac_session_drop(client, error);
    } else {
        ac_session_end(client, error);
    }
}

/* ------------------------------------------------------------------ frames */

static enum an_err
heartbeat_ok(struct anser_client *client, const struct an_frame *frame,
             const uint8_t *body)
{
    Anser__Client__HeartbeatOk *ok;

    client->session.heartbeat_request = 0;
    if ((frame->flags & AN_FRAME_ERROR) != 0) {
        return AN_OK; /* it was alive enough to refuse */
    }
    ok = ac_unpack(client, &anser__client__heartbeat_ok__descriptor, body,
                   frame->body_len);
    if (ok == NULL) {
        return AN_ERR_BODY_MALFORMED;
    }
    learn_time(client, ok->server_time_ms);
    return client->send_only ? AN_OK : ac_inbox_heartbeat(client, ok);
}

static enum an_err
on_answer(struct anser_client *client, const struct an_frame *frame, const uint8_t *body)
{
    struct ac_session *s = &client->session;

    if (frame->request == s->login_request && s->phase == AC_LOGIN) {
        s->login_request = 0;
        if ((frame->flags & AN_FRAME_ERROR) != 0) {
            struct anser_error error = ac_error_frame(client, body, frame->body_len);
            sent_away(client, &error);
            return AN_OK;
        }
        return login_ok(client, body, frame->body_len);
    }
    if (s->phase != AC_ONLINE) {
        return AN_ERR_COMMAND; /* nothing else was asked */
    }
    switch (frame->command) {
    case AN_COMMAND_HEARTBEAT:
        return heartbeat_ok(client, frame, body);
    case AN_COMMAND_SEND:
        return ac_outgoing_answer(client, frame, body);
    case AN_COMMAND_CONFIRM:
        return ac_confirm_answer(client, frame, body);
    case AN_COMMAND_SYNC:
        return ac_inbox_answer(client, frame, body);
    case AN_COMMAND_HISTORY:
        return ac_history_answer(client, frame, body);
    case AN_COMMAND_LOGOUT:
        s->logout_request = 0;
        return AN_OK;
    default:
        return AN_OK; /* an answer nobody waits for */
    }
}

static enum an_err
on_goodbye(struct anser_client *client, const uint8_t *body, size_t len)
{
    Anser__Client__Goodbye *in =
        ac_unpack(client, &anser__client__goodbye__descriptor, body, len);
    struct anser_error error;

    if (in == NULL) {
        return AN_ERR_BODY_MALFORMED;
    }
    error = ac_error_fields(in->code, in->name, in->text, in->retry, in->retry_after_ms);
    sent_away(client, &error);
    return AN_OK;
}

static enum an_err
on_push(struct anser_client *client, const struct an_frame *frame, const uint8_t *body)
{
    void *in;

    switch (frame->command) {
    case AN_COMMAND_GOODBYE:
        return on_goodbye(client, body, frame->body_len);
    case AN_COMMAND_EVENT:
        in = ac_unpack(client, &anser__client__event__descriptor, body, frame->body_len);
        if (in == NULL) {
            return AN_ERR_BODY_MALFORMED;
        }
        return client->send_only ? AN_OK : ac_inbox_event(client, in);
    case AN_COMMAND_RECEIPT:
        in =
            ac_unpack(client, &anser__client__receipt__descriptor, body, frame->body_len);
        if (in == NULL) {
            return AN_ERR_BODY_MALFORMED;
        }
        ac_follow_receipt(client, in);
        return AN_OK;
    default:
        return AN_OK; /* a newer server's push: ignored, as the protocol says */
    }
}

/* Every whole frame in the input. A handler may drop the link: then input is empty. */
static enum an_err
take_frames(struct anser_client *client)
{
    struct ac_buffer *in = &client->link.in;

    while (in->len > 0) {
        struct an_frame frame;
        const uint8_t *at = in->data + in->start;
        uint64_t link = client->link.count;
        enum an_frame_state state =
            an_frame_get(&frame, at, in->len, ANSER_LIMIT_FRAME_IN_MAX);
        enum an_err err = an_err_of_frame(state);

        if (err != AN_OK) {
            return err;
        }
        if (state == AN_FRAME_MORE || in->len - AN_FRAME_HEADER_LEN < frame.body_len) {
            return AN_OK;
        }
        if (frame.codec != AN_CODEC_PROTOBUF) {
            return AN_ERR_CODEC;
        }
        err = (frame.flags & AN_FRAME_ANSWER) != 0
                  ? on_answer(client, &frame, at + AN_FRAME_HEADER_LEN)
                  : on_push(client, &frame, at + AN_FRAME_HEADER_LEN);
        an_arena_reset(&client->arena);
        if (err != AN_OK) {
            return err;
        }
        if (client->link.fd < 0 || client->link.count != link) {
            return AN_OK;
        }
        ac_buffer_eat(in, AN_FRAME_HEADER_LEN + frame.body_len);
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ steps */

static enum an_err
read_all(struct anser_client *client)
{
    bool more = true;

    for (int i = 0; i < ANSER_LIMIT_READS_MAX && more; i++) {
        enum an_err err = ac_link_read(&client->link, &more);
        enum an_err frames = take_frames(client);

        /* What came before the end still counts: a Goodbye says why it ended. */
        if (frames != AN_OK || client->link.fd < 0) {
            return frames;
        }
        if (err != AN_OK) {
            return err;
        }
    }
    return AN_OK;
}

static enum an_err
heartbeat(struct anser_client *client)
{
    struct ac_session *s = &client->session;
    Anser__Client__Heartbeat beat = ANSER__CLIENT__HEARTBEAT__INIT;

    if (s->heartbeat_request != 0) {
        return client->now - s->heartbeat_sent_at >= client->answer_timeout_ms
                   ? AN_ERR_TIMEOUT
                   : AN_OK;
    }
    if (client->now < s->heartbeat_at) {
        return AN_OK;
    }
    s->heartbeat_sent_at = client->now;
    s->heartbeat_at = client->now + s->heartbeat_ms;
    return ac_session_ask(client, AN_COMMAND_HEARTBEAT, &beat.base,
                          &s->heartbeat_request);
}

/* What an online client does of itself. A step may end the connection. */
static enum an_err
online_step(struct anser_client *client)
{
    typedef enum an_err step_f(struct anser_client *);
    static step_f *const steps[] = {heartbeat, ac_inbox_step, ac_history_step,
                                    ac_outgoing_pump, ac_confirm_step};
    enum an_err err = AN_OK;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && err == AN_OK; i++) {
        err = steps[i](client);
    }
    return err == AN_OK ? ac_link_write(&client->link) : err;
}

static enum an_err
linked_step(struct anser_client *client)
{
    struct ac_session *s = &client->session;
    enum an_err err = AN_OK;

    if (s->phase != AC_ONLINE && client->now - s->since >= client->connect_timeout_ms) {
        return AN_ERR_TIMEOUT;
    }
    if (!client->link.connected) {
        err = ac_link_check(&client->link);
        if (err != AN_OK || !client->link.connected) {
            return err;
        }
        err = send_login(client);
    } else {
        err = read_all(client);
    }
    if (err == AN_OK && s->phase == AC_LOGIN) {
        err = ac_link_write(&client->link);
    }
    if (err == AN_OK && s->phase == AC_ONLINE) {
        err = online_step(client);
    }
    return err;
}

void
ac_session_step(struct anser_client *client)
{
    struct ac_session *s = &client->session;
    enum an_err err;

    if (s->phase == AC_OFFLINE && client->now >= s->connect_at) {
        connect_now(client);
    }
    if (client->link.fd < 0) {
        return;
    }
    err = linked_step(client);
    if (err != AN_OK) {
        ac_session_drop_code(client, err);
    }
}

uint64_t
ac_session_due(const struct anser_client *client)
{
    const struct ac_session *s = &client->session;

    switch (s->phase) {
    case AC_OFFLINE:
        return s->connect_at;
    case AC_CONNECTING:
    case AC_LOGIN:
        return s->since + client->connect_timeout_ms;
    case AC_ONLINE:
        return s->heartbeat_request != 0
                   ? s->heartbeat_sent_at + client->answer_timeout_ms
                   : s->heartbeat_at;
    case AC_CLOSED:
        break;
    }
    return AC_NEVER;
}
