#include "actors/router/router_batch.h"
#include <stdlib.h>
#include <string.h>

enum {
    ARENA_BYTES_MAX = 4 * 1024 * 1024,
    FLYING_MAX = 4,
    ITEM_BYTES = 64, /* of an item without its connections and its body */
};

enum an_err
router_batch_init(struct router_batch *batch, uint16_t gate_count, uint16_t peer_count)
{
    *batch = (struct router_batch){.gate_count = gate_count, .peer_count = peer_count};
    batch->peers = calloc(peer_count == 0 ? 1 : peer_count, sizeof(*batch->peers));
    batch->gates = calloc(gate_count == 0 ? 1 : gate_count, sizeof(*batch->gates));
    an_arena_init(&batch->arena, ARENA_BYTES_MAX);
    return batch->gates == NULL || batch->peers == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

static void
release_held(struct router_batch *batch)
{
    while (batch->held != NULL) {
        struct an_msg *msg = batch->held;
        batch->held = msg->next;
        an_msg_release(msg);
    }
}

void
router_batch_fini(struct router_batch *batch)
{
    release_held(batch);
    for (uint16_t i = 0; i < batch->gate_count && batch->gates != NULL; i++) {
        free(batch->gates[i].items);
    }
    free(batch->gates);
    for (uint16_t i = 0; i < batch->peer_count && batch->peers != NULL; i++) {
        free(batch->peers[i].items);
    }
    free(batch->peers);
    an_arena_fini(&batch->arena);
}

static void
publish(struct router_batch *batch, uint16_t gate, struct an_outbox *out)
{
    struct router_batch_gate *to = &batch->gates[gate];
    Anser__Bus__Deliver deliver = ANSER__BUS__DELIVER__INIT;

    if (to->count == 0) {
        return;
    }
    deliver.incarnation = to->incarnation;
    deliver.items = to->items;
    deliver.n_items = to->count;
    an_out_publish(out, (struct an_addr){AN_ROLE_GATE, gate}, AN_KIND_DELIVER,
                   &deliver.base);
    batch->publishes++;
    batch->bytes -= to->bytes;
    to->count = 0;
    to->bytes = 0;
}

/* A copy in the arena, body borrowed. */
static Anser__Bus__DeliverItem *
item_dup(struct router_batch *batch, const Anser__Bus__DeliverItem *item)
{
    Anser__Bus__DeliverItem *copy =
        an_arena_dup(&batch->arena, item, sizeof(Anser__Bus__DeliverItem));

    if (copy == NULL) {
        return NULL;
    }
    copy->conns =
        an_arena_dup(&batch->arena, item->conns, item->n_conns * sizeof(*item->conns));
    return copy->conns == NULL ? NULL : copy;
}

static void
hold(struct router_batch *batch, struct an_msg *msg)
{
    if (batch->held != msg) { /* its items come one after the other */
        an_msg_hold(msg);
        msg->next = batch->held;
        batch->held = msg;
    }
}

/* Of the item in a Deliver, at the most: its numbers are not measured. */
static size_t
item_bytes(const Anser__Bus__DeliverItem *item)
{
    size_t bytes = ITEM_BYTES + item->n_conns * sizeof(*item->conns) + item->body.len;

    if (item->account != NULL) {
        bytes += protobuf_c_message_get_packed_size(&item->account->base);
    }
    return bytes;
}

void
router_batch_add(struct router_batch *batch, uint16_t gate,
                 const Anser__Bus__DeliverItem *item, struct an_msg *msg,
                 struct an_outbox *out)
{
    struct router_batch_gate *to = &batch->gates[gate];
    size_t bytes = item_bytes(item);
    Anser__Bus__DeliverItem *copy;

    if (to->items == NULL) {
        to->items = calloc(AN_BATCH_ITEMS_MAX, sizeof(Anser__Bus__DeliverItem *));
    }
    copy = to->items == NULL ? NULL : item_dup(batch, item);
    if (copy == NULL) {
        batch->dropped++;
        return;
    }
    hold(batch, msg);
    to->items[to->count++] = copy;
    to->bytes += bytes;
    batch->bytes += bytes;
    batch->items++;
    if (to->count == AN_BATCH_ITEMS_MAX || to->bytes >= AN_BATCH_BYTES_MAX) {
        publish(batch, gate, out);
    }
}

static void
push(struct router_batch *batch, uint16_t peer, struct an_outbox *out)
{
    struct router_batch_peer *to = &batch->peers[peer];
    Anser__Bus__Push body = ANSER__BUS__PUSH__INIT;

    if (to->count == 0) {
        return;
    }
    body.items = to->items;
    body.n_items = to->count;
    an_out_ask(out, (struct an_addr){AN_ROLE_ROUTER, peer}, AN_KIND_PUSH, &body.base,
               AN_ASK_MS, peer, to->items[0]->trace);
    to->flying++;
    to->count = 0;
    to->bytes = 0;
}

void
router_batch_tell(struct router_batch *batch, uint16_t peer,
                  const Anser__Bus__PushItem *item, struct an_msg *msg,
                  struct an_outbox *out)
{
    struct router_batch_peer *to = &batch->peers[peer];
    Anser__Bus__PushItem *copy = NULL;

    if (to->items == NULL) {
        to->items = calloc(AN_BATCH_ITEMS_MAX, sizeof(Anser__Bus__PushItem *));
    }
    if (to->items != NULL && to->flying < FLYING_MAX) {
        copy = an_arena_dup(&batch->arena, item, sizeof(*item));
    }
    if (copy == NULL) {
        batch->dropped++;
        return;
    }
    hold(batch, msg);
    to->items[to->count++] = copy;
    to->bytes += protobuf_c_message_get_packed_size(&item->base) + 8;
    batch->told++;
    if (to->count == AN_BATCH_ITEMS_MAX || to->bytes >= AN_BATCH_BYTES_MAX) {
        push(batch, peer, out);
    }
}

void
router_batch_told(struct router_batch *batch, uint64_t tag)
{
    if (tag < batch->peer_count && batch->peers[tag].flying > 0) {
        batch->peers[tag].flying--;
    }
}

void
router_batch_flush(struct router_batch *batch, struct an_outbox *out)
{
    for (uint16_t i = 0; i < batch->peer_count; i++) {
        push(batch, i, out);
    }
    for (uint16_t i = 0; i < batch->gate_count; i++) {
        publish(batch, i, out);
    }
    release_held(batch);
    an_arena_reset(&batch->arena);
}
