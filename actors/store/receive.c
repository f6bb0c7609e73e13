/* FORWARD: inbox entries from another store. An entry is taken when its number is the one
 * behind the mark of its source; entries and mark are in one log record, so each is taken
 * once, whatever comes twice or late. MARKS: how far the entries of a source were taken.
 */
#include "actors/store/entry.h"
#include "core/log.h"
#include "core/slot.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_ROW_BYTES = AN_ROW_KEY_MAX + 128, MARK_ROW_BYTES = 32 };

struct receive {
    struct store_write write;
    size_t slot_count, entry_count;
    Anser__Bus__ForwardedSlot *slots; /* the answer */
    Anser__Bus__ForwardedSlot **slot_list;
    struct store_mark **marks;   /* of each slot; NULL where it is refused */
    uint64_t *skipped;           /* numbers that a slot's entries left out */
    struct store_head **inboxes; /* of all entries, in order; pinned */
    uint64_t *inbox_seqs;        /* given; 0: the entry was there already */
};

static const Anser__Bus__Forward *
body_of(const struct receive *receive)
{
    return (const Anser__Bus__Forward *)receive->write.msg->body;
}

/* ------------------------------------------------------------------ building */

static void
take_entries(struct store *store, const Anser__Bus__ForwardSlot *slot,
             struct store_mark *mark, struct store_head *const *inboxes,
             uint64_t *inbox_seqs)
{
    for (size_t i = 0; i < slot->n_entries; i++) {
        if (slot->first + i <= mark->next) {
            continue; /* done already */
        }
        assert(slot->first + i == mark->next + 1);
        store_inbox_put(store, inboxes[i], slot->entries[i]->message);
        inbox_seqs[i] = inboxes[i]->next_head;
        mark->next++;
    }
}

static void
build_slot(struct store *store, struct receive *receive, size_t at,
           struct store_head *const *inboxes, uint64_t *inbox_seqs)
{
    const Anser__Bus__ForwardSlot *slot = body_of(receive)->slots[at];
    Anser__Bus__ForwardedSlot *result = &receive->slots[at];
    struct store_mark *mark = receive->marks[at];

    assert(mark->state == STORE_HEAD_LOADED);
    if (slot->first > mark->next + 1 && !slot->skip) {
        result->err = AN_ERR_REWIND;
        result->mark = mark->next;
        return;
    }
    if (!store_reserve(store, slot->n_entries, slot->n_entries,
                       slot->n_entries * ENTRY_ROW_BYTES)) {
        result->err = AN_ERR_NO_MEMORY;
        return;
    }
    if (slot->first > mark->next + 1) {
        receive->skipped[at] = slot->first - 1 - mark->next;
        mark->next = slot->first - 1;
    }
    take_entries(store, slot, mark, inboxes, inbox_seqs);
    result->mark = mark->next;
    if (mark->next != mark->mark && !mark->touched) {
        mark->touched = true;
        mark->next_touched = store->marks_touched;
        store->marks_touched = mark;
        store->marks_touched_count++;
    }
}

static void
receive_build(struct store *store, struct store_write *write)
{
    struct receive *receive = (struct receive *)write;
    const Anser__Bus__Forward *body = body_of(receive);
    size_t at = 0;

    for (size_t i = 0; i < receive->slot_count; i++) {
        if (receive->slots[i].err == AN_OK) {
            build_slot(store, receive, i, receive->inboxes + at,
                       receive->inbox_seqs + at);
        }
        at += body->slots[i]->n_entries;
    }
}

bool
store_marks_put(struct store *store)
{
    struct store_mark *mark;

    if (!store_reserve(store, store->marks_touched_count, 0,
                       store->marks_touched_count * MARK_ROW_BYTES)) {
        return false;
    }
    for (mark = store->marks_touched; mark != NULL; mark = mark->next_touched) {
        Anser__Stored__Mark value = ANSER__STORED__MARK__INIT;

        value.number = mark->next;
        store_batch_put(
            &store->batch, mark->slot,
            an_row_mark(store_batch_key(&store->batch), mark->slot, mark->source),
            &value.base);
    }
    return true;
}

void
store_marks_settle(struct store *store, bool synced)
{
    struct store_mark *mark;

    while ((mark = store->marks_touched) != NULL) {
        store->marks_touched = mark->next_touched;
        mark->touched = false;
        if (synced) {
            mark->mark = mark->next;
        } else {
            mark->next = mark->mark;
        }
    }
    store->marks_touched_count = 0;
}

/* ------------------------------------------------------------------ finishing */

static void
let_go(struct store *store, struct receive *receive)
{
    for (size_t i = 0; i < receive->entry_count; i++) {
        if (receive->inboxes[i] != NULL) {
            store_heads_unpin(&store->inboxes, receive->inboxes[i]);
        }
    }
    free(receive);
}

static void
receive_discard(struct store *store, struct store_write *write)
{
    an_msg_abandon(write->msg);
    let_go(store, (struct receive *)write);
}

static void
tell_entry(struct store *store, uint32_t source, const Anser__Bus__ForwardEntry *entry,
           const struct store_head *inbox, uint64_t inbox_seq)
{
    const Anser__Bus__MessageEntry *message = entry->message;

    if (inbox_seq == 0) {
        store->counts.forwards_repeated++;
        return;
    }
    store->counts.forwards_applied++;
    store->counts.inbox_entries++;
    an_out_hop(store->out, AN_HOP_FORWARD, entry->trace, message->message_id,
               entry->user);
    if (store->out->watched) {
        an_out_event(store->out, "message.forward",
                     "{\"trace\":\"%016" PRIx64 "\",\"message_id\":\"%" PRIu64
                     "\",\"user\":\"%" PRIu64 "\",\"source\":%u,\"inbox_seq\":\"%" PRIu64
                     "\"}",
                     entry->trace, message->message_id, entry->user, source, inbox_seq);
    }
    store_push_forwarded(store, entry, inbox, inbox_seq);
}

static void
tell_slot(struct store *store, const struct receive *receive, size_t at)
{
    const Anser__Bus__Forward *body = body_of(receive);
    const Anser__Bus__ForwardedSlot *result = &receive->slots[at];

    if (result->err == AN_ERR_REWIND) {
        store->counts.forwards_rewound++;
    } else if (result->err != AN_OK) {
        store->counts.slots_bad++;
        an_out_log(store->out, AN_LOG_WARN, 0,
                   "entries of another store refused source=%u slot=%u err=%s",
                   body->source, result->slot, an_err_name(result->err));
    }
    if (receive->skipped[at] > 0) {
        store->counts.skips++;
        an_out_log(store->out, AN_LOG_ERROR, 0,
                   "inbox entries of another store are lost source=%u slot=%u "
                   "entries=%" PRIu64,
                   body->source, result->slot, receive->skipped[at]);
    }
}

/* The answer goes out before the hints. */
static void
receive_finish(struct store *store, struct store_write *write, enum an_err err)
{
    struct receive *receive = (struct receive *)write;
    const Anser__Bus__Forward *body = body_of(receive);
    Anser__Bus__Forwarded answer = ANSER__BUS__FORWARDED__INIT;
    size_t at = 0;

    if (err != AN_OK) {
        store_refuse(store, write->msg, err);
        an_msg_release(write->msg);
        let_go(store, receive);
        return;
    }
    answer.slots = receive->slot_list;
    answer.n_slots = receive->slot_count;
    an_out_answer(store->out, write->msg, AN_OK, &answer.base);
    for (size_t i = 0; i < receive->slot_count; i++) {
        const Anser__Bus__ForwardSlot *slot = body->slots[i];

        tell_slot(store, receive, i);
        for (size_t k = 0; receive->slots[i].err == AN_OK && k < slot->n_entries; k++) {
            tell_entry(store, body->source, slot->entries[k], receive->inboxes[at + k],
                       receive->inbox_seqs[at + k]);
        }
        at += slot->n_entries;
    }
    an_msg_release(write->msg);
    let_go(store, receive);
}

static const struct store_write_ops RECEIVE_OPS = {receive_build, receive_finish,
                                                   receive_discard};

/* ------------------------------------------------------------------ taking it on */

static bool
entry_fits(const Anser__Bus__ForwardEntry *entry, uint32_t slot)
{
    const Anser__Bus__MessageEntry *message = entry->message;

    return message != NULL && store_message_fits(message) &&
           (entry->user == message->sender || entry->user == message->recipient) &&
           an_slot_user(entry->user) == slot;
}

static bool
slot_fits(const Anser__Bus__ForwardSlot *slot)
{
    if (slot->first == 0 || slot->n_entries == 0 ||
        slot->first > UINT64_MAX - slot->n_entries) {
        return false;
    }
    for (size_t i = 0; i < slot->n_entries; i++) {
        if (!entry_fits(slot->entries[i], slot->slot)) {
            return false;
        }
    }
    return true;
}

/* The mark of the source in the slot; NULL without memory. */
static struct store_mark *
mark_of(struct store *store, uint16_t slot, uint16_t source)
{
    struct store_mark *marks = store->marks[source];

    if (marks == NULL) {
        marks = calloc(AN_SLOTS, sizeof(*marks));
        if (marks == NULL) {
            return NULL;
        }
        for (uint16_t i = 0; i < AN_SLOTS; i++) {
            marks[i].slot = i;
            marks[i].source = source;
        }
        store->marks[source] = marks;
    }
    return &marks[slot];
}

static enum an_err
prepare_slot(struct store *store, struct receive *receive, size_t at,
             struct store_head **inboxes)
{
    const Anser__Bus__ForwardSlot *slot = body_of(receive)->slots[at];
    enum an_err err;

    if (!store_owns(store, slot->slot)) {
        return AN_ERR_NOT_MINE;
    }
    if (!slot_fits(slot)) {
        return AN_ERR_ARGUMENT;
    }
    receive->marks[at] =
        mark_of(store, (uint16_t)slot->slot, (uint16_t)body_of(receive)->source);
    if (receive->marks[at] == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    err = store_want_mark(store, &receive->write, receive->marks[at]);
    for (size_t i = 0; err == AN_OK && i < slot->n_entries; i++) {
        err =
            store_inbox_need(store, &receive->write, &inboxes[i], slot->entries[i]->user);
    }
    return err;
}

/* One piece of memory for all of it; NULL without. */
static struct receive *
receive_create(const Anser__Bus__Forward *body)
{
    size_t slots = body->n_slots;
    size_t entries = 0;
    struct receive *receive;
    char *rest;

    for (size_t i = 0; i < slots; i++) {
        entries += body->slots[i]->n_entries;
    }
    receive = calloc(
        1, sizeof(*receive) +
               slots * (sizeof(*receive->slots) + 2 * sizeof(void *) + sizeof(uint64_t)) +
               entries * (sizeof(void *) + sizeof(uint64_t)));
    if (receive == NULL) {
        return NULL;
    }
    rest = (char *)(receive + 1);
    receive->slots = (Anser__Bus__ForwardedSlot *)(void *)rest;
    rest += slots * sizeof(*receive->slots);
    receive->slot_list = (Anser__Bus__ForwardedSlot **)(void *)rest;
    rest += slots * sizeof(void *);
    receive->marks = (struct store_mark **)(void *)rest;
    rest += slots * sizeof(void *);
    receive->skipped = (uint64_t *)(void *)rest;
    rest += slots * sizeof(uint64_t);
    receive->inboxes = (struct store_head **)(void *)rest;
    rest += entries * sizeof(void *);
    receive->inbox_seqs = (uint64_t *)(void *)rest;
    receive->slot_count = slots;
    receive->entry_count = entries;
    receive->write.ops = &RECEIVE_OPS;
    return receive;
}

/* Another store says which it is; it must be the one that the message comes from. */
static bool
from_source(const struct store *store, const struct an_msg *msg, uint32_t source)
{
    return source < store->mark_count && source != store->index &&
           source == msg->from.index;
}

void
store_forward(struct store *store, struct an_msg *msg)
{
    const Anser__Bus__Forward *body = (const Anser__Bus__Forward *)msg->body;
    struct receive *receive;
    size_t at = 0;

    if (!from_source(store, msg, body->source)) {
        store_refuse(store, msg, AN_ERR_ARGUMENT);
        return;
    }
    if (store->queue.count >= AN_STORE_WRITES_MAX) {
        store_refuse(store, msg, AN_ERR_BUSY);
        return;
    }
    receive = receive_create(body);
    if (receive == NULL) {
        store_refuse(store, msg, AN_ERR_NO_MEMORY);
        return;
    }
    receive->write.msg = an_msg_hold(msg);
    for (size_t i = 0; i < body->n_slots; i++) {
        Anser__Bus__ForwardedSlot *result = &receive->slots[i];

        anser__bus__forwarded_slot__init(result);
        receive->slot_list[i] = result;
        result->slot = body->slots[i]->slot;
        result->err = prepare_slot(store, receive, i, receive->inboxes + at);
        at += body->slots[i]->n_entries;
    }
    store_write_add(store, &receive->write);
}

/* ------------------------------------------------------------------ marks */

struct marks_read {
    struct store *store;
    struct an_msg *msg;
};

static void
marks_done(struct marks_read *read, enum an_err err, const struct engine_answer *answers)
{
    struct store *store = read->store;
    Anser__Bus__MarksDone body = ANSER__BUS__MARKS_DONE__INIT;
    Anser__Bus__SlotMark *marks = calloc(AN_SLOTS, sizeof(*marks));
    Anser__Bus__SlotMark *list[AN_SLOTS];
    size_t at = 0;

    if (err == AN_OK && marks == NULL) {
        err = AN_ERR_NO_MEMORY;
    }
    for (unsigned i = 0; err == AN_OK && i < AN_SLOTS; i++) {
        const struct engine_answer *answer;
        const Anser__Stored__Mark *row;

        if (!store->slots[i].mine) {
            continue;
        }
        answer = &answers[at++];
        if (answer->item_count == 0) {
            continue;
        }
        row = store_decode(store, &store->decode, &anser__stored__mark__descriptor,
                           &answer->items[0]);
        if (row == NULL) {
            err = store_undecoded(&store->decode);
            break;
        }
        list[body.n_marks] = &marks[body.n_marks];
        anser__bus__slot_mark__init(&marks[body.n_marks]);
        marks[body.n_marks].slot = i;
        marks[body.n_marks++].mark = row->number;
    }
    body.marks = list;
    if (err == AN_OK) {
        an_out_answer(store->out, read->msg, AN_OK, &body.base);
    } else {
        store_refuse(store, read->msg, err);
    }
    free(marks);
}

static void
marks_read(void *ctx, enum an_err err, const struct engine_answer *answers,
           size_t answer_count)
{
    struct marks_read *read = ctx;

    (void)answer_count;
    marks_done(read, err, answers);
    an_msg_release(read->msg);
    read->store->reads_in_flight--;
    free(read);
}

void
store_marks(struct store *store, struct an_msg *msg)
{
    uint16_t source = msg->from.index;
    struct engine_query *queries;
    struct marks_read *read;
    uint8_t *keys;
    size_t count = 0;

    if (!from_source(store, msg, ((const Anser__Bus__Marks *)msg->body)->source)) {
        store_refuse(store, msg, AN_ERR_ARGUMENT);
        return;
    }
    store_outgoing_heard(store, source);
    queries = calloc(AN_SLOTS, sizeof(*queries) + 6);
    read = calloc(1, sizeof(*read));
    if (queries == NULL || read == NULL || store->reads_in_flight >= AN_STORE_READS_MAX) {
        store_refuse(store, msg, AN_ERR_BUSY);
        free(queries);
        free(read);
        return;
    }
    *read = (struct marks_read){store, an_msg_hold(msg)};
    store->reads_in_flight++;
    keys = (uint8_t *)(queries + AN_SLOTS);
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (store->slots[slot].mine) {
            size_t len = an_row_mark(keys, slot, source);

            keys[len] = 0;
            queries[count++] = (struct engine_query){
                .first = {keys, len}, .end = {keys, len + 1}, .items_max = 1};
            keys += len + 1;
        }
    }
    engine_read(store->engine, queries, count, marks_read, read);
    free(queries);
}

/* ------------------------------------------------------------------ life */

bool
store_receive_init(struct store *store)
{
    store->mark_count = store->topology->count[AN_ROLE_STORE];
    store->marks = calloc((size_t)store->mark_count + 1, sizeof(*store->marks));
    return store->marks != NULL;
}

void
store_receive_fini(struct store *store)
{
    for (uint16_t i = 0; store->marks != NULL && i < store->mark_count; i++) {
        free(store->marks[i]);
    }
    free(store->marks);
}
