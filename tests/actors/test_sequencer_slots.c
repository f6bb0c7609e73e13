/* Owning slots: claims, unknown outcomes, fences, gaps, several stores and owners. */
#include "core/slot.h"
#include "tests/actors/seq_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum an_err
err_of(struct rig *rig, uint64_t request)
{
    return (enum an_err)rig_result(rig, request, 0)->err;
}

static uint16_t
slot_12(void)
{
    struct an_conv conv = an_conv_direct(1, 2);

    return an_slot_conv(&conv);
}

/* ------------------------------------------------------------------ the start */

static void
test_sequencer_start_claims_all_its_slots_then_is_ready(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    const Anser__Bus__Claim *claim;

    (void)state;
    rig_init(&rig, NULL);
    ask = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM);
    claim = harness_body(ask);
    assert_int_equal(claim->n_slots, AN_SLOTS);
    harness_answer(rig.h, ask, AN_ERR_UNAVAILABLE, NULL);
    rig_pump_kind(&rig, AN_KIND_TAKE_IDS);
    assert_null(harness_take(rig.h, AN_EFFECT_READY));
    harness_advance(rig.h, 100); /* claims again by itself */
    rig_pump(&rig);
    assert_non_null(harness_take(rig.h, AN_EFFECT_READY));
    assert_int_equal(harness_metric(rig.h, "slots_owned"), AN_SLOTS);
    assert_non_null(strstr(harness_inspect(rig.h, "slots"), "\"owned\":1024"));
    assert_null(harness_inspect(rig.h, "nonsense"));
    rig_fini(&rig);
}

/* The ids that came at once are too old when the store is back at last. */
static void
test_sequencer_start_long_without_a_store_is_ready_when_it_is_back(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;

    (void)state;
    rig_init(&rig, NULL);
    rig_pump_kind(&rig, AN_KIND_TAKE_IDS);
    for (unsigned i = 0; i < 10; i++) {
        ask = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM);
        harness_answer(rig.h, ask, AN_ERR_UNAVAILABLE, NULL);
        harness_advance(rig.h, 3000);
    }
    rig_pump(&rig);
    assert_non_null(harness_take(rig.h, AN_EFFECT_READY));
    rig_fini(&rig);
}

/* A damaged row does not mend itself: said at once, and not tried until time is over. */
static void
test_sequencer_start_over_a_damaged_row_fails_at_once(void **state)
{
    struct rig rig;
    const struct harness_effect *ask, *failed;

    (void)state;
    rig_init(&rig, NULL);
    ask = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM);
    harness_answer(rig.h, ask, AN_ERR_CORRUPT, NULL);
    failed = harness_take(rig.h, AN_EFFECT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->e.err, AN_ERR_CORRUPT);
    assert_non_null(strstr(failed->text, "store/0"));
    assert_non_null(strstr(failed->text, "anser check"));
    rig_fini(&rig);
}

static void
test_sequencer_start_without_ids_is_not_ready_and_asks_again(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig, NULL);
    rig.no_ids = true;
    rig_pump(&rig);
    assert_null(harness_take(rig.h, AN_EFFECT_READY));
    rig.no_ids = false;
    harness_advance(rig.h, 1000);
    rig_pump(&rig);
    assert_non_null(harness_take(rig.h, AN_EFFECT_READY));
    rig_fini(&rig);
}

static void
test_sequencer_send_before_the_claim_waits_for_it(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    assert_false(rig_answered(&rig, request));
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_send_before_a_failed_claim_is_unavailable(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    harness_answer(rig.h, harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM),
                   AN_ERR_TIMEOUT, NULL);
    assert_int_equal(err_of(&rig, request), AN_ERR_UNAVAILABLE);
    assert_true(rig_result(&rig, request, 0)->retry_after_ms > 0);
    rig_fini(&rig);
}

static void
test_sequencer_slot_the_store_refuses_answers_not_mine(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    Anser__Bus__Claimed done = ANSER__BUS__CLAIMED__INIT;
    Anser__Bus__SlotClaim slot = ANSER__BUS__SLOT_CLAIM__INIT;
    Anser__Bus__SlotClaim *list[] = {&slot};
    uint64_t request;

    (void)state;
    rig_init(&rig, NULL);
    ask = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM);
    slot.slot = slot_12();
    slot.err = AN_ERR_NOT_MINE;
    done.slots = list;
    done.n_slots = 1;
    harness_answer(rig.h, ask, AN_OK, &done.base);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    assert_int_equal(err_of(&rig, request), AN_ERR_NOT_MINE);
    assert_null(harness_take(rig.h, AN_EFFECT_READY));
    harness_advance(rig.h, 200);
    rig_pump(&rig); /* the next attempt is granted */
    assert_non_null(harness_take(rig.h, AN_EFFECT_READY));
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_foreign_slot_answers_moved_and_its_owner(void **state)
{
    struct rig rig;
    struct an_topology topology;
    struct sequencer_cfg cfg = {.topology = &topology};
    uint64_t request;

    (void)state;
    an_topology_single(&topology);
    topology.count[AN_ROLE_SEQUENCER] = 2;
    topology.slot_sequencer[slot_12()] = topology.slot_standby[slot_12()] = 1;
    rig_init_ready(&rig, &cfg);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    assert_int_equal(err_of(&rig, request), AN_ERR_MOVED);
    assert_int_equal(rig_result(&rig, request, 0)->owner, 1);
    assert_int_equal(harness_metric(rig.h, "slots_owned"), AN_SLOTS - 1);
    rig_fini(&rig);
}

static void
test_sequencer_two_stores_have_an_append_each(void **state)
{
    struct rig rig;
    struct an_topology topology;
    struct sequencer_cfg cfg = {.topology = &topology};
    const struct harness_effect *a, *b;
    uint64_t ra, rb;

    (void)state;
    an_topology_single(&topology);
    topology.count[AN_ROLE_STORE] = 2;
    topology.slot_store[slot_12()] = 1;
    rig_init_ready(&rig, &cfg);
    ra = rig_send(&rig, &(struct rig_send){.id = 1});
    rb = rig_send(&rig, &(struct rig_send){.id = 2, .recipient = 3});
    rig_pump_but_appends(&rig);
    a = rig_take_append(&rig);
    b = rig_take_append(&rig);
    assert_non_null(b);
    assert_int_not_equal(a->e.to.index, b->e.to.index);
    rig_answer(&rig, b);
    assert_true(rig_answered(&rig, a->e.to.index == 1 ? rb : ra));
    assert_false(rig_answered(&rig, a->e.to.index == 1 ? ra : rb));
    rig_answer(&rig, a);
    assert_int_equal(err_of(&rig, ra), AN_OK);
    assert_int_equal(err_of(&rig, rb), AN_OK);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ unknown outcomes */

static void
test_sequencer_unknown_outcome_stored_keeps_the_number(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t first, follower, later, chained;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    follower = rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = 1});
    later = rig_send(&rig, &(struct rig_send){.id = 2});
    chained = rig_send(&rig, &(struct rig_send){.id = 3, .after = 2});
    rig_store(&rig, append); /* it is on disk, but nobody says so */
    harness_answer(rig.h, append, AN_ERR_TIMEOUT, NULL);
    harness_drain(rig.h);
    assert_null(rig_take_append(&rig)); /* not before the claim */
    rig_pump(&rig);
    assert_int_equal(rig_stored(&rig, 1, 2), 3);
    assert_int_equal(rig_result(&rig, first, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, first, 0)->message_id, rig.messages[0].message_id);
    assert_int_equal(rig_result(&rig, follower, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, later, 0)->seq, 2);
    assert_int_equal(rig_result(&rig, chained, 0)->seq, 3);
    assert_int_equal(rig.epoch[slot_12()], 2);
    assert_int_equal(harness_metric(rig.h, "append_unknown_total"), 1);
    rig_fini(&rig);
}

static void
test_sequencer_unknown_outcome_not_stored_numbers_anew(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t first, confirm;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.inbox_head = 10;
    first = rig_send(&rig, &(struct rig_send){.id = 1});
    confirm = rig_confirm(&rig, 1, "phone", 5, 0);
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    assert_non_null(append);
    harness_answer(rig.h, append, AN_ERR_CONNECTION, NULL);
    harness_drain(rig.h);
    rig_pump(&rig);
    harness_advance(rig.h, 200);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, first, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, confirm, 0)->seq, 5);
    assert_int_equal(rig_stored(&rig, 1, 2), 1);
    rig_fini(&rig);
}

static void
test_sequencer_unknown_outcome_and_no_claim_answers_timeout(void **state)
{
    struct rig rig;
    uint64_t flying, behind, again;

    (void)state;
    rig_init_ready(&rig, NULL);
    flying = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    behind = rig_send(&rig, &(struct rig_send){.id = 2});
    harness_answer(rig.h, rig_take_append(&rig), AN_ERR_TIMEOUT, NULL);
    harness_drain(rig.h);
    harness_answer(rig.h, harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM),
                   AN_ERR_UNAVAILABLE, NULL);
    assert_int_equal(err_of(&rig, flying), AN_ERR_TIMEOUT); /* may be stored */
    assert_int_equal(err_of(&rig, behind), AN_ERR_UNAVAILABLE);
    harness_advance(rig.h, 3000);
    rig_pump(&rig);
    again = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_append_never_sent_is_refused_without_a_claim(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    harness_answer(rig.h, rig_take_append(&rig), AN_ERR_UNAVAILABLE, NULL);
    assert_int_equal(err_of(&rig, request), AN_ERR_UNAVAILABLE);
    assert_null(harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM));
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_answer_that_leaves_a_slot_out_is_an_unknown_outcome(void **state)
{
    struct rig rig;
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    harness_answer(rig.h, rig_take_append(&rig), AN_OK, &done.base);
    harness_drain(rig.h);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    assert_int_equal(rig.epoch[slot_12()], 2);
    rig_fini(&rig);
}

static void
test_sequencer_unknown_outcome_of_accounts_is_not_reported_as_existing(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t put, create;

    (void)state;
    rig_init_ready(&rig, NULL);
    put = rig_put_directory(&rig, "alice", 41);
    create = rig_create_user(&rig, "alice", 41);
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    rig_store(&rig, append);
    harness_answer(rig.h, append, AN_ERR_TIMEOUT, NULL);
    harness_drain(rig.h);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, put), AN_OK);
    assert_int_equal(err_of(&rig, create), AN_OK);
    assert_int_equal(rig.name_count, 1);
    assert_int_equal(rig.user_count, 1);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ fences, gaps */

static void
test_sequencer_fenced_drops_the_slot_and_answers_moved(void **state)
{
    struct rig rig;
    const struct harness_effect *ask;
    const Anser__Bus__Claim *claim;
    uint64_t flying, follower, ready, late, other;

    (void)state;
    rig_init_ready(&rig, NULL);
    flying = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    follower = rig_send(&rig, &(struct rig_send){.id = 1});
    ready = rig_send(&rig, &(struct rig_send){.id = 2});
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_FENCED, 3);
    assert_int_equal(err_of(&rig, flying), AN_ERR_MOVED);
    assert_int_equal(rig_result(&rig, flying, 0)->owner, 3);
    assert_int_equal(err_of(&rig, follower), AN_ERR_MOVED);
    assert_int_equal(rig_result(&rig, follower, 0)->owner, 3);
    assert_int_equal(err_of(&rig, ready), AN_ERR_MOVED);
    late = rig_send(&rig, &(struct rig_send){.id = 3});
    assert_int_equal(err_of(&rig, late), AN_ERR_MOVED);
    ask = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM);
    claim = harness_body(ask);
    assert_int_equal(claim->n_slots, 0);           /* never back */
    assert_int_equal(claim->n_held, AN_SLOTS - 1); /* are the others still ours? */
    harness_answer(rig.h, ask, AN_ERR_BUSY, NULL);
    harness_advance(rig.h, 100);
    other = rig_send(&rig, &(struct rig_send){.id = 4, .recipient = 3});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, other, 0)->seq, 1);
    assert_int_equal(harness_metric(rig.h, "fenced_total"), 1);
    assert_int_equal(harness_metric(rig.h, "slots_owned"), AN_SLOTS - 1);
    rig_fini(&rig);
}

static void
test_sequencer_fenced_by_its_own_stray_claim_claims_again(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init(&rig, NULL);
    harness_answer(rig.h, harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_CLAIM),
                   AN_ERR_TIMEOUT, NULL);
    harness_advance(rig.h, 100);
    rig_pump(&rig);
    rig.epoch[slot_12()]++; /* the first claim arrives after the second */
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_FENCED, 0);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    assert_int_equal(harness_metric(rig.h, "fenced_total"), 0);
    rig_fini(&rig);
}

static void
test_sequencer_fenced_by_another_with_its_index_does_not_fight(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    rig_claimed_by(&rig, 0, slot_12(), 1);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_FENCED, 0);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_MOVED);
    rig_fini(&rig);
}

static void
test_sequencer_fenced_by_a_store_put_back_in_time_claims_again(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig.epoch[slot_12()] = 0; /* a backup from before the claim */
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    assert_int_equal(harness_metric(rig.h, "fenced_total"), 0);
    rig_fini(&rig);
}

static void
test_sequencer_gap_forgets_the_head_and_reads_it_again(void **state)
{
    struct rig rig;
    uint64_t a, b;

    (void)state;
    rig_init_ready(&rig, NULL);
    a = rig_send(&rig, &(struct rig_send){.id = 1});
    b = rig_send(&rig, &(struct rig_send){.id = 2, .after = 1});
    rig_pump_but_appends(&rig);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_GAP, 0);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, a, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, b, 0)->seq, 2);
    assert_int_equal(harness_metric(rig.h, "gaps_total"), 1);
    rig_fini(&rig);
}

/* P3: what a GAP makes the sequencer forget is asked of the store again. */
static void
test_sequencer_gap_retry_of_an_acked_id_gets_its_first_result(void **state)
{
    struct rig rig;
    uint64_t first, again;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, first, 0)->seq, 1);
    rig_send(&rig, &(struct rig_send){.id = 2});
    rig_pump_but_appends(&rig);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_GAP, 0);
    again = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, again, 0)->message_id,
                     rig_result(&rig, first, 0)->message_id);
    rig_fini(&rig);
}

static void
test_sequencer_gap_for_ever_ends_as_internal(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t request;
    int tries = 0;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    while ((append = rig_take_append(&rig)) != NULL) {
        rig_refuse(&rig, append, AN_ERR_GAP, 0);
        rig_pump_but_appends(&rig);
        tries++;
    }
    assert_int_equal(tries, 3);
    assert_int_equal(err_of(&rig, request), AN_ERR_INTERNAL);
    rig_fini(&rig);
}

static void
test_sequencer_read_answered_after_a_fence_is_ignored(void **state)
{
    struct rig rig;
    const struct harness_effect *read;
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__Answer *list[] = {&answer};
    uint64_t flying, loading;

    (void)state;
    rig_init_ready(&rig, NULL);
    flying = rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = 5});
    rig_pump(&rig);
    rig_restart(&rig, NULL);
    rig_pump(&rig);
    flying = rig_send(&rig, &(struct rig_send){.id = 9});
    rig_pump_but_appends(&rig);
    loading = rig_send(&rig, &(struct rig_send){.id = 2, .id_age_ms = 7});
    read = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_READ); /* about id 2 */
    assert_non_null(read);
    rig_refuse(&rig, rig_take_append(&rig), AN_ERR_FENCED, 3);
    assert_int_equal(err_of(&rig, flying), AN_ERR_MOVED);
    assert_int_equal(err_of(&rig, loading), AN_ERR_MOVED);
    answer.err = AN_ERR_NOT_FOUND;
    done.answers = list;
    done.n_answers = 1;
    harness_answer(rig.h, read, AN_OK, &done.base);
    harness_drain(rig.h);
    assert_null(rig_take_append(&rig));
    rig_fini(&rig);
}

static void
test_sequencer_destroyed_in_the_middle_lets_go_of_all(void **state)
{
    struct rig rig;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_send(&rig, &(struct rig_send){.id = 2});
    rig_send(&rig, &(struct rig_send){.id = 3, .recipient = 7});
    rig_confirm(&rig, 1, "phone", 1, 0);
    rig_put_directory(&rig, "bob", 9);
    rig_fini(&rig); /* the harness asserts that no message is left */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequencer_start_claims_all_its_slots_then_is_ready),
        cmocka_unit_test(
            test_sequencer_start_long_without_a_store_is_ready_when_it_is_back),
        cmocka_unit_test(test_sequencer_start_over_a_damaged_row_fails_at_once),
        cmocka_unit_test(test_sequencer_start_without_ids_is_not_ready_and_asks_again),
        cmocka_unit_test(test_sequencer_send_before_the_claim_waits_for_it),
        cmocka_unit_test(test_sequencer_send_before_a_failed_claim_is_unavailable),
        cmocka_unit_test(test_sequencer_slot_the_store_refuses_answers_not_mine),
        cmocka_unit_test(test_sequencer_foreign_slot_answers_moved_and_its_owner),
        cmocka_unit_test(test_sequencer_two_stores_have_an_append_each),
        cmocka_unit_test(test_sequencer_unknown_outcome_stored_keeps_the_number),
        cmocka_unit_test(test_sequencer_unknown_outcome_not_stored_numbers_anew),
        cmocka_unit_test(test_sequencer_unknown_outcome_and_no_claim_answers_timeout),
        cmocka_unit_test(test_sequencer_append_never_sent_is_refused_without_a_claim),
        cmocka_unit_test(
            test_sequencer_answer_that_leaves_a_slot_out_is_an_unknown_outcome),
        cmocka_unit_test(
            test_sequencer_unknown_outcome_of_accounts_is_not_reported_as_existing),
        cmocka_unit_test(test_sequencer_fenced_drops_the_slot_and_answers_moved),
        cmocka_unit_test(test_sequencer_fenced_by_its_own_stray_claim_claims_again),
        cmocka_unit_test(test_sequencer_fenced_by_another_with_its_index_does_not_fight),
        cmocka_unit_test(test_sequencer_fenced_by_a_store_put_back_in_time_claims_again),
        cmocka_unit_test(test_sequencer_gap_forgets_the_head_and_reads_it_again),
        cmocka_unit_test(test_sequencer_gap_retry_of_an_acked_id_gets_its_first_result),
        cmocka_unit_test(test_sequencer_gap_for_ever_ends_as_internal),
        cmocka_unit_test(test_sequencer_read_answered_after_a_fence_is_ignored),
        cmocka_unit_test(test_sequencer_destroyed_in_the_middle_lets_go_of_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
