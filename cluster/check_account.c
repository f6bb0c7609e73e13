/* Accounts and devices' sessions of one slot: what rows may say, and that each is of a
 * user who is there. In key order these tables come before the users. */
#include "cluster/check_priv.h"
#include "core/limits.h"
#include "proto/utf8.h"
#include <inttypes.h>
#include <stdlib.h>

enum { SECOND_MS = 1000 };

/* Returns it for more to be said of it; NULL: no memory, the check ends with that. */
static struct check_owned *
note_owner(struct check *check, uint64_t user, const char *what)
{
    struct check_owned *owned =
        check_list_add(check, &check->slot.owned, sizeof(struct check_owned));

    if (owned != NULL) {
        *owned = (struct check_owned){.user = user, .what = what, .origin = check->at};
    }
    return owned;
}

static bool
text_ok(ProtobufCBinaryData text, size_t most)
{
    return text.len <= most && an_utf8_valid(text.data, text.len);
}

static bool
hash_ok(ProtobufCBinaryData hash)
{
    return hash.len == 0 || hash.len == AN_REFRESH_HASH_LEN;
}

void
check_account(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Account *row =
        check_value(check, &anser__stored__account__descriptor);
    struct check_owned *owned = note_owner(check, key->user, "an account row");

    if (row == NULL) {
        return;
    }
    if (owned != NULL) {
        owned->account = true;
        owned->revocations = row->revocations;
    }
    if (row->version == 0 || row->tokens_from_ms % SECOND_MS != 0 ||
        row->rest_from_ms % SECOND_MS != 0) {
        check_here(check,
                   "the account of user %" PRIu64
                   " has version 0, or tokens from within a second",
                   key->user);
    }
    if (row->password_hash.len > AN_PASSWORD_HASH_LEN_MAX ||
        !text_ok(row->nick, AN_NICK_LEN_MAX) ||
        !text_ok(row->avatar, AN_AVATAR_LEN_MAX) ||
        row->extra.len > AN_PROFILE_EXTRA_LEN_MAX) {
        check_here(check,
                   "the account of user %" PRIu64
                   " has a text that is too long, or no UTF-8",
                   key->user);
    }
}

void
check_session(struct check *check, const struct check_key *key)
{
    const Anser__Stored__DeviceSession *row =
        check_value(check, &anser__stored__device_session__descriptor);
    struct check_owned *owned = note_owner(check, key->user, "a device's session");

    if (row == NULL) {
        return;
    }
    if (owned != NULL) {
        owned->revocations = row->revocations;
    }
    if (!hash_ok(row->refresh_hash) || !hash_ok(row->previous_hash) ||
        (row->platform.len > 0 && !check_name(row->platform.data, row->platform.len))) {
        check_here(check,
                   "a device's session of user %" PRIu64
                   " has a hash of another length, or a malformed platform",
                   key->user);
    }
    if (row->tokens_from_ms % SECOND_MS != 0 ||
        (row->used_ms < row->issued_ms && row->seen_ms < row->issued_ms)) {
        check_here(check,
                   "a device's session of user %" PRIu64
                   " was used before it was issued, or has tokens from within a second",
                   key->user);
    }
}

static int
compare_owned(const void *a, const void *b)
{
    uint64_t one = ((const struct check_owned *)a)->user;
    uint64_t two = ((const struct check_owned *)b)->user;

    return (one > two) - (one < two);
}

void
check_account_user(struct check *check, uint64_t user)
{
    struct check_slot *slot = &check->slot;
    struct check_owned *owned = slot->owned.items;
    const struct check_owned *most = NULL; /* of his devices' sessions */
    uint64_t counted = 0;

    if (!slot->owned_sorted && slot->owned.count > 1) { /* of two tables */
        qsort(owned, slot->owned.count, sizeof(*owned), compare_owned);
    }
    slot->owned_sorted = true;
    while (slot->owned_at < slot->owned.count && owned[slot->owned_at].user <= user) {
        struct check_owned *one = &owned[slot->owned_at++];

        if (one->user < user) {
            check_there(check, one->origin, false,
                        "%s is of user %" PRIu64 ", who is not", one->what, one->user);
        } else if (one->account) {
            counted = one->revocations;
        } else if (most == NULL || one->revocations > most->revocations) {
            most = one;
        }
    }
    if (most != NULL && most->revocations > counted) {
        check_there(check, most->origin, false,
                    "a device's session of user %" PRIu64
                    " was issued after more revocations than his account counts",
                    user);
    }
}

void
check_accounts_end(struct check *check)
{
    struct check_slot *slot = &check->slot;

    check_account_user(check, UINT64_MAX);
    slot->owned.count = slot->owned_at = 0;
    slot->owned_sorted = false;
}
