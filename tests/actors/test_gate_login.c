/* From a connection to a session: tokens, names, routers, stores; and everything that
 * must not become a session. */
#include "tests/actors/gate_kit.h"

static void
login_with(struct harness *h, uint64_t conn, const char *token, const char *device,
           const char *platform)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;

    login.token = kit_text(token);
    login.device = kit_text(device);
    login.platform = kit_text(platform);
    harness_conn_frame(h, conn, AN_COMMAND_LOGIN, 1, &login.base);
}

static char *
token_of(struct harness *h, const char *user)
{
    char *token = NULL;

    assert_int_equal(an_token_mint(&token, &kit_keys.key[0], AN_APP_DEFAULT, user,
                                   harness_now(h).wall_ms, 3600000),
                     AN_OK);
    return token;
}

static void
test_gate_login_passes_store_router_store(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    const Anser__Bus__Read *read;
    const Anser__Bus__Sessions *sessions;
    const Anser__Client__LoginOk *ok;
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT, *answers = &answer;
    Anser__Bus__SessionsDone told = ANSER__BUS__SESSIONS_DONE__INIT;

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);
    assert_non_null(ask);
    read = harness_body(ask);
    assert_int_equal(read->n_queries, 1);
    assert_int_equal(read->queries[0]->what_case, ANSER__BUS__QUERY__WHAT_RESOLVE);
    answer.user = ALICE;
    done.answers = &answers;
    done.n_answers = 1;
    harness_answer(h, ask, AN_OK, &done.base);
    kit_serve_reads(h); /* may she come in? */
    kit_no_frame(h, 10);
    assert_null(harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ));
    ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    assert_non_null(ask);
    sessions = harness_body(ask);
    assert_int_equal(sessions->incarnation, KIT_SEED);
    assert_int_equal(sessions->router_incarnation, KIT_VIEW);
    assert_false(sessions->complete);
    assert_int_equal(sessions->n_up, 1);
    assert_int_equal(sessions->up[0]->user, ALICE);
    assert_int_equal(sessions->up[0]->conn, 10);
    assert_memory_equal(sessions->up[0]->device.data, "phone", 5);
    assert_memory_equal(sessions->up[0]->platform.data, "api", 3);
    told.router_incarnation = KIT_VIEW;
    harness_answer(h, ask, AN_OK, &told.base);
    kit_no_frame(h, 10);
    kit_inbox_head = 9;
    kit_serve(h);
    ok = kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
                   &anser__client__login_ok__descriptor);
    assert_memory_equal(ok->user.data, "alice", 5);
    assert_int_equal(ok->server_time_ms, harness_now(h).wall_ms);
    assert_int_equal(ok->inbox_generation, 5);
    assert_int_equal(ok->inbox_head, 9);
    assert_int_equal(ok->cursor, 2);
    assert_int_equal(ok->heartbeat_ms, AN_HEARTBEAT_MS);
    assert_int_equal(ok->idle_ms, AN_IDLE_MS);
    assert_int_equal(ok->body_len_max, AN_BODY_LEN_MAX);
    assert_int_equal(ok->frame_len_max, AN_FRAME_LEN_MAX);
    assert_int_equal(ok->sends_max, AN_CONN_SENDS_MAX);
    assert_int_equal(harness_metric(h, "logins_total"), 1);
    harness_destroy(h);
}

static void
test_gate_login_send_only_not_announced(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "cli", true);
    kit_serve(h);
    kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    assert_int_equal(harness_metric(h, "announces_total"), 1); /* the one at start */
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    harness_drain(h);
    assert_int_equal(harness_metric(h, "announces_total"), 1);
    harness_destroy(h);
}

static void
expect_refused(struct harness *h, const char *token, const char *device,
               const char *platform, enum an_err err)
{
    static uint64_t conn = 100;

    conn++;
    kit_open(h, conn);
    login_with(h, conn, token, device, platform);
    kit_serve(h);
    kit_error(h, conn, AN_COMMAND_LOGIN, 1, err);
    kit_goodbye(h, conn, err);
    harness_conn(h, AN_KIND_CONN_CLOSED, conn);
}

/* A3, A4 */
static void
test_gate_login_bad_token_refused_and_closed(void **state)
{
    struct harness *h = kit_gate(NULL);
    char *good = token_of(h, "alice"), *old = NULL;
    struct an_token_key other = {.id = "k2"}, forged = kit_keys.key[0];
    char *foreign = NULL, *wrong = NULL;

    (void)state;
    assert_int_equal(an_token_mint(&old, &kit_keys.key[0], AN_APP_DEFAULT, "alice",
                                   harness_now(h).wall_ms - 100000, 1000),
                     AN_OK);
    assert_int_equal(an_token_mint(&foreign, &other, AN_APP_DEFAULT, "alice",
                                   harness_now(h).wall_ms, 1000),
                     AN_OK);
    forged.secret[5] = 9;
    assert_int_equal(an_token_mint(&wrong, &forged, AN_APP_DEFAULT, "alice",
                                   harness_now(h).wall_ms, 1000),
                     AN_OK);
    expect_refused(h, "", "phone", "", AN_ERR_TOKEN_INVALID);
    expect_refused(h, "a.b.c", "phone", "", AN_ERR_TOKEN_INVALID);
    expect_refused(h, old, "phone", "", AN_ERR_TOKEN_EXPIRED);
    expect_refused(h, foreign, "phone", "", AN_ERR_TOKEN_KEY);
    expect_refused(h, wrong, "phone", "", AN_ERR_TOKEN_INVALID);
    expect_refused(h, good, "", "", AN_ERR_DEVICE_NAME);
    expect_refused(h, good, "my phone", "", AN_ERR_DEVICE_NAME);
    expect_refused(h, good, "phone", "amiga", AN_ERR_ARGUMENT);
    assert_int_equal(harness_metric(h, "logins_total"), 0);
    assert_int_equal(harness_metric(h, "logins_failed_total"), 8);
    assert_int_equal(harness_metric(h, "names_asked_total"), 0); /* nobody was asked */
    free(good);
    free(old);
    free(foreign);
    free(wrong);
    harness_destroy(h);
}

static void
test_gate_login_platforms_known(void **state)
{
    static const char *const platforms[] = {"ios",   "android", "windows", "mac",
                                            "linux", "web",     "api"};
    struct harness *h = kit_gate(NULL);
    char *token = token_of(h, "alice");

    (void)state;
    for (uint64_t i = 0; i < 7; i++) {
        kit_open(h, 10 + i);
        login_with(h, 10 + i, token, platforms[i], platforms[i]);
        kit_serve(h);
        kit_frame(h, 10 + i, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
                  &anser__client__login_ok__descriptor);
    }
    free(token);
    harness_destroy(h);
}

static void
test_gate_login_unknown_user_refused(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "nobody", "phone", false);
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_LOGIN, 1, AN_ERR_USER_NOT_FOUND);
    kit_goodbye(h, 10, AN_ERR_USER_NOT_FOUND);
    /* Not remembered: the account may be made now. */
    kit_open(h, 11);
    kit_login_send(h, 11, "nobody", "phone", false);
    kit_serve(h);
    kit_error(h, 11, AN_COMMAND_LOGIN, 1, AN_ERR_USER_NOT_FOUND);
    assert_int_equal(harness_metric(h, "names_asked_total"), 2);
    assert_int_equal(harness_metric(h, "names"), 0);
    harness_destroy(h);
}

/* A3: any command before login gets an error and a close. */
static void
test_gate_command_before_login_refused_and_closed(void **state)
{
    static const uint16_t commands[] = {
        AN_COMMAND_LOGOUT, AN_COMMAND_HEARTBEAT, AN_COMMAND_SEND,    AN_COMMAND_CONFIRM,
        AN_COMMAND_SYNC,   AN_COMMAND_HISTORY,   AN_COMMAND_GOODBYE, 999};
    struct harness *h = kit_gate(NULL);
    Anser__Client__Heartbeat empty = ANSER__CLIENT__HEARTBEAT__INIT;

    (void)state;
    for (uint64_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        kit_open(h, 10 + i);
        harness_conn_frame(h, 10 + i, commands[i], 3, &empty.base);
        kit_error(h, 10 + i, commands[i], 3, AN_ERR_LOGIN_REQUIRED);
        kit_goodbye(h, 10 + i, AN_ERR_LOGIN_REQUIRED);
        harness_conn_frame(h, 10 + i, AN_COMMAND_LOGIN, 4, &empty.base);
        kit_no_frame(h, 10 + i); /* what came behind is not looked at */
    }
    harness_destroy(h);
}

/* A client may send on without waiting for LoginOk. */
static void
test_gate_commands_behind_a_login_wait_for_its_end(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    for (unsigned i = 2; i < 100; i++) {
        kit_send(h, 10, i, "bob", i, "hi");
    }
    kit_no_frame(h, 10);
    kit_serve(h);
    kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    ask = kit_submit(h);
    assert_non_null(ask);
    assert_int_equal(((const Anser__Bus__Submit *)harness_body(ask))->n_commands, 98);
    kit_submitted(h, ask, AN_OK);
    for (unsigned i = 2; i < 100; i++) { /* in their order */
        kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, i,
                  &anser__client__send_ok__descriptor);
    }
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

static void
test_gate_commands_behind_a_failed_login_refused(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_open(h, 10); /* for ever */
    kit_login_send(h, 10, "nobody", "phone", false);
    kit_send(h, 10, 2, "bob", 1, "hi");
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_LOGIN, 1, AN_ERR_USER_NOT_FOUND);
    kit_goodbye(h, 10, AN_ERR_USER_NOT_FOUND);
    kit_open(h, 11); /* for now */
    kit_login_send(h, 11, "alice", "phone", false);
    kit_send(h, 11, 2, "bob", 1, "hi");
    kit_send(h, 11, 3, "bob", 2, "hi");
    harness_drain(h);
    harness_answer(h, harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ), AN_ERR_BUSY,
                   NULL);
    kit_error(h, 11, AN_COMMAND_LOGIN, 1, AN_ERR_BUSY);
    kit_error(h, 11, AN_COMMAND_SEND, 2, AN_ERR_LOGIN_REQUIRED);
    kit_goodbye(h, 11, AN_ERR_LOGIN_REQUIRED);
    kit_open(h, 12); /* and with too many of them */
    kit_login_send(h, 12, "alice", "phone", false);
    for (unsigned i = 0; i < 256; i++) {
        kit_send(h, 12, i, "bob", i, "hi");
    }
    kit_goodbye(h, 12, AN_ERR_BUSY);
    harness_conn(h, AN_KIND_CONN_CLOSED, 12);
    kit_open(h, 13); /* or with a client that leaves */
    kit_login_send(h, 13, "alice", "phone", false);
    kit_send(h, 13, 2, "bob", 1, "hi");
    harness_conn(h, AN_KIND_CONN_CLOSED, 13);
    kit_serve(h);
    assert_null(kit_submit(h));
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

static void
test_gate_login_twice_refused(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    kit_login_send(h, 10, "bob", "phone", false);
    kit_error(h, 10, AN_COMMAND_LOGIN, 1, AN_ERR_LOGIN_TWICE);
    kit_serve(h);
    kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    kit_login_send(h, 10, "bob", "phone", false);
    kit_error(h, 10, AN_COMMAND_LOGIN, 1, AN_ERR_LOGIN_TWICE);
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    harness_destroy(h);
}

static void
test_gate_login_store_away_may_be_tried_again(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    const Anser__Client__Error *error;

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);
    harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
    error = kit_error(h, 10, AN_COMMAND_LOGIN, 1, AN_ERR_UNAVAILABLE);
    assert_true(error->retry_after_ms > 0);
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    kit_login_send(h, 10, "alice", "phone", false);
    kit_serve(h);
    kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    harness_destroy(h);
}

/* X3: a router that is away keeps nobody out; it hears of all when it is back. */
static void
test_gate_login_goes_on_without_its_router(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    const Anser__Bus__Sessions *sessions;

    (void)state;
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    harness_drain(h);
    harness_answer(
        h, harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ), AN_OK,
        &(Anser__Bus__ReadDone){
            .base = PROTOBUF_C_MESSAGE_INIT(&anser__bus__read_done__descriptor),
            .n_answers = 1,
            .answers = (Anser__Bus__Answer *[]){&(Anser__Bus__Answer){
                .base = PROTOBUF_C_MESSAGE_INIT(&anser__bus__answer__descriptor),
                .user = ALICE,
            }},
        }
             .base);
    kit_serve_reads(h);
    ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    harness_drain(h);
    assert_null(harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS));
    kit_serve(h);
    kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    /* The next ones do not even wait. */
    kit_open(h, 11);
    kit_login_send(h, 11, "alice", "desk", false);
    kit_serve(h);
    kit_frame(h, 11, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    harness_advance(h, 100);
    ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    assert_non_null(ask);
    sessions = harness_body(ask);
    assert_true(sessions->complete);
    assert_int_equal(sessions->n_up, 2);
    assert_int_equal(sessions->up[0]->since_ms, harness_now(h).wall_ms - 100);
    harness_destroy(h);
}

/* A push may overtake the answer with the inbox head, which was read before it. */
static void
test_gate_login_pushed_meanwhile_reads_head_again(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Bus__Deliver deliver = ANSER__BUS__DELIVER__INIT;
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT, *items = &item;
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT, *answers = &answer;
    const struct harness_effect *ask;
    const Anser__Client__LoginOk *ok;
    uint64_t conn = 11;

    (void)state;
    kit_login(h, 10, "alice", "desk"); /* her name is known now */
    kit_open(h, 11);
    kit_login_send(h, 11, "alice", "phone", false);
    kit_serve_reads(h);
    ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    harness_answer(
        h, ask, AN_OK,
        &(Anser__Bus__SessionsDone){
            .base = PROTOBUF_C_MESSAGE_INIT(&anser__bus__sessions_done__descriptor),
            .router_incarnation = KIT_VIEW,
        }
             .base);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ); /* of the head */
    assert_non_null(ask);
    item.conns = &conn;
    item.n_conns = 1;
    item.user = ALICE;
    item.command = AN_COMMAND_EVENT;
    deliver.incarnation = KIT_SEED;
    deliver.items = &items;
    deliver.n_items = 1;
    harness_publish(h, (struct an_addr){AN_ROLE_ROUTER, 0}, AN_KIND_DELIVER,
                    &deliver.base);
    kit_no_frame(h, 11); /* nothing before LoginOk */
    answer.inbox_head = 1;
    done.answers = &answers;
    done.n_answers = 1;
    harness_answer(h, ask, AN_OK, &done.base);
    kit_no_frame(h, 11);
    kit_inbox_head = 2;
    kit_serve(h);
    ok = kit_frame(h, 11, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
                   &anser__client__login_ok__descriptor);
    assert_int_equal(ok->inbox_head, 2);
    harness_destroy(h);
}

static void
test_gate_logout_answers_and_closes(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Client__Logout logout = ANSER__CLIENT__LOGOUT__INIT;
    const Anser__Bus__Sessions *sessions;
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_conn_frame(h, 10, AN_COMMAND_LOGOUT, 7, &logout.base);
    kit_frame(h, 10, AN_COMMAND_LOGOUT, AN_FRAME_ANSWER, 7,
              &anser__client__logout_ok__descriptor);
    assert_non_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    assert_non_null(ask);
    sessions = harness_body(ask);
    assert_int_equal(sessions->n_down, 1);
    assert_int_equal(sessions->down[0]->user, ALICE);
    assert_int_equal(sessions->down[0]->conn, 10);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    assert_int_equal(harness_metric(h, "conns"), 0);
    harness_destroy(h);
}

static void
test_gate_login_events_only_while_watched(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *event;

    (void)state;
    kit_login(h, 9, "bob", "phone");
    assert_null(harness_take_event(h, "session.login"));
    harness_watch(h, true);
    kit_login(h, 10, "alice", "phone");
    event = harness_take_event(h, "session.login");
    assert_non_null(event);
    assert_string_equal(event->text,
                        "session.login {\"user\":\"alice\",\"device\":\"phone\","
                        "\"app\":\"default\",\"platform\":\"api\",\"gate\":0,"
                        "\"conn\":\"10\",\"send_only\":false}");
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    event = harness_take_event(h, "session.closed");
    assert_non_null(event);
    assert_string_equal(event->text,
                        "session.closed {\"user\":\"alice\",\"device\":\"phone\","
                        "\"gate\":0,\"conn\":\"10\",\"why\":\"CONNECTION\"}");
    kit_open(h, 11);
    login_with(h, 11, "x", "phone", "");
    assert_non_null(harness_take_event(h, "error.login"));
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_login_passes_store_router_store),
        cmocka_unit_test(test_gate_login_send_only_not_announced),
        cmocka_unit_test(test_gate_login_bad_token_refused_and_closed),
        cmocka_unit_test(test_gate_login_platforms_known),
        cmocka_unit_test(test_gate_login_unknown_user_refused),
        cmocka_unit_test(test_gate_command_before_login_refused_and_closed),
        cmocka_unit_test(test_gate_commands_behind_a_login_wait_for_its_end),
        cmocka_unit_test(test_gate_commands_behind_a_failed_login_refused),
        cmocka_unit_test(test_gate_login_twice_refused),
        cmocka_unit_test(test_gate_login_store_away_may_be_tried_again),
        cmocka_unit_test(test_gate_login_goes_on_without_its_router),
        cmocka_unit_test(test_gate_login_pushed_meanwhile_reads_head_again),
        cmocka_unit_test(test_gate_logout_answers_and_closes),
        cmocka_unit_test(test_gate_login_events_only_while_watched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
