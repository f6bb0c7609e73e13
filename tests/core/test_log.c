/* Is every log line one line, whole, in the form promised, and dropped above its level?
 */
#include "core/log.h"
#include "core/text.h"
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved, reading;
static char said[16384];

/* stderr becomes a pipe for the time of a test. */
static int
setup(void **state)
{
    int ends[2];

    (void)state;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        return -1;
    }
    saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reading = ends[0];
    an_log_setup(AN_LOG_INFO, false);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(reading);
    return 0;
}

static const char *
read_said(void)
{
    ssize_t len = read(reading, said, sizeof(said) - 1);

    said[len > 0 ? len : 0] = '\0';
    return said;
}

static void
test_log_text_line_has_its_parts(void **state)
{
    (void)state;
    an_log_line(AN_LOG_WARN, "store/0", 0xabcd, "slow sync us=12", 15);
    read_said();
    /* 2026-11-21T08:16:53.123Z warn store/0 trace=... */
    assert_int_equal(said[10], 'T');
    assert_int_equal(said[19], '.');
    assert_string_equal(said + 23,
                        "Z warn store/0 trace=000000000000abcd slow sync us=12\n");
}

static void
test_log_without_trace_prints_none(void **state)
{
    (void)state;
    an_log(AN_LOG_ERROR, "main", "number=%d", 7);
    assert_string_equal(read_said() + 23, "Z error main number=7\n");
}

static void
test_log_above_level_is_dropped(void **state)
{
    (void)state;
    an_log(AN_LOG_DEBUG, "main", "quiet");
    an_log_line(AN_LOG_DEBUG, "main", 0, "quiet", 5);
    assert_string_equal(read_said(), "");
    an_log_setup(AN_LOG_DEBUG, false);
    an_log(AN_LOG_DEBUG, "main", "loud");
    assert_non_null(strstr(read_said(), " debug main loud\n"));
}

static void
test_log_control_characters_stay_on_one_line(void **state)
{
    (void)state;
    an_log(AN_LOG_INFO, "gate/0",
           "a\nb\tc\x01"
           "d");
    assert_string_equal(read_said() + 23, "Z info gate/0 a\\nb\\tc\\u0001d\n");
}

static void
test_log_json_lines_parse(void **state)
{
    json_t *root;

    (void)state;
    an_log_setup(AN_LOG_INFO, true);
    an_log_line(AN_LOG_INFO, "api/0", 1, "he said \"hi\"\\\n", 14);
    root = json_loads(read_said(), 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(root, "who")), "api/0");
    assert_string_equal(json_string_value(json_object_get(root, "trace")),
                        "0000000000000001");
    assert_string_equal(json_string_value(json_object_get(root, "text")),
                        "he said \"hi\"\\\n");
    json_decref(root);
}

static void
test_log_very_long_text_is_cut_not_lost(void **state)
{
    char *text = malloc(10000);

    (void)state;
    memset(text, '\n', 10000);
    an_log_line(AN_LOG_INFO, "main", 0, text, 10000);
    read_said();
    assert_in_range(strlen(said), 2000, 4096);
    assert_int_equal(said[strlen(said) - 1], '\n');
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    free(text);
}

static void
test_text_escape_never_cuts_an_escape(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(an_text_escape(out, 8,
                                    "ab\x01"
                                    "cd",
                                    5, true),
                     2);
    assert_string_equal(out, "ab"); /* \u0001 needs six more */
    assert_int_equal(an_text_escape(out, 1, "abc", 3, true), 0);
    assert_string_equal(out, "");
    /* Nor a character; what is none could not stand in JSON. */
    assert_int_equal(an_text_escape(out, 4, "ab\xc3\xa4", 4, true), 2);
    assert_int_equal(an_text_escape(out, 5, "ab\xc3\xa4", 4, true), 4);
    assert_int_equal(an_text_escape(out, 15, "\xd5\xd5\xc3\xa4", 4, true), 14);
    assert_string_equal(out, "\\ufffd\\ufffd\xc3\xa4");
    assert_int_equal(an_text_escape(out, 15, "\xd5\xd5", 2, false), 2);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_log_text_line_has_its_parts),
        TEST(test_log_without_trace_prints_none),
        TEST(test_log_above_level_is_dropped),
        TEST(test_log_control_characters_stay_on_one_line),
        TEST(test_log_json_lines_parse),
        TEST(test_log_very_long_text_is_cut_not_lost),
        cmocka_unit_test(test_text_escape_never_cuts_an_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
