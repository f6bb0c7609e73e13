/* Changes of accounts and of devices' sessions: decided once, written whole, and the same
 * when they are said again. */
#include "core/slot.h"
#include "tests/actors/seq_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#define SET(what)    ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_##what
#define DEVICE(what) ANSER__BUS__DEVICE_SET__DEVICE_SET_##what

static bool
is(ProtobufCBinaryData data, const char *chars)
{
    return data.len == strlen(chars) && memcmp(data.data, chars, data.len) == 0;
}

static uint64_t
update(struct rig *rig, Anser__Bus__UpdateAccount u)
{
    uint64_t request = rig_update_account(rig, 41, u);

    rig_pump(rig);
    return request;
}

static uint64_t
forbid(struct rig *rig, bool forbidden)
{
    Anser__Bus__UpdateAccount u = ANSER__BUS__UPDATE_ACCOUNT__INIT;

    u.set = SET(FORBIDDEN);
    u.forbidden = forbidden;
    return update(rig, u);
}

static void
test_account_change_leaves_the_rest_and_counts_versions(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateAccount u = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    const Anser__Bus__AccountEntry *row;
    uint64_t request;

    assert_null(rig_account(rig, 41));
    u.set = SET(NICK) | SET(AVATAR) | SET(PASSWORD);
    u.nick = rig_text("Al");
    u.avatar = rig_text("a.png");
    u.password_hash = rig_text("$argon2id$x");
    request = update(rig, u);
    assert_int_equal(rig_err(rig, request), AN_OK);
    assert_int_equal(rig_result(rig, request, 0)->seq, 1);
    assert_false(rig_account(rig, 41)->tell);
    request = forbid(rig, true);
    assert_int_equal(rig_result(rig, request, 0)->seq, 2);
    row = rig_account(rig, 41);
    assert_true(row->tell);
    assert_true(row->state->forbidden);
    assert_true(is(row->details->nick, "Al"));
    assert_true(is(row->details->avatar, "a.png"));
    assert_true(is(row->details->password_hash, "$argon2id$x"));
}

static void
test_account_change_said_twice_is_written_once(void **state)
{
    struct rig *rig = *state;
    size_t appends;
    uint64_t request;

    forbid(rig, true);
    appends = rig->appends;
    request = forbid(rig, true);
    assert_int_equal(rig_err(rig, request), AN_OK);
    assert_int_equal(rig_result(rig, request, 0)->seq, 1);
    assert_int_equal(rig->appends, appends);
}

static void
test_account_changes_of_one_user_do_not_overwrite_each_other(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateAccount nick = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    Anser__Bus__UpdateAccount mute = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    uint64_t first, second;

    nick.set = SET(NICK);
    nick.nick = rig_text("Al");
    mute.set = SET(MUTED);
    mute.muted_until_ms = UINT64_MAX;
    first = rig_update_account(rig, 41, nick);
    second = rig_update_account(rig, 41, mute);
    rig_pump(rig);
    assert_int_equal(rig_result(rig, first, 0)->seq, 1);
    assert_int_equal(rig_result(rig, second, 0)->seq, 2);
    assert_true(is(rig_account(rig, 41)->details->nick, "Al"));
    assert_int_equal(rig_account(rig, 41)->state->muted_until_ms, UINT64_MAX);
}

static void
test_account_change_of_unknown_outcome_is_taken_again(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateAccount u = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    const struct harness_effect *append;
    uint64_t request;

    for (int stored = 0; stored < 2; stored++) {
        u.set = SET(DELETED);
        u.deleted = !stored;
        request = rig_update_account(rig, 41, u);
        rig_pump_but_appends(rig);
        append = rig_take_append(rig);
        if (stored) {
            rig_store(rig, append);
        }
        harness_answer(rig->h, append, AN_ERR_TIMEOUT, NULL);
        harness_drain(rig->h);
        assert_false(rig_answered(rig, request));
        rig_pump(rig);
        assert_int_equal(rig_err(rig, request), AN_OK);
        assert_int_equal(rig_account(rig, 41)->state->version, 1 + stored);
        assert_int_equal(rig_account(rig, 41)->state->deleted, !stored);
    }
}

static void
test_account_of_nobody_and_bad_changes_are_refused(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateAccount u = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    uint64_t request;

    assert_int_equal(rig_err(rig, update(rig, u)), AN_ERR_ARGUMENT); /* nothing set */
    u.set = 1u << 30;
    assert_int_equal(rig_err(rig, update(rig, u)), AN_ERR_ARGUMENT);
    u.set = SET(NICK);
    u.nick = rig_text("\xff");
    assert_int_equal(rig_err(rig, update(rig, u)), AN_ERR_ARGUMENT);
    u.set = SET(REVOKE);
    u.nick = rig_text("");
    request = rig_update_account(rig, 42, u);
    rig_pump(rig);
    assert_int_equal(rig_err(rig, request), AN_ERR_USER_NOT_FOUND);
    assert_null(rig_account(rig, 41));
}

static void
test_account_registered_twice_knows_its_own_password(void **state)
{
    struct rig *rig = *state;
    uint64_t mine = rig_register(rig, "bob", 43, "$mine");
    uint64_t again = rig_register(rig, "bob", 43, "$mine");
    uint64_t other = rig_register(rig, "bob", 43, "$other");

    rig_pump(rig);
    assert_int_equal(rig_err(rig, mine), AN_OK);
    assert_int_equal(rig_err(rig, again), AN_OK);
    assert_int_equal(rig_err(rig, other), AN_ERR_USER_EXISTS);
    assert_true(is(rig_account(rig, 43)->details->password_hash, "$mine"));
}

/* The password of before was verified, and changed before the login or the other change
 * came here. */
static void
test_password_changed_meanwhile_opens_nothing(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateAccount u = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    Anser__Bus__UpdateDevice d = ANSER__BUS__UPDATE_DEVICE__INIT;
    uint64_t request;

    u.set = SET(PASSWORD);
    u.password_hash = rig_text("$first");
    update(rig, u);
    u.password_hash = rig_text("$second");
    u.expect_password_hash = rig_text("$first");
    assert_int_equal(rig_err(rig, update(rig, u)), AN_OK);
    assert_int_equal(rig_err(rig, update(rig, u)), AN_OK); /* said twice */
    u.password_hash = rig_text("$third");
    assert_int_equal(rig_err(rig, update(rig, u)), AN_ERR_PASSWORD_WRONG);
    assert_true(is(rig_account(rig, 41)->details->password_hash, "$second"));

    d.set = DEVICE(REFRESH);
    d.refresh_hash = rig_hash('a');
    d.expect_password_hash = rig_text("$first");
    request = rig_update_device(rig, 41, "phone", d);
    rig_pump(rig);
    assert_int_equal(rig_err(rig, request), AN_ERR_PASSWORD_WRONG);
    assert_null(rig_session(rig, 41, "phone"));
    d.expect_password_hash = rig_text("$second");
    request = rig_update_device(rig, 41, "phone", d);
    rig_pump(rig);
    assert_int_equal(rig_err(rig, request), AN_OK);
}

static void
test_refresh_token_is_changed_only_for_the_newest(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_ERR_REFRESH_INVALID);
    assert_null(rig_session(rig, 41, "phone"));
    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_OK); /* an earlier try */
    assert_int_equal(rig_rotate(rig, "phone", 'z', 'c'), AN_ERR_REFRESH_INVALID);
    assert_int_equal(rig_rotate(rig, "phone", 'b', 'c'), AN_OK);
    assert_true(is(rig_session(rig, 41, "phone")->refresh_hash,
                   "cccccccccccccccccccccccccccccccc"));
}

/* The answer to a refresh gets lost: the client has only the old one, and comes again. */
static void
test_refresh_token_whose_answer_was_lost_is_taken_again(void **state)
{
    struct rig *rig = *state;

    rig_rotate(rig, "phone", 0, 'a');
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_OK);
    harness_advance(rig->h, AN_REFRESH_GRACE_MS - 1);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'c'), AN_OK); /* lost too */
    harness_advance(rig->h, AN_REFRESH_GRACE_MS - 1);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'd'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'c', 'x'), AN_ERR_REFRESH_INVALID);
    assert_int_equal(rig_rotate(rig, "phone", 'd', 'e'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'x'), AN_ERR_REFRESH_INVALID);
    assert_true(is(rig_session(rig, 41, "phone")->refresh_hash,
                   "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"));
}

static void
test_refresh_token_that_comes_again_ends_the_session(void **state)
{
    struct rig *rig = *state;
    uint64_t second;
    size_t appends;

    rig_rotate(rig, "phone", 0, 'a');
    rig_rotate(rig, "phone", 'a', 'b');
    harness_advance(rig->h, AN_REFRESH_GRACE_MS);
    second = (harness_now(rig->h).wall_ms / 1000 + 1) * 1000;
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'x'), AN_ERR_REFRESH_REUSED);
    assert_int_equal(rig_session(rig, 41, "phone")->refresh_hash.len, 0);
    assert_int_equal(rig_session(rig, 41, "phone")->tokens_from_ms, second);
    assert_int_equal(rig_rotate(rig, "phone", 'b', 'y'), AN_ERR_REFRESH_INVALID);
    appends = rig->appends;
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'x'), AN_ERR_REFRESH_REUSED);
    assert_int_equal(rig->appends, appends); /* the thief cannot keep it shut */
    assert_int_equal(rig_rotate(rig, "phone", 0, 'c'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'x'), AN_ERR_REFRESH_INVALID);
    assert_int_equal(rig_rotate(rig, "phone", 'c', 'd'), AN_OK);
}

/* What is issued after a revocation is dated to its second, which has not begun: the next
 * revocation must reach it. */
static void
test_refresh_token_reused_ends_tokens_dated_ahead(void **state)
{
    struct rig *rig = *state;
    uint64_t second;

    rig_rotate(rig, "phone", 0, 'a');
    rig_rotate(rig, "phone", 'a', 'b');
    harness_advance(rig->h, AN_REFRESH_GRACE_MS);
    second = rig_revoke(rig);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'x'), AN_ERR_REFRESH_REUSED);
    assert_int_equal(rig_session(rig, 41, "phone")->tokens_from_ms, second + 1000);
}

/* A thief who refreshed last has the newest of both: the owner's next login ends them. */
static void
test_login_ends_tokens_of_the_devices_earlier_one(void **state)
{
    struct rig *rig = *state;
    uint64_t second = rig_next_second(rig);

    rig_rotate(rig, "phone", 0, 'a');
    rig_rotate(rig, "phone", 'a', 'b');
    assert_int_equal(rig_session(rig, 41, "phone")->tokens_from_ms, 0);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'c'), AN_OK);
    assert_int_equal(rig_session(rig, 41, "phone")->tokens_from_ms, second);
    assert_int_equal(rig_rotate(rig, "phone", 'b', 'x'), AN_ERR_REFRESH_INVALID);
    assert_int_equal(rig_rotate(rig, "phone", 'c', 'd'), AN_OK);
    assert_int_equal(rig_session(rig, 41, "phone")->tokens_from_ms, second);
}

static void
test_refresh_token_ends_with_the_users_tokens(void **state)
{
    struct rig *rig = *state;

    rig_rotate(rig, "phone", 0, 'a');
    rig_revoke(rig);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_ERR_REFRESH_INVALID);
    /* One made right now is good: it is dated after. */
    assert_int_equal(rig_rotate(rig, "phone", 0, 'c'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'c', 'd'), AN_OK);
    forbid(rig, true);
    assert_int_equal(rig_rotate(rig, "phone", 'd', 'e'), AN_ERR_USER_FORBIDDEN);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'e'), AN_ERR_USER_FORBIDDEN);
    forbid(rig, false);
    assert_int_equal(rig_rotate(rig, "phone", 'd', 'e'), AN_OK);
}

static void
test_device_removed_is_told_to_gates_with_its_name(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    const struct harness_effect *append;
    const Anser__Bus__DeviceSessionEntry *entry;

    rig_rotate(rig, "phone", 0, 'a');
    u.set = DEVICE(REFRESH) | DEVICE(REVOKE);
    rig_update_device(rig, 41, "phone", u);
    rig_pump_but_appends(rig);
    append = rig_take_append(rig);
    entry = ((const Anser__Bus__Append *)harness_body(append))
                ->slots[0]
                ->entries[0]
                ->device_session;
    assert_true(entry->tell);
    assert_true(is(entry->account->device, "phone"));
    assert_int_equal(entry->account->tokens_from_ms, rig_next_second(rig));
    rig_answer(rig, append);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_ERR_REFRESH_INVALID);
}

static uint64_t
rest_from(const struct rig *rig)
{
    const Anser__Bus__AccountEntry *row = rig_account(rig, 41);

    return row == NULL ? 0 : row->state->rest_from_ms;
}

static void
test_devices_beyond_the_bound_push_out_the_longest_unused(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    uint64_t from_ms;
    char name[16];

    for (unsigned i = 0; i < AN_DEVICE_SESSIONS_MAX; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        assert_int_equal(rig_rotate(rig, name, 0, 'a'), AN_OK);
        harness_advance(rig->h, 10);
    }
    assert_int_equal(rig_rotate(rig, "new", 0, 'a'), AN_OK);
    assert_null(rig_session(rig, 41, "d0"));
    assert_non_null(rig_session(rig, 41, "new"));
    /* What the one that goes refused is refused for all without a row. */
    assert_int_equal(rest_from(rig), 0);
    u.set = DEVICE(REVOKE);
    rig_update_device(rig, 41, "d1", u);
    rig_pump(rig);
    from_ms = rig_session(rig, 41, "d1")->tokens_from_ms;
    assert_int_equal(rig_rotate(rig, "newer", 0, 'a'), AN_OK);
    assert_null(rig_session(rig, 41, "d1"));
    assert_int_equal(rest_from(rig), from_ms);
    assert_int_equal(rig_session(rig, 41, "newer")->tokens_from_ms, 0);
}

/* Logging in and out all day, each time as a new device: what was revoked stays so for
 * ever, and the next one comes in. */
static void
test_devices_logged_out_do_not_keep_others_out(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateAccount nick = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    uint64_t from_ms[3 * AN_DEVICE_SESSIONS_MAX];
    char name[16];

    nick.set = SET(NICK);
    nick.nick = rig_text("Al");
    update(rig, nick);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    for (unsigned i = 0; i < 3 * AN_DEVICE_SESSIONS_MAX; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        assert_int_equal(rig_rotate(rig, name, 0, 'a'), AN_OK);
        from_ms[i] = rig_revoke_device(rig, name);
        harness_advance(rig->h, 1500);
    }
    assert_non_null(rig_session(rig, 41, "phone")); /* those that were ended go first */
    for (unsigned i = 0; i < 3 * AN_DEVICE_SESSIONS_MAX; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        if (rig_session(rig, 41, name) == NULL) {
            assert_true(rest_from(rig) >= from_ms[i]);
        } else {
            assert_int_equal(rig_session(rig, 41, name)->tokens_from_ms, from_ms[i]);
            assert_true(rest_from(rig) < from_ms[i]);
        }
    }
    assert_true(is(rig_account(rig, 41)->details->nick, "Al"));
    /* One that comes back is not let in with what it had. */
    assert_int_equal(rig_rotate(rig, "d0", 0, 'b'), AN_OK);
    assert_true(rig_session(rig, 41, "d0")->tokens_from_ms >= from_ms[0]);
}

static void
test_device_forgotten_and_told_of_in_one_step(void **state)
{
    struct rig *rig = *state;
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    const Anser__Bus__DeviceSessionEntry *entry;
    const struct harness_effect *append;
    char name[16];

    for (unsigned i = 0; i < AN_DEVICE_SESSIONS_MAX; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        rig_revoke_device(rig, name);
    }
    harness_advance(rig->h, 2000);
    u.set = DEVICE(REVOKE);
    rig_update_device(rig, 41, "another", u);
    rig_pump_but_appends(rig);
    append = rig_take_append(rig);
    entry = ((const Anser__Bus__Append *)harness_body(append))
                ->slots[0]
                ->entries[0]
                ->device_session;
    assert_int_equal(entry->account->tokens_from_ms, rig_next_second(rig));
    assert_true(is(entry->account->device, "another"));
    assert_int_equal(entry->folded->state->tokens_from_ms, 0);
    assert_int_equal(entry->folded->state->device.len, 0);
    assert_int_equal(entry->folded->state->rest_from_ms, rig_next_second(rig) - 2000);
    rig_answer(rig, append);
}

/* ------------------------------------------------------------------ seen at a gate */

static void
test_device_seen_is_written_again_when_it_is_old(void **state)
{
    struct rig *rig = *state;
    uint64_t first = harness_now(rig->h).wall_ms;
    size_t appends;

    assert_int_equal(rig_seen(rig, "phone", first), AN_OK);
    assert_int_equal(rig_session(rig, 41, "phone")->seen_ms, first);
    assert_int_equal(rig_session(rig, 41, "phone")->issued_ms, first);
    assert_true(is(rig_session(rig, 41, "phone")->platform, "ios"));
    appends = rig->appends;
    harness_advance(rig->h, AN_DEVICE_SEEN_MS - 1);
    assert_int_equal(rig_seen(rig, "phone", first), AN_OK);
    assert_int_equal(rig->appends, appends);
    harness_advance(rig->h, 1);
    assert_int_equal(rig_seen(rig, "phone", first), AN_OK);
    assert_int_equal(rig->appends, appends + 1);
    assert_int_equal(rig_session(rig, 41, "phone")->issued_ms, first);
    /* Its refresh token says as much. */
    assert_int_equal(rig_rotate(rig, "pad", 0, 'a'), AN_OK);
    appends = rig->appends;
    assert_int_equal(rig_seen(rig, "pad", first), AN_OK);
    assert_int_equal(rig->appends, appends);
}

/* Each brings up to 64 devices, and all have to fit one message. */
static void
test_devices_of_many_users_are_read_in_several_reads(void **state)
{
    enum { USERS = 256 };
    struct rig *rig = *state;
    Anser__Bus__Command commands[USERS], *list[USERS];
    Anser__Bus__UpdateDevice updates[USERS];
    const struct harness_effect *ask;
    size_t asked = 0;

    for (unsigned i = 0; i < USERS; i++) {
        anser__bus__update_device__init(&updates[i]);
        updates[i].user = 1000 + i;
        updates[i].device = rig_text("phone");
        updates[i].set = DEVICE(SEEN);
        anser__bus__command__init(&commands[i]);
        commands[i].what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE;
        commands[i].update_device = &updates[i];
        commands[i].slot = an_slot_user(updates[i].user);
        list[i] = &commands[i];
    }
    rig_submit(rig, list, USERS);
    while ((ask = harness_take_ask(rig->h, AN_ROLE_STORE, AN_KIND_READ)) != NULL) {
        const Anser__Bus__Read *read = harness_body(ask);

        assert_in_range(read->n_queries, 1, 128);
        asked += read->n_queries;
    }
    assert_int_equal(asked, USERS);
}

/* The word of a gate comes after the device was ended. */
static void
test_device_seen_does_not_bring_back_what_was_ended(void **state)
{
    struct rig *rig = *state;
    uint64_t issued_ms = harness_now(rig->h).wall_ms, from_ms;

    assert_int_equal(rig_seen(rig, "phone", issued_ms), AN_OK);
    from_ms = rig_revoke_device(rig, "phone");
    assert_int_equal(rig_seen(rig, "phone", issued_ms), AN_ERR_TOKEN_REVOKED);
    assert_true(rig_session(rig, 41, "phone")->seen_ms < from_ms);
    assert_int_equal(rig_seen(rig, "phone", from_ms), AN_OK); /* a new token */
    assert_int_equal(rig_session(rig, 41, "phone")->seen_ms, from_ms);
    assert_true(rig_revoke_device(rig, "phone") > from_ms);
    rig_revoke(rig);
    assert_int_equal(rig_seen(rig, "pad", issued_ms), AN_ERR_TOKEN_REVOKED);
    forbid(rig, true);
    assert_int_equal(rig_seen(rig, "pad", from_ms + 9000), AN_ERR_USER_FORBIDDEN);
    assert_null(rig_session(rig, 41, "pad"));
}

static void
test_devices_seen_push_out_no_refresh_token(void **state)
{
    struct rig *rig = *state;
    uint64_t now = harness_now(rig->h).wall_ms;
    char name[16];

    for (unsigned i = 0; i < AN_DEVICE_SESSIONS_MAX; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        assert_int_equal(
            i == 5 ? rig_seen(rig, name, now) : rig_rotate(rig, name, 0, 'a'), AN_OK);
    }
    assert_int_equal(rig_seen(rig, "one", now), AN_OK);
    assert_null(rig_session(rig, 41, "d5"));
    assert_int_equal(rig_rotate(rig, "one", 0, 'a'), AN_OK);
    assert_int_equal(rig_seen(rig, "two", now), AN_ERR_TOO_MANY_DEVICES);
    assert_int_equal(rig_rotate(rig, "two", 0, 'a'), AN_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, rig_alice_setup, rig_alice_teardown)
        TEST(test_account_change_leaves_the_rest_and_counts_versions),
        TEST(test_account_change_said_twice_is_written_once),
        TEST(test_account_changes_of_one_user_do_not_overwrite_each_other),
        TEST(test_account_change_of_unknown_outcome_is_taken_again),
        TEST(test_account_of_nobody_and_bad_changes_are_refused),
        TEST(test_account_registered_twice_knows_its_own_password),
        TEST(test_password_changed_meanwhile_opens_nothing),
        TEST(test_refresh_token_is_changed_only_for_the_newest),
        TEST(test_refresh_token_whose_answer_was_lost_is_taken_again),
        TEST(test_refresh_token_that_comes_again_ends_the_session),
        TEST(test_refresh_token_reused_ends_tokens_dated_ahead),
        TEST(test_login_ends_tokens_of_the_devices_earlier_one),
        TEST(test_refresh_token_ends_with_the_users_tokens),
        TEST(test_device_removed_is_told_to_gates_with_its_name),
        TEST(test_devices_beyond_the_bound_push_out_the_longest_unused),
        TEST(test_devices_logged_out_do_not_keep_others_out),
        TEST(test_device_forgotten_and_told_of_in_one_step),
        TEST(test_device_seen_is_written_again_when_it_is_old),
        TEST(test_devices_of_many_users_are_read_in_several_reads),
        TEST(test_device_seen_does_not_bring_back_what_was_ended),
        TEST(test_devices_seen_push_out_no_refresh_token),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
