/* Passwords guessed over many seeds of manners and faults (guess.h): from one address no
 * more guesses are answered, of an account and of all, than docs/http.md says, whatever
 * window one looks at; and the owner with the right password gets in from elsewhere. */
#include "tests/sim/guess.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS = 30, FAULTS_MS = 25 * 60 * 1000, CALM_MS = 3 * 60 * 1000 };

static struct guess total;

static void
guess(uint64_t seed)
{
    static struct guess g;
    struct sim *sim = guess_begin(&g, seed, getenv("SEED") != NULL);
    uint64_t calm_us;
    const char *why = "an owner is not let in";

    sim_start(sim);
    sim_run_until(sim, 1000, NULL, NULL);
    sim_faults_start(sim);
    guess_start(&g);
    sim_run_until(sim, FAULTS_MS, NULL, NULL);
    sim_faults_end(sim);
    calm_us = sim->now_us;
    sim_run_until(sim, FAULTS_MS + CALM_MS, NULL, NULL);
    if (sim_failed(sim, &why) || !guess_owners_in(&g, calm_us)) {
        fprintf(stderr, "SEED=%llu: %s\n", (unsigned long long)seed, why);
        fail();
    }
    total.wrong += g.wrong;
    total.slowed += g.slowed;
    total.in += g.in;
    total.passing += g.passing;
    total.longest = g.longest > total.longest ? g.longest : total.longest;
    guess_end(&g);
}

static void
test_guess_waits_hold_and_owners_get_in(void **state)
{
    const char *one = getenv("SEED");

    (void)state;
    if (one != NULL) {
        guess(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        guess(seed);
    }
    print_message(
        "%u wrong, %u told to wait, %u let in, %u failed in passing; the longest "
        "run %u\n",
        total.wrong, total.slowed, total.in, total.passing, total.longest);
    /* Else the test tests less than it says. */
    assert_true(total.wrong > 50 * SEEDS);
    assert_true(total.slowed > 50 * SEEDS);
    assert_true(total.in > 20 * SEEDS);
    assert_true(total.passing > SEEDS);
    assert_true(total.longest > 60);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guess_waits_hold_and_owners_get_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
