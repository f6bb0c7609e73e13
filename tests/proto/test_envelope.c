/* The bus header: put and get, and each way of being wrong. */
#include "proto/envelope.h"
#include "proto/kinds.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BODY = 5 };

static void
make(uint8_t out[AN_ENVELOPE_LEN + BODY])
{
    struct an_envelope env = {.answer = true,
                              .kind = AN_KIND_APPENDED,
                              .err = 701,
                              .trace = 0x0102030405060708,
                              .budget_ms = 5000,
                              .from = {AN_ROLE_STORE, 258},
                              .body_len = BODY,
                              .cluster = 0x1112131415161718,
                              .stores = 0x2122232425262728};

    an_envelope_put(out, &env);
    memset(out + AN_ENVELOPE_LEN, 7, BODY);
}

static void
test_envelope_put_then_get_gives_the_same(void **state)
{
    static const uint8_t expected[AN_ENVELOPE_LEN] = {
        'A',  'B',  3,    1,    0,    6,    2,
        0xBD, 1,    2,    3,    4,    5,    6,
        7,    8,    0,    0,    0x13, 0x88, AN_ROLE_STORE,
        0,    1,    2,    0,    0,    0,    BODY,
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
        0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26,
        0x27, 0x28};
    uint8_t bytes[AN_ENVELOPE_LEN + BODY];
    struct an_envelope env;
    const char *why = NULL;
    (void)state;

    make(bytes);
    assert_memory_equal(bytes, expected, sizeof(expected));
    assert_true(an_envelope_get(&env, bytes, sizeof(bytes), &why));
    assert_null(why);
    assert_true(env.answer);
    assert_int_equal(env.kind, AN_KIND_APPENDED);
    assert_int_equal(env.err, 701);
    assert_int_equal(env.trace, 0x0102030405060708);
    assert_int_equal(env.budget_ms, 5000);
    assert_int_equal(env.from.role, AN_ROLE_STORE);
    assert_int_equal(env.from.index, 258);
    assert_int_equal(env.body_len, BODY);
    assert_int_equal(env.cluster, 0x1112131415161718);
    assert_int_equal(env.stores, 0x2122232425262728);
}

static void
test_envelope_wrong_bytes_are_refused_with_a_reason(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } cases[] = {
        {0, 'X', "bad magic"},
        {1, 'X', "bad magic"},
        {2, AN_BUS_VERSION + 1, "another bus version"},
        {3, 2, "reserved bits are set"},
        {21, 1, "reserved bits are set"},
        {20, AN_ROLE_NONE, "unknown sender role"},
        {20, AN_ROLE_COUNT, "unknown sender role"},
        {27, BODY - 1, "body length does not match"},
        {24, 1, "body length does not match"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[AN_ENVELOPE_LEN + BODY];
        struct an_envelope env;
        const char *why = NULL;
        make(bytes);
        bytes[cases[i].at] = cases[i].value;
        assert_false(an_envelope_get(&env, bytes, sizeof(bytes), &why));
        assert_string_equal(why, cases[i].why);
    }
}

static void
test_envelope_cut_message_is_refused(void **state)
{
    uint8_t bytes[AN_ENVELOPE_LEN + BODY];
    struct an_envelope env;
    const char *why;
    (void)state;

    make(bytes);
    for (size_t len = 0; len < sizeof(bytes); len++) {
        assert_false(an_envelope_get(&env, bytes, len, &why));
        assert_non_null(why);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope_put_then_get_gives_the_same),
        cmocka_unit_test(test_envelope_wrong_bytes_are_refused_with_a_reason),
        cmocka_unit_test(test_envelope_cut_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
