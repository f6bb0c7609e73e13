/* Changes of a user's account and of his devices' sessions. The rows are read, changed as
 * the command says, and written whole; nothing else changes them meanwhile, for commands
 * of one user run one after the other, and a slot that went elsewhere is fenced. Every
 * change may be said twice: what is so already is not written again. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include "core/token.h"
#include "proto/utf8.h"
#include <string.h>

enum {
    SECOND_MS = 1000,
    /* No gate takes a token that is dated further ahead. */
    DATED_AHEAD_MS = AN_TOKENS_AHEAD_MS + AN_TOKEN_LEEWAY_S * SECOND_MS,
    ACCOUNT_SETS = ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_PASSWORD |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_FORBIDDEN |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_MUTED |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_DELETED |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_NICK |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_AVATAR |
                   ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_EXTRA,
    DEVICE_SETS = ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM |
                  ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH |
                  ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE |
                  ANSER__BUS__DEVICE_SET__DEVICE_SET_SEEN,
    SEEN = ANSER__BUS__DEVICE_SET__DEVICE_SET_SEEN,
    SEEN_SETS = SEEN | ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM,
};

/* Who was revoked however often can log in, and whatever he logged in with can be
 * revoked.
 */
static_assert(AN_REVOKE_AHEAD_MS + 2 * SECOND_MS <= AN_TOKENS_AHEAD_MS,
              "revoking again and again would keep logins out");
static_assert((int)AN_REVOKE_AHEAD_MS <= (int)DATED_AHEAD_MS &&
                  DATED_AHEAD_MS % SECOND_MS == 0,
              "a revocation would not reach what gates take");

/* ------------------------------------------------------------------ form */

static bool
text_ok(const ProtobufCBinaryData *text, size_t most)
{
    return text->len <= most && an_utf8_valid(text->data, text->len);
}

static bool
name_fits(const ProtobufCBinaryData *name)
{
    return name->len > 0 && name->len <= AN_NAME_LEN_MAX;
}

static bool
hash_ok(const ProtobufCBinaryData *hash)
{
    return hash->len == 0 || hash->len == AN_REFRESH_HASH_LEN;
}

enum an_err
seq_update_account_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__UpdateAccount *u = in->update_account;

    if (u->user == 0 || an_slot_user(u->user) != in->slot || u->set == 0 ||
        (u->set & ~(uint32_t)ACCOUNT_SETS) != 0 ||
        u->password_hash.len > AN_PASSWORD_HASH_LEN_MAX ||
        u->expect_password_hash.len > AN_PASSWORD_HASH_LEN_MAX ||
        u->extra.len > AN_PROFILE_EXTRA_LEN_MAX) {
        return AN_ERR_ARGUMENT;
    }
    return text_ok(&u->nick, AN_NICK_LEN_MAX) && text_ok(&u->avatar, AN_AVATAR_LEN_MAX)
               ? AN_OK
               : AN_ERR_ARGUMENT;
}

enum an_err
seq_update_device_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__UpdateDevice *u = in->update_device;

    return u->user != 0 && an_slot_user(u->user) == in->slot && u->set != 0 &&
                   (u->set & ~(uint32_t)DEVICE_SETS) == 0 &&
                   ((u->set & SEEN) == 0 || (u->set & ~(uint32_t)SEEN_SETS) == 0) &&
                   name_fits(&u->device) && u->platform.len <= AN_NAME_LEN_MAX &&
                   hash_ok(&u->refresh_hash) && hash_ok(&u->expect_refresh_hash) &&
                   u->expect_password_hash.len <= AN_PASSWORD_HASH_LEN_MAX
               ? AN_OK
               : AN_ERR_ARGUMENT;
}

/* ------------------------------------------------------------------ keeping texts */

/* Beside the command until it is written: the answer that brought it goes. Sizes were
 * checked when the texts came in, or the store did when it read them. */
static bool
keep(struct seq_change *change, ProtobufCBinaryData *text)
{
    uint8_t *to = change->text + change->text_len;

    if (text->len > sizeof(change->text) - change->text_len) {
        return false;
    }
    if (text->len > 0) {
        memcpy(to, text->data, text->len);
    }
    change->text_len += text->len;
    text->data = to;
    return true;
}

static bool
keep_account(struct seq_change *change)
{
    return keep(change, &change->details.password_hash) &&
           keep(change, &change->details.nick) && keep(change, &change->details.avatar) &&
           keep(change, &change->details.extra);
}

static bool
keep_device(struct seq_change *change)
{
    return keep(change, &change->device.device) &&
           keep(change, &change->device.platform) &&
           keep(change, &change->device.refresh_hash) &&
           keep(change, &change->device.previous_hash) && keep(change, &change->forget);
}

static bool
same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Returns whether there was anything to change. */
static bool
put_text(ProtobufCBinaryData *to, const ProtobufCBinaryData *value)
{
    bool changed = !same(to, value);

    *to = *value;
    return changed;
}

static bool
put_number(uint64_t *to, uint64_t value)
{
    bool changed = *to != value;

    *to = value;
    return changed;
}

static bool
put_flag(protobuf_c_boolean *to, bool value)
{
    bool changed = (*to != 0) != value;

    *to = value;
    return changed;
}

static bool
put_forward(uint64_t *to, uint64_t value)
{
    return value > *to && put_number(to, value);
}

/* The first whole second that has not begun: what was issued before is refused. */
static uint64_t
next_second(struct an_now now)
{
    return (now.wall_ms / SECOND_MS + 1) * SECOND_MS;
}

/* From when the device's tokens are good: the later of its own time and the user's. */
static uint64_t
device_from(const struct seq_change *change, const Anser__Bus__DeviceState *device)
{
    return device->tokens_from_ms > change->state.tokens_from_ms
               ? device->tokens_from_ms
               : change->state.tokens_from_ms;
}

/* The time that revokes all there is. What was issued after a revocation of this second
 * is dated to the second that it names, so the next one names a later one: always when a
 * login is known to have been issued, and for tokens of back ends, which nobody writes
 * down, as long as that does not lead too far. So saying it again and again leads
 * nowhere, and it is never refused. It reaches as far ahead as a token that gates take
 * may be dated; for one from further it goes no further than it does by itself. */
static uint64_t
revoke_at(uint64_t from_ms, uint64_t last_ms, struct an_now now)
{
    uint64_t next_ms = next_second(now), most_ms = next_ms + AN_REVOKE_AHEAD_MS;
    uint64_t at_ms;

    if (last_ms > now.wall_ms + DATED_AHEAD_MS) { /* by a clock gone wrong */
        last_ms = most_ms - 1;
    }
    at_ms = from_ms < next_ms                         ? next_ms
            : last_ms >= from_ms || from_ms < most_ms ? from_ms + SECOND_MS
                                                      : from_ms;
    /* A clock that is ahead of ours has dated it: a back end's, an api's, or that of who
     * had the slot before. */
    return last_ms >= at_ms ? (last_ms / SECOND_MS + 1) * SECOND_MS : at_ms;
}

/* When it last got tokens, or came with one. */
static uint64_t
last_ms(const Anser__Bus__DeviceState *device)
{
    return device->used_ms > device->seen_ms ? device->used_ms : device->seen_ms;
}

/* The date that a row keeps of tokens that are made, or come: ours, or from when they are
 * good, as they may say that; theirs, when it is later; and no earlier than the row says
 * of those before. What gates do not take does not count. */
static uint64_t
dated(uint64_t before_ms, uint64_t issued_ms, uint64_t from_ms, struct an_now now)
{
    uint64_t most_ms = now.wall_ms + DATED_AHEAD_MS;
    uint64_t at_ms = from_ms > now.wall_ms ? from_ms : now.wall_ms;

    issued_ms = issued_ms < most_ms ? issued_ms : most_ms;
    at_ms = issued_ms > at_ms ? issued_ms : at_ms;
    return before_ms > at_ms && before_ms <= most_ms ? before_ms : at_ms;
}

static uint64_t
revoke_device_at(const struct seq_change *change, struct an_now now)
{
    uint64_t from_ms = device_from(change, &change->device);

    return revoke_at(from_ms, last_ms(&change->device), now);
}

/* Tokens of devices that were revoked themselves, and logged in again, too. */
static uint64_t
revoke_account_at(const struct seq_change *change, const Anser__Bus__Answer *answer,
                  struct an_now now)
{
    uint64_t from_ms = change->state.tokens_from_ms;
    uint64_t last = 0;

    if (change->state.rest_from_ms > from_ms) {
        from_ms = change->state.rest_from_ms;
    }
    for (size_t i = 0; i < answer->n_devices; i++) {
        const Anser__Bus__DeviceState *device = answer->devices[i];

        from_ms = device->tokens_from_ms > from_ms ? device->tokens_from_ms : from_ms;
        last = last_ms(device) > last ? last_ms(device) : last;
    }
    return revoke_at(from_ms, last, now);
}

/* Whatever clocks say, a refresh token is good until all the user's were revoked. Of rows
 * that were made before that was counted, the time says it. */
static bool
refreshes(const Anser__Bus__DeviceState *device, const struct seq_change *change)
{
    return device->refresh_hash.len > 0 &&
           device->revocations == change->state.revocations &&
           device->used_ms >= change->state.tokens_from_ms;
}

/* ------------------------------------------------------------------ the account */

static bool
any_refreshes(const struct seq_change *change, const Anser__Bus__Answer *answer)
{
    for (size_t i = 0; i < answer->n_devices; i++) {
        if (refreshes(answer->devices[i], change)) {
            return true;
        }
    }
    return false;
}

/* All tokens of the user. Counted when there was something to revoke. */
static void
account_revoke(struct seq_change *change, const Anser__Bus__Answer *answer,
               struct an_now now)
{
    uint64_t from_ms = revoke_account_at(change, answer, now);
    bool any = any_refreshes(change, answer);

    if (put_forward(&change->state.tokens_from_ms, from_ms) || any) {
        change->state.revocations++;
        change->tell = true;
    }
}

/* Puts what the command says; whether anything changed, and whether gates care. */
static bool
account_put(const Anser__Bus__UpdateAccount *u, struct seq_change *change,
            const Anser__Bus__Answer *answer, struct an_now now)
{
    Anser__Bus__AccountState *state = &change->state;
    Anser__Bus__AccountDetails *details = &change->details;
    bool changed = false;

    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_FORBIDDEN) {
        change->tell |= put_flag(&state->forbidden, u->forbidden);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_MUTED) {
        change->tell |= put_number(&state->muted_until_ms, u->muted_until_ms);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_DELETED) {
        change->tell |= put_flag(&state->deleted, u->deleted);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE) {
        account_revoke(change, answer, now);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_PASSWORD) {
        changed |= put_text(&details->password_hash, &u->password_hash);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_NICK) {
        changed |= put_text(&details->nick, &u->nick);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_AVATAR) {
        changed |= put_text(&details->avatar, &u->avatar);
    }
    if (u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_EXTRA) {
        changed |= put_text(&details->extra, &u->extra);
    }
    return changed || change->tell;
}

/* Was the password that was shown changed since? Verifying it took a while. */
static bool
password_is(const struct seq_change *change, const ProtobufCBinaryData *expected)
{
    return expected->len == 0 || same(expected, &change->details.password_hash);
}

static enum an_err
account_decide(struct seq_cmd *cmd, const Anser__Bus__Answer *answer, struct an_now now,
               bool *write)
{
    const Anser__Bus__UpdateAccount *u = cmd->in->update_account;
    struct seq_change *change = cmd->change;

    if (!password_is(change, &u->expect_password_hash) &&
        ((u->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_PASSWORD) == 0 ||
         !same(&u->password_hash, &change->details.password_hash))) {
        return AN_ERR_PASSWORD_WRONG;
    }
    *write = account_put(u, change, answer, now);
    if (*write) {
        change->state.version++;
        change->details.changed_ms = now.wall_ms;
    }
    cmd->seq = change->state.version;
    cmd->time_ms = change->state.tokens_from_ms;
    *write = *write && keep_account(change);
    return AN_OK;
}

/* ------------------------------------------------------------------ a device */

static const Anser__Bus__DeviceState *
device_find(const Anser__Bus__Answer *answer, const ProtobufCBinaryData *name)
{
    for (size_t i = 0; i < answer->n_devices; i++) {
        if (same(&answer->devices[i]->device, name)) {
            return answer->devices[i];
        }
    }
    return NULL;
}

/* Logged out or removed, and not come back since. */
static bool
ended(const Anser__Bus__DeviceState *device, const struct seq_change *change)
{
    return device->refresh_hash.len == 0 && last_ms(device) < device_from(change, device);
}

/* Also after a clock that was wrong was set right. */
static void
issued_before_use(Anser__Bus__DeviceState *device)
{
    if (device->issued_ms > last_ms(device)) {
        device->issued_ms = last_ms(device);
    }
}

/* Would the one go rather than the other? Those that were ended first; of them the one
 * that was ended first, of the others the one longest unused. */
static bool
goes_before(const Anser__Bus__DeviceState *one, const Anser__Bus__DeviceState *other,
            const struct seq_change *change)
{
    bool one_ended = ended(one, change), other_ended = ended(other, change);

    if (one_ended != other_ended) {
        return one_ended;
    }
    return one_ended ? one->tokens_from_ms < other->tokens_from_ms
                     : last_ms(one) < last_ms(other);
}

/* Whoever comes to a gate under ever new names logs nobody out who has a refresh token.
 */
static bool
kept_from(const Anser__Bus__UpdateDevice *u, const Anser__Bus__DeviceState *device,
          struct an_now now)
{
    return (u->set & SEEN) != 0 && device->refresh_hash.len > 0 &&
           last_ms(device) + AN_REFRESH_TTL_MS > now.wall_ms;
}

/* Another device's row makes room for a new one. Without it tokens that were revoked
 * would be good again: from when they were refused holds for every device without a row
 * from then on. It cannot be told any more which device they were of. */
static bool
room_make(const Anser__Bus__UpdateDevice *u, const Anser__Bus__Answer *answer,
          struct seq_change *change, struct an_now now)
{
    const Anser__Bus__DeviceState *gone = NULL;

    if (answer->n_devices < AN_DEVICE_SESSIONS_MAX) {
        return true;
    }
    for (size_t i = 0; i < answer->n_devices; i++) {
        const Anser__Bus__DeviceState *device = answer->devices[i];

        if (!kept_from(u, device, now) &&
            (gone == NULL || goes_before(device, gone, change))) {
            gone = device;
        }
    }
    if (gone == NULL) {
        return false;
    }
    change->forget = gone->device;
    if (gone->tokens_from_ms > change->state.tokens_from_ms &&
        gone->tokens_from_ms > change->state.rest_from_ms) {
        change->folds = true;
        change->state.rest_from_ms = gone->tokens_from_ms;
        change->state.version++;
    }
    return true;
}

/* ------------------------------------------------------------------ seen at a gate */

/* And the row says so late a date that a revocation reaches the token. */
static bool
seen_lately(const Anser__Bus__UpdateDevice *u, const struct seq_change *change,
            struct an_now now)
{
    uint64_t at_ms = last_ms(&change->device);

    return at_ms >= device_from(change, &change->device) &&
           at_ms + AN_DEVICE_SEEN_MS > now.wall_ms &&
           (u->issued_ms <= at_ms || u->issued_ms <= now.wall_ms);
}

static enum an_err
seen_check(const Anser__Bus__UpdateDevice *u, const struct seq_change *change)
{
    if (change->state.deleted) {
        return AN_ERR_USER_DELETED;
    }
    if (change->state.forbidden) {
        return AN_ERR_USER_FORBIDDEN;
    }
    return u->issued_ms < device_from(change, &change->device) ? AN_ERR_TOKEN_REVOKED
                                                               : AN_OK;
}

static void
seen_put(const Anser__Bus__UpdateDevice *u, struct seq_change *change, struct an_now now)
{
    Anser__Bus__DeviceState *device = &change->device;
    uint64_t from_ms = device_from(change, device);
    uint64_t at_ms = dated(device->seen_ms, u->issued_ms, from_ms, now);

    if (device->refresh_hash.len == 0 &&
        (device->issued_ms == 0 || last_ms(device) < from_ms)) {
        device->issued_ms = at_ms;
    }
    device->seen_ms = at_ms;
    issued_before_use(device);
}

/* ------------------------------------------------------------------ refresh tokens */

/* The one before the newest, so soon that its answer may have been lost on the way. */
static bool
comes_again(const Anser__Bus__UpdateDevice *u, const Anser__Bus__DeviceState *device)
{
    return u->expect_refresh_hash.len > 0 && device->refresh_hash.len > 0 &&
           same(&u->expect_refresh_hash, &device->previous_hash);
}

/* From when what is issued now will be good. Who logs in anew as this device ends what an
 * earlier login was given. */
static uint64_t
issues_from(const Anser__Bus__UpdateDevice *u, const struct seq_change *change,
            struct an_now now)
{
    const Anser__Bus__DeviceState *device = &change->device;
    uint64_t from_ms = device_from(change, device);
    bool anew = u->expect_refresh_hash.len == 0 && u->refresh_hash.len > 0;

    return anew && device->used_ms > 0 && device->used_ms >= from_ms
               ? revoke_at(from_ms, last_ms(device), now)
               : from_ms;
}

/* A new refresh token: may the user have one, and is the one shown the newest? */
static enum an_err
refresh_check(const Anser__Bus__UpdateDevice *u, const struct seq_change *change,
              struct an_now now)
{
    const Anser__Bus__DeviceState *device = &change->device;

    if (change->state.deleted) {
        return AN_ERR_USER_DELETED;
    }
    if (change->state.forbidden) {
        return AN_ERR_USER_FORBIDDEN;
    }
    if (!password_is(change, &u->expect_password_hash)) {
        return AN_ERR_PASSWORD_WRONG;
    }
    /* A token made now would be of a time that gates do not believe. Nothing is issued,
     * so nothing leads further ahead. */
    if (issues_from(u, change, now) > now.wall_ms + AN_TOKENS_AHEAD_MS) {
        return AN_ERR_TOO_MANY_TRIES;
    }
    if (u->expect_refresh_hash.len == 0) {
        return AN_OK;
    }
    if (refreshes(device, change) &&
        (same(&u->expect_refresh_hash, &device->refresh_hash) ||
         (comes_again(u, device) &&
          now.wall_ms < device->used_ms + AN_REFRESH_GRACE_MS))) {
        return AN_OK;
    }
    return same(&u->expect_refresh_hash, &device->previous_hash) ? AN_ERR_REFRESH_REUSED
                                                                 : AN_ERR_REFRESH_INVALID;
}

static void
refresh_put(const Anser__Bus__UpdateDevice *u, struct seq_change *change,
            struct an_now now)
{
    Anser__Bus__DeviceState *device = &change->device;
    uint64_t from_ms = issues_from(u, change, now), at_ms;

    if (from_ms > device_from(change, device)) {
        change->tell |= put_forward(&device->tokens_from_ms, from_ms);
    }
    at_ms = dated(device->used_ms, u->issued_ms, from_ms, now);
    if (u->expect_refresh_hash.len == 0 || u->refresh_hash.len == 0) {
        device->issued_ms = u->refresh_hash.len == 0 ? device->issued_ms : at_ms;
        device->previous_hash.len = 0;
    } else if (!comes_again(u, device)) {
        device->previous_hash = device->refresh_hash;
    }
    device->refresh_hash = u->refresh_hash;
    if (u->refresh_hash.len > 0) {
        device->used_ms = at_ms;
        device->revocations = change->state.revocations;
        issued_before_use(device);
    }
}

/* Two have the refresh token: whoever is the thief, nobody goes on with it. Says whether
 * that is to be written: not again for one who comes again. */
static bool
reused(struct seq_change *change, struct an_now now)
{
    if (change->device.refresh_hash.len == 0) {
        return false;
    }
    change->device.refresh_hash.len = 0;
    change->tell =
        put_forward(&change->device.tokens_from_ms, revoke_device_at(change, now));
    change->then = AN_ERR_REFRESH_REUSED;
    return true;
}

static bool
device_put(const Anser__Bus__UpdateDevice *u, struct seq_change *change,
           struct an_now now)
{
    bool changed = false;

    if (u->set & SEEN) {
        if (seen_lately(u, change, now)) {
            return false;
        }
        seen_put(u, change, now);
        changed = true;
    }
    if (u->set & ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM) {
        changed |= put_text(&change->device.platform, &u->platform);
    }
    if (u->set & ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE) {
        change->tell =
            put_forward(&change->device.tokens_from_ms, revoke_device_at(change, now));
    }
    if ((u->set & ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH) &&
        !same(&u->refresh_hash, &change->device.refresh_hash)) {
        refresh_put(u, change, now);
        changed = true;
    }
    return changed || change->tell;
}

static enum an_err
device_decide(struct seq_cmd *cmd, const Anser__Bus__Answer *answer, struct an_now now,
              bool *write)
{
    const Anser__Bus__UpdateDevice *u = cmd->in->update_device;
    const Anser__Bus__DeviceState *found = device_find(answer, &u->device);
    struct seq_change *change = cmd->change;
    bool refresh = (u->set & ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH) != 0 &&
                   u->refresh_hash.len > 0;
    bool repeated =
        refresh && found != NULL && same(&found->refresh_hash, &u->refresh_hash);
    enum an_err err;

    if (found != NULL) {
        change->device = *found;
    } else { /* it may have had a row before */
        change->device.tokens_from_ms = change->state.rest_from_ms;
    }
    change->device.device = u->device;
    if (u->set & SEEN) {
        err = seen_check(u, change);
        if (err != AN_OK) {
            return err;
        }
    }
    if ((refresh || u->expect_refresh_hash.len > 0) && !repeated) {
        err = refresh_check(u, change, now);
        if (err == AN_ERR_REFRESH_REUSED && reused(change, now)) {
            *write = keep_device(change);
            return AN_OK;
        }
        if (err != AN_OK) {
            return err;
        }
    }
    *write = device_put(u, change, now);
    if (*write && found == NULL && !room_make(u, answer, change, now)) {
        *write = false;
        return AN_ERR_TOO_MANY_DEVICES;
    }
    cmd->seq = change->state.version;
    cmd->time_ms = device_from(change, &change->device);
    *write = *write && keep_device(change) && (!change->folds || keep_account(change));
    return AN_OK;
}

/* ------------------------------------------------------------------ deciding */

enum an_err
seq_change_decide(struct seq_cmd *cmd, const Anser__Bus__Answer *answer,
                  struct an_now now, bool *write)
{
    struct seq_change *change = cmd->change;

    if (answer->account == NULL || answer->details == NULL) {
        return AN_ERR_INTERNAL;
    }
    if (change == NULL) { /* the second time, after an unknown outcome, it is there */
        change = an_arena_alloc(&cmd->submit->msg->arena, sizeof(*change));
        if (change == NULL) {
            return AN_ERR_BUSY;
        }
        cmd->change = change;
    }
    change->text_len = 0;
    change->tell = false;
    change->folds = false;
    change->then = AN_OK;
    change->forget = (ProtobufCBinaryData){0, NULL};
    change->state = *answer->account;
    change->details = *answer->details;
    change->details.app = (ProtobufCBinaryData){0, NULL}; /* of the user's own row */
    anser__bus__device_state__init(&change->device);
    return cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT
               ? account_decide(cmd, answer, now, write)
               : device_decide(cmd, answer, now, write);
}

/* ------------------------------------------------------------------ writing */

void
seq_change_fill(Anser__Bus__Entry *entry, union seq_body *body, struct seq_cmd *cmd)
{
    struct seq_change *change = cmd->change;

    if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT) {
        anser__bus__account_entry__init(&body->account);
        entry->what_case = ANSER__BUS__ENTRY__WHAT_ACCOUNT;
        entry->account = &body->account;
        body->account.user = cmd->in->update_account->user;
        body->account.state = &change->state;
        body->account.details = &change->details;
        body->account.tell = change->tell;
        return;
    }
    anser__bus__device_session_entry__init(&body->session);
    entry->what_case = ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION;
    entry->device_session = &body->session;
    body->session.user = cmd->in->update_device->user;
    body->session.state = &change->device;
    body->session.forget = change->forget;
    body->session.tell = change->tell;
    if (change->folds) {
        anser__bus__account_entry__init(&change->folded);
        change->folded.user = body->session.user;
        change->folded.state = &change->state;
        change->folded.details = &change->details;
        body->session.folded = &change->folded;
    }
    if (change->tell) {
        change->hint = change->state;
        change->hint.device = change->device.device;
        change->hint.tokens_from_ms = change->device.tokens_from_ms;
        body->session.account = &change->hint;
    }
}
