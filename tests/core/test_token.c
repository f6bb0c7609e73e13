/* Login tokens: what is minted verifies; everything forged, stale or foreign has its own
 * error. Tokens that the mint would never make are put together by hand below. */
#include "core/token.h"
#include <jansson.h>
#include <jwt.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#define NOW_MS 1767225600000ull

static struct an_token_keys keys;

static enum an_err
verify_at(struct an_token_claims *claims, const char *token, uint64_t wall_ms)
{
    return an_token_verify(claims, &keys, (const uint8_t *)token, strlen(token), wall_ms);
}

static enum an_err
verify(const char *token)
{
    struct an_token_claims claims;

    return verify_at(&claims, token, NOW_MS);
}

static char *
mint(const char *app, const char *user, uint64_t wall_ms, uint64_t ttl_ms)
{
    char *token = NULL;

    assert_int_equal(an_token_mint(&token, &keys.key[0], app, user, wall_ms, ttl_ms),
                     AN_OK);
    return token;
}

static void
base64url(char *out, size_t cap, const void *data, size_t len)
{
    sodium_bin2base64(out, cap, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void
append(char *out, size_t cap, const char *text)
{
    size_t at = strlen(out);

    assert_true((size_t)snprintf(out + at, cap - at, "%s", text) < cap - at);
}

/* header.payload.signature, signed with HMAC-SHA256 whatever the header says. */
static enum an_err
verify_made(const char *header, const char *payload)
{
    static char token[8192];
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    size_t at;

    base64url(token, 4000, header, strlen(header));
    append(token, sizeof(token), ".");
    at = strlen(token);
    base64url(token + at, sizeof(token) - at, payload, strlen(payload));
    crypto_auth_hmacsha256(mac, (const uint8_t *)token, strlen(token),
                           keys.key[0].secret);
    append(token, sizeof(token), ".");
    at = strlen(token);
    base64url(token + at, sizeof(token) - at, mac, sizeof(mac));
    return verify(token);
}

#define HEADER "{\"alg\":\"HS256\",\"kid\":\"k1\"}"

static enum an_err
verify_payload(const char *payload)
{
    return verify_made(HEADER, payload);
}

static void
test_token_minted_verifies(void **state)
{
    struct an_token_claims claims;
    char *token = mint("default", "alice", NOW_MS, 60000);

    (void)state;
    assert_int_equal(verify_at(&claims, token, NOW_MS), AN_OK);
    assert_int_equal(claims.user_len, 5);
    assert_memory_equal(claims.user, "alice", 5);
    assert_int_equal(claims.app_len, 7);
    assert_memory_equal(claims.app, "default", 7);
    assert_int_equal(claims.expires_ms, NOW_MS + 60000);
    free(token);
}

static void
test_token_second_key_verifies(void **state)
{
    char *token = NULL;

    (void)state;
    assert_int_equal(
        an_token_mint(&token, &keys.key[1], "shop", "\xe9\x9b\x81", NOW_MS, 1000), AN_OK);
    assert_int_equal(verify(token), AN_OK);
    free(token);
}

static void
test_token_mint_bad_name_refused(void **state)
{
    char *token = NULL;

    (void)state;
    assert_int_equal(an_token_mint(&token, &keys.key[0], "default", "", NOW_MS, 1000),
                     AN_ERR_USER_NAME);
    assert_int_equal(an_token_mint(&token, &keys.key[0], "a/b", "x", NOW_MS, 1000),
                     AN_ERR_USER_NAME);
    assert_int_equal(an_token_mint(&token, &keys.key[0], "default", "\xff", NOW_MS, 1000),
                     AN_ERR_USER_NAME);
    assert_null(token);
}

static void
test_token_alg_none_refused(void **state)
{
    char token[1024], part[512];
    const char *payload = "{\"sub\":\"alice\",\"aud\":\"anser\",\"exp\":9999999999}";

    (void)state;
    base64url(token, sizeof(token), "{\"alg\":\"none\",\"kid\":\"k1\"}", 25);
    append(token, sizeof(token), ".");
    base64url(part, sizeof(part), payload, strlen(payload));
    append(token, sizeof(token), part);
    append(token, sizeof(token), ".");
    assert_int_equal(verify(token), AN_ERR_TOKEN_UNSIGNED);
    assert_int_equal(verify_made("{\"alg\":\"None\"}", payload), AN_ERR_TOKEN_UNSIGNED);
    assert_int_equal(verify_made("{\"kid\":\"k1\"}", payload), AN_ERR_TOKEN_ALGORITHM);
    assert_int_equal(verify_made("{\"alg\":7,\"kid\":\"k1\"}", payload),
                     AN_ERR_TOKEN_ALGORITHM);
}

/* Signed rightly with our secret, but by an algorithm that the key is not for. */
static void
test_token_other_algorithm_refused(void **state)
{
    static const jwt_alg_t algs[] = {JWT_ALG_HS384, JWT_ALG_HS512};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        jwt_t *jwt = NULL;
        char *token;

        assert_int_equal(jwt_new(&jwt), 0);
        jwt_add_header(jwt, "kid", "k1");
        jwt_add_grant(jwt, "sub", "alice");
        jwt_add_grant(jwt, "aud", "anser");
        jwt_add_grant_int(jwt, "exp", 9999999999);
        jwt_set_alg(jwt, algs[i], keys.key[0].secret, AN_TOKEN_KEY_LEN);
        token = jwt_encode_str(jwt);
        assert_non_null(token);
        assert_int_equal(verify(token), AN_ERR_TOKEN_ALGORITHM);
        free(token);
        jwt_free(jwt);
    }
    assert_int_equal(verify_made("{\"alg\":\"RS256\",\"kid\":\"k1\"}", "{}"),
                     AN_ERR_TOKEN_ALGORITHM);
    assert_int_equal(verify_made("{\"alg\":\"hs256\",\"kid\":\"k1\"}", "{}"),
                     AN_ERR_TOKEN_ALGORITHM);
}

static void
test_token_unknown_kid_refused(void **state)
{
    struct an_token_key other = {.id = "k9"};
    char *token = NULL;

    (void)state;
    assert_int_equal(an_token_mint(&token, &other, "default", "alice", NOW_MS, 1000),
                     AN_OK);
    assert_int_equal(verify(token), AN_ERR_TOKEN_KEY);
    free(token);
    assert_int_equal(verify_made("{\"alg\":\"HS256\"}", "{}"), AN_ERR_TOKEN_KEY);
}

static void
test_token_wrong_secret_refused(void **state)
{
    struct an_token_key forged = keys.key[0];
    char *token = NULL;

    (void)state;
    forged.secret[0] ^= 1;
    assert_int_equal(an_token_mint(&token, &forged, "default", "alice", NOW_MS, 1000),
                     AN_OK);
    assert_int_equal(verify(token), AN_ERR_TOKEN_INVALID);
    free(token);
}

static void
test_token_other_keys_signature_refused(void **state)
{
    struct an_token_key mixed = keys.key[0]; /* k1's name with k2's secret */
    char *token = NULL;

    (void)state;
    memcpy(mixed.secret, keys.key[1].secret, sizeof(mixed.secret));
    assert_int_equal(an_token_mint(&token, &mixed, "default", "alice", NOW_MS, 1000),
                     AN_OK);
    assert_int_equal(verify(token), AN_ERR_TOKEN_INVALID);
    free(token);
}

static void
test_token_changed_payload_refused(void **state)
{
    char *token = mint("default", "alice", NOW_MS, 60000);
    size_t len = strlen(token);

    (void)state;
    for (size_t i = 0; i < len; i++) {
        char was = token[i];

        token[i] = was == 'A' ? 'B' : 'A';
        /* The last character of a part carries bits that decoders may ignore; the text
         * is what is signed, and a signature has one spelling. */
        assert_int_not_equal(verify(token), AN_OK);
        token[i] = was;
    }
    assert_int_equal(verify(token), AN_OK);
    free(token);
}

static void
test_token_expired_refused_after_leeway(void **state)
{
    struct an_token_claims claims;
    char *token = mint("default", "alice", NOW_MS, 60000);
    uint64_t end = NOW_MS + 60000;

    (void)state;
    assert_int_equal(verify_at(&claims, token, end + AN_TOKEN_LEEWAY_S * 1000 - 1),
                     AN_OK);
    assert_int_equal(verify_at(&claims, token, end + AN_TOKEN_LEEWAY_S * 1000),
                     AN_ERR_TOKEN_EXPIRED);
    free(token);
    assert_int_equal(verify_payload("{\"sub\":\"a\",\"aud\":\"anser\",\"exp\":-5}"),
                     AN_ERR_TOKEN_EXPIRED);
}

static void
test_token_not_yet_refused_before_leeway(void **state)
{
    struct an_token_claims claims;
    char *token = mint("default", "alice", NOW_MS, 60000);

    (void)state;
    assert_int_equal(verify_at(&claims, token, NOW_MS - AN_TOKEN_LEEWAY_S * 1000), AN_OK);
    assert_int_equal(verify_at(&claims, token, NOW_MS - AN_TOKEN_LEEWAY_S * 1000 - 1000),
                     AN_ERR_TOKEN_NOT_YET);
    free(token);
}

static void
test_token_audience_checked(void **state)
{
    (void)state;
    assert_int_equal(
        verify_payload("{\"sub\":\"a\",\"aud\":\"other\",\"exp\":9999999999}"),
        AN_ERR_TOKEN_AUDIENCE);
    assert_int_equal(verify_payload("{\"sub\":\"a\",\"exp\":9999999999}"),
                     AN_ERR_TOKEN_AUDIENCE);
    assert_int_equal(verify_payload("{\"sub\":\"a\",\"aud\":[\"x\"],\"exp\":9999999999}"),
                     AN_ERR_TOKEN_AUDIENCE);
    assert_int_equal(
        verify_payload("{\"sub\":\"a\",\"aud\":[\"x\",\"anser\"],\"exp\":9999999999}"),
        AN_OK);
}

static void
test_token_claims_of_wrong_form_refused(void **state)
{
    static const char *const payloads[] = {
        "{\"aud\":\"anser\",\"exp\":9999999999}",                               /* sub */
        "{\"sub\":7,\"aud\":\"anser\",\"exp\":9999999999}",                     /* form */
        "{\"sub\":\"\",\"aud\":\"anser\",\"exp\":9999999999}",                  /* name */
        "{\"sub\":\"a b\",\"aud\":\"anser\",\"exp\":9999999999}",               /* name */
        "{\"sub\":\"a\",\"app\":\"x/y\",\"aud\":\"anser\",\"exp\":9999999999}", /* app */
        "{\"sub\":\"a\",\"app\":null,\"aud\":\"anser\",\"exp\":9999999999}",    /* app */
        "{\"sub\":\"a\",\"aud\":\"anser\"}",                                    /* exp */
        "{\"sub\":\"a\",\"aud\":\"anser\",\"exp\":\"9999999999\"}",             /* exp */
        "{\"sub\":\"a\",\"aud\":\"anser\",\"exp\":9999999999,\"nbf\":\"0\"}",   /* nbf */
        "{\"sub\":\"a\",\"sub\":\"b\",\"aud\":\"anser\",\"exp\":9999999999}", /* twice */
        "[\"sub\"]",
        "not json",
        "",
    };
    char name[AN_NAME_LEN_MAX + 2], payload[256];

    (void)state;
    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        assert_int_equal(verify_payload(payloads[i]), AN_ERR_TOKEN_INVALID);
    }
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = 0;
    snprintf(payload, sizeof(payload),
             "{\"sub\":\"%s\",\"aud\":\"anser\",\"exp\":9999999999}", name);
    assert_int_equal(verify_payload(payload), AN_ERR_TOKEN_INVALID);
}

static void
test_token_header_of_wrong_form_refused(void **state)
{
    (void)state;
    assert_int_equal(verify_made("[1]", "{}"), AN_ERR_TOKEN_INVALID);
    assert_int_equal(verify_made("{", "{}"), AN_ERR_TOKEN_INVALID);
    assert_int_equal(
        verify_made("{\"alg\":\"HS256\",\"alg\":\"none\",\"kid\":\"k1\"}", "{}"),
        AN_ERR_TOKEN_INVALID);
    assert_int_equal(
        verify_made("{\"alg\":\"HS256\",\"kid\":\"k1\",\"crit\":[\"x\"]}", "{}"),
        AN_ERR_TOKEN_INVALID);
}

static void
test_token_garbage_refused(void **state)
{
    struct an_token_claims claims;
    char *token = mint("default", "alice", NOW_MS, 60000);
    char over[AN_TOKEN_LEN_MAX + 2];
    size_t len = strlen(token);

    (void)state;
    for (size_t i = 0; i < len; i++) { /* cut anywhere */
        assert_int_not_equal(
            an_token_verify(&claims, &keys, (const uint8_t *)token, i, NOW_MS), AN_OK);
    }
    assert_int_equal(verify(""), AN_ERR_TOKEN_INVALID);
    assert_int_equal(verify("..."), AN_ERR_TOKEN_INVALID);
    assert_int_equal(verify("a.b.c"), AN_ERR_TOKEN_INVALID);
    assert_int_equal(verify("\xff\xfe.\x01.c"), AN_ERR_TOKEN_INVALID);
    memset(over, 'A', sizeof(over));
    assert_int_equal(
        an_token_verify(&claims, &keys, (uint8_t *)over, sizeof(over), NOW_MS),
        AN_ERR_TOKEN_INVALID);
    token[len - 3] = 0; /* a NUL inside */
    assert_int_equal(an_token_verify(&claims, &keys, (uint8_t *)token, len, NOW_MS),
                     AN_ERR_TOKEN_INVALID);
    free(token);
}

static void
test_token_long_valid_one_fits(void **state)
{
    char payload[1400];
    size_t at = (size_t)snprintf(payload, sizeof(payload),
                                 "{\"sub\":\"a\",\"aud\":\"anser\",\"exp\":9999999999,"
                                 "\"foreign\":\"");

    (void)state;
    memset(payload + at, 'f', sizeof(payload) - at);
    memcpy(payload + sizeof(payload) - 3, "\"}", sizeof("\"}"));
    assert_int_equal(verify_payload(payload), AN_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_minted_verifies),
        cmocka_unit_test(test_token_second_key_verifies),
        cmocka_unit_test(test_token_mint_bad_name_refused),
        cmocka_unit_test(test_token_alg_none_refused),
        cmocka_unit_test(test_token_other_algorithm_refused),
        cmocka_unit_test(test_token_unknown_kid_refused),
        cmocka_unit_test(test_token_wrong_secret_refused),
        cmocka_unit_test(test_token_other_keys_signature_refused),
        cmocka_unit_test(test_token_changed_payload_refused),
        cmocka_unit_test(test_token_expired_refused_after_leeway),
        cmocka_unit_test(test_token_not_yet_refused_before_leeway),
        cmocka_unit_test(test_token_audience_checked),
        cmocka_unit_test(test_token_claims_of_wrong_form_refused),
        cmocka_unit_test(test_token_header_of_wrong_form_refused),
        cmocka_unit_test(test_token_garbage_refused),
        cmocka_unit_test(test_token_long_valid_one_fits),
    };

    if (sodium_init() < 0) {
        return 1;
    }
    keys.count = 2;
    snprintf(keys.key[0].id, sizeof(keys.key[0].id), "k1");
    snprintf(keys.key[1].id, sizeof(keys.key[1].id), "k2");
    randombytes_buf(keys.key[0].secret, AN_TOKEN_KEY_LEN);
    randombytes_buf(keys.key[1].secret, AN_TOKEN_KEY_LEN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
