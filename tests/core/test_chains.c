#include "core/chains.h"
#include "core/hash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

enum { THINGS = 5000 };

struct thing {
    struct an_chained chained; /* first */
    uint32_t key;
    bool in;
};

static struct thing things[THINGS];

/* So many of the next allocations fail. */
static unsigned starved_count;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *
__wrap_calloc(size_t count, size_t size)
{
    if (starved_count > 0) {
        starved_count--;
        return NULL;
    }
    return __real_calloc(count, size);
}

static int
setup(void **state)
{
    (void)state;
    memset(things, 0, sizeof(things));
    for (uint32_t i = 0; i < THINGS; i++) {
        things[i].key = i;
    }
    starved_count = 0;
    return 0;
}

static uint64_t
spread(uint32_t key)
{
    static const struct an_hash_key zero;

    return an_hash(&zero, &key, sizeof(key));
}

/* Only four places and no more than 16 hashes, however large the table. */
static uint64_t
crowded(uint32_t key)
{
    return (uint64_t)(key & 3) << 32 | (key >> 2 & 3);
}

static const struct thing *
find(const struct an_chains *chains, uint64_t hash, uint32_t key)
{
    const struct an_chained *at = an_chains_first(chains, hash);

    while (at != NULL && ((const struct thing *)at)->key != key) {
        assert_true(at->hash == hash);
        at = an_chains_next(at);
    }
    return (const struct thing *)at;
}

static bool
add(struct an_chains *chains, uint32_t key, uint64_t hash)
{
    things[key].in = an_chains_add(chains, &things[key].chained, hash);
    return things[key].in;
}

static void
take_out(struct an_chains *chains, uint32_t key)
{
    an_chains_remove(chains, &things[key].chained);
    things[key].in = false;
}

/* Each of the first so many is found when it is in, and only then. */
static void
expect(const struct an_chains *chains, uint32_t count, uint64_t hash_of(uint32_t key))
{
    size_t in = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct thing *found = find(chains, hash_of(i), i);

        assert_ptr_equal(found, things[i].in ? &things[i] : NULL);
        in += things[i].in;
    }
    assert_int_equal(chains->count, in);
    for (const struct an_chained *at = an_chains_walk(chains, NULL); at != NULL;
         at = an_chains_walk(chains, at)) {
        assert_true(((const struct thing *)at)->in);
        in--;
    }
    assert_int_equal(in, 0);
}

static void
test_chains_empty_finds_nothing(void **state)
{
    struct an_chains chains = {0};

    (void)state;
    assert_null(an_chains_first(&chains, 0));
    assert_null(an_chains_first(&chains, UINT64_MAX));
    an_chains_fini(&chains);
    an_chains_fini(&chains);
}

static void
test_chains_find_what_is_in_while_they_grow(void **state)
{
    struct an_chains chains = {0};

    (void)state;
    for (uint32_t i = 0; i < THINGS; i++) {
        assert_true(add(&chains, i, spread(i)));
        if ((i & (i - 1)) == 0) {
            expect(&chains, i + 2, spread); /* what is not in yet, too */
        }
        assert_true(chains.count <= chains.cap);
    }
    expect(&chains, THINGS, spread);
    for (uint32_t i = 0; i < THINGS; i += 3) {
        take_out(&chains, i);
    }
    expect(&chains, THINGS, spread);
    for (uint32_t i = 0; i < THINGS; i++) {
        if (things[i].in) {
            take_out(&chains, i);
        }
    }
    expect(&chains, THINGS, spread);
    assert_true(add(&chains, 7, spread(7)));
    expect(&chains, THINGS, spread);
    an_chains_fini(&chains);
    assert_null(an_chains_first(&chains, spread(7)));
    assert_int_equal(things[7].key, 7); /* stays the caller's */
}

static void
test_chains_tell_keys_of_one_hash_apart(void **state)
{
    struct an_chains chains = {0};

    (void)state;
    for (uint32_t i = 0; i < 500; i++) {
        assert_true(add(&chains, i, crowded(i)));
    }
    expect(&chains, 500, crowded);
    for (uint32_t i = 499; i > 100; i -= 2) {
        take_out(&chains, i);
    }
    expect(&chains, 500, crowded);
    an_chains_fini(&chains);
}

static void
test_chains_without_memory_for_the_first_say_so(void **state)
{
    struct an_chains chains = {0};

    (void)state;
    starved_count = 1;
    assert_false(add(&chains, 1, spread(1)));
    expect(&chains, 4, spread);
    assert_true(add(&chains, 1, spread(1)));
    expect(&chains, 4, spread);
    an_chains_fini(&chains);
}

static void
test_chains_without_memory_to_grow_get_longer(void **state)
{
    struct an_chains chains = {0};
    size_t cap;

    (void)state;
    assert_true(add(&chains, 0, spread(0)));
    cap = chains.cap;
    starved_count = UINT32_MAX;
    for (uint32_t i = 1; i < 1000; i++) {
        assert_true(add(&chains, i, spread(i)));
    }
    assert_true(starved_count < UINT32_MAX);
    assert_int_equal(chains.cap, cap);
    take_out(&chains, 500);
    expect(&chains, 1001, spread);

    starved_count = 0; /* there is memory again: it catches up */
    while (chains.cap < chains.count) {
        size_t before = chains.cap;

        assert_true(
            add(&chains, (uint32_t)chains.count + 1, spread((uint32_t)chains.count + 1)));
        assert_int_equal(chains.cap, before * 2);
    }
    expect(&chains, 1100, spread);
    an_chains_fini(&chains);
}

static void
test_hash_depends_on_key_data_and_length(void **state)
{
    static const uint8_t zeros[4];
    struct an_hash_key one, same, other;

    (void)state;
    an_hash_seed(&one, 1);
    an_hash_seed(&same, 1);
    an_hash_seed(&other, 2);
    assert_true(an_hash(&one, "abc", 3) == an_hash(&same, "abc", 3));
    assert_true(an_hash(&one, "abc", 3) != an_hash(&other, "abc", 3));
    assert_true(an_hash(&one, "abc", 3) != an_hash(&one, "abd", 3));
    assert_true(an_hash(&one, zeros, 3) != an_hash(&one, zeros, 4));
}

/* Appendix A of the SipHash paper: the key 00 01 .. 0f, the data 00 01 .. 0e. */
static void
test_hash_is_siphash(void **state)
{
    static const uint8_t expected[8] = {0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1};
    struct an_hash_key key;
    uint8_t data[15];
    uint64_t hash = 0;

    (void)state;
    for (uint8_t i = 0; i < sizeof(key.bytes); i++) {
        key.bytes[i] = i;
    }
    memcpy(data, key.bytes, sizeof(data));
    for (unsigned i = 0; i < sizeof(expected); i++) {
        hash = hash << 8 | expected[i];
    }
    assert_true(an_hash(&key, data, sizeof(data)) == hash);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_chains_empty_finds_nothing, setup),
        cmocka_unit_test_setup(test_chains_find_what_is_in_while_they_grow, setup),
        cmocka_unit_test_setup(test_chains_tell_keys_of_one_hash_apart, setup),
        cmocka_unit_test_setup(test_chains_without_memory_for_the_first_say_so, setup),
        cmocka_unit_test_setup(test_chains_without_memory_to_grow_get_longer, setup),
        cmocka_unit_test(test_hash_depends_on_key_data_and_length),
        cmocka_unit_test(test_hash_is_siphash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
