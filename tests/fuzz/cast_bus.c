#include "tests/fuzz/cast_bus.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct cast_bus *current; /* for the stand-ins */

/* ------------------------------------------------------------------ answers of ours */

/* What leaves must be what a peer takes: a whole envelope, an error that is known, and
 * with AN_OK a body of its kind. */
static void
judge(nng_msg *msg)
{
    struct an_envelope env;
    const char *why = NULL;
    bool good = an_envelope_get(&env, nng_msg_body(msg), nng_msg_len(msg), &why);

    assert(good && env.answer && an_err_known(env.err));
    if (env.err == AN_OK) {
        ProtobufCMessage *body = protobuf_c_message_unpack(
            an_kind_row(env.kind)->body, NULL, env.body_len,
            (const uint8_t *)nng_msg_body(msg) + AN_ENVELOPE_LEN);
        assert(body != NULL);
        protobuf_c_message_free_unpacked(body, NULL);
    }
}

void
mailbox_answer(struct held *held, nng_msg *msg)
{
    struct held **link = &current->helds;

    judge(msg);
    while (*link != NULL && *link != held) {
        link = &(*link)->next_free;
    }
    assert(*link == held); /* once, and one that was asked */
    *link = held->next_free;
    nng_msg_free(msg);
    free(held);
}

static void
neighbour_answered(struct cast_bus *bus, struct parcel *parcel)
{
    struct call *call = local_answered(parcel), **link = &bus->calls;

    assert(call != NULL);
    judge(call->msg);
    while (*link != NULL && *link != call) {
        link = &(*link)->next_free;
    }
    assert(*link == call);
    *link = call->next_free;
    call_free(call);
}

/* ------------------------------------------------------------------ other stand-ins */

void
call_free(struct call *call)
{
    if (call->msg != NULL) {
        nng_msg_free(call->msg);
    }
    free(call->peer);
    free(call);
}

/* Of local_ask: there is memory and room, and nothing is published by it. */
void
call_ended(struct call *call, enum an_err err)
{
    (void)call;
    (void)err;
    abort();
}

void
hint_put(struct instance *inst, nng_msg *msg)
{
    (void)inst;
    (void)msg;
    abort();
}

bool
inbox_put_request(struct instance *inst, struct parcel *parcel)
{
    inst->inbox.requests++;
    current->arrived = parcel;
    return true;
}

void
inbox_put(struct instance *inst, struct parcel *parcel)
{
    if (inst == &current->neighbours) {
        neighbour_answered(current, parcel);
    } else {
        current->step(current->ctx, msg_from_parcel(inst, parcel));
    }
}

/* ------------------------------------------------------------------ who asks it */

nng_msg *
cast_bus_msg(const uint8_t *data, size_t len)
{
    nng_msg *msg = NULL;
    int rv = nng_msg_alloc(&msg, len);

    assert(rv == 0);
    if (len > 0) {
        memcpy(nng_msg_body(msg), data, len);
    }
    return msg;
}

static struct call *
call_create(struct instance *asker, struct instance *asked, struct an_addr to)
{
    struct call *call = calloc(1, sizeof(*call));
    struct peer *peer = calloc(1, sizeof(*peer));

    assert(call != NULL && peer != NULL);
    peer->inst = asker;
    peer->local = asked;
    peer->link.to = to;
    call->peer = peer;
    return call;
}

static struct parcel *
of_mailbox(struct cast_bus *bus, nng_msg *msg)
{
    struct held *held = calloc(1, sizeof(*held));

    assert(held != NULL);
    held->parcel.type = PARCEL_REQUEST;
    held->msg = msg;
    held->received_ms = bus->inst->now.mono_ms;
    held->next_free = bus->helds;
    bus->helds = held;
    bus->inst->inbox.requests++;
    return &held->parcel;
}

static struct parcel *
of_neighbour(struct cast_bus *bus, nng_msg *msg)
{
    struct call *call = call_create(&bus->neighbours, bus->inst, bus->inst->addr);

    call->next_free = bus->calls;
    bus->calls = call;
    local_ask(call, msg, bus->inst->now.mono_ms);
    return bus->arrived;
}

static struct parcel *
published(struct cast_bus *bus, nng_msg *msg)
{
    struct hint *hint = calloc(1, sizeof(*hint));

    assert(hint != NULL);
    hint->parcel.type = PARCEL_PUBLISHED;
    hint->msg = msg;
    bus->inst->inbox.hint_bytes += nng_msg_len(msg);
    return &hint->parcel;
}

void
cast_bus_request(struct cast_bus *bus, nng_msg *msg)
{
    bool near = bus->turn++ % 2 != 0;

    inbox_put(bus->inst, near ? of_neighbour(bus, msg) : of_mailbox(bus, msg));
}

void
cast_bus_publish(struct cast_bus *bus, nng_msg *msg)
{
    inbox_put(bus->inst, published(bus, msg));
}

/* ------------------------------------------------------------------ whom it asks */

static void
neighbour_answers(struct cast_bus *bus, struct call *call, nng_msg *msg)
{
    struct local *local;
    uint64_t asked_ms;

    local_ask(call, cast_bus_msg(NULL, 0), bus->inst->now.mono_ms);
    local = (struct local *)bus->arrived;
    nng_msg_free(local_request(local, &asked_ms));
    local_hold(&bus->neighbours, local);
    local_answer(&bus->neighbours, local, msg);
}

void
cast_bus_answer(struct cast_bus *bus, const struct an_effect *ask, nng_msg *msg,
                enum an_err err)
{
    struct call *call = call_create(bus->inst, &bus->neighbours, ask->to);

    call->kind = ask->kind;
    call->tag = ask->tag;
    call->trace = ask->trace;
    if (msg != NULL && bus->turn++ % 2 != 0) {
        neighbour_answers(bus, call, msg);
        return;
    }
    call->parcel.type = PARCEL_ANSWER;
    call->msg = msg;
    call->err = err;
    inbox_put(bus->inst, &call->parcel);
}

/* ------------------------------------------------------------------ life */

void
cast_bus_begin(struct cast_bus *bus, struct instance *inst,
               void (*step)(void *ctx, struct an_msg *msg), void *ctx)
{
    *bus = (struct cast_bus){.inst = inst, .step = step, .ctx = ctx};
    bus->neighbours.runner = inst->runner;
    inst->runner->cfg.mailbox_msgs_max = UINT32_MAX / 2;
    current = bus;
}

void
cast_bus_end(struct cast_bus *bus)
{
    parcel_drop(published(bus, cast_bus_msg(NULL, 0)));
    parcel_drop(of_neighbour(bus, cast_bus_msg(NULL, 0)));
    while (bus->helds != NULL) {
        struct held *held = bus->helds;

        bus->helds = held->next_free;
        free(held);
    }
    locals_drop(bus->inst);
    while (bus->calls != NULL) {
        struct call *call = bus->calls;

        bus->calls = call->next_free;
        call_free(call);
    }
    current = NULL;
}
