/* Asks out, answers in: one REQ socket for each instance that an actor may ask.
 *
 * At most AN_BUS_OUTSTANDING_MAX asks are out to one instance; one more is refused at
 * once (AN_ERR_BUSY). There is no queue here: an actor that wants one keeps it itself,
 * where its bound and its order are decided. NNG sends contexts' requests in the order
 * they were given and never again (no resend), so a request is handled at most once. */
#include "core/runner_nng/priv.h"
#include <assert.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

void
call_free(struct call *call)
{
    struct peer *peer = call->peer;

    nng_msg_free(call->msg);
    call->msg = NULL;
    call->next_free = peer->free;
    peer->free = call;
}

void
call_ended(struct call *call, enum an_err err)
{
    call->err = err;
    inbox_put(call->peer->inst, &call->parcel);
}

/* The time left, at least 1 ms: NNG takes 0 for a poll. */
static nng_duration
left_ms(uint64_t until_ms, uint64_t now_ms)
{
    uint64_t left = until_ms > now_ms ? until_ms - now_ms : 1;

    return left < INT32_MAX ? (nng_duration)left : INT32_MAX;
}

/* The send ended: handed to a connection, after which the outcome is open; or not. */
static void
call_sent(struct call *call, int rv)
{
    if (rv != 0) {
        nng_msg_free(nng_aio_get_msg(call->aio));
        nng_aio_set_msg(call->aio, NULL);
        call_ended(call, rv == NNG_ENOMEM ? AN_ERR_NO_MEMORY : AN_ERR_UNAVAILABLE);
        return;
    }
    call->sent = true;
    nng_aio_set_timeout(call->aio, left_ms(call->deadline_ms, clock_mono_ms()));
    nng_ctx_recv(call->ctx, call->aio);
}

static void
call_callback(void *arg)
{
    struct call *call = arg;
    int rv = nng_aio_result(call->aio);

    if (!call->sent) {
        call_sent(call, rv);
        return;
    }
    if (rv == 0) {
        call->msg = nng_aio_get_msg(call->aio);
        nng_aio_set_msg(call->aio, NULL);
    }
    /* Timed out, connection reset or closed: all mean that nobody knows. */
    call_ended(call, rv == 0 ? AN_OK : AN_ERR_TIMEOUT);
}

static int
peer_options(struct peer *peer)
{
    int rv =
        nng_socket_set_ms(peer->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);

    if (rv == 0) {
        rv = nng_socket_set_size(peer->socket, NNG_OPT_RECVMAXSZ, AN_BUS_MSG_LEN_MAX);
    }
    return rv;
}

static int
peer_calls(struct peer *peer)
{
    int rv = 0;

    for (size_t i = AN_BUS_OUTSTANDING_MAX; i > 0 && rv == 0; i--) {
        struct call *call = &peer->calls[i - 1];
        call->parcel.type = PARCEL_ANSWER;
        call->peer = peer;
        rv = nng_aio_alloc(&call->aio, call_callback, call);
        if (rv == 0) {
            rv = nng_ctx_open(&call->ctx, peer->socket);
            call->next_free = peer->free;
            peer->free = call;
        }
    }
    return rv;
}

static enum an_err
peer_open(struct instance *inst, struct an_addr addr)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    int rv;

    if (peer == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    peer->inst = inst;
    peer->link.to = addr;
    peer->grace_until_ms = clock_mono_ms() + CONNECT_GRACE_MS;
    inst->peers[inst->peer_count++] = peer;
    rv = nng_req0_open(&peer->socket);
    if (rv != 0) {
        return nng_to_err(rv);
    }
    peer->open = true;
    rv = peer_options(peer);
    if (rv == 0) {
        rv = peer_calls(peer);
    }
    if (rv == 0) {
        rv = link_dial(&peer->link, inst, peer->socket, addr, NULL, &peer->link);
    }
    return nng_to_err(rv);
}

enum an_err
peers_open(struct instance *inst)
{
    const struct an_topology *topology = inst->runner->cfg.topology;
    enum an_err err = AN_OK;
    size_t count = 0;

    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        count += topology->count[role];
    }
    inst->peers = calloc(count + 1, sizeof(struct peer *));
    if (inst->peers == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        for (uint16_t i = 0;
             err == AN_OK && may_ask(inst->addr.role, role) && i < topology->count[role];
             i++) {
            err = peer_open(inst, (struct an_addr){(uint8_t)role, i});
        }
    }
    return err;
}

void
peers_close(struct instance *inst)
{
    for (size_t i = 0; i < inst->peer_count; i++) {
        struct peer *peer = inst->peers[i];

        if (peer->open) {
            nng_close(peer->socket);
        }
        for (size_t k = 0; k < AN_BUS_OUTSTANDING_MAX; k++) {
            struct call *call = &peer->calls[k];
            if (call->aio != NULL) {
                nng_aio_stop(call->aio);
                nng_msg_free(call->msg);
                nng_aio_free(call->aio);
            }
        }
    }
}

void
peers_free(struct instance *inst)
{
    for (size_t i = 0; i < inst->peer_count; i++) {
        free(inst->peers[i]);
    }
    free(inst->peers);
    inst->peers = NULL;
    inst->peer_count = 0;
}

static struct peer *
peer_find(struct instance *inst, struct an_addr addr)
{
    for (size_t i = 0; i < inst->peer_count; i++) {
        const struct an_addr *to = &inst->peers[i]->link.to;
        if (to->role == addr.role && to->index == addr.index) {
            return inst->peers[i];
        }
    }
    return NULL;
}

static void
call_start(struct call *call, const struct an_effect *effect, nng_msg *msg,
           uint64_t mono_ms)
{
    struct peer *peer = call->peer;
    uint64_t until = mono_ms + effect->budget_ms;

    call->sent = false;
    call->deadline_ms = until;
    call->tag = effect->tag;
    call->trace = effect->trace;
    call->kind = effect->kind;
    if (peer->local != NULL) {
        local_ask(call, msg, mono_ms);
        return;
    }
    if (atomic_load(&peer->link.pipes) == 0 && until > peer->grace_until_ms) {
        until = peer->grace_until_ms;
    }
    nng_aio_set_timeout(call->aio, left_ms(until, mono_ms));
    nng_aio_set_msg(call->aio, msg);
    nng_ctx_send(call->ctx, call->aio);
}

enum an_err
peers_ask(struct instance *inst, const struct an_effect *effect, const uint8_t *body,
          uint64_t mono_ms)
{
    struct peer *peer = peer_find(inst, effect->to);
    struct an_envelope env = {.kind = effect->kind,
                              .trace = effect->trace,
                              .budget_ms = effect->budget_ms,
                              .from = inst->addr,
                              .body_len = (uint32_t)effect->len};
    struct call *call;
    nng_msg *msg;

    if (peer == NULL) {
        return AN_ERR_UNAVAILABLE; /* the topology has no such instance */
    }
    if (effect->len > AN_BUS_MSG_LEN_MAX - AN_ENVELOPE_LEN) {
        return AN_ERR_ENVELOPE;
    }
    if (peer->local == NULL && atomic_load(&peer->link.pipes) == 0 &&
        mono_ms >= peer->grace_until_ms) {
        return AN_ERR_UNAVAILABLE;
    }
    call = peer->free;
    if (call == NULL) {
        return AN_ERR_BUSY;
    }
    msg = bus_msg(inst->runner, &env, body);
    if (msg == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    peer->free = call->next_free;
    call_start(call, effect, msg, mono_ms);
    return AN_OK;
}
