/* The actor: when to reserve time, whom to give ids, when to stop. */
#include "actors/idgen/idgen_priv.h"
#include "core/log.h"
#include "core/slot.h"
#include "proto/bytes.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAKE_MAX = 16384,          /* ids of one ask */
    RUNS_MAX = 8,              /* TAKE_MAX / 4096, and the ends of two milliseconds */
    WAITING_MAX = 1024,        /* asks held; beyond: BUSY */
    DEMAND_MS = 5000,          /* without a take for so long nothing is reserved ahead */
    WORKER_VALUE_LEN = 1 + 16, /* version, nonce, reserved until */
    TAG_WORKER = 1,            /* the worker register's asks and timer */
    TAG_AHEAD = 2,             /* the timer that reserves ahead */
};

#define IDGEN_STATE_NAME(state, name) [IDGEN_STATE_##state] = name,
_Static_assert(1u << IDGEN_WORKER_BITS == AN_SLOTS,
               "a worker's bits, reversed, are a slot");

static const char *const state_names[] = {IDGEN_STATES(IDGEN_STATE_NAME)};

/* ------------------------------------------------------------------ waiting asks */

void
idgen_refuse(struct idgen *g, struct an_msg *msg, enum an_err err, struct an_outbox *out)
{
    g->m.refused++;
    an_out_answer(out, msg, err, NULL);
}

void
idgen_queue_refuse(struct idgen *g, struct idgen_queue *q, enum an_err err,
                   struct an_outbox *out)
{
    while (q->head != NULL) {
        idgen_refuse(g, q->head, err, out);
        idgen_queue_pop(q);
        g->m.waiting--;
    }
}

void
idgen_queue_expire(struct idgen *g, struct idgen_queue *q, struct an_now now,
                   struct an_outbox *out)
{
    while (q->head != NULL && an_msg_expired(q->head, now)) {
        idgen_refuse(g, q->head, AN_ERR_EXPIRED, out);
        idgen_queue_pop(q);
        g->m.waiting--;
    }
}

static void
refuse_all(struct idgen *g, enum an_err err, struct an_outbox *out)
{
    idgen_queue_refuse(g, &g->waiting, err, out);
    for (size_t i = 0; i < g->segment_count; i++) {
        idgen_queue_refuse(g, &g->segments[i].waiting, err, out);
    }
}

/* ------------------------------------------------------------------ reservation */

static void
lost_worker(struct idgen *g, struct an_outbox *out)
{
    bool owned = g->state == IDGEN_STATE_OWNER;

    g->state = IDGEN_STATE_TAKEN;
    refuse_all(g, AN_ERR_WORKER_TAKEN, out);
    an_out_log(out, AN_LOG_ERROR, 0, "worker %" PRIu64 " is owned by another instance",
               g->clock.worker);
    if (!owned) {
        an_out_failed(out, AN_ERR_WORKER_TAKEN,
                      "another id generator is starting with worker %" PRIu64,
                      g->clock.worker);
    }
}

/* Starts what is needed to own more time; nothing when that is under way already. */
static void
reserve(struct idgen *g, struct an_now now, struct an_outbox *out)
{
    uint8_t value[WORKER_VALUE_LEN] = {IDGEN_VALUE_VERSION};
    uint64_t logical = idgen_clock_read(&g->clock, now);

    if (!idgen_register_idle(&g->reg)) {
        return;
    }
    if (!g->reg.known) {
        idgen_register_read(&g->reg, out);
        return;
    }
    g->proposed_ms = (logical > g->durable_ms ? logical : g->durable_ms) + g->reserve_ms;
    an_put_u64(value + 1, g->nonce);
    an_put_u64(value + 9, g->proposed_ms);
    idgen_register_swap(&g->reg, value, sizeof(value), out);
}

static void
reserve_ahead(struct idgen *g, struct an_now now, struct an_outbox *out)
{
    uint64_t left = idgen_clock_left(&g->clock, now);

    if (left <= g->reserve_ms / 2) {
        reserve(g, now, out);
    } else if (!g->ahead_timer) {
        g->ahead_timer = true;
        an_out_timer(out, now.mono_ms + left - g->reserve_ms / 2, TAG_AHEAD);
    }
}

static bool
demanded(const struct idgen *g, struct an_now now)
{
    return g->waiting.head != NULL || now.mono_ms - g->last_take_mono_ms < DEMAND_MS;
}

/* false: nothing can be given now. */
static bool
give(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__TakeIds *take = (const Anser__Bus__TakeIds *)msg->body;
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun runs[RUNS_MAX];
    Anser__Bus__IdRun *list[RUNS_MAX];
    uint32_t left = take->count;
    struct idgen_run run;

    while (left > 0 && taken.n_runs < RUNS_MAX &&
           idgen_clock_take(&g->clock, now, left, &run)) {
        Anser__Bus__IdRun *r = &runs[taken.n_runs];

        anser__bus__id_run__init(r);
        r->prefix = run.prefix;
        r->start = run.start;
        r->stride = run.stride;
        r->count = run.count;
        list[taken.n_runs++] = r;
        left -= run.count;
    }
    if (taken.n_runs == 0) {
        return false;
    }
    taken.runs = list;
    g->m.takes++;
    g->m.ids += take->count - left;
    g->last_take_mono_ms = now.mono_ms;
    an_out_answer(out, msg, AN_OK, &taken.base);
    return true;
}

static void
serve(struct idgen *g, struct an_now now, struct an_outbox *out)
{
    while (g->waiting.head != NULL) {
        if (an_msg_expired(g->waiting.head, now)) {
            idgen_refuse(g, g->waiting.head, AN_ERR_EXPIRED, out);
        } else if (!give(g, g->waiting.head, now, out)) {
            break;
        }
        idgen_queue_pop(&g->waiting);
        g->m.waiting--;
    }
    if (demanded(g, now)) {
        reserve_ahead(g, now, out);
    }
}

/* Reads the register's value; false after an_out_failed. What was issued here counts too:
 * a store that was put back in time has forgotten it. */
static bool
adopt(struct idgen *g, uint64_t *nonce, struct an_outbox *out)
{
    const struct idgen_register *reg = &g->reg;

    if (reg->value_len == 0) {
        *nonce = g->nonce;
        g->durable_ms = g->clock.hi;
        return true;
    }
    if (reg->value_len != WORKER_VALUE_LEN || reg->value[0] != IDGEN_VALUE_VERSION) {
        an_out_failed(out, AN_ERR_CORRUPT, "register %s has an unknown form", reg->name);
        return false;
    }
    *nonce = an_get_u64(reg->value + 1);
    g->durable_ms = an_get_u64(reg->value + 9);
    if (g->durable_ms >= IDGEN_TIME_END) {
        an_out_failed(out, AN_ERR_CORRUPT, "register %s names a time that no id has",
                      reg->name);
        return false;
    }
    if (g->durable_ms < g->clock.hi) {
        g->durable_ms = g->clock.hi;
    }
    return true;
}

/* An interval counts as ours only when we saw our own swap succeed: whatever else stands
 * in the register, even with our own nonce, is skipped and never issued from. */
static void
worker_answered(struct idgen *g, const struct an_msg *msg, struct an_now now,
                struct an_outbox *out)
{
    enum idgen_register_result result = idgen_register_answered(&g->reg, msg, now, out);
    uint64_t nonce;

    switch (result) {
    case IDGEN_REGISTER_FAILED:
        g->m.store_errors++;
        idgen_queue_expire(g, &g->waiting, now, out);
        return;
    case IDGEN_REGISTER_SWAPPED:
        g->m.reservations++;
        idgen_clock_reserved(&g->clock, g->durable_ms, g->proposed_ms);
        g->durable_ms = g->proposed_ms;
        if (g->state == IDGEN_STATE_STARTING) {
            g->state = IDGEN_STATE_OWNER;
            an_out_ready(out);
        }
        serve(g, now, out);
        return;
    case IDGEN_REGISTER_READ:
    case IDGEN_REGISTER_LOST:
        if (!adopt(g, &nonce, out)) {
            return;
        }
        /* The first read takes over from whoever was there; nothing else may. */
        if (nonce != g->nonce &&
            (result == IDGEN_REGISTER_LOST || g->state == IDGEN_STATE_OWNER)) {
            lost_worker(g, out);
            return;
        }
        reserve(g, now, out);
        return;
    }
}

/* ------------------------------------------------------------------ messages */

static void
on_start(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    g->last_take_mono_ms = now.mono_ms; /* whoever starts with us will ask soon */
    idgen_register_read(&g->reg, out);
}

static void
on_stop(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    (void)now;
    g->state = IDGEN_STATE_STOPPED;
    refuse_all(g, AN_ERR_SHUTTING_DOWN, out);
    an_out_stopped(out);
}

/* May this ask be handled at all? Otherwise it was refused. */
static bool
admit(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (g->state == IDGEN_STATE_TAKEN || g->state == IDGEN_STATE_STOPPED) {
        idgen_refuse(g, msg,
                     g->state == IDGEN_STATE_TAKEN ? AN_ERR_WORKER_TAKEN
                                                   : AN_ERR_SHUTTING_DOWN,
                     out);
        return false;
    }
    if (an_msg_expired(msg, now)) {
        idgen_refuse(g, msg, AN_ERR_EXPIRED, out);
        return false;
    }
    if (g->m.waiting >= WAITING_MAX) {
        idgen_refuse(g, msg, AN_ERR_BUSY, out);
        return false;
    }
    return true;
}

static void
on_take_ids(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__TakeIds *take = (const Anser__Bus__TakeIds *)msg->body;

    if (!admit(g, msg, now, out)) {
        return;
    }
    if (take->count == 0 || take->count > TAKE_MAX) {
        idgen_refuse(g, msg, AN_ERR_ARGUMENT, out);
        return;
    }
    if (idgen_clock_read(&g->clock, now) >= IDGEN_TIME_END) {
        idgen_refuse(g, msg, AN_ERR_INTERNAL, out); /* a clock past the year 2094 */
        return;
    }
    idgen_queue_put(&g->waiting, msg);
    g->m.waiting++;
    if (g->state == IDGEN_STATE_OWNER) {
        serve(g, now, out);
    }
}

static void
on_take_segment(struct idgen *g, struct an_msg *msg, struct an_now now,
                struct an_outbox *out)
{
    if (admit(g, msg, now, out)) {
        idgen_segment_take(g, msg, now, out);
    }
}

static void
on_cas_done(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (g->state == IDGEN_STATE_TAKEN || g->state == IDGEN_STATE_STOPPED) {
        return;
    }
    if (msg->tag == TAG_WORKER) {
        worker_answered(g, msg, now, out);
        return;
    }
    idgen_segment_answered(g, msg, now, out);
}

static void
on_timer(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (g->state == IDGEN_STATE_TAKEN || g->state == IDGEN_STATE_STOPPED) {
        return;
    }
    if (msg->tag == TAG_AHEAD) {
        g->ahead_timer = false;
        serve(g, now, out);
        return;
    }
    if (msg->tag == TAG_WORKER) {
        idgen_register_timer(&g->reg);
        idgen_register_read(&g->reg, out);
        return;
    }
    idgen_segment_timer(g, msg, now, out);
}

static void
on_inspect(struct idgen *g, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Inspect *inspect = (const Anser__Bus__Inspect *)msg->body;
    Anser__Bus__Inspected answer = ANSER__BUS__INSPECTED__INIT;
    char json[256];
    int len;

    if (an_out_help(out, msg, "\"state\":\"the reserved interval, leased segments\"")) {
        return;
    }
    if (inspect->words.len != 5 || memcmp(inspect->words.data, "state", 5) != 0) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    len = snprintf(json, sizeof(json),
                   "{\"state\":\"%s\",\"worker\":%" PRIu64 ",\"logical_ms\":\"%" PRIu64
                   "\",\"reserved_until_ms\":\"%" PRIu64 "\",\"segments\":%zu}",
                   state_names[g->state], g->clock.worker,
                   idgen_clock_read(&g->clock, now), g->clock.hi, g->segment_count);
    answer.json = (ProtobufCBinaryData){(size_t)len, (uint8_t *)json};
    an_out_answer(out, msg, AN_OK, &answer.base);
}

typedef void idgen_handler_f(struct idgen *g, struct an_msg *msg, struct an_now now,
                             struct an_outbox *out);

static const struct {
    uint16_t kind;
    idgen_handler_f *handle;
} handlers[] = {
    {AN_KIND_TAKE_IDS, on_take_ids}, {AN_KIND_TAKE_SEGMENT, on_take_segment},
    {AN_KIND_CAS_DONE, on_cas_done}, {AN_KIND_TIMER, on_timer},
    {AN_KIND_START, on_start},       {AN_KIND_STOP, on_stop},
    {AN_KIND_INSPECT, on_inspect},
};

static void
idgen_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
           struct an_outbox *out)
{
    struct idgen *g = (struct idgen *)actor;
    uint64_t wall = now.wall_ms > IDGEN_EPOCH_MS ? now.wall_ms - IDGEN_EPOCH_MS : 0;

    g->m.ahead_ms = idgen_clock_read(&g->clock, now) - wall;
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].kind == msg->kind) {
            handlers[i].handle(g, msg, now, out);
            return;
        }
    }
    if (msg->request) {
        idgen_refuse(g, msg, AN_ERR_ENVELOPE, out);
    }
}

static void
idgen_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
idgen_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct idgen *g = (const struct idgen *)actor;

#define IDGEN_METRIC_EMIT(field, name, help, counter)                                    \
    metric(ctx, name, help, counter, g->m.field);
    IDGEN_METRICS(IDGEN_METRIC_EMIT)
}

static void
abandon_queue(struct idgen_queue *q)
{
    while (q->head != NULL) {
        struct an_msg *msg = q->head;

        q->head = msg->next;
        an_msg_abandon(msg);
    }
}

static void
idgen_destroy(struct an_actor *actor)
{
    struct idgen *g = (struct idgen *)actor;

    abandon_queue(&g->waiting);
    for (size_t i = 0; i < g->segment_count; i++) {
        abandon_queue(&g->segments[i].waiting);
    }
    free(g);
}

static const struct an_actor_ops idgen_ops = {
    .role = AN_ROLE_IDGEN,
    .step = idgen_step,
    .drained = idgen_drained,
    .metrics = idgen_metrics,
    .destroy = idgen_destroy,
};

/* Where the registers of workers lie: those of any two that follow each other in
 * different halves of the slots, of any four in different quarters, so that no one
 * store's death leaves a cluster without ids. Worker 0 has the slot of its plain name. */
static void
worker_register_name(char name[AN_NAME_LEN_MAX + 1], unsigned worker)
{
    int len = snprintf(name, AN_NAME_LEN_MAX + 1, "idgen/worker/0");
    unsigned slot = an_slot_register((const uint8_t *)name, (size_t)len);

    if (worker == 0) {
        return;
    }
    for (unsigned bit = 0; bit < IDGEN_WORKER_BITS; bit++) {
        slot ^= (worker >> bit & 1) << (IDGEN_WORKER_BITS - 1 - bit);
    }
    snprintf(name, AN_NAME_LEN_MAX + 1, "idgen/worker/%u@%u", worker, slot);
}

enum an_err
idgen_create(struct an_actor **out, const struct idgen_cfg *cfg)
{
    struct idgen *g;
    char name[AN_NAME_LEN_MAX + 1];

    if (cfg->worker >= 1u << IDGEN_WORKER_BITS) {
        return AN_ERR_ARGUMENT;
    }
    g = calloc(1, sizeof(*g));
    if (g == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    g->actor.ops = &idgen_ops;
    g->topology = cfg->topology;
    g->nonce = cfg->seed;
    g->reserve_ms = cfg->reserve_ms != 0 ? cfg->reserve_ms : AN_ID_RESERVE_MS;
    g->segment = cfg->segment != 0 ? cfg->segment : AN_ID_SEGMENT;
    g->clock.worker = cfg->worker;
    an_rng_seed(&g->clock.rng, cfg->seed);
    idgen_queue_init(&g->waiting);
    worker_register_name(name, (unsigned)cfg->worker);
    idgen_register_init(&g->reg, g->topology, name, TAG_WORKER);
    *out = &g->actor;
    return AN_OK;
}
