#include "tests/actors/harness.h"
#include "core/limits.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_LIMIT = 8 * 1024 * 1024 };

struct timer {
    uint64_t at_mono_ms;
    uint64_t tag;
};

struct harness {
    struct an_actor *actor;
    struct an_now now;
    struct an_outbox out;
    struct harness_effect **effects; /* oldest first */
    size_t count, cap;
    struct timer *timers;
    size_t timer_count, timer_cap;
    struct an_job **jobs;
    size_t job_count, job_cap;
    size_t live; /* messages fed and not released yet */
    uint64_t last_request;
    struct an_arena arena;                 /* bodies of frames */
    struct an_hop_note hops[AN_HOP_COUNT]; /* the newest of each */
    bool hopped[AN_HOP_COUNT];
};

static void *
grown(void *items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap) {
        return items;
    }
    *cap = *cap == 0 ? 64 : *cap * 2;
    items = realloc(items, *cap * size);
    assert(items != NULL);
    return items;
}

/* ------------------------------------------------------------------ life */

struct harness *
harness_create(struct an_actor *actor)
{
    struct harness *h = calloc(1, sizeof(*h));

    assert(h != NULL);
    h->actor = actor;
    h->now = (struct an_now){.mono_ms = 1000000, .wall_ms = 1795219200000};
    h->out.traced = true;
    an_arena_init(&h->arena, 4 * ARENA_LIMIT);
    return h;
}

static void
effect_free(struct harness_effect *effect)
{
    protobuf_c_message_free_unpacked(effect->body, NULL);
    free(effect->bytes);
    free(effect);
}

void
harness_destroy(struct harness *h)
{
    h->actor->ops->destroy(h->actor);
    assert(h->live == 0); /* else the actor leaks messages */
    for (size_t i = 0; i < h->count; i++) {
        effect_free(h->effects[i]);
    }
    an_arena_fini(&h->arena);
    an_outbox_fini(&h->out);
    free(h->effects);
    free(h->timers);
    free(h->jobs);
    free(h);
}

struct an_actor *
harness_actor(struct harness *h)
{
    return h->actor;
}

/* ------------------------------------------------------------------ stepping */

static void
collect_one(struct harness *h, const struct an_effect *e)
{
    struct harness_effect *effect = calloc(1, sizeof(*effect));
    const struct an_kind_row *row = an_kind_row(e->kind);

    assert(effect != NULL);
    effect->e = *e;
    effect->bytes = malloc(e->len + 1);
    assert(effect->bytes != NULL);
    if (e->len > 0) {
        memcpy(effect->bytes, h->out.bytes + e->offset, e->len);
    }
    effect->bytes[e->len] = 0;
    effect->text = (const char *)effect->bytes;
    if (e->type == AN_EFFECT_ASK || e->type == AN_EFFECT_PUBLISH ||
        (e->type == AN_EFFECT_ANSWER && e->err == AN_OK)) {
        effect->body = protobuf_c_message_unpack(row->body, NULL, e->len, effect->bytes);
        assert(effect->body != NULL);
    }
    if (e->type == AN_EFFECT_ANSWER) {
        assert(e->reply_to_len == sizeof(effect->request));
        memcpy(&effect->request, e->reply_to, sizeof(effect->request));
    }
    if (e->type == AN_EFFECT_CONN_SEND) {
        enum an_frame_state state =
            an_frame_get(&effect->frame, effect->bytes, e->len, AN_BUS_MSG_LEN_MAX);
        assert(state == AN_FRAME_OK);
        assert(effect->frame.body_len == e->len - AN_FRAME_HEADER_LEN);
    }
    h->effects = grown(h->effects, &h->cap, h->count, sizeof(struct harness_effect *));
    h->effects[h->count++] = effect;
}

static void
collect(struct harness *h)
{
    for (size_t i = 0; i < h->out.count; i++) {
        const struct an_effect *e = &h->out.effects[i];

        if (e->type == AN_EFFECT_TIMER) {
            h->timers =
                grown(h->timers, &h->timer_cap, h->timer_count, sizeof(struct timer));
            h->timers[h->timer_count++] = (struct timer){e->at_mono_ms, e->tag};
        } else if (e->type == AN_EFFECT_OFFLOAD) {
            h->jobs = grown(h->jobs, &h->job_cap, h->job_count, sizeof(struct an_job *));
            h->jobs[h->job_count++] = e->job;
        } else {
            collect_one(h, e);
        }
    }
    for (size_t i = 0; i < h->out.hop_count; i++) {
        h->hops[h->out.hops[i].hop] = h->out.hops[i];
        h->hopped[h->out.hops[i].hop] = true;
    }
    an_outbox_clear(&h->out);
}

static void
recycle(void *owner, struct an_msg *msg)
{
    struct harness *h = owner;

    h->live--;
    an_arena_fini(&msg->arena);
    free(msg);
}

static struct an_msg *
message(struct harness *h, unsigned kind)
{
    struct an_msg *msg = an_msg_create(ARENA_LIMIT);

    assert(msg != NULL);
    msg->kind = (uint16_t)kind;
    msg->owner = h;
    msg->recycle = recycle;
    h->live++;
    return msg;
}

static void
step(struct harness *h, struct an_msg *msg)
{
    h->actor->ops->step(h->actor, msg, h->now, &h->out);
    an_msg_release(msg);
    collect(h);
}

static void
unpack(struct an_msg *msg, const ProtobufCMessage *body)
{
    size_t len = protobuf_c_message_get_packed_size(body);
    uint8_t *packed = malloc(len + 1);
    enum an_err err;

    assert(packed != NULL);
    protobuf_c_message_pack(body, packed);
    err = an_msg_unpack(msg, packed, len);
    assert(err == AN_OK);
    free(packed);
}

void
harness_start(struct harness *h)
{
    step(h, message(h, AN_KIND_START));
}

void
harness_stop(struct harness *h)
{
    step(h, message(h, AN_KIND_STOP));
}

void
harness_drain(struct harness *h)
{
    h->actor->ops->drained(h->actor, h->now, &h->out);
    collect(h);
}

uint64_t
harness_request_budget(struct harness *h, struct an_addr from, enum an_kind kind,
                       const ProtobufCMessage *body, uint32_t budget_ms)
{
    struct an_msg *msg = message(h, kind);
    uint64_t number = ++h->last_request;

    msg->request = true;
    msg->from = from;
    msg->trace = number;
    msg->deadline_mono_ms = h->now.mono_ms + budget_ms;
    msg->reply_to_len = sizeof(number);
    memcpy(msg->reply_to, &number, sizeof(number));
    unpack(msg, body);
    step(h, msg);
    return number;
}

uint64_t
harness_request(struct harness *h, struct an_addr from, enum an_kind kind,
                const ProtobufCMessage *body)
{
    return harness_request_budget(h, from, kind, body, AN_ASK_MS);
}

void
harness_publish(struct harness *h, struct an_addr from, enum an_kind kind,
                const ProtobufCMessage *body)
{
    struct an_msg *msg = message(h, kind);

    msg->from = from;
    unpack(msg, body);
    step(h, msg);
}

void
harness_answer(struct harness *h, const struct harness_effect *ask, enum an_err err,
               const ProtobufCMessage *body)
{
    const struct an_kind_row *row = an_kind_row(ask->e.kind);
    struct an_msg *msg;

    assert(ask->e.type == AN_EFFECT_ASK);
    assert(body != NULL || err != AN_OK);
    msg = message(h, row->answer);
    msg->answer = true;
    msg->err = err;
    msg->from = ask->e.to;
    msg->tag = ask->e.tag;
    msg->trace = ask->e.trace;
    if (body != NULL) {
        assert(body->descriptor == an_kind_row(row->answer)->body);
        unpack(msg, body);
    }
    step(h, msg);
}

void
harness_run_job(struct harness *h)
{
    struct an_msg *msg = message(h, AN_KIND_JOB_DONE);
    struct an_job *job = h->jobs[0];

    assert(h->job_count > 0);
    memmove(h->jobs, h->jobs + 1, --h->job_count * sizeof(struct an_job *));
    job->run(job);
    msg->job = job;
    step(h, msg);
}

void
harness_run_jobs(struct harness *h)
{
    while (h->job_count > 0) {
        harness_run_job(h);
    }
}

/* ------------------------------------------------------------------ connections */

void
harness_conn(struct harness *h, enum an_kind kind, uint64_t conn)
{
    struct an_msg *msg = message(h, kind);

    msg->conn = conn;
    step(h, msg);
}

void
harness_http(struct harness *h, const struct an_http_request *request)
{
    struct an_msg *msg = message(h, AN_KIND_HTTP);

    msg->http = request;
    step(h, msg);
}

void
harness_conn_from(struct harness *h, uint64_t conn, const char *address)
{
    struct an_msg *msg = message(h, AN_KIND_CONN_OPEN);
    struct an_nets one;
    bool good = an_nets_parse(&one, address);

    assert(good && one.count == 1);
    msg->conn = conn;
    memcpy(msg->address, one.net[0].address, AN_ADDRESS_LEN);
    step(h, msg);
}

void
harness_conn_bad(struct harness *h, uint64_t conn, enum an_err err)
{
    struct an_msg *msg = message(h, AN_KIND_CONN_BAD);

    msg->conn = conn;
    msg->err = err;
    step(h, msg);
}

void
harness_conn_output(struct harness *h, uint64_t conn, uint64_t output_bytes)
{
    struct an_msg *msg = message(h, AN_KIND_CONN_OUTPUT);

    msg->conn = conn;
    msg->output_bytes = output_bytes;
    step(h, msg);
}

void
harness_conn_frame_raw(struct harness *h, uint64_t conn, const struct an_frame *frame,
                       const uint8_t *body, size_t len)
{
    struct an_msg *msg = message(h, AN_KIND_CONN_FRAME);

    msg->conn = conn;
    msg->frame = *frame;
    msg->frame.body_len = (uint32_t)len;
    msg->frame_body = an_arena_dup(&msg->arena, body, len);
    assert(msg->frame_body != NULL);
    step(h, msg);
}

void
harness_conn_frame(struct harness *h, uint64_t conn, uint16_t command, uint32_t request,
                   const ProtobufCMessage *body)
{
    struct an_frame frame = {
        .codec = AN_CODEC_PROTOBUF, .command = command, .request = request};
    size_t len = protobuf_c_message_get_packed_size(body);
    uint8_t *packed = malloc(len + 1);

    assert(packed != NULL);
    protobuf_c_message_pack(body, packed);
    harness_conn_frame_raw(h, conn, &frame, packed, len);
    free(packed);
}

/* ------------------------------------------------------------------ time */

struct an_now
harness_now(const struct harness *h)
{
    return h->now;
}

void
harness_wall(struct harness *h, int64_t delta_ms)
{
    h->now.wall_ms += (uint64_t)delta_ms;
}

static void
move_to(struct harness *h, uint64_t mono_ms)
{
    if (mono_ms > h->now.mono_ms) {
        h->now.wall_ms += mono_ms - h->now.mono_ms;
        h->now.mono_ms = mono_ms;
    }
}

void
harness_advance(struct harness *h, uint64_t ms)
{
    uint64_t end = h->now.mono_ms + ms;

    for (;;) {
        size_t first = h->timer_count;
        struct an_msg *msg;

        for (size_t i = 0; i < h->timer_count; i++) {
            if (h->timers[i].at_mono_ms <= end &&
                (first == h->timer_count ||
                 h->timers[i].at_mono_ms < h->timers[first].at_mono_ms)) {
                first = i;
            }
        }
        if (first == h->timer_count) {
            break;
        }
        move_to(h, h->timers[first].at_mono_ms);
        msg = message(h, AN_KIND_TIMER);
        msg->tag = h->timers[first].tag;
        memmove(&h->timers[first], &h->timers[first + 1],
                (--h->timer_count - first) * sizeof(struct timer));
        step(h, msg);
        harness_drain(h);
    }
    move_to(h, end);
}

/* ------------------------------------------------------------------ reading */

const struct harness_effect *
harness_take(struct harness *h, enum an_effect_type type)
{
    for (size_t i = 0; i < h->count; i++) {
        if (!h->effects[i]->taken && h->effects[i]->e.type == type) {
            h->effects[i]->taken = true;
            return h->effects[i];
        }
    }
    return NULL;
}

const struct harness_effect *
harness_take_ask(struct harness *h, enum an_role to, enum an_kind kind)
{
    for (size_t i = 0; i < h->count; i++) {
        struct harness_effect *effect = h->effects[i];

        if (!effect->taken && effect->e.type == AN_EFFECT_ASK &&
            effect->e.to.role == to && effect->e.kind == kind) {
            effect->taken = true;
            return effect;
        }
    }
    return NULL;
}

const struct harness_effect *
harness_take_frame(struct harness *h, uint64_t conn)
{
    for (size_t i = 0; i < h->count; i++) {
        struct harness_effect *effect = h->effects[i];

        if (!effect->taken && effect->e.type == AN_EFFECT_CONN_SEND &&
            effect->e.conn == conn) {
            effect->taken = true;
            return effect;
        }
    }
    return NULL;
}

const struct harness_effect *
harness_take_event(struct harness *h, const char *topic)
{
    size_t len = strlen(topic);

    for (size_t i = 0; i < h->count; i++) {
        struct harness_effect *effect = h->effects[i];

        if (!effect->taken && effect->e.type == AN_EFFECT_EVENT &&
            strncmp(effect->text, topic, len) == 0 && effect->text[len] == ' ') {
            effect->taken = true;
            return effect;
        }
    }
    return NULL;
}

const struct harness_effect *
harness_reply(struct harness *h, uint64_t request)
{
    for (size_t i = h->count; i > 0; i--) {
        struct harness_effect *effect = h->effects[i - 1];

        if (effect->e.type == AN_EFFECT_ANSWER && effect->request == request) {
            effect->taken = true;
            return effect;
        }
    }
    return NULL;
}

size_t
harness_count(const struct harness *h, enum an_effect_type type)
{
    size_t count = 0;

    for (size_t i = 0; i < h->count; i++) {
        count += !h->effects[i]->taken && h->effects[i]->e.type == type;
    }
    return count;
}

const void *
harness_body(const struct harness_effect *effect)
{
    assert(effect != NULL);
    assert(effect->body != NULL);
    return effect->body;
}

const void *
harness_frame_body(struct harness *h, const struct harness_effect *effect,
                   const ProtobufCMessageDescriptor *descriptor)
{
    const void *body;

    assert(effect != NULL);
    assert(effect->e.type == AN_EFFECT_CONN_SEND);
    body = protobuf_c_message_unpack(descriptor, an_arena_pb(&h->arena),
                                     effect->frame.body_len,
                                     effect->bytes + AN_FRAME_HEADER_LEN);
    assert(body != NULL);
    return body;
}

const struct an_hop_note *
harness_hop(const struct harness *h, enum an_hop hop)
{
    return h->hopped[hop] ? &h->hops[hop] : NULL;
}

void
harness_watch(struct harness *h, bool watched)
{
    h->out.watched = watched;
}

void
harness_forget(struct harness *h)
{
    size_t kept = 0;

    for (size_t i = 0; i < h->count; i++) {
        if (h->effects[i]->taken || h->effects[i]->e.type == AN_EFFECT_ANSWER) {
            effect_free(h->effects[i]);
        } else {
            h->effects[kept++] = h->effects[i];
        }
    }
    h->count = kept;
    an_arena_reset(&h->arena);
}

struct wanted {
    const char *name;
    bool found;
    uint64_t value;
};

static void
want(void *ctx, const char *name, const char *help, bool counter, uint64_t value)
{
    struct wanted *wanted = ctx;

    assert(help != NULL);
    (void)counter;
    if (strcmp(name, wanted->name) == 0) {
        wanted->found = true;
        wanted->value = value;
    }
}

uint64_t
harness_metric(struct harness *h, const char *name)
{
    struct wanted wanted = {.name = name};

    h->actor->ops->metrics(h->actor, want, &wanted);
    assert(wanted.found);
    return wanted.value;
}

const char *
harness_inspect(struct harness *h, const char *words)
{
    Anser__Bus__Inspect inspect = ANSER__BUS__INSPECT__INIT;
    uint8_t *copy = (uint8_t *)strdup(words);
    const struct harness_effect *reply;
    const Anser__Bus__Inspected *body;
    uint64_t request;
    char *text;

    assert(copy != NULL);
    inspect.words = (ProtobufCBinaryData){strlen(words), copy};
    request = harness_request(h, (struct an_addr){AN_ROLE_RUNNER, 0}, AN_KIND_INSPECT,
                              &inspect.base);
    free(copy);
    reply = harness_reply(h, request);
    assert(reply != NULL);
    if (reply->e.err != AN_OK) {
        return NULL;
    }
    body = harness_body(reply);
    text = an_arena_alloc(&h->arena, body->json.len + 1);
    assert(text != NULL);
    memcpy(text, body->json.data, body->json.len);
    text[body->json.len] = 0;
    return text;
}
