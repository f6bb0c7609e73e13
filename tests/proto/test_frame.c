/* The client protocol's frame header: every byte of it. */
#include "proto/frame.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { LEN_MAX = 69632 };

static const uint8_t good[] = {'A', 'N', 1, 1, 0, 4, 0, 3, 1, 2, 3, 4, 0, 0, 1, 0};

static void
test_frame_put_then_get_gives_the_same(void **state)
{
    struct an_frame in = {.codec = 1,
                          .command = AN_COMMAND_SEND,
                          .flags = AN_FRAME_ANSWER | AN_FRAME_ERROR,
                          .request = 0x01020304,
                          .body_len = 256};
    struct an_frame out;
    uint8_t bytes[AN_FRAME_HEADER_LEN];
    (void)state;

    an_frame_put(bytes, &in);
    assert_memory_equal(bytes, good, sizeof(good));
    assert_int_equal(an_frame_get(&out, bytes, sizeof(bytes), LEN_MAX), AN_FRAME_OK);
    assert_int_equal(out.codec, in.codec);
    assert_int_equal(out.command, in.command);
    assert_int_equal(out.flags, in.flags);
    assert_int_equal(out.request, in.request);
    assert_int_equal(out.body_len, in.body_len);
}

static void
test_frame_cut_header_asks_for_more(void **state)
{
    struct an_frame frame;
    (void)state;

    for (size_t len = 0; len < sizeof(good); len++) {
        uint8_t exact[sizeof(good)]; /* a sanitizer sees a read beyond len */
        memcpy(exact, good, len);
        assert_int_equal(an_frame_get(&frame, exact, len, LEN_MAX), AN_FRAME_MORE);
    }
}

static void
test_frame_wrong_byte_is_named_as_soon_as_it_is_seen(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        size_t len;
        enum an_frame_state state;
    } cases[] = {
        {0, 'B', 1, AN_FRAME_BAD_MAGIC},    {1, 'M', 2, AN_FRAME_BAD_MAGIC},
        {2, 0, 3, AN_FRAME_BAD_VERSION},    {2, 2, 3, AN_FRAME_BAD_VERSION},
        {7, 4, 16, AN_FRAME_BAD_FLAGS},     {6, 0x80, 16, AN_FRAME_BAD_FLAGS},
        {12, 0xFF, 16, AN_FRAME_TOO_LARGE}, {13, 0x01, 16, AN_FRAME_TOO_LARGE},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct an_frame frame;
        uint8_t bytes[sizeof(good)];
        memcpy(bytes, good, sizeof(good));
        bytes[cases[i].at] = cases[i].value;
        if (cases[i].state == AN_FRAME_TOO_LARGE) {
            bytes[14] = 0xFF;
        }
        assert_int_equal(an_frame_get(&frame, bytes, cases[i].len, LEN_MAX),
                         cases[i].state);
    }
}

static void
test_frame_limit_counts_header_and_body(void **state)
{
    struct an_frame frame = {.codec = 1, .body_len = 100};
    struct an_frame out;
    uint8_t bytes[AN_FRAME_HEADER_LEN];
    (void)state;

    an_frame_put(bytes, &frame);
    assert_int_equal(an_frame_get(&out, bytes, 16, 116), AN_FRAME_OK);
    assert_int_equal(an_frame_get(&out, bytes, 16, 115), AN_FRAME_TOO_LARGE);
}

static void
test_frame_names_are_those_of_the_table(void **state)
{
    (void)state;

    assert_string_equal(an_command_name(1), "LOGIN");
    assert_string_equal(an_command_name(4), "SEND");
    assert_string_equal(an_command_name(66), "GOODBYE");
    assert_string_equal(an_command_name(0), "unknown");
    assert_string_equal(an_command_name(8), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_put_then_get_gives_the_same),
        cmocka_unit_test(test_frame_cut_header_asks_for_more),
        cmocka_unit_test(test_frame_wrong_byte_is_named_as_soon_as_it_is_seen),
        cmocka_unit_test(test_frame_limit_counts_header_and_body),
        cmocka_unit_test(test_frame_names_are_those_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
