/* Signed requests of back ends: each is taken once, whoever asks, across what happens to
 * the slot. */
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

static int
setup(void **state)
{
    struct rig *rig = malloc(sizeof(*rig));

    rig_init_ready(rig, NULL);
    harness_advance(rig->h, 5000);
    *state = rig;
    return 0;
}

static int
teardown(void **state)
{
    rig_fini(*state);
    free(*state);
    return 0;
}

static uint64_t
now_s(struct rig *rig)
{
    return harness_now(rig->h).wall_ms / 1000;
}

static const Anser__Bus__Result *
claim_of(struct rig *rig, uint32_t app, const char *mark, uint64_t claimant,
         uint64_t at_s)
{
    Anser__Bus__ClaimNonce claim = ANSER__BUS__CLAIM_NONCE__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT, *list = &command;
    uint64_t request;

    claim.mark = rig_text(mark);
    claim.claimant = claimant;
    claim.at_s = at_s;
    claim.app = app;
    command.what_case = ANSER__BUS__COMMAND__WHAT_CLAIM_NONCE;
    command.claim_nonce = &claim;
    command.slot = claim.mark.len == AN_MARK_LEN ? an_slot_mark(claim.mark.data) : 0;
    request = rig_submit(rig, &list, 1);
    rig_pump(rig);
    return rig_result(rig, request, 0);
}

static const Anser__Bus__Result *
claim(struct rig *rig, const char *mark, uint64_t claimant, uint64_t at_s)
{
    return claim_of(rig, 1, mark, claimant, at_s);
}

#define MARK "0123456789abcdef"

static void
test_nonce_is_taken_by_the_first(void **state)
{
    struct rig *rig = *state;
    uint64_t at_s = now_s(rig);
    size_t appends = rig->appends;

    assert_int_equal(claim(rig, MARK, 7, at_s)->err, AN_OK);
    assert_int_equal(claim(rig, MARK, 7, at_s)->err, AN_OK); /* its answer was lost */
    assert_int_equal(claim(rig, MARK, 8, at_s)->err, AN_ERR_SIGNATURE_REPLAYED);
    assert_int_equal(claim(rig, "0123456789abcdeF", 8, at_s)->err, AN_OK);
    harness_advance(rig->h, 2 * AN_SIGN_WINDOW_S * 1000);
    assert_int_equal(claim(rig, MARK, 8, now_s(rig))->err, AN_OK); /* another by now */
    assert_int_equal(rig->appends, appends);
    assert_int_equal(claim(rig, "short", 8, at_s)->err, AN_ERR_ARGUMENT);
    assert_int_equal(claim(rig, MARK, 0, at_s)->err, AN_ERR_ARGUMENT);
}

static void
test_nonce_of_before_the_slot_was_ours_is_refused(void **state)
{
    struct rig *rig = *state;
    const Anser__Bus__Result *result;
    uint64_t at_s = now_s(rig);

    assert_int_equal(claim(rig, MARK, 7, at_s)->err, AN_OK);
    rig_restart(rig, NULL);
    harness_advance(rig->h,
                    4000); /* its clock began anew; its slots are not claimed yet */
    rig_pump(rig);
    assert_true(now_s(rig) < at_s);
    at_s = now_s(rig) - 3;
    result = claim(rig, MARK, 8, at_s);
    assert_int_equal(result->err, AN_ERR_SIGNATURE_EXPIRED);
    assert_int_equal(result->retry_after_ms, (now_s(rig) - at_s + 1) * 1000);
    result = claim(rig, MARK, 8, now_s(rig));
    assert_int_equal(result->err, AN_ERR_SIGNATURE_EXPIRED);
    assert_int_equal(result->retry_after_ms, 1000);
    harness_advance(rig->h, 1000);
    assert_int_equal(claim(rig, MARK, 8, now_s(rig))->err, AN_OK);
}

/* Claimed again after an unknown outcome: nobody else had it meanwhile. */
static void
test_nonce_is_remembered_across_a_claim_of_what_is_held(void **state)
{
    struct rig *rig = *state;
    const struct rig_send send = {.id = 1};
    const struct harness_effect *append;
    uint64_t at_s = now_s(rig);

    assert_int_equal(claim(rig, MARK, 7, at_s)->err, AN_OK);
    rig_send(rig, &send);
    rig_pump_but_appends(rig);
    append = rig_take_append(rig);
    harness_answer(rig->h, append, AN_ERR_TIMEOUT, NULL);
    harness_advance(rig->h, 3000);
    rig_pump(rig);
    assert_int_equal(claim(rig, MARK, 8, at_s)->err, AN_ERR_SIGNATURE_REPLAYED);
    assert_int_equal(claim(rig, "0123456789abcdeF", 8, at_s)->err, AN_OK);
}

/* It was an hour ahead when the slot became ours. */
static void
test_nonce_is_taken_after_the_clock_was_set_back(void **state)
{
    struct rig *rig = *state;

    harness_wall(rig->h, -3600 * 1000);
    assert_int_equal(claim(rig, MARK, 7, now_s(rig))->err, AN_OK);
    assert_int_equal(claim(rig, MARK, 8, now_s(rig))->err, AN_ERR_SIGNATURE_REPLAYED);
}

/* It was behind when the slot became ours, and what the one before took is dated later.
 */
static void
test_nonce_of_before_is_refused_after_the_clock_was_set_forward(void **state)
{
    struct rig *rig = *state;
    uint64_t at_s;

    harness_advance(rig->h, 120000);
    at_s = now_s(rig);
    assert_int_equal(claim(rig, MARK, 7, at_s)->err, AN_OK);
    rig_restart(rig, NULL); /* its clock begins anew: behind */
    harness_advance(rig->h, 4000);
    rig_pump(rig);
    harness_wall(rig->h, (int64_t)(at_s + 5 - now_s(rig)) * 1000);
    assert_int_equal(claim(rig, MARK, 8, at_s)->err, AN_ERR_SIGNATURE_EXPIRED);
    harness_advance(rig->h, 1000);
    assert_int_equal(claim(rig, MARK, 8, now_s(rig))->err, AN_OK);
}

/* Set forward and back, while it is good by the clocks of apis. */
static void
test_nonce_is_remembered_while_the_clock_is_set(void **state)
{
    struct rig *rig = *state;
    uint64_t at_s = now_s(rig);

    assert_int_equal(claim(rig, MARK, 7, at_s)->err, AN_OK);
    harness_wall(rig->h, 3600 * 1000);
    assert_int_equal(claim(rig, "0123456789abcdeF", 7, now_s(rig))->err, AN_OK);
    assert_int_equal(claim(rig, MARK, 8, now_s(rig))->err, AN_ERR_SIGNATURE_REPLAYED);
    harness_wall(rig->h, -3600 * 1000);
    harness_advance(rig->h, AN_SIGN_WINDOW_S * 1000);
    assert_int_equal(claim(rig, MARK, 8, at_s)->err, AN_ERR_SIGNATURE_REPLAYED);
}

/* Marks that fall in one bucket of the table. */
static void
test_nonces_of_one_app_leave_room_for_others(void **state)
{
    struct rig *rig = *state;
    char mark[] = MARK;
    unsigned taken = 0;
    enum an_err err = AN_OK;

    for (; taken < 100 && err == AN_OK; taken += err == AN_OK) {
        snprintf(mark + 8, sizeof(mark) - 8, "%08u", taken);
        err = claim_of(rig, 1, mark, 7, now_s(rig))->err;
    }
    assert_int_equal(err, AN_ERR_BUSY);
    assert_int_equal(taken, 24);
    assert_int_equal(claim_of(rig, 2, mark, 7, now_s(rig))->err, AN_OK);
    harness_advance(rig->h, 2 * AN_SIGN_WINDOW_S * 1000);
    assert_int_equal(claim_of(rig, 1, mark, 7, now_s(rig))->err, AN_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_nonce_is_taken_by_the_first),
        TEST(test_nonce_of_before_the_slot_was_ours_is_refused),
        TEST(test_nonce_is_remembered_across_a_claim_of_what_is_held),
        TEST(test_nonce_is_taken_after_the_clock_was_set_back),
        TEST(test_nonce_of_before_is_refused_after_the_clock_was_set_forward),
        TEST(test_nonce_is_remembered_while_the_clock_is_set),
        TEST(test_nonces_of_one_app_leave_room_for_others),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
