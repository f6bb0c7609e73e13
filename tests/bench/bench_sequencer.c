/* How long the sequencer itself takes for a send: unpacking the Submit, deciding, packing
 * the Append, unpacking its answer, packing the ack. No sockets, no disk, one thread.
 *
 *   bench_sequencer [SENDS [PER_SUBMIT [CONVERSATIONS]]]
 */
#include "actors/sequencer/sequencer.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "proto/bytes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODY_LEN = 150, SUBMITS_PER_DRAIN = 4 };

struct bench {
    struct an_topology topology;
    struct an_actor *actor;
    struct an_outbox out;
    struct an_now now;
    uint64_t sends, submits, acked, next_ms;
    size_t per_submit;
    uint64_t convs;
    uint8_t *packed;
    size_t packed_cap;
};

static uint64_t
ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct an_msg *
message(unsigned kind, const ProtobufCMessage *body, uint8_t *buf)
{
    struct an_msg *msg = an_msg_create(16u << 20);

    if (msg == NULL) {
        abort();
    }
    msg->kind = (uint16_t)kind;
    if (body != NULL) {
        size_t len = protobuf_c_message_pack(body, buf);
        if (an_msg_unpack(msg, buf, len) != AN_OK) {
            abort();
        }
    }
    return msg;
}

static void
step(struct bench *b, struct an_msg *msg)
{
    b->actor->ops->step(b->actor, msg, b->now, &b->out);
    an_msg_release(msg);
}

static void
answer(struct bench *b, const struct an_effect *ask, unsigned kind,
       const ProtobufCMessage *body)
{
    struct an_msg *msg = message(kind, body, b->packed);

    msg->answer = true;
    msg->tag = ask->tag;
    step(b, msg);
}

static void
answer_claim(struct bench *b, const struct an_effect *ask)
{
    static Anser__Bus__SlotClaim slots[AN_SLOTS];
    static Anser__Bus__SlotClaim *list[AN_SLOTS];
    Anser__Bus__Claimed done = ANSER__BUS__CLAIMED__INIT;

    for (uint32_t i = 0; i < AN_SLOTS; i++) {
        anser__bus__slot_claim__init(&slots[i]);
        slots[i].slot = i;
        slots[i].epoch = 1;
        list[i] = &slots[i];
    }
    done.slots = list;
    done.n_slots = AN_SLOTS;
    answer(b, ask, AN_KIND_CLAIMED, &done.base);
}

static void
answer_ids(struct bench *b, const struct an_effect *ask)
{
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun runs[4], *list[4];

    for (size_t i = 0; i < 4; i++) {
        anser__bus__id_run__init(&runs[i]);
        runs[i].prefix = ++b->next_ms << 22;
        runs[i].stride = 5;
        runs[i].count = 2048;
        list[i] = &runs[i];
    }
    taken.runs = list;
    taken.n_runs = 4;
    answer(b, ask, AN_KIND_TAKEN_IDS, &taken.base);
}

static void
answer_append(struct bench *b, const struct an_effect *ask, const uint8_t *bytes)
{
    static Anser__Bus__AppendedSlot slots[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__AppendedSlot *list[AN_BATCH_ITEMS_MAX];
    static uint64_t zeros[AN_BATCH_ITEMS_MAX];
    Anser__Bus__Append *append =
        anser__bus__append__unpack(NULL, ask->len, bytes + ask->offset);
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;

    for (size_t i = 0; i < append->n_slots; i++) {
        anser__bus__appended_slot__init(&slots[i]);
        slots[i].slot = append->slots[i]->slot;
        slots[i].inbox_seqs = zeros;
        slots[i].n_inbox_seqs = append->slots[i]->n_entries;
        list[i] = &slots[i];
    }
    done.slots = list;
    done.n_slots = append->n_slots;
    anser__bus__append__free_unpacked(append, NULL);
    answer(b, ask, AN_KIND_APPENDED, &done.base);
}

static void
answer_read(struct bench *b, const struct an_effect *ask, const uint8_t *bytes)
{
    static Anser__Bus__Answer answers[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__Answer *list[AN_BATCH_ITEMS_MAX];
    Anser__Bus__Read *read =
        anser__bus__read__unpack(NULL, ask->len, bytes + ask->offset);
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;

    for (size_t i = 0; i < read->n_queries; i++) {
        anser__bus__answer__init(&answers[i]);
        answers[i].err = AN_ERR_NOT_FOUND;
        list[i] = &answers[i];
    }
    done.answers = list;
    done.n_answers = read->n_queries;
    anser__bus__read__free_unpacked(read, NULL);
    answer(b, ask, AN_KIND_READ_DONE, &done.base);
}

/* Carries out effects until none are left; returns the time spent pretending to be the
 * store and the id generator, which is not the sequencer's. */
static uint64_t
carry_out(struct bench *b)
{
    uint64_t others = 0;

    while (b->out.count > 0) {
        struct an_outbox mine = b->out;

        b->out = (struct an_outbox){0};
        for (size_t i = 0; i < mine.count; i++) {
            const struct an_effect *e = &mine.effects[i];
            uint64_t before = ns();

            if (e->type == AN_EFFECT_ANSWER) {
                b->acked += b->per_submit;
                continue;
            }
            if (e->type != AN_EFFECT_ASK) {
                continue;
            }
            if (e->kind == AN_KIND_CLAIM) {
                answer_claim(b, e);
            } else if (e->kind == AN_KIND_TAKE_IDS) {
                answer_ids(b, e);
            } else if (e->kind == AN_KIND_READ) {
                answer_read(b, e, mine.bytes);
            } else {
                Anser__Bus__Append *append =
                    anser__bus__append__unpack(NULL, e->len, mine.bytes + e->offset);
                anser__bus__append__free_unpacked(append, NULL);
                others += ns() - before;
                answer_append(b, e, mine.bytes);
            }
        }
        an_outbox_fini(&mine);
        b->actor->ops->drained(b->actor, b->now, &b->out);
    }
    return others;
}

static void
submit(struct bench *b, uint64_t first)
{
    static Anser__Bus__Command commands[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__SendCommand sends[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__Command *list[AN_BATCH_ITEMS_MAX];
    static uint8_t ids[AN_BATCH_ITEMS_MAX][16], body[BODY_LEN];
    Anser__Bus__Submit in = ANSER__BUS__SUBMIT__INIT;
    struct an_msg *msg;

    for (size_t i = 0; i < b->per_submit; i++) {
        uint64_t n = first + i;
        struct an_conv conv;

        anser__bus__command__init(&commands[i]);
        anser__bus__send_command__init(&sends[i]);
        commands[i].what_case = ANSER__BUS__COMMAND__WHAT_SEND;
        commands[i].send = &sends[i];
        sends[i].sender = 1 + n % b->convs;
        sends[i].recipient = 1000000 + n % b->convs;
        conv = an_conv_direct(sends[i].sender, sends[i].recipient);
        commands[i].slot = an_slot_conv(&conv);
        sends[i].from = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "alice"};
        sends[i].to = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "bob"};
        sends[i].device = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "phone"};
        an_put_u64(ids[i], b->now.wall_ms << 16 | 0x7000 | (n & 0xfff));
        an_put_u64(ids[i] + 8, 1ull << 63 | n);
        sends[i].client_msg_id = (ProtobufCBinaryData){16, ids[i]};
        sends[i].type = 1;
        sends[i].body = (ProtobufCBinaryData){BODY_LEN, body};
        list[i] = &commands[i];
    }
    in.commands = list;
    in.n_commands = b->per_submit;
    msg = message(AN_KIND_SUBMIT, &in.base, b->packed);
    msg->request = true;
    msg->deadline_mono_ms = b->now.mono_ms + AN_ASK_MS;
    step(b, msg);
}

int
main(int argc, char **argv)
{
    struct bench b = {.now = {.mono_ms = 1000, .wall_ms = 1795219200000}};
    struct sequencer_cfg cfg = {.topology = &b.topology, .seed = 1};
    uint64_t begin, spent, others = 0;

    b.sends = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    b.per_submit = argc > 2 ? strtoull(argv[2], NULL, 10) : 64;
    b.convs = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000;
    if (b.per_submit == 0 || b.per_submit > AN_BATCH_ITEMS_MAX || b.convs == 0) {
        fputs("usage: bench_sequencer [SENDS [PER_SUBMIT [CONVERSATIONS]]]\n", stderr);
        return 2;
    }
    b.packed = malloc(AN_BUS_MSG_LEN_MAX);
    an_topology_single(&b.topology);
    if (b.packed == NULL || sequencer_create(&b.actor, &cfg) != AN_OK) {
        return 1;
    }
    step(&b, message(AN_KIND_START, NULL, NULL));
    carry_out(&b);
    begin = ns();
    for (uint64_t n = 0; n < b.sends; n += b.per_submit) {
        submit(&b, n);
        if (++b.submits % SUBMITS_PER_DRAIN == 0) {
            b.actor->ops->drained(b.actor, b.now, &b.out);
            others += carry_out(&b);
            b.now.mono_ms++;
            b.now.wall_ms++;
        }
    }
    b.actor->ops->drained(b.actor, b.now, &b.out);
    others += carry_out(&b);
    spent = ns() - begin;
    printf("%llu sends, %zu a submit, %llu conversations: %.0f ns a send "
           "(with making the Submits; the store's unpacking, %.0f ns, taken off)\n",
           (unsigned long long)b.acked, b.per_submit, (unsigned long long)b.convs,
           (double)(spent - others) / (double)b.acked, (double)others / (double)b.acked);
    b.actor->ops->destroy(b.actor);
    an_outbox_fini(&b.out);
    free(b.packed);
    return b.acked >= b.sends ? 0 : 1;
}
