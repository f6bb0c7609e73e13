/* Connecting, login, back-off, heartbeat, good-bye, and garbage from the server. */
#include "core/rng.h"
#include "rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
test_session_good_token_logs_in(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    assert_string_equal(anser_client_user(rig.client), "alice");
    assert_string_equal(mock_nth(&rig.mock, AN_COMMAND_LOGIN, 0)->text, "token");
    assert_int_equal(anser_client_server_time_ms(rig.client), rig.mock.server_time_ms);
    rig_advance(&rig, 250);
    assert_int_equal(anser_client_server_time_ms(rig.client),
                     rig.mock.server_time_ms + 250);
    rig_fini(&rig);
}

static void
test_session_bad_options_are_refused(void **state)
{
    static struct rig rig;
    static const char *const bad[] = {
        "",          "tcp://",        "tcp://h",    "tcp://h:",
        "tcp://h:0", "tcp://h:65536", "tcp://h:1x", "udp://h:1",
        "tcp://:1",  "tcp://[::1:1"};
    struct anser_client *client = NULL;
    (void)state;

    rig_init(&rig);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rig.addresses[0] = bad[i];
        assert_int_equal(anser_client_create(&client, &rig.options), ANSER_ERR_ARGUMENT);
    }
    rig.addresses[0] = "tcp://[::1]:7400";
    assert_int_equal(anser_client_create(&client, &rig.options), ANSER_OK);
    anser_client_destroy(client);
    rig.options.device = "a device";
    assert_int_equal(anser_client_create(&client, &rig.options), ANSER_ERR_DEVICE_NAME);
    rig_fini(&rig);
}

static void
test_session_lost_connection_comes_back_with_growing_pauses(void **state)
{
    static struct rig rig;
    uint64_t pause = 200;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    for (unsigned i = 0; i < 6; i++) {
        unsigned before = rig.mock.accepted;
        mock_close_conns(&rig.mock);
        rig_settle(&rig);
        assert_int_equal(anser_client_state(rig.client), ANSER_STATE_OFFLINE);
        assert_int_equal(rig.why.code, ANSER_ERR_CONNECTION);
        rig_advance(&rig, pause - 1);
        assert_int_equal(rig.mock.accepted, before);
        rig_advance(&rig, 1);
        assert_true(rig_until(&rig, rig_online));
        pause *= 2;
    }
    rig_advance(&rig, 6000); /* long enough to count as stable */
    mock_close_conns(&rig.mock);
    rig_settle(&rig);
    rig_advance(&rig, 200);
    assert_true(rig_until(&rig, rig_online));
    rig_fini(&rig);
}

static void
test_session_addresses_are_tried_in_turn(void **state)
{
    static struct rig rig;
    static struct mock dead;
    (void)state;

    rig_init(&rig);
    mock_start(&dead);
    mock_stop(&dead); /* a port nobody listens on */
    rig.addresses[0] = dead.url;
    rig.addresses[1] = rig.mock.url;
    rig.options.address_count = 2;
    rig_start(&rig);
    assert_true(
        rig_until(&rig, rig_online)); /* at once: the pause is for a whole round */
    rig_fini(&rig);
}

static void
test_session_heartbeat_is_sent_and_answered(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_advance(&rig, 10000);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_HEARTBEAT), 1);
    rig_settle(&rig);
    assert_true(rig_online(&rig));
    rig_fini(&rig);
}

static bool
swallow(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
        const uint8_t *body)
{
    (void)mock;
    (void)conn;
    (void)body;
    return frame->command != AN_COMMAND_LOGIN;
}

static void
test_session_unanswered_heartbeat_ends_the_connection(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = swallow;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_advance(&rig, 10000);
    assert_true(rig_online(&rig));
    rig_advance(&rig, 15000);
    assert_int_equal(rig.why.code, ANSER_ERR_TIMEOUT);
    assert_false(rig_online(&rig));
    rig_fini(&rig);
}

static bool
refuse_first_login(struct mock *mock, struct mock_conn *conn,
                   const struct an_frame *frame, const uint8_t *body)
{
    (void)body;
    if (frame->command != AN_COMMAND_LOGIN || mock->counter++ > 0) {
        return false;
    }
    mock_refuse(conn, frame, *(enum an_err *)mock->arg, 0);
    return true;
}

static void
test_session_expired_token_is_replaced_once(void **state)
{
    static struct rig rig;
    enum an_err err = AN_ERR_TOKEN_EXPIRED;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = refuse_first_login;
    rig.mock.arg = &err;
    rig.fresh_token = "fresh";
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    assert_int_equal(rig.tokens, 1);
    assert_string_equal(mock_nth(&rig.mock, AN_COMMAND_LOGIN, 1)->text, "fresh");
    rig_fini(&rig);
}

/* Revoked while online: one more token, and with a good login the next may be revoked
 * too. */
static void
test_session_revoked_token_is_replaced_once(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.fresh_token = "fresh";
    rig_start(&rig);
    for (int i = 1; i <= 2; i++) {
        assert_true(rig_until(&rig, rig_online));
        mock_goodbye(mock_conn(&rig.mock), AN_ERR_TOKEN_REVOKED, false, 0);
        rig_settle(&rig);
        assert_true(rig_until(&rig, rig_online));
        assert_int_equal(rig.tokens, i);
        assert_string_equal(mock_nth(&rig.mock, AN_COMMAND_LOGIN, (unsigned)i)->text,
                            "fresh");
    }
    rig.fresh_token = NULL;
    mock_goodbye(mock_conn(&rig.mock), AN_ERR_TOKEN_REVOKED, false, 0);
    assert_true(rig_until(&rig, rig_closed));
    assert_int_equal(rig.why.code, ANSER_ERR_TOKEN_REVOKED);
    rig_fini(&rig);
}

static void
test_session_invalid_token_closes_for_good(void **state)
{
    static struct rig rig;
    enum an_err err = AN_ERR_TOKEN_INVALID;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = refuse_first_login;
    rig.mock.arg = &err;
    rig_start(&rig);
    rig_send(&rig, "bob", "never");
    assert_true(rig_until(&rig, rig_closed));
    assert_int_equal(rig.why.code, ANSER_ERR_TOKEN_INVALID);
    assert_int_equal(rig.why.category, ANSER_CATEGORY_AUTH);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_FAILED), 1);
    assert_int_equal(anser_client_process(rig.client), ANSER_ERR_TOKEN_INVALID);
    rig_fini(&rig);
}

static void
test_session_busy_login_is_tried_again_after_what_the_server_said(void **state)
{
    static struct rig rig;
    enum an_err err = AN_ERR_BUSY;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = refuse_first_login;
    rig.mock.arg = &err;
    rig_start(&rig);
    rig_settle(&rig);
    assert_int_equal(rig.why.code, ANSER_ERR_BUSY);
    rig_advance(&rig, 200);
    assert_true(rig_until(&rig, rig_online));
    rig_fini(&rig);
}

/* C13: a gate that goes sends its clients to the next one, without a pause. */
static void
test_session_leaving_gate_sends_to_the_next_address_at_once(void **state)
{
    static const enum an_err codes[] = {AN_ERR_DRAINING, AN_ERR_SHUTTING_DOWN};
    static struct rig rig;
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        rig_init(&rig);
        rig.addresses[1] = rig.mock.url; /* the same, but it does not know that */
        rig.options.address_count = 2;
        rig_start(&rig);
        assert_true(rig_until(&rig, rig_online));
        mock_goodbye(mock_conn(&rig.mock), codes[i], true, 1000);
        rig_settle(&rig);
        assert_int_equal(rig.why.code, codes[i]);
        assert_true(rig_until(&rig, rig_online)); /* the clock stands still */
        assert_int_equal(rig.mock.accepted, 2);
        rig_fini(&rig);
    }
}

/* A dead link is no different; but when no address lasts, it waits. */
static void
test_session_lost_links_go_round_then_wait(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.addresses[1] = rig.mock.url;
    rig.addresses[2] = rig.mock.url;
    rig.options.address_count = 3;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_advance(&rig, 6000); /* lasted */
    for (unsigned i = 1; i < 3; i++) {
        mock_close_conns(&rig.mock);
        rig_settle(&rig);
        assert_true(rig_until(&rig, rig_online));
        assert_int_equal(rig.mock.accepted, 1 + i);
    }
    mock_close_conns(&rig.mock);
    rig_settle(&rig);
    assert_int_equal(anser_client_state(rig.client), ANSER_STATE_OFFLINE);
    assert_int_equal(rig.mock.accepted, 3);
    rig_advance(&rig, 200);
    assert_true(rig_until(&rig, rig_online));
    rig_fini(&rig);
}

/* What one server wishes is not another's business. */
static void
test_session_refused_login_goes_to_the_next_address_at_once(void **state)
{
    static struct rig rig;
    enum an_err err = AN_ERR_UNAVAILABLE;
    (void)state;

    rig_init(&rig);
    rig.addresses[1] = rig.mock.url;
    rig.options.address_count = 2;
    rig.mock.on_frame = refuse_first_login;
    rig.mock.arg = &err;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    assert_int_equal(rig.mock.accepted, 2);
    rig_fini(&rig);
}

static void
test_session_goodbye_decides_whether_to_come_back(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    mock_goodbye(mock_conn(&rig.mock), AN_ERR_SHUTTING_DOWN, true, 3000);
    rig_settle(&rig);
    assert_int_equal(rig.why.code, ANSER_ERR_SHUTTING_DOWN);
    rig_advance(&rig, 2999);
    assert_int_equal(rig.mock.accepted, 1);
    rig_advance(&rig, 1);
    assert_true(rig_until(&rig, rig_online));
    mock_goodbye(mock_conn(&rig.mock), AN_ERR_REPLACED, false, 0);
    assert_true(rig_until(&rig, rig_closed));
    assert_int_equal(rig.why.code, ANSER_ERR_REPLACED);
    rig_fini(&rig);
}

/* Each is a way of not speaking the protocol; each ends the connection with its name. */
static void
test_session_garbage_is_a_clean_error(void **state)
{
    static struct rig rig;
    static const struct {
        uint8_t bytes[20];
        size_t len;
        unsigned code;
    } cases[] = {
        {"HTTP/1.1 400", 12, ANSER_ERR_FRAME_MAGIC},
        {{'A', 'N', 9}, 3, ANSER_ERR_FRAME_VERSION},
        {{'A', 'N', 1, 1, 0, 64, 0x80}, 16, ANSER_ERR_FRAME_FLAGS},
        {{'A', 'N', 1, 1, 0, 64, 0, 0, 0, 0, 0, 0, 0x7F}, 16, ANSER_ERR_FRAME_TOO_LARGE},
        {{'A', 'N', 1, 9, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16, ANSER_ERR_CODEC},
        {{'A', 'N', 1, 1, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xFF, 0xFF},
         18,
         ANSER_ERR_BODY_MALFORMED},
        {{'A', 'N', 1, 1, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
         16,
         ANSER_ERR_BODY_MALFORMED},
    };
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig_advance(&rig, 60000);
        assert_true(rig_until(&rig, rig_online));
        mock_raw(mock_conn(&rig.mock), cases[i].bytes, cases[i].len);
        rig_settle(&rig);
        assert_int_equal(rig.why.code, cases[i].code);
        assert_int_equal(anser_client_state(rig.client), ANSER_STATE_OFFLINE);
    }
    rig_fini(&rig);
}

static void
test_session_unknown_push_is_ignored(void **state)
{
    static struct rig rig;
    static const uint8_t later[] = {'A', 'N', 1, 1, 1, 0, 0, 0, 0,
                                    0,   0,   0, 0, 0, 0, 2, 7, 7};
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    for (size_t i = 0; i < sizeof(later); i++) { /* also: one byte at a time */
        mock_raw(mock_conn(&rig.mock), &later[i], 1);
        rig_settle(&rig);
    }
    assert_true(rig_online(&rig));
    rig_fini(&rig);
}

/* Well-framed nonsense: bodies cut, stretched and turned, as every push and answer. The
 * client may drop the connection each time, and is online again each time. */
static void
test_session_random_bodies_do_no_harm(void **state)
{
    static struct rig rig;
    static const uint16_t commands[] = {1, 3, 4, 5, 6, 7, 64, 65, 66};
    struct an_rng rng;
    (void)state;

    rig_init(&rig);
    rig.options.backoff_max_ms = 200;
    rig.fresh_token = "token";
    rig_start(&rig);
    an_rng_seed(&rng, 20261121);
    for (int round = 0; round < 400; round++) {
        uint8_t bytes[AN_FRAME_HEADER_LEN + 64];
        struct an_frame frame = {.codec = 1};
        if (rig_closed(&rig)) { /* a Goodbye made of noise: for good */
            rig_restart(&rig);
        }
        rig_advance(&rig, 200);
        assert_true(rig_until(&rig, rig_online));
        frame.command = commands[an_rng_below(&rng, 9)];
        frame.flags = (uint16_t)an_rng_below(&rng, 4);
        frame.request = (uint32_t)an_rng_below(&rng, 8);
        frame.body_len = (uint32_t)an_rng_below(&rng, 65);
        an_frame_put(bytes, &frame);
        for (size_t i = AN_FRAME_HEADER_LEN; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)an_rng_next(&rng) & (an_rng_below(&rng, 2) ? 0x1F : 0xFF);
        }
        mock_raw(mock_conn(&rig.mock), bytes, AN_FRAME_HEADER_LEN + frame.body_len);
        rig_settle(&rig);
        rig.mock.seen_count = 0;
        rig.message_count = 0;
    }
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_good_token_logs_in),
        cmocka_unit_test(test_session_bad_options_are_refused),
        cmocka_unit_test(test_session_lost_connection_comes_back_with_growing_pauses),
        cmocka_unit_test(test_session_addresses_are_tried_in_turn),
        cmocka_unit_test(test_session_heartbeat_is_sent_and_answered),
        cmocka_unit_test(test_session_unanswered_heartbeat_ends_the_connection),
        cmocka_unit_test(test_session_expired_token_is_replaced_once),
        cmocka_unit_test(test_session_revoked_token_is_replaced_once),
        cmocka_unit_test(test_session_invalid_token_closes_for_good),
        cmocka_unit_test(
            test_session_busy_login_is_tried_again_after_what_the_server_said),
        cmocka_unit_test(test_session_leaving_gate_sends_to_the_next_address_at_once),
        cmocka_unit_test(test_session_lost_links_go_round_then_wait),
        cmocka_unit_test(test_session_refused_login_goes_to_the_next_address_at_once),
        cmocka_unit_test(test_session_goodbye_decides_whether_to_come_back),
        cmocka_unit_test(test_session_garbage_is_a_clean_error),
        cmocka_unit_test(test_session_unknown_push_is_ignored),
        cmocka_unit_test(test_session_random_bodies_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
