/* Who is let in, stays and may send: what logins, heartbeats and hints say of accounts.
 */
#include "core/token.h"
#include "tests/actors/gate_kit.h"
#include <stdio.h>

static const struct an_addr router = {AN_ROLE_ROUTER, 0};

static void
hint(struct harness *h, uint64_t user, const Anser__Bus__AccountState *state)
{
    Anser__Bus__Deliver batch = ANSER__BUS__DELIVER__INIT;
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT, *items = &item;

    item.user = user;
    item.account = (Anser__Bus__AccountState *)(uintptr_t)state;
    batch.incarnation = KIT_SEED;
    batch.items = &items;
    batch.n_items = 1;
    harness_publish(h, router, AN_KIND_DELIVER, &batch.base);
    harness_drain(h);
}

/* The moment from which tokens of tests, which are made now, are not good any more. */
static uint64_t
soon_ms(struct harness *h)
{
    return (harness_now(h).wall_ms / 1000 + 1) * 1000;
}

/* The account's newest state, as the store has it too. */
static Anser__Bus__AccountState *
changed(uint64_t user)
{
    kit_account[user].version++;
    return &kit_account[user];
}

static void
test_gate_account_refuses_logins_by_name(void **state)
{
    struct harness *h = kit_gate(NULL);
    static const enum an_err errs[] = {AN_ERR_USER_DELETED, AN_ERR_USER_FORBIDDEN,
                                       AN_ERR_TOKEN_REVOKED};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Anser__Bus__AccountState *account = changed(ALICE);

        account->deleted = i == 0;
        account->forbidden = i == 1;
        account->tokens_from_ms = i == 2 ? soon_ms(h) : 0;
        kit_open(h, 10 + i);
        kit_login_send(h, 10 + i, "alice", "phone", false);
        kit_serve(h);
        kit_error(h, 10 + i, AN_COMMAND_LOGIN, 1, errs[i]);
        kit_goodbye(h, 10 + i, errs[i]);
    }
    harness_destroy(h);
}

static void
test_gate_account_token_issued_in_time_is_good(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    changed(ALICE)->tokens_from_ms = harness_now(h).wall_ms / 1000 * 1000;
    kit_login(h, 10, "alice", "phone");
    harness_destroy(h);
}

static void
test_gate_account_hint_closes_every_link_of_the_user(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "alice", "pad");
    kit_login(h, 12, "bob", "phone");
    kit_open(h, 13);
    kit_login_send(h, 13, "alice", "robot", true); /* no router knows of it */
    kit_serve(h);
    kit_frame(h, 13, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    changed(ALICE)->forbidden = true;
    hint(h, ALICE, &kit_account[ALICE]);
    for (uint64_t conn = 10; conn < 14; conn++) {
        if (conn == 12) {
            kit_no_frame(h, conn);
            continue;
        }
        const Anser__Client__Goodbye *goodbye = kit_frame(
            h, conn, AN_COMMAND_GOODBYE, 0, 0, &anser__client__goodbye__descriptor);
        assert_int_equal(goodbye->code, AN_ERR_USER_FORBIDDEN);
    }
    assert_int_equal(harness_count(h, AN_EFFECT_CONN_CLOSE), 3);
    harness_destroy(h);
}

static void
test_gate_account_hint_of_a_device_closes_that_one(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Bus__AccountState account = ANSER__BUS__ACCOUNT_STATE__INIT;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "alice", "pad");
    account.device = TEXT("phone");
    account.tokens_from_ms = soon_ms(h);
    hint(h, ALICE, &account);
    kit_no_frame(h, 11);
    kit_goodbye(h, 10, AN_ERR_TOKEN_REVOKED);
    harness_destroy(h);
}

static void
test_gate_account_heartbeat_heals_a_lost_hint(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Client__Heartbeat body = ANSER__CLIENT__HEARTBEAT__INIT;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    changed(ALICE)->deleted = true;
    harness_conn_frame(h, 10, AN_COMMAND_HEARTBEAT, 2, &body.base);
    harness_advance(h, 200);
    kit_serve(h);
    kit_goodbye(h, 10, AN_ERR_USER_DELETED);
    harness_destroy(h);
}

static void
test_gate_account_is_asked_about_without_heartbeats(void **state)
{
    struct gate_cfg cfg = {.heartbeat_ms = 10000, .idle_ms = 30000};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    changed(ALICE)->tokens_from_ms = soon_ms(h);
    for (unsigned i = 0; i < 9; i++) {
        harness_advance(h, 1000);
        kit_serve(h);
        kit_no_frame(h, 10);
    }
    for (unsigned i = 0; i < 5; i++) {
        harness_advance(h, 1000);
        kit_serve(h);
    }
    kit_goodbye(h, 10, AN_ERR_TOKEN_REVOKED);
    harness_destroy(h);
}

static void
test_gate_account_change_during_a_login_is_seen(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer old = ANSER__BUS__ANSWER__INIT, *answers = &old;

    (void)state;
    kit_login(h, 9, "alice", "other"); /* her name is known: the next read is the login */
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", true);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);
    assert_non_null(ask);
    changed(ALICE)->forbidden = true;
    hint(h, ALICE, &kit_account[ALICE]);
    kit_goodbye(h, 9, AN_ERR_USER_FORBIDDEN);
    done.answers = &answers;
    done.n_answers = 1;
    harness_answer(h, ask, AN_OK, &done.base);
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_LOGIN, 1, AN_ERR_USER_FORBIDDEN);
    harness_destroy(h);
}

static void
test_gate_account_muted_may_read_but_not_send(void **state)
{
    struct harness *h = kit_gate(NULL);
    uint64_t until = harness_now(h).wall_ms + 5000;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    changed(ALICE)->muted_until_ms = until;
    hint(h, ALICE, &kit_account[ALICE]);
    kit_no_frame(h, 10);
    kit_send(h, 10, 2, "bob", 1, "shh");
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_MUTED);
    assert_null(kit_submit(h));
    harness_advance(h, 6000);
    kit_send(h, 10, 3, "bob", 2, "now");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 3,
              &anser__client__send_ok__descriptor);
    harness_destroy(h);
}

static void
test_gate_account_older_word_changes_nothing(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Bus__AccountState old = ANSER__BUS__ACCOUNT_STATE__INIT;

    (void)state;
    kit_account[ALICE].version = 5;
    kit_login(h, 10, "alice", "phone");
    old.version = 4;
    old.forbidden = true;
    old.muted_until_ms = UINT64_MAX;
    hint(h, ALICE, &old);
    kit_no_frame(h, 10);
    kit_send(h, 10, 2, "bob", 1, "hello");
    kit_serve(h);
    assert_non_null(kit_submit(h));
    harness_destroy(h);
}

static void
send_refused(struct harness *h, uint32_t request)
{
    kit_send(h, 10, request, "bob", request, "hello");
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_SEND, request, AN_ERR_USER_DELETED);
    assert_null(kit_submit(h));
}

static void
test_gate_account_deleted_recipient_is_named(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Client__History history = ANSER__CLIENT__HISTORY__INIT;

    (void)state;
    changed(BOB)->deleted = true;
    kit_login(h, 10, "alice", "phone");
    send_refused(h, 2);
    /* What was said with him stays to be read. */
    history.peer = TEXT("bob");
    harness_conn_frame(h, 10, AN_COMMAND_HISTORY, 3, &history.base);
    kit_serve(h);
    assert_int_equal(harness_take_frame(h, 10)->frame.flags, AN_FRAME_ANSWER);
    /* A hint gives him back at once. */
    changed(BOB)->deleted = false;
    hint(h, BOB, &kit_account[BOB]);
    kit_send(h, 10, 4, "bob", 4, "back");
    kit_serve(h);
    assert_non_null(kit_submit(h));
    harness_destroy(h);
}

static void
test_gate_account_deleted_recipient_is_noticed_in_bounded_time(void **state)
{
    struct gate_cfg cfg = {.idle_ms = 10 * AN_GATE_NAME_MS};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 2, "bob", 2, "hello");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 2,
              &anser__client__send_ok__descriptor);
    changed(BOB)->deleted = true; /* and no hint comes */
    harness_advance(h, AN_GATE_NAME_MS);
    send_refused(h, 3);
    harness_destroy(h);
}

static void
test_gate_token_is_bound_to_device_and_platform(void **state)
{
    struct harness *h = kit_gate(NULL);
    struct an_token_spec spec = {.app = AN_APP_DEFAULT,
                                 .user = "alice",
                                 .device = "phone",
                                 .platform = "ios",
                                 .ttl_ms = 60000};
    static const struct {
        const char *device, *platform;
        enum an_err err;
    } cases[] = {{"phone", "ios", AN_OK},
                 {"phone", "", AN_OK},
                 {"pad", "ios", AN_ERR_TOKEN_DEVICE},
                 {"phone", "web", AN_ERR_TOKEN_DEVICE}};
    char *token = NULL;

    (void)state;
    assert_int_equal(
        an_token_mint_spec(&token, &kit_keys.key[0], &spec, harness_now(h).wall_ms),
        AN_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;
        uint64_t conn = 20 + i;

        login.token = kit_text(token);
        login.device = kit_text(cases[i].device);
        login.platform = kit_text(cases[i].platform);
        kit_open(h, conn);
        harness_conn_frame(h, conn, AN_COMMAND_LOGIN, 1, &login.base);
        kit_serve(h);
        if (cases[i].err != AN_OK) {
            kit_error(h, conn, AN_COMMAND_LOGIN, 1, cases[i].err);
            kit_goodbye(h, conn, cases[i].err);
        } else {
            kit_frame(h, conn, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
                      &anser__client__login_ok__descriptor);
        }
    }
    free(token);
    harness_destroy(h);
}

/* The UpdateDevice that a login or heartbeat led to; NULL: none. */
static const struct harness_effect *
noted(struct harness *h)
{
    const struct harness_effect *ask = kit_submit(h);
    const Anser__Bus__Submit *submit = ask == NULL ? NULL : harness_body(ask);

    if (ask != NULL) {
        assert_int_equal(submit->n_commands, 1);
        assert_int_equal(submit->commands[0]->what_case,
                         ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE);
    }
    return ask;
}

static void
beat(struct harness *h, uint64_t conn)
{
    Anser__Client__Heartbeat body = ANSER__CLIENT__HEARTBEAT__INIT;

    harness_conn_frame(h, conn, AN_COMMAND_HEARTBEAT, 2, &body.base);
    harness_advance(h, 200);
    kit_serve(h);
    kit_frame(h, conn, AN_COMMAND_HEARTBEAT, AN_FRAME_ANSWER, 2,
              &anser__client__heartbeat_ok__descriptor);
}

static void
test_gate_device_is_written_down_when_it_is_new(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Bus__UpdateDevice *update;
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    assert_null(noted(h)); /* it was */
    kit_seen_ms = 0;
    kit_login(h, 11, "alice", "pad"); /* the login does not wait for it */
    ask = noted(h);
    assert_non_null(ask);
    update = ((const Anser__Bus__Submit *)harness_body(ask))->commands[0]->update_device;
    assert_int_equal(update->user, ALICE);
    assert_int_equal(update->device.len, 3);
    assert_memory_equal(update->device.data, "pad", 3);
    assert_int_equal(update->set, ANSER__BUS__DEVICE_SET__DEVICE_SET_SEEN |
                                      ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM);
    assert_int_equal(update->issued_ms, harness_now(h).wall_ms / 1000 * 1000);
    beat(h, 11); /* is not asked twice while the first is out */
    assert_null(noted(h));
    kit_submitted(h, ask, AN_ERR_BUSY);
    beat(h, 11);
    ask = noted(h);
    assert_non_null(ask);
    kit_submitted(h, ask, AN_ERR_TOO_MANY_DEVICES); /* nor after a last word */
    beat(h, 11);
    assert_null(noted(h));
    harness_destroy(h);
}

static void
test_gate_device_is_written_down_again_after_a_day_or_its_end(void **state)
{
    struct harness *h = kit_gate(NULL);
    uint64_t now = harness_now(h).wall_ms;

    (void)state;
    kit_minted_ms = 600000;
    kit_seen_ms = now - AN_DEVICE_SEEN_MS + 1000;
    kit_login(h, 10, "alice", "phone");
    assert_null(noted(h));
    kit_seen_ms = now - AN_DEVICE_SEEN_MS - AN_DEVICE_SEEN_SPREAD_MS;
    kit_login(h, 11, "alice", "pad");
    assert_non_null(noted(h));
    kit_minted_ms = 0;
    kit_seen_ms = now - 5000; /* ended since; and here it is with a new token */
    changed(BOB)->tokens_from_ms = now / 1000 * 1000 - 3000;
    kit_login(h, 12, "bob", "pad");
    assert_non_null(noted(h));
    harness_destroy(h);
}

/* Whose clock is the later one, the sequencer knows. */
static void
test_gate_device_with_a_token_dated_after_its_last_use_is_told_of(void **state)
{
    struct harness *h = kit_gate(NULL);
    uint64_t now = harness_now(h).wall_ms;
    const struct harness_effect *ask;

    (void)state;
    kit_seen_ms = now - 1000 * AN_TOKEN_LEEWAY_S;
    kit_minted_ms = 1000 * (AN_TOKEN_LEEWAY_S - 1);
    kit_login(h, 10, "alice", "phone");
    ask = noted(h);
    assert_non_null(ask);
    kit_submitted(h, ask, AN_OK);
    beat(h, 10); /* once */
    assert_null(noted(h));
    kit_seen_ms = now;
    kit_login(h, 11, "alice", "pad");
    assert_null(noted(h));
    kit_seen_ms = now - 3600 * 1000;
    kit_minted_ms = 1000 * (AN_TOKEN_LEEWAY_S + 1);
    kit_login(h, 12, "alice", "tv");
    assert_null(noted(h));
    harness_destroy(h);
}

/* Devices that were written down together. */
static void
test_gate_devices_are_written_down_again_spread_over_hours(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    unsigned due = 0;
    char name[16];

    (void)state;
    kit_minted_ms = 1000 * (AN_TOKEN_LEEWAY_S + 1);
    kit_seen_ms =
        harness_now(h).wall_ms - AN_DEVICE_SEEN_MS - AN_DEVICE_SEEN_SPREAD_MS / 2;
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "device%u", i);
        kit_login(h, 10 + i, "alice", name);
        ask = noted(h);
        if (ask != NULL) {
            due++;
            kit_submitted(h, ask, AN_OK);
        }
    }
    assert_in_range(due, 16, 48);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_account_refuses_logins_by_name),
        cmocka_unit_test(test_gate_account_token_issued_in_time_is_good),
        cmocka_unit_test(test_gate_account_hint_closes_every_link_of_the_user),
        cmocka_unit_test(test_gate_account_hint_of_a_device_closes_that_one),
        cmocka_unit_test(test_gate_account_heartbeat_heals_a_lost_hint),
        cmocka_unit_test(test_gate_account_is_asked_about_without_heartbeats),
        cmocka_unit_test(test_gate_account_change_during_a_login_is_seen),
        cmocka_unit_test(test_gate_account_muted_may_read_but_not_send),
        cmocka_unit_test(test_gate_account_older_word_changes_nothing),
        cmocka_unit_test(test_gate_account_deleted_recipient_is_named),
        cmocka_unit_test(test_gate_account_deleted_recipient_is_noticed_in_bounded_time),
        cmocka_unit_test(test_gate_device_is_written_down_when_it_is_new),
        cmocka_unit_test(
            test_gate_device_with_a_token_dated_after_its_last_use_is_told_of),
        cmocka_unit_test(test_gate_device_is_written_down_again_after_a_day_or_its_end),
        cmocka_unit_test(test_gate_devices_are_written_down_again_spread_over_hours),
        cmocka_unit_test(test_gate_token_is_bound_to_device_and_platform),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
