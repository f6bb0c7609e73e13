/* The queries whose answer is messages: Sync, History, the newest event, and one. */
#include "actors/store/account.h"
#include "core/log.h"
#include "core/slot.h"
#include "proto/client.pb-c.h"
#include <inttypes.h>
#include <string.h>

/* What a message takes on the wire beyond its body: names, ids and tags. */
enum { MESSAGE_EXTRA = 4 * AN_NAME_LEN_MAX + 64 };

static size_t
page_items(const struct store *store, uint32_t limit)
{
    return limit == 0 || limit > store->page_items_max ? store->page_items_max : limit;
}

/* The client's form of a stored message. Points into the row's unpacked bytes. */
static enum an_err
client_message(struct store_read *read, const struct engine_item *item, uint64_t seq,
               Anser__Client__Message **out)
{
    const Anser__Stored__Message *row = store_decode(
        read->store, &read->arena, &anser__stored__message__descriptor, item);
    Anser__Client__Message *message = an_arena_alloc(&read->arena, sizeof(*message));

    if (row == NULL || message == NULL) {
        return store_undecoded(&read->arena);
    }
    anser__client__message__init(message);
    message->message_id = row->message_id;
    message->seq = seq;
    message->time_ms = row->time_ms;
    message->from = row->from;
    message->to = row->to;
    message->from_device = row->from_device;
    message->client_msg_id = row->client_msg_id;
    message->type = row->type;
    message->body = row->body;
    *out = message;
    return AN_OK;
}

/* ------------------------------------------------------------------ inbox entries */

/* The inbox head, and entries from first_seq on (or, reverse, the newest). */
static enum an_err
plan_entries(struct store_read *read, struct store_ask *ask, uint64_t user,
             uint64_t first_seq, size_t items, bool reverse)
{
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t first[AN_ROW_KEY_MAX];
    uint8_t end[AN_ROW_KEY_MAX + 1];
    struct engine_query query = {.items_max = items, .reverse = reverse};
    enum an_err err;

    if (an_slot_user(user) != slot) {
        return AN_ERR_ARGUMENT;
    }
    err = store_read_key(read, ask, first, an_row_inbox_head(first, slot, user));
    if (err != AN_OK) {
        return err;
    }
    query.first = (struct engine_blob){first, an_row_inbox(first, slot, user, first_seq)};
    query.end = (struct engine_blob){end, an_row_inbox(end, slot, user, UINT64_MAX) + 1};
    end[query.end.len - 1] = 0;
    return store_read_range(read, ask, query);
}

static enum an_err
take_ref(struct store_read *read, const struct engine_item *item, struct store_ref *ref)
{
    const Anser__Stored__InboxEntry *row = store_decode(
        read->store, &read->arena, &anser__stored__inbox_entry__descriptor, item);

    if (row == NULL) {
        return store_undecoded(&read->arena);
    }
    if (item->key.len < 8 ||
        !an_conv_get(&ref->conv, row->conversation.data, row->conversation.len)) {
        return AN_ERR_CORRUPT;
    }
    ref->inbox_seq = an_get_u64(item->key.data + item->key.len - 8);
    ref->seq = row->seq;
    return AN_OK;
}

/* Neighbours of one conversation, in its order, are one range: how a talk between two
 * looks in an inbox. Returns how many refs from the first on. */
static size_t
run_length(const struct store_ref *refs, size_t count)
{
    size_t len = 1;

    while (len < count && refs[len].seq == refs[0].seq + len &&
           memcmp(&refs[len].conv, &refs[0].conv, sizeof(refs[0].conv)) == 0) {
        len++;
    }
    return len;
}

static enum an_err
plan_messages(struct store_read *read, struct store_ask *ask)
{
    enum an_err err = AN_OK;
    size_t queries = 0;

    for (size_t i = 0; err == AN_OK && i < ask->ref_count;) {
        struct store_ref *ref = &ask->refs[i];
        size_t run = run_length(ref, ask->ref_count - i);
        uint16_t slot = an_slot_conv(&ref->conv);
        uint8_t first[AN_ROW_KEY_MAX];
        uint8_t end[AN_ROW_KEY_MAX];
        struct engine_query query = {.items_max = run, .bytes_max = read->page_bytes_max};

        if (!store_owns(read->store, slot)) {
            ref->elsewhere = true;
            i++;
            continue;
        }
        query.first = (struct engine_blob){
            first, an_row_message(first, slot, &ref->conv, ref->seq)};
        query.end = (struct engine_blob){
            end, an_row_message(end, slot, &ref->conv, ref->seq + run)};
        err = store_read_range(read, ask, query);
        for (size_t k = 0; k < run; k++, i++) {
            ask->refs[i].query = queries;
            ask->refs[i].item = k;
        }
        queries++;
    }
    return err;
}

/* The entries of the answer become refs, and their messages are asked for. */
static enum an_err
take_entries(struct store_read *read, struct store_ask *ask,
             const struct engine_answer *entries)
{
    ask->refs = an_arena_calloc(&read->arena, entries->item_count, sizeof(*ask->refs));
    if (ask->refs == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < entries->item_count; i++) {
        enum an_err err = take_ref(read, &entries->items[i], &ask->refs[i]);

        if (err != AN_OK) {
            return err;
        }
    }
    ask->ref_count = entries->item_count;
    return plan_messages(read, ask);
}

static enum an_err
take_inbox_head(struct store_read *read, struct store_ask *ask,
                const struct engine_answer *answer)
{
    const Anser__Stored__InboxHead *row = NULL;
    enum an_err err = store_read_row(read, &anser__stored__inbox_head__descriptor, answer,
                                     (const void **)&row);

    if (err != AN_OK) {
        return err;
    }
    ask->oldest = 1;
    if (row != NULL) {
        ask->generation = row->generation;
        ask->oldest = row->first;
        ask->head = row->head;
    }
    return AN_OK;
}

/* AN_OK and *out NULL: the read was cut short before this message. */
static enum an_err
item_of(struct store_read *read, const struct store_ref *ref,
        const struct engine_answer *answers, const struct engine_item **out)
{
    const struct engine_answer *answer = &answers[ref->query];
    const struct engine_item *item;

    *out = NULL;
    if (ref->item >= answer->item_count) {
        if (answer->more) {
            return AN_OK;
        }
        an_out_log(read->store->out, AN_LOG_ERROR, 0,
                   "an inbox entry points at no message inbox_seq=%" PRIu64
                   " seq=%" PRIu64,
                   ref->inbox_seq, ref->seq);
        return AN_ERR_CORRUPT;
    }
    item = &answer->items[ref->item];
    if (item->key.len < 8 || an_get_u64(item->key.data + item->key.len - 8) != ref->seq) {
        return AN_ERR_CORRUPT;
    }
    *out = item;
    return AN_OK;
}

/* Without its message where that is elsewhere. AN_OK and *out NULL: as item_of. */
static enum an_err
event_of(struct store_read *read, const struct store_ask *ask,
         const struct store_ref *ref, const struct engine_answer *answers,
         Anser__Client__Event **out)
{
    const struct engine_item *item = NULL;
    Anser__Client__Event *event;
    enum an_err err = AN_OK;

    *out = NULL;
    if (!ref->elsewhere) {
        err = item_of(read, ref, answers, &item);
        if (err != AN_OK || item == NULL) {
            return err;
        }
    }
    event = an_arena_alloc(&read->arena, sizeof(*event));
    if (event == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    anser__client__event__init(event);
    event->inbox_seq = ref->inbox_seq;
    event->inbox_generation = ask->generation;
    *out = event;
    return item == NULL ? AN_OK : client_message(read, item, ref->seq, &event->message);
}

/* ------------------------------------------------------------------ sync */

static enum an_err
sync_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__SyncQuery *query = ask->query->sync;

    /* after + 1 may wrap to 0: then it is above every head and answered RESET. */
    return plan_entries(read, ask, query->user, query->after + 1,
                        page_items(read->store, query->limit), false);
}

static enum an_err
sync_answer(struct store_read *read, struct store_ask *ask, Anser__Client__Event **events,
            size_t count)
{
    Anser__Client__SyncOk body = ANSER__CLIENT__SYNC_OK__INIT;
    uint64_t last = count > 0 ? events[count - 1]->inbox_seq : ask->query->sync->after;

    body.events = events;
    body.n_events = count;
    body.head = ask->head;
    body.first = ask->oldest;
    body.completed = last >= ask->head;
    body.inbox_generation = ask->generation;
    return store_read_page(read, &body.base, &ask->answer.client_body);
}

/* Tells the asker where the message of this event is. */
static enum an_err
add_elsewhere(struct store_read *read, struct store_ask *ask, size_t event)
{
    Anser__Bus__Answer *answer = &ask->answer;
    const struct store_ref *ref = &ask->refs[event];
    Anser__Bus__Elsewhere *own = an_arena_alloc(&read->arena, sizeof(*own));

    if (answer->elsewhere == NULL) {
        answer->elsewhere = an_arena_alloc(&read->arena, ask->ref_count * sizeof(void *));
    }
    if (own == NULL || answer->elsewhere == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    anser__bus__elsewhere__init(own);
    own->event = (uint32_t)event;
    own->conversation.data = an_arena_dup(&read->arena, ref->conv.bytes, AN_CONV_LEN);
    own->conversation.len = AN_CONV_LEN;
    own->seq = ref->seq;
    answer->elsewhere[answer->n_elsewhere++] = own;
    return own->conversation.data != NULL ? AN_OK : AN_ERR_NO_MEMORY;
}

static enum an_err
sync_take_messages(struct store_read *read, struct store_ask *ask,
                   const struct engine_answer *answers)
{
    Anser__Client__Event **events =
        an_arena_alloc(&read->arena, ask->ref_count * sizeof(void *));
    size_t bytes = 0;
    size_t count = 0;

    if (events == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    while (count < ask->ref_count) {
        Anser__Client__Event *event;
        enum an_err err = event_of(read, ask, &ask->refs[count], answers, &event);

        if (err != AN_OK) {
            return err;
        }
        if (event == NULL) {
            break;
        }
        bytes += (event->message == NULL ? 0 : event->message->body.len) + MESSAGE_EXTRA;
        if (count > 0 && bytes > read->page_bytes_max) {
            break;
        }
        if (ask->refs[count].elsewhere) {
            err = add_elsewhere(read, ask, count);
            if (err != AN_OK) {
                return err;
            }
        }
        events[count++] = event;
    }
    return sync_answer(read, ask, events, count);
}

static enum an_err
sync_take(struct store_read *read, struct store_ask *ask,
          const struct engine_answer *answers)
{
    const Anser__Bus__SyncQuery *query = ask->query->sync;
    enum an_err err = take_inbox_head(read, ask, &answers[0]);

    if (err != AN_OK) {
        return err;
    }
    ask->answer.inbox_generation = ask->generation;
    ask->answer.inbox_first = ask->oldest;
    ask->answer.inbox_head = ask->head;
    if (query->after > ask->head ||
        (query->inbox_generation != 0 && query->inbox_generation != ask->generation)) {
        return AN_ERR_RESET;
    }
    if (answers[1].item_count == 0) {
        return query->after == ask->head ? sync_answer(read, ask, NULL, 0)
                                         : AN_ERR_CORRUPT;
    }
    err = take_entries(read, ask, &answers[1]);
    /* All of them elsewhere: there is no second read. */
    return err != AN_OK || ask->count > 0 ? err : sync_take_messages(read, ask, NULL);
}

const struct store_query_ops STORE_QUERY_SYNC = {sync_plan, sync_take,
                                                 sync_take_messages};

/* ------------------------------------------------------------------ head */

static enum an_err
head_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__HeadQuery *query = ask->query->head;
    enum an_err err = plan_entries(read, ask, query->user, 0, 1, true);

    return err != AN_OK ? err : store_plan_account(read, ask, query->user, query->device);
}

static enum an_err
head_take(struct store_read *read, struct store_ask *ask,
          const struct engine_answer *answers)
{
    enum an_err err = take_inbox_head(read, ask, &answers[0]);

    if (err == AN_OK) {
        err =
            store_take_account(read, ask, &answers[2], ask->query->head->device.len > 0);
    }
    if (err != AN_OK) {
        return err;
    }
    ask->answer.inbox_generation = ask->generation;
    ask->answer.inbox_first = ask->oldest;
    ask->answer.inbox_head = ask->head;
    return answers[1].item_count == 0 ? AN_OK : take_entries(read, ask, &answers[1]);
}

static enum an_err
head_take_messages(struct store_read *read, struct store_ask *ask,
                   const struct engine_answer *answers)
{
    Anser__Client__Event *event;
    enum an_err err = event_of(read, ask, &ask->refs[0], answers, &event);

    if (err != AN_OK || event == NULL) {
        return err;
    }
    err = store_read_page(read, &event->base, &ask->answer.head_event);
    /* Many heads at once may not all carry their event: the numbers are enough. */
    return err == AN_ERR_BUSY ? AN_OK : err;
}

const struct store_query_ops STORE_QUERY_HEAD = {head_plan, head_take,
                                                 head_take_messages};

/* ------------------------------------------------------------------ history */

static enum an_err
plan_page(struct store_read *read, struct store_ask *ask, const struct an_conv *conv)
{
    const Anser__Bus__HistoryQuery *query = ask->query->history;
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t first[AN_ROW_KEY_MAX];
    uint8_t end[AN_ROW_KEY_MAX + 1];
    uint64_t low =
        query->oldest_first && query->after < UINT64_MAX ? query->after + 1 : 0;
    bool bound = !query->oldest_first && query->before > 0;
    size_t end_len = an_row_message(end, slot, conv, bound ? query->before : UINT64_MAX);

    if (!bound) {
        end[end_len++] = 0;
    }
    return store_read_range(
        read, ask,
        (struct engine_query){.first = {first, an_row_message(first, slot, conv, low)},
                              .end = {end, end_len},
                              .items_max = page_items(read->store, query->limit),
                              .bytes_max = read->page_bytes_max,
                              .reverse = !query->oldest_first});
}

static enum an_err
history_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__HistoryQuery *query = ask->query->history;
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv;
    uint64_t low, high;
    enum an_err err;

    if (!an_conv_get(&conv, query->conversation.data, query->conversation.len) ||
        an_slot_conv(&conv) != slot) {
        return AN_ERR_ARGUMENT;
    }
    an_conv_users(&conv, &low, &high);
    if (query->viewer != low && query->viewer != high) {
        return AN_ERR_FORBIDDEN;
    }
    err = store_read_key(read, ask, key, an_row_conversation(key, slot, &conv));
    if (err == AN_OK) {
        err = store_read_key(read, ask, key,
                             an_row_delivered(key, slot, &conv, query->viewer));
    }
    if (err == AN_OK) {
        err = store_read_key(
            read, ask, key,
            an_row_delivered(key, slot, &conv, query->viewer == low ? high : low));
    }
    return err == AN_OK ? plan_page(read, ask, &conv) : err;
}

static enum an_err
take_positions(struct store_read *read, const struct engine_answer *answers,
               Anser__Client__HistoryOk *body)
{
    const Anser__Stored__Conversation *row = NULL;
    const Anser__Stored__Delivered *own = NULL;
    const Anser__Stored__Delivered *peer = NULL;
    enum an_err err = store_read_row(read, &anser__stored__conversation__descriptor,
                                     &answers[0], (const void **)&row);

    if (err == AN_OK) {
        err = store_read_row(read, &anser__stored__delivered__descriptor, &answers[1],
                             (const void **)&own);
    }
    if (err == AN_OK) {
        err = store_read_row(read, &anser__stored__delivered__descriptor, &answers[2],
                             (const void **)&peer);
    }
    if (err != AN_OK) {
        return err;
    }
    body->head = row != NULL ? row->head : 0;
    body->generation = row != NULL ? row->generation : 0;
    body->own_delivered = own != NULL ? own->seq : 0;
    body->peer_delivered = peer != NULL ? peer->seq : 0;
    return AN_OK;
}

static enum an_err
history_take(struct store_read *read, struct store_ask *ask,
             const struct engine_answer *answers)
{
    const struct engine_answer *rows = &answers[3];
    Anser__Client__HistoryOk body = ANSER__CLIENT__HISTORY_OK__INIT;
    Anser__Client__Message **messages =
        an_arena_alloc(&read->arena, rows->item_count * sizeof(void *));
    enum an_err err = take_positions(read, answers, &body);
    size_t bytes = 0;
    size_t count = 0;

    if (messages == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (; err == AN_OK && count < rows->item_count; count++) {
        const struct engine_item *item = &rows->items[count];

        err = client_message(read, item, an_get_u64(item->key.data + item->key.len - 8),
                             &messages[count]);
        if (err != AN_OK) {
            return err;
        }
        bytes += messages[count]->body.len + MESSAGE_EXTRA;
        if (count > 0 && bytes > read->page_bytes_max) {
            break;
        }
    }
    if (err != AN_OK) {
        return err;
    }
    body.messages = messages;
    body.n_messages = count;
    body.completed = count == rows->item_count && !rows->more;
    return store_read_page(read, &body.base, &ask->answer.client_body);
}

const struct store_query_ops STORE_QUERY_HISTORY = {history_plan, history_take, NULL};

/* ------------------------------------------------------------------ one message */

/* For gates that complete a Sync whose message is here. */
static enum an_err
message_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__MessageQuery *query = ask->query->message;
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv;
    uint64_t low, high;

    if (!an_conv_get(&conv, query->conversation.data, query->conversation.len) ||
        an_slot_conv(&conv) != slot) {
        return AN_ERR_ARGUMENT;
    }
    an_conv_users(&conv, &low, &high);
    if (query->viewer != low && query->viewer != high) {
        return AN_ERR_NOT_FOUND; /* whoever is not of it does not learn that it is there
                                  */
    }
    return store_read_key(read, ask, key, an_row_message(key, slot, &conv, query->seq));
}

static enum an_err
message_take(struct store_read *read, struct store_ask *ask,
             const struct engine_answer *answers)
{
    Anser__Client__Message *message = NULL;
    enum an_err err;

    if (answers[0].item_count == 0) {
        return AN_ERR_NOT_FOUND;
    }
    err = client_message(read, &answers[0].items[0], ask->query->message->seq, &message);
    if (err != AN_OK) {
        return err;
    }
    return store_read_page(read, &message->base, &ask->answer.client_body);
}

const struct store_query_ops STORE_QUERY_MESSAGE = {message_plan, message_take, NULL};
