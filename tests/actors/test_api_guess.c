/* Wrong passwords, counted: who waits how long. */
#include "actors/api/api_guess.h"
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SEED = 7, PLACES = 8, FLOOD = 50000, WAIT_MS_MAX = 60000 };

static const char ADDRESS[] = "10.0.0.1";

static uint64_t
try_at(struct api_guess *guess, const char *name, uint64_t ms)
{
    return api_guess_try(guess, "default", name, ADDRESS, ms);
}

static void
pass(struct api_guess *guess, const char *name, uint64_t began_ms, bool right)
{
    api_guess_pass(guess, "default", name, ADDRESS, began_ms, right);
}

static void
test_api_guess_a_try_that_came_to_no_end_makes_nobody_wait(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);

    (void)state;
    for (uint64_t ms = 1; ms <= 5; ms++) {
        assert_int_equal(try_at(guess, "alice", ms), 0);
    }
    assert_int_equal(try_at(guess, "alice", 6), 999);
    pass(guess, "alice", 5, false);
    assert_int_equal(try_at(guess, "alice", 7), 0);
    assert_int_equal(try_at(guess, "alice", 8), 999);
    api_guess_destroy(guess);
}

/* Of two on their way the earlier one ends last: the later one's wait stands. */
static void
test_api_guess_the_end_of_a_slow_try_lifts_no_later_wait(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);

    (void)state;
    for (uint64_t ms = 1; ms <= 5; ms++) {
        assert_int_equal(try_at(guess, "alice", ms), 0);
    }
    assert_int_equal(try_at(guess, "alice", 2000), 0);
    pass(guess, "alice", 5, false);
    assert_int_equal(try_at(guess, "alice", 2001), 1999);
    api_guess_destroy(guess);
}

/* Who guesses logs in rightly in between, with an account of his own. */
static void
test_api_guess_an_own_right_login_lifts_no_later_wait(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);
    const char *names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
                           "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"};

    (void)state;
    assert_int_equal(try_at(guess, "mallory", 1), 0);
    for (unsigned i = 0; i < 49; i++) {
        assert_int_equal(try_at(guess, names[i % 20], 10 + i), 0);
    }
    assert_int_equal(try_at(guess, "u", 60), 998);
    pass(guess, "mallory", 1, true);
    assert_int_equal(try_at(guess, "u", 61), 997);
    /* A right one that is the newest makes nobody wait for it. */
    assert_int_equal(try_at(guess, "mallory", 2000), 0);
    pass(guess, "mallory", 2000, true);
    assert_int_equal(try_at(guess, "u", 2001), 0);
    api_guess_destroy(guess);
}

/* What a stranger computes, who has the source: the place without a key. */
static unsigned
place_without_key(const char *app, const char *name)
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;
    uint64_t id;

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *)app, strlen(app) + 1);
    crypto_generichash_update(&state, (const unsigned char *)name, strlen(name) + 1);
    crypto_generichash_update(&state, (const unsigned char *)ADDRESS, sizeof(ADDRESS));
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(&id, hash, sizeof(id));
    return (unsigned)(id % 1024);
}

/* Tries one wrong password for each of so many made-up names in that place. */
static void
try_colliding(struct api_guess *guess, unsigned place, unsigned count, uint64_t ms)
{
    char name[32];

    for (unsigned i = 0; count > 0; i++) {
        snprintf(name, sizeof(name), "q%u", i);
        if (place_without_key("default", name) == place) {
            try_at(guess, name, ms);
            count--;
        }
    }
}

/* The address has had its fifty: it waits a second from that ms. */
static void
use_up_address(struct api_guess *guess, uint64_t ms)
{
    char name[32];

    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "v%u", i);
        assert_int_equal(try_at(guess, name, ms), 0);
    }
}

static void
test_api_guess_colliding_names_push_out_no_address(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);

    (void)state;
    use_up_address(guess, 1);
    try_colliding(guess, place_without_key("", ""), 2 * PLACES, 2);
    assert_int_equal(try_at(guess, "another", 3), 998);
    api_guess_destroy(guess);
}

static void
test_api_guess_colliding_names_push_out_no_pair(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);

    (void)state;
    for (uint64_t ms = 1; ms <= 5; ms++) {
        assert_int_equal(try_at(guess, "alice", ms), 0);
    }
    try_colliding(guess, place_without_key("default", "alice"), 2 * PLACES, 6);
    assert_int_equal(try_at(guess, "alice", 7), 998);
    api_guess_destroy(guess);
}

/* While it waits, an address makes up names: neither itself nor what it tried before is
 * forgotten, also when it has waited. */
static void
test_api_guess_a_flood_of_names_is_in_vain(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);
    char name[32];

    (void)state;
    for (uint64_t ms = 1; ms <= 5; ms++) {
        assert_int_equal(try_at(guess, "alice", ms), 0);
    }
    for (unsigned i = 0; i < 45; i++) {
        snprintf(name, sizeof(name), "v%u", i);
        assert_int_equal(try_at(guess, name, 10), 0);
    }
    for (unsigned i = 0; i < FLOOD; i++) {
        snprintf(name, sizeof(name), "z%u", i);
        assert_int_equal(try_at(guess, name, 20), 990);
    }
    assert_int_equal(try_at(guess, "alice", 2000), 0);
    assert_int_equal(try_at(guess, "alice", 2001), 1999);
    assert_int_equal(try_at(guess, "z0", 2001), 1999);
    api_guess_destroy(guess);
}

/* Nor with tries that come to no end, since nobody has room to hash them. */
static void
test_api_guess_tries_without_end_take_no_place(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);
    char name[32];

    (void)state;
    for (uint64_t ms = 1; ms <= 5; ms++) {
        assert_int_equal(try_at(guess, "alice", ms), 0);
    }
    for (unsigned i = 0; i < FLOOD; i++) {
        snprintf(name, sizeof(name), "z%u", i);
        assert_int_equal(try_at(guess, name, 1500), 0);
        pass(guess, name, 1500, false);
    }
    assert_int_equal(try_at(guess, "alice", 2000), 0);
    assert_int_equal(try_at(guess, "alice", 2001), 1999);
    api_guess_destroy(guess);
}

/* Where everybody waits, a newcomer waits too, and nobody's wait is forgotten. */
static void
test_api_guess_where_all_wait_a_newcomer_waits(void **state)
{
    struct api_guess *guess = api_guess_create(SEED);
    char from[32];
    unsigned in = 0, refused = 0;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 20000; i++) {
            uint64_t wait_ms;
            unsigned tries = 0;

            snprintf(from, sizeof(from), "10.1.%u.%u", i / 250, i % 250);
            do {
                wait_ms = api_guess_try(guess, "default", "alice", from, 100 + round);
            } while (wait_ms == 0 && ++tries < 6);
            assert_in_range(wait_ms, 1000 - round, WAIT_MS_MAX);
            assert_true(tries == 0 || (tries == 5 && round == 0));
            in += tries == 5;
            refused += tries == 0 && round == 0;
        }
    }
    assert_true(in <= 1024 * PLACES && in > 1000 * PLACES);
    assert_true(refused > 10000);
    /* And is let in when they have waited. */
    assert_int_equal(api_guess_try(guess, "default", "alice", "10.2.0.1", 1100), 0);
    api_guess_destroy(guess);
}

static void
test_api_guess_places_are_told_by_the_seed(void **state)
{
    struct api_guess *one = api_guess_create(SEED), *same = api_guess_create(SEED);
    struct api_guess *other = api_guess_create(SEED + 1);

    (void)state;
    assert_true(api_guess_address(one, ADDRESS) == api_guess_address(same, ADDRESS));
    assert_true(api_guess_address(one, ADDRESS) != api_guess_address(other, ADDRESS));
    api_guess_destroy(one);
    api_guess_destroy(same);
    api_guess_destroy(other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_guess_a_try_that_came_to_no_end_makes_nobody_wait),
        cmocka_unit_test(test_api_guess_the_end_of_a_slow_try_lifts_no_later_wait),
        cmocka_unit_test(test_api_guess_an_own_right_login_lifts_no_later_wait),
        cmocka_unit_test(test_api_guess_colliding_names_push_out_no_address),
        cmocka_unit_test(test_api_guess_colliding_names_push_out_no_pair),
        cmocka_unit_test(test_api_guess_a_flood_of_names_is_in_vain),
        cmocka_unit_test(test_api_guess_tries_without_end_take_no_place),
        cmocka_unit_test(test_api_guess_where_all_wait_a_newcomer_waits),
        cmocka_unit_test(test_api_guess_places_are_told_by_the_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
