#include "actors/store/outgoing.h"
#include "core/log.h"
#include "core/slot.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_ARENA = 4 * AN_BATCH_BYTES_MAX };

/* ------------------------------------------------------------------ chunks */

struct store_outgoing_chunk *
store_outgoing_chunk_take(struct store_outgoing *outgoing)
{
    struct store_outgoing_chunk *chunk = outgoing->spare;

    if (chunk != NULL) {
        outgoing->spare = NULL;
        return chunk;
    }
    chunk = calloc(1, sizeof(*chunk));
    if (chunk != NULL) {
        an_arena_init(&chunk->arena, CHUNK_ARENA);
    }
    return chunk;
}

void
store_outgoing_chunk_give(struct store_outgoing *outgoing,
                          struct store_outgoing_chunk *chunk)
{
    if (chunk == NULL) {
        return;
    }
    if (outgoing->spare != NULL) {
        an_arena_fini(&chunk->arena);
        free(chunk);
        return;
    }
    an_arena_reset(&chunk->arena);
    chunk->next = NULL;
    chunk->count = 0;
    chunk->bytes = 0;
    outgoing->spare = chunk;
}

size_t
store_outgoing_entry_bytes(const Anser__Bus__MessageEntry *message)
{
    return sizeof(Anser__Bus__ForwardEntry) + sizeof(*message) + message->body.len +
           message->from.len + message->to.len + message->device.len + 128;
}

bool
store_outgoing_chunk_add(struct store_outgoing_chunk *chunk, uint16_t slot,
                         uint64_t number, Anser__Bus__ForwardEntry *forward)
{
    size_t bytes = store_outgoing_entry_bytes(forward->message);

    if (chunk->count == AN_BATCH_ITEMS_MAX ||
        (chunk->count > 0 && chunk->bytes + bytes > AN_BATCH_BYTES_MAX)) {
        return false;
    }
    if (chunk->count == 0 || forward->message->time_ms < chunk->oldest_ms) {
        chunk->oldest_ms = forward->message->time_ms;
    }
    chunk->entries[chunk->count++] = (struct store_outgoing_entry){number, forward, slot};
    chunk->bytes += bytes;
    return true;
}

/* An entry with a message of its own; NULL without memory. */
static Anser__Bus__ForwardEntry *
copy_entry(struct an_arena *arena, uint64_t user, uint64_t trace,
           const Anser__Bus__MessageEntry *message)
{
    Anser__Bus__ForwardEntry *out = an_arena_alloc(arena, sizeof(*out));
    Anser__Bus__MessageEntry *own = an_arena_dup(arena, message, sizeof(*message));

    if (out == NULL || own == NULL) {
        return NULL;
    }
    own->body_hash = (ProtobufCBinaryData){0};
    if (!store_copy(arena, &own->conversation) || !store_copy(arena, &own->from) ||
        !store_copy(arena, &own->to) || !store_copy(arena, &own->device) ||
        !store_copy(arena, &own->client_msg_id) || !store_copy(arena, &own->body)) {
        return NULL;
    }
    anser__bus__forward_entry__init(out);
    out->user = user;
    out->trace = trace;
    out->message = own;
    return out;
}

/* ------------------------------------------------------------------ memory */

/* The first chunk waiting, which no longer does. */
static struct store_outgoing_chunk *
take_first(struct store_outgoing *outgoing, struct store_peer *peer)
{
    struct store_outgoing_chunk *chunk = peer->first;

    peer->first = chunk->next;
    if (peer->first == NULL) {
        peer->last = NULL;
    }
    chunk->next = NULL;
    peer->bytes -= chunk->bytes;
    for (size_t i = 0; i < chunk->count; i++) {
        outgoing->slots[chunk->entries[i].slot].memory = chunk->entries[i].number + 1;
    }
    return chunk;
}

/* They are on the disk: read back from there when their turn comes. */
static void
forget_memory(struct store_outgoing *outgoing, struct store_peer *peer)
{
    while (peer->first != NULL) {
        store_outgoing_chunk_give(outgoing, take_first(outgoing, peer));
    }
    peer->disk = true;
}

/* A copy of the entry behind the others in memory. */
static bool
remember(struct store_outgoing *outgoing, struct store_peer *peer, uint16_t slot,
         const Anser__Bus__ForwardEntry *entry, uint64_t number)
{
    struct store_outgoing_chunk *chunk = peer->last;
    size_t bytes = store_outgoing_entry_bytes(entry->message);
    Anser__Bus__ForwardEntry *own;

    if (peer->bytes + bytes > outgoing->bytes_max) {
        return false;
    }
    if (chunk == NULL || chunk->count == AN_BATCH_ITEMS_MAX ||
        chunk->bytes + bytes > AN_BATCH_BYTES_MAX) {
        chunk = store_outgoing_chunk_take(outgoing);
        if (chunk == NULL) {
            return false;
        }
        if (peer->last != NULL) {
            peer->last->next = chunk;
        } else {
            peer->first = chunk;
        }
        peer->last = chunk;
    }
    own = copy_entry(&chunk->arena, entry->user, entry->trace, entry->message);
    if (own == NULL || !store_outgoing_chunk_add(chunk, slot, number, own)) {
        return false;
    }
    peer->bytes += bytes;
    return true;
}

void
store_outgoing_note(struct store *store, uint64_t user, uint64_t number, uint64_t trace,
                    const Anser__Bus__MessageEntry *message)
{
    struct store_outgoing *outgoing = store->outgoing;
    uint16_t number_slot = an_slot_user(user);
    struct store_outgoing_slot *slot = &outgoing->slots[number_slot];
    struct store_peer *peer = &outgoing->peers[slot->store];
    Anser__Bus__ForwardEntry entry = ANSER__BUS__FORWARD_ENTRY__INIT;
    Anser__Bus__MessageEntry view = *message;

    store->counts.outgoing++;
    entry.user = user;
    entry.trace = trace;
    entry.message = &view;
    if (!remember(outgoing, peer, number_slot, &entry, number)) {
        forget_memory(outgoing, peer);
        slot->memory = number + 1;
    }
}

/* ------------------------------------------------------------------ numbers and rows */

static bool
blocked(const struct store_peer *peer)
{
    return !peer->known || peer->waiting >= peer->store->outgoing->rows_max;
}

bool
store_outgoing_blocked(const struct store *store, uint64_t user)
{
    const struct store_outgoing *outgoing = store->outgoing;

    return blocked(&outgoing->peers[outgoing->slots[an_slot_user(user)].store]);
}

size_t
store_outgoing_list_blocked(const struct store *store, uint32_t *out)
{
    const struct store_outgoing *outgoing = store->outgoing;
    size_t count = 0;

    for (uint16_t i = 0; outgoing != NULL && i < outgoing->peer_count; i++) {
        if (i != store->index && count < AN_SLOTS && blocked(&outgoing->peers[i])) {
            out[count++] = i;
        }
    }
    return count;
}

uint64_t
store_outgoing_put(struct store *store, uint64_t user,
                   const Anser__Bus__MessageEntry *message)
{
    struct store_outgoing *outgoing = store->outgoing;
    uint16_t number = an_slot_user(user);
    struct store_outgoing_slot *slot = &outgoing->slots[number];
    Anser__Stored__Outgoing value = ANSER__STORED__OUTGOING__INIT;

    if (!slot->touched) {
        slot->touched = true;
        outgoing->touched[outgoing->touched_count++] = number;
    }
    /* The mark is above it when this store was put back in time. */
    slot->next = (slot->next > slot->mark ? slot->next : slot->mark) + 1;
    value.user = user;
    value.conversation = message->conversation;
    value.seq = message->seq;
    store_batch_put(&store->batch, outgoing->home,
                    an_row_outgoing(store_batch_key(&store->batch), outgoing->home,
                                    number, slot->next),
                    &value.base);
    return slot->next;
}

static uint64_t
above(uint64_t last, uint64_t mark)
{
    return last > mark ? last - mark : 0;
}

void
store_outgoing_settle(struct store *store, bool synced)
{
    struct store_outgoing *outgoing = store->outgoing;

    if (outgoing == NULL) {
        return;
    }
    for (size_t i = 0; i < outgoing->touched_count; i++) {
        struct store_outgoing_slot *slot = &outgoing->slots[outgoing->touched[i]];
        struct store_peer *peer = &outgoing->peers[slot->store];

        slot->touched = false;
        if (!synced) {
            slot->next = slot->last;
            continue;
        }
        peer->waiting -= above(slot->last, slot->mark);
        slot->last = slot->next;
        peer->waiting += above(slot->last, slot->mark);
    }
    outgoing->touched_count = 0;
}

uint64_t
store_outgoing_deletable(const struct store_outgoing_slot *slot)
{
    if (slot->mark < slot->last) {
        return slot->mark;
    }
    /* The newest stays, so that a start knows its number: unless the destination knows a
     * higher one. */
    return slot->mark > slot->last || slot->last == 0 ? slot->last : slot->last - 1;
}

void
store_outgoing_set_mark(struct store *store, uint16_t number, uint64_t mark)
{
    struct store_outgoing *outgoing = store->outgoing;
    struct store_outgoing_slot *slot = &outgoing->slots[number];
    struct store_peer *peer = &outgoing->peers[slot->store];

    if (mark > slot->mark) {
        peer->forwarded += mark - slot->mark;
        outgoing->deletable += mark - slot->mark;
    }
    peer->waiting -= above(slot->last, slot->mark);
    slot->mark = mark;
    peer->waiting += above(slot->last, slot->mark);
    if (mark < slot->sent) {
        peer->disk = true;
    }
    slot->sent = mark;
}

/* ------------------------------------------------------------------ running */

void
store_outgoing_failed(struct store *store, struct store_peer *peer, enum an_err err)
{
    if (peer->error != err) {
        an_out_log(store->out, AN_LOG_WARN, 0,
                   "another store does not take entries "
                   "store=%u err=%s waiting=%" PRIu64,
                   peer->index, an_err_name(err), peer->waiting);
    }
    peer->error = err;
    if (peer->retry_ms == 0) {
        peer->retry_ms = STORE_FORWARD_RETRY_MS;
    }
    peer->retry_mono_ms = store->now.mono_ms + peer->retry_ms;
    an_out_timer(store->out, peer->retry_mono_ms, STORE_TAG_RETRY + peer->index);
    peer->retry_ms *= 2;
    if (peer->retry_ms > STORE_FORWARD_RETRY_MAX_MS) {
        peer->retry_ms = STORE_FORWARD_RETRY_MAX_MS;
    }
}

void
store_outgoing_heard(struct store *store, uint16_t index)
{
    struct store_peer *peer;

    if (store->outgoing == NULL || index >= store->outgoing->peer_count) {
        return;
    }
    peer = &store->outgoing->peers[index];
    if (peer->error != AN_ERR_UNAVAILABLE && peer->error != AN_ERR_TIMEOUT &&
        peer->error != AN_ERR_SHUTTING_DOWN) {
        return; /* it was there, and did not take what we asked: no news */
    }
    peer->retry_mono_ms = 0; /* the end of this step asks */
    if (peer->retry_ms > STORE_FORWARD_RETRY_MS) {
        peer->retry_ms = STORE_FORWARD_RETRY_MS;
    }
}

static void
run_peer(struct store *store, struct store_peer *peer)
{
    struct store_outgoing *outgoing = store->outgoing;

    if (peer->asked || peer->reading || store->now.mono_ms < peer->retry_mono_ms) {
        return;
    }
    if (!peer->marks) {
        store_forward_ask_marks(store, peer);
    }
    if (!peer->known && !store_forward_begin(store, peer)) {
        return;
    }
    while (peer->flying == NULL && !peer->reading &&
           store->now.mono_ms >= peer->retry_mono_ms) {
        if (peer->disk && store_forward_read(store, peer)) {
            continue;
        }
        if (peer->first == NULL) {
            return;
        }
        store_forward_prepare(store, peer, take_first(outgoing, peer));
    }
    if (peer->flying != NULL && store->now.mono_ms >= peer->retry_mono_ms) {
        store_forward_ask(store, peer);
    }
}

void
store_outgoing_gather(struct store *store)
{
    if (store->outgoing != NULL && !store->stopping &&
        store->outgoing->deletable >= STORE_FORWARD_DELETES) {
        store_forward_delete(store);
    }
}

void
store_outgoing_run(struct store *store)
{
    struct store_outgoing *outgoing = store->outgoing;

    if (outgoing == NULL || !store->started || store->stopping) {
        return;
    }
    if (!outgoing->tail) {
        store_forward_load_tail(store);
    }
    for (uint16_t i = 0; i < outgoing->peer_count; i++) {
        if (i != store->index) {
            run_peer(store, &outgoing->peers[i]);
        }
    }
}

void
store_outgoing_tick(struct store *store)
{
    if (store->outgoing != NULL && store->outgoing->deletable > 0 && !store->stopping) {
        store_forward_delete(store);
    }
}

/* ------------------------------------------------------------------ operators */

void
store_outgoing_metrics(const struct store *store, an_metric_f *metric, void *ctx)
{
    const struct store_outgoing *outgoing = store->outgoing;
    uint64_t waiting = 0;
    uint64_t bytes = 0;

    for (uint16_t i = 0; outgoing != NULL && i < outgoing->peer_count; i++) {
        waiting += outgoing->peers[i].waiting;
        bytes += outgoing->peers[i].bytes;
    }
    metric(ctx, "outgoing_waiting", "Inbox entries that other stores do not have yet",
           false, waiting);
    metric(ctx, "outgoing_bytes", "Bytes in memory of entries for other stores", false,
           bytes);
    for (uint16_t i = 0; outgoing != NULL && i < outgoing->peer_count; i++) {
        char name[64], help[80];

        if (i != store->index) {
            snprintf(name, sizeof(name), "outgoing_waiting_store_%u", i);
            snprintf(help, sizeof(help), "Inbox entries that store/%u does not have yet",
                     i);
            metric(ctx, name, help, false, outgoing->peers[i].waiting);
        }
    }
}

/* The age of the oldest message on its way, as far as one is in memory. */
static uint64_t
oldest_ms(const struct store *store, const struct store_peer *peer)
{
    const struct store_outgoing_chunk *chunk =
        peer->flying != NULL ? peer->flying : peer->first;

    if (chunk == NULL || chunk->count == 0 || chunk->oldest_ms > store->now.wall_ms) {
        return 0;
    }
    return store->now.wall_ms - chunk->oldest_ms;
}

char *
store_outgoing_describe(const struct store *store)
{
    const struct store_outgoing *outgoing = store->outgoing;
    uint16_t count = outgoing == NULL ? 0 : outgoing->peer_count;
    size_t room = 64 + (size_t)count * 256;
    char *json = malloc(room);
    size_t len;

    if (json == NULL) {
        return NULL;
    }
    len = (size_t)snprintf(json, room, "{\"destinations\":[");
    for (uint16_t i = 0; i < count; i++) {
        const struct store_peer *peer = &outgoing->peers[i];

        if (i == store->index) {
            continue;
        }
        len += (size_t)snprintf(
            json + len, room - len,
            "%s{\"store\":\"store/%u\",\"known\":%s,\"blocked\":%s,\"waiting\":\"%" PRIu64
            "\",\"oldest_ms\":\"%" PRIu64
            "\",\"in_memory_bytes\":\"%zu\",\"error\":\"%s\"}",
            json[len - 1] == '[' ? "" : ",", i, peer->known ? "true" : "false",
            blocked(peer) ? "true" : "false", peer->waiting, oldest_ms(store, peer),
            peer->bytes, an_err_name(peer->error));
    }
    snprintf(json + len, room - len, "]}");
    return json;
}

/* ------------------------------------------------------------------ life */

bool
store_outgoing_init(struct store *store, const struct store_cfg *cfg)
{
    const struct an_topology *topology = store->topology;
    struct store_outgoing *outgoing;

    if (topology->count[AN_ROLE_STORE] <= 1) {
        return true;
    }
    outgoing = calloc(1, sizeof(*outgoing));
    if (outgoing == NULL) {
        return false;
    }
    store->outgoing = outgoing;
    outgoing->rows_max =
        cfg->outgoing_rows_max != 0 ? cfg->outgoing_rows_max : AN_OUTGOING_ROWS_MAX;
    outgoing->bytes_max =
        cfg->outgoing_bytes_max != 0 ? cfg->outgoing_bytes_max : AN_OUTGOING_BYTES_MAX;
    outgoing->peer_count = topology->count[AN_ROLE_STORE];
    outgoing->peers = calloc(outgoing->peer_count, sizeof(*outgoing->peers));
    if (outgoing->peers == NULL) {
        return false;
    }
    for (uint16_t i = 0; i < outgoing->peer_count; i++) {
        outgoing->peers[i].store = store;
        outgoing->peers[i].index = i;
    }
    outgoing->home = AN_SLOTS;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        outgoing->slots[slot].store = topology->slot_store[slot];
        if (outgoing->home == AN_SLOTS && topology->slot_store[slot] == store->index) {
            outgoing->home = slot;
        }
    }
    return true;
}

void
store_outgoing_fini(struct store *store)
{
    struct store_outgoing *outgoing = store->outgoing;

    if (outgoing == NULL) {
        return;
    }
    for (uint16_t i = 0; outgoing->peers != NULL && i < outgoing->peer_count; i++) {
        struct store_peer *peer = &outgoing->peers[i];

        forget_memory(outgoing, peer);
        store_outgoing_chunk_give(outgoing, peer->flying);
    }
    if (outgoing->spare != NULL) {
        an_arena_fini(&outgoing->spare->arena);
        free(outgoing->spare);
    }
    free(outgoing->peers);
    free(outgoing);
    store->outgoing = NULL;
}
