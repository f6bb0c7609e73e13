/* What an application's back end signs its requests with (docs/http.md).
 *
 * Context: read once at start, constant afterwards. */
#ifndef AN_CORE_APP_KEY_H
#define AN_CORE_APP_KEY_H

#include "core/limits.h"
#include <stddef.h>

enum { AN_APP_KEYS_MAX = 64, AN_APP_SECRET_MAX = 128 };

struct an_app_key {
    char id[AN_NAME_LEN_MAX + 1];
    char secret[AN_APP_SECRET_MAX + 1]; /* its text is the key */
    char app[AN_NAME_LEN_MAX + 1];      /* whose back end it is */
};

struct an_app_keys {
    struct an_app_key key[AN_APP_KEYS_MAX];
    size_t count;
};

#endif
