/* The bump allocator: aligned, bounded, reset. */
#include "core/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_arena_allocations_are_aligned_and_apart(void **state)
{
    struct an_arena arena;
    uint8_t *before = NULL;
    (void)state;

    an_arena_init(&arena, 1 << 20);
    for (size_t len = 0; len < 300; len++) {
        uint8_t *at = an_arena_alloc(&arena, len);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % 16, 0);
        assert_ptr_not_equal(at, before);
        memset(at, (int)len, len);
        before = at;
    }
    an_arena_fini(&arena);
}

static void
test_arena_limit_is_kept(void **state)
{
    struct an_arena arena;
    size_t got = 0;
    (void)state;

    an_arena_init(&arena, 10000);
    while (an_arena_alloc(&arena, 100) != NULL) {
        got += 100;
        assert_true(arena.total <= 10000);
    }
    assert_true(got >= 8000);
    an_arena_reset(&arena);
    assert_non_null(an_arena_alloc(&arena, 10000)); /* the limit itself still fits */
    assert_null(an_arena_alloc(&arena, 16));
    an_arena_fini(&arena);
}

static void
test_arena_absurd_lengths_are_refused(void **state)
{
    struct an_arena arena;
    (void)state;

    an_arena_init(&arena, 1 << 20);
    assert_null(an_arena_alloc(&arena, SIZE_MAX));
    assert_null(an_arena_alloc(&arena, SIZE_MAX - 15));
    assert_null(an_arena_alloc(&arena, (1 << 20) + 1));
    assert_null(an_arena_calloc(&arena, SIZE_MAX / 2, 3));
    assert_non_null(an_arena_alloc(&arena, 16));
    an_arena_fini(&arena);
}

static void
test_arena_dup_and_calloc_fill_in(void **state)
{
    struct an_arena arena;
    const uint8_t *zeros;
    (void)state;

    an_arena_init(&arena, 1 << 16);
    assert_memory_equal(an_arena_dup(&arena, "anser", 6), "anser", 6);
    assert_non_null(an_arena_dup(&arena, NULL, 0));
    memset(an_arena_alloc(&arena, 64), 0xFF, 64);
    an_arena_reset(&arena);
    zeros = an_arena_calloc(&arena, 8, 8);
    assert_non_null(zeros);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(zeros[i], 0);
    }
    an_arena_fini(&arena);
}

static void
test_arena_reset_keeps_one_small_block(void **state)
{
    struct an_arena arena;
    void *first;
    (void)state;

    an_arena_init(&arena, 1 << 20);
    first = an_arena_alloc(&arena, 64);
    an_arena_reset(&arena);
    assert_ptr_equal(an_arena_alloc(&arena, 64), first);
    assert_non_null(an_arena_alloc(&arena, 200000));
    an_arena_reset(&arena);
    assert_int_equal(arena.total, 0); /* a burst's memory is given back */
    an_arena_fini(&arena);
    an_arena_fini(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_allocations_are_aligned_and_apart),
        cmocka_unit_test(test_arena_limit_is_kept),
        cmocka_unit_test(test_arena_absurd_lengths_are_refused),
        cmocka_unit_test(test_arena_dup_and_calloc_fill_in),
        cmocka_unit_test(test_arena_reset_keeps_one_small_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
