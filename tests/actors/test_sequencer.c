/* Sends: numbering, retries, order, time, bounds, batching. */
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

static void
test_sequencer_send_is_numbered_and_acked_after_the_append(void **state)
{
    struct rig rig;
    uint64_t request;
    const Anser__Bus__Result *r;
    const struct harness_effect *append;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    assert_non_null(append);
    assert_false(rig_answered(&rig, request)); /* the ack means: on disk */
    rig_answer(&rig, append);
    r = rig_result(&rig, request, 0);
    assert_int_equal(r->err, AN_OK);
    assert_int_equal(r->seq, 1);
    assert_int_equal(r->message_id, rig.messages[0].message_id);
    assert_int_equal(r->time_ms, harness_now(rig.h).wall_ms);
    assert_int_equal(r->inbox_seq, rig.messages[0].inbox_seq);
    assert_string_equal(rig.messages[0].body, "hello");
    rig_fini(&rig);
}

static void
test_sequencer_same_id_in_flight_gets_the_first_outcome(void **state)
{
    struct rig rig;
    uint64_t first, second, third;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_send(&rig, &(struct rig_send){.id = 1});
    second = rig_send(&rig, &(struct rig_send){.id = 1}); /* waits for the head too */
    rig_pump_but_appends(&rig);
    third = rig_send(&rig, &(struct rig_send){.id = 1}); /* the append is out */
    rig_pump(&rig);
    assert_int_equal(rig_stored(&rig, 1, 2), 1);
    assert_int_equal(rig_result(&rig, first, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, second, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, third, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, third, 0)->message_id,
                     rig_result(&rig, first, 0)->message_id);
    assert_int_equal(rig_result(&rig, third, 0)->inbox_seq,
                     rig_result(&rig, first, 0)->inbox_seq);
    assert_int_equal(harness_metric(rig.h, "retries_total"), 2);
    rig_fini(&rig);
}

static void
test_sequencer_same_id_in_one_submit_is_stored_once(void **state)
{
    struct rig rig;
    struct rig_send twice[] = {{.id = 1}, {.id = 1}, {.id = 2}};
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_sends(&rig, twice, 3);
    rig_pump(&rig);
    assert_int_equal(rig_stored(&rig, 1, 2), 2);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, request, 1)->seq, 1);
    assert_int_equal(rig_result(&rig, request, 2)->seq, 2);
    rig_fini(&rig);
}

static void
test_sequencer_retry_after_the_ack_gives_the_first_result(void **state)
{
    struct rig rig;
    uint64_t first, again;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    rig_send(&rig, &(struct rig_send){.id = 2});
    rig_pump(&rig);
    again = rig_send(&rig, &(struct rig_send){.id = 1});
    assert_int_equal(rig_result(&rig, again, 0)->seq, 1); /* at once, from memory */
    assert_int_equal(rig_result(&rig, again, 0)->message_id,
                     rig_result(&rig, first, 0)->message_id);
    assert_int_equal(rig_result(&rig, again, 0)->time_ms,
                     rig_result(&rig, first, 0)->time_ms);
    assert_int_equal(rig_stored(&rig, 1, 2), 2);
    rig_fini(&rig);
}

static void
test_sequencer_retry_after_a_restart_asks_the_store(void **state)
{
    struct rig rig;
    uint64_t first, again, other;
    uint64_t id;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = 5});
    rig_pump(&rig);
    id = rig_result(&rig, first, 0)->message_id;
    rig_restart(&rig, NULL);
    again = rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = 5});
    other = rig_send(&rig, &(struct rig_send){.id = 2, .id_age_ms = 9}); /* new, below */
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, again, 0)->message_id, id);
    assert_int_equal(rig_result(&rig, other, 0)->seq, 2);
    assert_int_equal(rig_stored(&rig, 1, 2), 2);
    assert_int_equal(harness_metric(rig.h, "dedupe_reads_total"), 2);
    rig_fini(&rig);
}

static void
test_sequencer_same_id_other_sender_or_conversation_is_another_message(void **state)
{
    struct rig rig;
    uint64_t a, b, c;

    (void)state;
    rig_init_ready(&rig, NULL);
    a = rig_send(&rig, &(struct rig_send){.id = 1});
    b = rig_send(&rig, &(struct rig_send){.id = 1, .sender = 2, .recipient = 1});
    c = rig_send(&rig, &(struct rig_send){.id = 1, .recipient = 3});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, a, 0)->seq, 1);
    assert_int_equal(rig_result(&rig, b, 0)->seq, 2);
    assert_int_equal(rig_result(&rig, c, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_other_body_or_type_is_a_conflict(void **state)
{
    struct rig rig;
    uint64_t flying, body, type, restarted;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    flying = rig_send(&rig, &(struct rig_send){.id = 1, .body = "other"});
    assert_int_equal(err_of(&rig, flying), AN_ERR_ID_CONFLICT);
    rig_pump(&rig);
    body = rig_send(&rig, &(struct rig_send){.id = 1, .body = "other"});
    assert_int_equal(err_of(&rig, body), AN_ERR_ID_CONFLICT);
    type = rig_send(&rig, &(struct rig_send){.id = 1, .type = 2});
    assert_int_equal(err_of(&rig, type), AN_ERR_ID_CONFLICT);
    rig_restart(&rig, NULL);
    restarted = rig_send(&rig, &(struct rig_send){.id = 1, .body = "other"});
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, restarted), AN_ERR_ID_CONFLICT);
    assert_int_equal(rig_stored(&rig, 1, 2), 1);
    rig_fini(&rig);
}

static void
test_sequencer_id_too_old_or_too_new_is_refused(void **state)
{
    const int64_t window = AN_DEDUPE_WINDOW_MS, ahead = AN_DEDUPE_AHEAD_MS;
    struct rig rig;
    uint64_t old, kept, new, near;

    (void)state;
    rig_init_ready(&rig, NULL);
    old = rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = window + 1});
    kept = rig_send(&rig, &(struct rig_send){.id = 2, .id_age_ms = window});
    new = rig_send(&rig, &(struct rig_send){.id = 3, .id_age_ms = -ahead - 1});
    near = rig_send(&rig, &(struct rig_send){.id = 4, .id_age_ms = -ahead});
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, old), AN_ERR_ID_EXPIRED);
    assert_int_equal(err_of(&rig, kept), AN_OK);
    assert_int_equal(err_of(&rig, new), AN_ERR_ID_TIME);
    assert_int_equal(err_of(&rig, near), AN_OK);
    rig_fini(&rig);
}

static void
test_sequencer_refusals_are_not_remembered(void **state)
{
    struct rig rig;
    const struct harness_effect *append;
    uint64_t refused, again;

    (void)state;
    rig_init_ready(&rig, NULL);
    refused = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    rig_refuse(&rig, append, AN_ERR_DISK_FULL, 0);
    assert_int_equal(err_of(&rig, refused), AN_ERR_DISK_FULL);
    assert_true(rig_result(&rig, refused, 0)->retry_after_ms > 0);
    again = rig_send(&rig, &(struct rig_send){.id = 1, .body = "another now"});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 1); /* the number was not used */
    rig_fini(&rig);
}

static void
test_sequencer_malformed_commands_are_refused(void **state)
{
    struct rig rig;
    struct rig_send sends[] = {{.id = 1, .body = ""}, {.id = 2}};
    uint64_t request;
    char *big = malloc(AN_BODY_LEN_MAX + 2);

    (void)state;
    assert_non_null(big);
    memset(big, 'x', AN_BODY_LEN_MAX + 1);
    big[AN_BODY_LEN_MAX + 1] = 0;
    rig_init_ready(&rig, NULL);
    request = rig_sends(&rig, sends, 2);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->err, AN_ERR_BODY_EMPTY);
    assert_int_equal(rig_result(&rig, request, 1)->err, AN_OK);
    request = rig_send(&rig, &(struct rig_send){.id = 3, .body = big});
    assert_int_equal(err_of(&rig, request), AN_ERR_BODY_TOO_LARGE);
    rig_fini(&rig);
    free(big);
}

/* ------------------------------------------------------------------ order */

static void
test_sequencer_order_chain_is_numbered_in_order(void **state)
{
    struct rig rig;
    uint64_t requests[20];

    (void)state;
    rig_init_ready(&rig, NULL);
    for (uint64_t i = 0; i < 20; i++) {
        requests[i] = rig_send(&rig, &(struct rig_send){.id = i + 1, .after = i});
        if (i == 7) {
            rig_pump_but_appends(&rig); /* the rest comes while one append is out */
        }
    }
    rig_pump(&rig);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(rig_result(&rig, requests[i], 0)->seq, i + 1);
    }
    assert_int_equal(rig.appends, 2);
    rig_fini(&rig);
}

static void
test_sequencer_after_an_unknown_send_is_refused_order(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 2, .after = 1});
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_ORDER);
    assert_int_equal(rig_stored(&rig, 1, 2), 0);
    rig_fini(&rig);
}

static void
test_sequencer_refused_append_takes_its_successors_with_it(void **state)
{
    struct rig rig;
    uint64_t a, b, c, free_one;
    const struct harness_effect *append;

    (void)state;
    rig_init_ready(&rig, NULL);
    a = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    b = rig_send(&rig, &(struct rig_send){.id = 2, .after = 1});
    c = rig_send(&rig, &(struct rig_send){.id = 3, .after = 2});
    free_one = rig_send(&rig, &(struct rig_send){.id = 9, .sender = 2, .recipient = 1});
    rig_refuse(&rig, append, AN_ERR_BUSY, 0);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, a), AN_ERR_BUSY);
    assert_int_equal(err_of(&rig, b), AN_ERR_ORDER);
    assert_int_equal(err_of(&rig, c), AN_ERR_ORDER);
    assert_int_equal(rig_result(&rig, free_one, 0)->seq, 1);
    assert_int_equal(rig_stored(&rig, 1, 2), 1);
    rig_fini(&rig);
}

static void
test_sequencer_after_a_send_stored_before_a_restart_is_accepted(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1, .id_age_ms = 3});
    rig_pump(&rig);
    rig_restart(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 2, .after = 1, .after_age_ms = 3});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 2);
    request = rig_send(
        &rig, &(struct rig_send){.id = 4, .after = 3, .id_age_ms = 1, .after_age_ms = 4});
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_ORDER);
    rig_fini(&rig);
}

static void
test_sequencer_later_sends_wait_behind_a_question(void **state)
{
    struct rig rig;
    uint64_t old, young;
    const struct harness_effect *read;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    rig_restart(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 5, .id_age_ms = -1}); /* loads the head */
    rig_pump(&rig);
    old =
        rig_send(&rig, &(struct rig_send){.id = 2, .id_age_ms = 7}); /* below the mark */
    read = harness_take_ask(rig.h, AN_ROLE_STORE, AN_KIND_READ);
    assert_non_null(read);
    young = rig_send(&rig, &(struct rig_send){.id = 3, .id_age_ms = -7});
    assert_null(rig_take_append(&rig));
    harness_answer(rig.h, read, AN_ERR_UNAVAILABLE, NULL);
    harness_drain(rig.h);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, old), AN_ERR_UNAVAILABLE);
    assert_int_equal(rig_result(&rig, young, 0)->seq, 3);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ time */

static void
test_sequencer_message_time_never_goes_back(void **state)
{
    struct rig rig;
    uint64_t first, second;

    (void)state;
    rig_init_ready(&rig, NULL);
    first = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    harness_wall(rig.h, -60000);
    second = rig_send(&rig, &(struct rig_send){.id = 2});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, second, 0)->time_ms,
                     rig_result(&rig, first, 0)->time_ms);
    rig_restart(&rig, NULL);
    harness_wall(rig.h, -60000);
    second = rig_send(&rig, &(struct rig_send){.id = 3});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, second, 0)->time_ms,
                     rig_result(&rig, first, 0)->time_ms);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ batches, bounds */

static void
test_sequencer_while_one_append_is_out_the_rest_is_one_batch(void **state)
{
    struct rig rig;
    const struct harness_effect *first, *second;
    const Anser__Bus__Append *append;
    size_t entries = 0;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    first = rig_take_append(&rig);
    for (uint64_t i = 0; i < 100; i++) {
        rig_send(&rig, &(struct rig_send){.id = 10 + i, .recipient = 2 + i % 10});
        rig_pump_but_appends(&rig);
    }
    assert_null(rig_take_append(&rig)); /* one at a time */
    rig_answer(&rig, first);
    second = rig_take_append(&rig);
    append = harness_body(second);
    for (size_t i = 0; i < append->n_slots; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(append->slots[i]->slot, append->slots[j]->slot);
        }
        entries += append->slots[i]->n_entries;
    }
    assert_int_equal(entries, 100);
    rig_answer(&rig, second);
    assert_null(rig_take_append(&rig));
    assert_int_equal(rig_stored(&rig, 1, 2), 11);
    rig_fini(&rig);
}

static void
test_sequencer_batches_are_bounded_in_items(void **state)
{
    struct rig rig;
    struct rig_send *sends = calloc(1024, sizeof(*sends));
    uint64_t requests[3];

    (void)state;
    assert_non_null(sends);
    rig_init_ready(&rig, &(struct sequencer_cfg){.dedupe_rows_max = 8192});
    for (uint64_t r = 0; r < 3; r++) {
        for (uint64_t i = 0; i < 1024; i++) {
            sends[i].id = 1 + r * 1024 + i;
        }
        requests[r] = rig_sends(&rig, sends, 1024);
    }
    rig_pump(&rig);
    assert_int_equal(rig_stored(&rig, 1, 2), 3072);
    assert_int_equal(rig_result(&rig, requests[2], 1023)->seq, 3072);
    assert_true(rig.appends >= 3);
    rig_fini(&rig);
    free(sends);
}

static void
test_sequencer_pending_bytes_bound_answers_busy(void **state)
{
    struct rig rig;
    struct sequencer_cfg cfg = {.pending_bytes_max = 10 * 600};
    uint64_t busy;

    (void)state;
    rig_init_ready(&rig, &cfg);
    for (uint64_t i = 1; i <= 11; i++) {
        rig_send(&rig, &(struct rig_send){.id = i});
    }
    busy = rig_send(&rig, &(struct rig_send){.id = 12, .after = 11});
    assert_int_equal(err_of(&rig, busy), AN_ERR_BUSY);
    assert_true(rig_result(&rig, busy, 0)->retry_after_ms > 0);
    rig_pump(&rig);
    assert_int_equal(rig_stored(&rig, 1, 2), 11);
    assert_int_equal(harness_metric(rig.h, "pending_bytes"), 0);
    busy = rig_send(&rig, &(struct rig_send){.id = 12, .after = 11});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, busy, 0)->seq, 12);
    rig_fini(&rig);
}

static void
test_sequencer_dedupe_bound_raises_the_watermark_and_asks(void **state)
{
    struct rig rig;
    struct sequencer_cfg cfg = {.dedupe_rows_max = 8};
    uint64_t again, new;

    (void)state;
    rig_init_ready(&rig, &cfg);
    for (uint64_t i = 1; i <= 20; i++) {
        rig_send(&rig, &(struct rig_send){.id = i, .id_age_ms = 20 - (int64_t)i});
        rig_pump(&rig);
    }
    assert_int_equal(harness_metric(rig.h, "dedupe_rows"), 8);
    assert_int_equal(harness_metric(rig.h, "dedupe_reads_total"), 0);
    again = rig_send(&rig, &(struct rig_send){.id = 3, .id_age_ms = 17});
    new = rig_send(&rig, &(struct rig_send){.id = 99, .id_age_ms = 17});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 3);
    assert_int_equal(rig_result(&rig, new, 0)->seq, 21);
    assert_int_equal(harness_metric(rig.h, "dedupe_reads_total"), 2);
    rig_fini(&rig);
}

static void
test_sequencer_dedupe_all_in_flight_answers_busy(void **state)
{
    struct rig rig;
    struct sequencer_cfg cfg = {.dedupe_rows_max = 4};
    struct rig_send sends[6] = {{.id = 1}, {.id = 2}, {.id = 3},
                                {.id = 4}, {.id = 5}, {.id = 6}};
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, &cfg);
    request = rig_sends(&rig, sends, 6);
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 3)->seq, 4);
    assert_int_equal(rig_result(&rig, request, 4)->err, AN_ERR_BUSY);
    assert_int_equal(rig_result(&rig, request, 5)->err, AN_ERR_BUSY);
    rig_fini(&rig);
}

static void
test_sequencer_conversation_cache_at_its_bound_reloads(void **state)
{
    struct rig rig;
    struct sequencer_cfg cfg = {.convs_max = 4};

    (void)state;
    rig_init_ready(&rig, &cfg);
    for (uint64_t i = 0; i < 60; i++) {
        rig_send(&rig, &(struct rig_send){.id = 1 + i, .recipient = 2 + i % 12});
        rig_pump(&rig);
    }
    for (uint64_t peer = 2; peer < 14; peer++) {
        assert_int_equal(rig_stored(&rig, 1, peer),
                         5); /* no number twice, none left out */
    }
    assert_int_equal(harness_metric(rig.h, "conversations"), 4);
    rig_fini(&rig);
}

static void
test_sequencer_conversations_all_busy_answers_busy(void **state)
{
    struct rig rig;
    struct sequencer_cfg cfg = {.convs_max = 2};
    uint64_t busy;

    (void)state;
    rig_init_ready(&rig, &cfg);
    rig_send(&rig, &(struct rig_send){.id = 1, .recipient = 2});
    rig_send(&rig, &(struct rig_send){.id = 2, .recipient = 3});
    busy = rig_send(&rig, &(struct rig_send){.id = 3, .recipient = 4});
    assert_int_equal(err_of(&rig, busy), AN_ERR_BUSY);
    rig_pump(&rig);
    rig_fini(&rig);
}

static void
test_sequencer_message_to_oneself_is_one_conversation(void **state)
{
    struct rig rig;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    request = rig_send(&rig, &(struct rig_send){.id = 1, .sender = 5, .recipient = 5});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, request, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_sequencer_expired_request_is_not_stored(void **state)
{
    struct rig rig;
    uint64_t late;
    const struct harness_effect *append;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump_but_appends(&rig);
    append = rig_take_append(&rig);
    late = rig_send(&rig, &(struct rig_send){.id = 2});
    harness_advance(rig.h, AN_ASK_MS);
    rig_answer(&rig, append);
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, late), AN_ERR_EXPIRED);
    assert_int_equal(rig_stored(&rig, 1, 2), 1);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ ids */

static void
test_sequencer_without_ids_is_unavailable_and_recovers(void **state)
{
    struct rig rig;
    struct rig_send *sends = calloc(1024, sizeof(*sends));
    uint64_t request, again;

    (void)state;
    assert_non_null(sends);
    rig_init_ready(&rig, NULL);
    rig.no_ids = true;
    for (uint64_t i = 0; i < 1024; i++) {
        sends[i].id = 1 + i;
    }
    rig_sends(&rig, sends, 1024);
    rig_pump(&rig);
    request = rig_send(&rig, &(struct rig_send){.id = 5000});
    rig_pump(&rig);
    assert_int_equal(err_of(&rig, request), AN_ERR_UNAVAILABLE);
    assert_int_equal(rig_stored(&rig, 1, 2), 1024);
    rig.no_ids = false;
    again = rig_send(&rig, &(struct rig_send){.id = 5000});
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, again, 0)->seq, 1025);
    rig_fini(&rig);
    free(sends);
}

static void
test_sequencer_old_ids_are_thrown_away(void **state)
{
    struct rig rig;
    uint64_t a, b;

    (void)state;
    rig_init_ready(&rig, NULL);
    a = rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    harness_advance(rig.h, 20000);
    b = rig_send(&rig, &(struct rig_send){.id = 2});
    rig_pump(&rig);
    assert_int_not_equal(rig_result(&rig, a, 0)->message_id >> 22,
                         rig_result(&rig, b, 0)->message_id >> 22);
    rig_fini(&rig);
}

/* ------------------------------------------------------------------ the rest */

static void
test_sequencer_events_only_while_watched_and_without_bodies(void **state)
{
    struct rig rig;
    const struct harness_effect *event;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    rig_pump(&rig);
    assert_null(harness_take(rig.h, AN_EFFECT_EVENT));
    harness_watch(rig.h, true);
    rig_send(&rig, &(struct rig_send){.id = 2, .body = "secret"});
    rig_pump(&rig);
    event = harness_take_event(rig.h, "message.order");
    assert_non_null(event);
    assert_non_null(strstr(event->text, "\"seq\":\"2\""));
    assert_non_null(strstr(event->text, "\"trace\":\"0000000000000002\""));
    assert_null(strstr(event->text, "secret"));
    rig_fini(&rig);
}

static void
test_sequencer_number_leaves_a_hop_for_the_trace(void **state)
{
    struct rig rig;
    const struct an_hop_note *hop;
    uint64_t request;

    (void)state;
    rig_init_ready(&rig, NULL);
    rig_send(&rig, &(struct rig_send){.id = 1});
    request = rig_send(&rig, &(struct rig_send){.id = 2});
    rig_pump(&rig);
    hop = harness_hop(rig.h, AN_HOP_ORDER);
    assert_non_null(hop);
    assert_int_equal(hop->trace, 2);
    assert_int_equal(hop->message_id, rig_result(&rig, request, 0)->message_id);
    assert_int_equal(hop->detail, 2);
    rig_fini(&rig);
}

static void
test_sequencer_stop_finishes_what_it_took_on(void **state)
{
    struct rig rig;
    uint64_t taken, late;

    (void)state;
    rig_init_ready(&rig, NULL);
    taken = rig_send(&rig, &(struct rig_send){.id = 1});
    harness_stop(rig.h);
    harness_drain(rig.h);
    late = rig_send(&rig, &(struct rig_send){.id = 2});
    assert_int_equal(harness_reply(rig.h, late)->e.err, AN_ERR_SHUTTING_DOWN);
    assert_null(harness_take(rig.h, AN_EFFECT_STOPPED));
    rig_pump(&rig);
    assert_int_equal(rig_result(&rig, taken, 0)->seq, 1);
    assert_non_null(harness_take(rig.h, AN_EFFECT_STOPPED));
    rig_fini(&rig);
}

static void
test_sequencer_empty_or_oversized_submit_is_refused(void **state)
{
    struct rig rig;
    struct rig_send *sends = calloc(1025, sizeof(*sends));
    uint64_t request;

    (void)state;
    assert_non_null(sends);
    rig_init_ready(&rig, NULL);
    request = rig_sends(&rig, sends, 0);
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_ARGUMENT);
    request = rig_sends(&rig, sends, 1025);
    assert_int_equal(harness_reply(rig.h, request)->e.err, AN_ERR_ARGUMENT);
    rig_fini(&rig);
    free(sends);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequencer_send_is_numbered_and_acked_after_the_append),
        cmocka_unit_test(test_sequencer_same_id_in_flight_gets_the_first_outcome),
        cmocka_unit_test(test_sequencer_same_id_in_one_submit_is_stored_once),
        cmocka_unit_test(test_sequencer_retry_after_the_ack_gives_the_first_result),
        cmocka_unit_test(test_sequencer_retry_after_a_restart_asks_the_store),
        cmocka_unit_test(
            test_sequencer_same_id_other_sender_or_conversation_is_another_message),
        cmocka_unit_test(test_sequencer_other_body_or_type_is_a_conflict),
        cmocka_unit_test(test_sequencer_id_too_old_or_too_new_is_refused),
        cmocka_unit_test(test_sequencer_refusals_are_not_remembered),
        cmocka_unit_test(test_sequencer_malformed_commands_are_refused),
        cmocka_unit_test(test_sequencer_order_chain_is_numbered_in_order),
        cmocka_unit_test(test_sequencer_after_an_unknown_send_is_refused_order),
        cmocka_unit_test(test_sequencer_refused_append_takes_its_successors_with_it),
        cmocka_unit_test(test_sequencer_after_a_send_stored_before_a_restart_is_accepted),
        cmocka_unit_test(test_sequencer_later_sends_wait_behind_a_question),
        cmocka_unit_test(test_sequencer_message_time_never_goes_back),
        cmocka_unit_test(test_sequencer_while_one_append_is_out_the_rest_is_one_batch),
        cmocka_unit_test(test_sequencer_batches_are_bounded_in_items),
        cmocka_unit_test(test_sequencer_pending_bytes_bound_answers_busy),
        cmocka_unit_test(test_sequencer_dedupe_bound_raises_the_watermark_and_asks),
        cmocka_unit_test(test_sequencer_dedupe_all_in_flight_answers_busy),
        cmocka_unit_test(test_sequencer_conversation_cache_at_its_bound_reloads),
        cmocka_unit_test(test_sequencer_conversations_all_busy_answers_busy),
        cmocka_unit_test(test_sequencer_message_to_oneself_is_one_conversation),
        cmocka_unit_test(test_sequencer_expired_request_is_not_stored),
        cmocka_unit_test(test_sequencer_without_ids_is_unavailable_and_recovers),
        cmocka_unit_test(test_sequencer_old_ids_are_thrown_away),
        cmocka_unit_test(test_sequencer_events_only_while_watched_and_without_bodies),
        cmocka_unit_test(test_sequencer_number_leaves_a_hop_for_the_trace),
        cmocka_unit_test(test_sequencer_stop_finishes_what_it_took_on),
        cmocka_unit_test(test_sequencer_empty_or_oversized_submit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
