#include "actors/api/api_error.h"
#include <assert.h>
#include <stdio.h>

/* X(error, status): where the category's number would say less. */
#define API_STATUS(X)                                                                    \
    X(TOO_MANY_TRIES, 429)                                                               \
    X(METHOD, 405)                                                                       \
    X(BODY_TOO_LARGE, 413)                                                               \
    X(CONTENT_TYPE, 415)                                                                 \
    X(NOT_SUPPORTED, 501)

static unsigned
status_of_category(enum an_category category)
{
    switch (category) {
    case AN_CAT_OK:
        return 200;
    case AN_CAT_AUTH:
        return 401;
    case AN_CAT_PERMISSION:
        return 403;
    case AN_CAT_NOT_FOUND:
        return 404;
    case AN_CAT_CONFLICT:
        return 409;
    case AN_CAT_BUSY:
        return 503;
    case AN_CAT_INVALID:
        return 400;
    case AN_CAT_INTERNAL:
        return 500;
    }
    return 500;
}

unsigned
api_error_status(enum an_err err)
{
#define ROW(name, status)                                                                \
    if (err == AN_ERR_##name) {                                                          \
        return status;                                                                   \
    }
    API_STATUS(ROW)
#undef ROW
    if (an_err_handling(err) == AN_HANDLE_RETRY) {
        return 503; /* also faults inside that pass */
    }
    return status_of_category(an_err_category(err));
}

size_t
api_error_json(enum an_err err, const char *message, char out[API_ERROR_JSON_MAX])
{
    int len = snprintf(out, API_ERROR_JSON_MAX,
                       "{\"error\":{\"code\":%u,\"name\":\"%s\",\"message\":\"%s\"}}\n",
                       (unsigned)err, an_err_name(err),
                       message != NULL ? message : an_err_text(err));

    assert(len > 0 && len < API_ERROR_JSON_MAX);
    return (size_t)len;
}
