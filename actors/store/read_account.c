#include "actors/store/account.h"
#include "core/slot.h"
#include "proto/stored.pb-c.h"

/* ------------------------------------------------------------------ rows to answers */

static enum an_err
plan_session(struct store_read *read, struct store_ask *ask, uint64_t user,
             ProtobufCBinaryData device)
{
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX];

    return store_read_key(
        read, ask, key, an_row_device_session(key, slot, user, device.data, device.len));
}

enum an_err
store_plan_account(struct store_read *read, struct store_ask *ask, uint64_t user,
                   ProtobufCBinaryData device)
{
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX];
    enum an_err err = store_read_key(read, ask, key, an_row_account(key, slot, user));

    if (err != AN_OK || device.len == 0) {
        return err;
    }
    return device.len > AN_NAME_LEN_MAX ? AN_ERR_ARGUMENT
                                        : plan_session(read, ask, user, device);
}

/* The state of a user without an account row: nothing was ever said of him. */
static enum an_err
state_of(struct store_read *read, const Anser__Stored__Account *row,
         Anser__Bus__AccountState **out)
{
    Anser__Bus__AccountState *state = an_arena_alloc(&read->arena, sizeof(*state));

    if (state == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    anser__bus__account_state__init(state);
    if (row != NULL) {
        state->version = row->version;
        state->forbidden = row->forbidden;
        state->deleted = row->deleted;
        state->muted_until_ms = row->muted_until_ms;
        state->tokens_from_ms = row->tokens_from_ms;
        state->rest_from_ms = row->rest_from_ms;
        state->revocations = row->revocations;
    }
    *out = state;
    return AN_OK;
}

/* A device without a session may be one that was forgotten after its tokens were revoked.
 */
static void
take_session(Anser__Bus__Answer *answer, const Anser__Stored__DeviceSession *session)
{
    Anser__Bus__AccountState *state = answer->account;
    uint64_t from_ms = session == NULL ? state->rest_from_ms : session->tokens_from_ms;

    if (from_ms > state->tokens_from_ms) {
        state->tokens_from_ms = from_ms;
    }
    if (session != NULL) {
        answer->device_seen_ms =
            session->used_ms > session->seen_ms ? session->used_ms : session->seen_ms;
    }
}

enum an_err
store_take_account(struct store_read *read, struct store_ask *ask,
                   const struct engine_answer *answers, bool device)
{
    const Anser__Stored__Account *row = NULL;
    const Anser__Stored__DeviceSession *session = NULL;
    enum an_err err = store_read_row(read, &anser__stored__account__descriptor,
                                     &answers[0], (const void **)&row);

    if (err == AN_OK && device) {
        err = store_read_row(read, &anser__stored__device_session__descriptor,
                             &answers[1], (const void **)&session);
    }
    if (err == AN_OK) {
        err = state_of(read, row, &ask->answer.account);
    }
    if (err == AN_OK && device) {
        take_session(&ask->answer, session);
    }
    return err;
}

/* ------------------------------------------------------------------ the query */

static enum an_err
account_plan(struct store_read *read, struct store_ask *ask)
{
    const Anser__Bus__AccountQuery *query = ask->query->account;
    uint16_t slot = (uint16_t)ask->query->slot;
    uint8_t key[AN_ROW_KEY_MAX], first[AN_ROW_KEY_MAX], end[AN_ROW_KEY_MAX];
    struct engine_query all = {.items_max = AN_DEVICE_SESSIONS_MAX};
    enum an_err err;

    if (query->user == 0 || query->user == UINT64_MAX ||
        an_slot_user(query->user) != slot) {
        return AN_ERR_ARGUMENT;
    }
    err = store_read_key(read, ask, key, an_row_user(key, slot, query->user));
    if (err == AN_OK) {
        err = store_read_key(read, ask, key, an_row_account(key, slot, query->user));
    }
    if (err != AN_OK || !query->devices) {
        return err;
    }
    all.first = (struct engine_blob){
        first, an_row_device_session(first, slot, query->user, NULL, 0)};
    all.end = (struct engine_blob){
        end, an_row_device_session(end, slot, query->user + 1, NULL, 0)};
    return store_read_range(read, ask, all);
}

static enum an_err
take_details(struct store_read *read, struct store_ask *ask,
             const Anser__Stored__User *user, const Anser__Stored__Account *row)
{
    Anser__Bus__AccountDetails *details = an_arena_alloc(&read->arena, sizeof(*details));

    if (details == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    anser__bus__account_details__init(details);
    details->app = user->app;
    details->created_ms = user->created_ms;
    if (row != NULL) {
        details->password_hash = row->password_hash;
        details->nick = row->nick;
        details->avatar = row->avatar;
        details->extra = row->extra;
        details->changed_ms = row->changed_ms;
    }
    ask->answer.details = details;
    return AN_OK;
}

static enum an_err
take_device(struct store_read *read, const struct engine_item *item, size_t prefix,
            Anser__Bus__DeviceState **out)
{
    const Anser__Stored__DeviceSession *row = store_decode(
        read->store, &read->arena, &anser__stored__device_session__descriptor, item);
    Anser__Bus__DeviceState *state = an_arena_alloc(&read->arena, sizeof(*state));

    if (row == NULL || item->key.len <= prefix) {
        return AN_ERR_CORRUPT;
    }
    if (state == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    anser__bus__device_state__init(state);
    state->device.len = item->key.len - prefix;
    state->device.data =
        an_arena_dup(&read->arena, item->key.data + prefix, state->device.len);
    state->platform = row->platform;
    state->refresh_hash = row->refresh_hash;
    state->previous_hash = row->previous_hash;
    state->issued_ms = row->issued_ms;
    state->used_ms = row->used_ms;
    state->tokens_from_ms = row->tokens_from_ms;
    state->seen_ms = row->seen_ms;
    state->revocations = row->revocations;
    *out = state;
    return state->device.data == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

static enum an_err
take_devices(struct store_read *read, struct store_ask *ask,
             const struct engine_answer *rows)
{
    uint8_t key[AN_ROW_KEY_MAX];
    size_t prefix = an_row_device_session(key, 0, ask->query->account->user, NULL, 0);

    ask->answer.devices = an_arena_calloc(&read->arena, rows->item_count,
                                          sizeof(Anser__Bus__DeviceState *));
    if (ask->answer.devices == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < rows->item_count; i++) {
        enum an_err err =
            take_device(read, &rows->items[i], prefix, &ask->answer.devices[i]);

        if (err != AN_OK) {
            return err;
        }
        ask->answer.n_devices++;
    }
    return AN_OK;
}

static enum an_err
account_take(struct store_read *read, struct store_ask *ask,
             const struct engine_answer *answers)
{
    const Anser__Stored__User *user = NULL;
    const Anser__Stored__Account *row = NULL;
    enum an_err err = store_read_row(read, &anser__stored__user__descriptor, &answers[0],
                                     (const void **)&user);

    if (err == AN_OK) {
        err = store_read_row(read, &anser__stored__account__descriptor, &answers[1],
                             (const void **)&row);
    }
    if (err != AN_OK) {
        return err;
    }
    if (user == NULL) {
        return AN_ERR_USER_NOT_FOUND;
    }
    ask->answer.user = ask->query->account->user;
    ask->answer.name = user->name;
    err = state_of(read, row, &ask->answer.account);
    if (err == AN_OK && ask->query->account->details) {
        err = take_details(read, ask, user, row);
    }
    if (err == AN_OK && ask->query->account->devices) {
        err = take_devices(read, ask, &answers[2]);
    }
    return err;
}

const struct store_query_ops STORE_QUERY_ACCOUNT = {account_plan, account_take, NULL};
