/* Commands whose sequencer is away, or has the slot no more: whom they are taken to, in
 * which order, and when that ends. */
#include "tests/actors/gate_kit.h"

static void
test_gate_moved_is_followed_in_order(void **state)
{
    struct gate_cfg cfg = {.topology = &kit_topology};
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result moved = ANSER__BUS__RESULT__INIT, *rows[1] = {&moved};
    const struct harness_effect *ask;
    struct harness *h;

    (void)state;
    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_SEQUENCER] = 2;
    h = kit_gate(&cfg);
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    ask = kit_submit(h);
    assert_int_equal(ask->e.to.index, 0);
    kit_send(h, 10, 2, "bob", 2, "b");
    kit_send(h, 10, 3, "bob", 3, "c");
    harness_drain(h);
    moved.err = AN_ERR_MOVED;
    moved.owner = 1;
    submitted.results = rows;
    submitted.n_results = 1;
    harness_answer(h, ask, AN_OK, &submitted.base);
    harness_drain(h);
    ask = kit_submit(h);
    assert_non_null(ask);
    assert_int_equal(ask->e.to.index, 1);
    assert_int_equal(kit_submit_of(ask)->n_commands, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kit_number(kit_submit_of(ask)->commands[i]), i + 1);
    }
    kit_no_frame(h, 10); /* the client noticed nothing */
    assert_int_equal(harness_metric(h, "moved_total"), 1);
    harness_destroy(h);
}

static void
test_gate_moved_for_ever_is_unavailable(void **state)
{
    struct gate_cfg cfg = {.topology = &kit_topology};
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result moved = ANSER__BUS__RESULT__INIT, *rows[1] = {&moved};
    const struct harness_effect *ask;
    struct harness *h;
    uint32_t owner = 1;
    unsigned hops = 0;

    (void)state;
    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_SEQUENCER] = 2;
    h = kit_gate(&cfg);
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    submitted.results = rows;
    submitted.n_results = 1;
    moved.err = AN_ERR_MOVED;
    while ((ask = kit_submit(h)) != NULL && hops++ < 20) {
        moved.owner = owner;
        owner = 1 - owner;
        harness_answer(h, ask, AN_OK, &submitted.base);
        harness_drain(h);
    }
    assert_in_range(hops, 2, 8);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_UNAVAILABLE);
    harness_destroy(h);
}

/* Sequencer 0 has every slot, 1 is its standby. */
static struct harness *
gate_with_standby(void)
{
    struct gate_cfg cfg = {.topology = &kit_topology};

    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_SEQUENCER] = 2;
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        kit_topology.slot_standby[slot] = 1;
    }
    return kit_gate(&cfg);
}

/* The next SUBMIT goes to this sequencer and holds just these messages, in order. */
static const struct harness_effect *
submit_to(struct harness *h, uint16_t sequencer, unsigned first, unsigned count)
{
    const struct harness_effect *ask = kit_submit(h);

    assert_non_null(ask);
    assert_int_equal(ask->e.to.index, sequencer);
    assert_int_equal(kit_submit_of(ask)->n_commands, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(kit_number(kit_submit_of(ask)->commands[i]), first + i);
    }
    return ask;
}

/* R9: what an owner that is away has not handled goes to its standby, in order, and the
 * client notices nothing. */
static void
test_gate_owner_away_standby_asked_in_order(void **state)
{
    static const enum an_err errs[] = {AN_ERR_UNAVAILABLE, AN_ERR_SHUTTING_DOWN};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct harness *h = gate_with_standby();
        const struct harness_effect *ask;

        kit_login(h, 10, "alice", "phone");
        kit_send(h, 10, 1, "bob", 1, "a");
        kit_serve(h);
        ask = submit_to(h, 0, 1, 1);
        kit_send(h, 10, 2, "bob", 2, "b");
        kit_send(h, 10, 3, "bob", 3, "c");
        harness_drain(h);
        harness_answer(h, ask, errs[i], NULL);
        harness_drain(h);
        kit_no_frame(h, 10);
        kit_submitted(h, submit_to(h, 1, 1, 3), AN_OK);
        for (uint32_t request = 1; request <= 3; request++) {
            kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, request,
                      &anser__client__send_ok__descriptor);
        }
        kit_no_frame(h, 10);
        /* What comes later, to whomever, goes there too. */
        kit_send(h, 10, 4, "carol", 4, "d");
        kit_serve(h);
        kit_submitted(h, submit_to(h, 1, 4, 1), AN_OK);
        assert_int_equal(harness_metric(h, "requests"), 0);
        harness_destroy(h);
    }
}

/* Two batches under way that fail in the other order still go on in order. */
static void
test_gate_owner_away_two_batches_stay_in_order(void **state)
{
    struct gate_cfg cfg = {.topology = &kit_topology, .submits_flying_max = 2};
    const struct harness_effect *one, *two;
    struct harness *h;

    (void)state;
    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_SEQUENCER] = 2;
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        kit_topology.slot_standby[slot] = 1;
    }
    h = kit_gate(&cfg);
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    one = submit_to(h, 0, 1, 1);
    kit_send(h, 10, 2, "bob", 2, "b");
    harness_drain(h);
    two = submit_to(h, 0, 2, 1);
    kit_send(h, 10, 3, "bob", 3, "c");
    harness_answer(h, two, AN_ERR_UNAVAILABLE, NULL);
    harness_answer(h, one, AN_ERR_UNAVAILABLE, NULL);
    harness_drain(h);
    submit_to(h, 1, 1, 3);
    harness_destroy(h);
}

/* Unknown outcome: the client is told, and its retry finds the standby, which knows
 * whether it was stored. What waited goes there at once. */
static void
test_gate_owner_silent_retry_goes_to_standby(void **state)
{
    struct harness *h = gate_with_standby();
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    ask = submit_to(h, 0, 1, 1);
    kit_send(h, 10, 2, "carol", 2, "b");
    kit_serve(h);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_TIMEOUT);
    harness_drain(h);
    ask = submit_to(h, 1, 2, 1);
    kit_send(h, 10, 3, "bob", 1, "a");
    harness_drain(h);
    kit_submitted(h, ask, AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 2,
              &anser__client__send_ok__descriptor);
    harness_drain(h);
    kit_submitted(h, submit_to(h, 1, 1, 1), AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 3,
              &anser__client__send_ok__descriptor);
    harness_destroy(h);
}

/* The standby found the owner alive: back to it. */
static void
test_gate_owner_back_is_asked_again(void **state)
{
    struct harness *h = gate_with_standby();
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result moved = ANSER__BUS__RESULT__INIT, *rows[1] = {&moved};

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    harness_answer(h, submit_to(h, 0, 1, 1), AN_ERR_UNAVAILABLE, NULL);
    harness_drain(h);
    moved.err = AN_ERR_MOVED;
    moved.owner = 0;
    submitted.results = rows;
    submitted.n_results = 1;
    harness_answer(h, submit_to(h, 1, 1, 1), AN_OK, &submitted.base);
    harness_drain(h);
    kit_submitted(h, submit_to(h, 0, 1, 1), AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 1,
              &anser__client__send_ok__descriptor);
    kit_send(h, 10, 2, "bob", 2, "b");
    harness_drain(h);
    submit_to(h, 0, 2, 1);
    harness_destroy(h);
}

/* Nobody there: told in the end, once, and what follows is refused behind it. */
static void
test_gate_all_candidates_away_is_unavailable(void **state)
{
    struct harness *h = gate_with_standby();
    const struct harness_effect *ask;
    unsigned hops = 0;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    while ((ask = kit_submit(h)) != NULL && hops < 20) {
        assert_int_equal(ask->e.to.index, hops++ % 2);
        harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
        harness_drain(h);
    }
    assert_in_range(hops, 2, 8);
    assert_in_range(
        kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_UNAVAILABLE)->retry_after_ms, 1,
        1000);
    kit_no_frame(h, 10);
    kit_send(h, 10, 2, "bob", 2, "b");
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_ORDER);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

/* A client waits 15 s for an answer: a command that is old is not sent on any more. */
static void
test_gate_old_command_is_not_sent_on(void **state)
{
    struct harness *h = gate_with_standby();
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    ask = submit_to(h, 0, 1, 1);
    harness_advance(h, AN_GATE_FOLLOW_MS);
    harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_UNAVAILABLE);
    harness_drain(h);
    assert_null(kit_submit(h));
    harness_destroy(h);
}

/* A sequencer that lives but cannot serve a slot says so of the slot: the client is told,
 * the next try goes to the other one. A slot of its own that it can serve stays. */
static void
test_gate_owner_cannot_serve_next_try_elsewhere(void **state)
{
    struct harness *h = gate_with_standby();

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    kit_submitted(h, submit_to(h, 0, 1, 1), AN_ERR_UNAVAILABLE);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_UNAVAILABLE);
    kit_send(h, 10, 2, "carol", 2, "b");
    kit_serve(h);
    kit_submitted(h, submit_to(h, 0, 2, 1), AN_OK);
    kit_send(h, 10, 3, "bob", 1, "a");
    harness_drain(h);
    kit_submitted(h, submit_to(h, 1, 1, 1), AN_OK);
    harness_destroy(h);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_moved_is_followed_in_order),
        cmocka_unit_test(test_gate_moved_for_ever_is_unavailable),
        cmocka_unit_test(test_gate_owner_away_standby_asked_in_order),
        cmocka_unit_test(test_gate_owner_away_two_batches_stay_in_order),
        cmocka_unit_test(test_gate_owner_silent_retry_goes_to_standby),
        cmocka_unit_test(test_gate_owner_back_is_asked_again),
        cmocka_unit_test(test_gate_all_candidates_away_is_unavailable),
        cmocka_unit_test(test_gate_old_command_is_not_sent_on),
        cmocka_unit_test(test_gate_owner_cannot_serve_next_try_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
