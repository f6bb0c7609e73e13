/* Does the walker over YAML find every value and its line, and refuse what is none? */
#include "cluster/yaml.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char why[256];

static struct an_yaml *
parsed(const char *text)
{
    struct an_yaml *doc = NULL;

    if (an_yaml_parse(&doc, "y.yaml", text, strlen(text), why, sizeof(why)) != AN_OK) {
        fail_msg("%s", why);
    }
    return doc;
}

static void
test_yaml_values_have_the_line_of_their_key(void **state)
{
    struct an_yaml *doc = parsed("a:\n  b:\n\n    - x\n    - \"y\"\n  'c': {d: 5}\n");
    struct an_yaml_at root = an_yaml_root(doc), a = an_yaml_find(root, "a");
    struct an_yaml_at b = an_yaml_find(a, "b"), d;
    const char *value;

    (void)state;
    assert_int_equal(a.line, 1);
    assert_int_equal(b.line, 2);
    assert_string_equal(b.in, "a");
    assert_true(an_yaml_is_list(b));
    assert_int_equal(an_yaml_count(b), 2);
    assert_int_equal(an_yaml_nth(b, 1).line, 5);
    assert_string_equal(an_yaml_nth(b, 1).key, "b");
    assert_int_equal(an_yaml_text(an_yaml_nth(b, 1), &value), AN_OK);
    assert_string_equal(value, "y");
    d = an_yaml_find(an_yaml_find(a, "c"), "d");
    assert_int_equal(d.line, 6);
    assert_false(an_yaml_there(an_yaml_find(a, "e")));
    assert_int_equal(an_yaml_find(a, "e").line, 1); /* of what lacks it */
    an_yaml_refuse(d, "is %s", "wrong");
    assert_string_equal(why, "y.yaml:6: c.d: is wrong");
    an_yaml_free(doc);
}

static void
expect_number(const char *text, enum an_err expected, uint64_t value, const char *reason)
{
    struct an_yaml *doc = parsed(text);
    uint64_t number = 0;

    assert_int_equal(
        an_yaml_number(an_yaml_find(an_yaml_root(doc), "n"), 2, UINT64_MAX - 1, &number),
        expected);
    assert_int_equal(number, value);
    if (expected != AN_OK) {
        assert_string_equal(why, reason);
    }
    an_yaml_free(doc);
}

static void
test_yaml_numbers_are_decimal_and_bounded(void **state)
{
    (void)state;
    expect_number("n: 2", AN_OK, 2, NULL);
    expect_number("n: '010'", AN_OK, 10, NULL);
    expect_number("n: 18446744073709551614", AN_OK, UINT64_MAX - 1, NULL);
    expect_number("n: 18446744073709551616", AN_ERR_CONFIG, 0,
                  "y.yaml:1: n: 18446744073709551616 is not in 2..18446744073709551614");
    expect_number("n: 1", AN_ERR_CONFIG, 0,
                  "y.yaml:1: n: 1 is not in 2..18446744073709551614");
    expect_number("n: -5", AN_ERR_CONFIG, 0, "y.yaml:1: n: '-5' is not a number");
    expect_number("n: 0x10", AN_ERR_CONFIG, 0, "y.yaml:1: n: '0x10' is not a number");
    expect_number("n: ''", AN_ERR_CONFIG, 0, "y.yaml:1: n: empty");
    expect_number("\nn: [5]", AN_ERR_CONFIG, 0, "y.yaml:2: n: Expecting a text");
    expect_number("m: 5", AN_ERR_CONFIG, 0, "y.yaml:1: n: missing");
}

static void
test_yaml_texts_are_bounded_and_whole(void **state)
{
    static char text[AN_YAML_TEXT_MAX + 64];
    struct an_yaml *doc;
    const char *value;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "t: ", 3);
    text[3 + AN_YAML_TEXT_MAX] = '\0';
    doc = parsed(text);
    assert_int_equal(an_yaml_text(an_yaml_find(an_yaml_root(doc), "t"), &value), AN_OK);
    an_yaml_free(doc);
    text[3 + AN_YAML_TEXT_MAX] = 'x';
    text[4 + AN_YAML_TEXT_MAX] = '\0';
    doc = parsed(text);
    assert_int_equal(an_yaml_text(an_yaml_find(an_yaml_root(doc), "t"), &value),
                     AN_ERR_CONFIG);
    assert_string_equal(why, "y.yaml:1: t: longer than 1024 bytes");
    an_yaml_free(doc);
    doc = parsed("t: \"a\\0b\"");
    assert_int_equal(an_yaml_text(an_yaml_find(an_yaml_root(doc), "t"), &value),
                     AN_ERR_CONFIG);
    an_yaml_free(doc);
}

static void
test_yaml_aliases_stand_for_what_they_name(void **state)
{
    struct an_yaml *doc = parsed("a: &x {v: 1}\nb: *x\n");
    struct an_yaml_at b = an_yaml_find(an_yaml_root(doc), "b");
    const char *value;

    (void)state;
    assert_int_equal(b.line, 2);
    assert_int_equal(an_yaml_text(an_yaml_find(b, "v"), &value), AN_OK);
    assert_string_equal(value, "1");
    an_yaml_free(doc);
}

static void
expect_unreadable(const char *text, size_t len, const char *said)
{
    struct an_yaml *doc;

    assert_int_equal(an_yaml_parse(&doc, "y.yaml", text, len, why, sizeof(why)),
                     AN_ERR_CONFIG);
    if (strstr(why, said) != why) {
        fail_msg("%s", why);
    }
}

static void
test_yaml_broken_text_is_refused_by_line(void **state)
{
    (void)state;
    expect_unreadable("a: 1\n\tb: 2\n", 11, "y.yaml:2: ");
    expect_unreadable("a: 1\nb: \xff\n", 10, "y.yaml:2: ");
    expect_unreadable("a: *x\n", 6, "y.yaml:1: ");
    expect_unreadable("a: [1\nb: 2\n", 11, "y.yaml:2: ");
    expect_unreadable("a: 1\n---\nb: 1\n", 14, "y.yaml:3: a second document");
}

static void
test_yaml_files_are_bounded(void **state)
{
    char path[] = "/tmp/yaml-test-XXXXXX", *text;
    int fd = mkstemp(path);
    size_t len;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: 1\n", 5), 5);
    assert_int_equal(an_yaml_file(&text, &len, path, why, sizeof(why)), AN_OK);
    assert_int_equal(len, 5);
    assert_string_equal(text, "a: 1\n");
    free(text);
    assert_int_equal(ftruncate(fd, AN_YAML_FILE_MAX + 1), 0);
    assert_int_equal(an_yaml_file(&text, &len, path, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "larger than a configuration"));
    close(fd);
    unlink(path);
    assert_int_equal(an_yaml_file(&text, &len, "/", why, sizeof(why)), AN_ERR_IO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_values_have_the_line_of_their_key),
        cmocka_unit_test(test_yaml_numbers_are_decimal_and_bounded),
        cmocka_unit_test(test_yaml_texts_are_bounded_and_whole),
        cmocka_unit_test(test_yaml_aliases_stand_for_what_they_name),
        cmocka_unit_test(test_yaml_broken_text_is_refused_by_line),
        cmocka_unit_test(test_yaml_files_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
