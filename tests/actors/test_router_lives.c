/* The lives of gates: what they list, what of it comes late, and which of them is gone.
 */
#include "tests/actors/router_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static void
test_router_complete_list_forgets_others(void **state)
{
    struct harness *h = kit_router(2);
    const struct kit_one left[] = {{ALICE, 10, "phone", 0}, {BOB, 13, "phone", 0}};

    (void)state;
    kit_begin(h, 0);
    kit_begin(h, 1);
    for (uint64_t i = 0; i < 200; i++) { /* many, so that probes collide */
        kit_up(h, 0, 1000 + i, 100 + i, "phone");
    }
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 1, ALICE, 11, "desk");
    assert_int_equal(harness_metric(h, "sessions"), 202);
    kit_announce(h, 0, GATE_LIFE, true, left, 2, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 3);
    assert_int_equal(harness_metric(h, "users"), 2);
    harness_destroy(h);
}

/* A copy of an announcement comes behind later ones: it neither takes away who has logged
 * in since, nor brings back who has gone. */
static void
test_router_late_copies_change_nothing(void **state)
{
    struct harness *h = kit_router(1);
    const struct kit_one alice = {ALICE, 10, "phone", 0}, bob = {BOB, 11, "phone", 0};
    uint64_t view;

    (void)state;
    kit_number = 1;
    view = kit_announce(h, 0, GATE_LIFE, true, &alice, 1, NULL, 0);
    kit_up(h, 0, BOB, 11, "phone");
    kit_number = 1;
    assert_int_equal(kit_announce(h, 0, GATE_LIFE, true, &alice, 1, NULL, 0), view);
    assert_int_equal(harness_metric(h, "sessions"), 2);
    kit_number = 3;
    kit_down(h, 0, BOB, 11);
    kit_number = 2;
    assert_int_equal(kit_announce(h, 0, GATE_LIFE, false, &bob, 1, NULL, 0), view);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    kit_number = 1; /* the gate's next life counts anew */
    kit_announce(h, 0, GATE_LIFE + 5, true, &bob, 1, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    kit_number = 0;
    harness_destroy(h);
}

/* The complete list of a gate that died comes behind the first one of its next life, over
 * another connection, and behind alice's login at another gate. */
static void
test_router_late_complete_of_the_dead_changes_nothing(void **state)
{
    struct harness *h = kit_router(2);
    const struct kit_one alice = {ALICE, 10, "phone", 0}, bob = {BOB, 11, "phone", 0};
    uint64_t view;

    (void)state;
    kit_number = 1;
    kit_announce(h, 0, 500, true, &alice, 1, NULL, 0);
    kit_number = 1;
    view = kit_announce(h, 0, 600, true, &bob, 1, NULL, 0);
    kit_number = 1;
    kit_announce(h, 1, 700, true, &alice, 1, NULL, 0);
    kit_number = 2;
    assert_int_equal(kit_announce(h, 0, 500, true, &alice, 1, NULL, 0), view);
    assert_int_equal(harness_metric(h, "sessions"), 2);
    assert_int_equal(harness_metric(h, "replaced_total"), 0);
    kit_number = 0;
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(kit_deliver(h, 0));
    harness_destroy(h);
}

/* Heard the wrong way round, the dead has the place of the living, but not for long. */
static void
test_router_living_gate_gets_its_place_back_from_the_dead(void **state)
{
    struct harness *h = kit_router(1);
    const struct kit_one alice = {ALICE, 10, "phone", 0}, bob = {BOB, 11, "phone", 0};
    uint64_t view;

    (void)state;
    kit_announce(h, 0, 600, true, &bob, 1, NULL, 0);
    view = kit_announce(h, 0, 500, true, &alice, 1, NULL, 0); /* late, from before 600 */
    for (unsigned i = 0; i < AN_GATE_SIGNS; i++) {
        assert_int_equal(harness_metric(h, "users"), i < AN_GATE_SIGNS - 1);
        kit_announce(h, 0, 600, false, NULL, 0, NULL, 0);
        harness_advance(h, AN_HEARTBEAT_MS / AN_GATE_SIGNS);
    }
    assert_int_not_equal(kit_announce(h, 0, 600, false, NULL, 0, NULL, 0), view);
    kit_announce(h, 0, 600, true, &bob, 1, NULL, 0);
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_x4_gate_restarted_old_sessions_gone(void **state)
{
    struct harness *h = kit_router(1);
    uint64_t before, after;

    (void)state;
    before =
        kit_announce(h, 0, 1, true, &(struct kit_one){ALICE, 10, "phone", 0}, 1, NULL, 0);
    after =
        kit_announce(h, 0, 2, true, &(struct kit_one){BOB, 10, "phone", 0}, 1, NULL, 0);
    assert_int_not_equal(before, after);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    /* Late from the dead one: not applied. */
    kit_announce(h, 0, 1, false, &(struct kit_one){ALICE, 10, "phone", 0}, 1, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    assert_int_equal(kit_announce(h, 0, 2, false,
                                  &(struct kit_one){ALICE, 11, "phone", 0}, 1, NULL, 0),
                     after);
    assert_int_equal(harness_metric(h, "sessions"), 2);
    harness_destroy(h);
}

static void
test_router_x4_restarted_gate_asked_for_all(void **state)
{
    struct harness *h = kit_router(1);

    (void)state;
    /* The gate knew an earlier router: its news alone are not applied. */
    assert_int_equal(kit_announce(h, 0, GATE_LIFE, false,
                                  &(struct kit_one){ALICE, 10, "phone", 0}, 1, NULL, 0),
                     42);
    assert_int_equal(harness_metric(h, "sessions"), 0);
    harness_destroy(h);
}

static void
test_router_silent_gate_forgotten(void **state)
{
    struct harness *h = kit_router(1);
    uint64_t view = kit_announce(h, 0, GATE_LIFE, true,
                                 &(struct kit_one){ALICE, 10, "phone", 0}, 1, NULL, 0);

    (void)state;
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    assert_int_equal(kit_announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0), view);
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    assert_int_equal(harness_metric(h, "sessions"), 1); /* a sign of life was enough */
    harness_advance(h, AN_HEARTBEAT_MS / 2);            /* C9: silent for one heartbeat */
    assert_int_equal(harness_metric(h, "sessions"), 0);
    assert_int_equal(harness_metric(h, "gates_forgotten_total"), 1);
    /* Back again, it learns that it must announce all. */
    assert_int_not_equal(kit_announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0), view);
    kit_announce(h, 0, GATE_LIFE, true, &(struct kit_one){ALICE, 10, "phone", 0}, 1, NULL,
                 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_router_complete_list_forgets_others),
        cmocka_unit_test(test_router_late_copies_change_nothing),
        cmocka_unit_test(test_router_late_complete_of_the_dead_changes_nothing),
        cmocka_unit_test(test_router_living_gate_gets_its_place_back_from_the_dead),
        cmocka_unit_test(test_router_x4_gate_restarted_old_sessions_gone),
        cmocka_unit_test(test_router_x4_restarted_gate_asked_for_all),
        cmocka_unit_test(test_router_silent_gate_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
