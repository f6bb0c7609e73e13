/* Slots of another sequencer: probes, taking over, being asked. */
#include "tests/actors/seq_pair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ asking the owner */

static void
take_over_after(enum an_err err)
{
    struct rig rig;
    const struct harness_effect *ask;
    const Anser__Bus__Probe *probe;
    const Anser__Bus__Claim *claim;
    uint64_t a, b, own;

    pair_begin();
    pair_ready(&rig);
    a = pair_send(&rig, pair_user(true, 0), 1);
    b = pair_send(&rig, pair_user(true, 1), 2);
    own = pair_send(&rig, pair_user(false, 0), 3);
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, own), AN_OK); /* others go on */
    ask = pair_take(&rig, AN_KIND_PROBE);
    probe = harness_body(ask);
    assert_int_equal(ask->e.to.index, 1);
    assert_int_equal(probe->n_slots,
                     PAIR_HALF); /* one question for both sends and all slots */
    assert_null(pair_take(&rig, AN_KIND_PROBE));
    assert_false(rig_answered(&rig, a));
    pair_fail(&rig, ask, err);
    ask = pair_take(&rig, AN_KIND_CLAIM);
    claim = harness_body(ask);
    assert_int_equal(claim->n_slots, PAIR_HALF);
    assert_int_equal(claim->n_held, 0);
    assert_false(rig_answered(&rig, a));
    harness_answer(rig.h, ask, AN_ERR_BUSY, NULL); /* the first attempt does not count */
    harness_drain(rig.h);
    assert_int_equal(pair_err(&rig, a), AN_ERR_UNAVAILABLE);
    assert_int_equal(pair_err(&rig, b), AN_ERR_UNAVAILABLE);
    a = pair_send(&rig, pair_user(true, 0), 1);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), err);
    harness_advance(rig.h, 3000);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, a, 0)->seq, 1);
    assert_int_equal(harness_metric(rig.h, "slots_owned"), AN_SLOTS);
    assert_int_equal(harness_metric(rig.h, "takeovers_total"), PAIR_HALF);
    assert_int_equal(harness_metric(rig.h, "probes_total"), 2);
    rig_fini(&rig);
}

static void
test_sequencer_takes_over_all_slots_of_an_owner_that_is_gone(void **state)
{
    (void)state;
    take_over_after(AN_ERR_UNAVAILABLE);
    take_over_after(AN_ERR_TIMEOUT);
    take_over_after(AN_ERR_CONNECTION);
}

static void
test_sequencer_owner_alive_is_named_and_believed_for_a_while(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_answer(&rig, pair_take(&rig, AN_KIND_PROBE), ANSER__BUS__HOLDING__HOLDING_OWNED,
                1);
    assert_true(pair_moved(&rig, request, 1));
    request = pair_send(&rig, pair_user(true, 1), 2);
    assert_null(pair_take(&rig, AN_KIND_PROBE));
    assert_true(pair_moved(&rig, request, 1));
    harness_advance(rig.h, AN_PROBE_FRESH_MS);
    request = pair_send(&rig, pair_user(true, 0), 1);
    assert_false(rig_answered(&rig, request));
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE),
              AN_ERR_BUSY); /* refused: but it is there */
    assert_true(pair_moved(&rig, request, 1));
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    assert_int_equal(harness_metric(rig.h, "moved_total"), 3);
    rig_fini(&rig);
}

static void
test_sequencer_probe_answer_that_leaves_a_slot_out_takes_nothing(void **state)
{
    struct rig rig;
    Anser__Bus__Probed done = ANSER__BUS__PROBED__INIT;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    harness_answer(rig.h, pair_take(&rig, AN_KIND_PROBE), AN_OK, &done.base);
    harness_drain(rig.h);
    assert_true(pair_moved(&rig, request, 1));
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    rig_fini(&rig);
}

static void
test_sequencer_takes_only_the_slots_that_the_owner_left(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    const Anser__Bus__Claim *claim;
    Anser__Bus__Probed done = ANSER__BUS__PROBED__INIT;
    Anser__Bus__SlotState states[2] = {ANSER__BUS__SLOT_STATE__INIT,
                                       ANSER__BUS__SLOT_STATE__INIT};
    Anser__Bus__SlotState *list[] = {&states[0], &states[1]};
    uint64_t left, kept;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    left = pair_send(&rig, pair_user(true, 0), 1);
    kept = pair_send(&rig, pair_user(true, 1), 2);
    states[0].slot = pair_slot(1, pair_user(true, 0));
    states[0].holding = ANSER__BUS__HOLDING__HOLDING_LEFT;
    states[1].slot = pair_slot(1, pair_user(true, 1));
    states[1].holding = ANSER__BUS__HOLDING__HOLDING_OWNED;
    done.slots = list;
    done.n_slots = 2;
    harness_answer(rig.h, pair_take(&rig, AN_KIND_PROBE), AN_OK, &done.base);
    harness_drain(rig.h);
    assert_true(pair_moved(&rig, kept, 1));
    ask = pair_take(&rig, AN_KIND_CLAIM);
    claim = harness_body(ask);
    assert_int_equal(claim->n_slots, 1);
    assert_int_equal(claim->slots[0], states[0].slot);
    pair_fail(&rig, ask, AN_ERR_TIMEOUT);
    assert_int_equal(pair_err(&rig, left), AN_ERR_UNAVAILABLE);
    rig_fini(&rig);
}

static void
test_sequencer_owner_that_believes_it_is_ours_lets_us_take_it(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_answer(&rig, pair_take(&rig, AN_KIND_PROBE), ANSER__BUS__HOLDING__HOLDING_NONE,
                0);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

/* 1 says 2, 2 says 1, 1 says 2: in the end the asker is sent on. */
static void
test_sequencer_follows_owners_that_name_each_other_not_for_ever(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    uint64_t request;
    uint32_t asked = 1;
    int probes = 0;

    (void)state;
    pair_begin();
    pair_topology.count[AN_ROLE_SEQUENCER] = 3;
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    while ((ask = pair_take(&rig, AN_KIND_PROBE)) != NULL) {
        assert_int_equal(ask->e.to.index, asked);
        asked = 3 - asked;
        pair_answer(&rig, ask, ANSER__BUS__HOLDING__HOLDING_NONE, asked);
        probes++;
    }
    assert_int_equal(probes, 3);
    assert_true(pair_moved(&rig, request, 2));
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    rig_fini(&rig);
}

static void
test_sequencer_that_is_no_candidate_answers_moved_at_once(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_topology.count[AN_ROLE_SEQUENCER] = 3;
    pair_topology.slot_standby[pair_slot(1, pair_user(true, 0))] = 2;
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    assert_true(pair_moved(&rig, request, 1));
    assert_null(pair_take(&rig, AN_KIND_PROBE));
    rig_fini(&rig);
}

static void
test_sequencer_take_over_is_one_claim_for_each_store(void **state)
{
    struct rig rig;
    const struct harness_effect *a, *b;

    (void)state;
    pair_begin();
    pair_topology.count[AN_ROLE_STORE] = 2;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot += 2) {
        pair_topology.slot_store[slot] = 1;
    }
    pair_ready(&rig);
    pair_send(&rig, pair_user(true, 0), 1);
    pair_send(&rig, pair_user(true, 1), 2);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    a = pair_take(&rig, AN_KIND_CLAIM);
    b = pair_take(&rig, AN_KIND_CLAIM);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    assert_int_equal(((const Anser__Bus__Claim *)harness_body(a))->n_slots,
                     PAIR_HALF / 2);
    assert_int_equal(((const Anser__Bus__Claim *)harness_body(b))->n_slots,
                     PAIR_HALF / 2);
    assert_int_not_equal(a->e.to.index, b->e.to.index);
    rig_fini(&rig);
}

static void
test_sequencer_parked_sends_keep_their_order(void **state)
{
    struct rig rig;
    uint64_t peer = pair_user(true, 0), requests[3];

    (void)state;
    pair_begin();
    pair_ready(&rig);
    requests[0] = pair_send(&rig, peer, 1);
    for (uint64_t i = 1; i < 3; i++) {
        requests[i] = rig_send(
            &rig, &(struct rig_send){.recipient = peer, .id = i + 1, .after = i});
    }
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    rig_pump(&rig);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rig_result(&rig, requests[i], 0)->seq, i + 1);
    }
    rig_fini(&rig);
}

static void
test_sequencer_parked_sends_count_against_the_bound(void **state)
{
    struct sequencer_cfg small = {.topology = &pair_topology, .pending_bytes_max = 1200};
    struct rig rig;
    uint64_t a, b, c;

    (void)state;
    pair_begin();
    rig_init_ready(&rig, &small);
    a = pair_send(&rig, pair_user(true, 0), 1);
    b = pair_send(&rig, pair_user(true, 0), 2);
    c = pair_send(&rig, pair_user(true, 0), 3);
    assert_int_equal(pair_err(&rig, c), AN_ERR_BUSY);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, a), AN_OK);
    assert_int_equal(pair_err(&rig, b), AN_OK);
    assert_int_equal(harness_metric(rig.h, "pending_bytes"), 0);
    rig_fini(&rig);
}

/* Nobody listens any more; it is answered all the same, and not stored. */
static void
test_sequencer_send_that_expires_while_parked_is_answered_once(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    harness_advance(rig.h, AN_ASK_MS + 1);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, request), AN_ERR_EXPIRED);
    assert_int_equal(rig_stored(&rig, 1, pair_user(true, 0)), 0);
    assert_int_equal(harness_metric(rig.h, "pending"), 0);
    rig_fini(&rig);
}

/* All starts at once, and the connection to the owner is not made yet. */
static void
test_sequencer_that_has_just_started_waits_for_owners_to_be_reached(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    rig_init_ready(&rig, &pair_cfg);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_UNAVAILABLE);
    assert_int_equal(pair_err(&rig, request), AN_ERR_UNAVAILABLE);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_answer(&rig, pair_take(&rig, AN_KIND_PROBE), ANSER__BUS__HOLDING__HOLDING_OWNED,
                1);
    assert_true(pair_moved(&rig, request, 1));
    harness_advance(rig.h, AN_PROBE_FRESH_MS);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_UNAVAILABLE);
    rig_pump(&rig); /* it was there, and is gone */
    assert_int_equal(pair_err(&rig, request), AN_OK);
    rig_fini(&rig);
}

/* The claim that failed may come through later; it is not made again by itself. */
static void
test_sequencer_take_over_that_fails_is_given_up(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    pair_fail(&rig, pair_take(&rig, AN_KIND_CLAIM), AN_ERR_TIMEOUT);
    assert_int_equal(pair_err(&rig, request), AN_ERR_UNAVAILABLE);
    assert_true(rig_result(&rig, request, 0)->retry_after_ms > 0);
    harness_advance(rig.h, 60000);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), PAIR_HALF);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_answer(&rig, pair_take(&rig, AN_KIND_PROBE), ANSER__BUS__HOLDING__HOLDING_OWNED,
                1);
    assert_true(pair_moved(&rig, request, 1));
    rig_fini(&rig);
}

static void
test_sequencer_take_over_that_the_store_refuses_is_given_up(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    Anser__Bus__Claimed done = ANSER__BUS__CLAIMED__INIT;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(true, 0), 1);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_TIMEOUT);
    ask = pair_take(&rig, AN_KIND_CLAIM);
    harness_answer(rig.h, ask, AN_OK, &done.base); /* names none */
    harness_drain(rig.h);
    assert_int_equal(pair_err(&rig, request), AN_ERR_NOT_MINE);
    assert_null(pair_take(&rig, AN_KIND_PROBE));
    harness_advance(rig.h, 60000);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ being asked */

static void
test_sequencer_asked_says_what_it_holds_and_whom_it_believes(void **state)
{
    struct rig rig;
    const Anser__Bus__SlotState *said;

    (void)state;
    pair_begin();
    rig_init(&rig, &pair_cfg); /* its claim is out */
    said = pair_probe(&rig, 5);
    assert_int_equal(said->holding, ANSER__BUS__HOLDING__HOLDING_OWNED);
    harness_advance(rig.h, AN_CLAIM_PATIENCE_MS + 1);
    said = pair_probe(&rig, 5); /* perhaps the asker has more luck */
    assert_int_equal(said->holding, ANSER__BUS__HOLDING__HOLDING_LEFT);
    rig_pump(&rig);
    said = pair_probe(&rig, 5);
    assert_int_equal(said->holding, ANSER__BUS__HOLDING__HOLDING_OWNED);
    said = pair_probe(&rig, PAIR_HALF);
    assert_int_equal(said->holding, ANSER__BUS__HOLDING__HOLDING_NONE);
    assert_int_equal(said->owner, 1);
    rig_fini(&rig);
}

/* Each asks the other about a slot that neither has: one of them is to claim it. */
static void
test_sequencer_probes_that_cross_agree_on_one(void **state)
{
    struct rig rig;
    const struct harness_effect *probe;
    const Anser__Bus__SlotState *said;
    uint64_t lower = pair_user(false, 0), upper = pair_user(true, 0);
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, upper, 1);
    probe = pair_take(&rig, AN_KIND_PROBE);
    said = pair_probe(&rig, pair_slot(1, upper)); /* the topology says 1 */
    assert_int_equal(said->holding, ANSER__BUS__HOLDING__HOLDING_NONE);
    assert_int_equal(said->owner, 1);
    pair_answer(&rig, probe, ANSER__BUS__HOLDING__HOLDING_OWNED, 1);
    assert_true(pair_moved(&rig, request, 1));

    request = pair_send(&rig, lower, 2);
    rig_pump_but_appends(&rig);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_FENCED, 1);
    assert_true(pair_moved(&rig, request, 1));
    harness_advance(rig.h, AN_PROBE_FRESH_MS);
    request = pair_send(&rig, lower, 2);
    probe = pair_take(&rig, AN_KIND_PROBE);
    said = pair_probe(&rig, pair_slot(1, lower)); /* the topology says 0 */
    assert_int_equal(said->holding, ANSER__BUS__HOLDING__HOLDING_OWNED);
    pair_answer(&rig, probe, ANSER__BUS__HOLDING__HOLDING_NONE, 0);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_asked_about_too_many_slots_refuses(void **state)
{
    static uint32_t slots[AN_SLOTS + 1];
    Anser__Bus__Probe probe = ANSER__BUS__PROBE__INIT;
    Anser__Bus__Handover handover = ANSER__BUS__HANDOVER__INIT;
    struct an_addr from = {AN_ROLE_SEQUENCER, 1};
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    probe.slots = handover.slots = slots;
    probe.n_slots = handover.n_slots = AN_SLOTS + 1;
    request = harness_request(rig.h, from, AN_KIND_PROBE, &probe.base);
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_ARGUMENT);
    request = harness_request(rig.h, from, AN_KIND_HANDOVER, &handover.base);
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_ARGUMENT);
    slots[0] = AN_SLOTS; /* no such slot */
    handover.n_slots = 1;
    request = harness_request(rig.h, from, AN_KIND_HANDOVER, &handover.base);
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_ARGUMENT);
    rig_fini(&rig);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test(test_sequencer_##name)
    const struct CMUnitTest tests[] = {
        TEST(takes_over_all_slots_of_an_owner_that_is_gone),
        TEST(owner_alive_is_named_and_believed_for_a_while),
        TEST(probe_answer_that_leaves_a_slot_out_takes_nothing),
        TEST(takes_only_the_slots_that_the_owner_left),
        TEST(owner_that_believes_it_is_ours_lets_us_take_it),
        TEST(follows_owners_that_name_each_other_not_for_ever),
        TEST(that_is_no_candidate_answers_moved_at_once),
        TEST(take_over_is_one_claim_for_each_store),
        TEST(parked_sends_keep_their_order),
        TEST(parked_sends_count_against_the_bound),
        TEST(send_that_expires_while_parked_is_answered_once),
        TEST(that_has_just_started_waits_for_owners_to_be_reached),
        TEST(take_over_that_fails_is_given_up),
        TEST(take_over_that_the_store_refuses_is_given_up),
        TEST(asked_says_what_it_holds_and_whom_it_believes),
        TEST(probes_that_cross_agree_on_one),
        TEST(asked_about_too_many_slots_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
