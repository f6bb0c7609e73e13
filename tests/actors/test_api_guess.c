/* Wrong passwords, counted: who waits how long. */
#include "actors/api/api_guess.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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
    struct api_guess *guess = api_guess_create();

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
    struct api_guess *guess = api_guess_create();

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
    struct api_guess *guess = api_guess_create();
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_guess_a_try_that_came_to_no_end_makes_nobody_wait),
        cmocka_unit_test(test_api_guess_the_end_of_a_slow_try_lifts_no_later_wait),
        cmocka_unit_test(test_api_guess_an_own_right_login_lifts_no_later_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
