/* Stopping with a standby, and being one; blocked stores. */
#include "core/slot.h"
#include "tests/actors/seq_pair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
stop(struct rig *rig)
{
    harness_stop(rig->h);
    harness_drain(rig->h);
}

static bool
stopped(struct rig *rig)
{
    return harness_take(rig->h, AN_EFFECT_STOPPED) != NULL;
}

/* The standby says: all claimed. */
static void
accept(struct rig *rig, const struct harness_effect *ask)
{
    static Anser__Bus__SlotState states[AN_SLOTS];
    static Anser__Bus__SlotState *list[AN_SLOTS];
    const Anser__Bus__Handover *in = harness_body(ask);
    Anser__Bus__HandedOver done = ANSER__BUS__HANDED_OVER__INIT;

    for (size_t i = 0; i < in->n_slots; i++) {
        anser__bus__slot_state__init(&states[i]);
        states[i].slot = in->slots[i];
        states[i].holding = ANSER__BUS__HOLDING__HOLDING_OWNED;
        list[i] = &states[i];
    }
    done.slots = list;
    done.n_slots = in->n_slots;
    harness_answer(rig->h, ask, AN_OK, &done.base);
    harness_drain(rig->h);
}

/* ------------------------------------------------------------------ giving away */

static void
test_sequencer_stop_finishes_then_gives_its_slots_to_the_standby(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    const Anser__Bus__Handover *handover;
    uint64_t flying, late, later;
    uint64_t peer = pair_user(false, 0);

    (void)state;
    pair_begin();
    pair_ready(&rig);
    flying = pair_send(&rig, peer, 1);
    rig_pump_but_appends(&rig);
    stop(&rig);
    late = pair_send(&rig, peer, 2);
    assert_false(rig_answered(&rig, late)); /* the standby would not have it yet */
    assert_null(pair_take(&rig, AN_KIND_HANDOVER));
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, flying, 0)->seq, 1);
    ask = pair_take(&rig, AN_KIND_HANDOVER);
    handover = harness_body(ask);
    assert_int_equal(ask->e.to.index, 1);
    assert_int_equal(handover->n_slots, PAIR_HALF);
    assert_int_equal(pair_err(&rig, late), AN_ERR_MOVED);
    assert_int_equal(rig_result(&rig, late, 0)->owner, 1);
    later = pair_send(&rig, peer, 3);
    assert_int_equal(pair_err(&rig, later), AN_ERR_MOVED);
    later = pair_send(&rig, pair_user(true, 0), 4); /* never was ours */
    assert_int_equal(pair_err(&rig, later), AN_ERR_SHUTTING_DOWN);
    assert_false(stopped(&rig));
    accept(&rig, ask);
    assert_true(stopped(&rig));
    assert_int_equal(harness_metric(rig.h, "handovers_total"), PAIR_HALF);
    assert_int_equal(rig_stored(&rig, 1, peer), 1);
    rig_fini(&rig);
}

static void
stop_with_standby(enum an_err err)
{
    struct rig rig;
    const struct harness_effect *ask;

    pair_begin();
    pair_ready(&rig);
    stop(&rig);
    ask = pair_take(&rig, AN_KIND_HANDOVER);
    assert_non_null(ask);
    assert_true(ask->e.budget_ms <= AN_HANDOVER_MS);
    assert_false(stopped(&rig));
    pair_fail(&rig, ask, err);
    assert_true(stopped(&rig));
    assert_int_equal(harness_metric(rig.h, "handovers_total"), 0);
    rig_fini(&rig);
}

static void
test_sequencer_stop_does_not_wait_for_a_standby_that_is_gone_or_slow(void **state)
{
    (void)state;
    stop_with_standby(AN_ERR_UNAVAILABLE);
    stop_with_standby(AN_ERR_TIMEOUT);
}

static void
test_sequencer_stop_without_a_standby_refuses_and_stops(void **state)
{
    struct rig rig;
    uint64_t flying, request;

    (void)state;
    an_topology_single(&pair_topology);
    pair_ready(&rig);
    flying = pair_send(&rig, 2, 1);
    rig_pump_but_appends(&rig);
    stop(&rig);
    request = pair_send(&rig, 2, 2);
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_SHUTTING_DOWN);
    assert_false(stopped(&rig));
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, flying), AN_OK);
    assert_null(pair_take(&rig, AN_KIND_HANDOVER));
    assert_true(stopped(&rig));
    rig_fini(&rig);
}

static void
test_sequencer_stopping_says_left_once_nothing_is_in_flight(void **state)
{
    struct rig rig;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    pair_send(&rig, pair_user(false, 0), 1);
    rig_pump_but_appends(&rig);
    stop(&rig);
    assert_int_equal(pair_probe(&rig, 5)->holding, ANSER__BUS__HOLDING__HOLDING_OWNED);
    rig_pump(&rig);
    assert_int_equal(pair_probe(&rig, 5)->holding, ANSER__BUS__HOLDING__HOLDING_LEFT);
    rig_fini(&rig);
}

/* The store does not answer: those who came since are not kept for ever. */
static void
test_sequencer_stop_that_takes_long_refuses_those_who_wait(void **state)
{
    struct rig rig;
    uint64_t late, after;
    const struct harness_effect *append;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    pair_send(&rig, pair_user(false, 0), 1);
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    stop(&rig);
    late = pair_send(&rig, pair_user(false, 0), 2);
    harness_advance(rig.h, AN_HANDOVER_MS);
    assert_int_equal(pair_err(&rig, late), AN_ERR_SHUTTING_DOWN);
    after = pair_send(&rig, pair_user(false, 0), 3);
    assert_int_equal(harness_reply(rig.h, after)->e.err, AN_ERR_SHUTTING_DOWN);
    rig_answer(&rig, append);
    assert_int_equal(pair_take(&rig, AN_KIND_HANDOVER)->e.budget_ms, 500);
    rig_fini(&rig);
}

static void
test_sequencer_stop_with_an_unknown_outcome_claims_before_it_gives(void **state)
{
    struct rig rig;
    uint64_t request;
    const struct harness_effect *append;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(false, 0), 1);
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    stop(&rig);
    rig_store(&rig, append);
    pair_fail(&rig, append, AN_ERR_TIMEOUT);
    assert_null(pair_take(&rig, AN_KIND_HANDOVER));
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    accept(&rig, pair_take(&rig, AN_KIND_HANDOVER));
    assert_true(stopped(&rig));
    rig_fini(&rig);
}

static void
test_sequencer_stop_while_claiming_waits_for_the_claim(void **state)
{
    struct rig rig;
    uint64_t waiting;

    (void)state;
    pair_begin();
    rig_init(&rig, &pair_cfg);
    waiting = pair_send(&rig, pair_user(false, 0), 1);
    stop(&rig);
    assert_int_equal(pair_err(&rig, waiting), AN_ERR_SHUTTING_DOWN);
    assert_false(stopped(&rig)); /* the claim would fence the standby's */
    pair_fail(&rig, pair_take(&rig, AN_KIND_CLAIM), AN_ERR_TIMEOUT);
    assert_null(pair_take(&rig, AN_KIND_HANDOVER)); /* there is nothing to give */
    assert_true(stopped(&rig));
    harness_advance(rig.h, 60000);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    rig_fini(&rig);
}

static void
test_sequencer_stop_while_probing_refuses_those_parked_once(void **state)
{
    struct rig rig;
    uint64_t parked;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    parked = pair_send(&rig, pair_user(true, 0), 1);
    stop(&rig);
    assert_int_equal(pair_err(&rig, parked), AN_ERR_SHUTTING_DOWN);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    accept(&rig, pair_take(&rig, AN_KIND_HANDOVER));
    assert_true(stopped(&rig));
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ being given */

static uint64_t
give(struct rig *rig, uint32_t first, uint32_t count)
{
    static uint32_t slots[AN_SLOTS];
    Anser__Bus__Handover handover = ANSER__BUS__HANDOVER__INIT;
    uint64_t request;

    for (uint32_t i = 0; i < count; i++) {
        slots[i] = first + i;
    }
    handover.slots = slots;
    handover.n_slots = count;
    request = harness_request(rig->h, (struct an_addr){AN_ROLE_SEQUENCER, 1},
                              AN_KIND_HANDOVER, &handover.base);
    harness_drain(rig->h);
    return request;
}

static const Anser__Bus__HandedOver *
given(struct rig *rig, uint64_t request)
{
    return harness_body(harness_reply(rig->h, request));
}

static void
test_sequencer_given_slots_claims_them_and_then_says_so(void **state)
{
    struct rig rig;
    uint64_t request, copy, send;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = give(&rig, PAIR_HALF, PAIR_HALF);
    copy = give(&rig, PAIR_HALF, PAIR_HALF);
    send = pair_send(&rig, pair_user(true, 0), 1); /* no probe: it waits for the claim */
    assert_null(pair_take(&rig, AN_KIND_PROBE));
    assert_null(harness_reply(rig.h, request));
    rig_pump(&rig);
    assert_int_equal(given(&rig, request)->n_slots, PAIR_HALF);
    for (size_t i = 0; i < PAIR_HALF; i++) {
        assert_int_equal(given(&rig, request)->slots[i]->holding,
                         ANSER__BUS__HOLDING__HOLDING_OWNED);
    }
    assert_int_equal(given(&rig, copy)->slots[0]->holding,
                     ANSER__BUS__HOLDING__HOLDING_OWNED);
    assert_int_equal(rig_result(&rig, send, 0)->seq, 1);
    assert_int_equal(harness_metric(rig.h, "claims_total"), AN_SLOTS);
    rig_fini(&rig);
}

/* The probe's answer comes when the slots are no longer in question. */
static void
test_sequencer_given_slots_while_it_probes_runs_those_parked(void **state)
{
    struct rig rig;
    const struct harness_effect *probe;
    uint64_t parked, request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    parked = pair_send(&rig, pair_user(true, 0), 1);
    probe = pair_take(&rig, AN_KIND_PROBE);
    request = give(&rig, PAIR_HALF, PAIR_HALF);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, parked, 0)->seq, 1);
    assert_non_null(harness_reply(rig.h, request));
    pair_fail(&rig, probe, AN_ERR_TIMEOUT);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), AN_SLOTS);
    rig_fini(&rig);
}

static void
test_sequencer_given_slots_it_cannot_claim_says_so(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = give(&rig, PAIR_HALF, 2);
    pair_fail(&rig, pair_take(&rig, AN_KIND_CLAIM), AN_ERR_UNAVAILABLE);
    assert_int_equal(given(&rig, request)->slots[0]->holding,
                     ANSER__BUS__HOLDING__HOLDING_NONE);
    assert_int_equal(given(&rig, request)->slots[1]->owner, 1);
    rig_fini(&rig);
}

static void
test_sequencer_given_slots_while_it_stops_takes_none(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    pair_send(&rig, pair_user(false, 0), 1);
    rig_pump_but_appends(&rig);
    stop(&rig);
    request = give(&rig, PAIR_HALF, 2);
    assert_int_equal(given(&rig, request)->slots[0]->holding,
                     ANSER__BUS__HOLDING__HOLDING_NONE);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    rig_fini(&rig);
}

static void
test_sequencer_given_slots_it_may_not_have_takes_none(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_topology.count[AN_ROLE_SEQUENCER] = 3;
    pair_topology.slot_standby[PAIR_HALF] = 2;
    pair_ready(&rig);
    request = give(&rig, PAIR_HALF, 1);
    assert_int_equal(given(&rig, request)->slots[0]->holding,
                     ANSER__BUS__HOLDING__HOLDING_NONE);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    rig_fini(&rig);
}

static void
test_sequencer_handovers_beyond_the_bound_are_refused(void **state)
{
    struct rig rig;
    uint64_t request = 0;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    for (int i = 0; i < 17; i++) {
        request = give(&rig, PAIR_HALF, 1);
    }
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_BUSY);
    rig_fini(&rig); /* the others die with it */
}

/* ------------------------------------------------------------------ blocked stores */

static void
test_sequencer_blocked_store_refuses_sends_that_need_it_for_a_while(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;
    Anser__Bus__AppendedSlot slot = ANSER__BUS__APPENDED_SLOT__INIT;
    Anser__Bus__AppendedSlot *list[] = {&slot};
    uint32_t blocked[] = {1, 77};
    uint64_t first, needs, chained, other;

    (void)state;
    an_topology_single(&pair_topology);
    pair_topology.count[AN_ROLE_STORE] = 2;
    pair_topology.slot_store[an_slot_user(2)] = 1; /* the inbox of user 2 */
    pair_ready(&rig);
    first = pair_send(&rig, 2, 1);
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    slot.slot = pair_slot(1, 2);
    slot.err = AN_ERR_UNAVAILABLE;
    done.slots = list;
    done.n_slots = 1;
    done.blocked_stores = blocked;
    done.n_blocked_stores = 2;
    harness_answer(rig.h, append, AN_OK, &done.base);
    harness_drain(rig.h);
    assert_int_equal(pair_err(&rig, first), AN_ERR_UNAVAILABLE);
    needs = pair_send(&rig, 2, 2);
    chained = rig_send(&rig, &(struct rig_send){.recipient = 2, .id = 3, .after = 2});
    other = pair_send(&rig, 3, 4);
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, needs), AN_ERR_UNAVAILABLE);
    assert_true(rig_result(&rig, needs, 0)->retry_after_ms > 0);
    assert_int_equal(pair_err(&rig, chained), AN_ERR_ORDER);
    assert_int_equal(pair_err(&rig, other), AN_OK);
    assert_int_equal(harness_metric(rig.h, "blocked_total"), 1);
    harness_advance(rig.h, AN_BLOCKED_MS);
    needs = pair_send(&rig, 2, 2);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, needs, 0)->seq, 1);
    rig_fini(&rig);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test(test_sequencer_##name)
    const struct CMUnitTest tests[] = {
        TEST(stop_finishes_then_gives_its_slots_to_the_standby),
        TEST(stop_does_not_wait_for_a_standby_that_is_gone_or_slow),
        TEST(stop_without_a_standby_refuses_and_stops),
        TEST(stopping_says_left_once_nothing_is_in_flight),
        TEST(stop_that_takes_long_refuses_those_who_wait),
        TEST(stop_with_an_unknown_outcome_claims_before_it_gives),
        TEST(stop_while_claiming_waits_for_the_claim),
        TEST(stop_while_probing_refuses_those_parked_once),
        TEST(given_slots_claims_them_and_then_says_so),
        TEST(given_slots_while_it_probes_runs_those_parked),
        TEST(given_slots_it_cannot_claim_says_so),
        TEST(given_slots_while_it_stops_takes_none),
        TEST(given_slots_it_may_not_have_takes_none),
        TEST(handovers_beyond_the_bound_are_refused),
        TEST(blocked_store_refuses_sends_that_need_it_for_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
