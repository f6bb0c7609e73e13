/* Slots are part of the stored format: these numbers never change. They were computed by
 * an implementation of SipHash-2-4 other than libsodium's. */
#include "core/limits.h"
#include "core/slot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_slot_of_conversations_is_frozen(void **state)
{
    static const struct {
        uint64_t a, b;
        uint16_t slot;
    } frozen[] = {{1, 1, 672}, {2, 1, 682}, {3, 258, 1014}, {UINT64_MAX, 5, 223}};
    (void)state;

    for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
        struct an_conv conv = an_conv_direct(frozen[i].a, frozen[i].b);
        assert_int_equal(an_slot_conv(&conv), frozen[i].slot);
    }
}

static void
test_slot_of_users_is_frozen(void **state)
{
    (void)state;

    assert_int_equal(an_slot_user(1), 722);
    assert_int_equal(an_slot_user(2), 316);
    assert_int_equal(an_slot_user(64), 701);
    assert_int_equal(an_slot_user(1000), 446);
    assert_int_equal(an_slot_user(UINT64_MAX), 769);
}

static uint16_t
name_slot(const char *name)
{
    return an_slot_name((const uint8_t *)"default", 7, (const uint8_t *)name,
                        strlen(name));
}

static void
test_slot_of_names_is_frozen(void **state)
{
    (void)state;

    assert_int_equal(name_slot("alice"), 171);
    assert_int_equal(name_slot("bob"), 729);
    assert_int_equal(name_slot("\xe5\xb0\x8f\xe6\x98\x8e"), 792);
    assert_int_equal(an_slot_register((const uint8_t *)"user", 4), 854);
    assert_int_equal(an_slot_register((const uint8_t *)"worker/0", 8), 863);
}

static uint16_t
register_slot(const char *name)
{
    return an_slot_register((const uint8_t *)name, strlen(name));
}

static void
test_slot_register_may_name_its_own(void **state)
{
    (void)state;

    assert_int_equal(register_slot("worker/1@0"), 0);
    assert_int_equal(register_slot("worker/1@1023"), 1023);
    assert_int_equal(register_slot("a@77"), 77);
    /* None of these does; the hash decides. Two of them by chance at most. */
    assert_int_not_equal(register_slot("worker/1@1024"), register_slot("worker/1@24"));
    assert_int_not_equal(register_slot("worker/1@077"), 77);
    assert_int_not_equal(register_slot("@77"), 77);
    assert_int_not_equal(register_slot("worker/77"), 77);
    assert_int_not_equal(register_slot("worker/1@"), 1);
    assert_int_not_equal(register_slot("worker/1@000077"), 77);
}

static void
test_slot_spreads_users_evenly(void **state)
{
    unsigned count[AN_SLOTS] = {0};
    unsigned most = 0;
    (void)state;

    for (uint64_t user = 1; user <= 100 * AN_SLOTS; user++) {
        unsigned n = ++count[an_slot_user(user)];
        most = n > most ? n : most;
    }
    assert_true(most < 160); /* six standard deviations above the mean of 100 */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slot_of_conversations_is_frozen),
        cmocka_unit_test(test_slot_of_users_is_frozen),
        cmocka_unit_test(test_slot_of_names_is_frozen),
        cmocka_unit_test(test_slot_register_may_name_its_own),
        cmocka_unit_test(test_slot_spreads_users_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
