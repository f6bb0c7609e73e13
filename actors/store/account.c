#include "actors/store/account.h"
#include "core/slot.h"
#include "proto/stored.pb-c.h"

/* ------------------------------------------------------------------ form */

static bool
text_fits(ProtobufCBinaryData text, size_t most)
{
    return text.len <= most;
}

static bool
hash_fits(ProtobufCBinaryData hash)
{
    return hash.len == 0 || hash.len == AN_REFRESH_HASH_LEN;
}

static bool
device_fits(ProtobufCBinaryData name)
{
    return name.len > 0 && name.len <= AN_NAME_LEN_MAX;
}

bool
store_account_fits(const Anser__Bus__AccountEntry *entry, uint32_t slot)
{
    const Anser__Bus__AccountDetails *details = entry->details;

    return entry->user != 0 && an_slot_user(entry->user) == slot &&
           entry->state != NULL && entry->state->version > 0 && details != NULL &&
           text_fits(details->password_hash, AN_PASSWORD_HASH_LEN_MAX) &&
           text_fits(details->nick, AN_NICK_LEN_MAX) &&
           text_fits(details->avatar, AN_AVATAR_LEN_MAX) &&
           text_fits(details->extra, AN_PROFILE_EXTRA_LEN_MAX);
}

bool
store_session_fits(const Anser__Bus__DeviceSessionEntry *entry, uint32_t slot)
{
    const Anser__Bus__DeviceState *state = entry->state;

    return entry->user != 0 && an_slot_user(entry->user) == slot && state != NULL &&
           device_fits(state->device) && text_fits(state->platform, AN_NAME_LEN_MAX) &&
           hash_fits(state->refresh_hash) && hash_fits(state->previous_hash) &&
           text_fits(entry->forget, AN_NAME_LEN_MAX) &&
           (entry->folded == NULL || (entry->folded->user == entry->user &&
                                      store_account_fits(entry->folded, slot))) &&
           (!entry->tell || entry->account != NULL);
}

static size_t
details_bytes(const Anser__Bus__AccountDetails *details)
{
    return details->password_hash.len + details->nick.len + details->avatar.len +
           details->extra.len;
}

size_t
store_account_bytes(const Anser__Bus__Entry *entry)
{
    if (entry->what_case == ANSER__BUS__ENTRY__WHAT_ACCOUNT) {
        return details_bytes(entry->account->details);
    }
    if (entry->what_case == ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION &&
        entry->device_session->folded != NULL) {
        return details_bytes(entry->device_session->folded->details);
    }
    return entry->what_case == ANSER__BUS__ENTRY__WHAT_USER
               ? entry->user->password_hash.len
               : 0;
}

/* ------------------------------------------------------------------ rows */

static void
put_account(struct store *store, uint16_t slot, uint64_t user,
            const Anser__Stored__Account *value)
{
    store_batch_put(&store->batch, slot,
                    an_row_account(store_batch_key(&store->batch), slot, user),
                    &value->base);
}

void
store_account_build(struct store *store, uint16_t slot,
                    const Anser__Bus__AccountEntry *entry)
{
    const Anser__Bus__AccountState *state = entry->state;
    const Anser__Bus__AccountDetails *details = entry->details;
    Anser__Stored__Account value = ANSER__STORED__ACCOUNT__INIT;

    value.version = state->version;
    value.forbidden = state->forbidden;
    value.deleted = state->deleted;
    value.muted_until_ms = state->muted_until_ms;
    value.tokens_from_ms = state->tokens_from_ms;
    value.password_hash = details->password_hash;
    value.nick = details->nick;
    value.avatar = details->avatar;
    value.extra = details->extra;
    value.changed_ms = details->changed_ms;
    value.rest_from_ms = state->rest_from_ms;
    value.revocations = state->revocations;
    put_account(store, slot, entry->user, &value);
}

void
store_account_build_first(struct store *store, uint16_t slot,
                          const Anser__Bus__UserEntry *entry)
{
    Anser__Stored__Account value = ANSER__STORED__ACCOUNT__INIT;

    if (entry->password_hash.len == 0) {
        return;
    }
    value.version = 1;
    value.password_hash = entry->password_hash;
    value.changed_ms = entry->created_ms;
    put_account(store, slot, entry->user, &value);
}

void
store_session_build(struct store *store, uint16_t slot,
                    const Anser__Bus__DeviceSessionEntry *entry)
{
    const Anser__Bus__DeviceState *state = entry->state;
    Anser__Stored__DeviceSession value = ANSER__STORED__DEVICE_SESSION__INIT;

    value.platform = state->platform;
    value.refresh_hash = state->refresh_hash;
    value.previous_hash = state->previous_hash;
    value.issued_ms = state->issued_ms;
    value.used_ms = state->used_ms;
    value.tokens_from_ms = state->tokens_from_ms;
    value.seen_ms = state->seen_ms;
    value.revocations = state->revocations;
    store_batch_put(&store->batch, slot,
                    an_row_device_session(store_batch_key(&store->batch), slot,
                                          entry->user, state->device.data,
                                          state->device.len),
                    &value.base);
    if (entry->forget.len > 0) {
        store_batch_delete(&store->batch, slot,
                           an_row_device_session(store_batch_key(&store->batch), slot,
                                                 entry->user, entry->forget.data,
                                                 entry->forget.len));
    }
    if (entry->folded != NULL) {
        store_account_build(store, slot, entry->folded);
    }
}

/* ------------------------------------------------------------------ after the sync */

void
store_account_tell(struct store *store, const Anser__Bus__AccountEntry *entry,
                   uint64_t trace)
{
    store->counts.accounts++;
    if (entry->tell) {
        store_push_account(store, entry->user, entry->state, trace);
    }
}

void
store_session_tell(struct store *store, const Anser__Bus__DeviceSessionEntry *entry,
                   uint64_t trace)
{
    store->counts.device_sessions++;
    if (entry->tell) {
        store_push_account(store, entry->user, entry->account, trace);
    }
}
