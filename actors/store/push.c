/* Hints to routers, after the sync: what just entered an inbox, and what was delivered.
 *
 * One request per router is in flight; the next fills meanwhile, in chunks. A chunk's
 * items are packed when it is asked, so its memory is free again at once. Beyond the
 * bound hints are dropped and counted: the inbox is the truth. */
#include "actors/store/store_priv.h"
#include "core/slot.h"
#include "core/wire.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct store_push_chunk {
    struct store_push_chunk *next;
    struct an_arena arena; /* of the items and all they point at */
    Anser__Bus__PushItem *items[AN_BATCH_ITEMS_MAX];
    size_t count;
    size_t bytes;
};

/* What an item costs beyond its body and names. */
enum {
    ITEM_BYTES = sizeof(Anser__Bus__PushItem) + 64,
    CHUNK_ARENA = 4 * AN_BATCH_BYTES_MAX
};

static struct store_push_chunk *
chunk_take(struct store *store)
{
    struct store_push_chunk *chunk = store->chunks_spare;

    if (chunk != NULL) {
        store->chunks_spare = chunk->next;
        chunk->next = NULL;
        return chunk;
    }
    chunk = calloc(1, sizeof(*chunk));
    if (chunk != NULL) {
        an_arena_init(&chunk->arena, CHUNK_ARENA);
    }
    return chunk;
}

static void
chunk_free(struct store_push_chunk *chunk)
{
    an_arena_fini(&chunk->arena);
    free(chunk);
}

/* Keeps one for the next round. */
static void
chunk_give(struct store *store, struct store_push_chunk *chunk)
{
    if (store->chunks_spare != NULL) {
        chunk_free(chunk);
        return;
    }
    an_arena_reset(&chunk->arena);
    chunk->count = 0;
    chunk->bytes = 0;
    chunk->next = NULL;
    store->chunks_spare = chunk;
}

/* The chunk that takes need more bytes for this router; NULL: dropped. */
static struct store_push_chunk *
chunk_for(struct store *store, struct store_router *router, size_t need)
{
    struct store_push_chunk *chunk = router->last;

    if (router->bytes + need > AN_PUSH_QUEUE_BYTES_MAX) {
        return NULL;
    }
    if (chunk != NULL && chunk->count < AN_BATCH_ITEMS_MAX &&
        chunk->bytes + need <= AN_BATCH_BYTES_MAX) {
        return chunk;
    }
    chunk = chunk_take(store);
    if (chunk == NULL) {
        return NULL;
    }
    if (router->last != NULL) {
        router->last->next = chunk;
    } else {
        router->first = chunk;
    }
    router->last = chunk;
    return chunk;
}

bool
store_copy(struct an_arena *arena, ProtobufCBinaryData *data)
{
    uint8_t *out = an_arena_dup(arena, data->data, data->len);

    if (out == NULL) {
        return false;
    }
    data->data = out;
    return true;
}

/* An item with its body and its account state, and the receipt for tell_user, whichever
 * there are, in memory of its own. */
static Anser__Bus__PushItem *
make_item(struct an_arena *arena, const Anser__Bus__PushItem *item,
          const ProtobufCMessage *body, const Anser__Client__Receipt *tell)
{
    Anser__Bus__PushItem *out = an_arena_dup(arena, item, sizeof(*item));

    if (out == NULL || (body != NULL && !an_wire_pack_in(body, arena, &out->body)) ||
        !store_copy(arena, &out->except_device)) {
        return NULL;
    }
    if (item->account != NULL) {
        out->account = an_arena_dup(arena, item->account, sizeof(*item->account));
        if (out->account == NULL || !store_copy(arena, &out->account->device)) {
            return NULL;
        }
    }
    if (tell != NULL && !an_wire_pack_in(&tell->base, arena, &out->tell_body)) {
        return NULL;
    }
    return out;
}

/* Where there is one alone, nobody asks for the slot: it costs a hash. */
static struct store_router *
router_of(struct store *store, uint64_t user)
{
    const struct an_topology *topology = store->topology;

    if (topology->count[AN_ROLE_ROUTER] == 1) {
        return &store->routers[0];
    }
    return &store->routers[an_topology_router(topology, an_slot_user(user)).index];
}

static void
add(struct store *store, const Anser__Bus__PushItem *item, const ProtobufCMessage *body,
    size_t body_len, const Anser__Client__Receipt *tell)
{
    struct store_router *router = router_of(store, item->user);
    size_t need = ITEM_BYTES + body_len + 2 * AN_NAME_LEN_MAX;
    struct store_push_chunk *chunk = chunk_for(store, router, need);
    Anser__Bus__PushItem *own =
        chunk == NULL ? NULL : make_item(&chunk->arena, item, body, tell);

    if (own == NULL) {
        store->counts.pushes_dropped++;
        return;
    }
    chunk->items[chunk->count++] = own;
    chunk->bytes += need;
    router->bytes += need;
}

static void
push_event(struct store *store, Anser__Bus__PushItem *item,
           Anser__Client__Message *message, const struct store_head *inbox,
           uint64_t inbox_seq, const Anser__Client__Receipt *tell)
{
    Anser__Client__Event event = ANSER__CLIENT__EVENT__INIT;

    event.inbox_seq = inbox_seq;
    event.message = message;
    event.inbox_generation = inbox->generation;
    item->user = inbox->key[0];
    add(store, item, &event.base, message->body.len + 4 * AN_NAME_LEN_MAX, tell);
}

/* What all hints of a message have in common. */
static void
fill(Anser__Bus__PushItem *item, Anser__Client__Message *message,
     const Anser__Bus__MessageEntry *entry, uint64_t trace)
{
    message->message_id = entry->message_id;
    message->seq = entry->seq;
    message->time_ms = entry->time_ms;
    message->from = entry->from;
    message->to = entry->to;
    message->from_device = entry->device;
    message->client_msg_id = entry->client_msg_id;
    message->type = entry->type;
    message->body = entry->body;
    item->command = AN_COMMAND_EVENT;
    item->trace = trace;
    item->message_id = entry->message_id;
}

static void
push_to_recipient(struct store *store, Anser__Bus__PushItem item,
                  Anser__Client__Message *message, const Anser__Bus__MessageEntry *entry,
                  const struct store_head *inbox, uint64_t inbox_seq)
{
    Anser__Client__Receipt stored = ANSER__CLIENT__RECEIPT__INIT;

    stored.peer = entry->to;
    stored.seq = entry->seq;
    stored.kind = ANSER__CLIENT__RECEIPT_KIND__RECEIPT_STORED;
    item.tell_user = entry->sender;
    push_event(store, &item, message, inbox, inbox_seq, &stored);
}

void
store_push_message(struct store *store, const Anser__Bus__MessageEntry *entry,
                   uint64_t trace, struct store_head *const inboxes[2],
                   const uint64_t inbox_seqs[2])
{
    Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT;

    fill(&item, &message, entry, trace);
    if (inboxes[1] != NULL) {
        push_to_recipient(store, item, &message, entry, inboxes[1], inbox_seqs[1]);
    }
    if (inboxes[0] != NULL) {
        /* To the sender's other devices; to all of them when it is to oneself. */
        if (entry->sender != entry->recipient) {
            item.except_device = entry->device;
        }
        push_event(store, &item, &message, inboxes[0], inbox_seqs[0], NULL);
    }
}

void
store_push_forwarded(struct store *store, const Anser__Bus__ForwardEntry *entry,
                     const struct store_head *inbox, uint64_t inbox_seq)
{
    Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT;

    fill(&item, &message, entry->message, entry->trace);
    if (entry->user != entry->message->sender) {
        push_to_recipient(store, item, &message, entry->message, inbox, inbox_seq);
    } else {
        /* The sending device too: its answer could not name the inbox seq. */
        push_event(store, &item, &message, inbox, inbox_seq, NULL);
    }
}

void
store_push_delivered(struct store *store, const Anser__Bus__DeliveredEntry *entry,
                     uint64_t trace)
{
    Anser__Client__Receipt receipt = ANSER__CLIENT__RECEIPT__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT;

    if (entry->peer == 0 || entry->peer == entry->member) {
        return;
    }
    receipt.peer = entry->member_name;
    receipt.seq = entry->seq;
    receipt.kind = ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED;
    item.user = entry->peer;
    item.command = AN_COMMAND_RECEIPT;
    item.trace = trace;
    add(store, &item, &receipt.base, AN_NAME_LEN_MAX, NULL);
}

void
store_push_account(struct store *store, uint64_t user,
                   const Anser__Bus__AccountState *state, uint64_t trace)
{
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT;

    item.user = user;
    item.trace = trace;
    item.account = (Anser__Bus__AccountState *)(uintptr_t)state;
    add(store, &item, NULL, sizeof(*state), NULL);
}

static void
tell_watchers(struct store *store, const struct store_push_chunk *chunk, unsigned router)
{
    for (size_t i = 0; store->out->watched && i < chunk->count; i++) {
        const Anser__Bus__PushItem *item = chunk->items[i];

        if (item->message_id != 0) {
            an_out_event(store->out, "message.push",
                         "{\"trace\":\"%016" PRIx64 "\",\"message_id\":\"%" PRIu64
                         "\",\"user\":\"%" PRIu64 "\",\"router\":%u}",
                         item->trace, item->message_id, item->user, router);
        }
    }
}

static void
ask(struct store *store, uint16_t index)
{
    struct store_router *router = &store->routers[index];
    struct store_push_chunk *chunk = router->first;
    struct an_addr to = {AN_ROLE_ROUTER, index};
    Anser__Bus__Push body = ANSER__BUS__PUSH__INIT;

    router->first = chunk->next;
    if (router->first == NULL) {
        router->last = NULL;
    }
    router->bytes -= chunk->bytes;
    if (chunk->count == 0) { /* taken for an item that then found no memory */
        chunk_give(store, chunk);
        return;
    }
    router->asked = (uint32_t)chunk->count;
    body.items = chunk->items;
    body.n_items = chunk->count;
    an_out_ask(store->out, to, AN_KIND_PUSH, &body.base, AN_ASK_MS,
               STORE_TAG_PUSH + index, chunk->items[0]->trace);
    tell_watchers(store, chunk, index);
    chunk_give(store, chunk);
}

void
store_push_run(struct store *store)
{
    for (uint16_t i = 0; i < store->router_count; i++) {
        if (store->routers[i].asked == 0 && store->routers[i].first != NULL) {
            ask(store, i);
        }
    }
}

void
store_push_done(struct store *store, const struct an_msg *msg)
{
    struct store_router *router;

    assert(msg->tag >= STORE_TAG_PUSH);
    assert(msg->tag - STORE_TAG_PUSH < store->router_count);
    router = &store->routers[msg->tag - STORE_TAG_PUSH];
    if (msg->err == AN_OK) {
        store->counts.pushes += router->asked;
    } else {
        store->counts.pushes_failed += router->asked;
    }
    router->asked = 0;
}

void
store_push_fini(struct store *store)
{
    for (uint16_t i = 0; i < store->router_count; i++) {
        while (store->routers[i].first != NULL) {
            struct store_push_chunk *chunk = store->routers[i].first;

            store->routers[i].first = chunk->next;
            chunk_free(chunk);
        }
    }
    if (store->chunks_spare != NULL) {
        chunk_free(store->chunks_spare);
    }
    free(store->routers);
}
