/* The router driven by hand: sessions come and go, pushes become deliveries. */
#include "actors/router/router.h"
#include "core/limits.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "tests/actors/harness.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#define TEXT(s) ((ProtobufCBinaryData){sizeof(s) - 1, (uint8_t *)(uintptr_t)(s)})

enum { ALICE = 1, BOB = 2, GATE_LIFE = 777 };

static struct an_topology topology;

/* The first of so many. */
static struct harness *
routers_new(uint16_t routers, uint16_t gates)
{
    struct an_actor *actor;
    struct router_cfg cfg = {.topology = &topology, .seed = 42};
    struct harness *h;

    an_topology_single(&topology);
    topology.count[AN_ROLE_GATE] = gates;
    topology.count[AN_ROLE_ROUTER] = routers;
    assert_int_equal(router_create(&actor, &cfg), AN_OK);
    h = harness_create(actor);
    harness_start(h);
    assert_non_null(harness_take(h, AN_EFFECT_READY));
    return h;
}

static struct harness *
router_new(uint16_t gates)
{
    return routers_new(1, gates);
}

struct one {
    uint64_t user, conn;
    const char *device;
    uint64_t since_ms;
};

static uint64_t number; /* of the next announcement; 0: none has one */

/* Announces from a gate; returns the router's number. */
static uint64_t
announce(struct harness *h, uint16_t gate, uint64_t life, bool complete,
         const struct one *up, size_t up_count, const struct one *down, size_t down_count)
{
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;
    Anser__Bus__Session rows[64], *ups[64], *downs[64];
    const Anser__Bus__SessionsDone *done;
    uint64_t id;

    for (size_t i = 0; i < up_count + down_count; i++) {
        const struct one *from = i < up_count ? &up[i] : &down[i - up_count];

        anser__bus__session__init(&rows[i]);
        rows[i].user = from->user;
        rows[i].conn = from->conn;
        rows[i].since_ms = from->since_ms;
        rows[i].device.data = (uint8_t *)(uintptr_t)from->device;
        rows[i].device.len = strlen(from->device);
        rows[i].platform = TEXT("linux");
        rows[i].name = from->user == ALICE ? TEXT("alice") : TEXT("b\\ob");
        *(i < up_count ? &ups[i] : &downs[i - up_count]) = &rows[i];
    }
    sessions.incarnation = life;
    sessions.complete = complete;
    sessions.number = number;
    number += number > 0;
    sessions.up = ups;
    sessions.n_up = up_count;
    sessions.down = downs;
    sessions.n_down = down_count;
    id = harness_request(h, (struct an_addr){AN_ROLE_GATE, gate}, AN_KIND_SESSIONS,
                         &sessions.base);
    assert_non_null(harness_reply(h, id));
    done = harness_body(harness_reply(h, id));
    return done->router_incarnation;
}

static void
up(struct harness *h, uint16_t gate, uint64_t user, uint64_t conn, const char *device)
{
    struct one one = {user, conn, device, 0};

    announce(h, gate, GATE_LIFE + gate, false, &one, 1, NULL, 0);
}

static void
down(struct harness *h, uint16_t gate, uint64_t user, uint64_t conn)
{
    struct one one = {user, conn, "", 0};

    announce(h, gate, GATE_LIFE + gate, false, NULL, 0, &one, 1);
}

static void
begin(struct harness *h, uint16_t gate)
{
    announce(h, gate, GATE_LIFE + gate, true, NULL, 0, NULL, 0);
}

static void
push_full(struct harness *h, uint64_t user, const char *except, uint64_t tell)
{
    Anser__Bus__Push push = ANSER__BUS__PUSH__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT, *items = &item;
    uint64_t id;

    item.user = user;
    item.command = AN_COMMAND_EVENT;
    item.body = TEXT("event");
    item.except_device.data = (uint8_t *)(uintptr_t)except;
    item.except_device.len = strlen(except);
    item.trace = 0xabc;
    item.message_id = 99;
    item.tell_user = tell;
    item.tell_body = TEXT("receipt");
    push.items = &items;
    push.n_items = 1;
    id = harness_request(h, (struct an_addr){AN_ROLE_STORE, 0}, AN_KIND_PUSH, &push.base);
    assert_non_null(harness_reply(h, id));
    assert_int_equal(harness_reply(h, id)->e.err, AN_OK);
}

static void
push(struct harness *h, uint64_t user, const char *except)
{
    push_full(h, user, except, 0);
}

/* The next batch to this gate, NULL when there is none. */
static const Anser__Bus__Deliver *
deliver(struct harness *h, uint16_t gate)
{
    const struct harness_effect *effect = harness_take(h, AN_EFFECT_PUBLISH);

    if (effect == NULL) {
        return NULL;
    }
    assert_int_equal(effect->e.to.role, AN_ROLE_GATE);
    assert_int_equal(effect->e.to.index, gate);
    assert_int_equal(effect->e.kind, AN_KIND_DELIVER);
    return harness_body(effect);
}

static void
test_router_push_reaches_all_devices(void **state)
{
    struct harness *h = router_new(1);
    const Anser__Bus__Deliver *batch;

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    up(h, 0, ALICE, 11, "desk");
    up(h, 0, BOB, 12, "phone");
    push(h, ALICE, "");
    assert_null(deliver(h, 0)); /* gathered until drained */
    harness_drain(h);
    batch = deliver(h, 0);
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
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_says_something_to_a_deaf_gate(void **state)
{
    struct harness *h = router_new(1);
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;
    const Anser__Bus__Deliver *sign;

    (void)state;
    sessions.incarnation = GATE_LIFE;
    sessions.deaf = true;
    harness_request(h, (struct an_addr){AN_ROLE_GATE, 0}, AN_KIND_SESSIONS,
                    &sessions.base);
    assert_null(deliver(h, 0)); /* no gate that we know: it will announce all */
    sessions.complete = true;
    harness_request(h, (struct an_addr){AN_ROLE_GATE, 0}, AN_KIND_SESSIONS,
                    &sessions.base);
    sign = deliver(h, 0);
    assert_non_null(sign);
    assert_int_equal(sign->incarnation, GATE_LIFE);
    assert_int_equal(sign->n_items, 0);
    up(h, 0, ALICE, 10, "phone");
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_drain_makes_one_batch_per_gate(void **state)
{
    struct harness *h = router_new(2);
    const Anser__Bus__Deliver *batch;

    (void)state;
    begin(h, 0);
    begin(h, 1);
    up(h, 0, ALICE, 10, "phone");
    up(h, 1, ALICE, 10, "desk"); /* conn numbers are a gate's own */
    up(h, 1, BOB, 11, "phone");
    push(h, ALICE, "");
    push(h, BOB, "");
    harness_drain(h);
    batch = deliver(h, 0);
    assert_int_equal(batch->n_items, 1);
    batch = deliver(h, 1);
    assert_int_equal(batch->incarnation, GATE_LIFE + 1);
    assert_int_equal(batch->n_items, 2);
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_sending_device_excepted(void **state)
{
    struct harness *h = router_new(1);
    const Anser__Bus__Deliver *batch;

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    up(h, 0, ALICE, 11, "desk");
    push(h, ALICE, "phone");
    harness_drain(h);
    batch = deliver(h, 0);
    assert_int_equal(batch->items[0]->n_conns, 1);
    assert_int_equal(batch->items[0]->conns[0], 11);
    down(h, 0, ALICE, 11);
    push(h, ALICE, "phone"); /* nobody is left: no empty delivery */
    harness_drain(h);
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_down_ends_session(void **state)
{
    struct harness *h = router_new(1);

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    down(h, 0, ALICE, 99); /* another connection's end changes nothing */
    assert_int_equal(harness_metric(h, "sessions"), 1);
    down(h, 0, ALICE, 10);
    down(h, 0, ALICE, 10); /* doubled */
    assert_int_equal(harness_metric(h, "sessions"), 0);
    assert_int_equal(harness_metric(h, "users"), 0);
    push(h, ALICE, "");
    harness_drain(h);
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_up_repeated_is_one_session(void **state)
{
    struct harness *h = router_new(1);

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    up(h, 0, ALICE, 10, "phone");
    assert_int_equal(harness_metric(h, "sessions"), 1);
    harness_drain(h);
    assert_null(deliver(h, 0)); /* and it replaced nobody */
    harness_destroy(h);
}

static void
test_router_same_device_again_replaces(void **state)
{
    struct harness *h = router_new(2);
    const Anser__Bus__Deliver *batch;

    (void)state;
    begin(h, 0);
    begin(h, 1);
    up(h, 0, ALICE, 10, "phone");
    up(h, 1, ALICE, 20, "phone");
    harness_drain(h);
    batch = deliver(h, 0);
    assert_non_null(batch);
    assert_int_equal(batch->items[0]->conns[0], 10);
    assert_int_equal(batch->items[0]->user, ALICE);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    push(h, ALICE, "");
    harness_drain(h);
    batch = deliver(h, 1);
    assert_int_equal(batch->items[0]->conns[0], 20);
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_too_many_devices_oldest_goes(void **state)
{
    struct harness *h = router_new(1);
    const Anser__Bus__Deliver *batch;
    char device[16];

    (void)state;
    begin(h, 0);
    for (unsigned i = 0; i <= AN_DEVICES_PER_USER_MAX; i++) {
        snprintf(device, sizeof(device), "device%u", i);
        up(h, 0, ALICE, 100 + i, device);
    }
    harness_drain(h);
    batch = deliver(h, 0);
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
    struct harness *h = router_new(1);
    const Anser__Bus__Deliver *batch;

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    batch = deliver(h, 0);
    assert_non_null(batch);
    assert_int_equal(batch->items[0]->conns[0], 10);
    assert_int_equal(batch->items[0]->user, ALICE);
    assert_int_equal(batch->items[0]->command, AN_COMMAND_RECEIPT);
    assert_memory_equal(batch->items[0]->body.data, "receipt", 7);
    up(h, 0, BOB, 11, "phone"); /* online: his devices say themselves that it came */
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    batch = deliver(h, 0);
    assert_int_equal(batch->n_items, 1);
    assert_int_equal(batch->items[0]->user, BOB);
    harness_destroy(h);
}

/* C9, X2: the device logs in at another gate; the old connection is closed there, however
 * often that takes to be heard, and is offline from the first moment. */
static void
test_router_replaced_across_gates_said_until_heard(void **state)
{
    struct harness *h = router_new(2);
    const Anser__Bus__Deliver *batch;
    const struct one old = {ALICE, 10, "phone", 0};

    (void)state;
    begin(h, 0);
    begin(h, 1);
    up(h, 0, ALICE, 10, "phone");
    up(h, 1, ALICE, 20, "phone");
    harness_drain(h);
    batch = deliver(h, 0);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(batch->items[0]->conns[0], 10);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    assert_int_equal(harness_metric(h, "sessions_closing"), 1);
    push(h, ALICE, "");
    harness_drain(h);
    assert_int_equal(deliver(h, 1)->items[0]->conns[0], 20);
    assert_null(deliver(h, 0));
    assert_null(strstr(harness_inspect(h, "sessions"), "\"gate\":0"));
    /* It was lost. The gate lists the connection still, and must not win with it. */
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    announce(h, 0, GATE_LIFE, true, &old, 1, NULL, 0);
    harness_drain(h);
    batch = deliver(h, 0);
    assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
    assert_int_equal(batch->items[0]->conns[0], 10);
    announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0);
    harness_drain(h);
    assert_null(deliver(h, 0)); /* not every time */
    down(h, 0, ALICE, 10);
    assert_int_equal(harness_metric(h, "sessions_closing"), 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0);
    harness_drain(h);
    assert_null(deliver(h, 0));
    harness_destroy(h);
}

/* A router that was away hears of both from complete lists: the later login stays. */
static void
test_router_back_again_later_login_stays(void **state)
{
    const struct one old = {ALICE, 10, "phone", 100000};
    const struct one new = {ALICE, 20, "phone", 900000};
    const Anser__Bus__Deliver *batch;

    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        struct harness *h = router_new(2);

        announce(h, 0, GATE_LIFE, true, order == 0 ? &old : NULL, order == 0, NULL, 0);
        announce(h, 1, GATE_LIFE + 1, true, &new, 1, NULL, 0);
        announce(h, 0, GATE_LIFE, true, &old, 1, NULL, 0);
        harness_drain(h);
        batch = deliver(h, 0);
        assert_int_equal(batch->items[0]->close_err, AN_ERR_REPLACED);
        assert_int_equal(batch->items[0]->conns[0], 10);
        assert_null(deliver(h, 1));
        push(h, ALICE, "");
        harness_drain(h);
        assert_int_equal(deliver(h, 1)->items[0]->conns[0], 20);
        harness_destroy(h);
    }
}

/* R3 across routers: where the sender is, another router knows. */
static void
test_router_sender_elsewhere_told_by_his_router(void **state)
{
    struct harness *h = routers_new(2, 1);
    const struct harness_effect *ask;
    const Anser__Bus__Push *told;
    Anser__Bus__Pushed pushed = ANSER__BUS__PUSHED__INIT;

    (void)state;
    topology.slot_router[an_slot_user(ALICE)] = 1;
    begin(h, 0);
    push_full(h, BOB, "", ALICE);
    push_full(h, BOB, "", ALICE);
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
        push_full(h, BOB, "", ALICE);
        harness_drain(h);
    }
    for (unsigned i = 0;
         (ask = harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_PUSH)) != NULL; i++) {
        assert_in_range(i, 0, 7);
        harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    }
    assert_in_range(harness_metric(h, "deliver_dropped_total"), 12, 19);
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_PUSH));
    harness_destroy(h);
}

static void
test_router_young_says_nobody_offline(void **state)
{
    struct harness *h = router_new(2);

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    push_full(h, BOB, "", ALICE); /* he may be on gate 1, not heard of yet */
    harness_drain(h);
    assert_null(deliver(h, 0));
    begin(h, 1);
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(deliver(h, 0));
    harness_destroy(h);

    h = router_new(2);
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    for (unsigned i = 0; i < AN_GATE_SIGNS; i++) { /* gate 1 has its time */
        harness_advance(h, AN_HEARTBEAT_MS / AN_GATE_SIGNS);
        announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0);
    }
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_complete_list_forgets_others(void **state)
{
    struct harness *h = router_new(2);
    const struct one left[] = {{ALICE, 10, "phone", 0}, {BOB, 13, "phone", 0}};

    (void)state;
    begin(h, 0);
    begin(h, 1);
    for (uint64_t i = 0; i < 200; i++) { /* many, so that probes collide */
        up(h, 0, 1000 + i, 100 + i, "phone");
    }
    up(h, 0, ALICE, 10, "phone");
    up(h, 1, ALICE, 11, "desk");
    assert_int_equal(harness_metric(h, "sessions"), 202);
    announce(h, 0, GATE_LIFE, true, left, 2, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 3);
    assert_int_equal(harness_metric(h, "users"), 2);
    harness_destroy(h);
}

/* A copy of an announcement comes behind later ones: it neither takes away who has logged
 * in since, nor brings back who has gone. */
static void
test_router_late_copies_change_nothing(void **state)
{
    struct harness *h = router_new(1);
    const struct one alice = {ALICE, 10, "phone", 0}, bob = {BOB, 11, "phone", 0};
    uint64_t view;

    (void)state;
    number = 1;
    view = announce(h, 0, GATE_LIFE, true, &alice, 1, NULL, 0);
    up(h, 0, BOB, 11, "phone");
    number = 1;
    assert_int_equal(announce(h, 0, GATE_LIFE, true, &alice, 1, NULL, 0), view);
    assert_int_equal(harness_metric(h, "sessions"), 2);
    number = 3;
    down(h, 0, BOB, 11);
    number = 2;
    assert_int_equal(announce(h, 0, GATE_LIFE, false, &bob, 1, NULL, 0), view);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    number = 1; /* the gate's next life counts anew */
    announce(h, 0, GATE_LIFE + 5, true, &bob, 1, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    number = 0;
    harness_destroy(h);
}

/* The complete list of a gate that died comes behind the first one of its next life, over
 * another connection, and behind alice's login at another gate. */
static void
test_router_late_complete_of_the_dead_changes_nothing(void **state)
{
    struct harness *h = router_new(2);
    const struct one alice = {ALICE, 10, "phone", 0}, bob = {BOB, 11, "phone", 0};
    uint64_t view;

    (void)state;
    number = 1;
    announce(h, 0, 500, true, &alice, 1, NULL, 0);
    number = 1;
    view = announce(h, 0, 600, true, &bob, 1, NULL, 0);
    number = 1;
    announce(h, 1, 700, true, &alice, 1, NULL, 0);
    number = 2;
    assert_int_equal(announce(h, 0, 500, true, &alice, 1, NULL, 0), view);
    assert_int_equal(harness_metric(h, "sessions"), 2);
    assert_int_equal(harness_metric(h, "replaced_total"), 0);
    number = 0;
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(deliver(h, 0));
    harness_destroy(h);
}

/* Heard the wrong way round, the dead has the place of the living, but not for long. */
static void
test_router_living_gate_gets_its_place_back_from_the_dead(void **state)
{
    struct harness *h = router_new(1);
    const struct one alice = {ALICE, 10, "phone", 0}, bob = {BOB, 11, "phone", 0};
    uint64_t view;

    (void)state;
    announce(h, 0, 600, true, &bob, 1, NULL, 0);
    view = announce(h, 0, 500, true, &alice, 1, NULL, 0); /* late, from before 600 */
    for (unsigned i = 0; i < AN_GATE_SIGNS; i++) {
        assert_int_equal(harness_metric(h, "users"), i < AN_GATE_SIGNS - 1);
        announce(h, 0, 600, false, NULL, 0, NULL, 0);
        harness_advance(h, AN_HEARTBEAT_MS / AN_GATE_SIGNS);
    }
    assert_int_not_equal(announce(h, 0, 600, false, NULL, 0, NULL, 0), view);
    announce(h, 0, 600, true, &bob, 1, NULL, 0);
    push_full(h, BOB, "", ALICE);
    harness_drain(h);
    assert_non_null(deliver(h, 0));
    harness_destroy(h);
}

static void
test_router_x4_gate_restarted_old_sessions_gone(void **state)
{
    struct harness *h = router_new(1);
    uint64_t before, after;

    (void)state;
    before = announce(h, 0, 1, true, &(struct one){ALICE, 10, "phone", 0}, 1, NULL, 0);
    after = announce(h, 0, 2, true, &(struct one){BOB, 10, "phone", 0}, 1, NULL, 0);
    assert_int_not_equal(before, after);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    /* Late from the dead one: not applied. */
    announce(h, 0, 1, false, &(struct one){ALICE, 10, "phone", 0}, 1, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    assert_int_equal(
        announce(h, 0, 2, false, &(struct one){ALICE, 11, "phone", 0}, 1, NULL, 0),
        after);
    assert_int_equal(harness_metric(h, "sessions"), 2);
    harness_destroy(h);
}

static void
test_router_x4_restarted_gate_asked_for_all(void **state)
{
    struct harness *h = router_new(1);

    (void)state;
    /* The gate knew an earlier router: its news alone are not applied. */
    assert_int_equal(announce(h, 0, GATE_LIFE, false,
                              &(struct one){ALICE, 10, "phone", 0}, 1, NULL, 0),
                     42);
    assert_int_equal(harness_metric(h, "sessions"), 0);
    harness_destroy(h);
}

static void
test_router_silent_gate_forgotten(void **state)
{
    struct harness *h = router_new(1);
    uint64_t view =
        announce(h, 0, GATE_LIFE, true, &(struct one){ALICE, 10, "phone", 0}, 1, NULL, 0);

    (void)state;
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    assert_int_equal(announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0), view);
    harness_advance(h, AN_HEARTBEAT_MS / 2);
    assert_int_equal(harness_metric(h, "sessions"), 1); /* a sign of life was enough */
    harness_advance(h, AN_HEARTBEAT_MS / 2);            /* C9: silent for one heartbeat */
    assert_int_equal(harness_metric(h, "sessions"), 0);
    assert_int_equal(harness_metric(h, "gates_forgotten_total"), 1);
    /* Back again, it learns that it must announce all. */
    assert_int_not_equal(announce(h, 0, GATE_LIFE, false, NULL, 0, NULL, 0), view);
    announce(h, 0, GATE_LIFE, true, &(struct one){ALICE, 10, "phone", 0}, 1, NULL, 0);
    assert_int_equal(harness_metric(h, "sessions"), 1);
    harness_destroy(h);
}

static void
test_router_large_batches_are_split(void **state)
{
    struct harness *h = router_new(1);
    static uint8_t body[AN_BODY_LEN_MAX];
    Anser__Bus__Push push_msg = ANSER__BUS__PUSH__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT, *items[40];
    const struct harness_effect *effect;
    size_t count = 0, batches = 0;

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
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
    struct harness *h = router_new(1);
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
    begin(h, 0);
    up(h, 0, ALICE, 10, ""); /* a session without a device */
    assert_int_equal(harness_metric(h, "sessions"), 0);
    assert_int_equal(harness_metric(h, "refused_total"), 1);
    harness_destroy(h);
}

static void
test_router_inspect_lists_sessions(void **state)
{
    struct harness *h = router_new(1);

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    up(h, 0, BOB, 11, "desk");
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
        up(h, 0, 1000 + i, 100 + i,
           "a device name that is rather long, to fill the page");
    }
    assert_non_null(harness_inspect(h, "sessions")); /* bounded */
    harness_destroy(h);
}

static void
test_router_events_only_while_watched(void **state)
{
    struct harness *h = router_new(1);
    const struct harness_effect *event;

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    push(h, ALICE, "");
    assert_null(harness_take_event(h, "message.deliver"));
    harness_watch(h, true);
    push(h, ALICE, "");
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
    struct harness *h = router_new(1);

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    push(h, ALICE, "");
    harness_stop(h);
    assert_non_null(deliver(h, 0));
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_destroy(h);
}

static void
test_router_destroyed_midway_lets_go(void **state)
{
    struct harness *h = router_new(1);

    (void)state;
    begin(h, 0);
    up(h, 0, ALICE, 10, "phone");
    push(h, ALICE, ""); /* held until drained, which never comes */
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
        cmocka_unit_test(test_router_complete_list_forgets_others),
        cmocka_unit_test(test_router_late_copies_change_nothing),
        cmocka_unit_test(test_router_late_complete_of_the_dead_changes_nothing),
        cmocka_unit_test(test_router_living_gate_gets_its_place_back_from_the_dead),
        cmocka_unit_test(test_router_x4_gate_restarted_old_sessions_gone),
        cmocka_unit_test(test_router_x4_restarted_gate_asked_for_all),
        cmocka_unit_test(test_router_silent_gate_forgotten),
        cmocka_unit_test(test_router_large_batches_are_split),
        cmocka_unit_test(test_router_bad_announcements_refused),
        cmocka_unit_test(test_router_inspect_lists_sessions),
        cmocka_unit_test(test_router_events_only_while_watched),
        cmocka_unit_test(test_router_stop_flushes_and_ends),
        cmocka_unit_test(test_router_destroyed_midway_lets_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
