/* Requests of an application's back end are signed (docs/http.md): who asks, when, and
 * that nobody asks the same twice.
 *
 * Context: the actor's thread. */
#ifndef AN_ACTORS_API_SIGN_H
#define AN_ACTORS_API_SIGN_H

#include "actors/api/api.h"

struct api_sign;

/* NULL without memory. */
struct api_sign *api_sign_create(void);
void api_sign_destroy(struct api_sign *sign);
/* What was signed until then is refused: who was here before us may have taken it, and
 * its nonces are forgotten. */
void api_sign_start(struct api_sign *sign, uint64_t wall_ms);
/* *key: whose request it is. AN_ERR_SIGNATURE_MISSING, _KEY, _EXPIRED, _WRONG, _REPLAYED;
 * AN_ERR_BUSY: more requests than can be remembered. *retry_s: not 0 when it was signed
 * before we started: so many seconds on, the same client's clock is past that. */
AN_MUST_USE enum an_err api_sign_check(struct api_sign *sign,
                                       const struct an_app_keys *keys,
                                       const struct an_http_request *request,
                                       uint64_t wall_ms, const struct an_app_key **key,
                                       uint32_t *retry_s);

#endif
