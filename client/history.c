/* Pages of history: asked when online, again after a reconnect or a refusal that invites
 * it, each answered to the program exactly once. */
#include "client/client_priv.h"
#include "proto/names.h"
#include <stdlib.h>
#include <string.h>

static struct ac_history *
append(struct anser_client *client, const char *peer)
{
    struct ac_history *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    memcpy(h->peer, peer, strlen(peer) + 1);
    *(client->history_last == NULL ? &client->history : &client->history_last->next) = h;
    client->history_last = h;
    return h;
}

static void
take_out(struct anser_client *client, struct ac_history *h)
{
    struct ac_history **at = &client->history;
    struct ac_history *before = NULL;

    while (*at != h) {
        before = *at;
        at = &(*at)->next;
    }
    *at = h->next;
    if (client->history_last == h) {
        client->history_last = before;
    }
    if (h->page != NULL) {
        client->history_count--;
    }
}

/* Ends h: tells its page and frees it. */
static void
finish(struct anser_client *client, struct ac_history *h, struct anser_page *page)
{
    take_out(client, h);
    page->peer = h->peer;
    if (h->page != NULL) {
        bool before = client->in_callback;
        client->in_callback = true;
        h->page(h->arg, page);
        client->in_callback = before;
    }
    free(h);
}

static void
fail(struct anser_client *client, struct ac_history *h, const struct anser_error *error)
{
    struct anser_page page = {.error = *error};

    finish(client, h, &page);
}

enum anser_err
anser_client_history(struct anser_client *client, const struct anser_query *query,
                     anser_page_f *page, void *arg)
{
    struct ac_history *h;

    if (client->session.phase == AC_CLOSED) {
        return client->error.code == 0 ? ANSER_ERR_CONNECTION
                                       : (enum anser_err)client->error.code;
    }
    if (page == NULL) {
        return ANSER_ERR_ARGUMENT;
    }
    if (query->peer == NULL ||
        !an_name_valid((const uint8_t *)query->peer, strlen(query->peer))) {
        return ANSER_ERR_USER_NAME;
    }
    if (client->history_count >= ANSER_LIMIT_HISTORY_MAX) {
        return ANSER_ERR_FULL;
    }
    h = append(client, query->peer);
    if (h == NULL) {
        return ANSER_ERR_NO_MEMORY;
    }
    client->history_count++;
    h->before = query->before;
    h->after = query->after;
    h->oldest_first = query->oldest_first;
    h->limit = query->limit;
    h->page = page;
    h->arg = arg;
    return ANSER_OK;
}

void
ac_history_ask_own(struct anser_client *client, const char *peer)
{
    struct ac_history *h;

    for (h = client->history; h != NULL; h = h->next) {
        if (h->page == NULL && strcmp(h->peer, peer) == 0) {
            return; /* asked already */
        }
    }
    h = append(client, peer);
    if (h != NULL) {
        h->limit = 1;
    }
}

static enum an_err
ask(struct anser_client *client, struct ac_history *h)
{
    Anser__Client__History body = ANSER__CLIENT__HISTORY__INIT;

    body.peer = (ProtobufCBinaryData){strlen(h->peer), (uint8_t *)h->peer};
    body.before = h->before;
    body.after = h->after;
    body.oldest_first = h->oldest_first;
    body.limit = h->limit;
    h->attempts++;
    h->sent_at = client->now;
    return ac_session_ask(client, AN_COMMAND_HISTORY, &body.base, &h->request);
}

enum an_err
ac_history_step(struct anser_client *client)
{
    struct ac_history *h = client->history;
    enum an_err err = ac_follow_step(client);

    while (h != NULL && err == AN_OK) {
        if (h->request == 0 && h->not_before <= client->now) {
            err = ask(client, h);
        } else if (h->request != 0 &&
                   client->now - h->sent_at >= client->answer_timeout_ms) {
            err = AN_ERR_TIMEOUT;
        }
        h = h->next;
    }
    return err;
}

/* ------------------------------------------------------------------ answers */

static void
refused(struct anser_client *client, struct ac_history *h,
        const struct anser_error *error)
{
    uint32_t pause;

    if (!error->retry || h->attempts >= ANSER_LIMIT_HISTORY_ATTEMPTS_MAX) {
        fail(client, h, error);
        return;
    }
    pause = ac_session_backoff(client, h->attempts - 1);
    h->request = 0;
    h->not_before =
        client->now + (pause > error->retry_after_ms ? pause : error->retry_after_ms);
}

static enum an_err
fill(struct anser_client *client, struct anser_page *page,
     const Anser__Client__HistoryOk *ok)
{
    struct anser_message *messages =
        an_arena_calloc(&client->arena, ok->n_messages, sizeof(*messages));
    struct ac_names *names =
        an_arena_calloc(&client->arena, ok->n_messages, sizeof(*names));

    if (messages == NULL || names == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < ok->n_messages; i++) {
        enum an_err err =
            ac_message_get(client, &messages[i], &names[i], ok->messages[i]);
        if (err != AN_OK) {
            return err;
        }
    }
    page->messages = messages;
    page->count = ok->n_messages;
    page->head = ok->head;
    page->completed = ok->completed;
    page->peer_delivered = ok->peer_delivered;
    page->own_delivered = ok->own_delivered;
    return AN_OK;
}

enum an_err
ac_history_answer(struct anser_client *client, const struct an_frame *frame,
                  const uint8_t *body)
{
    struct anser_page page = {.error = ac_error(AN_OK)};
    struct ac_history *h = client->history;
    Anser__Client__HistoryOk *ok;
    enum an_err err;

    while (h != NULL && h->request != frame->request) {
        h = h->next;
    }
    if (h == NULL) {
        return AN_OK;
    }
    if ((frame->flags & AN_FRAME_ERROR) != 0) {
        struct anser_error error = ac_error_frame(client, body, frame->body_len);
        refused(client, h, &error);
        return AN_OK;
    }
    ok = ac_unpack(client, &anser__client__history_ok__descriptor, body, frame->body_len);
    if (ok == NULL) {
        return AN_ERR_BODY_MALFORMED;
    }
    err = fill(client, &page, ok);
    if (err != AN_OK) {
        return err;
    }
    ac_follow_delivered(client, h->peer, ok->peer_delivered);
    finish(client, h, &page);
    return AN_OK;
}

void
ac_history_link_lost(struct anser_client *client)
{
    struct anser_error lost = ac_error(AN_ERR_CONNECTION);
    struct ac_history *h = client->history;

    while (h != NULL) {
        struct ac_history *next = h->next;
        h->request = 0;
        h->not_before = 0;
        if (h->attempts >= ANSER_LIMIT_HISTORY_ATTEMPTS_MAX) {
            fail(client, h, &lost);
        }
        h = next;
    }
}

void
ac_history_fail_all(struct anser_client *client)
{
    while (client->history != NULL) {
        struct anser_error error = client->error;
        if (error.code == 0) {
            error = ac_error(AN_ERR_CONNECTION);
        }
        fail(client, client->history, &error);
    }
}

void
ac_history_free(struct anser_client *client)
{
    while (client->history != NULL) {
        struct ac_history *h = client->history;
        client->history = h->next;
        free(h);
    }
    client->history_last = NULL;
    client->history_count = 0;
}

uint64_t
ac_history_due(const struct anser_client *client)
{
    uint64_t due = client->following.check_at;

    for (const struct ac_history *h = client->history; h != NULL; h = h->next) {
        uint64_t at =
            h->request == 0 ? h->not_before : h->sent_at + client->answer_timeout_ms;
        due = at < due ? at : due;
    }
    return due;
}
