/* A Sync whose page names messages on other stores: they are read there, one by one, and
 * put in their place. The page ends where its bytes do, or before the first message that
 * cannot be had now; the client asks again from there. */
#include "actors/gate/gate_priv.h"
#include <stdlib.h>
#include <string.h>

struct gate_hollow {
    uint32_t event;
    uint64_t seq;
    struct an_conv conv;
};

static size_t
event_size(const Anser__Client__Event *event)
{
    return anser__client__event__get_packed_size(event) + 4; /* its tag and length */
}

/* ------------------------------------------------------------------ life */

void
gate_fetch_free(struct gate_fetch *fetch)
{
    if (fetch == NULL) {
        return;
    }
    if (fetch->link != NULL) {
        *fetch->link = fetch->next;
        if (fetch->next != NULL) {
            fetch->next->link = fetch->link;
        }
    }
    if (fetch->page != NULL) {
        anser__client__sync_ok__free_unpacked(fetch->page, NULL);
    }
    free(fetch->hollows);
    free(fetch);
}

/* Which events are hollow. false: the store did not keep to the contract. */
static bool
hollows_get(struct gate_fetch *fetch, const Anser__Bus__Answer *answer)
{
    for (size_t i = 0; i < answer->n_elsewhere; i++) {
        const Anser__Bus__Elsewhere *from = answer->elsewhere[i];
        struct gate_hollow *hollow = &fetch->hollows[i];

        if (from->event >= fetch->page->n_events ||
            (i > 0 && from->event <= fetch->hollows[i - 1].event) ||
            fetch->page->events[from->event]->message != NULL ||
            !an_conv_get(&hollow->conv, from->conversation.data,
                         from->conversation.len)) {
            return false;
        }
        hollow->event = from->event;
        hollow->seq = from->seq;
    }
    fetch->count = answer->n_elsewhere;
    fetch->failed = fetch->count;
    return true;
}

/* ------------------------------------------------------------------ the end */

/* How many events from the first are complete, when nothing is under way. */
static size_t
complete(const struct gate_fetch *fetch)
{
    size_t hollow = fetch->failed < fetch->asked ? fetch->failed : fetch->asked;

    return hollow < fetch->count ? fetch->hollows[hollow].event : fetch->page->n_events;
}

/* How many events the answer has: all that are complete and fit. */
static size_t
page_end(const struct gate_fetch *fetch)
{
    size_t end = complete(fetch), size = 0;

    for (size_t i = 0; i < end; i++) {
        size += event_size(fetch->page->events[i]);
        if (i > 0 && size > AN_PAGE_BYTES_MAX) {
            return i;
        }
    }
    return end;
}

static void
finish(struct gate *g, struct gate_op *op)
{
    struct gate_fetch *fetch = op->u.page.fetch;
    Anser__Client__SyncOk *page = fetch->page;
    size_t all = page->n_events, len;
    uint8_t *body;

    page->n_events = page_end(fetch);
    page->completed = page->completed && page->n_events == all;
    len = anser__client__sync_ok__get_packed_size(page);
    body = malloc(len);
    if (body != NULL) {
        (void)anser__client__sync_ok__pack(page, body);
    }
    page->n_events = all; /* to be freed */
    if (body == NULL) {
        gate_op_fail(g, op, AN_ERR_BUSY, 0);
        return;
    }
    gate_page_done(g, op, body, len);
    free(body);
}

/* ------------------------------------------------------------------ asking */

static bool
ask_one(struct gate *g, struct gate_fetch *fetch)
{
    struct gate_op *one = gate_op_create(g, NULL, OP_FETCH, 0, NULL, 0, NULL, 0);

    if (one == NULL) {
        return false;
    }
    one->u.fetch.all = fetch;
    one->u.fetch.hollow = fetch->asked;
    one->trace = fetch->op->trace;
    one->slot = an_slot_conv(&fetch->hollows[fetch->asked].conv);
    fetch->asked++;
    fetch->left++;
    g->counted.fetches++;
    gate_read(g, one);
    return true;
}

/* What was asked for is there: the next ones, or the end. */
static void
advance(struct gate *g, struct gate_op *op)
{
    struct gate_fetch *fetch = op->u.page.fetch;
    bool failed = fetch->failed < fetch->count;
    size_t size = 0, end = complete(fetch);

    if ((failed && end == 0) || op->conn->state != CONN_READY) {
        gate_op_fail(g, op, AN_ERR_UNAVAILABLE, 0);
        return;
    }
    for (size_t i = 0; i < end; i++) {
        size += event_size(fetch->page->events[i]);
    }
    if (failed || fetch->asked == fetch->count || size >= AN_PAGE_BYTES_MAX) {
        finish(g, op);
        return;
    }
    while (fetch->left < GATE_FETCHES_MAX && fetch->asked < fetch->count &&
           ask_one(g, fetch)) {
    }
    if (fetch->left == 0) {
        gate_op_fail(g, op, AN_ERR_BUSY, 0);
    }
}

void
gate_fetch(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *answer)
{
    struct gate_fetch *fetch = NULL;
    enum an_err err = AN_ERR_INTERNAL;

    if (op->what == OP_SYNC) { /* History is where its messages are */
        fetch = calloc(1, sizeof(*fetch));
        err = AN_ERR_BUSY;
    }
    if (fetch != NULL) {
        op->u.page.fetch = fetch;
        fetch->op = op;
        fetch->hollows = calloc(answer->n_elsewhere, sizeof(*fetch->hollows));
        fetch->page = anser__client__sync_ok__unpack(NULL, answer->client_body.len,
                                                     answer->client_body.data);
        fetch->next = g->fetches;
        fetch->link = &g->fetches;
        if (g->fetches != NULL) {
            g->fetches->link = &fetch->next;
        }
        g->fetches = fetch;
    }
    if (fetch == NULL || fetch->hollows == NULL || fetch->page == NULL ||
        !gate_op_grow(g, op, answer->client_body.len)) {
        gate_op_fail(g, op, err, 0);
    } else if (!hollows_get(fetch, answer)) {
        gate_op_fail(g, op, AN_ERR_INTERNAL, 0);
    } else {
        advance(g, op);
    }
}

void
gate_fetch_query(const struct gate_op *op, Anser__Bus__MessageQuery *query)
{
    const struct gate_fetch *fetch = op->u.fetch.all;
    const struct gate_hollow *hollow = &fetch->hollows[op->u.fetch.hollow];

    query->conversation.data = (uint8_t *)(uintptr_t)hollow->conv.bytes;
    query->conversation.len = AN_CONV_LEN;
    query->seq = hollow->seq;
    query->viewer = fetch->op->conn->user;
}

/* ------------------------------------------------------------------ answers */

static enum an_err
message_take(struct gate *g, struct gate_fetch *fetch, const struct gate_hollow *hollow,
             const Anser__Bus__Answer *answer)
{
    Anser__Client__Message *message = anser__client__message__unpack(
        NULL, answer->client_body.len, answer->client_body.data);

    if (message == NULL || message->seq != hollow->seq ||
        !gate_op_grow(g, fetch->op, answer->client_body.len)) {
        anser__client__message__free_unpacked(message, NULL);
        return AN_ERR_UNAVAILABLE;
    }
    fetch->page->events[hollow->event]->message = message;
    return AN_OK;
}

void
gate_fetch_read(struct gate *g, struct gate_op *op, enum an_err err,
                const Anser__Bus__Answer *answer)
{
    struct gate_fetch *fetch = op->u.fetch.all;
    const struct gate_hollow *hollow = &fetch->hollows[op->u.fetch.hollow];

    if (err == AN_OK) {
        err = message_take(g, fetch, hollow, answer);
    }
    if (err == AN_ERR_NOT_FOUND) {
        /* A store that was put back in time has lost it. The event goes out without: the
         * inbox must not end here for ever. */
        g->counted.fetches_missing++;
        an_out_log(g->out, AN_LOG_ERROR, op->trace,
                   "message of an inbox entry is gone slot=%u seq=%llu", op->slot,
                   (unsigned long long)hollow->seq);
        err = AN_OK;
    }
    if (err != AN_OK && op->u.fetch.hollow < fetch->failed) {
        fetch->failed = op->u.fetch.hollow;
    }
    gate_op_free(g, op);
    if (--fetch->left == 0) {
        advance(g, fetch->op);
    }
}
