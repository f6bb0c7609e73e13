#include "tests/fuzz/cast.h"
#include "actors/api/api.h"
#include "actors/gate/gate.h"
#include "actors/idgen/idgen.h"
#include "actors/router/router.h"
#include "actors/sequencer/sequencer.h"
#include "actors/store/store.h"
#include "core/metrics.h"
#include "proto/bus.pb-c.h"
#include "store/files_sim.h"
#include "tests/fuzz/asked.h"
#include "tests/fuzz/cast_bus.h"
#include "tests/fuzz/friends.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    WALL_S = 1795219200,
    ASKS_MAX = 64,
    TIMERS_MAX = 512,
    ROUNDS_MAX = 32,
    SEGMENT_LEN = 64 * 1024,
};

struct ask {
    struct an_effect e;
    ProtobufCMessage *body;
};

struct due {
    uint64_t at_ms, tag;
};

struct cast {
    struct an_runner runner;
    struct instance inst, *only;
    struct peer shown, *peers; /* for the word "peers" */
    struct ask asks[ASKS_MAX];
    unsigned ask_count;
    struct due timers[TIMERS_MAX];
    unsigned timer_count;
    struct cast_bus bus;
    struct files_sim *sim;
    bool failed;
};

static struct an_topology topology;
static struct an_token_keys keys = {.count = 1, .key = {{.id = "k1", .secret = "s"}}};
static struct cast *current; /* for the stubs */

/* ------------------------------------------------- what the runner's other files do */

uint64_t
clock_mono_ms(void)
{
    return current->inst.now.mono_ms;
}

nng_msg *
bus_msg(const struct an_runner *runner, struct an_envelope *env, const uint8_t *body)
{
    nng_msg *msg = NULL;
    int rv = nng_msg_alloc(&msg, AN_ENVELOPE_LEN + env->body_len);

    assert(rv == 0);
    env->cluster = runner->cluster;
    env->stores = runner->stores;
    an_envelope_put(nng_msg_body(msg), env);
    if (env->body_len > 0) {
        memcpy((uint8_t *)nng_msg_body(msg) + AN_ENVELOPE_LEN, body, env->body_len);
    }
    return msg;
}

struct instance *
runner_find(struct an_runner *runner, struct an_addr addr)
{
    struct instance *inst = &current->inst;

    (void)runner;
    return addr.role == inst->addr.role && addr.index == inst->addr.index ? inst : NULL;
}

enum an_err
nng_to_err(int rv)
{
    return rv == 0 ? AN_OK : AN_ERR_CONNECTION;
}

void
an_log(enum an_log_level level, const char *who, const char *fmt, ...)
{
    (void)level;
    (void)who;
    (void)fmt;
}

struct metrics_to {
    struct an_metrics *metrics;
    const char *who;
};

static void
metric(void *ctx, const char *name, const char *help, bool counter, uint64_t value)
{
    const struct metrics_to *to = ctx;

    an_metrics_add(to->metrics, "actor", to->who, name, help, counter, value);
}

void
instance_metrics(struct instance *inst, struct an_metrics *metrics)
{
    struct metrics_to to = {metrics, inst->who};

    if (inst->actor->ops->metrics != NULL) {
        inst->actor->ops->metrics(inst->actor, metric, &to);
    }
}

/* ------------------------------------------------------------------ steps */

static void
step(void *ctx, struct an_msg *msg)
{
    struct cast *c = ctx;
    struct instance *inst = &c->inst;

    if (msg == NULL) {
        return;
    }
    if (c->failed && !msg->request) {
        an_msg_release(msg);
        return;
    }
    if (an_msg_expired(msg, inst->now)) {
        an_out_answer(&inst->out, msg, AN_ERR_EXPIRED, NULL);
    } else if (msg->kind != AN_KIND_INSPECT || !words_answer(inst, msg)) {
        inst->actor->ops->step(inst->actor, msg, inst->now, &inst->out);
    }
    an_msg_release(msg);
}

static void
local(struct cast *c, enum an_kind kind, uint64_t tag, struct an_job *job, uint64_t conn)
{
    struct an_msg *msg = msg_take(&c->inst, kind);

    msg->tag = tag;
    msg->job = job;
    msg->conn = conn;
    step(c, msg);
}

/* ------------------------------------------------------------------ effects */

static ProtobufCMessage *
whole(unsigned kind, const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *body =
        protobuf_c_message_unpack(an_kind_row(kind)->body, NULL, len, bytes);

    assert(body != NULL);
    return body;
}

static void
ask_forget(struct cast *c, unsigned i)
{
    protobuf_c_message_free_unpacked(c->asks[i].body, NULL);
    memmove(&c->asks[i], &c->asks[i + 1], (--c->ask_count - i) * sizeof(struct ask));
}

static void
carry_ask(struct cast *c, const struct an_effect *e, const uint8_t *bytes)
{
    assert(an_kind_row(e->kind)->receiver == e->to.role);
    assert(e->to.index < topology.count[e->to.role]);
    assert(AN_ENVELOPE_LEN + e->len <= AN_BUS_MSG_LEN_MAX);
    if (c->ask_count == ASKS_MAX) {
        cast_answer(c, 0, AN_ERR_BUSY, NULL, 0);
    }
    c->asks[c->ask_count++] = (struct ask){*e, whole(e->kind, bytes, e->len)};
}

static void
carry_answer(struct cast *c, const struct an_effect *e, const uint8_t *bytes)
{
    struct an_envelope env = {.answer = true,
                              .kind = e->kind,
                              .err = (uint16_t)e->err,
                              .trace = e->trace,
                              .from = c->inst.addr,
                              .body_len = (uint32_t)e->len};
    struct reply_to reply;

    memcpy(&reply, e->reply_to, sizeof(reply));
    if (reply.type == REPLY_QUESTION) {
        question_answer(reply.waiter, e->err, bytes, e->len);
    } else if (reply.type == REPLY_LOCAL) {
        local_answer(&c->inst, reply.waiter, bus_msg(&c->runner, &env, bytes));
    } else {
        mailbox_answer(reply.waiter, bus_msg(&c->runner, &env, bytes));
    }
}

static void
carry(struct cast *c, const struct an_effect *e, const uint8_t *bytes)
{
    struct an_frame frame;

    switch (e->type) {
    case AN_EFFECT_ASK:
        carry_ask(c, e, bytes);
        return;
    case AN_EFFECT_ANSWER:
        carry_answer(c, e, bytes);
        return;
    case AN_EFFECT_PUBLISH:
        protobuf_c_message_free_unpacked(whole(e->kind, bytes, e->len), NULL);
        return;
    case AN_EFFECT_TIMER:
        if (c->timer_count < TIMERS_MAX) {
            c->timers[c->timer_count++] = (struct due){e->at_mono_ms, e->tag};
        }
        return;
    case AN_EFFECT_OFFLOAD:
        e->job->run(e->job);
        local(c, AN_KIND_JOB_DONE, 0, e->job, 0);
        return;
    case AN_EFFECT_CONN_SEND:
        assert(an_frame_get(&frame, bytes, e->len, AN_BUS_MSG_LEN_MAX) == AN_FRAME_OK);
        assert(frame.body_len + AN_FRAME_HEADER_LEN == e->len);
        return;
    case AN_EFFECT_CONN_CLOSE:
        local(c, AN_KIND_CONN_CLOSED, 0, NULL, e->conn);
        return;
    case AN_EFFECT_FAILED:
        c->failed = true; /* the process would end */
        return;
    case AN_EFFECT_HTTP:
    case AN_EFFECT_EVENT:
    case AN_EFFECT_LOG:
    case AN_EFFECT_READY:
    case AN_EFFECT_STOPPED:
        return;
    }
}

void
cast_settle(struct cast *c)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        struct an_outbox out;

        if (!c->failed) {
            c->inst.actor->ops->drained(c->inst.actor, c->inst.now, &c->inst.out);
        }
        out = c->inst.out;
        c->inst.out = (struct an_outbox){.watched = true, .traced = true};
        if (out.hop_count > 0) {
            ring_add(&c->inst.ring, out.hops, out.hop_count);
        }
        for (size_t i = 0; i < out.count; i++) {
            const struct an_effect *e = &out.effects[i];

            carry(c, e, e->len == 0 ? NULL : out.bytes + e->offset);
        }
        if (out.count == 0) {
            an_outbox_fini(&out);
            return;
        }
        an_outbox_fini(&out);
    }
}

/* ------------------------------------------------------------------ feeding */

void
cast_raw(struct cast *c, const uint8_t *data, size_t len, bool request)
{
    if (request) {
        cast_bus_request(&c->bus, cast_bus_msg(data, len));
    } else {
        cast_bus_publish(&c->bus, cast_bus_msg(data, len));
    }
}

void
cast_request(struct cast *c, unsigned kind, unsigned which, const uint8_t *body,
             size_t len)
{
    const struct an_kind_row *row = an_kind_row(kind);
    struct an_envelope env = {.kind = (uint16_t)kind,
                              .trace = 7,
                              .budget_ms = AN_ASK_MS,
                              .body_len = (uint32_t)len};
    uint8_t *bytes = malloc(AN_ENVELOPE_LEN + len);
    unsigned role = which % AN_ROLE_COUNT;

    assert(bytes != NULL);
    while (row != NULL && (row->senders & 1u << role) == 0) {
        role = (role + 1) % AN_ROLE_COUNT;
    }
    env.from = (struct an_addr){(uint8_t)role, which / AN_ROLE_COUNT % 2};
    env.cluster = c->runner.cluster;
    env.stores = c->runner.stores;
    an_envelope_put(bytes, &env);
    if (len > 0) {
        memcpy(bytes + AN_ENVELOPE_LEN, body, len);
    }
    cast_raw(c, bytes, AN_ENVELOPE_LEN + len, row == NULL || row->answer != AN_KIND_NONE);
    free(bytes);
}

unsigned
cast_asks(const struct cast *c)
{
    return c->ask_count;
}

/* The ask ends with this message, which is taken; NULL: with err. */
static void
ask_end(struct cast *c, struct ask *ask, nng_msg *msg, enum an_err err)
{
    const struct an_effect e = ask->e;

    ask_forget(c, (unsigned)(ask - c->asks));
    cast_bus_answer(&c->bus, &e, msg, err);
}

static struct ask *
ask_find(struct cast *c, unsigned which)
{
    return c->ask_count == 0 ? NULL : &c->asks[which % c->ask_count];
}

void
cast_answer(struct cast *c, unsigned which, enum an_err err, const uint8_t *body,
            size_t len)
{
    struct ask *ask = ask_find(c, which);
    struct an_envelope env = {.answer = true};

    if (ask != NULL) {
        env.kind = an_kind_row(ask->e.kind)->answer;
        env.err = (uint16_t)err;
        env.from = ask->e.to;
        env.body_len = (uint32_t)len;
        ask_end(c, ask, bus_msg(&c->runner, &env, body), AN_OK);
    }
}

void
cast_answer_raw(struct cast *c, unsigned which, const uint8_t *data, size_t len)
{
    struct ask *ask = ask_find(c, which);

    if (ask != NULL) {
        ask_end(c, ask, cast_bus_msg(data, len), AN_OK);
    }
}

void
cast_answer_none(struct cast *c, unsigned which, enum an_err err)
{
    struct ask *ask = ask_find(c, which);

    if (ask != NULL) {
        ask_end(c, ask, NULL, err);
    }
}

/* A router that took a gate's sessions is heard by it. */
static void
say_something(struct cast *c, uint16_t router, uint64_t incarnation)
{
    Anser__Bus__Deliver sign = ANSER__BUS__DELIVER__INIT;
    uint8_t bytes[16];

    sign.incarnation = incarnation;
    cast_request(c, AN_KIND_DELIVER, AN_ROLE_ROUTER + router * (unsigned)AN_ROLE_COUNT,
                 bytes, anser__bus__deliver__pack(&sign, bytes));
}

void
cast_befriend(struct cast *c, unsigned which)
{
    const struct ask *ask = &c->asks[c->ask_count == 0 ? 0 : which % c->ask_count];
    const Anser__Bus__Sessions *sessions =
        c->ask_count > 0 && ask->e.kind == AN_KIND_SESSIONS
            ? (const Anser__Bus__Sessions *)ask->body
            : NULL;
    uint64_t deaf = sessions != NULL && sessions->deaf ? sessions->incarnation : 0;
    uint16_t router = c->ask_count > 0 ? ask->e.to.index : 0;
    uint8_t *bytes = NULL;
    size_t len;

    if (c->ask_count > 0) {
        len = friend_answer(&bytes, ask->e.kind, ask->body);
        cast_answer(c, which, AN_OK, bytes, len);
        free(bytes);
    }
    if (deaf != 0) {
        say_something(c, router, deaf);
    }
}

void
cast_words(struct cast *c, const uint8_t *words, size_t len)
{
    asked_words(&c->runner, words, len);
}

void
cast_hop(struct cast *c, uint64_t trace, uint64_t message_id)
{
    struct an_hop_note note = {.trace = trace, .message_id = message_id};

    note.hop = (uint8_t)(trace % AN_HOP_COUNT);
    ring_add(&c->inst.ring, &note, 1);
}

void
cast_conn(struct cast *c, enum an_kind kind, uint64_t conn)
{
    local(c, kind, 0, NULL, conn);
}

void
cast_stop(struct cast *c)
{
    local(c, AN_KIND_STOP, 0, NULL, 0);
}

void
cast_advance(struct cast *c, uint64_t ms)
{
    unsigned count = c->timer_count;

    c->inst.now.mono_ms += ms;
    c->inst.now.wall_ms += ms;
    for (unsigned i = 0; i < count; i++) { /* new ones wait for the next time */
        struct due due = c->timers[i];

        if (due.at_ms <= c->inst.now.mono_ms) {
            c->timers[i] = c->timers[--c->timer_count];
            count = i < count && c->timer_count < count ? c->timer_count : count;
            i--;
            local(c, AN_KIND_TIMER, due.tag, NULL, 0);
        }
    }
}

/* ------------------------------------------------------------------ life */

static void
topology_make(void)
{
    an_topology_single(&topology);
    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        topology.count[role] = 2;
    }
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        uint16_t half = slot >= AN_SLOTS / 2;

        topology.slot_sequencer[slot] = topology.slot_store[slot] = half;
        topology.slot_router[slot] = half;
        topology.slot_standby[slot] = !half;
    }
}

static void
fatal(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
    abort(); /* nothing of this disk fails */
}

static struct an_actor *
store_open(struct store_files *files, const char *dir)
{
    struct store_cfg cfg = {.topology = &topology, .seed = 1};
    struct an_actor *actor = NULL;
    char why[256];

    cfg.engine.kind = ENGINE_MEMORY;
    cfg.engine.cluster_id = "fuzz";
    cfg.engine.log_segment_bytes = SEGMENT_LEN;
    cfg.engine.files = files;
    cfg.engine.dir = dir;
    cfg.engine.host.fatal = fatal;
    return store_create(&actor, &cfg, why, sizeof(why)) == AN_OK ? actor : NULL;
}

static struct an_actor *
actor_open(struct cast *c, enum an_role role)
{
    struct an_actor *actor = NULL;
    enum an_err err = AN_OK;

    switch (role) {
    case AN_ROLE_GATE:
        err = gate_create(
            &actor, &(struct gate_cfg){.topology = &topology, .keys = &keys, .seed = 1});
        break;
    case AN_ROLE_ROUTER:
        err =
            router_create(&actor, &(struct router_cfg){.topology = &topology, .seed = 1});
        break;
    case AN_ROLE_SEQUENCER:
        err = sequencer_create(&actor,
                               &(struct sequencer_cfg){.topology = &topology, .seed = 1});
        break;
    case AN_ROLE_STORE:
        c->sim = files_sim_create(1);
        actor = store_open(files_sim_table(c->sim), "/fuzz");
        break;
    case AN_ROLE_IDGEN:
        err = idgen_create(&actor, &(struct idgen_cfg){.topology = &topology, .seed = 1});
        break;
    default:
        err = api_create(&actor, &(struct api_cfg){.topology = &topology, .seed = 1});
        break;
    }
    assert(err == AN_OK && actor != NULL);
    return actor;
}

static struct cast *
begin(struct cast *c, struct an_actor *actor, enum an_role role)
{
    c->inst.actor = actor;
    c->inst.runner = &c->runner;
    c->only = &c->inst;
    c->runner.instances = &c->only;
    c->runner.instance_count = 1;
    c->peers = &c->shown;
    c->shown.link.to = (struct an_addr){AN_ROLE_STORE, 1};
    snprintf(c->shown.link.url, sizeof(c->shown.link.url), "ipc:///run/store-1");
    c->inst.peers = &c->peers;
    c->inst.peer_count = 1;
    c->inst.started = true;
    c->inst.addr = (struct an_addr){(uint8_t)role, 0};
    snprintf(c->inst.who, sizeof(c->inst.who), "%s/0", an_role_name(role));
    c->inst.now = (struct an_now){100000, WALL_S * 1000ull};
    c->inst.out = (struct an_outbox){.watched = true, .traced = true};
    pthread_mutex_init(&c->inst.inbox.lock, NULL);
    pthread_mutex_init(&c->runner.lock, NULL);
    cast_bus_begin(&c->bus, &c->inst, step, c);
    c->runner.cfg.topology = &topology;
    c->runner.cluster = an_cluster_digest("fuzz");
    c->runner.stores = an_topology_digest(&topology);
    if (!ring_open(&c->inst.ring)) {
        abort();
    }
    local(c, AN_KIND_START, 0, NULL, 0);
    for (unsigned round = 0; round < 8; round++) {
        cast_settle(c);
        while (c->ask_count > 0) {
            cast_befriend(c, 0);
        }
    }
    return c;
}

static struct cast *
fresh(void)
{
    struct cast *c = calloc(1, sizeof(*c));

    assert(c != NULL);
    current = c;
    if (topology.count[AN_ROLE_GATE] == 0) {
        topology_make();
    }
    return c;
}

struct cast *
cast_create(enum an_role role)
{
    struct cast *c = fresh();

    return begin(c, actor_open(c, role), role);
}

struct cast *
cast_create_store(struct store_files *files, const char *dir)
{
    struct cast *c = fresh();
    struct an_actor *actor = store_open(files, dir);

    if (actor == NULL) {
        free(c);
        return NULL;
    }
    return begin(c, actor, AN_ROLE_STORE);
}

void
cast_destroy(struct cast *c)
{
    c->inst.actor->ops->destroy(c->inst.actor); /* with the requests it holds */
    msgs_fini(&c->inst);
    cast_bus_end(&c->bus);
    while (c->ask_count > 0) {
        ask_forget(c, 0);
    }
    an_outbox_fini(&c->inst.out);
    ring_close(&c->inst.ring);
    pthread_mutex_destroy(&c->inst.inbox.lock);
    pthread_mutex_destroy(&c->runner.lock);
    if (c->sim != NULL) {
        files_sim_destroy(c->sim);
    }
    free(c);
    current = NULL;
}
