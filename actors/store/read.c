#include "actors/store/read.h"
#include "actors/store/account.h"
#include "core/slot.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Pages of one answer together: with its other fields it stays within one bus message. */
enum { READ_BYTES_MAX = AN_BUS_MSG_LEN_MAX - 1024 * 1024, READ_ARENA = 64 * 1024 * 1024 };

/* ------------------------------------------------------------------ helpers */

enum an_err
store_read_range(struct store_read *read, struct store_ask *ask,
                 struct engine_query query)
{
    if (read->query_count == read->query_cap) {
        size_t cap = read->query_cap == 0 ? 32 : read->query_cap * 2;
        struct engine_query *more = an_arena_alloc(&read->arena, cap * sizeof(*more));

        if (more == NULL) {
            return AN_ERR_NO_MEMORY;
        }
        if (read->query_count > 0) {
            memcpy(more, read->queries, read->query_count * sizeof(*more));
        }
        read->queries = more;
        read->query_cap = cap;
    }
    query.first.data = an_arena_dup(&read->arena, query.first.data, query.first.len);
    query.end.data = an_arena_dup(&read->arena, query.end.data, query.end.len);
    if (query.first.data == NULL || query.end.data == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    if (ask->count++ == 0) {
        ask->first = read->query_count;
    }
    assert(ask->first + ask->count == read->query_count + 1);
    read->queries[read->query_count++] = query;
    return AN_OK;
}

enum an_err
store_read_key(struct store_read *read, struct store_ask *ask, const uint8_t *key,
               size_t len)
{
    uint8_t end[AN_ROW_KEY_MAX + 1];

    memcpy(end, key, len);
    end[len] = 0;
    return store_read_range(read, ask,
                            (struct engine_query){.first = {key, len},
                                                  .end = {end, len + 1},
                                                  .items_max = 1});
}

enum an_err
store_read_row(struct store_read *read, const ProtobufCMessageDescriptor *descriptor,
               const struct engine_answer *answer, const void **out)
{
    if (answer->item_count == 0) {
        *out = NULL;
        return AN_OK;
    }
    *out = store_decode(read->store, &read->arena, descriptor, &answer->items[0]);
    return *out != NULL ? AN_OK : store_undecoded(&read->arena);
}

enum an_err
store_read_page(struct store_read *read, const ProtobufCMessage *body,
                ProtobufCBinaryData *out)
{
    size_t len = protobuf_c_message_get_packed_size(body);
    uint8_t *data;

    if (read->page_bytes + len > READ_BYTES_MAX) {
        return AN_ERR_BUSY; /* too many pages asked for at once */
    }
    data = an_arena_alloc(&read->arena, len);
    if (data == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    protobuf_c_message_pack(body, data);
    out->data = data;
    out->len = len;
    read->page_bytes += len;
    return AN_OK;
}

/* ------------------------------------------------------------------ resolve */

static enum an_err
resolve_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__ResolveQuery *query = ask->query->resolve;
    uint8_t key[AN_ROW_KEY_MAX];

    if (query->app.len == 0 || query->app.len > AN_NAME_LEN_MAX || query->name.len == 0 ||
        query->name.len > AN_NAME_LEN_MAX ||
        an_slot_name(query->app.data, query->app.len, query->name.data,
                     query->name.len) != ask->query->slot) {
        return AN_ERR_ARGUMENT;
    }
    return store_read_key(read, ask, key,
                          an_row_directory(key, (uint16_t)ask->query->slot,
                                           query->app.data, query->app.len,
                                           query->name.data, query->name.len));
}

static enum an_err
resolve_take(struct store_read *read, struct store_ask *ask,
             const struct engine_answer *answers)
{
    const Anser__Stored__Directory *row = NULL;
    enum an_err err = store_read_row(read, &anser__stored__directory__descriptor,
                                     &answers[0], (const void **)&row);

    if (err != AN_OK) {
        return err;
    }
    if (row == NULL) {
        return AN_ERR_NOT_FOUND;
    }
    ask->answer.user = row->user;
    return AN_OK;
}

/* ------------------------------------------------------------------ login, device */

/* The rows of an inbox head and a device, which login and device queries share. */
static enum an_err
plan_device(struct store_read *read, struct store_ask *ask, uint64_t user,
            ProtobufCBinaryData device)
{
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX];
    enum an_err err;

    if (an_slot_user(user) != slot || device.len > AN_NAME_LEN_MAX) {
        return AN_ERR_ARGUMENT;
    }
    err = store_read_key(read, ask, key, an_row_inbox_head(key, slot, user));
    if (err != AN_OK) {
        return err;
    }
    return store_read_key(read, ask, key,
                          an_row_device(key, slot, user, device.data, device.len));
}

static enum an_err
take_device(struct store_read *read, struct store_ask *ask,
            const struct engine_answer *answers)
{
    const Anser__Stored__InboxHead *inbox = NULL;
    const Anser__Stored__Device *device = NULL;
    enum an_err err = store_read_row(read, &anser__stored__inbox_head__descriptor,
                                     &answers[0], (const void **)&inbox);

    if (err == AN_OK) {
        err = store_read_row(read, &anser__stored__device__descriptor, &answers[1],
                             (const void **)&device);
    }
    if (err != AN_OK) {
        return err;
    }
    ask->answer.inbox_first = 1;
    if (inbox != NULL) {
        ask->answer.inbox_generation = inbox->generation;
        ask->answer.inbox_first = inbox->first;
        ask->answer.inbox_head = inbox->head;
    }
    /* A device never seen starts at the oldest entry still held. */
    ask->answer.cursor = device != NULL ? device->cursor : ask->answer.inbox_first - 1;
    return AN_OK;
}

static enum an_err
login_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__LoginQuery *query = ask->query->login;
    uint8_t key[AN_ROW_KEY_MAX];
    enum an_err err = plan_device(read, ask, query->user, query->device);

    if (err == AN_OK) {
        err = store_read_key(read, ask, key,
                             an_row_user(key, (uint16_t)ask->query->slot, query->user));
    }
    return err != AN_OK ? err : store_plan_account(read, ask, query->user, query->device);
}

static enum an_err
login_take(struct store_read *read, struct store_ask *ask,
           const struct engine_answer *answers)
{
    const Anser__Stored__User *user = NULL;
    enum an_err err = store_read_row(read, &anser__stored__user__descriptor, &answers[2],
                                     (const void **)&user);

    if (err != AN_OK) {
        return err;
    }
    if (user == NULL) {
        return AN_ERR_NOT_FOUND;
    }
    ask->answer.name = user->name;
    err = store_take_account(read, ask, &answers[3], ask->query->login->device.len > 0);
    return err != AN_OK ? err : take_device(read, ask, answers);
}

static enum an_err
device_plan(struct store_read *read, struct store_ask *ask)
{
    return plan_device(read, ask, ask->query->device->user, ask->query->device->device);
}

/* ------------------------------------------------------------------ conversation */

static enum an_err
conversation_plan(struct store_read *read, struct store_ask *ask)
{
    uint16_t slot = (uint16_t)ask->query->slot;
    ProtobufCBinaryData bytes = ask->query->conversation->conversation;
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv;
    uint64_t users[2];
    enum an_err err;

    if (!an_conv_get(&conv, bytes.data, bytes.len) || an_slot_conv(&conv) != slot) {
        return AN_ERR_ARGUMENT;
    }
    an_conv_users(&conv, &users[0], &users[1]);
    err = store_read_key(read, ask, key, an_row_conversation(key, slot, &conv));
    for (unsigned i = 0; err == AN_OK && i < 2; i++) {
        err =
            store_read_key(read, ask, key, an_row_delivered(key, slot, &conv, users[i]));
    }
    return err;
}

static enum an_err
conversation_take(struct store_read *read, struct store_ask *ask,
                  const struct engine_answer *answers)
{
    const Anser__Stored__Conversation *row = NULL;
    Anser__Bus__Answer *answer = &ask->answer;
    enum an_err err = store_read_row(read, &anser__stored__conversation__descriptor,
                                     &answers[0], (const void **)&row);

    if (err != AN_OK) {
        return err;
    }
    if (row == NULL) {
        return AN_ERR_NOT_FOUND;
    }
    answer->conversation_head = row->head;
    answer->last_time_ms = row->last_time_ms;
    answer->members = an_arena_alloc(&read->arena, 2 * sizeof(Anser__Bus__MemberState *));
    for (size_t i = 0; answer->members != NULL && i < row->n_members && i < 2; i++) {
        const Anser__Stored__Delivered *delivered = NULL;
        Anser__Bus__MemberState *member = an_arena_alloc(&read->arena, sizeof(*member));

        err = store_read_row(read, &anser__stored__delivered__descriptor, &answers[1 + i],
                             (const void **)&delivered);
        if (err != AN_OK || member == NULL) {
            return err != AN_OK ? err : AN_ERR_NO_MEMORY;
        }
        anser__bus__member_state__init(member);
        member->user = row->members[i]->user;
        member->name = row->members[i]->name;
        member->delivered = delivered != NULL ? delivered->seq : 0;
        answer->members[answer->n_members++] = member;
    }
    return answer->members != NULL ? AN_OK : AN_ERR_NO_MEMORY;
}

/* ------------------------------------------------------------------ dedupe */

static enum an_err
dedupe_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__DedupeQuery *query = ask->query->dedupe;
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv;

    if (!an_conv_get(&conv, query->conversation.data, query->conversation.len) ||
        an_slot_conv(&conv) != slot || query->client_msg_id.len != AN_CLIENT_MSG_ID_LEN) {
        return AN_ERR_ARGUMENT;
    }
    return store_read_key(
        read, ask, key,
        an_row_dedupe(key, slot, query->client_msg_id.data, query->sender, &conv));
}

static enum an_err
dedupe_take(struct store_read *read, struct store_ask *ask,
            const struct engine_answer *answers)
{
    const Anser__Stored__Dedupe *row = NULL;
    enum an_err err = store_read_row(read, &anser__stored__dedupe__descriptor,
                                     &answers[0], (const void **)&row);

    if (err != AN_OK) {
        return err;
    }
    if (row == NULL) {
        return AN_ERR_NOT_FOUND;
    }
    ask->answer.seq = row->seq;
    ask->answer.message_id = row->message_id;
    ask->answer.time_ms = row->time_ms;
    ask->answer.body_hash = row->body_hash;
    ask->answer.inbox_seq = row->inbox_seq;
    return AN_OK;
}

/* ------------------------------------------------------------------ the request */

static const struct store_query_ops RESOLVE = {resolve_plan, resolve_take, NULL};
static const struct store_query_ops LOGIN = {login_plan, login_take, NULL};
static const struct store_query_ops DEVICE = {device_plan, take_device, NULL};
static const struct store_query_ops CONVERSATION = {conversation_plan, conversation_take,
                                                    NULL};
static const struct store_query_ops DEDUPE = {dedupe_plan, dedupe_take, NULL};

static const struct store_query_ops *
ops_of(const Anser__Bus__Query *query)
{
    switch (query->what_case) {
    case ANSER__BUS__QUERY__WHAT_RESOLVE:
        return &RESOLVE;
    case ANSER__BUS__QUERY__WHAT_LOGIN:
        return &LOGIN;
    case ANSER__BUS__QUERY__WHAT_SYNC:
        return &STORE_QUERY_SYNC;
    case ANSER__BUS__QUERY__WHAT_HISTORY:
        return &STORE_QUERY_HISTORY;
    case ANSER__BUS__QUERY__WHAT_HEAD:
        return &STORE_QUERY_HEAD;
    case ANSER__BUS__QUERY__WHAT_CONVERSATION:
        return &CONVERSATION;
    case ANSER__BUS__QUERY__WHAT_DEDUPE:
        return &DEDUPE;
    case ANSER__BUS__QUERY__WHAT_DEVICE:
        return &DEVICE;
    case ANSER__BUS__QUERY__WHAT_MESSAGE:
        return &STORE_QUERY_MESSAGE;
    case ANSER__BUS__QUERY__WHAT_ACCOUNT:
        return &STORE_QUERY_ACCOUNT;
    case ANSER__BUS__QUERY__WHAT__NOT_SET:
    case _ANSER__BUS__QUERY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return NULL;
}

/* Keeps one for the next request. */
static void
release(struct store_read *read)
{
    struct store *store = read->store;

    an_msg_release(read->msg);
    store->reads_in_flight--;
    if (store->reads_spare != NULL) {
        an_arena_fini(&read->arena);
        free(read);
        return;
    }
    read->msg = NULL;
    an_arena_reset(&read->arena);
    store->reads_spare = read;
}

static void
answer(struct store_read *read)
{
    struct store *store = read->store;
    Anser__Bus__ReadDone body = ANSER__BUS__READ_DONE__INIT;

    for (size_t i = 0; i < read->count; i++) {
        store->counts.queries++;
        store->counts.queries_failed += read->answers[i]->err != AN_OK;
    }
    body.answers = read->answers;
    body.n_answers = read->count;
    an_out_answer(store->out, read->msg, AN_OK, &body.base);
    release(read);
}

static void begin(struct store_read *read);

static void
rows_read(void *ctx, enum an_err err, const struct engine_answer *answers,
          size_t answer_count)
{
    struct store_read *read = ctx;
    bool second = read->second;

    if (err != AN_OK) {
        store_refuse(read->store, read->msg, err);
        release(read);
        return;
    }
    assert(answer_count == read->query_count);
    read->queries = NULL;
    read->query_count = read->query_cap = 0;
    for (size_t i = 0; i < read->count; i++) {
        struct store_ask *ask = &read->asks[i];
        const struct store_query_ops *ops = ops_of(ask->query);
        const struct engine_answer *own = answers + ask->first;

        if (ask->answer.err != AN_OK || ask->count == 0) {
            continue;
        }
        ask->count = 0;
        ask->answer.err =
            second ? ops->take_messages(read, ask, own) : ops->take(read, ask, own);
    }
    read->second = true;
    begin(read);
}

/* Reads what was planned, or answers when nothing was. */
static void
begin(struct store_read *read)
{
    if (read->query_count == 0) {
        answer(read);
        return;
    }
    engine_read(read->store->engine, read->queries, read->query_count, rows_read, read);
}

static struct store_read *
create(struct store *store, struct an_msg *msg, const Anser__Bus__Read *body)
{
    struct store_read *read = store->reads_spare;

    if (read == NULL) {
        read = calloc(1, sizeof(*read));
        if (read == NULL) {
            return NULL;
        }
        an_arena_init(&read->arena, READ_ARENA);
    }
    store->reads_spare = NULL;
    read->asks = an_arena_calloc(&read->arena, body->n_queries, sizeof(*read->asks));
    read->answers = an_arena_calloc(&read->arena, body->n_queries, sizeof(void *));
    if (read->asks == NULL || read->answers == NULL) {
        an_arena_reset(&read->arena);
        store->reads_spare = read;
        return NULL;
    }
    read->store = store;
    read->msg = an_msg_hold(msg);
    read->count = body->n_queries;
    read->queries = NULL;
    read->query_count = read->query_cap = 0;
    read->page_bytes = 0;
    read->second = false;
    store->reads_in_flight++;
    return read;
}

/* Pages share what one answer may carry beside its single messages, each at least the
 * largest message. */
static size_t
page_bytes_max(const struct store *store, const Anser__Bus__Read *body)
{
    size_t pages = 0;
    size_t singles = 0;
    size_t share;

    for (size_t i = 0; i < body->n_queries; i++) {
        pages += body->queries[i]->what_case == ANSER__BUS__QUERY__WHAT_SYNC ||
                 body->queries[i]->what_case == ANSER__BUS__QUERY__WHAT_HISTORY;
        singles += body->queries[i]->what_case == ANSER__BUS__QUERY__WHAT_MESSAGE;
    }
    singles *= AN_FRAME_LEN_MAX;
    share = singles < READ_BYTES_MAX ? READ_BYTES_MAX - singles : 0;
    share = pages == 0 ? store->page_bytes_max : share / pages;
    if (share < AN_FRAME_LEN_MAX) {
        share = AN_FRAME_LEN_MAX;
    }
    return share < store->page_bytes_max ? share : store->page_bytes_max;
}

void
store_read(struct store *store, struct an_msg *msg)
{
    const Anser__Bus__Read *body = (const Anser__Bus__Read *)msg->body;
    struct store_read *read;

    if (store->reads_in_flight >= AN_STORE_READS_MAX) {
        store_refuse(store, msg, AN_ERR_BUSY);
        return;
    }
    read = create(store, msg, body);
    if (read == NULL) {
        store_refuse(store, msg, AN_ERR_NO_MEMORY);
        return;
    }
    read->page_bytes_max = page_bytes_max(store, body);
    for (size_t i = 0; i < read->count; i++) {
        struct store_ask *ask = &read->asks[i];
        const struct store_query_ops *ops = ops_of(body->queries[i]);

        ask->query = body->queries[i];
        anser__bus__answer__init(&ask->answer);
        read->answers[i] = &ask->answer;
        if (!store_owns(store, ask->query->slot)) {
            ask->answer.err = AN_ERR_NOT_MINE;
        } else {
            ask->answer.err = ops == NULL ? AN_ERR_ARGUMENT : ops->plan(read, ask);
        }
    }
    begin(read);
}

void
store_read_fini(struct store *store)
{
    if (store->reads_spare != NULL) {
        an_arena_fini(&store->reads_spare->arena);
        free(store->reads_spare);
    }
}
