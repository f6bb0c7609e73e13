#include "actors/api/api_sign.h"
#include "core/limits.h"
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    NONCE_LEN_MIN = 8,
    NONCE_LEN_MAX = 64,
    TIME_LEN_MAX = 12,
};

static const struct an_app_key *
find_key(const struct an_app_keys *keys, const char *id)
{
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        if (strcmp(keys->key[i].id, id) == 0) {
            return &keys->key[i];
        }
    }
    return NULL;
}

static bool
take_time(const char *text, uint64_t *out_s)
{
    size_t len = strlen(text);

    if (len == 0 || len > TIME_LEN_MAX || strspn(text, "0123456789") != len) {
        return false;
    }
    *out_s = strtoull(text, NULL, 10);
    return true;
}

static bool
nonce_good(const char *nonce)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t len = strlen(nonce);

    return len >= NONCE_LEN_MIN && len <= NONCE_LEN_MAX && strspn(nonce, allowed) == len;
}

/* hex HMAC-SHA256 over method, path with query, time, nonce and hex SHA-256 of the body,
 * a line feed between. */
static bool
signature_fits(const struct an_app_key *key, const struct an_http_request *request)
{
    const char *const parts[] = {request->method_name, request->uri, request->time,
                                 request->nonce};
    unsigned char hash[crypto_hash_sha256_BYTES], mac[crypto_auth_hmacsha256_BYTES];
    unsigned char given[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof(hash) + 1];
    crypto_auth_hmacsha256_state state;
    size_t len = 0;

    if (sodium_hex2bin(given, sizeof(given), request->signature,
                       strlen(request->signature), NULL, &len, NULL) != 0 ||
        len != sizeof(given) || strlen(request->signature) != 2 * sizeof(given)) {
        return false;
    }
    crypto_hash_sha256(hash, request->body, request->body_len);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)key->secret,
                                strlen(key->secret));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        crypto_auth_hmacsha256_update(&state, (const unsigned char *)parts[i],
                                      strlen(parts[i]));
        crypto_auth_hmacsha256_update(&state, (const unsigned char *)"\n", 1);
    }
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)hex, strlen(hex));
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof(state));
    return sodium_memcmp(mac, given, sizeof(mac)) == 0;
}

/* By which all apis know the same request: of its key and nonce. */
static void
mark(uint8_t out[AN_MARK_LEN], const struct an_app_key *key, const char *nonce)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, AN_MARK_LEN);
    crypto_generichash_update(&state, (const unsigned char *)key->id,
                              strlen(key->id) + 1);
    crypto_generichash_update(&state, (const unsigned char *)nonce, strlen(nonce));
    crypto_generichash_final(&state, out, AN_MARK_LEN);
}

enum an_err
api_sign_check(const struct an_app_keys *keys, const struct an_http_request *request,
               uint64_t wall_ms, struct api_signed *out)
{
    uint64_t now_s = wall_ms / 1000;

    out->key = NULL;
    if (request->key == NULL || request->time == NULL || request->nonce == NULL ||
        request->signature == NULL) {
        return AN_ERR_SIGNATURE_MISSING;
    }
    out->key = find_key(keys, request->key);
    if (out->key == NULL) {
        return AN_ERR_SIGNATURE_KEY;
    }
    if (!take_time(request->time, &out->at_s) || out->at_s + AN_SIGN_WINDOW_S < now_s ||
        out->at_s > now_s + AN_SIGN_WINDOW_S) {
        return AN_ERR_SIGNATURE_EXPIRED;
    }
    if (!nonce_good(request->nonce) || !signature_fits(out->key, request)) {
        return AN_ERR_SIGNATURE_WRONG;
    }
    mark(out->mark, out->key, request->nonce);
    return AN_OK;
}
