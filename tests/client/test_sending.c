/* Pending messages: order, window, resend with the same id, refusals, callbacks once. */
#include "rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_sending_message_is_acked_once_with_its_numbers(void **state)
{
    static struct rig rig;
    uint64_t ticket;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    ticket = rig_send(&rig, "bob", "hello"); /* accepted before any connection */
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(rig_told(&rig, ticket, ANSER_SEND_SENDING), 1);
    assert_int_equal(rig_told(&rig, ticket, ANSER_SEND_SENT), 1);
    assert_int_equal(rig.send_count, 2);
    assert_int_equal(rig.sends[1].seq, 1);
    assert_int_equal(rig.sends[1].message_id, 5001);
    assert_int_equal(rig.sends[1].time_ms, rig.mock.server_time_ms);
    rig_fini(&rig);
}

static void
test_sending_id_is_a_uuid7_of_the_servers_time(void **state)
{
    static struct rig rig;
    const uint8_t *id;
    uint64_t ms = 0;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    rig_send(&rig, "bob", "hello");
    assert_true(rig_until(&rig, rig_flushed));
    id = mock_nth(&rig.mock, AN_COMMAND_SEND, 0)->id;
    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | id[i];
    }
    assert_int_equal(ms, rig.mock.server_time_ms);
    assert_int_equal(id[6] >> 4, 7);
    assert_int_equal(id[8] >> 6, 2);
    rig_fini(&rig);
}

static void
test_sending_what_cannot_be_is_refused_at_once(void **state)
{
    static struct rig rig;
    static const uint8_t bad_id[16] = {0};
    static char large[65537];
    struct anser_outgoing m = {.to = "bob", .body = "x", .body_len = 1};
    (void)state;

    rig_init(&rig);
    rig.options.pending_max = 2;
    rig_start(&rig);
    m.to = "no such/name";
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_ERR_USER_NAME);
    m.to = "bob";
    m.body_len = 0;
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_ERR_BODY_EMPTY);
    m.body = large;
    m.body_len = sizeof(large);
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_ERR_BODY_TOO_LARGE);
    m.body = "\xff";
    m.body_len = 1;
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_ERR_UTF8);
    m.type = ANSER_FILE;
    m.client_msg_id = bad_id;
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_ERR_ARGUMENT);
    m.client_msg_id = NULL;
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_OK);
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_OK);
    assert_int_equal(anser_client_send(rig.client, &m, NULL), ANSER_ERR_FULL);
    assert_int_equal(anser_client_pending(rig.client), 2);
    rig_fini(&rig);
}

/* Accepted before the first login, which then allows less: it fails here, for a frame
 * above the limit would end this connection and every one after it. */
static void
test_sending_too_large_for_this_server_fails_without_being_sent(void **state)
{
    static struct rig rig;
    static char text[1002];
    uint64_t large, fits;
    (void)state;

    rig_init(&rig);
    rig.mock.body_len_max = 1000;
    rig_start(&rig);
    memset(text, 'x', sizeof(text) - 1);
    large = rig_send(&rig, "bob", text);
    fits = rig_send(&rig, "bob", text + 1);
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(rig_told(&rig, large, ANSER_SEND_SENDING), 0);
    assert_int_equal(rig_told(&rig, large, ANSER_SEND_FAILED), 1);
    assert_int_equal(rig.sends[0].error.code, ANSER_ERR_BODY_TOO_LARGE);
    assert_int_equal(rig_told(&rig, fits, ANSER_SEND_SENT), 1);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 1);
    rig_fini(&rig);
}

static bool
swallow_sends(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
              const uint8_t *body)
{
    (void)conn;
    (void)body;
    return frame->command == AN_COMMAND_SEND && mock->counter-- > 0;
}

static void
test_sending_window_bounds_what_is_unanswered(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = swallow_sends;
    rig.mock.counter = 100;
    rig.mock.sends_max = 5;
    rig_start(&rig);
    for (int i = 0; i < 20; i++) {
        rig_send(&rig, "bob", "x");
    }
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 5);
    rig_fini(&rig);
}

/* The answers are lost with the connection: the same ids come again, in the same order,
 * and the server, which has them already, numbers nothing twice. */
static void
test_sending_r4_lost_connection_resends_the_same_ids_in_order(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig.mock.on_frame = swallow_sends;
    rig.mock.counter = 10;
    for (int i = 0; i < 10; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "m%d", i);
        rig_send(&rig, "bob", text);
    }
    rig_settle(&rig);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 10);
    rig.mock.on_frame = NULL;
    mock_close_conns(&rig.mock);
    rig_settle(&rig);
    rig_advance(&rig, 200);
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 20);
    for (size_t i = 0; i < 10; i++) {
        assert_memory_equal(mock_nth(&rig.mock, AN_COMMAND_SEND, i)->id,
                            mock_nth(&rig.mock, AN_COMMAND_SEND, i + 10)->id, 16);
        assert_int_equal(rig_told(&rig, i + 1, ANSER_SEND_SENDING), 1);
        assert_int_equal(rig_told(&rig, i + 1, ANSER_SEND_SENT), 1);
    }
    assert_int_equal(rig.mock.id_count, 10);
    rig_fini(&rig);
}

static void
test_sending_unanswered_send_ends_the_connection(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig.mock.on_frame = swallow_sends;
    rig.mock.counter = 1;
    rig_send(&rig, "bob", "x");
    rig_settle(&rig);
    rig_advance(&rig, 15000);
    assert_int_equal(rig.why.code, ANSER_ERR_TIMEOUT);
    rig_advance(&rig, 1000);
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_SENT), 1);
    rig_fini(&rig);
}

/* Refuses as a gate does: the third message BUSY, and all that follow it ORDER until the
 * third is sent again. */
static bool
refuse_third(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
             const uint8_t *body)
{
    static uint8_t expected[16];
    const struct mock_seen *seen = &mock->seen[mock->seen_count - 1];
    (void)body;

    if (frame->command != AN_COMMAND_SEND) {
        return false;
    }
    mock->counter++;
    if (mock->counter == 3) {
        memcpy(expected, seen->id, 16);
        mock_refuse(conn, frame, AN_ERR_BUSY, 700);
        return true;
    }
    if (mock->counter > 3 && memcmp(seen->id, expected, 16) != 0 && !mock->arg) {
        mock_refuse(conn, frame, AN_ERR_ORDER, 0);
        return true;
    }
    if (mock->counter > 3) {
        mock->arg = mock; /* it came: others may follow */
    }
    return false;
}

/* A server that takes one message in 500 ms from this user, whatever the conversation. */
static struct rig *limited;
static uint64_t next_ms;

static bool
one_in_half_a_second(struct mock *mock, struct mock_conn *conn,
                     const struct an_frame *frame, const uint8_t *body)
{
    (void)body;

    if (frame->command != AN_COMMAND_SEND) {
        return false;
    }
    if (limited->now_ms < next_ms) {
        mock->counter++;
        mock_refuse(conn, frame, AN_ERR_RATE, (uint32_t)(next_ms - limited->now_ms));
        return true;
    }
    next_ms = limited->now_ms + 500;
    return false;
}

/* Y4: it waits as long as it is told, in every conversation, and does not go on asking
 * for all that is pending; no message is given up for it. */
static void
test_sending_over_the_rate_waits_and_keeps_all(void **state)
{
    enum { MESSAGES = 60, CONVERSATIONS = 6 };
    static struct rig rig;
    size_t before;
    (void)state;

    limited = &rig;
    next_ms = 0;
    rig_init(&rig);
    rig.options.send_attempts_max = 3;
    rig.mock.on_frame = one_in_half_a_second;
    rig_start(&rig);
    for (int i = 0; i < MESSAGES; i++) {
        char to[16], text[16];
        (void)snprintf(to, sizeof(to), "user%d", i % CONVERSATIONS);
        (void)snprintf(text, sizeof(text), "m%d", i);
        rig_send(&rig, to, text);
    }
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    before = mock_seen(&rig.mock, AN_COMMAND_SEND);
    rig_advance(&rig, 499);
    rig_settle(&rig);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), before);
    for (int i = 0; i < 4000 && !rig_flushed(&rig); i++) {
        rig_advance(&rig, 100);
        rig_settle(&rig);
    }
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        assert_int_equal(rig_told(&rig, i, ANSER_SEND_SENT), 1);
    }
    /* The first window was refused, and then a few for each taken. */
    assert_in_range(rig.mock.counter, 1, before + 3 * MESSAGES);
    rig_fini(&rig);
}

static void
test_sending_refusal_keeps_the_order(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = refuse_third;
    rig_start(&rig);
    for (int i = 0; i < 8; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "m%d", i);
        rig_send(&rig, "bob", text);
    }
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 8);
    rig_advance(&rig, 699);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 8);
    rig_advance(&rig, 1);
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 14);
    assert_string_equal(mock_nth(&rig.mock, AN_COMMAND_SEND, 8)->text, "m2");
    for (uint64_t i = 1; i <= 8; i++) {
        assert_int_equal(rig_told(&rig, i, ANSER_SEND_SENT), 1);
    }
    for (size_t i = 0, seq = 0; i < rig.send_count; i++) { /* acked in sending order */
        if (rig.sends[i].state == ANSER_SEND_SENT) {
            assert_int_equal(rig.sends[i].ticket, ++seq);
            assert_int_equal(rig.sends[i].seq, seq);
        }
    }
    rig_fini(&rig);
}

static bool
refuse_all(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
           const uint8_t *body)
{
    (void)body;
    if (frame->command != AN_COMMAND_SEND) {
        return false;
    }
    mock_refuse(conn, frame, *(enum an_err *)mock->arg, 0);
    return true;
}

static void
test_sending_definite_refusal_fails_once(void **state)
{
    static struct rig rig;
    enum an_err err = AN_ERR_USER_NOT_FOUND;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = refuse_all;
    rig.mock.arg = &err;
    rig_start(&rig);
    rig_send(&rig, "nobody", "x");
    rig_send(&rig, "nobody", "y");
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_FAILED), 1);
    assert_int_equal(rig_told(&rig, 2, ANSER_SEND_FAILED), 1);
    assert_int_equal(rig.sends[rig.send_count - 1].error.code, ANSER_ERR_USER_NOT_FOUND);
    assert_string_equal(rig.sends[rig.send_count - 1].error.name, "USER_NOT_FOUND");
    assert_int_equal(rig.sends[rig.send_count - 1].error.category,
                     ANSER_CATEGORY_NOT_FOUND);
    rig_fini(&rig);
}

static void
test_sending_r4_endless_refusal_gives_up_after_its_attempts(void **state)
{
    static struct rig rig;
    enum an_err err = AN_ERR_DISK_FULL;
    (void)state;

    rig_init(&rig);
    rig.options.send_attempts_max = 3;
    rig.options.backoff_max_ms = 1000;
    rig.mock.on_frame = refuse_all;
    rig.mock.arg = &err;
    rig_start(&rig);
    rig_send(&rig, "bob", "x");
    rig_settle(&rig);
    for (int i = 0; i < 10; i++) {
        rig_advance(&rig, 1000);
    }
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SEND), 3);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_FAILED), 1);
    assert_int_equal(rig.sends[rig.send_count - 1].error.code, ANSER_ERR_DISK_FULL);
    assert_int_equal(anser_client_pending(rig.client), 0);
    rig_fini(&rig);
}

static void
test_sending_r4_without_a_server_gives_up_after_its_time(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    mock_stop(&rig.mock);
    rig.options.send_timeout_ms = 5000;
    rig_start(&rig);
    rig_send(&rig, "bob", "x");
    rig_advance(&rig, 4999);
    assert_int_equal(rig.send_count, 0);
    rig_advance(&rig, 1);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_FAILED), 1);
    rig_fini(&rig);
}

static void
test_sending_q4_receipts_are_told_once_each(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        rig_send(&rig, "bob", "x");
    }
    assert_true(rig_until(&rig, rig_flushed));
    for (int again = 0; again < 2; again++) {
        mock_receipt(&rig.mock, "bob", 2, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_STORED);
        rig_settle(&rig);
    }
    for (int again = 0; again < 2; again++) {
        mock_receipt(&rig.mock, "bob", 3, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED);
        rig_settle(&rig);
    }
    mock_receipt(&rig.mock, "bob", 1, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED);
    rig_settle(&rig);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_STORED), 0);
    assert_int_equal(rig_told(&rig, 2, ANSER_SEND_STORED), 1);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(rig_told(&rig, i, ANSER_SEND_DELIVERED), 1);
    }
    assert_int_equal(rig_told(&rig, 4, ANSER_SEND_DELIVERED), 0);
    rig_fini(&rig);
}

static bool
receipt_first(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
              const uint8_t *body)
{
    (void)conn;
    (void)body;
    if (frame->command == AN_COMMAND_SEND) {
        mock_receipt(mock, "bob", 1, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_STORED);
        mock_receipt(mock, "bob", 1, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED);
    }
    return false;
}

static void
test_sending_receipt_that_overtakes_its_ack_counts(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = receipt_first;
    rig_start(&rig);
    rig_send(&rig, "bob", "x");
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_SENT), 1);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_STORED), 1);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_DELIVERED), 1);
    assert_int_equal(rig.sends[rig.send_count - 1].state, ANSER_SEND_DELIVERED);
    rig_fini(&rig);
}

static void
test_sending_lost_receipt_is_asked_for(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    rig_send(&rig, "bob", "x");
    assert_true(rig_until(&rig, rig_flushed));
    rig.mock.peer_delivered = 1;
    rig_advance(&rig, 15000);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_HISTORY), 1);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_DELIVERED), 1);
    rig_advance(&rig, 60000);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_HISTORY), 1); /* nothing to ask */
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sending_message_is_acked_once_with_its_numbers),
        cmocka_unit_test(test_sending_id_is_a_uuid7_of_the_servers_time),
        cmocka_unit_test(test_sending_what_cannot_be_is_refused_at_once),
        cmocka_unit_test(test_sending_too_large_for_this_server_fails_without_being_sent),
        cmocka_unit_test(test_sending_window_bounds_what_is_unanswered),
        cmocka_unit_test(test_sending_r4_lost_connection_resends_the_same_ids_in_order),
        cmocka_unit_test(test_sending_unanswered_send_ends_the_connection),
        cmocka_unit_test(test_sending_over_the_rate_waits_and_keeps_all),
        cmocka_unit_test(test_sending_refusal_keeps_the_order),
        cmocka_unit_test(test_sending_definite_refusal_fails_once),
        cmocka_unit_test(test_sending_r4_endless_refusal_gives_up_after_its_attempts),
        cmocka_unit_test(test_sending_r4_without_a_server_gives_up_after_its_time),
        cmocka_unit_test(test_sending_q4_receipts_are_told_once_each),
        cmocka_unit_test(test_sending_receipt_that_overtakes_its_ack_counts),
        cmocka_unit_test(test_sending_lost_receipt_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
