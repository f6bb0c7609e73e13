/* One Append at a time per store. Numbers are given when a batch is put together, never
 * earlier, so a batch always continues what is on disk, and one that is refused leaves
 * nothing to take back but its own numbers. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

/* ------------------------------------------------------------------ collecting */

struct collected {
    uint32_t count;
    size_t bytes;
};

static struct seq_item *
next_item(struct seq *s, struct collected *c, uint16_t slot)
{
    struct seq_item *item = &s->scratch->items[c->count++];

    *item = (struct seq_item){.slot = slot};
    c->bytes += SEQ_COMMAND_COST;
    return item;
}

static void
collect_positions(struct seq *s, struct seq_link *link, struct collected *c,
                  struct an_now now, struct an_outbox *out)
{
    while (link->dirty != NULL && c->count < SEQ_POSITIONS_PER_BATCH) {
        struct seq_position *p = link->dirty;

        /* Still marked: judging must not put it on the list again. */
        if (p->conv != NULL && p->pending > p->conv->head) {
            seq_position_judge(s, p, now, out);
        }
        link->dirty = p->next;
        p->dirty = false;
        if (p->waiting.head != NULL && p->pending > p->durable) {
            p->inflight = p->pending;
            p->flying = true;
            next_item(s, c, p->slot)->position = p;
        }
    }
    link->dirty_due_mono_ms = now.mono_ms;
    if (link->dirty == NULL) {
        link->dirty_tail = &link->dirty;
        link->dirty_due_mono_ms = UINT64_MAX;
    }
}

static void
event_order(const struct seq_cmd *cmd, struct an_outbox *out)
{
    const Anser__Bus__SendCommand *send = cmd->in->send;
    char id[2 * AN_CLIENT_MSG_ID_LEN + 1];

    if (out->watched) {
        sodium_bin2hex(id, sizeof(id), send->client_msg_id.data, AN_CLIENT_MSG_ID_LEN);
        an_out_event(out, "message.order",
                     "{\"trace\":\"%016" PRIx64 "\",\"client_msg_id\":\"%s\","
                     "\"message_id\":\"%" PRIu64 "\",\"slot\":%u,\"seq\":\"%" PRIu64
                     "\"}",
                     cmd->in->trace, id, cmd->message_id, (unsigned)cmd->slot, cmd->seq);
    }
}

static void
number(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    struct seq_conv *conv = cmd->conv;
    bool taken = seq_ids_take(&s->ids, now, &cmd->message_id);

    assert(taken);
    if (now.wall_ms > conv->last_time_ms) {
        conv->last_time_ms = now.wall_ms;
    }
    cmd->time_ms = conv->last_time_ms;
    cmd->seq = ++conv->assigned;
    event_order(cmd, out);
    an_out_hop(out, AN_HOP_ORDER, cmd->in->trace, cmd->message_id, cmd->seq);
}

/* Has one of the two its inbox at a store for which this one can note nothing now? */
static bool
blocked(const struct seq *s, const struct seq_link *link, const struct seq_cmd *cmd,
        struct an_now now)
{
    const uint64_t users[2] = {cmd->in->send->sender, cmd->in->send->recipient};

    if (now.mono_ms >= link->any_blocked_mono_ms) {
        return false; /* as nearly always: a user's slot costs a hash */
    }
    for (size_t i = 0; i < 2; i++) {
        uint16_t store = s->topology->slot_store[an_slot_user(users[i])];

        if (now.mono_ms < link->blocked_mono_ms[store]) {
            return true;
        }
    }
    return false;
}

/* false: no ids; the send stays at the head of the list. */
static bool
collect_send(struct seq *s, struct seq_link *link, struct collected *c, struct an_now now,
             struct an_outbox *out)
{
    struct seq_cmd *cmd = link->ready.head;

    if (an_msg_expired(cmd->submit->msg, now)) {
        seq_list_pop(&link->ready);
        seq_finish(s, cmd, AN_ERR_EXPIRED, now, out);
        return true;
    }
    if (!seq_send_follows(s, cmd)) {
        seq_list_pop(&link->ready);
        seq_finish(s, cmd, AN_ERR_ORDER, now, out);
        return true;
    }
    if (blocked(s, link, cmd, now)) {
        seq_list_pop(&link->ready);
        s->m.blocked++;
        seq_finish(s, cmd, AN_ERR_UNAVAILABLE, now, out);
        return true;
    }
    s->ids_wanted = true;
    if (!seq_ids_any(&s->ids, now)) {
        s->m.id_waits++;
        return false;
    }
    seq_list_pop(&link->ready);
    number(s, cmd, now, out);
    next_item(s, c, cmd->slot)->cmd = cmd;
    c->bytes += cmd->in->send->body.len;
    return true;
}

static void
collect_commands(struct seq *s, struct seq_link *link, struct collected *c,
                 struct an_now now, struct an_outbox *out)
{
    while (link->ready.head != NULL && c->count < AN_BATCH_ITEMS_MAX &&
           c->bytes < AN_BATCH_BYTES_MAX) {
        struct seq_cmd *cmd = link->ready.head;

        if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
            if (!collect_send(s, link, c, now, out)) {
                return;
            }
        } else {
            seq_list_pop(&link->ready);
            next_item(s, c, cmd->slot)->cmd = cmd;
        }
    }
}

/* ------------------------------------------------------------------ packing */

static void
fill_message(Anser__Bus__Entry *entry, Anser__Bus__MessageEntry *m, struct seq_cmd *cmd)
{
    const Anser__Bus__SendCommand *send = cmd->in->send;

    anser__bus__message_entry__init(m);
    entry->what_case = ANSER__BUS__ENTRY__WHAT_MESSAGE;
    entry->message = m;
    m->conversation = (ProtobufCBinaryData){AN_CONV_LEN, cmd->conv->key.bytes};
    m->seq = cmd->seq;
    m->message_id = cmd->message_id;
    m->time_ms = cmd->time_ms;
    m->sender = send->sender;
    m->recipient = send->recipient;
    m->from = send->from;
    m->to = send->to;
    m->device = send->device;
    m->client_msg_id = send->client_msg_id;
    m->type = send->type;
    m->body = send->body;
    m->body_hash = (ProtobufCBinaryData){SEQ_HASH_LEN, cmd->body_hash};
}

static void
fill_device(Anser__Bus__Entry *entry, Anser__Bus__DeviceEntry *d,
            const struct seq_position *p, struct an_now now)
{
    anser__bus__device_entry__init(d);
    entry->what_case = ANSER__BUS__ENTRY__WHAT_DEVICE;
    entry->device = d;
    d->user = p->device->user;
    d->device = (ProtobufCBinaryData){p->device->name_len, p->device->name};
    d->cursor = p->inflight;
    d->confirmed_ms = now.wall_ms;
}

static void
fill_delivered(Anser__Bus__Entry *entry, Anser__Bus__DeliveredEntry *d,
               const struct seq_position *p)
{
    struct seq_conv *conv = p->conv;
    uint64_t peer = conv->users[p->member ^ 1];

    anser__bus__delivered_entry__init(d);
    entry->what_case = ANSER__BUS__ENTRY__WHAT_DELIVERED;
    entry->delivered = d;
    d->conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv->key.bytes};
    d->member = conv->users[p->member];
    d->seq = p->inflight;
    d->member_name =
        (ProtobufCBinaryData){conv->name_lens[p->member], conv->names[p->member]};
    d->peer = peer == d->member ? 0 : peer;
}

static void
fill_account(Anser__Bus__Entry *entry, union seq_body *body, struct seq_cmd *cmd,
             struct an_now now)
{
    if (cmd->change != NULL) {
        seq_change_fill(entry, body, cmd);
        return;
    }
    if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_CREATE_USER) {
        anser__bus__user_entry__init(&body->user);
        entry->what_case = ANSER__BUS__ENTRY__WHAT_USER;
        entry->user = &body->user;
        body->user.user = cmd->in->create_user->user;
        body->user.app = cmd->in->create_user->app;
        body->user.name = cmd->in->create_user->name;
        body->user.created_ms = now.wall_ms;
        body->user.password_hash = cmd->in->create_user->password_hash;
    } else {
        anser__bus__directory_entry__init(&body->directory);
        entry->what_case = ANSER__BUS__ENTRY__WHAT_DIRECTORY;
        entry->directory = &body->directory;
        body->directory.app = cmd->in->put_directory->app;
        body->directory.name = cmd->in->put_directory->name;
        body->directory.user = cmd->in->put_directory->user;
    }
}

static void
fill_entry(Anser__Bus__Entry *entry, union seq_body *body, const struct seq_item *item,
           struct an_now now)
{
    anser__bus__entry__init(entry);
    if (item->position != NULL) {
        if (item->position->device != NULL) {
            fill_device(entry, &body->device, item->position, now);
        } else {
            fill_delivered(entry, &body->delivered, item->position);
        }
        return;
    }
    entry->trace = item->cmd->in->trace;
    if (item->cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
        fill_message(entry, &body->message, item->cmd);
    } else {
        fill_account(entry, body, item->cmd, now);
    }
}

/* Puts the collected items into the link, slot by slot, each slot's in their order. */
static void
group(struct seq *s, struct seq_link *link, uint32_t count)
{
    struct seq_scratch *x = s->scratch;
    uint32_t start = 0;

    x->batch++;
    link->group_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t slot = x->items[i].slot;

        if (x->group_batch[slot] != x->batch) {
            x->group_batch[slot] = x->batch;
            x->group_of[slot] = link->group_count;
            link->groups[link->group_count++] = (struct seq_group){.slot = slot};
        }
        link->groups[x->group_of[slot]].count++;
    }
    for (uint32_t g = 0; g < link->group_count; g++) {
        link->groups[g].start = start;
        start += link->groups[g].count;
        link->groups[g].count = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct seq_group *g = &link->groups[x->group_of[x->items[i].slot]];

        link->items[g->start + g->count++] = x->items[i];
    }
}

static void
send_append(struct seq *s, struct seq_link *link, uint32_t count, struct an_now now,
            struct an_outbox *out)
{
    struct seq_scratch *x = s->scratch;
    Anser__Bus__Append append = ANSER__BUS__APPEND__INIT;
    struct an_addr store = {AN_ROLE_STORE, link->index};

    group(s, link, count);
    for (uint32_t i = 0; i < count; i++) {
        fill_entry(&x->entries[i], &x->bodies[i], &link->items[i], now);
        x->entry_list[i] = &x->entries[i];
    }
    for (uint32_t g = 0; g < link->group_count; g++) {
        Anser__Bus__AppendSlot *slot = &x->slots[g];

        anser__bus__append_slot__init(slot);
        slot->slot = link->groups[g].slot;
        slot->epoch = s->slots[link->groups[g].slot].epoch;
        slot->entries = &x->entry_list[link->groups[g].start];
        slot->n_entries = link->groups[g].count;
        x->slot_list[g] = slot;
    }
    append.slots = x->slot_list;
    append.n_slots = link->group_count;
    append.incarnation = s->incarnation;
    append.number = ++s->request_number;
    link->flying = true;
    s->m.appends++;
    s->m.append_items += count;
    an_out_ask(out, store, AN_KIND_APPEND, &append.base, AN_ASK_MS,
               seq_tag(SEQ_TAG_APPEND, link->index), 0);
}

void
seq_batch_act(struct seq *s, struct seq_link *link, struct an_now now,
              struct an_outbox *out)
{
    struct collected c = {0};

    if (link->flying) {
        return;
    }
    if (link->ready.head == NULL && now.mono_ms < link->dirty_due_mono_ms) {
        if (link->dirty != NULL && !link->dirty_timer) {
            link->dirty_timer = true;
            an_out_timer(out, link->dirty_due_mono_ms,
                         seq_tag(SEQ_TAG_POSITIONS, link->index));
        }
        return;
    }
    collect_positions(s, link, &c, now, out);
    collect_commands(s, link, &c, now, out);
    if (c.count > 0) {
        send_append(s, link, c.count, now, out);
    }
}
