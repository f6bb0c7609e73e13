/* The power goes at random moments while a store works, and comes back: what was acked is
 * there, and the check finds nothing wrong. Runs on the simulated disk alone. */
#include "cluster/check.h"
#include "core/rng.h"
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

enum { SEEDS = 40, LIVES = 6, USERS = 4, SENDS_MAX = 60 };

struct world {
    struct store_rig *rig;
    struct an_rng rng;
    uint64_t acked[USERS + 1][USERS + 1]; /* newest seq, by low and high */
    uint64_t next[USERS + 1][USERS + 1];
    unsigned lost_power;
};

/* A few messages of random conversations in one append each; false once one failed. */
static bool
send_some(struct world *world)
{
    uint64_t a = 1 + an_rng_below(&world->rng, USERS);
    uint64_t b = 1 + an_rng_below(&world->rng, USERS);
    uint64_t low = a < b ? a : b;
    uint64_t high = a < b ? b : a;
    struct store_rig_message messages[8];
    Anser__Bus__Entry *entries[8];
    size_t count = 1 + an_rng_below(&world->rng, 8);
    uint64_t first = world->next[low][high];
    const Anser__Bus__Appended *done;
    uint64_t id;

    for (size_t i = 0; i < count; i++) {
        store_rig_message(&messages[i], i % 2 == 0 ? a : b, i % 2 == 0 ? b : a,
                          first + i);
        entries[i] = &messages[i].entry;
    }
    id = store_rig_append_begin(world->rig, an_slot_conv(&messages[0].conv), entries,
                                count);
    store_rig_settle(world->rig);
    if (harness_reply(world->rig->h, id) == NULL) {
        assert_true(world->rig->fatals > 0); /* the sync failed: silent from now on */
        return false;
    }
    done = harness_body(harness_reply(world->rig->h, id));
    if (done->slots[0]->err != AN_OK) {
        return false;
    }
    world->next[low][high] = first + count;
    world->acked[low][high] = first + count - 1;
    return true;
}

static void
claim_all(struct world *world)
{
    for (uint64_t a = 1; a <= USERS; a++) {
        for (uint64_t b = a; b <= USERS; b++) {
            store_rig_claim_pair(world->rig, a, b);
        }
    }
}

/* Acked is there; what was not acked may be, too, whole. */
static void
compare(struct world *world)
{
    for (uint64_t a = 1; a <= USERS; a++) {
        for (uint64_t b = a; b <= USERS; b++) {
            uint64_t head = store_rig_head(world->rig, a, b);

            assert_true(head >= world->acked[a][b]);
            assert_true(head <= world->acked[a][b] + 8);
            world->acked[a][b] = head;
            world->next[a][b] = head + 1;
        }
    }
}

static void
live(struct world *world)
{
    uint64_t ops;

    store_rig_open(world->rig);
    compare(world);
    claim_all(world);
    (void)files_sim_power(world->rig->sim, &ops);
    files_sim_cut_power(world->rig->sim, ops + 1 + an_rng_below(&world->rng, 120));
    for (unsigned i = 0; i < SENDS_MAX; i++) {
        if (!send_some(world)) {
            break;
        }
        if (an_rng_below(&world->rng, 20) == 0) {
            harness_advance(world->rig->h, 1000);
        }
    }
    world->lost_power += !files_sim_power(world->rig->sim, &ops);
    store_rig_close(world->rig);
    files_sim_crash(world->rig->sim, an_rng_next(&world->rng));
    files_sim_cut_power(world->rig->sim, 0);
}

static void
complain(void *ctx, const struct an_check_finding *finding)
{
    print_message("seed %u: %s:%llu: %s\n", *(unsigned *)ctx, finding->file,
                  (unsigned long long)finding->offset, finding->sentence);
}

static void
check(struct world *world, unsigned seed)
{
    const char *const dirs[] = {world->rig->cfg.engine.dir};
    struct an_check_cfg cfg = {.dirs = dirs,
                               .dir_count = 1,
                               .files = world->rig->cfg.engine.files,
                               .wall_ms = store_rig_time(1000),
                               .id_filter_bytes = 64 * 1024,
                               .ctx = &seed,
                               .finding = complain};
    struct an_check_totals totals;

    assert_int_equal(an_check_data(&cfg, &totals), AN_OK);
    assert_int_equal(totals.findings, 0);
}

static void
test_check_finds_nothing_after_power_cuts(void **state)
{
    unsigned lost = 0;

    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world = {.rig = store_rig_create()};

        world.rig->cfg.engine.overlay_rows_max = 100; /* so that applies are cut, too */
        an_rng_seed(&world.rng, seed);
        memset(world.next, 0, sizeof(world.next));
        for (unsigned i = 0; i < LIVES; i++) {
            live(&world);
            check(&world, seed);
        }
        lost += world.lost_power;
        store_rig_destroy(world.rig);
    }
    assert_true(lost > SEEDS * LIVES / 2); /* else the test cuts too late */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_finds_nothing_after_power_cuts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
