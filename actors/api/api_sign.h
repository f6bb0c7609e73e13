/* Requests of an application's back end are signed (docs/http.md): who asks, and when.
 * That nobody asks the same twice, a sequencer says, for all apis.
 *
 * Pure. */
#ifndef AN_ACTORS_API_SIGN_H
#define AN_ACTORS_API_SIGN_H

#include "actors/api/api.h"
#include "core/slot.h"

struct api_signed {
    const struct an_app_key *key;
    uint64_t at_s; /* Unix time */
    uint8_t mark[AN_MARK_LEN];
};

/* *out: whose request it is, written on success; its key, that of any app that is said
 * with it, else NULL, always. AN_ERR_SIGNATURE_MISSING, _KEY,
 * _EXPIRED, _WRONG. */
AN_MUST_USE enum an_err api_sign_check(const struct an_app_keys *keys,
                                       const struct an_http_request *request,
                                       uint64_t wall_ms, struct api_signed *out);

#endif
