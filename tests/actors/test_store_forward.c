/* Inboxes on other stores: every message is once in each, whatever becomes of the
 * requests and the stores between. */
#include "cluster/check.h"
#include "core/rng.h"
#include "core/slot.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "tests/actors/store_cluster.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static int
setup(void **state)
{
    struct cluster *c = cluster_create(2);

    cluster_open_all(c);
    *state = c;
    return 0;
}

static int
teardown(void **state)
{
    cluster_destroy(*state);
    return 0;
}

/* ------------------------------------------------------------------ the plain way */

static void
test_store_forward_reaches_inboxes_elsewhere(void **state)
{
    struct cluster *c = *state;
    static const uint16_t CASES[][3] = {{0, 1, 0}, {0, 1, 1}, {1, 1, 0}, {0, 0, 1}};

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        uint64_t a, b;

        cluster_pair(c, CASES[i][0], CASES[i][1], CASES[i][2], &a, &b);
        cluster_claim_pair(c, a, b);
        cluster_talk(c, a, b, 1, 40);
        cluster_run(c);
        cluster_expect_whole(c, a, b);
    }
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 0);
    assert_int_equal(cluster_metric(c, 1, "outgoing_waiting"), 0);
    assert_int_equal(cluster_metric(c, 0, "outgoing_total"), 40 + 80);
    assert_int_equal(cluster_metric(c, 1, "forwards_applied_total"), 40 + 80);
    assert_int_equal(cluster_metric(c, 1, "forwards_repeated_total"), 0);
}

/* To oneself, with the conversation on another store than the user. */
static void
test_store_forward_to_oneself_is_one_entry(void **state)
{
    struct cluster *c = *state;
    uint64_t a = 1;

    while (cluster_store_of(c, a) == cluster_store_of_pair(c, a, a)) {
        a++;
    }
    cluster_claim_pair(c, a, a);
    cluster_talk(c, a, a, 1, 3);
    cluster_run(c);
    cluster_expect_whole(c, a, a);
    assert_int_equal(cluster_inbox_head(c, a), 3);
}

/* The inbox numbers of boxes elsewhere are not known to the one who appends. */
static void
test_store_append_numbers_only_own_inboxes(void **state)
{
    struct cluster *c = *state;
    const Anser__Bus__AppendedSlot *slot;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    slot = cluster_send(c, a, b, 1);
    assert_int_equal(slot->inbox_seqs[0], 1);
    assert_int_equal(slot->recipient_inbox_seqs[0], 0);
    slot = cluster_send(c, b, a, 2);
    assert_int_equal(slot->inbox_seqs[0], 0);
    assert_int_equal(slot->recipient_inbox_seqs[0], 2);
}

static const struct harness_effect *
take_push(struct cluster *c, uint16_t store)
{
    return harness_take_ask(c->rigs[store]->h, AN_ROLE_ROUTER, AN_KIND_PUSH);
}

static enum cluster_fate
stop_after_delivery(void *ctx, const struct cluster_request *request)
{
    (void)ctx;
    return request->ask.e.kind == AN_KIND_FORWARD ? FATE_LATE : FATE_GOOD;
}

static void
test_store_forward_pushes_event_and_receipt(void **state)
{
    struct cluster *c = *state;
    const Anser__Bus__Push *push;
    Anser__Client__Receipt *receipt;
    Anser__Client__Event *event;
    uint64_t a, b;

    cluster_pair(c, 1, 1, 0, &a, &b); /* both boxes elsewhere */
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 1);
    c->fate = stop_after_delivery;
    cluster_run(c);
    assert_null(take_push(c, 0)); /* no box is here */
    assert_int_equal(c->late_count, 1);
    cluster_late(c, 0);
    push = harness_body(take_push(c, 1));
    assert_int_equal(push->n_items, 2);
    /* Entries go by slot: find whose is whose. */
    for (size_t i = 0; i < 2; i++) {
        const Anser__Bus__PushItem *item = push->items[i];

        assert_int_equal(item->command, AN_COMMAND_EVENT);
        assert_int_equal(item->trace, 0xabc001);
        assert_int_equal(item->except_device.len, 0); /* the sending device, too */
        event = anser__client__event__unpack(NULL, item->body.len, item->body.data);
        assert_int_equal(event->inbox_seq, 1);
        assert_int_equal(event->message->seq, 1);
        assert_memory_equal(event->message->body.data, "message 1", 9);
        anser__client__event__free_unpacked(event, NULL);
        if (item->user == a) {
            assert_int_equal(item->tell_user, 0);
            continue;
        }
        assert_int_equal(item->user, b);
        assert_int_equal(item->tell_user, a);
        receipt = anser__client__receipt__unpack(NULL, item->tell_body.len,
                                                 item->tell_body.data);
        assert_int_equal(receipt->kind, ANSER__CLIENT__RECEIPT_KIND__RECEIPT_STORED);
        assert_int_equal(receipt->seq, 1);
        anser__client__receipt__free_unpacked(receipt, NULL);
    }
    assert_true(push->items[0]->user != push->items[1]->user);
}

/* ------------------------------------------------------------------ the bus */

struct once {
    enum cluster_fate fate;
    unsigned times;
};

static enum cluster_fate
befall(void *ctx, const struct cluster_request *request)
{
    struct once *once = ctx;

    (void)request;
    return once->times > 0 ? (once->times--, once->fate) : FATE_GOOD;
}

static void
test_store_forward_lost_doubled_and_late_requests_change_nothing(void **state)
{
    struct cluster *c = *state;
    static const enum cluster_fate FATES[] = {FATE_LOSE, FATE_LOSE_ANSWER, FATE_DOUBLE,
                                              FATE_LATE, FATE_REFUSE,      FATE_BUSY};
    uint64_t seq = 0;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    for (size_t i = 0; i < sizeof(FATES) / sizeof(FATES[0]); i++) {
        struct once once = {FATES[i], 2};

        c->fate = befall;
        c->ctx = &once;
        cluster_talk(c, a, b, seq + 1, seq + 5);
        cluster_run(c);
        cluster_talk(c, a, b, seq + 6, seq + 10);
        cluster_advance(c, 3000);
        while (c->late_count > 0) {
            cluster_late(c, c->late_count - 1); /* the newest first */
        }
        seq += 10;
        cluster_expect_whole(c, a, b);
        assert_int_equal(cluster_head(c, a, b), seq);
        assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 0);
    }
    assert_true(cluster_metric(c, 1, "forwards_repeated_total") > 0);
    assert_int_equal(cluster_metric(c, 1, "skips_total"), 0);
}

/* While one destination is silent, the other's entries go on. */
static void
test_store_forward_to_a_dead_store_holds_up_no_other(void **state)
{
    struct cluster *c = cluster_create(3);
    uint64_t a, b, d, e;

    (void)state;
    cluster_open_all(c);
    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_pair(c, 0, 2, 0, &d, &e);
    cluster_claim_pair(c, a, b);
    cluster_claim_pair(c, d, e);
    cluster_close(c, 1);
    cluster_talk(c, a, b, 1, 100);
    cluster_talk(c, d, e, 1, 100);
    cluster_run(c);
    cluster_expect_whole(c, d, e);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting_store_1"), 100);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting_store_2"), 0);
    cluster_open(c, 1);
    cluster_advance(c, 2500);
    cluster_expect_whole(c, a, b);
    assert_int_equal(cluster_metric(c, 0, "outgoing_reads_total"), 0); /* from memory */
    cluster_destroy(c);
}

/* ------------------------------------------------------------------ starts */

static void
test_store_forward_goes_on_after_a_restart(void **state)
{
    struct cluster *c = *state;
    const Anser__Bus__AppendedSlot *slot;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 10);
    cluster_run(c);
    cluster_close(c, 1);
    cluster_talk(c, a, b, 11, 20);
    cluster_run(c);
    cluster_close(c, 0);
    cluster_open(c, 0);
    cluster_run(c);
    /* The other one has not said how far it is. */
    slot = cluster_send(c, a, b, 21);
    assert_int_equal(slot->err, AN_ERR_UNAVAILABLE);
    assert_int_equal(cluster_metric(c, 0, "slots_blocked_total"), 1);
    cluster_open(c, 1);
    cluster_advance(c, 2500);
    cluster_talk(c, a, b, 21, 30);
    cluster_run(c);
    cluster_expect_whole(c, a, b);
    assert_int_equal(cluster_head(c, a, b), 30);
    assert_true(cluster_metric(c, 0, "outgoing_reads_total") > 0);
}

/* What needs nothing of the other store is not held up by it. */
static void
test_store_alone_takes_what_is_its_own(void **state)
{
    struct cluster *c = cluster_create(2);
    const Anser__Bus__AppendedSlot *slot;
    Anser__Bus__Append append = ANSER__BUS__APPEND__INIT;
    Anser__Bus__AppendSlot parts[2] = {ANSER__BUS__APPEND_SLOT__INIT,
                                       ANSER__BUS__APPEND_SLOT__INIT};
    Anser__Bus__AppendSlot *list[2] = {&parts[0], &parts[1]};
    struct store_rig_message messages[2];
    Anser__Bus__Entry *entries[2] = {&messages[0].entry, &messages[1].entry};
    const Anser__Bus__Appended *appended;
    uint64_t a, b, d, e;
    enum an_err err;

    (void)state;
    cluster_open(c, 0);
    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_pair(c, 0, 0, 0, &d, &e);
    cluster_claim_pair(c, a, b);
    cluster_claim_pair(c, d, e);
    store_rig_message(&messages[0], a, b, 1);
    store_rig_message(&messages[1], d, e, 1);
    for (unsigned i = 0; i < 2; i++) {
        parts[i].slot = an_slot_conv(&messages[i].conv);
        parts[i].epoch = c->rigs[0]->epochs[parts[i].slot];
        parts[i].entries = &entries[i];
        parts[i].n_entries = 1;
    }
    append.slots = list;
    append.n_slots = 2;
    appended =
        store_rig_ask(c->rigs[0], AN_ROLE_SEQUENCER, AN_KIND_APPEND, &append.base, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(appended->slots[0]->err, AN_ERR_UNAVAILABLE);
    assert_int_equal(appended->slots[1]->err, AN_OK);
    assert_int_equal(appended->n_blocked_stores, 1);
    assert_int_equal(appended->blocked_stores[0], 1);
    assert_int_equal(cluster_head(c, a, b), 0);
    cluster_open(c, 1);
    cluster_advance(c, 2500);
    slot = cluster_send(c, a, b, 1);
    assert_int_equal(slot->err, AN_OK);
    cluster_run(c);
    cluster_expect_whole(c, a, b);
    cluster_destroy(c);
}

/* ------------------------------------------------------------------ chance */

enum { USERS = 9, STEPS = 160, SEEDS = 40 };

struct world {
    struct cluster *c;
    struct an_rng rng;
    uint64_t users[USERS];
    unsigned crashes, refused, waited;
};

static enum cluster_fate
by_chance(void *ctx, const struct cluster_request *request)
{
    struct world *world = ctx;
    unsigned dice = (unsigned)an_rng_below(&world->rng, 20);

    (void)request;
    return dice < 6 ? (enum cluster_fate)(FATE_LOSE + dice) : FATE_GOOD;
}

static void
send_by_chance(struct world *world)
{
    uint64_t a = world->users[an_rng_below(&world->rng, USERS)];
    uint64_t b = world->users[an_rng_below(&world->rng, USERS)];
    unsigned count = 1 + (unsigned)an_rng_below(&world->rng, 6);
    uint16_t store = cluster_store_of_pair(world->c, a, b);
    uint64_t head;

    if (!world->c->up[store]) {
        return;
    }
    head = cluster_head(world->c, a, b);
    for (unsigned i = 1; i <= count; i++) {
        const Anser__Bus__AppendedSlot *slot = cluster_send(world->c, a, b, head + i);

        if (slot == NULL || slot->err != AN_OK) {
            assert_true(slot == NULL || slot->err == AN_ERR_UNAVAILABLE ||
                        slot->err == AN_ERR_DISK_FULL);
            world->refused++;
            return;
        }
    }
}

/* With the power cut at one of its next writes, or between two of them. */
static void
crash_by_chance(struct world *world)
{
    uint16_t store = (uint16_t)an_rng_below(&world->rng, world->c->count);
    struct store_rig *rig = world->c->rigs[store];
    uint64_t ops;

    if (!world->c->up[store]) {
        return;
    }
    (void)files_sim_power(rig->sim, &ops);
    files_sim_cut_power(rig->sim, ops + 1 + an_rng_below(&world->rng, 6));
    for (unsigned i = 0; i < 3; i++) {
        uint64_t a = world->users[an_rng_below(&world->rng, USERS)];
        uint64_t b = world->users[an_rng_below(&world->rng, USERS)];

        if (cluster_store_of_pair(world->c, a, b) == store) {
            cluster_send(world->c, a, b, 1); /* a gap most often, and no matter */
        }
        cluster_run(world->c);
    }
    cluster_close(world->c, store);
    files_sim_fail(rig->sim, FILES_SIM_NONE, "", 0); /* a start needs a good disk */
    files_sim_crash(rig->sim, an_rng_next(&world->rng));
    files_sim_cut_power(rig->sim, 0);
    rig->fatals = 0;
    world->crashes++;
}

/* For one write. */
static void
fill_a_disk(struct world *world)
{
    uint16_t store = (uint16_t)an_rng_below(&world->rng, world->c->count);

    if (world->c->up[store]) {
        files_sim_fail(world->c->rigs[store]->sim, FILES_SIM_WRITE_FULL, "", 1);
    }
}

static void
start_by_chance(struct world *world)
{
    for (uint16_t i = 0; i < world->c->count; i++) {
        if (!world->c->up[i] && an_rng_below(&world->rng, 3) == 0) {
            cluster_open(world->c, i);
        }
    }
}

static void
heal(struct world *world)
{
    world->c->fate = NULL;
    for (uint16_t i = 0; i < world->c->count; i++) {
        files_sim_fail(world->c->rigs[i]->sim, FILES_SIM_NONE, "", 0);
    }
    while (world->c->late_count > 0) {
        cluster_late(world->c, an_rng_below(&world->rng, world->c->late_count));
    }
    for (uint16_t i = 0; i < world->c->count; i++) {
        if (!world->c->up[i]) {
            cluster_open(world->c, i);
        }
    }
    cluster_advance(world->c, 4000);
    for (uint16_t i = 0; i < world->c->count; i++) {
        assert_int_equal(cluster_metric(world->c, i, "outgoing_waiting"), 0);
        assert_int_equal(cluster_metric(world->c, i, "skips_total"), 0);
        assert_int_equal(cluster_metric(world->c, i, "outgoing_lost_total"), 0);
    }
}

static void
complain(void *ctx, const struct an_check_finding *finding)
{
    (void)ctx;
    print_message("%s/%s:%llu: %s\n", finding->dir, finding->file,
                  (unsigned long long)finding->offset, finding->sentence);
}

/* All stopped, some of them by a power cut: together their directories are whole. */
static uint64_t
check_all(struct world *world)
{
    static const char *const DIRS[] = {"data0", "data1", "data2"};
    struct an_check_cfg cfg = {.dirs = DIRS,
                               .dir_count = world->c->count,
                               .files = cluster_files(world->c),
                               .wall_ms = store_rig_time(1000),
                               .id_filter_bytes = 64 * 1024,
                               .finding = complain};
    struct an_check_totals totals;

    for (uint16_t i = 0; i < world->c->count; i++) {
        if (world->c->up[i]) {
            cluster_close(world->c, i);
        }
    }
    assert_int_equal(an_check_data(&cfg, &totals), AN_OK);
    assert_int_equal(totals.findings, 0);
    assert_int_equal(totals.elsewhere, 0);
    return totals.waiting;
}

static void
live(struct world *world, uint64_t seed)
{
    an_rng_seed(&world->rng, seed);
    world->c = cluster_create(seed % 2 == 0 ? 2 : 3);
    for (uint16_t i = 0; i < world->c->count; i++) {
        world->c->rigs[i]->cfg.engine.overlay_rows_max = 200;
        world->c->rigs[i]->cfg.outgoing_bytes_max = seed % 3 == 0 ? 5000 : 0;
        world->c->rigs[i]->cfg.outgoing_rows_max = seed % 5 == 0 ? 30 : 0;
    }
    cluster_open_all(world->c);
    for (unsigned i = 0; i < USERS; i++) {
        world->users[i] = cluster_user(world->c, (uint16_t)(i % world->c->count), i);
    }
    for (unsigned i = 0; i < USERS; i++) {
        for (unsigned k = i; k < USERS; k++) {
            cluster_claim_pair(world->c, world->users[i], world->users[k]);
        }
    }
    world->c->fate = by_chance;
    world->c->ctx = world;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned dice = (unsigned)an_rng_below(&world->rng, 20);

        if (dice < 12) {
            send_by_chance(world);
        } else if (dice < 16) {
            cluster_run(world->c);
        } else if (dice < 18) {
            cluster_advance(world->c, 1 + an_rng_below(&world->rng, 1500));
        } else if (dice == 18 && an_rng_below(&world->rng, 2) == 0) {
            fill_a_disk(world);
        } else if (dice == 18 && world->c->late_count > 0) {
            cluster_late(world->c, an_rng_below(&world->rng, world->c->late_count));
        } else if (an_rng_below(&world->rng, 3) == 0) {
            crash_by_chance(world);
        }
        start_by_chance(world);
    }
    world->waited += check_all(world) > 0;
    heal(world);
    for (unsigned i = 0; i < USERS; i++) {
        for (unsigned k = i; k < USERS; k++) {
            cluster_expect_whole(world->c, world->users[i], world->users[k]);
        }
    }
    assert_int_equal(check_all(world), 0);
    cluster_destroy(world->c);
}

static void
test_store_forward_by_chance_each_inbox_has_each_event_once(void **state)
{
    const char *seed = getenv("ANSER_TEST_SEED");
    unsigned crashes = 0;
    unsigned waited = 0;

    (void)state;
    for (uint64_t i = 1; i <= (seed != NULL ? 1u : SEEDS); i++) {
        struct world world = {0};
        uint64_t own = seed != NULL ? strtoull(seed, NULL, 10) : i;

        print_message("seed %llu (ANSER_TEST_SEED)\n", (unsigned long long)own);
        live(&world, own);
        crashes += world.crashes;
        waited += world.waited;
    }
    assert_true(seed != NULL || (crashes > SEEDS && waited > SEEDS / 2));
}

/* ------------------------------------------------------------------ starting */

/* L7: the first message after the start of the last store is taken by the one that was
 * there long before, and had asked in vain again and again. */
static void
test_store_forward_begins_as_soon_as_the_other_is_there(void **state)
{
    struct cluster *c = cluster_create(2);
    uint64_t a, b;

    (void)state;
    cluster_open(c, 0);
    cluster_advance(c, 10000); /* the pauses between two tries are at their longest */
    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    assert_int_equal(cluster_send(c, a, b, 1)->err, AN_ERR_UNAVAILABLE);
    cluster_open(c, 1);
    cluster_run(c); /* no time goes by */
    cluster_talk(c, a, b, 1, 2);
    cluster_run(c);
    cluster_expect_whole(c, a, b);
    cluster_destroy(c);
}

/* Likewise when it was there, and said for long that it is about to stop. */
static void
test_store_forward_goes_on_as_soon_as_the_other_is_back(void **state)
{
    struct cluster *c = *state;
    struct once once = {FATE_ENDING, 1000};
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    c->fate = befall;
    c->ctx = &once;
    cluster_talk(c, a, b, 1, 5);
    cluster_advance(c, 10000);
    cluster_close(c, 1);
    once.times = 0;
    cluster_open(c, 1);
    cluster_run(c); /* no time goes by */
    cluster_expect_whole(c, a, b);
}

/* Each is full of reads and says so, and each hears the other ask. */
static void
test_store_forward_two_full_stores_keep_their_pauses(void **state)
{
    struct cluster *c = cluster_create(2);
    struct once once = {FATE_FULL, 1000};
    uint64_t a, b;

    (void)state;
    c->fate = befall;
    c->ctx = &once;
    cluster_open_all(c); /* no time goes by */
    assert_in_range(c->carried, 2, 4);
    cluster_advance(c, 2500);
    assert_in_range(c->carried, 6, 20);
    once.times = 0;
    cluster_advance(c, 1500);
    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 2);
    cluster_run(c);
    cluster_expect_whole(c, a, b);
    cluster_destroy(c);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store_forward_reaches_inboxes_elsewhere),
        TEST(test_store_forward_to_oneself_is_one_entry),
        TEST(test_store_append_numbers_only_own_inboxes),
        TEST(test_store_forward_pushes_event_and_receipt),
        TEST(test_store_forward_lost_doubled_and_late_requests_change_nothing),
        cmocka_unit_test(test_store_forward_to_a_dead_store_holds_up_no_other),
        TEST(test_store_forward_goes_on_after_a_restart),
        cmocka_unit_test(test_store_alone_takes_what_is_its_own),
        cmocka_unit_test(test_store_forward_by_chance_each_inbox_has_each_event_once),
        cmocka_unit_test(test_store_forward_begins_as_soon_as_the_other_is_there),
        TEST(test_store_forward_goes_on_as_soon_as_the_other_is_back),
        cmocka_unit_test(test_store_forward_two_full_stores_keep_their_pauses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
