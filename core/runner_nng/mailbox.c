/* Requests in, answers out: one REP socket for each actor.
 *
 * NNG's contexts deliver out of order when several receive at once, and a raw REP socket
 * drops replies past a queue of 64 for each peer. So: many contexts, of which exactly one
 * receives at any time, and it hands over before the next one receives. That keeps each
 * peer's order, holds as many requests as an actor likes, and loses no answer. */
#include "core/runner_nng/priv.h"
#include <assert.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MAX = AN_MAILBOX_MSGS_MAX * 2 }; /* queued, and held by the actor */

static void mailbox_receive(struct mailbox *mailbox);

static void
held_free(struct held *held)
{
    struct mailbox *mailbox = held->mailbox;

    pthread_mutex_lock(&mailbox->lock);
    held->phase = HELD_FREE;
    held->next_free = mailbox->free;
    mailbox->free = held;
    pthread_mutex_unlock(&mailbox->lock);
    mailbox_receive(mailbox); /* it may have stopped for want of a context */
}

static void
refuse_busy(struct held *held)
{
    struct an_envelope ask, env = {.answer = true, .err = AN_ERR_BUSY};
    const struct an_kind_row *row;
    const char *why;
    nng_msg *msg;

    env.from = held->mailbox->inst->addr;
    if (an_envelope_get(&ask, nng_msg_body(held->msg), nng_msg_len(held->msg), &why)) {
        row = an_kind_row(ask.kind);
        env.kind = row != NULL ? row->answer : 0;
        env.trace = ask.trace;
    }
    nng_msg_free(held->msg);
    held->msg = NULL;
    msg = bus_msg(held->mailbox->inst->runner, &env, NULL);
    if (msg == NULL) {
        held_free(held); /* the asker's timeout tells it */
        return;
    }
    mailbox_answer(held, msg);
}

static void
received(struct held *held)
{
    struct mailbox *mailbox = held->mailbox;
    struct instance *inst = mailbox->inst;

    held->msg = nng_aio_get_msg(held->aio);
    nng_aio_set_msg(held->aio, NULL);
    held->received_ms = clock_mono_ms();
    held->phase = HELD_QUEUED;
    if (!inbox_put_request(inst, &held->parcel)) {
        atomic_fetch_add(&inst->counters.refused_busy, 1);
        refuse_busy(held);
    }
    /* Only now may the next one be received: it must queue behind this one. */
    pthread_mutex_lock(&mailbox->lock);
    mailbox->receiving = false;
    pthread_mutex_unlock(&mailbox->lock);
    mailbox_receive(mailbox);
}

static void
held_callback(void *arg)
{
    struct held *held = arg;
    struct mailbox *mailbox = held->mailbox;
    bool receiving = held->phase == HELD_RECEIVING;
    int rv = nng_aio_result(held->aio);

    if (receiving && rv == 0) {
        received(held);
        return;
    }
    if (!receiving && rv != 0) {
        nng_msg_free(nng_aio_get_msg(held->aio));
        nng_aio_set_msg(held->aio, NULL);
    }
    if (receiving) {
        pthread_mutex_lock(&mailbox->lock);
        mailbox->receiving = false;
        mailbox->closing |= rv == NNG_ECLOSED;
        pthread_mutex_unlock(&mailbox->lock);
    }
    held_free(held);
}

static struct held *
held_create(struct mailbox *mailbox)
{
    struct held *held = calloc(1, sizeof(*held));

    if (held == NULL) {
        return NULL;
    }
    held->mailbox = mailbox;
    held->parcel.type = PARCEL_REQUEST;
    if (nng_aio_alloc(&held->aio, held_callback, held) != 0) {
        free(held);
        return NULL;
    }
    if (nng_ctx_open(&held->ctx, mailbox->socket) != 0) {
        nng_aio_free(held->aio);
        free(held);
        return NULL;
    }
    return held;
}

/* With the lock held: a context to receive on, perhaps a new one. */
static struct held *
held_take(struct mailbox *mailbox)
{
    struct held *held = mailbox->free;

    if (held != NULL) {
        mailbox->free = held->next_free;
        return held;
    }
    if (mailbox->count == mailbox->cap) {
        size_t cap = mailbox->cap == 0 ? 64 : mailbox->cap * 2;
        struct held **all =
            cap <= HELD_MAX ? realloc(mailbox->all, cap * sizeof(struct held *)) : NULL;
        if (all == NULL) {
            return NULL;
        }
        mailbox->all = all;
        mailbox->cap = cap;
    }
    held = held_create(mailbox);
    if (held != NULL) {
        mailbox->all[mailbox->count++] = held;
    }
    return held;
}

/* Lets one context receive, unless one does, all are in use or the socket closes. */
static void
mailbox_receive(struct mailbox *mailbox)
{
    struct held *held = NULL;

    pthread_mutex_lock(&mailbox->lock);
    if (!mailbox->receiving && !mailbox->closing) {
        held = held_take(mailbox);
        mailbox->receiving = held != NULL;
    }
    if (held != NULL) {
        held->phase = HELD_RECEIVING;
    }
    pthread_mutex_unlock(&mailbox->lock);
    if (held != NULL) {
        nng_ctx_recv(held->ctx, held->aio);
    }
}

void
mailbox_answer(struct held *held, nng_msg *msg)
{
    assert(held->phase == HELD_QUEUED);
    held->phase = HELD_SENDING;
    nng_aio_set_msg(held->aio, msg);
    nng_ctx_send(held->ctx, held->aio);
}

enum an_err
mailbox_open(struct mailbox *mailbox, struct instance *inst, char *why, size_t why_len)
{
    int rv;

    mailbox->inst = inst;
    pthread_mutex_init(&mailbox->lock, NULL);
    rv = nng_rep0_open(&mailbox->socket);
    if (rv != 0) {
        return nng_to_err(rv);
    }
    mailbox->open = true;
    rv = nng_socket_set_size(mailbox->socket, NNG_OPT_RECVMAXSZ, AN_BUS_MSG_LEN_MAX);
    if (rv == 0) {
        rv = links_listen(inst, mailbox->socket, NULL, mailbox->ears, why, why_len);
    }
    if (rv != 0) {
        return nng_to_err(rv);
    }
    mailbox_receive(mailbox);
    return AN_OK;
}

void
mailbox_close(struct mailbox *mailbox)
{
    if (!mailbox->open) {
        return;
    }
    pthread_mutex_lock(&mailbox->lock);
    mailbox->closing = true;
    pthread_mutex_unlock(&mailbox->lock);
    nng_close(mailbox->socket);
    for (size_t i = 0; i < mailbox->count; i++) {
        nng_aio_stop(mailbox->all[i]->aio); /* its callback has run */
    }
    for (size_t i = 0; i < mailbox->count; i++) {
        struct held *held = mailbox->all[i];
        nng_msg_free(held->msg);
        nng_aio_free(held->aio);
    }
    pthread_mutex_destroy(&mailbox->lock);
    mailbox->open = false;
}

void
mailbox_free(struct mailbox *mailbox)
{
    for (size_t i = 0; i < mailbox->count; i++) {
        free(mailbox->all[i]);
    }
    free(mailbox->all);
    mailbox->all = NULL;
    mailbox->count = 0;
}
