/* One turn of an actor: messages in, steps, drained, effects out. On its own thread. */
#include "core/metrics.h"
#include "core/runner_nng/priv.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ effects */

/* An ask that was never sent ends with an answer made here. */
static void
ask(struct instance *inst, const struct an_effect *effect, const uint8_t *body)
{
    enum an_err err = peers_ask(inst, effect, body, inst->now.mono_ms);
    struct an_msg *msg;

    if (err == AN_OK) {
        atomic_fetch_add(&inst->counters.asks, 1);
        return;
    }
    if (err == AN_ERR_BUSY) {
        atomic_fetch_add(&inst->counters.asks_busy, 1);
    } else {
        atomic_fetch_add(&inst->counters.asks_unavailable, 1);
    }
    msg = msg_take(inst, an_kind_row(effect->kind)->answer);
    msg->answer = true;
    msg->err = err;
    msg->from = effect->to;
    msg->tag = effect->tag;
    msg->trace = effect->trace;
    *inst->loopback_tail = msg;
    inst->loopback_tail = &msg->next;
}

/* To whoever waits: an asker of the bus, or of the text endpoint. */
static void
answer_to(struct instance *inst, const struct an_effect *effect, enum an_err err,
          const uint8_t *body, size_t len)
{
    struct an_envelope env = {.answer = true,
                              .kind = effect->kind,
                              .err = (uint16_t)err,
                              .trace = effect->trace,
                              .from = inst->addr,
                              .body_len = (uint32_t)len};
    struct reply_to reply;
    nng_msg *msg;

    memcpy(&reply, effect->reply_to, sizeof(reply));
    if (reply.type == REPLY_QUESTION) {
        question_answer(reply.waiter, err, body, len);
        return;
    }
    if (len > AN_BUS_MSG_LEN_MAX - AN_ENVELOPE_LEN) {
        an_log(AN_LOG_ERROR, inst->who, "answer larger than the limit kind=%s bytes=%zu",
               an_kind_name(effect->kind), len);
        env.err = AN_ERR_ENVELOPE;
        env.body_len = 0;
    }
    msg = bus_msg(inst->runner, &env, body);
    if (msg == NULL) {
        abort(); /* every ask ends exactly once */
    }
    atomic_fetch_add(&inst->counters.answers, 1);
    if (reply.type == REPLY_LOCAL) {
        local_answer(inst, reply.waiter, msg);
    } else {
        mailbox_answer(reply.waiter, msg);
    }
}

/* The actor knows no "help" of its own: still the runner answers some words. */
static void
answer_help(struct instance *inst, const struct an_effect *effect)
{
    Anser__Bus__Inspected help = ANSER__BUS__INSPECTED__INIT;
    char json[] = "{\"words\":{" AN_RUNNER_WORDS "}}";
    uint8_t body[sizeof(json) + 16];

    help.json = (ProtobufCBinaryData){sizeof(json) - 1, (uint8_t *)json};
    answer_to(inst, effect, AN_OK, body, anser__bus__inspected__pack(&help, body));
}

static void
answer(struct instance *inst, const struct an_effect *effect, const uint8_t *body)
{
    struct reply_to reply;

    memcpy(&reply, effect->reply_to, sizeof(reply));
    if (reply.help && effect->err == AN_ERR_ARGUMENT) {
        answer_help(inst, effect);
    } else {
        answer_to(inst, effect, effect->err, body, effect->len);
    }
}

static void
failed(struct instance *inst, const struct an_effect *effect, const uint8_t *text)
{
    const struct an_runner_cfg *cfg = &inst->runner->cfg;
    char why[512];

    snprintf(why, sizeof(why), "%.*s", (int)effect->len, (const char *)text);
    an_log(AN_LOG_ERROR, inst->who, "cannot go on: %s (%s)", why,
           an_err_name(effect->err));
    if (cfg->failed != NULL) {
        cfg->failed(cfg->ctx, inst->addr, effect->err, why);
        return;
    }
    _exit(an_err_exit_code(effect->err));
}

static void
carry(struct instance *inst, const struct an_effect *effect)
{
    const uint8_t *bytes = inst->out.bytes + effect->offset;

    switch (effect->type) {
    case AN_EFFECT_ASK:
        ask(inst, effect, bytes);
        return;
    case AN_EFFECT_ANSWER:
        answer(inst, effect, bytes);
        return;
    case AN_EFFECT_PUBLISH:
        pubs_publish(inst, effect, bytes);
        return;
    case AN_EFFECT_TIMER:
        timers_add(&inst->timers, effect->at_mono_ms, effect->tag);
        return;
    case AN_EFFECT_OFFLOAD:
        pool_offload(&inst->runner->pool, inst, effect->job);
        return;
    case AN_EFFECT_CONN_SEND:
    case AN_EFFECT_CONN_CLOSE:
    case AN_EFFECT_HTTP:
        if (inst->door != NULL) {
            inst->door->ops->carry(inst->door, effect, bytes);
        }
        return;
    case AN_EFFECT_EVENT:
        inspect_event(inst->runner->inspect, inst, bytes, effect->len);
        return;
    case AN_EFFECT_LOG:
        an_log_line((enum an_log_level)effect->level, inst->who, effect->trace,
                    (const char *)bytes, effect->len);
        return;
    case AN_EFFECT_READY:
        runner_note(inst, &inst->ready);
        return;
    case AN_EFFECT_STOPPED:
        runner_note(inst, &inst->stopped);
        if (inst->door != NULL) {
            inst->door->ops->quit(inst->door);
        }
        return;
    case AN_EFFECT_FAILED:
        failed(inst, effect, bytes);
        return;
    }
}

/* Act on what was gathered, and carry out the effects. */
static void
finish(struct instance *inst)
{
    if (inst->steps == 0) {
        return;
    }
    inst->steps = 0;
    atomic_fetch_add(&inst->counters.drains, 1);
    inst->actor->ops->drained(inst->actor, inst->now, &inst->out);
    if (inst->out.hop_count > 0) {
        ring_add(&inst->ring, inst->out.hops, inst->out.hop_count);
    }
    for (size_t i = 0; i < inst->out.count; i++) {
        carry(inst, &inst->out.effects[i]);
    }
    if (inst->door != NULL) {
        inst->door->ops->flush(inst->door);
    }
    an_outbox_clear(&inst->out);
}

/* ------------------------------------------------------------------ steps */

static void
step(struct instance *inst, struct an_msg *msg)
{
    if (inst->steps++ == 0) {
        inst->out.watched = inspect_watched(inst->runner->inspect);
    }
    if (an_msg_expired(msg, inst->now)) {
        atomic_fetch_add(&inst->counters.refused_expired, 1);
        an_out_answer(&inst->out, msg, AN_ERR_EXPIRED, NULL);
        return;
    }
    if (msg->kind == AN_KIND_INSPECT && words_answer(inst, msg)) {
        return;
    }
    atomic_fetch_add(&inst->counters.steps, 1);
    inst->actor->ops->step(inst->actor, msg, inst->now, &inst->out);
}

static void
step_and_release(struct instance *inst, struct an_msg *msg)
{
    step(inst, msg);
    an_msg_release(msg);
}

/* Everything the inbox holds becomes the thread's own. */
static void
take(struct instance *inst)
{
    struct inbox *inbox = &inst->inbox;
    struct parcel **end = &inst->taken;
    struct an_job **jobs_end = &inst->jobs;

    while (*end != NULL) {
        end = &(*end)->next;
    }
    while (*jobs_end != NULL) {
        jobs_end = &(*jobs_end)->next;
    }
    pthread_mutex_lock(&inbox->lock);
    *end = inbox->head;
    inbox->head = NULL;
    inbox->tail = &inbox->head;
    *jobs_end = inbox->jobs;
    inbox->jobs = NULL;
    inbox->jobs_tail = &inbox->jobs;
    inst->start |= inbox->start;
    inst->stop |= inbox->stop;
    inbox->start = false;
    inbox->stop = false;
    inbox->sleeping = inst->door != NULL; /* a door sleeps in its own loop */
    pthread_mutex_unlock(&inbox->lock);
}

/* The next message that is not a parcel: what comes of the actor itself goes first. */
static struct an_msg *
next_local(struct instance *inst)
{
    struct an_msg *msg = inst->loopback;
    uint64_t tag;

    if (inst->start) {
        inst->start = false;
        return msg_take(inst, AN_KIND_START);
    }
    if (msg != NULL) {
        inst->loopback = msg->next;
        if (inst->loopback == NULL) {
            inst->loopback_tail = &inst->loopback;
        }
        msg->next = NULL;
        return msg;
    }
    if (timers_take(&inst->timers, inst->now.mono_ms, &tag)) {
        atomic_fetch_add(&inst->counters.timers, 1);
        msg = msg_take(inst, AN_KIND_TIMER);
        msg->tag = tag;
        return msg;
    }
    if (inst->jobs != NULL) {
        atomic_fetch_add(&inst->counters.jobs, 1);
        msg = msg_take(inst, AN_KIND_JOB_DONE);
        msg->job = inst->jobs;
        inst->jobs = inst->jobs->next;
        return msg;
    }
    return NULL;
}

/* Steps one message, or finds that there is none: false. */
static bool
step_next(struct instance *inst)
{
    struct an_msg *msg = next_local(inst);
    struct parcel *parcel = inst->taken;

    if (msg == NULL && parcel != NULL) {
        inst->taken = parcel->next;
        msg = msg_from_parcel(inst, parcel);
        if (msg == NULL) {
            return true;
        }
    }
    if (msg == NULL && inst->stop) {
        inst->stop = false;
        if (inst->door != NULL) {
            inst->door->ops->close_listeners(inst->door);
        }
        msg = msg_take(inst, AN_KIND_STOP);
    }
    if (msg == NULL) {
        return false;
    }
    step_and_release(inst, msg);
    return true;
}

uint64_t
instance_turn(struct instance *inst)
{
    uint64_t next, before_ms = clock_mono_ms();

    take(inst);
    inst->now = clock_now();
    locals_expire(inst, before_ms);
    for (unsigned tries = 0; tries < AN_DRAIN_MSGS_MAX; tries++) {
        if (inst->steps >= AN_DRAIN_MSGS_MAX || !step_next(inst)) {
            break;
        }
    }
    finish(inst);
    if (inst->taken != NULL || inst->jobs != NULL || inst->loopback != NULL ||
        inst->stop) {
        return 0;
    }
    next = timers_next(&inst->timers);
    if (inst->locals_due_ms < next) {
        next = inst->locals_due_ms;
    }
    if (next == UINT64_MAX) {
        return UINT64_MAX;
    }
    return next > inst->now.mono_ms ? next - inst->now.mono_ms : 0;
}

void
instance_deliver(struct instance *inst, struct an_msg *msg)
{
    if (inst->steps == 0) {
        inst->now = clock_now();
    }
    step(inst, msg);
    if (inst->steps >= AN_DRAIN_MSGS_MAX) {
        finish(inst);
    }
}

/* ------------------------------------------------------------------ the end */

/* Jobs that were done or that their done() asks for are brought to an end; their memory
 * belongs to the actor. All threads are gone: they run here. */
static void
end_jobs(struct instance *inst)
{
    struct an_job *job;

    take(inst);
    while ((job = inst->jobs) != NULL) {
        struct an_msg *msg = msg_take(inst, AN_KIND_JOB_DONE);
        inst->jobs = job->next;
        msg->job = job;
        step_and_release(inst, msg);
        for (size_t i = 0; i < inst->out.count; i++) {
            job = inst->out.effects[i].job;
            if (inst->out.effects[i].type == AN_EFFECT_OFFLOAD) {
                job->run(job);
                inbox_put_job(inst, job);
            }
        }
        an_outbox_clear(&inst->out);
        take(inst);
    }
}

void
instance_drop_parcels(struct instance *inst)
{
    take(inst);
    while (inst->taken != NULL) {
        struct parcel *parcel = inst->taken;
        inst->taken = parcel->next;
        parcel_drop(parcel);
    }
}

void
instance_drop(struct instance *inst)
{
    inst->now = clock_now();
    end_jobs(inst);
    instance_drop_parcels(inst);
    inst->actor->ops->destroy(inst->actor);
    msgs_fini(inst);
    locals_drop(inst);
    ring_close(&inst->ring);
    an_outbox_fini(&inst->out);
    timers_fini(&inst->timers);
}

struct metrics_to {
    struct an_metrics *metrics;
    const struct instance *inst;
};

static void
add_metric(void *ctx, const char *name, const char *help, bool counter, uint64_t value)
{
    struct metrics_to *to = ctx;

    an_metrics_add(to->metrics, an_role_name(to->inst->addr.role), to->inst->who, name,
                   help, counter, value);
}

void
instance_metrics(struct instance *inst, struct an_metrics *metrics)
{
    struct metrics_to to = {metrics, inst};
    uint32_t waiting;

    if (inst->actor->ops->metrics != NULL) {
        inst->actor->ops->metrics(inst->actor, add_metric, &to);
    }
    if (inst->door != NULL && inst->door->ops->metrics != NULL) {
        inst->door->ops->metrics(inst->door, add_metric, &to);
    }
#define ADD(name, sentence)                                                              \
    an_metrics_add(metrics, "runner", inst->who, #name "_total", sentence, true,         \
                   atomic_load(&inst->counters.name));
    RUNNER_COUNTERS(ADD)
#undef ADD
    pthread_mutex_lock(&inst->inbox.lock);
    waiting = inst->inbox.requests;
    pthread_mutex_unlock(&inst->inbox.lock);
    an_metrics_add(metrics, "runner", inst->who, "mailbox_waiting",
                   "Requests waiting in the mailbox now", false, waiting);
}
