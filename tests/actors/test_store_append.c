/* Appends: numbers, fences, refusals that leave no trace, restarts. */
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

static uint64_t
inbox_head(struct store_rig *rig, uint64_t user)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__HeadQuery head = ANSER__BUS__HEAD_QUERY__INIT;
    const Anser__Bus__Answer *answer;

    head.user = user;
    query.slot = an_slot_user(user);
    query.what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    query.head = &head;
    answer = store_rig_query(rig, &query);
    assert_int_equal(answer->err, AN_OK);
    return answer->inbox_head;
}

static void
test_store_append_message_numbers_both_inboxes(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__AppendedSlot *slot;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_claim_pair(rig, 1, 3);
    slot = store_rig_send(rig, 1, 2, 1);
    assert_int_equal(slot->err, AN_OK);
    assert_int_equal(slot->n_inbox_seqs, 1);
    assert_int_equal(slot->inbox_seqs[0], 1);
    slot = store_rig_send(rig, 3, 1, 1);
    assert_int_equal(slot->inbox_seqs[0], 1); /* the sender's: the first of user 3 */
    assert_int_equal(slot->n_recipient_inbox_seqs, 1);
    assert_int_equal(slot->recipient_inbox_seqs[0], 2); /* the second of user 1 */
    slot = store_rig_send(rig, 1, 2, 2);
    assert_int_equal(slot->inbox_seqs[0], 3);
    assert_int_equal(inbox_head(rig, 1), 3);
    assert_int_equal(inbox_head(rig, 2), 2);
    assert_int_equal(inbox_head(rig, 3), 1);
    assert_int_equal(store_rig_head(rig, 2, 1), 2);
}

static void
test_store_append_batch_keeps_log_order(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message messages[50];
    Anser__Bus__Entry *entries[50];
    const Anser__Bus__AppendedSlot *slot;

    store_rig_claim_pair(rig, 5, 6);
    for (unsigned i = 0; i < 50; i++) {
        store_rig_message(&messages[i], i % 2 ? 5 : 6, i % 2 ? 6 : 5, i + 1);
        entries[i] = &messages[i].entry;
    }
    slot = store_rig_append(rig, store_rig_slot(5, 6), entries, 50);
    assert_int_equal(slot->err, AN_OK);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(slot->inbox_seqs[i], i + 1);
    }
    assert_int_equal(harness_metric(rig->h, "batches_total"), 2); /* with the claim */
    assert_int_equal(harness_metric(rig->h, "messages_total"), 50);
    /* Own rows: message, dedupe, two entries; one row for each of three heads. */
    assert_int_equal(harness_metric(rig->h, "engine_log_rows_total"), 1 + 50 * 4 + 3);
}

static void
test_store_append_to_oneself_has_one_entry(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__AppendedSlot *slot;

    store_rig_claim_pair(rig, 4, 4);
    slot = store_rig_send(rig, 4, 4, 1);
    assert_int_equal(slot->err, AN_OK);
    assert_int_equal(slot->inbox_seqs[0], 1);
    assert_int_equal(slot->recipient_inbox_seqs[0], 0);
    slot = store_rig_send(rig, 4, 4, 2);
    assert_int_equal(slot->inbox_seqs[0], 2);
    assert_int_equal(inbox_head(rig, 4), 2);
}

static void
test_store_append_wrong_number_is_gap(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__AppendedSlot *slot;

    store_rig_claim_pair(rig, 1, 2);
    slot = store_rig_send(rig, 1, 2, 2);
    assert_int_equal(slot->err, AN_ERR_GAP);
    assert_int_equal(slot->head, 0);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
    slot = store_rig_send(rig, 1, 2, 1); /* the same again */
    assert_int_equal(slot->err, AN_ERR_GAP);
    assert_int_equal(slot->head, 1);
    assert_int_equal(inbox_head(rig, 2), 1);
    assert_int_equal(harness_metric(rig->h, "slots_gap_total"), 2);
}

static void
test_store_append_gap_inside_a_slot_refuses_all_of_it(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message messages[3];
    Anser__Bus__Entry *entries[3];

    store_rig_claim_pair(rig, 1, 2);
    for (unsigned i = 0; i < 3; i++) {
        store_rig_message(&messages[i], 1, 2, i == 2 ? 4 : i + 1);
        entries[i] = &messages[i].entry;
    }
    assert_int_equal(store_rig_append(rig, store_rig_slot(1, 2), entries, 3)->err,
                     AN_ERR_GAP);
    assert_int_equal(store_rig_head(rig, 1, 2), 0);
    assert_int_equal(inbox_head(rig, 1), 0);
    store_rig_talk(rig, 1, 2, 1, 3);
    assert_int_equal(store_rig_head(rig, 1, 2), 3);
}

static void
test_store_append_stale_epoch_is_fenced(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__AppendedSlot *slot;
    uint16_t number = store_rig_slot(1, 2);

    slot = store_rig_send(rig, 1, 2, 1); /* nobody ever claimed it */
    assert_int_equal(slot->err, AN_ERR_FENCED);
    store_rig_claim_pair(rig, 1, 2);
    store_rig_claim_pair(rig, 1, 2);
    rig->epochs[number]--;
    slot = store_rig_send(rig, 1, 2, 1);
    assert_int_equal(slot->err, AN_ERR_FENCED);
    assert_int_equal(slot->epoch, rig->epochs[number] + 1);
    assert_int_equal(slot->owner, 0);
    rig->epochs[number]++;
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
}

static void
test_store_append_foreign_slot_is_not_mine(void **state)
{
    struct store_rig *rig = *state;
    uint16_t number = store_rig_slot(1, 2);

    store_rig_close(rig);
    store_rig_destroy(rig);
    rig = store_rig_create();
    *state = rig;
    rig->topology.slot_store[number] = 1;
    store_rig_open(rig);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_ERR_NOT_MINE);
}

static void
test_store_append_malformed_entries_are_refused(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message m;
    Anser__Bus__Entry *entry = &m.entry;
    uint16_t slot = store_rig_slot(1, 2);

    store_rig_claim(rig, slot);
    store_rig_message(&m, 1, 2, 1);
    m.message.sender = 3; /* not of this conversation */
    assert_int_equal(store_rig_append(rig, slot, &entry, 1)->err, AN_ERR_ARGUMENT);
    store_rig_message(&m, 1, 2, 1);
    m.message.client_msg_id.len = 15;
    assert_int_equal(store_rig_append(rig, slot, &entry, 1)->err, AN_ERR_ARGUMENT);
    store_rig_message(&m, 1, 2, 1);
    m.message.body.len = 0;
    assert_int_equal(store_rig_append(rig, slot, &entry, 1)->err, AN_ERR_ARGUMENT);
    store_rig_message(&m, 1, 3, 1); /* another slot's */
    assert_int_equal(store_rig_append(rig, slot, &entry, 1)->err, AN_ERR_ARGUMENT);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
    store_rig_message(&m, 2, 1, 2);
    m.message.time_ms = store_rig_time(0); /* time goes back */
    assert_int_equal(store_rig_append(rig, slot, &entry, 1)->err, AN_ERR_ARGUMENT);
    assert_int_equal(harness_metric(rig->h, "slots_bad_total"), 5);
    assert_int_equal(store_rig_head(rig, 1, 2), 1);
}

/* Two slots in one request: one is refused, the other stored. */
static void
test_store_append_slots_are_judged_alone(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message good, bad;
    Anser__Bus__Entry *good_entry = &good.entry;
    Anser__Bus__Entry *bad_entry = &bad.entry;
    Anser__Bus__AppendSlot slots[2] = {ANSER__BUS__APPEND_SLOT__INIT,
                                       ANSER__BUS__APPEND_SLOT__INIT};
    Anser__Bus__AppendSlot *list[2] = {&slots[0], &slots[1]};
    Anser__Bus__Append append = ANSER__BUS__APPEND__INIT;
    const Anser__Bus__Appended *done;
    enum an_err err;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_claim_pair(rig, 1, 3);
    assert_int_not_equal(store_rig_slot(1, 2), store_rig_slot(1, 3));
    store_rig_message(&bad, 1, 2, 7);
    store_rig_message(&good, 1, 3, 1);
    slots[0].slot = store_rig_slot(1, 2);
    slots[0].epoch = rig->epochs[slots[0].slot];
    slots[0].entries = &bad_entry;
    slots[0].n_entries = 1;
    slots[1].slot = store_rig_slot(1, 3);
    slots[1].epoch = rig->epochs[slots[1].slot];
    slots[1].entries = &good_entry;
    slots[1].n_entries = 1;
    append.slots = list;
    append.n_slots = 2;
    done = store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_APPEND, &append.base, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(done->slots[0]->err, AN_ERR_GAP);
    assert_int_equal(done->slots[0]->n_inbox_seqs, 0);
    assert_int_equal(done->slots[1]->err, AN_OK);
    assert_int_equal(inbox_head(rig, 1), 1);
    assert_int_equal(inbox_head(rig, 2), 0);
}

static void
test_store_append_full_disk_leaves_no_trace(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__AppendedSlot *slot;

    store_rig_claim_pair(rig, 1, 2);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
    while (harness_take_ask(rig->h, AN_ROLE_ROUTER, AN_KIND_PUSH) != NULL) {
    }
    files_sim_fail(rig->sim, FILES_SIM_WRITE_FULL, ".seg", 1);
    slot = store_rig_send(rig, 1, 2, 2);
    assert_int_equal(slot->err, AN_ERR_DISK_FULL);
    assert_int_equal(slot->n_inbox_seqs, 0);
    assert_int_equal(inbox_head(rig, 1), 1);
    assert_int_equal(inbox_head(rig, 2), 1);
    assert_int_equal(store_rig_head(rig, 1, 2), 1);
    assert_null(harness_take_ask(rig->h, AN_ROLE_ROUTER, AN_KIND_PUSH));
    /* The same number again: nothing of the refused one is in the way. */
    slot = store_rig_send(rig, 1, 2, 2);
    assert_int_equal(slot->err, AN_OK);
    assert_int_equal(slot->inbox_seqs[0], 2);
    assert_int_equal(harness_metric(rig->h, "batches_refused_total"), 1);
    store_rig_close(rig);
    store_rig_open(rig);
    assert_int_equal(inbox_head(rig, 2), 2);
    assert_int_equal(store_rig_head(rig, 1, 2), 2);
}

/* A FENCED that rests on a claim which the full disk then refused must not be told. */
static void
test_store_append_behind_refused_claim_is_not_fenced(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message m;
    Anser__Bus__Entry *entry = &m.entry;
    Anser__Bus__Claim claim = ANSER__BUS__CLAIM__INIT;
    struct an_addr other = {AN_ROLE_SEQUENCER, 1};
    uint32_t slot = store_rig_slot(1, 2);
    uint64_t claimed, appended;
    const Anser__Bus__Appended *done;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 1); /* the heads are known: both are ready at once */
    claim.sequencer = 1;
    claim.slots = &slot;
    claim.n_slots = 1;
    files_sim_fail(rig->sim, FILES_SIM_WRITE_FULL, ".seg", 1);
    claimed = harness_request(rig->h, other, AN_KIND_CLAIM, &claim.base);
    store_rig_message(&m, 1, 2, 2);
    appended = store_rig_append_begin(rig, (uint16_t)slot, &entry, 1);
    store_rig_settle(rig);
    assert_int_equal(harness_reply(rig->h, claimed)->e.err, AN_ERR_DISK_FULL);
    done = harness_body(harness_reply(rig->h, appended));
    assert_int_equal(done->slots[0]->err, AN_ERR_DISK_FULL);
    assert_int_equal(store_rig_send(rig, 1, 2, 2)->err, AN_OK);
    assert_int_equal(store_rig_head(rig, 1, 2), 2);
}

/* Heads that are not in memory are read first; the request waits, others do not. */
static void
test_store_append_after_restart_loads_heads(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__AppendedSlot *slot;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 5);
    store_rig_close(rig);
    store_rig_open(rig);
    slot = store_rig_send(rig, 2, 1, 6); /* the epoch of before still holds */
    assert_int_equal(slot->err, AN_OK);
    assert_int_equal(slot->inbox_seqs[0], 6);
    assert_true(harness_metric(rig->h, "loads_total") >= 1);
    assert_int_equal(store_rig_send(rig, 2, 1, 6)->err, AN_ERR_GAP);
}

/* Requests of several sequencers that wait for the same read end in one record. */
static void
test_store_append_parked_requests_share_a_record(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message m[3];
    uint64_t ids[3];
    uint64_t before;

    for (uint64_t i = 0; i < 3; i++) {
        store_rig_claim_pair(rig, 1, 10 + i);
    }
    before = harness_metric(rig->h, "batches_total");
    for (unsigned i = 0; i < 3; i++) {
        Anser__Bus__Entry *entry = &m[i].entry;

        store_rig_message(&m[i], 1, 10 + i, 1);
        ids[i] = store_rig_append_begin(rig, store_rig_slot(1, 10 + i), &entry, 1);
        assert_null(harness_reply(rig->h, ids[i]));
    }
    store_rig_settle(rig);
    for (unsigned i = 0; i < 3; i++) {
        const Anser__Bus__Appended *done = harness_body(harness_reply(rig->h, ids[i]));

        assert_int_equal(done->slots[0]->err, AN_OK);
        assert_int_equal(done->slots[0]->inbox_seqs[0], i + 1);
    }
    assert_int_equal(harness_metric(rig->h, "batches_total"), before + 1);
    assert_int_equal(inbox_head(rig, 1), 3);
}

static void
test_store_append_expired_request_writes_nothing(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message m;
    Anser__Bus__Entry *entry = &m.entry;
    const Anser__Bus__Appended *done;
    uint64_t id;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_message(&m, 1, 2, 1);
    id = store_rig_append_begin(rig, store_rig_slot(1, 2), &entry, 1);
    /* Its heads are still being read when nobody waits for the answer any more. */
    harness_advance(rig->h, AN_ASK_MS + 1);
    store_rig_settle(rig);
    done = harness_body(harness_reply(rig->h, id));
    assert_int_equal(done->slots[0]->err, AN_ERR_EXPIRED);
    assert_int_equal(store_rig_head(rig, 1, 2), 0);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
}

static void
test_store_append_cursor_beyond_head_is_refused(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__DeviceEntry device = ANSER__BUS__DEVICE_ENTRY__INIT;
    uint16_t slot = an_slot_user(2);

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 3);
    store_rig_claim(rig, slot);
    device.user = 2;
    device.device.data = (uint8_t *)(uintptr_t) "tablet";
    device.device.len = 6;
    device.confirmed_ms = 1;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE;
    entry.device = &device;
    device.cursor = 4;
    assert_int_equal(store_rig_append(rig, slot, &list, 1)->err, AN_ERR_CURSOR_AHEAD);
    device.cursor = 3;
    assert_int_equal(store_rig_append(rig, slot, &list, 1)->err, AN_OK);
}

static enum an_err
numbered_cursor(struct store_rig *rig, uint16_t slot, uint64_t number, uint64_t cursor)
{
    Anser__Bus__Append body = ANSER__BUS__APPEND__INIT;
    Anser__Bus__AppendSlot group = ANSER__BUS__APPEND_SLOT__INIT;
    Anser__Bus__AppendSlot *groups = &group;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__DeviceEntry device = ANSER__BUS__DEVICE_ENTRY__INIT;
    enum an_err err;

    device.user = 2;
    device.device.data = (uint8_t *)(uintptr_t) "tablet";
    device.device.len = 6;
    device.confirmed_ms = 1;
    device.cursor = cursor;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE;
    entry.device = &device;
    group.slot = slot;
    group.epoch = rig->epochs[slot];
    group.entries = &list;
    group.n_entries = 1;
    body.slots = &groups;
    body.n_slots = 1;
    body.incarnation = 77;
    body.number = number;
    store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_APPEND, &body.base, &err);
    return err;
}

/* Nothing in a late copy says that it is one; the cursor must not go back all the same.
 */
static void
test_store_append_that_comes_late_moves_no_cursor_back(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__DeviceQuery device = ANSER__BUS__DEVICE_QUERY__INIT;
    uint16_t slot = an_slot_user(2);

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 3);
    store_rig_claim(rig, slot);
    assert_int_equal(numbered_cursor(rig, slot, 1, 1), AN_OK);
    assert_int_equal(numbered_cursor(rig, slot, 2, 3), AN_OK);
    assert_int_equal(numbered_cursor(rig, slot, 1, 1), AN_ERR_TIMEOUT);
    assert_int_equal(numbered_cursor(rig, slot, 2, 3), AN_ERR_TIMEOUT);
    device.user = 2;
    device.device.data = (uint8_t *)(uintptr_t) "tablet";
    device.device.len = 6;
    query.slot = slot;
    query.what_case = ANSER__BUS__QUERY__WHAT_DEVICE;
    query.device = &device;
    assert_int_equal(store_rig_query(rig, &query)->cursor, 3);
}

static void
test_store_append_commit_event_names_the_message(void **state)
{
    struct store_rig *rig = *state;
    const struct harness_effect *event;

    store_rig_claim_pair(rig, 1, 2);
    harness_watch(rig->h, true);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
    event = harness_take_event(rig->h, "message.commit");
    assert_non_null(event);
    assert_non_null(strstr(event->text, "\"trace\":\"0000000000abc001\""));
    assert_non_null(strstr(event->text, "\"seq\":\"1\","));
    assert_null(strstr(event->text, "message 1")); /* never a body */
    assert_non_null(harness_take_event(rig->h, "message.push"));
}

/* Under load no second may pass before an apply that is due begins. */
static void
test_store_append_starts_an_apply_that_is_due(void **state)
{
    struct store_rig *rig = *state;

    store_rig_close(rig);
    rig->cfg.engine.overlay_rows_max = 60;
    store_rig_open(rig);
    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 40);
    assert_true(harness_metric(rig->h, "engine_applies_total") >= 2);
    assert_int_equal(harness_metric(rig->h, "messages_total"), 40);
}

int
main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, store_rig_setup, store_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store_append_message_numbers_both_inboxes),
        TEST(test_store_append_batch_keeps_log_order),
        TEST(test_store_append_to_oneself_has_one_entry),
        TEST(test_store_append_wrong_number_is_gap),
        TEST(test_store_append_gap_inside_a_slot_refuses_all_of_it),
        TEST(test_store_append_stale_epoch_is_fenced),
        TEST(test_store_append_foreign_slot_is_not_mine),
        TEST(test_store_append_malformed_entries_are_refused),
        TEST(test_store_append_slots_are_judged_alone),
        TEST(test_store_append_full_disk_leaves_no_trace),
        TEST(test_store_append_behind_refused_claim_is_not_fenced),
        TEST(test_store_append_after_restart_loads_heads),
        TEST(test_store_append_parked_requests_share_a_record),
        TEST(test_store_append_expired_request_writes_nothing),
        TEST(test_store_append_cursor_beyond_head_is_refused),
        TEST(test_store_append_commit_event_names_the_message),
        TEST(test_store_append_starts_an_apply_that_is_due),
        TEST(test_store_append_that_comes_late_moves_no_cursor_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
