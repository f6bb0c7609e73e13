/* The command line's parts that need no server: what is printed, typed, read, counted. */
#include "client/cli/editor.h"
#include "client/cli/histogram.h"
#include "client/cli/lines.h"
#include "client/cli/show.h"
#include <jansson.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ show */

static void
assert_escaped(const char *in, size_t len, const char *expected)
{
    char *text = NULL;
    size_t text_len;
    FILE *out = open_memstream(&text, &text_len);

    assert_non_null(out);
    cli_put_escaped(out, (const uint8_t *)in, len);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    free(text);
}

static void
test_show_line_can_neither_break_nor_steer(void **state)
{
    (void)state;

    assert_escaped("a\nb\tc\r", 6, "a\\nb\\tc\\r");
    assert_escaped("\x1b[31mred\x7f", 9, "\\x1B[31mred\\x7F");
    assert_escaped("nul\0end", 7, "nul\\x00end");
    assert_escaped("back\\slash", 10, "back\\\\slash");
    assert_escaped("\xe4\xbd\xa0\xf0\x9f\xa6\xa2", 7, "\xe4\xbd\xa0\xf0\x9f\xa6\xa2");
    assert_escaped("\xff\xe4\xbd", 3, "\\xFF\\xE4\\xBD");
    assert_escaped("\xc2\x9b", 2, "\\xC2\\x9B"); /* a C1 control introduces sequences */
}

static void
assert_shown(uint32_t type, const char *body, size_t len, const char *expected)
{
    const struct anser_message message = {.seq = 7,
                                          .from = "alice",
                                          .type = type,
                                          .body = (const uint8_t *)body,
                                          .body_len = len};
    char *text = NULL;
    size_t text_len;
    FILE *out = open_memstream(&text, &text_len);

    assert_non_null(out);
    cli_put_line(out, &message);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    free(text);
}

static void
test_show_line_tells_text_whole_and_other_types_by_name(void **state)
{
    static const char body[3000] = "\x89PNG";

    (void)state;
    assert_shown(ANSER_TEXT, "a\nb", 3, "7 alice a\\nb\n");
    assert_shown(ANSER_PICTURE, body, 3000, "7 alice [picture, 3000 bytes]\n");
    assert_shown(ANSER_FILE, body, 3000, "7 alice [file, 3000 bytes]\n");
    assert_shown(ANSER_RED_PACKET, body, 12, "7 alice [red packet, 12 bytes]\n");
    assert_shown(99, body, 12, "7 alice [type 99, 12 bytes]\n");
}

static json_t *
as_json(const struct anser_message *message)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    json_t *json;

    assert_non_null(out);
    assert_true(cli_put_json(out, message));
    assert_int_equal(fclose(out), 0);
    assert_ptr_equal(strchr(text, '\n'), text + len - 1); /* one line */
    json = json_loads(text, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

static void
test_show_json_has_strings_for_large_numbers_and_the_body(void **state)
{
    struct anser_message m = {.message_id = UINT64_MAX,
                              .seq = 7,
                              .from = "alice",
                              .to = "bob",
                              .peer = "alice",
                              .from_device = "",
                              .type = ANSER_TEXT,
                              .body = (const uint8_t *)"a\nb\0c",
                              .body_len = 5};
    json_t *json = as_json(&m);
    (void)state;

    assert_string_equal(json_string_value(json_object_get(json, "id")),
                        "18446744073709551615");
    assert_string_equal(json_string_value(json_object_get(json, "seq")), "7");
    assert_int_equal(json_string_length(json_object_get(json, "text")), 5);
    assert_null(json_object_get(json, "body_base64"));
    json_decref(json);
    m.type = ANSER_FILE;
    m.body = (const uint8_t *)"\xff\x00";
    m.body_len = 2;
    json = as_json(&m);
    assert_string_equal(json_string_value(json_object_get(json, "body_base64")), "/wA=");
    assert_null(json_object_get(json, "text"));
    json_decref(json);
}

/* ------------------------------------------------------------------ lines */

static void
feed_lines(struct cli_lines *lines, const char *data, size_t len, bool end)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], data, len), len);
    close(fds[1]);
    cli_lines_read(lines, fds[0]);
    if (end) {
        cli_lines_read(lines, fds[0]);
    }
    close(fds[0]);
}

static void
assert_line(struct cli_lines *lines, const char *expected)
{
    size_t len = 0;
    const uint8_t *line = cli_lines_next(lines, 10, &len);

    if (expected == NULL) {
        assert_null(line);
        return;
    }
    assert_non_null(line);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(line, expected, len);
}

static void
test_lines_come_whole_and_the_last_needs_no_newline(void **state)
{
    struct cli_lines lines = {0};
    (void)state;

    feed_lines(&lines, "one\n\ntw", 7, false);
    assert_line(&lines, "one");
    assert_line(&lines, "");
    assert_line(&lines, NULL);
    feed_lines(&lines, "o\nend", 5, true);
    assert_line(&lines, "two");
    assert_line(&lines, "end");
    assert_line(&lines, NULL);
    assert_true(lines.eof);
    cli_lines_fini(&lines);
}

static void
test_lines_too_long_one_is_cut_and_its_rest_skipped(void **state)
{
    struct cli_lines lines = {0};
    (void)state;

    feed_lines(&lines, "0123456789\n0123456789abcdef", 27, false);
    assert_line(&lines, "0123456789");
    assert_line(&lines, "0123456789a"); /* one more than allowed */
    assert_line(&lines, NULL);
    feed_lines(&lines, "more\nnext\n", 10, true);
    assert_line(&lines, "next");
    assert_line(&lines, NULL);
    cli_lines_fini(&lines);
}

/* ------------------------------------------------------------------ editor */

static struct cli_editor editor;

static enum cli_typed
type(const char *keys)
{
    size_t used = 0, len = strlen(keys);
    enum cli_typed typed = cli_editor_feed(&editor, (const uint8_t *)keys, len, &used);

    assert_int_equal(used, len);
    return typed;
}

static void
assert_typed(const char *expected)
{
    assert_int_equal(editor.len, strlen(expected));
    assert_memory_equal(editor.line, expected, editor.len);
}

static int
fresh_editor(void **state)
{
    (void)state;
    cli_editor_end(&editor);
    memset(&editor, 0, sizeof(editor));
    return 0;
}

static void
test_editor_moves_and_erases_by_character(void **state)
{
    (void)state;

    assert_int_equal(type("a\xe4\xbd\xa0\xe5\xa5\xbd"), CLI_TYPED_MORE);
    type("\x1b[D\x7f"); /* left, backspace: the character before the last */
    assert_typed("a\xe5\xa5\xbd");
    type("\x01"
         "X"
         "\x05"
         "Y");
    assert_typed("Xa\xe5\xa5\xbdY");
    type("\x1b[H\x1b[3~\x1b[3~");
    assert_typed("\xe5\xa5\xbdY");
    type("\x0b");
    type("two words\x17");
    assert_typed("two ");
    assert_int_equal(type("\x03"), CLI_TYPED_MORE); /* Ctrl-C empties the line first */
    assert_typed("");
}

static void
test_editor_character_in_pieces_is_one_character(void **state)
{
    (void)state;

    type("\xf0\x9f");
    assert_typed("");
    type("\xa6");
    type("\xa2");
    assert_typed("\xf0\x9f\xa6\xa2");
    type("\xff\x80ok"); /* no character at all */
    assert_typed("\xf0\x9f\xa6\xa2ok");
}

static void
test_editor_enter_gives_the_line_and_arrows_recall_it(void **state)
{
    size_t used;
    (void)state;

    assert_int_equal(cli_editor_feed(&editor, (const uint8_t *)"one\rtwo", 7, &used),
                     CLI_TYPED_LINE);
    assert_int_equal(used, 4);
    assert_typed("one");
    cli_editor_clear(&editor);
    type("new\x1b[A");
    assert_typed("one");
    type("\x1b[B");
    assert_typed("");
    assert_int_equal(type("\x04"), CLI_TYPED_LEAVE);
    assert_int_equal(type("\x03"), CLI_TYPED_LEAVE);
}

static void
assert_rows(const char *text, size_t indent, unsigned cols, size_t rows)
{
    assert_int_equal(cli_text_rows((const uint8_t *)text, strlen(text), indent, cols),
                     rows);
}

static void
test_editor_rows_are_those_of_the_terminal(void **state)
{
    (void)state;

    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    assert_rows("", 0, 5, 1);
    assert_rows("abcde", 0, 5, 1);
    assert_rows("abcdef", 0, 5, 2);
    assert_rows("abcde", 5, 5, 2);
    assert_rows("a", 11, 5, 3);
    /* Two columns each: the fifth column of every row stays empty. */
    assert_rows("\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xbd\xa0\xe5\xa5\xbd", 0, 5, 2);
    assert_rows("\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xbd\xa0", 0, 5, 3);
}

/* ------------------------------------------------------------------ histogram */

static void
test_histogram_quantiles_are_within_a_few_percent(void **state)
{
    static struct histogram h;
    (void)state;

    memset(&h, 0, sizeof(h));
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    for (uint64_t us = 1; us <= 100000; us++) {
        histogram_add(&h, us);
    }
    assert_in_range(histogram_quantile(&h, 0.5), 50000, 52000);
    assert_in_range(histogram_quantile(&h, 0.99), 99000, 102500);
    histogram_add(&h, UINT64_MAX); /* no matter how late */
    assert_true(histogram_quantile(&h, 1.0) > 1000000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_show_line_can_neither_break_nor_steer),
        cmocka_unit_test(test_show_line_tells_text_whole_and_other_types_by_name),
        cmocka_unit_test(test_show_json_has_strings_for_large_numbers_and_the_body),
        cmocka_unit_test(test_lines_come_whole_and_the_last_needs_no_newline),
        cmocka_unit_test(test_lines_too_long_one_is_cut_and_its_rest_skipped),
        cmocka_unit_test_setup_teardown(test_editor_moves_and_erases_by_character,
                                        fresh_editor, fresh_editor),
        cmocka_unit_test_setup_teardown(test_editor_character_in_pieces_is_one_character,
                                        fresh_editor, fresh_editor),
        cmocka_unit_test_setup_teardown(
            test_editor_enter_gives_the_line_and_arrows_recall_it, fresh_editor,
            fresh_editor),
        cmocka_unit_test(test_editor_rows_are_those_of_the_terminal),
        cmocka_unit_test(test_histogram_quantiles_are_within_a_few_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
