/* The actors' generator: the published algorithm, so that a seed means the same for ever.
 */
#include "core/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_rng_seed_42_gives_the_published_sequence(void **state)
{
    static const uint64_t expected[] = {0x15780b2e0c2ec716, 0x6104d9866d113a7e,
                                        0xae17533239e499a1, 0xecb8ad4703b360a1};
    struct an_rng rng;
    (void)state;

    an_rng_seed(&rng, 42);
    for (size_t i = 0; i < 4; i++) {
        assert_true(an_rng_next(&rng) == expected[i]);
    }
}

static void
test_rng_below_is_in_range_and_even(void **state)
{
    unsigned count[6] = {0};
    struct an_rng rng;
    (void)state;

    an_rng_seed(&rng, 7);
    for (int i = 0; i < 60000; i++) {
        uint64_t x = an_rng_below(&rng, 6);
        assert_true(x < 6);
        count[x]++;
    }
    for (int i = 0; i < 6; i++) {
        assert_in_range(count[i], 9500, 10500);
    }
    assert_int_equal(an_rng_below(&rng, 1), 0);
}

static void
test_rng_seeds_differ_and_repeat(void **state)
{
    struct an_rng a, b, c;
    (void)state;

    an_rng_seed(&a, 1);
    an_rng_seed(&b, 1);
    an_rng_seed(&c, 2);
    for (int i = 0; i < 100; i++) {
        uint64_t x = an_rng_next(&a);
        assert_true(x == an_rng_next(&b));
        assert_true(x != an_rng_next(&c));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_seed_42_gives_the_published_sequence),
        cmocka_unit_test(test_rng_below_is_in_range_and_even),
        cmocka_unit_test(test_rng_seeds_differ_and_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
