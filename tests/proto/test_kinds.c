/* The bus's message table is complete and consistent. */
#include "proto/kinds.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_kinds_every_number_has_a_whole_row(void **state)
{
    (void)state;

    for (unsigned kind = 1; kind < AN_KIND_BUS_COUNT; kind++) {
        const struct an_kind_row *row = an_kind_row(kind);
        assert_non_null(row);
        assert_non_null(row->body);
        assert_int_not_equal(row->senders, 0);
        assert_true(row->receiver < AN_ROLE_COUNT);
        assert_string_equal(an_kind_name(kind), row->name);
    }
    assert_null(an_kind_row(0));
    assert_null(an_kind_row(AN_KIND_BUS_COUNT));
    assert_null(an_kind_row(AN_KIND_START));
}

/* "SUBMIT" has the body anser.bus.Submit. */
static void
test_kinds_body_is_the_message_of_that_name(void **state)
{
    (void)state;

    for (unsigned kind = 1; kind < AN_KIND_BUS_COUNT; kind++) {
        const struct an_kind_row *row = an_kind_row(kind);
        const char *body = row->body->short_name;
        size_t at = 0;
        for (const char *c = row->name; *c != '\0'; c++) {
            if (*c != '_') {
                assert_int_equal(toupper((unsigned char)body[at]), *c);
                at++;
            }
        }
        assert_int_equal(body[at], '\0');
    }
}

static void
test_kinds_answers_answer_their_requests(void **state)
{
    (void)state;

    for (unsigned kind = 1; kind < AN_KIND_BUS_COUNT; kind++) {
        const struct an_kind_row *row = an_kind_row(kind);
        const struct an_kind_row *answer;
        if (row->answer == AN_KIND_NONE) {
            continue;
        }
        answer = an_kind_row(row->answer);
        assert_non_null(answer);
        assert_int_equal(answer->answer, AN_KIND_NONE);
        if (row->receiver != AN_ROLE_NONE) { /* who is asked may answer */
            assert_true((answer->senders & 1u << row->receiver) != 0);
        }
    }
}

static void
test_kinds_local_ones_have_names_and_no_row(void **state)
{
    (void)state;

    assert_string_equal(an_kind_name(AN_KIND_START), "START");
    assert_string_equal(an_kind_name(AN_KIND_STOP), "STOP");
    assert_string_equal(an_kind_name(AN_KIND_CONN_CLOSED), "CONN_CLOSED");
    assert_string_equal(an_kind_name(AN_KIND_HTTP), "HTTP");
    assert_string_equal(an_kind_name(AN_KIND_HTTP + 1), "unknown");
    assert_string_equal(an_kind_name(0), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_every_number_has_a_whole_row),
        cmocka_unit_test(test_kinds_body_is_the_message_of_that_name),
        cmocka_unit_test(test_kinds_answers_answer_their_requests),
        cmocka_unit_test(test_kinds_local_ones_have_names_and_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
