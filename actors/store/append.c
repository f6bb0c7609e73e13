/* APPEND: a sequencer's batch becomes rows. A slot of it is stored whole or not at all.
 */
#include "actors/store/entry.h"
#include "core/log.h"
#include <assert.h>
#include <stdlib.h>

struct append {
    struct store_write write;
    size_t slot_count;
    size_t entry_count;
    Anser__Bus__AppendedSlot *slots; /* the answer, filled as it is known */
    Anser__Bus__AppendedSlot **slot_list;
    struct store_entry *entries; /* of all slots, in order */
    uint64_t *inbox_seqs;        /* the same; then those of the recipients */
};

static const Anser__Bus__Append *
body_of(const struct append *append)
{
    return (const Anser__Bus__Append *)append->write.msg->body;
}

/* Would all of the slot's entries fit? Changes nothing that outlasts a refusal. */
static enum an_err
check_slot(const struct store *store, const Anser__Bus__AppendSlot *slot,
           struct store_entry *entries, uint64_t *head)
{
    enum an_err err = AN_OK;
    size_t checked;

    for (checked = 0; checked < slot->n_entries; checked++) {
        err = store_entry_check(store, slot->entries[checked], &entries[checked]);
        if (err != AN_OK) {
            break;
        }
    }
    if (err == AN_OK) {
        return AN_OK;
    }
    for (size_t i = 0; i < checked; i++) {
        store_entry_uncheck(&entries[i]);
    }
    if (err == AN_ERR_GAP) {
        *head = entries[checked].conv->next_head;
    }
    return err;
}

static void
build_slot(struct store *store, const Anser__Bus__AppendSlot *slot, uint64_t incarnation,
           struct store_entry *entries, Anser__Bus__AppendedSlot *result)
{
    const struct store_slot *own = &store->slots[slot->slot];
    struct store_room room = {0};
    enum an_err err;

    assert(own->state == STORE_HEAD_LOADED);
    /* The epoch alone would do, were it not for a store put back in time: epochs given
     * since then are given again, to others. */
    if (own->next_epoch == 0 || slot->epoch != own->next_epoch ||
        (incarnation != 0 && own->next_incarnation != 0 &&
         incarnation != own->next_incarnation)) {
        result->err = AN_ERR_FENCED;
        result->epoch = own->next_epoch;
        result->owner = own->next_owner;
        return;
    }
    for (size_t i = 0; i < slot->n_entries; i++) {
        store_entry_room(slot->entries[i], &room);
    }
    /* Room first: once a slot is checked nothing may stop it. */
    err = store_reserve(store, room.rows, room.heads, room.bytes) ? AN_OK
                                                                  : AN_ERR_NO_MEMORY;
    if (err == AN_OK) {
        err = check_slot(store, slot, entries, &result->head);
    }
    if (err != AN_OK) {
        result->err = err;
        return;
    }
    for (size_t i = 0; i < slot->n_entries; i++) {
        store_entry_build(store, (uint16_t)slot->slot, slot->entries[i], &entries[i]);
        result->inbox_seqs[i] = entries[i].inbox_seq[0];
        result->recipient_inbox_seqs[i] = entries[i].inbox_seq[1];
    }
    result->n_inbox_seqs = slot->n_entries;
    result->n_recipient_inbox_seqs = slot->n_entries;
}

static void
append_build(struct store *store, struct store_write *write)
{
    struct append *append = (struct append *)write;
    const Anser__Bus__Append *body = body_of(append);
    struct store_entry *entries = append->entries;

    for (size_t i = 0; i < append->slot_count; i++) {
        if (append->slots[i].err == AN_OK) {
            build_slot(store, body->slots[i], body->incarnation, entries,
                       &append->slots[i]);
        }
        entries += body->slots[i]->n_entries;
    }
}

static void
let_go(struct store *store, struct append *append)
{
    for (size_t i = 0; i < append->entry_count; i++) {
        store_entry_release(store, &append->entries[i]);
    }
    free(append);
}

static void
append_discard(struct store *store, struct store_write *write)
{
    an_msg_abandon(write->msg);
    let_go(store, (struct append *)write);
}

static void
count_slot(struct store *store, const Anser__Bus__AppendSlot *slot, enum an_err err)
{
    if (err == AN_ERR_FENCED) {
        store->counts.slots_fenced++;
    } else if (err == AN_ERR_GAP) {
        store->counts.slots_gap++;
    } else if (err == AN_ERR_UNAVAILABLE) {
        store->counts.slots_blocked++;
    } else if (err == AN_ERR_NOT_MINE || err == AN_ERR_ARGUMENT ||
               err == AN_ERR_CURSOR_AHEAD) {
        store->counts.slots_bad++;
        an_out_log(store->out, AN_LOG_WARN, 0, "append refused slot=%u err=%s",
                   slot->slot, an_err_name(err));
    }
}

/* The answer goes out before the hints: the sender's ack is the promise. */
static void
append_finish(struct store *store, struct store_write *write, enum an_err err)
{
    struct append *append = (struct append *)write;
    const Anser__Bus__Append *body = body_of(append);
    Anser__Bus__Appended answer = ANSER__BUS__APPENDED__INIT;
    struct store_entry *entries = append->entries;
    uint32_t blocked[AN_SLOTS];

    for (size_t i = 0; err != AN_OK && i < append->slot_count; i++) {
        /* What a slot was told may rest on another write of the refused batch. */
        append->slots[i].err = append->slots[i].err == AN_ERR_NOT_MINE
                                   ? (uint32_t)AN_ERR_NOT_MINE
                                   : (uint32_t)err;
        append->slots[i].n_inbox_seqs = 0;
        append->slots[i].n_recipient_inbox_seqs = 0;
    }
    answer.slots = append->slot_list;
    answer.n_slots = append->slot_count;
    for (size_t i = 0; i < append->slot_count; i++) {
        if (append->slots[i].err == AN_ERR_UNAVAILABLE) {
            answer.n_blocked_stores = store_outgoing_list_blocked(store, blocked);
        }
    }
    answer.blocked_stores = blocked;
    an_out_answer(store->out, write->msg, AN_OK, &answer.base);
    for (size_t i = 0; i < append->slot_count; i++) {
        const Anser__Bus__AppendSlot *slot = body->slots[i];

        count_slot(store, slot, (enum an_err)append->slots[i].err);
        for (size_t k = 0; append->slots[i].err == AN_OK && k < slot->n_entries; k++) {
            store_entry_tell(store, slot->entries[k], &entries[k]);
        }
        entries += slot->n_entries;
    }
    an_msg_release(write->msg);
    let_go(store, append);
}

static const struct store_write_ops APPEND_OPS = {append_build, append_finish,
                                                  append_discard};

/* One piece of memory for all of it; NULL without. */
static struct append *
append_create(const Anser__Bus__Append *body)
{
    size_t slots = body->n_slots;
    size_t entries = 0;
    struct append *append;
    char *rest;

    for (size_t i = 0; i < slots; i++) {
        entries += body->slots[i]->n_entries;
    }
    append =
        calloc(1, sizeof(*append) + slots * (sizeof(*append->slots) + sizeof(void *)) +
                      entries * (sizeof(*append->entries) + 2 * sizeof(uint64_t)));
    if (append == NULL) {
        return NULL;
    }
    rest = (char *)(append + 1);
    append->entries = (struct store_entry *)(void *)rest;
    rest += entries * sizeof(*append->entries);
    append->slots = (Anser__Bus__AppendedSlot *)(void *)rest;
    rest += slots * sizeof(*append->slots);
    append->slot_list = (Anser__Bus__AppendedSlot **)(void *)rest;
    rest += slots * sizeof(void *);
    append->inbox_seqs = (uint64_t *)(void *)rest;
    append->slot_count = slots;
    append->entry_count = entries;
    append->write.ops = &APPEND_OPS;
    return append;
}

static enum an_err
prepare_slot(struct store *store, struct append *append,
             const Anser__Bus__AppendSlot *slot, struct store_entry *entries)
{
    enum an_err err;

    if (!store_owns(store, slot->slot)) {
        return AN_ERR_NOT_MINE;
    }
    for (size_t i = 0; i < slot->n_entries; i++) {
        if (!store_entry_fits(slot->entries[i], slot->slot)) {
            return AN_ERR_ARGUMENT;
        }
    }
    err = store_want_slot(store, &append->write, (uint16_t)slot->slot);
    for (size_t i = 0; err == AN_OK && i < slot->n_entries; i++) {
        err = store_entry_need(store, &append->write, &entries[i], slot->entries[i],
                               (uint16_t)slot->slot);
    }
    return err;
}

void
store_append(struct store *store, struct an_msg *msg)
{
    const Anser__Bus__Append *body = (const Anser__Bus__Append *)msg->body;
    struct append *append;
    size_t at = 0;

    if (!store_write_admit(store, msg, body->incarnation, body->number)) {
        return;
    }
    append = append_create(body);
    if (append == NULL) {
        store_refuse(store, msg, AN_ERR_NO_MEMORY);
        return;
    }
    append->write.msg = an_msg_hold(msg);
    for (size_t i = 0; i < body->n_slots; i++) {
        const Anser__Bus__AppendSlot *slot = body->slots[i];
        Anser__Bus__AppendedSlot *result = &append->slots[i];

        anser__bus__appended_slot__init(result);
        append->slot_list[i] = result;
        result->slot = slot->slot;
        result->inbox_seqs = append->inbox_seqs + at;
        result->recipient_inbox_seqs = append->inbox_seqs + append->entry_count + at;
        result->err = prepare_slot(store, append, slot, append->entries + at);
        at += slot->n_entries;
    }
    store_write_add(store, &append->write);
}
