/* Telling the server what was taken. One Confirm is under way at a time and covers all
 * that was taken before it, with the positions of the conversations that moved; what is
 * taken meanwhile goes into the next. The cursor file is written first. */
#include "client/client_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
taken(const struct anser_client *client)
{
    return anser_client_cursor(client);
}

void
ac_confirm_moved(struct anser_client *client, bool own)
{
    struct ac_confirm *c = &client->confirm;
    uint64_t due =
        client->now + (own ? ANSER_LIMIT_CONFIRM_OWN_DELAY_MS : client->confirm_delay_ms);

    c->due = due < c->due ? due : c->due;
}

void
ac_confirm_received(struct anser_client *client, struct ac_conv *conv, uint64_t seq)
{
    if (seq <= conv->received) {
        return;
    }
    if (conv->received <= conv->told) {
        client->confirm.positions++;
    }
    conv->received = seq;
}

static bool
nothing_left(const struct anser_client *client)
{
    return taken(client) <= client->confirm.confirmed && client->confirm.positions == 0;
}

bool
ac_confirm_done(const struct anser_client *client)
{
    return !client->inbox.known || (nothing_left(client) && client->confirm.request == 0);
}

void
ac_confirm_hurry(struct anser_client *client)
{
    if (client->inbox.known && !nothing_left(client) &&
        client->confirm.due > client->now && !client->confirm.refused) {
        client->confirm.due = client->now;
    }
}

/* For each conversation with something to tell, up to a Confirm's fill. */
static size_t
gather(struct anser_client *client, Anser__Client__Position *positions,
       Anser__Client__Position **list)
{
    size_t count = 0;

    for (size_t i = 0; i < AC_CONV_BUCKETS; i++) {
        struct ac_conv *conv = client->convs[i];
        for (; conv != NULL && count < ANSER_LIMIT_POSITIONS_MAX;
             conv = conv->hash_next) {
            if (conv->received <= conv->told) {
                continue;
            }
            conv->telling = conv->received;
            anser__client__position__init(&positions[count]);
            positions[count].peer =
                (ProtobufCBinaryData){conv->peer_len, (uint8_t *)conv->peer};
            positions[count].seq = conv->received;
            list[count] = &positions[count];
            count++;
        }
    }
    return count;
}

static enum an_err
ask(struct anser_client *client)
{
    struct ac_confirm *c = &client->confirm;
    Anser__Client__Confirm body = ANSER__CLIENT__CONFIRM__INIT;
    size_t room = c->positions < ANSER_LIMIT_POSITIONS_MAX ? c->positions
                                                           : ANSER_LIMIT_POSITIONS_MAX;
    Anser__Client__Position *positions = calloc(room + 1, sizeof(*positions));
    Anser__Client__Position **list = calloc(room + 1, sizeof(*list));
    enum an_err err = AN_ERR_NO_MEMORY;

    if (positions != NULL && list != NULL) {
        body.inbox_seq = taken(client);
        body.inbox_generation = client->inbox.generation;
        body.n_delivered = gather(client, positions, list);
        assert(body.n_delivered <= room);
        body.delivered = list;
        c->telling = body.inbox_seq;
        c->sent_at = client->now;
        c->due = AC_NEVER;
        c->refused = false;
        err = ac_session_ask(client, AN_COMMAND_CONFIRM, &body.base, &c->request);
    }
    free(list);
    free(positions);
    return err;
}

enum an_err
ac_confirm_step(struct anser_client *client)
{
    struct ac_confirm *c = &client->confirm;

    if (c->request != 0) {
        return client->now - c->sent_at >= client->answer_timeout_ms ? AN_ERR_TIMEOUT
                                                                     : AN_OK;
    }
    if (c->due > client->now || client->send_only || !client->inbox.known) {
        return AN_OK;
    }
    if (nothing_left(client)) {
        c->due = AC_NEVER;
        return AN_OK;
    }
    if (client->cursor_path != NULL) {
        enum an_err err = ac_cursor_save(client, taken(client));
        if (err != AN_OK) { /* the server's cursor still moves, and is enough to go on */
            ac_warn(client, err, "the cursor file could not be written");
        }
    }
    return ask(client);
}

/* What the answered Confirm said is done with, or (all) everything is. */
static void
settle(struct anser_client *client, bool all)
{
    struct ac_confirm *c = &client->confirm;

    for (size_t i = 0; i < AC_CONV_BUCKETS && c->positions > 0; i++) {
        for (struct ac_conv *conv = client->convs[i]; conv; conv = conv->hash_next) {
            bool open = conv->received > conv->told;
            if (all) {
                conv->told = conv->received;
            } else if (conv->telling > conv->told) {
                conv->told = conv->telling;
            }
            conv->telling = 0;
            if (open && conv->received <= conv->told) {
                c->positions--;
            }
        }
    }
}

enum an_err
ac_confirm_answer(struct anser_client *client, const struct an_frame *frame,
                  const uint8_t *body)
{
    struct ac_confirm *c = &client->confirm;
    uint64_t again = client->now + client->confirm_delay_ms;

    if (frame->request != c->request) {
        return AN_OK;
    }
    c->request = 0;
    if ((frame->flags & AN_FRAME_ERROR) == 0) {
        c->confirmed = c->telling;
        settle(client, false);
    } else {
        struct anser_error error = ac_error_frame(client, body, frame->body_len);
        if (error.retry) {
            uint32_t pause = ANSER_LIMIT_CONFIRM_RETRY_MS;
            pause = pause > error.retry_after_ms ? pause : error.retry_after_ms;
            again = client->now + pause;
            c->refused = true;
        } else if (error.code == AN_ERR_RESET) {
            client->inbox.must_reset = true;
            return AN_ERR_RESET;
        } else { /* never the same again: the entries stay taken here */
            c->confirmed = c->telling;
            settle(client, true);
            ac_warn(client, error.code, error.text);
        }
    }
    if (!nothing_left(client)) {
        c->due = again < c->due ? again : c->due;
    }
    return AN_OK;
}

void
ac_confirm_link_lost(struct anser_client *client)
{
    client->confirm.request = 0;
    client->confirm.refused = false;
    if (client->inbox.known && !nothing_left(client)) {
        client->confirm.due = client->now;
    }
}

void
ac_confirm_forget(struct anser_client *client)
{
    settle(client, true);
    client->confirm.confirmed = 0;
    client->confirm.due = AC_NEVER;
}

uint64_t
ac_confirm_due(const struct anser_client *client)
{
    const struct ac_confirm *c = &client->confirm;

    return c->request != 0 ? c->sent_at + client->answer_timeout_ms : c->due;
}
