/* The command line's parts that need no server: what is printed, typed, read, counted. */
#include "client/cli/editor.h"
#include "client/cli/histogram.h"
#include "client/cli/lines.h"
#include "client/cli/node.h"
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

/* ------------------------------------------------------------------ cluster files */

static void
put_file(const char *dir, const char *name, const char *text, char *path, size_t len)
{
    FILE *file;

    (void)snprintf(path, len, "%s/%s", dir, name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const char cluster_file[] =
    "cluster: test\n"
    "app: chat\n"
    "hosts:\n"
    "  a: {address: 192.0.2.1}\n"
    "  b: {address: 192.0.2.2}\n"
    "tls: {ca: ca.pem, cert: \"%h.pem\", key: \"%h.key\"}\n"
    "token_key: token.json\n"
    "actors:\n"
    "  gate/0:      {host: a, listen: [\"tcp://0.0.0.0:7400\"]}\n"
    "  gate/1:      {host: b, listen: [\"tcp://192.0.2.77:7410\", "
    "\"tcp://[::]:7411\"]}\n"
    "  router/0:    {host: a, slots: 0-1023}\n"
    "  sequencer/0: {host: a, slots: 0-1023}\n"
    "  store/0:     {host: a, slots: 0-1023, data: data}\n"
    "  idgen/0:     {host: a}\n"
    "settings: {gate: {plain: anywhere}}\n";

/* Clients reach a gate that listens on any address at its host's. */
static void
test_node_of_a_cluster_file_has_every_gate_and_the_key(void **state)
{
    char dir[] = "/tmp/anser-cli-XXXXXX", yaml[256], key[256], why[512] = "";
    struct cli_node node = {0};
    char *token = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    put_file(dir, "c.yaml", cluster_file, yaml, sizeof(yaml));
    assert_int_equal(cli_node_load_cluster(&node, yaml, NULL, why, sizeof(why)),
                     AN_ERR_CONFIG);
    assert_non_null(strstr(why, "token.json")); /* names the file that is not there */
    cli_node_fini(&node);
    put_file(dir, "token.json",
             "{\"key\":{\"id\":\"k1\",\"secret\":"
             "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}}",
             key, sizeof(key));
    assert_int_equal(cli_node_load_cluster(&node, yaml, NULL, why, sizeof(why)), AN_OK);
    assert_int_equal(node.tcp_count, 3);
    assert_string_equal(node.tcp[0], "tcp://192.0.2.1:7400");
    assert_string_equal(node.tcp[1], "tcp://192.0.2.77:7410");
    assert_string_equal(node.tcp[2], "tcp://192.0.2.2:7411");
    assert_string_equal(node.app, "chat");
    assert_string_equal(node.key.id, "k1");
    assert_int_equal(cli_node_token(&token, &node, "alice", 1000), AN_OK);
    free(token);
    cli_node_fini(&node);
    assert_int_equal(cli_node_load_cluster(&node, yaml, "b", why, sizeof(why)), AN_OK);
    assert_int_equal(node.tcp_count, 3);
    assert_string_equal(node.tcp[0], "tcp://192.0.2.77:7410"); /* its own first */
    assert_string_equal(node.tcp[2], "tcp://192.0.2.1:7400");
    cli_node_fini(&node);
    assert_int_equal(cli_node_load_cluster(&node, yaml, "z", why, sizeof(why)),
                     AN_ERR_CONFIG);
    assert_string_equal(why, "the file has no host 'z'");
    cli_node_fini(&node);
    assert_int_equal(unlink(yaml), 0);
    assert_int_equal(unlink(key), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void
test_node_given_wins_over_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("ANSER_CLUSTER", "env.yaml", 1), 0);
    assert_string_equal(cli_cluster_file("given.yaml", NULL), "given.yaml");
    assert_string_equal(cli_cluster_file(NULL, NULL), "env.yaml");
    assert_null(cli_cluster_file(NULL, "dir")); /* a data directory was asked for */
    assert_int_equal(setenv("ANSER_CLUSTER", "", 1), 0);
    assert_null(cli_cluster_file(NULL, NULL));
    assert_int_equal(unsetenv("ANSER_CLUSTER"), 0);
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
        cmocka_unit_test(test_node_of_a_cluster_file_has_every_gate_and_the_key),
        cmocka_unit_test(test_node_given_wins_over_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
