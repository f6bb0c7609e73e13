/* The queue of writes: gathers what is ready into one log record. */
#include "actors/store/store_priv.h"
#include "core/log.h"
#include "proto/stored.pb-c.h"
#include <assert.h>
#include <stdlib.h>

/* A head's row: two user names and numbers. */
enum { HEAD_ROW_BYTES = AN_ROW_KEY_MAX + 2 * AN_NAME_LEN_MAX + 128 };

static void
list_push(struct store_write_list *list, struct store_write *write)
{
    write->next = NULL;
    if (list->last != NULL) {
        list->last->next = write;
    } else {
        list->first = write;
    }
    list->last = write;
    list->count++;
}

static struct store_write *
list_shift(struct store_write_list *list)
{
    struct store_write *write = list->first;

    if (write == NULL) {
        return NULL;
    }
    list->first = write->next;
    if (list->first == NULL) {
        list->last = NULL;
    }
    write->next = NULL;
    list->count--;
    return write;
}

void
store_write_add(struct store *store, struct store_write *write)
{
    list_push(&store->queue, write);
}

void
store_touch(struct store *store, struct store_head *head)
{
    if (head->touched) {
        return;
    }
    assert(store->touched_count < store->touched_cap);
    head->touched = true;
    store->touched[store->touched_count++] = head;
}

bool
store_reserve(struct store *store, size_t rows, size_t heads, size_t bytes)
{
    if (store->touched_count + heads > store->touched_cap) {
        size_t cap = store->touched_cap == 0 ? 256 : store->touched_cap;
        struct store_head **more;

        while (cap < store->touched_count + heads) {
            cap *= 2;
        }
        more = realloc(store->touched, cap * sizeof(struct store_head *));
        if (more == NULL) {
            return false;
        }
        store->touched = more;
        store->touched_cap = cap;
    }
    return store_batch_reserve(&store->batch, rows, bytes);
}

static void
put_conversation(struct store *store, const struct store_head *head)
{
    const Anser__Bus__MessageEntry *entry = head->newest;
    Anser__Stored__Conversation value = ANSER__STORED__CONVERSATION__INIT;
    Anser__Stored__Member members[2] = {ANSER__STORED__MEMBER__INIT,
                                        ANSER__STORED__MEMBER__INIT};
    Anser__Stored__Member *list[2] = {&members[0], &members[1]};
    struct an_conv conv = an_conv_direct(head->key[0], head->key[1]);
    bool sender_low = entry->sender == head->key[0];

    members[0].user = head->key[0];
    members[0].name = sender_low ? entry->from : entry->to;
    members[1].user = head->key[1];
    members[1].name = sender_low ? entry->to : entry->from;
    value.generation = head->next_generation;
    value.head = head->next_head;
    value.last_time_ms = head->next_mark;
    value.members = list;
    value.n_members = head->key[0] == head->key[1] ? 1 : 2;
    store_batch_put(
        &store->batch, head->slot,
        an_row_conversation(store_batch_key(&store->batch), head->slot, &conv),
        &value.base);
}

static void
put_inbox_head(struct store *store, const struct store_head *head)
{
    Anser__Stored__InboxHead value = ANSER__STORED__INBOX_HEAD__INIT;

    value.generation = head->next_generation;
    value.head = head->next_head;
    value.first = head->next_mark;
    store_batch_put(
        &store->batch, head->slot,
        an_row_inbox_head(store_batch_key(&store->batch), head->slot, head->key[0]),
        &value.base);
}

/* One row for each touched head, however many messages moved it. */
static bool
put_heads(struct store *store)
{
    if (!store_reserve(store, store->touched_count, 0,
                       store->touched_count * HEAD_ROW_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < store->touched_count; i++) {
        const struct store_head *head = store->touched[i];

        if (head->newest != NULL) {
            put_conversation(store, head);
        } else {
            put_inbox_head(store, head);
        }
    }
    return store->marks_touched == NULL || store_marks_put(store);
}

/* After the answer of the engine the two faces of every touched head are one again. */
static void
settle_heads(struct store *store, bool synced)
{
    for (size_t i = 0; i < store->touched_count; i++) {
        struct store_head *head = store->touched[i];

        if (synced) {
            head->generation = head->next_generation;
            head->head = head->next_head;
            head->mark = head->next_mark;
        } else {
            head->next_generation = head->generation;
            head->next_head = head->head;
            head->next_mark = head->mark;
        }
        head->checked_head = head->next_head;
        head->checked_mark = head->next_mark;
        head->newest = NULL;
        head->touched = false;
    }
    store->touched_count = 0;
    store_marks_settle(store, synced);
    store_outgoing_settle(store, synced);
}

static void
batch_done(void *ctx, enum an_err err)
{
    struct store *store = ctx;
    struct store_write_list done = store->writing;
    struct store_write *write;

    assert(store->append_in_flight);
    store->append_in_flight = false;
    store->writing = (struct store_write_list){0};
    if (err == AN_ERR_FENCED) {
        /* Nobody but this actor opens slots of its engine. */
        an_out_log(store->out, AN_LOG_ERROR, 0, "the engine says another store holds it");
        err = AN_ERR_INTERNAL;
    }
    if (err == AN_OK) {
        store->counts.batches++;
        store->appended = true;
    } else {
        store->counts.batches_refused++;
        an_out_log(store->out, AN_LOG_WARN, 0, "append refused err=%s writes=%u",
                   an_err_name(err), done.count);
    }
    settle_heads(store, err == AN_OK);
    store_batch_reset(&store->batch);
    while ((write = list_shift(&done)) != NULL) {
        write->ops->finish(store, write, err);
    }
}

static bool
batch_full(const struct store *store)
{
    return store->batch.len >= AN_STORE_BATCH_BYTES_MAX ||
           store->batch.row_count >= AN_STORE_BATCH_ROWS_MAX;
}

/* Builds every ready write in order; those whose heads are being read stay. true when a
 * write was finished, which may have made way for another. */
static bool
gather(struct store *store)
{
    struct store_write_list waiting = store->queue;
    struct store_write *write;
    bool finished = false;

    store->queue = (struct store_write_list){0};
    while ((write = list_shift(&waiting)) != NULL) {
        if (write->failed != AN_OK) {
            write->ops->finish(store, write, write->failed);
            finished = true;
        } else if (write->msg != NULL && an_msg_expired(write->msg, store->now)) {
            write->ops->finish(store, write, AN_ERR_EXPIRED);
            finished = true;
        } else if (write->load_last > store->loads_done || batch_full(store)) {
            list_push(&store->queue, write);
        } else {
            write->built = true;
            write->ops->build(store, write);
            list_push(&store->writing, write);
        }
    }
    return finished;
}

/* Writes the batch; false when there is none. */
static bool
write_batch(struct store *store)
{
    uint64_t fences[AN_SLOTS];

    if (store->writing.first == NULL) {
        return false;
    }
    store->append_in_flight = true;
    if (!put_heads(store)) {
        batch_done(store, AN_ERR_NO_MEMORY);
        return true;
    }
    if (store->batch.row_count == 0) {
        batch_done(store, AN_OK); /* every slot was refused */
        return true;
    }
    for (unsigned i = 0; i < store->batch.slot_count; i++) {
        fences[store->batch.slots[i]] = store->slots[store->batch.slots[i]].fence;
    }
    if (!store_batch_group(&store->batch, fences)) {
        batch_done(store, AN_ERR_NO_MEMORY);
        return true;
    }
    engine_append(store->engine, store->batch.groups, store->batch.group_count,
                  batch_done, store);
    return true;
}

void
store_write_run(struct store *store)
{
    bool again;

    do {
        store_cas_run(store);
        store_load_run(store);
        if (store->append_in_flight) {
            return;
        }
        again = gather(store);
        again = write_batch(store) || again;
    } while (again);
}

void
store_write_fini(struct store *store)
{
    struct store_write *write;

    while ((write = list_shift(&store->writing)) != NULL) {
        write->ops->discard(store, write);
    }
    while ((write = list_shift(&store->queue)) != NULL) {
        write->ops->discard(store, write);
    }
    settle_heads(store, false);
    free(store->touched);
    store_batch_fini(&store->batch);
}
