/* FORWARD: requests to other stores and what their answers say. */
#include "actors/store/outgoing.h"
#include "core/log.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_MS = 1000 }; /* a slot that was refused is left out so long */

/* ------------------------------------------------------------------ asking */

/* What follows what was sent stays; the rest comes from the disk or is done already. */
static size_t
keep_next(struct store *store, struct store_peer *peer,
          struct store_outgoing_chunk *chunk)
{
    size_t kept = 0;

    for (size_t i = 0; i < chunk->count; i++) {
        const struct store_outgoing_entry *entry = &chunk->entries[i];
        struct store_outgoing_slot *slot = &store->outgoing->slots[entry->slot];

        if (entry->number == slot->sent + 1 && store->now.mono_ms >= slot->held_mono_ms) {
            slot->sent = entry->number;
            chunk->entries[kept++] = *entry;
        } else if (entry->number > slot->sent) {
            peer->disk = true;
        }
    }
    return kept;
}

static int
by_slot(const void *a, const void *b)
{
    const struct store_outgoing_entry *one = a;
    const struct store_outgoing_entry *two = b;

    if (one->slot != two->slot) {
        return one->slot < two->slot ? -1 : 1;
    }
    return (one->number > two->number) - (one->number < two->number);
}

void
store_forward_prepare(struct store *store, struct store_peer *peer,
                      struct store_outgoing_chunk *chunk)
{
    assert(peer->flying == NULL);
    chunk->count = keep_next(store, peer, chunk);
    if (chunk->count == 0) {
        store_outgoing_chunk_give(store->outgoing, chunk);
        return;
    }
    qsort(chunk->entries, chunk->count, sizeof(chunk->entries[0]), by_slot);
    peer->slot_count = 0;
    for (size_t i = 0; i < chunk->count; i++) {
        const struct store_outgoing_entry *entry = &chunk->entries[i];
        Anser__Bus__ForwardSlot *slot;

        peer->list[i] = entry->forward;
        if (i == 0 || chunk->entries[i - 1].slot != entry->slot) {
            slot = &peer->slots[peer->slot_count];
            anser__bus__forward_slot__init(slot);
            slot->slot = entry->slot;
            slot->first = entry->number;
            slot->entries = &peer->list[i];
            slot->skip = store->outgoing->slots[entry->slot].skip;
            peer->slot_list[peer->slot_count++] = slot;
        }
        peer->slots[peer->slot_count - 1].n_entries++;
    }
    peer->flying = chunk;
}

void
store_forward_ask(struct store *store, struct store_peer *peer)
{
    Anser__Bus__Forward body = ANSER__BUS__FORWARD__INIT;

    assert(peer->flying != NULL && !peer->asked);
    body.source = store->index;
    body.slots = peer->slot_list;
    body.n_slots = peer->slot_count;
    peer->asked = true;
    store->counts.forwards++;
    an_out_ask(store->out, (struct an_addr){AN_ROLE_STORE, peer->index}, AN_KIND_FORWARD,
               &body.base, AN_ASK_MS, STORE_TAG_FORWARD + peer->index,
               peer->flying->entries[0].forward->trace);
}

/* ------------------------------------------------------------------ answers */

/* It refused the slot for a reason that another try now would not change. */
static void
hold_slot(struct store *store, struct store_peer *peer, uint16_t number, enum an_err err)
{
    struct store_outgoing_slot *slot = &store->outgoing->slots[number];

    if (peer->error != err) {
        an_out_log(store->out, AN_LOG_ERROR, 0,
                   "another store refuses entries store=%u slot=%u err=%s", peer->index,
                   number, an_err_name(err));
    }
    peer->error = err;
    peer->disk = true;
    slot->sent = slot->mark;
    slot->held_mono_ms = store->now.mono_ms + HELD_MS;
}

static void
take_slot(struct store *store, struct store_peer *peer,
          const Anser__Bus__ForwardSlot *asked, const Anser__Bus__ForwardedSlot *result)
{
    uint16_t number = (uint16_t)asked->slot;
    struct store_outgoing_slot *slot = &store->outgoing->slots[number];

    if (result == NULL || (result->err != AN_OK && result->err != AN_ERR_REWIND)) {
        hold_slot(store, peer, number,
                  result == NULL ? AN_ERR_ENVELOPE : (enum an_err)result->err);
        return;
    }
    if (result->err == AN_ERR_REWIND) {
        store->counts.rewinds++;
        if (result->mark < slot->mark) {
            an_out_log(store->out, AN_LOG_ERROR, 0,
                       "another store was put back in time store=%u slot=%u mark=%" PRIu64
                       " was=%" PRIu64,
                       peer->index, number, result->mark, slot->mark);
        }
    } else {
        slot->skip = false;
        peer->error = AN_OK;
    }
    if (result->mark > slot->last) {
        an_out_log(
            store->out, AN_LOG_ERROR, 0,
            "another store has entries that this one did not send store=%u slot=%u "
            "mark=%" PRIu64 " last=%" PRIu64,
            peer->index, number, result->mark, slot->last);
    }
    store_outgoing_set_mark(store, number, result->mark);
}

static void
take_forwarded(struct store *store, struct store_peer *peer,
               const Anser__Bus__Forwarded *body)
{
    for (size_t i = 0; i < peer->slot_count; i++) {
        const Anser__Bus__ForwardSlot *asked = peer->slot_list[i];
        const Anser__Bus__ForwardedSlot *result =
            i < body->n_slots && body->slots[i]->slot == asked->slot ? body->slots[i]
                                                                     : NULL;

        take_slot(store, peer, asked, result);
    }
    store_outgoing_chunk_give(store->outgoing, peer->flying);
    peer->flying = NULL;
}

void
store_outgoing_answer(struct store *store, const struct an_msg *msg)
{
    struct store_peer *peer;
    bool marks = msg->tag >= STORE_TAG_MARKS;

    assert(store->outgoing != NULL);
    assert((msg->tag & UINT16_MAX) < store->outgoing->peer_count);
    peer = &store->outgoing->peers[msg->tag & UINT16_MAX];
    assert(peer->asked);
    peer->asked = false;
    if (msg->err != AN_OK) {
        /* The same again after a while: what it has already it does not take twice. */
        store_outgoing_failed(store, peer, msg->err);
        return;
    }
    if (peer->retry_ms > 0) {
        an_out_log(store->out, AN_LOG_INFO, 0, "another store answers again store=%u",
                   peer->index);
    }
    peer->retry_ms = 0;
    peer->retry_mono_ms = 0;
    if (marks) {
        peer->error = AN_OK;
        store_forward_take_marks(store, peer, (const Anser__Bus__MarksDone *)msg->body);
    } else {
        take_forwarded(store, peer, (const Anser__Bus__Forwarded *)msg->body);
    }
}
