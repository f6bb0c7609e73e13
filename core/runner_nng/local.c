/* Asks and hints between actors of one process: their envelopes go from the one's thread
 * into the other's inbox. Over NNG's inproc each would pass four or five completions,
 * every one of them on another thread, and be copied.
 *
 * Nothing else differs: the same bytes, the same checks (msgs.c), the same bounds of
 * outstanding asks and of the mailbox, the same order, an end within the budget. The
 * sockets are there all the same, for askers of other processes and for commands. */
#include "core/runner_nng/priv.h"
#include <stdlib.h>

/* An ask from its start until its answer is taken: in the inbox of the one asked, then
 * held by it, then in the asker's inbox. */
struct local {
    struct parcel parcel; /* first */
    struct call *call;
    uint64_t number; /* of the call's asks: one that timed out is over for the asker */
    struct instance *asker;
    nng_msg *msg; /* the request until it is unpacked, then the answer */
    uint64_t received_ms;
    struct local *before, *after; /* others that the one asked holds */
};

static bool
same_process(const struct link *link)
{
    return link->reach == REACH_INPROC;
}

void
locals_find(struct instance *inst)
{
    for (size_t i = 0; i < inst->peer_count; i++) {
        struct peer *peer = inst->peers[i];

        if (same_process(&peer->link)) {
            peer->local = runner_find(inst->runner, peer->link.to);
        }
    }
    for (size_t i = 0; i < inst->pub_count; i++) {
        struct an_addr gate = {AN_ROLE_GATE, (uint16_t)i};

        if (inst->pubs[i].ears[0].reach == REACH_INPROC) {
            inst->pubs[i].local = runner_find(inst->runner, gate);
        }
    }
}

/* ------------------------------------------------------------------ the asker */

void
local_ask(struct call *call, nng_msg *msg, uint64_t mono_ms)
{
    struct instance *inst = call->peer->inst, *to = call->peer->local;
    struct local *local = malloc(sizeof(*local));

    call->number++;
    if (local == NULL) {
        nng_msg_free(msg);
        call_ended(call, AN_ERR_NO_MEMORY);
        return;
    }
    *local = (struct local){.parcel.type = PARCEL_LOCAL_ASK,
                            .call = call,
                            .number = call->number,
                            .asker = inst,
                            .msg = msg,
                            .received_ms = mono_ms};
    if (atomic_fetch_add(&to->locals_count, 1) >= 2 * to->runner->cfg.mailbox_msgs_max ||
        !inbox_put_request(to, &local->parcel)) {
        atomic_fetch_sub(&to->locals_count, 1);
        atomic_fetch_add(&to->counters.refused_busy, 1);
        nng_msg_free(msg);
        free(local);
        call_ended(call, AN_ERR_BUSY);
        return;
    }
    call->local = true;
    call->answered = false;
    if (call->deadline_ms < inst->locals_due_ms) {
        inst->locals_due_ms = call->deadline_ms;
    }
}

struct call *
local_answered(struct parcel *parcel)
{
    struct local *local = (struct local *)parcel;
    struct call *call = local->call;

    if (call->local && call->number == local->number) {
        call->local = false;
        call->err = AN_OK;
        call->msg = local->msg;
    } else {
        nng_msg_free(local->msg); /* after its time */
        call = NULL;
    }
    free(local);
    return call;
}

/* Answers that are here came in time, however long it takes until they are looked at. */
static void
note_answered(const struct instance *inst)
{
    for (struct parcel *parcel = inst->taken; parcel != NULL; parcel = parcel->next) {
        struct local *local = (struct local *)parcel;

        if (parcel->type == PARCEL_LOCAL_ANSWER && local->call->number == local->number) {
            local->call->answered = true;
        }
    }
}

void
locals_expire(struct instance *inst, uint64_t mono_ms)
{
    if (mono_ms < inst->locals_due_ms) {
        return;
    }
    inst->locals_due_ms = UINT64_MAX;
    note_answered(inst);
    for (size_t i = 0; i < inst->peer_count; i++) {
        for (size_t k = 0; k < AN_BUS_OUTSTANDING_MAX; k++) {
            struct call *call = &inst->peers[i]->calls[k];

            if (!call->local || call->answered) {
                continue;
            }
            if (call->deadline_ms <= mono_ms) {
                call->local = false;
                call_ended(call, AN_ERR_TIMEOUT);
            } else if (call->deadline_ms < inst->locals_due_ms) {
                inst->locals_due_ms = call->deadline_ms;
            }
        }
    }
}

bool
local_publish(struct pubsub *pub, nng_msg *msg)
{
    if (pub->local == NULL) {
        return false;
    }
    hint_put(pub->local, msg);
    return true;
}

/* ------------------------------------------------------------------ the one asked */

nng_msg *
local_request(const struct local *local, uint64_t *received_ms)
{
    *received_ms = local->received_ms;
    return local->msg;
}

void
local_hold(struct instance *inst, struct local *local)
{
    local->msg = NULL;
    local->before = NULL;
    local->after = inst->locals;
    if (local->after != NULL) {
        local->after->before = local;
    }
    inst->locals = local;
}

void
local_answer(struct instance *inst, struct local *local, nng_msg *msg)
{
    if (local->before != NULL) {
        local->before->after = local->after;
    } else {
        inst->locals = local->after;
    }
    if (local->after != NULL) {
        local->after->before = local->before;
    }
    atomic_fetch_sub(&inst->locals_count, 1);
    local->msg = msg;
    local->parcel.type = PARCEL_LOCAL_ANSWER;
    inbox_put(local->asker, &local->parcel);
}

/* ------------------------------------------------------------------ the end */

void
local_drop(struct parcel *parcel)
{
    nng_msg_free(((struct local *)parcel)->msg);
    free(parcel);
}

void
locals_drop(struct instance *inst)
{
    while (inst->locals != NULL) {
        struct local *local = inst->locals;

        inst->locals = local->after;
        free(local);
    }
}
