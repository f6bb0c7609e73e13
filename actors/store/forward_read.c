/* Entries that are not in memory (after a start, a rewind, or more than fit) come back
 * from the disk: first the outgoing rows, then the messages they point at. */
#include "actors/store/outgoing.h"
#include "core/log.h"
#include "core/slot.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

static bool
behind(const struct store *store, const struct store_peer *peer,
       const struct store_outgoing_slot *slot)
{
    return slot->store == peer->index && slot->sent + 1 < slot->memory &&
           store->now.mono_ms >= slot->held_mono_ms;
}

/* The rows between sent and the next that there is are gone: this store or the other was
 * put back in time. */
static void
skip_to(struct store *store, const struct store_peer *peer, uint16_t number,
        uint64_t sent)
{
    struct store_outgoing_slot *slot = &store->outgoing->slots[number];

    an_out_log(store->out, AN_LOG_ERROR, 0,
               "outgoing entries are lost store=%u slot=%u from=%" PRIu64 " to=%" PRIu64,
               peer->index, number, slot->sent + 1, sent);
    store->counts.outgoing_lost += sent - slot->sent;
    slot->skip = true;
    slot->sent = sent;
}

static void
read_failed(struct store *store, struct store_peer *peer, enum an_err err)
{
    peer->row_count = 0;
    store_outgoing_failed(store, peer, err);
}

/* ------------------------------------------------------------------ messages */

/* The entry of a row, in the arena. AN_ERR_CORRUPT: its message is gone or damaged.
 * AN_ERR_NO_MEMORY: it is there, and another time it can be read. */
static enum an_err
make_entry(struct store *store, struct an_arena *arena,
           const struct store_forward_row *row, const struct engine_answer *answer,
           Anser__Bus__ForwardEntry **entry)
{
    const Anser__Stored__Message *stored;
    Anser__Bus__ForwardEntry *out = an_arena_alloc(arena, sizeof(*out));
    Anser__Bus__MessageEntry *message = an_arena_alloc(arena, sizeof(*message));
    uint8_t *conv = an_arena_dup(arena, row->conv.bytes, AN_CONV_LEN);
    uint64_t low, high;

    if (answer->item_count == 0) {
        return AN_ERR_CORRUPT;
    }
    stored = store_decode(store, arena, &anser__stored__message__descriptor,
                          &answer->items[0]);
    if (stored == NULL || out == NULL || message == NULL || conv == NULL) {
        return store_undecoded(arena);
    }
    an_conv_users(&row->conv, &low, &high);
    anser__bus__message_entry__init(message);
    message->conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv};
    message->seq = row->seq;
    message->message_id = stored->message_id;
    message->time_ms = stored->time_ms;
    message->sender = stored->sender;
    message->recipient = stored->sender == low ? high : low;
    message->from = stored->from;
    message->to = stored->to;
    message->device = stored->from_device;
    message->client_msg_id = stored->client_msg_id;
    message->type = stored->type;
    message->body = stored->body;
    anser__bus__forward_entry__init(out);
    out->user = row->user;
    out->message = message;
    *entry = out;
    return AN_OK;
}

/* The rows of one slot, as long as they have their message. Returns how many rows were
 * gone through; *full: the chunk takes no more, or there is no memory for more. */
static size_t
take_slot(struct store *store, struct store_peer *peer,
          struct store_outgoing_chunk *chunk, size_t at,
          const struct engine_answer *answers, bool *full)
{
    uint16_t number = peer->rows[at].slot;
    size_t taken = 0;
    size_t i;

    for (i = at; i < peer->row_count && peer->rows[i].slot == number; i++) {
        const struct store_forward_row *row = &peer->rows[i];
        Anser__Bus__ForwardEntry *entry = NULL;
        enum an_err err = make_entry(store, &chunk->arena, row, &answers[i], &entry);

        if (err == AN_ERR_NO_MEMORY) {
            *full = true;
            break;
        }
        if (entry == NULL && taken == 0) {
            skip_to(store, peer, number, row->number);
        } else if (entry == NULL) {
            taken = SIZE_MAX; /* what is before it goes first */
        } else if (taken != SIZE_MAX && !*full) {
            *full = !store_outgoing_chunk_add(chunk, number, row->number, entry);
            taken++;
        }
    }
    return i - at;
}

static void
messages_read(void *ctx, enum an_err err, const struct engine_answer *answers,
              size_t answer_count)
{
    struct store_peer *peer = ctx;
    struct store *store = peer->store;
    struct store_outgoing_chunk *chunk;
    bool full = false;

    peer->reading = false;
    chunk = err == AN_OK ? store_outgoing_chunk_take(store->outgoing) : NULL;
    if (chunk == NULL) {
        read_failed(store, peer, err == AN_OK ? AN_ERR_NO_MEMORY : err);
        return;
    }
    assert(answer_count == peer->row_count);
    for (size_t at = 0; at < peer->row_count && !full;) {
        at += take_slot(store, peer, chunk, at, answers, &full);
    }
    peer->row_count = 0;
    if (full && chunk->count == 0) {
        /* Not one: what is there is never passed over, it is read again later. */
        store_outgoing_chunk_give(store->outgoing, chunk);
        read_failed(store, peer, AN_ERR_NO_MEMORY);
        return;
    }
    store_forward_prepare(store, peer, chunk);
}

static void
read_messages(struct store *store, struct store_peer *peer)
{
    struct engine_query queries[STORE_FORWARD_READ_ROWS];
    uint8_t keys[STORE_FORWARD_READ_ROWS][2 + 1 + AN_CONV_LEN + 8 + 1];

    for (size_t i = 0; i < peer->row_count; i++) {
        const struct store_forward_row *row = &peer->rows[i];
        size_t len =
            an_row_message(keys[i], an_slot_conv(&row->conv), &row->conv, row->seq);

        keys[i][len] = 0;
        queries[i] = (struct engine_query){
            .first = {keys[i], len}, .end = {keys[i], len + 1}, .items_max = 1};
    }
    engine_read(store->engine, queries, peer->row_count, messages_read, peer);
}

/* ------------------------------------------------------------------ rows */

static enum an_err
take_row(struct store *store, struct store_forward_row *out, uint16_t slot,
         const struct engine_item *item)
{
    const Anser__Stored__Outgoing *row =
        store_decode(store, &store->decode, &anser__stored__outgoing__descriptor, item);

    if (row == NULL) {
        return store_undecoded(&store->decode);
    }
    if (!an_conv_get(&out->conv, row->conversation.data, row->conversation.len)) {
        return AN_ERR_CORRUPT;
    }
    out->slot = slot;
    out->number = an_get_u64(item->key.data + item->key.len - 8);
    out->user = row->user;
    out->seq = row->seq;
    return AN_OK;
}

/* The rows of one slot, in order and without a hole; a hole before the first is skipped,
 * one behind it ends them. A damaged row is one. AN_ERR_NO_MEMORY: not read to their
 * end. */
static enum an_err
take_range(struct store *store, struct store_peer *peer, uint16_t number, uint64_t end,
           const struct engine_answer *answer)
{
    struct store_outgoing_slot *slot = &store->outgoing->slots[number];
    uint64_t seen = end - 1;
    size_t taken = 0;
    enum an_err err;

    for (size_t i = 0; i < answer->item_count; i++) {
        struct store_forward_row row;
        struct engine_blob key = answer->items[i].key;

        seen = an_get_u64(key.data + key.len - 8);
        err = take_row(store, &row, number, &answer->items[i]);
        if (err == AN_ERR_NO_MEMORY) {
            return err;
        }
        if (err != AN_OK) {
            continue;
        }
        if (taken == 0 && row.number > slot->sent + 1) {
            skip_to(store, peer, number, row.number - 1);
        }
        if (row.number != slot->sent + 1 + taken) {
            return AN_OK;
        }
        assert(peer->row_count < STORE_FORWARD_READ_ROWS);
        peer->rows[peer->row_count++] = row;
        taken++;
    }
    if (taken == 0) {
        skip_to(store, peer, number, answer->more ? seen : end - 1);
    }
    return AN_OK;
}

static void
rows_read(void *ctx, enum an_err err, const struct engine_answer *answers,
          size_t answer_count)
{
    struct store_peer *peer = ctx;
    struct store *store = peer->store;

    assert(err != AN_OK || answer_count == peer->range_count);
    peer->row_count = 0;
    for (size_t i = 0; err == AN_OK && i < answer_count; i++) {
        err = take_range(store, peer, peer->ranges[i].slot, peer->ranges[i].end,
                         &answers[i]);
    }
    if (err != AN_OK) {
        peer->reading = false;
        read_failed(store, peer, err);
        return;
    }
    if (peer->row_count == 0) {
        peer->reading = false;
        return;
    }
    read_messages(store, peer);
}

/* Slots that are behind, a few from where the last read ended. true: there are others
 * that are held back for a while. */
static bool
find_ranges(struct store *store, struct store_peer *peer)
{
    struct store_outgoing *outgoing = store->outgoing;
    bool held = false;
    unsigned i;

    peer->range_count = 0;
    for (i = 0; i < AN_SLOTS && peer->range_count < STORE_FORWARD_READ_ROWS; i++) {
        uint16_t number = (uint16_t)((peer->read_slot + i) % AN_SLOTS);
        const struct store_outgoing_slot *slot = &outgoing->slots[number];

        if (behind(store, peer, slot)) {
            peer->ranges[peer->range_count].slot = number;
            peer->ranges[peer->range_count++].end = slot->memory;
        } else if (slot->store == peer->index && slot->sent + 1 < slot->memory) {
            held = true;
        }
    }
    peer->read_slot = (uint16_t)((peer->read_slot + i) % AN_SLOTS);
    return held;
}

bool
store_forward_read(struct store *store, struct store_peer *peer)
{
    struct store_outgoing *outgoing = store->outgoing;
    struct engine_query queries[STORE_FORWARD_READ_ROWS];
    uint8_t keys[STORE_FORWARD_READ_ROWS][2][2 + 1 + 2 + 8];
    bool held = find_ranges(store, peer);

    if (peer->range_count == 0) {
        peer->disk = held;
        return false;
    }
    for (size_t i = 0; i < peer->range_count; i++) {
        uint16_t number = peer->ranges[i].slot;
        const struct store_outgoing_slot *slot = &outgoing->slots[number];

        queries[i] = (struct engine_query){
            .first = {keys[i][0], an_row_outgoing(keys[i][0], outgoing->home, number,
                                                  slot->sent + 1)},
            .end = {keys[i][1],
                    an_row_outgoing(keys[i][1], outgoing->home, number, slot->memory)},
            .items_max = STORE_FORWARD_READ_ROWS / peer->range_count};
    }
    peer->reading = true;
    store->counts.outgoing_reads++;
    engine_read(store->engine, queries, peer->range_count, rows_read, peer);
    return true;
}
