/* Signed login tokens: JWT (RFC 7519), verified without a database. Own ones are HS256;
 * an application's sign-on service may sign RS256 or ES256 with a key of its own, of
 * which the server has the public half.
 *
 * Header: kid naming the key, alg that key's: the key id fixes the algorithm, which is
 * compared before the signature is looked at. Claims: sub (user name), app, aud "anser",
 * iat, nbf, exp (Unix seconds); dev and plat where the token is for one device or one
 * platform. Clock leeway: AN_TOKEN_LEEWAY_S for nbf and exp. Pure: time is handed in.
 * Thread safe. */
#ifndef AN_CORE_TOKEN_H
#define AN_CORE_TOKEN_H

#include "core/err.h"
#include "core/limits.h"
#include <stddef.h>
#include <stdint.h>

#define AN_TOKEN_KEY_LEN  32u
#define AN_TOKEN_KEYS_MAX 16u
#define AN_TOKEN_PEM_MAX  2048u
#define AN_TOKEN_LEEWAY_S 5u
#define AN_TOKEN_AUDIENCE "anser"
#define AN_APP_DEFAULT    "default"

/* X(ALGORITHM as a header names it). The first is that of our own keys. */
#define AN_TOKEN_ALGS(X)        X(HS256) X(RS256) X(ES256)
#define AN_TOKEN_ALG_ENUM(name) AN_TOKEN_##name,
enum an_token_alg { AN_TOKEN_ALGS(AN_TOKEN_ALG_ENUM) AN_TOKEN_ALG_COUNT };
#undef AN_TOKEN_ALG_ENUM

struct an_token_key {
    char id[AN_NAME_LEN_MAX + 1];
    uint8_t secret[AN_TOKEN_KEY_LEN]; /* HS256 */
    enum an_token_alg alg;
    char pem[AN_TOKEN_PEM_MAX];    /* RS256, ES256: the public key */
    char app[AN_NAME_LEN_MAX + 1]; /* the only app that it may speak for; "": any */
    char issuer[256];              /* what iss must be; "": whatever it is */
};

struct an_token_keys {
    struct an_token_key key[AN_TOKEN_KEYS_MAX];
    size_t count;
};

struct an_token_claims {
    uint8_t user[AN_NAME_LEN_MAX];
    size_t user_len;
    uint8_t app[AN_NAME_LEN_MAX];
    size_t app_len;
    uint64_t expires_ms;               /* Unix time */
    uint64_t issued_ms;                /* iat: Unix time; 0: the token does not say */
    uint8_t device[AN_NAME_LEN_MAX];   /* dev: the only device that it lets in */
    size_t device_len;                 /* 0: any */
    uint8_t platform[AN_NAME_LEN_MAX]; /* plat: the only platform, as text */
    size_t platform_len;               /* 0: any */
};

/* What a token says. */
struct an_token_spec {
    const char *app, *user;
    const char *device, *platform; /* NULL: any */
    uint64_t issued_ms;            /* at least; iat is this or now, whichever is later: of
                                      a user whose tokens were just revoked, tokens_from */
    uint64_t ttl_ms;               /* from now */
};

/* The name of an algorithm, "HS256". */
const char *an_token_alg_name(enum an_token_alg alg);
/* AN_ERR_TOKEN_INVALID, _UNSIGNED, _ALGORITHM, _KEY, _EXPIRED, _NOT_YET, _AUDIENCE,
 * _APP. *claims written on success. Whether it was revoked, or is another device's, the
 * caller judges. */
AN_MUST_USE enum an_err an_token_verify(struct an_token_claims *claims,
                                        const struct an_token_keys *keys,
                                        const uint8_t *token, size_t token_len,
                                        uint64_t wall_ms);
/* key: an HS256 one. *out: the caller's to free(). user and app must be valid names
 * (AN_ERR_USER_NAME). */
AN_MUST_USE enum an_err an_token_mint(char **out, const struct an_token_key *key,
                                      const char *app, const char *user, uint64_t wall_ms,
                                      uint64_t ttl_ms);
/* The same with all that a token may say. AN_ERR_USER_NAME, AN_ERR_DEVICE_NAME. */
AN_MUST_USE enum an_err an_token_mint_spec(char **out, const struct an_token_key *key,
                                           const struct an_token_spec *spec,
                                           uint64_t wall_ms);

#endif
