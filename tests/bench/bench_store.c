/* What the store actor and its engine take for a message: unpacking the Append, checking,
 * building rows, the log's write and sync, the answer and the pushes. One thread; the
 * background applies are run between appends and counted apart.
 *
 *   bench_store DIR [MESSAGES [PER_APPEND [USERS]]]
 *
 * DIR must exist and be empty. Prints CPU and wall time of the actor's own thread. */
#include "actors/store/store.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "proto/bytes.h"
#include "store/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODY_LEN = 150, MSG_ARENA = 64 << 20 };

struct pair {
    struct an_conv conv;
    uint16_t slot;
    uint64_t seq;
    char from[24], to[24];
};

struct bench {
    struct an_topology topology;
    struct an_actor *actor;
    struct an_outbox out;
    struct an_now now;
    uint64_t epochs[AN_SLOTS];
    struct pair *pairs;
    uint64_t pair_count, next_pair;
    uint64_t sent, job_ns, feed_ns;
    uint8_t *packed;
    struct an_job *jobs;
    uint64_t push_tag;
    bool push_asked;
};

static uint64_t
ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct an_msg *
message(unsigned kind)
{
    struct an_msg *msg = an_msg_create(MSG_ARENA);

    if (msg == NULL) {
        abort();
    }
    msg->kind = (uint16_t)kind;
    return msg;
}

static void
unpack(struct bench *b, struct an_msg *msg, const ProtobufCMessage *body)
{
    size_t len = protobuf_c_message_get_packed_size(body);

    b->packed = realloc(b->packed, len + 1);
    if (b->packed == NULL) {
        abort();
    }
    protobuf_c_message_pack(body, b->packed);
    if (an_msg_unpack(msg, b->packed, len) != AN_OK) {
        abort();
    }
}

static void take_effects(struct bench *b);

static void
appended(const struct bench *b, const struct an_effect *e)
{
    Anser__Bus__Appended *body =
        anser__bus__appended__unpack(NULL, e->len, b->out.bytes + e->offset);

    for (size_t i = 0; body != NULL && i < body->n_slots; i++) {
        if (body->slots[i]->err != AN_OK) {
            fprintf(stderr, "slot refused: %s\n", an_err_name(body->slots[i]->err));
            abort();
        }
    }
    anser__bus__appended__free_unpacked(body, NULL);
}

static void
step(struct bench *b, struct an_msg *msg)
{
    b->actor->ops->step(b->actor, msg, b->now, &b->out);
    an_msg_release(msg);
    take_effects(b);
}

static void
claimed(struct bench *b, const struct an_effect *e)
{
    Anser__Bus__Claimed *body =
        anser__bus__claimed__unpack(NULL, e->len, b->out.bytes + e->offset);

    for (size_t i = 0; body != NULL && i < body->n_slots; i++) {
        b->epochs[body->slots[i]->slot] = body->slots[i]->epoch;
    }
    anser__bus__claimed__free_unpacked(body, NULL);
}

static void
take_effects(struct bench *b)
{
    for (size_t i = 0; i < b->out.count; i++) {
        const struct an_effect *e = &b->out.effects[i];

        if (e->type == AN_EFFECT_OFFLOAD) {
            e->job->next = b->jobs;
            b->jobs = e->job;
        } else if (e->type == AN_EFFECT_ASK) {
            b->push_asked = true;
            b->push_tag = e->tag;
        } else if (e->type == AN_EFFECT_ANSWER && e->kind == AN_KIND_CLAIMED) {
            claimed(b, e);
        } else if (e->type == AN_EFFECT_ANSWER && e->kind == AN_KIND_APPENDED &&
                   e->err == AN_OK) {
            appended(b, e);
        } else if (e->type == AN_EFFECT_ANSWER && e->err != AN_OK) {
            fprintf(stderr, "refused: %s\n", an_err_name(e->err));
            abort();
        }
    }
    an_outbox_clear(&b->out);
}

static void
drain(struct bench *b)
{
    b->actor->ops->drained(b->actor, b->now, &b->out);
    take_effects(b);
}

static void
settle(struct bench *b)
{
    drain(b);
    while (b->jobs != NULL || b->push_asked) {
        struct an_job *job = b->jobs;
        struct an_msg *msg;

        if (job != NULL) {
            uint64_t before = ns(CLOCK_MONOTONIC);

            b->jobs = job->next;
            job->run(job);
            b->job_ns += ns(CLOCK_MONOTONIC) - before;
            msg = message(AN_KIND_JOB_DONE);
            msg->job = job;
        } else {
            Anser__Bus__Pushed done = ANSER__BUS__PUSHED__INIT;

            b->push_asked = false;
            msg = message(AN_KIND_PUSHED);
            msg->answer = true;
            msg->tag = b->push_tag;
            unpack(b, msg, &done.base);
        }
        step(b, msg);
        drain(b);
    }
}

static struct an_msg *
request(struct bench *b, unsigned kind, const ProtobufCMessage *body)
{
    struct an_msg *msg = message(kind);

    msg->request = true;
    msg->from = (struct an_addr){AN_ROLE_SEQUENCER, 0};
    msg->deadline_mono_ms = UINT64_MAX;
    unpack(b, msg, body);
    return msg;
}

static void
claim_all(struct bench *b)
{
    Anser__Bus__Claim claim = ANSER__BUS__CLAIM__INIT;
    uint32_t slots[AN_SLOTS];

    for (uint32_t i = 0; i < AN_SLOTS; i++) {
        slots[i] = i;
    }
    claim.slots = slots;
    claim.n_slots = AN_SLOTS;
    step(b, request(b, AN_KIND_CLAIM, &claim.base));
    settle(b);
}

struct made {
    Anser__Bus__MessageEntry message;
    Anser__Bus__Entry entry;
    Anser__Bus__Entry *list;
    Anser__Bus__AppendSlot slot;
    uint8_t id[16];
};

static void
make(struct bench *b, struct made *made)
{
    static uint8_t body[BODY_LEN];
    static uint8_t hash[16];
    struct pair *pair = &b->pairs[b->next_pair++ % b->pair_count];
    uint64_t low, high;

    an_conv_users(&pair->conv, &low, &high);
    anser__bus__message_entry__init(&made->message);
    an_put_u64(made->id, b->now.wall_ms << 16 | 0x7000 | (b->sent & 0xfff));
    an_put_u64(made->id + 8, 0x8000000000000000u | b->sent);
    made->message.conversation = (ProtobufCBinaryData){AN_CONV_LEN, pair->conv.bytes};
    made->message.seq = ++pair->seq;
    made->message.message_id = ++b->sent;
    made->message.time_ms = b->now.wall_ms;
    made->message.sender = low;
    made->message.recipient = high;
    made->message.from = (ProtobufCBinaryData){strlen(pair->from), (uint8_t *)pair->from};
    made->message.to = (ProtobufCBinaryData){strlen(pair->to), (uint8_t *)pair->to};
    made->message.device = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "bench"};
    made->message.client_msg_id = (ProtobufCBinaryData){16, made->id};
    made->message.type = 1;
    made->message.body = (ProtobufCBinaryData){BODY_LEN, body};
    made->message.body_hash = (ProtobufCBinaryData){16, hash};
    anser__bus__entry__init(&made->entry);
    made->entry.what_case = ANSER__BUS__ENTRY__WHAT_MESSAGE;
    made->entry.message = &made->message;
    made->list = &made->entry;
    anser__bus__append_slot__init(&made->slot);
    made->slot.slot = pair->slot;
    made->slot.epoch = b->epochs[pair->slot];
    made->slot.entries = &made->list;
    made->slot.n_entries = 1;
}

/* Unpacking is part of it, making the request is not. */
static void
append(struct bench *b, struct made *made, Anser__Bus__AppendSlot **slots, size_t count)
{
    Anser__Bus__Append body = ANSER__BUS__APPEND__INIT;
    uint64_t before = ns(CLOCK_MONOTONIC);

    for (size_t i = 0; i < count; i++) {
        make(b, &made[i]);
        slots[i] = &made[i].slot;
    }
    body.slots = slots;
    body.n_slots = count;
    b->feed_ns += ns(CLOCK_MONOTONIC) - before;
    step(b, request(b, AN_KIND_APPEND, &body.base));
    settle(b);
}

static void
make_pairs(struct bench *b, uint64_t users)
{
    b->pair_count = users / 2;
    b->pairs = calloc(b->pair_count, sizeof(*b->pairs));
    if (b->pairs == NULL) {
        abort();
    }
    for (uint64_t i = 0; i < b->pair_count; i++) {
        struct pair *pair = &b->pairs[i];

        pair->conv = an_conv_direct(2 * i + 1, 2 * i + 2);
        pair->slot = an_slot_conv(&pair->conv);
        snprintf(pair->from, sizeof(pair->from), "u%llu", 2 * (unsigned long long)i + 1);
        snprintf(pair->to, sizeof(pair->to), "u%llu", 2 * (unsigned long long)i + 2);
    }
}

static void
fatal(void *ctx, const char *why)
{
    (void)ctx;
    fprintf(stderr, "fatal: %s\n", why);
    abort();
}

int
main(int argc, char **argv)
{
    struct bench b = {.now = {1000, 1795219200000}};
    struct store_cfg cfg = {.topology = &b.topology};
    uint64_t messages = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    size_t per_append = argc > 3 ? strtoull(argv[3], NULL, 10) : 64;
    uint64_t users = argc > 4 ? strtoull(argv[4], NULL, 10) : 200;
    struct made *made = calloc(per_append, sizeof(*made));
    Anser__Bus__AppendSlot **slots = calloc(per_append, sizeof(void *));
    char why[256] = "";
    uint64_t wall, cpu;

    if (argc < 2 || per_append == 0 || users < 2 || made == NULL || slots == NULL) {
        fprintf(stderr, "bench_store DIR [MESSAGES [PER_APPEND [USERS]]]\n");
        return 2;
    }
    an_topology_single(&b.topology);
    make_pairs(&b, users);
    cfg.engine = (struct engine_cfg){.kind = ENGINE_LMDB,
                                     .dir = argv[1],
                                     .files = store_files_posix(),
                                     .host = {.fatal = fatal},
                                     .cluster_id = "bench",
                                     .lmdb_map_bytes = 4ull << 30}; /* valgrind */
    if (store_create(&b.actor, &cfg, why, sizeof(why)) != AN_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    step(&b, message(AN_KIND_START));
    settle(&b);
    claim_all(&b);
    b.job_ns = b.feed_ns = 0;
    wall = ns(CLOCK_MONOTONIC);
    cpu = ns(CLOCK_THREAD_CPUTIME_ID);
    while (b.sent < messages) {
        b.now.mono_ms++;
        b.now.wall_ms++;
        append(&b, made, slots, per_append);
    }
    wall = ns(CLOCK_MONOTONIC) - wall;
    cpu = ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    printf("messages %llu per_append %zu users %llu: wall %.2f us/message (jobs %.2f, "
           "making requests %.2f), cpu of all %.2f us/message\n",
           (unsigned long long)b.sent, per_append, (unsigned long long)users,
           (double)wall / 1e3 / (double)b.sent, (double)b.job_ns / 1e3 / (double)b.sent,
           (double)b.feed_ns / 1e3 / (double)b.sent, (double)cpu / 1e3 / (double)b.sent);
    b.actor->ops->destroy(b.actor);
    an_outbox_fini(&b.out);
    free(b.packed);
    free(b.pairs);
    free(made);
    free(slots);
    return 0;
}
