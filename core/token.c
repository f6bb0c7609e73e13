/* Two traps of libjwt 1.10 shape this file: it verifies with whatever algorithm the token
 * names (also "none"), and it looks at no claim. So the header is read here first and
 * must name a key of ours and that key's algorithm before libjwt sees the token at all;
 * exp, nbf and aud are judged here. */
#include "core/token.h"
#include "proto/names.h"
#include <jansson.h>
#include <jwt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One part of a token: base64url without padding around one JSON object. NULL when it is
 * anything else. Doubled keys are refused: two readers might pick different ones. */
static json_t *
part_load(const char *part, size_t len)
{
    uint8_t text[AN_TOKEN_LEN_MAX];
    size_t text_len;
    json_t *json;

    if (sodium_base642bin(text, sizeof(text), part, len, NULL, &text_len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0) {
        return NULL;
    }
    json = json_loadb((const char *)text, text_len, JSON_REJECT_DUPLICATES, NULL);
    if (json != NULL && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* The key that the header names, if the header names its algorithm too. */
static enum an_err
key_find(const struct an_token_key **key, const struct an_token_keys *keys,
         const char *part, size_t len)
{
    json_t *header = part_load(part, len);
    enum an_err err = AN_ERR_TOKEN_KEY;
    const char *alg, *kid;

    /* "crit" names extensions that must be understood (RFC 7515, 4.1.11): we know none.
     */
    if (header == NULL || json_object_get(header, "crit") != NULL) {
        err = AN_ERR_TOKEN_INVALID;
        goto out;
    }
    alg = json_string_value(json_object_get(header, "alg"));
    kid = json_string_value(json_object_get(header, "kid"));
    if (alg != NULL && strcasecmp(alg, "none") == 0) {
        err = AN_ERR_TOKEN_UNSIGNED;
        goto out;
    }
    for (size_t i = 0; kid != NULL && i < keys->count; i++) {
        if (strcmp(keys->key[i].id, kid) == 0) {
            err = alg != NULL && strcmp(alg, an_token_alg_name(keys->key[i].alg)) == 0
                      ? AN_OK
                      : AN_ERR_TOKEN_ALGORITHM;
            *key = &keys->key[i];
            goto out;
        }
    }
out:
    json_decref(header);
    return err;
}

const char *
an_token_alg_name(enum an_token_alg alg)
{
#define NAME(name) #name,
    static const char *const names[] = {AN_TOKEN_ALGS(NAME)};
#undef NAME

    return names[alg];
}

static enum an_err
signature_check(const char *token, const struct an_token_key *key)
{
    static const jwt_alg_t algs[AN_TOKEN_ALG_COUNT] = {
        [AN_TOKEN_HS256] = JWT_ALG_HS256,
        [AN_TOKEN_RS256] = JWT_ALG_RS256,
        [AN_TOKEN_ES256] = JWT_ALG_ES256,
    };
    bool own = key->alg == AN_TOKEN_HS256;
    enum an_err err = AN_ERR_TOKEN_INVALID;
    jwt_t *jwt = NULL;

    if (jwt_decode(&jwt, token, own ? key->secret : (const unsigned char *)key->pem,
                   own ? (int)AN_TOKEN_KEY_LEN : (int)strlen(key->pem)) == 0 &&
        jwt_get_alg(jwt) == algs[key->alg]) {
        err = AN_OK;
    }
    jwt_free(jwt);
    return err;
}

/* aud is one string or a list of them (RFC 7519, 4.1.3). */
static bool
audience_ours(const json_t *aud)
{
    const json_t *item;
    size_t i;

    if (json_is_string(aud)) {
        return strcmp(json_string_value(aud), AN_TOKEN_AUDIENCE) == 0;
    }
    json_array_foreach(aud, i, item)
    {
        if (json_is_string(item) &&
            strcmp(json_string_value(item), AN_TOKEN_AUDIENCE) == 0) {
            return true;
        }
    }
    return false;
}

static bool
name_copy(uint8_t out[AN_NAME_LEN_MAX], size_t *out_len, const json_t *name)
{
    if (!json_is_string(name) || json_string_length(name) > AN_NAME_LEN_MAX ||
        !an_name_valid((const uint8_t *)json_string_value(name),
                       json_string_length(name))) {
        return false;
    }
    *out_len = json_string_length(name);
    memcpy(out, json_string_value(name), *out_len);
    return true;
}

/* What binds the token to a device or a platform. */
static bool
bound_read(struct an_token_claims *claims, const json_t *payload)
{
    const json_t *dev = json_object_get(payload, "dev");
    const json_t *plat = json_object_get(payload, "plat");

    return (dev == NULL || name_copy(claims->device, &claims->device_len, dev)) &&
           (plat == NULL || name_copy(claims->platform, &claims->platform_len, plat));
}

/* A token that claims to come from the future would outlive its revocation: further ahead
 * than a revocation may reach it is not valid yet. */
static bool
issued_read(struct an_token_claims *claims, const json_t *iat, json_int_t now_s)
{
    json_int_t at_s = iat == NULL ? 0 : json_integer_value(iat);

    claims->issued_ms = at_s < 0 ? 0 : (uint64_t)at_s * 1000;
    return at_s <= now_s + (json_int_t)(AN_TOKENS_AHEAD_MS / 1000 + AN_TOKEN_LEEWAY_S);
}

/* May the key speak for that app, and is it the issuer's that it says? An app's key need
 * not name the app. */
static bool
key_speaks(const struct an_token_key *key, const json_t *payload,
           struct an_token_claims *claims)
{
    const char *iss = json_string_value(json_object_get(payload, "iss"));

    if (key->app[0] != '\0' && json_object_get(payload, "app") == NULL) {
        claims->app_len = strlen(key->app);
        memcpy(claims->app, key->app, claims->app_len);
    }
    return (key->app[0] == '\0' ||
            (strlen(key->app) == claims->app_len &&
             memcmp(key->app, claims->app, claims->app_len) == 0)) &&
           (key->issuer[0] == '\0' || (iss != NULL && strcmp(iss, key->issuer) == 0));
}

static enum an_err
claims_read(struct an_token_claims *claims, const json_t *payload, uint64_t wall_ms)
{
    const json_t *exp = json_object_get(payload, "exp");
    const json_t *nbf = json_object_get(payload, "nbf");
    const json_t *app = json_object_get(payload, "app");
    const json_t *iat = json_object_get(payload, "iat");
    json_int_t now_s = (json_int_t)(wall_ms / 1000);
    json_int_t exp_s;

    if (!json_is_integer(exp) || (nbf != NULL && !json_is_integer(nbf)) ||
        (iat != NULL && !json_is_integer(iat))) {
        return AN_ERR_TOKEN_INVALID;
    }
    /* Beyond year 5138 it is never; capping keeps the sums below from overflowing. */
    exp_s = json_integer_value(exp);
    exp_s = exp_s > 100000000000 ? 100000000000 : exp_s;
    if (exp_s <= now_s - (json_int_t)AN_TOKEN_LEEWAY_S) {
        return AN_ERR_TOKEN_EXPIRED;
    }
    if ((nbf != NULL &&
         json_integer_value(nbf) > now_s + (json_int_t)AN_TOKEN_LEEWAY_S) ||
        !issued_read(claims, iat, now_s)) {
        return AN_ERR_TOKEN_NOT_YET;
    }
    if (!audience_ours(json_object_get(payload, "aud"))) {
        return AN_ERR_TOKEN_AUDIENCE;
    }
    claims->app_len = strlen(AN_APP_DEFAULT);
    memcpy(claims->app, AN_APP_DEFAULT, claims->app_len);
    if (!name_copy(claims->user, &claims->user_len, json_object_get(payload, "sub")) ||
        (app != NULL && !name_copy(claims->app, &claims->app_len, app)) ||
        !bound_read(claims, payload)) {
        return AN_ERR_TOKEN_INVALID;
    }
    claims->expires_ms = exp_s < 0 ? 0 : (uint64_t)exp_s * 1000;
    return AN_OK;
}

enum an_err
an_token_verify(struct an_token_claims *claims, const struct an_token_keys *keys,
                const uint8_t *token, size_t token_len, uint64_t wall_ms)
{
    char text[AN_TOKEN_LEN_MAX + 1];
    const struct an_token_key *key = NULL;
    struct an_token_claims read = {0};
    const char *dot1, *dot2;
    json_t *payload;
    enum an_err err;

    if (token_len > AN_TOKEN_LEN_MAX || token_len == 0 ||
        memchr(token, 0, token_len) != NULL) {
        return AN_ERR_TOKEN_INVALID;
    }
    memcpy(text, token, token_len);
    text[token_len] = 0;
    dot1 = strchr(text, '.');
    dot2 = dot1 == NULL ? NULL : strchr(dot1 + 1, '.');
    if (dot2 == NULL || strchr(dot2 + 1, '.') != NULL) {
        return AN_ERR_TOKEN_INVALID;
    }
    err = key_find(&key, keys, text, (size_t)(dot1 - text));
    if (err != AN_OK) {
        return err;
    }
    err = signature_check(text, key);
    if (err != AN_OK) {
        return err;
    }
    payload = part_load(dot1 + 1, (size_t)(dot2 - dot1 - 1));
    err = payload == NULL ? AN_ERR_TOKEN_INVALID : claims_read(&read, payload, wall_ms);
    if (err == AN_OK && !key_speaks(key, payload, &read)) {
        err = AN_ERR_TOKEN_APP;
    }
    json_decref(payload);
    if (err == AN_OK) {
        *claims = read;
    }
    return err;
}

static bool
grant_add(jwt_t *jwt, const char *name, const char *value)
{
    return value == NULL || jwt_add_grant(jwt, name, value) == 0;
}

static bool
claims_add(jwt_t *jwt, const struct an_token_key *key, const struct an_token_spec *spec,
           uint64_t wall_ms)
{
    uint64_t issued_ms = spec->issued_ms > wall_ms ? spec->issued_ms : wall_ms;
    long exp_s = (long)((wall_ms + spec->ttl_ms + 999) / 1000);

    return jwt_add_header(jwt, "kid", key->id) == 0 &&
           grant_add(jwt, "sub", spec->user) && grant_add(jwt, "app", spec->app) &&
           grant_add(jwt, "dev", spec->device) &&
           grant_add(jwt, "plat", spec->platform) &&
           grant_add(jwt, "aud", AN_TOKEN_AUDIENCE) &&
           jwt_add_grant_int(jwt, "iat", (long)(issued_ms / 1000)) == 0 &&
           jwt_add_grant_int(jwt, "nbf", (long)(wall_ms / 1000)) == 0 &&
           jwt_add_grant_int(jwt, "exp", exp_s) == 0 &&
           jwt_set_alg(jwt, JWT_ALG_HS256, key->secret, AN_TOKEN_KEY_LEN) == 0;
}

static bool
name_ok(const char *name)
{
    return name == NULL || an_name_valid((const uint8_t *)name, strlen(name));
}

enum an_err
an_token_mint(char **out, const struct an_token_key *key, const char *app,
              const char *user, uint64_t wall_ms, uint64_t ttl_ms)
{
    struct an_token_spec spec = {.app = app, .user = user, .ttl_ms = ttl_ms};

    return an_token_mint_spec(out, key, &spec, wall_ms);
}

enum an_err
an_token_mint_spec(char **out, const struct an_token_key *key,
                   const struct an_token_spec *spec, uint64_t wall_ms)
{
    enum an_err err = AN_ERR_NO_MEMORY;
    jwt_t *jwt = NULL;
    char *text = NULL;

    if (!name_ok(spec->app) || !name_ok(spec->user)) {
        return AN_ERR_USER_NAME;
    }
    if (!name_ok(spec->device) || !name_ok(spec->platform)) {
        return AN_ERR_DEVICE_NAME;
    }
    if (jwt_new(&jwt) != 0 || !claims_add(jwt, key, spec, wall_ms)) {
        goto out;
    }
    text = jwt_encode_str(jwt);
    if (text != NULL) {
        *out = text; /* libjwt's allocator is malloc: nobody here replaces it */
        err = AN_OK;
    }
out:
    jwt_free(jwt);
    return err;
}
