/* The simulated runner keeps core/actor.h's contract, whatever it does to the actors. */
#include "tests/sim/sim_priv.h"
#include "tests/sim/toys.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct an_addr caller = {AN_ROLE_SEQUENCER, 0};
static const struct an_addr server = {AN_ROLE_IDGEN, 0};

static bool
all_ended(void *ctx)
{
    const struct toys *toys = ctx;

    return toys->ended == toys->wanted;
}

static struct sim *
cluster(struct toys *toys, uint64_t seed, unsigned wanted)
{
    struct sim_options options = {.seed = seed};
    struct sim *sim = sim_create(&options);
    unsigned first, second;

    assert_non_null(sim);
    memset(toys, 0, sizeof(*toys));
    toys->wanted = wanted;
    toys->window = 8;
    toys->in_order = true;
    first = sim_process_add(sim, "caller");
    second = sim_process_add(sim, "server");
    sim_actor_add(sim, first, caller, toys_caller_make, toys);
    sim_actor_add(sim, second, server, toys_server_make, toys);
    return sim;
}

static void
assert_each_ended_once(const struct toys *toys)
{
    assert_int_equal(toys->ended, toys->wanted);
    for (unsigned i = 1; i <= toys->wanted; i++) {
        assert_int_equal(toys->ends[i], 1);
    }
    assert_int_equal(toys->stray_timers, 0);
}

static void
test_sim_calm_every_ask_succeeds_in_order(void **state)
{
    struct toys toys;
    struct sim *sim = cluster(&toys, 7, 1000);

    (void)state;
    sim_start(sim);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    assert_int_equal(toys.served, 1000);
    assert_true(toys.jobs > 0);
    assert_true(toys.in_order);
    assert_int_equal(toys.failed, 0);
    sim_destroy(sim);
}

static void
run_hostile(struct toys *toys, uint64_t seed, uint64_t *hash, uint64_t counts[])
{
    struct sim *sim = cluster(toys, seed, 2000);

    sim->plan.drop_request = 300;
    sim->plan.drop_answer = 300;
    sim->plan.double_request = 500;
    sim->plan.late_request = 200;
    sim->plan.delay = 300;
    sim->plan.reset_gap = 900;
    sim->plan.pause_gap = 2000;
    sim_faults_start(sim);
    sim_start(sim);
    for (uint64_t ms = 500; ms < 3600000 && !all_ended(toys); ms += 500) {
        sim_run_until(sim, ms, all_ended, toys);
        if (ms % 2500 == 0) {
            sim_kill(sim, 1, false, 300);
        }
    }
    assert_each_ended_once(toys);
    *hash = sim_hash(sim);
    memcpy(counts, sim->counts, sizeof(sim->counts));
    sim_destroy(sim);
}

static void
test_sim_hostile_every_ask_ends_once(void **state)
{
    static const enum sim_count kinds[] = {
        SIM_DROP_REQUEST, SIM_DROP_ANSWER, SIM_DOUBLE_REQUEST, SIM_LATE_REQUEST,
        SIM_DELAY,        SIM_RESET,       SIM_PAUSE};
    uint64_t counts[SIM_COUNT_COUNT], sums[SIM_COUNT_COUNT] = {0};
    uint64_t hash;
    struct toys toys;

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run_hostile(&toys, seed, &hash, counts);
        assert_true(toys.failed > 0 && toys.failed < toys.wanted);
        for (size_t i = 0; i < SIM_COUNT_COUNT; i++) {
            sums[i] += counts[i];
        }
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        assert_true(sums[kinds[i]] > 0);
    }
}

static void
test_sim_same_seed_leaves_same_trace(void **state)
{
    uint64_t counts[SIM_COUNT_COUNT];
    uint64_t first, again, other;
    struct toys toys;

    (void)state;
    run_hostile(&toys, 42, &first, counts);
    run_hostile(&toys, 42, &again, counts);
    run_hostile(&toys, 43, &other, counts);
    assert_true(first == again);
    assert_true(first != other);
}

static void
test_sim_killed_server_loses_its_asks_and_returns(void **state)
{
    struct toys toys;
    struct sim *sim = cluster(&toys, 3, 500);

    (void)state;
    sim_start(sim);
    sim_run_until(sim, 55, NULL, NULL);
    assert_true(toys.ended > 0 && toys.ended < toys.wanted);
    sim_kill(sim, 1, false, 300);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    assert_int_equal(toys.lives, 2);
    assert_true(toys.failed > 0);
    sim_destroy(sim);
}

static void
test_sim_paused_process_takes_no_step(void **state)
{
    struct toys toys;
    struct sim *sim = cluster(&toys, 4, 500);
    unsigned served;

    (void)state;
    sim_start(sim);
    sim_run_until(sim, 55, NULL, NULL);
    sim->process[1].paused_until_us = sim->now_us + 100 * SIM_MS;
    served = toys.served;
    sim_run_until(sim, 154, NULL, NULL);
    assert_int_equal(toys.served, served);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    sim_destroy(sim);
}

enum { CALLER_BIT = 1, SERVER_BIT = 2 };

static bool
some_ended(void *ctx)
{
    return ((const struct toys *)ctx)->ended > 20;
}

/* Some asks ended, the next are on their way. */
static struct sim *
midway(struct toys *toys, uint64_t seed)
{
    struct sim *sim = cluster(toys, seed, 500);

    sim_start(sim);
    assert_true(sim_run_until(sim, 1000, some_ended, toys));
    return sim;
}

static uint64_t
in_ms(const struct sim *sim, uint64_t ms)
{
    return sim->now_us + ms * SIM_MS;
}

static void
run_ms(struct sim *sim, uint64_t ms)
{
    sim_run_until(sim, sim_now_ms(sim) + ms, NULL, NULL);
}

static void
test_sim_cut_answers_requests_are_served(void **state)
{
    struct toys toys;
    struct sim *sim = midway(&toys, 5);
    unsigned served = toys.served, failed;

    (void)state;
    sim_cut(sim, SERVER_BIT, CALLER_BIT, in_ms(sim, 1200), false);
    run_ms(sim, 1199);
    assert_true(toys.served > served);
    assert_true(toys.failed >= toys.window && sim->counts[SIM_CUT_LOST] > 0);
    run_ms(sim, 502); /* the last of them have run out of time */
    failed = toys.failed;
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    assert_int_equal(toys.failed, failed);
    sim_destroy(sim);
}

static void
test_sim_cut_requests_held_arrive_late_in_order(void **state)
{
    struct toys toys;
    struct sim *sim = midway(&toys, 6);
    unsigned served;

    (void)state;
    sim_cut(sim, CALLER_BIT, SERVER_BIT, in_ms(sim, 300), true);
    run_ms(sim, 10); /* what was on its way has arrived */
    served = toys.served;
    run_ms(sim, 289);
    assert_int_equal(toys.served, served);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    assert_int_equal(toys.failed, 0);
    assert_true(toys.in_order && sim->counts[SIM_CUT_HELD] > 0);
    sim_destroy(sim);
}

static void
test_sim_cut_noticed_asks_end_at_once(void **state)
{
    struct toys toys;
    struct sim *sim = midway(&toys, 7);
    unsigned served;

    (void)state;
    sim_cut(sim, SERVER_BIT, CALLER_BIT, in_ms(sim, 60000), false);
    sim->cut[0].noticed = true;
    sim_net_processes_reset(sim, 0, 1);
    run_ms(sim, 10);
    served = toys.served;
    assert_true(sim_run_until(sim, 2000, all_ended, &toys)); /* well within the cut */
    assert_each_ended_once(&toys);
    assert_int_equal(toys.served, served);
    sim_destroy(sim);
}

static void
test_sim_cut_noticed_is_of_these_two_alone(void **state)
{
    struct toys toys;
    struct sim *sim = cluster(&toys, 8, 500);

    (void)state;
    sim_process_add(sim, "bystander");
    sim_cut(sim, SERVER_BIT, 1u << 2, in_ms(sim, 60000), false);
    sim->cut[0].noticed = true;
    assert_true(sim_cut_noticed(sim, 1, 2) && sim_cut_noticed(sim, 2, 1));
    assert_false(sim_cut_noticed(sim, 0, 1) || sim_cut_noticed(sim, 1, 1));
    assert_null(sim_cut_from_to(sim, 2, 1));
    sim_start(sim);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_int_equal(toys.failed, 0);
    sim_destroy(sim);
}

static void
test_sim_other_stores_refused_by_the_runner(void **state)
{
    struct toys toys;
    struct sim *sim = cluster(&toys, 9, 500);

    (void)state;
    sim->process[1].stores = 1;
    sim_start(sim);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    assert_int_equal(toys.failed, toys.wanted);
    assert_int_equal(toys.served, 0);
    assert_int_equal(sim->counts[SIM_SAW_REFUSED_CLUSTER], toys.wanted);
    sim_destroy(sim);
}

static void
test_sim_paused_asker_hears_of_everything_when_it_wakes(void **state)
{
    struct toys toys;
    struct sim *sim = midway(&toys, 10);
    unsigned ended;

    (void)state;
    sim->process[0].paused_until_us = in_ms(sim, 5000);
    ended = toys.ended;
    run_ms(sim, 4999);
    assert_int_equal(toys.ended, ended);
    assert_true(sim_run_until(sim, 60000, all_ended, &toys));
    assert_each_ended_once(&toys);
    sim_destroy(sim);
}

/* A timer of a process whose clock is slow or fast fires when that clock says so, and not
 * a moment before. */
static void
test_sim_drifting_clock_is_reached_by_its_timers(void **state)
{
    static const int64_t rates[] = {0, 1, -1, 30000, -30000, 12345, -500000};
    struct sim_options options = {.seed = 5, .calm = true};
    struct sim *sim = sim_create(&options);

    (void)state;
    assert_non_null(sim);
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct sim_process process = {
            .boot_us = 777, .mono_base_ms = 1000, .mono_ppm = rates[i]};

        for (uint64_t ms = 0; ms < 3000; ms += 7) {
            sim->now_us = sim_clock_at_us(&process, 1000 + ms);
            assert_int_equal(sim_clock(sim, &process).mono_ms, 1000 + ms);
            if (ms > 0) {
                sim->now_us--;
                assert_int_equal(sim_clock(sim, &process).mono_ms, 999 + ms);
            }
        }
    }
    sim_destroy(sim);
}

static void
test_sim_destroy_midway_frees_everything(void **state)
{
    struct toys toys;
    const char *why;

    (void)state;
    for (uint64_t ms = 1; ms < 60; ms += 7) {
        struct sim *sim = cluster(&toys, ms, 500);
        sim_start(sim);
        sim_run_until(sim, ms, NULL, NULL);
        assert_false(sim_failed(sim, &why));
        sim_destroy(sim);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim_calm_every_ask_succeeds_in_order),
        cmocka_unit_test(test_sim_hostile_every_ask_ends_once),
        cmocka_unit_test(test_sim_same_seed_leaves_same_trace),
        cmocka_unit_test(test_sim_killed_server_loses_its_asks_and_returns),
        cmocka_unit_test(test_sim_paused_process_takes_no_step),
        cmocka_unit_test(test_sim_cut_answers_requests_are_served),
        cmocka_unit_test(test_sim_cut_requests_held_arrive_late_in_order),
        cmocka_unit_test(test_sim_cut_noticed_asks_end_at_once),
        cmocka_unit_test(test_sim_cut_noticed_is_of_these_two_alone),
        cmocka_unit_test(test_sim_other_stores_refused_by_the_runner),
        cmocka_unit_test(test_sim_paused_asker_hears_of_everything_when_it_wakes),
        cmocka_unit_test(test_sim_drifting_clock_is_reached_by_its_timers),
        cmocka_unit_test(test_sim_destroy_midway_frees_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
