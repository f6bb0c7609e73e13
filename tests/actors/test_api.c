/* Does making an account end in exactly one account, whatever fails on the way? */
#include "core/slot.h"
#include "tests/actors/api_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct an_topology topology;
static struct harness *h;

static int
setup(void **state)
{
    const struct api_cfg cfg = {.seed = 7};

    (void)state;
    h = api_kit_create(&cfg, &topology);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    harness_destroy(h);
    return 0;
}

static void
expect_json(uint64_t request, const char *json)
{
    const struct harness_effect *reply = harness_reply(h, request);
    const Anser__Bus__Inspected *inspected;

    assert_non_null(reply);
    assert_int_equal(reply->e.err, AN_OK);
    inspected = harness_body(reply);
    assert_int_equal(inspected->json.len, strlen(json));
    assert_memory_equal(inspected->json.data, json, strlen(json));
}

static void
expect_err(uint64_t request, enum an_err err)
{
    const struct harness_effect *reply = harness_reply(h, request);

    assert_non_null(reply);
    assert_int_equal(reply->e.err, err);
}

static void
test_api_user_add_takes_three_steps_at_their_slots(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");
    const Anser__Bus__Command *command;

    (void)state;
    api_kit_key(h, 42);
    command = api_kit_decide(h, AN_OK, 42);
    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY);
    assert_int_equal(command->slot, an_slot_name((const uint8_t *)"default", 7,
                                                 (const uint8_t *)"alice", 5));
    assert_int_equal(command->put_directory->user, 42);
    assert_null(harness_reply(h, request));
    command = api_kit_decide(h, AN_OK, 0);
    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_CREATE_USER);
    assert_int_equal(command->slot, an_slot_user(42));
    assert_memory_equal(command->create_user->name.data, "alice", 5);
    expect_json(request, "{\"user\":\"alice\",\"app\":\"default\",\"key\":\"42\"}");
    assert_int_equal(harness_metric(h, "users_created_total"), 1);
}

static void
test_api_backslash_in_a_name_stays_json(void **state)
{
    uint64_t request = api_kit_say(h, "user-add a\\b shop");

    (void)state;
    api_kit_key(h, 1);
    api_kit_decide(h, AN_OK, 1);
    api_kit_decide(h, AN_OK, 0);
    expect_json(request, "{\"user\":\"a\\\\b\",\"app\":\"shop\",\"key\":\"1\"}");
}

static void
test_api_existing_user_is_reported(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");

    (void)state;
    api_kit_key(h, 43);
    api_kit_decide(h, AN_ERR_USER_EXISTS, 42);
    assert_int_equal(api_kit_decide(h, AN_ERR_USER_EXISTS, 0)->create_user->user, 42);
    expect_err(request, AN_ERR_USER_EXISTS);
}

static void
test_api_half_made_account_is_completed(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");

    (void)state;
    api_kit_key(h, 43);
    api_kit_decide(h, AN_ERR_USER_EXISTS, 42); /* the directory row alone was there */
    api_kit_decide(h, AN_OK, 0);
    expect_json(request, "{\"user\":\"alice\",\"app\":\"default\",\"key\":\"42\"}");
}

static void
lose(enum an_role role, enum an_kind kind)
{
    const struct harness_effect *ask = harness_take_ask(h, role, kind);

    assert_non_null(ask);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    assert_null(harness_take_ask(h, role, kind)); /* not at once */
    harness_advance(h, 200);
}

static void
test_api_lost_outcomes_are_taken_again_and_recognised(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");

    (void)state;
    lose(AN_ROLE_IDGEN, AN_KIND_TAKE_SEGMENT);
    api_kit_key(h, 42);
    lose(AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);   /* it was put, we do not know */
    api_kit_decide(h, AN_ERR_USER_EXISTS, 42); /* our own key */
    lose(AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);   /* made as well */
    api_kit_decide(h, AN_ERR_USER_EXISTS, 0);
    expect_json(request, "{\"user\":\"alice\",\"app\":\"default\",\"key\":\"42\"}");
    assert_int_equal(harness_metric(h, "retries_total"), 3);
}

static void
test_api_moved_slot_is_followed(void **state)
{
    Anser__Bus__Result result = ANSER__BUS__RESULT__INIT;
    const struct harness_effect *ask;
    uint64_t request = api_kit_say(h, "user-add alice");

    (void)state;
    topology.count[AN_ROLE_SEQUENCER] = 4;
    api_kit_key(h, 42);
    ask = harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
    assert_int_equal(ask->e.to.index, 0);
    result.err = AN_ERR_MOVED;
    result.owner = 3;
    api_kit_give_result(h, ask, &result);
    harness_advance(h, 200);
    ask = harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
    assert_non_null(ask);
    assert_int_equal(ask->e.to.index, 3);
    assert_null(harness_reply(h, request));
}

/* Whoever is away, his place is taken: the other id generator, the slot's standby. */
static void
test_api_one_away_another_is_asked(void **state)
{
    const struct harness_effect *ask;
    uint64_t request;

    (void)state;
    topology.count[AN_ROLE_IDGEN] = topology.count[AN_ROLE_SEQUENCER] = 2;
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        topology.slot_standby[slot] = 1;
    }
    request = api_kit_say(h, "user-add alice");
    ask = harness_take_ask(h, AN_ROLE_IDGEN, AN_KIND_TAKE_SEGMENT);
    assert_int_equal(ask->e.to.index, 0);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    harness_advance(h, 200);
    api_kit_key(h, 42);
    ask = harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
    assert_int_equal(ask->e.to.index, 0);
    harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
    harness_advance(h, 200);
    ask = harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
    assert_int_equal(ask->e.to.index, 1);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    harness_advance(h, 200);
    ask = harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
    assert_int_equal(ask->e.to.index, 0);
    assert_null(harness_reply(h, request));
}

static void
test_api_never_reachable_ends_with_timeout(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");

    (void)state;
    for (int i = 0; i < 200 && harness_reply(h, request) == NULL; i++) {
        const struct harness_effect *ask =
            harness_take_ask(h, AN_ROLE_IDGEN, AN_KIND_TAKE_SEGMENT);
        if (ask != NULL) {
            harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
        }
        harness_advance(h, 100);
    }
    expect_err(request, AN_ERR_TIMEOUT);
}

static void
test_api_definite_error_is_passed_on(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");
    const struct harness_effect *ask =
        harness_take_ask(h, AN_ROLE_IDGEN, AN_KIND_TAKE_SEGMENT);

    (void)state;
    harness_answer(h, ask, AN_ERR_WORKER_TAKEN, NULL);
    expect_err(request, AN_ERR_WORKER_TAKEN);
}

static void
test_api_bad_words_and_names_are_refused(void **state)
{
    (void)state;
    expect_err(api_kit_say(h, "user-add"), AN_ERR_ARGUMENT);
    expect_err(api_kit_say(h, "user-add a b c"), AN_ERR_ARGUMENT);
    expect_err(api_kit_say(h, "user-del alice"), AN_ERR_ARGUMENT);
    expect_err(api_kit_say(h, ""), AN_ERR_ARGUMENT);
    expect_err(api_kit_say(h, "user-add a/b"), AN_ERR_USER_NAME);
    expect_err(api_kit_say(h, "user-add alice a/b"), AN_ERR_USER_NAME);
    assert_int_equal(harness_metric(h, "refused_total"), 6);
    assert_int_equal(harness_count(h, AN_EFFECT_ASK), 0);
}

static void
test_api_too_many_at_once_busy(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        api_kit_say(h, "user-add alice");
    }
    expect_err(api_kit_say(h, "user-add alice"), AN_ERR_BUSY);
    assert_int_equal(harness_metric(h, "in_progress"), 16);
}

static void
test_api_stop_answers_what_it_holds(void **state)
{
    uint64_t request = api_kit_say(h, "user-add alice");

    (void)state;
    harness_stop(h);
    expect_err(request, AN_ERR_SHUTTING_DOWN);
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_api_user_add_takes_three_steps_at_their_slots),
        TEST(test_api_backslash_in_a_name_stays_json),
        TEST(test_api_existing_user_is_reported),
        TEST(test_api_half_made_account_is_completed),
        TEST(test_api_lost_outcomes_are_taken_again_and_recognised),
        TEST(test_api_moved_slot_is_followed),
        TEST(test_api_one_away_another_is_asked),
        TEST(test_api_never_reachable_ends_with_timeout),
        TEST(test_api_definite_error_is_passed_on),
        TEST(test_api_bad_words_and_names_are_refused),
        TEST(test_api_too_many_at_once_busy),
        TEST(test_api_stop_answers_what_it_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
