#include "core/apps.h"
#include "core/token.h"
#include <string.h>

static bool
is(const char *name, const void *text, size_t len)
{
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

const struct an_app *
an_apps_find(const struct an_apps *apps, const void *name, size_t len)
{
    static const struct an_app plain = {.name = AN_APP_DEFAULT};

    for (size_t i = 0; apps != NULL && i < apps->count; i++) {
        if (is(apps->app[i].name, name, len)) {
            return &apps->app[i];
        }
    }
    return apps == NULL || is(AN_APP_DEFAULT, name, len) ? &plain : NULL;
}
