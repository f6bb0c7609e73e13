/* Login policies: every cell of the table, and the same when sessions come by complete
 * lists, from two gates, and while one of them is away. */
#include "actors/router/router.h"
#include "actors/router/router_policy.h"
#include "core/limits.h"
#include "core/topology.h"
#include "proto/bus.pb-c.h"
#include "tests/actors/harness.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

enum { ALICE = 1, GATE_LIFE = 777 };

static struct an_topology topology;
static struct an_apps apps = {.count = 3,
                              .app = {{.name = "one", .login = AN_LOGIN_SINGLE},
                                      {.name = "two", .login = AN_LOGIN_DOUBLE},
                                      {.name = "three", .login = AN_LOGIN_TRIPLE}}};

static struct router_text
text(const char *chars)
{
    return (struct router_text){(const uint8_t *)chars, strlen(chars)};
}

static const char *const platforms[] = {"ios",   "android", "windows", "mac",
                                        "linux", "web",     "api"};
enum { PLATFORMS = sizeof(platforms) / sizeof(platforms[0]) };

static bool
is_one_of(const char *platform, const char *list)
{
    return strstr(list, platform) != NULL;
}

/* The table of docs/protocol.md in words. */
static bool
excludes(enum an_login_policy policy, const char *a, const char *b)
{
    if (strcmp(a, "api") == 0 || strcmp(b, "api") == 0 || policy == AN_LOGIN_MULTI) {
        return false;
    }
    if (policy == AN_LOGIN_SINGLE) {
        return true;
    }
    if (strcmp(a, "web") == 0 || strcmp(b, "web") == 0) {
        return false;
    }
    return policy == AN_LOGIN_DOUBLE ||
           is_one_of(a, "ios android") == is_one_of(b, "ios android");
}

static void
test_policy_every_cell(void **state)
{
    (void)state;
    for (unsigned policy = 0; policy < AN_LOGIN_POLICY_COUNT; policy++) {
        for (unsigned i = 0; i < PLATFORMS; i++) {
            for (unsigned j = 0; j < PLATFORMS; j++) {
                if (router_policy_excludes((enum an_login_policy)policy,
                                           text(platforms[i]), text(platforms[j])) !=
                    excludes((enum an_login_policy)policy, platforms[i], platforms[j])) {
                    fail_msg("policy %u: %s, %s", policy, platforms[i], platforms[j]);
                }
            }
        }
    }
    assert_int_equal(router_policy_of(&apps, text("two")), AN_LOGIN_DOUBLE);
    assert_int_equal(router_policy_of(&apps, text("other")), AN_LOGIN_MULTI);
    assert_int_equal(router_policy_of(NULL, text("one")), AN_LOGIN_MULTI);
}

static struct harness *
router_new(void)
{
    struct an_actor *actor;
    struct router_cfg cfg = {.topology = &topology, .seed = 42, .apps = &apps};
    struct harness *h;

    an_topology_single(&topology);
    topology.count[AN_ROLE_GATE] = 2;
    assert_int_equal(router_create(&actor, &cfg), AN_OK);
    h = harness_create(actor);
    harness_start(h);
    return h;
}

struct one {
    uint64_t conn;
    const char *device, *platform;
    uint64_t since_ms;
};

static void
announce(struct harness *h, uint16_t gate, uint64_t life, bool complete, const char *app,
         const struct one *up, size_t count)
{
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;
    Anser__Bus__Session rows[8], *ups[8];
    uint64_t id;

    for (size_t i = 0; i < count; i++) {
        anser__bus__session__init(&rows[i]);
        rows[i].user = ALICE;
        rows[i].conn = up[i].conn;
        rows[i].since_ms = up[i].since_ms;
#define BYTES(chars) (ProtobufCBinaryData){strlen(chars), (uint8_t *)(uintptr_t)(chars)}
        rows[i].device = BYTES(up[i].device);
        rows[i].platform = BYTES(up[i].platform);
        rows[i].app = BYTES(app);
#undef BYTES
        ups[i] = &rows[i];
    }
    sessions.incarnation = life;
    sessions.complete = complete;
    sessions.up = ups;
    sessions.n_up = count;
    id = harness_request(h, (struct an_addr){AN_ROLE_GATE, gate}, AN_KIND_SESSIONS,
                         &sessions.base);
    assert_non_null(harness_reply(h, id));
    harness_drain(h);
}

static void
begin(struct harness *h)
{
    announce(h, 0, GATE_LIFE, true, "one", NULL, 0);
    announce(h, 1, GATE_LIFE + 1, true, "one", NULL, 0);
}

/* The next close that a gate is told of: which connection, and why. 0: none. */
static uint64_t
told(struct harness *h, enum an_err *err)
{
    const struct harness_effect *effect;

    while ((effect = harness_take(h, AN_EFFECT_PUBLISH)) != NULL) {
        const Anser__Bus__Deliver *deliver = harness_body(effect);

        for (size_t i = 0; i < deliver->n_items; i++) {
            if (deliver->items[i]->close_err != 0) {
                *err = (enum an_err)deliver->items[i]->close_err;
                return deliver->items[i]->conns[0];
            }
        }
    }
    return 0;
}

static void
expect_told(struct harness *h, uint64_t conn, enum an_err err)
{
    enum an_err why = AN_OK;

    assert_int_equal(told(h, &why), conn);
    if (conn != 0) {
        assert_string_equal(an_err_name(why), an_err_name(err));
    }
}

static void
test_policy_newcomer_on_another_gate_ends_the_old(void **state)
{
    static const char *const names[] = {"multi", "one", "two", "three"};

    (void)state;
    for (unsigned policy = 0; policy < AN_LOGIN_POLICY_COUNT; policy++) {
        for (unsigned i = 0; i < PLATFORMS * PLATFORMS; i++) {
            struct harness *h = router_new();
            struct one old = {10, "a", platforms[i / PLATFORMS], 1000};
            struct one new = {20, "b", platforms[i % PLATFORMS], 2000};

            begin(h);
            announce(h, 0, GATE_LIFE, false, names[policy], &old, 1);
            announce(h, 1, GATE_LIFE + 1, false, names[policy], &new, 1);
            expect_told(h,
                        excludes((enum an_login_policy)policy, old.platform, new.platform)
                            ? 10
                            : 0,
                        AN_ERR_KICKED);
            expect_told(h, 0, AN_OK);
            harness_destroy(h);
        }
    }
}

static void
test_policy_same_device_is_replaced_whatever_the_policy(void **state)
{
    struct harness *h = router_new();
    struct one old = {10, "a", "ios", 1000}, new = {20, "a", "ios", 2000};

    (void)state;
    begin(h);
    announce(h, 0, GATE_LIFE, false, "one", &old, 1);
    announce(h, 1, GATE_LIFE + 1, false, "one", &new, 1);
    expect_told(h, 10, AN_ERR_REPLACED);
    harness_destroy(h);
}

/* The router was away, or is new: who came later says the login's time, whichever gate's
 * list comes first. */
static void
test_policy_holds_for_lists_in_any_order(void **state)
{
    struct one old = {10, "a", "ios", 1000}, new = {20, "b", "android", 60000};

    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        struct harness *h = router_new();

        announce(h, (uint16_t)first, GATE_LIFE, true, "one", first == 0 ? &old : &new, 1);
        announce(h, (uint16_t)!first, GATE_LIFE, true, "one", first == 0 ? &new : &old,
                 1);
        expect_told(h, 10, AN_ERR_KICKED);
        expect_told(h, 0, AN_OK);
        harness_destroy(h);
    }
}

static void
test_policy_one_list_is_judged_by_one_clock(void **state)
{
    struct harness *h = router_new();
    struct one both[] = {{20, "b", "ios", 1001}, {10, "a", "ios", 1000}};

    (void)state;
    announce(h, 0, GATE_LIFE, true, "one", both, 2);
    expect_told(h, 10, AN_ERR_KICKED);
    expect_told(h, 0, AN_OK);
    harness_destroy(h);
}

/* The gate of the loser is dying: it is told again as long as it lives, and if it comes
 * back with the connection, the connection still goes. */
static void
test_policy_holds_while_a_gate_dies(void **state)
{
    struct harness *h = router_new();
    struct one old = {10, "a", "ios", 1000}, new = {20, "b", "ios", 100000};

    (void)state;
    begin(h);
    announce(h, 0, GATE_LIFE, false, "one", &old, 1);
    announce(h, 1, GATE_LIFE + 1, false, "one", &new, 1);
    expect_told(h, 10, AN_ERR_KICKED); /* lost, say */
    harness_advance(h, AN_HEARTBEAT_MS / AN_GATE_SIGNS);
    announce(h, 0, GATE_LIFE, false, "one", NULL, 0);
    expect_told(h, 10, AN_ERR_KICKED);
    announce(h, 1, GATE_LIFE + 1, false, "one", NULL, 0);
    harness_advance(h, AN_HEARTBEAT_MS); /* silent, both are forgotten */
    announce(h, 1, GATE_LIFE + 1, true, "one", &new, 1);
    announce(h, 0, GATE_LIFE, true, "one", &old, 1);
    expect_told(h, 10, AN_ERR_KICKED);
    expect_told(h, 0, AN_OK);
    harness_destroy(h);
}

static void
test_router_tells_every_gate_of_an_account(void **state)
{
    struct harness *h = router_new();
    Anser__Bus__Push push = ANSER__BUS__PUSH__INIT;
    Anser__Bus__PushItem item = ANSER__BUS__PUSH_ITEM__INIT, *items = &item;
    Anser__Bus__AccountState account = ANSER__BUS__ACCOUNT_STATE__INIT;
    unsigned gates = 0;

    (void)state;
    begin(h);
    item.user = ALICE; /* of whom no session is known: she may be sending only */
    item.account = &account;
    account.version = 3;
    account.forbidden = true;
    push.items = &items;
    push.n_items = 1;
    harness_request(h, (struct an_addr){AN_ROLE_STORE, 0}, AN_KIND_PUSH, &push.base);
    harness_drain(h);
    for (const struct harness_effect *e; (e = harness_take(h, AN_EFFECT_PUBLISH)) != NULL;
         gates++) {
        const Anser__Bus__Deliver *deliver = harness_body(e);

        assert_int_equal(deliver->n_items, 1);
        assert_int_equal(deliver->items[0]->user, ALICE);
        assert_int_equal(deliver->items[0]->account->version, 3);
        assert_true(deliver->items[0]->account->forbidden);
    }
    assert_int_equal(gates, 2);
    harness_destroy(h);
}

static void
test_router_says_who_is_online(void **state)
{
    struct harness *h = router_new();
    struct one both[] = {{10, "phone", "ios", 1000}, {11, "desk", "web", 2000}};
    Anser__Bus__Online online = ANSER__BUS__ONLINE__INIT;
    uint64_t users[] = {ALICE, 9}, id;
    const Anser__Bus__OnlineDone *done;

    (void)state;
    announce(h, 0, GATE_LIFE, true, "any", both, 2);
    online.users = users;
    online.n_users = 2;
    id = harness_request(h, (struct an_addr){AN_ROLE_API, 0}, AN_KIND_ONLINE,
                         &online.base);
    done = harness_body(harness_reply(h, id));
    assert_false(done->complete); /* the other gate was not heard of */
    assert_int_equal(done->n_sessions, 2);
    assert_int_equal(done->sessions[0]->conn, 11);
    assert_memory_equal(done->sessions[0]->platform.data, "web", 3);
    assert_memory_equal(done->sessions[1]->device.data, "phone", 5);
    announce(h, 1, GATE_LIFE, true, "any", NULL, 0);
    id = harness_request(h, (struct an_addr){AN_ROLE_API, 0}, AN_KIND_ONLINE,
                         &online.base);
    assert_true(
        ((const Anser__Bus__OnlineDone *)harness_body(harness_reply(h, id)))->complete);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_every_cell),
        cmocka_unit_test(test_policy_newcomer_on_another_gate_ends_the_old),
        cmocka_unit_test(test_policy_same_device_is_replaced_whatever_the_policy),
        cmocka_unit_test(test_policy_holds_for_lists_in_any_order),
        cmocka_unit_test(test_policy_one_list_is_judged_by_one_clock),
        cmocka_unit_test(test_policy_holds_while_a_gate_dies),
        cmocka_unit_test(test_router_tells_every_gate_of_an_account),
        cmocka_unit_test(test_router_says_who_is_online),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
