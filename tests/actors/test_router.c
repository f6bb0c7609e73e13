/* The router driven by hand: sessions come and go, pushes become deliveries. */
#include "tests/actors/router_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static void
test_router_push_reaches_all_devices(void **state)
{
    struct harness *h = kit_router(1);
    const Anser__Bus__Deliver *batch;

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 0, ALICE, 11, "desk");
    kit_up(h, 0, BOB, 12, "phone");
    kit_push(h, ALICE, "");
    assert_null(kit_deliver(h, 0)); /* gathered until drained */
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_non_null(batch);
    assert_int_equal(batch->incarnation, GATE_LIFE);
    assert_int_equal(batch->n_items, 1);
    assert_int_equal(batch->items[0]->n_conns, 2);
    assert_int_equal(batch->items[0]->conns[0] + batch->items[0]->conns[1], 21);
    assert_int_equal(batch->items[0]->user, ALICE);
    assert_int_equal(batch->items[0]->command, AN_COMMAND_EVENT);
    assert_int_equal(batch->items[0]->trace, 0xabc);
    assert_int_equal(batch->items[0]->message_id, 99);
    assert_int_equal(batch->items[0]->body.len, 5);
    assert_memory_equal(batch->items[0]->body.data, "event", 5);
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_says_something_to_a_deaf_gate(void **state)
{
    struct harness *h = kit_router(1);
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;
    const Anser__Bus__Deliver *sign;

    (void)state;
    sessions.incarnation = GATE_LIFE;
    sessions.deaf = true;
    harness_request(h, (struct an_addr){AN_ROLE_GATE, 0}, AN_KIND_SESSIONS,
                    &sessions.base);
    assert_null(kit_deliver(h, 0)); /* no gate that we know: it will announce all */
    sessions.complete = true;
    harness_request(h, (struct an_addr){AN_ROLE_GATE, 0}, AN_KIND_SESSIONS,
                    &sessions.base);
    sign = kit_deliver(h, 0);
    assert_non_null(sign);
    assert_int_equal(sign->incarnation, GATE_LIFE);
    assert_int_equal(sign->n_items, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_drain_makes_one_batch_per_gate(void **state)
{
    struct harness *h = kit_router(2);
    const Anser__Bus__Deliver *batch;

    (void)state;
    kit_begin(h, 0);
    kit_begin(h, 1);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 1, ALICE, 10, "desk"); /* conn numbers are a gate's own */
    kit_up(h, 1, BOB, 11, "phone");
    kit_push(h, ALICE, "");
    kit_push(h, BOB, "");
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_int_equal(batch->n_items, 1);
    batch = kit_deliver(h, 1);
    assert_int_equal(batch->incarnation, GATE_LIFE + 1);
    assert_int_equal(batch->n_items, 2);
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_sending_device_excepted(void **state)
{
    struct harness *h = kit_router(1);
    const Anser__Bus__Deliver *batch;

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 0, ALICE, 11, "desk");
    kit_push(h, ALICE, "phone");
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_int_equal(batch->items[0]->n_conns, 1);
    assert_int_equal(batch->items[0]->conns[0], 11);
    kit_down(h, 0, ALICE, 11);
    kit_push(h, ALICE, "phone"); /* nobody is left: no empty delivery */
    harness_drain(h);
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_down_ends_session(void **state)
{
    struct harness *h = kit_router(1);

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_down(h, 0, ALICE, 99); /* another connection's end changes nothing */
    assert_int_equal(harness_metric(h, "sessions"), 1);
    kit_down(h, 0, ALICE, 10);
    kit_down(h, 0, ALICE, 10); /* doubled */
    assert_int_equal(harness_metric(h, "sessions"), 0);
    assert_int_equal(harness_metric(h, "users"), 0);
    kit_push(h, ALICE, "");
    harness_drain(h);
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_up_repeated_is_one_session(void **state)
{
    struct harness *h = kit_router(1);

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 0, ALICE, 10, "phone");
    assert_int_equal(harness_metric(h, "sessions"), 1);
    harness_drain(h);
    assert_null(kit_deliver(h, 0)); /* and it replaced nobody */
    harness_destroy(h);
}

static void
test_router_same_device_again_replaces(void **state)
{
    struct harness *h = kit_router(2);
    const Anser__Bus__Deliver *batch;

    (void)state;
    kit_begin(h, 0);
    kit_begin(h, 1);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 1, ALICE, 20, "phone");
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_non_null(batch);
    assert_int_equal(batch->items[0]->conns[0], 10);
    assert_int_equal(batch->items[0]->user, ALICE);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    kit_push(h, ALICE, "");
    harness_drain(h);
    batch = kit_deliver(h, 1);
    assert_int_equal(batch->items[0]->conns[0], 20);
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_too_many_devices_oldest_goes(void **state)
{
    struct harness *h = kit_router(1);
    const Anser__Bus__Deliver *batch;
    char device[16];

    (void)state;
    kit_begin(h, 0);
    for (unsigned i = 0; i <= AN_DEVICES_PER_USER_MAX; i++) {
        snprintf(device, sizeof(device), "device%u", i);
        kit_up(h, 0, ALICE, 100 + i, device);
    }
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_non_null(batch);
    assert_int_equal(batch->n_items, 1);
    assert_int_equal(batch->items[0]->conns[0], 100);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(harness_metric(h, "sessions"), AN_DEVICES_PER_USER_MAX);
    harness_destroy(h);
}

static void
test_router_offline_recipient_sender_told(void **state)
{
    struct harness *h = kit_router(1);
    const Anser__Bus__Deliver *batch;

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_non_null(batch);
    assert_int_equal(batch->items[0]->conns[0], 10);
    assert_int_equal(batch->items[0]->user, ALICE);
    assert_int_equal(batch->items[0]->command, AN_COMMAND_RECEIPT);
    assert_memory_equal(batch->items[0]->body.data, "receipt", 7);
    kit_up(h, 0, BOB, 11, "phone"); /* online: his devices say themselves that it came */
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_int_equal(batch->n_items, 1);
    assert_int_equal(batch->items[0]->user, BOB);
    harness_destroy(h);
}

/* C9, X2: the device logs in at another gate; the old connection is closed there, however
 * often that takes to be heard, and is offline from the first moment. */
static void
test_router_replaced_across_gates_said_until_heard(void **state)
{
    struct harness *h = kit_router(2);
    const Anser__Bus__Deliver *batch;
    const struct kit_one old = {ALICE, 10, "phone", 0};

    (void)state;
    kit_begin(h, 0);
    kit_begin(h, 1);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 1, ALICE, 20, "phone");
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(batch->items[0]->conns[0], 10);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    assert_int_equal(harness_metric(h, "sessions_closing"), 1);
    kit_push(h, ALICE, "");
    harness_drain(h);
    assert_int_equal(kit_deliver(h, 1)->items[0]->conns[0], 20);
    assert_null(kit_deliver(h, 0));
    assert_null(strstr(harness_inspect(h, "sessions"), "\"gate\":0"));
    /* It was lost. The gate lists the connection still, and must not win with it. */
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    kit_announce(h, 0, GATE_LIFE, true, &old, 1, NULL, 0);
    harness_drain(h);
    batch = kit_deliver(h, 0);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(batch->items[0]->conns[0], 10);
    kit_announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0);
    harness_drain(h);
    assert_null(kit_deliver(h, 0)); /* not every time */
    kit_down(h, 0, ALICE, 10);
    assert_int_equal(harness_metric(h, "sessions_closing"), 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    kit_announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0);
    harness_drain(h);
    assert_null(kit_deliver(h, 0));
    harness_destroy(h);
}

/* A router that was away hears of both from complete lists: the later login stays. */
static void
test_router_back_again_later_login_stays(void **state)
{
    const struct kit_one old = {ALICE, 10, "phone", 100000};
    const struct kit_one new = {ALICE, 20, "phone", 900000};
    const Anser__Bus__Deliver *batch;

    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        struct harness *h = kit_router(2);

        kit_announce(h, 0, GATE_LIFE, true, order == 0 ? &old : NULL, order == 0, NULL,
                     0);
        kit_announce(h, 1, GATE_LIFE + 1, true, &new, 1, NULL, 0);
        kit_announce(h, 0, GATE_LIFE, true, &old, 1, NULL, 0);
        harness_drain(h);
        batch = kit_deliver(h, 0);
        assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
        assert_int_equal(batch->items[0]->conns[0], 10);
        assert_null(kit_deliver(h, 1));
        kit_push(h, ALICE, "");
        harness_drain(h);
        assert_int_equal(kit_deliver(h, 1)->items[0]->conns[0], 20);
        harness_destroy(h);
    }
}

/* R3 across routers: where the sender is, another router knows. */
static void
test_router_sender_elsewhere_told_by_his_router(void **state)
{
    struct harness *h = kit_routers(2, 1);
    const struct harness_effect *ask;
    const Anser__Bus__Push *told;
    Anser__Bus__Pushed pushed = ANSER__BUS__PUSHED__INIT;

    (void)state;
    kit_topology.slot_router[an_slot_user(ALICE)] = 1;
    kit_begin(h, 0);
    kit_push_full(h, BOB, "", ALICE);
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_PUSH);
    assert_int_equal(ask->e.to.index, 1);
    told = harness_body(ask);
    assert_int_equal(told->n_items, 2);
    assert_int_equal(told->items[0]->user, ALICE);
    assert_int_equal(told->items[0]->command, AN_COMMAND_RECEIPT);
    assert_memory_equal(told->items[0]->body.data, "receipt", 7);
    assert_int_equal(told->items[0]->tell_user, 0);
    assert_int_equal(told->items[0]->message_id, 99);
    assert_null(harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_PUSH));
    harness_answer(h, ask, AN_OK, &pushed.base);
    /* One that does not answer gets no more than a few. */
    for (unsigned i = 0; i < 20; i++) {
        kit_push_full(h, BOB, "", ALICE);
        harness_drain(h);
    }
    for (unsigned i = 0;
         (ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_PUSH)) != NULL; i++) {
        assert_in_range(i, 0, 7);
        harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    }
    assert_in_range(harness_metric(h, "deliver_dropped_total"), 12, 19);
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_PUSH));
    harness_destroy(h);
}

static void
test_router_young_says_nobody_offline(void **state)
{
    struct harness *h = kit_router(2);

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_push_full(h, BOB, "", ALICE); /* he may be on gate 1, not heard of yet */
    harness_drain(h);
    assert_null(kit_deliver(h, 0));
    kit_begin(h, 1);
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(kit_deliver(h, 0));
    harness_destroy(h);

    h = kit_router(2);
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    for (unsigned i = 0; i < AN_GATE_SIGNS; i++) { /* gate 1 has its time */
        harness_advance(h, AN_HEARTBEAT_MS / AN_GATE_SIGNS);
        kit_announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0);
    }
    kit_push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(kit_deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_large_batches_are_split(void **state)
{
    struct harness *h = kit_router(1);
    static uint8_t body[AN_BODY_LEN_MAX];
    Anser__Bus__Push push_msg = ANSER__BUS__PUSH__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT, *items[40];
    const struct harness_effect *effect;
    size_t count = 0, batches = 0;

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    item.user = ALICE;
    item.command = AN_COMMAND_EVENT;
    item.body = (ProtobufCBinaryData){sizeof(body), body};
    for (size_t i = 0; i < 40; i++) {
        items[i] = &item;
    }
    push_msg.items = items;
    push_msg.n_items = 40;
    harness_request(h, (struct an_addr){AN_ROLE_STORE, 0}, AN_KIND_PUSH, &push_msg.base);
    harness_drain(h);
    while ((effect = harness_take(h, AN_EFFECT_PUBLISH)) != NULL) {
        assert_true(effect->e.len <= AN_BATCH_BYTES_MAX + AN_FRAME_LEN_MAX);
        count += ((const Anser__Bus__Deliver *)harness_body(effect))->n_items;
        batches++;
    }
    assert_int_equal(count, 40);
    assert_int_equal(batches, 3);
    harness_destroy(h);
}

static void
test_router_bad_announcements_refused(void **state)
{
    struct harness *h = kit_router(1);
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;
    uint64_t id;

    (void)state;
    id = harness_request(h, (struct an_addr){AN_ROLE_GATE, 0}, AN_KIND_SESSIONS,
                         &sessions.base); /* no incarnation */
    assert_int_equal(harness_reply(h, id)->e.err, AN_ERR_ARGUMENT);
    sessions.incarnation = 5;
    id = harness_request(h, (struct an_addr){AN_ROLE_GATE, 7}, AN_KIND_SESSIONS,
                         &sessions.base); /* not in the topology */
    assert_int_equal(harness_reply(h, id)->e.err, AN_ERR_ARGUMENT);
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, ""); /* a session without a device */
    assert_int_equal(harness_metric(h, "sessions"), 0);
    assert_int_equal(harness_metric(h, "refused_total"), 1);
    harness_destroy(h);
}

static void
test_router_inspect_lists_sessions(void **state)
{
    struct harness *h = kit_router(1);

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_up(h, 0, BOB, 11, "desk");
    assert_string_equal(
        harness_inspect(h, "sessions alice"),
        "{\"users\":2,\"online\":2,\"sessions\":[{\"user\":\"1\",\"name\":\"alice\","
        "\"device\":\"phone\",\"platform\":\"linux\",\"gate\":0,\"conn\":\"10\"}]}");
    assert_string_equal(
        harness_inspect(h, "sessions 2"),
        "{\"users\":2,\"online\":2,\"sessions\":[{\"user\":\"2\",\"name\":\"b\\\\ob\","
        "\"device\":\"desk\",\"platform\":\"linux\",\"gate\":0,\"conn\":\"11\"}]}");
    assert_string_equal(harness_inspect(h, "sessions nobody"),
                        "{\"users\":2,\"online\":2,\"sessions\":[]}");
    assert_non_null(strstr(harness_inspect(h, "sessions"), "},{"));
    assert_null(harness_inspect(h, "sessionsx"));
    assert_null(harness_inspect(h, "what"));
    for (uint64_t i = 0; i < 500; i++) {
        kit_up(h, 0, 1000 + i, 100 + i,
               "a device name that is rather long, to fill the page");
    }
    assert_non_null(harness_inspect(h, "sessions")); /* bounded */
    harness_destroy(h);
}

static void
test_router_events_only_while_watched(void **state)
{
    struct harness *h = kit_router(1);
    const struct harness_effect *event;

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_push(h, ALICE, "");
    assert_null(harness_take_event(h, "message.deliver"));
    harness_watch(h, true);
    kit_push(h, ALICE, "");
    event = harness_take_event(h, "message.deliver");
    assert_non_null(event);
    assert_string_equal(event->text,
                        "message.deliver {\"trace\":\"0000000000000abc\","
                        "\"message_id\":\"99\",\"user\":\"1\",\"command\":\"EVENT\","
                        "\"gate\":0,\"conns\":1}");
    harness_destroy(h);
}

static void
test_router_stop_flushes_and_ends(void **state)
{
    struct harness *h = kit_router(1);

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_push(h, ALICE, "");
    harness_stop(h);
    assert_non_null(kit_deliver(h, 0));
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_destroy(h);
}

static void
test_router_destroyed_midway_lets_go(void **state)
{
    struct harness *h = kit_router(1);

    (void)state;
    kit_begin(h, 0);
    kit_up(h, 0, ALICE, 10, "phone");
    kit_push(h, ALICE, ""); /* held until drained, which never comes */
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_router_push_reaches_all_devices),
        cmocka_unit_test(test_router_says_something_to_a_deaf_gate),
        cmocka_unit_test(test_router_drain_makes_one_batch_per_gate),
        cmocka_unit_test(test_router_sending_device_excepted),
        cmocka_unit_test(test_router_down_ends_session),
        cmocka_unit_test(test_router_up_repeated_is_one_session),
        cmocka_unit_test(test_router_same_device_again_replaces),
        cmocka_unit_test(test_router_too_many_devices_oldest_goes),
        cmocka_unit_test(test_router_offline_recipient_sender_told),
        cmocka_unit_test(test_router_replaced_across_gates_said_until_heard),
        cmocka_unit_test(test_router_back_again_later_login_stays),
        cmocka_unit_test(test_router_sender_elsewhere_told_by_his_router),
        cmocka_unit_test(test_router_young_says_nobody_offline),
        cmocka_unit_test(test_router_large_batches_are_split),
        cmocka_unit_test(test_router_bad_announcements_refused),
        cmocka_unit_test(test_router_inspect_lists_sessions),
        cmocka_unit_test(test_router_events_only_while_watched),
        cmocka_unit_test(test_router_stop_flushes_and_ends),
        cmocka_unit_test(test_router_destroyed_midway_lets_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
