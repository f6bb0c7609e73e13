/* Stored keys: frozen bytes, and an order that is the order of numbers. */
#include "proto/rows.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t *
text(const char *s)
{
    return (const uint8_t *)s;
}

static void
assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    char got[2 * AN_ROW_KEY_MAX + 1] = {0};

    assert_true(len <= AN_ROW_KEY_MAX);
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(got + 2 * i, 3, "%02x", data[i]);
    }
    assert_string_equal(got, hex);
}

#define CONV                                                                             \
    "44"                                                                                 \
    "0000000000000003"                                                                   \
    "0000000000000102"

static void
test_rows_keys_are_frozen(void **state)
{
    struct an_conv conv = an_conv_direct(258, 3);
    uint8_t id[16] = {1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16};
    uint8_t key[AN_ROW_KEY_MAX];
    (void)state;

    assert_hex(key, an_row_conversation(key, 517, &conv), "020563" CONV);
    assert_hex(key, an_row_message(key, 517, &conv, 9), "02056d" CONV "0000000000000009");
    assert_hex(key, an_row_delivered(key, 517, &conv, 3),
               "020576" CONV "0000000000000003");
    assert_hex(key, an_row_dedupe(key, 517, id, 3, &conv),
               "02056401020304050670"
               "08800a0b0c0d0e0f10"
               "0000000000000003" CONV);
    assert_hex(key, an_row_user(key, 1, 258), "0001750000000000000102");
    assert_hex(key, an_row_inbox_head(key, 1, 258), "0001680000000000000102");
    assert_hex(key, an_row_inbox(key, 1, 258, 4),
               "00016900000000000001020000000000000004");
    assert_hex(key, an_row_device(key, 1, 258, text("cli"), 3),
               "0001670000000000000102636c69");
    assert_hex(key, an_row_directory(key, 2, text("default"), 7, text("bob"), 3),
               "00026e64656661756c7400626f62");
    assert_hex(key, an_row_account(key, 1, 258), "0001610000000000000102");
    assert_hex(key, an_row_device_session(key, 1, 258, text("cli"), 3),
               "0001700000000000000102636c69");
    assert_hex(key, an_row_slot(key, 1023), "03ff73");
    assert_hex(key, an_row_register(key, 0, text("r"), 1), "00007a72");
}

static void
test_rows_longest_names_fit(void **state)
{
    uint8_t key[AN_ROW_KEY_MAX];
    uint8_t name[64];
    (void)state;

    memset(name, 'n', sizeof(name));
    assert_int_equal(an_row_directory(key, 0, name, 64, name, 64), 3 + 64 + 1 + 64);
    assert_int_equal(an_row_device(key, 0, 1, name, 64), 3 + 8 + 64);
}

static void
test_rows_direct_conversation_is_the_same_from_both_sides(void **state)
{
    struct an_conv ab = an_conv_direct(1, 2), ba = an_conv_direct(2, 1), out;
    uint64_t low, high;
    (void)state;

    assert_memory_equal(ab.bytes, ba.bytes, AN_CONV_LEN);
    an_conv_users(&ab, &low, &high);
    assert_int_equal(low, 1);
    assert_int_equal(high, 2);
    assert_true(an_conv_get(&out, ab.bytes, AN_CONV_LEN));
    assert_false(an_conv_get(&out, ab.bytes, AN_CONV_LEN - 1));
    ab.bytes[0] = 'X';
    assert_false(an_conv_get(&out, ab.bytes, AN_CONV_LEN));
    ba.bytes[8] = 9; /* the lower key above the higher one */
    assert_false(an_conv_get(&out, ba.bytes, AN_CONV_LEN));
}

static void
test_rows_key_order_is_number_order(void **state)
{
    static const uint64_t seqs[] = {1, 2, 255, 256, 65535, 1ull << 32, UINT64_MAX};
    struct an_conv conv = an_conv_direct(1, 2);
    (void)state;

    for (size_t i = 1; i < sizeof(seqs) / sizeof(seqs[0]); i++) {
        uint8_t low[AN_ROW_KEY_MAX], high[AN_ROW_KEY_MAX];
        size_t len = an_row_message(low, 5, &conv, seqs[i - 1]);
        assert_int_equal(an_row_message(high, 5, &conv, seqs[i]), len);
        assert_true(memcmp(low, high, len) < 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_keys_are_frozen),
        cmocka_unit_test(test_rows_longest_names_fit),
        cmocka_unit_test(test_rows_direct_conversation_is_the_same_from_both_sides),
        cmocka_unit_test(test_rows_key_order_is_number_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
