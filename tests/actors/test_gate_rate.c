/* How often users and addresses may ask (Y4): what is refused, that nothing of it goes
 * further, that others do not feel it, and that order survives it. */
#include "tests/actors/gate_kit.h"

static size_t
commands(const struct harness_effect *ask)
{
    const Anser__Bus__Submit *submit = ask == NULL ? NULL : harness_body(ask);

    return submit == NULL ? 0 : submit->n_commands;
}

static void
expect_send_ok(struct harness *h, uint64_t conn, uint32_t request)
{
    kit_frame(h, conn, AN_COMMAND_SEND, AN_FRAME_ANSWER, request,
              &anser__client__send_ok__descriptor);
}

static const Anser__Client__Error *
expect_rate(struct harness *h, uint64_t conn, unsigned command, uint32_t request)
{
    const Anser__Client__Error *error = kit_error(h, conn, command, request, AN_ERR_RATE);

    assert_true(error->retry);
    assert_true(error->retry_after_ms > 0);
    return error;
}

/* Logs in from an address. */
static void
login_from(struct harness *h, uint64_t conn, const char *user, const char *device,
           const char *address)
{
    harness_conn_from(h, conn, address);
    kit_login_send(h, conn, user, device, false);
    kit_serve(h);
    kit_frame(h, conn, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
}

/* Y4: beyond the rate it is refused, told when to come again, and goes nowhere; all
 * connections of a user count together, another user's do not. */
static void
test_gate_rate_of_sends_is_a_users_on_all_connections(void **state)
{
    struct gate_cfg cfg = {.user_sends_per_s = 2, .rate_burst_s = 1};
    struct harness *h = kit_gate(&cfg);
    const Anser__Client__Error *error;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "alice", "laptop");
    kit_login(h, 12, "carol", "phone");
    kit_send(h, 10, 2, "bob", 1, "one");
    kit_send(h, 11, 2, "bob", 2, "two");
    kit_send(h, 11, 3, "bob", 3, "three");
    kit_send(h, 12, 2, "bob", 4, "four");
    error = expect_rate(h, 11, AN_COMMAND_SEND, 3);
    assert_int_equal(error->retry_after_ms, 500);
    assert_memory_equal(error->client_msg_id.data, kit_id(3), AN_CLIENT_MSG_ID_LEN);
    kit_serve(h);
    assert_int_equal(harness_metric(h, "over_user_sends_total"), 1);
    for (unsigned left = 3; left > 0;) { /* those taken, and no others */
        const struct harness_effect *ask = kit_submit(h);

        assert_in_range(commands(ask), 1, left);
        left -= (unsigned)commands(ask);
        kit_submitted(h, ask, AN_OK);
        kit_serve(h);
    }
    assert_null(kit_submit(h));
    expect_send_ok(h, 10, 2);
    expect_send_ok(h, 11, 2);
    expect_send_ok(h, 12, 2);
    kit_no_frame(h, 11);
    harness_destroy(h);
}

/* P2: what follows a refused message to the same conversation waits for it, and only
 * that. To be refused with ORDER costs as much as to be taken. */
static void
test_gate_rate_keeps_the_order_of_sends(void **state)
{
    struct gate_cfg cfg = {.user_sends_per_s = 1, .rate_burst_s = 1};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 2, "bob", 1, "one");
    kit_send(h, 10, 3, "bob", 2, "two");
    expect_rate(h, 10, AN_COMMAND_SEND, 3);
    kit_send(h, 10, 4, "bob", 3, "three");
    expect_rate(h, 10, AN_COMMAND_SEND, 4);
    kit_serve(h);
    assert_int_equal(commands(kit_submit(h)), 1);
    harness_advance(h, 1000);
    kit_send(h, 10, 5, "bob", 3, "three"); /* does not overtake */
    kit_error(h, 10, AN_COMMAND_SEND, 5, AN_ERR_ORDER);
    kit_send(h, 10, 6, "bob", 2, "two");
    expect_rate(h, 10, AN_COMMAND_SEND, 6);
    harness_advance(h, 1000);
    kit_send(h, 10, 6, "bob", 2, "two");
    kit_no_frame(h, 10);
    kit_send(h, 10, 7, "bob", 3, "three");
    expect_rate(h, 10, AN_COMMAND_SEND, 7);
    harness_advance(h, 1000);
    kit_send(h, 10, 8, "bob", 3, "three");
    kit_no_frame(h, 10);
    harness_destroy(h);
}

/* Coming back does not fill the buckets; time does, and then nothing is remembered. */
static void
test_gate_rate_is_kept_over_a_reconnect(void **state)
{
    struct gate_cfg cfg = {.user_sends_per_s = 1, .rate_burst_s = 2};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 2, "bob", 1, "one");
    kit_send(h, 10, 3, "carol", 2, "two");
    kit_serve(h);
    for (const struct harness_effect *ask; (ask = kit_submit(h)) != NULL;) {
        kit_submitted(h, ask, AN_OK);
        kit_serve(h);
    }
    expect_send_ok(h, 10, 2);
    expect_send_ok(h, 10, 3);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    kit_login(h, 11, "alice", "phone");
    kit_send(h, 11, 2, "bob", 3, "three");
    expect_rate(h, 11, AN_COMMAND_SEND, 2);
    harness_conn(h, AN_KIND_CONN_CLOSED, 11);
    assert_true(harness_metric(h, "rated") > 0);
    harness_advance(h, 4000);
    assert_int_equal(harness_metric(h, "rated"), 0);
    kit_login(h, 12, "alice", "phone");
    kit_send(h, 12, 2, "bob", 3, "three");
    kit_send(h, 12, 3, "bob", 4, "four");
    kit_no_frame(h, 12);
    harness_destroy(h);
}

static void
ask(struct harness *h, uint64_t conn, unsigned command, uint32_t request)
{
    Anser__Client__Sync sync = ANSER__CLIENT__SYNC__INIT;
    Anser__Client__History history = ANSER__CLIENT__HISTORY__INIT;
    Anser__Client__Confirm confirm = ANSER__CLIENT__CONFIRM__INIT;
    Anser__Client__Heartbeat heartbeat = ANSER__CLIENT__HEARTBEAT__INIT;
    const ProtobufCMessage *body = command == AN_COMMAND_SYNC      ? &sync.base
                                   : command == AN_COMMAND_HISTORY ? &history.base
                                   : command == AN_COMMAND_CONFIRM ? &confirm.base
                                                                   : &heartbeat.base;

    history.peer = TEXT("bob");
    harness_conn_frame(h, conn, (uint16_t)command, request, body);
}

/* Each kind has a rate of its own. */
static void
test_gate_rate_of_each_command(void **state)
{
    static const struct {
        unsigned command;
        const char *metric;
    } kinds[] = {{AN_COMMAND_SYNC, "over_user_syncs_total"},
                 {AN_COMMAND_HISTORY, "over_user_histories_total"},
                 {AN_COMMAND_CONFIRM, "over_user_confirms_total"},
                 {AN_COMMAND_HEARTBEAT, "over_user_heartbeats_total"}};
    struct gate_cfg cfg = {.user_syncs_per_s = 1,
                           .user_histories_per_s = 1,
                           .user_confirms_per_s = 1,
                           .user_heartbeats_per_s = 1,
                           .rate_burst_s = 2};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        ask(h, 10, kinds[i].command, 2);
        ask(h, 10, kinds[i].command, 3);
        kit_no_frame(h, 10);
        ask(h, 10, kinds[i].command, 4);
        expect_rate(h, 10, kinds[i].command, 4);
        assert_int_equal(harness_metric(h, kinds[i].metric), 1);
    }
    harness_destroy(h);
}

/* A body that cannot be read, or that no Send may have, costs as much as a good one. */
static void
test_gate_rate_counts_what_is_malformed(void **state)
{
    struct gate_cfg cfg = {.user_sends_per_s = 1, .rate_burst_s = 2};
    struct harness *h = kit_gate(&cfg);
    struct an_frame frame = {
        .codec = AN_CODEC_PROTOBUF, .command = AN_COMMAND_SEND, .request = 2};

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_conn_frame_raw(h, 10, &frame, (const uint8_t *)"\xff\xff", 2);
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_BODY_MALFORMED);
    kit_send(h, 10, 3, "b o b", 1, "one");
    kit_error(h, 10, AN_COMMAND_SEND, 3, AN_ERR_USER_NAME);
    kit_send(h, 10, 4, "b o b", 1, "one");
    expect_rate(h, 10, AN_COMMAND_SEND, 4);
    frame.request = 5;
    harness_conn_frame_raw(h, 10, &frame, (const uint8_t *)"\xff\xff", 2);
    expect_rate(h, 10, AN_COMMAND_SEND, 5);
    kit_send(h, 10, 6, "bob", 2, "two");
    expect_rate(h, 10, AN_COMMAND_SEND, 6);
    harness_destroy(h);
}

static void
bad_login(struct harness *h, uint64_t conn, uint32_t request)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;

    login.token = TEXT("guess");
    login.device = TEXT("phone");
    harness_conn_frame(h, conn, AN_COMMAND_LOGIN, request, &login.base);
}

/* Tries at tokens from one address, over many connections; another address, and who is
 * logged in, do not feel it. */
static void
test_gate_rate_of_logins_from_an_address(void **state)
{
    struct gate_cfg cfg = {.address_logins_per_s = 1, .rate_burst_s = 3};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    login_from(h, 10, "alice", "phone", "192.0.2.1");
    for (uint64_t conn = 11; conn < 13; conn++) {
        harness_conn_from(h, conn, "192.0.2.1");
        bad_login(h, conn, 1);
        kit_error(h, conn, AN_COMMAND_LOGIN, 1, AN_ERR_TOKEN_INVALID);
        kit_goodbye(h, conn, AN_ERR_TOKEN_INVALID);
        harness_conn(h, AN_KIND_CONN_CLOSED, conn);
    }
    harness_conn_from(h, 13, "192.0.2.1");
    bad_login(h, 13, 1);
    assert_int_equal(expect_rate(h, 13, AN_COMMAND_LOGIN, 1)->retry_after_ms, 1000);
    kit_send(h, 10, 2, "bob", 1, "one");
    kit_no_frame(h, 10);
    login_from(h, 14, "bob", "phone", "192.0.2.2");
    harness_advance(h, 1000); /* then the same connection may try again */
    kit_login_send(h, 13, "carol", "phone", false);
    kit_serve(h);
    kit_frame(h, 13, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    assert_int_equal(harness_metric(h, "over_address_logins_total"), 1);
    harness_destroy(h);
}

/* Good tokens too: a user who logs in again and again costs routers and stores. */
static void
test_gate_rate_of_logins_of_a_user(void **state)
{
    struct gate_cfg cfg = {.user_logins_per_s = 1, .rate_burst_s = 2};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "one");
    kit_login(h, 11, "alice", "two");
    kit_open(h, 12);
    kit_login_send(h, 12, "alice", "three", false);
    kit_serve(h);
    expect_rate(h, 12, AN_COMMAND_LOGIN, 1);
    kit_login(h, 13, "carol", "one");
    harness_advance(h, 1000);
    kit_login_send(h, 12, "alice", "three", false);
    kit_serve(h);
    kit_frame(h, 12, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    harness_destroy(h);
}

/* A Login on a connection that has one: for the address, and for the user. */
static void
test_gate_rate_counts_a_second_login(void **state)
{
    struct gate_cfg of_user = {.user_logins_per_s = 1, .rate_burst_s = 3};
    struct gate_cfg of_address = {.address_logins_per_s = 1, .rate_burst_s = 3};

    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        struct harness *h = kit_gate(k == 0 ? &of_user : &of_address);

        login_from(h, 10, "alice", "phone", "192.0.2.1");
        bad_login(h, 10, 2);
        kit_error(h, 10, AN_COMMAND_LOGIN, 2, AN_ERR_LOGIN_TWICE);
        bad_login(h, 10, 3);
        kit_error(h, 10, AN_COMMAND_LOGIN, 3, AN_ERR_LOGIN_TWICE);
        bad_login(h, 10, 4);
        expect_rate(h, 10, AN_COMMAND_LOGIN, 4);
        kit_no_frame(h, 10);
        harness_destroy(h);
    }
}

static void
test_gate_rate_counts_lines_that_are_no_json(void **state)
{
    struct gate_cfg cfg = {.address_requests_per_s = 1, .rate_burst_s = 2};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    harness_conn_from(h, 10, "192.0.2.1"); /* without a login */
    login_from(h, 11, "alice", "phone", "192.0.2.1");
    for (unsigned i = 0; i < 2; i++) {
        harness_conn_bad(h, 10, AN_ERR_JSON);
        kit_error(h, 10, 0, 0, AN_ERR_JSON);
    }
    harness_conn_bad(h, 10, AN_ERR_JSON);
    assert_int_equal(expect_rate(h, 10, 0, 0)->retry_after_ms, 1000);
    harness_conn_bad(h, 11, AN_ERR_JSON);
    expect_rate(h, 11, 0, 0);
    harness_advance(h, 1000);
    harness_conn_bad(h, 11, AN_ERR_JSON);
    kit_error(h, 11, 0, 0, AN_ERR_JSON);
    harness_destroy(h);
}

/* Whoever has no limits too is not answered for ever. */
static void
test_gate_lines_that_are_no_json_are_bounded(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < AN_CONN_BAD_LINES_MAX; i++) {
            harness_conn_bad(h, 10, AN_ERR_JSON);
            kit_error(h, 10, 0, 0, AN_ERR_JSON);
        }
        if (round == 0) {
            kit_send(h, 10, 2, "bob", 1, "in a row, not in all");
            kit_no_frame(h, 10);
        }
    }
    harness_conn_bad(h, 10, AN_ERR_JSON);
    kit_error(h, 10, 0, 0, AN_ERR_JSON);
    kit_goodbye(h, 10, AN_ERR_JSON);
    harness_destroy(h);
}

static void
expect_full(struct harness *h, uint64_t conn, const char *address)
{
    harness_conn_from(h, conn, address);
    kit_goodbye(h, conn, AN_ERR_ADDRESS_FULL);
}

static void
expect_open(struct harness *h, uint64_t conn, const char *address)
{
    harness_conn_from(h, conn, address);
    kit_no_frame(h, conn);
}

static void
test_gate_connections_of_an_address_are_bounded(void **state)
{
    struct an_nets unlimited;
    struct gate_cfg cfg = {.address_conns_max = 2, .unlimited = &unlimited};
    struct harness *h;

    (void)state;
    assert_true(an_nets_parse(&unlimited, "10.0.0.0/8"));
    h = kit_gate(&cfg);
    expect_open(h, 10, "192.0.2.1");
    expect_open(h, 11, "192.0.2.1");
    expect_full(h, 12, "192.0.2.1");
    expect_open(h, 13, "192.0.2.2");
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    expect_open(h, 14, "192.0.2.1");
    expect_full(h, 15, "192.0.2.1");
    /* Whoever has one IPv6 address has a /64 of them. */
    expect_open(h, 16, "2001:db8:1:2::1");
    expect_open(h, 17, "2001:db8:1:2:ffff::1");
    expect_full(h, 18, "2001:db8:1:2::2");
    expect_open(h, 19, "2001:db8:1:3::1");
    for (uint64_t conn = 20; conn < 30; conn++) {
        expect_open(h, conn, "10.1.2.3");
    }
    assert_int_equal(harness_metric(h, "over_address_conns_total"), 3);
    assert_int_equal(harness_metric(h, "conns_refused_total"), 3);
    harness_destroy(h);
}

/* All users behind an address together. */
static void
test_gate_rate_of_requests_from_an_address(void **state)
{
    struct gate_cfg cfg = {.address_requests_per_s = 1, .rate_burst_s = 2};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    login_from(h, 10, "alice", "phone", "192.0.2.1");
    login_from(h, 11, "bob", "phone", "192.0.2.1");
    login_from(h, 12, "carol", "phone", "192.0.2.2");
    ask(h, 10, AN_COMMAND_HEARTBEAT, 2);
    kit_send(h, 11, 2, "carol", 1, "one");
    kit_no_frame(h, 10);
    kit_no_frame(h, 11);
    ask(h, 10, AN_COMMAND_SYNC, 3);
    expect_rate(h, 10, AN_COMMAND_SYNC, 3);
    kit_send(h, 11, 3, "carol", 2, "two");
    expect_rate(h, 11, AN_COMMAND_SEND, 3);
    ask(h, 11, 999, 4);
    expect_rate(h, 11, 999, 4);
    ask(h, 12, AN_COMMAND_HEARTBEAT, 2);
    kit_no_frame(h, 12);
    assert_int_equal(harness_metric(h, "over_address_requests_total"), 3);
    harness_destroy(h);
}

/* Memory: whoever comes once and goes is forgotten, at the latest when too many have. */
static void
test_gate_rate_forgets_addresses_beyond_its_bound(void **state)
{
    struct gate_cfg cfg = {.address_conns_max = 2, .rate_burst_s = 3600};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    for (uint64_t conn = 10; conn < 10 + AN_GATE_RATED_MAX + 50; conn++) {
        char address[AN_ADDRESS_TEXT_MAX];

        snprintf(address, sizeof(address), "10.%u.%u.%u", (unsigned)(conn >> 16),
                 (unsigned)(conn >> 8 & 255), (unsigned)(conn & 255));
        harness_conn_from(h, conn, address);
        harness_conn(h, AN_KIND_CONN_CLOSED, conn);
    }
    assert_int_equal(harness_metric(h, "rated"), AN_GATE_RATED_MAX);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_rate_of_sends_is_a_users_on_all_connections),
        cmocka_unit_test(test_gate_rate_keeps_the_order_of_sends),
        cmocka_unit_test(test_gate_rate_is_kept_over_a_reconnect),
        cmocka_unit_test(test_gate_rate_of_each_command),
        cmocka_unit_test(test_gate_rate_counts_what_is_malformed),
        cmocka_unit_test(test_gate_rate_of_logins_from_an_address),
        cmocka_unit_test(test_gate_rate_of_logins_of_a_user),
        cmocka_unit_test(test_gate_rate_counts_a_second_login),
        cmocka_unit_test(test_gate_rate_counts_lines_that_are_no_json),
        cmocka_unit_test(test_gate_lines_that_are_no_json_are_bounded),
        cmocka_unit_test(test_gate_connections_of_an_address_are_bounded),
        cmocka_unit_test(test_gate_rate_of_requests_from_an_address),
        cmocka_unit_test(test_gate_rate_forgets_addresses_beyond_its_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
