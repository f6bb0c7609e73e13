/* Confirms, deliveries, accounts. */
#include "core/slot.h"
#include "tests/actors/seq_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum an_err
err_of(struct rig *rig, uint64_t request)
{
    return (enum an_err)rig_result(rig, request, 0)->err;
}

static void
settle(struct rig *rig)
{
    rig_pump(rig);
    harness_advance(rig->h, AN_CONFIRM_DELAY_MS);
    rig_pump(rig);
}

/* ------------------------------------------------------------------ confirm */

static void
test_sequencer_confirms_are_coalesced_and_only_forward(void **state)
{
    struct rig rig;
    uint64_t requests[10], lower;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 100;
    for (uint64_t i = 0; i < 10; i++) {
        requests[i] = rig_confirm(&rig, 1, "phone", 10 + i, 77);
        rig_pump(&rig);
    }
    assert_int_equal(rig.appends, 0); /* it waits for company */
    harness_advance(rig.h, AN_CONFIRM_DELAY_MS);
    rig_pump(&rig);
    assert_int_equal(rig.appends, 1);
    assert_int_equal(rig.devices[0].cursor, 19);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(rig_result(&rig, requests[i], 0)->err, AN_OK);
        assert_int_equal(rig_result(&rig, requests[i], 0)->seq, 19);
    }
    lower = rig_confirm(&rig, 1, "phone", 5, 77);
    assert_int_equal(rig_result(&rig, lower, 0)->seq, 19); /* at once: the cursor now */
    assert_int_equal(rig.reads, 1);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_rides_on_a_message(void **state)
{
    struct rig rig;
    uint64_t confirm;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 100;
    confirm = rig_confirm(&rig, 1, "phone", 10, 0);
    rig_pump(&rig);
    assert_false(rig_answered(&rig, confirm));
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, confirm, 0)->seq, 10);
    assert_int_equal(rig.appends, 1);
    rig_fini(&rig);
}

static void
test_sequencer_devices_of_one_user_have_their_own_cursors(void **state)
{
    struct rig rig;
    uint64_t a, b;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 100;
    a = rig_confirm(&rig, 1, "phone", 10, 0);
    b = rig_confirm(&rig, 1, "tablet", 20, 0);
    settle(&rig);
    assert_int_equal(rig_result(&rig, a, 0)->seq, 10);
    assert_int_equal(rig_result(&rig, b, 0)->seq, 20);
    assert_int_equal(rig.device_count, 2);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_above_the_head_asks_then_refuses(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 10;
    rig_confirm(&rig, 1, "phone", 10, 0);
    settle(&rig);
    rig.inbox_head = 12; /* moved by another conversation: the sequencer cannot know */
    request = rig_confirm(&rig, 1, "phone", 12, 0);
    settle(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 12);
    request = rig_confirm(&rig, 1, "phone", 13, 0);
    settle(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_CURSOR_AHEAD);
    assert_int_equal(rig.devices[0].cursor, 12);
    assert_int_equal(rig.reads, 3);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_of_own_send_needs_no_question(void **state)
{
    struct rig rig;
    uint64_t send, confirm;
    size_t reads;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_confirm(&rig, 1, "phone", 0, 0);
    settle(&rig);
    send = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    reads = rig.reads;
    confirm = rig_confirm(&rig, 1, "phone", rig_result(&rig, send, 0)->inbox_seq, 0);
    settle(&rig);
    assert_int_equal(err_of(&rig, confirm), AN_OK);
    assert_int_equal(rig.reads, reads);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_of_what_was_pushed_needs_no_question(void **state)
{
    struct rig rig;
    uint64_t send, confirm;
    size_t reads;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_confirm(&rig, 2, "phone", 0, 0);
    rig_confirm(&rig, 2, "tablet", 0, 0);
    settle(&rig);
    send = rig_send(&rig, &(struct rig_send){.id = 1, .sender = 1, .recipient = 2});
    rig_pump(&rig);
    reads = rig.reads;
    for (unsigned i = 0; i < 2; i++) {
        confirm = rig_confirm(&rig, 2, i == 0 ? "phone" : "tablet",
                              rig_result(&rig, send, 0)->inbox_seq, 0);
        settle(&rig);
        assert_int_equal(err_of(&rig, confirm), AN_OK);
    }
    assert_int_equal(rig.reads, reads);
    /* What nobody pushed is still asked for, and refused. */
    confirm = rig_confirm(&rig, 2, "phone", rig_result(&rig, send, 0)->inbox_seq + 1, 0);
    settle(&rig);
    assert_int_equal(err_of(&rig, confirm), AN_ERR_CURSOR_AHEAD);
    assert_int_equal(rig.reads, reads + 1);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_of_another_generation_is_reset(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 10;
    rig.inbox_generation = 0; /* nothing there yet */
    rig_confirm(&rig, 1, "phone", 0, 0);
    settle(&rig);
    rig.inbox_generation = 500;
    request = rig_confirm(&rig, 1, "phone", 3, 500); /* newer than what is cached */
    settle(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 3);
    request = rig_confirm(&rig, 1, "phone", 4, 499);
    settle(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_RESET);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_whose_append_is_refused_is_refused(void **state)
{
    struct rig rig;
    uint64_t lower, request, again;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 100;
    lower = rig_confirm(&rig, 1, "phone", 10, 0);
    rig_pump(&rig);
    harness_advance(rig.h, AN_CONFIRM_DELAY_MS);
    request = rig_confirm(&rig, 1, "phone", 20, 0); /* while 10 is on its way */
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_DISK_FULL, 0);
    assert_int_equal(err_of(&rig, lower), AN_ERR_DISK_FULL);
    assert_false(rig_answered(&rig, request));
    settle(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 20);
    again = rig_confirm(&rig, 1, "phone", 10, 0);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 20);
    rig_fini(&rig);
}

static void
test_sequencer_confirm_read_failure_is_unavailable(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_confirm(&rig, 1, "phone", 10, 0);
    harness_answer(rig.h, harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_READ),
                   AN_ERR_TIMEOUT, NULL);
    assert_int_equal(err_of(&rig, request), AN_ERR_UNAVAILABLE);
    rig.inbox_head = 100;
    request = rig_confirm(&rig, 1, "phone", 10, 0);
    settle(&rig);
    assert_int_equal(err_of(&rig, request), AN_OK);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ delivered */

static void
test_sequencer_delivered_moves_forward_and_tells_the_peer(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    const Anser__Bus__Append *body;
    const Anser__Bus__DeliveredEntry *entry;
    uint64_t request, lower;

    (void)state;
    rig_init_ready(&rig, NULL);
    for (uint64_t i = 1; i <= 5; i++) {
        rig_send(&rig, &(struct rig_send){.id = i});
    }
    rig_pump(&rig);
    request = rig_delivered(&rig, 1, 2, 2, 4);
    harness_advance(rig.h, AN_CONFIRM_DELAY_MS);
    append = rig_take_append(&rig);
    body = harness_body(append);
    entry = body->slots[0]->entries[0]->delivered;
    assert_int_equal(entry->member, 2);
    assert_int_equal(entry->peer, 1);
    assert_int_equal(entry->seq, 4);
    assert_memory_equal(entry->member_name.data, "to", 2);
    rig_answer(&rig, append);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 4);
    lower = rig_delivered(&rig, 1, 2, 2, 2);
    assert_int_equal(rig_result(&rig, lower, 0)->seq, 4);
    rig_fini(&rig);
}

static void
test_sequencer_delivered_above_the_head_is_refused(void **state)
{
    struct rig rig;
    uint64_t none, ahead, flying;
    const struct harness_effect *append;

    (void)state;
    rig_init_ready(&rig, NULL);
    none = rig_delivered(&rig, 1, 2, 2, 1);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, none), AN_ERR_CURSOR_AHEAD);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    flying = rig_delivered(&rig, 1, 2, 2, 1); /* the push overtook the answer */
    ahead = rig_delivered(&rig, 1, 2, 2, 2);
    assert_false(rig_answered(&rig, ahead)); /* not before the store was asked */
    rig_pump_but_appends(&rig);
    assert_int_equal(err_of(&rig, ahead), AN_ERR_CURSOR_AHEAD);
    rig_answer(&rig, append);
    settle(&rig);
    assert_int_equal(rig_result(&rig, flying, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_delivered_of_a_message_that_failed_is_refused(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    request = rig_delivered(&rig, 1, 2, 2, 1);
    rig_refuse(&rig, append, AN_ERR_DISK_FULL, 0);
    settle(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_CURSOR_AHEAD);
    rig_fini(&rig);
}

static void
test_sequencer_delivered_by_a_stranger_is_forbidden(void **state)
{
    struct rig rig;

    (void)state;
    rig_init_ready(&rig, NULL);
    assert_int_equal(err_of(&rig, rig_delivered(&rig, 1, 2, 3, 1)), AN_ERR_FORBIDDEN);
    rig_fini(&rig);
}

static void
test_sequencer_positions_survive_an_unknown_outcome(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t confirm, delivered, after;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    confirm = rig_confirm(&rig, 2, "phone", 1, 0);
    delivered = rig_delivered(&rig, 1, 2, 2, 1);
    rig_pump(&rig);
    harness_advance(rig.h, AN_CONFIRM_DELAY_MS);
    append = rig_take_append(&rig);
    rig_store(&rig, append);
    harness_answer(rig.h, append, AN_ERR_TIMEOUT, NULL);
    harness_drain(rig.h);
    settle(&rig);
    assert_int_equal(rig_result(&rig, confirm, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, delivered, 0)->seq, 1);
    after = rig_delivered(&rig, 1, 2, 2, 1);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, after, 0)->seq, 1);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ accounts */

static void
test_sequencer_put_directory_is_put_if_absent(void **state)
{
    struct rig rig;
    uint64_t first, second, third, same;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_put_directory(&rig, "alice", 41);
    second = rig_put_directory(&rig, "alice", 42); /* at the same time */
    rig_pump(&rig);
    third = rig_put_directory(&rig, "alice", 43);
    same = rig_put_directory(&rig, "alice", 41);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, first), AN_OK);
    assert_int_equal(rig_result(&rig, first, 0)->user, 41);
    assert_int_equal(err_of(&rig, second), AN_ERR_USER_EXISTS);
    assert_int_equal(rig_result(&rig, second, 0)->user, 41);
    assert_int_equal(err_of(&rig, third), AN_ERR_USER_EXISTS);
    assert_int_equal(err_of(&rig, same), AN_OK);
    assert_int_equal(rig.name_count, 1);
    rig_fini(&rig);
}

static void
test_sequencer_create_user_twice_reports_the_second(void **state)
{
    struct rig rig;
    uint64_t first, second;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_create_user(&rig, "alice", 41);
    second = rig_create_user(&rig, "alice", 41);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, first), AN_OK);
    assert_int_equal(err_of(&rig, second), AN_ERR_USER_EXISTS);
    assert_int_equal(rig.user_count, 1);
    assert_string_equal(rig.users[0].name, "alice");
    rig_fini(&rig);
}

static void
test_sequencer_account_refused_lets_the_next_one_try(void **state)
{
    struct rig rig;
    uint64_t first, second;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_put_directory(&rig, "alice", 41);
    second = rig_put_directory(&rig, "alice", 42);
    rig_pump_but_appends(&rig);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_DISK_FULL, 0);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, first), AN_ERR_DISK_FULL);
    assert_int_equal(err_of(&rig, second), AN_OK);
    assert_int_equal(rig.names[0].user, 42);
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequencer_confirms_are_coalesced_and_only_forward),
        cmocka_unit_test(test_sequencer_confirm_rides_on_a_message),
        cmocka_unit_test(test_sequencer_devices_of_one_user_have_their_own_cursors),
        cmocka_unit_test(test_sequencer_confirm_above_the_head_asks_then_refuses),
        cmocka_unit_test(test_sequencer_confirm_of_own_send_needs_no_question),
        cmocka_unit_test(test_sequencer_confirm_of_what_was_pushed_needs_no_question),
        cmocka_unit_test(test_sequencer_confirm_of_another_generation_is_reset),
        cmocka_unit_test(test_sequencer_confirm_whose_append_is_refused_is_refused),
        cmocka_unit_test(test_sequencer_confirm_read_failure_is_unavailable),
        cmocka_unit_test(test_sequencer_delivered_moves_forward_and_tells_the_peer),
        cmocka_unit_test(test_sequencer_delivered_above_the_head_is_refused),
        cmocka_unit_test(test_sequencer_delivered_of_a_message_that_failed_is_refused),
        cmocka_unit_test(test_sequencer_delivered_by_a_stranger_is_forbidden),
        cmocka_unit_test(test_sequencer_positions_survive_an_unknown_outcome),
        cmocka_unit_test(test_sequencer_put_directory_is_put_if_absent),
        cmocka_unit_test(test_sequencer_create_user_twice_reports_the_second),
        cmocka_unit_test(test_sequencer_account_refused_lets_the_next_one_try),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
