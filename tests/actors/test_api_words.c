/* Accounts changed by words: which command comes of which, and what is said of it. */
#include "core/slot.h"
#include "tests/actors/api_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(s) ((ProtobufCBinaryData){sizeof(s) - 1, (uint8_t *)(uintptr_t)(s)})

enum { ALICE = 41 };

static struct an_topology topology;
static struct harness *h;
static Anser__Bus__AccountState account;

static int
setup(void **state)
{
    const struct api_cfg cfg = {.seed = 7};

    (void)state;
    h = api_kit_create(&cfg, &topology);
    anser__bus__account_state__init(&account);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    harness_destroy(h);
    return 0;
}

/* Answers the store's questions: alice is known, with a phone; nobody else is. */
static void
serve_reads(void)
{
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    Anser__Bus__DeviceState phone = ANSER__BUS__DEVICE_STATE__INIT, *devices = &phone;
    const struct harness_effect *ask;

    phone.device = TEXT("phone");
    details.app = TEXT("default");
    while ((ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ)) != NULL) {
        const Anser__Bus__Query *query =
            ((const Anser__Bus__Read *)harness_body(ask))->queries[0];
        Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;

        if (query->what_case == ANSER__BUS__QUERY__WHAT_RESOLVE) {
            answer.user = ALICE;
            answer.err = query->resolve->name.data[0] == 'a' ? AN_OK : AN_ERR_NOT_FOUND;
        } else {
            answer.account = &account;
            answer.details = &details;
            answer.devices = &devices;
            answer.n_devices = 1;
        }
        api_kit_give_answer(h, ask, &answer);
    }
}

/* The next command that a sequencer is asked for, which it carries out. */
static const Anser__Bus__Command *
decide(void)
{
    const Anser__Bus__Command *command;

    serve_reads();
    command = api_kit_decide(h, AN_OK, 0);
    serve_reads();
    return command;
}

static const Anser__Bus__UpdateAccount *
changed(const char *words, uint32_t set)
{
    uint64_t request = api_kit_say(h, words);
    const Anser__Bus__Command *command = decide();

    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT);
    assert_int_equal(command->slot, an_slot_user(ALICE));
    assert_int_equal(command->update_account->user, ALICE);
    assert_int_equal(command->update_account->set, set);
    assert_non_null(harness_reply(h, request));
    assert_int_equal(harness_reply(h, request)->e.err, AN_OK);
    return command->update_account;
}

static void
expect_err(const char *words, enum an_err err)
{
    uint64_t request = api_kit_say(h, words);

    serve_reads();
    assert_non_null(harness_reply(h, request));
    assert_string_equal(an_err_name(harness_reply(h, request)->e.err), an_err_name(err));
}

static void
test_words_forbid_and_mute_set_only_that(void **state)
{
    uint64_t now = harness_now(h).wall_ms;

    (void)state;
#define SET(what) ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_##what
    assert_true(changed("user-forbid alice", SET(FORBIDDEN))->forbidden);
    assert_false(changed("user-unforbid alice", SET(FORBIDDEN))->forbidden);
    assert_int_equal(changed("user-mute alice", SET(MUTED))->muted_until_ms, UINT64_MAX);
    assert_int_equal(changed("user-mute alice default 60", SET(MUTED))->muted_until_ms,
                     now + 60000);
    assert_int_equal(changed("user-unmute alice", SET(MUTED))->muted_until_ms, 0);
}

static void
test_words_delete_and_revoke_end_what_was_issued(void **state)
{
    (void)state;
    changed("user-revoke alice", SET(REVOKE));
    assert_true(changed("user-delete alice", SET(DELETED) | SET(REVOKE))->deleted);
}

static void
test_words_revoke_of_a_device(void **state)
{
    uint64_t request = api_kit_say(h, "user-revoke alice default phone");
    const Anser__Bus__Command *command = decide();

    (void)state;
    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE);
    assert_memory_equal(command->update_device->device.data, "phone", 5);
    assert_int_equal(command->update_device->refresh_hash.len, 0);
    assert_int_equal(command->update_device->set,
                     ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH |
                         ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE);
    assert_int_equal(harness_reply(h, request)->e.err, AN_OK);
}

static void
test_words_show_says_what_there_is(void **state)
{
    const Anser__Bus__Inspected *shown;
    uint64_t request;
    char *text;

    (void)state;
    account.forbidden = true;
    request = api_kit_say(h, "user-show alice");
    serve_reads();
    assert_non_null(harness_reply(h, request));
    shown = harness_body(harness_reply(h, request));
    text = strndup((const char *)shown->json.data, shown->json.len);
    assert_non_null(strstr(text, "\"user\":\"alice\""));
    assert_non_null(strstr(text, "\"forbidden\":true"));
    assert_non_null(strstr(text, "\"device\":\"phone\""));
    assert_null(strstr(text, "hash"));
    free(text);
}

static void
test_words_that_are_none_are_refused(void **state)
{
    (void)state;
    expect_err("user-show bob", AN_ERR_USER_NOT_FOUND);
    expect_err("user-show a/b", AN_ERR_USER_NAME);
    expect_err("user-ban alice", AN_ERR_ARGUMENT);
    expect_err("user-forbid", AN_ERR_ARGUMENT);
    expect_err("user-forbid alice default 10", AN_ERR_ARGUMENT);
    expect_err("user-mute alice default soon", AN_ERR_ARGUMENT);
    expect_err("user-mute alice default 0", AN_ERR_ARGUMENT);
    expect_err("user-revoke alice default a/b", AN_ERR_DEVICE_NAME);
    expect_err("user-mute alice default 10 more", AN_ERR_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_words_forbid_and_mute_set_only_that),
        TEST(test_words_delete_and_revoke_end_what_was_issued),
        TEST(test_words_revoke_of_a_device),
        TEST(test_words_show_says_what_there_is),
        TEST(test_words_that_are_none_are_refused),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
