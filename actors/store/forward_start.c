/* What a store has to know before it gives a number for another store: the newest number
 * of its own rows and the mark of the other, whichever is higher. And deleting rows. */
#include "actors/store/outgoing.h"
#include "core/log.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LEN = 2 + 1 + 2 + 8 };

/* ------------------------------------------------------------------ own rows */

static uint64_t
number_of(const struct engine_answer *answer)
{
    struct engine_blob key;

    if (answer->item_count == 0) {
        return 0;
    }
    key = answer->items[0].key;
    assert(key.len >= 8);
    return an_get_u64(key.data + key.len - 8);
}

static void
tail_read(void *ctx, enum an_err err, const struct engine_answer *answers,
          size_t answer_count)
{
    struct store *store = ctx;
    struct store_outgoing *outgoing = store->outgoing;
    size_t at = 0;

    outgoing->tail_reading = false;
    if (err != AN_OK) {
        an_out_log(store->out, AN_LOG_ERROR, 0, "loading outgoing numbers failed err=%s",
                   an_err_name(err));
        return; /* again at the next tick */
    }
    for (unsigned i = 0; i < AN_SLOTS; i++) {
        struct store_outgoing_slot *slot = &outgoing->slots[i];
        uint64_t first;

        if (store->slots[i].mine) {
            continue;
        }
        assert(at + 2 <= answer_count);
        first = number_of(&answers[at]);
        slot->gone = first > 0 ? first - 1 : 0;
        slot->last = slot->next = number_of(&answers[at + 1]);
        at += 2;
    }
    outgoing->tail = true;
}

void
store_forward_load_tail(struct store *store)
{
    struct store_outgoing *outgoing = store->outgoing;
    struct engine_query *queries;
    uint8_t *keys;
    size_t count = 0;

    if (outgoing->tail_reading || store->now.mono_ms < outgoing->tail_mono_ms) {
        return;
    }
    outgoing->tail_mono_ms = store->now.mono_ms + STORE_FORWARD_RETRY_MAX_MS;
    queries = calloc(2 * AN_SLOTS, sizeof(*queries) + 2 * (KEY_LEN + 1));
    if (queries == NULL) {
        return;
    }
    keys = (uint8_t *)(queries + 2 * AN_SLOTS);
    for (uint16_t i = 0; i < AN_SLOTS; i++) {
        struct engine_query query = {.items_max = 1};

        if (store->slots[i].mine) {
            continue;
        }
        query.first =
            (struct engine_blob){keys, an_row_outgoing(keys, outgoing->home, i, 0)};
        keys += KEY_LEN;
        query.end = (struct engine_blob){
            keys, an_row_outgoing(keys, outgoing->home, i, UINT64_MAX)};
        keys += KEY_LEN;
        queries[count++] = query;
        query.reverse = true;
        queries[count++] = query;
    }
    outgoing->tail_reading = true;
    engine_read(store->engine, queries, count, tail_read, store);
    free(queries);
}

/* ------------------------------------------------------------------ marks */

void
store_forward_ask_marks(struct store *store, struct store_peer *peer)
{
    Anser__Bus__Marks body = ANSER__BUS__MARKS__INIT;

    body.source = store->index;
    peer->asked = true;
    an_out_ask(store->out, (struct an_addr){AN_ROLE_STORE, peer->index}, AN_KIND_MARKS,
               &body.base, AN_ASK_MS, STORE_TAG_MARKS + peer->index, 0);
}

void
store_forward_take_marks(struct store *store, struct store_peer *peer,
                         const Anser__Bus__MarksDone *body)
{
    struct store_outgoing *outgoing = store->outgoing;

    for (size_t i = 0; i < body->n_marks; i++) {
        const Anser__Bus__SlotMark *mark = body->marks[i];

        if (mark->slot < AN_SLOTS && outgoing->slots[mark->slot].store == peer->index) {
            outgoing->slots[mark->slot].mark = mark->mark;
        }
    }
    peer->marks = true;
}

/* A mark above the rows: this store was put back in time. They go first, so that no hole
 * is ever between two rows. */
static bool
begin_slot(struct store *store, struct store_peer *peer, uint16_t number)
{
    struct store_outgoing *outgoing = store->outgoing;
    struct store_outgoing_slot *slot = &outgoing->slots[number];

    slot->sent = slot->mark;
    slot->memory = (slot->last > slot->mark ? slot->last : slot->mark) + 1;
    peer->disk = peer->disk || slot->sent + 1 < slot->memory;
    outgoing->deletable += store_outgoing_deletable(slot) > slot->gone;
    return slot->mark <= slot->last || slot->gone >= slot->last;
}

bool
store_forward_begin(struct store *store, struct store_peer *peer)
{
    struct store_outgoing *outgoing = store->outgoing;
    bool known = true;

    if (!peer->marks || !outgoing->tail || outgoing->deleting) {
        return false;
    }
    peer->waiting = 0;
    for (uint16_t i = 0; i < AN_SLOTS; i++) {
        const struct store_outgoing_slot *slot = &outgoing->slots[i];

        if (slot->store == peer->index) {
            known = begin_slot(store, peer, i) && known;
            peer->waiting += slot->last > slot->mark ? slot->last - slot->mark : 0;
        }
    }
    peer->known = known;
    if (known) {
        an_out_log(store->out, AN_LOG_INFO, 0,
                   "another store has said how far it is store=%u waiting=%" PRIu64,
                   peer->index, peer->waiting);
    } else {
        store_forward_delete(store);
    }
    return known;
}

/* ------------------------------------------------------------------ deleting */

struct deletes {
    struct store_write write;
    size_t row_count;
    size_t count;
    struct {
        uint16_t slot;
        uint64_t first, last;
    } ranges[];
};

static void
deletes_build(struct store *store, struct store_write *write)
{
    const struct deletes *deletes = (const struct deletes *)write;

    if (!store_reserve(store, deletes->row_count, 0, deletes->row_count * KEY_LEN)) {
        write->failed = AN_ERR_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < deletes->count; i++) {
        for (uint64_t n = deletes->ranges[i].first; n <= deletes->ranges[i].last; n++) {
            store_batch_delete(&store->batch, store->outgoing->home,
                               an_row_outgoing(store_batch_key(&store->batch),
                                               store->outgoing->home,
                                               deletes->ranges[i].slot, n));
        }
    }
}

static void
deletes_finish(struct store *store, struct store_write *write, enum an_err err)
{
    struct deletes *deletes = (struct deletes *)write;
    struct store_outgoing *outgoing = store->outgoing;

    outgoing->deleting = false;
    if (err == AN_OK && write->failed == AN_OK) {
        store->counts.outgoing_deleted += deletes->row_count;
    } else {
        for (size_t i = 0; i < deletes->count; i++) {
            outgoing->slots[deletes->ranges[i].slot].gone = deletes->ranges[i].first - 1;
        }
        outgoing->deletable = deletes->row_count; /* at the next tick, or after more */
    }
    free(deletes);
}

static void
deletes_discard(struct store *store, struct store_write *write)
{
    (void)store;
    free(write);
}

static const struct store_write_ops DELETES_OPS = {deletes_build, deletes_finish,
                                                   deletes_discard};

/* The next rows that may go, a bounded number of them. */
static void
find_deletable(struct store_outgoing *outgoing, struct deletes *deletes)
{
    for (uint16_t i = 0; i < AN_SLOTS; i++) {
        struct store_outgoing_slot *slot = &outgoing->slots[i];
        uint64_t last = store_outgoing_deletable(slot);
        size_t room = STORE_FORWARD_DELETES - deletes->row_count;

        if (last <= slot->gone || room == 0) {
            continue;
        }
        last = last - slot->gone > room ? slot->gone + room : last;
        deletes->ranges[deletes->count].slot = i;
        deletes->ranges[deletes->count].first = slot->gone + 1;
        deletes->ranges[deletes->count++].last = last;
        deletes->row_count += last - slot->gone;
        slot->gone = last;
    }
}

void
store_forward_delete(struct store *store)
{
    struct store_outgoing *outgoing = store->outgoing;
    struct deletes *deletes;

    if (outgoing->deleting || !outgoing->tail) {
        return;
    }
    deletes = calloc(1, sizeof(*deletes) + AN_SLOTS * sizeof(deletes->ranges[0]));
    if (deletes == NULL) {
        return;
    }
    deletes->write.ops = &DELETES_OPS;
    find_deletable(outgoing, deletes);
    if (deletes->row_count < STORE_FORWARD_DELETES) {
        outgoing->deletable = 0; /* that was all */
    }
    if (deletes->row_count == 0) {
        free(deletes);
        return;
    }
    outgoing->deleting = true;
    store_write_add(store, &deletes->write);
}
