/* What the gate tells routers, and what it does with their deliveries. */
#include "tests/actors/gate_kit.h"

static const struct an_addr router = {AN_ROLE_ROUTER, 0};

static const Anser__Bus__Sessions *
sessions_of(const struct harness_effect *ask)
{
    assert_non_null(ask);
    return harness_body(ask);
}

static const struct harness_effect *
announced(struct harness *h)
{
    return harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
}

static void
told(struct harness *h, const struct harness_effect *ask, uint64_t view)
{
    Anser__Bus__SessionsDone done = ANSER__BUS__SESSIONS_DONE__INIT;

    done.router_incarnation = view;
    harness_answer(h, ask, AN_OK, &done.base);
}

static void
deliver_full(struct harness *h, uint64_t incarnation, uint64_t conn, uint64_t user,
             uint32_t command, uint32_t close_err)
{
    Anser__Bus__Deliver batch = ANSER__BUS__DELIVER__INIT;
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT, *items = &item;

    item.conns = &conn;
    item.n_conns = 1;
    item.user = user;
    item.command = command;
    item.body = TEXT("packed");
    item.close_err = close_err;
    batch.incarnation = incarnation;
    batch.items = &items;
    batch.n_items = 1;
    harness_publish(h, router, AN_KIND_DELIVER, &batch.base);
}

static void
test_gate_deliveries_become_frames(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *frame;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    deliver_full(h, KIT_SEED, 10, ALICE, AN_COMMAND_EVENT, 0);
    frame = harness_take_frame(h, 10);
    assert_int_equal(frame->frame.command, AN_COMMAND_EVENT);
    assert_int_equal(frame->frame.flags, 0);
    assert_int_equal(frame->frame.request, 0);
    assert_int_equal(frame->frame.body_len, 6);
    assert_memory_equal(frame->bytes + AN_FRAME_HEADER_LEN, "packed", 6);
    deliver_full(h, KIT_SEED, 10, ALICE, AN_COMMAND_RECEIPT, 0);
    assert_int_equal(harness_take_frame(h, 10)->frame.command, AN_COMMAND_RECEIPT);
    harness_destroy(h);
}

/* X6: a route to a connection that is gone is taken back. */
static void
test_gate_stale_route_is_taken_back(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    deliver_full(h, KIT_SEED, 99, BOB, AN_COMMAND_EVENT, 0);
    harness_drain(h);
    ask = announced(h);
    assert_non_null(ask);
    assert_int_equal(sessions_of(ask)->n_down, 1);
    assert_int_equal(sessions_of(ask)->down[0]->user, BOB);
    assert_int_equal(sessions_of(ask)->down[0]->conn, 99);
    assert_false(sessions_of(ask)->complete);
    told(h, ask, KIT_VIEW);
    harness_destroy(h);
}

/* X4: a push names gate incarnation, connection and user. */
static void
test_gate_foreign_deliveries_dropped(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_open(h, 11);
    deliver_full(h, KIT_SEED + 1, 10, ALICE, AN_COMMAND_EVENT, 0); /* earlier life */
    deliver_full(h, KIT_SEED, 10, BOB, AN_COMMAND_EVENT, 0);
    deliver_full(h, KIT_SEED, 99, ALICE, AN_COMMAND_EVENT, 0);
    deliver_full(h, KIT_SEED, 11, ALICE, AN_COMMAND_EVENT, 0); /* not logged in */
    deliver_full(h, KIT_SEED, 10, BOB, 0, AN_ERR_REPLACED);
    deliver_full(h, KIT_SEED, 10, ALICE, AN_COMMAND_SEND, 0); /* no push */
    deliver_full(h, KIT_SEED, 10, ALICE, AN_COMMAND_GOODBYE, 0);
    kit_no_frame(h, 10);
    kit_no_frame(h, 11);
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    assert_int_equal(harness_metric(h, "deliver_stale_total"), 5);
    harness_destroy(h);
}

static void
test_gate_replaced_says_goodbye(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    deliver_full(h, KIT_SEED, 10, ALICE, 0, AN_ERR_REPLACED);
    kit_goodbye(h, 10, AN_ERR_REPLACED);
    deliver_full(h, KIT_SEED, 10, ALICE, AN_COMMAND_EVENT, 0);
    kit_no_frame(h, 10);
    harness_destroy(h);
}

static void
test_gate_announcements_one_at_a_time(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *first, *second;

    (void)state;
    kit_login(h, 9, "alice", "tv");
    harness_conn(h, AN_KIND_CONN_CLOSED, 9);
    harness_drain(h);
    first = announced(h);
    assert_int_equal(sessions_of(first)->n_down, 1);
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    kit_open(h, 11);
    kit_login_send(h, 11, "alice", "desk", false);
    kit_serve_reads(h);
    assert_null(announced(h));
    told(h, first, KIT_VIEW);
    harness_drain(h);
    second = announced(h);
    assert_int_equal(sessions_of(second)->n_up, 2);
    assert_int_equal(sessions_of(second)->n_down, 0);
    told(h, second, KIT_VIEW);
    kit_serve(h);
    kit_frame(h, 10, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    kit_frame(h, 11, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    harness_destroy(h);
}

static void
test_gate_x4_new_router_view_announces_all(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_open(h, 11);
    kit_login_send(h, 11, "alice", "desk", false);
    kit_open(h, 12); /* never logs in: nobody's business */
    kit_serve_reads(h);
    ask = announced(h);
    assert_int_equal(sessions_of(ask)->n_up, 1);
    told(h, ask, KIT_VIEW + 1); /* it has forgotten all, and took nothing */
    harness_drain(h);
    kit_no_frame(h, 11);
    ask = announced(h);
    assert_true(sessions_of(ask)->complete);
    assert_int_equal(sessions_of(ask)->n_up, 2);
    assert_int_equal(sessions_of(ask)->router_incarnation, KIT_VIEW + 1);
    told(h, ask, KIT_VIEW + 1);
    kit_serve(h);
    kit_frame(h, 11, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
    harness_advance(h, 100);
    assert_null(announced(h)); /* and that was that */
    harness_destroy(h);
}

static void
test_gate_x4_router_away_announces_all_when_back(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    unsigned tries = 0;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "alice", "desk");
    harness_conn(h, AN_KIND_CONN_CLOSED, 11);
    harness_drain(h);
    harness_answer(h, announced(h), AN_ERR_UNAVAILABLE, NULL);
    for (unsigned i = 0; i < 50; i++) {
        harness_advance(h, 100);
        if ((ask = announced(h)) != NULL) {
            harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
            tries++;
        }
    }
    assert_in_range(tries, 5, 15); /* after pauses that grow to a second */
    harness_advance(h, 1000);
    ask = announced(h);
    assert_true(sessions_of(ask)->complete);
    assert_int_equal(sessions_of(ask)->n_up, 1);
    assert_int_equal(sessions_of(ask)->up[0]->conn, 10);
    harness_destroy(h);
}

static void
test_gate_gives_a_sign_of_life_each_heartbeat(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    unsigned signs = 0;

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        harness_advance(h, 1000);
        if ((ask = announced(h)) != NULL) {
            assert_false(sessions_of(ask)->complete);
            assert_int_equal(sessions_of(ask)->n_up, 0);
            told(h, ask, KIT_VIEW);
            signs++;
        }
    }
    assert_in_range(signs, 18, 24);
    harness_destroy(h);
}

static void
test_gate_closed_while_announced_goes_down_after(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 9, "alice", "tv"); /* her name is known */
    kit_open(h, 10);
    kit_login_send(h, 10, "alice", "phone", false);
    kit_serve_reads(h);
    ask = announced(h);
    assert_int_equal(sessions_of(ask)->n_up, 1);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    harness_drain(h);
    told(h, ask, KIT_VIEW);
    harness_drain(h);
    ask = announced(h);
    assert_int_equal(sessions_of(ask)->n_down, 1);
    assert_int_equal(sessions_of(ask)->down[0]->conn, 10);
    told(h, ask, KIT_VIEW);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

static void
test_gate_many_ends_announce_all_instead(void **state)
{
    enum { COUNT = 4200 };
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    char device[16];

    (void)state;
    kit_login(h, 9, "alice", "tv");
    for (uint64_t i = 0; i < COUNT; i++) {
        snprintf(device, sizeof(device), "d%u", (unsigned)i);
        kit_open(h, 100 + i);
        kit_login_send(h, 100 + i, "alice", device, false);
        if (i % 500 == 0) {
            kit_serve(h);
            harness_forget(h);
        }
    }
    kit_serve(h);
    harness_conn(h, AN_KIND_CONN_CLOSED, 100);
    harness_drain(h);
    ask = announced(h); /* under way while all the others end */
    for (uint64_t i = 1; i < COUNT; i++) {
        harness_conn(h, AN_KIND_CONN_CLOSED, 100 + i);
    }
    told(h, ask, KIT_VIEW);
    harness_drain(h);
    ask = announced(h);
    assert_true(sessions_of(ask)->complete);
    assert_int_equal(sessions_of(ask)->n_up, 1);
    assert_int_equal(sessions_of(ask)->n_down, 0);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_deliveries_become_frames),
        cmocka_unit_test(test_gate_foreign_deliveries_dropped),
        cmocka_unit_test(test_gate_stale_route_is_taken_back),
        cmocka_unit_test(test_gate_replaced_says_goodbye),
        cmocka_unit_test(test_gate_announcements_one_at_a_time),
        cmocka_unit_test(test_gate_x4_new_router_view_announces_all),
        cmocka_unit_test(test_gate_x4_router_away_announces_all_when_back),
        cmocka_unit_test(test_gate_gives_a_sign_of_life_each_heartbeat),
        cmocka_unit_test(test_gate_closed_while_announced_goes_down_after),
        cmocka_unit_test(test_gate_many_ends_announce_all_instead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
