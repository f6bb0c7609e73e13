/* Messages: their pool, and how they are made of what came over the bus. Everything that
 * a peer sent is checked here, before an actor sees it. On the actor's own thread. */
#include "core/runner_nng/priv.h"
#include "proto/bus.pb-c.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ARENA_MAX = 4 * AN_BUS_MSG_LEN_MAX, /* an unpacked message is larger than packed */
    FREE_MSGS_MAX = 64,
};

/* ------------------------------------------------------------------ messages */

struct pooled {
    struct an_msg msg; /* first */
    struct pooled *before, *after, *next_free;
};

static void
pooled_free(struct instance *inst, struct pooled *pooled)
{
    if (pooled->before != NULL) {
        pooled->before->after = pooled->after;
    } else {
        inst->msgs = pooled->after;
    }
    if (pooled->after != NULL) {
        pooled->after->before = pooled->before;
    }
    an_arena_fini(&pooled->msg.arena);
    free(pooled);
}

static void
recycle(void *owner, struct an_msg *msg)
{
    struct instance *inst = owner;
    struct pooled *pooled = (struct pooled *)msg;

    if (inst->free_msg_count >= FREE_MSGS_MAX) {
        pooled_free(inst, pooled);
        return;
    }
    an_arena_reset(&msg->arena);
    pooled->next_free = inst->free_msgs;
    inst->free_msgs = pooled;
    inst->free_msg_count++;
}

static struct pooled *
pooled_create(struct instance *inst)
{
    struct pooled *pooled = calloc(1, sizeof(*pooled));

    if (pooled == NULL) {
        fputs("anser: out of memory for a message\n", stderr);
        abort();
    }
    an_arena_init(&pooled->msg.arena, ARENA_MAX);
    pooled->after = inst->msgs;
    if (inst->msgs != NULL) {
        inst->msgs->before = pooled;
    }
    inst->msgs = pooled;
    return pooled;
}

struct an_msg *
msg_take(struct instance *inst, unsigned kind)
{
    struct pooled *pooled = inst->free_msgs;
    struct an_msg *msg;

    if (pooled != NULL) {
        inst->free_msgs = pooled->next_free;
        inst->free_msg_count--;
        memset(&pooled->msg, 0, offsetof(struct an_msg, arena));
        pooled->msg.answered = false;
        pooled->msg.reply_to_len = 0;
    } else {
        pooled = pooled_create(inst);
    }
    msg = &pooled->msg;
    msg->kind = (uint16_t)kind;
    msg->refs = 1;
    msg->owner = inst;
    msg->recycle = recycle;
    msg->next = NULL;
    return msg;
}

static void
set_reply_to(struct an_msg *msg, enum reply_type type, void *waiter)
{
    const Anser__Bus__Inspect *inspect = (const Anser__Bus__Inspect *)msg->body;
    bool help = msg->kind == AN_KIND_INSPECT && inspect->words.len == 4 &&
                memcmp(inspect->words.data, "help", 4) == 0;
    struct reply_to reply = {type, help, waiter};

    memcpy(msg->reply_to, &reply, sizeof(reply));
    msg->reply_to_len = sizeof(reply);
}

/* ------------------------------------------------------------------ bad messages */

/* May it be said now? At most one line a second; the others are counted. */
static bool
say(struct instance *inst, struct quiet *quiet)
{
    if (quiet->said_ms != 0 && inst->now.mono_ms - quiet->said_ms < LOG_GAP_MS) {
        quiet->unsaid++;
        return false;
    }
    quiet->said_ms = inst->now.mono_ms;
    return true;
}

static void
complain(struct instance *inst, const struct an_envelope *env, const char *why)
{
    atomic_fetch_add(&inst->counters.refused_malformed, 1);
    if (!say(inst, &inst->malformed)) {
        return;
    }
    an_log(AN_LOG_WARN, inst->who,
           "bus message refused: %s kind=%s from=%s/%u more_like_it=%llu", why,
           an_kind_name(env->kind), an_role_name(env->from.role),
           (unsigned)env->from.index, (unsigned long long)inst->malformed.unsaid);
    inst->malformed.unsaid = 0;
}

/* Is it one of ours, with the same idea of who has what? */
static bool
same_cluster(const struct instance *inst, const struct an_envelope *env)
{
    return env->cluster == inst->runner->cluster && env->stores == inst->runner->stores;
}

/* A peer of another cluster, or with another map: what: what became of its message. */
static void
complain_stranger(struct instance *inst, const struct an_envelope *env, const char *what)
{
    const struct an_runner *runner = inst->runner;
    bool other_cluster = env->cluster != runner->cluster;

    atomic_fetch_add(&inst->counters.refused_cluster, 1);
    if (!say(inst, &inst->strangers)) {
        return;
    }
    an_log(AN_LOG_ERROR, inst->who,
           "%s: %s/%u %s kind=%s theirs=%016llx ours=%016llx more_like_it=%llu", what,
           an_role_name(env->from.role), (unsigned)env->from.index,
           other_cluster ? "is of another cluster (`cluster:` of its file)"
                         : "has other stores for the slots (`slots:` of stores)",
           an_kind_name(env->kind),
           (unsigned long long)(other_cluster ? env->cluster : env->stores),
           (unsigned long long)(other_cluster ? runner->cluster : runner->stores),
           (unsigned long long)inst->strangers.unsaid);
    inst->strangers.unsaid = 0;
}

static const char *
not_allowed(const struct instance *inst, const struct an_envelope *env, bool request)
{
    const struct an_kind_row *row = an_kind_row(env->kind);
    const struct an_topology *topology = inst->runner->cfg.topology;

    if (row == NULL) {
        return "the kind is not known";
    }
    /* A hint is for a role; answers, which are for whoever asked, come to asks alone. */
    if (env->answer || (row->answer != AN_KIND_NONE) != request ||
        (!request && row->receiver == AN_ROLE_NONE)) {
        return "the kind does not come this way";
    }
    if (row->receiver != AN_ROLE_NONE && row->receiver != inst->addr.role) {
        return "the kind is for another role";
    }
    if ((row->senders & 1u << env->from.role) == 0) {
        return "the sender's role may not send this";
    }
    if (env->from.role != AN_ROLE_RUNNER &&
        env->from.index >= topology->count[env->from.role]) {
        return "the topology has no such sender";
    }
    return NULL;
}

/* Envelope, rights and body of a request or a hint. AN_ERR_ENVELOPE, AN_ERR_CLUSTER: why
 * was said; *out is a message to be released only when nothing is wrong. */
static enum an_err
open_msg(struct instance *inst, nng_msg *raw, bool request, struct an_envelope *env,
         struct an_msg **out)
{
    const uint8_t *data = nng_msg_body(raw);
    size_t len = nng_msg_len(raw);
    const char *why = NULL;
    struct an_msg *msg;

    if (len > AN_BUS_MSG_LEN_MAX) {
        why = "larger than the limit"; /* inproc does not look at RECVMAXSZ */
    } else if (an_envelope_get(env, data, len, &why)) {
        if (!same_cluster(inst, env)) {
            complain_stranger(inst, env, request ? "request refused" : "hint dropped");
            return AN_ERR_CLUSTER;
        }
        why = not_allowed(inst, env, request);
    }
    if (why != NULL) {
        complain(inst, env, why);
        return AN_ERR_ENVELOPE;
    }
    msg = msg_take(inst, env->kind);
    msg->from = env->from;
    msg->trace = env->trace;
    if (an_msg_unpack(msg, data + AN_ENVELOPE_LEN, env->body_len) != AN_OK) {
        an_msg_release(msg);
        complain(inst, env, "the body is not a valid message of its kind");
        return AN_ERR_ENVELOPE;
    }
    *out = msg;
    return AN_OK;
}

/* ------------------------------------------------------------------ parcels to messages
 */

/* Of the mailbox, or of this process. */
static void
reply(struct instance *inst, enum reply_type type, void *waiter, nng_msg *msg)
{
    if (msg == NULL) {
        abort(); /* as pooled_create */
    }
    if (type == REPLY_LOCAL) {
        local_answer(inst, waiter, msg);
    } else {
        mailbox_answer(waiter, msg);
    }
}

static void
refuse(struct instance *inst, enum reply_type type, void *waiter,
       const struct an_envelope *ask, enum an_err err)
{
    const struct an_kind_row *row = an_kind_row(ask->kind);
    struct an_envelope env = {.answer = true,
                              .kind = row == NULL ? 0 : row->answer,
                              .err = (uint16_t)err,
                              .trace = ask->trace,
                              .from = inst->addr};

    reply(inst, type, waiter, bus_msg(inst->runner, &env, NULL));
}

/* Takes raw; NULL: it was refused. */
static struct an_msg *
from_request(struct instance *inst, enum reply_type type, void *waiter, nng_msg *raw,
             uint64_t received_ms)
{
    struct an_envelope env = {0};
    struct an_msg *msg = NULL;
    enum an_err err = open_msg(inst, raw, true, &env, &msg);

    nng_msg_free(raw);
    atomic_fetch_add(&inst->counters.requests, 1);
    pthread_mutex_lock(&inst->inbox.lock);
    inst->inbox.requests--;
    pthread_mutex_unlock(&inst->inbox.lock);
    if (err != AN_OK) {
        refuse(inst, type, waiter, &env, err);
        return NULL;
    }
    msg->request = true;
    msg->deadline_mono_ms = received_ms + env.budget_ms;
    set_reply_to(msg, type, waiter);
    return msg;
}

static struct an_msg *
from_held(struct instance *inst, struct held *held)
{
    nng_msg *raw = held->msg;

    held->msg = NULL;
    return from_request(inst, REPLY_HELD, held, raw, held->received_ms);
}

static struct an_msg *
from_local(struct instance *inst, struct local *local)
{
    uint64_t received_ms;
    nng_msg *raw = local_request(local, &received_ms);

    local_hold(inst, local);
    return from_request(inst, REPLY_LOCAL, local, raw, received_ms);
}

static const char *
open_answer(struct call *call, struct an_envelope *env, struct an_msg *msg)
{
    const uint8_t *data = nng_msg_body(call->msg);
    size_t len = nng_msg_len(call->msg);
    const char *why;

    if (len > AN_BUS_MSG_LEN_MAX) {
        return "larger than the limit";
    }
    if (!an_envelope_get(env, data, len, &why)) {
        return why;
    }
    if (!env->answer || env->from.role != call->peer->link.to.role ||
        env->from.index != call->peer->link.to.index) {
        return "not an answer of the one asked";
    }
    if (!same_cluster(call->peer->inst, env)) {
        return env->err == AN_ERR_CLUSTER ? NULL : "a stranger's answer";
    }
    if (env->err == AN_OK && env->kind != msg->kind) {
        return "an answer to another kind";
    }
    if ((env->err == AN_OK || env->body_len > 0) &&
        an_msg_unpack(msg, data + AN_ENVELOPE_LEN, env->body_len) != AN_OK) {
        return "the answer's body is not valid";
    }
    return NULL;
}

static struct an_msg *
from_answer(struct instance *inst, struct call *call)
{
    struct an_msg *msg = msg_take(inst, an_kind_row(call->kind)->answer);
    struct an_envelope env = {.kind = call->kind, .from = call->peer->link.to};
    const char *why = NULL;

    msg->answer = true;
    msg->from = call->peer->link.to;
    msg->tag = call->tag;
    msg->trace = call->trace;
    msg->err = call->err;
    if (call->err == AN_OK) {
        why = open_answer(call, &env, msg);
        msg->err = an_err_known(env.err) ? (enum an_err)env.err : AN_ERR_INTERNAL;
    }
    if (why == NULL && msg->err == AN_ERR_CLUSTER) {
        complain_stranger(inst, &env, "refused by the one asked");
        msg->err = AN_ERR_UNAVAILABLE; /* it was not handled */
    }
    if (why != NULL) {
        complain(inst, &env, why);
        msg->err = AN_ERR_TIMEOUT; /* handled or not: nobody knows */
        msg->body = NULL;
    }
    if (call->err == AN_ERR_TIMEOUT) {
        atomic_fetch_add(&inst->counters.asks_timeout, 1);
    } else if (call->err == AN_ERR_UNAVAILABLE) {
        atomic_fetch_add(&inst->counters.asks_unavailable, 1);
    }
    call_free(call);
    return msg;
}

static struct an_msg *
from_hint(struct instance *inst, struct hint *hint)
{
    struct an_envelope env = {0};
    struct an_msg *msg = NULL;

    /* What is wrong was said there; a hint is not answered. */
    if (open_msg(inst, hint->msg, false, &env, &msg) != AN_OK) {
        msg = NULL;
    }
    atomic_fetch_add(&inst->counters.hints_received, 1);
    pthread_mutex_lock(&inst->inbox.lock);
    inst->inbox.hint_bytes -= nng_msg_len(hint->msg);
    pthread_mutex_unlock(&inst->inbox.lock);
    nng_msg_free(hint->msg);
    free(hint);
    return msg;
}

static struct an_msg *
from_question(struct instance *inst, struct question *question)
{
    struct an_msg *msg = msg_take(inst, AN_KIND_INSPECT);
    const char *words = question_words(question);
    Anser__Bus__Inspect *body = an_arena_alloc(&msg->arena, sizeof(Anser__Bus__Inspect));

    if (body == NULL) {
        abort(); /* as pooled_create */
    }
    anser__bus__inspect__init(body);
    body->words.len = strlen(words);
    body->words.data = an_arena_dup(&msg->arena, words, body->words.len);
    msg->body = &body->base;
    msg->from = (struct an_addr){AN_ROLE_RUNNER, 0};
    msg->request = true;
    msg->deadline_mono_ms = inst->now.mono_ms + INSPECT_MS;
    set_reply_to(msg, REPLY_QUESTION, question);
    return msg;
}

struct an_msg *
msg_from_parcel(struct instance *inst, struct parcel *parcel)
{
    struct call *call;

    switch (parcel->type) {
    case PARCEL_REQUEST:
        return from_held(inst, (struct held *)parcel);
    case PARCEL_LOCAL_ASK:
        return from_local(inst, (struct local *)parcel);
    case PARCEL_ANSWER:
        return from_answer(inst, (struct call *)parcel);
    case PARCEL_LOCAL_ANSWER:
        call = local_answered(parcel);
        return call == NULL ? NULL : from_answer(inst, call);
    case PARCEL_PUBLISHED:
        return from_hint(inst, (struct hint *)parcel);
    case PARCEL_WORDS:
        return from_question(inst, (struct question *)parcel);
    case PARCEL_COLLECT:
        gather_add(parcel, inst);
        return NULL;
    }
    return NULL;
}

void
parcel_drop(struct parcel *parcel)
{
    switch (parcel->type) {
    case PARCEL_REQUEST: /* the mailbox frees it */
    case PARCEL_ANSWER:  /* the peer frees it */
    case PARCEL_WORDS:   /* the inspection frees it */
        return;
    case PARCEL_LOCAL_ASK:
    case PARCEL_LOCAL_ANSWER:
        local_drop(parcel);
        return;
    case PARCEL_PUBLISHED:
        nng_msg_free(((struct hint *)parcel)->msg);
        free(parcel);
        return;
    case PARCEL_COLLECT:
        gather_add(parcel, NULL);
        return;
    }
}

void
msgs_fini(struct instance *inst)
{
    while (inst->msgs != NULL) {
        pooled_free(inst, inst->msgs);
    }
}
