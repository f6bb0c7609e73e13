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
        cmocka_unit_test(test_names_length_is_1_to_64_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
