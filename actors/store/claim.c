/* CLAIM: a sequencer takes slots over. The raised epoch is synced before anything is
 * read, so that what it is told about stored ids cannot be overtaken by a stray append
 * of the epoch before. */
#include "actors/store/store_priv.h"
#include "core/log.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct claim {
    struct store_write write;
    struct store *store;
    size_t slot_count;            /* those taken over, then those held */
    Anser__Bus__SlotClaim *slots; /* the answer */
    Anser__Bus__SlotClaim **slot_list;
};

enum { SLOT_ROW_BYTES = AN_ROW_KEY_MAX + 32, RANGE_LEN = 3 };

static const Anser__Bus__Claim *
body_of(const struct claim *claim)
{
    return (const Anser__Bus__Claim *)claim->write.msg->body;
}

static void
claim_discard(struct store *store, struct store_write *write)
{
    (void)store;
    an_msg_abandon(write->msg);
    free(write);
}

static void
claim_refuse(struct store *store, struct claim *claim, enum an_err err)
{
    store_refuse(store, claim->write.msg, err);
    an_msg_release(claim->write.msg);
    free(claim);
}

static void
claim_build(struct store *store, struct store_write *write)
{
    struct claim *claim = (struct claim *)write;
    const Anser__Bus__Claim *body = body_of(claim);
    uint16_t owner = (uint16_t)body->sequencer;
    Anser__Stored__Slot value = ANSER__STORED__SLOT__INIT;

    if (!store_reserve(store, claim->slot_count, 0, claim->slot_count * SLOT_ROW_BYTES)) {
        write->failed = AN_ERR_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < claim->slot_count; i++) {
        Anser__Bus__SlotClaim *result = &claim->slots[i];
        struct store_slot *slot;
        uint16_t number = (uint16_t)result->slot;

        if (result->err != AN_OK) {
            continue;
        }
        slot = &store->slots[number];
        assert(slot->state == STORE_HEAD_LOADED);
        if (i >= body->n_slots && slot->next_incarnation != body->incarnation) {
            result->err = AN_ERR_FENCED;
            result->epoch = slot->next_epoch;
            result->owner = slot->next_owner;
            continue;
        }
        slot->next_epoch++;
        slot->next_owner = owner;
        slot->next_incarnation = body->incarnation;
        result->epoch = slot->next_epoch;
        value.epoch = slot->next_epoch;
        value.owner = owner;
        value.incarnation = body->incarnation;
        store_batch_put(&store->batch, number,
                        an_row_slot(store_batch_key(&store->batch), number), &value.base);
    }
}

static void
ids_read(void *ctx, enum an_err err, const struct engine_answer *answers,
         size_t answer_count)
{
    struct claim *claim = ctx;
    struct store *store = claim->store;
    Anser__Bus__Claimed answer = ANSER__BUS__CLAIMED__INIT;
    size_t at = 0;

    if (err != AN_OK) {
        /* Claiming again is all the sequencer has to do. */
        claim_refuse(store, claim, err);
        return;
    }
    for (size_t i = 0; i < claim->slot_count; i++) {
        if (claim->slots[i].err != AN_OK) {
            continue;
        }
        assert(at < answer_count);
        if (answers[at].item_count > 0 &&
            answers[at].items[0].key.len >= RANGE_LEN + 16) {
            claim->slots[i].dedupe_high_ms =
                store_id_time_ms(answers[at].items[0].key.data + RANGE_LEN);
        }
        at++;
    }
    answer.slots = claim->slot_list;
    answer.n_slots = claim->slot_count;
    an_out_answer(store->out, claim->write.msg, AN_OK, &answer.base);
    an_msg_release(claim->write.msg);
    free(claim);
}

/* The newest dedupe row of each slot, all in one read. */
static void
read_ids(struct store *store, struct claim *claim)
{
    struct engine_query *queries =
        calloc(claim->slot_count + 1, sizeof(*queries) + 2 * AN_ROW_KEY_MAX);
    uint8_t *keys;
    size_t count = 0;

    if (queries == NULL) {
        claim_refuse(store, claim, AN_ERR_NO_MEMORY);
        return;
    }
    keys = (uint8_t *)(queries + claim->slot_count + 1);
    for (size_t i = 0; i < claim->slot_count; i++) {
        uint8_t *first = keys + count * 2 * AN_ROW_KEY_MAX;
        uint8_t *end = first + AN_ROW_KEY_MAX;

        if (claim->slots[i].err == AN_OK) {
            queries[count++] = (struct engine_query){
                .first = {first, store_key_table(first, claim->slots[i].slot, 'd')},
                .end = {end, store_key_table(end, claim->slots[i].slot, 'd' + 1)},
                .items_max = 1,
                .reverse = true};
        }
    }
    if (count == 0) {
        ids_read(claim, AN_OK, NULL, 0);
    } else {
        engine_read(store->engine, queries, count, ids_read, claim);
    }
    free(queries);
}

static void
claim_finish(struct store *store, struct store_write *write, enum an_err err)
{
    struct claim *claim = (struct claim *)write;

    if (err == AN_OK) {
        err = write->failed;
    }
    for (size_t i = 0; write->built && i < claim->slot_count; i++) {
        struct store_slot *slot;

        if (claim->slots[i].err != AN_OK) {
            continue;
        }
        slot = &store->slots[claim->slots[i].slot];
        if (err == AN_OK) {
            store->counts.claims++;
            slot->epoch = slot->next_epoch;
            slot->owner = slot->next_owner;
            slot->incarnation = slot->next_incarnation;
        } else if (write->failed == AN_OK) {
            slot->next_epoch = slot->epoch;
            slot->next_owner = slot->owner;
            slot->next_incarnation = slot->incarnation;
        }
    }
    if (err != AN_OK) {
        claim_refuse(store, claim, err);
        return;
    }
    if (store->out->watched) {
        an_out_event(store->out, "slot.claim",
                     "{\"trace\":\"%016" PRIx64 "\",\"sequencer\":%u,\"slots\":%zu}",
                     write->msg->trace, body_of(claim)->sequencer, claim->slot_count);
    }
    read_ids(store, claim);
}

static const struct store_write_ops CLAIM_OPS = {claim_build, claim_finish,
                                                 claim_discard};

static struct claim *
claim_create(size_t slots)
{
    struct claim *claim =
        calloc(1, sizeof(*claim) + slots * (sizeof(*claim->slots) + sizeof(void *)));
    char *rest;

    if (claim == NULL) {
        return NULL;
    }
    rest = (char *)(claim + 1);
    claim->slots = (Anser__Bus__SlotClaim *)(void *)rest;
    rest += slots * sizeof(*claim->slots);
    claim->slot_list = (Anser__Bus__SlotClaim **)(void *)rest;
    claim->slot_count = slots;
    claim->write.ops = &CLAIM_OPS;
    return claim;
}

void
store_claim(struct store *store, struct an_msg *msg)
{
    const Anser__Bus__Claim *body = (const Anser__Bus__Claim *)msg->body;
    struct claim *claim;

    if (!store_write_admit(store, msg, body->incarnation, body->number)) {
        return;
    }
    if (body->n_slots > AN_SLOTS || body->n_held > AN_SLOTS ||
        body->sequencer > UINT16_MAX || (body->n_held > 0 && body->incarnation == 0)) {
        store_refuse(store, msg, AN_ERR_ARGUMENT);
        return;
    }
    claim = claim_create(body->n_slots + body->n_held);
    if (claim == NULL) {
        store_refuse(store, msg, AN_ERR_NO_MEMORY);
        return;
    }
    claim->store = store;
    claim->write.msg = an_msg_hold(msg);
    for (size_t i = 0; i < claim->slot_count; i++) {
        Anser__Bus__SlotClaim *result = &claim->slots[i];

        anser__bus__slot_claim__init(result);
        claim->slot_list[i] = result;
        result->slot = i < body->n_slots ? body->slots[i] : body->held[i - body->n_slots];
        result->err = !store_owns(store, result->slot)
                          ? AN_ERR_NOT_MINE
                          : store_want_slot(store, &claim->write, (uint16_t)result->slot);
    }
    store_write_add(store, &claim->write);
}
