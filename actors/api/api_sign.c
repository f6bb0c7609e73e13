#include "actors/api/api_sign.h"
#include "core/limits.h"
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 8192,
    WAYS = 16, /* 131,072 requests in twice the window: 218 a second */
    MARK_LEN = 16,
    NONCE_LEN_MIN = 8,
    NONCE_LEN_MAX = 64,
    TIME_LEN_MAX = 12,
};

/* A request that was seen; forgotten when its time is too old to come again. */
struct seen {
    uint8_t mark[MARK_LEN];
    uint64_t until_s;
};

struct api_sign {
    uint64_t start_s;
    struct seen seen[BUCKETS][WAYS];
};

struct api_sign *
api_sign_create(void)
{
    return calloc(1, sizeof(struct api_sign));
}

void
api_sign_destroy(struct api_sign *sign)
{
    free(sign);
}

void
api_sign_start(struct api_sign *sign, uint64_t wall_ms)
{
    sign->start_s = wall_ms / 1000;
}

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

/* The first of its key and nonce in its time. */
static enum an_err
remember(struct api_sign *sign, const struct an_app_key *key, const char *nonce,
         uint64_t until_s, uint64_t now_s)
{
    uint8_t mark[MARK_LEN];
    crypto_generichash_state state;
    struct seen *ways, *free_way = NULL;
    uint32_t bucket;

    crypto_generichash_init(&state, NULL, 0, sizeof(mark));
    crypto_generichash_update(&state, (const unsigned char *)key->id,
                              strlen(key->id) + 1);
    crypto_generichash_update(&state, (const unsigned char *)nonce, strlen(nonce));
    crypto_generichash_final(&state, mark, sizeof(mark));
    memcpy(&bucket, mark, sizeof(bucket));
    ways = sign->seen[bucket % BUCKETS];
    for (unsigned i = 0; i < WAYS; i++) {
        if (ways[i].until_s < now_s) {
            free_way = &ways[i];
        } else if (memcmp(ways[i].mark, mark, sizeof(mark)) == 0) {
            return AN_ERR_SIGNATURE_REPLAYED;
        }
    }
    if (free_way == NULL) {
        return AN_ERR_BUSY;
    }
    memcpy(free_way->mark, mark, sizeof(mark));
    free_way->until_s = until_s;
    return AN_OK;
}

enum an_err
api_sign_check(struct api_sign *sign, const struct an_app_keys *keys,
               const struct an_http_request *request, uint64_t wall_ms,
               const struct an_app_key **out, uint32_t *retry_s)
{
    const struct an_app_key *key;
    uint64_t now_s = wall_ms / 1000, at_s;
    enum an_err err;

    *retry_s = 0;
    if (request->key == NULL || request->time == NULL || request->nonce == NULL ||
        request->signature == NULL) {
        return AN_ERR_SIGNATURE_MISSING;
    }
    key = find_key(keys, request->key);
    if (key == NULL) {
        return AN_ERR_SIGNATURE_KEY;
    }
    if (!take_time(request->time, &at_s) || at_s + AN_SIGN_WINDOW_S < now_s ||
        at_s > now_s + AN_SIGN_WINDOW_S) {
        return AN_ERR_SIGNATURE_EXPIRED;
    }
    if (at_s <= sign->start_s) { /* the one before us may have seen it */
        *retry_s = (uint32_t)(sign->start_s - at_s + 1);
        return AN_ERR_SIGNATURE_EXPIRED;
    }
    if (!nonce_good(request->nonce) || !signature_fits(key, request)) {
        return AN_ERR_SIGNATURE_WRONG;
    }
    err = remember(sign, key, request->nonce, at_s + AN_SIGN_WINDOW_S, now_s);
    if (err == AN_OK) {
        *out = key;
    }
    return err;
}
