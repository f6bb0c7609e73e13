#include "tests/sim/duel.h"
#include "actors/sequencer/sequencer.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "proto/bytes.h"
#include "tests/sim/puppet.h"
#include "tests/sim/sim_priv.h"
#include <stdlib.h>
#include <string.h>

static struct an_conv
conv_of(const ProtobufCBinaryData *key)
{
    struct an_conv conv = {.bytes = {0}};

    (void)an_conv_get(&conv, key->data, key->len);
    return conv;
}

/* ------------------------------------------------------------------ the store */

static bool
stray(struct duel *d, const struct an_msg *msg, uint64_t incarnation, uint64_t number)
{
    if (d->newest[msg->from.index].incarnation == incarnation &&
        number <= d->newest[msg->from.index].number) {
        return true;
    }
    d->newest[msg->from.index].incarnation = incarnation;
    d->newest[msg->from.index].number = number;
    return false;
}

static void
claim_one(struct duel *d, const Anser__Bus__Claim *claim, Anser__Bus__SlotClaim *slot,
          bool held)
{
    uint32_t i = slot->slot;

    if (held && d->claimer[i] != claim->incarnation) {
        d->held_refused++;
        slot->err = AN_ERR_FENCED;
        slot->epoch = d->epoch[i];
        slot->owner = d->owner[i];
        return;
    }
    if (d->epoch[i] > 0 && d->owner[i] != claim->sequencer) {
        d->changed += d->topology.slot_sequencer[i] != claim->sequencer;
        d->back += d->topology.slot_sequencer[i] == claim->sequencer;
    }
    slot->epoch = ++d->epoch[i];
    d->claimer[i] = claim->incarnation;
    d->owner[i] = (uint16_t)claim->sequencer;
    for (unsigned r = 0; r < d->row_count; r++) {
        uint64_t ms = an_get_u64(d->rows[r].id) >> 16;
        if (an_slot_conv(&d->rows[r].conv) == i && ms > slot->dedupe_high_ms) {
            slot->dedupe_high_ms = ms;
        }
    }
}

static void
store_claim(struct duel *d, struct an_msg *msg, struct an_outbox *out)
{
    static Anser__Bus__SlotClaim slots[AN_SLOTS];
    static Anser__Bus__SlotClaim *list[AN_SLOTS];
    const Anser__Bus__Claim *claim = (const Anser__Bus__Claim *)msg->body;
    Anser__Bus__Claimed done = ANSER__BUS__CLAIMED__INIT;

    if (stray(d, msg, claim->incarnation, claim->number)) {
        an_out_answer(out, msg, AN_ERR_TIMEOUT, NULL);
        return;
    }
    for (size_t i = 0; i < claim->n_slots + claim->n_held; i++) {
        bool held = i >= claim->n_slots;

        anser__bus__slot_claim__init(&slots[i]);
        slots[i].slot = held ? claim->held[i - claim->n_slots] : claim->slots[i];
        claim_one(d, claim, &slots[i], held);
        list[i] = &slots[i];
    }
    done.slots = list;
    done.n_slots = claim->n_slots + claim->n_held;
    an_out_answer(out, msg, AN_OK, &done.base);
}

static uint64_t
head_of(const struct duel *d, const struct an_conv *conv)
{
    uint64_t head = 0;

    for (unsigned i = 0; i < d->row_count; i++) {
        head += memcmp(&d->rows[i].conv, conv, sizeof(*conv)) == 0;
    }
    return head;
}

static const struct duel_row *
row_of(const struct duel *d, uint64_t sender, const uint8_t id[16])
{
    for (unsigned i = 0; i < d->row_count; i++) {
        if (d->rows[i].sender == sender && memcmp(d->rows[i].id, id, 16) == 0) {
            return &d->rows[i];
        }
    }
    return NULL;
}

/* The slot's epoch was right: so everything else has to be. */
static void
store_message(struct duel *d, const Anser__Bus__MessageEntry *in)
{
    struct duel_row *row = &d->rows[d->row_count];
    struct an_conv conv = conv_of(&in->conversation);

    if (in->seq != head_of(d, &conv) + 1) {
        sim_fail(d->sim, "seq %llu of a conversation whose head is %llu",
                 (unsigned long long)in->seq, (unsigned long long)head_of(d, &conv));
        return;
    }
    if (row_of(d, in->sender, in->client_msg_id.data) != NULL) {
        sim_fail(d->sim, "a message of %llu is stored twice",
                 (unsigned long long)in->sender);
        return;
    }
    if (d->row_count > 0 && in->time_ms == 0) {
        sim_fail(d->sim, "a message without a time");
    }
    d->row_count++;
    row->conv = conv;
    row->seq = in->seq;
    row->message_id = in->message_id;
    row->time_ms = in->time_ms;
    row->sender = in->sender;
    memcpy(row->id, in->client_msg_id.data, 16);
    memcpy(row->hash, in->body_hash.data, 16);
}

static void
append_slot(struct duel *d, const Anser__Bus__Append *append,
            const Anser__Bus__AppendSlot *in, Anser__Bus__AppendedSlot *slot)
{
    if (in->epoch != d->epoch[in->slot]) { /* the fence: nothing but the epoch */
        d->fenced++;
        slot->err = AN_ERR_FENCED;
        slot->epoch = d->epoch[in->slot];
        slot->owner = d->owner[in->slot];
        return;
    }
    if (append->incarnation != d->claimer[in->slot]) {
        sim_fail(d->sim, "slot %u is written by two in epoch %llu", in->slot,
                 (unsigned long long)in->epoch);
        return;
    }
    for (size_t i = 0; i < in->n_entries; i++) {
        store_message(d, in->entries[i]->message);
    }
}

static void
store_append(struct duel *d, struct an_msg *msg, struct an_outbox *out)
{
    static Anser__Bus__AppendedSlot slots[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__AppendedSlot *list[AN_BATCH_ITEMS_MAX];
    const Anser__Bus__Append *append = (const Anser__Bus__Append *)msg->body;
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;

    if (stray(d, msg, append->incarnation, append->number)) {
        an_out_answer(out, msg, AN_ERR_TIMEOUT, NULL);
        return;
    }
    for (size_t i = 0; i < append->n_slots; i++) {
        anser__bus__appended_slot__init(&slots[i]);
        slots[i].slot = append->slots[i]->slot;
        append_slot(d, append, append->slots[i], &slots[i]);
        list[i] = &slots[i];
    }
    done.slots = list;
    done.n_slots = append->n_slots;
    an_out_answer(out, msg, AN_OK, &done.base);
}

static void
answer_query(const struct duel *d, const Anser__Bus__Query *q, Anser__Bus__Answer *a)
{
    const struct duel_row *row;
    struct an_conv conv;

    a->err = AN_ERR_NOT_FOUND;
    if (q->what_case == ANSER__BUS__QUERY__WHAT_DEDUPE) {
        row = row_of(d, q->dedupe->sender, q->dedupe->client_msg_id.data);
        if (row != NULL) {
            a->err = AN_OK;
            a->seq = row->seq;
            a->message_id = row->message_id;
            a->time_ms = row->time_ms;
            a->body_hash = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)row->hash};
        }
        return;
    }
    conv = conv_of(&q->conversation->conversation);
    a->conversation_head = head_of(d, &conv);
    if (a->conversation_head > 0) {
        a->err = AN_OK;
    }
}

static void
store_read(struct duel *d, struct an_msg *msg, struct an_outbox *out)
{
    static Anser__Bus__Answer answers[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__Answer *list[AN_BATCH_ITEMS_MAX];
    const Anser__Bus__Read *read = (const Anser__Bus__Read *)msg->body;
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;

    for (size_t i = 0; i < read->n_queries; i++) {
        anser__bus__answer__init(&answers[i]);
        answer_query(d, read->queries[i], &answers[i]);
        list[i] = &answers[i];
    }
    done.answers = list;
    done.n_answers = read->n_queries;
    an_out_answer(out, msg, AN_OK, &done.base);
}

static void
store_step(void *ctx, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    struct duel *d = ctx;

    (void)now;
    if (msg->kind == AN_KIND_CLAIM) {
        store_claim(d, msg, out);
    } else if (msg->kind == AN_KIND_APPEND) {
        store_append(d, msg, out);
    } else if (msg->kind == AN_KIND_READ) {
        store_read(d, msg, out);
    }
}

/* ------------------------------------------------------------------ ids */

static void
idgen_step(void *ctx, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    struct duel *d = ctx;
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun run = ANSER__BUS__ID_RUN__INIT;
    Anser__Bus__IdRun *runs = &run;

    (void)now;
    if (msg->kind != AN_KIND_TAKE_IDS) {
        return;
    }
    run.prefix = ++d->next_ms << 22;
    run.stride = 1;
    run.count = ((const Anser__Bus__TakeIds *)msg->body)->count;
    run.count = run.count < 4096 ? run.count : 4096; /* of one ms */
    taken.runs = &runs;
    taken.n_runs = 1;
    an_out_answer(out, msg, AN_OK, &taken.base);
}

/* ------------------------------------------------------------------ the gate */

static void
put_id(uint8_t out[16], const struct duel_client *c, unsigned i)
{
    an_put_u64(out, c->messages[i].wall_ms << 16 | 0x7000 | i);
    an_put_u64(out + 8, 0x8000000000000000u | c->user << 16 | i);
}

static uint16_t
slot_of(const struct duel_client *c)
{
    struct an_conv conv = an_conv_direct(c->user, c->peer);

    return an_slot_conv(&conv);
}

static void
send_one(struct duel *d, unsigned client, unsigned i, struct an_now now,
         struct an_outbox *out)
{
    struct duel_client *c = &d->clients[client];
    Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__SendCommand send = ANSER__BUS__SEND_COMMAND__INIT;
    Anser__Bus__Command *list = &command;
    struct an_addr to = {AN_ROLE_SEQUENCER, d->asks[slot_of(c)]};
    uint8_t id[16], after[16];

    if (c->messages[i].wall_ms == 0) {
        c->messages[i].wall_ms = now.wall_ms;
    }
    put_id(id, c, i);
    command.slot = slot_of(c);
    command.what_case = ANSER__BUS__COMMAND__WHAT_SEND;
    command.send = &send;
    send.sender = c->user;
    send.recipient = c->peer;
    send.from = send.to = send.device = send.body =
        (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "text"};
    send.client_msg_id = (ProtobufCBinaryData){16, id};
    send.type = 1;
    if (i > c->done) {
        put_id(after, c, i - 1);
        send.after_id = (ProtobufCBinaryData){16, after};
    }
    submit.commands = &list;
    submit.n_commands = 1;
    c->messages[i].out = true;
    an_out_ask(out, to, AN_KIND_SUBMIT, &submit.base, AN_ASK_MS,
               client * DUEL_MESSAGES + i, 0);
}

static void
acked(struct duel *d, struct duel_client *c, unsigned i, const Anser__Bus__Result *r)
{
    uint8_t id[16];
    const struct duel_row *row;

    put_id(id, c, i);
    row = row_of(d, c->user, id);
    if (row == NULL || row->seq != r->seq || row->message_id != r->message_id) {
        sim_fail(d->sim, "an ack names seq %llu of what is not stored so",
                 (unsigned long long)r->seq);
        return;
    }
    d->acked++;
    c->messages[i].seq = r->seq;
    c->messages[i].message_id = r->message_id;
    while (c->done < DUEL_MESSAGES && c->messages[c->done].seq != 0) {
        c->done++;
    }
}

static void
gate_answered(struct duel *d, const struct an_msg *msg)
{
    struct duel_client *c = &d->clients[msg->tag / DUEL_MESSAGES];
    unsigned i = (unsigned)(msg->tag % DUEL_MESSAGES);
    const Anser__Bus__Submitted *done = (const Anser__Bus__Submitted *)msg->body;
    enum an_err err = msg->err;
    uint16_t slot = slot_of(c);

    c->messages[i].out = false;
    if (err == AN_OK) {
        err = (enum an_err)done->results[0]->err;
    }
    switch (err) {
    case AN_OK:
        acked(d, c, i, done->results[0]);
        return;
    case AN_ERR_MOVED:
        d->moved++;
        d->asks[slot] = (uint16_t)done->results[0]->owner;
        return;
    case AN_ERR_UNAVAILABLE:
    case AN_ERR_TIMEOUT:
    case AN_ERR_CONNECTION:
    case AN_ERR_SHUTTING_DOWN:
        d->asks[slot] ^= 1;
        return;
    default:
        if (an_err_handling(err) != AN_HANDLE_RETRY) {
            sim_fail(d->sim, "a send is refused: %s", an_err_name(err));
        }
        return;
    }
}

static void
gate_send(struct duel *d, struct an_now now, struct an_outbox *out)
{
    for (unsigned k = 0; k < DUEL_CLIENTS; k++) {
        struct duel_client *c = &d->clients[k];

        for (unsigned i = c->done; i < DUEL_MESSAGES && i < c->done + DUEL_WINDOW; i++) {
            bool due = sim_now_ms(d->sim) >= (uint64_t)i * DUEL_PACE_MS;

            if (c->messages[i].seq == 0 && !c->messages[i].out && due) {
                send_one(d, k, i, now, out);
            }
        }
    }
    an_out_timer(out, now.mono_ms + 200, 0);
}

static void
gate_step(void *ctx, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    struct duel *d = ctx;

    if (msg->kind == AN_KIND_START || msg->kind == AN_KIND_TIMER) {
        gate_send(d, now, out);
    } else if (msg->answer) {
        gate_answered(d, msg);
    }
}

/* ------------------------------------------------------------------ making them */

#define DUEL_MAKE(role)                                                                  \
    struct an_actor *duel_##role##_make(void *ctx, struct an_addr addr, uint64_t seed,   \
                                        char *why, size_t why_len)                       \
    {                                                                                    \
        (void)addr;                                                                      \
        (void)seed;                                                                      \
        (void)why;                                                                       \
        (void)why_len;                                                                   \
        return puppet_create(ctx, role##_step);                                          \
    }
DUEL_MAKE(store)
DUEL_MAKE(idgen)

struct an_actor *
duel_gate_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct duel *d = ctx;

    (void)addr;
    (void)seed;
    (void)why;
    (void)why_len;
    for (unsigned k = 0; k < DUEL_CLIENTS; k++) {
        for (unsigned i = 0; i < DUEL_MESSAGES; i++) {
            d->clients[k].messages[i].out = false;
        }
    }
    return puppet_create(ctx, gate_step);
}

struct an_actor *
duel_sequencer_make(void *ctx, struct an_addr addr, uint64_t seed, char *why,
                    size_t why_len)
{
    struct duel *d = ctx;
    struct an_actor *actor = NULL;
    /* Little memory, so that the store is asked about ids too. */
    struct sequencer_cfg cfg = {.index = addr.index,
                                .topology = &d->topology,
                                .seed = seed,
                                .dedupe_rows_max = 64,
                                .convs_max = 16};

    (void)why;
    (void)why_len;
    return sequencer_create(&actor, &cfg) == AN_OK ? actor : NULL;
}

bool
duel_done(void *ctx)
{
    const struct duel *d = ctx;

    for (unsigned k = 0; k < DUEL_CLIENTS; k++) {
        if (d->clients[k].done < DUEL_MESSAGES) {
            return false;
        }
    }
    return true;
}
