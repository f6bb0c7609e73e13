/* Well-formed UTF-8, against every code point and every way of being wrong. */
#include "proto/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static size_t
encode(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

static void
test_utf8_every_code_point_is_judged_right(void **state)
{
    uint8_t bytes[4];
    (void)state;

    for (uint32_t c = 0; c <= 0x110FFF; c++) {
        size_t len = encode(bytes, c);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        bool expected = !surrogate && c <= 0x10FFFF;
        if (an_utf8_valid(bytes, len) != expected) {
            fail_msg("U+%04X", c);
        }
    }
}

static void
test_utf8_malformed_sequences_are_refused(void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "a\xC3",
        "\xE4\xBD",
        "\xF0\x9F\x98",
        "\xC3(",
        "\xE4(\xA0",
        "ok\xE4\xBD(",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (an_utf8_valid((const uint8_t *)bad[i], strlen(bad[i]))) {
            fail_msg("case %zu", i);
        }
    }
}

/* Wherever it stands among ASCII, which is looked at eight bytes at a time. */
static void
test_utf8_malformed_is_refused_at_every_place(void **state)
{
    uint8_t text[40];
    (void)state;

    for (size_t len = 1; len <= sizeof(text); len++) {
        memset(text, 'a', sizeof(text));
        assert_true(an_utf8_valid(text, len));
        for (size_t at = 0; at < len; at++) {
            text[at] = 0x80;
            assert_false(an_utf8_valid(text, len));
            text[at] = 0xC3; /* and what must follow does not */
            assert_false(an_utf8_valid(text, len));
            if (at + 1 < len) {
                text[at + 1] = 0xA9;
                assert_true(an_utf8_valid(text, len));
                text[at + 1] = 'a';
            }
            text[at] = 'a';
        }
    }
}

static void
test_utf8_text_of_the_world_passes(void **state)
{
    static const char good[] =
        "héllo \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\xa6\xa2 e\xcc\x81";
    (void)state;

    assert_true(an_utf8_valid((const uint8_t *)good, sizeof(good))); /* its NUL too */
    assert_true(an_utf8_valid(NULL, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_every_code_point_is_judged_right),
        cmocka_unit_test(test_utf8_malformed_sequences_are_refused),
        cmocka_unit_test(test_utf8_malformed_is_refused_at_every_place),
        cmocka_unit_test(test_utf8_text_of_the_world_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
