/* From when tokens are refused after a revocation, whatever clocks dated them. Others are
 * in test_sequencer_accounts.c. */
#include "core/token.h"
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

#define DEVICE(what) ANSER__BUS__DEVICE_SET__DEVICE_SET_##what

static void
test_account_revoked_covers_what_was_dated_ahead(void **state)
{
    struct rig *rig = *state;
    uint64_t second = rig_next_second(rig);

    assert_int_equal(rig_revoke(rig), second);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK); /* dated to that second */
    assert_int_equal(rig_revoke(rig), second + 1000);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'b'), AN_OK);
    assert_int_equal(rig_revoke_device(rig, "phone"), second + 2000);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'c'), AN_OK);
    assert_int_equal(rig_revoke(rig), second + 3000);
}

/* The slot went to a sequencer whose clock is behind: the last login was in its future.
 */
static void
test_account_revoked_covers_what_a_clock_ahead_dated(void **state)
{
    struct rig *rig = *state;
    uint64_t second = rig_next_second(rig);

    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    harness_wall(rig->h, -5000);
    assert_int_equal(rig_revoke_device(rig, "phone"), second);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'b'), AN_OK); /* dated to that second */
    assert_int_equal(rig_revoke(rig), second + 1000);
}

/* As far ahead as gates take a token, and no further. */
static void
test_account_revoked_covers_all_that_gates_take(void **state)
{
    struct rig *rig = *state;
    uint64_t issued_ms;

    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    issued_ms = rig_session(rig, 41, "phone")->used_ms;
    harness_wall(rig->h, -45 * 1000);
    assert_int_equal(rig_revoke_device(rig, "phone"), (issued_ms / 1000 + 1) * 1000);
    assert_int_equal(rig_seen(rig, "phone", issued_ms), AN_ERR_TOKEN_REVOKED);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'b'), AN_OK);
    assert_true(rig_revoke(rig) > rig_session(rig, 41, "phone")->used_ms);
    harness_advance(rig->h, 120 * 1000);
    issued_ms =
        harness_now(rig->h).wall_ms + AN_TOKENS_AHEAD_MS + AN_TOKEN_LEEWAY_S * 1000;
    assert_int_equal(rig_seen(rig, "pad", issued_ms + 90000), AN_OK);
    assert_int_equal(rig_session(rig, 41, "pad")->seen_ms, issued_ms);
    assert_int_equal(rig_revoke_device(rig, "pad"), (issued_ms / 1000 + 1) * 1000);
}

/* A clock that was set back does not take back what was issued before. */
static void
test_account_revoked_covers_what_was_dated_before_a_refresh(void **state)
{
    struct rig *rig = *state;
    uint64_t issued_ms;

    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    issued_ms = rig_session(rig, 41, "phone")->used_ms;
    harness_wall(rig->h, -20 * 1000);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_OK);
    assert_true(rig_revoke(rig) > issued_ms);
}

/* What is further ahead no gate takes. */
static void
test_device_after_a_clock_gone_wrong_was_used_no_earlier_than_issued(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_rotate(rig, "pad", 0, 'c'), AN_OK);
    harness_wall(rig->h, -3600 * 1000);
    assert_int_equal(rig_rotate(rig, "pad", 'c', 'd'), AN_OK);
    assert_true(rig_session(rig, 41, "pad")->used_ms >=
                rig_session(rig, 41, "pad")->issued_ms);
    assert_int_equal(rig_session(rig, 41, "pad")->used_ms, harness_now(rig->h).wall_ms);
}

/* The api dates a login token by its own clock, and says so. */
static void
test_account_revoked_covers_what_an_api_ahead_dated(void **state)
{
    struct rig *rig = *state;
    uint64_t issued_ms = harness_now(rig->h).wall_ms + 12000;
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    uint64_t request;

    u.set = DEVICE(REFRESH);
    u.refresh_hash = rig_text("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    u.issued_ms = issued_ms;
    request = rig_update_device(rig, 41, "phone", u);
    rig_pump(rig);
    assert_int_equal(rig_err(rig, request), AN_OK);
    assert_int_equal(rig_session(rig, 41, "phone")->used_ms, issued_ms);
    assert_true(rig_revoke(rig) > issued_ms);
}

/* Which nobody can be sure of when it is off by more than clocks are: people get in. */
static void
test_account_revoked_after_a_clock_gone_wrong(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    harness_wall(rig->h, -3600 * 1000);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rig_revoke(rig), rig_next_second(rig) + AN_REVOKE_AHEAD_MS);
    }
    assert_int_equal(rig_rotate(rig, "phone", 0, 'b'), AN_OK);
}

/* One who holds a token revokes another device over and over: neither that nor any other
 * revocation may be refused after it. */
static void
test_account_revoked_however_often_a_device_was(void **state)
{
    struct rig *rig = *state;
    uint64_t second = rig_next_second(rig), from_ms = 0;

    rig_rotate(rig, "own", 0, 'a');
    for (unsigned i = 0; i < 3 * AN_TOKENS_AHEAD_MS / 1000; i++) {
        from_ms = rig_revoke_device(rig, "pad");
    }
    assert_int_equal(from_ms, second + AN_REVOKE_AHEAD_MS);
    assert_int_equal(rig_session(rig, 41, "own")->tokens_from_ms, 0);
    assert_int_equal(rig_revoke_device(rig, "own"), second);
    assert_int_equal(rig_rotate(rig, "pad", 0, 'a'), AN_OK);
    assert_int_equal(rig_revoke_device(rig, "pad"), from_ms + 1000);
    for (unsigned i = 0; i < 3 * AN_TOKENS_AHEAD_MS / 1000; i++) {
        assert_true(rig_revoke(rig) <= from_ms + 1000);
    }
}

/* Nor by one who knows the password, and logs in after each. */
static void
test_account_revoked_however_often_one_logs_in(void **state)
{
    struct rig *rig = *state;
    uint64_t now = harness_now(rig->h).wall_ms, from_ms = 0;
    enum an_err err = AN_OK;

    for (unsigned i = 0; i < 3 * AN_TOKENS_AHEAD_MS / 1000; i++) {
        err = rig_rotate(rig, "pad", 0, i % 2 == 0 ? 'a' : 'b');
        from_ms = rig_revoke(rig);
    }
    assert_int_equal(err, AN_ERR_TOO_MANY_TRIES);
    assert_true(from_ms <= now + AN_TOKENS_AHEAD_MS + 2000);
    harness_advance(rig->h, 2000);
    assert_int_equal(rig_rotate(rig, "pad", 0, 'c'), AN_OK);
}

/* Of whatever clock: it was set right since by less, or by more than gates take. */
static void
test_refresh_token_ends_with_the_users_tokens_by_any_clock(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    harness_wall(rig->h, -40 * 1000);
    rig_revoke(rig);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_ERR_REFRESH_INVALID);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'c'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'c', 'd'), AN_OK);
}

static void
test_refresh_token_ends_with_the_users_tokens_of_a_clock_gone_wrong(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    harness_wall(rig->h, -3600 * 1000);
    rig_revoke(rig);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_ERR_REFRESH_INVALID);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'c'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'c', 'd'), AN_OK);
}

/* Also when the time from which tokens are good goes no further. */
static void
test_refresh_token_ends_with_a_revocation_that_moves_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t from_ms = 0, revocations;

    for (unsigned i = 0; i < 100; i++) {
        from_ms = rig_revoke(rig);
    }
    revocations = rig_account(rig, 41)->state->revocations;
    assert_true(revocations < 100); /* what moves nothing is not written */
    harness_wall(rig->h, 3600 * 1000);
    assert_int_equal(rig_rotate(rig, "phone", 0, 'a'), AN_OK);
    assert_int_equal(rig_rotate(rig, "phone", 'a', 'b'), AN_OK);
    harness_wall(rig->h, -3600 * 1000);
    assert_int_equal(rig_revoke(rig), from_ms);
    assert_int_equal(rig_account(rig, 41)->state->revocations, revocations + 1);
    assert_int_equal(rig_rotate(rig, "phone", 'b', 'c'), AN_ERR_REFRESH_INVALID);
}

/* A back end's clock is ahead of ours. */
static void
test_device_seen_with_a_token_of_a_clock_ahead_is_ended(void **state)
{
    struct rig *rig = *state;
    uint64_t issued_ms = harness_now(rig->h).wall_ms + 10000;
    size_t appends;

    assert_int_equal(rig_seen(rig, "phone", issued_ms), AN_OK);
    harness_advance(rig->h, 1000);
    assert_true(rig_revoke_device(rig, "phone") > issued_ms);
    assert_int_equal(rig_seen(rig, "phone", issued_ms), AN_ERR_TOKEN_REVOKED);
    /* Nor does it matter that the device was seen lately. */
    issued_ms = harness_now(rig->h).wall_ms;
    assert_int_equal(rig_seen(rig, "pad", issued_ms), AN_OK);
    assert_int_equal(rig_seen(rig, "pad", issued_ms + 20000), AN_OK);
    appends = rig->appends;
    assert_int_equal(rig_seen(rig, "pad", issued_ms + 15000), AN_OK);
    assert_int_equal(rig->appends, appends);
    assert_true(rig_revoke(rig) > issued_ms + 20000);
    assert_int_equal(rig_seen(rig, "pad", issued_ms + 20000), AN_ERR_TOKEN_REVOKED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, rig_alice_setup, rig_alice_teardown)
        TEST(test_account_revoked_covers_what_was_dated_ahead),
        TEST(test_account_revoked_covers_what_a_clock_ahead_dated),
        TEST(test_account_revoked_covers_all_that_gates_take),
        TEST(test_account_revoked_covers_what_was_dated_before_a_refresh),
        TEST(test_device_after_a_clock_gone_wrong_was_used_no_earlier_than_issued),
        TEST(test_account_revoked_covers_what_an_api_ahead_dated),
        TEST(test_account_revoked_after_a_clock_gone_wrong),
        TEST(test_account_revoked_however_often_a_device_was),
        TEST(test_account_revoked_however_often_one_logs_in),
        TEST(test_refresh_token_ends_with_the_users_tokens_by_any_clock),
        TEST(test_refresh_token_ends_with_the_users_tokens_of_a_clock_gone_wrong),
        TEST(test_refresh_token_ends_with_a_revocation_that_moves_nothing),
        TEST(test_device_seen_with_a_token_of_a_clock_ahead_is_ended),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
