/* Pending messages. Within a conversation they are sent in order, and stay undecided in
 * order: after a refusal that invites a retry, the server refuses all that follow (ORDER)
 * until the refused one comes again, so we wait until nothing of the conversation is in
 * flight, send the first one alone, and go on when it is accepted. */
#include "client/client_priv.h"
#include "proto/names.h"
#include "proto/utf8.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ lists */

static void
fly_add(struct anser_client *client, struct ac_outgoing *m)
{
    struct ac_sending *s = &client->sending;

    m->fly_prev = s->fly_last;
    m->fly_next = NULL;
    *(s->fly_last == NULL ? &s->fly_first : &s->fly_last->fly_next) = m;
    s->fly_last = m;
    s->in_flight++;
    m->conv->in_flight++;
}

static void
fly_remove(struct anser_client *client, struct ac_outgoing *m)
{
    struct ac_sending *s = &client->sending;

    assert(m->request != 0);
    *(m->fly_prev == NULL ? &s->fly_first : &m->fly_prev->fly_next) = m->fly_next;
    *(m->fly_next == NULL ? &s->fly_last : &m->fly_next->fly_prev) = m->fly_prev;
    m->request = 0;
    s->in_flight--;
    m->conv->in_flight--;
}

static void
add(struct anser_client *client, struct ac_outgoing *m)
{
    struct ac_sending *s = &client->sending;
    struct ac_conv *conv = m->conv;

    m->all_prev = s->last;
    *(s->last == NULL ? &s->first : &s->last->all_next) = m;
    s->last = m;
    m->prev = conv->last;
    *(conv->last == NULL ? &conv->first : &conv->last->next) = m;
    conv->last = m;
    if (conv->unsent == NULL) {
        conv->unsent = m;
    }
    s->count++;
    s->bytes += m->body_len;
}

/* Out of every list; not freed. */
static void
take_out(struct anser_client *client, struct ac_outgoing *m)
{
    struct ac_sending *s = &client->sending;
    struct ac_conv *conv = m->conv;

    if (m->request != 0) {
        fly_remove(client, m);
    }
    if (conv->unsent == m) {
        conv->unsent = m->next;
    }
    *(m->prev == NULL ? &conv->first : &m->prev->next) = m->next;
    *(m->next == NULL ? &conv->last : &m->next->prev) = m->prev;
    *(m->all_prev == NULL ? &s->first : &m->all_prev->all_next) = m->all_next;
    *(m->all_next == NULL ? &s->last : &m->all_next->all_prev) = m->all_prev;
    s->count--;
    s->bytes -= m->body_len;
}

/* ------------------------------------------------------------------ telling */

void
ac_outgoing_tell(struct anser_client *client, const struct anser_send *send)
{
    if (client->callbacks.on_send != NULL) {
        bool before = client->in_callback;
        client->in_callback = true;
        client->callbacks.on_send(client->user, send);
        client->in_callback = before;
    }
}

static struct anser_send
describe(const struct ac_outgoing *m, enum anser_send_state state)
{
    return (struct anser_send){
        .ticket = m->ticket,
        .tag = m->tag,
        .state = state,
        .to = m->conv->peer,
        .client_msg_id = m->id,
        .attempts = m->attempts,
    };
}

/* Decided: out of the queue, then told, so that the callback finds the queue consistent.
 */
static void
fail(struct anser_client *client, struct ac_outgoing *m, const struct anser_error *error)
{
    struct anser_send send = describe(m, ANSER_SEND_FAILED);

    send.error = *error;
    take_out(client, m);
    ac_conv_settle(client, m->conv);
    ac_outgoing_tell(client, &send);
    free(m);
}

/* ------------------------------------------------------------------ accepting */

bool
anser_client_can_send(const struct anser_client *client, size_t body_len)
{
    return client->sending.count < client->pending_max &&
           client->sending.bytes + body_len <= ANSER_LIMIT_PENDING_BYTES_MAX;
}

size_t
anser_client_pending(const struct anser_client *client)
{
    return client->sending.count;
}

static bool
id_valid(const uint8_t *id)
{
    return (id[6] & 0xF0) == 0x70 && (id[8] & 0xC0) == 0x80;
}

static enum an_err
check(const struct anser_client *client, const struct anser_outgoing *message,
      uint32_t type)
{
    uint32_t body_max = client->session.body_len_max;

    if (client->session.phase == AC_CLOSED) {
        return client->error.code == 0 ? AN_ERR_CONNECTION
                                       : (enum an_err)client->error.code;
    }
    if (message->to == NULL ||
        !an_name_valid((const uint8_t *)message->to, strlen(message->to))) {
        return AN_ERR_USER_NAME;
    }
    if (message->body_len == 0 || message->body == NULL) {
        return AN_ERR_BODY_EMPTY;
    }
    if (message->body_len > (body_max == 0 ? AN_BODY_LEN_MAX : body_max)) {
        return AN_ERR_BODY_TOO_LARGE;
    }
    if (type == ANSER_TEXT && !an_utf8_valid(message->body, message->body_len)) {
        return AN_ERR_UTF8;
    }
    if (message->client_msg_id != NULL && !id_valid(message->client_msg_id)) {
        return AN_ERR_ARGUMENT;
    }
    return anser_client_can_send(client, message->body_len) ? AN_OK : AN_ERR_FULL;
}

enum anser_err
anser_client_send(struct anser_client *client, const struct anser_outgoing *message,
                  uint64_t *ticket)
{
    uint32_t type = message->type == 0 ? ANSER_TEXT : message->type;
    enum an_err err = check(client, message, type);
    struct ac_outgoing *m;
    struct ac_conv *conv;

    if (err != AN_OK) {
        return (enum anser_err)err;
    }
    conv = ac_conv_get(client, (const uint8_t *)message->to, strlen(message->to));
    m = calloc(1, sizeof(*m) + message->body_len);
    if (conv == NULL || m == NULL) {
        free(m);
        return m == NULL ? ANSER_ERR_NO_MEMORY : ANSER_ERR_FULL;
    }
    m->conv = conv;
    m->ticket = ++client->sending.next_ticket;
    m->tag = message->tag;
    m->type = type;
    m->queued_at = client->env.mono_ms(client->env.ctx);
    m->body_len = message->body_len;
    memcpy(m->body, message->body, message->body_len);
    if (message->client_msg_id != NULL) {
        memcpy(m->id, message->client_msg_id, ANSER_MSG_ID_LEN);
        m->has_id = true;
    }
    add(client, m);
    ac_conv_settle(client, conv);
    if (ticket != NULL) {
        *ticket = m->ticket;
    }
    return ANSER_OK;
}

/* ------------------------------------------------------------------ sending */

static enum an_err
transmit(struct anser_client *client, struct ac_outgoing *m)
{
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;
    struct ac_conv *conv = m->conv;
    enum an_err err;

    if (!m->has_id) { /* stamped with the server's time, once, for every retry */
        ac_uuid7(m->id, client->now + (uint64_t)client->session.server_offset_ms);
        m->has_id = true;
    }
    send.to = (ProtobufCBinaryData){conv->peer_len, (uint8_t *)conv->peer};
    send.client_msg_id = (ProtobufCBinaryData){ANSER_MSG_ID_LEN, m->id};
    send.type = m->type;
    send.body = (ProtobufCBinaryData){m->body_len, m->body};
    err = ac_session_ask(client, AN_COMMAND_SEND, &send.base, &m->request);
    if (err != AN_OK) {
        return err;
    }
    m->sent_at = client->now;
    m->sent_first = conv->first == m;
    m->attempts++;
    conv->unsent = m->next;
    conv->refused_on_link = conv->refused_on_link && !m->sent_first;
    fly_add(client, m);
    return AN_OK;
}

static void
tell_sending(struct anser_client *client, struct ac_outgoing *m)
{
    if (!m->told_sending) {
        struct anser_send send = describe(m, ANSER_SEND_SENDING);
        m->told_sending = true;
        ac_outgoing_tell(client, &send);
    }
}

static void
wake_blocked(struct anser_client *client)
{
    struct ac_conv *conv = client->sending.blocked.first;

    while (conv != NULL) {
        struct ac_conv *next = conv->next;
        ac_conv_settle(client, conv);
        conv = next;
    }
}

/* The user has sent more than he may: all conversations wait, and go on with fewer at
 * once, so that what is refused is a few and not a window full. */
static void
slow_down(struct anser_client *client, uint64_t pause_ms)
{
    struct ac_sending *s = &client->sending;
    unsigned wide = s->narrow == 0 ? client->window : s->narrow;

    if (client->now >= s->not_before) { /* once for all that were in flight together */
        s->narrow = wide < 2 ? 1 : wide / 2;
    }
    if (s->not_before < client->now + pause_ms) {
        s->not_before = client->now + pause_ms;
    }
}

static void
speed_up(struct anser_client *client)
{
    struct ac_sending *s = &client->sending;

    if (s->narrow != 0 && ++s->narrow >= client->window) {
        s->narrow = 0;
    }
}

static bool
window_open(const struct anser_client *client)
{
    const struct ac_sending *s = &client->sending;

    if (client->now < s->not_before || (s->narrow != 0 && s->in_flight >= s->narrow)) {
        return false;
    }
    return s->in_flight < client->window && s->in_flight < client->session.sends_max &&
           client->link.out.len < ANSER_LIMIT_OUTPUT_HIGH_BYTES;
}

enum an_err
ac_outgoing_pump(struct anser_client *client)
{
    struct ac_sending *s = &client->sending;

    if (s->fly_first != NULL &&
        client->now - s->fly_first->sent_at >= client->answer_timeout_ms) {
        return AN_ERR_TIMEOUT;
    }
    wake_blocked(client);
    while (s->ready.first != NULL && window_open(client)) {
        struct ac_conv *conv = s->ready.first;
        struct ac_outgoing *m = conv->unsent;
        enum an_err err;

        if (m->attempts >= client->send_attempts_max) {
            bool others_wait = conv->refused_on_link && conv->first == m;
            struct anser_error error = ac_error(conv->last_refusal);
            fail(client, m, &error);
            if (others_wait) { /* only a new connection frees those behind it */
                return AN_ERR_ORDER;
            }
            continue;
        }
        if (m->body_len > client->session.body_len_max) { /* accepted before this login */
            struct anser_error error = ac_error(AN_ERR_BODY_TOO_LARGE);
            fail(client, m, &error);
            continue;
        }
        err = transmit(client, m);
        if (err != AN_OK) {
            return err;
        }
        ac_conv_queue(client, conv, AC_QUEUE_READY); /* round robin */
        ac_conv_settle(client, conv);
        tell_sending(client, m);
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ answers */

static struct ac_outgoing *
find_in_flight(struct anser_client *client, uint32_t request)
{
    struct ac_outgoing *m = client->sending.fly_first; /* answers mostly come in order */

    while (m != NULL && m->request != request) {
        m = m->fly_next;
    }
    return m;
}

/* Its entry in our own inbox is on another store and comes as an Event later. */
static void
own_follows(struct anser_client *client, const uint8_t *id)
{
    struct ac_sending *s = &client->sending;

    if (s->own_ids == NULL) {
        s->own_ids = calloc(ANSER_LIMIT_OWN_IDS_MAX, sizeof(*s->own_ids));
    }
    if (s->own_ids == NULL) {
        return;
    }
    memcpy(s->own_ids[(s->own_at + s->own_count) % ANSER_LIMIT_OWN_IDS_MAX], id,
           ANSER_MSG_ID_LEN);
    if (s->own_count < ANSER_LIMIT_OWN_IDS_MAX) {
        s->own_count++;
    } else {
        s->own_at = (s->own_at + 1) % ANSER_LIMIT_OWN_IDS_MAX;
    }
}

bool
ac_outgoing_knows(struct anser_client *client, const struct anser_message *message)
{
    struct ac_sending *s = &client->sending;
    const struct ac_conv *conv;

    /* They come in the order of their numbers, nearly that of their answers. */
    for (size_t i = 0; i < s->own_count; i++) {
        if (memcmp(s->own_ids[(s->own_at + i) % ANSER_LIMIT_OWN_IDS_MAX],
                   message->client_msg_id, ANSER_MSG_ID_LEN) == 0) {
            memcpy(s->own_ids[(s->own_at + i) % ANSER_LIMIT_OWN_IDS_MAX],
                   s->own_ids[s->own_at], ANSER_MSG_ID_LEN);
            s->own_at = (s->own_at + 1) % ANSER_LIMIT_OWN_IDS_MAX;
            s->own_count--;
            return true;
        }
    }
    /* Overtook its own answer. */
    conv = ac_conv_find(client, (const uint8_t *)message->to, strlen(message->to));
    for (struct ac_outgoing *m = conv == NULL ? NULL : conv->first; m != NULL;
         m = m->next) {
        if (m->has_id && memcmp(m->id, message->client_msg_id, ANSER_MSG_ID_LEN) == 0) {
            m->own_seen = true;
            return true;
        }
    }
    return false;
}

static void
accepted(struct anser_client *client, struct ac_outgoing *m,
         const Anser__Client__SendOk *ok)
{
    struct anser_send send = describe(m, ANSER_SEND_SENT);
    struct ac_conv *conv = m->conv;
    /* A note to oneself comes as an Event, whatever the answer says of its place. */
    bool receives = !client->send_only && !ac_to_self(client, conv->peer);

    send.seq = ok->seq;
    send.message_id = ok->message_id;
    send.time_ms = ok->time_ms;
    take_out(client, m);
    speed_up(client);
    if (conv->in_flight == 0) { /* else those behind a refused one are still to answer */
        conv->probing = false;
        conv->refusals = 0;
        conv->not_before = 0;
    }
    ac_conv_settle(client, conv);
    if (receives && ok->inbox_seq != 0) {
        ac_inbox_own(client, ok->inbox_seq);
    } else if (receives && client->callbacks.on_message != NULL && !m->own_seen) {
        own_follows(client, m->id);
    }
    ac_outgoing_tell(client, &send);
    ac_follow_sent(client, conv, &send);
    free(m);
}

/* The first of the conversation decides when to go on; those behind it were refused only
 * because of it, and that is no attempt of theirs. */
static void
refused(struct anser_client *client, struct ac_outgoing *m,
        const struct anser_error *error)
{
    struct ac_conv *conv = m->conv;
    uint64_t pause;

    fly_remove(client, m);
    conv->unsent = conv->first;
    conv->probing = true;
    conv->refused_on_link = true;
    if ((error->code == AN_ERR_ORDER && !m->sent_first) || error->code == AN_ERR_RATE) {
        m->attempts--; /* its time is bounded all the same */
    }
    if (error->code == AN_ERR_RATE) {
        slow_down(client, error->retry_after_ms);
    }
    if (conv->first == m) {
        pause = ac_session_backoff(client, conv->refusals++);
        if (pause < error->retry_after_ms) {
            pause = error->retry_after_ms;
        }
        conv->not_before = client->now + pause;
        conv->last_refusal = error->code;
    }
    ac_conv_settle(client, conv);
}

enum an_err
ac_outgoing_answer(struct anser_client *client, const struct an_frame *frame,
                   const uint8_t *body)
{
    struct ac_outgoing *m = find_in_flight(client, frame->request);
    Anser__Client__SendOk *ok;

    if (m == NULL) {
        return AN_OK; /* decided already: its time was over */
    }
    if ((frame->flags & AN_FRAME_ERROR) != 0) {
        struct anser_error error = ac_error_frame(client, body, frame->body_len);
        if (error.retry) {
            refused(client, m, &error);
        } else {
            fail(client, m, &error);
        }
        return AN_OK;
    }
    ok = ac_unpack(client, &anser__client__send_ok__descriptor, body, frame->body_len);
    if (ok == NULL || ok->seq == 0) {
        return AN_ERR_BODY_MALFORMED;
    }
    accepted(client, m, ok);
    return AN_OK;
}

void
ac_outgoing_link_lost(struct anser_client *client)
{
    struct ac_sending *s = &client->sending;

    while (s->fly_last != NULL) {
        struct ac_conv *conv = s->fly_last->conv;
        conv->last_refusal = AN_ERR_CONNECTION;
        fly_remove(client, s->fly_last);
    }
    s->narrow = 0; /* another gate may count anew */
    s->not_before = 0;
    for (struct ac_outgoing *m = s->first; m != NULL; m = m->all_next) {
        struct ac_conv *conv = m->conv;
        conv->unsent = conv->first;
        conv->probing = false;
        conv->refused_on_link = false;
        ac_conv_settle(client, conv);
    }
}

/* Gives up what waited too long. What is in flight is left to its answer, which comes or
 * the connection is taken as dead. */
void
ac_outgoing_expire(struct anser_client *client)
{
    struct ac_sending *s = &client->sending;
    struct ac_outgoing *m = s->first;
    bool relink = false;

    while (m != NULL && client->now - m->queued_at >= client->send_timeout_ms) {
        struct ac_outgoing *next = m->all_next;
        if (m->request == 0) {
            struct anser_error error = ac_error(
                m->conv->last_refusal == 0 ? AN_ERR_TIMEOUT : m->conv->last_refusal);
            relink = relink || (m->conv->refused_on_link && m->conv->first == m);
            fail(client, m, &error);
        }
        m = next;
    }
    if (relink) {
        ac_session_drop_code(client, AN_ERR_ORDER);
    }
}

uint64_t
ac_outgoing_due(const struct anser_client *client)
{
    const struct ac_sending *s = &client->sending;
    uint64_t due = AC_NEVER;

    for (const struct ac_outgoing *m = s->first; m != NULL; m = m->all_next) {
        if (m->request == 0) {
            due = m->queued_at + client->send_timeout_ms;
            break;
        }
    }
    if (client->session.phase != AC_ONLINE) {
        return due;
    }
    if (s->ready.first != NULL && window_open(client)) {
        return 0;
    }
    if (s->ready.first != NULL && client->now < s->not_before) {
        due = s->not_before < due ? s->not_before : due;
    }
    if (s->fly_first != NULL && s->fly_first->sent_at + client->answer_timeout_ms < due) {
        due = s->fly_first->sent_at + client->answer_timeout_ms;
    }
    for (const struct ac_conv *conv = s->blocked.first; conv != NULL; conv = conv->next) {
        due = conv->not_before < due ? conv->not_before : due;
    }
    return due;
}

void
ac_outgoing_fail_all(struct anser_client *client)
{
    while (client->sending.first != NULL) {
        struct anser_error error = client->error;
        if (error.code == 0) {
            error = ac_error(AN_ERR_CONNECTION);
        }
        fail(client, client->sending.first, &error);
    }
}

void
ac_outgoing_free_all(struct anser_client *client)
{
    while (client->sending.first != NULL) {
        struct ac_outgoing *m = client->sending.first;
        take_out(client, m);
        free(m);
    }
    free(client->sending.own_ids);
    client->sending.own_ids = NULL;
    client->sending.own_count = 0;
}
