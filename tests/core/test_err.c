/* Numbers, names and categories are part of the protocol: this list is frozen. A new
 * error is added here; a changed or missing one is a broken client. */
#include "core/err.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    unsigned number;
    const char *name;
    enum an_category category;
} frozen[] = {
    {0, "OK", AN_CAT_OK},
    {100, "LOGIN_REQUIRED", AN_CAT_AUTH},
    {101, "TOKEN_INVALID", AN_CAT_AUTH},
    {102, "TOKEN_EXPIRED", AN_CAT_AUTH},
    {103, "TOKEN_NOT_YET", AN_CAT_AUTH},
    {104, "TOKEN_AUDIENCE", AN_CAT_AUTH},
    {105, "TOKEN_KEY", AN_CAT_AUTH},
    {106, "REPLACED", AN_CAT_AUTH},
    {107, "LOGIN_TWICE", AN_CAT_AUTH},
    {108, "LOGIN_TIMEOUT", AN_CAT_AUTH},
    {109, "TOKEN_REVOKED", AN_CAT_AUTH},
    {110, "TOKEN_DEVICE", AN_CAT_AUTH},
    {111, "TOKEN_APP", AN_CAT_AUTH},
    {112, "TOKEN_ALGORITHM", AN_CAT_AUTH},
    {113, "TOKEN_UNSIGNED", AN_CAT_AUTH},
    {114, "KICKED", AN_CAT_AUTH},
    {115, "PASSWORD_WRONG", AN_CAT_AUTH},
    {116, "REFRESH_INVALID", AN_CAT_AUTH},
    {117, "REFRESH_REUSED", AN_CAT_AUTH},
    {118, "SIGNATURE_MISSING", AN_CAT_AUTH},
    {119, "SIGNATURE_KEY", AN_CAT_AUTH},
    {120, "SIGNATURE_EXPIRED", AN_CAT_AUTH},
    {121, "SIGNATURE_WRONG", AN_CAT_AUTH},
    {122, "SIGNATURE_REPLAYED", AN_CAT_AUTH},
    {200, "FORBIDDEN", AN_CAT_PERMISSION},
    {201, "USER_FORBIDDEN", AN_CAT_PERMISSION},
    {202, "MUTED", AN_CAT_PERMISSION},
    {300, "USER_NOT_FOUND", AN_CAT_NOT_FOUND},
    {301, "NOT_FOUND", AN_CAT_NOT_FOUND},
    {302, "USER_DELETED", AN_CAT_NOT_FOUND},
    {303, "APP_UNKNOWN", AN_CAT_NOT_FOUND},
    {400, "ID_CONFLICT", AN_CAT_CONFLICT},
    {401, "ID_EXPIRED", AN_CAT_CONFLICT},
    {402, "ID_TIME", AN_CAT_CONFLICT},
    {403, "USER_EXISTS", AN_CAT_CONFLICT},
    {404, "RESET", AN_CAT_CONFLICT},
    {405, "CURSOR_AHEAD", AN_CAT_CONFLICT},
    {406, "LOCKED", AN_CAT_CONFLICT},
    {407, "WORKER_TAKEN", AN_CAT_CONFLICT},
    {408, "TOO_MANY_DEVICES", AN_CAT_CONFLICT},
    {500, "BUSY", AN_CAT_BUSY},
    {501, "UNAVAILABLE", AN_CAT_BUSY},
    {502, "EXPIRED", AN_CAT_BUSY},
    {503, "ORDER", AN_CAT_BUSY},
    {504, "DISK_FULL", AN_CAT_BUSY},
    {505, "SLOW_CONSUMER", AN_CAT_BUSY},
    {506, "IDLE", AN_CAT_BUSY},
    {507, "SHUTTING_DOWN", AN_CAT_BUSY},
    {508, "TIMEOUT", AN_CAT_BUSY},
    {509, "TOO_MANY_CONNECTIONS", AN_CAT_BUSY},
    {510, "DRAINING", AN_CAT_BUSY},
    {511, "RATE", AN_CAT_BUSY},
    {512, "ADDRESS_FULL", AN_CAT_BUSY},
    {513, "TOO_MANY_TRIES", AN_CAT_BUSY},
    {600, "FRAME_MAGIC", AN_CAT_INVALID},
    {601, "FRAME_VERSION", AN_CAT_INVALID},
    {602, "FRAME_TOO_LARGE", AN_CAT_INVALID},
    {603, "FRAME_FLAGS", AN_CAT_INVALID},
    {604, "CODEC", AN_CAT_INVALID},
    {605, "COMMAND", AN_CAT_INVALID},
    {606, "BODY_MALFORMED", AN_CAT_INVALID},
    {607, "BODY_TOO_LARGE", AN_CAT_INVALID},
    {608, "BODY_EMPTY", AN_CAT_INVALID},
    {609, "UTF8", AN_CAT_INVALID},
    {610, "ARGUMENT", AN_CAT_INVALID},
    {611, "USER_NAME", AN_CAT_INVALID},
    {612, "DEVICE_NAME", AN_CAT_INVALID},
    {613, "CONFIG", AN_CAT_INVALID},
    {614, "JSON", AN_CAT_INVALID},
    {615, "METHOD", AN_CAT_INVALID},
    {616, "CONTENT_TYPE", AN_CAT_INVALID},
    {617, "PASSWORD_LENGTH", AN_CAT_INVALID},
    {700, "INTERNAL", AN_CAT_INTERNAL},
    {701, "FENCED", AN_CAT_INTERNAL},
    {702, "GAP", AN_CAT_INTERNAL},
    {703, "MOVED", AN_CAT_INTERNAL},
    {704, "NOT_MINE", AN_CAT_INTERNAL},
    {705, "IO", AN_CAT_INTERNAL},
    {706, "CORRUPT", AN_CAT_INTERNAL},
    {707, "NO_MEMORY", AN_CAT_INTERNAL},
    {708, "ENVELOPE", AN_CAT_INTERNAL},
    {709, "NOT_SUPPORTED", AN_CAT_INTERNAL},
    {710, "CONNECTION", AN_CAT_BUSY},
    {711, "FULL", AN_CAT_INTERNAL},
    {712, "REWIND", AN_CAT_INTERNAL},
    {713, "CLUSTER", AN_CAT_INTERNAL},
    {714, "TLS", AN_CAT_AUTH},
};

static void
test_err_numbers_and_names_are_frozen(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
        assert_true(an_err_known(frozen[i].number));
        assert_string_equal(an_err_name(frozen[i].number), frozen[i].name);
        assert_int_equal(an_err_category(frozen[i].number), frozen[i].category);
    }
}

static void
test_err_every_error_is_in_the_frozen_list(void **state)
{
    size_t known = 0;
    (void)state;

    for (unsigned n = 0; n < 65536; n++) {
        known += an_err_known(n) ? 1 : 0;
    }
    assert_int_equal(known, sizeof(frozen) / sizeof(frozen[0]));
}

static void
test_err_has_a_sentence_and_a_handling(void **state)
{
    (void)state;

    for (size_t i = 1; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
        const char *text = an_err_text(frozen[i].number);
        assert_true(strlen(text) > 10 && strlen(text) < 100);
        assert_int_not_equal(text[strlen(text) - 1], '.');
        assert_int_not_equal(an_err_handling(frozen[i].number), AN_HANDLE_NONE);
    }
}

/* A client that was too slow once, or whose server was, must come back. */
static void
test_err_what_only_took_too_long_invites_a_retry(void **state)
{
    static const enum an_err late[] = {AN_ERR_LOGIN_TIMEOUT, AN_ERR_EXPIRED, AN_ERR_IDLE,
                                       AN_ERR_SLOW_CONSUMER, AN_ERR_TIMEOUT};
    (void)state;

    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        assert_int_equal(an_err_handling(late[i]), AN_HANDLE_RETRY);
    }
}

static void
test_err_unknown_number_is_internal_and_given_up(void **state)
{
    (void)state;

    assert_false(an_err_known(9999));
    assert_string_equal(an_err_name(9999), "UNKNOWN");
    assert_int_equal(an_err_category(9999), AN_CAT_INTERNAL);
    assert_int_equal(an_err_handling(9999), AN_HANDLE_GIVE_UP);
    assert_int_equal(an_err_exit_code(9999), 9);
}

static void
test_err_exit_codes_are_by_category(void **state)
{
    (void)state;

    assert_int_equal(an_err_exit_code(AN_OK), 0);
    assert_int_equal(an_err_exit_code(AN_ERR_TOKEN_EXPIRED), 3);
    assert_int_equal(an_err_exit_code(AN_ERR_FORBIDDEN), 4);
    assert_int_equal(an_err_exit_code(AN_ERR_USER_NOT_FOUND), 5);
    assert_int_equal(an_err_exit_code(AN_ERR_USER_EXISTS), 6);
    assert_int_equal(an_err_exit_code(AN_ERR_TIMEOUT), 7);
    assert_int_equal(an_err_exit_code(AN_ERR_UTF8), 8);
    assert_int_equal(an_err_exit_code(AN_ERR_CORRUPT), 9);
    assert_string_equal(an_category_name(AN_CAT_NOT_FOUND), "not found");
}

static void
test_err_of_frame_names_what_is_wrong(void **state)
{
    (void)state;

    assert_int_equal(an_err_of_frame(AN_FRAME_OK), AN_OK);
    assert_int_equal(an_err_of_frame(AN_FRAME_MORE), AN_OK);
    assert_int_equal(an_err_of_frame(AN_FRAME_BAD_MAGIC), AN_ERR_FRAME_MAGIC);
    assert_int_equal(an_err_of_frame(AN_FRAME_BAD_VERSION), AN_ERR_FRAME_VERSION);
    assert_int_equal(an_err_of_frame(AN_FRAME_BAD_FLAGS), AN_ERR_FRAME_FLAGS);
    assert_int_equal(an_err_of_frame(AN_FRAME_TOO_LARGE), AN_ERR_FRAME_TOO_LARGE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_numbers_and_names_are_frozen),
        cmocka_unit_test(test_err_every_error_is_in_the_frozen_list),
        cmocka_unit_test(test_err_has_a_sentence_and_a_handling),
        cmocka_unit_test(test_err_what_only_took_too_long_invites_a_retry),
        cmocka_unit_test(test_err_unknown_number_is_internal_and_given_up),
        cmocka_unit_test(test_err_exit_codes_are_by_category),
        cmocka_unit_test(test_err_of_frame_names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
