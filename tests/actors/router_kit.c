#include "tests/actors/router_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

struct an_topology kit_topology;

struct harness *
kit_routers(uint16_t routers, uint16_t gates)
{
    struct an_actor *actor;
    struct router_cfg cfg = {.topology = &kit_topology, .seed = 42};
    struct harness *h;

    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_GATE] = gates;
    kit_topology.count[AN_ROLE_ROUTER] = routers;
    assert_int_equal(router_create(&actor, &cfg), AN_OK);
    h = harness_create(actor);
    harness_start(h);
    assert_non_null(harness_take(h, AN_EFFECT_READY));
    return h;
}

struct harness *
kit_router(uint16_t gates)
{
    return kit_routers(1, gates);
}

uint64_t kit_number;

uint64_t
kit_announce(struct harness *h, uint16_t gate, uint64_t life, bool complete,
             const struct kit_one *up, size_t up_count, const struct kit_one *down,
             size_t down_count)
{
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;
    Anser__Bus__Session rows[64], *ups[64], *downs[64];
    const Anser__Bus__SessionsDone *done;
    uint64_t id;

    for (size_t i = 0; i < up_count + down_count; i++) {
        const struct kit_one *from = i < up_count ? &up[i] : &down[i - up_count];

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
    sessions.number = kit_number;
    kit_number += kit_number > 0;
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

void
kit_up(struct harness *h, uint16_t gate, uint64_t user, uint64_t conn, const char *device)
{
    struct kit_one one = {user, conn, device, 0};

    kit_announce(h, gate, GATE_LIFE + gate, false, &one, 1, NULL, 0);
}

void
kit_down(struct harness *h, uint16_t gate, uint64_t user, uint64_t conn)
{
    struct kit_one one = {user, conn, "", 0};

    kit_announce(h, gate, GATE_LIFE + gate, false, NULL, 0, &one, 1);
}

void
kit_begin(struct harness *h, uint16_t gate)
{
    kit_announce(h, gate, GATE_LIFE + gate, true, NULL, 0, NULL, 0);
}

void
kit_push_full(struct harness *h, uint64_t user, const char *except, uint64_t tell)
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

void
kit_push(struct harness *h, uint64_t user, const char *except)
{
    kit_push_full(h, user, except, 0);
}

const Anser__Bus__Deliver *
kit_deliver(struct harness *h, uint16_t gate)
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
