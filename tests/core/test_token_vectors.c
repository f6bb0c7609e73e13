/* tests/vectors/tokens.json: each token is judged as it says. */
#include "core/token.h"
#include <jansson.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *
text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void
assert_name(const uint8_t *name, size_t len, const char *expected)
{
    assert_non_null(expected);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(name, expected, len);
}

static void
test_token_vectors_are_judged_as_they_say(void **state)
{
    json_error_t why;
    json_t *vectors = json_load_file(VECTORS "/tokens.json", 0, &why), *vector;
    struct an_token_keys keys = {.count = 1};
    const json_t *key = json_object_get(vectors, "key");
    uint64_t now_ms;
    size_t i, len = 0;
    (void)state;

    assert_non_null(vectors);
    now_ms = (uint64_t)json_integer_value(json_object_get(vectors, "now")) * 1000;
    (void)snprintf(keys.key[0].id, sizeof(keys.key[0].id), "%s", text(key, "id"));
    assert_int_equal(sodium_base642bin(keys.key[0].secret, sizeof(keys.key[0].secret),
                                       text(key, "secret"), strlen(text(key, "secret")),
                                       NULL, &len, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    assert_int_equal(len, AN_TOKEN_KEY_LEN);
    assert_true(json_array_size(json_object_get(vectors, "tokens")) > 10);
    json_array_foreach(json_object_get(vectors, "tokens"), i, vector)
    {
        struct an_token_claims claims;
        const char *token = text(vector, "token");
        enum an_err err = an_token_verify(&claims, &keys, (const uint8_t *)token,
                                          strlen(token), now_ms);
        if (strcmp(an_err_name(err), text(vector, "expect")) != 0) {
            fail_msg("%s: %s", text(vector, "name"), an_err_name(err));
        }
        if (err == AN_OK) {
            assert_name(claims.user, claims.user_len, text(vector, "user"));
            assert_name(claims.app, claims.app_len, text(vector, "app"));
        }
    }
    json_decref(vectors);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_vectors_are_judged_as_they_say),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
