/* Reading the heads and epochs that writes need before they can be built. One read at a
 * time; the next fills meanwhile, so "loads done" is one number. */
#include "actors/store/store_priv.h"
#include "core/log.h"
#include "proto/stored.pb-c.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool
add_want(struct store *store, struct store_want want)
{
    struct store_wants *wants = &store->wanted;

    if (wants->count == wants->cap) {
        size_t cap = wants->cap == 0 ? 64 : wants->cap * 2;
        struct store_want *more = realloc(wants->items, cap * sizeof(*more));

        if (more == NULL) {
            return false;
        }
        wants->items = more;
        wants->cap = cap;
    }
    wants->items[wants->count++] = want;
    return true;
}

static void
wait_for(struct store_write *write, uint64_t load)
{
    if (write->load_first == 0 || load < write->load_first) {
        write->load_first = load;
    }
    if (load > write->load_last) {
        write->load_last = load;
    }
}

enum an_err
store_want_head(struct store *store, struct store_write *write, enum store_want_what what,
                struct store_head *head)
{
    if (head->state == STORE_HEAD_LOADED) {
        return AN_OK;
    }
    if (head->state == STORE_HEAD_UNKNOWN) {
        struct store_want want = {.what = what, .slot = head->slot, .head = head};

        if (!add_want(store, want)) {
            return AN_ERR_NO_MEMORY;
        }
        store_heads_pin_again(head);
        head->state = STORE_HEAD_LOADING;
        head->load = store->loads_begun + 1;
    }
    wait_for(write, head->load);
    return AN_OK;
}

enum an_err
store_want_slot(struct store *store, struct store_write *write, uint16_t number)
{
    struct store_slot *slot = &store->slots[number];

    if (slot->state == STORE_HEAD_LOADED) {
        return AN_OK;
    }
    if (slot->state == STORE_HEAD_UNKNOWN) {
        struct store_want want = {.what = STORE_WANT_SLOT, .slot = number};

        if (!add_want(store, want)) {
            return AN_ERR_NO_MEMORY;
        }
        slot->state = STORE_HEAD_LOADING;
        slot->load = store->loads_begun + 1;
    }
    wait_for(write, slot->load);
    return AN_OK;
}

enum an_err
store_want_mark(struct store *store, struct store_write *write, struct store_mark *mark)
{
    if (mark->state == STORE_HEAD_LOADED) {
        return AN_OK;
    }
    if (mark->state == STORE_HEAD_UNKNOWN) {
        struct store_want want = {
            .what = STORE_WANT_MARK, .slot = mark->slot, .mark = mark};

        if (!add_want(store, want)) {
            return AN_ERR_NO_MEMORY;
        }
        mark->state = STORE_HEAD_LOADING;
        mark->load = store->loads_begun + 1;
    }
    wait_for(write, mark->load);
    return AN_OK;
}

static struct store_heads *
table_of(struct store *store, enum store_want_what what)
{
    return what == STORE_WANT_CONVERSATION ? &store->convs : &store->inboxes;
}

static bool
take_head(struct store *store, const struct store_want *want,
          const struct engine_item *item)
{
    struct store_head *head = want->head;

    if (item != NULL && want->what == STORE_WANT_CONVERSATION) {
        const Anser__Stored__Conversation *row = store_decode(
            store, &store->decode, &anser__stored__conversation__descriptor, item);

        if (row == NULL) {
            return false;
        }
        head->generation = row->generation;
        head->head = row->head;
        head->mark = row->last_time_ms;
    } else if (item != NULL) {
        const Anser__Stored__InboxHead *row = store_decode(
            store, &store->decode, &anser__stored__inbox_head__descriptor, item);

        if (row == NULL) {
            return false;
        }
        head->generation = row->generation;
        head->head = row->head;
        head->mark = row->first;
    }
    head->next_generation = head->generation;
    head->next_head = head->checked_head = head->head;
    head->next_mark = head->checked_mark = head->mark;
    return true;
}

static bool
take_slot(struct store *store, struct store_slot *slot, const struct engine_item *item)
{
    if (item != NULL) {
        const Anser__Stored__Slot *row =
            store_decode(store, &store->decode, &anser__stored__slot__descriptor, item);

        if (row == NULL) {
            return false;
        }
        slot->epoch = slot->next_epoch = row->epoch;
        slot->owner = slot->next_owner = (uint16_t)row->owner;
        slot->incarnation = slot->next_incarnation = row->incarnation;
    }
    return true;
}

static bool
take_mark(struct store *store, struct store_mark *mark, const struct engine_item *item)
{
    if (item != NULL) {
        const Anser__Stored__Mark *row =
            store_decode(store, &store->decode, &anser__stored__mark__descriptor, item);

        if (row == NULL) {
            return false;
        }
        mark->mark = mark->next = row->number;
    }
    return true;
}

/* AN_OK: the want is loaded, perhaps as "there is none". */
static enum an_err
take(struct store *store, const struct store_want *want, enum an_err err,
     const struct engine_answer *answer)
{
    const struct engine_item *item =
        err == AN_OK && answer->item_count > 0 ? answer->items : NULL;
    bool good;

    if (want->what == STORE_WANT_SLOT) {
        struct store_slot *slot = &store->slots[want->slot];

        good = err == AN_OK && take_slot(store, slot, item);
        slot->state = good ? STORE_HEAD_LOADED : STORE_HEAD_UNKNOWN;
    } else if (want->what == STORE_WANT_MARK) {
        good = err == AN_OK && take_mark(store, want->mark, item);
        want->mark->state = good ? STORE_HEAD_LOADED : STORE_HEAD_UNKNOWN;
    } else {
        good = err == AN_OK && take_head(store, want, item);
        want->head->state = good ? STORE_HEAD_LOADED : STORE_HEAD_UNKNOWN;
        store_heads_unpin(table_of(store, want->what), want->head);
    }
    if (err == AN_OK && !good) {
        return store_undecoded(&store->decode);
    }
    return err;
}

static void
load_done(void *ctx, enum an_err err, const struct engine_answer *answers,
          size_t answer_count)
{
    struct store *store = ctx;
    enum an_err failed = err;

    assert(err != AN_OK || answer_count == store->loading.count);
    for (size_t i = 0; i < store->loading.count; i++) {
        enum an_err each =
            take(store, &store->loading.items[i], err, err == AN_OK ? &answers[i] : NULL);

        if (failed == AN_OK) {
            failed = each;
        }
    }
    store->loading.count = 0;
    store->loads_done++;
    if (failed == AN_OK) {
        return;
    }
    /* Whoever waited for this read fails; the next to ask reads again. */
    an_out_log(store->out, AN_LOG_ERROR, 0, "loading heads failed err=%s",
               an_err_name(failed));
    for (struct store_write *write = store->queue.first; write != NULL;
         write = write->next) {
        if (write->load_first != 0 && write->load_first <= store->loads_done &&
            write->load_last >= store->loads_done) {
            write->failed = failed;
        }
    }
}

static size_t
want_key(uint8_t *key, const struct store_want *want)
{
    const struct store_head *head = want->head;
    struct an_conv conv;

    switch (want->what) {
    case STORE_WANT_CONVERSATION:
        conv = an_conv_direct(head->key[0], head->key[1]);
        return an_row_conversation(key, want->slot, &conv);
    case STORE_WANT_INBOX:
        return an_row_inbox_head(key, want->slot, head->key[0]);
    case STORE_WANT_MARK:
        return an_row_mark(key, want->slot, want->mark->source);
    case STORE_WANT_SLOT:
        break;
    }
    return an_row_slot(key, want->slot);
}

enum { WANT_KEY_MAX = 32 }; /* slot, letter and a conversation, and a zero byte */
_Static_assert(WANT_KEY_MAX > 3 + AN_CONV_LEN, "a conversation's key fits");

void
store_load_run(struct store *store)
{
    struct store_wants swap = store->loading;
    struct engine_query *queries;
    uint8_t *keys;
    size_t count = store->wanted.count;

    if (store->loading.count > 0 || count == 0) {
        return;
    }
    store->loading = store->wanted;
    store->wanted = swap;
    store->loads_begun++;
    store->counts.loads++;
    an_arena_reset(&store->load_arena);
    queries = an_arena_alloc(&store->load_arena, count * sizeof(*queries));
    keys = an_arena_alloc(&store->load_arena, count * WANT_KEY_MAX);
    if (queries == NULL || keys == NULL) {
        load_done(store, AN_ERR_NO_MEMORY, NULL, 0);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t *key = keys + i * WANT_KEY_MAX;
        size_t len = want_key(key, &store->loading.items[i]);

        key[len] = 0;
        queries[i] = (struct engine_query){
            .first = {key, len}, .end = {key, len + 1}, .items_max = 1};
    }
    engine_read(store->engine, queries, count, load_done, store);
}

void
store_load_fini(struct store *store)
{
    free(store->wanted.items);
    free(store->loading.items);
    an_arena_fini(&store->load_arena);
    an_arena_fini(&store->decode);
}
