/* Claims, registers and retention. */
#include "core/slot.h"
#include "tests/actors/store_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

/* ------------------------------------------------------------------ claims */

static const Anser__Bus__Claimed *
claim(struct store_rig *rig, uint32_t sequencer, uint32_t *slots, size_t count)
{
    Anser__Bus__Claim body = ANSER__BUS__CLAIM__INIT;
    enum an_err err;
    const Anser__Bus__Claimed *claimed;

    body.sequencer = sequencer;
    body.slots = slots;
    body.n_slots = count;
    claimed = store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_CLAIM, &body.base, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(claimed->n_slots, count);
    return claimed;
}

static void
test_store_claim_raises_the_epoch_each_time_also_over_a_restart(void **state)
{
    struct store_rig *rig = *state;
    uint32_t slots[2] = {5, 900};

    assert_int_equal(claim(rig, 0, slots, 2)->slots[1]->epoch, 1);
    assert_int_equal(claim(rig, 0, slots, 1)->slots[0]->epoch, 2);
    store_rig_close(rig);
    store_rig_open(rig);
    assert_int_equal(claim(rig, 3, slots, 2)->slots[0]->epoch, 3);
    assert_int_equal(claim(rig, 3, slots, 2)->slots[1]->epoch, 3);
}

static void
test_store_claim_of_all_slots_is_one_record(void **state)
{
    struct store_rig *rig = *state;
    uint32_t slots[AN_SLOTS];
    const Anser__Bus__Claimed *claimed;

    for (uint32_t i = 0; i < AN_SLOTS; i++) {
        slots[i] = i;
    }
    claimed = claim(rig, 0, slots, AN_SLOTS);
    for (uint32_t i = 0; i < AN_SLOTS; i++) {
        assert_int_equal(claimed->slots[i]->slot, i);
        assert_int_equal(claimed->slots[i]->epoch, 1);
        assert_int_equal(claimed->slots[i]->dedupe_high_ms, 0);
    }
    assert_int_equal(harness_metric(rig->h, "batches_total"), 1);
    assert_int_equal(harness_metric(rig->h, "loads_total"), 1);
}

static void
test_store_claim_says_the_newest_id_time(void **state)
{
    struct store_rig *rig = *state;
    uint32_t slot = store_rig_slot(1, 2);

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 9);
    assert_int_equal(claim(rig, 0, &slot, 1)->slots[0]->dedupe_high_ms,
                     store_rig_time(9));
}

static void
test_store_claim_of_a_foreign_slot_is_not_mine(void **state)
{
    struct store_rig *rig = *state;
    uint32_t slots[2] = {AN_SLOTS, 4};
    const Anser__Bus__Claimed *claimed = claim(rig, 0, slots, 2);

    assert_int_equal(claimed->slots[0]->err, AN_ERR_NOT_MINE);
    assert_int_equal(claimed->slots[1]->err, AN_OK);
}

/* An append of the epoch before that waits behind the claim finds itself fenced; one
 * that came before it is stored, and the claim's answer knows of it. */
static void
test_store_claim_fences_what_comes_after_it(void **state)
{
    struct store_rig *rig = *state;
    struct an_addr addr = {AN_ROLE_SEQUENCER, 0};
    struct store_rig_message m[2];
    Anser__Bus__Entry *entry;
    Anser__Bus__Claim body = ANSER__BUS__CLAIM__INIT;
    uint32_t slot = store_rig_slot(1, 2);
    uint64_t before, claimed, after;

    store_rig_claim_pair(rig, 1, 2);
    body.sequencer = 7;
    body.slots = &slot;
    body.n_slots = 1;
    store_rig_message(&m[0], 1, 2, 1);
    store_rig_message(&m[1], 1, 2, 2);
    entry = &m[0].entry;
    before = store_rig_append_begin(rig, (uint16_t)slot, &entry, 1);
    harness_drain(rig->h);
    harness_run_jobs(rig->h);
    claimed = harness_request(rig->h, addr, AN_KIND_CLAIM, &body.base);
    entry = &m[1].entry;
    after = store_rig_append_begin(rig, (uint16_t)slot, &entry, 1);
    store_rig_settle(rig);
    const Anser__Bus__Appended *first = harness_body(harness_reply(rig->h, before));
    const Anser__Bus__Appended *second = harness_body(harness_reply(rig->h, after));
    const Anser__Bus__Claimed *epochs = harness_body(harness_reply(rig->h, claimed));

    assert_int_equal(first->slots[0]->err, AN_OK);
    assert_int_equal(second->slots[0]->err, AN_ERR_FENCED);
    assert_int_equal(second->slots[0]->epoch, 2);
    assert_int_equal(second->slots[0]->owner, 7);
    assert_int_equal(epochs->slots[0]->dedupe_high_ms, store_rig_time(1));
}

static enum an_err
numbered_claim(struct store_rig *rig, uint16_t slot, uint64_t incarnation,
               uint64_t number, uint64_t *epoch)
{
    Anser__Bus__Claim body = ANSER__BUS__CLAIM__INIT;
    const Anser__Bus__Claimed *claimed;
    uint32_t slots = slot;
    enum an_err err;

    body.slots = &slots;
    body.n_slots = 1;
    body.incarnation = incarnation;
    body.number = number;
    claimed = store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_CLAIM, &body.base, &err);
    *epoch = err == AN_OK ? claimed->slots[0]->epoch : 0;
    return err;
}

/* A copy of a claim must not fence the sequencer that made it. */
static void
test_store_claim_that_comes_again_or_late_changes_nothing(void **state)
{
    struct store_rig *rig = *state;
    uint16_t slot = store_rig_slot(1, 2);
    uint64_t epoch;

    assert_int_equal(numbered_claim(rig, slot, 77, 1, &epoch), AN_OK);
    assert_int_equal(epoch, 1);
    assert_int_equal(numbered_claim(rig, slot, 77, 1, &epoch), AN_ERR_TIMEOUT);
    assert_int_equal(numbered_claim(rig, slot, 77, 3, &epoch), AN_OK);
    assert_int_equal(epoch, 2);
    assert_int_equal(numbered_claim(rig, slot, 77, 2, &epoch), AN_ERR_TIMEOUT);
    assert_int_equal(numbered_claim(rig, slot, 78, 1, &epoch), AN_OK);
    assert_int_equal(epoch, 3);
    assert_int_equal(harness_metric(rig->h, "strays_total"), 2);
}

/* As claim(), of slots the incarnation says it has. */
static const Anser__Bus__Claimed *
claim_held(struct store_rig *rig, uint32_t sequencer, uint64_t incarnation,
           uint64_t number, uint32_t taken, uint32_t held)
{
    Anser__Bus__Claim body = ANSER__BUS__CLAIM__INIT;
    enum an_err err;
    const Anser__Bus__Claimed *claimed;

    body.sequencer = sequencer;
    body.incarnation = incarnation;
    body.number = number;
    body.slots = &taken;
    body.n_slots = taken < AN_SLOTS;
    body.held = &held;
    body.n_held = held < AN_SLOTS;
    claimed = store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_CLAIM, &body.base, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(claimed->n_slots, body.n_slots + body.n_held);
    return claimed;
}

static void
test_store_claim_held_is_granted_to_the_newest_claimer_alone(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__Claimed *claimed;

    assert_int_equal(claim_held(rig, 0, 77, 1, 5, AN_SLOTS)->slots[0]->epoch, 1);
    claimed = claim_held(rig, 0, 77, 2, AN_SLOTS, 5);
    assert_int_equal(claimed->slots[0]->err, AN_OK);
    assert_int_equal(claimed->slots[0]->epoch, 2);
    assert_int_equal(claim_held(rig, 3, 88, 1, 5, AN_SLOTS)->slots[0]->epoch, 3);
    store_rig_close(rig);
    store_rig_open(rig);
    claimed = claim_held(rig, 0, 77, 3, 6, 5);
    assert_int_equal(claimed->slots[0]->slot, 6); /* beside it, taken over */
    assert_int_equal(claimed->slots[0]->err, AN_OK);
    assert_int_equal(claimed->slots[1]->slot, 5);
    assert_int_equal(claimed->slots[1]->err, AN_ERR_FENCED);
    assert_int_equal(claimed->slots[1]->owner, 3);
    assert_int_equal(claimed->slots[1]->epoch, 3);
    assert_int_equal(claim_held(rig, 3, 88, 2, AN_SLOTS, 5)->slots[0]->epoch, 4);
    assert_int_equal(claim_held(rig, 3, 89, 1, AN_SLOTS, 5)->slots[0]->err,
                     AN_ERR_FENCED); /* another life of it */
}

static void
test_store_claim_held_without_an_incarnation_is_refused(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Claim body = ANSER__BUS__CLAIM__INIT;
    uint32_t slot = 5;
    enum an_err err;

    body.held = &slot;
    body.n_held = 1;
    store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_CLAIM, &body.base, &err);
    assert_int_equal(err, AN_ERR_ARGUMENT);
}

/* A store put back in time gives an epoch a second time, to another. */
static void
test_store_append_of_the_epoch_of_another_claimer_is_fenced(void **state)
{
    struct store_rig *rig = *state;
    struct an_addr addr = {AN_ROLE_SEQUENCER, 0};
    Anser__Bus__Append body = ANSER__BUS__APPEND__INIT;
    Anser__Bus__AppendSlot part = ANSER__BUS__APPEND_SLOT__INIT;
    Anser__Bus__AppendSlot *parts = &part;
    struct store_rig_message m;
    Anser__Bus__Entry *entry = &m.entry;
    const Anser__Bus__Appended *done;
    uint64_t id;

    part.slot = store_rig_slot(1, 2);
    part.epoch = claim_held(rig, 3, 88, 1, part.slot, AN_SLOTS)->slots[0]->epoch;
    store_rig_message(&m, 1, 2, 1);
    part.entries = &entry;
    part.n_entries = 1;
    body.slots = &parts;
    body.n_slots = 1;
    body.incarnation = 77;
    body.number = 9;
    id = harness_request(rig->h, addr, AN_KIND_APPEND, &body.base);
    store_rig_settle(rig);
    done = harness_body(harness_reply(rig->h, id));
    assert_int_equal(done->slots[0]->err, AN_ERR_FENCED);
    assert_int_equal(done->slots[0]->owner, 3);
}

/* ------------------------------------------------------------------ registers */

static uint64_t
cas_begin(struct store_rig *rig, const char *name, uint64_t expect, const char *value)
{
    Anser__Bus__Cas body = ANSER__BUS__CAS__INIT;
    struct an_addr addr = {AN_ROLE_IDGEN, 0};

    body.name = store_rig_data(name);
    body.slot = an_slot_register(body.name.data, body.name.len);
    body.expect_version = expect;
    body.value = store_rig_data(value);
    return harness_request(rig->h, addr, AN_KIND_CAS, &body.base);
}

static const Anser__Bus__CasDone *
cas(struct store_rig *rig, const char *name, uint64_t expect, const char *value)
{
    uint64_t id = cas_begin(rig, name, expect, value);

    store_rig_settle(rig);
    assert_int_equal(harness_reply(rig->h, id)->e.err, AN_OK);
    return harness_body(harness_reply(rig->h, id));
}

static void
assert_value(const Anser__Bus__CasDone *done, bool swapped, uint64_t version,
             const char *value)
{
    assert_int_equal(done->swapped, swapped);
    assert_int_equal(done->version, version);
    assert_int_equal(done->value.len, strlen(value));
    assert_memory_equal(done->value.data, value, strlen(value));
}

static void
test_store_cas_swaps_only_the_expected_version(void **state)
{
    struct store_rig *rig = *state;

    assert_value(cas(rig, "worker/1", 0, ""), false, 0, "");
    assert_value(cas(rig, "worker/1", 1, "x"), false, 0, "");
    assert_value(cas(rig, "worker/1", 0, "one"), true, 1, "one");
    assert_value(cas(rig, "worker/1", 0, "two"), false, 1, "one");
    assert_value(cas(rig, "worker/1", 1, "two"), true, 2, "two");
    assert_value(cas(rig, "worker/1", 0, ""), false, 2, "two");
    assert_value(cas(rig, "worker/2", 0, "other"), true, 1, "other");
    store_rig_close(rig);
    store_rig_open(rig);
    assert_value(cas(rig, "worker/1", 1, "three"), false, 2, "two");
}

static void
test_store_cas_of_many_at_once_lets_one_win(void **state)
{
    struct store_rig *rig = *state;
    uint64_t ids[20];
    unsigned won = 0;

    for (unsigned i = 0; i < 20; i++) {
        ids[i] = cas_begin(rig, "worker/9", 0, i % 2 ? "odd" : "even");
    }
    for (unsigned i = 0; i < 10; i++) {
        store_rig_settle(rig);
    }
    for (unsigned i = 0; i < 20; i++) {
        const Anser__Bus__CasDone *done = harness_body(harness_reply(rig->h, ids[i]));

        won += done->swapped != 0;
        assert_value(done, i == 0, 1, "even");
    }
    assert_int_equal(won, 1);
}

static void
test_store_cas_refused_by_the_disk_changes_nothing(void **state)
{
    struct store_rig *rig = *state;
    uint64_t id;

    assert_value(cas(rig, "worker/1", 0, "one"), true, 1, "one");
    files_sim_fail(rig->sim, FILES_SIM_WRITE_FULL, ".seg", 1);
    id = cas_begin(rig, "worker/1", 1, "two");
    store_rig_settle(rig);
    assert_int_equal(harness_reply(rig->h, id)->e.err, AN_ERR_DISK_FULL);
    assert_value(cas(rig, "worker/1", 0, ""), false, 1, "one");
    assert_value(cas(rig, "worker/1", 1, "two"), true, 2, "two");
}

static void
test_store_cas_malformed_is_refused(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Cas body = ANSER__BUS__CAS__INIT;
    enum an_err err;

    body.name = store_rig_data("worker/1");
    body.slot = (an_slot_register(body.name.data, body.name.len) + 1u) % AN_SLOTS;
    assert_null(store_rig_ask(rig, AN_ROLE_IDGEN, AN_KIND_CAS, &body.base, &err));
    assert_int_equal(err, AN_ERR_ARGUMENT);
    body.slot = AN_SLOTS;
    assert_null(store_rig_ask(rig, AN_ROLE_IDGEN, AN_KIND_CAS, &body.base, &err));
    assert_int_equal(err, AN_ERR_NOT_MINE);
}

/* ------------------------------------------------------------------ retention */

static bool
remembered(struct store_rig *rig, uint64_t seq)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__DedupeQuery what = ANSER__BUS__DEDUPE_QUERY__INIT;
    struct store_rig_message m;

    store_rig_message(&m, seq % 2 ? 1 : 2, seq % 2 ? 2 : 1, seq);
    what.conversation = m.message.conversation;
    what.sender = m.message.sender;
    what.client_msg_id = m.message.client_msg_id;
    query.slot = an_slot_conv(&m.conv);
    query.what_case = ANSER__BUS__QUERY__WHAT_DEDUPE;
    query.dedupe = &what;
    return store_rig_query(rig, &query)->err == AN_OK;
}

static void
run_retention(struct store_rig *rig)
{
    for (unsigned i = 0; i < AN_SLOTS / AN_RETENTION_SLOTS + 1; i++) {
        harness_advance(rig->h, 1000);
        store_rig_settle(rig);
    }
}

static void
test_store_retention_deletes_only_what_is_past_the_window(void **state)
{
    struct store_rig *rig = *state;
    const uint64_t seqs = AN_RETENTION_ROWS * 2 + 5;
    /* Ids are a ms apart; the clock is put so that the first half is past it. */
    const uint64_t half = seqs / 2;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, seqs);
    run_retention(rig);
    assert_true(remembered(rig, 1));
    harness_wall(rig->h, (int64_t)(store_rig_time(half) + AN_DEDUPE_WINDOW_MS +
                                   AN_DEDUPE_AHEAD_MS - harness_now(rig->h).wall_ms));
    /* The wall clock runs on while the slots are gone round: stop it at the border. */
    for (unsigned i = 0; i < AN_SLOTS / AN_RETENTION_SLOTS + 1; i++) {
        harness_advance(rig->h, 1000);
        harness_wall(rig->h, -1000);
        store_rig_settle(rig);
    }
    assert_false(remembered(rig, 1));
    assert_true(remembered(rig, seqs));
    assert_true(harness_metric(rig->h, "expired_rows_total") >= half - 1);
    run_retention(rig);
    assert_false(remembered(rig, seqs));
    assert_int_equal(harness_metric(rig->h, "expired_rows_total"), seqs);
    store_rig_close(rig);
    store_rig_open(rig);
    assert_false(remembered(rig, seqs));
}

static void
test_store_retention_finishes_a_backlog_without_new_ticks(void **state)
{
    struct store_rig *rig = *state;
    const uint64_t seqs = AN_RETENTION_ROWS * 3;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, seqs);
    harness_wall(rig->h, 2 * (int64_t)AN_DEDUPE_WINDOW_MS);
    run_retention(rig);
    assert_int_equal(harness_metric(rig->h, "expired_rows_total"), seqs);
}

/* ------------------------------------------------------------------ stopping */

static void
test_store_stop_applies_and_then_says_so(void **state)
{
    struct store_rig *rig = *state;
    struct an_addr addr = {AN_ROLE_GATE, 0};
    Anser__Bus__Read read = ANSER__BUS__READ__INIT;
    uint64_t id;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 5);
    assert_true(harness_metric(rig->h, "engine_overlay_rows") > 0);
    harness_stop(rig->h);
    assert_null(harness_take(rig->h, AN_EFFECT_STOPPED));
    id = harness_request(rig->h, addr, AN_KIND_READ, &read.base);
    assert_int_equal(harness_reply(rig->h, id)->e.err, AN_ERR_SHUTTING_DOWN);
    store_rig_settle(rig);
    assert_non_null(harness_take(rig->h, AN_EFFECT_STOPPED));
    assert_int_equal(harness_metric(rig->h, "engine_overlay_rows"), 0);
    store_rig_settle(rig);
    assert_null(harness_take(rig->h, AN_EFFECT_STOPPED));
}

static void
test_store_inspect_knows_slots_and_timelines(void **state)
{
    struct store_rig *rig = *state;
    const char *json;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 5);
    json = harness_inspect(rig->h, "conversation 2 1");
    assert_non_null(json);
    assert_non_null(strstr(json, "\"head\":\"5\""));
    json = harness_inspect(rig->h, "timeline 2");
    assert_non_null(strstr(json, "\"head\":\"5\""));
    json = harness_inspect(rig->h, "timeline 3");
    assert_string_equal(json, "{\"cached\":false}");
    assert_null(harness_inspect(rig->h, ""));
    assert_null(harness_inspect(rig->h, "slot 1024"));
    assert_null(harness_inspect(rig->h, "what"));
}

int
main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, store_rig_setup, store_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store_claim_raises_the_epoch_each_time_also_over_a_restart),
        TEST(test_store_claim_of_all_slots_is_one_record),
        TEST(test_store_claim_says_the_newest_id_time),
        TEST(test_store_claim_of_a_foreign_slot_is_not_mine),
        TEST(test_store_claim_fences_what_comes_after_it),
        TEST(test_store_claim_that_comes_again_or_late_changes_nothing),
        TEST(test_store_claim_held_is_granted_to_the_newest_claimer_alone),
        TEST(test_store_claim_held_without_an_incarnation_is_refused),
        TEST(test_store_append_of_the_epoch_of_another_claimer_is_fenced),
        TEST(test_store_cas_swaps_only_the_expected_version),
        TEST(test_store_cas_of_many_at_once_lets_one_win),
        TEST(test_store_cas_refused_by_the_disk_changes_nothing),
        TEST(test_store_cas_malformed_is_refused),
        TEST(test_store_retention_deletes_only_what_is_past_the_window),
        TEST(test_store_retention_finishes_a_backlog_without_new_ticks),
        TEST(test_store_stop_applies_and_then_says_so),
        TEST(test_store_inspect_knows_slots_and_timelines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
