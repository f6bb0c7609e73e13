/* Accounts and devices' sessions: what an entry brought is what queries say, also after a
 * restart, and gates hear of what concerns them. */
#include "core/slot.h"
#include "tests/actors/store_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

enum { USER = 41 };

static int
setup(void **state)
{
    struct store_rig *rig = store_rig_create();

    store_rig_open(rig);
    store_rig_claim(rig, an_slot_user(USER));
    *state = rig;
    return 0;
}

static void
append(struct store_rig *rig, Anser__Bus__Entry *entry)
{
    Anser__Bus__Entry *list = entry;

    assert_int_equal(store_rig_append(rig, an_slot_user(USER), &list, 1)->err, AN_OK);
}

static void
make_user(struct store_rig *rig, const char *password)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__UserEntry user = ANSER__BUS__USER_ENTRY__INIT;

    user.user = USER;
    user.app = store_rig_data("default");
    user.name = store_rig_data("alice");
    user.created_ms = 5;
    user.password_hash = store_rig_data(password);
    entry.what_case = ANSER__BUS__ENTRY__WHAT_USER;
    entry.user = &user;
    append(rig, &entry);
}

static void
put_account(struct store_rig *rig, Anser__Bus__AccountState state, bool tell)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__AccountEntry account = ANSER__BUS__ACCOUNT_ENTRY__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;

    details.nick = store_rig_data("Al");
    details.extra = store_rig_data("{}");
    details.changed_ms = 9;
    account.user = USER;
    account.state = &state;
    account.details = &details;
    account.tell = tell;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_ACCOUNT;
    entry.account = &account;
    append(rig, &entry);
}

static void
put_session(struct store_rig *rig, const char *device, uint64_t tokens_from_ms,
            const char *forget)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__DeviceSessionEntry session = ANSER__BUS__DEVICE_SESSION_ENTRY__INIT;
    Anser__Bus__DeviceState state = ANSER__BUS__DEVICE_STATE__INIT;

    state.device = store_rig_data(device);
    state.platform = store_rig_data("ios");
    state.refresh_hash = store_rig_data("0123456789abcdef0123456789abcdef");
    state.used_ms = 7;
    state.revocations = 2;
    state.tokens_from_ms = tokens_from_ms;
    session.user = USER;
    session.state = &state;
    session.forget = store_rig_data(forget);
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION;
    entry.device_session = &session;
    append(rig, &entry);
}

static const Anser__Bus__Answer *
account(struct store_rig *rig, uint64_t user)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__AccountQuery what = ANSER__BUS__ACCOUNT_QUERY__INIT;

    what.user = user;
    what.details = what.devices = true;
    query.slot = an_slot_user(user);
    query.what_case = ANSER__BUS__QUERY__WHAT_ACCOUNT;
    query.account = &what;
    return store_rig_query(rig, &query);
}

static const Anser__Bus__Answer *
head(struct store_rig *rig, const char *device)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__HeadQuery what = ANSER__BUS__HEAD_QUERY__INIT;

    what.user = USER;
    what.device = store_rig_data(device);
    query.slot = an_slot_user(USER);
    query.what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    query.head = &what;
    return store_rig_query(rig, &query);
}

static void
test_store_account_of_a_user_of_whom_nothing_was_said(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__Answer *answer = account(rig, USER);

    assert_int_equal(answer->err, AN_ERR_USER_NOT_FOUND);
    make_user(rig, "");
    answer = account(rig, USER);
    assert_int_equal(answer->err, AN_OK);
    assert_int_equal(answer->account->version, 0);
    assert_true(store_rig_is(answer->name, "alice"));
    assert_true(store_rig_is(answer->details->app, "default"));
    assert_int_equal(answer->details->created_ms, 5);
    assert_int_equal(answer->n_devices, 0);
    answer = store_rig_login(rig, USER, "phone");
    assert_int_equal(answer->account->version, 0);
}

static void
test_store_user_made_with_a_password_has_an_account(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__Answer *answer;

    make_user(rig, "$argon2id$");
    answer = account(rig, USER);
    assert_int_equal(answer->account->version, 1);
    assert_true(store_rig_is(answer->details->password_hash, "$argon2id$"));
}

static void
test_store_account_survives_a_restart(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__AccountState said = ANSER__BUS__ACCOUNT_STATE__INIT;
    const Anser__Bus__Answer *answer;

    make_user(rig, "");
    said.version = 3;
    said.forbidden = true;
    said.muted_until_ms = UINT64_MAX;
    said.tokens_from_ms = 4000;
    said.revocations = 3;
    put_account(rig, said, false);
    put_session(rig, "phone", 6000, "");
    store_rig_close(rig);
    store_rig_open(rig);
    answer = account(rig, USER);
    assert_int_equal(answer->account->version, 3);
    assert_true(answer->account->forbidden);
    assert_false(answer->account->deleted);
    assert_int_equal(answer->account->muted_until_ms, UINT64_MAX);
    assert_int_equal(answer->account->tokens_from_ms, 4000);
    assert_true(store_rig_is(answer->details->nick, "Al"));
    assert_true(store_rig_is(answer->details->extra, "{}"));
    assert_int_equal(answer->n_devices, 1);
    assert_true(store_rig_is(answer->devices[0]->device, "phone"));
    assert_true(store_rig_is(answer->devices[0]->platform, "ios"));
    assert_int_equal(answer->devices[0]->refresh_hash.len, 32);
    assert_int_equal(answer->account->revocations, 3);
    assert_int_equal(answer->devices[0]->revocations, 2);
}

static void
test_store_tokens_from_is_the_later_of_users_and_devices(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__AccountState said = ANSER__BUS__ACCOUNT_STATE__INIT;

    make_user(rig, "");
    said.version = 1;
    said.tokens_from_ms = 4000;
    put_account(rig, said, false);
    put_session(rig, "phone", 6000, "");
    put_session(rig, "pad", 2000, "");
    assert_int_equal(store_rig_login(rig, USER, "phone")->account->tokens_from_ms, 6000);
    assert_int_equal(store_rig_login(rig, USER, "pad")->account->tokens_from_ms, 4000);
    assert_int_equal(store_rig_login(rig, USER, "other")->account->tokens_from_ms, 4000);
    assert_int_equal(head(rig, "phone")->account->tokens_from_ms, 6000);
    assert_int_equal(head(rig, "")->account->tokens_from_ms, 4000);
    store_rig_claim_pair(rig, USER, 2);
    store_rig_talk(rig, USER, 2, 1, 3);
    assert_int_equal(head(rig, "phone")->account->tokens_from_ms, 6000);
    assert_int_equal(head(rig, "phone")->inbox_head, 3);
}

static void
test_store_device_makes_room_for_another(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__Answer *answer;

    make_user(rig, "");
    put_session(rig, "a", 0, "");
    put_session(rig, "b", 0, "a");
    answer = account(rig, USER);
    assert_int_equal(answer->n_devices, 1);
    assert_true(store_rig_is(answer->devices[0]->device, "b"));
}

/* The one that goes leaves its time to all without a session, in one step. */
static void
test_store_device_forgotten_is_still_refused(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__DeviceSessionEntry session = ANSER__BUS__DEVICE_SESSION_ENTRY__INIT;
    Anser__Bus__DeviceState device = ANSER__BUS__DEVICE_STATE__INIT;
    Anser__Bus__AccountEntry folded = ANSER__BUS__ACCOUNT_ENTRY__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    Anser__Bus__AccountState said = ANSER__BUS__ACCOUNT_STATE__INIT;

    make_user(rig, "");
    put_session(rig, "a", 6000, "");
    assert_int_equal(store_rig_login(rig, USER, "a")->device_seen_ms, 7);
    details.nick = store_rig_data("Al");
    said.version = 1;
    said.tokens_from_ms = 2000;
    said.rest_from_ms = 6000;
    folded.user = USER;
    folded.state = &said;
    folded.details = &details;
    device.device = store_rig_data("b");
    device.seen_ms = 9;
    session.user = USER;
    session.state = &device;
    session.forget = store_rig_data("a");
    session.folded = &folded;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION;
    entry.device_session = &session;
    append(rig, &entry);
    store_rig_close(rig);
    store_rig_open(rig);
    assert_int_equal(store_rig_login(rig, USER, "a")->account->tokens_from_ms, 6000);
    assert_int_equal(store_rig_login(rig, USER, "a")->device_seen_ms, 0);
    assert_int_equal(head(rig, "other")->account->tokens_from_ms, 6000);
    assert_int_equal(head(rig, "b")->account->tokens_from_ms, 2000);
    assert_int_equal(head(rig, "b")->device_seen_ms, 9);
    assert_int_equal(head(rig, "")->account->tokens_from_ms, 2000);
    assert_int_equal(account(rig, USER)->account->rest_from_ms, 6000);
    assert_int_equal(account(rig, USER)->devices[0]->seen_ms, 9);
    assert_true(store_rig_is(account(rig, USER)->details->nick, "Al"));
}

static void
test_store_tells_the_router_of_what_gates_must_know(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__AccountState said = ANSER__BUS__ACCOUNT_STATE__INIT;
    const struct harness_effect *ask;
    const Anser__Bus__Push *push;

    make_user(rig, "");
    said.version = 1;
    put_account(rig, said, false);
    assert_null(harness_take_ask(rig->h, AN_ROLE_ROUTER, AN_KIND_PUSH));
    said.version = 2;
    said.deleted = true;
    put_account(rig, said, true);
    ask = harness_take_ask(rig->h, AN_ROLE_ROUTER, AN_KIND_PUSH);
    assert_non_null(ask);
    push = harness_body(ask);
    assert_int_equal(push->n_items, 1);
    assert_int_equal(push->items[0]->user, USER);
    assert_int_equal(push->items[0]->command, 0);
    assert_int_equal(push->items[0]->account->version, 2);
    assert_true(push->items[0]->account->deleted);
}

static void
test_store_account_entry_that_does_not_fit_is_refused(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__AccountEntry account = ANSER__BUS__ACCOUNT_ENTRY__INIT;

    account.user = USER;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_ACCOUNT;
    entry.account = &account;
    assert_int_equal(store_rig_append(rig, an_slot_user(USER), &list, 1)->err,
                     AN_ERR_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_rig_teardown)
        TEST(test_store_account_of_a_user_of_whom_nothing_was_said),
        TEST(test_store_user_made_with_a_password_has_an_account),
        TEST(test_store_account_survives_a_restart),
        TEST(test_store_tokens_from_is_the_later_of_users_and_devices),
        TEST(test_store_device_makes_room_for_another),
        TEST(test_store_device_forgotten_is_still_refused),
        TEST(test_store_tells_the_router_of_what_gates_must_know),
        TEST(test_store_account_entry_that_does_not_fit_is_refused),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
