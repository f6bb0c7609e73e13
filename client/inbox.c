/* The inbox, strictly in order. An entry comes as a push, in a Sync page, beside a
 * heartbeat, or (a message of ours) named by its SendOk; whatever the way, next alone
 * decides: lower is a repetition, higher waits in held, and a hole is asked for. */
#include "client/client_priv.h"
#include "proto/names.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void
tell_gap(struct anser_client *client, uint64_t from, uint64_t to, bool reset)
{
    if (client->callbacks.on_gap != NULL) {
        client->in_callback = true;
        client->callbacks.on_gap(client->user, from, to, reset);
        client->in_callback = false;
    }
}

static bool
receiving(const struct anser_client *client)
{
    return !client->send_only && client->callbacks.on_message != NULL;
}

/* ------------------------------------------------------------------ messages */

static bool
copy_name(char out[AN_NAME_LEN_MAX + 1], ProtobufCBinaryData name, bool may_be_empty)
{
    if (name.len == 0 ? !may_be_empty : !an_name_valid(name.data, name.len)) {
        return false;
    }
    if (name.len > 0) {
        memcpy(out, name.data, name.len);
    }
    out[name.len] = '\0';
    return true;
}

enum an_err
ac_message_get(const struct anser_client *client, struct anser_message *out,
               struct ac_names *names, const Anser__Client__Message *in)
{
    if (!copy_name(names->from, in->from, false) ||
        !copy_name(names->to, in->to, false) ||
        !copy_name(names->device, in->from_device, true) || in->seq == 0 ||
        (in->client_msg_id.len != 0 && in->client_msg_id.len != ANSER_MSG_ID_LEN)) {
        return AN_ERR_BODY_MALFORMED;
    }
    *out = (struct anser_message){
        .message_id = in->message_id,
        .seq = in->seq,
        .time_ms = in->time_ms,
        .from = names->from,
        .to = names->to,
        .from_device = names->device,
        .type = in->type,
        .body = in->body.data,
        .body_len = in->body.len,
    };
    out->own = strcmp(names->from, client->name) == 0;
    out->own_device = out->own && strcmp(names->device, client->device) == 0;
    out->peer = out->own ? names->to : names->from;
    if (in->client_msg_id.len != 0) {
        memcpy(out->client_msg_id, in->client_msg_id.data, ANSER_MSG_ID_LEN);
    }
    return AN_OK;
}

bool
ac_to_self(const struct anser_client *client, const char *to)
{
    return strcmp(to, client->name) == 0;
}

/* The other side learns of what reached us; our own messages it needs not. A note to
 * oneself has been received when any device of ours has it. */
static void
note_received(struct anser_client *client, const struct anser_message *message)
{
    struct ac_conv *conv;

    if (message->own && !ac_to_self(client, message->to)) {
        return;
    }
    conv = ac_conv_get(client, (const uint8_t *)message->peer, strlen(message->peer));
    if (conv != NULL) {
        ac_confirm_received(client, conv, message->seq);
    }
}

/* Offers the entry that is next. On success it was taken, or the inbox is paused. */
static enum an_err
hand_over(struct anser_client *client, const Anser__Client__Event *event)
{
    struct ac_inbox *in = &client->inbox;
    struct anser_message message = {0};
    struct ac_names names;
    enum an_err err;
    bool taken;

    assert(event->inbox_seq == in->next);
    if (event->message == NULL) { /* a kind of entry this version does not know */
        in->next++;
        ac_confirm_moved(client, true);
        return AN_OK;
    }
    err = ac_message_get(client, &message, &names, event->message);
    if (err != AN_OK) {
        return err;
    }
    if (message.own_device && !ac_to_self(client, message.to) &&
        ac_outgoing_knows(client, &message)) {
        in->next++; /* on_send has told of it, or will */
        ac_confirm_moved(client, true);
        return AN_OK;
    }
    message.inbox_seq = event->inbox_seq;
    client->in_callback = true;
    taken = client->callbacks.on_message(client->user, &message);
    client->in_callback = false;
    if (!taken) {
        in->paused = true;
        return AN_OK;
    }
    in->next++;
    note_received(client, &message);
    ac_confirm_moved(client, message.own_device);
    return AN_OK;
}

/* ------------------------------------------------------------------ held entries */

static void
drop_held(struct ac_inbox *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        in->held_bytes -= in->held[i].len;
        free(in->held[i].event);
    }
    in->held_count -= count;
    if (in->held_count == 0) {
        free(in->held);
        in->held = NULL;
    } else if (count > 0) {
        memmove(in->held, in->held + count, in->held_count * sizeof(*in->held));
    }
}

/* event NULL: the entry is known already. What finds no room is asked for later. */
static void
hold(struct ac_inbox *in, uint64_t seq, const Anser__Client__Event *event)
{
    size_t len = event == NULL ? 0 : anser__client__event__get_packed_size(event);
    struct ac_held new = {.seq = seq, .len = len};
    size_t at = in->held_count;

    if (in->held == NULL) {
        in->held = calloc(ANSER_LIMIT_HELD_MAX, sizeof(*in->held));
    }
    if (in->held == NULL || in->held_count >= ANSER_LIMIT_HELD_MAX ||
        in->held_bytes + len > ANSER_LIMIT_HELD_BYTES_MAX) {
        return;
    }
    while (at > 0 && in->held[at - 1].seq > seq) {
        at--;
    }
    if (at > 0 && in->held[at - 1].seq == seq) {
        return;
    }
    if (event != NULL) {
        new.event = malloc(len);
        if (new.event == NULL) {
            return;
        }
        (void)anser__client__event__pack(event, new.event);
    }
    memmove(in->held + at + 1, in->held + at, (in->held_count - at) * sizeof(*in->held));
    in->held[at] = new;
    in->held_count++;
    in->held_bytes += len;
}

static enum an_err
hand_over_held(struct anser_client *client, const struct ac_held *held)
{
    Anser__Client__Event *event;
    enum an_err err;

    if (held->len == 0) {
        client->inbox.next++;
        ac_confirm_moved(client, true);
        return AN_OK;
    }
    event = anser__client__event__unpack(NULL, held->len, held->event);
    if (event == NULL) {
        return AN_ERR_NO_MEMORY; /* it was valid when it was packed */
    }
    err = hand_over(client, event);
    anser__client__event__free_unpacked(event, NULL);
    return err;
}

/* Hands over what is held and whose turn it is. */
static enum an_err
drain(struct anser_client *client)
{
    struct ac_inbox *in = &client->inbox;
    enum an_err err = AN_OK;
    size_t done = 0;

    while (done < in->held_count && !in->paused && in->held[done].seq <= in->next &&
           err == AN_OK) {
        if (in->held[done].seq == in->next) {
            err = hand_over_held(client, &in->held[done]);
        }
        done += in->held[done].seq < in->next ? 1 : 0;
    }
    drop_held(in, done);
    return err;
}

static enum an_err
offer(struct anser_client *client, const Anser__Client__Event *event)
{
    struct ac_inbox *in = &client->inbox;
    enum an_err err;

    if (event->inbox_seq < in->next) {
        return AN_OK;
    }
    if (event->inbox_seq > in->next || in->paused) {
        hold(in, event->inbox_seq, event);
        return AN_OK;
    }
    err = hand_over(client, event);
    if (err == AN_OK && in->paused) {
        hold(in, event->inbox_seq, event);
    }
    return err == AN_OK ? drain(client) : err;
}

/* ------------------------------------------------------------------ generations */

/* RESET: the server's inbox is another than the one our cursor belongs to. The next login
 * tells where the new one begins. */
static enum an_err
check_generation(struct ac_inbox *in, uint64_t generation)
{
    if (generation == 0 || generation == in->generation) {
        return AN_OK;
    }
    if (in->generation == 0) { /* it was empty at login: what we passed were own sends */
        in->generation = generation;
        return AN_OK;
    }
    in->must_reset = true;
    return AN_ERR_RESET;
}

static void
load_cursor(struct anser_client *client)
{
    struct ac_inbox *in = &client->inbox;
    uint64_t generation = 0, seq = 0;
    bool found = false;
    enum an_err err;

    if (client->cursor_path == NULL) {
        return;
    }
    err = ac_cursor_load(client, &generation, &seq, &found);
    if (err != AN_OK) {
        ac_warn(client, err,
                "the cursor file was ignored: damaged, or not this device's");
        return;
    }
    if (found) {
        in->known = true;
        in->generation = generation;
        in->next = seq + 1;
    }
}

static bool
reset_needed(const struct ac_inbox *in, const Anser__Client__LoginOk *ok)
{
    if (!in->known) {
        return false;
    }
    return in->must_reset ||
           (in->next > 1 && in->generation != 0 &&
            in->generation != ok->inbox_generation) ||
           in->next - 1 > ok->inbox_head;
}

static void
forget(struct anser_client *client)
{
    struct ac_inbox *in = &client->inbox;

    drop_held(in, in->held_count);
    in->paused = false;
    in->must_reset = false;
    in->known = false;
    ac_confirm_forget(client);
}

enum an_err
ac_inbox_login(struct anser_client *client, const Anser__Client__LoginOk *ok)
{
    struct ac_inbox *in = &client->inbox;
    uint64_t start = ok->cursor < ok->inbox_head ? ok->cursor : ok->inbox_head;
    bool reset;

    if (!receiving(client)) {
        return AN_OK;
    }
    if (!in->known) {
        load_cursor(client);
    }
    reset = reset_needed(in, ok);
    if (reset) {
        forget(client);
    } else if (in->known && in->next - 1 > start) {
        start = in->next - 1;
    }
    in->known = true;
    in->next = start + 1;
    in->generation = ok->inbox_generation;
    in->head = ok->inbox_head;
    client->confirm.confirmed = ok->cursor;
    if (reset) {
        tell_gap(client, 1, 0, true);
    }
    if (ok->inbox_first > in->next) {
        tell_gap(client, in->next, ok->inbox_first - 1, false);
        in->next = ok->inbox_first;
    }
    if (in->next - 1 > ok->cursor || client->confirm.positions > 0) {
        ac_confirm_moved(client, false);
    }
    return drain(client);
}

/* ------------------------------------------------------------------ arrivals */

static void
saw(struct ac_inbox *in, uint64_t seq)
{
    in->head = seq > in->head ? seq : in->head;
}

enum an_err
ac_inbox_event(struct anser_client *client, const Anser__Client__Event *event)
{
    struct ac_inbox *in = &client->inbox;
    enum an_err err;

    if (!receiving(client)) {
        return AN_OK;
    }
    if (event->inbox_seq == 0) {
        return AN_ERR_BODY_MALFORMED;
    }
    err = check_generation(in, event->inbox_generation);
    if (err != AN_OK) {
        return err;
    }
    saw(in, event->inbox_seq);
    return offer(client, event);
}

void
ac_inbox_own(struct anser_client *client, uint64_t seq)
{
    struct ac_inbox *in = &client->inbox;

    if (seq == 0 || !receiving(client) || seq < in->next) {
        return;
    }
    saw(in, seq);
    hold(in, seq, NULL); /* handed over by the step, with whatever waits behind it */
}

enum an_err
ac_inbox_heartbeat(struct anser_client *client, const Anser__Client__HeartbeatOk *ok)
{
    struct ac_inbox *in = &client->inbox;
    Anser__Client__Event *event = NULL;
    enum an_err err;

    if (!receiving(client)) {
        return AN_OK;
    }
    err = check_generation(in, ok->inbox_generation);
    if (err != AN_OK) {
        return err;
    }
    if (ok->head_event.len > 0) {
        event = ac_unpack(client, &anser__client__event__descriptor, ok->head_event.data,
                          ok->head_event.len);
        if (event == NULL) {
            return AN_ERR_BODY_MALFORMED;
        }
    }
    saw(in, ok->inbox_head);
    return event == NULL ? AN_OK : ac_inbox_event(client, event);
}

/* ------------------------------------------------------------------ Sync */

static enum an_err
ask_sync(struct anser_client *client)
{
    struct ac_inbox *in = &client->inbox;
    Anser__Client__Sync body = ANSER__CLIENT__SYNC__INIT;

    body.after = in->next - 1;
    body.inbox_generation = in->generation;
    in->sync_after = body.after;
    in->sync_sent_at = client->now;
    return ac_session_ask(client, AN_COMMAND_SYNC, &body.base, &in->sync_request);
}

static enum an_err
take_page(struct anser_client *client, const Anser__Client__SyncOk *ok)
{
    struct ac_inbox *in = &client->inbox;
    enum an_err err = check_generation(in, ok->inbox_generation);

    if (err == AN_OK && ok->first > in->next) {
        tell_gap(client, in->next, ok->first - 1, false);
        in->next = ok->first;
        ac_confirm_moved(client, false);
    }
    for (size_t i = 0; i < ok->n_events && err == AN_OK; i++) {
        err = ac_inbox_event(client, ok->events[i]);
    }
    if (err == AN_OK) {
        err = drain(client);
    }
    saw(in, ok->head);
    return err;
}

enum an_err
ac_inbox_answer(struct anser_client *client, const struct an_frame *frame,
                const uint8_t *body)
{
    struct ac_inbox *in = &client->inbox;
    Anser__Client__SyncOk *ok;
    uint64_t before = in->next;
    enum an_err err;

    if (frame->request != in->sync_request) {
        return AN_OK;
    }
    in->sync_request = 0;
    if ((frame->flags & AN_FRAME_ERROR) != 0) {
        struct anser_error error = ac_error_frame(client, body, frame->body_len);
        uint32_t pause = ANSER_LIMIT_SYNC_RETRY_MS;
        if (!error.retry) {
            in->must_reset = error.code == AN_ERR_RESET;
            return an_err_known(error.code) ? (enum an_err)error.code : AN_ERR_INTERNAL;
        }
        pause = pause > error.retry_after_ms ? pause : error.retry_after_ms;
        in->sync_not_before = client->now + pause;
        return AN_OK;
    }
    ok = ac_unpack(client, &anser__client__sync_ok__descriptor, body, frame->body_len);
    if (ok == NULL) {
        return AN_ERR_BODY_MALFORMED;
    }
    err = take_page(client, ok);
    if (in->next == before) { /* no use in asking the same at once */
        in->sync_not_before = client->now + ANSER_LIMIT_SYNC_RETRY_MS;
    } else if (!ok->completed) {
        in->hole_at = in->next; /* the rest is known to be missing: no need to wait */
        in->hole_since = 0;
    }
    return err;
}

/* When the hole at next is to be asked for; AC_NEVER: there is none, or it waits. An
 * answer still due may fill it (our own messages are inbox entries too). */
static uint64_t
sync_due(const struct anser_client *client)
{
    const struct ac_inbox *in = &client->inbox;
    uint64_t due = in->sync_not_before;

    if (!receiving(client) || in->paused || in->next > in->head) {
        return AC_NEVER;
    }
    if (in->sync_request != 0) {
        return in->sync_sent_at + client->answer_timeout_ms;
    }
    if (client->sending.in_flight > 0 && in->hole_since != 0) {
        uint64_t since = in->hole_at == in->next ? in->hole_since : client->now;
        uint64_t waited = since + ANSER_LIMIT_HOLE_WAIT_MS;
        due = waited > due ? waited : due;
    }
    return due;
}

enum an_err
ac_inbox_step(struct anser_client *client)
{
    struct ac_inbox *in = &client->inbox;
    enum an_err err;

    if (!receiving(client)) {
        return AN_OK;
    }
    err = drain(client);
    if (err != AN_OK || sync_due(client) > client->now) {
        if (in->hole_at != in->next) {
            in->hole_at = in->next;
            in->hole_since = client->now;
        }
        return err;
    }
    return in->sync_request != 0 ? AN_ERR_TIMEOUT : ask_sync(client);
}

uint64_t
ac_inbox_due(const struct anser_client *client)
{
    const struct ac_inbox *in = &client->inbox;

    if (receiving(client) && !in->paused && in->held_count > 0 &&
        in->held[0].seq <= in->next) {
        return 0;
    }
    return sync_due(client);
}

void
ac_inbox_link_lost(struct anser_client *client)
{
    client->inbox.sync_request = 0;
    client->inbox.sync_not_before = 0;
}

void
ac_inbox_free(struct anser_client *client)
{
    drop_held(&client->inbox, client->inbox.held_count);
}

void
anser_client_resume(struct anser_client *client)
{
    client->inbox.paused = false;
}

uint64_t
anser_client_cursor(const struct anser_client *client)
{
    return client->inbox.next == 0 ? 0 : client->inbox.next - 1;
}
