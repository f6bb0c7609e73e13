/* Losing slots to another sequencer, and claiming them again: as held after an unknown
 * outcome, or when asked and the other is gone. */
#include "tests/actors/seq_pair.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* It was paused, the standby took over and stored; what it forgot it asks the store. */
static void
test_sequencer_that_was_paused_is_fenced_and_takes_back_only_when_asked(void **state)
{
    struct rig rig;
    const struct harness_effect *probe;
    uint64_t peer = pair_user(false, 0);
    uint16_t slot = pair_slot(1, peer);
    struct rig_send theirs = {.recipient = peer, .id = 2, .id_age_ms = 3};
    uint64_t request, first_id;

    (void)state;
    pair_begin();
    rig_init_ready(&rig, &pair_cfg);
    request = pair_send(&rig, peer, 1);
    rig_pump(&rig);
    request = rig_send(&rig, &theirs);
    rig_pump_but_appends(&rig);
    rig_store(&rig, rig_take_append(&rig)); /* what the other stores meanwhile */
    first_id = rig.messages[1].message_id;
    rig_restart(&rig, &pair_cfg);
    rig_pump(&rig);
    rig_claimed_by(&rig, 1, 0, PAIR_HALF);

    request = pair_send(&rig, peer, 3);
    rig_pump(&rig);
    assert_true(pair_moved(&rig, request, 1));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), 0); /* the idle ones too */
    harness_advance(rig.h, 60000);
    assert_null(pair_take(&rig, AN_KIND_CLAIM));
    request = pair_send(&rig, peer, 3);
    pair_answer(&rig, pair_take(&rig, AN_KIND_PROBE), ANSER__BUS__HOLDING__HOLDING_OWNED,
                1);
    assert_true(pair_moved(&rig, request, 1));
    harness_advance(rig.h, AN_PROBE_FRESH_MS);
    theirs.id_age_ms += 60000 + AN_PROBE_FRESH_MS;
    request = rig_send(&rig, &theirs);
    probe = pair_take(&rig, AN_KIND_PROBE);
    assert_int_equal(((const Anser__Bus__Probe *)harness_body(probe))->n_slots,
                     AN_SLOTS); /* what it is known to have */
    pair_fail(&rig, probe, AN_ERR_TIMEOUT);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 2); /* as the other stored it */
    assert_int_equal(rig_result(&rig, request, 0)->message_id, first_id);
    assert_int_equal(rig.owner[slot], 0);
    assert_int_equal(rig.owner[(slot + 1) % PAIR_HALF], 0);
    rig_fini(&rig);
}

/* Its own slots at START are claimed whoever has them: once for each life. */
static void
test_sequencer_start_claims_its_slots_back(void **state)
{
    struct rig rig;
    const Anser__Bus__Claim *claim;

    (void)state;
    pair_begin();
    rig_init(&rig, &pair_cfg);
    rig_claimed_by(&rig, 1, 0, PAIR_HALF);
    pair_fail(&rig, pair_take(&rig, AN_KIND_CLAIM),
              AN_ERR_TIMEOUT); /* also when its outcome is open */
    harness_advance(rig.h, 100);
    rig_claimed_by(&rig, 1, 0, PAIR_HALF);
    claim = harness_body(pair_take(&rig, AN_KIND_CLAIM));
    assert_int_equal(claim->n_slots, PAIR_HALF);
    assert_int_equal(claim->n_held, 0);
    rig_fini(&rig);
}

static void
test_sequencer_unknown_outcome_claims_back_only_what_nobody_else_claimed(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    const Anser__Bus__Claim *claim;
    uint64_t lost, kept, late;
    uint64_t peer = pair_user(false, 0), other = pair_user(false, 1);

    (void)state;
    pair_begin();
    pair_ready(&rig);
    lost = pair_send(&rig, peer, 1);
    kept = pair_send(&rig, other, 2);
    rig_pump_but_appends(&rig);
    pair_fail(&rig, rig_take_append(&rig), AN_ERR_TIMEOUT);
    ask = pair_take(&rig, AN_KIND_CLAIM);
    claim = harness_body(ask);
    assert_int_equal(claim->n_slots, 0);
    assert_int_equal(claim->n_held, PAIR_HALF);
    rig_claimed_by(&rig, 1, pair_slot(1, peer), 1);
    pair_fail(&rig, ask, AN_ERR_TIMEOUT); /* and again */
    assert_int_equal(pair_err(&rig, lost), AN_ERR_TIMEOUT);
    lost = pair_send(&rig, peer, 1);
    kept = pair_send(&rig, other, 2);
    harness_advance(rig.h, 100);
    rig_pump(&rig);
    assert_true(pair_moved(&rig, lost, 1));
    assert_int_equal(rig_result(&rig, kept, 0)->seq, 1);
    late = pair_send(&rig, peer, 3);
    assert_true(pair_moved(&rig, late, 1));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), PAIR_HALF - 1);
    assert_int_equal(harness_metric(rig.h, "fenced_total"), 1);
    rig_fini(&rig);
}

/* Another process with our index, or our own claim of an earlier life that came late. */
static void
test_sequencer_fenced_by_its_own_index_takes_back_when_asked_later(void **state)
{
    struct rig rig;
    uint64_t peer = pair_user(false, 0);
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    rig_claimed_by(&rig, 0, 0, PAIR_HALF);
    request = pair_send(&rig, peer, 1);
    rig_pump(&rig);
    assert_true(pair_moved(&rig, request, 0));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), 0);
    harness_advance(rig.h, AN_PROBE_FRESH_MS);
    request = pair_send(&rig, peer, 1);
    assert_null(pair_take(&rig, AN_KIND_PROBE)); /* nobody to ask */
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

/* A store put back in time: nobody has claimed, its epochs are lower than ours. */
static void
test_sequencer_held_claim_of_a_store_put_back_in_time_is_granted(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    request = pair_send(&rig, pair_user(false, 0), 1);
    rig_pump_but_appends(&rig);
    for (uint16_t slot = 0; slot < PAIR_HALF; slot++) {
        rig.epoch[slot] = 0;
        rig.claimer[slot] = 12345; /* of an earlier life */
    }
    rig_answer(&rig, rig_take_append(&rig));
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    assert_int_equal(harness_metric(rig.h, "slots_owned"), PAIR_HALF);
    assert_int_equal(harness_metric(rig.h, "fenced_total"), 0);
    rig_fini(&rig);
}

/* It was paused and does not know yet: a delivery of what the other numbered is no
 * mistake of the client. */
static void
test_sequencer_delivery_above_its_head_makes_it_find_out_who_has_the_slot(void **state)
{
    struct rig rig;
    uint64_t peer = pair_user(false, 0);
    uint64_t request;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    pair_send(&rig, peer, 1);
    rig_pump(&rig);
    rig_claimed_by(&rig, 1, 0, PAIR_HALF);
    rig.messages[1] = rig.messages[0]; /* the other's */
    rig.messages[1].seq = 2;
    rig.message_count = 2;
    request = rig_delivered(&rig, 1, peer, peer, 2);
    rig_pump_kind(&rig, AN_KIND_READ);
    assert_false(rig_answered(&rig, request));
    rig_pump(&rig);
    assert_true(pair_moved(&rig, request, 1));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), 0);
    rig_fini(&rig);
}

static void
test_sequencer_delivery_above_a_head_that_cannot_be_read_is_unavailable(void **state)
{
    struct rig rig;
    uint64_t peer = pair_user(false, 0);
    uint64_t ahead, fine;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    pair_send(&rig, peer, 1);
    rig_pump(&rig);
    fine = rig_delivered(&rig, 1, peer, peer, 1);
    ahead = rig_delivered(&rig, 1, peer, peer, 2);
    pair_fail(&rig, pair_take(&rig, AN_KIND_READ), AN_ERR_TIMEOUT);
    assert_int_equal(pair_err(&rig, ahead), AN_ERR_UNAVAILABLE);
    harness_advance(rig.h, 100);
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, fine), AN_OK);
    ahead = rig_delivered(&rig, 1, peer, peer, 2);
    rig_pump(&rig);
    assert_int_equal(pair_err(&rig, ahead), AN_ERR_CURSOR_AHEAD);
    rig_fini(&rig);
}

/* What pushed messages told about inboxes must not outlast the slots: the store may have
 * been put back in time before they are claimed again. */
static void
test_sequencer_known_heads_are_forgotten_on_reclaim(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    an_topology_single(&pair_topology);
    pair_ready(&rig);
    for (uint64_t i = 1; i <= 3; i++) {
        pair_send(&rig, 2, i);
    }
    rig_pump(&rig);
    assert_int_equal(rig.inbox_head, 3);
    pair_send(&rig, 2, 4);
    rig_pump_but_appends(&rig);
    pair_fail(&rig, rig_take_append(&rig), AN_ERR_TIMEOUT);
    rig.inbox_head = 1; /* put back while the outcome was open */
    rig_pump_kind(&rig, AN_KIND_CLAIM);
    request = rig_confirm(&rig, 2, "phone", 3, 0);
    rig_pump_but_appends(&rig);
    harness_advance(rig.h, 100);
    rig_pump_but_appends(&rig);
    assert_int_equal(pair_err(&rig, request), AN_ERR_CURSOR_AHEAD);
    rig_fini(&rig);
}

/* The same of everything else that was cached of a slot: lost, then taken back. */
static void
test_sequencer_slot_lost_and_taken_back_begins_with_nothing_cached(void **state)
{
    struct rig rig;
    uint64_t peer = pair_user(false, 0);
    uint16_t slot = pair_slot(1, peer);
    uint64_t request;
    size_t reads;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    pair_send(&rig, peer, 1);
    rig_pump(&rig);
    rig_delivered(&rig, 1, peer, peer, 1);
    harness_advance(rig.h, 100);
    rig_pump(&rig);
    rig_claimed_by(&rig, 1, slot, 1);
    pair_send(&rig, peer, 2);
    rig_pump(&rig);
    assert_int_equal(harness_metric(rig.h, "conversations"), 0);
    assert_int_equal(harness_metric(rig.h, "dedupe_rows"), 0);
    /* The other stored a message and a position. */
    rig.messages[1] = rig.messages[0];
    rig.messages[1].seq = 2;
    rig.messages[1].id[15] ^= 1;
    rig.message_count = 2;
    rig.delivered[0].seq = 2;
    harness_advance(rig.h, AN_PROBE_FRESH_MS);
    reads = rig.reads;
    request = pair_send(&rig, peer, 3);
    pair_fail(&rig, pair_take(&rig, AN_KIND_PROBE), AN_ERR_UNAVAILABLE);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 3);
    assert_true(rig.reads > reads);
    request = rig_delivered(&rig, 1, peer, peer, 1);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 2);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ watching it */

static void
test_sequencer_slots_word_tells_ranges_owners_and_epochs(void **state)
{
    struct rig rig;
    const char *json;

    (void)state;
    pair_begin();
    pair_ready(&rig);
    rig_claimed_by(&rig, 1, pair_slot(1, pair_user(false, 0)), 1);
    pair_send(&rig, pair_user(false, 0), 1);
    rig_pump(&rig);
    json = harness_inspect(rig.h, "slots");
    assert_non_null(
        strstr(json, "\"foreign\":512,\"claiming\":0,\"owned\":511,\"lost\":1"));
    assert_non_null(strstr(json, "{\"first\":0,\"last\":"));
    assert_non_null(strstr(json, "\"state\":\"lost\",\"owner\":1,\"epoch\":\"1\"}"));
    assert_non_null(strstr(json, "{\"first\":512,\"last\":1023,\"state\":\"foreign\","
                                 "\"owner\":1,\"epoch\":\"0\"}]}"));
    rig_fini(&rig);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test(test_sequencer_##name)
    const struct CMUnitTest tests[] = {
        TEST(that_was_paused_is_fenced_and_takes_back_only_when_asked),
        TEST(start_claims_its_slots_back),
        TEST(unknown_outcome_claims_back_only_what_nobody_else_claimed),
        TEST(fenced_by_its_own_index_takes_back_when_asked_later),
        TEST(held_claim_of_a_store_put_back_in_time_is_granted),
        TEST(delivery_above_its_head_makes_it_find_out_who_has_the_slot),
        TEST(delivery_above_a_head_that_cannot_be_read_is_unavailable),
        TEST(known_heads_are_forgotten_on_reclaim),
        TEST(slot_lost_and_taken_back_begins_with_nothing_cached),
        TEST(slots_word_tells_ranges_owners_and_epochs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
