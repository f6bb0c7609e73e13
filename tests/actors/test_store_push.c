/* Pushes: who is told what after the sync, and what happens when a router is slow; and
 * the table of heads. */
#include "actors/store/heads.h"
#include "core/rng.h"
#include "core/slot.h"
#include "proto/frame.h"
#include "tests/actors/store_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static const struct harness_effect *
take_push(struct store_rig *rig)
{
    return harness_take_ask(rig->h, AN_ROLE_ROUTER, AN_KIND_PUSH);
}

static void
answer_push(struct store_rig *rig, const struct harness_effect *ask, enum an_err err)
{
    Anser__Bus__Pushed done = ANSER__BUS__PUSHED__INIT;

    harness_answer(rig->h, ask, err, err == AN_OK ? &done.base : NULL);
    store_rig_settle(rig);
}

static void
test_store_push_message_tells_recipient_and_senders_others(void **state)
{
    struct store_rig *rig = *state;
    const struct harness_effect *ask;
    const Anser__Bus__Push *push;
    const Anser__Bus__PushItem *item;
    Anser__Client__Event *event;
    Anser__Client__Receipt *receipt;

    store_rig_claim_pair(rig, 1, 2);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
    ask = take_push(rig);
    assert_non_null(ask);
    assert_int_equal(ask->e.trace, 0xabc001);
    push = harness_body(ask);
    assert_int_equal(push->n_items, 2);

    item = push->items[0];
    assert_int_equal(item->user, 2);
    assert_int_equal(item->command, AN_COMMAND_EVENT);
    assert_int_equal(item->except_device.len, 0);
    assert_int_equal(item->tell_user, 1);
    assert_int_not_equal(item->message_id, 0);
    event = anser__client__event__unpack(NULL, item->body.len, item->body.data);
    assert_int_equal(event->inbox_seq, 1);
    assert_int_equal(event->inbox_generation, harness_now(rig->h).wall_ms);
    assert_int_equal(event->message->seq, 1);
    assert_true(store_rig_is(event->message->body, "message 1"));
    assert_true(store_rig_is(event->message->from, "u1"));
    anser__client__event__free_unpacked(event, NULL);
    receipt =
        anser__client__receipt__unpack(NULL, item->tell_body.len, item->tell_body.data);
    assert_int_equal(receipt->kind, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_STORED);
    assert_int_equal(receipt->seq, 1);
    assert_true(store_rig_is(receipt->peer, "u2"));
    anser__client__receipt__free_unpacked(receipt, NULL);

    item = push->items[1];
    assert_int_equal(item->user, 1);
    assert_true(store_rig_is(item->except_device, "phone"));
    assert_int_equal(item->tell_user, 0);
}

static void
test_store_push_to_oneself_reaches_every_device(void **state)
{
    struct store_rig *rig = *state;
    const Anser__Bus__Push *push;

    store_rig_claim_pair(rig, 4, 4);
    assert_int_equal(store_rig_send(rig, 4, 4, 1)->err, AN_OK);
    push = harness_body(take_push(rig));
    assert_int_equal(push->n_items, 1);
    assert_int_equal(push->items[0]->user, 4);
    assert_int_equal(push->items[0]->except_device.len, 0);
    assert_int_equal(push->items[0]->tell_user, 0);
}

static void
test_store_push_delivered_tells_the_peer(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__DeliveredEntry delivered = ANSER__BUS__DELIVERED_ENTRY__INIT;
    struct an_conv conv = an_conv_direct(1, 2);
    const Anser__Bus__Push *push;
    Anser__Client__Receipt *receipt;

    store_rig_claim_pair(rig, 1, 2);
    assert_int_equal(store_rig_send(rig, 1, 2, 1)->err, AN_OK);
    answer_push(rig, take_push(rig), AN_OK);
    delivered.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    delivered.member = 2;
    delivered.seq = 1;
    delivered.member_name.data = (uint8_t *)(uintptr_t) "u2";
    delivered.member_name.len = 2;
    delivered.peer = 1;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DELIVERED;
    entry.delivered = &delivered;
    assert_int_equal(store_rig_append(rig, an_slot_conv(&conv), &list, 1)->err, AN_OK);
    push = harness_body(take_push(rig));
    assert_int_equal(push->n_items, 1);
    assert_int_equal(push->items[0]->user, 1);
    assert_int_equal(push->items[0]->command, AN_COMMAND_RECEIPT);
    receipt = anser__client__receipt__unpack(NULL, push->items[0]->body.len,
                                             push->items[0]->body.data);
    assert_int_equal(receipt->kind, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED);
    assert_true(store_rig_is(receipt->peer, "u2"));
    assert_int_equal(receipt->seq, 1);
    anser__client__receipt__free_unpacked(receipt, NULL);
}

static void
test_store_push_one_request_in_flight_and_the_next_fills(void **state)
{
    struct store_rig *rig = *state;
    const struct harness_effect *first, *second;
    const Anser__Bus__Push *push;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 1);
    first = take_push(rig);
    assert_non_null(first);
    store_rig_talk(rig, 1, 2, 2, 6);
    assert_null(take_push(rig));
    answer_push(rig, first, AN_OK);
    assert_int_equal(harness_metric(rig->h, "pushes_total"), 2);
    second = take_push(rig);
    push = harness_body(second);
    assert_int_equal(push->n_items, 10);
    /* A router that does not answer costs those hints and nothing else. */
    answer_push(rig, second, AN_ERR_TIMEOUT);
    assert_int_equal(harness_metric(rig->h, "pushes_failed_total"), 10);
    store_rig_talk(rig, 1, 2, 7, 7);
    assert_non_null(take_push(rig));
}

static void
test_store_push_queue_is_bounded(void **state)
{
    struct store_rig *rig = *state;
    static uint8_t body[AN_BODY_LEN_MAX];
    const struct harness_effect *ask;
    uint64_t told = 0;
    uint64_t seq;

    store_rig_claim_pair(rig, 1, 2);
    for (seq = 1; seq <= 100; seq++) {
        struct store_rig_message m;
        Anser__Bus__Entry *entry = &m.entry;

        store_rig_message(&m, 1, 2, seq);
        m.message.body = (ProtobufCBinaryData){sizeof(body), body};
        assert_int_equal(store_rig_append(rig, an_slot_conv(&m.conv), &entry, 1)->err,
                         AN_OK);
    }
    assert_true(harness_metric(rig->h, "pushes_dropped_total") > 0);
    while ((ask = take_push(rig)) != NULL) {
        const Anser__Bus__Push *push = harness_body(ask);

        assert_true(ask->e.len <= AN_BATCH_BYTES_MAX + AN_FRAME_LEN_MAX);
        told += push->n_items;
        answer_push(rig, ask, AN_OK);
    }
    assert_int_equal(told, harness_metric(rig->h, "pushes_total"));
    assert_int_equal(told + harness_metric(rig->h, "pushes_dropped_total"), 200);
    /* And it goes on. */
    assert_int_equal(store_rig_send(rig, 1, 2, seq)->err, AN_OK);
    assert_non_null(take_push(rig));
}

/* ------------------------------------------------------------------ heads */

enum { HEADS_MAX = 64, KEYS = 300 };

static void
test_store_heads_random_use_keeps_the_bound_and_the_pinned(void **state)
{
    struct store_heads heads;
    struct store_head *pinned[KEYS] = {0};
    struct an_rng rng;
    unsigned count = 0;

    (void)state;
    an_rng_seed(&rng, 3);
    store_heads_init(&heads, HEADS_MAX);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t key = an_rng_below(&rng, KEYS);

        if (pinned[key] != NULL) {
            assert_int_equal(pinned[key]->key[0], key);
            assert_int_equal(pinned[key]->head, key * 7);
            assert_ptr_equal(store_heads_peek(&heads, key, key * 3), pinned[key]);
            store_heads_unpin(&heads, pinned[key]);
            pinned[key] = NULL;
            count--;
        } else if (count < HEADS_MAX / 2 || an_rng_below(&rng, 50) == 0) {
            pinned[key] = store_heads_pin(&heads, key, key * 3);
            assert_non_null(pinned[key]);
            if (pinned[key]->state == STORE_HEAD_LOADED) {
                assert_int_equal(pinned[key]->head, key * 7);
            }
            pinned[key]->head = key * 7;
            pinned[key]->state = STORE_HEAD_LOADED;
            count++;
        }
        assert_true(heads.count <= (count > HEADS_MAX ? count : HEADS_MAX));
    }
    assert_true(heads.evictions > 0 && heads.hits > 0);
    store_heads_fini(&heads);
}

static void
test_store_heads_evicts_the_least_recently_used(void **state)
{
    struct store_heads heads;

    (void)state;
    store_heads_init(&heads, 3);
    for (uint64_t key = 1; key <= 3; key++) {
        struct store_head *head = store_heads_pin(&heads, key, 0);

        head->state = STORE_HEAD_LOADED;
        store_heads_unpin(&heads, head);
    }
    store_heads_unpin(&heads, store_heads_pin(&heads, 1, 0));
    store_heads_unpin(&heads, store_heads_pin(&heads, 4, 0));
    assert_non_null(store_heads_peek(&heads, 1, 0));
    assert_null(store_heads_peek(&heads, 2, 0));
    assert_non_null(store_heads_peek(&heads, 3, 0));
    store_heads_fini(&heads);
}

int
main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, store_rig_setup, store_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store_push_message_tells_recipient_and_senders_others),
        TEST(test_store_push_to_oneself_reaches_every_device),
        TEST(test_store_push_delivered_tells_the_peer),
        TEST(test_store_push_one_request_in_flight_and_the_next_fills),
        TEST(test_store_push_queue_is_bounded),
        cmocka_unit_test(test_store_heads_random_use_keeps_the_bound_and_the_pinned),
        cmocka_unit_test(test_store_heads_evicts_the_least_recently_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
