/* When a gate lets clients in, and how it sends them away. */
#include "tests/actors/gate_kit.h"

/* Two routers, sequencers and stores; nothing has answered. */
static struct harness *
gate_of_two(void)
{
    struct gate_cfg cfg = {.topology = &kit_topology};

    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_ROUTER] = 2;
    kit_topology.count[AN_ROLE_SEQUENCER] = 2;
    kit_topology.count[AN_ROLE_STORE] = 2;
    return kit_gate_raw(&cfg);
}

static void
refuse(struct harness *h, enum an_role role, enum an_kind kind, enum an_err err)
{
    const struct harness_effect *ask = harness_take_ask(h, role, kind);

    assert_non_null(ask);
    harness_answer(h, ask, err, NULL);
    harness_drain(h);
}

/* A router takes the gate's sessions; heard: what it publishes arrives. */
static void
router_answers(struct harness *h, bool heard)
{
    const struct harness_effect *ask =
        harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    Anser__Bus__SessionsDone done = ANSER__BUS__SESSIONS_DONE__INIT;
    Anser__Bus__Deliver sign = ANSER__BUS__DELIVER__INIT;
    const Anser__Bus__Sessions *sessions;

    assert_non_null(ask);
    sessions = harness_body(ask);
    assert_true(sessions->deaf);
    if (heard) {
        sign.incarnation = sessions->incarnation;
        harness_publish(h, ask->e.to, AN_KIND_DELIVER, &sign.base);
    }
    done.router_incarnation = KIT_VIEW;
    harness_answer(h, ask, AN_OK, &done.base);
    harness_drain(h);
}

static bool
lets_in(struct harness *h)
{
    static uint64_t conn = 100;

    harness_drain(h);
    kit_open(h, ++conn);
    if (harness_take_frame(h, conn) == NULL) {
        return true;
    }
    assert_non_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    return false;
}

/* L7: nodes start in any order; a gate refuses clients until it can serve them. */
static void
test_gate_joins_when_one_of_each_has_answered(void **state)
{
    struct harness *h = gate_of_two();
    Anser__Bus__ReadDone read = ANSER__BUS__READ_DONE__INIT;

    (void)state;
    kit_open(h, 9);
    kit_goodbye(h, 9, AN_ERR_UNAVAILABLE);
    /* Nobody is there at first, and we keep asking. */
    for (unsigned i = 0; i < 2; i++) {
        refuse(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT, AN_ERR_UNAVAILABLE);
        refuse(h, AN_ROLE_STORE, AN_KIND_READ, AN_ERR_TIMEOUT);
    }
    assert_false(lets_in(h));
    harness_advance(h, 500);
    refuse(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT, AN_ERR_ARGUMENT);
    refuse(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT, AN_ERR_UNAVAILABLE);
    harness_answer(h, harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ), AN_OK,
                   &read.base);
    refuse(h, AN_ROLE_STORE, AN_KIND_READ, AN_ERR_UNAVAILABLE);
    assert_false(lets_in(h)); /* no router yet */
    router_answers(h, true);
    assert_false(lets_in(h)); /* not the other one */
    assert_null(harness_take(h, AN_EFFECT_READY));
    router_answers(h, true);
    assert_true(lets_in(h));
    assert_non_null(harness_take(h, AN_EFFECT_READY));
    harness_advance(h, 1000);
    assert_null(harness_take(h, AN_EFFECT_READY));
    assert_null(harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT));
    harness_destroy(h);
}

/* One of two routers is away for good: after a heartbeat the others serve. */
static void
test_gate_joins_without_a_dead_router_after_a_heartbeat(void **state)
{
    struct harness *h = gate_of_two();

    (void)state;
    kit_join(h);
    kit_join(h);
    router_answers(h, true);
    refuse(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS, AN_ERR_UNAVAILABLE);
    refuse(h, AN_ROLE_STORE, AN_KIND_READ, AN_ERR_BUSY); /* alive enough to refuse */
    assert_false(lets_in(h));
    harness_advance(h, AN_HEARTBEAT_MS);
    assert_true(lets_in(h));
    harness_destroy(h);
}

/* P5 is one heartbeat; a client let in before the pushes find their way would wait it out
 * at every start. */
static void
test_gate_joins_when_it_hears_what_routers_publish(void **state)
{
    struct harness *h = gate_of_two();

    (void)state;
    kit_join(h);
    kit_join(h);
    refuse(h, AN_ROLE_STORE, AN_KIND_READ, AN_ERR_BUSY);
    router_answers(h, true);
    router_answers(h, false); /* the way for its hints is not there yet */
    assert_false(lets_in(h));
    harness_advance(h, 500);
    router_answers(h, true);
    assert_true(lets_in(h));
    harness_destroy(h);
}

static void
test_gate_does_not_join_without_any_router(void **state)
{
    struct harness *h = gate_of_two();

    (void)state;
    kit_join(h);
    refuse(h, AN_ROLE_STORE, AN_KIND_READ, AN_ERR_BUSY);
    refuse(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS, AN_ERR_UNAVAILABLE);
    harness_advance(h, 10 * AN_HEARTBEAT_MS);
    assert_false(lets_in(h));
    assert_non_null(harness_take(h, AN_EFFECT_LOG)); /* says for whom it waits */
    harness_destroy(h);
}

/* ------------------------------------------------------------------ leaving */

/* How many of these connections have been told to go, and why. */
static size_t
goodbyes(struct harness *h, uint64_t first, size_t count, enum an_err err)
{
    size_t told = 0;

    for (uint64_t conn = first; conn < first + count; conn++) {
        const struct harness_effect *frame = harness_take_frame(h, conn);
        const Anser__Client__Goodbye *goodbye;

        if (frame == NULL) {
            continue;
        }
        assert_int_equal(frame->frame.command, AN_COMMAND_GOODBYE);
        goodbye = harness_frame_body(h, frame, &anser__client__goodbye__descriptor);
        assert_string_equal(an_err_name(goodbye->code), an_err_name(err));
        assert_true(goodbye->retry);
        assert_non_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
        told++;
    }
    return told;
}

/* C13: clients are sent elsewhere evenly within the time, and nobody is let in. */
static void
test_gate_drain_sends_clients_away_evenly(void **state)
{
    enum { CLIENTS = 20 };
    struct harness *h = kit_gate(NULL);
    char device[16];
    const char *json;
    size_t told;

    (void)state;
    for (uint64_t i = 0; i < CLIENTS; i++) {
        snprintf(device, sizeof(device), "d%u", (unsigned)(i % 10));
        kit_login(h, 10 + i, i < 10 ? "alice" : "bob", device);
    }
    kit_open(h, 50); /* not logged in: told at once */
    json = harness_inspect(h, "drain 4000");
    assert_string_equal(json, "{\"draining\":true,\"connections\":20,\"over_ms\":4000}");
    kit_goodbye(h, 50, AN_ERR_DRAINING);
    kit_open(h, 51);
    kit_goodbye(h, 51, AN_ERR_DRAINING);
    assert_int_equal(harness_metric(h, "draining"), 1);
    harness_advance(h, 1000);
    told = goodbyes(h, 10, CLIENTS, AN_ERR_DRAINING);
    assert_in_range(told, 3, 8);
    harness_advance(h, 1000);
    told += goodbyes(h, 10, CLIENTS, AN_ERR_DRAINING);
    assert_in_range(told, 8, 13);
    harness_advance(h, 2100);
    told += goodbyes(h, 10, CLIENTS, AN_ERR_DRAINING);
    assert_int_equal(told, CLIENTS);
    assert_null(harness_take(h, AN_EFFECT_STOPPED)); /* it goes on, empty */
    assert_string_equal(harness_inspect(h, "undrain"),
                        "{\"draining\":false,\"connections\":0,\"over_ms\":0}");
    assert_true(lets_in(h));
    harness_destroy(h);
}

/* What was sent is answered before the Goodbye; what comes then is sent elsewhere. */
static void
test_gate_drain_answers_what_is_under_way(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *one, *two;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 7, "bob", 1, "a");
    kit_serve(h);
    one = kit_submit(h);
    kit_send(h, 10, 8, "carol", 2, "b");
    assert_non_null(harness_inspect(h, "drain 100"));
    harness_advance(h, 300);
    kit_no_frame(h, 10);
    kit_send(h, 10, 9, "bob", 3, "c");
    kit_error(h, 10, AN_COMMAND_SEND, 9, AN_ERR_DRAINING);
    kit_submitted(h, one, AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 7,
              &anser__client__send_ok__descriptor);
    kit_serve(h);
    two = kit_submit(h);
    kit_no_frame(h, 10);
    kit_submitted(h, two, AN_ERR_ID_CONFLICT); /* a refusal is an answer too */
    kit_error(h, 10, AN_COMMAND_SEND, 8, AN_ERR_ID_CONFLICT);
    kit_goodbye(h, 10, AN_ERR_DRAINING);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    harness_drain(h);
    assert_int_equal(harness_metric(h, "requests"), 0);
    assert_int_equal(harness_metric(h, "conns"), 0);
    harness_destroy(h);
}

/* A sequencer that never answers does not keep the clients here. */
static void
test_gate_drain_waits_so_long_for_answers(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 7, "bob", 1, "a");
    kit_serve(h);
    assert_non_null(kit_submit(h));
    assert_non_null(harness_inspect(h, "drain 100"));
    harness_advance(h, AN_GATE_GRACE_MS);
    kit_no_frame(h, 10);
    harness_advance(h, 300);
    kit_goodbye(h, 10, AN_ERR_DRAINING);
    harness_destroy(h);
}

static void
test_gate_drain_words_judged(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    assert_null(harness_inspect(h, "drain 0"));
    assert_null(harness_inspect(h, "drain x"));
    assert_null(harness_inspect(h, "drain 5 5"));
    assert_null(harness_inspect(h, "drain 99999999999"));
    assert_null(harness_inspect(h, "undrain 5"));
    assert_null(harness_inspect(h, "dra"));
    assert_int_equal(harness_metric(h, "draining"), 0);
    assert_non_null(strstr(harness_inspect(h, "help"), "undrain"));
    assert_string_equal(harness_inspect(h, "drain"),
                        "{\"draining\":true,\"connections\":0,\"over_ms\":10000}");
    harness_stop(h);
    assert_null(harness_inspect(h, "drain"));
    harness_destroy(h);
}

/* Nobody who does not close his end holds the stop, but he has time to read. */
static void
test_gate_stop_does_not_wait_for_clients(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_stop(h);
    harness_drain(h);
    kit_goodbye(h, 10, AN_ERR_SHUTTING_DOWN);
    assert_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_advance(h, AN_GATE_LINGER_MS + 200);
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_conn(h, AN_KIND_CONN_CLOSED, 10); /* later, from the door */
    harness_advance(h, 1000);
    assert_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_destroy(h);
}

static void
test_gate_stop_answers_what_is_under_way(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 7, "bob", 1, "a");
    kit_serve(h);
    ask = kit_submit(h);
    harness_stop(h);
    harness_advance(h, 1000);
    kit_no_frame(h, 10);
    assert_null(harness_take(h, AN_EFFECT_STOPPED));
    kit_submitted(h, ask, AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 7,
              &anser__client__send_ok__descriptor);
    kit_goodbye(h, 10, AN_ERR_SHUTTING_DOWN);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    harness_drain(h);
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_destroy(h);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_joins_when_one_of_each_has_answered),
        cmocka_unit_test(test_gate_joins_when_it_hears_what_routers_publish),
        cmocka_unit_test(test_gate_joins_without_a_dead_router_after_a_heartbeat),
        cmocka_unit_test(test_gate_does_not_join_without_any_router),
        cmocka_unit_test(test_gate_drain_sends_clients_away_evenly),
        cmocka_unit_test(test_gate_drain_answers_what_is_under_way),
        cmocka_unit_test(test_gate_drain_waits_so_long_for_answers),
        cmocka_unit_test(test_gate_drain_words_judged),
        cmocka_unit_test(test_gate_stop_does_not_wait_for_clients),
        cmocka_unit_test(test_gate_stop_answers_what_is_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
