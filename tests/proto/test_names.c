/* What users, devices and apps may be called. */
#include "proto/names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool
valid(const char *name)
{
    return an_name_valid((const uint8_t *)name, strlen(name));
}

static void
test_names_usual_ones_are_allowed(void **state)
{
    static const char *const good[] = {"a",
                                       "alice",
                                       "alice@example.org",
                                       "\xe5\xb0\x8f\xe6\x98\x8e", /* Chinese */
                                       "\xf0\x9f\xa6\xa2",         /* a swan */
                                       "O'Brien-Smith_3.14",
                                       "\xc2\xa0x"}; /* U+00A0, just behind C1 */
    (void)state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!valid(good[i])) {
            fail_msg("%s", good[i]);
        }
    }
}

static void
test_names_what_would_break_lines_and_keys_is_refused(void **state)
{
    static const char *const bad[] = {
        "",      " ",        "a b",       "a\tb", "a\nb",   "a/b",         "a\"b",
        "a\x7f", "\xc2\x80", "a\xc2\x9f", "\xff", "a\xc3(", "\xed\xa0\x80"};
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (valid(bad[i])) {
            fail_msg("case %zu", i);
        }
    }
    assert_false(an_name_valid((const uint8_t *)"a\0b", 3));
}

static void
test_names_new_ones_look_like_no_other(void **state)
{
    static const char *const good[] = {
        "alice",          "\xe5\xb0\x8f\xe6\x98\x8e", "\xf0\x9f\xa6\xa2",
        "a\xc2\xa0x",                                      /* within it can be seen */
        "a\xe2\x80\x90z",                                  /* U+2010, a hyphen */
        "\xe2\x81\xa5",                                    /* U+2065 */
        "\xef\xbb\xbe"};                                   /* U+FEFE */
    static const char *const bad[] = {"al\xe2\x80\x8bice", /* U+200B */
                                      "alice\xe2\x80\x8f", /* U+200F */
                                      "\xe2\x80\xaezyx",   /* U+202E */
                                      "a\xe2\x80\xa8z",    /* U+2028 */
                                      "a\xe2\x81\xa0z",    /* U+2060 */
                                      "a\xe2\x81\xa4z",    /* U+2064 */
                                      "a\xe2\x81\xa9z",    /* U+2069 */
                                      "\xef\xbb\xbfz",     /* U+FEFF */
                                      "\xc2\xa0x",         /* spaces at the ends */
                                      "x\xe3\x80\x80",     "\xe2\x80\x82", "a b", ""};
    (void)state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!an_name_new((const uint8_t *)good[i], strlen(good[i]))) {
            fail_msg("case %zu", i);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (an_name_new((const uint8_t *)bad[i], strlen(bad[i]))) {
            fail_msg("case %zu", i);
        }
        assert_true(i >= 11 || valid(bad[i])); /* accounts of before are found */
    }
}

static void
test_nicks_turn_nothing_around(void **state)
{
    static const char *const good[] = {
        "", "Alice B.", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80", /* U+200D */
        "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae", "\xe2\x80\x8f\xd7\x90"};
    static const char *const bad[] = {"a\nb",          "a\x7f",         "a\xc2\x85",
                                      "\xe2\x80\xaaz", "a\xe2\x80\xae", "a\xe2\x81\xa6z",
                                      "a\xe2\x81\xa9", "a\xff"};
    (void)state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!an_nick_valid((const uint8_t *)good[i], strlen(good[i]))) {
            fail_msg("case %zu", i);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (an_nick_valid((const uint8_t *)bad[i], strlen(bad[i]))) {
            fail_msg("case %zu", i);
        }
    }
}

static void
test_names_length_is_1_to_64_bytes(void **state)
{
    uint8_t name[65];
    (void)state;

    memset(name, 'n', sizeof(name));
    assert_true(an_name_valid(name, 1));
    assert_true(an_name_valid(name, 64));
    assert_false(an_name_valid(name, 65));
    assert_false(an_name_valid(name, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_usual_ones_are_allowed),
        cmocka_unit_test(test_names_what_would_break_lines_and_keys_is_refused),
        cmocka_unit_test(test_names_new_ones_look_like_no_other),
        cmocka_unit_test(test_nicks_turn_nothing_around),
        cmocka_unit_test(test_names_length_is_1_to_64_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
